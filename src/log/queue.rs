//! A bounded queue in front of one target, with the target's thread behind it, and the account of what is lost.
//!
//! Promises: [`Queue::offer`] never waits. What waits is bounded in bytes ([`MAX_QUEUED`]). A queue that was full takes nothing
//! until it is empty again, so that what is lost is one piece and can be told in its place. What a target refuses
//! is lost and counted; the trouble is reported once when it begins and once when it is over; the next lines are tried.
//! After the first line of a quiet time, those of the next [`BATCH_WINDOW`] are written together.
//! `tracing-appender` does the queueing; what it cannot do is done here: its worker swallows a target's errors, so
//! none ever reaches it; when dropped with a full queue it prints to stdout, which can block or panic, so the
//! queue never fills; it panics where no thread can be created, which [`start`] catches.
//! Leaves out: the targets (`log::targets` and the rooms it uses) and where reports go.

use std::error::Error;
use std::io::{self, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// How many bytes may wait for one target, 8,192 lines of the usual length.
pub const MAX_QUEUED: usize = 2 << 20;

/// How long lines are gathered after a batch is written: under load one wake-up and one write serve many, and what
/// fails is tried again a hundred times a second at most.
pub const BATCH_WINDOW: Duration = Duration::from_millis(10);

/// What a line counts at least: its place in the queue, its allocation.
const LEAST: usize = 256;

/// The size at which a batch is written although more lines wait.
const BATCH: usize = 64 << 10;

/// Trouble is over when a write succeeds this long after the last failure: a disk that is full up to a few bytes
/// takes every other line, and that is one trouble.
const SETTLED: Duration = Duration::from_secs(1);

/// What takes lines in the end. It may block as long as it likes.
pub trait Sink: Send + 'static {
    /// Takes some whole lines, each with its end.
    fn put(&mut self, lines: &[u8]) -> Result<(), WriteError>;
}

/// What an [`Sink`] could not do.
#[derive(Debug)]
pub struct WriteError {
    /// How many lines are lost. It may be none, where the trouble is another one.
    pub lines: u64,
    /// Why, for the operator.
    pub why: Box<dyn Error + Send>,
}

/// What the operator is told of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkHealth {
    /// The target refuses lines. Told by the target's thread.
    Fails,
    /// Lines come faster than the target takes them. Told by the thread whose line found no room.
    IsFull,
    /// The trouble is over. Told by either.
    Works,
}

/// What a queue reports to: gets the target's name, the news and the sentence for the operator. It must not block.
pub type Report = Box<dyn Fn(&str, SinkHealth, &str) + Send + Sync>;

/// The end of a queue that lines go into; clones are the same queue.
#[derive(Clone)]
pub struct Queue {
    sender: NonBlocking,
    account: Arc<Account>,
}

struct Account {
    name: String,
    waiting: AtomicUsize,
    full: AtomicBool,
    lost: AtomicU64,
    lost_by_all: Arc<AtomicU64>,
    report: Report,
}

/// Starts the thread of the target `name`, which stands in reports. Lost lines are added to `lost_by_all`.
///
/// The queue ends with the guard: dropping that waits for the lines that wait, 1.1 s at most. Nothing where no
/// thread can be created.
pub fn start(
    name: String,
    outlet: impl Sink,
    lost_by_all: Arc<AtomicU64>,
    report: Report,
) -> Option<(Queue, WorkerGuard)> {
    let (waiting, full, lost) = Default::default();
    let account = Arc::new(Account { name, waiting, full, lost, lost_by_all, report });
    let drain = Drain { outlet, account: account.clone(), batch: Vec::new(), failed: None };
    // One place more than lines can wait, for the message that ends the thread.
    let builder =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_QUEUED / LEAST + 1).thread_name("log");
    let (sender, guard) = catch_unwind(AssertUnwindSafe(|| builder.finish(drain))).ok()?;
    Some((Queue { sender, account }, guard))
}

impl Queue {
    /// Queues a line, its end included, or counts it as lost.
    pub fn offer(&self, line: &[u8]) {
        let Account { waiting, full, .. } = &*self.account;
        if full.load(Ordering::SeqCst) {
            if waiting.load(Ordering::SeqCst) > 0 {
                return self.account.lose(1);
            }
            // What is said here stands where the lost lines would.
            if full.swap(false, Ordering::SeqCst) {
                self.account.works();
            }
        }
        let size = size(line);
        if waiting.fetch_add(size, Ordering::SeqCst) + size > MAX_QUEUED {
            waiting.fetch_sub(size, Ordering::SeqCst);
            self.account.lose(1);
            if !full.swap(true, Ordering::SeqCst) {
                let name = &self.account.name;
                self.account.report(SinkHealth::IsFull, &format!("{name} is too slow: what it cannot take is lost"));
            }
            return;
        }
        // It cannot fail: there is room, and the thread behind it ends after the last line only.
        let _ = self.sender.clone().write_all(line);
    }

    /// The name that was given.
    pub fn name(&self) -> &str {
        &self.account.name
    }
}

impl Account {
    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.lost_by_all.fetch_add(lines, Ordering::Relaxed);
    }

    fn works(&self) {
        let (name, lost) = (&self.name, self.lost.swap(0, Ordering::Relaxed));
        self.report(SinkHealth::Works, &format!("{name} works again; lines lost meanwhile: {lost}"));
    }

    fn report(&self, news: SinkHealth, sentence: &str) {
        (self.report)(&self.name, news, sentence);
    }
}

/// What a line counts while it waits.
fn size(line: &[u8]) -> usize {
    line.len().max(LEAST)
}

/// What the target's thread does.
struct Drain<O> {
    outlet: O,
    account: Arc<Account>,
    batch: Vec<u8>,
    failed: Option<Instant>,
}

impl<O: Sink> Drain<O> {
    fn put(&mut self) {
        let put = self.outlet.put(&self.batch);
        self.batch.clear();
        match put {
            Err(WriteError { lines, why }) => {
                self.account.lose(lines);
                if self.failed.replace(Instant::now()).is_none() {
                    self.account.report(SinkHealth::Fails, &why.to_string());
                }
            }
            Ok(()) if self.failed.is_some_and(|last| last.elapsed() >= SETTLED) => {
                self.failed = None;
                self.account.works();
            }
            Ok(()) => {}
        }
    }
}

impl<O: Sink> Write for Drain<O> {
    /// The worker calls this for each line ...
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.account.waiting.fetch_sub(size(line), Ordering::SeqCst);
        self.batch.extend_from_slice(line);
        if self.batch.len() >= BATCH {
            self.put();
        }
        Ok(line.len())
    }

    /// ... and this when no more lines wait.
    fn flush(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.put();
            std::thread::sleep(BATCH_WINDOW);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
