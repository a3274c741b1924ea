//! Immediate actions: after the end of a watched process, at the fast interval, and by a hook.
//!
//! Where an action has to be immediate, the interval is an hour. The times are printed (`cargo test
//! --test integration watch -- --nocapture`, `ROUNDS=30` for better statistics) and not checked.

use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const WEB6: &str = "2001:db8:52::1/128";

/// The time after a reconfigure until changes are no longer coalesced, so that the next change is
/// sent at once.
const COALESCE_TIME: Duration = Duration::from_millis(100);

fn rounds() -> usize {
    std::env::var("ROUNDS").map_or(3, |rounds| rounds.parse().unwrap())
}

/// A service that is checked once, and then only for a reason.
fn rarely_checked(name: &'static str, prefix: &'static str) -> Service {
    Service::new(name, prefix).with("check_interval", "3600")
}

/// The same with a process in a pidfile. The check fails if the process has ended.
fn watched(name: &'static str, prefix: &'static str) -> Service {
    let pidfile = format!("{{lab}}/{name}.pid");
    // A zombie counts as dead.
    let check = format!("grep -q '^State:.[^Z]' /proc/$(cat {name}.pid)/status");
    rarely_checked(name, prefix).with("watch_pidfile", &pidfile).check(&check)
}

/// Starts the process of a service: `sleep SECONDS`, by which it is found again.
fn start(lab: &Lab, name: &str, seconds: &str) {
    let script = format!(
        "cd {}; sleep {seconds} </dev/null >/dev/null 2>&1 & echo $! >{}/{name}.pid",
        lab.path().display(),
        lab.path().display()
    );
    lab.on_host("/bin/sh", &["-c", &script]);
}

/// Kills the process with SIGKILL. Returns the time until the router has lost the route.
fn time_to_withdrawal(lab: &Lab, seconds: &str, prefix: &str) -> Duration {
    let pids = lab.processes(&format!("sleep {seconds}"));
    assert_eq!(pids.len(), 1, "{pids:?}");
    std::thread::sleep(COALESCE_TIME);
    let killed = Instant::now();
    kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
    lab.wait_withdrawn(prefix);
    lab.routes.last_moved(prefix).unwrap() - killed
}

fn print_median(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let [least, median, most] = [times[0], times[times.len() / 2], times[times.len() - 1]].map(ms);
    eprintln!("{what}: {median:.1} ms, median of {} runs, {least:.1} to {most:.1} ms", times.len());
}

#[test]
fn a_service_whose_process_is_killed_is_withdrawn_at_once() {
    let slower = watched("web6", WEB6).with("check_fail", "3").with("check_fast_interval", "0.1");
    let mut lab = Lab::new([watched("web", WEB), slower]);
    start(&lab, "web", "7001");
    start(&lab, "web6", "7002");
    lab.start_daemon();
    let (mut one, mut three) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        lab.wait_advertised(WEB);
        lab.wait_advertised(WEB6);
        let runs = ["web", "web6"].map(|name| lab.runs(name));
        one.push(time_to_withdrawal(&lab, "7001", WEB));
        three.push(time_to_withdrawal(&lab, "7002", WEB6));
        assert_eq!(["web", "web6"].map(|name| lab.runs(name)), [runs[0] + 1, runs[1] + 3], "checks");
        start(&lab, "web", "7001");
        start(&lab, "web6", "7002");
        lab.signal(Signal::SIGURG);
    }
    print_median("killed, until withdrawn, check_fail 1", one);
    print_median("killed, until withdrawn, check_fail 3, check_fast_interval 0.1", three);
}

#[test]
fn a_useless_pidfile_does_no_harm() {
    let services = [("absent", "10.52.12.2/32"), ("foreign", "10.52.12.3/32"), ("stale", "10.52.12.4/32")];
    let service = |(name, prefix)| Service::new(name, prefix).with("watch_pidfile", &format!("{{lab}}/{name}.pid"));
    let prefixes = services.map(|(_, prefix)| prefix);
    let mut lab = Lab::advertising(services.map(service));
    std::fs::write(lab.file("foreign.pid"), "1\n").unwrap();
    std::fs::write(lab.file("stale.pid"), "2147483647\n").unwrap();
    let mark = lab.routes.mark();
    lab.start_daemon();
    for (name, _) in services {
        lab.wait_runs(name, 5);
    }
    lab.routes.expect_none_moved(mark);
    let log = lab.log("daemon.log");
    assert_eq!(log.matches("watch_pidfile is ignored").count(), 2, "each is logged once");
    for (name, prefix) in services {
        lab.kill(name);
        lab.wait_withdrawn(prefix);
        lab.revive(name);
        lab.wait_advertised(prefix);
    }
    lab.wait_listed(&prefixes);
}

#[test]
fn the_fast_interval_decides_about_a_failing_service() {
    let service = rarely_checked("web", WEB).with("check_fail", "3").with("check_fast_interval", "0.2");
    let mut lab = Lab::new([service]);
    lab.start_daemon();
    let mut times = Vec::new();
    for _ in 0..rounds() {
        lab.wait_advertised(WEB);
        let runs = lab.runs("web");
        lab.kill("web");
        std::thread::sleep(COALESCE_TIME);
        let start = Instant::now();
        lab.signal(Signal::SIGURG);
        lab.wait_withdrawn(WEB);
        times.push(lab.routes.last_moved(WEB).unwrap() - start);
        assert_eq!(lab.runs("web"), runs + 3, "checks");
        lab.revive("web");
        lab.signal(Signal::SIGURG);
    }
    print_median("first failing check, until withdrawn, check_fail 3, check_fast_interval 0.2", times);
}

#[test]
fn a_hook_that_hangs_delays_no_route_and_is_killed_with_the_daemon() {
    let hook = "/bin/sh {lab}/hook";
    let service = Service::new("web", WEB).with("state_change_cmd", hook).with("state_change_cmd_timeout", "900");
    let mut lab = Lab::new([service]);
    lab.script("hook", "echo $SERVICE $OLD_STATE $NEW_STATE $PREFIXES >>hooked; sleep 7003; exit 0");
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_until("the hook to hang", |lab| !lab.processes("sleep 7003").is_empty());
    for _ in 0..3 {
        lab.kill("web");
        lab.wait_withdrawn(WEB);
        lab.revive("web");
        lab.wait_advertised(WEB);
    }
    assert_eq!(lab.log("hooked"), format!("web unknown up {WEB}\n"));
    // Once it is killed, the hook runs for the last change and hangs again.
    kill(Pid::from_raw(lab.processes("sleep 7003")[0]), Signal::SIGKILL).unwrap();
    lab.wait_until("the hook for the last change", |lab| {
        lab.log("hooked") == format!("web unknown up {WEB}\nweb down up {WEB}\n")
    });
    lab.stop_daemon();
    lab.wait_until("the hook to be gone", |lab| lab.processes("sleep 7003").is_empty());
}
