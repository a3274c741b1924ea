//! One way to tell BIRD: a reconfigure command, and the families whose files it makes BIRD read.
//!
//! Promises: where both families have the same command, one run tells both; a run that BIRD did not take is tried again,
//! ever later, and at once when a file changed; the log says once what is wrong and once that it is over.
//! Leaves out: when it is this thread's turn (`bird::writer`).

use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use crate::bird::client::{Answer, Client, GRACE, LIMIT};
use crate::bird::pace::Pace;
use crate::bird::reply::{Meaning, REST};
use crate::bird::table::{Table, Told, Verdicts};
use crate::command::Command;
use crate::config::settings::Bird;
use crate::sys::stop_line::StopLine;

/// A reconfigure command and what came of it.
pub struct Channel {
    /// The places of the tables whose files it makes BIRD read.
    pub tables: Vec<usize>,
    /// Runs that BIRD took.
    pub taken: u64,
    /// Runs that it did not take.
    pub failed: u64,
    /// When BIRD took the files the last time.
    pub last_success: Option<SystemTime>,
    command: Command,
    client: Client,
    pace: Pace,
    problem: Option<String>,
    /// What the last run told, so that news need not wait for the next retry.
    tried: Vec<u64>,
}

impl Channel {
    /// The channel of the family at place `table`.
    pub fn new(bird: &Bird, table: usize) -> Channel {
        Channel {
            tables: vec![table],
            taken: 0,
            failed: 0,
            last_success: None,
            command: bird.reconfigure_cmd.clone(),
            client: Client::new(&bird.reconfigure_cmd),
            pace: Pace::default(),
            problem: None,
            tried: Vec::new(),
        }
    }

    /// The same with the counts of a channel that told its family until now.
    pub fn counting_on(self, before: &Channel) -> Channel {
        let Channel { taken, failed, last_success, .. } = *before;
        Channel { taken, failed, last_success, ..self }
    }

    /// Whether it is told in the same way.
    pub fn is_for(&self, bird: &Bird) -> bool {
        self.command == bird.reconfigure_cmd
    }

    /// How long one run takes at most.
    pub fn limit(&self) -> Duration {
        LIMIT + GRACE
    }

    /// Why BIRD did not take the last run.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// When BIRD is to be told, if it is; `busy_until` is when it will be done with the last reconfigure.
    ///
    /// A list that was made from nothing holds up all families of the channel, as BIRD would read it with the others.
    pub fn earliest(
        &mut self,
        tables: &mut [Table],
        verdicts: &Verdicts,
        busy_until: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        if !self.tables.iter().any(|&at| tables[at].is_due()) {
            return None;
        }
        let news = self.told(tables).map(|(_, told)| told.generation).ne(self.tried.iter().copied());
        if news {
            self.pace.news();
        }
        let held = self.tables.iter().filter_map(|&at| tables[at].held_until(verdicts, now)).max();
        Some(self.pace.earliest().max(held).max(busy_until).unwrap_or(now))
    }

    /// Tells BIRD once. Returns until when it may be busy with it.
    pub fn reconfigure(&mut self, tables: &mut [Table], give_up: &StopLine) -> Option<Instant> {
        let told: Vec<(usize, Told)> = self.told(tables).collect();
        self.tried = told.iter().map(|(_, told)| told.generation).collect();
        match self.problem {
            None => info!("reconfiguring BIRD by running {}", self.command),
            Some(_) => debug!("reconfiguring BIRD by running {} again", self.command),
        }
        let Answer { reply, left, .. } = self.client.reconfigure(give_up);
        let now = Instant::now();
        if let Some(left) = left {
            warn!("{left}. It was started by {}, and is reaped when it ends", self.command);
        }
        let said = reply.meaning.to_string();
        if reply.meaning.is_taken() {
            info!("{said}");
            told.iter().for_each(|(at, told)| tables[*at].took(told));
            self.taken += 1;
            self.last_success = Some(SystemTime::now());
            self.problem = None;
            self.pace.succeeded(now);
        } else {
            self.failed += 1;
            self.pace.failed(now);
            match reply.meaning {
                _ if self.problem.as_ref() == Some(&said) => debug!("{said}"),
                Meaning::Pending => warn!("{said}"),
                _ => error!("{said}"),
            }
            self.problem = Some(said);
        }
        reply.calls_for_rest().then(|| now + REST)
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
