//! The file that `bird_conf` names now is the list, and a lost list is not guessed.

use std::fs;
use std::path::Path;

use crate::lab::service::Service;
use crate::lab::Lab;

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";
const C: &str = "10.52.12.3/32";
const C6: &str = "2001:db8:52::1/128";

/// Two advertised services. The IPv4 list is behind a symbolic link to `real/list`.
fn lab_with_link() -> Lab {
    let mut lab = Lab::new([Service::new("a", A), Service::new("b", B)]);
    lab.link_list(0, "real/list");
    lab.start_daemon();
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    lab.wait_bird_idle();
    lab
}

#[test]
fn a_regular_file_that_replaces_a_link_to_the_list_becomes_the_list() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    // Like `sed -i` and configuration management.
    fs::copy(lab.list_path(0), lab.file("copy")).unwrap();
    fs::rename(lab.file("copy"), lab.list_path(0)).unwrap();
    let unchanged = lab.log("real/list");
    lab.kill("b");
    lab.wait_withdrawn(B);
    lab.wait_listed(&[A]);
    assert!(!lab.list_path(0).is_symlink());
    assert_eq!(lab.log("real/list"), unchanged, "the former target was written");
    lab.wait_in_sync();
    lab.revive("b");
    lab.wait_advertised(B);
    lab.routes.expect_unmoved(A, mark);
}

#[test]
fn an_old_copy_that_replaces_a_link_to_the_list_is_repaired() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    let old = lab.log("real/list").lines().filter(|line| !line.contains("10.52.12.")).collect::<Vec<_>>().join("\n");
    fs::write(lab.file("copy"), old.replace("10.189.200.255/32,", "10.189.200.255/32")).unwrap();
    fs::rename(lab.file("copy"), lab.list_path(0)).unwrap();
    lab.wait_listed(&[A, B]);
    lab.wait_in_sync();
    lab.routes.expect_none_moved(mark);
}

/// Points the link to another file.
fn retarget_link(lab: &Lab, target: &Path) {
    std::os::unix::fs::symlink(target, lab.file("link")).unwrap();
    fs::rename(lab.file("link"), lab.list_path(0)).unwrap();
}

#[test]
fn a_link_to_the_list_with_a_new_target_has_that_file_written() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    fs::create_dir(lab.file("other")).unwrap();
    fs::copy(lab.file("real/list"), lab.file("other/list")).unwrap();
    retarget_link(&lab, &lab.file("other/list"));
    let unchanged = lab.log("real/list");
    lab.kill("b");
    lab.wait_withdrawn(B);
    lab.wait_listed(&[A]);
    assert!(lab.list_path(0).is_symlink(), "the link was replaced");
    assert_eq!(lab.log("real/list"), unchanged, "the former target was written");
    lab.wait_in_sync();
    // The new target is watched, too.
    fs::write(lab.file("other/list"), "").unwrap();
    lab.wait_listed(&[A]);
    lab.routes.expect_unmoved(A, mark);
}

#[test]
fn a_link_to_the_list_with_an_old_list_as_new_target_has_that_list_repaired() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    fs::create_dir(lab.file("other")).unwrap();
    fs::write(lab.file("other/list"), "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32 ];\n").unwrap();
    retarget_link(&lab, &lab.file("other/list"));
    lab.wait_listed(&[A, B]);
    assert!(lab.list_path(0).is_symlink(), "the link was replaced");
    lab.wait_in_sync();
    lab.routes.expect_none_moved(mark);
}

/// Empties a list with a history while the daemon is down. `a` and `b` are up, `c` is down.
fn no_route_moves_though_the_list_was_emptied(last_change: impl FnOnce(&Lab)) {
    let slow = |name, prefix| Service::new(name, prefix).with("check_rise", "4").with("check_fail", "4");
    let mut lab = Lab::new([slow("a", A), slow("b", B), slow("c", C)]);
    lab.option("bird_keep_changes", "true");
    lab.kill("b");
    lab.start_daemon();
    lab.wait_advertised(A);
    lab.wait_advertised(C);
    lab.kill("c");
    lab.wait_withdrawn(C);
    lab.revive("b");
    lab.wait_advertised(B);
    last_change(&lab);
    lab.wait_listed(&[A, B]);
    lab.wait_in_sync();
    lab.stop_daemon();
    let mark = lab.routes.mark();
    lab.touch("anycast-prefixes.conf");
    lab.start_daemon();
    for service in ["a", "b", "c"] {
        lab.wait_runs(service, 10);
    }
    lab.wait_listed(&[A, B]);
    lab.wait_in_sync();
    lab.routes.expect_none_moved(mark);
}

#[test]
fn an_older_history_does_not_withdraw_a_service_that_came_up() {
    no_route_moves_though_the_list_was_emptied(|_| ());
}

#[test]
fn an_older_history_does_not_advertise_a_service_that_died() {
    no_route_moves_though_the_list_was_emptied(|lab| {
        lab.revive("c");
        lab.wait_advertised(C);
        lab.kill("c");
        lab.wait_withdrawn(C);
    });
}

/// Takes more than a minute, because BIRD is queried once a minute.
#[test]
fn a_family_in_sync_is_verified_each_minute_while_the_other_list_cannot_be_written() {
    let mut lab = Lab::new([Service::new("a", A), Service::new("b", B), Service::new("c", C6)]);
    lab.use_control_socket();
    lab.start_daemon();
    [A, B, C6].iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.set_read_only("6", true);
    lab.kill("c");
    lab.wait_runs("c", 3);
    lab.kill("b");
    lab.wait_withdrawn(B);
    lab.wait_until("different states of the families in the status", |lab| {
        let document = lab.status_document();
        let in_sync = |family: usize| document["families"][family]["in_sync"].as_bool();
        (in_sync(0), in_sync(1)) == (Some(true), Some(false))
    });
    let mark = lab.routes.mark();
    lab.birdc(&["configure", "undo"]);
    lab.wait_advertised(B);
    // Waits for half of the minute, so that the rest is within the timeout.
    lab.wait_runs("a", 150);
    lab.wait_withdrawn(B);
    lab.routes.expect_unmoved(A, mark);
    assert!(lab.routes.has(C6));
    lab.set_read_only("6", false);
    lab.wait_withdrawn(C6);
    lab.wait_in_sync();
}

/// A service whose checks hang while the file `hangs` exists, so that a daemon started then gets no
/// verdict.
fn hangs(name: &'static str, prefix: &'static str) -> Service {
    let check = "test -e hangs && exec sleep 1009; test -e $ALIVE";
    Service::new(name, prefix)
        .with("check_timeout", "900")
        .with("check_interval", "10")
        .with("check_rise", "2")
        .check(check)
}

/// Stops the daemon, with `a` and `b` advertised, and loses the IPv4 list. The next check of `b`
/// hangs.
fn lab_with_lost_list(prepare: impl FnOnce(&mut Lab)) -> Lab {
    let mut lab = Lab::advertising([Service::new("a", A), hangs("b", B)]);
    prepare(&mut lab);
    lab.start_daemon();
    lab.wait_runs("a", 5);
    lab.wait_listed(&[A, B]);
    lab.stop_daemon();
    lab.touch("hangs");
    lab.touch("anycast-prefixes.conf");
    lab
}

#[test]
fn the_first_start_without_lists_holds_nothing() {
    let mut lab = Lab::new([Service::new("a", A), hangs("b", B)]);
    lab.touch("hangs");
    lab.remove("anycast-prefixes.conf");
    lab.remove("6/anycast-prefixes.conf");
    lab.start_daemon();
    lab.wait_advertised(A);
    let status = lab.status();
    assert!(!status.contains("held"), "{status}");
    lab.kill("a");
    lab.wait_withdrawn(A);
    assert_eq!(lab.runs("b"), 1, "b has no verdict");
}

#[test]
fn a_lost_list_is_held_for_a_bounded_time_and_the_status_says_so() {
    let mut lab = lab_with_lost_list(|_| ());
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_until("the reason of the hold in the status", |lab| {
        let status = lab.status();
        assert!(!status.contains("did not take"), "{status}");
        status.contains("held until") && status.contains("first verdict of b")
    });
    // Both routes exist as long as the list is held.
    lab.wait_runs("a", 5);
    lab.routes.expect_none_moved(mark);
    lab.kill("a");
    lab.wait_withdrawn(A);
    assert_eq!(lab.processes("sleep 1009").len(), 1, "b has no verdict");
}

#[test]
fn a_lost_list_is_restored_from_bird_over_its_socket_and_not_held() {
    let mut lab = lab_with_lost_list(Lab::use_control_socket);
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_listed(&[A, B]);
    lab.kill("a");
    lab.wait_withdrawn(A);
    lab.wait_listed(&[B]);
    lab.routes.expect_unmoved(B, mark);
    assert_eq!(lab.processes("sleep 1009").len(), 1, "b has no verdict");
    let status = lab.status();
    assert!(!status.contains("held"), "{status}");
}
