//! Custom commands: each is run until it has succeeded. If it cannot be started, the family's
//! command is run instead.

use crate::lab::service::Service;
use crate::lab::Lab;

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";

fn with_custom_command(name: &'static str, prefix: &'static str) -> Service {
    Service::new(name, prefix).with("custom_bird_reconfigure_cmd", "{lab}/custom")
}

/// One advertised service, whose custom command is the only way to reconfigure BIRD. The command
/// fails while the file `broken` exists, and hangs while the file `hangs` exists.
fn lab_with_custom_commands_only() -> Lab {
    let mut lab = Lab::new([with_custom_command("a", A)]);
    lab.use_custom_commands_only();
    lab.executable(
        "custom",
        "echo $1 >> custom.log
         test -e hangs && exec sleep 1001
         test -e broken && { echo cannot >&2; exit 1; }
         exec $BIRDC",
    );
    lab.start_daemon();
    lab.wait_advertised(A);
    lab
}

/// Kills the service. This file keeps its command from reconfiguring BIRD.
fn dies_without_a_reconfigure(lab: &Lab, file: &str) {
    let runs = |lab: &Lab| lab.log("custom.log").matches("down").count();
    let before = runs(lab);
    lab.touch(file);
    lab.kill("a");
    lab.wait_listed(&[]);
    lab.wait_until("the custom command to be run", |lab| runs(lab) > before);
    assert!(lab.routes.has(A));
}

/// Expects that the status does not report BIRD in sync.
#[track_caller]
fn expect_not_in_sync(lab: &Lab) {
    let (code, output) = lab.run_cli(&["--status"]);
    assert_ne!(code, Some(0), "{output}");
    assert!(!output.contains("BIRD in sync"), "{output}");
}

#[test]
fn a_custom_command_that_failed_before_a_restart_is_run_until_it_succeeds() {
    let mut lab = lab_with_custom_commands_only();
    dies_without_a_reconfigure(&lab, "broken");
    expect_not_in_sync(&lab);
    lab.stop_daemon();
    lab.start_daemon();
    lab.wait_runs("a", 5);
    expect_not_in_sync(&lab);
    lab.remove("broken");
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
}

#[test]
fn a_custom_command_that_failed_before_a_restart_is_run_after_it() {
    let mut lab = lab_with_custom_commands_only();
    dies_without_a_reconfigure(&lab, "broken");
    lab.stop_daemon();
    lab.remove("broken");
    lab.start_daemon();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
    lab.revive("a");
    lab.wait_advertised(A);
}

#[test]
fn a_custom_command_that_ran_at_a_restart_is_run_again() {
    let mut lab = lab_with_custom_commands_only();
    dies_without_a_reconfigure(&lab, "hangs");
    lab.stop_daemon();
    lab.remove("hangs");
    lab.start_daemon();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
}

#[test]
fn withdraw_all_withdraws_a_route_that_a_failed_custom_command_left() {
    let mut lab = lab_with_custom_commands_only();
    dies_without_a_reconfigure(&lab, "broken");
    lab.stop_daemon();
    lab.remove("broken");
    let (code, output) = lab.run_cli(&["--withdraw-all"]);
    assert_eq!(code, Some(0), "{output}");
    lab.wait_withdrawn(A);
}

#[test]
fn withdraw_all_reports_a_custom_command_that_fails() {
    let mut lab = lab_with_custom_commands_only();
    lab.stop_daemon();
    lab.touch("broken");
    let (code, output) = lab.run_cli(&["--withdraw-all"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(lab.routes.has(A));
}

#[test]
fn a_custom_command_withdraws_a_service_that_died_while_its_list_was_lost() {
    let mut lab = lab_with_custom_commands_only();
    lab.stop_daemon();
    lab.kill("a");
    lab.remove("anycast-prefixes.conf");
    lab.start_daemon();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
}

/// Two advertised services. `a` has a custom command, and the family's command works.
fn lab_with_both() -> Lab {
    let mut lab = Lab::new([with_custom_command("a", A), Service::new("b", B)]);
    lab.executable("custom", "exec $BIRDC");
    lab.start_daemon();
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    lab
}

#[test]
fn the_route_of_a_service_that_is_removed_with_its_custom_command_leaves() {
    let lab = lab_with_both();
    let mark = lab.routes.mark();
    lab.remove("custom");
    lab.remove_service("a");
    lab.reload();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
    lab.routes.expect_unmoved(B, mark);
    lab.kill("b");
    lab.wait_withdrawn(B);
    // Nothing is left to retry.
    lab.wait_in_sync();
    let tries = |lab: &Lab| lab.log("daemon.log").matches("custom command").count();
    let before = tries(&lab);
    lab.wait_runs("b", 60);
    assert_eq!(tries(&lab), before, "{}", lab.log("daemon.log"));
}

#[test]
fn the_route_of_a_service_whose_custom_command_has_vanished_leaves() {
    let lab = lab_with_both();
    let mark = lab.routes.mark();
    lab.remove("custom");
    lab.kill("a");
    lab.wait_withdrawn(A);
    lab.routes.expect_unmoved(B, mark);
}
