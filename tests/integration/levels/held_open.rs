//! Simulates a slow disk: holds one thread of the daemon at its open of a file.
//!
//! Out of scope: machines other than x86-64, which have other registers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use crate::faults::tracer::text_at;
use crate::lab::Lab;

/// A thread at its open of a file. It continues when this is dropped.
pub(crate) struct HeldOpen {
    thread: Pid,
}

impl HeldOpen {
    /// Waits until the drain watcher opens this file.
    pub(crate) fn by_drain_watcher(lab: &Lab, file: &Path) -> HeldOpen {
        let thread = thread_named(lab.daemon_pid(), "drain");
        ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD).unwrap();
        let held = HeldOpen { thread };
        ptrace::interrupt(thread).unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => std::thread::sleep(Duration::from_millis(1)),
                WaitStatus::PtraceSyscall(_) if held.is_at_open_of(file) => return held,
                WaitStatus::Stopped(_, signal) => ptrace::syscall(thread, signal).unwrap(),
                _ => ptrace::syscall(thread, None).unwrap(),
            }
            assert!(Instant::now() < end, "{} is not opened", file.display());
        }
    }

    fn is_at_open_of(&self, file: &Path) -> bool {
        let registers = ptrace::getregs(self.thread).unwrap();
        let enters = ptrace::syscall_info(self.thread).unwrap().op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        let opens = registers.orig_rax as i64 == libc::SYS_openat;
        enters && opens && Path::new(&text_at(self.thread, registers.rsi)) == file
    }
}

impl Drop for HeldOpen {
    fn drop(&mut self) {
        // The daemon may have been killed.
        let _ = ptrace::detach(self.thread, None);
    }
}

fn thread_named(process: i32, word: &str) -> Pid {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| fs::read_to_string(path.join("comm")).unwrap_or_default().contains(word);
    let path = threads.into_iter().find(named).unwrap_or_else(|| panic!("no thread with {word} in its name"));
    Pid::from_raw(path.file_name().unwrap().to_str().unwrap().parse().unwrap())
}
