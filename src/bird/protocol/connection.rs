//! One connection to BIRD's control socket: connect, greeting, requests and replies.
//!
//! Guarantees: every call returns by the deadline or once the stop token is triggered, whatever the
//! peer does. A stopped BIRD accepts connections and sends nothing, and once its queue of nine is
//! full, a plain `connect` would block forever. A connection serves one exchange: a kept one would
//! save a tenth of a millisecond, but its BIRD may have ended in the meantime.
//!
//! Blocking: the caller, until the deadline.
//!
//! Out of scope: the requests (`bird::protocol::control`), and how bytes become replies
//! (`bird::protocol::framing`).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::bird::protocol::framing::{Framing, FramingError, Response, MAX_QUOTE_LEN};
use crate::bird::protocol::outcome::{one_line, Outcome, Version};
use crate::sys::poll::poll_until;
use crate::sys::stop_token::{Stop, StopToken};
use crate::sys::unix_socket::group_of;

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The socket does not exist.
    #[error("{0} is not there: BIRD is down, or has its control socket elsewhere")]
    NotFound(PathBuf),
    /// No process listens on the socket: it is left from a BIRD that has ended.
    #[error("nobody listens on {0}: BIRD is down")]
    Refused(PathBuf),
    /// The daemon's user may not use the socket.
    #[error(
        "no right to use {path}: put the daemon's user into the group {group} (systemd: SupplementaryGroups={group})"
    )]
    PermissionDenied {
        /// The socket.
        path: PathBuf,
        /// The group of the socket, or of its directory if that denies access.
        group: String,
    },
    /// The queue of connections is full.
    #[error("BIRD takes no connections on {0}: it is stopped or stuck")]
    QueueFull(PathBuf),
    /// Any other error of the socket.
    #[error("cannot speak to BIRD over {path}: {why}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The kernel's error.
        why: Errno,
    },
    /// The peer closed the connection.
    #[error("the connection was closed: BIRD has ended")]
    Closed,
    /// The peer is not BIRD.
    #[error(transparent)]
    Foreign(#[from] FramingError),
    /// The first reply is not a greeting.
    #[error("the other side of the control socket does not greet as BIRD does: {0:?}")]
    NoGreeting(String),
    /// The deadline has passed.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The stop token was triggered.
    #[error("the daemon stops")]
    Stopped,
}

impl ConnectionError {
    /// The outcome of a reconfigure that failed with this error.
    pub fn outcome(&self) -> Outcome {
        let why = one_line(&self.to_string());
        match self {
            ConnectionError::TimedOut(_) | ConnectionError::QueueFull(_) => Outcome::TimedOut { why },
            ConnectionError::Stopped => Outcome::NotSent { why },
            ConnectionError::NotFound(_) | ConnectionError::Refused(_) => Outcome::NotRunning { why },
            _ => Outcome::Unreachable { why },
        }
    }
}

/// A connection on which BIRD has sent its greeting.
pub struct Connection<'a> {
    /// BIRD's version, if the greeting contains it.
    pub version: Option<Version>,
    path: &'a Path,
    socket: OwnedFd,
    framing: Framing,
    replies: VecDeque<Response>,
    started: Instant,
    limit: Duration,
    stop: &'a StopToken,
}

impl<'a> Connection<'a> {
    /// Connects and receives the greeting. `limit` applies to the whole connection.
    pub fn open(path: &'a Path, limit: Duration, stop: &'a StopToken) -> Result<Connection<'a>, ConnectionError> {
        let other_error = |why| ConnectionError::Socket { path: path.to_path_buf(), why };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(other_error)?;
        connect(&socket, &SocketAddrUnix::new(path).map_err(other_error)?).map_err(|why| match why {
            Errno::NOENT => ConnectionError::NotFound(path.to_path_buf()),
            Errno::CONNREFUSED => ConnectionError::Refused(path.to_path_buf()),
            Errno::ACCESS => ConnectionError::PermissionDenied {
                path: path.to_path_buf(),
                group: group_of(path).unwrap_or_else(|| "bird".into()),
            },
            Errno::AGAIN => ConnectionError::QueueFull(path.to_path_buf()),
            why => other_error(why),
        })?;
        let started = Instant::now();
        let mut connection = Connection {
            version: None,
            path,
            socket,
            framing: Framing::default(),
            replies: VecDeque::new(),
            started,
            limit,
            stop,
        };
        let first = connection.recv()?;
        let no_greeting = || ConnectionError::NoGreeting(first.result().text.chars().take(MAX_QUOTE_LEN).collect());
        connection.version = first.greeting().ok_or_else(no_greeting)?;
        Ok(connection)
    }

    /// Sends requests, each ending in a newline.
    pub fn send(&mut self, requests: &str) -> Result<(), ConnectionError> {
        let mut remaining = requests.as_bytes();
        while !remaining.is_empty() {
            match send(&self.socket, remaining, SendFlags::NOSIGNAL) {
                Ok(sent) => remaining = &remaining[sent..],
                Err(Errno::AGAIN) => self.wait_until_ready(PollFlags::OUT)?,
                Err(why) => self.check_errno(why)?,
            }
        }
        Ok(())
    }

    /// Receives the next reply.
    pub fn recv(&mut self) -> Result<Response, ConnectionError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(ConnectionError::Closed),
                Ok((length, _)) => {
                    let mut complete = Vec::new();
                    let result = self.framing.feed(&buffer[..length], &mut complete);
                    self.replies.extend(complete);
                    if self.replies.is_empty() {
                        result?;
                        // A peer that never stops sending must not exceed the deadline.
                        self.check_deadline()?;
                    }
                }
                Err(Errno::AGAIN) => self.wait_until_ready(PollFlags::IN)?,
                Err(why) => self.check_errno(why)?,
            }
        }
    }

    /// Sends a request and receives its reply.
    pub fn ask(&mut self, request: &str) -> Result<Response, ConnectionError> {
        self.send(request)?;
        self.recv()
    }

    /// Waits between two requests.
    pub fn pause(&self, time: Duration) -> Result<(), ConnectionError> {
        if self.stop.wait(time) {
            return Err(ConnectionError::Stopped);
        }
        self.check_deadline()
    }

    /// The time since the connection was opened.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn check_deadline(&self) -> Result<(), ConnectionError> {
        if self.elapsed() >= self.limit {
            return Err(ConnectionError::TimedOut(self.limit));
        }
        Ok(())
    }

    /// Waits until the socket is ready. An answer counts even if the stop token is triggered at the
    /// same time.
    fn wait_until_ready(&self, ready: PollFlags) -> Result<(), ConnectionError> {
        let mut fds = [PollFd::new(&self.socket, ready), PollFd::new(self.stop, PollFlags::IN)];
        poll_until(&mut fds, Some(self.started + self.limit));
        match fds.map(|fd| !fd.revents().is_empty()) {
            [true, _] => self.check_deadline(),
            [false, true] => Err(ConnectionError::Stopped),
            [false, false] => Err(ConnectionError::TimedOut(self.limit)),
        }
    }

    /// Returns if the call is to be repeated.
    fn check_errno(&self, why: Errno) -> Result<(), ConnectionError> {
        match why {
            Errno::INTR => Ok(()),
            Errno::PIPE | Errno::CONNRESET => Err(ConnectionError::Closed),
            why => Err(ConnectionError::Socket { path: self.path.to_path_buf(), why }),
        }
    }
}

#[cfg(test)]
mod tests;
