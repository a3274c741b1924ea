//! From `tracing` events to lines in the queues of the log's targets.
//!
//! Promises: an event below the level costs next to nothing; no thread ever waits for a target: a line goes into a
//! bounded queue or is dropped and counted.
//! An event may carry two fields beside its message: `critical = true`, a level that `tracing` lacks, and
//! `status = "up"`, which marks it as one about the health of the thread's service (see [`name_this_thread`]).
//! Leaves out: the bytes of a line (`log::format`) and what becomes of it (`log::sink`).

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::layer::{Context, Layer};

use crate::config::settings::{LogLevel, Service};
use crate::log::format::{self, About, Record, Style};

/// Who a thread's records are from.
#[derive(Clone, Debug)]
pub struct Subject {
    name: String,
    ip_address: String,
    prefix_length: u8,
    ip_check_disabled: bool,
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
pub fn name_this_thread(subject: Subject) {
    SUBJECT.set(Some(subject));
}

/// One target: how its lines look and the queue that they go into.
pub struct Target {
    /// How a record is written.
    pub style: Style,
    /// Where its lines go.
    pub queue: NonBlocking,
    /// What stands around a line: `\n` behind it in a file, `<PRI>` before and NUL behind it in a datagram.
    pub frame: Frame,
}

/// What stands around a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line of a file or of stdout, ended by `\n`.
    Line,
    /// A syslog datagram of facility `user`: `<PRI>`, the line, NUL, as Python's SysLogHandler sends it.
    Datagram,
}

/// The layer to be put on a registry.
pub struct Lines {
    level: AtomicU8,
    pid: u32,
    targets: Vec<Target>,
}

impl Lines {
    /// Records of `level` and worse go to each of `targets`.
    pub fn new(level: LogLevel, targets: Vec<Target>) -> Lines {
        Lines { level: AtomicU8::new(level as u8), pid: std::process::id(), targets }
    }

    fn wants(&self, level: LogLevel) -> bool {
        level as u8 >= self.level.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // A critical record is an error to `tracing`: whether it is wanted shows in its fields only.
        self.wants(level_of(metadata.level())) || *metadata.level() == Level::ERROR
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = if fields.critical { LogLevel::Critical } else { level_of(event.metadata().level()) };
        if !self.wants(level) {
            return;
        }
        let time = now();
        SUBJECT.with_borrow(|subject| {
            let thread = subject.as_ref().map_or("MainThread", |subject| &subject.name);
            let about = subject.as_ref().zip(fields.status.as_deref()).map(|(subject, status)| About {
                ip_address: &subject.ip_address,
                prefix_length: subject.prefix_length,
                ip_check_disabled: subject.ip_check_disabled,
                status,
            });
            self.queue(&Record { time: &time, level, pid: self.pid, thread, message: &fields.message, about });
        });
    }
}

impl Lines {
    fn queue(&self, record: &Record<'_>) {
        for Target { style, queue, frame } in &self.targets {
            let mut line = String::with_capacity(128 + record.message.len());
            if *frame == Frame::Datagram {
                const USER: u8 = 1;
                let _ = write!(line, "<{}>", USER << 3 | format::severity(record.level));
            }
            format::write(style, record, &mut line);
            line.push(if *frame == Frame::Datagram { '\0' } else { '\n' });
            // A full queue takes no more and counts what it refused; it never reports an error.
            let _ = queue.clone().write_all(line.as_bytes());
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
