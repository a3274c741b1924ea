//! Captures the end of one output of a program.
//!
//! Guarantees: memory is bounded whatever the program writes.
//!
//! Blocking: [`Capture::read`], if the pipe is not readable.
//!
//! Out of scope: waiting for the pipe to become readable (`sys::process`).

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::sys::poll::poll_until;

/// Minimum number of bytes that one read has space for.
const READ_SIZE: usize = 4096;

/// Maximum number of reads from an output after the process has exited: enough to empty the largest
/// pipe.
const MAX_FINAL_READS: usize = 1024 * 1024 / READ_SIZE;

/// The last bytes of an output. Programs report what failed at the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CapturedOutput {
    /// At most [`Limits::max_output`](super::Limits::max_output) bytes.
    pub bytes: Vec<u8>,
}

/// The reading end of one output, and what was read from it.
pub(super) struct Capture {
    pub(super) pipe: OwnedFd,
    output: CapturedOutput,
    /// The pipe may hold more.
    pub(super) more: bool,
}

impl Capture {
    /// Creates a capture that has read nothing yet.
    pub(super) fn new(pipe: OwnedFd) -> Capture {
        Capture { pipe, output: CapturedOutput::default(), more: true }
    }

    /// Reads once from a pipe that is known to be readable. Returns whether it may hold more.
    pub(super) fn read(&mut self, max_output: usize) -> bool {
        let bytes = &mut self.output.bytes;
        bytes.reserve(READ_SIZE);
        let space = bytes.capacity() - bytes.len();
        let count = rustix::io::read(&self.pipe, rustix::buffer::spare_capacity(bytes)).unwrap_or(0);
        // Trimmed only at twice the limit, so that no byte is moved more than once.
        if bytes.len() > max_output.saturating_mul(2) {
            self.trim(max_output);
        }
        count == space
    }

    /// Drops all but the last `max_output` bytes.
    fn trim(&mut self, max_output: usize) {
        let surplus = self.output.bytes.len().saturating_sub(max_output);
        self.output.bytes.drain(..surplus);
    }

    /// Reads what the pipe still holds, without blocking.
    ///
    /// The number of reads is limited, as a process that left the group may still be writing.
    pub(super) fn finish(mut self, max_output: usize) -> CapturedOutput {
        for _ in 0..MAX_FINAL_READS {
            if !self.more || !poll_until(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(Instant::now())) {
                break;
            }
            self.more = self.read(max_output);
        }
        self.trim(max_output);
        self.output
    }
}
