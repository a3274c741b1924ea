//! The bytes of BIRD's control socket, cut into whole replies, and what the replies mean.
//!
//! ```text
//!   0002-Reading configuration from /etc/bird/bird.conf     more follows
//!    text                                                   more, under the code of the line before
//!   +text                                                   a message that belongs to no reply
//!   0003 Reconfigured                                       the last line, the result
//! ```
//!
//! Promises: pure; how the bytes are cut makes no difference; a line has at most [`MAX_LINE_LEN`] bytes and a reply
//! [`MAX_RESPONSE_LEN`], whatever the other side sends; after an error nothing more is made of the connection.
//! Leaves out: the socket and time limits.

use crate::bird::protocol::outcome::{one_line, Outcome, ReconfigureResult, Version};

/// BIRD's own limit is 512 bytes.
pub const MAX_LINE_LEN: usize = 4096;
/// Far more than any reply asked for here.
pub const MAX_RESPONSE_LEN: usize = 64 * 1024;

/// One line of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// 0 to 9999.
    pub code: u16,
    /// What follows it, without the mark between.
    pub text: String,
}

/// A complete reply, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    before: Vec<Line>,
    result: Line,
}

/// What BIRD is at, by its answer to `configure status` (since 2.0.5) or `show status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// A `configure` may be sent.
    Idle,
    /// It works on one.
    Busy,
    /// It works on one and another waits.
    Queued,
    /// It ends.
    ShuttingDown,
    /// It does not understand the query, or the answer is none of those known.
    Unknown,
}

/// Why no reply can be made out of what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Too long.
    #[error("BIRD's control socket sent a line or a reply without end")]
    Endless,
    /// Not of the form above.
    #[error("the other side of the control socket does not speak as BIRD does: {line:?}")]
    Foreign {
        /// The line, cut short.
        line: String,
    },
}

/// A connection's bytes on their way to replies.
#[derive(Debug, Default)]
pub struct Framing {
    /// The line that is not complete.
    line: Vec<u8>,
    /// The lines of the reply that is not complete, and their bytes.
    lines: Vec<Line>,
    size: usize,
    broken: Option<FramingError>,
}

impl Framing {
    /// Takes bytes in and appends the replies that are complete with them to `replies`.
    pub fn feed(&mut self, bytes: &[u8], replies: &mut Vec<Response>) -> Result<(), FramingError> {
        let mut rest = bytes;
        while self.broken.is_none() && !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (part, tail) = rest.split_at(end.unwrap_or(rest.len()));
            self.size += part.len();
            if self.line.len() + part.len() > MAX_LINE_LEN || self.size > MAX_RESPONSE_LEN {
                self.broken = Some(FramingError::Endless);
                break;
            }
            self.line.extend_from_slice(part);
            rest = tail.get(1..).unwrap_or_default();
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                if line.starts_with(b"+") {
                    self.size -= line.len();
                    continue;
                }
                match self.complete(&String::from_utf8_lossy(&line)) {
                    Ok(reply) => replies.extend(reply),
                    Err(error) => self.broken = Some(error),
                }
            }
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// A whole line; the reply, where it is the last of one.
    fn complete(&mut self, line: &str) -> Result<Option<Response>, FramingError> {
        let foreign = || FramingError::Foreign { line: line.chars().take(80).collect() };
        if let Some(text) = line.strip_prefix(' ') {
            let code = self.lines.last().ok_or_else(foreign)?.code;
            self.lines.push(Line { code, text: text.to_string() });
            return Ok(None);
        }
        let (code, rest) = line.split_at_checked(4).ok_or_else(foreign)?;
        let digits = code.bytes().all(|byte| byte.is_ascii_digit());
        let code = code.parse().ok().filter(|_| digits).ok_or_else(foreign)?;
        let text = rest.strip_prefix([' ', '-']).ok_or_else(foreign)?;
        let found = Line { code, text: text.to_string() };
        if rest.starts_with('-') {
            self.lines.push(found);
            return Ok(None);
        }
        self.size = 0;
        Ok(Some(Response { before: std::mem::take(&mut self.lines), result: found }))
    }
}

impl Response {
    /// The last line.
    pub fn result(&self) -> &Line {
        &self.result
    }

    /// All lines, the last one last.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.before.iter().chain([&self.result])
    }

    /// Whether it is BIRD's greeting, and the version it tells.
    pub fn greeting(&self) -> Option<Option<Version>> {
        (self.result.code == 1).then(|| Version::from_greeting(&self.result.text))
    }

    /// The answer to `configure`, from a BIRD whose greeting told the version.
    pub fn configured(&self, version: Option<Version>) -> ReconfigureResult {
        let Line { code, text } = &self.result;
        let outcome = Outcome::from_reply(*code, text).unwrap_or_else(|| Outcome::Refused { why: one_line(text) });
        let busy = matches!(outcome, Outcome::InProgress | Outcome::Queued);
        ReconfigureResult { outcome, version, busy }
    }

    /// The answer to `configure status`, or to `show status` where BIRD does not know the first.
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
