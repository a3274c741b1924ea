//! The definition of the command line.
//!
//! Guarantees: pure. The parser accepts every command line of the original, including abbreviated
//! long options and combined short ones. An error suggests the nearest option.
//!
//! Out of scope: the work behind each option (`cli`).

#![allow(rustdoc::broken_intra_doc_links, reason = "the help names sections of the configuration in brackets")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser};
use strsim::damerau_levenshtein;

use crate::config::files::{ServiceFiles, Sources};
use crate::config::options;

/// The usage, in the notation of the original.
pub(super) const USAGE: &str = "anycast-healthchecker [ -f <file> -c -p -P ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -c [ --strict --files-only ] [ -f <file> ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -s [ --json --down --watch ] [ -f <file> ] [ -d <directory> | -F <file> ] [ <service> ... ]
       anycast-healthchecker --doctor [ --json --run-checks ] [ -f <file> ] [ -d <directory> | -F <file> ] [ <service> ... ]
       anycast-healthchecker --drain <service> [ --for <time> ] | --undrain <service>
       anycast-healthchecker --drain-host [ --for <time> ] | --undrain-host
       anycast-healthchecker --withdraw-all";

/// Checks the services of an anycast host and keeps BIRD's list of advertised prefixes equal to the
/// healthy ones.
// The hidden aliases are abbreviations that the original understands but that newer options would
// make ambiguous.
#[derive(Debug, Parser)]
#[command(name = "anycast-healthchecker", override_usage = USAGE, infer_long_args = true, disable_version_flag = true)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) sources: SourceArguments,
    #[command(flatten)]
    pub(super) check: CheckArguments,
    #[command(flatten)]
    pub(super) status: StatusArguments,
    #[command(flatten)]
    pub(super) drain: DrainArguments,
    /// Remove every configured prefix from BIRD's lists while no daemon runs
    #[arg(long, group = "action")]
    pub(super) withdraw_all: bool,
    /// Show the version
    #[arg(short, long)]
    pub(super) version: bool,
    /// With --status: show these services only; the summary stays that of all. With --doctor:
    /// examine these only
    #[arg(value_name = "service")]
    pub(super) services: Vec<String>,
}

// A doc comment on one of these structs would replace the first line of the help.

// Where the configuration is.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct SourceArguments {
    /// Read settings from this file
    #[arg(short, long, value_name = "file", aliases = ["f", "fi", "fil"], allow_hyphen_values = true)]
    #[arg(default_value = "/etc/anycast-healthchecker.conf")]
    pub(super) file: PathBuf,
    /// Read the services from the *.conf files in this directory
    #[arg(short, long, value_name = "directory", aliases = ["d"], allow_hyphen_values = true)]
    #[arg(default_value = "/etc/anycast-healthchecker.d", conflicts_with = "service_file")]
    pub(super) dir: PathBuf,
    /// Read the services from this file
    #[arg(short = 'F', long, value_name = "file", aliases = ["s"], allow_hyphen_values = true)]
    pub(super) service_file: Option<PathBuf>,
}

// What to check or print instead of starting the daemon.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct CheckArguments {
    /// Check the configuration and this machine; print OK or all problems
    #[arg(short, long, conflicts_with = "action")]
    pub(super) check: bool,
    /// Show the default settings
    #[arg(short, long, conflicts_with = "action")]
    pub(super) print: bool,
    /// Show the settings in use, defaults included
    #[arg(short = 'P', long, conflicts_with = "action")]
    pub(super) print_conf: bool,
    /// With --check: treat warnings as errors
    #[arg(long, requires = "check")]
    pub(super) strict: bool,
    /// With --check: check the files only, not this machine
    #[arg(long, requires = "check")]
    pub(super) files_only: bool,
}

// How to show the status, or what the doctor finds.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct StatusArguments {
    /// Show the status of the running daemon, problems first; the exit code is about all services
    #[arg(short, long, groups = ["action", "report"])]
    pub(super) status: bool,
    /// Examine everything that keeps a healthy service from being announced; change nothing
    #[arg(long, groups = ["action", "report"])]
    pub(super) doctor: bool,
    /// With --status or --doctor: print a JSON document, for scripts
    #[arg(long, requires = "report")]
    pub(super) json: bool,
    /// With --doctor: run each check command once
    #[arg(long, requires = "doctor", conflicts_with = "status")]
    pub(super) run_checks: bool,
    /// With --status: omit services that are up, drained or disabled
    #[arg(long, requires = "status", conflicts_with = "doctor")]
    pub(super) down: bool,
    /// With --status: repeat every second until interrupted
    #[arg(long, requires = "status", conflicts_with = "doctor")]
    pub(super) watch: bool,
}

// What to drain, and for how long.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct DrainArguments {
    /// Withdraw a service through its drain_file
    #[arg(long, value_name = "service", groups = ["action", "start"])]
    pub(super) drain: Option<String>,
    /// With --drain or --drain-host: end the drain after this time, in s, m, h or d: 30m, 2h, 1d
    /// 12h
    #[arg(long = "for", value_name = "time", requires = "start", value_parser = time)]
    pub(super) duration: Option<Duration>,
    /// End the drain of a service
    #[arg(long, value_name = "service", group = "action")]
    pub(super) undrain: Option<String>,
    /// Withdraw all services through the drain_file of [daemon]
    #[arg(long, groups = ["action", "start"])]
    pub(super) drain_host: bool,
    /// End the drain of all services
    #[arg(long, group = "action")]
    pub(super) undrain_host: bool,
}

impl Arguments {
    /// Parses a command line.
    pub(super) fn parse_line(line: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
        let arguments = Arguments::try_parse_from(line)?;
        match arguments.services.first() {
            // clap could require --status or --doctor for a service name, but would then suggest
            // them for every stray word.
            Some(word) if !arguments.status.status && !arguments.status.doctor => {
                let mut error = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(&Arguments::command());
                error.insert(ContextKind::InvalidArg, ContextValue::String(word.clone()));
                Err(error)
            }
            _ => Ok(arguments),
        }
    }

    /// Returns where the configuration is.
    pub(super) fn sources(&self) -> Sources {
        let SourceArguments { file, dir, service_file } = &self.sources;
        let services = match service_file {
            Some(file) => ServiceFiles::File(file.clone()),
            None => ServiceFiles::Directory(dir.clone()),
        };
        Sources { main: file.clone(), services }
    }
}

/// Parses a time above zero, such as `30m`, `2h 30m` or `1d`. A day has 24 hours.
fn time(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::Span>();
    let time = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    let rule = "it must be a number and its unit, s, m, h or d, or several such as 1d 12h; 30m, 2h and 1d are times";
    let time = Duration::try_from(time.map_err(|_| rule.to_string())?).ok();
    time.filter(|time| !time.is_zero()).ok_or_else(|| "it must be above zero".to_string())
}

/// Replaces clap's tip for an unknown option, which may name a hidden abbreviation, by the nearest
/// option of `--help`.
pub(super) fn suggest(error: &mut clap::Error) {
    let given = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(given)) if error.kind() == ErrorKind::UnknownArgument => given.clone(),
        _ => return,
    };
    let command = Arguments::command();
    let name = given.trim_start_matches('-');
    let longs = command.get_arguments().filter(|option| !option.is_hide_set()).filter_map(clap::Arg::get_long);
    let near = longs.map(|long| (damerau_levenshtein(name, long), long)).min();
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::Suggested);
    let tip = match near {
        _ if !given.starts_with("--") => return,
        Some((distance, long)) if distance <= (name.len() / 3).clamp(1, 3) => {
            error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{long}")));
            return;
        }
        _ => match options::OPTIONS.iter().find(|option| option.name == name.replace('-', "_")) {
            Some(option) => {
                format!("{} is set in the configuration files, see anycast-healthchecker.conf(5)", option.name)
            }
            None => "no option has a name like that; --help lists all of them".to_string(),
        },
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

#[cfg(test)]
mod tests;
