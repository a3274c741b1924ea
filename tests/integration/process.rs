//! The daemon as a process: how it starts beside another instance and how it ends. Neither moves a
//! route.

use std::fs;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";

/// One advertised service, and a running daemon that has finished its first checks.
fn running() -> Lab {
    let mut lab = Lab::advertising([Service::new("web", WEB)]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab
}

/// One advertised service whose check hangs, and a daemon that waits for it.
fn with_a_hanging_check() -> Lab {
    let hangs = "test -e hang && { sleep 1001 & exec sleep 1002; }; exit 0";
    let mut lab = Lab::advertising([Service::new("web", WEB).check(hangs).with("check_timeout", "900")]);
    lab.start_daemon();
    lab.wait_runs("web", 2);
    lab.touch("hang");
    lab.wait_until("the check to hang", |lab| lab.processes("sleep 100").len() == 2);
    lab
}

/// Expects a clean exit without remaining processes and files.
fn expect_clean_exit(lab: &mut Lab) {
    assert_eq!(lab.wait_exit(), Some(0));
    assert!(!lab.file("run/daemon.pid").exists(), "the pidfile is left behind");
    lab.wait_until("all checks to be gone", |lab| lab.processes("sleep").is_empty());
    lab.wait_listed(&[WEB]);
}

#[test]
fn each_stop_signal_is_a_clean_exit() {
    let mut lab = running();
    let mark = lab.routes.mark();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT] {
        eprintln!("{signal}");
        lab.signal(signal);
        expect_clean_exit(&mut lab);
        lab.start_daemon();
        lab.wait_runs("web", 3);
    }
    lab.routes.expect_none_moved(mark);
}

#[test]
fn other_signals_do_nothing() {
    let mut lab = running();
    let mark = lab.routes.mark();
    for signal in [Signal::SIGALRM, Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXCPU, Signal::SIGXFSZ]
    {
        eprintln!("{signal}");
        lab.signal(signal);
        lab.wait_runs("web", 3);
    }
    lab.routes.expect_none_moved(mark);
    lab.stop_daemon();
}

/// `ulimit -f` acts like a full disk: first 64 KiB for the log, later 0 for the list.
#[test]
fn a_file_size_limit_loses_log_lines_and_delays_the_list() {
    // The check has the same limit and writes no files.
    let web =
        Service::new("web", WEB).with("check_interval", "0.01").with("check_cmd", "/usr/bin/test -e {lab}/alive/web");
    let mut lab = Lab::new([web]);
    let log = lab.file("limited.log");
    lab.option("log_file", &log.display().to_string());
    lab.start_daemon_after("ulimit -Sf 64");
    lab.wait_advertised(WEB);
    let dropped = |lab: &Lab| {
        let status: serde_json::Value = serde_json::from_str(&lab.run_cli(&["-s", "--json"]).1).unwrap();
        status["log_lines_dropped"].as_u64().unwrap()
    };
    lab.wait_until("lost log lines", |lab| dropped(lab) > 0);
    assert_eq!(fs::metadata(&log).unwrap().len(), 64 * 1024);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    let limit = |size| {
        let limit = rustix::process::Rlimit { current: size, maximum: None };
        let daemon = rustix::process::Pid::from_raw(lab.daemon_pid());
        rustix::process::prlimit(daemon, rustix::process::Resource::Fsize, limit).unwrap();
    };
    limit(Some(0));
    lab.revive("web");
    lab.wait_until("a list that cannot be written", |lab| lab.run_cli(&["-s"]).1.contains("File too large"));
    assert!(!lab.routes.has(WEB));
    limit(None);
    lab.wait_advertised(WEB);
    lab.stop_daemon();
}

#[test]
fn a_check_that_hangs_does_not_delay_a_stop() {
    let mut lab = with_a_hanging_check();
    let mark = lab.routes.mark();
    lab.signal(Signal::SIGTERM);
    expect_clean_exit(&mut lab);
    lab.routes.expect_none_moved(mark);
}

#[test]
fn a_supervisor_that_signals_daemon_and_checks_moves_no_route() {
    let mut lab = with_a_hanging_check();
    let mark = lab.routes.mark();
    // The worst order: the checks get the signal first, while the daemon is frozen.
    lab.signal(Signal::SIGSTOP);
    for pid in lab.processes("sleep 100") {
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    }
    lab.wait_until("the checks to end", |lab| lab.processes("sleep 100").is_empty());
    lab.signal(Signal::SIGTERM);
    lab.signal(Signal::SIGCONT);
    expect_clean_exit(&mut lab);
    lab.routes.expect_none_moved(mark);
}

#[test]
fn a_second_instance_is_refused_without_effect() {
    let mut lab = running();
    let mark = lab.routes.mark();
    let pidfile = fs::read_to_string(lab.file("run/daemon.pid")).unwrap();
    for other_pidfile in [false, true] {
        if other_pidfile {
            lab.option("pidfile", &lab.file("run/other.pid").display().to_string());
        }
        let mut second = lab.start_second_daemon();
        lab.wait_until("the second to end", |_| second.exited().is_some());
        assert_eq!(second.exited().unwrap().code(), Some(1), "{}", lab.log("second.log"));
        assert!(!lab.log("second.log").is_empty(), "it gives no reason");
        assert_eq!(fs::read_to_string(lab.file("run/daemon.pid")).unwrap(), pidfile);
        assert!(!lab.file("run/other.pid").exists());
    }
    lab.wait_runs("web", 3);
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_stale_pidfile_with_the_id_of_another_process_does_not_prevent_a_start() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    // Process 1 exists in every namespace, and in a container it is often the daemon itself.
    fs::write(lab.file("run/daemon.pid"), "1\n").unwrap();
    lab.start_daemon();
    lab.wait_advertised(WEB);
    let pidfile = fs::read_to_string(lab.file("run/daemon.pid")).unwrap();
    assert_ne!(pidfile.trim(), "1");
    lab.stop_daemon();
}

#[test]
fn a_kill_and_a_start_move_no_route() {
    let mut lab = running();
    let mark = lab.routes.mark();
    for _ in 0..3 {
        lab.signal(Signal::SIGKILL);
        assert_eq!(lab.wait_exit(), None, "the daemon was killed");
        lab.start_daemon();
        lab.wait_runs("web", 3);
    }
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

/// Simulates a cleanup of `/run`.
#[test]
fn pidfile_and_status_socket_are_restored() {
    let mut lab = running();
    let (pidfile, socket) = (lab.file("run/daemon.pid"), lab.file("run/status.sock"));
    let number = fs::read_to_string(&pidfile).unwrap();
    let is_back = |lab: &Lab| {
        lab.wait_until("pidfile and socket", |_| pidfile.exists() && socket.exists());
        assert_eq!(fs::read_to_string(&pidfile).unwrap(), number);
        assert_eq!(lab.run_cli(&["-s"]).0, Some(0));
        let locked = lab.on_host("sh", &["-c", &format!("flock -n {} true || echo locked", pidfile.display())]);
        assert_eq!(locked, "locked\n");
        assert_eq!(fs::read_dir(lab.file("run")).unwrap().count(), 2, "there are other files");
    };
    lab.remove("run/daemon.pid");
    lab.remove("run/status.sock");
    is_back(&lab);
    // Without the directory nothing can be restored, but the daemon is not reported as down.
    fs::rename(lab.file("run"), lab.file("away")).unwrap();
    let (code, output) = lab.run_cli(&["-s"]);
    let expected =
        format!("anycast-healthchecker runs (process {number}), but nobody answers on {}: ", socket.display());
    assert!(code == Some(1) && output.starts_with(&expected), "{code:?}: {output}");
    fs::create_dir(lab.file("run")).unwrap();
    is_back(&lab);
    // A stop removes the restored files.
    let mark = lab.routes.mark();
    lab.stop_daemon();
    assert_eq!(fs::read_dir(lab.file("run")).unwrap().count(), 0);
    let (code, output) = lab.run_cli(&["-s"]);
    assert!(code == Some(3) && output.contains("is not running"), "{code:?}: {output}");
    lab.routes.expect_none_moved(mark);
}

#[test]
fn a_drain_waits_for_the_status_socket_to_be_restored() {
    let mut lab = Lab::new([Service::new("web", WEB).with("drain_file", "{lab}/drain")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    for (option, reached) in [("--drain", "web is drained: "), ("--undrain", "web is not drained: ")] {
        lab.remove("run/status.sock");
        let (code, output) = lab.run_cli(&[option, "web"]);
        assert!(code == Some(0) && output.contains(reached), "{code:?}: {output}");
    }
    lab.stop_daemon();
}
