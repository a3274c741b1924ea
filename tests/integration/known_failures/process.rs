//! Signals, boots, the clock, the configuration, and what the daemon reports.

use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use nix::sys::signal::Signal;

use super::{other, web, OTHER, WEB};
use crate::lab::service::Service;
use crate::lab::Lab;

/// After a boot BIRD begins with the list from before, and the services have no verdicts.
#[test]
fn failure_08_a_service_that_died_before_a_boot_attracts_no_traffic() {
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
    assert!(lab.runs("web") < 1000, "its checks decided");
    lab.wait_listed(&[OTHER]);
    lab.routes.expect_unmoved(OTHER, mark);
    assert_eq!(lab.log(".anycast-prefixes.conf.boot"), boot);
    lab.revive("web");
    lab.wait_advertised(WEB);
}

#[test]
fn failure_10_sighup_does_not_end_the_daemon() {
    let mut lab = Lab::advertising([web(), other()]);
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let (mark, pid) = (lab.routes.mark(), lab.daemon_pid());
    for times in [1, 100] {
        // Log rotation and a closed terminal send SIGHUP.
        (0..times).for_each(|_| lab.signal(Signal::SIGHUP));
        lab.wait_runs("web", 5);
    }
    assert_eq!(lab.daemon_pid(), pid);
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_unmoved(OTHER, mark);
    // An invalid configuration does not end the daemon, either.
    fs::write(lab.file("services.d/web.conf"), "[web]\nip_prefix = nonsense\n").unwrap();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload to be refused", |lab| lab.log("daemon.log").contains("the reload is refused"));
    lab.revive("web");
    lab.wait_advertised(WEB);
    lab.stop_daemon();
}

#[test]
fn failure_17_harmful_values_are_refused() {
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
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {stderr}");
        assert!(stderr.contains(word), "{line}: {stderr}");
    }
}

/// The wall clock cannot be set for one test, so a preloaded library changes what the daemon reads.
/// The clock goes back a month, so that a wait by the wall clock would outlast the test.
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
        let _ = writeln!(io::stderr(), "SKIPPED: a step of the clock: it needs a C compiler");
        return;
    }
    lab.start_daemon_after(&format!("export LD_PRELOAD={}", library.display()));
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    lab.touch("stepped");
    let logged = |lab: &Lab| lab.log("daemon.log").lines().last().and_then(|line| line.get(..10).map(str::to_string));
    let before = logged(&lab);
    lab.wait_until("the daemon to see another date", |lab| logged(lab) != before);
    lab.wait_runs("web", 5);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    // The clock goes forward again.
    lab.remove("stepped");
    lab.wait_runs("other", 5);
    lab.revive("web");
    lab.wait_advertised(WEB);
    lab.routes.expect_unmoved(OTHER, mark);
}

#[test]
fn failure_21_every_user_can_read_the_list_whatever_the_umask() {
    let mut lab = Lab::new([web()]);
    lab.start_daemon_after("umask 077");
    lab.wait_advertised(WEB);
    let mode = lab.on_host("stat", &["-c", "%a", &lab.list_path(0).display().to_string()]);
    assert_eq!(mode.trim(), "644");
}

#[test]
fn failure_22_the_metrics_show_failures_and_the_end_of_the_daemon() {
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
    lab.wait_until("the metrics to show the failure", |lab| {
        has(lab, &[&advertised(0), "anycast_healthchecker_bird_in_sync{family=\"ipv4\"} 0"])
    });
    lab.stop_daemon();
    assert!(has(&lab, &["anycast_healthchecker_state 0"]), "{}", lab.log("metrics/anycast_healthchecker.prom"));
}
