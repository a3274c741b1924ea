//! Compares lists, router, states and resources with the model.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use super::super::configuration::{all_prefixes, STEADY};
use super::super::world::{Expected, Verdict, World};
use super::Host;

/// How long the effect of an action may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a lost list may be held.
const MAX_HOLD: Duration = Duration::from_secs(60);
/// How much the daemon's memory may grow in a round, in kB.
const MAX_MEMORY_GROWTH: u64 = 16 * 1024;

/// The resources of an idle daemon, and the number of processes in the namespaces.
pub(in crate::model) struct Resources {
    threads: usize,
    descriptors: usize,
    kilobytes: u64,
    processes: usize,
}

impl Host {
    /// Waits until lists and routes are as the model expects, and stay so for some checks.
    #[track_caller]
    pub(in crate::model) fn wait_settled(&mut self, world: &World) {
        self.wait_for_expected(world);
        // Pending events must not change the state.
        self.lab.wait_runs(STEADY[0].0, 2);
        self.wait_for_expected(world);
        self.expect_steady();
        if self.steady_since.is_none() && STEADY.iter().all(|(_, prefix)| self.lab.routes.has(prefix)) {
            self.steady_since = Some(self.lab.routes.mark());
        }
    }

    #[track_caller]
    fn wait_for_expected(&self, world: &World) {
        let now = Instant::now();
        let end = self.list_lost.map_or(now, |lost| now.max(lost + MAX_HOLD)) + SETTLE_TIMEOUT;
        loop {
            let unexpected = self.unexpected(world);
            if unexpected.is_empty() {
                return;
            }
            assert!(self.lab.daemon_runs(), "the daemon ended: {unexpected}");
            assert!(Instant::now() < end, "timeout, differences from the model: {unexpected}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The differences from the model, a line for each prefix or service.
    fn unexpected(&self, world: &World) -> String {
        match self.lab.listed() {
            None => "\n  a list is broken or missing".to_string(),
            Some(_) => match self.comparison(world, false) {
                text if text.is_empty() => self.unexpected_states(world),
                text => text,
            },
        }
    }

    /// The services whose state differs from the model, a line each. Routes do not show this if
    /// another service or a drain withdraws the prefix: a service on its way down, or whose drain
    /// file was not read yet, would rightly be advertised for a moment afterwards.
    fn unexpected_states(&self, world: &World) -> String {
        let (_, output) = self.lab.run_cli(&["--status", "--json"]);
        let Ok(document) = serde_json::from_str::<serde_json::Value>(&output) else {
            return format!("\n  no status: {output}");
        };
        let state = |service: &serde_json::Value| match service["drained"].is_null() {
            true => service["state"].as_str().unwrap().to_string(),
            false => "drained".to_string(),
        };
        let services = document["services"].as_array().unwrap().iter();
        let states: BTreeMap<&str, String> =
            services.map(|service| (service["name"].as_str().unwrap(), state(service))).collect();
        let mut text = String::new();
        for (name, service) in &world.configuration.services {
            let expected = match world.verdict(name) {
                _ if world.is_drained(name) => "drained",
                Verdict::Up => "up",
                Verdict::Down => "down",
                Verdict::Unknown | Verdict::Unsure => continue,
            };
            let has_another_reason = !world.is_drained(name)
                && (service.disabled.is_some()
                    || service.prefixes.iter().any(|prefix| world.unassigned.contains(prefix)));
            let state = states.get(name).map(String::as_str);
            if !has_another_reason && state != Some(expected) {
                write!(text, "\n  {name} is {state:?}, expected {expected}").unwrap();
            }
        }
        text
    }

    /// Expected and actual state, a line for each prefix: of all prefixes, or of those that differ.
    pub(in crate::model) fn comparison(&self, world: &World, of_all: bool) -> String {
        let listed = self.lab.listed().unwrap_or_default();
        let mut text = String::new();
        for prefix in all_prefixes() {
            let levels = [
                ("list", world.listed(prefix), listed.contains(prefix)),
                ("router", world.routed(prefix), self.lab.routes.has(prefix)),
            ];
            if !of_all && levels.iter().all(|(_, expected, is_present)| expected.allows(*is_present)) {
                continue;
            }
            write!(text, "\n  {prefix}").unwrap();
            for (level, expected, is_present) in levels {
                let has = if is_present { "contains it" } else { "lacks it" };
                write!(text, "; the {level} {has}, expected {expected:?}").unwrap();
            }
            for (name, service) in world.configuration.services_of(prefix) {
                let drained = if world.is_drained(name) { ", drained" } else { "" };
                let custom = if service.custom.is_some() { ", custom" } else { "" };
                write!(text, "; {name} is {:?}{drained}{custom}", world.verdict(name)).unwrap();
            }
        }
        text
    }

    /// Expects that the steady services have kept their routes, except while BIRD was stopped.
    #[track_caller]
    pub(in crate::model) fn expect_steady(&self) {
        let Some(mark) = self.steady_since else { return };
        STEADY.iter().for_each(|(_, prefix)| self.lab.routes.expect_unmoved(prefix, mark));
    }

    /// Expects that no route has moved whose expected state is the same before and after.
    #[track_caller]
    pub(in crate::model) fn expect_calm(&self, before: &World, after: &World) {
        for prefix in all_prefixes() {
            if before.routed(prefix) == after.routed(prefix) && after.routed(prefix) != Expected::Either {
                self.lab.routes.expect_unmoved(prefix, self.settled);
            }
        }
    }

    /// Remembers that everything is settled.
    pub(in crate::model) fn mark(&mut self) {
        self.settled = self.lab.routes.mark();
    }

    /// The smallest use of resources in many samples, because no check runs in at least one of
    /// them.
    pub(in crate::model) fn resources(&self) -> Resources {
        let daemon = self.lab.daemon_pid();
        let moments: Vec<[usize; 3]> = (0..100)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(2));
                [count(daemon, "task"), count(daemon, "fd"), self.lab.processes("").len()]
            })
            .collect();
        let [threads, descriptors, processes] =
            [0, 1, 2].map(|what| moments.iter().map(|moment| moment[what]).min().unwrap());
        Resources { threads, descriptors, kilobytes: kilobytes(daemon), processes }
    }

    /// Waits until the daemon needs no more resources than before and its children are gone.
    pub(in crate::model) fn expect_no_leaks(&self, before: &Resources) {
        let (lab, daemon) = (&self.lab, self.lab.daemon_pid());
        lab.wait_until("the daemon's threads to be as many as before", |_| count(daemon, "task") <= before.threads);
        lab.wait_until("the daemon's descriptors to be as many as before", |_| {
            count(daemon, "fd") <= before.descriptors
        });
        let kilobytes = kilobytes(daemon);
        assert!(kilobytes < before.kilobytes + MAX_MEMORY_GROWTH, "{kilobytes} kB, at first {}", before.kilobytes);
        lab.wait_until("its children to be gone", |lab| lab.processes("sleep 1003").is_empty());
        lab.wait_until("children of children to be gone", |lab| lab.processes("sleep 1002").is_empty());
        lab.wait_until("processes to be as many as before", |lab| lab.processes("").len() <= before.processes);
    }
}

/// The number of threads (`task`) or descriptors (`fd`) of a process.
fn count(pid: i32, what: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count)
}

fn kilobytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
