//! Lints of options that have no effect, or do harm, in combination with others.
//!
//! Promises and leaves out: as `config::lint`. An option that is explicitly switched off is meant
//! to be off, so its companions are not warned of.

use crate::config::ini::{Section, DEFAULT};

use super::{named, Files, Findings};

pub(super) fn one_constant_for_both(files: &Files<'_>, findings: &mut Findings) {
    if !files.is_on("ipv4")
        || !files.is_on("ipv6")
        || files.daemon_value("bird_variable") != files.daemon_value("bird6_variable")
    {
        return;
    }
    let sockets = ["bird_control_socket", "bird6_control_socket"].map(|option| files.daemon_value(option));
    let commands = ["bird_reconfigure_cmd", "bird6_reconfigure_cmd"].map(|option| files.daemon_value(option));
    let same = match (&sockets, &commands) {
        ([Some(first), Some(second)], _) if first == second => "both control sockets are the same",
        ([None, None], [first, second]) if first == second => "both reconfigure commands are the same",
        _ => return,
    };
    if let Some(own) = files.daemon("bird6_variable").or_else(|| files.daemon("bird_variable")) {
        findings.say(own.place(), &[same]);
    }
}

pub(super) fn log_server_is_no_host(files: &Files<'_>, findings: &mut Findings) {
    let Some(own) = files.daemon("log_server") else { return };
    let without_scheme = own.value.split_once("://").map_or(&*own.value, |(_, host)| host.trim_end_matches('/'));
    let (host, port) = match without_scheme.rsplit_once(':') {
        // Several colons make an IPv6 address, and only one in brackets can have a port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (without_scheme, None),
    };
    let host = host.trim_matches(['[', ']']);
    if host != own.value {
        let port = port.map_or(String::new(), |port| format!(" and log_server_port = {port}"));
        findings.say(own.place(), &[host, &port]);
    }
}

pub(super) fn log_to_streams(files: &Files<'_>, findings: &mut Findings) {
    for (option, remedy) in
        [("log_file", "log_file, and the log goes to standard output"), ("stderr_file", "stderr_file")]
    {
        let Some(own) = files.daemon(option) else { continue };
        let streams = ["/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/"];
        if streams.iter().any(|stream| own.value.starts_with(stream)) {
            findings.say(own.place(), &[remedy]);
        }
    }
}

/// An option of `[daemon]` that has an effect only together with another.
struct Needs {
    option: &'static str,
    /// Whether it has no effect.
    idle: fn(&Files<'_>) -> bool,
    why: &'static str,
    what_to_do: &'static str,
}

#[rustfmt::skip]
const NEEDS: &[Needs] = &[
    Needs { option: "json_log_file", idle: |files| files.is_on("json_log_file") && lacks(files, "log_file"),
        why: "without log_file", what_to_do: "set log_file, or use json_stdout" },
    Needs { option: "json_log_server", idle: |files| files.is_on("json_log_server") && lacks(files, "log_server"),
        why: "without log_server", what_to_do: "set log_server, or use json_stdout" },
    Needs { option: "json_stdout", idle: |files| files.is_on("json_stdout") && elsewhere(files),
        why: "together with log_file or log_server, as nothing is logged to standard output then", what_to_do: "use json_log_file or json_log_server" },
    Needs { option: "log_server_port", idle: |files| files.daemon_value("log_server_port").is_some_and(|port| port != "514") && lacks(files, "log_server"),
        why: "without log_server", what_to_do: "set log_server, or remove it" },
    Needs { option: "stderr_log_server", idle: |files| files.is_on("stderr_log_server") && lacks(files, "log_server"),
        why: "without log_server", what_to_do: "set log_server, or remove it" },
    Needs { option: "prometheus_collector_textfile_dir", idle: |files| lacks(files, "prometheus_exporter"),
        why: "without prometheus_exporter", what_to_do: "set prometheus_exporter = true, or remove it" },
    Needs { option: "prometheus_exporter_interval", idle: |files| lacks(files, "prometheus_exporter"),
        why: "without prometheus_exporter", what_to_do: "set prometheus_exporter = true, or remove it" },
];

fn lacks(files: &Files<'_>, option: &str) -> bool {
    files.daemon(option).is_none()
}

fn elsewhere(files: &Files<'_>) -> bool {
    !lacks(files, "log_file") || !lacks(files, "log_server")
}

pub(super) fn without_effect(files: &Files<'_>, findings: &mut Findings) {
    for needs in NEEDS.iter().filter(|needs| files.whole_daemon && (needs.idle)(files)) {
        if let Some(own) = files.daemon(needs.option) {
            findings.say(own.place(), &[needs.why, needs.what_to_do]);
        }
    }
    for (timeout, command) in [
        ("custom_bird_reconfigure_cmd_timeout", "custom_bird_reconfigure_cmd"),
        ("state_change_cmd_timeout", "state_change_cmd"),
    ] {
        let default = files.ini.default_section();
        // A time-out in [DEFAULT] has an effect if any service has the command.
        let of_none = || files.services().all(|section| files.ini.entry(section, command).is_none());
        let idle = |section: &&Section| match &*section.name {
            DEFAULT => of_none(),
            _ => files.ini.entry(section, command).is_none(),
        };
        for section in std::iter::once(default).chain(files.services()).filter(|_| files.whole) {
            let own = section.get(timeout).filter(|entry| entry.place.is_some());
            if let Some(entry) = own.filter(|_| idle(&section)) {
                let (why, what_to_do) = (format!("without {command}"), format!("set {command}, or remove it"));
                findings.say(super::place(section, entry, &entry.raw), &[&why, &what_to_do]);
            }
        }
    }
}

pub(super) fn slow_timeouts(files: &Files<'_>, findings: &mut Findings) {
    slow(files, findings, "check_timeout");
}

pub(super) fn slow_fast_intervals(files: &Files<'_>, findings: &mut Findings) {
    slow(files, findings, "check_fast_interval");
}

/// Warns once for each value; a value of `[DEFAULT]` names the services. Where the option has the
/// program's default, the warning is about `check_interval`.
fn slow(files: &Files<'_>, findings: &mut Findings, option: &str) {
    let mut inherited: Vec<(&str, &Section, String)> = Vec::new();
    for section in files.services() {
        let Some((number, interval)) = files.number(section, option).zip(files.number(section, "check_interval"))
        else {
            continue;
        };
        if number < interval || interval <= 0.0 {
            continue;
        }
        let is_set = files.ini.entry(section, option).is_some_and(|entry| entry.place.is_some());
        let (at, rule) = if is_set {
            (option, "less than check_interval".to_string())
        } else {
            ("check_interval", format!("more than {option}, which is {number} by default"))
        };
        if section.get(at).is_some() {
            findings.say(files.locate(section, at), &[&rule]);
        } else {
            inherited.push((at, section, rule));
        }
    }
    if let Some((at, first, rule)) = inherited.first() {
        let names = named(inherited.iter().map(|(_, section, _)| format!("[{}]", section.name)));
        findings.say(files.locate(first, at), &[&format!("{rule} in {names}")]);
    }
}
