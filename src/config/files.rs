//! The configuration's files, read and judged as one.
//!
//! Promises: the main file, then the services' files in order of their names; whatever cannot be read is an error, as
//! a service that is silently not checked is worse than no start. Every problem is reported, not the first only.
//! Leaves out: what depends on the machine, files aside (`config::preflight`).

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::config::configuration::Configuration;
use crate::config::diagnostic::{self, Diagnostic};
use crate::config::ini::{Ini, DEFAULT};
use crate::config::lint::{self, Files};
use crate::config::options::{self, Scope};
use crate::config::parse::{self, Parts, DAEMON};
use crate::config::settings::Settings;
pub use crate::config::sources::{ServiceFiles, Sources};
use crate::config::unknown;
use crate::sys::poll::uninterrupted;

/// What could be made of files that hold errors.
#[derive(Clone, Debug)]
pub struct RecoveredSettings {
    /// What `[daemon]` says, with the program's default in the place of each error; no services. None where the main file
    /// cannot be read: then nothing says where the lists are.
    pub settings: Option<Settings>,
    /// Whether `[daemon]` and the main file are free of errors.
    pub sound: bool,
    /// All of them.
    pub problems: Vec<Diagnostic>,
}

/// Reads `[daemon]` where [`load`] refuses the whole for these problems.
pub fn recover(sources: &Sources, problems: Vec<Diagnostic>) -> RecoveredSettings {
    let Read { mut ini, problems: faults, .. } = read(sources);
    let of_main = |problem: &&Diagnostic| problem.file.as_deref() == Some(&*sources.main) && problem.is_error();
    let main = faults.iter().find(of_main);
    let (daemon, wrong) = parse::recover_daemon(&mut ini);
    let sound = main.is_none() && wrong.is_empty();
    // A file that could be read has faults in its lines.
    let readable = main.is_none_or(|problem| problem.line.is_some());
    let settings = daemon.filter(|_| readable).map(|daemon| Settings { daemon, services: Vec::new() });
    RecoveredSettings { settings, sound, problems }
}

/// Reads all files. What is returned in place of a configuration holds at least one error, and the warnings too.
pub fn load(sources: &Sources) -> Result<Configuration, Vec<Diagnostic>> {
    let Analysis { parts: Parts { daemon, services, problems }, ini, .. } = analyze(sources);
    match daemon.filter(|_| !problems.iter().any(Diagnostic::is_error)) {
        Some(daemon) => Ok(Configuration { settings: Settings { daemon, services }, warnings: problems, ini }),
        None => Err(problems),
    }
}

/// All problems of the files, and what can still be compared with the machine.
#[derive(Debug)]
pub struct CheckedFiles {
    /// The problems of the files.
    pub problems: Vec<Diagnostic>,
    ini: Ini,
    /// None if there is an error.
    settings: Option<Settings>,
    faults: Faults,
}

/// Reads all files, and continues after errors that make [`load`] refuse the configuration.
pub fn check(sources: &Sources) -> CheckedFiles {
    let Analysis { parts: Parts { daemon, services, problems }, ini, faults } = analyze(sources);
    let daemon = daemon.filter(|_| !problems.iter().any(Diagnostic::is_error));
    CheckedFiles { problems, ini, settings: daemon.map(|daemon| Settings { daemon, services }), faults }
}

impl CheckedFiles {
    /// Adds what `check` reports of the machine, except what may be the consequence of an error.
    pub fn check_machine(self, check: impl FnOnce(&Configuration) -> Vec<Diagnostic>) -> Vec<Diagnostic> {
        let CheckedFiles { mut problems, ini, settings, faults } = self;
        let Some(settings) = settings.or_else(|| parse::recover_all(&mut ini.clone())) else { return problems };
        let found = check(&Configuration { settings, warnings: Vec::new(), ini });
        let errors = problems.iter().filter(|problem| problem.is_error());
        let faulty: HashSet<_> = errors.map(option_of).collect();
        let sound = |problem: &Diagnostic| faults.leave(problem) && !faulty.contains(&option_of(problem));
        let found: Vec<Diagnostic> = found.into_iter().filter(sound).collect();
        problems.extend(found);
        diagnostic::once(&mut problems, DEFAULT);
        problems
    }
}

fn option_of(problem: &Diagnostic) -> (Option<String>, Option<String>) {
    (problem.section.clone(), problem.option.clone())
}

/// The files that could not be read completely.
#[derive(Debug, Default)]
struct Faults {
    files: HashSet<Arc<Path>>,
    /// Whether they may hold parts of `[daemon]` and `[DEFAULT]`.
    of_all: bool,
}

impl Faults {
    fn new(sources: &Sources, problems: &[Diagnostic]) -> Faults {
        let errors = || problems.iter().filter(|problem| problem.is_error());
        let of_all = errors().any(|problem| {
            problem.file.as_deref() == Some(&*sources.main)
                || matches!(problem.section.as_deref(), Some(DAEMON | DEFAULT))
        });
        Faults { files: errors().filter_map(|problem| problem.file.clone()).collect(), of_all }
    }

    /// Whether a problem stands whatever the faulty files were meant to say: it is about another file,
    /// or about a value that is given in full.
    fn leave(&self, problem: &Diagnostic) -> bool {
        let trusted = !self.of_all && !problem.file.as_ref().is_some_and(|file| self.files.contains(file));
        trusted || problem.line.is_some() && problem.value.as_ref().is_some_and(|value| !value.contains("%("))
    }
}

/// All files, read and checked.
struct Analysis {
    ini: Ini,
    /// With all problems of the files, warnings included.
    parts: Parts,
    faults: Faults,
}

fn analyze(sources: &Sources) -> Analysis {
    let Read { ini, mut problems, passed_over } = read(sources);
    let faults = Faults::new(sources, &problems);
    let mut parts = parse::parts(&ini, !faults.of_all);
    let mut found = unknown::check(&ini);
    found.append(&mut parts.problems);
    let (whole, whole_daemon) = (faults.files.is_empty(), !faults.of_all);
    found.extend(lint::check_files(&Files { ini: &ini, sources, passed_over: &passed_over, whole, whole_daemon }));
    found.retain(|problem| faults.leave(problem));
    problems.extend(found);
    // A value that several services inherit is one problem.
    diagnostic::once(&mut problems, DEFAULT);
    let main = Some(&*sources.main);
    problems.sort_by_key(|problem| (problem.file.as_deref() != main, problem.file.clone(), problem.line));
    Analysis { ini, parts: Parts { problems, ..parts }, faults }
}

/// Where the files say that the status socket is. Faults of other options and of services do not matter: who asks may
/// want to know why the daemon did not take them. But a main file that cannot be read says nothing.
pub fn status_socket(sources: &Sources) -> Result<PathBuf, Vec<Diagnostic>> {
    let Read { ini, problems, .. } = read(sources);
    // A file that could be read has faults in its lines.
    let unreadable = |problem: &Diagnostic| problem.file.as_deref() == Some(&*sources.main) && problem.line.is_none();
    if problems.iter().any(unreadable) {
        return Err(problems.into_iter().filter(unreadable).collect());
    }
    parse::status_socket(&ini).map_err(|found| [found, problems].concat())
}

/// Where the files say that the pidfile is, in the same way.
pub fn pidfile(sources: &Sources) -> Option<PathBuf> {
    parse::pidfile(&read(sources).ini)
}

/// All files as one.
struct Read {
    ini: Ini,
    /// What could not be read.
    problems: Vec<Diagnostic>,
    /// Files in the directory of the services that are not read, without backups of those that are.
    passed_over: Vec<PathBuf>,
}

fn read(sources: &Sources) -> Read {
    let mut ini = Ini::default();
    for (section, scope) in [(DEFAULT, Scope::Service), (DAEMON, Scope::Daemon)] {
        for (name, value) in options::defaults(scope) {
            ini.preset(section, name, value);
        }
    }
    let Listed { paths, mut problems, passed_over } = list(sources);
    for path in paths {
        match fs::read(&path) {
            Ok(bytes) => problems.extend(ini.read(&path, &bytes).into_iter().map(Diagnostic::from)),
            Err(error) => problems.push(unreadable(&path, &error)),
        }
    }
    Read { ini, problems, passed_over }
}

/// The files to read, in their order, and what is wrong with them at first sight.
struct Listed {
    paths: Vec<PathBuf>,
    problems: Vec<Diagnostic>,
    passed_over: Vec<PathBuf>,
}

fn list(sources: &Sources) -> Listed {
    let mut problems = Vec::new();
    let mut paths = vec![sources.main.clone()];
    let of_directory = match &sources.services {
        ServiceFiles::File(path) => Ok((vec![path.clone()], Vec::new())),
        ServiceFiles::Directory(directory) => names(directory).map_err(|error| (directory, error)),
    };
    let (of_services, passed_over) = of_directory.as_ref().ok().cloned().unwrap_or_default();
    paths.extend(of_services);
    // Anything but a regular file could keep the reader waiting, or never end.
    paths.retain(|path| match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => true,
        Ok(_) => {
            problems.push(Diagnostic::error("must be a regular file to be read as configuration").in_file(path));
            false
        }
        Err(error) => {
            problems.push(unreadable(path, &error));
            false
        }
    });
    if let Err((directory, error)) = of_directory {
        let rule = format!("the directory with the files of the services cannot be read: {error}");
        problems.push(Diagnostic::error(rule).in_file(directory));
    }
    Listed { paths, problems, passed_over }
}

/// The names that end in `.conf`, and the other ones; both in order, without hidden files.
fn names(directory: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut names: Vec<OsString> = Vec::new();
    for entry in uninterrupted(|| fs::read_dir(directory))? {
        names.push(entry?.file_name());
    }
    names.retain(|name| !name.as_bytes().starts_with(b"."));
    names.sort();
    let paths = names.iter().map(|name| directory.join(name));
    let (read, mut others): (Vec<_>, Vec<_>) = paths.partition(|path| has_ending(path, b".conf"));
    // A backup beside its original is not meant to be read.
    others.retain(|path| !(has_ending(path, b".bak") && read.binary_search(&path.with_extension("")).is_ok()));
    Ok((read, others))
}

fn has_ending(path: &Path, ending: &[u8]) -> bool {
    path.as_os_str().as_bytes().ends_with(ending)
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(format!("this configuration file cannot be read: {error}")).in_file(path)
}
