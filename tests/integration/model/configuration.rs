//! The daemon's configuration in the model test: services, prefixes, and how BIRD is reconfigured.
//!
//! Guarantees: pure data, drawn from the seed alone; the daemon accepts every drawn configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::RngExt;

/// The name of a service.
pub(super) type Name = &'static str;
/// A prefix, as lists and router spell it.
pub(super) type Prefix = &'static str;

/// Services that no action touches, and their prefixes.
pub(super) const STEADY: [(Name, Prefix); 2] = [("steady4", "10.52.12.1/32"), ("steady6", "2001:db8:52::1/128")];
/// The prefixes of all other services.
pub(super) const PREFIXES: [Prefix; 10] = [
    "10.52.12.11/32",
    "10.52.12.12/32",
    "10.52.12.13/32",
    "10.52.12.14/32",
    "10.52.12.15/32",
    "10.52.12.16/32",
    "2001:db8:52::11/128",
    "2001:db8:52::12/128",
    "2001:db8:52::13/128",
    "2001:db8:52::14/128",
];
/// A prefix of no service, which foreign lists contain.
pub(super) const UNMANAGED: Prefix = "10.52.12.66/32";
/// Names of services other than the steady ones.
const NAMES: [Name; 12] = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibex", "jay", "kiwi", "lynx"];
/// The number of services besides the steady ones.
const SERVICES: std::ops::RangeInclusive<usize> = 3..=8;

/// All prefixes that the router may have.
pub(super) fn all_prefixes() -> impl Iterator<Item = Prefix> {
    STEADY.into_iter().map(|(_, prefix)| prefix).chain(PREFIXES).chain([UNMANAGED])
}

/// The family of a prefix, as an index.
pub(super) fn family(prefix: Prefix) -> usize {
    usize::from(prefix.contains(':'))
}

/// Everything that a reload can change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Configuration {
    pub(super) services: BTreeMap<Name, Service>,
    /// How BIRD is reconfigured for each family.
    pub(super) transports: [Transport; 2],
    /// `bird_keep_changes` of both families.
    pub(super) keeps_changes: bool,
    /// Whether `splay_startup` is an hour. It affects only starts, and no start has it set.
    pub(super) splay: bool,
}

/// How BIRD is reconfigured for a family without custom commands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Transport {
    /// `bird_control_socket`.
    Socket,
    /// `bird_reconfigure_cmd`.
    Command,
    /// Neither is set, so `sudo birdc configure` is run.
    Default,
    /// `bird_reconfigure_cmd` is a program that succeeds without effect.
    Wrong,
}

/// The settings of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Service {
    pub(super) prefixes: BTreeSet<Prefix>,
    pub(super) rise: u32,
    pub(super) fail: u32,
    /// In tenths of a second.
    pub(super) interval: u32,
    /// Whether a hanging check times out and fails. Otherwise its timeout is longer than any wait.
    pub(super) times_out: bool,
    /// `check_disabled`, and whether `on_disabled` is `advertise`.
    pub(super) disabled: Option<bool>,
    pub(super) ip_check_disabled: bool,
    pub(super) has_drain_file: bool,
    pub(super) custom: Option<Custom>,
    pub(super) has_watch_pidfile: bool,
}

/// A kind of `custom_bird_reconfigure_cmd`. Several services may share one script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Custom {
    Fast,
    /// Takes 0.6 seconds.
    Slow,
    /// Fails every second time.
    Flaky,
}

impl Custom {
    pub(super) const ALL: [Custom; 3] = [Custom::Fast, Custom::Slow, Custom::Flaky];

    /// The suffix of its script's name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Custom::Fast => "fast",
            Custom::Slow => "slow",
            Custom::Flaky => "flaky",
        }
    }
}

impl Configuration {
    /// Draws the configuration for a round.
    pub(super) fn draw(random: &mut StdRng) -> Configuration {
        let custom_only = random.random_bool(0.35);
        let steady = STEADY.into_iter().map(|(name, prefix)| (name, Service::steady(prefix, custom_only)));
        let transports = if custom_only {
            [Transport::Default; 2]
        } else {
            let common = Transport::draw(random);
            if random.random_bool(0.8) {
                [common; 2]
            } else {
                [common, Transport::draw(random)]
            }
        };
        let mut configuration = Configuration {
            services: steady.collect(),
            transports,
            keeps_changes: random.random_bool(0.3),
            splay: false,
        };
        for _ in 0..random.random_range(SERVICES) {
            configuration.add(random);
        }
        configuration
    }

    /// Adds a service and returns its name, unless there are enough.
    pub(super) fn add(&mut self, random: &mut StdRng) -> Option<Name> {
        let name = self.unused_name(random)?;
        loop {
            self.services.insert(name, Service::draw(self.is_custom_only(), random));
            if self.is_valid() {
                return Some(name);
            }
        }
    }

    /// Whether the daemon accepts it: services that share a prefix need the same custom command.
    pub(super) fn is_valid(&self) -> bool {
        PREFIXES.iter().all(|prefix| {
            let mut customs = self.services_of(prefix).map(|(_, service)| service.custom);
            let first = customs.next();
            customs.all(|custom| Some(custom) == first)
        })
    }

    /// A name for another service, unless there are enough.
    pub(super) fn unused_name(&self, random: &mut StdRng) -> Option<Name> {
        let unused: Vec<Name> = NAMES.into_iter().filter(|name| !self.services.contains_key(name)).collect();
        unused.choose(random).copied().filter(|_| self.services.len() < STEADY.len() + SERVICES.end())
    }

    /// The services that actions may touch.
    pub(super) fn touchable(&self) -> impl Iterator<Item = (Name, &Service)> {
        let is_steady = |name: Name| STEADY.iter().any(|(steady, _)| *steady == name);
        self.services.iter().map(|(name, service)| (*name, service)).filter(move |(name, _)| !is_steady(name))
    }

    /// The services with this prefix.
    pub(super) fn services_of(&self, prefix: Prefix) -> impl Iterator<Item = (Name, &Service)> {
        let named = move |service: &Service| service.prefixes.contains(prefix);
        self.services.iter().map(|(name, service)| (*name, service)).filter(move |(_, service)| named(service))
    }

    /// Whether any service has a custom command of this kind.
    pub(super) fn has_custom(&self, custom: Custom) -> bool {
        self.services.values().any(|service| service.custom == Some(custom))
    }

    /// Whether the steady services, and most others, have custom commands.
    fn is_custom_only(&self) -> bool {
        self.services[STEADY[0].0].custom.is_some()
    }

    /// The differences from another configuration, to be printed.
    pub(super) fn difference_from(&self, old: Option<&Configuration>) -> String {
        let mut text = String::new();
        for (name, service) in &self.services {
            if old.is_none_or(|old| old.services.get(name) != Some(service)) {
                write!(text, "\n    {name}: {service:?}").unwrap();
            }
        }
        for name in old.iter().flat_map(|old| old.services.keys()) {
            if !self.services.contains_key(name) {
                write!(text, "\n    {name}: gone").unwrap();
            }
        }
        let daemon = |of: &Configuration| (of.transports, of.keeps_changes, of.splay);
        if old.is_none_or(|old| daemon(old) != daemon(self)) {
            let Configuration { transports, keeps_changes, splay, .. } = self;
            write!(text, "\n    {transports:?}, keeps_changes: {keeps_changes}, splay: {splay}").unwrap();
        }
        text
    }
}

impl Transport {
    pub(super) fn draw(random: &mut StdRng) -> Transport {
        *[Transport::Socket, Transport::Command, Transport::Default].choose(random).unwrap()
    }
}

impl Service {
    /// A service with this prefix, whose checks decide at once. It uses every option that starts a
    /// permanent thread, so that the number of threads only grows by leaks.
    pub(super) fn steady(prefix: Prefix, has_custom: bool) -> Service {
        Service {
            prefixes: [prefix].into(),
            rise: 1,
            fail: 1,
            interval: 1,
            times_out: false,
            disabled: None,
            ip_check_disabled: false,
            has_drain_file: true,
            custom: has_custom.then_some(Custom::Fast),
            has_watch_pidfile: true,
        }
    }

    pub(super) fn draw(custom_only: bool, random: &mut StdRng) -> Service {
        let mut prefixes = PREFIXES;
        prefixes.shuffle(random);
        let wanted = *[1, 1, 1, 2, 2, 3].choose(random).unwrap();
        let custom = if random.random_bool(if custom_only { 0.85 } else { 0.3 }) {
            [Custom::Fast, Custom::Fast, Custom::Slow, Custom::Flaky].choose(random).copied()
        } else {
            None
        };
        Service {
            prefixes: prefixes.into_iter().take(wanted).collect(),
            rise: random.random_range(1..=3),
            fail: random.random_range(1..=3),
            interval: random.random_range(1..=3),
            times_out: random.random_bool(0.3),
            disabled: random.random_bool(0.15).then(|| random.random_bool(0.5)),
            ip_check_disabled: random.random_bool(0.25),
            has_drain_file: random.random_bool(0.8),
            custom,
            has_watch_pidfile: random.random_bool(0.2),
        }
    }
}
