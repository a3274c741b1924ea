//! The daemon: starts every thread, sleeps on signals, and ends them.
//!
//! ```text
//!   thread        owns                              may block on            is stopped by
//!   main          signals, the pidfile              signals                 TERM, INT, QUIT, ABRT; a thread that died
//!   one a check   nothing                           its own check           its check's trigger
//!   bird-writer   prefix files, BIRD                disk, birdc             Event::Stop; cut short by the give-up line
//!   addresses     the assigned addresses            netlink                 the stop line
//!   processes     the pidfds of watch_pidfile       the end of a process    the stop line; there where one is watched
//!   hook, 0 to 8  one run of state_change_cmd       that command            the stop line
//!   drain_watcher        nothing                           the drain files         the drop of DrainWatcher
//!   files         nothing                           inotify                 the stop line
//!   status        the status socket                 those who ask           the stop line
//!   custom-bird   one run of a custom command       that command            its time-out; the give-up line; 1 at most
//!   metrics       the metrics file                  disk                    the end of its orders
//!   reload        nothing                           disk                    its own end
//!   join          the threads that are ending       their ends              those; the main thread goes on after a moment
//!   log targets   files and sockets of the log      disk, network, pipes    the end of the log
//! ```
//!
//! Promises: the process ends by a signal or by a bug, and by nothing else; by a signal with everything killed that may
//! be killed, verdicts that wait applied, and within two seconds whatever hangs (ten where `on_exit` has a service leave);
//! a bug in a thread is a critical log line.
//! Leaves out: what the threads do.

use std::io;
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt as _;

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
use crate::config::files::{Configuration, Sources};
use crate::config::settings::{Prometheus, Settings};
use crate::daemon_state::DaemonState;
use crate::log::targets::{self, Dropped, LogHandle};
use crate::report::{exporter, server, status};
use crate::sys::mutex::Mutex;
use crate::sys::orphans::Orphans;
use crate::sys::pidfd::Watcher;
use crate::sys::sd_notify::ServiceManager;
use crate::sys::signals::{Signal, Signals, Wake};
use crate::sys::single_instance::{AlreadyRunning, Instance, InstanceProblem};
use crate::sys::startup;
use crate::sys::stop_token::{Stop, StopToken};

mod reload;

/// How long a stop may take where a reconfigure runs.
const STOP: Duration = Duration::from_millis(1600);
/// How long it may take where services leave (`on_exit`) and BIRD has to confirm that.
const LEAVE: Duration = Duration::from_millis(9600);
/// How often it is looked whether the pidfile is in its place.
const LOOK: Duration = Duration::from_secs(5);
/// How long to wait before the pidfile is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long what was cut short, and the check commands that were killed, have to end.
const LAST_WAIT: Duration = Duration::from_millis(150);

/// Why the daemon did not start, or ended by itself. The exit code is 1 in each case.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another one runs.
    #[error(transparent)]
    AlreadyRunning(#[from] AlreadyRunning),
    /// The machine is out of descriptors, threads or memory at the very start.
    #[error("cannot start: {what}: {source}{}", remedy(source))]
    Start {
        /// What failed.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// A bug: a thread ended that never should. It is in the log, too.
    #[error("{0}")]
    Died(String),
}

/// Runs in the foreground until a signal asks for the end. `configuration` was read from `sources`, which are read again
/// for a reload.
pub fn run(sources: Sources, configuration: Configuration) -> Result<(), DaemonError> {
    startup::restore_sigchld().map_err(cannot_start(
        "SIGCHLD must not be ignored, which is looked up in /proc/self/status and, where it is, undone by \
         `env --default-signal=CHLD` (coreutils 8.31); one of the two failed",
    ))?;
    startup::close_descriptors().map_err(cannot_start("the open files in /proc/self/fd cannot be listed"))?;
    let (notify, no_systemd) = match ServiceManager::from_environment() {
        Ok(notify) => (notify, None),
        Err(why) => (ServiceManager::default(), Some(why)),
    };
    let mut signals = Signals::catch().map_err(cannot_start("signals cannot be caught"))?;
    let (settings, warnings) = configuration.into_parts();
    let (mut instance, findings) = Instance::take(&settings.daemon.pidfile)?;
    let (lines, mut log) = targets::start(&settings.daemon.log);
    log.redirect_panics();
    // It fails where there is a subscriber already, which is a test's.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    warnings.iter().for_each(|warning| warn!("{warning}"));
    drop(warnings);
    findings.iter().for_each(|finding| warn!("{finding}"));
    allow_descriptors(&settings);
    if let Some(why) = no_systemd {
        warn!("cannot tell systemd anything: NOTIFY_SOCKET is of no use: {why}");
    }
    let mut daemon = Daemon::start(sources, &settings, Arc::new(notify), log.dropped())?;
    let unwritten = findings.iter().any(|finding| matches!(finding, InstanceProblem::Pidfile { .. }));
    let end = daemon.sleep(&mut signals, &mut log, &mut instance, unwritten);
    let stopped = daemon.stop();
    info!("going to remove pidfile {}", settings.daemon.pidfile.display());
    if let Err(why) = instance.release() {
        warn!("failed to remove pidfile {}: {why}", settings.daemon.pidfile.display());
    }
    info!("shutdown is complete");
    drop(log);
    end.and(stopped)
}

/// The line of `systemctl status`. The bird-writer tells it after each step, the main thread after each reload.
struct StatusLine {
    state: Arc<DaemonState>,
    notify: Arc<ServiceManager>,
    /// What systemd took. Locked until it has, so that what is told last is what is so.
    last: Mutex<String>,
}

impl StatusLine {
    fn new(state: Arc<DaemonState>, notify: Arc<ServiceManager>) -> StatusLine {
        StatusLine { state, notify, last: Mutex::default() }
    }

    /// Where it has changed. What systemd does not take is told again the next time.
    fn tell(&self) {
        let mut last = self.last.lock();
        let line = status::line(&self.state);
        if line != *last && self.notify.status(&line).is_ok() {
            *last = line;
        }
    }
}

/// What runs, and the lines that end it.
struct Daemon {
    sources: Sources,
    /// What runs.
    settings: Settings,
    /// The reload under way.
    reading: Option<reload::Reading>,
    supervisor: Supervisor,
    hooks: Hooks,
    drain_watcher: DrainWatcher,
    /// The threads that end by the stop line and have a last thing to do: a file or a socket to mind.
    others: Vec<JoinHandle<()>>,
    exporter: Option<Sender<Option<Prometheus>>>,
    events: Sender<Event>,
    writer: Option<JoinHandle<WriterEnd>>,
    state: Arc<DaemonState>,
    notify: Arc<ServiceManager>,
    status_line: Arc<StatusLine>,
    /// Pulled to end all threads but the writer.
    stop: StopToken,
    /// Pulled to cut short what the writer runs.
    give_up: StopToken,
    /// Pulled when the writer has ended.
    ended: StopToken,
    /// A signal asked for the end, and neither the watchdog's nor QUIT.
    clean: bool,
}

impl Daemon {
    fn start(
        sources: Sources,
        settings: &Settings,
        notify: Arc<ServiceManager>,
        lines_dropped: Dropped,
    ) -> Result<Daemon, DaemonError> {
        let line = || StopToken::new().map_err(cannot_start("no eventfd can be made"));
        let (stop, give_up, ended) = (line()?, line()?, line()?);
        info!("initialize healthchecker");
        info!("starting {} version {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let state = DaemonState { lines_dropped: Box::new(move || lines_dropped.get()), ..DaemonState::new(settings) };
        let state = Arc::new(state);
        let checks = state.checks.lock().clone();
        let (events, received) = channel();
        let orphans = Arc::<Orphans>::default();
        let (bird, limit) = (state.bird.clone(), give_up.clone());
        let writer = Writer::new(settings, checks.clone(), orphans.clone(), events.clone(), bird, limit);
        let files = state.files.clone();
        let status_line = Arc::new(StatusLine::new(state.clone(), notify.clone()));
        let (at_end, line, told) = (TriggerAtEnd(ended.clone()), status_line.clone(), notify.clone());
        let writer = thread("bird-writer", move || {
            let _at_end = at_end;
            let mut ready = false;
            writer.run(&received, || {
                // The first step has tried to reconfigure BIRD. What systemd does not take is told again with the next.
                ready = ready || told.ready().is_ok();
                line.tell();
            })
        })?;
        let hooks = Hooks::new(orphans.clone(), stop.clone());
        let announcer = Announcer { events: events.clone(), hooks: hooks.clone() };
        let (address_watcher, addresses) = AddressWatcher::start(announcer.clone(), stop.clone())
            .map_err(cannot_start("the assigned addresses cannot be watched"))?;
        let mut drain_watcher = DrainWatcher::new(announcer.clone());
        drain_watcher
            .follow(settings.daemon.drain_file.as_deref(), checks.clone())
            .map_err(cannot_start("no thread can look at the drain files"))?;
        let process_watcher = Watcher::new(stop.clone());
        let mut supervisor = Supervisor::new(Context {
            announcer,
            address_watcher,
            process_watcher,
            orphans,
            start_limiter: StartLimiter::new(),
        });
        supervisor.start(&checks, settings.daemon.splay_startup);
        let watch = file_watch::start(files, events.clone(), stop.clone())
            .map_err(cannot_start("the prefix files cannot be watched"))?;
        let mut others = vec![addresses, watch];
        match server::start(state.clone(), &settings.daemon.status_socket, stop.clone()) {
            Ok(thread) => others.push(thread),
            Err(why) => warn!("{why}"),
        }
        let mut exporter = None;
        if let Some(prometheus) = &settings.daemon.prometheus {
            let (orders, receiver) = channel();
            let thread = exporter::start(state.clone(), prometheus, receiver);
            others.push(thread.map_err(cannot_start("no thread can export the metrics"))?);
            exporter = Some(orders);
        }
        Ok(Daemon {
            sources,
            settings: settings.clone(),
            reading: None,
            supervisor,
            hooks,
            drain_watcher,
            others,
            exporter,
            events,
            writer: Some(writer),
            state,
            notify,
            status_line,
            stop,
            give_up,
            ended,
            clean: false,
        })
    }

    /// Until a signal asks for the end, or a bug brings it.
    ///
    /// `unwritten` says that the pidfile could not be written, which was told.
    fn sleep(
        &mut self,
        signals: &mut Signals,
        log: &mut LogHandle,
        instance: &mut Instance,
        mut unwritten: bool,
    ) -> Result<(), DaemonError> {
        let (mut feeding, mut look) = (None, Instant::now());
        loop {
            let now = Instant::now();
            if feeding.is_none_or(|at| at <= now) {
                feeding = self.notify.watchdog().map(|interval| now + interval / 2);
                if feeding.is_some() && self.writer_makes_progress(now) {
                    // A systemd that does not listen does not expect it either.
                    let _ = self.notify.alive();
                }
            }
            if look <= now {
                let restored = instance.restore();
                match &restored {
                    Ok(true) if unwritten => info!("the pidfile is written now"),
                    Ok(true) => warn!("the pidfile was deleted or replaced; it is put back"),
                    Err(why) if !unwritten => warn!("{why}"),
                    Ok(false) | Err(_) => {}
                }
                unwritten = restored.is_err();
                look = now + if unwritten { AGAIN } else { LOOK };
            }
            if let Some(name) = panicked(&mut self.others) {
                return Err(bug(&format!("the thread {name} died")));
            }
            let until = self.supervisor.poll(now).into_iter().chain(feeding).chain([look]).min();
            let lines: Vec<&StopToken> =
                std::iter::once(&self.ended).chain(self.reading.as_ref().map(|reading| &reading.done)).collect();
            match signals.wait(until, &lines) {
                Wake::Signal(Signal::SIGURG) => self.supervisor.check_now(),
                Wake::Signal(Signal::SIGHUP) => self.begin_reload(),
                Wake::Signal(signal) => {
                    info!("received {signal}");
                    self.clean = !matches!(signal, Signal::SIGABRT | Signal::SIGQUIT);
                    return Ok(());
                }
                Wake::Token(0) => {
                    return Err(bug_of(self.writer.take()).unwrap_or_else(|| bug("the bird-writer ended")))
                }
                Wake::Token(_) => self.finish_reload(log),
                Wake::Deadline => {}
            }
        }
    }

    /// Whether the step that the writer is in, if it is in one, is not overdue.
    fn writer_makes_progress(&self, now: Instant) -> bool {
        self.state.bird.lock().due.is_none_or(|due| due > now)
    }

    /// Has the services leave for which `on_exit` says so, where the end is one at which they do. Whether there are any.
    fn withdraw_leaving(&self) -> bool {
        let checks = self.state.checks.lock().clone();
        let leaving: Vec<_> = checks.iter().filter(|check| self.clean && check.service.withdraw_on_exit).collect();
        if leaving.is_empty() {
            return false;
        }
        let names: Vec<&str> = leaving.iter().map(|check| check.name()).collect();
        info!("going to withdraw {}, as on_exit says", names.join(","));
        // All at once, so that one reconfigure tells of all.
        leaving.iter().for_each(|check| check.leave());
        for check in leaving {
            // Without a receiver the writer has ended.
            let _ = self.events.send(Event::Changed(check.clone()));
        }
        true
    }

    /// Ends all threads, in the order that lets what waits be applied. Fails where a bug came to light meanwhile.
    fn stop(mut self) -> Result<(), DaemonError> {
        let leaving = self.withdraw_leaving();
        drop(self.drain_watcher);
        // As above.
        let _ = self.notify.stopping();
        self.stop.trigger();
        self.supervisor.stop();
        self.exporter = None;
        // Without a receiver the writer has ended.
        let _ = self.events.send(Event::Stop { leaving });
        if !self.ended.wait(if leaving { LEAVE } else { STOP }) {
            match leaving {
                true => error!("BIRD has not confirmed in {LEAVE:?} that services left, as on_exit says"),
                false => warn!(
                    "the bird-writer is cut short by the stop after {STOP:?}: a reconfigure, a custom command or the disk \
                     takes longer"
                ),
            }
            self.give_up.trigger();
            self.ended.wait(LAST_WAIT);
        }
        self.hooks.wait(LAST_WAIT);
        let threads = self.supervisor.into_threads().into_iter().chain(self.others);
        join(threads.collect(), LAST_WAIT);
        // A writer that hangs is not waited for.
        bug_of(self.writer.filter(|_| self.ended.stop_requested())).map_or(Ok(()), Err)
    }
}

/// Waits for the end of threads that were told to stop, no longer than that; what is stuck ends with the process.
fn join(threads: Vec<JoinHandle<()>>, timeout: Duration) {
    let (all_ended, ended) = channel::<()>();
    let join = move || {
        for thread in threads {
            // A panic was told by the thread itself.
            let _ = thread.join();
        }
        drop(all_ended);
    };
    if std::thread::Builder::new().name("join".to_string()).spawn(join).is_ok() {
        // Both the dropped sender and the time-out end the wait.
        let _ = ended.recv_timeout(timeout);
    }
}

/// Has as many checks run at the same time as there are services.
fn allow_descriptors(settings: &Settings) {
    if let Err(why) = startup::raise_descriptor_limit(settings.services.len()) {
        warn!("{why}");
    }
}

/// Pulled whatever ends the thread that holds it.
struct TriggerAtEnd(StopToken);

impl Drop for TriggerAtEnd {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

/// The writer ends of its own accord only where a thread panicked: a check's, or its own.
fn bug_of(writer: Option<JoinHandle<WriterEnd>>) -> Option<DaemonError> {
    let why = match writer?.join() {
        Ok(WriterEnd::Stopped) => return None,
        Ok(WriterEnd::Died { service, why }) => format!("the check thread of {service} died: {why}"),
        Err(_) => "the bird-writer died".to_string(),
    };
    Some(bug(&why))
}

/// The name of a thread that died of a panic, where one did. Those that have ended are let go of.
fn panicked(threads: &mut Vec<JoinHandle<()>>) -> Option<String> {
    let (ended, running) = threads.drain(..).partition(JoinHandle::is_finished);
    *threads = running;
    ended.into_iter().find_map(|thread: JoinHandle<()>| {
        let name = thread.thread().name().unwrap_or_default().to_string();
        thread.join().is_err().then_some(name)
    })
}

fn bug(why: &str) -> DaemonError {
    let why = format!("{why}. This is a bug, and the only way to recover is to start again");
    error!(critical = true, "{why}");
    DaemonError::Died(why)
}

fn thread<T: Send + 'static>(
    name: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, DaemonError> {
    std::thread::Builder::new()
        .name(name.to_string())
        .spawn(run)
        .map_err(cannot_start("no thread can be made for the bird-writer"))
}

/// What may be done where the kernel says no more than that there is no more.
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
    fn a_bug_of_the_writer_or_of_a_check_is_told_whoever_asked_for_the_end() {
        let check = |end: fn() -> WriterEnd, expected: &str| {
            let found = bug_of(Some(std::thread::spawn(end))).map_or_else(String::new, |bug| bug.to_string());
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
        };
        check(|| WriterEnd::Stopped, "");
        check(
            || WriterEnd::Died { service: "a".into(), why: "x".into() },
            "the check thread of a died: x. This is a bug",
        );
        check(|| panic!("a bug, for this test"), "the bird-writer died. This is a bug");
        assert!(bug_of(None).is_none());
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
    fn a_thread_that_panics_is_found_and_one_that_ends_is_let_go_of() {
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
