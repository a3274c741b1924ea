//! The levels of each prefix: wanted, in the file, in BIRD.

use std::collections::HashSet;

use crate::bird::exports::{Announcement, ExportState, FamilyExports};
use crate::bird::state::BirdState;
use crate::prefix::{Family, Prefix};

/// The levels of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The states of the services ask for it.
    pub wanted: bool,
    /// The prefix file lists it.
    pub in_file: bool,
    /// The file that BIRD took last lists it.
    pub in_bird: bool,
}

/// The levels of all prefixes, for lookups.
#[derive(Debug, Default)]
pub struct Levels {
    families: HashSet<Family>,
    wanted: HashSet<Prefix>,
    in_file: HashSet<Prefix>,
    in_bird: HashSet<Prefix>,
    exports: ExportState,
}

impl Levels {
    /// Collects the lists of all families, and what is known of BIRD's announcements.
    pub fn new(state: &BirdState, exports: ExportState) -> Levels {
        let mut levels = Levels { exports, ..Levels::default() };
        for family in &state.families {
            levels.families.insert(family.family);
            levels.wanted.extend(&*family.wanted);
            levels.in_file.extend(&*family.in_file);
            levels.in_bird.extend(&*family.in_bird);
        }
        levels
    }

    /// Returns what is known of the family's announcements. None if BIRD cannot be asked, or was
    /// not yet.
    pub fn exports(&self, family: Family) -> Option<&FamilyExports> {
        self.exports.get(&family)
    }

    /// Returns whom BIRD announces `prefix` to. None if that is not known.
    pub fn announcement(&self, prefix: &Prefix) -> Option<&Announcement> {
        self.exports(prefix.family())?.prefixes.get(prefix)
    }

    /// Returns the levels of `prefix`. None if the writer has not published its family yet.
    pub fn of(&self, prefix: &Prefix) -> Option<Level> {
        self.families.contains(&prefix.family()).then(|| Level {
            wanted: self.wanted.contains(prefix),
            in_file: self.in_file.contains(prefix),
            in_bird: self.in_bird.contains(prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bird::state::FamilyState;
    use crate::testing::sample;

    #[test]
    fn a_prefix_has_the_levels_of_its_family() {
        let [a, b, c]: [Prefix; 3] = ["10.0.0.1", "10.0.0.2", "fd00::1"].map(|text| text.parse().unwrap());
        let family = FamilyState { in_bird: Arc::new([b]), ..sample::family(Family::V4, Arc::new([a])) };
        let levels = Levels::new(&BirdState { families: vec![family], ..BirdState::default() }, ExportState::new());
        assert_eq!(levels.of(&a), Some(Level { wanted: true, in_file: true, in_bird: false }));
        assert_eq!(levels.of(&b), Some(Level { wanted: false, in_file: false, in_bird: true }));
        assert_eq!(levels.of(&c), None, "its family is not published");
    }
}
