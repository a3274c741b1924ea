//! The signals that mean something to the daemon, waited for by the main thread.
//!
//! Promises: after [`Signals::block`], called before any other thread starts, no thread is interrupted by one of them
//! and none is lost; several of one kind that come before they are looked at are one. USR1 and USR2, which end a program that
//! does not know them, do nothing. SIGPIPE does nothing either: Rust's runtime sees to that.
//! Leaves out: what they mean (`daemon`); the children's mask, which is clean (`sys::process` tests that).

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};

use crate::sys::poll::poll_until;
pub use nix::sys::signal::Signal;

/// Those that are told.
const TOLD: [Signal; 5] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGABRT, Signal::SIGHUP, Signal::SIGURG];
/// Those that are kept off.
const KEPT_OFF: [Signal; 2] = [Signal::SIGUSR1, Signal::SIGUSR2];

/// The blocked signals.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// Why the main thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// One of TERM, INT, ABRT, HUP and URG came.
    Signal(Signal),
    /// The line was pulled (and stays so: signals go before it).
    Line,
    /// The time has come.
    Time,
}

impl Signals {
    /// Blocks them in this thread and in all that it starts.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn block() -> io::Result<Signals> {
        let told: SigSet = TOLD.into_iter().collect();
        let mut blocked = told;
        blocked.extend(KEPT_OFF);
        blocked.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&told, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Waits for a signal, for `line` to become readable, or for the time. `None` waits as long as it takes.
    pub fn wait(&self, until: Option<Instant>, line: impl AsFd) -> Wake {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN), PollFd::new(&line, PollFlags::IN)];
        if !poll_until(&mut fds, until) {
            return Wake::Time;
        }
        match self.next() {
            Some(signal) => Wake::Signal(signal),
            None if fds[1].revents().is_empty() => Wake::Time,
            None => Wake::Line,
        }
    }

    /// The next signal that waits.
    fn next(&self) -> Option<Signal> {
        let number = self.0.read_signal().ok()??.ssi_signo;
        Signal::try_from(i32::try_from(number).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{getpid, kill_process};

    use super::*;
    use crate::sys::alone::{alone, this_program};
    use crate::sys::stop_line::StopLine;

    /// The test program has threads of its own, in which signals are not blocked; so it blocks them in a first process
    /// whose threads all inherit that.
    #[test]
    fn signals_come_one_by_one_and_before_the_line() {
        let name = "sys::signals::tests::signals_come_one_by_one_and_before_the_line";
        let block = ["env", "--block-signal=TERM,INT,ABRT,HUP,URG,USR1,USR2"];
        if !alone(name, &block, &this_program()) {
            return;
        }
        let (signals, line) = (Signals::block().unwrap(), StopLine::new().unwrap());
        let minute = Some(Instant::now() + Duration::from_secs(60));
        assert_eq!(signals.wait(Some(Instant::now()), &line), Wake::Time);
        let send = |signal: Signal| {
            kill_process(getpid(), rustix::process::Signal::from_named_raw(signal as i32).unwrap()).unwrap();
        };
        for signal in TOLD {
            send(signal);
            send(signal);
            assert_eq!(signals.wait(minute, &line), Wake::Signal(signal));
            assert_eq!(signals.wait(Some(Instant::now()), &line), Wake::Time, "twice is once");
        }
        KEPT_OFF.into_iter().for_each(send);
        assert_eq!(signals.wait(Some(Instant::now()), &line), Wake::Time);
        line.pull();
        send(Signal::SIGTERM);
        assert_eq!(signals.wait(minute, &line), Wake::Signal(Signal::SIGTERM));
        assert_eq!(signals.wait(minute, &line), Wake::Line);
        assert_eq!(signals.wait(None, &line), Wake::Line);
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_no_end() {
        use std::io::Write as _;
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
