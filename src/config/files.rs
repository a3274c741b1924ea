//! The configuration's files, read and judged as one.
//!
//! Promises: the main file, then the services' files in order of their names; whatever cannot be read is an error, as
//! a service that is silently not checked is worse than no start. Every problem is reported, not the first only.
//! Leaves out: what depends on the machine, files aside (`config::preflight`).

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::ini::{Ini, DEFAULT};
use crate::config::options::{self, Scope};
use crate::config::problem::Problem;
use crate::config::reading::{self, DAEMON};
use crate::config::settings::Settings;
use crate::config::unknown;
use crate::sys::poll::uninterrupted;

/// Where the configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The main file.
    pub main: PathBuf,
    /// Where the services are.
    pub services: ServiceFiles,
}

/// Where the services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceFiles {
    /// Every `*.conf` in this directory whose name does not begin with a dot.
    Directory(PathBuf),
    /// This file.
    File(PathBuf),
}

/// A configuration that was read and found good.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What it says.
    pub settings: Settings,
    /// What can be lived with, but should be told.
    pub warnings: Vec<Problem>,
    ini: Ini,
}

/// What could be made of files that hold errors.
#[derive(Clone, Debug)]
pub struct Salvaged {
    /// What `[daemon]` says, with the program's default in the place of each error; no services. None where the main file
    /// cannot be read: then nothing says where the lists are.
    pub settings: Option<Settings>,
    /// Whether `[daemon]` and the main file are free of errors.
    pub sound: bool,
    /// All of them.
    pub problems: Vec<Problem>,
}

/// Reads `[daemon]` where [`load`] refuses the whole for these problems.
pub fn salvage(sources: &Sources, problems: Vec<Problem>) -> Salvaged {
    let (mut ini, faults) = read(sources);
    let of_main = |problem: &&Problem| problem.file.as_deref() == Some(&*sources.main) && problem.is_error();
    let main = faults.iter().find(of_main);
    let (daemon, wrong) = reading::salvage(&mut ini);
    let sound = main.is_none() && wrong.is_empty();
    // A file that could be read has faults in its lines.
    let readable = main.is_none_or(|problem| problem.line.is_some());
    let settings = daemon.filter(|_| readable).map(|daemon| Settings { daemon, services: Vec::new() });
    Salvaged { settings, sound, problems }
}

/// Reads all files. What is returned in place of a configuration holds at least one error, and the warnings too.
pub fn load(sources: &Sources) -> Result<Configuration, Vec<Problem>> {
    let (ini, mut problems) = read(sources);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    problems.extend(unknown::judge(&ini));
    let (settings, found) = reading::read(&ini);
    problems.extend(found);
    let mut seen = HashSet::new();
    // A value inherited by many services is told of once.
    problems.retain(|problem| seen.insert(problem.clone()));
    let main = Some(&*sources.main);
    problems.sort_by_key(|problem| (problem.file.as_deref() != main, problem.file.clone(), problem.line));
    match settings {
        Some(settings) => Ok(Configuration { settings, warnings: problems, ini }),
        None => Err(problems),
    }
}

/// Where the files say that the status socket is. Faults of other options and of services do not matter: who asks may
/// want to know why the daemon did not take them.
pub fn status_socket(sources: &Sources) -> Result<PathBuf, Vec<Problem>> {
    let (ini, problems) = read(sources);
    reading::status_socket(&ini).map_err(|found| [problems, found].concat())
}

/// All files as one, and what cannot be read of them.
fn read(sources: &Sources) -> (Ini, Vec<Problem>) {
    let mut ini = Ini::default();
    for (section, scope) in [(DEFAULT, Scope::Service), (DAEMON, Scope::Daemon)] {
        for (name, value) in options::defaults(scope) {
            ini.preset(section, name, value);
        }
    }
    let (paths, mut problems) = list(sources);
    for path in paths {
        match fs::read(&path) {
            Ok(bytes) => problems.extend(ini.read(&path, &bytes).into_iter().map(Problem::from)),
            Err(error) => problems.push(unreadable(&path, &error)),
        }
    }
    (ini, problems)
}

impl Configuration {
    /// What a daemon goes on with; the files' text, a third of the whole, is let go.
    pub fn into_parts(self) -> (Settings, Vec<Problem>) {
        (self.settings, self.warnings)
    }

    /// What `--print-conf` prints: every option that counts in each section, its value as it is used. Also options that
    /// nobody knows must have a value for that.
    pub fn print(&self) -> Result<String, Vec<Problem>> {
        let (mut text, mut problems) = (String::new(), Vec::new());
        for section in std::iter::once(self.ini.default_section()).chain(self.ini.sections()) {
            let _ = writeln!(text, "[{}]", section.name);
            for entry in self.ini.entries(section) {
                match self.ini.value(section, entry) {
                    Ok(value) => _ = writeln!(text, "{} = {value}", entry.name),
                    Err(fault) => {
                        let problem = Problem::error(fault.to_string());
                        problems.push(reading::blame(&self.ini, section, &entry.name, problem));
                    }
                }
            }
            text.push('\n');
        }
        if problems.is_empty() {
            Ok(text)
        } else {
            Err(problems)
        }
    }

    /// A problem that the machine gives this option, with the option's place and value.
    pub fn blame(&self, section: &str, option: &str, problem: Problem) -> Problem {
        match self.ini.section(section) {
            Some(section) => reading::blame(&self.ini, section, option, problem),
            None => problem,
        }
    }

    /// The option's value as it is used, where it has one.
    pub fn value(&self, section: &str, option: &str) -> Option<Cow<'_, str>> {
        let section = self.ini.section(section)?;
        self.ini.value(section, self.ini.entry(section, option)?).ok()
    }
}

/// The files to read, in their order, and what is wrong with them at first sight.
fn list(sources: &Sources) -> (Vec<PathBuf>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut paths = vec![sources.main.clone()];
    let of_directory = match &sources.services {
        ServiceFiles::File(path) => Ok(vec![path.clone()]),
        ServiceFiles::Directory(directory) => {
            let joined = |names: Vec<OsString>| names.iter().map(|name| directory.join(name)).collect();
            names(directory).map(joined).map_err(|error| (directory, error))
        }
    };
    paths.extend(of_directory.as_ref().ok().into_iter().flatten().cloned());
    // Anything but a regular file could keep the reader waiting, or never end.
    paths.retain(|path| match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => true,
        Ok(_) => {
            problems.push(Problem::error("must be a regular file to be read as configuration").in_file(path));
            false
        }
        Err(error) => {
            problems.push(unreadable(path, &error));
            false
        }
    });
    if let Err((directory, error)) = of_directory {
        let rule = format!("the directory with the files of the services cannot be read: {error}");
        problems.push(Problem::error(rule).in_file(directory));
    }
    (paths, problems)
}

/// Every `*.conf` that is not hidden, in order of name.
fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in uninterrupted(|| fs::read_dir(directory))? {
        let name = entry?.file_name();
        if name.as_bytes().ends_with(b".conf") && !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::error(format!("this configuration file cannot be read: {error}")).in_file(path)
}
