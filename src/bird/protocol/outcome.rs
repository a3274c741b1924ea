//! What BIRD's answer to a reconfigure means.
//!
//! ```text
//!   a command's output --> bird::protocol::birdc ----+
//!   the control socket --> bird::protocol::framing --+--> ReconfigureResult { outcome, version, busy }
//! ```
//!
//! Promises: pure; a reason is one line of at most [`MAX_REASON_LEN`] bytes.
//! Leaves out: reading an answer (`bird::protocol::birdc`, `bird::protocol::framing`), and asking (`bird::transport`).

use std::fmt;
use std::time::Duration;

/// How long a reason may be, in bytes.
pub const MAX_REASON_LEN: usize = 500;

/// How long no other reconfigure may be sent after a [`ReconfigureResult`] that [`requires_pause`](ReconfigureResult::requires_pause): a protocol
/// whose peer hangs takes ten seconds to restart.
pub const BUSY_PAUSE: Duration = Duration::from_secs(12);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconfigureResult {
    /// What it means.
    pub outcome: Outcome,
    /// BIRD's version, where it was said.
    pub version: Option<Version>,
    /// BIRD may still be working on it.
    pub busy: bool,
}

/// What an answer means for the list that was sent. In the order from good to bad.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is in force.
    Reconfigured,
    /// It is BIRD's configuration, though some protocol is still restarting.
    InProgress,
    /// It waits until the reconfiguration before it ends, or another takes its place: ask again.
    Queued,
    /// BIRD goes on with the old one.
    Refused {
        /// BIRD's own words.
        why: String,
    },
    /// Nobody listens on its control socket, or there is none: no BIRD runs there, and its routes left with it.
    NotRunning {
        /// What the command, or the kernel, had to say.
        why: String,
    },
    /// BIRD is down, or the way to it is barred, or the command is broken.
    Unreachable {
        /// What the command, or the kernel, had to say.
        why: String,
    },
    /// No answer within the limit.
    TimedOut {
        /// The limit, and what was heard until then.
        why: String,
    },
    /// Nothing was sent.
    NotSent {
        /// Why not.
        why: String,
    },
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

impl ReconfigureResult {
    /// Nothing was sent.
    pub fn not_sent(why: String) -> ReconfigureResult {
        ReconfigureResult { outcome: Outcome::NotSent { why: one_line(&why) }, version: None, busy: false }
    }

    /// Whether another reconfigure within [`BUSY_PAUSE`] could kill BIRD. Version 3 does not survive one that comes while it
    /// is busy; what says no version may be one.
    pub fn requires_pause(&self) -> bool {
        self.busy && self.version.is_none_or(|version| version.major >= 3)
    }
}

impl Outcome {
    /// The outcome of the last line of BIRD's answer, where it has one for a reconfigure.
    pub fn from_reply(code: u16, text: &str) -> Option<Outcome> {
        match code {
            3 => Some(Outcome::Reconfigured),
            4 => Some(Outcome::InProgress),
            5 => Some(Outcome::Queued),
            6 | 8000.. => Some(Outcome::Refused { why: one_line(text) }),
            _ => None,
        }
    }

    /// Whether BIRD has the list, now or in a moment.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Outcome::Reconfigured | Outcome::InProgress)
    }

    /// The reason, where BIRD will not take it.
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

/// The log's sentence: the original's, where it has one.
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
    /// Whether it sends what it found at the end of a long table only when something wakes it, or after 3 s. 2.0 does, and
    /// 2.19 does not; of those in between nothing is known.
    pub fn needs_second_reconfigure(&self) -> bool {
        *self < Version { major: 2, minor: 19, patch: 0 }
    }

    /// Whether it reads `[ ]` as a list.
    pub fn reads_empty_lists(&self) -> bool {
        *self >= Version { major: 2, minor: 0, patch: 11 }
    }

    /// The version in BIRD's greeting `BIRD 2.0.12 ready.`; whatever a build adds to the numbers is passed over.
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

/// All lines as one, joined by `; `, without control characters, cut to what a log line can hold.
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
