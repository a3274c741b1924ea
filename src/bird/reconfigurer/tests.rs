//! A reconfigurer over the control socket of a real BIRD, with real lists; the test calls each
//! step.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::*;
use crate::check::health::State;
use crate::check::Check;
use crate::command::Command;
use crate::config::files::{load, ServiceFiles, Sources};
use crate::config::settings::{Bird, Daemon, OnDisabled, Service};
use crate::prefix::Prefix;
use crate::sys::atomic_file::{replace, Durability};
use crate::testing::real_bird::{prefixes, Programs, RealBird, VARIABLE};
use crate::testing::sample::service;

const DUMMIES: [&str; 2] = ["10.189.200.255/32", "2001:db8::1/128"];
const MINUTE: Duration = Duration::from_secs(60);

/// Two services `a` and `b`, the list of their prefixes, and the reconfigurer of a BIRD that
/// includes it.
struct Fixture {
    reconfigurer: Reconfigurer,
    checks: Vec<Check>,
    give_up: StopToken,
}

impl Fixture {
    fn new(family: Family, list: &Path, socket: &Path, dummy: Option<Prefix>) -> Fixture {
        Fixture::of_settings(family, &settings(list, socket, dummy))
    }

    /// For a running BIRD that includes its list.
    fn of(bird: &RealBird, family: Family, dummy: Option<Prefix>) -> Fixture {
        Fixture::new(family, &bird.at("list.conf"), &bird.socket(), dummy)
    }

    fn of_settings(family: Family, bird: &Bird) -> Fixture {
        let with = |(prefix, name): (Prefix, &str)| Arc::new(service(name, &prefix.to_string()));
        let services: Vec<_> = prefixes(family, 0..2).into_iter().zip(["a", "b"]).map(with).collect();
        Fixture {
            reconfigurer: Reconfigurer::new(
                vec![PrefixList::open(family, bird, &services, false, MINUTE)],
                Address::of(bird),
                Arc::default(),
            ),
            checks: services.into_iter().map(Check::new).collect(),
            give_up: StopToken::new().unwrap(),
        }
    }

    fn set_state(&self, service: &str, state: State) {
        let decision = if state == State::Up { OnDisabled::Advertise } else { OnDisabled::Withdraw };
        let check = self.checks.iter().find(|check| check.name() == service).unwrap();
        let _ = check.state_mut().decide(decision);
    }

    /// Writes the files, even if their next step is not due yet.
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

    /// Makes the next attempt, even if it is not due yet. Returns the remaining time, or None if
    /// none is scheduled.
    fn step(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.write();
        let at = self.reconfigurer.next_wakeup(Busy::default(), now)?;
        self.reconfigurer.advance(&self.give_up);
        Some(at.saturating_duration_since(now))
    }

    /// Accepted and failed reconfigures, and whether BIRD is in sync.
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

/// The same for a reconfigure command.
fn command_settings(command: &str, list: &Path, dummy: Option<Prefix>) -> Bird {
    Bird {
        reconfigure_cmd: Command::parse(command).unwrap(),
        control_socket: None,
        ..settings(list, Path::new(""), dummy)
    }
}

fn dummy(family: Family) -> Prefix {
    DUMMIES[usize::from(family == Family::V6)].parse().unwrap()
}

/// The text of a valid prefix file.
fn text(dummy: Option<&Prefix>, list: &[Prefix]) -> String {
    crate::bird::prefix_file::render(VARIABLE, dummy, list, "2026-01-01 00:00:00.000000", 1)
}

fn lists(dummy: Prefix, numbers: std::ops::Range<u32>) -> Vec<Prefix> {
    [vec![dummy], prefixes(dummy.family(), numbers)].concat()
}

#[test]
fn a_bird_that_holds_the_list_is_left_alone_and_queried_each_minute() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
        let mut fixture = Fixture::of(&bird, programs.family, Some(dummy));
        assert_eq!(fixture.step(), Some(Duration::ZERO));
        assert_eq!(fixture.counts(), (0, 0, true), "{}", fixture.problem());
        assert_eq!(fixture.reconfigurer.is_busy(&fixture.give_up), Some(false));
        let counts = fixture.reconfigurer.counts();
        assert!(
            counts.last_success.is_some() && counts.last_taken.is_none(),
            "BIRD was queried, not reconfigured: {counts:?}"
        );
        let minute = fixture.step().unwrap();
        assert!(minute > VERIFY_INTERVAL / 2 && minute <= VERIFY_INTERVAL, "{minute:?}");
        assert_eq!(fixture.counts(), (0, 0, true));
        // A change causes a reconfigure without delay.
        fixture.set_state("a", State::Down);
        assert_eq!(fixture.step(), Some(Duration::ZERO));
        assert_eq!(fixture.counts(), (1, 0, true), "{}", fixture.problem());
        assert_eq!(fixture.in_bird(), lists(dummy, 1..2));
        let counts = fixture.reconfigurer.counts();
        assert_eq!(counts.last_taken, counts.last_success);
    }
}

#[test]
fn a_bird_counts_as_gone_only_if_it_has_answered_before() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let mut bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
        let mut fixture = Fixture::of(&bird, programs.family, Some(dummy));
        fixture.step();
        bird.kill();
        fixture.set_state("a", State::Down);
        fixture.step();
        assert!(!fixture.reconfigurer.is_gone(), "it may be back at the second attempt");
        fixture.step();
        assert!(fixture.reconfigurer.is_gone(), "{}", fixture.problem());
        let mut never = Fixture::of(&bird, programs.family, Some(dummy));
        for _ in 0..5 {
            never.step();
        }
        assert!(!never.reconfigurer.is_gone() && never.counts().1 == 5, "{}", never.problem());
    }
}

#[test]
fn a_bird_with_an_older_list_is_reconfigured_at_the_start() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..3)));
        bird.list(&text(Some(&dummy), &lists(dummy, 0..2)));
        let mut fixture = Fixture::of(&bird, programs.family, Some(dummy));
        fixture.step();
        assert_eq!(fixture.counts(), (1, 0, true), "a prefix of no service is noticed too: {}", fixture.problem());
    }
}

#[test]
fn a_bird_that_was_restarted_with_another_file_is_reconfigured() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let mut bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
        let mut fixture = Fixture::of(&bird, programs.family, Some(dummy));
        fixture.step();
        fixture.set_state("a", State::Down);
        fixture.step();
        assert_eq!(fixture.counts(), (1, 0, true));

        // BIRD restarts with an old list, and bird.conf is repaired afterwards.
        let include = format!("include \"{}\";\n", bird.at("list.conf").display());
        bird.conf(&format!("define {VARIABLE} = [ {} ];\n", prefixes(programs.family, 0..1)[0]));
        bird.restart();
        bird.conf(&include);
        fixture.step();
        assert_eq!(fixture.counts(), (2, 0, true), "{}", fixture.problem());
        assert_eq!(fixture.in_bird(), lists(dummy, 1..2));

        // bird.conf does not include our file any more: a reconfigure does not help, which is
        // reported.
        bird.conf(&format!("define {VARIABLE} = [ {} ];\n", prefixes(programs.family, 0..1)[0]));
        bird.restart();
        for failed in 1..3 {
            fixture.step();
            assert_eq!(fixture.counts(), (2, failed, false));
            assert_eq!(fixture.in_bird(), prefixes(programs.family, 0..1), "the queried prefixes that BIRD holds");
            let expected = format!("BIRD read its configuration, but not the list with it: BIRD does not list {dummy}");
            assert_eq!(fixture.problem(), expected);
        }
        bird.conf("");
        fixture.step();
        let problem = fixture.problem().to_string();
        assert!(problem.contains("BIRD cannot say what ACAST_PS_ADVERTISE lists: "), "{problem}");
        assert!(
            problem.ends_with(&format!("; does bird.conf include {}?", bird.at("list.conf").display())),
            "{problem}"
        );

        // BIRD is down, then it is back with the right list: it is left alone.
        bird.conf(&include);
        bird.kill();
        fixture.step();
        assert!(fixture.problem().contains("BIRD is down"), "{}", fixture.problem());
        assert!(fixture.in_bird().is_empty(), "nothing is assumed");
        bird.restart();
        fixture.step();
        assert_eq!((fixture.counts().0, fixture.problem(), fixture.counts().2), (2, "", true));
    }
}

#[test]
fn without_a_dummy_the_list_is_empty_if_bird_accepts_that() {
    for programs in Programs::all() {
        let bird = RealBird::start(&programs, &text(None, &prefixes(programs.family, 0..2)));
        let mut fixture = Fixture::of(&bird, programs.family, None);
        fixture.step();
        fixture.step();
        fixture.set_state("a", State::Down);
        fixture.set_state("b", State::Down);
        fixture.step();
        let expected: Vec<Prefix> = if programs.modern { Vec::new() } else { vec![dummy(programs.family)] };
        assert!(fixture.counts().2, "{}", fixture.problem());
        assert_eq!(fixture.in_bird(), expected);
        assert_eq!(*fixture.list().levels().in_file, expected);
    }
}

/// The version of this BIRD is unknown, so only its refusal shows that it requires a dummy.
#[test]
fn an_empty_list_that_is_refused_gets_the_default_dummy() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let script = "echo Reading configuration from x; grep -q /32 LIST && echo Reconfigured || echo /x:5:1 syntax error";
    let script = script.replace("LIST", list.to_str().unwrap());
    let mut fixture = Fixture::of_settings(Family::V4, &command_settings(&format!("sh -c '{script}'"), &list, None));
    fixture.step();
    assert!(fixture.problem().contains("/x:5:1 syntax error"), "{}", fixture.problem());
    fixture.step();
    assert_eq!(fixture.counts(), (1, 1, true), "{}", fixture.problem());
    assert_eq!(fixture.in_bird(), [dummy(Family::V4)]);
    // A newer BIRD accepts empty lists.
    fixture.reconfigurer.set_version(Version::from_greeting("BIRD 2.0.11 ready."));
    fixture.set_state("a", State::Down);
    assert!(fixture.list().next_wakeup(Instant::now()).is_some());
    fixture.write();
    assert!(fixture.list().levels().in_file.is_empty());
}

/// A command that appends a line to `runs`, prints `greeting` and answers as BIRD does.
fn birdc(greeting: &str, dir: &Path) -> String {
    format!("sh -c 'echo x >> {}; {greeting} echo Reconfigured'", dir.join("runs").display())
}

fn runs(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join("runs")).unwrap_or_default().lines().count()
}

/// BIRD 2.0 sends the last of its routes only then, however short our own list is. A BIRD of
/// unknown version may be one.
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
        let bird = command_settings(&birdc(greeting, dir.path()), &dir.path().join("list"), Some(dummy(Family::V4)));
        let mut fixture = Fixture::of_settings(Family::V4, &bird);
        for (taken, state) in (1..).zip([State::Down, State::Up, State::Down]) {
            fixture.set_state("a", state);
            let before = runs(dir.path());
            fixture.step();
            assert_eq!((runs(dir.path()) - before, fixture.counts()), (1, (taken, 0, true)), "{greeting}");
            let delay = fixture.step();
            assert_eq!(delay.is_some(), wakes, "{greeting}");
            assert!(delay.is_none_or(|delay| delay <= COALESCE_WINDOW));
            assert_eq!((runs(dir.path()) - before, fixture.counts()), (1 + usize::from(wakes), (taken, 0, true)));
            assert_eq!(fixture.step(), None, "once is enough");
        }
    }
}

/// BIRD would read the foreign change.
#[test]
fn bird_is_not_woken_while_the_file_has_a_foreign_change() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let bird = command_settings(&birdc("echo BIRD 2.0.12 ready.;", dir.path()), &list, Some(dummy(Family::V4)));
    let mut fixture = Fixture::of_settings(Family::V4, &bird);
    fixture.step();
    assert_eq!(runs(dir.path()), 1);
    replace(&list, b"", Durability::Unsynced).unwrap();
    assert!(fixture.reconfigurer.next_wakeup(Busy::default(), Instant::now()).is_some());
    assert_eq!(fixture.reconfigurer.advance(&fixture.give_up), None);
    assert_eq!(runs(dir.path()), 1);
    assert_eq!(fixture.reconfigurer.next_wakeup(Busy::default(), Instant::now()), None);
    // The repair is one more change, followed by a reconfigure and one more wake-up.
    fixture.reconfigurer.lists_mut()[0].recheck();
    fixture.step();
    assert_eq!((runs(dir.path()), fixture.step().is_some(), runs(dir.path())), (2, true, 3));
}

/// Over a socket the end of the connection wakes BIRD, but a long list is not sent completely by
/// then. The next query wakes BIRD again.
#[test]
fn over_a_socket_bird_is_woken_only_after_a_long_list() {
    for (services, version, wakes) in [
        (ROUTES_PER_STEP - 1, Some("2.0.12"), false),
        (ROUTES_PER_STEP, Some("2.0.12"), true),
        (ROUTES_PER_STEP, None, true),
        (ROUTES_PER_STEP, Some("2.19.0"), false),
        (ROUTES_PER_STEP, Some("3.3.2"), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bird = settings(&dir.path().join("list"), &dir.path().join("missing.ctl"), None);
        let all = Service { prefixes: prefixes(Family::V4, 0..services as u32), ..service("a", "10.0.0.0") };
        let list = PrefixList::open(Family::V4, &bird, &[Arc::new(all)], false, MINUTE);
        let mut reconfigurer = Reconfigurer::new(vec![list], Address::of(&bird), Arc::default());
        reconfigurer.version = version.and_then(|version| Version::from_greeting(&format!("BIRD {version} ready.")));
        reconfigurer.schedule_wake();
        assert_eq!(reconfigurer.recheck_at.is_some(), wakes, "{services} {version:?}");
    }
}

/// If services have custom commands, the default reconfigure command may not reach any BIRD.
#[test]
fn after_a_custom_command_bird_is_woken_only_by_a_configured_transport() {
    let dir = tempfile::tempdir().unwrap();
    for (is_set, version, wakes) in [(false, "2.0.12", false), (true, "2.0.12", true), (true, "3.3.2", false)] {
        let bird =
            Bird { reconfigure_cmd_is_set: is_set, ..command_settings("/bin/false", &dir.path().join("list"), None) };
        let mut fixture = Fixture::of_settings(Family::V4, &bird);
        fixture.reconfigurer.version = Version::from_greeting(&format!("BIRD {version} ready."));
        fixture.reconfigurer.wake_after_custom();
        assert_eq!(fixture.reconfigurer.recheck_at.is_some(), wakes);
    }
}

#[test]
fn no_reconfigure_is_sent_while_bird_may_be_busy() {
    let dir = tempfile::tempdir().unwrap();
    let command = birdc("echo BIRD 3.3.2 ready.; echo Reconfiguration in progress; exit;", dir.path());
    let mut fixture = Fixture::of_settings(Family::V4, &command_settings(&command, &dir.path().join("list"), None));
    fixture.write();
    let now = Instant::now();
    let busy = Busy { custom_runs: false, until: Some(now + MINUTE) };
    let runs = Busy { custom_runs: true, until: None };
    assert_eq!(fixture.reconfigurer.next_wakeup(Busy::default(), now), Some(now));
    assert_eq!(fixture.reconfigurer.next_wakeup(busy, now), Some(now + MINUTE));
    assert_eq!(fixture.reconfigurer.next_wakeup(runs, now), None, "the end of the command causes the next step");
    let until = fixture.reconfigurer.advance(&fixture.give_up).unwrap();
    assert!(until > now + BUSY_PAUSE / 2 && fixture.counts() == (1, 0, true), "{}", fixture.problem());
    // Over a socket BIRD itself reports when it is no longer busy.
    let mut fixture = Fixture::new(Family::V4, &dir.path().join("list"), &dir.path().join("missing.ctl"), None);
    fixture.write();
    assert_eq!(fixture.reconfigurer.next_wakeup(busy, now), Some(now));
    assert_eq!(fixture.reconfigurer.next_wakeup(runs, now), None);
}

/// With the list that BIRD reports, no hold is needed.
#[test]
fn a_lost_list_is_recovered_from_bird() {
    for programs in Programs::all() {
        let dummy = dummy(programs.family);
        let bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 1..2)));
        bird.list("");
        let mut fixture = Fixture::of(&bird, programs.family, Some(dummy));
        assert!(fixture.list().lost_query().is_some());
        fixture.reconfigurer.recover_lost(&fixture.give_up);
        assert!(fixture.list().lost_query().is_none() && fixture.list().hold().is_none());
        fixture.step();
        assert!(fixture.counts().2 && !fixture.list().is_held(), "{}", fixture.problem());
        assert_eq!(fixture.in_bird(), lists(dummy, 1..2), "without a verdict the list does not change");

        let mut fixture = Fixture::new(programs.family, &bird.at("list.conf"), &bird.at("missing.ctl"), Some(dummy));
        assert!(fixture.list().lost_query().is_none(), "the file is sound now");
        bird.list("");
        fixture = Fixture::new(programs.family, &bird.at("list.conf"), &bird.at("missing.ctl"), Some(dummy));
        fixture.reconfigurer.recover_lost(&fixture.give_up);
        assert!(fixture.list().lost_query().is_none() && fixture.list().is_held(), "BIRD cannot be queried");
    }
}

#[test]
fn a_family_is_verified_while_the_file_of_the_other_cannot_be_written() {
    let Some(programs) = Programs::installed() else { return };
    let dummy = dummy(Family::V4);
    let mut bird = RealBird::start(&programs, &text(Some(&dummy), &lists(dummy, 0..2)));
    let mut fixture = Fixture::of(&bird, Family::V4, Some(dummy));
    let six = settings(&bird.at("missing/list6"), &bird.socket(), None);
    let service = Arc::new(service("six", "2001:db8::5/128"));
    fixture.reconfigurer.lists.push(PrefixList::open(Family::V6, &six, &[service], false, MINUTE));
    assert_eq!(fixture.step(), Some(Duration::ZERO));
    assert!(fixture.reconfigurer.lists()[1].problem().is_some());
    for taken in 0..3 {
        let minute = fixture.step().unwrap();
        assert!(minute > VERIFY_INTERVAL / 2 && minute <= VERIFY_INTERVAL, "{minute:?}");
        assert_eq!(fixture.counts(), (taken, 0, true), "{}", fixture.problem());
        assert!(!fixture.reconfigurer.lists()[1].is_in_sync());
        // BIRD is restarted with another list.
        let include = format!("include \"{}\";\n", bird.at("list.conf").display());
        bird.conf(&format!("define {VARIABLE} = [ {dummy} ];\n"));
        bird.restart();
        bird.conf(&include);
    }
}

/// A restricted socket answers queries, and refuses a reconfigure.
#[test]
fn a_restricted_socket_is_reported_as_the_problem() {
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
    // The thread ends with the test program.
    std::thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            std::thread::spawn(move || talk(stream));
        }
    });
    let mut fixture = Fixture::new(Family::V4, &dir.path().join("list"), &socket, Some(dummy(Family::V4)));
    for failed in 1..3 {
        fixture.step();
        assert_eq!(fixture.counts(), (0, failed, false));
        assert!(fixture.problem().ends_with("Access denied"), "{}", fixture.problem());
    }
}

/// Otherwise a service with the default dummy's prefix would be advertised for ever.
#[test]
fn a_prefix_of_a_service_does_not_serve_as_the_dummy() {
    let dir = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(Family::V4, &dir.path().join("list"), &dir.path().join("missing.ctl"), None);
    fixture.reconfigurer.lists[0].set_empty_lists_are_read(false);
    fixture.step();
    assert_eq!(*fixture.list().levels().in_file, [dummy(Family::V4)]);
    let named = [Arc::new(service("c", DUMMIES[0]))];
    let bird = command_settings("/bin/false", &dir.path().join("other"), None);
    fixture.reconfigurer.lists = vec![PrefixList::open(Family::V4, &bird, &named, false, MINUTE)];
    fixture.reconfigurer.lists[0].set_empty_lists_are_read(false);
    fixture.checks = named.into_iter().map(Check::new).collect();
    fixture.step();
    assert!(fixture.list().levels().in_file.is_empty());
}

#[test]
fn families_with_the_same_transport_share_a_reconfigurer() {
    let bird = |socket: Option<&str>, command: &str| Bird {
        control_socket: socket.map(PathBuf::from),
        ..command_settings(command, Path::new("/nonexistent/list"), None)
    };
    let check = |one: Bird, other: Bird, same: bool| {
        let open = |family, bird| PrefixList::open(family, bird, &[], false, MINUTE);
        let lists = vec![open(Family::V4, &one), open(Family::V6, &other)];
        assert_eq!(ReconfigurerSet::new(lists, Arc::default()).iter().count(), if same { 1 } else { 2 });
    };
    check(bird(None, "birdc configure"), bird(None, "birdc configure"), true);
    check(bird(None, "birdc configure"), bird(None, "birdc6 configure"), false);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(Some("/run/bird.ctl"), "birdc6 configure"), true);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(Some("/run/bird6.ctl"), "birdc configure"), false);
    check(bird(Some("/run/bird.ctl"), "birdc configure"), bird(None, "birdc configure"), false);
}

/// Both families, each with the transport `a` or `b`; both transports accept every list.
struct Families {
    dir: tempfile::TempDir,
    reconfigurers: ReconfigurerSet,
    daemon: Daemon,
}

impl Families {
    fn new(transports: [&str; 2]) -> Families {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let put = |name: &str, text: &str| replace(&at(name), text.as_bytes(), Durability::Unsynced).unwrap();
        put("main.conf", &format!("[daemon]\npidfile = {0}/pid\nipv6 = true\n", dir.path().display()));
        put("services.conf", "[s]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1/32\n");
        let sources = Sources { main: at("main.conf"), services: ServiceFiles::File(at("services.conf")) };
        let daemon = load(&sources).map_err(|_| "refused").unwrap().settings.daemon;
        let reconfigurers = ReconfigurerSet::new(Vec::new(), Arc::default());
        let mut families = Families { dir, reconfigurers, daemon };
        families.configure(transports);
        let open = |family| {
            let bird = families.daemon.bird(family).unwrap();
            PrefixList::open(family, bird, &[], false, MINUTE)
        };
        families.reconfigurers = ReconfigurerSet::new(Family::BOTH.map(open).into(), Arc::default());
        families.reconfigure();
        families
    }

    fn configure(&mut self, transports: [&str; 2]) {
        for (family, transport) in Family::BOTH.into_iter().zip(transports) {
            let command = format!("sh -c 'echo Reconfigured # {transport}'");
            let bird = command_settings(&command, &self.dir.path().join(family.to_string()), Some(dummy(family)));
            match family {
                Family::V4 => self.daemon.ipv4 = Some(bird),
                Family::V6 => self.daemon.ipv6 = Some(bird),
            }
        }
    }

    fn reconfigure(&mut self) {
        let (now, stop) = (Instant::now(), StopToken::new().unwrap());
        for reconfigurer in self.reconfigurers.iter_mut() {
            for list in reconfigurer.lists_mut().iter_mut().filter(|list| list.next_wakeup(now).is_some()) {
                list.converge(&[], now);
            }
            if reconfigurer.is_owed() {
                reconfigurer.advance(&stop);
            }
        }
    }

    /// Reloads with other transports. Returns how many lists each reconfigurer has, and for each
    /// family whether BIRD accepted its list and how many reconfigures it counts.
    fn regroup(&mut self, transports: [&str; 2]) -> (Vec<usize>, [(bool, u64); 2]) {
        self.configure(transports);
        self.reconfigurers.regroup(&self.daemon);
        let of = |family| {
            let mut all = self.reconfigurers.iter();
            let reconfigurer = all.find(|reconfigurer| reconfigurer.reads_any(&HashSet::from([family]))).unwrap();
            let list = reconfigurer.lists().iter().find(|list| list.family() == family).unwrap();
            assert_eq!(list.in_bird().is_empty(), !list.is_in_sync(), "the list of another BIRD is unknown");
            assert_eq!(*reconfigurer.transport.address(), Address::of(self.daemon.bird(family).unwrap()));
            (list.is_in_sync(), reconfigurer.counts().taken)
        };
        let lists = self.reconfigurers.iter().map(|reconfigurer| reconfigurer.lists().len()).collect();
        (lists, Family::BOTH.map(of))
    }
}

#[test]
fn a_reload_keeps_counts_but_confirms_no_list_over_a_new_transport() {
    // The transports do not change.
    assert_eq!(Families::new(["a", "a"]).regroup(["a", "a"]), (vec![2], [(true, 1), (true, 1)]));
    assert_eq!(Families::new(["a", "b"]).regroup(["a", "b"]), (vec![1, 1], [(true, 1), (true, 1)]));
    // One family gets a transport of its own, then returns.
    let mut families = Families::new(["a", "a"]);
    assert_eq!(families.regroup(["a", "b"]), (vec![1, 1], [(true, 1), (false, 1)]));
    families.reconfigure();
    assert_eq!(families.regroup(["a", "b"]), (vec![1, 1], [(true, 1), (true, 2)]));
    assert_eq!(families.regroup(["a", "a"]), (vec![2], [(true, 1), (false, 1)]));
    // Both families move, together and crosswise.
    assert_eq!(Families::new(["a", "a"]).regroup(["b", "b"]), (vec![2], [(false, 1), (false, 1)]));
    assert_eq!(Families::new(["a", "b"]).regroup(["b", "a"]), (vec![1, 1], [(false, 1), (false, 1)]));
    // There and back, before a reconfigure.
    let mut families = Families::new(["a", "a"]);
    families.regroup(["b", "b"]);
    assert_eq!(families.regroup(["a", "a"]), (vec![2], [(false, 1), (false, 1)]));
    families.reconfigure();
    assert_eq!(families.regroup(["a", "a"]), (vec![2], [(true, 2), (true, 2)]));
}
