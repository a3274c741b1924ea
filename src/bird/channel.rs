//! One way to tell BIRD: a reconfigure command or a control socket, and the families whose files BIRD reads by it.
//!
//! ```text
//!   command   run it ------------------------------------------------> taken, or tried again
//!   socket    ask --holds the lists--> left alone until the next minute
//!              | ^                       |
//!              | +-- each minute --------+
//!              +--does not--> configure --taken--> ask --holds--> taken
//!                     ^          |                  |
//!                   a change     +------------------+--> tried again
//! ```
//!
//! Promises: where both families have the same way, one reconfigure tells both; one that BIRD did not take is tried
//! again, ever later, and at once when a file changed; over a socket a list is in BIRD when BIRD says so, and BIRD is
//! left alone where it says so unasked; BIRD is spoken to once more after a change of a long list, as BIRD 2 would keep
//! the last of its announcements for 3 s otherwise; the log says once what is wrong and once that it is over.
//! Leaves out: when it is this thread's turn (`bird::writer`).

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use crate::bird::client::{Answer, Client, GRACE, LIMIT};
use crate::bird::pace::{Pace, GATHER};
use crate::bird::question::{Difference, Question};
use crate::bird::reply::{Meaning, Reply, Version, REST};
use crate::bird::table::{Table, Told, Verdicts};
use crate::command::Command;
use crate::config::settings::Bird;
use crate::sys::stop_line::StopLine;

/// How often BIRD is asked whether it still holds the lists: somebody may have started it with others.
const ASK: Duration = Duration::from_secs(60);
/// BIRD 2.0 walks so many routes of its table at a time, and sends what the last of several such steps found only when
/// something wakes it, or after 3 s. Where there are fewer, the end of our own connection has woken it.
const STEP: usize = 256;

/// A way to BIRD and what came of it.
pub struct Channel {
    /// The places of the tables whose files it makes BIRD read.
    pub tables: Vec<usize>,
    /// Reconfigures that BIRD took.
    pub taken: u64,
    /// Those that it did not take, and questions that it did not answer.
    pub failed: u64,
    /// When BIRD took the files the last time, or said that it holds them.
    pub last_success: Option<SystemTime>,
    way: Way,
    client: Client,
    pace: Pace,
    problem: Option<String>,
    /// BIRD was there once.
    was_there: bool,
    /// How often in a row no BIRD was there.
    gone: u32,
    /// What the last run told, so that news need not wait for the next retry.
    tried: Vec<u64>,
    /// When BIRD is asked again.
    ask_at: Option<Instant>,
    /// Who answered last.
    version: Option<Version>,
}

#[derive(PartialEq)]
enum Way {
    Command(Command),
    Socket(PathBuf),
}

impl Way {
    fn of(bird: &Bird) -> Way {
        match &bird.control_socket {
            Some(path) => Way::Socket(path.clone()),
            None => Way::Command(bird.reconfigure_cmd.clone()),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Command(command) => write!(f, "by running {command}"),
            Way::Socket(path) => write!(f, "over {}", path.display()),
        }
    }
}

impl Channel {
    /// The channel of the family at place `table`.
    pub fn new(bird: &Bird, table: usize) -> Channel {
        let way = Way::of(bird);
        Channel {
            tables: vec![table],
            taken: 0,
            failed: 0,
            last_success: None,
            client: match &way {
                Way::Command(command) => Client::new(command),
                Way::Socket(path) => Client::over(path),
            },
            way,
            pace: Pace::default(),
            problem: None,
            was_there: false,
            gone: 0,
            tried: Vec::new(),
            ask_at: None,
            version: None,
        }
    }

    /// The same with the counts of a channel that told its family until now.
    pub fn counting_on(self, before: &Channel) -> Channel {
        let Channel { taken, failed, last_success, .. } = *before;
        Channel { taken, failed, last_success, ..self }
    }

    /// Whether it is told in the same way.
    pub fn is_for(&self, bird: &Bird) -> bool {
        self.way == Way::of(bird)
    }

    /// How long one turn takes at most: over a socket BIRD may be asked before and after.
    pub fn limit(&self) -> Duration {
        if self.client.can_ask() {
            LIMIT * 3
        } else {
            LIMIT + GRACE
        }
    }

    /// Why BIRD did not take the last run.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether BIRD was there and was not at the last two tries: then no route is left that it could withdraw. Where it
    /// never was there, it may as well run and be looked for in the wrong place.
    pub fn is_gone(&self) -> bool {
        self.was_there && self.gone >= 2
    }

    /// When BIRD is to be told or asked, if it is; `busy_until` is when it will be done with the last reconfigure, which
    /// it says itself over a socket.
    ///
    /// A list that was made from nothing holds up all families of the channel, as BIRD would read it with the others.
    pub fn earliest(
        &mut self,
        tables: &mut [Table],
        verdicts: &Verdicts,
        busy_until: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let busy_until = busy_until.filter(|_| !self.client.can_ask());
        if !self.is_due(tables) {
            let settled = self.tables.iter().all(|&at| tables[at].levels().in_sync);
            let at = self.ask_at.filter(|_| settled)?;
            return Some(at).max(busy_until);
        }
        let news = self.told(tables).map(|(_, told)| told.generation).ne(self.tried.iter().copied());
        if news {
            self.pace.news();
        }
        let held = self.tables.iter().filter_map(|&at| tables[at].held_until(verdicts, now)).max();
        Some(self.pace.earliest().max(held).max(busy_until).unwrap_or(now))
    }

    fn is_due(&self, tables: &[Table]) -> bool {
        self.tables.iter().any(|&at| tables[at].is_due())
    }

    /// Tells BIRD once, where it does not say that it knows. Returns until when it may be busy with it.
    pub fn reconfigure(&mut self, tables: &mut [Table], give_up: &StopLine) -> Option<Instant> {
        self.ask_at = None;
        if !self.is_due(tables) && !self.client.can_ask() {
            // It has taken the list: whether this works changes nothing of that.
            debug!("waking BIRD {}", self.way);
            return self.run(give_up).calls_for_rest().then(|| Instant::now() + REST);
        }
        let told: Vec<(usize, Told)> = self.told(tables).collect();
        let first = self.tried.is_empty();
        // A change of ours is one that BIRD cannot know; in all other cases it may have the right list already.
        let changed = told.iter().map(|(_, told)| told.generation).ne(self.tried.iter().copied());
        self.tried = told.iter().map(|(_, told)| told.generation).collect();
        if first || !changed || self.problem.is_some() {
            match self.ask(tables, &told, give_up) {
                Asked::Cannot => {}
                Asked::Holds => {
                    self.pace = Pace::default();
                    if first || self.problem.take().is_some() {
                        info!("BIRD holds the list already, it is not reconfigured");
                    }
                    return None;
                }
                Asked::Differs(why) if self.problem.is_some() => debug!("{why}"),
                Asked::Differs(why) if first => info!("{why}"),
                Asked::Differs(why) => warn!("{why}"),
                Asked::Failed(meaning) => {
                    self.count_gone(&meaning);
                    self.fail(meaning.to_string(), Level::Error);
                    return None;
                }
            }
        }
        match self.problem {
            None => info!("reconfiguring BIRD {}", self.way),
            Some(_) => debug!("reconfiguring BIRD {} again", self.way),
        }
        let reply = self.run(give_up);
        self.meet(reply.version, tables);
        self.conclude(&reply, tables, &told, give_up);
        let routes: usize = self.tables.iter().map(|&at| tables[at].size()).sum();
        if changed && self.problem.is_none() && routes >= STEP {
            // It needs a few milliseconds to walk a table of thousands of routes; a change that comes meanwhile wakes it
            // as well.
            self.ask_at = Some(Instant::now() + GATHER);
        }
        reply.calls_for_rest().then(|| Instant::now() + REST)
    }

    fn run(&mut self, give_up: &StopLine) -> Reply {
        let Answer { reply, left, .. } = self.client.reconfigure(give_up);
        if let Some(left) = left {
            warn!("{left}. It was started {}, and is reaped when it ends", self.way);
        }
        reply
    }

    /// BIRD has answered to a reconfigure, or not. What it took it has to hold, where it can be asked.
    fn conclude(&mut self, reply: &Reply, tables: &mut [Table], told: &[(usize, Told)], give_up: &StopLine) {
        let said = reply.meaning.to_string();
        self.count_gone(&reply.meaning);
        if !reply.meaning.is_taken() {
            match reply.meaning {
                Meaning::Gone { .. } | Meaning::Unreachable { .. } => self.version = None,
                // Where nobody says which version it is, an empty list is the first thing to suspect.
                Meaning::Refused { .. } if reply.version.is_none() => {
                    for (at, _) in told.iter().filter(|(_, told)| told.list.is_empty()) {
                        tables[*at].empty_lists_are_read(false);
                    }
                }
                _ => {}
            }
            let level = if reply.meaning == Meaning::Pending { Level::Warning } else { Level::Error };
            return self.fail(said, level);
        }
        match self.ask(tables, told, give_up) {
            Asked::Cannot => told.iter().for_each(|(at, told)| tables[*at].took(told)),
            Asked::Holds => {}
            Asked::Differs(why) => {
                let why = format!("BIRD read its configuration, but not the list with it: {why}");
                return self.fail(why, Level::Error);
            }
            Asked::Failed(meaning) => return self.fail(meaning.to_string(), Level::Error),
        }
        info!("{said}");
        self.taken += 1;
        self.last_success = Some(SystemTime::now());
        self.problem = None;
        self.pace.succeeded(Instant::now());
    }

    /// Asks BIRD whether it holds what it was told, and has the tables know.
    fn ask(&mut self, tables: &mut [Table], told: &[(usize, Told)], give_up: &StopLine) -> Asked {
        let questions: Vec<Question> = told.iter().map(|(at, _)| tables[*at].question()).collect();
        let (holdings, version) = match self.client.ask(&questions, give_up) {
            None => return Asked::Cannot,
            Some(Ok(asked)) => asked,
            Some(Err(error)) => {
                told.iter().for_each(|(at, _)| tables[*at].lost(Vec::new()));
                self.version = None;
                return Asked::Failed(error.meaning());
            }
        };
        self.was_there = true;
        self.ask_at = Some(Instant::now() + ASK);
        self.meet(version, tables);
        let mut difference = None;
        for ((at, told), holding) in told.iter().zip(holdings) {
            match holding.difference {
                None => tables[*at].took(told),
                Some(found) => {
                    tables[*at].lost(holding.list);
                    difference = difference.or(Some(sentence(&found, &tables[*at])));
                }
            }
        }
        match difference {
            Some(why) => Asked::Differs(why),
            None => {
                self.last_success = Some(SystemTime::now());
                Asked::Holds
            }
        }
    }

    /// Takes in who answered.
    fn meet(&mut self, version: Option<Version>, tables: &mut [Table]) {
        let Some(version) = version else { return };
        if self.version.replace(version) != Some(version) {
            info!("BIRD {version} was reached {}", self.way);
        }
        self.tables.iter().for_each(|&at| tables[at].empty_lists_are_read(version.reads_empty_lists()));
    }

    fn count_gone(&mut self, meaning: &Meaning) {
        self.gone = if matches!(meaning, Meaning::Gone { .. }) { self.gone.saturating_add(1) } else { 0 };
        self.was_there |= meaning.is_taken();
    }

    /// It is tried again, and said once.
    fn fail(&mut self, said: String, level: Level) {
        self.failed += 1;
        self.pace.failed(Instant::now());
        match level {
            _ if self.problem.as_ref() == Some(&said) => debug!("{said}"),
            Level::Warning => warn!("{said}"),
            Level::Error => error!("{said}"),
        }
        self.problem = Some(said);
    }

    /// Takes ended processes off the kernel's list, also while there is nothing to tell.
    pub fn reap(&mut self) {
        self.client.reap();
    }

    /// The last chance, see [`Pace::hurry`].
    pub fn hurry(&mut self) {
        self.pace.hurry();
    }

    /// What a run that starts now tells.
    fn told<'a>(&'a self, tables: &'a [Table]) -> impl Iterator<Item = (usize, Told)> + 'a {
        self.tables.iter().filter(|&&at| tables[at].is_fit()).map(|&at| (at, tables[at].tell()))
    }
}

/// What came of a question.
enum Asked {
    /// The way is none that answers.
    Cannot,
    /// BIRD holds all lists.
    Holds,
    /// It does not, for this reason.
    Differs(String),
    /// There was no answer, for this reason.
    Failed(Meaning),
}

enum Level {
    Warning,
    Error,
}

/// Where BIRD does not know the constant, it does not read the file at all.
fn sentence(difference: &Difference, table: &Table) -> String {
    match difference {
        Difference::Unknown { .. } => format!("{difference}; does bird.conf include {}?", table.path().display()),
        _ => difference.to_string(),
    }
}

#[cfg(test)]
mod tests;
