//! The dummy prefix of a list: the configured one, or a fallback where BIRD reads no empty list.

use tracing::{error, info};

use crate::config::options::{self, Scope};
use crate::prefix::{Family, Prefix};

/// Which dummy a list has.
#[derive(Clone, Debug)]
pub struct DummyPolicy {
    family: Family,
    /// `dummy_ip_prefix`; none where it is left empty.
    configured: Option<Prefix>,
    /// Listed where none is configured and BIRD requires one.
    fallback: Option<Prefix>,
    /// BIRD was found to read no empty list.
    required: bool,
}

impl DummyPolicy {
    /// As configured; nothing is known of BIRD yet.
    pub fn new(family: Family, configured: Option<Prefix>) -> DummyPolicy {
        DummyPolicy { family, configured, fallback: None, required: false }
    }

    /// A reload configured this.
    pub fn configure(&mut self, configured: Option<Prefix>) {
        self.configured = configured;
    }

    /// The dummy that the list has, if it has one. A fallback that `is_served` by a service is none.
    pub fn prefix(&self, is_served: impl Fn(&Prefix) -> bool) -> Option<&Prefix> {
        self.configured.as_ref().or(self.fallback.as_ref().filter(|dummy| !is_served(dummy)))
    }

    /// BIRD was found to read empty lists, or not to. Returns whether the list changes by that.
    pub fn set_required(&mut self, required: bool, is_served: impl Fn(&Prefix) -> bool) -> bool {
        if self.configured.is_some() || self.required == required {
            return false;
        }
        self.required = required;
        self.fallback = default_dummy(self.family).filter(|dummy| required && !is_served(dummy));
        let (option, family) = (option_name(self.family), self.family);
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

fn option_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "dummy_ip_prefix",
        Family::V6 => "dummy_ip6_prefix",
    }
}

fn default_dummy(family: Family) -> Option<Prefix> {
    options::find(Scope::Daemon, option_name(family))?.default?.parse().ok()
}
