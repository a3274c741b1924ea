//! The status document as it is made: from the states of the checks and of BIRD.
//!
//! Promises: it changes nothing; each state is looked at once, and locked no longer than it takes to read it.
//! Leaves out: what the fields mean (`report::document`), how the document travels (`report::server`, `report::client`)
//! and how people see it (`report::table`).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;

use crate::bird::state::{FamilyState, Hold};
use crate::check::health::{Progress, State};
use crate::check::state::{CheckState, Drained, Run, RunResult};
use crate::check::Check;
use crate::config::settings::{OnDisabled, Service};
use crate::daemon_state::DaemonState;
use crate::drain_file::DrainEnd;
use crate::prefix::{Family, Prefix};
use crate::report::document::{
    Document, DrainStatus, FamilyStatus, HoldStatus, LastRun, Moment, PrefixStatus, ServiceStatus, Steps, Summary,
    SCHEMA,
};
use crate::report::levels::Levels;
use crate::report::seconds;
use crate::sys::clock::Now;

/// The most characters of a problem that stand in [`line()`]: systemd takes 4 KiB in all.
const SHOWN: usize = 300;

/// The document of this moment; `zone` is that of the texts.
pub fn document(state: &DaemonState, now: Now, zone: &TimeZone) -> Document {
    let bird = state.bird.lock().clone();
    let levels = Levels::new(&bird);
    let checks = state.checks.lock().clone();
    let services: Vec<ServiceStatus> =
        checks.iter().map(|check| service_status(&check.service, &check.state(), &levels, now, zone)).collect();
    let families: Vec<FamilyStatus> = state
        .files
        .iter()
        .map(|(family, file)| {
            let report = bird.families.iter().find(|report| report.family == *family);
            family_status(*family, file.display().to_string(), report, now, zone)
        })
        .collect();
    let summary = summarize(
        services.iter().map(|service| (service.disabled.is_some(), service.drained.is_some(), service.state)),
        families.iter().all(|family| family.in_sync),
    );
    let writer_overdue_s = overdue(bird.due, now);
    let well = summary.in_sync && writer_overdue_s.is_none() && services.iter().all(ServiceStatus::is_well);
    Document {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_string(),
        pid: std::process::id(),
        time: moment(now.wall, zone),
        started: moment(state.started.wall, zone),
        uptime_s: rounded(now.monotonic.saturating_duration_since(state.started.monotonic)),
        ready: bird.ready,
        well,
        summary,
        services,
        families,
        writer_overdue_s,
        log_lines_dropped: (state.lines_dropped)(),
        reload_error: state.reload_error.lock().clone(),
    }
}

/// The numbers alone; as a text they are one line: `17 of 18 services up, BIRD in sync`.
pub fn summary(state: &DaemonState) -> Summary {
    let in_sync = {
        let bird = state.bird.lock();
        bird.families.len() == state.files.len() && bird.families.iter().all(|family| family.in_sync)
    };
    let checks = state.checks.lock().clone();
    let of_service = |check: &Arc<Check>| {
        let state = check.state();
        (check.service.disabled.is_some(), state.drained().is_some(), state.state())
    };
    summarize(checks.iter().map(of_service), in_sync)
}

/// How the daemon is in one line, for `systemctl status`: the numbers, and a reload that was refused.
pub fn line(state: &DaemonState) -> String {
    let numbers = summary(state);
    match &*state.reload_error.lock() {
        Some(why) => {
            let shown: String = why.chars().take(SHOWN).collect();
            let cut = if shown.len() < why.len() { " …" } else { "" };
            format!("{numbers}; reload refused: {shown}{cut}")
        }
        None => numbers.to_string(),
    }
}

/// For each service: whether it is disabled, whether it is drained, and its state.
fn summarize(services: impl Iterator<Item = (bool, bool, State)>, in_sync: bool) -> Summary {
    let mut summary = Summary { in_sync, ..Summary::default() };
    for (disabled, drained, state) in services {
        let count = match state {
            _ if disabled => &mut summary.disabled,
            _ if drained => &mut summary.drained,
            State::Up => &mut summary.up,
            State::Down => &mut summary.down,
            State::Unknown => &mut summary.unknown,
        };
        *count += 1;
    }
    summary.services = summary.up + summary.down + summary.unknown;
    summary
}

fn service_status(service: &Service, report: &CheckState, levels: &Levels, now: Now, zone: &TimeZone) -> ServiceStatus {
    let disabled = service.disabled.map(|decision| match decision {
        OnDisabled::Withdraw => "withdraw".to_string(),
        OnDisabled::Advertise => "advertise".to_string(),
    });
    let overdue_s = overdue(report.deadline(), now);
    let verdict_overdue_s = overdue(report.verdict_due(), now);
    ServiceStatus {
        name: service.name.clone(),
        state: report.state(),
        since: moment(report.since, zone),
        disabled,
        drained: report.drained().map(|drained| drain_status(drained, zone)),
        interval_s: service.check_interval.as_secs_f64(),
        timeout_s: service.check_timeout.as_secs_f64(),
        last: report.last.as_ref().map(|run| last_run(run, zone)),
        progress: match report.progress {
            Some(Progress::GoingUp { n, of }) => Some(Steps { towards: State::Up, n, of }),
            Some(Progress::GoingDown { n, of }) => Some(Steps { towards: State::Down, n, of }),
            Some(Progress::Changed(_) | Progress::Confirmed(_)) | None => None,
        },
        why: why(service, report, overdue_s, verdict_overdue_s),
        prefixes: service.prefixes.iter().map(|prefix| prefix_status(prefix, report, levels)).collect(),
        transitions: report.transitions,
        checks: report.counts.clone(),
        overdue_s,
        verdict_overdue_s,
        problem: report.problem.clone(),
        watched_pid: report.watched,
        state_change_cmd: service.state_change.as_ref().map(|_| report.hook.clone()),
    }
}

/// The most telling thing that is wrong.
fn why(
    service: &Service,
    report: &CheckState,
    overdue_s: Option<f64>,
    verdict_overdue_s: Option<f64>,
) -> Option<String> {
    if let Some(problem) = &report.problem {
        return Some(problem.clone());
    }
    if let Some(overdue) = overdue_s {
        return Some(format!("the check is stuck, it should have reported {overdue} s ago"));
    }
    if let Some(Drained { file, end, .. }) = report.drained() {
        return Some(format!("drained by {} {end}", file.display()));
    }
    let last = last_fault(service, report);
    let Some(overdue) = verdict_overdue_s else { return last };
    let last = last.map_or(String::new(), |last| format!("; {last}"));
    let (rise, fail) = (service.check_rise, service.check_fail);
    Some(format!(
        "there is no first verdict, which was due {overdue} s ago: neither have {rise} checks in a row passed, nor have \
         {fail} failed{last}"
    ))
}

/// What is wrong as of the last run.
fn last_fault(service: &Service, report: &CheckState) -> Option<String> {
    if !report.missing().is_empty() {
        let missing: Vec<String> = report.missing().iter().map(ToString::to_string).collect();
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

fn drain_status(drained: &Drained, zone: &TimeZone) -> DrainStatus {
    DrainStatus {
        file: drained.file.display().to_string(),
        since: moment(drained.since, zone),
        until: match drained.end {
            DrainEnd::At(time) => Some(moment(time, zone)),
            DrainEnd::Never => None,
        },
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
        took_ms: run.duration.map(|took| rounded(took * 1000)),
        result: result.to_string(),
        code: run.result.code(),
        output: run.output.clone(),
    }
}

fn prefix_status(prefix: &Prefix, report: &CheckState, levels: &Levels) -> PrefixStatus {
    let level = levels.of(prefix);
    PrefixStatus {
        prefix: prefix.to_string(),
        wanted: level.map(|level| level.wanted),
        in_file: level.map(|level| level.in_file),
        in_bird: level.map(|level| level.in_bird),
        missing: report.missing().contains(prefix),
    }
}

fn family_status(
    family: Family,
    file: String,
    report: Option<&FamilyState>,
    now: Now,
    zone: &TimeZone,
) -> FamilyStatus {
    let since = report.and_then(|report| report.out_of_sync_since);
    FamilyStatus {
        family: family.to_string(),
        file,
        in_sync: report.is_some_and(|report| report.in_sync),
        out_of_sync_s: since.map(|since| rounded(now.monotonic.saturating_duration_since(since))),
        problem: report.and_then(|report| report.problem.clone()),
        hold: report.and_then(|report| report.hold.as_ref()).map(|hold| hold_status(hold, now, zone)),
        wanted: report.map_or(0, |report| report.wanted.len()),
        in_file: report.map_or(0, |report| report.in_file.len()),
        in_bird: report.map_or(0, |report| report.in_bird.len()),
        asks_bird: report.is_some_and(|report| report.asks_bird),
        unmanaged: report.map_or_else(Vec::new, |report| report.unmanaged.iter().map(Prefix::to_string).collect()),
        taken: report.map_or(0, |report| report.counts.taken),
        failed: report.map_or(0, |report| report.counts.failed),
        last_success: report.and_then(|report| report.counts.last_success).map(|last| moment(last, zone)),
        last_taken: report.and_then(|report| report.counts.last_taken).map(|last| moment(last, zone)),
    }
}

fn hold_status(hold: &Hold, now: Now, zone: &TimeZone) -> HoldStatus {
    let left = hold.until.saturating_duration_since(now.monotonic);
    let waiting_for = hold.waiting_for.iter().map(ToString::to_string).collect();
    HoldStatus { until: moment(now.wall + left, zone), waiting_for }
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
