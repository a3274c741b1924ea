//! From settings to running targets: stdout, a file, a syslog server, each behind a queue with a thread of its own.
//!
//! Promises: no target can block, slow or end the daemon, nor another target. Whatever befalls one is told once when it
//! begins, in the others (what fails also on standard error; that a target is slow not, as a check's thread
//! finds that out and must not wait for standard error), and once when it is over, in all. Targets can be replaced
//! while the daemon runs; those that stay the same go on undisturbed.
//! Leaves out: the lines themselves (`log::layer`, `log::format`).

use std::io;
use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use tracing_appender::non_blocking::WorkerGuard;

use crate::config::settings::{Log, LogLevel};
use crate::log::format::Style;
use crate::log::layer::{Frame, Lines, Recorder, Target, Targets};
use crate::log::queue::{self, Queue, Sink, SinkHealth};
use crate::log::rotating_file::{RotatingFile, Rotation};
use crate::log::stream::Stream;
use crate::log::syslog::Syslog;
use crate::sys::poll::poll_until;

/// How long a stop or a change of targets waits for lines to be written out. A target that is stuck is left behind.
const PATIENCE: Duration = Duration::from_millis(100);

/// The running targets; dropping it writes out what waits, for 0.1 s at most.
pub struct LogHandle {
    lines: Lines,
    running: Vec<RunningSink>,
    dropped: Dropped,
}

/// How many lines are lost so far, over all targets. Clones are the same count.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the targets that are configured: stdout where there is neither a file nor a server, as the original has it.
///
/// Nothing is opened or resolved here: the targets' threads do that, with the first line, and say what fails.
pub fn start(log: &Log) -> (Lines, LogHandle) {
    let lines = Lines::new(log.level);
    let mut guards = LogHandle { lines: lines.clone(), running: Vec::new(), dropped: Dropped::default() };
    guards.reconfigure(log);
    (lines, guards)
}

impl LogHandle {
    /// From now on the log goes where `log` says, with its level. Returns after 0.1 s at most.
    pub fn reconfigure(&mut self, log: &Log) {
        let mut old = std::mem::take(&mut self.running);
        let text = Style::Text { width: log.width };
        let json = |on: bool, otherwise: &Style| match on {
            true => Style::Json { prefix: log.json_prefix },
            false => otherwise.clone(),
        };
        let rotation = Rotation { max_bytes: log.max_bytes, backups: log.backups };
        let file = |option, path: &PathBuf| Destination::File { option, path: path.clone(), rotation };
        let server = log.server.clone().map(|(host, port)| Destination::Server { host, port });

        let mut targets = Targets::default();
        if let Some(path) = &log.file {
            targets.log.extend(self.target(file("log_file", path), json(log.json_file, &text), &mut old));
        }
        if let Some(server) = &server {
            targets.log.extend(self.target(server.clone(), json(log.json_server, &text), &mut old));
        }
        if log.file.is_none() && server.is_none() {
            let plain = if log.journalctl { Style::Journal } else { text };
            targets.log.extend(self.target(Destination::Stdout, json(log.json_stdout, &plain), &mut old));
        }
        let stderr = log.stderr_file.as_ref().map(|path| file("stderr_file", path));
        let stderr = stderr.or(server.filter(|_| log.stderr_server));
        targets.stderr = stderr.and_then(|place| self.target(place, Style::Bare, &mut old));
        self.lines.recorder().replace(log.level, targets);
        finish(old);
    }

    /// How many lines are lost so far.
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }

    /// From now on the message of a thread that panics goes to `stderr_file` or the server (`stderr_log_server`), where
    /// either is configured, instead of standard error: the original's unhandled exceptions go there.
    pub fn redirect_panics(&self) {
        let (recorder, before) = (Arc::downgrade(self.lines.recorder()), panic::take_hook());
        panic::set_hook(Box::new(move |panic| {
            let said = recorder.upgrade().is_some_and(|recorder| recorder.say_on_stderr(&panic.to_string()));
            if !said {
                before(panic);
            }
        }));
    }

    /// The target at `place`: one that runs already, of `old` or as the place of another target, or a new one.
    fn target(&mut self, place: Destination, style: Style, old: &mut Vec<RunningSink>) -> Option<Target> {
        if let Some(at) = old.iter().position(|running| running.place.is(&place)) {
            self.running.push(old.swap_remove(at));
        } else if !self.running.iter().any(|running| running.place.is(&place)) {
            self.running.push(self.run(place.clone())?);
        }
        let queue = self.running.iter().find(|running| running.place.is(&place))?.queue.clone();
        let frame = if matches!(place, Destination::Server { .. }) { Frame::Datagram } else { Frame::Line };
        Some(Target { style, frame, queue })
    }

    fn run(&self, place: Destination) -> Option<RunningSink> {
        let name = place.name();
        let started = match place.clone() {
            Destination::Stdout => self.queue(name, Stream::new(io::stdout())),
            Destination::File { path, rotation, .. } => {
                self.queue(name.clone(), RotatingFile::new(name, path, rotation))
            }
            Destination::Server { host, port } => self.queue(name, Syslog::new(host, port)),
        };
        if started.is_none() {
            let sentence = format!("cannot start a thread for {}: it gets no line until the next reload", place.name());
            tell(self.lines.recorder(), &place.name(), SinkHealth::Fails, &sentence);
        }
        started.map(|(queue, guard)| RunningSink { place, queue, guard })
    }

    fn queue(&self, name: String, outlet: impl Sink) -> Option<(Queue, WorkerGuard)> {
        let recorder = Arc::downgrade(self.lines.recorder());
        let report = move |name: &str, news: SinkHealth, sentence: &str| {
            if let Some(recorder) = recorder.upgrade() {
                tell(&recorder, name, news, sentence);
            }
        };
        queue::start(name, outlet, self.dropped.0.clone(), Box::new(report))
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.lines.recorder().replace(LogLevel::Critical, Targets::default());
        finish(std::mem::take(&mut self.running));
    }
}

/// Where a target's lines go in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    Stdout,
    File { option: &'static str, path: PathBuf, rotation: Rotation },
    Server { host: String, port: u16 },
}

impl Destination {
    /// Whether it is the same; one file may be both `log_file` and `stderr_file`.
    fn is(&self, other: &Destination) -> bool {
        match (self, other) {
            (Destination::File { path, rotation, .. }, Destination::File { path: other_path, rotation: other, .. }) => {
                (path, rotation) == (other_path, other)
            }
            _ => self == other,
        }
    }

    fn name(&self) -> String {
        match self {
            Destination::Stdout => "stdout".into(),
            Destination::File { option, path, .. } => format!("{option} {}", path.display()),
            Destination::Server { host, port } => format!("log_server {host} port {port}"),
        }
    }
}

struct RunningSink {
    place: Destination,
    queue: Queue,
    guard: WorkerGuard,
}

/// Tells what befell the target `name`, to the log's other targets when it begins, to all when it is over.
fn tell(recorder: &Recorder, name: &str, news: SinkHealth, sentence: &str) {
    match news {
        SinkHealth::Works => recorder.say(LogLevel::Warning, sentence, None),
        SinkHealth::IsFull => recorder.say(LogLevel::Error, sentence, Some(name)),
        SinkHealth::Fails => {
            recorder.say(LogLevel::Error, sentence, Some(name));
            // The target's own thread says this, so that a check cannot be held up here by a file behind
            // standard error; and not even that thread is, by a pipe that nobody reads.
            let stderr = io::stderr();
            if poll_until(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(Instant::now())) {
                let line = format!("{}: {sentence}\n", env!("CARGO_PKG_NAME"));
                let _ = rustix::io::write(&stderr, line.as_bytes());
            }
        }
    }
}

/// Lets the targets write what waits, each on its own, and leaves behind those that do not come to an end.
fn finish(targets: Vec<RunningSink>) {
    let (done, all_done) = mpsc::channel::<()>();
    for RunningSink { guard, .. } in targets {
        let done = done.clone();
        // Where no thread can be created, the guard is dropped here.
        let _ = thread::Builder::new().name("log end".into()).spawn(move || {
            drop(guard);
            drop(done);
        });
    }
    drop(done);
    // No message ever comes; the wait is over when the last sender is dropped.
    let _ = all_done.recv_timeout(PATIENCE);
}

#[cfg(test)]
mod tests;
