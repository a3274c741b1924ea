//! Failures of BIRD and of the reconfigure command: host and router agree again without help.

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const OTHER: &str = "10.52.12.2/32";

/// Two services that are advertised, and a running daemon.
fn lab_with(prepare: impl FnOnce(&mut Lab)) -> Lab {
    let mut lab = Lab::new([Service::new("web", WEB), Service::new("other", OTHER)]);
    prepare(&mut lab);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(OTHER);
    lab
}

/// A service dies while its change cannot reach BIRD. Once the damage is repaired, its route leaves
/// without further action.
fn is_withdrawn_after(lab: &mut Lab, damage: impl FnOnce(&mut Lab), mend: impl FnOnce(&mut Lab)) {
    let mark = lab.routes.mark();
    damage(lab);
    lab.kill("web");
    lab.wait_listed(&[OTHER]);
    lab.wait_runs("other", 3);
    mend(lab);
    lab.wait_withdrawn(WEB);
    lab.routes.expect_unmoved(OTHER, mark);
    lab.revive("web");
    lab.wait_advertised(WEB);
}

/// The same with a reconfigure command that misbehaves while the file `broken` exists.
fn is_withdrawn_though_the_command(misbehaves: &str) {
    let script = format!("if test -e broken; then : > tried; {misbehaves}; fi; $BIRDC");
    let mut lab = lab_with(|lab| lab.reconfigure_script(&script));
    let tried = |lab: &Lab| lab.file("tried").exists();
    is_withdrawn_after(
        &mut lab,
        |lab| lab.touch("broken"),
        |lab| {
            lab.wait_until("the command to misbehave", tried);
            lab.remove("broken");
        },
    );
}

#[test]
fn a_reconfigure_command_that_fails_is_tried_again() {
    is_withdrawn_though_the_command("echo no >&2; exit 1");
}

#[test]
fn a_reconfigure_command_that_cannot_reach_bird_is_tried_again() {
    is_withdrawn_though_the_command("echo 'Unable to connect to server control socket'; exit 1");
}

#[test]
fn a_reconfigure_command_with_a_wrong_exit_status_is_tried_again() {
    is_withdrawn_though_the_command(
        "printf 'BIRD 2.0.7 ready.\\nReading configuration from /etc/bird/bird.conf\\n/etc/bird/bird.conf:3:1 syntax error\\n'; exit 0",
    );
}

#[test]
fn a_reconfigure_command_that_hangs_is_ended_and_tried_again() {
    is_withdrawn_though_the_command("sleep 1001; exit 0");
}

#[test]
fn a_frozen_bird_gets_the_change_when_it_continues() {
    let mut lab = lab_with(|_| ());
    is_withdrawn_after(&mut lab, |lab| lab.signal_bird(Signal::SIGSTOP), |lab| lab.signal_bird(Signal::SIGCONT));
}

#[test]
fn a_change_reaches_bird_once_a_broken_bird_conf_is_repaired() {
    let mut lab = lab_with(|_| ());
    let good = fs::read_to_string(lab.file("host.conf")).unwrap();
    let broken = format!("{good}\nprotocol nonsense {{\n");
    is_withdrawn_after(
        &mut lab,
        |lab| fs::write(lab.file("host.conf"), broken).unwrap(),
        |lab| fs::write(lab.file("host.conf"), good).unwrap(),
    );
}

/// Stops and starts BIRD. Afterwards only the live service is advertised, and further changes reach
/// BIRD.
fn routes_are_right_after_a_bird_restart(lab: &mut Lab) {
    lab.stop_bird();
    lab.kill("web");
    lab.wait_listed(&[OTHER]);
    lab.start_bird();
    lab.wait_advertised(OTHER);
    lab.wait_runs("other", 3);
    assert!(!lab.routes.has(WEB), "the dead service is advertised");
    lab.revive("web");
    lab.wait_advertised(WEB);
    lab.kill("other");
    lab.wait_withdrawn(OTHER);
}

#[test]
fn routes_are_right_after_a_bird_restart_with_a_command() {
    routes_are_right_after_a_bird_restart(&mut lab_with(|_| ()));
}

#[test]
fn routes_are_right_after_a_bird_restart_with_a_control_socket() {
    let mut lab = lab_with(|lab| {
        let socket = lab.file("host.ctl").display().to_string();
        for (option, value) in [
            ("bird_control_socket", socket.as_str()),
            ("bird6_control_socket", &socket),
            ("bird_reconfigure_cmd", "/bin/false"),
            ("bird6_reconfigure_cmd", "/bin/false"),
        ] {
            lab.option(option, value);
        }
    });
    routes_are_right_after_a_bird_restart(&mut lab);
    // A BIRD that runs but does not answer.
    lab.revive("other");
    lab.wait_advertised(OTHER);
    is_withdrawn_after(&mut lab, |lab| lab.signal_bird(Signal::SIGSTOP), |lab| lab.signal_bird(Signal::SIGCONT));
}

#[test]
fn a_change_that_bird_missed_before_the_daemon_was_killed_reaches_it_at_the_next_start() {
    let mut lab = lab_with(|lab| lab.reconfigure_script("test -e broken && exit 1; $BIRDC"));
    lab.touch("broken");
    lab.kill("web");
    lab.wait_listed(&[OTHER]);
    lab.signal(Signal::SIGKILL);
    assert_eq!(lab.wait_exit(), None, "the daemon was killed");
    lab.remove("broken");
    assert!(lab.routes.has(WEB));
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
}
