//! The daemon as a process: how it starts beside others, and how it ends. No route moves by either.

use std::fs;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";

/// One service, advertised, the daemon running and past its first checks.
fn running() -> Lab {
    let mut lab = Lab::advertising([Service::new("web", WEB)]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab
}

/// One service, advertised, whose check hangs; the daemon waits for it.
fn waiting_for_a_check() -> Lab {
    let hangs = "test -e hang && { sleep 1001 & exec sleep 1002; }; exit 0";
    let mut lab = Lab::advertising([Service::new("web", WEB).check(hangs).with("check_timeout", "900")]);
    lab.start_daemon();
    lab.wait_runs("web", 2);
    lab.touch("hang");
    lab.wait_until("the check to hang", |lab| lab.processes("sleep 100").len() == 2);
    lab
}

/// Nothing moved, nothing is left.
fn has_ended_cleanly(lab: &mut Lab) {
    assert_eq!(lab.wait_exit(), Some(0));
    assert!(!lab.file("run/daemon.pid").exists(), "the pidfile is left");
    lab.wait_until("all checks to be gone", |lab| lab.processes("sleep").is_empty());
    lab.wait_listed(&[WEB]);
}

#[test]
fn each_signal_to_stop_is_a_clean_end() {
    let mut lab = running();
    let mark = lab.routes.mark();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT] {
        eprintln!("{signal}");
        lab.signal(signal);
        has_ended_cleanly(&mut lab);
        lab.start_daemon();
        lab.wait_runs("web", 3);
    }
    lab.routes.expect_none_moved(mark);
}

#[test]
fn signals_without_a_meaning_do_nothing() {
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

/// `ulimit -f` is a disk that is full: at 64 KiB for the log, later at 0 for the list.
#[test]
fn a_limit_of_file_sizes_costs_log_lines_and_delays_the_list_and_no_more() {
    // The check writes nothing, as it has the same limit.
    let web =
        Service::new("web", WEB).with("check_interval", "0.01").with("check_cmd", "/usr/bin/test -e {lab}/alive/web");
    let mut lab = Lab::new([web]);
    let log = lab.file("limited.log");
    lab.option("log_file", &log.display().to_string());
    lab.start_daemon_after("ulimit -Sf 64");
    lab.wait_advertised(WEB);
    let dropped = |lab: &Lab| {
        let status: serde_json::Value = serde_json::from_str(&lab.operate(&["-s", "--json"]).1).unwrap();
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
    lab.wait_until("a list that cannot be written", |lab| lab.operate(&["-s"]).1.contains("File too large"));
    assert!(!lab.routes.has(WEB));
    limit(None);
    lab.wait_advertised(WEB);
    lab.stop_daemon();
}

#[test]
fn a_check_that_hangs_does_not_hold_up_the_end() {
    let mut lab = waiting_for_a_check();
    let mark = lab.routes.mark();
    lab.signal(Signal::SIGTERM);
    has_ended_cleanly(&mut lab);
    lab.routes.expect_none_moved(mark);
}

#[test]
fn a_supervisor_that_signals_daemon_and_checks_alike_moves_no_route() {
    let mut lab = waiting_for_a_check();
    let mark = lab.routes.mark();
    // The worst order there is: while the daemon cannot look, first the checks get the signal, then the daemon.
    lab.signal(Signal::SIGSTOP);
    for pid in lab.processes("sleep 100") {
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    }
    lab.wait_until("the checks to end", |lab| lab.processes("sleep 100").is_empty());
    lab.signal(Signal::SIGTERM);
    lab.signal(Signal::SIGCONT);
    has_ended_cleanly(&mut lab);
    lab.routes.expect_none_moved(mark);
}

#[test]
fn a_second_instance_is_refused_and_harms_nothing() {
    let mut lab = running();
    let mark = lab.routes.mark();
    let pidfile = fs::read_to_string(lab.file("run/daemon.pid")).unwrap();
    for other_pidfile in [false, true] {
        if other_pidfile {
            lab.option("pidfile", &lab.file("run/other.pid").display().to_string());
        }
        let mut second = lab.second_daemon();
        lab.wait_until("the second to end", |_| second.exited().is_some());
        assert_eq!(second.exited().unwrap().code(), Some(1), "{}", lab.log("second.log"));
        assert!(!lab.log("second.log").is_empty(), "it says nothing");
        assert_eq!(fs::read_to_string(lab.file("run/daemon.pid")).unwrap(), pidfile);
        assert!(!lab.file("run/other.pid").exists());
    }
    lab.wait_runs("web", 3);
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_stale_pidfile_that_names_a_living_stranger_is_no_obstacle() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    // Process 1 is there in every namespace; in a container it often was the daemon itself.
    fs::write(lab.file("run/daemon.pid"), "1\n").unwrap();
    lab.start_daemon();
    lab.wait_advertised(WEB);
    let pidfile = fs::read_to_string(lab.file("run/daemon.pid")).unwrap();
    assert_ne!(pidfile.trim(), "1");
    lab.stop_daemon();
}

#[test]
fn killed_and_started_again_it_moves_no_route() {
    let mut lab = running();
    let mark = lab.routes.mark();
    for _ in 0..3 {
        lab.signal(Signal::SIGKILL);
        assert_eq!(lab.wait_exit(), None, "it was killed");
        lab.start_daemon();
        lab.wait_runs("web", 3);
    }
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

/// Somebody cleans up `/run`.
#[test]
fn the_pidfile_and_the_status_socket_are_put_back() {
    let mut lab = running();
    let (pidfile, socket) = (lab.file("run/daemon.pid"), lab.file("run/status.sock"));
    let number = fs::read_to_string(&pidfile).unwrap();
    let is_back = |lab: &Lab| {
        lab.wait_until("pidfile and socket", |_| pidfile.exists() && socket.exists());
        assert_eq!(fs::read_to_string(&pidfile).unwrap(), number);
        assert_eq!(lab.operate(&["-s"]).0, Some(0));
        let locked = lab.on_host("sh", &["-c", &format!("flock -n {} true || echo locked", pidfile.display())]);
        assert_eq!(locked, "locked\n");
        assert_eq!(fs::read_dir(lab.file("run")).unwrap().count(), 2, "nothing else");
    };
    lab.remove("run/daemon.pid");
    lab.remove("run/status.sock");
    is_back(&lab);
    // Without the directory nothing can be put back, and the daemon still is not said to be down.
    fs::rename(lab.file("run"), lab.file("away")).unwrap();
    let (code, said) = lab.operate(&["-s"]);
    let expected =
        format!("anycast-healthchecker runs (process {number}), but nobody answers on {}: ", socket.display());
    assert!(code == Some(1) && said.starts_with(&expected), "{code:?}: {said}");
    fs::create_dir(lab.file("run")).unwrap();
    is_back(&lab);
    // The second one finds the new lock where it cannot find the name.
    let mark = lab.routes.mark();
    lab.stop_daemon();
    assert_eq!(fs::read_dir(lab.file("run")).unwrap().count(), 0);
    let (code, said) = lab.operate(&["-s"]);
    assert!(code == Some(3) && said.contains("is not running"), "{code:?}: {said}");
    lab.routes.expect_none_moved(mark);
}

#[test]
fn a_drain_waits_for_the_status_socket_to_be_put_back() {
    let mut lab = Lab::new([Service::new("web", WEB).with("drain_file", "{lab}/drain")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    for (option, reached) in [("--drain", "web is drained: "), ("--undrain", "web is not drained: ")] {
        lab.remove("run/status.sock");
        let (code, said) = lab.operate(&[option, "web"]);
        assert!(code == Some(0) && said.contains(reached), "{code:?}: {said}");
    }
    lab.stop_daemon();
}
