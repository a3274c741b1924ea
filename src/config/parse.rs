//! Parses sections into settings: each option by its kind, then the rules between options and
//! between services.
//!
//! Guarantees: settings are returned if and only if there is no error. All problems are returned,
//! each with the location of the value it is about, even if that is inherited from `[DEFAULT]`.
//!
//! Out of scope: what depends on the machine (`config::preflight`), and unknown options
//! (`config::unknown`).

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{is_space, Entry, Ini, Section, DEFAULT};
use crate::config::options::{self, Kind, OptionSpec, Scope, MAX_SECONDS};
use crate::config::settings::{Daemon, Service, Settings, TimedCommand};
use crate::config::{python, symbol};
use crate::prefix::Prefix;

mod daemon;
mod service;
mod sharing;
#[cfg(test)]
mod tests;

/// The name of the only section that is not a service, besides `[DEFAULT]`.
pub const DAEMON: &str = "daemon";

/// Upper bound on the path of a Unix socket, in bytes.
const MAX_SOCKET_PATH_LEN: usize = 107;

/// Upper bound on the errors about one list of prefixes.
const MAX_PREFIX_ERRORS: usize = 20;

/// Parses all sections. The problems may be warnings only.
pub fn settings(ini: &Ini) -> (Option<Settings>, Vec<Diagnostic>) {
    let Parsed { daemon, services, problems } = sections(ini, true);
    let daemon = daemon.filter(|_| !problems.iter().any(Diagnostic::is_error));
    (daemon.map(|daemon| Settings { daemon, services }), problems)
}

/// The sections that could be parsed, and all problems.
#[derive(Debug)]
pub struct Parsed {
    /// `[daemon]`, unless an error prevents it.
    pub daemon: Option<Daemon>,
    /// The services without errors.
    pub services: Vec<Arc<Service>>,
    /// All errors and warnings.
    pub problems: Vec<Diagnostic>,
}

/// Parses each section on its own. `check_sharing` also compares services with each other and with
/// `[daemon]`.
pub fn sections(ini: &Ini, check_sharing: bool) -> Parsed {
    let mut problems = Vec::new();
    let Some(section) = ini.section(DAEMON) else {
        return Parsed { daemon: None, services: Vec::new(), problems: vec![no_daemon_section()] };
    };
    let daemon = daemon::parse(&mut OptionParser { ini, section, scope: Scope::Daemon, problems: &mut problems });
    let mut services: Vec<(&Section, Arc<Service>)> = Vec::new();
    for section in ini.sections().iter().filter(|section| &*section.name != DAEMON) {
        let mut parser = OptionParser { ini, section, scope: Scope::Service, problems: &mut problems };
        if let Some(service) = service::parse(&mut parser) {
            services.push((section, Arc::new(service)));
        }
    }
    if let Some(daemon) = daemon.as_ref().filter(|_| check_sharing) {
        sharing::check(ini, daemon, &services, &mut problems);
    }
    let services = services.into_iter().map(|(_, service)| service).collect();
    Parsed { daemon, services, problems }
}

fn no_daemon_section() -> Diagnostic {
    Diagnostic::error("there is no section [daemon]")
}

/// Parses all sections with error recovery: removes each invalid option from `ini`, so that its
/// default value applies.
pub fn recover_all(ini: &mut Ini) -> Option<Settings> {
    loop {
        let Parsed { daemon, services, problems } = sections(ini, false);
        let errors = problems.iter().filter(|problem| problem.is_error());
        let invalid: HashSet<(&str, &str)> =
            errors.filter_map(|problem| problem.section.as_deref().zip(problem.option.as_deref())).collect();
        // Terminates, because each iteration removes at least one option.
        let removed = invalid.iter().filter(|(section, option)| ini.remove(section, option)).count();
        if removed == 0 {
            return daemon.map(|daemon| Settings { daemon, services });
        }
    }
}

/// Parses `[daemon]` with error recovery: removes each invalid option from `ini`, so that its
/// default value applies. Returns all errors.
pub fn recover_daemon(ini: &mut Ini) -> (Option<Daemon>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    loop {
        let Some(section) = ini.section(DAEMON) else { return (None, problems) };
        let mut errors = Vec::new();
        let daemon = daemon::parse(&mut OptionParser { ini, section, scope: Scope::Daemon, problems: &mut errors });
        errors.retain(Diagnostic::is_error);
        if errors.is_empty() {
            return (daemon, problems);
        }
        let invalid: Vec<String> = errors.iter().filter_map(|error| error.option.clone()).collect();
        problems.append(&mut errors);
        // Terminates, because each iteration removes at least one option.
        if !invalid.iter().any(|name| ini.remove(DAEMON, name) | ini.remove(DEFAULT, name)) {
            return (None, problems);
        }
    }
}

/// The location of the status socket. Errors in other options are ignored.
pub fn status_socket(ini: &Ini) -> Result<PathBuf, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let section = ini.section(DAEMON).ok_or_else(|| vec![no_daemon_section()])?;
    let mut parser = OptionParser { ini, section, scope: Scope::Daemon, problems: &mut problems };
    let pidfile = parser.path("pidfile");
    daemon::status_socket(&mut parser, pidfile.as_deref()).ok_or(problems)
}

/// The location of the pidfile. Errors in other options are ignored.
pub fn pidfile(ini: &Ini) -> Option<PathBuf> {
    let section = ini.section(DAEMON)?;
    OptionParser { ini, section, scope: Scope::Daemon, problems: &mut Vec::new() }.path("pidfile")
}

/// Adds the location and the value of an effective option to a problem.
pub fn locate(ini: &Ini, section: &Section, option: &str, problem: Diagnostic) -> Diagnostic {
    let Some(entry) = ini.entry(section, option) else {
        return problem.at(section.location.as_ref()).in_section(&section.name).for_option(option, None);
    };
    let owner = if section.get(option).is_some() { &*section.name } else { DEFAULT };
    let value = ini.value(section, entry).unwrap_or(Cow::Borrowed(&entry.raw));
    problem.at(entry.location.as_ref()).in_section(owner).for_option(option, Some(&value))
}

/// Parses the options of one section.
///
/// An invalid value adds an error and gives `None`, or the zero value of its type. Because of the
/// error, no settings are made of it.
struct OptionParser<'a> {
    ini: &'a Ini,
    section: &'a Section,
    scope: Scope,
    problems: &'a mut Vec<Diagnostic>,
}

impl<'a> OptionParser<'a> {
    fn error(&mut self, option: &str, message: impl Into<String>) {
        let problem = locate(self.ini, self.section, option, Diagnostic::error(message));
        self.problems.push(problem);
    }

    fn warn(&mut self, option: &str, message: impl Into<String>) {
        let problem = locate(self.ini, self.section, option, Diagnostic::warning(message));
        self.problems.push(problem);
    }

    fn entry(&self, option: &str) -> Option<&'a Entry> {
        self.ini.entry(self.section, option)
    }

    /// Whether a file sets the option.
    fn is_set(&self, option: &str) -> bool {
        self.entry(option).is_some_and(|entry| entry.location.is_some())
    }

    fn spec(&self, option: &str) -> Option<&'static OptionSpec> {
        options::find(self.scope, option)
    }

    /// The effective text of an option: of the section, of `[DEFAULT]`, or the default value of the
    /// table.
    fn text(&mut self, option: &str) -> Option<Cow<'a, str>> {
        let Some(entry) = self.entry(option) else {
            return self.spec(option).and_then(|spec| spec.default).map(Cow::Borrowed);
        };
        match self.ini.value(self.section, entry) {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(option, error.to_string());
                None
            }
        }
    }

    /// Parses the text of an option. If `parse` returns None, the rule of the option's kind is
    /// broken.
    fn parse<T>(&mut self, option: &str, parse: impl FnOnce(&str, Kind) -> Option<T>) -> Option<T> {
        let kind = self.spec(option)?.kind;
        let text = self.text(option)?;
        let value = parse(&text, kind);
        if value.is_none() {
            self.error(option, kind.rule());
        }
        value
    }

    fn boolean(&mut self, option: &str) -> bool {
        self.parse(option, |text, _| python::boolean(text)).unwrap_or_default()
    }

    fn integer(&mut self, option: &str) -> u64 {
        let value = self.parse(option, |text, kind| {
            let is_valid = |number: &u64| matches!(kind, Kind::Integer(min, max) if (min..=max).contains(number));
            python::integer(text).filter(is_valid)
        });
        value.unwrap_or_default()
    }

    fn seconds(&mut self, option: &str) -> Option<Duration> {
        self.parse(option, |text, kind| {
            let seconds = python::float(text).filter(|seconds| *seconds <= f64::from(MAX_SECONDS))?;
            let duration = Duration::try_from_secs_f64(seconds).ok()?;
            Some(duration).filter(|duration| kind == Kind::SecondsOrZero || !duration.is_zero())
        })
    }

    fn choice(&mut self, option: &str) -> Option<&'static str> {
        self.parse(option, |text, kind| match kind {
            Kind::Choice(words) => words.iter().copied().find(|word| *word == text),
            _ => None,
        })
    }

    fn nonempty_text(&mut self, option: &str) -> Option<String> {
        self.parse(option, |text, _| Some(text.to_string()).filter(|text| !text.is_empty()))
    }

    fn path(&mut self, option: &str) -> Option<PathBuf> {
        let is_valid = |text: &&str| !text.is_empty() && !text.contains('\0');
        self.parse(option, |text, _| Some(text).filter(is_valid).map(PathBuf::from))
    }

    fn socket_path(&mut self, option: &str) -> Option<PathBuf> {
        let path = self.path(option)?;
        if path.as_os_str().len() > MAX_SOCKET_PATH_LEN {
            self.error(option, format!("must be at most {MAX_SOCKET_PATH_LEN} bytes long, as the path of a socket"));
        }
        Some(path)
    }

    fn command(&mut self, option: &str) -> Option<Command> {
        let text = self.text(option)?;
        match Command::parse(&text) {
            Ok(command) => Some(command),
            Err(error) => {
                self.error(option, format!("must be a command that can be split into words: {error}"));
                None
            }
        }
    }

    fn timed_command(&mut self, option: &str, timeout_option: &str) -> Option<TimedCommand> {
        let timeout = self.seconds(timeout_option);
        self.command(option).zip(timeout).map(|(command, timeout)| TimedCommand { command, timeout })
    }

    fn symbol(&mut self, option: &str) -> Option<String> {
        let text = self.text(option)?;
        if let Err(error) = symbol::check(&text) {
            self.error(option, error.to_string());
        }
        Some(text.into_owned())
    }

    /// Parses prefixes separated by commas and white space.
    fn prefixes(&mut self, option: &str) -> Vec<Prefix> {
        let Some(text) = self.text(option) else { return Vec::new() };
        let words = text.split(|c| c == ',' || is_space(c)).filter(|word| !word.is_empty());
        let (mut prefixes, mut errors) = (Vec::new(), Vec::new());
        for word in words {
            match word.parse::<Prefix>() {
                Ok(prefix) => prefixes.push(prefix),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if prefixes.is_empty() && errors.is_empty() {
            errors.push("it is empty".to_string());
        }
        // Each error copies the whole value, so their number is limited.
        if errors.len() > MAX_PREFIX_ERRORS {
            let more = errors.len() - MAX_PREFIX_ERRORS;
            errors.truncate(MAX_PREFIX_ERRORS);
            errors.push(format!("{more} more are not valid"));
        }
        for error in errors {
            self.error(option, format!("must be one or more IPv4 or IPv6 prefixes: {error}"));
        }
        prefixes
    }
}
