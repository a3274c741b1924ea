//! Real commands, whose ends the test takes off the channel by hand.

use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::command::Command;
use crate::report::sample::service;
use crate::sys::alone::{beside_sudo, wait_until, BECOMES_ROOT};

/// Services `s0` to `sN`, each with the same command.
fn customs(services: usize, command: &str) -> (Customs, Receiver<Event>, StopLine) {
    let (events, received) = channel();
    let stop = StopLine::new().unwrap();
    let command = TimedCommand { command: Command::parse(command).unwrap(), timeout: Duration::from_secs(1000) };
    let with_command =
        |n| Service { custom_reconfigure: Some(command.clone()), ..service(&format!("s{n}"), "10.0.0.1/32") };
    let mut customs = Customs::new(events, stop.clone());
    customs.reload(&(0..services).map(with_command).map(Arc::new).collect::<Vec<_>>());
    (customs, received, stop)
}

/// Waits for the end of a run and takes it in; says for which service.
fn ended(customs: &mut Customs, events: &Receiver<Event>, now: Instant) -> Arc<str> {
    match events.recv_timeout(Duration::from_secs(60)) {
        Ok(Event::CustomDone { service, result }) => {
            customs.done(&service, result, now);
            service
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_that_finds_no_place_waits_for_the_end_of_a_run() {
    let (mut customs, events, stop) = customs(MOST + 1, "sleep 1103");
    let now = Instant::now();
    customs.changed("s0", Direction::Down);
    customs.start_due(now, &[]);
    stop.pull();
    assert_eq!(&*ended(&mut customs, &events, now), "s0");
    customs.stop = StopLine::new().unwrap();
    assert!(customs.earliest(now).is_some_and(|at| at > now), "it failed, and is tried again");
    // Before that the others take all places. They never end by themselves.
    (1..=MOST).for_each(|n| customs.changed(&format!("s{n}"), Direction::Down));
    customs.start_due(now, &[]);
    assert_eq!(customs.earliest(now), None, "its time would come again and again, and never its turn");
    customs.stop.pull();
    ended(&mut customs, &events, now);
    assert_eq!(customs.earliest(now), None, "the daemon stops");
    customs.stop = StopLine::new().unwrap();
    assert!(customs.earliest(now).is_some());
    (1..MOST).for_each(|_| drop(ended(&mut customs, &events, now)));
}

#[test]
fn after_the_stop_nothing_is_started_and_at_the_end_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| dir.path().join(name);
    let script = format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1104'", run("pid").display());
    let (mut all, events, stop) = customs(2, &script);
    all.changed("s0", Direction::Down);
    all.start_due(Instant::now(), &[]);
    wait_until("the run", || run("pid").exists());
    let pid = std::fs::read_to_string(run("pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    assert!(std::path::Path::new(&process).exists());
    drop(all);
    wait_until("the end of the run", || !std::path::Path::new(&process).exists());
    assert!(stop.is_pulled() && events.recv().is_ok());

    let (mut all, events, stop) = customs(MOST + 3, "sleep 1105");
    (0..MOST + 3).for_each(|n| all.changed(&format!("s{n}"), Direction::Down));
    all.start_due(Instant::now(), &[]);
    stop.pull();
    let first = ended(&mut all, &events, Instant::now());
    all.changed(&first, Direction::Up);
    all.start_due(Instant::now(), &[]);
    (1..MOST).for_each(|_| drop(ended(&mut all, &events, Instant::now())));
    assert!(!all.busy() && all.earliest(Instant::now()).is_none());
    assert_eq!(all.problems().count(), MOST);
}

/// What a command under sudo is to a daemon that is not root.
#[test]
fn no_more_than_four_runs_are_left() {
    let Some(sudo) = beside_sudo("bird::custom::tests::no_more_than_four_runs_are_left") else { return };
    let go = sudo.with_file_name("go");
    let script = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let (mut customs, events, _) = customs(1, &format!("{} --reuid=0 --clear-groups sh -c '{script}'", sudo.display()));
    customs.commands.get_mut("s0").unwrap().command.as_mut().unwrap().timeout = BECOMES_ROOT;
    customs.changed("s0", Direction::Down);
    let run = |customs: &mut Customs| {
        customs.start_due(customs.earliest(Instant::now()).unwrap(), &[]);
        ended(customs, &events, Instant::now());
    };
    for left in [1, 2, 3, 4, 4] {
        run(&mut customs);
        assert_eq!(customs.left.lock().len(), left);
    }
    let why = "reconfiguring BIRD failed: 4 earlier runs could not be killed and still run";
    assert_eq!(customs.commands["s0"].problem.as_deref(), Some(why));
    std::fs::File::create(go).unwrap();
    customs.commands.get_mut("s0").unwrap().command.as_mut().unwrap().timeout = Duration::from_secs(1000);
    wait_until("all to be reaped, and a run that succeeds", || {
        match customs.earliest(Instant::now()) {
            Some(_) => run(&mut customs),
            None => customs.start_due(Instant::now(), &[]),
        }
        customs.left.lock().is_empty()
    });
    assert_eq!(customs.commands["s0"].problem, None);
    let child = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert!(child.is_err(), "a child is left: {child:?}");
}
