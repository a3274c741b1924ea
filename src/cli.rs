//! The command line: the original's, letter for letter, and what is new.
//!
//! Promises: everything that the original accepts is accepted with the same meaning, abbreviated long options and
//! combined short ones too; a wrong command line is told with the usage, and changes nothing. A closed pipe behind
//! standard output is no panic.
//! Leaves out: exit codes (`main`), and all the work.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use strsim::damerau_levenshtein;

use crate::cli::drain::{DrainError, DrainTarget};
use crate::cli::withdraw_all::Done;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::files::{self, ServiceFiles, Sources};
use crate::config::lint;
use crate::config::lint::machine::Machine;
use crate::config::options;
use crate::config::preflight;
use crate::config::settings::Settings;
use crate::daemon;
use crate::report::view::View;

mod drain;
mod screen;
mod status;
#[cfg(test)]
mod tests;
mod withdraw_all;

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// What was asked for is done, or all is well.
    Success,
    /// It failed, or something is not well.
    Failed,
    /// The daemon that was asked about does not run.
    NotRunning,
}

/// The usage, in the notation of the original.
const USAGE: &str = "anycast-healthchecker [ -f <file> -c -p -P ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -c [ --strict --files-only ] [ -f <file> ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -s [ --json --down --watch ] [ -f <file> ] [ -d <directory> | -F <file> ] [ <service> ... ]
       anycast-healthchecker --drain <service> [ --for <time> ] | --undrain <service>
       anycast-healthchecker --drain-host [ --for <time> ] | --undrain-host
       anycast-healthchecker --withdraw-all";

/// Checks the services of an anycast host and keeps BIRD's list of advertised prefixes equal to the healthy ones.
// The hidden aliases are abbreviations which the original understands, but which newer options would make ambiguous.
#[derive(Debug, Parser)]
#[command(name = "anycast-healthchecker", override_usage = USAGE, infer_long_args = true, disable_version_flag = true)]
pub struct Arguments {
    /// Read settings from this file
    #[arg(short, long, value_name = "file", aliases = ["f", "fi", "fil"], allow_hyphen_values = true)]
    #[arg(default_value = "/etc/anycast-healthchecker.conf")]
    file: PathBuf,
    /// Read the services from the *.conf files in this directory
    #[arg(short, long, value_name = "directory", aliases = ["d"], allow_hyphen_values = true)]
    #[arg(default_value = "/etc/anycast-healthchecker.d", conflicts_with = "service_file")]
    dir: PathBuf,
    /// Read the services from this file
    #[arg(short = 'F', long, value_name = "file", aliases = ["s"], allow_hyphen_values = true)]
    service_file: Option<PathBuf>,
    /// Check the configuration and this machine; print OK or all problems
    #[arg(short, long, conflicts_with = "action")]
    check: bool,
    /// Show the default settings
    #[arg(short, long, conflicts_with = "action")]
    print: bool,
    /// Show the settings in use, defaults included
    #[arg(short = 'P', long, conflicts_with = "action")]
    print_conf: bool,
    /// With --check: treat warnings as errors
    #[arg(long, requires = "check")]
    strict: bool,
    /// With --check: check the files only, not this machine
    #[arg(long, requires = "check")]
    files_only: bool,
    /// Show the status of the running daemon, problems first; the exit code is about all services
    #[arg(short, long, group = "action")]
    status: bool,
    /// With --status: print a JSON document, for scripts
    #[arg(long, requires = "status")]
    json: bool,
    /// With --status: omit services that are up, drained or disabled
    #[arg(long, requires = "status")]
    down: bool,
    /// With --status: repeat every second until interrupted
    #[arg(long, requires = "status")]
    watch: bool,
    /// Withdraw a service through its drain_file
    #[arg(long, value_name = "service", groups = ["action", "start"])]
    drain: Option<String>,
    /// With --drain or --drain-host: end the drain after this time, in s, m, h or d: 30m, 2h, 1d 12h
    #[arg(long = "for", value_name = "time", requires = "start", value_parser = time)]
    duration: Option<Duration>,
    /// End the drain of a service
    #[arg(long, value_name = "service", group = "action")]
    undrain: Option<String>,
    /// Withdraw all services through the drain_file of [daemon]
    #[arg(long, groups = ["action", "start"])]
    drain_host: bool,
    /// End the drain of all services
    #[arg(long, group = "action")]
    undrain_host: bool,
    /// Remove every configured prefix from BIRD's lists while no daemon runs
    #[arg(long, group = "action")]
    withdraw_all: bool,
    /// Show the version
    #[arg(short, long)]
    version: bool,
    /// With --status: show these services only; the summary stays that of all
    #[arg(value_name = "service")]
    services: Vec<String>,
}

/// Does what the arguments ask for. Where they ask for several things, the original's order decides.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let arguments = match Arguments::parse_line(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return say(error),
        Err(mut error) => {
            suggest(&mut error);
            return wrong(&error);
        }
    };
    if arguments.version {
        return say(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
    if arguments.print {
        return say(options::print());
    }
    let sources = arguments.sources();
    if let Some(service) = &arguments.drain {
        drain(&sources, Some(service), arguments.duration)
    } else if let Some(service) = &arguments.undrain {
        undrain(&sources, Some(service))
    } else if arguments.drain_host {
        drain(&sources, None, arguments.duration)
    } else if arguments.undrain_host {
        undrain(&sources, None)
    } else if arguments.withdraw_all {
        withdraw_all(&sources)
    } else if arguments.status {
        let (json, down, services) = (arguments.json, arguments.down, arguments.services);
        status::run(&sources, &View { json, down, services }, arguments.watch)
    } else if arguments.check {
        check(&sources, arguments.strict, arguments.files_only)
    } else if arguments.print_conf {
        print_conf(&sources)
    } else {
        start(sources)
    }
}

impl Arguments {
    /// Parses a command line.
    fn parse_line(line: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
        let arguments = Arguments::try_parse_from(line)?;
        match arguments.services.first() {
            // clap could require --status, but would ask for it where no service was meant.
            Some(word) if !arguments.status => {
                let mut error = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(&Arguments::command());
                error.insert(ContextKind::InvalidArg, ContextValue::String(word.clone()));
                Err(error)
            }
            _ => Ok(arguments),
        }
    }

    fn sources(&self) -> Sources {
        let services = match &self.service_file {
            Some(file) => ServiceFiles::File(file.clone()),
            None => ServiceFiles::Directory(self.dir.clone()),
        };
        Sources { main: self.file.clone(), services }
    }
}

/// `--check`.
fn check(sources: &Sources, strict: bool, files_only: bool) -> ExitStatus {
    let checked = files::check(sources);
    let mut problems = if files_only {
        checked.problems
    } else {
        checked.check_machine(|configuration| {
            let of_machine = preflight::check(configuration, Severity::Error);
            [of_machine, lint::check_machine(&Machine::new(configuration))].concat()
        })
    };
    if strict {
        problems.iter_mut().for_each(|problem| problem.severity = Severity::Error);
    }
    tell(&problems);
    if problems.iter().any(Diagnostic::is_error) {
        return ExitStatus::Failed;
    }
    say("OK\n")
}

/// `--print-conf`.
fn print_conf(sources: &Sources) -> ExitStatus {
    let text = files::load(sources).and_then(|configuration| {
        let errors: Vec<Diagnostic> =
            preflight::check(&configuration, Severity::Error).into_iter().filter(Diagnostic::is_error).collect();
        if errors.is_empty() {
            configuration.print()
        } else {
            Err(errors)
        }
    });
    match text {
        Ok(text) => say(text),
        Err(problems) => {
            tell(&problems);
            ExitStatus::Failed
        }
    }
}

/// The daemon itself. What is not right on this machine, but may come right, it is told as warnings.
fn start(sources: Sources) -> ExitStatus {
    let mut configuration = match files::load(&sources) {
        Ok(configuration) => configuration,
        Err(problems) => {
            tell(&problems);
            return ExitStatus::Failed;
        }
    };
    if let Some(problem) = preflight::pidfile_directory(&configuration) {
        tell(&[problem]);
        return ExitStatus::Failed;
    }
    configuration.warnings.extend(preflight::check(&configuration, Severity::Warning));
    match daemon::run(sources, configuration) {
        Ok(()) => ExitStatus::Success,
        Err(error) => fail(&error),
    }
}

/// `--drain` of one service, `--drain-host` of none in particular; without a time until it is ended.
fn drain(sources: &Sources, service: Option<&str>, time: Option<Duration>) -> ExitStatus {
    with_settings(sources, |settings| drain::begin(settings, whom(service), time))
}

/// `--undrain` of one service, `--undrain-host` of none in particular.
fn undrain(sources: &Sources, service: Option<&str>) -> ExitStatus {
    with_settings(sources, |settings| drain::end(settings, whom(service)))
}

fn whom(service: Option<&str>) -> DrainTarget<'_> {
    service.map_or(DrainTarget::Host, DrainTarget::Service)
}

/// Does something that the configuration has to be good for.
fn with_settings(sources: &Sources, act: impl FnOnce(&Settings) -> Result<String, DrainError>) -> ExitStatus {
    match files::load(sources) {
        Ok(configuration) => match act(&configuration.settings) {
            Ok(done) => say(done + "\n"),
            Err(why) => fail(why),
        },
        Err(problems) => {
            tell(&problems);
            ExitStatus::Failed
        }
    }
}

/// `--withdraw-all`. Errors in the configuration are told, and passed over where that can be.
fn withdraw_all(sources: &Sources) -> ExitStatus {
    match withdraw_all::run(sources) {
        Ok(Done { sentences, problems, findings, well }) => {
            tell(&problems);
            findings.iter().for_each(|finding| _ = fail(finding));
            let said = say(sentences.join("\n") + "\n");
            if well {
                said
            } else {
                ExitStatus::Failed
            }
        }
        Err((why, problems)) => {
            tell(&problems);
            fail(why)
        }
    }
}

/// Parses a time above zero such as `30m`, `2h 30m` or `1d`. A day has 24 hours.
fn time(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::Span>();
    let time = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    let rule = "it must be a number and its unit, s, m, h or d, or several such as 1d 12h; 30m, 2h and 1d are times";
    let time = Duration::try_from(time.map_err(|_| rule.to_string())?).ok();
    time.filter(|time| !time.is_zero()).ok_or_else(|| "it must be above zero".to_string())
}

/// Replaces clap's tip for an unknown option, which may name a hidden abbreviation, by the nearest
/// option of `--help`.
fn suggest(error: &mut clap::Error) {
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

/// A wrong command line: what is wrong, and the usage.
fn wrong(error: &clap::Error) -> ExitStatus {
    let text = error.to_string();
    let usage = if text.contains("Usage:") { "" } else { USAGE };
    let before = if usage.is_empty() { "" } else { "\nUsage: " };
    fail(format_args!("{}{before}{usage}", text.trim_end()))
}

/// Writes to standard output; a failure is told, unless nobody reads any more.
fn say(text: impl Display) -> ExitStatus {
    let mut out = io::stdout().lock();
    written(write!(out, "{text}").and_then(|()| out.flush()))
}

/// What came of writing to standard output.
fn written(done: io::Result<()>) -> ExitStatus {
    match done {
        Ok(()) => ExitStatus::Success,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Failed,
        Err(error) => fail(format_args!("cannot write to standard output: {error}")),
    }
}

/// Writes problems to standard error, one a line.
fn tell(problems: &[Diagnostic]) {
    let mut err = BufWriter::new(io::stderr().lock());
    for problem in problems {
        let head = if problem.is_error() { "Invalid configuration" } else { "Warning" };
        // Where nobody reads, nothing can be told.
        let _ = writeln!(err, "{head}: {problem}");
    }
    let _ = err.flush();
}

/// Says on standard error why it failed.
fn fail(why: impl Display) -> ExitStatus {
    let _ = writeln!(io::stderr(), "{why}");
    ExitStatus::Failed
}
