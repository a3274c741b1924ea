//! What is known of the daemon as a whole. The main thread writes it; reports read it, and through it the states of
//! checks and of BIRD, each of which belongs to its owner.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::bird::state::BirdState;
use crate::check::Check;
use crate::config::settings::Settings;
use crate::prefix::Family;
use crate::sys::clock::Now;
use crate::sys::mutex::Mutex;

/// Everything that reports read.
pub struct DaemonState {
    /// When the daemon started.
    pub started: Now,
    /// The check of each configured service, in the order of the configuration. A reload puts another list in its place.
    pub checks: Mutex<Arc<[Arc<Check>]>>,
    /// The bird-writer's.
    pub bird: Arc<Mutex<BirdState>>,
    /// The prefix file of each family that is on, as configured.
    pub files: Vec<(Family, PathBuf)>,
    /// How many log lines were lost so far. Asked whenever someone wants to know.
    pub lines_dropped: Box<dyn Fn() -> u64 + Send + Sync>,
    /// When the running configuration was read.
    pub configured: Mutex<SystemTime>,
    /// Why the last reload of the configuration was refused; the running one is an older one then.
    pub reload_error: Mutex<Option<String>>,
}

impl DaemonState {
    /// A daemon that starts: nothing is known of its services, and no log line is lost.
    pub fn new(settings: &Settings) -> DaemonState {
        let checks = settings.services.iter().map(|service| Arc::new(Check::new(service.clone())));
        let files = Family::BOTH.into_iter().filter_map(|family| Some((family, settings.daemon.bird(family)?)));
        let started = Now::read();
        DaemonState {
            started,
            checks: Mutex::new(checks.collect()),
            bird: Arc::default(),
            files: files.map(|(family, bird)| (family, bird.conf.clone())).collect(),
            lines_dropped: Box::new(|| 0),
            configured: Mutex::new(started.wall),
            reload_error: Mutex::default(),
        }
    }
}
