use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::*;
use crate::bird::state::{self as bird, BirdState};
use crate::check::state::{Counts, HookRuns};
use crate::command::Command;
use crate::config::settings::TimedCommand;
use crate::testing::sample;

/// A daemon with a service that is up, one that is down, one on its way up, and one that is
/// disabled.
fn daemon() -> DaemonState {
    let mut disabled = sample::service("off", "10.0.0.4/32");
    disabled.disabled = Some(OnDisabled::Withdraw);
    let mut two = sample::service("two", "10.0.0.1/32");
    two.prefixes.push("10.0.0.9/32".parse().unwrap());
    two.check_rise = NonZeroU32::MIN;
    let hook = Command::parse("/bin/hook").unwrap();
    let state_change = Some(TimedCommand { command: hook, timeout: Duration::from_secs(10) });
    let daemon = sample::daemon_state(vec![
        two,
        sample::service("down", "10.0.0.2/32"),
        Service { state_change, ..sample::service("new", "10.0.0.3/32") },
        disabled,
    ]);
    let at = UNIX_EPOCH + Duration::from_millis(1_795_341_934_629);
    let set = |n: usize, verdict: State, result: RunResult, output: &str| {
        let check = sample::check(&daemon, n);
        sample::decide(&check, verdict);
        let mut state = check.state_mut();
        (state.since, state.transitions) = (at, 1);
        let took = Some(Duration::from_micros(12_345));
        state.last = Some(Run { began: at, duration: took, result, output: output.to_string() });
    };
    set(0, State::Up, RunResult::Exited(0), "");
    set(1, State::Down, RunResult::Exited(3), "first\nsecond\n");
    set(2, State::Unknown, RunResult::Exited(0), "");
    {
        let new = sample::check(&daemon, 2);
        let mut new = new.state_mut();
        new.hook = HookRuns { succeeded: 1, failed: 2, skipped: 3, problem: Some("exit code 1".into()) };
        new.watched = Some(4711);
        new.progress = Some(Progress::GoingUp { n: 1, of: 2 });
    }
    let counts = Counts { passed: 1, failed: 2, timed_out: 3, first_time_out: None, not_assigned: 4 };
    sample::check(&daemon, 1).state_mut().counts = counts;
    let wanted: Arc<[Prefix]> = sample::check(&daemon, 0).service.prefixes.clone().into();
    let family = sample::family(Family::V4, wanted);
    let counts = bird::Counts { last_success: Some(at), last_taken: Some(at), ..family.counts };
    *daemon.bird.lock() = BirdState { families: vec![FamilyState { counts, ..family }], due: None, ready: true };
    daemon
}

fn documented(daemon: &DaemonState, later: Duration) -> Document {
    let now = Now { wall: daemon.started.wall + later, monotonic: daemon.started.monotonic + later };
    document(daemon, now, &TimeZone::fixed(jiff::tz::offset(1)))
}

#[test]
fn the_document_has_the_state_of_each_service() {
    let document = documented(&daemon(), Duration::from_millis(61_250));
    assert_eq!((document.schema, document.uptime_s, document.ready, document.well), (1, 61.25, true, false));
    let summary = Summary {
        services: 3,
        up: 1,
        down: 1,
        unknown: 1,
        disabled: 1,
        drained: 0,
        in_sync: true,
        announced_to_nobody: 0,
    };
    assert_eq!(document.summary, summary);
    assert_eq!(document.summary.to_string(), "1 of 3 services up, BIRD in sync");
    let [two, down, new, off] = &document.services[..] else { panic!("{document:?}") };
    assert_eq!(two.since, Moment { text: "2026-11-22T11:05:34.629+01:00".into(), unix: 1_795_341_934.629 });
    let yes = |prefix: &str| PrefixStatus {
        prefix: prefix.into(),
        wanted: Some(true),
        in_file: Some(true),
        in_bird: Some(true),
        missing: false,
        exported: None,
    };
    assert_eq!(two.prefixes, [yes("10.0.0.1/32"), yes("10.0.0.9/32")]);
    assert_eq!((two.interval_s, two.timeout_s, two.why.as_deref()), (10.0, 2.0, None));
    assert_eq!(down.why.as_deref(), Some("the check failed with exit code 3"));
    let last = down.last.as_ref().unwrap();
    assert_eq!((last.took_ms, &*last.result, last.code, &*last.output), (Some(12.345), "failed", 3, "first\nsecond\n"));
    assert_eq!(down.checks, Counts { passed: 1, failed: 2, timed_out: 3, first_time_out: None, not_assigned: 4 });
    assert_eq!(new.progress, Some(Steps { towards: State::Up, n: 1, of: 2 }));
    let runs = HookRuns { succeeded: 1, failed: 2, skipped: 3, problem: Some("exit code 1".into()) };
    assert_eq!((new.watched_pid, &new.state_change_cmd), (Some(4711), &Some(runs)));
    assert_eq!((down.watched_pid, &down.state_change_cmd), (None, &None));
    assert_eq!(off.disabled.as_deref(), Some("withdraw"));
}

#[test]
fn the_document_survives_a_round_trip() {
    let document = documented(&daemon(), Duration::from_secs(5));
    let json = serde_json::to_string(&document).unwrap();
    assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
    let before = json.replace("\"verdict_overdue_s\":null,", "");
    assert!(before.len() < json.len() && serde_json::from_str::<Document>(&before).unwrap() == document);
    let later = json.replacen('{', "{\"added_later\":[1],", 1);
    assert_eq!(serde_json::from_str::<Document>(&later).unwrap(), document, "unknown fields are ignored");
}

/// Checks whether all is well after one change to a daemon whose only service has two prefixes and
/// is up.
fn check(change: impl FnOnce(&DaemonState), well: bool) {
    let mut service = sample::service("a", "10.0.0.1/32");
    service.prefixes.push("10.0.0.9/32".parse().unwrap());
    let daemon = sample::daemon_state(vec![service]);
    let a = sample::check(&daemon, 0);
    sample::decide(&a, State::Up);
    daemon.bird.lock().families = vec![sample::family(Family::V4, a.service.prefixes.clone().into())];
    change(&daemon);
    let document = documented(&daemon, Duration::from_secs(1));
    assert_eq!(document.well, well, "{document:?}");
    assert_eq!(summary(&daemon), document.summary);
}

#[test]
fn well_is_false_for_each_problem() {
    let a = |daemon: &DaemonState| sample::check(daemon, 0);
    let deadline = |daemon: &DaemonState, in_s: u64| {
        let deadline = daemon.started.monotonic + Duration::from_secs(in_s);
        a(daemon).state_mut().expect_progress_by(Some(deadline));
    };
    check(|_| {}, true);
    check(|daemon| sample::decide(&a(daemon), State::Down), false);
    check(|daemon| sample::decide(&a(daemon), State::Unknown), false);
    check(
        |daemon| {
            let a = a(daemon);
            sample::unassign(&a, &a.service.prefixes[..1]);
            assert_eq!(a.state().state(), State::Up);
        },
        false,
    );
    check(|daemon| a(daemon).state_mut().progress = Some(Progress::GoingDown { n: 1, of: 2 }), true);
    check(|daemon| deadline(daemon, 0), false);
    check(|daemon| deadline(daemon, 60), true);
    check(|daemon| daemon.bird.lock().due = Some(daemon.started.monotonic), false);
    check(|daemon| daemon.bird.lock().families.clear(), false);
    check(|daemon| daemon.bird.lock().families[0].in_sync = false, false);
}

#[test]
fn why_names_the_most_important_problem() {
    let check = |change: &dyn Fn(&Check), expected: Option<&str>| {
        let daemon = daemon();
        change(&sample::check(&daemon, 1));
        let why = documented(&daemon, Duration::from_secs(90)).services[1].why.clone();
        assert_eq!(why.as_deref(), expected);
    };
    let result =
        |result: RunResult| move |check: &Check| check.state_mut().last.as_mut().unwrap().result = result.clone();
    check(&result(RunResult::Exited(0)), None);
    check(&result(RunResult::Signaled(9)), Some("the check was ended by signal 9"));
    check(&result(RunResult::TimedOut), Some("the check took longer than 2 s"));
    check(&result(RunResult::NotStarted("cannot run x: not there".into())), Some("cannot run x: not there"));
    check(&result(RunResult::NotAssigned), Some("no address is assigned to interface lo"));
    check(&|check| sample::unassign(check, &check.service.prefixes), Some("10.0.0.2/32 not assigned to interface lo"));
    check(&|check| check.state_mut().problem = Some("no thread".into()), Some("no thread"));
    check(&|check| check.state_mut().last = None, None);
}

#[test]
fn the_status_line_names_a_refused_reload() {
    let daemon = daemon();
    let check = |why: Option<String>, expected: &str| {
        *daemon.reload_error.lock() = why;
        assert_eq!(line(&daemon), format!("1 of 3 services up, BIRD in sync{expected}"));
    };
    check(None, "");
    check(Some("a.conf, line 3: no".into()), "; reload refused: a.conf, line 3: no");
    check(Some("ü".repeat(300)), &format!("; reload refused: {}", "ü".repeat(300)));
    check(Some("ü".repeat(301)), &format!("; reload refused: {} …", "ü".repeat(300)));
}

/// A service that neither passes nor fails often enough in a row stays unknown forever.
#[test]
fn an_overdue_first_verdict_is_reported() {
    let check = |change: &dyn Fn(&Check), expected: Option<&str>| {
        let daemon = daemon();
        let due = daemon.started.monotonic + Duration::from_secs(20);
        // Its last check passed.
        let new = sample::check(&daemon, 2);
        new.state_mut().expect_verdict_by(due);
        change(&new);
        let service = |later| documented(&daemon, Duration::from_secs(later)).services[2].clone();
        assert_eq!(service(20).verdict_overdue_s, None);
        let late = service(24);
        assert_eq!(late.verdict_overdue_s, expected.map(|_| 4.0));
        if let Some(expected) = expected {
            let none =
                "there is no first verdict, which was due 4 s ago: neither have 2 checks in a row passed, nor have 2 \
                        failed";
            assert_eq!(late.why.as_deref(), Some(&*format!("{none}{expected}")));
        }
    };
    let result =
        |result: RunResult| move |check: &Check| check.state_mut().last.as_mut().unwrap().result = result.clone();
    check(&|_| {}, Some(""));
    check(&|check| check.state_mut().last = None, Some(""));
    check(&result(RunResult::Exited(3)), Some("; the check failed with exit code 3"));
    check(&result(RunResult::TimedOut), Some("; the check took longer than 2 s"));
    check(&|check| sample::decide(check, State::Up), None);
    check(&|check| sample::unassign(check, &check.service.prefixes), None);
    let drain = |check: &Check| {
        let _ = check.state_mut().drain(PathBuf::from("/run/drain"), DrainEnd::Never);
    };
    check(&drain, None);
}

#[test]
fn a_drain_is_reported_and_is_no_problem() {
    let daemon = daemon();
    let drain = |n: usize, end| {
        let _ = sample::check(&daemon, n).state_mut().drain(PathBuf::from("/run/drain"), end);
    };
    let before = SystemTime::now();
    drain(1, DrainEnd::Never);
    drain(2, DrainEnd::At(UNIX_EPOCH + Duration::from_secs(60)));
    drain(3, DrainEnd::Never);
    let document = documented(&daemon, Duration::from_secs(90));
    assert_eq!(document.summary, summary(&daemon));
    assert_eq!(
        document.summary,
        Summary { services: 1, up: 1, disabled: 1, drained: 2, in_sync: true, ..Summary::default() }
    );
    assert_eq!(document.summary.to_string(), "1 of 1 services up, 2 drained, BIRD in sync");
    assert!(document.well);
    let drained = |n: usize| document.services[n].drained.as_ref().unwrap();
    let until = |n: usize| drained(n).until.as_ref().map(|until| &*until.text);
    assert_eq!((until(1), until(2), until(3)), (None, Some("1970-01-01T01:01:00.000+01:00"), None));
    assert!(drained(1).since.unix >= (seconds(before) * 1e3).round() / 1e3 && drained(1).file == "/run/drain");
    let why = document.services[2].why.as_deref();
    assert_eq!(why, Some("drained by /run/drain until 1970-01-01T00:01:00Z"));
}

#[test]
fn a_hold_is_reported_with_its_end_and_is_no_problem() {
    let daemon = daemon();
    assert_eq!(documented(&daemon, Duration::ZERO).families[0].hold, None);
    let held = Some(sample::hold(daemon.started, Duration::from_secs(60), &["new", "two"]));
    {
        let mut bird = daemon.bird.lock();
        let family = &mut bird.families[0];
        (family.in_sync, family.hold, family.out_of_sync_since) = (false, held, Some(daemon.started.monotonic));
    }
    let document = documented(&daemon, Duration::from_millis(1500));
    let [family] = &document.families[..] else { panic!("{document:?}") };
    let until = family.hold.as_ref().map(|hold| hold.until.clone());
    let expected = moment(daemon.started.wall + Duration::from_secs(60), &TimeZone::fixed(jiff::tz::offset(1)));
    assert_eq!(until.as_ref(), Some(&expected), "the end does not depend on when the daemon is asked");
    assert_eq!(family.hold.as_ref().unwrap().waiting_for, ["new", "two"]);
    assert_eq!((family.in_sync, family.out_of_sync_s, &family.problem), (false, Some(1.5), &None));
    let past = documented(&daemon, Duration::from_secs(90));
    let until = &past.families[0].hold.as_ref().unwrap().until;
    assert_eq!(*until, past.time, "a hold that is over ends now");
    let json = serde_json::to_value(&document).unwrap();
    assert_eq!(json["families"][0]["hold"]["until"]["unix"], serde_json::json!(expected.unix));
    assert_eq!(json["families"][0]["hold"]["waiting_for"], serde_json::json!(["new", "two"]));
    let of_an_older_daemon = serde_json::to_string(&document).unwrap().replacen("\"hold\":", "\"other\":", 1);
    assert_eq!(serde_json::from_str::<Document>(&of_an_older_daemon).unwrap().families[0].hold, None);
}

#[test]
fn a_clock_out_of_range_has_a_text() {
    let zone = TimeZone::UTC;
    for time in [UNIX_EPOCH - Duration::from_secs(5), UNIX_EPOCH + Duration::from_secs(1 << 60)] {
        assert!(moment(time, &zone).text.ends_with("+00:00"));
    }
}
