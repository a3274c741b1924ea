//! The failures that operators of the Python program know, one by one: each has a test that shows it cannot happen here.
//!
//! | | what happened | shown by |
//! |---|---|---|
//! | 1 | one failing birdc, and a dead service stays advertised for ever | `bird::a_reconfigure_command_that_fails_is_tried_again` |
//! | 2 | a missing command, no descriptors, no processes: the daemon exits | `known_failures::failure_02_no_descriptors_for_a_while` `known_failures::failure_02_no_processes_for_a_while` `known_failures::failure_02_a_check_command_that_vanishes` |
//! | 3 | the disk beside the list is full: it exits at each restart | `known_failures::failure_03_a_restart_with_a_full_disk_beside_the_list` `lists::a_full_disk_beside_the_list_is_survived_and_made_good` |
//! | 4 | the disk of the log is full: checks hang | `known_failures::failure_04_a_full_disk_under_the_log` |
//! | 5 | a hanging birdc of root cannot be killed: the daemon dies | `known_failures::failure_05_a_reconfigure_command_that_may_not_be_killed` |
//! | 6 | no such interface, and the prefix counts as assigned | `checks::a_service_on_an_interface_that_does_not_exist_is_not_advertised` `addresses::addresses_count_as_assigned_until_the_kernel_has_answered` |
//! | 7 | a list that somebody overwrites is never repaired | `lists::a_list_that_somebody_damages_is_mended_and_no_route_moves` |
//! | 8 | after a boot a dead service attracts traffic until its checks have failed often enough | `known_failures::failure_08_a_service_that_died_with_the_machine_attracts_no_traffic` `leaving::after_a_boot_the_old_list_is_not_trusted_and_after_a_restart_it_is` |
//! | 9 | killed between list and birdc: they differ for good | `bird::a_change_that_bird_has_not_seen_when_the_daemon_was_killed_is_made_good_at_the_next_start` |
//! | 10 | HUP is a clean exit, after which nobody starts it again | `known_failures::failure_10_hup_is_no_end` `reload::no_route_of_an_unchanged_service_moves_in_fifty_reloads` |
//! | 11 | children of a check that timed out survive | `checks::a_check_that_hangs_fails_and_is_ended_with_its_grandchildren` |
//! | 12 | a good check with a child in the background counts as timed out | `checks::a_check_that_passes_and_leaves_a_child_at_its_output_is_good` |
//! | 13 | a chatty check fills the memory | `known_failures::failure_13_a_chatty_check_takes_no_memory` |
//! | 14 | a mass failure is one birdc after the other | `known_failures::failure_14_a_mass_failure_is_a_few_reconfigures` |
//! | 15 | one slow custom command blocks all others | `known_failures::failure_15_a_custom_command_that_hangs_holds_up_nobody_beyond_its_limit` `known_failures::failure_15_a_custom_command_that_ignores_term_is_killed` |
//! | 16 | a stale pidfile with the number of a living process | `process::a_stale_pidfile_that_names_a_living_stranger_is_no_obstacle` |
//! | 17 | values that never withdraw, typing errors, files that cannot be read | `known_failures::failure_17_values_that_do_harm_are_refused` `configuration::files_that_cannot_be_read_are_errors` |
//! | 18 | a list that is empty or on one line withdraws all | `known_failures::failure_18_a_list_on_one_line_moves_no_route` `lists::a_list_emptied_while_the_daemon_was_down_moves_no_route` |
//! | 19 | the history's directory vanishes: the daemon dies | `lists::a_vanished_history_directory_keeps_no_route_from_moving` |
//! | 20 | a step of the clock shifts the checks | `known_failures::failure_20_a_step_of_the_clock_stops_no_check` |
//! | 21 | a list without fsync, unreadable for BIRD | `known_failures::failure_21_all_may_read_the_list_whatever_the_umask` `faults::the_list_is_synced_before_it_takes_the_old_ones_place` |
//! | 22 | metrics say state 1 after the daemon's death | `known_failures::failure_22_the_metrics_end_with_the_daemon_and_tell_of_failures` |
//! | 23 | --check runs checks and creates files | `configuration::check_and_print_change_nothing` |
//! | 24 | "Reconfiguration in progress" is an error | `known_failures::failure_24_a_reconfigure_in_progress_is_no_error` `birdc::what_bird_says_decides_and_not_the_exit_code` |
//! | 25 | a signal to check is missed by a check that runs | `checks::a_check_that_runs_when_the_signal_comes_is_run_again_after_it` |

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
fn every_failure_has_its_test() {
    let tests = |file: &str| {
        let path = match file {
            "configuration" => "tests/configuration.rs".to_string(),
            "birdc" => "src/bird/birdc/tests.rs".to_string(),
            "assignment" => "src/check/assignment/tests.rs".to_string(),
            _ => format!("tests/integration/{file}.rs"),
        };
        fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let table: Vec<&str> =
        include_str!("known_failures.rs").lines().filter(|line| line.starts_with("//! | ")).collect();
    assert_eq!(table.len(), 1 + 25, "a header and a line for each");
    for (number, line) in table.iter().enumerate().skip(1) {
        assert!(line.starts_with(&format!("//! | {number} |")), "{line}");
        let named: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{line}");
        for name in named {
            let (file, test) = name.split_once("::").unwrap();
            assert!(tests(file).contains(&format!("#[test]\nfn {test}()")), "{name} is no test");
        }
    }
}

#[test]
fn failure_02_no_descriptors_for_a_while() {
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
fn failure_02_no_processes_for_a_while() {
    if !is_root("a user whose processes are counted") {
        return;
    }
    let mut lab = Lab::advertising([web(), other()]);
    // Nobody else on the machine is this user.
    start_as(&mut lab, 64_123);
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    let pid = daemon(&lab).to_string();
    let limit = |processes: &str| {
        // Where even root may not, the user himself may.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=64123", "--regid=64123", "--clear-groups", "prlimit", "--pid", &pid]);
        assert!(command.arg(format!("--nproc={processes}:")).status().unwrap().success());
    };
    limit("1");
    lab.kill("web");
    lab.wait_until("want of processes", |lab| {
        let runs = lab.runs("other");
        std::thread::sleep(std::time::Duration::from_millis(500));
        lab.runs("other") == runs
    });
    lab.routes.expect_none_moved(mark);
    limit("4096");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_still(OTHER, mark);
}

#[test]
fn failure_02_a_check_command_that_vanishes() {
    let mut lab = Lab::advertising([web().with("check_cmd", "{lab}/check"), other()]);
    let (there, away) = (lab.file("check"), lab.file("away"));
    lab.on_host("cp", &["/bin/true", &there.display().to_string()]);
    lab.start_daemon();
    lab.wait_runs("other", 3);
    let mark = lab.routes.mark();
    fs::rename(&there, &away).unwrap();
    lab.wait_withdrawn(WEB);
    lab.wait_runs("other", 3);
    fs::rename(&away, &there).unwrap();
    lab.wait_advertised(WEB);
    lab.routes.expect_still(OTHER, mark);
}

#[test]
fn failure_03_a_restart_with_a_full_disk_beside_the_list() {
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
    // The marker, where the disk takes no attributes.
    let (left, ours) = (lab.on_host("ls", &["-A", &disk]), |name: &&str| *name != ".anycast-prefixes.conf.boot");
    assert_eq!(left.lines().filter(ours).collect::<Vec<_>>(), ["anycast-prefixes.conf", "fill"]);
    lab.on_host("rm", &[&format!("{disk}/fill")]);
    lab.wait_withdrawn("2001:db8:52::1/128");
}

#[test]
fn failure_04_a_full_disk_under_the_log() {
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
fn failure_05_a_reconfigure_command_that_may_not_be_killed() {
    if !is_root("a command that may not be killed") {
        return;
    }
    let mut lab = Lab::new([web(), other()]);
    let (root, become_root) = (lab.path().display().to_string(), lab.file("become-root").display().to_string());
    lab.script("as-root", "test -e hangs && { : > hung; exec sleep 1001; }; $BIRDC");
    let command = format!("{become_root} --reuid=0 --regid=0 --clear-groups /bin/sh {root}/as-root");
    lab.option("bird_reconfigure_cmd", &command);
    lab.option("bird6_reconfigure_cmd", &command);
    lab.on_host("sh", &["-c", &format!("cp $(command -v setpriv) {become_root}; chmod 4755 {become_root}")]);
    start_as(&mut lab, 65_534);
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

/// What the disk has kept from before the boot is what BIRD begins with; nothing is known of the services but that.
#[test]
fn failure_08_a_service_that_died_with_the_machine_attracts_no_traffic() {
    let slow = |service: Service| service.with("on_boot", "withdraw").with("check_fail", "1000");
    let mut lab = Lab::advertising([slow(web()), slow(Service::new("web6", "2001:db8:52::1/128")), other()]);
    lab.kill("web");
    lab.kill("web6");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mark = lab.routes.mark();
    for list in ["anycast-prefixes.conf", "6/anycast-prefixes.conf"] {
        let (directory, name) = list.rsplit_once('/').unwrap_or((".", list));
        fs::write(lab.file(&format!("{directory}/.{name}.boot")), "00000000-0000-0000-0000-000000000000\n").unwrap();
    }
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
    lab.wait_withdrawn("2001:db8:52::1/128");
    assert!(lab.runs("web") < 1000, "its checks have not decided it");
    lab.wait_listed(&[OTHER]);
    lab.routes.expect_still(OTHER, mark);
    assert_eq!(lab.log(".anycast-prefixes.conf.boot"), boot);
    lab.revive("web");
    lab.wait_advertised(WEB);
}

#[test]
fn failure_10_hup_is_no_end() {
    let mut lab = Lab::advertising([web(), other()]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let (mark, pid) = (lab.routes.mark(), daemon(&lab));
    for times in [1, 100] {
        // `kill -HUP` as it is sent by those who rotate logs, and by a terminal that closes.
        (0..times).for_each(|_| lab.signal(Signal::SIGHUP));
        lab.wait_runs("web", 5);
    }
    assert_eq!(daemon(&lab), pid);
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_still(OTHER, mark);
    // A configuration that it would not start with is no end either.
    fs::write(lab.file("services.d/web.conf"), "[web]\nip_prefix = nonsense\n").unwrap();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload to be refused", |lab| lab.log("daemon.log").contains("the reload is refused"));
    lab.revive("web");
    lab.wait_advertised(WEB);
    lab.stop_daemon();
}

#[test]
fn failure_13_a_chatty_check_takes_no_memory() {
    let mut lab = Lab::new([web().check("yes 0123456789 | head -c 200000000; exit 0"), other()]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_runs("web", 2);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon(&lab))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "{peak} kB at the most");
}

#[test]
fn failure_14_a_mass_failure_is_a_few_reconfigures() {
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

/// A service whose custom command is the script `custom`, with so many seconds for it.
fn with_custom_command(seconds: &str) -> Service {
    web()
        .with("custom_bird_reconfigure_cmd", "/bin/sh {lab}/custom")
        .with("custom_bird_reconfigure_cmd_timeout", seconds)
}

/// It hangs whenever it is run, and is run again and again.
#[test]
fn failure_15_a_custom_command_that_hangs_holds_up_nobody_beyond_its_limit() {
    let mut lab = Lab::advertising([with_custom_command("1"), other()]);
    lab.script("custom", "printf . >> hangs; while ! test -e works; do sleep 0.1; done; $BIRDC");
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab.kill("web");
    for _ in 0..3 {
        let hangs = lab.log("hangs").len();
        lab.wait_until("the custom command to hang", |lab| lab.log("hangs").len() > hangs);
        lab.kill("other");
        lab.wait_withdrawn(OTHER);
        lab.revive("other");
        lab.wait_advertised(OTHER);
    }
    lab.touch("works");
    lab.wait_withdrawn(WEB);
}

#[test]
fn failure_15_a_custom_command_that_ignores_term_is_killed() {
    let mut lab = Lab::advertising([with_custom_command("1"), other()]);
    lab.script("custom", "trap '' TERM; test -e works || { printf . >> tried; while :; do sleep 1001; done; }; $BIRDC");
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    lab.kill("web");
    lab.wait_until("a third try", |lab| lab.log("tried").len() > 2);
    lab.wait_until("those before it to be killed", |lab| lab.processes("sleep 1001").len() <= 1);
    lab.touch("works");
    lab.wait_withdrawn(WEB);
    lab.wait_until("all of them to be gone", |lab| lab.processes("/custom").is_empty());
    lab.wait_until("their children to be gone", |lab| lab.processes("sleep 1001").is_empty());
    lab.routes.expect_still(OTHER, mark);
}

#[test]
fn failure_17_values_that_do_harm_are_refused() {
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
fn failure_18_a_list_on_one_line_moves_no_route() {
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

/// The clock on the wall cannot be set for a test alone; so what the daemon sees of it is moved, by a library of the
/// test's own that the loader puts before the system's. The clock goes back a month, so that whoever waits by it waits
/// for longer than this test.
#[test]
fn failure_20_a_step_of_the_clock_stops_no_check() {
    const CLOCK: &str = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n#include <unistd.h>\n\
        int clock_gettime(clockid_t clock, struct timespec *now) {\n\
        static int (*real)(clockid_t, struct timespec *);\n\
        if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, \"clock_gettime\");\n\
        int failed = real(clock, now);\n\
        if (clock == CLOCK_REALTIME && !access(STEPPED, F_OK)) now->tv_sec -= 30 * 86400;\n\
        return failed;\n}\n";
    let mut lab = Lab::advertising([web().with("check_fail", "2"), other()]);
    let (source, library) = (lab.file("clock.c"), lab.file("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let stepped = format!("-DSTEPPED=\"{}\"", lab.file("stepped").display());
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg(stepped).status();
    if !compiled.is_ok_and(|status| status.success()) {
        let _ = writeln!(io::stderr(), "SKIPPED: a step of the clock: there is no C compiler for it");
        return;
    }
    start_by(
        &mut lab,
        &format!("export LD_PRELOAD={}", library.display()),
        env!("CARGO_BIN_EXE_anycast-healthchecker"),
    );
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    lab.touch("stepped");
    let logged = |lab: &Lab| lab.log("daemon.log").lines().last().and_then(|line| line.get(..10).map(str::to_string));
    let before = logged(&lab);
    lab.wait_until("the daemon to see another date", |lab| logged(lab) != before);
    lab.wait_runs("web", 5);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    // And forward again.
    lab.remove("stepped");
    lab.wait_runs("other", 5);
    lab.revive("web");
    lab.wait_advertised(WEB);
    lab.routes.expect_still(OTHER, mark);
}

#[test]
fn failure_21_all_may_read_the_list_whatever_the_umask() {
    let mut lab = Lab::new([web()]);
    start_by(&mut lab, "umask 077", env!("CARGO_BIN_EXE_anycast-healthchecker"));
    lab.wait_advertised(WEB);
    let mode = lab.on_host("stat", &["-c", "%a", &lab.list_path(0).display().to_string()]);
    assert_eq!(mode.trim(), "644");
}

#[test]
fn failure_22_the_metrics_end_with_the_daemon_and_tell_of_failures() {
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
    let advertised =
        |is: u8| format!("anycast_healthchecker_service_advertised{{ip_prefix=\"{WEB}\",service_name=\"web\"}} {is}");
    let lines =
        ["anycast_healthchecker_state 1", "anycast_healthchecker_bird_in_sync{family=\"ipv4\"} 1", &advertised(1)];
    lab.wait_until("the metrics", |lab| has(lab, &lines));
    lab.touch("broken");
    lab.kill("web");
    let failed = "anycast_healthchecker_bird_reconfigure_total{family=\"ipv4\",result=\"failed\"} ";
    lab.wait_until("failures to be counted", |lab| {
        let metrics = lab.log("metrics/anycast_healthchecker.prom");
        metrics.lines().any(|line| line.strip_prefix(failed).is_some_and(|times| !times.starts_with('0')))
    });
    lab.wait_until("the metrics to tell", |lab| {
        has(lab, &[&advertised(0), "anycast_healthchecker_bird_in_sync{family=\"ipv4\"} 0"])
    });
    lab.stop_daemon();
    assert!(has(&lab, &["anycast_healthchecker_state 0"]), "{}", lab.log("metrics/anycast_healthchecker.prom"));
}

/// As BIRD 3 says it: the change is made, and another must not be asked for at once.
#[test]
fn failure_24_a_reconfigure_in_progress_is_no_error() {
    let mut lab = Lab::new([web(), other()]);
    let progress = "BIRD 3.3.2 ready.\\nReading configuration from x\\nReconfiguration in progress\\n";
    lab.reconfigure_script(&format!("printf . >> runs/birdc; $BIRDC >/dev/null; printf '{progress}'"));
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(OTHER);
    let mark = lab.routes.mark();
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.wait_until("no more to be asked for", |lab| lab.operate(&["--status"]).1.contains("BIRD in sync"));
    lab.routes.expect_still(OTHER, mark);
    let log = lab.log("daemon.log");
    assert!(!log.contains(" ERROR ") && !log.contains(" CRITICAL "), "{log}");
    assert!(lab.runs("birdc") <= 5, "asked for again and again");
}

/// Whether it may be root's affair; else it is said that it was skipped.
fn is_root(what: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        let _ = writeln!(io::stderr(), "SKIPPED: {what}: only root can be that");
    }
    is_root
}

/// Starts the daemon as a user who has no right but to what the lab needs.
fn start_as(lab: &mut Lab, user: u32) {
    // The build directory may be closed to others.
    let (root, copy) = (lab.path().display().to_string(), lab.file("daemon").display().to_string());
    lab.on_host("cp", &[env!("CARGO_BIN_EXE_anycast-healthchecker"), &copy]);
    // The runs of its checks are counted in files that are there by then.
    let open = format!("cd {root}; touch runs/web runs/other; chmod -R a+rwX .");
    lab.on_host("sh", &["-c", &open]);
    start_by(lab, "", &format!("setpriv --reuid={user} --regid={user} --clear-groups {copy}"));
}

/// Starts the daemon from a shell that does something first.
fn start_by(lab: &mut Lab, first: &str, daemon: &str) {
    let wrapper = lab.file("wrapper");
    fs::write(&wrapper, format!("#!/bin/sh\n{first}\nexec {daemon} \"$@\"\n")).unwrap();
    lab.on_host("chmod", &["755", &wrapper.display().to_string()]);
    lab.start_this_daemon(wrapper.to_str().unwrap());
}

/// The daemon's process, as seen from the tests: the first of those with its command line, as a child that is about to
/// become a check has the same.
fn daemon(lab: &Lab) -> i32 {
    lab.processes("daemon.conf").into_iter().min().unwrap()
}
