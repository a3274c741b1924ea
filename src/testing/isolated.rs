//! Reruns a test in a process of its own: in a network namespace, as another user, or with a limit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The environment variable that marks the rerun.
const RERUN_VARIABLE: &str = "TEST_RUNS_ALONE";
/// The time limit of a program that must become root before it is killed, see [`beside_sudo`]. It
/// is long enough for a busy machine.
pub(crate) const BECOMES_ROOT: Duration = Duration::from_secs(1);

/// Reruns the test `name`, alone in a process started through `wrapper`, and expects it to pass.
/// Returns true inside that process, where the test does its work.
#[expect(clippy::disallowed_methods, reason = "this starts the test itself")]
pub(crate) fn alone(name: &str, wrapper: &[&str], program: &Path) -> bool {
    if std::env::var_os(RERUN_VARIABLE).is_some() {
        return true;
    }
    let mut words = wrapper.iter().map(std::ffi::OsStr::new).chain([program.as_os_str()]);
    let output = Command::new(words.next().unwrap())
        .args(words)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(RERUN_VARIABLE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{name} under {wrapper:?}:\n{text}");
    false
}

/// Like [`alone`], in a network namespace that the test may change.
pub(crate) fn in_own_network(name: &str) -> bool {
    // Without root a user namespace is needed as well.
    let flags = if rustix::process::geteuid().is_root() { "-n" } else { "-rn" };
    alone(name, &["unshare", flags], &this_program())
}

/// Like [`alone`], as the user nobody, with a program that runs its arguments as root and that the
/// user may not kill, like sudo under a daemon that is not root. Returns the program's path inside
/// that process.
pub(crate) fn beside_sudo(name: &str) -> Option<PathBuf> {
    let (program, as_nobody) = (this_program(), ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    if std::env::var_os(RERUN_VARIABLE).is_some() {
        return Some(program.with_file_name("sudo"));
    }
    if !rustix::process::geteuid().is_root() {
        skipped(format_args!("{name}: only root can make a program that runs as root"));
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (test, sudo) = (dir.path().join("test"), dir.path().join("sudo"));
    // Another program copies the files: a process that another test starts meanwhile would inherit
    // a descriptor open for writing, and the kernel refuses to run such a file (ETXTBSY).
    for (from, to) in [(&*program, &test), (Path::new("/usr/bin/setpriv"), &sudo)] {
        sh(&format!("cp '{}' '{}'", from.display(), to.display()));
    }
    for (path, mode) in [(dir.path(), 0o777), (&test, 0o755), (&sudo, 0o4755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    alone(name, &as_nobody, &test);
    None
}

/// Runs a shell script that must succeed.
#[expect(clippy::disallowed_methods, reason = "this prepares a test")]
pub(crate) fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until `condition` holds, at most a minute.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The path of the test program.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Reports on stderr that something is not tested, and why. It bypasses the test harness, which
/// hides the output of a test that passes.
pub(crate) fn skipped(what: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}");
}
