//! Exit notification for processes that are not children of this process, from one thread (pidfd
//! and epoll).
//!
//! ```text
//!   watch -- process runs ---> watched -- it exits ---> its callback is called, once
//!     |                           |
//!     +-- exited, zombie,         +-- Watched is dropped: its callback is dropped
//!         does not exist: an error
//! ```
//!
//! Guarantees: no polling and no privileges. The thread starts with the first watched process, and
//! wakes only for exits. Watching a process that has exited is an error and calls no callback, so
//! that a caller that watches whatever process a file names is woken only once per process. No
//! process is watched while half of the descriptors that this program may have are in use, as
//! checks need the other half.
//!
//! Blocking: only the thread, in the kernel.
//!
//! Shutdown: the stop token ends the thread. It owns nothing that needs cleaning up, so it is not
//! joined.
//!
//! Out of scope: which process to watch (`check::watch_pidfile`). If another process has got the
//! number, that process is watched.

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

/// Maximum number of exits handled per wake-up.
const MAX_EVENTS: usize = 64;
/// Pause after an error other than an interruption, so as not to spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Stack size of the thread, whose calls are shallow.
const STACK_SIZE: usize = 128 * 1024;
/// The epoll key of the stop token. Watched processes have keys from 1.
const STOP_KEY: u64 = 0;

/// Waits for the exit of any number of processes.
pub struct Watcher {
    state: Mutex<State>,
    stop: StopToken,
}

#[derive(Default)]
struct State {
    /// `None` until the thread runs.
    epoll: Option<Arc<OwnedFd>>,
    /// The callback of each watched process, by key.
    callbacks: HashMap<u64, Box<dyn FnOnce() + Send>>,
    last_key: u64,
}

/// A process that is watched until this is dropped.
pub struct Watched {
    pid: Pid,
    pidfd: OwnedFd,
    key: u64,
    watcher: Arc<Watcher>,
}

/// Why a process is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It has exited, does not exist, or is in another namespace.
    #[error("process {0} has ended, or cannot be seen from here")]
    NoSuchProcess(i32),
    /// The descriptors that are left are reserved for checks.
    #[error(
        "process {0} is not watched, as half of the open files that the daemon may have are in use and the others are \
         left for the checks: raise the limit (LimitNOFILE=)"
    )]
    TooManyDescriptors(i32),
    /// No descriptor or thread is left, the id is that of a thread, or the kernel is older than
    /// 5.3.
    #[error("cannot watch process {pid}: {source}")]
    Kernel {
        /// The process.
        pid: i32,
        /// The error of the system call.
        source: io::Error,
    },
}

impl Watcher {
    /// Creates a watcher without processes. Its thread ends when `stop` is triggered.
    pub fn new(stop: StopToken) -> Arc<Watcher> {
        Arc::new(Watcher { state: Mutex::default(), stop })
    }

    /// Watches a process, and calls `on_exit` once on the watcher's thread when it exits. `on_exit`
    /// must not block.
    ///
    /// # Errors
    /// The process does not exist, or no descriptor or thread is left. A caller may retry with its
    /// next check.
    pub fn watch(self: &Arc<Self>, pid: Pid, on_exit: impl FnOnce() + Send + 'static) -> Result<Watched, WatchError> {
        let kernel_error = |source| WatchError::Kernel { pid: pid.as_raw_pid(), source };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Err(WatchError::NoSuchProcess(pid.as_raw_pid())),
            Err(errno) => return Err(kernel_error(errno.into())),
        };
        if has_ended(&pidfd) {
            return Err(WatchError::NoSuchProcess(pid.as_raw_pid()));
        }
        // A new descriptor has the lowest number that is free, so all below it are in use.
        let in_use = u64::from(pidfd.as_raw_fd().unsigned_abs());
        if getrlimit(Resource::Nofile).current.is_some_and(|most| in_use >= most / 2) {
            return Err(WatchError::TooManyDescriptors(pid.as_raw_pid()));
        }
        let mut state = self.state.lock();
        let epoll = match &state.epoll {
            Some(epoll) => epoll.clone(),
            None => state.epoll.insert(self.start().map_err(kernel_error)?).clone(),
        };
        state.last_key += 1;
        let key = state.last_key;
        // An exit that happened just now is reported too, as epoll is level-triggered.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&epoll, &pidfd, epoll::EventData::new_u64(key), flags)
            .map_err(|errno| kernel_error(errno.into()))?;
        state.callbacks.insert(key, Box::new(on_exit));
        drop(state);
        Ok(Watched { pid, pidfd, key, watcher: self.clone() })
    }

    /// Starts the thread.
    fn start(self: &Arc<Self>) -> io::Result<Arc<OwnedFd>> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        epoll::add(&epoll, &self.stop, epoll::EventData::new_u64(STOP_KEY), epoll::EventFlags::IN)?;
        let watcher = self.clone();
        let thread_epoll = epoll.clone();
        let thread = std::thread::Builder::new().name("processes".into()).stack_size(STACK_SIZE);
        thread.spawn(move || watcher.run(&thread_epoll))?;
        Ok(epoll)
    }

    fn run(&self, epoll: &OwnedFd) {
        let mut events = Vec::with_capacity(MAX_EVENTS);
        loop {
            match epoll::wait(epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(ERROR_PAUSE),
            }
            for epoll::Event { data, .. } in events.drain(..) {
                if data.u64() == STOP_KEY {
                    return;
                }
                // `None` if the process is no longer watched.
                let on_exit = self.state.lock().callbacks.remove(&data.u64());
                if let Some(on_exit) = on_exit {
                    on_exit();
                }
            }
        }
    }
}

impl Watched {
    /// Returns the process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns whether the process has exited. The callback may be called a moment later.
    pub fn has_ended(&self) -> bool {
        has_ended(&self.pidfd)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The kernel removes a closed descriptor from epoll. The callback is dropped after the lock
        // is released.
        let on_exit = self.watcher.state.lock().callbacks.remove(&self.key);
        drop(on_exit);
    }
}

/// Returns whether the process has exited. A zombie has: its files and sockets are closed.
fn has_ended(pidfd: &OwnedFd) -> bool {
    poll_until(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(Instant::now()))
}

#[cfg(test)]
pub(crate) mod tests;
