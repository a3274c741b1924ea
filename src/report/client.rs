//! The client of the status socket: asks the running daemon for its status document.
//!
//! Guarantees: whatever answers, asking ends within the timeout and holds at most
//! [`MAX_DOCUMENT_LEN`] bytes. Errors distinguish a daemon that does not run, a socket that may not
//! be opened, an answer that is no document and, with [`AskError::confirmed`], a daemon that runs
//! without its socket.
//!
//! Blocking: on the daemon, for the timeout.
//!
//! Out of scope: the document (`report::document`), the table (`report::table`).

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Deserialize;

use crate::report::document::{Document, SCHEMA};
use crate::report::server::RECHECK_INTERVAL;
use crate::sys::single_instance::{find_running, RunningDaemon};
use crate::sys::unix_socket::group_of;

/// Upper bound on a document: 10,000 services need about 10 MB.
pub const MAX_DOCUMENT_LEN: usize = 64 * 1024 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket, or no process listens on it.
    #[error("anycast-healthchecker is not running: nobody answers on {path}: {source}", path = .path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// A daemon holds the lock or the abstract name, but no process listens on the socket.
    #[error(
        "anycast-healthchecker runs{pid}, but nobody answers on {path}: {source}; a status socket that was deleted is put \
         back within {RECHECK_INTERVAL:?}",
        pid = .pid.map_or_else(String::new, |pid| format!(" (process {pid})")), path = .path.display()
    )]
    Unreachable {
        /// The daemon's process; None if it is not known.
        pid: Option<u32>,
        /// The socket.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// This user may not open the socket.
    #[error("may not open {path}: it is for members of group {group} and root; join the group, or use sudo", path = .path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// The group that may open it: its name, or its number if it has no name.
        group: String,
    },
    /// The daemon took too long: it is stopped, or the machine is overloaded.
    #[error("{path} gave no whole answer in {limit:?}: anycast-healthchecker is stopped or the machine overloaded", path = .path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// The timeout.
        limit: Duration,
    },
    /// The answer is no document of a known schema.
    #[error("the answer of {path} is no status document: {why}", path = .path.display())]
    Garbage {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another error.
    #[error("cannot ask {path}: {source}", path = .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
}

impl AskError {
    /// Replaces [`AskError::NotRunning`] by [`AskError::Unreachable`] if the locks say that a
    /// daemon runs. Without a pidfile only the abstract name is examined.
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

/// Returns the document of the daemon that listens at `path`, which has `limit` to answer.
pub fn ask(path: &Path, limit: Duration) -> Result<Document, AskError> {
    ask_raw(path, limit).map(|(document, _)| document)
}

/// Returns the document together with the bytes of the answer.
pub fn ask_raw(path: &Path, limit: Duration) -> Result<(Document, Vec<u8>), AskError> {
    let answer = fetch(path, limit)?;
    Ok((parse(path, &answer)?, answer))
}

/// Parses the answer of the daemon at `path`.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Document, AskError> {
    /// What documents of all schemas have in common.
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
            // These are the errors after a timeout of the socket.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::TimedOut { path, limit },
            io::ErrorKind::FileTooLarge => {
                AskError::Garbage { path, why: format!("it is longer than {MAX_DOCUMENT_LEN} bytes") }
            }
            _ => AskError::Io { path, source },
        }
    })
}

fn exchange(path: &Path, deadline: Instant) -> io::Result<Vec<u8>> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // If the queue of the listener is full, connect blocks for the send timeout.
    set_socket_timeout(&socket, Timeout::Send, Some(remaining(deadline)?))?;
    connect(&socket, &address)?;
    let mut stream = UnixStream::from(socket);
    let mut answer = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        // Re-armed on every read, so that a trickling peer cannot exceed the deadline.
        stream.set_read_timeout(Some(remaining(deadline)?))?;
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

/// Returns the remaining time. It is never zero, which would mean "no timeout" for a socket.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(remaining)
}

#[cfg(test)]
mod tests;
