//! The status socket: whoever connects gets the status document.
//!
//! Promises: members of the socket's group and nobody else can connect, from its first moment on;
//! nothing is read from anyone; nobody is waited for: who has not taken the whole document in a
//! second is cut off, and at most 8 are served at a time while others wait in the kernel's queue;
//! no work while nobody asks, but a look each [`LOOK`] whether somebody deleted the socket, which
//! is then put back. The socket is removed at stop.
//! Who may block: nobody. What stops it: the stop line.
//! Leaves out: what stands in the socket's place where it was replaced: that is left alone.

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

/// How soon a socket that was deleted is put back.
pub const LOOK: Duration = Duration::from_secs(5);
/// How many are served at a time.
const MOST: usize = 8;
/// How many may wait in the kernel's queue.
const QUEUE: i32 = 128;
/// How long one reader may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long nobody is accepted after that failed: no descriptor is left.
const REST: Duration = Duration::from_millis(100);
/// Owner and group may connect.
const MODE: u32 = 0o660;

/// Why there is no status socket.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What stands in the socket's place may be of value.
    #[error("no status socket: {path} exists and is no socket; remove it, or set status_socket", path = .0.display())]
    NotASocket(PathBuf),
    /// The path is too long, the directory is missing or may not be written.
    #[error("no status socket: cannot create {path}: {source}", path = .path.display())]
    Create {
        /// Where it was to be.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// No thread is left.
    #[error("no status socket: cannot start its thread: {0}")]
    Thread(io::Error),
}

/// Makes the socket and starts its thread. A socket that stands there is taken for a stale one: the caller holds the lock
/// that makes it so.
pub fn start(state: Arc<DaemonState>, path: &Path, stop: StopToken) -> Result<JoinHandle<()>, ServeError> {
    let create = |source| ServeError::Create { path: path.into(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(create)?,
        Ok(_) => return Err(ServeError::NotASocket(path.into())),
        Err(_) => {}
    }
    let socket = Socket::make(path).map_err(create)?;
    let thread = std::thread::Builder::new().name("status".into()).spawn(move || {
        let next_look = Instant::now() + LOOK;
        let mut server = Server { state, socket, next_look, lost: false, readers: Vec::new(), rest: None };
        server.run(&stop);
        if server.socket.found().is_ok_and(|found| found == Some(true)) {
            // Nothing can be done about a failure; the next start takes it for a stale one.
            let _ = fs::remove_file(&server.socket.path);
        }
    });
    thread.map_err(|why| {
        // Nobody will ever listen there.
        let _ = fs::remove_file(path);
        ServeError::Thread(why)
    })
}

/// Nobody can connect before the last step, and until then the mode is never wider than it is to be: the socket's own is
/// what the file is created with, less the umask.
fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&listener, Mode::from_raw_mode(MODE))?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    let opened = fs::set_permissions(path, Permissions::from_mode(MODE)).and_then(|()| Ok(listen(&listener, QUEUE)?));
    if opened.is_err() {
        // Nobody will ever listen there.
        let _ = fs::remove_file(path);
    }
    opened.map(|()| listener)
}

/// The socket, and the file that is its name.
struct Socket {
    path: PathBuf,
    listener: OwnedFd,
    made: fs::Metadata,
}

impl Socket {
    fn make(path: &Path) -> io::Result<Socket> {
        let listener = listen_at(path)?;
        Ok(Socket { path: path.into(), listener, made: fs::symlink_metadata(path)? })
    }

    /// Whether what stands at the path is this socket; nothing where nothing does.
    fn found(&self) -> io::Result<Option<bool>> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) => Ok(Some((found.dev(), found.ino()) == (self.made.dev(), self.made.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct Server {
    state: Arc<DaemonState>,
    socket: Socket,
    /// When it is looked whether the socket is in its place.
    next_look: Instant,
    /// It is not, and could not be put back, which was told.
    lost: bool,
    readers: Vec<Peer>,
    /// Nobody is accepted before.
    rest: Option<Instant>,
}

/// Someone who asked.
struct Peer {
    socket: OwnedFd,
    document: Vec<u8>,
    sent: usize,
    until: Instant,
}

impl Server {
    fn run(&mut self, stop: &StopToken) {
        loop {
            self.wait(stop);
            if stop.stop_requested() {
                return;
            }
            let now = Instant::now();
            self.rest = self.rest.filter(|rest| *rest > now);
            while self.accepts() {
                match accept_with(&self.socket.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(socket) => self.readers.push(self.reader(socket)),
                    Err(Errno::WOULDBLOCK) => break,
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    Err(why) => {
                        debug!("nobody can be served on the status socket for now: {why}");
                        self.rest = Some(now + REST);
                    }
                }
            }
            self.readers.retain_mut(|reader| reader.until > now && reader.wants_more());
            if self.next_look <= now {
                self.look();
                self.next_look = now + LOOK;
            }
        }
    }

    /// Puts the socket back where it was deleted.
    fn look(&mut self) {
        if !matches!(self.socket.found(), Ok(None)) {
            return;
        }
        match Socket::make(&self.socket.path) {
            Ok(socket) => {
                warn!("the status socket {} was deleted; it is put back", socket.path.display());
                (self.socket, self.lost) = (socket, false);
            }
            Err(why) if !self.lost => {
                let path = self.socket.path.display();
                warn!(
                    "the status socket {path} was deleted and cannot be put back: {why}; trying again every {LOOK:?}"
                );
                self.lost = true;
            }
            Err(_) => {}
        }
    }

    fn accepts(&self) -> bool {
        self.readers.len() < MOST && self.rest.is_none()
    }

    fn wait(&self, stop: &StopToken) {
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        if self.accepts() {
            fds.push(PollFd::new(&self.socket.listener, PollFlags::IN));
        }
        fds.extend(self.readers.iter().map(|reader| PollFd::new(&reader.socket, PollFlags::OUT)));
        let until = self.readers.iter().map(|reader| reader.until).chain(self.rest).chain([self.next_look]).min();
        poll_until(&mut fds, until);
    }

    fn reader(&self, socket: OwnedFd) -> Peer {
        // The document consists of texts and finite numbers, which serde_json always writes.
        let document = serde_json::to_vec(&document(&self.state, Now::read(), &TimeZone::system()));
        let mut document = document.unwrap_or_default();
        document.push(b'\n');
        Peer { socket, document, sent: 0, until: Instant::now() + PATIENCE }
    }
}

impl Peer {
    /// Sends what the other side takes now; false when it has all or went away.
    fn wants_more(&mut self) -> bool {
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
