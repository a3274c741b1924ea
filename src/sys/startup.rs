//! What whoever started the program left behind in its process: open descriptors, an ignored SIGCHLD, a low limit of
//! descriptors.
//!
//! Promises: after [`close_descriptors`] and [`restore_sigchld`], children get no descriptor but stdio, and their exit
//! codes can be learnt. Both are for the first lines of the daemon, before anything is opened or started.
//! After [`raise_descriptor_limit`] all checks can run at the same time, as far as the hard limit allows, and children get
//! back the limit that this program was started with; a few services change no limit.
//! Leaves out: the environment (`sys::sd_notify` takes its variables) and the signal mask (`sys::signals`).

use std::io;
use std::os::unix::process::CommandExt;
use std::sync::OnceLock;

use rustix::process::{getrlimit, prlimit, setrlimit, Pid, Resource, Rlimit};

use crate::sys::poll::retry_on_intr;

/// Closes every descriptor behind standard error.
///
/// They would stay open in each check command. What a program of this one opens itself is closed there by the kernel.
pub fn close_descriptors() -> io::Result<()> {
    let numbers: Vec<i32> = retry_on_intr(|| std::fs::read_dir("/proc/self/fd"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // The one that the directory was read through is closed already, which is no matter.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

/// Starts the program again, in the same process, where SIGCHLD is ignored; returns where it is not.
///
/// With SIGCHLD ignored the kernel keeps no exit code of any child. To change that in place takes unsafe code, so `env` does it.
/// Fails where `env` is missing; where it does not know the option (it is coreutils' of 2019), it says so and ends with 125.
#[expect(clippy::disallowed_methods, reason = "this replaces the program by itself and starts no other")]
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

/// What the daemon needs besides its services: files, sockets, log targets, eight hooks and eight custom commands, which
/// hold six each while they run.
const DESCRIPTORS: u64 = 64 + 16 * 6;
/// What a service needs: a check that runs seven, and one where a process is watched. Its thread needs none.
const DESCRIPTORS_A_SERVICE: u64 = 8;

/// The hard limit is too low. The services that find no descriptor wait for one until their time-out.
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

/// The limit as it was before it was raised for the first time.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of open files to what so many services need, never above the hard one, and never lowers it.
pub fn raise_descriptor_limit(services: usize) -> Result<(), TooFewDescriptors> {
    let needed = DESCRIPTORS.saturating_add(DESCRIPTORS_A_SERVICE.saturating_mul(services as u64));
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let raised = needed.min(hard);
    if raised > soft {
        BEFORE.get_or_init(|| limit);
        // It is within the hard limit, which needs no right; should it fail, nothing is worse than before.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    }
    if needed > hard {
        return Err(TooFewDescriptors { hard, services, needed });
    }
    Ok(())
}

/// Gives a child that has just been started the limit that it would have without [`raise_descriptor_limit`]: with a higher
/// one `select` breaks in a program that opens very many files, and one that closes all it may have takes longer.
///
/// It inherits the raised one, as nothing safe could come between its fork and its start, and has that for its first
/// moment. One that runs as another user by then, as `sudo` does, keeps it.
pub fn give_back_limit(child: Pid) {
    if let Some(before) = BEFORE.get() {
        // A child that has ended needs none.
        let _ = prlimit(Some(child), Resource::Nofile, *before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated::{alone, this_program};

    #[test]
    fn no_descriptor_is_left() {
        let (name, more) =
            ("sys::startup::tests::no_descriptor_is_left", "exec 7</dev/null 201</dev/null; exec \"$@\"");
        if alone(name, &["bash", "-c", more, "bash"], &this_program()) {
            assert!(std::path::Path::new("/proc/self/fd/201").exists());
            close_descriptors().unwrap();
            let open: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|fd| fd.file_name()).collect();
            assert_eq!(open, ["0", "1", "2", "3"], "3 is the directory itself");
        }
    }

    #[test]
    fn the_limit_is_raised_to_what_is_needed_and_not_above_the_hard_one() {
        let name = "sys::startup::tests::the_limit_is_raised_to_what_is_needed_and_not_above_the_hard_one";
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
        // It may see the raised limit for a moment.
        let look = "until [ $(ulimit -n) = 1024 ]; do sleep 0.01; done; ulimit -Hn";
        let words = ["sh", "-c", look].map(String::from);
        let limits = crate::sys::process::Limits {
            deadline: std::time::Instant::now() + std::time::Duration::from_secs(60),
            grace: None,
            max_output: 100,
        };
        let stop = crate::sys::stop_token::StopToken::new().unwrap();
        assert_eq!(crate::sys::process::Program::new(&words).run(&limits, &stop).stdout.bytes, b"4096\n");
    }

    #[test]
    fn exit_codes_can_be_learnt() {
        let name = "sys::startup::tests::exit_codes_can_be_learnt";
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
