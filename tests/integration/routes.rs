//! Routes follow the states of the services, and nothing else.

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB4: &str = "10.52.12.1/32";
const WEB6: &str = "2001:db8:52::1/128";

fn web4() -> Service {
    Service::new("web4", WEB4)
}

fn web6() -> Service {
    Service::new("web6", WEB6)
}

/// A service dies and returns. Its route follows, and the other one does not move.
fn dies_and_returns(lab: &Lab, service: &str, prefix: &str, other: &str) {
    let mark = lab.routes.mark();
    lab.kill(service);
    lab.wait_withdrawn(prefix);
    lab.revive(service);
    lab.wait_advertised(prefix);
    lab.routes.expect_unmoved(other, mark);
}

#[test]
fn routes_of_both_families_follow_their_services() {
    let mut lab = Lab::new([web4(), web6()]);
    lab.start_daemon();
    lab.wait_advertised(WEB4);
    lab.wait_advertised(WEB6);
    lab.wait_listed(&[WEB4, WEB6]);
    dies_and_returns(&lab, "web4", WEB4, WEB6);
    dies_and_returns(&lab, "web6", WEB6, WEB4);
    lab.kill("web4");
    lab.kill("web6");
    lab.wait_listed(&[]);
    lab.wait_withdrawn(WEB4);
    lab.wait_withdrawn(WEB6);
}

#[test]
fn missing_lists_are_written_and_routes_appear_once_bird_runs() {
    let mut lab = Lab::new([web4(), web6(), Service::new("dead", "10.52.12.2/32")]);
    lab.kill("dead");
    lab.stop_bird();
    lab.remove("anycast-prefixes.conf");
    lab.remove("6/anycast-prefixes.conf");
    lab.start_daemon();
    lab.wait_until("both lists to be there", |lab| lab.listed().is_some());
    lab.start_bird();
    lab.wait_advertised(WEB4);
    lab.wait_advertised(WEB6);
    lab.wait_listed(&[WEB4, WEB6]);
}

#[test]
fn a_start_with_lists_and_a_restart_move_no_route() {
    let slow = |service: Service| service.with("check_rise", "3").with("check_fail", "3");
    let mut lab = Lab::advertising([slow(web4()), slow(web6())]);
    let mark = lab.routes.mark();
    for _ in 0..2 {
        lab.start_daemon();
        lab.wait_runs("web4", 5);
        lab.stop_daemon();
    }
    lab.wait_listed(&[WEB4, WEB6]);
    lab.routes.expect_none_moved(mark);
}

#[test]
fn changes_below_the_thresholds_move_no_route() {
    let three = |service: Service| service.with("check_rise", "3").with("check_fail", "3");
    let up = [0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 0];
    let down = [1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1];
    let mut lab = Lab::new([three(web4().results(&up)), three(web6().results(&down))]);
    lab.advertise(&[WEB4]);
    let mark = lab.routes.mark();
    lab.start_daemon();
    for service in ["web4", "web6"] {
        lab.wait_until("all results", |lab| lab.runs(service) > up.len() + 3);
    }
    lab.routes.expect_none_moved(mark);
    lab.wait_listed(&[WEB4]);
}

#[test]
fn the_state_changes_with_the_check_that_reaches_the_threshold() {
    // Up with the third result, down with the sixth.
    let results = [0, 0, 0, 1, 1, 1];
    let mut lab = Lab::new([web4().with("check_rise", "3").with("check_fail", "3").results(&results)]);
    lab.start_daemon();
    lab.wait_advertised(WEB4);
    assert!(lab.runs("web4") >= 3);
    lab.wait_withdrawn(WEB4);
    assert!(lab.runs("web4") >= 6);
}

#[test]
fn a_disabled_service_is_withdrawn_or_advertised_as_configured_and_not_checked() {
    let disabled = |service: Service, what| service.with("check_disabled", "true").with("on_disabled", what);
    let mut lab = Lab::new([
        disabled(web4(), "withdraw"),
        disabled(web6(), "advertise"),
        disabled(Service::new("other4", "10.52.12.2/32"), "advertise"),
    ]);
    lab.kill("other4");
    lab.advertise(&[WEB4]);
    lab.start_daemon();
    lab.wait_withdrawn(WEB4);
    lab.wait_advertised(WEB6);
    lab.wait_advertised("10.52.12.2/32");
    lab.wait_listed(&["10.52.12.2/32", WEB6]);
    for service in ["web4", "web6", "other4"] {
        assert_eq!(lab.runs(service), 0, "{service} was checked");
    }
}

#[test]
fn a_prefix_of_no_service_leaves_with_the_first_verdict() {
    let mut lab = Lab::new([web4()]);
    lab.add_address("10.52.99.1/32", "lo");
    lab.advertise(&[WEB4, "10.52.99.1/32"]);
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_withdrawn("10.52.99.1/32");
    lab.routes.expect_unmoved(WEB4, mark);
    lab.wait_listed(&[WEB4]);
}

#[test]
fn a_prefix_of_no_service_stays_without_a_verdict_unless_purged() {
    let mut lab = Lab::new([web4().check("sleep 1000").with("check_timeout", "900")]);
    lab.add_address("10.52.99.1/32", "lo");
    lab.advertise(&[WEB4, "10.52.99.1/32"]);
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_until("the check to run", |lab| lab.runs("web4") == 1);
    let unmanaged = |lab: &Lab| lab.status_document()["families"][0]["unmanaged"].to_string();
    assert_eq!(unmanaged(&lab), r#"["10.52.99.1/32"]"#);
    assert!(lab.status().contains("lists 10.52.99.1/32, which no service has"), "{}", lab.status());
    // The lists were compared before the first check. The reconfigure may still be running.
    lab.stop_daemon();
    lab.routes.expect_none_moved(mark);
    lab.option("purge_ip_prefixes", "true");
    lab.start_daemon();
    lab.wait_withdrawn("10.52.99.1/32");
    lab.wait_until("no prefix without a service", |lab| unmanaged(lab) == "[]");
    lab.routes.expect_unmoved(WEB4, mark);
}

#[test]
fn a_custom_command_runs_at_each_change_and_not_at_the_start() {
    let mut lab = Lab::new([web4().with("custom_bird_reconfigure_cmd", "/bin/sh {lab}/custom"), web6()]);
    lab.script("custom", "echo $1 >> ran; $BIRDC");
    lab.advertise(&[WEB4]);
    lab.start_daemon();
    lab.wait_advertised(WEB6);
    lab.wait_runs("web4", 3);
    assert_eq!(lab.log("ran"), "", "it ran without a change");
    for (round, expected) in ["down\nup\n", "down\nup\ndown\nup\n"].iter().enumerate() {
        dies_and_returns(&lab, "web4", WEB4, WEB6);
        assert_eq!(&lab.log("ran"), expected, "round {round}");
    }
    dies_and_returns(&lab, "web6", WEB6, WEB4);
    assert_eq!(lab.log("ran").lines().count(), 4, "it ran for another service");
}
