//! Chaos: everything that can go wrong goes wrong at random, and after each round the router has what it should have.
//!
//! `CHAOS_SEED=1234` plays the decisions of that seed again, `CHAOS_SECONDS=300` goes on for longer. The decisions depend on
//! the seed alone, so that a seed that failed plays the same game again; what the machine makes of it may differ.
//!
//! ```text
//!   a round:   some acts of the table   ->   the causes are mended   ->   invariants   ->   the next round
//! ```
//!
//! What is checked in each round: two services that are healthy all the time never lose their routes (but while BIRD
//! itself is stopped); once everything is mended the router has the routes of those that are wanted and no others, with
//! nobody doing anything about it; processes, threads, descriptors and memory are what they were. Whether a service is
//! wanted is said by the files that say so to the daemon, too, and by what the game did to its address.

mod acts;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
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
/// Of nobody, and nevertheless in a list that somebody puts in place.
const STRANGER: &str = "10.66.6.6/32";
/// The check of the poor: hangs, floods its output and leaves children behind, where a file says so.
const CHECK: &str = "for what in hang flood fork; do test -e $what-$NAME && echo $what; done | { read -r what\n\
    test \"$what\" = hang && sleep 1001; test \"$what\" = flood && yes | head -c 5000000; true; }\n\
    test -e fork-$NAME && { sleep 1002 & }\ntest -e $ALIVE";
/// The reconfigure command, which does what a file says.
const BIRDC: &str = "case $(cat birdc-mode) in\n\
    fails) echo no >&2; exit 1 ;;\n\
    hangs) sleep 1003 ;;\n\
    lies) printf 'BIRD 2.0.12 ready.\\nReading configuration from x\\nwhatever\\n'; exit 0 ;;\n\
    babbles) head -c 100000 /dev/urandom; exit 1 ;;\nesac\n$BIRDC";
/// What `a` watches: its end has it checked at once, and nothing more.
const WATCHED: &str = "sleep 7004";
/// How much more memory the daemon may have in the end, in kB.
const MORE_MEMORY: u64 = 16 * 1024;

/// What the daemon needs while nothing happens, and how many processes there are then.
struct Needs {
    threads: usize,
    descriptors: usize,
    kilobytes: u64,
    processes: usize,
}

struct Game {
    lab: Lab,
    has_address: [bool; POOR.len()],
    /// The sections of the poor services, as they were in the beginning.
    sections: Vec<String>,
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
        let acts: Vec<acts::Act> = (0..random.random_range(3..14)).map(|_| acts::Act::draw(&mut random)).collect();
        println!("CHAOS_SEED={seed} round {round}: {acts:?}");
        acts.iter().for_each(|act| act.play(&mut game));
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
            let service = Service::new(name, prefix).check(&CHECK.replace("$NAME", name)).with("check_timeout", "0.7");
            let service = service.with("check_fail", "2").with("drain_file", &format!("{{lab}}/drain-{name}"));
            match name {
                "a" => service.with("watch_pidfile", "{lab}/a.pid"),
                "c" => service.with("check_fast_interval", "0.05"),
                _ => service,
            }
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
        let mut game = Game {
            has_address: [true; POOR.len()],
            sections: POOR.map(|(name, _)| lab.log(&format!("services.d/{name}.conf"))).into(),
            steady: Some(lab.routes.mark()),
            bird_runs: true,
            bird_conf: lab.log("host.conf"),
            needs: None,
            lab,
        };
        game.start_watched();
        game.lab.start_daemon();
        game.check();
        game
    }

    /// The causes are put right; the daemon has to do the rest.
    fn mend(&mut self) {
        fs::write(self.lab.file("birdc-mode"), "").unwrap();
        self.remount("rw");
        self.in_disk("rm -f fill");
        if self.lab.processes(WATCHED).is_empty() {
            self.start_watched();
        }
        self.mend_configuration();
        self.reload();
        self.start_bird();
        self.lab.signal_bird(Signal::SIGCONT);
    }

    fn check(&mut self) {
        let poor = (0..POOR.len()).filter(|who| self.is_wanted(*who)).map(|who| POOR[who].1);
        let wanted: BTreeSet<&str> = STEADY.iter().map(|(_, prefix)| *prefix).chain(poor).collect();
        let all = || STEADY.iter().chain(&POOR).map(|(_, prefix)| *prefix);
        let has = |lab: &Lab| all().filter(|prefix| lab.routes.has(prefix)).collect::<BTreeSet<_>>();
        let is_quiet = |lab: &Lab| has(lab) == wanted && !lab.routes.has(STRANGER);
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

    /// It is in the configuration, assigned, in good health, and nobody has drained it.
    fn is_wanted(&self, who: usize) -> bool {
        let is_there = |file: PathBuf| file.exists();
        self.has_address[who]
            && is_there(self.section_of(who))
            && is_there(self.of("alive/", who))
            && !is_there(self.of("hang-", who))
            && !is_there(self.of("drain-", who))
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
        let lab = &self.lab;
        let Some(needs) = &self.needs else {
            // While no check runs, which is so at one of these moments.
            let moments: Vec<[usize; 3]> = (0..200)
                .map(|_| {
                    std::thread::sleep(Duration::from_millis(2));
                    [count("task"), count("fd"), lab.processes("").len()]
                })
                .collect();
            let [threads, descriptors, processes] =
                [0, 1, 2].map(|what| moments.iter().map(|moment| moment[what]).min().unwrap());
            self.needs = Some(Needs { threads, descriptors, kilobytes: kilobytes(), processes });
            return;
        };
        // Its threads are fewer where services are not in the configuration.
        lab.wait_until("the daemon's threads to be as many as before", |_| count("task") <= needs.threads);
        // A check that hangs is nearly always running: two pipes with two ends each, and the process.
        let hanging = (0..POOR.len()).filter(|who| self.of("hang-", *who).exists()).count();
        let descriptors = needs.descriptors + 5 * hanging;
        lab.wait_until("the daemon's descriptors to be as many as before", |_| count("fd") <= descriptors);
        assert!(kilobytes() < needs.kilobytes + MORE_MEMORY, "{} kB, at first {}", kilobytes(), needs.kilobytes);
        lab.wait_until("its children to be gone", |lab| lab.processes("sleep 1003").is_empty());
        lab.wait_until("children of children to be gone", |lab| lab.processes("sleep 1002").is_empty());
        if hanging == 0 {
            lab.wait_until("processes to be as many as before", |lab| lab.processes("").len() <= needs.processes);
        }
    }

    // --- what acts and mending have in common ---

    /// A file of a poor service: what it is for, and whose it is.
    fn of(&self, what: &str, who: usize) -> PathBuf {
        self.lab.file(&format!("{what}{}", POOR[who].0))
    }

    fn section_of(&self, who: usize) -> PathBuf {
        self.lab.file(&format!("services.d/{}.conf", POOR[who].0))
    }

    /// Has the daemon read its configuration; when it does so is its own affair.
    fn reload(&self) {
        self.lab.signal(Signal::SIGHUP);
    }

    /// What keeps a daemon from starting.
    fn mend_configuration(&self) {
        // It may be whole.
        let _ = fs::remove_file(self.lab.file("services.d/broken.conf"));
    }

    fn start_daemon(&mut self) {
        self.mend_configuration();
        let starts = |lab: &Lab| lab.log("daemon.log").matches("initialize healthchecker").count();
        let before = starts(&self.lab);
        self.lab.start_daemon();
        // A signal before this is over would find a program that does not know it yet.
        self.lab.wait_until("the daemon to start", |lab| starts(lab) > before);
    }

    /// A list that was made from nothing, where somebody left nothing of it, is not yet to be taken for the truth by a
    /// daemon that starts.
    fn wait_for_list(&self) {
        let of_nothing = |list: BTreeSet<String>| !list.contains(STEADY[0].1);
        let is_filled = |lab: &Lab| !lab.listed().is_some_and(of_nothing);
        self.lab.wait_until("a list that was made from nothing to be filled", is_filled);
    }

    /// With a configuration that it can read.
    fn start_bird(&mut self) {
        fs::write(self.lab.file("host.conf"), &self.bird_conf).unwrap();
        if !std::mem::replace(&mut self.bird_runs, true) {
            // It does not start with a list that it cannot read either.
            self.lab.wait_until("the list to be mended", |lab| lab.listed().is_some());
            self.lab.start_bird();
        }
    }

    fn stop_bird(&mut self) {
        self.expect_steady();
        self.steady = None;
        self.bird_runs = false;
        self.lab.signal_bird(Signal::SIGCONT);
        self.lab.stop_bird();
    }

    fn start_watched(&self) {
        let lab = self.lab.path().display();
        let script = format!("{WATCHED} </dev/null >/dev/null 2>&1 & echo $! >{lab}/a.pid");
        self.lab.on_host("/bin/sh", &["-c", &script]);
    }

    fn in_disk(&self, script: &str) {
        self.lab.on_host("sh", &["-c", &format!("cd {} && {script}", self.lab.file("6").display())]);
    }

    /// The kernel refuses while the daemon is writing there.
    fn remount(&self, how: &str) {
        let disk = self.lab.file("6").display().to_string();
        let again = format!("until mount -o remount,{how} {disk} 2>/dev/null; do sleep 0.01; done");
        self.lab.on_host("sh", &["-c", &again]);
    }
}
