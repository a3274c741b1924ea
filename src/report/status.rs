//! Makes the status document from the states of the checks and of BIRD.
//!
//! Guarantees: changes nothing. Each state is read once, and locked only while it is read.
//!
//! Out of scope: what the fields mean (`report::document`), how the document reaches a reader
//! (`report::server`, `report::client`), and how it looks as a table (`report::table`).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;

use crate::bird::exports::{Announcement, FamilyExports};
use crate::bird::protocol::exports::{PrefixExports, Protocol};
use crate::bird::state::{FamilyState, Hold};
use crate::check::health::{Progress, State};
use crate::check::state::{CheckState, Drained, Run, RunResult};
use crate::check::Check;
use crate::config::settings::{OnDisabled, Service};
use crate::daemon_state::DaemonState;
use crate::drain_file::DrainEnd;
use crate::prefix::{Family, Prefix};
use crate::report::document::{
    Document, DrainStatus, ExportStatus, FamilyStatus, HoldStatus, LastRun, Moment, PrefixStatus, ProtocolStatus,
    ServiceStatus, Steps, Summary, SCHEMA,
};
use crate::report::levels::Levels;
use crate::report::seconds;
use crate::sys::clock::Now;

/// How many characters of an error [`line()`] shows: systemd accepts 4 KiB in all.
const MAX_ERROR_LEN: usize = 300;

/// Makes the document of this moment. Texts show times in `zone`.
pub fn document(state: &DaemonState, now: Now, zone: &TimeZone) -> Document {
    let bird = state.bird.lock().clone();
    let levels = Levels::new(&bird, state.exports.lock().clone());
    let checks = state.checks.lock().clone();
    let services: Vec<ServiceStatus> =
        checks.iter().map(|check| service_status(&check.service, &check.state(), &levels, now, zone)).collect();
    let families: Vec<FamilyStatus> = state
        .files
        .iter()
        .map(|(family, file)| {
            let state = bird.families.iter().find(|state| state.family == *family);
            let exports = levels.exports(*family);
            family_status(*family, file.display().to_string(), state, exports, now, zone)
        })
        .collect();
    let mut summary = summarize(
        services.iter().map(|service| (service.disabled.is_some(), service.drained.is_some(), service.state)),
        families.iter().all(|family| family.in_sync),
    );
    summary.announced_to_nobody = services.iter().filter(|service| service.to_nobody_s().is_some()).count();
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

/// Returns the totals. As a text they are one line: `17 of 18 services up, BIRD in sync`.
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
    let mut summary = summarize(checks.iter().map(of_service), in_sync);
    let exports = state.exports.lock();
    let is_to_nobody = |check: &&Arc<Check>| {
        let is_up = check.state().state() == State::Up;
        let known = |prefix: &Prefix| exports.get(&prefix.family())?.prefixes.get(prefix)?.to_nobody_since;
        is_up && check.service.prefixes.iter().any(|prefix| known(prefix).is_some())
    };
    summary.announced_to_nobody = checks.iter().filter(is_to_nobody).count();
    summary
}

/// Returns one line for `systemctl status`: the totals, and why a reload was refused.
pub fn line(state: &DaemonState) -> String {
    let totals = summary(state);
    match &*state.reload_error.lock() {
        Some(why) => {
            let shown: String = why.chars().take(MAX_ERROR_LEN).collect();
            let cut = if shown.len() < why.len() { " …" } else { "" };
            format!("{totals}; reload refused: {shown}{cut}")
        }
        None => totals.to_string(),
    }
}

/// Counts services. Each item says whether a service is disabled, whether it is drained, and its
/// state.
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

fn service_status(service: &Service, state: &CheckState, levels: &Levels, now: Now, zone: &TimeZone) -> ServiceStatus {
    let disabled = service.disabled.map(|decision| match decision {
        OnDisabled::Withdraw => "withdraw".to_string(),
        OnDisabled::Advertise => "advertise".to_string(),
    });
    let overdue_s = overdue(state.deadline(), now);
    let verdict_overdue_s = overdue(state.verdict_due(), now);
    ServiceStatus {
        name: service.name.clone(),
        state: state.state(),
        since: moment(state.since, zone),
        disabled,
        drained: state.drained().map(|drained| drain_status(drained, zone)),
        interval_s: service.check_interval.as_secs_f64(),
        timeout_s: service.check_timeout.as_secs_f64(),
        last: state.last.as_ref().map(|run| last_run(run, zone)),
        progress: match state.progress {
            Some(Progress::GoingUp { n, of }) => Some(Steps { towards: State::Up, n, of }),
            Some(Progress::GoingDown { n, of }) => Some(Steps { towards: State::Down, n, of }),
            Some(Progress::Changed(_) | Progress::Confirmed(_)) | None => None,
        },
        why: why(service, state, overdue_s, verdict_overdue_s),
        prefixes: service.prefixes.iter().map(|prefix| prefix_status(prefix, state, levels, now)).collect(),
        transitions: state.transitions,
        checks: state.counts.clone(),
        overdue_s,
        verdict_overdue_s,
        problem: state.problem.clone(),
        watched_pid: state.watched,
        state_change_cmd: service.state_change.as_ref().map(|_| state.hook.clone()),
    }
}

/// Returns the most important problem of the service.
fn why(
    service: &Service,
    state: &CheckState,
    overdue_s: Option<f64>,
    verdict_overdue_s: Option<f64>,
) -> Option<String> {
    if let Some(problem) = &state.problem {
        return Some(problem.clone());
    }
    if let Some(overdue) = overdue_s {
        return Some(format!("the check is stuck, it should have reported {overdue} s ago"));
    }
    if let Some(Drained { file, end, .. }) = state.drained() {
        return Some(format!("drained by {} {end}", file.display()));
    }
    let last = last_fault(service, state);
    let Some(overdue) = verdict_overdue_s else { return last };
    let last = last.map_or(String::new(), |last| format!("; {last}"));
    let (rise, fail) = (service.check_rise, service.check_fail);
    Some(format!(
        "there is no first verdict, which was due {overdue} s ago: neither have {rise} checks in a row passed, nor have \
         {fail} failed{last}"
    ))
}

/// Returns the problem that the last run found.
fn last_fault(service: &Service, state: &CheckState) -> Option<String> {
    if !state.missing().is_empty() {
        let missing: Vec<String> = state.missing().iter().map(ToString::to_string).collect();
        return Some(format!("{} not assigned to interface {}", missing.join(", "), service.interface));
    }
    match &state.last.as_ref()?.result {
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

fn prefix_status(prefix: &Prefix, state: &CheckState, levels: &Levels, now: Now) -> PrefixStatus {
    let level = levels.of(prefix);
    PrefixStatus {
        prefix: prefix.to_string(),
        wanted: level.map(|level| level.wanted),
        in_file: level.map(|level| level.in_file),
        in_bird: level.map(|level| level.in_bird),
        missing: state.missing().contains(prefix),
        exported: levels.announcement(prefix).map(|known| export_status(known, now)),
    }
}

fn family_status(
    family: Family,
    file: String,
    state: Option<&FamilyState>,
    exports: Option<&FamilyExports>,
    now: Now,
    zone: &TimeZone,
) -> FamilyStatus {
    let since = state.and_then(|state| state.out_of_sync_since);
    FamilyStatus {
        family: family.to_string(),
        file,
        in_sync: state.is_some_and(|state| state.in_sync),
        out_of_sync_s: since.map(|since| rounded(now.monotonic.saturating_duration_since(since))),
        problem: state.and_then(|state| state.problem.clone()),
        hold: state.and_then(|state| state.hold.as_ref()).map(|hold| hold_status(hold, now, zone)),
        wanted: state.map_or(0, |state| state.wanted.len()),
        in_file: state.map_or(0, |state| state.in_file.len()),
        in_bird: state.map_or(0, |state| state.in_bird.len()),
        asks_bird: state.is_some_and(|state| state.asks_bird),
        unmanaged: state.map_or_else(Vec::new, |state| state.unmanaged.iter().map(Prefix::to_string).collect()),
        taken: state.map_or(0, |state| state.counts.taken),
        failed: state.map_or(0, |state| state.counts.failed),
        last_success: state.and_then(|state| state.counts.last_success).map(|last| moment(last, zone)),
        last_taken: state.and_then(|state| state.counts.last_taken).map(|last| moment(last, zone)),
        protocols: exports.map_or_else(Vec::new, |exports| exports.protocols.iter().map(protocol_status).collect()),
        export_problem: exports.and_then(|exports| exports.problem.clone()),
        exports_not_reached: exports.map_or(0, |exports| exports.not_reached),
    }
}

fn export_status(known: &Announcement, now: Now) -> ExportStatus {
    let PrefixExports { announced_by, up, why } = &known.exports;
    ExportStatus {
        by: announced_by.clone(),
        of: *up,
        why: why.clone(),
        to_nobody_s: known.to_nobody_since.map(|since| rounded(now.monotonic.saturating_duration_since(since))),
    }
}

fn protocol_status(protocol: &Protocol) -> ProtocolStatus {
    ProtocolStatus {
        name: protocol.name.clone(),
        kind: protocol.kind.clone(),
        up: protocol.is_up(),
        state: protocol.situation().to_string(),
        since: protocol.since.clone(),
    }
}

fn hold_status(hold: &Hold, now: Now, zone: &TimeZone) -> HoldStatus {
    let remaining = hold.until.saturating_duration_since(now.monotonic);
    let waiting_for = hold.waiting_for.iter().map(ToString::to_string).collect();
    HoldStatus { until: moment(now.wall + remaining, zone), waiting_for }
}

/// Returns by how many seconds a deadline is exceeded; None if it is not.
fn overdue(due: Option<Instant>, now: Now) -> Option<f64> {
    let late = now.monotonic.checked_duration_since(due?)?;
    (!late.is_zero()).then(|| rounded(late))
}

fn moment(time: SystemTime, zone: &TimeZone) -> Moment {
    let stamp = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let text = stamp.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
    Moment { text, unix: (seconds(time) * 1e3).round() / 1e3 }
}

/// Returns seconds, rounded to the millisecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
