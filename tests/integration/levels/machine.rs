//! Machines that stall, containers in which the daemon is process 1, resource limits, and addresses
//! that vanish.

use std::fs;
use std::time::Duration;

use crate::lab::machine::ControlGroup;
use crate::lab::service::Service;
use crate::lab::{daemon_program, Lab};

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";
const A6: &str = "2001:db8:52::1/128";

#[test]
fn no_healthy_route_moves_when_the_machine_stalls() {
    const SERVICES: usize = 60;
    let service = |n: usize| {
        let [name, prefix] = [format!("s{n}"), format!("10.52.13.{n}/32")].map(|text| &*text.leak());
        Service::new(name, prefix).with("check_interval", "5").with("check_timeout", "1").with("check_fail", "3")
    };
    let services: Vec<Service> = (0..SERVICES).map(service).collect();
    let prefixes: Vec<&str> = services.iter().map(|service| service.prefix).collect();
    let mut lab = Lab::advertising(services);
    let Some(mut group) = ControlGroup::new("cpu", &lab) else { return };
    lab.start_daemon();
    lab.wait_runs(&format!("s{}", SERVICES - 1), 1);
    let mark = lab.routes.mark();
    group.starve();
    let last = format!("s{}", SERVICES - 1);
    for trial in 0..6 {
        lab.wait_runs(&last, 1);
        if trial % 2 == 0 {
            // Odd trials stall during the checks, even ones just before them.
            std::thread::sleep(Duration::from_millis(4500));
        }
        group.stall(lab.daemon_pid(), Duration::from_millis(2300 + 200 * (trial % 4)));
    }
    lab.wait_runs(&last, 2);
    let log = lab.log("daemon.log");
    let stuck: Vec<&str> = log.lines().filter(|line| line.contains("is stuck")).collect();
    assert!(stuck.is_empty(), "{stuck:?}");
    prefixes.iter().for_each(|prefix| lab.routes.expect_unmoved(prefix, mark));
}

/// Starts the daemon as process 1 of its own namespace, like the entry point of a container.
fn start_as_process_1(lab: &mut Lab) -> i32 {
    let unshare = "exec unshare --pid --fork --mount-proc --kill-child";
    lab.start_daemon_by(&format!("{unshare} {} \"$@\"", daemon_program()));
    lab.wait_child(lab.daemon_pid())
}

/// A service whose check passes and leaves a child that ends soon afterwards.
fn leaves_children(name: &'static str, prefix: &'static str) -> Service {
    Service::new(name, prefix).check("sleep 0.05 </dev/null >/dev/null 2>&1 & test -e $ALIVE")
}

/// Expects that the service is checked, and withdrawn and advertised as its state changes.
fn is_checked_normally(lab: &Lab, runs: usize) {
    let mark = lab.routes.mark();
    lab.wait_runs("a", runs);
    lab.routes.expect_none_moved(mark);
    let listed = lab.listed().unwrap();
    assert!(listed.contains(A), "listed: {listed:?}");
    lab.kill("a");
    lab.wait_withdrawn(A);
    lab.revive("a");
    lab.wait_advertised(A);
}

#[test]
fn process_1_reaps_children_of_checks_that_time_out() {
    let hangs = Service::new("hangs", B).with("check_timeout", "0.1").check("sleep 1006; true");
    let mut lab = Lab::new([Service::new("a", A), hangs]);
    let daemon = start_as_process_1(&mut lab);
    lab.wait_advertised(A);
    lab.wait_runs("hangs", 10);
    lab.wait_until("no zombie to be left", |lab| lab.zombies(daemon) == 0);
    // Reaping has to go on.
    lab.wait_runs("hangs", 10);
    lab.wait_until("no zombie to be left", |lab| lab.zombies(daemon) == 0);
    is_checked_normally(&lab, 5);
}

/// Runs more checks than the limit allows processes.
fn continues_with_a_limit_of_processes(start: impl FnOnce(&mut Lab) -> i32) {
    let a = leaves_children("a", A).with("check_interval", "0.1");
    let mut lab = Lab::new([a.with("custom_bird_reconfigure_cmd", "{lab}/custom")]);
    // The exit status matters to the daemon.
    lab.executable("custom", "sleep 0.05 </dev/null >/dev/null 2>&1 & $BIRDC");
    let Some(group) = ControlGroup::new("pids", &lab) else { return };
    let daemon = start(&mut lab);
    lab.wait_advertised(A);
    group.set("pids.max", "40");
    group.enter(daemon);
    is_checked_normally(&lab, 100);
    let log = lab.log("daemon.log");
    assert!(!log.contains(" ERROR "), "{log}");
}

#[test]
fn process_1_continues_with_a_limit_of_40_processes_and_checks_that_leave_children() {
    continues_with_a_limit_of_processes(start_as_process_1);
}

#[test]
fn a_daemon_continues_with_a_limit_of_40_processes_and_checks_that_leave_children() {
    continues_with_a_limit_of_processes(|lab| {
        lab.start_daemon();
        lab.daemon_pid()
    });
}

#[test]
fn a_log_that_reaches_the_file_size_limit_loses_lines_but_the_daemon_continues() {
    let mut lab = Lab::new([Service::new("a", A).with("check_interval", "0.01"), Service::new("b", B)]);
    lab.option("log_file", &lab.file("limited.log").display().to_string());
    // In units of 1,024 bytes.
    lab.start_daemon_after("ulimit -f 64");
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    let mark = lab.routes.mark();
    let dropped = |lab: &Lab| lab.status_document()["log_lines_dropped"].as_u64().unwrap();
    lab.wait_until("the log to be full", |lab| {
        fs::metadata(lab.file("limited.log")).is_ok_and(|log| log.len() > 63 * 1024)
    });
    lab.wait_runs("b", 5);
    lab.wait_until("dropped lines to be counted", |lab| dropped(lab) > 0);
    lab.wait_runs("a", 100);
    lab.routes.expect_none_moved(mark);
    lab.kill("a");
    lab.wait_withdrawn(A);
    lab.routes.expect_unmoved(B, mark);
    lab.stop_daemon();
    // Starts with a full log.
    let full = lab.routes.mark();
    lab.start_daemon_after("ulimit -f 64");
    lab.wait_runs("b", 3);
    lab.revive("a");
    lab.wait_advertised(A);
    lab.routes.expect_unmoved(B, full);
    lab.stop_daemon();
}

#[test]
fn checks_start_with_default_signal_dispositions() {
    let check = "grep ^SigIgn: /proc/self/status > ignored.new; mv ignored.new ignored; exit 0";
    let mut lab = Lab::new([Service::new("a", A).check(check)]);
    lab.start_daemon();
    lab.wait_advertised(A);
    let log = lab.log("ignored");
    let ignored = u64::from_str_radix(log.split_whitespace().last().unwrap(), 16).unwrap();
    // One bit for each signal, SIGHUP in the lowest. The C library reserves two signals above
    // these.
    assert_eq!(ignored & 0x7fff_ffff, 0, "{ignored:#x}");
}

/// A service with three prefixes, whose check hangs while the file `slow` exists.
fn lab_with_slow_check() -> Lab {
    let a = Service::new("a", A).with("ip_prefix", &format!("{A}, {B}, {A6}")).with("check_timeout", "900");
    let mut lab = Lab::new([a.check("test -e slow && exec sleep 1007; test -e $ALIVE")]);
    lab.add_address(B, "lo");
    lab.add_address(A6, "lo");
    lab.start_daemon();
    [A, B, A6].iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab
}

fn wait_check_hangs(lab: &Lab) {
    lab.wait_until("the check to hang", |lab| !lab.processes("sleep 1007").is_empty());
}

#[test]
fn one_of_several_addresses_that_vanishes_while_the_check_hangs_is_withdrawn() {
    let lab = lab_with_slow_check();
    let mark = lab.routes.mark();
    lab.touch("slow");
    wait_check_hangs(&lab);
    lab.remove_address(B, "lo");
    lab.wait_withdrawn(B);
    lab.wait_listed(&[A, A6]);
    [A, A6].iter().for_each(|prefix| lab.routes.expect_unmoved(prefix, mark));
    assert!(!lab.processes("sleep 1007").is_empty(), "the check has ended");
}

/// The loss of an address starts a check at once, which hangs.
#[test]
fn one_of_several_addresses_that_vanishes_is_withdrawn_while_the_next_check_hangs() {
    let a = Service::new("a", A).with("ip_prefix", &format!("{A}, {B}")).with("check_timeout", "900");
    let a = a.with("check_interval", "3600").check("test -e slow && exec sleep 1007; test -e $ALIVE");
    let mut lab = Lab::new([a]);
    lab.add_address(B, "lo");
    lab.start_daemon();
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    lab.touch("slow");
    lab.remove_address(B, "lo");
    // BIRD removes the route by itself, so the test checks the list.
    lab.wait_listed(&[A]);
}
