//! To be written.
use std::path::Path;

use crate::prefix::{Family, Prefix};

/// Archives the file before it is replaced.
pub fn archive(_conf: &Path, _family: Family, _most: usize) {}

/// The list of the newest good copy.
pub fn newest_good(_conf: &Path, _family: Family) -> Option<Vec<Prefix>> {
    None
}
