//! Output that the recorded answers do not contain: filtered, repeated, mixed and of other
//! programs.

use proptest::prelude::*;

use super::*;
use crate::bird::protocol::outcome::MAX_REASON_LEN;

/// Compares the outcome of a command's output: its label, and the reason if it has one.
fn check(stdout: &str, stderr: &str, end: CommandEnd, expected: &str) {
    let outcome = parse(stdout.as_bytes(), stderr.as_bytes(), end).outcome;
    let actual = outcome.why().map_or(outcome.label().to_string(), |why| format!("{}: {why}", outcome.label()));
    assert_eq!(actual, expected, "{stdout:?} {stderr:?} {end:?}");
}

const OK: CommandEnd = CommandEnd::Code(0);
const FAILED: CommandEnd = CommandEnd::Code(1);

const GREETING: &str = "BIRD 2.0.12 ready.\nReading configuration from /etc/bird/bird.conf\n";

#[test]
fn the_words_of_bird_decide_and_not_the_exit_code() {
    for end in [OK, FAILED, CommandEnd::Code(-1), CommandEnd::Signal(15)] {
        check("Reconfigured\n", "", end, "taken");
        check("Reconfigured\r\n", "", end, "taken");
        check(&format!("{GREETING}Reconfigured"), "sudo: unable to resolve host a\n", end, "taken");
        check(&format!("{GREETING}Reconfiguration in progress\n"), "", end, "in_progress");
        check(&format!("{GREETING}/x y.conf:5:1 syntax error\n"), "", end, "refused: /x y.conf:5:1 syntax error");
        check(GREETING, "", end, "refused: Reading configuration from /etc/bird/bird.conf");
        check("BIRD 2.0.12 ready.\n", "", end, "refused: BIRD was reached and gave no answer");
        check("0003 Reconfigured\n", "", end, "taken");
        check("0003-Reconfigured\n", "", end, "taken");
        check("x Reconfigured\nBIRD x ready.\n", "", end, "refused: x Reconfigured");
        // BIRD died during the exchange.
        check(GREETING, "Connection closed by server\n", end, "unreachable: Connection closed by server");
    }
    // A script may filter the output.
    check("/etc/bird/bird.conf:5:1 syntax error\n", "", OK, "refused: /etc/bird/bird.conf:5:1 syntax error");
    check(&format!("{GREETING}a new kind of error\n"), "a warning\n", OK, "refused: a new kind of error");
}

#[test]
fn numbered_output_is_read_by_its_codes() {
    let greeting = "0001 BIRD 2.0.12 ready.\n0002-Reading configuration from /etc/bird/bird.conf\n";
    check(&format!("{greeting}0003 New words for it\n"), "", FAILED, "taken");
    check(&format!("{greeting}0006 Going down\n"), "", OK, "refused: Going down");
    check(&format!("{greeting}8123 New error\n"), "", OK, "refused: New error");
    check(&format!("{greeting}8123-New error\n"), "", OK, "refused: 8123-New error");
    check("0001 BIRD 2.0.12 ready.\n8000-<line overflow>\n0003 Reconfigured\n", "", OK, "taken");
    check("0001 BIRD 2.0.12 ready.\n8000-<line overflow>\n8000 <line overflow>\n", "", OK, "refused: <line overflow>");
    // Without a greeting a number is not a code.
    check("0003 problems\n", "", OK, "taken");
    check("0003 problems\n", "", FAILED, "unreachable: exit code 1: 0003 problems");
}

#[test]
fn the_exit_code_decides_for_other_programs() {
    check("", "", OK, "taken");
    check("2026-11-22 10:00:01 reloaded\n", "Warning: unit changed on disk\n", OK, "taken");
    check("/usr/sbin/reload started 10:00:01 today\n", "", OK, "taken");
    check("", "", FAILED, "unreachable: exit code 1");
    check("out\n", "", CommandEnd::Code(7), "unreachable: exit code 7: out");
    check(
        "out\n",
        "sudo: a terminal is required\nsudo: a password is required\n",
        FAILED,
        "unreachable: exit code 1: sudo: a terminal is required; sudo: a password is required",
    );
    check("", "", CommandEnd::Signal(9), "unreachable: ended by signal 9");
    check("", "a\x1b[31mb\tc\n", FAILED, "unreachable: exit code 1: a [31mb c");
}

#[test]
fn a_command_that_times_out_is_never_accepted() {
    let limit = CommandEnd::Limit(Duration::from_secs(2));
    check("", "", limit, "timed_out: no answer within 2 s");
    check("Reconfigured\n", "", limit, "timed_out: no answer within 2 s: Reconfigured");
    check("", "[sudo] password:", limit, "timed_out: no answer within 2 s: [sudo] password:");
}

#[test]
fn the_worst_of_several_answers_counts() {
    let bad = "BIRD 1.6.8 ready.\nReading configuration from /b.conf\n/b.conf:1:1 syntax error\n";
    let good = "BIRD 1.6.8 ready.\nReading configuration from /b.conf\nReconfigured\n";
    let refused = "refused: /b.conf:1:1 syntax error";
    check(&format!("{good}{good}"), "", OK, "taken");
    check(&format!("{good}{bad}"), "", OK, refused);
    check(&format!("{bad}{good}"), "", OK, refused);
    check(&format!("{good}{}", good.replace("Reconfigured", "Reconfiguration in progress")), "", OK, "in_progress");
    // Another run of the client checked, confirmed or showed something before or after.
    check(&format!("{}{good}", good.replace("Reconfigured", "Configuration OK")), "", OK, "taken");
    check(&format!("{good}BIRD 1.6.8 ready.\nname proto table\nBGP1 BGP master\n"), "", OK, "taken");
    check(&format!("{good}BIRD 1.6.8 ready.\nReconfiguration confirmed\n"), "", OK, "taken");
    check(&good.replace("Reconfigured", "Configuration OK"), "", OK, "refused: Configuration OK");
    // A second try with another BIRD, or two BIRDs of which one is down.
    let down = "Unable to connect to server control socket (/a): Connection refused\n";
    check(good, down, OK, "taken");
    check(good, down, FAILED, &format!("unreachable: {}", down.trim()));
    check("", down, OK, &format!("unreachable: {}", down.trim()));
    check(&format!("{down}{good}"), "", OK, "taken");
    check(bad, down, FAILED, refused);
}

#[test]
fn a_pause_is_required_if_bird_may_be_busy_and_would_crash() {
    let check = |stdout: &str, end: CommandEnd, expected: bool| {
        assert_eq!(parse(stdout.as_bytes(), b"", end).requires_pause(), expected, "{stdout:?}");
    };
    let limit = CommandEnd::Limit(Duration::from_secs(2));
    for (version, crashes) in [("1.6.8", false), ("2.19.2", false), ("3.0.0", true), ("next", true)] {
        check(&format!("BIRD {version} ready.\nReconfiguration in progress\n"), OK, crashes);
        check(
            &format!("BIRD {version} ready.\nReconfiguration already in progress, queueing new config\n"),
            OK,
            crashes,
        );
        check(&format!("BIRD {version} ready.\n"), limit, crashes);
        check(&format!("BIRD {version} ready.\nReconfigured\n"), OK, false);
        check(&format!("BIRD {version} ready.\n/a:1:1 error\n"), OK, false);
    }
    check("Reconfiguration in progress\n", OK, true);
    check("BIRD 3.3.2 ready.\nReconfiguration in progress\nBIRD 2.0.12 ready.\nReconfigured\n", OK, true);
    check("Reconfigured\n", OK, false);
    check("", limit, false);
}

#[test]
fn a_reason_is_short_and_one_line() {
    for unit in ["x", "é", "\u{1F426}", "a\n", "\x00", "\u{85}b "] {
        for before in ["", "BIRD 2.0.12 ready.\nReading configuration from "] {
            let reply = parse(format!("{before}{}", unit.repeat(5000)).as_bytes(), b"", FAILED);
            let why = reply.outcome.why().unwrap();
            assert!(why.len() <= MAX_REASON_LEN, "{} bytes of {unit:?}", why.len());
            assert!(!why.contains(char::is_control), "{why:?}");
        }
    }
}

/// A megabyte of each unit that a slow parser would read many times.
#[test]
fn a_huge_output_is_read_in_linear_time() {
    for unit in ["/ a", "/a:1:", "0002-", "\n", "BIRD  ready.\n", "Reading configuration from \n", "\u{0}"] {
        parse(unit.repeat(1_000_000 / unit.len()).as_bytes(), b"", OK);
    }
}

/// Lines from which outputs are built.
fn any_line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "BIRD 2.0.12 ready.",
        "0001 BIRD 3.3.2 ready.",
        "Reading configuration from /etc/bird/bird.conf",
        "0002-Reading configuration from /etc/bird/bird.conf",
        "Reconfigured",
        "0003 Reconfigured",
        "Reconfiguration in progress",
        "0005 Reconfiguration already in progress, queueing new config",
        "/etc/bird/bird.conf:1:2 syntax error",
        "8002 /etc/bird/bird.conf:1:2 syntax error",
        "Access denied",
        "Connection closed by server",
        "text",
        "",
    ])
}

proptest! {
    #[test]
    fn any_bytes_have_an_outcome(stdout: Vec<u8>, stderr: Vec<u8>, code: i32) {
        parse(&stdout, &stderr, CommandEnd::Code(code));
    }

    /// If a line is BIRD's, the list is accepted only if BIRD said that it is in force.
    #[test]
    fn a_list_is_accepted_only_if_bird_said_so(lines in prop::collection::vec(any_line(), 0..12), code in 0..2) {
        let output = lines.join("\n");
        let reply = parse(output.as_bytes(), b"", CommandEnd::Code(code));
        let has_any = |words: &[&str]| lines.iter().any(|line| words.iter().any(|word| line.contains(word)));
        if reply.outcome.is_accepted() && has_any(&["BIRD", "Reading", "syntax", "denied", "closed"]) {
            prop_assert!(has_any(&["Reconfigured", "Reconfiguration in progress"]), "{:?}", lines);
            prop_assert!(!has_any(&["syntax", "denied", "queueing"]), "{:?}", lines);
        }
    }
}
