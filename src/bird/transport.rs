//! One way to make BIRD read its configuration: the family's command, or BIRD's control socket, over which BIRD can also
//! be asked what it holds and whether it is busy.
//!
//! Promises: one exchange over the socket takes no longer than [`LIMIT`]; one run of the command takes no longer than
//! [`LIMIT`], [`GRACE`] and the moment that a killed process is waited for, whatever the command does; what may not be
//! killed (`sudo` under a daemon that is not root) is reaped when it ends, and no more than a few such are left.
//! Leaves out: what the answer means (`bird::protocol::birdc`, `bird::protocol::control`), when to ask, and the log (`bird::reconfigurer`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bird::protocol::birdc::{self, CommandEnd};
use crate::bird::protocol::connection::ConnectionError;
use crate::bird::protocol::control::{Control, QueryAnswers};
use crate::bird::protocol::outcome::ReconfigureResult;
use crate::bird::protocol::query::Query;
use crate::command::Command;
use crate::config::settings::Bird;
use crate::sys::orphans::Orphans;
use crate::sys::process::{Exit, Limits, Orphan, Program};
use crate::sys::stop_token::StopToken;

/// How long the command, or one exchange over the socket, may take: the original's limit.
pub const LIMIT: Duration = Duration::from_secs(2);
/// How long it then has between TERM and KILL, so that `sudo` can end what it runs.
pub const GRACE: Duration = Duration::from_millis(200);
/// How much of each output is kept, in bytes; the answer stands at the end.
const KEEP: usize = 4096;
/// Whose orphans the commands are that cannot be killed.
const OWNER: &str = "bird_reconfigure_cmd";

/// How BIRD is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    /// By running `bird_reconfigure_cmd`.
    Command(Command),
    /// Over `bird_control_socket`.
    Socket(PathBuf),
}

impl Address {
    /// As configured for a family.
    pub fn of(bird: &Bird) -> Address {
        match &bird.control_socket {
            Some(path) => Address::Socket(path.clone()),
            None => Address::Command(bird.reconfigure_cmd.clone()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Command(command) => write!(f, "by running {command}"),
            Address::Socket(path) => write!(f, "over {}", path.display()),
        }
    }
}

/// The way to one BIRD.
pub struct Transport {
    address: Address,
    means: Means,
    limit: Duration,
    orphans: Arc<Orphans>,
}

enum Means {
    Command(Program),
    Socket(Control),
}

/// What one reconfigure came to.
#[derive(Debug)]
pub struct Attempt {
    /// BIRD's answer.
    pub reply: ReconfigureResult,
    /// A process that this run left behind, and why, for the log.
    pub left: Option<String>,
}

impl Transport {
    /// To the BIRD at `address`; commands that cannot be killed become `orphans`.
    pub fn new(address: Address, orphans: Arc<Orphans>) -> Transport {
        let means = match &address {
            Address::Command(command) => Means::Command(Program::new(command.words())),
            Address::Socket(path) => Means::Socket(Control::new(path)),
        };
        Transport { address, means, limit: LIMIT, orphans }
    }

    /// Where it leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether BIRD can be asked what it holds, and says itself when it is busy.
    pub fn can_ask(&self) -> bool {
        matches!(self.means, Means::Socket(_))
    }

    /// How long it may take at most to tell BIRD, or over a socket to ask it before and after.
    pub fn max_duration(&self) -> Duration {
        match self.means {
            Means::Socket(_) => LIMIT * 3,
            Means::Command(_) => LIMIT + GRACE,
        }
    }

    /// Asks BIRD whether it holds the lists; nothing where it cannot be asked.
    pub fn ask(&self, queries: &[Query], stop: &StopToken) -> Option<Result<QueryAnswers, ConnectionError>> {
        match &self.means {
            Means::Command(_) => None,
            Means::Socket(control) => Some(control.ask(queries, self.limit, stop)),
        }
    }

    /// Asks BIRD whether it is busy with a reconfiguration; nothing where it cannot be asked, or does not answer.
    pub fn is_busy(&self, stop: &StopToken) -> Option<bool> {
        match &self.means {
            Means::Command(_) => None,
            Means::Socket(control) => control.is_busy(self.limit, stop),
        }
    }

    /// Tells BIRD, and waits for its answer. A pulled stop line kills the command.
    pub fn reconfigure(&mut self, stop: &StopToken) -> Attempt {
        let program = match &mut self.means {
            Means::Command(program) => program,
            Means::Socket(control) => {
                return Attempt { reply: control.configure(self.limit, stop), left: None };
            }
        };
        if let Err(why) = self.orphans.admit(OWNER) {
            return Attempt { reply: ReconfigureResult::not_sent(why.to_string()), left: None };
        }
        let limits = Limits { deadline: Instant::now() + self.limit, grace: Some(GRACE), keep: KEEP };
        let ended = program.run(&limits, stop);
        let heard = |end| birdc::parse(&ended.stdout.kept, &ended.stderr.kept, end);
        let reply = match &ended.exit {
            Exit::Exited(code) => heard(CommandEnd::Code(*code)),
            Exit::Signaled(signal) => heard(CommandEnd::Signal(*signal)),
            Exit::TimedOut => heard(CommandEnd::Limit(self.limit)),
            Exit::Stopped => ReconfigureResult::not_sent("the daemon stops".to_string()),
            Exit::NotStarted(why) => {
                let name = if let Address::Command(command) = &self.address { command.program() } else { "" };
                ReconfigureResult::not_sent(format!("{why}: '{name}'"))
            }
        };
        let left = ended.left.as_ref().map(Orphan::to_string);
        if let Some(orphan) = ended.left {
            self.orphans.keep(OWNER, orphan);
        }
        Attempt { reply, left }
    }
}

#[cfg(test)]
mod tests;
