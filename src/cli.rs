//! The command line: the original's, letter for letter, and what is new.
//!
//! Promises: everything that the original accepts is accepted with the same meaning, abbreviated long options and
//! combined short ones too; a wrong command line is told with the usage, and changes nothing. A closed pipe behind
//! standard output is no panic.
//! Leaves out: exit codes (`main`), and all the work.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::Parser;

use crate::config::files::{self, Configuration, ServiceFiles, Sources};
use crate::config::options;
use crate::config::preflight;
use crate::config::problem::{Problem, Severity};
use crate::daemon;

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done, or all is well.
    Well,
    /// It failed, or something is not well.
    Failed,
    /// The daemon that was asked about does not run.
    NotRunning,
}

/// The usage, in the notation of the original.
const USAGE: &str = "anycast-healthchecker [ -f <file> -c -p -P ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -c [ --strict --files-only ] [ -f <file> ] [ -d <directory> | -F <file> ]
       anycast-healthchecker -s [ --json ] [ -f <file> ] [ -d <directory> | -F <file> ]
       anycast-healthchecker ( --drain <service> [ --for <time> ] | --undrain <service> )
       anycast-healthchecker ( --drain-host [ --for <time> ] | --undrain-host | --withdraw-all )";

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
    /// Check the configuration and this machine: OK, or all problems
    #[arg(short, long, overrides_with_all = [] as [&str; 0])]
    check: bool,
    /// Show the default settings
    #[arg(short, long)]
    print: bool,
    /// Show the settings as they are used
    #[arg(short = 'P', long)]
    print_conf: bool,
    /// With --check: warnings are errors
    #[arg(long, requires = "check")]
    strict: bool,
    /// With --check: judge the files, not this machine
    #[arg(long, requires = "check")]
    files_only: bool,
    /// Show what the running daemon knows
    #[arg(short, long, group = "action")]
    status: bool,
    /// With --status: as a JSON document
    #[arg(long, requires = "status")]
    json: bool,
    /// Withdraw a service through its drain_file
    #[arg(long, value_name = "service", group = "action")]
    drain: Option<String>,
    /// With --drain and --drain-host: end it after this time, such as 30m or 2h
    #[arg(long = "for", value_name = "time")]
    duration: Option<String>,
    /// End the drain of a service
    #[arg(long, value_name = "service", group = "action")]
    undrain: Option<String>,
    /// Withdraw all services through the drain_file of [daemon]
    #[arg(long, group = "action")]
    drain_host: bool,
    /// End the drain of all services
    #[arg(long, group = "action")]
    undrain_host: bool,
    /// Take every configured prefix out of BIRD's lists while no daemon runs
    #[arg(long, group = "action")]
    withdraw_all: bool,
    /// Show the version
    #[arg(short, long)]
    version: bool,
}

/// Does what the arguments ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let (out, err) = (&mut io::stdout().lock(), &mut io::stderr());
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return say(out, error),
        Err(error) => {
            let _ = write!(err, "{error}");
            return Exit::Failed;
        }
    };
    if arguments.version {
        return say(out, format_args!("{}\n", env!("CARGO_PKG_VERSION")));
    }
    if arguments.print {
        return say(out, options::print());
    }
    let sources = Sources {
        main: arguments.file.clone(),
        services: match arguments.service_file.clone() {
            Some(file) => ServiceFiles::File(file),
            None => ServiceFiles::Directory(arguments.dir.clone()),
        },
    };
    Exit::Well
}

/// Writes to standard output; a failure is told, unless nobody reads any more.
fn say(out: &mut impl Write, text: impl Display) -> Exit {
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Exit::Well,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                let _ = writeln!(io::stderr(), "cannot write to standard output: {error}");
            }
            Exit::Failed
        }
    }
}
