//! A reconfigurer over the control socket of a real BIRD, with real lists; the steps are called by hand.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::*;
use crate::check::health::State;
use crate::check::Check;
use crate::command::Command;
use crate::config::files::{load, ServiceFiles, Sources};
use crate::config::settings::{Bird, OnDisabled, Service};
use crate::prefix::Prefix;
use crate::sys::atomic_file::{replace, Durability};
use crate::testing::real_bird::{prefixes, Programs, RealBird, VARIABLE};
use crate::testing::sample::service;

const DUMMIES: [&str; 2] = ["10.189.200.255/32", "2001:db8::1/128"];
const MINUTE: Duration = Duration::from_secs(60);

/// Two services, a list of their prefixes, and a reconfigurer for the BIRD that includes it.
struct Desk {
    reconfigurer: Reconfigurer,
    checks: Vec<Check>,
    give_up: StopToken,
}

impl Desk {
    fn new(family: Family, list: &Path, socket: &Path, dummy: Option<Prefix>) -> Desk {
        Desk::of_settings(family, &settings(list, socket, dummy))
    }

    /// For a BIRD that runs and includes its list.
    fn of(bird: &RealBird, family: Family, dummy: Option<Prefix>) -> Desk {
        Desk::new(family, &bird.at("list.conf"), &bird.socket(), dummy)
    }

    fn of_settings(family: Family, bird: &Bird) -> Desk {
        let with = |(prefix, name): (Prefix, &str)| Arc::new(service(name, &prefix.to_string()));
        let services: Vec<_> = prefixes(family, 0..2).into_iter().zip(["a", "b"]).map(with).collect();
        Desk {
            reconfigurer: Reconfigurer::new(
                vec![PrefixList::open(family, bird, &services, false, MINUTE)],
                Address::of(bird),
                Arc::default(),
            ),
            checks: services.into_iter().map(Check::new).collect(),
            give_up: StopToken::new().unwrap(),
        }
    }

    fn say(&self, service: &str, state: State) {
        let decision = if state == State::Up { OnDisabled::Advertise } else { OnDisabled::Withdraw };
        let check = self.checks.iter().find(|check| check.name() == service).unwrap();
        let _ = check.state_mut().decide(decision);
    }

    /// Does what is due of the files, however far ahead that is.
    fn write(&mut self) {
        let now = Instant::now();
        let verdicts: Vec<_> = self.checks.iter().map(|check| check.state().verdict()).collect();
        for list in self.reconfigurer.lists_mut() {
            list.update(&verdicts, now);
            if list.next_wakeup(now).is_some() {
                list.converge(&verdicts, now);
            }
        }
    }

    /// Does what is due, however far ahead that is; returns how far ahead it was for BIRD.
    fn step(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.write();
        let at = self.reconfigurer.next_wakeup(Busy::default(), now)?;
        self.reconfigurer.advance(&self.give_up);
        Some(at.saturating_duration_since(now))
    }

    /// Taken and failed reconfigures, and whether BIRD is in line.
    fn counts(&self) -> (u64, u64, bool) {
        let Counts { taken, failed, .. } = self.reconfigurer.counts();
        (taken, failed, self.list().is_in_sync())
    }

    fn list(&self) -> &PrefixList {
        &self.reconfigurer.lists()[0]
    }

    fn in_bird(&self) -> Vec<Prefix> {
        self.list().in_bird().to_vec()
    }

    fn problem(&self) -> &str {
        self.reconfigurer.problem().unwrap_or("")
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

/// The same by command.
fn by(command: &str, list: &Path, dummy: Option<Prefix>) -> Bird {
    Bird {
        reconfigure_cmd: Command::parse(command).unwrap(),
        control_socket: None,
        ..settings(list, Path::new(""), dummy)
    }
}

fn dummy(family: Family) -> Prefix {
    DUMMIES[usize::from(family == Family::V6)].parse().unwrap()
}

/// The list as it is written, so that it is found right.
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
        assert_eq!(desk.reconfigurer.is_busy(&desk.give_up), Some(false));
        let counts = desk.reconfigurer.counts();
        assert!(counts.last_success.is_some() && counts.last_taken.is_none(), "BIRD was asked, not told: {counts:?}");
        let minute = desk.step().unwrap();
        assert!(minute > VERIFY_INTERVAL / 2 && minute <= VERIFY_INTERVAL, "{minute:?}");
        assert_eq!(desk.counts(), (0, 0, true));
        // A change is told, and a query in between holds up nothing.
        desk.say("a", State::Down);
        assert_eq!(desk.step(), Some(Duration::ZERO));
        assert_eq!(desk.counts(), (1, 0, true), "{}", desk.problem());
        assert_eq!(desk.in_bird(), lists(dummy, 1..2));
        let counts = desk.reconfigurer.counts();
        assert_eq!(counts.last_taken, counts.last_success);
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
        assert!(!desk.reconfigurer.is_gone(), "it may be back at the second try");
        desk.step();
        assert!(desk.reconfigurer.is_gone(), "{}", desk.problem());
        let mut never = Desk::of(&bird, programs.family, Some(dummy));
        for _ in 0..5 {
            never.step();
        }
        assert!(!never.reconfigurer.is_gone() && never.counts().1 == 5, "{}", never.problem());
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
        assert_eq!((desk.counts().0, desk.problem(), desk.counts().2), (2, "", true));
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
        assert_eq!(*desk.list().in_file(), expected);
    }
}

/// Whose version is not known is found out by its refusal.
#[test]
fn an_empty_list_that_is_refused_gets_the_default_dummy() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let script = "echo Reading configuration from x; grep -q /32 LIST && echo Reconfigured || echo /x:5:1 syntax error";
    let script = script.replace("LIST", list.to_str().unwrap());
    let mut desk = Desk::of_settings(Family::V4, &by(&format!("sh -c '{script}'"), &list, None));
    desk.step();
    assert!(desk.problem().contains("/x:5:1 syntax error"), "{}", desk.problem());
    desk.step();
    assert_eq!(desk.counts(), (1, 1, true), "{}", desk.problem());
    assert_eq!(desk.in_bird(), [dummy(Family::V4)]);
    // A newer BIRD reads it again.
    desk.reconfigurer.meet(Version::from_greeting("BIRD 2.0.11 ready."));
    desk.say("a", State::Down);
    assert!(desk.list().next_wakeup(Instant::now()).is_some());
    desk.write();
    assert!(desk.list().in_file().is_empty());
}

/// A command that writes a line into `runs` and answers as this BIRD does.
fn answers(greeting: &str, dir: &Path) -> String {
    format!("sh -c 'echo x >> {}; {greeting} echo Reconfigured'", dir.join("runs").display())
}

fn runs(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join("runs")).unwrap_or_default().lines().count()
}

/// BIRD 2.0 needs it to send the last of its routes at once, however short our own list is, and what does not say its
/// version may be one.
#[test]
fn after_a_change_by_command_an_old_bird_is_woken_once() {
    for (greeting, wakes) in [
        ("", true),
        ("echo BIRD 1.6.8 ready.;", true),
        ("echo BIRD 2.0.12 ready.;", true),
        ("echo BIRD 2.19.0 ready.;", false),
        ("echo BIRD 2.19.2 ready.;", false),
        ("echo BIRD 3.0.0 ready.;", false),
        ("echo BIRD 3.3.2 ready.;", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bird = by(&answers(greeting, dir.path()), &dir.path().join("list"), Some(dummy(Family::V4)));
        let mut desk = Desk::of_settings(Family::V4, &bird);
        for (told, state) in (1..).zip([State::Down, State::Up, State::Down]) {
            desk.say("a", state);
            let before = runs(dir.path());
            desk.step();
            assert_eq!((runs(dir.path()) - before, desk.counts()), (1, (told, 0, true)), "{greeting}");
            let soon = desk.step();
            assert_eq!(soon.is_some(), wakes, "{greeting}");
            assert!(soon.is_none_or(|after| after <= COALESCE_WINDOW));
            assert_eq!((runs(dir.path()) - before, desk.counts()), (1 + usize::from(wakes), (told, 0, true)));
            assert_eq!(desk.step(), None, "once is enough");
        }
    }
}

/// It would have BIRD read a file that is none of ours.
#[test]
fn nobody_is_woken_where_somebody_changed_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let bird = by(&answers("echo BIRD 2.0.12 ready.;", dir.path()), &list, Some(dummy(Family::V4)));
    let mut desk = Desk::of_settings(Family::V4, &bird);
    desk.step();
    assert_eq!(runs(dir.path()), 1);
    replace(&list, b"", Durability::Unsynced).unwrap();
    assert!(desk.reconfigurer.next_wakeup(Busy::default(), Instant::now()).is_some());
    assert_eq!(desk.reconfigurer.advance(&desk.give_up), None);
    assert_eq!(runs(dir.path()), 1);
    assert_eq!(desk.reconfigurer.next_wakeup(Busy::default(), Instant::now()), None);
    // It is put right and told, which is one more change.
    desk.reconfigurer.lists_mut()[0].recheck();
    desk.step();
    assert_eq!((runs(dir.path()), desk.step().is_some(), runs(dir.path())), (2, true, 3));
}

/// Over a socket the end of the connection wakes BIRD, but of a long list it has not sent all by then. The next query
/// wakes it.
#[test]
fn over_a_socket_only_a_long_list_needs_to_be_woken() {
    for (services, version, wakes) in [
        (STEP - 1, Some("2.0.12"), false),
        (STEP, Some("2.0.12"), true),
        (STEP, None, true),
        (STEP, Some("2.19.0"), false),
        (STEP, Some("3.3.2"), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bird = settings(&dir.path().join("list"), &dir.path().join("nobody"), None);
        let all = Service { prefixes: prefixes(Family::V4, 0..services as u32), ..service("a", "10.0.0.0") };
        let list = PrefixList::open(Family::V4, &bird, &[Arc::new(all)], false, MINUTE);
        let mut reconfigurer = Reconfigurer::new(vec![list], Address::of(&bird), Arc::default());
        reconfigurer.version = version.and_then(|version| Version::from_greeting(&format!("BIRD {version} ready.")));
        reconfigurer.wake_later();
        assert_eq!(reconfigurer.ask_at.is_some(), wakes, "{services} {version:?}");
    }
}

/// The default command may be for no BIRD at all where services' own commands tell.
#[test]
fn after_a_custom_command_bird_is_woken_by_a_way_that_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    for (is_set, version, wakes) in [(false, "2.0.12", false), (true, "2.0.12", true), (true, "3.3.2", false)] {
        let bird = Bird { reconfigure_cmd_is_set: is_set, ..by("/bin/false", &dir.path().join("list"), None) };
        let mut desk = Desk::of_settings(Family::V4, &bird);
        desk.reconfigurer.version = Version::from_greeting(&format!("BIRD {version} ready."));
        desk.reconfigurer.wake_after_custom();
        assert_eq!(desk.reconfigurer.ask_at.is_some(), wakes);
    }
}

#[test]
fn nobody_is_told_while_bird_may_be_busy() {
    let dir = tempfile::tempdir().unwrap();
    let says = answers("echo BIRD 3.3.2 ready.; echo Reconfiguration in progress; exit;", dir.path());
    let mut desk = Desk::of_settings(Family::V4, &by(&says, &dir.path().join("list"), None));
    desk.write();
    let now = Instant::now();
    let busy = Busy { custom_runs: false, until: Some(now + MINUTE) };
    let runs = Busy { custom_runs: true, until: None };
    assert_eq!(desk.reconfigurer.next_wakeup(Busy::default(), now), Some(now));
    assert_eq!(desk.reconfigurer.next_wakeup(busy, now), Some(now + MINUTE));
    assert_eq!(desk.reconfigurer.next_wakeup(runs, now), None, "the end of the command is the next occasion");
    let until = desk.reconfigurer.advance(&desk.give_up).unwrap();
    assert!(until > now + BUSY_PAUSE / 2 && desk.counts() == (1, 0, true), "{}", desk.problem());
    // Over a socket BIRD says itself when it is not busy any more.
    let mut desk = Desk::new(Family::V4, &dir.path().join("list"), &dir.path().join("nobody"), None);
    desk.write();
    assert_eq!(desk.reconfigurer.next_wakeup(busy, now), Some(now));
    assert_eq!(desk.reconfigurer.next_wakeup(runs, now), None);
}

/// What BIRD holds of a list that was lost is the truth, and nothing has to be guessed or held.
#[test]
fn a_list_that_was_lost_is_asked_for() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 1..2)));
        bird.list("");
        let mut desk = Desk::of(&bird, programs.family, Some(dummy));
        assert!(desk.list().lost().is_some());
        desk.reconfigurer.recover_lost(&desk.give_up);
        assert!(desk.list().lost().is_none() && desk.list().hold().is_none());
        desk.step();
        assert!(desk.counts().2 && !desk.list().is_held(), "{}", desk.problem());
        assert_eq!(desk.in_bird(), lists(dummy, 1..2), "nobody has a verdict, and all stays as it was");

        let mut desk = Desk::new(programs.family, &bird.at("list.conf"), &bird.at("nobody"), Some(dummy));
        assert!(desk.list().lost().is_none(), "the file is sound now");
        bird.list("");
        desk = Desk::new(programs.family, &bird.at("list.conf"), &bird.at("nobody"), Some(dummy));
        desk.reconfigurer.recover_lost(&desk.give_up);
        assert!(desk.list().lost().is_none() && desk.list().is_held(), "who cannot be asked tells nothing");
    }
}

#[test]
fn a_family_is_verified_while_the_file_of_the_other_cannot_be_written() {
    let Some(programs) = Programs::installed() else { return };
    let dummy = dummy(Family::V4);
    let mut bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
    let mut desk = Desk::of(&bird, Family::V4, Some(dummy));
    let six = settings(&bird.at("missing/list6"), &bird.socket(), None);
    let service = Arc::new(service("six", "2001:db8::5/128"));
    desk.reconfigurer.lists.push(PrefixList::open(Family::V6, &six, &[service], false, MINUTE));
    assert_eq!(desk.step(), Some(Duration::ZERO));
    assert!(desk.reconfigurer.lists()[1].problem().is_some());
    for taken in 0..3 {
        let minute = desk.step().unwrap();
        assert!(minute > VERIFY_INTERVAL / 2 && minute <= VERIFY_INTERVAL, "{minute:?}");
        assert_eq!(desk.counts(), (taken, 0, true), "{}", desk.problem());
        assert!(!desk.reconfigurer.lists()[1].is_in_sync());
        // Somebody starts it with another list.
        let include = format!("include \"{}\";\n", bird.at("list.conf").display());
        bird.conf(&format!("define {VARIABLE} = [ {dummy} ];\n"));
        bird.restart();
        bird.conf(&include);
    }
}

/// A restricted socket answers queries, and takes no reconfigure.
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
    desk.reconfigurer.lists[0].set_empty_lists_are_read(false);
    desk.step();
    assert_eq!(*desk.list().in_file(), [dummy(Family::V4)]);
    let named = [Arc::new(service("c", DUMMIES[0]))];
    let bird = by("/bin/false", &dir.path().join("other"), None);
    desk.reconfigurer.lists = vec![PrefixList::open(Family::V4, &bird, &named, false, MINUTE)];
    desk.reconfigurer.lists[0].set_empty_lists_are_read(false);
    desk.checks = named.into_iter().map(Check::new).collect();
    desk.step();
    assert!(desk.list().in_file().is_empty());
}

#[test]
fn families_with_the_same_way_are_told_together() {
    let bird = |socket: Option<&str>, command: &str| Bird {
        control_socket: socket.map(PathBuf::from),
        ..by(command, Path::new("/nonexistent/list"), None)
    };
    let check = |one: Bird, other: Bird, same: bool| {
        let open = |family, bird| PrefixList::open(family, bird, &[], false, MINUTE);
        let lists = vec![open(Family::V4, &one), open(Family::V6, &other)];
        assert_eq!(Reconfigurer::group(lists, &Arc::default()).len(), if same { 1 } else { 2 });
    };
    check(bird(None, "birdc configure"), bird(None, "birdc configure"), true);
    check(bird(None, "birdc configure"), bird(None, "birdc6 configure"), false);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(Some("/run/bird.ctl"), "birdc6 configure"), true);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(Some("/run/bird6.ctl"), "birdc configure"), false);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(None, "birdc configure"), false);
}

/// Both families, and the transports `a` and `b`, which take what they are told.
struct Crossing {
    dir: tempfile::TempDir,
    all: Vec<Reconfigurer>,
    daemon: Daemon,
}

impl Crossing {
    fn new(ways: [&str; 2]) -> Crossing {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let put = |name: &str, text: &str| replace(&at(name), text.as_bytes(), Durability::Unsynced).unwrap();
        put("main.conf", &format!("[daemon]\npidfile = {0}/pid\nipv6 = true\n", dir.path().display()));
        put("services.conf", "[s]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1/32\n");
        let sources = Sources { main: at("main.conf"), services: ServiceFiles::File(at("services.conf")) };
        let daemon = load(&sources).map_err(|_| "refused").unwrap().settings.daemon;
        let mut crossing = Crossing { dir, all: Vec::new(), daemon };
        crossing.configure(ways);
        let open = |family| {
            let bird = crossing.daemon.bird(family).unwrap();
            PrefixList::open(family, bird, &[], false, MINUTE)
        };
        crossing.all = Reconfigurer::group(Family::BOTH.map(open).into(), &Arc::default());
        crossing.tell();
        crossing
    }

    fn configure(&mut self, ways: [&str; 2]) {
        for (family, way) in Family::BOTH.into_iter().zip(ways) {
            let command = format!("sh -c 'echo Reconfigured # {way}'");
            let bird = by(&command, &self.dir.path().join(family.to_string()), Some(dummy(family)));
            match family {
                Family::V4 => self.daemon.ipv4 = Some(bird),
                Family::V6 => self.daemon.ipv6 = Some(bird),
            }
        }
    }

    fn tell(&mut self) {
        let (now, stop) = (Instant::now(), StopToken::new().unwrap());
        for reconfigurer in &mut self.all {
            for list in reconfigurer.lists_mut().iter_mut().filter(|list| list.next_wakeup(now).is_some()) {
                list.converge(&[], now);
            }
            if reconfigurer.is_owed() {
                reconfigurer.advance(&stop);
            }
        }
    }

    /// Goes on with other transports. How many lists each has, and for each family whether BIRD took its list and how
    /// many reconfigures count.
    fn regroup(&mut self, ways: [&str; 2]) -> (Vec<usize>, [(bool, u64); 2]) {
        self.configure(ways);
        self.all = Reconfigurer::regroup(std::mem::take(&mut self.all), &self.daemon, &Arc::default());
        let of = |family| {
            let found = self.all.iter().find(|found| found.reads_any(&HashSet::from([family]))).unwrap();
            let list = found.lists().iter().find(|list| list.family() == family).unwrap();
            assert_eq!(list.in_bird().is_empty(), !list.is_in_sync(), "of another BIRD nothing is known");
            assert_eq!(*found.transport.address(), Address::of(self.daemon.bird(family).unwrap()));
            (list.is_in_sync(), found.counts().taken)
        };
        (self.all.iter().map(|found| found.lists().len()).collect(), Family::BOTH.map(of))
    }
}

/// A reload that changes nothing of it loses nothing; over another transport nothing is confirmed, and what was counted
/// stays.
#[test]
fn over_another_transport_nothing_is_confirmed() {
    // Nothing changes.
    assert_eq!(Crossing::new(["a", "a"]).regroup(["a", "a"]), (vec![2], [(true, 1), (true, 1)]));
    assert_eq!(Crossing::new(["a", "b"]).regroup(["a", "b"]), (vec![1, 1], [(true, 1), (true, 1)]));
    // One goes to a transport of its own, then back.
    let mut crossing = Crossing::new(["a", "a"]);
    assert_eq!(crossing.regroup(["a", "b"]), (vec![1, 1], [(true, 1), (false, 1)]));
    crossing.tell();
    assert_eq!(crossing.regroup(["a", "b"]), (vec![1, 1], [(true, 1), (true, 2)]));
    assert_eq!(crossing.regroup(["a", "a"]), (vec![2], [(true, 1), (false, 1)]));
    // Both go, together and crosswise.
    assert_eq!(Crossing::new(["a", "a"]).regroup(["b", "b"]), (vec![2], [(false, 1), (false, 1)]));
    assert_eq!(Crossing::new(["a", "b"]).regroup(["b", "a"]), (vec![1, 1], [(false, 1), (false, 1)]));
    // There and back at once, before anybody was told.
    let mut crossing = Crossing::new(["a", "a"]);
    crossing.regroup(["b", "b"]);
    assert_eq!(crossing.regroup(["a", "a"]), (vec![2], [(false, 1), (false, 1)]));
    crossing.tell();
    assert_eq!(crossing.regroup(["a", "a"]), (vec![2], [(true, 2), (true, 2)]));
}
