//! The name that was probably meant.
//!
//! Promises: pure; where several names are as near, it is always the same one.
//! Leaves out: options, of which there is a table (`config::options`).

use strsim::damerau_levenshtein;

/// The nearest name, with at most a third of its letters different, or the only name that begins or ends like this.
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
