//! Parses section `[daemon]`: the BIRD options of both families, the log, and the rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::settings::{Bird, Daemon, Log, LogLevel, Prometheus};
use crate::config::{options, python};
use crate::prefix::{Family, Prefix};

use super::OptionParser;

pub(super) fn parse(parser: &mut OptionParser<'_>) -> Option<Daemon> {
    let enabled =
        Family::BOTH.map(|family| parser.parse(options::of_family(family).enabled, |text, _| python::boolean(text)));
    let [ipv4, ipv6] = [0, 1].map(|index| bird(parser, Family::BOTH[index], enabled[index] == Some(true)));
    let disabled = Family::BOTH.iter().zip(enabled).filter(|(_, enabled)| *enabled == Some(false));
    let unused_bird_conf = disabled.filter_map(|(family, _)| parser.path(options::of_family(*family).conf)).collect();
    if let (Some(ipv4), Some(ipv6)) = (&ipv4, &ipv6) {
        check_families(parser, ipv4, ipv6);
    }
    let pidfile = parser.path("pidfile");
    let status_socket = status_socket(parser, pidfile.as_deref());
    let prometheus_on = parser.boolean("prometheus_exporter");
    let prometheus_interval = Duration::from_secs(parser.integer("prometheus_exporter_interval"));
    let prometheus_dir = if prometheus_on { parser.path("prometheus_collector_textfile_dir") } else { None };
    let purge_ip_prefixes = parser.boolean("purge_ip_prefixes");
    let shared_ip_prefixes = parser.boolean("shared_ip_prefixes");
    let splay_startup = parser.seconds("splay_startup").unwrap_or_default();
    let export_interval = parser.seconds("bird_export_interval").filter(|interval| !interval.is_zero());
    let drain_file = parser.path("drain_file");
    let log = log(parser);
    // An invalid family is not one that is off: its prefixes cannot be checked.
    if enabled != [Some(ipv4.is_some()), Some(ipv6.is_some())] {
        return None;
    }
    Some(Daemon {
        ipv4,
        ipv6,
        unused_bird_conf,
        purge_ip_prefixes,
        shared_ip_prefixes,
        pidfile: pidfile?,
        status_socket: status_socket?,
        export_interval,
        splay_startup,
        drain_file,
        log: log?,
        prometheus: prometheus_dir.map(|dir| Prometheus { dir, interval: prometheus_interval }),
    })
}

/// Parses `status_socket`, which is beside the pidfile by default.
pub(super) fn status_socket(parser: &mut OptionParser<'_>, pidfile: Option<&Path>) -> Option<PathBuf> {
    parser.socket_path("status_socket").or_else(|| pidfile.map(|pidfile| pidfile.with_file_name("status.sock")))
}

/// Parses the options of one family. If it is off, only its numbers and booleans are checked, as in
/// the original.
fn bird(parser: &mut OptionParser<'_>, family: Family, enabled: bool) -> Option<Bird> {
    let names = options::of_family(family);
    let keep_changes = parser.boolean(names.keep_changes);
    let counter = usize::try_from(parser.integer(names.changes_counter)).unwrap_or(usize::MAX);
    if !enabled {
        return None;
    }
    let conf = parser.path(names.conf);
    let variable = parser.symbol(names.variable);
    let reconfigure_cmd = parser.command(names.reconfigure_cmd);
    Some(Bird {
        control_socket: parser.socket_path(names.control_socket),
        dummy: dummy(parser, names.dummy, family),
        reconfigure_cmd_is_set: parser.is_set(names.reconfigure_cmd),
        history: keep_changes.then_some(counter),
        conf: conf?,
        variable: variable?,
        reconfigure_cmd: reconfigure_cmd?,
    })
}

/// Parses the family's dummy prefix. None if the option is empty.
fn dummy(parser: &mut OptionParser<'_>, option: &str, family: Family) -> Option<Prefix> {
    let text = parser.text(option).filter(|text| !text.is_empty())?;
    match text.parse::<Prefix>() {
        Ok(prefix) if prefix.family() == family => return Some(prefix),
        Ok(_) => parser.error(option, format!("must be an {family} prefix, or empty for no dummy")),
        Err(error) => parser.error(option, format!("must be an {family} prefix, or empty for no dummy: {error}")),
    }
    None
}

/// Checks that the files of the two families do not collide.
fn check_families(parser: &mut OptionParser<'_>, ipv4: &Bird, ipv6: &Bird) {
    if normalized(&ipv4.conf) == normalized(&ipv6.conf) {
        parser.error("bird6_conf", "must not be the file of bird_conf: each family needs its own");
    } else if ipv4.history.is_some() && ipv6.history.is_some() && directory(&ipv4.conf) == directory(&ipv6.conf) {
        parser.warn("bird6_conf", "keeps its history in the same directory as bird_conf; use two directories");
    }
}

fn directory(path: &Path) -> PathBuf {
    path.parent().map(normalized).unwrap_or_default()
}

/// Removes `.` and doubled slashes.
fn normalized(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}

fn log(parser: &mut OptionParser<'_>) -> Option<Log> {
    let level = parser.parse("loglevel", |text, _| match &*text.to_uppercase() {
        "DEBUG" => Some(LogLevel::Debug),
        "INFO" => Some(LogLevel::Info),
        // NOTSET leaves a Python logger at the level of the root logger, which is WARNING.
        "WARNING" | "WARN" | "NOTSET" => Some(LogLevel::Warning),
        "ERROR" => Some(LogLevel::Error),
        "CRITICAL" | "FATAL" => Some(LogLevel::Critical),
        _ => None,
    });
    let port = u16::try_from(parser.integer("log_server_port")).unwrap_or_default();
    let server = parser.nonempty_text("log_server").map(|host| (host, port));
    let stderr_file = parser.path("stderr_file");
    let stderr_server = parser.boolean("stderr_log_server");
    let width = parser.ini.sections().iter().map(|section| section.name.chars().count()).max();
    Some(Log {
        // The original counts [DEFAULT] as a section.
        width: width.unwrap_or_default().max("DEFAULT".len()) + 1,
        file: parser.path("log_file"),
        max_bytes: parser.integer("log_maxbytes"),
        backups: usize::try_from(parser.integer("log_backups")).unwrap_or(usize::MAX),
        json_stdout: parser.boolean("json_stdout"),
        json_file: parser.boolean("json_log_file"),
        json_server: parser.boolean("json_log_server"),
        json_prefix: if parser.choice("json_prefix").is_some() { "" } else { "anycast-healthchecker: " },
        journalctl: parser.boolean("log_format_journalctl"),
        stderr_server: stderr_server && server.is_some() && stderr_file.is_none(),
        level: level?,
        server,
        stderr_file,
    })
}
