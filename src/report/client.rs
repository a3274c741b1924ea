//! Asking the running daemon for its status document.
//!
//! Promises: ends within the time given and holds [`MAX_DOCUMENT_LEN`] bytes at most, whatever answers; an
//! error tells "not running" from "not allowed" from "no sensible answer", and with
//! [`AskError::confirmed`] from "runs without its socket".
//! Leaves out: the document (`report::document`), the table (`report::table`).

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Deserialize;

use crate::report::document::{Document, SCHEMA};
use crate::report::server::LOOK;
use crate::sys::single_instance::{find_running, RunningDaemon};
use crate::sys::unix_socket::group_of;

/// A longer answer is none of the daemon's: 10,000 services need some 10 MB.
pub const MAX_DOCUMENT_LEN: usize = 64 * 1024 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No socket, or nobody behind it.
    #[error("anycast-healthchecker is not running: nobody answers on {path}: {source}", path = .path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The daemon's lock or its name is held, but there is no socket, or nobody behind it.
    #[error(
        "anycast-healthchecker runs{pid}, but nobody answers on {path}: {source}; a status socket that was deleted is put \
         back within {LOOK:?}",
        pid = .pid.map_or_else(String::new, |pid| format!(" (process {pid})")), path = .path.display()
    )]
    Unreachable {
        /// The daemon's process, where that can be told.
        pid: Option<u32>,
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error("may not open {path}: it is for members of group {group} and root; join the group, or use sudo", path = .path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// DrainTarget it is for: a name, or a number without one.
        group: String,
    },
    /// The daemon took too long: it is stopped, or the machine is overloaded.
    #[error("{path} gave no whole answer in {limit:?}: anycast-healthchecker is stopped or the machine overloaded", path = .path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// The time given.
        limit: Duration,
    },
    /// What answers is no anycast-healthchecker of a version that is understood.
    #[error("the answer of {path} is no status document: {why}", path = .path.display())]
    Garbage {
        /// The socket.
        path: PathBuf,
        /// Where it went wrong.
        why: String,
    },
    /// Something else failed.
    #[error("cannot ask {path}: {source}", path = .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl AskError {
    /// The same; but where nobody answers the daemon's locks are asked as well whether it runs.
    /// Without a pidfile this is its name alone.
    pub fn confirmed(self, pidfile: Option<&Path>) -> AskError {
        match self {
            AskError::NotRunning { path, source } => match find_running(pidfile) {
                Some(RunningDaemon { pid }) => AskError::Unreachable { pid, path, source },
                None => AskError::NotRunning { path, source },
            },
            other => other,
        }
    }
}

/// The document of the daemon that listens at `path`, which has `limit` to answer.
pub fn ask(path: &Path, limit: Duration) -> Result<Document, AskError> {
    ask_whole(path, limit).map(|(document, _)| document)
}

/// The same with the answer as it came.
pub fn ask_whole(path: &Path, limit: Duration) -> Result<(Document, Vec<u8>), AskError> {
    let answer = fetch(path, limit)?;
    Ok((parse(path, &answer)?, answer))
}

/// The document in an answer of the daemon at `path`.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Document, AskError> {
    /// What documents of every schema have.
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
    }
    let garbage = |why: String| AskError::Garbage { path: path.into(), why };
    let Head { schema } = serde_json::from_slice(bytes).map_err(|why| garbage(why.to_string()))?;
    if schema != SCHEMA {
        return Err(garbage(format!("its schema is {schema}, known is {SCHEMA}")));
    }
    serde_json::from_slice(bytes).map_err(|why| garbage(why.to_string()))
}

fn fetch(path: &Path, limit: Duration) -> Result<Vec<u8>, AskError> {
    exchange(path, Instant::now() + limit).map_err(|source| {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path, source },
            io::ErrorKind::PermissionDenied => {
                AskError::Denied { group: group_of(&path).unwrap_or_else(|| "root".into()), path }
            }
            // What a time limit of a socket ends with.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::TimedOut { path, limit },
            io::ErrorKind::FileTooLarge => {
                AskError::Garbage { path, why: format!("it is longer than {MAX_DOCUMENT_LEN} bytes") }
            }
            _ => AskError::Io { path, source },
        }
    })
}

fn exchange(path: &Path, until: Instant) -> io::Result<Vec<u8>> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Where many wait already, connecting waits too, for as long as sending may.
    set_socket_timeout(&socket, Timeout::Send, Some(left(until)?))?;
    connect(&socket, &address)?;
    let mut stream = UnixStream::from(socket);
    let mut answer = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        // Once a part, so that who sends drop by drop does not hold us either.
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if answer.len() > MAX_DOCUMENT_LEN {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// The time that is left; zero would mean for ever to a socket.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
