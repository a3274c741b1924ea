//! Prevents a second daemon: by the abstract socket that the original also binds, and by the
//! pidfile.
//!
//! ```text
//!   abstract socket --- in use, and a daemon is running: refused -----------------------+
//!        |          --- in use by another program, or not allowed: a problem            |
//!        v                                                                              v
//!   lock on the pidfile --- held ---------------------------------------------------> refused
//!        |              --- the pidfile cannot be opened: a problem                     ^
//!        v                                                                              |
//!   process id in the pidfile --- of a running health checker --------------------------+
//!        |                    --- of another process or of none: stale
//!        v
//!   write our process id to the pidfile (if that fails: a problem, retried by `write_pid`)
//! ```
//!
//! Guarantees: the original and this program never run at the same time in one network namespace,
//! nor two instances of this program with one pidfile. No other program can keep the daemon from
//! starting, neither by binding the socket nor by having the process id of a stale pidfile. A
//! daemon that was killed keeps the next from starting only for a moment, which is waited for. The
//! lock is on the pidfile itself, so the pidfile is never replaced but written in place. It is
//! written with one call at the length of the old content, so that a reader sees one process id or
//! the other, even after a crash. If the pidfile is deleted, [`Instance::restore`] creates it
//! again, locked and written before it gets its name.
//!
//! Blocking: [`Instance::take`], for at most a second.
//!
//! Out of scope: the path of the pidfile, and whether its directory exists (`config::preflight`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{flock, FlockOperation, OFlags};

/// The name of the program, of the original, and of the abstract socket of both.
const NAME: &str = "anycast-healthchecker";
/// Maximum number of bytes read from a pidfile.
const MAX_PIDFILE_LEN: u64 = 64;
/// Time to wait for a daemon that may have been killed.
///
/// A child that it was about to start has its lock, its socket and its command line until it runs
/// its own program.
const KILLED_DAEMON_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum number of attempts to open a pidfile that keeps being removed before it is locked.
const MAX_OPEN_ATTEMPTS: usize = 100;

/// The right to run as the only daemon. It ends with the process or with [`Instance::release`].
#[derive(Debug)]
pub struct Instance {
    path: PathBuf,
    pidfile: Option<File>,
    /// Whether the pidfile holds this process's id.
    written: bool,
    /// Binds the abstract name as long as it is open.
    _socket: Option<UnixDatagram>,
}

/// Why this daemon must not start.
#[derive(Debug, thiserror::Error)]
pub enum AlreadyRunning {
    /// The pidfile contains the process id of a running daemon.
    #[error("process {pid}, named in {path}, is a running {NAME}: stop it first", path = .path.display())]
    Named {
        /// Its process id.
        pid: u32,
        /// The pidfile.
        path: PathBuf,
    },
    /// Another daemon holds the lock on the pidfile.
    #[error("a running {NAME} holds the lock on {path}: stop it first", path = .path.display())]
    Locked {
        /// The pidfile.
        path: PathBuf,
    },
    /// The abstract socket is in use, and a daemon with another pidfile is running.
    #[error("failed to acquire a lock by creating an abstract namespace socket: process {pid} is a running {NAME}")]
    NameTaken {
        /// Its process id.
        pid: u32,
    },
}

/// A problem that does not keep the daemon from starting.
#[derive(Debug, thiserror::Error)]
pub enum InstanceProblem {
    /// No daemon is running, but the abstract socket is in use or not allowed.
    #[error("cannot take the abstract socket {NAME} ({0}), though none is running; going on under the pidfile's lock")]
    Name(io::Error),
    /// The pidfile cannot be opened, locked or written.
    #[error("cannot write the pidfile {path}: {source}", path = .path.display())]
    Pidfile {
        /// The pidfile.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
}

impl Instance {
    /// Binds the abstract socket, and locks and writes the pidfile.
    ///
    /// # Errors
    /// A daemon is running, and is still running a second later.
    pub fn take(pidfile: &Path) -> Result<(Instance, Vec<InstanceProblem>), AlreadyRunning> {
        let deadline = Instant::now() + KILLED_DAEMON_TIMEOUT;
        loop {
            match Instance::try_to_take(pidfile) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(RETRY_INTERVAL),
                result => return result,
            }
        }
    }

    fn try_to_take(pidfile: &Path) -> Result<(Instance, Vec<InstanceProblem>), AlreadyRunning> {
        let mut problems = Vec::new();
        let socket = SocketAddr::from_abstract_name(NAME).and_then(|name| UnixDatagram::bind_addr(&name));
        // Checked before the pidfile is created, as the running daemon may have another one.
        if socket.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            if let Some(pid) = running_health_checker() {
                return Err(AlreadyRunning::NameTaken { pid });
            }
        }
        let mut instance = Instance { path: pidfile.into(), pidfile: None, written: false, _socket: None };
        let pid = instance.lock_pidfile(&mut problems)?;
        if let Some(pid) = pid.filter(|pid| is_health_checker(*pid)) {
            return Err(AlreadyRunning::Named { pid, path: pidfile.into() });
        }
        match socket {
            Ok(socket) => instance._socket = Some(socket),
            Err(error) => problems.push(InstanceProblem::Name(error)),
        }
        if problems.iter().all(|problem| !matches!(problem, InstanceProblem::Pidfile { .. })) {
            problems.extend(instance.write_pid().err());
        }
        Ok((instance, problems))
    }

    /// Writes this process's id to the pidfile. Call it again if it fails.
    ///
    /// # Errors
    /// The pidfile cannot be created, locked or written.
    pub fn write_pid(&mut self) -> Result<(), InstanceProblem> {
        let written = match &self.pidfile {
            Some(file) => write_in_place(file, &std::process::id().to_string()),
            None => create_in_place(&self.path).map(|file| self.pidfile = Some(file)),
        };
        self.written = written.is_ok();
        written.map_err(|source| InstanceProblem::Pidfile { path: self.path.clone(), source })
    }

    /// Creates the pidfile again if it was deleted or replaced, and writes it if that failed
    /// before.
    ///
    /// Returns whether that was needed.
    ///
    /// # Errors
    /// The directory is missing, the disk is full, or another process has locked the file at the
    /// path. Call it again later.
    pub fn restore(&mut self) -> Result<bool, InstanceProblem> {
        let is_in_place = self.pidfile.as_ref().map_or(Ok(false), |file| is_at(file, &self.path));
        match is_in_place {
            Ok(true) if self.written => Ok(false),
            Ok(true) => self.write_pid().map(|()| true),
            Ok(false) => {
                let file = create_in_place(&self.path);
                let file = file.map_err(|source| InstanceProblem::Pidfile { path: self.path.clone(), source })?;
                (self.pidfile, self.written) = (Some(file), true);
                Ok(true)
            }
            Err(source) => Err(InstanceProblem::Pidfile { path: self.path.clone(), source }),
        }
    }

    /// Removes the pidfile if it is still this daemon's, and releases the lock and the socket.
    ///
    /// # Errors
    /// The pidfile cannot be removed.
    pub fn release(self) -> io::Result<()> {
        let Some(file) = &self.pidfile else { return Ok(()) };
        // This is the last opportunity, so a failed check is repeated once.
        match is_at(file, &self.path).or_else(|_| is_at(file, &self.path))? {
            true => fs::remove_file(&self.path),
            false => Ok(()),
        }
    }

    /// Locks the pidfile and returns the process id in it.
    fn lock_pidfile(&mut self, problems: &mut Vec<InstanceProblem>) -> Result<Option<u32>, AlreadyRunning> {
        match open_locked(&self.path) {
            Ok(Some(file)) => {
                let mut text = String::new();
                // An unreadable pidfile names no process.
                let _ = (&file).take(MAX_PIDFILE_LEN).read_to_string(&mut text);
                self.pidfile = Some(file);
                Ok(text.trim().parse().ok())
            }
            Ok(None) => Err(AlreadyRunning::Locked { path: self.path.clone() }),
            Err(source) => {
                problems.push(InstanceProblem::Pidfile { path: self.path.clone(), source });
                Ok(None)
            }
        }
    }
}

/// A daemon that is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningDaemon {
    /// Its process id, if known.
    pub pid: Option<u32>,
}

/// Finds the daemon that holds the lock on `pidfile` or the abstract socket.
///
/// It takes neither itself, except for a moment in which a starting daemon waits.
pub fn find_running(pidfile: Option<&Path>) -> Option<RunningDaemon> {
    let is_locked = pidfile.is_some_and(is_locked);
    let connect = || {
        let name = SocketAddr::from_abstract_name(NAME)?;
        // Connecting sends nothing.
        UnixDatagram::unbound()?.connect_addr(&name)
    };
    if !is_locked && connect().is_err() {
        return None;
    }
    let written = pidfile.filter(|_| is_locked).and_then(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    Some(RunningDaemon { pid: written.filter(|pid| is_health_checker(*pid)).or_else(running_health_checker) })
}

/// Returns whether another process has locked the pidfile. It is not created.
fn is_locked(path: &Path) -> bool {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return false };
    // A shared lock conflicts with an exclusive one, and is released with the descriptor.
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Creates the pidfile, or opens the existing one, locks it, and writes this process's id to it.
fn create_in_place(path: &Path) -> io::Result<File> {
    let pid = std::process::id().to_string();
    let write = |path: &Path| {
        let file = open_locked(path)?.ok_or(io::ErrorKind::WouldBlock)?;
        write_in_place(&file, &pid)?;
        io::Result::Ok(file)
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => return write(path),
    }
    // Created under another name first, so that it is never visible without its lock and process
    // id.
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let temporary = path.with_file_name(name);
    let file = write(&temporary);
    let linked = file.and_then(|file| fs::hard_link(&temporary, path).map(|()| file));
    // If this fails, the file is reused the next time.
    let _ = fs::remove_file(&temporary);
    linked
}

/// Opens or creates the file and locks it. `None` if another process holds the lock.
fn open_locked(path: &Path) -> io::Result<Option<File>> {
    // Does not follow a planted link, and does not block on a FIFO.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    for _ in 0..MAX_OPEN_ATTEMPTS {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            result => result?,
        }
        // A daemon that stopped meanwhile has removed the file that this process has just locked.
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
    Err(io::Error::other("somebody removes it all the time"))
}

/// Returns whether `file` is the file at `path`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(current) => Ok((current.dev(), current.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Overwrites the file's content with `text` in one write, then truncates it.
///
/// The write pads `text` with line breaks to the length of the old content. Readers of a pidfile
/// strip them.
fn write_in_place(file: &File, text: &str) -> io::Result<()> {
    let old_len = file.metadata()?.len().min(MAX_PIDFILE_LEN) as usize;
    let padded = format!("{text}{}", "\n".repeat(old_len.saturating_sub(text.len())));
    file.write_all_at(padded.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

/// Returns whether another process is a health checker: this program, or Python running the
/// original.
fn is_health_checker(pid: u32) -> bool {
    if pid == std::process::id() {
        return false;
    }
    // Readable by all users, unlike the link to the executable. It is empty for a zombie.
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    is_health_checker_command_line(&command_line)
}

fn is_health_checker_command_line(line: &[u8]) -> bool {
    let is_name = |word: &[u8]| word.rsplit(|byte| *byte == b'/').next() == Some(NAME.as_bytes());
    let mut words = line.split(|byte| *byte == 0);
    let Some(first) = words.next() else { return false };
    let program = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // Python's options precede the script.
    is_name(first) || program.starts_with(b"python") && words.find(|word| !word.starts_with(b"-")).is_some_and(is_name)
}

/// Finds a health checker in this network namespace that runs as root or as this user.
///
/// A process of another user is ignored, as it could only pretend to be one.
fn running_health_checker() -> Option<u32> {
    let user = rustix::process::geteuid().as_raw();
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = namespace("self");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let owner = entry.metadata().ok()?.uid();
        // An unreadable namespace counts as this one.
        let is_here = || namespace(&pid.to_string()).is_none_or(|other| Some(other) == own);
        ((owner == 0 || owner == user) && is_health_checker(pid) && is_here()).then_some(pid)
    })
}

#[cfg(test)]
mod tests;
