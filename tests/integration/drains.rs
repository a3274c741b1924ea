//! Services that their operator takes out: by a file, by the command that writes it, one by one or all at once.

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const DNS: &str = "fd12:aba6:57db:ffff::1/128";
const OFF: &str = "10.52.12.3/32";

/// `web` and `dns` with a drain file each, both advertised; the host has one, too.
fn lab() -> Lab {
    let service = |name, prefix| Service::new(name, prefix).with("drain_file", &format!("{{lab}}/drain-{name}"));
    let mut lab = Lab::advertising([service("web", WEB), service("dns", DNS)]);
    let host = lab.file("drain-host").display().to_string();
    lab.option("drain_file", &host);
    lab
}

/// The same with the daemon running.
fn running() -> Lab {
    let mut lab = lab();
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab
}

/// What a command of the operator's does, which must go well.
fn operate(lab: &Lab, arguments: &[&str]) -> String {
    let (code, said) = lab.operate(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    said
}

/// Nothing is run for the service while the other one's check runs on.
fn rests(lab: &Lab, service: &str, other: &str) {
    // A run may have been under way.
    lab.wait_runs(other, 5);
    let runs = lab.runs(service);
    lab.wait_runs(other, 10);
    assert_eq!(lab.runs(service), runs, "{service} is checked while it is drained");
}

#[test]
fn a_file_takes_a_service_out_and_its_end_brings_it_back() {
    let lab = running();
    let mark = lab.routes.mark();
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    rests(&lab, "web", "dns");
    lab.routes.expect_still(DNS, mark);
    let (_, status) = lab.operate(&["--status"]);
    assert!(
        status.contains("1 of 1 services up, 1 drained, BIRD in sync") && status.contains("drained by"),
        "{status}"
    );
    lab.remove("drain-web");
    lab.wait_advertised(WEB);
    lab.routes.expect_still(DNS, mark);
}

#[test]
fn a_drained_service_that_died_meanwhile_stays_out() {
    let lab = running();
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    lab.kill("web");
    let mark = lab.routes.mark();
    lab.remove("drain-web");
    lab.wait_runs("web", 5);
    lab.routes.expect_still(WEB, mark);
    lab.revive("web");
    lab.wait_advertised(WEB);
}

#[test]
fn a_check_that_hangs_does_not_hold_up_a_drain() {
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
fn a_drain_is_noticed_however_rarely_the_service_is_checked() {
    let web = Service::new("web", WEB).with("check_interval", "3600").with("drain_file", "{lab}/drain-web");
    let mut lab = Lab::advertising([web]);
    lab.start_daemon();
    lab.wait_until("its first and only check", |lab| lab.runs("web") == 1);
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    assert_eq!(lab.runs("web"), 1, "no check had a part in it");
}

#[test]
fn a_time_in_the_file_ends_the_drain() {
    let lab = running();
    let said = operate(&lab, &["--drain", "web", "--for", "5s"]);
    assert!(said.contains("web is drained: 10.52.12.1/32 withdrawn, and BIRD took it"), "{said}");
    assert!(said.contains(" is written, until 2"), "{said}");
    lab.wait_withdrawn(WEB);
    lab.wait_advertised(WEB);
    assert!(lab.file("drain-web").exists(), "it stays, and means nothing any more");
}

#[test]
fn commands_drain_a_service_and_the_host_and_say_what_happened() {
    let lab = running();
    let said = operate(&lab, &["--drain", "web"]);
    assert!(said.contains("web is drained: 10.52.12.1/32 withdrawn, and BIRD took it"), "{said}");
    lab.wait_withdrawn(WEB);
    let said = operate(&lab, &["--drain-host"]);
    assert!(said.contains("dns is drained") && said.contains("web is drained"), "{said}");
    lab.wait_withdrawn(DNS);
    let said = operate(&lab, &["--undrain", "web"]);
    assert!(said.contains("web is still drained, by"), "{said}");
    let said = operate(&lab, &["--undrain-host"]);
    assert!(said.contains("web is not drained") && said.contains("dns is not drained"), "{said}");
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
    let said = operate(&lab, &["--undrain", "web"]);
    assert!(said.ends_with("\nweb is not drained; nothing to do\n"), "{said}");
    let said = operate(&lab, &["--undrain-host"]);
    assert!(said.ends_with("\nthe host is not drained; nothing to do\n"), "{said}");
    let (code, said) = lab.operate(&["--drain", "none"]);
    assert_eq!((code, &*said), (Some(1), "there is no service none in the configuration\n"));
}

#[test]
fn what_bird_does_not_take_is_said() {
    let lab = running();
    let good = fs::read_to_string(lab.file("host.conf")).unwrap();
    fs::write(lab.file("host.conf"), format!("{good}\nprotocol nonsense {{\n")).unwrap();
    let (code, said) = lab.operate(&["--drain", "web"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("BIRD has not taken the prefix file without 10.52.12.1/32: "), "{said}");
    fs::write(lab.file("host.conf"), good).unwrap();
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_drain_survives_restarts_and_may_begin_while_no_daemon_runs() {
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
    let said = operate(&lab, &["--undrain", "web"]);
    assert!(said.contains("no daemon runs"), "{said}");
    let said = operate(&lab, &["--drain", "dns"]);
    assert!(said.contains("no daemon runs: it drains from the daemon's next start on"), "{said}");
    let runs = lab.runs("dns");
    lab.start_daemon();
    lab.wait_withdrawn(DNS);
    lab.wait_advertised(WEB);
    assert_eq!(lab.runs("dns"), runs, "it is not checked even once");
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
fn a_reload_keeps_a_drain_and_brings_and_takes_away_drain_files() {
    let mut lab = running();
    lab.touch("drain-web");
    lab.wait_withdrawn(WEB);
    let mark = lab.routes.mark();
    // The check is another one now, and has to wait for the end of the drain as the old one had.
    let file = lab.file("services.d/web.conf");
    let section = fs::read_to_string(&file).unwrap();
    fs::write(&file, section.replace("check_interval = 0.2", "check_interval = 0.1")).unwrap();
    let host = lab.file("another-host").display().to_string();
    lab.option("drain_file", &host);
    lab.write_options();
    let reloads = |lab: &Lab| lab.log("daemon.log").matches("the configuration is reloaded").count();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload", |lab| reloads(lab) == 1);
    rests(&lab, "web", "dns");
    lab.routes.expect_none_moved(mark);
    lab.touch("another-host");
    lab.wait_withdrawn(DNS);
    // The files are there, and nobody names them any more.
    fs::write(&file, section.replace("drain_file", "# drain_file")).unwrap();
    let options = fs::read_to_string(lab.file("daemon.conf")).unwrap();
    fs::write(lab.file("daemon.conf"), options.replace("drain_file", "# drain_file")).unwrap();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the second reload", |lab| reloads(lab) == 2);
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
}
