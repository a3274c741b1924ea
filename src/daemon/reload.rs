//! The reload: on HUP the files are read again, and what they change is done.
//!
//! ```text
//!   HUP --> files are read, --+--> an error: nothing changes; log, status and metrics say so
//!           machine is judged |
//!                             +--> compared with what runs --> log, check threads, bird-writer, exporter
//! ```
//!
//! Promises: all or nothing; the main thread waits for no disk (but a second at most for drain files) and for no thread, and a stop that comes while the files
//! are read is not held up by that; a HUP that comes meanwhile has them read once more.
//! Leaves out: what changes (`config::diff`), and how each room changes it.

use std::io;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::SystemTime;

use tracing::{error, info, warn};

use super::{allow_descriptors, Daemon, TriggerAtEnd};
use crate::check::event::{Event, Reload};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::diff::{self, ReloadPlan, ServiceChange};
use crate::config::files::{self, Configuration, Sources};
use crate::config::preflight;
use crate::config::settings::Prometheus;
use crate::log::targets::LogHandle;
use crate::report::exporter;
use crate::sys::stop_token::StopToken;

/// The thread that reads the files. It is not waited for at a stop.
pub(super) struct Reading {
    /// Pulled when it has.
    pub(super) done: StopToken,
    thread: JoinHandle<Result<Configuration, Vec<Diagnostic>>>,
    /// Another HUP came since it began.
    again: bool,
}

impl Reading {
    fn start(sources: &Sources) -> io::Result<Reading> {
        let (done, sources) = (StopToken::new()?, sources.clone());
        let at_end = TriggerAtEnd(done.clone());
        let thread = std::thread::Builder::new().name("reload".into()).spawn(move || {
            let _at_end = at_end;
            let mut configuration = files::load(&sources)?;
            // As at the start: what may come right while the daemon runs is no reason to refuse.
            let found = preflight::check(&configuration, Severity::Warning);
            configuration.warnings.extend(found);
            Ok(configuration)
        })?;
        Ok(Reading { done, thread, again: false })
    }
}

impl Daemon {
    /// HUP came.
    pub(super) fn begin_reload(&mut self) {
        info!("received SIGHUP, reading the configuration again");
        if let Some(reading) = &mut self.reading {
            reading.again = true;
            return;
        }
        // Before the start is over READY=1 would say that it is. A systemd that does not listen does not wait either.
        if self.state.bird.lock().ready {
            let _ = self.notify.reloading();
        }
        match Reading::start(&self.sources) {
            Ok(reading) => self.reading = Some(reading),
            Err(why) => {
                self.refuse(&[Diagnostic::error(format!("the configuration cannot be read: {why}"))]);
                self.end_reload();
            }
        }
    }

    /// The files are read.
    pub(super) fn finish_reload(&mut self, log: &mut LogHandle) {
        let Some(Reading { thread, again, .. }) = self.reading.take() else { return };
        match thread.join() {
            Ok(Ok(configuration)) => {
                configuration.warnings.iter().for_each(|warning| warn!("{warning}"));
                match diff::diff(&self.settings, configuration.settings) {
                    Ok(change) => self.adopt(change, log),
                    Err(why) => self.refuse(&[Diagnostic::error(why.to_string())]),
                }
            }
            Ok(Err(problems)) => self.refuse(&problems),
            Err(_) => self.refuse(&[Diagnostic::error("the thread that read the configuration died, which is a bug")]),
        }
        if again {
            self.begin_reload();
        } else {
            self.end_reload();
        }
    }

    fn end_reload(&self) {
        if self.state.bird.lock().ready {
            self.status_line.tell();
            // As above.
            let _ = self.notify.ready();
        }
    }

    /// The running configuration stays.
    fn refuse(&mut self, problems: &[Diagnostic]) {
        for problem in problems {
            match problem.severity {
                Severity::Error => error!("{problem}"),
                Severity::Warning => warn!("{problem}"),
            }
        }
        error!("the reload is refused, the configuration that runs stays as it is");
        let mut errors = problems.iter().filter(|problem| problem.is_error());
        let first = errors.next().map(ToString::to_string).unwrap_or_default();
        *self.state.reload_error.lock() = Some(match errors.count() {
            0 => first,
            more => format!("{first} (and {more} more, see the log)"),
        });
    }

    /// Goes on with another configuration.
    fn adopt(&mut self, change: ReloadPlan, log: &mut LogHandle) {
        if change.settings.daemon.log != self.settings.daemon.log {
            log.reconfigure(&change.settings.daemon.log);
        }
        for option in &change.kept {
            warn!("[daemon] {option} cannot change while the daemon runs, it keeps its value until the next start");
        }
        allow_descriptors(&change.settings);
        // In this order: the checks that go on or end are settled, the writer hears of the reload, drain_watcher are looked at, and
        // the threads of new checks begin (with the next look at them).
        let old = self.state.checks.lock().clone();
        let checks = self.supervisor.replace(&old, &change);
        *self.state.checks.lock() = checks.clone();
        *self.state.configured.lock() = SystemTime::now();
        *self.state.reload_error.lock() = None;
        let reload = Reload { settings: change.settings.clone(), checks: checks.clone() };
        // Without a receiver the writer has ended, which the main thread is about to see.
        let _ = self.events.send(Event::Reload(Box::new(reload)));
        if let Err(why) = self.drain_watcher.follow(change.settings.daemon.drain_file.as_deref(), checks) {
            error!("cannot look at the drain files: {why}; it is tried again with the next reload");
        }
        self.export(change.settings.daemon.prometheus.as_ref());
        info!("the configuration is reloaded: {}", summary(&change));
        self.settings = change.settings;
    }

    /// Has the exporter go on with other settings, begin, or end.
    fn export(&mut self, prometheus: Option<&Prometheus>) {
        if self.settings.daemon.prometheus.as_ref() == prometheus && self.exporter.is_some() == prometheus.is_some() {
            return;
        }
        // With a thread, or one that cannot be reached any more because it has ended.
        if self.exporter.as_ref().is_some_and(|exporter| exporter.send(prometheus.cloned()).is_ok()) {
            self.exporter = self.exporter.take().filter(|_| prometheus.is_some());
            return;
        }
        let Some(prometheus) = prometheus else { return };
        let (orders, receiver) = channel();
        match exporter::start(self.state.clone(), prometheus, receiver) {
            Ok(thread) => {
                self.others.push(thread);
                self.exporter = Some(orders);
            }
            Err(why) => error!("cannot export metrics: {why}; it is tried again with the next reload"),
        }
    }
}

/// `3 services unchanged, 1 changed, 0 new, 0 gone`
fn summary(ReloadPlan { service_changes, gone, .. }: &ReloadPlan) -> String {
    let count = |which: fn(&ServiceChange) -> bool| service_changes.iter().filter(|fate| which(fate)).count();
    format!(
        "{} services unchanged, {} changed, {} new, {} gone",
        count(|fate| matches!(fate, ServiceChange::Unchanged)),
        count(|fate| matches!(fate, ServiceChange::Changed { .. })),
        count(|fate| matches!(fate, ServiceChange::New)),
        gone.len()
    )
}
