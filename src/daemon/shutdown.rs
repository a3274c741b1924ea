//! The stop: ends all threads in the order that lets queued verdicts be applied.
//!
//! Guarantees: ends within the time that the header of `daemon` promises; what hangs ends with the
//! process.
//!
//! Blocking: on the bird-writer, for [`STOP_TIMEOUT`] or [`LEAVE_TIMEOUT`] at most, and on other
//! threads for [`LAST_WAIT`].
//!
//! Out of scope: the pidfile and the log, which outlive the threads (`daemon`).

use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{writer_failure, Daemon, DaemonError};
use crate::bird::exports::{is_announced, ExportWatcher};
use crate::check::event::Event;
use crate::daemon_state::DaemonState;
use crate::prefix::Prefix;
use crate::sys::stop_token::{Stop, StopToken};

/// How long the bird-writer may take to stop, as a reconfigure may be running.
const STOP_TIMEOUT: Duration = Duration::from_millis(1600);
/// How long it may take if services leave (`on_exit`) and BIRD has to confirm that.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(9600);
/// How often it is looked whether BIRD announces the prefixes of leaving services to nobody.
const UNANNOUNCED_POLL: Duration = Duration::from_millis(20);
/// How long programs that were cut short and killed check commands have to end.
const LAST_WAIT: Duration = Duration::from_millis(150);

impl Daemon {
    /// Ends all threads. `on_exit` applies if `is_regular`. Fails if a bug came to light during the
    /// stop.
    pub(super) fn stop(self, is_regular: bool) -> Result<(), DaemonError> {
        let begun = Instant::now();
        let left = if is_regular { self.withdraw_leaving() } else { Vec::new() };
        let leaving = !left.is_empty();
        drop(self.drain_watcher);
        // If systemd does not listen, it does not wait either.
        let _ = self.notify.stopping();
        self.stop.trigger();
        self.supervisor.stop();
        drop(self.exporter);
        // Without a receiver the writer has ended.
        let _ = self.events.send(Event::Stop { leaving });
        if !self.writer.ended.wait(if leaving { LEAVE_TIMEOUT } else { STOP_TIMEOUT }) {
            match leaving {
                true => error!("BIRD has not confirmed in {LEAVE_TIMEOUT:?} that services left, as on_exit says"),
                false => warn!(
                    "the bird-writer is cut short by the stop after {STOP_TIMEOUT:?}: a reconfigure, a custom command or \
                     the disk takes longer"
                ),
            }
            self.writer.abort.trigger();
            self.writer.ended.wait(LAST_WAIT);
        }
        if leaving {
            wait_unannounced(&self.state, &self.writer.abort, &left, begun + LEAVE_TIMEOUT);
        }
        self.exports.iter().for_each(ExportWatcher::stop);
        self.hooks.wait(LAST_WAIT);
        let threads = self.supervisor.into_threads().into_iter().chain(self.others);
        join(threads.collect(), LAST_WAIT);
        // A writer that hangs is not waited for.
        let ended = self.writer.handle.filter(|_| self.writer.ended.stop_requested());
        writer_failure(ended).map_or(Ok(()), Err)
    }

    /// Withdraws the services with `on_exit = withdraw`, and returns their prefixes.
    fn withdraw_leaving(&self) -> Vec<Prefix> {
        let checks = self.state.checks.lock().clone();
        let leaving: Vec<_> = checks.iter().filter(|check| check.service.withdraw_on_exit).collect();
        if leaving.is_empty() {
            return Vec::new();
        }
        let names: Vec<&str> = leaving.iter().map(|check| check.name()).collect();
        info!("going to withdraw {}, as on_exit says", names.join(","));
        // All states change before the first event, so that one reconfigure withdraws all of them.
        leaving.iter().for_each(|check| check.leave());
        for check in &leaving {
            // Without a receiver the writer has ended.
            let _ = self.events.send(Event::Changed((*check).clone()));
        }
        leaving.iter().flat_map(|check| check.service.prefixes.iter().copied()).collect()
    }
}

/// Waits until BIRD announces none of these prefixes, as far as it can be asked, or until
/// `deadline`.
fn wait_unannounced(state: &DaemonState, abort: &StopToken, prefixes: &[Prefix], deadline: Instant) {
    while is_announced(&state.exports.lock(), prefixes) {
        if Instant::now() >= deadline || abort.wait(UNANNOUNCED_POLL) {
            warn!("BIRD still announces prefixes of services that left, as on_exit says");
            return;
        }
    }
}

/// Waits at most `timeout` for threads that are stopping. Threads that hang end with the process.
fn join(threads: Vec<JoinHandle<()>>, timeout: Duration) {
    let (all_ended, ended) = channel::<()>();
    let join = move || {
        for thread in threads {
            // A thread that panicked has logged that.
            let _ = thread.join();
        }
        drop(all_ended);
    };
    if std::thread::Builder::new().name("join".to_string()).spawn(join).is_ok() {
        // Both the dropped sender and the time-out end the wait.
        let _ = ended.recv_timeout(timeout);
    }
}
