use super::*;
use crate::report::document::{Checks, DrainStatus, HoldStatus, HookRuns, LastRun, Steps, Summary};

fn moment(text: &str, unix: f64) -> Moment {
    Moment { text: text.into(), unix }
}

fn service(name: &str, state: Condition, prefixes: &[(&str, bool)]) -> ServiceStatus {
    ServiceStatus {
        name: name.into(),
        state,
        since: moment("2026-11-22T08:41:54.123+01:00", 1000.0),
        disabled: None,
        drained: None,
        interval_s: 10.0,
        timeout_s: 2.0,
        last: Some(LastRun {
            began: moment("2026-11-22T08:41:54.123+01:00", 1597.0),
            took_ms: Some(12.34),
            result: "passed".into(),
            code: 0,
            output: String::new(),
        }),
        progress: None,
        why: None,
        prefixes: prefixes
            .iter()
            .map(|(prefix, on)| PrefixStatus {
                prefix: prefix.to_string(),
                wanted: Some(*on),
                in_file: Some(*on),
                in_bird: Some(*on),
                missing: false,
            })
            .collect(),
        transitions: 1,
        checks: Checks { passed: 1, failed: 0, timed_out: 0, not_assigned: 0 },
        overdue_s: None,
        problem: None,
        watched_pid: None,
        state_change_cmd: None,
    }
}

fn document(services: Vec<ServiceStatus>) -> Document {
    Document {
        schema: 1,
        version: "1.0.0".into(),
        pid: 42,
        time: moment("2026-11-22T08:51:54.123+01:00", 1600.0),
        started: moment("2026-11-22T06:41:54.123+01:00", 0.0),
        uptime_s: 7260.5,
        ready: true,
        well: false,
        summary: Summary { services: 3, up: 1, down: 1, unknown: 1, disabled: 1, drained: 0, in_sync: false },
        services,
        families: vec![FamilyStatus {
            family: "IPv4".into(),
            file: "/var/lib/a.conf".into(),
            in_sync: false,
            out_of_sync_s: Some(62.0),
            problem: Some("birdc: Unable to connect\nto server".into()),
            hold: None,
            wanted: 3,
            in_file: 3,
            in_bird: 2,
            unmanaged: Vec::new(),
            taken: 7,
            failed: 2,
            last_success: Some(moment("2026-11-22T08:41:54.123+01:00", 1500.0)),
        }],
        writer_overdue_s: None,
        log_lines_dropped: 0,
        reload_error: None,
    }
}

#[test]
fn a_table_at_a_glance() {
    let up = service("foo.bar.com", Condition::Up, &[("10.0.0.1/32", true), ("fd12:aba6:57db:ffff::1/128", true)]);
    let mut down = service("b", Condition::Down, &[("10.0.0.2/32", false)]);
    down.why = Some("the check failed with exit code 3".into());
    let problem = Some("exit code 1, stderr b'no'".into());
    down.state_change_cmd = Some(HookRuns { succeeded: 1, failed: 2, skipped: 3, problem });
    down.progress = Some(Steps { towards: Condition::Up, n: 1, of: 2 });
    down.prefixes[0].in_bird = Some(true);
    down.last.as_mut().unwrap().output = "1\n2\n3\n4\n5\n\u{1b}[31mred\u{202e}\n7\n\n".into();
    let mut new = service("new", Condition::Unknown, &[("10.0.0.3/32", false)]);
    new.last = None;
    new.prefixes[0].missing = true;
    let mut off = service("off", Condition::Down, &[("10.0.0.4/32", false)]);
    off.disabled = Some("withdraw".into());
    off.last = None;
    let expected = r"anycast-healthchecker 1.0.0 (pid 42) up since 2026-11-22 06:41:54 (2 h 1 min): 1 of 3 services up, BIRD not in sync
IPv4 NOT IN SYNC for 1 min 2 s: 3 wanted, 3 in /var/lib/a.conf, 2 in BIRD; reconfigures: 7 taken (last 1 min 40 s ago), 2 failed
    birdc: Unable to connect\nto server

SERVICE      STATE     SINCE                LAST CHECK        PROGRESS  PREFIX                      WANTED  IN FILE  IN BIRD
foo.bar.com  up        2026-11-22 08:41:54  3 s ago, 12.3 ms  -         10.0.0.1/32                 yes     yes      yes
                                                                        fd12:aba6:57db:ffff::1/128  yes     yes      yes
b            DOWN      2026-11-22 08:41:54  3 s ago, 12.3 ms  1/2 up    10.0.0.2/32                 no      no       yes
    the check failed with exit code 3
    state_change_cmd failed: exit code 1, stderr b'no'
    | 3
    | 4
    | 5
    | \u{1b}[31mred\u{202e}
    | 7
new          unknown   2026-11-22 08:41:54  -                 -         10.0.0.3/32 (not assigned)  no      no       no
off          disabled  2026-11-22 08:41:54  -                 withdraw  10.0.0.4/32                 no      no       no
";
    assert_eq!(render(&document(vec![up, down, new, off]), false), expected);
}

#[test]
fn a_drained_service_is_neither_up_nor_down() {
    let mut out = service("a", Condition::Down, &[("10.0.0.1/32", false)]);
    out.drained =
        Some(DrainStatus { file: "/run/a".into(), since: moment("2026-11-22T08:41:54Z", 1000.0), until: None });
    assert!(out.is_well());
    for disabled in [None, Some("advertise".to_string())] {
        out.disabled = disabled;
        let text = render(&document(vec![out.clone()]), false);
        assert!(text.lines().any(|line| line.starts_with("a        drained  2026-11-22 08:41:54")), "{text}");
    }
}

#[test]
fn what_is_wrong_with_the_daemon_comes_first() {
    let mut document = document(Vec::new());
    document.writer_overdue_s = Some(90.0);
    document.reload_error = Some("line 3".into());
    document.log_lines_dropped = 5;
    let text = render(&document, false);
    let lines: Vec<&str> = text.lines().skip(1).take(3).collect();
    let expected = [
        "The thread that writes the prefix files has been stuck for 1 min 30 s.",
        "The last reload was refused, an older configuration runs: line 3",
        "5 log lines were lost.",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_hold_says_until_when_and_what_it_waits_for() {
    let until = moment("2026-11-22T08:52:54.123+01:00", 1660.0);
    let mut document = document(Vec::new());
    let family = &mut document.families[0];
    family.problem = None;
    family.hold = Some(HoldStatus { until, waiting_for: vec!["web".into(), "d\u{1b}b".into()] });
    let text = render(&document, false);
    let lines: Vec<&str> = text.lines().skip(1).take(3).collect();
    let expected = [
        "IPv4 NOT IN SYNC for 1 min 2 s: 3 wanted, 3 in /var/lib/a.conf, 2 in BIRD; reconfigures: 7 taken (last 1 min 40 s \
         ago), 2 failed",
        r"    held until 2026-11-22T08:52:54.123+01:00, waiting for the first verdict of web, d\u{1b}b",
        "",
    ];
    assert_eq!(lines, expected);
    assert!(render(&document, true).contains("\u{1b}[33mNOT IN SYNC"), "nothing is wrong");
    document.families[0].problem = Some("no space left".into());
    let text = render(&document, true);
    assert!(text.contains("\u{1b}[31mNOT IN SYNC") && text.contains("    no space left\n    held until "), "{text}");
}

#[test]
fn prefixes_that_no_service_has_are_named() {
    let mut document = document(Vec::new());
    document.families[0].unmanaged = (1..8).map(|n| format!("10.9.9.{n}/32")).collect();
    let expected =
        "\n    The file lists 10.9.9.1/32, 10.9.9.2/32, 10.9.9.3/32, 10.9.9.4/32, 10.9.9.5/32 and 2 more, which no \
                    service has.\n";
    assert!(render(&document, false).contains(expected), "{}", render(&document, false));
}

/// The text without what colours add to it.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    for part in text.split('\u{1b}') {
        plain += part.strip_prefix('[').and_then(|rest| rest.split_once('m')).map_or(part, |(_, rest)| rest);
    }
    plain
}

#[test]
fn colours_only_add() {
    let mut down = service("b", Condition::Down, &[("10.0.0.2/32", false)]);
    down.prefixes[0].in_bird = Some(true);
    let document = document(vec![service("a", Condition::Up, &[("10.0.0.1/32", true)]), down]);
    let coloured = render(&document, true);
    assert_ne!(coloured, render(&document, false));
    assert_eq!(without_colours(&coloured), render(&document, false));
    assert!(coloured.contains("\u{1b}[31mDOWN\u{1b}[0m") && coloured.contains("\u{1b}[31myes\u{1b}[0m"));
}

#[test]
fn spans_in_their_largest_units() {
    let check = |seconds: f64, expected: &str| assert_eq!(age(seconds), expected);
    check(-5.0, "0 s");
    check(0.9, "0 s");
    check(59.9, "59 s");
    check(60.0, "1 min 0 s");
    check(3600.0, "1 h 0 min");
    check(90_000.0, "1 d 1 h");
    check(f64::NAN, "0 s");
    check(1e300, "213503982334601 d 7 h");
}

proptest::proptest! {
    #[test]
    fn no_text_drives_the_terminal(name: String, output: String, prefix: String, why: String) {
        let mut service = service(&name, Condition::Down, &[(&prefix, false)]);
        service.why = Some(why);
        service.last.as_mut().unwrap().output = output;
        let text = render(&document(vec![service]), false);
        proptest::prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", text);
    }
}

/// Somebody else may be behind the socket.
#[test]
fn nothing_in_a_document_fills_the_screen_or_drives_it() {
    let name = "n".repeat(100_000);
    let services = (0..100).map(|_| service("a", Condition::Up, &[("10.0.0.1/32", true)]));
    let mut document = document(services.chain([service(&name, Condition::Up, &[("10.0.0.2/32", true)])]).collect());
    document.families[0].family = "\u{1b}[2J".into();
    let shown = render(&document, false);
    assert!(shown.contains(&format!("\n{name}  up ")) && shown.len() < 2 * name.len());
    assert!(shown.contains("\\u{1b}[2J NOT IN SYNC"), "{}", &shown[..500]);
}
