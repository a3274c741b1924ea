//! The random model test: random actions, and a small model of the routes that the router must
//! have.
//!
//! `CHAOS_SEED=1234` repeats the decisions of a seed, `CHAOS_SECONDS=300` sets the duration,
//! `MODEL_ACTIONS=drain,move` restricts the actions to these. The decisions depend only on the
//! seed, so that a failed seed repeats the same actions; the timing may differ.
//!
//! ```text
//!   a round:   draws a configuration, starts the daemon       (`configuration`)
//!              forty actions, one by one or several in a row  (`action`)
//!                each is performed on the host                (`host`)
//!                and applied to the model                     (`world`)
//!              repairs everything
//! ```
//!
//! Guarantees: after each action, within a timeout, lists and router are as the model expects.
//! After a single action, no route moves that the model expects to stay. Two services that no
//! action touches keep their routes, except while BIRD is stopped. After a round the daemon needs
//! no more resources than before.

mod action;
mod configuration;
mod host;
mod world;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use action::{Action, Reload};
use configuration::Configuration;
use host::Host;
use world::{Bird, Disk, Mode, World};

/// How long a seed is played by default, in seconds.
const DEFAULT_SECONDS: u64 = 30;
/// A seed that is always played.
const FIXED_SEED: u64 = 1;
/// The number of actions in a round.
const ACTIONS: usize = 40;
/// The probability of waiting for the effect of an action. Each round uses one of these.
const SETTLE_PROBABILITIES: [f64; 4] = [1.0, 0.7, 0.7, 0.2];
/// The number of actions after which a frozen BIRD continues, because its peer does not wait
/// forever.
const MAX_FROZEN_ACTIONS: usize = 5;

#[test]
fn the_router_has_the_routes_that_the_model_expects() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (seed, seconds) = (number("CHAOS_SEED"), number("CHAOS_SECONDS"));
    let random_seed = || rand::random::<u32>().into();
    match (seed, seconds) {
        (None, None) => [FIXED_SEED, random_seed()].iter().for_each(|seed| play(*seed, DEFAULT_SECONDS)),
        _ => play(seed.unwrap_or_else(random_seed), seconds.unwrap_or(DEFAULT_SECONDS)),
    }
}

/// Plays rounds until the time is over.
fn play(seed: u64, seconds: u64) {
    let start = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    for number in 1.. {
        println!("CHAOS_SEED={seed} round {number}, after {:?}", start.elapsed());
        Round::new(&mut random).play(start + Duration::from_secs(seconds), &mut random);
        if start.elapsed() > Duration::from_secs(seconds) {
            println!("CHAOS_SEED={seed}: {number} rounds passed");
            return;
        }
    }
}

/// One round.
struct Round {
    start: Instant,
    host: Host,
    world: World,
    /// The world when everything was last settled.
    settled: World,
    /// The actions since then.
    unsettled: Vec<Action>,
}

impl Round {
    fn new(random: &mut StdRng) -> Round {
        let start = Instant::now();
        let configuration = Configuration::draw(random);
        println!("configuration:{}", configuration.difference_from(None));
        let host = Host::new(&configuration);
        let world = World::new(configuration);
        let mut round = Round { start, host, settled: world.clone(), world, unsettled: Vec::new() };
        round.settle();
        round
    }

    /// Plays the actions of a round, or until the time is over.
    fn play(mut self, end: Instant, random: &mut StdRng) {
        let first = self.world.configuration.clone();
        let resources = self.host.resources();
        println!("{:8.3} s  start", self.start.elapsed().as_secs_f64());
        let settle_probability = *SETTLE_PROBABILITIES.choose(random).unwrap();
        let mut frozen = 0;
        for _ in 0..ACTIONS {
            if Instant::now() > end {
                break;
            }
            frozen = if self.world.bird == Bird::Frozen { frozen + 1 } else { 0 };
            let action =
                if frozen > MAX_FROZEN_ACTIONS { Action::BirdContinues } else { Action::draw(&self.world, random) };
            let is_light = action.is_light();
            if !is_light && !self.unsettled.is_empty() {
                self.settle();
            }
            self.perform(action);
            if !is_light || random.random_bool(settle_probability) {
                self.settle();
            }
        }
        self.repair(first);
        self.settle();
        self.host.expect_no_leaks(&resources);
        self.host.lab.stop_daemon();
    }

    fn perform(&mut self, action: Action) {
        println!("{:8.3} s  {}", self.start.elapsed().as_secs_f64(), action.describe(&self.world.configuration));
        self.host.play(&action, &self.world);
        self.world.apply(&action);
        self.unsettled.push(action);
    }

    /// Waits for the effect of all actions, and checks that no other route moved.
    fn settle(&mut self) {
        let actions = std::mem::take(&mut self.unsettled);
        self.world.settle();
        self.host.wait_settled(&self.world);
        if let [action] = &actions[..] {
            if action.is_calm() {
                self.host.expect_calm(&self.settled, &self.world);
            }
        }
        self.settled = self.world.clone();
        self.host.mark();
    }

    /// Repairs all causes of failures and restores the first configuration.
    fn repair(&mut self, first: Configuration) {
        let hanging = self.world.hanging.iter().copied().map(Action::HangEnds);
        let mut actions: Vec<Action> = hanging.collect();
        match self.world.bird {
            Bird::Runs => {}
            Bird::Frozen => actions.push(Action::BirdContinues),
            Bird::Stopped => actions.push(Action::BirdStarts),
        }
        actions.push(Action::BirdConfRepaired);
        actions.extend([Action::Command(Mode::Works), Action::Custom(Mode::Works), Action::Disk(Disk::Works)]);
        actions.push(Action::WatchedProcess(true));
        for (name, _) in first.touchable() {
            actions.extend([Action::Floods(name, false), Action::LeavesChildren(name, false)]);
        }
        actions.push(Action::Reload(Box::new(Reload { word: "repair", configuration: first, newcomer: None })));
        actions.into_iter().for_each(|action| self.perform(action));
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let comparison = self.host.comparison(&self.world, true);
            eprintln!("--- expected and actual state{comparison}");
        }
    }
}
