//! Writes whole lines to a descriptor: stdout, or an open file.
//!
//! Guarantees: one `write` call per batch. After a write that ended inside a line (such as on a
//! full disk), the next line starts on a new line. Lines that were not written completely are
//! counted.
//!
//! Blocking: the caller, on the descriptor; for a nonblocking descriptor at most [`WRITE_TIMEOUT`]
//! per wait.
//!
//! Out of scope: which file it is (`log::rotating_file`), and reporting failures (`log::queue`).

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::log::queue::{Sink, WriteError};
use crate::sys::poll::poll_until;

/// Maximum time to wait for a descriptor that another process has made nonblocking.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// A descriptor that lines are written to.
pub struct Stream<F> {
    descriptor: F,
    /// Whether the last write ended inside a line.
    in_partial_line: bool,
}

/// A write that failed.
#[derive(Debug)]
pub struct Unwritten {
    /// Number of written bytes.
    pub written: usize,
    /// Number of these bytes that form whole lines. The rest is lost.
    pub whole: usize,
    /// The error of the system call.
    pub source: io::Error,
}

impl<F: AsFd> Stream<F> {
    /// Creates a stream that writes to `descriptor`.
    pub fn new(descriptor: F) -> Stream<F> {
        Stream { descriptor, in_partial_line: false }
    }

    /// Writes `lines`, each of which ends in `\n`.
    ///
    /// # Errors
    /// How much was written before a system call failed.
    pub fn write_lines(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        if self.in_partial_line {
            self.write(b"\n").map_err(|(_, source)| Unwritten { written: 0, whole: 0, source })?;
            self.in_partial_line = false;
        }
        self.write(lines).map_err(|(written, source)| {
            let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            self.in_partial_line = whole < written;
            Unwritten { written, whole, source }
        })
    }

    /// Writes all bytes. The error holds the number of written bytes.
    fn write(&self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(&self.descriptor, &bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.wait_until_writable() => {}
                Err(errno) => return Err((written, errno.into())),
            }
        }
        Ok(())
    }

    /// Waits until the descriptor is writable. Returns false if that takes too long.
    fn wait_until_writable(&self) -> bool {
        let mut fds = [PollFd::new(&self.descriptor, PollFlags::OUT)];
        poll_until(&mut fds, Instant::now().checked_add(WRITE_TIMEOUT))
    }
}

impl<F> AsRef<F> for Stream<F> {
    fn as_ref(&self) -> &F {
        &self.descriptor
    }
}

/// Returns the number of lines.
pub fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Lines could not be written to stdout.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}; log lines are lost until it takes them again")]
pub struct StdoutError(#[source] pub io::Error);

impl<F: AsFd + Send + 'static> Sink for Stream<F> {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        self.write_lines(lines).map_err(|Unwritten { whole, source, .. }| WriteError {
            lines: count_lines(&lines[whole..]),
            why: Box::new(StdoutError(source)),
        })
    }
}

#[cfg(test)]
mod tests;
