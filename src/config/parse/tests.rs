//! Tests of the rules: lines of configuration give settings or problems.

use std::path::Path;

use crate::config::settings::{Daemon, LogLevel, OnDisabled};
use crate::prefix::Family;

use super::*;

fn defaults() -> Ini {
    let mut ini = Ini::default();
    for (section, scope) in [(DEFAULT, Scope::Service), (DAEMON, Scope::Daemon)] {
        for (name, value) in options::defaults(scope) {
            ini.preset(section, name, value);
        }
    }
    ini
}

/// Parses these files, of which each overrides the one before, on top of the default values.
fn parse_texts(texts: &[&str]) -> (Option<Settings>, Vec<String>) {
    let mut ini = defaults();
    for text in texts {
        assert_eq!(ini.read(Path::new("f"), text.as_bytes()), []);
    }
    let (settings, problems) = settings(&ini);
    assert_eq!(settings.is_some(), !problems.iter().any(Diagnostic::is_error), "{problems:?}");
    let messages = problems.iter().map(|problem| {
        let head = if problem.is_error() { "" } else { "warning: " };
        format!("{head}{problem}")
    });
    (settings, messages.collect())
}

const SERVICE: &str = "[s]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1/32\n";

fn daemon(line: &str) -> (Option<Settings>, Vec<String>) {
    parse_texts(&[SERVICE, &format!("[daemon]\n{line}\n")])
}

fn service(line: &str) -> (Option<Settings>, Vec<String>) {
    parse_texts(&[SERVICE, &format!("[s]\n{line}\n")])
}

fn good_daemon(line: &str) -> Daemon {
    let (settings, problems) = daemon(line);
    settings.unwrap_or_else(|| panic!("{line}: {problems:?}")).daemon
}

fn good_service(line: &str) -> Service {
    let (settings, problems) = service(line);
    Service::clone(&settings.unwrap_or_else(|| panic!("{line}: {problems:?}")).services[0])
}

#[test]
fn default_values_are_those_of_the_original() {
    let (settings, problems) = parse_texts(&[SERVICE]);
    assert_eq!(problems, [""; 0]);
    let Settings { daemon, services } = settings.unwrap();
    let bird = daemon.bird(Family::V4).unwrap();
    assert!(daemon.bird(Family::V6).is_none());
    assert_eq!(daemon.unused_bird_conf, [Path::new("/var/lib/anycast-healthchecker/6/anycast-prefixes.conf")]);
    assert_eq!(bird.conf, Path::new("/var/lib/anycast-healthchecker/anycast-prefixes.conf"));
    assert_eq!((&*bird.variable, bird.history, bird.reconfigure_cmd_is_set), ("ACAST_PS_ADVERTISE", None, false));
    assert_eq!(bird.reconfigure_cmd.words(), ["sudo", "/usr/sbin/birdc", "configure"]);
    assert_eq!(bird.dummy, "10.189.200.255/32".parse().ok());
    assert_eq!(daemon.status_socket, Path::new("/var/run/anycast-healthchecker/status.sock"));
    assert_eq!((daemon.log.level, daemon.log.width, daemon.log.max_bytes), (LogLevel::Debug, 8, 104_857_600));
    assert_eq!(daemon.log.json_prefix, "anycast-healthchecker: ");
    assert!(daemon.prometheus.is_none() && daemon.drain_file.is_none() && daemon.splay_startup.is_zero());
    let [service] = &services[..] else { panic!("{services:?}") };
    assert_eq!((&*service.name, service.disabled), ("s", Some(OnDisabled::Withdraw)));
    assert_eq!((service.check_interval, service.check_timeout), (Duration::from_secs(10), Duration::from_secs(2)));
    assert_eq!((service.check_rise.get(), service.check_fail.get()), (2, 2));
    assert_eq!((service.assigned_to.as_deref(), &*service.interface), (Some("lo"), "lo"));
    assert!(service.custom_reconfigure.is_none() && service.state_change.is_none());
    assert!(!service.withdraw_on_exit && !service.withdraw_on_boot && service.check_fast_interval.is_none());
}

/// The lines are from a log of the original.
#[test]
fn options_are_listed_as_in_the_log_of_the_original() {
    let listed = good_service("check_interval = 1\ncheck_disabled = No\ncheck_timeout = 1e-5\ncheck_rise = +05");
    assert_eq!(
        listed.listing.iter().map(|line| &**line).collect::<Vec<_>>(),
        [
            "check_cmd=/bin/true:<class 'str'>",
            "check_interval=1.0:<class 'float'>",
            "check_timeout=1e-05:<class 'float'>",
            "check_rise=5:<class 'int'>",
            "check_fail=2:<class 'int'>",
            "check_disabled=False:<class 'bool'>",
            "on_disabled=withdraw:<class 'str'>",
            "ip_prefix=10.0.0.1/32:<class 'str'>",
            "interface=lo:<class 'str'>",
            "ip_check_disabled=False:<class 'bool'>",
            "custom_bird_reconfigure_cmd_timeout=2.0:<class 'float'>",
        ]
    );
    let more = good_service("custom_bird_reconfigure_cmd = /bin/a  b\non_exit = withdraw\ncheck_fast_interval = .5");
    assert_eq!(
        more.listing[11..].iter().map(|line| &**line).collect::<Vec<_>>(),
        [
            "custom_bird_reconfigure_cmd=/bin/a  b:<class 'str'>",
            "check_fast_interval=0.5:<class 'float'>",
            "on_exit=withdraw:<class 'str'>"
        ]
    );
}

#[test]
fn values_of_daemon_are_parsed() {
    assert_eq!(good_daemon("loglevel = Warn").log.level, LogLevel::Warning);
    assert_eq!(good_daemon("loglevel = fatal").log.level, LogLevel::Critical);
    assert_eq!(good_daemon("splay_startup = 0").splay_startup, Duration::ZERO);
    assert_eq!(good_daemon("splay_startup = 1_0.5").splay_startup, Duration::from_millis(10_500));
    assert_eq!(good_daemon("pidfile = /run/x/a.pid").status_socket, Path::new("/run/x/status.sock"));
    assert_eq!(good_daemon("status_socket = /run/y").status_socket, Path::new("/run/y"));
    assert_eq!(good_daemon("json_prefix = none").log.json_prefix, "");
    assert_eq!(good_daemon("log_server = h").log.server, Some(("h".to_string(), 514)));
    assert!(!good_daemon("stderr_log_server = on").log.stderr_server);
    assert!(good_daemon("stderr_log_server = on\nlog_server = h").log.stderr_server);
    assert!(!good_daemon("stderr_log_server = on\nlog_server = h\nstderr_file = /e").log.stderr_server);
    let bird = |line: &str| good_daemon(line).ipv4.unwrap();
    assert_eq!(bird("dummy_ip_prefix =").dummy, None);
    assert_eq!(bird("bird_keep_changes = yes\nbird_changes_counter = 0").history, Some(0));
    assert!(bird("bird_reconfigure_cmd = sudo /usr/sbin/birdc configure").reconfigure_cmd_is_set);
    assert_eq!(bird("bird_control_socket = /run/bird/bird.ctl").control_socket, Some("/run/bird/bird.ctl".into()));
    assert_eq!(bird("bird_variable = 'A-B'").variable, "'A-B'");
    // Most options of a family are ignored while it is off.
    good_daemon("ipv6 = off\nbird6_variable = 1\ndummy_ip6_prefix = x\nbird6_reconfigure_cmd = '");
    let prometheus =
        good_daemon("prometheus_exporter = true\nprometheus_collector_textfile_dir = /p").prometheus.unwrap();
    assert_eq!((prometheus.dir, prometheus.interval), (PathBuf::from("/p"), Duration::from_secs(10)));
    let (settings, problems) = parse_texts(&["[DEFAULT]\nlog_file = /l\ndrain_file = /d\n", SERVICE]);
    let Settings { daemon, services } = settings.unwrap();
    assert_eq!(
        (daemon.log.file, daemon.drain_file, &services[0].drain_file),
        (Some("/l".into()), Some("/d".into()), &Some("/d".into()))
    );
    assert_eq!(problems, [""; 0]);
}

#[test]
fn values_of_services_are_parsed() {
    let prefixes = |line: &str| -> Vec<String> {
        let (settings, problems) = parse_texts(&[SERVICE, &format!("[daemon]\nipv6 = on\n[s]\n{line}\n")]);
        let service = &settings.unwrap_or_else(|| panic!("{line}: {problems:?}")).services[0];
        service.prefixes.iter().map(Prefix::to_string).collect()
    };
    assert_eq!(
        prefixes("ip_prefix = 10.0.0.2, 10.0.0.3/32 10.1.0.0/16,fd00::1"),
        ["10.0.0.2/32", "10.0.0.3/32", "10.1.0.0/16", "fd00::1/128"]
    );
    assert_eq!(prefixes("ip_prefix =\n  10.0.0.2\n  # c\n\n  10.0.0.3,\n"), ["10.0.0.2/32", "10.0.0.3/32"]);
    assert_eq!(good_service("ip_prefix = 10.0.0.2, 10.0.0.3").prefix_text, "10.0.0.2, 10.0.0.3");
    assert_eq!(good_service("check_disabled = off").disabled, None);
    assert_eq!(good_service("on_disabled = advertise").disabled, Some(OnDisabled::Advertise));
    assert_eq!(good_service("ip_check_disabled = on").assigned_to, None);
    assert_eq!(good_service("check_cmd = a 'b c'\n  d").check_cmd.words(), ["a", "b c", "d"]);
    assert_eq!(good_service("check_cmd = x %(interface)s %%").check_cmd.words(), ["x", "lo", "%"]);
    assert!(good_service("on_exit = withdraw").withdraw_on_exit && good_service("on_boot = withdraw").withdraw_on_boot);
    let hook = good_service("state_change_cmd = /bin/hook x").state_change.unwrap();
    assert_eq!((hook.command.program(), hook.timeout), ("/bin/hook", Duration::from_secs(10)));
    let custom = good_service("custom_bird_reconfigure_cmd = /c\ncustom_bird_reconfigure_cmd_timeout = .5");
    assert_eq!(custom.custom_reconfigure.unwrap().timeout, Duration::from_millis(500));
}

#[test]
fn invalid_values_of_daemon_are_refused() {
    let check = |line: &str, expected: &str| assert_eq!(daemon(line).1, [expected], "{line}");
    let at = |line: &str, rule: &str| check(line, &format!("f, line 2: [daemon] {line}: {rule}"));
    let boolean = "must be true, yes, on or 1, or false, no, off or 0";
    for option in [
        "ipv6",
        "purge_ip_prefixes",
        "bird6_keep_changes",
        "json_stdout",
        "log_format_journalctl",
        "shared_ip_prefixes",
    ] {
        at(&format!("{option} = maybe"), boolean);
    }
    for value in ["-1", "x", "1.5", "", "9999999999"] {
        let given = format!("bird_changes_counter = {value}");
        at(&given, "must be a whole number from 0 to 2147483648");
    }
    at("log_server_port = 0", "must be a whole number from 1 to 65535");
    at("log_server_port = 65536", "must be a whole number from 1 to 65535");
    at("log_backups = -1", "must be a whole number from 0 to 2147483648");
    at("log_maxbytes = -1", "must be a whole number from 0 to 9007199254740992");
    at("prometheus_exporter_interval = 0", "must be a whole number from 1 to 4294967295");
    for value in ["-0.1", "nan", "inf", "1e10", "x"] {
        at(&format!("splay_startup = {value}"), "must be a number of seconds from 0 to 1000000000");
    }
    at("loglevel = trace", "must be debug or info or warning or error or critical");
    at("json_prefix = x", "must be none");
    for option in
        ["bird_conf", "pidfile", "log_file", "stderr_file", "drain_file", "bird_control_socket", "status_socket"]
    {
        at(&format!("{option} = "), "must name a file or directory");
    }
    at("log_server = ", "must not be empty");
    at("bird_variable = export", "must not be a reserved word of BIRD");
    at("bird_variable = A.B", "must be the name of a BIRD constant: letters, digits and _, with no digit first (in single quotes also - . and :)");
    at("bird_reconfigure_cmd = ", "must be a command that can be split into words: it has no program name");
    at("bird_reconfigure_cmd = birdc 'x", "must be a command that can be split into words: No closing quotation");
    at("dummy_ip_prefix = fd00::1/128", "must be an IPv4 prefix, or empty for no dummy");
    at(
        "dummy_ip_prefix = x",
        "must be an IPv4 prefix, or empty for no dummy: 'x' is not an IPv4 or IPv6 address or prefix",
    );
    let long = format!("/{}", "x".repeat(107));
    at(&format!("bird_control_socket = {long}"), "must be at most 107 bytes long, as the path of a socket");
}

#[test]
fn invalid_values_of_services_are_refused() {
    let at = |line: &str, rule: &str| assert_eq!(service(line).1, [format!("f, line 2: [s] {line}: {rule}")], "{line}");
    for value in ["0", "-1", "", "x", "1.0", "4294967296"] {
        at(&format!("check_rise = {value}"), "must be a whole number from 1 to 4294967295");
        at(&format!("check_fail = {value}"), "must be a whole number from 1 to 4294967295");
    }
    for value in ["0", "-1", "nan", "inf", "1e999", "1e-30", "1000000001", "x", ""] {
        for option in ["check_interval", "check_timeout", "check_fast_interval", "custom_bird_reconfigure_cmd_timeout"]
        {
            at(&format!("{option} = {value}"), "must be a number of seconds above 0 and up to 1000000000");
        }
    }
    at("check_disabled = maybe", "must be true, yes, on or 1, or false, no, off or 0");
    at("on_disabled = Withdraw", "must be withdraw or advertise");
    at("on_boot = x", "must be none or withdraw");
    at("check_cmd = ", "must be a command that can be split into words: it has no program name");
    at(r"check_cmd = /bin/true \", "must be a command that can be split into words: No escaped character");
    at(
        "check_cmd = date +%H",
        "a % must be written %%, or begin a reference such as %(interface)s; here it is followed by 'H'",
    );
    at("check_cmd = a %(b)s", "%(b)s refers to an option that is neither in this section nor in [DEFAULT]");
    at("watch_pidfile = ", "must name a file or directory");
    at("ip_prefix = ", "must be one or more IPv4 or IPv6 prefixes: it is empty");
    at(
        "ip_prefix = 10.1.2.3/24",
        "must be one or more IPv4 or IPv6 prefixes: '10.1.2.3/24' has host bits set, did you mean 10.1.2.0/24?",
    );
    at("ip_prefix = 10.0.0.1, 10.0.0.1/32", "10.0.0.1/32 is listed twice");
    at("ip_prefix = fd00::1", "fd00::1/128 is an IPv6 prefix, but [daemon] has ipv6 = false");
    at(
        "ip_prefix = 10.189.200.255",
        "10.189.200.255/32 must not be the dummy prefix of [daemon], which is always advertised",
    );
}

#[test]
fn all_problems_are_reported_and_inherited_ones_at_their_source() {
    let (_, problems) = parse_texts(&["[DEFAULT]\ncheck_rise = 0\n[daemon]\nloglevel = x\nipv4 = y\n[s]\n"]);
    assert_eq!(
        problems,
        [
            "f, line 5: [daemon] ipv4 = y: must be true, yes, on or 1, or false, no, off or 0",
            "f, line 4: [daemon] loglevel = x: must be debug or info or warning or error or critical",
            "f, line 6: [s] check_cmd: must be set for each service",
            "f, line 6: [s] ip_prefix: must be set for each service",
            "f, line 2: [DEFAULT] check_rise = 0: must be a whole number from 1 to 4294967295",
        ]
    );
}

#[test]
fn doubtful_values_get_a_warning() {
    let at = |line: &str, rule: &str| {
        let (settings, problems) = service(line);
        assert!(settings.is_some());
        assert_eq!(problems, [format!("warning: f, line 2: [s] {line}: {rule}")], "{line}");
    };
    at("on_exit = advertise", "should be none or withdraw; any other value means none");
}

#[test]
fn the_files_of_the_two_families_must_not_collide() {
    let check =
        |lines: &str, expected: &[&str]| assert_eq!(daemon(&format!("ipv6 = yes\n{lines}")).1, expected, "{lines}");
    check("bird_conf = /a\nbird6_conf = /b\nbird_keep_changes = on", &[]);
    let same = "must not be the file of bird_conf: each family needs its own";
    check("bird_conf = /a\nbird6_conf = /a", &[&format!("f, line 4: [daemon] bird6_conf = /a: {same}")]);
    check("bird_conf = /a/b\nbird6_conf = //a/./b", &[&format!("f, line 4: [daemon] bird6_conf = //a/./b: {same}")]);
    check(
        "bird_conf = /a\nbird6_conf = /b\nbird_keep_changes = on\nbird6_keep_changes = on",
        &["warning: f, line 4: [daemon] bird6_conf = /b: keeps its history in the same directory as bird_conf; use two directories"],
    );
}

#[test]
fn services_share_a_prefix_only_if_it_is_allowed() {
    let services = |extra: &str| {
        let section =
            |name: &str, prefix: &str, more: &str| format!("[{name}]\ncheck_cmd = x\nip_prefix = {prefix}\n{more}\n");
        format!("[daemon]\nipv6 = 1\n{extra}\n") + &section("a", "fd00::1", "") + &section("b", "FD00:0::1/128", "")
    };
    assert_eq!(
        parse_texts(&[&services("")]).1,
        ["f, line 10: [b] ip_prefix = FD00:0::1/128: fd00::1/128 is used by 2 service checks (a, b); set shared_ip_prefixes = true in [daemon] to allow it"]
    );
    let shared = services("shared_ip_prefixes = true");
    assert_eq!(parse_texts(&[&shared]).1, [""; 0]);
    assert_eq!(
        parse_texts(&[&shared, "[b]\ncustom_bird_reconfigure_cmd = /c\n"]).1,
        ["f, line 2: [b] custom_bird_reconfigure_cmd = /c: must be the same, with the same time-out, as in [a], which shares fd00::1/128 with this service"]
    );
    let everywhere = "[DEFAULT]\ncustom_bird_reconfigure_cmd = /c\n";
    assert_eq!(parse_texts(&[&shared, everywhere]).1, [""; 0]);
}

#[test]
fn a_section_name_with_a_nul_byte_is_refused() {
    let (_, problems) = parse_texts(&["[a\0b]\ncheck_cmd = x\nip_prefix = 10.0.0.1\n"]);
    assert_eq!(problems, [r"f, line 1: [a\u{0}b] the name of a section must not contain a NUL byte"]);
}

#[test]
fn the_status_socket_is_found_despite_other_errors() {
    let check = |text: &str, expected: Result<&str, &str>| {
        let mut ini = defaults();
        ini.read(Path::new("f"), text.as_bytes());
        let socket = status_socket(&ini).map_err(|problems| problems[0].to_string());
        assert_eq!(socket, expected.map(PathBuf::from).map_err(String::from), "{text}");
    };
    check("[daemon]\nipv4 = maybe\nstatus_socket = /run/s\npidfile =\n[a]\ncheck_rise = 0", Ok("/run/s"));
    check("[daemon]\npidfile = /run/x/pid\nno delimiter", Ok("/run/x/status.sock"));
    check("[daemon]\npidfile =", Err("f, line 2: [daemon] pidfile = : must name a file or directory"));
}
