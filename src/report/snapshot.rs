//! What is known now: published by the threads that know it, read by the status socket, the metrics and the watchdog.
//!
//! Promises: each value has one publisher (a check thread its [`ServiceReport`], where others can only overrule it; the
//! bird-writer its [`BirdReport`]) and any number of readers; a publisher never waits for longer than a reader copies one value.
//! Leaves out: how it is shown (`report::status`, `report::metrics`).

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::check::health::{Progress, State};
use crate::config::settings::{Service, Settings};
use crate::drain::End;
use crate::prefix::{Family, Prefix};

/// A value that one thread publishes and others read.
#[derive(Debug, Default)]
pub struct Published<T>(Mutex<T>);

impl<T> Published<T> {
    /// Publishes a first value.
    pub fn new(value: T) -> Published<T> {
        Published(Mutex::new(value))
    }

    /// The value, for as long as the guard lives: keep it short. A publisher that panicked leaves its last word.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service and what its check thread publishes.
pub type Listed = (Arc<Service>, Arc<Published<ServiceReport>>);

/// One moment on both clocks: the wall's for texts, the monotonic one for what is counted.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// May be set at any time.
    pub wall: SystemTime,
    /// Never is.
    pub monotonic: Instant,
}

impl Now {
    /// Looks at both clocks.
    pub fn read() -> Now {
        Now { wall: SystemTime::now(), monotonic: Instant::now() }
    }
}

/// Everything that is published.
pub struct Board {
    /// When the daemon started.
    pub started: Now,
    /// One for each configured service, in the order of the configuration. A reload puts another list in its place.
    pub services: Published<Arc<[Listed]>>,
    /// The writer's.
    pub bird: Arc<Published<BirdReport>>,
    /// The prefix file of each family that is on, as configured.
    pub files: Vec<(Family, PathBuf)>,
    /// How many log lines were lost so far. Asked whenever someone wants to know.
    pub lines_dropped: Box<dyn Fn() -> u64 + Send + Sync>,
    /// When the running configuration was read.
    pub configured: Published<SystemTime>,
    /// Why the last reload of the configuration was refused; the running one is an older one then.
    pub reload_error: Published<Option<String>>,
}

impl Board {
    /// A board on which nothing is known yet, and no log line lost.
    pub fn new(settings: &Settings) -> Board {
        let reports = settings.services.iter().map(|service| (service.clone(), Arc::default()));
        let files = Family::BOTH.into_iter().filter_map(|family| Some((family, settings.daemon.bird(family)?)));
        let started = Now::read();
        Board {
            started,
            services: Published::new(reports.collect()),
            bird: Arc::default(),
            files: files.map(|(family, bird)| (family, bird.conf.clone())).collect(),
            lines_dropped: Box::new(|| 0),
            configured: Published::new(started.wall),
            reload_error: Published::default(),
        }
    }
}

/// How a service is.
#[derive(Clone, Debug)]
pub struct ServiceReport {
    /// As of the last verdict.
    pub state: State,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// What the run that gave or last confirmed the state came to, see [`RunResult::code`]; none without a verdict.
    pub code: Option<i32>,
    /// Where the counters stood after the last run.
    pub progress: Option<Progress>,
    /// The last run of the check.
    pub last: Option<Run>,
    /// How long the last run took that ended by itself.
    pub duration: Option<Duration>,
    /// Prefixes that are not assigned to the interface.
    pub missing: BTreeSet<Prefix>,
    /// Prefixes that a reload gave to the service, and on which its check has not decided yet.
    pub undecided: BTreeSet<Prefix>,
    /// Runs so far, by what they came to.
    pub counts: Counts,
    /// Changes of state so far, the first verdict included.
    pub transitions: u64,
    /// When the thread has to have said something again: after that it is stuck.
    pub due: Option<Instant>,
    /// The thread missed its time and the service was declared down for it.
    pub stuck: bool,
    /// Why it is withdrawn and nothing is run, where its operator wants it so.
    pub drained: Option<Drained>,
    /// Has the check run at once. Weak, as a check thread ends with its last sender.
    pub orders: Weak<Sender<()>>,
    /// Someone told the writer "down" in the check thread's place, which the thread does not know yet.
    pub overruled: bool,
    /// Why nothing is checked although it should be: the thread cannot be created.
    pub problem: Option<String>,
    /// The process that `watch_pidfile` named at the last check and that is watched.
    pub watched: Option<i32>,
    /// Runs of `state_change_cmd` so far.
    pub hook: HookRuns,
}

impl Default for ServiceReport {
    fn default() -> ServiceReport {
        ServiceReport {
            state: State::Unknown,
            since: SystemTime::now(),
            code: None,
            progress: None,
            last: None,
            duration: None,
            missing: BTreeSet::new(),
            undecided: BTreeSet::new(),
            counts: Counts::default(),
            transitions: 0,
            due: None,
            stuck: false,
            drained: None,
            orders: Weak::new(),
            overruled: false,
            problem: None,
            watched: None,
            hook: HookRuns::default(),
        }
    }
}

/// A service that its operator took out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The drain file that counts: where there are two, the one that ends later.
    pub file: PathBuf,
    /// Until when.
    pub end: End,
    /// When it was noticed.
    pub since: SystemTime,
}

impl ServiceReport {
    /// Where the check of the service starts anew, after a reload that changed it and gave it the prefixes `gained`: the
    /// state and what was counted stay.
    pub fn carried_over(&self, service: &Service, gained: &[Prefix]) -> ServiceReport {
        let named: HashSet<&Prefix> = service.prefixes.iter().collect();
        let still_named = |prefix: &&Prefix| named.contains(prefix);
        let missing = self.missing.iter().filter(|_| service.assigned_to.is_some()).filter(still_named);
        let undecided = self.undecided.iter().filter(still_named).chain(gained);
        ServiceReport {
            progress: None,
            missing: missing.copied().collect(),
            undecided: undecided.copied().collect(),
            due: None,
            stuck: false,
            problem: None,
            ..self.clone()
        }
    }
}

/// Runs of `state_change_cmd` by what they came to. A run's own thread counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookRuns {
    /// Exit code 0.
    pub succeeded: u64,
    /// Anything else.
    pub failed: u64,
    /// Changes of state that were not run, as a later one came while they waited.
    pub skipped: u64,
    /// Why the last run failed, if it did.
    pub problem: Option<String>,
}

/// One run of a check.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it began.
    pub began: SystemTime,
    /// How long the command took; none where it was not run.
    pub took: Option<Duration>,
    /// What it came to.
    pub result: RunResult,
    /// The end of what it printed, both streams, where it failed.
    pub output: String,
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// The command ended with this exit code.
    Exited(i32),
    /// The command was ended by this signal.
    Signaled(i32),
    /// The command ran into `check_timeout`.
    TimedOut,
    /// The command could not be started, for this reason.
    NotStarted(String),
    /// The command was not run: no address of the service is assigned to its interface.
    NotAssigned,
}

impl RunResult {
    /// The value of the original's metric `service_state`: the exit code, minus the signal's number for a command
    /// ended by a signal (as Python has it), 126 for a command that was too slow or could not be started, 1 for an
    /// address that is not assigned.
    pub fn code(&self) -> i32 {
        match self {
            RunResult::Exited(code) => *code,
            RunResult::Signaled(signal) => -signal,
            RunResult::TimedOut | RunResult::NotStarted(_) => 126,
            RunResult::NotAssigned => 1,
        }
    }

    /// The code of the verdict that a run with this result gave or confirmed; none where it did neither.
    pub fn verdict_code(&self, progress: Progress) -> Option<i32> {
        match progress {
            Progress::Changed(State::Up) | Progress::Confirmed(State::Up) => Some(0),
            // Down although the command passed: the thread was stuck.
            Progress::Changed(_) | Progress::Confirmed(_) if *self == RunResult::Exited(0) => {
                Some(RunResult::TimedOut.code())
            }
            Progress::Changed(_) | Progress::Confirmed(_) => Some(self.code()),
            Progress::GoingUp { .. } | Progress::GoingDown { .. } => None,
        }
    }
}

/// Runs by what they came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exit code 0.
    pub passed: u64,
    /// Another exit code, a signal, or not started.
    pub failed: u64,
    /// Ran into `check_timeout`.
    pub timed_out: u64,
    /// When the first time-out was.
    pub first_time_out: Option<SystemTime>,
    /// Not run, the address was not assigned.
    pub not_assigned: u64,
}

/// How the prefix files and BIRD stand to each other.
#[derive(Clone, Debug, Default)]
pub struct BirdReport {
    /// One for each family that is on.
    pub families: Vec<FamilyReport>,
    /// When the step that the writer is in has to be over: after that it is stuck. None while it waits for work.
    pub due: Option<Instant>,
    /// Whether the first reconfigure was tried (or none is needed): from then on the daemon is ready.
    pub ready: bool,
}

/// One family's levels: wanted, in the file, in BIRD.
#[derive(Clone, Debug)]
pub struct FamilyReport {
    /// IPv4 or IPv6.
    pub family: Family,
    /// What the services' states say, dummy included.
    pub wanted: Arc<[Prefix]>,
    /// What the file lists, as of the last time it was read.
    pub in_file: Arc<[Prefix]>,
    /// What BIRD took last, or over a control socket what it said it holds.
    pub in_bird: Arc<[Prefix]>,
    /// Whether the file lists what it should and BIRD took it as it is.
    pub in_sync: bool,
    /// Since when it is not in sync; none where it is.
    pub out_of_sync_since: Option<Instant>,
    /// What is wrong: the last failure of writing the file or reconfiguring BIRD that still stands.
    pub problem: Option<String>,
    /// Reconfigures that BIRD took, finishing later included.
    pub taken: u64,
    /// Reconfigures that failed or were refused.
    pub failed: u64,
    /// When BIRD took the file the last time.
    pub last_success: Option<SystemTime>,
}

/// Where one prefix stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The services' states say that it is to be advertised.
    pub wanted: bool,
    /// The prefix file lists it.
    pub in_file: bool,
    /// BIRD took a file that lists it.
    pub in_bird: bool,
}

/// Where all prefixes stand, to be looked up one by one.
#[derive(Debug, Default)]
pub struct Levels {
    families: HashSet<Family>,
    wanted: HashSet<Prefix>,
    in_file: HashSet<Prefix>,
    in_bird: HashSet<Prefix>,
}

impl Levels {
    /// The lists of both families.
    pub fn new(report: &BirdReport) -> Levels {
        let mut levels = Levels::default();
        for family in &report.families {
            levels.families.insert(family.family);
            levels.wanted.extend(&*family.wanted);
            levels.in_file.extend(&*family.in_file);
            levels.in_bird.extend(&*family.in_bird);
        }
        levels
    }

    /// Where `prefix` stands; nothing where the writer has said nothing of its family yet.
    pub fn of(&self, prefix: &Prefix) -> Option<Level> {
        self.families.contains(&prefix.family()).then(|| Level {
            wanted: self.wanted.contains(prefix),
            in_file: self.in_file.contains(prefix),
            in_bird: self.in_bird.contains(prefix),
        })
    }
}

/// Seconds since 1970; a clock that stands before that counts as standing there.
pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::comparisons::{expect_no_square, prefixes};
    use crate::report::{metrics, sample, status};

    #[test]
    fn codes_of_verdicts() {
        let check = |progress: Progress, result: RunResult, expected: Option<i32>| {
            assert_eq!(result.verdict_code(progress), expected, "{progress:?} {result:?}");
        };
        let (up, down) = (Progress::Changed(State::Up), Progress::Changed(State::Down));
        check(up, RunResult::Exited(0), Some(0));
        check(Progress::Confirmed(State::Up), RunResult::Exited(0), Some(0));
        check(down, RunResult::Exited(7), Some(7));
        check(Progress::Confirmed(State::Down), RunResult::Signaled(9), Some(-9));
        check(down, RunResult::TimedOut, Some(126));
        check(down, RunResult::NotStarted(String::new()), Some(126));
        check(down, RunResult::NotAssigned, Some(1));
        check(down, RunResult::Exited(0), Some(126));
        check(Progress::GoingUp { n: 1, of: 2 }, RunResult::Exited(0), None);
        check(Progress::GoingDown { n: 1, of: 2 }, RunResult::Exited(7), None);
    }

    #[test]
    fn levels_of_a_prefix() {
        let [a, b, c]: [Prefix; 3] = ["10.0.0.1", "10.0.0.2", "fd00::1"].map(|text| text.parse().unwrap());
        let family = FamilyReport { in_bird: Arc::new([b]), ..sample::family(Family::V4, Arc::new([a])) };
        let levels = Levels::new(&BirdReport { families: vec![family], ..BirdReport::default() });
        assert_eq!(levels.of(&a), Some(Level { wanted: true, in_file: true, in_bird: false }));
        assert_eq!(levels.of(&b), Some(Level { wanted: false, in_file: false, in_bird: true }));
        assert_eq!(levels.of(&c), None, "nothing was said of its family");
    }

    #[test]
    fn a_service_with_many_prefixes_takes_no_square_of_comparisons() {
        expect_no_square("reloads and reports", |n| {
            let service = Service { prefixes: prefixes(n), ..sample::service("a", "10.0.0.1/32") };
            let board = sample::board(vec![service.clone()]);
            let all: BTreeSet<Prefix> = service.prefixes.iter().copied().collect();
            let report = ServiceReport {
                missing: all.clone(),
                undecided: all,
                last: Some(Run { began: UNIX_EPOCH, took: None, result: RunResult::Exited(0), output: String::new() }),
                ..ServiceReport::default()
            };
            let carried = report.carried_over(&service, &service.prefixes);
            assert_eq!((carried.missing.len(), carried.undecided.len()), (n, n));
            *board.services.lock()[0].1.lock() = carried;
            assert!(metrics::render(&board, metrics::Process::Up, Now::read()).lines().count() > n);
            assert_eq!(status::document(&board, Now::read(), &jiff::tz::TimeZone::UTC).services[0].prefixes.len(), n);
        });
    }

    #[test]
    fn seconds_of_any_clock() {
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_millis(1500)), 1.5);
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_millis(1500)), 0.0);
    }
}
