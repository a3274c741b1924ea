//! How long the first verdict of the slowest service takes.

use std::time::Duration;

use crate::bird::startup::MAX_HOLD;
use crate::check::schedule;
use crate::check::start_limiter::processors;
use crate::config::settings::Settings;
use crate::prefix::Family;

/// Time until all check threads have started, including one second for drain files that cannot be
/// read.
pub const START_ALLOWANCE: Duration = Duration::from_secs(3);

/// Time from now until each healthy service of the family has its first verdict, at most
/// [`MAX_HOLD`]: the start of its thread, its start offset among all services, and its runs.
pub fn first_verdict(settings: &Settings, family: Family) -> Duration {
    let Settings { daemon, services, .. } = settings;
    let offsets = schedule::start_offset(services.len(), processors());
    let start = START_ALLOWANCE.saturating_add(offsets).saturating_add(daemon.splay_startup);
    let of_family = services.iter().filter(|service| service.prefixes.iter().any(|prefix| prefix.family() == family));
    let runs = of_family.map(|service| schedule::first_verdict(service)).max().unwrap_or_default();
    start.saturating_add(runs).min(MAX_HOLD)
}
