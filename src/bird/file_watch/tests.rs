//! Tests with real files, links and directories.

use std::fs;
use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::sys::atomic_file::{replace, Durability};
use crate::testing::isolated::{alone, sh, this_program};

/// Compares only [`Event::Touched`].
impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        matches!((self, other), (Event::Touched(one), Event::Touched(another)) if one == another)
    }
}

/// A running watch over `a/list` (IPv4) and `b/list` (IPv6) in a temporary directory.
struct RunningWatch {
    dir: tempfile::TempDir,
    events: Receiver<Event>,
    stop: StopToken,
    thread: JoinHandle<()>,
}

impl RunningWatch {
    fn new() -> RunningWatch {
        RunningWatch::after("true")
    }

    /// Starts the watch after a script has run in the directory.
    fn after(script: &str) -> RunningWatch {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        for path in [&a, &b] {
            fs::create_dir(path).unwrap();
            fs::File::create(path.join("list")).unwrap();
        }
        sh(&format!("cd {}; {script}", dir.path().display()));
        let (sender, events) = channel();
        let stop = StopToken::new().unwrap();
        let files = vec![(Family::V4, a.join("list")), (Family::V6, b.join("list"))];
        let thread = start(files, sender, stop.clone()).unwrap();
        RunningWatch { dir, events, stop, thread }
    }

    fn sh(&self, script: &str) {
        sh(&format!("cd {}; {script}", self.dir.path().display()));
    }

    /// Expects that the next event is of this family.
    fn expect(&self, family: Family, after: &str) {
        assert_eq!(touched(&self.events), family, "after {after}");
    }

    /// Touches the IPv6 file. Returns the families of all events before its event.
    fn events_before_v6(&self) -> Vec<Family> {
        self.sh("chmod 600 b/list");
        std::iter::repeat_with(|| touched(&self.events)).take_while(|family| *family != Family::V6).collect()
    }

    fn stop(self) {
        self.stop.trigger();
        self.thread.join().unwrap();
    }
}

/// Receives the family of the next event.
fn touched(events: &Receiver<Event>) -> Family {
    match events.recv_timeout(Duration::from_secs(50)).unwrap() {
        Event::Touched(family) => family,
        event => panic!("{event:?}"),
    }
}

#[test]
fn every_change_of_the_file_is_reported() {
    let watch = RunningWatch::new();
    for script in [
        "echo >>a/list",
        "chmod 600 a/list",
        "rm a/list",
        "ln -s nowhere a/list",
        "rm a/list",
        "touch a/list",
        "mv a/list a/other",
        "ln a/other a/list",
        "rm a/list; mkdir a/list",
    ] {
        // The events of an earlier change may come in two parts.
        watch.events_before_v6();
        watch.sh(script);
        watch.expect(Family::V4, script);
    }
    watch.stop();
}

/// `a/list` leads over `links/list` and the directory `to`, which is a link too, to
/// `real/list`.
const CHAIN: &str = "rm a/list; mkdir links real real2; ln -s ../links/list a/list; ln -s ../to/list links/list; \
                     ln -s real to; touch real/list real2/list";

#[test]
fn every_change_of_a_link_or_its_target_is_reported() {
    for script in [
        "echo >>real/list",
        "chmod 600 real/list",
        "mv real/list real/other",
        "touch real/new; mv real/new real/list",
        "touch new; mv new a/list",
        "ln -sfn ../real2/list links/list",
        "rm links/list",
        "ln -sfn real2 to",
        "rm to",
    ] {
        let watch = RunningWatch::after(CHAIN);
        watch.sh(script);
        watch.expect(Family::V4, script);
        watch.stop();
    }
}

#[test]
fn a_chain_of_links_is_resolved_again_after_each_change() {
    let watch = RunningWatch::after(CHAIN);
    for (change, then) in [
        ("ln -sfn real2 to", "echo >>real2/list"),
        ("ln -sfn ../real/list links/list", "echo >>real/list"),
        ("cp a/list new; mv new a/list", "echo >>a/list"),
        // A missing directory.
        ("rm -f a/list; ln -sfn ../later/list a/list", "mkdir later; touch later/list"),
        // A loop of links.
        ("ln -sfn list a/list", "ln -sfn ../real/list a/list"),
        ("true", "chmod 644 real/list"),
    ] {
        watch.sh(change);
        // The events of this change may come in several parts.
        watch.events_before_v6();
        watch.events_before_v6();
        watch.sh(then);
        watch.expect(Family::V4, then);
    }
    watch.events_before_v6();
    watch.sh("echo >>real2/list; touch links/other to2");
    assert_eq!(watch.events_before_v6(), [], "these files are not watched");
    watch.stop();
}

#[test]
fn other_files_are_not_reported() {
    let watch = RunningWatch::new();
    watch.sh("touch a/.list.0123456789abcdef.new a/lis a/list2; mkdir a/history; rm a/lis");
    assert_eq!(watch.events_before_v6(), []);
    watch.stop();
}

#[test]
fn a_replacement_is_reported() {
    let watch = RunningWatch::new();
    replace(&watch.dir.path().join("a/list"), b"text", Durability::Unsynced).unwrap();
    watch.expect(Family::V4, "replacing");
    watch.stop();
}

#[test]
fn a_directory_that_disappears_is_watched_again_later() {
    for script in ["rm -r a", "mv a elsewhere"] {
        let watch = RunningWatch::new();
        watch.sh(script);
        watch.expect(Family::V4, script);
        // It is reported as long as it is missing.
        watch.expect(Family::V4, "a second without it");
        watch.sh("mkdir a");
        watch.expect(Family::V4, "its return");
        // Events of its absence may still come; later ones are of the file.
        watch.events_before_v6();
        watch.sh("touch a/list");
        watch.expect(Family::V4, "a file in it");
        watch.stop();
    }
}

#[test]
fn a_replaced_directory_is_watched_instead_of_the_old_one() {
    let watch = RunningWatch::new();
    watch.sh("mkdir new; touch new/list; mv a old; mv new a");
    watch.expect(Family::V4, "the exchange");
    watch.events_before_v6();
    watch.sh("echo >>a/list");
    watch.expect(Family::V4, "a change in the new one");
    watch.events_before_v6();
    watch.sh("echo >>old/list");
    assert_eq!(watch.events_before_v6(), [], "the old directory is not watched");
    watch.stop();
}

/// inotify does not report a mount, so it is found when the path is resolved again once a minute.
#[test]
fn a_mount_over_the_directory_is_found() {
    let name = "bird::file_watch::tests::a_mount_over_the_directory_is_found";
    let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    if !alone(name, &["unshare", flags], &this_program()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (events, _receiver) = channel();
    let file = File { family: Family::V4, path: dir.path().join("list"), names: Vec::new() };
    let stop = StopToken::new().unwrap();
    let mut watch = Watch { inotify: None, watches: HashSet::new(), files: vec![file], events, stop };
    let mut check = |count, what| assert_eq!(watch.refresh_watches().len(), count, "{what}");
    check(1, "first resolved");
    check(0, "unchanged");
    sh(&format!("mount -t tmpfs none {}", dir.path().display()));
    check(1, "after the mount");
    check(0, "unchanged");
    sh(&format!("umount {}", dir.path().display()));
    check(1, "after the unmount");
}

/// No file descriptor is left at the start: the families are reported every second until one is
/// free.
#[test]
fn without_inotify_all_families_are_reported_every_second() {
    if !alone(
        "bird::file_watch::tests::without_inotify_all_families_are_reported_every_second",
        &["env"],
        &this_program(),
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (sender, events) = channel();
    let stop = StopToken::new().unwrap();
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let open_files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    let path = dir.path().join("list");
    let thread = start(vec![(Family::V4, path.clone())], sender, stop.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!(touched(&events), Family::V4);
    }
    drop(open_files);
    fs::File::create(path).unwrap();
    assert_eq!(touched(&events), Family::V4);
    stop.trigger();
    thread.join().unwrap();
}
