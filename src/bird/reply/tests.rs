//! Recorded answers of four versions of BIRD, and what no BIRD says.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::bird::framing::{Activity, Framing};

fn why(meaning: &Meaning) -> Option<&str> {
    match meaning {
        Meaning::Taken | Meaning::TakenSoon | Meaning::Pending => None,
        Meaning::Refused { why }
        | Meaning::Unreachable { why }
        | Meaning::Silent { why }
        | Meaning::NotSent { why } => Some(why),
    }
}

/// See tests/data/bird/README.md.
#[derive(Deserialize)]
struct Recorded {
    name: String,
    command: String,
    #[serde(default)]
    exit: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    socket: Option<String>,
    meaning: Option<String>,
    why: Option<String>,
    version: Option<String>,
    #[serde(default)]
    rest: bool,
    activity: Option<String>,
}

#[test]
fn recorded_answers() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bird");
    let mut seen = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let cases: Vec<Recorded> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for case in cases {
            recorded(&case, &format!("{} in {}", case.name, path.display()));
            seen += 1;
        }
    }
    assert!(seen > 300, "only {seen} recorded answers");
}

fn recorded(case: &Recorded, place: &str) {
    let reply = match &case.socket {
        None => Reply::of_command(case.stdout.as_bytes(), case.stderr.as_bytes(), End::Code(case.exit)),
        Some(bytes) => {
            let mut replies = Vec::new();
            Framing::default().feed(bytes.as_bytes(), &mut replies).unwrap();
            let [greeting, reply] = &replies[..] else { panic!("{place}: {replies:?}") };
            if let Some(expected) = &case.activity {
                let activity = match reply.activity() {
                    Activity::Idle => "idle",
                    Activity::Busy => "busy",
                    Activity::Queued => "queued",
                    Activity::ShuttingDown => "shutting_down",
                    Activity::Unknown => "unknown",
                };
                assert_eq!(activity, expected, "{place}");
                return;
            }
            Reply::of_socket(reply, greeting.greeting().unwrap())
        }
    };
    assert_eq!(Some(reply.meaning.label()), case.meaning.as_deref(), "{place}: {} gave {reply:?}", case.command);
    assert_eq!(why(&reply.meaning), case.why.as_deref(), "{place}");
    assert_eq!(reply.version.map(|version| version.to_string()), case.version, "{place}");
    assert_eq!(reply.calls_for_rest(), case.rest, "{place}");
}

/// The meaning of a command's output: its label, and the reason where there is one.
fn check(stdout: &str, stderr: &str, end: End, expected: &str) {
    let reply = Reply::of_command(stdout.as_bytes(), stderr.as_bytes(), end);
    let found = why(&reply.meaning)
        .map_or(reply.meaning.label().to_string(), |why| format!("{}: {why}", reply.meaning.label()));
    assert_eq!(found, expected, "{stdout:?} {stderr:?} {end:?}");
}

const OK: End = End::Code(0);
const FAILED: End = End::Code(1);

const GREETING: &str = "BIRD 2.0.12 ready.\nReading configuration from /etc/bird/bird.conf\n";

#[test]
fn what_bird_says_decides_and_not_the_exit_code() {
    for end in [OK, FAILED, End::Code(-1), End::Signal(15)] {
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
        // BIRD died meanwhile.
        check(GREETING, "Connection closed by server\n", end, "unreachable: Connection closed by server");
    }
    // Part of the output is enough: a script may filter it.
    check("/etc/bird/bird.conf:5:1 syntax error\n", "", OK, "refused: /etc/bird/bird.conf:5:1 syntax error");
    check(&format!("{GREETING}a new kind of error\n"), "a warning\n", OK, "refused: a new kind of error");
}

#[test]
fn the_numbered_form() {
    let greeting = "0001 BIRD 2.0.12 ready.\n0002-Reading configuration from /etc/bird/bird.conf\n";
    check(&format!("{greeting}0003 New words for it\n"), "", FAILED, "taken");
    check(&format!("{greeting}0006 Going down\n"), "", OK, "refused: Going down");
    check(&format!("{greeting}8123 New error\n"), "", OK, "refused: New error");
    check(&format!("{greeting}8123-New error\n"), "", OK, "refused: 8123-New error");
    check("0001 BIRD 2.0.12 ready.\n8000-<line overflow>\n0003 Reconfigured\n", "", OK, "taken");
    check("0001 BIRD 2.0.12 ready.\n8000-<line overflow>\n8000 <line overflow>\n", "", OK, "refused: <line overflow>");
    // Without a greeting a number is no code.
    check("0003 problems\n", "", OK, "taken");
    check("0003 problems\n", "", FAILED, "unreachable: exit code 1: 0003 problems");
}

#[test]
fn a_command_that_is_no_client_of_bird() {
    check("", "", OK, "taken");
    check("2026-11-22 10:00:01 reloaded\n", "Warning: unit changed on disk\n", OK, "taken");
    check("/usr/sbin/reload started 10:00:01 today\n", "", OK, "taken");
    check("", "", FAILED, "unreachable: exit code 1");
    check("out\n", "", End::Code(7), "unreachable: exit code 7: out");
    check(
        "out\n",
        "sudo: a terminal is required\nsudo: a password is required\n",
        FAILED,
        "unreachable: exit code 1: sudo: a terminal is required; sudo: a password is required",
    );
    check("", "", End::Signal(9), "unreachable: ended by signal 9");
    check("", "a\x1b[31mb\tc\n", FAILED, "unreachable: exit code 1: a [31mb c");
}

#[test]
fn nothing_is_taken_at_the_limit() {
    let limit = End::Limit(Duration::from_secs(2));
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
    // One was checked, confirmed or looked at before or after.
    check(&format!("{}{good}", good.replace("Reconfigured", "Configuration OK")), "", OK, "taken");
    check(&format!("{good}BIRD 1.6.8 ready.\nname proto table\nBGP1 BGP master\n"), "", OK, "taken");
    check(&format!("{good}BIRD 1.6.8 ready.\nReconfiguration confirmed\n"), "", OK, "taken");
    check(&good.replace("Reconfigured", "Configuration OK"), "", OK, "refused: Configuration OK");
    // A second try elsewhere, or two BIRDs of which one is down.
    let down = "Unable to connect to server control socket (/a): Connection refused\n";
    check(good, down, OK, "taken");
    check(good, down, FAILED, &format!("unreachable: {}", down.trim()));
    check("", down, OK, &format!("unreachable: {}", down.trim()));
    check(&format!("{down}{good}"), "", OK, "taken");
    check(bad, down, FAILED, refused);
}

#[test]
fn rest_is_called_for_where_bird_may_be_busy_and_dies_of_it() {
    let check = |stdout: &str, end: End, expected: bool| {
        assert_eq!(Reply::of_command(stdout.as_bytes(), b"", end).calls_for_rest(), expected, "{stdout:?}");
    };
    let limit = End::Limit(Duration::from_secs(2));
    for (version, dies) in [("1.6.8", false), ("2.19.2", false), ("3.0.0", true), ("next", true)] {
        check(&format!("BIRD {version} ready.\nReconfiguration in progress\n"), OK, dies);
        check(&format!("BIRD {version} ready.\nReconfiguration already in progress, queueing new config\n"), OK, dies);
        check(&format!("BIRD {version} ready.\n"), limit, dies);
        check(&format!("BIRD {version} ready.\nReconfigured\n"), OK, false);
        check(&format!("BIRD {version} ready.\n/a:1:1 error\n"), OK, false);
    }
    check("Reconfiguration in progress\n", OK, true);
    check("Reconfigured\n", OK, false);
    check("", limit, false);
}

#[test]
fn versions() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(Version::of_greeting(text).map(|version| version.to_string()).as_deref(), expected, "{text}");
    };
    check("BIRD 2.0.12 ready.", Some("2.0.12"));
    check("BIRD 2.13 ready.", Some("2.13.0"));
    check("BIRD 3.0-alpha0 ready.", Some("3.0.0"));
    check("BIRD v2.0.7-88-g1234567 ready.", Some("2.0.7"));
    check("BIRD 2.15.1+branch.a.b ready.", Some("2.15.1"));
    check("BIRD 99999999999.1 ready.", None);
    check("BIRD  ready.", None);
    check("BIRD of prey ready.", None);
    check("bird 2.0.12 ready.", None);
    assert!(Version::of_greeting("BIRD 2.0.12 ready.") < Version::of_greeting("BIRD 2.19.2 ready."));
}

#[test]
fn the_originals_sentences() {
    let check = |meaning: Meaning, expected: &str| assert_eq!(meaning.to_string(), expected);
    let why = || "W".to_string();
    check(Meaning::Taken, "reconfigured BIRD daemon");
    check(Meaning::Silent { why: why() }, "reconfiguring bird timed out: W");
    check(Meaning::NotSent { why: why() }, "reconfiguring BIRD failed with: W");
    check(
        Meaning::Unreachable { why: why() },
        "reconfiguring BIRD failed, either BIRD daemon is down or we don't have privileges to reconfigure it (sudo \
         problems?):W",
    );
    check(
        Meaning::Refused { why: why() },
        "reconfiguring BIRD returned error, most likely we generated an invalid configuration file or Bird \
         configuration in is broken:W",
    );
}

#[test]
fn a_reason_is_short_and_one_line() {
    for unit in ["x", "é", "\u{1F426}", "a\n", "\x00", "\u{85}b "] {
        for before in ["", "BIRD 2.0.12 ready.\nReading configuration from "] {
            let reply = Reply::of_command(format!("{before}{}", unit.repeat(5000)).as_bytes(), b"", FAILED);
            let why = why(&reply.meaning).unwrap();
            assert!(why.len() <= LONGEST_WHY + "exit code 1: ".len(), "{} bytes of {unit:?}", why.len());
            assert!(!why.contains(char::is_control), "{why:?}");
        }
    }
}

/// Megabytes of what could take long: none of it is looked at more than a few times.
#[test]
fn giant_outputs() {
    for unit in ["/ a", "/a:1:", "0002-", "\n", "BIRD  ready.\n", "Reading configuration from \n", "\u{0}"] {
        Reply::of_command(unit.repeat(3_000_000 / unit.len()).as_bytes(), b"", OK);
    }
}

/// Lines of which outputs are made.
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
    fn any_bytes_have_a_meaning(stdout: Vec<u8>, stderr: Vec<u8>, code: i32) {
        Reply::of_command(&stdout, &stderr, End::Code(code));
    }

    /// What BIRD, where it spoke, did not say is in force is never taken.
    #[test]
    fn nothing_is_taken_without_the_word(lines in prop::collection::vec(any_line(), 0..12), code in 0..2) {
        let output = lines.join("\n");
        let reply = Reply::of_command(output.as_bytes(), b"", End::Code(code));
        let said = |words: &[&str]| lines.iter().any(|line| words.iter().any(|word| line.contains(word)));
        if reply.meaning.is_taken() && said(&["BIRD", "Reading", "syntax", "denied", "closed"]) {
            prop_assert!(said(&["Reconfigured", "Reconfiguration in progress"]), "{:?}", lines);
            prop_assert!(!said(&["syntax", "denied", "queueing"]), "{:?}", lines);
        }
    }
}
