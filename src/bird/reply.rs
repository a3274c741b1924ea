//! BIRD's answer to a reconfigure, and what it means.
//!
//! ```text
//!   a command's output, its end --> of_command --+
//!   a reply of the control socket --> of_socket -+--> Reply { meaning, version, busy }
//! ```
//!
//! Promises: pure; any bytes have a meaning, in linear time; what BIRD says decides and not the exit status, which told
//! nothing before BIRD 2.0.10 and even later tells "in force" and "queued" no more apart than "shutting down". Nothing
//! counts as taken that BIRD, where it spoke at all, did not take. A reason is one line of at most [`LONGEST_WHY`] bytes.
//! Leaves out: running the command (`bird::client`), and cutting the socket's bytes into replies (`bird::framing`).

use std::fmt;
use std::time::Duration;

use crate::bird::framing::Whole;

/// How long a reason may be, in bytes.
pub const LONGEST_WHY: usize = 500;

/// How long no other reconfigure may be sent after a [`Reply`] that [`calls_for_rest`](Reply::calls_for_rest): a protocol
/// whose peer hangs takes ten seconds to restart.
pub const REST: Duration = Duration::from_secs(12);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it means.
    pub meaning: Meaning,
    /// BIRD's version, where it was said.
    pub version: Option<Version>,
    /// BIRD may still be working on it.
    pub busy: bool,
}

/// What an answer means for the list that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is in force.
    Taken,
    /// It is BIRD's configuration, though some protocol is still restarting.
    TakenSoon,
    /// It waits until the reconfiguration before it ends, or another takes its place: ask again.
    Pending,
    /// BIRD goes on with the old one.
    Refused {
        /// BIRD's own words.
        why: String,
    },
    /// BIRD is down, or the way to it is barred, or the command is broken.
    Unreachable {
        /// What the command, or the kernel, had to say.
        why: String,
    },
    /// No answer within the limit.
    Silent {
        /// The limit, and what was heard until then.
        why: String,
    },
    /// Nothing was sent.
    NotSent {
        /// Why not.
        why: String,
    },
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By this signal, not ours.
    Signal(i32),
    /// At this limit.
    Limit(Duration),
}

/// A version of BIRD, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 2 of 2.0.12.
    pub major: u32,
    /// 0 of 2.0.12.
    pub minor: u32,
    /// 12 of 2.0.12; 0 where it is left out.
    pub patch: u32,
}

impl Reply {
    /// The meaning of what a reconfigure command wrote, plain or numbered (`birdc -v`).
    ///
    /// Where the command ran BIRD's client several times, its worst answer counts; a BIRD that was not reached beside one
    /// that answered counts only where the command failed, as the answer may come from a second try. Where nothing in
    /// the output is BIRD's, the command is none of its clients (`systemctl reload bird`), and its exit code decides.
    pub fn of_command(stdout: &[u8], stderr: &[u8], end: End) -> Reply {
        let mut heard = Heard::default();
        heard.listen(stdout);
        // BIRD's errors stand on stdout; what sudo says must not take their place.
        let other = heard.other.clone();
        heard.listen(stderr);
        heard.other = other.or(heard.other);
        heard.close();
        let in_progress = matches!(heard.worst, Some(Meaning::TakenSoon | Meaning::Pending));
        let meaning = match (heard.worst, heard.lost) {
            _ if matches!(end, End::Limit(_)) => Meaning::Silent { why: end.to_string() + &so_far(stdout, stderr) },
            (None, Some(why)) => Meaning::Unreachable { why },
            (Some(good), Some(why)) if good.is_good() && end != End::Code(0) => Meaning::Unreachable { why },
            (Some(meaning), _) => meaning,
            (None, None) if heard.spoke => {
                Meaning::Refused { why: heard.other.unwrap_or("BIRD was reached and gave no answer".to_string()) }
            }
            (None, None) if end == End::Code(0) => Meaning::Taken,
            (None, None) => Meaning::Unreachable { why: end.to_string() + &so_far(stdout, stderr) },
        };
        let cut_off = heard.spoke && matches!(meaning, Meaning::Silent { .. });
        Reply { meaning, version: heard.version, busy: in_progress || cut_off }
    }

    /// The meaning of the reply to `configure` on the control socket, whose greeting told the version.
    pub fn of_socket(reply: &Whole, version: Option<Version>) -> Reply {
        let result = reply.result();
        let meaning =
            by_code(result.code, &result.text).unwrap_or_else(|| Meaning::Refused { why: one_line(&result.text) });
        let busy = matches!(meaning, Meaning::TakenSoon | Meaning::Pending);
        Reply { meaning, version, busy }
    }

    /// Nothing was sent.
    pub fn not_sent(why: String) -> Reply {
        Reply { meaning: Meaning::NotSent { why }, version: None, busy: false }
    }

    /// Whether another reconfigure within [`REST`] could kill BIRD. Version 3 does not survive one that comes while it
    /// is busy; what says no version may be one.
    pub fn calls_for_rest(&self) -> bool {
        self.busy && self.version.is_none_or(|version| version.major >= 3)
    }
}

impl Meaning {
    /// Whether BIRD has the list, now or in a moment.
    pub fn is_taken(&self) -> bool {
        matches!(self, Meaning::Taken | Meaning::TakenSoon)
    }

    /// One of BIRD's three answers that are no refusal.
    fn is_good(&self) -> bool {
        self.is_taken() || *self == Meaning::Pending
    }

    /// The value of the metric's label `result`.
    pub fn label(&self) -> &'static str {
        match self {
            Meaning::Taken => "taken",
            Meaning::TakenSoon => "in_progress",
            Meaning::Pending => "queued",
            Meaning::Refused { .. } => "refused",
            Meaning::Unreachable { .. } => "unreachable",
            Meaning::Silent { .. } => "timed_out",
            Meaning::NotSent { .. } => "not_sent",
        }
    }

    /// How bad it is, beside other answers of one run.
    fn badness(&self) -> u8 {
        match self {
            Meaning::Taken => 0,
            Meaning::TakenSoon => 1,
            Meaning::Pending => 2,
            Meaning::Refused { .. } => 3,
            Meaning::Unreachable { .. } | Meaning::Silent { .. } | Meaning::NotSent { .. } => 4,
        }
    }
}

/// The log's sentence: the original's, where it has one.
impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Meaning::Taken => f.write_str("reconfigured BIRD daemon"),
            Meaning::TakenSoon => f.write_str("reconfigured BIRD daemon, which is still restarting a protocol"),
            Meaning::Pending => f.write_str("BIRD daemon is busy with the reconfiguration before, it is asked again"),
            Meaning::Refused { why } => write!(
                f,
                "reconfiguring BIRD returned error, most likely we generated an invalid configuration file or Bird \
                 configuration in is broken:{why}"
            ),
            Meaning::Unreachable { why } => write!(
                f,
                "reconfiguring BIRD failed, either BIRD daemon is down or we don't have privileges to reconfigure it \
                 (sudo problems?):{why}"
            ),
            Meaning::Silent { why } => write!(f, "reconfiguring bird timed out: {why}"),
            Meaning::NotSent { why } => write!(f, "reconfiguring BIRD failed with: {why}"),
        }
    }
}

impl Version {
    /// The version in BIRD's greeting `BIRD 2.0.12 ready.`; whatever a build adds to the numbers is passed over.
    pub fn of_greeting(text: &str) -> Option<Version> {
        let word = text.strip_prefix("BIRD ")?.strip_suffix(" ready.")?;
        let mut numbers = word.trim_start_matches('v').splitn(3, '.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse().ok()
        });
        Some(Version {
            major: numbers.next()??,
            minor: numbers.next().flatten().unwrap_or(0),
            patch: numbers.next().flatten().unwrap_or(0),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Code(code) => write!(f, "exit code {code}"),
            End::Signal(signal) => write!(f, "ended by signal {signal}"),
            End::Limit(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
        }
    }
}

/// What was made out of a command's output.
#[derive(Default)]
struct Heard {
    version: Option<Version>,
    /// A line was BIRD's.
    spoke: bool,
    /// The greeting was numbered, so that the numbers of lines can be trusted: other programs begin lines with a year.
    numbered: bool,
    /// BIRD has begun to read its configuration, and the result is to come.
    open: bool,
    worst: Option<Meaning>,
    /// The client could not speak to BIRD.
    lost: Option<String>,
    /// The last line that is none of those known.
    other: Option<String>,
}

impl Heard {
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
            self.version = Version::of_greeting(text).or(self.version);
        } else if text.starts_with("Reading configuration from ") || text == OVERFLOW {
            // A path of 500 bytes makes BIRD say "overflow" here already, which is no result.
            self.spoke = true;
            self.open = true;
            self.other = Some(one_line(text));
        } else if let Some(meaning) =
            by_text(text).or(code.filter(|_| self.numbered && last).and_then(|code| by_code(code, text)))
        {
            self.result(meaning);
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

    fn result(&mut self, meaning: Meaning) {
        self.spoke = true;
        self.open = false;
        if self.worst.as_ref().is_none_or(|worst| worst.badness() < meaning.badness()) {
            self.worst = Some(meaning);
        }
    }

    /// The client has ended; where a result is still to come, the last line it wrote is an error of a kind unknown here.
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let why = self.other.take().unwrap_or_default();
            self.result(Meaning::Refused { why });
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

/// The meaning of the last line of a reply, where it has one for a reconfigure.
fn by_code(code: u16, text: &str) -> Option<Meaning> {
    match code {
        3 => Some(Meaning::Taken),
        4 => Some(Meaning::TakenSoon),
        5 => Some(Meaning::Pending),
        6 | 8000.. => Some(Meaning::Refused { why: one_line(text) }),
        _ => None,
    }
}

/// The same without a code.
fn by_text(text: &str) -> Option<Meaning> {
    match text {
        "Reconfigured" => Some(Meaning::Taken),
        "Reconfiguration in progress" => Some(Meaning::TakenSoon),
        "Reconfiguration already in progress, queueing new config" => Some(Meaning::Pending),
        "Reconfiguration ignored, shutting down" | "Access denied" | "Command too long" => {
            Some(Meaning::Refused { why: one_line(text) })
        }
        _ if text.starts_with("syntax error")
            || text.starts_with("No such command.")
            || text.starts_with("Ambiguous command,")
            || has_position(text) =>
        {
            Some(Meaning::Refused { why: one_line(text) })
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

/// The output of a command that gave no answer, for the log; stderr where it has any.
fn so_far(stdout: &[u8], stderr: &[u8]) -> String {
    let [stdout, stderr] = [stdout, stderr].map(|bytes| one_line(&String::from_utf8_lossy(bytes)));
    match if stderr.is_empty() { stdout } else { stderr } {
        text if text.is_empty() => text,
        text => format!(": {text}"),
    }
}

/// All lines as one, joined by `; `, without control characters, cut to what a log line can hold.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (n, part) in text.lines().map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        line.push_str(if n == 0 { "" } else { "; " });
        line.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_WHY));
        if line.len() > LONGEST_WHY {
            while line.len() + '…'.len_utf8() > LONGEST_WHY {
                line.pop();
            }
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests;
