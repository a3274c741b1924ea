//! Suggests a known name for a misspelled one.
//!
//! Guarantees: pure and deterministic, even if several names are equally near.
//!
//! Out of scope: names of options (`config::options`).

use strsim::damerau_levenshtein;

/// Returns the nearest name, if at most a third of the letters differ; else the only name that
/// begins or ends with `name`.
pub fn nearest_name<'a>(names: impl Iterator<Item = &'a str> + Clone, name: &str) -> Option<&'a str> {
    let letters = |name: &str| name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    let distances = names.clone().filter(|other| other.len().abs_diff(name.len()) <= 4 * allowed);
    let distances = distances.map(|other| (damerau_levenshtein(&letters(name), &letters(other)), other));
    let by_distance = distances.filter(|(distance, _)| *distance <= allowed).min();
    let mut parts = names.filter(|other| !name.is_empty() && (other.starts_with(name) || other.ends_with(name)));
    let part = parts.next().filter(|_| parts.next().is_none());
    by_distance.map(|(_, name)| name).or(part)
}
