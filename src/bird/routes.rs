//! What the prefix file should list.
//!
//! The list in the file, a decision for each service's prefixes and the dummy come in; the next list and findings go out.
//!
//! Promises: pure; applying it twice is applying it once; the dummy is always there; only known prefixes stay, and
//! unmanaged where they are kept; an undecided prefix stays as it was first read; the file's order is kept, additions go
//! last in the order of configuration, a missing dummy first; each prefix is listed once.
//! Leaves out: reading and writing the file (`bird::prefix_file`, `bird::writer`), and when a finding is logged: each
//! call reports what it sees, the writer logs it once per change of situation.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::config::settings::LogLevel;
use crate::prefix::Prefix;

/// What is to become of a prefix.
///
/// In the order of their weight: where several services name one prefix, the least of their decisions holds. So any of
/// them can withdraw it, and it is advertised only when all of them want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Out of the list.
    Withdraw,
    /// No verdict yet: in the list where it was when the list was first read.
    Keep(bool),
    /// In the list.
    Advertise,
}

impl Decision {
    /// Whether the prefix belongs in the list.
    pub fn listed(self) -> bool {
        matches!(self, Decision::Keep(true) | Decision::Advertise)
    }
}

/// A prefix of a service and what its health asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredPrefix<'a> {
    /// The prefix. Several services may name it.
    pub prefix: Prefix,
    /// The service's name, for the log.
    pub service: &'a str,
    /// What the service's state says.
    pub decision: Decision,
}

/// What happens to prefixes in the file that no service names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmanagedPrefixes {
    /// They stay: before the family's first verdict, without `purge_ip_prefixes`.
    Keep,
    /// They go.
    Remove,
}

/// The next list, and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes<'a> {
    /// What the file should list.
    pub list: Vec<Prefix>,
    /// What was found on the way: the dummy, unmanaged, then changes.
    pub findings: Vec<Finding<'a>>,
}

/// Works out the list that should follow `listed`. `known` is in the order of configuration.
pub fn next<'a>(
    listed: &[Prefix],
    desired: &[DesiredPrefix<'a>],
    dummy: Option<&Prefix>,
    unmanaged: UnmanagedPrefixes,
) -> Routes<'a> {
    let (mut decided, index) = together(desired);
    let mut list = Vec::with_capacity(listed.len() + desired.len() + 1);
    let mut findings = Vec::new();
    let mut changes = Changes::default();
    let mut foreign = Vec::new();
    let mut foreign_seen = HashSet::new();
    let mut dummy_seen = false;

    for prefix in listed {
        if Some(prefix) == dummy {
            if !std::mem::replace(&mut dummy_seen, true) {
                list.push(*prefix);
            }
        } else if let Some(&at) = index.get(prefix) {
            let (desired, seen) = &mut decided[at];
            match (std::mem::replace(seen, true), desired.decision.listed()) {
                (true, _) => {}
                (false, true) => list.push(*prefix),
                (false, false) => changes.withdrawn.add(desired),
            }
        } else if foreign_seen.insert(*prefix) {
            foreign.push(*prefix);
            if unmanaged == UnmanagedPrefixes::Keep {
                list.push(*prefix);
            }
        }
    }
    if let Some(dummy) = dummy.filter(|_| !dummy_seen) {
        list.insert(0, *dummy);
        findings.push(Finding::DummyMissing(*dummy));
    }
    if !foreign.is_empty() {
        findings.push(match unmanaged {
            UnmanagedPrefixes::Keep => Finding::UnmanagedFound(foreign),
            UnmanagedPrefixes::Remove => Finding::UnmanagedRemoved(foreign),
        });
    }
    for (desired, seen) in decided {
        if !seen && desired.decision.listed() && Some(&desired.prefix) != dummy {
            list.push(desired.prefix);
            changes.announced.add(&desired);
        }
    }
    let service = |(service, prefixes)| Finding::Withdrawn { prefixes, service };
    findings.extend(changes.withdrawn.services.into_iter().map(service));
    let service = |(service, prefixes)| Finding::Announced { prefixes, service };
    findings.extend(changes.announced.services.into_iter().map(service));
    let serves = |list: &[Prefix]| list.iter().any(|prefix| Some(prefix) != dummy);
    if serves(listed) && !serves(&list) {
        findings.push(Finding::NothingLeft);
    }
    Routes { list, findings }
}

/// What moves, together with what else of its service does.
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

/// One entry a prefix, in order of appearance, with the decision that holds, the service it comes from, and a mark for
/// "seen in the file"; and where each prefix stands.
fn together<'a>(desired: &[DesiredPrefix<'a>]) -> (Vec<(DesiredPrefix<'a>, bool)>, HashMap<Prefix, usize>) {
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

/// Something that the log should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding<'a> {
    /// The file did not list the dummy.
    DummyMissing(Prefix),
    /// The file lists prefixes of no service, which stay.
    UnmanagedFound(Vec<Prefix>),
    /// The file listed prefixes of no service, which go.
    UnmanagedRemoved(Vec<Prefix>),
    /// Prefixes of a service are added.
    Announced {
        /// The prefixes.
        prefixes: Vec<Prefix>,
        /// The first service that names them.
        service: &'a str,
    },
    /// Prefixes of a service are taken out.
    Withdrawn {
        /// The prefixes.
        prefixes: Vec<Prefix>,
        /// The first service that wants them out.
        service: &'a str,
    },
    /// The last prefix of a service is taken out.
    NothingLeft,
}

/// When a finding is made: the original words some of them differently at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The file is read for the first time.
    Start,
    /// Any later.
    Running,
}

impl Finding<'_> {
    /// The prefixes that the file listed though no service names them.
    pub fn unmanaged(&self) -> Option<&[Prefix]> {
        match self {
            Finding::UnmanagedFound(prefixes) | Finding::UnmanagedRemoved(prefixes) => Some(prefixes),
            Finding::DummyMissing(_) | Finding::Announced { .. } | Finding::Withdrawn { .. } | Finding::NothingLeft => {
                None
            }
        }
    }

    /// The original's level.
    pub fn level(&self) -> LogLevel {
        match self {
            Finding::Announced { .. } | Finding::Withdrawn { .. } => LogLevel::Info,
            Finding::DummyMissing(_)
            | Finding::UnmanagedFound(_)
            | Finding::UnmanagedRemoved(_)
            | Finding::NothingLeft => LogLevel::Warning,
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
            (Finding::NothingLeft, _) => "Bird configuration doesn't have IP prefixes for any of the services we \
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
