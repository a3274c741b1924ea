//! Warnings about configuration that is valid but probably a mistake: one table of lints.
//!
//! Each lint has a detector, a sentence that says what happens and what to do, and an example.
//!
//! Guarantees: a lint only warns. Every warning has a file and, if possible, a line. A value that
//! several services inherit is reported once. Detectors of [`Files`] are pure functions of the
//! sections; those of a [`Machine`] are in `config::lint::machine` and run only for `--check`
//! without `--files-only`.
//!
//! Out of scope: errors (`config::parse`) and unknown options (`config::unknown`).

use std::borrow::Cow;
use std::path::PathBuf;

use crate::command::{self, Word};
use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{Entry, Ini, Section, DEFAULT};
use crate::config::options::{self, Kind, OptionSpec, Scope};
use crate::config::parse::{self, DAEMON};
use crate::config::python;
use crate::config::sources::Sources;
use machine::Machine;

mod effects;
pub mod machine;
mod programs;
mod sections;
#[cfg(test)]
mod tests;
mod text;
mod words;

/// One kind of mistake: how it is detected and reported.
#[derive(Clone, Copy, Debug)]
pub struct Lint {
    /// The name, which is also that of a directory in `tests/data/config`.
    pub name: &'static str,
    /// What happens and what to do. The detector fills in each `{}`.
    pub sentence: &'static str,
    /// A configuration with this mistake and no other.
    pub example: Example,
    detector: Detector,
}

/// Lines with a mistake, and where to add them to a good configuration.
#[derive(Clone, Copy, Debug)]
pub enum Example {
    /// To the section of a service.
    Service(&'static str),
    /// To `[daemon]`.
    Daemon(&'static str),
    /// As another file of this name in the directory of services.
    File(&'static str, &'static str),
    /// A file of this name, and no services.
    NoService(&'static str),
}

/// The function that detects a mistake, by its input.
#[derive(Clone, Copy, Debug)]
enum Detector {
    Files(fn(&Files<'_>, &mut Findings)),
    Machine(fn(&Machine<'_>, &mut Findings)),
}

/// All lints: of text, sections and files, values, commands, and the machine.
#[rustfmt::skip]
pub static LINTS: &[Lint] = &[
    of_files("shell-words", words::shell_words, Example::Service("check_cmd = /usr/bin/check-web && /usr/bin/check-db"),
        "no shell runs this command: {} {}; write /bin/sh -c '…' around the whole command"),
    of_files("trailing-comment", text::trailing_comments, Example::Service("interface = lo ; the loopback interface"),
        "'{}' is part of the value, not a comment; put the comment on a line of its own"),
    of_files("lookalike-characters", text::lookalikes, Example::Service("check_cmd = /usr/bin/check-web “two words”"),
        "contains {}, which is taken literally; {}"),
    of_files("quoted-value", text::quoted_values, Example::Service("interface = \"lo\""),
        "the quotes {}; remove them"),
    of_files("misindented-line", text::misindented_lines, Example::Service("check_cmd = /usr/bin/check-web\n    check_timeout = 1"),
        "this indented line continues the value of {} and sets nothing; remove the blanks before it"),
    of_files("never-checked", sections::never_checked, Example::File("b.conf", "[b]\ncheck_cmd = /usr/bin/true\nip_prefix = 10.0.0.2"),
        "is set neither here nor in [DEFAULT] and its default is true: the service is never checked; set check_disabled = false{}"),
    of_files("no-service", sections::no_service, Example::NoService("README"),
        "no service is configured, here or in another file, so nothing is checked; write one into a file whose name ends in .conf{}"),
    of_files("ignored-file", sections::ignored_files, Example::File("www.cfg", ""),
        "is not read because its name does not end in .conf, so its services are not checked; rename it, or move it elsewhere"),
    of_files("section-in-two-files", sections::in_two_files, Example::File("b.conf", "[www]\non_disabled = advertise"),
        "is also at {}: sections of one name are merged into one service; keep each service in one file, or rename one of the two"),
    of_files("replaced-option", sections::replaced_options, Example::File("b.conf", "[www]\nip_prefix = 10.0.0.2"),
        "replaces {} = {} of {}, because sections of one name are merged and the last file wins{}; remove one of the two"),
    of_files("global-section", sections::global_sections, Example::File("b.conf", "[DEFAULT]\ncheck_fail = 9"),
        "in a service's file this section changes {}: it sets {}; move it to {}{}"),
    of_files("misspelled-section", sections::misspelled, Example::File("b.conf", "[Daemon]\nloglevel = info"),
        "is read as a service of this name; write [{}] if you mean that section"),
    of_files("missing-bracket", sections::missing_brackets, Example::Service("[fd00::1"),
        "begins like a section but has no closing bracket, so it is read as an option; write [name] on a line of its own"),
    of_files("birdc-without-effect", programs::birdc_without_effect, Example::Daemon("bird_reconfigure_cmd = /usr/sbin/birdc configure soft"),
        "this command does not make BIRD apply the list: {}; use {} configure"),
    of_files("one-constant-for-both", effects::one_constant_for_both, Example::Daemon("ipv6 = true\nbird_variable = ANYCAST\nbird6_variable = ANYCAST\nbird6_reconfigure_cmd = /usr/sbin/birdc configure"),
        "is also the name of the list in bird_conf, and one BIRD reads both lists, because {}: it refuses its whole configuration; give each list its own name"),
    of_files("invalid-log-server", effects::invalid_log_server, Example::Daemon("log_server = syslog.example.com:514"),
        "is not the name of a host, so every line is lost; write log_server = {}{}"),
    of_files("log-to-stream", effects::log_to_streams, Example::Daemon("log_file = /dev/stdout"),
        "cannot be opened if it is a socket, as under systemd, and then its lines are lost; remove {}"),
    of_files("without-effect", effects::without_effect, Example::Daemon("json_log_file = true"),
        "has no effect {}; {}"),
    of_files("slow-timeout", effects::slow_timeouts, Example::Service("check_interval = 5\ncheck_timeout = 5"),
        "should be {}, or a check that hangs delays the next"),
    of_files("slow-fast-interval", effects::slow_fast_intervals, Example::Service("check_interval = 5\ncheck_fast_interval = 10"),
        "should be {}, or it has no effect"),
    of_files("relative-path", text::relative_paths, Example::Service("drain_file = www.drain"),
        "is a relative path, which depends on the directory in which the daemon, -c or --drain is started; write an absolute path"),
    of_files("curl-without-fail", programs::curl_without_fail, Example::Service("check_cmd = /usr/bin/curl --silent http://10.0.0.1/"),
        "curl exits with 0 whatever the HTTP status is, so an error page counts as healthy; add --fail"),
    of_files("dig-without-limits", programs::dig_without_limits, Example::Service("check_cmd = /usr/bin/dig @10.0.0.1 www.example.com"),
        "dig waits 5 seconds and tries 3 times unless +time and +tries say otherwise, and any reply passes, even one without an answer; add +time=1 +tries=1 and check its output, as in /bin/sh -c 'dig … +short | grep -q .'"),
    of_files("ping-without-count", programs::ping_without_count, Example::Service("check_cmd = /usr/bin/ping 10.0.0.1"),
        "ping without -c never ends, so every check runs into check_timeout and fails; add -c 1"),
    of_files("command-too-long", words::too_long, Example::Service("check_cmd = /usr/bin/check-web @LONG@"),
        "cannot be run: it has {} bytes in {}, but the kernel allows only {}; put it into a script"),
    of_machine("no-directory", machine::no_directory, Example::Service("drain_file = /nonexistent/www.drain"),
        "should be a file in an existing directory, but {}, so {}; {}"),
    of_machine("irregular-log-file", machine::irregular_log_files, Example::Daemon("log_file = /dev/null"),
        "is not a regular file but {}; {}"),
    of_machine("unassigned-prefix", machine::unassigned_prefixes, Example::Service("ip_prefix = 203.0.113.77"),
        "{} is not assigned to {} now, so the service counts as down; assign it: ip address add {} dev {}"),
    of_machine("unknown-log-server", machine::unknown_log_server, Example::Daemon("log_server = nosuch..example"),
        "cannot be resolved now ({}), so its lines are lost; write a name that resolves, or an address"),
];

const fn of_files(
    name: &'static str,
    detector: fn(&Files<'_>, &mut Findings),
    example: Example,
    sentence: &'static str,
) -> Lint {
    Lint { name, sentence, example, detector: Detector::Files(detector) }
}

const fn of_machine(
    name: &'static str,
    detector: fn(&Machine<'_>, &mut Findings),
    example: Example,
    sentence: &'static str,
) -> Lint {
    Lint { name, sentence, example, detector: Detector::Machine(detector) }
}

impl Lint {
    /// Whether it depends on the machine, so that `--files-only` skips it.
    pub fn is_of_machine(&self) -> bool {
        matches!(self.detector, Detector::Machine(_))
    }
}

/// The input of the detectors that depend on files only.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The sections of all files.
    pub ini: &'a Ini,
    /// The files.
    pub sources: &'a Sources,
    /// Files in the directory of services that are not read.
    pub ignored: &'a [PathBuf],
    /// Whether all files are free of syntax errors.
    pub complete: bool,
    /// Whether no option of `[daemon]` and `[DEFAULT]` is missing because of a syntax error.
    pub daemon_complete: bool,
}

/// The warnings of one lint.
#[derive(Debug)]
pub struct Findings {
    lint: &'static Lint,
    problems: Vec<Diagnostic>,
}

/// Upper bound on the warnings of one lint.
const MAX_WARNINGS: usize = 1000;

/// Upper bound on the names in one sentence.
const MAX_NAMES: usize = 5;

/// Upper bound on the characters that fill in one `{}`.
const MAX_FILL_LEN: usize = 300;

/// Runs all lints of files.
pub fn check_files(files: &Files<'_>) -> Vec<Diagnostic> {
    run(|lint, findings| {
        if let Detector::Files(detector) = lint.detector {
            detector(files, findings);
        }
    })
}

/// Runs all lints of the machine.
pub fn check_machine(machine: &Machine<'_>) -> Vec<Diagnostic> {
    run(|lint, findings| {
        if let Detector::Machine(detector) = lint.detector {
            detector(machine, findings);
        }
    })
}

fn run(mut detect: impl FnMut(&'static Lint, &mut Findings)) -> Vec<Diagnostic> {
    let problems = LINTS.iter().flat_map(|lint| {
        let mut findings = Findings { lint, problems: Vec::new() };
        detect(lint, &mut findings);
        findings.problems
    });
    problems.collect()
}

impl Findings {
    /// Adds a warning. Its message is the lint's sentence, filled in with these words.
    pub(in crate::config) fn warn(&mut self, warning: Diagnostic, words: &[&str]) {
        match self.problems.len() {
            MAX_WARNINGS.. => {}
            n if n + 1 == MAX_WARNINGS => {
                let message =
                    format!("there are more warnings of this kind ({}), which are not listed", self.lint.name);
                self.problems.push(Diagnostic::warning(message));
            }
            _ => self.problems.push(Diagnostic { message: fill(self.lint.sentence, words), ..warning }),
        }
    }
}

/// Replaces each `{}` of the sentence by the next of the words.
fn fill(sentence: &str, words: &[&str]) -> String {
    let mut words = words.iter();
    let mut text = String::new();
    for (index, piece) in sentence.split("{}").enumerate() {
        if index > 0 {
            let word = words.next().copied().unwrap_or_default();
            text.extend(word.chars().take(MAX_FILL_LEN));
            text.push_str(if word.chars().nth(MAX_FILL_LEN).is_some() { "…" } else { "" });
        }
        text.push_str(piece);
    }
    text
}

/// Joins the first names, and adds the number of the others.
fn join_names(mut all: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = all.by_ref().take(MAX_NAMES).collect();
    match all.count() {
        0 => {}
        more => names.push(format!("{more} more")),
    }
    names.join(", ")
}

/// A known option in a section that sets it.
struct ConfiguredOption<'a> {
    section: &'a Section,
    spec: &'static OptionSpec,
    entry: &'a Entry,
    /// The value, or the raw text if its references are invalid.
    value: Cow<'a, str>,
}

impl ConfiguredOption<'_> {
    fn warning(&self) -> Diagnostic {
        warning_at(self.section, self.entry, &self.value)
    }

    /// Splits a command into words. None if that fails.
    fn words(&self) -> Option<Vec<Word>> {
        command::words(&self.value).ok()
    }
}

/// Creates a warning at the line of an option; [`Findings::warn`] adds the sentence.
fn warning_at(section: &Section, entry: &Entry, value: &str) -> Diagnostic {
    Diagnostic::warning("").at(entry.location.as_ref()).in_section(&section.name).for_option(&entry.name, Some(value))
}

impl<'a> Files<'a> {
    fn services(&self) -> impl Iterator<Item = &'a Section> {
        self.ini.sections().iter().filter(|section| &*section.name != DAEMON)
    }

    /// Yields each known option that a file sets, once, even if several services inherit it.
    fn configured_options(&self) -> impl Iterator<Item = ConfiguredOption<'a>> {
        let ini = self.ini;
        ini.all_sections().iter().flat_map(move |section| {
            let set = section.own_entries().iter().filter(|entry| entry.location.is_some());
            set.filter_map(move |entry| {
                let spec = known_option(section, &entry.name)?;
                let value = ini.value(section, entry).unwrap_or(Cow::Borrowed(&entry.raw));
                Some(ConfiguredOption { section, spec, entry, value })
            })
        })
    }

    fn configured_commands(&self) -> impl Iterator<Item = ConfiguredOption<'a>> {
        self.configured_options().filter(|option| option.spec.kind == Kind::Command)
    }

    /// The effective option of `[daemon]`, if a file sets it.
    fn daemon(&self, option: &str) -> Option<ConfiguredOption<'a>> {
        let daemon = self.ini.section(DAEMON)?;
        let entry = self.ini.entry(daemon, option).filter(|entry| entry.location.is_some())?;
        let value = self.ini.value(daemon, entry).ok()?;
        let section = if daemon.get(option).is_some() { daemon } else { self.ini.default_section() };
        Some(ConfiguredOption { section, spec: options::find(Scope::Daemon, option)?, entry, value })
    }

    /// The effective value of an option of `[daemon]`, default values included.
    fn daemon_value(&self, option: &str) -> Option<Cow<'a, str>> {
        self.ini.effective_value(self.ini.section(DAEMON)?, option)
    }

    /// Whether a boolean option of `[daemon]` is true.
    fn is_on(&self, option: &str) -> bool {
        self.daemon_value(option).and_then(|value| python::boolean(&value)).unwrap_or_default()
    }

    /// The effective value of a numeric option of a section.
    fn number(&self, section: &Section, option: &str) -> Option<f64> {
        python::float(&self.ini.effective_value(section, option)?)
    }

    /// Creates a warning at the effective option of a section; [`Findings::warn`] adds the
    /// sentence.
    fn warning_at(&self, section: &Section, option: &str) -> Diagnostic {
        parse::locate(self.ini, section, option, Diagnostic::warning(""))
    }
}

/// The option that has an effect in this section.
fn known_option(section: &Section, name: &str) -> Option<&'static OptionSpec> {
    match &*section.name {
        DAEMON => options::find(Scope::Daemon, name),
        DEFAULT => options::find(Scope::Service, name).or_else(|| options::find(Scope::Daemon, name)),
        _ => options::find(Scope::Service, name),
    }
}
