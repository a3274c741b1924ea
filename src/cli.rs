//! The command line: that of the original, letter for letter, and new options.
//!
//! Guarantees: every command line that the original accepts has the same meaning here, also with
//! abbreviated long options and combined short ones. A wrong command line changes nothing; the
//! error shows the usage. A closed pipe at standard output causes no panic.
//!
//! Out of scope: exit codes (`main`), and the work behind each option.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser};
use strsim::damerau_levenshtein;

use crate::cli::drain::{DrainError, DrainTarget};
use crate::cli::withdraw_all::Withdrawal;
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

/// The result of a command line. `main` turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The request was carried out; for `--status`, all is well.
    Success,
    /// The request failed; for `--status`, something is not well.
    Failed,
    /// `--status` found no running daemon.
    NotRunning,
}

/// The usage, in the notation of the original.
const USAGE: &str = "anycast-healthchecker [ -f <file> -c -p -P ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -c [ --strict --files-only ] [ -f <file> ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -s [ --json --down --watch ] [ -f <file> ] [ -d <directory> | -F <file> ] [ <service> ... ]
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
    sources: SourceArguments,
    #[command(flatten)]
    check: CheckArguments,
    #[command(flatten)]
    status: StatusArguments,
    #[command(flatten)]
    drain: DrainArguments,
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

// A doc comment on one of these structs would replace the first line of the help.

// Where the configuration is.
#[derive(Debug, Args)]
#[group(skip)]
struct SourceArguments {
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
}

// What to check or print instead of starting the daemon.
#[derive(Debug, Args)]
#[group(skip)]
struct CheckArguments {
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
}

// How to show the status.
#[derive(Debug, Args)]
#[group(skip)]
struct StatusArguments {
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
}

// What to drain, and for how long.
#[derive(Debug, Args)]
#[group(skip)]
struct DrainArguments {
    /// Withdraw a service through its drain_file
    #[arg(long, value_name = "service", groups = ["action", "start"])]
    drain: Option<String>,
    /// With --drain or --drain-host: end the drain after this time, in s, m, h or d: 30m, 2h, 1d
    /// 12h
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
}

/// Carries out a command line. If it asks for several things, the original's order decides.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let arguments = match Arguments::parse_line(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return print(error),
        Err(mut error) => {
            suggest(&mut error);
            return usage_error(&error);
        }
    };
    let sources = arguments.sources();
    let Arguments { check: checking, status, drain: draining, .. } = arguments;
    if arguments.version {
        print(concat!(env!("CARGO_PKG_VERSION"), "\n"))
    } else if checking.print {
        print(options::print())
    } else if let Some(service) = &draining.drain {
        drain(&sources, DrainTarget::Service(service), draining.duration)
    } else if let Some(service) = &draining.undrain {
        undrain(&sources, DrainTarget::Service(service))
    } else if draining.drain_host {
        drain(&sources, DrainTarget::Host, draining.duration)
    } else if draining.undrain_host {
        undrain(&sources, DrainTarget::Host)
    } else if arguments.withdraw_all {
        withdraw_all(&sources)
    } else if status.status {
        let view = View { json: status.json, down: status.down, services: arguments.services };
        status::run(&sources, &view, status.watch)
    } else if checking.check {
        check(&sources, checking.strict, checking.files_only)
    } else if checking.print_conf {
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
            // clap could require --status for a service name, but would then suggest --status for
            // every stray word.
            Some(word) if !arguments.status.status => {
                let mut error = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(&Arguments::command());
                error.insert(ContextKind::InvalidArg, ContextValue::String(word.clone()));
                Err(error)
            }
            _ => Ok(arguments),
        }
    }

    fn sources(&self) -> Sources {
        let SourceArguments { file, dir, service_file } = &self.sources;
        let services = match service_file {
            Some(file) => ServiceFiles::File(file.clone()),
            None => ServiceFiles::Directory(dir.clone()),
        };
        Sources { main: file.clone(), services }
    }
}

/// `--check`.
fn check(sources: &Sources, strict: bool, files_only: bool) -> ExitStatus {
    let examined = files::examine(sources);
    let mut problems = if files_only {
        examined.problems
    } else {
        examined.with_machine(|configuration| {
            let errors = preflight::judge(configuration, Severity::Error);
            [errors, lint::judge_machine(&Machine::new(configuration))].concat()
        })
    };
    if strict {
        problems.iter_mut().for_each(|problem| problem.severity = Severity::Error);
    }
    print_problems(&problems);
    if problems.iter().any(Diagnostic::is_error) {
        return ExitStatus::Failed;
    }
    print("OK\n")
}

/// `--print-conf`.
fn print_conf(sources: &Sources) -> ExitStatus {
    let text = files::load(sources).and_then(|configuration| {
        let errors: Vec<Diagnostic> =
            preflight::judge(&configuration, Severity::Error).into_iter().filter(Diagnostic::is_error).collect();
        if errors.is_empty() {
            configuration.print()
        } else {
            Err(errors)
        }
    });
    match text {
        Ok(text) => print(text),
        Err(problems) => {
            print_problems(&problems);
            ExitStatus::Failed
        }
    }
}

/// Runs the daemon. Problems of this machine that can be fixed while it runs are warnings.
fn start(sources: Sources) -> ExitStatus {
    let mut configuration = match files::load(&sources) {
        Ok(configuration) => configuration,
        Err(problems) => {
            print_problems(&problems);
            return ExitStatus::Failed;
        }
    };
    if let Some(problem) = preflight::pidfile_directory(&configuration) {
        print_problems(&[problem]);
        return ExitStatus::Failed;
    }
    configuration.warnings.extend(preflight::judge(&configuration, Severity::Warning));
    match daemon::run(sources, configuration) {
        Ok(()) => ExitStatus::Success,
        Err(error) => fail(&error),
    }
}

/// `--drain` and `--drain-host`. Without a time the drain lasts until it is ended.
fn drain(sources: &Sources, target: DrainTarget<'_>, time: Option<Duration>) -> ExitStatus {
    with_settings(sources, |settings| drain::begin(settings, target, time))
}

/// `--undrain` and `--undrain-host`.
fn undrain(sources: &Sources, target: DrainTarget<'_>) -> ExitStatus {
    with_settings(sources, |settings| drain::end(settings, target))
}

/// Runs a command that needs a valid configuration, and prints its result.
fn with_settings(sources: &Sources, command: impl FnOnce(&Settings) -> Result<String, DrainError>) -> ExitStatus {
    match files::load(sources) {
        Ok(configuration) => match command(&configuration.settings) {
            Ok(done) => print(done + "\n"),
            Err(why) => fail(why),
        },
        Err(problems) => {
            print_problems(&problems);
            ExitStatus::Failed
        }
    }
}

/// `--withdraw-all`. Errors in the configuration are printed, and ignored if possible.
fn withdraw_all(sources: &Sources) -> ExitStatus {
    match withdraw_all::run(sources) {
        Ok(Withdrawal { sentences, problems, warnings, is_complete }) => {
            print_problems(&problems);
            warnings.iter().for_each(|warning| _ = fail(warning));
            let printed = print(sentences.join("\n") + "\n");
            if is_complete {
                printed
            } else {
                ExitStatus::Failed
            }
        }
        Err((why, problems)) => {
            print_problems(&problems);
            fail(why)
        }
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

/// Prints what is wrong with a command line, and the usage.
fn usage_error(error: &clap::Error) -> ExitStatus {
    let text = error.to_string();
    let usage = if text.contains("Usage:") { "" } else { USAGE };
    let before = if usage.is_empty() { "" } else { "\nUsage: " };
    fail(format_args!("{}{before}{usage}", text.trim_end()))
}

/// Writes to standard output. A failure is reported, unless the reader is gone.
fn print(text: impl Display) -> ExitStatus {
    let mut out = io::stdout().lock();
    output_status(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Returns the status for the result of writing to standard output.
fn output_status(written: io::Result<()>) -> ExitStatus {
    match written {
        Ok(()) => ExitStatus::Success,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Failed,
        Err(error) => fail(format_args!("cannot write to standard output: {error}")),
    }
}

/// Writes problems to standard error, one per line.
fn print_problems(problems: &[Diagnostic]) {
    let mut err = BufWriter::new(io::stderr().lock());
    for problem in problems {
        let head = if problem.is_error() { "Invalid configuration" } else { "Warning" };
        // If standard error is closed, there is no other place for them.
        let _ = writeln!(err, "{head}: {problem}");
    }
    let _ = err.flush();
}

/// Writes to standard error why it failed.
fn fail(why: impl Display) -> ExitStatus {
    let _ = writeln!(io::stderr(), "{why}");
    ExitStatus::Failed
}
