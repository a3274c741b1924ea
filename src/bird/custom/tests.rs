//! Real commands, whose ends the test takes off the channel by hand.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::command::Command;
use crate::sys::orphans::MAX_PER_OWNER;
use crate::testing::isolated::{beside_sudo, wait_until, BECOMES_ROOT};
use crate::testing::sample::service;

const MINUTE: Duration = Duration::from_secs(60);

/// The services `s0` to `sN` with the prefixes 10.0.0.0/32 to 10.0.0.N/32, and their commands, which write what they were
/// told into the file `runs`.
struct Rig {
    dir: tempfile::TempDir,
    customs: Customs,
    events: Receiver<Event>,
    orphans: Arc<Orphans>,
    stop: StopToken,
    /// The list.
    list: Vec<Prefix>,
    /// Its family's transport owes BIRD a revision.
    owed: bool,
    /// When it is.
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
    /// All are listed, and the family's transport tells what is listed at the start.
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
            customs: Customs::new(orphans.clone(), sender, stop.clone()),
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

    /// A command that writes down its direction, and does what the test says.
    fn script(&self, does: &str) -> String {
        format!("sh -c 'echo $0 >> {}; {does}'", self.at("runs").display())
    }

    fn reload(&mut self, services: &[Arc<Service>], is_told: bool) -> HashSet<Family> {
        let left = self.customs.reload(services, |_| is_told);
        self.update();
        left
    }

    fn update(&mut self) {
        let owed = if self.owed { HashSet::from([Family::V4]) } else { HashSet::new() };
        self.customs.update([self.list.clone().into()].iter(), &owed);
    }

    /// Puts the service's prefix into the list or takes it out.
    fn list(&mut self, n: usize, listed: bool) {
        self.list.retain(|known| *known != prefix(n));
        if listed {
            self.list.push(prefix(n));
        }
        self.update();
    }

    fn wakeup(&self) -> Option<Instant> {
        self.customs.next_wakeup(&HashSet::new(), self.now)
    }

    /// Starts what is due now.
    fn start(&mut self) {
        let revision = Revision { number: 1, list: self.list.clone().into() };
        self.customs.start_due(&HashSet::new(), self.now, &[(Family::V4, revision)]);
    }

    /// Waits for the end of a run and takes it in.
    fn end(&mut self) -> (CustomRun, CustomOutcome) {
        match self.events.recv_timeout(MINUTE) {
            Ok(Event::CustomEnded(run)) => {
                let outcome = self.customs.end(&run, self.now);
                self.update();
                (run, outcome)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Goes on to the next wake-up, and runs what is due then, to its end. For whom that was.
    fn run(&mut self) -> (CustomRun, CustomOutcome) {
        self.now = self.now.max(self.wakeup().expect("nothing is due"));
        self.start();
        assert!(self.customs.is_running());
        self.end()
    }

    /// Runs all that is due; for whom, in their order.
    fn run_all(&mut self) -> Vec<Arc<str>> {
        let mut ran = Vec::new();
        while self.wakeup().is_some() {
            ran.push(self.run().0.service);
        }
        ran
    }

    /// What the commands were told so far.
    fn runs(&self) -> Vec<String> {
        std::fs::read_to_string(self.at("runs")).unwrap_or_default().lines().map(String::from).collect()
    }

    fn owes(&self) -> bool {
        self.customs.owes(Family::V4)
    }

    fn counts(&self) -> (u64, u64) {
        let Counts { taken, failed, .. } = self.customs.counts(Family::V4);
        (taken, failed)
    }
}

#[test]
fn at_a_start_only_what_nobody_else_tells_is_told() {
    let rig = Rig::new(2);
    assert_eq!((rig.owes(), rig.wakeup()), (false, None), "the family's transport tells it");
    let mut rig = Rig::empty(vec![prefix(0)]);
    let command = rig.script("");
    rig.reload(&[with(0, Some(&command)), with(1, Some(&command))], false);
    assert!(rig.owes());
    assert_eq!(rig.run_all(), ["s0".into(), "s1".into()]);
    assert_eq!(rig.runs(), ["up", "down"], "where the service stands now");
    assert_eq!((rig.owes(), rig.counts()), (false, (2, 0)));
}

#[test]
fn a_command_owes_until_it_exited_with_0() {
    let mut rig = Rig::empty(vec![prefix(0)]);
    let command = rig.script(&format!("test -e {}", rig.at("go").display()));
    rig.reload(&[with(0, Some(&command))], true);
    rig.list(0, false);
    let mut waits = Vec::new();
    for failed in 1..=4 {
        let before = rig.now;
        let (run, outcome) = rig.run();
        waits.push((rig.now - before).as_millis());
        assert!(matches!(run.result, Err(CustomError::Failed(_))) && outcome.taken.is_empty(), "{run:?}");
        assert!(outcome.left_to_families.is_empty(), "it may have told BIRD, and is tried again");
        assert!(rig.owes() && rig.counts() == (0, failed));
        let why = "reconfiguring BIRD failed with return code: 1 and stderr: b'' (custom command of s0)";
        assert_eq!(rig.customs.problem(Family::V4).as_deref(), Some(why));
    }
    assert_eq!(waits, [0, 100, 200, 400], "ever later");
    assert_eq!(rig.runs(), ["down"; 4]);
    // The direction is the one that it has then, and news need not wait for the next retry.
    std::fs::File::create(rig.at("go")).unwrap();
    rig.list(0, true);
    assert_eq!(rig.wakeup(), Some(rig.now));
    let (_, outcome) = rig.run();
    let taken = Revision { number: 1, list: Arc::new([prefix(0)]) };
    assert_eq!(outcome.taken, [(Family::V4, taken)]);
    assert_eq!(rig.runs()[4..], ["up"]);
    assert_eq!((rig.owes(), rig.customs.problem(Family::V4), rig.counts(), rig.wakeup()), (false, None, (1, 4), None));
    assert!(rig.customs.counts(Family::V4).last_success.is_some());
}

#[test]
fn each_way_to_fail_has_its_words() {
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
fn a_change_there_and_back_is_told_again() {
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
    assert!(run.result.is_ok() && rig.owes(), "what it told was overtaken");
    assert_eq!(rig.run_all().len(), 1);
    assert_eq!((rig.runs(), rig.owes()), (vec!["up".to_string(); 2], false));
    // A list that is the same is no change.
    rig.list(0, true);
    assert_eq!(rig.wakeup(), None);
}

#[test]
fn the_direction_is_the_services_and_a_shared_prefix_is_told_once() {
    let mut rig = Rig::empty((0..3).map(prefix).collect());
    let command = rig.script("");
    let several = Service { prefixes: (0..3).map(prefix).collect(), ..(*with(0, Some(&command))).clone() };
    let other = Service { prefixes: vec![prefix(2), prefix(3)], ..(*with(1, Some(&command))).clone() };
    rig.reload(&[Arc::new(several), Arc::new(other)], true);
    for (n, listed, expected) in [(2, false, "up"), (0, false, "up"), (1, false, "down"), (1, true, "up")] {
        rig.list(n, listed);
        assert_eq!(rig.run_all(), ["s0".into()], "the first that names it");
        assert_eq!(rig.runs().last().unwrap(), expected);
    }
    rig.list(3, true);
    assert_eq!(rig.run_all(), ["s1".into()]);
}

#[test]
fn a_command_that_cannot_be_run_leaves_the_telling_to_its_families() {
    let mut rig = Rig::empty(vec![prefix(0), prefix(1)]);
    let command = rig.script("");
    let services = |custom: &str| [with(0, Some(custom)), with(1, Some(&command))];
    rig.reload(&services("/nonexistent/custom"), true);
    rig.list(0, false);
    let (run, outcome) = rig.run();
    assert!(matches!(run.result, Err(CustomError::CannotRun(_))), "{run:?}");
    assert_eq!((outcome.left_to_families, outcome.taken.len()), (HashSet::from([Family::V4]), 0));
    assert!(!rig.owes(), "it is the family's now");
    assert!(rig.customs.problem(Family::V4).is_some() && rig.wakeup().is_some_and(|at| at > rig.now));
    // Each of its changes is, until it can be run.
    rig.list(0, true);
    assert_eq!(rig.run().1.left_to_families.len(), 1);
    rig.reload(&services(&rig.script("")), true);
    assert!(rig.owes());
    assert_eq!(rig.run().1.taken.len(), 1);
    assert_eq!((rig.owes(), rig.customs.problem(Family::V4)), (false, None));
}

#[test]
fn the_command_of_a_service_that_is_gone_is_tried_once_and_then_while_the_family_owes() {
    let mut rig = Rig::empty(vec![prefix(0), prefix(1)]);
    let (well, fails) = (rig.script(""), rig.script("exit 1"));
    // One that succeeds tells it.
    rig.reload(&[with(0, Some(&well)), with(1, Some(&fails))], true);
    assert_eq!(rig.reload(&[with(1, Some(&fails))], true), HashSet::from([Family::V4]));
    rig.owed = true;
    rig.list(0, false);
    assert!(!rig.owes(), "a service that is gone keeps nobody from being in sync");
    assert_eq!(rig.run().0.service, "s0".into());
    assert_eq!((rig.customs.commands.len(), rig.wakeup()), (1, None));
    // One that fails is tried again as long as the family owes it.
    rig.reload(&[], true);
    rig.list(1, false);
    for _ in 0..3 {
        assert!(rig.run().0.result.is_err());
        assert_eq!(rig.customs.commands.len(), 1);
    }
    rig.owed = false;
    rig.update();
    assert_eq!((rig.customs.commands.len(), rig.wakeup()), (0, None));
    // It is tried once, also where the family is quicker.
    rig.list.push(prefix(1));
    rig.reload(&[with(1, Some(&fails))], true);
    rig.reload(&[], true);
    rig.list(1, false);
    assert_eq!(rig.run_all(), ["s1".into()]);
    assert_eq!(rig.customs.commands.len(), 0);
    assert_eq!(rig.runs(), ["down"; 5]);
    assert_eq!(rig.counts(), (1, 4), "what was counted stays");
}

/// Its prefix went to another service, so that nothing has left.
#[test]
fn a_service_that_is_gone_and_comes_back_has_one_command() {
    let mut rig = Rig::new(2);
    let command = rig.script("");
    rig.reload(&[with(1, Some(&command))], true);
    rig.reload(&[with(0, Some(&command)), with(1, Some(&command))], true);
    rig.list(0, false);
    assert_eq!(rig.run_all(), ["s0".into()]);
    assert_eq!((rig.customs.commands.len(), rig.runs(), rig.counts()), (2, vec!["down".to_string()], (1, 0)));
}

/// What becomes of the prefix later is the other service's affair.
#[test]
fn a_service_that_is_gone_tells_nothing_of_a_prefix_that_another_took_over() {
    let mut rig = Rig::new(2);
    let command = rig.script("");
    let heir = Service { name: "heir".into(), ..(*with(0, None)).clone() };
    let services = [with(1, Some(&command)), Arc::new(heir)];
    assert_eq!(rig.reload(&services, true), HashSet::from([Family::V4]));
    assert_eq!((rig.customs.commands.len(), rig.wakeup()), (1, None));
    rig.list(0, false);
    assert_eq!((rig.wakeup(), rig.owes()), (None, false));
}

#[test]
fn one_runs_at_a_time_and_the_one_that_waited_longest_is_first() {
    let mut rig = Rig::new(3);
    for n in [2, 0, 1] {
        rig.list(n, false);
    }
    rig.start();
    assert_eq!(rig.wakeup(), None, "its time would come again and again, and never its turn");
    rig.start();
    assert_eq!(&*rig.end().0.service, "s0");
    // One that changes all the time does not keep the others from their turn.
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
    assert_eq!(rig.wakeup(), None, "the same one need not");
    let other = [with(0, Some(&rig.script("true"))), services[1].clone()];
    rig.reload(&other, true);
    assert!(rig.owes());
    assert_eq!(rig.run_all(), ["s0".into()]);
    assert_eq!(rig.counts(), (2, 0), "what was counted stays");
    // Also where the old one runs at that moment: its end tells nothing of the new one.
    rig.list(0, true);
    rig.start();
    rig.reload(&services, true);
    assert!(rig.end().0.result.is_ok() && rig.owes());
    assert_eq!(rig.run_all(), ["s0".into()]);
    // Without one the family has to tell what it owed.
    rig.list(0, false);
    assert_eq!(rig.reload(&[with(0, None), services[1].clone()], true), HashSet::from([Family::V4]));
    assert_eq!((rig.owes(), rig.wakeup(), rig.counts()), (false, None, (4, 0)));
}

#[test]
fn a_file_of_somebody_elses_has_each_command_of_the_family_tell_it_anew() {
    let mut rig = Rig::new(2);
    rig.customs.forget(Family::V6);
    assert!(!rig.owes());
    rig.customs.forget(Family::V4);
    assert_eq!(rig.run_all(), ["s0".into(), "s1".into()]);
    assert_eq!(rig.runs(), ["up", "up"]);
}

#[test]
fn nothing_is_run_for_a_family_that_is_held() {
    let mut rig = Rig::new(1);
    rig.list(0, false);
    let held = HashSet::from([Family::V4]);
    assert_eq!(rig.customs.next_wakeup(&held, rig.now), None);
    rig.customs.start_due(&held, rig.now, &[]);
    assert!(!rig.customs.is_running() && rig.owes());
    assert!(rig.customs.next_wakeup(&HashSet::from([Family::V6]), rig.now).is_some());
    assert_eq!(rig.run_all().len(), 1);
}

/// The output is read like that of BIRD's client. No other reconfigure may come while BIRD 3 is busy, and what says no
/// version may be one.
#[test]
fn output_that_says_that_bird_is_busy_is_heard() {
    let check = |output: &str, code: i32, busy: bool| {
        let mut rig = Rig::empty(vec![prefix(0)]);
        let says = format!("printf \"{output}\"; exit {code}");
        rig.reload(&[with(0, Some(&rig.script(&says)))], false);
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
fn after_the_stop_nothing_is_started_and_at_the_end_nothing_runs() {
    let mut rig = Rig::empty(vec![prefix(0), prefix(1)]);
    let script = format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1104'", rig.at("pid").display());
    rig.reload(&[with(0, Some(&script)), with(1, Some(&script))], false);
    rig.start();
    wait_until("the run", || rig.at("pid").exists());
    let pid = std::fs::read_to_string(rig.at("pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    assert!(Path::new(&process).exists());
    let Rig { customs, events, stop, .. } = rig;
    drop(customs);
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
    assert!(!rig.customs.is_running() && rig.wakeup().is_none());
}

/// What a command under sudo is to a daemon that is not root.
#[test]
fn no_more_than_four_runs_are_left() {
    let Some(sudo) = beside_sudo("bird::custom::tests::no_more_than_four_runs_are_left") else { return };
    let go = sudo.with_file_name("go");
    let script = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let mut rig = Rig::empty(vec![prefix(0)]);
    rig.reload(&[with(0, Some(&format!("{} --reuid=0 --clear-groups sh -c '{script}'", sudo.display())))], false);
    rig.customs.commands.get_mut("s0").unwrap().command.timeout = BECOMES_ROOT;
    for left in (1..=MAX_PER_OWNER).chain([MAX_PER_OWNER]) {
        rig.run();
        assert_eq!(rig.orphans.reap(), left);
    }
    let why = "reconfiguring BIRD failed: 4 earlier runs could not be killed and still run (custom command of s0)";
    assert_eq!(rig.customs.problem(Family::V4).as_deref(), Some(why));
    std::fs::File::create(go).unwrap();
    rig.customs.commands.get_mut("s0").unwrap().command.timeout = Duration::from_secs(1000);
    wait_until("all to be reaped", || rig.orphans.reap() == 0);
    assert!(rig.run().0.result.is_ok());
    assert_eq!(rig.customs.problem(Family::V4), None);
    let child = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert!(child.is_err(), "a child is left: {child:?}");
}
