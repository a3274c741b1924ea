//! Publishes the state of the lists and of BIRD for reports.

use std::time::Instant;

use crate::bird::prefix_list::PrefixList;
use crate::bird::reconfigurer::Reconfigurer;
use crate::bird::state::{FamilyState, Hold};
use crate::bird::writer::Writer;

impl Writer {
    /// Publishes the current state. `due` is the deadline of the current step, None if no step is
    /// in progress.
    pub(super) fn publish(&self, due: Option<Instant>) {
        let mut families: Vec<FamilyState> = self
            .reconfigurers
            .iter()
            .flat_map(|reconfigurer| reconfigurer.lists().iter().map(move |list| self.family_state(list, reconfigurer)))
            .collect();
        families.sort_by_key(|family| family.family);
        let mut state = self.state.lock();
        let now = Instant::now();
        for family in families.iter_mut().filter(|family| !family.in_sync) {
            let before = state.families.iter().find(|before| before.family == family.family);
            family.out_of_sync_since = before.and_then(|before| before.out_of_sync_since).or(Some(now));
        }
        state.families = families;
        state.due = due;
    }

    fn family_state(&self, list: &PrefixList, reconfigurer: &Reconfigurer) -> FamilyState {
        let (family, in_sync) = (list.family(), self.is_in_sync(list));
        // A problem of a shared transport belongs only to the families that are out of sync.
        let problem = list.problem().or(reconfigurer.problem()).map(String::from);
        let levels = list.levels();
        FamilyState {
            family,
            wanted: levels.wanted.clone(),
            in_file: levels.in_file.clone(),
            in_bird: list.in_bird().clone(),
            unmanaged: levels.unmanaged.clone(),
            in_sync,
            out_of_sync_since: None,
            problem: problem.or_else(|| self.custom_commands.problem(family)).filter(|_| !in_sync),
            hold: self.hold_of(list, reconfigurer),
            asks_bird: reconfigurer.can_query(),
            counts: reconfigurer.counts() + self.custom_commands.counts(family),
        }
    }

    /// The hold that prevents BIRD from being notified of the list: its own, or that of another
    /// list that BIRD would read at the same time.
    fn hold_of(&self, list: &PrefixList, reconfigurer: &Reconfigurer) -> Option<Hold> {
        let by_family = reconfigurer.lists().iter().filter(|_| list.is_owed());
        let by_custom = self.reconfigurers.lists().filter(|_| self.custom_commands.owes(list.family()));
        list.hold().or_else(|| by_family.chain(by_custom).find_map(PrefixList::hold))
    }
}
