//! Interprets the output of a reconfigure command, plain or numbered (`birdc -v`).
//!
//! Guarantees: pure; any bytes have an outcome, in linear time. BIRD's words decide, not the exit
//! status: before BIRD 2.0.10 the status says nothing, and later it does not distinguish
//! "in force", "queued" and "shutting down". If any line of the output is BIRD's, the list counts
//! as accepted only if BIRD accepted it.
//!
//! Out of scope: running the command (`bird::transport`).

use std::fmt;
use std::time::Duration;

use crate::bird::protocol::framing::split_code;
use crate::bird::protocol::outcome::{one_line, Outcome, ReconfigureResult, Version};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal, which the daemon did not send.
    Signal(i32),
    /// It was killed at this time limit.
    Limit(Duration),
}

/// Interprets the output of a reconfigure command.
///
/// If the command ran BIRD's client several times, its worst answer counts. If one BIRD answered
/// and another was not reached, the second counts only if the command failed, because the answer
/// may come from a second try. If no line of the output is BIRD's, the command is not one of its
/// clients (`systemctl reload bird`), and its exit code decides.
pub fn parse(stdout: &[u8], stderr: &[u8], end: CommandEnd) -> ReconfigureResult {
    let mut parser = OutputParser::default();
    parser.feed(stdout);
    // BIRD writes its errors to stdout; a message of sudo on stderr must not replace them.
    let from_stdout = parser.last_unknown.clone();
    parser.feed(stderr);
    parser.last_unknown = from_stdout.or(parser.last_unknown);
    parser.finish_session();
    let in_progress = matches!(parser.worst, Some(Outcome::InProgress | Outcome::Queued));
    let outcome = match (parser.worst, parser.connection_error) {
        _ if matches!(end, CommandEnd::Limit(_)) => Outcome::TimedOut { why: without_answer(end, stdout, stderr) },
        (None, Some(why)) if is_not_running(&why) => Outcome::NotRunning { why },
        (None, Some(why)) => Outcome::Unreachable { why },
        (Some(good), Some(why)) if good.why().is_none() && end != CommandEnd::Code(0) => Outcome::Unreachable { why },
        (Some(outcome), _) => outcome,
        (None, None) if parser.is_bird => {
            Outcome::Refused { why: parser.last_unknown.unwrap_or("BIRD was reached and gave no answer".to_string()) }
        }
        (None, None) if end == CommandEnd::Code(0) => Outcome::Reconfigured,
        (None, None) => Outcome::Unreachable { why: without_answer(end, stdout, stderr) },
    };
    let cut_off = parser.is_bird && matches!(outcome, Outcome::TimedOut { .. });
    ReconfigureResult { outcome, version: parser.version, busy: in_progress || cut_off }
}

impl fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandEnd::Code(code) => write!(f, "exit code {code}"),
            CommandEnd::Signal(signal) => write!(f, "ended by signal {signal}"),
            CommandEnd::Limit(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
        }
    }
}

/// Collects what the lines of a command's output say.
#[derive(Default)]
struct OutputParser {
    version: Option<Version>,
    /// At least one line was BIRD's.
    is_bird: bool,
    /// The greeting was numbered, so that the numbers of lines are BIRD's codes: other programs
    /// begin lines with a year.
    is_numbered: bool,
    /// BIRD has begun to read its configuration and has not reported the result.
    awaits_result: bool,
    worst: Option<Outcome>,
    /// The client could not talk to BIRD.
    connection_error: Option<String>,
    /// The last line that has no known meaning.
    last_unknown: Option<String>,
}

impl OutputParser {
    fn feed(&mut self, output: &[u8]) {
        for line in output.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            if !line.trim().is_empty() {
                self.feed_line(&line);
            }
        }
    }

    fn feed_line(&mut self, line: &str) {
        let (code, is_last, text) =
            split_code(line).map_or((None, true, line), |(code, is_last, text)| (Some(code), is_last, text));
        if text.starts_with("BIRD ") && text.ends_with(" ready.") && code.is_none_or(|code| code == 1) {
            self.finish_session();
            self.is_bird = true;
            self.is_numbered = code.is_some();
            // Of several BIRDs the newest counts, because only version 3 needs a pause.
            self.version = self.version.max(Version::from_greeting(text));
        } else if text.starts_with("Reading configuration from ") || text == LINE_OVERFLOW {
            // A path of 500 bytes makes BIRD write "overflow" here already, which is not a result.
            self.is_bird = true;
            self.awaits_result = true;
            self.last_unknown = Some(one_line(text));
        } else if let Some(outcome) = by_text(text)
            .or(code.filter(|_| self.is_numbered && is_last).and_then(|code| Outcome::from_reply(code, text)))
        {
            self.record(outcome);
        } else if CONNECTION_ERRORS.iter().any(|start| text.starts_with(start)) {
            self.is_bird = true;
            self.awaits_result = false;
            self.connection_error = Some(one_line(text));
        } else {
            // `configure check` ends with this line and reconfigures nothing.
            self.awaits_result = self.awaits_result && text != "Configuration OK";
            self.last_unknown = Some(one_line(line));
        }
    }

    fn record(&mut self, outcome: Outcome) {
        self.is_bird = true;
        self.awaits_result = false;
        self.worst = self.worst.take().max(Some(outcome));
    }

    /// Ends one run of the client. If its result is still missing, the last line that it wrote is
    /// an error that this program does not know.
    fn finish_session(&mut self) {
        if std::mem::take(&mut self.awaits_result) {
            let why = self.last_unknown.take().unwrap_or_default();
            self.record(Outcome::Refused { why });
        }
    }
}

/// The first words of the lines in which BIRD's client says that it cannot talk to BIRD.
const CONNECTION_ERRORS: &[&str] = &[
    "Unable to connect to server control socket",
    "Connection closed by server",
    "Server read error",
    "Server write error",
    "server_connect:",
];

/// Whether BIRD's client found no control socket, or one that no process listens on.
fn is_not_running(why: &str) -> bool {
    why.starts_with(CONNECTION_ERRORS[0])
        && ["No such file or directory", "Connection refused"].iter().any(|end| why.ends_with(end))
}

/// BIRD writes this instead of a line of more than 512 bytes.
const LINE_OVERFLOW: &str = "<line overflow>";

/// The outcome of a line by its text alone.
fn by_text(text: &str) -> Option<Outcome> {
    match text {
        "Reconfigured" => Some(Outcome::Reconfigured),
        "Reconfiguration in progress" => Some(Outcome::InProgress),
        "Reconfiguration already in progress, queueing new config" => Some(Outcome::Queued),
        "Reconfiguration ignored, shutting down" | "Access denied" | "Command too long" => {
            Some(Outcome::Refused { why: one_line(text) })
        }
        _ if text.starts_with("syntax error")
            || text.starts_with("No such command.")
            || text.starts_with("Ambiguous command,")
            || has_position(text) =>
        {
            Some(Outcome::Refused { why: one_line(text) })
        }
        _ => None,
    }
}

/// Whether the line reports an error in a file: `/etc/bird/bird.conf:5:1 syntax error`.
fn has_position(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    // Other programs begin lines with a path and a time of the day.
    let is_position = |word: &str| match word.rsplitn(3, ':').collect::<Vec<_>>()[..] {
        [column, line, file] => is_number(column) && is_number(line) && !is_number(file),
        _ => false,
    };
    text.starts_with('/') && text.split(' ').any(is_position)
}

/// How a command without an answer ended, and its output: stderr if it has any, else stdout.
fn without_answer(end: CommandEnd, stdout: &[u8], stderr: &[u8]) -> String {
    let [stdout, stderr] = [stdout, stderr].map(|bytes| one_line(&String::from_utf8_lossy(bytes)));
    match if stderr.is_empty() { stdout } else { stderr } {
        output if output.is_empty() => end.to_string(),
        output => one_line(&format!("{end}: {output}")),
    }
}

#[cfg(test)]
mod tests;
