//! A log file that is rotated by size: FILE, then FILE.1 … FILE.N, of which FILE.N is the oldest.
//!
//! Guarantees: a file is rotated before the line that would make it reach the limit, as Python's
//! RotatingFileHandler does, and no line is split. Before each batch the file at the path is
//! compared with the open one. If it was moved, deleted or replaced, the path is opened again; if
//! that fails, the open file is still used. Each failed step is retried with the next batch. Only
//! regular files are rotated. If the path is a link, its target is rotated and the link stays. The
//! target of a link such as `/dev/stdout` is not rotated, as another program has it open.
//!
//! Blocking: the target's thread, on the disk.
//!
//! Out of scope: counting lost lines (`log::queue`). The names FILE.1 … FILE.N belong to the log,
//! and FILE.N is overwritten.

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
    /// Maximum size in bytes, which a file does not reach. 0 means no limit.
    pub max_bytes: u64,
    /// Number of rotated files that are kept. 0 means that the file is never rotated, as in the
    /// original.
    pub backups: usize,
}

/// Why lines are lost or the file grows too large. Each error names the file and its option.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The directory is missing or not writable.
    #[error("cannot open {0}: {1}; its lines are lost until that is mended")]
    Open(String, #[source] io::Error),
    /// The disk is full or broken.
    #[error("cannot write to {0}: {1}; its lines are lost until that is mended")]
    Write(String, #[source] io::Error),
    /// The directory is not writable, or the path is a link without a regular target.
    #[error("cannot rotate {0}: {1}; it grows beyond log_maxbytes meanwhile")]
    Rotate(String, #[source] io::Error),
}

/// A log file. It is opened when the first line is written.
pub struct RotatingFile {
    name: String,
    path: PathBuf,
    rotation: Rotation,
    open: Option<OpenFile>,
}

/// The open file.
struct OpenFile {
    stream: Stream<File>,
    /// Whether it can be rotated.
    can_rotate: bool,
    size: u64,
}

impl RotatingFile {
    /// Creates a log file at `path` without opening it. Errors call it `name`.
    pub fn new(name: String, path: PathBuf, rotation: Rotation) -> RotatingFile {
        RotatingFile { name, path, rotation, open: None }
    }

    /// Returns the open file with its current size. Opens it again if the path leads to another
    /// file.
    fn open(&mut self) -> io::Result<&mut OpenFile> {
        let open = match self.open.take() {
            Some(mut open) => match fs::metadata(&self.path) {
                Ok(current) if is_same(&current, &open.stream.as_ref().metadata()?) => {
                    open.size = current.len();
                    open
                }
                // A file that was moved is better than none.
                _ => match open_at(&self.path) {
                    Err(_) if open.stream.as_ref().metadata()?.nlink() > 0 => open,
                    result => result?,
                },
            },
            None => open_at(&self.path)?,
        };
        Ok(self.open.insert(open))
    }

    /// Renames each file to the next number, including the open one, and opens a new one.
    ///
    /// Files after a gap in the numbers keep their names. If a rename fails, no file is
    /// overwritten.
    #[expect(clippy::disallowed_methods, reason = "complete files are renamed, and no content is replaced")]
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

    fn lost(&self, lines: &[u8], error: fn(String, io::Error) -> FileError, source: io::Error) -> WriteError {
        WriteError { lines: stream::count_lines(lines), why: Box::new(error(self.name.clone(), source)) }
    }
}

impl Sink for RotatingFile {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        let Rotation { max_bytes, backups } = self.rotation;
        let mut limited = max_bytes > 0 && backups > 0;
        let mut remaining = lines;
        let mut rotation_result = Ok(());
        let opened = self.open().map(|open| limited &= open.can_rotate);
        opened.map_err(|source| self.lost(remaining, FileError::Open, source))?;
        while let Some(open) = self.open.as_mut().filter(|_| !remaining.is_empty()) {
            let fitting = if limited {
                fitting_len(remaining, max_bytes.saturating_sub(open.size), open.size == 0)
            } else {
                remaining.len()
            };
            if fitting == 0 {
                if let Err(source) = self.rotate() {
                    rotation_result = Err(self.lost(b"", FileError::Rotate, source));
                    limited = false;
                }
                continue;
            }
            let (now, later) = remaining.split_at(fitting);
            if let Err(Unwritten { written, whole, source }) = open.stream.write_lines(now) {
                open.size += written as u64;
                return Err(self.lost(&remaining[whole..], FileError::Write, source));
            }
            open.size += now.len() as u64;
            remaining = later;
        }
        rotation_result
    }
}

/// Returns the length of the whole lines that together are shorter than `below`. The first line
/// always fits an empty file.
fn fitting_len(lines: &[u8], below: u64, empty: bool) -> usize {
    let mut len = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let fits = ((len + line.len()) as u64) < below || (empty && len == 0);
        if !fits {
            break;
        }
        len += line.len();
    }
    len
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn open_at(path: &Path) -> io::Result<OpenFile> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let metadata = file.metadata()?;
    let can_rotate = metadata.is_file() && links::target(path).is_some();
    Ok(OpenFile { stream: Stream::new(file), can_rotate, size: metadata.len() })
}

#[cfg(test)]
mod tests;
