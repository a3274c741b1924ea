//! Computes the checks that replace the running ones in a reload.
//!
//! ```text
//!   old check, same settings     -->  the same check, whose thread continues
//!   old check, other settings    -->  a new check with a copy of the state, and a new thread
//!   no old check                 -->  a new check in the state unknown, and a new thread
//!   old check, not configured    -->  no check, and the thread stops
//! ```
//!
//! Guarantees: pure. A thread that still runs for a replaced check can change only the state of the
//! old check, which is no longer read.
//!
//! Out of scope: stopping and starting threads (`check::supervisor`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::check::Check;
use crate::config::diff::{ReloadPlan, ServiceChange};

/// The effect of a reload on the checks.
#[derive(Debug)]
pub struct Replacement {
    /// The check of each configured service, in the order of the configuration.
    pub checks: Arc<[Arc<Check>]>,
    /// Old checks whose thread must stop.
    pub stop: Vec<Arc<Check>>,
    /// New checks whose thread must start.
    pub start: Vec<Arc<Check>>,
}

/// The old checks that the reload changes or removes.
pub fn replaced<'a>(old: &'a [Arc<Check>], change: &ReloadPlan) -> Vec<&'a Arc<Check>> {
    let services = change.settings.services.iter().zip(&change.service_changes);
    let same: HashSet<&str> =
        services.filter(|(_, fate)| **fate == ServiceChange::Unchanged).map(|(service, _)| &*service.name).collect();
    old.iter().filter(|check| !same.contains(check.name())).collect()
}

/// Computes the checks that replace `old` when `change` is applied.
pub fn replace(old: &[Arc<Check>], change: &ReloadPlan) -> Replacement {
    let mut old: HashMap<&str, &Arc<Check>> = old.iter().map(|check| (check.name(), check)).collect();
    let mut checks = Vec::new();
    let mut stop = Vec::new();
    let mut start = Vec::new();
    for (service, fate) in change.settings.services.iter().zip(&change.service_changes) {
        let check = match (old.remove(&*service.name), fate) {
            (Some(same), ServiceChange::Unchanged) => same.clone(),
            (before, fate) => {
                let gained = if let ServiceChange::Changed { gained } = fate { &gained[..] } else { &[] };
                let check = Arc::new(match before {
                    Some(before) => {
                        stop.push(before.clone());
                        Check::with_state(service.clone(), before.state().carried_over(service, gained))
                    }
                    None => Check::new(service.clone()),
                });
                start.push(check.clone());
                check
            }
        };
        checks.push(check);
    }
    stop.extend(old.into_values().cloned());
    Replacement { checks: checks.into(), stop, start }
}

#[cfg(test)]
mod tests;
