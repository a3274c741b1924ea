//! Tests with the directories, programs and interfaces of this machine, and with files of their
//! own.

use std::os::unix::fs::symlink;

use crate::config::files::{load, ServiceFiles, Sources};

use super::*;

/// A configuration that fits the machine, unless the second file changes it. `@` means the
/// directory.
const GOOD: &str = "[daemon]\npidfile = @/pid\nbird_conf = @/list\nbird_reconfigure_cmd = /bin/true\n\
                    [s]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1\n";

/// Compares the problems of the machine after `prepare` has created files in the directory.
fn check(lines: &str, prepare: impl FnOnce(&Path), expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let at = root.display().to_string();
    let (main, service) = (root.join("a.conf"), root.join("s.conf"));
    put(&main, &GOOD.replace('@', &at));
    put(&service, &lines.replace('@', &at));
    prepare(&root);
    let sources = Sources { main, services: ServiceFiles::File(service) };
    let configuration = load(&sources).unwrap_or_else(|problems| panic!("{problems:?}"));
    let before = fs::read_dir(&root).unwrap().count();
    let messages: Vec<String> = super::check(&configuration, Severity::Error)
        .into_iter()
        .map(|problem| {
            let head = if problem.is_error() { "" } else { "warning: " };
            format!("{head}{}: {}", problem.option.unwrap_or_default(), problem.message).replace(&at, "@")
        })
        .collect();
    assert_eq!(messages, expected, "{lines:?}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), before, "{lines:?}");
    // At start, problems that may be solved later are not errors.
    let at_start = super::check(&configuration, Severity::Warning).into_iter().filter(Diagnostic::is_error);
    let is_permanent =
        |problem: &Diagnostic| problem.option.as_deref() == Some("pidfile") || problem.message.contains("sudo");
    assert!(at_start.into_iter().all(|problem| is_permanent(&problem)), "{lines:?}");
}

#[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn script(path: &Path, text: &str) {
    put(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_machine_that_fits_has_no_problems() {
    check("", |_| (), &[]);
    check(
        "[daemon]\nlog_file = @/a.log\nprometheus_exporter = 1\nprometheus_collector_textfile_dir = @\n",
        |_| (),
        &[],
    );
    check("[s]\ncheck_cmd = true\ninterface = nosuch\nip_check_disabled = on\n", |_| (), &[]);
    check("[s]\ncheck_cmd = @/check\n", |root| script(&root.join("check"), "#! /bin/sh -e\n"), &[]);
    // A link to a file that the daemon creates later.
    check("[daemon]\nbird_conf = @/link\n", |root| symlink("target", root.join("link")).unwrap(), &[]);
    // With a control socket, the command is not run.
    let socket = |root: &Path| drop(std::os::unix::net::UnixListener::bind(root.join("ctl")).unwrap());
    check("[daemon]\nbird_control_socket = @/ctl\nbird_reconfigure_cmd = /no/birdc\n", socket, &[]);
}

#[test]
fn missing_directories_are_reported() {
    let rule = |path| format!("must be in an existing directory, but {path} is not one; create it");
    check(
        "[daemon]\npidfile = @/no/pid\n",
        |_| (),
        &["pidfile: must be in an existing directory, but '@/no' is not one; create it"],
    );
    check(
        "[daemon]\npidfile = pid\n",
        |_| (),
        &["pidfile: must be in an existing directory, but '' is not one; create it"],
    );
    check("[daemon]\nbird_conf = @/no/list\n", |_| (), &[&format!("bird_conf: {}", rule("@/no"))]);
    check("[daemon]\nlog_file = @/no/log\n", |_| (), &[&format!("log_file: {}", rule("@/no"))]);
    check("[daemon]\nstderr_file = @/no/err\n", |_| (), &[&format!("stderr_file: {}", rule("@/no"))]);
    let dangling = |root: &Path| symlink(root.join("no/target"), root.join("link")).unwrap();
    check("[daemon]\nbird_conf = @/link\n", dangling, &[&format!("bird_conf: {}", rule("@/no"))]);
    check("[daemon]\nbird_conf = @\n", |_| (), &["bird_conf: must be a file, but @ is a directory"]);
    check(
        "[daemon]\nprometheus_exporter = 1\nprometheus_collector_textfile_dir = @/no\n",
        |_| (),
        &["warning: prometheus_collector_textfile_dir: should be an existing directory, but @/no is not one"],
    );
}

#[test]
fn logs_that_cannot_be_rotated_are_reported() {
    let refused = |option: &str, link: &str| {
        format!(
            "{option}: must be a regular file to be rotated, but the link {link} leads to something else; name a file, remove \
             the option, or set log_maxbytes = 0"
        )
    };
    let null = |root: &Path| symlink("/dev/null", root.join("link")).unwrap();
    check("[daemon]\nlog_file = @/link\n", null, &[&refused("log_file", "@/link")]);
    check("[daemon]\nstderr_file = @/link\n", null, &[&refused("stderr_file", "@/link")]);
    check("[daemon]\nlog_file = @/link\nlog_maxbytes = 0\n", null, &[]);
    check("[daemon]\nlog_file = @/link\nlog_backups = 0\n", null, &[]);
    check("[daemon]\nlog_file = /dev/null\n", |_| (), &[]);
    // This is refused for any standard output.
    check("[daemon]\nlog_file = /dev/stdout\n", |_| (), &[&refused("log_file", "/dev/stdout")]);
    check("[daemon]\nlog_file = /proc/self/fd/1\n", |_| (), &[&refused("log_file", "/proc/self/fd/1")]);
    let file = |root: &Path| symlink("target", root.join("link")).unwrap();
    check("[daemon]\nlog_file = @/link\n", file, &[]);
    let directory = |root: &Path| symlink("/", root.join("link")).unwrap();
    check("[daemon]\nlog_file = @/link\n", directory, &["log_file: must be a file, but / is a directory"]);
}

#[test]
fn two_names_of_one_prefix_file_are_reported() {
    check(
        "[daemon]\nipv6 = yes\nbird6_reconfigure_cmd = /bin/true\nbird6_conf = @/link\n",
        |root| symlink("list", root.join("link")).unwrap(),
        &["bird6_conf: must not lead to the same file as bird_conf, @/list"],
    );
}

#[test]
fn programs_that_cannot_be_run_are_reported() {
    let rule =
        |program: &str, why: &str| format!("must begin with a program that can be run, but {program} cannot: {why}");
    let missing = "No such file or directory (os error 2)";
    check("[s]\ncheck_cmd = /no/check\n", |_| (), &[&format!("check_cmd: {}", rule("/no/check", missing))]);
    check(
        "[s]\ncheck_cmd = no-such-check\n",
        |_| (),
        &[&format!("check_cmd: {}", rule("no-such-check", "it is in no directory of PATH"))],
    );
    let denied = "Permission denied (os error 13)";
    check("[s]\ncheck_cmd = /etc/passwd\n", |_| (), &[&format!("check_cmd: {}", rule("/etc/passwd", denied))]);
    check("[s]\ncheck_cmd = /etc\n", |_| (), &[&format!("check_cmd: {}", rule("/etc", "it is not a file"))]);
    let neither = "it is neither a program nor a script that begins with #!";
    let text = |root: &Path| script(&root.join("c"), "exit 0\n");
    check("[s]\ncheck_cmd = @/c\n", text, &[&format!("check_cmd: {}", rule("@/c", neither))]);
    let no_interpreter = |root: &Path| script(&root.join("c"), "#!/no/sh\n");
    let why = format!("its interpreter /no/sh: {missing}");
    check("[s]\ncheck_cmd = @/c\n", no_interpreter, &[&format!("check_cmd: {}", rule("@/c", &why))]);
    for option in ["custom_bird_reconfigure_cmd", "state_change_cmd"] {
        let expected = format!("warning: {option}: {}", rule("/no/x", missing));
        check(&format!("[s]\n{option} = /no/x\n"), |_| (), &[&expected]);
    }
    let expected = format!("warning: bird_reconfigure_cmd: {}", rule("/no/birdc", missing));
    check("[daemon]\nbird_reconfigure_cmd = /no/birdc configure\n", |_| (), &[&expected]);
}

#[test]
fn missing_interfaces_and_unsafe_drain_files_are_reported() {
    let expected =
        "warning: interface: should be an interface of this machine; until it is, the service counts as down";
    for name in ["nosuch0", "", "a-name-longer-than-any-interface", "../lo", "nosuch:1", ":lo"] {
        check(&format!("[s]\ninterface = {name}\n"), |_| (), &[expected]);
    }
    for name in ["lo", "lo:1", "lo:anycast"] {
        check(&format!("[s]\ninterface = {name}\n"), |_| (), &[]);
    }
    let open = |root: &Path| {
        fs::create_dir(root.join("open")).unwrap();
        fs::set_permissions(root.join("open"), fs::Permissions::from_mode(0o1777)).unwrap();
    };
    let expected = "warning: drain_file: every user can withdraw the prefix, because @/open is writable for all";
    check("[s]\ndrain_file = @/open/drain\n", open, &[expected]);
    check("[daemon]\ndrain_file = @/open/drain\n", open, &[expected]);
    check("[daemon]\ndrain_file = @/drain\n", |_| (), &[]);
}

/// The flag belongs to a thread, and is gone with it.
#[test]
fn sudo_under_no_new_privileges_is_refused() {
    let thread = std::thread::spawn(|| {
        let sudo = |root: &Path| script(&root.join("sudo"), "#!/bin/sh\n");
        let lines = "[daemon]\nbird_reconfigure_cmd = @/sudo birdc\n";
        check(lines, sudo, &[]);
        rustix::thread::set_no_new_privs(true).unwrap();
        check(lines, sudo, &["bird_reconfigure_cmd: must not begin with sudo, which always fails under NoNewPrivileges; add the user to BIRD's group instead"]);
    });
    thread.join().unwrap();
}

#[test]
fn a_missing_control_socket_is_reported() {
    let rule = "warning: bird_control_socket: should be BIRD's control socket, but @/";
    let missing = "does not exist: BIRD is down, or its socket is elsewhere (its option -s)";
    check("[daemon]\nbird_control_socket = @/ctl\n", |_| (), &[&format!("{rule}ctl {missing}")]);
    check("[daemon]\nbird_control_socket = @/a/ctl\n", |_| (), &[&format!("{rule}a/ctl {missing}")]);
    check("[daemon]\nbird_control_socket = @/s.conf\n", |_| (), &[&format!("{rule}s.conf is not a socket")]);
}
