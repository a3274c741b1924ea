//! Learning at once that a process ended which is nobody's child here: one thread that waits for all of them.
//!
//! ```text
//!   watch -- runs ----> watched -- ends ---> told once, never again
//!     |                    |
//!     +-- has ended,       +-- Watched is dropped: nothing is told any more
//!         is a zombie,
//!         is not there: refused
//! ```
//!
//! Promises: no polling and no privilege (pidfd); the thread starts with the first process that is watched, and wakes
//! for ends alone. A process that has ended by the time it is watched is refused rather than told of, so that who
//! watches whatever a file names cannot be woken twice by one process. None is watched while half of the
//! descriptors that this program may have are in use, as checks need the others.
//! Who may block: only the thread, on the kernel. What stops it: the stop line; it owns nothing that must be put in
//! order, so nobody has to wait for it.
//! Leaves out: which process it is to be (`check::watch_pidfile`). A number that a foreign process got meanwhile is watched
//! as that process.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{epoll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{getrlimit, pidfd_open, Pid, PidfdFlags, Resource};

use crate::sys::mutex::Mutex;
use crate::sys::poll::poll_until;
use crate::sys::stop_token::StopToken;

/// How many ends are taken at once.
const EVENTS: usize = 64;
/// How long to rest after an error that is no interruption, so as not to spin on it.
const REST: Duration = Duration::from_millis(10);
/// For the thread: it calls nothing deep.
const STACK: usize = 128 * 1024;
/// The stop line's number among those of the watched processes.
const STOP: u64 = 0;

/// Whoever waits for the end of processes.
pub struct Watcher {
    waiting: Mutex<Waiting>,
    stop: StopToken,
}

#[derive(Default)]
struct Waiting {
    /// None until the thread runs.
    epoll: Option<Arc<OwnedFd>>,
    /// What to do at the end of each process that is watched.
    tell: HashMap<u64, Box<dyn FnOnce() + Send>>,
    last: u64,
}

/// A process that is watched for as long as this lives.
pub struct Watched {
    pid: Pid,
    pidfd: OwnedFd,
    number: u64,
    watcher: Arc<Watcher>,
}

/// Why a process is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It has ended, or never was, or is in another namespace.
    #[error("process {0} has ended, or cannot be seen from here")]
    NoSuchProcess(i32),
    /// Checks might lack descriptors.
    #[error(
        "process {0} is not watched, as half of the open files that the daemon may have are in use and the others are \
         left for the checks: raise the limit (LimitNOFILE=)"
    )]
    TooManyDescriptors(i32),
    /// No descriptor or thread is left, it is no process but a thread, or the kernel is older than 5.3.
    #[error("cannot watch process {pid}: {source}")]
    Kernel {
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Watcher {
    /// One that watches nothing, and ends with the stop line.
    pub fn new(stop: StopToken) -> Arc<Watcher> {
        Arc::new(Watcher { waiting: Mutex::default(), stop })
    }

    /// Has `tell` called on the watching thread, once, when the process ends. It must not block.
    ///
    /// # Errors
    /// The process is not there, or nothing is left to watch it with: to be tried again, if at all, with the next check.
    pub fn watch(self: &Arc<Self>, pid: Pid, tell: impl FnOnce() + Send + 'static) -> Result<Watched, WatchError> {
        let cannot = |source| WatchError::Kernel { pid: pid.as_raw_pid(), source };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Err(WatchError::NoSuchProcess(pid.as_raw_pid())),
            Err(errno) => return Err(cannot(errno.into())),
        };
        if has_ended(&pidfd) {
            return Err(WatchError::NoSuchProcess(pid.as_raw_pid()));
        }
        // A new descriptor has the lowest number that is free, so all below it are in use.
        let in_use = u64::from(pidfd.as_raw_fd().unsigned_abs());
        if getrlimit(Resource::Nofile).current.is_some_and(|most| in_use >= most / 2) {
            return Err(WatchError::TooManyDescriptors(pid.as_raw_pid()));
        }
        let mut waiting = self.waiting.lock();
        let epoll = match &waiting.epoll {
            Some(epoll) => epoll.clone(),
            None => waiting.epoll.insert(self.start().map_err(cannot)?).clone(),
        };
        waiting.last += 1;
        let number = waiting.last;
        // One that ended in this moment is told of as well: it is there that counts, not that it comes.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&epoll, &pidfd, epoll::EventData::new_u64(number), flags).map_err(|errno| cannot(errno.into()))?;
        waiting.tell.insert(number, Box::new(tell));
        drop(waiting);
        Ok(Watched { pid, pidfd, number, watcher: self.clone() })
    }

    fn start(self: &Arc<Self>) -> io::Result<Arc<OwnedFd>> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        epoll::add(&epoll, &self.stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let (watcher, watched) = (self.clone(), epoll.clone());
        let thread = std::thread::Builder::new().name("processes".into()).stack_size(STACK);
        thread.spawn(move || watcher.run(&watched))?;
        Ok(epoll)
    }

    fn run(&self, epoll: &OwnedFd) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            match epoll::wait(epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(REST),
            }
            for epoll::Event { data, .. } in events.drain(..) {
                if data.u64() == STOP {
                    return;
                }
                // Nothing is found for one that is no longer watched.
                let tell = self.waiting.lock().tell.remove(&data.u64());
                if let Some(tell) = tell {
                    tell();
                }
            }
        }
    }
}

impl Watched {
    /// Which process it is.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has ended. It may be told of a moment later.
    pub fn has_ended(&self) -> bool {
        has_ended(&self.pidfd)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The kernel forgets a descriptor that is closed.
        let tell = self.watcher.waiting.lock().tell.remove(&self.number);
        drop(tell);
    }
}

/// A zombie counts: its files and sockets are closed.
fn has_ended(pidfd: &OwnedFd) -> bool {
    poll_until(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(Instant::now()))
}

#[cfg(test)]
pub(crate) mod tests;
