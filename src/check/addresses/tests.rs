//! Real interfaces, in a network of the test's own.

use std::sync::mpsc::{channel, Receiver};

use super::settling::SETTLE;
use super::*;
use crate::check::event::Event;
use crate::check::hook::Hooks;
use crate::check::trigger::Wakeup;
use crate::check::worker::tests::service;
use crate::config::settings::OnDisabled;
use crate::drain_file::DrainEnd;
use crate::testing::isolated::{in_own_network, sh, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// An address_watcher that watches, where its hints arrive, and its end with the test.
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

    /// The names of the checks of which hints came.
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

/// The check of a service with these prefixes on an interface, which is up.
fn concerned(name: &str, interface: &str, prefixes: &[&str]) -> Arc<Check> {
    let mut service = Service { name: name.into(), ..service("true") };
    service.prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    service.assigned_to = Some(interface.to_string());
    let check = Check::new(Arc::new(service));
    let _ = check.state_mut().decide(OnDisabled::Advertise);
    Arc::new(check)
}

/// Waits until somebody has the check run.
fn expect_order(check: &Check) {
    assert_eq!(check.trigger.wait_until(Instant::now() + MINUTE), Wakeup::CheckNow);
}

fn is_ordered(check: &Check) -> bool {
    check.trigger.wait_until(Instant::now()) == Wakeup::CheckNow
}

/// The state, and what is missing.
fn standing(check: &Check) -> (State, String) {
    let state = check.state();
    (state.state(), list(state.missing()))
}

#[test]
fn the_first_look_is_the_truth() {
    if in_own_network("check::addresses::tests::the_first_look_is_the_truth") {
        sh("ip address add 10.9.0.1/32 dev lo label lo:any");
        let started = Started::new();
        assert!(started.assigned("lo", "10.9.0.1/32"));
        assert!(!started.assigned("lo", "10.9.0.2/32"));
        assert!(!started.assigned("none", "10.9.0.1/32"));
        started.stop();
    }
}

#[test]
fn a_change_wakes_whom_it_concerns_once_it_has_settled() {
    if !in_own_network("check::addresses::tests::a_change_wakes_whom_it_concerns_once_it_has_settled") {
        return;
    }
    sh("ip address add 10.9.0.1/32 dev lo; ip address add fd00::2/128 dev lo");
    let started = Started::new();
    // Other names of lo.
    let one = concerned("one", "lo:1", &["10.9.0.1/32"]);
    let two = concerned("two", "if1", &["10.9.0.2/32", "fd00::2/128"]);
    started.follow(&[&one, &two]);
    for (change, woken, prefix, assigned) in [
        ("ip address del 10.9.0.1/32 dev lo", &one, "10.9.0.1/32", false),
        ("ip address add 10.9.0.1/32 dev lo", &one, "10.9.0.1/32", true),
        ("ip address del fd00::2/128 dev lo", &two, "fd00::2/128", false),
        ("ip address add 10.9.0.2/32 dev lo", &two, "10.9.0.2/32", true),
        ("ip address add 10.9.0.3/32 dev lo; ip address del 10.9.0.2/32 dev lo", &two, "10.9.0.2/32", false),
    ] {
        let before = Instant::now();
        sh(change);
        expect_order(woken);
        assert!(before.elapsed() >= SETTLE, "{change}");
        assert_eq!(started.assigned("lo", prefix), assigned, "{change}");
        assert!(!is_ordered(&one) && !is_ordered(&two), "{change}: nobody else, and once");
    }
    // Another list takes the place of the first.
    started.follow(&[&one]);
    sh("ip address add 10.9.0.2/32 dev lo; ip address del 10.9.0.1/32 dev lo");
    expect_order(&one);
    wait_until("the other address", || started.assigned("lo", "10.9.0.2/32"));
    assert!(!is_ordered(&two));
    started.stop();
}

/// Whatever their checks do: none of these has a thread.
#[test]
fn an_address_that_goes_is_withdrawn_before_any_check_runs() {
    if !in_own_network("check::addresses::tests::an_address_that_goes_is_withdrawn_before_any_check_runs") {
        return;
    }
    sh("for n in 1 2 3; do ip address add 10.9.0.$n/32 dev lo; done");
    let started = Started::new();
    let one = concerned("one", "lo", &["10.9.0.1/32", "10.9.0.2/32"]);
    let drained = concerned("drained", "lo", &["10.9.0.1/32"]);
    let _ = drained.state_mut().drain("/run/drain".into(), DrainEnd::Never);
    started.follow(&[&one, &drained]);
    sh("ip address del 10.9.0.1/32 dev lo");
    expect_order(&one);
    assert_eq!(standing(&one), (State::Up, "10.9.0.1/32".into()));
    // One that comes is up to the check, which is told.
    sh("ip address add 10.9.0.1/32 dev lo");
    expect_order(&one);
    assert_eq!(standing(&one), (State::Up, "10.9.0.1/32".into()));
    sh("ip address del 10.9.0.1/32 dev lo; ip address del 10.9.0.2/32 dev lo");
    wait_until("the last one", || is_ordered(&one) && standing(&one).0 == State::Down);
    assert_eq!(standing(&one), (State::Down, "10.9.0.1/32,10.9.0.2/32".into()));
    assert_eq!(one.state().code, Some(1));
    assert_eq!(standing(&drained), (State::Down, String::new()));
    assert_eq!(started.hints(), ["one", "one"]);
    started.stop();
}

#[test]
fn a_network_restart_is_seen_by_no_check() {
    if !in_own_network("check::addresses::tests::a_network_restart_is_seen_by_no_check") {
        return;
    }
    sh("ip address add 10.9.0.1/32 dev lo; ip address add 10.9.0.2/32 dev lo");
    let started = Started::new();
    let (one, two) = (concerned("one", "lo", &["10.9.0.1/32"]), concerned("two", "lo", &["10.9.0.2/32"]));
    started.follow(&[&one, &two]);
    // As quick as a restart is; on a machine that was busy elsewhere it was none, and is tried again.
    wait_until("a quick network restart", || {
        let before = Instant::now();
        sh("printf 'address flush dev lo\\naddress add 10.9.0.1/32 dev lo\\naddress add 10.9.0.2/32 dev lo\\n' | ip -batch -");
        let quick = before.elapsed() < SETTLE;
        while !quick && before.elapsed() < 4 * SETTLE {
            // What it did has to settle first.
            while is_ordered(&one) || is_ordered(&two) {}
        }
        quick
    });
    // This is later, so it is woken for later.
    sh("ip address del 10.9.0.2/32 dev lo");
    expect_order(&two);
    assert!(!is_ordered(&one));
    assert!(started.assigned("lo", "10.9.0.1/32"));
    started.stop();
}

#[test]
fn unknown_counts_as_assigned_until_it_is_known() {
    if !in_own_network("check::addresses::tests::unknown_counts_as_assigned_until_it_is_known") {
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
