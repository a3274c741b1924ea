//! The daemon: starts every thread, sleeps until a signal arrives, and stops the threads.
//!
//! ```text
//!   thread         owns                         may block on          is stopped by
//!   main           signals, the pidfile         signals               TERM, INT, QUIT, ABRT; a bug
//!   one per check  nothing                      its own check         its check's trigger
//!   bird-writer    prefix files, BIRD           disk, birdc           Event::Stop, or its abort token
//!   addresses      the assigned addresses       netlink               the stop token
//!   processes      pidfds of watch_pidfile      the end of a process  the stop token
//!   hook, 0 to 8   a run of state_change_cmd    that command          the stop token
//!   custom-bird    a run of a custom command    that command          its time-out, the abort token
//!   drains         nothing                      the drain files       the drop of DrainWatcher
//!   files          nothing                      inotify               the stop token
//!   status         the status socket            its peers             the stop token
//!   metrics        the metrics file             disk                  the drop of its sender
//!   reload         nothing                      disk                  its own end
//!   join           the threads that are ending  their ends            their ends
//!   log targets    files, sockets of the log    disk, network, pipes  the end of the log
//! ```
//!
//! Guarantees: only a signal or a bug ends the process. After a signal, all programs that the
//! daemon may kill are killed, queued verdicts are applied, and the process ends within two
//! seconds, even if something hangs (within ten seconds if services leave because of `on_exit`). A
//! bug in a thread becomes a critical log line.
//!
//! Out of scope: what the threads do.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::io::Errno;
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::bird::exports::ExportWatcher;
use crate::bird::writer::WriterEnd;
use crate::check::drain_watcher::DrainWatcher;
use crate::check::event::Event;
use crate::check::hook::Hooks;
use crate::check::supervisor::Supervisor;
use crate::config::files::{Configuration, Sources};
use crate::config::settings::{Prometheus, Settings};
use crate::daemon_state::DaemonState;
use crate::log::targets::{self, LogHandle};
use crate::sys::sd_notify::ServiceManager;
use crate::sys::signals::{Signal, Signals, Wake};
use crate::sys::single_instance::{AlreadyRunning, Instance, InstanceProblem};
use crate::sys::startup;
use crate::sys::stop_token::StopToken;
use pidfile::Pidfile;
use status_line::StatusLine;

mod pidfile;
mod reload;
mod shutdown;
mod start;
mod status_line;

/// Why the daemon did not start, or why it ended by itself. The exit code is 1 in each case.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another daemon is running.
    #[error(transparent)]
    AlreadyRunning(#[from] AlreadyRunning),
    /// The machine was out of descriptors, threads or memory during the start.
    #[error("cannot start: {what}: {source}{}", remedy(source))]
    Start {
        /// What failed.
        what: &'static str,
        /// The error of the kernel.
        source: io::Error,
    },
    /// A bug: a thread ended that never should. The log has it, too.
    #[error("{0}")]
    Died(String),
}

/// Runs in the foreground until a signal stops it. `configuration` was read from `sources`; a
/// reload reads them again.
pub fn run(sources: Sources, configuration: Configuration) -> Result<(), DaemonError> {
    startup::restore_sigchld().map_err(cannot_start(
        "SIGCHLD must not be ignored, which is looked up in /proc/self/status and, where it is, undone by \
         `env --default-signal=CHLD` (coreutils 8.31); one of the two failed",
    ))?;
    startup::close_descriptors().map_err(cannot_start("the open files in /proc/self/fd cannot be listed"))?;
    let (notify, notify_error) = match ServiceManager::from_environment() {
        Ok(notify) => (notify, None),
        Err(why) => (ServiceManager::default(), Some(why)),
    };
    let mut signals = Signals::catch().map_err(cannot_start("signals cannot be caught"))?;
    let (settings, warnings) = configuration.into_parts();
    let (instance, problems) = Instance::take(&settings.daemon.pidfile)?;
    let (lines, mut log) = targets::start(&settings.daemon.log);
    log.redirect_panics();
    // It fails if there is a subscriber already: that of a test.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    warnings.iter().for_each(|warning| warn!("{warning}"));
    drop(warnings);
    problems.iter().for_each(|problem| warn!("{problem}"));
    allow_descriptors(&settings);
    if let Some(why) = notify_error {
        warn!("cannot tell systemd anything: NOTIFY_SOCKET is of no use: {why}");
    }
    let is_written = !problems.iter().any(|problem| matches!(problem, InstanceProblem::Pidfile { .. }));
    let mut pidfile = Pidfile::new(instance, is_written);
    let mut daemon = Daemon::start(sources, &settings, Arc::new(notify), log.dropped())?;
    let cause = daemon.run_until_signal(&mut signals, &mut log, &mut pidfile);
    // After the watchdog's ABRT, after QUIT and after a bug, on_exit does not apply.
    let is_regular = matches!(cause, Ok(signal) if !matches!(signal, Signal::SIGABRT | Signal::SIGQUIT));
    let stopped = daemon.stop(is_regular);
    pidfile.remove(&settings.daemon.pidfile);
    info!("shutdown is complete");
    drop(log);
    cause.and(stopped)
}

/// The running threads, and what reloads and stops them.
struct Daemon {
    sources: Sources,
    /// The settings in force.
    settings: Settings,
    /// The reload in progress.
    reading: Option<reload::Reading>,
    supervisor: Supervisor,
    hooks: Hooks,
    drain_watcher: DrainWatcher,
    /// Threads that the stop token ends and that have a file or a socket to clean up.
    others: Vec<JoinHandle<()>>,
    exporter: Option<Sender<Option<Prometheus>>>,
    exports: Option<ExportWatcher>,
    events: Sender<Event>,
    writer: WriterThread,
    state: Arc<DaemonState>,
    notify: Arc<ServiceManager>,
    status_line: Arc<StatusLine>,
    /// Ends all threads but the bird-writer.
    stop: StopToken,
}

/// The bird-writer thread.
struct WriterThread {
    /// None once it was joined.
    handle: Option<JoinHandle<WriterEnd>>,
    /// Cuts short what the writer runs.
    abort: StopToken,
    /// Triggered when the thread ends.
    ended: StopToken,
}

impl Daemon {
    /// Sleeps until a signal asks for the stop, and returns that signal. Fails if a thread died.
    fn run_until_signal(
        &mut self,
        signals: &mut Signals,
        log: &mut LogHandle,
        pidfile: &mut Pidfile,
    ) -> Result<Signal, DaemonError> {
        let mut next_keepalive = None;
        loop {
            let now = Instant::now();
            if next_keepalive.is_none_or(|at| at <= now) {
                next_keepalive = self.feed_watchdog(now);
            }
            pidfile.restore_if_due(now);
            if let Some(name) = panicked(&mut self.others) {
                return Err(bug(&format!("the thread {name} died")));
            }
            let next_check = self.supervisor.poll(now);
            let deadline = next_check.into_iter().chain(next_keepalive).chain([pidfile.next_check()]).min();
            let reload_done = self.reading.as_ref().map(|reading| &reading.done);
            let tokens: Vec<&StopToken> = std::iter::once(&self.writer.ended).chain(reload_done).collect();
            match signals.wait(deadline, &tokens) {
                Wake::Signal(Signal::SIGURG) => self.supervisor.check_now(),
                Wake::Signal(Signal::SIGHUP) => self.begin_reload(),
                Wake::Signal(signal) => {
                    info!("received {signal}");
                    return Ok(signal);
                }
                Wake::Token(0) => {
                    let died = writer_failure(self.writer.handle.take());
                    return Err(died.unwrap_or_else(|| bug("the bird-writer ended")));
                }
                Wake::Token(_) => self.finish_reload(log),
                Wake::Deadline => {}
            }
        }
    }

    /// Feeds systemd's watchdog if the writer makes progress, and returns when to do so again. None
    /// if there is no watchdog.
    fn feed_watchdog(&self, now: Instant) -> Option<Instant> {
        let interval = self.notify.watchdog()?;
        if self.writer_makes_progress(now) {
            // If systemd does not listen, it does not expect a keepalive either.
            let _ = self.notify.alive();
        }
        Some(now + interval / 2)
    }

    /// Returns whether the writer is idle, or in a step that is not overdue.
    fn writer_makes_progress(&self, now: Instant) -> bool {
        self.state.bird.lock().due.is_none_or(|due| due > now)
    }
}

/// Raises the limit of open files, so that all checks can run at the same time.
fn allow_descriptors(settings: &Settings) {
    if let Err(why) = startup::raise_descriptor_limit(settings.services.len()) {
        warn!("{why}");
    }
}

/// Triggers a token when the thread that holds this ends, also by a panic.
struct TriggerAtEnd(StopToken);

impl Drop for TriggerAtEnd {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

/// Joins the bird-writer and returns the bug that ended it, if one did. Without a stop event the
/// writer ends only if a thread panicked: a check thread, or its own.
fn writer_failure(writer: Option<JoinHandle<WriterEnd>>) -> Option<DaemonError> {
    let why = match writer?.join() {
        Ok(WriterEnd::Stopped) => return None,
        Ok(WriterEnd::Died { service, why }) => format!("the check thread of {service} died: {why}"),
        Err(_) => "the bird-writer died".to_string(),
    };
    Some(bug(&why))
}

/// Returns the name of a thread that panicked, if one did. Drops all threads that have ended.
fn panicked(threads: &mut Vec<JoinHandle<()>>) -> Option<String> {
    let (ended, running) = threads.drain(..).partition(JoinHandle::is_finished);
    *threads = running;
    ended.into_iter().find_map(|thread: JoinHandle<()>| {
        let name = thread.thread().name().unwrap_or_default().to_string();
        thread.join().is_err().then_some(name)
    })
}

/// Logs a bug and returns it as an error.
fn bug(why: &str) -> DaemonError {
    let why = format!("{why}. This is a bug, and the only way to recover is to start again");
    error!(critical = true, "{why}");
    DaemonError::Died(why)
}

/// Says which limit to raise if the kernel only says that a resource is exhausted.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN) => "; more processes and threads must be allowed (systemd: TasksMax=; else: ulimit -u)",
        Some(Errno::MFILE) => "; more open files must be allowed (systemd: LimitNOFILE=; else: ulimit -n)",
        _ => "",
    }
}

fn cannot_start(what: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::Start { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated::wait_until;

    #[test]
    fn a_bug_in_the_writer_or_in_a_check_is_reported() {
        let check = |end: fn() -> WriterEnd, expected: &str| {
            let result = writer_failure(Some(std::thread::spawn(end))).map_or_else(String::new, |bug| bug.to_string());
            assert!(result.starts_with(expected) && result.is_empty() == expected.is_empty(), "{result}");
        };
        check(|| WriterEnd::Stopped, "");
        check(
            || WriterEnd::Died { service: "a".into(), why: "x".into() },
            "the check thread of a died: x. This is a bug",
        );
        check(|| panic!("a bug, for this test"), "the bird-writer died. This is a bug");
        assert!(writer_failure(None).is_none());
    }

    #[test]
    fn a_failed_start_says_what_failed_and_what_to_do() {
        let check = |errno: Errno, expected: &str| {
            assert_eq!(
                cannot_start("this failed")(errno.into()).to_string(),
                format!("cannot start: this failed: {expected}")
            );
        };
        check(Errno::NOMEM, "Cannot allocate memory (os error 12)");
        check(
            Errno::AGAIN,
            "Resource temporarily unavailable (os error 11); more processes and threads must be allowed (systemd: \
             TasksMax=; else: ulimit -u)",
        );
        check(
            Errno::MFILE,
            "Too many open files (os error 24); more open files must be allowed (systemd: LimitNOFILE=; else: ulimit -n)",
        );
    }

    #[test]
    fn a_thread_that_panicked_is_named_and_one_that_ended_is_dropped() {
        let start = |name: &str, run: fn()| std::thread::Builder::new().name(name.to_string()).spawn(run).unwrap();
        let mut threads = vec![start("ends", || ()), start("stays", std::thread::park)];
        wait_until("the end of the first", || threads[0].is_finished());
        assert_eq!((panicked(&mut threads), threads.len()), (None, 1));
        threads.push(start("dies", || panic!("a bug, for this test")));
        wait_until("the end of the last", || threads[1].is_finished());
        assert_eq!((panicked(&mut threads).as_deref(), threads.len()), (Some("dies"), 1));
        threads[0].thread().unpark();
    }
}
