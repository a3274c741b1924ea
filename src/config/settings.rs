//! Settings: the configuration as types that exist only valid. Who holds a [`Settings`] never checks again.
//!
//! Promises: intervals and time-outs are above zero, counts non-zero, prefixes without host bits and of an enabled
//! family, no prefix twice (but where `shared_ip_prefixes` allows it), commands split and non-empty, variables readable
//! by BIRD.
//! Leaves out: whatever depends on the machine (`config::preflight`).

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::prefix::{Family, Prefix};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Section `[daemon]`.
    pub daemon: Daemon,
    /// Every other section, in order of file name and of appearance.
    pub services: Vec<Arc<Service>>,
}

/// Section `[daemon]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    /// `bird_*`, or nothing where `ipv4 = false`.
    pub ipv4: Option<Bird>,
    /// `bird6_*`, or nothing where `ipv6 = false`.
    pub ipv6: Option<Bird>,
    /// The prefix files of families that are switched off, to warn of prefixes they still list.
    pub unused_bird_conf: Vec<PathBuf>,
    /// `purge_ip_prefixes`: prefixes without a service are removed at start.
    pub purge_ip_prefixes: bool,
    /// `shared_ip_prefixes`: several services may name one prefix.
    pub shared_ip_prefixes: bool,
    /// `pidfile`.
    pub pidfile: PathBuf,
    /// `status_socket`; by default `status.sock` beside the pidfile.
    pub status_socket: PathBuf,
    /// `splay_startup`: the first check of each service waits a random time up to this. Zero where unset.
    pub splay_startup: Duration,
    /// `drain_file` of the whole host.
    pub drain_file: Option<PathBuf>,
    /// Everything about logging.
    pub log: Log,
    /// `prometheus_*`, or nothing where the exporter is off.
    pub prometheus: Option<Prometheus>,
}

impl Daemon {
    /// The BIRD side of one family, where the family is on.
    pub fn bird(&self, family: Family) -> Option<&Bird> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }
}

/// The BIRD side of one family.
#[derive(Clone, Debug, PartialEq)]
pub struct Bird {
    /// `bird_conf`, as configured (it may be a symbolic link; the writer resolves it).
    pub conf: PathBuf,
    /// `bird_variable`.
    pub variable: String,
    /// `bird_reconfigure_cmd`.
    pub reconfigure_cmd: Command,
    /// Whether `bird_reconfigure_cmd` stands in the configuration, rather than being the default.
    pub reconfigure_cmd_is_set: bool,
    /// `bird_control_socket`.
    pub control_socket: Option<PathBuf>,
    /// `dummy_ip_prefix`; none where it is left empty.
    pub dummy: Option<Prefix>,
    /// `bird_changes_counter` where `bird_keep_changes` is on: how many old files are kept, at most.
    pub history: Option<usize>,
}

/// Everything about logging.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `loglevel`.
    pub level: LogLevel,
    /// Width of the thread column: the longest section name and one, as the original has it.
    pub width: usize,
    /// `log_file`.
    pub file: Option<PathBuf>,
    /// `log_maxbytes`: a file is rotated before it would reach this size. 0: never.
    pub max_bytes: u64,
    /// `log_backups`: how many rotated files are kept.
    pub backups: usize,
    /// `log_server` and `log_server_port`.
    pub server: Option<(String, u16)>,
    /// `json_stdout`, `json_log_file`, `json_log_server`.
    pub json_stdout: bool,
    /// See `json_stdout`.
    pub json_file: bool,
    /// See `json_stdout`.
    pub json_server: bool,
    /// What stands before the JSON object of a record: `anycast-healthchecker: `, or nothing (`json_prefix = none`).
    pub json_prefix: &'static str,
    /// `log_format_journalctl`.
    pub journalctl: bool,
    /// `stderr_file`.
    pub stderr_file: Option<PathBuf>,
    /// `stderr_log_server`, which counts only where `log_server` is set and `stderr_file` is not.
    pub stderr_server: bool,
}

/// The original's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Changes and what led to them.
    Info,
    /// A service went down, something was repaired.
    Warning,
    /// Something failed.
    Error,
    /// The daemon ends.
    Critical,
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
    /// `check_disabled` and `on_disabled`: nothing is run, and this decides once.
    pub disabled: Option<OnDisabled>,
    /// `ip_prefix`, at least one.
    pub prefixes: Vec<Prefix>,
    /// `ip_prefix` as written, which the original's `anycast_healthchecker_service` metric shows.
    pub prefix_text: String,
    /// `interface`, or nothing where `ip_check_disabled` is on.
    pub assigned_to: Option<String>,
    /// `interface`, also where it is not looked at.
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
    /// Each known option of the section as the original logs it at start: `check_interval=1.0:<class 'float'>`.
    pub listing: Vec<Box<str>>,
}

/// A command with a time limit of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedCommand {
    /// The command.
    pub command: Command,
    /// How long one run may take.
    pub timeout: Duration,
}

/// What becomes of the prefix of a service whose check is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisabled {
    /// It is taken out.
    Withdraw,
    /// It is put in.
    Advertise,
}
