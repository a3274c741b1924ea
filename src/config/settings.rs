//! Settings: the configuration as types that exist only valid, so that users of [`Settings`] check
//! nothing again.
//!
//! Guarantees: intervals and time-outs are above zero, and counts are not zero. Prefixes have no
//! host bits, belong to an enabled family, and are unique, unless `shared_ip_prefixes` allows
//! sharing. Commands are split into words and not empty. Names of BIRD constants are valid.
//!
//! Out of scope: what depends on the machine (`config::preflight`).

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::prefix::{Family, Prefix};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Section `[daemon]`.
    pub daemon: Daemon,
    /// The services, in order of files and of appearance.
    pub services: Vec<Arc<Service>>,
}

/// Section `[daemon]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    /// The options `bird_*`. None if `ipv4 = false`.
    pub ipv4: Option<Bird>,
    /// The options `bird6_*`. None if `ipv6 = false`.
    pub ipv6: Option<Bird>,
    /// The prefix files of families that are off, to warn of prefixes that they still list.
    pub unused_bird_conf: Vec<PathBuf>,
    /// `purge_ip_prefixes`: prefixes without a service are removed at start.
    pub purge_ip_prefixes: bool,
    /// `shared_ip_prefixes`: several services may name one prefix.
    pub shared_ip_prefixes: bool,
    /// `pidfile`.
    pub pidfile: PathBuf,
    /// `status_socket`; by default `status.sock` beside the pidfile.
    pub status_socket: PathBuf,
    /// `bird_export_interval`: how often BIRD is asked whom it announces the prefixes to. None for
    /// never.
    pub export_interval: Option<Duration>,
    /// `splay_startup`: upper bound on the random delay of each service's first check. Zero if it
    /// is not set.
    pub splay_startup: Duration,
    /// `drain_file` of the whole host.
    pub drain_file: Option<PathBuf>,
    /// Everything about logging.
    pub log: Log,
    /// The options `prometheus_*`. None if the exporter is off.
    pub prometheus: Option<Prometheus>,
}

impl Daemon {
    /// The BIRD options of a family. None if the family is off.
    pub fn bird(&self, family: Family) -> Option<&Bird> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }
}

/// The BIRD options of one family.
#[derive(Clone, Debug, PartialEq)]
pub struct Bird {
    /// `bird_conf`, as configured (it may be a symbolic link; the writer resolves it).
    pub conf: PathBuf,
    /// `bird_variable`.
    pub variable: String,
    /// `bird_reconfigure_cmd`.
    pub reconfigure_cmd: Command,
    /// Whether a file sets `bird_reconfigure_cmd`.
    pub reconfigure_cmd_is_set: bool,
    /// `bird_control_socket`.
    pub control_socket: Option<PathBuf>,
    /// `dummy_ip_prefix`. None if it is empty.
    pub dummy: Option<Prefix>,
    /// `bird_changes_counter`: how many old files to keep. None if `bird_keep_changes` is off.
    pub history: Option<usize>,
}

/// Everything about logging.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `loglevel`.
    pub level: LogLevel,
    /// The width of the column for threads: one more than the longest section name, as in the
    /// original.
    pub width: usize,
    /// `log_file`.
    pub file: Option<PathBuf>,
    /// `log_maxbytes`: a file is rotated before it reaches this size. 0 means never.
    pub max_bytes: u64,
    /// `log_backups`: how many rotated files to keep.
    pub backups: usize,
    /// `log_server` and `log_server_port`.
    pub server: Option<(String, u16)>,
    /// `json_stdout`.
    pub json_stdout: bool,
    /// `json_log_file`.
    pub json_file: bool,
    /// `json_log_server`.
    pub json_server: bool,
    /// The text before each JSON record: `anycast-healthchecker: `. Empty if `json_prefix` is none.
    pub json_prefix: &'static str,
    /// `log_format_journalctl`.
    pub journalctl: bool,
    /// `stderr_file`.
    pub stderr_file: Option<PathBuf>,
    /// `stderr_log_server`, which has an effect only if `log_server` is set and `stderr_file` is
    /// not.
    pub stderr_server: bool,
}

/// The log levels of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Changes and what led to them.
    Info,
    /// A service went down, or something was repaired.
    Warning,
    /// Something failed.
    Error,
    /// The daemon stops.
    Critical,
}

impl Log {
    /// Whether files are rotated.
    pub fn rotates(&self) -> bool {
        self.max_bytes > 0 && self.backups > 0
    }

    /// The files to log to, each with its option.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [("log_file", &self.file), ("stderr_file", &self.stderr_file)];
        files.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)))
    }
}

/// The Prometheus text file.
#[derive(Clone, Debug, PartialEq)]
pub struct Prometheus {
    /// `prometheus_collector_textfile_dir`.
    pub dir: PathBuf,
    /// `prometheus_exporter_interval`.
    pub interval: Duration,
}

/// One service: a section other than `[daemon]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The section's name.
    pub name: String,
    /// `check_cmd`.
    pub check_cmd: Command,
    /// `check_interval`.
    pub check_interval: Duration,
    /// `check_fast_interval`: the interval while the state is unknown or about to change.
    pub check_fast_interval: Option<Duration>,
    /// `check_timeout`.
    pub check_timeout: Duration,
    /// `check_rise`.
    pub check_rise: NonZeroU32,
    /// `check_fail`.
    pub check_fail: NonZeroU32,
    /// `on_disabled`, which decides about the prefix. None if `check_disabled` is off.
    pub disabled: Option<OnDisabled>,
    /// `ip_prefix`, at least one.
    pub prefixes: Vec<Prefix>,
    /// `ip_prefix` as written, which the original's `anycast_healthchecker_service` metric shows.
    pub prefix_text: String,
    /// The interface that must have the addresses. None if `ip_check_disabled` is on.
    pub assigned_to: Option<String>,
    /// `interface`, even if `ip_check_disabled` is on.
    pub interface: String,
    /// `custom_bird_reconfigure_cmd` and its time-out.
    pub custom_reconfigure: Option<TimedCommand>,
    /// `watch_pidfile`.
    pub watch_pidfile: Option<PathBuf>,
    /// `drain_file` of this service alone.
    pub drain_file: Option<PathBuf>,
    /// `on_exit = withdraw`.
    pub withdraw_on_exit: bool,
    /// `on_boot = withdraw`.
    pub withdraw_on_boot: bool,
    /// `state_change_cmd` and `state_change_cmd_timeout`.
    pub state_change: Option<TimedCommand>,
    /// Each option of the section as the original logs it at start:
    /// `check_interval=1.0:<class 'float'>`.
    pub listing: Vec<Box<str>>,
}

/// A command and its time-out.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedCommand {
    /// The command.
    pub command: Command,
    /// Upper bound on one run.
    pub timeout: Duration,
}

/// What happens to the prefix of a service whose check is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisabled {
    /// It is withdrawn.
    Withdraw,
    /// It is advertised.
    Advertise,
}
