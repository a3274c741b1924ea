//! The reconfigurers of all families: one for each transport.
//!
//! Guarantees: families with the same transport share one reconfigurer, and so one reconfigure. A
//! reload keeps the state of each transport that is still configured. A list that moves to another
//! transport has no confirmed revision there, because what one BIRD accepted says nothing about
//! another.
//!
//! Out of scope: the order of reconfigures and custom commands (`bird::writer`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::bird::prefix_list::PrefixList;
use crate::bird::reconfigurer::Reconfigurer;
use crate::bird::transport::Address;
use crate::config::settings::Daemon;
use crate::prefix::Family;
use crate::sys::orphans::Orphans;
use crate::sys::stop_token::StopToken;

/// All reconfigurers, and by them all prefix lists.
pub struct ReconfigurerSet {
    reconfigurers: Vec<Reconfigurer>,
    orphans: Arc<Orphans>,
}

impl ReconfigurerSet {
    /// Creates one reconfigurer for each transport of these lists. Commands that cannot be killed
    /// become `orphans`.
    pub fn new(lists: Vec<PrefixList>, orphans: Arc<Orphans>) -> ReconfigurerSet {
        let mut reconfigurers: Vec<Reconfigurer> = Vec::new();
        for list in lists {
            let address = Address::of(list.bird());
            match reconfigurers.iter_mut().find(|existing| *existing.transport.address() == address) {
                Some(existing) => existing.lists.push(list),
                None => reconfigurers.push(Reconfigurer::new(vec![list], address, orphans.clone())),
            }
        }
        ReconfigurerSet { reconfigurers, orphans }
    }

    /// Moves each list to the transport that a reload has configured for it.
    pub fn regroup(&mut self, daemon: &Daemon) {
        let (mut former, mut lists) = (Vec::new(), Vec::new());
        for mut reconfigurer in self.reconfigurers.drain(..) {
            let counts = reconfigurer.counts;
            for mut list in reconfigurer.lists.drain(..) {
                let address = daemon.bird(list.family()).map(Address::of);
                if address.as_ref() != Some(reconfigurer.transport.address()) {
                    list.unconfirm(Vec::new());
                }
                lists.push((list, counts));
            }
            former.push(reconfigurer);
        }
        lists.sort_by_key(|(list, _)| list.family());
        for (list, counts) in lists {
            let Some(address) = daemon.bird(list.family()).map(Address::of) else { continue };
            if let Some(existing) = self.iter_mut().find(|existing| *existing.transport.address() == address) {
                existing.lists.push(list);
                continue;
            }
            let same = former.iter().position(|former| *former.transport.address() == address);
            let mut reconfigurer = match same {
                Some(index) => former.swap_remove(index),
                None => Reconfigurer { counts, ..Reconfigurer::new(Vec::new(), address, self.orphans.clone()) },
            };
            reconfigurer.lists.push(list);
            self.reconfigurers.push(reconfigurer);
        }
    }

    /// The reconfigurers.
    pub fn iter(&self) -> impl Iterator<Item = &Reconfigurer> {
        self.reconfigurers.iter()
    }

    /// The reconfigurers, for their attempts.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Reconfigurer> {
        self.reconfigurers.iter_mut()
    }

    /// The lists of all families.
    pub fn lists(&self) -> impl Iterator<Item = &PrefixList> {
        self.iter().flat_map(Reconfigurer::lists)
    }

    /// The lists of all families, for their steps.
    pub fn lists_mut(&mut self) -> impl Iterator<Item = &mut PrefixList> {
        self.iter_mut().flat_map(Reconfigurer::lists_mut)
    }

    /// Maximum duration of one attempt of each reconfigurer.
    pub fn max_duration(&self) -> Duration {
        self.iter().map(Reconfigurer::max_duration).sum()
    }

    /// Whether every BIRD can be queried.
    pub fn can_query_all(&self) -> bool {
        self.iter().all(Reconfigurer::can_query)
    }

    /// Recovers lost lists from BIRD.
    pub fn recover_lost(&mut self, give_up: &StopToken) {
        self.iter_mut().for_each(|reconfigurer| reconfigurer.recover_lost(give_up));
    }

    /// Cancels every wait for a retry, because the daemon stops.
    pub fn skip_backoff(&mut self) {
        self.iter_mut().for_each(Reconfigurer::skip_backoff);
    }

    /// The families whose BIRD must not be notified. A held list blocks every list that the same
    /// BIRD may read, and only control sockets tell one BIRD from another.
    pub fn held_families(&self) -> HashSet<Family> {
        let is_held = |reconfigurer: &&Reconfigurer| reconfigurer.lists().iter().any(PrefixList::is_held);
        let held: HashSet<Family> =
            self.iter().filter(is_held).flat_map(Reconfigurer::lists).map(PrefixList::family).collect();
        if !self.can_query_all() && !held.is_empty() {
            return self.lists().map(PrefixList::family).collect();
        }
        held
    }

    /// The families whose custom commands must wait: those that are held, and those whose file is
    /// not valid.
    pub fn blocked_families(&self) -> HashSet<Family> {
        let invalid = self.lists().filter(|list| !list.is_valid()).map(PrefixList::family);
        self.held_families().into_iter().chain(invalid).collect()
    }
}
