//! Example configurations of the daemon and of BIRD.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anycast_healthchecker::internals::config::options::OPTIONS;
use tempfile::TempDir;

use super::{accepts, is_installed, read_by, root, tool, Reader, DAEMON};

#[test]
fn the_daemon_accepts_its_examples() {
    read_by(Reader::Daemon);
    check_configuration(&root().join("examples"));
}

/// Lines that are commented out in the examples (`#option = value`) are valid, too. Standard output
/// and the other log targets exclude each other.
#[test]
fn the_daemon_accepts_the_commented_options_of_its_examples() {
    let elsewhere = ["log_file", "log_server", "json_log_file", "json_log_server", "stderr_log_server"];
    for left_out in [&["json_stdout"][..], &elsewhere] {
        let sandbox = TempDir::new().unwrap();
        fs::create_dir(sandbox.path().join("anycast-healthchecker.d")).unwrap();
        for path in read_by(Reader::Daemon) {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            let lines = text.lines().map(|line| match line.strip_prefix('#').and_then(|line| line.split_once(" = ")) {
                Some((name, _)) if name.starts_with(|c: char| c.is_ascii_lowercase()) && !left_out.contains(&name) => {
                    &line[1..]
                }
                _ => line,
            });
            let text = lines.collect::<Vec<_>>().join("\n");
            fs::write(sandbox.path().join(path.strip_prefix("examples/").unwrap()), text).unwrap();
        }
        check_configuration(sandbox.path());
    }
}

/// An operator finds every option in the examples, set or commented out.
#[test]
fn the_examples_show_every_option() {
    let samples: Vec<_> =
        read_by(Reader::Daemon).iter().map(|path| fs::read_to_string(root().join(path)).unwrap()).collect();
    let shown = |name: &str| {
        let set = format!("{name} = ");
        samples.iter().flat_map(|text| text.lines()).any(|line| line.trim_start_matches('#').starts_with(&set))
    };
    let missing: Vec<_> = OPTIONS.iter().map(|option| option.name).filter(|name| !shown(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn check_configuration(dir: &Path) {
    let mut daemon = Command::new(DAEMON);
    daemon.args(["--check", "--strict", "--files-only", "--file"]).arg(dir.join("anycast-healthchecker.conf"));
    let output = accepts(daemon.arg("--dir").arg(dir.join("anycast-healthchecker.d")));
    assert_eq!(output, "OK\n");
}

#[test]
fn bird_2_accepts_its_example() {
    parse_with_bird("bird", "bird2", Reader::Bird, |_| true);
}

#[test]
fn bird_3_accepts_its_example() {
    parse_with_bird("target/birds/bird3", "tests/ci/birds", Reader::Bird, |_| true);
}

#[test]
fn bird_1_accepts_its_examples() {
    parse_with_bird("target/birds/bird1", "tests/ci/birds", Reader::Bird16, |path| path.ends_with("/bird.conf"));
    parse_with_bird("target/birds/bird6", "tests/ci/birds", Reader::Bird16, |path| path.ends_with("/bird6.conf"));
}

fn parse_with_bird(program: &str, package: &str, reader: Reader, wanted: impl Fn(&str) -> bool) {
    let files = read_by(reader).into_iter().filter(|path| wanted(path));
    let files: Vec<_> = files.collect();
    assert!(!files.is_empty());
    let program = if program.contains('/') { root().join(program) } else { PathBuf::from(program) };
    if !is_installed(&program, "--version", package) {
        return;
    }
    // The lists that the daemon writes before BIRD starts, and beside them the file that includes
    // them.
    let lists = TempDir::new().unwrap();
    fs::create_dir(lists.path().join("6")).unwrap();
    let list = |constant, prefix| format!("define {constant} =\n    [\n        {prefix}\n    ];\n");
    fs::write(lists.path().join("anycast-prefixes.conf"), list("ACAST_PS_ADVERTISE", "10.189.200.255/32")).unwrap();
    fs::write(lists.path().join("6/anycast-prefixes.conf"), list("ACAST6_PS_ADVERTISE", "2001:db8::1/128")).unwrap();
    for path in files {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let here = text.replace("/var/lib/anycast-healthchecker", lists.path().to_str().unwrap());
        let config = lists.path().join("bird.txt");
        fs::write(&config, here).unwrap();
        accepts(tool(&program).arg("-p").arg("-c").arg(&config));
    }
}
