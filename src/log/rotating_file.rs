//! A log file that is rotated by size: FILE, then FILE.1 … FILE.N, the oldest last.
//!
//! Promises: a file is moved aside before the line that would make it reach the limit, as Python's
//! RotatingFileHandler does, and no line is cut in two. Each batch first looks whether the file at
//! the path is still the one that is open: moved, deleted or replaced by others, it is opened
//! again; where it cannot be, the moved one is used on. Whatever fails is tried again with the next
//! batch. Only regular files are rotated; where the name is a link, its target is, and the link
//! stays. What a link like `/dev/stdout` leads to is not rotated, as it is open elsewhere.
//! Leaves out: what is lost meanwhile (`log::queue`). The names FILE.1 … FILE.N belong to the log: the last is overwritten.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::log::queue::{Sink, WriteError};
use crate::log::stream::{self, Stream, Unwritten};
use crate::sys::links;

/// When a file is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before it would reach this size, in bytes; 0: never.
    pub max_bytes: u64,
    /// How many rotated files are kept; 0: none, the file grows for ever, as the original's.
    pub backups: usize,
}

/// Why lines are lost, or the file grows too large. Each names the file and the option that does.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The directory is missing, or may not be written.
    #[error("cannot open {0}: {1}; its lines are lost until that is mended")]
    Open(String, #[source] io::Error),
    /// The disk is full or broken.
    #[error("cannot write to {0}: {1}; its lines are lost until that is mended")]
    Write(String, #[source] io::Error),
    /// The directory may not be changed.
    #[error("cannot rotate {0}: {1}; it grows beyond log_maxbytes meanwhile")]
    Rotate(String, #[source] io::Error),
}

/// A log file. It is opened with the first line.
pub struct RotatingFile {
    name: String,
    path: PathBuf,
    rotation: Rotation,
    open: Option<Open>,
}

struct Open {
    stream: Stream<File>,
    /// It can be rotated.
    regular: bool,
    size: u64,
}

impl RotatingFile {
    /// The file at `path`, which errors call `name`.
    pub fn new(name: String, path: PathBuf, rotation: Rotation) -> RotatingFile {
        RotatingFile { name, path, rotation, open: None }
    }

    /// The file at the path, open, and as large as it is now.
    fn open(&mut self) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(mut open) => match fs::metadata(&self.path) {
                Ok(found) if is_same(&found, &open.stream.as_ref().metadata()?) => {
                    open.size = found.len();
                    open
                }
                // A file that has another name by now is better than none.
                _ => match open_at(&self.path) {
                    Err(_) if open.stream.as_ref().metadata()?.nlink() > 0 => open,
                    opened => opened?,
                },
            },
            None => open_at(&self.path)?,
        };
        Ok(self.open.insert(open))
    }

    /// Moves the files up by one, the open one included, and opens a new one.
    ///
    /// Those behind a gap stay, and where moving fails nothing is overwritten.
    #[expect(clippy::disallowed_methods, reason = "files that are complete are moved aside, no text is replaced")]
    fn rotate(&mut self) -> io::Result<()> {
        let no_target = || io::Error::new(io::ErrorKind::InvalidInput, "it is a link without a target of its own");
        let target = links::target(&self.path).ok_or_else(no_target)?;
        let backup = |n: usize| {
            let mut name = target.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        let free = (1..self.rotation.backups).find(|n| !backup(*n).exists()).unwrap_or(self.rotation.backups);
        for n in (1..free).rev() {
            fs::rename(backup(n), backup(n + 1))?;
        }
        fs::rename(&target, backup(1))?;
        self.open = Some(open_at(&self.path)?);
        Ok(())
    }

    fn loss(&self, lines: &[u8], error: fn(String, io::Error) -> FileError, source: io::Error) -> WriteError {
        WriteError { lines: stream::count(lines), why: Box::new(error(self.name.clone(), source)) }
    }
}

impl Sink for RotatingFile {
    fn put(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        let Rotation { max_bytes, backups } = self.rotation;
        let mut limited = max_bytes > 0 && backups > 0;
        let (mut rest, mut not_rotated) = (lines, Ok(()));
        let opened = self.open().map(|open| limited &= open.regular);
        opened.map_err(|source| self.loss(rest, FileError::Open, source))?;
        while let Some(open) = self.open.as_mut().filter(|_| !rest.is_empty()) {
            let room =
                if limited { room_for(rest, max_bytes.saturating_sub(open.size), open.size == 0) } else { rest.len() };
            if room == 0 {
                if let Err(source) = self.rotate() {
                    not_rotated = Err(self.loss(b"", FileError::Rotate, source));
                    limited = false;
                }
                continue;
            }
            let (now, later) = rest.split_at(room);
            if let Err(Unwritten { written, whole, source }) = open.stream.put(now) {
                open.size += written as u64;
                return Err(self.loss(&rest[whole..], FileError::Write, source));
            }
            open.size += now.len() as u64;
            rest = later;
        }
        not_rotated
    }
}

/// How many bytes of `lines` are whole lines and together less than `below`; in an empty file the first one always fits.
fn room_for(lines: &[u8], below: u64, empty: bool) -> usize {
    let mut room = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let fits = ((room + line.len()) as u64) < below || (empty && room == 0);
        if !fits {
            break;
        }
        room += line.len();
    }
    room
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn open_at(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let metadata = file.metadata()?;
    let regular = metadata.is_file() && links::target(path).is_some();
    Ok(Open { stream: Stream::new(file), regular, size: metadata.len() })
}

#[cfg(test)]
mod tests;
