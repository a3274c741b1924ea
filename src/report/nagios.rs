//! The monitoring plugin's judgment of a status document: OK, WARNING, CRITICAL or UNKNOWN, with
//! performance data.
//!
//! Guarantees: pure. Output and exit codes follow the Monitoring Plugins guidelines. The first line
//! names the worst problem first. No service name can end that line early or be mistaken for
//! performance data.
//!
//! Out of scope: asking the daemon (`report::client`), and the command line (the plugin itself).

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::report::client::AskError;
use crate::report::document::{shortened, Document, FamilyStatus, ServiceStatus, State};
use crate::report::table::printable;

/// How many problems the first line names.
const MAX_NAMED: usize = 5;

/// The four results of a plugin, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// No problem.
    Ok,
    /// An operator should look at it.
    Warning,
    /// The plugin cannot tell.
    Unknown,
    /// An operator should look at it now.
    Critical,
}

impl Status {
    /// Returns the exit code of the plugin.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Ok => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unknown => 3,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Ok => "OK",
            Status::Warning => "WARNING",
            Status::Critical => "CRITICAL",
            Status::Unknown => "UNKNOWN",
        })
    }
}

/// A threshold range of the guidelines: `10` (alert outside 0 to 10), `10:` (below 10), `~:10`
/// (above 10), `10:20`, `@10:20` (inside).
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
    inside: bool,
    text: String,
}

/// The error for a text that is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no threshold range: write 5 (alert above 5), 5: (below 5), 5:10 (outside) or @5:10 (inside)")]
pub struct RangeError(String);

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Range, RangeError> {
        let error = || RangeError(text.to_string());
        let (inside, rest) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
        let (low, high) = rest.split_once(':').unwrap_or(("0", rest));
        let number = |text: &str| text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(error);
        let low = if low == "~" { f64::NEG_INFINITY } else { number(low)? };
        let high = if high.is_empty() && rest.ends_with(':') { f64::INFINITY } else { number(high)? };
        if low > high {
            return Err(error());
        }
        Ok(Range { low, high, inside, text: text.to_string() })
    }
}

impl Range {
    /// Returns whether `value` raises an alert.
    pub fn alerts(&self, value: f64) -> bool {
        (self.low <= value && value <= self.high) == self.inside
    }
}

/// The limits that the operator sets.
#[derive(Clone, Debug)]
pub struct Thresholds {
    /// WARNING for the number of services that are down.
    pub warning: Option<Range>,
    /// CRITICAL for the number of services that are down.
    pub critical: Option<Range>,
    /// CRITICAL if BIRD has been behind for this many seconds.
    pub behind_s: f64,
    /// For how many seconds a service that is up may be announced to nobody before it is critical.
    pub to_nobody_s: f64,
}

/// The output of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginResult {
    /// Gives the exit code.
    pub status: Status,
    /// The first line, without the status.
    pub text: String,
    /// Performance data; empty if there is none.
    pub perfdata: String,
    /// One line for each service and family, for `-v`.
    pub details: Vec<String>,
}

impl fmt::Display for PluginResult {
    /// Writes the first line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.status, self.text)?;
        if !self.perfdata.is_empty() {
            write!(f, " | {}", self.perfdata)?;
        }
        Ok(())
    }
}

/// Judges the answer of a daemon.
pub fn judge(document: &Document, thresholds: &Thresholds) -> PluginResult {
    let mut problems = problems(document, thresholds);
    // The sort is stable: problems of the same status stay in the order of the document.
    problems.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    let status = problems.first().map_or(Status::Ok, |(status, _)| *status);
    let summary = format!("{} (pid {})", document.summary, document.pid);
    let mut sentences: Vec<String> = problems.iter().take(MAX_NAMED).map(|(_, sentence)| one_line(sentence)).collect();
    if problems.len() > MAX_NAMED {
        sentences.push(format!("{} more problems", problems.len() - MAX_NAMED));
    }
    sentences.push(summary);
    let details = document.families.iter().map(family_line).chain(document.services.iter().map(service_line));
    PluginResult {
        status,
        text: sentences.join("; "),
        perfdata: perfdata(document, thresholds),
        details: details.collect(),
    }
}

/// Judges a daemon that gave no document.
pub fn judge_failure(why: &AskError) -> PluginResult {
    let status = match why {
        AskError::NotRunning { .. } | AskError::TimedOut { .. } => Status::Critical,
        AskError::Unreachable { .. } | AskError::Denied { .. } | AskError::Garbage { .. } | AskError::Io { .. } => {
            Status::Unknown
        }
    };
    PluginResult { status, text: one_line(&why.to_string()), perfdata: String::new(), details: Vec::new() }
}

/// Returns UNKNOWN, for a plugin that could not ask the daemon.
pub fn unknown(why: &str) -> PluginResult {
    PluginResult { status: Status::Unknown, text: one_line(why), perfdata: String::new(), details: Vec::new() }
}

fn problems(document: &Document, thresholds: &Thresholds) -> Vec<(Status, String)> {
    let mut problems = Vec::new();
    if let Some(overdue) = document.writer_overdue_s {
        let sentence = format!("the thread that writes the prefix files has been stuck for {overdue} s");
        problems.push((Status::Critical, sentence));
    }
    for service in document.services.iter().filter(|service| service.disabled.is_none()) {
        let status = if service.overdue_s.is_some() || service.problem.is_some() {
            Status::Critical
        } else if service.verdict_overdue_s.is_some() {
            Status::Warning
        } else {
            continue;
        };
        let why = service.why.as_deref().unwrap_or("is not checked");
        problems.push((status, format!("{}: {why}", service.name)));
    }
    for family in document.families.iter().filter(|family| !family.in_sync) {
        // A family that was never in sync has been out of sync since the start.
        let behind = family.out_of_sync_s.unwrap_or(document.uptime_s);
        if behind >= thresholds.behind_s {
            // A hold ends by itself and keeps the routes as they were, so it is no more than a
            // warning.
            let (status, why) = match (&family.problem, &family.hold) {
                (Some(problem), _) => (Status::Critical, problem.clone()),
                (None, Some(hold)) => (Status::Warning, hold.to_string()),
                (None, None) => (Status::Critical, "BIRD did not take the prefix file".to_string()),
            };
            problems.push((status, format!("{} not in sync for {behind} s: {why}", family.family)));
        }
    }
    for service in &document.services {
        if let Some(seconds) = service.to_nobody_s().filter(|seconds| *seconds >= thresholds.to_nobody_s) {
            let exported = service.prefixes.iter().filter_map(|prefix| Some((prefix, prefix.exported.as_ref()?)));
            let why = exported
                .filter_map(|(prefix, exported)| Some(format!("{}: {}", prefix.prefix, exported.why.as_ref()?)));
            let why = why.collect::<Vec<_>>().join(", ");
            problems
                .push((Status::Critical, format!("{} is announced to nobody for {seconds} s: {why}", service.name)));
        }
    }
    for family in document.families.iter().filter(|family| !family.unmanaged.is_empty()) {
        let sentence = format!("{} lists {}, which no service has", family.file, shortened(&family.unmanaged));
        problems.push((Status::Warning, sentence));
    }
    if let Some(why) = &document.reload_error {
        problems.push((Status::Warning, format!("the last reload was refused: {why}")));
    }
    problems.extend(services_down(document, thresholds));
    problems
}

/// Returns one problem for all services that are down, which names the first of them.
fn services_down(document: &Document, thresholds: &Thresholds) -> Option<(Status, String)> {
    let down: Vec<&ServiceStatus> = document.services.iter().filter(|service| is_down(service)).collect();
    let alerts = |range: &Option<Range>| range.as_ref().is_some_and(|range| range.alerts(down.len() as f64));
    let status = match (alerts(&thresholds.critical), alerts(&thresholds.warning)) {
        (true, _) => Status::Critical,
        (false, true) => Status::Warning,
        (false, false) => return None,
    };
    let described = down.iter().map(|service| match &service.why {
        Some(why) => format!("{} ({why})", service.name),
        None => service.name.clone(),
    });
    let named = if down.is_empty() { "0 services".to_string() } else { shortened(&described.collect::<Vec<_>>()) };
    Some((status, format!("down: {named}")))
}

/// Returns whether a prefix of the service is withdrawn by its check or for a missing address.
fn is_down(service: &ServiceStatus) -> bool {
    let is_missing = service.prefixes.iter().any(|prefix| prefix.missing);
    service.disabled.is_none() && service.drained.is_none() && (service.state == State::Down || is_missing)
}

fn perfdata(document: &Document, thresholds: &Thresholds) -> String {
    let limit = |range: &Option<Range>| range.as_ref().map_or(String::new(), |range| range.text.clone());
    let summary = &document.summary;
    let down = document.services.iter().filter(|service| is_down(service)).count();
    let behind = document.families.iter().filter(|family| !family.in_sync).count();
    let failed: u64 = document.families.iter().map(|family| family.failed).sum();
    let all = summary.services;
    let mut text = format!("services={all};;;0 up={};;;0;{all} ", summary.up);
    let (warning, critical) = (limit(&thresholds.warning), limit(&thresholds.critical));
    // Writing to a String cannot fail.
    let _ = write!(text, "down={down};{warning};{critical};0;{all} unknown={};;;0;{all} ", summary.unknown);
    let _ = write!(text, "disabled={};;;0 not_in_sync={behind};;;0;{} ", summary.disabled, document.families.len());
    let _ = write!(text, "reconfigures_failed={failed}c log_lines_dropped={}c ", document.log_lines_dropped);
    let _ = write!(text, "uptime={}s;;;0", document.uptime_s);
    text
}

fn family_line(family: &FamilyStatus) -> String {
    let sync = if family.in_sync { "in sync" } else { "not in sync" };
    let (wanted, in_file, in_bird) = (family.wanted, family.in_file, family.in_bird);
    let hold = family.hold.as_ref().map(ToString::to_string);
    let problem = family.problem.as_ref().or(hold.as_ref()).map_or(String::new(), |problem| format!(": {problem}"));
    one_line(&format!(
        "{} {sync}, {wanted} wanted, {in_file} in {}, {in_bird} in BIRD{problem}",
        family.family, family.file
    ))
}

fn service_line(service: &ServiceStatus) -> String {
    let state = match (&service.disabled, service.state) {
        _ if service.drained.is_some() => "drained",
        (Some(_), _) => "disabled",
        (None, State::Up) => "up",
        (None, State::Down) => "down",
        (None, State::Unknown) => "unknown",
    };
    let why = service.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    one_line(&format!("{} {state} since {}{why}", service.name, service.since.text))
}

/// Escapes line ends, and the `|` that performance data begin with.
fn one_line(text: &str) -> String {
    printable(text).replace('|', "\\u{7c}")
}

#[cfg(test)]
mod tests;
