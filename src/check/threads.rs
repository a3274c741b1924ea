//! All check threads: starts them, orders checks, finds those that are stuck, and sees them end.
//!
//! Promises: a thread that cannot be started (the machine has none left) is tried again until it can, and its service
//! stays unknown meanwhile; a service whose thread is stuck (in the start of a program on a dead file system, say) is
//! declared down, as nobody knows better.
//! Leaves out: what a check thread does (`check::worker`).

use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::check::worker::{self, Common};
use crate::config::settings::Service;
use crate::report::snapshot::{Listed, Published, ServiceReport};

/// How late a look may be to count as being on time, and how soon the next one comes at the earliest.
const ON_TIME: Duration = Duration::from_millis(500);
/// How long to wait before a thread that could not be started is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The check threads of all services.
pub struct Threads {
    common: Common,
    running: Vec<Running>,
    /// Services whose thread could not be started, and when to try again.
    waiting: Vec<Listed>,
    retry: Option<Instant>,
    /// When the next look is due.
    planned: Option<Instant>,
}

struct Running {
    service: Arc<Service>,
    report: Arc<Published<ServiceReport>>,
    /// Dropped to end the thread.
    orders: Arc<Sender<()>>,
    thread: JoinHandle<()>,
}

impl Threads {
    /// None yet.
    pub fn new(common: Common) -> Threads {
        Threads { common, running: Vec::new(), waiting: Vec::new(), retry: None, planned: None }
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

    /// Orders every check to run now. One that runs at this moment runs again after it.
    pub fn check_now(&self) {
        info!("Immediately running all checks");
        for running in &self.running {
            // Without a receiver the thread has ended: its check is disabled, or it died.
            let _ = running.orders.send(());
        }
    }

    /// Does what is due: starts threads that could not be started, declares the services of stuck ones down. Returns when
    /// to look again.
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
            let due = report.due.filter(|_| !report.stuck).map(|due| due.max(now + ON_TIME));
            earliest = earliest.into_iter().chain(due).min();
        }
        self.planned = earliest;
        earliest
    }

    /// Waits for the end of all check threads and of `others`, no longer than `patience`. The stop line is pulled already;
    /// what is stuck ends with the process.
    pub fn end(self, others: Vec<JoinHandle<()>>, patience: Duration) {
        let (all_ended, ended) = channel::<()>();
        let (checks, hooks) = (self.running.into_iter().map(|running| running.thread), self.common.hooks.threads());
        let threads: Vec<JoinHandle<()>> = checks.chain(hooks).chain(others).collect();
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
        for listed in std::mem::take(&mut self.waiting) {
            let (service, report) = &listed;
            debug!("launching thread for {}", service.name);
            let (orders, receiver) = channel();
            let orders = Arc::new(orders);
            let ordering = Arc::downgrade(&orders);
            match worker::start(service.clone(), report.clone(), ordering, receiver, self.common.clone()) {
                Ok(thread) => {
                    report.lock().problem = None;
                    self.running.push(Running { service: service.clone(), report: report.clone(), orders, thread });
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
