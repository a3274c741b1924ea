//! Knows which prefixes are assigned to which interfaces, for all check threads.
//!
//! Checks see the settled addresses: an address that comes or goes counts half a second later, and
//! at that moment the checks it affects are triggered. So no check notices a network restart, which
//! removes addresses and adds them again; and an address that is gone is withdrawn after half a
//! second, whatever the interval of its check and even while it runs.
//!
//! Guarantees: a query needs no system call and waits only for other queries. If the kernel cannot
//! be asked, the addresses stay as they were; before the first answer every prefix counts as
//! assigned. So a host without a free descriptor withdraws nothing for that reason, and the check
//! command still decides.
//!
//! Blocking: only the watching thread blocks, on the kernel.
//!
//! Shutdown: the stop token ends the watching thread.
//!
//! Out of scope: the effect of a missing address (`check::state`).

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
use crate::log::layer::{with_subject, Subject};
use crate::prefix::Prefix;
use crate::sys::log_once::LogOnce;
use crate::sys::mutex::Mutex;
use crate::sys::netlink::{Addresses, Netlink};
use crate::sys::poll::poll_until;
use crate::sys::stop_token::{Stop, StopToken};
use settling::Settling;

mod settling;

/// How long changes are collected before the addresses are read.
const COALESCE_WINDOW: Duration = Duration::from_millis(20);
/// How often the addresses are read although the kernel reported no change.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// How long to wait after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The stack size of the thread, whose calls are not deep.
const STACK_SIZE: usize = 256 * 1024;

/// The addresses that are assigned, and the checks that depend on them.
pub struct AddressWatcher {
    /// None before the first answer of the kernel.
    settling: Mutex<Option<Settling>>,
    /// The checks of the running configuration.
    checks: Mutex<Arc<[Arc<Check>]>>,
    stop: StopToken,
}

impl AddressWatcher {
    /// Reads the addresses, and starts the thread that keeps them up to date. If the kernel cannot
    /// be asked, the thread retries.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(announcer: Announcer, stop: StopToken) -> io::Result<(Arc<AddressWatcher>, JoinHandle<()>)> {
        let checks = Mutex::new(Arc::from([]));
        let address_watcher = Arc::new(AddressWatcher { settling: Mutex::default(), checks, stop });
        let mut refresher =
            Refresher { address_watcher: address_watcher.clone(), announcer, kernel: None, problem: LogOnce::new() };
        refresher.refresh();
        let thread = std::thread::Builder::new().name("addresses".into()).stack_size(STACK_SIZE);
        Ok((address_watcher, thread.spawn(move || refresher.run())?))
    }

    /// Whether exactly this prefix is assigned to the interface. An interface that does not exist
    /// has none.
    pub fn assigned(&self, interface: &str, prefix: &Prefix) -> bool {
        self.settling.lock().as_ref().is_none_or(|settling| settling.settled().has(interface, prefix))
    }

    /// The prefixes of the service that are not assigned to its interface. Empty if its addresses
    /// are not checked.
    pub fn missing(&self, service: &Service) -> BTreeSet<Prefix> {
        let Some(interface) = &service.assigned_to else { return BTreeSet::new() };
        service.prefixes.iter().filter(|prefix| !self.assigned(interface, prefix)).copied().collect()
    }

    /// Replaces the checks that are triggered when their addresses come and go.
    pub fn follow(&self, checks: Arc<[Arc<Check>]>) {
        *self.checks.lock() = checks;
    }
}

/// The state of the watching thread.
struct Refresher {
    address_watcher: Arc<AddressWatcher>,
    announcer: Announcer,
    kernel: Option<Netlink>,
    /// Why the addresses cannot be read.
    problem: LogOnce,
}

impl Refresher {
    fn run(&mut self) {
        loop {
            let stop = &self.address_watcher.stop;
            let woken = match &self.kernel {
                Some(kernel) => {
                    let refresh_at = Instant::now() + REFRESH_INTERVAL;
                    let due = self.address_watcher.settling.lock().as_ref().and_then(Settling::due);
                    let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(kernel, PollFlags::IN)];
                    poll_until(&mut fds, Some(due.map_or(refresh_at, |due| due.min(refresh_at))))
                }
                None => stop.wait(RETRY_INTERVAL),
            };
            if woken && stop.wait(COALESCE_WINDOW) {
                return;
            }
            self.refresh();
        }
    }

    /// Reads the addresses, and notifies the checks of those that have settled.
    fn refresh(&mut self) {
        match self.read() {
            Ok(current) => {
                if self.problem.clear() {
                    info!("the addresses of the interfaces can be read again");
                }
                let mut settling = self.address_watcher.settling.lock();
                let changed = match &mut *settling {
                    Some(settling) => settling.observe(&current, Instant::now()),
                    None => {
                        *settling = Some(Settling::new(current));
                        Addresses::default()
                    }
                };
                drop(settling);
                self.notify(&changed);
            }
            Err(error) => {
                self.kernel = None;
                if self.problem.set(&error.to_string()) {
                    warn!("cannot read the addresses of the interfaces, they count as before, or as assigned: {error}");
                }
            }
        }
    }

    /// Withdraws the addresses that have gone, whatever their checks are doing, and triggers all
    /// affected checks.
    fn notify(&self, changed: &Addresses) {
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
        with_subject(Subject::from(&**service), lines);
        self.announcer.announce(check, change);
    }

    /// Reads the addresses of all interfaces from the kernel.
    fn read(&mut self) -> io::Result<Addresses> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            None => self.kernel.insert(Netlink::open()?),
        };
        kernel.take_changes()?;
        kernel.addresses()
    }
}

/// The original's log line about a service that has lost its last address.
pub(super) fn not_assigned<'a>(missing: impl IntoIterator<Item = &'a Prefix>, service: &Service) -> String {
    format!("status DOWN because {} isn't assigned to {} interface.", list(missing), service.interface)
}

/// Lists prefixes as in the log lines of the original.
pub(super) fn list<'a>(prefixes: impl IntoIterator<Item = &'a Prefix>) -> String {
    prefixes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
