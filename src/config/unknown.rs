//! Warns of unknown options: misspelled ones, and those of forks and other versions.
//!
//! Guarantees: pure. There are warnings only, as real installations have such options, and none for
//! a name that a reference uses.
//!
//! Out of scope: values of known options (`config::parse`).

use std::collections::HashSet;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{Entry, Ini, Section, DEFAULT};
use crate::config::options::{find, nearest, Scope};
use crate::config::parse::DAEMON;

/// Upper bound on the warnings, because each searches for the nearest name.
const MAX_WARNINGS: usize = 1000;

/// Warns of each option without effect in its section, and of each unknown option with an invalid
/// value.
pub fn check(ini: &Ini) -> Vec<Diagnostic> {
    let referred = references(ini);
    let entries =
        ini.all_sections().iter().flat_map(|section| section.own_entries().iter().map(move |entry| (section, entry)));
    // Empty names are errors, and names that begin like a section have a lint of their own.
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('[');
    let set = entries.filter(|(_, entry)| entry.location.is_some() && is_name(&entry.name));
    let mut problems: Vec<Diagnostic> = Vec::new();
    for (section, entry) in set {
        let Some(message) = without_effect(section, &entry.name) else { continue };
        if problems.len() >= MAX_WARNINGS {
            problems.push(Diagnostic::warning("there are more unknown options, which are not listed"));
            break;
        }
        if !referred.contains(&*entry.name) {
            problems.push(warning(section, entry, message));
        }
        if let Err(error) = ini.value(section, entry) {
            problems.push(warning(section, entry, format!("cannot be shown by --print-conf: {error}")));
        }
    }
    problems
}

fn warning(section: &Section, entry: &Entry, message: String) -> Diagnostic {
    Diagnostic::warning(message)
        .at(entry.location.as_ref())
        .in_section(&section.name)
        .for_option(&entry.name, Some(&entry.raw))
}

/// Why an option has no effect in this section. None if it has one.
fn without_effect(section: &Section, name: &str) -> Option<String> {
    let (of_daemon, of_service) = (find(Scope::Daemon, name), find(Scope::Service, name));
    let effective = match &*section.name {
        // A default value of [daemon] hides the option in [DEFAULT].
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

/// Collects every name in a reference `%(name)s`.
fn references(ini: &Ini) -> HashSet<String> {
    let mut names = HashSet::new();
    for section in ini.all_sections() {
        for entry in section.own_entries() {
            let pieces = entry.raw.split("%(").skip(1);
            let references =
                pieces.filter_map(|piece| piece.split_once(')')).filter(|(_, after)| after.starts_with('s'));
            names.extend(references.map(|(name, _)| name.to_lowercase()));
        }
    }
    names
}
