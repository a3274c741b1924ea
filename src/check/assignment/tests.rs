//! Real interfaces, in a network of the test's own.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};

use super::settling::SETTLE;
use super::*;
use crate::check::worker::tests::service;
use crate::sys::alone::{in_own_network, sh, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// An assignment that watches, and ends with the test.
struct Started {
    assignment: Arc<Assignment>,
    stop: StopLine,
    thread: JoinHandle<()>,
}

impl Started {
    fn new() -> Started {
        let stop = StopLine::new().unwrap();
        let (assignment, thread) = Assignment::start(stop.clone()).unwrap();
        Started { assignment, stop, thread }
    }

    fn assigned(&self, interface: &str, prefix: &str) -> bool {
        self.assignment.assigned(interface, &prefix.parse().unwrap())
    }

    fn stop(self) {
        self.stop.pull();
        self.thread.join().unwrap();
    }
}

/// A service with these prefixes on an interface, and where its orders arrive.
fn concerned(interface: &str, prefixes: &[&str]) -> (Concerned, Receiver<()>) {
    let (sender, receiver) = channel();
    let mut service = service("true");
    service.prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    service.assigned_to = Some(interface.to_string());
    ((Arc::new(service), sender), receiver)
}

#[test]
fn the_first_look_is_the_truth() {
    if in_own_network("check::assignment::tests::the_first_look_is_the_truth") {
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
    if !in_own_network("check::assignment::tests::a_change_wakes_whom_it_concerns_once_it_has_settled") {
        return;
    }
    sh("ip address add 10.9.0.1/32 dev lo; ip address add fd00::2/128 dev lo");
    let started = Started::new();
    // Other names of lo.
    let (one, one_woken) = concerned("lo:1", &["10.9.0.1/32"]);
    let (two, two_woken) = concerned("if1", &["10.9.0.2/32", "fd00::2/128"]);
    started.assignment.concern(vec![one.clone(), two]);
    for (change, woken, prefix, assigned) in [
        ("ip address del 10.9.0.1/32 dev lo", &one_woken, "10.9.0.1/32", false),
        ("ip address add 10.9.0.1/32 dev lo", &one_woken, "10.9.0.1/32", true),
        ("ip address del fd00::2/128 dev lo", &two_woken, "fd00::2/128", false),
        ("ip address add 10.9.0.2/32 dev lo", &two_woken, "10.9.0.2/32", true),
        ("ip address add 10.9.0.3/32 dev lo; ip address del 10.9.0.2/32 dev lo", &two_woken, "10.9.0.2/32", false),
    ] {
        let before = Instant::now();
        sh(change);
        woken.recv_timeout(MINUTE).unwrap();
        assert!(before.elapsed() >= SETTLE, "{change}");
        assert_eq!(started.assigned("lo", prefix), assigned, "{change}");
        assert!(one_woken.try_recv().is_err() && two_woken.try_recv().is_err(), "{change}: nobody else, and once");
    }
    // Another list takes the place of the first, whose senders are dropped.
    started.assignment.concern(vec![one]);
    assert_eq!(two_woken.recv_timeout(MINUTE), Err(RecvTimeoutError::Disconnected));
    // Check threads hold it beyond the stop, but it holds no sender.
    let assignment = started.assignment.clone();
    started.stop();
    assert_eq!(one_woken.recv_timeout(MINUTE), Err(RecvTimeoutError::Disconnected));
    let (late, late_woken) = concerned("lo", &["10.9.0.1/32"]);
    assignment.concern(vec![late]);
    assert_eq!(late_woken.recv_timeout(MINUTE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_network_restart_is_seen_by_no_check() {
    if !in_own_network("check::assignment::tests::a_network_restart_is_seen_by_no_check") {
        return;
    }
    sh("ip address add 10.9.0.1/32 dev lo; ip address add 10.9.0.2/32 dev lo");
    let started = Started::new();
    let (one, one_woken) = concerned("lo", &["10.9.0.1/32"]);
    let (two, two_woken) = concerned("lo", &["10.9.0.2/32"]);
    started.assignment.concern(vec![one, two]);
    // As quick as a restart is; on a machine that was busy elsewhere it was none, and is tried again.
    wait_until("a quick network restart", || {
        let before = Instant::now();
        sh("printf 'address flush dev lo\\naddress add 10.9.0.1/32 dev lo\\naddress add 10.9.0.2/32 dev lo\\n' | ip -batch -");
        let quick = before.elapsed() < SETTLE;
        while !quick && before.elapsed() < 4 * SETTLE {
            // What it did has to settle first.
            while one_woken.try_recv().is_ok() || two_woken.try_recv().is_ok() {}
        }
        quick
    });
    // This is later, so it is woken for later.
    sh("ip address del 10.9.0.2/32 dev lo");
    two_woken.recv_timeout(MINUTE).unwrap();
    assert!(one_woken.try_recv().is_err());
    assert!(started.assigned("lo", "10.9.0.1/32"));
    started.stop();
}

#[test]
fn unknown_counts_as_assigned_until_it_is_known() {
    if !in_own_network("check::assignment::tests::unknown_counts_as_assigned_until_it_is_known") {
        return;
    }
    let stop = StopLine::new().unwrap();
    let mut held: Vec<_> = (0..3).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    let (assignment, thread) = Assignment::start(stop.clone()).unwrap();
    let started = Started { assignment, stop, thread };
    assert!(started.assigned("lo", "10.9.0.1/32"));
    drop(held);
    wait_until("an answer of the kernel", || !started.assigned("lo", "10.9.0.1/32"));
    started.stop();
}
