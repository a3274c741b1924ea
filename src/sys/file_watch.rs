//! Seeing that somebody did something to a prefix file: a thread that watches the directories they lie in.
//!
//! Promises: whatever is done to a file by its name (written, replaced, removed, linked, its mode changed) is told within
//! moments, the writer's own replacing included; its temporary names are not. A directory that goes away or is another one
//! afterwards is told too, and watched again once it is there. While one cannot be watched, for whatever reason, its
//! families are told of every second, so that the writer looks for itself; else the thread wakes once a minute to tell of all,
//! as inotify does not see everything (something mounted over the file, a network file system).
//! Who may block: nobody. What stops it: the stop line.
//! Leaves out: what was done, and whether it matters: who is told looks at the file. Links: it is the file at the path that is watched.

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
use crate::sys::poll::poll_until;
use crate::sys::stop_line::{Stop, StopLine};

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

/// Starts the thread: it sends [`Event::Touched`].
///
/// # Errors
/// The thread cannot be created: to be tried again.
pub fn start(files: Vec<(Family, PathBuf)>, events: Sender<Event>, stop: StopLine) -> io::Result<JoinHandle<()>> {
    let files = files.into_iter().map(|(family, path)| File { family, path, watch: None }).collect();
    let mut watch = Watch { inotify: None, files, events, stop };
    // Before the thread runs, so that whatever comes after this call is seen.
    watch.look();
    let thread = std::thread::Builder::new().name("files".into()).stack_size(STACK);
    thread.spawn(move || watch.run())
}

struct File {
    family: Family,
    path: PathBuf,
    /// The kernel's number of the watched directory. Both families may have the same.
    watch: Option<i32>,
}

impl File {
    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

struct Watch {
    inotify: Option<OwnedFd>,
    files: Vec<File>,
    events: Sender<Event>,
    stop: StopLine,
}

impl Watch {
    fn run(&mut self) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut regularly = Instant::now() + REGULARLY;
        let mut again = Instant::now() + BLIND;
        loop {
            let blind = self.files.iter().any(|file| file.watch.is_none());
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

    /// Reads what waits: which families' files are touched, and whether a directory may be another one now.
    fn read(&self, buffer: &mut [MaybeUninit<u8>]) -> (BTreeSet<Family>, bool) {
        let (mut touched, mut moved) = (BTreeSet::new(), false);
        let Some(inotify) = &self.inotify else { return (touched, moved) };
        let mut reader = Reader::new(inotify, buffer);
        for _ in 0..MOST_EVENTS {
            let Ok(event) = reader.next() else { break };
            match event.file_name() {
                Some(name) => {
                    let named = |file: &&File| {
                        file.watch == Some(event.wd())
                            && file.path.file_name().is_some_and(|own| own.as_bytes() == name.to_bytes())
                    };
                    touched.extend(self.files.iter().filter(named).map(|file| file.family));
                }
                // Of a directory itself: its mode matters as a file's does. Or events were lost.
                None => {
                    let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let of = |file: &&File| lost || file.watch == Some(event.wd());
                    touched.extend(self.files.iter().filter(of).map(|file| file.family));
                    moved = true;
                }
            }
        }
        (touched, moved)
    }

    /// Watches each directory that stands at its path now. Returns the families for which that is another one than before,
    /// or that cannot be watched.
    fn look(&mut self) -> BTreeSet<Family> {
        if self.inotify.is_none() {
            self.inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        }
        let before: HashSet<i32> = self.files.iter().filter_map(|file| file.watch).collect();
        let flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let mut touched = BTreeSet::new();
        for file in &mut self.files {
            // A directory that is watched already gives its number again.
            let watch = self.inotify.as_ref().and_then(|inotify| add_watch(inotify, file.directory(), flags).ok());
            if watch.is_none() || watch != file.watch {
                touched.insert(file.family);
            }
            file.watch = watch;
        }
        for gone in before {
            if self.files.iter().all(|file| file.watch != Some(gone)) {
                // One that was deleted took its watch along.
                let _ = self.inotify.as_ref().map(|inotify| remove_watch(inotify, gone));
            }
        }
        touched
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{channel, Receiver};

    use super::*;
    use crate::sys::alone::{alone, sh, this_program};
    use crate::sys::atomic_file::{replace, Durability};

    /// A watch over `a/list` (IPv4) and `b/list` (IPv6) in a directory of its own.
    struct Started {
        dir: tempfile::TempDir,
        events: Receiver<Event>,
        stop: StopLine,
        thread: JoinHandle<()>,
    }

    impl Started {
        fn new() -> Started {
            let dir = tempfile::tempdir().unwrap();
            let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
            for path in [&a, &b] {
                fs::create_dir(path).unwrap();
                fs::File::create(path.join("list")).unwrap();
            }
            let (sender, events) = channel();
            let stop = StopLine::new().unwrap();
            let files = vec![(Family::V4, a.join("list")), (Family::V6, b.join("list"))];
            let thread = start(files, sender, stop.clone()).unwrap();
            Started { dir, events, stop, thread }
        }

        fn sh(&self, script: &str) {
            sh(&format!("cd {}; {script}", self.dir.path().display()));
        }

        /// Waits for news of this family, and for none of another before it.
        fn expect(&self, family: Family, after: &str) {
            let event = self.events.recv_timeout(Duration::from_secs(50));
            assert_eq!(event, Ok(Event::Touched(family)), "after {after}");
        }

        /// Does something to the IPv6 file and takes all news until that is told: families in order, each once.
        fn told_before_the_other(&self) -> Vec<Event> {
            self.sh("chmod 600 b/list");
            let until = Event::Touched(Family::V6);
            let next = || self.events.recv_timeout(Duration::from_secs(50)).unwrap();
            std::iter::repeat_with(next).take_while(|event| *event != until).collect()
        }

        fn stop(self) {
            self.stop.pull();
            self.thread.join().unwrap();
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
            // News of its absence may still come; those that follow are of the file, as the directory is there.
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
        let name = "sys::file_watch::tests::something_mounted_over_the_directory_is_found";
        let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
        if !alone(name, &["unshare", flags], &this_program()) {
            return;
        }
        let (dir, (events, _receiver)) = (tempfile::tempdir().unwrap(), channel());
        let file = File { family: Family::V4, path: dir.path().join("list"), watch: None };
        let mut watch = Watch { inotify: None, files: vec![file], events, stop: StopLine::new().unwrap() };
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
        if !alone("sys::file_watch::tests::without_inotify_the_writer_is_sent_to_look", &["env"], &this_program()) {
            return;
        }
        let (dir, (sender, events), stop) = (tempfile::tempdir().unwrap(), channel(), StopLine::new().unwrap());
        let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let held: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        let path = dir.path().join("list");
        let thread = start(vec![(Family::V4, path.clone())], sender, stop.clone()).unwrap();
        for _ in 0..2 {
            assert_eq!(events.recv().unwrap(), Event::Touched(Family::V4));
        }
        drop(held);
        fs::File::create(path).unwrap();
        assert_eq!(events.recv().unwrap(), Event::Touched(Family::V4));
        stop.pull();
        thread.join().unwrap();
    }
}
