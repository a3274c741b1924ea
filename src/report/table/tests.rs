use super::*;
use crate::report::document::{DrainStatus, HoldStatus, HookRuns, Steps, Summary};
use crate::testing::sample::service_status as service;

fn moment(text: &str, unix: f64) -> Moment {
    Moment { text: text.into(), unix }
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
        summary: Summary {
            services: 3,
            up: 1,
            down: 1,
            unknown: 1,
            disabled: 1,
            drained: 0,
            in_sync: false,
            announced_to_nobody: 0,
        },
        services,
        families: vec![FamilyStatus {
            family: "IPv4".into(),
            file: "/var/lib/a.conf".into(),
            in_sync: false,
            out_of_sync_s: Some(62.0),
            problem: Some("birdc: Unable to connect\nto server".into()),
            hold: None,
            asks_bird: true,
            protocols: Vec::new(),
            export_problem: None,
            exports_not_reached: 0,
            wanted: 3,
            in_file: 3,
            in_bird: 2,
            unmanaged: Vec::new(),
            taken: 7,
            failed: 2,
            last_success: Some(moment("2026-11-22T08:41:54.123+01:00", 1500.0)),
            last_taken: Some(moment("2026-11-22T08:41:54.123+01:00", 1500.0)),
        }],
        writer_overdue_s: None,
        log_lines_dropped: 0,
        reload_error: None,
    }
}

#[test]
fn the_table_lists_services_with_problems_first() {
    let up = service("foo.bar.com", State::Up, &[("10.0.0.1/32", true), ("fd12:aba6:57db:ffff::1/128", true)]);
    let mut down = service("b", State::Down, &[("10.0.0.2/32", false)]);
    down.why = Some("the check failed with exit code 3".into());
    let problem = Some("exit code 1, stderr b'no'".into());
    down.state_change_cmd = Some(HookRuns { succeeded: 1, failed: 2, skipped: 3, problem });
    down.progress = Some(Steps { towards: State::Up, n: 1, of: 2 });
    down.prefixes[0].in_bird = Some(true);
    down.last.as_mut().unwrap().output = "1\n2\n3\n4\n5\n\u{1b}[31mred\u{202e}\n7\n\n".into();
    let mut new = service("new", State::Unknown, &[("10.0.0.3/32", false)]);
    new.last = None;
    new.prefixes[0].missing = true;
    let mut off = service("off", State::Down, &[("10.0.0.4/32", false)]);
    off.disabled = Some("withdraw".into());
    off.last = None;
    let document = document(vec![up, down, new, off]);
    let head = r"anycast-healthchecker 1.0.0 (pid 42) up since 2026-11-22 06:41:54 (2 h 1 min)
1 of 3 services up, BIRD not in sync
IPv4 NOT IN SYNC for 1 min 2 s: 3 wanted, 3 in file, 2 in BIRD
    file: /var/lib/a.conf
    reconfigures: 7 taken (last 1 min 40 s ago), 2 failed
    birdc: Unable to connect\nto server

";
    let narrow = r"SERVICE      STATE      SINCE     LAST      PREFIX                      IN BIRD,
                                  CHECK                                 EXPORTED
b            DOWN, 1/2  08:41:54  3s ago    10.0.0.2/32                 yes
             up                   12ms
    10.0.0.2/32: wanted no, in file no, in BIRD yes
    the check failed with exit code 3
    state_change_cmd failed: exit code 1, stderr b'no'
    | 3
    | 4
    | 5
    | \u{1b}[31mred\u{202e}
    | 7
new          unknown    08:41:54  -         10.0.0.3/32 (not assigned)  no
off          disabled,  08:41:54  -         10.0.0.4/32                 no
             withdraw
foo.bar.com  up         08:41:54  3s ago    10.0.0.1/32                 yes, ?
                                  12ms
                                            fd12:aba6:57db:ffff::1/128  yes, ?
";
    let wide = r"SERVICE      STATE               SINCE     LAST CHECK   PREFIX                      IN BIRD, EXPORTED
b            DOWN, 1/2 up        08:41:54  3s ago 12ms  10.0.0.2/32                 yes
    10.0.0.2/32: wanted no, in file no, in BIRD yes
    the check failed with exit code 3
    state_change_cmd failed: exit code 1, stderr b'no'
    | 3
    | 4
    | 5
    | \u{1b}[31mred\u{202e}
    | 7
new          unknown             08:41:54  -            10.0.0.3/32 (not assigned)  no
off          disabled, withdraw  08:41:54  -            10.0.0.4/32                 no
foo.bar.com  up                  08:41:54  3s ago 12ms  10.0.0.1/32                 yes, ?
                                                        fd12:aba6:57db:ffff::1/128  yes, ?
";
    assert_eq!(render(&document, false, 80), format!("{head}{narrow}"));
    assert_eq!(render(&document, false, 200), format!("{head}{wide}"));
}

#[test]
fn a_drained_service_is_neither_up_nor_down() {
    let mut out = service("a", State::Down, &[("10.0.0.1/32", false)]);
    out.drained =
        Some(DrainStatus { file: "/run/a".into(), since: moment("2026-11-22T08:41:54Z", 1000.0), until: None });
    assert!(out.is_well());
    for disabled in [None, Some("advertise".to_string())] {
        out.disabled = disabled;
        let text = render(&document(vec![out.clone()]), false, 80);
        assert!(text.lines().any(|line| line.starts_with("a        drained")), "{text}");
    }
}

#[test]
fn problems_of_the_daemon_come_first() {
    let mut document = document(Vec::new());
    document.writer_overdue_s = Some(90.0);
    document.reload_error = Some("line 3".into());
    document.log_lines_dropped = 5;
    let text = render(&document, false, 80);
    let lines: Vec<&str> = text.lines().skip(2).take(3).collect();
    let expected = [
        "The thread that writes the prefix files has been stuck for 1 min 30 s.",
        "The last reload was refused, an older configuration runs: line 3",
        "5 log lines were lost.",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_hold_shows_its_end_and_the_services_that_it_waits_for() {
    let until = moment("2026-11-22T08:52:54.123+01:00", 1660.0);
    let mut document = document(Vec::new());
    let family = &mut document.families[0];
    family.problem = None;
    family.hold = Some(HoldStatus { until, waiting_for: vec!["web".into(), "d\u{1b}b".into()] });
    let text = render(&document, false, 80);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    let expected = [
        "IPv4 NOT IN SYNC for 1 min 2 s: 3 wanted, 3 in file, 2 in BIRD",
        "    file: /var/lib/a.conf",
        "    reconfigures: 7 taken (last 1 min 40 s ago), 2 failed",
        r"    held until 2026-11-22T08:52:54.123+01:00, waiting for the first verdict of web, d\u{1b}b",
    ];
    assert_eq!(lines, expected);
    assert!(render(&document, true, 80).contains("\u{1b}[33mNOT IN SYNC"), "there is no problem");
    document.families[0].problem = Some("no space left".into());
    let text = render(&document, true, 80);
    assert!(text.contains("\u{1b}[31mNOT IN SYNC") && text.contains("    no space left\n    held until "), "{text}");
}

#[test]
fn without_a_control_socket_the_table_says_that_bird_was_not_asked() {
    let mut document = document(Vec::new());
    document.families[0].asks_bird = false;
    let text = render(&document, false, 80);
    let expected = "    reconfigures: 7 taken (last 1 min 40 s ago), 2 failed; BIRD was not asked since\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn unmanaged_prefixes_are_named() {
    let mut document = document(Vec::new());
    document.families[0].unmanaged = (1..8).map(|n| format!("10.9.9.{n}/32")).collect();
    let expected =
        "\n    The file lists 10.9.9.1/32, 10.9.9.2/32, 10.9.9.3/32, 10.9.9.4/32, 10.9.9.5/32 and 2 more, which no \
                    service has.\n";
    let text = render(&document, false, 80);
    assert!(text.contains(expected), "{text}");
}

/// Removes the color codes.
fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    for part in text.split('\u{1b}') {
        plain += part.strip_prefix('[').and_then(|rest| rest.split_once('m')).map_or(part, |(_, rest)| rest);
    }
    plain
}

#[test]
fn colors_only_add() {
    let mut down = service("b", State::Down, &[("10.0.0.2/32", false)]);
    down.prefixes[0].in_bird = Some(true);
    let document = document(vec![service("a", State::Up, &[("10.0.0.1/32", true)]), down]);
    let colored = render(&document, true, 80);
    assert_ne!(colored, render(&document, false, 80));
    assert_eq!(without_colors(&colored), render(&document, false, 80));
    assert!(colored.contains("\u{1b}[31mDOWN\u{1b}[0m") && colored.contains("\u{1b}[31myes\u{1b}[0m"));
}

#[test]
fn a_time_span_has_its_two_largest_units() {
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
    fn no_text_controls_the_terminal(name: String, output: String, prefix: String, why: String) {
        let mut service = service(&name, State::Down, &[(&prefix, false)]);
        service.why = Some(why);
        service.last.as_mut().unwrap().output = output;
        let text = render(&document(vec![service]), false, 80);
        proptest::prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", text);
    }
}

/// Another process may listen on the socket.
#[test]
fn a_hostile_document_neither_fills_nor_controls_the_screen() {
    let name = "n".repeat(100_000);
    let services = (0..100).map(|_| service("a", State::Up, &[("10.0.0.1/32", true)]));
    let mut document = document(services.chain([service(&name, State::Up, &[("10.0.0.2/32", true)])]).collect());
    document.families[0].family = "\u{1b}[2J".into();
    let shown = render(&document, false, 80);
    assert!(shown.lines().all(|line| line.chars().count() <= 80) && shown.len() < 2 * name.len());
    assert!(shown.matches('n').count() >= name.len(), "the name is complete");
    assert!(shown.contains("\\u{1b}[2J NOT IN SYNC"), "{}", &shown[..500]);
}

#[test]
fn services_are_sorted_by_urgency_and_then_as_configured() {
    let mut drained = service("drained", State::Down, &[("10.0.0.1/32", false)]);
    drained.drained = Some(DrainStatus { file: "/d".into(), since: drained.since.clone(), until: None });
    let mut stuck = service("stuck", State::Up, &[("10.0.0.2/32", true)]);
    stuck.overdue_s = Some(1.0);
    let named = |name: &str, state| service(name, state, &[("10.0.0.3/32", true)]);
    let document = document(vec![
        named("z", State::Up),
        named("y", State::Down),
        drained,
        named("new", State::Unknown),
        named("a", State::Up),
        stuck,
        named("b", State::Down),
    ]);
    let text = render(&document, false, 80);
    let rows = text.lines().skip_while(|line| !line.starts_with("SERVICE")).skip(1);
    let names: Vec<&str> = rows.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["stuck", "y", "b", "new", "drained", "z", "a"]);
}

#[test]
fn an_ordinary_service_fits_a_line_of_80_columns() {
    let names = ["www.example.org", "dns", "ntp"];
    let services = names.map(|name| service(name, State::Up, &[("198.51.100.123/32", true)]));
    let mut document = document(services.to_vec());
    // A week later.
    document.time = moment("2026-11-29T08:41:57.123+01:00", 1600.0);
    let text = render(&document, false, 80);
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("SERVICE")).collect();
    let expected = [
        "SERVICE          STATE  SINCE           LAST CHECK   PREFIX             IN BIRD,",
        "                                                                        EXPORTED",
        "www.example.org  up     11-22 08:41:54  3s ago 12ms  198.51.100.123/32  yes, ?",
        "dns              up     11-22 08:41:54  3s ago 12ms  198.51.100.123/32  yes, ?",
        "ntp              up     11-22 08:41:54  3s ago 12ms  198.51.100.123/32  yes, ?",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_time_omits_the_date_of_today_and_the_current_year() {
    let check = |text: &str, now: &str, expected: &str| {
        assert_eq!(since(&moment(text, 0.0), &moment(now, 0.0)), expected, "{now}");
    };
    let then = "2026-11-22T08:41:54.123+01:00";
    check(then, "2026-11-22T23:59:59.999+01:00", "08:41:54");
    check(then, "2026-11-23T00:00:00.000+01:00", "11-22 08:41:54");
    check(then, "2027-01-01T00:00:00.000+01:00", "2026-11-22 08:41:54");
    check("", then, "");
    check("2026-", then, "");
    check("äöü", "äöü", "äöü");
}

#[test]
fn reconfigures_and_confirmations_are_told_apart() {
    let check = |taken: u64, last_taken: Option<f64>, last_success: Option<f64>, expected: &str| {
        let mut document = document(Vec::new());
        let at = |unix: Option<f64>| unix.map(|unix| moment("", unix));
        let family = &mut document.families[0];
        (family.taken, family.last_taken, family.last_success) = (taken, at(last_taken), at(last_success));
        let text = render(&document, false, 80);
        let line = text.lines().find_map(|line| line.strip_prefix("    reconfigures: "));
        assert_eq!(line, Some(expected));
    };
    check(0, None, None, "0 taken, 2 failed");
    check(0, None, Some(1598.0), "0 taken, 2 failed; BIRD confirmed the list 2 s ago");
    check(3, Some(1500.0), Some(1500.0), "3 taken (last 1 min 40 s ago), 2 failed");
    check(3, Some(1500.0), Some(1598.0), "3 taken (last 1 min 40 s ago), 2 failed; BIRD confirmed the list 2 s ago");
    // Of an older daemon.
    check(3, None, Some(1598.0), "3 taken, 2 failed");
}
