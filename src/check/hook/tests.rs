//! Tests with real hooks, most of them a line of `sh`.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::check::state::HookRuns;
use crate::check::worker::tests::service;
use crate::command::Command;
use crate::config::settings::{OnDisabled, Service};
use crate::testing::isolated::wait_until;

const MINUTE: Duration = Duration::from_secs(60);

struct Started {
    dir: tempfile::TempDir,
    stop: StopToken,
    hooks: Hooks,
}

impl Started {
    fn new() -> Started {
        let stop = StopToken::new().unwrap();
        let hooks = Hooks::new(Arc::default(), stop.clone());
        Started { dir: tempfile::tempdir().unwrap(), stop, hooks }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Creates the check of a service whose hook runs in the directory of the test, for a minute at
    /// most.
    fn check(&self, name: &str, hook: &str) -> Arc<Check> {
        check_with(name, &format!("sh -c 'cd {}; {hook}'", self.path().display()), MINUTE)
    }

    fn run(&self, check: &Arc<Check>, old: State, new: State) {
        let transition = check.state().transitions;
        self.hooks.run(check, [old, new], transition);
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.path().join(name)).unwrap_or_default().lines().map(String::from).collect()
    }
}

/// Creates the check of a service with this hook.
fn check_with(name: &str, hook: &str, timeout: Duration) -> Arc<Check> {
    let state_change = Some(TimedCommand { command: Command::parse(hook).unwrap(), timeout });
    let prefixes = ["10.9.0.1/32", "fd00::1/128"].map(|prefix| prefix.parse().unwrap()).into();
    Arc::new(Check::new(Arc::new(Service { name: name.into(), state_change, prefixes, ..service("true") })))
}

fn runs(check: &Check) -> HookRuns {
    check.state().hook.clone()
}

fn wait_for(check: &Check, succeeded: u64, failed: u64) {
    wait_until("the runs", || (runs(check).succeeded, runs(check).failed) == (succeeded, failed));
}

#[test]
fn the_command_gets_the_change_in_its_environment_and_is_not_run_by_a_shell() {
    let started = Started::new();
    let show = r#"for x in "$SERVICE" "$OLD_STATE" "$NEW_STATE" "$PREFIXES" "$0" "$1"; do echo "$x"; done >>output"#;
    let command = format!("sh -c 'cd {}; {show}' '$HOME' 'a  *'", started.path().display());
    let check = check_with("a 'b'", &command, MINUTE);
    started.run(&check, State::Unknown, State::Up);
    wait_for(&check, 1, 0);
    assert_eq!(started.lines("output"), ["a 'b'", "unknown", "up", "10.9.0.1/32 fd00::1/128", "$HOME", "a  *"]);
}

#[test]
fn during_a_run_the_latest_change_waits_and_those_between_are_skipped() {
    let started = Started::new();
    let check = started.check("a", "echo $OLD_STATE $NEW_STATE >>ran; until [ -e go ]; do sleep 0.01; done");
    started.run(&check, State::Unknown, State::Up);
    wait_until("a run", || started.lines("ran").len() == 1);
    for n in 0..5 {
        let states = [State::Up, State::Down];
        started.run(&check, states[n % 2], states[(n + 1) % 2]);
    }
    File::create(started.path().join("go")).unwrap();
    wait_for(&check, 2, 0);
    assert_eq!(started.lines("ran"), ["unknown up", "up down"]);
    assert_eq!(runs(&check).skipped, 4);
}

#[test]
fn eight_commands_run_at_once_and_all_others_after_them() {
    let started = Started::new();
    let checks: Vec<_> = (0..20)
        .map(|n| started.check(&n.to_string(), "echo $SERVICE >>ran; until [ -e go ]; do sleep 0.01; done"))
        .collect();
    checks.iter().for_each(|check| started.run(check, State::Up, State::Down));
    // The tests of `sys::background` show that there are never more.
    wait_until("eight runs", || started.lines("ran").len() == MAX_RUNNING);
    File::create(started.path().join("go")).unwrap();
    checks.iter().for_each(|check| wait_for(check, 1, 0));
    let mut ran: Vec<u32> = started.lines("ran").iter().map(|name| name.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..20).collect::<Vec<_>>());
}

/// Compares the reason that a failed run leaves.
fn check(hook: &str, timeout: Duration, expected: &str) {
    let started = Started::new();
    let check = check_with("a", hook, timeout);
    started.run(&check, State::Up, State::Down);
    wait_for(&check, 0, 1);
    assert_eq!(runs(&check).problem.as_deref(), Some(expected));
    // As after a reload with another command: the counts stay.
    let reloaded = check_with("a", "true", MINUTE);
    let state = check.state().carried_over(&reloaded.service, &[]);
    let reloaded = Arc::new(Check::with_state(reloaded.service.clone(), state));
    started.run(&reloaded, State::Down, State::Up);
    wait_for(&reloaded, 1, 1);
    assert_eq!(runs(&reloaded).problem, None, "a success ends the problem");
}

#[test]
fn failures_are_counted_with_their_reason() {
    check("sh -c 'echo why >&2; exit 3'", MINUTE, r"exit code 3, stderr b'why\n'");
    check("sh -c 'kill -USR1 $$'", MINUTE, "ended by signal 10, stderr b''");
    check("/nonexistent/hook", MINUTE, "No such file or directory (os error 2)");
    check("sleep 1000", Duration::from_millis(200), "ended after 0.2 s, stderr b''");
}

#[test]
fn a_run_that_times_out_may_clean_up() {
    let started = Started::new();
    let hook = format!(r#"sh -c 'cd {}; trap "echo >output; exit" TERM; sleep 1000 & wait'"#, started.path().display());
    let check = check_with("a", &hook, Duration::from_secs(2));
    started.run(&check, State::Up, State::Down);
    wait_for(&check, 0, 1);
    assert!(runs(&check).problem.unwrap().starts_with("ended after 2 s"));
    assert_eq!(started.lines("output").len(), 1);
}

/// A run that a stop ends is not counted as failed.
#[test]
fn a_stop_kills_running_commands_and_drops_queued_ones() {
    let started = Started::new();
    let check = started.check("a", "echo $$ >>ran; sleep 1000 & wait");
    started.run(&check, State::Unknown, State::Up);
    wait_until("a run", || started.lines("ran").len() == 1);
    started.run(&check, State::Up, State::Down);
    started.stop.trigger();
    started.hooks.wait(MINUTE);
    started.run(&check, State::Down, State::Up);
    started.hooks.wait(MINUTE);
    let ran = started.lines("ran");
    assert_eq!(ran.len(), 1);
    assert!(!Path::new("/proc").join(&ran[0]).exists());
    assert_eq!((runs(&check).succeeded, runs(&check).failed), (0, 0));
}

#[test]
fn a_service_without_a_hook_runs_nothing() {
    let started = Started::new();
    let check = Arc::new(Check::new(Arc::new(service("true"))));
    started.run(&check, State::Unknown, State::Up);
    started.hooks.wait(MINUTE);
    assert_eq!(runs(&check), HookRuns::default());
}

/// The thread of the later transition may announce it first.
#[test]
fn a_transition_that_is_announced_after_a_later_one_is_skipped() {
    let started = Started::new();
    let check = started.check("a", "echo $OLD_STATE $NEW_STATE >>ran");
    let up = check.state_mut().decide(OnDisabled::Advertise);
    let down = check.state_mut().drain("file".into(), crate::drain_file::DrainEnd::Never);
    for change in [down, up] {
        started.hooks.run(&check, change.states.unwrap(), change.transition);
    }
    wait_for(&check, 1, 0);
    assert_eq!((started.lines("ran"), runs(&check).skipped), (vec!["up down".to_string()], 1));
}
