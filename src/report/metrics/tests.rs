use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::*;
use crate::bird::state::{self as bird, FamilyState};
use crate::check::health::CheckOutcome;
use crate::check::state::{CheckResult, Counts, HookRuns, Run};
use crate::command::Command;
use crate::config::settings::{OnDisabled, TimedCommand};
use crate::testing::sample;

fn check_number(value: f64, expected: &str) {
    assert_eq!(number(value), expected);
}

#[test]
fn numbers_are_formatted_as_in_python() {
    check_number(0.0, "0.0");
    check_number(1.0, "1.0");
    check_number(126.0, "126.0");
    check_number(-9.0, "-9.0");
    check_number(0.05555152893066406, "0.05555152893066406");
    check_number(1795341934.629076, "1.795341934629076e+09");
    check_number(123456.5, "123456.5");
    check_number(999999.0, "999999.0");
    check_number(1000000.0, "1e+06");
    check_number(1234567.5, "1.2345675e+06");
    check_number(1e16, "1e+16");
    check_number(5e-5, "5e-05");
    check_number(0.0001, "0.0001");
    check_number(2.5e-7, "2.5e-07");
    check_number(f64::MAX, "1.7976931348623157e+308");
}

proptest::proptest! {
    #[test]
    fn a_number_is_read_back_as_it_was(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO, whole: u64) {
        proptest::prop_assert_eq!(number(value).parse(), Ok(value), "{}", number(value));
        proptest::prop_assert_eq!(number(whole as f64).parse(), Ok(whole as f64));
    }

    #[test]
    fn a_label_is_one_line_and_is_read_back(value: String) {
        let text = labels(&[("a", &value)]);
        proptest::prop_assert!(!text.contains('\n'));
        let inner = text.strip_prefix("{a=\"").unwrap().strip_suffix("\"}").unwrap();
        let mut read = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => read.push(match chars.next().unwrap() { 'n' => '\n', c => c }),
                '"' => panic!("a bare quote in {text}"),
                c => read.push(c),
            }
        }
        proptest::prop_assert_eq!(read, value);
    }
}

/// The services of a recorded run of the original.
fn original_daemon(at: SystemTime) -> DaemonState {
    let mut services = Vec::new();
    for (name, prefix) in [
        ("foo.bar.com", "10.52.12.1/32"),
        ("foo1IPv6.bar.com", "fd12:aba6:57db:ffff::2/128"),
        ("slow.bar.com", "10.52.12.3"),
        ("gone.bar.com", "10.52.12.4/32"),
        ("off.bar.com", "10.52.12.5/32"),
    ] {
        services.push(Service {
            check_rise: NonZeroU32::MIN,
            check_fail: NonZeroU32::MIN,
            ..sample::service(name, prefix)
        });
    }
    services[4].disabled = Some(OnDisabled::Withdraw);
    services[2].assigned_to = None;
    let daemon = sample::daemon_state(services);
    let verdict = |n: usize, result, ms: Option<f64>| {
        let check = sample::check(&daemon, n);
        let took = ms.map(|ms| Duration::from_secs_f64(ms / 1e3));
        let missing = check.service.prefixes.iter().copied().filter(|_| result == RunResult::NotAssigned).collect();
        let outcome = if result == RunResult::Exited(0) { CheckOutcome::Passed } else { CheckOutcome::Failed };
        let result = CheckResult { outcome, duration: took, ..CheckResult::failed(result) };
        check.state_mut().finish(&check.service, at, missing, &result).unwrap();
    };
    verdict(0, RunResult::Exited(0), Some(0.0625));
    verdict(1, RunResult::Exited(3), Some(0.1875));
    verdict(2, RunResult::TimedOut, None);
    let first_time_out = Some(UNIX_EPOCH + Duration::from_micros(1795341934629076));
    sample::check(&daemon, 2).state_mut().counts = Counts { timed_out: 3, first_time_out, ..Counts::default() };
    verdict(3, RunResult::NotAssigned, None);
    daemon
}

/// Returns the lines of one metric: head and series.
fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let name = format!("{NAMESPACE}{name}");
    let is_of = |line: &&str| {
        let rest = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        rest.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{']))
    };
    text.lines().filter(is_of).collect()
}

#[test]
fn the_series_of_the_original_keep_their_bytes_and_order() {
    let daemon = original_daemon(SystemTime::now());
    let later = daemon.started.monotonic + Duration::from_millis(5700);
    let text = render(&daemon, Process::Up, Now { wall: SystemTime::now(), monotonic: later });
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        r#"# HELP anycast_healthchecker_service_state The status of the service check: 0 = healthy, any other value = unhealthy
# TYPE anycast_healthchecker_service_state gauge
anycast_healthchecker_service_state{{ip_prefix="10.52.12.1/32",service_name="foo.bar.com"}} 0.0
anycast_healthchecker_service_state{{ip_prefix="fd12:aba6:57db:ffff::2/128",service_name="foo1IPv6.bar.com"}} 3.0
anycast_healthchecker_service_state{{ip_prefix="10.52.12.3/32",service_name="slow.bar.com"}} 126.0
anycast_healthchecker_service_state{{ip_prefix="10.52.12.4/32",service_name="gone.bar.com"}} 1.0
# HELP anycast_healthchecker_service_check_duration_milliseconds Service check duration in milliseconds
# TYPE anycast_healthchecker_service_check_duration_milliseconds gauge
anycast_healthchecker_service_check_duration_milliseconds{{ip_prefix="10.52.12.1/32",service_name="foo.bar.com"}} 0.0625
anycast_healthchecker_service_check_duration_milliseconds{{ip_prefix="fd12:aba6:57db:ffff::2/128",service_name="foo1IPv6.bar.com"}} 0.1875
# HELP anycast_healthchecker_service_check_ip_assignment Service IP assignment check: 0 = not assigned, 1 = assigned
# TYPE anycast_healthchecker_service_check_ip_assignment gauge
anycast_healthchecker_service_check_ip_assignment{{ip_prefix="10.52.12.1/32",service_name="foo.bar.com"}} 1.0
anycast_healthchecker_service_check_ip_assignment{{ip_prefix="fd12:aba6:57db:ffff::2/128",service_name="foo1IPv6.bar.com"}} 1.0
anycast_healthchecker_service_check_ip_assignment{{ip_prefix="10.52.12.4/32",service_name="gone.bar.com"}} 0.0
# HELP anycast_healthchecker_service_check_timeout_total The number of times a service check timed out
# TYPE anycast_healthchecker_service_check_timeout_total counter
anycast_healthchecker_service_check_timeout_total{{ip_prefix="10.52.12.3/32",service_name="slow.bar.com"}} 3.0
# HELP anycast_healthchecker_service_check_timeout_created The number of times a service check timed out
# TYPE anycast_healthchecker_service_check_timeout_created gauge
anycast_healthchecker_service_check_timeout_created{{ip_prefix="10.52.12.3/32",service_name="slow.bar.com"}} 1.795341934629076e+09
# HELP anycast_healthchecker_uptime Uptime of the process in seconds
# TYPE anycast_healthchecker_uptime gauge
anycast_healthchecker_uptime 5.0
# HELP anycast_healthchecker_state The current state of the process: 0 = down, 1 = up
# TYPE anycast_healthchecker_state gauge
anycast_healthchecker_state 1.0
# HELP anycast_healthchecker_version_info Version of the software
# TYPE anycast_healthchecker_version_info gauge
anycast_healthchecker_version_info{{version="{version}"}} 1.0
# HELP anycast_healthchecker_service The configured service checks
# TYPE anycast_healthchecker_service gauge
anycast_healthchecker_service{{ip_prefix="10.52.12.1/32",service_name="foo.bar.com"}} 1.0
anycast_healthchecker_service{{ip_prefix="fd12:aba6:57db:ffff::2/128",service_name="foo1IPv6.bar.com"}} 1.0
anycast_healthchecker_service{{ip_prefix="10.52.12.3",service_name="slow.bar.com"}} 1.0
anycast_healthchecker_service{{ip_prefix="10.52.12.4/32",service_name="gone.bar.com"}} 1.0
anycast_healthchecker_service{{ip_prefix="10.52.12.5/32",service_name="off.bar.com"}} 1.0
"#
    );
    assert_eq!(&text[..expected.len().min(text.len())], expected);
    assert!(text.ends_with("anycast_healthchecker_log_lines_dropped_total 0.0\n"), "{text}");
}

#[test]
fn unknown_values_have_no_series() {
    let daemon = sample::daemon_state(vec![sample::service("a", "10.0.0.1/32")]);
    let text = render(&daemon, Process::Down, daemon.started);
    for name in [
        "service_state",
        "service_up",
        "service_advertised",
        "service_last_check_timestamp_seconds",
        "bird_in_sync",
        "bird_held",
    ] {
        assert_eq!(lines(&text, name).len(), 2, "{name}");
    }
    assert!(!text.contains("_created") && !text.contains("state_change_cmd"));
    assert_eq!(lines(&text, "state")[2], "anycast_healthchecker_state 0.0");
    assert_eq!(lines(&text, "service_check_total").len(), 6, "zeros from the start, for rates");
}

/// Checks the values of all series of one metric, in their order.
fn check(daemon: &DaemonState, name: &str, expected: &str) {
    let text = render(daemon, Process::Up, daemon.started);
    let values: Vec<&str> = lines(&text, name)[2..].iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(values.join(" "), expected, "{name} in\n{text}");
}

#[test]
fn our_series_have_the_values_of_the_state() {
    let mut two = sample::service("two", "10.0.0.1/32");
    two.prefixes.push("fd00::1/128".parse().unwrap());
    two.check_rise = NonZeroU32::MIN;
    let hook = Command::parse("/bin/hook").unwrap();
    two.state_change = Some(TimedCommand { command: hook, timeout: Duration::from_secs(10) });
    let daemon = sample::daemon_state(vec![two]);
    let check_of_two = sample::check(&daemon, 0);
    let service = check_of_two.service.clone();
    let at = UNIX_EPOCH + Duration::from_millis(1500);
    {
        sample::decide(&check_of_two, State::Up);
        sample::unassign(&check_of_two, &service.prefixes[1..]);
        let mut report = check_of_two.state_mut();
        (report.code, report.transitions) = (Some(0), 7);
        report.last = Some(Run { began: at, duration: None, result: RunResult::Exited(0), output: String::new() });
        report.hook = HookRuns { succeeded: 8, failed: 9, skipped: 10, problem: None };
        report.counts = Counts { passed: 1, failed: 2, not_assigned: 4, ..Counts::default() };
    }
    let none: Arc<[Prefix]> = Arc::new([]);
    let family = |family, in_file: &[Prefix]| FamilyState {
        in_file: in_file.into(),
        unmanaged: in_file.into(),
        in_sync: family == Family::V4,
        hold: (family == Family::V6).then(|| sample::hold(daemon.started, Duration::from_secs(60), &["two"])),
        counts: bird::Counts {
            taken: 5,
            failed: 6,
            last_success: (family == Family::V4).then_some(at),
            ..bird::Counts::default()
        },
        ..sample::family(family, none.clone())
    };
    daemon.bird.lock().families = vec![family(Family::V4, &service.prefixes[..1]), family(Family::V6, &[])];
    check(&daemon, "service", "1.0 1.0");
    check(&daemon, "service_up", "1.0 1.0");
    check(&daemon, "service_state", "0.0 1.0");
    check(&daemon, "service_check_ip_assignment", "1.0 0.0");
    check(&daemon, "service_advertised", "1.0 0.0");
    check(&daemon, "service_check_total", "1.0 2.0 0.0 4.0 1.0 2.0 0.0 4.0");
    check(&daemon, "service_transitions_total", "7.0 7.0");
    check(&daemon, "state_change_cmd_total", "8.0 9.0 10.0");
    check(&daemon, "service_last_check_timestamp_seconds", "1.5 1.5");
    check(&daemon, "bird_reconfigure_total", "5.0 6.0 5.0 6.0");
    check(&daemon, "bird_in_sync", "1.0 0.0");
    check(&daemon, "bird_held", "0.0 1.0");
    check(&daemon, "prefixes_unmanaged", "1.0 0.0");
    check(&daemon, "bird_last_success_timestamp_seconds", "1.5");
    check(&daemon, "service_drained", "0.0 0.0");
    let _ = check_of_two.state_mut().drain("/run/drain".into(), crate::drain_file::DrainEnd::Never);
    check(&daemon, "service_drained", "1.0 1.0");
    // As if its addresses were missing. Alerts on these two metrics must also read
    // `service_drained`.
    check(&daemon, "service_state", "1.0 1.0");
    check(&daemon, "service_up", "0.0 0.0");
    check(&daemon, "config_reload_success", "1.0");
    check(&daemon, "config_reload_timestamp_seconds", "0.0");
    *daemon.reload_error.lock() = Some("a.conf, line 3: no".into());
    *daemon.configured.lock() = at;
    check(&daemon, "config_reload_success", "0.0");
    check(&daemon, "config_reload_timestamp_seconds", "1.5");
    let _ = check_of_two.state_mut().end_drain(&service);
    check(&daemon, "service_drained", "0.0 0.0");
    let _ = check_of_two.state_mut().declare_stuck();
    check(&daemon, "service_state", "126.0 126.0");
    check(&daemon, "service_up", "0.0 0.0");
}

/// The text format requires one head per metric, followed by all its series.
#[test]
fn the_series_of_a_metric_are_contiguous() {
    let daemon = original_daemon(SystemTime::now());
    let text = render(&daemon, Process::Up, Now { wall: SystemTime::now(), monotonic: Instant::now() });
    let mut headed = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")) {
            Some(rest) => headed.push(rest.split(' ').next().unwrap()),
            None => assert_eq!(line.split(['{', ' ']).next(), headed.last().copied()),
        }
    }
    assert_eq!(headed.len() % 2, 0);
    let names: std::collections::HashSet<_> = headed.iter().collect();
    assert_eq!(names.len() * 2, headed.len());
}
