use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::report::document::{HoldStatus, Moment};
use crate::report::status::document;
use crate::testing::sample;

fn check_range(text: &str, alerts: &[f64], silent: &[f64]) {
    let range: Range = text.parse().unwrap();
    for value in alerts {
        assert!(range.alerts(*value), "{text} {value}");
    }
    for value in silent {
        assert!(!range.alerts(*value), "{text} {value}");
    }
}

#[test]
fn ranges_follow_the_guidelines() {
    check_range("10", &[-1.0, 10.5], &[0.0, 10.0]);
    check_range("0", &[1.0, -1.0], &[0.0]);
    check_range("10:", &[9.0], &[10.0, 1e9]);
    check_range("~:10", &[11.0], &[-1e9, 10.0]);
    check_range("10:20", &[9.0, 21.0], &[10.0, 20.0]);
    check_range("@10:20", &[10.0, 20.0], &[9.0, 21.0]);
    check_range("@1:", &[1.0, 5.0], &[0.0]);
    check_range("0.5", &[1.0], &[0.5]);
    for text in ["", "x", "1:x", ":", "10:5", "~", "@", "1:2:3", "nan", "inf", ":5", "1,5", "5%"] {
        let error = text.parse::<Range>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("'{text}' is no threshold range: ")), "{error}");
    }
}

fn thresholds(warning: Option<&str>, critical: Option<&str>) -> Thresholds {
    let range = |text: &str| text.parse().unwrap();
    Thresholds { warning: warning.map(range), critical: critical.map(range), behind_s: 10.0, to_nobody_s: 60.0 }
}

/// Returns the document of a daemon with this many services, all of which are up.
fn all_up(services: usize) -> Document {
    let service = |n| sample::service(&format!("s{n}"), &format!("10.0.0.{n}/32"));
    let daemon = sample::daemon_state((0..services).map(service).collect());
    daemon.checks.lock().iter().for_each(|check| sample::decide(check, crate::check::health::State::Up));
    let list = std::sync::Arc::new([]);
    daemon.bird.lock().families = vec![sample::family(crate::prefix::Family::V4, list)];
    Document { pid: 42, uptime_s: 100.0, ..document(&daemon, daemon.started, &jiff::tz::TimeZone::UTC) }
}

fn down(service: &mut ServiceStatus, why: &str) {
    service.state = State::Down;
    service.why = Some(why.to_string());
}

/// Checks the first line, up to the performance data, after one change to a document with 6
/// services that are up. The summary of the document stays as it was.
fn check(change: impl FnOnce(&mut Document), thresholds: &Thresholds, expected: &str) {
    let mut document = all_up(6);
    change(&mut document);
    let line = judge(&document, thresholds).to_string();
    let text = line.split(" | ").next().unwrap().replace("6 of 6 services up, BIRD in sync (pid 42)", "SUMMARY");
    assert_eq!(text, expected);
    assert_eq!(line.matches('|').count(), 1, "{line}");
}

#[test]
fn each_problem_has_its_status() {
    let usual = &thresholds(Some("0"), None);
    check(|_| {}, usual, "OK - SUMMARY");
    check(
        |document| document.writer_overdue_s = Some(3.5),
        usual,
        "CRITICAL - the thread that writes the prefix files has been stuck for 3.5 s; SUMMARY",
    );
    check(
        |document| {
            document.services[2].overdue_s = Some(4.0);
            document.services[2].why = Some("the check is stuck, it should have reported 4 s ago".into());
        },
        usual,
        "CRITICAL - s2: the check is stuck, it should have reported 4 s ago; SUMMARY",
    );
    check(
        |document| {
            document.services[2].problem = Some("no thread".into());
            document.services[2].why = Some("no thread".into());
        },
        usual,
        "CRITICAL - s2: no thread; SUMMARY",
    );
    check(
        |document| document.reload_error = Some("a.conf line 3: x | y\nz".into()),
        usual,
        "WARNING - the last reload was refused: a.conf line 3: x \\u{7c} y\\nz; SUMMARY",
    );
    check(
        |document| document.families[0].unmanaged = vec!["10.9.9.9/32".into()],
        usual,
        "WARNING - /var/lib/prefixes.conf lists 10.9.9.9/32, which no service has; SUMMARY",
    );
    check(
        |document| down(&mut document.services[1], "exit code 3"),
        usual,
        "WARNING - down: s1 (exit code 3); SUMMARY",
    );
    check(|document| document.services[1].prefixes[0].missing = true, usual, "WARNING - down: s1; SUMMARY");
    check(|document| document.services[1].state = State::Unknown, usual, "OK - SUMMARY");
    let no_verdict = |document: &mut Document| {
        let service = &mut document.services[1];
        (service.state, service.verdict_overdue_s) = (State::Unknown, Some(4.0));
        service.why = Some("there is no first verdict, which was due 4 s ago".into());
    };
    check(no_verdict, usual, "WARNING - s1: there is no first verdict, which was due 4 s ago; SUMMARY");
    check(
        no_verdict,
        &thresholds(None, None),
        "WARNING - s1: there is no first verdict, which was due 4 s ago; SUMMARY",
    );
    check(
        |document| {
            no_verdict(document);
            document.services[1].overdue_s = Some(1.0);
        },
        usual,
        "CRITICAL - s1: there is no first verdict, which was due 4 s ago; SUMMARY",
    );
    check(
        |document| {
            down(&mut document.services[1], "x");
            document.services[1].disabled = Some("withdraw".into());
            document.services[1].overdue_s = Some(9.0);
        },
        usual,
        "OK - SUMMARY",
    );
}

#[test]
fn bird_may_be_behind_up_to_the_limit() {
    let behind = |since: Option<f64>, uptime_s: f64, problem: Option<&str>| {
        let problem = problem.map(str::to_string);
        move |document: &mut Document| {
            document.uptime_s = uptime_s;
            let family = &mut document.families[0];
            (family.in_sync, family.out_of_sync_s, family.problem) = (false, since, problem);
        }
    };
    let usual = &thresholds(None, None);
    check(behind(Some(9.9), 100.0, None), usual, "OK - SUMMARY");
    check(
        behind(Some(10.0), 100.0, Some("birdc: cannot connect")),
        usual,
        "CRITICAL - IPv4 not in sync for 10 s: birdc: cannot connect; SUMMARY",
    );
    check(behind(None, 5.0, None), usual, "OK - SUMMARY");
    check(
        behind(None, 100.0, None),
        usual,
        "CRITICAL - IPv4 not in sync for 100 s: BIRD did not take the prefix file; SUMMARY",
    );
}

fn hold(waiting_for: &[String]) -> Option<HoldStatus> {
    let until = Moment { text: "2026-11-22T08:52:54.123+01:00".into(), unix: 1660.0 };
    Some(HoldStatus { until, waiting_for: waiting_for.to_vec() })
}

#[test]
fn a_hold_is_a_warning_and_is_explained() {
    let names: Vec<String> = (0..7).map(|n| format!("s{n}")).collect();
    let held = |seconds: f64, problem: Option<&str>, waiting_for: &[String]| {
        let (problem, hold) = (problem.map(str::to_string), hold(waiting_for));
        move |document: &mut Document| {
            let family = &mut document.families[0];
            (family.in_sync, family.out_of_sync_s) = (false, Some(seconds));
            (family.problem, family.hold) = (problem, hold);
        }
    };
    let usual = &thresholds(None, None);
    let until = "held until 2026-11-22T08:52:54.123+01:00";
    check(held(9.9, None, &names[..1]), usual, "OK - SUMMARY");
    let line = |waits: &str| format!("WARNING - IPv4 not in sync for 10 s: {until}{waits}; SUMMARY");
    check(held(10.0, None, &names[..2]), usual, &line(", waiting for the first verdict of s0, s1"));
    check(held(10.0, None, &names), usual, &line(", waiting for the first verdict of s0, s1, s2, s3, s4 and 2 more"));
    check(held(10.0, None, &[]), usual, &line(""));
    let full = "CRITICAL - IPv4 not in sync for 10 s: the disk is full; SUMMARY";
    check(held(10.0, Some("the disk is full"), &names), usual, full);
    let mut document = all_up(1);
    held(10.0, None, &names[..1])(&mut document);
    assert_eq!(
        judge(&document, usual).details[0],
        format!("IPv4 not in sync, 0 wanted, 0 in /var/lib/prefixes.conf, 0 in BIRD: {until}, waiting for the first verdict of s0")
    );
}

#[test]
fn thresholds_count_services_that_are_down() {
    let some = |count: usize| {
        move |document: &mut Document| {
            for service in &mut document.services[..count] {
                service.state = State::Down;
            }
        }
    };
    check(some(2), &thresholds(Some("2"), Some("4")), "OK - SUMMARY");
    check(some(3), &thresholds(Some("2"), Some("4")), "WARNING - down: s0, s1, s2; SUMMARY");
    check(some(6), &thresholds(Some("2"), Some("4")), "CRITICAL - down: s0, s1, s2, s3, s4 and 1 more; SUMMARY");
    check(some(6), &thresholds(None, None), "OK - SUMMARY");
    check(some(0), &thresholds(Some("1:"), None), "WARNING - down: 0 services; SUMMARY");
}

#[test]
fn the_first_problems_are_named_and_the_rest_is_counted() {
    let all = |document: &mut Document| {
        document.reload_error = Some("y".into());
        for service in &mut document.services {
            (service.overdue_s, service.why) = (Some(1.0), Some("x".into()));
        }
    };
    check(all, &thresholds(Some("0"), None), "CRITICAL - s0: x; s1: x; s2: x; s3: x; s4: x; 2 more problems; SUMMARY");
}

#[test]
fn performance_data_have_values_and_thresholds() {
    let mut document = all_up(3);
    down(&mut document.services[0], "x");
    document.families[0].failed = 4;
    document.log_lines_dropped = 5;
    let result = judge(&document, &thresholds(Some("1"), Some("@2:3")));
    let expected = "services=3;;;0 up=3;;;0;3 down=1;1;@2:3;0;3 unknown=0;;;0;3 disabled=0;;;0 not_in_sync=0;;;0;1 \
                    reconfigures_failed=4c log_lines_dropped=5c uptime=100s;;;0";
    assert_eq!(result.perfdata, expected);
    assert_eq!(result.details.len(), 4);
    assert_eq!(result.details[0], "IPv4 in sync, 0 wanted, 0 in /var/lib/prefixes.conf, 0 in BIRD");
    assert!(result.details[1].starts_with("s0 down since 20") && result.details[1].ends_with("+00:00: x"));
}

#[test]
fn without_a_document_the_result_is_never_ok() {
    let path = || PathBuf::from("/run/s");
    let source = || io::Error::from_raw_os_error(2);
    let check = |why: AskError, expected: Status| {
        let result = judge_failure(&why);
        assert_eq!(result.status, expected);
        assert_eq!(result.to_string(), format!("{expected} - {why}"));
    };
    check(AskError::NotRunning { path: path(), source: source() }, Status::Critical);
    check(AskError::TimedOut { path: path(), limit: Duration::from_secs(1) }, Status::Critical);
    check(AskError::Denied { path: path(), group: "bird".into() }, Status::Unknown);
    check(AskError::Garbage { path: path(), why: "x".into() }, Status::Unknown);
    check(AskError::Io { path: path(), source: source() }, Status::Unknown);
    let codes = [Status::Ok, Status::Warning, Status::Critical, Status::Unknown].map(Status::exit_code);
    assert_eq!(codes, [0, 1, 2, 3]);
}

proptest::proptest! {
    #[test]
    fn no_text_can_forge_the_output(name: String, why: String) {
        let mut document = all_up(1);
        document.services[0].name = name;
        down(&mut document.services[0], &why);
        let result = judge(&document, &thresholds(Some("0"), None));
        let line = result.to_string();
        proptest::prop_assert_eq!(line.matches('|').count(), 1);
        proptest::prop_assert!(!line.contains(char::is_control) && !result.details.concat().contains(['|', '\n']));
    }
}
