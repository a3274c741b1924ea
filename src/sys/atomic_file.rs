//! Replaces files as a whole, and reads regular files. This is the only module that replaces files.
//!
//! Guarantees: a reader sees the old content or the new content, never a part, even after a crash
//! (if the replacement is synced). The mode is [`MODE`] whatever the umask and the old mode, as
//! BIRD and node_exporter read as other users. A failure leaves the old file unchanged and no
//! temporary file. A temporary file of a killed process is found by its name, which contains the
//! target's name, begins with a dot and ends in `.new`, so that neither BIRD's `include` nor
//! node_exporter reads it. Only regular files are read, so that no FIFO or device can block a
//! thread.
//!
//! Blocking: the caller, on the disk.
//!
//! Out of scope: symbolic links. The given name is replaced; a caller that means the link's target
//! resolves it before.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// Mode of every replaced file: readable by all users, writable by the owner.
pub const MODE: u32 = 0o644;

/// Maximum length of the target's name in a temporary name, which as a whole must not exceed 255
/// bytes.
const MAX_TARGET_NAME_LEN: usize = 200;

/// Whether the new content is synced to disk before it replaces the old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is synced: after a power failure the file holds the old content or the new.
    Synced,
    /// It is not synced, for a file that is rewritten every few seconds.
    Unsynced,
}

/// Identifies a file and its content. It differs once the file is replaced, rewritten or covered by
/// a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification: seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
}

/// Why a file was not replaced. The old file is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The directory is missing, full or not writable.
    #[error("cannot create a temporary file in {directory}: {source}", directory = .directory.display())]
    Create {
        /// The file's directory.
        directory: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The disk is full or broken.
    #[error("cannot write the new {path}: {source}", path = .path.display())]
    Write {
        /// The file to be replaced.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The target is a directory, or the target's directory is not writable.
    #[error("cannot put the new {path} in its place: {source}", path = .path.display())]
    Rename {
        /// The file to be replaced.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
}

/// Replaces the file at `path` with `bytes`, or creates it. The directory is not synced, see
/// [`sync_directory_of`].
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<Identity, ReplaceError> {
    let temporary = temporary_path(path);
    // Exclusive creation does not follow a planted link.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|source| ReplaceError::Create { directory: directory_of(path).into(), source })?;
    let result = fill(&mut file, bytes, durability)
        .map_err(|source| ReplaceError::Write { path: path.into(), source })
        .and_then(|identity| {
            rename(&temporary, path).map_err(|source| ReplaceError::Rename { path: path.into(), source })?;
            Ok(identity)
        });
    if result.is_err() {
        // If this fails too, the next start removes the temporary file.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Syncs the directory of `path`, so that its last [`replace`] survives a power failure.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Removes the temporary files that killed processes left for `path` and returns their number. Only
/// regular files are removed.
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
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode).is_file() {
            rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Identifies the file at `path`, following links. `None` if it does not exist.
pub fn identity(path: &Path) -> io::Result<Option<Identity>> {
    absent_is_none(fs::metadata(path).map(|metadata| Identity::from(&metadata)))
}

/// Reads the whole regular file at `path`, following links. `None` if it does not exist.
///
/// # Errors
/// `InvalidInput` if it is not a regular file, `FileTooLarge` if it is larger than `limit` bytes.
pub fn read(path: &Path, limit: usize) -> io::Result<Option<(Vec<u8>, Identity)>> {
    let Some((bytes, identity)) = read_up_to(path, limit.saturating_add(1), OFlags::empty())? else {
        return Ok(None);
    };
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    Ok(Some((bytes, identity)))
}

/// Reads the first `limit` bytes of the regular file at `path`, which must not be a link. `None` if
/// it does not exist.
///
/// It is meant for files that other programs write and of which only the first word matters.
///
/// # Errors
/// `InvalidInput` if it is not a regular file.
pub fn read_start(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    Ok(read_up_to(path, limit, OFlags::NOFOLLOW)?.map(|(bytes, _)| bytes))
}

fn read_up_to(path: &Path, limit: usize, flags: OFlags) -> io::Result<Option<(Vec<u8>, Identity)>> {
    // Opening a FIFO or a terminal must not block.
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

#[expect(clippy::disallowed_methods, reason = "this is the module that replaces files")]
fn rename(temporary: &Path, path: &Path) -> io::Result<()> {
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

/// Returns the directory of `path`; for a bare name the current directory.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the prefix of all temporary names of `path`.
fn temporary_prefix(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap_or(OsStr::new("")).as_bytes();
    [b".", &name[..name.len().min(MAX_TARGET_NAME_LEN)], b"."].concat()
}

/// Returns a random temporary path: `.NAME.0123456789abcdef.new`.
fn temporary_path(path: &Path) -> PathBuf {
    let mut name = temporary_prefix(path);
    name.extend(format!("{:016x}.new", rand::random::<u64>()).bytes());
    directory_of(path).join(OsString::from_vec(name))
}

fn is_temporary_of(path: &Path, name: &[u8]) -> bool {
    let random = name.strip_prefix(temporary_prefix(path).as_slice()).and_then(|suffix| suffix.strip_suffix(b".new"));
    random.is_some_and(|random| random.len() == 16 && random.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests;
