//! Tests of each lint on its own example, then of the limits of each detector.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::diagnostic::Severity;
use crate::config::files::{self, ServiceFiles};

/// Lines of a good configuration; an example that sets the same option replaces them.
const DAEMON_LINES: &[&str] = &[
    "pidfile = /run/a.pid",
    "bird_conf = /run/a.list",
    "bird6_conf = /run/6/a.list",
    "bird_reconfigure_cmd = /usr/sbin/birdc configure",
];
const SERVICE_LINES: &[&str] = &["check_cmd = /usr/bin/check-web", "check_disabled = false", "ip_prefix = 10.0.0.1"];

/// A section with these lines, and the good lines for the options that they do not set.
fn section(name: &str, good: &[&str], lines: &str) -> String {
    let name_of = |line: &str| line.split([' ', '=']).next().unwrap_or_default().to_string();
    let set: Vec<String> = lines.lines().map(name_of).collect();
    let good = good.iter().filter(|line| !set.contains(&name_of(line)));
    format!("[{name}]\n{}\n{lines}\n", good.copied().collect::<Vec<_>>().join("\n"))
}

struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new(example: Option<Example>) -> Sandbox {
        let sandbox = Sandbox(tempfile::tempdir().unwrap());
        fs::create_dir(sandbox.at("d")).unwrap();
        let (mut daemon, mut service) = ("", String::new());
        match example {
            Some(Example::Daemon(lines)) => daemon = lines,
            Some(Example::Service(lines)) => service = lines.replace("@LONG@", &"x".repeat(200_000)),
            Some(Example::File(name, text)) => sandbox.put(&format!("d/{name}"), text),
            Some(Example::NoService(name)) => sandbox.put(&format!("d/{name}"), ""),
            None => {}
        }
        sandbox.put("main.conf", &section("daemon", DAEMON_LINES, daemon));
        if !matches!(example, Some(Example::NoService(_))) {
            sandbox.put("d/a.conf", &section("www", SERVICE_LINES, &service));
        }
        sandbox
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
    fn put(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources { main: self.at("main.conf"), services: ServiceFiles::Directory(self.at("d")) }
    }

    /// Returns the names of the lints that warn, and all problems of `--check` except those of
    /// preflight.
    fn check(&self) -> (BTreeSet<&'static str>, Vec<Diagnostic>) {
        let checked = files::check(&self.sources());
        let problems = checked.check_machine(|configuration| check_machine(&Machine::new(configuration)));
        (problems.iter().filter_map(lint_of).collect(), problems)
    }
}

/// Finds the lint of a problem by its sentence.
fn lint_of(problem: &Diagnostic) -> Option<&'static str> {
    LINTS.iter().find(|lint| is_filled(lint.sentence, &problem.message)).map(|lint| lint.name)
}

/// Whether the text contains the pieces of the sentence in order.
fn is_filled(sentence: &str, text: &str) -> bool {
    let mut rest = text;
    sentence.split("{}").all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// The lint that warns about every example, because its addresses are not assigned to the machine
/// that runs the tests.
const IN_EVERY_EXAMPLE: &str = "unassigned-prefix";

#[test]
fn only_its_own_lint_warns_about_each_example() {
    for lint in LINTS {
        let (mut names, problems) = Sandbox::new(Some(lint.example)).check();
        assert!(names.remove(lint.name), "{}: {problems:#?}", lint.name);
        names.remove(IN_EVERY_EXAMPLE);
        assert_eq!(names, BTreeSet::new(), "{}: {problems:#?}", lint.name);
        for problem in problems.iter().filter(|problem| lint_of(problem) == Some(lint.name)) {
            assert_eq!(problem.severity, Severity::Warning, "{problem}");
            assert!(problem.file.is_some(), "{problem}");
            assert!(problem.line.is_some() || ["no-service", "ignored-file"].contains(&lint.name), "{problem}");
            let text = problem.to_string();
            assert!(!text.contains("{}") && !text.contains("  "), "{text}");
        }
    }
}

#[test]
fn a_good_configuration_gets_no_warnings() {
    let (mut names, problems) = Sandbox::new(None).check();
    names.remove(IN_EVERY_EXAMPLE);
    assert_eq!(names, BTreeSet::new(), "{problems:#?}");
    assert!(problems.iter().all(|problem| lint_of(problem).is_some()), "{problems:#?}");
}

#[test]
fn names_of_lints_are_unique_and_sentences_have_no_full_stop() {
    let names: BTreeSet<_> = LINTS.iter().map(|lint| lint.name).collect();
    assert_eq!(names.len(), LINTS.len());
    for lint in LINTS {
        assert!(lint.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", lint.name);
        assert!(!lint.sentence.ends_with('.') && !lint.sentence.contains('\n'), "{}", lint.name);
    }
}

/// Returns the problems of `--check --files-only` with these lines of a service, of `[daemon]`, and
/// more files.
fn problems_of(service: &str, daemon: &str, more: &[(&str, &str)]) -> Vec<String> {
    let sandbox = Sandbox::new(None);
    sandbox.put("main.conf", &section("daemon", DAEMON_LINES, daemon));
    sandbox.put("d/a.conf", &section("www", SERVICE_LINES, service));
    more.iter().for_each(|(name, text)| sandbox.put(&format!("d/{name}"), text));
    let root = sandbox.0.path().to_str().unwrap().to_string() + "/";
    let problems = files::check(&sandbox.sources()).problems;
    problems.iter().map(|problem| problem.to_string().replace(&root, "")).collect()
}

fn check(service: &str, expected: &[&str]) {
    compare(&problems_of(service, "", &[]), expected, service);
}

fn check_daemon(daemon: &str, expected: &[&str]) {
    compare(&problems_of("", daemon, &[]), expected, daemon);
}

fn compare(problems: &[String], expected: &[&str], input: &str) {
    assert_eq!(problems.len(), expected.len(), "{input:?}: {problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{input:?}: {problem}");
    }
}

#[test]
fn comments_after_values_are_found() {
    check("interface = lo ; the loopback", &["'; the' is part"]);
    check("interface = lo # the loopback", &["'# the' is part"]);
    check("check_cmd = /bin/a ; looks at the web server", &["'; looks' is part"]);
    check("check_cmd = /bin/a #x", &["'#x' is part"]);
    check("check_cmd = /bin/a ; /bin/b", &["no shell runs this command: ; is passed literally to /bin/a"]);
    check("check_cmd = /bin/a '# x' \\; http://10.0.0.1/#x x#y", &[]);
    check("drain_file = /run/a;b", &[]);
    check("# check_cmd = /bin/b\n; a comment\n   # another", &[]);
    // If the comment makes the value invalid, both are reported.
    check("check_interval = 5 ; seconds", &["must be a number", "'; seconds' is part"]);
    check("check_cmd = /bin/a ; don't", &["No closing quotation", "'; don't' is part"]);
    check_daemon("loglevel = info\nlog_file = /var/log/a ; a file", &["'; a' is part"]);
}

#[test]
fn quotes_around_values_are_found() {
    check("interface = \"lo\"", &["the quotes are part of the value; remove them"]);
    check("interface = 'lo'", &["the quotes are part of the value"]);
    check("drain_file = \"/run/a\"", &["the quotes are part of the value"]);
    check("check_cmd = \"/bin/a --flag\"", &["the quotes make the whole command one word"]);
    check("check_cmd = '/bin/a' '--flag'", &[]);
    check("check_cmd = \"/bin/a\"", &[]);
    check_daemon("bird_variable = 'A-B'", &[]);
}

#[test]
fn lookalike_characters_are_found() {
    check("check_cmd = /bin/a “two words”", &["U+201C"]);
    check("check_cmd = /bin/a –fail", &["U+2013"]);
    check("check_cmd = /bin/a '“two words”'", &[]);
    check("check_cmd = /bin/a\u{a0}b", &["U+00A0"]);
    check("check_cmd = /bin/a 'b\u{200b}'", &["U+200B"]);
    check("interface = l\u{200b}o", &["U+200B"]);
    check("check_cmd = /bin/a grüße 日本語", &[]);
    check("check\u{200b}_fail = 1", &["is an unknown option", "U+200B"]);
    // As in Python, all kinds of blanks around names and values are removed.
    check("check_fail\u{a0}=\u{a0}1\u{a0}", &[]);
}

#[test]
fn misindented_lines_are_found() {
    check("check_cmd = /bin/a\n  --flag=x\n  mine: y\n  -d z", &[]);
    check(
        "check_cmd = /bin/a\n  check_fail = 3",
        &["line 5: [www] 'check_fail = 3': this indented line continues the value of check_cmd"],
    );
    check("check_cmd = /bin/a\n  Check_Fail: 3", &["'Check_Fail: 3': this indented"]);
    check("check_cmd = /bin/a\n  [next]", &["'[next]': this indented"]);
    let missing = "[b]\ncheck_disabled = false\ncheck_cmd = /bin/a\n ip_prefix = 10.0.0.2\n";
    let expected =
        ["ip_prefix: must be set for each service; ", "b.conf, line 4: [b] 'ip_prefix = 10.0.0.2': this indented"];
    compare(&problems_of("", "", &[("b.conf", missing)]), &expected, missing);
    assert!(problems_of("", "", &[("b.conf", missing)])[0].contains("d/b.conf, line 4, would set it, but is indented"));
}

#[test]
fn services_that_are_never_checked_are_found() {
    let of =
        |name: &str, n: usize, line: &str| format!("[{name}]\ncheck_cmd = /bin/a\nip_prefix = 10.0.0.{n}\n{line}\n");
    let three = of("x", 2, "") + &of("y", 3, "") + &of("z", 4, "check_disabled = true");
    let problems = problems_of("", "", &[("b.conf", &three)]);
    compare(&problems, &["line 1: [x] check_disabled: is set neither here nor in [DEFAULT]"], &three);
    assert!(problems[0].ends_with("set check_disabled = false here and in [y]"), "{}", problems[0]);
    let default = format!("[DEFAULT]\ncheck_disabled = true\n{three}");
    compare(&problems_of("", "", &[("b.conf", &default)]), &["it sets check_disabled; move it"], &default);
}

#[test]
fn files_that_are_not_read_are_reported() {
    let none = |names: &[&str]| -> Vec<String> {
        let sandbox = Sandbox::new(None);
        names.iter().for_each(|name| sandbox.put(&format!("d/{name}"), ""));
        let problems = files::check(&sandbox.sources()).problems;
        problems.iter().map(|problem| problem.to_string()).collect()
    };
    for name in ["b.cfg", "b.ini", "b.conf.bak", "b.CONF", "b.conf.txt"] {
        compare(&none(&[name]), &["is not read"], name);
    }
    // A backup of a file that is read, leftovers of package managers, and other files.
    assert_eq!(
        none(&["a.conf.bak", "a.conf~", "a.conf.rpmsave", "a.conf.dpkg-old", "README", ".b.cfg", "b.off"]),
        [""; 0]
    );
}

#[test]
fn sections_and_options_in_two_files_are_found() {
    let other = "[www]\ncheck_fail = 3\nip_prefix = 10.0.0.2\ncheck_rise = 3\n";
    let problems = problems_of("check_fail = 4", "", &[("b.conf", other)]);
    let expected = [
        "d/b.conf, line 2: [www] check_fail = 3: replaces check_fail = 4 of d/a.conf, line 5, because sections of one name are merged and the last file wins; remove",
        "d/b.conf, line 3: [www] ip_prefix = 10.0.0.2: replaces ip_prefix = 10.0.0.1 of d/a.conf, line 4, because sections of one name are merged and the last file wins, so 10.0.0.1/32 no longer belongs to any service; remove",
    ];
    compare(&problems, &expected, other);
    let problems = problems_of("", "", &[("b.conf", "[www]\ncheck_fail = 3\n")]);
    compare(&problems, &["d/b.conf, line 1: [www] is also at d/a.conf, line 1: sections"], "no option in both");
    let moved = "[www]\nip_prefix = 10.0.0.2\n[b]\ncheck_cmd = /bin/a\ncheck_disabled = off\nip_prefix = 10.0.0.1\n";
    let problems = problems_of("", "", &[("b.conf", moved)]);
    assert!(
        problems[0].contains("because sections of one name are merged and the last file wins; remove"),
        "{problems:?}"
    );
}

#[test]
fn sections_for_all_services_in_a_file_of_services_are_found() {
    let other = "[daemon]\nloglevel = error\nsplay_startup = 3\n[DEFAULT]\n";
    let problems = problems_of("", "loglevel = info", &[("b.conf", other)]);
    let expected = [
        "b.conf, line 1: [daemon] in a service's file this section changes the daemon: it sets loglevel in place of main.conf, line 6, splay_startup; move it to main.conf",
        "b.conf, line 4: [DEFAULT] in a service's file this section changes every service: it sets nothing",
    ];
    compare(&problems, &expected, other);
}

#[test]
fn misspelled_sections_are_found() {
    for (name, meant) in [
        ("Daemon", Some("daemon")),
        (" daemon ", Some("daemon")),
        ("default", Some("DEFAULT")),
        ("deafult", Some("DEFAULT")),
        ("DEFAULTS", Some("DEFAULT")),
        ("demon", Some("daemon")),
        ("www", None),
        ("mailman", None),
    ] {
        let problems = problems_of("", "", &[("b.conf", &format!("[{name}]\ncheck_fail = 3\n"))]);
        let expected = meant.map(|meant| format!("write [{meant}] if you mean that section"));
        let found = problems.iter().find(|line| line.contains("is read as a service"));
        assert_eq!(found.is_some(), expected.is_some(), "{name}: {problems:?}");
        assert!(found.is_none_or(|line| line.ends_with(&expected.unwrap_or_default())), "{name}: {problems:?}");
    }
    let service = "[Daemon]\ncheck_cmd = /bin/a\nip_prefix = 10.0.0.2\ncheck_disabled = off\n";
    compare(&problems_of("", "", &[("b.conf", service)]), &[], service);
    check("[fd00::1", &["begins like a section but has no closing bracket, so it is read"]);
    // Without a delimiter it is not an option, and what follows belongs to that section.
    let unfinished = "[b\ncheck_cmd = /bin/a\nip_prefix = 10.0.0.2\ncheck_disabled = off\ncheck_rise = 0\n";
    let expected =
        ["line 1: '[b': begins like a section, but has no closing bracket; write [b]", "line 5: [b] check_rise = 0"];
    compare(&problems_of("", "", &[("b.conf", unfinished)]), &expected, unfinished);
}

#[test]
fn one_constant_for_both_lists_of_one_bird_is_found() {
    let both = "ipv6 = true\nbird_variable = A\nbird6_variable = A\n";
    check_daemon(both, &[]);
    check_daemon(&format!("{both}bird6_reconfigure_cmd = /usr/sbin/birdc  configure"), &[]);
    check_daemon(&format!("{both}bird6_reconfigure_cmd = /usr/sbin/birdc configure"), &["both reconfigure commands"]);
    check_daemon(
        &format!("{both}bird_control_socket = /run/b\nbird6_control_socket = /run/b"),
        &["both control sockets"],
    );
    check_daemon(&format!("{both}bird_control_socket = /run/b\nbird6_control_socket = /run/b6"), &[]);
    check_daemon(
        "ipv6 = false\nbird_variable = A\nbird6_variable = A\nbird6_reconfigure_cmd = /usr/sbin/birdc configure",
        &[],
    );
}

#[test]
fn log_servers_that_are_not_hosts_are_found() {
    check_daemon(
        "log_server = syslog.example.com:514",
        &["write log_server = syslog.example.com and log_server_port = 514"],
    );
    check_daemon("log_server = udp://syslog.example.com", &["write log_server = syslog.example.com"]);
    check_daemon("log_server = udp://10.0.0.1:1514/", &["write log_server = 10.0.0.1 and log_server_port = 1514"]);
    check_daemon("log_server = [fd00::1]:514", &["write log_server = fd00::1 and log_server_port = 514"]);
    check_daemon("log_server = fd00::1", &[]);
    check_daemon("log_server = syslog", &[]);
}

#[test]
fn options_without_effect_are_found() {
    check_daemon("json_log_file = true", &["has no effect without log_file; set log_file, or"]);
    check_daemon("json_log_file = true\nlog_file = /var/log/a", &[]);
    check_daemon("json_stdout = true", &[]);
    check_daemon("json_stdout = true\nlog_server = syslog", &["has no effect together with log_file or log_server"]);
    check_daemon("json_log_server = true", &["has no effect without log_server"]);
    check_daemon("stderr_log_server = true", &["has no effect without log_server"]);
    check_daemon("log_server_port = 514", &[]);
    check_daemon("log_server_port = 1514", &["has no effect without log_server"]);
    check_daemon(
        "prometheus_exporter_interval = 5\nprometheus_collector_textfile_dir = /var/x",
        &["without prometheus_exporter", "without prometheus_exporter"],
    );
    // Turned off explicitly.
    check_daemon("prometheus_exporter = false\nprometheus_collector_textfile_dir = /var/x\njson_log_file = false", &[]);
    check("custom_bird_reconfigure_cmd_timeout = 5", &["has no effect without custom_bird_reconfigure_cmd; set"]);
    check("custom_bird_reconfigure_cmd_timeout = 5\ncustom_bird_reconfigure_cmd = /bin/a", &[]);
    check("state_change_cmd_timeout = 5", &["has no effect without state_change_cmd"]);
    let default = "[DEFAULT]\nstate_change_cmd_timeout = 5\n";
    let problems = problems_of("", "", &[("b.conf", default)]);
    assert!(problems.iter().any(|line| line.contains("has no effect without state_change_cmd")), "{problems:?}");
    let problems = problems_of("state_change_cmd = /bin/a", "", &[("b.conf", default)]);
    assert!(!problems.iter().any(|line| line.contains("has no effect")), "{problems:?}");
}

#[test]
fn times_that_do_not_fit_are_found() {
    check(
        "check_interval = 2\ncheck_timeout = 2",
        &["line 6: [www] check_timeout = 2: should be less than check_interval, or"],
    );
    check("check_interval = 2\ncheck_timeout = 1.9", &[]);
    check("check_interval = 2\ncheck_timeout = 1\ncheck_fast_interval = 2", &["or it has no effect"]);
    check(
        "check_interval = 1",
        &["line 5: [www] check_interval = 1: should be more than check_timeout, which is 2 by default, or"],
    );
    // One value gets one warning.
    let of =
        |name: &str, n: usize| format!("[{name}]\ncheck_cmd = /bin/a\nip_prefix = 10.0.0.{n}\ncheck_disabled = off\n");
    let slow = format!("[DEFAULT]\ncheck_timeout = 30\n{}{}", of("x", 2), of("y", 3));
    let problems = problems_of("", "", &[("b.conf", &slow)]);
    let found: Vec<_> = problems.iter().filter(|line| line.contains("should be less")).collect();
    assert!(
        found.len() == 1 && found[0].contains("than check_interval in [www], [x], [y], or a check"),
        "{problems:?}"
    );
}

#[test]
fn relative_paths_are_found() {
    check("drain_file = a.drain", &["is a relative path"]);
    check("check_cmd = ./check", &["is a relative path"]);
    check("check_cmd = bin/check x", &["is a relative path"]);
    check("check_cmd = check a/b", &[]);
    check_daemon("log_file = log/a", &["is a relative path"]);
}

#[test]
fn checks_that_cannot_fail_or_never_end_are_found() {
    for good in [
        "/usr/bin/curl --fail http://x/",
        "/usr/bin/curl -sfo /dev/null http://x/",
        "curl --fail-with-body http://x/",
        "curl -K /etc/curlrc",
        "curl telnet://x:25",
        "/bin/sh -c 'curl http://x/ | grep -q ok'",
        "/usr/bin/dig @10.0.0.1 +time=1 +tries=1 x SOA",
        "/usr/bin/dig @10.0.0.1 +timeout=1 +retry=0 x SOA",
        "/usr/bin/ping -c1 -W1 10.0.0.1",
        "/usr/bin/ping -qc 1 10.0.0.1",
        "/usr/bin/check-curl http://x/",
    ] {
        check(&format!("check_cmd = {good}"), &[]);
    }
    check("check_cmd = curl http://x/", &["add --fail"]);
    check("check_cmd = sudo -u www timeout 2 curl -s http://x/", &["add --fail"]);
    check("check_cmd = /bin/sh -c 'curl -s http://x/ >/dev/null 2>&1'", &["add --fail"]);
    check("check_cmd = dig @10.0.0.1 x +time=1", &["unless +time and +tries"]);
    check("check_cmd = ping -q 10.0.0.1", &["ping without -c never ends"]);
    check("check_cmd = ping6 -W 1 fd00::1", &["ping without -c never ends"]);
}

#[test]
fn birdc_commands_without_effect_are_found() {
    check_daemon(
        "bird_reconfigure_cmd = sudo birdc configure timeout 10",
        &["nothing confirms it; use birdc configure"],
    );
    check_daemon("bird6_reconfigure_cmd = birdc configure soft", &[]);
    check_daemon("ipv6 = true\nbird6_reconfigure_cmd = birdc6 configure soft", &["after configure soft"]);
    check_daemon("bird_control_socket = /run/b\nbird_reconfigure_cmd = birdc configure soft", &[]);
    check("custom_bird_reconfigure_cmd = birdc show status", &["without configure"]);
}

#[test]
fn the_number_of_warnings_of_one_lint_is_bounded() {
    let of =
        |n: usize| format!("[s{n}]\ncheck_cmd = ./a\ncheck_disabled = off\nip_prefix = 10.1.{}.{}\n", n / 250, n % 250);
    let many: String = (0..2000).map(of).collect();
    let problems = problems_of("", "", &[("b.conf", &many)]);
    assert_eq!(problems.len(), MAX_WARNINGS);
    assert!(problems.iter().any(|line| line.contains("there are more warnings of this kind (relative-path)")));
}

#[test]
fn a_syntax_error_hides_only_what_depends_on_it() {
    let good = |name: &str, n: usize, line: &str| {
        format!("[{name}]\ncheck_cmd = /bin/a\nip_prefix = 10.0.0.{n}\ncheck_disabled = off\n{line}\n")
    };
    let faulty = "[b]\ncheck_cmd /bin/a\nip_prefix = 10.0.0.300\ncheck_disabled = off\n";
    let problems =
        problems_of("check_rise = 0", "", &[("b.conf", faulty), ("c.conf", &good("c", 3, "drain_file = x"))]);
    let expected = [
        "a.conf, line 5: [www] check_rise = 0",
        "b.conf, line 2: [b] 'check_cmd /bin/a': is neither",
        "b.conf, line 3: [b] ip_prefix = 10.0.0.300",
        "c.conf, line 5: [c] drain_file = x: is a relative path",
    ];
    compare(&problems, &expected, faulty);
    // An option that may be in an invalid line of [DEFAULT] or [daemon] is not reported as missing.
    let problems = problems_of(
        "check_rise = 0",
        "nothing",
        &[("b.conf", "[b]\ncheck_cmd = %(my_check)s\n"), ("c.conf", &good("c", 1, ""))],
    );
    compare(&problems, &["line 6: [daemon] 'nothing': is neither", "[www] check_rise = 0"], "[daemon]");
}

/// Texts of pieces that detectors look for, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        " ",
        "$",
        "${",
        "`",
        "~/",
        "*",
        ";",
        "#",
        "&&",
        "2>",
        "<",
        "'",
        "\"",
        "\\",
        "“",
        "\u{200b}",
        "\u{a0}",
        "ä",
        "curl",
        "sh -c ",
        "-c",
        "dig",
        "+time",
        "ping",
        "sudo ",
        "env ",
        "ip netns exec",
        "timeout",
        "birdc",
        "configure",
        "soft",
        "://",
        ":514",
        "[",
        "]",
        "/",
        "x",
        "%(ip_prefix)s",
        "%%",
        "\n  ",
        "\n check_fail = 3",
        "=",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn warnings_about_any_value_are_one_line_with_a_location(values in prop::collection::vec((prop::sample::select(options::OPTIONS), pieces()), 1..6)) {
        let sources = Sources { main: "main.conf".into(), services: ServiceFiles::Directory("d".into()) };
        let mut ini = Ini::default();
        for (file, header) in [("main.conf", "[daemon]"), ("a.conf", "[DEFAULT]"), ("b.conf", "[www]"), ("c.conf", "[www]")] {
            let lines: Vec<String> = values.iter().map(|(option, value)| format!("{} = {value}\n", option.name)).collect();
            ini.read(Path::new(file), format!("{header}\n{}", lines.concat()).as_bytes());
        }
        for problem in check_files(&Files { ini: &ini, sources: &sources, ignored: &[], complete: true, daemon_complete: true }) {
            let text = problem.to_string();
            prop_assert!(!problem.is_error() && problem.file.is_some());
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
        }
    }
}
