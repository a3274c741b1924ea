//! For tests: a test that runs again in a process of its own, in a network namespace, as another user, with a limit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The variable that tells the second process that it is the one.
const ALONE: &str = "TEST_RUNS_ALONE";
/// The time limit of a program that is not to be killed before it is root, see [`beside_sudo`]: also a busy machine has
/// started it by then.
pub(crate) const BECOMES_ROOT: Duration = Duration::from_secs(1);

/// Runs the test `name` again, alone in a process started through `wrapper`, and expects it to pass there. True inside
/// that process: what the test does is done there only.
#[expect(clippy::disallowed_methods, reason = "this starts the test itself")]
pub(crate) fn alone(name: &str, wrapper: &[&str], program: &Path) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut words = wrapper.iter().map(std::ffi::OsStr::new).chain([program.as_os_str()]);
    let output = Command::new(words.next().unwrap())
        .args(words)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{name} under {wrapper:?}:\n{said}");
    false
}

/// [`alone`], in a network of its own, in which the test may do what it likes.
pub(crate) fn in_own_network(name: &str) -> bool {
    // Who is not root needs a user namespace as well.
    let flags = if rustix::process::geteuid().is_root() { "-n" } else { "-rn" };
    alone(name, &["unshare", flags], &this_program())
}

/// [`alone`], as nobody, beside a program that does its arguments as root and that nobody may kill: what sudo is to a
/// daemon that is not root. Its path, inside that process.
pub(crate) fn beside_sudo(name: &str) -> Option<PathBuf> {
    let (program, as_nobody) = (this_program(), ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    if std::env::var_os(ALONE).is_some() {
        return Some(program.with_file_name("sudo"));
    }
    if !rustix::process::geteuid().is_root() {
        skipped(format_args!("{name}: only root can make a program that runs as root"));
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (test, sudo) = (dir.path().join("test"), dir.path().join("sudo"));
    // By a program: what another test starts meanwhile would inherit a file that is being written here, and no file runs
    // that somebody can write (ETXTBSY).
    for (from, to) in [(&*program, &test), (Path::new("/usr/bin/setpriv"), &sudo)] {
        sh(&format!("cp '{}' '{}'", from.display(), to.display()));
    }
    for (path, mode) in [(dir.path(), 0o777), (&test, 0o755), (&sudo, 0o4755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    alone(name, &as_nobody, &test);
    None
}

/// Runs a line of `sh` that has to succeed.
#[expect(clippy::disallowed_methods, reason = "this prepares a test")]
pub(crate) fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits, at most a minute, until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let bound = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < bound, "{what} did not come about in a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The test program itself.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Says loudly that something is not tested, and why: past the test harness, which shows nothing of a test that passes.
pub(crate) fn skipped(what: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}");
}
