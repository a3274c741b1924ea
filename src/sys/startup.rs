//! Repairs what the process inherits from its parent: open descriptors, an ignored SIGCHLD, a low
//! limit of open files.
//!
//! Guarantees: after [`close_descriptors`] and [`restore_sigchld`], children inherit only stdio,
//! and their exit codes are available. Call both first in the daemon, before it opens or starts
//! anything. After [`raise_descriptor_limit`] all checks can run at the same time, as far as the
//! hard limit allows, and children get the limit that this program was started with. For a few
//! services the limit stays as it is.
//!
//! Blocking: none.
//!
//! Out of scope: the environment (`sys::sd_notify` removes its variables) and the signal mask
//! (`sys::signals`).

use std::io;
use std::os::unix::process::CommandExt;
use std::sync::OnceLock;

use rustix::process::{getrlimit, prlimit, setrlimit, Pid, Resource, Rlimit};

use crate::sys::poll::retry_on_intr;

/// Closes every inherited descriptor except stdin, stdout and stderr.
///
/// Otherwise check commands would inherit them. Descriptors that this program opens are
/// close-on-exec.
pub fn close_descriptors() -> io::Result<()> {
    let descriptors: Vec<i32> = retry_on_intr(|| std::fs::read_dir("/proc/self/fd"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in descriptors {
        // Fails for the descriptor of the directory listing, which is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// Executes the program again if SIGCHLD is ignored, and returns if it is not.
///
/// If SIGCHLD is ignored, the kernel discards the exit codes of all children. Restoring it in place
/// takes unsafe code, so `env` does it. An `env` that does not know the option (older than
/// coreutils 8.31 of 2019) prints an error and exits with 125.
///
/// # Errors
/// `env` is missing, or `/proc/self/status` cannot be read.
#[expect(clippy::disallowed_methods, reason = "this executes the program itself again and starts no other")]
pub fn restore_sigchld() -> io::Result<()> {
    const SIGCHLD_IGNORED: u64 = 1 << (17 - 1);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    if ignored & SIGCHLD_IGNORED == 0 {
        return Ok(());
    }
    let mut command = std::process::Command::new("env");
    command.arg("--default-signal=CHLD").arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    Err(command.exec())
}

/// Number of descriptors that the daemon needs without its services.
///
/// These are files, sockets, log targets, eight hooks and eight custom commands. Each command needs
/// six while it runs.
const BASE_DESCRIPTORS: u64 = 64 + 16 * 6;
/// Number of descriptors per service: seven for a running check, and one for a watched process.
const DESCRIPTORS_PER_SERVICE: u64 = 8;

/// The hard limit is too low. A check that gets no descriptor waits for one until its timeout.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "at most {hard} files may be open at a time, which is too few for {services} services: a check that finds no \
     descriptor left waits for one and fails at its time-out; allow {needed} (systemd: LimitNOFILE={needed})"
)]
pub struct TooFewDescriptors {
    hard: u64,
    services: usize,
    needed: u64,
}

/// The limit that the program was started with, once it has been raised.
static ORIGINAL_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// The number of descriptors that the daemon needs with this number of services.
pub fn needed_descriptors(services: u64) -> u64 {
    BASE_DESCRIPTORS.saturating_add(DESCRIPTORS_PER_SERVICE.saturating_mul(services))
}

/// Raises the soft limit of open files to what this number of services needs.
///
/// It is never raised above the hard limit, and never lowered.
///
/// # Errors
/// The hard limit is too low.
pub fn raise_descriptor_limit(services: usize) -> Result<(), TooFewDescriptors> {
    let needed = needed_descriptors(services as u64);
    let limit = getrlimit(Resource::Nofile);
    // `None` means no limit.
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let raised = needed.min(hard);
    if raised > soft {
        ORIGINAL_LIMIT.get_or_init(|| limit);
        // Needs no privilege, as it is within the hard limit. If it fails, the limit stays as it
        // was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    }
    if needed > hard {
        return Err(TooFewDescriptors { hard, services, needed });
    }
    Ok(())
}

/// Sets the limit of a new child to the one that this program was started with.
///
/// With a higher limit, `select` breaks in a program that opens very many files, and a program that
/// closes all possible descriptors takes longer. The child has the raised limit for its first
/// moment, as changing it between fork and exec takes unsafe code. A child that already runs as
/// another user, such as `sudo`, keeps the raised limit.
pub fn restore_limit(child: Pid) {
    if let Some(original) = ORIGINAL_LIMIT.get() {
        // Fails if the child has exited, or runs as another user.
        let _ = prlimit(Some(child), Resource::Nofile, *original);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated::{alone, this_program};

    #[test]
    fn inherited_descriptors_are_closed() {
        let (name, open_more) =
            ("sys::startup::tests::inherited_descriptors_are_closed", "exec 7</dev/null 201</dev/null; exec \"$@\"");
        if alone(name, &["bash", "-c", open_more, "bash"], &this_program()) {
            assert!(std::path::Path::new("/proc/self/fd/201").exists());
            close_descriptors().unwrap();
            let open: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|fd| fd.file_name()).collect();
            assert_eq!(open, ["0", "1", "2", "3"], "3 is the directory itself");
        }
    }

    #[test]
    fn the_limit_is_raised_as_needed_up_to_the_hard_limit() {
        let name = "sys::startup::tests::the_limit_is_raised_as_needed_up_to_the_hard_limit";
        if !alone(name, &["prlimit", "--nofile=1024:4096"], &this_program()) {
            return;
        }
        let check = |services: usize, soft: u64, warning: &str| {
            let warned = raise_descriptor_limit(services).err().map_or_else(String::new, |why| why.to_string());
            assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: Some(soft), maximum: Some(4096) });
            assert!(warned.ends_with(warning) && warned.is_empty() == warning.is_empty(), "{warned}");
        };
        check(1, 1024, "");
        check(108, 1024, "");
        check(200, 1760, "");
        check(1, 1760, "");
        check(492, 4096, "");
        check(1000, 4096, "allow 8160 (systemd: LimitNOFILE=8160)");
        // The child may have the raised limit for a moment.
        let script = "until [ $(ulimit -n) = 1024 ]; do sleep 0.01; done; ulimit -Hn";
        let words = ["sh", "-c", script].map(String::from);
        let limits = crate::sys::process::Limits {
            deadline: std::time::Instant::now() + std::time::Duration::from_secs(60),
            grace: None,
            max_output: 100,
        };
        let stop = crate::sys::stop_token::StopToken::new().unwrap();
        assert_eq!(crate::sys::process::Program::new(&words).run(&limits, &stop).stdout.bytes, b"4096\n");
    }

    #[test]
    fn exit_codes_are_available_after_sigchld_is_restored() {
        let name = "sys::startup::tests::exit_codes_are_available_after_sigchld_is_restored";
        if alone(name, &["env", "--ignore-signal=CHLD"], &this_program()) {
            restore_sigchld().unwrap();
            let words = ["sh", "-c", "exit 7"].map(String::from);
            let limits = crate::sys::process::Limits {
                deadline: std::time::Instant::now() + std::time::Duration::from_secs(60),
                grace: None,
                max_output: 0,
            };
            let stop = crate::sys::stop_token::StopToken::new().unwrap();
            let exit = crate::sys::process::Program::new(&words).run(&limits, &stop).exit;
            assert!(matches!(exit, crate::sys::process::Exit::Exited(7)), "{exit:?}");
        }
    }
}
