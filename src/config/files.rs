//! Reads the files of the configuration and runs all stages, from text to settings.
//!
//! Guarantees: the main file comes first, then the files of services sorted by name. A file that
//! cannot be read is an error, as a service that is silently not checked is worse than a daemon
//! that does not start. All problems are reported, not only the first.
//!
//! Blocking: on the disk.
//!
//! Out of scope: what depends on the machine, files aside (`config::preflight`).

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
use crate::config::parse::{self, Parsed, DAEMON};
use crate::config::settings::Settings;
pub use crate::config::sources::{ServiceFiles, Sources};
use crate::config::unknown;
use crate::sys::poll::retry_on_intr;

/// Reads all files. On failure, the problems hold at least one error, and all warnings.
pub fn load(sources: &Sources) -> Result<Configuration, Vec<Diagnostic>> {
    let Analysis { parsed: Parsed { daemon, services, problems }, ini, .. } = analyze(sources);
    match daemon.filter(|_| !problems.iter().any(Diagnostic::is_error)) {
        Some(daemon) => Ok(Configuration { settings: Settings { daemon, services }, warnings: problems, ini }),
        None => Err(problems),
    }
}

/// Settings of `[daemon]` from files with errors.
#[derive(Clone, Debug)]
pub struct RecoveredSettings {
    /// `[daemon]` with the default value in place of each invalid one, and no services. None if the
    /// main file cannot be read, because it names the prefix files.
    pub settings: Option<Settings>,
    /// Whether the main file and `[daemon]` are free of errors.
    pub sound: bool,
    /// The problems of all files.
    pub problems: Vec<Diagnostic>,
}

/// Reads `[daemon]` with error recovery, after [`load`] has failed with these problems.
pub fn recover(sources: &Sources, problems: Vec<Diagnostic>) -> RecoveredSettings {
    let FileContents { mut ini, problems: syntax_errors, .. } = read_files(sources);
    let in_main = |problem: &&Diagnostic| problem.file.as_deref() == Some(&*sources.main) && problem.is_error();
    let main_error = syntax_errors.iter().find(in_main);
    let (daemon, daemon_errors) = parse::recover_daemon(&mut ini);
    let sound = main_error.is_none() && daemon_errors.is_empty();
    let is_readable = main_error.is_none_or(|problem| problem.line.is_some());
    let settings = daemon.filter(|_| is_readable).map(|daemon| Settings { daemon, services: Vec::new() });
    RecoveredSettings { settings, sound, problems }
}

/// The problems of all files, and the settings to compare with the machine.
#[derive(Debug)]
pub struct CheckedFiles {
    /// The problems of the files.
    pub problems: Vec<Diagnostic>,
    ini: Ini,
    /// None if there is an error.
    settings: Option<Settings>,
    incomplete: IncompleteFiles,
}

/// Reads all files for `--check`, and continues after errors that make [`load`] fail.
pub fn check(sources: &Sources) -> CheckedFiles {
    let Analysis { parsed: Parsed { daemon, services, problems }, ini, incomplete } = analyze(sources);
    let daemon = daemon.filter(|_| !problems.iter().any(Diagnostic::is_error));
    CheckedFiles { problems, ini, settings: daemon.map(|daemon| Settings { daemon, services }), incomplete }
}

impl CheckedFiles {
    /// Adds the problems that `check` finds on the machine, except those that may be caused by an
    /// error in the files.
    pub fn check_machine(self, check: impl FnOnce(&Configuration) -> Vec<Diagnostic>) -> Vec<Diagnostic> {
        let CheckedFiles { mut problems, ini, settings, incomplete } = self;
        let Some(settings) = settings.or_else(|| parse::recover_all(&mut ini.clone())) else { return problems };
        let mut machine_problems = check(&Configuration { settings, warnings: Vec::new(), ini });
        let errors = problems.iter().filter(|problem| problem.is_error());
        let invalid_options: HashSet<_> = errors.map(option_of).collect();
        machine_problems
            .retain(|problem| incomplete.does_not_affect(problem) && !invalid_options.contains(&option_of(problem)));
        problems.extend(machine_problems);
        diagnostic::deduplicate(&mut problems, DEFAULT);
        problems
    }
}

fn option_of(problem: &Diagnostic) -> (Option<String>, Option<String>) {
    (problem.section.clone(), problem.option.clone())
}

/// The location of the status socket. Errors in other options and in services are ignored, because
/// `--status` may be asked why the daemon refused them. Fails if the main file cannot be read.
pub fn status_socket(sources: &Sources) -> Result<PathBuf, Vec<Diagnostic>> {
    let FileContents { ini, problems, .. } = read_files(sources);
    // A syntax error has a line, a file that cannot be read has none.
    let unreadable = |problem: &Diagnostic| problem.file.as_deref() == Some(&*sources.main) && problem.line.is_none();
    if problems.iter().any(unreadable) {
        return Err(problems.into_iter().filter(unreadable).collect());
    }
    parse::status_socket(&ini).map_err(|errors| [errors, problems].concat())
}

/// The location of the pidfile. Errors in other options are ignored.
pub fn pidfile(sources: &Sources) -> Option<PathBuf> {
    parse::pidfile(&read_files(sources).ini)
}

/// All sections, and the settings and problems found in them.
struct Analysis {
    ini: Ini,
    /// Its problems are those of all stages, warnings included.
    parsed: Parsed,
    incomplete: IncompleteFiles,
}

fn analyze(sources: &Sources) -> Analysis {
    let FileContents { ini, mut problems, ignored } = read_files(sources);
    let incomplete = IncompleteFiles::new(sources, &problems);
    let mut parsed = parse::sections(&ini, !incomplete.may_affect_all);
    let mut later_problems = unknown::check(&ini);
    later_problems.append(&mut parsed.problems);
    later_problems.extend(lint::check_files(&Files {
        ini: &ini,
        sources,
        ignored: &ignored,
        complete: incomplete.files.is_empty(),
        daemon_complete: !incomplete.may_affect_all,
    }));
    later_problems.retain(|problem| incomplete.does_not_affect(problem));
    problems.extend(later_problems);
    diagnostic::deduplicate(&mut problems, DEFAULT);
    let main = Some(&*sources.main);
    problems.sort_by_key(|problem| (problem.file.as_deref() != main, problem.file.clone(), problem.line));
    Analysis { ini, parsed: Parsed { problems, ..parsed }, incomplete }
}

/// The files with syntax errors, whose sections may lack options.
#[derive(Debug, Default)]
struct IncompleteFiles {
    files: HashSet<Arc<Path>>,
    /// Whether options of `[daemon]` or `[DEFAULT]` may be missing.
    may_affect_all: bool,
}

impl IncompleteFiles {
    fn new(sources: &Sources, problems: &[Diagnostic]) -> IncompleteFiles {
        let errors = || problems.iter().filter(|problem| problem.is_error());
        let may_affect_all = errors().any(|problem| {
            problem.file.as_deref() == Some(&*sources.main)
                || matches!(problem.section.as_deref(), Some(DAEMON | DEFAULT))
        });
        IncompleteFiles { files: errors().filter_map(|problem| problem.file.clone()).collect(), may_affect_all }
    }

    /// Whether a problem would remain without the syntax errors: it is in another file, or about a
    /// value without references.
    fn does_not_affect(&self, problem: &Diagnostic) -> bool {
        let elsewhere = !self.may_affect_all && !problem.file.as_ref().is_some_and(|file| self.files.contains(file));
        elsewhere || problem.line.is_some() && problem.value.as_ref().is_some_and(|value| !value.contains("%("))
    }
}

/// The sections of all files, on top of the default values.
struct FileContents {
    ini: Ini,
    /// Files that cannot be read, and syntax errors.
    problems: Vec<Diagnostic>,
    ignored: Vec<PathBuf>,
}

fn read_files(sources: &Sources) -> FileContents {
    let mut ini = Ini::default();
    for (section, scope) in [(DEFAULT, Scope::Service), (DAEMON, Scope::Daemon)] {
        for (name, value) in options::defaults(scope) {
            ini.preset(section, name, value);
        }
    }
    let FileList { paths, mut problems, ignored } = list_files(sources);
    for path in paths {
        match fs::read(&path) {
            Ok(bytes) => problems.extend(ini.read(&path, &bytes).into_iter().map(Diagnostic::from)),
            Err(error) => problems.push(unreadable(&path, &error)),
        }
    }
    FileContents { ini, problems, ignored }
}

/// The files to read, in order.
struct FileList {
    paths: Vec<PathBuf>,
    /// Files that are missing or not regular, or a directory that cannot be listed.
    problems: Vec<Diagnostic>,
    /// Files in the directory of services that are not read.
    ignored: Vec<PathBuf>,
}

fn list_files(sources: &Sources) -> FileList {
    let mut problems = Vec::new();
    let mut paths = vec![sources.main.clone()];
    let mut ignored = Vec::new();
    let mut directory_error = None;
    match &sources.services {
        ServiceFiles::File(path) => paths.push(path.clone()),
        ServiceFiles::Directory(directory) => match list_directory(directory) {
            Ok((of_services, others)) => {
                paths.extend(of_services);
                ignored = others;
            }
            Err(error) => {
                let message = format!("the directory with the files of the services cannot be read: {error}");
                directory_error = Some(Diagnostic::error(message).in_file(directory));
            }
        },
    }
    // Reading a pipe or a device may block or never end.
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
    problems.extend(directory_error);
    FileList { paths, problems, ignored }
}

/// Lists the files that end in `.conf`, and the other ones. Both are sorted and without hidden
/// files; a backup beside its original is in neither.
fn list_directory(directory: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut names: Vec<OsString> = Vec::new();
    for entry in retry_on_intr(|| fs::read_dir(directory))? {
        names.push(entry?.file_name());
    }
    names.retain(|name| !name.as_bytes().starts_with(b"."));
    names.sort();
    let paths = names.iter().map(|name| directory.join(name));
    let (conf, mut others): (Vec<_>, Vec<_>) = paths.partition(|path| has_suffix(path, b".conf"));
    others.retain(|path| !(has_suffix(path, b".bak") && conf.binary_search(&path.with_extension("")).is_ok()));
    Ok((conf, others))
}

fn has_suffix(path: &Path, suffix: &[u8]) -> bool {
    path.as_os_str().as_bytes().ends_with(suffix)
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(format!("this configuration file cannot be read: {error}")).in_file(path)
}
