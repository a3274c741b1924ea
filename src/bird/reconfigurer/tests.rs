//! A channel over the control socket of a real BIRD, with a real table; the steps are called by hand.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::*;
use crate::bird::real_bird::{prefixes, Programs, RealBird, VARIABLE};
use crate::bird::table::Named;
use crate::check::health::State;
use crate::event::Verdict;
use crate::prefix::{Family, Prefix};
use crate::sys::stop_line::StopLine;

const DUMMIES: [&str; 2] = ["10.189.200.255/32", "2001:db8::1/128"];

/// Two services, a table with their list, and a channel to the BIRD that includes it.
struct Desk {
    tables: [Table; 1],
    channel: Channel,
    verdicts: Verdicts,
    give_up: StopLine,
}

impl Desk {
    fn new(family: Family, list: &Path, socket: &Path, dummy: Option<Prefix>) -> Desk {
        let bird = settings(list, socket, dummy);
        let named =
            |(prefix, name): (Prefix, &str)| Named { prefix, service: name.into(), custom: false, on_boot: false };
        let known = prefixes(family, 0..2).into_iter().zip(["a", "b"]).map(named).collect();
        let table = Table::open(family, &bird, known, false, Duration::ZERO);
        let channel = Channel::new(&bird, 0);
        Desk { tables: [table], channel, verdicts: Verdicts::new(), give_up: StopLine::new().unwrap() }
    }

    /// For a BIRD that runs and includes its list.
    fn of(bird: &RealBird, family: Family, dummy: Option<Prefix>) -> Desk {
        Desk::new(family, &bird.at("list.conf"), &bird.socket(), dummy)
    }

    fn say(&mut self, service: &str, state: State) {
        self.verdicts.insert(
            service.into(),
            Verdict { service: service.into(), state, missing: BTreeSet::new(), undecided: BTreeSet::new() },
        );
        self.tables[0].news();
    }

    /// Does what is due, however far ahead that is; returns how far ahead it was for the channel.
    fn step(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.tables[0].earliest(now).is_some() {
            self.tables[0].converge(&self.verdicts, now);
        }
        let at = self.channel.earliest(&mut self.tables, &self.verdicts, None, now)?;
        self.channel.reconfigure(&mut self.tables, &self.give_up);
        Some(at.saturating_duration_since(now))
    }

    /// Taken and failed reconfigures, and whether BIRD is in line.
    fn counts(&self) -> (u64, u64, bool) {
        (self.channel.taken, self.channel.failed, self.tables[0].levels().in_sync)
    }

    fn in_bird(&self) -> Vec<Prefix> {
        self.tables[0].levels().in_bird.to_vec()
    }

    fn problem(&self) -> &str {
        self.channel.problem().unwrap_or("")
    }
}

fn settings(list: &Path, socket: &Path, dummy: Option<Prefix>) -> Bird {
    Bird {
        conf: list.to_path_buf(),
        variable: VARIABLE.to_string(),
        reconfigure_cmd: Command::parse("/bin/false").unwrap(),
        reconfigure_cmd_is_set: false,
        control_socket: Some(socket.to_path_buf()),
        dummy,
        history: None,
    }
}

fn dummy(family: Family) -> Prefix {
    DUMMIES[usize::from(family == Family::V6)].parse().unwrap()
}

/// The list as it is written, so that the table finds it right.
fn text(dummy: Option<&Prefix>, list: &[Prefix]) -> String {
    crate::bird::prefix_file::render(VARIABLE, dummy, list, "2026-01-01 00:00:00.000000", 1)
}

fn lists(dummy: Prefix, numbers: std::ops::Range<u32>) -> Vec<Prefix> {
    [vec![dummy], prefixes(dummy.family(), numbers)].concat()
}

#[test]
fn a_bird_that_holds_the_list_is_left_alone_and_asked_each_minute() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
        let mut desk = Desk::of(&bird, programs.family, Some(dummy));
        assert_eq!(desk.step(), Some(Duration::ZERO));
        assert_eq!(desk.counts(), (0, 0, true), "{}", desk.problem());
        assert!(desk.channel.last_success.is_some());
        let minute = desk.step().unwrap();
        assert!(minute > ASK / 2 && minute <= ASK, "{minute:?}");
        assert_eq!(desk.counts(), (0, 0, true));
        // A change is told, and a question in between holds up nothing.
        desk.say("a", State::Down);
        assert_eq!(desk.step(), Some(Duration::ZERO));
        assert_eq!(desk.counts(), (1, 0, true), "{}", desk.problem());
        assert_eq!(desk.in_bird(), lists(dummy, 1..2));
    }
}

#[test]
fn a_bird_is_gone_where_it_was_there_before() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let mut bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
        let mut desk = Desk::of(&bird, programs.family, Some(dummy));
        desk.step();
        bird.kill();
        desk.say("a", State::Down);
        desk.step();
        assert!(!desk.channel.is_gone(), "it may be back at the second try");
        desk.step();
        assert!(desk.channel.is_gone(), "{}", desk.problem());
        let mut never = Desk::of(&bird, programs.family, Some(dummy));
        for _ in 0..5 {
            never.step();
        }
        assert!(!never.channel.is_gone() && never.counts().1 == 5, "{}", never.problem());
    }
}

#[test]
fn a_bird_that_runs_an_older_list_is_told_at_start() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..3)));
        bird.list(&text(Some(&dummy), &lists(dummy, 0..2)));
        let mut desk = Desk::of(&bird, programs.family, Some(dummy));
        desk.step();
        assert_eq!(desk.counts(), (1, 0, true), "a prefix that nobody knows is noticed, too: {}", desk.problem());
    }
}

#[test]
fn a_bird_that_was_started_with_another_file_is_brought_in_line() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let mut bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
        let mut desk = Desk::of(&bird, programs.family, Some(dummy));
        desk.step();
        desk.say("a", State::Down);
        desk.step();
        assert_eq!(desk.counts(), (1, 0, true));

        // It is back with an old file, and somebody has mended bird.conf since.
        let include = format!("include \"{}\";\n", bird.at("list.conf").display());
        bird.conf(&format!("define {VARIABLE} = [ {} ];\n", prefixes(programs.family, 0..1)[0]));
        bird.restart();
        bird.conf(&include);
        desk.step();
        assert_eq!(desk.counts(), (2, 0, true), "{}", desk.problem());
        assert_eq!(desk.in_bird(), lists(dummy, 1..2));

        // It goes on with one that is not ours: nothing helps, and that is said.
        bird.conf(&format!("define {VARIABLE} = [ {} ];\n", prefixes(programs.family, 0..1)[0]));
        bird.restart();
        for failed in 1..3 {
            desk.step();
            assert_eq!(desk.counts(), (2, failed, false));
            assert_eq!(desk.in_bird(), prefixes(programs.family, 0..1), "as far as it was asked");
            let expected = format!("BIRD read its configuration, but not the list with it: BIRD does not list {dummy}");
            assert_eq!(desk.problem(), expected);
        }
        bird.conf("");
        desk.step();
        let problem = desk.problem().to_string();
        assert!(problem.contains("BIRD cannot say what ACAST_PS_ADVERTISE lists: "), "{problem}");
        assert!(
            problem.ends_with(&format!("; does bird.conf include {}?", bird.at("list.conf").display())),
            "{problem}"
        );

        // Nobody is there, then BIRD is back as it should be: it is left alone.
        bird.conf(&include);
        bird.kill();
        desk.step();
        assert!(desk.problem().contains("BIRD is down"), "{}", desk.problem());
        assert!(desk.in_bird().is_empty(), "nothing is assumed");
        bird.restart();
        desk.step();
        assert_eq!((desk.channel.taken, desk.problem(), desk.counts().2), (2, "", true));
    }
}

#[test]
fn without_a_dummy_the_list_may_be_empty_where_bird_reads_that() {
    for programs in Programs::all() {
        let bird = RealBird::start(&programs, &text(None, &prefixes(programs.family, 0..2)));
        let mut desk = Desk::of(&bird, programs.family, None);
        desk.step();
        desk.step();
        desk.say("a", State::Down);
        desk.say("b", State::Down);
        desk.step();
        let expected: Vec<Prefix> = if programs.modern { Vec::new() } else { vec![dummy(programs.family)] };
        assert!(desk.counts().2, "{}", desk.problem());
        assert_eq!(desk.in_bird(), expected);
        assert_eq!(*desk.tables[0].levels().in_file, expected);
    }
}

/// Whose version is not known is found out by its refusal.
#[test]
fn an_empty_list_that_is_refused_gets_the_default_dummy() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(Family::V4, &dir.path().join("list"), &dir.path().join("nobody"), None);
    let script = "echo Reading configuration from x; grep -q /32 LIST && echo Reconfigured || echo /x:5:1 syntax error";
    let script = script.replace("LIST", dir.path().join("list").to_str().unwrap());
    let way = Way::Command(Command::parse(&format!("sh -c '{script}'")).unwrap());
    let Way::Command(command) = &way else { unreachable!() };
    (desk.channel.client, desk.channel.way) = (Client::new(command), way);
    desk.step();
    assert!(desk.problem().contains("/x:5:1 syntax error"), "{}", desk.problem());
    desk.step();
    assert_eq!(desk.counts(), (1, 1, true), "{}", desk.problem());
    assert_eq!(desk.in_bird(), [dummy(Family::V4)]);
    // A newer BIRD reads it again.
    desk.channel.meet(Version::of_greeting("BIRD 2.0.11 ready."), &mut desk.tables);
    desk.say("a", State::Down);
    assert!(desk.tables[0].earliest(Instant::now()).is_some());
    desk.tables[0].converge(&desk.verdicts, Instant::now());
    assert!(desk.tables[0].levels().in_file.is_empty());
}

/// BIRD 2.0 needs it to send the last of many routes at once; of a short list it has sent all by then.
#[test]
fn after_a_change_of_a_long_list_bird_is_woken_once() {
    for (services, wakes) in [(STEP - 1, false), (STEP, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (runs, list) = (dir.path().join("runs"), dir.path().join("list"));
        let script = format!("echo x >> {}; echo Reconfigured", runs.display());
        let bird = Bird {
            reconfigure_cmd: Command::parse(&format!("sh -c '{script}'")).unwrap(),
            control_socket: None,
            ..settings(&list, Path::new(""), Some(dummy(Family::V4)))
        };
        let named = |prefix| Named { prefix, service: "a".into(), custom: false, on_boot: false };
        let known = prefixes(Family::V4, 0..u32::try_from(services).unwrap()).into_iter().map(named).collect();
        let mut desk = Desk {
            tables: [Table::open(Family::V4, &bird, known, false, Duration::ZERO)],
            channel: Channel::new(&bird, 0),
            verdicts: Verdicts::new(),
            give_up: StopLine::new().unwrap(),
        };
        let runs = || std::fs::read_to_string(&runs).unwrap().lines().count();
        desk.step();
        for (told, state) in (0..).zip([State::Up, State::Down]) {
            desk.say("a", state);
            desk.step();
            assert_eq!((runs(), desk.counts()), (2 + told + if wakes { told } else { 0 }, (2 + told as u64, 0, true)));
            assert_eq!(desk.step().is_some(), wakes);
            assert_eq!(desk.step(), None, "once is enough");
        }
    }
}

/// A restricted socket answers questions, and takes no reconfigure.
#[test]
fn a_restricted_socket_is_named_as_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("ro.ctl");
    let listener = UnixListener::bind(&socket).unwrap();
    let talk = |stream: UnixStream| {
        let mut write = stream.try_clone().unwrap();
        let _ = write.write_all(b"0001 BIRD 3.3.2 ready.\n");
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let answer = match line.as_str() {
                "configure" => "8007 Access denied\n",
                "configure status" => "0003-Daemon is up and running\n0000 \n",
                _ => "0023 FALSE\n",
            };
            let _ = write.write_all(answer.as_bytes());
        }
    };
    // It ends with the test program: nobody waits for it.
    std::thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            std::thread::spawn(move || talk(stream));
        }
    });
    let mut desk = Desk::new(Family::V4, &dir.path().join("list"), &socket, Some(dummy(Family::V4)));
    for failed in 1..3 {
        desk.step();
        assert_eq!(desk.counts(), (0, failed, false));
        assert!(desk.problem().ends_with("Access denied"), "{}", desk.problem());
    }
}

/// A service that has the default dummy's prefix would be advertised for ever.
#[test]
fn a_prefix_of_a_service_is_no_dummy() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(Family::V4, &dir.path().join("list"), &dir.path().join("nobody"), None);
    desk.tables[0].empty_lists_are_read(false);
    desk.step();
    assert_eq!(*desk.tables[0].levels().in_file, [dummy(Family::V4)]);
    let named = Named { prefix: dummy(Family::V4), service: "c".into(), custom: false, on_boot: false };
    let bird = Bird { control_socket: None, ..settings(&dir.path().join("other"), &dir.path().join("nobody"), None) };
    desk.tables = [Table::open(Family::V4, &bird, vec![named], false, Duration::ZERO)];
    desk.tables[0].empty_lists_are_read(false);
    desk.step();
    assert!(desk.tables[0].levels().in_file.is_empty());
}

#[test]
fn families_with_the_same_way_are_told_together() {
    let bird = |socket: Option<&str>, command: &str| Bird {
        reconfigure_cmd: Command::parse(command).unwrap(),
        control_socket: socket.map(PathBuf::from),
        ..settings(Path::new("x"), Path::new("y"), None)
    };
    let check = |one: Bird, other: Bird, same: bool| assert_eq!(Channel::new(&one, 0).is_for(&other), same);
    check(bird(None, "birdc configure"), bird(None, "birdc configure"), true);
    check(bird(None, "birdc configure"), bird(None, "birdc6 configure"), false);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(Some("/run/bird.ctl"), "birdc6 configure"), true);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(Some("/run/bird6.ctl"), "birdc configure"), false);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(None, "birdc configure"), false);
}
