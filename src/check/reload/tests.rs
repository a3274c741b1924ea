//! Tables and properties of reloads.

use std::collections::BTreeMap;
use std::time::{Instant, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::check::health::State;
use crate::check::state::{self, CheckResult, CheckState, Intent, RunResult};
use crate::check::trigger::Wakeup;
use crate::config::diff::diff;
use crate::config::settings::{OnDisabled, Service, Settings};
use crate::drain_file::DrainEnd;
use crate::prefix::Prefix;
use crate::testing::sample;

/// Parses a service such as `a 1,2` with the prefixes 10.0.0.1 and 10.0.0.2. One run decides its
/// state. `!` after the name changes a setting.
fn service(text: &str) -> Service {
    let (name, numbers) = text.split_once(' ').unwrap_or((text, ""));
    let one = 1.try_into().unwrap();
    Service {
        name: name.trim_end_matches('!').into(),
        prefixes: numbers.split(',').map(|n| format!("10.0.0.{n}").parse().unwrap()).collect(),
        check_rise: one,
        check_fail: if name.ends_with('!') { 2.try_into().unwrap() } else { one },
        ..sample::service("", "10.0.0.1")
    }
}

fn settings(services: Vec<Arc<Service>>) -> Settings {
    Settings { services, ..crate::config::diff::tests::settings("", "") }
}

/// Parses services such as `a 1,2; b! 3`.
fn parse(text: &str) -> Vec<Arc<Service>> {
    text.split("; ").filter(|text| !text.is_empty()).map(|text| Arc::new(service(text))).collect()
}

/// Creates the checks of these services. Those named in `up` are up, the others unknown.
fn checks(services: &[Arc<Service>], up: &str) -> Vec<Arc<Check>> {
    let checks: Vec<Arc<Check>> = services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
    for check in checks.iter().filter(|check| up.contains(check.name())) {
        let _ = check.state_mut().decide(OnDisabled::Advertise);
    }
    checks
}

fn change(old: &[Arc<Check>], services: Vec<Arc<Service>>) -> ReloadPlan {
    diff(&settings(old.iter().map(|check| check.service.clone()).collect()), settings(services)).unwrap()
}

fn pointers(checks: &[Arc<Check>]) -> HashSet<*const Check> {
    checks.iter().map(Arc::as_ptr).collect()
}

fn names(checks: &[Arc<Check>]) -> String {
    let mut names: Vec<&str> = checks.iter().map(|check| check.name()).collect();
    names.sort_unstable();
    names.concat()
}

/// The intents of a check's prefixes: `+` advertise, `-` withdraw, `?` keep.
fn intents(check: &Check) -> String {
    let verdict = check.state().verdict();
    let sign = |prefix: &Prefix| match verdict.intent(prefix) {
        Intent::Withdraw => '-',
        Intent::Keep => '?',
        Intent::Advertise => '+',
    };
    check.service.prefixes.iter().map(sign).collect()
}

/// Compares the effect of a reload before which the services `up` are up: the checks with their
/// states and intents, with `=` before unchanged ones; those that stop; those that start.
fn check(before: &str, up: &str, after: &str, expected: &str, stop: &str, start: &str) {
    let old = checks(&parse(before), up);
    let known = pointers(&old);
    let Replacement { checks, stop: stopped, start: started } = replace(&old, &change(&old, parse(after)));
    let show = |check: &Arc<Check>| {
        let same = if known.contains(&Arc::as_ptr(check)) { "=" } else { "" };
        let state = check.state().state();
        format!("{same}{}:{state}{}", check.name(), intents(check))
    };
    let shown = checks.iter().map(show).collect::<Vec<_>>().join(" ");
    let what = format!("{before} -> {after}");
    assert_eq!((&*shown, &*names(&stopped), &*names(&started)), (expected, stop, start), "{what}");
}

#[test]
fn a_reload_keeps_the_state_of_each_service() {
    check("", "", "", "", "", "");
    check("a 1; b 2", "a", "a 1; b 2", "=a:up+ =b:unknown?", "", "");
    // Another order changes nothing.
    check("a 1; b 2", "a", "b 2; a 1", "=b:unknown? =a:up+", "", "");
    check("a 1", "a", "a 1; b 2", "=a:up+ b:unknown?", "", "b");
    check("a 1; b 2", "ab", "b 2", "=b:up+", "a", "");
    check("a 1; b 2", "ab", "", "", "ab", "");
    // Changed: the state stays, and an added prefix waits for a verdict.
    check("a 1; b 2", "ab", "a! 1; b 2", "a:up+ =b:up+", "a", "a");
    check("a 1", "a", "a 1,2", "a:up+?", "a", "a");
    check("a 1,2", "a", "a 2", "a:up+", "a", "a");
    check("a 1", "", "a 2", "a:unknown?", "a", "a");
    check("a 1", "a", "a 2", "a:up?", "a", "a");
    // Renamed: a new service in the state unknown.
    check("a 1", "a", "b 1", "b:unknown?", "a", "b");
    // Names are swapped, and prefixes move: the state belongs to the name.
    check("a 1; b 2", "a", "b 1; a 2", "b:unknown? a:up?", "ab", "ab");
    check("a 1,2; b 3", "ab", "a 1; b 2,3", "a:up+ b:up?+", "ab", "ab");
    check("a 1,2; b 3", "a", "a 1; b 2,3", "a:up+ b:unknown??", "ab", "ab");
    check("a 1; b 2", "ab", "b 1,2", "b:up?+", "ab", "b");
    check("a 1; b 2; c 3", "ac", "c 3; d 1; a! 2", "=c:up+ d:unknown? a:up?", "ab", "ad");
}

/// Added prefixes are withdrawn too.
#[test]
fn a_service_that_is_forced_down_stays_so() {
    type Transition = fn(&mut CheckState) -> state::Change;
    let transitions: [(&str, Transition); 3] = [
        ("drained", |state| state.drain("/run/drain".into(), DrainEnd::Never)),
        ("down", |state| state.decide(OnDisabled::Withdraw)),
        ("stuck", |state| state.declare_stuck()),
    ];
    for (what, transition) in transitions {
        let old = checks(&parse("a 1"), "a");
        let _ = transition(&mut old[0].state_mut());
        let new = replace(&old, &change(&old, parse("a! 1,2"))).checks;
        assert_eq!(intents(&new[0]), "--", "{what}");
        assert_eq!(new[0].state().drained(), old[0].state().drained(), "{what}");
    }
}

#[test]
fn transitions_of_the_old_check_do_not_change_the_new_one() {
    let old = checks(&parse("a 1; b 2"), "ab");
    let new = replace(&old, &change(&old, parse("a! 1,2; b 2"))).checks;
    let before = new.iter().map(|check| format!("{:?}", *check.state())).collect::<Vec<_>>();
    change_all(&old[0]);
    assert!(new.iter().map(|check| format!("{:?}", *check.state())).eq(before));
    let [old, new] = [&old[0], &new[0]].map(|check| check.trigger.wait_until(Instant::now()));
    assert_eq!((old, new), (Wakeup::CheckNow, Wakeup::Time));
}

/// Makes every change that the threads may still make: the check thread, the watchers, the
/// supervisor, a hook.
fn change_all(check: &Check) {
    check.trigger.check_now();
    let mut state = check.state_mut();
    state.begin();
    state.finish(&check.service, UNIX_EPOCH, Default::default(), &CheckResult::failed(RunResult::TimedOut));
    let _ = state.declare_stuck();
    let _ = state.addresses_gone(&check.service, check.service.prefixes.iter().copied().collect());
    let _ = state.drain("/run/drain".into(), DrainEnd::Never);
    state.hook.failed += 1;
    state.expect_progress_by(None);
}

/// Any configuration of up to five services in any order, each with some of three prefixes and one
/// of two settings.
fn configurations() -> impl Strategy<Value = Vec<Arc<Service>>> {
    let name = prop::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=5).prop_shuffle();
    let rest = prop::collection::vec((prop::bool::ANY, prop::sample::subsequence(vec![1, 2, 3], 1..=3)), 5);
    (name, rest).prop_map(|(names, rest)| {
        let service = |(name, (other, numbers)): (&str, (bool, Vec<u32>))| {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            Arc::new(service(&format!("{name}{} {}", if other { "!" } else { "" }, numbers.join(","))))
        };
        names.into_iter().zip(rest).map(service).collect()
    })
}

proptest! {
    #[test]
    fn reloads_keep_their_guarantees(
        before in configurations(),
        after in configurations(),
        ups in prop::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=5),
        drained in prop::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=5),
    ) {
        let old = checks(&before, &ups.concat());
        for check in old.iter().filter(|check| drained.contains(&check.name())) {
            let _ = check.state_mut().drain("/run/drain".into(), DrainEnd::Never);
        }
        let change = change(&old, after.clone());
        let by_name: BTreeMap<&str, &Arc<Check>> = old.iter().map(|check| (check.name(), check)).collect();
        let Replacement { checks, stop, start } = replace(&old, &change);

        // There is one check a service, in the same order.
        prop_assert!(checks.iter().map(|check| &check.service).eq(&after));
        for check in checks.iter() {
            let (state, before) = (check.state().clone(), by_name.get(check.name()));
            match before {
                None => prop_assert_eq!((state.state(), intents(check).replace('?', "")), (State::Unknown, String::new())),
                Some(old) if old.service == check.service => {
                    prop_assert!(Arc::ptr_eq(old, check) && Arc::ptr_eq(&old.service, &check.service));
                }
                Some(old) => {
                    let was = old.state().clone();
                    prop_assert!(!Arc::ptr_eq(old, check));
                    prop_assert_eq!((state.state(), state.since, state.transitions), (was.state(), was.since, was.transitions));
                    prop_assert_eq!(state.drained(), was.drained());
                    for prefix in &check.service.prefixes {
                        let gained = !old.service.prefixes.contains(prefix);
                        let expected = match was.state() {
                            State::Up if gained => Intent::Keep,
                            State::Up => Intent::Advertise,
                            State::Unknown => Intent::Keep,
                            State::Down => Intent::Withdraw,
                        };
                        prop_assert_eq!(state.verdict().intent(prefix), expected);
                    }
                }
            }
        }

        // Each old check either continues or stops; each resulting check either continues or
        // starts.
        let [was, is, stops, starts] = [&old[..], &checks, &stop, &start].map(pointers);
        prop_assert_eq!((stops.len(), starts.len()), (stop.len(), start.len()));
        prop_assert!(stops.is_disjoint(&starts) && stops.is_disjoint(&is) && starts.is_disjoint(&was));
        prop_assert_eq!(&was - &stops, &is - &starts);
        prop_assert!(stops.is_subset(&was) && starts.is_subset(&is));
        // `replaced` names exactly those that stop.
        let replaced: HashSet<*const Check> = replaced(&old, &change).into_iter().map(Arc::as_ptr).collect();
        prop_assert_eq!(&replaced, &stops);

        let states = |checks: &[Arc<Check>]| -> Vec<String> {
            checks.iter().map(|check| format!("{:?}", *check.state())).collect()
        };
        let before = states(&checks);
        stop.iter().for_each(|check| change_all(check));
        prop_assert_eq!(states(&checks), before);
    }
}
