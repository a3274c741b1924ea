//! The status document: what the running daemon knows, as one JSON object. The types are its schema.
//!
//! Promises: pure; a program written for one schema can read every later document of that schema, as fields are only
//! added; durations are in the unit that a field's name ends in, moments are given twice (see [`Moment`]).
//! Leaves out: where it comes from (`report::status`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::health::State;

/// What [`Document::schema`] is: a change that old readers cannot understand makes it another.
pub const SCHEMA: u32 = 1;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// 1; a change that old readers cannot understand makes it another, see [`SCHEMA`].
    pub schema: u32,
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When the document was made.
    pub time: Moment,
    /// When the daemon started.
    pub started: Moment,
    /// How long it runs, whatever was done to the clock meanwhile.
    pub uptime_s: f64,
    /// Whether the first reconfigure of BIRD was tried.
    pub ready: bool,
    /// Whether every service is up, every prefix assigned and BIRD in sync; services that are disabled or drained do not count.
    pub well: bool,
    /// All of it in numbers.
    pub summary: Summary,
    /// In the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// One for each address family that is on.
    pub families: Vec<FamilyStatus>,
    /// For how long the thread that writes the prefix files has been silent beyond the time its step may take; null
    /// where it has not.
    pub writer_overdue_s: Option<f64>,
    /// Log lines that no target took.
    pub log_lines_dropped: u64,
    /// Why the last reload was refused, so that an older configuration runs; null where none was.
    pub reload_error: Option<String>,
}

/// A moment in time: for people, and for arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// RFC 3339 with the daemon's offset: `2026-11-22T08:41:54.123+01:00`.
    pub text: String,
    /// Seconds since 1970.
    pub unix: f64,
}

/// All in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Services that are neither disabled nor drained: the sum of the next three.
    pub services: usize,
    /// See [`Condition::Up`].
    pub up: usize,
    /// See [`Condition::Down`].
    pub down: usize,
    /// See [`Condition::Unknown`].
    pub unknown: usize,
    /// Services whose check is disabled.
    pub disabled: usize,
    /// Services that are drained and not disabled; they do not count as down.
    #[serde(default)]
    pub drained: usize,
    /// Whether each prefix file lists what it should and BIRD took it.
    pub in_sync: bool,
}

/// What the last verdict on a service was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It is to be advertised.
    Up,
    /// It is not.
    Down,
    /// There was none yet: the route stays as it was.
    Unknown,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The section's name.
    pub name: String,
    /// As of the last verdict.
    pub state: Condition,
    /// Since when.
    pub since: Moment,
    /// `on_disabled` where the check is disabled (`withdraw` or `advertise`), else null.
    pub disabled: Option<String>,
    /// Why it is out although nothing need be wrong: its operator wants it so; null where it is not drained.
    #[serde(default)]
    pub drained: Option<DrainStatus>,
    /// `check_interval`.
    pub interval_s: f64,
    /// `check_timeout`.
    pub timeout_s: f64,
    /// The last run that ended; null where none has.
    pub last: Option<LastRun>,
    /// On the way to another state; null where it is not.
    pub progress: Option<Steps>,
    /// What is wrong, in a sentence; null where nothing is.
    pub why: Option<String>,
    /// All of them, in the order of the configuration.
    pub prefixes: Vec<PrefixStatus>,
    /// Changes of state so far, the first verdict included.
    pub transitions: u64,
    /// Runs so far.
    pub checks: Checks,
    /// For how long the check's thread has been silent beyond interval and time-out; null where it has not.
    pub overdue_s: Option<f64>,
    /// For how long it has been unknown beyond the time that checks which all pass, or all fail, need for the first
    /// verdict; null where it has not.
    #[serde(default)]
    pub verdict_overdue_s: Option<f64>,
    /// Why nothing is checked although it should be; null where nothing prevents it.
    pub problem: Option<String>,
    /// The process whose end runs the check at once (`watch_pidfile`); null where none is watched.
    #[serde(default)]
    pub watched_pid: Option<i32>,
    /// What came of `state_change_cmd`; null where the service has none.
    #[serde(default)]
    pub state_change_cmd: Option<HookRuns>,
}

/// Changes of state by what came of running `state_change_cmd` for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRuns {
    /// Exit code 0.
    pub succeeded: u64,
    /// Another exit code, a signal, a time-out, or not started.
    pub failed: u64,
    /// Not run, as a later change came first.
    pub skipped: u64,
    /// Why the last run failed; null where it did not.
    pub problem: Option<String>,
}

/// A drain: nothing is run, the prefixes are withdrawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// The drain file; where there are two, the one that ends later.
    pub file: String,
    /// When the daemon noticed it.
    pub since: Moment,
    /// When it ends; null where the file has to be removed for that.
    pub until: Option<Moment>,
}

/// One run of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it began.
    pub began: Moment,
    /// How long it took; null where nothing was run.
    pub took_ms: Option<f64>,
    /// `passed`, `failed` (another exit code), `signaled`, `timed_out`, `not_started` or `not_assigned`.
    pub result: String,
    /// Exit code, minus the signal's number, 126 for a run that was too slow or did not start, 1 for no address.
    pub code: i32,
    /// The end of what it printed, where it failed.
    pub output: String,
}

/// How far it is to the other state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// The state that comes next.
    pub towards: Condition,
    /// Runs in a row so far.
    pub n: u32,
    /// `check_rise` or `check_fail`.
    pub of: u32,
}

/// Where one prefix stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixStatus {
    /// With its length.
    pub prefix: String,
    /// Whether it is to be advertised; null, like the next two, before the prefix file was first read.
    pub wanted: Option<bool>,
    /// Whether the prefix file lists it.
    pub in_file: Option<bool>,
    /// Whether BIRD took a file that lists it.
    pub in_bird: Option<bool>,
    /// It is not assigned to its interface, and withdrawn for that.
    pub missing: bool,
}

/// Runs by what they came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Exit code 0.
    pub passed: u64,
    /// Another exit code, a signal, or not started.
    pub failed: u64,
    /// Ran into `check_timeout`.
    pub timed_out: u64,
    /// Not run, no address was assigned.
    pub not_assigned: u64,
}

/// One address family's prefix file and BIRD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FamilyStatus {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// The prefix file.
    pub file: String,
    /// Whether the file lists what it should and BIRD took it.
    pub in_sync: bool,
    /// For how long it has not been in sync; null where it is, or where nobody knows.
    pub out_of_sync_s: Option<f64>,
    /// What failed and still stands.
    pub problem: Option<String>,
    /// Why BIRD is not told of the file, though nothing is wrong; null where it is told.
    #[serde(default)]
    pub hold: Option<HoldStatus>,
    /// How many prefixes are to be advertised, the dummy included.
    pub wanted: usize,
    /// How many the file lists.
    pub in_file: usize,
    /// How many the file listed that BIRD took last.
    pub in_bird: usize,
    /// Whether BIRD is asked each minute if it holds the list, over `bird_control_socket`. Where it is not, `in_bird` is what
    /// BIRD took when it was told last.
    #[serde(default)]
    pub asks_bird: bool,
    /// Prefixes that the file lists though no service names them, the dummy aside; BIRD may advertise them.
    #[serde(default)]
    pub unmanaged: Vec<String>,
    /// Reconfigures that BIRD took.
    pub taken: u64,
    /// Reconfigures that failed or were refused.
    pub failed: u64,
    /// When BIRD took the file the last time, or said over a control socket that it holds it; null where it never has.
    pub last_success: Option<Moment>,
    /// When BIRD took a reconfigure the last time; null where it never has.
    #[serde(default)]
    pub last_taken: Option<Moment>,
}

/// The list was lost, and BIRD is not told of the new one before each service had its first verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// When BIRD is told at the latest.
    pub until: Moment,
    /// The services that have no verdict yet.
    pub waiting_for: Vec<String>,
}

/// For a sentence.
impl fmt::Display for HoldStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held until {}", self.until.text)?;
        if self.waiting_for.is_empty() {
            return Ok(());
        }
        write!(f, ", waiting for the first verdict of {}", shortened(&self.waiting_for))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sync = if self.in_sync { "BIRD in sync" } else { "BIRD not in sync" };
        let drained = if self.drained > 0 { format!("{} drained, ", self.drained) } else { String::new() };
        write!(f, "{} of {} services up, {drained}{sync}", self.up, self.services)
    }
}

/// The first five of these texts: `a, b, c, d, e and 7 more`.
pub fn shortened(texts: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = texts.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match texts.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl ServiceStatus {
    /// Whether nothing is to be said about it: it is up with all its addresses, or out because someone wants it so.
    pub fn is_well(&self) -> bool {
        self.disabled.is_some()
            || self.drained.is_some()
            || self.state == Condition::Up && self.overdue_s.is_none() && self.prefixes.iter().all(|on| !on.missing)
    }
}

impl PrefixStatus {
    /// Whether the prefix file or BIRD differs from what is wanted.
    pub fn is_out_of_sync(&self) -> bool {
        self.in_file != self.wanted || self.in_bird != self.wanted
    }
}

impl From<State> for Condition {
    fn from(state: State) -> Condition {
        match state {
            State::Up => Condition::Up,
            State::Down => Condition::Down,
            State::Unknown => Condition::Unknown,
        }
    }
}
