//! The namespaces of one test: the networks of host and router, mounts, and processes.
//!
//! Guarantees: root is not needed if user namespaces are allowed; process 1 is a bash that reads a
//! pipe from the test, so that all processes end with the test, even if it is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// The script of process 1: sets up the network, reports it, and waits for the end of the test.
const INIT: &str = concat!(include_str!("../../../examples/two-birds/network"), "\necho ready\nread -r\n");

/// Namespaces, which live until this is dropped.
pub(crate) struct Namespaces {
    holder: Child,
}

/// A program started in the namespaces.
pub(crate) struct Running {
    /// `nsenter`, which waits for the program and exits with its status.
    nsenter: Child,
    pid: Option<i32>,
}

/// A process in the namespaces. Ids are those outside of them.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// The words of its command line; empty for a zombie.
    pub(crate) command: String,
    /// `Z` for a zombie.
    pub(crate) state: char,
}

impl Namespaces {
    pub(crate) fn new() -> Namespaces {
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c", INIT]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "ready\n",
            "no namespaces: run as root, or allow user namespaces, and have iproute2 installed"
        );
        Namespaces { holder }
    }

    /// A command on the host, with working directory `/`.
    pub(crate) fn host(&self, program: &str) -> Command {
        let holder = self.holder.id();
        let mut command = Command::new("nsenter");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--net", "--mount", &format!("--target={holder}")]);
        command.args([&format!("--pid=/proc/{holder}/ns/pid_for_children"), program]);
        command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
        command
    }

    /// A command on the router.
    pub(crate) fn router(&self, program: &str) -> Command {
        let mut command = self.host("nsenter");
        command.args(["--net=/run/netns/router", program]);
        command
    }

    /// The path by which the tests reach a file of the host, including files on mounts.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(path.strip_prefix("/").unwrap())
    }

    /// Starts a command from [`Namespaces::host`] or [`Namespaces::router`].
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        let mut running = Running { nsenter: command.spawn().unwrap(), pid: None };
        let nsenter = running.nsenter.id() as i32;
        // The program is the only child of nsenter, which forks it soon.
        while running.pid.is_none() && running.exited().is_none() {
            running.pid = all_processes().find(|process| process.parent == nsenter).map(|process| process.pid);
            std::thread::sleep(Duration::from_millis(1));
        }
        running
    }

    /// All processes in the namespaces except process 1.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let holder = self.holder.id();
        let namespace = |path: String| std::fs::read_link(path).ok();
        let ours = namespace(format!("/proc/{holder}/ns/pid_for_children"));
        all_processes()
            .filter(|process| process.parent != holder as i32)
            .filter(|process| namespace(format!("/proc/{}/ns/pid", process.pid)) == ours)
            .collect()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Process 1 reaches the end of its input, and the kernel then kills all others.
        drop(self.holder.stdin.take());
        // A failure cannot be handled here.
        let _ = self.holder.wait();
    }
}

impl Running {
    /// The process id of the program, as seen from the tests.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.unwrap()
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
        if signal == Signal::SIGCONT {
            self.wake_nsenter();
        }
    }

    /// Continues `nsenter`, which stops together with the program but does not continue with it.
    fn wake_nsenter(&self) {
        // It may have ended.
        let _ = kill(Pid::from_raw(self.nsenter.id() as i32), Signal::SIGCONT);
    }

    /// The exit status of the program, or `None` while it runs.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.nsenter.try_wait().unwrap()
    }

    /// Whether the program exists and is not a zombie. The command line is no evidence: it is also
    /// empty during an exec.
    pub(crate) fn is_running(&self) -> bool {
        let state = |pid| {
            let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
            String::from_utf8_lossy(&stat).rsplit_once(") ")?.1.chars().next()
        };
        self.pid.and_then(state).is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// The standard output of the program, which has to be piped.
    pub(crate) fn output(&mut self) -> impl BufRead {
        BufReader::new(self.nsenter.stdout.take().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(pid), None) = (self.pid, self.exited()) {
            // The program may end by itself meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            self.wake_nsenter();
        }
        let _ = self.nsenter.wait();
    }
}

/// All visible processes of the machine.
pub(crate) fn all_processes() -> impl Iterator<Item = Process> {
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        // Process id, name in parentheses (which may hold any byte), state, parent.
        let stat = String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (fields.next()?.chars().next()?, fields.next()?.parse().ok()?);
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(Process { pid, parent, command: String::from_utf8_lossy(&words).replace('\0', " "), state })
    })
}
