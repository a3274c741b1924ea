//! Tests with real threads and real programs. A reload is a list of services. Polls that are to
//! find a stuck thread come at times that the test chooses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use super::*;
use crate::check::event::Event;
use crate::check::health::{Progress, State};
use crate::check::state::{Intent, RunResult};
use crate::check::worker::tests::{context, service, Shared};
use crate::config::diff::diff;
use crate::config::settings::{OnDisabled, Service, Settings, TimedCommand};
use crate::drain_file::DrainEnd;
use crate::prefix::Prefix;
use crate::sys::orphans::MAX_PER_OWNER;
use crate::sys::pidfd::tests::Sleep;
use crate::sys::startup::raise_descriptor_limit;
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{alone, beside_sudo, this_program, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// A supervisor with its checks, and the receiver of their hints.
struct Rig {
    dir: tempfile::TempDir,
    supervisor: Supervisor,
    checks: Arc<[Arc<Check>]>,
    settings: Settings,
    events: Receiver<Event>,
    stop: StopToken,
    address_thread: JoinHandle<()>,
}

impl Rig {
    fn new(services: impl FnOnce(&Rig) -> Vec<Service>) -> Rig {
        let stop = StopToken::new().unwrap();
        let Shared { context, events, address_thread } = context(&stop);
        let mut rig = Rig {
            dir: tempfile::tempdir().unwrap(),
            supervisor: Supervisor::new(context),
            checks: Arc::new([]),
            settings: Settings { services: Vec::new(), ..crate::config::diff::tests::settings("", "") },
            events,
            stop,
            address_thread,
        };
        let services = services(&rig);
        rig.reload(services);
        rig
    }

    /// Reloads, without starting the new threads yet.
    fn replace(&mut self, services: Vec<Service>) {
        let services = services.into_iter().map(Arc::new).collect();
        let change = diff(&self.settings, Settings { services, ..self.settings.clone() }).unwrap();
        self.checks = self.supervisor.replace(&self.checks, &change);
        self.settings = change.settings;
        assert!(self.checks.iter().map(|check| &check.service).eq(&self.settings.services));
    }

    fn reload(&mut self, services: Vec<Service>) {
        self.replace(services);
        self.poll();
    }

    fn poll(&mut self) {
        self.supervisor.poll(Instant::now());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A service whose check adds a line to a file at each run, then runs `script`.
    fn service(&self, name: &str, script: &str) -> Service {
        let runs = self.path(name);
        Service { name: name.into(), ..service(&format!("echo x >> {}; {script}", runs.display())) }
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

    /// Waits for the next hint, which must be of the running check of this service, in this state.
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

    /// Triggers all checks until this one has had `n` runs.
    fn run_until(&self, name: &str, n: usize) {
        for n in self.runs(name)..n {
            self.supervisor.check_now();
            wait_until("a run", || self.runs(name) > n);
        }
    }

    /// Stops everything, and returns the names of the hints not received yet.
    fn stop(self) -> Vec<String> {
        self.supervisor.stop();
        self.supervisor.into_threads().into_iter().for_each(|thread| thread.join().unwrap());
        self.stop.trigger();
        self.address_thread.join().unwrap();
        let name = |event| match event {
            Event::Changed(check) => check.name().to_string(),
            event => panic!("{event:?}"),
        };
        self.events.try_iter().map(name).collect()
    }

    /// Stops everything, and expects that every hint has been received.
    fn end(self) {
        assert_eq!(self.stop(), [""; 0]);
    }
}

#[test]
fn a_reload_does_not_touch_an_unchanged_service() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true"), rig.service("b", "false")]);
    wait_until("both verdicts", || rig.checks.iter().all(|check| check.state().last.is_some()));
    let (a, b) = (rig.check("a"), rig.check("b"));
    for n in 0..50 {
        let other = Service { check_interval: Duration::from_secs(1000 + n), ..rig.service("c", "true") };
        rig.reload(vec![rig.service("b", "false"), other, rig.service("a", "true")]);
    }
    assert!(Arc::ptr_eq(&a, &rig.check("a")) && Arc::ptr_eq(&b, &rig.check("b")));
    assert_eq!((rig.runs("a"), rig.runs("b")), (1, 1));
    // The threads are the same: a trigger runs each check once.
    wait_until("the run of the last one", || rig.check("c").state().last.is_some());
    rig.supervisor.check_now();
    wait_until("a run of both", || (rig.runs("a"), rig.runs("b")) == (2, 2));
    for check in [a, b] {
        assert_eq!(check.state().transitions, 1);
    }
    let hints = rig.stop();
    let count = |name: &str| hints.iter().filter(|hint| *hint == name).count();
    assert_eq!((count("a"), count("b")), (1, 1));
}

#[test]
fn a_changed_check_keeps_its_state_until_its_counters_say_otherwise() {
    let fail = 3.try_into().unwrap();
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true")]);
    rig.expect("a", State::Up);
    let changed = Service { check_fail: fail, ..rig.service("a", "false") };
    rig.replace(vec![changed]);
    assert_eq!(rig.state("a"), State::Up);
    rig.poll();
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
    // One pass is enough to bring it up.
    rig.replace(vec![rig.service("a", "true")]);
    assert_eq!(rig.state("a"), State::Down);
    rig.poll();
    rig.expect("a", State::Up);
    rig.end();
}

#[test]
fn added_prefixes_wait_for_the_verdict_of_the_check() {
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
    rig.poll();
    wait_until("a pass", || rig.check("a").state().counts.passed == 2);
    // Another reload does not confirm them.
    changed.check_interval = Duration::from_secs(1000);
    rig.replace(vec![changed]);
    assert_eq!(intents(&rig), [Intent::Advertise, Intent::Keep]);
    rig.poll();
    wait_until("a pass", || rig.check("a").state().counts.passed == 3);
    assert_eq!(intents(&rig), [Intent::Advertise, Intent::Keep]);
    rig.expect_silence();
    rig.run_until("a", 4);
    rig.expect("a", State::Up);
    assert_eq!(intents(&rig), [Intent::Advertise; 2]);
    assert_eq!(rig.check("a").state().progress, Some(Progress::Confirmed(State::Up)), "it was up all the time");
    rig.end();
}

/// The stopped threads end at once and send no hint.
#[test]
fn a_running_check_is_killed_when_its_service_is_changed_or_removed() {
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
fn a_check_may_be_disabled_and_enabled() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "false")]);
    rig.expect("a", State::Down);
    let off = |rig: &Rig, decision| Service { disabled: Some(decision), ..rig.service("a", "false") };
    rig.replace(vec![off(&rig, OnDisabled::Advertise)]);
    assert_eq!(rig.state("a"), State::Down);
    rig.poll();
    rig.expect("a", State::Up);
    rig.replace(vec![rig.service("a", "false")]);
    assert_eq!(rig.state("a"), State::Up);
    rig.poll();
    rig.expect("a", State::Down);
    assert_eq!(rig.check("a").state().counts.failed, 2);
    rig.reload(vec![off(&rig, OnDisabled::Withdraw)]);
    assert_eq!(rig.state("a"), State::Down);
    rig.reload(Vec::new());
    rig.end();
}

/// `splay_startup` is for the start of the daemon only.
#[test]
fn a_reload_starts_its_checks_at_once_despite_splay_startup() {
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

/// One check that is up and asleep, polled at chosen times. The test reports progress in place of
/// the thread.
struct Polls {
    rig: Rig,
    check: Arc<Check>,
    /// When the next poll is due.
    due: Instant,
}

impl Polls {
    fn new() -> Polls {
        let rig = Rig::new(|rig| vec![rig.service("a", "true")]);
        rig.expect("a", State::Up);
        let check = rig.check("a");
        let mut polls = Polls { rig, check, due: Instant::now() };
        polls.wait_for_sleep();
        polls.progress();
        polls.poll(Duration::ZERO);
        polls
    }

    /// Waits until the thread sleeps, which it does for a day.
    fn wait_for_sleep(&self) {
        let far = Instant::now() + 100 * MINUTE;
        wait_until("the sleep", || self.check.state().deadline().is_some_and(|at| at > far));
    }

    /// Reports progress in place of the thread: its next report is due a minute after the next
    /// poll.
    fn progress(&mut self) {
        self.check.state_mut().expect_progress_by(Some(self.due + MINUTE));
    }

    /// Polls this much later than due. Returns whether the service is declared stuck.
    fn poll(&mut self, late: Duration) -> bool {
        let now = self.due + late;
        self.due = self.rig.supervisor.poll(now).unwrap();
        assert!(self.due > now);
        self.check.state().is_stuck()
    }

    /// Polls when due until the thread is overdue, and once more.
    fn poll_until_overdue(&mut self) {
        let deadline = self.check.state().deadline().unwrap();
        while self.due <= deadline {
            assert!(!self.poll(Duration::ZERO));
        }
        assert!(!self.poll(Duration::ZERO), "one poll is not enough");
    }
}

#[test]
fn a_thread_that_is_overdue_at_two_polls_is_stuck() {
    let mut polls = Polls::new();
    polls.poll_until_overdue();
    assert!(polls.poll(Duration::ZERO));
    polls.rig.expect("a", State::Down);
    assert!(polls.poll(Duration::ZERO), "it stays stuck");
    polls.rig.expect_silence();
    let state = polls.check.state().clone();
    assert_eq!((state.code, state.transitions), (Some(126), 2));
    // The thread is back, and hangs once more.
    polls.check.trigger.check_now();
    polls.rig.expect("a", State::Up);
    polls.wait_for_sleep();
    polls.progress();
    polls.poll(Duration::ZERO);
    polls.poll_until_overdue();
    assert!(polls.poll(Duration::ZERO));
    polls.rig.expect("a", State::Down);
    polls.rig.end();
}

#[test]
fn after_a_suspend_no_thread_that_makes_progress_is_stuck() {
    let hour = 60 * MINUTE;
    // One poll is late, however late.
    let mut polls = Polls::new();
    assert!(!polls.poll(hour));
    polls.progress();
    assert!(!polls.poll(Duration::ZERO) && !polls.poll(Duration::ZERO));
    // The thread is overdue at one poll that is on time, then makes progress.
    polls.poll_until_overdue();
    polls.progress();
    assert!(!polls.poll(Duration::ZERO) && !polls.poll(Duration::ZERO));
    // It is overdue at each poll, but makes progress in between.
    polls.poll_until_overdue();
    for _ in 0..3 {
        let overdue = polls.due - MINUTE;
        polls.check.state_mut().expect_progress_by(Some(overdue));
        assert!(!polls.poll(Duration::ZERO));
    }
    // The machine is suspended between two polls: late polls do not count.
    assert!(!polls.poll(hour));
    assert!(!polls.poll(Duration::ZERO));
    assert!(!polls.poll(hour));
    assert!(!polls.poll(POLL_TOLERANCE), "that is late too");
    polls.rig.expect_silence();
    // A thread that makes no progress is found all the same.
    assert!(!polls.poll(Duration::ZERO));
    assert!(polls.poll(Duration::ZERO));
    polls.rig.expect("a", State::Down);
    polls.rig.end();
}

/// The main thread polls whenever it wakes, for example for a signal.
#[test]
fn polls_in_quick_succession_count_as_one() {
    let mut polls = Polls::new();
    assert!(!polls.poll(60 * MINUTE));
    let now = polls.due - POLL_TOLERANCE;
    for n in 1..100 {
        let due = polls.rig.supervisor.poll(now + n * Duration::from_millis(1)).unwrap();
        assert!(!polls.check.state().is_stuck(), "{n} ms after a suspend");
        polls.due = due;
    }
    // They do not delay the next poll that counts.
    polls.due = now + POLL_TOLERANCE + Duration::from_millis(1);
    assert!(polls.poll(Duration::ZERO));
    polls.rig.expect("a", State::Down);
    polls.rig.end();
}

#[test]
fn a_drained_service_is_not_stuck_until_the_drain_ends() {
    let mut polls = Polls::new();
    let _ = polls.check.state_mut().drain("/run/drain".into(), DrainEnd::Never);
    polls.poll_until_overdue();
    assert!(!polls.poll(Duration::ZERO) && !polls.poll(Duration::ZERO));
    let _ = polls.check.state_mut().end_drain(&polls.check.service);
    assert!(!polls.poll(Duration::ZERO));
    assert!(polls.poll(Duration::ZERO));
    // It was down all the time, so nothing changes.
    polls.rig.expect_silence();
    polls.rig.end();
}

#[test]
fn a_stuck_service_stays_down_in_a_reload() {
    let Polls { mut rig, check, .. } = Polls::new();
    let change = check.state_mut().declare_stuck();
    rig.supervisor.context.announcer.announce(&check, change);
    rig.expect("a", State::Down);
    let changed = Service { check_rise: 2.try_into().unwrap(), ..rig.service("a", "true") };
    rig.replace(vec![changed]);
    assert_eq!(
        (rig.state("a"), rig.check("a").state().is_stuck()),
        (State::Down, false),
        "the old thread was stuck, not the new one"
    );
    rig.poll();
    wait_until("a pass", || rig.runs("a") == 2);
    rig.run_until("a", 3);
    rig.expect("a", State::Up);
    rig.end();
}

/// The new check watches the process, the hook runs for changes of state only, and the old thread
/// can end.
#[test]
fn a_changed_check_keeps_its_watched_process_and_its_hook() {
    let mut sleep = Sleep::start();
    let mut rig = Rig::new(|_| Vec::new());
    let (pidfile, output) = (rig.path("pid"), rig.path("output"));
    crate::testing::isolated::sh(&format!("echo {} >{}", sleep.pid(), pidfile.display()));
    let service = |rig: &Rig, n: u64| {
        let hook = format!("sh -c 'echo $OLD_STATE $NEW_STATE >>{}'", output.display());
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
    wait_until("the hooks", || std::fs::read_to_string(&output).unwrap_or_default() == "unknown up\nup down\n");
    assert_eq!(rig.runs("a"), 3);
    rig.end();
}

/// The limit of orphans holds across reloads, and orphans are reaped although no check of the
/// service is left.
#[test]
fn a_check_that_cannot_be_killed_is_reaped_after_a_reload() {
    let name = "check::supervisor::tests::a_check_that_cannot_be_killed_is_reaped_after_a_reload";
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
        wait_until("the orphan", || rig.supervisor.context.orphans.reap() == n);
    }
    let last = service(&rig, 1000);
    rig.reload(vec![last]);
    rig.expect("a", State::Down);
    let why = format!("{MAX_PER_OWNER} earlier runs could not be killed and still run");
    let result = rig.check("a").state().last.as_ref().map(|last| last.result.clone());
    assert_eq!(result, Some(RunResult::NotStarted(why)));
    rig.reload(Vec::new());
    let exists = |pid: &PathBuf| PathBuf::from("/proc").join(pid.file_stem().unwrap()).exists();
    assert!(pids().iter().all(exists) && pids().len() == MAX_PER_OWNER);
    // No check is left, and yet another poll is planned.
    assert!(rig.supervisor.poll(Instant::now()).is_some());
    std::fs::File::create(&go).unwrap();
    wait_until("the last poll", || rig.supervisor.poll(Instant::now()).is_none());
    assert!(!pids().iter().any(exists), "no zombie");
    rig.end();
}

/// The daemon raises its soft limit; the checks run under the original one.
#[test]
fn services_may_exceed_the_soft_limit_of_open_files() {
    let name = "check::supervisor::tests::services_may_exceed_the_soft_limit_of_open_files";
    if !alone(name, &["prlimit", "--nofile=256:8192"], &this_program()) {
        return;
    }
    raise_descriptor_limit(300).unwrap();
    // The check may see the raised limit for a moment.
    let script = "until [ $(ulimit -n) = 256 ]; do sleep 0.01; done";
    let rig = Rig::new(|_| (0..300).map(|n| Service { name: format!("s{n}"), ..service(script) }).collect());
    wait_until("all verdicts", || rig.state_of_all(State::Up));
    assert_eq!(rig.stop().len(), 300);
}

/// A waiting thread holds no descriptor, so all services get their verdict in turn.
#[test]
fn services_may_exceed_the_hard_limit_of_open_files() {
    let name = "check::supervisor::tests::services_may_exceed_the_hard_limit_of_open_files";
    if !alone(name, &["prlimit", "--nofile=128:128"], &this_program()) {
        return;
    }
    assert!(raise_descriptor_limit(150).is_err());
    let script = "sleep 0.01";
    let rig = Rig::new(|_| (0..150).map(|n| Service { name: format!("s{n}"), ..service(script) }).collect());
    wait_until("all verdicts", || rig.state_of_all(State::Up));
    // None was down meanwhile.
    assert!(rig.checks.iter().all(|check| check.state().transitions == 1));
    assert_eq!(rig.stop().len(), 150);
}

/// The stack budget of `check::worker`. Descriptors matter because each program that is started
/// copies their table.
#[test]
fn a_waiting_service_uses_no_descriptor_and_two_pages_of_stack() {
    let name = "check::supervisor::tests::a_waiting_service_uses_no_descriptor_and_two_pages_of_stack";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut rig = Rig::new(|rig| vec![rig.service("first", "true")]);
    wait_until("its run", || rig.state_of_all(State::Up));
    let open = descriptors();
    let other_stacks = stacks();
    let scripts = ["true", "echo out; echo err >&2; exit 1"];
    let services = (0..50).map(|n| rig.service(&format!("s{n}"), scripts[n % 2]));
    rig.reload(services.chain([rig.service("first", "true")]).collect());
    wait_until("all runs", || rig.checks.iter().all(|check| check.state().last.is_some()));
    // A thread drops the descriptors of a run before it sleeps.
    wait_until("descriptors as before", || descriptors() == open);
    let new: Vec<usize> =
        stacks().into_iter().filter(|(at, _)| !other_stacks.contains_key(at)).map(|(_, kb)| kb).collect();
    assert_eq!(new.len(), 50, "one stack a check thread");
    // Two pages, and one more without optimization.
    let max = if cfg!(debug_assertions) { 12 } else { 8 };
    assert!(new.iter().all(|kb| *kb <= max), "{new:?} kB");
    rig.stop();
}

/// The resident kB of the stack of each check thread, by its address range.
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
