//! Files that others delete are restored, and only the instance lock decides whether a daemon runs.

use std::fs;
use std::path::Path;

use crate::lab::service::Service;
use crate::lab::{daemon_program, Lab};

const A: &str = "10.52.12.1/32";

fn running() -> Lab {
    let mut lab = Lab::new([Service::new("a", A).with("drain_file", "{lab}/drain-a")]);
    lab.start_daemon();
    lab.wait_advertised(A);
    lab.wait_until("the status socket", |lab| lab.file("run/status.sock").exists());
    lab
}

#[test]
fn a_deleted_status_socket_is_restored() {
    let mut lab = running();
    lab.remove("run/status.sock");
    lab.wait_until("the status again", |lab| lab.run_cli(&["--status"]).0 == Some(0));
    lab.stop_daemon();
    assert!(!lab.file("run/status.sock").exists(), "the socket is left behind");
}

#[test]
fn a_deleted_pidfile_is_restored() {
    let mut lab = running();
    let pid = fs::read_to_string(lab.file("run/daemon.pid")).unwrap();
    lab.remove("run/daemon.pid");
    lab.wait_until("the pidfile", |lab| lab.log("run/daemon.pid") == pid);
    let mut second = lab.start_second_daemon();
    lab.wait_until("a second daemon to be refused", |_| second.exited().is_some());
    assert_eq!(second.exited().unwrap().code(), Some(1), "{}", lab.log("second.log"));
    assert_eq!(lab.log("run/daemon.pid"), pid);
    lab.stop_daemon();
    assert!(!lab.file("run/daemon.pid").exists(), "the pidfile is left behind");
}

#[test]
fn socket_and_pidfile_are_restored_after_their_directory_was_deleted() {
    let lab = running();
    fs::remove_dir_all(lab.file("run")).unwrap();
    fs::create_dir(lab.file("run")).unwrap();
    lab.wait_until("the status again", |lab| lab.run_cli(&["--status"]).0 == Some(0));
    lab.wait_until("the pidfile", |lab| lab.log("run/daemon.pid").trim().parse::<u32>().is_ok());
}

/// The daemon runs, and cannot restore its socket.
fn without_socket() -> Lab {
    let lab = running();
    fs::rename(lab.file("run/status.sock"), lab.file("away.sock")).unwrap();
    fs::create_dir(lab.file("run/status.sock")).unwrap();
    lab.touch("run/status.sock/in-the-way");
    lab
}

#[test]
fn without_a_socket_the_status_does_not_report_that_no_daemon_runs() {
    let lab = without_socket();
    let (code, output) = lab.run_cli(&["--status"]);
    assert!(code != Some(0) && code != Some(3), "exit code {code:?}: {output}");
    assert!(!output.contains("is not running"), "{output}");
    assert!(output.contains("status.sock"), "{output}");
}

#[test]
fn without_a_socket_the_plugin_does_not_report_that_no_daemon_runs() {
    let lab = without_socket();
    let plugin = Path::new(&daemon_program()).with_file_name("check_anycast_healthchecker").display().to_string();
    let [main, services] = ["daemon.conf", "services.d"].map(|name| lab.file(name).display().to_string());
    let output = lab.on_host("sh", &["-c", &format!("{plugin} -f {main} -d {services} 2>&1; echo exit code $?")]);
    assert!(!output.contains("is not running"), "{output}");
    assert!(output.contains("status.sock") && !output.contains("exit code 0"), "{output}");
}

#[test]
fn without_a_socket_a_drain_does_not_report_that_no_daemon_runs() {
    let lab = without_socket();
    for (argument, drains) in [("--drain", true), ("--undrain", false)] {
        let (_, output) = lab.run_cli(&[argument, "a"]);
        assert!(!output.contains("no daemon runs"), "{argument}: {output}");
        lab.wait_until("the daemon to follow", |lab| lab.routes.has(A) != drains);
    }
}

#[test]
fn without_a_daemon_the_status_reports_that_none_runs() {
    let mut lab = running();
    lab.stop_daemon();
    // A stale socket and a stale pidfile do not count.
    fs::write(lab.file("run/daemon.pid"), "1\n").unwrap();
    drop(std::os::unix::net::UnixListener::bind(lab.file("run/status.sock")).unwrap());
    let (code, output) = lab.run_cli(&["--status"]);
    assert_eq!(code, Some(3), "{output}");
    assert!(output.contains("is not running"), "{output}");
}

#[test]
fn a_log_file_that_is_a_symbolic_link_is_rotated_at_its_target() {
    let mut lab = Lab::new([Service::new("a", A)]);
    fs::create_dir(lab.file("logs")).unwrap();
    std::os::unix::fs::symlink(lab.file("logs/real.log"), lab.file("link.log")).unwrap();
    lab.option("log_file", &lab.file("link.log").display().to_string());
    lab.option("log_maxbytes", "2000");
    lab.option("log_backups", "2");
    let (code, output) = lab.run_cli(&["--check"]);
    if code != Some(0) && output.contains("link.log") {
        return;
    }
    lab.start_daemon();
    lab.wait_advertised(A);
    // Writes more than all log files can hold.
    lab.wait_runs("a", 50);
    assert!(lab.file("link.log").is_symlink(), "the link was replaced");
    assert!(lab.file("logs/real.log.1").exists(), "the target was not rotated");
    lab.stop_daemon();
}
