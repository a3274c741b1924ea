//! Section `[daemon]`: both families' BIRD side, the log, the rest.
//!
//! Promises and leaves out: as `config::parse`, whose part it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::python;
use crate::config::settings::{Bird, Daemon, Log, LogLevel, Prometheus};
use crate::prefix::{Family, Prefix};

use super::OptionParser;

pub(super) fn read(reader: &mut OptionParser<'_>) -> Option<Daemon> {
    let on = Family::BOTH.map(|family| reader.parsed(names(family).family, |text, _| python::boolean(text)));
    let [ipv4, ipv6] = [0, 1].map(|at| bird(reader, Family::BOTH[at], on[at] == Some(true)));
    let off = Family::BOTH.iter().zip(on).filter(|(_, on)| *on == Some(false));
    let unused_bird_conf = off.filter_map(|(family, _)| reader.path(names(*family).conf)).collect();
    if let (Some(first), Some(second)) = (&ipv4, &ipv6) {
        two_families(reader, first, second);
    }
    let pidfile = reader.path("pidfile");
    let status_socket = status_socket(reader, pidfile.as_deref());
    let prometheus_on = reader.boolean("prometheus_exporter");
    let prometheus_interval = Duration::from_secs(reader.whole("prometheus_exporter_interval"));
    let prometheus_dir = if prometheus_on { reader.path("prometheus_collector_textfile_dir") } else { None };
    let purge_ip_prefixes = reader.boolean("purge_ip_prefixes");
    let shared_ip_prefixes = reader.boolean("shared_ip_prefixes");
    let splay_startup = reader.seconds("splay_startup").unwrap_or_default();
    let drain_file = reader.path("drain_file");
    let log = log(reader);
    // A family that is faulty is not one that is off: nothing can be said of its prefixes.
    if on != [Some(ipv4.is_some()), Some(ipv6.is_some())] {
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
        splay_startup,
        drain_file,
        log: log?,
        prometheus: prometheus_dir.map(|dir| Prometheus { dir, interval: prometheus_interval }),
    })
}

/// By default it lies beside the pidfile.
pub(super) fn status_socket(reader: &mut OptionParser<'_>, pidfile: Option<&Path>) -> Option<PathBuf> {
    reader.socket("status_socket").or_else(|| pidfile.map(|pidfile| pidfile.with_file_name("status.sock")))
}

/// The options of one family.
struct Names {
    family: &'static str,
    conf: &'static str,
    variable: &'static str,
    reconfigure_cmd: &'static str,
    control_socket: &'static str,
    dummy: &'static str,
    keep_changes: &'static str,
    changes_counter: &'static str,
}

fn names(family: Family) -> &'static Names {
    match family {
        Family::V4 => &Names {
            family: "ipv4",
            conf: "bird_conf",
            variable: "bird_variable",
            reconfigure_cmd: "bird_reconfigure_cmd",
            control_socket: "bird_control_socket",
            dummy: "dummy_ip_prefix",
            keep_changes: "bird_keep_changes",
            changes_counter: "bird_changes_counter",
        },
        Family::V6 => &Names {
            family: "ipv6",
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

/// Numbers and truth values are judged also where the family is off, as the original does; the rest is not looked at.
fn bird(reader: &mut OptionParser<'_>, family: Family, on: bool) -> Option<Bird> {
    let names = names(family);
    let keep_changes = reader.boolean(names.keep_changes);
    let counter = usize::try_from(reader.whole(names.changes_counter)).unwrap_or(usize::MAX);
    if !on {
        return None;
    }
    let conf = reader.path(names.conf);
    let variable = reader.variable(names.variable);
    let reconfigure_cmd = reader.command(names.reconfigure_cmd);
    Some(Bird {
        control_socket: reader.socket(names.control_socket),
        dummy: dummy(reader, names.dummy, family),
        reconfigure_cmd_is_set: reader.is_set(names.reconfigure_cmd),
        history: keep_changes.then_some(counter),
        conf: conf?,
        variable: variable?,
        reconfigure_cmd: reconfigure_cmd?,
    })
}

/// The family's dummy; none where the option is left empty.
fn dummy(reader: &mut OptionParser<'_>, option: &str, family: Family) -> Option<Prefix> {
    let text = reader.text(option).filter(|text| !text.is_empty())?;
    match text.parse::<Prefix>() {
        Ok(prefix) if prefix.family() == family => return Some(prefix),
        Ok(_) => reader.error(option, format!("must be an {family} prefix, or nothing for no dummy")),
        Err(error) => reader.error(option, format!("must be an {family} prefix, or nothing for no dummy: {error}")),
    }
    None
}

fn two_families(reader: &mut OptionParser<'_>, ipv4: &Bird, ipv6: &Bird) {
    if plain(&ipv4.conf) == plain(&ipv6.conf) {
        reader.error("bird6_conf", "must not be the file that bird_conf names: each family needs its own");
    } else if ipv4.history.is_some() && ipv6.history.is_some() && directory(&ipv4.conf) == directory(&ipv6.conf) {
        reader.warn("bird6_conf", "keeps its history in the same directory as bird_conf; use two directories");
    }
}

fn directory(path: &Path) -> PathBuf {
    path.parent().map(plain).unwrap_or_default()
}

/// Without `.` and doubled slashes.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}

fn log(reader: &mut OptionParser<'_>) -> Option<Log> {
    let level = reader.parsed("loglevel", |text, _| match &*text.to_uppercase() {
        "DEBUG" => Some(LogLevel::Debug),
        "INFO" => Some(LogLevel::Info),
        // NOTSET leaves a logger of Python's at the level of the root, which is WARNING.
        "WARNING" | "WARN" | "NOTSET" => Some(LogLevel::Warning),
        "ERROR" => Some(LogLevel::Error),
        "CRITICAL" | "FATAL" => Some(LogLevel::Critical),
        _ => None,
    });
    let port = u16::try_from(reader.whole("log_server_port")).unwrap_or_default();
    let server = reader.filled("log_server").map(|host| (host, port));
    let stderr_file = reader.path("stderr_file");
    let stderr_server = reader.boolean("stderr_log_server");
    let width = reader.ini.sections().iter().map(|section| section.name.chars().count()).max();
    Some(Log {
        // The original counts [DEFAULT] among the sections.
        width: width.unwrap_or_default().max("DEFAULT".len()) + 1,
        file: reader.path("log_file"),
        max_bytes: reader.whole("log_maxbytes"),
        backups: usize::try_from(reader.whole("log_backups")).unwrap_or(usize::MAX),
        json_stdout: reader.boolean("json_stdout"),
        json_file: reader.boolean("json_log_file"),
        json_server: reader.boolean("json_log_server"),
        json_prefix: if reader.word("json_prefix").is_some() { "" } else { "anycast-healthchecker: " },
        journalctl: reader.boolean("log_format_journalctl"),
        stderr_server: stderr_server && server.is_some() && stderr_file.is_none(),
        level: level?,
        server,
        stderr_file,
    })
}
