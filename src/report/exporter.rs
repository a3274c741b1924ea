//! The thread that keeps node_exporter's text file fresh.
//!
//! Promises: a reader sees a whole file, old or new; a failure is logged when it begins and when it ends and is tried
//! again at the next time; the last word is `anycast_healthchecker_state 0`, written when the daemon stops. A file that is
//! written no longer, as a reload says so, is removed: else it would tell of that moment for ever.
//! Who may block: only this thread, on the disk. What stops it: the end of its orders, or the order to end.
//! Leaves out: the text (`report::metrics`). That a killed daemon leaves its last file behind shows in the file's age.

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

/// The file's name, which is the original's.
pub const FILE: &str = "anycast_healthchecker.prom";

/// Starts the thread; the file is written at once and then every interval. Each message in `orders` is what a reload
/// makes of it: other settings, or the end. Their end is that of the daemon.
///
/// # Errors
/// The thread cannot be created (EAGAIN: no more threads): to be tried again.
pub fn start(
    state: Arc<DaemonState>,
    prometheus: &Prometheus,
    orders: Receiver<Option<Prometheus>>,
) -> io::Result<JoinHandle<()>> {
    let mut exporter = Exporter { state, path: prometheus.dir.join(FILE), failing: None };
    let interval = prometheus.interval;
    std::thread::Builder::new().name("metrics".into()).spawn(move || exporter.run(interval, &orders))
}

struct Exporter {
    state: Arc<DaemonState>,
    path: PathBuf,
    /// The failure that was logged and still stands.
    failing: Option<String>,
}

impl Exporter {
    fn run(&mut self, mut interval: Duration, orders: &Receiver<Option<Prometheus>>) {
        // A directory that is not there is told of by the first write.
        let _ = remove_leftovers(&self.path);
        let mut next = Instant::now();
        loop {
            match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {
                    self.write(Process::Up);
                    let now = Instant::now();
                    // Times that the disk made us miss are left out.
                    while next <= now {
                        next += interval;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return self.write(Process::Down),
                Ok(Some(prometheus)) => {
                    let path = prometheus.dir.join(FILE);
                    if path != self.path {
                        self.remove();
                        *self = Exporter { state: self.state.clone(), path, failing: None };
                        let _ = remove_leftovers(&self.path);
                    }
                    (interval, next) = (prometheus.interval, Instant::now());
                }
                Ok(None) => return self.remove(),
            }
        }
    }

    /// Nobody writes the file any more.
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
                if self.failing.take().is_some() {
                    info!("metrics can be written to {path} again");
                }
            }
            Err(why) => {
                let why = why.to_string();
                if self.failing.as_ref() != Some(&why) {
                    error!("failed to write metrics to {path}: {why}; it is tried again every interval");
                    self.failing = Some(why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
