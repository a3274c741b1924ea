//! The model by itself: one line for each thing that it has to know.

use super::super::configuration::Custom;
use super::*;

const ONE: Prefix = "10.52.12.11/32";
const TWO: Prefix = "10.52.12.12/32";
const SIX: Prefix = "2001:db8:52::11/128";

fn service(prefixes: &[Prefix]) -> Service {
    Service { prefixes: prefixes.iter().copied().collect(), ..Service::steady(ONE, false) }
}

fn configured(services: &[(Name, Service)]) -> Configuration {
    Configuration {
        services: services.iter().cloned().collect(),
        transports: [Transport::Command; 2],
        keeps_changes: false,
        splay: false,
    }
}

/// All of these services are up.
fn world(services: &[(Name, Service)]) -> World {
    let mut world = World::new(configured(services));
    world.settle();
    world
}

fn reload(services: &[(Name, Service)]) -> Act {
    let configuration = configured(services);
    Act::Reload(Box::new(Reload { word: "", configuration, newcomer: None }))
}

fn restart() -> Act {
    Act::Restart { killed: true, damage: None }
}

fn play(world: &mut World, acts: impl IntoIterator<Item = Act>) {
    acts.into_iter().for_each(|act| {
        world.apply(&act);
        world.settle();
    });
}

/// What is expected of this prefix in the list and at the router after these acts, each settled.
#[track_caller]
fn check(services: &[(Name, Service)], acts: impl IntoIterator<Item = Act>, prefix: Prefix, expected: [Expected; 2]) {
    let mut world = world(services);
    play(&mut world, acts);
    assert_eq!([world.listed(prefix), world.routed(prefix)], expected);
}

use Expected::{Absent, Either, Present};

#[test]
fn a_service_is_advertised_while_its_check_passes_and_it_is_not_drained() {
    let ant = [("ant", service(&[ONE]))];
    check(&ant, [], ONE, [Present; 2]);
    check(&ant, [Act::Dies("ant")], ONE, [Absent; 2]);
    check(&ant, [Act::Dies("ant"), Act::Revives("ant")], ONE, [Present; 2]);
    check(&ant, [Act::Drains("ant")], ONE, [Absent; 2]);
    check(&ant, [Act::Drains("ant"), Act::Undrains("ant")], ONE, [Present; 2]);
    check(&ant, [], TWO, [Absent; 2]);
}

#[test]
fn a_check_that_hangs_changes_nothing_and_times_out_where_it_may() {
    let ant = [("ant", service(&[ONE]))];
    check(&ant, [Act::Hangs("ant"), Act::Dies("ant")], ONE, [Present; 2]);
    check(&ant, [Act::Hangs("ant"), restart()], ONE, [Present; 2]);
    check(&ant, [Act::Dies("ant"), Act::Hangs("ant"), restart()], ONE, [Absent; 2]);
    check(&ant, [Act::Hangs("ant"), Act::Drains("ant")], ONE, [Absent; 2]);
    check(&ant, [Act::Hangs("ant"), Act::Drains("ant"), Act::Undrains("ant")], ONE, [Absent; 2]);
    let ant = [("ant", Service { times_out: true, ..service(&[ONE]) })];
    check(&ant, [Act::Hangs("ant")], ONE, [Absent; 2]);
}

#[test]
fn a_disabled_service_is_what_is_configured_unless_it_is_drained() {
    let ant = [("ant", Service { disabled: Some(true), ..service(&[ONE]) })];
    check(&ant, [Act::Dies("ant")], ONE, [Present; 2]);
    check(&ant, [Act::Drains("ant")], ONE, [Absent; 2]);
    let ant = [("ant", Service { disabled: Some(false), ..service(&[ONE]) })];
    check(&ant, [], ONE, [Absent; 2]);
}

#[test]
fn an_address_that_is_not_assigned_is_no_route_and_listed_only_where_nobody_looks() {
    let ant = [("ant", service(&[ONE, TWO]))];
    check(&ant, [Act::AddressGoes(ONE)], ONE, [Absent; 2]);
    check(&ant, [Act::AddressGoes(ONE)], TWO, [Present; 2]);
    check(&ant, [Act::AddressGoes(ONE), Act::AddressComes(ONE)], ONE, [Present; 2]);
    let ant = [("ant", Service { ip_check_disabled: true, ..service(&[ONE]) })];
    check(&ant, [Act::AddressGoes(ONE)], ONE, [Present, Absent]);
}

#[test]
fn of_a_shared_prefix_the_smallest_decision_holds() {
    let both = [("ant", service(&[ONE])), ("bee", service(&[ONE, TWO]))];
    check(&both, [Act::Dies("ant")], ONE, [Absent; 2]);
    check(&both, [Act::Dies("ant")], TWO, [Present; 2]);
    check(&both, [Act::Drains("bee")], ONE, [Absent; 2]);
    check(&both, [Act::Drains("bee"), Act::Undrains("bee")], ONE, [Present; 2]);
}

#[test]
fn a_prefix_goes_with_its_service_and_follows_the_one_that_takes_it_over() {
    let both = [("ant", service(&[ONE])), ("bee", service(&[TWO]))];
    let moved = || reload(&[("ant", service(&[ONE, TWO]))]);
    check(&both, [reload(&both[..1])], TWO, [Absent; 2]);
    check(&both, [moved()], TWO, [Present; 2]);
    check(&both, [Act::Drains("ant"), moved()], TWO, [Absent; 2]);
    check(&both, [Act::Dies("ant"), moved()], TWO, [Absent; 2]);
    let renamed = || reload(&[("cat", service(&[ONE])), ("bee", service(&[TWO]))]);
    check(&both, [Act::Hangs("cat"), renamed()], ONE, [Present; 2]);
    check(&both, [renamed()], ONE, [Absent; 2]);
}

#[test]
fn while_bird_cannot_be_told_a_change_may_be_seen_or_not() {
    let ant = [("ant", service(&[ONE]))];
    let fails = || Act::Command(Mode::Fails);
    check(&ant, [fails()], ONE, [Present; 2]);
    check(&ant, [fails(), Act::Dies("ant")], ONE, [Absent, Either]);
    check(&ant, [fails(), Act::Dies("ant"), Act::Revives("ant")], ONE, [Present, Either]);
    check(&ant, [fails(), Act::Dies("ant"), Act::Command(Mode::Works)], ONE, [Absent; 2]);
    check(&ant, [Act::BirdFreezes, Act::Dies("ant")], ONE, [Absent, Either]);
    check(&ant, [Act::BirdFreezes, Act::Dies("ant"), Act::BirdGoesOn], ONE, [Absent; 2]);
    check(&ant, [Act::BirdConfBreaks, Act::Dies("ant")], ONE, [Absent, Either]);
}

#[test]
fn a_custom_command_tells_of_its_service_and_the_familys_where_there_is_none() {
    let ant = [("ant", Service { custom: Some(Custom::Fast), ..service(&[ONE]) }), ("bee", service(&[TWO]))];
    let both = || [Act::Dies("ant"), Act::Dies("bee")];
    let after = |broken| std::iter::once(broken).chain(both());
    check(&ant, after(Act::Custom(Mode::Fails)), ONE, [Absent, Either]);
    check(&ant, after(Act::Custom(Mode::Fails)), TWO, [Absent; 2]);
    check(&ant, after(Act::Custom(Mode::Missing)), ONE, [Absent; 2]);
    check(&ant, after(Act::Command(Mode::Fails)), ONE, [Absent; 2]);
    check(&ant, after(Act::Command(Mode::Fails)), TWO, [Absent, Either]);
    check(&ant, [Act::Custom(Mode::Fails), reload(&ant[1..])], ONE, [Absent; 2]);
}

#[test]
fn a_bird_that_is_stopped_has_no_routes_and_reads_the_list_when_it_starts() {
    let ant = [("ant", service(&[ONE]))];
    check(&ant, [Act::BirdStops], ONE, [Present, Absent]);
    let dead = [Act::Command(Mode::Fails), Act::Dies("ant"), Act::BirdStops, Act::BirdStarts];
    check(&ant, dead, ONE, [Absent; 2]);
}

#[test]
fn a_disk_that_takes_nothing_holds_up_its_family_only() {
    let ant = [("ant", service(&[ONE, SIX]))];
    check(&ant, [Act::Disk(Disk::Full)], SIX, [Present; 2]);
    check(&ant, [Act::Disk(Disk::Full), Act::Dies("ant")], SIX, [Either; 2]);
    check(&ant, [Act::Disk(Disk::Full), Act::Dies("ant")], ONE, [Absent; 2]);
    check(&ant, [Act::Disk(Disk::Full), Act::Dies("ant"), Act::Disk(Disk::Works)], SIX, [Absent; 2]);
}

#[test]
fn what_happened_while_nothing_was_settled_is_not_known_of_a_check_that_hangs() {
    let mut world = world(&[("ant", service(&[ONE]))]);
    [Act::Dies("ant"), Act::Hangs("ant")].iter().for_each(|act| world.apply(act));
    world.settle();
    assert_eq!(world.verdict("ant"), Verdict::Unsure);
    assert_eq!(world.listed(ONE), Either);
}
