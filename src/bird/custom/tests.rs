//! Real commands; the test receives the events of their ends itself.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::command::Command;
use crate::sys::orphans::MAX_PER_OWNER;
use crate::testing::isolated::{beside_sudo, wait_until, BECOMES_ROOT};
use crate::testing::sample::service;

const MINUTE: Duration = Duration::from_secs(60);

/// The services `s0` to `sN` with the prefixes 10.0.0.0/32 to 10.0.0.N/32, and their commands,
/// which append their direction to the file `runs`.
struct Rig {
    dir: tempfile::TempDir,
    commands: CustomCommands,
    events: Receiver<Event>,
    orphans: Arc<Orphans>,
    stop: StopToken,
    /// The prefixes in the file.
    list: Vec<Prefix>,
    /// The family's transport owes BIRD a revision.
    owed: bool,
    /// The current time, advanced by the test.
    now: Instant,
}

fn prefix(n: usize) -> Prefix {
    format!("10.0.0.{n}/32").parse().unwrap()
}

fn timed(command: &str) -> TimedCommand {
    TimedCommand { command: Command::parse(command).unwrap(), timeout: Duration::from_secs(1000) }
}

fn with(n: usize, command: Option<&str>) -> Arc<Service> {
    let service = service(&format!("s{n}"), &format!("10.0.0.{n}/32"));
    Arc::new(Service { custom_reconfigure: command.map(timed), ..service })
}

impl Rig {
    /// All services are listed, and the family's transport notifies BIRD of the list at the start.
    fn new(services: usize) -> Rig {
        let mut rig = Rig::empty((0..services).map(prefix).collect());
        let command = rig.script("");
        let services: Vec<_> = (0..services).map(|n| with(n, Some(&command))).collect();
        rig.reload(&services, true);
        rig
    }

    fn empty(list: Vec<Prefix>) -> Rig {
        let (sender, events) = channel();
        let (stop, orphans) = (StopToken::new().unwrap(), Arc::<Orphans>::default());
        Rig {
            dir: tempfile::tempdir().unwrap(),
            commands: CustomCommands::new(orphans.clone(), sender, stop.clone()),
            events,
            orphans,
            stop,
            list,
            owed: false,
            now: Instant::now(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command that appends its direction to `runs`, then runs `script`.
    fn script(&self, script: &str) -> String {
        format!("sh -c 'echo $0 >> {}; {script}'", self.at("runs").display())
    }

    fn reload(&mut self, services: &[Arc<Service>], is_covered: bool) -> HashSet<Family> {
        let left_to_families = self.commands.reload(services, |_| is_covered);
        self.update();
        left_to_families
    }

    fn update(&mut self) {
        let owed = if self.owed { HashSet::from([Family::V4]) } else { HashSet::new() };
        self.commands.update([self.list.clone().into()].iter(), &owed);
    }

    /// Adds the service's prefix to the list or removes it.
    fn list(&mut self, n: usize, listed: bool) {
        self.list.retain(|known| *known != prefix(n));
        if listed {
            self.list.push(prefix(n));
        }
        self.update();
    }

    fn wakeup(&self) -> Option<Instant> {
        self.commands.next_wakeup(&HashSet::new(), self.now)
    }

    /// Starts the command that is due now.
    fn start(&mut self) {
        let revision = Revision { number: 1, list: self.list.clone().into() };
        self.commands.start_due(&HashSet::new(), self.now, &[(Family::V4, revision)]);
    }

    /// Waits for the end of a run and records it.
    fn end(&mut self) -> (CustomRun, CustomOutcome) {
        match self.events.recv_timeout(MINUTE) {
            Ok(Event::CustomEnded(run)) => {
                let outcome = self.commands.end(&run, self.now);
                self.update();
                (run, outcome)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Advances to the next wake-up and runs the command that is due then.
    fn run(&mut self) -> (CustomRun, CustomOutcome) {
        self.now = self.now.max(self.wakeup().expect("no command is due"));
        self.start();
        assert!(self.commands.is_running());
        self.end()
    }

    /// Runs all commands that are due; the names of their services in order.
    fn run_all(&mut self) -> Vec<Arc<str>> {
        let mut ran = Vec::new();
        while self.wakeup().is_some() {
            ran.push(self.run().0.service);
        }
        ran
    }

    /// The directions of all runs so far.
    fn runs(&self) -> Vec<String> {
        std::fs::read_to_string(self.at("runs")).unwrap_or_default().lines().map(String::from).collect()
    }

    fn owes(&self) -> bool {
        self.commands.owes(Family::V4)
    }

    fn counts(&self) -> (u64, u64) {
        let Counts { taken, failed, .. } = self.commands.counts(Family::V4);
        (taken, failed)
    }
}

#[test]
fn at_the_start_a_command_runs_only_if_its_family_has_no_transport() {
    let rig = Rig::new(2);
    assert_eq!((rig.owes(), rig.wakeup()), (false, None), "the family's transport notifies BIRD");
    let mut rig = Rig::empty(vec![prefix(0)]);
    let command = rig.script("");
    rig.reload(&[with(0, Some(&command)), with(1, Some(&command))], false);
    assert!(rig.owes());
    assert_eq!(rig.run_all(), ["s0".into(), "s1".into()]);
    assert_eq!(rig.runs(), ["up", "down"], "the direction of the service now");
    assert_eq!((rig.owes(), rig.counts()), (false, (2, 0)));
}

#[test]
fn a_command_is_retried_until_it_exits_with_0() {
    let mut rig = Rig::empty(vec![prefix(0)]);
    let command = rig.script(&format!("test -e {}", rig.at("go").display()));
    rig.reload(&[with(0, Some(&command))], true);
    rig.list(0, false);
    let mut delays = Vec::new();
    for failed in 1..=4 {
        let before = rig.now;
        let (run, outcome) = rig.run();
        delays.push((rig.now - before).as_millis());
        assert!(matches!(run.result, Err(CustomError::Failed(_))) && outcome.accepted.is_empty(), "{run:?}");
        assert!(outcome.left_to_families.is_empty(), "it may have reached BIRD, and is retried");
        assert!(rig.owes() && rig.counts() == (0, failed));
        let why = "reconfiguring BIRD failed with return code: 1 and stderr: b'' (custom command of s0)";
        assert_eq!(rig.commands.problem(Family::V4).as_deref(), Some(why));
    }
    assert_eq!(delays, [0, 100, 200, 400]);
    assert_eq!(rig.runs(), ["down"; 4]);
    // A change does not wait for the next retry, and the direction is the current one.
    std::fs::File::create(rig.at("go")).unwrap();
    rig.list(0, true);
    assert_eq!(rig.wakeup(), Some(rig.now));
    let (_, outcome) = rig.run();
    let revision = Revision { number: 1, list: Arc::new([prefix(0)]) };
    assert_eq!(outcome.accepted, [(Family::V4, revision)]);
    assert_eq!(rig.runs()[4..], ["up"]);
    assert_eq!((rig.owes(), rig.commands.problem(Family::V4), rig.counts(), rig.wakeup()), (false, None, (1, 4), None));
    assert!(rig.commands.counts(Family::V4).last_success.is_some());
}

#[test]
fn each_kind_of_failure_has_its_message() {
    let check = |command: &str, why: &str| {
        let mut rig = Rig::empty(vec![prefix(0)]);
        let mut custom = timed(command);
        custom.timeout = Duration::from_millis(300);
        let plain = with(0, None);
        rig.reload(&[Arc::new(Service { custom_reconfigure: Some(custom), ..(*plain).clone() })], false);
        assert_eq!(rig.run().0.result.unwrap_err().to_string(), why);
    };
    check("sh -c 'echo no >&2; exit 3'", "reconfiguring BIRD failed with return code: 3 and stderr: b'no\\n'");
    check("sh -c 'kill -KILL $$'", "reconfiguring BIRD failed with return code: -9 and stderr: b''");
    check("sh -c 'exec sleep 1107'", "reconfiguring bird timed out");
    let missing = "No such file or directory (os error 2): '/nonexistent/custom'";
    check("/nonexistent/custom x", &format!("reconfiguring BIRD failed with: {missing}"));
}

/// BIRD may have read the list in between.
#[test]
fn a_change_that_is_reverted_runs_the_command_again() {
    let mut rig = Rig::empty(vec![prefix(0)]);
    let waits = format!("until [ -e {0} ]; do sleep 0.01; done", rig.at("go").display());
    let command = rig.script(&waits);
    rig.reload(&[with(0, Some(&command))], true);
    // Between runs.
    rig.list(0, false);
    rig.list(0, true);
    assert!(rig.owes());
    // While it runs.
    rig.start();
    rig.list(0, false);
    rig.list(0, true);
    assert!(rig.owes() && rig.wakeup().is_none());
    std::fs::File::create(rig.at("go")).unwrap();
    let (run, _) = rig.end();
    assert!(run.result.is_ok() && rig.owes(), "the list has changed since its start");
    assert_eq!(rig.run_all().len(), 1);
    assert_eq!((rig.runs(), rig.owes()), (vec!["up".to_string(); 2], false));
    // An equal list is no change.
    rig.list(0, true);
    assert_eq!(rig.wakeup(), None);
}

#[test]
fn the_direction_is_that_of_the_service_and_a_shared_prefix_runs_one_command() {
    let mut rig = Rig::empty((0..3).map(prefix).collect());
    let command = rig.script("");
    let several = Service { prefixes: (0..3).map(prefix).collect(), ..(*with(0, Some(&command))).clone() };
    let other = Service { prefixes: vec![prefix(2), prefix(3)], ..(*with(1, Some(&command))).clone() };
    rig.reload(&[Arc::new(several), Arc::new(other)], true);
    for (n, listed, expected) in [(2, false, "up"), (0, false, "up"), (1, false, "down"), (1, true, "up")] {
        rig.list(n, listed);
        assert_eq!(rig.run_all(), ["s0".into()], "the first service that names the prefix");
        assert_eq!(rig.runs().last().unwrap(), expected);
    }
    rig.list(3, true);
    assert_eq!(rig.run_all(), ["s1".into()]);
}

#[test]
fn a_command_that_cannot_be_started_leaves_the_reconfigure_to_its_families() {
    let mut rig = Rig::empty(vec![prefix(0), prefix(1)]);
    let command = rig.script("");
    let services = |custom: &str| [with(0, Some(custom)), with(1, Some(&command))];
    rig.reload(&services("/nonexistent/custom"), true);
    rig.list(0, false);
    let (run, outcome) = rig.run();
    assert!(matches!(run.result, Err(CustomError::CannotRun(_))), "{run:?}");
    assert_eq!((outcome.left_to_families, outcome.accepted.len()), (HashSet::from([Family::V4]), 0));
    assert!(!rig.owes(), "the family's transport is responsible now");
    assert!(rig.commands.problem(Family::V4).is_some() && rig.wakeup().is_some_and(|at| at > rig.now));
    // So it is for each change, until the command can be started.
    rig.list(0, true);
    assert_eq!(rig.run().1.left_to_families.len(), 1);
    rig.reload(&services(&rig.script("")), true);
    assert!(rig.owes());
    assert_eq!(rig.run().1.accepted.len(), 1);
    assert_eq!((rig.owes(), rig.commands.problem(Family::V4)), (false, None));
}

#[test]
fn the_command_of_a_removed_service_runs_once_and_is_retried_while_the_family_owes_bird() {
    let mut rig = Rig::empty(vec![prefix(0), prefix(1)]);
    let (succeeds, fails) = (rig.script(""), rig.script("exit 1"));
    // A command that succeeds runs once.
    rig.reload(&[with(0, Some(&succeeds)), with(1, Some(&fails))], true);
    assert_eq!(rig.reload(&[with(1, Some(&fails))], true), HashSet::from([Family::V4]));
    rig.owed = true;
    rig.list(0, false);
    assert!(!rig.owes(), "a removed service does not keep the family out of sync");
    assert_eq!(rig.run().0.service, "s0".into());
    assert_eq!((rig.commands.commands.len(), rig.wakeup()), (1, None));
    // A command that fails is retried while the family owes BIRD a revision.
    rig.reload(&[], true);
    rig.list(1, false);
    for _ in 0..3 {
        assert!(rig.run().0.result.is_err());
        assert_eq!(rig.commands.commands.len(), 1);
    }
    rig.owed = false;
    rig.update();
    assert_eq!((rig.commands.commands.len(), rig.wakeup()), (0, None));
    // It runs at least once, even if the family is faster.
    rig.list.push(prefix(1));
    rig.reload(&[with(1, Some(&fails))], true);
    rig.reload(&[], true);
    rig.list(1, false);
    assert_eq!(rig.run_all(), ["s1".into()]);
    assert_eq!(rig.commands.commands.len(), 0);
    assert_eq!(rig.runs(), ["down"; 5]);
    assert_eq!(rig.counts(), (1, 4), "counts are kept");
}

#[test]
fn a_service_that_is_removed_and_added_again_has_one_command() {
    let mut rig = Rig::new(2);
    let command = rig.script("");
    rig.reload(&[with(1, Some(&command))], true);
    rig.reload(&[with(0, Some(&command)), with(1, Some(&command))], true);
    rig.list(0, false);
    assert_eq!(rig.run_all(), ["s0".into()]);
    assert_eq!((rig.commands.commands.len(), rig.runs(), rig.counts()), (2, vec!["down".to_string()], (1, 0)));
}

/// The prefix belongs to the other service from then on.
#[test]
fn the_command_of_a_removed_service_does_not_run_for_a_prefix_that_another_service_took_over() {
    let mut rig = Rig::new(2);
    let command = rig.script("");
    let heir = Service { name: "heir".into(), ..(*with(0, None)).clone() };
    let services = [with(1, Some(&command)), Arc::new(heir)];
    assert_eq!(rig.reload(&services, true), HashSet::from([Family::V4]));
    assert_eq!((rig.commands.commands.len(), rig.wakeup()), (1, None));
    rig.list(0, false);
    assert_eq!((rig.wakeup(), rig.owes()), (None, false));
}

#[test]
fn one_command_runs_at_a_time_and_the_longest_waiting_one_is_first() {
    let mut rig = Rig::new(3);
    for n in [2, 0, 1] {
        rig.list(n, false);
    }
    rig.start();
    assert_eq!(rig.wakeup(), None, "a wake-up now would spin until the run ends");
    rig.start();
    assert_eq!(&*rig.end().0.service, "s0");
    // A service that changes all the time does not starve the others.
    rig.list(0, true);
    for (expected, listed) in [("s1", false), ("s2", true), ("s0", true)] {
        assert_eq!(&*rig.run().0.service, expected);
        rig.list(0, listed);
    }
    assert_eq!(rig.runs().len(), 4);
}

#[test]
fn a_command_that_a_reload_changed_runs_again() {
    let mut rig = Rig::new(2);
    let services = [with(0, Some(&rig.script(""))), with(1, Some(&rig.script("")))];
    rig.list(0, false);
    assert_eq!(rig.run_all().len(), 1);
    rig.reload(&services, true);
    assert_eq!(rig.wakeup(), None, "the same command does not run again");
    let other = [with(0, Some(&rig.script("true"))), services[1].clone()];
    rig.reload(&other, true);
    assert!(rig.owes());
    assert_eq!(rig.run_all(), ["s0".into()]);
    assert_eq!(rig.counts(), (2, 0), "counts are kept");
    // The same if the old command is running: its end does not count for the new one.
    rig.list(0, true);
    rig.start();
    rig.reload(&services, true);
    assert!(rig.end().0.result.is_ok() && rig.owes());
    assert_eq!(rig.run_all(), ["s0".into()]);
    // If the command is removed, the family's transport must notify BIRD.
    rig.list(0, false);
    assert_eq!(rig.reload(&[with(0, None), services[1].clone()], true), HashSet::from([Family::V4]));
    assert_eq!((rig.owes(), rig.wakeup(), rig.counts()), (false, None, (4, 0)));
}

#[test]
fn a_foreign_file_change_runs_each_command_of_the_family() {
    let mut rig = Rig::new(2);
    rig.commands.rerun_all(Family::V6);
    assert!(!rig.owes());
    rig.commands.rerun_all(Family::V4);
    assert_eq!(rig.run_all(), ["s0".into(), "s1".into()]);
    assert_eq!(rig.runs(), ["up", "up"]);
}

#[test]
fn no_command_runs_for_a_family_that_is_held() {
    let mut rig = Rig::new(1);
    rig.list(0, false);
    let held = HashSet::from([Family::V4]);
    assert_eq!(rig.commands.next_wakeup(&held, rig.now), None);
    rig.commands.start_due(&held, rig.now, &[]);
    assert!(!rig.commands.is_running() && rig.owes());
    assert!(rig.commands.next_wakeup(&HashSet::from([Family::V6]), rig.now).is_some());
    assert_eq!(rig.run_all().len(), 1);
}

/// The output is parsed like that of birdc. A reconfigure while BIRD 3 is busy kills it, and a BIRD
/// of unknown version may be a BIRD 3.
#[test]
fn a_busy_bird_is_recognized_by_the_output() {
    let check = |output: &str, code: i32, busy: bool| {
        let mut rig = Rig::empty(vec![prefix(0)]);
        let script = format!("printf \"{output}\"; exit {code}");
        rig.reload(&[with(0, Some(&rig.script(&script)))], false);
        let (run, _) = rig.run();
        assert_eq!((run.busy, run.result.is_ok()), (busy, code == 0), "{output}");
    };
    for version in ["0001 BIRD 3.3.2 ready.\\n", "BIRD 3.3.2 ready.\\n", ""] {
        for code in [0, 1] {
            check(&format!("{version}Reconfiguration in progress\\n"), code, true);
            check(&format!("{version}Reconfiguration already in progress, queueing new config\\n"), code, true);
            check(&format!("{version}Reconfigured\\n"), code, false);
        }
    }
    check("0001 BIRD 3.3.2 ready.\\n0002-Reading configuration from /x\\n0004 Reconfiguration in progress\\n", 0, true);
    check("BIRD 2.0.12 ready.\\nReconfiguration in progress\\n", 0, false);
    check("done\\n", 0, false);
}

#[test]
fn after_the_stop_no_command_starts_and_the_drop_kills_a_running_one() {
    let mut rig = Rig::empty(vec![prefix(0), prefix(1)]);
    let script = format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1104'", rig.at("pid").display());
    rig.reload(&[with(0, Some(&script)), with(1, Some(&script))], false);
    rig.start();
    wait_until("the run", || rig.at("pid").exists());
    let pid = std::fs::read_to_string(rig.at("pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    assert!(Path::new(&process).exists());
    let Rig { commands, events, stop, .. } = rig;
    drop(commands);
    wait_until("the end of the run", || !Path::new(&process).exists());
    assert!(stop.stop_requested() && events.recv().is_ok());

    let mut rig = Rig::empty(vec![prefix(0), prefix(1)]);
    rig.reload(&[with(0, Some("sleep 1105")), with(1, Some("sleep 1105"))], false);
    rig.start();
    rig.stop.trigger();
    let (run, _) = rig.end();
    assert_eq!(run.result.unwrap_err().to_string(), "reconfiguring BIRD was ended by the daemon's stop");
    rig.list(0, false);
    rig.start();
    assert!(!rig.commands.is_running() && rig.wakeup().is_none());
}

/// As with a command under sudo and a daemon that is not root.
#[test]
fn no_more_than_four_orphans_are_left() {
    let Some(sudo) = beside_sudo("bird::custom::tests::no_more_than_four_orphans_are_left") else { return };
    let go = sudo.with_file_name("go");
    let script = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let mut rig = Rig::empty(vec![prefix(0)]);
    rig.reload(&[with(0, Some(&format!("{} --reuid=0 --clear-groups sh -c '{script}'", sudo.display())))], false);
    rig.commands.commands.get_mut("s0").unwrap().command.timeout = BECOMES_ROOT;
    for orphans in (1..=MAX_PER_OWNER).chain([MAX_PER_OWNER]) {
        rig.run();
        assert_eq!(rig.orphans.reap(), orphans);
    }
    let why = "reconfiguring BIRD failed: 4 earlier runs could not be killed and still run (custom command of s0)";
    assert_eq!(rig.commands.problem(Family::V4).as_deref(), Some(why));
    std::fs::File::create(go).unwrap();
    rig.commands.commands.get_mut("s0").unwrap().command.timeout = Duration::from_secs(1000);
    wait_until("all to be reaped", || rig.orphans.reap() == 0);
    assert!(rig.run().0.result.is_ok());
    assert_eq!(rig.commands.problem(Family::V4), None);
    let child = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert!(child.is_err(), "a child remains: {child:?}");
}
