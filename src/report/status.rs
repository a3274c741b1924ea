//! The status document: what the running daemon knows, as one JSON object. The types are its schema.
//!
//! Promises: pure; a program written for schema 1 can read every later document of schema 1, as fields are only added;
//! durations are in the unit that a field's name ends in, moments are given twice (see [`Moment`]).
//! Leaves out: how it travels (`report::server`, `report::client`) and how people see it (`report::table`).

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::check::health::{Progress, State};
use crate::config::settings::{OnDisabled, Service};
use crate::prefix::{Family, Prefix};
use crate::report::snapshot::{seconds, Board, FamilyReport, Levels, Now, Run, RunResult, ServiceReport};

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// 1. A change that old readers cannot understand makes it 2.
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
    /// Whether every service is up, every prefix assigned and BIRD in sync; services whose check is disabled do not count.
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
    /// Services whose check is not disabled: the sum of the next three.
    pub services: usize,
    /// See [`Condition::Up`].
    pub up: usize,
    /// See [`Condition::Down`].
    pub down: usize,
    /// See [`Condition::Unknown`].
    pub unknown: usize,
    /// Services whose check is disabled.
    pub disabled: usize,
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
    /// Why nothing is checked although it should be; null where nothing prevents it.
    pub problem: Option<String>,
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
    /// How many prefixes are to be advertised, the dummy included.
    pub wanted: usize,
    /// How many the file lists.
    pub in_file: usize,
    /// How many the file listed that BIRD took last.
    pub in_bird: usize,
    /// Reconfigures that BIRD took.
    pub taken: u64,
    /// Reconfigures that failed or were refused.
    pub failed: u64,
    /// When BIRD took the file the last time; null where it never has.
    pub last_success: Option<Moment>,
}

/// The document of this moment; `zone` is that of the texts.
pub fn document(board: &Board, now: Now, zone: &TimeZone) -> Document {
    let bird = board.bird.lock().clone();
    let levels = Levels::new(&bird);
    let listed = board.services.lock().clone();
    let services: Vec<ServiceStatus> =
        listed.iter().map(|(service, report)| service_status(service, &report.lock(), &levels, now, zone)).collect();
    let families: Vec<FamilyStatus> = board
        .files
        .iter()
        .map(|(family, file)| {
            let report = bird.families.iter().find(|report| report.family == *family);
            family_status(*family, file.display().to_string(), report, now, zone)
        })
        .collect();
    let summary = summarize(
        services.iter().map(|service| (service.disabled.is_some(), service.state)),
        families.iter().all(|family| family.in_sync),
    );
    let writer_overdue_s = overdue(bird.due, now);
    let well = summary.in_sync && writer_overdue_s.is_none() && services.iter().all(ServiceStatus::is_well);
    Document {
        schema: 1,
        version: env!("CARGO_PKG_VERSION").to_string(),
        pid: std::process::id(),
        time: moment(now.wall, zone),
        started: moment(board.started.wall, zone),
        uptime_s: rounded(now.monotonic.saturating_duration_since(board.started.monotonic)),
        ready: bird.ready,
        well,
        summary,
        services,
        families,
        writer_overdue_s,
        log_lines_dropped: (board.lines_dropped)(),
        reload_error: board.reload_error.lock().clone(),
    }
}

/// The numbers alone, for a line of text.
pub fn summary(board: &Board) -> Summary {
    let in_sync = {
        let bird = board.bird.lock();
        bird.families.len() == board.files.len() && bird.families.iter().all(in_sync)
    };
    let listed = board.services.lock().clone();
    summarize(listed.iter().map(|(service, report)| (service.disabled.is_some(), report.lock().state.into())), in_sync)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sync = if self.in_sync { "BIRD in sync" } else { "BIRD not in sync" };
        write!(f, "{} of {} services up, {sync}", self.up, self.services)
    }
}

impl ServiceStatus {
    /// Whether nothing is to be said about it: it is up with all its addresses, or its check is disabled.
    pub fn is_well(&self) -> bool {
        self.disabled.is_some()
            || self.state == Condition::Up && self.overdue_s.is_none() && self.prefixes.iter().all(|on| !on.missing)
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

fn summarize(services: impl Iterator<Item = (bool, Condition)>, in_sync: bool) -> Summary {
    let mut summary = Summary { in_sync, ..Summary::default() };
    for (disabled, state) in services {
        let count = match state {
            _ if disabled => &mut summary.disabled,
            Condition::Up => &mut summary.up,
            Condition::Down => &mut summary.down,
            Condition::Unknown => &mut summary.unknown,
        };
        *count += 1;
    }
    summary.services = summary.up + summary.down + summary.unknown;
    summary
}

fn service_status(
    service: &Service,
    report: &ServiceReport,
    levels: &Levels,
    now: Now,
    zone: &TimeZone,
) -> ServiceStatus {
    let disabled = service.disabled.map(|decision| match decision {
        OnDisabled::Withdraw => "withdraw".to_string(),
        OnDisabled::Advertise => "advertise".to_string(),
    });
    let overdue_s = overdue(report.due, now);
    let counts = &report.counts;
    ServiceStatus {
        name: service.name.clone(),
        state: report.state.into(),
        since: moment(report.since, zone),
        disabled,
        interval_s: service.check_interval.as_secs_f64(),
        timeout_s: service.check_timeout.as_secs_f64(),
        last: report.last.as_ref().map(|run| last_run(run, zone)),
        progress: match report.progress {
            Some(Progress::GoingUp { n, of }) => Some(Steps { towards: Condition::Up, n, of }),
            Some(Progress::GoingDown { n, of }) => Some(Steps { towards: Condition::Down, n, of }),
            Some(Progress::Changed(_) | Progress::Confirmed(_)) | None => None,
        },
        why: why(service, report, overdue_s),
        prefixes: service.prefixes.iter().map(|prefix| prefix_status(prefix, report, levels)).collect(),
        transitions: report.transitions,
        checks: Checks {
            passed: counts.passed,
            failed: counts.failed,
            timed_out: counts.timed_out,
            not_assigned: counts.not_assigned,
        },
        overdue_s,
        problem: report.problem.clone(),
    }
}

/// The most telling thing that is wrong.
fn why(service: &Service, report: &ServiceReport, overdue_s: Option<f64>) -> Option<String> {
    if let Some(problem) = &report.problem {
        return Some(problem.clone());
    }
    if let Some(overdue) = overdue_s {
        return Some(format!("the check is stuck, it should have reported {overdue} s ago"));
    }
    if !report.missing.is_empty() {
        let missing: Vec<String> = report.missing.iter().map(ToString::to_string).collect();
        return Some(format!("{} not assigned to interface {}", missing.join(", "), service.interface));
    }
    match &report.last.as_ref()?.result {
        RunResult::Exited(0) => None,
        RunResult::Exited(code) => Some(format!("the check failed with exit code {code}")),
        RunResult::Signaled(signal) => Some(format!("the check was ended by signal {signal}")),
        RunResult::TimedOut => Some(format!("the check took longer than {} s", service.check_timeout.as_secs_f64())),
        RunResult::NotStarted(why) => Some(why.clone()),
        RunResult::NotAssigned => Some(format!("no address is assigned to interface {}", service.interface)),
    }
}

fn last_run(run: &Run, zone: &TimeZone) -> LastRun {
    let result = match run.result {
        RunResult::Exited(0) => "passed",
        RunResult::Exited(_) => "failed",
        RunResult::Signaled(_) => "signaled",
        RunResult::TimedOut => "timed_out",
        RunResult::NotStarted(_) => "not_started",
        RunResult::NotAssigned => "not_assigned",
    };
    LastRun {
        began: moment(run.began, zone),
        took_ms: run.took.map(|took| rounded(took * 1000)),
        result: result.to_string(),
        code: run.result.code(),
        output: run.output.clone(),
    }
}

fn prefix_status(prefix: &Prefix, report: &ServiceReport, levels: &Levels) -> PrefixStatus {
    let level = levels.of(prefix);
    PrefixStatus {
        prefix: prefix.to_string(),
        wanted: level.map(|level| level.wanted),
        in_file: level.map(|level| level.in_file),
        in_bird: level.map(|level| level.in_bird),
        missing: report.missing.contains(prefix),
    }
}

fn family_status(
    family: Family,
    file: String,
    report: Option<&FamilyReport>,
    now: Now,
    zone: &TimeZone,
) -> FamilyStatus {
    let since = report.and_then(|report| report.out_of_sync_since);
    FamilyStatus {
        family: family.to_string(),
        file,
        in_sync: report.is_some_and(in_sync),
        out_of_sync_s: since.map(|since| rounded(now.monotonic.saturating_duration_since(since))),
        problem: report.and_then(|report| report.problem.clone()),
        wanted: report.map_or(0, |report| report.wanted.len()),
        in_file: report.map_or(0, |report| report.in_file.len()),
        in_bird: report.map_or(0, |report| report.in_bird.len()),
        taken: report.map_or(0, |report| report.taken),
        failed: report.map_or(0, |report| report.failed),
        last_success: report.and_then(|report| report.last_success).map(|last| moment(last, zone)),
    }
}

/// A file that could not be written may well be the one that BIRD took.
fn in_sync(report: &FamilyReport) -> bool {
    report.in_sync && report.wanted == report.in_file
}

fn overdue(due: Option<Instant>, now: Now) -> Option<f64> {
    let late = now.monotonic.checked_duration_since(due?)?;
    (!late.is_zero()).then(|| rounded(late))
}

fn moment(time: SystemTime, zone: &TimeZone) -> Moment {
    let stamp = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let text = stamp.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
    Moment { text, unix: (seconds(time) * 1e3).round() / 1e3 }
}

/// Seconds, to the millisecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
