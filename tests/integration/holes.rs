//! The failures that operators of the Python program know, one by one: each has a test that shows it cannot happen here.
//!
//! | | what happened | shown by |
//! |---|---|---|
//! | 1 | one failing birdc, and a dead service stays advertised for ever | `bird::a_reconfigure_command_that_fails_is_tried_again` |
//! | 2 | a missing command, no descriptors, no processes: the daemon exits | `holes::hole_02_no_descriptors_for_a_while` `checks::a_check_that_does_not_exist_fails_and_the_others_go_on` |
//! | 3 | the disk beside the list is full: it exits at each restart | `holes::hole_03_a_restart_with_a_full_disk_beside_the_list` `lists::a_full_disk_beside_the_list_is_survived_and_made_good` |
//! | 4 | the disk of the log is full: checks hang | `holes::hole_04_a_full_disk_under_the_log` |
//! | 5 | a hanging birdc of root cannot be killed: the daemon dies | `holes::hole_05_a_reconfigure_command_that_may_not_be_killed` |
//! | 6 | no such interface, and the prefix counts as assigned | `checks::a_service_on_an_interface_that_does_not_exist_is_not_advertised` |
//! | 7 | a list that somebody overwrites is never repaired | `lists::a_list_that_somebody_damages_is_mended_and_no_route_moves` |
//! | 9 | killed between list and birdc: they differ for good | `bird::a_change_that_bird_has_not_seen_when_the_daemon_was_killed_is_made_good_at_the_next_start` |
//! | 11 | children of a check that timed out survive | `checks::a_check_that_hangs_fails_and_is_ended_with_its_grandchildren` |
//! | 12 | a good check with a child in the background counts as timed out | `checks::a_check_that_passes_and_leaves_a_child_at_its_output_is_good` |
//! | 13 | a chatty check fills the memory | `holes::hole_13_a_chatty_check_takes_no_memory` |
//! | 14 | a mass failure is one birdc after the other | `holes::hole_14_a_mass_failure_is_a_few_reconfigures` |
//! | 15 | one slow custom command blocks all others | `holes::hole_15_a_custom_command_that_hangs_holds_up_nobody` |
//! | 16 | a stale pidfile with the number of a living process | `process::a_stale_pidfile_that_names_a_living_stranger_is_no_obstacle` |
//! | 17 | values that never withdraw, typing errors, files that cannot be read | `holes::hole_17_values_that_do_harm_are_refused` |
//! | 18 | a list that is empty or on one line withdraws all | `holes::hole_18_a_list_on_one_line_moves_no_route` `lists::a_list_emptied_while_the_daemon_was_down_moves_no_route` |
//! | 19 | the history's directory vanishes: the daemon dies | `lists::a_vanished_history_directory_keeps_no_route_from_moving` |
//! | 20 | a step of the clock shifts the checks | `holes::hole_20_nothing_waits_by_the_clock_on_the_wall` |
//! | 21 | a list without fsync, unreadable for BIRD | `holes::hole_21_all_may_read_the_list_whatever_the_umask` `faults::the_list_is_synced_before_it_takes_the_old_ones_place` |
//! | 22 | metrics say state 1 after the daemon's death | `holes::hole_22_the_metrics_end_with_the_daemon_and_tell_of_failures` |
//! | 23 | --check runs checks and creates files | `configuration::looking_changes_nothing` |
//! | 24 | "Reconfiguration in progress" is an error | `birdc::what_bird_says_decides_and_not_the_exit_code` |
//! | 25 | a signal to check is missed by a check that runs | `checks::a_check_that_runs_when_the_signal_comes_is_run_again_after_it` |
//!
//! 8 (a reboot) and 10 (SIGHUP) go with `on_boot` and the reload.

use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const OTHER: &str = "10.52.12.2/32";

fn web() -> Service {
    Service::new("web", WEB)
}

fn other() -> Service {
    Service::new("other", OTHER)
}

/// The table above names tests that are there.
#[test]
fn every_hole_has_its_test() {
    let tests = |file: &str| {
        let path = match file {
            "configuration" => "tests/configuration.rs".to_string(),
            "birdc" => "src/bird/birdc/tests.rs".to_string(),
            _ => format!("tests/integration/{file}.rs"),
        };
        fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let table: Vec<&str> = include_str!("holes.rs").lines().filter(|line| line.starts_with("//! | ")).collect();
    assert_eq!(table.len(), 1 + 23, "a header and all but two");
    for line in &table[1..] {
        let named: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{line}");
        for name in named {
            let (file, test) = name.split_once("::").unwrap();
            assert!(tests(file).contains(&format!("#[test]\nfn {test}()")), "{name} is no test");
        }
    }
}

#[test]
fn hole_02_no_descriptors_for_a_while() {
    let mut lab = Lab::advertising([web(), other()]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    let pid = daemon(&lab).to_string();
    let limit = |descriptors: &str| {
        let done = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={descriptors}:")]).status().unwrap();
        assert!(done.success());
    };
    limit("4");
    lab.kill("web");
    lab.wait_until("want of descriptors", |lab| {
        // Nobody can check anything now.
        let runs = lab.runs("other");
        std::thread::sleep(std::time::Duration::from_millis(500));
        lab.runs("other") == runs
    });
    lab.routes.expect_none_moved(mark);
    limit("1024");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_still(OTHER, mark);
    lab.stop_daemon();
    lab.revive("web");
    lab.start_daemon();
    lab.wait_advertised(WEB);
}

#[test]
fn hole_03_a_restart_with_a_full_disk_beside_the_list() {
    let mut lab = Lab::new([Service::new("web6", "2001:db8:52::1/128"), other()]);
    let disk = lab.file("6").display().to_string();
    let (list, kept) = (lab.list_path(1).display().to_string(), lab.file("kept").display().to_string());
    lab.on_host("cp", &[&list, &kept]);
    lab.on_host("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &disk]);
    lab.on_host("cp", &[&kept, &list]);
    lab.start_daemon();
    lab.wait_advertised("2001:db8:52::1/128");
    lab.wait_advertised(OTHER);
    lab.on_host("sh", &["-c", &format!("dd if=/dev/zero of={disk}/fill bs=4k 2>/dev/null; true")]);
    lab.kill("web6");
    for _ in 0..3 {
        lab.stop_daemon();
        let mark = lab.routes.mark();
        lab.start_daemon();
        lab.wait_runs("other", 3);
        lab.routes.expect_still(OTHER, mark);
    }
    assert_eq!(lab.on_host("ls", &["-A", &disk]).lines().collect::<Vec<_>>(), ["anycast-prefixes.conf", "fill"]);
    lab.on_host("rm", &[&format!("{disk}/fill")]);
    lab.wait_withdrawn("2001:db8:52::1/128");
}

#[test]
fn hole_04_a_full_disk_under_the_log() {
    let mut lab = Lab::new([web(), other()]);
    fs::create_dir(lab.file("log")).unwrap();
    let disk = lab.file("log").display().to_string();
    lab.on_host("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &disk]);
    lab.option("log_file", &format!("{disk}/log"));
    lab.on_host("sh", &["-c", &format!("dd if=/dev/zero of={disk}/fill bs=4k 2>/dev/null; true")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(OTHER);
    let mark = lab.routes.mark();
    lab.wait_runs("web", 20);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_still(OTHER, mark);
    lab.on_host("rm", &[&format!("{disk}/fill")]);
    let size = || lab.on_host("stat", &["-c", "%s", &format!("{disk}/log")]).trim().parse::<u64>().unwrap();
    lab.wait_until("the log to go on", |_| size() > 0);
    lab.stop_daemon();
}

/// `sudo` makes the command root's; here another program that may become root does, as sudo asks for a configuration.
#[test]
fn hole_05_a_reconfigure_command_that_may_not_be_killed() {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(io::stderr(), "SKIPPED: a command that may not be killed: only root can start one");
        return;
    }
    let mut lab = Lab::new([web(), other()]);
    let (root, become_root) = (lab.path().display().to_string(), lab.file("become-root").display().to_string());
    lab.script("as-root", "test -e hangs && { : > hung; exec sleep 1001; }; $BIRDC");
    let command = format!("{become_root} --reuid=0 --regid=0 --clear-groups /bin/sh {root}/as-root");
    lab.option("bird_reconfigure_cmd", &command);
    lab.option("bird6_reconfigure_cmd", &command);
    lab.on_host(
        "sh",
        &["-c", &format!("chmod -R a+rwX {root}; cp $(command -v setpriv) {become_root}; chmod 4755 {become_root}")],
    );
    let wrapper = lab.file("as-nobody");
    let daemon = env!("CARGO_BIN_EXE_anycast-healthchecker");
    // The build directory may be closed to others.
    let copy = lab.file("daemon");
    lab.on_host("cp", &[daemon, &copy.display().to_string()]);
    let text =
        format!("#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups {} \"$@\"\n", copy.display());
    fs::write(&wrapper, text).unwrap();
    lab.on_host("chmod", &["755", &wrapper.display().to_string()]);
    lab.start_this_daemon(wrapper.to_str().unwrap());
    lab.wait_advertised(WEB);
    lab.wait_advertised(OTHER);
    let mark = lab.routes.mark();
    lab.touch("hangs");
    lab.kill("web");
    lab.wait_until("the command to hang", |lab| lab.file("hung").exists());
    lab.wait_listed(&[OTHER]);
    lab.wait_until("the daemon to say what it cannot do", |lab| lab.log("daemon.log").contains("may not be killed"));
    lab.remove("hangs");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_still(OTHER, mark);
    for pid in lab.processes("sleep 1001") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    lab.wait_until("no zombie to be left", |lab| lab.processes("").len() == lab.processes(" ").len());
}

#[test]
fn hole_13_a_chatty_check_takes_no_memory() {
    let mut lab = Lab::new([web().check("yes 0123456789 | head -c 200000000; exit 0"), other()]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_runs("web", 2);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon(&lab))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "{peak} kB at the most");
}

#[test]
fn hole_14_a_mass_failure_is_a_few_reconfigures() {
    const NAMES: [&str; 20] = [
        "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16",
        "s17", "s18", "s19",
    ];
    let prefix = |n: usize| -> &'static str { format!("10.52.13.{n}/32").leak() };
    let mut lab = Lab::new(NAMES.iter().enumerate().map(|(n, name)| Service::new(name, prefix(n))));
    lab.reconfigure_script("test -e slow && { printf . >> slow; sleep 1; }; $BIRDC");
    lab.start_daemon();
    (0..NAMES.len()).for_each(|n| lab.wait_advertised(prefix(n)));
    lab.touch("slow");
    NAMES.iter().for_each(|name| lab.kill(name));
    lab.wait_until("all to be withdrawn", |lab| lab.routes.is_empty());
    let runs = lab.log("slow").len();
    assert!(runs < NAMES.len() / 2, "{runs} reconfigures for {} services", NAMES.len());
}

#[test]
fn hole_15_a_custom_command_that_hangs_holds_up_nobody() {
    let web = web()
        .with("custom_bird_reconfigure_cmd", "/bin/sh {lab}/custom")
        .with("custom_bird_reconfigure_cmd_timeout", "3");
    let mut lab = Lab::advertising([web, other()]);
    lab.script("custom", "trap '' TERM; test -e works || { printf . >> tried; while :; do sleep 1001; done; }; $BIRDC");
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab.kill("web");
    lab.wait_until("the custom command to hang", |lab| !lab.log("tried").is_empty());
    // One that hangs for ever is killed and tried again; the others do not wait for that.
    lab.kill("other");
    lab.wait_withdrawn(OTHER);
    lab.wait_until("a second try", |lab| lab.log("tried").len() > 1);
    lab.wait_until("the first to be killed", |lab| lab.processes("sleep 1001").len() <= 1);
    lab.touch("works");
    lab.wait_withdrawn(WEB);
    lab.wait_until("all of them to be gone", |lab| lab.processes("lab/custom").is_empty());
}

#[test]
fn hole_17_values_that_do_harm_are_refused() {
    let good = "[web]\nip_prefix = 10.52.12.1/32\ncheck_cmd = /bin/true\n";
    for (line, code, word) in [
        ("check_fail = 0", 1, "check_fail"),
        ("check_rise = 0", 1, "check_rise"),
        ("check_interval = 0", 1, "check_interval"),
        ("check_interval = nan", 1, "check_interval"),
        ("check_fall = 3", 0, "check_fall"),
        ("[second]\ncheck_cmd = /bin/true\nip_prefix = 10.189.200.255/32", 1, "10.189.200.255/32"),
        ("[second]\ncheck_cmd = /bin/true\nip_prefix = 10.52.12.1", 1, "10.52.12.1/32"),
    ] {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("main.conf"), "[daemon]\n").unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/web.conf"), format!("{good}{line}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_anycast-healthchecker"));
        command.args(["-f", "main.conf", "-d", "d", "-c", "--files-only"]).current_dir(root.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(word), "{line}: {said}");
    }
}

#[test]
fn hole_18_a_list_on_one_line_moves_no_route() {
    let slow = |service: Service| service.with("check_rise", "3").with("check_fail", "3");
    let mut lab = Lab::advertising([slow(web()), slow(other())]);
    let list = format!("define ACAST_PS_ADVERTISE = [10.189.200.255/32,{WEB},{OTHER}];");
    fs::write(lab.list_path(0), list).unwrap();
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_runs("web", 5);
    lab.wait_runs("other", 5);
    lab.routes.expect_none_moved(mark);
    assert!(lab.log("anycast-prefixes.conf").starts_with("# Generated "), "it is written as ever");
}

/// The clock on the wall cannot be set for a test alone; so nothing that waits may know it.
#[test]
fn hole_20_nothing_waits_by_the_clock_on_the_wall() {
    for file in
        ["check/schedule.rs", "check/health.rs", "bird/pace.rs", "sys/poll.rs", "sys/process.rs", "sys/signals.rs"]
    {
        let text = fs::read_to_string(format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(!text.contains("SystemTime") && !text.contains("jiff"), "{file} knows the time of the day");
    }
}

#[test]
fn hole_21_all_may_read_the_list_whatever_the_umask() {
    let mut lab = Lab::new([web()]);
    let (daemon, wrapper) = (env!("CARGO_BIN_EXE_anycast-healthchecker"), lab.file("narrow"));
    fs::write(&wrapper, format!("#!/bin/sh\numask 077\nexec {daemon} \"$@\"\n")).unwrap();
    lab.on_host("chmod", &["755", &wrapper.display().to_string()]);
    lab.start_this_daemon(wrapper.to_str().unwrap());
    lab.wait_advertised(WEB);
    let mode = lab.on_host("stat", &["-c", "%a", &lab.list_path(0).display().to_string()]);
    assert_eq!(mode.trim(), "644");
}

#[test]
fn hole_22_the_metrics_end_with_the_daemon_and_tell_of_failures() {
    let mut lab = Lab::new([web(), other()]);
    fs::create_dir(lab.file("metrics")).unwrap();
    lab.option("prometheus_exporter", "true");
    lab.option("prometheus_exporter_interval", "1");
    lab.option("prometheus_collector_textfile_dir", &lab.file("metrics").display().to_string());
    lab.reconfigure_script("test -e broken && exit 1; $BIRDC");
    let has = |lab: &Lab, lines: &[&str]| {
        let metrics = lab.log("metrics/anycast_healthchecker.prom");
        lines.iter().all(|wanted| metrics.lines().any(|line| line.starts_with(wanted)))
    };
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_until("the metrics", |lab| has(lab, &["anycast_healthchecker_state 1"]));
    lab.touch("broken");
    lab.kill("web");
    lab.wait_listed(&[OTHER]);
    let failures = |lab: &Lab| {
        let metrics = lab.log("metrics/anycast_healthchecker.prom");
        metrics.lines().any(|line| {
            line.contains("reconfigure") && line.contains("fail") && !line.starts_with('#') && !line.ends_with(" 0")
        })
    };
    lab.wait_until("failures to be counted", failures);
    lab.stop_daemon();
    assert!(has(&lab, &["anycast_healthchecker_state 0"]), "{}", lab.log("metrics/anycast_healthchecker.prom"));
}

/// The daemon's process, as seen from the tests: the first of those with its command line, as a child that is about to
/// become a check has the same.
fn daemon(lab: &Lab) -> i32 {
    lab.processes("daemon.conf").into_iter().min().unwrap()
}
