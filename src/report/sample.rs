//! For tests: a service, a board and a family's report with nothing special about them.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::config::settings::Service;
use crate::prefix::{Family, Prefix};
use crate::report::snapshot::{Board, FamilyReport, Now, Published};

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

pub(crate) fn board(services: Vec<Service>) -> Board {
    let listed = services.into_iter().map(|service| (Arc::new(service), Arc::default()));
    Board {
        started: Now::read(),
        services: Published::new(listed.collect()),
        bird: Arc::default(),
        files: vec![(Family::V4, PathBuf::from("/var/lib/prefixes.conf"))],
        lines_dropped: Box::new(|| 0),
        configured: Published::new(std::time::UNIX_EPOCH),
        reload_error: Published::default(),
    }
}

/// A family that is in sync, with the same list on each level.
pub(crate) fn family(family: Family, list: Arc<[Prefix]>) -> FamilyReport {
    FamilyReport {
        family,
        wanted: list.clone(),
        in_file: list.clone(),
        in_bird: list,
        in_sync: true,
        out_of_sync_since: None,
        problem: None,
        taken: 1,
        failed: 0,
        last_success: None,
    }
}

/// A wait that a test gives up after.
pub(crate) fn patience() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
