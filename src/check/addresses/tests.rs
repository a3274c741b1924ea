//! Tests with real interfaces, in a network namespace of their own.

use std::sync::mpsc::{channel, Receiver};

use super::settling::SETTLE_TIME;
use super::*;
use crate::check::event::Event;
use crate::check::hook::Hooks;
use crate::check::trigger::Wakeup;
use crate::check::worker::tests::service;
use crate::config::settings::OnDisabled;
use crate::drain_file::DrainEnd;
use crate::testing::isolated::{in_own_network, sh, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// A running address watcher, the receiver of its hints, and what stops it.
struct Started {
    address_watcher: Arc<AddressWatcher>,
    events: Receiver<Event>,
    stop: StopToken,
    thread: JoinHandle<()>,
}

impl Started {
    fn new() -> Started {
        Started::with(StopToken::new().unwrap())
    }

    fn with(stop: StopToken) -> Started {
        let (sender, events) = channel();
        let hooks = Hooks::new(Arc::default(), stop.clone());
        let (address_watcher, thread) =
            AddressWatcher::start(Announcer { events: sender, hooks }, stop.clone()).unwrap();
        Started { address_watcher, events, stop, thread }
    }

    fn follow(&self, checks: &[&Arc<Check>]) {
        self.address_watcher.follow(checks.iter().copied().cloned().collect());
    }

    /// The names of the checks of the hints received so far.
    fn hints(&self) -> Vec<String> {
        let name = |event| match event {
            Event::Changed(check) => check.name().to_string(),
            event => panic!("{event:?}"),
        };
        self.events.try_iter().map(name).collect()
    }

    fn assigned(&self, interface: &str, prefix: &str) -> bool {
        self.address_watcher.assigned(interface, &prefix.parse().unwrap())
    }

    fn stop(self) {
        self.stop.trigger();
        self.thread.join().unwrap();
    }
}

/// Creates the check of a service that is up and has these prefixes on an interface.
fn check_on(name: &str, interface: &str, prefixes: &[&str]) -> Arc<Check> {
    let mut service = Service { name: name.into(), ..service("true") };
    service.prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    service.assigned_to = Some(interface.to_string());
    let check = Check::new(Arc::new(service));
    let _ = check.state_mut().decide(OnDisabled::Advertise);
    Arc::new(check)
}

/// Waits until the check is triggered.
fn expect_trigger(check: &Check) {
    assert_eq!(check.trigger.wait_until(Instant::now() + MINUTE), Wakeup::CheckNow);
}

fn is_triggered(check: &Check) -> bool {
    check.trigger.wait_until(Instant::now()) == Wakeup::CheckNow
}

/// The state and the missing prefixes.
fn state_and_missing(check: &Check) -> (State, String) {
    let state = check.state();
    (state.state(), list(state.missing()))
}

#[test]
fn the_first_answer_counts_at_once() {
    if in_own_network("check::addresses::tests::the_first_answer_counts_at_once") {
        sh("ip address add 10.9.0.1/32 dev lo label lo:any");
        let started = Started::new();
        assert!(started.assigned("lo", "10.9.0.1/32"));
        assert!(!started.assigned("lo", "10.9.0.2/32"));
        assert!(!started.assigned("none", "10.9.0.1/32"));
        started.stop();
    }
}

#[test]
fn a_settled_change_triggers_the_affected_check_once() {
    if !in_own_network("check::addresses::tests::a_settled_change_triggers_the_affected_check_once") {
        return;
    }
    sh("ip address add 10.9.0.1/32 dev lo; ip address add fd00::2/128 dev lo");
    let started = Started::new();
    // These are other names of lo.
    let one = check_on("one", "lo:1", &["10.9.0.1/32"]);
    let two = check_on("two", "if1", &["10.9.0.2/32", "fd00::2/128"]);
    started.follow(&[&one, &two]);
    for (change, affected, prefix, assigned) in [
        ("ip address del 10.9.0.1/32 dev lo", &one, "10.9.0.1/32", false),
        ("ip address add 10.9.0.1/32 dev lo", &one, "10.9.0.1/32", true),
        ("ip address del fd00::2/128 dev lo", &two, "fd00::2/128", false),
        ("ip address add 10.9.0.2/32 dev lo", &two, "10.9.0.2/32", true),
        ("ip address add 10.9.0.3/32 dev lo; ip address del 10.9.0.2/32 dev lo", &two, "10.9.0.2/32", false),
    ] {
        let before = Instant::now();
        sh(change);
        expect_trigger(affected);
        assert!(before.elapsed() >= SETTLE_TIME, "{change}");
        assert_eq!(started.assigned("lo", prefix), assigned, "{change}");
        assert!(!is_triggered(&one) && !is_triggered(&two), "{change}: no other check, and only once");
    }
    // Another list replaces the first.
    started.follow(&[&one]);
    sh("ip address add 10.9.0.2/32 dev lo; ip address del 10.9.0.1/32 dev lo");
    expect_trigger(&one);
    wait_until("the other address", || started.assigned("lo", "10.9.0.2/32"));
    assert!(!is_triggered(&two));
    started.stop();
}

/// None of these checks has a thread.
#[test]
fn an_address_that_goes_is_withdrawn_without_a_run_of_the_check() {
    if !in_own_network("check::addresses::tests::an_address_that_goes_is_withdrawn_without_a_run_of_the_check") {
        return;
    }
    sh("for n in 1 2 3; do ip address add 10.9.0.$n/32 dev lo; done");
    let started = Started::new();
    let one = check_on("one", "lo", &["10.9.0.1/32", "10.9.0.2/32"]);
    let drained = check_on("drained", "lo", &["10.9.0.1/32"]);
    let _ = drained.state_mut().drain("/run/drain".into(), DrainEnd::Never);
    started.follow(&[&one, &drained]);
    sh("ip address del 10.9.0.1/32 dev lo");
    expect_trigger(&one);
    assert_eq!(state_and_missing(&one), (State::Up, "10.9.0.1/32".into()));
    // An address that comes only triggers the check, which decides.
    sh("ip address add 10.9.0.1/32 dev lo");
    expect_trigger(&one);
    assert_eq!(state_and_missing(&one), (State::Up, "10.9.0.1/32".into()));
    sh("ip address del 10.9.0.1/32 dev lo; ip address del 10.9.0.2/32 dev lo");
    wait_until("the last one", || is_triggered(&one) && state_and_missing(&one).0 == State::Down);
    assert_eq!(state_and_missing(&one), (State::Down, "10.9.0.1/32,10.9.0.2/32".into()));
    assert_eq!(one.state().code, Some(1));
    assert_eq!(state_and_missing(&drained), (State::Down, String::new()));
    assert_eq!(started.hints(), ["one", "one"]);
    started.stop();
}

#[test]
fn a_network_restart_triggers_no_check() {
    if !in_own_network("check::addresses::tests::a_network_restart_triggers_no_check") {
        return;
    }
    sh("ip address add 10.9.0.1/32 dev lo; ip address add 10.9.0.2/32 dev lo");
    let started = Started::new();
    let (one, two) = (check_on("one", "lo", &["10.9.0.1/32"]), check_on("two", "lo", &["10.9.0.2/32"]));
    started.follow(&[&one, &two]);
    // As fast as a restart is. On a busy machine it may have been too slow, and is tried again.
    wait_until("a quick network restart", || {
        let before = Instant::now();
        sh("printf 'address flush dev lo\\naddress add 10.9.0.1/32 dev lo\\naddress add 10.9.0.2/32 dev lo\\n' | ip -batch -");
        let quick = before.elapsed() < SETTLE_TIME;
        while !quick && before.elapsed() < 4 * SETTLE_TIME {
            // Its effects must settle first.
            while is_triggered(&one) || is_triggered(&two) {}
        }
        quick
    });
    // Settles later than the restart would have.
    sh("ip address del 10.9.0.2/32 dev lo");
    expect_trigger(&two);
    assert!(!is_triggered(&one));
    assert!(started.assigned("lo", "10.9.0.1/32"));
    started.stop();
}

#[test]
fn addresses_count_as_assigned_until_the_kernel_has_answered() {
    if !in_own_network("check::addresses::tests::addresses_count_as_assigned_until_the_kernel_has_answered") {
        return;
    }
    let stop = StopToken::new().unwrap();
    let mut held: Vec<_> = (0..3).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    let started = Started::with(stop);
    assert!(started.assigned("lo", "10.9.0.1/32"));
    drop(held);
    wait_until("an answer of the kernel", || !started.assigned("lo", "10.9.0.1/32"));
    started.stop();
}
