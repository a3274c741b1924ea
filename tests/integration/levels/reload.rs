//! After a reload the state is what the new configuration and the files say, whatever was under way before it.

use std::fs;

use crate::lab::service::Service;
use crate::lab::Lab;

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";
const C: &str = "10.52.12.3/32";

/// Healthy throughout: its checks show that time passes.
fn witness() -> Service {
    Service::new("witness", C)
}

fn start(lab: &mut Lab, advertised: &[&str]) {
    lab.start_daemon();
    advertised.iter().for_each(|prefix| lab.wait_advertised(prefix));
}

#[test]
fn a_drained_service_that_gains_a_prefix_by_a_reload_loses_it_until_it_is_up_again() {
    let x = || Service::new("x", A).with("drain_file", "{lab}/drain-x");
    let mut lab = Lab::new([x(), Service::new("y", B), witness()]);
    start(&mut lab, &[A, B, C]);
    lab.touch("drain-x");
    lab.wait_withdrawn(A);
    lab.undefine("y");
    lab.define(&x().with("ip_prefix", &format!("{A}, {B}")));
    lab.reload();
    lab.wait_withdrawn(B);
    lab.wait_listed(&[C]);
    let mark = lab.routes.mark();
    lab.wait_runs("witness", 10);
    // It dies, and only then its drain ends.
    lab.kill("x");
    let runs = lab.runs("x");
    lab.remove("drain-x");
    lab.wait_until("checks after the drain", |lab| lab.runs("x") >= runs + 3);
    lab.wait_runs("witness", 5);
    lab.routes.expect_none_moved(mark);
    lab.revive("x");
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    lab.wait_in_sync();
}

#[test]
fn a_service_that_is_down_and_gains_a_prefix_by_a_reload_loses_it() {
    let mut lab = Lab::new([Service::new("x", A), Service::new("y", B), witness()]);
    start(&mut lab, &[A, B, C]);
    lab.kill("x");
    lab.wait_withdrawn(A);
    lab.undefine("y");
    lab.define(&Service::new("x", A).with("ip_prefix", &format!("{A}, {B}")));
    lab.kill("x");
    lab.reload();
    lab.wait_withdrawn(B);
    let mark = lab.routes.mark();
    lab.wait_runs("x", 3);
    lab.routes.expect_none_moved(mark);
    lab.revive("x");
    lab.wait_advertised(A);
    lab.wait_advertised(B);
}

/// A reload that comes while the drain watcher looks at the files for the old configuration.
#[cfg(target_arch = "x86_64")]
struct MeetsLook {
    /// The `drain_file` of the service before.
    before: Option<&'static str>,
    /// The drain files that exist before.
    files_before: &'static [&'static str],
    /// Its `drain_file` after the reload.
    after: Option<&'static str>,
    /// The drain files that exist from the middle of the look on.
    files_after: &'static [&'static str],
}

#[cfg(target_arch = "x86_64")]
impl MeetsLook {
    fn ends_as_the_new_configuration_and_the_files_say(&self) {
        let is_drained = |file: Option<&str>, files: &[&str]| file.is_some_and(|file| files.contains(&file));
        let drained_before = is_drained(self.before, self.files_before);
        let drained = is_drained(self.after, self.files_after);
        let x = |file: Option<&str>| match file {
            Some(file) => Service::new("x", A).with("drain_file", &format!("{{lab}}/{file}")),
            None => Service::new("x", A),
        };
        let have = |lab: &Lab, files: &[&str]| {
            for file in ["drain-old", "drain-new"] {
                match files.contains(&file) {
                    true => lab.touch(file),
                    // It may not be there.
                    false => drop(fs::remove_file(lab.file(file))),
                }
            }
        };
        // Its drains show that the watcher has ended the look.
        let looked_at = Service::new("looked-at", B).with("drain_file", "{lab}/drain-looked-at");
        let mut lab = Lab::new([x(self.before), looked_at, witness()]);
        // The first file that is opened.
        let slow = lab.file("slow");
        lab.option("drain_file", &slow.display().to_string());
        have(&lab, self.files_before);
        start(&mut lab, &[B, C]);
        for round in 0..3 {
            eprintln!("round {round}");
            lab.wait_until("the state before", |lab| lab.routes.has(A) != drained_before);
            let held = super::held_open::HeldOpen::by_drain_watcher(&lab, &slow);
            have(&lab, self.files_after);
            lab.define(&x(self.after));
            lab.reload();
            drop(held);
            for drains in [true, false] {
                match drains {
                    true => lab.touch("drain-looked-at"),
                    false => lab.remove("drain-looked-at"),
                }
                lab.wait_until("a look of the watcher", |lab| lab.routes.has(B) != drains);
            }
            lab.wait_until("the state that the files ask for", |lab| lab.routes.has(A) != drained);
            lab.wait_runs("witness", 5);
            assert_eq!(lab.routes.has(A), !drained);
            assert_eq!(lab.status_of("x")["drained"].is_null(), !drained);
            lab.define(&x(self.before));
            have(&lab, self.files_before);
            lab.reload();
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_file_that_a_reload_takes_away_during_a_look_drains_nobody() {
    MeetsLook { before: Some("drain-old"), files_before: &[], after: None, files_after: &["drain-old"] }
        .ends_as_the_new_configuration_and_the_files_say();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_ends_with_a_reload_that_takes_its_file_away_during_a_look() {
    MeetsLook { before: Some("drain-old"), files_before: &["drain-old"], after: None, files_after: &["drain-old"] }
        .ends_as_the_new_configuration_and_the_files_say();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_ends_with_a_reload_that_names_a_file_which_is_not_there_during_a_look() {
    let after = Some("drain-new");
    MeetsLook { before: Some("drain-old"), files_before: &["drain-old"], after, files_after: &["drain-old"] }
        .ends_as_the_new_configuration_and_the_files_say();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_file_that_a_reload_brings_during_a_look_drains_its_service() {
    MeetsLook { before: None, files_before: &[], after: Some("drain-new"), files_after: &["drain-new"] }
        .ends_as_the_new_configuration_and_the_files_say();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_goes_on_through_a_reload_that_moves_its_file_during_a_look() {
    let after = Some("drain-new");
    MeetsLook { before: Some("drain-old"), files_before: &["drain-old"], after, files_after: &["drain-new"] }
        .ends_as_the_new_configuration_and_the_files_say();
}

#[test]
fn a_service_renamed_by_a_reload_is_checked_at_once_whatever_splay_startup_says() {
    let mut lab = Lab::new([Service::new("a", A), witness()]);
    start(&mut lab, &[A, C]);
    lab.option("splay_startup", "3600");
    lab.reload();
    lab.undefine("a");
    lab.define(&Service::new("a2", A));
    lab.reload();
    lab.wait_runs("a2", 1);
    lab.kill("a2");
    lab.wait_withdrawn(A);
    let log = lab.log("daemon.log");
    assert!(!log.contains("delaying startup"), "the splay is for the start of the daemon only");
}

#[test]
fn the_route_of_the_last_service_without_a_custom_command_leaves_when_a_reload_removes_it() {
    let a = Service::new("a", A).with("custom_bird_reconfigure_cmd", "{lab}/custom");
    let mut lab = Lab::new([a, Service::new("b", B)]);
    lab.leave_bird_to_custom_commands();
    lab.executable("custom", "exec $BIRDC");
    // The default of bird_reconfigure_cmd begins with sudo.
    fs::create_dir(lab.file("bin")).unwrap();
    lab.executable("bin/sudo", "exec $BIRDC");
    let path = format!("export PATH={}/bin:$PATH", lab.path().display());
    lab.start_daemon_after(&path);
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    let mark = lab.routes.mark();
    lab.undefine("b");
    lab.reload();
    lab.wait_withdrawn(B);
    lab.wait_in_sync();
    lab.routes.expect_still(A, mark);
}

/// A service dies while BIRD is told in a way that looks good and tells nobody; then a reload corrects the way.
fn a_corrected_way_is_used_at_once(correct: impl FnOnce(&mut Lab)) {
    let mut lab = Lab::new([Service::new("a", A), Service::new("b", B)]);
    start(&mut lab, &[A, B]);
    lab.option("bird_reconfigure_cmd", "/bin/true");
    lab.option("bird6_reconfigure_cmd", "/bin/true");
    lab.reload();
    lab.kill("b");
    lab.wait_listed(&[A]);
    lab.wait_runs("a", 5);
    let mark = lab.routes.mark();
    assert!(lab.routes.has(B), "nobody told BIRD");
    correct(&mut lab);
    lab.reload();
    // Far less than the minute after which BIRD is asked anyway.
    lab.expect_withdrawn_before(B, "a", 75);
    lab.wait_in_sync();
    lab.routes.expect_still(A, mark);
}

#[test]
fn a_command_that_a_reload_corrects_tells_bird_at_once() {
    a_corrected_way_is_used_at_once(|lab| {
        let socket = lab.file("host.ctl");
        let command = format!("{} -s {} configure", crate::lab::bird_program("birdc"), socket.display());
        lab.option("bird_reconfigure_cmd", &command);
        lab.option("bird6_reconfigure_cmd", &command);
    });
}

#[test]
fn a_control_socket_that_takes_the_place_of_a_wrong_command_tells_bird_at_once() {
    a_corrected_way_is_used_at_once(Lab::use_control_socket);
}
