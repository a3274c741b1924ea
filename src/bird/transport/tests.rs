//! Real commands, and a real BIRD where it is installed.

use std::fs;

use rustix::process::Signal;

use super::*;
use crate::bird::protocol::outcome::{Outcome, Version};
use crate::sys::orphans::MAX_PER_OWNER;
use crate::testing::isolated::{beside_sudo, wait_until, BECOMES_ROOT};
use crate::testing::real_bird::{Programs, RealBird};

fn stop_token() -> StopToken {
    StopToken::new().unwrap()
}

/// A transport that runs a command line.
fn command(command: &str) -> Transport {
    Transport::new(Address::Command(Command::parse(command).unwrap()), Arc::default())
}

/// A transport that runs a script of `sh`.
fn sh(script: &str) -> Transport {
    command(&format!("sh -c '{script}'"))
}

fn check(script: &str, expected: &str) {
    let attempt = sh(script).reconfigure(&stop_token());
    assert_eq!(attempt.result.outcome.to_string(), expected, "{script}");
    assert_eq!(attempt.orphan, None);
}

#[test]
fn the_output_of_a_command_is_parsed() {
    check("echo Reconfigured; exit 1", "reconfigured BIRD daemon");
    check("true", "reconfigured BIRD daemon");
    let refused = "reconfiguring BIRD returned error, most likely we generated an invalid configuration file or Bird \
                   configuration in is broken:";
    check("echo BIRD 2.0.12 ready.; echo Access denied", &format!("{refused}Access denied"));
    let unreachable = "reconfiguring BIRD failed, either BIRD daemon is down or we don't have privileges to \
                       reconfigure it (sudo problems?):";
    check("echo no rights >&2; exit 1", &format!("{unreachable}exit code 1: no rights"));
    check("kill -KILL $$", &format!("{unreachable}ended by signal 9"));
    // The answer is at the end, however much output precedes it.
    check("seq 1 100000; echo Reconfigured", "reconfigured BIRD daemon");
}

#[test]
fn a_missing_command_sends_nothing() {
    let Attempt { result, .. } = command("/nonexistent/birdc configure").reconfigure(&stop_token());
    let why = "No such file or directory (os error 2): '/nonexistent/birdc'".to_string();
    assert_eq!(result.outcome, Outcome::NotSent { why });
    assert_eq!(
        result.outcome.to_string(),
        "reconfiguring BIRD failed with: No such file or directory (os error 2): '/nonexistent/birdc'"
    );
}

/// The command ignores TERM, and its children hold the output open.
#[test]
fn a_command_that_hangs_is_killed() {
    let mut transport = sh("trap \"\" TERM; sleep 3153 & while :; do sleep 3154; done");
    transport.timeout = Duration::from_millis(100);
    let began = Instant::now();
    let attempt = transport.reconfigure(&stop_token());
    assert_eq!(attempt.result.outcome, Outcome::TimedOut { why: "no answer within 0.1 s".to_string() });
    assert!(began.elapsed() >= transport.timeout + KILL_GRACE, "{:?}", began.elapsed());
    assert_eq!((attempt.orphan, transport.orphans.reap()), (None, 0));
}

/// Between TERM and KILL a command can still clean up, but its answer is ignored.
#[test]
fn an_answer_after_the_timeout_is_ignored() {
    let mut transport = sh("trap \"echo Reconfigured; exit 0\" TERM; while :; do sleep 0.01; done");
    transport.timeout = Duration::from_millis(200);
    let attempt = transport.reconfigure(&stop_token());
    assert!(matches!(attempt.result.outcome, Outcome::TimedOut { .. }), "{attempt:?}");
    assert!(!attempt.result.outcome.is_accepted());
}

#[test]
fn a_stop_ends_a_command() {
    let stop = stop_token();
    stop.trigger();
    let attempt = sh("sleep 3155").reconfigure(&stop);
    assert_eq!(attempt.result.outcome, Outcome::NotSent { why: "the daemon stops".to_string() });
}

#[test]
fn only_a_socket_answers_queries() {
    let transport = sh("true");
    assert!(
        !transport.can_query()
            && transport.query(&[], &stop_token()).is_none()
            && transport.is_busy(&stop_token()).is_none()
    );
    let transport = Transport::new(Address::Socket("/nonexistent/bird.ctl".into()), Arc::default());
    assert!(transport.can_query() && transport.is_busy(&stop_token()).is_none());
    assert!(transport.query(&[], &stop_token()).is_some_and(|result| result.is_err()));
}

/// As with `sudo birdc` under a daemon that is not root: the program runs with root's user id.
#[test]
fn a_command_that_may_not_be_killed_becomes_an_orphan() {
    let Some(sudo) = beside_sudo("bird::transport::tests::a_command_that_may_not_be_killed_becomes_an_orphan") else {
        return;
    };
    let go = sudo.with_file_name("go");
    let waits = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let mut transport = command(&format!("{} --reuid=0 --clear-groups sh -c '{waits}'", sudo.display()));
    transport.timeout = BECOMES_ROOT;
    for n in 1..=MAX_PER_OWNER {
        let attempt = transport.reconfigure(&stop_token());
        assert!(matches!(attempt.result.outcome, Outcome::TimedOut { .. }), "{attempt:?}");
        let orphan = attempt.orphan.unwrap();
        assert!(orphan.ends_with(" may not be killed: Operation not permitted (os error 1)"), "{orphan}");
        assert_eq!(transport.orphans.reap(), n);
    }
    let attempt = transport.reconfigure(&stop_token());
    let why = "4 earlier runs could not be killed and still run".to_string();
    assert_eq!(attempt.result.outcome, Outcome::NotSent { why });
    assert_eq!(transport.orphans.reap(), MAX_PER_OWNER);
    // After they have ended, the command runs again.
    fs::File::create(go).unwrap();
    wait_until("the end of all orphans", || transport.orphans.reap() == 0);
    transport.timeout = Duration::from_secs(1000);
    assert_eq!(transport.reconfigure(&stop_token()).result.outcome, Outcome::Reconfigured);
}

/// Reconfigures BIRD; the outcome without the directory's name, and the version.
fn reconfigure(bird: &RealBird, transport: &mut Transport) -> (String, Option<Version>) {
    let result = transport.reconfigure(&stop_token()).result;
    (bird.plain(&format!("{:?}", result.outcome)), result.version)
}

fn birdc(bird: &RealBird, options: &str) -> Transport {
    command(&bird.birdc(options))
}

#[test]
fn a_real_bird_is_reconfigured_by_birdc() {
    let Some(programs) = Programs::installed() else { return };
    let one = "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32 ];\n";
    let mut bird = RealBird::start(&programs, one);
    for options in ["", "-v"] {
        let mut transport = birdc(&bird, options);
        let version = transport.reconfigure(&stop_token()).result.version;
        assert!(version.is_some_and(|version| version.major >= 2), "{version:?}");
        assert_eq!(reconfigure(&bird, &mut transport), ("Reconfigured".to_string(), version));
        bird.list("define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, ];\n");
        let (refused, reported) = reconfigure(&bird, &mut transport);
        assert!(refused.starts_with("Refused { why: \"DIR/list.conf:1:"), "{refused}");
        assert_eq!(reported, version);
        // The import filter uses the constant, so the protocol restarts.
        bird.list(&one.replace("255", if options.is_empty() { "254" } else { "255" }));
        let (outcome, _) = reconfigure(&bird, &mut transport);
        assert!(["Reconfigured", "InProgress"].contains(&outcome.as_str()), "{outcome}");
    }
    let mut transport = birdc(&bird, "");
    // A stopped BIRD does not answer.
    bird.signal(Signal::STOP);
    transport.timeout = Duration::from_millis(100);
    assert_eq!(reconfigure(&bird, &mut transport).0, "TimedOut { why: \"no answer within 0.1 s\" }");
    transport.timeout = TIMEOUT;
    bird.signal(Signal::CONT);
    bird.wait_until("BIRD answers again", || birdc(&bird, "").reconfigure(&stop_token()).result.outcome.is_accepted());
    bird.kill();
    let refused =
        "NotRunning { why: \"Unable to connect to server control socket (DIR/bird.ctl): Connection refused\" }";
    assert_eq!(reconfigure(&bird, &mut transport), (refused.to_string(), None));
    fs::remove_file(bird.socket()).unwrap();
    assert_eq!(
        reconfigure(&bird, &mut transport).0,
        refused.replace("Connection refused", "No such file or directory")
    );
}
