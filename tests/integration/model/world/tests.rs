//! Tests of the model: one line for each rule.

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

/// A world in which these services are up.
fn world(services: &[(Name, Service)]) -> World {
    let mut world = World::new(configured(services));
    world.settle();
    world
}

fn reload(services: &[(Name, Service)]) -> Action {
    let configuration = configured(services);
    Action::Reload(Box::new(Reload { word: "", configuration, newcomer: None }))
}

fn restart() -> Action {
    Action::Restart { killed: true, damage: None }
}

fn play(world: &mut World, actions: impl IntoIterator<Item = Action>) {
    actions.into_iter().for_each(|action| {
        world.apply(&action);
        world.settle();
    });
}

/// Checks the expected state of a prefix in list and router after these actions, each settled.
#[track_caller]
fn check(
    services: &[(Name, Service)],
    actions: impl IntoIterator<Item = Action>,
    prefix: Prefix,
    expected: [Expected; 2],
) {
    let mut world = world(services);
    play(&mut world, actions);
    assert_eq!([world.listed(prefix), world.routed(prefix)], expected);
}

use Expected::{Absent, Either, Present};

#[test]
fn a_service_is_advertised_while_its_check_passes_and_it_is_not_drained() {
    let ant = [("ant", service(&[ONE]))];
    check(&ant, [], ONE, [Present; 2]);
    check(&ant, [Action::Dies("ant")], ONE, [Absent; 2]);
    check(&ant, [Action::Dies("ant"), Action::Revives("ant")], ONE, [Present; 2]);
    check(&ant, [Action::Drains("ant")], ONE, [Absent; 2]);
    check(&ant, [Action::Drains("ant"), Action::Undrains("ant")], ONE, [Present; 2]);
    check(&ant, [], TWO, [Absent; 2]);
}

#[test]
fn a_check_that_hangs_changes_nothing_unless_it_times_out() {
    let ant = [("ant", service(&[ONE]))];
    check(&ant, [Action::Hangs("ant"), Action::Dies("ant")], ONE, [Present; 2]);
    check(&ant, [Action::Hangs("ant"), restart()], ONE, [Present; 2]);
    check(&ant, [Action::Dies("ant"), Action::Hangs("ant"), restart()], ONE, [Absent; 2]);
    check(&ant, [Action::Hangs("ant"), Action::Drains("ant")], ONE, [Absent; 2]);
    check(&ant, [Action::Hangs("ant"), Action::Drains("ant"), Action::Undrains("ant")], ONE, [Absent; 2]);
    let ant = [("ant", Service { times_out: true, ..service(&[ONE]) })];
    check(&ant, [Action::Hangs("ant")], ONE, [Absent; 2]);
}

#[test]
fn a_disabled_service_is_advertised_as_configured_unless_it_is_drained() {
    let ant = [("ant", Service { disabled: Some(true), ..service(&[ONE]) })];
    check(&ant, [Action::Dies("ant")], ONE, [Present; 2]);
    check(&ant, [Action::Drains("ant")], ONE, [Absent; 2]);
    let ant = [("ant", Service { disabled: Some(false), ..service(&[ONE]) })];
    check(&ant, [], ONE, [Absent; 2]);
}

#[test]
fn an_unassigned_address_has_no_route_and_is_listed_only_without_the_address_check() {
    let ant = [("ant", service(&[ONE, TWO]))];
    check(&ant, [Action::AddressGoes(ONE)], ONE, [Absent; 2]);
    check(&ant, [Action::AddressGoes(ONE)], TWO, [Present; 2]);
    check(&ant, [Action::AddressGoes(ONE), Action::AddressComes(ONE)], ONE, [Present; 2]);
    let ant = [("ant", Service { ip_check_disabled: true, ..service(&[ONE]) })];
    check(&ant, [Action::AddressGoes(ONE)], ONE, [Present, Absent]);
}

#[test]
fn the_smallest_decision_wins_for_a_shared_prefix() {
    let both = [("ant", service(&[ONE])), ("bee", service(&[ONE, TWO]))];
    check(&both, [Action::Dies("ant")], ONE, [Absent; 2]);
    check(&both, [Action::Dies("ant")], TWO, [Present; 2]);
    check(&both, [Action::Drains("bee")], ONE, [Absent; 2]);
    check(&both, [Action::Drains("bee"), Action::Undrains("bee")], ONE, [Present; 2]);
}

#[test]
fn a_prefix_leaves_with_its_service_and_follows_the_service_that_takes_it_over() {
    let both = [("ant", service(&[ONE])), ("bee", service(&[TWO]))];
    let moved = || reload(&[("ant", service(&[ONE, TWO]))]);
    check(&both, [reload(&both[..1])], TWO, [Absent; 2]);
    check(&both, [moved()], TWO, [Present; 2]);
    check(&both, [Action::Drains("ant"), moved()], TWO, [Absent; 2]);
    check(&both, [Action::Dies("ant"), moved()], TWO, [Absent; 2]);
    let renamed = || reload(&[("cat", service(&[ONE])), ("bee", service(&[TWO]))]);
    check(&both, [Action::Hangs("cat"), renamed()], ONE, [Present; 2]);
    check(&both, [renamed()], ONE, [Absent; 2]);
}

#[test]
fn a_change_may_or_may_not_be_visible_while_bird_cannot_be_reconfigured() {
    let ant = [("ant", service(&[ONE]))];
    let fails = || Action::Command(Mode::Fails);
    check(&ant, [fails()], ONE, [Present; 2]);
    check(&ant, [fails(), Action::Dies("ant")], ONE, [Absent, Either]);
    check(&ant, [fails(), Action::Dies("ant"), Action::Revives("ant")], ONE, [Present, Either]);
    check(&ant, [fails(), Action::Dies("ant"), Action::Command(Mode::Works)], ONE, [Absent; 2]);
    check(&ant, [Action::BirdFreezes, Action::Dies("ant")], ONE, [Absent, Either]);
    check(&ant, [Action::BirdFreezes, Action::Dies("ant"), Action::BirdContinues], ONE, [Absent; 2]);
    check(&ant, [Action::BirdConfBreaks, Action::Dies("ant")], ONE, [Absent, Either]);
}

#[test]
fn a_custom_command_covers_its_service_and_the_familys_command_all_others() {
    let ant = [("ant", Service { custom: Some(Custom::Fast), ..service(&[ONE]) }), ("bee", service(&[TWO]))];
    let both = || [Action::Dies("ant"), Action::Dies("bee")];
    let after = |broken| std::iter::once(broken).chain(both());
    check(&ant, after(Action::Custom(Mode::Fails)), ONE, [Absent, Either]);
    check(&ant, after(Action::Custom(Mode::Fails)), TWO, [Absent; 2]);
    check(&ant, after(Action::Custom(Mode::Missing)), ONE, [Absent; 2]);
    check(&ant, after(Action::Command(Mode::Fails)), ONE, [Absent; 2]);
    check(&ant, after(Action::Command(Mode::Fails)), TWO, [Absent, Either]);
    check(&ant, [Action::Custom(Mode::Fails), reload(&ant[1..])], ONE, [Absent; 2]);
}

#[test]
fn a_stopped_bird_has_no_routes_and_reads_the_list_when_it_starts() {
    let ant = [("ant", service(&[ONE]))];
    check(&ant, [Action::BirdStops], ONE, [Present, Absent]);
    let dead = [Action::Command(Mode::Fails), Action::Dies("ant"), Action::BirdStops, Action::BirdStarts];
    check(&ant, dead, ONE, [Absent; 2]);
}

#[test]
fn a_full_disk_delays_only_its_family() {
    let ant = [("ant", service(&[ONE, SIX]))];
    check(&ant, [Action::Disk(Disk::Full)], SIX, [Present; 2]);
    check(&ant, [Action::Disk(Disk::Full), Action::Dies("ant")], SIX, [Either; 2]);
    check(&ant, [Action::Disk(Disk::Full), Action::Dies("ant")], ONE, [Absent; 2]);
    check(&ant, [Action::Disk(Disk::Full), Action::Dies("ant"), Action::Disk(Disk::Works)], SIX, [Absent; 2]);
}

#[test]
fn the_model_is_unsure_about_a_hanging_check_after_unsettled_actions() {
    let mut world = world(&[("ant", service(&[ONE]))]);
    [Action::Dies("ant"), Action::Hangs("ant")].iter().for_each(|action| world.apply(action));
    world.settle();
    assert_eq!(world.verdict("ant"), Verdict::Unsure);
    assert_eq!(world.listed(ONE), Either);
}
