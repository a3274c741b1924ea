//! Signals, read by the main thread as messages.
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};

use crate::sys::poll::poll_until;

/// The signals that are waited for; no other thread gets them.
pub struct Signals(SignalFd);

/// Why the main thread woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// TERM, INT or ABRT.
    Stop(Signal),
    /// HUP.
    Reload,
    /// URG.
    Check,
    /// The line is pulled.
    Line,
    /// It is time.
    Time,
}

impl Signals {
    /// Blocks them in this thread and all that it starts.
    pub fn block() -> io::Result<Signals> {
        let set: SigSet =
            [Signal::SIGTERM, Signal::SIGINT, Signal::SIGABRT, Signal::SIGHUP, Signal::SIGURG].into_iter().collect();
        set.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Waits.
    pub fn wait(&self, until: Option<Instant>, line: &impl AsFd) -> Woken {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN), PollFd::new(line, PollFlags::IN)];
        poll_until(&mut fds, until);
        let pulled = !fds[1].revents().is_empty();
        match self.0.read_signal() {
            Ok(Some(info)) => match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGHUP) => Woken::Reload,
                Ok(Signal::SIGURG) => Woken::Check,
                Ok(signal) => Woken::Stop(signal),
                Err(_) => Woken::Time,
            },
            _ if pulled => Woken::Line,
            _ => Woken::Time,
        }
    }
}
