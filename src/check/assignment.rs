//! Which prefixes are assigned to which interfaces, for all check threads; and the thread that keeps this true.
//!
//! What checks see are the settled addresses: one that went or came counts as gone or there half a second later, and at
//! that moment the checks it concerns are woken. So a network restart, which takes addresses away and puts them back,
//! is seen by no check, whenever it looks; and an address that is gone is withdrawn after half a second, whatever the
//! interval of its check, or when the check that runs at that moment has ended.
//!
//! Promises: looking costs no system call and waits for nothing but another look. What cannot be learnt stays as it was,
//! and before anything was learnt every prefix counts as assigned: a machine without a descriptor left withdraws nothing
//! for that, and the check's command goes on deciding. Once the stop line is pulled the watching thread holds no
//! sender any more, and takes none.
//! Who may block: only the watching thread, on the kernel.
//! Leaves out: what a missing address means (`check::worker`).

use std::io;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use tracing::{info, warn};

use crate::config::settings::Service;
use crate::prefix::Prefix;
use crate::report::snapshot::Published;
use crate::sys::addresses::{Addresses, Kernel};
use crate::sys::poll::poll_until;
use crate::sys::stop_line::{Stop, StopLine};
use settling::Settling;

mod settling;

/// How long changes are gathered before the kernel is asked what changed.
const GATHER: Duration = Duration::from_millis(20);
/// How often the kernel is asked though it told of no change.
const REGULARLY: Duration = Duration::from_secs(60);
/// How often it is asked again where it did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// For the thread: it calls nothing deep.
const STACK: usize = 256 * 1024;

/// A service and the orders of its check thread.
pub type Concerned = (Arc<Service>, Sender<()>);

/// Which addresses are assigned.
#[derive(Debug)]
pub struct Assignment {
    /// Nothing before the kernel answered for the first time.
    settling: Published<Option<Settling>>,
    concerned: Published<Vec<Concerned>>,
    stop: StopLine,
}

impl Assignment {
    /// Asks the kernel, and starts the thread that goes on asking. Where the kernel does not answer, the thread tries again.
    ///
    /// # Errors
    /// The thread cannot be created: to be tried again.
    pub fn start(stop: StopLine) -> io::Result<(Arc<Assignment>, JoinHandle<()>)> {
        let assignment = Arc::new(Assignment { settling: Published::default(), concerned: Published::default(), stop });
        let mut watch = Watch { assignment: assignment.clone(), kernel: None, failed: false };
        watch.look();
        let thread = std::thread::Builder::new().name("addresses".into()).stack_size(STACK);
        Ok((assignment, thread.spawn(move || watch.run())?))
    }

    /// Whether exactly this prefix is assigned to the interface. An interface that does not exist has none.
    pub fn assigned(&self, interface: &str, prefix: &Prefix) -> bool {
        self.settling.lock().as_ref().is_none_or(|settling| settling.settled().has(interface, prefix))
    }

    /// Who is to be woken from now on: each service's check, when one of its prefixes comes or goes.
    ///
    /// The list holds a sender of each thread's orders, so a thread that is to end has to be taken out of it too.
    pub fn concern(&self, services: Vec<Concerned>) {
        let mut concerned = self.concerned.lock();
        // Under the lock, as the watching thread drops the list when it stops: either it or this sees the other's deed.
        *concerned = if self.stop.is_pulled() { Vec::new() } else { services };
    }

    fn wake(&self, changed: &Addresses) {
        for (service, orders) in &*self.concerned.lock() {
            let Some(interface) = &service.assigned_to else { continue };
            if service.prefixes.iter().any(|prefix| changed.has(interface, prefix)) {
                // A disabled check has no thread.
                let _ = orders.send(());
            }
        }
    }
}

/// The watching thread.
struct Watch {
    assignment: Arc<Assignment>,
    kernel: Option<Kernel>,
    /// The last look failed, which is said already.
    failed: bool,
}

impl Watch {
    fn run(&mut self) {
        loop {
            let stop = &self.assignment.stop;
            let told = match &self.kernel {
                Some(kernel) => {
                    let regularly = Instant::now() + REGULARLY;
                    let due = self.assignment.settling.lock().as_ref().and_then(Settling::due);
                    let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(kernel, PollFlags::IN)];
                    poll_until(&mut fds, Some(due.map_or(regularly, |due| due.min(regularly))))
                }
                None => stop.wait(RETRY),
            };
            if told && stop.wait(GATHER) {
                self.assignment.concerned.lock().clear();
                return;
            }
            self.look();
        }
    }

    /// Asks the kernel, publishes what has settled and wakes whom it concerns.
    fn look(&mut self) {
        match self.ask() {
            Ok(seen) => {
                if std::mem::take(&mut self.failed) {
                    info!("the addresses of the interfaces can be read again");
                }
                let mut settling = self.assignment.settling.lock();
                let changed = match &mut *settling {
                    Some(settling) => settling.observe(&seen, Instant::now()),
                    None => {
                        *settling = Some(Settling::new(seen));
                        Addresses::default()
                    }
                };
                drop(settling);
                self.assignment.wake(&changed);
            }
            Err(error) => {
                self.kernel = None;
                if !std::mem::replace(&mut self.failed, true) {
                    warn!("cannot read the addresses of the interfaces, they count as before, or as assigned: {error}");
                }
            }
        }
    }

    fn ask(&mut self) -> io::Result<Addresses> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            None => self.kernel.insert(Kernel::open()?),
        };
        kernel.take_changes()?;
        kernel.addresses()
    }
}

#[cfg(test)]
mod tests;
