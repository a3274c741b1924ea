//! Tables and properties of the transitions.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;
use crate::testing::sample;
use crate::testing::sample::{prefixes, MANY};

const PREFIXES: [&str; 2] = ["10.0.0.1", "fd00::2"];

/// A service with two prefixes on lo. One run decides its state.
fn service() -> Service {
    let one = 1.try_into().unwrap();
    let prefixes = PREFIXES.map(|prefix| prefix.parse().unwrap()).into();
    Service { prefixes, check_rise: one, check_fail: one, ..sample::service("a", "10.0.0.1") }
}

fn prefix(n: usize) -> Prefix {
    PREFIXES[n].parse().unwrap()
}

/// The prefixes of these numbers: `12` is both.
fn these(numbers: &str) -> BTreeSet<Prefix> {
    numbers.chars().map(|n| prefix(n as usize - '1' as usize)).collect()
}

fn result_of(result: RunResult) -> CheckResult {
    let outcome = if result == RunResult::Exited(0) { CheckOutcome::Passed } else { CheckOutcome::Failed };
    CheckResult { outcome, duration: Some(Duration::from_secs(1)), ..CheckResult::failed(result) }
}

fn drain(state: &mut CheckState) -> Change {
    state.drain("/run/drain".into(), DrainEnd::Never)
}

/// Applies the transition of each word, and returns the last change.
///
/// `begin`; `pass`, `fail`, `slow`: a run ends like that, `pass-12` with these prefixes missing;
/// `gone-1`: the address watcher finds it missing; `drain`, `undrain`, `stuck`, `leave`;
/// `advertise`, `withdraw`: `on_disabled` decides; `gain-2`: a reload adds it.
fn last_of(state: &mut CheckState, service: &Service, words: &str) -> Change {
    let mut last = Change::default();
    for word in words.split_whitespace() {
        let (act, numbers) = word.split_once('-').unwrap_or((word, ""));
        let numbers = these(numbers);
        let mut finish = |result| {
            let finished = state.finish(service, UNIX_EPOCH, numbers.clone(), &result_of(result));
            finished.map_or_else(Change::default, |finished| finished.change)
        };
        last = match act {
            "pass" => finish(RunResult::Exited(0)),
            "fail" => finish(RunResult::Exited(7)),
            "slow" => finish(RunResult::TimedOut),
            "begin" => {
                state.begin();
                Change::default()
            }
            "gone" => state.addresses_gone(service, numbers).0,
            "drain" => drain(state),
            "undrain" => state.end_drain(service),
            "stuck" => state.declare_stuck(),
            "advertise" => state.decide(OnDisabled::Advertise),
            "withdraw" => state.decide(OnDisabled::Withdraw),
            "leave" => {
                state.leave();
                Change::default()
            }
            "gain" => {
                *state = state.carried_over(service, &Vec::from_iter(numbers));
                Change::default()
            }
            _ => panic!("{word}"),
        };
    }
    last
}

fn apply(state: &mut CheckState, service: &Service, words: &str) {
    let _ = last_of(state, service, words);
}

/// The intents of both prefixes: `+` advertise, `-` withdraw, `?` keep.
fn intents(state: &CheckState) -> String {
    let verdict = state.verdict();
    let sign = |n| match verdict.intent(&prefix(n)) {
        Intent::Withdraw => '-',
        Intent::Keep => '?',
        Intent::Advertise => '+',
    };
    [0, 1].map(sign).iter().collect()
}

/// Applies `before` and then `word`, and compares: the state, the change of state and of the
/// verdict (`=` for none), both intents, and the code.
fn check(before: &str, word: &str, expected: &str) {
    let (service, mut state) = (service(), CheckState::new(&service()));
    apply(&mut state, &service, before);
    let (transitions, was) = (state.transitions, state.verdict());
    let change = last_of(&mut state, &service, word);
    let states = change.states.map_or("=".to_string(), |[old, new]| format!("{old}>{new}"));
    let code = state.code.map_or("none".to_string(), |code| code.to_string());
    let hint = if change.verdict { "hint" } else { "=" };
    let result = format!("{} {states} {hint} {} {code}", state.state(), intents(&state));
    assert_eq!(result, expected, "{before}, then {word}");
    assert_eq!(change.states.is_some(), state.transitions == transitions + 1, "{before}, then {word}");
    assert_eq!(change.verdict, state.verdict() != was, "{before}, then {word}");
}

#[test]
fn runs_decide_the_state_and_the_intents() {
    check("", "", "unknown = = ?? none");
    check("begin", "pass", "up unknown>up hint ++ 0");
    check("begin", "fail", "down unknown>down hint -- 7");
    check("pass", "pass", "up = = ++ 0");
    check("pass", "slow", "down up>down hint -- 126");
    check("fail", "slow", "down = = -- 126");
    check("fail", "pass", "up down>up hint ++ 0");
    // Some or all addresses are missing.
    check("", "pass-1", "up unknown>up hint -+ 0");
    check("pass", "pass-2", "up = hint +- 0");
    check("pass-1", "pass-2", "up = hint +- 0");
    check("pass-1", "pass", "up = hint ++ 0");
    check("pass", "pass-12", "down up>down hint -- 1");
    check("fail", "fail-12", "down = hint -- 1");
    check("pass-12", "pass", "up down>up hint ++ 0");
}

#[test]
fn addresses_may_go_while_a_check_runs_or_not() {
    for begin in ["pass", "pass begin"] {
        check(begin, "gone-1", "up = hint -+ 0");
        check(begin, "gone", "up = = ++ 0");
        check(&format!("{begin} gone-1"), "gone-1", "up = = -+ 0");
        check(&format!("{begin} gone-1"), "gone-2", "down up>down hint -- 1");
        check(begin, "gone-12", "down up>down hint -- 1");
        check(&format!("{begin} gone-12"), "gone-12", "down = = -- 1");
    }
    check("", "gone-1", "unknown = hint -? none");
    check("", "gone-12", "down unknown>down hint -- 1");
    // A run that is under way counts while some address is left.
    check("begin gone-1", "pass-1", "up unknown>up hint -+ 0");
    check("pass begin gone-1", "pass", "up = hint ++ 0");
    check("pass begin gone-1", "fail-1", "down up>down hint -- 7");
    // It is discarded if all addresses had gone, even if they are back. The next run counts.
    check("pass begin gone-12", "pass-12", "down = = -- 1");
    check("pass begin gone-12", "pass", "down = hint -- 1");
    check("pass begin gone-12 pass begin", "pass", "up down>up hint ++ 0");
    // The run has noticed the loss before the address watcher did.
    check("pass begin pass-12", "gone-12", "down = = -- 1");
    // A drained service has no addresses to lose.
    check("pass drain", "gone-12", "down = = -- 1");
    let disabled = Service { disabled: Some(OnDisabled::Advertise), ..service() };
    let mut state = CheckState::new(&disabled);
    apply(&mut state, &disabled, "advertise gone-12");
    assert_eq!((state.state(), &*intents(&state)), (State::Up, "++"), "addresses do not matter");
}

#[test]
fn only_newly_missing_prefixes_are_returned() {
    let (service, mut state) = (service(), CheckState::new(&service()));
    assert_eq!(state.addresses_gone(&service, these("2")).1, [prefix(1)]);
    assert_eq!(state.addresses_gone(&service, these("12")).1, [prefix(0)]);
    assert_eq!(state.addresses_gone(&service, these("12")).1, []);
    assert_eq!(*state.missing(), these("12"));
    // A prefix that is back counts as missing until the next run.
    assert_eq!(state.addresses_gone(&service, these("1")).1, []);
    assert_eq!(*state.missing(), these("12"));
}

#[test]
fn a_drain_forces_down_until_the_check_has_passed_again() {
    check("", "drain", "down unknown>down hint -- 1");
    check("pass", "drain", "down up>down hint -- 1");
    check("fail", "drain", "down = hint -- 1");
    check("pass-1", "drain", "down up>down hint -- 1");
    check("drain", "drain", "down = = -- 1");
    check("pass drain", "undrain", "down = hint -- 1");
    check("pass drain undrain", "undrain", "down = = -- 1");
    check("pass drain undrain begin", "pass", "up down>up hint ++ 0");
    // A run that was under way is discarded, even if the drain is over.
    check("pass begin drain", "pass", "down = = -- 1");
    check("pass begin drain undrain", "pass", "down = = -- 1");
    check("pass begin drain undrain pass begin", "pass", "up down>up hint ++ 0");
    // It does not change the missing prefixes either.
    check("pass begin drain", "pass-12", "down = = -- 1");
    for word in ["advertise", "withdraw"] {
        check("drain", word, "down = = -- 1");
    }
}

#[test]
fn no_run_begins_while_a_service_is_drained() {
    let (service, mut state) = (service(), CheckState::new(&service()));
    assert!(state.begin());
    let _ = drain(&mut state);
    assert!(!state.begin());
    assert!(state.finish(&service, UNIX_EPOCH, BTreeSet::new(), &result_of(RunResult::Exited(0))).is_none());
    assert_eq!((&state.counts, state.last.is_none()), (&Counts::default(), true), "it is not counted");
    let _ = state.end_drain(&service);
    assert!(state.begin());
}

#[test]
fn a_drain_may_change_its_end_and_keeps_its_start() {
    let (mut state, at) = (CheckState::new(&service()), DrainEnd::At(UNIX_EPOCH));
    let _ = drain(&mut state);
    let since = state.drained().unwrap().since;
    assert_eq!(state.drain("/run/host".into(), at), Change::default());
    assert_eq!(state.drained(), Some(&Drained { file: "/run/host".into(), end: at, since }));
}

#[test]
fn after_a_drain_on_disabled_decides_again() {
    for (decision, expected) in
        [(OnDisabled::Advertise, (State::Up, "++")), (OnDisabled::Withdraw, (State::Down, "--"))]
    {
        let disabled = Service { disabled: Some(decision), ..service() };
        let mut state = CheckState::new(&disabled);
        let _ = drain(&mut state);
        assert_eq!(intents(&state), "--");
        assert!(state.end_drain(&disabled).verdict);
        assert_eq!((state.state(), &*intents(&state)), expected);
    }
}

#[test]
fn on_disabled_decides_for_a_disabled_check() {
    check("", "advertise", "up unknown>up hint ++ none");
    check("", "withdraw", "down unknown>down hint -- none");
    check("pass", "withdraw", "down up>down hint -- 0");
    check("fail-12", "advertise", "up down>up hint ++ 1");
    check("pass gain-2", "advertise", "up = hint ++ 0");
}

#[test]
fn a_stuck_service_is_down_until_its_thread_is_back() {
    check("", "stuck", "down unknown>down hint -- 126");
    check("pass begin", "stuck", "down up>down hint -- 126");
    check("fail begin", "stuck", "down = = -- 126");
    // The run that hung is discarded; the thread is back.
    check("pass begin stuck", "pass", "down = = -- 126");
    check("pass begin stuck", "fail", "down = = -- 7");
    check("pass begin stuck pass begin", "pass", "up down>up hint ++ 0");
    // It hung between two runs: the next run counts.
    check("pass stuck begin", "pass", "up down>up hint ++ 0");
    let (service, mut state) = (service(), CheckState::new(&service()));
    apply(&mut state, &service, "begin stuck");
    assert!(state.is_stuck());
    let mut finish = || state.finish(&service, UNIX_EPOCH, BTreeSet::new(), &result_of(RunResult::Exited(0))).unwrap();
    assert_eq!((finish().was_stuck, finish().was_stuck), (true, false));
    assert!(!state.is_stuck());
    // During a drain nothing runs: the thread is back with its next cycle.
    apply(&mut state, &service, "stuck drain");
    assert!(state.is_stuck());
    apply(&mut state, &service, "begin");
    assert!(!state.is_stuck());
}

#[test]
fn a_service_that_was_forced_down_needs_all_its_passes_again() {
    let service = Service { check_rise: 2.try_into().unwrap(), check_fail: 2.try_into().unwrap(), ..service() };
    for cause in ["drain undrain", "stuck", "gone-12"] {
        let mut state = CheckState::new(&service);
        apply(&mut state, &service, "pass begin");
        apply(&mut state, &service, cause);
        // The first was under way, and one pass is not enough.
        for (words, expected) in [("pass", State::Down), ("begin pass", State::Down), ("begin pass", State::Up)] {
            apply(&mut state, &service, words);
            assert_eq!(state.state(), expected, "{cause} {words}");
        }
    }
}

#[test]
fn a_leaving_service_is_withdrawn_in_any_state() {
    for before in ["", "pass", "fail", "pass drain", "pass-1", "pass gain-2", "advertise"] {
        let (service, mut state) = (service(), CheckState::new(&service()));
        apply(&mut state, &service, before);
        apply(&mut state, &service, "leave");
        for after in ["", "begin pass", "undrain", "advertise"] {
            apply(&mut state, &service, after);
            assert_eq!((&*intents(&state), state.verdict().is_known()), ("--", true), "{before} leave {after}");
        }
    }
}

#[test]
fn a_service_is_known_after_its_first_verdict() {
    for (words, expected) in [("", false), ("pass", true), ("fail", true), ("drain", true), ("gone-1", false)] {
        let (service, mut state) = (service(), CheckState::new(&service()));
        apply(&mut state, &service, words);
        assert_eq!(state.verdict().is_known(), expected, "{words}");
    }
}

/// All combinations of what an intent depends on.
#[test]
fn an_intent_depends_on_the_state_and_the_exceptions() {
    use Intent::{Advertise, Keep, Withdraw};
    let one = prefix(0);
    for (state, plain, of_unconfirmed) in
        [(State::Unknown, Keep, Keep), (State::Up, Advertise, Keep), (State::Down, Withdraw, Withdraw)]
    {
        for n in 0..8 {
            let [withheld, missing, gained] = [1, 2, 4].map(|bit| n & bit != 0);
            let set = |with| if with { these("1") } else { these("2") };
            let verdict = Verdict { withheld, ..Verdict::of(state).with(set(missing), set(gained)) };
            let expected = match (withheld || missing, gained) {
                (true, _) => Withdraw,
                (false, true) => of_unconfirmed,
                (false, false) => plain,
            };
            assert_eq!(verdict.intent(&one), expected, "{verdict:?}");
        }
    }
}

/// A reload adds the second prefix to a service with the first.
#[test]
fn a_service_that_has_only_lost_its_addresses_keeps_an_added_prefix() {
    let after = service();
    let before = Service { prefixes: vec![prefix(0)], ..service() };
    for (words, then, expected) in [
        ("gone-1", "", Intent::Keep),
        ("pass-1", "", Intent::Keep),
        ("pass gone-1", "", Intent::Keep),
        ("fail", "", Intent::Withdraw),
        ("fail gone-1", "", Intent::Withdraw),
        ("gone-1 fail", "", Intent::Withdraw),
        ("gone-1 drain", "", Intent::Withdraw),
        ("gone-1", "fail-1", Intent::Withdraw),
        ("gone-1", "pass-1", Intent::Advertise),
    ] {
        let mut state = CheckState::new(&before);
        apply(&mut state, &before, words);
        let mut state = state.carried_over(&after, &[prefix(1)]);
        apply(&mut state, &after, then);
        assert_eq!(state.verdict().intent(&prefix(1)), expected, "{words}, then {then}");
    }
}

#[test]
fn each_verdict_has_the_code_of_its_run() {
    let check = |progress: Progress, result: RunResult, expected: Option<i32>| {
        assert_eq!(result.verdict_code(progress), expected, "{progress:?} {result:?}");
    };
    let (up, down) = (Progress::Changed(State::Up), Progress::Changed(State::Down));
    check(up, RunResult::Exited(0), Some(0));
    check(Progress::Confirmed(State::Up), RunResult::Exited(0), Some(0));
    check(down, RunResult::Exited(7), Some(7));
    check(Progress::Confirmed(State::Down), RunResult::Signaled(9), Some(-9));
    check(down, RunResult::TimedOut, Some(126));
    check(down, RunResult::NotStarted(String::new()), Some(126));
    check(down, RunResult::NotAssigned, Some(1));
    check(down, RunResult::Exited(0), Some(126));
    check(Progress::GoingUp { n: 1, of: 2 }, RunResult::Exited(0), None);
    check(Progress::GoingDown { n: 1, of: 2 }, RunResult::Exited(7), None);
}

#[test]
fn runs_are_counted_by_result() {
    let (service, mut state) = (service(), CheckState::new(&service()));
    let results = [
        RunResult::Exited(0),
        RunResult::Exited(1),
        RunResult::Signaled(9),
        RunResult::NotStarted("why".into()),
        RunResult::TimedOut,
        RunResult::TimedOut,
    ];
    for (n, result) in results.into_iter().enumerate() {
        let began = UNIX_EPOCH + Duration::from_secs(n as u64);
        state.finish(&service, began, BTreeSet::new(), &result_of(result));
    }
    state.finish(&service, UNIX_EPOCH, these("12"), &CheckResult::not_assigned());
    let first_time_out = Some(UNIX_EPOCH + Duration::from_secs(4));
    assert_eq!(state.counts, Counts { passed: 1, failed: 3, timed_out: 2, first_time_out, not_assigned: 1 });
}

#[test]
fn the_last_run_is_kept_with_the_output_of_a_failure() {
    let (service, mut state) = (service(), CheckState::new(&service()));
    let with_output = |result| CheckResult { stdout: b"out ".into(), stderr: b"\xff err".into(), ..result_of(result) };
    let mut output_changed = Vec::new();
    for (result, output) in [
        (RunResult::Exited(0), ""),
        (RunResult::Exited(3), "out \u{fffd} err"),
        (RunResult::Exited(3), "out \u{fffd} err"),
        (RunResult::TimedOut, "out \u{fffd} err"),
    ] {
        let finished = state.finish(&service, UNIX_EPOCH, BTreeSet::new(), &with_output(result.clone())).unwrap();
        output_changed.push(finished.output_changed);
        let last = state.last.as_ref().unwrap();
        assert_eq!((&last.result, &*last.output), (&result, output));
    }
    assert_eq!(output_changed, [true, true, false, false]);
    // A run that timed out does not change the duration.
    assert_eq!(state.duration, Some(Duration::from_secs(1)));
    assert_eq!(state.deadline(), None, "the thread cannot be overdue before its next report");
}

#[test]
fn a_reload_carries_the_state_over() {
    let (before, mut state) = (service(), CheckState::new(&service()));
    apply(&mut state, &before, "fail pass-1");
    state.expect_progress_by(Some(Instant::now()));
    state.problem = Some("why".into());
    state.hook.failed = 3;
    let lost = Service { prefixes: vec![prefix(1)], ..service() };
    let elsewhere = Service { assigned_to: None, ..service() };
    for (after, gained, missing, expected) in
        [(service(), "", "1", "-+"), (service(), "2", "1", "-?"), (lost, "", "", "++"), (elsewhere, "", "", "++")]
    {
        let carried = state.carried_over(&after, &Vec::from_iter(these(gained)));
        assert_eq!((carried.missing(), &*intents(&carried)), (&these(missing), expected));
        assert_eq!((carried.state(), carried.since, carried.code), (State::Up, state.since, Some(0)));
        assert_eq!((carried.transitions, &carried.counts, &carried.hook), (2, &state.counts, &state.hook));
        assert_eq!((carried.deadline(), carried.progress, carried.problem), (None, None, None));
    }
    apply(&mut state, &before, "stuck drain");
    let carried = state.carried_over(&before, &[]);
    assert_eq!(
        (carried.is_stuck(), carried.drained()),
        (false, state.drained()),
        "the old thread was stuck, not the new one"
    );
    // The counters towards another state start again at 0, with the new thresholds.
    let slow = Service { check_fail: 2.try_into().unwrap(), ..service() };
    let mut state = CheckState::new(&slow);
    apply(&mut state, &slow, "pass fail");
    let mut carried = state.carried_over(&slow, &[]);
    assert!(state.is_undecided() && !carried.is_undecided());
    apply(&mut carried, &slow, "fail");
    assert_eq!(carried.state(), State::Up);
    apply(&mut carried, &slow, "fail");
    assert_eq!(carried.state(), State::Down);
}

#[test]
fn added_prefixes_are_confirmed_by_the_next_verdict() {
    check("pass gain-2", "", "up = = +? 0");
    check("pass gain-2", "pass", "up = hint ++ 0");
    check("pass gain-2", "pass-2", "up = hint +- 0");
    check("pass gain-2", "gone-2", "up = hint +- 0");
    check("pass gain-2", "fail", "down up>down hint -- 7");
    check("fail gain-2", "", "down = = -- 7");
    check("gain-2", "", "unknown = = ?? none");
    check("pass gain-2 gain-1", "", "up = = ?? 0");
    let slow = Service { check_rise: 2.try_into().unwrap(), ..service() };
    let mut state = CheckState::new(&slow);
    apply(&mut state, &slow, "pass pass gain-2 pass");
    assert_eq!(intents(&state), "+?", "one pass is no verdict");
    apply(&mut state, &slow, "pass");
    assert_eq!(intents(&state), "++");
}

#[test]
fn each_report_of_the_thread_is_progress() {
    let (service, mut state) = (service(), CheckState::new(&service()));
    let later = Instant::now();
    state.expect_progress_by(Some(later));
    assert_eq!((state.deadline(), state.thread_progress()), (Some(later), 1));
    // Transitions by other threads are not progress.
    apply(&mut state, &service, "gone-1 drain undrain stuck");
    assert_eq!((state.deadline(), state.thread_progress()), (Some(later), 1));
    apply(&mut state, &service, "begin pass");
    assert_eq!((state.deadline(), state.thread_progress()), (None, 2));
}

#[test]
fn a_service_may_have_very_many_prefixes() {
    let n = MANY;
    let service = Service { prefixes: prefixes(n), ..service() };
    let all: BTreeSet<Prefix> = service.prefixes.iter().copied().collect();
    let mut state = CheckState::new(&service).carried_over(&service, &service.prefixes);
    state.finish(&service, UNIX_EPOCH, all.clone(), &result_of(RunResult::Exited(0)));
    assert_eq!(state.addresses_gone(&service, all).1, []);
    let carried = state.carried_over(&service, &service.prefixes);
    assert_eq!((carried.exceptions.missing.len(), carried.exceptions.unconfirmed.len()), (n, n));
    let verdict = carried.verdict();
    assert!(service.prefixes.iter().all(|prefix| verdict.intent(prefix) == Intent::Withdraw));
}

proptest! {
    /// In any order, a transition reports exactly what it changed, a drained service is withdrawn,
    /// and a missing prefix is never advertised.
    #[test]
    fn transitions_keep_their_guarantees(words in proptest::collection::vec(proptest::sample::select(vec![
        "begin", "pass", "pass-1", "pass-12", "fail", "slow", "fail-2", "gone-1", "gone-2", "gone-12", "drain", "undrain",
        "stuck", "gain-1", "gain-2",
    ]), 0..40)) {
        let (service, mut state) = (service(), CheckState::new(&service()));
        for word in words {
            let (before, transitions, verdict) = (state.state(), state.transitions, state.verdict());
            let was_drained = state.drained().is_some();
            let change = last_of(&mut state, &service, word);
            if !word.starts_with("gain") {
                prop_assert_eq!(change.verdict, state.verdict() != verdict, "{}", word);
            }
            prop_assert_eq!(change.states, (before != state.state()).then(|| [before, state.state()]), "{}", word);
            prop_assert_eq!(state.transitions - transitions, u64::from(change.states.is_some()), "{}", word);
            if was_drained && word != "undrain" {
                prop_assert_eq!((state.state(), &*intents(&state)), (State::Down, "--"), "{}", word);
            }
            if before == State::Down && state.state() == State::Up {
                prop_assert!(word.starts_with("pass"), "{}", word);
            }
            for missing in state.missing().clone() {
                prop_assert_eq!(state.verdict().intent(&missing), Intent::Withdraw);
            }
        }
    }
}
