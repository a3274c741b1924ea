//! Tests with real processes and files.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;
use crate::check::trigger::Wakeup;
use crate::sys::pidfd::tests::Sleep;
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{alone, sh, this_program};
use crate::testing::sample;

const MINUTE: Duration = Duration::from_secs(60);

struct Started {
    dir: tempfile::TempDir,
    pidfile: Pidfile,
    check: Arc<Check>,
}

impl Started {
    fn new() -> Started {
        let dir = tempfile::tempdir().unwrap();
        let check = Arc::new(Check::new(Arc::new(sample::service("a", "10.0.0.1/32"))));
        let watcher = Watcher::new(StopToken::new().unwrap());
        let pidfile = Pidfile::new(dir.path().join("pid"), watcher, check.clone());
        Started { dir, pidfile, check }
    }

    fn sh(&self, script: &str) {
        sh(&format!("cd {}; {script}", self.dir.path().display()));
    }

    /// Reads the file, and expects that no process is watched, for a reason that contains `why`.
    fn expect_none(&mut self, why: &str) {
        assert_eq!(self.pidfile.refresh(), None);
        let problem = self.pidfile.problem.problem();
        assert!(problem.is_some_and(|problem| problem.contains(why)), "{problem:?} instead of {why}");
    }

    /// Writes the process to the file, and expects it to be watched.
    fn expect_watched(&mut self, sleep: &Sleep) {
        self.sh(&format!("echo {} >pid", sleep.pid()));
        assert_eq!(self.pidfile.refresh(), Some(sleep.pid().as_raw_pid()));
        assert_eq!(self.pidfile.problem.problem(), None);
    }

    fn expect_trigger(&self) {
        assert_eq!(self.check.trigger.wait_until(Instant::now() + MINUTE), Wakeup::CheckNow);
    }

    fn expect_no_trigger(&self, why: &str) {
        assert_eq!(self.check.trigger.wait_until(Instant::now()), Wakeup::Time, "{why}");
    }
}

#[test]
fn only_the_number_in_the_first_line_counts() {
    let check = |text: &str, expected: Option<i32>| {
        assert_eq!(parse(text.as_bytes()).map(Pid::as_raw_pid), expected, "{text:?}");
    };
    check("123\n", Some(123));
    check("123", Some(123));
    check("  0123\t\r\n", Some(123));
    // The pidfile of PostgreSQL.
    check("4711\n/var/lib/postgresql/16/main\n1795341934\n", Some(4711));
    check("2147483647", Some(i32::MAX));
    for text in ["", "\n", "\n123", "0", "-1", "+1", "1 2", "1.0", "12a", "2147483648", "99999999999999999999", "１２"]
    {
        check(text, None);
    }
    assert_eq!(parse(b"1\xff"), None);
}

#[test]
fn a_process_that_ends_triggers_one_check_however_often_it_is_named() {
    let (mut started, mut sleep) = (Started::new(), Sleep::start());
    started.expect_watched(&sleep);
    started.expect_watched(&sleep);
    sleep.kill();
    started.expect_trigger();
    // It is a zombie first, and then gone.
    started.expect_none("has ended");
    started.expect_none("has ended");
    sleep.0.wait().unwrap();
    started.expect_none("has ended");
    // If the first end triggered again, it would do so before this one.
    let mut next = Sleep::start();
    started.expect_watched(&next);
    next.kill();
    started.expect_trigger();
    started.expect_none("has ended");
    started.expect_no_trigger("the first process triggered once");
}

#[test]
fn a_bad_file_is_ignored_until_it_is_good() {
    let mut started = Started::new();
    started.expect_none("is not there");
    for (script, why) in [
        (": >pid", "begins with no process id"),
        ("echo none >pid", "begins with no process id"),
        ("head -c 100000 /dev/zero >pid", "begins with no process id"),
        ("rm pid; mkfifo pid", "not a regular file"),
        ("rm pid; mkdir pid", "not a regular file"),
        ("rmdir pid; ln -s nowhere pid", "cannot read"),
        ("rm pid; echo 2147483647 >pid", "cannot be seen from here"),
    ] {
        started.sh(script);
        started.expect_none(why);
    }
    let sleep = Sleep::start();
    started.expect_watched(&sleep);
}

#[test]
fn a_process_stays_watched_when_its_file_is_removed() {
    let (mut started, mut sleep) = (Started::new(), Sleep::start());
    started.expect_watched(&sleep);
    started.sh("rm pid");
    assert_eq!(started.pidfile.refresh(), Some(sleep.pid().as_raw_pid()));
    assert!(started.pidfile.problem.problem().is_some());
    sleep.kill();
    started.expect_trigger();
    started.expect_none("is not there");
}

#[test]
fn another_process_replaces_the_first() {
    let (mut started, mut first, mut second) = (Started::new(), Sleep::start(), Sleep::start());
    started.expect_watched(&first);
    started.expect_watched(&second);
    first.kill_and_reap();
    second.kill_and_reap();
    started.expect_trigger();
    started.expect_none("has ended");
    started.expect_no_trigger("the first process triggered although it was replaced");
}

#[test]
fn each_problem_is_logged_once() {
    if !alone("check::watch_pidfile::tests::each_problem_is_logged_once", &["env"], &this_program()) {
        return;
    }
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            struct Message(String);
            impl tracing::field::Visit for Message {
                fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                    self.0 = format!("{value:?}");
                }
            }
            let mut message = Message(String::new());
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }
    use tracing_subscriber::layer::SubscriberExt as _;
    let lines = Lines::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines.clone())).unwrap();

    let mut started = Started::new();
    let refresh_twice = |started: &mut Started, expected: &[&str]| {
        started.pidfile.refresh();
        started.pidfile.refresh();
        let lines = std::mem::take(&mut *lines.0.lock().unwrap());
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{line} instead of {expected}");
        }
    };
    refresh_twice(&mut started, &["is not there; checking at the normal interval"]);
    let mut sleep = Sleep::start();
    fs::File::create(&started.pidfile.path).unwrap();
    refresh_twice(&mut started, &["begins with no process id"]);
    started.sh(&format!("echo {} >pid", sleep.pid()));
    refresh_twice(&mut started, &["watching process"]);
    sleep.kill_and_reap();
    refresh_twice(&mut started, &["has ended"]);
    fs::remove_file(&started.pidfile.path).unwrap();
    refresh_twice(&mut started, &["is not there"]);
    started.sh(&format!("echo {} >pid", sleep.pid()));
    refresh_twice(&mut started, &["has ended, or cannot be seen from here"]);
}
