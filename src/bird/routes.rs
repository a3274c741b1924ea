//! Works out what the prefix file should list.
//!
//! The input is the list in the file, a decision for each service's prefixes, and the dummy. The
//! output is the next list, and findings for the log.
//!
//! Guarantees: pure and idempotent. The dummy is always listed. Other prefixes are listed only if a
//! service names them, or if unmanaged ones are kept. An undecided prefix stays as it was when the
//! list was first read. The order of the file is kept; additions follow in the order of the
//! configuration, a missing dummy comes first. Each prefix is listed once.
//!
//! Out of scope: reading and writing the file (`bird::prefix_file`, `bird::writer`), and logging:
//! each call reports all findings, and the writer logs each one once per change.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::config::settings::LogLevel;
use crate::prefix::Prefix;

/// What to do with a prefix.
///
/// Ordered by precedence: for a prefix of several services the smallest decision wins. Any of them
/// can withdraw it, and it is advertised only if all of them want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// The prefix leaves the list.
    Withdraw,
    /// Its service has no verdict yet: the prefix stays listed, or unlisted, as it was when the
    /// list was first read.
    Keep(bool),
    /// The prefix is listed.
    Advertise,
}

impl Decision {
    /// Whether the prefix belongs in the list.
    pub fn is_listed(self) -> bool {
        matches!(self, Decision::Keep(true) | Decision::Advertise)
    }
}

/// A prefix of a service, and the decision for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredPrefix<'a> {
    /// The prefix. Several services may name it.
    pub prefix: Prefix,
    /// The service's name, for the log.
    pub service: &'a str,
    /// The decision by the service's state.
    pub decision: Decision,
}

/// What happens to prefixes in the file that no service names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmanagedPrefixes {
    /// They stay: before the family's first verdict without `purge_ip_prefixes`.
    Keep,
    /// They are removed.
    Remove,
}

/// The next list and the findings about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes<'a> {
    /// What the file should list.
    pub list: Vec<Prefix>,
    /// First about the dummy, then about unmanaged prefixes, then about changes.
    pub findings: Vec<Finding<'a>>,
}

/// Works out the list that should replace `listed`. `desired` is in the order of the configuration.
pub fn next<'a>(
    listed: &[Prefix],
    desired: &[DesiredPrefix<'a>],
    dummy: Option<&Prefix>,
    unmanaged: UnmanagedPrefixes,
) -> Routes<'a> {
    let (mut decided, index) = merge(desired);
    let mut list = Vec::with_capacity(listed.len() + desired.len() + 1);
    let mut findings = Vec::new();
    let mut changes = Changes::default();
    let mut unknown = Vec::new();
    let mut unknown_seen = HashSet::new();
    let mut dummy_seen = false;

    for prefix in listed {
        if Some(prefix) == dummy {
            if !std::mem::replace(&mut dummy_seen, true) {
                list.push(*prefix);
            }
        } else if let Some(&at) = index.get(prefix) {
            let (desired, seen) = &mut decided[at];
            match (std::mem::replace(seen, true), desired.decision.is_listed()) {
                (true, _) => {}
                (false, true) => list.push(*prefix),
                (false, false) => changes.withdrawn.add(desired),
            }
        } else if unknown_seen.insert(*prefix) {
            unknown.push(*prefix);
            if unmanaged == UnmanagedPrefixes::Keep {
                list.push(*prefix);
            }
        }
    }
    if let Some(dummy) = dummy.filter(|_| !dummy_seen) {
        list.insert(0, *dummy);
        findings.push(Finding::DummyMissing(*dummy));
    }
    if !unknown.is_empty() {
        findings.push(match unmanaged {
            UnmanagedPrefixes::Keep => Finding::UnmanagedFound(unknown),
            UnmanagedPrefixes::Remove => Finding::UnmanagedRemoved(unknown),
        });
    }
    for (desired, seen) in decided {
        if !seen && desired.decision.is_listed() && Some(&desired.prefix) != dummy {
            list.push(desired.prefix);
            changes.announced.add(&desired);
        }
    }
    let withdrawn = |(service, prefixes)| Finding::Withdrawn { prefixes, service };
    findings.extend(changes.withdrawn.services.into_iter().map(withdrawn));
    let announced = |(service, prefixes)| Finding::Announced { prefixes, service };
    findings.extend(changes.announced.services.into_iter().map(announced));
    let has_routes = |list: &[Prefix]| list.iter().any(|prefix| Some(prefix) != dummy);
    if has_routes(listed) && !has_routes(&list) {
        findings.push(Finding::NoRoutesLeft);
    }
    Routes { list, findings }
}

/// The changed prefixes, grouped by service.
#[derive(Default)]
struct Changes<'a> {
    withdrawn: ByService<'a>,
    announced: ByService<'a>,
}

#[derive(Default)]
struct ByService<'a> {
    /// In order of appearance.
    services: Vec<(&'a str, Vec<Prefix>)>,
    index: HashMap<&'a str, usize>,
}

impl<'a> ByService<'a> {
    fn add(&mut self, desired: &DesiredPrefix<'a>) {
        let at = *self.index.entry(desired.service).or_insert(self.services.len());
        if at == self.services.len() {
            self.services.push((desired.service, Vec::new()));
        }
        self.services[at].1.push(desired.prefix);
    }
}

/// Merges the decisions for each prefix, in order of appearance: the decision that wins, with its
/// service, and a flag for "seen in the file", initially false. Also returns the index of each
/// prefix.
fn merge<'a>(desired: &[DesiredPrefix<'a>]) -> (Vec<(DesiredPrefix<'a>, bool)>, HashMap<Prefix, usize>) {
    let mut decided: Vec<(DesiredPrefix<'a>, bool)> = Vec::with_capacity(desired.len());
    let mut index = HashMap::with_capacity(desired.len());
    for desired in desired {
        let at = *index.entry(desired.prefix).or_insert(decided.len());
        match decided.get_mut(at) {
            None => decided.push((*desired, false)),
            Some((first, _)) if desired.decision < first.decision => *first = *desired,
            Some(_) => {}
        }
    }
    (decided, index)
}

/// A fact for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding<'a> {
    /// The file did not list the dummy.
    DummyMissing(Prefix),
    /// The file lists prefixes that no service names, and they stay.
    UnmanagedFound(Vec<Prefix>),
    /// The file listed prefixes that no service names, and they are removed.
    UnmanagedRemoved(Vec<Prefix>),
    /// Prefixes of a service are added.
    Announced {
        /// The prefixes.
        prefixes: Vec<Prefix>,
        /// The first service that names them.
        service: &'a str,
    },
    /// Prefixes of a service are removed.
    Withdrawn {
        /// The prefixes.
        prefixes: Vec<Prefix>,
        /// The first service that withdraws them.
        service: &'a str,
    },
    /// The last prefix of any service is removed.
    NoRoutesLeft,
}

/// When a finding is made: some of the original's sentences differ at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The file is read for the first time.
    Start,
    /// Any later step.
    Running,
}

impl Finding<'_> {
    /// The prefixes that the file listed although no service names them.
    pub fn unmanaged(&self) -> Option<&[Prefix]> {
        match self {
            Finding::UnmanagedFound(prefixes) | Finding::UnmanagedRemoved(prefixes) => Some(prefixes),
            Finding::DummyMissing(_)
            | Finding::Announced { .. }
            | Finding::Withdrawn { .. }
            | Finding::NoRoutesLeft => None,
        }
    }

    /// The original's log level.
    pub fn level(&self) -> LogLevel {
        match self {
            Finding::Announced { .. } | Finding::Withdrawn { .. } => LogLevel::Info,
            Finding::DummyMissing(_)
            | Finding::UnmanagedFound(_)
            | Finding::UnmanagedRemoved(_)
            | Finding::NoRoutesLeft => LogLevel::Warning,
        }
    }

    /// The original's sentence, about the prefix file `conf`.
    pub fn sentence(&self, phase: Phase, conf: &Path) -> String {
        let conf = conf.display();
        match (self, phase) {
            (Finding::DummyMissing(dummy), Phase::Start) => {
                format!("dummy IP prefix {dummy} is missing from bird configuration {conf}, adding it")
            }
            (Finding::DummyMissing(dummy), Phase::Running) => format!(
                "dummy IP prefix {dummy} wasn't found in bird configuration, adding it. This shouldn't have happened!"
            ),
            (Finding::UnmanagedFound(unmanaged), _) => {
                format!("found IP prefixes {} in {conf} without a service check configured", joined(unmanaged))
            }
            (Finding::UnmanagedRemoved(unmanaged), Phase::Start) => format!(
                "removing IP prefix(es) {} from {conf} because they don't have a service check configured",
                joined(unmanaged)
            ),
            (Finding::UnmanagedRemoved(unmanaged), Phase::Running) => format!(
                "found {} IP prefixes in Bird configuration but we aren't configured to run health checks on them. \
                 Either someone modified the configuration manually or something went horrible wrong. We remove them \
                 from Bird configuration",
                joined(unmanaged)
            ),
            (Finding::Announced { prefixes, service }, _) => format!("announcing {} for {service}", joined(prefixes)),
            (Finding::Withdrawn { prefixes, service }, _) => format!("withdrawing {} for {service}", joined(prefixes)),
            (Finding::NoRoutesLeft, _) => "Bird configuration doesn't have IP prefixes for any of the services we \
                                          monitor! It means local node doesn't receive any traffic"
                .to_string(),
        }
    }
}

fn joined(prefixes: &[Prefix]) -> String {
    prefixes.iter().map(Prefix::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
