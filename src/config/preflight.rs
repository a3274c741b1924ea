//! What the configuration needs of this machine: programs, directories, interfaces.
//!
//! Promises: looks only; nothing is created or run, and no right is needed beyond looking. It stops where the original
//! stops: at a check's program that cannot be run, at a missing directory for the pidfile, a prefix file or a log.
//! Leaves out: whether the user who runs this may write what the daemon has to: that is another user, as a rule.

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
use crate::config::parse::DAEMON;
use crate::config::settings::{Bird, Service};
use crate::prefix::Family;
use crate::sys::atomic_file::directory_of;
use crate::sys::links;
use crate::sys::netlink::{Addresses, Kernel};

#[cfg(test)]
mod tests;

/// The first bytes of a program that the kernel can run.
const ELF: &[u8] = b"\x7fELF";

/// Everything on this machine that does not fit. What the original would stop at is as `severe` as is said here: at
/// start the daemon goes on, as each of these can come right while it runs.
pub fn check(configuration: &Configuration, severe: Severity) -> Vec<Diagnostic> {
    let mut found = Findings {
        configuration,
        severe,
        no_new_privileges: no_new_privs().unwrap_or(false),
        addresses: Kernel::open().and_then(|mut kernel| kernel.addresses()).ok(),
        problems: Vec::new(),
    };
    found.problems.extend(pidfile_directory(configuration));
    found.daemon();
    for service in &configuration.settings.services {
        found.service(service);
    }
    // A value inherited by many services is told of once.
    diagnostic::once(&mut found.problems, DEFAULT);
    found.problems
}

/// The one thing without which no daemon starts: a directory for the pidfile.
pub fn pidfile_directory(configuration: &Configuration) -> Option<Diagnostic> {
    let text = configuration.value(DAEMON, "pidfile")?;
    // The original takes what stands before the last slash, and so refuses a bare name.
    let directory = match text.rfind('/') {
        Some(0) => "/",
        Some(slash) => &text[..slash],
        None => "",
    };
    if Path::new(directory).is_dir() {
        return None;
    }
    let rule = format!("must lie in a directory that exists, but '{directory}' is none; create it");
    Some(configuration.locate(DAEMON, "pidfile", Diagnostic::error(rule)))
}

struct Findings<'a> {
    configuration: &'a Configuration,
    severe: Severity,
    no_new_privileges: bool,
    /// As the daemon sees them.
    addresses: Option<Addresses>,
    problems: Vec<Diagnostic>,
}

impl Findings<'_> {
    fn say(&mut self, section: &str, option: &str, severity: Severity, rule: String) {
        let problem = Diagnostic { severity, ..Diagnostic::error(rule) };
        self.problems.push(self.configuration.locate(section, option, problem));
    }

    fn daemon(&mut self) {
        let daemon = &self.configuration.settings.daemon;
        let mut resolved = Vec::new();
        for family in Family::BOTH {
            if let Some(bird) = daemon.bird(family) {
                resolved.extend(self.bird(family, bird));
            }
        }
        if let [first, second] = &resolved[..] {
            if first == second {
                let rule = format!("must not lead to the same file as bird_conf, {}", first.display());
                self.say(DAEMON, "bird6_conf", self.severe, rule);
            }
        }
        for (option, path) in [("log_file", &daemon.log.file), ("stderr_file", &daemon.log.stderr_file)] {
            if let Some(path) = path {
                self.file(option, path);
                if daemon.log.max_bytes > 0 && daemon.log.backups > 0 {
                    self.rotated(option, path);
                }
            }
        }
        if let Some(prometheus) = daemon.prometheus.as_ref().filter(|prometheus| !prometheus.dir.is_dir()) {
            let rule = format!("should be a directory that exists, but {} is none", prometheus.dir.display());
            self.say(DAEMON, "prometheus_collector_textfile_dir", Severity::Warning, rule);
        }
        if let Some(path) = &daemon.drain_file {
            self.drain_file(DAEMON, path);
        }
    }

    /// Gives the prefix file behind all symbolic links.
    fn bird(&mut self, family: Family, bird: &Bird) -> Option<PathBuf> {
        let (conf, reconfigure_cmd, control_socket) = match family {
            Family::V4 => ("bird_conf", "bird_reconfigure_cmd", "bird_control_socket"),
            Family::V6 => ("bird6_conf", "bird6_reconfigure_cmd", "bird6_control_socket"),
        };
        match &bird.control_socket {
            None => self.command(DAEMON, reconfigure_cmd, &bird.reconfigure_cmd, Severity::Warning),
            Some(path) => self.socket(control_socket, path),
        }
        self.file(conf, &bird.conf)
    }

    /// BIRD's control socket. Whether BIRD answers there the daemon says while it runs.
    fn socket(&mut self, option: &str, path: &Path) {
        let wrong = match fs::metadata(path) {
            Ok(found) if found.file_type().is_socket() => return,
            Ok(_) => "is no socket",
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                "is not there: BIRD is down, or has it elsewhere (its option -s)"
            }
            // Who may not search the directory may be another user than the daemon.
            Err(_) => return,
        };
        self.say(
            DAEMON,
            option,
            Severity::Warning,
            format!("should be BIRD's control socket, but {} {wrong}", path.display()),
        );
    }

    /// A file that the daemon writes, and creates where it is missing.
    fn file(&mut self, option: &str, path: &Path) -> Option<PathBuf> {
        let path = resolve(path);
        let directory = directory_of(&path);
        if path.is_dir() {
            self.say(DAEMON, option, self.severe, format!("must be a file, but {} is a directory", path.display()));
        } else if !directory.is_dir() {
            let rule = format!("must lie in a directory that exists, but {} is none; create it", directory.display());
            self.say(DAEMON, option, self.severe, rule);
        } else if let Ok(disk) = statvfs(directory) {
            if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
                let rule = format!("should be writable, but the disk of {} is read-only", directory.display());
                self.say(DAEMON, option, Severity::Warning, rule);
            } else if disk.f_blocks > 0 && disk.f_bavail == 0 {
                let rule = format!("should be writable, but the disk of {} is full", directory.display());
                self.say(DAEMON, option, Severity::Warning, rule);
            }
        }
        Some(path)
    }

    /// A log that is rotated. Where it is a link its target is, which may be missing yet.
    fn rotated(&mut self, option: &str, path: &Path) {
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        let can_be_rotated = match fs::metadata(path) {
            // A directory is told of already.
            Ok(found) if found.is_dir() => true,
            Ok(found) => found.is_file() && links::target(path).is_some(),
            Err(_) => links::target(path).is_some(),
        };
        if is_link && !can_be_rotated {
            let rule = format!(
                "must be a regular file to be rotated, but the link {} leads to something else; name a file, leave the option \
                 out, or set log_maxbytes to 0",
                path.display()
            );
            self.say(DAEMON, option, self.severe, rule);
        }
    }

    fn service(&mut self, service: &Service) {
        self.command(&service.name, "check_cmd", &service.check_cmd, self.severe);
        if let Some(custom) = &service.custom_reconfigure {
            self.command(&service.name, "custom_bird_reconfigure_cmd", &custom.command, Severity::Warning);
        }
        if let Some(hook) = &service.state_change {
            self.command(&service.name, "state_change_cmd", &hook.command, Severity::Warning);
        }
        // What cannot be learnt counts as there, as for the daemon.
        let exists = |interface: &str| self.addresses.as_ref().is_none_or(|found| found.has_interface(interface));
        if service.assigned_to.as_deref().is_some_and(|interface| !exists(interface)) {
            let rule = "should be an interface of this machine; until it is, the service counts as down";
            self.say(&service.name, "interface", Severity::Warning, rule.to_string());
        }
        if let Some(path) = &service.drain_file {
            self.drain_file(&service.name, path);
        }
    }

    fn command(&mut self, section: &str, option: &str, command: &Command, severity: Severity) {
        if let Err(why) = executable(command.program()) {
            let rule = format!("must begin with a program that can be run, but {} cannot: {why}", command.program());
            self.say(section, option, severity, rule);
        }
        if self.no_new_privileges && Path::new(command.program()).file_name() == Some(OsStr::new("sudo")) {
            let rule = "must not begin with sudo under NoNewPrivileges, where sudo always fails; \
                        put the user into BIRD's group in place of it";
            self.say(section, option, Severity::Error, rule.to_string());
        }
    }

    fn drain_file(&mut self, section: &str, path: &Path) {
        let directory = directory_of(path);
        let mode = fs::metadata(directory).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
        if mode & 0o002 != 0 {
            let rule = format!("every user can withdraw the prefix, as everyone may write in {}", directory.display());
            self.say(section, "drain_file", Severity::Warning, rule);
        }
    }
}

/// The path behind symbolic links, also where its last part does not exist yet.
fn resolve(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    // As many as the kernel follows.
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

/// Why a program cannot be run, looked for as the kernel and the C library look for it.
fn executable(program: &str) -> io::Result<()> {
    if program.contains('/') {
        return runnable(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut worst = io::Error::other("it is in no directory of PATH");
    for directory in std::env::split_paths(&path) {
        match runnable(&directory.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => worst = error,
        }
    }
    Err(worst)
}

fn runnable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    access(path, Access::EXEC_OK)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(256).read_to_end(&mut head)) {
        // What may be run need not be readable.
        Err(_) => Ok(()),
        Ok(_) if head.starts_with(ELF) => Ok(()),
        Ok(_) => match head.strip_prefix(b"#!") {
            Some(line) => interpreter(line),
            None => Err(io::Error::other("it is neither a program nor a script that begins with #!")),
        },
    }
}

/// The program that a script's first line names.
fn interpreter(line: &[u8]) -> io::Result<()> {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let word = line.split(|byte| b" \t".contains(byte)).find(|word| !word.is_empty()).unwrap_or_default();
    let path = Path::new(OsStr::from_bytes(word));
    let missing =
        |error: io::Error| io::Error::new(error.kind(), format!("its interpreter {}: {error}", path.display()));
    fs::metadata(path).map_err(missing)?;
    access(path, Access::EXEC_OK).map_err(|error| missing(error.into()))
}
