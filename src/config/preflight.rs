//! Compares the configuration with this machine: programs, directories, interfaces.
//!
//! Guarantees: nothing is created or run, and no privileges are needed. Errors are what the
//! original stops at: a check whose program cannot be run, and a missing directory for the pidfile,
//! a prefix file or a log.
//!
//! Blocking: on the disk, and briefly on the kernel.
//!
//! Out of scope: whether the daemon may write its files, because it usually runs as another user.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{access, statvfs, Access, StatVfsMountFlags};
use rustix::thread::no_new_privs;

use crate::command::Command;
use crate::config::configuration::Configuration;
use crate::config::diagnostic::{self, Diagnostic, Severity};
use crate::config::ini::DEFAULT;
use crate::config::options;
use crate::config::parse::DAEMON;
use crate::config::settings::{Bird, Service};
use crate::prefix::Family;
use crate::sys::atomic_file::directory_of;
use crate::sys::links;
use crate::sys::netlink::{Addresses, Netlink};

#[cfg(test)]
mod tests;

/// The first bytes of a program that the kernel can run.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// Returns every problem of this machine. `severity` is that of problems at which the original
/// stops: errors for `--check`, but warnings at start, because they may be solved while the daemon
/// runs.
pub fn check(configuration: &Configuration, severity: Severity) -> Vec<Diagnostic> {
    let mut preflight = Preflight {
        configuration,
        severity,
        no_new_privileges: no_new_privs().unwrap_or(false),
        addresses: interface_addresses(),
        problems: Vec::new(),
    };
    preflight.problems.extend(pidfile_directory(configuration));
    preflight.check_daemon();
    for service in &configuration.settings.services {
        preflight.check_service(service);
    }
    diagnostic::deduplicate(&mut preflight.problems, DEFAULT);
    preflight.problems
}

/// Checks that the pidfile has a directory, without which the daemon cannot start.
pub fn pidfile_directory(configuration: &Configuration) -> Option<Diagnostic> {
    let text = configuration.value(DAEMON, "pidfile")?;
    // The original uses the text before the last slash, and so refuses a bare name.
    let directory = match text.rfind('/') {
        Some(0) => "/",
        Some(slash) => &text[..slash],
        None => "",
    };
    if Path::new(directory).is_dir() {
        return None;
    }
    let message = format!("must be in an existing directory, but '{directory}' is not one; create it");
    Some(configuration.locate(DAEMON, "pidfile", Diagnostic::error(message)))
}

/// The addresses of all interfaces. None if the kernel does not answer.
pub(super) fn interface_addresses() -> Option<Addresses> {
    Netlink::open().and_then(|mut kernel| kernel.addresses()).ok()
}

/// Whether the error means that a file does not exist, rather than that it cannot be accessed: the
/// daemon may run as another user.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

struct Preflight<'a> {
    configuration: &'a Configuration,
    severity: Severity,
    no_new_privileges: bool,
    addresses: Option<Addresses>,
    problems: Vec<Diagnostic>,
}

impl Preflight<'_> {
    fn report(&mut self, section: &str, option: &str, severity: Severity, message: impl Into<String>) {
        let problem = Diagnostic { severity, ..Diagnostic::error(message) };
        self.problems.push(self.configuration.locate(section, option, problem));
    }

    fn warn(&mut self, section: &str, option: &str, message: impl Into<String>) {
        self.report(section, option, Severity::Warning, message);
    }

    fn check_daemon(&mut self) {
        let daemon = &self.configuration.settings.daemon;
        let mut prefix_files = Vec::new();
        for family in Family::BOTH {
            if let Some(bird) = daemon.bird(family) {
                prefix_files.push(self.check_bird(family, bird));
            }
        }
        if let [first, second] = &prefix_files[..] {
            if first == second {
                let message = format!("must not lead to the same file as bird_conf, {}", first.display());
                self.report(DAEMON, "bird6_conf", self.severity, message);
            }
        }
        for (option, path) in daemon.log.files() {
            self.check_file(option, path);
            if daemon.log.rotates() {
                self.check_rotation(option, path);
            }
        }
        if let Some(prometheus) = daemon.prometheus.as_ref().filter(|prometheus| !prometheus.dir.is_dir()) {
            let message = format!("should be an existing directory, but {} is not one", prometheus.dir.display());
            self.warn(DAEMON, "prometheus_collector_textfile_dir", message);
        }
        if let Some(path) = &daemon.drain_file {
            self.check_drain_file(DAEMON, path);
        }
    }

    /// Checks the BIRD options of a family. Returns its prefix file without symbolic links.
    fn check_bird(&mut self, family: Family, bird: &Bird) -> PathBuf {
        let names = options::of_family(family);
        match &bird.control_socket {
            None => self.check_command(DAEMON, names.reconfigure_cmd, &bird.reconfigure_cmd, Severity::Warning),
            Some(path) => self.check_control_socket(names.control_socket, path),
        }
        self.check_file(names.conf, &bird.conf)
    }

    /// Checks that the socket exists. Whether BIRD answers there is reported by the daemon.
    fn check_control_socket(&mut self, option: &str, path: &Path) {
        let fault = match fs::metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => return,
            Ok(_) => "is not a socket",
            Err(error) if is_missing(&error) => {
                "does not exist: BIRD is down, or its socket is elsewhere (its option -s)"
            }
            Err(_) => return,
        };
        self.warn(DAEMON, option, format!("should be BIRD's control socket, but {} {fault}", path.display()));
    }

    /// Checks a file that the daemon writes, and creates if needed. Returns its path without
    /// symbolic links.
    fn check_file(&mut self, option: &str, path: &Path) -> PathBuf {
        let path = resolve(path);
        let directory = directory_of(&path);
        if path.is_dir() {
            let message = format!("must be a file, but {} is a directory", path.display());
            self.report(DAEMON, option, self.severity, message);
        } else if !directory.is_dir() {
            let message =
                format!("must be in an existing directory, but {} is not one; create it", directory.display());
            self.report(DAEMON, option, self.severity, message);
        } else if let Ok(disk) = statvfs(directory) {
            if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
                self.warn(
                    DAEMON,
                    option,
                    format!("should be writable, but the disk of {} is read-only", directory.display()),
                );
            } else if disk.f_blocks > 0 && disk.f_bavail == 0 {
                self.warn(
                    DAEMON,
                    option,
                    format!("should be writable, but the disk of {} is full", directory.display()),
                );
            }
        }
        path
    }

    /// Checks a rotated log. If it is a link, its target is rotated, which need not exist yet.
    fn check_rotation(&mut self, option: &str, path: &Path) {
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let can_be_rotated = match fs::metadata(path) {
            // A directory is already reported.
            Ok(metadata) if metadata.is_dir() => true,
            Ok(metadata) => metadata.is_file() && links::target(path).is_some(),
            Err(_) => links::target(path).is_some(),
        };
        if is_link && !can_be_rotated {
            let message = format!(
                "must be a regular file to be rotated, but the link {} leads to something else; name a file, remove the \
                 option, or set log_maxbytes = 0",
                path.display()
            );
            self.report(DAEMON, option, self.severity, message);
        }
    }

    fn check_service(&mut self, service: &Service) {
        self.check_command(&service.name, "check_cmd", &service.check_cmd, self.severity);
        if let Some(custom) = &service.custom_reconfigure {
            self.check_command(&service.name, "custom_bird_reconfigure_cmd", &custom.command, Severity::Warning);
        }
        if let Some(hook) = &service.state_change {
            self.check_command(&service.name, "state_change_cmd", &hook.command, Severity::Warning);
        }
        // If the kernel does not answer, the interface counts as existing, as for the daemon.
        let exists =
            |interface: &str| self.addresses.as_ref().is_none_or(|addresses| addresses.has_interface(interface));
        if service.assigned_to.as_deref().is_some_and(|interface| !exists(interface)) {
            let message = "should be an interface of this machine; until it is, the service counts as down";
            self.warn(&service.name, "interface", message);
        }
        if let Some(path) = &service.drain_file {
            self.check_drain_file(&service.name, path);
        }
    }

    fn check_command(&mut self, section: &str, option: &str, command: &Command, severity: Severity) {
        if let Err(error) = check_program(command.program()) {
            let message =
                format!("must begin with a program that can be run, but {} cannot: {error}", command.program());
            self.report(section, option, severity, message);
        }
        if self.no_new_privileges && Path::new(command.program()).file_name() == Some(OsStr::new("sudo")) {
            let message = "must not begin with sudo, which always fails under NoNewPrivileges; \
                           add the user to BIRD's group instead";
            self.report(section, option, Severity::Error, message);
        }
    }

    fn check_drain_file(&mut self, section: &str, path: &Path) {
        let directory = directory_of(path);
        let mode = fs::metadata(directory).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
        if mode & 0o002 != 0 {
            let message =
                format!("every user can withdraw the prefix, because {} is writable for all", directory.display());
            self.warn(section, "drain_file", message);
        }
    }
}

/// Follows symbolic links, even if the last part of the path does not exist.
fn resolve(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    // The kernel follows as many.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => break,
        }
    }
    match (directory_of(&path).canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => path,
    }
}

/// Checks that a program can be run, and searches for it as the kernel and the C library do.
fn check_program(program: &str) -> io::Result<()> {
    if program.contains('/') {
        return check_executable(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut last_error = io::Error::other("it is in no directory of PATH");
    for directory in std::env::split_paths(&path) {
        match check_executable(&directory.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if is_missing(&error) => {}
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn check_executable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    access(path, Access::EXEC_OK)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(256).read_to_end(&mut head)) {
        // An executable file need not be readable.
        Err(_) => Ok(()),
        Ok(_) if head.starts_with(ELF_MAGIC) => Ok(()),
        Ok(_) => match head.strip_prefix(b"#!") {
            Some(line) => check_interpreter(line),
            None => Err(io::Error::other("it is neither a program nor a script that begins with #!")),
        },
    }
}

/// Checks the program that the first line of a script names.
fn check_interpreter(line: &[u8]) -> io::Result<()> {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let word = line.split(|byte| b" \t".contains(byte)).find(|word| !word.is_empty()).unwrap_or_default();
    let path = Path::new(OsStr::from_bytes(word));
    let with_path =
        |error: io::Error| io::Error::new(error.kind(), format!("its interpreter {}: {error}", path.display()));
    fs::metadata(path).map_err(with_path)?;
    access(path, Access::EXEC_OK).map_err(|error| with_path(error.into()))
}
