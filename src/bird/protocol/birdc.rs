//! What a reconfigure command wrote, plain or numbered (`birdc -v`), and what BIRD said by it.
//!
//! Promises: pure; any bytes have a outcome, in linear time; what BIRD says decides and not the exit status, which told
//! nothing before BIRD 2.0.10 and even later tells "in force" and "queued" no more apart than "shutting down". Nothing
//! counts as taken that BIRD, where it spoke at all, did not take.
//! Leaves out: running the command (`bird::transport`).

use std::fmt;
use std::time::Duration;

use crate::bird::protocol::outcome::{one_line, Outcome, ReconfigureResult, Version};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// By itself, with this code.
    Code(i32),
    /// By this signal, not ours.
    Signal(i32),
    /// At this limit.
    Limit(Duration),
}

/// The outcome of what a reconfigure command wrote, plain or numbered (`birdc -v`).
///
/// Where the command ran BIRD's client several times, its worst answer counts; a BIRD that was not reached beside one
/// that answered counts only where the command failed, as the answer may come from a second try. Where nothing in
/// the output is BIRD's, the command is none of its clients (`systemctl reload bird`), and its exit code decides.
pub fn parse(stdout: &[u8], stderr: &[u8], end: CommandEnd) -> ReconfigureResult {
    let mut parser = OutputParser::default();
    parser.listen(stdout);
    // BIRD's errors stand on stdout; what sudo says must not take their place.
    let other = parser.other.clone();
    parser.listen(stderr);
    parser.other = other.or(parser.other);
    parser.close();
    let in_progress = matches!(parser.worst, Some(Outcome::InProgress | Outcome::Queued));
    let outcome = match (parser.worst, parser.lost) {
        _ if matches!(end, CommandEnd::Limit(_)) => Outcome::TimedOut { why: unanswered(end, stdout, stderr) },
        (None, Some(why)) if is_gone(&why) => Outcome::NotRunning { why },
        (None, Some(why)) => Outcome::Unreachable { why },
        (Some(good), Some(why)) if good.why().is_none() && end != CommandEnd::Code(0) => Outcome::Unreachable { why },
        (Some(outcome), _) => outcome,
        (None, None) if parser.spoke => {
            Outcome::Refused { why: parser.other.unwrap_or("BIRD was reached and gave no answer".to_string()) }
        }
        (None, None) if end == CommandEnd::Code(0) => Outcome::Reconfigured,
        (None, None) => Outcome::Unreachable { why: unanswered(end, stdout, stderr) },
    };
    let cut_off = parser.spoke && matches!(outcome, Outcome::TimedOut { .. });
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

/// What was made out of a command's output.
#[derive(Default)]
struct OutputParser {
    version: Option<Version>,
    /// A line was BIRD's.
    spoke: bool,
    /// The greeting was numbered, so that the numbers of lines can be trusted: other programs begin lines with a year.
    numbered: bool,
    /// BIRD has begun to read its configuration, and the result is to come.
    open: bool,
    worst: Option<Outcome>,
    /// The client could not speak to BIRD.
    lost: Option<String>,
    /// The last line that is none of those known.
    other: Option<String>,
}

impl OutputParser {
    fn listen(&mut self, output: &[u8]) {
        for line in output.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            if !line.trim().is_empty() {
                self.line(&line);
            }
        }
    }

    fn line(&mut self, line: &str) {
        let (code, last, text) =
            numbered(line).map_or((None, true, line), |(code, last, text)| (Some(code), last, text));
        if text.starts_with("BIRD ") && text.ends_with(" ready.") && code.is_none_or(|code| code == 1) {
            self.close();
            self.spoke = true;
            self.numbered = code.is_some();
            // Of several the newest: it is the one to be careful with.
            self.version = self.version.max(Version::from_greeting(text));
        } else if text.starts_with("Reading configuration from ") || text == OVERFLOW {
            // A path of 500 bytes makes BIRD say "overflow" here already, which is no result.
            self.spoke = true;
            self.open = true;
            self.other = Some(one_line(text));
        } else if let Some(outcome) =
            by_text(text).or(code.filter(|_| self.numbered && last).and_then(|code| Outcome::from_reply(code, text)))
        {
            self.result(outcome);
        } else if LOST.iter().any(|start| text.starts_with(start)) {
            self.spoke = true;
            self.open = false;
            self.lost = Some(one_line(text));
        } else {
            // `configure check` has ended well, and reconfigures nothing.
            self.open = self.open && text != "Configuration OK";
            self.other = Some(one_line(line));
        }
    }

    fn result(&mut self, outcome: Outcome) {
        self.spoke = true;
        self.open = false;
        self.worst = self.worst.take().max(Some(outcome));
    }

    /// The client has ended; where a result is still to come, the last line it wrote is an error of a kind unknown here.
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let why = self.other.take().unwrap_or_default();
            self.result(Outcome::Refused { why });
        }
    }
}

/// Begins the lines of BIRD's client where it cannot speak to BIRD.
const LOST: &[&str] = &[
    "Unable to connect to server control socket",
    "Connection closed by server",
    "Server read error",
    "Server write error",
    "server_connect:",
];

/// Whether BIRD's client found no control socket, or nobody who listens on it.
fn is_gone(why: &str) -> bool {
    why.starts_with(LOST[0]) && ["No such file or directory", "Connection refused"].iter().any(|end| why.ends_with(end))
}

/// Stands where a line would have been longer than 512 bytes.
const OVERFLOW: &str = "<line overflow>";

/// Code, whether it is the last line of a reply, and text.
fn numbered(line: &str) -> Option<(u16, bool, &str)> {
    let (code, rest) = line.split_at_checked(4)?;
    let digits = code.bytes().all(|byte| byte.is_ascii_digit());
    let last = rest.starts_with(' ');
    let text = rest.strip_prefix([' ', '-'])?;
    Some((code.parse().ok().filter(|_| digits)?, last, text))
}

/// The same without a code.
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

/// Whether the line is an error in a file: `/etc/bird/bird.conf:5:1 syntax error`.
fn has_position(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    // Other programs begin lines with a path too, and name a time of the day.
    let is_position = |word: &str| match word.rsplitn(3, ':').collect::<Vec<_>>()[..] {
        [column, line, file] => is_number(column) && is_number(line) && !is_number(file),
        _ => false,
    };
    text.starts_with('/') && text.split(' ').any(is_position)
}

/// How a command ended that gave no answer, and its output; stderr where it has any.
fn unanswered(end: CommandEnd, stdout: &[u8], stderr: &[u8]) -> String {
    let [stdout, stderr] = [stdout, stderr].map(|bytes| one_line(&String::from_utf8_lossy(bytes)));
    match if stderr.is_empty() { stdout } else { stderr } {
        output if output.is_empty() => end.to_string(),
        output => one_line(&format!("{end}: {output}")),
    }
}

#[cfg(test)]
mod tests;
