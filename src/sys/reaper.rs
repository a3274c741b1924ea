//! Reaps orphaned processes if the kernel makes them children of this process: as process 1 of a
//! container, or as a child subreaper.
//!
//! A process whose parent has exited becomes a child of the nearest subreaper, or of process 1 of
//! its namespace, and stays a zombie until that process reaps it. Zombies count against the limit
//! of processes, so checks that leave children behind would soon exhaust it.
//!
//! Guarantees: [`reap_adopted`] reaps every orphaned process that has exited, and takes no exit
//! status from a thread that waits for its own child. Linux assigns a child to the thread that
//! started it, and an orphaned process to the main thread. So the main thread, which starts no
//! program, waits only for its own children: these are orphaned processes, and children of threads
//! that have ended. A child that may outlive the thread that started it has a [`Claim`]. A check
//! needs no claim, so this costs it nothing.
//!
//! Blocking: none.
//!
//! Out of scope: when to reap (`sys::signals`). If this process is neither process 1 nor a
//! subreaper, another process reaps orphans.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use rustix::process::{child_subreaper, getpid, wait, WaitOptions};

use crate::sys::mutex::Mutex;

/// `__WNOTHREAD`: only children of the calling thread.
const THIS_THREAD: u32 = 0x2000_0000;

/// All existing claims.
static CLAIMS: Mutex<Vec<Arc<Claimed>>> = Mutex::new(Vec::new());

/// A claimed child.
#[derive(Debug)]
struct Claimed {
    pid: u32,
    /// Whether [`reap_adopted`] has reaped the child.
    reaped: AtomicBool,
}

/// Records for the owner of a child whether [`reap_adopted`] has reaped it first.
#[derive(Debug)]
pub struct Claim(Arc<Claimed>);

impl Claim {
    /// Claims a child of the calling thread that has not been reaped.
    pub fn new(pid: u32) -> Claim {
        let claimed = Arc::new(Claimed { pid, reaped: AtomicBool::new(false) });
        CLAIMS.lock().push(claimed.clone());
        Claim(claimed)
    }

    /// Calls `act` while the child cannot be reaped, so that its process id is still its own.
    ///
    /// `None` if the child has already been reaped.
    pub fn unless_reaped<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _claims = CLAIMS.lock();
        (!self.0.reaped.load(Ordering::Relaxed)).then(act)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMS.lock().retain(|claimed| !Arc::ptr_eq(claimed, &self.0));
    }
}

/// Returns whether the kernel makes orphaned processes children of this process.
pub fn adopts_orphans() -> bool {
    // Kernels before 3.4 have no subreapers.
    getpid().is_init() || child_subreaper().is_ok_and(|set| set.is_some())
}

/// Reaps the orphaned processes that have exited. Call it in the main thread: only there can it
/// wait for them.
pub fn reap_adopted() {
    let claims = CLAIMS.lock();
    let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(THIS_THREAD);
    while let Ok(Some((pid, _))) = wait(options) {
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        claims
            .iter()
            .filter(|claimed| claimed.pid == pid)
            .for_each(|claimed| claimed.reaped.store(true, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::testing::isolated::wait_until;

    /// Starts a child and waits until it is a zombie.
    #[expect(clippy::disallowed_methods, reason = "the test needs children of its own threads")]
    fn zombie() -> Child {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        wait_until("the end of the child", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
        child
    }

    /// The test's thread stands for the main thread: it reaps only its own children.
    #[test]
    fn only_own_children_are_reaped_and_their_claims_record_it() {
        std::thread::scope(|scope| {
            let (go, go_signal) = std::sync::mpsc::channel::<()>();
            let (started, start_signal) = std::sync::mpsc::channel();
            let other = scope.spawn(move || {
                let mut child = zombie();
                started.send(()).unwrap();
                go_signal.recv().unwrap_err();
                child.wait().unwrap().code()
            });
            start_signal.recv().unwrap();
            let (own, claimed) = (zombie(), zombie());
            let claim = Claim::new(claimed.id());
            assert_eq!(claim.unless_reaped(|| "a zombie"), Some("a zombie"));
            reap_adopted();
            assert_eq!(claim.unless_reaped(|| "a zombie"), None);
            for child in [own, claimed] {
                assert!(!std::path::Path::new(&format!("/proc/{}/stat", child.id())).exists());
            }
            drop(go);
            assert_eq!(other.join().unwrap(), Some(7));
        });
        assert!(
            CLAIMS.lock().iter().all(|claimed| !claimed.reaped.load(Ordering::Relaxed)),
            "a dropped claim is removed"
        );
    }
}
