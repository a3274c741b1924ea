//! Which prefixes are assigned to which interfaces, for all check threads; and the thread that keeps this true.
//!
//! What checks see are the settled addresses: one that went or came counts as gone or there half a second later, and at
//! that moment the checks it concerns are told. So a network restart, which takes addresses away and puts them back, is
//! seen by no check, whenever it looks; and an address that is gone is withdrawn after half a second, whatever the
//! interval of its check and whether it runs at that moment.
//!
//! Promises: looking costs no system call and waits for nothing but another look. What cannot be learnt stays as it was,
//! and before anything was learnt every prefix counts as assigned: a machine without a descriptor left withdraws nothing
//! for that, and the check's command goes on deciding.
//! Who may block: only the watching thread, on the kernel.
//! Leaves out: what a missing address means (`check::state`).

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use tracing::{info, warn};

use crate::check::announcer::Announcer;
use crate::check::health::State;
use crate::check::Check;
use crate::config::settings::Service;
use crate::log::layer::{with_name, Subject};
use crate::prefix::Prefix;
use crate::sys::mutex::Mutex;
use crate::sys::netlink::{Addresses, Kernel};
use crate::sys::poll::poll_until;
use crate::sys::stop_token::{Stop, StopToken};
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

/// Which addresses are assigned.
pub struct AddressWatcher {
    /// Nothing before the kernel answered for the first time.
    settling: Mutex<Option<Settling>>,
    /// The checks of the running configuration.
    checks: Mutex<Arc<[Arc<Check>]>>,
    stop: StopToken,
}

impl AddressWatcher {
    /// Asks the kernel, and starts the thread that goes on asking. Where the kernel does not answer, the thread tries again.
    ///
    /// # Errors
    /// The thread cannot be created: to be tried again.
    pub fn start(announcer: Announcer, stop: StopToken) -> io::Result<(Arc<AddressWatcher>, JoinHandle<()>)> {
        let checks = Mutex::new(Arc::from([]));
        let address_watcher = Arc::new(AddressWatcher { settling: Mutex::default(), checks, stop });
        let mut watch = Watch { address_watcher: address_watcher.clone(), announcer, kernel: None, failed: false };
        watch.look();
        let thread = std::thread::Builder::new().name("addresses".into()).stack_size(STACK);
        Ok((address_watcher, thread.spawn(move || watch.run())?))
    }

    /// Whether exactly this prefix is assigned to the interface. An interface that does not exist has none.
    pub fn assigned(&self, interface: &str, prefix: &Prefix) -> bool {
        self.settling.lock().as_ref().is_none_or(|settling| settling.settled().has(interface, prefix))
    }

    /// The prefixes of the service that are not assigned to its interface; none where that does not count.
    pub fn missing(&self, service: &Service) -> BTreeSet<Prefix> {
        let Some(interface) = &service.assigned_to else { return BTreeSet::new() };
        service.prefixes.iter().filter(|prefix| !self.assigned(interface, prefix)).copied().collect()
    }

    /// These checks are told from now on when their addresses come and go.
    pub fn follow(&self, checks: Arc<[Arc<Check>]>) {
        *self.checks.lock() = checks;
    }
}

/// The watching thread.
struct Watch {
    address_watcher: Arc<AddressWatcher>,
    announcer: Announcer,
    kernel: Option<Kernel>,
    /// The last look failed, which is said already.
    failed: bool,
}

impl Watch {
    fn run(&mut self) {
        loop {
            let stop = &self.address_watcher.stop;
            let told = match &self.kernel {
                Some(kernel) => {
                    let regularly = Instant::now() + REGULARLY;
                    let due = self.address_watcher.settling.lock().as_ref().and_then(Settling::due);
                    let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(kernel, PollFlags::IN)];
                    poll_until(&mut fds, Some(due.map_or(regularly, |due| due.min(regularly))))
                }
                None => stop.wait(RETRY),
            };
            if told && stop.wait(GATHER) {
                return;
            }
            self.look();
        }
    }

    /// Asks the kernel, and tells the checks of what has settled.
    fn look(&mut self) {
        match self.ask() {
            Ok(seen) => {
                if std::mem::take(&mut self.failed) {
                    info!("the addresses of the interfaces can be read again");
                }
                let mut settling = self.address_watcher.settling.lock();
                let changed = match &mut *settling {
                    Some(settling) => settling.observe(&seen, Instant::now()),
                    None => {
                        *settling = Some(Settling::new(seen));
                        Addresses::default()
                    }
                };
                drop(settling);
                self.tell(&changed);
            }
            Err(error) => {
                self.kernel = None;
                if !std::mem::replace(&mut self.failed, true) {
                    warn!("cannot read the addresses of the interfaces, they count as before, or as assigned: {error}");
                }
            }
        }
    }

    /// An address that has gone is withdrawn at once, whatever its check does at this moment; one that has come has the
    /// check run.
    fn tell(&self, changed: &Addresses) {
        let checks = self.address_watcher.checks.lock().clone();
        for check in checks.iter() {
            let service = &check.service;
            let Some(interface) = &service.assigned_to else { continue };
            if service.prefixes.iter().any(|prefix| changed.has(interface, prefix)) {
                self.withdraw(check, interface);
                check.trigger.check_now();
            }
        }
    }

    fn withdraw(&self, check: &Arc<Check>, interface: &str) {
        let service = &check.service;
        let (change, new) = check.state_mut().addresses_gone(service, self.address_watcher.missing(service));
        let lines = || {
            if !new.is_empty() {
                warn!("{} isn't assigned to {interface} interface", list(&new));
            }
            if change.states.is_some_and(|[_, new]| new == State::Down) {
                warn!(status = %State::Down, "{}", not_assigned(&service.prefixes, service));
            }
        };
        with_name(Subject::from(&**service), lines);
        self.announcer.announce(check, change);
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

/// The original's sentence on a service that has lost its last address.
pub(super) fn not_assigned<'a>(missing: impl IntoIterator<Item = &'a Prefix>, service: &Service) -> String {
    format!("status DOWN because {} isn't assigned to {} interface.", list(missing), service.interface)
}

/// The prefixes as the original lists them in a sentence.
pub(super) fn list<'a>(prefixes: impl IntoIterator<Item = &'a Prefix>) -> String {
    prefixes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
