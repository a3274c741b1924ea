//! The monitoring plugin: asks the running daemon for its status and reports it to Nagios, Icinga
//! or NRPE.
//!
//! Guarantees: it prints one line to standard output in every case, and more lines after it with
//! `-v`. It exits with 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN; a wrong command line, `--help` and
//! `--version` are UNKNOWN too. It ends within the time-out.
//!
//! Out of scope: the judgment of the status (`report::nagios`).

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anycast_healthchecker::internals::config::files::{self, ServiceFiles, Sources};
use anycast_healthchecker::internals::report::client::ask;
use anycast_healthchecker::internals::report::nagios::{
    judge, judge_failure, unknown, PluginResult, Range, Thresholds,
};
use clap::Parser;

/// Checks that anycast-healthchecker runs, that none of its threads is stuck, that BIRD has the
/// right list of prefixes, and that services are up.
///
/// RANGE is a threshold range of the Monitoring Plugins guidelines for the number of services that
/// are down: 2 alerts above 2, 0: alerts never.
#[derive(Parser)]
#[command(name = "check_anycast_healthchecker", version)]
struct Arguments {
    /// Configuration of the daemon, which names its status socket
    #[arg(short, long, value_name = "FILE", default_value = "/etc/anycast-healthchecker.conf")]
    file: PathBuf,
    /// Directory with the configuration of the services
    #[arg(short, long, value_name = "DIRECTORY", default_value = "/etc/anycast-healthchecker.d")]
    dir: PathBuf,
    /// File with the configuration of the services, instead of a directory
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "dir")]
    service_file: Option<PathBuf>,
    /// The status socket; no configuration is read then
    #[arg(short, long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// WARNING if the number of services that are down is outside this range
    #[arg(short, long, value_name = "RANGE", default_value = "0")]
    warning: Range,
    /// CRITICAL if the number of services that are down is outside this range [default: never]
    #[arg(short, long, value_name = "RANGE")]
    critical: Option<Range>,
    /// CRITICAL if BIRD has been behind for this many seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    behind: Duration,
    /// CRITICAL if BIRD announces a service that is up to nobody for this many seconds; needs a
    /// control socket
    #[arg(short, long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    exported: Duration,
    /// Seconds within which the daemon has to answer
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Show every service and address family after the first line
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    // If printing fails, the exit code still reports the result.
    let mut out = std::io::stdout();
    let (result, verbose) = match Arguments::try_parse() {
        Ok(arguments) => (query(&arguments), arguments.verbose),
        Err(help_or_version) if !help_or_version.use_stderr() => {
            let _ = write!(out, "{help_or_version}");
            return ExitCode::from(unknown("").status.exit_code());
        }
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            (unknown(&format!("{first}; see --help")), false)
        }
    };
    let _ = writeln!(out, "{result}");
    for detail in result.details.iter().filter(|_| verbose) {
        let _ = writeln!(out, "{detail}");
    }
    ExitCode::from(result.status.exit_code())
}

/// Asks the daemon and judges its answer, or the lack of one.
fn query(arguments: &Arguments) -> PluginResult {
    let sources = sources(arguments);
    let socket = match arguments.socket.clone().map_or_else(|| configured_socket(&sources), Ok) {
        Ok(socket) => socket,
        Err(why) => return unknown(&why),
    };
    let thresholds = Thresholds {
        warning: Some(arguments.warning.clone()),
        critical: arguments.critical.clone(),
        behind_s: arguments.behind.as_secs_f64(),
        to_nobody_s: arguments.exported.as_secs_f64(),
    };
    match ask(&socket, arguments.timeout) {
        Ok(document) => judge(&document, &thresholds),
        Err(why) => {
            // With --socket the daemon may be another than the configured one, so the pidfile says
            // nothing about it.
            let pidfile = arguments.socket.is_none().then(|| files::pidfile(&sources)).flatten();
            judge_failure(&why.confirmed(pidfile.as_deref()))
        }
    }
}

fn sources(arguments: &Arguments) -> Sources {
    let services = match &arguments.service_file {
        Some(file) => ServiceFiles::File(file.clone()),
        None => ServiceFiles::Directory(arguments.dir.clone()),
    };
    Sources { main: arguments.file.clone(), services }
}

/// Returns the socket that the configuration names, even if other options in it are wrong.
fn configured_socket(sources: &Sources) -> Result<PathBuf, String> {
    files::status_socket(sources).map_err(|problems| {
        let first = problems.iter().find(|problem| problem.is_error()).map(ToString::to_string).unwrap_or_default();
        format!("the configuration does not tell where the status socket is: {first}; mend it, or give --socket")
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    value.filter(|value| !value.is_zero()).ok_or_else(|| "a number of seconds above 0 is needed".to_string())
}
