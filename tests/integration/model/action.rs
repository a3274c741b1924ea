//! The possible actions, and the table from which they are drawn.
//!
//! Guarantees: what is drawn depends only on the seed and on earlier draws, never on the daemon.
//! `MODEL_ACTIONS=drain,move` restricts the draws to these actions.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::RngExt;

use super::configuration::{Configuration, Name, Prefix, Service, Transport};
use super::world::{Bird, Disk, Mode, World};

/// One action.
#[derive(Debug)]
pub(super) enum Action {
    Dies(Name),
    Revives(Name),
    Hangs(Name),
    HangEnds(Name),
    /// Whether the check prints megabytes.
    Floods(Name, bool),
    /// Whether the check leaves children behind.
    LeavesChildren(Name, bool),
    AddressGoes(Prefix),
    AddressComes(Prefix),
    Drains(Name),
    Undrains(Name),
    DrainsByCommand(Name),
    UndrainsByCommand(Name),
    /// Whether the process in `watch_pidfile` runs.
    WatchedProcess(bool),
    Reload(Box<Reload>),
    /// A reload of a configuration with an error.
    ReloadRefused,
    /// Several reloads of the same configuration in a row.
    Reloads(usize),
    /// SIGURG, several times in a row.
    ChecksNow(usize),
    /// The daemon is stopped or killed, and started again. Meanwhile a list may be damaged.
    Restart {
        killed: bool,
        damage: Option<(usize, Damage)>,
    },
    ListDamaged(usize, Damage),
    /// `bird_conf` is replaced by a symbolic link, or by a regular file.
    LinkReplaced(bool),
    BirdStops,
    BirdStarts,
    BirdFreezes,
    BirdContinues,
    BirdConfBreaks,
    BirdConfRepaired,
    Command(Mode),
    Custom(Mode),
    Disk(Disk),
    /// A pause in milliseconds, without waiting for effects.
    Pause(u64),
}

/// A reload of another configuration.
#[derive(Debug)]
pub(super) struct Reload {
    /// The kind of change.
    pub(super) word: &'static str,
    pub(super) configuration: Configuration,
    /// A new service, and whether its check passes.
    pub(super) newcomer: Option<(Name, bool)>,
}

/// Damage to a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Damage {
    Emptied,
    Truncated,
    Garbled,
    Removed,
    /// Another valid list: steady prefixes, some others, and an unmanaged one.
    Replaced,
}

/// Removes a service together with its custom command.
pub(super) const UNINSTALL: &str = "uninstall";

type Draw = fn(&World, &mut StdRng) -> Option<Action>;

/// The weight of each action, its name, and how it is drawn. A draw gives `None` if the action is
/// not possible now.
const ACTIONS: &[(u32, &str, Draw)] = &[
    (8, "dies", dies),
    (8, "revives", revives),
    (2, "hangs", |world, random| service(world, random).map(Action::Hangs)),
    (10, "hang-ends", |world, random| any_of(&world.hanging, random).map(Action::HangEnds)),
    (1, "floods", |world, random| Some(Action::Floods(service(world, random)?, random.random()))),
    (1, "forks", |world, random| Some(Action::LeavesChildren(service(world, random)?, random.random()))),
    (3, "address", address_goes),
    (6, "address", |world, random| any_of(&world.unassigned, random).map(Action::AddressComes)),
    (6, "drain", drains),
    (6, "undrain", undrains),
    (1, "watched", |_, random| Some(Action::WatchedProcess(random.random()))),
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
    (1, "refused", |_, _| Some(Action::ReloadRefused)),
    (1, "reloads", |_, random| Some(Action::Reloads(random.random_range(2..30)))),
    (1, "checks-now", |_, random| Some(Action::ChecksNow(random.random_range(1..100)))),
    (2, "pause", |_, random| Some(Action::Pause(random.random_range(1..400)))),
    (3, "restart", |_, _| Some(Action::Restart { killed: false, damage: None })),
    (3, "kill", |_, _| Some(Action::Restart { killed: true, damage: None })),
    (2, "list-lost", restarts_without_list),
    (3, "list", |world, random| Some(Action::ListDamaged(damaged_family(world, random), Damage::draw(random)))),
    (2, "link", |world, _| Some(Action::LinkReplaced(!world.linked))),
    (1, "bird-stops", |world, _| (world.bird != Bird::Stopped).then_some(Action::BirdStops)),
    (10, "bird-stops", |world, _| (world.bird == Bird::Stopped).then_some(Action::BirdStarts)),
    (2, "bird-freezes", |world, _| (world.bird == Bird::Runs).then_some(Action::BirdFreezes)),
    (40, "bird-freezes", |world, _| (world.bird == Bird::Frozen).then_some(Action::BirdContinues)),
    (2, "bird-conf", |world, _| (!world.bird_conf_broken).then_some(Action::BirdConfBreaks)),
    (10, "bird-conf", |world, _| world.bird_conf_broken.then_some(Action::BirdConfRepaired)),
    (4, "command", command_breaks),
    (10, "command", |world, _| (world.command != Mode::Works).then_some(Action::Command(Mode::Works))),
    (5, "custom", custom_breaks),
    (10, "custom", |world, _| (world.custom != Mode::Works).then_some(Action::Custom(Mode::Works))),
    (2, "disk", |world, random| {
        let disk = *[Disk::Full, Disk::ReadOnly].choose(random).unwrap();
        (world.disk == Disk::Works).then_some(Action::Disk(disk))
    }),
    (10, "disk", |world, _| (world.disk != Disk::Works).then_some(Action::Disk(Disk::Works))),
];

impl Action {
    /// Draws the next action.
    pub(super) fn draw(world: &World, random: &mut StdRng) -> Action {
        let selected = std::env::var("MODEL_ACTIONS").ok();
        let is_selected =
            |word: &str| selected.as_ref().is_none_or(|selected| selected.split(',').any(|one| one == word));
        let rows: Vec<&(u32, &str, Draw)> = ACTIONS.iter().filter(|(_, word, _)| is_selected(word)).collect();
        assert!(!rows.is_empty(), "MODEL_ACTIONS names no action");
        loop {
            let (_, _, draw) = rows.choose_weighted(random, |(weight, ..)| *weight).unwrap();
            if let Some(action) = draw(world, random) {
                return action;
            }
        }
    }

    /// Whether other actions may follow before its effect is waited for.
    pub(super) fn is_light(&self) -> bool {
        !matches!(
            self,
            Action::Restart { damage: Some(_), .. }
                | Action::ListDamaged(..)
                | Action::LinkReplaced(_)
                | Action::ReloadRefused
                | Action::Reloads(_)
        )
    }

    /// Whether it moves only those routes that it adds or removes permanently.
    pub(super) fn is_calm(&self) -> bool {
        // A concurrent reconfigure may read the foreign list.
        !matches!(
            self,
            Action::BirdStops
                | Action::BirdStarts
                | Action::Restart { damage: Some(_), .. }
                | Action::ListDamaged(_, Damage::Replaced)
        )
    }

    /// A description, with the differences of a new configuration.
    pub(super) fn describe(&self, before: &Configuration) -> String {
        match self {
            Action::Reload(reload) => {
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

// --- targets ---

fn any_of<T: Copy>(set: &BTreeSet<T>, random: &mut StdRng) -> Option<T> {
    set.iter().copied().collect::<Vec<_>>().choose(random).copied()
}

/// A random touchable service that fulfills the condition.
fn service_that(world: &World, random: &mut StdRng, condition: impl Fn(Name, &Service) -> bool) -> Option<Name> {
    let services = world.configuration.touchable().filter(|(name, service)| condition(name, service));
    services.map(|(name, _)| name).collect::<Vec<_>>().choose(random).copied()
}

fn service(world: &World, random: &mut StdRng) -> Option<Name> {
    service_that(world, random, |_, _| true)
}

/// The IPv6 list is left alone while it cannot be repaired.
fn damaged_family(world: &World, random: &mut StdRng) -> usize {
    usize::from(world.disk == Disk::Works && random.random_bool(0.3))
}

// --- services ---

fn dies(world: &World, random: &mut StdRng) -> Option<Action> {
    service_that(world, random, |name, _| world.alive.contains(name)).map(Action::Dies)
}

fn revives(world: &World, random: &mut StdRng) -> Option<Action> {
    service_that(world, random, |name, _| !world.alive.contains(name)).map(Action::Revives)
}

fn address_goes(world: &World, random: &mut StdRng) -> Option<Action> {
    let service = &world.configuration.services[service(world, random)?];
    any_of(&service.prefixes, random).filter(|prefix| !world.unassigned.contains(prefix)).map(Action::AddressGoes)
}

fn drains(world: &World, random: &mut StdRng) -> Option<Action> {
    let can_drain = |name, service: &Service| service.has_drain_file && !world.drained.contains(name);
    let name = service_that(world, random, can_drain)?;
    Some(if random.random_bool(0.7) { Action::Drains(name) } else { Action::DrainsByCommand(name) })
}

fn undrains(world: &World, random: &mut StdRng) -> Option<Action> {
    let name = any_of(&world.drained, random)?;
    let by_command = world.configuration.services.contains_key(name) && world.is_drained(name);
    Some(if by_command && random.random_bool(0.3) { Action::UndrainsByCommand(name) } else { Action::Undrains(name) })
}

// --- reloads ---

/// A reload that changes something, if the daemon accepts the configuration.
fn reload(
    word: &'static str,
    world: &World,
    configuration: Configuration,
    newcomer: Option<(Name, bool)>,
) -> Option<Action> {
    let is_another = configuration != world.configuration && configuration.is_valid();
    is_another.then(|| Action::Reload(Box::new(Reload { word, configuration, newcomer })))
}

fn adds(world: &World, random: &mut StdRng) -> Option<Action> {
    let mut configuration = world.configuration.clone();
    let name = configuration.add(random)?;
    reload("add", world, configuration, Some((name, random.random_bool(0.7))))
}

fn removes(word: &'static str, world: &World, random: &mut StdRng) -> Option<Action> {
    let mut configuration = world.configuration.clone();
    configuration.services.remove(service(world, random)?);
    reload(word, world, configuration, None)
}

fn renames(world: &World, random: &mut StdRng) -> Option<Action> {
    let mut configuration = world.configuration.clone();
    let old = service(world, random)?;
    let new = configuration.unused_name(random)?;
    let service = configuration.services.remove(old)?;
    configuration.services.insert(new, service);
    reload("rename", world, configuration, Some((new, world.alive.contains(old))))
}

/// Two services swap their prefixes.
fn swaps(world: &World, random: &mut StdRng) -> Option<Action> {
    let (one, other) = (service(world, random)?, service(world, random)?);
    let mut configuration = world.configuration.clone();
    let prefixes = |name| world.configuration.services[name].prefixes.clone();
    configuration.services.get_mut(one)?.prefixes = prefixes(other);
    configuration.services.get_mut(other)?.prefixes = prefixes(one);
    reload("swap", world, configuration, None)
}

/// A prefix moves from one service to another, which may be drained. A service without prefixes is
/// removed.
fn moves(world: &World, random: &mut StdRng) -> Option<Action> {
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

/// A service gets a prefix that another one keeps.
fn shares(world: &World, random: &mut StdRng) -> Option<Action> {
    let (_, to, prefix) = giver_and_taker(world, random)?;
    let mut configuration = world.configuration.clone();
    configuration.services.get_mut(to)?.prefixes.insert(prefix);
    reload("share", world, configuration, None)
}

/// Two services, and a prefix of the first one. With a probability of one half the second one is
/// drained, if any is.
fn giver_and_taker(world: &World, random: &mut StdRng) -> Option<(Name, Name, Prefix)> {
    let wants_drained = random.random_bool(0.5);
    let to = service_that(world, random, |name, _| wants_drained && world.is_drained(name));
    let to = to.or_else(|| service(world, random))?;
    let from = service_that(world, random, |name, _| name != to)?;
    Some((from, to, any_of(&world.configuration.services[from].prefixes, random)?))
}

/// A setting of a service changes.
fn changes(world: &World, random: &mut StdRng) -> Option<Action> {
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

fn sets_splay(world: &World, _: &mut StdRng) -> Option<Action> {
    let splay = !world.configuration.splay;
    reload("splay", world, Configuration { splay, ..world.configuration.clone() }, None)
}

fn changes_history(world: &World, _: &mut StdRng) -> Option<Action> {
    let keeps_changes = !world.configuration.keeps_changes;
    reload("history", world, Configuration { keeps_changes, ..world.configuration.clone() }, None)
}

fn changes_transport(world: &World, random: &mut StdRng) -> Option<Action> {
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

fn restarts_without_list(world: &World, random: &mut StdRng) -> Option<Action> {
    let damage = Some((damaged_family(world, random), Damage::draw(random)));
    Some(Action::Restart { killed: random.random(), damage })
}

fn command_breaks(world: &World, random: &mut StdRng) -> Option<Action> {
    let mode = *[Mode::Fails, Mode::Fails, Mode::Hangs, Mode::Lies, Mode::Babbles].choose(random).unwrap();
    (world.command == Mode::Works).then_some(Action::Command(mode))
}

fn custom_breaks(world: &World, random: &mut StdRng) -> Option<Action> {
    let mode = *[Mode::Fails, Mode::Fails, Mode::Hangs, Mode::Missing].choose(random).unwrap();
    (world.custom == Mode::Works).then_some(Action::Custom(mode))
}
