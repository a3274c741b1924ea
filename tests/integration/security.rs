//! What SECURITY.md promises, seen from outside: what children inherit, what a planted link leads to, what output can
//! do to a log, and what a reader who does not read can do to the daemon.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixStream;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const OTHER: &str = "10.52.12.2/32";

/// Has the daemon be started by a script.
fn started_by(lab: &mut Lab, script: &str) {
    let wrapper = lab.file("wrapper");
    let daemon = env!("CARGO_BIN_EXE_anycast-healthchecker");
    fs::write(&wrapper, format!("#!/bin/bash\n{script}\nexec {daemon} \"$@\"\n")).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    lab.start_this_daemon(wrapper.to_str().unwrap());
}

/// A command that tells what it has inherited, in files of this name.
fn confession(lab: &str, name: &str, then: &str) -> String {
    // bash itself is asked, which has nothing open beside what it was given.
    format!(
        "/bin/bash -c \"ls /proc/$$/fd > {lab}/{name}-fds.new; cat /proc/$$/environ > {lab}/{name}-environment; \
         mv {lab}/{name}-fds.new {lab}/{name}-fds; {then}\" {name}"
    )
}

#[test]
fn children_inherit_stdio_and_the_environment_without_what_is_systemds() {
    let root = "{lab}";
    let web = Service::new("web", WEB)
        .with("check_cmd", &confession(root, "check", "exit 0"))
        .with("custom_bird_reconfigure_cmd", &confession(root, "custom", "exec birdc -s {lab}/host.ctl configure"));
    let mut lab = Lab::new([web, Service::new("other", OTHER)]);
    let path = lab.path().display().to_string();
    let reconfigure = confession(&path, "birdc", &format!("exec birdc -s {path}/host.ctl configure"));
    lab.option("bird_reconfigure_cmd", &reconfigure);
    lab.option("bird6_reconfigure_cmd", &reconfigure);
    started_by(
        &mut lab,
        "exec 7</etc/passwd 200</etc/hostname\nexport NOTIFY_SOCKET=@nobody WATCHDOG_USEC=30000000 LISTEN_FDS=1 LISTEN_FDNAMES=x\n\
         export LISTEN_PID=$$ WATCHDOG_PID=$$ KEPT='as it is'",
    );
    lab.wait_advertised(OTHER);
    lab.wait_advertised(WEB);
    for name in ["check", "custom", "birdc"] {
        lab.wait_until("a confession", |lab| lab.file(&format!("{name}-fds")).exists());
        assert_eq!(lab.log(&format!("{name}-fds")).split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"], "{name}");
        let environment = lab.log(&format!("{name}-environment"));
        let variables: BTreeSet<&str> = environment.split('\0').collect();
        assert!(variables.contains("KEPT=as it is"), "{name}: {variables:?}");
        let systemds = ["NOTIFY_", "WATCHDOG_", "LISTEN_"];
        let left = variables.iter().find(|line| systemds.iter().any(|start| line.starts_with(start)));
        assert_eq!(left, None, "{name}");
    }
}

#[test]
fn no_command_goes_through_a_shell() {
    let sly =
        "/usr/bin/test -n \"$(touch {lab}/harmed)\" ; touch {lab}/harmed | touch {lab}/harmed && touch {lab}/harmed";
    let mut lab = Lab::new([Service::new("web", WEB).with("check_cmd", sly), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_runs("other", 5);
    assert!(!lab.file("harmed").exists());
}

#[test]
fn planted_links_lead_nowhere() {
    let mut lab = Lab::new([Service::new("web", WEB), Service::new("other", OTHER)]);
    for directory in ["precious", "history", "metrics"] {
        fs::create_dir(lab.file(directory)).unwrap();
    }
    let precious = lab.file("precious/file");
    fs::write(&precious, "precious").unwrap();
    // Whoever may write beside the files that are handled can guess all names but the random ones.
    symlink(lab.file("precious"), lab.file("6/history")).unwrap();
    for n in 0..10 {
        symlink(&precious, lab.file(&format!("history/{}.{n}", 1_000_000_000 + n))).unwrap();
    }
    symlink(&precious, lab.file(".anycast-prefixes.conf.0123456789abcdef.new")).unwrap();
    symlink(&precious, lab.file("metrics/anycast_healthchecker.prom")).unwrap();
    symlink(&precious, lab.file("run/daemon.pid")).unwrap();
    symlink(&precious, lab.file("run/status.sock")).unwrap();
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
    for _ in 0..3 {
        lab.kill("web");
        lab.wait_withdrawn(WEB);
        lab.revive("web");
        lab.wait_advertised(WEB);
    }
    lab.wait_until("the metrics", |lab| lab.log("metrics/anycast_healthchecker.prom").contains("_uptime"));
    lab.stop_daemon();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::read_dir(lab.file("precious")).unwrap().count(), 1, "something was written behind a link");
    let links = fs::read_dir(lab.file("history")).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_symlink());
    assert_eq!(links.count(), 10, "links in the history are not the daemon's to remove");
}

#[test]
fn output_cannot_forge_a_line_of_the_log() {
    let forged = "2026-11-25 00:00:00,000 anycast-healthchecker[1] CRITICAL web      forged";
    let check = format!("printf 'x\\n{forged}\\r\\033[2J\\000\\342\\200\\250y\\n' >&2; printf '{forged}\\n'; exit 1");
    let mut lab = Lab::new([Service::new("web", WEB).check(&check), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_advertised(OTHER);
    lab.wait_runs("web", 3);
    lab.stop_daemon();
    let log = lab.log("daemon.log");
    assert!(log.contains("forged"), "the output is not in the log, so this shows nothing: {log}");
    for line in log.lines() {
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
        assert!(!line.starts_with(forged), "{line:?}");
        assert!(line.get(..4).is_some_and(|year| year.parse::<u32>().is_ok()), "{line:?}");
    }
}

#[test]
fn readers_who_do_not_read_hold_up_nobody() {
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

/// Whatever stands in the place of a list costs little memory and time, and is put right.
#[test]
fn a_giant_in_the_place_of_a_list_is_put_right() {
    let mut lab = Lab::advertising([Service::new("web", WEB), Service::new("other", OTHER)]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    let strangers: String = (0..10_000).map(|n| format!(", 10.66.{}.{}/32", n / 256, n % 256)).collect();
    for (what, text) in [
        ("10,000 prefixes", format!("define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, {WEB}, {OTHER}{strangers} ];\n")),
        ("64 MB of nothing", "\0".repeat(64 << 20)),
        ("a line of 10 MB", "define ACAST_PS_ADVERTISE = [ ".to_string() + &"x".repeat(10 << 20)),
    ] {
        let reconfigured = lab.reconfigured();
        fs::write(lab.list_path(0), text).unwrap();
        lab.wait_listed(&[WEB, OTHER]);
        lab.wait_until(&format!("{what} to be put right"), |lab| lab.reconfigured() > reconfigured);
    }
    lab.routes.expect_none_moved(mark);
    // The same at a start.
    lab.stop_daemon();
    fs::write(
        lab.list_path(0),
        format!("define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, {WEB}, {OTHER}{strangers} ];\n"),
    )
    .unwrap();
    lab.start_daemon();
    lab.wait_listed(&[WEB, OTHER]);
    lab.wait_runs("web", 3);
    lab.routes.expect_still(WEB, mark);
    let daemon = lab.processes("daemon.conf").into_iter().min().unwrap();
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "{peak} kB at the most");
}
