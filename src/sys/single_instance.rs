//! One daemon at a time: the abstract socket that the original takes, and the pidfile.
//!
//! ```text
//!   abstract name --- taken, and a daemon is found: refused ----------------------------+
//!        |        --- taken by somebody else, or cannot be asked for: a finding         |
//!        v                                                                              v
//!   lock of the pidfile --- held ---------------------------------------------------> refused
//!        |              --- cannot be opened: a finding                                 ^
//!        v                                                                              |
//!   process in the pidfile --- alive and a health checker ------------------------------+
//!        |                 --- anybody else, or nobody: stale
//!        v
//!   our process id in the pidfile (no room for it: a finding, tried again by `write_pid`)
//! ```
//!
//! Promises: the original and this never run together in one network namespace, nor two of this
//! with one pidfile. Nobody else can keep the daemon from starting, neither by taking the name nor
//! by having the number that a stale pidfile holds; what is left of a daemon that was killed does
//! so for a moment only, which is waited for. The lock is on the pidfile itself, which is therefore
//! never replaced but written in place: in one write, as long as what stood there, so that whoever
//! reads it or crashes at any moment finds one number or the other. A pidfile that somebody deleted
//! is put back by [`Instance::restore`], locked and written before it is in its place.
//! Leaves out: where the pidfile lies and whether that directory exists (`config::preflight`).

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
/// How much of a pidfile is read: no number is longer.
const LONGEST: u64 = 64;
/// How long a daemon that seems to run may be one that was killed: a child that it was about to start has its lock, its
/// name and its command line until it runs its own program.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// How soon it is looked at again.
const AGAIN: Duration = Duration::from_millis(10);
/// How often the pidfile is opened again because somebody removed it between its opening and its locking.
const TRIES: usize = 100;

/// The right to run. It ends with the process, or with [`Instance::release`].
#[derive(Debug)]
pub struct Instance {
    path: PathBuf,
    pidfile: Option<File>,
    /// The number of this process is in it.
    written: bool,
    _name: Option<UnixDatagram>,
}

/// Why this one must not run.
#[derive(Debug, thiserror::Error)]
pub enum AlreadyRunning {
    /// The pidfile names a daemon that is alive.
    #[error("process {pid}, named in {path}, is a running {NAME}: stop it first", path = .path.display())]
    Named {
        /// The process.
        pid: u32,
        /// The pidfile.
        path: PathBuf,
    },
    /// The lock on the pidfile is held.
    #[error("a running {NAME} holds the lock on {path}: stop it first", path = .path.display())]
    Locked {
        /// The pidfile.
        path: PathBuf,
    },
    /// The abstract name is taken and a daemon is alive, with another pidfile.
    #[error("failed to acquire a lock by creating an abstract namespace socket: process {pid} is a running {NAME}")]
    NameTaken {
        /// The process.
        pid: u32,
    },
}

/// What is not as it should be, and hinders nothing.
#[derive(Debug, thiserror::Error)]
pub enum InstanceProblem {
    /// No daemon runs, yet the name is taken, or it may not be taken.
    #[error("cannot take the abstract socket {NAME} ({0}), though none is running; going on under the pidfile's lock")]
    Name(io::Error),
    /// The pidfile cannot be opened, locked or written.
    #[error("cannot write the pidfile {path}: {source}", path = .path.display())]
    Pidfile {
        /// The pidfile.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Instance {
    /// Takes the name and the pidfile.
    ///
    /// # Errors
    /// A daemon is running, and still is a second later.
    pub fn take(pidfile: &Path) -> Result<(Instance, Vec<InstanceProblem>), AlreadyRunning> {
        let until = Instant::now() + LAST_MOMENT;
        loop {
            match Instance::try_to_take(pidfile) {
                Err(_) if Instant::now() < until => std::thread::sleep(AGAIN),
                taken => return taken,
            }
        }
    }

    fn try_to_take(pidfile: &Path) -> Result<(Instance, Vec<InstanceProblem>), AlreadyRunning> {
        let mut findings = Vec::new();
        let name = SocketAddr::from_abstract_name(NAME).and_then(|name| UnixDatagram::bind_addr(&name));
        // Before the pidfile is created, which may be another one than the running daemon's.
        if name.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            if let Some(pid) = running_health_checker() {
                return Err(AlreadyRunning::NameTaken { pid });
            }
        }
        let mut instance = Instance { path: pidfile.into(), pidfile: None, written: false, _name: None };
        let pid = instance.lock_pidfile(&mut findings)?;
        if let Some(pid) = pid.filter(|pid| is_health_checker(*pid)) {
            return Err(AlreadyRunning::Named { pid, path: pidfile.into() });
        }
        match name {
            Ok(name) => instance._name = Some(name),
            Err(error) => findings.push(InstanceProblem::Name(error)),
        }
        if findings.iter().all(|finding| !matches!(finding, InstanceProblem::Pidfile { .. })) {
            findings.extend(instance.write_pid().err());
        }
        Ok((instance, findings))
    }

    /// Writes the number of this process into the pidfile. To be tried again where it failed.
    ///
    /// # Errors
    /// The disk is full, say.
    pub fn write_pid(&mut self) -> Result<(), InstanceProblem> {
        let written = match &self.pidfile {
            Some(file) => write_in_place(file, &std::process::id().to_string()),
            None => put_in_place(&self.path).map(|file| self.pidfile = Some(file)),
        };
        self.written = written.is_ok();
        written.map_err(|source| InstanceProblem::Pidfile { path: self.path.clone(), source })
    }

    /// Puts the pidfile back where it is not in its place any more, as somebody deleted or replaced
    /// it, and writes it where that failed before. Says whether that was needed.
    ///
    /// # Errors
    /// The directory is gone, the disk is full, or somebody else has locked what is in its place.
    /// To be tried again.
    pub fn restore(&mut self) -> Result<bool, InstanceProblem> {
        let in_place = self.pidfile.as_ref().map_or(Ok(false), |file| stands_at(file, &self.path));
        match in_place {
            Ok(true) if self.written => Ok(false),
            Ok(true) => self.write_pid().map(|()| true),
            Ok(false) => {
                let file = put_in_place(&self.path);
                let file = file.map_err(|source| InstanceProblem::Pidfile { path: self.path.clone(), source })?;
                (self.pidfile, self.written) = (Some(file), true);
                Ok(true)
            }
            Err(source) => Err(InstanceProblem::Pidfile { path: self.path.clone(), source }),
        }
    }

    /// Removes the pidfile, where it still is this one's, and lets go of everything.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn release(self) -> io::Result<()> {
        let Some(file) = &self.pidfile else { return Ok(()) };
        // There is no later occasion, so a look that fails is made once more.
        match stands_at(file, &self.path).or_else(|_| stands_at(file, &self.path))? {
            true => fs::remove_file(&self.path),
            false => Ok(()),
        }
    }

    /// Locks the pidfile and returns what stands in it.
    fn lock_pidfile(&mut self, findings: &mut Vec<InstanceProblem>) -> Result<Option<u32>, AlreadyRunning> {
        match open_locked(&self.path) {
            Ok(Some(file)) => {
                let mut text = String::new();
                // What cannot be read names nobody.
                let _ = (&file).take(LONGEST).read_to_string(&mut text);
                self.pidfile = Some(file);
                Ok(text.trim().parse().ok())
            }
            Ok(None) => Err(AlreadyRunning::Locked { path: self.path.clone() }),
            Err(source) => {
                findings.push(InstanceProblem::Pidfile { path: self.path.clone(), source });
                Ok(None)
            }
        }
    }
}

/// A daemon that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningDaemon {
    /// Its process, where that can be told.
    pub pid: Option<u32>,
}

/// The daemon that holds the lock on this pidfile, or the name. Takes neither, but for a moment in
/// which a daemon that starts waits.
pub fn find_running(pidfile: Option<&Path>) -> Option<RunningDaemon> {
    let locked = pidfile.is_some_and(is_locked);
    let named = || {
        let name = SocketAddr::from_abstract_name(NAME)?;
        // Nothing is sent.
        UnixDatagram::unbound()?.connect_addr(&name)
    };
    if !locked && named().is_err() {
        return None;
    }
    let written = pidfile.filter(|_| locked).and_then(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    Some(RunningDaemon { pid: written.filter(|pid| is_health_checker(*pid)).or_else(running_health_checker) })
}

/// Whether somebody has locked the pidfile, which is not created.
fn is_locked(path: &Path) -> bool {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return false };
    // A lock that is shared is enough to see one that is not. It ends with the descriptor.
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Creates the pidfile with the number of this process, or writes into what stands there, and locks
/// it.
fn put_in_place(path: &Path) -> io::Result<File> {
    let number = std::process::id().to_string();
    let write = |path: &Path| {
        let file = open_locked(path)?.ok_or(io::ErrorKind::WouldBlock)?;
        write_in_place(&file, &number)?;
        io::Result::Ok(file)
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => return write(path),
    }
    // Under another name first, so that nobody finds it without its lock and number.
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let new = path.with_file_name(name);
    let file = write(&new);
    let linked = file.and_then(|file| fs::hard_link(&new, path).map(|()| file));
    // One that is left is used the next time.
    let _ = fs::remove_file(&new);
    linked
}

/// Opens or creates the file and locks it; nothing where somebody else holds the lock.
fn open_locked(path: &Path) -> io::Result<Option<File>> {
    // Neither a link that somebody planted is followed nor a FIFO waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    for _ in 0..TRIES {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // A daemon that stopped in between removed the file, with the lock that this one got.
        if stands_at(&file, path)? {
            return Ok(Some(file));
        }
    }
    Err(io::Error::other("somebody removes it all the time"))
}

fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts `text` in the place of the file's text by one write: first filled up with line breaks over all that stands there,
/// which any reader of a pidfile strips, then cut.
fn write_in_place(file: &File, text: &str) -> io::Result<()> {
    let old = file.metadata()?.len().min(LONGEST) as usize;
    let filled = format!("{text}{}", "\n".repeat(old.saturating_sub(text.len())));
    file.write_all_at(filled.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

/// Whether this process, which is not the caller, is a health checker: the program itself, or Python that runs the original.
fn is_health_checker(pid: u32) -> bool {
    if pid == std::process::id() {
        return false;
    }
    // Readable for everybody, unlike the link to the executable. A process that is gone or a zombie has none.
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    is_command_line(&line)
}

fn is_command_line(line: &[u8]) -> bool {
    let named = |word: &[u8]| word.rsplit(|byte| *byte == b'/').next() == Some(NAME.as_bytes());
    let mut words = line.split(|byte| *byte == 0);
    let Some(first) = words.next() else { return false };
    let program = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // Python's options come before the script.
    named(first) || program.starts_with(b"python") && words.find(|word| !word.starts_with(b"-")).is_some_and(named)
}

/// A health checker in this network namespace, of root or of this user: anybody else can only pretend to be one.
fn running_health_checker() -> Option<u32> {
    let user = rustix::process::geteuid().as_raw();
    let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let ours = network("self");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let owner = entry.metadata().ok()?.uid();
        // Where the namespace may not be looked at, it counts as this one.
        let here = || network(&pid.to_string()).is_none_or(|theirs| Some(theirs) == ours);
        ((owner == 0 || owner == user) && is_health_checker(pid) && here()).then_some(pid)
    })
}

#[cfg(test)]
mod tests;
