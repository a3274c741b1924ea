//! One run of the daemon with a fault: it starts, one service dies, another one comes up, and it
//! stops.
//!
//! A script takes the place of BIRD. It lets the real `bird -p` check the file, and keeps each
//! accepted list, so that a run takes a second and each list is checked. With a control socket, a
//! [`FakeBird`] runs the script.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::fake_bird::{self, FakeBird};
use super::tracer::{trace, Fault, FaultAction, Trace};
use crate::lab::namespaces::{Namespaces, Running};
use crate::lab::{logged, prefixes_in};

/// The timeout of every wait. Only a wait for something that never happens reaches it.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Advertised and alive throughout. No fault may remove it from BIRD's list.
const STAYS: &str = "10.52.12.1/32";
/// Advertised at the start, dies during the run.
const DIES: &str = "10.52.12.2/32";
/// Dead at the start, comes up during the run.
const COMES: &str = "10.52.12.3/32";
const DUMMY: &str = "10.189.200.255/32";

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The run did not make the call.
    NotReached,
    /// The daemon continued, and the routes were right.
    Continued,
    /// The daemon did not start and exited with code 1 and this message. The next start succeeded.
    Refused(String),
    /// The daemon was killed. The next start succeeded.
    Killed,
    /// The daemon violated a guarantee.
    Broken(String),
}

/// How BIRD is reconfigured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Command,
    Socket,
}

/// An environment for runs, one at a time.
pub(crate) struct Sandbox {
    namespaces: Namespaces,
    transport: Transport,
}

impl Sandbox {
    pub(crate) fn new(transport: Transport) -> Sandbox {
        let sandbox = Sandbox { namespaces: Namespaces::new(), transport };
        for prefix in [STAYS, DIES, COMES] {
            let mut ip = sandbox.namespaces.host("ip");
            crate::lab::output(ip.args(["address", "add", prefix, "dev", "lo"]));
        }
        sandbox
    }

    /// Runs the daemon once with this fault.
    pub(crate) fn run(&self, fault: Option<&Fault>) -> (Outcome, Trace) {
        let mut run = Run::prepare(self);
        let traced = run.start(true, fault);
        let result = run.exercise(true);
        let end = run.end.take();
        run.daemon = None;
        let trace = traced.unwrap().join().unwrap();
        let killed = fault.is_some_and(|fault| fault.action == FaultAction::Kill) && trace.hit.is_some();
        let removing = fault.is_some_and(|fault| fault.call == "unlink");
        let outcome = match (result, end) {
            (Err(why), None) => Err(why),
            (_, Some(None)) if killed => run.expect_whole_files().and_then(|()| run.restart(Outcome::Killed, true)),
            (Err(_), Some(Some(1))) => match run.reason() {
                why if why.is_empty() => Err("it ended without a message".to_string()),
                why => run.restart(Outcome::Refused(why), true),
            },
            (Ok(()), Some(Some(0))) => run.restart(Outcome::Continued, removing),
            (result, end) => Err(format!("it ended with {end:?} ({result:?}): {}", run.reason())),
        };
        let outcome = outcome.and_then(|outcome| run.expect_accepted_lists().map(|()| outcome));
        let outcome = match outcome {
            Err(why) => Outcome::Broken(format!("{why}\n{}", run.report(&trace))),
            Ok(_) if fault.is_some() && trace.hit.is_none() => Outcome::NotReached,
            Ok(outcome) => outcome,
        };
        (outcome, trace)
    }
}

struct Run<'p> {
    sandbox: &'p Sandbox,
    daemon: Option<Running>,
    /// The exit code of the last daemon, once it has ended. The inner `None` means that a signal
    /// killed it.
    end: Option<Option<i32>>,
    /// Answers on the control socket, if it is used.
    _bird: Option<FakeBird>,
    directory: tempfile::TempDir,
}

impl Run<'_> {
    fn prepare(sandbox: &Sandbox) -> Run<'_> {
        let directory = tempfile::Builder::new().prefix("ahc-").tempdir().unwrap();
        let bird = (sandbox.transport == Transport::Socket).then(|| FakeBird::start(directory.path()));
        let run = Run { sandbox, daemon: None, end: None, _bird: bird, directory };
        for name in ["alive", "run", "log", "metrics", "services.d"] {
            fs::create_dir(run.file(name)).unwrap();
        }
        let at = |name: &str| run.file(name).display().to_string();
        fs::write(
            run.file("daemon.conf"),
            format!(
                "[daemon]\npidfile = {}\nbird_conf = {}\nbird_reconfigure_cmd = /bin/sh {}\nbird_keep_changes = true\n\
                 bird_changes_counter = 3\nlog_file = {}\nstderr_file = {}\nloglevel = debug\nprometheus_exporter = true\n\
                 prometheus_exporter_interval = 1\nprometheus_collector_textfile_dir = {}\n{}\n",
                at("run/daemon.pid"),
                at("anycast-prefixes.conf"),
                at("birdc"),
                at("log/daemon.log"),
                at("log/stderr.log"),
                at("metrics"),
                match sandbox.transport {
                    Transport::Command => String::new(),
                    Transport::Socket => format!("bird_control_socket = {}", at(fake_bird::SOCKET)),
                }
            ),
        )
        .unwrap();
        for (name, prefix) in [("stays", STAYS), ("dies", DIES), ("comes", COMES)] {
            let options = format!(
                "[{name}]\nip_prefix = {prefix}\ncheck_cmd = /usr/bin/test -e {}\ncheck_interval = 0.1\n\
                 check_timeout = 5\ncheck_rise = 1\ncheck_fail = 2\ncheck_disabled = false\n",
                at(&format!("alive/{name}"))
            );
            fs::write(run.file(&format!("services.d/{name}.conf")), options).unwrap();
        }
        let uses = "protocol device { }\nprotocol direct { ipv4; }\nprotocol bgp upstream { local as 64815; neighbor 192.0.2.2 \
                    as 64814; ipv4 { import none; export where net ~ ACAST_PS_ADVERTISE; }; }\n";
        let bird = format!("router id 192.0.2.1;\ninclude \"anycast-prefixes.conf\";\n{uses}");
        fs::write(run.file("bird.conf"), bird).unwrap();
        // The script checks and keeps the same copy, because the daemon may write the file again
        // meanwhile.
        let birdc = format!(
            "cd {}\ncp anycast-prefixes.conf checked.conf\necho 'BIRD 2.0.12 ready.'\n\
             echo 'Reading configuration from bird.conf'\nif bird -p -c bird-checked.conf; then cat checked.conf >> taken.all\n\
             mv checked.conf taken\nprintf . >> reconfigures\necho Reconfigured\n\
             else cat checked.conf >> refused; exit 1; fi\n",
            run.directory.path().display()
        );
        fs::write(run.file("bird-checked.conf"), format!("router id 192.0.2.1;\ninclude \"checked.conf\";\n{uses}"))
            .unwrap();
        fs::write(run.file("birdc"), birdc).unwrap();
        let list = format!(
            "# Generated 2026-11-22 08:41:54.123456 by anycast-healthchecker (pid=123)\n\
             # {DUMMY} is a dummy IP Prefix. It should NOT be used and REMOVED from the constant.\n\
             define ACAST_PS_ADVERTISE =\n    [\n        {DUMMY},\n        {STAYS},\n        {DIES}\n    ];\n"
        );
        fs::write(run.file("anycast-prefixes.conf"), list).unwrap();
        run.set_alive("stays", true);
        run.set_alive("dies", true);
        run
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn set_alive(&self, service: &str, alive: bool) {
        let path = self.file("alive").join(service);
        if alive {
            fs::write(path, "").unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// Starts the daemon. If it is traced, a shell waits for the tracer before it becomes the
    /// daemon.
    fn start(&mut self, traced: bool, fault: Option<&Fault>) -> Option<std::thread::JoinHandle<Trace>> {
        let gate = self.file("gate");
        let mut command = self.sandbox.namespaces.host("/bin/sh");
        command.args(["-c", "test -z \"$1\" || read -r go < \"$1\"; shift; exec \"$@\"", "sh"]);
        command.arg(if traced { gate.as_os_str() } else { Path::new("").as_os_str() });
        command.arg(env!("CARGO_BIN_EXE_anycast-healthchecker"));
        command.arg("-f").arg(self.file("daemon.conf")).arg("-d").arg(self.file("services.d"));
        if traced {
            nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        self.end = None;
        let daemon = self.sandbox.namespaces.start(logged(&mut command, &self.file("output")).stdin(Stdio::null()));
        let tracer = traced.then(|| {
            let tracer = trace(daemon.pid(), fault.cloned());
            fs::write(&gate, "go\n").unwrap();
            fs::remove_file(&gate).unwrap();
            tracer
        });
        self.daemon = Some(daemon);
        tracer
    }

    /// Kills one service, starts another one, and stops the daemon. Fails if the daemon ends
    /// earlier, and sets [`Run::end`].
    fn exercise(&mut self, uses_status: bool) -> Result<(), String> {
        self.wait_for(&[STAYS, DIES])?;
        if uses_status {
            self.query_status();
        }
        self.set_alive("dies", false);
        self.wait_for(&[STAYS])?;
        self.set_alive("comes", true);
        self.wait_for(&[STAYS, COMES])?;
        self.stop()
    }

    /// Waits until the file and BIRD hold exactly these prefixes.
    fn wait_for(&mut self, prefixes: &[&str]) -> Result<(), String> {
        let wanted: BTreeSet<String> = prefixes.iter().chain([&DUMMY]).map(|prefix| prefix.to_string()).collect();
        let (file, taken) = (self.file("anycast-prefixes.conf"), self.file("taken"));
        let holds = |path: &Path| fs::read_to_string(path).is_ok_and(|text| prefixes_in(&text) == wanted);
        self.wait_until(&format!("file and BIRD to hold {prefixes:?}"), || holds(&file) && holds(&taken))
    }

    fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), String> {
        let end = Instant::now() + WAIT_TIMEOUT;
        loop {
            if condition() {
                return Ok(());
            }
            if let Some(status) = self.daemon.as_mut().and_then(Running::exited) {
                self.end = Some(status.code());
                return Err(format!("the daemon ended while the test waited for {what}"));
            }
            if Instant::now() > end {
                return Err(format!("timeout after {WAIT_TIMEOUT:?}: waited for {what}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Uses the status socket once, whatever the result.
    fn query_status(&self) {
        let sockets = fs::read_dir(self.file("run")).unwrap().flatten();
        for socket in sockets.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket())) {
            if let Ok(mut stream) = UnixStream::connect(socket.path()) {
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        let pid = Pid::from_raw(self.daemon.as_ref().unwrap().pid());
        // The daemon may have been killed meanwhile.
        let _ = kill(pid, Signal::SIGTERM);
        let end = Instant::now() + WAIT_TIMEOUT;
        while Instant::now() < end {
            if let Some(status) = self.daemon.as_mut().and_then(Running::exited) {
                self.end = Some(status.code());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("it does not stop".to_string())
    }

    /// Starts the daemon again without a fault. The routes must be right, and no unexpected file
    /// may remain.
    ///
    /// The first run may leave files only if `may_litter`, which is for faults of `unlink`.
    fn restart(&mut self, outcome: Outcome, may_litter: bool) -> Result<Outcome, String> {
        if outcome == Outcome::Continued {
            match self.litter() {
                none if none.is_empty() => return Ok(outcome),
                litter if !may_litter => return Err(format!("left over: {litter:?}")),
                _ => {}
            }
        }
        let reconfigures = self.file("reconfigures");
        let reconfigures = move || fs::metadata(&reconfigures).map_or(0, |reconfigures| reconfigures.len());
        let before_start = reconfigures();
        self.start(false, None);
        let before = if self.file("alive/dies").exists() { Some(DIES) } else { None };
        let comes = if self.file("alive/comes").exists() { Some(COMES) } else { None };
        let wanted: Vec<&str> = [STAYS].into_iter().chain(before).chain(comes).collect();
        // The daemon reconfigures or queries BIRD at each start. An earlier signal might reach a
        // program without signal handlers.
        let started = move || reconfigures() > before_start;
        let result = self.wait_until("a reconfigure", started).and_then(|()| self.wait_for(&wanted)).and_then(|()| {
            if before.is_some() {
                self.set_alive("dies", false);
            }
            if comes.is_none() {
                self.set_alive("comes", true);
            }
            self.wait_for(&[STAYS, COMES])
        });
        result.and_then(|()| self.stop()).map_err(|why| format!("at the next start: {why}"))?;
        if self.end != Some(Some(0)) {
            return Err(format!("at the next start: it ended with {:?}: {}", self.end, self.reason()));
        }
        match self.litter() {
            none if none.is_empty() => Ok(outcome),
            litter => Err(format!("left over after the next start and stop: {litter:?}")),
        }
    }

    /// Files that must not exist after a stop. The status socket may remain, because a stop does
    /// not wait for its thread, and the next start replaces a stale socket.
    fn litter(&self) -> Vec<String> {
        let names = |directory: &str| -> Vec<String> {
            let entries = fs::read_dir(self.file(directory)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let mut litter: Vec<String> = names("run").into_iter().filter(|name| name != "status.sock").collect();
        for directory in [".", "metrics", "log", "history"] {
            litter.extend(names(directory).into_iter().filter(|name| name.ends_with(".new")));
        }
        let copies = names("history").len();
        if copies > 3 {
            litter.push(format!("{copies} copies in the history"));
        }
        litter
    }

    /// Expects that no file is torn after the daemon was killed.
    fn expect_whole_files(&self) -> Result<(), String> {
        let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let list = read(self.file("anycast-prefixes.conf"));
        let checked =
            self.sandbox.namespaces.host("bird").arg("-p").arg("-c").arg(self.file("bird.conf")).output().unwrap();
        if !checked.status.success() {
            return Err(format!("BIRD does not accept what is left: {list}"));
        }
        if let Ok(pid) = fs::read_to_string(self.file("run/daemon.pid")) {
            if !pid.trim_end().is_empty() && pid.trim_end().parse::<u32>().is_err() {
                return Err(format!("a torn pidfile: {pid:?}"));
            }
        }
        for copy in fs::read_dir(self.file("history")).into_iter().flatten().flatten() {
            let text = read(copy.path());
            if !text.ends_with("];\n") || !text.contains("define ACAST_PS_ADVERTISE") {
                return Err(format!("a torn copy in the history, {:?}: {text:?}", copy.path()));
            }
        }
        let metrics = self.file("metrics/anycast_healthchecker.prom");
        if metrics.exists() && !(read(metrics.clone()).ends_with('\n') && read(metrics).contains("_uptime")) {
            return Err("a torn metrics file".to_string());
        }
        Ok(())
    }

    /// Expects that BIRD accepted every list, and that each contained the live service.
    fn expect_accepted_lists(&self) -> Result<(), String> {
        if let Ok(refused) = fs::read_to_string(self.file("refused")) {
            return Err(format!("BIRD refused a list: {refused}"));
        }
        let all = fs::read_to_string(self.file("taken.all")).unwrap_or_default();
        match all.split("define ").skip(1).find(|list| !list.contains(STAYS)) {
            Some(list) => Err(format!("BIRD took a list without the living service: {list}")),
            None => Ok(()),
        }
    }

    /// The daemon's own message about its end.
    fn reason(&self) -> String {
        let text = |name: &str| String::from_utf8_lossy(&fs::read(self.file(name)).unwrap_or_default()).into_owned();
        let output = text("output") + &text("log/stderr.log");
        let critical =
            text("log/daemon.log").lines().filter(|line| line.contains("CRITICAL")).map(String::from).next_back();
        let output = output.lines().last().map(String::from).or(critical).unwrap_or_default();
        output.replace(&self.directory.path().display().to_string(), "DIR")
    }

    /// Logs and lists, for a failing test.
    fn report(&self, trace: &Trace) -> String {
        let text = |name: &str| String::from_utf8_lossy(&fs::read(self.file(name)).unwrap_or_default()).into_owned();
        format!(
            "hit: {:?}\noutput: {}{}\nlist: {}\ntaken: {}\nlog: {}",
            trace.hit,
            text("output"),
            text("log/stderr.log"),
            text("anycast-prefixes.conf"),
            text("taken"),
            text("log/daemon.log")
        )
    }
}
