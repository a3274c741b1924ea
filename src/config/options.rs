//! The table of all options. `--print`, the default values, the warnings of unknown names, the
//! manual page and the tables of docs/configuration.md come from it.
//!
//! Guarantees: each option is defined once. Options of the original with a default value are in the
//! order in which the original prints them.
//!
//! Out of scope: parsing values (`config::parse`).

use std::fmt::Write as _;

use strsim::damerau_levenshtein;

use crate::prefix::Family;

/// The sections in which an option has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `[daemon]`; also `[DEFAULT]`, unless the original has a default value for it.
    Daemon,
    /// Each other section, and `[DEFAULT]` for all of them.
    Service,
}

/// The type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text that is not empty.
    Text,
    /// A text that may be empty.
    AnyText,
    /// A file or directory.
    Path,
    /// A program and its arguments, split as a shell splits them, and run without a shell.
    Command,
    /// One prefix, or an empty text.
    Prefix,
    /// Prefixes, separated by commas or white space.
    Prefixes,
    /// The name of a BIRD constant.
    Variable,
    /// True or false, as Python spells them.
    Boolean,
    /// A number of seconds above 0, with fractions.
    Seconds,
    /// A number of seconds from 0, with fractions.
    SecondsOrZero,
    /// A whole number within these bounds, both included.
    Integer(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The sections in which it has an effect.
    pub scope: Scope,
    /// Its name.
    pub name: &'static str,
    /// Its value if it is not set. None if it is required, or off unless set.
    pub default: Option<&'static str>,
    /// The type of its value.
    pub kind: Kind,
    /// One line of help.
    pub help: &'static str,
    /// Whether the original has it.
    pub original: bool,
}

/// The levels of `loglevel`; `config::parse` accepts Python's synonyms too.
pub const LOG_LEVELS: &[&str] = &["debug", "info", "warning", "error", "critical"];

/// A counter of the original. Python's integers are unbounded; this bound fits every machine.
const COUNT: Kind = Kind::Integer(0, 1 << 31);
const AT_LEAST_ONE: Kind = Kind::Integer(1, u32::MAX as u64);
const SIZE: Kind = Kind::Integer(0, 1 << 53);

/// All options, those of services first.
#[rustfmt::skip]
pub const OPTIONS: &[OptionSpec] = &[
    service("check_cmd", None, Kind::Command, "Health-check command; exit status 0 means healthy. Required."),
    service("ip_prefix", None, Kind::Prefixes, "One or more prefixes to advertise while the service is up. Required."),
    service("interface", Some("lo"), Kind::AnyText, "Interface that must have the addresses of ip_prefix."),
    service("check_interval", Some("10"), Kind::Seconds, "Seconds from the start of one check to the start of the next."),
    service("check_timeout", Some("2"), Kind::Seconds, "Seconds after which a check is killed and fails."),
    service("check_rise", Some("2"), AT_LEAST_ONE, "Consecutive successes that bring the service up."),
    service("check_fail", Some("2"), AT_LEAST_ONE, "Consecutive failures that take the service down."),
    service("check_disabled", Some("true"), Kind::Boolean, "Do not run the check; on_disabled decides about the prefix."),
    service("on_disabled", Some("withdraw"), Kind::Choice(&["withdraw", "advertise"]), "What happens to the prefix while check_disabled is on."),
    service("ip_check_disabled", Some("false"), Kind::Boolean, "Do not require that the interface has the addresses."),
    service("custom_bird_reconfigure_cmd_timeout", Some("2"), Kind::Seconds, "Seconds after which custom_bird_reconfigure_cmd is killed."),
    service("custom_bird_reconfigure_cmd", None, Kind::Command, "Command that replaces bird_reconfigure_cmd for this service; gets 'up' or 'down' as last argument."),
    new_service("check_fast_interval", None, Kind::Seconds, "Interval in seconds while the state is unknown or about to change."),
    new_service("watch_pidfile", None, Kind::Path, "Pidfile of the service; when that process ends, the check runs at once."),
    new_service("drain_file", None, Kind::Path, "While this file exists, the check does not run and the prefix is withdrawn."),
    new_service("on_exit", Some("none"), Kind::Choice(&["none", "withdraw"]), "What happens to the prefix at a clean stop of the daemon."),
    new_service("on_boot", Some("none"), Kind::Choice(&["none", "withdraw"]), "What happens to the prefix at the first start after a boot: none keeps it as listed, withdraw waits for checks."),
    new_service("state_change_cmd", None, Kind::Command, "Command that runs in the background after each change of state."),
    new_service("state_change_cmd_timeout", Some("10"), Kind::Seconds, "Seconds after which state_change_cmd is killed."),

    daemon("ipv4", Some("true"), Kind::Boolean, "Serve IPv4."),
    daemon("ipv6", Some("false"), Kind::Boolean, "Serve IPv6."),
    daemon("bird_conf", Some("/var/lib/anycast-healthchecker/anycast-prefixes.conf"), Kind::Path, "File with the list of IPv4 prefixes, included by BIRD."),
    daemon("bird6_conf", Some("/var/lib/anycast-healthchecker/6/anycast-prefixes.conf"), Kind::Path, "File with the list of IPv6 prefixes, included by BIRD."),
    daemon("bird_variable", Some("ACAST_PS_ADVERTISE"), Kind::Variable, "BIRD constant that holds the list in bird_conf."),
    daemon("bird6_variable", Some("ACAST6_PS_ADVERTISE"), Kind::Variable, "BIRD constant that holds the list in bird6_conf."),
    daemon("bird_reconfigure_cmd", Some("sudo /usr/sbin/birdc configure"), Kind::Command, "Command that makes BIRD reload bird_conf."),
    daemon("bird6_reconfigure_cmd", Some("sudo /usr/sbin/birdc6 configure"), Kind::Command, "Command that makes BIRD reload bird6_conf."),
    daemon("dummy_ip_prefix", Some("10.189.200.255/32"), Kind::Prefix, "Placeholder so that the IPv4 list is never empty; an empty value means none."),
    daemon("dummy_ip6_prefix", Some("2001:db8::1/128"), Kind::Prefix, "Placeholder so that the IPv6 list is never empty; an empty value means none."),
    daemon("bird_keep_changes", Some("false"), Kind::Boolean, "Keep old versions of bird_conf in a history directory beside it."),
    daemon("bird6_keep_changes", Some("false"), Kind::Boolean, "Keep old versions of bird6_conf in a history directory beside it."),
    daemon("bird_changes_counter", Some("128"), COUNT, "Number of old versions of bird_conf to keep."),
    daemon("bird6_changes_counter", Some("128"), COUNT, "Number of old versions of bird6_conf to keep."),
    daemon("purge_ip_prefixes", Some("false"), Kind::Boolean, "Remove prefixes of no service from the lists at start."),
    daemon("pidfile", Some("/var/run/anycast-healthchecker/anycast-healthchecker.pid"), Kind::Path, "File that holds the process ID of the daemon."),
    daemon("loglevel", Some("debug"), Kind::Choice(LOG_LEVELS), "Minimum level to log."),
    daemon("log_server_port", Some("514"), Kind::Integer(1, 65535), "UDP port of log_server."),
    daemon("json_stdout", Some("false"), Kind::Boolean, "Log to standard output in JSON."),
    daemon("json_log_file", Some("false"), Kind::Boolean, "Log to log_file in JSON."),
    daemon("json_log_server", Some("false"), Kind::Boolean, "Log to log_server in JSON."),
    daemon("log_maxbytes", Some("104857600"), SIZE, "Size in bytes at which log_file and stderr_file are rotated; 0 means never."),
    daemon("log_backups", Some("8"), COUNT, "Number of rotated files to keep."),
    daemon("log_format_journalctl", Some("false"), Kind::Boolean, "Prefix each line on standard output with the priority that the journal reads."),
    daemon("prometheus_exporter", Some("false"), Kind::Boolean, "Write metrics for the textfile collector of node_exporter."),
    daemon("prometheus_collector_textfile_dir", Some("/var/cache/textfile_collector/"), Kind::Path, "Directory of the metrics file."),
    daemon("prometheus_exporter_interval", Some("10"), Kind::Integer(1, u32::MAX as u64), "Seconds between two writes of the metrics file."),
    daemon("log_file", None, Kind::Path, "File to log to instead of standard output."),
    daemon("log_server", None, Kind::Text, "Syslog host to log to, by UDP, instead of standard output."),
    daemon("stderr_file", None, Kind::Path, "File for messages that would otherwise go to standard error."),
    daemon("stderr_log_server", None, Kind::Boolean, "Send messages that would otherwise go to standard error to log_server."),
    daemon("splay_startup", None, Kind::SecondsOrZero, "Maximum random delay in seconds of each service's first check at start of the daemon."),
    new_daemon("bird_control_socket", None, Kind::Path, "BIRD's control socket for IPv4, used instead of bird_reconfigure_cmd."),
    new_daemon("bird6_control_socket", None, Kind::Path, "BIRD's control socket for IPv6, used instead of bird6_reconfigure_cmd."),
    new_daemon("bird_export_interval", Some("60"), Kind::SecondsOrZero, "With a control socket: seconds between two questions to BIRD whom it announces the prefixes to; 0 for never."),
    new_daemon("drain_file", None, Kind::Path, "While this file exists, the prefixes of all services are withdrawn."),
    new_daemon("json_prefix", None, Kind::Choice(&["none"]), "'none' omits the program's name before each JSON record."),
    new_daemon("shared_ip_prefixes", Some("false"), Kind::Boolean, "Allow several services to name the same prefix; it is advertised while all of them are up."),
    new_daemon("status_socket", None, Kind::Path, "Socket that answers --status; default: status.sock beside the pidfile."),
];

/// The names of the options that each family has one of.
#[derive(Debug)]
pub struct FamilyOptions {
    /// Whether the family is on.
    pub enabled: &'static str,
    /// The prefix file.
    pub conf: &'static str,
    /// The BIRD constant in the prefix file.
    pub variable: &'static str,
    /// The command that makes BIRD reload.
    pub reconfigure_cmd: &'static str,
    /// BIRD's control socket.
    pub control_socket: &'static str,
    /// The dummy prefix.
    pub dummy: &'static str,
    /// Whether old prefix files are kept.
    pub keep_changes: &'static str,
    /// How many of them.
    pub changes_counter: &'static str,
}

/// The names of a family's options.
pub fn of_family(family: Family) -> &'static FamilyOptions {
    match family {
        Family::V4 => &FamilyOptions {
            enabled: "ipv4",
            conf: "bird_conf",
            variable: "bird_variable",
            reconfigure_cmd: "bird_reconfigure_cmd",
            control_socket: "bird_control_socket",
            dummy: "dummy_ip_prefix",
            keep_changes: "bird_keep_changes",
            changes_counter: "bird_changes_counter",
        },
        Family::V6 => &FamilyOptions {
            enabled: "ipv6",
            conf: "bird6_conf",
            variable: "bird6_variable",
            reconfigure_cmd: "bird6_reconfigure_cmd",
            control_socket: "bird6_control_socket",
            dummy: "dummy_ip6_prefix",
            keep_changes: "bird6_keep_changes",
            changes_counter: "bird6_changes_counter",
        },
    }
}

const fn service(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> OptionSpec {
    OptionSpec { scope: Scope::Service, name, default, kind, help, original: true }
}

const fn daemon(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> OptionSpec {
    OptionSpec { scope: Scope::Daemon, name, default, kind, help, original: true }
}

const fn new_service(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> OptionSpec {
    OptionSpec { original: false, ..service(name, default, kind, help) }
}

const fn new_daemon(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> OptionSpec {
    OptionSpec { original: false, ..daemon(name, default, kind, help) }
}

/// Finds the option of this name in this scope.
pub fn find(scope: Scope, name: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.scope == scope && option.name == name)
}

/// The default values that every configuration starts from and `--print-conf` shows: those of the
/// original.
pub fn defaults(scope: Scope) -> impl Iterator<Item = (&'static str, &'static str)> {
    let shown = OPTIONS.iter().filter(move |option| option.scope == scope && option.original);
    shown.filter_map(|option| Some((option.name, option.default?)))
}

/// Returns what `--print` prints.
pub fn print() -> String {
    let mut text = String::new();
    for (section, scope) in [("DEFAULT", Scope::Service), ("daemon", Scope::Daemon)] {
        let _ = writeln!(text, "[{section}]");
        for (name, value) in defaults(scope) {
            let _ = writeln!(text, "{name} = {value}");
        }
        text.push('\n');
    }
    text
}

/// Suggests an option for an unknown name.
pub fn nearest(name: &str) -> Option<&'static str> {
    // A third of the letters may differ, three at most: beyond that, nearly any name would match.
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    let near = OPTIONS.iter().filter(|option| option.name.len().abs_diff(name.len()) <= 3 * allowed);
    let by_distance = near.map(|option| (damerau_levenshtein(name, option.name), option.name));
    by_distance.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

impl Kind {
    /// The rule for a value, as the end of a sentence.
    pub fn rule(self) -> String {
        match self {
            Kind::Text | Kind::AnyText => "must not be empty".to_string(),
            Kind::Path => "must name a file or directory".to_string(),
            Kind::Command => "must be a command".to_string(),
            Kind::Prefix => "must be an IPv4 or IPv6 prefix".to_string(),
            Kind::Prefixes => "must be one or more IPv4 or IPv6 prefixes".to_string(),
            Kind::Variable => "must be the name of a BIRD constant".to_string(),
            Kind::Boolean => "must be true, yes, on or 1, or false, no, off or 0".to_string(),
            Kind::Seconds => format!("must be a number of seconds above 0 and up to {MAX_SECONDS}"),
            Kind::SecondsOrZero => format!("must be a number of seconds from 0 to {MAX_SECONDS}"),
            Kind::Integer(min, max) => format!("must be a whole number from {min} to {max}"),
            Kind::Choice(words) => format!("must be {}", words.join(" or ")),
        }
    }
}

/// Upper bound on times, in seconds: thirty years.
pub const MAX_SECONDS: u32 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn print_equals_the_output_of_the_original() {
        assert_eq!(print(), include_str!("../../tests/data/print.txt"));
    }

    #[test]
    fn each_option_is_defined_once_and_has_a_line_of_help() {
        for (i, option) in OPTIONS.iter().enumerate() {
            let duplicate =
                OPTIONS[i + 1..].iter().find(|other| (other.scope, other.name) == (option.scope, option.name));
            assert!(duplicate.is_none(), "{}", option.name);
            assert!(option.help.ends_with('.') && !option.help.contains('\n'), "{}", option.name);
        }
    }

    #[test]
    fn misspelled_names_get_a_suggestion() {
        fn check(name: &str, expected: Option<&str>) {
            assert_eq!(nearest(name), expected, "{name}");
        }
        check("check_fall", Some("check_fail"));
        check("chekc_cmd", Some("check_cmd"));
        check("ip-prefix", Some("ip_prefix"));
        check("check_intervall", Some("check_interval"));
        check("bird_reconfigure_command", None);
        check("stdout_file", Some("stderr_file"));
        check("json_logging", None);
        check("", None);
        check("my_var", None);
        check(&"x".repeat(1_000_000), None);
    }
}
