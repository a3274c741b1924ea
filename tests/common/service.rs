//! A service without special settings, for tests and benchmarks outside the crate.

use std::num::NonZeroU32;
use std::time::Duration;

use anycast_healthchecker::internals::command::Command;
use anycast_healthchecker::internals::config::settings::Service;

/// A service with one prefix. One check decides its state.
pub(crate) fn service(name: &str, prefix: &str) -> Service {
    Service {
        name: name.to_string(),
        check_cmd: Command::parse("true").unwrap(),
        check_interval: Duration::from_secs(10),
        check_fast_interval: None,
        check_timeout: Duration::from_secs(2),
        check_rise: NonZeroU32::MIN,
        check_fail: NonZeroU32::MIN,
        disabled: None,
        prefixes: vec![prefix.parse().unwrap()],
        prefix_text: prefix.to_string(),
        assigned_to: None,
        interface: "lo".to_string(),
        custom_reconfigure: None,
        watch_pidfile: None,
        drain_file: None,
        withdraw_on_exit: false,
        withdraw_on_boot: false,
        state_change: None,
        listing: Vec::new(),
    }
}
