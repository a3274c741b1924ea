//! Real threads and real programs; a reload is a list of services, their verdicts are what the writer would hear.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use super::*;
use crate::check::health::{Progress, State};
use crate::check::worker::tests::{common, service};
use crate::check::worker::MOST_LEFT;
use crate::config::change::between;
use crate::config::settings::{OnDisabled, Settings, TimedCommand};
use crate::event::Event;
use crate::prefix::Prefix;
use crate::report::snapshot::RunResult;
use crate::sys::alone::{alone, beside_sudo, this_program, wait_until};
use crate::sys::inherited::allow_descriptors;
use crate::sys::process_end::tests::Sleep;
use crate::sys::stop_line::StopLine;

const MINUTE: Duration = Duration::from_secs(60);

/// All that runs, and what was said.
struct Rig {
    dir: tempfile::TempDir,
    threads: Threads,
    listed: Arc<[Listed]>,
    settings: Settings,
    events: Receiver<Event>,
    stop: StopLine,
    watching: JoinHandle<()>,
}

impl Rig {
    fn new(services: impl FnOnce(&Rig) -> Vec<Service>) -> Rig {
        let stop = StopLine::new().unwrap();
        let (common, events, watching) = common(&stop, Duration::ZERO);
        let settings = Settings { services: Vec::new(), ..crate::config::change::tests::settings("", "") };
        let (threads, listed, dir) = (Threads::new(common), Arc::new([]), tempfile::tempdir().unwrap());
        let mut rig = Rig { dir, threads, listed, settings, events, stop, watching };
        let services = services(&rig);
        assert_eq!(rig.reload(services), []);
        rig
    }

    /// Returns the last words.
    fn reload(&mut self, services: Vec<Service>) -> Vec<Verdict> {
        let services = services.into_iter().map(Arc::new).collect();
        let change = between(&self.settings, Settings { services, ..self.settings.clone() }).unwrap();
        let Replaced { listed, last_words } = self.threads.replace(&change);
        (self.listed, self.settings) = (listed, change.settings);
        assert_eq!(self.names(), self.settings.services.iter().map(|service| &*service.name).collect::<Vec<_>>());
        self.threads.look(Instant::now());
        last_words
    }

    fn names(&self) -> Vec<&str> {
        self.listed.iter().map(|(service, _)| &*service.name).collect()
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

    fn report(&self, name: &str) -> Arc<Published<ServiceReport>> {
        self.listed.iter().find(|(service, _)| service.name == name).unwrap().1.clone()
    }

    fn expect(&self, service: &str, state: State) {
        match self.events.recv_timeout(MINUTE).unwrap() {
            Event::Verdict(verdict) => assert_eq!((&*verdict.service, verdict.state), (service, state)),
            event => panic!("{event:?}"),
        }
    }

    /// Orders runs of the one service there is until its check has `n` runs.
    fn run_until(&self, name: &str, n: usize) {
        for n in self.runs(name)..n {
            self.threads.check_now();
            wait_until("a run", || self.runs(name) > n);
        }
    }

    /// Hands out what was said and nobody heard.
    fn end(self) -> Vec<Event> {
        self.stop.pull();
        self.threads.stop();
        self.threads.end(vec![self.watching], MINUTE);
        self.events.iter().collect()
    }
}

fn verdict(service: &str, state: State) -> Verdict {
    Verdict { service: service.into(), state, missing: BTreeSet::new(), undecided: BTreeSet::new() }
}

#[test]
fn a_service_that_stays_the_same_notices_nothing() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true"), rig.service("b", "false")]);
    wait_until("both verdicts", || rig.listed.iter().all(|(_, report)| report.lock().last.is_some()));
    let (a, b) = (rig.report("a"), rig.report("b"));
    for n in 0..50 {
        let other = Service { check_interval: Duration::from_secs(1000 + n), ..rig.service("c", "true") };
        assert_eq!(
            rig.reload(vec![rig.service("b", "false"), other, rig.service("a", "true")]).len(),
            usize::from(n > 0)
        );
    }
    assert!(Arc::ptr_eq(&a, &rig.report("a")) && Arc::ptr_eq(&b, &rig.report("b")));
    assert_eq!((rig.runs("a"), rig.runs("b")), (1, 1));
    // They are the same threads: an order reaches each once.
    wait_until("the run of the last one", || rig.report("c").lock().last.is_some());
    rig.threads.check_now();
    wait_until("a run of both", || (rig.runs("a"), rig.runs("b")) == (2, 2));
    assert_eq!((a.lock().transitions, b.lock().transitions), (1, 1));
    let said = rig.end();
    let of = |name: &str| {
        said.iter().filter(|event| matches!(event, Event::Verdict(verdict) if &*verdict.service == name)).count()
    };
    assert_eq!((of("a"), of("b")), (1, 1));
}

#[test]
fn a_changed_check_starts_from_the_last_state_and_says_nothing_while_that_holds() {
    let fail = 3.try_into().unwrap();
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true")]);
    rig.expect("a", State::Up);
    wait_until("the report", || rig.report("a").lock().last.is_some());
    let changed = Service { check_fail: fail, ..rig.service("a", "false") };
    assert_eq!(rig.reload(vec![changed]), [verdict("a", State::Up)]);
    // It runs at once, and three failures make it down.
    wait_until("a run", || rig.runs("a") == 2);
    rig.run_until("a", 3);
    wait_until("the second failure", || rig.report("a").lock().counts.failed == 2);
    assert_eq!(rig.report("a").lock().state, State::Up);
    assert!(rig.events.try_recv().is_err());
    rig.run_until("a", 4);
    rig.expect("a", State::Down);
    let report = rig.report("a").lock().clone();
    assert_eq!((report.counts.passed, report.counts.failed, report.transitions), (1, 3, 2));
    // The state is down by now, and one pass is enough.
    assert_eq!(rig.reload(vec![rig.service("a", "true")]), [verdict("a", State::Down)]);
    rig.expect("a", State::Up);
    assert_eq!(rig.end(), []);
}

#[test]
fn prefixes_that_a_service_gains_wait_for_the_verdict_of_its_check() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true")]);
    rig.expect("a", State::Up);
    wait_until("the report", || rig.report("a").lock().last.is_some());
    let gained: Prefix = "10.9.0.2/32".parse().unwrap();
    let mut changed = Service { check_rise: 2.try_into().unwrap(), ..rig.service("a", "true") };
    changed.prefixes.push(gained);
    let undecided = BTreeSet::from([gained]);
    assert_eq!(
        rig.reload(vec![changed.clone()]),
        [Verdict { undecided: undecided.clone(), ..verdict("a", State::Up) }]
    );
    wait_until("a pass", || rig.report("a").lock().counts.passed == 2);
    // One more reload forgets nothing.
    changed.check_interval = Duration::from_secs(1000);
    assert_eq!(rig.reload(vec![changed]), [Verdict { undecided, ..verdict("a", State::Up) }]);
    wait_until("a pass", || rig.report("a").lock().counts.passed == 3);
    assert!(rig.events.try_recv().is_err());
    rig.run_until("a", 4);
    match rig.events.recv_timeout(MINUTE).unwrap() {
        Event::Verdict(found) => assert_eq!(found, verdict("a", State::Up)),
        event => panic!("{event:?}"),
    }
    assert_eq!(rig.report("a").lock().progress, Some(Progress::Confirmed(State::Up)), "it was up all the time");
    assert_eq!(rig.end(), []);
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
    let last_words = rig.reload(vec![rig.service("b", "true"), c]);
    assert_eq!(last_words, [verdict("b", State::Unknown)]);
    wait_until("two are killed", || alive(&rig) == 1);
    rig.expect("b", State::Up);
    assert_eq!(rig.end(), []);
}

#[test]
fn a_check_that_is_switched_off_and_on() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "false")]);
    rig.expect("a", State::Down);
    wait_until("the report", || rig.report("a").lock().last.is_some());
    let off = |rig: &Rig, decision| Service { disabled: Some(decision), ..rig.service("a", "false") };
    assert_eq!(rig.reload(vec![off(&rig, OnDisabled::Advertise)]), [verdict("a", State::Down)]);
    rig.expect("a", State::Up);
    assert_eq!(rig.reload(vec![rig.service("a", "false")]), [verdict("a", State::Up)]);
    rig.expect("a", State::Down);
    wait_until("the report", || rig.report("a").lock().counts.failed == 2);
    assert_eq!(rig.reload(vec![off(&rig, OnDisabled::Withdraw)]), [verdict("a", State::Down)]);
    assert_eq!(rig.reload(Vec::new()), []);
    assert_eq!(rig.end(), []);
}

#[test]
fn a_stuck_service_takes_its_state_along() {
    let mut rig = Rig::new(|rig| vec![rig.service("a", "true")]);
    rig.expect("a", State::Up);
    wait_until("the report", || rig.report("a").lock().due.is_some());
    let late = rig.report("a").lock().due.unwrap() + MINUTE;
    rig.threads.planned = None;
    rig.threads.look(late);
    rig.expect("a", State::Down);
    let changed = Service { check_rise: 2.try_into().unwrap(), ..rig.service("a", "true") };
    assert_eq!(rig.reload(vec![changed]), [verdict("a", State::Down)]);
    let stuck = rig.report("a").lock().stuck;
    assert!(!stuck, "that was the other thread");
    wait_until("a pass", || rig.runs("a") == 2);
    rig.run_until("a", 3);
    rig.expect("a", State::Up);
    assert_eq!(rig.end(), []);
}

/// Its process goes on being watched by the check that follows, its hook hears of changes alone, and what watched for the
/// check that ended keeps nobody.
#[test]
fn a_changed_check_takes_over_its_process_and_its_hook() {
    let mut sleep = Sleep::start();
    let mut rig = Rig::new(|_| Vec::new());
    let (pidfile, told) = (rig.path("pid"), rig.path("told"));
    crate::sys::alone::sh(&format!("echo {} >{}", sleep.pid(), pidfile.display()));
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
    wait_until("the report", || rig.report("a").lock().last.is_some());
    rig.reload(vec![second]);
    wait_until("a run", || rig.report("a").lock().counts.passed == 2);
    sleep.kill();
    rig.expect("a", State::Down);
    wait_until("the hooks", || std::fs::read_to_string(&told).unwrap_or_default() == "unknown up\nup down\n");
    assert_eq!(rig.runs("a"), 3);
    assert_eq!(rig.end(), []);
}

/// A check that a reload ends and that may not be killed: while it runs its service gets four of them and no more, also
/// where each came with a reload; it is reaped when it ends, though no check is left that could do it.
#[test]
fn a_check_that_cannot_be_killed_is_reaped_after_the_reload_that_ended_it() {
    let name = "check::threads::tests::a_check_that_cannot_be_killed_is_reaped_after_the_reload_that_ended_it";
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
    for n in 1..=MOST_LEFT {
        let new = service(&rig, n as u64);
        rig.reload(vec![new]);
        wait_until("a check", || pids().len() == n);
        rig.reload(Vec::new());
        wait_until("what the reload left", || rig.threads.common.unkilled.reap() == n);
    }
    let last = service(&rig, 1000);
    rig.reload(vec![last]);
    rig.expect("a", State::Down);
    let why = format!("{MOST_LEFT} earlier runs could not be killed and still run");
    let result = rig.report("a").lock().last.as_ref().map(|last| last.result.clone());
    assert_eq!(result, Some(RunResult::NotStarted(why)));
    rig.reload(Vec::new());
    let here = |pid: &PathBuf| PathBuf::from("/proc").join(pid.file_stem().unwrap()).exists();
    assert!(pids().iter().all(here) && pids().len() == MOST_LEFT);
    // Nothing runs, and yet the next look is never far.
    assert!(rig.threads.look(Instant::now()).is_some());
    std::fs::File::create(&go).unwrap();
    wait_until("the last look", || rig.threads.look(Instant::now()).is_none());
    assert!(!pids().iter().any(here), "no zombie");
    assert_eq!(rig.end(), []);
}

/// The soft limit is one that many systems have. The checks run under it, though the daemon does not.
#[test]
fn more_services_than_the_soft_limit_of_open_files() {
    let name = "check::threads::tests::more_services_than_the_soft_limit_of_open_files";
    if !alone(name, &["prlimit", "--nofile=256:8192"], &this_program()) {
        return;
    }
    allow_descriptors(300).unwrap();
    // It may see the raised limit for a moment.
    let script = "until [ $(ulimit -n) = 256 ]; do sleep 0.01; done";
    let rig = Rig::new(|_| (0..300).map(|n| Service { name: format!("s{n}"), ..service(script) }).collect());
    wait_until("all verdicts", || rig.listed.iter().all(|(_, report)| report.lock().state == State::Up));
    assert_eq!(rig.end().len(), 300);
}

/// Those that find no descriptor are unknown, and say why; they take none from the checks that run.
#[test]
fn more_services_than_the_hard_limit_of_open_files() {
    let name = "check::threads::tests::more_services_than_the_hard_limit_of_open_files";
    if !alone(name, &["prlimit", "--nofile=128:128"], &this_program()) {
        return;
    }
    assert!(allow_descriptors(150).is_err());
    let script = "sleep 0.01";
    let rig = Rig::new(|_| (0..150).map(|n| Service { name: format!("s{n}"), ..service(script) }).collect());
    // A thread takes none; of the checks as many run at a time as find some.
    wait_until("all verdicts", || rig.listed.iter().all(|(_, report)| report.lock().state == State::Up));
    let said = rig.end();
    assert!(
        said.iter().all(|event| matches!(event, Event::Verdict(verdict) if verdict.state == State::Up)),
        "{said:?}"
    );
}
