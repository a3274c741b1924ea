//! Tests with real pipes behind the queue.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::sync::{mpsc, Mutex};

use rustix::pipe::{pipe_with, PipeFlags};

use super::*;
use crate::log::stream::Stream;

struct Setup {
    queue: Queue,
    guard: WorkerGuard,
    reader: OwnedFd,
    lost: Arc<AtomicU64>,
    reports: mpsc::Receiver<(SinkHealth, String)>,
}

fn start_on_a_pipe() -> Setup {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let lost = Arc::<AtomicU64>::default();
    let (sender, reports) = mpsc::channel();
    let sender = Mutex::new(sender);
    let report: Report = Box::new(move |name, health, sentence| {
        assert_eq!(name, "the pipe");
        let _ = sender.lock().unwrap().send((health, sentence.to_string()));
    });
    let (queue, guard) = start("the pipe".into(), Stream::new(writer), lost.clone(), report).unwrap();
    Setup { queue, guard, reader, lost, reports }
}

fn lost(setup: &Setup) -> usize {
    setup.lost.load(Ordering::Relaxed) as usize
}

fn next(setup: &Setup) -> (SinkHealth, String) {
    setup.reports.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < limit, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_stalled_reader_loses_consecutive_lines() {
    let setup = start_on_a_pipe();
    let mut offered = 0;
    while lost(&setup) < 100 {
        setup.queue.offer(format!("line {offered}\n").as_bytes());
        offered += 1;
    }
    assert!(offered >= MAX_QUEUED / MIN_LINE_SIZE + 100, "only {offered} lines of the minimum size were queued");
    assert_eq!(next(&setup), (SinkHealth::Full, "the pipe is too slow: what it cannot take is lost".into()));
    let lines = BufReader::new(File::from(setup.reader.try_clone().unwrap())).lines();
    let kept = offered - 100;
    for (at, line) in lines.take(kept).enumerate() {
        assert_eq!(line.unwrap(), format!("line {at}"));
    }
    setup.queue.offer(b"afterwards\n");
    assert_eq!(next(&setup), (SinkHealth::Working, "the pipe works again; lines lost meanwhile: 100".into()));
    drop(setup.guard);
    assert!(setup.reports.try_recv().is_err(), "a report is repeated");
}

#[test]
fn the_queue_is_bounded_in_bytes_for_long_lines() {
    let setup = start_on_a_pipe();
    let line = [&[b'x'; 8191][..], b"\n"].concat();
    let mut offered = 0;
    while lost(&setup) == 0 {
        setup.queue.offer(&line);
        offered += 1;
    }
    // Besides the queued lines, some are in the pipe and in the batch.
    let max = (MAX_QUEUED + MAX_BATCH_LEN + line.len() + (64 << 10)) / line.len() + 1;
    assert!((MAX_QUEUED / line.len()..=max).contains(&(offered - 1)), "{offered}");
}

#[test]
fn a_closed_pipe_is_reported_once() {
    let Setup { queue, guard, reader, lost, reports } = start_on_a_pipe();
    drop(reader);
    for _ in 0..50 {
        queue.offer(b"lost\n");
    }
    wait_until("the loss", || lost.load(Ordering::Relaxed) == 50);
    queue.offer(b"lost\n");
    drop(guard);
    assert_eq!(lost.load(Ordering::Relaxed), 51);
    let reports: Vec<_> = reports.try_iter().collect();
    assert!(matches!(&reports[..], [(SinkHealth::Failing, why)] if why.contains("Broken pipe")), "{reports:?}");
}

#[test]
fn lines_of_many_threads_stay_whole_and_in_order_or_are_counted() {
    const THREADS: usize = 8;
    const EACH: usize = 20_000;
    let setup = start_on_a_pipe();
    let reader = File::from(setup.reader.try_clone().unwrap());
    let reading = std::thread::spawn(move || {
        let (mut next, mut lines) = ([0; THREADS], 0);
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            if line == "end" {
                break;
            }
            let (thread, number) = line.split_once(' ').unwrap();
            let (thread, number): (usize, usize) = (thread.parse().unwrap(), number.parse().unwrap());
            assert!(number >= next[thread], "line {number} of thread {thread} is out of order");
            next[thread] = number + 1;
            lines += 1;
        }
        lines
    });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let queue = &setup.queue;
            scope.spawn(move || {
                for number in 0..EACH {
                    queue.offer(format!("{thread} {number}\n").as_bytes());
                }
            });
        }
    });
    let queued = || setup.queue.shared.queued.load(Ordering::SeqCst);
    wait_until("an empty queue", || queued() == 0);
    setup.queue.offer(b"end\n");
    let read: usize = reading.join().unwrap();
    assert_eq!(read + lost(&setup), THREADS * EACH);
    assert_eq!(queued(), 0);
}

/// A sink that fails while `full` is set.
struct Disk {
    full: Arc<AtomicBool>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Sink for Disk {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(WriteError {
                lines: crate::log::stream::count_lines(lines),
                why: Box::new(io::Error::other("full")),
            });
        }
        self.written.lock().unwrap().extend(lines);
        Ok(())
    }
}

#[test]
fn a_failure_is_reported_when_it_begins_and_when_it_is_over() {
    let full = Arc::<AtomicBool>::default();
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let total_lost = Arc::<AtomicU64>::default();
    let (sender, reports) = mpsc::channel();
    let sender = Mutex::new(sender);
    let report: Report = Box::new(move |_, health, why| drop(sender.lock().unwrap().send((health, why.to_string()))));
    let shared = Shared {
        name: "disk".into(),
        queued: AtomicUsize::new(0),
        full: AtomicBool::new(false),
        lost: AtomicU64::new(0),
        total_lost: total_lost.clone(),
        report,
    };
    let sink = Disk { full: full.clone(), written: written.clone() };
    let mut writer = BatchWriter { sink, shared: Arc::new(shared), batch: Vec::new(), last_failure: None };
    let put = |writer: &mut BatchWriter<Disk>, line: &[u8]| {
        writer.shared.queued.fetch_add(size(line), Ordering::SeqCst);
        writer.write_all(line).unwrap();
        writer.flush().unwrap();
    };
    let reported = || reports.try_iter().map(|(health, _)| health).collect::<Vec<_>>();
    put(&mut writer, b"one\n");
    assert_eq!(reported(), []);
    full.store(true, Ordering::SeqCst);
    put(&mut writer, b"lost\n");
    put(&mut writer, b"lost\n");
    assert_eq!(reports.try_iter().collect::<Vec<_>>(), [(SinkHealth::Failing, "full".into())]);
    full.store(false, Ordering::SeqCst);
    // The last failure is set to a recent time, then to one that is old enough.
    writer.last_failure = Some(Instant::now() + Duration::from_secs(60));
    put(&mut writer, b"two\n");
    assert_eq!(reported(), [], "one successful write is not yet a recovery");
    writer.last_failure = Some(Instant::now() - RECOVERY_TIME);
    put(&mut writer, b"three\n");
    assert_eq!(
        reports.try_iter().collect::<Vec<_>>(),
        [(SinkHealth::Working, "disk works again; lines lost meanwhile: 2".into())]
    );
    put(&mut writer, b"four\n");
    assert_eq!(reported(), []);
    assert_eq!(&*written.lock().unwrap(), b"one\ntwo\nthree\nfour\n");
    assert_eq!(total_lost.load(Ordering::Relaxed), 2);
}
