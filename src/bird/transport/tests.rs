//! Real commands, and a real BIRD where it is installed.

use std::fs;

use rustix::process::Signal;

use super::*;
use crate::bird::protocol::outcome::{Outcome, Version};
use crate::sys::orphans::MAX_PER_OWNER;
use crate::testing::isolated::{beside_sudo, wait_until, BECOMES_ROOT};
use crate::testing::real_bird::{Programs, RealBird};

fn line() -> StopToken {
    StopToken::new().unwrap()
}

/// By a command line.
fn by(command: &str) -> Transport {
    Transport::new(Address::Command(Command::parse(command).unwrap()), Arc::default())
}

/// By a script of `sh`.
fn sh(script: &str) -> Transport {
    by(&format!("sh -c '{script}'"))
}

fn check(script: &str, expected: &str) {
    let answer = sh(script).reconfigure(&line());
    assert_eq!(answer.reply.outcome.to_string(), expected, "{script}");
    assert_eq!(answer.left, None);
}

#[test]
fn what_a_command_says_is_heard() {
    check("echo Reconfigured; exit 1", "reconfigured BIRD daemon");
    check("true", "reconfigured BIRD daemon");
    let refused = "reconfiguring BIRD returned error, most likely we generated an invalid configuration file or Bird \
                   configuration in is broken:";
    check("echo BIRD 2.0.12 ready.; echo Access denied", &format!("{refused}Access denied"));
    let unreachable = "reconfiguring BIRD failed, either BIRD daemon is down or we don't have privileges to \
                       reconfigure it (sudo problems?):";
    check("echo no rights >&2; exit 1", &format!("{unreachable}exit code 1: no rights"));
    check("kill -KILL $$", &format!("{unreachable}ended by signal 9"));
    // The answer stands at the end, however much comes before it.
    check("seq 1 100000; echo Reconfigured", "reconfigured BIRD daemon");
}

#[test]
fn a_command_that_is_missing_sends_nothing() {
    let Attempt { reply, .. } = by("/nonexistent/birdc configure").reconfigure(&line());
    let why = "No such file or directory (os error 2): '/nonexistent/birdc'".to_string();
    assert_eq!(reply.outcome, Outcome::NotSent { why });
    assert_eq!(
        reply.outcome.to_string(),
        "reconfiguring BIRD failed with: No such file or directory (os error 2): '/nonexistent/birdc'"
    );
}

/// TERM is not enough, and children hold the output open.
#[test]
fn a_command_that_hangs_is_killed() {
    let mut transport = sh("trap \"\" TERM; sleep 3153 & while :; do sleep 3154; done");
    transport.limit = Duration::from_millis(100);
    let began = Instant::now();
    let answer = transport.reconfigure(&line());
    assert_eq!(answer.reply.outcome, Outcome::TimedOut { why: "no answer within 0.1 s".to_string() });
    assert!(began.elapsed() >= transport.limit + GRACE, "{:?}", began.elapsed());
    assert_eq!((answer.left, transport.orphans.reap()), (None, 0));
}

/// Between TERM and KILL a command can still clean up, but its answer comes too late.
#[test]
fn a_late_answer_is_none() {
    let mut transport = sh("trap \"echo Reconfigured; exit 0\" TERM; while :; do sleep 0.01; done");
    transport.limit = Duration::from_millis(200);
    let answer = transport.reconfigure(&line());
    assert!(matches!(answer.reply.outcome, Outcome::TimedOut { .. }), "{answer:?}");
    assert!(!answer.reply.outcome.is_accepted());
}

#[test]
fn a_stop_ends_it() {
    let stop = line();
    stop.trigger();
    let answer = sh("sleep 3155").reconfigure(&stop);
    assert_eq!(answer.reply.outcome, Outcome::NotSent { why: "the daemon stops".to_string() });
}

#[test]
fn only_a_socket_answers_questions() {
    let transport = sh("true");
    assert!(!transport.can_ask() && transport.ask(&[], &line()).is_none() && transport.is_busy(&line()).is_none());
    let transport = Transport::new(Address::Socket("/nonexistent/bird.ctl".into()), Arc::default());
    assert!(transport.can_ask() && transport.is_busy(&line()).is_none());
    assert!(transport.ask(&[], &line()).is_some_and(|asked| asked.is_err()));
}

/// What `sudo birdc` is to a daemon that is not root: a program that set its user id to root's.
#[test]
fn what_may_not_be_killed_is_left() {
    let Some(sudo) = beside_sudo("bird::transport::tests::what_may_not_be_killed_is_left") else { return };
    let go = sudo.with_file_name("go");
    let waits = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let mut transport = by(&format!("{} --reuid=0 --clear-groups sh -c '{waits}'", sudo.display()));
    transport.limit = BECOMES_ROOT;
    for n in 1..=MAX_PER_OWNER {
        let answer = transport.reconfigure(&line());
        assert!(matches!(answer.reply.outcome, Outcome::TimedOut { .. }), "{answer:?}");
        let left = answer.left.unwrap();
        assert!(left.ends_with(" may not be killed: Operation not permitted (os error 1)"), "{left}");
        assert_eq!(transport.orphans.reap(), n);
    }
    let answer = transport.reconfigure(&line());
    let why = "4 earlier runs could not be killed and still run".to_string();
    assert_eq!(answer.reply.outcome, Outcome::NotSent { why });
    assert_eq!(transport.orphans.reap(), MAX_PER_OWNER);
    // They end by themselves, and then it goes on.
    fs::File::create(go).unwrap();
    wait_until("the end of them all", || transport.orphans.reap() == 0);
    transport.limit = Duration::from_secs(1000);
    assert_eq!(transport.reconfigure(&line()).reply.outcome, Outcome::Reconfigured);
}

/// What comes back, without the directory's name.
fn said(bird: &RealBird, transport: &mut Transport) -> (String, Option<Version>) {
    let reply = transport.reconfigure(&line()).reply;
    (bird.plain(&format!("{:?}", reply.outcome)), reply.version)
}

fn by_birdc(bird: &RealBird, options: &str) -> Transport {
    by(&bird.birdc(options))
}

#[test]
fn a_real_bird() {
    let Some(programs) = Programs::installed() else { return };
    let one = "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32 ];\n";
    let mut bird = RealBird::start(&programs, one);
    for options in ["", "-v"] {
        let mut transport = by_birdc(&bird, options);
        let version = transport.reconfigure(&line()).reply.version;
        assert!(version.is_some_and(|version| version.major >= 2), "{version:?}");
        assert_eq!(said(&bird, &mut transport), ("Reconfigured".to_string(), version));
        bird.list("define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, ];\n");
        let (refused, told) = said(&bird, &mut transport);
        assert!(refused.starts_with("Refused { why: \"DIR/list.conf:1:"), "{refused}");
        assert_eq!(told, version);
        // The constant in an import filter: the protocol restarts.
        bird.list(&one.replace("255", if options.is_empty() { "254" } else { "255" }));
        let (soon, _) = said(&bird, &mut transport);
        assert!(["Reconfigured", "InProgress"].contains(&soon.as_str()), "{soon}");
    }
    let mut transport = by_birdc(&bird, "");
    // A stopped BIRD answers nobody.
    bird.signal(Signal::STOP);
    transport.limit = Duration::from_millis(100);
    assert_eq!(said(&bird, &mut transport).0, "TimedOut { why: \"no answer within 0.1 s\" }");
    transport.limit = LIMIT;
    bird.signal(Signal::CONT);
    bird.wait_until("BIRD answers again", || by_birdc(&bird, "").reconfigure(&line()).reply.outcome.is_accepted());
    bird.kill();
    let refused =
        "NotRunning { why: \"Unable to connect to server control socket (DIR/bird.ctl): Connection refused\" }";
    assert_eq!(said(&bird, &mut transport), (refused.to_string(), None));
    fs::remove_file(bird.socket()).unwrap();
    assert_eq!(said(&bird, &mut transport).0, refused.replace("Connection refused", "No such file or directory"));
}
