use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::*;
use crate::check::health::State;
use crate::command::Command;
use crate::config::settings::TimedCommand;
use crate::report::document;
use crate::report::sample;
use crate::report::snapshot::{BirdReport, Counts, HookRuns, Listed};

/// A board on which a service is up, one went down, one is on its way, one is disabled.
fn board() -> Board {
    let mut disabled = sample::service("off", "10.0.0.4/32");
    disabled.disabled = Some(OnDisabled::Withdraw);
    let mut two = sample::service("two", "10.0.0.1/32");
    two.prefixes.push("10.0.0.9/32".parse().unwrap());
    two.check_rise = NonZeroU32::MIN;
    let hook = Command::parse("/bin/hook").unwrap();
    let state_change = Some(TimedCommand { command: hook, timeout: Duration::from_secs(10) });
    let board = sample::board(vec![
        two,
        sample::service("down", "10.0.0.2/32"),
        Service { state_change, ..sample::service("new", "10.0.0.3/32") },
        disabled,
    ]);
    let at = UNIX_EPOCH + Duration::from_millis(1_795_341_934_629);
    let of = |n: usize| -> Listed { board.services.lock()[n].clone() };
    let set = |n: usize, state: State, result: RunResult, output: &str| {
        let (_, report) = of(n);
        let mut report = report.lock();
        (report.state, report.since, report.transitions) = (state, at, 1);
        let took = Some(Duration::from_micros(12_345));
        report.last = Some(Run { began: at, took, result, output: output.to_string() });
    };
    set(0, State::Up, RunResult::Exited(0), "");
    set(1, State::Down, RunResult::Exited(3), "first\nsecond\n");
    set(2, State::Unknown, RunResult::Exited(0), "");
    of(2).1.lock().hook = HookRuns { succeeded: 1, failed: 2, skipped: 3, problem: Some("exit code 1".into()) };
    of(2).1.lock().watched = Some(4711);
    of(2).1.lock().progress = Some(Progress::GoingUp { n: 1, of: 2 });
    of(1).1.lock().counts = Counts { passed: 1, failed: 2, timed_out: 3, first_time_out: None, not_assigned: 4 };
    let wanted: Arc<[Prefix]> = of(0).0.prefixes.clone().into();
    *board.bird.lock() = BirdReport {
        families: vec![FamilyReport { last_success: Some(at), ..sample::family(Family::V4, wanted) }],
        due: None,
        ready: true,
    };
    board
}

fn documented(board: &Board, later: Duration) -> Document {
    let now = Now { wall: board.started.wall + later, monotonic: board.started.monotonic + later };
    document(board, now, &TimeZone::fixed(jiff::tz::offset(1)))
}

#[test]
fn the_document_says_what_the_board_says() {
    let document = documented(&board(), Duration::from_millis(61_250));
    assert_eq!((document.schema, document.uptime_s, document.ready, document.well), (1, 61.25, true, false));
    let summary = Summary { services: 3, up: 1, down: 1, unknown: 1, disabled: 1, drained: 0, in_sync: true };
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
    };
    assert_eq!(two.prefixes, [yes("10.0.0.1/32"), yes("10.0.0.9/32")]);
    assert_eq!((two.interval_s, two.timeout_s, two.why.as_deref()), (10.0, 2.0, None));
    assert_eq!(down.why.as_deref(), Some("the check failed with exit code 3"));
    let last = down.last.as_ref().unwrap();
    assert_eq!((last.took_ms, &*last.result, last.code, &*last.output), (Some(12.345), "failed", 3, "first\nsecond\n"));
    assert_eq!(down.checks, Checks { passed: 1, failed: 2, timed_out: 3, not_assigned: 4 });
    assert_eq!(new.progress, Some(Steps { towards: Condition::Up, n: 1, of: 2 }));
    let runs = document::HookRuns { succeeded: 1, failed: 2, skipped: 3, problem: Some("exit code 1".into()) };
    assert_eq!((new.watched_pid, &new.state_change_cmd), (Some(4711), &Some(runs)));
    assert_eq!((down.watched_pid, &down.state_change_cmd), (None, &None));
    assert_eq!(off.disabled.as_deref(), Some("withdraw"));
}

#[test]
fn the_document_is_read_back_as_it_was() {
    let document = documented(&board(), Duration::from_secs(5));
    let json = serde_json::to_string(&document).unwrap();
    assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
    let later = json.replacen('{', "{\"added_later\":[1],", 1);
    assert_eq!(serde_json::from_str::<Document>(&later).unwrap(), document, "unknown fields are no matter");
}

/// Whether all is well after one change to a board on which it is.
fn check(change: impl FnOnce(&Board), well: bool) {
    let board = sample::board(vec![sample::service("a", "10.0.0.1/32")]);
    let (service, report) = board.services.lock()[0].clone();
    report.lock().state = State::Up;
    board.bird.lock().families = vec![sample::family(Family::V4, service.prefixes.clone().into())];
    change(&board);
    let document = documented(&board, Duration::from_secs(1));
    assert_eq!(document.well, well, "{document:?}");
    assert_eq!(summary(&board), document.summary);
}

#[test]
fn well_is_what_the_exit_code_tells() {
    let report = |board: &Board, change: fn(&mut ServiceReport)| change(&mut board.services.lock()[0].1.lock());
    let due = |board: &Board, in_s: u64| {
        board.services.lock()[0].1.lock().due = Some(board.started.monotonic + Duration::from_secs(in_s));
    };
    check(|_| {}, true);
    check(|board| report(board, |report| report.state = State::Down), false);
    check(|board| report(board, |report| report.state = State::Unknown), false);
    check(|board| report(board, |report| report.missing = ["10.0.0.1/32".parse().unwrap()].into()), false);
    check(|board| report(board, |report| report.progress = Some(Progress::GoingDown { n: 1, of: 2 })), true);
    check(|board| due(board, 0), false);
    check(|board| due(board, 60), true);
    check(|board| board.bird.lock().due = Some(board.started.monotonic), false);
    check(|board| board.bird.lock().families.clear(), false);
    check(|board| board.bird.lock().families[0].in_sync = false, false);
}

#[test]
fn why_names_the_worst() {
    let check = |change: &dyn Fn(&mut ServiceReport), expected: Option<&str>| {
        let board = board();
        let (_, report) = board.services.lock()[1].clone();
        change(&mut report.lock());
        let why = documented(&board, Duration::from_secs(90)).services[1].why.clone();
        assert_eq!(why.as_deref(), expected);
    };
    let result =
        |result: RunResult| move |report: &mut ServiceReport| report.last.as_mut().unwrap().result = result.clone();
    check(&result(RunResult::Exited(0)), None);
    check(&result(RunResult::Signaled(9)), Some("the check was ended by signal 9"));
    check(&result(RunResult::TimedOut), Some("the check took longer than 2 s"));
    check(&result(RunResult::NotStarted("cannot run x: not there".into())), Some("cannot run x: not there"));
    check(&result(RunResult::NotAssigned), Some("no address is assigned to interface lo"));
    let missing = |report: &mut ServiceReport| report.missing = ["10.0.0.2/32".parse().unwrap()].into();
    check(&missing, Some("10.0.0.2/32 not assigned to interface lo"));
    check(&|report| report.problem = Some("no thread".into()), Some("no thread"));
    check(&|report| report.last = None, None);
}

#[test]
fn a_drain_is_told_and_is_no_fault() {
    let board = board();
    let drain = |n: usize, end| {
        let (since, file) = (UNIX_EPOCH, PathBuf::from("/run/drain"));
        board.services.lock()[n].1.lock().drained = Some(Drained { file, end, since });
    };
    drain(1, End::Never);
    drain(2, End::At(UNIX_EPOCH + Duration::from_secs(60)));
    drain(3, End::Never);
    let document = documented(&board, Duration::from_secs(90));
    assert_eq!(document.summary, summary(&board));
    assert_eq!(
        document.summary,
        Summary { services: 1, up: 1, disabled: 1, drained: 2, in_sync: true, ..Summary::default() }
    );
    assert_eq!(document.summary.to_string(), "1 of 1 services up, 2 drained, BIRD in sync");
    assert!(document.well);
    let until = |n: usize| document.services[n].drained.as_ref().unwrap().until.as_ref().map(|until| &*until.text);
    assert_eq!((until(1), until(2), until(3)), (None, Some("1970-01-01T01:01:00.000+01:00"), None));
    let why = document.services[2].why.as_deref();
    assert_eq!(why, Some("drained by /run/drain until 1970-01-01T00:01:00Z"));
}

#[test]
fn a_clock_out_of_every_range_is_survived() {
    let zone = TimeZone::UTC;
    for time in [UNIX_EPOCH - Duration::from_secs(5), UNIX_EPOCH + Duration::from_secs(1 << 60)] {
        assert!(moment(time, &zone).text.ends_with("+00:00"));
    }
}
