//! The start: from settings to running threads.
//!
//! Guarantees: every thread is running when the start returns, or the daemon does not start; only
//! the status socket may be missing, which is logged.
//!
//! Blocking: briefly, on the kernel and on drain files.
//!
//! Out of scope: what comes before any thread exists, such as signals, the lock and the log
//! (`daemon`).

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tracing::{info, warn};

use super::{cannot_start, Daemon, DaemonError, StatusLine, TriggerAtEnd, WriterThread};
use crate::bird::exports::ExportWatcher;
use crate::bird::file_watch;
use crate::bird::writer::{Writer, WriterEnd};
use crate::check::addresses::AddressWatcher;
use crate::check::announcer::Announcer;
use crate::check::drain_watcher::DrainWatcher;
use crate::check::event::Event;
use crate::check::hook::Hooks;
use crate::check::start_limiter::StartLimiter;
use crate::check::supervisor::Supervisor;
use crate::check::worker::Context;
use crate::check::Check;
use crate::config::files::Sources;
use crate::config::settings::{Prometheus, Settings};
use crate::daemon_state::DaemonState;
use crate::log::targets::Dropped;
use crate::report::{exporter, server};
use crate::sys::orphans::Orphans;
use crate::sys::pidfd::Watcher;
use crate::sys::sd_notify::ServiceManager;
use crate::sys::stop_token::StopToken;

impl Daemon {
    /// Starts all threads.
    pub(super) fn start(
        sources: Sources,
        settings: &Settings,
        notify: Arc<ServiceManager>,
        lines_dropped: Dropped,
    ) -> Result<Daemon, DaemonError> {
        let stop = new_token()?;
        let writer_abort = new_token()?;
        let writer_ended = new_token()?;
        info!("initialize healthchecker");
        info!("starting {} version {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let state = Arc::new(DaemonState::new(settings, Box::new(move || lines_dropped.get())));
        let checks = state.checks.lock().clone();
        let (events, received) = channel();
        let orphans = Arc::<Orphans>::default();
        let status_line = Arc::new(StatusLine::new(state.clone(), notify.clone()));

        let bird = state.bird.clone();
        let writer = Writer::new(settings, checks.clone(), orphans.clone(), events.clone(), bird, writer_abort.clone());
        let (exports, export_watcher) = watch_exports(settings, &state).unzip();
        let reports = Reports { notify: notify.clone(), status_line: status_line.clone(), exports: exports.clone() };
        let handle = spawn_writer(writer, received, writer_ended.clone(), reports)?;
        let writer = WriterThread { handle: Some(handle), abort: writer_abort, ended: writer_ended };

        let hooks = Hooks::new(orphans.clone(), stop.clone());
        let announcer = Announcer { events: events.clone(), hooks: hooks.clone() };
        let (address_watcher, addresses) = AddressWatcher::start(announcer.clone(), stop.clone())
            .map_err(cannot_start("the assigned addresses cannot be watched"))?;
        let drain_watcher = watch_drain_files(settings, announcer.clone(), &checks)?;
        let mut supervisor = Supervisor::new(Context {
            announcer,
            address_watcher,
            process_watcher: Watcher::new(stop.clone()),
            orphans,
            start_limiter: StartLimiter::new(),
        });
        supervisor.start(&checks, settings.daemon.splay_startup);

        let mut others = vec![addresses, watch_prefix_files(&state, &events, &stop)?];
        others.extend(export_watcher);
        others.extend(serve_status(&state, settings, &stop));
        let prometheus = settings.daemon.prometheus.as_ref();
        let exporter = prometheus.map(|prometheus| export_metrics(&state, prometheus, &mut others)).transpose()?;
        Ok(Daemon {
            sources,
            settings: settings.clone(),
            reading: None,
            supervisor,
            hooks,
            drain_watcher,
            others,
            exporter,
            exports,
            events,
            writer,
            state,
            notify,
            status_line,
            stop,
        })
    }
}

fn new_token() -> Result<StopToken, DaemonError> {
    StopToken::new().map_err(cannot_start("no eventfd can be made"))
}

/// What is updated after each step of the bird-writer.
struct Reports {
    notify: Arc<ServiceManager>,
    status_line: Arc<StatusLine>,
    exports: Option<ExportWatcher>,
}

/// Starts the thread that asks BIRD whom it announces the prefixes to. The daemon runs without it if
/// that fails.
fn watch_exports(settings: &Settings, state: &DaemonState) -> Option<(ExportWatcher, JoinHandle<()>)> {
    let started = ExportWatcher::start(settings, state.bird.clone(), state.exports.clone());
    started
        .map_err(|why| warn!("BIRD is not asked whom it announces the prefixes to: cannot spawn the thread: {why}"))
        .ok()
}

/// Starts the bird-writer. Its first step, which tries to reconfigure BIRD, makes the daemon ready.
fn spawn_writer(
    writer: Writer,
    events: Receiver<Event>,
    ended: StopToken,
    reports: Reports,
) -> Result<JoinHandle<WriterEnd>, DaemonError> {
    let run = move || {
        let _at_end = TriggerAtEnd(ended);
        let mut is_ready_sent = false;
        writer.run(&events, || {
            // If systemd does not accept it, it is sent again after the next step.
            is_ready_sent = is_ready_sent || reports.notify.ready().is_ok();
            reports.status_line.update();
            reports.exports.iter().for_each(ExportWatcher::stepped);
        })
    };
    let spawned = thread::Builder::new().name("bird-writer".to_string()).spawn(run);
    spawned.map_err(cannot_start("cannot spawn the bird-writer thread"))
}

/// Starts the thread that reads the drain files, and waits for its first answers.
fn watch_drain_files(
    settings: &Settings,
    announcer: Announcer,
    checks: &Arc<[Arc<Check>]>,
) -> Result<DrainWatcher, DaemonError> {
    let mut watcher = DrainWatcher::new(announcer);
    let followed = watcher.follow(settings.daemon.drain_file.as_deref(), checks.clone());
    followed.map_err(cannot_start("no thread can look at the drain files"))?;
    Ok(watcher)
}

/// Starts the thread that notices changes of the prefix files.
fn watch_prefix_files(
    state: &DaemonState,
    events: &Sender<Event>,
    stop: &StopToken,
) -> Result<JoinHandle<()>, DaemonError> {
    let thread = file_watch::start(state.files.clone(), events.clone(), stop.clone());
    thread.map_err(cannot_start("the prefix files cannot be watched"))
}

/// Starts the thread of the status socket. The daemon runs without it if that fails.
fn serve_status(state: &Arc<DaemonState>, settings: &Settings, stop: &StopToken) -> Option<JoinHandle<()>> {
    let thread = server::start(state.clone(), &settings.daemon.status_socket, stop.clone());
    thread.map_err(|why| warn!("{why}")).ok()
}

/// Starts the thread that exports metrics, and returns the sender of its settings.
fn export_metrics(
    state: &Arc<DaemonState>,
    prometheus: &Prometheus,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Sender<Option<Prometheus>>, DaemonError> {
    let (updates, receiver) = channel();
    let thread = exporter::start(state.clone(), prometheus, receiver);
    threads.push(thread.map_err(cannot_start("no thread can export the metrics"))?);
    Ok(updates)
}
