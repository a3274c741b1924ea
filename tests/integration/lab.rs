//! Two namespaces with a BIRD each, a BGP session for either family, and the daemon under test on one side.
//!
//! Promises: nothing is waited for by sleeping, each wait has a generous limit; a failing test prints the logs of all
//! who took part; nothing is left when the test ends, however it ends.

pub(crate) mod machine;
pub(crate) mod namespaces;
mod operator;
pub(crate) mod router;
pub(crate) mod service;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use namespaces::{Namespaces, Running};
use router::Routes;
use service::Service;

/// The limit of every wait: only a wait that would never end gets there.
const LIMIT: Duration = Duration::from_secs(60);

/// What stands in the lists besides the prefixes of services.
const DUMMIES: [&str; 2] = ["10.189.200.255/32", "2001:db8::1/128"];

/// The whole set-up. Fields are dropped in order: programs first, then the files.
pub(crate) struct Lab {
    pub(crate) routes: Routes,
    /// The daemon under test, while it is meant to run.
    daemon: Option<Running>,
    host_bird: Option<Running>,
    router_bird: Running,
    namespaces: Namespaces,
    services: Vec<Service>,
    options: Vec<(String, String)>,
    directory: tempfile::TempDir,
}

impl Lab {
    /// Two BIRDs with their sessions established, lists with nothing but the dummies, the addresses of all services in
    /// place, all services alive, the daemon not started.
    pub(crate) fn new(services: impl IntoIterator<Item = Service>) -> Lab {
        let directory = tempfile::Builder::new().prefix("ahc-").tempdir().unwrap();
        let path = directory.path();
        for name in ["6", "run", "services.d", "alive", "runs", "checks"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        fs::write(path.join("host.conf"), include_str!("../../examples/two-birds/host.conf")).unwrap();
        fs::write(path.join("router.conf"), include_str!("../../examples/two-birds/router.conf")).unwrap();
        let namespaces = Namespaces::new();
        let routes = Routes::watch(&namespaces);
        let router_bird = start_bird(&namespaces, path, "router");
        let mut lab = Lab {
            routes,
            daemon: None,
            host_bird: None,
            router_bird,
            namespaces,
            services: services.into_iter().collect(),
            options: Vec::new(),
            directory,
        };
        for (name, value) in lab.default_options() {
            lab.option(name, &value);
        }
        lab.write_list(&[]);
        for service in &lab.services {
            service.write(lab.path());
            lab.add_address(service.prefix, "lo");
        }
        lab.start_bird();
        lab
    }

    /// As [`Lab::new`], with the prefixes of all services listed and advertised.
    pub(crate) fn advertising(services: impl IntoIterator<Item = Service>) -> Lab {
        let lab = Lab::new(services);
        let prefixes: Vec<&str> = lab.services.iter().map(|service| service.prefix).collect();
        lab.advertise(&prefixes);
        lab
    }

    /// Where everything lies: `host.conf`, `anycast-prefixes.conf`, `6/anycast-prefixes.conf`, `daemon.log` and so on.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Makes or empties a file.
    pub(crate) fn touch(&self, name: &str) {
        File::create(self.file(name)).unwrap();
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    // --- services and addresses ---

    /// From now on its check fails.
    pub(crate) fn kill(&self, service: &str) {
        self.remove(&format!("alive/{service}"));
    }

    /// From now on its check passes.
    pub(crate) fn revive(&self, service: &str) {
        self.touch(&format!("alive/{service}"));
    }

    /// How often its check was started.
    pub(crate) fn runs(&self, service: &str) -> usize {
        fs::metadata(self.file(&format!("runs/{service}"))).map_or(0, |runs| runs.len() as usize)
    }

    /// Waits until its check was started `more` times from now on, so whatever was on its way has had its time.
    pub(crate) fn wait_runs(&self, service: &str, more: usize) {
        let wanted = self.runs(service) + more;
        self.wait_until(&format!("{wanted} checks of {service}"), |lab| lab.runs(service) >= wanted);
    }

    /// Gives the host an address.
    pub(crate) fn add_address(&self, prefix: &str, interface: &str) {
        let mut ip = self.namespaces.host("ip");
        ip.args(["address", "add", prefix, "dev", interface]);
        if prefix.contains(':') {
            ip.arg("nodad");
        }
        output(&mut ip);
    }

    /// Takes it away.
    pub(crate) fn remove_address(&self, prefix: &str, interface: &str) {
        output(self.namespaces.host("ip").args(["address", "del", prefix, "dev", interface]));
    }

    /// A command to be run on the host.
    pub(crate) fn on_host(&self, program: &str, arguments: &[&str]) -> String {
        output(self.namespaces.host(program).args(arguments))
    }

    // --- the lists ---

    /// Puts both lists in place as the original writes them, with the dummies and these prefixes.
    pub(crate) fn write_list(&self, prefixes: &[&str]) {
        for family in 0..2 {
            let ours = prefixes.iter().filter(|prefix| usize::from(prefix.contains(':')) == family);
            let listed: Vec<String> =
                std::iter::once(&DUMMIES[family]).chain(ours).map(|prefix| format!("        {prefix}")).collect();
            let variable = ["ACAST_PS_ADVERTISE", "ACAST6_PS_ADVERTISE"][family];
            let text = format!(
                "# Generated 2026-11-22 08:41:54.123456 by anycast-healthchecker (pid=123)\n\
                 # {} is a dummy IP Prefix. It should NOT be used and REMOVED from the constant.\n\
                 define {variable} =\n    [\n{}\n    ];\n",
                DUMMIES[family],
                listed.join(",\n")
            );
            fs::write(self.list_path(family), text).unwrap();
        }
    }

    /// Writes the lists, tells BIRD, and waits for the routes.
    pub(crate) fn advertise(&self, prefixes: &[&str]) {
        self.write_list(prefixes);
        self.birdc(&["configure"]);
        prefixes.iter().for_each(|prefix| self.wait_advertised(prefix));
    }

    /// The list of IPv4 (0) or IPv6 (1).
    pub(crate) fn list_path(&self, family: usize) -> PathBuf {
        self.file(["anycast-prefixes.conf", "6/anycast-prefixes.conf"][family])
    }

    /// The same as the host sees it, where something is mounted there.
    pub(crate) fn list_on_host(&self, family: usize) -> PathBuf {
        self.namespaces.path(&self.list_path(family))
    }

    /// What both lists hold, without the dummies; nothing where one is missing or has lost its dummy.
    pub(crate) fn listed(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for (family, dummy) in DUMMIES.iter().enumerate() {
            let prefixes = prefixes_in(&fs::read_to_string(self.list_on_host(family)).ok()?);
            if !prefixes.contains(*dummy) {
                return None;
            }
            all.extend(prefixes.into_iter().filter(|prefix| prefix != dummy));
        }
        Some(all)
    }

    /// Waits until the lists hold exactly these.
    pub(crate) fn wait_listed(&self, prefixes: &[&str]) {
        let wanted: BTreeSet<String> = prefixes.iter().map(|prefix| prefix.to_string()).collect();
        self.wait_until(&format!("the lists to hold {prefixes:?}"), |lab| lab.listed().as_ref() == Some(&wanted));
    }

    // --- the router ---

    /// Waits until the router has the route.
    pub(crate) fn wait_advertised(&self, prefix: &str) {
        self.wait_until(&format!("{prefix} to be advertised"), |lab| lab.routes.has(prefix));
    }

    /// Waits until the router has lost it.
    pub(crate) fn wait_withdrawn(&self, prefix: &str) {
        self.wait_until(&format!("{prefix} to be withdrawn"), |lab| !lab.routes.has(prefix));
    }

    // --- the host's BIRD ---

    /// Starts it and waits for both sessions.
    pub(crate) fn start_bird(&mut self) {
        self.host_bird = Some(start_bird(&self.namespaces, self.path(), "host"));
        // Asking also wakes BIRD 2.0, which else may keep its first routes for three seconds.
        self.wait_until("both BGP sessions to be established", |lab| {
            let established = |side| ask_bird(&lab.namespaces, lab.path(), side, &["show", "protocols"]);
            ["host", "router"].iter().all(|side| established(side).matches("Established").count() == 2)
        });
    }

    /// Ends it; all its routes leave the router.
    pub(crate) fn stop_bird(&mut self) {
        let mut bird = self.host_bird.take().unwrap();
        bird.signal(Signal::SIGTERM);
        self.wait_until("BIRD to end", |_| bird.exited().is_some());
        self.wait_until("its routes to leave the router", |lab| lab.routes.is_empty());
    }

    /// Sends it a signal, to stop it in its tracks or wake it again.
    pub(crate) fn signal_bird(&self, signal: Signal) {
        self.host_bird.as_ref().unwrap().signal(signal);
    }

    /// What it says to a command.
    pub(crate) fn birdc(&self, command: &[&str]) -> String {
        ask_bird(&self.namespaces, self.path(), "host", command)
    }

    /// How often it has taken a configuration.
    pub(crate) fn reconfigured(&self) -> usize {
        self.log("host-bird.log").matches("Reconfigured").count()
    }

    /// Waits until the daemon has nothing more to say to it: after a change BIRD 2.0 is woken once more. What somebody does
    /// to a list then is read by nobody before the daemon has seen it.
    pub(crate) fn wait_bird_left_alone(&self) {
        self.wait_until("BIRD to be left alone", |lab| {
            let log = lab.log("daemon.log");
            let told = |what: &str| log.rfind(what);
            let runs = ["reconfiguring BIRD by", "waking BIRD"].map(|what| log.matches(what).count());
            let is_woken = !log.contains("BIRD 2.0.") || told("waking BIRD") > told("reconfiguring BIRD by");
            is_woken && lab.reconfigured() >= runs.iter().sum()
        });
    }

    // --- the daemon ---

    /// Sets an option of its `[daemon]` section for the next start.
    pub(crate) fn option(&mut self, name: &str, value: &str) {
        service::set(&mut self.options, name, value);
    }

    /// Leaves an option of its `[daemon]` section out.
    pub(crate) fn no_option(&mut self, name: &str) {
        self.options.retain(|(option, _)| option != name);
    }

    /// Writes a shell script, run in the lab's directory, with `$BIRDC` for the usual reconfigure command. `{lab}/NAME`
    /// is its path in a service's options.
    pub(crate) fn script(&self, name: &str, script: &str) {
        fs::write(self.file(name), self.script_text(script)).unwrap();
    }

    /// The text of such a script.
    pub(crate) fn script_text(&self, script: &str) -> String {
        format!("cd {}\nBIRDC='{}'\n{script}\n", self.path().display(), self.reconfigure_command())
    }

    /// Has such a script be the reconfigure command of both families.
    pub(crate) fn reconfigure_script(&mut self, script: &str) {
        self.script("reconfigure", script);
        let command = format!("/bin/sh {}", self.file("reconfigure").display());
        self.option("bird_reconfigure_cmd", &command);
        self.option("bird6_reconfigure_cmd", &command);
    }

    /// Starts the daemon under test: ours, or the one that the environment names.
    pub(crate) fn start_daemon(&mut self) {
        self.start_this_daemon(&daemon_program());
    }

    /// Starts that program as the daemon.
    pub(crate) fn start_this_daemon(&mut self, program: &str) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        self.daemon = Some(self.start_logging_to(program, "daemon.log"));
    }

    /// Starts one more, which writes to `second.log`.
    pub(crate) fn second_daemon(&self) -> Running {
        self.start_logging_to(&daemon_program(), "second.log")
    }

    /// Writes the `[daemon]` section as it is set now, for a reload.
    pub(crate) fn write_options(&self) {
        let options: String = self.options.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        fs::write(self.file("daemon.conf"), format!("[daemon]\n{options}")).unwrap();
    }

    fn start_logging_to(&self, program: &str, log: &str) -> Running {
        self.write_options();
        self.namespaces.start(logged(&mut self.command(program), &self.file(log)))
    }

    /// The program with its configuration. It finds programs in `bin` of the lab's directory before
    /// all others.
    fn command(&self, program: &str) -> Command {
        let mut command = self.namespaces.host(program);
        let others = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{others}:/usr/sbin:/sbin", self.file("bin").display()));
        command.arg("-f").arg(self.file("daemon.conf")).arg("-d").arg(self.file("services.d"));
        command
    }

    /// Runs the program as an operator does; its exit code and all that it says.
    pub(crate) fn operate(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.write_options();
        let output = self.command(&daemon_program()).args(arguments).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Whether the daemon runs.
    pub(crate) fn daemon_runs(&self) -> bool {
        self.daemon.as_ref().is_some_and(Running::is_running)
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    /// Waits for it to end, and for its exit code; nothing where a signal ended it.
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().unwrap();
        self.wait_until("the daemon to end", |_| daemon.exited().is_some());
        daemon.exited().unwrap().code()
    }

    /// Stops it as a supervisor does.
    pub(crate) fn stop_daemon(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait_exit(), Some(0), "exit code after SIGTERM");
    }

    /// The running processes on the host whose command line holds this text, by their ids as seen from the tests.
    pub(crate) fn processes(&self, text: &str) -> Vec<i32> {
        let all = self.namespaces.processes().into_iter();
        all.filter(|process| process.command.contains(text)).map(|process| process.pid).collect()
    }

    // --- waiting and telling ---

    /// Waits for something that must come true while the daemon, where it was started, keeps running.
    pub(crate) fn wait_until(&self, what: &str, mut condition: impl FnMut(&Lab) -> bool) {
        let end = Instant::now() + LIMIT;
        while !condition(self) {
            let ended = self.daemon.as_ref().is_some_and(|daemon| !daemon.is_running());
            assert!(!ended, "the daemon ended while the test waited for {what}");
            assert!(Instant::now() < end, "waited {LIMIT:?} in vain for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The text of a log.
    pub(crate) fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.file(name)).unwrap_or_default()).into_owned()
    }

    fn default_options(&self) -> [(&'static str, String); 9] {
        let path = |name| self.file(name).display().to_string();
        [
            ("pidfile", path("run/daemon.pid")),
            ("ipv4", "true".into()),
            ("ipv6", "true".into()),
            ("bird_conf", path("anycast-prefixes.conf")),
            ("bird6_conf", path("6/anycast-prefixes.conf")),
            ("bird_reconfigure_cmd", self.reconfigure_command()),
            ("bird6_reconfigure_cmd", self.reconfigure_command()),
            ("loglevel", "debug".into()),
            ("prometheus_exporter", "false".into()),
        ]
    }

    fn reconfigure_command(&self) -> String {
        format!("{} -s {} configure", bird_program("birdc"), self.file("host.ctl").display())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("--- routes at the router, as they came and went\n{}", self.routes.story());
        for name in
            ["daemon.log", "host-bird.log", "router-bird.log", "anycast-prefixes.conf", "6/anycast-prefixes.conf"]
        {
            let text = self.log(name);
            // What is said at the debug level would push out what matters.
            let (all, lines): (usize, Vec<&str>) =
                (text.lines().count(), text.lines().filter(|line| !line.contains(" DEBUG ")).collect());
            let from = lines.len().saturating_sub(400);
            eprintln!(
                "--- {name}, the last {} of {all} lines, those of the debug level left out\n{}",
                lines.len() - from,
                lines[from..].join("\n")
            );
        }
        eprintln!("--- processes\n{:#?}", self.namespaces.processes());
        eprintln!("--- the router's BIRD runs: {}", self.router_bird.is_running());
    }
}

/// Runs a command to its end, which must be a good one, and gives what it printed.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// All prefixes in a list, comments left out.
pub(crate) fn prefixes_in(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = code.flat_map(|line| line.split([' ', ',', '[', ']', ';']));
    words.filter(|word| word.contains('/')).map(str::to_string).collect()
}

/// Has what a command prints appended to a file.
pub(crate) fn logged<'c>(command: &'c mut Command, path: &Path) -> &'c mut Command {
    let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file)
}

/// The daemon under test.
pub(crate) fn daemon_program() -> String {
    std::env::var("DAEMON").unwrap_or_else(|_| env!("CARGO_BIN_EXE_anycast-healthchecker").into())
}

pub(crate) fn bird_program(name: &str) -> String {
    std::env::var("BIRD_DIR").map_or_else(|_| format!("/usr/sbin/{name}"), |folder| format!("{folder}/{name}"))
}

/// Starts the BIRD of the host or the router, and waits until it answers.
fn start_bird(namespaces: &Namespaces, path: &Path, side: &str) -> Running {
    let mut command = match side {
        "host" => namespaces.host(&bird_program("bird")),
        _ => namespaces.router(&bird_program("bird")),
    };
    command.arg("-f").arg("-c").arg(path.join(format!("{side}.conf")));
    command.arg("-s").arg(path.join(format!("{side}.ctl")));
    let mut bird = namespaces.start(logged(&mut command, &path.join(format!("{side}-bird.log"))));
    let end = Instant::now() + LIMIT;
    while !ask_bird(namespaces, path, side, &["show", "status"]).contains("Daemon is up") {
        let log = fs::read_to_string(path.join(format!("{side}-bird.log"))).unwrap_or_default();
        assert!(bird.exited().is_none() && Instant::now() < end, "the {side}'s BIRD does not start: {log}");
        std::thread::sleep(Duration::from_millis(10));
    }
    bird
}

fn ask_bird(namespaces: &Namespaces, path: &Path, side: &str, command: &[&str]) -> String {
    let mut birdc = namespaces.host(&bird_program("birdc"));
    let output = birdc.arg("-s").arg(path.join(format!("{side}.ctl"))).args(command).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
