//! Runs programs. This is the only module that starts them.
//!
//! ```text
//!   spawn ---> running ---- exits by itself --------------------------+
//!     |           |                                                   v
//!     |           +-- deadline, with a grace: TERM --> grace over --> KILL the group --> reap,
//!     |           +-- deadline, without a grace --------------------> ^              or return Orphan
//!     |           +-- stop requested -------------------------------> ^
//!     +-- no process or descriptor left: retried every 100 ms until the deadline
//! ```
//!
//! Guarantees: a program runs in a process group of its own, without input, and inherits no
//! descriptor of the daemon except the two pipes that it writes to. A run ends when the process
//! exits, even if children in the background still hold its output open. They are killed with the
//! group, before the leader is reaped, so that no foreign process can have got the group's number.
//! Captured output is bounded, and the deadline holds however much a program writes. No run lasts
//! longer than deadline + grace + [`REAP_TIMEOUT`]. A process that may not be killed, or does not
//! die, is returned as [`Orphan`]. No zombie stays.
//!
//! Blocking: the calling thread, until the run ends.
//!
//! Out of scope: children that left the group (`setsid`), which cannot be found again; orphaned
//! children that the kernel gives to this process (`sys::reaper`); descriptors that the daemon
//! itself was started with (`sys::startup` closes them); a spawn that hangs on a dead file system.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{kill_process_group, pidfd_open, Pid, PidfdFlags, Signal};

use crate::sys::poll::poll_until;
use crate::sys::reaper::Claim;
use crate::sys::startup::restore_limit;
use crate::sys::stop_token::Stop;
use capture::Capture;
pub use capture::CapturedOutput;

mod capture;

/// Maximum time to wait for a killed process to exit.
pub const REAP_TIMEOUT: Duration = Duration::from_millis(100);

/// Pause before a start is retried when the machine has no process or descriptor left.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A program and its arguments. It can be run any number of times.
pub struct Program {
    command: Command,
}

/// The limits of one run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When the program must have exited.
    pub deadline: Instant,
    /// Time between TERM and KILL at the deadline. `None` sends KILL at once.
    pub grace: Option<Duration>,
    /// Maximum number of bytes kept of each output.
    pub max_output: usize,
}

/// The result of one run.
#[derive(Debug)]
pub struct RunOutput {
    /// How the run ended.
    pub exit: Exit,
    /// The end of its standard output.
    pub stdout: CapturedOutput,
    /// The end of its standard error.
    pub stderr: CapturedOutput,
    /// Time from before the start until after the end.
    pub duration: Duration,
    /// The process, if it could not be killed.
    pub orphan: Option<Orphan>,
}

/// How a run ended.
#[derive(Debug)]
pub enum Exit {
    /// It exited by itself, with this code.
    Exited(i32),
    /// It was ended by this signal, which the daemon did not send.
    Signaled(i32),
    /// It was killed at the deadline.
    TimedOut,
    /// It was killed because a stop was requested.
    Stopped,
    /// It could not be started, or its exit status is lost.
    NotStarted(io::Error),
}

/// A process that did not exit when it was killed. Call [`Orphan::try_reap`] now and then, so that
/// no zombie stays.
#[derive(Debug)]
pub struct Orphan {
    child: Child,
    /// Needed as the process may outlive the thread that started it.
    claim: Claim,
    /// Why the last signal could not be sent.
    refused: Option<Errno>,
}

impl Program {
    /// Creates the program `words[0]` with the other words as arguments. A name without a slash is
    /// looked up in PATH.
    #[expect(clippy::disallowed_methods, reason = "this is the module that starts programs")]
    pub fn new(words: &[String]) -> Program {
        let mut command = Command::new(words.first().map_or("", String::as_str));
        command.args(words.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // With a process group std still uses vfork. Anything that needs `pre_exec` would copy the
        // whole address space for each check.
        command.process_group(0);
        Program { command }
    }

    /// Adds an argument at the end.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Program {
        self.command.arg(word);
        self
    }

    /// Adds a variable to its environment, which is otherwise the daemon's.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// Runs the program once, until it exits or a limit is reached.
    pub fn run(&mut self, limits: &Limits, stop: &dyn Stop) -> RunOutput {
        self.run_with(limits, stop, || ())
    }

    /// Like [`Program::run`], and calls `started` once the start has succeeded or failed.
    pub fn run_with(&mut self, limits: &Limits, stop: &dyn Stop, started: impl FnOnce()) -> RunOutput {
        let began = Instant::now();
        let start = self.start(limits, stop);
        started();
        let mut output = match start {
            Ok(running) => running.wait(limits, stop),
            Err(exit) => RunOutput::unstarted(exit),
        };
        // Closes the writing ends of the pipes.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        output.duration = began.elapsed();
        output
    }

    fn start(&mut self, limits: &Limits, stop: &dyn Stop) -> Result<Running, Exit> {
        loop {
            match self.spawn(stop) {
                Ok(running) => return Ok(running),
                Err(error) => wait_to_retry(error, limits, stop)?,
            }
        }
    }

    /// Starts the process.
    ///
    /// The writing ends of the pipes stay open here. So a child that exits causes no hang-up on
    /// them, and its exit is one event rather than three.
    fn spawn(&mut self, stop: &dyn Stop) -> io::Result<Running> {
        let stop = stop.fd()?;
        let (stdout, stdout_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let child = self.command.stdout(stdout_writer).stderr(stderr_writer).spawn()?;
        if let Some(pid) = Pid::from_raw(child.id() as i32) {
            restore_limit(pid);
        }
        Ok(Running { child, stop, stdout: Capture::new(stdout), stderr: Capture::new(stderr) })
    }
}

impl Orphan {
    /// Kills the process again. Returns true once it has exited and is reaped.
    pub fn try_reap(&mut self) -> bool {
        let Orphan { child, claim, refused } = self;
        let reaped = claim.unless_reaped(|| {
            *refused = kill_group(child, Signal::KILL).err();
            !matches!(child.try_wait(), Ok(None))
        });
        reaped.unwrap_or(true)
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Says why the process still exists.
impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refused {
            Some(error) => write!(f, "process {} may not be killed: {}", self.pid(), io::Error::from(error)),
            None => write!(f, "process {} was killed and does not end", self.pid()),
        }
    }
}

impl RunOutput {
    fn unstarted(exit: Exit) -> RunOutput {
        RunOutput {
            exit,
            stdout: CapturedOutput::default(),
            stderr: CapturedOutput::default(),
            duration: Duration::ZERO,
            orphan: None,
        }
    }
}

/// Waits before a retry if `error` is temporary.
///
/// # Errors
/// How the run ends if it cannot be retried: the error is permanent, the deadline is reached, or a
/// stop is requested.
fn wait_to_retry(error: io::Error, limits: &Limits, stop: &dyn Stop) -> Result<(), Exit> {
    let temporary = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    let remaining = limits.deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() || !temporary.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        return Err(Exit::NotStarted(error));
    }
    if stop.wait(remaining.min(RETRY_INTERVAL)) {
        return Err(Exit::Stopped);
    }
    Ok(())
}

/// Sends `signal` to the process group of a child. The child must not be reaped yet, so that the
/// number is still its own.
fn kill_group(child: &Child, signal: Signal) -> Result<(), Errno> {
    match Pid::from_raw(child.id() as i32) {
        Some(group) => kill_process_group(group, signal),
        None => Ok(()),
    }
}

/// A process that has been started and not reaped.
struct Running {
    child: Child,
    /// Becomes readable once a stop is requested.
    stop: Arc<OwnedFd>,
    stdout: Capture,
    stderr: Capture,
}

impl Running {
    /// Waits for the process, kills the rest of its group, and reaps it.
    ///
    /// Not inlined, so that its stack frame is not in use during the start of the program, which is
    /// the deepest call.
    #[inline(never)]
    fn wait(mut self, limits: &Limits, stop: &dyn Stop) -> RunOutput {
        let pidfd = self.pidfd(limits, stop);
        let forced = match &pidfd {
            Ok(pidfd) => self.watch(pidfd, limits),
            Err(_) => None,
        };
        let refused = kill_group(&self.child, Signal::KILL).err();
        let status = self.reap(pidfd.as_ref().ok());
        let is_orphan = matches!(status, Ok(None));
        let exit = match (pidfd, forced, status) {
            (Err(exit), ..) | (_, Some(exit), _) => exit,
            (_, None, Ok(Some(status))) => Exit::from(status),
            (_, None, Ok(None)) => Exit::TimedOut,
            (_, None, Err(_)) => Exit::NotStarted(io::Error::other("its exit code is lost, as SIGCHLD is ignored")),
        };
        RunOutput {
            exit,
            stdout: self.stdout.finish(limits.max_output),
            stderr: self.stderr.finish(limits.max_output),
            duration: Duration::ZERO,
            orphan: is_orphan.then(|| Orphan { claim: Claim::new(self.child.id()), child: self.child, refused }),
        }
    }

    /// Opens the descriptor that becomes readable when the process exits.
    fn pidfd(&self, limits: &Limits, stop: &dyn Stop) -> Result<OwnedFd, Exit> {
        let Some(pid) = Pid::from_raw(self.child.id() as i32) else {
            return Err(Exit::NotStarted(Errno::SRCH.into()));
        };
        loop {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => return Ok(pidfd),
                Err(error) => wait_to_retry(error.into(), limits, stop)?,
            }
        }
    }

    /// Reads its output until the process exits. Returns how the run ends if it does not exit by
    /// itself.
    fn watch(&mut self, pidfd: &OwnedFd, limits: &Limits) -> Option<Exit> {
        let mut deadline = limits.deadline;
        let mut grace = limits.grace;
        let mut forced = None;
        loop {
            // The process comes first, as `poll` checks in this order: if the process has exited,
            // an output without an event is empty for good.
            let mut fds = [
                PollFd::new(pidfd, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::IN),
                PollFd::new(&self.stdout.pipe, PollFlags::IN),
                PollFd::new(&self.stderr.pipe, PollFlags::IN),
            ];
            poll_until(&mut fds, Some(deadline));
            let [exited, stopped, stdout, stderr] = fds.map(|fd| !fd.revents().is_empty());
            let more = [stdout && self.stdout.read(limits.max_output), stderr && self.stderr.read(limits.max_output)];
            if exited {
                [self.stdout.more, self.stderr.more] = more;
                return forced;
            }
            if stopped {
                return Some(Exit::Stopped);
            }
            if Instant::now() >= deadline {
                match grace.take() {
                    Some(grace) if kill_group(&self.child, Signal::TERM).is_ok() => {
                        deadline += grace;
                        forced = Some(Exit::TimedOut);
                    }
                    _ => return Some(Exit::TimedOut),
                }
            }
        }
    }

    /// Reaps the killed process. `None` if it does not exit in time.
    fn reap(&mut self, pidfd: Option<&OwnedFd>) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + REAP_TIMEOUT;
        loop {
            let status = self.child.try_wait()?;
            let now = Instant::now();
            if status.is_some() || now >= deadline {
                return Ok(status);
            }
            match pidfd {
                Some(pidfd) => poll_until(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(deadline)),
                // Without a descriptor the process has to be polled.
                None => poll_until(&mut [], Some(now + REAP_TIMEOUT / 20)),
            };
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Exit {
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Exited(code),
            (None, signal) => Exit::Signaled(signal.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests;
