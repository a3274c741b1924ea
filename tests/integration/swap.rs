//! Swaps of the Python program for ours and back: no route moves, and each starts with the other's
//! files.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const WEB6: &str = "2001:db8:52::1/128";

/// Both families, a history, and thresholds above one, like on a real site.
fn lab() -> Lab {
    let slow = |service: Service| service.with("check_rise", "2").with("check_fail", "2");
    let mut lab = Lab::new([slow(Service::new("web", WEB)), slow(Service::new("web6", WEB6))]);
    lab.option("bird_keep_changes", "true");
    lab
}

fn wait_checked(lab: &Lab) {
    lab.wait_runs("web", 4);
    lab.wait_runs("web6", 4);
}

/// Replaces one program by the other, and checks that a change still works.
fn replaces(lab: &mut Lab, from: &str, to: &str) {
    lab.start_this_daemon(from);
    lab.wait_advertised(WEB);
    lab.wait_advertised(WEB6);
    wait_checked(lab);
    let mark = lab.routes.mark();
    lab.stop_daemon();
    lab.start_this_daemon(to);
    wait_checked(lab);
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.wait_listed(&[WEB6]);
    lab.revive("web");
    lab.wait_advertised(WEB);
}

#[test]
fn swaps_between_the_original_and_ours_move_no_route() {
    let Some(original) = original() else { return };
    let ours = env!("CARGO_BIN_EXE_anycast-healthchecker");
    let original = original.to_str().unwrap();
    replaces(&mut lab(), original, ours);
    replaces(&mut lab(), ours, original);
}

#[test]
fn ours_starts_with_files_of_a_killed_original_without_moving_a_route() {
    let mut lab = lab();
    lab.advertise(&[WEB, WEB6]);
    let mark = lab.routes.mark();
    // The pidfile, and a temporary file from before its rename.
    lab.touch("1795341934.116792");
    std::fs::write(lab.file("run/daemon.pid"), "4190000\n").unwrap();
    lab.start_daemon();
    wait_checked(&lab);
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

/// The original program: the one in `ORIGINAL`, or a copy installed once in the build directory.
fn original() -> Option<&'static Path> {
    static ORIGINAL: OnceLock<Option<PathBuf>> = OnceLock::new();
    ORIGINAL
        .get_or_init(|| {
            if let Some(named) = std::env::var_os("ORIGINAL") {
                return Some(named.into());
            }
            let installed = install(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("original-0.9.10"));
            if let Err(why) = &installed {
                let _ = writeln!(io::stderr(), "SKIPPED: swapping with the original, as it cannot be installed: {why}");
            }
            installed.ok()
        })
        .as_deref()
}

/// Installs the original into a virtual environment, unless it is there.
fn install(directory: &Path) -> Result<PathBuf, String> {
    let program = directory.join("bin/anycast-healthchecker");
    if program.exists() {
        return Ok(program);
    }
    let pip = directory.join("bin/pip");
    run(Command::new("python3").arg("-m").arg("venv").arg("--clear").arg(directory))?;
    run(Command::new(pip).args(["install", "--quiet", "anycast-healthchecker==0.9.10"]))?;
    Ok(program)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let message = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(message)
}
