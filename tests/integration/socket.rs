//! BIRD's control socket: the daemon queries BIRD's list over it, and corrects it.

use std::fs;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const OTHER: &str = "10.52.12.2/32";
const WEB6: &str = "2001:db8:52::1/128";

/// Three advertised services. The reconfigure command creates the file `ran`.
fn lab_with(prepare: impl FnOnce(&mut Lab)) -> Lab {
    let mut lab =
        Lab::advertising([Service::new("web", WEB), Service::new("other", OTHER), Service::new("web6", WEB6)]);
    lab.reconfigure_script(": > ran; $BIRDC");
    let socket = lab.file("host.ctl").display().to_string();
    lab.option("bird_control_socket", &socket);
    lab.option("bird6_control_socket", &socket);
    prepare(&mut lab);
    lab
}

/// Waits until the log contains this text so many times.
fn wait_logged(lab: &Lab, text: &str, times: usize) {
    lab.wait_until(&format!("{text:?} in the log"), |lab| lab.log("daemon.log").matches(text).count() >= times);
}

#[test]
fn over_the_socket_bird_is_reconfigured_only_for_changes() {
    let mut lab = lab_with(|_| ());
    let before = lab.reconfigured();
    lab.start_daemon();
    wait_logged(&lab, "BIRD holds the list already, it is not reconfigured", 1);
    wait_logged(&lab, " was reached over ", 1);
    for service in ["web", "other", "web6"] {
        lab.wait_runs(service, 3);
    }
    assert_eq!(lab.reconfigured(), before, "BIRD was reconfigured without a change");
    let mark = lab.routes.mark();
    for (service, prefix) in [("web", WEB), ("web6", WEB6)] {
        lab.kill(service);
        lab.wait_withdrawn(prefix);
        lab.revive(service);
        lab.wait_advertised(prefix);
    }
    lab.routes.expect_unmoved(OTHER, mark);
    assert!(!lab.file("ran").exists(), "the command was run");
    lab.stop_daemon();
}

#[test]
fn a_list_that_bird_has_not_read_is_sent_at_the_start() {
    let mut lab = lab_with(|_| ());
    // BIRD still uses the previous list.
    lab.write_list(&[OTHER, WEB6]);
    lab.kill("web");
    assert!(lab.routes.has(WEB));
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_restarted_bird_is_reached_again() {
    let mut lab = lab_with(|_| ());
    lab.start_daemon();
    wait_logged(&lab, " was reached over ", 1);
    lab.stop_bird();
    lab.kill("web");
    wait_logged(&lab, "reconfiguring BIRD failed", 1);
    lab.start_bird();
    wait_logged(&lab, " was reached over ", 2);
    lab.wait_advertised(OTHER);
    assert!(!lab.routes.has(WEB));
}

/// Takes a minute, because BIRD is queried once a minute.
#[test]
fn a_bird_that_was_started_with_an_old_list_is_corrected() {
    let mut lab = lab_with(|_| ());
    lab.start_daemon();
    wait_logged(&lab, "BIRD holds the list already, it is not reconfigured", 1);
    // BIRD starts with an old list from a backup, and its configuration is then corrected.
    let good = fs::read_to_string(lab.file("host.conf")).unwrap();
    fs::write(lab.file("old.conf"), "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32 ];\n").unwrap();
    fs::write(lab.file("host.conf"), good.replace("\"anycast-prefixes.conf\"", "\"old.conf\"")).unwrap();
    lab.stop_bird();
    lab.start_bird();
    fs::write(lab.file("host.conf"), good).unwrap();
    lab.wait_advertised(WEB6);
    assert!(!lab.routes.has(WEB) && !lab.routes.has(OTHER));
    wait_logged(&lab, &format!("BIRD does not list {WEB}"), 1);
    lab.wait_advertised(WEB);
    lab.wait_advertised(OTHER);
}

#[test]
fn without_a_dummy_the_last_prefix_leaves_an_empty_list() {
    let mut lab = lab_with(|lab| lab.option("dummy_ip_prefix", ""));
    lab.start_daemon();
    lab.kill("web");
    lab.kill("other");
    lab.wait_withdrawn(WEB);
    lab.wait_withdrawn(OTHER);
    let list = |lab: &Lab| fs::read_to_string(lab.list_path(0)).unwrap_or_default();
    lab.wait_until("the list to be empty", |lab| list(lab).ends_with("[ ];\n"));
    wait_logged(&lab, "reconfigured BIRD daemon", 1);
    lab.revive("web");
    lab.wait_advertised(WEB);
    assert!(lab.routes.has(WEB6));
}
