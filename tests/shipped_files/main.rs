//! Every file in `examples/` and `contrib/` goes to the real tool that reads it.
//!
//! Promises: a file that nothing here reads fails [`every_file_has_a_reader`]; a tool that this machine lacks is said on
//! standard error, with the package that has it.
//! Leaves out: what packages do with the files (`tests/ci/packages`), the parts that are generated (`tests/generated.rs`).
#![expect(clippy::disallowed_methods, reason = "tests run the tools and make their sandboxes themselves")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anycast_healthchecker::internals::config::options::OPTIONS;
use tempfile::TempDir;

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-healthchecker");

/// Who reads a file.
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
    /// Scripts and the pieces that package managers make scripts of.
    Shell,
    /// Container tools and the daemon inside, see `tests/ci/containers`.
    Containers,
    /// dpkg's reader of Debian changelogs.
    Changelog,
    /// lintian and rpmlint, see `tests/ci/packages`.
    Packages,
    Promtool,
    Json,
    /// Built with everything else.
    Cargo,
    Compiler,
    Python,
    /// Text for people, and pictures.
    People,
}

/// Who reads `path`, which begins with `examples/` or `contrib/`. The first that fits counts.
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
    let orphans: Vec<_> = shipped().into_iter().filter(|path| reader(path).is_none()).collect();
    assert!(orphans.is_empty(), "give each of these a reader in tests/shipped_files.rs: {orphans:#?}");
}

#[test]
fn the_daemon_takes_its_samples() {
    read_by(Reader::Daemon);
    check_configuration(&root().join("examples"));
}

/// What is commented out in the samples (`#option = value`) is right too. Standard output and the
/// other targets of the log are alternatives.
#[test]
fn the_daemon_takes_what_its_samples_comment_out() {
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

/// Whoever looks for what there is finds it in the samples, set or commented out.
#[test]
fn the_samples_show_every_option() {
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
    let said = accepts(daemon.arg("--dir").arg(dir.join("anycast-healthchecker.d")));
    assert_eq!(said, "OK\n");
}

#[test]
fn bird_2_takes_its_sample() {
    parse_with_bird("bird", "bird2", Reader::Bird, |_| true);
}

#[test]
fn bird_3_takes_its_sample() {
    parse_with_bird("target/birds/bird3", "tests/ci/birds", Reader::Bird, |_| true);
}

#[test]
fn bird_1_takes_its_samples() {
    parse_with_bird("target/birds/bird1", "tests/ci/birds", Reader::Bird16, |path| path.ends_with("/bird.conf"));
    parse_with_bird("target/birds/bird6", "tests/ci/birds", Reader::Bird16, |path| path.ends_with("/bird6.conf"));
}

fn parse_with_bird(program: &str, package: &str, reader: Reader, wanted: impl Fn(&str) -> bool) {
    let files = read_by(reader).into_iter().filter(|path| wanted(path));
    let files: Vec<_> = files.collect();
    assert!(!files.is_empty());
    let program = if program.contains('/') { root().join(program) } else { PathBuf::from(program) };
    if !is_there(&program, "--version", package) {
        return;
    }
    // The lists that the daemon would have written before BIRD starts, and beside them the file that includes them.
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

#[test]
fn systemd_takes_the_units() {
    let files = read_by(Reader::Systemd);
    if !is_there(Path::new("systemd-analyze"), "--version", "systemd") {
        return;
    }
    // The unit with the built program in it; then with each drop-in; then BIRD's with the one that is for it.
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
        // It says what it does not understand, and succeeds all the same.
        let said = accepts(tool("systemd-analyze").args(["verify", "--man=no"]).args([&service, &bird]));
        let about_ours: Vec<_> = said.lines().filter(|line| line.contains(sandbox.path().to_str().unwrap())).collect();
        assert!(about_ours.is_empty(), "{path}: {about_ours:#?}");
    }
}

/// What the daemon would refuse is refused before it is signaled, so that `systemctl reload` fails. The machine is not
/// judged, as the daemon does not refuse a configuration for it.
#[test]
fn a_reload_by_systemd_judges_the_files_that_the_daemon_reads() {
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

/// The figures that docs/operations.md gives for the unit are those that this version of systemd gives, or better.
#[test]
fn hardening_is_worth_its_name() {
    if !is_there(Path::new("systemd-analyze"), "--version", "systemd") {
        return;
    }
    let sandbox = TempDir::new().unwrap();
    let service = sandbox.path().join("anycast-healthchecker.service");
    fs::copy(root().join("contrib/systemd/anycast-healthchecker.service"), &service).unwrap();
    let exposure = || -> f64 {
        let said = accepts(tool("systemd-analyze").args(["security", "--offline=yes"]).arg(&service));
        let line = said.lines().find(|line| line.contains("Overall exposure level")).expect("a last line");
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

/// Users first, as the directories belong to one of them.
#[test]
fn systemd_makes_the_user_and_the_directories() {
    let (users, directories) = (read_by(Reader::Sysusers), read_by(Reader::Tmpfiles));
    let tools = is_there(Path::new("systemd-sysusers"), "--version", "systemd")
        && is_there(Path::new("systemd-tmpfiles"), "--version", "systemd");
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
    let said = accepts(
        tool("systemd-tmpfiles").args(["--create", &at]).args(directories.iter().map(|path| root().join(path))),
    );
    assert_eq!(said, "");
    assert!(sandbox.path().join("var/lib/anycast-healthchecker/6").is_dir());
}

#[test]
fn sudo_takes_its_rule() {
    for path in read_by(Reader::Sudo) {
        if is_there(Path::new("visudo"), "--version", "sudo") {
            accepts(tool("visudo").args(["--check", "--strict", "--file"]).arg(root().join(path)));
        }
    }
}

#[test]
fn supervisord_takes_its_program() {
    let files = read_by(Reader::Supervisor);
    if !is_there(Path::new("supervisord"), "--version", "supervisor") {
        return;
    }
    // It has no option to check a file; its own reader does that.
    let sandbox = TempDir::new().unwrap();
    for path in files {
        let text = fs::read_to_string(root().join(path)).unwrap();
        fs::write(sandbox.path().join("program.ini"), text).unwrap();
        let main = sandbox.path().join("supervisord.conf");
        fs::write(&main, "[supervisord]\n[include]\nfiles = program.ini\n").unwrap();
        let read = "import sys; from supervisor.options import ServerOptions; o = ServerOptions(); \
                    o.realize(['-c', sys.argv[1]]); print(o.process_group_configs[0].process_configs[0].command)";
        let said = accepts(tool("/usr/bin/python3").args(["-c", read]).arg(&main));
        assert!(said.ends_with(" /usr/bin/anycast-healthchecker\"\n"), "{said}");
    }
}

#[test]
fn mandoc_and_man_take_the_manual_pages() {
    for path in read_by(Reader::Manual) {
        if is_there(Path::new("mandoc"), "/dev/null", "mandoc") {
            let said = accepts(tool("mandoc").args(["-T", "lint", "-W", "warning"]).arg(root().join(&path)));
            assert_eq!(said, "", "{path}");
        }
        if is_there(Path::new("man"), "--version", "man-db") {
            let mut man = tool("man");
            let page = man.args(["--warnings", "--local-file"]).arg(root().join(&path)).env("MANWIDTH", "80");
            let output = page.stdin(Stdio::null()).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{path}");
        }
    }
}

#[test]
fn shells_take_the_scripts_and_completions() {
    let tools = [
        (Reader::Shell, "sh", "dash"),
        (Reader::Bash, "bash", "bash"),
        (Reader::Zsh, "zsh", "zsh"),
        (Reader::Fish, "fish", "fish"),
    ];
    for (reader, shell, package) in tools {
        for path in read_by(reader) {
            if is_there(Path::new(shell), "-c:", package) {
                accepts(tool(shell).arg("-n").arg(root().join(path)));
            }
        }
    }
}

/// What the shells offer for a service and for a time, from files with a fault each.
#[test]
fn completions_offer_services_and_times() {
    let sandbox = TempDir::new().unwrap();
    let (main, services) = (sandbox.path().join("main.conf"), sandbox.path().join("services"));
    fs::create_dir(&services).unwrap();
    fs::write(&main, "[DEFAULT]\ncheck_fall = 1\n[daemon]\n[in main]\nthis is no option\n").unwrap();
    fs::write(services.join("a.conf"), "[www.a]\n[www.b] ; two\ncheck_cmd = [no]\n  [no]\n").unwrap();
    fs::write(services.join("b.conf"), "[$(touch ran)]\n").unwrap();
    fs::write(services.join("c.txt"), "[no]\n").unwrap();
    let check = |shell: &str, script: &str, expected: &str| {
        if is_there(Path::new(shell), "-c:", shell) {
            let mut shell = tool(shell);
            shell.current_dir(sandbox.path()).env("FILES", root().join("contrib/completions"));
            assert_eq!(accepts(shell.args(["-c", script])), expected, "{script}");
            assert!(!sandbox.path().join("ran").exists());
        }
    };
    let bash = |words: &str, expected: &str| {
        let script = format!(
            "source $FILES/anycast-healthchecker.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             _anycast__healthchecker anycast-healthchecker \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        check("bash", &script, expected);
    };
    bash(
        "anycast-healthchecker -f main.conf -d services --drain ''",
        "\\$\\(touch\\ ran\\)\nin\\ main\nwww.a\nwww.b\n",
    );
    bash("anycast-healthchecker --file = main.conf --dir = services --undrain www", "www.a\nwww.b\n");
    bash("anycast-healthchecker -f main.conf -F services/a.conf --drain ''", "in\\ main\nwww.a\nwww.b\n");
    bash("anycast-healthchecker --drain a --for 1", "10m\n1h\n");
    bash("anycast-healthchecker -f main.conf -d services -s --down www.b w", "www.a\nwww.b\n");
    bash("anycast-healthchecker -s --d", "--dir\n--down\n--drain\n--drain-host\n");

    let fish = |line: &str, expected: &str| {
        let script =
            format!("source $FILES/anycast-healthchecker.fish; complete -C 'anycast-healthchecker {line}' | cut -f1");
        check("fish", &script, expected);
    };
    fish("-f main.conf -d services --drain ", "$(touch ran)\nin main\nwww.a\nwww.b\n");
    fish("--file=main.conf --dir=services --undrain www", "www.a\nwww.b\n");
    fish("-f main.conf -F services/a.conf --drain ", "in main\nwww.a\nwww.b\n");
    fish("--drain a --for 1", "10m\n1h\n");
    fish("-f main.conf -d services -s www", "www.a\nwww.b\n");
    fish("-f main.conf -d services www", "");

    // Its completion needs a terminal; this is the part that is ours.
    let zsh = |options: &str, expected: &str| {
        let script = format!(
            "_wanted() {{ print -l $names }}; compdef() {{ }}; source $FILES/_anycast-healthchecker
             typeset -A opt_args; opt_args=({options}); _anycast-healthchecker_services"
        );
        check("zsh", &script, expected);
    };
    zsh("-f main.conf -d services", "$(touch ran)\nin main\nwww.a\nwww.b\n");
    zsh("--file main.conf --service-file services/a.conf", "in main\nwww.a\nwww.b\n");
}

/// NRPE's configuration may name a link to the plugin's old name, which is beside the plugin.
#[test]
fn the_plugins_old_name_works_through_a_link() {
    let sandbox = TempDir::new().unwrap();
    let plugins = sandbox.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_check_anycast_healthchecker"), plugins.join("check_anycast_healthchecker")).unwrap();
    let script = plugins.join("check_anycast_healthchecker.py");
    fs::copy(root().join("contrib/nagios/check_anycast_healthchecker.py"), &script).unwrap();
    std::os::unix::fs::symlink("plugins/check_anycast_healthchecker.py", sandbox.path().join("link")).unwrap();
    let link = sandbox.path().join("link");
    for mut way in [tool(&script), tool(&link), tool("sh")] {
        if way.get_program() == "sh" {
            way.arg("link").current_dir(sandbox.path());
        }
        let said = way.arg("--version").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        assert!(said.starts_with("check_anycast_healthchecker "), "{way:?}: {said}");
    }
}

#[test]
fn dpkg_takes_the_changelog_and_finds_this_version() {
    for path in read_by(Reader::Changelog) {
        if is_there(Path::new("dpkg-parsechangelog"), "--version", "dpkg-dev") {
            let said = accepts(tool("dpkg-parsechangelog").args(["-S", "Version", "-l"]).arg(root().join(&path)));
            assert_eq!(said, concat!(env!("CARGO_PKG_VERSION"), "-1\n"), "{path}");
        }
    }
}

#[test]
fn promtool_takes_the_rules() {
    for path in read_by(Reader::Promtool) {
        if is_there(Path::new("promtool"), "--version", "prometheus") {
            accepts(tool("promtool").args(["check", "rules"]).arg(root().join(path)));
        }
    }
}

#[test]
fn compilers_take_the_benchmark() {
    for path in read_by(Reader::Compiler) {
        if is_there(Path::new("cc"), "--version", "gcc") {
            accepts(tool("cc").args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]).arg(root().join(path)));
        }
    }
    for path in read_by(Reader::Python) {
        if is_there(Path::new("python3"), "--version", "python3") {
            let read = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')";
            accepts(tool("python3").args(["-c", read]).arg(root().join(path)));
        }
    }
}

#[test]
fn json_is_json() {
    for path in read_by(Reader::Json) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `examples/` and `contrib/`, from the root of the project.
fn shipped() -> Vec<String> {
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
    shipped().into_iter().filter(|path| reader(path) == Some(wanted)).collect()
}

/// A tool that may be one of the administrator's, whose directories are not in everyone's path.
fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin");
    command
}

/// Whether a tool is on this machine. The argument makes it end at once.
fn is_there(program: &Path, argument: &str, package: &str) -> bool {
    let mut command = tool(program);
    let there = command.arg(argument).stdin(Stdio::null()).output().is_ok();
    if !there {
        skipped(&format!("{} is not here: see {package}", program.display()));
    }
    there
}

/// Past the test harness, which keeps back what a passing test prints.
fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let mut terminal = std::io::stderr();
    writeln!(terminal, "SKIPPED {name}: {why}").unwrap();
}

/// Runs a tool that has to succeed; what it said, on both streams.
fn accepts(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{said}");
    said
}
