//! Files made up by the test; no daemon, no BIRD.

use std::fs;

use super::*;
use crate::bird::boot::Boot;
use crate::bird::prefix_file;

const A: &str = "10.0.0.1/32";
const B: &str = "10.0.0.2/32";
const UNMANAGED: &str = "10.9.9.9/32";
const SECOND: Duration = Duration::from_secs(1);

/// How far a start trusts the list.
#[derive(Debug, PartialEq)]
enum Trust {
    /// No list was ever written.
    Fresh,
    Trusted,
    /// The list is lost and held.
    Lost,
}

/// The file's text, whether it cannot be read, marker and history; the expected trust and initial
/// list.
type Case<'a> = (Option<&'a str>, bool, bool, bool, Trust, &'a [&'a str]);

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn sound(listed: &[&str]) -> String {
    prefix_file::render("ACAST", None, &prefixes(listed), "2026-01-01 00:00:00.000000", 1)
}

fn held(listed: &[&str]) -> String {
    let mut text = sound(listed);
    prefix_file::mark_provisional(&mut text);
    text
}

/// A directory for a prefix file, with or without our marker and a history whose newest copy lists
/// [`B`].
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new(marker: bool, history: bool) -> Host {
        let host = Host { dir: tempfile::tempdir().unwrap() };
        if marker {
            Boot::load(&host.path()).save();
        }
        if history {
            let directory = host.dir.path().join("history");
            fs::create_dir(&directory).unwrap();
            put(&directory.join("1763803000.123456784"), &sound(&[B]));
        }
        host
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("prefixes.conf")
    }

    fn startup(&self) -> Startup {
        Startup::new(&self.path(), SECOND * 20)
    }
}

#[expect(clippy::disallowed_methods, reason = "written by another program")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// Assesses a file with this text, or a missing file, at the start.
fn assess(startup: &mut Startup, host: &Host, text: Option<&str>, unread: bool) -> Vec<Prefix> {
    let file = text.map(|text| prefix_file::parse(text.as_bytes(), Family::V4));
    let flaw = match &file {
        _ if unread => Some("it cannot be read".to_string()),
        None => Some("it is not there".to_string()),
        Some(file) => file.flaw.as_ref().map(ToString::to_string),
    };
    startup.set_unread(unread);
    let configured = prefixes(&[A, B]).into_iter().collect();
    startup.assess(&host.path(), Family::V4, file, flaw.as_deref(), &configured)
}

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn only_a_sound_list_that_is_not_provisional_is_trusted() {
    use Trust::{Fresh, Lost, Trusted};
    let intact = sound(&[A, UNMANAGED]);
    let provisional = held(&[A, UNMANAGED]);
    let truncated = intact[..intact.len() - 4].to_string();
    let truncated_provisional = provisional[..provisional.len() - 4].to_string();
    let table: &[Case<'_>] = &[
        (Some(&intact), false, false, false, Trusted, &[A, UNMANAGED]),
        (Some(&intact), false, true, true, Trusted, &[A, UNMANAGED]),
        (Some(&provisional), false, false, false, Lost, &[A, UNMANAGED]),
        (Some(&provisional), false, true, true, Lost, &[A, UNMANAGED]),
        (None, false, false, false, Fresh, &[]),
        (None, false, true, false, Lost, &[]),
        (None, false, false, true, Lost, &[B]),
        (None, false, true, true, Lost, &[B]),
        (None, true, false, false, Lost, &[]),
        (None, true, true, false, Lost, &[]),
        (None, true, false, true, Lost, &[B]),
        (Some(""), false, false, false, Lost, &[]),
        (Some(""), false, true, false, Lost, &[]),
        (Some(""), false, false, true, Lost, &[B]),
        (Some(&truncated), false, false, false, Lost, &[A]),
        (Some(&truncated), false, true, true, Lost, &[A]),
        (Some(&truncated_provisional), false, false, false, Lost, &[A]),
    ];
    for (text, unread, marker, history, trust, listed) in table {
        let case = format!("{text:?}, unread {unread}, marker {marker}, history {history}");
        let host = Host::new(*marker, *history);
        let mut startup = host.startup();
        assert_eq!(assess(&mut startup, &host, *text, *unread), prefixes(listed), "{case}");
        let is_lost = startup.is_lost();
        let result = match (is_lost, text) {
            (true, _) => Lost,
            (false, None) => Fresh,
            (false, Some(_)) => Trusted,
        };
        assert_eq!(result, *trust, "{case}");
        let hold = (startup.is_provisional(), startup.is_marked(), startup.hold_until().is_some());
        assert_eq!(hold, (is_lost, is_lost, is_lost), "{case}");
    }
}

#[test]
fn a_list_without_services_is_not_held() {
    let host = Host::new(true, false);
    let mut startup = host.startup();
    startup.assess(&host.path(), Family::V4, None, Some("it is not there"), &HashSet::new());
    assert!(!startup.is_lost() && startup.hold_until().is_none());
}

#[test]
fn a_hold_ends_with_the_last_verdict_at_its_deadline_or_when_an_operator_withdraws() {
    let now = Instant::now();
    for (waiting_for, withheld, after, ends) in [
        (&["a", "b"][..], false, SECOND, false),
        (&["b"], false, SECOND * 19, false),
        (&[], false, SECOND, true),
        (&["b"], true, SECOND, true),
        (&["a", "b"], false, SECOND * 21, true),
    ] {
        let host = Host::new(true, false);
        let mut startup = host.startup();
        assess(&mut startup, &host, None, false);
        let until = startup.hold_until().unwrap();
        assert!(until >= now + SECOND * 20);
        let at = if after > SECOND * 20 { until } else { now + after };
        startup.update_hold(&names(waiting_for), withheld, at);
        assert_eq!(startup.hold_until().is_none(), ends, "{waiting_for:?} {withheld} {after:?}");
        assert_eq!(startup.is_provisional(), !ends);
        assert!(startup.is_marked(), "the file is not rewritten yet");
        let hold = startup.hold(names(waiting_for));
        assert_eq!(hold.map(|hold| hold.waiting_for), (!ends).then(|| names(waiting_for)));
        startup.confirm(&host.path());
        assert_eq!(startup.is_marked(), !ends);
        assert!(startup.is_started());
    }
}

#[test]
fn no_hold_is_longer_than_a_minute() {
    let host = Host::new(true, false);
    let mut startup = Startup::new(&host.path(), Duration::from_secs(3600));
    assess(&mut startup, &host, None, false);
    assert!(startup.hold_until().unwrap() <= Instant::now() + MAX_HOLD);
}

#[test]
fn a_list_reported_by_bird_ends_the_hold_and_a_failed_query_does_not() {
    let host = Host::new(true, false);
    let mut startup = host.startup();
    assess(&mut startup, &host, None, false);
    startup.not_recovered();
    assert!(!startup.is_lost() && startup.hold_until().is_some());
    startup.recovered();
    assert!(startup.hold_until().is_none());
}

#[test]
fn a_file_that_becomes_readable_before_the_first_step_replaces_the_fallback() {
    let host = Host::new(true, true);
    let mut startup = host.startup();
    assert_eq!(assess(&mut startup, &host, None, true), prefixes(&[B]));
    assert!(startup.is_unread() && startup.is_lost());
    startup.discard_fallback();
    assert_eq!(assess(&mut startup, &host, Some(&sound(&[A])), false), prefixes(&[A]));
    assert!(!startup.is_unread() && !startup.is_lost() && startup.hold_until().is_none());

    let mut startup = host.startup();
    assess(&mut startup, &host, None, true);
    startup.confirm(&host.path());
    assert!(!startup.is_unread(), "the fallback has replaced the file");
}

#[test]
fn a_list_from_before_the_boot_loses_the_prefixes_of_services_with_on_boot_withdraw() {
    for (marker, baseline) in [(false, &[B][..]), (true, &[A, B])] {
        let host = Host::new(marker, false);
        let mut startup = host.startup();
        let on_boot = prefixes(&[A, UNMANAGED]);
        startup.set_initial(&host.path(), &prefixes(&[A, B]), on_boot.iter().map(|prefix| (*prefix, "a")));
        assert_eq!(*startup.baseline(), prefixes(baseline).into_iter().collect());
    }
    let host = Host::new(false, false);
    let mut startup = host.startup();
    startup.set_initial(&host.path(), &prefixes(&[A, B]), std::iter::empty());
    assert_eq!(startup.baseline().len(), 2);
    startup.set_baseline(prefixes(&[A]));
    assert_eq!(*startup.baseline(), prefixes(&[A]).into_iter().collect());
}

#[test]
fn the_marker_follows_a_link_to_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut startup = Startup::new(&dir.path().join("a.conf"), Duration::ZERO);
    for name in ["a.conf", "b.conf", "b.conf"] {
        startup.confirm(&dir.path().join(name));
        let list = dir.path().join(name);
        assert!(marker::is_set(&list, &Boot::load(&list)), "{name}");
    }
}
