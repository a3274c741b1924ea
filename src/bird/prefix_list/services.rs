//! The prefixes of one family's services, and the decision for each of them.
//!
//! Guarantees: pure; prefixes are in the order of the configuration; a prefix that a reload removes
//! is withdrawn, and forgotten only after the file no longer lists it.
//!
//! Out of scope: the list that follows from the decisions (`bird::routes`).

use std::collections::HashSet;
use std::sync::Arc;

use crate::bird::routes::{Decision, DesiredPrefix};
use crate::check::state::{Intent, Verdict};
use crate::config::settings::{Bird, Service};
use crate::prefix::{Family, Prefix};

/// A prefix and the service that names it.
#[derive(Clone, Debug)]
pub struct ServicePrefix {
    prefix: Prefix,
    service: Arc<str>,
    /// The service's index in the configuration. None if a reload has removed the prefix from the
    /// service.
    index: Option<usize>,
    /// The service has a custom command.
    custom: bool,
    /// The service has `on_boot = withdraw`.
    withdraw_on_boot: bool,
}

impl ServicePrefix {
    /// Whether a custom command notifies BIRD of changes of this prefix.
    pub fn has_custom_command(&self) -> bool {
        self.custom && self.index.is_some()
    }

    fn verdict<'a>(&self, verdicts: &'a [Verdict]) -> Option<&'a Verdict> {
        verdicts.get(self.index?)
    }
}

/// All prefixes of a family's services. Several services may name the same prefix.
pub struct ServicePrefixes {
    family: Family,
    configured: Vec<ServicePrefix>,
    /// Prefixes that a reload removed and that no other service names, until the file no longer
    /// lists them.
    removed: Vec<ServicePrefix>,
}

impl ServicePrefixes {
    /// The prefixes of `family` in these services.
    pub fn new(services: &[Arc<Service>], family: Family) -> ServicePrefixes {
        ServicePrefixes { family, configured: of_family(services, family), removed: Vec::new() }
    }

    /// Replaces the services at a reload.
    pub fn reload(&mut self, services: &[Arc<Service>]) {
        let before = std::mem::replace(&mut self.configured, of_family(services, self.family));
        let configured = self.configured();
        self.removed.extend(before.into_iter().map(|former| ServicePrefix { index: None, ..former }));
        self.removed.retain(|removed| !configured.contains(&removed.prefix));
    }

    /// Number of configured prefixes, counted once for each service that names them.
    pub fn len(&self) -> usize {
        self.configured.len()
    }

    /// Whether a service names this prefix.
    pub fn contains(&self, prefix: &Prefix) -> bool {
        self.configured.iter().any(|entry| entry.prefix == *prefix)
    }

    /// The configured prefixes.
    pub fn configured(&self) -> HashSet<Prefix> {
        self.configured.iter().map(|entry| entry.prefix).collect()
    }

    /// The configured prefixes and the removed ones.
    pub fn known(&self) -> HashSet<Prefix> {
        self.all().map(|entry| entry.prefix).collect()
    }

    /// The prefixes of services with `on_boot = withdraw`, each with its service's name.
    pub fn withdrawn_on_boot(&self) -> impl Iterator<Item = (Prefix, &str)> {
        self.configured.iter().filter(|entry| entry.withdraw_on_boot).map(|entry| (entry.prefix, &*entry.service))
    }

    /// Whether each service has a custom command, and the family has no transport of its own.
    pub fn is_custom_only(&self, bird: &Bird) -> bool {
        !self.configured.is_empty()
            && self.configured.iter().all(|entry| entry.custom)
            && !bird.reconfigure_cmd_is_set
            && bird.control_socket.is_none()
    }

    /// The verdicts of the services, once for each of their prefixes.
    pub fn verdicts<'a>(&'a self, verdicts: &'a [Verdict]) -> impl Iterator<Item = &'a Verdict> {
        self.configured.iter().filter_map(|entry| entry.verdict(verdicts))
    }

    /// The services without a verdict.
    pub fn without_verdict(&self, verdicts: &[Verdict]) -> Vec<Arc<str>> {
        let is_unknown = |entry: &&ServicePrefix| entry.verdict(verdicts).is_some_and(|verdict| !verdict.is_known());
        let mut names: Vec<Arc<str>> =
            self.configured.iter().filter(is_unknown).map(|entry| entry.service.clone()).collect();
        names.dedup();
        names
    }

    /// The decision for each prefix: the configured ones, then the removed ones. A prefix of a
    /// service without a verdict stays as it is in `baseline`.
    pub fn decisions(&self, verdicts: &[Verdict], baseline: &HashSet<Prefix>) -> Vec<Decision> {
        let decide = |entry: &ServicePrefix| {
            let intent = entry.verdict(verdicts).map(|verdict| verdict.intent(&entry.prefix));
            match intent {
                None | Some(Intent::Withdraw) => Decision::Withdraw,
                Some(Intent::Keep) => Decision::Keep(baseline.contains(&entry.prefix)),
                Some(Intent::Advertise) => Decision::Advertise,
            }
        };
        self.all().map(decide).collect()
    }

    /// Each prefix with its decision, as `decisions` returned them.
    pub fn desired(&self, decisions: &[Decision]) -> Vec<DesiredPrefix<'_>> {
        let all = self.all().zip(decisions);
        all.map(|(entry, decision)| DesiredPrefix {
            prefix: entry.prefix,
            service: &entry.service,
            decision: *decision,
        })
        .collect()
    }

    /// Forgets the removed prefixes, because the file lists `after` now. Returns the prefixes that
    /// were added or removed since `before`, each with the first of its services only: one run of
    /// its custom command is enough.
    pub fn commit(&mut self, before: &[Prefix], after: &[Prefix]) -> Vec<ServicePrefix> {
        let before: HashSet<Prefix> = before.iter().copied().collect();
        let after: HashSet<Prefix> = after.iter().copied().collect();
        let mut moved: HashSet<Prefix> = before.symmetric_difference(&after).copied().collect();
        let all = self.configured.iter().cloned().chain(self.removed.drain(..));
        all.filter(|entry| moved.remove(&entry.prefix)).collect()
    }

    fn all(&self) -> impl Iterator<Item = &ServicePrefix> {
        self.configured.iter().chain(&self.removed)
    }
}

/// The family's prefixes in the order of the configuration.
fn of_family(services: &[Arc<Service>], family: Family) -> Vec<ServicePrefix> {
    let of_service = |(index, service): (usize, &Arc<Service>)| {
        let name: Arc<str> = service.name.as_str().into();
        let (custom, withdraw_on_boot) = (service.custom_reconfigure.is_some(), service.withdraw_on_boot);
        let prefixes = service.prefixes.clone().into_iter().filter(move |prefix| prefix.family() == family);
        prefixes.map(move |prefix| ServicePrefix {
            prefix,
            service: name.clone(),
            index: Some(index),
            custom,
            withdraw_on_boot,
        })
    };
    services.iter().enumerate().flat_map(of_service).collect()
}
