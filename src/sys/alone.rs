//! For tests: a test that runs again in a process of its own, in a network namespace, as another user, with a limit.

use std::path::Path;
use std::process::Command;

/// The variable that tells the second process that it is the one.
const ALONE: &str = "TEST_RUNS_ALONE";

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

/// The test program itself.
pub(crate) fn this_program() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}
