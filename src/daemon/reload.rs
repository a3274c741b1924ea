//! The reload: HUP reads the configuration files again and applies the changes.
//!
//! ```text
//!   HUP --> files are read, ----+--> an error: nothing changes; log, status and metrics say so
//!           machine is checked  |
//!                               +--> diff with the running configuration
//!                                      --> log, check threads, bird-writer, exporter
//! ```
//!
//! Guarantees: a reload is all or nothing. A stop during a reload is not delayed by it. A HUP
//! during a reload starts another one after it.
//!
//! Blocking: the main thread waits at most one second for drain files, and for no other disk access
//! and no thread.
//!
//! Out of scope: what changes (`config::diff`), and how each module adopts its change.

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

/// The thread that reads the files. A stop does not wait for it.
pub(super) struct Reading {
    /// Triggered when the files are read.
    pub(super) done: StopToken,
    thread: JoinHandle<Result<Configuration, Vec<Diagnostic>>>,
    /// Whether another HUP arrived since it began.
    is_outdated: bool,
}

impl Reading {
    fn start(sources: &Sources) -> io::Result<Reading> {
        let done = StopToken::new()?;
        let at_end = TriggerAtEnd(done.clone());
        let sources = sources.clone();
        let thread = std::thread::Builder::new().name("reload".into()).spawn(move || {
            let _at_end = at_end;
            let mut configuration = files::load(&sources)?;
            // As at the start: a problem of the machine that can be fixed while the daemon runs
            // refuses nothing.
            let problems = preflight::check(&configuration, Severity::Warning);
            configuration.warnings.extend(problems);
            Ok(configuration)
        })?;
        Ok(Reading { done, thread, is_outdated: false })
    }
}

impl Daemon {
    /// Handles HUP.
    pub(super) fn begin_reload(&mut self) {
        info!("received SIGHUP, reading the configuration again");
        if let Some(reading) = &mut self.reading {
            reading.is_outdated = true;
            return;
        }
        // The READY=1 that ends a reload would end the start early. If systemd does not listen, it
        // does not wait either.
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

    /// Adopts or refuses the configuration that was read.
    pub(super) fn finish_reload(&mut self, log: &mut LogHandle) {
        let Some(Reading { thread, is_outdated, .. }) = self.reading.take() else { return };
        match thread.join() {
            Ok(Ok(configuration)) => {
                configuration.warnings.iter().for_each(|warning| warn!("{warning}"));
                match diff::diff(&self.settings, configuration.settings) {
                    Ok(plan) => self.adopt(plan, log),
                    Err(why) => self.refuse(&[Diagnostic::error(why.to_string())]),
                }
            }
            Ok(Err(problems)) => self.refuse(&problems),
            Err(_) => self.refuse(&[Diagnostic::error("the thread that read the configuration died, which is a bug")]),
        }
        if is_outdated {
            self.begin_reload();
        } else {
            self.end_reload();
        }
    }

    fn end_reload(&self) {
        if self.state.bird.lock().ready {
            self.status_line.update();
            // As above.
            let _ = self.notify.ready();
        }
    }

    /// Logs why, and keeps the running configuration.
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

    /// Replaces the running configuration.
    fn adopt(&mut self, plan: ReloadPlan, log: &mut LogHandle) {
        if plan.settings.daemon.log != self.settings.daemon.log {
            log.reconfigure(&plan.settings.daemon.log);
        }
        for option in &plan.kept {
            warn!("[daemon] {option} cannot change while the daemon runs, it keeps its value until the next start");
        }
        allow_descriptors(&plan.settings);
        // The order matters: first the checks are replaced, then the writer learns of the reload,
        // then drain files are read. The supervisor starts the threads of new checks the next time
        // that it polls.
        let old = self.state.checks.lock().clone();
        let checks = self.supervisor.replace(&old, &plan);
        *self.state.checks.lock() = checks.clone();
        *self.state.configured.lock() = SystemTime::now();
        *self.state.reload_error.lock() = None;
        let reload = Reload { settings: plan.settings.clone(), checks: checks.clone() };
        // Without a receiver the writer has ended; the main thread notices that next.
        let _ = self.events.send(Event::Reload(Box::new(reload)));
        if let Err(why) = self.drain_watcher.follow(plan.settings.daemon.drain_file.as_deref(), checks) {
            error!("cannot look at the drain files: {why}; it is tried again with the next reload");
        }
        self.exports.iter().for_each(|exports| exports.follow(&plan.settings));
        self.export(plan.settings.daemon.prometheus.as_ref());
        info!("the configuration is reloaded: {}", summary(&plan));
        self.settings = plan.settings;
    }

    /// Starts, changes or ends the export of metrics.
    fn export(&mut self, prometheus: Option<&Prometheus>) {
        if self.settings.daemon.prometheus.as_ref() == prometheus && self.exporter.is_some() == prometheus.is_some() {
            return;
        }
        // If sending fails, the thread has ended: start another one.
        if self.exporter.as_ref().is_some_and(|exporter| exporter.send(prometheus.cloned()).is_ok()) {
            self.exporter = self.exporter.take().filter(|_| prometheus.is_some());
            return;
        }
        let Some(prometheus) = prometheus else { return };
        let (updates, receiver) = channel();
        match exporter::start(self.state.clone(), prometheus, receiver) {
            Ok(thread) => {
                self.others.push(thread);
                self.exporter = Some(updates);
            }
            Err(why) => error!("cannot export metrics: {why}; it is tried again with the next reload"),
        }
    }
}

/// Returns `3 services unchanged, 1 changed, 0 new, 0 gone`.
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
