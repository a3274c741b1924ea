//! Running programs: the only room that starts one.
//!
//! ```text
//!   spawn ---> running ---- ends by itself ---------------------------+
//!     |           |                                                   v
//!     |           +-- deadline, with a grace: TERM --> grace over --> KILL the group --> reap, or hand out what is left
//!     |           +-- deadline, without one ------------------------> ^
//!     |           +-- stop line pulled -----------------------------> ^
//!     +-- refused for want of processes or descriptors: again every 100 ms until the deadline
//! ```
//!
//! Promises: a program runs in a process group of its own, with no input, and no descriptor of the
//! daemon's but the two pipes it writes into. The end is the process's end, not that of its output, which children in
//! the background may hold open; they are killed with the group, before the leader is reaped, so that no foreign process can have
//! got the number. Output is bounded, and however much comes, the deadline is kept. No run lasts longer than
//! deadline + grace + [`LAST_WAIT`]; what may not be killed, or does not die, is handed out as [`Orphan`]. No zombie stays.
//! Leaves out: children that left the group (`setsid`), which nobody can find again; orphans, where
//! this process is given them (`sys::reaper`); descriptors that the daemon itself was started with
//! (`sys::startup` closes them); a spawn that hangs on a dead file system.

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
use crate::sys::startup::give_back_limit;
use crate::sys::stop_token::Stop;

/// How long a killed process is waited for.
pub const LAST_WAIT: Duration = Duration::from_millis(100);

/// How long to wait where the machine has no process or descriptor left, before asking again.
const RETRY: Duration = Duration::from_millis(100);

/// How much is read at once, at least.
const CHUNK: usize = 4096;

/// How often an output is read after the end: as much as the largest pipe holds.
const LAST_READS: usize = 1024 * 1024 / CHUNK;

/// A program and its arguments, to be run again and again.
pub struct Program {
    command: Command,
}

/// What a run may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When the program must have ended.
    pub deadline: Instant,
    /// How long it has between TERM and KILL at the deadline. `None` kills at once.
    pub grace: Option<Duration>,
    /// How many bytes of each output are kept.
    pub max_output: usize,
}

/// What a run came to.
#[derive(Debug)]
pub struct RunOutput {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to its standard output.
    pub stdout: CapturedOutput,
    /// What it wrote to its standard error.
    pub stderr: CapturedOutput,
    /// From before the start until after the end.
    pub duration: Duration,
    /// The process, where it could not be killed.
    pub orphan: Option<Orphan>,
}

/// How a run ended.
#[derive(Debug)]
pub enum Exit {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which the daemon did not send.
    Signaled(i32),
    /// Killed at the deadline.
    TimedOut,
    /// Killed because the stop line was pulled.
    Stopped,
    /// It was not started, or its end cannot be learnt.
    NotStarted(io::Error),
}

/// The last bytes that a program wrote: what went wrong stands at the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CapturedOutput {
    /// At most [`Limits::keep`] bytes.
    pub bytes: Vec<u8>,
}

/// A process that was killed and did not end. It is to be looked at now and then, so that it becomes no zombie.
#[derive(Debug)]
pub struct Orphan {
    child: Child,
    /// It may outlive the thread that started it.
    claim: Claim,
    refused: Option<Errno>,
}

impl Program {
    /// The program `words[0]`, looked up in PATH where it holds no slash, with the other words as arguments.
    #[expect(clippy::disallowed_methods, reason = "this is the room that starts programs")]
    pub fn new(words: &[String]) -> Program {
        let mut command = Command::new(words.first().map_or("", String::as_str));
        command.args(words.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A process group keeps std on its fast path (vfork); anything that needs `pre_exec` would copy the whole
        // address space for each check.
        command.process_group(0);
        Program { command }
    }

    /// With one more argument at the end.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Program {
        self.command.arg(word);
        self
    }

    /// With one more variable in its environment, which is otherwise the daemon's.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// Runs it once, to its end or to its limits.
    pub fn run(&mut self, limits: &Limits, stop: &dyn Stop) -> RunOutput {
        self.run_with(limits, stop, || ())
    }

    /// The same; says when the start is over, whatever came of it.
    pub fn run_with(&mut self, limits: &Limits, stop: &dyn Stop, started: impl FnOnce()) -> RunOutput {
        let began = Instant::now();
        let start = self.start(limits, stop);
        started();
        let mut ended = match start {
            Ok(running) => running.wait(limits, stop),
            Err(exit) => RunOutput::unstarted(exit),
        };
        // Lets go of the writing ends of the pipes.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        ended.duration = began.elapsed();
        ended
    }

    fn start(&mut self, limits: &Limits, stop: &dyn Stop) -> Result<Running, Exit> {
        loop {
            match self.spawn(stop) {
                Ok(running) => return Ok(running),
                Err(error) => wait_out(error, limits, stop)?,
            }
        }
    }

    /// Starts the process. Both ends of the pipes stay open here: with a writer left, a child that ends does not hang
    /// them up, so that the one event of its end is its end.
    fn spawn(&mut self, stop: &dyn Stop) -> io::Result<Running> {
        let stop = stop.fd()?;
        let (stdout, stdout_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let child = self.command.stdout(stdout_writer).stderr(stderr_writer).spawn()?;
        if let Some(pid) = Pid::from_raw(child.id() as i32) {
            give_back_limit(pid);
        }
        Ok(Running { child, stop, stdout: Capture::new(stdout), stderr: Capture::new(stderr) })
    }
}

impl Orphan {
    /// Kills it again and looks whether it has ended; true once it has, and is gone.
    pub fn try_reap(&mut self) -> bool {
        let Orphan { child, claim, refused } = self;
        let reaped = claim.unless_reaped(|| {
            *refused = kill_group(child, Signal::KILL).err();
            !matches!(child.try_wait(), Ok(None))
        });
        reaped.unwrap_or(true)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Why it is left.
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

/// Waits a little where `error` may pass. Else, and at the deadline or a stop, this is how the run ends.
fn wait_out(error: io::Error, limits: &Limits, stop: &dyn Stop) -> Result<(), Exit> {
    let passing = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    let left = limits.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() || !passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        return Err(Exit::NotStarted(error));
    }
    if stop.wait(left.min(RETRY)) {
        return Err(Exit::Stopped);
    }
    Ok(())
}

/// Sends `signal` to the group of a child that is not reaped yet, so that the number is still its own.
fn kill_group(child: &Child, signal: Signal) -> Result<(), Errno> {
    match Pid::from_raw(child.id() as i32) {
        Some(group) => kill_process_group(group, signal),
        None => Ok(()),
    }
}

struct Running {
    child: Child,
    /// Can be read once the run is to be ended.
    stop: Arc<OwnedFd>,
    stdout: Capture,
    stderr: Capture,
}

impl Running {
    /// Not inlined: what it needs on the stack shall not lie beneath the start of the program, the deepest call there is.
    #[inline(never)]
    fn wait(mut self, limits: &Limits, stop: &dyn Stop) -> RunOutput {
        let pidfd = self.pidfd(limits, stop);
        let cut_short = match &pidfd {
            Ok(pidfd) => self.watch(pidfd, limits),
            Err(_) => None,
        };
        let refused = kill_group(&self.child, Signal::KILL).err();
        let status = self.reap(pidfd.as_ref().ok());
        let left = matches!(status, Ok(None));
        let exit = match (pidfd, cut_short, status) {
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
            orphan: left.then(|| Orphan { claim: Claim::new(self.child.id()), child: self.child, refused }),
        }
    }

    /// The descriptor that tells of the process's end.
    fn pidfd(&self, limits: &Limits, stop: &dyn Stop) -> Result<OwnedFd, Exit> {
        let Some(pid) = Pid::from_raw(self.child.id() as i32) else {
            return Err(Exit::NotStarted(Errno::SRCH.into()));
        };
        loop {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => return Ok(pidfd),
                Err(error) => wait_out(error.into(), limits, stop)?,
            }
        }
    }

    /// Reads along until the process has ended by itself (`None`), or until it is to be killed.
    fn watch(&mut self, pidfd: &OwnedFd, limits: &Limits) -> Option<Exit> {
        let mut until = limits.deadline;
        let mut grace = limits.grace;
        let mut cut_short = None;
        loop {
            // The process comes first: `poll` looks in this order, so an output without an event beside a process
            // that has ended is empty for good.
            let mut fds = [
                PollFd::new(pidfd, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::IN),
                PollFd::new(&self.stdout.pipe, PollFlags::IN),
                PollFd::new(&self.stderr.pipe, PollFlags::IN),
            ];
            poll_until(&mut fds, Some(until));
            let [ended, stopped, stdout, stderr] = fds.map(|fd| !fd.revents().is_empty());
            let more = [stdout && self.stdout.read(limits.max_output), stderr && self.stderr.read(limits.max_output)];
            if ended {
                [self.stdout.more, self.stderr.more] = more;
                return cut_short;
            }
            if stopped {
                return Some(Exit::Stopped);
            }
            if Instant::now() >= until {
                match grace.take() {
                    Some(grace) if kill_group(&self.child, Signal::TERM).is_ok() => {
                        until += grace;
                        cut_short = Some(Exit::TimedOut);
                    }
                    _ => return Some(Exit::TimedOut),
                }
            }
        }
    }

    /// Takes the killed process off the kernel's list; `None` where it does not end in time.
    fn reap(&mut self, pidfd: Option<&OwnedFd>) -> io::Result<Option<ExitStatus>> {
        let bound = Instant::now() + LAST_WAIT;
        loop {
            let status = self.child.try_wait()?;
            let now = Instant::now();
            if status.is_some() || now >= bound {
                return Ok(status);
            }
            match pidfd {
                Some(pidfd) => poll_until(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(bound)),
                // Without a descriptor it must be asked now and then.
                None => poll_until(&mut [], Some(now + LAST_WAIT / 20)),
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

/// The reading end of one output and what has come out of it.
struct Capture {
    pipe: OwnedFd,
    output: CapturedOutput,
    /// Something may wait in the pipe still.
    more: bool,
}

impl Capture {
    fn new(pipe: OwnedFd) -> Capture {
        Capture { pipe, output: CapturedOutput::default(), more: true }
    }

    /// Reads once from a pipe that is known to hold something, and says whether it may hold more.
    fn read(&mut self, keep: usize) -> bool {
        let kept = &mut self.output.bytes;
        kept.reserve(CHUNK);
        let room = kept.capacity() - kept.len();
        let count = rustix::io::read(&self.pipe, rustix::buffer::spare_capacity(kept)).unwrap_or(0);
        // Cut only at twice the limit, so that no byte is moved more than once.
        if kept.len() > keep.saturating_mul(2) {
            self.cut(keep);
        }
        count == room
    }

    fn cut(&mut self, keep: usize) {
        let surplus = self.output.bytes.len().saturating_sub(keep);
        self.output.bytes.drain(..surplus);
    }

    /// Reads what waits, without blocking and not for ever: someone who left the group may go on writing.
    fn finish(mut self, keep: usize) -> CapturedOutput {
        for _ in 0..LAST_READS {
            if !self.more || !poll_until(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(Instant::now())) {
                break;
            }
            self.more = self.read(keep);
        }
        self.cut(keep);
        self.output
    }
}

#[cfg(test)]
mod tests;
