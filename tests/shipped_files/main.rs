//! Every file in `examples/` and `contrib/` is read by the tool that it is for.
//!
//! Guarantees: a file without a reader fails [`every_file_has_a_reader`]; a missing tool is
//! reported on standard error, with the package that contains it.
//! Out of scope: what packages do with the files (`tests/ci/packages`), and generated parts
//! (`tests/generated.rs`).
#![expect(clippy::disallowed_methods, reason = "tests run the tools and write temporary files")]
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

mod bird_and_daemon;
mod shells;
mod systemd;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-healthchecker");

/// The tool that reads a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reader {
    /// The daemon's own `-c`.
    Daemon,
    /// BIRD 2, and BIRD 3 where `tests/ci/birds` has fetched it.
    Bird,
    /// BIRD 1.6, where `tests/ci/birds` has fetched it.
    Bird16,
    Systemd,
    Sysusers,
    Tmpfiles,
    Sudo,
    Supervisor,
    Manual,
    Bash,
    Zsh,
    Fish,
    /// Scripts, and parts from which package managers make scripts.
    Shell,
    /// Container tools and the daemon inside, see `tests/ci/containers`.
    Containers,
    /// dpkg's parser of Debian changelogs.
    Changelog,
    /// lintian and rpmlint, see `tests/ci/packages`.
    Packages,
    Promtool,
    Json,
    /// Built by cargo.
    Cargo,
    Compiler,
    Python,
    /// Text and pictures for people.
    People,
}

/// The reader of `path`, which begins with `examples/` or `contrib/`. The first match counts.
fn reader(path: &str) -> Option<Reader> {
    let parts = [
        ("examples/anycast-healthchecker", ".conf", Reader::Daemon),
        ("examples/bird/1.6/", ".conf", Reader::Bird16),
        ("examples/bird/", ".conf", Reader::Bird),
        ("examples/two-birds/", ".conf", Reader::Bird),
        ("examples/two-birds/network", "", Reader::Bash),
        ("contrib/systemd/", ".service", Reader::Systemd),
        ("contrib/systemd/", ".conf", Reader::Systemd),
        ("contrib/sysusers.d/", ".conf", Reader::Sysusers),
        ("contrib/tmpfiles.d/", ".conf", Reader::Tmpfiles),
        ("contrib/sudoers.d/", "", Reader::Sudo),
        ("contrib/supervisord/", ".conf", Reader::Supervisor),
        ("contrib/man/", ".5", Reader::Manual),
        ("contrib/man/", ".8", Reader::Manual),
        ("contrib/completions/", ".bash", Reader::Bash),
        ("contrib/completions/_", "", Reader::Zsh),
        ("contrib/completions/", ".fish", Reader::Fish),
        ("contrib/container/", ".conf", Reader::Containers),
        ("contrib/container/", "/Containerfile", Reader::Containers),
        ("contrib/container/", "/compose.yaml", Reader::Containers),
        ("contrib/deb/", "/changelog", Reader::Changelog),
        ("contrib/deb/", "/copyright", Reader::Packages),
        ("contrib/deb/", "/lintian-overrides", Reader::Packages),
        ("contrib/rpm/", ".toml", Reader::Packages),
        ("contrib/deb/", "", Reader::Shell),
        ("contrib/rpm/", "", Reader::Shell),
        ("contrib/nagios/", ".py", Reader::Shell),
        ("contrib/prometheus/", ".yml", Reader::Promtool),
        ("contrib/", ".json", Reader::Json),
        ("contrib/", ".rs", Reader::Cargo),
        ("contrib/bench/", ".c", Reader::Compiler),
        ("contrib/bench/", ".py", Reader::Python),
        ("", "/README", Reader::People),
        ("", ".md", Reader::People),
        ("", ".png", Reader::People),
        ("", ".svg", Reader::People),
    ];
    let found = parts.iter().find(|(start, end, _)| path.starts_with(start) && path.ends_with(end));
    found.map(|(_, _, reader)| *reader).or_else(|| is_script(path).then_some(Reader::Bash))
}

fn is_script(path: &str) -> bool {
    let text = fs::read(root().join(path)).unwrap_or_default();
    text.starts_with(b"#!/bin/sh") || text.starts_with(b"#!/bin/bash") || text.starts_with(b"#!/usr/bin/env bash")
}

#[test]
fn every_file_has_a_reader() {
    let unread: Vec<_> = shipped_files().into_iter().filter(|path| reader(path).is_none()).collect();
    assert!(unread.is_empty(), "give each of these a reader in reader() of tests/shipped_files/main.rs: {unread:#?}");
}

#[test]
fn sudo_accepts_its_rule() {
    for path in read_by(Reader::Sudo) {
        if is_installed(Path::new("visudo"), "--version", "sudo") {
            accepts(tool("visudo").args(["--check", "--strict", "--file"]).arg(root().join(path)));
        }
    }
}

#[test]
fn supervisord_accepts_its_program() {
    let files = read_by(Reader::Supervisor);
    if !is_installed(Path::new("supervisord"), "--version", "supervisor") {
        return;
    }
    // supervisord has no option to check a file, so its parser is called directly.
    let sandbox = TempDir::new().unwrap();
    for path in files {
        let text = fs::read_to_string(root().join(path)).unwrap();
        fs::write(sandbox.path().join("program.ini"), text).unwrap();
        let main = sandbox.path().join("supervisord.conf");
        fs::write(&main, "[supervisord]\n[include]\nfiles = program.ini\n").unwrap();
        let read = "import sys; from supervisor.options import ServerOptions; o = ServerOptions(); \
                    o.realize(['-c', sys.argv[1]]); print(o.process_group_configs[0].process_configs[0].command)";
        let output = accepts(tool("/usr/bin/python3").args(["-c", read]).arg(&main));
        assert!(output.ends_with(" /usr/bin/anycast-healthchecker\"\n"), "{output}");
    }
}

#[test]
fn mandoc_and_man_accept_the_manual_pages() {
    for path in read_by(Reader::Manual) {
        if is_installed(Path::new("mandoc"), "/dev/null", "mandoc") {
            let output = accepts(tool("mandoc").args(["-T", "lint", "-W", "warning"]).arg(root().join(&path)));
            assert_eq!(output, "", "{path}");
        }
        if is_installed(Path::new("man"), "--version", "man-db") {
            let mut man = tool("man");
            let page = man.args(["--warnings", "--local-file"]).arg(root().join(&path)).env("MANWIDTH", "80");
            let output = page.stdin(Stdio::null()).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{path}");
        }
    }
}

#[test]
fn dpkg_accepts_the_changelog_and_finds_this_version() {
    for path in read_by(Reader::Changelog) {
        if is_installed(Path::new("dpkg-parsechangelog"), "--version", "dpkg-dev") {
            let output = accepts(tool("dpkg-parsechangelog").args(["-S", "Version", "-l"]).arg(root().join(&path)));
            assert_eq!(output, concat!(env!("CARGO_PKG_VERSION"), "-1\n"), "{path}");
        }
    }
}

#[test]
fn promtool_accepts_the_rules() {
    for path in read_by(Reader::Promtool) {
        if is_installed(Path::new("promtool"), "--version", "prometheus") {
            accepts(tool("promtool").args(["check", "rules"]).arg(root().join(path)));
        }
    }
}

#[test]
fn compilers_accept_the_benchmark() {
    for path in read_by(Reader::Compiler) {
        if is_installed(Path::new("cc"), "--version", "gcc") {
            accepts(tool("cc").args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]).arg(root().join(path)));
        }
    }
    for path in read_by(Reader::Python) {
        if is_installed(Path::new("python3"), "--version", "python3") {
            let read = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')";
            accepts(tool("python3").args(["-c", read]).arg(root().join(path)));
        }
    }
}

#[test]
fn json_files_are_valid() {
    for path in read_by(Reader::Json) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `examples/` and `contrib/`, relative to the root of the project.
fn shipped_files() -> Vec<String> {
    let mut files = Vec::new();
    let mut waiting = vec![root().join("examples"), root().join("contrib")];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => waiting.push(path),
                false => files.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort();
    files
}

fn read_by(wanted: Reader) -> Vec<String> {
    shipped_files().into_iter().filter(|path| reader(path) == Some(wanted)).collect()
}

/// A tool, which may be in a directory that only an administrator has in the path.
fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin");
    command
}

/// Whether this machine has a tool. The argument makes it end at once.
fn is_installed(program: &Path, argument: &str, package: &str) -> bool {
    let mut command = tool(program);
    let is_installed = command.arg(argument).stdin(Stdio::null()).output().is_ok();
    if !is_installed {
        skipped(&format!("{} is not installed: see {package}", program.display()));
    }
    is_installed
}

/// Writes past the test harness, which hides the output of a passing test.
fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let mut terminal = std::io::stderr();
    writeln!(terminal, "SKIPPED {name}: {why}").unwrap();
}

/// Runs a tool that has to succeed. Returns its output on both streams.
fn accepts(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let output = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{output}");
    output
}
