//! All check threads: starts them, orders checks, replaces those that a reload changes, finds those that are stuck, and
//! sees them end.
//!
//! Promises: a thread that cannot be started (the machine has none left) is tried again until it can, and its service
//! stays unknown meanwhile; a service whose thread is stuck (in the start of a program on a dead file system, say) is
//! declared down, as nobody knows better. A reload touches no thread whose service is the same, and waits for none that
//! it ends.
//! Leaves out: what a check thread does (`check::worker`).

use std::collections::HashMap;
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::check::gate::processors;
use crate::check::schedule::turn;
use crate::check::worker::{self, Common};
use crate::config::change::{Change, Fate};
use crate::config::settings::Service;
use crate::event::Verdict;
use crate::report::snapshot::{Listed, Published, ServiceReport};
use crate::sys::stop_line::SlackLine;

/// How late a look may be to count as being on time, and how soon the next one comes at the earliest.
const ON_TIME: Duration = Duration::from_millis(500);
/// How long to wait before a thread that could not be started is tried again, and before a process that could not be
/// killed is looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// What a reload leaves of the services that ran.
pub struct Replaced {
    /// All services that are configured now, in their order.
    pub listed: Arc<[Listed]>,
    /// The last word of each check that starts anew.
    pub last_words: Vec<Verdict>,
}

/// The check threads of all services.
pub struct Threads {
    common: Common,
    running: Vec<Running>,
    /// Services whose thread could not be started, and when to try again.
    waiting: Vec<Listed>,
    retry: Option<Instant>,
    /// Threads that a reload has ended and that may still be on their way out.
    leaving: Vec<JoinHandle<()>>,
    /// When the next look is due.
    planned: Option<Instant>,
}

struct Running {
    service: Arc<Service>,
    report: Arc<Published<ServiceReport>>,
    /// Dropped to end the thread.
    orders: Arc<Sender<()>>,
    /// Pulled to end it, and the check that it runs.
    stop: SlackLine,
    thread: JoinHandle<()>,
}

impl Threads {
    /// None yet.
    pub fn new(common: Common) -> Threads {
        let (running, waiting, leaving) = (Vec::new(), Vec::new(), Vec::new());
        Threads { common, running, waiting, retry: None, leaving, planned: None }
    }

    /// Starts one for each of `services`.
    pub fn start(&mut self, services: &[Listed]) {
        match services.len() {
            0 => warn!("no service checks are configured"),
            n => info!("going to launch {n} threads"),
        }
        self.waiting.extend_from_slice(services);
        self.start_waiting(Instant::now());
    }

    /// Puts the services of a reload in the place of those that run: the threads of services that changed or are gone are
    /// told to end, and have said their last word to the writer when this returns. Those of changed and new ones start
    /// with the next look, so that the writer can be told of the reload first.
    pub fn replace(&mut self, change: &Change) -> Replaced {
        let mut running: HashMap<String, Running> =
            self.running.drain(..).map(|running| (running.service.name.clone(), running)).collect();
        let mut waiting: HashMap<String, Listed> =
            self.waiting.drain(..).map(|listed| (listed.0.name.clone(), listed)).collect();
        let (mut listed, mut last_words) = (Vec::new(), Vec::new());
        for (service, fate) in change.settings.services.iter().zip(&change.fates) {
            let runs = running.remove(&service.name);
            let waits = waiting.remove(&service.name);
            let report = match (fate, runs, waits) {
                (Fate::Unchanged, Some(runs), _) => {
                    let report = runs.report.clone();
                    self.running.push(runs);
                    listed.push((service.clone(), report));
                    continue;
                }
                (Fate::Unchanged, None, Some((_, report))) => report,
                (Fate::Changed { gained }, runs, waits) => {
                    let last = runs.map(|runs| self.retire(runs)).or(waits.map(|(_, report)| report.lock().clone()));
                    let report = last.unwrap_or_default().carried_over(service, gained);
                    last_words.push(report.verdict(&service.name.as_str().into()));
                    Arc::new(Published::new(report))
                }
                (Fate::Unchanged | Fate::New, ..) => Arc::default(),
            };
            self.waiting.push((service.clone(), report.clone()));
            listed.push((service.clone(), report));
        }
        for (_, gone) in running {
            info!("stopping the check of {}, which is configured no longer", gone.service.name);
            self.retire(gone);
        }
        self.common.splay = change.settings.daemon.splay_startup;
        self.retry = Some(Instant::now());
        Replaced { listed: listed.into(), last_words }
    }

    /// Tells a thread to end; returns the last that is known of its service.
    fn retire(&mut self, running: Running) -> ServiceReport {
        self.leaving.push(running.thread);
        let report = running.report.lock();
        running.stop.pull();
        report.clone()
    }

    /// Tells all threads to end, and the checks that run.
    pub fn stop(&self) {
        self.running.iter().for_each(|running| running.stop.pull());
    }

    /// Orders every check to run now. One that runs at this moment runs again after it.
    pub fn check_now(&self) {
        info!("Immediately running all checks");
        for running in &self.running {
            // Without a receiver the thread has ended: its check is disabled, or it died.
            let _ = running.orders.send(());
        }
    }

    /// Does what is due: starts threads that could not be started, declares the services of stuck ones down, reaps what
    /// could not be killed and has ended. Returns when to look again.
    pub fn look(&mut self, now: Instant) -> Option<Instant> {
        if self.retry.is_some_and(|at| at <= now) {
            self.start_waiting(now);
        }
        // A machine that stood still for a while makes every thread late, this one too: none of them is stuck then.
        let on_time = self.planned.is_none_or(|planned| now < planned + ON_TIME);
        let mut earliest = self.retry;
        for Running { service, report, .. } in &self.running {
            if on_time {
                worker::declare_stuck(service, report, &self.common, now);
            }
            let report = report.lock();
            // One that has not begun, or waits for its start, says later when it is due.
            let due = report.due.or(service.disabled.is_none().then_some(now + RETRY));
            let due = due.filter(|_| !report.stuck).map(|due| due.max(now + ON_TIME));
            earliest = earliest.into_iter().chain(due).min();
        }
        self.leaving.retain(|thread| !thread.is_finished());
        if !self.leaving.is_empty() || self.common.unkilled.reap() + self.common.hooks.reap() > 0 {
            earliest = earliest.into_iter().chain([now + RETRY]).min();
        }
        self.planned = earliest;
        earliest
    }

    /// Waits for the end of all check threads and of `others`, no longer than `patience`. They are told to stop already;
    /// what is stuck ends with the process.
    pub fn end(self, others: Vec<JoinHandle<()>>, patience: Duration) {
        let (all_ended, ended) = channel::<()>();
        let checks = self.running.into_iter().map(|running| running.thread).chain(self.leaving);
        let threads: Vec<JoinHandle<()>> = checks.chain(self.common.hooks.threads()).chain(others).collect();
        let join = move || {
            for thread in threads {
                // A panic was told by the thread itself.
                let _ = thread.join();
            }
            drop(all_ended);
        };
        if std::thread::Builder::new().name("join".to_string()).spawn(join).is_ok() {
            // Both the dropped sender and the time-out end the wait.
            let _ = ended.recv_timeout(patience);
        }
    }

    fn start_waiting(&mut self, now: Instant) {
        self.retry = None;
        for (n, listed) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            let (service, report) = &listed;
            debug!("launching thread for {}", service.name);
            let (orders, receiver) = channel();
            let orders = Arc::new(orders);
            let stop = SlackLine::default();
            let common = Common { stop: stop.clone(), turn: turn(n, processors()), ..self.common.clone() };
            let ordering = Arc::downgrade(&orders);
            match worker::start(service.clone(), report.clone(), ordering, receiver, common) {
                Ok(thread) => {
                    report.lock().problem = None;
                    let (service, report) = (service.clone(), report.clone());
                    self.running.push(Running { service, report, orders, stop, thread });
                }
                Err(why) => {
                    let problem = format!("cannot start its check thread: {why}");
                    let told = report.lock().problem.replace(problem.clone());
                    if told.as_ref() != Some(&problem) {
                        error!("{}: {problem}; it is tried again", service.name);
                    }
                    self.waiting.push(listed);
                    self.retry = Some(now + RETRY);
                }
            }
        }
        let concerned = self.running.iter().map(|running| (running.service.clone(), Sender::clone(&running.orders)));
        self.common.assignment.concern(concerned.collect());
    }
}

#[cfg(test)]
mod tests;
