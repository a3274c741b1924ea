//! Real threads that run real programs, most of them a line of `sh`. Their interval is a day, so that they run when the
//! test orders it.

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

/// A service that runs a line of `sh` once a day; one outcome decides; nobody looks at its addresses.
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

/// What check threads share, where their hints arrive, and the thread that watches the addresses. `stop` ends all but the
/// checks.
pub(crate) fn context(stop: &StopToken) -> (Context, Receiver<Event>, JoinHandle<()>) {
    let (sender, events) = channel();
    let orphans = Arc::<Orphans>::default();
    let announcer = Announcer { events: sender, hooks: Hooks::new(orphans.clone(), stop.clone()) };
    let (address_watcher, watching) = AddressWatcher::start(announcer.clone(), stop.clone()).unwrap();
    let process_watcher = Watcher::new(stop.clone());
    (
        Context { announcer, address_watcher, process_watcher, orphans, start_limiter: StartLimiter::new() },
        events,
        watching,
    )
}

/// A check thread and all its ends.
struct Started {
    check: Arc<Check>,
    events: Receiver<Event>,
    context: Context,
    stop: StopToken,
    threads: [JoinHandle<()>; 2],
}

impl Started {
    /// One that goes on from what is known of the service.
    fn new(check: Check, delay: FirstRun) -> Started {
        let (check, stop) = (Arc::new(check), StopToken::new().unwrap());
        let (context, events, watching) = context(&stop);
        let thread = start(check.clone(), context.clone(), delay).unwrap();
        Started { check, events, context, stop, threads: [thread, watching] }
    }

    /// Waits for the next hint, after which the state is this and these prefixes are missing.
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

    /// Orders a run once the `n` runs before it have ended.
    fn order_after(&self, n: u64) {
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

    /// Waits until the thread has nothing to do for a long time.
    fn wait_for_sleep(&self) {
        wait_until("the sleep", || self.check.state().deadline().is_some_and(|at| at > Instant::now() + DAY / 2));
    }

    /// What others change: the drain watcher, the supervisor.
    fn change(&self, transition: impl FnOnce(&mut CheckState) -> Change) {
        let change = transition(&mut self.check.state_mut());
        self.context.announcer.announce(&self.check, change);
    }

    /// Stops the thread, and hands out the hints that nobody has taken.
    fn stop(self) -> Vec<Event> {
        self.check.trigger.stop();
        let [thread, watching] = self.threads;
        thread.join().unwrap();
        self.stop.trigger();
        watching.join().unwrap();
        self.events.try_iter().collect()
    }

    /// [`Started::stop`], and every hint has been taken.
    fn end(self) {
        let said = self.stop();
        assert!(said.is_empty(), "{said:?}");
    }
}

fn begin(service: Service) -> Started {
    Started::new(Check::new(Arc::new(service)), FirstRun::default())
}

/// From its first run on, as long as runs that all come to the same may take; nothing of it is left once there is one.
#[test]
fn a_first_verdict_has_its_time() {
    let before = Instant::now();
    let offset = Duration::from_millis(10);
    let two = |script| Service { check_rise: NonZeroU32::new(2).unwrap(), ..service(script) };
    let started = Started::new(Check::new(Arc::new(two("true"))), FirstRun { offset, splay: Duration::ZERO });
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

/// A script that goes on once `path` exists, or the test with its directory does no more.
fn waits_for(path: &Path) -> String {
    let directory = path.parent().unwrap().display();
    format!("while [ -d {directory} -a ! -e {} ]; do sleep 0.01; done", path.display())
}

/// A number of seconds by which a `sleep` of this test program can be told from those of any other.
fn seconds(n: u32) -> String {
    format!("{n}.{}", std::process::id())
}

fn sleeps(n: u32) -> bool {
    let line = format!("sleep\0{}\0", seconds(n));
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.any(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|found| found == line.as_bytes()))
}

#[test]
fn rise_and_fall_and_only_changes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let up = dir.path().join("up");
    File::create(&up).unwrap();
    let numbers = [2, 3].map(|n| NonZeroU32::new(n).unwrap());
    let thread = begin(Service { check_rise: numbers[0], check_fail: numbers[1], ..service(&exists(&up)) });
    let state = |n| {
        thread.wait_for_runs(n);
        thread.check.state().state()
    };
    assert_eq!(state(1), State::Unknown);
    thread.order_after(1);
    thread.expect(State::Up, "");
    assert_eq!(state(2), State::Up);
    thread.order_after(2);
    thread.wait_for_runs(3);
    fs::remove_file(&up).unwrap();
    thread.order_after(3);
    thread.order_after(4);
    assert_eq!(state(5), State::Up);
    thread.order_after(5);
    thread.expect(State::Down, "");
    thread.order_after(6);
    thread.wait_for_runs(7);
    assert_eq!(thread.state_and_transitions(), (State::Down, 2));
    let counts = thread.check.state().counts.clone();
    assert_eq!((counts.passed, counts.failed), (3, 4));
    thread.end();
}

/// The grid has a point a day away, yet the state is decided: the fast interval holds until it is.
#[test]
fn undecided_is_looked_at_faster() {
    let fast = Some(Duration::from_millis(1));
    let thread =
        begin(Service { check_rise: NonZeroU32::new(5).unwrap(), check_fast_interval: fast, ..service("true") });
    thread.expect(State::Up, "");
    assert_eq!(thread.runs(), 5);
    thread.end();
}

#[test]
fn too_slow_a_check_is_killed_with_all_its_children() {
    let script = "echo said; (sleep 1101 | sleep 1101) & sleep 1101".replace("1101", &seconds(1101));
    let thread = begin(Service { check_timeout: Duration::from_millis(300), ..service(&script) });
    thread.expect(State::Down, "");
    let Run { duration: took, result, output, .. } = thread.last();
    assert_eq!((result, output.as_str()), (RunResult::TimedOut, "said\n"));
    assert!(took.unwrap() >= Duration::from_millis(300));
    let counts = thread.check.state().counts.clone();
    assert!(counts.timed_out == 1 && counts.first_time_out.is_some());
    wait_until("no sleep 1101", || !sleeps(1101));
    thread.end();
}

#[test]
fn what_cannot_run_is_a_failed_check_with_its_reason() {
    let check_cmd = crate::command::Command::parse("/nonexistent/check -v").unwrap();
    let thread = begin(Service { check_cmd, ..service("") });
    thread.expect(State::Down, "");
    let why = "cannot run /nonexistent/check: No such file or directory (os error 2)".to_string();
    assert_eq!(thread.last().result, RunResult::NotStarted(why));
    thread.order_after(1);
    thread.wait_for_runs(2);
    thread.end();
}

#[test]
fn exit_codes_signals_and_output_are_reported() {
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
fn orders_during_a_run_make_one_more_run_after_it() {
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
fn a_stop_kills_the_running_check_and_says_nothing() {
    let thread = begin(service(&format!("sleep {}; exit 1", seconds(1102))));
    wait_until("a sleep 1102", || sleeps(1102));
    thread.end();
    wait_until("no sleep 1102", || !sleeps(1102));
}

/// Its interval is a day, so only the stop can have ended it; and an order to check does not come before that.
#[test]
fn a_thread_that_sleeps_ends_with_the_stop() {
    let thread = begin(service("true"));
    thread.expect(State::Up, "");
    thread.wait_for_sleep();
    thread.end();
}

/// A reload takes the state over when it has stopped the check: nothing may change after that.
#[test]
fn nothing_changes_once_the_check_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (started, go) = (dir.path().join("started"), dir.path().join("go"));
    let thread = begin(service(&format!("touch {}; {}", started.display(), waits_for(&go))));
    wait_until("a run", || started.exists());
    {
        // The thread can change nothing before the stop.
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
    let thread = Started::new(check, FirstRun::default());
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
        assert!(thread.check.state().deadline().is_none(), "nobody waits for a word of it");
        thread.end();
    }
}

#[test]
fn a_panic_is_the_last_word() {
    if !alone("check::worker::tests::a_panic_is_the_last_word", &["env"], &this_program()) {
        return;
    }
    /// The only thing in reach of a check thread that can be made to panic from outside is the log.
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
fn what_is_not_assigned_is_down_and_an_address_that_comes_wakes_its_check() {
    let name = "check::worker::tests::what_is_not_assigned_is_down_and_an_address_that_comes_wakes_its_check";
    if !in_own_network(name) {
        return;
    }
    let prefixes = vec!["10.9.0.1/32".parse().unwrap(), "fd00::2/128".parse().unwrap()];
    let thread = begin(Service { prefixes, assigned_to: Some("lo".to_string()), ..service("true") });
    thread.context.address_watcher.follow(Arc::from([thread.check.clone()]));
    thread.expect(State::Down, "10.9.0.1/32,fd00::2/128");
    let Run { duration: took, result, .. } = thread.last();
    assert_eq!((took, result), (None, RunResult::NotAssigned));
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

/// A supervisor signals the check and the daemon, the daemon a little later: no verdict.
#[test]
fn a_check_that_the_supervisor_ended_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("echo $$ >{0}.new; mv {0}.new {0}; kill -TERM $$", pid.display());
    let ended = || match fs::read_to_string(&pid) {
        Ok(pid) => !Path::new("/proc").join(pid.trim()).exists(),
        Err(_) => false,
    };
    // On a machine that is busy elsewhere the stop may come too late; then it is tried again.
    wait_until("a stop in time", || {
        let _ = fs::remove_file(&pid);
        let thread = begin(service(&script));
        wait_until("the check's end", ended);
        thread.stop().is_empty()
    });
}

#[test]
fn a_check_that_somebody_else_ended_is_a_failure_a_little_later() {
    let before = Instant::now();
    let thread = begin(service("kill -TERM $$"));
    thread.expect(State::Down, "");
    assert!(before.elapsed() >= SUPERVISOR_GRACE);
    assert_eq!(thread.last().result, RunResult::Signaled(15));
    thread.end();
}

#[test]
fn which_ends_may_be_a_supervisors() {
    let check = |result, expected| assert_eq!(ended_by_supervisor(&result), expected, "{result:?}");
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
    // This run was stuck, so that it passed in the end counts for nothing.
    assert!(!thread.check.state().is_stuck());
    assert_eq!(thread.state_and_transitions(), (State::Down, 1));
    thread.expect_silence();
    thread.order_after(1);
    thread.expect(State::Up, "");
    thread.end();
}

#[test]
fn the_longest_times_run_over_nothing() {
    let longest = Service {
        check_interval: Duration::MAX,
        check_timeout: Duration::MAX,
        check_fast_interval: Some(Duration::MAX),
        check_rise: NonZeroU32::new(2).unwrap(),
        ..service("true")
    };
    let thread = begin(longest.clone());
    thread.order_after(1);
    thread.expect(State::Up, "");
    thread.end();
    // And the first run may be as far away, but an order comes before it.
    let thread = Started::new(Check::new(Arc::new(longest)), FirstRun { offset: Duration::ZERO, splay: Duration::MAX });
    thread.order_after(0);
    thread.order_after(1);
    thread.expect(State::Up, "");
    thread.end();
}

impl Started {
    /// The drain begins, as the thread that looks at the files has it.
    fn drain(&self) {
        self.change(|state| state.drain("/run/drain".into(), DrainEnd::Never));
    }

    fn end_drain(&self) {
        self.change(|state| state.end_drain(&self.check.service));
        // It is not its operator any more who keeps it down.
        self.expect(State::Down, "");
        self.check.trigger.check_now();
    }

    /// Orders a cycle, in which nothing is to be run, and waits until it is over.
    fn wait_for_rest(&self) {
        self.wait_for_sleep();
        let before = self.check.state().thread_progress();
        self.check.trigger.check_now();
        // One word at the begin of the cycle, one after it.
        wait_until("the rest", || self.check.state().thread_progress() == before + 2);
    }
}

#[test]
fn a_drained_service_is_down_and_runs_nothing_until_it_has_risen_again() {
    let rise = NonZeroU32::new(2).unwrap();
    let thread = begin(Service { check_rise: rise, ..service("true") });
    thread.order_after(1);
    thread.expect(State::Up, "");
    thread.wait_for_runs(2);
    thread.drain();
    thread.expect(State::Down, "");
    thread.wait_for_rest();
    assert_eq!(thread.runs(), 2);
    thread.end_drain();
    // The interval is a day: the end of the drain is an order.
    thread.order_after(3);
    thread.expect(State::Up, "");
    assert_eq!(thread.state_and_transitions(), (State::Up, 3));
    thread.end();
}

#[test]
fn a_drain_during_a_run_is_told_at_once_and_the_run_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (started, go) = (dir.path().join("started"), dir.path().join("go"));
    let thread = begin(service(&format!("touch {}; {}", started.display(), waits_for(&go))));
    wait_until("a run", || started.exists());
    thread.drain();
    thread.expect(State::Down, "");
    File::create(&go).unwrap();
    thread.wait_for_rest();
    assert_eq!((thread.runs(), thread.state_and_transitions()), (0, (State::Down, 1)));
    thread.expect_silence();
    thread.end_drain();
    thread.expect(State::Up, "");
    thread.end();
}

/// The thread sleeps for a day and does not see the drain's begin; the service was down, and has to be up again.
#[test]
fn a_drain_that_the_thread_slept_through_is_made_good_at_once() {
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
fn a_drained_service_whose_check_is_disabled_stays_out() {
    let check = Check::new(Arc::new(Service { disabled: Some(OnDisabled::Advertise), ..service("true") }));
    let _ = check.state_mut().drain("/run/drain".into(), DrainEnd::Never);
    let thread = Started::new(check, FirstRun::default());
    wait_until("the thread's end", || thread.threads[0].is_finished());
    assert_eq!(thread.state_and_transitions(), (State::Down, 1));
    thread.end();
}

/// What a check under sudo is to a daemon that is not root: it may not be killed. Four of them are enough.
#[test]
fn no_more_than_four_runs_are_left() {
    let Some(sudo) = beside_sudo("check::worker::tests::no_more_than_four_runs_are_left") else { return };
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
        thread.order_after(n);
    }
    thread.wait_for_runs(5);
    let why = "4 earlier runs could not be killed and still run".to_string();
    assert_eq!(thread.last().result, RunResult::NotStarted(why));
    // They end by themselves and are reaped; then it runs again.
    File::create(&go).unwrap();
    let mut runs = 5;
    wait_until("a run that passes", || {
        thread.order_after(runs);
        runs += 1;
        thread.wait_for_runs(runs);
        thread.last().result == RunResult::Exited(0)
    });
    thread.expect(State::Up, "");
    thread.end();
}

/// A day passes between two points of the grid, so it can only have been the fast interval that led from the first
/// failure to the verdict; and there it ends.
#[test]
fn from_the_first_failure_to_the_verdict_at_the_fast_interval_and_no_longer() {
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
    // One more run by order, and none beside it.
    thread.order_after(4);
    thread.wait_for_runs(5);
    thread.end();
}

#[test]
fn without_a_fast_interval_a_failure_waits_for_the_grid() {
    let thread = begin(Service { check_fail: NonZeroU32::new(2).unwrap(), ..service("exit 1") });
    thread.order_after(1);
    thread.expect(State::Down, "");
    thread.wait_for_runs(2);
    thread.end();
}

/// A service whose pidfile names this process, and which is up while `alive` holds.
fn watched(dir: &Path, sleep: &Sleep, alive: &str) -> Service {
    let watch_pidfile = dir.join("pid");
    sh(&format!("echo {} >{}", sleep.pid(), watch_pidfile.display()));
    Service { watch_pidfile: Some(watch_pidfile), ..service(alive) }
}

#[test]
fn a_process_that_ends_has_its_service_checked_at_once() {
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

/// Another process answers in its place, or the file was wrong from the start.
#[test]
fn where_the_check_passes_all_the_same_nothing_happens_but_that_one_run() {
    let (dir, mut sleep, mut next) = (tempfile::tempdir().unwrap(), Sleep::start(), Sleep::start());
    let service = watched(dir.path(), &sleep, "true");
    let pidfile = service.watch_pidfile.clone().unwrap();
    let thread = begin(service);
    thread.expect(State::Up, "");
    sleep.kill();
    thread.wait_for_runs(2);
    // Were the first one told of again, it would be before the second.
    sh(&format!("echo {} >{}", next.pid(), pidfile.display()));
    thread.order_after(2);
    thread.wait_for_runs(3);
    next.kill();
    thread.wait_for_runs(4);
    thread.end();
}

/// What is watched must not keep a thread that is to end, as with a reload, which goes on with the others.
#[test]
fn a_thread_that_watches_a_process_ends_and_the_process_is_forgotten() {
    let (dir, mut sleep) = (tempfile::tempdir().unwrap(), Sleep::start());
    let thread = begin(watched(dir.path(), &sleep, "true"));
    thread.expect(State::Up, "");
    thread.end();
    sleep.kill();
}

/// Each change of state is told to the hook, and only those.
#[test]
fn the_hook_is_told_of_each_change() {
    let dir = tempfile::tempdir().unwrap();
    let (up, told) = (dir.path().join("up"), dir.path().join("told"));
    File::create(&up).unwrap();
    let command = format!("sh -c 'echo $SERVICE $OLD_STATE $NEW_STATE $PREFIXES >>{}'", told.display());
    let command = crate::command::Command::parse(&command).unwrap();
    let state_change = Some(TimedCommand { command, timeout: MINUTE });
    let thread = begin(Service { state_change: state_change.clone(), ..service(&exists(&up)) });
    let expect = |lines: &[&str]| {
        wait_until("the hook", || {
            let told = fs::read_to_string(&told).unwrap_or_default();
            told.lines().eq(lines.iter().map(|states| format!("foo {states} 10.9.0.1/32")))
        });
    };
    thread.expect(State::Up, "");
    expect(&["unknown up"]);
    thread.order_after(1);
    thread.wait_for_runs(2);
    fs::remove_file(&up).unwrap();
    thread.order_after(2);
    thread.expect(State::Down, "");
    expect(&["unknown up", "up down"]);
    thread.order_after(3);
    thread.wait_for_runs(4);
    wait_until("the count", || thread.check.state().hook.succeeded == 2);
    thread.end();

    fs::remove_file(&told).unwrap();
    let thread = begin(Service { state_change, disabled: Some(OnDisabled::Withdraw), ..service("true") });
    thread.expect(State::Down, "");
    expect(&["unknown down"]);
    thread.end();
}
