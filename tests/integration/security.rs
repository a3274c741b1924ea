//! The guards in docs/threat-model.md: what children inherit, symbolic links, command output in the
//! log, and clients that do not read.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const OTHER: &str = "10.52.12.2/32";

/// A command that writes what it has inherited to files of this name.
fn inheritance_report(lab: &str, name: &str, then: &str) -> String {
    // bash itself is examined, because it has no other files open.
    format!(
        "/bin/bash -c \"ls /proc/$$/fd > {lab}/{name}-fds.$$; cat /proc/$$/environ > {lab}/{name}-environment.$$; \
         mv {lab}/{name}-environment.$$ {lab}/{name}-environment; mv {lab}/{name}-fds.$$ {lab}/{name}-fds; {then}\" {name}"
    )
}

#[test]
fn children_inherit_only_stdio_and_an_environment_without_systemds_variables() {
    let root = "{lab}";
    let web = Service::new("web", WEB)
        .with("check_cmd", &inheritance_report(root, "check", "exit 0"))
        .with(
            "custom_bird_reconfigure_cmd",
            &inheritance_report(root, "custom", "exec birdc -s {lab}/host.ctl configure"),
        )
        .with("state_change_cmd", &inheritance_report(root, "hook", "exit 0"));
    let mut lab = Lab::new([web, Service::new("other", OTHER)]);
    let path = lab.path().display().to_string();
    let reconfigure = inheritance_report(&path, "birdc", &format!("exec birdc -s {path}/host.ctl configure"));
    lab.option("bird_reconfigure_cmd", &reconfigure);
    lab.option("bird6_reconfigure_cmd", &reconfigure);
    lab.start_daemon_after(
        "exec 7</etc/passwd 200</etc/hostname\nexport NOTIFY_SOCKET=@nobody WATCHDOG_USEC=30000000 LISTEN_FDS=1 LISTEN_FDNAMES=x\n\
         export LISTEN_PID=$$ WATCHDOG_PID=$$ KEPT='as it is'",
    );
    lab.wait_advertised(OTHER);
    lab.wait_advertised(WEB);
    for name in ["check", "custom", "hook", "birdc"] {
        lab.wait_until("a report", |lab| lab.file(&format!("{name}-fds")).exists());
        assert_eq!(lab.log(&format!("{name}-fds")).split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"], "{name}");
        let environment = lab.log(&format!("{name}-environment"));
        let variables: BTreeSet<&str> = environment.split('\0').collect();
        assert!(variables.contains("KEPT=as it is"), "{name}: {variables:?}");
        let prefixes = ["NOTIFY_", "WATCHDOG_", "LISTEN_"];
        let leaked = variables.iter().find(|line| prefixes.iter().any(|start| line.starts_with(start)));
        assert_eq!(leaked, None, "{name}");
    }
}

#[test]
fn no_command_is_run_by_a_shell() {
    let injection =
        "/usr/bin/test -n \"$(touch {lab}/harmed)\" ; touch {lab}/harmed | touch {lab}/harmed && touch {lab}/harmed";
    let mut lab = Lab::new([Service::new("web", WEB).with("check_cmd", injection), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_runs("other", 5);
    assert!(!lab.file("harmed").exists());
}

#[test]
fn planted_symbolic_links_are_not_followed() {
    let mut lab = Lab::new([Service::new("web", WEB), Service::new("other", OTHER)]);
    for directory in ["precious", "history", "metrics"] {
        fs::create_dir(lab.file(directory)).unwrap();
    }
    let precious = lab.file("precious/file");
    fs::write(&precious, "precious").unwrap();
    // An attacker who can write to these directories can predict all names except the random ones.
    symlink(lab.file("precious"), lab.file("6/history")).unwrap();
    for n in 0..10 {
        symlink(&precious, lab.file(&format!("history/{}.{n}", 1_000_000_000 + n))).unwrap();
    }
    symlink(&precious, lab.file(".anycast-prefixes.conf.0123456789abcdef.new")).unwrap();
    symlink(&precious, lab.file("metrics/anycast_healthchecker.prom")).unwrap();
    symlink(&precious, lab.file("run/daemon.pid")).unwrap();
    symlink(&precious, lab.file("run/status.sock")).unwrap();
    symlink(&precious, lab.file(".anycast-prefixes.conf.boot")).unwrap();
    // Other files in the history directory do not belong to the daemon.
    for name in ["notes", "1000000000.1.kept", "9999999999"] {
        fs::write(lab.file("history").join(name), "mine").unwrap();
    }
    fs::create_dir(lab.file("history/1000000000.99")).unwrap();
    for (option, value) in [
        ("bird_keep_changes", "true"),
        ("bird6_keep_changes", "true"),
        ("bird_changes_counter", "2"),
        ("prometheus_exporter", "true"),
    ] {
        lab.option(option, value);
    }
    lab.option("prometheus_collector_textfile_dir", &lab.file("metrics").display().to_string());
    lab.start_daemon();
    lab.wait_advertised(WEB);
    for round in 0..6 {
        if round == 3 {
            // The directory is replaced by a link while the daemon runs.
            fs::rename(lab.file("history"), lab.file("old-history")).unwrap();
            symlink(lab.file("precious"), lab.file("history")).unwrap();
        }
        lab.kill("web");
        lab.wait_withdrawn(WEB);
        lab.revive("web");
        lab.wait_advertised(WEB);
    }
    lab.wait_until("the metrics", |lab| lab.log("metrics/anycast_healthchecker.prom").contains("_uptime"));
    lab.stop_daemon();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::read_dir(lab.file("precious")).unwrap().count(), 1, "something was written behind a link");
    let entries: Vec<_> = fs::read_dir(lab.file("old-history")).unwrap().map(Result::unwrap).collect();
    let of_kind =
        |is: &dyn Fn(&fs::FileType) -> bool| entries.iter().filter(|entry| is(&entry.file_type().unwrap())).count();
    assert_eq!(of_kind(&fs::FileType::is_symlink), 10, "links in the history were removed");
    assert_eq!(of_kind(&fs::FileType::is_dir), 1);
    assert_eq!(of_kind(&fs::FileType::is_file), 3 + 2, "other files were removed, or there are not two copies");
}

/// A symbolic link or a FIFO in the place of a drain file drains nothing and delays nothing.
#[test]
fn a_drain_file_that_is_not_a_regular_file_drains_nothing() {
    let mut lab =
        Lab::advertising([Service::new("web", WEB).with("drain_file", "{lab}/drain"), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    symlink(lab.file("daemon.conf"), lab.file("drain")).unwrap();
    // The daemon reads it once a second.
    let wait = |lab: &Lab| lab.wait_runs("web", 15);
    wait(&lab);
    lab.remove("drain");
    nix::unistd::mkfifo(&lab.file("drain"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    wait(&lab);
    lab.routes.expect_none_moved(mark);
    lab.remove("drain");
    lab.touch("drain");
    lab.wait_withdrawn(WEB);
}

/// Any user of the host can take the abstract socket name that keeps two daemons apart, but not the
/// lock on the pidfile.
#[test]
fn a_taken_socket_name_is_a_warning_and_a_second_daemon_is_still_refused() {
    let mut lab = Lab::new([Service::new("web", WEB), Service::new("other", OTHER)]);
    let squatter = "import os, socket, time; name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
        name.bind('\\0anycast-healthchecker'); os.fork() and os._exit(0); os.closerange(0, 3); time.sleep(1000)";
    lab.on_host("python3", &["-c", squatter]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    let log = lab.log("daemon.log");
    let warned = |line: &str| line.contains(" WARNING ") && line.contains("cannot take the abstract socket");
    assert!(log.lines().any(warned), "{log}");
    let mut second = lab.start_second_daemon();
    lab.wait_until("the second to end", |_| second.exited().is_some());
    assert_eq!(second.exited().unwrap().code(), Some(1), "{}", lab.log("second.log"));
    assert!(lab.log("second.log").contains("is a running anycast-healthchecker"), "{}", lab.log("second.log"));
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

/// Packages come from the registry, and each has the checksum with which it was reviewed.
#[test]
fn packages_come_from_the_registry_and_have_checksums() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]\n").skip(1).collect();
    assert!(packages.len() > 20);
    for package in packages.iter().filter(|package| !package.starts_with("name = \"anycast-healthchecker\"")) {
        assert!(
            package.contains("\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \""),
            "{package}"
        );
    }
}

#[test]
fn command_output_cannot_forge_a_log_line() {
    let forged = "2026-11-25 00:00:00,000 anycast-healthchecker[1] CRITICAL web      forged";
    let check = format!("printf 'x\\n{forged}\\r\\033[2J\\000\\342\\200\\250y\\n' >&2; printf '{forged}\\n'; exit 1");
    let mut lab = Lab::new([Service::new("web", WEB).check(&check), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_advertised(OTHER);
    lab.wait_runs("web", 3);
    lab.stop_daemon();
    let log = lab.log("daemon.log");
    assert!(log.contains("forged"), "the output is not in the log, so this proves nothing: {log}");
    for line in log.lines() {
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
        assert!(!line.starts_with(forged), "{line:?}");
        assert!(line.get(..4).is_some_and(|year| year.parse::<u32>().is_ok()), "{line:?}");
    }
}

#[test]
fn clients_that_do_not_read_delay_nothing() {
    let mut lab = Lab::new([Service::new("web", WEB), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    let socket = lab.file("run/status.sock");
    let readers: Vec<UnixStream> = (0..50).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.revive("web");
    lab.wait_advertised(WEB);
    drop(readers);
    lab.stop_daemon();
}

/// A huge file in the place of a list costs little memory and time, and is repaired.
#[test]
fn a_huge_file_in_the_place_of_a_list_is_repaired() {
    let mut lab = Lab::advertising([Service::new("web", WEB), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    let foreign: String = (0..10_000).map(|n| format!(", 10.66.{}.{}/32", n / 256, n % 256)).collect();
    for (what, text) in [
        ("10,000 prefixes", format!("define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, {WEB}, {OTHER}{foreign} ];\n")),
        ("64 MB of zeros", "\0".repeat(64 << 20)),
        ("a line of 10 MB", "define ACAST_PS_ADVERTISE = [ ".to_string() + &"x".repeat(10 << 20)),
    ] {
        let reconfigured = lab.reconfigured();
        fs::write(lab.list_path(0), text).unwrap();
        lab.wait_listed(&[WEB, OTHER]);
        lab.wait_until(&format!("{what} to be repaired"), |lab| lab.reconfigured() > reconfigured);
    }
    lab.routes.expect_none_moved(mark);
    // The same at a start.
    lab.stop_daemon();
    fs::write(
        lab.list_path(0),
        format!("define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, {WEB}, {OTHER}{foreign} ];\n"),
    )
    .unwrap();
    lab.start_daemon();
    lab.wait_listed(&[WEB, OTHER]);
    lab.wait_runs("web", 3);
    lab.routes.expect_unmoved(WEB, mark);
    let status = fs::read_to_string(format!("/proc/{}/status", lab.daemon_pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "the peak was {peak} kB");
}

/// The tests that docs/threat-model.md names exist.
#[test]
fn each_guard_has_a_test_that_exists() {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = fs::read_to_string(format!("{root}/docs/threat-model.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let named: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let tests: Vec<(&str, &str)> = named.iter().filter_map(|name| name.rsplit_once("::")).collect();
    assert!(tests.len() > 15, "{named:?}");
    for (module, test) in tests {
        let folders = module.replace("::", "/");
        let paths = [format!("{root}/tests/integration/{folders}.rs"), format!("{root}/src/{folders}/tests.rs")];
        let path = paths.iter().find(|path| fs::exists(path).unwrap());
        let path = path.unwrap_or_else(|| panic!("docs/threat-model.md names {module}::{test}: no file {paths:?}"));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{path} has no test {test}");
    }
    for path in named.iter().filter(|name| name.starts_with("tests/") || name.starts_with("src/")) {
        assert!(fs::exists(format!("{root}/{path}")).unwrap(), "{path}");
    }
}
