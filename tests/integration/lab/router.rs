//! The router's view: the routes that its BIRD adds to the kernel and removes from it.
//!
//! Guarantees: events are recorded without polling, so that a test can state that no route moved.

use std::io::BufRead;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::namespaces::{Namespaces, Running};
use super::output;

/// A route that nothing else uses. It shows that the monitor is running.
const BEACON: &str = "198.51.100.1";

/// One line of `ip monitor route`.
#[derive(Clone, Debug)]
struct Event {
    at: Instant,
    prefix: String,
    comes: bool,
}

/// The routes from BIRD in the router's kernel.
pub(crate) struct Routes {
    events: Arc<Mutex<Vec<Event>>>,
    since: Instant,
    _monitor: Running,
}

/// A point in the history of the routes.
#[derive(Clone, Copy)]
pub(crate) struct Mark(usize);

impl Routes {
    /// Starts the monitor and returns when it reports routes.
    pub(crate) fn watch(namespaces: &Namespaces) -> Routes {
        let mut monitor = namespaces.start(
            namespaces.router("ip").args(["-o", "monitor", "route"]).stdin(Stdio::null()).stdout(Stdio::piped()),
        );
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let lines = monitor.output().lines();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .filter_map(|line| event(&line))
                .for_each(|event| sink.lock().unwrap().push(event));
        });
        let routes = Routes { events, since: Instant::now(), _monitor: monitor };
        routes.wait_for_beacon(namespaces);
        routes
    }

    /// Whether the router has this route now.
    pub(crate) fn has(&self, prefix: &str) -> bool {
        let events = self.events.lock().unwrap();
        events.iter().rev().find(|event| event.prefix == prefix).is_some_and(|event| event.comes)
    }

    /// Whether the router has no routes.
    pub(crate) fn is_empty(&self) -> bool {
        let prefixes: Vec<String> = self.events.lock().unwrap().iter().map(|event| event.prefix.clone()).collect();
        !prefixes.iter().any(|prefix| self.has(prefix))
    }

    /// The current point in the history.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.events.lock().unwrap().len())
    }

    /// Expects that no route came or went since `mark`.
    #[track_caller]
    pub(crate) fn expect_none_moved(&self, mark: Mark) {
        let moved: Vec<Event> = self.events.lock().unwrap()[mark.0..].to_vec();
        assert!(moved.is_empty(), "routes moved: {moved:?}");
    }

    /// Expects that this route neither came nor went since `mark`.
    #[track_caller]
    pub(crate) fn expect_unmoved(&self, prefix: &str, mark: Mark) {
        let moved: Vec<Event> = self.events.lock().unwrap()[mark.0..].to_vec();
        assert!(!moved.iter().any(|event| event.prefix == prefix), "{prefix} moved: {moved:?}");
    }

    /// When this route last came or went.
    pub(crate) fn last_moved(&self, prefix: &str) -> Option<Instant> {
        let events = self.events.lock().unwrap();
        events.iter().rev().find(|event| event.prefix == prefix).map(|event| event.at)
    }

    /// All events, one a line.
    pub(crate) fn transcript(&self) -> String {
        let events = self.events.lock().unwrap();
        let line = |event: &Event| {
            let what = if event.comes { "+" } else { "-" };
            format!("{:9.3} s {what} {}", event.at.duration_since(self.since).as_secs_f64(), event.prefix)
        };
        events.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn wait_for_beacon(&self, namespaces: &Namespaces) {
        let beacon = format!("{BEACON}/32");
        let end = Instant::now() + super::WAIT_TIMEOUT;
        while !self.events.lock().unwrap().iter().any(|event| event.prefix == beacon && !event.comes) {
            assert!(Instant::now() < end, "`ip monitor route` reports nothing");
            for action in ["add", "del"] {
                output(namespaces.router("ip").args(["route", action, BEACON, "dev", "lo", "proto", "bird"]));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Parses `10.52.12.1 via 192.0.2.1 dev uplink proto bird metric 32`, or the same after `Deleted`.
fn event(line: &str) -> Option<Event> {
    if !line.contains("proto bird") {
        return None;
    }
    let (comes, line) = match line.strip_prefix("Deleted ") {
        Some(rest) => (false, rest),
        None => (true, line),
    };
    let address = line.split_whitespace().next()?;
    let whole = match (address.contains('/'), address.contains(':')) {
        (true, _) => "",
        (false, false) => "/32",
        (false, true) => "/128",
    };
    Some(Event { at: Instant::now(), prefix: format!("{address}{whole}"), comes })
}
