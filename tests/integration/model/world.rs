//! The model: the contents of lists and router once all actions have taken effect.
//!
//! ```text
//!   checks, drains, addresses -> verdicts of services -> decision on prefixes -> in list -> at
//! router
//! ```
//!
//! Guarantees: pure; it uses only documented behavior; where that allows both, so does the model
//! ([`Expected::Either`]).
//! Out of scope: durations, and how actions are performed and observed (`host`).

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, Reload};
use super::configuration::{all_prefixes, family, Configuration, Name, Prefix, Service, Transport, PREFIXES};

/// The expected state of a prefix in its list, or at the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Present,
    Absent,
    /// Both are allowed.
    Either,
}

impl Expected {
    /// Whether the actual state is allowed.
    pub(super) fn allows(self, is_present: bool) -> bool {
        match self {
            Expected::Present => is_present,
            Expected::Absent => !is_present,
            Expected::Either => true,
        }
    }
}

/// The daemon's state of a service, once settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Up,
    Down,
    /// No check has ended since the start of the daemon or the service.
    Unknown,
    /// The model cannot tell, because something happened while the check was hanging.
    Unsure,
}

/// The decision about a prefix. For a shared prefix the smallest decision wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decision {
    Withdraw,
    Unsure,
    /// The prefix stays as it was.
    Keep,
    Advertise,
}

/// The host's BIRD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bird {
    Runs,
    Frozen,
    Stopped,
}

/// The behavior of a reconfigure command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Works,
    Fails,
    Hangs,
    /// Exits with 0 and a meaningless output.
    Lies,
    Babbles,
    /// The program does not exist. Custom commands only.
    Missing,
}

/// The file system of the IPv6 list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Works,
    Full,
    ReadOnly,
}

/// Everything that affects the routes.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) configuration: Configuration,
    /// Services whose check passes.
    pub(super) alive: BTreeSet<Name>,
    /// Services whose check hangs.
    pub(super) hanging: BTreeSet<Name>,
    /// Services whose drain file exists, configured or not.
    pub(super) drained: BTreeSet<Name>,
    /// Prefixes whose address is not assigned.
    pub(super) unassigned: BTreeSet<Prefix>,
    pub(super) bird: Bird,
    /// `bird.conf` has a syntax error.
    pub(super) bird_conf_broken: bool,
    /// The families' command, configured or default.
    pub(super) command: Mode,
    pub(super) custom: Mode,
    pub(super) disk: Disk,
    /// `bird_conf` is a symbolic link.
    pub(super) linked: bool,
    verdicts: BTreeMap<Name, Verdict>,
    listed: BTreeMap<Prefix, Expected>,
    routed: BTreeMap<Prefix, Expected>,
    /// Prefixes that an action may have affected since everything was settled.
    touched: BTreeSet<Prefix>,
}

impl World {
    /// A running daemon and BIRD, with nothing advertised and all services alive.
    pub(super) fn new(configuration: Configuration) -> World {
        let absent: BTreeMap<Prefix, Expected> = all_prefixes().map(|prefix| (prefix, Expected::Absent)).collect();
        World {
            alive: configuration.services.keys().copied().collect(),
            hanging: BTreeSet::new(),
            drained: BTreeSet::new(),
            unassigned: BTreeSet::new(),
            bird: Bird::Runs,
            bird_conf_broken: false,
            command: Mode::Works,
            custom: Mode::Works,
            disk: Disk::Works,
            linked: false,
            verdicts: configuration.services.keys().map(|name| (*name, Verdict::Unknown)).collect(),
            listed: absent.clone(),
            routed: absent,
            touched: BTreeSet::new(),
            configuration,
        }
    }

    /// The expected state in the list, once settled.
    pub(super) fn listed(&self, prefix: Prefix) -> Expected {
        self.listed[prefix]
    }

    /// The expected state at the router, once settled.
    pub(super) fn routed(&self, prefix: Prefix) -> Expected {
        self.routed[prefix]
    }

    /// The daemon's state of a service, once settled.
    pub(super) fn verdict(&self, name: Name) -> Verdict {
        self.verdicts[name]
    }

    /// Whether its drain file exists and is configured.
    pub(super) fn is_drained(&self, name: Name) -> bool {
        self.drained.contains(name)
            && self.configuration.services.get(name).is_some_and(|service| service.has_drain_file)
    }

    /// Applies an action. [`World::settle`] computes its effect.
    pub(super) fn apply(&mut self, action: &Action) {
        match action {
            Action::Dies(name) => self.change_check(name, |world| world.alive.remove(name)),
            Action::Revives(name) => self.change_check(name, |world| world.alive.insert(name)),
            Action::Hangs(name) => self.change_check(name, |world| world.hanging.insert(name)),
            Action::HangEnds(name) => self.change_check(name, |world| world.hanging.remove(name)),
            Action::AddressGoes(prefix) => {
                self.unassigned.insert(prefix);
                self.touch_address(prefix);
            }
            Action::AddressComes(prefix) => {
                self.unassigned.remove(prefix);
                self.touch_address(prefix);
            }
            Action::Drains(name) | Action::DrainsByCommand(name) => {
                self.drained.insert(name);
                self.touch_service(name);
            }
            Action::Undrains(name) | Action::UndrainsByCommand(name) => {
                // The service begins as one that is down.
                if self.is_drained(name) {
                    let verdict = if self.is_touched(name) { Verdict::Unsure } else { Verdict::Down };
                    self.verdicts.insert(name, verdict);
                }
                self.drained.remove(name);
                self.touch_service(name);
            }
            Action::Reload(reload) => self.reload(reload),
            Action::Restart { damage, .. } => self.restart(damage.is_some()),
            Action::BirdStops => self.bird = Bird::Stopped,
            Action::BirdStarts => {
                self.bird = Bird::Runs;
                self.bird_conf_broken = false;
                // BIRD reads the lists.
                self.routed.clone_from(&self.listed);
            }
            Action::BirdFreezes => self.bird = Bird::Frozen,
            Action::BirdContinues => self.bird = Bird::Runs,
            Action::BirdConfBreaks => self.bird_conf_broken = true,
            Action::BirdConfRepaired => self.bird_conf_broken = false,
            Action::Command(mode) => self.command = *mode,
            Action::Custom(mode) => self.custom = *mode,
            Action::Disk(disk) => self.disk = *disk,
            Action::LinkReplaced(linked) => self.linked = *linked,
            Action::Floods(..)
            | Action::LeavesChildren(..)
            | Action::WatchedProcess(_)
            | Action::ListDamaged(..)
            | Action::ReloadRefused
            | Action::Reloads(_)
            | Action::ChecksNow(_)
            | Action::Pause(_) => {}
        }
    }

    /// Lets all actions take effect.
    pub(super) fn settle(&mut self) {
        for (name, service) in &self.configuration.services {
            if let Some(verdict) = self.next_verdict(name, service) {
                self.verdicts.insert(name, verdict);
            }
        }
        for prefix in all_prefixes() {
            let listed = self.next_listed(prefix);
            self.listed.insert(prefix, listed);
            let routed = self.next_routed(prefix);
            self.routed.insert(prefix, routed);
        }
        self.touched.clear();
    }

    // --- levels ---

    /// The next verdict of a service, or `None` if it stays the same.
    fn next_verdict(&self, name: Name, service: &Service) -> Option<Verdict> {
        let up_or_down = |is_up| Some(if is_up { Verdict::Up } else { Verdict::Down });
        if self.is_drained(name) {
            up_or_down(false)
        } else if service.disabled.is_some() {
            up_or_down(service.disabled == Some(true))
        } else if self.hanging.contains(name) {
            if service.times_out {
                up_or_down(false)
            } else {
                None
            }
        } else {
            up_or_down(self.alive.contains(name))
        }
    }

    fn decision(&self, prefix: Prefix, name: Name, service: &Service) -> Decision {
        let is_missing = self.unassigned.contains(prefix) && !service.ip_check_disabled && service.disabled.is_none();
        match self.verdicts[name] {
            _ if is_missing => Decision::Withdraw,
            Verdict::Up => Decision::Advertise,
            Verdict::Down => Decision::Withdraw,
            Verdict::Unknown => Decision::Keep,
            Verdict::Unsure => Decision::Unsure,
        }
    }

    fn next_listed(&self, prefix: Prefix) -> Expected {
        let services = self.configuration.services_of(prefix);
        let decision = services.map(|(name, service)| self.decision(prefix, name, service)).min();
        let before = self.listed[prefix];
        let wanted = match decision {
            None | Some(Decision::Withdraw) => Expected::Absent,
            Some(Decision::Unsure) => Expected::Either,
            Some(Decision::Keep) => before,
            Some(Decision::Advertise) => Expected::Present,
        };
        let is_writable = family(prefix) == 0 || self.disk == Disk::Works;
        if is_writable || self.is_unmoved(prefix, before, wanted) {
            wanted
        } else {
            Expected::Either
        }
    }

    fn next_routed(&self, prefix: Prefix) -> Expected {
        let before = self.routed[prefix];
        let is_assigned = !self.unassigned.contains(prefix);
        // BIRD does not export an address that is not assigned.
        let wanted = if is_assigned { self.listed[prefix] } else { Expected::Absent };
        let is_read = match self.bird {
            Bird::Stopped => return Expected::Absent,
            Bird::Frozen => false,
            Bird::Runs => !is_assigned || self.can_tell(prefix, before == Expected::Either),
        };
        if is_read || self.is_unmoved(prefix, before, wanted) {
            wanted
        } else {
            Expected::Either
        }
    }

    /// Whether the state was the same all the time.
    fn is_unmoved(&self, prefix: Prefix, before: Expected, wanted: Expected) -> bool {
        before == wanted && !self.touched.contains(prefix)
    }

    /// Whether the daemon can reconfigure BIRD for this prefix. If BIRD's state is open, any of the
    /// commands may still have to run, so all of them have to work.
    fn can_tell(&self, prefix: Prefix, is_uncertain: bool) -> bool {
        let can_family = match self.configuration.transports[family(prefix)] {
            Transport::Socket => true,
            Transport::Command | Transport::Default => self.command == Mode::Works,
            // The daemon believes this command, so BIRD stays out of date.
            Transport::Wrong => return false,
        };
        let can_custom = match self.custom {
            Mode::Works => true,
            Mode::Missing => can_family,
            Mode::Fails | Mode::Hangs | Mode::Lies | Mode::Babbles => false,
        };
        let customs: Vec<bool> =
            self.configuration.services_of(prefix).map(|(_, service)| service.custom.is_some()).collect();
        let needs_custom = customs.contains(&true);
        // The family's command also covers removed services.
        let needs_family = is_uncertain || customs.is_empty() || customs.contains(&false);
        !self.bird_conf_broken && (can_custom || !needs_custom) && (can_family || !needs_family)
    }

    // --- changes ---

    fn restart(&mut self, list_is_damaged: bool) {
        if list_is_damaged {
            // The damaged list may have contained any of them.
            self.touch(&PREFIXES.into());
        }
        for name in self.configuration.services.keys().copied().collect::<Vec<_>>() {
            let verdict = if self.is_touched(name) { Verdict::Unsure } else { Verdict::Unknown };
            self.verdicts.insert(name, verdict);
        }
        self.configuration.splay = false;
    }

    fn reload(&mut self, Reload { configuration, newcomer, .. }: &Reload) {
        match *newcomer {
            Some((name, true)) => _ = self.alive.insert(name),
            Some((name, false)) => _ = self.alive.remove(name),
            None => {}
        }
        let old = std::mem::replace(&mut self.configuration, configuration.clone());
        let is_other = |name: Name| old.services.get(name) != configuration.services.get(name);
        let verdict = |(name, service): (&Name, &Service)| {
            let is_sure = !old.services.contains_key(name) && service.prefixes.is_disjoint(&self.touched);
            (*name, if is_sure { Verdict::Unknown } else { Verdict::Unsure })
        };
        let verdicts: Vec<(Name, Verdict)> =
            configuration.services.iter().filter(|(name, _)| is_other(name)).map(verdict).collect();
        self.verdicts.retain(|name, _| configuration.services.contains_key(name));
        let all = old.services.iter().chain(&configuration.services);
        all.filter(|(name, _)| is_other(name)).for_each(|(_, service)| self.touch(&service.prefixes));
        self.verdicts.extend(verdicts);
    }

    fn change_check(&mut self, name: Name, change: impl FnOnce(&mut World) -> bool) {
        // The model does not know which check ended last before the hang.
        if self.is_touched(name) {
            self.verdicts.insert(name, Verdict::Unsure);
        }
        change(self);
        self.touch_service(name);
    }

    fn touch_address(&mut self, prefix: Prefix) {
        let services: Vec<Name> = self.configuration.services_of(prefix).map(|(name, _)| name).collect();
        for name in services {
            self.verdicts.insert(name, Verdict::Unsure);
            self.touch_service(name);
        }
        self.touched.insert(prefix);
    }

    fn touch_service(&mut self, name: Name) {
        if let Some(service) = self.configuration.services.get(name) {
            self.touch(&service.prefixes.clone());
        }
    }

    /// An action affects these prefixes. A service without a verdict may keep the old or the new
    /// state.
    fn touch(&mut self, prefixes: &BTreeSet<Prefix>) {
        for (name, verdict) in &mut self.verdicts {
            let service = self.configuration.services.get(name);
            let is_affected = service.is_some_and(|service| !service.prefixes.is_disjoint(prefixes));
            if *verdict == Verdict::Unknown && is_affected {
                *verdict = Verdict::Unsure;
            }
        }
        self.touched.extend(prefixes);
    }

    fn is_touched(&self, name: Name) -> bool {
        let service = self.configuration.services.get(name);
        service.is_some_and(|service| !service.prefixes.is_disjoint(&self.touched))
    }
}

#[cfg(test)]
mod tests;
