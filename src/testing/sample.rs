//! Sample services, daemon states and documents for tests, with unremarkable values.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bird::state::{Counts, FamilyState, Hold};
use crate::check::health::State;
use crate::check::state::{self, CheckState};
use crate::check::Check;
use crate::command::Command;
use crate::config::settings::{OnDisabled, Service};
use crate::daemon_state::DaemonState;
use crate::prefix::{Family, Prefix};
use crate::report::document::{LastRun, Moment, PrefixStatus, ServiceStatus};
use crate::sys::clock::Now;
use crate::sys::mutex::Mutex;

/// A number of prefixes for which quadratic work takes minutes, and linear work an instant.
pub(crate) const MANY: usize = 50_000;

/// Generates `n` different prefixes.
pub(crate) fn prefixes(n: usize) -> Vec<Prefix> {
    (0..n).map(|n| format!("10.{}.{}.{}/32", 1 + n / 65536, n / 256 % 256, n % 256).parse().unwrap()).collect()
}

/// A service with default settings and one prefix.
pub(crate) fn service(name: &str, prefix: &str) -> Service {
    Service {
        name: name.into(),
        check_cmd: Command::parse("true").unwrap(),
        check_interval: Duration::from_secs(10),
        check_fast_interval: None,
        check_timeout: Duration::from_secs(2),
        check_rise: NonZeroU32::new(2).unwrap(),
        check_fail: NonZeroU32::new(2).unwrap(),
        disabled: None,
        prefixes: vec![prefix.parse().unwrap()],
        prefix_text: prefix.into(),
        assigned_to: Some("lo".into()),
        interface: "lo".into(),
        custom_reconfigure: None,
        watch_pidfile: None,
        drain_file: None,
        withdraw_on_exit: false,
        withdraw_on_boot: false,
        state_change: None,
        listing: Vec::new(),
    }
}

/// The state of a daemon that has just started, with these services and IPv4.
pub(crate) fn daemon_state(services: Vec<Service>) -> DaemonState {
    let checks = services.into_iter().map(|service| Arc::new(Check::new(Arc::new(service))));
    DaemonState {
        started: Now::read(),
        checks: Mutex::new(checks.collect()),
        bird: Arc::default(),
        exports: Arc::default(),
        files: vec![(Family::V4, PathBuf::from("/var/lib/prefixes.conf"))],
        lines_dropped: Box::new(|| 0),
        configured: Mutex::new(std::time::UNIX_EPOCH),
        reload_error: Mutex::default(),
    }
}

/// The check of the service at this index of the configuration.
pub(crate) fn check(daemon: &DaemonState, index: usize) -> Arc<Check> {
    daemon.checks.lock()[index].clone()
}

/// Sets the state of a service, without any other data.
pub(crate) fn decide(check: &Check, state: State) {
    let mut current = check.state_mut();
    let _ = match state {
        State::Up => current.decide(OnDisabled::Advertise),
        State::Down => current.decide(OnDisabled::Withdraw),
        State::Unknown => {
            *current = CheckState::new(&check.service);
            return;
        }
    };
}

/// Records that these prefixes of the service are no longer assigned.
pub(crate) fn unassign(check: &Check, prefixes: &[Prefix]) {
    let _ = check.state_mut().addresses_gone(&check.service, prefixes.iter().copied().collect());
}

/// A family that is in sync, with the same list on each level.
pub(crate) fn family(family: Family, list: Arc<[Prefix]>) -> FamilyState {
    FamilyState {
        family,
        wanted: list.clone(),
        in_file: list.clone(),
        in_bird: list,
        unmanaged: Arc::new([]),
        in_sync: true,
        out_of_sync_since: None,
        problem: None,
        hold: None,
        asks_bird: false,
        counts: Counts { taken: 1, ..Counts::default() },
    }
}

/// A hold that ends this long after `now`.
pub(crate) fn hold(now: Now, lasts: Duration, waiting_for: &[&str]) -> Hold {
    Hold { until: now.monotonic + lasts, waiting_for: waiting_for.iter().map(|name| Arc::from(*name)).collect() }
}

/// The time at which a test gives up waiting.
pub(crate) fn test_deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The document's entry of a service. Each prefix has a flag for being advertised.
pub(crate) fn service_status(name: &str, state: State, prefixes: &[(&str, bool)]) -> ServiceStatus {
    let moment = |unix: f64| Moment { text: "2026-11-22T08:41:54.123+01:00".into(), unix };
    let prefix = |(prefix, advertised): &(&str, bool)| PrefixStatus {
        prefix: prefix.to_string(),
        wanted: Some(*advertised),
        in_file: Some(*advertised),
        in_bird: Some(*advertised),
        missing: false,
        exported: None,
    };
    ServiceStatus {
        name: name.into(),
        state,
        since: moment(1000.0),
        disabled: None,
        drained: None,
        interval_s: 10.0,
        timeout_s: 2.0,
        last: Some(LastRun {
            began: moment(1597.0),
            took_ms: Some(12.34),
            result: "passed".into(),
            code: 0,
            output: String::new(),
        }),
        progress: None,
        why: None,
        prefixes: prefixes.iter().map(prefix).collect(),
        transitions: 1,
        checks: state::Counts { passed: 1, ..state::Counts::default() },
        overdue_s: None,
        verdict_overdue_s: None,
        problem: None,
        watched_pid: None,
        state_change_cmd: None,
    }
}
