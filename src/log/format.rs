//! Formats a log record as a line of text, JSON or journald, with the same bytes as the original.
//!
//! Guarantees: pure; one record is one line, whatever a check or BIRD printed, as control
//! characters are escaped. The line does not end in `\n`.
//!
//! Out of scope: where lines go (`log::targets`), and collecting records (`log::layer`).

use std::fmt::Write as _;

use syslog::Severity;

use crate::config::settings::LogLevel;

/// One log record.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Local time, such as `2017-07-23 09:43:28,995`.
    pub time: &'a str,
    /// The level.
    pub level: LogLevel,
    /// The process id.
    pub pid: u32,
    /// The service's name, or `MainThread`.
    pub thread: &'a str,
    /// The message.
    pub message: &'a str,
    /// The service's state, which the JSON style adds to records about a service's health.
    pub about: Option<About<'a>>,
}

/// The service that a record is about, and its state.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The address of its first prefix.
    pub ip_address: &'a str,
    /// The length of its first prefix.
    pub prefix_length: u8,
    /// Whether the assignment of the address is not checked.
    pub ip_check_disabled: bool,
    /// `up`, `down` or `unknown`.
    pub status: &'a str,
}

/// The style of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Style {
    /// `TIME anycast-healthchecker[PID] LEVEL    THREAD MESSAGE`, with the thread padded to
    /// `width`.
    Text {
        /// See [`crate::config::settings::Log::width`].
        width: usize,
    },
    /// `TIME anycast-healthchecker[PID] THREAD MESSAGE`, for text meant for standard error
    /// (`stderr_file`).
    Bare,
    /// `anycast-healthchecker: {"asctime": ...}`.
    Json {
        /// The text before the JSON object.
        prefix: &'static str,
    },
    /// `<N>THREAD - MESSAGE`.
    Journal,
}

/// Returns the syslog severity of a level (RFC 5424 section 6.2.1). journald uses the same.
pub fn severity(level: LogLevel) -> Severity {
    match level {
        LogLevel::Debug => Severity::LOG_DEBUG,
        LogLevel::Info => Severity::LOG_INFO,
        LogLevel::Warning => Severity::LOG_WARNING,
        LogLevel::Error => Severity::LOG_ERR,
        LogLevel::Critical => Severity::LOG_CRIT,
    }
}

/// Appends `record` to `line` in `style`.
pub fn write(style: &Style, record: &Record<'_>, line: &mut String) {
    // Writing to a String cannot fail, so the results of write! are ignored.
    match style {
        Style::Text { width } => {
            let (level, thread) = (level_name(record.level), record.thread);
            // A larger width would panic.
            let width = (*width).min(u16::MAX.into());
            let _ = write!(line, "{} {PROGRAM}[{}] {level:8} {thread:width$} ", record.time, record.pid);
            escape_control(record.message, line);
        }
        Style::Bare => {
            let _ = write!(line, "{} {PROGRAM}[{}] {} ", record.time, record.pid, record.thread);
            escape_control(record.message, line);
        }
        Style::Journal => {
            let _ = write!(line, "<{}>{} - ", severity(record.level) as u8, record.thread);
            escape_control(record.message, line);
        }
        Style::Json { prefix } => {
            line.push_str(prefix);
            json(record, line);
        }
    }
}

const PROGRAM: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "DEBUG",
        LogLevel::Info => "INFO",
        LogLevel::Warning => "WARNING",
        LogLevel::Error => "ERROR",
        LogLevel::Critical => "CRITICAL",
    }
}

/// Appends the record as JSON. Keys, order and spaces are those of the original (Python's
/// `json.dumps`).
fn json(record: &Record<'_>, line: &mut String) {
    let (time, level, pid) = (record.time, level_name(record.level), record.pid);
    let _ = write!(line, r#"{{"asctime": "{time}", "levelname": "{level}", "process": {pid}, "message": "#);
    quote_json(record.message, line);
    if let Some(About { ip_address, prefix_length, ip_check_disabled, status }) = record.about {
        let _ = write!(line, r#", "ip_address": "{ip_address}", "prefix_length": {prefix_length}, "#);
        let _ = write!(line, r#""ip_check_disabled": {ip_check_disabled}, "status": "{status}""#);
    }
    let _ = write!(line, r#", "version": "{VERSION}", "program": "{PROGRAM}", "service_name": "#);
    quote_json(record.thread, line);
    line.push('}');
}

/// Appends a string as Python's `json.dumps` does, with everything outside printable ASCII escaped.
fn quote_json(text: &str, line: &mut String) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\u{8}' => line.push_str("\\b"),
            '\u{c}' => line.push_str("\\f"),
            ' '..='\u{7f}' => line.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('"');
}

/// Appends a text with its control characters escaped, so that a check's output cannot break lines
/// or control a terminal.
fn escape_control(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '\t' => line.push(c),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
}

/// Formats bytes as Python prints them (`b'err\n'`). The original logs a check's output like this.
pub fn python_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = format!("b{quote}");
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            _ if char::from(byte) == quote => text.extend(['\\', quote]),
            b' '..=b'~' => text.push(byte.into()),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests;
