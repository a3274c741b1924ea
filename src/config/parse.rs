//! From sections to settings: each option read by its kind, each rule judged, every problem kept.
//!
//! Promises: without an error among the problems there are settings; with one there are none. A problem names the
//! place of the value it is about, also where that is inherited from `[DEFAULT]`.
//! Leaves out: what depends on the machine (`config::preflight`), and options that nobody knows (`config::unknown`).

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

/// The name of the section that is no service.
pub const DAEMON: &str = "daemon";

/// The longest path of a Unix socket, in bytes.
const LONGEST_SOCKET: usize = 107;

/// How many words of one value are refused one by one.
const MOST_REFUSED: usize = 20;

/// Reads all sections. The problems may be warnings only.
pub fn settings(ini: &Ini) -> (Option<Settings>, Vec<Diagnostic>) {
    let Parts { daemon, services, problems } = parts(ini, true);
    let daemon = daemon.filter(|_| !problems.iter().any(Diagnostic::is_error));
    (daemon.map(|daemon| Settings { daemon, services }), problems)
}

/// What could be read of the sections.
#[derive(Debug)]
pub struct Parts {
    /// `[daemon]`, unless an error prevents it.
    pub daemon: Option<Daemon>,
    /// The services that could be read.
    pub services: Vec<Arc<Service>>,
    /// All errors and warnings.
    pub problems: Vec<Diagnostic>,
}

/// Reads each section that can be read. `sharing` also compares services with each other and with
/// `[daemon]`.
pub fn parts(ini: &Ini, sharing: bool) -> Parts {
    let mut problems = Vec::new();
    let Some(section) = ini.section(DAEMON) else {
        problems.push(Diagnostic::error("there is no section [daemon]"));
        return Parts { daemon: None, services: Vec::new(), problems };
    };
    let daemon = daemon::read(&mut OptionParser { ini, section, scope: Scope::Daemon, problems: &mut problems });
    let mut services: Vec<(&Section, Arc<Service>)> = Vec::new();
    for section in ini.sections().iter().filter(|section| &*section.name != DAEMON) {
        let mut reader = OptionParser { ini, section, scope: Scope::Service, problems: &mut problems };
        if let Some(service) = service::read(&mut reader) {
            services.push((section, Arc::new(service)));
        }
    }
    if let Some(daemon) = daemon.as_ref().filter(|_| sharing) {
        sharing::check(ini, daemon, &services, &mut problems);
    }
    let services = services.into_iter().map(|(_, service)| service).collect();
    Parts { daemon, services, problems }
}

/// Reads everything with the program's defaults in place of faulty values.
pub fn recover_all(ini: &mut Ini) -> Option<Settings> {
    loop {
        let Parts { daemon, services, problems } = parts(ini, false);
        let wrong = problems.iter().filter(|problem| problem.is_error());
        let options: HashSet<(&str, &str)> =
            wrong.filter_map(|problem| problem.section.as_deref().zip(problem.option.as_deref())).collect();
        // Each round has fewer options than the last.
        let forgotten = options.iter().filter(|(section, option)| ini.forget(section, option)).count();
        if forgotten == 0 {
            return daemon.map(|daemon| Settings { daemon, services });
        }
    }
}

/// Section `[daemon]` alone. What is wrong in there is forgotten, so that the program's default counts, and told.
pub fn recover_daemon(ini: &mut Ini) -> (Option<Daemon>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    loop {
        let Some(section) = ini.section(DAEMON) else { return (None, problems) };
        let mut found = Vec::new();
        let read = daemon::read(&mut OptionParser { ini, section, scope: Scope::Daemon, problems: &mut found });
        found.retain(Diagnostic::is_error);
        let options: Vec<String> = found.iter().filter_map(|problem| problem.option.clone()).collect();
        let wrong = !found.is_empty();
        problems.append(&mut found);
        // Each round has fewer options than the last.
        let fewer = options.iter().any(|name| ini.forget(DAEMON, name) | ini.forget(DEFAULT, name));
        if !wrong || !fewer {
            return (read.filter(|_| !wrong), problems);
        }
    }
}

/// Where the status socket is, whatever else is wrong.
pub fn status_socket(ini: &Ini) -> Result<PathBuf, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let section = ini.section(DAEMON).ok_or_else(|| vec![Diagnostic::error("there is no section [daemon]")])?;
    let mut reader = OptionParser { ini, section, scope: Scope::Daemon, problems: &mut problems };
    let pidfile = reader.path("pidfile");
    daemon::status_socket(&mut reader, pidfile.as_deref()).ok_or(problems)
}

/// Where the pidfile is, whatever else is wrong.
pub fn pidfile(ini: &Ini) -> Option<PathBuf> {
    let section = ini.section(DAEMON)?;
    OptionParser { ini, section, scope: Scope::Daemon, problems: &mut Vec::new() }.path("pidfile")
}

/// A problem of this option as it counts in the section, with its place and value.
pub fn locate(ini: &Ini, section: &Section, option: &str, problem: Diagnostic) -> Diagnostic {
    let Some(entry) = ini.entry(section, option) else {
        return problem.at(section.place.as_ref()).in_section(&section.name).of(option, None);
    };
    let owner = if section.get(option).is_some() { &*section.name } else { DEFAULT };
    let value = ini.value(section, entry).unwrap_or(Cow::Borrowed(&entry.raw));
    problem.at(entry.place.as_ref()).in_section(owner).of(option, Some(&value))
}

/// Reads the options of one section. What cannot be read is a problem and `None`, or the kind's least value; no
/// settings come of it then.
struct OptionParser<'a> {
    ini: &'a Ini,
    section: &'a Section,
    scope: Scope,
    problems: &'a mut Vec<Diagnostic>,
}

impl<'a> OptionParser<'a> {
    fn error(&mut self, option: &str, rule: impl Into<String>) {
        let problem = locate(self.ini, self.section, option, Diagnostic::error(rule));
        self.problems.push(problem);
    }

    fn warn(&mut self, option: &str, rule: impl Into<String>) {
        let problem = locate(self.ini, self.section, option, Diagnostic::warning(rule));
        self.problems.push(problem);
    }

    fn entry(&self, option: &str) -> Option<&'a Entry> {
        self.ini.entry(self.section, option)
    }

    /// Whether the option stands in a file, rather than being a default of the program's.
    fn is_set(&self, option: &str) -> bool {
        self.entry(option).is_some_and(|entry| entry.place.is_some())
    }

    fn option(&self, name: &str) -> Option<&'static OptionSpec> {
        options::find(self.scope, name)
    }

    /// The value as it counts: of the section, of `[DEFAULT]`, or of the table.
    fn text(&mut self, option: &str) -> Option<Cow<'a, str>> {
        let Some(entry) = self.entry(option) else {
            return self.option(option).and_then(|option| option.default).map(Cow::Borrowed);
        };
        match self.ini.value(self.section, entry) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.error(option, fault.to_string());
                None
            }
        }
    }

    /// The value as `parse` sees it; where that gives nothing, the kind's rule is broken.
    fn parsed<T>(&mut self, option: &str, parse: impl FnOnce(&str, Kind) -> Option<T>) -> Option<T> {
        let kind = self.option(option)?.kind;
        let text = self.text(option)?;
        let parsed = parse(&text, kind);
        if parsed.is_none() {
            self.error(option, kind.rule());
        }
        parsed
    }

    fn boolean(&mut self, option: &str) -> bool {
        self.parsed(option, |text, _| python::boolean(text)).unwrap_or_default()
    }

    fn whole(&mut self, option: &str) -> u64 {
        let within = |number: &u64, kind| matches!(kind, Kind::Integer(least, most) if (least..=most).contains(number));
        self.parsed(option, |text, kind| python::whole(text).filter(|number| within(number, kind))).unwrap_or_default()
    }

    fn seconds(&mut self, option: &str) -> Option<Duration> {
        self.parsed(option, |text, kind| {
            let seconds = python::float(text).filter(|seconds| *seconds <= f64::from(MAX_SECONDS))?;
            let duration = Duration::try_from_secs_f64(seconds).ok()?;
            Some(duration).filter(|duration| kind == Kind::SecondsOrZero || !duration.is_zero())
        })
    }

    fn word(&mut self, option: &str) -> Option<&'static str> {
        self.parsed(option, |text, kind| match kind {
            Kind::Choice(words) => words.iter().copied().find(|word| *word == text),
            _ => None,
        })
    }

    fn filled(&mut self, option: &str) -> Option<String> {
        self.parsed(option, |text, _| Some(text.to_string()).filter(|text| !text.is_empty()))
    }

    fn path(&mut self, option: &str) -> Option<PathBuf> {
        let usable = |text: &&str| !text.is_empty() && !text.contains('\0');
        self.parsed(option, |text, _| Some(text).filter(usable).map(PathBuf::from))
    }

    fn socket(&mut self, option: &str) -> Option<PathBuf> {
        let path = self.path(option)?;
        if path.as_os_str().len() > LONGEST_SOCKET {
            self.error(option, format!("must be {LONGEST_SOCKET} bytes long at most, as the path of a socket"));
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

    fn timed_command(&mut self, option: &str, timeout: &str) -> Option<TimedCommand> {
        let timeout = self.seconds(timeout);
        self.command(option).zip(timeout).map(|(command, timeout)| TimedCommand { command, timeout })
    }

    fn variable(&mut self, option: &str) -> Option<String> {
        let text = self.text(option)?;
        if let Err(error) = symbol::check(&text) {
            self.error(option, error.to_string());
        }
        Some(text.into_owned())
    }

    /// Prefixes separated by commas and white space.
    fn prefixes(&mut self, option: &str) -> Vec<Prefix> {
        let Some(text) = self.text(option) else { return Vec::new() };
        let words = text.split(|c| c == ',' || is_space(c)).filter(|word| !word.is_empty());
        let (mut prefixes, mut refused) = (Vec::new(), Vec::new());
        for word in words {
            match word.parse::<Prefix>() {
                Ok(prefix) => prefixes.push(prefix),
                Err(error) => refused.push(error.to_string()),
            }
        }
        if prefixes.is_empty() && refused.is_empty() {
            refused.push("it names none".to_string());
        }
        // Each problem looks at the whole value again.
        if refused.len() > MOST_REFUSED {
            let more = refused.len() - MOST_REFUSED;
            refused.truncate(MOST_REFUSED);
            refused.push(format!("there are {more} more that are none"));
        }
        for why in refused {
            self.error(option, format!("must be an IPv4 or IPv6 prefix, or several: {why}"));
        }
        prefixes
    }
}
