//! How checks run: commands that hang, leave children or do not exist; addresses; checks on demand.

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";

fn web() -> Service {
    Service::new("web", WEB)
}

/// A service that is checked once, and then only on request.
fn rarely_checked() -> Service {
    web().with("check_interval", "3600")
}

#[test]
fn a_check_that_hangs_fails_and_is_killed_with_its_grandchildren() {
    let hangs = "test -e $ALIVE && exit 0; (sleep 1001 & sleep 1002) & sleep 1003 & sleep 1004";
    let mut lab = Lab::new([web().check(hangs).with("check_timeout", "0.5")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.wait_runs("web", 3);
    lab.revive("web");
    lab.wait_advertised(WEB);
    lab.wait_until("the processes of the checks to be gone", |lab| lab.processes("sleep").is_empty());
}

#[test]
fn a_check_that_passes_and_leaves_a_child_with_its_output_open_counts_as_passed() {
    let mut lab = Lab::new([web().check("sleep 1001 & exit 0").with("check_timeout", "600")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_runs("web", 3);
    lab.stop_daemon();
    lab.wait_until("the processes of the checks to be gone", |lab| lab.processes("sleep").is_empty());
}

#[test]
fn a_check_is_started_with_no_signal_blocked() {
    let mut lab = Lab::new([web().with("check_cmd", "/bin/cp /proc/self/status {lab}/status")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    assert!(lab.log("status").contains("SigBlk:\t0000000000000000"), "{}", lab.log("status"));
}

#[test]
fn a_check_that_passes_and_fails_in_turns_has_no_verdict_and_the_status_says_so() {
    let turns = "test -e $ALIVE-turn && rm $ALIVE-turn || { : > $ALIVE-turn; exit 3; }";
    let options = [("check_rise", "2"), ("check_fail", "2"), ("check_timeout", "0.5")];
    let service = options.iter().fold(web().check(turns), |service, (name, value)| service.with(name, value));
    let mut lab = Lab::advertising([service]);
    let mark = lab.routes.mark();
    lab.start_daemon();
    let reason = "neither have 2 checks in a row passed, nor have 2 failed";
    lab.wait_until("the reason in the status", |lab| lab.run_cli(&["--status"]).1.contains(reason));
    lab.routes.expect_unmoved(WEB, mark);
}

#[test]
fn a_check_that_does_not_exist_fails_and_other_checks_continue() {
    let other = "10.52.12.2/32";
    let mut lab = Lab::advertising([web().with("check_cmd", "/nonexistent/check --all"), Service::new("other", other)]);
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
    lab.wait_runs("other", 3);
    lab.routes.expect_unmoved(other, mark);
    assert!(lab.log("daemon.log").contains("/nonexistent/check"), "the log does not name the command");
}

#[test]
fn the_exit_code_decides_about_a_check_with_very_long_output() {
    let mut lab = Lab::new([web().check("yes 0123456789 | head -c 20000000; exit 0")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_runs("web", 2);
    assert!(lab.log("daemon.log").len() < 1_000_000, "the output went to the log");
}

#[test]
fn each_failed_check_is_logged_and_its_output_if_it_changed() {
    let check = "cat output; test -e $ALIVE || exit 3";
    let gone = "10.52.12.3/32";
    let mut lab = Lab::new([web().check(check), Service::new("gone", gone)]);
    lab.option("loglevel", "info");
    std::fs::write(lab.file("output"), "all is well").unwrap();
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(gone);
    std::fs::write(lab.file("output"), "no answer").unwrap();
    lab.kill("web");
    lab.remove_address(gone, "lo");
    lab.wait_withdrawn(WEB);
    lab.wait_withdrawn(gone);
    let lines = |lab: &Lab, text: &str| lab.log("daemon.log").matches(text).count();
    let failed = "check failed with exit code 3";
    lab.wait_until("some more failed checks", |lab| lines(lab, failed) > 4 && lines(lab, "status DOWN\n") > 2);
    lab.wait_until("some more checks of a service without address", |lab| {
        lines(lab, "status DOWN because 10.52.12.3/32 isn't assigned to lo interface.") > 2
    });
    assert_eq!(lines(&lab, "stdout from the check b'no answer'"), 1, "{}", lab.log("daemon.log"));
    std::fs::write(lab.file("output"), "wrong answer").unwrap();
    lab.wait_until("the other output", |lab| lines(lab, "stdout from the check b'wrong answer'") == 1);
    assert_eq!(lines(&lab, "status UP"), 0, "checks that pass are not logged at the info level");
}

#[test]
fn a_service_whose_address_is_removed_is_withdrawn_until_it_is_added_again() {
    let services = [("web", WEB), ("web6", "2001:db8:52::1/128")];
    let mut lab = Lab::new(services.map(|(name, prefix)| Service::new(name, prefix)));
    // The addresses are on another interface as well. Otherwise BIRD would remove the routes by
    // itself.
    services.iter().for_each(|(_, prefix)| lab.add_address(prefix, "alt"));
    lab.start_daemon();
    for (_, prefix) in services {
        lab.wait_advertised(prefix);
        lab.remove_address(prefix, "lo");
        lab.wait_withdrawn(prefix);
        lab.add_address(prefix, "lo");
        lab.wait_advertised(prefix);
    }
}

#[test]
fn a_service_on_an_interface_that_does_not_exist_is_not_advertised() {
    let other = "10.52.12.2/32";
    let mut lab = Lab::advertising([web().with("interface", "nosuch0"), Service::new("other", other)]);
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
    lab.wait_runs("other", 3);
    lab.routes.expect_unmoved(other, mark);
}

/// Like the original, which runs `ip address show dev lo:1`: no address needs to have that label.
#[test]
fn an_interface_label_stands_for_its_interface() {
    let mut lab = Lab::new([web().with("interface", "lo:1")]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.remove_address(WEB, "lo");
    lab.wait_withdrawn(WEB);
    lab.add_address(WEB, "lo");
    lab.wait_advertised(WEB);
}

#[test]
fn an_address_of_another_length_does_not_count_unless_the_address_check_is_off() {
    let unchecked = "10.52.13.0/24";
    let mut lab = Lab::new([Service::new("unchecked", unchecked).with("ip_check_disabled", "true"), web()]);
    lab.remove_address(unchecked, "lo");
    lab.remove_address(WEB, "lo");
    lab.add_address("10.52.12.1/24", "lo");
    lab.start_daemon();
    lab.wait_listed(&[unchecked]);
    lab.wait_runs("unchecked", 3);
    lab.wait_listed(&[unchecked]);
}

#[test]
fn sigurg_runs_all_checks_now() {
    let mut lab = Lab::new([rarely_checked()]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.kill("web");
    lab.signal(Signal::SIGURG);
    lab.wait_withdrawn(WEB);
    assert_eq!(lab.runs("web"), 2);
    lab.revive("web");
    lab.signal(Signal::SIGURG);
    lab.wait_advertised(WEB);
    assert_eq!(lab.runs("web"), 3);
}

#[test]
fn a_check_that_runs_when_sigurg_arrives_is_run_again() {
    // The result is read when the check starts. The check ends when the file `gate` is gone.
    let gated = "test -e $ALIVE; code=$?; while test -e gate; do sleep 0.05; done; exit $code";
    let mut lab = Lab::new([rarely_checked().check(gated).with("check_timeout", "600")]);
    lab.touch("gate");
    lab.start_daemon();
    lab.wait_until("the check to run", |lab| !lab.processes("checks/web").is_empty() && lab.runs("web") == 1);
    // The check has read the state of the service once it waits.
    lab.wait_until("the check to wait", |lab| !lab.processes("sleep").is_empty());
    lab.kill("web");
    lab.signal(Signal::SIGURG);
    lab.remove("gate");
    lab.wait_until("a second check", |lab| lab.runs("web") == 2);
    lab.wait_listed(&[]);
    lab.wait_withdrawn(WEB);
}
