//! Units, drop-ins, users and directories for systemd.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{accepts, is_installed, read_by, root, skipped, tool, Reader, DAEMON};

#[test]
fn systemd_accepts_the_units() {
    let files = read_by(Reader::Systemd);
    if !is_installed(Path::new("systemd-analyze"), "--version", "systemd") {
        return;
    }
    // The unit with the built program, then with each drop-in, then BIRD's unit with its drop-in.
    let unit = fs::read_to_string(root().join("contrib/systemd/anycast-healthchecker.service")).unwrap();
    let unit = unit.replace("/usr/bin/anycast-healthchecker", DAEMON);
    for path in &files {
        let sandbox = TempDir::new().unwrap();
        let service = sandbox.path().join("anycast-healthchecker.service");
        fs::write(&service, &unit).unwrap();
        let bird = sandbox.path().join("bird.service");
        fs::write(&bird, "[Service]\nExecStart=/bin/true\n").unwrap();
        if path.ends_with(".conf") {
            let changed = if path.ends_with("/bird-bound.conf") { &bird } else { &service };
            let dir = changed.with_extension("service.d");
            fs::create_dir(&dir).unwrap();
            let text = fs::read_to_string(root().join(path)).unwrap();
            fs::write(dir.join("drop-in.conf"), text.replace("/usr/bin/anycast-healthchecker", DAEMON)).unwrap();
        }
        // systemd-analyze succeeds even if it reports a line that it does not understand.
        let output = accepts(tool("systemd-analyze").args(["verify", "--man=no"]).args([&service, &bird]));
        let about_ours: Vec<_> =
            output.lines().filter(|line| line.contains(sandbox.path().to_str().unwrap())).collect();
        assert!(about_ours.is_empty(), "{path}: {about_ours:#?}");
    }
}

/// `systemctl reload` fails if the daemon would refuse the configuration. Like a reload, the
/// command does not check the machine.
#[test]
fn a_reload_by_systemd_checks_the_files_of_the_daemon() {
    let unit = fs::read_to_string(root().join("contrib/systemd/anycast-healthchecker.service")).unwrap();
    let values = |key: &str| -> Vec<String> {
        let of_key = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        of_key.map(str::to_string).collect()
    };
    let [start] = &values("ExecStart")[..] else { panic!("{unit}") };
    let kill = "/bin/sh -c 'kill -HUP $MAINPID'".to_string();
    assert_eq!(values("ExecReload"), [format!("{start} --check --files-only"), kill]);
    assert_eq!(values("Type"), ["notify"], "with notify-reload, which systemd 252 does not know, it signals itself");
}

/// The exposure levels are those in docs/operations.md, or better.
#[test]
fn the_hardened_unit_reaches_its_documented_exposure_level() {
    if !is_installed(Path::new("systemd-analyze"), "--version", "systemd") {
        return;
    }
    let sandbox = TempDir::new().unwrap();
    let service = sandbox.path().join("anycast-healthchecker.service");
    fs::copy(root().join("contrib/systemd/anycast-healthchecker.service"), &service).unwrap();
    let exposure = || -> f64 {
        let output = accepts(tool("systemd-analyze").args(["security", "--offline=yes"]).arg(&service));
        let line = output.lines().find(|line| line.contains("Overall exposure level")).expect("a last line");
        let figure = line.rsplit(": ").next().unwrap().split(' ').next().unwrap();
        figure.parse().unwrap()
    };
    let open = exposure();
    let dir = service.with_extension("service.d");
    fs::create_dir(&dir).unwrap();
    fs::copy(root().join("contrib/systemd/hardening.conf"), dir.join("hardening.conf")).unwrap();
    let hardened = exposure();
    assert!(open > 9.0 && hardened <= 1.5, "{open} {hardened}");
}

/// The users come first, because one of them owns the directories.
#[test]
fn systemd_creates_the_user_and_the_directories() {
    let (users, directories) = (read_by(Reader::Sysusers), read_by(Reader::Tmpfiles));
    let tools = is_installed(Path::new("systemd-sysusers"), "--version", "systemd")
        && is_installed(Path::new("systemd-tmpfiles"), "--version", "systemd");
    if !tools {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        skipped("only root can make users and give them directories");
        return;
    }
    let sandbox = TempDir::new().unwrap();
    fs::create_dir(sandbox.path().join("etc")).unwrap();
    let at = format!("--root={}", sandbox.path().display());
    accepts(tool("systemd-sysusers").arg(&at).args(users.iter().map(|path| root().join(path))));
    let groups = fs::read_to_string(sandbox.path().join("etc/group")).unwrap();
    let bird = groups.lines().find(|line| line.starts_with("bird:")).expect("group bird");
    assert!(bird.ends_with(":anycast-healthchecker"), "{groups}");
    let output = accepts(
        tool("systemd-tmpfiles").args(["--create", &at]).args(directories.iter().map(|path| root().join(path))),
    );
    assert_eq!(output, "");
    assert!(sandbox.path().join("var/lib/anycast-healthchecker/6").is_dir());
}
