//! Old prefix files, kept in the directory `history` beside the file (`bird_keep_changes`).
//!
//! A copy is named by the time it was made, as the original names it: `1763803000.123456784`, seconds and a fraction. Of
//! the fraction's nine digits the last one is the family, 4 or 6, so that the two families can share a directory without
//! a look into the files. The original's names have seven digits at most; the family of such a copy is what it lists.
//!
//! Promises: the old file is in the history before the new one takes its place, at no cost but a link's; at most so many
//! copies of a family are kept, the newest; no family removes the other's; no link, planted as the directory or in it,
//! leads a write or a removal elsewhere, and only regular files with such names are removed. Two copies never have one
//! name, and their order is that of their making, also where the clock is set back. Whatever fails is a warning, once
//! until something else fails or nothing does.
//! Leaves out: syncing the copies to the disk, and removing the other family's once it is switched off.

use std::collections::HashMap;
use std::fs::{File, FileTimes};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, CWD};
use rustix::io::{retry_on_intr, Errno};
use tracing::{debug, info, warn};

use crate::bird::prefix_file;
use crate::prefix::{Family, Prefix};
use crate::sys::atomic_file::Identity;

/// How much of a copy is read to tell its family.
const GLANCE: u64 = 64 * 1024;
/// Names taken by others in the same instant that are passed over.
const TRIES: u64 = 1000;
/// Times are counted in steps of 10 ns.
const STEPS: u64 = 100_000_000;
/// The last time that has ten digits before the point.
const LAST: u64 = 10_000_000_000 * STEPS - 1;

/// Why something is wrong with the history.
#[derive(Debug, thiserror::Error)]
enum HistoryError {
    #[error("cannot keep old prefix files in {directory}: {source}", directory = .directory.display())]
    Directory { directory: PathBuf, source: io::Error },
    #[error("failed to copy {conf} to {directory}: {source}", conf = .conf.display(), directory = .directory.display())]
    Copy { conf: PathBuf, directory: PathBuf, source: io::Error },
    #[error("failed to remove old copies in {directory}, first {name}: {source}", directory = .directory.display())]
    Remove { directory: PathBuf, name: String, source: io::Error },
}

/// One family's old prefix files.
pub struct History {
    conf: PathBuf,
    family: Family,
    most: usize,
    /// The file that was archived last, so that a write that fails and is tried again adds one copy and not hundreds.
    archived: Option<Identity>,
    /// Whether the original's copies are this family's, as far as it had to be known.
    originals: HashMap<String, bool>,
    problem: Option<String>,
}

impl History {
    /// For the prefix file `conf`, links resolved; at most `most` copies are kept.
    pub fn new(conf: &Path, family: Family, most: usize) -> History {
        History { conf: conf.into(), family, most, archived: None, originals: HashMap::new(), problem: None }
    }

    /// Keeps the file as it is now, and removes the oldest copies.
    pub fn archive(&mut self) {
        let problem = self.keep().err().map(|error| error.to_string());
        match &problem {
            Some(text) if self.problem.as_ref() != Some(text) => warn!("{text}"),
            None if self.problem.is_some() => {
                info!("old prefix files are kept again in {}", self.directory().display())
            }
            _ => {}
        }
        self.problem = problem;
    }

    fn keep(&mut self) -> Result<(), HistoryError> {
        let broken = |source| HistoryError::Directory { directory: self.directory(), source: as_said(source) };
        let directory = open_or_create(&self.conf).map_err(broken)?;
        let copies = copies(&directory).map_err(broken)?;
        let newest = copies.iter().map(|copy| copy.steps).max();
        let failed = |source| HistoryError::Copy { conf: self.conf.clone(), directory: self.directory(), source };
        let fresh = self.fresh().map_err(failed)?;
        // Removed first, so that there are never more than so many; it may also be what makes room on the disk.
        let others = self.most.saturating_sub(usize::from(fresh.is_some()));
        let removed = self.remove_oldest(&directory, copies, others);
        if let Some(identity) = fresh.filter(|_| self.most > 0) {
            self.copy(&directory, newest).map_err(|source| HistoryError::Copy {
                conf: self.conf.clone(),
                directory: self.directory(),
                source,
            })?;
            self.archived = Some(identity);
        }
        removed
    }

    /// The file as it stands; nothing where there is none, or where it is in the history already.
    fn fresh(&self) -> io::Result<Option<Identity>> {
        match self.conf.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(found) if !found.is_file() => Err(not_regular()),
            Ok(found) => Ok(Some(Identity::from(&found)).filter(|identity| self.archived != Some(*identity))),
        }
    }

    /// Links or copies the file.
    fn copy(&self, directory: &OwnedFd, newest: Option<u64>) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = now.as_secs() * STEPS + u64::from(now.subsec_nanos()) / 10;
        // The last name there can be is passed over, should someone have used it.
        let first = newest.filter(|newest| *newest < LAST - TRIES).map_or(now, |newest| now.max(newest + 1));
        for steps in first..first + TRIES {
            let copy = Copy::new(steps, self.family);
            debug!("coping {} to {}", self.conf.display(), self.directory().join(&copy.name).display());
            match self.link(directory, &copy.name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => return linked,
            }
        }
        Err(Errno::EXIST.into())
    }

    fn link(&self, directory: &OwnedFd, to: &str) -> io::Result<()> {
        match rustix::fs::linkat(CWD, &self.conf, directory, to, AtFlags::empty()) {
            // Another device, no links here, too many of them, or not the owner's (protected_hardlinks).
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.copy_bytes(directory, to)
            }
            linked => Ok(linked?),
        }
    }

    /// A copy with the file's mode and times; none is left where it fails.
    fn copy_bytes(&self, directory: &OwnedFd, to: &str) -> io::Result<()> {
        let mut old = open_regular(CWD, &self.conf)?;
        let found = old.metadata()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut new = File::from(rustix::fs::openat(directory, to, flags, Mode::RUSR | Mode::WUSR)?);
        let mut fill = || {
            io::copy(&mut old, &mut new)?;
            new.set_permissions(found.permissions())?;
            new.set_times(FileTimes::new().set_accessed(found.accessed()?).set_modified(found.modified()?))
        };
        let filled = fill();
        if filled.is_err() {
            // What cannot be removed either is a copy with a flaw.
            let _ = rustix::fs::unlinkat(directory, to, AtFlags::empty());
        }
        filled
    }

    /// Leaves `most` of the family's.
    fn remove_oldest(&mut self, directory: &OwnedFd, mut copies: Vec<Copy>, most: usize) -> Result<(), HistoryError> {
        copies.retain(|copy| copy.family.is_none_or(|family| family == self.family));
        if copies.len() <= most {
            return Ok(());
        }
        let mut originals = HashMap::new();
        copies.retain(|copy| {
            copy.family.is_some() || {
                let known = self.originals.get(&copy.name).copied();
                let ours = known.unwrap_or_else(|| may_be_of(directory, &copy.name, self.family));
                originals.insert(copy.name.clone(), ours);
                ours
            }
        });
        self.originals = originals;
        copies.sort_by_key(|copy| std::cmp::Reverse(copy.steps));
        let mut first = None;
        for Copy { name, .. } in copies.into_iter().skip(most) {
            match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(source) => first = first.or(Some((name, source))),
            }
        }
        first.map_or(Ok(()), |(name, source)| {
            Err(HistoryError::Remove { directory: self.directory(), name, source: source.into() })
        })
    }

    fn directory(&self) -> PathBuf {
        self.conf.with_file_name("history")
    }
}

/// Whether the history beside the prefix file `conf` has a copy that may be one of the family's.
pub fn exists(conf: &Path, family: Family) -> bool {
    let may_be_ours = |copy: &Copy| copy.family.is_none_or(|found| found == family);
    open_parent(conf)
        .and_then(|parent| open(&parent))
        .is_ok_and(|directory| copies(&directory).is_ok_and(|found| found.iter().any(may_be_ours)))
}

/// The list of the family's newest copy that has no flaw, and was not made from nothing.
pub fn newest_good(conf: &Path, family: Family) -> Option<Vec<Prefix>> {
    let directory = open(&open_parent(conf).ok()?).ok()?;
    let mut copies = copies(&directory).ok()?;
    copies.retain(|copy| copy.family.is_none_or(|found| found == family));
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.steps));
    copies.iter().find_map(|copy| {
        let bytes =
            open_regular(&directory, &copy.name).and_then(|file| start_of(file, prefix_file::MAX_LEN as u64)).ok()?;
        let found = prefix_file::parse(&bytes, family);
        (found.flaw.is_none() && !found.provisional).then_some(found.prefixes)
    })
}

/// A copy in the directory: its name, what it says of the time, and of the family where it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Copy {
    name: String,
    steps: u64,
    family: Option<Family>,
}

impl Copy {
    fn new(steps: u64, family: Family) -> Copy {
        let digit = match family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        Copy { name: format!("{}.{:08}{digit}", steps / STEPS, steps % STEPS), steps, family: Some(family) }
    }

    /// Reads a name, ours or the original's; nothing where it is neither.
    fn read(name: &str) -> Option<Copy> {
        let (seconds, fraction) = name.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(seconds) || !digits(fraction) || seconds.len() > 10 {
            return None;
        }
        let family = match (fraction.len(), fraction.as_bytes().last()) {
            (1..=7, _) => None,
            (9, Some(b'4')) => Some(Family::V4),
            (9, Some(b'6')) => Some(Family::V6),
            _ => return None,
        };
        let fraction: u64 = format!("{fraction:0<8}").get(..8)?.parse().ok()?;
        Some(Copy { name: name.to_string(), steps: seconds.parse::<u64>().ok()? * STEPS + fraction, family })
    }
}

/// All copies: regular files only.
fn copies(directory: &OwnedFd) -> Result<Vec<Copy>, Errno> {
    let mut copies = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Some(copy) = entry.file_name().to_str().ok().and_then(Copy::read) else { continue };
        let kind = match entry.file_type() {
            FileType::Unknown => rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode)),
            kind => kind,
        };
        if kind.is_file() {
            copies.push(copy);
        }
    }
    Ok(copies)
}

/// Whether nothing says that the original's copy `name` is the other family's. One that lists nothing is no loss.
fn may_be_of(directory: &OwnedFd, name: &str, family: Family) -> bool {
    let Ok(bytes) = open_regular(directory, name).and_then(|file| start_of(file, GLANCE)) else { return false };
    let lists = |family| !prefix_file::parse(&bytes, family).prefixes.is_empty();
    lists(family) || !Family::BOTH.into_iter().any(lists)
}

fn open_parent(conf: &Path) -> Result<OwnedFd, Errno> {
    let parent = conf.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The history's directory, which must be none behind a link.
fn open(parent: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(parent, "history", flags, Mode::empty()))
}

fn open_or_create(conf: &Path) -> Result<OwnedFd, Errno> {
    let parent = open_parent(conf)?;
    match open(&parent) {
        Err(Errno::NOENT) => {
            // The mode is left to the umask, as the original does.
            match rustix::fs::mkdirat(&parent, "history", Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                Ok(()) | Err(Errno::EXIST) => open(&parent),
                Err(error) => Err(error),
            }
        }
        opened => opened,
    }
}

/// A regular file, opened without following a link or waiting for anyone.
fn open_regular(directory: impl AsFd, name: impl rustix::path::Arg + std::marker::Copy) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(retry_on_intr(|| rustix::fs::openat(&directory, name, flags, Mode::empty()))?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(not_regular()),
    }
}

/// The first `limit` bytes.
fn start_of(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The kernel says "Not a directory" for a link too.
fn as_said(error: Errno) -> io::Error {
    match error {
        Errno::NOTDIR | Errno::LOOP => io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is not a directory, or a link to one, which is not followed",
        ),
        error => error.into(),
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

#[cfg(test)]
mod tests;
