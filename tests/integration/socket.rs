//! BIRD's control socket in place of a command: what BIRD holds is asked, and put right where it is wrong.

use std::fs;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const OTHER: &str = "10.52.12.2/32";
const WEB6: &str = "2001:db8:52::1/128";

/// Three services, all advertised; a reconfigure command that leaves a trace.
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

/// Waits until the daemon has said this so many times.
fn wait_said(lab: &Lab, text: &str, times: usize) {
    lab.wait_until(&format!("{text:?} in the log"), |lab| lab.log("daemon.log").matches(text).count() >= times);
}

#[test]
fn bird_is_left_alone_at_start_and_told_of_changes_without_a_command() {
    let mut lab = lab_with(|_| ());
    let before = lab.reconfigured();
    lab.start_daemon();
    wait_said(&lab, "BIRD holds the list already, it is not reconfigured", 1);
    wait_said(&lab, " was reached over ", 1);
    for service in ["web", "other", "web6"] {
        lab.wait_runs(service, 3);
    }
    assert_eq!(lab.reconfigured(), before, "nothing has changed");
    let mark = lab.routes.mark();
    for (service, prefix) in [("web", WEB), ("web6", WEB6)] {
        lab.kill(service);
        lab.wait_withdrawn(prefix);
        lab.revive(service);
        lab.wait_advertised(prefix);
    }
    lab.routes.expect_still(OTHER, mark);
    assert!(!lab.file("ran").exists(), "the command was run");
    lab.stop_daemon();
}

#[test]
fn a_list_that_bird_has_not_read_is_told_at_start() {
    let mut lab = lab_with(|_| ());
    // BIRD still runs the list of before.
    lab.write_list(&[OTHER, WEB6]);
    lab.kill("web");
    assert!(lab.routes.has(WEB));
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_bird_that_was_away_is_met_again() {
    let mut lab = lab_with(|_| ());
    lab.start_daemon();
    wait_said(&lab, " was reached over ", 1);
    lab.stop_bird();
    lab.kill("web");
    wait_said(&lab, "reconfiguring BIRD failed", 1);
    lab.start_bird();
    wait_said(&lab, " was reached over ", 2);
    lab.wait_advertised(OTHER);
    assert!(!lab.routes.has(WEB));
}

/// Takes a minute: so often BIRD is asked.
#[test]
fn a_bird_that_was_started_with_an_old_file_is_brought_in_line() {
    let mut lab = lab_with(|_| ());
    lab.start_daemon();
    wait_said(&lab, "BIRD holds the list already, it is not reconfigured", 1);
    // The list of long ago, restored with the rest of a directory, and put right again after BIRD was started.
    let good = fs::read_to_string(lab.file("host.conf")).unwrap();
    fs::write(lab.file("old.conf"), "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32 ];\n").unwrap();
    fs::write(lab.file("host.conf"), good.replace("\"anycast-prefixes.conf\"", "\"old.conf\"")).unwrap();
    lab.stop_bird();
    lab.start_bird();
    fs::write(lab.file("host.conf"), good).unwrap();
    lab.wait_advertised(WEB6);
    assert!(!lab.routes.has(WEB) && !lab.routes.has(OTHER));
    wait_said(&lab, &format!("BIRD does not list {WEB}"), 1);
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
    wait_said(&lab, "reconfigured BIRD daemon", 1);
    lab.revive("web");
    lab.wait_advertised(WEB);
    assert!(lab.routes.has(WEB6));
}
