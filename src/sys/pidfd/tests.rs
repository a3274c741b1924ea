//! Tests with real processes, most of them a `sleep` that the test starts.

use std::process::{Child, Command};
use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::testing::isolated::{alone, this_program, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// A process that is killed when this is dropped.
pub(crate) struct Sleep(pub(crate) Child);

impl Sleep {
    #[expect(clippy::disallowed_methods, reason = "the test needs a process that sys::process does not wait for")]
    pub(crate) fn start() -> Sleep {
        Sleep(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Kills the process, which becomes a zombie.
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

/// Watches a process. The receiver gets `name` when it exits.
fn watch(watcher: &Arc<Watcher>, sleep: &Sleep, name: &'static str) -> (Watched, Receiver<&'static str>) {
    let (sender, receiver) = channel();
    (watcher.watch(sleep.pid(), move || sender.send(name).unwrap()).unwrap(), receiver)
}

#[test]
fn an_exit_is_reported_once() {
    let (watcher, stop) = watcher();
    let (mut a, mut b) = (Sleep::start(), Sleep::start());
    let (watched, a_exit) = watch(&watcher, &a, "a");
    let (_b_watched, b_exit) = watch(&watcher, &b, "b");
    assert!(!watched.has_ended() && watched.pid() == a.pid());
    a.kill();
    assert_eq!(a_exit.recv_timeout(MINUTE), Ok("a"));
    assert!(watched.has_ended());
    // The sender is gone, so nothing more can come.
    assert!(a_exit.recv().is_err());
    b.kill_and_reap();
    assert_eq!(b_exit.recv_timeout(MINUTE), Ok("b"));
    stop.trigger();
}

#[test]
fn a_process_that_has_exited_cannot_be_watched() {
    let (watcher, _stop) = watcher();
    let mut sleep = Sleep::start();
    let (watched, exit) = watch(&watcher, &sleep, "it");
    sleep.kill();
    assert_eq!(exit.recv_timeout(MINUTE), Ok("it"));
    let check = |what| match watcher.watch(watched.pid(), move || panic!("the exit of {what} is reported")) {
        Err(WatchError::NoSuchProcess(pid)) => assert_eq!(pid, watched.pid().as_raw_pid()),
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what} is watched"),
    };
    check("a zombie");
    sleep.0.wait().unwrap();
    check("a process id without a process");
}

#[test]
fn dropping_the_watch_drops_the_callback() {
    let (watcher, _stop) = watcher();
    let (mut a, mut b) = (Sleep::start(), Sleep::start());
    let ((a_watched, a_exit), (_b_watched, b_exit)) = (watch(&watcher, &a, "a"), watch(&watcher, &b, "b"));
    drop(a_watched);
    assert!(a_exit.recv().is_err(), "the callback is dropped");
    a.kill();
    b.kill();
    assert_eq!(b_exit.recv_timeout(MINUTE), Ok("b"));
}

#[test]
fn the_thread_starts_with_the_first_process_and_ends_at_a_stop() {
    let (watcher, stop) = watcher();
    assert!(watcher.state.lock().epoll.is_none());
    let sleep = Sleep::start();
    drop(watch(&watcher, &sleep, "it"));
    let weak = Arc::downgrade(&watcher);
    drop(watcher);
    assert!(weak.upgrade().is_some(), "the thread holds it");
    stop.trigger();
    wait_until("the thread's end", || weak.upgrade().is_none());
}

#[test]
fn a_thread_cannot_be_watched() {
    let (watcher, _stop) = watcher();
    let (sender, tid) = channel();
    let (_end, end_signal) = channel::<()>();
    std::thread::spawn(move || {
        sender.send(rustix::thread::gettid()).unwrap();
        end_signal.recv().unwrap_err();
    });
    let error = watcher.watch(tid.recv().unwrap(), || {}).err();
    assert!(matches!(error, Some(WatchError::Kernel { .. })), "{error:?}");
}

#[test]
fn half_of_the_descriptors_stay_free_and_a_lack_of_them_is_an_error() {
    let name = "sys::pidfd::tests::half_of_the_descriptors_stay_free_and_a_lack_of_them_is_an_error";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let (watcher, _stop) = watcher();
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    let own = rustix::process::getpid();
    let mut held = Vec::new();
    let error = loop {
        match watcher.watch(own, || {}) {
            Ok(watched) => held.push(watched),
            Err(why) => break why,
        }
    };
    assert!(
        matches!(error, WatchError::TooManyDescriptors(_)) && (20..32).contains(&held.len()),
        "{error}, {}",
        held.len()
    );
    held.clear();
    let _files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let error = watcher.watch(own, || {}).err().unwrap().to_string();
    assert!(error.contains("Too many open files"), "{error}");
}
