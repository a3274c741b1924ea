//! One connection over BIRD's control socket: connect, greeting, requests and replies.
//!
//! Promises: everything is over by the deadline or when the stop line is pulled, whatever the other side does: a stopped
//! BIRD accepts connections and says nothing, and when its queue of nine is full it would block a plain `connect` for
//! ever. The connection ends with the connection: a kept one would save a tenth of a millisecond, and would have to
//! be told from one whose BIRD has gone.
//! Leaves out: what is said (`bird::protocol::control`), how bytes become replies (`bird::protocol::framing`).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::bird::protocol::framing::{Framing, FramingError, Response};
use crate::bird::protocol::outcome::{one_line, Outcome, Version};
use crate::sys::poll::poll_until;
use crate::sys::stop_token::{Stop, StopToken};
use crate::sys::unix_socket::group_of;

/// Why a connection did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
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

impl ConnectionError {
    /// What it means for a list that was to be told.
    pub fn outcome(&self) -> Outcome {
        let why = one_line(&self.to_string());
        match self {
            ConnectionError::Silent(_) | ConnectionError::Full(_) => Outcome::TimedOut { why },
            ConnectionError::Stopped => Outcome::NotSent { why },
            ConnectionError::NotThere(_) | ConnectionError::Refused(_) => Outcome::NotRunning { why },
            _ => Outcome::Unreachable { why },
        }
    }
}

/// A connection whose greeting was heard.
pub struct Connection<'a> {
    /// BIRD's version, as it greets.
    pub version: Option<Version>,
    path: &'a Path,
    socket: OwnedFd,
    framing: Framing,
    replies: VecDeque<Response>,
    began: Instant,
    limit: Duration,
    stop: &'a StopToken,
}

impl<'a> Connection<'a> {
    /// Connects and hears the greeting. `limit` is for the whole connection.
    pub fn open(path: &'a Path, limit: Duration, stop: &'a StopToken) -> Result<Connection<'a>, ConnectionError> {
        let trouble = |why| ConnectionError::Socket { path: path.to_path_buf(), why };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(trouble)?;
        connect(&socket, &SocketAddrUnix::new(path).map_err(trouble)?).map_err(|why| match why {
            Errno::NOENT => ConnectionError::NotThere(path.to_path_buf()),
            Errno::CONNREFUSED => ConnectionError::Refused(path.to_path_buf()),
            Errno::ACCESS => ConnectionError::Denied {
                path: path.to_path_buf(),
                group: group_of(path).unwrap_or_else(|| "bird".into()),
            },
            Errno::AGAIN => ConnectionError::Full(path.to_path_buf()),
            why => trouble(why),
        })?;
        let (framing, replies) = Default::default();
        let began = Instant::now();
        let mut connection = Connection { version: None, path, socket, framing, replies, began, limit, stop };
        let first = connection.recv()?;
        connection.version = first
            .greeting()
            .ok_or_else(|| ConnectionError::NoGreeting(first.result().text.chars().take(80).collect()))?;
        Ok(connection)
    }

    /// Sends requests, each ending in a newline.
    pub fn send(&mut self, requests: &str) -> Result<(), ConnectionError> {
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
    pub fn recv(&mut self) -> Result<Response, ConnectionError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(ConnectionError::Closed),
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
    pub fn ask(&mut self, request: &str) -> Result<Response, ConnectionError> {
        self.send(request)?;
        self.recv()
    }

    /// Lets some time pass between two requests.
    pub fn pause(&self, time: Duration) -> Result<(), ConnectionError> {
        if self.stop.wait(time) {
            return Err(ConnectionError::Stopped);
        }
        self.in_time()
    }

    /// How long it has lasted.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn in_time(&self) -> Result<(), ConnectionError> {
        if self.elapsed() >= self.limit {
            return Err(ConnectionError::Silent(self.limit));
        }
        Ok(())
    }

    /// Until the socket is ready. BIRD's answer counts also where the stop line is pulled at the same time.
    fn wait(&self, ready: PollFlags) -> Result<(), ConnectionError> {
        let mut fds = [PollFd::new(&self.socket, ready), PollFd::new(self.stop, PollFlags::IN)];
        poll_until(&mut fds, Some(self.began + self.limit));
        match fds.map(|fd| !fd.revents().is_empty()) {
            [true, _] => self.in_time(),
            [false, true] => Err(ConnectionError::Stopped),
            [false, false] => Err(ConnectionError::Silent(self.limit)),
        }
    }

    fn broken(&self, why: Errno) -> Result<(), ConnectionError> {
        match why {
            Errno::INTR => Ok(()),
            Errno::PIPE | Errno::CONNRESET => Err(ConnectionError::Closed),
            why => Err(ConnectionError::Socket { path: self.path.to_path_buf(), why }),
        }
    }
}

#[cfg(test)]
mod tests;
