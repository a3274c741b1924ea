//! Damaged lists are repaired, and no route of a healthy service moves.

use std::fs;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const WEB6: &str = "2001:db8:52::1/128";
const SLOW: &str = "10.52.12.2/32";

/// Ways in which people and programs have damaged lists.
const DAMAGED: [(&str, &str); 6] = [
    ("emptied", ""),
    ("edited, the service left out", "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32 ];\n"),
    (
        "with a prefix of no service",
        "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, 10.52.12.1/32, 10.66.6.6/32 ];\n",
    ),
    ("torn", "# Generated\ndefine ACAST_PS_ADVERTISE =\n    [\n        10.189.200.255/32,\n        10.5"),
    ("garbled", "\u{0}\u{1}\u{fffd}]; define = [[ ,,\r\n\u{7f}"),
    ("given another variable", "define SOMETHING_ELSE = [ 10.189.200.255/32, 10.52.12.1/32 ];\n"),
];

fn services() -> [Service; 2] {
    [Service::new("web", WEB), Service::new("web6", WEB6)]
}

#[test]
fn a_damaged_list_is_repaired_and_no_route_moves() {
    let mut lab = Lab::advertising(services());
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab.wait_bird_idle();
    let mark = lab.routes.mark();
    let damages = DAMAGED.iter().map(|(how, text)| (*how, Some(*text)));
    for (how, text) in damages.chain([("deleted", None)]) {
        eprintln!("{how}");
        let reconfigured = lab.reconfigured();
        match text {
            Some(text) => fs::write(lab.list_path(0), text).unwrap(),
            None => lab.remove("anycast-prefixes.conf"),
        }
        lab.wait_listed(&[WEB, WEB6]);
        // Otherwise BIRD could read the next damage instead of the repaired list.
        lab.wait_until("BIRD to take the repaired list", |lab| lab.reconfigured() > reconfigured);
        lab.wait_bird_idle();
    }
    lab.routes.expect_none_moved(mark);
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

/// Damages the list while the daemon is down.
fn no_route_moves_though_the_list_was(how: &str, damage: impl Fn(&Lab)) {
    eprintln!("{how}");
    let slow = services().map(|service| service.with("check_rise", "3").with("check_fail", "3"));
    let mut lab = Lab::advertising(slow);
    lab.start_daemon();
    lab.wait_runs("web", 5);
    lab.stop_daemon();
    let mark = lab.routes.mark();
    damage(&lab);
    lab.start_daemon();
    lab.wait_runs("web", 5);
    lab.wait_runs("web6", 5);
    lab.wait_listed(&[WEB, WEB6]);
    lab.routes.expect_none_moved(mark);
}

#[test]
fn a_list_emptied_while_the_daemon_was_down_moves_no_route() {
    no_route_moves_though_the_list_was("emptied", |lab| lab.touch("anycast-prefixes.conf"));
}

#[test]
fn a_list_deleted_while_the_daemon_was_down_moves_no_route() {
    no_route_moves_though_the_list_was("deleted", |lab| lab.remove("6/anycast-prefixes.conf"));
}

#[test]
fn a_list_torn_while_the_daemon_was_down_moves_no_route() {
    no_route_moves_though_the_list_was("torn", |lab| fs::write(lab.list_path(0), DAMAGED[3].1).unwrap());
}

#[test]
fn a_service_that_died_while_its_list_was_emptied_is_withdrawn() {
    let mut lab = Lab::advertising(services());
    lab.touch("anycast-prefixes.conf");
    lab.kill("web");
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
    lab.wait_listed(&[WEB6]);
    lab.routes.expect_unmoved(WEB6, mark);
}

/// Both families share a command, so that one lost list delays both.
#[test]
fn a_held_list_is_reported_until_each_service_has_a_verdict() {
    let waits = "while [ ! -e go ]; do sleep 0.05; done; test -e $ALIVE";
    let [web, web6] = services();
    let mut lab = Lab::advertising([web, web6, Service::new("slow", SLOW).check(waits)]);
    lab.option("prometheus_exporter", "true");
    lab.option("prometheus_exporter_interval", "1");
    lab.option("prometheus_collector_textfile_dir", &lab.path().display().to_string());
    lab.remove("anycast-prefixes.conf");
    lab.touch(".anycast-prefixes.conf.boot");
    let (mark, reconfigured) = (lab.routes.mark(), lab.reconfigured());
    lab.start_daemon();
    let held = "waiting for the first verdict of slow\n";
    lab.wait_until("the hold in the status", |lab| lab.run_cli(&["-s"]).1.contains(held));
    let (code, output) = lab.run_cli(&["-s"]);
    assert!(code == Some(1) && output.matches("    held until 20").count() == 2, "{code:?} {output}");
    assert!(!output.contains("did not take"), "{output}");
    let (_, json) = lab.run_cli(&["-s", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    for family in document["families"].as_array().unwrap() {
        assert_eq!(family["hold"]["waiting_for"], serde_json::json!(["slow"]), "{family}");
        assert_eq!((&family["in_sync"], &family["problem"]), (&false.into(), &serde_json::Value::Null), "{family}");
    }
    let metric = |lab: &Lab, held: u8| {
        let text = fs::read_to_string(lab.file("anycast_healthchecker.prom")).unwrap_or_default();
        let is_said =
            |family| text.contains(&format!("anycast_healthchecker_bird_held{{family=\"{family}\"}} {held}.0\n"));
        is_said("ipv4") && is_said("ipv6")
    };
    lab.wait_until("the hold in the metrics", |lab| metric(lab, 1));
    assert_eq!(lab.reconfigured(), reconfigured, "BIRD was reconfigured during the hold");
    lab.touch("go");
    lab.wait_until("the end of the hold", |lab| lab.run_cli(&["-s"]).0 == Some(0));
    assert!(!lab.run_cli(&["-s"]).1.contains("held"));
    lab.wait_until("its end in the metrics", |lab| metric(lab, 0));
    lab.wait_listed(&[WEB, WEB6, SLOW]);
    lab.routes.expect_none_moved(mark);
}

/// What an operator withdraws leaves at once.
#[test]
fn a_drain_ends_a_hold_for_its_service() {
    let waits = "while [ ! -e go ]; do sleep 0.05; done; test -e $ALIVE";
    let web = Service::new("web", WEB).with("drain_file", "{lab}/drain");
    let mut lab = Lab::advertising([web, Service::new("slow", SLOW).check(waits)]);
    let torn = fs::read_to_string(lab.list_path(0)).unwrap().replace("];", "");
    fs::write(lab.list_path(0), torn).unwrap();
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_until("the hold", |lab| lab.run_cli(&["-s"]).1.contains("waiting for the first verdict of slow\n"));
    let (code, output) = lab.run_cli(&["--drain", "web"]);
    assert!(
        code == Some(0) && output.contains("web is drained: 10.52.12.1/32 withdrawn, and BIRD took it"),
        "{output}"
    );
    lab.wait_withdrawn(WEB);
    lab.touch("go");
    lab.wait_until("the first verdict of slow", |lab| lab.run_cli(&["-s"]).0 == Some(0));
    lab.routes.expect_unmoved(SLOW, mark);
}

/// The former daemon has already withdrawn the service, so the drain is no reason to advertise a
/// guessed list.
#[test]
fn a_drain_from_before_the_start_does_not_end_a_hold() {
    let waits = "while [ ! -e go ]; do sleep 0.05; done; test -e $ALIVE";
    let web = Service::new("web", WEB).with("drain_file", "{lab}/drain");
    let mut lab = Lab::advertising([web, Service::new("slow", SLOW).check(waits)]);
    lab.touch("drain");
    lab.touch("anycast-prefixes.conf");
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_until("the slow check to run", |lab| lab.runs("slow") > 0);
    lab.wait_until("the drain in the status", |lab| lab.run_cli(&["-s"]).1.contains("drained by"));
    lab.touch("go");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_unmoved(SLOW, mark);
}

#[test]
fn the_history_keeps_the_configured_number_of_lists() {
    let mut lab = Lab::new(services());
    lab.option("bird_keep_changes", "true");
    lab.option("bird_changes_counter", "3");
    lab.start_daemon();
    lab.wait_advertised(WEB);
    for _ in 0..3 {
        lab.kill("web");
        lab.wait_withdrawn(WEB);
        lab.revive("web");
        lab.wait_advertised(WEB);
    }
    let copies: Vec<_> = fs::read_dir(lab.file("history")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(copies.len(), 3, "{copies:?}");
    for copy in copies {
        let text = fs::read_to_string(&copy).unwrap();
        assert!(text.contains("define ACAST_PS_ADVERTISE") && text.trim_end().ends_with("];"), "{copy:?}: {text}");
    }
    assert!(!lab.file("6/history").exists(), "the other family has a history");
}

#[test]
fn a_vanished_history_directory_delays_no_change() {
    let mut lab = Lab::new(services());
    lab.option("bird_keep_changes", "true");
    lab.start_daemon();
    lab.wait_advertised(WEB);
    fs::remove_dir_all(lab.file("history")).unwrap();
    lab.touch("history");
    lab.kill("web");
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_change_is_written_once_a_full_disk_under_the_list_has_space() {
    let mut lab = Lab::new(services());
    let directory = lab.file("6").display().to_string();
    // The mount is visible only in the namespaces, so the list is copied there.
    let list = lab.list_path(1).display().to_string();
    let kept = lab.file("kept").display().to_string();
    lab.on_host("cp", &[&list, &kept]);
    lab.on_host("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &directory]);
    lab.on_host("cp", &[&kept, &list]);
    lab.start_daemon();
    lab.wait_advertised(WEB6);
    lab.wait_advertised(WEB);
    let fill = "dd if=/dev/zero of=fill bs=4k 2>dd.err; test $(df --output=avail . | tail -n 1) = 0";
    lab.on_host("sh", &["-c", &format!("cd {directory}; {fill}")]);
    lab.kill("web6");
    lab.wait_runs("web6", 3);
    let mark = lab.routes.mark();
    // The other family is not affected.
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.routes.expect_unmoved(WEB6, mark);
    lab.on_host("rm", &[&format!("{directory}/fill")]);
    lab.wait_withdrawn(WEB6);
    let files = lab.on_host("ls", &["-A", &directory]);
    // The boot marker is a file if the file system has no extended attributes.
    let expected = |name: &&str| !["dd.err", ".anycast-prefixes.conf.boot"].contains(name);
    assert_eq!(files.lines().filter(expected).collect::<Vec<_>>(), ["anycast-prefixes.conf"]);
}
