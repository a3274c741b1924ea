//! Hooks that are lines of `sh`, run for real.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::check::worker::tests::service;
use crate::command::Command;
use crate::report::snapshot::HookRuns;
use crate::sys::alone::wait_until;

struct Started {
    dir: tempfile::TempDir,
    stop: StopLine,
    hooks: Arc<Hooks>,
    report: Arc<Published<ServiceReport>>,
}

impl Started {
    fn new() -> Started {
        let stop = StopLine::new().unwrap();
        let hooks = Hooks::new(stop.clone());
        Started { dir: tempfile::tempdir().unwrap(), stop, hooks, report: Arc::default() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A service with this hook, which is run in the test's directory and for a minute at most.
    fn service(&self, name: &str, hook: &str) -> Arc<Service> {
        let command = Command::parse(&format!("sh -c 'cd {}; {hook}'", self.path().display())).unwrap();
        let state_change = Some(TimedCommand { command, timeout: Duration::from_secs(60) });
        Arc::new(Service { name: name.into(), state_change, ..service("true") })
    }

    fn run(&self, service: &Arc<Service>, old: State, new: State) {
        let (service, report) = (service.clone(), self.report.clone());
        self.hooks.run(Transition { service, report, old, new });
    }

    fn runs(&self) -> HookRuns {
        self.report.lock().hook.clone()
    }

    fn wait_for(&self, succeeded: u64, failed: u64) {
        wait_until("the runs", || (self.runs().succeeded, self.runs().failed) == (succeeded, failed));
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.path().join(name)).unwrap_or_default().lines().map(String::from).collect()
    }
}

#[test]
fn the_command_is_told_of_the_change_and_is_no_shell_s() {
    let started = Started::new();
    let show = r#"for x in "$SERVICE" "$OLD_STATE" "$NEW_STATE" "$PREFIXES" "$0" "$1"; do echo "$x"; done >>told"#;
    let command = format!("sh -c 'cd {}; {show}' '$HOME' 'a  *'", started.path().display());
    let state_change =
        Some(TimedCommand { command: Command::parse(&command).unwrap(), timeout: Duration::from_secs(60) });
    let prefixes = ["10.9.0.1/32", "fd00::1/128"].map(|prefix| prefix.parse().unwrap()).into();
    let service = Arc::new(Service { name: "a 'b'".into(), state_change, prefixes, ..service("true") });
    started.run(&service, State::Unknown, State::Up);
    started.wait_for(1, 0);
    assert_eq!(started.lines("told"), ["a 'b'", "unknown", "up", "10.9.0.1/32 fd00::1/128", "$HOME", "a  *"]);
}

#[test]
fn while_one_runs_the_latest_change_waits_and_those_between_are_skipped() {
    let started = Started::new();
    let service = started.service("a", "echo $OLD_STATE $NEW_STATE >>ran; until [ -e go ]; do sleep 0.01; done");
    started.run(&service, State::Unknown, State::Up);
    wait_until("a run", || started.lines("ran").len() == 1);
    for n in 0..5 {
        let states = [State::Up, State::Down];
        started.run(&service, states[n % 2], states[(n + 1) % 2]);
    }
    File::create(started.path().join("go")).unwrap();
    started.wait_for(2, 0);
    assert_eq!(started.lines("ran"), ["unknown up", "up down"]);
    assert_eq!(started.runs().skipped, 4);
}

#[test]
fn so_many_run_at_once_and_all_others_after_them() {
    let started = Started::new();
    let services: Vec<_> = (0..20)
        .map(|n| started.service(&n.to_string(), "echo $SERVICE >>ran; until [ -e go ]; do sleep 0.01; done"))
        .collect();
    services.iter().for_each(|service| started.run(service, State::Up, State::Down));
    wait_until("eight runs", || started.lines("ran").len() == MOST);
    let runs = started.hooks.runs.lock();
    assert_eq!((runs.working, runs.queue.running.len(), runs.queue.waiting.len()), (MOST, MOST, 20 - MOST));
    drop(runs);
    File::create(started.path().join("go")).unwrap();
    started.wait_for(20, 0);
    let mut ran: Vec<u32> = started.lines("ran").iter().map(|name| name.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..20).collect::<Vec<_>>());
    // Nothing stays that could run.
    wait_until("the threads' end", || started.hooks.runs.lock().working == 0);
    assert!(started.hooks.threads().into_iter().all(|thread| thread.join().is_ok()));
}

/// What a failed run leaves as its reason.
fn check(hook: &str, timeout: Duration, expected: &str) {
    let started = Started::new();
    let command = Command::parse(hook).unwrap();
    let state_change = Some(TimedCommand { command, timeout });
    let failing = Arc::new(Service { state_change, ..service("true") });
    started.run(&failing, State::Up, State::Down);
    started.wait_for(0, 1);
    assert_eq!(started.runs().problem.as_deref(), Some(expected));
    started.run(&started.service(&failing.name, "true"), State::Down, State::Up);
    started.wait_for(1, 1);
    assert_eq!(started.runs().problem, None, "a success ends the problem");
}

#[test]
fn failures_are_counted_with_their_reason() {
    let minute = Duration::from_secs(60);
    check("sh -c 'echo why >&2; exit 3'", minute, r"exit code 3, stderr b'why\n'");
    check("sh -c 'kill -USR1 $$'", minute, "ended by signal 10, stderr b''");
    check("/nonexistent/hook", minute, "No such file or directory (os error 2)");
    check("sleep 1000", Duration::from_millis(200), "ended after 0.2 s, stderr b''");
}

#[test]
fn a_run_that_takes_too_long_may_put_things_in_order() {
    let started = Started::new();
    let hook = r#"trap "echo >told; exit" TERM; sleep 1000 & wait"#;
    let service = Service::clone(&started.service("a", hook));
    let timeout = Duration::from_secs(2);
    let state_change = service.state_change.map(|hook| TimedCommand { timeout, ..hook });
    started.run(&Arc::new(Service { state_change, ..service }), State::Up, State::Down);
    started.wait_for(0, 1);
    assert!(started.runs().problem.unwrap().starts_with("ended after 2 s"));
    assert_eq!(started.lines("told").len(), 1);
}

#[test]
fn a_stop_kills_what_runs_and_drops_what_waits() {
    let started = Started::new();
    let service = started.service("a", "echo $$ >>ran; sleep 1000 & wait");
    started.run(&service, State::Unknown, State::Up);
    wait_until("a run", || started.lines("ran").len() == 1);
    started.run(&service, State::Up, State::Down);
    started.stop.pull();
    started.hooks.threads().into_iter().for_each(|thread| thread.join().unwrap());
    started.run(&service, State::Down, State::Up);
    started.hooks.threads().into_iter().for_each(|thread| thread.join().unwrap());
    let ran = started.lines("ran");
    assert_eq!(ran.len(), 1);
    assert!(!Path::new("/proc").join(&ran[0]).exists());
    assert_eq!((started.runs().succeeded, started.runs().failed), (0, 0));
}

#[test]
fn a_service_without_a_hook_runs_nothing() {
    let started = Started::new();
    started.run(&Arc::new(service("true")), State::Unknown, State::Up);
    assert!(started.hooks.threads().is_empty() && started.hooks.runs.lock().queue.waiting.is_empty());
}

proptest::proptest! {
    /// Each name has its last word taken, in the order of first words, while nothing of its own runs.
    #[test]
    fn the_queue_keeps_its_promises(steps in proptest::collection::vec((0u8..3, 0u8..4), 0..100)) {
        let (mut queue, mut waiting, mut running) = (Queue::default(), Vec::<(u8, usize)>::new(), Vec::new());
        for (n, (step, name)) in steps.into_iter().enumerate() {
            match step {
                0 => {
                    let known = waiting.iter_mut().find(|(waits, _)| *waits == name);
                    let before = known.map(|(_, word)| std::mem::replace(word, n));
                    proptest::prop_assert_eq!(queue.put(name.to_string().into(), n), before);
                    if before.is_none() {
                        waiting.push((name, n));
                    }
                }
                1 => {
                    let expected = waiting.iter().position(|(waits, _)| !running.contains(waits));
                    let expected = expected.map(|at| waiting.remove(at));
                    proptest::prop_assert_eq!(queue.has_next(), expected.is_some());
                    let taken = queue.take().map(|(name, n)| (name.parse().unwrap(), n));
                    proptest::prop_assert_eq!(taken, expected);
                    running.extend(expected.map(|(name, _)| name));
                }
                _ => {
                    running.retain(|runs| *runs != name);
                    queue.done(&name.to_string());
                }
            }
        }
    }
}
