//! A bounded queue in front of one target, with the target's thread behind it, and a count of the
//! lost lines.
//!
//! Guarantees: queued lines are bounded in bytes ([`MAX_QUEUED`]). A full queue accepts no line
//! until it is empty again, so that the lost lines are consecutive and the log says where. Lines
//! that a sink does not write are lost and counted. A failure is reported once when it begins and
//! once when it is over, and each later batch is tried again. After the first line of a quiet time,
//! the lines of the next [`BATCH_WINDOW`] are written together.
//!
//! `tracing-appender` does the queueing. This module makes up for three of its properties: its
//! worker discards a writer's errors, so none is returned to it; when it is dropped with a full
//! queue it prints to stdout, which can block or panic, so its queue never fills; and it panics if
//! no thread can be spawned, which [`start`] catches.
//!
//! Blocking: [`Queue::offer`] never; the target's thread, on its sink.
//!
//! Shutdown: dropping the guard writes the queued lines and ends the thread, within 1.1 s.
//!
//! Out of scope: the sinks (`log::targets` and the modules it uses), and where reports go.

use std::error::Error;
use std::io::{self, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Maximum number of bytes queued for one target: 8,192 lines of the usual length.
pub const MAX_QUEUED: usize = 2 << 20;

/// Time for which lines are collected after a batch is written.
///
/// So under load one wake-up and one write serve many lines, and a failing sink is called at most a
/// hundred times a second.
pub const BATCH_WINDOW: Duration = Duration::from_millis(10);

/// Minimum number of bytes that a line counts in the queue, for its slot and its allocation.
const MIN_LINE_SIZE: usize = 256;

/// Size at which a batch is written even if more lines are queued.
const MAX_BATCH_LEN: usize = 64 << 10;

/// Time after the last failure until a successful write ends the problem.
///
/// A disk with a few bytes free accepts every other line, which is reported as one problem.
const RECOVERY_TIME: Duration = Duration::from_secs(1);

/// Writes lines to their destination. It may block without limit.
pub trait Sink: Send + 'static {
    /// Writes whole lines, each with its terminator.
    ///
    /// # Errors
    /// Lines are lost, or another problem occurred.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), WriteError>;
}

/// Lines that a [`Sink`] could not write, or another problem of it.
#[derive(Debug)]
pub struct WriteError {
    /// Number of lost lines. Zero if the problem costs no line.
    pub lines: u64,
    /// The reason, for the operator.
    pub why: Box<dyn Error + Send>,
}

/// The state of a target, as reported to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkHealth {
    /// The sink cannot write. Reported by the target's thread.
    Failing,
    /// The queue is full. Reported by the thread whose line is lost.
    Full,
    /// The problem is over. Reported by either thread.
    Working,
}

/// Callback for reports: gets the target's name, its health and a sentence for the operator. It
/// must not block.
pub type Report = Box<dyn Fn(&str, SinkHealth, &str) + Send + Sync>;

/// The sending end of a queue. Clones are the same queue.
#[derive(Clone)]
pub struct Queue {
    sender: NonBlocking,
    shared: Arc<Shared>,
}

/// State shared by the queue and its thread.
struct Shared {
    name: String,
    /// Size of the queued lines, by [`size`].
    queued: AtomicUsize,
    /// Whether lines are refused until the queue is empty.
    full: AtomicBool,
    /// Lines lost since the last report of [`SinkHealth::Working`].
    lost: AtomicU64,
    /// Lines lost by all targets.
    total_lost: Arc<AtomicU64>,
    report: Report,
}

/// Starts a queue and its thread for the target `name`. Lost lines are added to `total_lost`.
///
/// Dropping the guard writes the queued lines, for 1.1 s at most, and ends the queue. `None` if no
/// thread can be spawned.
pub fn start(
    name: String,
    sink: impl Sink,
    total_lost: Arc<AtomicU64>,
    report: Report,
) -> Option<(Queue, WorkerGuard)> {
    let shared = Arc::new(Shared {
        name,
        queued: AtomicUsize::new(0),
        full: AtomicBool::new(false),
        lost: AtomicU64::new(0),
        total_lost,
        report,
    });
    let writer = BatchWriter { sink, shared: shared.clone(), batch: Vec::new(), last_failure: None };
    // One slot more than lines can be queued, for the message that ends the thread.
    let builder = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_QUEUED / MIN_LINE_SIZE + 1)
        .thread_name("log");
    let (sender, guard) = catch_unwind(AssertUnwindSafe(|| builder.finish(writer))).ok()?;
    Some((Queue { sender, shared }, guard))
}

impl Queue {
    /// Queues a line, which includes its terminator, or counts it as lost.
    pub fn offer(&self, line: &[u8]) {
        let Shared { queued, full, .. } = &*self.shared;
        if full.load(Ordering::SeqCst) {
            if queued.load(Ordering::SeqCst) > 0 {
                return self.shared.lose(1);
            }
            // This report takes the place of the lost lines in the log.
            if full.swap(false, Ordering::SeqCst) {
                self.shared.report_recovery();
            }
        }
        let size = size(line);
        if queued.fetch_add(size, Ordering::SeqCst) + size > MAX_QUEUED {
            queued.fetch_sub(size, Ordering::SeqCst);
            self.shared.lose(1);
            if !full.swap(true, Ordering::SeqCst) {
                let name = &self.shared.name;
                self.shared.report(SinkHealth::Full, &format!("{name} is too slow: what it cannot take is lost"));
            }
            return;
        }
        // It cannot fail: a slot is free, and the thread ends only after the last line.
        let _ = self.sender.clone().write_all(line);
    }

    /// Returns the target's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

impl Shared {
    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.total_lost.fetch_add(lines, Ordering::Relaxed);
    }

    fn report_recovery(&self) {
        let (name, lost) = (&self.name, self.lost.swap(0, Ordering::Relaxed));
        self.report(SinkHealth::Working, &format!("{name} works again; lines lost meanwhile: {lost}"));
    }

    fn report(&self, health: SinkHealth, sentence: &str) {
        (self.report)(&self.name, health, sentence);
    }
}

/// Returns the size that a line counts while it is queued.
fn size(line: &[u8]) -> usize {
    line.len().max(MIN_LINE_SIZE)
}

/// The writer that the target's thread calls: collects lines into batches for the sink.
struct BatchWriter<S> {
    sink: S,
    shared: Arc<Shared>,
    batch: Vec<u8>,
    /// Time of the last failure, while the problem lasts.
    last_failure: Option<Instant>,
}

impl<S: Sink> BatchWriter<S> {
    fn write_batch(&mut self) {
        let result = self.sink.write_lines(&self.batch);
        self.batch.clear();
        match result {
            Err(WriteError { lines, why }) => {
                self.shared.lose(lines);
                if self.last_failure.replace(Instant::now()).is_none() {
                    self.shared.report(SinkHealth::Failing, &why.to_string());
                }
            }
            Ok(()) if self.last_failure.is_some_and(|last| last.elapsed() >= RECOVERY_TIME) => {
                self.last_failure = None;
                self.shared.report_recovery();
            }
            Ok(()) => {}
        }
    }
}

impl<S: Sink> Write for BatchWriter<S> {
    /// Collects a line. `tracing-appender`'s worker calls this for each line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.queued.fetch_sub(size(line), Ordering::SeqCst);
        self.batch.extend_from_slice(line);
        if self.batch.len() >= MAX_BATCH_LEN {
            self.write_batch();
        }
        Ok(line.len())
    }

    /// Writes the batch. The worker calls this when the queue is empty.
    fn flush(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.write_batch();
            std::thread::sleep(BATCH_WINDOW);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
