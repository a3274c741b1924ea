//! Real files, with a program in birdc's place. Each test is alone in a network, as the daemon's name is one a network.

use std::fs;
use std::path::Path;

use super::*;
use crate::config::files::ServiceFiles;
use crate::sys::atomic_file::{replace, Durability};
use crate::testing::isolated::in_own_network;

const LISTED: &str = "define ACAST_PS_ADVERTISE =\n [ 10.189.200.255/32, 10.0.0.1/32, 10.9.9.9/32 ];\n";
const WEB: &str = "[web]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1/32\n";
const BROKEN: &str = "[web]\ncheck_cmd = /bin/true\nip_prefix = nonsense\n";

struct Desk(tempfile::TempDir);

impl Desk {
    /// With these options of `[daemon]` and these services; the list holds the dummy, a service's prefix and a stranger.
    fn new(daemon: &str, services: &str) -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        let usual =
            "[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\nbird_reconfigure_cmd = DIR/birdc configure\n";
        desk.put("main.conf", &format!("{usual}{daemon}\n"));
        desk.put("services.conf", services);
        desk.put("prefixes", LISTED);
        desk.put("birdc", "#!/bin/sh\necho $* >> DIR/runs\necho Reconfigured\n");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(desk.path("birdc"), executable).unwrap();
        desk
    }

    fn put(&self, name: &str, text: &str) {
        let text = text.replace("DIR", self.0.path().to_str().unwrap());
        replace(&self.path(name), text.as_bytes(), Durability::Unsynced).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self) -> Result<Done, (WithdrawError, Vec<Diagnostic>)> {
        let services = ServiceFiles::File(self.path("services.conf"));
        super::run(&Sources { main: self.path("main.conf"), services })
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The list holds nothing but the dummy, and all is tidy.
    fn is_withdrawn(&self) {
        assert!(self
            .text("prefixes")
            .ends_with("define ACAST_PS_ADVERTISE =\n    [\n        10.189.200.255/32\n    ];\n"));
        assert!(!self.path("pid").exists());
    }
}

#[test]
fn nothing_but_the_dummy_stays_and_bird_is_told_once() {
    if !in_own_network("withdraw_all::tests::nothing_but_the_dummy_stays_and_bird_is_told_once") {
        return;
    }
    let desk = Desk::new("bird_keep_changes = true", WEB);
    let done = desk.run().unwrap();
    desk.is_withdrawn();
    assert!(done.well && done.problems.is_empty() && done.findings.is_empty(), "{done:?}");
    let file = desk.path("prefixes");
    assert_eq!(done.sentences, [format!("IPv4: 2 prefixes are gone from {}, and BIRD took it", file.display())]);
    assert_eq!(desk.text("runs"), "configure\n");
    assert_eq!(fs::read_dir(desk.path("history")).unwrap().count(), 1);
    let done = desk.run().unwrap();
    assert_eq!(done.sentences, [format!("IPv4: {} lists no prefix of a service, and BIRD took it", file.display())]);
    assert_eq!(desk.text("runs"), "configure\nconfigure\n", "BIRD may hold what the file does not");
}

#[test]
fn no_dummy_no_list_and_custom_commands_run() {
    if !in_own_network("withdraw_all::tests::no_dummy_no_list_and_custom_commands_run") {
        return;
    }
    let desk = Desk::new("dummy_ip_prefix =", &format!("{WEB}custom_bird_reconfigure_cmd = DIR/birdc custom\n"));
    // Nobody but the service's own command tells BIRD.
    let main = desk.text("main.conf");
    let without: Vec<&str> = main.lines().filter(|line| !line.starts_with("bird_reconfigure_cmd")).collect();
    desk.put("main.conf", &without.join("\n"));
    desk.put("services.conf", &format!("{WEB}custom_bird_reconfigure_cmd = DIR/birdc custom\n"));
    let done = desk.run().unwrap();
    assert!(done.well, "{done:?}");
    assert!(desk.text("prefixes").ends_with("[ ];\n"));
    assert_eq!(desk.text("runs"), "custom down\n");
}

/// The family's command tells what a custom command cannot, also where it is the default.
#[test]
fn a_custom_command_that_cannot_be_run_leaves_it_to_the_family() {
    if !in_own_network("withdraw_all::tests::a_custom_command_that_cannot_be_run_leaves_it_to_the_family") {
        return;
    }
    let services = format!("{WEB}custom_bird_reconfigure_cmd = /nonexistent/birdc custom\n");
    let desk = Desk::new("", &services);
    let done = desk.run().unwrap();
    desk.is_withdrawn();
    assert!(done.well, "{done:?}");
    assert_eq!(desk.text("runs"), "configure\n");
}

/// What is in the way of one family's list is none of the other's.
#[test]
fn a_custom_command_does_not_wait_for_the_file_of_the_other_family() {
    if !in_own_network("withdraw_all::tests::a_custom_command_does_not_wait_for_the_file_of_the_other_family") {
        return;
    }
    let six = "ipv6 = true\nbird6_conf = DIR/missing/prefixes6\nbird6_reconfigure_cmd = DIR/birdc six";
    let desk = Desk::new(six, "");
    desk.put("services.conf", &format!("{WEB}custom_bird_reconfigure_cmd = DIR/birdc custom\n"));
    let done = desk.run().unwrap();
    assert!(desk.text("runs").lines().any(|run| run == "custom down"), "{done:?}\n{}", desk.text("runs"));
    assert!(done.sentences[0].ends_with("and BIRD took it"), "{done:?}");
    assert!(done.sentences[1].contains("NOTHING IS WITHDRAWN") && !done.well, "{done:?}");
}

/// Nobody waits for verdicts where all is to go.
#[test]
fn a_list_that_was_lost_is_not_held() {
    if !in_own_network("withdraw_all::tests::a_list_that_was_lost_is_not_held") {
        return;
    }
    let desk = Desk::new("", WEB);
    desk.put("prefixes", "define ACAST_PS_ADV");
    let done = desk.run().unwrap();
    desk.is_withdrawn();
    assert!(done.well, "{done:?}");
    assert_eq!(desk.text("runs"), "configure\n");
}

#[test]
fn a_broken_configuration_is_no_obstacle_and_the_exit_code_tells_what_is_certain() {
    let name = "withdraw_all::tests::a_broken_configuration_is_no_obstacle_and_the_exit_code_tells_what_is_certain";
    if !in_own_network(name) {
        return;
    }
    for (daemon, services, well, problem) in [
        ("", BROKEN, true, "ip_prefix = nonsense"),
        ("", "[web\n", true, "has no closing bracket; write [web]"),
        ("loglevel = loud\nprometheus_exporter = perhaps", WEB, false, "loglevel = loud"),
        ("this line is none", WEB, false, "this line is none"),
        ("dummy_ip_prefix = %(nothing)s", BROKEN, false, "%(nothing)s"),
        ("bird_control_socket = ", WEB, false, "bird_control_socket"),
    ] {
        let desk = Desk::new(daemon, services);
        let done = desk.run().unwrap_or_else(|why| panic!("{daemon} {services} {why:?}"));
        desk.is_withdrawn();
        assert_eq!(done.well, well, "{daemon} {services} {done:?}");
        let problems: Vec<String> = done.problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|found| found.contains(problem)), "{problems:?}");
        assert_eq!(desk.text("runs"), "configure\n");
    }
}

#[test]
fn without_its_main_file_nothing_is_touched() {
    let desk = Desk::new("", WEB);
    fs::remove_file(desk.path("main.conf")).unwrap();
    let (why, problems) = desk.run().unwrap_err();
    assert!(matches!(why, WithdrawError::Unreadable) && problems.len() == 1, "{why} {problems:?}");
    assert_eq!(desk.text("prefixes"), LISTED);
}

#[test]
fn it_refuses_while_a_daemon_runs() {
    if !in_own_network("withdraw_all::tests::it_refuses_while_a_daemon_runs") {
        return;
    }
    let desk = Desk::new("", BROKEN);
    let (daemon, _) = Instance::take(&desk.path("pid")).unwrap();
    let (why, problems) = desk.run().unwrap_err();
    assert!(why.to_string().contains("stop it first; a daemon that runs withdraws by --drain-host"), "{why}");
    assert!(!problems.is_empty());
    assert_eq!((&*desk.text("prefixes"), &*desk.text("runs")), (LISTED, ""));
    drop(daemon);
    assert!(desk.run().unwrap().well);
    desk.is_withdrawn();
}

#[test]
fn what_fails_is_said_and_what_can_be_done_is() {
    if !in_own_network("withdraw_all::tests::what_fails_is_said_and_what_can_be_done_is") {
        return;
    }
    let desk =
        Desk::new("ipv6 = true\nbird6_conf = DIR/missing/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure", WEB);
    desk.put("birdc", "#!/bin/sh\necho BIRD 2.0.12 ready.; echo '/etc/bird/bird.conf:5:1 syntax error'; exit 1\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(desk.path("birdc"), executable).unwrap();
    let done = desk.run().unwrap();
    desk.is_withdrawn();
    assert!(!done.well);
    let [ipv4, ipv6] = &done.sentences[..] else { panic!("{done:?}") };
    assert!(ipv4.contains("BUT BIRD HAS NOT TAKEN IT: ") && ipv4.contains("syntax error"), "{ipv4}");
    let nothing = format!("IPv6: NOTHING IS WITHDRAWN, {} is as it was: ", desk.path("missing/prefixes6").display());
    assert!(ipv6.starts_with(&nothing) && ipv6.contains("No such file"), "{ipv6}");
    assert!(Path::new(&desk.path("prefixes")).exists());
}
