//! Real threads and real programs; a reload is a list of services. Looks that are to find a stuck thread come at times that
//! the test makes up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use super::*;
use crate::check::event::Event;
use crate::check::health::{Progress, State};
use crate::check::state::{Intent, RunResult};
use crate::check::worker::tests::{context, service};
use crate::config::diff::diff;
use crate::config::settings::{OnDisabled, Service, Settings, TimedCommand};
use crate::drain_file::DrainEnd;
use crate::prefix::Prefix;
use crate::sys::orphans::MAX_PER_OWNER;
use crate::sys::pidfd::tests::Sleep;
use crate::sys::startup::allow_descriptors;
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{alone, beside_sudo, this_program, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// All that runs, and where its hints arrive.
struct Rig {
    dir: tempfile::TempDir,
    supervisor: Supervisor,
    checks: Arc<[Arc<Check>]>,
    settings: Settings,
    events: Receiver<Event>,
    stop: StopToken,
    watching: JoinHandle<()>,
}

impl Rig {
    fn new(services: impl FnOnce(&Rig) -> Vec<Service>) -> Rig {
        let stop = StopToken::new().unwrap();
        let (context, events, watching) = context(&stop);
        let settings = Settings { services: Vec::new(), ..crate::config::diff::tests::settings("", "") };
        let (supervisor, checks, dir) = (Supervisor::new(context), Arc::new([]), tempfile::tempdir().unwrap());
        let mut rig = Rig { dir, supervisor, checks, settings, events, stop, watching };
        let services = services(&rig);
        rig.reload(services);
        rig
    }

    /// Another configuration, whose new threads have not started yet.
    fn replace(&mut self, services: Vec<Service>) {
        let services = services.into_iter().map(Arc::new).collect();
        let change = diff(&self.settings, Settings { services, ..self.settings.clone() }).unwrap();
        self.checks = self.supervisor.replace(&self.checks, &change);
        self.settings = change.settings;
        assert!(self.checks.iter().map(|check| &check.service).eq(&self.settings.services));
    }

    fn reload(&mut self, services: Vec<Service>) {
        self.replace(services);
        self.look();
    }

    fn look(&mut self) {
        self.supervisor.poll(Instant::now());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A service whose check leaves a mark in a file at each run, then runs `script`.
    fn service(&self, name: &str, script: &str) -> Service {
        let mark = self.path(name);
        Service { name: name.into(), ..service(&format!("echo x >> {}; {script}", mark.display())) }
    }

    fn runs(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path(name)).unwrap_or_default().lines().count()
    }

    fn check(&self, name: &str) -> Arc<Check> {
        self.checks.iter().find(|check| check.name() == name).unwrap().clone()
    }

    fn state(&self, name: &str) -> State {
        self.check(name).state().state()
    }

    fn state_of_all(&self, expected: State) -> bool {
        self.checks.iter().all(|check| check.state().state() == expected)
    }

    /// Waits for the next hint, which is of the running check of this service, in this state.
    fn expect(&self, name: &str, state: State) {
        match self.events.recv_timeout(MINUTE).unwrap() {
            Event::Changed(check) => assert!(Arc::ptr_eq(&check, &self.check(name)), "{check:?}"),
            event => panic!("{event:?}"),
        }
        assert_eq!(self.state(name), state);
    }

    fn expect_silence(&self) {
        assert!(self.events.try_recv().is_err());
    }

    /// Orders runs of the one service there is until its check has `n` runs.
    fn run_until(&self, name: &str, n: usize) {
        for n in self.runs(name)..n {
            self.supervisor.check_now();
            wait_until("a run", || self.runs(name) > n);
        }
    }

    /// Stops everything, and hands out the names of the hints that nobody has taken.
    fn stop(self) -> Vec<String> {
        self.supervisor.stop();
        self.supervisor.into_threads().into_iter().for_each(|thread| thread.join().unwrap());
        self.stop.trigger();
        self.watching.join().unwrap();
        let name = |event| match event {
            Event::Changed(check) => check.name().to_string(),
            event => panic!("{event:?}"),
        };
        self.events.try_iter().map(name).collect()
    }

    /// [`Rig::stop`], and every hint has been taken.
    fn end(self) {
        assert_eq!(self.stop(), [""; 0]);
    }
}

#[test]
fn a_service_that_stays_the_same_notices_nothing() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true"), rig.service("b", "false")]);
    wait_until("both verdicts", || rig.checks.iter().all(|check| check.state().last.is_some()));
    let (a, b) = (rig.check("a"), rig.check("b"));
    for n in 0..50 {
        let other = Service { check_interval: Duration::from_secs(1000 + n), ..rig.service("c", "true") };
        rig.reload(vec![rig.service("b", "false"), other, rig.service("a", "true")]);
    }
    assert!(Arc::ptr_eq(&a, &rig.check("a")) && Arc::ptr_eq(&b, &rig.check("b")));
    assert_eq!((rig.runs("a"), rig.runs("b")), (1, 1));
    // They are the same threads: an order reaches each once.
    wait_until("the run of the last one", || rig.check("c").state().last.is_some());
    rig.supervisor.check_now();
    wait_until("a run of both", || (rig.runs("a"), rig.runs("b")) == (2, 2));
    for check in [a, b] {
        assert_eq!(check.state().transitions, 1);
    }
    let said = rig.stop();
    let of = |name: &str| said.iter().filter(|said| *said == name).count();
    assert_eq!((of("a"), of("b")), (1, 1));
}

#[test]
fn a_changed_check_starts_from_the_last_state_and_says_nothing_while_that_holds() {
    let fail = 3.try_into().unwrap();
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true")]);
    rig.expect("a", State::Up);
    let changed = Service { check_fail: fail, ..rig.service("a", "false") };
    rig.replace(vec![changed]);
    assert_eq!(rig.state("a"), State::Up);
    rig.look();
    // It runs at once, and three failures make it down.
    wait_until("a run", || rig.runs("a") == 2);
    rig.run_until("a", 3);
    wait_until("the second failure", || rig.check("a").state().counts.failed == 2);
    assert_eq!(rig.state("a"), State::Up);
    rig.expect_silence();
    rig.run_until("a", 4);
    rig.expect("a", State::Down);
    let state = rig.check("a").state().clone();
    assert_eq!((state.counts.passed, state.counts.failed, state.transitions), (1, 3, 2));
    // The state is down by now, and one pass is enough.
    rig.replace(vec![rig.service("a", "true")]);
    assert_eq!(rig.state("a"), State::Down);
    rig.look();
    rig.expect("a", State::Up);
    rig.end();
}

#[test]
fn prefixes_that_a_service_gains_wait_for_the_verdict_of_its_check() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true")]);
    rig.expect("a", State::Up);
    let gained: Prefix = "10.9.0.2/32".parse().unwrap();
    let intents = |rig: &Rig| {
        let check = rig.check("a");
        let verdict = check.state().verdict();
        [check.service.prefixes[0], gained].map(|prefix| verdict.intent(&prefix))
    };
    let mut changed = Service { check_rise: 2.try_into().unwrap(), ..rig.service("a", "true") };
    changed.prefixes.push(gained);
    rig.replace(vec![changed.clone()]);
    assert_eq!(intents(&rig), [Intent::Advertise, Intent::Keep]);
    rig.look();
    wait_until("a pass", || rig.check("a").state().counts.passed == 2);
    // One more reload forgets nothing.
    changed.check_interval = Duration::from_secs(1000);
    rig.replace(vec![changed]);
    assert_eq!(intents(&rig), [Intent::Advertise, Intent::Keep]);
    rig.look();
    wait_until("a pass", || rig.check("a").state().counts.passed == 3);
    assert_eq!(intents(&rig), [Intent::Advertise, Intent::Keep]);
    rig.expect_silence();
    rig.run_until("a", 4);
    rig.expect("a", State::Up);
    assert_eq!(intents(&rig), [Intent::Advertise; 2]);
    assert_eq!(rig.check("a").state().progress, Some(Progress::Confirmed(State::Up)), "it was up all the time");
    rig.end();
}

/// Those that end do so at once, whatever their check does, and say nothing more; nobody waits for them.
#[test]
fn a_check_that_runs_is_killed_when_its_service_changes_or_goes() {
    let hang = |rig: &Rig| format!("touch {0}/$$; sleep 1103; exit 1", rig.path("pids").display());
    let mut rig = Rig::new(|rig| {
        std::fs::create_dir(rig.path("pids")).unwrap();
        vec![rig.service("a", &hang(rig)), rig.service("b", &hang(rig)), rig.service("c", &hang(rig))]
    });
    let pids = || std::fs::read_dir(rig.path("pids")).unwrap().map(|entry| entry.unwrap().file_name());
    wait_until("three checks", || pids().count() == 3);
    let alive = |rig: &Rig| {
        let pids = std::fs::read_dir(rig.path("pids")).unwrap().map(|entry| entry.unwrap().file_name());
        pids.filter(|pid| PathBuf::from("/proc").join(pid).exists()).count()
    };
    assert_eq!(alive(&rig), 3);
    let c = rig.service("c", &hang(&rig));
    rig.reload(vec![rig.service("b", "true"), c]);
    wait_until("two are killed", || alive(&rig) == 1);
    rig.expect("b", State::Up);
    rig.end();
}

#[test]
fn a_check_that_is_switched_off_and_on() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "false")]);
    rig.expect("a", State::Down);
    let off = |rig: &Rig, decision| Service { disabled: Some(decision), ..rig.service("a", "false") };
    rig.replace(vec![off(&rig, OnDisabled::Advertise)]);
    assert_eq!(rig.state("a"), State::Down);
    rig.look();
    rig.expect("a", State::Up);
    rig.replace(vec![rig.service("a", "false")]);
    assert_eq!(rig.state("a"), State::Up);
    rig.look();
    rig.expect("a", State::Down);
    assert_eq!(rig.check("a").state().counts.failed, 2);
    rig.reload(vec![off(&rig, OnDisabled::Withdraw)]);
    assert_eq!(rig.state("a"), State::Down);
    rig.reload(Vec::new());
    rig.end();
}

/// A random time before the first run is for the start of the daemon, when all begin at once.
#[test]
fn a_reload_starts_its_checks_at_once_whatever_splay_startup_says() {
    let mut rig = Rig::new(|_| Vec::new());
    rig.settings.services = ["a", "b"].map(|name| Arc::new(rig.service(name, "true"))).into();
    rig.checks = rig.settings.services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
    rig.supervisor.start(&rig.checks.clone(), Duration::MAX);
    rig.settings.daemon.splay_startup = Duration::MAX;
    let changed = Service { check_fail: 3.try_into().unwrap(), ..rig.service("b", "true") };
    rig.reload(vec![rig.service("a", "true"), changed, rig.service("c", "true")]);
    for _ in ["b", "c"] {
        assert!(matches!(rig.events.recv_timeout(MINUTE).unwrap(), Event::Changed(check) if check.name() != "a"));
    }
    assert_eq!((rig.state("a"), rig.state("b"), rig.state("c")), (State::Unknown, State::Up, State::Up));
    rig.end();
}

/// One check, up and asleep, and looks at times that are made up. The test says what its thread says.
struct Looks {
    rig: Rig,
    check: Arc<Check>,
    /// When the last look wanted the next one.
    planned: Instant,
}

impl Looks {
    fn new() -> Looks {
        let rig = Rig::new(|rig| vec![rig.service("a", "true")]);
        rig.expect("a", State::Up);
        let check = rig.check("a");
        let mut looks = Looks { rig, check, planned: Instant::now() };
        looks.wait_for_sleep();
        looks.progress();
        looks.look(Duration::ZERO);
        looks
    }

    /// Waits until the thread says nothing more by itself: it sleeps for a day.
    fn wait_for_sleep(&self) {
        let far = Instant::now() + 100 * MINUTE;
        wait_until("the sleep", || self.check.state().deadline().is_some_and(|at| at > far));
    }

    /// The thread says something before the next look, and has to say more within a minute of it.
    fn progress(&mut self) {
        self.check.state_mut().expect_progress_by(Some(self.planned + MINUTE));
    }

    /// Looks so much later than planned. Whether the service is declared stuck.
    fn look(&mut self, late: Duration) -> bool {
        let now = self.planned + late;
        self.planned = self.rig.supervisor.poll(now).unwrap();
        assert!(self.planned > now);
        self.check.state().is_stuck()
    }

    /// Looks as planned until the thread is overdue, and once more.
    fn look_until_overdue(&mut self) {
        let deadline = self.check.state().deadline().unwrap();
        while self.planned <= deadline {
            assert!(!self.look(Duration::ZERO));
        }
        assert!(!self.look(Duration::ZERO), "one look is not enough");
    }
}

#[test]
fn a_thread_that_is_overdue_at_two_looks_is_stuck() {
    let mut looks = Looks::new();
    looks.look_until_overdue();
    assert!(looks.look(Duration::ZERO));
    looks.rig.expect("a", State::Down);
    assert!(looks.look(Duration::ZERO), "once is enough");
    looks.rig.expect_silence();
    let state = looks.check.state().clone();
    assert_eq!((state.code, state.transitions), (Some(126), 2));
    // It is back, and hangs once more.
    looks.check.trigger.check_now();
    looks.rig.expect("a", State::Up);
    looks.wait_for_sleep();
    looks.progress();
    looks.look(Duration::ZERO);
    looks.look_until_overdue();
    assert!(looks.look(Duration::ZERO));
    looks.rig.expect("a", State::Down);
    looks.rig.end();
}

#[test]
fn after_the_machine_stood_still_nobody_is_stuck_who_goes_on() {
    let hour = 60 * MINUTE;
    // One late look, however late.
    let mut looks = Looks::new();
    assert!(!looks.look(hour));
    looks.progress();
    assert!(!looks.look(Duration::ZERO) && !looks.look(Duration::ZERO));
    // One overdue look that was on time, then progress.
    looks.look_until_overdue();
    looks.progress();
    assert!(!looks.look(Duration::ZERO) && !looks.look(Duration::ZERO));
    // As late again: what it said last was heard, and it goes on being late with each look.
    looks.look_until_overdue();
    for _ in 0..3 {
        let overdue = looks.planned - MINUTE;
        looks.check.state_mut().expect_progress_by(Some(overdue));
        assert!(!looks.look(Duration::ZERO));
    }
    // The machine stands still between the two looks: the second is late and says nothing, nor does the one after it.
    assert!(!looks.look(hour));
    assert!(!looks.look(Duration::ZERO));
    assert!(!looks.look(hour));
    assert!(!looks.look(ON_TIME), "that is late too");
    looks.rig.expect_silence();
    // And who does not go on is found all the same.
    assert!(!looks.look(Duration::ZERO));
    assert!(looks.look(Duration::ZERO));
    looks.rig.expect("a", State::Down);
    looks.rig.end();
}

/// The main thread looks whenever something wakes it, a signal, say.
#[test]
fn looks_that_follow_one_another_at_once_are_one_look() {
    let mut looks = Looks::new();
    assert!(!looks.look(60 * MINUTE));
    let now = looks.planned - ON_TIME;
    for n in 1..100 {
        let planned = looks.rig.supervisor.poll(now + n * Duration::from_millis(1)).unwrap();
        assert!(!looks.check.state().is_stuck(), "{n} ms after a machine that stood still");
        looks.planned = planned;
    }
    // They put off nothing.
    looks.planned = now + ON_TIME + Duration::from_millis(1);
    assert!(looks.look(Duration::ZERO));
    looks.rig.expect("a", State::Down);
    looks.rig.end();
}

#[test]
fn a_drained_service_is_not_stuck_until_the_drain_ends() {
    let mut looks = Looks::new();
    let _ = looks.check.state_mut().drain("/run/drain".into(), DrainEnd::Never);
    looks.look_until_overdue();
    assert!(!looks.look(Duration::ZERO) && !looks.look(Duration::ZERO));
    let _ = looks.check.state_mut().end_drain(&looks.check.service);
    assert!(!looks.look(Duration::ZERO));
    assert!(looks.look(Duration::ZERO));
    // It was down all the time: nothing is to be done for it.
    looks.rig.expect_silence();
    looks.rig.end();
}

#[test]
fn a_stuck_service_takes_its_state_along() {
    let Looks { mut rig, check, .. } = Looks::new();
    let change = check.state_mut().declare_stuck();
    rig.supervisor.context.announcer.announce(&check, change);
    rig.expect("a", State::Down);
    let changed = Service { check_rise: 2.try_into().unwrap(), ..rig.service("a", "true") };
    rig.replace(vec![changed]);
    assert_eq!((rig.state("a"), rig.check("a").state().is_stuck()), (State::Down, false), "that was the other thread");
    rig.look();
    wait_until("a pass", || rig.runs("a") == 2);
    rig.run_until("a", 3);
    rig.expect("a", State::Up);
    rig.end();
}

/// Its process goes on being watched by the check that follows, its hook hears of changes alone, and what watched for the
/// check that ended keeps nobody.
#[test]
fn a_changed_check_takes_over_its_process_and_its_hook() {
    let mut sleep = Sleep::start();
    let mut rig = Rig::new(|_| Vec::new());
    let (pidfile, told) = (rig.path("pid"), rig.path("told"));
    crate::testing::isolated::sh(&format!("echo {} >{}", sleep.pid(), pidfile.display()));
    let service = |rig: &Rig, n: u64| {
        let hook = format!("sh -c 'echo $OLD_STATE $NEW_STATE >>{}'", told.display());
        let command = crate::command::Command::parse(&hook).unwrap();
        let state_change = Some(TimedCommand { command, timeout: MINUTE });
        let alive = format!("grep -q '^State:.[^Z]' /proc/{}/status", sleep.pid());
        let check_interval = Duration::from_secs(10_000 + n);
        Service { watch_pidfile: Some(pidfile.clone()), state_change, check_interval, ..rig.service("a", &alive) }
    };
    let [first, second] = [1, 2].map(|n| service(&rig, n));
    rig.reload(vec![first]);
    rig.expect("a", State::Up);
    rig.reload(vec![second]);
    wait_until("a run", || rig.check("a").state().counts.passed == 2);
    sleep.kill();
    rig.expect("a", State::Down);
    wait_until("the hooks", || std::fs::read_to_string(&told).unwrap_or_default() == "unknown up\nup down\n");
    assert_eq!(rig.runs("a"), 3);
    rig.end();
}

/// A check that a reload ends and that may not be killed: while it runs its service gets four of them and no more, also
/// where each came with a reload; it is reaped when it ends, though no check is left that could do it.
#[test]
fn a_check_that_cannot_be_killed_is_reaped_after_the_reload_that_ended_it() {
    let name = "check::supervisor::tests::a_check_that_cannot_be_killed_is_reaped_after_the_reload_that_ended_it";
    let Some(sudo) = beside_sudo(name) else { return };
    let (go, dir) = (sudo.with_file_name("go"), sudo.parent().unwrap().to_path_buf());
    let service = |rig: &Rig, n: u64| {
        let script =
            format!("touch {0}/$$.pid; while [ -d {0} -a ! -e {1} ]; do sleep 0.01; done", dir.display(), go.display());
        let command = format!("{} --reuid=0 --clear-groups sh -c '{script}'", sudo.display());
        let check_cmd = crate::command::Command::parse(&command).unwrap();
        Service { check_cmd, check_interval: Duration::from_secs(10_000 + n), ..rig.service("a", "") }
    };
    let pids = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "pid")).collect()
    };
    let mut rig = Rig::new(|_| Vec::new());
    for n in 1..=MAX_PER_OWNER {
        let new = service(&rig, n as u64);
        rig.reload(vec![new]);
        wait_until("a check", || pids().len() == n);
        rig.reload(Vec::new());
        wait_until("what the reload left", || rig.supervisor.context.orphans.reap() == n);
    }
    let last = service(&rig, 1000);
    rig.reload(vec![last]);
    rig.expect("a", State::Down);
    let why = format!("{MAX_PER_OWNER} earlier runs could not be killed and still run");
    let result = rig.check("a").state().last.as_ref().map(|last| last.result.clone());
    assert_eq!(result, Some(RunResult::NotStarted(why)));
    rig.reload(Vec::new());
    let here = |pid: &PathBuf| PathBuf::from("/proc").join(pid.file_stem().unwrap()).exists();
    assert!(pids().iter().all(here) && pids().len() == MAX_PER_OWNER);
    // Nothing runs, and yet the next look is never far.
    assert!(rig.supervisor.poll(Instant::now()).is_some());
    std::fs::File::create(&go).unwrap();
    wait_until("the last look", || rig.supervisor.poll(Instant::now()).is_none());
    assert!(!pids().iter().any(here), "no zombie");
    rig.end();
}

/// The soft limit is one that many systems have. The checks run under it, though the daemon does not.
#[test]
fn more_services_than_the_soft_limit_of_open_files() {
    let name = "check::supervisor::tests::more_services_than_the_soft_limit_of_open_files";
    if !alone(name, &["prlimit", "--nofile=256:8192"], &this_program()) {
        return;
    }
    allow_descriptors(300).unwrap();
    // It may see the raised limit for a moment.
    let script = "until [ $(ulimit -n) = 256 ]; do sleep 0.01; done";
    let rig = Rig::new(|_| (0..300).map(|n| Service { name: format!("s{n}"), ..service(script) }).collect());
    wait_until("all verdicts", || rig.state_of_all(State::Up));
    assert_eq!(rig.stop().len(), 300);
}

/// Those that find no descriptor are unknown, and say why; they take none from the checks that run.
#[test]
fn more_services_than_the_hard_limit_of_open_files() {
    let name = "check::supervisor::tests::more_services_than_the_hard_limit_of_open_files";
    if !alone(name, &["prlimit", "--nofile=128:128"], &this_program()) {
        return;
    }
    assert!(allow_descriptors(150).is_err());
    let script = "sleep 0.01";
    let rig = Rig::new(|_| (0..150).map(|n| Service { name: format!("s{n}"), ..service(script) }).collect());
    // A thread takes none; of the checks as many run at a time as find some.
    wait_until("all verdicts", || rig.state_of_all(State::Up));
    // And none was down meanwhile.
    assert!(rig.checks.iter().all(|check| check.state().transitions == 1));
    assert_eq!(rig.stop().len(), 150);
}

/// Each program that is started copies the table of descriptors, and a host may have a thousand services.
#[test]
fn a_service_that_waits_takes_no_descriptor_and_its_thread_little_memory() {
    let name = "check::supervisor::tests::a_service_that_waits_takes_no_descriptor_and_its_thread_little_memory";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut rig = Rig::new(|rig| vec![rig.service("first", "true")]);
    wait_until("its run", || rig.state_of_all(State::Up));
    let (open, others) = (descriptors(), stacks());
    let ends = ["true", "echo out; echo err >&2; exit 1"];
    let services = (0..50).map(|n| rig.service(&format!("s{n}"), ends[n % 2]));
    rig.reload(services.chain([rig.service("first", "true")]).collect());
    wait_until("all runs", || rig.checks.iter().all(|check| check.state().last.is_some()));
    // While a program runs there are some, which the thread drops before it sleeps.
    wait_until("descriptors as before", || descriptors() == open);
    let new: Vec<usize> = stacks().into_iter().filter(|(at, _)| !others.contains_key(at)).map(|(_, kb)| kb).collect();
    assert_eq!(new.len(), 50, "one stack a check thread");
    // Two pages, and one more where nothing is optimized.
    let most = if cfg!(debug_assertions) { 12 } else { 8 };
    assert!(new.iter().all(|kb| *kb <= most), "{new:?} kB");
    rig.stop();
}

/// The stacks of the check threads: where they are, and how many kB of them are in memory.
fn stacks() -> BTreeMap<String, usize> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut stacks = BTreeMap::new();
    let mut at = None;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match (words.next().unwrap_or_default(), words.next()) {
            ("Size:", Some("256")) => {}
            ("Size:", _) => at = None,
            ("Rss:", Some(kb)) => {
                stacks.extend(at.take().map(|at| (at, kb.parse().unwrap())));
            }
            (range, Some("rw-p")) => at = Some(range.to_string()),
            _ => {}
        }
    }
    stacks
}
