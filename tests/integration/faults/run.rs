//! One run of the daemon with a fault: start, one service down, one up, stop; and what must be true throughout.
//!
//! BIRD is a script: it has the real `bird -p` judge the file, and keeps the list that it took. So a run takes a second,
//! and each file that BIRD was ever told of has been judged. Where the daemon speaks to BIRD's control socket, a
//! [`FakeBird`] runs that script.

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
use super::tracer::{trace, Deed, Fault, Seen};
use crate::lab::namespaces::{Namespaces, Running};
use crate::lab::{logged, prefixes_in};

/// The limit of every wait: only a wait that would never end gets there.
const LIMIT: Duration = Duration::from_secs(30);
/// Advertised at the start and alive throughout: no fault may ever take it out of what BIRD has.
const STAYS: &str = "10.52.12.1/32";
/// Advertised at the start, and then dies.
const DIES: &str = "10.52.12.2/32";
/// Dead at the start, and then comes.
const COMES: &str = "10.52.12.3/32";
const DUMMY: &str = "10.189.200.255/32";

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The call was not made this time.
    NotReached,
    /// The daemon went on, and all came right.
    WentOn,
    /// It did not start, with exit code 1 and this reason; the next start was a good one.
    Refused(String),
    /// It was killed; the next start was a good one.
    Killed,
    /// It did what it must not.
    Broken(String),
}

/// How BIRD is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Command,
    Socket,
}

/// A place for runs, one at a time.
pub(crate) struct Place {
    namespaces: Namespaces,
    way: Way,
}

impl Place {
    pub(crate) fn new(way: Way) -> Place {
        let place = Place { namespaces: Namespaces::new(), way };
        for prefix in [STAYS, DIES, COMES] {
            let mut ip = place.namespaces.host("ip");
            crate::lab::output(ip.args(["address", "add", prefix, "dev", "lo"]));
        }
        place
    }

    /// One run with this fault.
    pub(crate) fn run(&self, fault: Option<&Fault>) -> (Outcome, Seen) {
        let mut run = Run::prepare(self);
        let traced = run.start(true, fault);
        let played = run.play(true);
        let end = run.end.take();
        run.daemon = None;
        let seen = traced.unwrap().join().unwrap();
        let killed = fault.is_some_and(|fault| fault.deed == Deed::Kill) && seen.hit.is_some();
        let removing = fault.is_some_and(|fault| fault.call == "unlink");
        let outcome = match (played, end) {
            (Err(why), None) => Err(why),
            (_, Some(None)) if killed => run.after_kill().and_then(|()| run.again(Outcome::Killed, true)),
            (Err(_), Some(Some(1))) => match run.reason() {
                why if why.is_empty() => Err("it ended without a word".to_string()),
                why => run.again(Outcome::Refused(why), true),
            },
            (Ok(()), Some(Some(0))) => run.again(Outcome::WentOn, removing),
            (played, end) => Err(format!("it ended with {end:?} ({played:?}): {}", run.reason())),
        };
        let outcome = outcome.and_then(|outcome| run.bird_was_content().map(|()| outcome));
        let outcome = match outcome {
            Err(why) => Outcome::Broken(format!("{why}\n{}", run.story(&seen))),
            Ok(_) if fault.is_some() && seen.hit.is_none() => Outcome::NotReached,
            Ok(outcome) => outcome,
        };
        (outcome, seen)
    }
}

struct Run<'p> {
    place: &'p Place,
    daemon: Option<Running>,
    /// The exit code of the last daemon, nothing where a signal ended it; once it has ended.
    end: Option<Option<i32>>,
    /// What answers on the control socket, where there is one.
    _bird: Option<FakeBird>,
    directory: tempfile::TempDir,
}

impl Run<'_> {
    fn prepare(place: &Place) -> Run<'_> {
        let directory = tempfile::Builder::new().prefix("ahc-").tempdir().unwrap();
        let bird = (place.way == Way::Socket).then(|| FakeBird::start(directory.path()));
        let run = Run { place, daemon: None, end: None, _bird: bird, directory };
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
                match place.way {
                    Way::Command => String::new(),
                    Way::Socket => format!("bird_control_socket = {}", at(fake_bird::SOCKET)),
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
        // What it looks at and what it takes must be the same, or a later write would be taken for this one.
        let birdc = format!(
            "cd {}\ncp anycast-prefixes.conf looked-at.conf\necho 'BIRD 2.0.12 ready.'\n\
             echo 'Reading configuration from bird.conf'\nif bird -p -c looked.conf; then cat looked-at.conf >> took.all\n\
             mv looked-at.conf taken\nprintf . >> told\necho Reconfigured\n\
             else cat looked-at.conf >> refused; exit 1; fi\n",
            run.directory.path().display()
        );
        fs::write(run.file("looked.conf"), format!("router id 192.0.2.1;\ninclude \"looked-at.conf\";\n{uses}"))
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

    /// Starts the daemon, traced where that is wanted: a shell waits for the tracer before it becomes the daemon.
    fn start(&mut self, traced: bool, fault: Option<&Fault>) -> Option<std::thread::JoinHandle<Seen>> {
        let gate = self.file("gate");
        let mut command = self.place.namespaces.host("/bin/sh");
        command.args(["-c", "test -z \"$1\" || read -r go < \"$1\"; shift; exec \"$@\"", "sh"]);
        command.arg(if traced { gate.as_os_str() } else { Path::new("").as_os_str() });
        command.arg(env!("CARGO_BIN_EXE_anycast-healthchecker"));
        command.arg("-f").arg(self.file("daemon.conf")).arg("-d").arg(self.file("services.d"));
        if traced {
            nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        self.end = None;
        let daemon = self.place.namespaces.start(logged(&mut command, &self.file("output")).stdin(Stdio::null()));
        let tracer = traced.then(|| {
            let tracer = trace(daemon.pid(), fault.cloned());
            fs::write(&gate, "go\n").unwrap();
            fs::remove_file(&gate).unwrap();
            tracer
        });
        self.daemon = Some(daemon);
        tracer
    }

    /// One service down, one up, stop. Where the daemon ends before, that is an error, and [`Run::end`] is set.
    fn play(&mut self, asked: bool) -> Result<(), String> {
        self.wait_for(&[STAYS, DIES])?;
        if asked {
            self.ask();
        }
        self.set_alive("dies", false);
        self.wait_for(&[STAYS])?;
        self.set_alive("comes", true);
        self.wait_for(&[STAYS, COMES])?;
        self.stop()
    }

    /// Waits until file and BIRD hold exactly these.
    fn wait_for(&mut self, prefixes: &[&str]) -> Result<(), String> {
        let wanted: BTreeSet<String> = prefixes.iter().chain([&DUMMY]).map(|prefix| prefix.to_string()).collect();
        let (file, taken) = (self.file("anycast-prefixes.conf"), self.file("taken"));
        let holds = |path: &Path| fs::read_to_string(path).is_ok_and(|text| prefixes_in(&text) == wanted);
        self.wait_until(&format!("file and BIRD to hold {prefixes:?}"), || holds(&file) && holds(&taken))
    }

    fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), String> {
        let end = Instant::now() + LIMIT;
        loop {
            if condition() {
                return Ok(());
            }
            if let Some(status) = self.daemon.as_mut().and_then(Running::exited) {
                self.end = Some(status.code());
                return Err(format!("it ended while this was waited for: {what}"));
            }
            if Instant::now() > end {
                return Err(format!("waited {LIMIT:?} in vain for {what}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks on the status socket, so that it is used; whether that works is not the question here.
    fn ask(&self) {
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
        // It may have been killed just now.
        let _ = kill(pid, Signal::SIGTERM);
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.daemon.as_mut().and_then(Running::exited) {
                self.end = Some(status.code());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("it does not stop".to_string())
    }

    /// Starts it again, without a fault: everything comes right, and nothing is left that is not meant to be.
    ///
    /// Only where removing failed may the first run have left anything.
    fn again(&mut self, outcome: Outcome, may_litter: bool) -> Result<Outcome, String> {
        if outcome == Outcome::WentOn {
            match self.litter() {
                none if none.is_empty() => return Ok(outcome),
                litter if !may_litter => return Err(format!("left over: {litter:?}")),
                _ => {}
            }
        }
        let told = self.file("told");
        let told = move || fs::metadata(&told).map_or(0, |told| told.len());
        let before_start = told();
        self.start(false, None);
        let before = if self.file("alive/dies").exists() { Some(DIES) } else { None };
        let comes = if self.file("alive/comes").exists() { Some(COMES) } else { None };
        let wanted: Vec<&str> = [STAYS].into_iter().chain(before).chain(comes).collect();
        // It tells or asks BIRD at each start. Before that, a signal might find a program that does not know it yet.
        let started = move || told() > before_start;
        let played = self.wait_until("BIRD to be told", started).and_then(|()| self.wait_for(&wanted)).and_then(|()| {
            if before.is_some() {
                self.set_alive("dies", false);
            }
            if comes.is_none() {
                self.set_alive("comes", true);
            }
            self.wait_for(&[STAYS, COMES])
        });
        played.and_then(|()| self.stop()).map_err(|why| format!("at the next start: {why}"))?;
        if self.end != Some(Some(0)) {
            return Err(format!("at the next start: it ended with {:?}: {}", self.end, self.reason()));
        }
        match self.litter() {
            none if none.is_empty() => Ok(outcome),
            litter => Err(format!("left over after the next start and stop: {litter:?}")),
        }
    }

    /// Files that should not be there after a stop. The status socket may be: a stop does not wait for a thread that gets
    /// no time in which to remove it, and the next start takes it for a stale one.
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

    /// Every file is whole, where the daemon was killed in the middle of something.
    fn after_kill(&self) -> Result<(), String> {
        let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let list = read(self.file("anycast-prefixes.conf"));
        let checked =
            self.place.namespaces.host("bird").arg("-p").arg("-c").arg(self.file("bird.conf")).output().unwrap();
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

    /// Whatever BIRD was told of, it accepted, and the service that lives was in it.
    fn bird_was_content(&self) -> Result<(), String> {
        if let Ok(refused) = fs::read_to_string(self.file("refused")) {
            return Err(format!("BIRD refused a list: {refused}"));
        }
        let all = fs::read_to_string(self.file("took.all")).unwrap_or_default();
        match all.split("define ").skip(1).find(|list| !list.contains(STAYS)) {
            Some(list) => Err(format!("BIRD took a list without the living service: {list}")),
            None => Ok(()),
        }
    }

    /// Why it ended, in its own words.
    fn reason(&self) -> String {
        let text = |name: &str| String::from_utf8_lossy(&fs::read(self.file(name)).unwrap_or_default()).into_owned();
        let said = text("output") + &text("log/stderr.log");
        let critical =
            text("log/daemon.log").lines().filter(|line| line.contains("CRITICAL")).map(String::from).next_back();
        let said = said.lines().last().map(String::from).or(critical).unwrap_or_default();
        said.replace(&self.directory.path().display().to_string(), "DIR")
    }

    /// For a failing test.
    fn story(&self, seen: &Seen) -> String {
        let text = |name: &str| String::from_utf8_lossy(&fs::read(self.file(name)).unwrap_or_default()).into_owned();
        format!(
            "hit: {:?}\noutput: {}{}\nlist: {}\ntaken: {}\nlog: {}",
            seen.hit,
            text("output"),
            text("log/stderr.log"),
            text("anycast-prefixes.conf"),
            text("taken"),
            text("log/daemon.log")
        )
    }
}
