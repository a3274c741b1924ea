//! Refusals, and files that are written while no daemon runs. The integration tests drain with a
//! daemon and a BIRD.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;
use crate::bird::state::{BirdState, FamilyState};
use crate::config::files::{load, ServiceFiles, Sources};
use crate::report::status;
use crate::sys::atomic_file::replace;
use crate::sys::clock::Now;
use crate::testing::sample;

/// Settings with the services `own`, `none`, `one` and `two` (which share a file) and `host` (whose
/// file is the host's).
fn settings(dir: &Path, host: &str) -> Settings {
    let at = |text: &str| text.replace("DIR", dir.to_str().unwrap());
    let put = |name: &str, text: &str| {
        replace(&dir.join(name), at(text).as_bytes(), Durability::Unsynced).unwrap();
        dir.join(name)
    };
    let main = put("main.conf", &format!("[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\n{host}\n"));
    let files = [("own", "own"), ("none", ""), ("one", "shared"), ("two", "./shared"), ("host", "host")];
    let sections = files.iter().enumerate().map(|(n, (name, file))| {
        let option = if file.is_empty() { String::new() } else { format!("drain_file = DIR/{file}") };
        format!("[{name}]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.{n}/32\n{option}\n")
    });
    let services = ServiceFiles::File(put("services.conf", &sections.collect::<String>()));
    load(&Sources { main, services }).unwrap().settings
}

const HOST: &str = "drain_file = DIR/host";

#[test]
fn a_drain_file_that_is_missing_or_shared_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let check = |host: &str, target: DrainTarget<'_>, expected: &str| {
        let settings = settings(dir.path(), host);
        for result in [begin(&settings, target, None), end(&settings, target)] {
            assert_eq!(result.unwrap_err().to_string().replace(dir.path().to_str().unwrap(), "DIR"), expected);
        }
    };
    check(HOST, DrainTarget::Service("missing"), "there is no service missing in the configuration");
    check(HOST, DrainTarget::Service("Hots"), "there is no service Hots in the configuration; did you mean host?");
    check(HOST, DrainTarget::Service("nne"), "there is no service nne in the configuration; did you mean none?");
    check(HOST, DrainTarget::Service("ho"), "there is no service ho in the configuration; did you mean host?");
    let give = "has no drain_file: give it one, such as drain_file = /var/lib/anycast-healthchecker/drain-";
    check(HOST, DrainTarget::Service("none"), &format!("[none] {give}none, and have the daemon reload"));
    check("", DrainTarget::Host, &format!("[daemon] {give}daemon, and have the daemon reload"));
    check(
        HOST,
        DrainTarget::Service("host"),
        "drain_file DIR/host of host is that of [daemon] and drains every service: use --drain-host and \
         --undrain-host, or give [host] a file of its own",
    );
    check(
        HOST,
        DrainTarget::Service("two"),
        "drain_file DIR/./shared of two is also that of one: give [two] a file of its own",
    );
    for file in ["own", "host", "shared"] {
        assert!(!dir.path().join(file).exists(), "{file}");
    }
}

#[test]
fn without_a_daemon_the_file_applies_to_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), HOST);
    let before = SystemTime::now();
    for (target, file) in [(DrainTarget::Service("own"), "own"), (DrainTarget::Host, "host")] {
        let path = dir.path().join(file);
        let message = begin(&settings, target, None).unwrap();
        let expected = "is written, until it is ended; no daemon runs: it drains from the daemon's next start on";
        assert_eq!(message, format!("{} {expected}", path.display()));
        assert_eq!(drain_file::parse(&fs::read(&path).unwrap()), DrainEnd::Never);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        begin(&settings, target, Some(Duration::from_secs(1800))).unwrap();
        let DrainEnd::At(end) = drain_file::parse(&fs::read(&path).unwrap()) else { panic!("no end") };
        // The file has whole seconds.
        assert!(end >= before + Duration::from_secs(1799) && end <= SystemTime::now() + Duration::from_secs(1800));
        begin(&settings, target, Some(Duration::MAX)).unwrap();
        assert_eq!(drain_file::parse(&fs::read(&path).unwrap()), DrainEnd::Never);
        assert!(super::end(&settings, target).unwrap().contains("is removed"));
        let nothing = format!("{} was not there; no daemon runs: nothing to do", path.display());
        assert_eq!(super::end(&settings, target).unwrap(), nothing);
        assert!(!path.exists());
    }
}

#[test]
fn a_file_that_cannot_be_written_or_removed_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), "drain_file = DIR/missing/host");
    let message = begin(&settings, DrainTarget::Host, None).unwrap_err().to_string();
    assert!(message.starts_with("nothing is drained: cannot create a temporary file in"), "{message}");
    fs::create_dir(dir.path().join("own")).unwrap();
    let message = begin(&settings, DrainTarget::Service("own"), None).unwrap_err().to_string();
    assert!(message.starts_with("nothing is drained: cannot put"), "{message}");
    let message = end(&settings, DrainTarget::Service("own")).unwrap_err().to_string();
    assert!(message.starts_with("nothing is changed: cannot remove"), "{message}");
}

/// Checks both messages for a service that a file drains or not, with its family in this state.
fn check_state(drained: Option<&str>, family: FamilyState, begun: &str, ended: &str) {
    let service = sample::service("a", "10.0.0.1/32");
    let daemon = sample::daemon_state(vec![service.clone()]);
    if let Some(file) = drained {
        let _ = sample::check(&daemon, 0).state_mut().drain(file.into(), DrainEnd::Never);
    }
    *daemon.bird.lock() = BirdState { families: vec![family], ..BirdState::default() };
    let document = status::document(&daemon, Now::read(), &jiff::tz::TimeZone::UTC);
    let text = |result: Result<String, String>| result.unwrap_or_else(|what| format!("not yet: {what}"));
    let until = document.families[0].hold.as_ref().map_or(String::new(), |hold| hold.until.text.clone());
    assert_eq!(text(check_drained(&document, &service, Path::new("/d"))), begun.replace("UNTIL", &until));
    assert_eq!(text(check_undrained(&document, &service, Path::new("/d"))), ended);
    let unknown_service = sample::service("b", "10.0.0.2/32");
    let unknown = Err("the running daemon has no service b: it needs a reload".to_string());
    assert_eq!(check_drained(&document, &unknown_service, Path::new("/d")), unknown);
    assert_eq!(check_undrained(&document, &unknown_service, Path::new("/d")), unknown);
}

/// The family of the service, which the file and BIRD list or not.
fn family(in_file: bool, in_bird: bool) -> FamilyState {
    let list = |on: bool| -> Arc<[_]> {
        if on {
            sample::service("a", "10.0.0.1/32").prefixes.into()
        } else {
            Arc::new([])
        }
    };
    FamilyState {
        in_file: list(in_file),
        in_bird: list(in_bird),
        ..sample::family(crate::prefix::Family::V4, list(false))
    }
}

/// Checks both messages for a service that the prefix file and BIRD list or not.
fn check(drained: Option<&str>, in_file: bool, in_bird: bool, in_sync: bool, begun: &str, ended: &str) {
    let problem = (!in_sync).then(|| "BIRD is down".to_string());
    check_state(drained, FamilyState { in_sync, problem, ..family(in_file, in_bird) }, begun, ended);
}

#[test]
fn the_message_says_what_the_daemon_has_done() {
    let on = "not yet: the daemon has not noticed that a is not drained any more";
    let off = "a is not drained: it is advertised once 2 checks have passed";
    let none = "not yet: the daemon has not drained a: does it know of /d, or need a reload?";
    check(None, true, true, true, none, off);
    check(None, false, false, true, none, off);
    let listed = "not yet: a is drained and 10.0.0.1/32 is still in the prefix file";
    check(Some("/d"), true, true, true, listed, on);
    let not_taken = "not yet: a is drained and BIRD has not taken the prefix file without 10.0.0.1/32";
    check(Some("/d"), false, true, true, not_taken, on);
    check(Some("/d"), false, false, false, &format!("{not_taken}: BIRD is down"), on);
    let done = "a is drained: 10.0.0.1/32 withdrawn, and BIRD took it";
    check(Some("/d"), false, false, true, done, on);
    check(Some("/host"), false, false, true, done, "a is still drained, by /host");
}

#[test]
fn a_hold_is_named_as_the_reason() {
    let on = "not yet: the daemon has not noticed that a is not drained any more";
    let held = |problem: Option<&str>, family: FamilyState| FamilyState {
        in_sync: false,
        problem: problem.map(String::from),
        hold: Some(sample::hold(Now::read(), Duration::from_secs(60), &["b"])),
        ..family
    };
    let waits =
        "not yet: a is drained and BIRD is not told yet, as the list was lost: held until UNTIL, waiting for the \
                 first verdict of b";
    check_state(Some("/d"), held(None, family(false, false)), waits, on);
    check_state(Some("/d"), held(None, family(false, true)), waits, on);
    let down = "not yet: a is drained and BIRD has not taken the prefix file without 10.0.0.1/32: BIRD is down";
    check_state(Some("/d"), held(Some("BIRD is down"), family(false, false)), down, on);
    let listed = "not yet: a is drained and 10.0.0.1/32 is still in the prefix file";
    check_state(Some("/d"), held(None, family(true, true)), listed, on);
}

#[test]
fn without_a_drain_file_there_is_nothing_to_do() {
    let check = |target: DrainTarget<'_>, drained: &[(usize, &str)], expected: Result<&[&str], &str>| {
        let services = [sample::service("a", "10.0.0.1/32"), sample::service("b", "10.0.0.2/32")];
        let daemon = sample::daemon_state(services.to_vec());
        for (place, file) in drained {
            let _ = sample::check(&daemon, *place).state_mut().drain(file.into(), DrainEnd::Never);
        }
        let document = status::document(&daemon, Now::read(), &jiff::tz::TimeZone::UTC);
        let concerned: Vec<&Service> = match target {
            DrainTarget::Service(name) => services.iter().filter(|service| service.name == name).collect(),
            DrainTarget::Host => services.iter().collect(),
        };
        let message = check_not_drained(&document, target, &concerned, Path::new("/d"));
        assert_eq!(message, expected.map(|all| all.iter().map(|one| one.to_string()).collect()).map_err(String::from));
    };
    let unnoticed = Err("the daemon has not noticed that a is not drained any more");
    let (a, host) = (DrainTarget::Service("a"), "the host is not drained; nothing to do");
    check(a, &[], Ok(&["a is not drained; nothing to do"]));
    check(a, &[(1, "/d")], Ok(&["a is not drained; nothing to do"]));
    check(a, &[(0, "/d")], unnoticed);
    check(a, &[(0, "/host")], Ok(&["a is still drained, by /host"]));
    check(DrainTarget::Host, &[], Ok(&[host]));
    check(DrainTarget::Host, &[(0, "/d")], unnoticed);
    check(DrainTarget::Host, &[(1, "/b")], Ok(&[host, "b is still drained, by /b"]));
}
