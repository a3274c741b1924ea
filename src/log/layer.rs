//! Turns `tracing` events into lines, and puts them into the queues of the log's targets.
//!
//! An event may have two fields besides its message: `critical = true`, a level that `tracing`
//! lacks, and `status = "up"`, which marks it as a record about the health of the thread's service
//! (see [`set_subject`]).
//!
//! Guarantees: an event below the level costs next to nothing. A record is formatted once per
//! style. Level and targets can be replaced while events are logged.
//!
//! Blocking: none; no thread waits for a target (`log::queue`).
//!
//! Out of scope: the bytes of a line (`log::format`), and writing it (`log::targets`).

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::config::settings::{LogLevel, Service};
use crate::log::format::{self, About, Record, Style};
use crate::log::queue::Queue;
use crate::log::syslog;

/// The service that a thread's records are about.
#[derive(Clone, Debug)]
pub struct Subject {
    name: String,
    ip_address: String,
    prefix_length: u8,
    ip_check_disabled: bool,
}

#[cfg(test)]
impl Subject {
    pub(crate) fn new(name: &str, ip_address: &str, prefix_length: u8, ip_check_disabled: bool) -> Subject {
        Subject { name: name.into(), ip_address: ip_address.into(), prefix_length, ip_check_disabled }
    }
}

impl From<&Service> for Subject {
    fn from(service: &Service) -> Subject {
        let first = service.prefixes.first();
        Subject {
            name: service.name.clone(),
            ip_address: first.map_or_else(String::new, |prefix| prefix.address_text()),
            prefix_length: first.map_or(0, |prefix| prefix.length()),
            ip_check_disabled: service.assigned_to.is_none(),
        }
    }
}

thread_local! {
    static SUBJECT: RefCell<Option<Subject>> = const { RefCell::new(None) };
}

/// Sets the service that this thread's records are about.
///
/// Records of other threads have the name `MainThread`, as in the original.
pub fn set_subject(subject: Subject) {
    SUBJECT.set(Some(subject));
}

/// Calls `log` with another subject, in a thread that logs about several services.
pub fn with_subject(subject: Subject, log: impl FnOnce()) {
    let previous = SUBJECT.replace(Some(subject));
    log();
    SUBJECT.set(previous);
}

/// One target of the log: the style of its lines, and its queue.
#[derive(Clone)]
pub struct Target {
    /// The style of its lines.
    pub style: Style,
    /// How its lines are delimited.
    pub frame: Frame,
    /// The queue that its lines go into.
    pub queue: Queue,
}

/// How lines are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line of a file or of stdout, ending in `\n`.
    Line,
    /// A datagram of `log_server`, see [`syslog::Datagram`].
    Datagram,
}

/// All targets of the log.
#[derive(Default)]
pub struct Targets {
    /// The targets of log records.
    pub log: Vec<Target>,
    /// The target of text that would otherwise be written to standard error.
    pub stderr: Option<Target>,
}

/// The layer for a `tracing` registry. Clones are the same layer.
#[derive(Clone)]
pub struct LogLayer(Arc<Recorder>);

/// State shared by all threads: the log level and the targets.
pub struct Recorder {
    level: AtomicU8,
    pid: u32,
    // Locked only while the pointer is copied or replaced, never while a line is formatted.
    targets: RwLock<Arc<Targets>>,
}

impl LogLayer {
    /// Creates a layer without targets.
    pub fn new(level: LogLevel) -> LogLayer {
        let level = AtomicU8::new(level as u8);
        LogLayer(Arc::new(Recorder { level, pid: std::process::id(), targets: RwLock::default() }))
    }

    /// Returns the shared state behind the layer.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.0
    }
}

impl Recorder {
    /// Replaces the level and the targets of all later records.
    pub fn replace(&self, level: LogLevel, targets: Targets) {
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(targets);
        self.level.store(level as u8, Ordering::Relaxed);
        // `tracing` caches for each callsite whether it is enabled.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Logs a message about the log itself, whatever the level, to every target except the one
    /// named `except`.
    pub fn log(&self, level: LogLevel, message: &str, except: Option<&str>) {
        let targets = self.targets();
        let targets = targets.log.iter().filter(|target| Some(target.queue.name()) != except);
        self.enqueue(level, message, None, targets);
    }

    /// Logs text meant for standard error, one record per line. Returns false if it has no target.
    pub fn log_stderr(&self, text: &str) -> bool {
        let targets = self.targets();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            self.enqueue(LogLevel::Critical, line.trim_end(), None, targets.stderr.iter());
        }
        targets.stderr.is_some()
    }

    fn is_enabled(&self, level: LogLevel) -> bool {
        level as u8 >= self.level.load(Ordering::Relaxed)
    }

    fn targets(&self) -> Arc<Targets> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Formats a record of this thread's subject and offers it to the queues of `targets`.
    fn enqueue<'a>(
        &self,
        level: LogLevel,
        message: &str,
        status: Option<&str>,
        targets: impl Iterator<Item = &'a Target>,
    ) {
        let time = now();
        SUBJECT.with_borrow(|subject| {
            let thread = subject.as_ref().map_or("MainThread", |subject| &subject.name);
            let about = subject.as_ref().zip(status).map(|(subject, status)| About {
                ip_address: &subject.ip_address,
                prefix_length: subject.prefix_length,
                ip_check_disabled: subject.ip_check_disabled,
                status,
            });
            offer(&Record { time: &time, level, pid: self.pid, thread, message, about }, targets);
        });
    }
}

/// Offers the record to each target. It is formatted once for consecutive targets of the same
/// style.
fn offer<'a>(record: &Record<'_>, targets: impl Iterator<Item = &'a Target>) {
    let mut line = String::with_capacity(192 + record.message.len());
    let mut formatted = None;
    for Target { style, frame, queue } in targets {
        if formatted != Some(style) {
            line.clear();
            format::write(style, record, &mut line);
            formatted = Some(style);
        }
        match frame {
            Frame::Line => {
                line.push('\n');
                queue.offer(line.as_bytes());
                line.pop();
            }
            Frame::Datagram => queue.offer(&syslog::datagram(record.level, &line)),
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // `tracing` sees a critical record as an error; only its fields, which are not known here,
        // tell them apart.
        self.0.is_enabled(level_of(metadata.level())) || *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = [Level::TRACE, Level::INFO, Level::WARN];
        let lowest = levels.into_iter().find(|level| self.0.is_enabled(level_of(level)));
        Some(LevelFilter::from_level(lowest.unwrap_or(Level::ERROR)))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = if fields.critical { LogLevel::Critical } else { level_of(event.metadata().level()) };
        if self.0.is_enabled(level) {
            self.0.enqueue(level, &fields.message, fields.status.as_deref(), self.0.targets().log.iter());
        }
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    status: Option<String>,
    critical: bool,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => {
                let _ = write!(self.message, "{value:?}");
            }
            "status" => self.status = Some(format!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // The default implementation would quote it.
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.critical |= field.name() == "critical" && value;
    }
}

fn level_of(level: &Level) -> LogLevel {
    match *level {
        Level::TRACE | Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warning,
        Level::ERROR => LogLevel::Error,
    }
}

/// Returns the local time as Python's logging prints it.
fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string()
}
