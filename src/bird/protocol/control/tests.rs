//! Real BIRDs, and a fake one for answers that the real ones do not give on demand.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::Signal;

use super::*;
use crate::bird::protocol::outcome::MAX_REASON_LEN;
use crate::prefix::Prefix;
use crate::testing::real_bird::{prefixes, Programs, RealBird, VARIABLE};

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

/// A server that answers as the test wants. An empty answer sends nothing.
struct FakeBird {
    dir: tempfile::TempDir,
    received: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeBird {
    fn start(version: &'static str, answer: impl FnMut(&str) -> String + Send + 'static) -> FakeBird {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("bird.ctl")).unwrap();
        let received = Arc::<Mutex<Vec<String>>>::default();
        let ended = Arc::<AtomicBool>::default();
        let (lines, is_over) = (received.clone(), ended.clone());
        let answer = Mutex::new(answer);
        let serve = move |stream: UnixStream| {
            let mut write = stream.try_clone().unwrap();
            let _ = write.write_all(format!("0001 BIRD {version} ready.\n").as_bytes());
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line.clone());
                let answered = answer.lock().unwrap()(&line);
                let _ = write.write_all(answered.as_bytes());
            }
        };
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for stream in listener.incoming().map(Result::unwrap).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                    scope.spawn(|| serve(stream));
                }
            });
        });
        FakeBird { dir, received, ended, thread: Some(thread) }
    }

    fn control(&self) -> Control {
        Control::new(&self.dir.path().join("bird.ctl"))
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for FakeBird {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.dir.path().join("bird.ctl"));
        let _ = self.thread.take().unwrap().join();
    }
}

fn token() -> StopToken {
    StopToken::new().unwrap()
}

const IDLE: &str = "0003-Daemon is up and running\n0000 \n";
const BUSY: &str = "0004-Reconfiguration in progress\n0000 \n";
const QUEUED: &str = "0005-Reconfiguration in progress, next one enqueued\n0000 \n";

/// A BIRD that answers the n-th status query with the n-th text, and every further one with the
/// last text.
fn with_status(version: &'static str, statuses: &[&str], configure: &'static str) -> FakeBird {
    let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    let mut queries = 0;
    FakeBird::start(version, move |line| {
        if line == "configure" {
            return configure.to_string();
        }
        queries += 1;
        statuses[(queries - 1).min(statuses.len() - 1)].clone()
    })
}

#[test]
fn a_busy_bird_is_never_sent_a_configure() {
    let busy: &[&str] = &[BUSY, BUSY, QUEUED, BUSY, IDLE];
    let bird = with_status("3.3.2", busy, "0002-Reading configuration from x\n0003 Reconfigured\n");
    let reply = bird.control().configure(MINUTE, &token());
    assert_eq!((reply.outcome, reply.busy), (Outcome::Reconfigured, false));
    let status = "configure status";
    assert_eq!(bird.received(), [status, status, status, status, status, "configure"]);

    let bird = with_status("3.3.2", &[BUSY], "0003 Reconfigured\n");
    let reply = bird.control().configure(SHORT, &token());
    assert_eq!((reply.outcome, reply.busy), (Outcome::Queued, true));
    assert!(!bird.received().contains(&"configure".to_string()), "{:?}", bird.received());
}

#[test]
fn old_birds_receive_show_status() {
    for version in ["1.6.8", "2.0.4", "hello"] {
        let busy: &[&str] = &[
            "1000-BIRD 1.6.8\n0013 Reconfiguration in progress\n",
            "1000-BIRD 1.6.8\n0013 Daemon is up and running\n",
        ];
        let bird = with_status(version, busy, "0003 Reconfigured\n");
        assert_eq!(bird.control().configure(MINUTE, &token()).outcome, Outcome::Reconfigured);
        assert_eq!(bird.received(), ["show status", "show status", "configure"]);
    }
}

#[test]
fn a_bird_with_an_unknown_status_is_never_sent_a_configure() {
    for (status, why) in [
        ("9001 syntax error\n", "BIRD does not say whether it is busy, but \"syntax error\""),
        ("0006-Shutdown in progress\n0000 \n", "BIRD is shutting down"),
    ] {
        let bird = with_status("3.3.2", &[status], "0003 Reconfigured\n");
        let reply = bird.control().configure(MINUTE, &token());
        assert_eq!(reply.outcome, Outcome::Refused { why: why.to_string() });
        assert_eq!(bird.received().len(), 1);
    }
}

#[test]
fn the_reason_of_a_long_answer_is_short() {
    for answer in ["9001 ".to_string() + &"x".repeat(4000), "no BIRD ".to_string() + &"\u{10ffff}".repeat(200)] {
        let bird = with_status("3.3.2", &[&(answer + "\n")], "0003 Reconfigured\n");
        let outcome = bird.control().configure(MINUTE, &token()).outcome;
        assert!(outcome.why().unwrap().len() <= MAX_REASON_LEN, "{outcome:?}");
    }
}

#[test]
fn each_answer_to_configure_has_its_outcome() {
    let check = |statuses: &[&str], configure: &'static str, outcome: Outcome, busy: bool| {
        let reply = with_status("3.3.2", statuses, configure).control().configure(SHORT, &token());
        assert_eq!((reply.outcome, reply.busy), (outcome, busy), "{configure}");
    };
    let refused = |why: &str| Outcome::Refused { why: why.to_string() };
    check(&[IDLE], "0002-Reading\n0004 Reconfiguration in progress\n", Outcome::InProgress, true);
    let queued = "0002-Reading\n0005 Reconfiguration already in progress, queueing new config\n";
    check(&[IDLE, QUEUED, BUSY, IDLE], queued, Outcome::Reconfigured, false);
    check(&[IDLE, QUEUED], queued, Outcome::Queued, true);
    check(&[IDLE], "0002-Reading\n8002 bird.conf:3:1 syntax error\n", refused("bird.conf:3:1 syntax error"), false);
    check(&[IDLE], "8007 Access denied\n", refused("Access denied"), false);
    check(
        &[IDLE],
        "0006 Reconfiguration ignored, shutting down\n",
        refused("Reconfiguration ignored, shutting down"),
        false,
    );
    check(&[IDLE], "0002-Reading\n", Outcome::TimedOut { why: "no answer within 0.2 s".to_string() }, true);
    check(&[""], "0003 Reconfigured\n", Outcome::TimedOut { why: "no answer within 0.2 s".to_string() }, false);
}

#[test]
fn a_stop_ends_the_wait_for_a_busy_bird() {
    let bird = with_status("3.3.2", &[BUSY], "0003 Reconfigured\n");
    let stop = token();
    stop.trigger();
    let reply = bird.control().configure(MINUTE, &stop);
    assert_eq!((reply.outcome, reply.busy), (Outcome::NotSent { why: "the daemon stops".to_string() }, false));
}

/// Queries a fake BIRD that gives these answers. Returns the requests and the difference.
fn query_fake(answers: &[&str], list: &[Prefix]) -> (Vec<String>, Option<String>) {
    let mut answers = answers.iter().map(ToString::to_string).collect::<Vec<_>>().into_iter();
    let bird = FakeBird::start("2.0.12", move |_| answers.next().unwrap());
    let query = Query::new("X", list.into(), std::iter::empty());
    let (results, version) = bird.control().ask(&[query], MINUTE, &token()).unwrap();
    assert!(version.is_some());
    (bird.received(), results[0].difference.as_ref().map(ToString::to_string))
}

#[test]
fn the_first_difference_is_found_by_queries() {
    let (yes, no) = ("0023 TRUE\n", "0023 FALSE\n");
    let two = prefixes(crate::prefix::Family::V4, 1..3);
    let whole = "eval X=[10.0.0.1/32,10.0.0.2/32]";
    let singles = ["eval 10.0.0.1/32~X", "eval 10.0.0.2/32~X"];
    assert_eq!(query_fake(&[yes], &two), (vec![whole.to_string()], None));
    let (requests, difference) = query_fake(&[no, yes, no], &two);
    assert_eq!(requests, [&[whole], &singles[..]].concat());
    assert_eq!(difference.unwrap(), "BIRD does not list 10.0.0.2/32");
    assert_eq!(query_fake(&[no, yes, yes], &two).1.unwrap(), "BIRD lists prefixes that the file does not list");
    let unknown = "9001 X: variable expected.\n";
    assert_eq!(query_fake(&[unknown], &two).1.unwrap(), "BIRD cannot say what X lists: X: variable expected.");
    assert_eq!(query_fake(&[no, yes, unknown], &two).1.unwrap(), "BIRD cannot say what X lists: X: variable expected.");
}

/// A BIRD whose list has one prefix that no test uses.
fn started(programs: &Programs) -> RealBird {
    let prefix = prefixes(programs.family, 99_999..100_000)[0];
    RealBird::start(programs, &format!("define {VARIABLE} = [ {prefix} ];\n"))
}

/// Asks BIRD whether it holds `list` and none of `others`.
fn query_real(bird: &RealBird, list: &[Prefix], others: &[Prefix]) -> QueryResult {
    let query = Query::new(VARIABLE, list.into(), others.iter().copied());
    let (mut results, version) = Control::new(&bird.socket()).ask(&[query], MINUTE, &token()).unwrap();
    assert!(version.is_some());
    results.remove(0)
}

fn difference(bird: &RealBird, list: &[Prefix], others: &[Prefix]) -> Option<String> {
    query_real(bird, list, others).difference.map(|difference| bird.plain(&difference.to_string()))
}

#[test]
fn real_birds_are_reconfigured_and_queried() {
    for programs in Programs::all() {
        let some = prefixes(programs.family, 0..5);
        let mut bird = started(&programs);
        let control = Control::new(&bird.socket());
        bird.lists(&some);
        let reply = control.configure(MINUTE, &token());
        assert!(reply.outcome.is_accepted(), "{programs:?}: {reply:?}");
        assert_eq!(reply.version.unwrap().major >= 2, programs.modern);
        let check = |list: &[Prefix], others: &[Prefix], held: &[Prefix], expected: Option<&str>| {
            let actual = query_real(&bird, list, others);
            assert_eq!(actual.list, held, "{programs:?}");
            assert_eq!(actual.difference.map(|difference| difference.to_string()).as_deref(), expected, "{programs:?}");
        };
        check(&some, &[], &some, None);
        let backwards: Vec<Prefix> = some.iter().rev().copied().collect();
        check(&backwards, &prefixes(programs.family, 7..9), &backwards, None);
        check(&some[1..], &[], &some[1..], Some("BIRD lists prefixes that the file does not list"));
        let (missing, removed) = (prefixes(programs.family, 5..6)[0], some[0]);
        check(&[&some[..], &[missing]].concat(), &[], &some, Some(&format!("BIRD does not list {missing}")));
        check(&some[1..], &[removed], &first_last(&some), Some(&format!("BIRD still lists {removed}")));

        // A list that BIRD cannot read changes nothing.
        bird.list("define ACAST_PS_ADVERTISE = [");
        let refused = control.configure(MINUTE, &token());
        assert_eq!(refused.outcome.label(), "refused", "{refused:?}");
        check(&some, &[], &some, None);
        // Without the include BIRD does not know the constant.
        bird.conf("");
        assert!(control.configure(MINUTE, &token()).outcome.is_accepted());
        let unknown = difference(&bird, &some, &[]).unwrap();
        assert!(unknown.starts_with("BIRD cannot say what ACAST_PS_ADVERTISE lists: "), "{unknown}");

        bird.signal(Signal::STOP);
        let timed_out = control.configure(SHORT, &token());
        assert_eq!(timed_out.outcome, Outcome::TimedOut { why: "no answer within 0.2 s".to_string() });
        bird.signal(Signal::CONT);
        assert!(control.configure(MINUTE, &token()).outcome.is_accepted());
        bird.kill();
        let ended = control.configure(MINUTE, &token()).outcome;
        let why = format!("nobody listens on {}: BIRD is down", bird.socket().display());
        assert_eq!(ended, Outcome::NotRunning { why });
    }
}

/// The prefixes with the first one moved to the end.
fn first_last(some: &[Prefix]) -> Vec<Prefix> {
    [&some[1..], &some[..1]].concat()
}

/// BIRD 1.6, and BIRD 2.0 before 2.0.11, do not accept an empty list.
#[test]
fn an_empty_list_is_accepted_since_2_0_11() {
    for programs in Programs::all() {
        let some = prefixes(programs.family, 0..2);
        let bird = started(&programs);
        let control = Control::new(&bird.socket());
        bird.lists(&some);
        assert!(control.configure(MINUTE, &token()).outcome.is_accepted());
        bird.lists(&[]);
        let reply = control.configure(MINUTE, &token());
        assert_eq!(reply.outcome.is_accepted(), reply.version.unwrap().reads_empty_lists(), "{reply:?}");
        let expected = (!reply.outcome.is_accepted()).then(|| format!("BIRD still lists {}", some[0]));
        assert_eq!(difference(&bird, &[], &some), expected);
    }
}

/// The requests follow each other as fast as BIRD answers, and must never overflow its buffer.
#[test]
fn ten_thousand_prefixes_are_queried() {
    for programs in Programs::all() {
        let all = prefixes(programs.family, 0..10_000);
        let others = prefixes(programs.family, 10_000..12_000);
        let bird = started(&programs);
        bird.lists(&all);
        assert!(Control::new(&bird.socket()).configure(MINUTE, &token()).outcome.is_accepted());
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let actual = query_real(&bird, &all, &others);
            println!("{} answers for 12,000 prefixes in {:?}", programs.bird.display(), start.elapsed());
            assert_eq!(actual, QueryResult { list: all.clone(), difference: None });
        }
        // Each prefix is asked for on its own.
        let actual = query_real(&bird, &others, &all);
        assert_eq!(actual.list, all);
        assert_eq!(actual.difference, Some(Difference::Missing(others[0])));
    }
}
