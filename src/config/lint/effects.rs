//! Lints of options that have no effect, or do harm, in combination with others.
//!
//! An option that a file turns off explicitly is off by intention, so options that depend on it are
//! not reported.

use crate::config::ini::{Section, DEFAULT};

use super::{join_names, Files, Findings};

pub(super) fn one_constant_for_both(files: &Files<'_>, findings: &mut Findings) {
    if !files.is_on("ipv4")
        || !files.is_on("ipv6")
        || files.daemon_value("bird_variable") != files.daemon_value("bird6_variable")
    {
        return;
    }
    let sockets = ["bird_control_socket", "bird6_control_socket"].map(|option| files.daemon_value(option));
    let commands = ["bird_reconfigure_cmd", "bird6_reconfigure_cmd"].map(|option| files.daemon_value(option));
    let reason = match (&sockets, &commands) {
        ([Some(first), Some(second)], _) if first == second => "both control sockets are the same",
        ([None, None], [first, second]) if first == second => "both reconfigure commands are the same",
        _ => return,
    };
    if let Some(option) = files.daemon("bird6_variable").or_else(|| files.daemon("bird_variable")) {
        findings.warn(option.warning(), &[reason]);
    }
}

pub(super) fn invalid_log_server(files: &Files<'_>, findings: &mut Findings) {
    let Some(option) = files.daemon("log_server") else { return };
    let without_scheme = option.value.split_once("://").map_or(&*option.value, |(_, host)| host.trim_end_matches('/'));
    let (host, port) = match without_scheme.rsplit_once(':') {
        // Several colons make an IPv6 address, which can have a port only if it is in brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (without_scheme, None),
    };
    let host = host.trim_matches(['[', ']']);
    if host != option.value {
        let port = port.map_or(String::new(), |port| format!(" and log_server_port = {port}"));
        findings.warn(option.warning(), &[host, &port]);
    }
}

pub(super) fn log_to_streams(files: &Files<'_>, findings: &mut Findings) {
    for (name, remedy) in
        [("log_file", "log_file, and the log goes to standard output"), ("stderr_file", "stderr_file")]
    {
        let Some(option) = files.daemon(name) else { continue };
        let streams = ["/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/"];
        if streams.iter().any(|stream| option.value.starts_with(stream)) {
            findings.warn(option.warning(), &[remedy]);
        }
    }
}

/// An option of `[daemon]` whose effect depends on another.
struct Dependency {
    option: &'static str,
    has_no_effect: fn(&Files<'_>) -> bool,
    why: &'static str,
    what_to_do: &'static str,
}

#[rustfmt::skip]
const DEPENDENCIES: &[Dependency] = &[
    Dependency { option: "json_log_file", has_no_effect: |files| files.is_on("json_log_file") && lacks(files, "log_file"),
        why: "without log_file", what_to_do: "set log_file, or use json_stdout" },
    Dependency { option: "json_log_server", has_no_effect: |files| files.is_on("json_log_server") && lacks(files, "log_server"),
        why: "without log_server", what_to_do: "set log_server, or use json_stdout" },
    Dependency { option: "json_stdout", has_no_effect: |files| files.is_on("json_stdout") && logs_elsewhere(files),
        why: "together with log_file or log_server, because then nothing is logged to standard output", what_to_do: "use json_log_file or json_log_server" },
    Dependency { option: "log_server_port", has_no_effect: |files| files.daemon_value("log_server_port").is_some_and(|port| port != "514") && lacks(files, "log_server"),
        why: "without log_server", what_to_do: "set log_server, or remove it" },
    Dependency { option: "stderr_log_server", has_no_effect: |files| files.is_on("stderr_log_server") && lacks(files, "log_server"),
        why: "without log_server", what_to_do: "set log_server, or remove it" },
    Dependency { option: "prometheus_collector_textfile_dir", has_no_effect: |files| lacks(files, "prometheus_exporter"),
        why: "without prometheus_exporter", what_to_do: "set prometheus_exporter = true, or remove it" },
    Dependency { option: "prometheus_exporter_interval", has_no_effect: |files| lacks(files, "prometheus_exporter"),
        why: "without prometheus_exporter", what_to_do: "set prometheus_exporter = true, or remove it" },
];

fn lacks(files: &Files<'_>, option: &str) -> bool {
    files.daemon(option).is_none()
}

fn logs_elsewhere(files: &Files<'_>) -> bool {
    !lacks(files, "log_file") || !lacks(files, "log_server")
}

pub(super) fn without_effect(files: &Files<'_>, findings: &mut Findings) {
    let has_no_effect = |dependency: &&Dependency| files.daemon_complete && (dependency.has_no_effect)(files);
    for dependency in DEPENDENCIES.iter().filter(has_no_effect) {
        if let Some(option) = files.daemon(dependency.option) {
            findings.warn(option.warning(), &[dependency.why, dependency.what_to_do]);
        }
    }
    for (timeout, command) in [
        ("custom_bird_reconfigure_cmd_timeout", "custom_bird_reconfigure_cmd"),
        ("state_change_cmd_timeout", "state_change_cmd"),
    ] {
        let default = files.ini.default_section();
        // A time-out in [DEFAULT] has an effect if any service has the command.
        let no_service_has_it = || files.services().all(|section| files.ini.entry(section, command).is_none());
        let has_no_effect = |section: &&Section| match &*section.name {
            DEFAULT => no_service_has_it(),
            _ => files.ini.entry(section, command).is_none(),
        };
        for section in std::iter::once(default).chain(files.services()).filter(|_| files.complete) {
            let entry = section.get(timeout).filter(|entry| entry.location.is_some());
            if let Some(entry) = entry.filter(|_| has_no_effect(&section)) {
                let (why, what_to_do) = (format!("without {command}"), format!("set {command}, or remove it"));
                findings.warn(super::warning_at(section, entry, &entry.raw), &[&why, &what_to_do]);
            }
        }
    }
}

pub(super) fn slow_timeouts(files: &Files<'_>, findings: &mut Findings) {
    at_least_interval(files, findings, "check_timeout");
}

pub(super) fn slow_fast_intervals(files: &Files<'_>, findings: &mut Findings) {
    at_least_interval(files, findings, "check_fast_interval");
}

/// Warns of values that are not below `check_interval`, once for each value; for one in `[DEFAULT]`
/// the warning names the services. If no file sets the option, the warning is about
/// `check_interval`.
fn at_least_interval(files: &Files<'_>, findings: &mut Findings, option: &str) {
    let mut inherited: Vec<(&str, &Section, String)> = Vec::new();
    for section in files.services() {
        let Some((number, interval)) = files.number(section, option).zip(files.number(section, "check_interval"))
        else {
            continue;
        };
        if number < interval || interval <= 0.0 {
            continue;
        }
        let is_set = files.ini.entry(section, option).is_some_and(|entry| entry.location.is_some());
        let (option_to_change, relation) = if is_set {
            (option, "less than check_interval".to_string())
        } else {
            ("check_interval", format!("more than {option}, which is {number} by default"))
        };
        if section.get(option_to_change).is_some() {
            findings.warn(files.warning_at(section, option_to_change), &[&relation]);
        } else {
            inherited.push((option_to_change, section, relation));
        }
    }
    if let Some((option_to_change, first, relation)) = inherited.first() {
        let names = join_names(inherited.iter().map(|(_, section, _)| format!("[{}]", section.name)));
        findings.warn(files.warning_at(first, option_to_change), &[&format!("{relation} in {names}")]);
    }
}
