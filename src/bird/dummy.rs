//! The dummy prefix of a list: the configured one, or a fallback if BIRD rejects empty lists.
//!
//! Guarantees: a configured dummy is always listed; the fallback is listed only while BIRD requires
//! one, and is never a service's prefix.
//!
//! Out of scope: whether BIRD accepts empty lists (`bird::reconfigurer` finds out).

use tracing::{error, info};

use crate::config::options::{self, Scope};
use crate::prefix::{Family, Prefix};

/// Decides which dummy prefix a list has.
#[derive(Clone, Debug)]
pub struct DummyPolicy {
    family: Family,
    /// `dummy_ip_prefix` or `dummy_ip6_prefix`. None if the option is empty.
    configured: Option<Prefix>,
    /// The dummy to list if none is configured and BIRD requires one.
    fallback: Option<Prefix>,
    /// BIRD is known to reject empty lists.
    required: bool,
}

impl DummyPolicy {
    /// Creates the policy for a BIRD that is assumed to accept empty lists.
    pub fn new(family: Family, configured: Option<Prefix>) -> DummyPolicy {
        DummyPolicy { family, configured, fallback: None, required: false }
    }

    /// Replaces the configured dummy at a reload.
    pub fn configure(&mut self, configured: Option<Prefix>) {
        self.configured = configured;
    }

    /// The dummy of the list. None if there is no dummy. A fallback that a service names
    /// (`is_served`) does not count.
    pub fn prefix(&self, is_served: impl Fn(&Prefix) -> bool) -> Option<&Prefix> {
        self.configured.as_ref().or(self.fallback.as_ref().filter(|dummy| !is_served(dummy)))
    }

    /// Records whether BIRD requires a dummy. Returns whether that changes the list.
    pub fn set_required(&mut self, required: bool, is_served: impl Fn(&Prefix) -> bool) -> bool {
        if self.configured.is_some() || self.required == required {
            return false;
        }
        self.required = required;
        self.fallback = default_dummy(self.family).filter(|dummy| required && !is_served(dummy));
        let (option, family) = (options::of_family(self.family).dummy, self.family);
        match (self.fallback, required) {
            (_, false) => info!("BIRD reads empty lists now, as {option} asks for"),
            (Some(dummy), true) => error!(
                "{option} asks for no dummy, but BIRD reads no empty list before version 2.0.11: {dummy} is listed"
            ),
            (None, true) => error!(
                "{option} asks for no dummy, but BIRD reads no empty list before version 2.0.11: the last {family} \
                 prefix will not be withdrawn; configure a dummy"
            ),
        }
        true
    }
}

fn default_dummy(family: Family) -> Option<Prefix> {
    options::find(Scope::Daemon, options::of_family(family).dummy)?.default?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "10.189.200.255/32";

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_configured_dummy_is_listed_whatever_bird_requires() {
        let mut dummy = DummyPolicy::new(Family::V4, Some(prefix("10.0.0.9/32")));
        assert!(!dummy.set_required(true, |_| false));
        assert_eq!(dummy.prefix(|_| true), Some(&prefix("10.0.0.9/32")));
    }

    #[test]
    fn a_fallback_is_listed_only_while_bird_requires_one() {
        for (family, fallback) in [(Family::V4, V4), (Family::V6, "2001:db8::1/128")] {
            let mut dummy = DummyPolicy::new(family, None);
            assert_eq!(dummy.prefix(|_| false), None);
            for (required, changes) in [(false, false), (true, true), (true, false), (false, true), (false, false)] {
                assert_eq!(dummy.set_required(required, |_| false), changes, "{family} {required}");
                assert_eq!(dummy.prefix(|_| false), required.then(|| prefix(fallback)).as_ref());
            }
        }
    }

    #[test]
    fn a_prefix_of_a_service_is_never_the_fallback() {
        let mut dummy = DummyPolicy::new(Family::V4, None);
        dummy.set_required(true, |found| *found == prefix(V4));
        assert_eq!(dummy.prefix(|_| false), None);

        // A reload has given the prefix to a service.
        let mut dummy = DummyPolicy::new(Family::V4, None);
        dummy.set_required(true, |_| false);
        assert_eq!(dummy.prefix(|found| *found == prefix(V4)), None);
        assert_eq!(dummy.prefix(|_| false), Some(&prefix(V4)));
    }

    #[test]
    fn a_dummy_configured_by_a_reload_replaces_the_fallback() {
        let mut dummy = DummyPolicy::new(Family::V4, None);
        dummy.set_required(true, |_| false);
        dummy.configure(Some(prefix("10.0.0.9/32")));
        assert_eq!(dummy.prefix(|_| false), Some(&prefix("10.0.0.9/32")));
        dummy.configure(None);
        assert_eq!(dummy.prefix(|_| false), Some(&prefix(V4)), "BIRD still requires one");
    }
}
