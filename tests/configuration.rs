//! The program and its configuration files: what it prints, which errors it reports, and that it
//! changes nothing.
//!
//! Each directory under `data/config` holds `main.conf`, `services/` and the expected output.
//! `print.txt` is what the original printed for `--print-conf`, except in `new-options`, which the
//! original refuses, and for the order of the files in `several-files`. `stderr.txt` is what
//! `--check --files-only` writes to standard error.
//! A directory named after a lint (`config::lint`) shows that warning. Lints of the machine run
//! without `--files-only`. `GENERATE=1` rewrites each `stderr.txt`: read the difference before you
//! commit it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; clippy sees that only within the tests themselves")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anycast_healthchecker::internals::config::lint::LINTS;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The program, to be started in `directory`.
#[expect(clippy::disallowed_methods, reason = "this starts the program under test")]
fn command(directory: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anycast-healthchecker"));
    command.args(arguments.split_whitespace()).current_dir(directory).stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &str) -> Output {
    command(directory, arguments).output().unwrap()
}

/// Exit code, standard output and standard error.
fn result(output: &Output) -> (i32, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[expect(clippy::disallowed_methods, reason = "writes a file of the test")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// A directory with a valid configuration: `main.conf` and `services/a.conf`.
fn sandbox() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("services")).unwrap();
    let at = root.path().display();
    put(&root.path().join("main.conf"), &format!("[daemon]\npidfile = {at}/pid\nbird_conf = {at}/list\nlog_file = {at}/log\nbird_reconfigure_cmd = /bin/true\n"));
    put(&root.path().join("services/a.conf"), &service("/bin/true", ""));
    root
}

/// A service with this check in line 5 and these lines from line 6 on.
fn service(check_cmd: &str, lines: &str) -> String {
    format!(
        "[a]\ncheck_disabled = false\nip_check_disabled = true\nip_prefix = 10.0.0.1\ncheck_cmd = {check_cmd}\n{lines}"
    )
}

const FILES: &str = "-f main.conf -d services";

#[test]
fn every_directory_gives_its_expected_output() {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(data().join("config")).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_string();
        let expected = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
        let stderr = expected("stderr.txt");
        let good = !stderr.contains("Invalid configuration: ");
        let of_machine = LINTS.iter().any(|lint| lint.name == name && lint.is_of_machine());
        let check = format!("{FILES} -c{}", if of_machine { "" } else { " --files-only" });
        let output = run(&directory, &check);
        if std::env::var_os("GENERATE").is_some() {
            if result(&output).2 != stderr {
                put(&directory.join("stderr.txt"), result(&output).2);
            }
            continue;
        }
        let verdict = if good { (0, "OK\n", &*stderr) } else { (1, "", &*stderr) };
        assert_eq!(result(&output), verdict, "{name}");
        let strict = run(&directory, &format!("{check} --strict"));
        let refused = stderr.replace("Warning: ", "Invalid configuration: ");
        assert_eq!(result(&strict), if stderr.is_empty() { (0, "OK\n", "") } else { (1, "", &*refused) }, "{name}");
        // Warnings do not change what is printed.
        let printed = run(&directory, &format!("{FILES} -P"));
        if directory.join("print.txt").exists() {
            assert_eq!(result(&printed), (0, &*expected("print.txt"), ""), "{name}");
        } else if !good {
            assert_eq!((result(&printed).0, result(&printed).1), (1, ""), "{name}");
        }
        names.insert(name);
    }
    if std::env::var_os("GENERATE").is_none() {
        let missing: Vec<_> = LINTS.iter().map(|lint| lint.name).filter(|name| !names.contains(*name)).collect();
        assert!(missing.is_empty(), "each kind of warning has a directory: {missing:?}");
        assert_eq!(names.len() - LINTS.len(), 9);
    }
}

/// The printed configuration can be read, and is printed the same way again.
#[test]
fn what_print_conf_prints_is_a_configuration() {
    let root = sandbox();
    let first = run(root.path(), &format!("{FILES} -P"));
    assert_eq!(result(&first).0, 0);
    put(&root.path().join("printed.conf"), result(&first).1);
    fs::create_dir(root.path().join("empty")).unwrap();
    let second = run(root.path(), "-f printed.conf -d empty -P");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(result(&first).1), sorted(result(&second).1));
}

#[test]
fn the_defaults_need_no_files() {
    let expected = fs::read_to_string(data().join("print.txt")).unwrap();
    for arguments in ["-p", "-cp", "--print -f /nonexistent"] {
        assert_eq!(result(&run(Path::new("/"), arguments)), (0, &*expected, ""), "{arguments}");
    }
}

#[test]
fn version_and_help() {
    let version = concat!(env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(result(&run(Path::new("/"), "-v")), (0, version, ""));
    assert_eq!(result(&run(Path::new("/"), "--version -c -f /nonexistent")), (0, version, ""));
    let help = run(Path::new("/"), "-h");
    let (code, text, error) = result(&help);
    assert_eq!((code, error), (0, ""));
    assert!(text.contains("anycast-healthchecker [ -f <file> -c -p -P ] [ -d <directory> | -F <file> ]"), "{text}");
}

#[test]
fn a_wrong_command_line_is_reported_with_the_usage() {
    for arguments in ["x", "-d", "--bogus", "-d /x -F /y", "--pri", "--for 3m"] {
        let output = run(Path::new("/"), arguments);
        let (code, out, error) = result(&output);
        assert_eq!((code, out), (1, ""), "{arguments}");
        assert_eq!(error.matches("Usage: anycast-healthchecker [ -f <file>").count(), 1, "{arguments}: {error}");
    }
}

/// Both options need no permission, write no file and run no command.
#[test]
fn check_and_print_change_nothing() {
    let root = sandbox();
    let check = root.path().join("check");
    put(&check, "#!/bin/sh\ntouch ran\n");
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755)).unwrap();
    put(&root.path().join("services/a.conf"), &service(&check.display().to_string(), ""));
    let main = root.path().join("main.conf");
    let text = fs::read_to_string(&main).unwrap().replace("/bin/true", &check.display().to_string());
    put(&main, &(text + "bird_keep_changes = on\n"));
    let list = || {
        let mut names: Vec<PathBuf> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = list();
    assert_eq!(result(&run(root.path(), &format!("{FILES} -c"))), (0, "OK\n", ""));
    assert_eq!(result(&run(root.path(), &format!("{FILES} -P"))).0, 0);
    assert_eq!(list(), before);
}

/// Refusing to start is better than silently not checking a service.
#[test]
fn files_that_cannot_be_read_are_errors() {
    fn check(arguments: &str, prepare: impl FnOnce(&Path), expected: &str) {
        let root = sandbox();
        prepare(root.path());
        assert_eq!(result(&run(root.path(), arguments)), (1, "", expected), "{arguments}");
    }
    let missing = "No such file or directory (os error 2)";
    let unread = format!("this configuration file cannot be read: {missing}");
    check("-c -f no.conf -d services", |_| (), &format!("Invalid configuration: no.conf: {unread}\n"));
    check("-c -f main.conf -F no.conf", |_| (), &format!("Invalid configuration: no.conf: {unread}\n"));
    check(
        "-c -f main.conf -d no",
        |_| (),
        &format!("Invalid configuration: no: the directory with the files of the services cannot be read: {missing}\n"),
    );
    let dangling = |root: &Path| symlink("nothing", root.join("services/b.conf")).unwrap();
    check("-c -f main.conf -d services", dangling, &format!("Invalid configuration: services/b.conf: {unread}\n"));
    let directory = |root: &Path| fs::create_dir(root.join("services/b.conf")).unwrap();
    let other = "Invalid configuration: services/b.conf: must be a regular file to be read as configuration\n";
    check("-P -f main.conf -d services", directory, other);
    // A start reports the same error.
    check("-f main.conf -d services", dangling, &format!("Invalid configuration: services/b.conf: {unread}\n"));
}

#[test]
fn a_missing_program_or_directory_is_an_error_unless_only_files_are_checked() {
    let root = sandbox();
    put(&root.path().join("services/a.conf"), &service("/nonexistent/check", ""));
    let stderr = "Invalid configuration: services/a.conf, line 5: [a] check_cmd = /nonexistent/check: must begin with a program that can be run, but /nonexistent/check cannot: No such file or directory (os error 2)\n";
    assert_eq!(result(&run(root.path(), &format!("{FILES} -c"))), (1, "", stderr));
    assert_eq!(result(&run(root.path(), &format!("{FILES} -P"))), (1, "", stderr));
    assert_eq!(result(&run(root.path(), &format!("{FILES} -c --files-only"))), (0, "OK\n", ""));
    put(&root.path().join("services/a.conf"), &service("/bin/true", ""));
    let main = root.path().join("main.conf");
    let text = fs::read_to_string(&main).unwrap();
    let pidfile = text.lines().nth(1).unwrap();
    put(&main, &text.replace(pidfile, "pidfile = /nonexistent/pid"));
    let stderr = "Invalid configuration: main.conf, line 2: [daemon] pidfile = /nonexistent/pid: must be in an existing directory, but '/nonexistent' is not one; create it\n";
    for arguments in ["-c", "-P", ""] {
        assert_eq!(result(&run(root.path(), &format!("{FILES} {arguments}"))), (1, "", stderr), "{arguments}");
    }
}

/// A syntax error in one file hides neither the values of other files nor problems of the machine.
#[test]
fn one_run_reports_all_problems() {
    let root = sandbox();
    put(&root.path().join("services/a.conf"), &service("/nonexistent/check", "check_rise = 0\n"));
    put(&root.path().join("services/b.conf"), "[b]\nno delimiter\nip_prefix = 10.0.0.2\n");
    let output = run(root.path(), &format!("{FILES} -c"));
    let (code, out, error) = result(&output);
    assert_eq!((code, out), (1, ""));
    let expected = [
        "services/a.conf, line 6: [a] check_rise = 0: must be a whole number",
        "services/b.conf, line 2: [b] 'no delimiter': is neither",
        "services/a.conf, line 5: [a] check_cmd = /nonexistent/check: must begin with a program that can be run",
    ];
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
}

/// A value of `[DEFAULT]` gives one warning, for any number of services.
#[test]
fn an_inherited_value_is_reported_once() {
    let root = sandbox();
    let main = root.path().join("main.conf");
    let default =
        "[DEFAULT]\ninterface = nosuch\ncheck_cmd = /nonexistent/check %(ip_prefix)s\ncheck_disabled = false\ndrain_file = /nonexistent/drain\n";
    let text = fs::read_to_string(&main).unwrap();
    put(&main, &format!("{text}{default}"));
    let services: String = (1..9).map(|n| format!("[s{n}]\nip_prefix = 10.0.0.{n}\n")).collect();
    put(&root.path().join("services/a.conf"), &services);
    let output = run(root.path(), &format!("{FILES} -c"));
    let (_, _, error) = result(&output);
    assert_eq!(error.lines().count(), 3, "{error}");
    for expected in
        ["[DEFAULT] interface = nosuch: should be", "[DEFAULT] check_cmd = /nonexistent/check 10.0.0.1: must"]
    {
        assert!(error.contains(expected), "{error}");
    }
}

/// A faulty value of an unknown option fails only `--print-conf`.
#[test]
fn an_unknown_option_that_cannot_be_printed_is_a_warning() {
    let root = sandbox();
    put(&root.path().join("services/a.conf"), &service("/bin/true", "mine = 100%\n"));
    let fault = "a % must be written %%, or begin a reference such as %(interface)s; here it is followed by ''";
    let line = "services/a.conf, line 6: [a] mine = 100%";
    let warnings =
        format!("Warning: {line}: is an unknown option\nWarning: {line}: cannot be shown by --print-conf: {fault}\n");
    assert_eq!(result(&run(root.path(), &format!("{FILES} -c"))), (0, "OK\n", &*warnings));
    let refusal = format!("Invalid configuration: {line}: {fault}\n");
    assert_eq!(result(&run(root.path(), &format!("{FILES} -P"))), (1, "", &*refusal));
}

#[test]
fn a_closed_pipe_or_a_full_disk_at_standard_output_fails() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(Path::new("/"), "-p").stdout(writer).output().unwrap();
    assert_eq!(result(&output), (1, "", ""));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(Path::new("/"), "-p").stdout(full).output().unwrap();
    assert_eq!(result(&output), (1, "", "cannot write to standard output: No space left on device (os error 28)\n"));
}
