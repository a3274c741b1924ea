//! What can happen: the acts, and the table from which they are drawn.
//!
//! Promises: what is drawn depends on the seed and on what was drawn before, never on what the
//! daemon made of it. `MODEL_ACTS=drain,move` leaves all acts out but those whose word is named, to
//! aim at one kind of fault.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::RngExt;

use super::configuration::{Configuration, Name, Prefix, Service, Transport};
use super::world::{Bird, Disk, Mode, World};

/// One thing that happens.
#[derive(Debug)]
pub(super) enum Act {
    Dies(Name),
    Revives(Name),
    Hangs(Name),
    HangEnds(Name),
    /// Its check prints megabytes, or no longer.
    Floods(Name, bool),
    /// Its check leaves children behind, or no longer.
    LeavesChildren(Name, bool),
    AddressGoes(Prefix),
    AddressComes(Prefix),
    Drains(Name),
    Undrains(Name),
    DrainsByCommand(Name),
    UndrainsByCommand(Name),
    /// The process that `watch_pidfile` names begins or ends.
    WatchedProcess(bool),
    Reload(Box<Reload>),
    /// The daemon is to read a configuration with an error.
    RefusedReload,
    /// The daemon is told to read its configuration several times in a row.
    Reloads(usize),
    /// SIGURG, several times in a row.
    ChecksNow(usize),
    /// The daemon ends, by SIGTERM or SIGKILL, and is started again; meanwhile a list may be
    /// damaged.
    Restart {
        killed: bool,
        damage: Option<(usize, Damage)>,
    },
    ListDamaged(usize, Damage),
    /// `bird_conf` is replaced by a regular file, or by a symbolic link to another one.
    Relinked(bool),
    BirdStops,
    BirdStarts,
    BirdFreezes,
    BirdGoesOn,
    BirdConfBreaks,
    BirdConfMended,
    Command(Mode),
    Custom(Mode),
    Disk(Disk),
    /// Some milliseconds before the next act, where its effect is not waited for.
    Pause(u64),
}

/// The daemon reads another configuration.
#[derive(Debug)]
pub(super) struct Reload {
    /// In what it differs.
    pub(super) word: &'static str,
    pub(super) configuration: Configuration,
    /// A new service, and whether its check passes.
    pub(super) newcomer: Option<(Name, bool)>,
}

/// What somebody does to a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Damage {
    Emptied,
    Truncated,
    Garbled,
    Removed,
    /// Another good list takes its place: steady prefixes, some others, and one of nobody.
    Replaced,
}

/// A service leaves together with its custom command.
pub(super) const UNINSTALL: &str = "uninstall";

type Draw = fn(&World, &mut StdRng) -> Option<Act>;

/// How often each comes compared with the others, the word for it, and how it is drawn: nothing
/// where it cannot be now.
const ACTS: &[(u32, &str, Draw)] = &[
    (8, "dies", dies),
    (8, "revives", revives),
    (2, "hangs", |world, random| service(world, random).map(Act::Hangs)),
    (10, "hang-ends", |world, random| of(&world.hanging, random).map(Act::HangEnds)),
    (1, "floods", |world, random| Some(Act::Floods(service(world, random)?, random.random()))),
    (1, "forks", |world, random| Some(Act::LeavesChildren(service(world, random)?, random.random()))),
    (3, "address", address_goes),
    (6, "address", |world, random| of(&world.unassigned, random).map(Act::AddressComes)),
    (6, "drain", drains),
    (6, "undrain", undrains),
    (1, "watched", |_, random| Some(Act::WatchedProcess(random.random()))),
    (3, "add", adds),
    (2, "remove", |world, random| removes("remove", world, random)),
    (2, "uninstall", |world, random| removes(UNINSTALL, world, random)),
    (4, "rename", renames),
    (3, "swap", swaps),
    (6, "move", moves),
    (3, "share", shares),
    (4, "change", changes),
    (2, "splay", sets_splay),
    (4, "transport", changes_transport),
    (1, "history", changes_history),
    (1, "refused", |_, _| Some(Act::RefusedReload)),
    (1, "reloads", |_, random| Some(Act::Reloads(random.random_range(2..30)))),
    (1, "checks-now", |_, random| Some(Act::ChecksNow(random.random_range(1..100)))),
    (2, "pause", |_, random| Some(Act::Pause(random.random_range(1..400)))),
    (3, "restart", |_, _| Some(Act::Restart { killed: false, damage: None })),
    (3, "kill", |_, _| Some(Act::Restart { killed: true, damage: None })),
    (2, "list-lost", restarts_without_list),
    (3, "list", |world, random| Some(Act::ListDamaged(damaged_family(world, random), Damage::draw(random)))),
    (2, "link", |world, _| Some(Act::Relinked(!world.linked))),
    (1, "bird-stops", |world, _| (world.bird != Bird::Stopped).then_some(Act::BirdStops)),
    (10, "bird-stops", |world, _| (world.bird == Bird::Stopped).then_some(Act::BirdStarts)),
    (2, "bird-freezes", |world, _| (world.bird == Bird::Runs).then_some(Act::BirdFreezes)),
    (40, "bird-freezes", |world, _| (world.bird == Bird::Frozen).then_some(Act::BirdGoesOn)),
    (2, "bird-conf", |world, _| (!world.bird_conf_broken).then_some(Act::BirdConfBreaks)),
    (10, "bird-conf", |world, _| world.bird_conf_broken.then_some(Act::BirdConfMended)),
    (4, "command", command_breaks),
    (10, "command", |world, _| (world.command != Mode::Works).then_some(Act::Command(Mode::Works))),
    (5, "custom", custom_breaks),
    (10, "custom", |world, _| (world.custom != Mode::Works).then_some(Act::Custom(Mode::Works))),
    (2, "disk", |world, random| {
        let disk = *[Disk::Full, Disk::ReadOnly].choose(random).unwrap();
        (world.disk == Disk::Works).then_some(Act::Disk(disk))
    }),
    (10, "disk", |world, _| (world.disk != Disk::Works).then_some(Act::Disk(Disk::Works))),
];

impl Act {
    /// The next one.
    pub(super) fn draw(world: &World, random: &mut StdRng) -> Act {
        let wanted = std::env::var("MODEL_ACTS").ok();
        let is_wanted = |word: &str| wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|one| one == word));
        let rows: Vec<&(u32, &str, Draw)> = ACTS.iter().filter(|(_, word, _)| is_wanted(word)).collect();
        assert!(!rows.is_empty(), "MODEL_ACTS names no act");
        loop {
            let (_, _, draw) = rows.choose_weighted(random, |(weight, ..)| *weight).unwrap();
            if let Some(act) = draw(world, random) {
                return act;
            }
        }
    }

    /// Whether others may follow before its effect is waited for.
    pub(super) fn is_light(&self) -> bool {
        !matches!(
            self,
            Act::Restart { damage: Some(_), .. }
                | Act::ListDamaged(..)
                | Act::Relinked(_)
                | Act::RefusedReload
                | Act::Reloads(_)
        )
    }

    /// Whether it moves no route but those that it makes come or go for good.
    pub(super) fn is_calm(&self) -> bool {
        // A list of somebody else's is read where a reconfigure is under way at that very moment.
        !matches!(
            self,
            Act::BirdStops
                | Act::BirdStarts
                | Act::Restart { damage: Some(_), .. }
                | Act::ListDamaged(_, Damage::Replaced)
        )
    }

    /// In words, with what is new in a configuration.
    pub(super) fn describe(&self, before: &Configuration) -> String {
        match self {
            Act::Reload(reload) => {
                let Reload { word, configuration, newcomer } = &**reload;
                format!("Reload {word} {newcomer:?}{}", configuration.difference_from(Some(before)))
            }
            other => format!("{other:?}"),
        }
    }
}

impl Damage {
    fn draw(random: &mut StdRng) -> Damage {
        use Damage::*;
        *[Emptied, Truncated, Garbled, Removed, Replaced].choose(random).unwrap()
    }
}

// --- whom it concerns ---

fn of<T: Copy>(set: &BTreeSet<T>, random: &mut StdRng) -> Option<T> {
    set.iter().copied().collect::<Vec<_>>().choose(random).copied()
}

/// A service that may be touched and is like this.
fn service_that(world: &World, random: &mut StdRng, condition: impl Fn(Name, &Service) -> bool) -> Option<Name> {
    let services = world.configuration.touchable().filter(|(name, service)| condition(name, service));
    services.map(|(name, _)| name).collect::<Vec<_>>().choose(random).copied()
}

fn service(world: &World, random: &mut StdRng) -> Option<Name> {
    service_that(world, random, |_, _| true)
}

/// The list of IPv6 is left alone while nothing can put it right.
fn damaged_family(world: &World, random: &mut StdRng) -> usize {
    usize::from(world.disk == Disk::Works && random.random_bool(0.3))
}

// --- services ---

fn dies(world: &World, random: &mut StdRng) -> Option<Act> {
    service_that(world, random, |name, _| world.alive.contains(name)).map(Act::Dies)
}

fn revives(world: &World, random: &mut StdRng) -> Option<Act> {
    service_that(world, random, |name, _| !world.alive.contains(name)).map(Act::Revives)
}

fn address_goes(world: &World, random: &mut StdRng) -> Option<Act> {
    let service = &world.configuration.services[service(world, random)?];
    of(&service.prefixes, random).filter(|prefix| !world.unassigned.contains(prefix)).map(Act::AddressGoes)
}

fn drains(world: &World, random: &mut StdRng) -> Option<Act> {
    let may_be = |name, service: &Service| service.has_drain_file && !world.drained.contains(name);
    let name = service_that(world, random, may_be)?;
    Some(if random.random_bool(0.7) { Act::Drains(name) } else { Act::DrainsByCommand(name) })
}

fn undrains(world: &World, random: &mut StdRng) -> Option<Act> {
    let name = of(&world.drained, random)?;
    let by_command = world.configuration.services.contains_key(name) && world.is_drained(name);
    Some(if by_command && random.random_bool(0.3) { Act::UndrainsByCommand(name) } else { Act::Undrains(name) })
}

// --- reloads ---

/// A reload that changes something, to what the daemon accepts.
fn reload(
    word: &'static str,
    world: &World,
    configuration: Configuration,
    newcomer: Option<(Name, bool)>,
) -> Option<Act> {
    let is_another = configuration != world.configuration && configuration.is_valid();
    is_another.then(|| Act::Reload(Box::new(Reload { word, configuration, newcomer })))
}

fn adds(world: &World, random: &mut StdRng) -> Option<Act> {
    let mut configuration = world.configuration.clone();
    let name = configuration.add(random)?;
    reload("add", world, configuration, Some((name, random.random_bool(0.7))))
}

fn removes(word: &'static str, world: &World, random: &mut StdRng) -> Option<Act> {
    let mut configuration = world.configuration.clone();
    configuration.services.remove(service(world, random)?);
    reload(word, world, configuration, None)
}

fn renames(world: &World, random: &mut StdRng) -> Option<Act> {
    let mut configuration = world.configuration.clone();
    let old = service(world, random)?;
    let new = configuration.unused_name(random)?;
    let service = configuration.services.remove(old)?;
    configuration.services.insert(new, service);
    reload("rename", world, configuration, Some((new, world.alive.contains(old))))
}

/// Two services swap their prefixes.
fn swaps(world: &World, random: &mut StdRng) -> Option<Act> {
    let (one, other) = (service(world, random)?, service(world, random)?);
    let mut configuration = world.configuration.clone();
    let prefixes = |name| world.configuration.services[name].prefixes.clone();
    configuration.services.get_mut(one)?.prefixes = prefixes(other);
    configuration.services.get_mut(other)?.prefixes = prefixes(one);
    reload("swap", world, configuration, None)
}

/// A prefix moves from one service to another, which may be drained. A service that loses its last
/// prefix leaves.
fn moves(world: &World, random: &mut StdRng) -> Option<Act> {
    let (from, to, prefix) = giver_and_taker(world, random)?;
    let mut configuration = world.configuration.clone();
    configuration.services.get_mut(to)?.prefixes.insert(prefix);
    let giver = configuration.services.get_mut(from)?;
    giver.prefixes.remove(prefix);
    if giver.prefixes.is_empty() {
        configuration.services.remove(from);
    }
    reload("move", world, configuration, None)
}

/// A service gets a prefix that another one has and keeps.
fn shares(world: &World, random: &mut StdRng) -> Option<Act> {
    let (_, to, prefix) = giver_and_taker(world, random)?;
    let mut configuration = world.configuration.clone();
    configuration.services.get_mut(to)?.prefixes.insert(prefix);
    reload("share", world, configuration, None)
}

/// Two services, and a prefix of the first one. The second one is drained in half of the cases
/// where one is.
fn giver_and_taker(world: &World, random: &mut StdRng) -> Option<(Name, Name, Prefix)> {
    let wants_drained = random.random_bool(0.5);
    let to = service_that(world, random, |name, _| wants_drained && world.is_drained(name));
    let to = to.or_else(|| service(world, random))?;
    let from = service_that(world, random, |name, _| name != to)?;
    Some((from, to, of(&world.configuration.services[from].prefixes, random)?))
}

/// A setting of a service changes.
fn changes(world: &World, random: &mut StdRng) -> Option<Act> {
    let name = service(world, random)?;
    let mut configuration = world.configuration.clone();
    let drawn = Service::draw(random.random_bool(0.5), random);
    let service = configuration.services.get_mut(name)?;
    match random.random_range(0..8) {
        0 => service.prefixes = drawn.prefixes,
        1 => service.rise = drawn.rise,
        2 => service.fail = drawn.fail,
        3 => service.interval = drawn.interval,
        4 => service.disabled = drawn.disabled,
        5 => service.ip_check_disabled = drawn.ip_check_disabled,
        6 => service.has_drain_file = drawn.has_drain_file,
        _ => service.custom = drawn.custom,
    }
    reload("change", world, configuration, None)
}

fn sets_splay(world: &World, _: &mut StdRng) -> Option<Act> {
    let splay = !world.configuration.splay;
    reload("splay", world, Configuration { splay, ..world.configuration.clone() }, None)
}

fn changes_history(world: &World, _: &mut StdRng) -> Option<Act> {
    let keeps_changes = !world.configuration.keeps_changes;
    reload("history", world, Configuration { keeps_changes, ..world.configuration.clone() }, None)
}

fn changes_transport(world: &World, random: &mut StdRng) -> Option<Act> {
    let is_wrong = random.random_bool(0.25);
    let transport = if is_wrong { Transport::Wrong } else { Transport::draw(random) };
    let mut transports = world.configuration.transports;
    match random.random_range(0..4) {
        family @ 0..2 => transports[family] = transport,
        _ => transports = [transport; 2],
    }
    reload("transport", world, Configuration { transports, ..world.configuration.clone() }, None)
}

// --- the daemon, its list, and BIRD ---

fn restarts_without_list(world: &World, random: &mut StdRng) -> Option<Act> {
    let damage = Some((damaged_family(world, random), Damage::draw(random)));
    Some(Act::Restart { killed: random.random(), damage })
}

fn command_breaks(world: &World, random: &mut StdRng) -> Option<Act> {
    let mode = *[Mode::Fails, Mode::Fails, Mode::Hangs, Mode::Lies, Mode::Babbles].choose(random).unwrap();
    (world.command == Mode::Works).then_some(Act::Command(mode))
}

fn custom_breaks(world: &World, random: &mut StdRng) -> Option<Act> {
    let mode = *[Mode::Fails, Mode::Fails, Mode::Hangs, Mode::Missing].choose(random).unwrap();
    (world.custom == Mode::Works).then_some(Act::Custom(mode))
}
