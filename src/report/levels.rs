//! Where one prefix stands: wanted, in the file, in BIRD.

use std::collections::HashSet;

use crate::bird::state::BirdState;
use crate::prefix::{Family, Prefix};

/// Where one prefix stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The services' states say that it is to be advertised.
    pub wanted: bool,
    /// The prefix file lists it.
    pub in_file: bool,
    /// BIRD took a file that lists it.
    pub in_bird: bool,
}

/// Where all prefixes stand, to be looked up one by one.
#[derive(Debug, Default)]
pub struct Levels {
    families: HashSet<Family>,
    wanted: HashSet<Prefix>,
    in_file: HashSet<Prefix>,
    in_bird: HashSet<Prefix>,
}

impl Levels {
    /// The lists of both families.
    pub fn new(state: &BirdState) -> Levels {
        let mut levels = Levels::default();
        for family in &state.families {
            levels.families.insert(family.family);
            levels.wanted.extend(&*family.wanted);
            levels.in_file.extend(&*family.in_file);
            levels.in_bird.extend(&*family.in_bird);
        }
        levels
    }

    /// Where `prefix` stands; nothing where the writer has said nothing of its family yet.
    pub fn of(&self, prefix: &Prefix) -> Option<Level> {
        self.families.contains(&prefix.family()).then(|| Level {
            wanted: self.wanted.contains(prefix),
            in_file: self.in_file.contains(prefix),
            in_bird: self.in_bird.contains(prefix),
        })
    }
}
