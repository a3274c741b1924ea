//! A custom command owes BIRD what it was started for until it has succeeded; where it cannot be run, the family's
//! command tells BIRD instead.

use crate::lab::service::Service;
use crate::lab::Lab;

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";

fn with_custom_command(name: &'static str, prefix: &'static str) -> Service {
    Service::new(name, prefix).with("custom_bird_reconfigure_cmd", "{lab}/custom")
}

/// One service, advertised. Its custom command is the only way to BIRD; it fails while there is a file `broken`, and
/// hangs while there is a file `hangs`.
fn lab_with_custom_commands_only() -> Lab {
    let mut lab = Lab::new([with_custom_command("a", A)]);
    lab.leave_bird_to_custom_commands();
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

/// The service dies and its command cannot tell BIRD while there is this file.
fn dies_untold(lab: &Lab, file: &str) {
    let runs = |lab: &Lab| lab.log("custom.log").matches("down").count();
    let before = runs(lab);
    lab.touch(file);
    lab.kill("a");
    lab.wait_listed(&[]);
    lab.wait_until("the custom command to be run", |lab| runs(lab) > before);
    assert!(lab.routes.has(A));
}

/// Expects that the status does not claim what BIRD has not done.
#[track_caller]
fn expect_not_in_sync(lab: &Lab) {
    let (code, said) = lab.operate(&["--status"]);
    assert_ne!(code, Some(0), "{said}");
    assert!(!said.contains("BIRD in sync"), "{said}");
}

#[test]
fn a_custom_command_that_failed_before_a_restart_is_run_again_until_it_succeeded() {
    let mut lab = lab_with_custom_commands_only();
    dies_untold(&lab, "broken");
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
fn a_custom_command_that_works_again_after_a_restart_is_run_for_what_it_failed_to_tell() {
    let mut lab = lab_with_custom_commands_only();
    dies_untold(&lab, "broken");
    lab.stop_daemon();
    lab.remove("broken");
    lab.start_daemon();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
    lab.revive("a");
    lab.wait_advertised(A);
}

#[test]
fn a_custom_command_that_was_under_way_at_a_restart_is_run_again() {
    let mut lab = lab_with_custom_commands_only();
    dies_untold(&lab, "hangs");
    lab.stop_daemon();
    lab.remove("hangs");
    lab.start_daemon();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
}

#[test]
fn withdraw_all_withdraws_what_a_failed_custom_command_left_advertised() {
    let mut lab = lab_with_custom_commands_only();
    dies_untold(&lab, "broken");
    lab.stop_daemon();
    lab.remove("broken");
    let (code, said) = lab.operate(&["--withdraw-all"]);
    assert_eq!(code, Some(0), "{said}");
    lab.wait_withdrawn(A);
}

#[test]
fn withdraw_all_says_so_where_the_custom_command_fails() {
    let mut lab = lab_with_custom_commands_only();
    lab.stop_daemon();
    lab.touch("broken");
    let (code, said) = lab.operate(&["--withdraw-all"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(lab.routes.has(A));
}

#[test]
fn a_service_that_died_with_its_list_lost_while_the_daemon_was_down_is_withdrawn_by_its_custom_command() {
    let mut lab = lab_with_custom_commands_only();
    lab.stop_daemon();
    lab.kill("a");
    lab.remove("anycast-prefixes.conf");
    lab.start_daemon();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
}

/// Two services, both advertised; `a` has a custom command, the family has a good one.
fn lab_with_both() -> Lab {
    let mut lab = Lab::new([with_custom_command("a", A), Service::new("b", B)]);
    lab.executable("custom", "exec $BIRDC");
    lab.start_daemon();
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    lab
}

#[test]
fn the_route_of_a_service_that_is_uninstalled_with_its_custom_command_leaves() {
    let lab = lab_with_both();
    let mark = lab.routes.mark();
    lab.remove("custom");
    lab.undefine("a");
    lab.reload();
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
    lab.routes.expect_still(B, mark);
    lab.kill("b");
    lab.wait_withdrawn(B);
    // Nothing is left that is tried again and again.
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
    lab.routes.expect_still(B, mark);
}
