//! For tests: how often prefixes are compared, so that a test can tell linear from quadratic without a clock.

use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::Prefix;

std::thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// `work` is given a number of prefixes. Twice as many must not take much more than twice the comparisons on this thread.
pub(crate) fn expect_no_square(what: &str, mut work: impl FnMut(usize)) {
    let mut count = |n| {
        let before = COUNT.get();
        work(n);
        COUNT.get() - before
    };
    let (once, twice) = (count(1000), count(2000));
    assert!(once > 0 && twice <= once * 5 / 2, "{what}: {once} comparisons, {twice} for twice as many prefixes");
}

/// So many prefixes.
pub(crate) fn prefixes(n: usize) -> Vec<Prefix> {
    (0..n).map(|n| format!("10.1.{}.{}/32", n / 256, n % 256).parse().unwrap()).collect()
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Prefix) -> bool {
        COUNT.set(COUNT.get() + 1);
        self.0 == other.0
    }
}

impl Eq for Prefix {}

impl Ord for Prefix {
    fn cmp(&self, other: &Prefix) -> Ordering {
        COUNT.set(COUNT.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Prefix) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
#[should_panic(expected = "a square: ")]
fn a_square_is_seen() {
    expect_no_square("a square", |n| {
        let all = prefixes(n);
        assert!(all.iter().all(|prefix| all.contains(prefix)));
    });
}
