//! Limits of the machine: control groups, stalls, and read-only file systems.
//!
//! Out of scope: machines without control groups of version 1, where the tests that need them are
//! skipped.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::namespaces::all_processes;
use super::Lab;

/// A control group of one controller, for the daemon of one test. Dropping it also kills its load
/// programs.
pub(crate) struct ControlGroup {
    path: PathBuf,
    hogs: Vec<Child>,
}

impl ControlGroup {
    /// Creates a group, or reports that the test is skipped.
    pub(crate) fn new(controller: &str, lab: &Lab) -> Option<ControlGroup> {
        let root = PathBuf::from("/sys/fs/cgroup").join(controller);
        let path = root.join(lab.path().file_name().unwrap());
        let made = match root.join("cgroup.procs").exists() && root.join("notify_on_release").exists() {
            true => fs::create_dir(&path).map_err(|why| why.to_string()),
            false => Err(format!("no control group of version 1 at {}", root.display())),
        };
        if let Err(why) = &made {
            let _ = writeln!(io::stderr(), "SKIPPED: a limit of {controller}: {why}");
        }
        made.ok().map(|()| ControlGroup { path, hogs: Vec::new() })
    }

    /// Sets a limit of the group.
    pub(crate) fn set(&self, name: &str, value: &str) {
        fs::write(self.path.join(name), value).unwrap();
    }

    /// Moves a process with all its threads into the group.
    pub(crate) fn enter(&self, pid: i32) {
        self.set("cgroup.procs", &pid.to_string());
    }

    /// Moves a process back to the parent group.
    pub(crate) fn leave(&self, pid: i32) {
        // The process may have ended.
        let _ = fs::write(self.path.parent().unwrap().join("cgroup.procs"), pid.to_string());
    }

    /// Starts two programs that use up the group's processor time, which is limited to almost
    /// nothing.
    pub(crate) fn starve(&mut self) {
        self.set("cpu.cfs_period_us", "1000000");
        self.set("cpu.cfs_quota_us", "1000");
        for _ in 0..2 {
            let mut hog = Command::new("nice");
            hog.args(["--adjustment=-20", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
            let hog = hog.spawn().unwrap();
            self.enter(hog.id() as i32);
            self.hogs.push(hog);
        }
    }

    /// Stalls a process for this time, except for short moments.
    pub(crate) fn stall(&self, pid: i32, time: Duration) {
        self.enter(pid);
        std::thread::sleep(time);
        self.leave(pid);
        // Children of the process are in the group, too, and would stay stalled.
        for process in fs::read_to_string(self.path.join("cgroup.procs")).unwrap().lines() {
            let process = process.parse().unwrap();
            if !self.hogs.iter().any(|hog| hog.id() as i32 == process) {
                self.leave(process);
            }
        }
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for hog in &mut self.hogs {
            let _ = hog.kill();
            let _ = hog.wait();
        }
        for process in fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines() {
            self.leave(process.parse().unwrap_or_default());
        }
        let _ = fs::remove_dir(&self.path);
    }
}

impl Lab {
    /// Makes one of the lab's directories read-only on the host, or writable again.
    pub(crate) fn set_read_only(&self, directory: &str, read_only: bool) {
        let path = self.file(directory).display().to_string();
        if read_only {
            self.on_host("mount", &["--bind", &path, &path]);
        }
        let options = format!("remount,bind,{}", if read_only { "ro" } else { "rw" });
        self.on_host("mount", &["-o", &options, &path]);
    }

    /// The number of children that have ended and that the process has not reaped.
    pub(crate) fn zombies(&self, parent: i32) -> usize {
        let is_zombie = |pid: i32| {
            let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
            String::from_utf8_lossy(&stat).rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
        };
        children(parent).filter(|pid| is_zombie(*pid)).count()
    }

    /// Waits for a process to have a child. Returns its id.
    pub(crate) fn wait_child(&self, parent: i32) -> i32 {
        let mut child = None;
        self.wait_until(&format!("process {parent} to have a child"), |_| {
            child = children(parent).next();
            child.is_some()
        });
        child.unwrap()
    }
}

fn children(parent: i32) -> impl Iterator<Item = i32> {
    all_processes().filter(move |process| process.parent == parent).map(|process| process.pid)
}
