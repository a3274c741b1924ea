//! The status socket: sends the status document to every process that connects.
//!
//! Guarantees: from the first moment on, only root and members of the socket's group can connect.
//! The server reads nothing from its peers and waits for none of them: it drops a peer that has not
//! taken the document within [`SEND_TIMEOUT`], and serves at most [`MAX_PEERS`] at a time while
//! others wait in the kernel's queue. While no peer connects, it only checks every
//! [`RECHECK_INTERVAL`] whether the socket was deleted, and puts it back. The socket is removed at
//! the stop.
//!
//! Blocking: never, apart from the wait for events.
//!
//! Shutdown: the stop token.
//!
//! Out of scope: a file that replaced the socket. It is left alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{fchmod, Mode};
use rustix::io::Errno;
use rustix::net::{
    accept_with, bind, listen, send, socket_with, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tracing::{debug, warn};

use crate::daemon_state::DaemonState;
use crate::report::status::document;
use crate::sys::clock::Now;
use crate::sys::poll::poll_until;
use crate::sys::stop_token::{Stop, StopToken};

/// How often the server checks whether the socket was deleted.
pub const RECHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How many peers are served at a time.
const MAX_PEERS: usize = 8;
/// How many peers may wait in the kernel's queue.
const BACKLOG: i32 = 128;
/// How long one peer may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the server pauses after accepting failed: no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Owner and group may connect.
const MODE: u32 = 0o660;

/// Why there is no status socket.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another file has the socket's path. It may be of value.
    #[error("no status socket: {path} exists and is no socket; remove it, or set status_socket", path = .0.display())]
    NotASocket(PathBuf),
    /// The path is too long, or the directory is missing or not writable.
    #[error("no status socket: cannot create {path}: {source}", path = .path.display())]
    Create {
        /// The path of the socket.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The thread cannot be spawned.
    #[error("no status socket: cannot start its thread: {0}")]
    Thread(io::Error),
}

/// Creates the socket and starts its thread. An existing socket is replaced: the caller holds the
/// lock of the daemon, so it must be stale.
pub fn start(state: Arc<DaemonState>, path: &Path, stop: StopToken) -> Result<JoinHandle<()>, ServeError> {
    let create = |source| ServeError::Create { path: path.into(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(create)?,
        Ok(_) => return Err(ServeError::NotASocket(path.into())),
        Err(_) => {}
    }
    let socket = Socket::create(path).map_err(create)?;
    let thread = std::thread::Builder::new().name("status".into()).spawn(move || {
        let next_recheck = Instant::now() + RECHECK_INTERVAL;
        let mut server = Server { state, socket, next_recheck, lost: false, peers: Vec::new(), pause_until: None };
        server.run(&stop);
        if server.socket.is_in_place().is_ok_and(|is_in_place| is_in_place == Some(true)) {
            // If this fails, the next start replaces the socket.
            let _ = fs::remove_file(&server.socket.path);
        }
    });
    thread.map_err(|why| {
        // No thread would serve it.
        let _ = fs::remove_file(path);
        ServeError::Thread(why)
    })
}

/// Creates a listening socket. No peer can connect before the last step. Until then the mode is
/// never wider than [`MODE`]: bind creates the file with the mode of the socket, less the umask.
fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&listener, Mode::from_raw_mode(MODE))?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    let opened = fs::set_permissions(path, Permissions::from_mode(MODE)).and_then(|()| Ok(listen(&listener, BACKLOG)?));
    if opened.is_err() {
        // No socket listens at this path.
        let _ = fs::remove_file(path);
    }
    opened.map(|()| listener)
}

/// The listening socket and its file.
struct Socket {
    path: PathBuf,
    listener: OwnedFd,
    /// Metadata of the file when it was created.
    created: fs::Metadata,
}

impl Socket {
    fn create(path: &Path) -> io::Result<Socket> {
        let listener = listen_at(path)?;
        Ok(Socket { path: path.into(), listener, created: fs::symlink_metadata(path)? })
    }

    /// Returns whether the file at the path is this socket. None if there is no file.
    fn is_in_place(&self) -> io::Result<Option<bool>> {
        match fs::symlink_metadata(&self.path) {
            Ok(file) => Ok(Some((file.dev(), file.ino()) == (self.created.dev(), self.created.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct Server {
    state: Arc<DaemonState>,
    socket: Socket,
    /// When to check whether the socket was deleted.
    next_recheck: Instant,
    /// The socket was deleted and could not be put back, which is logged.
    lost: bool,
    peers: Vec<Peer>,
    /// No peer is accepted before.
    pause_until: Option<Instant>,
}

/// A process that connected.
struct Peer {
    socket: OwnedFd,
    document: Vec<u8>,
    sent: usize,
    deadline: Instant,
}

impl Server {
    fn run(&mut self, stop: &StopToken) {
        loop {
            self.wait(stop);
            if stop.stop_requested() {
                return;
            }
            let now = Instant::now();
            self.pause_until = self.pause_until.filter(|until| *until > now);
            while self.can_accept() {
                match accept_with(&self.socket.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(socket) => self.peers.push(self.peer(socket)),
                    Err(Errno::WOULDBLOCK) => break,
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    Err(why) => {
                        debug!(
                            "cannot accept a connection to the status socket: {why}; trying again in {ACCEPT_PAUSE:?}"
                        );
                        self.pause_until = Some(now + ACCEPT_PAUSE);
                    }
                }
            }
            self.peers.retain_mut(|peer| peer.deadline > now && peer.send());
            if self.next_recheck <= now {
                self.restore();
                self.next_recheck = now + RECHECK_INTERVAL;
            }
        }
    }

    /// Puts the socket back if it was deleted.
    fn restore(&mut self) {
        if !matches!(self.socket.is_in_place(), Ok(None)) {
            return;
        }
        match Socket::create(&self.socket.path) {
            Ok(socket) => {
                warn!("the status socket {} was deleted; it is put back", socket.path.display());
                (self.socket, self.lost) = (socket, false);
            }
            Err(why) if !self.lost => {
                let path = self.socket.path.display();
                warn!(
                    "the status socket {path} was deleted and cannot be put back: {why}; trying again every \
                     {RECHECK_INTERVAL:?}"
                );
                self.lost = true;
            }
            Err(_) => {}
        }
    }

    fn can_accept(&self) -> bool {
        self.peers.len() < MAX_PEERS && self.pause_until.is_none()
    }

    fn wait(&self, stop: &StopToken) {
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        if self.can_accept() {
            fds.push(PollFd::new(&self.socket.listener, PollFlags::IN));
        }
        fds.extend(self.peers.iter().map(|peer| PollFd::new(&peer.socket, PollFlags::OUT)));
        let deadlines = self.peers.iter().map(|peer| peer.deadline);
        poll_until(&mut fds, deadlines.chain(self.pause_until).chain([self.next_recheck]).min());
    }

    fn peer(&self, socket: OwnedFd) -> Peer {
        // Serializing cannot fail: the document consists of texts and finite numbers.
        let document = serde_json::to_vec(&document(&self.state, Now::read(), &TimeZone::system()));
        let mut document = document.unwrap_or_default();
        document.push(b'\n');
        Peer { socket, document, sent: 0, deadline: Instant::now() + SEND_TIMEOUT }
    }
}

impl Peer {
    /// Sends as much as the socket accepts now. Returns false once the peer has the whole document
    /// or is gone.
    fn send(&mut self) -> bool {
        while self.sent < self.document.len() {
            match send(self.socket.as_fd(), &self.document[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
