//! Tests with real threads that run real programs, most of them a line of `sh`. Their interval is a
//! day, so that they run when the test triggers them.

use std::fs::{self, File};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::check::hook::Hooks;
use crate::check::state::{CheckState, Run};
use crate::config::settings::TimedCommand;
use crate::drain_file::DrainEnd;
use crate::sys::pidfd::tests::Sleep;
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{alone, beside_sudo, in_own_network, sh, this_program, wait_until, BECOMES_ROOT};
use crate::testing::sample;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A service that runs a line of `sh` once a day. One outcome decides its state; its addresses are
/// not checked.
pub(crate) fn service(script: &str) -> Service {
    let script = script.replace('\'', "'\\''");
    Service {
        check_cmd: crate::command::Command::parse(&format!("sh -c '{script}'")).unwrap(),
        check_interval: DAY,
        check_timeout: MINUTE,
        check_rise: NonZeroU32::MIN,
        check_fail: NonZeroU32::MIN,
        assigned_to: None,
        ..sample::service("foo", "10.9.0.1/32")
    }
}

/// What check threads share in a test.
pub(crate) struct Shared {
    pub(crate) context: Context,
    /// The receiver of the hints.
    pub(crate) events: Receiver<Event>,
    /// The thread of the address watcher.
    pub(crate) address_thread: JoinHandle<()>,
}

/// Creates what check threads share. `stop` ends all threads but those of the checks.
pub(crate) fn context(stop: &StopToken) -> Shared {
    let (sender, events) = channel();
    let orphans = Arc::<Orphans>::default();
    let announcer = Announcer { events: sender, hooks: Hooks::new(orphans.clone(), stop.clone()) };
    let (address_watcher, address_thread) = AddressWatcher::start(announcer.clone(), stop.clone()).unwrap();
    let process_watcher = Watcher::new(stop.clone());
    let start_limiter = StartLimiter::new();
    let context = Context { announcer, address_watcher, process_watcher, orphans, start_limiter };
    Shared { context, events, address_thread }
}

/// A running check thread, the receiver of its hints, and what stops it.
struct Started {
    check: Arc<Check>,
    events: Receiver<Event>,
    context: Context,
    stop: StopToken,
    threads: [JoinHandle<()>; 2],
}

impl Started {
    /// Starts a thread for this check.
    fn new(check: Check, delay: StartDelay) -> Started {
        let check = Arc::new(check);
        let stop = StopToken::new().unwrap();
        let Shared { context, events, address_thread } = context(&stop);
        let thread = start(check.clone(), context.clone(), delay).unwrap();
        Started { check, events, context, stop, threads: [thread, address_thread] }
    }

    /// Waits for the next hint, after which the service must be in this state with these prefixes
    /// missing.
    fn expect(&self, state: State, missing: &str) {
        match self.events.recv_timeout(MINUTE).unwrap() {
            Event::Changed(check) => assert!(Arc::ptr_eq(&check, &self.check)),
            event => panic!("{event:?}"),
        }
        let now = self.check.state();
        assert_eq!((now.state(), list(now.missing())), (state, missing.to_string()));
    }

    fn expect_silence(&self) {
        assert!(self.events.try_recv().is_err());
    }

    /// Triggers a run once `n` runs have ended.
    fn trigger_after(&self, n: u64) {
        self.wait_for_runs(n);
        self.check.trigger.check_now();
    }

    fn wait_for_runs(&self, n: u64) {
        wait_until("a run", || self.runs() == n);
    }

    fn runs(&self) -> u64 {
        let counts = self.check.state().counts.clone();
        counts.passed + counts.failed + counts.timed_out + counts.not_assigned
    }

    fn state_and_transitions(&self) -> (State, u64) {
        let state = self.check.state();
        (state.state(), state.transitions)
    }

    fn last(&self) -> Run {
        self.check.state().last.clone().unwrap()
    }

    /// Waits until the thread sleeps for a long time.
    fn wait_for_sleep(&self) {
        wait_until("the sleep", || self.check.state().deadline().is_some_and(|at| at > Instant::now() + DAY / 2));
    }

    /// Makes a transition as the drain watcher and the supervisor do.
    fn change(&self, transition: impl FnOnce(&mut CheckState) -> Change) {
        let change = transition(&mut self.check.state_mut());
        self.context.announcer.announce(&self.check, change);
    }

    /// Stops the thread, and returns the hints not received yet.
    fn stop(self) -> Vec<Event> {
        self.check.trigger.stop();
        let [thread, address_thread] = self.threads;
        thread.join().unwrap();
        self.stop.trigger();
        address_thread.join().unwrap();
        self.events.try_iter().collect()
    }

    /// Stops the thread, and expects that every hint has been received.
    fn end(self) {
        let hints = self.stop();
        assert!(hints.is_empty(), "{hints:?}");
    }
}

fn begin(service: Service) -> Started {
    Started::new(Check::new(Arc::new(service)), StartDelay::default())
}

#[test]
fn the_first_verdict_has_a_deadline_until_it_is_there() {
    let before = Instant::now();
    let offset = Duration::from_millis(10);
    let two = |script| Service { check_rise: NonZeroU32::new(2).unwrap(), ..service(script) };
    let started = Started::new(Check::new(Arc::new(two("true"))), StartDelay { offset, splay: Duration::ZERO });
    started.wait_for_runs(1);
    let due = started.check.state().verdict_due().unwrap();
    let (earliest, now) = (before + offset + first_verdict(&started.check.service), Instant::now());
    assert!(earliest <= due && due <= earliest + (now - before), "{due:?}, {earliest:?}");
    started.check.trigger.check_now();
    started.expect(State::Up, "");
    assert_eq!(started.check.state().verdict_due(), None);
    started.end();
}

fn exists(path: &Path) -> String {
    format!("test -e {}", path.display())
}

/// A script that ends once `path` exists, or once the directory of the test is gone.
fn waits_for(path: &Path) -> String {
    let directory = path.parent().unwrap().display();
    format!("while [ -d {directory} -a ! -e {} ]; do sleep 0.01; done", path.display())
}

/// A number of seconds that distinguishes a `sleep` of this test program from those of others.
fn seconds(n: u32) -> String {
    format!("{n}.{}", std::process::id())
}

fn sleeps(n: u32) -> bool {
    let line = format!("sleep\0{}\0", seconds(n));
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.any(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|cmdline| cmdline == line.as_bytes()))
}

#[test]
fn only_changes_of_state_are_announced() {
    let dir = tempfile::tempdir().unwrap();
    let up = dir.path().join("up");
    File::create(&up).unwrap();
    let [check_rise, check_fail] = [2, 3].map(|n| NonZeroU32::new(n).unwrap());
    let thread = begin(Service { check_rise, check_fail, ..service(&exists(&up)) });
    let state = |n| {
        thread.wait_for_runs(n);
        thread.check.state().state()
    };
    assert_eq!(state(1), State::Unknown);
    thread.trigger_after(1);
    thread.expect(State::Up, "");
    assert_eq!(state(2), State::Up);
    thread.trigger_after(2);
    thread.wait_for_runs(3);
    fs::remove_file(&up).unwrap();
    thread.trigger_after(3);
    thread.trigger_after(4);
    assert_eq!(state(5), State::Up);
    thread.trigger_after(5);
    thread.expect(State::Down, "");
    thread.trigger_after(6);
    thread.wait_for_runs(7);
    assert_eq!(thread.state_and_transitions(), (State::Down, 2));
    let counts = thread.check.state().counts.clone();
    assert_eq!((counts.passed, counts.failed), (3, 4));
    thread.end();
}

/// The next point of the grid is a day away, so only the fast interval can have led to the verdict.
#[test]
fn an_undecided_service_is_checked_at_the_fast_interval() {
    let fast = Some(Duration::from_millis(1));
    let thread =
        begin(Service { check_rise: NonZeroU32::new(5).unwrap(), check_fast_interval: fast, ..service("true") });
    thread.expect(State::Up, "");
    assert_eq!(thread.runs(), 5);
    thread.end();
}

#[test]
fn a_check_that_times_out_is_killed_with_all_its_children() {
    let script = "echo output; (sleep 1101 | sleep 1101) & sleep 1101".replace("1101", &seconds(1101));
    let thread = begin(Service { check_timeout: Duration::from_millis(300), ..service(&script) });
    thread.expect(State::Down, "");
    let Run { duration, result, output, .. } = thread.last();
    assert_eq!((result, output.as_str()), (RunResult::TimedOut, "output\n"));
    assert!(duration.unwrap() >= Duration::from_millis(300));
    let counts = thread.check.state().counts.clone();
    assert!(counts.timed_out == 1 && counts.first_time_out.is_some());
    wait_until("no sleep 1101", || !sleeps(1101));
    thread.end();
}

#[test]
fn a_command_that_cannot_run_is_a_failed_check_with_its_reason() {
    let check_cmd = crate::command::Command::parse("/nonexistent/check -v").unwrap();
    let thread = begin(Service { check_cmd, ..service("") });
    thread.expect(State::Down, "");
    let why = "cannot run /nonexistent/check: No such file or directory (os error 2)".to_string();
    assert_eq!(thread.last().result, RunResult::NotStarted(why));
    thread.trigger_after(1);
    thread.wait_for_runs(2);
    thread.end();
}

#[test]
fn exit_codes_signals_and_output_are_recorded() {
    let thread = begin(service("echo out; echo err >&2; exit 3"));
    thread.expect(State::Down, "");
    let Run { result, output, .. } = thread.last();
    assert_eq!((result, output.as_str()), (RunResult::Exited(3), "out\nerr\n"));
    thread.end();
    let thread = begin(service("kill -KILL $$"));
    thread.expect(State::Down, "");
    assert_eq!(thread.last().result, RunResult::Signaled(9));
    thread.end();
}

#[test]
fn triggers_during_a_run_make_one_more_run_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let (runs, go) = (dir.path().join("runs"), dir.path().join("go"));
    let thread = begin(service(&format!("echo >>{}; {}", runs.display(), waits_for(&go))));
    wait_until("a run", || runs.exists());
    for _ in 0..3 {
        thread.check.trigger.check_now();
    }
    File::create(&go).unwrap();
    thread.wait_for_runs(2);
    thread.expect(State::Up, "");
    thread.end();
    assert_eq!(fs::read_to_string(&runs).unwrap(), "\n\n");
}

#[test]
fn a_stop_kills_the_running_check_and_announces_nothing() {
    let thread = begin(service(&format!("sleep {}; exit 1", seconds(1102))));
    wait_until("a sleep 1102", || sleeps(1102));
    thread.end();
    wait_until("no sleep 1102", || !sleeps(1102));
}

/// Its interval is a day, so only the stop can have ended it.
#[test]
fn a_stop_ends_a_sleeping_thread() {
    let thread = begin(service("true"));
    thread.expect(State::Up, "");
    thread.wait_for_sleep();
    thread.end();
}

/// A reload copies the state once it has stopped the check.
#[test]
fn the_state_does_not_change_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (started, go) = (dir.path().join("started"), dir.path().join("go"));
    let thread = begin(service(&format!("touch {}; {}", started.display(), waits_for(&go))));
    wait_until("a run", || started.exists());
    {
        // While this holds the lock, the thread cannot change the state before the stop.
        let _state = thread.check.state_mut();
        File::create(&go).unwrap();
        thread.check.trigger.stop();
    }
    let check = thread.check.clone();
    thread.end();
    let state = check.state();
    assert_eq!((state.state(), state.counts.passed), (State::Unknown, 0));
    // A check that is disabled may be stopped before its thread decides.
    let check = Check::new(Arc::new(Service { disabled: Some(OnDisabled::Advertise), ..service("true") }));
    check.trigger.stop();
    let thread = Started::new(check, StartDelay::default());
    let check = thread.check.clone();
    thread.end();
    assert_eq!(check.state().state(), State::Unknown);
}

#[test]
fn a_disabled_check_decides_once_and_runs_nothing() {
    for (decision, state) in [(OnDisabled::Advertise, State::Up), (OnDisabled::Withdraw, State::Down)] {
        let thread = begin(Service { disabled: Some(decision), ..service("exit 1") });
        thread.expect(state, "");
        wait_until("the thread's end", || thread.threads[0].is_finished());
        assert_eq!(thread.runs(), 0);
        assert_eq!(thread.state_and_transitions(), (state, 1));
        assert!(thread.check.state().deadline().is_none(), "a thread that has ended cannot be overdue");
        thread.end();
    }
}

#[test]
fn a_panic_is_reported_to_the_writer() {
    if !alone("check::worker::tests::a_panic_is_reported_to_the_writer", &["env"], &this_program()) {
        return;
    }
    /// The log is the only part of a check thread that a test can make panic.
    struct Panics;
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Panics {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            assert_ne!(event.metadata().level(), &tracing::Level::WARN, "a warning");
        }
    }
    use tracing_subscriber::layer::SubscriberExt as _;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Panics)).unwrap();
    let thread = begin(service("exit 1"));
    match thread.events.recv_timeout(MINUTE).unwrap() {
        Event::Died { service, why } => assert!(&*service == "foo" && why.contains("a warning"), "{why}"),
        event => panic!("{event:?}"),
    }
    thread.end();
}

#[test]
fn a_service_without_addresses_is_down_and_an_added_address_triggers_its_check() {
    let name = "check::worker::tests::a_service_without_addresses_is_down_and_an_added_address_triggers_its_check";
    if !in_own_network(name) {
        return;
    }
    let prefixes = vec!["10.9.0.1/32".parse().unwrap(), "fd00::2/128".parse().unwrap()];
    let thread = begin(Service { prefixes, assigned_to: Some("lo".to_string()), ..service("true") });
    thread.context.address_watcher.follow(Arc::from([thread.check.clone()]));
    thread.expect(State::Down, "10.9.0.1/32,fd00::2/128");
    let Run { duration, result, .. } = thread.last();
    assert_eq!((duration, result), (None, RunResult::NotAssigned));
    for (change, state, missing) in [
        ("ip address add 10.9.0.1/32 dev lo", State::Up, "fd00::2/128"),
        ("ip address add fd00::2/128 dev lo", State::Up, ""),
        ("ip address del 10.9.0.1/32 dev lo", State::Up, "10.9.0.1/32"),
        ("ip address del fd00::2/128 dev lo", State::Down, "10.9.0.1/32,fd00::2/128"),
    ] {
        sh(change);
        thread.expect(state, missing);
    }
    thread.end();
}

/// A service manager signals the check first and the daemon a little later: there is no verdict.
#[test]
fn a_check_that_the_service_manager_ended_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("echo $$ >{0}.new; mv {0}.new {0}; kill -TERM $$", pid.display());
    let ended = || match fs::read_to_string(&pid) {
        Ok(pid) => !Path::new("/proc").join(pid.trim()).exists(),
        Err(_) => false,
    };
    // On a busy machine the stop may come too late, and is tried again.
    wait_until("a stop in time", || {
        let _ = fs::remove_file(&pid);
        let thread = begin(service(&script));
        wait_until("the check's end", ended);
        thread.stop().is_empty()
    });
}

#[test]
fn a_check_that_ended_by_term_without_a_stop_fails_a_little_later() {
    let before = Instant::now();
    let thread = begin(service("kill -TERM $$"));
    thread.expect(State::Down, "");
    assert!(before.elapsed() >= SERVICE_MANAGER_GRACE);
    assert_eq!(thread.last().result, RunResult::Signaled(15));
    thread.end();
}

#[test]
fn term_int_and_hup_may_come_from_the_service_manager() {
    let check = |result, expected| assert_eq!(ended_by_service_manager(&result), expected, "{result:?}");
    for signal in [1, 2, 15] {
        check(RunResult::Signaled(signal), true);
        check(RunResult::Exited(128 + signal), true);
        check(RunResult::Exited(signal), false);
    }
    for result in [RunResult::Signaled(9), RunResult::Exited(137), RunResult::Exited(0), RunResult::TimedOut] {
        check(result, false);
    }
}

#[test]
fn a_stuck_check_is_down_until_it_has_risen_again() {
    let dir = tempfile::tempdir().unwrap();
    let (started, go) = (dir.path().join("started"), dir.path().join("go"));
    let script = format!("touch {}; {}", started.display(), waits_for(&go));
    let thread = begin(service(&script));
    wait_until("a run", || started.exists());
    thread.change(CheckState::declare_stuck);
    thread.expect(State::Down, "");
    assert_eq!(thread.state_and_transitions(), (State::Down, 1));
    File::create(&go).unwrap();
    thread.wait_for_runs(1);
    // The run passed in the end, but is discarded because it was stuck.
    assert!(!thread.check.state().is_stuck());
    assert_eq!(thread.state_and_transitions(), (State::Down, 1));
    thread.expect_silence();
    thread.trigger_after(1);
    thread.expect(State::Up, "");
    thread.end();
}

#[test]
fn the_longest_times_do_not_overflow() {
    let longest = Service {
        check_interval: Duration::MAX,
        check_timeout: Duration::MAX,
        check_fast_interval: Some(Duration::MAX),
        check_rise: NonZeroU32::new(2).unwrap(),
        ..service("true")
    };
    let thread = begin(longest.clone());
    thread.trigger_after(1);
    thread.expect(State::Up, "");
    thread.end();
    // The first run may be as far away; a trigger comes before it.
    let thread =
        Started::new(Check::new(Arc::new(longest)), StartDelay { offset: Duration::ZERO, splay: Duration::MAX });
    thread.trigger_after(0);
    thread.trigger_after(1);
    thread.expect(State::Up, "");
    thread.end();
}

impl Started {
    /// Drains the service as the drain watcher does.
    fn drain(&self) {
        self.change(|state| state.drain("/run/drain".into(), DrainEnd::Never));
    }

    /// Ends the drain as the drain watcher does.
    fn end_drain(&self) {
        self.change(|state| state.end_drain(&self.check.service));
        // The verdict changes although the state does not: the service is no longer withheld.
        self.expect(State::Down, "");
        self.check.trigger.check_now();
    }

    /// Triggers a cycle in which nothing may run, and waits until it is over.
    fn wait_for_suspended_cycle(&self) {
        self.wait_for_sleep();
        let before = self.check.state().thread_progress();
        self.check.trigger.check_now();
        // The thread reports once at the start of the cycle and once at its end.
        wait_until("the cycle", || self.check.state().thread_progress() == before + 2);
    }
}

#[test]
fn a_drained_service_is_down_and_is_not_checked_until_the_drain_ends() {
    let rise = NonZeroU32::new(2).unwrap();
    let thread = begin(Service { check_rise: rise, ..service("true") });
    thread.trigger_after(1);
    thread.expect(State::Up, "");
    thread.wait_for_runs(2);
    thread.drain();
    thread.expect(State::Down, "");
    thread.wait_for_suspended_cycle();
    assert_eq!(thread.runs(), 2);
    thread.end_drain();
    // The interval is a day, so the end of the drain triggers the run.
    thread.trigger_after(3);
    thread.expect(State::Up, "");
    assert_eq!(thread.state_and_transitions(), (State::Up, 3));
    thread.end();
}

#[test]
fn a_drain_during_a_run_is_announced_at_once_and_the_run_is_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let (started, go) = (dir.path().join("started"), dir.path().join("go"));
    let thread = begin(service(&format!("touch {}; {}", started.display(), waits_for(&go))));
    wait_until("a run", || started.exists());
    thread.drain();
    thread.expect(State::Down, "");
    File::create(&go).unwrap();
    thread.wait_for_suspended_cycle();
    assert_eq!((thread.runs(), thread.state_and_transitions()), (0, (State::Down, 1)));
    thread.expect_silence();
    thread.end_drain();
    thread.expect(State::Up, "");
    thread.end();
}

/// The thread sleeps for a day and does not notice the start of the drain.
#[test]
fn a_drain_that_the_thread_slept_through_ends_with_a_check() {
    let thread = begin(service("true"));
    thread.expect(State::Up, "");
    thread.wait_for_runs(1);
    thread.wait_for_sleep();
    thread.drain();
    thread.expect(State::Down, "");
    thread.end_drain();
    thread.expect(State::Up, "");
    assert_eq!((thread.runs(), thread.state_and_transitions()), (2, (State::Up, 3)));
    thread.end();
}

#[test]
fn a_drained_service_whose_check_is_disabled_stays_down() {
    let check = Check::new(Arc::new(Service { disabled: Some(OnDisabled::Advertise), ..service("true") }));
    let _ = check.state_mut().drain("/run/drain".into(), DrainEnd::Never);
    let thread = Started::new(check, StartDelay::default());
    wait_until("the thread's end", || thread.threads[0].is_finished());
    assert_eq!(thread.state_and_transitions(), (State::Down, 1));
    thread.end();
}

/// A daemon that is not root may not kill a check under sudo.
#[test]
fn a_service_leaves_at_most_four_orphans() {
    let Some(sudo) = beside_sudo("check::worker::tests::a_service_leaves_at_most_four_orphans") else { return };
    let go = sudo.with_file_name("go");
    let command = format!("{} --reuid=0 --clear-groups sh -c '{}'", sudo.display(), waits_for(&go));
    let check_cmd = crate::command::Command::parse(&command).unwrap();
    let thread = begin(Service { check_cmd, check_timeout: BECOMES_ROOT, ..service("") });
    for n in 1..=4 {
        thread.wait_for_runs(n);
        if n == 1 {
            thread.expect(State::Down, "");
        }
        assert_eq!(thread.last().result, RunResult::TimedOut, "run {n}");
        thread.trigger_after(n);
    }
    thread.wait_for_runs(5);
    let why = "4 earlier runs could not be killed and still run".to_string();
    assert_eq!(thread.last().result, RunResult::NotStarted(why));
    // Once they have ended by themselves and are reaped, the check runs again.
    File::create(&go).unwrap();
    let mut runs = 5;
    wait_until("a run that passes", || {
        thread.trigger_after(runs);
        runs += 1;
        thread.wait_for_runs(runs);
        thread.last().result == RunResult::Exited(0)
    });
    thread.expect(State::Up, "");
    thread.end();
}

/// The points of the grid are a day apart, so only the fast interval can have led to the verdict.
#[test]
fn the_fast_interval_holds_from_the_first_failure_to_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let up = dir.path().join("up");
    File::create(&up).unwrap();
    let fast = Some(Duration::from_millis(20));
    let check_fail = NonZeroU32::new(3).unwrap();
    let thread = begin(Service { check_fail, check_fast_interval: fast, ..service(&exists(&up)) });
    thread.expect(State::Up, "");
    assert_eq!(thread.runs(), 1);
    fs::remove_file(&up).unwrap();
    thread.check.trigger.check_now();
    thread.expect(State::Down, "");
    thread.wait_for_runs(4);
    // A trigger causes one more run, and the fast interval none.
    thread.trigger_after(4);
    thread.wait_for_runs(5);
    thread.end();
}

#[test]
fn without_a_fast_interval_a_failure_waits_for_the_grid() {
    let thread = begin(Service { check_fail: NonZeroU32::new(2).unwrap(), ..service("exit 1") });
    thread.trigger_after(1);
    thread.expect(State::Down, "");
    thread.wait_for_runs(2);
    thread.end();
}

/// A service whose pidfile names this process, and whose check is `alive`.
fn watched(dir: &Path, sleep: &Sleep, alive: &str) -> Service {
    let watch_pidfile = dir.join("pid");
    sh(&format!("echo {} >{}", sleep.pid(), watch_pidfile.display()));
    Service { watch_pidfile: Some(watch_pidfile), ..service(alive) }
}

#[test]
fn the_end_of_the_watched_process_triggers_the_check() {
    let (dir, mut sleep) = (tempfile::tempdir().unwrap(), Sleep::start());
    let fast = Some(Duration::from_millis(10));
    let alive = format!("grep -q '^State:.[^Z]' /proc/{}/status", sleep.pid());
    let check_fail = NonZeroU32::new(3).unwrap();
    let thread = begin(Service { check_fail, check_fast_interval: fast, ..watched(dir.path(), &sleep, &alive) });
    thread.expect(State::Up, "");
    assert_eq!(thread.check.state().watched, Some(sleep.pid().as_raw_pid()));
    sleep.kill();
    thread.expect(State::Down, "");
    thread.wait_for_runs(4);
    assert_eq!(thread.check.state().watched, None);
    thread.end();
}

/// Another process may serve in its place, or the file may have been wrong from the start.
#[test]
fn the_end_of_the_watched_process_changes_nothing_if_the_check_passes() {
    let (dir, mut sleep, mut next) = (tempfile::tempdir().unwrap(), Sleep::start(), Sleep::start());
    let service = watched(dir.path(), &sleep, "true");
    let pidfile = service.watch_pidfile.clone().unwrap();
    let thread = begin(service);
    thread.expect(State::Up, "");
    sleep.kill();
    thread.wait_for_runs(2);
    // If the first end triggered again, it would do so before the second process ends.
    sh(&format!("echo {} >{}", next.pid(), pidfile.display()));
    thread.trigger_after(2);
    thread.wait_for_runs(3);
    next.kill();
    thread.wait_for_runs(4);
    thread.end();
}

/// As in a reload, which stops one thread and leaves the others.
#[test]
fn a_thread_that_watches_a_process_can_be_stopped() {
    let (dir, mut sleep) = (tempfile::tempdir().unwrap(), Sleep::start());
    let thread = begin(watched(dir.path(), &sleep, "true"));
    thread.expect(State::Up, "");
    thread.end();
    sleep.kill();
}

/// The hook runs for each change of state, and for nothing else.
#[test]
fn the_hook_runs_for_each_change_of_state() {
    let dir = tempfile::tempdir().unwrap();
    let (up, output) = (dir.path().join("up"), dir.path().join("output"));
    File::create(&up).unwrap();
    let command = format!("sh -c 'echo $SERVICE $OLD_STATE $NEW_STATE $PREFIXES >>{}'", output.display());
    let command = crate::command::Command::parse(&command).unwrap();
    let state_change = Some(TimedCommand { command, timeout: MINUTE });
    let thread = begin(Service { state_change: state_change.clone(), ..service(&exists(&up)) });
    let expect = |lines: &[&str]| {
        wait_until("the hook", || {
            let output = fs::read_to_string(&output).unwrap_or_default();
            output.lines().eq(lines.iter().map(|states| format!("foo {states} 10.9.0.1/32")))
        });
    };
    thread.expect(State::Up, "");
    expect(&["unknown up"]);
    thread.trigger_after(1);
    thread.wait_for_runs(2);
    fs::remove_file(&up).unwrap();
    thread.trigger_after(2);
    thread.expect(State::Down, "");
    expect(&["unknown up", "up down"]);
    thread.trigger_after(3);
    thread.wait_for_runs(4);
    wait_until("the count", || thread.check.state().hook.succeeded == 2);
    thread.end();

    fs::remove_file(&output).unwrap();
    let thread = begin(Service { state_change, disabled: Some(OnDisabled::Withdraw), ..service("true") });
    thread.expect(State::Down, "");
    expect(&["unknown down"]);
    thread.end();
}
