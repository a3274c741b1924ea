//! Lints of sections and files: not checked, not read, merged, misspelled.

use std::collections::HashSet;
use std::path::Path;

use strsim::damerau_levenshtein;

use crate::config::diagnostic::{Diagnostic, Location};
use crate::config::ini::{is_space, OverriddenValue, Section, DEFAULT};
use crate::config::options::{find, Scope};
use crate::config::parse::DAEMON;
use crate::config::sources::ServiceFiles;
use crate::prefix::Prefix;

use super::{join_names, Files, Findings};

/// Upper bound on the edit distance of a misspelled `[daemon]` or `[DEFAULT]`.
const MAX_DISTANCE: usize = 2;

pub(super) fn never_checked(files: &Files<'_>, findings: &mut Findings) {
    if files.ini.default_section().get("check_disabled").is_some_and(|entry| entry.location.is_some()) {
        return;
    }
    let is_complete =
        |section: &Section| ["check_cmd", "ip_prefix"].iter().all(|name| files.ini.entry(section, name).is_some());
    let mut without =
        files.services().filter(|section| section.get("check_disabled").is_none() && is_complete(section));
    let Some(first) = without.next() else { return };
    let others = join_names(without.map(|section| format!("[{}]", section.name)));
    let others = if others.is_empty() { others } else { format!(" here and in {others}") };
    let warning = Diagnostic::warning("").at(first.location.as_ref()).in_section(&first.name);
    findings.warn(warning.for_option("check_disabled", None), &[&others]);
}

pub(super) fn no_service(files: &Files<'_>, findings: &mut Findings) {
    if !files.complete || files.services().next().is_some() {
        return;
    }
    let warning = match &files.sources.services {
        ServiceFiles::Directory(path) | ServiceFiles::File(path) => path,
    };
    let others =
        join_names(files.ignored.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())));
    let others = if others.is_empty() { others } else { format!(" (not read: {others})") };
    findings.warn(Diagnostic::warning("").in_file(warning), &[&others]);
}

/// Suffixes of files that were probably meant to be read. Those of package managers and editors are
/// not among them.
const PROBABLE_SUFFIXES: [&str; 7] = [".cfg", ".ini", ".conf.txt", ".config", ".cnf", ".conf.bak", ".bak"];

pub(super) fn ignored_files(files: &Files<'_>, findings: &mut Findings) {
    for path in files.ignored {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if PROBABLE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) || name.ends_with(".conf") {
            findings.warn(Diagnostic::warning("").in_file(path), &[]);
        }
    }
}

/// Skips what [`replaced_options`] reports, which names both files.
pub(super) fn in_two_files(files: &Files<'_>, findings: &mut Findings) {
    let key = |overridden: &OverriddenValue| (overridden.section.clone(), overridden.new.file.clone());
    let reported: HashSet<_> = files.ini.overridden_values().iter().map(key).collect();
    for section in files.services() {
        for pair in section.headers.windows(2) {
            if reported.contains(&(section.name.clone(), pair[1].file.clone())) {
                continue;
            }
            let warning = Diagnostic::warning("").at(Some(&pair[1])).in_section(&section.name);
            findings.warn(warning, &[&location_text(&pair[0])]);
        }
    }
}

fn location_text(location: &Location) -> String {
    format!("{}, line {}", location.file.display(), location.line)
}

/// Covers the sections of services; [`global_sections`] covers `[daemon]` and `[DEFAULT]`.
pub(super) fn replaced_options(files: &Files<'_>, findings: &mut Findings) {
    let of_service = |value: &&OverriddenValue| !matches!(&*value.section, DEFAULT | DAEMON);
    for overridden in files.ini.overridden_values().iter().filter(of_service) {
        let Some(section) = files.ini.section(&overridden.section) else { continue };
        let Some(entry) = section.get(&overridden.option) else { continue };
        let lost =
            if &*overridden.option == "ip_prefix" { lost_prefixes(files, &overridden.raw) } else { String::new() };
        let lost = if lost.is_empty() { lost } else { format!(", so {lost} no longer belongs to any service") };
        let warning = Diagnostic::warning("").at(Some(&overridden.new)).in_section(&section.name);
        let value = files.ini.value(section, entry).unwrap_or((&*entry.raw).into());
        let value = Some(&*value).filter(|_| entry.location.as_ref() == Some(&overridden.new));
        let words = [&*overridden.option, &overridden.raw, &location_text(&overridden.old), &lost];
        findings.warn(warning.for_option(&overridden.option, value), &words);
    }
}

/// The prefixes of an overridden value that no service has any more.
fn lost_prefixes(files: &Files<'_>, text: &str) -> String {
    let prefixes = |text: &str| -> Vec<Prefix> {
        let words = text.split(|c| c == ',' || is_space(c));
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let old = prefixes(text);
    let values = files.services().filter_map(|section| files.ini.effective_value(section, "ip_prefix"));
    let kept: HashSet<Prefix> =
        values.flat_map(|value| prefixes(&value)).filter(|prefix| old.contains(prefix)).collect();
    join_names(old.iter().filter(|prefix| !kept.contains(prefix)).map(ToString::to_string))
}

/// Finds `[DEFAULT]` and `[daemon]` in a file of services.
pub(super) fn global_sections(files: &Files<'_>, findings: &mut Findings) {
    let alternative = ", or write these options into the sections of the services";
    for (section, affected, alternative) in [(DEFAULT, "every service", alternative), (DAEMON, "the daemon", "")] {
        let Some(section) = files.ini.section(section) else { continue };
        for header in section.headers.iter().filter(|header| *header.file != *files.sources.main) {
            let names = options_of_file(files, section, &header.file);
            let names = if names.is_empty() { "nothing".to_string() } else { join_names(names.into_iter()) };
            let main = files.sources.main.display().to_string();
            let warning = Diagnostic::warning("").at(Some(header)).in_section(&section.name);
            findings.warn(warning, &[affected, &names, &main, alternative]);
        }
    }
}

/// The options that a file sets in a section: those with an overridden value first.
fn options_of_file(files: &Files<'_>, section: &Section, file: &Path) -> Vec<String> {
    let is_here = |value: &&OverriddenValue| value.section == section.name && *value.new.file == *file;
    let mut overridden: Vec<_> = files.ini.overridden_values().iter().filter(is_here).collect();
    overridden.sort_by_key(|value| value.new.line);
    let set = section.own_entries().iter().filter(|entry| is_in(entry.location.as_ref(), file));
    let others = set.filter(|entry| !overridden.iter().any(|value| value.option == entry.name));
    let with_old = |value: &&OverriddenValue| format!("{} in place of {}", value.option, location_text(&value.old));
    overridden.iter().map(with_old).chain(others.map(|entry| entry.name.to_string())).collect()
}

fn is_in(location: Option<&Location>, file: &Path) -> bool {
    location.is_some_and(|location| *location.file == *file)
}

pub(super) fn misspelled(files: &Files<'_>, findings: &mut Findings) {
    for section in files.services() {
        // A section with a check and a prefix is a service, whatever its name.
        let is_service = ["check_cmd", "ip_prefix"].iter().all(|name| section.get(name).is_some());
        if let Some(meant) = nearest_section(&section.name).filter(|_| !is_service) {
            let warning = Diagnostic::warning("").at(section.location.as_ref()).in_section(&section.name);
            findings.warn(warning, &[meant]);
        }
    }
}

fn nearest_section(name: &str) -> Option<&'static str> {
    let letters =
        |name: &str| -> String { name.chars().filter(|c| !is_space(*c)).flat_map(char::to_lowercase).collect() };
    // A long name cannot be near, and computing its distance would take long.
    let name = Some(letters(name)).filter(|name| name.len() <= 2 * DEFAULT.len())?;
    let distance = |meant: &&str| damerau_levenshtein(&name, &letters(meant));
    [DAEMON, DEFAULT].into_iter().filter(|meant| distance(meant) <= MAX_DISTANCE).min_by_key(distance)
}

pub(super) fn missing_brackets(files: &Files<'_>, findings: &mut Findings) {
    for section in files.ini.all_sections() {
        for entry in section.own_entries().iter().filter(|entry| entry.name.starts_with('[')) {
            if find(Scope::Service, &entry.name).is_none() {
                findings.warn(super::warning_at(section, entry, &entry.raw), &[]);
            }
        }
    }
}
