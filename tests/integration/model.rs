//! The random model test: anything happens at any time, and a small model says which routes the
//! router must have.
//!
//! `CHAOS_SEED=1234` plays the decisions of that seed again, `CHAOS_SECONDS=300` goes on for
//! longer, `MODEL_ACTS=drain,move` plays these acts only. The decisions depend on the seed alone,
//! so that a seed that failed plays the same game again; what the machine makes of it may differ.
//!
//! ```text
//!   a round:   a configuration is drawn, the daemon starts   (`configuration`)
//!              forty acts, one by one or several in a row    (`act`)
//!                each is done on the host                    (`host`)
//!                and told to the model                       (`world`)
//!              everything is mended
//! ```
//!
//! Promises: after each act, and after a bounded wait, lists and router have what the model
//! expects. Meanwhile no route moves that the model expects to stay, where only one thing happened;
//! and two services that nothing touches never lose their routes, but while BIRD itself is stopped.
//! After a round the daemon needs no more than before it.

mod act;
mod configuration;
mod host;
mod world;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use act::{Act, Reload};
use configuration::Configuration;
use host::Host;
use world::{Bird, Disk, Mode, World};

/// How long a seed is played, where nothing else is said.
const SECONDS: u64 = 30;
/// A seed that is always played.
const FIXED_SEED: u64 = 1;
/// How many acts there are in a round.
const ACTS: usize = 40;
/// How likely the effect of an act is waited for before the next one, one of these in each round.
const PATIENCE: [f64; 4] = [1.0, 0.7, 0.7, 0.2];
/// How many acts BIRD is frozen at most, as its peer does not wait for it forever.
const FROZEN_ACTS: usize = 5;

#[test]
fn whatever_happens_the_router_has_the_routes_that_the_model_expects() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (seed, seconds) = (number("CHAOS_SEED"), number("CHAOS_SECONDS"));
    let random_seed = || rand::random::<u32>().into();
    match (seed, seconds) {
        (None, None) => [FIXED_SEED, random_seed()].iter().for_each(|seed| play(*seed, SECONDS)),
        _ => play(seed.unwrap_or_else(random_seed), seconds.unwrap_or(SECONDS)),
    }
}

/// Plays round after round until the time is over.
fn play(seed: u64, seconds: u64) {
    let start = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    for round in 1.. {
        println!("CHAOS_SEED={seed} round {round}, after {:?}", start.elapsed());
        Game::new(&mut random).play(start + Duration::from_secs(seconds), &mut random);
        if start.elapsed() > Duration::from_secs(seconds) {
            println!("CHAOS_SEED={seed}: {round} rounds, all well");
            return;
        }
    }
}

/// One round.
struct Game {
    start: Instant,
    host: Host,
    world: World,
    /// The world when everything was settled the last time.
    settled: World,
    /// The acts since then.
    unsettled: Vec<Act>,
}

impl Game {
    fn new(random: &mut StdRng) -> Game {
        let start = Instant::now();
        let configuration = Configuration::draw(random);
        println!("configuration:{}", configuration.difference_from(None));
        let host = Host::new(&configuration);
        let world = World::new(configuration);
        let mut game = Game { start, host, settled: world.clone(), world, unsettled: Vec::new() };
        game.settle();
        game
    }

    /// Goes on for the acts of a round, or until the time is over.
    fn play(mut self, end: Instant, random: &mut StdRng) {
        let first = self.world.configuration.clone();
        let needs = self.host.needs();
        println!("{:8.3} s  begins", self.start.elapsed().as_secs_f64());
        let patience = *PATIENCE.choose(random).unwrap();
        let mut frozen = 0;
        for _ in 0..ACTS {
            if Instant::now() > end {
                break;
            }
            frozen = if self.world.bird == Bird::Frozen { frozen + 1 } else { 0 };
            let act = if frozen > FROZEN_ACTS { Act::BirdGoesOn } else { Act::draw(&self.world, random) };
            let is_light = act.is_light();
            if !is_light && !self.unsettled.is_empty() {
                self.settle();
            }
            self.act(act);
            if !is_light || random.random_bool(patience) {
                self.settle();
            }
        }
        self.mend(first);
        self.settle();
        self.host.expect_no_more(&needs);
        self.host.lab.stop_daemon();
    }

    fn act(&mut self, act: Act) {
        println!("{:8.3} s  {}", self.start.elapsed().as_secs_f64(), act.describe(&self.world.configuration));
        self.host.play(&act, &self.world);
        self.world.apply(&act);
        self.unsettled.push(act);
    }

    /// Waits until what was done has had its effect, and sees that nothing else moved.
    fn settle(&mut self) {
        let acts = std::mem::take(&mut self.unsettled);
        self.world.settle();
        self.host.wait_settled(&self.world);
        if let [act] = &acts[..] {
            if act.is_calm() {
                self.host.expect_calm(&self.settled, &self.world);
            }
        }
        self.settled = self.world.clone();
        self.host.mark();
    }

    /// Puts all causes of failures right, with the configuration of the beginning.
    fn mend(&mut self, first: Configuration) {
        let hanging = self.world.hanging.iter().copied().map(Act::HangEnds);
        let mut acts: Vec<Act> = hanging.collect();
        match self.world.bird {
            Bird::Runs => {}
            Bird::Frozen => acts.push(Act::BirdGoesOn),
            Bird::Stopped => acts.push(Act::BirdStarts),
        }
        acts.push(Act::BirdConfMended);
        acts.extend([Act::Command(Mode::Works), Act::Custom(Mode::Works), Act::Disk(Disk::Works)]);
        acts.push(Act::WatchedProcess(true));
        for (name, _) in first.touchable() {
            acts.extend([Act::Floods(name, false), Act::LeavesChildren(name, false)]);
        }
        acts.push(Act::Reload(Box::new(Reload { word: "mend", configuration: first, newcomer: None })));
        acts.into_iter().for_each(|act| self.act(act));
    }
}

impl Drop for Game {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let comparison = self.host.comparison(&self.world, true);
            eprintln!("--- the model's expectation, and what there is{comparison}");
        }
    }
}
