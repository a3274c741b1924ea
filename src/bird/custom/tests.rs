//! Real commands, whose ends the test takes off the channel by hand.

use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::command::Command;

/// Services `s0` to `sN`, each with the same command.
fn customs(services: usize, command: &str) -> (Customs, Receiver<Event>, StopLine) {
    let (events, received) = channel();
    let stop = StopLine::new().unwrap();
    let command = TimedCommand { command: Command::parse(command).unwrap(), timeout: Duration::from_secs(1000) };
    let commands = (0..services).map(|n| (Arc::from(format!("s{n}")), command.clone()));
    (Customs::new(commands, events, stop.clone()), received, stop)
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
    assert!(customs.earliest(now).is_some_and(|at| at > now), "it failed, and is tried again");
    // Before that the others take all places. They never end by themselves.
    customs.stop = StopLine::new().unwrap();
    (1..=MOST).for_each(|n| customs.changed(&format!("s{n}"), Direction::Down));
    customs.start_due(now, &[]);
    assert_eq!(customs.earliest(now), None, "its time would come again and again, and never its turn");
    customs.stop.pull();
    ended(&mut customs, &events, now);
    assert!(customs.earliest(now).is_some());
    (1..MOST).for_each(|_| drop(ended(&mut customs, &events, now)));
}
