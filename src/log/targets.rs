//! Starts the configured targets of the log: stdout, a file, a syslog server, each with its own
//! queue and thread.
//!
//! Guarantees: no target can block, slow down or end the daemon or another target. A target's
//! problem is reported once in the other targets when it begins, and once in all targets when it is
//! over. A failing target is also reported on standard error. A slow one is not, as a check thread
//! detects it and must not wait for standard error. Targets can be replaced while the daemon runs,
//! and unchanged targets keep running.
//!
//! Blocking: a stop or a change of targets, for at most [`FLUSH_TIMEOUT`].
//!
//! Shutdown: dropping the [`LogHandle`] writes the queued lines.
//!
//! Out of scope: the lines themselves (`log::layer`, `log::format`).

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
use crate::log::layer::{Frame, LogLayer, Recorder, Target, Targets};
use crate::log::queue::{self, Queue, Sink, SinkHealth};
use crate::log::rotating_file::{RotatingFile, Rotation};
use crate::log::stream::Stream;
use crate::log::syslog::Syslog;
use crate::sys::poll::poll_until;

/// Maximum time that a stop or a change of targets waits for queued lines. A stuck target is
/// abandoned.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

/// The running targets. Dropping it writes the queued lines, for 0.1 s at most.
pub struct LogHandle {
    layer: LogLayer,
    running: Vec<RunningSink>,
    dropped: Dropped,
}

/// The number of lines lost by all targets. Clones are the same count.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the configured targets: stdout if there is neither a file nor a server, as in the
/// original.
///
/// Targets' threads open files and resolve names with the first line, and report failures.
pub fn start(log: &Log) -> (LogLayer, LogHandle) {
    let layer = LogLayer::new(log.level);
    let mut handle = LogHandle { layer: layer.clone(), running: Vec::new(), dropped: Dropped::default() };
    handle.reconfigure(log);
    (layer, handle)
}

impl LogHandle {
    /// Replaces level and targets by those of `log`. Returns after 0.1 s at most.
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
        targets.stderr = stderr.and_then(|destination| self.target(destination, Style::Bare, &mut old));
        self.layer.recorder().replace(log.level, targets);
        stop(old);
    }

    /// Returns the count of lost lines.
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }

    /// Writes the messages of later panics to `stderr_file` or the server (`stderr_log_server`), if
    /// either is configured.
    ///
    /// The original writes unhandled exceptions there. Without either, they go to standard error.
    pub fn redirect_panics(&self) {
        let recorder = Arc::downgrade(self.layer.recorder());
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let logged = recorder.upgrade().is_some_and(|recorder| recorder.log_stderr(&panic.to_string()));
            if !logged {
                default_hook(panic);
            }
        }));
    }

    /// Returns the target at `destination`: a running one, taken from `old` or shared, or a new
    /// one.
    ///
    /// `None` if no thread can be spawned.
    fn target(&mut self, destination: Destination, style: Style, old: &mut Vec<RunningSink>) -> Option<Target> {
        if let Some(at) = old.iter().position(|running| running.destination.is(&destination)) {
            self.running.push(old.swap_remove(at));
        } else if !self.running.iter().any(|running| running.destination.is(&destination)) {
            self.running.push(self.start(destination.clone())?);
        }
        let queue = self.running.iter().find(|running| running.destination.is(&destination))?.queue.clone();
        let frame = if matches!(destination, Destination::Server { .. }) { Frame::Datagram } else { Frame::Line };
        Some(Target { style, frame, queue })
    }

    /// Starts the thread of a new target.
    fn start(&self, destination: Destination) -> Option<RunningSink> {
        let name = destination.name();
        let started = match destination.clone() {
            Destination::Stdout => self.queue(name, Stream::new(io::stdout())),
            Destination::File { path, rotation, .. } => {
                self.queue(name.clone(), RotatingFile::new(name, path, rotation))
            }
            Destination::Server { host, port } => self.queue(name, Syslog::new(host, port)),
        };
        if started.is_none() {
            let name = destination.name();
            let sentence = format!("cannot start a thread for {name}: it gets no line until the next reload");
            report(self.layer.recorder(), &name, SinkHealth::Failing, &sentence);
        }
        started.map(|(queue, guard)| RunningSink { destination, queue, guard })
    }

    /// Starts a queue in front of `sink`.
    fn queue(&self, name: String, sink: impl Sink) -> Option<(Queue, WorkerGuard)> {
        let recorder = Arc::downgrade(self.layer.recorder());
        let callback = move |name: &str, health: SinkHealth, sentence: &str| {
            if let Some(recorder) = recorder.upgrade() {
                report(&recorder, name, health, sentence);
            }
        };
        queue::start(name, sink, self.dropped.0.clone(), Box::new(callback))
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.layer.recorder().replace(LogLevel::Critical, Targets::default());
        stop(std::mem::take(&mut self.running));
    }
}

/// Where a target's lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    Stdout,
    File { option: &'static str, path: PathBuf, rotation: Rotation },
    Server { host: String, port: u16 },
}

impl Destination {
    /// Returns whether both are the same. One file may be both `log_file` and `stderr_file`.
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

/// A target with its thread.
struct RunningSink {
    destination: Destination,
    queue: Queue,
    guard: WorkerGuard,
}

/// Logs the health of the target `name`: to the other targets when a problem begins, and to all
/// when it is over.
fn report(recorder: &Recorder, name: &str, health: SinkHealth, sentence: &str) {
    match health {
        SinkHealth::Working => recorder.log(LogLevel::Warning, sentence, None),
        SinkHealth::Full => recorder.log(LogLevel::Error, sentence, Some(name)),
        SinkHealth::Failing => {
            recorder.log(LogLevel::Error, sentence, Some(name));
            // This is the target's own thread, so a file behind standard error cannot delay a
            // check. A pipe that is not read cannot block this thread either, as it writes only if
            // standard error is writable.
            let stderr = io::stderr();
            if poll_until(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(Instant::now())) {
                let line = format!("{}: {sentence}\n", env!("CARGO_PKG_NAME"));
                let _ = rustix::io::write(&stderr, line.as_bytes());
            }
        }
    }
}

/// Has all targets write their queued lines at the same time, and abandons those that take too
/// long.
fn stop(targets: Vec<RunningSink>) {
    let (done, all_done) = mpsc::channel::<()>();
    for RunningSink { guard, .. } in targets {
        let done = done.clone();
        // If no thread can be spawned, the guard is dropped here.
        let _ = thread::Builder::new().name("log end".into()).spawn(move || {
            drop(guard);
            drop(done);
        });
    }
    drop(done);
    // Nothing is sent. The wait is over when the last sender is dropped.
    let _ = all_done.recv_timeout(FLUSH_TIMEOUT);
}

#[cfg(test)]
mod tests;
