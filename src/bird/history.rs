//! Old prefix files, kept in the directory `history` beside the file (`bird_keep_changes`).
//!
//! The name of a copy is its time, as in the original: `1763803000.123456784`, seconds and a
//! fraction. The last of the fraction's nine digits is the family, 4 or 6, so that two families can
//! share a directory. The original's names have at most seven digits; the family of such a copy
//! follows from its prefixes.
//!
//! Guarantees: the old file is in the history before the new one replaces it, at the cost of a hard
//! link. At most the configured number of copies of a family is kept, the newest ones, and one
//! family never removes copies of the other. A symbolic link, as the directory or inside it, is
//! never followed, and only regular files with the names of copies are removed. Two copies never
//! have the same name, and their names sort in the order of their creation even if the clock is set
//! back. A problem is logged as a warning once.
//!
//! Blocking: the caller, on the disk.
//!
//! Out of scope: syncing the copies to the disk, and removing those of a family that is switched
//! off.

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
use crate::sys::log_once::LogOnce;

/// How many bytes of a copy are read to find out its family.
const FAMILY_SCAN_LEN: u64 = 64 * 1024;
/// How many existing names are skipped before a copy fails.
const MAX_NAME_ATTEMPTS: u64 = 1000;
/// Times are counted in steps of 10 ns.
const STEPS_PER_SECOND: u64 = 100_000_000;
/// The latest time with ten digits before the point.
const MAX_STEPS: u64 = 10_000_000_000 * STEPS_PER_SECOND - 1;

/// Why the history could not be updated.
#[derive(Debug, thiserror::Error)]
enum HistoryError {
    #[error("cannot keep old prefix files in {directory}: {source}", directory = .directory.display())]
    Directory { directory: PathBuf, source: io::Error },
    #[error("failed to copy {conf} to {directory}: {source}", conf = .conf.display(), directory = .directory.display())]
    Copy { conf: PathBuf, directory: PathBuf, source: io::Error },
    #[error("failed to remove old copies in {directory}, first {name}: {source}", directory = .directory.display())]
    Remove { directory: PathBuf, name: String, source: io::Error },
}

/// The history of one prefix file.
pub struct History {
    conf: PathBuf,
    family: Family,
    limit: usize,
    /// The file that was archived last, so that a write that is tried again adds only one copy.
    last_archived: Option<Identity>,
    /// Whether copies of the original belong to this family, by name, as far as they were read.
    original_copies: HashMap<String, bool>,
    problem: LogOnce,
}

impl History {
    /// The history of the prefix file `conf`, with links resolved, of at most `limit` copies.
    pub fn new(conf: &Path, family: Family, limit: usize) -> History {
        History {
            conf: conf.into(),
            family,
            limit,
            last_archived: None,
            original_copies: HashMap::new(),
            problem: LogOnce::new(),
        }
    }

    /// Archives the current file and removes the oldest copies. Logs a problem once.
    pub fn archive(&mut self) {
        match self.try_archive() {
            Ok(()) => {
                if self.problem.clear() {
                    info!("old prefix files are kept again in {}", self.directory().display());
                }
            }
            Err(error) => {
                let problem = error.to_string();
                if self.problem.set(&problem) {
                    warn!("{problem}");
                }
            }
        }
    }

    fn try_archive(&mut self) -> Result<(), HistoryError> {
        let directory_error =
            |source| HistoryError::Directory { directory: self.directory(), source: describe_errno(source) };
        let directory = open_or_create(&self.conf).map_err(directory_error)?;
        let copies = list_copies(&directory).map_err(directory_error)?;
        let newest = copies.iter().map(|copy| copy.steps).max();
        let new_file = self.unarchived_file().map_err(|source| self.copy_error(source))?;
        // Old copies are removed first, so that the limit always holds and a full disk gets space.
        let remaining = self.limit.saturating_sub(usize::from(new_file.is_some()));
        let removed = self.remove_oldest(&directory, copies, remaining);
        if let Some(identity) = new_file.filter(|_| self.limit > 0) {
            self.add_copy(&directory, newest).map_err(|source| self.copy_error(source))?;
            self.last_archived = Some(identity);
        }
        removed
    }

    fn copy_error(&self, source: io::Error) -> HistoryError {
        HistoryError::Copy { conf: self.conf.clone(), directory: self.directory(), source }
    }

    /// The current file. None if it is missing or archived already.
    fn unarchived_file(&self) -> io::Result<Option<Identity>> {
        match self.conf.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(found) if !found.is_file() => Err(not_regular()),
            Ok(found) => Ok(Some(Identity::from(&found)).filter(|identity| self.last_archived != Some(*identity))),
        }
    }

    /// Links or copies the file under a new name.
    fn add_copy(&self, directory: &OwnedFd, newest: Option<u64>) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = now.as_secs() * STEPS_PER_SECOND + u64::from(now.subsec_nanos()) / 10;
        // A copy with the last possible time leaves no later name, so it is ignored.
        let first =
            newest.filter(|newest| *newest < MAX_STEPS - MAX_NAME_ATTEMPTS).map_or(now, |newest| now.max(newest + 1));
        for steps in first..first + MAX_NAME_ATTEMPTS {
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
            // Another device, no hard links, too many of them, or another owner
            // (protected_hardlinks).
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.copy_bytes(directory, to)
            }
            linked => Ok(linked?),
        }
    }

    /// Copies the file with its mode and times. A failure leaves no partial copy.
    fn copy_bytes(&self, directory: &OwnedFd, to: &str) -> io::Result<()> {
        let mut old = open_regular(CWD, &self.conf)?;
        let metadata = old.metadata()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut new = File::from(rustix::fs::openat(directory, to, flags, Mode::RUSR | Mode::WUSR)?);
        let mut copy = || {
            io::copy(&mut old, &mut new)?;
            new.set_permissions(metadata.permissions())?;
            new.set_times(FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?))
        };
        let copied = copy();
        if copied.is_err() {
            // If the removal fails too, the partial copy stays and is recognized by its flaw.
            let _ = rustix::fs::unlinkat(directory, to, AtFlags::empty());
        }
        copied
    }

    /// Removes all but the newest `limit` copies of the family.
    fn remove_oldest(&mut self, directory: &OwnedFd, mut copies: Vec<Copy>, limit: usize) -> Result<(), HistoryError> {
        copies.retain(|copy| copy.family.is_none_or(|family| family == self.family));
        if copies.len() <= limit {
            return Ok(());
        }
        let mut original_copies = HashMap::new();
        copies.retain(|copy| {
            copy.family.is_some() || {
                let known = self.original_copies.get(&copy.name).copied();
                let is_ours = known.unwrap_or_else(|| may_belong_to(directory, &copy.name, self.family));
                original_copies.insert(copy.name.clone(), is_ours);
                is_ours
            }
        });
        self.original_copies = original_copies;
        copies.sort_by_key(|copy| std::cmp::Reverse(copy.steps));
        let mut first_error = None;
        for Copy { name, .. } in copies.into_iter().skip(limit) {
            match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(source) => first_error = first_error.or(Some((name, source))),
            }
        }
        first_error.map_or(Ok(()), |(name, source)| {
            Err(HistoryError::Remove { directory: self.directory(), name, source: source.into() })
        })
    }

    fn directory(&self) -> PathBuf {
        self.conf.with_file_name("history")
    }
}

/// Whether the history beside the prefix file `conf` has a copy that may belong to the family.
pub fn exists(conf: &Path, family: Family) -> bool {
    let may_belong = |copy: &Copy| copy.family.is_none_or(|named| named == family);
    open_parent(conf)
        .and_then(|parent| open(&parent))
        .is_ok_and(|directory| list_copies(&directory).is_ok_and(|copies| copies.iter().any(may_belong)))
}

/// The list in the family's newest copy that has no flaw and is not provisional.
pub fn newest_good(conf: &Path, family: Family) -> Option<Vec<Prefix>> {
    let directory = open(&open_parent(conf).ok()?).ok()?;
    let mut copies = list_copies(&directory).ok()?;
    copies.retain(|copy| copy.family.is_none_or(|named| named == family));
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.steps));
    copies.iter().find_map(|copy| {
        let read = |file| read_up_to(file, prefix_file::MAX_LEN as u64);
        let bytes = open_regular(&directory, &copy.name).and_then(read).ok()?;
        let file = prefix_file::parse(&bytes, family);
        (file.flaw.is_none() && !file.provisional).then_some(file.prefixes)
    })
}

/// A copy in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Copy {
    name: String,
    /// Its time in steps of 10 ns.
    steps: u64,
    /// None for a copy of the original.
    family: Option<Family>,
}

impl Copy {
    fn new(steps: u64, family: Family) -> Copy {
        let digit = match family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        Copy {
            name: format!("{}.{:08}{digit}", steps / STEPS_PER_SECOND, steps % STEPS_PER_SECOND),
            steps,
            family: Some(family),
        }
    }

    /// Parses a name of this program or of the original. None for any other name.
    fn parse(name: &str) -> Option<Copy> {
        let (seconds, fraction) = name.split_once('.')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(seconds) || !is_number(fraction) || seconds.len() > 10 {
            return None;
        }
        let family = match (fraction.len(), fraction.as_bytes().last()) {
            (1..=7, _) => None,
            (9, Some(b'4')) => Some(Family::V4),
            (9, Some(b'6')) => Some(Family::V6),
            _ => return None,
        };
        let fraction: u64 = format!("{fraction:0<8}").get(..8)?.parse().ok()?;
        Some(Copy { name: name.to_string(), steps: seconds.parse::<u64>().ok()? * STEPS_PER_SECOND + fraction, family })
    }
}

/// Lists all copies that are regular files.
fn list_copies(directory: &OwnedFd) -> Result<Vec<Copy>, Errno> {
    let mut copies = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Some(copy) = entry.file_name().to_str().ok().and_then(Copy::parse) else { continue };
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

/// Whether the original's copy `name` lists prefixes of the family, or no prefixes at all.
fn may_belong_to(directory: &OwnedFd, name: &str, family: Family) -> bool {
    let Ok(bytes) = open_regular(directory, name).and_then(|file| read_up_to(file, FAMILY_SCAN_LEN)) else {
        return false;
    };
    let lists = |family| !prefix_file::parse(&bytes, family).prefixes.is_empty();
    lists(family) || !Family::BOTH.into_iter().any(lists)
}

fn open_parent(conf: &Path) -> Result<OwnedFd, Errno> {
    let parent = conf.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the history's directory without following a link.
fn open(parent: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(parent, "history", flags, Mode::empty()))
}

fn open_or_create(conf: &Path) -> Result<OwnedFd, Errno> {
    let parent = open_parent(conf)?;
    match open(&parent) {
        Err(Errno::NOENT) => {
            // The umask decides the mode, as in the original.
            match rustix::fs::mkdirat(&parent, "history", Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                Ok(()) | Err(Errno::EXIST) => open(&parent),
                Err(error) => Err(error),
            }
        }
        opened => opened,
    }
}

/// Opens a regular file without following a link and without blocking.
fn open_regular(directory: impl AsFd, name: impl rustix::path::Arg + std::marker::Copy) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(retry_on_intr(|| rustix::fs::openat(&directory, name, flags, Mode::empty()))?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(not_regular()),
    }
}

/// Reads at most `limit` bytes.
fn read_up_to(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Explains an error in opening the directory: the kernel reports "Not a directory" for a link too.
fn describe_errno(error: Errno) -> io::Error {
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
