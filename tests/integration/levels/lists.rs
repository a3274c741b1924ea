//! The file that `bird_conf` names now is the one that counts, and what was lost is not guessed.

use std::fs;
use std::path::Path;

use crate::lab::service::Service;
use crate::lab::Lab;

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";
const C: &str = "10.52.12.3/32";
const C6: &str = "2001:db8:52::1/128";

/// Two services, both advertised, the IPv4 list behind a symbolic link to `real/list`.
fn lab_with_link() -> Lab {
    let mut lab = Lab::new([Service::new("a", A), Service::new("b", B)]);
    lab.link_list(0, "real/list");
    lab.start_daemon();
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    lab.wait_bird_left_alone();
    lab
}

#[test]
fn a_link_to_the_list_that_is_replaced_by_a_regular_file_is_followed_no_more() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    // As `sed -i` and configuration management do.
    fs::copy(lab.list_path(0), lab.file("copy")).unwrap();
    fs::rename(lab.file("copy"), lab.list_path(0)).unwrap();
    let left = lab.log("real/list");
    lab.kill("b");
    lab.wait_withdrawn(B);
    lab.wait_listed(&[A]);
    assert!(!lab.list_path(0).is_symlink());
    assert_eq!(lab.log("real/list"), left, "the file that is no longer named is left alone");
    lab.wait_in_sync();
    lab.revive("b");
    lab.wait_advertised(B);
    lab.routes.expect_still(A, mark);
}

#[test]
fn a_link_to_the_list_that_is_replaced_by_an_old_copy_of_it_is_mended() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    let old = lab.log("real/list").lines().filter(|line| !line.contains("10.52.12.")).collect::<Vec<_>>().join("\n");
    fs::write(lab.file("copy"), old.replace("10.189.200.255/32,", "10.189.200.255/32")).unwrap();
    fs::rename(lab.file("copy"), lab.list_path(0)).unwrap();
    lab.wait_listed(&[A, B]);
    lab.wait_in_sync();
    lab.routes.expect_none_moved(mark);
}

/// The link leads to another file from now on.
fn point_elsewhere(lab: &Lab, target: &Path) {
    std::os::unix::fs::symlink(target, lab.file("link")).unwrap();
    fs::rename(lab.file("link"), lab.list_path(0)).unwrap();
}

#[test]
fn a_link_to_the_list_that_points_elsewhere_has_the_file_there_written() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    fs::create_dir(lab.file("other")).unwrap();
    fs::copy(lab.file("real/list"), lab.file("other/list")).unwrap();
    point_elsewhere(&lab, &lab.file("other/list"));
    let left = lab.log("real/list");
    lab.kill("b");
    lab.wait_withdrawn(B);
    lab.wait_listed(&[A]);
    assert!(lab.list_path(0).is_symlink(), "the link is left");
    assert_eq!(lab.log("real/list"), left, "the file that is no longer named is left alone");
    lab.wait_in_sync();
    // And the file there is watched like the one before it.
    fs::write(lab.file("other/list"), "").unwrap();
    lab.wait_listed(&[A]);
    lab.routes.expect_still(A, mark);
}

#[test]
fn a_link_to_the_list_that_points_to_an_old_list_has_that_mended() {
    let lab = lab_with_link();
    let mark = lab.routes.mark();
    fs::create_dir(lab.file("other")).unwrap();
    fs::write(lab.file("other/list"), "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32 ];\n").unwrap();
    point_elsewhere(&lab, &lab.file("other/list"));
    lab.wait_listed(&[A, B]);
    assert!(lab.list_path(0).is_symlink(), "the link is left");
    lab.wait_in_sync();
    lab.routes.expect_none_moved(mark);
}

/// A list that keeps a history is emptied while the daemon is down. `a` and `b` are up, `c` is dead.
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
fn a_history_from_before_a_service_came_up_does_not_withdraw_it() {
    no_route_moves_though_the_list_was_emptied(|_| ());
}

#[test]
fn a_history_from_before_a_service_died_does_not_bring_it_back() {
    no_route_moves_though_the_list_was_emptied(|lab| {
        lab.revive("c");
        lab.wait_advertised(C);
        lab.kill("c");
        lab.wait_withdrawn(C);
    });
}

/// Takes more than a minute: so often BIRD is asked.
#[test]
fn a_family_in_sync_is_verified_each_minute_while_the_other_one_cannot_be_written() {
    let mut lab = Lab::new([Service::new("a", A), Service::new("b", B), Service::new("c", C6)]);
    lab.use_control_socket();
    lab.start_daemon();
    [A, B, C6].iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.set_read_only("6", true);
    lab.kill("c");
    lab.wait_runs("c", 3);
    lab.kill("b");
    lab.wait_withdrawn(B);
    lab.wait_until("the status to tell the families apart", |lab| {
        let document = lab.status_document();
        let in_sync = |family: usize| document["families"][family]["in_sync"].as_bool();
        (in_sync(0), in_sync(1)) == (Some(true), Some(false))
    });
    let mark = lab.routes.mark();
    lab.birdc(&["configure", "undo"]);
    lab.wait_advertised(B);
    // The first half of that minute, so that what is left of it is not too long to wait for.
    lab.wait_runs("a", 150);
    lab.wait_withdrawn(B);
    lab.routes.expect_still(A, mark);
    assert!(lab.routes.has(C6));
    lab.set_read_only("6", false);
    lab.wait_withdrawn(C6);
    lab.wait_in_sync();
}

/// A service whose checks hang while there is a file `hangs`: a daemon that starts then has no verdict of it.
fn hangs(name: &'static str, prefix: &'static str) -> Service {
    let check = "test -e hangs && exec sleep 1009; test -e $ALIVE";
    Service::new(name, prefix)
        .with("check_timeout", "900")
        .with("check_interval", "10")
        .with("check_rise", "2")
        .check(check)
}

/// The daemon was stopped, with `a` and `b` advertised; the next check of `b` hangs. Nothing is left of the IPv4 list.
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
fn the_first_start_on_a_host_without_any_list_holds_nothing() {
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
    assert_eq!(lab.runs("b"), 1, "nothing is known of b");
}

#[test]
fn a_lost_list_is_held_until_the_first_verdicts_or_for_a_bounded_time_and_the_status_says_so() {
    let mut lab = lab_with_lost_list(|_| ());
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_until("the status to say what is waited for", |lab| {
        let status = lab.status();
        assert!(!status.contains("did not take"), "{status}");
        status.contains("held until") && status.contains("first verdict of b")
    });
    // The routes of both are there as long as it is held.
    lab.wait_runs("a", 5);
    lab.routes.expect_none_moved(mark);
    lab.kill("a");
    lab.wait_withdrawn(A);
    assert_eq!(lab.processes("sleep 1009").len(), 1, "b has had no verdict");
}

#[test]
fn a_lost_list_is_asked_of_bird_over_its_socket_and_nothing_is_held() {
    let mut lab = lab_with_lost_list(Lab::use_control_socket);
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_listed(&[A, B]);
    lab.kill("a");
    lab.wait_withdrawn(A);
    lab.wait_listed(&[B]);
    lab.routes.expect_still(B, mark);
    assert_eq!(lab.processes("sleep 1009").len(), 1, "b has had no verdict");
    let status = lab.status();
    assert!(!status.contains("held"), "{status}");
}
