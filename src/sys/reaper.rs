//! Reaps orphans where the kernel gives them to this process: as process 1 of a container, or as a
//! child subreaper.
//!
//! A process whose parent has ended becomes a child of the nearest subreaper, or of process 1 of
//! its namespace, and stays a zombie until that one reaps it. Zombies count against the limit of
//! processes, so that checks that leave children would soon find no process left.
//!
//! Promises: [`reap_orphans`] reaps every orphan that has ended, and takes no exit status from a
//! thread that waits for its own child. Linux keeps a child with the thread that started it, and an
//! orphan with the main thread. So the main thread, which starts no program, asks for its own
//! children alone, and finds orphans, and children of threads that have ended. A child that may
//! outlive the thread that started it has a [`Claim`]. It costs nothing for each check, and nothing
//! at all where this process is given no orphans.
//! Who may block: nobody.
//! Leaves out: when to reap (`sys::signals`). Where this process is neither process 1 nor a
//! subreaper, orphans are somebody else's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{child_subreaper, getpid, wait, WaitOptions};

/// `__WNOTHREAD`: children of the calling thread alone.
const THIS_THREAD: u32 = 0x2000_0000;

/// All claims there are.
static CLAIMS: Mutex<Vec<Arc<Claimed>>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Claimed {
    pid: u32,
    /// By [`reap_orphans`].
    reaped: AtomicBool,
}

/// Tells whoever waits for a child that the reaper came first.
#[derive(Debug)]
pub struct Claim(Arc<Claimed>);

impl Claim {
    /// Claims a child of the calling thread, which has not been reaped.
    pub fn new(pid: u32) -> Claim {
        let claimed = Arc::new(Claimed { pid, reaped: AtomicBool::new(false) });
        claims().push(claimed.clone());
        Claim(claimed)
    }

    /// Does something while the reaper keeps off the child, so that the number is still the child's
    /// own; `None` where it has been reaped.
    pub fn unless_reaped<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _claims = claims();
        (!self.0.reaped.load(Ordering::Relaxed)).then(act)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claims().retain(|claimed| !Arc::ptr_eq(claimed, &self.0));
    }
}

/// Whether the kernel gives orphans to this process.
pub fn receives_orphans() -> bool {
    // A kernel before 3.4 knows no subreaper.
    getpid().is_init() || child_subreaper().is_ok_and(|set| set.is_some())
}

/// Reaps the orphans that have ended. Only the main thread finds them.
pub fn reap_orphans() {
    let claims = claims();
    let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(THIS_THREAD);
    while let Ok(Some((pid, _))) = wait(options) {
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        claims
            .iter()
            .filter(|claimed| claimed.pid == pid)
            .for_each(|claimed| claimed.reaped.store(true, Ordering::Relaxed));
    }
}

fn claims() -> MutexGuard<'static, Vec<Arc<Claimed>>> {
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::testing::isolated::wait_until;

    /// A child that has ended, and is a zombie.
    #[expect(clippy::disallowed_methods, reason = "the test needs children of its own threads")]
    fn zombie() -> Child {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        wait_until("the end of the child", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
        child
    }

    /// The test's thread stands for the main thread, as only its own children count.
    #[test]
    fn children_of_other_threads_are_theirs_and_a_claim_tells_of_the_others() {
        std::thread::scope(|scope| {
            let (go, wait_for) = std::sync::mpsc::channel::<()>();
            let (started, wait_for_start) = std::sync::mpsc::channel();
            let other = scope.spawn(move || {
                let mut child = zombie();
                started.send(()).unwrap();
                wait_for.recv().unwrap_err();
                child.wait().unwrap().code()
            });
            wait_for_start.recv().unwrap();
            let (mine, claimed) = (zombie(), zombie());
            let claim = Claim::new(claimed.id());
            assert_eq!(claim.unless_reaped(|| "a zombie"), Some("a zombie"));
            reap_orphans();
            assert_eq!(claim.unless_reaped(|| "a zombie"), None);
            for child in [mine, claimed] {
                assert!(!std::path::Path::new(&format!("/proc/{}/stat", child.id())).exists());
            }
            drop(go);
            assert_eq!(other.join().unwrap(), Some(7));
        });
        assert!(claims().iter().all(|claimed| !claimed.reaped.load(Ordering::Relaxed)), "claims end");
    }
}
