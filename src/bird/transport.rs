//! The transport to one BIRD: the family's reconfigure command, or BIRD's control socket. Over the
//! socket BIRD can also be queried for its list and for whether it is busy.
//!
//! Guarantees: one exchange over the socket takes at most [`TIMEOUT`]; one run of the command takes
//! at most [`TIMEOUT`], [`KILL_GRACE`] and the short wait for a killed process, whatever the
//! command does. A process that the daemon may not kill (`sudo` under a daemon that is not root)
//! becomes an orphan: it is reaped when it ends, and the number of orphans is limited.
//!
//! Out of scope: what an answer means (`bird::protocol::birdc`, `bird::protocol::control`), when to
//! ask, and the log (`bird::reconfigurer`).

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

/// Time limit of the command, or of one exchange over the socket. The original has the same limit.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Time between TERM and KILL, so that `sudo` can end its child.
pub const KILL_GRACE: Duration = Duration::from_millis(200);
/// How many bytes at the end of each output are kept. BIRD's answer is at the end.
const MAX_OUTPUT_LEN: usize = 4096;
/// Owner of the orphans that the reconfigure command leaves.
const ORPHAN_OWNER: &str = "bird_reconfigure_cmd";

/// Address of a BIRD: the command or the socket by which it is notified.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    /// `bird_reconfigure_cmd`.
    Command(Command),
    /// Path of `bird_control_socket`.
    Socket(PathBuf),
}

impl Address {
    /// The address that is configured for a family.
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

/// The connection to one BIRD.
pub struct Transport {
    address: Address,
    client: Client,
    timeout: Duration,
    orphans: Arc<Orphans>,
}

/// What performs the exchange with BIRD.
enum Client {
    Command(Program),
    Socket(Control),
}

/// Result of one reconfigure.
#[derive(Debug)]
pub struct Attempt {
    /// BIRD's answer.
    pub result: ReconfigureResult,
    /// Description of a process that could not be killed, for the log.
    pub orphan: Option<String>,
}

impl Transport {
    /// Creates the transport to the BIRD at `address`. Commands that cannot be killed become
    /// `orphans`.
    pub fn new(address: Address, orphans: Arc<Orphans>) -> Transport {
        let client = match &address {
            Address::Command(command) => Client::Command(Program::new(command.words())),
            Address::Socket(path) => Client::Socket(Control::new(path)),
        };
        Transport { address, client, timeout: TIMEOUT, orphans }
    }

    /// The address of the BIRD.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether BIRD can be queried for its list and for whether it is busy.
    pub fn can_query(&self) -> bool {
        matches!(self.client, Client::Socket(_))
    }

    /// Maximum duration of one reconfigure, over a socket with a query before and one after it.
    pub fn max_duration(&self) -> Duration {
        match self.client {
            Client::Socket(_) => TIMEOUT * 3,
            Client::Command(_) => TIMEOUT + KILL_GRACE,
        }
    }

    /// Queries BIRD for the lists. None if BIRD cannot be queried.
    pub fn query(&self, queries: &[Query], stop: &StopToken) -> Option<Result<QueryAnswers, ConnectionError>> {
        match &self.client {
            Client::Command(_) => None,
            Client::Socket(control) => Some(control.ask(queries, self.timeout, stop)),
        }
    }

    /// Asks BIRD whether it is busy with a reconfiguration. None if BIRD cannot be queried or does
    /// not answer.
    pub fn is_busy(&self, stop: &StopToken) -> Option<bool> {
        match &self.client {
            Client::Command(_) => None,
            Client::Socket(control) => control.is_busy(self.timeout, stop),
        }
    }

    /// Makes BIRD read its configuration, and waits for its answer. `stop` kills the command.
    pub fn reconfigure(&mut self, stop: &StopToken) -> Attempt {
        let program = match &mut self.client {
            Client::Command(program) => program,
            Client::Socket(control) => {
                return Attempt { result: control.configure(self.timeout, stop), orphan: None };
            }
        };
        if let Err(why) = self.orphans.admit(ORPHAN_OWNER) {
            return Attempt { result: ReconfigureResult::not_sent(why.to_string()), orphan: None };
        }
        let limits =
            Limits { deadline: Instant::now() + self.timeout, grace: Some(KILL_GRACE), max_output: MAX_OUTPUT_LEN };
        let run = program.run(&limits, stop);
        let parse = |end| birdc::parse(&run.stdout.bytes, &run.stderr.bytes, end);
        let result = match &run.exit {
            Exit::Exited(code) => parse(CommandEnd::Code(*code)),
            Exit::Signaled(signal) => parse(CommandEnd::Signal(*signal)),
            Exit::TimedOut => parse(CommandEnd::Limit(self.timeout)),
            Exit::Stopped => ReconfigureResult::not_sent("the daemon stops".to_string()),
            Exit::NotStarted(why) => {
                let name = if let Address::Command(command) = &self.address { command.program() } else { "" };
                ReconfigureResult::not_sent(format!("{why}: '{name}'"))
            }
        };
        let orphan = run.orphan.as_ref().map(Orphan::to_string);
        if let Some(orphan) = run.orphan {
            self.orphans.keep(ORPHAN_OWNER, orphan);
        }
        Attempt { result, orphan }
    }
}

#[cfg(test)]
mod tests;
