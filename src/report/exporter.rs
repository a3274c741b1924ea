//! The metrics exporter: a thread that writes the file for node_exporter's textfile collector.
//!
//! Guarantees: a reader sees a whole file, old or new. A failure is logged when it begins and when
//! it ends, and writing is tried again at the next interval. When the daemon stops, the file gets
//! `anycast_healthchecker_state 0`. A file that a reload abandons is removed, because stale metrics
//! would remain in it. A killed daemon leaves its last file behind, which shows in the file's age.
//!
//! Blocking: only this thread, on the disk.
//!
//! Shutdown: the drop of its sender, or the update `None`.
//!
//! Out of scope: the text (`report::metrics`).

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::config::settings::Prometheus;
use crate::daemon_state::DaemonState;
use crate::report::metrics::{render, Process};
use crate::sys::atomic_file::{remove_leftovers, replace, Durability};
use crate::sys::clock::Now;
use crate::sys::log_once::LogOnce;

/// The name of the file, as in the original.
pub const FILE: &str = "anycast_healthchecker.prom";

/// Starts the thread, which writes the file at once and then every interval. A reload sends new
/// settings in `updates`, or None to end the export. The daemon drops the sender when it stops.
///
/// # Errors
/// The thread cannot be spawned (EAGAIN: no more threads). The caller may try again.
pub fn start(
    state: Arc<DaemonState>,
    prometheus: &Prometheus,
    updates: Receiver<Option<Prometheus>>,
) -> io::Result<JoinHandle<()>> {
    let mut exporter = Exporter { state, path: prometheus.dir.join(FILE), failure: LogOnce::new() };
    let interval = prometheus.interval;
    std::thread::Builder::new().name("metrics".into()).spawn(move || exporter.run(interval, &updates))
}

struct Exporter {
    state: Arc<DaemonState>,
    path: PathBuf,
    /// The failure that persists.
    failure: LogOnce,
}

impl Exporter {
    fn run(&mut self, mut interval: Duration, updates: &Receiver<Option<Prometheus>>) {
        // If the directory does not exist, the first write reports that.
        let _ = remove_leftovers(&self.path);
        let mut next = Instant::now();
        loop {
            match updates.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {
                    self.write(Process::Up);
                    let now = Instant::now();
                    // Skips the intervals that a slow disk made the thread miss.
                    while next <= now {
                        next += interval;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return self.write(Process::Down),
                Ok(Some(prometheus)) => {
                    let path = prometheus.dir.join(FILE);
                    if path != self.path {
                        self.remove();
                        *self = Exporter { state: self.state.clone(), path, failure: LogOnce::new() };
                        let _ = remove_leftovers(&self.path);
                    }
                    (interval, next) = (prometheus.interval, Instant::now());
                }
                Ok(None) => return self.remove(),
            }
        }
    }

    /// Removes the file, because it is not written any more.
    fn remove(&self) {
        let path = self.path.display();
        match std::fs::remove_file(&self.path) {
            Ok(()) => info!("removed {path}, as no more metrics are written to it"),
            Err(why) => warn!("no more metrics are written to {path}, and it cannot be removed: {why}"),
        }
    }

    fn write(&mut self, process: Process) {
        let text = render(&self.state, process, Now::read());
        let path = self.path.display();
        match replace(&self.path, text.as_bytes(), Durability::Unsynced) {
            Ok(_) => {
                debug!("dumped Prometheus metrics to {path}");
                if self.failure.clear() {
                    info!("metrics can be written to {path} again");
                }
            }
            Err(why) => {
                let why = why.to_string();
                if self.failure.set(&why) {
                    error!("failed to write metrics to {path}: {why}; it is tried again every interval");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
