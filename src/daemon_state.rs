//! The state of the daemon as a whole. The main thread writes it. Reports read it and, through it,
//! the states of the checks and of BIRD, each of which belongs to its owner.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::bird::exports::ExportState;
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
    /// The check of each configured service, in the order of the configuration. A reload replaces
    /// the list.
    pub checks: Mutex<Arc<[Arc<Check>]>>,
    /// The state that the bird-writer publishes.
    pub bird: Arc<Mutex<BirdState>>,
    /// The state of the export watcher.
    pub exports: Arc<Mutex<ExportState>>,
    /// The prefix file of each enabled family, as configured.
    pub files: Vec<(Family, PathBuf)>,
    /// Returns how many log lines were lost so far.
    pub lines_dropped: LinesDropped,
    /// When the running configuration was read.
    pub configured: Mutex<SystemTime>,
    /// Why the last reload was refused; None if it was not.
    pub reload_error: Mutex<Option<String>>,
}

/// A function that returns how many log lines were lost so far.
pub type LinesDropped = Box<dyn Fn() -> u64 + Send + Sync>;

impl DaemonState {
    /// The state of a daemon that starts: its services have no verdict yet.
    pub fn new(settings: &Settings, lines_dropped: LinesDropped) -> DaemonState {
        let checks = settings.services.iter().map(|service| Arc::new(Check::new(service.clone())));
        let files = Family::BOTH.into_iter().filter_map(|family| Some((family, settings.daemon.bird(family)?)));
        let started = Now::read();
        DaemonState {
            started,
            checks: Mutex::new(checks.collect()),
            bird: Arc::default(),
            exports: Arc::default(),
            files: files.map(|(family, bird)| (family, bird.conf.clone())).collect(),
            lines_dropped,
            configured: Mutex::new(started.wall),
            reload_error: Mutex::default(),
        }
    }
}
