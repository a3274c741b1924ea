//! Watches the prefix files, and every symbolic link on the way to them: a thread with inotify on
//! their directories.
//!
//! Promises: whatever is done to a file or a link by its name (written, replaced, removed, linked,
//! re-pointed, its mode changed) is told within moments, the writer's own replacing included; its
//! temporary names are not. The way from the configured path to the file is followed anew after
//! each such change, so that the file at its end is watched whichever that is. A directory that
//! goes away or is another one afterwards is told too, and watched again once it is there. While
//! one cannot be watched, for whatever reason, its families are told of every second, so that the
//! writer looks for itself; else the thread wakes once a minute to tell of all, as inotify does not
//! see everything (something mounted over the file, a network file system).
//! Who may block: nobody. What stops it: the stop line.
//! Leaves out: what was done, and whether it matters: the receiver looks at the file.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{add_watch, init, remove_watch, CreateFlags, ReadFlags, Reader, WatchFlags};

use crate::check::event::Event;
use crate::prefix::Family;
use crate::sys::links::{names, Name};
use crate::sys::poll::poll_until;
use crate::sys::stop_token::{Stop, StopToken};

/// How long what happens is gathered, so that replacing a file wakes the thread and the writer once.
const GATHER: Duration = Duration::from_millis(10);
/// How often the directories are looked at while one of them cannot be watched.
const BLIND: Duration = Duration::from_secs(1);
/// How often they are looked at else.
const REGULARLY: Duration = Duration::from_secs(60);
/// Room for some dozens of events; one needs up to 272 bytes.
const BUFFER: usize = 8 * 1024;
/// How much is read before it is told: what is left waits for the next round.
const MOST_EVENTS: usize = 10_000;
/// For the thread: it calls nothing deep.
const STACK: usize = 128 * 1024;

/// How often the way is followed again because it changed while its directories were about to be
/// watched.
const TRIES: usize = 3;

/// Starts the thread: it sends [`Event::Touched`] for the files that the paths, as they are
/// configured, lead to.
///
/// # Errors
/// The thread cannot be created: to be tried again.
pub fn start(files: Vec<(Family, PathBuf)>, events: Sender<Event>, stop: StopToken) -> io::Result<JoinHandle<()>> {
    let files = files.into_iter().map(|(family, path)| File { family, path, names: Vec::new() }).collect();
    let mut watch = Watch { inotify: None, watches: HashSet::new(), files, events, stop };
    // Before the thread runs, so that whatever comes after this call is seen.
    watch.look();
    let thread = std::thread::Builder::new().name("files".into()).stack_size(STACK);
    thread.spawn(move || watch.run())
}

struct File {
    family: Family,
    path: PathBuf,
    /// What is watched for it.
    names: Vec<Watched>,
}

/// A name on the way to a file.
#[derive(PartialEq, Eq)]
struct Watched {
    name: Name,
    /// The kernel's number of its directory. Several names may have the same.
    watch: Option<i32>,
}

impl File {
    fn is_blind(&self) -> bool {
        self.names.iter().any(|watched| watched.watch.is_none())
    }
}

struct Watch {
    inotify: Option<OwnedFd>,
    /// The numbers of all watched directories.
    watches: HashSet<i32>,
    files: Vec<File>,
    events: Sender<Event>,
    stop: StopToken,
}

impl Watch {
    fn run(&mut self) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut regularly = Instant::now() + REGULARLY;
        let mut again = Instant::now() + BLIND;
        loop {
            let blind = self.files.iter().any(File::is_blind);
            let until = if blind { again } else { regularly };
            let told = match &self.inotify {
                Some(inotify) => {
                    let mut fds = [PollFd::new(&self.stop, PollFlags::IN), PollFd::new(inotify, PollFlags::IN)];
                    poll_until(&mut fds, Some(until))
                }
                None => self.stop.wait(until.saturating_duration_since(Instant::now())),
            };
            if told && self.stop.wait(GATHER) {
                return;
            }
            let (mut touched, moved) = self.read(&mut buffer);
            let now = Instant::now();
            if moved || now >= until {
                touched.extend(self.look());
                again = now + BLIND;
            }
            if now >= regularly {
                touched.extend(self.files.iter().map(|file| file.family));
                regularly = now + REGULARLY;
            }
            for family in touched {
                // Without a receiver the daemon is ending.
                let _ = self.events.send(Event::Touched(family));
            }
        }
    }

    /// Reads what waits: which families' files are touched, and whether a file or directory may be
    /// another one now.
    fn read(&self, buffer: &mut [MaybeUninit<u8>]) -> (BTreeSet<Family>, bool) {
        let (mut touched, mut moved) = (BTreeSet::new(), false);
        let Some(inotify) = &self.inotify else { return (touched, moved) };
        let mut reader = Reader::new(inotify, buffer);
        for _ in 0..MOST_EVENTS {
            let Ok(event) = reader.next() else { break };
            match event.file_name() {
                Some(name) => {
                    let is_it =
                        |own: &Watched| own.watch == Some(event.wd()) && own.name.name.as_bytes() == name.to_bytes();
                    let named = self.files.iter().filter(|file| file.names.iter().any(is_it));
                    let named: Vec<Family> = named.map(|file| file.family).collect();
                    let another = ReadFlags::CREATE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO | ReadFlags::DELETE;
                    moved |= !named.is_empty() && event.events().intersects(another);
                    touched.extend(named);
                }
                // Of a directory itself: its mode matters as a file's does. Or events were lost.
                None => {
                    let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let of = |file: &&File| lost || file.names.iter().any(|name| name.watch == Some(event.wd()));
                    touched.extend(self.files.iter().filter(of).map(|file| file.family));
                    moved = true;
                }
            }
        }
        (touched, moved)
    }

    /// Follows the way to each file, and watches each directory on it that holds a link or the
    /// file. Returns the families for which that is another way than before, or that cannot be
    /// watched.
    fn look(&mut self) -> BTreeSet<Family> {
        if self.inotify.is_none() {
            self.inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        }
        let mut touched = BTreeSet::new();
        for file in &mut self.files {
            let names = watch(self.inotify.as_ref(), &file.path, &mut self.watches);
            if names != file.names || names.iter().any(|name| name.watch.is_none()) {
                touched.insert(file.family);
            }
            file.names = names;
        }
        let needed = self.files.iter().flat_map(|file| &file.names).filter_map(|name| name.watch).collect();
        for gone in self.watches.difference(&needed) {
            // One that was deleted took its watch along.
            let _ = self.inotify.as_ref().map(|inotify| remove_watch(inotify, *gone));
        }
        self.watches = needed;
        touched
    }
}

/// Watches all directories on the way along `path`, and adds to `watches` what was watched for
/// that.
fn watch(inotify: Option<&OwnedFd>, path: &Path, watches: &mut HashSet<i32>) -> Vec<Watched> {
    let of_links = WatchFlags::CREATE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    let of_files = of_links | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB;
    let mut found = names(path);
    for _ in 0..TRIES {
        let watched = found.iter().map(|name| {
            let directory = if name.directory.as_os_str().is_empty() { Path::new(".") } else { &name.directory };
            // A directory that is watched already gives its number again, and may be watched for
            // more than a link.
            let flags = if name.link { of_links | WatchFlags::MASK_ADD } else { of_files };
            let watch = inotify.and_then(|inotify| add_watch(inotify, directory, flags).ok());
            Watched { name: name.clone(), watch }
        });
        let watched: Vec<Watched> = watched.collect();
        watches.extend(watched.iter().filter_map(|name| name.watch));
        let again = names(path);
        if again == found {
            return watched;
        }
        found = again;
    }
    // Somebody changes it all the time, so it is followed again in a second.
    found.into_iter().map(|name| Watched { name, watch: None }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{channel, Receiver};

    use super::*;
    use crate::sys::atomic_file::{replace, Durability};
    use crate::testing::isolated::{alone, sh, this_program};

    /// Of all events only these are compared.
    impl PartialEq for Event {
        fn eq(&self, other: &Event) -> bool {
            matches!((self, other), (Event::Touched(one), Event::Touched(another)) if one == another)
        }
    }

    /// A watch over `a/list` (IPv4) and `b/list` (IPv6) in a directory of its own.
    struct Started {
        dir: tempfile::TempDir,
        events: Receiver<Event>,
        stop: StopToken,
        thread: JoinHandle<()>,
    }

    impl Started {
        fn new() -> Started {
            Started::after("true")
        }

        /// The same, where a script has done something first.
        fn after(script: &str) -> Started {
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
            Started { dir, events, stop, thread }
        }

        fn sh(&self, script: &str) {
            sh(&format!("cd {}; {script}", self.dir.path().display()));
        }

        /// Waits for news of this family, and for none of another before it.
        fn expect(&self, family: Family, after: &str) {
            assert_eq!(touched(&self.events), family, "after {after}");
        }

        /// Does something to the IPv6 file and takes all news until that is told: families in order, each once.
        fn told_before_the_other(&self) -> Vec<Family> {
            self.sh("chmod 600 b/list");
            std::iter::repeat_with(|| touched(&self.events)).take_while(|family| *family != Family::V6).collect()
        }

        fn stop(self) {
            self.stop.trigger();
            self.thread.join().unwrap();
        }
    }

    /// Waits for the next family whose file was touched.
    fn touched(events: &Receiver<Event>) -> Family {
        match events.recv_timeout(Duration::from_secs(50)).unwrap() {
            Event::Touched(family) => family,
            event => panic!("{event:?}"),
        }
    }

    #[test]
    fn whatever_is_done_to_the_file() {
        let watch = Started::new();
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
            // What an earlier one did may be told in two portions.
            watch.told_before_the_other();
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
    fn whatever_is_done_to_a_link_on_the_way_or_to_its_target() {
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
            let watch = Started::after(CHAIN);
            watch.sh(script);
            watch.expect(Family::V4, script);
            watch.stop();
        }
    }

    #[test]
    fn a_chain_of_links_is_followed_again_after_each_change() {
        let watch = Started::after(CHAIN);
        for (change, then) in [
            ("ln -sfn real2 to", "echo >>real2/list"),
            ("ln -sfn ../real/list links/list", "echo >>real/list"),
            ("cp a/list new; mv new a/list", "echo >>a/list"),
            // A directory that is missing.
            ("rm -f a/list; ln -sfn ../later/list a/list", "mkdir later; touch later/list"),
            // A circle.
            ("ln -sfn list a/list", "ln -sfn ../real/list a/list"),
            ("true", "chmod 644 real/list"),
        ] {
            watch.sh(change);
            // SinkHealth of this may come in several portions.
            watch.told_before_the_other();
            watch.told_before_the_other();
            watch.sh(then);
            watch.expect(Family::V4, then);
        }
        watch.told_before_the_other();
        watch.sh("echo >>real2/list; touch links/other to2");
        assert_eq!(watch.told_before_the_other(), [], "they are nobody's");
        watch.stop();
    }

    #[test]
    fn other_names_do_not_count() {
        let watch = Started::new();
        watch.sh("touch a/.list.0123456789abcdef.new a/lis a/list2; mkdir a/history; rm a/lis");
        assert_eq!(watch.told_before_the_other(), []);
        watch.stop();
    }

    #[test]
    fn replacing_is_told() {
        let watch = Started::new();
        replace(&watch.dir.path().join("a/list"), b"text", Durability::Unsynced).unwrap();
        watch.expect(Family::V4, "replacing");
        watch.stop();
    }

    #[test]
    fn a_directory_that_goes_away_and_comes_back() {
        for script in ["rm -r a", "mv a elsewhere"] {
            let watch = Started::new();
            watch.sh(script);
            watch.expect(Family::V4, script);
            // It is told of for as long as it is away.
            watch.expect(Family::V4, "a second without it");
            watch.sh("mkdir a");
            watch.expect(Family::V4, "its return");
            // SinkHealth of its absence may still come; those that follow are of the file, as the directory is there.
            watch.told_before_the_other();
            watch.sh("touch a/list");
            watch.expect(Family::V4, "a file in it");
            watch.stop();
        }
    }

    #[test]
    fn a_directory_in_the_place_of_another() {
        let watch = Started::new();
        watch.sh("mkdir new; touch new/list; mv a old; mv new a");
        watch.expect(Family::V4, "the exchange");
        watch.told_before_the_other();
        watch.sh("echo >>a/list");
        watch.expect(Family::V4, "a change in the new one");
        watch.told_before_the_other();
        watch.sh("echo >>old/list");
        assert_eq!(watch.told_before_the_other(), [], "the old one is nobody's");
        watch.stop();
    }

    /// Nothing tells of it, so it is found by looking, which the thread does once a minute.
    #[test]
    fn something_mounted_over_the_directory_is_found() {
        let name = "bird::file_watch::tests::something_mounted_over_the_directory_is_found";
        let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
        if !alone(name, &["unshare", flags], &this_program()) {
            return;
        }
        let (dir, (events, _receiver)) = (tempfile::tempdir().unwrap(), channel());
        let file = File { family: Family::V4, path: dir.path().join("list"), names: Vec::new() };
        let stop = StopToken::new().unwrap();
        let mut watch = Watch { inotify: None, watches: HashSet::new(), files: vec![file], events, stop };
        let mut check = |news, what| assert_eq!(watch.look().len(), news, "{what}");
        check(1, "first seen");
        check(0, "as it was");
        sh(&format!("mount -t tmpfs none {}", dir.path().display()));
        check(1, "mounted over");
        check(0, "as it was");
        sh(&format!("umount {}", dir.path().display()));
        check(1, "the first again");
    }

    /// No descriptor is left at the start: the families are told of every second until there is one.
    #[test]
    fn without_inotify_the_writer_is_sent_to_look() {
        if !alone("bird::file_watch::tests::without_inotify_the_writer_is_sent_to_look", &["env"], &this_program()) {
            return;
        }
        let (dir, (sender, events), stop) = (tempfile::tempdir().unwrap(), channel(), StopToken::new().unwrap());
        let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let held: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        let path = dir.path().join("list");
        let thread = start(vec![(Family::V4, path.clone())], sender, stop.clone()).unwrap();
        for _ in 0..2 {
            assert_eq!(touched(&events), Family::V4);
        }
        drop(held);
        fs::File::create(path).unwrap();
        assert_eq!(touched(&events), Family::V4);
        stop.trigger();
        thread.join().unwrap();
    }
}
