//! The test environment: two network namespaces with a BIRD each, a BGP session for each family,
//! and the daemon under test on one side.
//!
//! Guarantees: waits poll a condition and have a generous timeout; a failing test prints all logs;
//! nothing remains when the test ends, whatever ends it.

mod bird;
mod lists;
pub(crate) mod machine;
pub(crate) mod namespaces;
mod operator;
pub(crate) mod router;
pub(crate) mod service;

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

pub(crate) use bird::bird_program;
use bird::start_bird;
pub(crate) use lists::prefixes_in;
use namespaces::{Namespaces, Running};
use router::Routes;
use service::Service;

/// The timeout of every wait. Only a wait for something that never happens reaches it.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The whole environment. Fields are dropped in order: first programs, then files.
pub(crate) struct Lab {
    pub(crate) routes: Routes,
    /// The daemon under test, unless it was stopped.
    daemon: Option<Running>,
    host_bird: Option<Running>,
    router_bird: Running,
    /// How often the test itself has had the host's BIRD reconfigure.
    own_reconfigures: Cell<usize>,
    namespaces: Namespaces,
    services: Vec<Service>,
    options: Vec<(String, String)>,
    directory: tempfile::TempDir,
}

impl Lab {
    /// Starts two BIRDs and waits for their sessions. The lists contain only the dummies, the
    /// addresses of all services are assigned, all services are alive, and the daemon is not
    /// started.
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
            own_reconfigures: Cell::new(0),
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

    /// Like [`Lab::new`], with the prefixes of all services listed and advertised.
    pub(crate) fn advertising(services: impl IntoIterator<Item = Service>) -> Lab {
        let lab = Lab::new(services);
        let prefixes: Vec<&str> = lab.services.iter().map(|service| service.prefix).collect();
        lab.advertise(&prefixes);
        lab
    }

    /// The directory of all files: `host.conf`, `anycast-prefixes.conf`, `6/anycast-prefixes.conf`,
    /// `daemon.log` and others.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a file in this directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Creates a file, or empties it.
    pub(crate) fn touch(&self, name: &str) {
        File::create(self.file(name)).unwrap();
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    // --- services and addresses ---

    /// Makes the check of a service fail.
    pub(crate) fn kill(&self, service: &str) {
        self.remove(&format!("alive/{service}"));
    }

    /// Makes the check of a service pass.
    pub(crate) fn revive(&self, service: &str) {
        self.touch(&format!("alive/{service}"));
    }

    /// How often the check of a service was started.
    pub(crate) fn runs(&self, service: &str) -> usize {
        fs::metadata(self.file(&format!("runs/{service}"))).map_or(0, |runs| runs.len() as usize)
    }

    /// Waits for `more` further starts of a check, which gives pending changes time to take effect.
    pub(crate) fn wait_runs(&self, service: &str, more: usize) {
        let wanted = self.runs(service) + more;
        self.wait_until(&format!("{wanted} checks of {service}"), |lab| lab.runs(service) >= wanted);
    }

    /// Assigns an address to an interface of the host.
    pub(crate) fn add_address(&self, prefix: &str, interface: &str) {
        let mut ip = self.namespaces.host("ip");
        ip.args(["address", "add", prefix, "dev", interface]);
        if prefix.contains(':') {
            ip.arg("nodad");
        }
        output(&mut ip);
    }

    /// Removes an address from an interface of the host.
    pub(crate) fn remove_address(&self, prefix: &str, interface: &str) {
        output(self.namespaces.host("ip").args(["address", "del", prefix, "dev", interface]));
    }

    /// Runs a command on the host, which has to succeed. Returns its output.
    pub(crate) fn on_host(&self, program: &str, arguments: &[&str]) -> String {
        output(self.namespaces.host(program).args(arguments))
    }

    // --- the router ---

    /// Waits until the router has the route.
    pub(crate) fn wait_advertised(&self, prefix: &str) {
        self.wait_until(&format!("{prefix} to be advertised"), |lab| lab.routes.has(prefix));
    }

    /// Waits until the router has lost the route.
    pub(crate) fn wait_withdrawn(&self, prefix: &str) {
        self.wait_until(&format!("{prefix} to be withdrawn"), |lab| !lab.routes.has(prefix));
    }

    // --- the daemon ---

    /// Sets an option of the `[daemon]` section for the next start or reload.
    pub(crate) fn option(&mut self, name: &str, value: &str) {
        service::set(&mut self.options, name, value);
    }

    /// Removes an option from the `[daemon]` section, so that its default applies.
    pub(crate) fn clear_option(&mut self, name: &str) {
        self.options.retain(|(option, _)| option != name);
    }

    /// Writes a shell script that runs in the lab's directory, with the usual reconfigure command
    /// as `$BIRDC`. In a service's options its path is `{lab}/NAME`.
    pub(crate) fn script(&self, name: &str, script: &str) {
        fs::write(self.file(name), self.script_text(script)).unwrap();
    }

    /// The text of such a script.
    pub(crate) fn script_text(&self, script: &str) -> String {
        format!("cd {}\nBIRDC='{}'\n{script}\n", self.path().display(), self.reconfigure_command())
    }

    /// Makes such a script the reconfigure command of both families.
    pub(crate) fn reconfigure_script(&mut self, script: &str) {
        self.script("reconfigure", script);
        let command = format!("/bin/sh {}", self.file("reconfigure").display());
        self.option("bird_reconfigure_cmd", &command);
        self.option("bird6_reconfigure_cmd", &command);
    }

    /// Starts the daemon under test: ours, or the one in `DAEMON`.
    pub(crate) fn start_daemon(&mut self) {
        self.start_this_daemon(&daemon_program());
    }

    /// Starts this program as the daemon.
    pub(crate) fn start_this_daemon(&mut self, program: &str) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        self.daemon = Some(self.start_logging_to(program, "daemon.log"));
    }

    /// Starts another instance of the daemon, which writes to `second.log`.
    pub(crate) fn start_second_daemon(&self) -> Running {
        self.start_logging_to(&daemon_program(), "second.log")
    }

    /// Writes the `[daemon]` section with the current options.
    pub(crate) fn write_options(&self) {
        let options: String = self.options.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        fs::write(self.file("daemon.conf"), format!("[daemon]\n{options}")).unwrap();
    }

    fn start_logging_to(&self, program: &str, log: &str) -> Running {
        self.write_options();
        self.namespaces.start(logged(&mut self.command(program), &self.file(log)))
    }

    /// The program with its configuration. It looks for other programs in `bin` of the lab's
    /// directory first.
    fn command(&self, program: &str) -> Command {
        let mut command = self.namespaces.host(program);
        let others = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{others}:/usr/sbin:/sbin", self.file("bin").display()));
        command.arg("-f").arg(self.file("daemon.conf")).arg("-d").arg(self.file("services.d"));
        command
    }

    /// Runs the program as an operator does. Returns its exit code and its output.
    pub(crate) fn run_cli(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.write_options();
        let output = self.command(&daemon_program()).args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether the daemon runs.
    pub(crate) fn daemon_runs(&self) -> bool {
        self.daemon.as_ref().is_some_and(Running::is_running)
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    /// Waits for the daemon to end. Returns its exit code, or `None` if a signal killed it.
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().unwrap();
        self.wait_until("the daemon to end", |_| daemon.exited().is_some());
        daemon.exited().unwrap().code()
    }

    /// Stops the daemon as a supervisor does.
    pub(crate) fn stop_daemon(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait_exit(), Some(0), "exit code after SIGTERM");
    }

    /// The ids of the host's processes whose command line contains this text, as seen from the
    /// tests.
    pub(crate) fn processes(&self, text: &str) -> Vec<i32> {
        let all = self.namespaces.processes().into_iter();
        all.filter(|process| process.command.contains(text)).map(|process| process.pid).collect()
    }

    // --- waiting and reporting ---

    /// Waits for a condition. Fails if a started daemon ends meanwhile.
    pub(crate) fn wait_until(&self, what: &str, mut condition: impl FnMut(&Lab) -> bool) {
        let end = Instant::now() + WAIT_TIMEOUT;
        while !condition(self) {
            let has_ended = self.daemon.as_ref().is_some_and(|daemon| !daemon.is_running());
            assert!(!has_ended, "the daemon ended while the test waited for {what}");
            assert!(Instant::now() < end, "timeout after {WAIT_TIMEOUT:?}: waited for {what}");
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
        eprintln!("--- routes at the router, as they came and went\n{}", self.routes.transcript());
        for name in
            ["daemon.log", "host-bird.log", "router-bird.log", "anycast-prefixes.conf", "6/anycast-prefixes.conf"]
        {
            let text = self.log(name);
            // Lines of the debug level would push out more important ones.
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

/// Runs a command that has to succeed. Returns its standard output.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Appends the output of a command to a file.
pub(crate) fn logged<'c>(command: &'c mut Command, path: &Path) -> &'c mut Command {
    let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file)
}

/// The path of the daemon under test.
pub(crate) fn daemon_program() -> String {
    std::env::var("DAEMON").unwrap_or_else(|_| env!("CARGO_BIN_EXE_anycast-healthchecker").into())
}
