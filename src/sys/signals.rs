//! Catches the daemon's signals and waits for them in the main thread.
//!
//! Signals are caught rather than blocked. A caught signal has its default action in a program that
//! the daemon starts, while a blocked one stays blocked there (std passes the mask on), and then
//! TERM could not end a check command.
//!
//! Guarantees: after [`Signals::catch`] none of these signals ends the daemon, and none is lost,
//! even if the kernel has no memory for the byte that wakes the main thread; then the signal is
//! seen within ten seconds. Several signals of one kind may be reported as one. The signals in
//! `IGNORED`, whose default action ends a program, have no effect; their cause (such as a file size
//! limit) is the error of a system call. SIGPIPE has no effect either, as Rust's runtime ignores
//! it. All of them have their default action in the programs that the daemon starts, even if the
//! daemon was started with some of them ignored. If this process gets orphaned processes, the
//! waiting thread, which must be the main thread, reaps them at their SIGCHLD or ten seconds later.
//!
//! Blocking: only [`Signals::wait`].
//!
//! Out of scope: the meaning of the signals (`daemon`).

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::sys::poll::poll_until;
use crate::sys::reaper::{adopts_orphans, reap_adopted};
use crate::sys::stop_token::StopToken;
pub use nix::sys::signal::Signal;

/// The signals that [`Signals::wait`] reports.
const REPORTED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT, Signal::SIGHUP, Signal::SIGURG];
/// The signals that are caught only so that they have no effect.
const IGNORED: [Signal; 5] = [Signal::SIGALRM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXCPU, Signal::SIGXFSZ];

/// Maximum time until a signal is seen that could not wake the thread.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The caught signals.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    /// Signals that have arrived and are reported next.
    pending: VecDeque<Signal>,
    /// Whether the kernel makes orphaned processes children of this process.
    adopts_orphans: bool,
}

/// Why the main thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// TERM, INT, QUIT, ABRT, HUP or URG has arrived.
    Signal(Signal),
    /// The token at this index is triggered.
    ///
    /// It stays triggered. So a signal takes precedence over it, and it takes precedence over later
    /// tokens.
    Token(usize),
    /// The deadline is reached.
    Deadline,
}

impl Signals {
    /// Catches the signals, and unblocks all signals in this thread and in the threads that it
    /// starts.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn catch() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let adopts_orphans = adopts_orphans();
        let numbers = REPORTED.into_iter().chain(IGNORED).chain(adopts_orphans.then_some(Signal::SIGCHLD));
        let numbers = numbers.map(|signal| signal as i32);
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, numbers)?;
        SigSet::all().thread_unblock()?;
        Ok(Signals { delivery, pending: VecDeque::new(), adopts_orphans })
    }

    /// Waits for a signal, for one of `tokens`, or for the deadline. `None` waits without limit.
    pub fn wait(&mut self, deadline: Option<Instant>, tokens: &[&StopToken]) -> Wake {
        loop {
            if let Some(signal) = self.pending.pop_front() {
                return Wake::Signal(signal);
            }
            let mut fds = vec![PollFd::new(self.delivery.get_read(), PollFlags::IN)];
            fds.extend(tokens.iter().map(|token| PollFd::new(*token, PollFlags::IN)));
            let recheck = Instant::now() + RECHECK_INTERVAL;
            poll_until(&mut fds, Some(deadline.map_or(recheck, |deadline| deadline.min(recheck))));
            let triggered = fds[1..].iter().position(|fd| !fd.revents().is_empty());
            // Even if the socket is not readable: a signal is recorded before the write that wakes,
            // which can fail.
            let numbers = self.delivery.pending();
            self.pending
                .extend(numbers.filter_map(|number| REPORTED.into_iter().find(|signal| *signal as i32 == number)));
            if self.adopts_orphans {
                reap_adopted();
            }
            if self.pending.is_empty() {
                if let Some(token) = triggered {
                    return Wake::Token(token);
                }
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Wake::Deadline;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};

    use super::*;
    use crate::testing::isolated::{alone, this_program};

    /// Signal handlers belong to the process, so the test runs in its own. It is started with
    /// signals blocked, as a supervisor might do.
    #[test]
    fn signals_are_reported_one_by_one_and_before_tokens() {
        let name = "sys::signals::tests::signals_are_reported_one_by_one_and_before_tokens";
        let block = ["env", "--block-signal=TERM,INT,QUIT,ABRT,HUP,URG,ALRM,USR1,USR2,XCPU,XFSZ"];
        if !alone(name, &block, &this_program()) {
            return;
        }
        let (mut signals, token) = (Signals::catch().unwrap(), StopToken::new().unwrap());
        let minute = Some(Instant::now() + Duration::from_secs(60));
        assert_eq!(signals.wait(Some(Instant::now()), &[&token]), Wake::Deadline);
        let send = |signal: Signal| {
            kill_process(getpid(), rustix::process::Signal::from_named_raw(signal as i32).unwrap()).unwrap();
        };
        for signal in REPORTED {
            send(signal);
            send(signal);
            assert_eq!(signals.wait(minute, &[&token]), Wake::Signal(signal));
            assert_eq!(signals.wait(Some(Instant::now()), &[&token]), Wake::Deadline, "two signals of a kind are one");
        }
        IGNORED.into_iter().for_each(send);
        assert_eq!(signals.wait(Some(Instant::now()), &[&token]), Wake::Deadline);
        token.trigger();
        send(Signal::SIGTERM);
        assert_eq!(signals.wait(minute, &[&token]), Wake::Signal(Signal::SIGTERM));
        assert_eq!(signals.wait(minute, &[&token]), Wake::Token(0));
        assert_eq!(signals.wait(None, &[&token]), Wake::Token(0));
    }

    /// Returns a line of `/proc/self/status` of a program that is started.
    fn of_a_child(line: &str) -> String {
        let words = ["grep", line, "/proc/self/status"].map(String::from);
        let limits = crate::sys::process::Limits {
            deadline: Instant::now() + Duration::from_secs(60),
            grace: None,
            max_output: 1000,
        };
        let output = crate::sys::process::Program::new(&words).run(&limits, &StopToken::new().unwrap());
        String::from_utf8(output.stdout.bytes).unwrap()
    }

    /// The program is started without a shell, which would clear the mask itself.
    #[test]
    fn a_started_program_has_no_signal_blocked() {
        let name = "sys::signals::tests::a_started_program_has_no_signal_blocked";
        if !alone(name, &["env", "--block-signal=TERM,INT,ABRT,HUP,URG"], &this_program()) {
            return;
        }
        let _signals = Signals::catch().unwrap();
        assert_eq!(of_a_child("SigBlk"), "SigBlk:\t0000000000000000\n");
    }

    /// A caught signal has its default action in a child; an ignored one would stay ignored.
    #[test]
    fn a_started_program_has_no_signal_ignored() {
        let name = "sys::signals::tests::a_started_program_has_no_signal_ignored";
        let ignore = "--ignore-signal=TERM,INT,QUIT,ABRT,HUP,URG,ALRM,PIPE,USR1,USR2,XCPU,XFSZ";
        if !alone(name, &["env", ignore], &this_program()) {
            return;
        }
        let _signals = Signals::catch().unwrap();
        let ignored = u64::from_str_radix(of_a_child("SigIgn").trim_start_matches("SigIgn:").trim(), 16).unwrap();
        let relevant = REPORTED.into_iter().chain(IGNORED).chain([Signal::SIGPIPE]);
        let ignored: Vec<_> = relevant.filter(|signal| ignored & 1 << (*signal as i32 - 1) != 0).collect();
        assert_eq!(ignored, []);
    }

    #[test]
    fn the_file_size_limit_is_an_error_and_does_not_end_the_process() {
        use std::io::Write as _;
        let name = "sys::signals::tests::the_file_size_limit_is_an_error_and_does_not_end_the_process";
        if !alone(name, &["prlimit", "--fsize=0:4096"], &this_program()) {
            return;
        }
        let mut signals = Signals::catch().unwrap();
        let error = tempfile::tempfile().unwrap().write(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(signals.wait(Some(Instant::now()), &[]), Wake::Deadline);
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_does_not_end_the_process() {
        use std::io::Write as _;
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
