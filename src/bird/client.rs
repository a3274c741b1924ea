//! The one that tells BIRD to read its configuration again, by the configured command.
//!
//! Promises: one run takes no longer than [`LIMIT`], [`GRACE`] and the moment that a killed process is waited for,
//! whatever the command does; what may not be killed (`sudo` under a daemon that is not root) is looked after until it
//! ends, and while [`MOST_LEFT`] such are left none is added to them.
//! Leaves out: what the answer means (`bird::birdc`), when to ask, and the log (`bird::writer`).

use std::time::{Duration, Instant};

use crate::bird::birdc::{self, End};
use crate::bird::reply::Reply;
use crate::command::Command;
use crate::sys::process::{How, Left, Limits, Program};
use crate::sys::stop_line::StopLine;

/// How long the command may take: the original's limit.
pub const LIMIT: Duration = Duration::from_secs(2);
/// How long it then has between TERM and KILL, so that `sudo` can end what it runs.
pub const GRACE: Duration = Duration::from_millis(200);
/// How many runs that cannot be killed may be left.
pub const MOST_LEFT: usize = 4;
/// How much of each output is kept, in bytes; the answer stands at the end.
const KEEP: usize = 4096;

/// The way to one BIRD.
pub struct Client {
    program: Program,
    /// For sentences.
    name: String,
    limit: Duration,
    left: Vec<Left>,
}

/// What one reconfigure came to.
#[derive(Debug)]
pub struct Answer {
    /// BIRD's answer.
    pub reply: Reply,
    /// From before the start until after the end.
    pub took: Duration,
    /// A process that this run left behind, and why, for the log.
    pub left: Option<String>,
}

impl Client {
    /// By `bird_reconfigure_cmd`.
    pub fn new(command: &Command) -> Client {
        Client {
            program: Program::new(command.words()),
            name: command.program().to_string(),
            limit: LIMIT,
            left: Vec::new(),
        }
    }

    /// Tells BIRD, and waits for its answer. A pulled stop line kills the command.
    pub fn reconfigure(&mut self, stop: &StopLine) -> Answer {
        self.reap();
        if self.left.len() >= MOST_LEFT {
            let pids: Vec<String> = self.left.iter().map(|left| left.pid().to_string()).collect();
            let why = format!("the processes {} of earlier runs cannot be killed and still run", pids.join(", "));
            return Answer { reply: Reply::not_sent(why), took: Duration::ZERO, left: None };
        }
        let limits = Limits { deadline: Instant::now() + self.limit, grace: Some(GRACE), keep: KEEP };
        let ended = self.program.run(&limits, stop);
        let heard = |end| birdc::read(&ended.stdout.kept, &ended.stderr.kept, end);
        let reply = match &ended.how {
            How::Exited(code) => heard(End::Code(*code)),
            How::Signaled(signal) => heard(End::Signal(*signal)),
            How::TimedOut => heard(End::Limit(self.limit)),
            How::Stopped => Reply::not_sent("the daemon stops".to_string()),
            How::NotStarted(why) => Reply::not_sent(format!("{why}: '{}'", self.name)),
        };
        let left = ended.left.as_ref().map(Left::to_string);
        self.left.extend(ended.left);
        Answer { reply, took: ended.took, left }
    }

    /// Takes ended processes off the kernel's list. To be called now and then where there is nothing to reconfigure.
    pub fn reap(&mut self) {
        self.left.retain_mut(|left| !left.try_reap());
    }

    /// How many processes are left.
    pub fn left(&self) -> usize {
        self.left.len()
    }
}

#[cfg(test)]
mod tests;
