//! Services and hosts drained by the operator, by a file or by a command.

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const DNS: &str = "fd12:aba6:57db:ffff::1/128";
const OFF: &str = "10.52.12.3/32";

/// `web` and `dns` with a drain file each, both advertised. The host has a drain file, too.
fn lab() -> Lab {
    let service = |name, prefix| Service::new(name, prefix).with("drain_file", &format!("{{lab}}/drain-{name}"));
    let mut lab = Lab::advertising([service("web", WEB), service("dns", DNS)]);
    let host = lab.file("drain-host").display().to_string();
    lab.option("drain_file", &host);
    lab
}

/// The same with a running daemon.
fn running() -> Lab {
    let mut lab = lab();
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab
}

/// Runs a command that has to succeed. Returns its output.
fn run_cli_ok(lab: &Lab, arguments: &[&str]) -> String {
    let (code, output) = lab.run_cli(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {output}");
    output
}

/// Expects no check of `service` while those of `other` continue.
fn expect_no_checks(lab: &Lab, service: &str, other: &str) {
    // A check may have been running.
    lab.wait_runs(other, 5);
    let runs = lab.runs(service);
    lab.wait_runs(other, 10);
    assert_eq!(lab.runs(service), runs, "{service} is checked while it is drained");
}

#[test]
fn a_drain_file_withdraws_a_service_and_its_removal_advertises_it_again() {
    let lab = running();
    let mark = lab.routes.mark();
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    expect_no_checks(&lab, "web", "dns");
    lab.routes.expect_unmoved(DNS, mark);
    let (_, status) = lab.run_cli(&["--status"]);
    assert!(
        status.contains("1 of 1 services up, 1 drained, BIRD in sync") && status.contains("drained by"),
        "{status}"
    );
    lab.remove("drain-web");
    lab.wait_advertised(WEB);
    lab.routes.expect_unmoved(DNS, mark);
}

#[test]
fn a_drained_service_that_died_meanwhile_stays_withdrawn() {
    let lab = running();
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    lab.kill("web");
    let mark = lab.routes.mark();
    lab.remove("drain-web");
    lab.wait_runs("web", 5);
    lab.routes.expect_unmoved(WEB, mark);
    lab.revive("web");
    lab.wait_advertised(WEB);
}

#[test]
fn a_check_that_hangs_does_not_delay_a_drain() {
    let hangs = "test -e hang && { : > hangs; sleep 1104; }; exit 0";
    let web = Service::new("web", WEB).check(hangs).with("check_timeout", "900").with("drain_file", "{lab}/drain-web");
    let mut lab = Lab::advertising([web]);
    lab.start_daemon();
    lab.wait_runs("web", 2);
    lab.touch("hang");
    lab.wait_until("the check to hang", |lab| lab.file("hangs").exists());
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_drain_does_not_wait_for_the_next_check() {
    let web = Service::new("web", WEB).with("check_interval", "3600").with("drain_file", "{lab}/drain-web");
    let mut lab = Lab::advertising([web]);
    lab.start_daemon();
    lab.wait_until("its first and only check", |lab| lab.runs("web") == 1);
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    assert_eq!(lab.runs("web"), 1, "no check was needed");
}

#[test]
fn a_time_in_the_file_ends_the_drain() {
    let lab = running();
    let output = run_cli_ok(&lab, &["--drain", "web", "--for", "5s"]);
    assert!(output.contains("web is drained: 10.52.12.1/32 withdrawn, and BIRD took it"), "{output}");
    assert!(output.contains(" is written, until 2"), "{output}");
    lab.wait_withdrawn(WEB);
    lab.wait_advertised(WEB);
    assert!(lab.file("drain-web").exists(), "an expired drain file is kept");
}

#[test]
fn commands_drain_a_service_and_the_host_and_report_the_result() {
    let lab = running();
    let output = run_cli_ok(&lab, &["--drain", "web"]);
    assert!(output.contains("web is drained: 10.52.12.1/32 withdrawn, and BIRD took it"), "{output}");
    lab.wait_withdrawn(WEB);
    let output = run_cli_ok(&lab, &["--drain-host"]);
    assert!(output.contains("dns is drained") && output.contains("web is drained"), "{output}");
    lab.wait_withdrawn(DNS);
    let output = run_cli_ok(&lab, &["--undrain", "web"]);
    assert!(output.contains("web is still drained, by"), "{output}");
    let output = run_cli_ok(&lab, &["--undrain-host"]);
    assert!(output.contains("web is not drained") && output.contains("dns is not drained"), "{output}");
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
    let output = run_cli_ok(&lab, &["--undrain", "web"]);
    assert!(output.ends_with("\nweb is not drained; nothing to do\n"), "{output}");
    let output = run_cli_ok(&lab, &["--undrain-host"]);
    assert!(output.ends_with("\nthe host is not drained; nothing to do\n"), "{output}");
    let (code, output) = lab.run_cli(&["--drain", "none"]);
    assert_eq!((code, &*output), (Some(1), "there is no service none in the configuration\n"));
}

#[test]
fn a_drain_that_bird_does_not_take_is_reported() {
    let lab = running();
    let good = fs::read_to_string(lab.file("host.conf")).unwrap();
    fs::write(lab.file("host.conf"), format!("{good}\nprotocol nonsense {{\n")).unwrap();
    let (code, output) = lab.run_cli(&["--drain", "web"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("BIRD has not taken the prefix file without 10.52.12.1/32: "), "{output}");
    fs::write(lab.file("host.conf"), good).unwrap();
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_drain_survives_restarts_and_can_begin_without_a_daemon() {
    let mut lab = running();
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    lab.stop_daemon();
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_runs("dns", 5);
    assert_eq!(lab.listed().unwrap().into_iter().collect::<Vec<_>>(), [DNS]);
    lab.routes.expect_none_moved(mark);
    lab.stop_daemon();
    let output = run_cli_ok(&lab, &["--undrain", "web"]);
    assert!(output.contains("no daemon runs"), "{output}");
    let output = run_cli_ok(&lab, &["--drain", "dns"]);
    assert!(output.contains("no daemon runs: it drains from the daemon's next start on"), "{output}");
    let runs = lab.runs("dns");
    lab.start_daemon();
    lab.wait_withdrawn(DNS);
    lab.wait_advertised(WEB);
    assert_eq!(lab.runs("dns"), runs, "a drained service is not checked at the start");
}

#[test]
fn a_drain_wins_over_on_disabled() {
    let off = Service::new("off", OFF).with("check_disabled", "true").with("on_disabled", "advertise");
    let mut lab = Lab::new([off.with("drain_file", "{lab}/drain-off"), Service::new("web", WEB)]);
    lab.touch("drain-off");
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_runs("web", 5);
    assert!(!lab.routes.has(OFF));
    lab.remove("drain-off");
    lab.wait_advertised(OFF);
    lab.touch("drain-off");
    lab.wait_withdrawn(OFF);
}

#[test]
fn a_reload_keeps_a_drain_and_can_add_and_remove_drain_files() {
    let mut lab = running();
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    let mark = lab.routes.mark();
    // The reload starts a new check, which has to wait for the end of the drain like the old one.
    let file = lab.file("services.d/web.conf");
    let section = fs::read_to_string(&file).unwrap();
    fs::write(&file, section.replace("check_interval = 0.2", "check_interval = 0.1")).unwrap();
    let host = lab.file("another-host").display().to_string();
    lab.option("drain_file", &host);
    lab.write_options();
    let reloads = |lab: &Lab| lab.log("daemon.log").matches("the configuration is reloaded").count();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload", |lab| reloads(lab) == 1);
    expect_no_checks(&lab, "web", "dns");
    lab.routes.expect_none_moved(mark);
    lab.touch("another-host");
    lab.wait_withdrawn(DNS);
    // The files exist, but no option names them.
    fs::write(&file, section.replace("drain_file", "# drain_file")).unwrap();
    let options = fs::read_to_string(lab.file("daemon.conf")).unwrap();
    fs::write(lab.file("daemon.conf"), options.replace("drain_file", "# drain_file")).unwrap();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the second reload", |lab| reloads(lab) == 2);
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
}
