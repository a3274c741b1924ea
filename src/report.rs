//! Reports: status document, table, metrics, monitoring plugin. They only read; each piece of state
//! belongs to its owner.

use std::time::{SystemTime, UNIX_EPOCH};

pub mod client;
pub mod document;
pub mod exporter;
pub mod levels;
pub mod metrics;
pub mod nagios;
pub mod server;
pub mod status;
pub mod table;
pub mod urgency;
pub mod view;

/// Returns the seconds since 1970; zero for a time before that.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::Check;
    use crate::config::settings::Service;
    use crate::sys::clock::Now;
    use crate::testing::sample;
    use crate::testing::sample::{prefixes, MANY};

    #[test]
    fn a_service_can_have_very_many_prefixes() {
        let n = MANY;
        let service = Service { prefixes: prefixes(n), ..sample::service("a", "10.0.0.1/32") };
        let daemon = sample::daemon_state(vec![service.clone()]);
        let check = sample::check(&daemon, 0);
        sample::unassign(&check, &service.prefixes);
        let carried = check.state().carried_over(&service, &service.prefixes);
        assert_eq!(carried.missing().len(), n);
        let check = Check::with_state(check.service.clone(), carried.carried_over(&service, &[]));
        *daemon.checks.lock() = [check.into()].into();
        assert!(metrics::render(&daemon, metrics::Process::Up, Now::read()).lines().count() > n);
        assert_eq!(status::document(&daemon, Now::read(), &jiff::tz::TimeZone::UTC).services[0].prefixes.len(), n);
    }

    #[test]
    fn a_time_before_1970_counts_as_1970() {
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_millis(1500)), 1.5);
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_millis(1500)), 0.0);
    }
}
