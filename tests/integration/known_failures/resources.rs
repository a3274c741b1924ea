//! Lack of descriptors, processes, disk space, memory and permissions.

use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use nix::sys::signal::Signal;

use super::{other, web, OTHER, WEB};
use crate::lab::service::Service;
use crate::lab::Lab;

#[test]
fn failure_02_no_descriptors_for_a_while() {
    let mut lab = Lab::advertising([web(), other()]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    let pid = lab.daemon_pid().to_string();
    let limit = |descriptors: &str| {
        let done = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={descriptors}:")]).status().unwrap();
        assert!(done.success());
    };
    limit("4");
    lab.kill("web");
    lab.wait_until("the lack of descriptors", |lab| {
        // No check can start now.
        let runs = lab.runs("other");
        std::thread::sleep(std::time::Duration::from_millis(500));
        lab.runs("other") == runs
    });
    lab.routes.expect_none_moved(mark);
    limit("1024");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_unmoved(OTHER, mark);
    lab.stop_daemon();
    lab.revive("web");
    lab.start_daemon();
    lab.wait_advertised(WEB);
}

#[test]
fn failure_02_no_processes_for_a_while() {
    if !requires_root("a limit of processes of a user") {
        return;
    }
    let mut lab = Lab::advertising([web(), other()]);
    // No other process on the machine has this user.
    start_as(&mut lab, 64_123);
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    let pid = lab.daemon_pid().to_string();
    let limit = |processes: &str| {
        // The user may change the limit even where root may not.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=64123", "--regid=64123", "--clear-groups", "prlimit", "--pid", &pid]);
        assert!(command.arg(format!("--nproc={processes}:")).status().unwrap().success());
    };
    limit("1");
    lab.kill("web");
    lab.wait_until("the lack of processes", |lab| {
        let runs = lab.runs("other");
        std::thread::sleep(std::time::Duration::from_millis(500));
        lab.runs("other") == runs
    });
    lab.routes.expect_none_moved(mark);
    limit("4096");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_unmoved(OTHER, mark);
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
    lab.routes.expect_unmoved(OTHER, mark);
}

#[test]
fn failure_03_a_restart_with_a_full_disk_under_the_list() {
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
        lab.routes.expect_unmoved(OTHER, mark);
    }
    // The boot marker is a file if the file system has no extended attributes.
    let (files, expected) = (lab.on_host("ls", &["-A", &disk]), |name: &&str| *name != ".anycast-prefixes.conf.boot");
    assert_eq!(files.lines().filter(expected).collect::<Vec<_>>(), ["anycast-prefixes.conf", "fill"]);
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
    lab.routes.expect_unmoved(OTHER, mark);
    lab.on_host("rm", &[&format!("{disk}/fill")]);
    let size = || lab.on_host("stat", &["-c", "%s", &format!("{disk}/log")]).trim().parse::<u64>().unwrap();
    lab.wait_until("the log to continue", |_| size() > 0);
    lab.stop_daemon();
}

/// `sudo` would run the command as root. It needs a configuration, so the test uses another setuid
/// program.
#[test]
fn failure_05_a_reconfigure_command_that_cannot_be_killed() {
    if !requires_root("a command that the daemon may not kill") {
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
    lab.wait_until("the message about the command", |lab| lab.log("daemon.log").contains("may not be killed"));
    lab.remove("hangs");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_unmoved(OTHER, mark);
    for pid in lab.processes("sleep 1001") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    lab.wait_until("all zombies to be gone", |lab| lab.processes("").len() == lab.processes(" ").len());
}

#[test]
fn failure_13_a_check_with_much_output_takes_no_memory() {
    let mut lab = Lab::new([web().check("yes 0123456789 | head -c 200000000; exit 0"), other()]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_runs("web", 2);
    let status = fs::read_to_string(format!("/proc/{}/status", lab.daemon_pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "the peak was {peak} kB");
}

/// Whether the test runs as root. Otherwise reports that it is skipped.
fn requires_root(what: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        let _ = writeln!(io::stderr(), "SKIPPED: {what}: needs root");
    }
    is_root
}

/// Starts the daemon as a user who has access only to the lab's directory.
fn start_as(lab: &mut Lab, user: u32) {
    // Other users may not have access to the build directory.
    let (root, copy) = (lab.path().display().to_string(), lab.file("daemon").display().to_string());
    lab.on_host("cp", &[env!("CARGO_BIN_EXE_anycast-healthchecker"), &copy]);
    // The files that count the runs of checks have to exist before they become writable.
    let open = format!("cd {root}; touch runs/web runs/other; chmod -R a+rwX .");
    lab.on_host("sh", &["-c", &open]);
    lab.start_daemon_by(&format!("exec setpriv --reuid={user} --regid={user} --clear-groups {copy} \"$@\""));
}
