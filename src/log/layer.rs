//! From `tracing` events to lines in the queues of the log's targets.
//!
//! Promises: an event below the level costs next to nothing; a record is formatted once a style; no thread ever waits
//! for a target (`log::queue`); level and targets can be replaced while events come.
//! An event may carry two fields beside its message: `critical = true`, a level that `tracing` lacks, and
//! `status = "up"`, which marks it as one about the health of the thread's service (see [`set_subject`]).
//! Leaves out: the bytes of a line (`log::format`) and what becomes of it (`log::targets`).

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

/// Who a thread's records are from.
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

/// Makes this thread's records those of a service. Threads that have no name say `MainThread`, as the original's do.
pub fn set_subject(subject: Subject) {
    SUBJECT.set(Some(subject));
}

/// Makes what is logged meanwhile a service's, on a thread that works for all of them.
pub fn with_subject(subject: Subject, log: impl FnOnce()) {
    let before = SUBJECT.replace(Some(subject));
    log();
    SUBJECT.set(before);
}

/// One target: how its lines look and the queue that they go into.
#[derive(Clone)]
pub struct Target {
    /// How a record is written.
    pub style: Style,
    /// What stands around a line.
    pub frame: Frame,
    /// Where its lines go.
    pub queue: Queue,
}

/// What stands around a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line of a file or of stdout, ended by `\n`.
    Line,
    /// A datagram of `log_server`, see [`syslog::Datagram`].
    Datagram,
}

/// All targets.
#[derive(Default)]
pub struct Targets {
    /// Where the log goes.
    pub log: Vec<Target>,
    /// Where goes what would otherwise be written to standard error, if anywhere.
    pub stderr: Option<Target>,
}

/// The layer to be put on a registry; clones are the same layer.
#[derive(Clone)]
pub struct Lines(Arc<Recorder>);

/// What all threads share: which records are wanted, and where they go.
pub struct Recorder {
    level: AtomicU8,
    pid: u32,
    // Locked for as long as it takes to copy or replace the pointer, never while a line is made.
    targets: RwLock<Arc<Targets>>,
}

impl Lines {
    /// A layer without targets.
    pub fn new(level: LogLevel) -> Lines {
        let (level, targets) = (AtomicU8::new(level as u8), RwLock::default());
        Lines(Arc::new(Recorder { level, pid: std::process::id(), targets }))
    }

    /// What is behind the layer.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.0
    }
}

impl Recorder {
    /// From now on, records of `level` and worse go to each of `targets`.
    pub fn replace(&self, level: LogLevel, targets: Targets) {
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(targets);
        self.level.store(level as u8, Ordering::Relaxed);
        // `tracing` remembers for each event of the program whether it is wanted.
        tracing::callsite::rebuild_interest_cache();
    }

    /// What the log says of itself: a record for every target but the one of the name `except`, whatever the level.
    pub fn say(&self, level: LogLevel, message: &str, except: Option<&str>) {
        let targets = self.targets();
        let targets = targets.log.iter().filter(|target| Some(target.queue.name()) != except);
        self.queue(level, message, None, targets);
    }

    /// What would be written to standard error: a record a line, each to its own target. False where there is none.
    pub fn say_on_stderr(&self, text: &str) -> bool {
        let targets = self.targets();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            self.queue(LogLevel::Critical, line.trim_end(), None, targets.stderr.iter());
        }
        targets.stderr.is_some()
    }

    fn wants(&self, level: LogLevel) -> bool {
        level as u8 >= self.level.load(Ordering::Relaxed)
    }

    fn targets(&self) -> Arc<Targets> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn queue<'a>(
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

/// Writes the record once for each run of targets of one style.
fn offer<'a>(record: &Record<'_>, targets: impl Iterator<Item = &'a Target>) {
    let mut line = String::with_capacity(192 + record.message.len());
    let mut written = None;
    for Target { style, frame, queue } in targets {
        if written != Some(style) {
            line.clear();
            format::write(style, record, &mut line);
            written = Some(style);
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

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // A critical record is an error to `tracing`: whether it is wanted shows in its fields only.
        self.0.wants(level_of(metadata.level())) || *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = [Level::TRACE, Level::INFO, Level::WARN];
        let wanted = levels.into_iter().find(|level| self.0.wants(level_of(level)));
        Some(LevelFilter::from_level(wanted.unwrap_or(Level::ERROR)))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = if fields.critical { LogLevel::Critical } else { level_of(event.metadata().level()) };
        if self.0.wants(level) {
            self.0.queue(level, &fields.message, fields.status.as_deref(), self.0.targets().log.iter());
        }
    }
}

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
        // Else it would come in quotes.
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

/// The local time as Python's logging prints it.
fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string()
}
