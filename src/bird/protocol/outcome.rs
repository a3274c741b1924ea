//! What BIRD's answer to a reconfigure means.
//!
//! ```text
//!   a command's output --> protocol::birdc ----+
//!   the control socket --> protocol::framing --+--> ReconfigureResult { outcome, version, busy }
//! ```
//!
//! Guarantees: pure; a reason is one line of at most [`MAX_REASON_LEN`] bytes.
//!
//! Out of scope: reading an answer (`bird::protocol::birdc`, `bird::protocol::framing`), and
//! sending the request (`bird::transport`).

use std::fmt;
use std::time::Duration;

/// Maximum length of a reason in bytes.
pub const MAX_REASON_LEN: usize = 500;

/// How long to wait before the next reconfigure if a result
/// [`requires_pause`](ReconfigureResult::requires_pause). A protocol whose peer hangs takes ten
/// seconds to restart.
pub const BUSY_PAUSE: Duration = Duration::from_secs(12);

/// The result of one reconfigure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconfigureResult {
    /// What the answer means.
    pub outcome: Outcome,
    /// BIRD's version, if the answer contains it.
    pub version: Option<Version>,
    /// BIRD may still be working on the reconfiguration.
    pub busy: bool,
}

/// What an answer means for the list, ordered from good to bad.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The list is in force.
    Reconfigured,
    /// The list is in BIRD's configuration, but a protocol is still restarting.
    InProgress,
    /// The list waits for the end of an earlier reconfiguration, or for a later one to replace it:
    /// a further request is needed.
    Queued,
    /// BIRD keeps its old configuration.
    Refused {
        /// BIRD's own words.
        why: String,
    },
    /// The control socket does not exist or no process listens on it: BIRD is not running, and its
    /// routes are gone.
    NotRunning {
        /// The message of the command or the kernel.
        why: String,
    },
    /// BIRD is down, or access to it is denied, or the command is broken.
    Unreachable {
        /// The message of the command or the kernel.
        why: String,
    },
    /// BIRD did not answer within the limit.
    TimedOut {
        /// The limit, and the output until then.
        why: String,
    },
    /// No request was sent.
    NotSent {
        /// The reason.
        why: String,
    },
}

/// A version of BIRD. Versions compare in the order of their release numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 2 in 2.0.12.
    pub major: u32,
    /// 0 in 2.0.12.
    pub minor: u32,
    /// 12 in 2.0.12; 0 if it is missing.
    pub patch: u32,
}

impl ReconfigureResult {
    /// The result if no request was sent.
    pub fn not_sent(why: String) -> ReconfigureResult {
        ReconfigureResult { outcome: Outcome::NotSent { why: one_line(&why) }, version: None, busy: false }
    }

    /// Whether another reconfigure within [`BUSY_PAUSE`] could kill BIRD. BIRD 3 can crash if it
    /// receives one while it is busy; an unknown version may be BIRD 3.
    pub fn requires_pause(&self) -> bool {
        self.busy && self.version.is_none_or(|version| version.major >= 3)
    }
}

impl Outcome {
    /// Interprets the last line of an answer. None if it is not the result of a reconfigure.
    pub fn from_reply(code: u16, text: &str) -> Option<Outcome> {
        match code {
            3 => Some(Outcome::Reconfigured),
            4 => Some(Outcome::InProgress),
            5 => Some(Outcome::Queued),
            6 | 8000.. => Some(Outcome::Refused { why: one_line(text) }),
            _ => None,
        }
    }

    /// Whether the list is in BIRD's configuration.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Outcome::Reconfigured | Outcome::InProgress)
    }

    /// The reason of a failure.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::Reconfigured | Outcome::InProgress | Outcome::Queued => None,
            Outcome::Refused { why }
            | Outcome::NotRunning { why }
            | Outcome::Unreachable { why }
            | Outcome::TimedOut { why }
            | Outcome::NotSent { why } => Some(why),
        }
    }
}

/// Formats the sentence for the log: the original's, if it has one.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Reconfigured => f.write_str("reconfigured BIRD daemon"),
            Outcome::InProgress => f.write_str("reconfigured BIRD daemon, which is still restarting a protocol"),
            Outcome::Queued => f.write_str("BIRD daemon is busy with the reconfiguration before, it is asked again"),
            Outcome::Refused { why } => write!(
                f,
                "reconfiguring BIRD returned error, most likely we generated an invalid configuration file or Bird \
                 configuration in is broken:{why}"
            ),
            Outcome::NotRunning { why } | Outcome::Unreachable { why } => write!(
                f,
                "reconfiguring BIRD failed, either BIRD daemon is down or we don't have privileges to reconfigure it \
                 (sudo problems?):{why}"
            ),
            Outcome::TimedOut { why } => write!(f, "reconfiguring bird timed out: {why}"),
            Outcome::NotSent { why } => write!(f, "reconfiguring BIRD failed with: {why}"),
        }
    }
}

impl Version {
    /// Whether this version sends the routes at the end of a long table only after 3 s or at the
    /// next event. 2.0 does, 2.19 does not; the versions between them are untested.
    pub fn needs_second_reconfigure(&self) -> bool {
        *self < Version { major: 2, minor: 19, patch: 0 }
    }

    /// Whether this version accepts `[ ]` as a list.
    pub fn reads_empty_lists(&self) -> bool {
        *self >= Version { major: 2, minor: 0, patch: 11 }
    }

    /// Parses BIRD's greeting `BIRD 2.0.12 ready.`. Suffixes of a build are ignored.
    pub fn from_greeting(text: &str) -> Option<Version> {
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

/// Joins all lines by `; `, replaces control characters and cuts the result to
/// [`MAX_REASON_LEN`] bytes.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (n, part) in text.lines().map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        line.push_str(if n == 0 { "" } else { "; " });
        line.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_LEN + 1));
        if line.len() > MAX_REASON_LEN {
            while line.len() + '…'.len_utf8() > MAX_REASON_LEN {
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
