//! The daemon where the kernel gives it orphans: as process 1 of a container, and as a subreaper.

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
/// How many processes and threads the daemon and its checks may have, all in all.
const MOST: usize = 40;

/// A control group with a limit of processes. Nothing where this machine has none.
struct Limited(PathBuf);

impl Limited {
    fn new() -> Option<Limited> {
        let name = format!("ahc-{}", std::process::id());
        let path = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|root| Path::new(root).join(&name));
        let made = path.into_iter().find(|path| {
            let made = fs::create_dir(path).and_then(|()| fs::write(path.join("pids.max"), MOST.to_string()));
            if made.is_err() {
                // It may not even have been made.
                let _ = fs::remove_dir(path);
            }
            made.is_ok()
        });
        if made.is_none() {
            eprintln!("SKIPPED the limit of processes: no control group for it can be made");
        }
        made.map(Limited)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Services whose checks leave children of every kind.
fn leaving_children() -> Lab {
    let often = |service: Service| service.with("check_interval", "0.05");
    Lab::new([
        // Killed with the check's group, so given to the daemon as zombies.
        often(Service::new("killed", KILLED).check("sleep 1101 & sleep 1102 & exit 0")),
        // Left the group, so given to the daemon alive.
        often(Service::new("escaped", ESCAPED).check("setsid sleep 0.1 & exit 0")),
        // Timed out, with a child.
        often(Service::new("slow", SLOW).check("sleep 1103; true").with("check_timeout", "0.1")),
        often(Service::new("failing", FAILING).check("sleep 1104 & exit 7")),
    ])
}

/// Waits until checks have left far more children than there may be, and for the end of all of
/// them.
fn no_zombie_stays(lab: &Lab, daemon: i32) {
    lab.wait_advertised(KILLED);
    lab.wait_advertised(ESCAPED);
    for name in ["killed", "escaped", "slow", "failing"] {
        lab.wait_runs(name, 2 * MOST);
    }
    // Those of checks that run are there for a moment.
    let zombies = || all_processes().filter(|process| process.parent == daemon && process.state == 'Z').count();
    lab.wait_until("all zombies to be gone", |_| zombies() == 0);
    let log = lab.log("daemon.log");
    assert!(!log.contains("exit code is lost") && !log.contains("cannot start"), "{log}");
    // The exit codes are the checks' own still.
    let (code, status) = lab.operate(&["-s", "--json"]);
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

fn child_of(parent: i32) -> Option<i32> {
    all_processes().find(|process| process.parent == parent).map(|process| process.pid)
}

#[test]
fn process_1_reaps_what_checks_leave() {
    let limited = Limited::new();
    let mut lab = leaving_children();
    let limit =
        limited.as_ref().map_or(String::new(), |limited| format!("echo $$ >{}/cgroup.procs", limited.0.display()));
    let daemon = crate::lab::daemon_program();
    lab.start_daemon_by(&format!("{limit}\nexec unshare --pid --fork --kill-child --mount-proc {daemon} \"$@\""));
    // `unshare` is another one of the limited.
    let mut found = None;
    lab.wait_until("the daemon as process 1", |lab| {
        found = child_of(lab.daemon_pid());
        found.is_some()
    });
    no_zombie_stays(&lab, found.unwrap());
    kill(Pid::from_raw(found.unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(lab.wait_exit(), Some(0));
}

#[test]
fn a_subreaper_reaps_what_checks_leave() {
    let mut lab = leaving_children();
    let prctl = if cfg!(target_arch = "x86_64") { 157 } else { 167 };
    let daemon = crate::lab::daemon_program();
    // 36 is PR_SET_CHILD_SUBREAPER, which an exec leaves set.
    lab.start_daemon_by(&format!(
        "exec perl -e 'syscall({prctl}, 36, 1, 0, 0, 0) == 0 or die; exec @ARGV' {daemon} \"$@\""
    ));
    no_zombie_stays(&lab, lab.daemon_pid());
    lab.stop_daemon();
}
