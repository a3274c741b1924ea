//! The signals that mean something to the daemon, waited for by the main thread.
//!
//! They are caught and not blocked: a caught signal is what it always was in a program that the daemon starts, while a
//! blocked one stays blocked there (std passes the mask on), and a check command that TERM cannot end is nobody's wish.
//!
//! Promises: after [`Signals::catch`] none of them ends the daemon and none is lost, also where the
//! kernel has no memory for the byte that wakes the main thread: then it is seen within ten
//! seconds; several of one kind that come before they are looked at are one. Those of `KEPT_OFF`,
//! which end a program that does not know them, do nothing; what they tell of (a file that may not
//! grow, say) is the error of a call. SIGPIPE does nothing either: Rust's runtime sees to that. All
//! of them have their default meaning in the programs that the daemon starts, also those that it
//! was itself started without. Where this process is given orphans they are reaped by the thread
//! that waits here, which has to be the main thread, at the SIGCHLD that tells of their ends or ten
//! seconds later.
//! Leaves out: what they mean (`daemon`).

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::sys::poll::poll_until;
use crate::sys::reaper::{reap_orphans, receives_orphans};
use crate::sys::stop_token::StopToken;
pub use nix::sys::signal::Signal;

/// Those that are told.
const TOLD: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT, Signal::SIGHUP, Signal::SIGURG];
/// Those that are kept off.
const KEPT_OFF: [Signal; 5] = [Signal::SIGALRM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXCPU, Signal::SIGXFSZ];

/// How often it is looked whether one came without waking anybody.
const LOOK: Duration = Duration::from_secs(10);

/// The caught signals.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    /// Came together with one that was told, and are told next.
    waiting: VecDeque<Signal>,
    /// Orphans are given to this process, and SIGCHLD tells of their ends.
    orphans: bool,
}

/// Why the main thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// One of TERM, INT, QUIT, ABRT, HUP and URG came.
    Signal(Signal),
    /// The line at this place was pulled (and stays so: signals go before it, and it goes before those behind it).
    Token(usize),
    /// The time has come.
    Time,
}

impl Signals {
    /// Catches them, and unblocks all signals in this thread and in all that it starts, whatever mask the daemon was
    /// started with.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn catch() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let orphans = receives_orphans();
        let numbers = TOLD.into_iter().chain(KEPT_OFF).chain(orphans.then_some(Signal::SIGCHLD));
        let numbers = numbers.map(|signal| signal as i32);
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, numbers)?;
        SigSet::all().thread_unblock()?;
        Ok(Signals { delivery, waiting: VecDeque::new(), orphans })
    }

    /// Waits for a signal, for one of `lines` to become readable, or for the time. `None` waits as long as it takes.
    pub fn wait(&mut self, until: Option<Instant>, lines: &[&StopToken]) -> Wake {
        loop {
            if let Some(signal) = self.waiting.pop_front() {
                return Wake::Signal(signal);
            }
            let mut fds = vec![PollFd::new(self.delivery.get_read(), PollFlags::IN)];
            fds.extend(lines.iter().map(|line| PollFd::new(*line, PollFlags::IN)));
            let look = Instant::now() + LOOK;
            poll_until(&mut fds, Some(until.map_or(look, |until| until.min(look))));
            let pulled = fds[1..].iter().position(|fd| !fd.revents().is_empty());
            // Also where the socket tells of none: a signal is noted before the write that wakes, and that can fail.
            let numbers = self.delivery.pending();
            self.waiting.extend(numbers.filter_map(|number| TOLD.into_iter().find(|told| *told as i32 == number)));
            if self.orphans {
                reap_orphans();
            }
            if self.waiting.is_empty() {
                if let Some(line) = pulled {
                    return Wake::Token(line);
                }
                if until.is_some_and(|until| until <= Instant::now()) {
                    return Wake::Time;
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

    /// Catching is for the whole process, so the test has one to itself; it is started with signals blocked, as a careless
    /// supervisor may do.
    #[test]
    fn signals_come_one_by_one_and_before_the_line() {
        let name = "sys::signals::tests::signals_come_one_by_one_and_before_the_line";
        let block = ["env", "--block-signal=TERM,INT,QUIT,ABRT,HUP,URG,ALRM,USR1,USR2,XCPU,XFSZ"];
        if !alone(name, &block, &this_program()) {
            return;
        }
        let (mut signals, line) = (Signals::catch().unwrap(), StopToken::new().unwrap());
        let minute = Some(Instant::now() + Duration::from_secs(60));
        assert_eq!(signals.wait(Some(Instant::now()), &[&line]), Wake::Time);
        let send = |signal: Signal| {
            kill_process(getpid(), rustix::process::Signal::from_named_raw(signal as i32).unwrap()).unwrap();
        };
        for signal in TOLD {
            send(signal);
            send(signal);
            assert_eq!(signals.wait(minute, &[&line]), Wake::Signal(signal));
            assert_eq!(signals.wait(Some(Instant::now()), &[&line]), Wake::Time, "twice is once");
        }
        KEPT_OFF.into_iter().for_each(send);
        assert_eq!(signals.wait(Some(Instant::now()), &[&line]), Wake::Time);
        line.trigger();
        send(Signal::SIGTERM);
        assert_eq!(signals.wait(minute, &[&line]), Wake::Signal(Signal::SIGTERM));
        assert_eq!(signals.wait(minute, &[&line]), Wake::Token(0));
        assert_eq!(signals.wait(None, &[&line]), Wake::Token(0));
    }

    /// A line of `/proc/self/status` as a program sees it that is started.
    fn of_a_child(line: &str) -> String {
        let words = ["grep", line, "/proc/self/status"].map(String::from);
        let limits = crate::sys::process::Limits {
            deadline: Instant::now() + Duration::from_secs(60),
            grace: None,
            max_output: 1000,
        };
        let ended = crate::sys::process::Program::new(&words).run(&limits, &StopToken::new().unwrap());
        String::from_utf8(ended.stdout.bytes).unwrap()
    }

    /// Started without a shell in between, which would clear the mask by itself.
    #[test]
    fn programs_that_are_started_find_no_signal_blocked() {
        let name = "sys::signals::tests::programs_that_are_started_find_no_signal_blocked";
        if !alone(name, &["env", "--block-signal=TERM,INT,ABRT,HUP,URG"], &this_program()) {
            return;
        }
        let _signals = Signals::catch().unwrap();
        assert_eq!(of_a_child("SigBlk"), "SigBlk:\t0000000000000000\n");
    }

    /// A caught signal has its default meaning in a child, an ignored one would stay ignored.
    #[test]
    fn programs_that_are_started_find_no_signal_ignored() {
        let name = "sys::signals::tests::programs_that_are_started_find_no_signal_ignored";
        let ignore = "--ignore-signal=TERM,INT,QUIT,ABRT,HUP,URG,ALRM,PIPE,USR1,USR2,XCPU,XFSZ";
        if !alone(name, &["env", ignore], &this_program()) {
            return;
        }
        let _signals = Signals::catch().unwrap();
        let ignored = u64::from_str_radix(of_a_child("SigIgn").trim_start_matches("SigIgn:").trim(), 16).unwrap();
        let known = TOLD.into_iter().chain(KEPT_OFF).chain([Signal::SIGPIPE]);
        let ignored: Vec<_> = known.filter(|signal| ignored & 1 << (*signal as i32 - 1) != 0).collect();
        assert_eq!(ignored, []);
    }

    #[test]
    fn a_file_that_may_not_grow_is_an_error_and_no_end() {
        use std::io::Write as _;
        let name = "sys::signals::tests::a_file_that_may_not_grow_is_an_error_and_no_end";
        if !alone(name, &["prlimit", "--fsize=0:4096"], &this_program()) {
            return;
        }
        let mut signals = Signals::catch().unwrap();
        let error = tempfile::tempfile().unwrap().write(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(signals.wait(Some(Instant::now()), &[]), Wake::Time);
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_no_end() {
        use std::io::Write as _;
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
