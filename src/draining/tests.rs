//! What is refused, and what is written where no daemon runs. With a daemon and a BIRD it is tested as a whole.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;
use crate::config::files::{load, ServiceFiles, Sources};
use crate::report::sample;
use crate::report::snapshot::{BirdReport, Drained, Now};
use crate::report::status;
use crate::sys::atomic_file::replace;

/// The services `own`, `none`, `one`, `two` (which share a file) and `host` (whose file is the host's).
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
fn what_concerns_more_than_was_asked_for_is_refused_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let check = |host: &str, whom: Whom<'_>, expected: &str| {
        let settings = settings(dir.path(), host);
        for result in [begin(&settings, whom, None), end(&settings, whom)] {
            assert_eq!(result.unwrap_err().to_string().replace(dir.path().to_str().unwrap(), "DIR"), expected);
        }
    };
    check(HOST, Whom::Service("missing"), "there is no service missing in the configuration");
    check(HOST, Whom::Service("Hots"), "there is no service Hots in the configuration; did you mean host?");
    check(HOST, Whom::Service("nne"), "there is no service nne in the configuration; did you mean none?");
    check(HOST, Whom::Service("ho"), "there is no service ho in the configuration; did you mean host?");
    let give = "has no drain_file: give it one, such as drain_file = /var/lib/anycast-healthchecker/drain-";
    check(HOST, Whom::Service("none"), &format!("[none] {give}none, and have the daemon reload"));
    check("", Whom::Host, &format!("[daemon] {give}daemon, and have the daemon reload"));
    check(
        HOST,
        Whom::Service("host"),
        "drain_file DIR/host of host is that of [daemon] and drains every service: use --drain-host and \
         --undrain-host, or give [host] a file of its own",
    );
    check(
        HOST,
        Whom::Service("two"),
        "drain_file DIR/./shared of two is also that of one: give [two] a file of its own",
    );
    for file in ["own", "host", "shared"] {
        assert!(!dir.path().join(file).exists(), "{file}");
    }
}

#[test]
fn without_a_daemon_the_file_is_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), HOST);
    let before = SystemTime::now();
    for (whom, file) in [(Whom::Service("own"), "own"), (Whom::Host, "host")] {
        let path = dir.path().join(file);
        let said = begin(&settings, whom, None).unwrap();
        let expected = "is written, until it is ended; no daemon runs: it drains from the daemon's next start on";
        assert_eq!(said, format!("{} {expected}", path.display()));
        assert_eq!(drain::read(&fs::read(&path).unwrap()), End::Never);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        begin(&settings, whom, Some(Duration::from_secs(1800))).unwrap();
        let End::At(end) = drain::read(&fs::read(&path).unwrap()) else { panic!("no end") };
        // To the second.
        assert!(end >= before + Duration::from_secs(1799) && end <= SystemTime::now() + Duration::from_secs(1800));
        begin(&settings, whom, Some(Duration::MAX)).unwrap();
        assert_eq!(drain::read(&fs::read(&path).unwrap()), End::Never);
        assert!(super::end(&settings, whom).unwrap().contains("is removed"));
        assert!(super::end(&settings, whom).unwrap().contains("was not there"));
        assert!(!path.exists());
    }
}

#[test]
fn a_file_that_cannot_be_written_or_removed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), "drain_file = DIR/missing/host");
    let said = begin(&settings, Whom::Host, None).unwrap_err().to_string();
    assert!(said.starts_with("nothing is drained: cannot create a temporary file in"), "{said}");
    fs::create_dir(dir.path().join("own")).unwrap();
    let said = begin(&settings, Whom::Service("own"), None).unwrap_err().to_string();
    assert!(said.starts_with("nothing is drained: cannot put"), "{said}");
    let said = end(&settings, Whom::Service("own")).unwrap_err().to_string();
    assert!(said.starts_with("nothing is changed: cannot remove"), "{said}");
}

/// What is said of a service that is drained by `file`, listed in the file and BIRD or not, BIRD in sync or not.
fn check(drained: Option<&str>, in_file: bool, in_bird: bool, in_sync: bool, begun: &str, ended: &str) {
    let service = sample::service("a", "10.0.0.1/32");
    let board = sample::board(vec![service.clone()]);
    board.services.lock()[0].1.lock().drained =
        drained.map(|file| Drained { file: file.into(), end: End::Never, since: SystemTime::now() });
    let list = |on: bool| -> Arc<[_]> {
        if on {
            service.prefixes.clone().into()
        } else {
            Arc::new([])
        }
    };
    let family = crate::report::snapshot::FamilyReport {
        in_file: list(in_file),
        in_bird: list(in_bird),
        in_sync,
        problem: (!in_sync).then(|| "BIRD is down".to_string()),
        ..sample::family(crate::prefix::Family::V4, list(false))
    };
    *board.bird.lock() = BirdReport { families: vec![family], ..BirdReport::default() };
    let document = status::document(&board, Now::read(), &jiff::tz::TimeZone::UTC);
    let text = |found: Result<String, String>| found.unwrap_or_else(|what| format!("not yet: {what}"));
    assert_eq!(text(out(&document, &service, Path::new("/d"))), begun);
    assert_eq!(text(back(&document, &service, Path::new("/d"))), ended);
    let stranger = sample::service("b", "10.0.0.2/32");
    let unknown = Err("the running daemon has no service b: it needs a reload".to_string());
    assert_eq!(out(&document, &stranger, Path::new("/d")), unknown);
    assert_eq!(back(&document, &stranger, Path::new("/d")), unknown);
}

#[test]
fn what_the_daemon_has_done_by_now() {
    let on = "not yet: the daemon has not noticed that a is not drained any more";
    let off = "a is not drained: it is advertised once 2 checks have passed";
    let none = "not yet: the daemon has not drained a: does it know of /d, or need a reload?";
    check(None, true, true, true, none, off);
    check(None, false, false, true, none, off);
    let listed = "not yet: a is drained and 10.0.0.1/32 is still in the prefix file";
    check(Some("/d"), true, true, true, listed, on);
    let told = "not yet: a is drained and BIRD has not taken the prefix file without 10.0.0.1/32";
    check(Some("/d"), false, true, true, told, on);
    check(Some("/d"), false, false, false, &format!("{told}: BIRD is down"), on);
    let done = "a is drained: 10.0.0.1/32 withdrawn, and BIRD took it";
    check(Some("/d"), false, false, true, done, on);
    check(Some("/host"), false, false, true, done, "a is still drained, by /host");
}
