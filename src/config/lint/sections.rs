//! Lints of sections and files: not checked, not read, merged, misspelled.
//!
//! Promises and leaves out: as `config::lint`.

use std::collections::HashSet;
use std::path::Path;

use strsim::damerau_levenshtein;

use crate::config::diagnostic::{Diagnostic, Location};
use crate::config::ini::{is_space, Replaced, Section, DEFAULT};
use crate::config::options::{find, Scope};
use crate::config::parse::DAEMON;
use crate::config::sources::ServiceFiles;
use crate::prefix::Prefix;

use super::{named, Files, Findings};

/// Upper bound on the edit distance of a misspelled `[daemon]` or `[DEFAULT]`.
const MAX_DISTANCE: usize = 2;

pub(super) fn never_checked(files: &Files<'_>, findings: &mut Findings) {
    if files.ini.default_section().get("check_disabled").is_some_and(|entry| entry.place.is_some()) {
        return;
    }
    let complete =
        |section: &Section| ["check_cmd", "ip_prefix"].iter().all(|name| files.ini.entry(section, name).is_some());
    let mut without = files.services().filter(|section| section.get("check_disabled").is_none() && complete(section));
    let Some(first) = without.next() else { return };
    let others = named(without.map(|section| format!("[{}]", section.name)));
    let others = if others.is_empty() { others } else { format!(" here and in {others}") };
    let place = Diagnostic::warning("").at(first.place.as_ref()).in_section(&first.name);
    findings.say(place.of("check_disabled", None), &[&others]);
}

pub(super) fn no_service(files: &Files<'_>, findings: &mut Findings) {
    if !files.whole || files.services().next().is_some() {
        return;
    }
    let place = match &files.sources.services {
        ServiceFiles::Directory(path) | ServiceFiles::File(path) => path,
    };
    let others =
        named(files.passed_over.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())));
    let others = if others.is_empty() { others } else { format!(" (not read: {others})") };
    findings.say(Diagnostic::warning("").in_file(place), &[&others]);
}

/// Endings of files that were probably meant to be read. Leftovers of package managers and editors
/// are not among them.
const MEANT: [&str; 7] = [".cfg", ".ini", ".conf.txt", ".config", ".cnf", ".conf.bak", ".bak"];

pub(super) fn passed_over(files: &Files<'_>, findings: &mut Findings) {
    for path in files.passed_over {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if MEANT.iter().any(|end| name.ends_with(end)) || name.ends_with(".conf") {
            findings.say(Diagnostic::warning("").in_file(path), &[]);
        }
    }
}

/// Says nothing where [`replaced_options`] already names both files.
pub(super) fn in_two_files(files: &Files<'_>, findings: &mut Findings) {
    let of_replaced = |replaced: &Replaced| (replaced.section.clone(), replaced.new.file.clone());
    let replaced: HashSet<_> = files.ini.replaced().iter().map(of_replaced).collect();
    for section in files.services() {
        for pair in section.places.windows(2) {
            if replaced.contains(&(section.name.clone(), pair[1].file.clone())) {
                continue;
            }
            let place = Diagnostic::warning("").at(Some(&pair[1])).in_section(&section.name);
            findings.say(place, &[&at(&pair[0])]);
        }
    }
}

fn at(place: &Location) -> String {
    format!("{}, line {}", place.file.display(), place.line)
}

/// Covers services only; [`of_all`] covers `[daemon]` and `[DEFAULT]`.
pub(super) fn replaced_options(files: &Files<'_>, findings: &mut Findings) {
    for replaced in files.ini.replaced().iter().filter(|replaced| !matches!(&*replaced.section, DEFAULT | DAEMON)) {
        let Some(section) = files.ini.section(&replaced.section) else { continue };
        let Some(entry) = section.get(&replaced.option) else { continue };
        let lost = if &*replaced.option == "ip_prefix" { lost(files, &replaced.raw) } else { String::new() };
        let lost = if lost.is_empty() { lost } else { format!(", so {lost} belongs to no service any more") };
        let place = Diagnostic::warning("").at(Some(&replaced.new)).in_section(&section.name);
        let value = files.ini.value(section, entry).unwrap_or((&*entry.raw).into());
        let value = Some(&*value).filter(|_| entry.place.as_ref() == Some(&replaced.new));
        let words = [&*replaced.option, &replaced.raw, &at(&replaced.old), &lost];
        findings.say(place.of(&replaced.option, value), &words);
    }
}

/// The prefixes of an old value that no service has any more.
fn lost(files: &Files<'_>, text: &str) -> String {
    let prefixes = |text: &str| -> Vec<Prefix> {
        let words = text.split(|c| c == ',' || is_space(c));
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let old = prefixes(text);
    let values =
        files.services().filter_map(|section| files.ini.value(section, files.ini.entry(section, "ip_prefix")?).ok());
    let kept: HashSet<Prefix> =
        values.flat_map(|value| prefixes(&value)).filter(|prefix| old.contains(prefix)).collect();
    named(old.iter().filter(|prefix| !kept.contains(prefix)).map(ToString::to_string))
}

pub(super) fn of_all(files: &Files<'_>, findings: &mut Findings) {
    let own = ", or write these options into the sections of the services";
    for (section, whom, or) in [(DEFAULT, "every service", own), (DAEMON, "the daemon", "")] {
        let Some(section) = files.ini.section(section) else { continue };
        for place in section.places.iter().filter(|place| *place.file != *files.sources.main) {
            let set = section.own_entries().iter().filter(|entry| is_in(entry.place.as_ref(), &place.file));
            let set = set.map(|entry| entry.name.to_string());
            let replaced = files
                .ini
                .replaced()
                .iter()
                .filter(|replaced| replaced.section == section.name && *replaced.new.file == *place.file);
            let mut replaced: Vec<_> = replaced.collect();
            let mut all: Vec<String> = set.filter(|name| !replaced.iter().any(|old| *old.option == **name)).collect();
            replaced.sort_by_key(|old| old.new.line);
            let over = |name: &str, old: &Location| format!("{name} in place of {}", at(old));
            let mut names: Vec<String> = replaced.iter().map(|old| over(&old.option, &old.old)).collect();
            names.append(&mut all);
            let names = if names.is_empty() { "nothing".to_string() } else { named(names.into_iter()) };
            let main = files.sources.main.display().to_string();
            let told = Diagnostic::warning("").at(Some(place)).in_section(&section.name);
            findings.say(told, &[whom, &names, &main, or]);
        }
    }
}

fn is_in(place: Option<&Location>, file: &Path) -> bool {
    place.is_some_and(|place| *place.file == *file)
}

pub(super) fn misspelled(files: &Files<'_>, findings: &mut Findings) {
    for section in files.services() {
        // A section with a check and a prefix is a service, whatever its name.
        let is_service = ["check_cmd", "ip_prefix"].iter().all(|name| section.get(name).is_some());
        if let Some(meant) = nearest(&section.name).filter(|_| !is_service) {
            let place = Diagnostic::warning("").at(section.place.as_ref()).in_section(&section.name);
            findings.say(place, &[meant]);
        }
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let letters =
        |name: &str| -> String { name.chars().filter(|c| !is_space(*c)).flat_map(char::to_lowercase).collect() };
    // A long name is no misspelling, and the distance takes time.
    let name = Some(letters(name)).filter(|name| name.len() <= 2 * DEFAULT.len())?;
    let distance = |meant: &&str| damerau_levenshtein(&name, &letters(meant));
    [DAEMON, DEFAULT].into_iter().filter(|meant| distance(meant) <= MAX_DISTANCE).min_by_key(distance)
}

pub(super) fn missing_brackets(files: &Files<'_>, findings: &mut Findings) {
    for section in std::iter::once(files.ini.default_section()).chain(files.ini.sections()) {
        for entry in section.own_entries().iter().filter(|entry| entry.name.starts_with('[')) {
            if find(Scope::Service, &entry.name).is_none() {
                findings.say(super::place(section, entry, &entry.raw), &[]);
            }
        }
    }
}
