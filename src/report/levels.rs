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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bird::state::FamilyState;
    use crate::testing::sample;

    #[test]
    fn levels_of_a_prefix() {
        let [a, b, c]: [Prefix; 3] = ["10.0.0.1", "10.0.0.2", "fd00::1"].map(|text| text.parse().unwrap());
        let family = FamilyState { in_bird: Arc::new([b]), ..sample::family(Family::V4, Arc::new([a])) };
        let levels = Levels::new(&BirdState { families: vec![family], ..BirdState::default() });
        assert_eq!(levels.of(&a), Some(Level { wanted: true, in_file: true, in_bird: false }));
        assert_eq!(levels.of(&b), Some(Level { wanted: false, in_file: false, in_bird: true }));
        assert_eq!(levels.of(&c), None, "nothing was said of its family");
    }
}
