//! Real processes, most of them a `sleep` of the test's own.

use std::process::{Child, Command};
use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::testing::isolated::{alone, this_program, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// A process that ends with the test, at the latest.
pub(crate) struct Sleep(pub(crate) Child);

impl Sleep {
    #[expect(clippy::disallowed_methods, reason = "this is a service, which nobody in here starts")]
    pub(crate) fn start() -> Sleep {
        Sleep(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Ends it; what is left is a zombie.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    pub(crate) fn kill_and_reap(&mut self) {
        self.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

fn watcher() -> (Arc<Watcher>, StopToken) {
    let stop = StopToken::new().unwrap();
    (Watcher::new(stop.clone()), stop)
}

/// Watches `pid`, and says its name when it ends.
fn watch(watcher: &Arc<Watcher>, sleep: &Sleep, name: &'static str) -> (Watched, Receiver<&'static str>) {
    let (told, receiver) = channel();
    (watcher.watch(sleep.pid(), move || told.send(name).unwrap()).unwrap(), receiver)
}

#[test]
fn an_end_is_told_once() {
    let (watcher, stop) = watcher();
    let (mut a, mut b) = (Sleep::start(), Sleep::start());
    let (watched, a_told) = watch(&watcher, &a, "a");
    let (_b_watched, b_told) = watch(&watcher, &b, "b");
    assert!(!watched.has_ended() && watched.pid() == a.pid());
    a.kill();
    assert_eq!(a_told.recv_timeout(MINUTE), Ok("a"));
    assert!(watched.has_ended());
    // The sender is gone, so nothing more can come.
    assert!(a_told.recv().is_err());
    b.kill_and_reap();
    assert_eq!(b_told.recv_timeout(MINUTE), Ok("b"));
    stop.trigger();
}

#[test]
fn what_has_ended_is_refused() {
    let (watcher, _stop) = watcher();
    let mut sleep = Sleep::start();
    let (watched, told) = watch(&watcher, &sleep, "it");
    sleep.kill();
    assert_eq!(told.recv_timeout(MINUTE), Ok("it"));
    let check = |what| match watcher.watch(watched.pid(), move || panic!("told of {what}")) {
        Err(WatchError::NoSuchProcess(pid)) => assert_eq!(pid, watched.pid().as_raw_pid()),
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what} is watched"),
    };
    check("a zombie");
    sleep.0.wait().unwrap();
    check("nothing");
}

#[test]
fn what_is_no_longer_watched_is_not_told_of() {
    let (watcher, _stop) = watcher();
    let (mut a, mut b) = (Sleep::start(), Sleep::start());
    let ((a_watched, a_told), (_b_watched, b_told)) = (watch(&watcher, &a, "a"), watch(&watcher, &b, "b"));
    drop(a_watched);
    assert!(a_told.recv().is_err(), "what was to be done is dropped");
    a.kill();
    b.kill();
    assert_eq!(b_told.recv_timeout(MINUTE), Ok("b"));
}

#[test]
fn the_thread_starts_with_the_first_process_and_ends_with_the_stop_line() {
    let (watcher, stop) = watcher();
    assert!(watcher.waiting.lock().epoll.is_none());
    let sleep = Sleep::start();
    drop(watch(&watcher, &sleep, "it"));
    let left = Arc::downgrade(&watcher);
    drop(watcher);
    assert!(left.upgrade().is_some(), "the thread holds it");
    stop.trigger();
    wait_until("the thread's end", || left.upgrade().is_none());
}

#[test]
fn a_thread_is_no_process() {
    let (watcher, _stop) = watcher();
    let (told, tid) = channel();
    let (_end, until) = channel::<()>();
    std::thread::spawn(move || {
        told.send(rustix::thread::gettid()).unwrap();
        until.recv().unwrap_err();
    });
    let refused = watcher.watch(tid.recv().unwrap(), || {}).err();
    assert!(matches!(refused, Some(WatchError::Kernel { .. })), "{refused:?}");
}

#[test]
fn half_of_the_descriptors_are_left_and_a_lack_of_them_is_an_error() {
    let name = "sys::pidfd::tests::half_of_the_descriptors_are_left_and_a_lack_of_them_is_an_error";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let (watcher, _stop) = watcher();
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    let own = rustix::process::getpid();
    let mut held = Vec::new();
    let refused = loop {
        match watcher.watch(own, || {}) {
            Ok(watched) => held.push(watched),
            Err(why) => break why,
        }
    };
    assert!(
        matches!(refused, WatchError::TooManyDescriptors(_)) && (20..32).contains(&held.len()),
        "{refused}, {}",
        held.len()
    );
    held.clear();
    let _taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let refused = watcher.watch(own, || {}).err().unwrap().to_string();
    assert!(refused.contains("Too many open files"), "{refused}");
}
