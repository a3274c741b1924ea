//! Real pipes behind the queue.

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
    news: mpsc::Receiver<(SinkHealth, String)>,
}

fn start_on_a_pipe() -> Setup {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (lost, (tell, news)) = (Arc::<AtomicU64>::default(), mpsc::channel());
    let tell = Mutex::new(tell);
    let report: Report = Box::new(move |name, news, sentence| {
        assert_eq!(name, "the pipe");
        let _ = tell.lock().unwrap().send((news, sentence.to_string()));
    });
    let (queue, guard) = start("the pipe".into(), Stream::new(writer), lost.clone(), report).unwrap();
    Setup { queue, guard, reader, lost, news }
}

fn lost(setup: &Setup) -> usize {
    setup.lost.load(Ordering::Relaxed) as usize
}

fn next(setup: &Setup) -> (SinkHealth, String) {
    setup.news.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < limit, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_reader_that_sleeps_costs_one_piece_of_the_log() {
    let setup = start_on_a_pipe();
    let mut offered = 0;
    while lost(&setup) < 100 {
        setup.queue.offer(format!("line {offered}\n").as_bytes());
        offered += 1;
    }
    assert!(offered >= MAX_QUEUED / LEAST + 100, "{offered} lines of the least size have a place");
    assert_eq!(next(&setup), (SinkHealth::IsFull, "the pipe is too slow: what it cannot take is lost".into()));
    let lines = BufReader::new(File::from(setup.reader.try_clone().unwrap())).lines();
    let kept = offered - 100;
    for (at, line) in lines.take(kept).enumerate() {
        assert_eq!(line.unwrap(), format!("line {at}"));
    }
    setup.queue.offer(b"afterwards\n");
    assert_eq!(next(&setup), (SinkHealth::Works, "the pipe works again; lines lost meanwhile: 100".into()));
    drop(setup.guard);
    assert!(setup.news.try_recv().is_err(), "nothing is told twice");
}

#[test]
fn long_lines_are_bounded_too() {
    let setup = start_on_a_pipe();
    let line = [&[b'x'; 8191][..], b"\n"].concat();
    let mut offered = 0;
    while lost(&setup) == 0 {
        setup.queue.offer(&line);
        offered += 1;
    }
    // Beside those that wait, some are in the pipe and in the batch.
    let most = (MAX_QUEUED + BATCH + line.len() + (64 << 10)) / line.len() + 1;
    assert!((MAX_QUEUED / line.len()..=most).contains(&(offered - 1)), "{offered}");
}

#[test]
fn a_closed_pipe_is_told_once() {
    let Setup { queue, guard, reader, lost, news } = start_on_a_pipe();
    drop(reader);
    for _ in 0..50 {
        queue.offer(b"lost\n");
    }
    wait_until("the loss", || lost.load(Ordering::Relaxed) == 50);
    queue.offer(b"lost\n");
    drop(guard);
    assert_eq!(lost.load(Ordering::Relaxed), 51);
    let news: Vec<_> = news.try_iter().collect();
    assert!(matches!(&news[..], [(SinkHealth::Fails, why)] if why.contains("Broken pipe")), "{news:?}");
}

#[test]
fn of_many_threads_every_line_comes_whole_in_its_order_or_is_counted() {
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
            assert!(number >= next[thread], "line {number} of thread {thread} came late");
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
    let waiting = || setup.queue.account.waiting.load(Ordering::SeqCst);
    wait_until("an empty queue", || waiting() == 0);
    setup.queue.offer(b"end\n");
    let read: usize = reading.join().unwrap();
    assert_eq!(read + lost(&setup), THREADS * EACH);
    assert_eq!(waiting(), 0);
}

/// Fails as long as it is told to.
struct Disk {
    full: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Sink for Disk {
    fn put(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(WriteError {
                lines: crate::log::stream::count(lines),
                why: Box::new(io::Error::other("full")),
            });
        }
        self.taken.lock().unwrap().extend(lines);
        Ok(())
    }
}

#[test]
fn trouble_is_told_when_it_begins_and_when_it_is_over() {
    let (full, taken): (Arc<AtomicBool>, Arc<Mutex<Vec<u8>>>) = Default::default();
    let (account, (tell, news)) = (Arc::<AtomicU64>::default(), mpsc::channel());
    let tell = Mutex::new(tell);
    let report: Report = Box::new(move |_, news, why| drop(tell.lock().unwrap().send((news, why.to_string()))));
    let report = Account {
        name: "disk".into(),
        waiting: AtomicUsize::new(0),
        full: AtomicBool::new(false),
        lost: AtomicU64::new(0),
        lost_by_all: account.clone(),
        report,
    };
    let outlet = Disk { full: full.clone(), taken: taken.clone() };
    let mut drain = Drain { outlet, account: Arc::new(report), batch: Vec::new(), failed: None };
    let put = |drain: &mut Drain<Disk>, line: &[u8]| {
        drain.account.waiting.fetch_add(size(line), Ordering::SeqCst);
        drain.write_all(line).unwrap();
        drain.flush().unwrap();
    };
    let told = || news.try_iter().map(|(news, _)| news).collect::<Vec<_>>();
    put(&mut drain, b"one\n");
    assert_eq!(told(), []);
    full.store(true, Ordering::SeqCst);
    put(&mut drain, b"lost\n");
    put(&mut drain, b"lost\n");
    assert_eq!(news.try_iter().collect::<Vec<_>>(), [(SinkHealth::Fails, "full".into())]);
    full.store(false, Ordering::SeqCst);
    // The failure is taken for a recent one, then for one that is old enough.
    drain.failed = Some(Instant::now() + Duration::from_secs(60));
    put(&mut drain, b"two\n");
    assert_eq!(told(), [], "every other line may fit");
    drain.failed = Some(Instant::now() - SETTLED);
    put(&mut drain, b"three\n");
    assert_eq!(
        news.try_iter().collect::<Vec<_>>(),
        [(SinkHealth::Works, "disk works again; lines lost meanwhile: 2".into())]
    );
    put(&mut drain, b"four\n");
    assert_eq!(told(), []);
    assert_eq!(&*taken.lock().unwrap(), b"one\ntwo\nthree\nfour\n");
    assert_eq!(account.load(Ordering::Relaxed), 2);
}
