//! All check threads: starts them, replaces those that a reload changes, finds those that are stuck, and sees them end.
//!
//! Promises: a thread that cannot be started (the machine has none left) is tried again until it can, and its service
//! stays unknown meanwhile; a service whose thread is stuck (in the start of a program on a dead file system, say) is
//! declared down, as nobody knows better. A reload touches no thread whose service is the same, and waits for none that
//! it ends.
//!
//! A thread is stuck if it is overdue at a look that was itself on time, and still overdue, without any progress, at the
//! next look that was on time and not at once after the first. After a machine that stood still everything is late, the
//! first look too, and the second finds that the threads have gone on.
//! Leaves out: what a check thread does (`check::worker`).

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::check::reload;
use crate::check::schedule::start_offset;
use crate::check::start_limiter::processors;
use crate::check::worker::{self, Context, FirstRun};
use crate::check::Check;
use crate::config::diff::ReloadPlan;

/// How late a look may be to count as being on time, and how soon the next one counts at the earliest: the main thread
/// looks whenever it wakes, for a signal, say.
const ON_TIME: Duration = Duration::from_millis(500);
/// How long to wait before a thread that could not be started is tried again, and before a process that could not be
/// killed is looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// The check threads of all services.
pub struct Supervisor {
    context: Context,
    running: Vec<CheckThread>,
    /// Checks whose thread could not be started, and when to try again.
    waiting: Vec<Arc<Check>>,
    retry: Option<Instant>,
    /// Threads that a reload has ended and that may still be on their way out.
    leaving: Vec<JoinHandle<()>>,
    /// When the next look is due.
    planned: Option<Instant>,
}

struct CheckThread {
    check: Arc<Check>,
    thread: JoinHandle<()>,
    /// It has been overdue at each look since this one, with no progress.
    suspect: Option<Suspect>,
}

struct Suspect {
    progress: u64,
    since: Instant,
}

impl Supervisor {
    /// No thread yet.
    pub fn new(context: Context) -> Supervisor {
        let (running, waiting, leaving) = (Vec::new(), Vec::new(), Vec::new());
        Supervisor { context, running, waiting, retry: None, leaving, planned: None }
    }

    /// Starts a thread for each check at the start of the daemon, with `splay_startup`.
    pub fn start(&mut self, checks: &Arc<[Arc<Check>]>, splay: Duration) {
        match checks.len() {
            0 => warn!("no service checks are configured"),
            n => info!("going to launch {n} threads"),
        }
        self.context.address_watcher.follow(checks.clone());
        self.waiting.extend(checks.iter().cloned());
        self.start_waiting(Instant::now(), splay);
    }

    /// Works out the checks that follow `old`, and stops the threads of those that the reload replaces or removes. The
    /// threads of new checks start with the next look, so that the writer and the drain watcher can be told of them first.
    pub fn replace(&mut self, old: &[Arc<Check>], change: &ReloadPlan) -> Arc<[Arc<Check>]> {
        // Before their state is taken over: a stopped check changes it no more.
        reload::replaced(old, change).iter().for_each(|check| check.trigger.stop());
        let replacement = reload::replace(old, change);
        let stopped: HashSet<*const Check> = replacement.stop.iter().map(Arc::as_ptr).collect();
        let is_old = |check: &Arc<Check>| stopped.contains(&Arc::as_ptr(check));
        self.waiting.retain(|check| !is_old(check));
        let (old, running): (Vec<CheckThread>, Vec<CheckThread>) =
            self.running.drain(..).partition(|running| is_old(&running.check));
        self.running = running;
        self.leaving.extend(old.into_iter().map(|running| running.thread));
        for service in &change.gone {
            info!("stopping the check of {}, which is configured no longer", service.name);
        }
        self.context.address_watcher.follow(replacement.checks.clone());
        self.waiting.extend(replacement.start.iter().cloned());
        self.retry = Some(Instant::now());
        replacement.checks
    }

    /// Tells all threads to end, and the checks that run.
    pub fn stop(&self) {
        self.running.iter().for_each(|running| running.check.trigger.stop());
    }

    /// Has every check run now. One that runs at this moment runs again after it.
    pub fn check_now(&self) {
        info!("Immediately running all checks");
        self.running.iter().for_each(|running| running.check.trigger.check_now());
    }

    /// Does what is due: starts threads that could not be started, declares the services of stuck ones down, reaps what
    /// could not be killed and has ended. Returns when to look again.
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        if self.retry.is_some_and(|at| at <= now) {
            self.start_waiting(now, Duration::ZERO);
        }
        let on_time = self.planned.is_none_or(|planned| now < planned + ON_TIME);
        let mut earliest = self.retry;
        for running in &mut self.running {
            let next = running.look(&self.context, on_time, now);
            earliest = earliest.into_iter().chain(next).min();
        }
        self.leaving.retain(|thread| !thread.is_finished());
        if !self.leaving.is_empty() || self.context.orphans.reap() > 0 {
            earliest = earliest.into_iter().chain([now + RETRY]).min();
        }
        self.planned = earliest;
        earliest
    }

    /// The threads, to be waited for when they were told to end.
    pub fn into_threads(self) -> Vec<JoinHandle<()>> {
        self.running.into_iter().map(|running| running.thread).chain(self.leaving).collect()
    }

    fn start_waiting(&mut self, now: Instant, splay: Duration) {
        self.retry = None;
        for (n, check) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            debug!("launching thread for {}", check.name());
            let delay = FirstRun { offset: start_offset(n, processors()), splay };
            match worker::start(check.clone(), self.context.clone(), delay) {
                Ok(thread) => {
                    check.state_mut().problem = None;
                    self.running.push(CheckThread { check, thread, suspect: None });
                }
                Err(why) => {
                    let problem = format!("cannot start its check thread: {why}");
                    let known = check.state_mut().problem.replace(problem.clone());
                    if known.as_ref() != Some(&problem) {
                        error!("{}: {problem}; it is tried again", check.name());
                    }
                    self.waiting.push(check);
                    self.retry = Some(now + RETRY);
                }
            }
        }
    }
}

impl CheckThread {
    /// Declares the service down where its thread is stuck. Returns when to look again, also at one that is stuck: it may
    /// come back, and be stuck once more.
    fn look(&mut self, context: &Context, on_time: bool, now: Instant) -> Option<Instant> {
        let state = self.check.state();
        let (deadline, progress) = (state.deadline(), state.thread_progress());
        let down_already = state.is_stuck() || state.drained().is_some();
        drop(state);
        let overdue = deadline.is_some_and(|deadline| now > deadline);
        let suspect = self.suspect.take().filter(|suspect| suspect.progress == progress);
        if overdue && on_time && !down_already {
            let suspect = suspect.unwrap_or(Suspect { progress, since: now });
            if now < suspect.since + ON_TIME {
                self.suspect = Some(suspect);
            } else {
                self.declare_stuck(context, progress);
            }
        }
        match deadline {
            Some(deadline) if !overdue || !down_already => Some(deadline.max(now + ON_TIME)),
            // One that has not begun, or waits for its start, says later when it is due.
            Some(_) | None => self.check.service.disabled.is_none().then_some(now + RETRY),
        }
    }

    fn declare_stuck(&self, context: &Context, progress: u64) {
        let mut state = self.check.state_mut();
        // It may have come back at this very moment.
        if state.thread_progress() != progress || state.drained().is_some() {
            return;
        }
        let change = state.declare_stuck();
        drop(state);
        warn!("{}: status DOWN because its check is stuck", self.check.name());
        context.announcer.announce(&self.check, change);
    }
}

#[cfg(test)]
mod tests;
