//! Cuts the bytes of BIRD's control socket into replies, and interprets the replies.
//!
//! ```text
//!   0002-Reading configuration from /etc/bird/bird.conf   more lines follow
//!    text                                                 continues, with the same code
//!   +text                                                 a message outside of any reply
//!   0003 Reconfigured                                     the last line, the result
//! ```
//!
//! Guarantees: pure; the replies do not depend on how the bytes are split; a line has at most
//! [`MAX_LINE_LEN`] bytes and a reply at most [`MAX_RESPONSE_LEN`], whatever the peer sends; after
//! an error all further bytes are ignored.
//!
//! Out of scope: the socket and time limits.

use crate::bird::protocol::outcome::{one_line, Outcome, ReconfigureResult, Version};

/// Maximum length of a line. BIRD's own limit is 512 bytes.
pub const MAX_LINE_LEN: usize = 4096;
/// Maximum length of a reply, far more than any reply to the requests of this program.
pub const MAX_RESPONSE_LEN: usize = 64 * 1024;
/// How many characters of an invalid line an error quotes.
pub const MAX_QUOTE_LEN: usize = 80;

/// One line of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// 0 to 9999.
    pub code: u16,
    /// The text after the code and its separator.
    pub text: String,
}

/// A complete reply, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    before: Vec<Line>,
    result: Line,
}

/// What BIRD is doing, by its answer to `configure status` (since 2.0.5) or `show status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// A `configure` may be sent.
    Idle,
    /// A reconfiguration is in progress.
    Busy,
    /// A reconfiguration is in progress and another one is queued.
    Queued,
    /// BIRD is shutting down.
    ShuttingDown,
    /// BIRD does not understand the query, or its answer is unknown to this program.
    Unknown,
}

/// Why the received bytes are not replies of BIRD.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A line or a reply is too long.
    #[error("BIRD's control socket sent a line or a reply without end")]
    Endless,
    /// A line does not have BIRD's form.
    #[error("the other side of the control socket does not speak as BIRD does: {line:?}")]
    Foreign {
        /// The line, cut short.
        line: String,
    },
}

/// Assembles the received bytes of one connection into replies.
#[derive(Debug, Default)]
pub struct Framing {
    /// The incomplete line.
    line: Vec<u8>,
    /// The lines of the incomplete reply.
    lines: Vec<Line>,
    /// The length of the incomplete reply in bytes.
    size: usize,
    error: Option<FramingError>,
}

impl Framing {
    /// Appends to `replies` those that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8], replies: &mut Vec<Response>) -> Result<(), FramingError> {
        let mut remaining = bytes;
        while self.error.is_none() && !remaining.is_empty() {
            let end = remaining.iter().position(|byte| *byte == b'\n');
            let (part, tail) = remaining.split_at(end.unwrap_or(remaining.len()));
            self.size += part.len();
            if self.line.len() + part.len() > MAX_LINE_LEN || self.size > MAX_RESPONSE_LEN {
                self.error = Some(FramingError::Endless);
                break;
            }
            self.line.extend_from_slice(part);
            remaining = tail.get(1..).unwrap_or_default();
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                if line.starts_with(b"+") {
                    self.size -= line.len();
                    continue;
                }
                match self.add_line(&String::from_utf8_lossy(&line)) {
                    Ok(reply) => replies.extend(reply),
                    Err(error) => self.error = Some(error),
                }
            }
        }
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Adds a complete line. Returns the reply if this line is its last one.
    fn add_line(&mut self, line: &str) -> Result<Option<Response>, FramingError> {
        let foreign = || FramingError::Foreign { line: line.chars().take(MAX_QUOTE_LEN).collect() };
        if let Some(text) = line.strip_prefix(' ') {
            let code = self.lines.last().ok_or_else(foreign)?.code;
            self.lines.push(Line { code, text: text.to_string() });
            return Ok(None);
        }
        let (code, is_last, text) = split_code(line).ok_or_else(foreign)?;
        let line = Line { code, text: text.to_string() };
        if !is_last {
            self.lines.push(line);
            return Ok(None);
        }
        self.size = 0;
        Ok(Some(Response { before: std::mem::take(&mut self.lines), result: line }))
    }
}

/// Splits a numbered line into its code, whether it is the last line of a reply, and its text.
pub fn split_code(line: &str) -> Option<(u16, bool, &str)> {
    let (code, rest) = line.split_at_checked(4)?;
    let digits_only = code.bytes().all(|byte| byte.is_ascii_digit());
    let text = rest.strip_prefix([' ', '-'])?;
    Some((code.parse().ok().filter(|_| digits_only)?, rest.starts_with(' '), text))
}

impl Response {
    /// The last line.
    pub fn result(&self) -> &Line {
        &self.result
    }

    /// All lines in their order.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.before.iter().chain([&self.result])
    }

    /// The version in BIRD's greeting, if it has one. None if the reply is not a greeting.
    pub fn greeting(&self) -> Option<Option<Version>> {
        (self.result.code == 1).then(|| Version::from_greeting(&self.result.text))
    }

    /// Interprets the answer to `configure` of a BIRD with this version.
    pub fn configured(&self, version: Option<Version>) -> ReconfigureResult {
        let Line { code, text } = &self.result;
        let outcome = Outcome::from_reply(*code, text).unwrap_or_else(|| Outcome::Refused { why: one_line(text) });
        let busy = matches!(outcome, Outcome::InProgress | Outcome::Queued);
        ReconfigureResult { outcome, version, busy }
    }

    /// Interprets the answer to `configure status`, or to `show status` from a BIRD without that.
    pub fn activity(&self) -> Activity {
        let known = self.lines().find_map(|line| match (line.code, line.text.as_str()) {
            (3, _) | (13, "Daemon is up and running") => Some(Activity::Idle),
            (4, _) | (13, "Reconfiguration in progress") => Some(Activity::Busy),
            (5, _) => Some(Activity::Queued),
            (6, _) | (13, "Shutdown in progress") => Some(Activity::ShuttingDown),
            _ => None,
        });
        known.unwrap_or(Activity::Unknown)
    }
}

#[cfg(test)]
mod tests;
