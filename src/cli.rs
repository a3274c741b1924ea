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
use std::time::Duration;

use clap::error::ErrorKind;

use crate::cli::doctor::Doctor;
use crate::cli::drain::{DrainError, DrainTarget};
use crate::cli::withdraw_all::Withdrawal;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::files::{self, Sources};
use crate::config::lint;
use crate::config::lint::machine::Machine;
use crate::config::options;
use crate::config::preflight;
use crate::config::settings::Settings;
use crate::daemon;
use crate::report::view::View;

mod arguments;
mod doctor;
mod drain;
mod screen;
mod status;
mod withdraw_all;

pub use arguments::Arguments;
use arguments::{suggest, USAGE};

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
    } else if status.doctor {
        let doctor = Doctor { services: &arguments.services, json: status.json, run_checks: status.run_checks };
        doctor.run(&sources)
    } else if checking.check {
        check(&sources, checking.strict, checking.files_only)
    } else if checking.print_conf {
        print_conf(&sources)
    } else {
        start(sources)
    }
}

/// `--check`.
fn check(sources: &Sources, strict: bool, files_only: bool) -> ExitStatus {
    let examined = files::check(sources);
    let mut problems = if files_only {
        examined.problems
    } else {
        examined.check_machine(|configuration| {
            let errors = preflight::check(configuration, Severity::Error);
            [errors, lint::check_machine(&Machine::new(configuration))].concat()
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
            preflight::check(&configuration, Severity::Error).into_iter().filter(Diagnostic::is_error).collect();
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
    configuration.warnings.extend(preflight::check(&configuration, Severity::Warning));
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
