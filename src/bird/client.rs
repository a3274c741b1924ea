//! The one that tells BIRD to read its configuration again: by the configured command, or over the control socket, where
//! BIRD can also be asked whether it holds the lists.
//!
//! Promises: one exchange over the socket takes no longer than [`LIMIT`]; one run of the command takes no longer than [`LIMIT`], [`GRACE`] and the moment that a killed process is waited for,
//! whatever the command does; what may not be killed (`sudo` under a daemon that is not root) is looked after until it
//! ends, and while [`MOST_LEFT`] such are left none is added to them.
//! Leaves out: what the answer means (`bird::birdc`, `bird::control`), when to ask, and the log (`bird::writer`).

use std::path::Path;
use std::time::{Duration, Instant};

use crate::bird::birdc::{self, End};
use crate::bird::control::{Asked, Control};
use crate::bird::conversation::ConversationError;
use crate::bird::question::Question;
use crate::bird::reply::Reply;
use crate::command::Command;
use crate::sys::process::{How, Left, Limits, Program};
use crate::sys::stop_line::StopLine;

/// How long the command, or one exchange over the socket, may take: the original's limit.
pub const LIMIT: Duration = Duration::from_secs(2);
/// How long it then has between TERM and KILL, so that `sudo` can end what it runs.
pub const GRACE: Duration = Duration::from_millis(200);
/// How many runs that cannot be killed may be left.
pub const MOST_LEFT: usize = 4;
/// How much of each output is kept, in bytes; the answer stands at the end.
const KEEP: usize = 4096;

/// The way to one BIRD.
pub struct Client {
    way: Way,
    limit: Duration,
    left: Vec<Left>,
}

enum Way {
    Command {
        program: Program,
        /// For sentences.
        name: String,
    },
    Socket(Control),
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
        let (program, name) = (Program::new(command.words()), command.program().to_string());
        Client { way: Way::Command { program, name }, limit: LIMIT, left: Vec::new() }
    }

    /// By `bird_control_socket`.
    pub fn over(socket: &Path) -> Client {
        Client { way: Way::Socket(Control::new(socket)), limit: LIMIT, left: Vec::new() }
    }

    /// Whether BIRD can be asked what it holds, and says itself when it is busy.
    pub fn can_ask(&self) -> bool {
        matches!(self.way, Way::Socket(_))
    }

    /// Asks BIRD whether it holds the lists; nothing where it cannot be asked.
    pub fn ask(&self, questions: &[Question], stop: &StopLine) -> Option<Result<Asked, ConversationError>> {
        match &self.way {
            Way::Command { .. } => None,
            Way::Socket(control) => Some(control.ask(questions, self.limit, stop)),
        }
    }

    /// Tells BIRD, and waits for its answer. A pulled stop line kills the command.
    pub fn reconfigure(&mut self, stop: &StopLine) -> Answer {
        self.reap();
        let (program, name) = match &mut self.way {
            Way::Command { program, name } => (program, name),
            Way::Socket(control) => {
                let began = Instant::now();
                let reply = control.configure(self.limit, stop);
                return Answer { reply, took: began.elapsed(), left: None };
            }
        };
        if self.left.len() >= MOST_LEFT {
            let pids: Vec<String> = self.left.iter().map(|left| left.pid().to_string()).collect();
            let why = format!("the processes {} of earlier runs cannot be killed and still run", pids.join(", "));
            return Answer { reply: Reply::not_sent(why), took: Duration::ZERO, left: None };
        }
        let limits = Limits { deadline: Instant::now() + self.limit, grace: Some(GRACE), keep: KEEP };
        let ended = program.run(&limits, stop);
        let heard = |end| birdc::read(&ended.stdout.kept, &ended.stderr.kept, end);
        let reply = match &ended.how {
            How::Exited(code) => heard(End::Code(*code)),
            How::Signaled(signal) => heard(End::Signal(*signal)),
            How::TimedOut => heard(End::Limit(self.limit)),
            How::Stopped => Reply::not_sent("the daemon stops".to_string()),
            How::NotStarted(why) => Reply::not_sent(format!("{why}: '{name}'")),
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
