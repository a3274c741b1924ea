//! Watches the prefix files and every symbolic link on their paths, with inotify on the
//! directories.
//!
//! Guarantees: every change of a file or link by its name (written, replaced, removed, linked,
//! retargeted, its mode changed) is reported within milliseconds, including the writer's own
//! replacements but not its temporary files. The path is resolved again after each such change, so
//! that the current target is watched. A directory that disappears or is replaced is reported too,
//! and watched again once it exists. While a directory cannot be watched, its families are reported
//! every second. All families are reported once a minute, because inotify misses some changes (a
//! mount over the file, a network file system).
//!
//! Blocking: the thread, on the disk; no other thread waits for it.
//!
//! Shutdown: the thread ends when the stop token is triggered.
//!
//! Out of scope: what changed, and whether it matters: the receiver reads the file.

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
use crate::sys::links::{entries, Entry};
use crate::sys::poll::poll_until;
use crate::sys::stop_token::{Stop, StopToken};

/// Delay after the first event, so that one replacement of a file wakes the writer once.
const DEBOUNCE_INTERVAL: Duration = Duration::from_millis(10);
/// How often a directory that cannot be watched is tried again, and its families are reported.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often all paths are resolved again, and all families are reported.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Size of the buffer for events: several dozen, at up to 272 bytes each.
const BUFFER_LEN: usize = 8 * 1024;
/// How many events are read before they are reported; further ones wait for the next round.
const MAX_EVENTS_PER_ROUND: usize = 10_000;
/// The thread's stack, which is small because it makes no deep calls.
const STACK_LEN: usize = 128 * 1024;
/// How often a path is resolved again because it changed while its watches were added.
const MAX_RESOLVE_ATTEMPTS: usize = 3;

/// Starts the thread, which sends [`Event::Touched`] for the files at these configured paths.
///
/// # Errors
/// The thread cannot be created. The caller may try again.
pub fn start(files: Vec<(Family, PathBuf)>, events: Sender<Event>, stop: StopToken) -> io::Result<JoinHandle<()>> {
    let files = files.into_iter().map(|(family, path)| File { family, path, names: Vec::new() }).collect();
    let mut watch = Watch { inotify: None, watches: HashSet::new(), files, events, stop };
    // The watches exist before the thread runs, so that every change after this call is seen.
    watch.refresh_watches();
    let thread = std::thread::Builder::new().name("files".into()).stack_size(STACK_LEN);
    thread.spawn(move || watch.run())
}

/// A prefix file.
struct File {
    family: Family,
    path: PathBuf,
    /// The names on its path.
    names: Vec<WatchedName>,
}

/// A name on the path of a file.
#[derive(PartialEq, Eq)]
struct WatchedName {
    name: Entry,
    /// The watch descriptor of its directory, which several names may share. None if the directory
    /// cannot be watched.
    watch: Option<i32>,
}

impl File {
    fn is_fully_watched(&self) -> bool {
        self.names.iter().all(|name| name.watch.is_some())
    }
}

/// The thread's state.
struct Watch {
    inotify: Option<OwnedFd>,
    /// The watch descriptors of all directories.
    watches: HashSet<i32>,
    files: Vec<File>,
    events: Sender<Event>,
    stop: StopToken,
}

impl Watch {
    fn run(&mut self) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_LEN];
        let mut next_recheck = Instant::now() + RECHECK_INTERVAL;
        let mut next_retry = Instant::now() + RETRY_INTERVAL;
        loop {
            let all_watched = self.files.iter().all(File::is_fully_watched);
            let deadline = if all_watched { next_recheck } else { next_retry };
            let is_ready = match &self.inotify {
                Some(inotify) => {
                    let mut fds = [PollFd::new(&self.stop, PollFlags::IN), PollFd::new(inotify, PollFlags::IN)];
                    poll_until(&mut fds, Some(deadline))
                }
                None => self.stop.wait(deadline.saturating_duration_since(Instant::now())),
            };
            if is_ready && self.stop.wait(DEBOUNCE_INTERVAL) {
                return;
            }
            let (mut touched, is_path_changed) = self.read_events(&mut buffer);
            let now = Instant::now();
            if is_path_changed || now >= deadline {
                touched.extend(self.refresh_watches());
                next_retry = now + RETRY_INTERVAL;
            }
            if now >= next_recheck {
                touched.extend(self.files.iter().map(|file| file.family));
                next_recheck = now + RECHECK_INTERVAL;
            }
            for family in touched {
                // Sending fails only while the daemon stops.
                let _ = self.events.send(Event::Touched(family));
            }
        }
    }

    /// Reads the pending events. Returns the families whose files were touched, and whether a path
    /// may lead to another file or directory now.
    fn read_events(&self, buffer: &mut [MaybeUninit<u8>]) -> (BTreeSet<Family>, bool) {
        let mut touched = BTreeSet::new();
        let mut is_path_changed = false;
        let Some(inotify) = &self.inotify else { return (touched, is_path_changed) };
        let mut reader = Reader::new(inotify, buffer);
        for _ in 0..MAX_EVENTS_PER_ROUND {
            let Ok(event) = reader.next() else { break };
            match event.file_name() {
                Some(file_name) => {
                    let is_named = |watched: &WatchedName| {
                        watched.watch == Some(event.wd()) && watched.name.name.as_bytes() == file_name.to_bytes()
                    };
                    let files = self.files.iter().filter(|file| file.names.iter().any(is_named));
                    let families: Vec<Family> = files.map(|file| file.family).collect();
                    let replaced = ReadFlags::CREATE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO | ReadFlags::DELETE;
                    is_path_changed |= !families.is_empty() && event.events().intersects(replaced);
                    touched.extend(families);
                }
                // An event of a directory itself, whose mode matters like a file's, or lost events.
                None => {
                    let is_overflow = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let is_affected =
                        |file: &&File| is_overflow || file.names.iter().any(|name| name.watch == Some(event.wd()));
                    touched.extend(self.files.iter().filter(is_affected).map(|file| file.family));
                    is_path_changed = true;
                }
            }
        }
        (touched, is_path_changed)
    }

    /// Resolves the path of each file, and watches each directory on it that holds a link or the
    /// file. Returns the families whose path has changed or cannot be watched.
    fn refresh_watches(&mut self) -> BTreeSet<Family> {
        if self.inotify.is_none() {
            self.inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        }
        let mut touched = BTreeSet::new();
        for file in &mut self.files {
            let names = watch_path(self.inotify.as_ref(), &file.path, &mut self.watches);
            let is_changed = names != file.names;
            file.names = names;
            if is_changed || !file.is_fully_watched() {
                touched.insert(file.family);
            }
        }
        let needed = self.files.iter().flat_map(|file| &file.names).filter_map(|name| name.watch).collect();
        for unused in self.watches.difference(&needed) {
            // The kernel has already removed the watch of a deleted directory.
            let _ = self.inotify.as_ref().map(|inotify| remove_watch(inotify, *unused));
        }
        self.watches = needed;
        touched
    }
}

/// Watches all directories on `path`, and adds their watch descriptors to `watches`.
fn watch_path(inotify: Option<&OwnedFd>, path: &Path, watches: &mut HashSet<i32>) -> Vec<WatchedName> {
    let link_flags = WatchFlags::CREATE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    let file_flags = link_flags | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB;
    let mut current = entries(path);
    for _ in 0..MAX_RESOLVE_ATTEMPTS {
        let watched = current.iter().map(|name| {
            let directory = if name.directory.as_os_str().is_empty() { Path::new(".") } else { &name.directory };
            // A directory that is watched already has the same descriptor, and may need more flags
            // than those for a link.
            let flags = if name.is_link { link_flags | WatchFlags::MASK_ADD } else { file_flags };
            let watch = inotify.and_then(|inotify| add_watch(inotify, directory, flags).ok());
            WatchedName { name: name.clone(), watch }
        });
        let watched: Vec<WatchedName> = watched.collect();
        watches.extend(watched.iter().filter_map(|name| name.watch));
        let resolved = entries(path);
        if resolved == current {
            return watched;
        }
        current = resolved;
    }
    // Another process keeps changing the path, so it is resolved again in a second.
    current.into_iter().map(|name| WatchedName { name, watch: None }).collect()
}

#[cfg(test)]
mod tests;
