//! Every option: the one table from which `--print`, the warning of unknown names, the defaults, the manual page and the
//! tables of docs/configuration.md come.
//!
//! Promises: what stands here is all there is; the order of the options with a default of the original's is that in
//! which the original prints them.
//! Leaves out: reading values into settings (`config::reading`).

use std::fmt::Write as _;

use strsim::damerau_levenshtein;

/// Where an option counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In `[daemon]`. One that has no default of the original's is also taken from `[DEFAULT]`.
    Daemon,
    /// In each other section, and in `[DEFAULT]` for all of them.
    Service,
}

/// What an option holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// Any text, an empty one too.
    AnyText,
    /// A file or directory.
    Path,
    /// A program and its arguments, split as a shell would, but run without one.
    Command,
    /// One prefix, or nothing.
    Prefix,
    /// Prefixes, separated by commas, blanks or lines.
    Prefixes,
    /// A name that BIRD can read.
    Variable,
    /// true or false, in Python's spellings.
    Boolean,
    /// Seconds, with fractions, above 0.
    Seconds,
    /// Seconds, with fractions, 0 allowed.
    SecondsOrNone,
    /// A whole number within these bounds.
    Whole(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Where it counts.
    pub scope: Scope,
    /// Its name.
    pub name: &'static str,
    /// Its value where none is configured; none where it has to be given, or is off unless given.
    pub default: Option<&'static str>,
    /// What it holds.
    pub kind: Kind,
    /// One line of help.
    pub help: &'static str,
    /// Whether the original has it too.
    pub original: bool,
}

/// The levels that `loglevel` knows, with the synonyms that Python has for them.
pub const LEVELS: &[&str] = &["debug", "info", "warning", "error", "critical"];

/// A counter of the original's: Python's whole numbers have no bound, ours fits every machine.
const COUNT: Kind = Kind::Whole(0, 1 << 31);
const AT_LEAST_ONE: Kind = Kind::Whole(1, u32::MAX as u64);
const SIZE: Kind = Kind::Whole(0, 1 << 53);

/// All options, services' first.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    service("check_cmd", None, Kind::Command, "Command that tells by exit code 0 that the service is well. Required."),
    service("ip_prefix", None, Kind::Prefixes, "Prefix to advertise while the service is well, or several. Required."),
    service("interface", Some("lo"), Kind::AnyText, "Interface that the addresses of ip_prefix must be assigned to."),
    service("check_interval", Some("10"), Kind::Seconds, "Seconds from the start of one check to the start of the next."),
    service("check_timeout", Some("2"), Kind::Seconds, "Seconds after which a check is killed and counts as failed."),
    service("check_rise", Some("2"), AT_LEAST_ONE, "Checks that must pass in a row before the service is up."),
    service("check_fail", Some("2"), AT_LEAST_ONE, "Checks that must fail in a row before the service is down."),
    service("check_disabled", Some("true"), Kind::Boolean, "Run no check; on_disabled decides."),
    service("on_disabled", Some("withdraw"), Kind::Word(&["withdraw", "advertise"]), "What becomes of the prefix while check_disabled is on."),
    service("ip_check_disabled", Some("false"), Kind::Boolean, "Do not look whether the addresses are assigned to the interface."),
    service("custom_bird_reconfigure_cmd_timeout", Some("2"), Kind::Seconds, "Seconds after which custom_bird_reconfigure_cmd is killed."),
    service("custom_bird_reconfigure_cmd", None, Kind::Command, "Command to run with 'up' or 'down' in place of bird_reconfigure_cmd."),
    new_service("check_fast_interval", None, Kind::Seconds, "Interval while the state is unknown or about to change."),
    new_service("watch_pidfile", None, Kind::Path, "Pidfile of the service: when its process ends, the check runs at once."),
    new_service("drain_file", None, Kind::Path, "While this file exists nothing is run and the prefix is withdrawn."),
    new_service("on_exit", Some("none"), Kind::Word(&["none", "withdraw"]), "What becomes of the prefix at a clean stop."),
    new_service("on_boot", Some("none"), Kind::Word(&["none", "withdraw"]), "Whether a list from before the machine's last boot is trusted (none) or not."),
    new_service("state_change_cmd", None, Kind::Command, "Command to run in the background after each change of state."),
    new_service("state_change_cmd_timeout", Some("10"), Kind::Seconds, "Seconds after which state_change_cmd is killed."),

    daemon("ipv4", Some("true"), Kind::Boolean, "Serve IPv4."),
    daemon("ipv6", Some("false"), Kind::Boolean, "Serve IPv6."),
    daemon("bird_conf", Some("/var/lib/anycast-healthchecker/anycast-prefixes.conf"), Kind::Path, "File with the list of IPv4 prefixes, included by BIRD."),
    daemon("bird6_conf", Some("/var/lib/anycast-healthchecker/6/anycast-prefixes.conf"), Kind::Path, "File with the list of IPv6 prefixes, included by BIRD."),
    daemon("bird_variable", Some("ACAST_PS_ADVERTISE"), Kind::Variable, "Name of the list in bird_conf."),
    daemon("bird6_variable", Some("ACAST6_PS_ADVERTISE"), Kind::Variable, "Name of the list in bird6_conf."),
    daemon("bird_reconfigure_cmd", Some("sudo /usr/sbin/birdc configure"), Kind::Command, "Command that makes BIRD read bird_conf again."),
    daemon("bird6_reconfigure_cmd", Some("sudo /usr/sbin/birdc6 configure"), Kind::Command, "Command that makes BIRD read bird6_conf again."),
    daemon("dummy_ip_prefix", Some("10.189.200.255/32"), Kind::Prefix, "Prefix that keeps the IPv4 list from being empty; empty for none."),
    daemon("dummy_ip6_prefix", Some("2001:db8::1/128"), Kind::Prefix, "Prefix that keeps the IPv6 list from being empty; empty for none."),
    daemon("bird_keep_changes", Some("false"), Kind::Boolean, "Keep old versions of bird_conf in history/ beside it."),
    daemon("bird6_keep_changes", Some("false"), Kind::Boolean, "Keep old versions of bird6_conf in history/ beside it."),
    daemon("bird_changes_counter", Some("128"), COUNT, "How many old versions of bird_conf to keep."),
    daemon("bird6_changes_counter", Some("128"), COUNT, "How many old versions of bird6_conf to keep."),
    daemon("purge_ip_prefixes", Some("false"), Kind::Boolean, "Remove prefixes that no service has from the lists at start."),
    daemon("pidfile", Some("/var/run/anycast-healthchecker/anycast-healthchecker.pid"), Kind::Path, "File that holds the number of the daemon's process."),
    daemon("loglevel", Some("debug"), Kind::Word(LEVELS), "The least level that is logged."),
    daemon("log_server_port", Some("514"), Kind::Whole(1, 65535), "UDP port of log_server."),
    daemon("json_stdout", Some("false"), Kind::Boolean, "Log to standard output in JSON."),
    daemon("json_log_file", Some("false"), Kind::Boolean, "Log to log_file in JSON."),
    daemon("json_log_server", Some("false"), Kind::Boolean, "Log to log_server in JSON."),
    daemon("log_maxbytes", Some("104857600"), SIZE, "Size in bytes at which log_file and stderr_file are rotated; 0 for never."),
    daemon("log_backups", Some("8"), COUNT, "How many rotated files to keep."),
    daemon("log_format_journalctl", Some("false"), Kind::Boolean, "Log to standard output with a priority that the journal reads."),
    daemon("prometheus_exporter", Some("false"), Kind::Boolean, "Write metrics for the textfile collector of node_exporter."),
    daemon("prometheus_collector_textfile_dir", Some("/var/cache/textfile_collector/"), Kind::Path, "Directory for the metrics."),
    daemon("prometheus_exporter_interval", Some("10"), Kind::Whole(1, u32::MAX as u64), "Seconds between two writes of the metrics."),
    daemon("log_file", None, Kind::Path, "Log to this file in place of standard output."),
    daemon("log_server", None, Kind::Text, "Log to this host by UDP in place of standard output."),
    daemon("stderr_file", None, Kind::Path, "File for messages that would go to standard error."),
    daemon("stderr_log_server", None, Kind::Boolean, "Send messages that would go to standard error to log_server."),
    daemon("splay_startup", None, Kind::SecondsOrNone, "At the start of the daemon the first check of each service waits a random time up to this."),
    new_daemon("bird_control_socket", None, Kind::Path, "BIRD's control socket, used in place of bird_reconfigure_cmd."),
    new_daemon("bird6_control_socket", None, Kind::Path, "BIRD's control socket, used in place of bird6_reconfigure_cmd."),
    new_daemon("drain_file", None, Kind::Path, "While this file exists the prefixes of all services are withdrawn."),
    new_daemon("json_prefix", None, Kind::Word(&["none"]), "'none' writes JSON records without the program's name before them."),
    new_daemon("shared_ip_prefixes", Some("false"), Kind::Boolean, "Several services may name one prefix: it is advertised while all are up."),
    new_daemon("status_socket", None, Kind::Path, "Socket that answers --status; by default status.sock beside the pidfile."),
];

const fn service(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> Opt {
    Opt { scope: Scope::Service, name, default, kind, help, original: true }
}

const fn daemon(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> Opt {
    Opt { scope: Scope::Daemon, name, default, kind, help, original: true }
}

const fn new_service(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> Opt {
    Opt { original: false, ..service(name, default, kind, help) }
}

const fn new_daemon(name: &'static str, default: Option<&'static str>, kind: Kind, help: &'static str) -> Opt {
    Opt { original: false, ..daemon(name, default, kind, help) }
}

/// The option of this name that counts in this scope.
pub fn find(scope: Scope, name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.scope == scope && option.name == name)
}

/// The defaults that every configuration starts from and that `--print-conf` shows: those of the original.
pub fn defaults(scope: Scope) -> impl Iterator<Item = (&'static str, &'static str)> {
    let shown = OPTIONS.iter().filter(move |option| option.scope == scope && option.original);
    shown.filter_map(|option| Some((option.name, option.default?)))
}

/// What `--print` prints.
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

/// The known name that an unknown one was probably meant to be.
pub fn nearest(name: &str) -> Option<&'static str> {
    // A third of the letters may differ, three at most: farther away, any name would do.
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    let near = OPTIONS.iter().filter(|option| option.name.len().abs_diff(name.len()) <= 3 * allowed);
    let by_distance = near.map(|option| (damerau_levenshtein(name, option.name), option.name));
    by_distance.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

impl Kind {
    /// What a value must be, as the end of a sentence.
    pub fn rule(self) -> String {
        match self {
            Kind::Text | Kind::AnyText => "must not be empty".to_string(),
            Kind::Path => "must name a file or directory".to_string(),
            Kind::Command => "must be a command".to_string(),
            Kind::Prefix => "must be an IPv4 or IPv6 prefix".to_string(),
            Kind::Prefixes => "must be one or several IPv4 or IPv6 prefixes".to_string(),
            Kind::Variable => "must be a name that BIRD can read".to_string(),
            Kind::Boolean => "must be true, yes, on or 1, or false, no, off or 0".to_string(),
            Kind::Seconds => format!("must be a number of seconds above 0 and up to {MOST_SECONDS}"),
            Kind::SecondsOrNone => format!("must be a number of seconds from 0 to {MOST_SECONDS}"),
            Kind::Whole(least, most) => format!("must be a whole number from {least} to {most}"),
            Kind::Word(words) => format!("must be {}", words.join(" or ")),
        }
    }
}

/// The longest time that can be configured, in seconds: thirty years.
pub const MOST_SECONDS: u32 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the original printed.
    #[test]
    fn printed_as_the_original_does() {
        assert_eq!(print(), include_str!("../../tests/data/print.txt"));
    }

    #[test]
    fn no_option_stands_twice_and_each_has_a_line_of_help() {
        for (i, option) in OPTIONS.iter().enumerate() {
            let twin = OPTIONS[i + 1..].iter().find(|other| (other.scope, other.name) == (option.scope, option.name));
            assert!(twin.is_none(), "{}", option.name);
            assert!(option.help.ends_with('.') && !option.help.contains('\n'), "{}", option.name);
        }
    }

    #[test]
    fn typing_errors_find_their_option() {
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
