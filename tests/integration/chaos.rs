//! Chaos: everything that can go wrong goes wrong at random, and after each round the router has what it should have.
//!
//! `CHAOS_SEED=1234` plays the decisions of that seed again, `CHAOS_SECONDS=300` goes on for longer. The decisions depend on
//! the seed alone, so that a seed that failed plays the same game again; what the machine makes of it may differ.
//!
//! What is checked in each round: two services that are healthy all the time never lose their routes (but while BIRD
//! itself is stopped); once everything is mended the router has the routes of those that are healthy and no others, with
//! nobody doing anything about it; processes, threads, descriptors and memory are what they were.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::lab::router::Mark;
use crate::lab::service::Service;
use crate::lab::Lab;

/// How long it goes on, where nothing else is said: long enough for some rounds.
const SECONDS: u64 = 20;
/// Never touched.
const STEADY: [(&str, &str); 2] = [("steady", "10.52.12.1/32"), ("steady6", "2001:db8:52::1/128")];
/// What happens to these.
const POOR: [(&str, &str); 4] =
    [("a", "10.52.12.2/32"), ("b", "10.52.12.3/32"), ("c", "2001:db8:52::2/128"), ("d", "2001:db8:52::3/128")];
/// The check of the latter: hangs, floods its output and leaves children behind, where a file says so.
const CHECK: &str = "for what in hang flood fork; do test -e $what-$NAME && echo $what; done | { read -r what\n\
    test \"$what\" = hang && sleep 1001; test \"$what\" = flood && yes | head -c 5000000; true; }\n\
    test -e fork-$NAME && { sleep 1002 & }\ntest -e $ALIVE";
/// The reconfigure command, which does what a file says.
const BIRDC: &str = "case $(cat birdc-mode) in\n\
    fails) echo no >&2; exit 1 ;;\n\
    hangs) sleep 1003 ;;\n\
    lies) printf 'BIRD 2.0.12 ready.\\nReading configuration from x\\nwhatever\\n'; exit 0 ;;\n\
    babbles) head -c 100000 /dev/urandom; exit 1 ;;\nesac\n$BIRDC";
/// How much more memory the daemon may have in the end.
const MORE_MEMORY: u64 = 16 * 1024;

/// Something that goes wrong, or right again.
#[derive(Clone, Copy, Debug)]
enum Deed {
    DieOrRevive(usize),
    HangOrNot(usize),
    FloodOrNot(usize),
    ForkOrNot(usize),
    AddressOrNot(usize),
    Birdc(&'static str),
    BirdStops,
    BirdFreezes,
    BirdConfBreaks,
    ListDamaged(&'static str),
    DiskFull,
    DiskReadOnly,
    CheckNow(u32),
    DaemonKilled,
    DaemonRestarted,
    Pause(u64),
}

impl Deed {
    fn draw(random: &mut StdRng) -> Deed {
        let who = random.random_range(0..POOR.len());
        match random.random_range(0..22) {
            0..5 => Deed::DieOrRevive(who),
            5 => Deed::HangOrNot(who),
            6 => Deed::FloodOrNot(who),
            7 => Deed::ForkOrNot(who),
            8 | 9 => Deed::AddressOrNot(who),
            10 => Deed::Birdc("fails"),
            11 => Deed::Birdc("hangs"),
            12 => Deed::Birdc(if random.random() { "lies" } else { "babbles" }),
            13 if random.random_bool(0.3) => Deed::BirdStops,
            13 | 14 => Deed::BirdFreezes,
            15 => Deed::BirdConfBreaks,
            // None of these is a good list without the steady services: BIRD may read what somebody puts there.
            16 => Deed::ListDamaged(["", "define ACAST_PS_", "\0\u{1}]; [[", GIVEN][random.random_range(0..4)]),
            17 => Deed::DiskFull,
            18 => Deed::DiskReadOnly,
            19 => Deed::CheckNow(random.random_range(1..100)),
            20 if random.random() => Deed::DaemonKilled,
            20 => Deed::DaemonRestarted,
            _ => Deed::Pause(random.random_range(0..400)),
        }
    }
}

/// A list that BIRD would take.
const GIVEN: &str = "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, 10.52.12.1/32, 10.52.12.3/32, 10.66.6.6/32 ];\n";

/// What is true of a service that things happen to.
#[derive(Clone, Copy, Debug)]
struct Truth {
    alive: bool,
    hangs: bool,
    has_address: bool,
}

/// What the daemon needs while nothing happens.
struct Needs {
    threads: usize,
    descriptors: usize,
    kilobytes: u64,
}

struct Game {
    lab: Lab,
    truth: [Truth; POOR.len()],
    /// Since when the steady services have had their routes without a break.
    steady: Option<Mark>,
    bird_runs: bool,
    bird_conf: String,
    needs: Option<Needs>,
}

#[test]
fn whatever_happens_routes_come_right_again_and_those_of_the_healthy_never_leave() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("CHAOS_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let end = Instant::now() + Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(SECONDS));
    println!("CHAOS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut game = Game::new(random.random());
    for round in 1.. {
        let deeds: Vec<Deed> = (0..random.random_range(3..12)).map(|_| Deed::draw(&mut random)).collect();
        println!("CHAOS_SEED={seed} round {round}: {deeds:?}");
        deeds.into_iter().for_each(|deed| game.play(deed));
        game.mend();
        game.check();
        if Instant::now() > end {
            println!("CHAOS_SEED={seed}: {round} rounds, all well");
            break;
        }
    }
    game.lab.stop_daemon();
}

impl Game {
    fn new(by_socket: bool) -> Game {
        let poor = |(name, prefix)| {
            let check = CHECK.replace("$NAME", name);
            Service::new(name, prefix).check(&check).with("check_timeout", "0.7").with("check_fail", "2")
        };
        let steady = STEADY.map(|(name, prefix)| Service::new(name, prefix));
        let mut lab = Lab::advertising(steady.into_iter().chain(POOR.map(poor)));
        lab.reconfigure_script(BIRDC);
        fs::write(lab.file("birdc-mode"), "").unwrap();
        println!("BIRD is told by {}", if by_socket { "its control socket" } else { "command" });
        if by_socket {
            let socket = lab.file("host.ctl").display().to_string();
            lab.option("bird_control_socket", &socket);
            lab.option("bird6_control_socket", &socket);
        }
        // A disk for the list of IPv6, to be filled. It is seen on the host only.
        let (list, kept) = (lab.list_path(1).display().to_string(), lab.file("kept").display().to_string());
        lab.on_host("cp", &[&list, &kept]);
        lab.on_host("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &lab.file("6").display().to_string()]);
        lab.on_host("cp", &[&kept, &list]);
        lab.start_daemon();
        let bird_conf = fs::read_to_string(lab.file("host.conf")).unwrap();
        let truth = [Truth { alive: true, hangs: false, has_address: true }; POOR.len()];
        let mark = lab.routes.mark();
        let mut game = Game { lab, truth, steady: Some(mark), bird_runs: true, bird_conf, needs: None };
        game.check();
        game
    }

    fn play(&mut self, deed: Deed) {
        let lab = &mut self.lab;
        match deed {
            Deed::DieOrRevive(who) => {
                let truth = &mut self.truth[who];
                truth.alive = !truth.alive;
                if truth.alive {
                    lab.revive(POOR[who].0)
                } else {
                    lab.kill(POOR[who].0)
                }
            }
            Deed::HangOrNot(who) => {
                self.truth[who].hangs = toggle(lab, &format!("hang-{}", POOR[who].0));
            }
            Deed::FloodOrNot(who) => _ = toggle(lab, &format!("flood-{}", POOR[who].0)),
            Deed::ForkOrNot(who) => _ = toggle(lab, &format!("fork-{}", POOR[who].0)),
            Deed::AddressOrNot(who) => {
                let truth = &mut self.truth[who];
                truth.has_address = !truth.has_address;
                let change = if truth.has_address { Lab::add_address } else { Lab::remove_address };
                change(lab, POOR[who].1, "lo");
            }
            Deed::Birdc(mode) => fs::write(lab.file("birdc-mode"), mode).unwrap(),
            Deed::BirdStops => self.stop_bird(),
            Deed::BirdFreezes if self.bird_runs => lab.signal_bird(Signal::SIGSTOP),
            Deed::BirdFreezes => {}
            Deed::BirdConfBreaks => {
                fs::write(lab.file("host.conf"), format!("{}\nprotocol x {{\n", self.bird_conf)).unwrap()
            }
            Deed::ListDamaged(text) => fs::write(lab.list_path(0), text).unwrap(),
            Deed::DiskFull => _ = self.in_disk("dd if=/dev/zero of=fill bs=4k 2>/dev/null; true"),
            Deed::DiskReadOnly => self.remount("ro"),
            Deed::CheckNow(times) => (0..times).for_each(|_| lab.signal(Signal::SIGURG)),
            Deed::DaemonKilled => {
                wait_for_list(lab);
                lab.signal(Signal::SIGKILL);
                assert_eq!(lab.wait_exit(), None, "it was killed");
                // As a supervisor does: what it started is ended, too.
                for pid in ["checks/", "configure", "sleep 100"].iter().flat_map(|text| lab.processes(text)) {
                    // It may have ended by itself.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                start_daemon(lab);
            }
            Deed::DaemonRestarted => {
                wait_for_list(lab);
                lab.stop_daemon();
                start_daemon(lab);
            }
            Deed::Pause(milliseconds) => std::thread::sleep(Duration::from_millis(milliseconds)),
        }
    }

    fn stop_bird(&mut self) {
        if std::mem::take(&mut self.bird_runs) {
            self.expect_steady();
            self.steady = None;
            self.lab.signal_bird(Signal::SIGCONT);
            self.lab.stop_bird();
        }
    }

    /// The causes are put right; the daemon has to do the rest.
    fn mend(&mut self) {
        fs::write(self.lab.file("birdc-mode"), "").unwrap();
        fs::write(self.lab.file("host.conf"), &self.bird_conf).unwrap();
        self.remount("rw");
        self.in_disk("rm -f fill");
        if self.bird_runs {
            self.lab.signal_bird(Signal::SIGCONT);
        } else {
            // BIRD does not start with a list that it cannot read.
            self.lab.wait_until("the list to be mended", |lab| lab.listed().is_some());
            self.lab.start_bird();
            self.bird_runs = true;
        }
    }

    fn check(&mut self) {
        let poor = POOR.iter().zip(&self.truth).filter(|(_, truth)| truth.alive && !truth.hangs && truth.has_address);
        let wanted: BTreeSet<&str> =
            STEADY.iter().chain(poor.map(|(service, _)| service)).map(|(_, prefix)| *prefix).collect();
        let all = || STEADY.iter().chain(&POOR).map(|(_, prefix)| *prefix);
        let has = |lab: &Lab| all().filter(|prefix| lab.routes.has(prefix)).collect::<BTreeSet<_>>();
        let is_quiet = |lab: &Lab| has(lab) == wanted && !lab.routes.has("10.66.6.6/32");
        self.lab.wait_until(&format!("the router to have {wanted:?}"), is_quiet);
        // Each service is checked once more, and that changes nothing.
        if self.steady.is_none() {
            self.steady = Some(self.lab.routes.mark());
        }
        self.lab.wait_runs("steady", 3);
        self.lab.wait_until(&format!("the router to have {wanted:?} still"), is_quiet);
        self.expect_steady();
        self.expect_little();
    }

    #[track_caller]
    fn expect_steady(&self) {
        let Some(mark) = self.steady else { return };
        STEADY.iter().for_each(|(_, prefix)| self.lab.routes.expect_still(prefix, mark));
    }

    /// The daemon comes back to what it needed in the beginning; nothing that it started is left, but what hangs now.
    fn expect_little(&mut self) {
        let daemon = self.lab.processes("daemon.conf").into_iter().min().unwrap();
        let count = move |what: &str| fs::read_dir(format!("/proc/{daemon}/{what}")).map_or(0, Iterator::count);
        let kilobytes = move || {
            let status = fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let Some(needs) = &self.needs else {
            let least = |what: &str| {
                (0..200)
                    .map(|_| {
                        std::thread::sleep(Duration::from_millis(2));
                        count(what)
                    })
                    .min()
                    .unwrap()
            };
            self.needs = Some(Needs { threads: least("task"), descriptors: least("fd"), kilobytes: kilobytes() });
            return;
        };
        let lab = &self.lab;
        lab.wait_until("the daemon's threads to be as many as before", |_| count("task") <= needs.threads);
        // A check that hangs is nearly always running: two pipes with two ends each, and the process.
        let running = 5 * self.truth.iter().filter(|truth| truth.hangs).count();
        let descriptors = needs.descriptors + running;
        lab.wait_until("the daemon's descriptors to be as many as before", |_| count("fd") <= descriptors);
        assert!(kilobytes() < needs.kilobytes + MORE_MEMORY, "{} kB, at first {}", kilobytes(), needs.kilobytes);
        lab.wait_until("its children to be gone", |lab| lab.processes("sleep 1003").is_empty());
        if !self.truth.iter().any(|truth| truth.hangs) {
            lab.wait_until("children of checks to be gone", |lab| lab.processes("sleep 1001").is_empty());
        }
        lab.wait_until("children of children to be gone", |lab| lab.processes("sleep 1002").is_empty());
    }

    fn in_disk(&self, script: &str) -> String {
        self.lab.on_host("sh", &["-c", &format!("cd {} && {script}", self.lab.file("6").display())])
    }

    /// The kernel refuses while the daemon is writing there.
    fn remount(&self, how: &str) {
        let disk = self.lab.file("6").display().to_string();
        let again = format!("until mount -o remount,{how} {disk} 2>/dev/null; do sleep 0.01; done");
        self.lab.on_host("sh", &["-c", &again]);
    }
}

/// A list that was made from nothing, where somebody left nothing of it, is not yet to be taken for the truth by a daemon
/// that starts.
fn wait_for_list(lab: &Lab) {
    let of_nothing = |list: BTreeSet<String>| !list.contains(STEADY[0].1);
    lab.wait_until("a list that was made from nothing to be filled", |lab| !lab.listed().is_some_and(of_nothing));
}

/// A signal before this is over would find a program that does not know it yet.
fn start_daemon(lab: &mut Lab) {
    let starts = |lab: &Lab| lab.log("daemon.log").matches("initialize healthchecker").count();
    let before = starts(lab);
    lab.start_daemon();
    lab.wait_until("the daemon to start", |lab| starts(lab) > before);
}

/// Makes the file or removes it; whether it is there now.
fn toggle(lab: &Lab, name: &str) -> bool {
    let is_there = lab.file(name).exists();
    if is_there {
        lab.remove(name)
    } else {
        lab.touch(name)
    }
    !is_there
}
