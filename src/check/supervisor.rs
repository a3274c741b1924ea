//! Supervises the check threads: starts them, replaces those that a reload changes, and declares
//! services down whose thread is stuck.
//!
//! Guarantees: a thread that cannot be started, because the system has no more, is retried until it
//! can; its service stays unknown meanwhile. A service whose thread is stuck, for example while
//! starting a program on a dead file system, is declared down. A reload does not touch the thread
//! of an unchanged service, and does not wait for the threads that it stops.
//!
//! A thread counts as stuck if it is overdue at two polls with no progress in between, both of
//! which were on time and some time apart. After the machine was suspended everything is late,
//! including the first poll; by the second the threads have made progress.
//!
//! Blocking: nothing here blocks. The main thread calls it.
//!
//! Out of scope: what a check thread does (`check::worker`).

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::check::reload;
use crate::check::schedule::start_offset;
use crate::check::start_limiter::processors;
use crate::check::worker::{self, Context, StartDelay};
use crate::check::Check;
use crate::config::diff::ReloadPlan;

/// How late a poll may be and still count as on time. It is also the minimum distance of two polls
/// that count, as the main thread polls whenever it wakes, for example for a signal.
const POLL_TOLERANCE: Duration = Duration::from_millis(500);
/// How long to wait before a thread that could not be started is retried, and before orphans are
/// polled again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The check threads of all services.
pub struct Supervisor {
    context: Context,
    running: Vec<CheckThread>,
    /// Checks whose thread has not been started yet.
    pending: Vec<Arc<Check>>,
    /// When to start the pending threads.
    start_pending_at: Option<Instant>,
    /// Threads that a reload has told to stop and that may not have ended yet.
    stopping: Vec<JoinHandle<()>>,
    /// When the next poll is due.
    next_poll: Option<Instant>,
}

struct CheckThread {
    check: Arc<Check>,
    thread: JoinHandle<()>,
    /// The thread was overdue at the last poll, and still is unless it makes progress.
    suspect: Option<Suspect>,
}

/// A thread that is overdue.
struct Suspect {
    /// The progress of the thread when it was found overdue.
    progress: u64,
    /// When it was found overdue.
    since: Instant,
}

impl Supervisor {
    /// Creates a supervisor without threads.
    pub fn new(context: Context) -> Supervisor {
        Supervisor {
            context,
            running: Vec::new(),
            pending: Vec::new(),
            start_pending_at: None,
            stopping: Vec::new(),
            next_poll: None,
        }
    }

    /// Starts a thread for each check when the daemon starts. `splay` is `splay_startup`.
    pub fn start(&mut self, checks: &Arc<[Arc<Check>]>, splay: Duration) {
        match checks.len() {
            0 => warn!("no service checks are configured"),
            n => info!("going to launch {n} threads"),
        }
        self.context.address_watcher.follow(checks.clone());
        self.pending.extend(checks.iter().cloned());
        self.start_pending(Instant::now(), splay);
    }

    /// Returns the checks that replace `old`, and stops the threads of those that the reload
    /// changes or removes. The threads of new checks start with the next poll, so that the writer
    /// and the drain watcher know of them first.
    pub fn replace(&mut self, old: &[Arc<Check>], change: &ReloadPlan) -> Arc<[Arc<Check>]> {
        // Stopped before their state is copied: a stopped check changes its state no more.
        reload::replaced(old, change).iter().for_each(|check| check.trigger.stop());
        let replacement = reload::replace(old, change);
        let replaced: HashSet<*const Check> = replacement.stop.iter().map(Arc::as_ptr).collect();
        let is_old = |check: &Arc<Check>| replaced.contains(&Arc::as_ptr(check));
        self.pending.retain(|check| !is_old(check));
        let stopping = self.running.extract_if(.., |running| is_old(&running.check));
        self.stopping.extend(stopping.map(|running| running.thread));
        for service in &change.gone {
            info!("stopping the check of {}, which is configured no longer", service.name);
        }
        self.context.address_watcher.follow(replacement.checks.clone());
        self.pending.extend(replacement.start.iter().cloned());
        self.start_pending_at = Some(Instant::now());
        replacement.checks
    }

    /// Stops all threads, and kills the checks that run.
    pub fn stop(&self) {
        self.running.iter().for_each(|running| running.check.trigger.stop());
    }

    /// Runs every check now. A check that is running runs once more afterwards.
    pub fn check_now(&self) {
        info!("Immediately running all checks");
        self.running.iter().for_each(|running| running.check.trigger.check_now());
    }

    /// Does what is due: starts pending threads, declares services with a stuck thread down, reaps
    /// orphans that have ended. Returns when to poll again.
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        if self.start_pending_at.is_some_and(|at| at <= now) {
            self.start_pending(now, Duration::ZERO);
        }
        let on_time = self.next_poll.is_none_or(|due| now < due + POLL_TOLERANCE);
        let mut earliest = self.start_pending_at;
        for running in &mut self.running {
            let next = running.poll(&self.context, on_time, now);
            earliest = earliest.into_iter().chain(next).min();
        }
        self.stopping.retain(|thread| !thread.is_finished());
        if !self.stopping.is_empty() || self.context.orphans.reap() > 0 {
            earliest = earliest.into_iter().chain([now + RETRY_INTERVAL]).min();
        }
        self.next_poll = earliest;
        earliest
    }

    /// Hands out the threads, to be joined after [`Supervisor::stop`].
    pub fn into_threads(self) -> Vec<JoinHandle<()>> {
        self.running.into_iter().map(|running| running.thread).chain(self.stopping).collect()
    }

    fn start_pending(&mut self, now: Instant, splay: Duration) {
        self.start_pending_at = None;
        for (n, check) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            debug!("launching thread for {}", check.name());
            let delay = StartDelay { offset: start_offset(n, processors()), splay };
            match worker::start(check.clone(), self.context.clone(), delay) {
                Ok(thread) => {
                    check.state_mut().problem = None;
                    self.running.push(CheckThread { check, thread, suspect: None });
                }
                Err(why) => {
                    let problem = format!("cannot start its check thread: {why}");
                    let logged = check.state_mut().problem.replace(problem.clone());
                    if logged.as_ref() != Some(&problem) {
                        error!("{}: {problem}; it is tried again", check.name());
                    }
                    self.pending.push(check);
                    self.start_pending_at = Some(now + RETRY_INTERVAL);
                }
            }
        }
    }
}

impl CheckThread {
    /// Declares the service down if its thread is stuck. Returns when to poll again; also for a
    /// stuck thread, as it may come back and be stuck once more.
    fn poll(&mut self, context: &Context, on_time: bool, now: Instant) -> Option<Instant> {
        let state = self.check.state();
        let (deadline, progress) = (state.deadline(), state.thread_progress());
        let is_down_already = state.is_stuck() || state.drained().is_some();
        drop(state);
        let overdue = deadline.is_some_and(|deadline| now > deadline);
        let suspect = self.suspect.take().filter(|suspect| suspect.progress == progress);
        if overdue && on_time && !is_down_already {
            let suspect = suspect.unwrap_or(Suspect { progress, since: now });
            if now < suspect.since + POLL_TOLERANCE {
                self.suspect = Some(suspect);
            } else {
                self.declare_stuck(context, progress);
            }
        }
        match deadline {
            Some(deadline) if !overdue || !is_down_already => Some(deadline.max(now + POLL_TOLERANCE)),
            // The thread has not begun, or waits for a permit: it sets its deadline later.
            Some(_) | None => self.check.service.disabled.is_none().then_some(now + RETRY_INTERVAL),
        }
    }

    fn declare_stuck(&self, context: &Context, progress: u64) {
        let mut state = self.check.state_mut();
        // The thread may have made progress since it was polled.
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
