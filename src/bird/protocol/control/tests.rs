//! Real BIRDs, and one that is made up, for the answers that the real ones do not give on demand.

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

/// A BIRD that says what the test wants. A line that is answered with nothing stays unanswered.
struct FakeBird {
    dir: tempfile::TempDir,
    heard: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeBird {
    fn start(version: &'static str, answer: impl FnMut(&str) -> String + Send + 'static) -> FakeBird {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("bird.ctl")).unwrap();
        let (heard, ends) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (hears, ended) = (heard.clone(), ends.clone());
        let answer = Mutex::new(answer);
        let talk = move |stream: UnixStream| {
            let mut write = stream.try_clone().unwrap();
            let _ = write.write_all(format!("0001 BIRD {version} ready.\n").as_bytes());
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                hears.lock().unwrap().push(line.clone());
                let answered = answer.lock().unwrap()(&line);
                let _ = write.write_all(answered.as_bytes());
            }
        };
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for stream in listener.incoming().map(Result::unwrap).take_while(|_| !ended.load(Ordering::SeqCst)) {
                    scope.spawn(|| talk(stream));
                }
            });
        });
        FakeBird { dir, heard, ends, thread: Some(thread) }
    }

    fn control(&self) -> Control {
        Control::new(&self.dir.path().join("bird.ctl"))
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for FakeBird {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.dir.path().join("bird.ctl"));
        let _ = self.thread.take().unwrap().join();
    }
}

fn line() -> StopToken {
    StopToken::new().unwrap()
}

const IDLE: &str = "0003-Daemon is up and running\n0000 \n";
const BUSY: &str = "0004-Reconfiguration in progress\n0000 \n";
const QUEUED: &str = "0005-Reconfiguration in progress, next one enqueued\n0000 \n";

/// A BIRD that answers the n-th query for its status with the n-th text, the last one from then on.
fn with_status(version: &'static str, statuses: &[&str], configure: &'static str) -> FakeBird {
    let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    let mut asked = 0;
    FakeBird::start(version, move |line| {
        if line == "configure" {
            return configure.to_string();
        }
        asked += 1;
        statuses[(asked - 1).min(statuses.len() - 1)].clone()
    })
}

#[test]
fn a_busy_bird_is_never_sent_a_configure() {
    let busy: &[&str] = &[BUSY, BUSY, QUEUED, BUSY, IDLE];
    let bird = with_status("3.3.2", busy, "0002-Reading configuration from x\n0003 Reconfigured\n");
    let reply = bird.control().configure(MINUTE, &line());
    assert_eq!((reply.outcome, reply.busy), (Outcome::Reconfigured, false));
    let status = "configure status";
    assert_eq!(bird.heard(), [status, status, status, status, status, "configure"]);

    let bird = with_status("3.3.2", &[BUSY], "0003 Reconfigured\n");
    let reply = bird.control().configure(SHORT, &line());
    assert_eq!((reply.outcome, reply.busy), (Outcome::Queued, true));
    assert!(!bird.heard().contains(&"configure".to_string()), "{:?}", bird.heard());
}

#[test]
fn old_birds_are_asked_in_their_way() {
    for version in ["1.6.8", "2.0.4", "hello"] {
        let busy: &[&str] = &[
            "1000-BIRD 1.6.8\n0013 Reconfiguration in progress\n",
            "1000-BIRD 1.6.8\n0013 Daemon is up and running\n",
        ];
        let bird = with_status(version, busy, "0003 Reconfigured\n");
        assert_eq!(bird.control().configure(MINUTE, &line()).outcome, Outcome::Reconfigured);
        assert_eq!(bird.heard(), ["show status", "show status", "configure"]);
    }
}

#[test]
fn who_does_not_say_whether_he_is_busy_gets_no_configure() {
    for (status, why) in [
        ("9001 syntax error\n", "BIRD does not say whether it is busy, but \"syntax error\""),
        ("0006-Shutdown in progress\n0000 \n", "BIRD is shutting down"),
    ] {
        let bird = with_status("3.3.2", &[status], "0003 Reconfigured\n");
        let reply = bird.control().configure(MINUTE, &line());
        assert_eq!(reply.outcome, Outcome::Refused { why: why.to_string() });
        assert_eq!(bird.heard().len(), 1);
    }
}

#[test]
fn a_reason_is_short_however_much_is_said() {
    for said in ["9001 ".to_string() + &"x".repeat(4000), "no BIRD ".to_string() + &"\u{10ffff}".repeat(200)] {
        let bird = with_status("3.3.2", &[&(said + "\n")], "0003 Reconfigured\n");
        let outcome = bird.control().configure(MINUTE, &line()).outcome;
        assert!(outcome.why().unwrap().len() <= MAX_REASON_LEN, "{outcome:?}");
    }
}

#[test]
fn answers_to_configure() {
    let check = |statuses: &[&str], configure: &'static str, outcome: Outcome, busy: bool| {
        let reply = with_status("3.3.2", statuses, configure).control().configure(SHORT, &line());
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
    let stop = line();
    stop.trigger();
    let reply = bird.control().configure(MINUTE, &stop);
    assert_eq!((reply.outcome, reply.busy), (Outcome::NotSent { why: "the daemon stops".to_string() }, false));
}

/// What is asked of a made-up BIRD that gives these answers, and what is made of them.
fn asks(answers: &[&str], list: &[Prefix]) -> (Vec<String>, Option<String>) {
    let mut answers = answers.iter().map(ToString::to_string).collect::<Vec<_>>().into_iter();
    let bird = FakeBird::start("2.0.12", move |_| answers.next().unwrap());
    let query = Query::new("X", list.into(), std::iter::empty());
    let (holdings, version) = bird.control().ask(&[query], MINUTE, &line()).unwrap();
    assert!(version.is_some());
    (bird.heard(), holdings[0].difference.as_ref().map(ToString::to_string))
}

#[test]
fn answers_to_questions() {
    let (yes, no) = ("0023 TRUE\n", "0023 FALSE\n");
    let two = prefixes(crate::prefix::Family::V4, 1..3);
    let whole = "eval X=[10.0.0.1/32,10.0.0.2/32]";
    let singles = ["eval 10.0.0.1/32~X", "eval 10.0.0.2/32~X"];
    assert_eq!(asks(&[yes], &two), (vec![whole.to_string()], None));
    let (heard, difference) = asks(&[no, yes, no], &two);
    assert_eq!(heard, [&[whole], &singles[..]].concat());
    assert_eq!(difference.unwrap(), "BIRD does not list 10.0.0.2/32");
    assert_eq!(asks(&[no, yes, yes], &two).1.unwrap(), "BIRD lists prefixes that the file does not list");
    let unknown = "9001 X: variable expected.\n";
    assert_eq!(asks(&[unknown], &two).1.unwrap(), "BIRD cannot say what X lists: X: variable expected.");
    assert_eq!(asks(&[no, yes, unknown], &two).1.unwrap(), "BIRD cannot say what X lists: X: variable expected.");
}

/// A BIRD with a list of one prefix that no test uses.
fn started(programs: &Programs) -> RealBird {
    let prefix = prefixes(programs.family, 99_999..100_000)[0];
    RealBird::start(programs, &format!("define {VARIABLE} = [ {prefix} ];\n"))
}

/// Whether BIRD holds `list` and none of `others`, as far as it is asked.
fn holds(bird: &RealBird, list: &[Prefix], others: &[Prefix]) -> QueryResult {
    let query = Query::new(VARIABLE, list.into(), others.iter().copied());
    let (mut holdings, version) = Control::new(&bird.socket()).ask(&[query], MINUTE, &line()).unwrap();
    assert!(version.is_some());
    holdings.remove(0)
}

fn difference(bird: &RealBird, list: &[Prefix], others: &[Prefix]) -> Option<String> {
    holds(bird, list, others).difference.map(|found| bird.plain(&found.to_string()))
}

#[test]
fn real_birds_are_told_and_asked() {
    for programs in Programs::all() {
        let some = prefixes(programs.family, 0..5);
        let mut bird = started(&programs);
        let control = Control::new(&bird.socket());
        bird.lists(&some);
        let reply = control.configure(MINUTE, &line());
        assert!(reply.outcome.is_accepted(), "{programs:?}: {reply:?}");
        assert_eq!(reply.version.unwrap().major >= 2, programs.modern);
        let check = |list: &[Prefix], others: &[Prefix], held: &[Prefix], expected: Option<&str>| {
            let found = holds(&bird, list, others);
            assert_eq!(found.list, held, "{programs:?}");
            assert_eq!(found.difference.map(|found| found.to_string()).as_deref(), expected, "{programs:?}");
        };
        check(&some, &[], &some, None);
        let backwards: Vec<Prefix> = some.iter().rev().copied().collect();
        check(&backwards, &prefixes(programs.family, 7..9), &backwards, None);
        check(&some[1..], &[], &some[1..], Some("BIRD lists prefixes that the file does not list"));
        let (missing, left) = (prefixes(programs.family, 5..6)[0], some[0]);
        check(&[&some[..], &[missing]].concat(), &[], &some, Some(&format!("BIRD does not list {missing}")));
        check(&some[1..], &[left], &backwards_end(&some), Some(&format!("BIRD still lists {left}")));

        // A list that BIRD cannot read changes nothing.
        bird.list("define ACAST_PS_ADVERTISE = [");
        let refused = control.configure(MINUTE, &line());
        assert_eq!(refused.outcome.label(), "refused", "{refused:?}");
        check(&some, &[], &some, None);
        // Nor does one that it does not include, but then it does not know the constant at all.
        bird.conf("");
        assert!(control.configure(MINUTE, &line()).outcome.is_accepted());
        let unknown = difference(&bird, &some, &[]).unwrap();
        assert!(unknown.starts_with("BIRD cannot say what ACAST_PS_ADVERTISE lists: "), "{unknown}");

        bird.signal(Signal::STOP);
        let silent = control.configure(SHORT, &line());
        assert_eq!(silent.outcome, Outcome::TimedOut { why: "no answer within 0.2 s".to_string() });
        bird.signal(Signal::CONT);
        assert!(control.configure(MINUTE, &line()).outcome.is_accepted());
        bird.kill();
        let gone = control.configure(MINUTE, &line()).outcome;
        let why = format!("nobody listens on {}: BIRD is down", bird.socket().display());
        assert_eq!(gone, Outcome::NotRunning { why });
    }
}

fn backwards_end(some: &[Prefix]) -> Vec<Prefix> {
    [&some[1..], &some[..1]].concat()
}

/// An empty list is one that BIRD 1.6 and 2.0 before 2.0.11 do not read.
#[test]
fn empty_lists_of_real_birds() {
    for programs in Programs::all() {
        let some = prefixes(programs.family, 0..2);
        let bird = started(&programs);
        let control = Control::new(&bird.socket());
        bird.lists(&some);
        assert!(control.configure(MINUTE, &line()).outcome.is_accepted());
        bird.lists(&[]);
        let reply = control.configure(MINUTE, &line());
        assert_eq!(reply.outcome.is_accepted(), reply.version.unwrap().reads_empty_lists(), "{reply:?}");
        let expected = (!reply.outcome.is_accepted()).then(|| format!("BIRD still lists {}", some[0]));
        assert_eq!(difference(&bird, &[], &some), expected);
    }
}

/// The requests follow each other as fast as BIRD answers, and must never overfill its buffer.
#[test]
fn ten_thousand_prefixes_are_asked_for() {
    for programs in Programs::all() {
        let all = prefixes(programs.family, 0..10_000);
        let others = prefixes(programs.family, 10_000..12_000);
        let bird = started(&programs);
        bird.lists(&all);
        assert!(Control::new(&bird.socket()).configure(MINUTE, &line()).outcome.is_accepted());
        for _ in 0..5 {
            let began = std::time::Instant::now();
            let found = holds(&bird, &all, &others);
            println!("{} answers for 12,000 prefixes in {:?}", programs.bird.display(), began.elapsed());
            assert_eq!(found, QueryResult { list: all.clone(), difference: None });
        }
        // All of them one by one.
        let found = holds(&bird, &others, &all);
        assert_eq!(found.list, all);
        assert_eq!(found.difference, Some(Difference::Missing(others[0])));
    }
}
