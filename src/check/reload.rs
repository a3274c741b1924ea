//! From the checks that run to the checks of another configuration.
//!
//! ```text
//!   old check, same settings     -->  the same check, its thread goes on
//!   old check, other settings    -->  a new check with the old one's state; the old thread stops, a new one starts
//!   no old check                 -->  a new check of which nothing is known; a thread starts
//!   old check, not configured    -->  its thread stops
//! ```
//!
//! Promises: pure. Whatever still runs for a check that is replaced can only change the state of the old one, which
//! nobody reads any more.
//! Leaves out: stopping and starting threads (`check::supervisor`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::check::Check;
use crate::config::diff::{ReloadPlan, ServiceChange};

/// What a reload makes of the checks.
#[derive(Debug)]
pub struct Replacement {
    /// The check of each configured service, in the order of the configuration.
    pub checks: Arc<[Arc<Check>]>,
    /// Old checks whose thread has to stop.
    pub stop: Vec<Arc<Check>>,
    /// New checks whose thread has to start.
    pub start: Vec<Arc<Check>>,
}

/// The old checks that do not go on as they are.
pub fn replaced<'a>(old: &'a [Arc<Check>], change: &ReloadPlan) -> Vec<&'a Arc<Check>> {
    let services = change.settings.services.iter().zip(&change.service_changes);
    let same: HashSet<&str> =
        services.filter(|(_, fate)| **fate == ServiceChange::Unchanged).map(|(service, _)| &*service.name).collect();
    old.iter().filter(|check| !same.contains(check.name())).collect()
}

/// Works out the checks that follow `old` when `change` is made.
pub fn replace(old: &[Arc<Check>], change: &ReloadPlan) -> Replacement {
    let mut old: HashMap<&str, &Arc<Check>> = old.iter().map(|check| (check.name(), check)).collect();
    let (mut checks, mut stop, mut start) = (Vec::new(), Vec::new(), Vec::new());
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
