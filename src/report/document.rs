//! The status document: the state of the running daemon as one JSON object. The types are its
//! schema, and their doc comments become `docs/status.md`.
//!
//! Guarantees: pure. A program written for one schema can read every later document of that schema,
//! because fields are only added. Durations are in the unit that the field's name ends in; points
//! in time are given twice (see [`Moment`]).
//!
//! Out of scope: how a document is made (`report::status`).

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::check::health::State;
pub use crate::check::state::{Counts, HookRuns};

/// Value of [`Document::schema`]; a change that old readers cannot understand increases it.
pub const SCHEMA: u32 = 1;

/// The status document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// 1; a change that old readers cannot understand increases it.
    pub schema: u32,
    /// Version of the daemon.
    pub version: String,
    /// Process ID of the daemon.
    pub pid: u32,
    /// When the document was made.
    pub time: Moment,
    /// When the daemon started.
    pub started: Moment,
    /// Uptime in seconds, by the monotonic clock.
    pub uptime_s: f64,
    /// Whether the daemon has tried the first reconfigure of BIRD.
    pub ready: bool,
    /// Whether every service is up, every prefix assigned and BIRD in sync; disabled and drained
    /// services do not count.
    pub well: bool,
    /// Totals.
    pub summary: Summary,
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// The address families that are enabled.
    pub families: Vec<FamilyStatus>,
    /// Seconds by which the bird-writer thread is overdue; null if it is not.
    pub writer_overdue_s: Option<f64>,
    /// Log lines that no target accepted.
    pub log_lines_dropped: u64,
    /// Why the last reload was refused, so that an older configuration runs; null if it was not.
    pub reload_error: Option<String>,
}

/// A point in time, as text and as a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// RFC 3339 with the daemon's UTC offset: `2026-11-22T08:41:54.123+01:00`.
    pub text: String,
    /// Seconds since 1970-01-01 UTC.
    pub unix: f64,
}

/// Totals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Services that are neither disabled nor drained: the sum of the next three.
    pub services: usize,
    /// Services that are up.
    pub up: usize,
    /// Services that are down.
    pub down: usize,
    /// Services without a verdict so far.
    pub unknown: usize,
    /// Services whose check is disabled.
    pub disabled: usize,
    /// Services that are drained and not disabled; they do not count as down.
    #[serde(default)]
    pub drained: usize,
    /// Whether each prefix file lists what it should and BIRD has taken it.
    pub in_sync: bool,
    /// Services that are up and have a prefix which BIRD announces to nobody.
    #[serde(default)]
    pub announced_to_nobody: usize,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Name of the section.
    pub name: String,
    /// State by the last verdict.
    pub state: State,
    /// When the service entered this state.
    pub since: Moment,
    /// `on_disabled` (`withdraw` or `advertise`) if the check is disabled, else null.
    pub disabled: Option<String>,
    /// The drain that keeps the service withdrawn; null if it is not drained.
    #[serde(default)]
    pub drained: Option<DrainStatus>,
    /// `check_interval`.
    pub interval_s: f64,
    /// `check_timeout`.
    pub timeout_s: f64,
    /// The last finished run; null if there is none.
    pub last: Option<LastRun>,
    /// Progress towards another state; null if there is none.
    pub progress: Option<Steps>,
    /// What is wrong, in a sentence; null if nothing is.
    pub why: Option<String>,
    /// The prefixes, in the order of the configuration.
    pub prefixes: Vec<PrefixStatus>,
    /// Number of changes of state, the first verdict included.
    pub transitions: u64,
    /// Number of runs, by result.
    pub checks: Counts,
    /// Seconds by which the check's thread is overdue, beyond interval and timeout; null if it is
    /// not.
    pub overdue_s: Option<f64>,
    /// Seconds for which the service has been unknown beyond the time that checks which all pass,
    /// or all fail, need for the first verdict; null if it has not.
    #[serde(default)]
    pub verdict_overdue_s: Option<f64>,
    /// Why the check does not run although it should; null if nothing prevents it.
    pub problem: Option<String>,
    /// Process ID whose end runs the check at once (`watch_pidfile`); null if none is watched.
    #[serde(default)]
    pub watched_pid: Option<i32>,
    /// Results of `state_change_cmd`; null if the service has none.
    #[serde(default)]
    pub state_change_cmd: Option<HookRuns>,
}

/// A drain: the check does not run, and the prefixes are withdrawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// The drain file; if there are two, the one that ends later.
    pub file: String,
    /// When the daemon noticed it.
    pub since: Moment,
    /// When the drain ends by itself; null if it lasts until the file is removed.
    pub until: Option<Moment>,
}

/// One run of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// Start of the run.
    pub began: Moment,
    /// Duration in milliseconds; null if no command ran.
    pub took_ms: Option<f64>,
    /// `passed`, `failed` (another exit code), `signaled`, `timed_out`, `not_started` or
    /// `not_assigned`.
    pub result: String,
    /// Exit code; minus the number of the signal that ended it; 126 if it timed out or did not
    /// start; 1 if no address was assigned.
    pub code: i32,
    /// The end of its output, if it failed.
    pub output: String,
}

/// Progress of a service towards another state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// The other state.
    pub towards: State,
    /// Consecutive runs so far.
    pub n: u32,
    /// Consecutive runs needed: `check_rise` or `check_fail`.
    pub of: u32,
}

/// One prefix of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixStatus {
    /// Address and length.
    pub prefix: String,
    /// Whether the prefix is to be advertised; null, like the next two, before the prefix file was
    /// first read.
    pub wanted: Option<bool>,
    /// Whether the prefix file lists it.
    pub in_file: Option<bool>,
    /// Whether the file that BIRD took last lists it.
    pub in_bird: Option<bool>,
    /// Whether the prefix is withdrawn because it is not assigned to its interface.
    pub missing: bool,
    /// Whom BIRD announces the prefix to; null if BIRD cannot be asked, or was not yet.
    #[serde(default)]
    pub exported: Option<ExportStatus>,
}

/// Whom BIRD announces a prefix to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportStatus {
    /// The protocols in `bird.conf` that announce it.
    pub by: Vec<String>,
    /// How many protocols could: those that speak to neighbors and are up.
    pub of: usize,
    /// Why none announces it; null if one does.
    pub why: Option<String>,
    /// Seconds since BIRD announces it to nobody; null if it announces it.
    pub to_nobody_s: Option<f64>,
}

/// A protocol of BIRD that speaks to neighbors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProtocolStatus {
    /// Its name in `bird.conf`.
    pub name: String,
    /// `BGP`, `OSPF` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it has a neighbor to announce routes to.
    pub up: bool,
    /// Its state, in BIRD's words: `Established`, `Idle` and so on.
    pub state: String,
    /// Since when it has that state, in BIRD's notation.
    pub since: String,
}

/// The prefix file of one address family, and BIRD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FamilyStatus {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// Path of the prefix file.
    pub file: String,
    /// Whether the file lists what it should and BIRD has taken it.
    pub in_sync: bool,
    /// Seconds since it was last in sync; null if it is in sync, or if that is unknown.
    pub out_of_sync_s: Option<f64>,
    /// The failure that persists; null if there is none.
    pub problem: Option<String>,
    /// The hold that keeps the list from BIRD; null if there is none.
    #[serde(default)]
    pub hold: Option<HoldStatus>,
    /// Number of prefixes to advertise, the dummy included.
    pub wanted: usize,
    /// Number of prefixes in the file.
    pub in_file: usize,
    /// Number of prefixes in the file that BIRD took last.
    pub in_bird: usize,
    /// Whether the daemon asks BIRD each minute if it holds the list, over `bird_control_socket`.
    /// If not, `in_bird` is what BIRD took at the last reconfigure.
    #[serde(default)]
    pub asks_bird: bool,
    /// Prefixes in the file that no service names, apart from the dummy; BIRD may advertise them.
    #[serde(default)]
    pub unmanaged: Vec<String>,
    /// Number of reconfigures that BIRD took.
    pub taken: u64,
    /// Number of reconfigures that failed or were refused.
    pub failed: u64,
    /// When BIRD last took the file, or said over a control socket that it holds it; null if it
    /// never has.
    pub last_success: Option<Moment>,
    /// When BIRD last took a reconfigure; null if it never has.
    #[serde(default)]
    pub last_taken: Option<Moment>,
    /// The protocols of BIRD that speak to neighbors; empty if BIRD cannot be asked, or was not
    /// yet.
    #[serde(default)]
    pub protocols: Vec<ProtocolStatus>,
    /// Why it is not known whom BIRD announces the prefixes to; null if it is known, or not asked.
    #[serde(default)]
    pub export_problem: Option<String>,
    /// Number of prefixes that the last questions about announcements did not reach.
    #[serde(default)]
    pub exports_not_reached: usize,
}

/// A hold: the list was lost, and BIRD is not asked to read the new one until each service has had
/// its first verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// When the hold ends at the latest.
    pub until: Moment,
    /// The services without a verdict so far.
    pub waiting_for: Vec<String>,
}

/// Writes the hold as part of a sentence.
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
        write!(f, "{} of {} services up, {drained}{sync}", self.up, self.services)?;
        match self.announced_to_nobody {
            0 => Ok(()),
            services => write!(f, ", {services} announced to nobody"),
        }
    }
}

/// Joins the first five texts: `a, b, c, d, e and 7 more`.
pub fn shortened(texts: &[String]) -> String {
    const MAX_SHOWN: usize = 5;
    let shown = texts.iter().take(MAX_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match texts.len().saturating_sub(MAX_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl ServiceStatus {
    /// Returns whether the service is up with all its addresses, or is disabled or drained.
    pub fn is_well(&self) -> bool {
        self.disabled.is_some()
            || self.drained.is_some()
            || self.state == State::Up && self.overdue_s.is_none() && self.prefixes.iter().all(|prefix| !prefix.missing)
    }
}

impl ExportStatus {
    /// `1/2`: by one of the two protocols that are up.
    pub fn ratio(&self) -> String {
        format!("{}/{}", self.by.len(), self.of)
    }
}

impl ServiceStatus {
    /// For how long a prefix that should be advertised has been announced to nobody; none if all
    /// are announced, or if that is not known.
    pub fn to_nobody_s(&self) -> Option<f64> {
        let advertised = self.prefixes.iter().filter(|prefix| prefix.wanted == Some(true));
        let times = advertised.filter_map(|prefix| prefix.exported.as_ref()?.to_nobody_s);
        times.filter(|_| self.state == State::Up).reduce(f64::max)
    }
}

impl PrefixStatus {
    /// Returns whether the prefix file or BIRD differs from what is wanted.
    pub fn is_out_of_sync(&self) -> bool {
        self.in_file != self.wanted || self.in_bird != self.wanted
    }
}
