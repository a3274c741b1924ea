//! Real files and a fake birdc. Each test has a network of its own, because the daemon's abstract
//! name is unique per network.

use std::fs;
use std::path::Path;

use super::*;
use crate::config::files::ServiceFiles;
use crate::sys::atomic_file::{replace, Durability};
use crate::testing::isolated::in_own_network;

const LISTED: &str = "define ACAST_PS_ADVERTISE =\n [ 10.189.200.255/32, 10.0.0.1/32, 10.9.9.9/32 ];\n";
const WEB: &str = "[web]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1/32\n";
const BROKEN: &str = "[web]\ncheck_cmd = /bin/true\nip_prefix = nonsense\n";

struct Host(tempfile::TempDir);

impl Host {
    /// A host with these options of `[daemon]` and these services. Its list has the dummy, a
    /// service's prefix and an unmanaged one.
    fn new(daemon: &str, services: &str) -> Host {
        let host = Host(tempfile::tempdir().unwrap());
        let usual =
            "[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\nbird_reconfigure_cmd = DIR/birdc configure\n";
        host.put("main.conf", &format!("{usual}{daemon}\n"));
        host.put("services.conf", services);
        host.put("prefixes", LISTED);
        host.put("birdc", "#!/bin/sh\necho $* >> DIR/runs\necho Reconfigured\n");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(host.path("birdc"), executable).unwrap();
        host
    }

    fn put(&self, name: &str, text: &str) {
        let text = text.replace("DIR", self.0.path().to_str().unwrap());
        replace(&self.path(name), text.as_bytes(), Durability::Unsynced).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self) -> Result<Withdrawal, (WithdrawError, Vec<Diagnostic>)> {
        let services = ServiceFiles::File(self.path("services.conf"));
        super::run(&Sources { main: self.path("main.conf"), services })
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Asserts that the list has only the dummy, and that no pidfile is left.
    fn assert_withdrawn(&self) {
        assert!(self
            .text("prefixes")
            .ends_with("define ACAST_PS_ADVERTISE =\n    [\n        10.189.200.255/32\n    ];\n"));
        assert!(!self.path("pid").exists());
    }
}

#[test]
fn only_the_dummy_stays_and_bird_is_reconfigured_once() {
    if !in_own_network("cli::withdraw_all::tests::only_the_dummy_stays_and_bird_is_reconfigured_once") {
        return;
    }
    let host = Host::new("bird_keep_changes = true", WEB);
    let done = host.run().unwrap();
    host.assert_withdrawn();
    assert!(done.is_complete && done.problems.is_empty() && done.warnings.is_empty(), "{done:?}");
    let file = host.path("prefixes");
    assert_eq!(done.sentences, [format!("IPv4: 2 prefixes are gone from {}, and BIRD took it", file.display())]);
    assert_eq!(host.text("runs"), "configure\n");
    assert_eq!(fs::read_dir(host.path("history")).unwrap().count(), 1);
    let done = host.run().unwrap();
    assert_eq!(done.sentences, [format!("IPv4: {} lists no prefix of a service, and BIRD took it", file.display())]);
    assert_eq!(host.text("runs"), "configure\nconfigure\n", "BIRD may hold what the file does not");
}

#[test]
fn without_a_dummy_the_list_is_empty_and_custom_commands_run() {
    if !in_own_network("cli::withdraw_all::tests::without_a_dummy_the_list_is_empty_and_custom_commands_run") {
        return;
    }
    let host = Host::new("dummy_ip_prefix =", &format!("{WEB}custom_bird_reconfigure_cmd = DIR/birdc custom\n"));
    // Only the service's own command reconfigures BIRD.
    let main = host.text("main.conf");
    let without: Vec<&str> = main.lines().filter(|line| !line.starts_with("bird_reconfigure_cmd")).collect();
    host.put("main.conf", &without.join("\n"));
    host.put("services.conf", &format!("{WEB}custom_bird_reconfigure_cmd = DIR/birdc custom\n"));
    let done = host.run().unwrap();
    assert!(done.is_complete, "{done:?}");
    assert!(host.text("prefixes").ends_with("[ ];\n"));
    assert_eq!(host.text("runs"), "custom down\n");
}

/// If a custom command cannot be run, the command of the family runs instead, even if it is the
/// default.
#[test]
fn the_command_of_the_family_replaces_a_custom_command_that_cannot_run() {
    if !in_own_network("cli::withdraw_all::tests::the_command_of_the_family_replaces_a_custom_command_that_cannot_run")
    {
        return;
    }
    let services = format!("{WEB}custom_bird_reconfigure_cmd = /nonexistent/birdc custom\n");
    let host = Host::new("", &services);
    let done = host.run().unwrap();
    host.assert_withdrawn();
    assert!(done.is_complete, "{done:?}");
    assert_eq!(host.text("runs"), "configure\n");
}

/// A problem with the file of one family does not affect the other family.
#[test]
fn a_custom_command_does_not_wait_for_the_file_of_the_other_family() {
    if !in_own_network("cli::withdraw_all::tests::a_custom_command_does_not_wait_for_the_file_of_the_other_family") {
        return;
    }
    let six = "ipv6 = true\nbird6_conf = DIR/missing/prefixes6\nbird6_reconfigure_cmd = DIR/birdc six";
    let host = Host::new(six, "");
    host.put("services.conf", &format!("{WEB}custom_bird_reconfigure_cmd = DIR/birdc custom\n"));
    let done = host.run().unwrap();
    assert!(host.text("runs").lines().any(|run| run == "custom down"), "{done:?}\n{}", host.text("runs"));
    assert!(done.sentences[0].ends_with("and BIRD took it"), "{done:?}");
    assert!(done.sentences[1].contains("NOTHING IS WITHDRAWN") && !done.is_complete, "{done:?}");
}

/// The hold after a lost list waits for verdicts, which do not matter here.
#[test]
fn a_lost_list_is_not_held() {
    if !in_own_network("cli::withdraw_all::tests::a_lost_list_is_not_held") {
        return;
    }
    let host = Host::new("", WEB);
    host.put("prefixes", "define ACAST_PS_ADV");
    let done = host.run().unwrap();
    host.assert_withdrawn();
    assert!(done.is_complete, "{done:?}");
    assert_eq!(host.text("runs"), "configure\n");
}

#[test]
fn a_broken_configuration_is_ignored_where_possible() {
    let name = "cli::withdraw_all::tests::a_broken_configuration_is_ignored_where_possible";
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
        let host = Host::new(daemon, services);
        let done = host.run().unwrap_or_else(|why| panic!("{daemon} {services} {why:?}"));
        host.assert_withdrawn();
        assert_eq!(done.is_complete, well, "{daemon} {services} {done:?}");
        let problems: Vec<String> = done.problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|found| found.contains(problem)), "{problems:?}");
        assert_eq!(host.text("runs"), "configure\n");
    }
}

#[test]
fn without_the_main_file_nothing_changes() {
    let host = Host::new("", WEB);
    fs::remove_file(host.path("main.conf")).unwrap();
    let (why, problems) = host.run().unwrap_err();
    assert!(matches!(why, WithdrawError::Unreadable) && problems.len() == 1, "{why} {problems:?}");
    assert_eq!(host.text("prefixes"), LISTED);
}

#[test]
fn it_refuses_while_a_daemon_runs() {
    if !in_own_network("cli::withdraw_all::tests::it_refuses_while_a_daemon_runs") {
        return;
    }
    let host = Host::new("", BROKEN);
    let (daemon, _) = Instance::take(&host.path("pid")).unwrap();
    let (why, problems) = host.run().unwrap_err();
    assert!(why.to_string().contains("stop it first; a daemon that runs withdraws by --drain-host"), "{why}");
    assert!(!problems.is_empty());
    assert_eq!((&*host.text("prefixes"), &*host.text("runs")), (LISTED, ""));
    drop(daemon);
    assert!(host.run().unwrap().is_complete);
    host.assert_withdrawn();
}

#[test]
fn a_failure_of_one_family_is_reported_and_the_other_is_withdrawn() {
    if !in_own_network("cli::withdraw_all::tests::a_failure_of_one_family_is_reported_and_the_other_is_withdrawn") {
        return;
    }
    let host =
        Host::new("ipv6 = true\nbird6_conf = DIR/missing/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure", WEB);
    host.put("birdc", "#!/bin/sh\necho BIRD 2.0.12 ready.; echo '/etc/bird/bird.conf:5:1 syntax error'; exit 1\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(host.path("birdc"), executable).unwrap();
    let done = host.run().unwrap();
    host.assert_withdrawn();
    assert!(!done.is_complete);
    let [ipv4, ipv6] = &done.sentences[..] else { panic!("{done:?}") };
    assert!(ipv4.contains("BUT BIRD HAS NOT TAKEN IT: ") && ipv4.contains("syntax error"), "{ipv4}");
    let nothing = format!("IPv6: NOTHING IS WITHDRAWN, {} is as it was: ", host.path("missing/prefixes6").display());
    assert!(ipv6.starts_with(&nothing) && ipv6.contains("No such file"), "{ipv6}");
    assert!(Path::new(&host.path("prefixes")).exists());
}
