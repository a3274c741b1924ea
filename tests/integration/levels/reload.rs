//! After a reload, the state follows from the new configuration and the files, whatever was in
//! progress before.

use std::fs;

use crate::lab::service::Service;
use crate::lab::Lab;

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";
const C: &str = "10.52.12.3/32";

/// A healthy service, whose checks show that time passes.
fn witness() -> Service {
    Service::new("witness", C)
}

fn start(lab: &mut Lab, advertised: &[&str]) {
    lab.start_daemon();
    advertised.iter().for_each(|prefix| lab.wait_advertised(prefix));
}

#[test]
fn a_prefix_that_a_drained_service_gains_by_a_reload_is_withdrawn_until_it_is_up_again() {
    let x = || Service::new("x", A).with("drain_file", "{lab}/drain-x");
    let mut lab = Lab::new([x(), Service::new("y", B), witness()]);
    start(&mut lab, &[A, B, C]);
    lab.touch("drain-x");
    lab.wait_withdrawn(A);
    lab.remove_service("y");
    lab.add_service(&x().with("ip_prefix", &format!("{A}, {B}")));
    lab.reload();
    lab.wait_withdrawn(B);
    lab.wait_listed(&[C]);
    let mark = lab.routes.mark();
    lab.wait_runs("witness", 10);
    // The service dies before its drain ends.
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
fn a_prefix_that_a_failed_service_gains_by_a_reload_is_withdrawn() {
    let mut lab = Lab::new([Service::new("x", A), Service::new("y", B), witness()]);
    start(&mut lab, &[A, B, C]);
    lab.kill("x");
    lab.wait_withdrawn(A);
    lab.remove_service("y");
    lab.add_service(&Service::new("x", A).with("ip_prefix", &format!("{A}, {B}")));
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

/// A reload while the drain watcher reads the files for the old configuration.
#[cfg(target_arch = "x86_64")]
struct ReloadDuringScan {
    /// The service's `drain_file` before the reload.
    before: Option<&'static str>,
    /// The drain files that exist before the reload.
    files_before: &'static [&'static str],
    /// The service's `drain_file` after the reload.
    after: Option<&'static str>,
    /// The drain files that exist from the middle of the scan on.
    files_after: &'static [&'static str],
}

#[cfg(target_arch = "x86_64")]
impl ReloadDuringScan {
    fn ends_as_the_new_configuration_and_files_require(&self) {
        let is_drained = |file: Option<&str>, files: &[&str]| file.is_some_and(|file| files.contains(&file));
        let drained_before = is_drained(self.before, self.files_before);
        let drained = is_drained(self.after, self.files_after);
        let x = |file: Option<&str>| match file {
            Some(file) => Service::new("x", A).with("drain_file", &format!("{{lab}}/{file}")),
            None => Service::new("x", A),
        };
        let create_files = |lab: &Lab, files: &[&str]| {
            for file in ["drain-old", "drain-new"] {
                match files.contains(&file) {
                    true => lab.touch(file),
                    // The file may not exist.
                    false => drop(fs::remove_file(lab.file(file))),
                }
            }
        };
        // The effect of this service's drains shows that the watcher has finished its scan.
        let marker = Service::new("marker", B).with("drain_file", "{lab}/drain-marker");
        let mut lab = Lab::new([x(self.before), marker, witness()]);
        // The first file that a scan opens.
        let slow = lab.file("slow");
        lab.option("drain_file", &slow.display().to_string());
        create_files(&lab, self.files_before);
        start(&mut lab, &[B, C]);
        for round in 0..3 {
            eprintln!("round {round}");
            lab.wait_until("the state before", |lab| lab.routes.has(A) != drained_before);
            let held = super::held_open::HeldOpen::by_drain_watcher(&lab, &slow);
            create_files(&lab, self.files_after);
            lab.add_service(&x(self.after));
            lab.reload();
            drop(held);
            for drains in [true, false] {
                match drains {
                    true => lab.touch("drain-marker"),
                    false => lab.remove("drain-marker"),
                }
                lab.wait_until("a scan of the watcher", |lab| lab.routes.has(B) != drains);
            }
            lab.wait_until("the state that the files require", |lab| lab.routes.has(A) != drained);
            lab.wait_runs("witness", 5);
            assert_eq!(lab.routes.has(A), !drained);
            assert_eq!(lab.status_of("x")["drained"].is_null(), !drained);
            lab.add_service(&x(self.before));
            create_files(&lab, self.files_before);
            lab.reload();
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_file_that_a_reload_removes_during_a_scan_drains_nothing() {
    ReloadDuringScan { before: Some("drain-old"), files_before: &[], after: None, files_after: &["drain-old"] }
        .ends_as_the_new_configuration_and_files_require();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_ends_with_a_reload_that_removes_its_file_during_a_scan() {
    ReloadDuringScan {
        before: Some("drain-old"),
        files_before: &["drain-old"],
        after: None,
        files_after: &["drain-old"],
    }
    .ends_as_the_new_configuration_and_files_require();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_ends_with_a_reload_that_names_a_missing_file_during_a_scan() {
    let after = Some("drain-new");
    ReloadDuringScan { before: Some("drain-old"), files_before: &["drain-old"], after, files_after: &["drain-old"] }
        .ends_as_the_new_configuration_and_files_require();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_file_that_a_reload_adds_during_a_scan_drains_its_service() {
    ReloadDuringScan { before: None, files_before: &[], after: Some("drain-new"), files_after: &["drain-new"] }
        .ends_as_the_new_configuration_and_files_require();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_drain_continues_through_a_reload_that_moves_its_file_during_a_scan() {
    let after = Some("drain-new");
    ReloadDuringScan { before: Some("drain-old"), files_before: &["drain-old"], after, files_after: &["drain-new"] }
        .ends_as_the_new_configuration_and_files_require();
}

#[test]
fn a_service_renamed_by_a_reload_is_checked_without_the_startup_delay() {
    let mut lab = Lab::new([Service::new("a", A), witness()]);
    start(&mut lab, &[A, C]);
    lab.option("splay_startup", "3600");
    lab.reload();
    lab.remove_service("a");
    lab.add_service(&Service::new("a2", A));
    lab.reload();
    lab.wait_runs("a2", 1);
    lab.kill("a2");
    lab.wait_withdrawn(A);
    let log = lab.log("daemon.log");
    assert!(!log.contains("delaying startup"), "splay_startup applies only to the start of the daemon");
}

#[test]
fn the_route_of_the_last_service_without_a_custom_command_leaves_when_a_reload_removes_it() {
    let a = Service::new("a", A).with("custom_bird_reconfigure_cmd", "{lab}/custom");
    let mut lab = Lab::new([a, Service::new("b", B)]);
    lab.use_custom_commands_only();
    lab.executable("custom", "exec $BIRDC");
    // The default of bird_reconfigure_cmd begins with sudo.
    fs::create_dir(lab.file("bin")).unwrap();
    lab.executable("bin/sudo", "exec $BIRDC");
    let path = format!("export PATH={}/bin:$PATH", lab.path().display());
    lab.start_daemon_after(&path);
    lab.wait_advertised(A);
    lab.wait_advertised(B);
    let mark = lab.routes.mark();
    lab.remove_service("b");
    lab.reload();
    lab.wait_withdrawn(B);
    lab.wait_in_sync();
    lab.routes.expect_unmoved(A, mark);
}

/// A service dies while a reconfigure command succeeds without effect. Then a reload corrects the
/// configuration.
fn a_corrected_reconfigure_is_run_at_once(correct: impl FnOnce(&mut Lab)) {
    let mut lab = Lab::new([Service::new("a", A), Service::new("b", B)]);
    start(&mut lab, &[A, B]);
    lab.option("bird_reconfigure_cmd", "/bin/true");
    lab.option("bird6_reconfigure_cmd", "/bin/true");
    lab.reload();
    lab.kill("b");
    lab.wait_listed(&[A]);
    lab.wait_runs("a", 5);
    let mark = lab.routes.mark();
    assert!(lab.routes.has(B), "BIRD was reconfigured");
    correct(&mut lab);
    lab.reload();
    // Far less than the minute until the periodic verification.
    lab.expect_withdrawn_before(B, "a", 75);
    lab.wait_in_sync();
    lab.routes.expect_unmoved(A, mark);
}

#[test]
fn a_reconfigure_command_corrected_by_a_reload_is_run_at_once() {
    a_corrected_reconfigure_is_run_at_once(|lab| {
        let socket = lab.file("host.ctl");
        let command = format!("{} -s {} configure", crate::lab::bird_program("birdc"), socket.display());
        lab.option("bird_reconfigure_cmd", &command);
        lab.option("bird6_reconfigure_cmd", &command);
    });
}

#[test]
fn a_control_socket_that_replaces_a_wrong_command_is_used_at_once() {
    a_corrected_reconfigure_is_run_at_once(Lab::use_control_socket);
}
