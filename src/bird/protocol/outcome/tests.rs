//! Recorded answers of four versions of BIRD, and the sentences for the log.

use serde::Deserialize;

use super::*;
use crate::bird::protocol::birdc::{self, CommandEnd};
use crate::bird::protocol::framing::{Activity, Framing};

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
    outcome: Option<String>,
    why: Option<String>,
    version: Option<String>,
    #[serde(default)]
    requires_pause: bool,
    activity: Option<String>,
}

#[test]
fn recorded_answers_have_the_expected_outcome() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bird");
    let mut count = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let cases: Vec<Recorded> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for case in cases {
            check_recorded(&case, &format!("{} in {}", case.name, path.display()));
            count += 1;
        }
    }
    assert!(count > 300, "only {count} recorded answers");
}

fn check_recorded(case: &Recorded, place: &str) {
    let reply = match &case.socket {
        None => birdc::parse(case.stdout.as_bytes(), case.stderr.as_bytes(), CommandEnd::Code(case.exit)),
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
            reply.configured(greeting.greeting().unwrap())
        }
    };
    assert_eq!(Some(reply.outcome.label()), case.outcome.as_deref(), "{place}: {} gave {reply:?}", case.command);
    assert_eq!(reply.outcome.why(), case.why.as_deref(), "{place}");
    assert_eq!(reply.version.map(|version| version.to_string()), case.version, "{place}");
    assert_eq!(reply.requires_pause(), case.requires_pause, "{place}");
}

#[test]
fn the_version_is_read_from_the_greeting() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(Version::from_greeting(text).map(|version| version.to_string()).as_deref(), expected, "{text}");
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
    assert!(Version::from_greeting("BIRD 2.0.12 ready.") < Version::from_greeting("BIRD 2.19.2 ready."));
}

#[test]
fn the_log_has_the_sentences_of_the_original() {
    let check = |outcome: Outcome, expected: &str| assert_eq!(outcome.to_string(), expected);
    let why = || "W".to_string();
    check(Outcome::Reconfigured, "reconfigured BIRD daemon");
    check(Outcome::TimedOut { why: why() }, "reconfiguring bird timed out: W");
    check(Outcome::NotSent { why: why() }, "reconfiguring BIRD failed with: W");
    check(
        Outcome::Unreachable { why: why() },
        "reconfiguring BIRD failed, either BIRD daemon is down or we don't have privileges to reconfigure it (sudo \
         problems?):W",
    );
    check(
        Outcome::Refused { why: why() },
        "reconfiguring BIRD returned error, most likely we generated an invalid configuration file or Bird \
         configuration in is broken:W",
    );
}

impl Outcome {
    /// The outcome's name in the recorded answers.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Outcome::Reconfigured => "taken",
            Outcome::InProgress => "in_progress",
            Outcome::Queued => "queued",
            Outcome::Refused { .. } => "refused",
            Outcome::NotRunning { .. } | Outcome::Unreachable { .. } => "unreachable",
            Outcome::TimedOut { .. } => "timed_out",
            Outcome::NotSent { .. } => "not_sent",
        }
    }
}
