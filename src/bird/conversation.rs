//! One conversation over BIRD's control socket: connect, greeting, requests and replies.
//!
//! Promises: everything is over by the deadline or when the stop line is pulled, whatever the other side does: a stopped
//! BIRD accepts connections and says nothing, and when its queue of nine is full it would block a plain `connect` for
//! ever. The connection ends with the conversation: a kept one would save a tenth of a millisecond, and would have to
//! be told from one whose BIRD has gone.
//! Leaves out: what is said (`bird::control`), how bytes become replies (`bird::framing`).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::bird::framing::{Framing, FramingError, Whole};
use crate::bird::reply::{one_line, Meaning, Version};
use crate::sys::poll::poll_until;
use crate::sys::stop_line::{Stop, StopLine};

/// Why a conversation did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// The socket is not there.
    #[error("{0} is not there: BIRD is down, or has its control socket elsewhere")]
    NotThere(PathBuf),
    /// It is left from a BIRD that is gone.
    #[error("nobody listens on {0}: BIRD is down")]
    Refused(PathBuf),
    /// The kernel says no.
    #[error(
        "no right to use {path}: put the daemon's user into the group {group} (systemd: SupplementaryGroups={group})"
    )]
    Denied {
        /// The socket.
        path: PathBuf,
        /// Its group, or that of its directory where that is what keeps us out.
        group: String,
    },
    /// Too many connections wait already.
    #[error("BIRD takes no connections on {0}: it is stopped or stuck")]
    Full(PathBuf),
    /// Any other trouble with the socket.
    #[error("cannot speak to BIRD over {path}: {why}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        why: Errno,
    },
    /// BIRD, or what is in its place, is not there any more.
    #[error("the connection was closed: BIRD has ended")]
    Closed,
    /// It is no BIRD.
    #[error(transparent)]
    Foreign(#[from] FramingError),
    /// The greeting is missing.
    #[error("the other side of the control socket does not greet as BIRD does: {0:?}")]
    NoGreeting(String),
    /// The deadline came.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The stop line was pulled.
    #[error("the daemon stops")]
    Stopped,
}

impl ConversationError {
    /// What it means for a list that was to be told.
    pub fn meaning(&self) -> Meaning {
        let why = one_line(&self.to_string());
        match self {
            ConversationError::Silent(_) | ConversationError::Full(_) => Meaning::Silent { why },
            ConversationError::Stopped => Meaning::NotSent { why },
            ConversationError::NotThere(_) | ConversationError::Refused(_) => Meaning::Gone { why },
            _ => Meaning::Unreachable { why },
        }
    }
}

/// A connection whose greeting was heard.
pub struct Conversation<'a> {
    /// BIRD's version, as it greets.
    pub version: Option<Version>,
    path: &'a Path,
    socket: OwnedFd,
    framing: Framing,
    replies: VecDeque<Whole>,
    began: Instant,
    limit: Duration,
    stop: &'a StopLine,
}

impl<'a> Conversation<'a> {
    /// Connects and hears the greeting. `limit` is for the whole conversation.
    pub fn open(path: &'a Path, limit: Duration, stop: &'a StopLine) -> Result<Conversation<'a>, ConversationError> {
        let trouble = |why| ConversationError::Socket { path: path.to_path_buf(), why };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(trouble)?;
        connect(&socket, &SocketAddrUnix::new(path).map_err(trouble)?).map_err(|why| match why {
            Errno::NOENT => ConversationError::NotThere(path.to_path_buf()),
            Errno::CONNREFUSED => ConversationError::Refused(path.to_path_buf()),
            Errno::ACCESS => ConversationError::Denied { path: path.to_path_buf(), group: group_of(path) },
            Errno::AGAIN => ConversationError::Full(path.to_path_buf()),
            why => trouble(why),
        })?;
        let (framing, replies) = Default::default();
        let began = Instant::now();
        let mut conversation = Conversation { version: None, path, socket, framing, replies, began, limit, stop };
        let first = conversation.hear()?;
        conversation.version = first
            .greeting()
            .ok_or_else(|| ConversationError::NoGreeting(first.result().text.chars().take(80).collect()))?;
        Ok(conversation)
    }

    /// Sends requests, each ending in a newline.
    pub fn say(&mut self, requests: &str) -> Result<(), ConversationError> {
        let mut rest = requests.as_bytes();
        while !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(why) => self.broken(why)?,
            }
        }
        Ok(())
    }

    /// Waits for the next reply.
    pub fn hear(&mut self) -> Result<Whole, ConversationError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(ConversationError::Closed),
                Ok((length, _)) => {
                    let mut whole = Vec::new();
                    let fed = self.framing.feed(&buffer[..length], &mut whole);
                    self.replies.extend(whole);
                    if self.replies.is_empty() {
                        fed?;
                        // Somebody who never stops sending must not outlive the deadline.
                        self.in_time()?;
                    }
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(why) => self.broken(why)?,
            }
        }
    }

    /// A request and its reply.
    pub fn ask(&mut self, request: &str) -> Result<Whole, ConversationError> {
        self.say(request)?;
        self.hear()
    }

    /// Lets some time pass between two requests.
    pub fn rest(&self, time: Duration) -> Result<(), ConversationError> {
        if self.stop.wait(time) {
            return Err(ConversationError::Stopped);
        }
        self.in_time()
    }

    /// How long it has lasted.
    pub fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    fn in_time(&self) -> Result<(), ConversationError> {
        if self.lasted() >= self.limit {
            return Err(ConversationError::Silent(self.limit));
        }
        Ok(())
    }

    /// Until the socket is ready. BIRD's answer counts also where the stop line is pulled at the same time.
    fn wait(&self, ready: PollFlags) -> Result<(), ConversationError> {
        let mut fds = [PollFd::new(&self.socket, ready), PollFd::new(self.stop, PollFlags::IN)];
        poll_until(&mut fds, Some(self.began + self.limit));
        match fds.map(|fd| !fd.revents().is_empty()) {
            [true, _] => self.in_time(),
            [false, true] => Err(ConversationError::Stopped),
            [false, false] => Err(ConversationError::Silent(self.limit)),
        }
    }

    fn broken(&self, why: Errno) -> Result<(), ConversationError> {
        match why {
            Errno::INTR => Ok(()),
            Errno::PIPE | Errno::CONNRESET => Err(ConversationError::Closed),
            why => Err(ConversationError::Socket { path: self.path.to_path_buf(), why }),
        }
    }
}

/// The group whose members may use the socket, as far as it can be seen from here.
fn group_of(path: &Path) -> String {
    let parent = path.parent().unwrap_or(path);
    let Ok(found) = std::fs::metadata(path).or_else(|_| std::fs::metadata(parent)) else { return "bird".to_string() };
    let group = nix::unistd::Group::from_gid(found.gid().into()).ok().flatten();
    group.map_or_else(|| found.gid().to_string(), |group| group.name)
}

#[cfg(test)]
mod tests;
