//! The metrics, as text for node_exporter's textfile collector.
//!
//! Guarantees: pure. The series of the original keep their names, labels, types and number format,
//! and exist in the same cases: `service_state` from the first verdict on,
//! `service_check_timeout_total` from the first time-out on, neither if the check is disabled. Each
//! state is read once. A service with several prefixes has one series for each.
//!
//! Out of scope: writing the file (`report::exporter`).

use std::fmt::Write as _;
use std::sync::Arc;

use crate::bird::exports::Announcement;
use crate::bird::state::BirdState;
use crate::check::health::State;
use crate::check::state::{CheckState, RunResult};
use crate::check::Check;
use crate::config::settings::Service;
use crate::daemon_state::DaemonState;
use crate::prefix::{Family, Prefix};
use crate::report::levels::{Level, Levels};
use crate::report::seconds;
use crate::sys::clock::Now;

/// The value of `anycast_healthchecker_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The daemon is running: 1.
    Up,
    /// The daemon is stopping: 0.
    Down,
}

/// Returns the whole text: first the metrics of the original, in its order, then ours.
pub fn render(state: &DaemonState, process: Process, now: Now) -> String {
    let bird = state.bird.lock().clone();
    let levels = Levels::new(&bird, state.exports.lock().clone());
    let checks = state.checks.lock().clone();
    let mut services = ServiceMetrics::new();
    let mut exports = ExportMetrics::new();
    for check in &*checks {
        let state = check.state();
        for prefix in &check.service.prefixes {
            services.add(&check.service, prefix, &state, levels.of(prefix));
            if let Some(known) = levels.announcement(prefix) {
                exports.add(&check.service, prefix, known);
            }
        }
    }
    let (original, ours) = services.into_texts();
    let hooks = hook_metrics(&checks);
    let exports = exports.into_text(&levels);
    [original, process_metrics(state, process, now), ours, hooks, exports, bird_metrics(state, &bird)].concat()
}

/// One metric and its series.
struct Metric {
    name: &'static str,
    /// The lines `# HELP` and `# TYPE`.
    head: String,
    series: String,
}

impl Metric {
    fn gauge(name: &'static str, help: &str) -> Metric {
        Metric::new(name, "gauge", help)
    }

    fn counter(name: &'static str, help: &str) -> Metric {
        Metric::new(name, "counter", help)
    }

    fn new(name: &'static str, kind: &str, help: &str) -> Metric {
        let head = format!("# HELP {NAMESPACE}{name} {help}\n# TYPE {NAMESPACE}{name} {kind}\n");
        Metric { name, head, series: String::new() }
    }

    /// Adds a series. `labels` includes the braces.
    fn add(&mut self, labels: &str, value: f64) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.series, "{NAMESPACE}{}{labels} {}", self.name, number(value));
    }
}

const NAMESPACE: &str = "anycast_healthchecker_";

/// The metrics that each service has.
struct ServiceMetrics {
    state: Metric,
    duration: Metric,
    assignment: Metric,
    timeouts: Metric,
    timeouts_created: Metric,
    configured: Metric,
    up: Metric,
    advertised: Metric,
    drained: Metric,
    checks: Metric,
    transitions: Metric,
    last_check: Metric,
}

impl ServiceMetrics {
    fn new() -> ServiceMetrics {
        let timeouts_help = "The number of times a service check timed out";
        ServiceMetrics {
            state: Metric::gauge(
                "service_state",
                "The status of the service check: 0 = healthy, any other value = unhealthy",
            ),
            duration: Metric::gauge("service_check_duration_milliseconds", "Service check duration in milliseconds"),
            assignment: Metric::gauge(
                "service_check_ip_assignment",
                "Service IP assignment check: 0 = not assigned, 1 = assigned",
            ),
            timeouts: Metric::counter("service_check_timeout_total", timeouts_help),
            timeouts_created: Metric::gauge("service_check_timeout_created", timeouts_help),
            configured: Metric::gauge("service", "The configured service checks"),
            up: Metric::gauge("service_up", "What the last verdict on the service was: 0 = down, 1 = up"),
            advertised: Metric::gauge(
                "service_advertised",
                "Whether the prefix file lists the prefix, for BIRD to advertise: 0 = no, 1 = yes",
            ),
            drained: Metric::gauge(
                "service_drained",
                "Whether the service was taken out by its operator: 0 = no, 1 = drained",
            ),
            checks: Metric::counter(
                "service_check_total",
                "The number of runs of the service check by what they came to",
            ),
            transitions: Metric::counter(
                "service_transitions_total",
                "The number of times the state of the service changed, the first verdict included",
            ),
            last_check: Metric::gauge(
                "service_last_check_timestamp_seconds",
                "When the last finished run of the service check began, in seconds since 1970",
            ),
        }
    }

    fn add(&mut self, service: &Service, prefix: &Prefix, state: &CheckState, level: Option<Level>) {
        let text = prefix.to_string();
        let plain = labels(&[("ip_prefix", &text), ("service_name", &service.name)]);
        // A single prefix is written as in the configuration, like in the original.
        let written = if service.prefixes.len() == 1 { &service.prefix_text } else { &text };
        self.configured.add(&labels(&[("ip_prefix", written), ("service_name", &service.name)]), 1.0);
        if let Some(level) = level {
            self.advertised.add(&plain, flag(level.in_file));
        }
        self.drained.add(&plain, flag(state.drained().is_some()));
        if service.disabled.is_some() {
            return;
        }
        self.add_verdict(&plain, prefix, state);
        let counts = &state.counts;
        for (result, runs) in [
            ("passed", counts.passed),
            ("failed", counts.failed),
            ("timed_out", counts.timed_out),
            ("not_assigned", counts.not_assigned),
        ] {
            let labels = labels(&[("ip_prefix", &text), ("result", result), ("service_name", &service.name)]);
            self.checks.add(&labels, runs as f64);
        }
        self.transitions.add(&plain, state.transitions as f64);
        if let Some(first) = counts.first_time_out {
            self.timeouts.add(&plain, counts.timed_out as f64);
            self.timeouts_created.add(&plain, seconds(first));
        }
        if let Some(last) = &state.last {
            self.last_check.add(&plain, seconds(last.began));
            if service.assigned_to.is_some() {
                self.assignment.add(&plain, flag(!state.missing().contains(prefix)));
            }
        }
        if let Some(duration) = state.duration {
            self.duration.add(&plain, duration.as_nanos() as f64 / 1e6);
        }
    }

    fn add_verdict(&mut self, labels: &str, prefix: &Prefix, state: &CheckState) {
        let code = match state.code {
            _ if state.is_stuck() => Some(RunResult::TimedOut.code()),
            // A prefix without an address is withdrawn although its service is up.
            Some(0) if state.missing().contains(prefix) => Some(RunResult::NotAssigned.code()),
            code => code,
        };
        if let Some(code) = code {
            self.state.add(labels, code.into());
        }
        match state.state() {
            State::Unknown => {}
            State::Up => self.up.add(labels, 1.0),
            State::Down => self.up.add(labels, 0.0),
        }
    }

    /// Returns the text before the metrics of the process, and the text after them.
    fn into_texts(self) -> (String, String) {
        let (created, configured) = (self.timeouts_created, self.configured);
        let mut original = concat([self.state, self.duration, self.assignment, self.timeouts]);
        if !created.series.is_empty() {
            original += &concat([created]);
        }
        (
            original,
            concat([
                configured,
                self.up,
                self.advertised,
                self.drained,
                self.checks,
                self.transitions,
                self.last_check,
            ]),
        )
    }
}

/// The metrics of what BIRD announces to its neighbors. They have no series if it cannot be asked.
struct ExportMetrics {
    exported: Metric,
    protocols: Metric,
}

impl ExportMetrics {
    fn new() -> ExportMetrics {
        ExportMetrics {
            exported: Metric::gauge(
                "service_exported_peers",
                "The number of BIRD's protocols that announce the prefix of the service to a neighbor",
            ),
            protocols: Metric::gauge(
                "bird_protocol_up",
                "Whether a protocol of BIRD that speaks to neighbors is up: 0 = no, 1 = yes",
            ),
        }
    }

    fn add(&mut self, service: &Service, prefix: &Prefix, known: &Announcement) {
        let (family, text) = (family_label(prefix.family()), prefix.to_string());
        let labels = labels(&[("family", family), ("ip_prefix", &text), ("service_name", &service.name)]);
        self.exported.add(&labels, known.exports.announced_by.len() as f64);
    }

    fn into_text(mut self, levels: &Levels) -> String {
        for family in Family::BOTH {
            for protocol in levels.exports(family).map_or(&[][..], |exports| &exports.protocols) {
                let labels =
                    labels(&[("family", family_label(family)), ("protocol", &protocol.name), ("type", &protocol.kind)]);
                self.protocols.add(&labels, flag(protocol.is_up()));
            }
        }
        concat([self.exported, self.protocols])
    }
}

fn family_label(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn process_metrics(state: &DaemonState, process: Process, now: Now) -> String {
    let mut uptime = Metric::gauge("uptime", "Uptime of the process in seconds");
    let up_for = now.monotonic.saturating_duration_since(state.started.monotonic);
    uptime.add("", up_for.as_secs() as f64);
    let mut state = Metric::gauge("state", "The current state of the process: 0 = down, 1 = up");
    state.add("", flag(process == Process::Up));
    let mut version = Metric::gauge("version_info", "Version of the software");
    version.add(&labels(&[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    concat([uptime, state, version])
}

/// Returns the metrics of `state_change_cmd`. The text is empty if no service has one.
fn hook_metrics(checks: &[Arc<Check>]) -> String {
    let mut hooks = Metric::counter(
        "state_change_cmd_total",
        "The number of state changes of the service by what came of running state_change_cmd for them",
    );
    for check in checks.iter().filter(|check| check.service.state_change.is_some()) {
        let (service, runs) = (&check.service, check.state().hook.clone());
        for (result, runs) in [("succeeded", runs.succeeded), ("failed", runs.failed), ("skipped", runs.skipped)] {
            hooks.add(&labels(&[("result", result), ("service_name", &service.name)]), runs as f64);
        }
    }
    if hooks.series.is_empty() {
        return String::new();
    }
    concat([hooks])
}

fn bird_metrics(state: &DaemonState, bird: &BirdState) -> String {
    let mut reconfigures = Metric::counter(
        "bird_reconfigure_total",
        "The number of times BIRD was told of the prefix file, by whether it took it",
    );
    let mut in_sync =
        Metric::gauge("bird_in_sync", "Whether BIRD took the prefix file as it is: 0 = the file is ahead, 1 = yes");
    let mut held = Metric::gauge(
        "bird_held",
        "Whether BIRD is not told of the prefix file until each service had its first verdict, as the list was lost: 0 = no, \
         1 = held",
    );
    let mut success = Metric::gauge(
        "bird_last_success_timestamp_seconds",
        "When BIRD took the prefix file the last time, in seconds since 1970",
    );
    let mut unmanaged = Metric::gauge(
        "prefixes_unmanaged",
        "The number of prefixes that the prefix file lists although no service has them",
    );
    for family in &bird.families {
        let name = family_label(family.family);
        for (result, times) in [("taken", family.counts.taken), ("failed", family.counts.failed)] {
            reconfigures.add(&labels(&[("family", name), ("result", result)]), times as f64);
        }
        let labels = labels(&[("family", name)]);
        in_sync.add(&labels, flag(family.in_sync));
        held.add(&labels, flag(family.hold.is_some()));
        unmanaged.add(&labels, family.unmanaged.len() as f64);
        if let Some(last) = family.counts.last_success {
            success.add(&labels, seconds(last));
        }
    }
    let mut dropped = Metric::counter("log_lines_dropped_total", "The number of log lines that no target took");
    dropped.add("", (state.lines_dropped)() as f64);
    let mut reloaded = Metric::gauge(
        "config_reload_success",
        "Whether the configuration was good when it was read the last time: 0 = no, an older one runs, 1 = yes",
    );
    reloaded.add("", flag(state.reload_error.lock().is_none()));
    let mut configured = Metric::gauge(
        "config_reload_timestamp_seconds",
        "When the configuration that runs was read, in seconds since 1970",
    );
    configured.add("", seconds(*state.configured.lock()));
    concat([reconfigures, in_sync, held, unmanaged, success, reloaded, configured, dropped])
}

fn concat<const N: usize>(metrics: [Metric; N]) -> String {
    metrics.into_iter().flat_map(|metric| [metric.head, metric.series]).collect()
}

fn flag(on: bool) -> f64 {
    if on {
        1.0
    } else {
        0.0
    }
}

/// Returns `{a="x",b="y"}`. Backslashes, quotes and newlines in values are escaped.
fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::from("{");
    for (n, (name, value)) in pairs.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}

/// Formats a number like Python's prometheus_client: with a point, or with an exponent from a
/// million on.
fn number(value: f64) -> String {
    let text = format!("{value:?}");
    match (text.split_once('e'), text.find('.')) {
        // Python writes the sign of the exponent, and at least two digits.
        (Some((digits, exponent)), _) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        (None, Some(point)) if value > 0.0 && point > 6 => {
            let digits = format!("{}.{}{}", &text[..1], &text[1..point], &text[point + 1..]);
            format!("{}e+{:02}", digits.trim_end_matches(['0', '.']), point - 1)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests;
