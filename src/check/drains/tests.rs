//! Real files on a real disk; the thread where it matters, else its looks one by one at times that the test makes up.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, PermissionsExt};

use super::*;
use crate::check::health::State;
use crate::config::settings::OnDisabled;
use crate::report::sample;
use crate::sys::alone::{alone, sh, this_program, wait_until};
use crate::sys::stop_line::StopLine;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The services `a`, `b` and `c`, of which `a` has the drain file `a` and `c` the same, and the host's file `host`.
struct Desk {
    dir: tempfile::TempDir,
    watch: Watch,
    heard: Receiver<Event>,
}

impl Desk {
    fn new(change: impl Fn(&mut Service)) -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let services = NAMES.map(|name| {
            let mut service = sample::service(name, "10.0.0.1/32");
            service.drain_file = (name != "b").then(|| dir.path().join("a"));
            change(&mut service);
            service
        });
        let board = Arc::new(sample::board(services.into()));
        let (events, heard) = channel();
        let hooks = Hooks::new(StopLine::new().unwrap());
        let watch = Watch { board, events, hooks, host: Some(dir.path().join("host")), answers: HashMap::new() };
        Desk { dir, watch, heard }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "an operator's editor")]
    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Looks, and returns what was sent: `a:down c:down`.
    fn look_at(&mut self, now: SystemTime) -> String {
        self.watch.look(now);
        self.sent()
    }

    fn look(&mut self) -> String {
        self.look_at(SystemTime::now())
    }

    fn sent(&self) -> String {
        let told = self.heard.try_iter().map(|event| match event {
            Event::Verdict(verdict) => format!("{}:{}", verdict.service, verdict.state),
            event => panic!("{event:?}"),
        });
        told.collect::<Vec<_>>().join(" ")
    }

    /// The names of the services that are drained now.
    fn drained(&self) -> String {
        let services = self.watch.board.services.lock().clone();
        let drained = services.iter().filter(|(_, report)| report.lock().drained.is_some());
        drained.map(|(service, _)| &*service.name).collect()
    }

    fn end_of(&self, n: usize) -> End {
        self.watch.board.services.lock()[n].1.lock().drained.as_ref().unwrap().end
    }
}

#[test]
fn a_file_drains_the_services_that_name_it_and_that_of_the_host_all() {
    let mut desk = Desk::new(|_| ());
    assert_eq!(desk.look(), "");
    desk.put("a", "");
    assert_eq!((&*desk.look(), &*desk.drained()), ("a:down c:down", "ac"));
    assert_eq!(desk.look(), "", "told once");
    desk.put("host", "");
    assert_eq!((&*desk.look(), &*desk.drained()), ("b:down", "abc"));
    desk.remove("a");
    assert_eq!((&*desk.look(), &*desk.drained()), ("", "abc"));
    desk.remove("host");
    assert_eq!((&*desk.look(), &*desk.drained()), ("", ""), "the checks say when they are up again");
    let (_, report) = desk.watch.board.services.lock()[0].clone();
    let report = report.lock();
    assert_eq!((report.state, report.code, report.overruled), (State::Down, Some(1), true));
}

#[test]
fn the_end_of_a_drain_has_the_check_run_at_once() {
    let mut desk = Desk::new(|_| ());
    let (orders, ordered) = channel();
    let orders = Arc::new(orders);
    desk.watch.board.services.lock()[0].1.lock().orders = Arc::downgrade(&orders);
    for (name, expected) in [("host", 0), ("a", 0)] {
        desk.put(name, "");
        desk.look();
        assert_eq!(ordered.try_iter().count(), expected, "{name} begins");
    }
    for (name, expected) in [("host", 0), ("a", 1)] {
        desk.remove(name);
        desk.look();
        assert_eq!(ordered.try_iter().count(), expected, "{name} ends");
    }
}

#[test]
fn a_time_ends_it_and_may_be_changed_meanwhile() {
    let mut desk = Desk::new(|_| ());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let end = |seconds| End::At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    desk.put("a", &drain::text(end(1000)));
    assert_eq!(desk.look_at(now), "", "over before it was seen");
    desk.put("a", &drain::text(end(1010)));
    assert_eq!(desk.look_at(now), "a:down c:down");
    desk.put("host", &drain::text(end(1005)));
    assert_eq!(desk.look_at(now), "b:down");
    assert_eq!((desk.end_of(0), desk.end_of(1)), (end(1010), end(1005)), "the later end counts");
    desk.put("a", "longer than I thought");
    assert_eq!((&*desk.look_at(now + Duration::from_secs(5)), &*desk.drained()), ("", "ac"));
    assert_eq!(desk.end_of(0), End::Never);
    desk.put("a", &drain::text(end(1008)));
    assert_eq!((&*desk.look_at(now + Duration::from_secs(8)), &*desk.drained()), ("", ""));
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let mut desk = Desk::new(|_| ());
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
                File::create(desk.path("a")).unwrap();
            }
            desk.look();
            let _ = fs::remove_file(desk.path("a"));
            make(&desk.path("a"));
            assert_eq!((&*desk.look(), &*desk.drained()), ("", before), "{what}");
            assert!(desk.watch.answers[&desk.path("a")].problem.is_some(), "{what}");
            let _ = fs::remove_dir(desk.path("a"));
            let _ = fs::remove_file(desk.path("a"));
            desk.look();
            assert_eq!(desk.drained(), "", "{what}");
        }
    }
}

#[test]
fn a_directory_that_may_not_be_searched_is_no_end_of_a_drain() {
    let name = "check::drains::tests::a_directory_that_may_not_be_searched_is_no_end_of_a_drain";
    // Root may search every directory, but not without its capabilities.
    let without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    if rustix::process::geteuid().is_root() && !alone(name, &without, &this_program()) {
        return;
    }
    let mut desk = Desk::new(|_| ());
    desk.put("a", "");
    desk.look();
    fs::set_permissions(desk.dir.path(), PermissionsExt::from_mode(0o600)).unwrap();
    assert!(fs::metadata(desk.path("a")).is_err_and(|why| why.kind() == io::ErrorKind::PermissionDenied));
    let (told, drained) = (desk.look(), desk.drained());
    fs::set_permissions(desk.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!((&*told, &*drained), ("", "ac"));
}

#[test]
fn after_a_drain_on_disabled_decides_again() {
    for (decision, word) in [(OnDisabled::Advertise, "up"), (OnDisabled::Withdraw, "down")] {
        let mut desk = Desk::new(|service| service.disabled = Some(decision));
        desk.put("host", "");
        assert_eq!(desk.look(), "a:down b:down c:down");
        desk.remove("host");
        assert_eq!(desk.look(), format!("a:{word} b:{word} c:{word}"));
        let (_, report) = desk.watch.board.services.lock()[0].clone();
        assert!(!report.lock().overruled);
    }
}

#[test]
fn the_thread_looks_first_and_goes_on_looking() {
    let desk = Desk::new(|_| ());
    desk.put("a", "");
    let (events, heard) = channel();
    let mut drains = Drains::new(desk.watch.board.clone(), events, desk.watch.hooks.clone());
    drains.follow(None).unwrap();
    assert_eq!(desk.drained(), "ac", "before any check can have started");
    desk.put("host", "");
    drains.follow(Some(&desk.path("host"))).unwrap();
    assert_eq!(desk.drained(), "abc");
    desk.remove("host");
    desk.remove("a");
    wait_until("the end of all drains", || desk.drained().is_empty());
    desk.put("host", "");
    wait_until("the host's drain", || desk.drained() == "abc");
    // A reload that took all drain files away.
    let services = NAMES.map(|name| sample::service(name, "10.0.0.1/32"));
    let listed = desk.watch.board.services.lock().clone();
    let reports = services.into_iter().zip(&*listed).map(|(service, (_, report))| (Arc::new(service), report.clone()));
    *desk.watch.board.services.lock() = reports.collect();
    drains.follow(None).unwrap();
    assert_eq!(desk.drained(), "");
    assert!(drains.looks.is_none());
    drop(drains);
    wait_until("the thread's end, which drops its sender", || loop {
        match heard.try_recv() {
            Ok(_) => {}
            Err(why) => return why == std::sync::mpsc::TryRecvError::Disconnected,
        }
    });
}

#[test]
fn no_file_no_thread() {
    let board = Arc::new(sample::board(vec![sample::service("a", "10.0.0.1/32")]));
    let mut drains = Drains::new(board, channel().0, Hooks::new(StopLine::new().unwrap()));
    drains.follow(None).unwrap();
    assert!(drains.looks.is_none());
}
