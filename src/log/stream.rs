//! Whole lines into a descriptor: stdout, or a file that is already open.
//!
//! Promises: nothing but one `write` a batch; after a write that ended inside a line (the disk is full) the next line begins
//! afresh; lines that were not written whole are counted; a descriptor that does not block is waited for, but not for ever.
//! Leaves out: which file it is (`log::rotating_file`), and telling of trouble (`log::queue`).

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::log::queue::{Sink, WriteError};
use crate::sys::poll::poll_until;

/// How long to wait for a descriptor that others have set not to block.
const PATIENCE: Duration = Duration::from_secs(1);

/// A descriptor that lines are written to.
pub struct Stream<F> {
    descriptor: F,
    /// The last thing written is a part of a line.
    torn: bool,
}

/// A write that failed.
#[derive(Debug)]
pub struct Unwritten {
    /// How many bytes were written.
    pub written: usize,
    /// How many of these were whole lines. What is behind them is lost.
    pub whole: usize,
    /// What the kernel says.
    pub source: io::Error,
}

impl<F: AsFd> Stream<F> {
    /// Lines go to the end of `descriptor`.
    pub fn new(descriptor: F) -> Stream<F> {
        Stream { descriptor, torn: false }
    }

    /// Writes `lines`, each of which ends in `\n`.
    pub fn put(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        if self.torn {
            self.write(b"\n").map_err(|(_, source)| Unwritten { written: 0, whole: 0, source })?;
            self.torn = false;
        }
        self.write(lines).map_err(|(written, source)| {
            let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            self.torn = whole < written;
            Unwritten { written, whole, source }
        })
    }

    /// Writes all, or says how much and why not more.
    fn write(&self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(&self.descriptor, &bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.takes_more() => {}
                Err(errno) => return Err((written, errno.into())),
            }
        }
        Ok(())
    }

    fn takes_more(&self) -> bool {
        let mut fds = [PollFd::new(&self.descriptor, PollFlags::OUT)];
        poll_until(&mut fds, Instant::now().checked_add(PATIENCE))
    }
}

impl<F> AsRef<F> for Stream<F> {
    fn as_ref(&self) -> &F {
        &self.descriptor
    }
}

/// How many lines these are.
pub fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Why stdout takes no lines.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}; log lines are lost until it takes them again")]
pub struct StdoutError(#[source] pub io::Error);

impl<F: AsFd + Send + 'static> Sink for Stream<F> {
    fn put(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        self.put(lines).map_err(|Unwritten { whole, source, .. }| WriteError {
            lines: count(&lines[whole..]),
            why: Box::new(StdoutError(source)),
        })
    }
}

#[cfg(test)]
mod tests;
