//! Tests with real files. Most of them poll without the thread, at times that the test chooses.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::time::Instant;

use super::*;
use crate::check::event::Event;
use crate::check::health::State;
use crate::check::hook::Hooks;
use crate::check::trigger::Wakeup;
use crate::config::settings::{OnDisabled, Service};
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{alone, sh, this_program, wait_until};
use crate::testing::sample;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The services `a`, `b` and `c`. `a` and `c` share the drain file `a`; the drain file of the host
/// is `host`.
struct Fixture {
    dir: tempfile::TempDir,
    poller: Poller,
    events: Receiver<Event>,
}

impl Fixture {
    fn new(change: impl Fn(&mut Service)) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let checks = NAMES.map(|name| {
            let mut service = sample::service(name, "10.0.0.1/32");
            service.drain_file = (name != "b").then(|| dir.path().join("a"));
            change(&mut service);
            Arc::new(Check::new(Arc::new(service)))
        });
        let (announcer, events) = announcer();
        let host = Some(dir.path().join("host"));
        let poller = Poller { host, checks: Arc::new(checks), ..Poller::new(announcer) };
        Fixture { dir, poller, events }
    }

    fn checks(&self) -> Arc<[Arc<Check>]> {
        self.poller.checks.clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "writes as an operator's editor does")]
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn put(&self, name: &str) {
        self.write(name, "");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Polls, and returns the services of the hints that were sent, with their states: `a:down
    /// c:down`.
    fn poll_at(&mut self, now: SystemTime) -> String {
        self.poller.poll(now);
        let hints = self.events.try_iter().map(|event| match event {
            Event::Changed(check) => format!("{}:{}", check.name(), check.state().state()),
            event => panic!("{event:?}"),
        });
        hints.collect::<Vec<_>>().join(" ")
    }

    fn poll(&mut self) -> String {
        self.poll_at(SystemTime::now())
    }

    /// The names of the services that are drained now, whose prefixes are withdrawn.
    fn drained(&self) -> String {
        drained(&self.poller.checks)
    }

    fn end_of(&self, n: usize) -> DrainEnd {
        self.poller.checks[n].state().drained().unwrap().end
    }
}

fn drained(checks: &[Arc<Check>]) -> String {
    let is_drained = |check: &&Arc<Check>| {
        let state = check.state();
        assert_eq!(state.drained().is_some(), state.verdict().withheld);
        state.drained().is_some()
    };
    checks.iter().filter(is_drained).map(|check| check.name()).collect()
}

fn announcer() -> (Announcer, Receiver<Event>) {
    let (sender, events) = channel();
    let hooks = Hooks::new(Arc::default(), StopToken::new().unwrap());
    (Announcer { events: sender, hooks }, events)
}

#[test]
fn a_file_drains_the_services_that_name_it_and_the_file_of_the_host_drains_all() {
    let mut fixture = Fixture::new(|_| ());
    assert_eq!(fixture.poll(), "");
    fixture.put("a");
    assert_eq!((&*fixture.poll(), &*fixture.drained()), ("a:down c:down", "ac"));
    assert_eq!(fixture.poll(), "", "announced once");
    fixture.put("host");
    assert_eq!((&*fixture.poll(), &*fixture.drained()), ("b:down", "abc"));
    fixture.remove("a");
    assert_eq!((&*fixture.poll(), &*fixture.drained()), ("", "abc"));
    fixture.remove("host");
    fixture.poll();
    assert_eq!(fixture.drained(), "");
    for check in fixture.poller.checks.iter() {
        let state = check.state();
        assert_eq!(
            (state.state(), state.code),
            (State::Down, Some(1)),
            "they stay down until their checks have passed"
        );
    }
}

#[test]
fn the_end_of_a_drain_triggers_the_check() {
    let mut fixture = Fixture::new(|_| ());
    let check = fixture.poller.checks[0].clone();
    for (name, act, expected) in [
        ("host", Fixture::put as fn(&Fixture, &str), Wakeup::Time),
        ("a", Fixture::put, Wakeup::Time),
        ("host", Fixture::remove, Wakeup::Time),
        ("a", Fixture::remove, Wakeup::CheckNow),
    ] {
        act(&fixture, name);
        fixture.poll();
        assert_eq!(check.trigger.wait_until(Instant::now()), expected, "{name}");
    }
}

#[test]
fn a_drain_ends_at_its_time_which_may_be_changed() {
    let mut fixture = Fixture::new(|_| ());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let end = |seconds| DrainEnd::At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    fixture.write("a", &drain_file::format(end(1000)));
    assert_eq!(fixture.poll_at(now), "", "it ended before it was noticed");
    fixture.write("a", &drain_file::format(end(1010)));
    assert_eq!(fixture.poll_at(now), "a:down c:down");
    fixture.write("host", &drain_file::format(end(1005)));
    assert_eq!(fixture.poll_at(now), "b:down");
    assert_eq!((fixture.end_of(0), fixture.end_of(1)), (end(1010), end(1005)), "the later end counts");
    fixture.write("a", "until further notice");
    assert_eq!((&*fixture.poll_at(now + Duration::from_secs(5)), &*fixture.drained()), ("b:down", "ac"));
    assert_eq!(fixture.end_of(0), DrainEnd::Never);
    fixture.write("a", &drain_file::format(end(1008)));
    assert_eq!((&*fixture.poll_at(now + Duration::from_secs(8)), &*fixture.drained()), ("a:down c:down", ""));
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing() {
    let mut fixture = Fixture::new(|_| ());
    type Make = fn(&Path);
    let unreadable: [(&str, Make); 4] = [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a link", |path| symlink("/dev/null", path).unwrap()),
        ("a FIFO", |path| sh(&format!("mkfifo {}", path.display()))),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    for (what, make) in unreadable {
        for before in ["", "ac"] {
            if before == "ac" {
                File::create(fixture.path("a")).unwrap();
            }
            fixture.poll();
            let _ = fs::remove_file(fixture.path("a"));
            make(&fixture.path("a"));
            assert_eq!((&*fixture.poll(), &*fixture.drained()), ("", before), "{what}");
            assert!(fixture.poller.files[&fixture.path("a")].problem.problem().is_some(), "{what}");
            let _ = fs::remove_dir(fixture.path("a"));
            let _ = fs::remove_file(fixture.path("a"));
            fixture.poll();
            assert_eq!(fixture.drained(), "", "{what}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_searched_ends_no_drain() {
    let name = "check::drain_watcher::tests::a_directory_that_cannot_be_searched_ends_no_drain";
    // Root may search every directory, but not without its capabilities.
    let without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    if rustix::process::geteuid().is_root() && !alone(name, &without, &this_program()) {
        return;
    }
    let mut fixture = Fixture::new(|_| ());
    fixture.put("a");
    fixture.poll();
    fs::set_permissions(fixture.dir.path(), PermissionsExt::from_mode(0o600)).unwrap();
    assert!(fs::metadata(fixture.path("a")).is_err_and(|why| why.kind() == io::ErrorKind::PermissionDenied));
    let (hints, drained) = (fixture.poll(), fixture.drained());
    fs::set_permissions(fixture.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!((&*hints, &*drained), ("", "ac"));
}

#[test]
fn after_a_drain_on_disabled_decides_again() {
    for (decision, word) in [(OnDisabled::Advertise, "up"), (OnDisabled::Withdraw, "down")] {
        let mut fixture = Fixture::new(|service| service.disabled = Some(decision));
        fixture.put("host");
        assert_eq!(fixture.poll(), "a:down b:down c:down");
        fixture.remove("host");
        assert_eq!(fixture.poll(), format!("a:{word} b:{word} c:{word}"));
        assert_eq!(fixture.drained(), "");
    }
}

#[test]
fn the_thread_polls_at_once_and_then_repeatedly() {
    let fixture = Fixture::new(|_| ());
    fixture.put("a");
    let (announcer, events) = announcer();
    let mut drain_watcher = DrainWatcher::new(announcer);
    drain_watcher.follow(None, fixture.checks()).unwrap();
    assert_eq!(fixture.drained(), "ac", "before follow returns");
    fixture.put("host");
    drain_watcher.follow(Some(&fixture.path("host")), fixture.checks()).unwrap();
    assert_eq!(fixture.drained(), "abc");
    fixture.remove("host");
    fixture.remove("a");
    wait_until("the end of all drains", || fixture.drained().is_empty());
    fixture.put("host");
    wait_until("the host's drain", || fixture.drained() == "abc");
    // A reload removes all drain files.
    let new = |check: &Arc<Check>| {
        let service = Service { drain_file: None, ..Service::clone(&check.service) };
        let state = check.state().carried_over(&service, &[]);
        Arc::new(Check::with_state(Arc::new(service), state))
    };
    let checks: Arc<[Arc<Check>]> = fixture.checks().iter().map(new).collect();
    assert_eq!(drained(&checks), "abc");
    drain_watcher.follow(None, checks.clone()).unwrap();
    assert_eq!((&*drained(&checks), &*fixture.drained()), ("", "abc"), "the old checks are no longer changed");
    assert!(drain_watcher.requests.is_none());
    drop(drain_watcher);
    wait_until("the thread's end, which drops its sender", || loop {
        match events.try_recv() {
            Ok(_) => {}
            Err(why) => return why == std::sync::mpsc::TryRecvError::Disconnected,
        }
    });
}

/// Otherwise its check might pass before the file is read.
#[test]
fn a_check_that_a_reload_adds_is_drained_before_its_thread_starts() {
    let fixture = Fixture::new(|_| ());
    let mut drain_watcher = DrainWatcher::new(announcer().0);
    drain_watcher.follow(None, Arc::new([fixture.poller.checks[1].clone()])).unwrap();
    assert!(drain_watcher.requests.is_none(), "b has no file");
    fixture.put("a");
    drain_watcher.follow(None, fixture.checks()).unwrap();
    assert_eq!(fixture.drained(), "ac");
}

#[test]
fn without_a_drain_file_there_is_no_thread() {
    let mut drain_watcher = DrainWatcher::new(announcer().0);
    drain_watcher
        .follow(None, Arc::new([Arc::new(Check::new(Arc::new(sample::service("a", "10.0.0.1/32"))))]))
        .unwrap();
    assert!(drain_watcher.requests.is_none());
}
