//! Options that nobody knows: typing errors, and those of forks and other versions.
//!
//! Promises: warnings only, as real installations carry such options; none for a name that some value refers to.
//! Leaves out: what a known option holds (`config::parse`).

use std::collections::HashSet;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{Entry, Ini, Section, DEFAULT};
use crate::config::options::{find, nearest, Scope};
use crate::config::parse::DAEMON;

/// How many are named: the search for the nearest name takes its time.
const MOST: usize = 1000;

/// One warning for each option that has no effect where it stands, and for each unknown one whose value is faulty.
pub fn check(ini: &Ini) -> Vec<Diagnostic> {
    let referred = references(ini);
    let sections = std::iter::once(ini.default_section()).chain(ini.sections());
    let entries = sections.flat_map(|section| section.own_entries().iter().map(move |entry| (section, entry)));
    // Of a name that is none, and of one that begins like a section, another sentence tells.
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('[');
    let set = entries.filter(|(_, entry)| entry.place.is_some() && is_name(&entry.name));
    let mut problems: Vec<Diagnostic> = Vec::new();
    for (section, entry) in set {
        let Some(rule) = without_effect(section, &entry.name) else { continue };
        if problems.len() >= MOST {
            problems.push(Diagnostic::warning("there are more unknown options, which are not listed"));
            break;
        }
        if !referred.contains(&*entry.name) {
            problems.push(locate(section, entry, rule));
        }
        if let Err(fault) = ini.value(section, entry) {
            problems.push(locate(section, entry, format!("cannot be shown by --print-conf: {fault}")));
        }
    }
    problems
}

fn locate(section: &Section, entry: &Entry, rule: String) -> Diagnostic {
    Diagnostic::warning(rule).at(entry.place.as_ref()).in_section(&section.name).of(&entry.name, Some(&entry.raw))
}

/// Why the option does nothing in this section, where it does nothing.
fn without_effect(section: &Section, name: &str) -> Option<String> {
    let (of_daemon, of_service) = (find(Scope::Daemon, name), find(Scope::Service, name));
    let effective = match &*section.name {
        // An own default of [daemon] hides what [DEFAULT] has.
        DEFAULT => of_service.is_some() || of_daemon.is_some_and(|option| !option.original || option.default.is_none()),
        DAEMON => of_daemon.is_some(),
        _ => of_service.is_some(),
    };
    if effective {
        return None;
    }
    Some(match (of_daemon, of_service) {
        (Some(_), _) => "has an effect in [daemon] only".to_string(),
        (_, Some(_)) => "has an effect only in the section of a service or in [DEFAULT]".to_string(),
        (None, None) => match nearest(name) {
            Some(known) if name.contains("enable") && known.contains("disabled") => {
                format!("is an unknown option; did you mean {known}, with the opposite meaning?")
            }
            Some(known) => format!("is an unknown option; did you mean {known}?"),
            None => "is an unknown option".to_string(),
        },
    })
}

/// Every name that stands in a `%(name)s`.
fn references(ini: &Ini) -> HashSet<String> {
    let mut names = HashSet::new();
    for section in std::iter::once(ini.default_section()).chain(ini.sections()) {
        for entry in section.own_entries() {
            let pieces = entry.raw.split("%(").skip(1);
            let found = pieces.filter_map(|piece| piece.split_once(')')).filter(|(_, behind)| behind.starts_with('s'));
            names.extend(found.map(|(name, _)| name.to_lowercase()));
        }
    }
    names
}
