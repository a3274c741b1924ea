//! The daemon as the parent of orphans: as process 1 of a container, and as a subreaper.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::lab::namespaces::all_processes;
use crate::lab::service::Service;
use crate::lab::Lab;

const KILLED: &str = "10.52.12.1/32";
const ESCAPED: &str = "10.52.12.2/32";
const SLOW: &str = "10.52.12.3/32";
const FAILING: &str = "10.52.12.4/32";
/// The limit of processes and threads for the daemon and its checks.
const MAX_PROCESSES: usize = 40;

/// A control group with a limit of processes.
struct PidsLimit(PathBuf);

impl PidsLimit {
    /// Creates a group, or reports that the limit is skipped.
    fn new() -> Option<PidsLimit> {
        let name = format!("ahc-{}", std::process::id());
        let path = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|root| Path::new(root).join(&name));
        let made = path.into_iter().find(|path| {
            let made = fs::create_dir(path).and_then(|()| fs::write(path.join("pids.max"), MAX_PROCESSES.to_string()));
            if made.is_err() {
                // The directory may not exist.
                let _ = fs::remove_dir(path);
            }
            made.is_ok()
        });
        if made.is_none() {
            eprintln!("SKIPPED the limit of processes: cannot create a control group");
        }
        made.map(PidsLimit)
    }
}

impl Drop for PidsLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Services whose checks leave children in different ways.
fn leaving_children() -> Lab {
    let often = |service: Service| service.with("check_interval", "0.05");
    Lab::new([
        // Killed with the check's process group, so the daemon inherits zombies.
        often(Service::new("killed", KILLED).check("sleep 1101 & sleep 1102 & exit 0")),
        // In their own process group, so the daemon inherits live children.
        often(Service::new("escaped", ESCAPED).check("setsid sleep 0.1 & exit 0")),
        // A check with a child that times out.
        often(Service::new("slow", SLOW).check("sleep 1103; true").with("check_timeout", "0.1")),
        often(Service::new("failing", FAILING).check("sleep 1104 & exit 7")),
    ])
}

/// Waits until checks have left far more children than the limit allows, and until all zombies are
/// gone.
fn no_zombie_remains(lab: &Lab, daemon: i32) {
    lab.wait_advertised(KILLED);
    lab.wait_advertised(ESCAPED);
    for name in ["killed", "escaped", "slow", "failing"] {
        lab.wait_runs(name, 2 * MAX_PROCESSES);
    }
    // Checks that have just ended are zombies for a moment.
    let zombies = || all_processes().filter(|process| process.parent == daemon && process.state == 'Z').count();
    lab.wait_until("all zombies to be gone", |_| zombies() == 0);
    let log = lab.log("daemon.log");
    assert!(!log.contains("exit code is lost") && !log.contains("cannot start"), "{log}");
    // The checks still have their own exit codes.
    let (code, status) = lab.run_cli(&["-s", "--json"]);
    assert_eq!(code, Some(1), "{status}");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let counts = |name: &str| {
        let service = status["services"].as_array().unwrap().iter().find(|service| service["name"] == name);
        let checks = &service.unwrap()["checks"];
        ["passed", "failed", "timed_out"].map(|result| checks[result].as_u64().unwrap() > 0)
    };
    assert_eq!(counts("killed"), [true, false, false], "{status}");
    assert_eq!(counts("escaped"), [true, false, false], "{status}");
    assert_eq!(counts("slow"), [false, false, true], "{status}");
    assert_eq!(counts("failing"), [false, true, false], "{status}");
}

#[test]
fn process_1_reaps_children_of_checks() {
    let limit = PidsLimit::new();
    let mut lab = leaving_children();
    let join_group =
        limit.as_ref().map_or(String::new(), |limit| format!("echo $$ >{}/cgroup.procs", limit.0.display()));
    let daemon = crate::lab::daemon_program();
    lab.start_daemon_by(&format!("{join_group}\nexec unshare --pid --fork --kill-child --mount-proc {daemon} \"$@\""));
    let daemon = lab.wait_child(lab.daemon_pid());
    no_zombie_remains(&lab, daemon);
    kill(Pid::from_raw(daemon), Signal::SIGTERM).unwrap();
    assert_eq!(lab.wait_exit(), Some(0));
}

#[test]
fn a_subreaper_reaps_children_of_checks() {
    let mut lab = leaving_children();
    let prctl = if cfg!(target_arch = "x86_64") { 157 } else { 167 };
    let daemon = crate::lab::daemon_program();
    // 36 is PR_SET_CHILD_SUBREAPER, which survives an exec.
    lab.start_daemon_by(&format!(
        "exec perl -e 'syscall({prctl}, 36, 1, 0, 0, 0) == 0 or die; exec @ARGV' {daemon} \"$@\""
    ));
    no_zombie_remains(&lab, lab.daemon_pid());
    lab.stop_daemon();
}
