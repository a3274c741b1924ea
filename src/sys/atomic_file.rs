//! Files that are replaced as a whole: the only room that does so, and the reading that goes with it.
//!
//! Promises: who opens the file sees the old text or the new, never a part, also after a crash (where it is synced); the mode is
//! [`MODE`] whatever the umask and the old mode, as BIRD and node_exporter read as other users; a failure leaves the
//! old file as it was and nothing beside it. What a killed run left is found again by its name, which carries the
//! target's, begins with a dot and ends in `.new`, so that neither BIRD's `include` nor node_exporter takes it up. Only regular
//! files are read, so that no FIFO or device can hold a thread.
//! Leaves out: symbolic links. The name given is the one replaced; who wants the file behind a link resolves it before.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// The mode of every file that is replaced: readable by all, writable by the owner.
pub const MODE: u32 = 0o644;

/// How much of the target's name a temporary name carries, so that it is never longer than a name can be (255).
const CARRIED: usize = 200;

/// Whether the new text must be on the disk before it takes the old one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It must: after a power cut it is the old or the new.
    Synced,
    /// It need not: the file is written anew every few seconds.
    Unsynced,
}

/// Which file it is, and which text of it: differs as soon as someone replaces, rewrites or hides the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device it is on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written last: seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Type and permissions, as `st_mode` has them.
    pub mode: u32,
}

/// Why a file was not replaced. The old one is still there.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The directory is missing or full, or may not be written.
    #[error("cannot create a temporary file in {directory}: {source}", directory = .directory.display())]
    Create {
        /// Where the file is.
        directory: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The disk is full or broken.
    #[error("cannot write the new {path}: {source}", path = .path.display())]
    Write {
        /// The file that was to be replaced.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Something that is no file stands there, or the directory may not be changed.
    #[error("cannot put the new {path} in its place: {source}", path = .path.display())]
    Rename {
        /// The file that was to be replaced.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Puts `bytes` in the place of the file at `path`, or creates it. The directory is not synced, see [`sync_directory_of`].
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<Identity, ReplaceError> {
    let temporary = temporary_path(path);
    // Exclusive creation follows no link that someone planted.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|source| ReplaceError::Create { directory: directory_of(path).into(), source })?;
    let replaced = fill(&mut file, bytes, durability)
        .map_err(|source| ReplaceError::Write { path: path.into(), source })
        .and_then(|identity| {
            put(&temporary, path).map_err(|source| ReplaceError::Rename { path: path.into(), source })?;
            Ok(identity)
        });
    if replaced.is_err() {
        // Nothing better can be done here; the next start removes what is left.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

/// Makes the last [`replace`] of `path` survive a power cut.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Removes the temporary files that killed runs left for `path`, regular files only; says how many.
pub fn remove_leftovers(path: &Path) -> io::Result<usize> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory_of(path), flags, Mode::empty())?;
    let mut removed = 0;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_temporary_of(path, name.to_bytes()) {
            continue;
        }
        let found = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode).is_file() {
            rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Which file stands at `path`, links followed; nothing where there is none.
pub fn identity(path: &Path) -> io::Result<Option<Identity>> {
    absent_is_none(fs::metadata(path).map(|metadata| Identity::from(&metadata)))
}

/// The whole text of the regular file at `path`, links followed; nothing where there is none.
///
/// Fails with `InvalidInput` where it is no regular file, with `FileTooLarge` where it is larger than `limit`.
pub fn read(path: &Path, limit: usize) -> io::Result<Option<(Vec<u8>, Identity)>> {
    let Some((bytes, identity)) = read_up_to(path, limit.saturating_add(1), OFlags::empty())? else {
        return Ok(None);
    };
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    Ok(Some((bytes, identity)))
}

/// The first `limit` bytes of the regular file at `path`, which must be no link; nothing where there is none.
///
/// For files that others write and of which only a word matters. Fails with `InvalidInput` where it is no regular file.
pub fn read_start(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    Ok(read_up_to(path, limit, OFlags::NOFOLLOW)?.map(|(bytes, _)| bytes))
}

fn read_up_to(path: &Path, limit: usize, flags: OFlags) -> io::Result<Option<(Vec<u8>, Identity)>> {
    // Opening a FIFO or a terminal must not wait for anyone.
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let Some(file) = absent_is_none(opened)? else {
        return Ok(None);
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(limit.min(metadata.len() as usize + 1));
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(Some((bytes, Identity::from(&metadata))))
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn fill(file: &mut File, bytes: &[u8], durability: Durability) -> io::Result<Identity> {
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    Ok(Identity::from(&file.metadata()?))
}

#[expect(clippy::disallowed_methods, reason = "this is the room that replaces files")]
fn put(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            mode: metadata.mode(),
        }
    }
}

/// The directory that `path` lies in; the current one for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What all temporary names of `path` begin with.
fn temporary_start(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap_or(OsStr::new("")).as_bytes();
    [b".", &name[..name.len().min(CARRIED)], b"."].concat()
}

/// `.NAME.0123456789abcdef.new`, which nobody can foresee.
fn temporary_path(path: &Path) -> PathBuf {
    let mut name = temporary_start(path);
    name.extend(format!("{:016x}.new", rand::random::<u64>()).bytes());
    directory_of(path).join(OsString::from_vec(name))
}

fn is_temporary_of(path: &Path, name: &[u8]) -> bool {
    let random = name.strip_prefix(temporary_start(path).as_slice()).and_then(|rest| rest.strip_suffix(b".new"));
    random.is_some_and(|random| random.len() == 16 && random.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests;
