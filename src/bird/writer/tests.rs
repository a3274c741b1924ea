//! The thread on real files. A script in the place of birdc counts its runs and answers as the test
//! wants.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use super::busy::BUSY_RETRY;
use super::first_verdict::START_ALLOWANCE;
use super::*;
use crate::bird::prefix_file;
use crate::bird::startup::MAX_HOLD;
use crate::check::reload::replace as replace_checks;
use crate::check::schedule;
use crate::check::start_limiter::processors;
use crate::config::diff::diff;
use crate::config::files::{load, ServiceFiles, Sources};
use crate::config::settings::OnDisabled;
use crate::drain_file::DrainEnd;
use crate::sys::atomic_file::{replace, Durability};

const DUMMY: &str = "10.189.200.255/32";
const MINUTE: Duration = Duration::from_secs(60);
/// The answer of a BIRD that accepts the list and needs no wake-up.
const ACCEPT: &str = "echo BIRD 2.19.2 ready.; echo Reconfigured";
/// The initial option of `[daemon]`.
const BIRDC: &str = "bird_reconfigure_cmd = DIR/birdc configure";
const CUSTOM: &str = "custom_bird_reconfigure_cmd = DIR/birdc custom";

/// A writer, its files, and its BIRD.
struct Rig {
    dir: tempfile::TempDir,
    events: Sender<Event>,
    settings: Settings,
    checks: Arc<[Arc<Check>]>,
    state: Arc<Mutex<BirdState>>,
    give_up: StopToken,
    thread: Option<JoinHandle<WriterEnd>>,
}

impl Rig {
    /// The services `s0` to `sN` with the prefixes 10.0.0.0/32 to 10.0.0.N/32, all listed in the
    /// file. `DIR` in `daemon` and `service` stands for the rig's directory.
    fn new(services: usize, daemon: &str, service: &str) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let at = |text: &str| text.replace("DIR", dir.path().to_str().unwrap());
        put(
            &dir.path().join("birdc"),
            "#!/bin/sh\necho $# $* >> DIR/runs\n. DIR/script\n".replace("DIR", &at("DIR")),
            0o755,
        );
        put(&dir.path().join("main.conf"), at(&format!(
            "[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\nbird_reconfigure_cmd = DIR/birdc configure\n{daemon}\n"
        )), 0o644);
        let sections =
            (0..services).map(|n| format!("[s{n}]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.{n}/32\n{service}\n"));
        put(&dir.path().join("services.conf"), at(&sections.collect::<String>()), 0o644);
        let settings = read_settings(dir.path());
        let checks = settings.services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
        let (events, state, give_up) = (channel().0, Arc::default(), StopToken::new().unwrap());
        let rig = Rig { dir, events, settings, checks, state, give_up, thread: None };
        rig.set_bird(ACCEPT);
        let listed: Vec<_> = (0..services).map(|n| format!("10.0.0.{n}/32").parse().unwrap()).collect();
        let dummy = DUMMY.parse().unwrap();
        let list = [vec![dummy], listed].concat();
        let text = prefix_file::render("ACAST_PS_ADVERTISE", Some(&dummy), &list, "2026", 1);
        put(&rig.path("prefixes"), text, 0o644);
        rig
    }

    /// Replaces the options of `[daemon]` and the services, each with its name, prefixes and other
    /// options. Returns the former checks.
    fn configure(&mut self, daemon: &str, services: &[(&str, &str, &str)]) -> Arc<[Arc<Check>]> {
        let at = |text: &str| text.replace("DIR", self.dir.path().to_str().unwrap());
        put(
            &self.path("main.conf"),
            at(&format!("[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\n{daemon}\n")),
            0o644,
        );
        let section = |(name, prefixes, options): &(&str, &str, &str)| {
            format!("[{name}]\ncheck_cmd = /bin/true\nip_prefix = {prefixes}\n{options}\n")
        };
        put(&self.path("services.conf"), at(&services.iter().map(section).collect::<String>()), 0o644);
        let change = diff(&self.settings, read_settings(self.dir.path())).unwrap();
        let checks = replace_checks(&self.checks, &change).checks;
        self.settings = change.settings;
        std::mem::replace(&mut self.checks, checks)
    }

    /// Configures the same and reloads the writer.
    fn reload(&mut self, daemon: &str, services: &[(&str, &str, &str)]) -> Arc<[Arc<Check>]> {
        let before = self.configure(daemon, services);
        let reload = Reload { settings: self.settings.clone(), checks: self.checks.clone() };
        self.events.send(Event::Reload(Box::new(reload))).unwrap();
        before
    }

    fn started(mut self) -> Rig {
        let (mut writer, received) = self.writer();
        writer.poll_interval = MINUTE * 60;
        self.thread = Some(std::thread::spawn(move || writer.run(&received, || ())));
        self
    }

    /// A writer without a thread, whose steps the test calls.
    fn writer(&mut self) -> (Writer, Receiver<Event>) {
        let (events, received) = channel();
        let (checks, state, give_up) = (self.checks.clone(), self.state.clone(), self.give_up.clone());
        let writer = Writer::new(&self.settings, checks, Arc::default(), events.clone(), state, give_up);
        self.events = events;
        (writer, received)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set_bird(&self, script: &str) {
        put(&self.path("script"), script.replace("DIR", self.dir.path().to_str().unwrap()), 0o644);
    }

    fn check(&self, service: &str) -> &Arc<Check> {
        self.checks.iter().find(|check| check.name() == service).unwrap()
    }

    /// Changes the service's state without a hint.
    fn set(&self, service: &str, state: State) {
        set(self.check(service), state);
    }

    fn hint(&self, check: &Arc<Check>) {
        self.events.send(Event::Changed(check.clone())).unwrap();
    }

    fn set_and_hint(&self, service: &str, state: State) {
        self.set(service, state);
        self.hint(self.check(service));
    }

    fn runs(&self) -> Vec<String> {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().map(String::from).collect()
    }

    fn file(&self) -> String {
        fs::read_to_string(self.path("prefixes")).unwrap()
    }

    fn in_sync(&self) -> bool {
        let state = self.state.lock();
        state.ready && state.families.iter().all(|family| family.in_sync)
    }

    fn problem(&self) -> Option<String> {
        self.state.lock().families.first().and_then(|family| family.problem.clone())
    }

    fn counts(&self) -> (u64, u64) {
        let counts = self.state.lock().families.first().map(|family| family.counts).unwrap_or_default();
        (counts.taken, counts.failed)
    }

    fn wait(&self, what: &str, condition: impl Fn(&Rig) -> bool) {
        let until = Instant::now() + MINUTE;
        while !condition(self) {
            assert!(Instant::now() < until, "{what} does not happen: {:?}, runs {:?}", self.state.lock(), self.runs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(&mut self) -> WriterEnd {
        self.thread.take().unwrap().join().unwrap()
    }

    fn stop(mut self) -> Rig {
        self.events.send(Event::Stop { leaving: false }).unwrap();
        assert!(matches!(self.end(), WriterEnd::Stopped));
        self
    }
}

fn read_settings(dir: &Path) -> Settings {
    let sources = Sources { main: dir.join("main.conf"), services: ServiceFiles::File(dir.join("services.conf")) };
    load(&sources).map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap().settings
}

fn set(check: &Check, state: State) {
    let decision = if state == State::Up { OnDisabled::Advertise } else { OnDisabled::Withdraw };
    let _ = check.state_mut().decide(decision);
}

/// The list of this family.
fn list_of(writer: &Writer, family: Family) -> &PrefixList {
    writer.reconfigurers.lists().find(|list| list.family() == family).unwrap()
}

fn put(path: &Path, text: impl AsRef<str>, mode: u32) {
    replace(path, text.as_ref().as_bytes(), Durability::Unsynced).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn one_reconfigure_at_start_and_one_for_a_change() {
    let rig = Rig::new(3, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    assert_eq!(rig.runs(), ["1 configure"]);
    rig.set_and_hint("s1", State::Down);
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.1/32") && rig.in_sync());
    rig.set_and_hint("s1", State::Down);
    rig.set_and_hint("s0", State::Up);
    let rig = rig.stop();
    assert_eq!(rig.runs().len(), 2, "verdicts that change nothing cause no reconfigure");
    assert_eq!((rig.counts(), rig.problem()), ((2, 0), None));
}

#[test]
fn changes_during_a_reconfigure_are_coalesced_into_the_next_one() {
    let rig = Rig::new(200, "", "");
    // All services go down during the first reconfigure.
    rig.set_bird(&format!("touch DIR/started; while [ ! -e DIR/go ]; do sleep 0.01; done; {ACCEPT}"));
    let rig = rig.started();
    rig.wait("the first run", |rig| rig.path("started").exists());
    (0..200).for_each(|n| rig.set_and_hint(&format!("s{n}"), State::Down));
    put(&rig.path("go"), "", 0o644);
    rig.wait("all withdrawn", |rig| rig.runs().len() > 1 && !rig.file().contains("10.0.0.") && rig.in_sync());
    assert_eq!(rig.stop().runs().len(), 2);
}

#[test]
fn a_reconfigure_that_bird_does_not_accept_is_retried() {
    for (answer, problem) in [
        ("exit 1", "reconfiguring BIRD failed, either BIRD daemon is down"),
        ("echo 'BIRD 2.0.12 ready.'; echo '/etc/bird/bird.conf:5:1 syntax error'", "reconfiguring BIRD returned error"),
        (
            "echo 'BIRD 2.0.12 ready.'; echo 'Reconfiguration already in progress, queueing new config'",
            "BIRD daemon is busy",
        ),
        ("exec sleep 1100", "reconfiguring bird timed out"),
    ] {
        let rig = Rig::new(2, "", "").started();
        rig.wait("in sync at start", Rig::in_sync);
        rig.set_bird(answer);
        rig.set_and_hint("s0", State::Down);
        rig.wait(answer, |rig| rig.problem().is_some_and(|found| found.starts_with(problem)));
        assert!(!rig.in_sync() && !rig.file().contains("10.0.0.0/32"), "the file does not wait for BIRD");
        rig.set_bird(ACCEPT);
        rig.wait("in sync again", |rig| rig.in_sync() && rig.problem().is_none());
        rig.stop();
    }
}

#[test]
fn no_reconfigure_is_sent_to_a_bird_that_may_be_busy() {
    let rig = Rig::new(2, "", "");
    rig.set_bird("echo 'BIRD 3.3.2 ready.'; echo 'Reconfiguration in progress'");
    let rig = rig.started();
    rig.wait("the first reconfigure", Rig::in_sync);
    rig.set_and_hint("s0", State::Down);
    rig.wait("the file", |rig| !rig.file().contains("10.0.0.0/32"));
    rig.set_and_hint("s1", State::Down);
    rig.wait("the file", |rig| !rig.file().contains("10.0.0.1/32"));
    // A stop does not send one either.
    let rig = rig.stop();
    assert_eq!(rig.runs().len(), 1);
    assert!(!rig.in_sync());
}

#[test]
fn families_with_the_same_command_share_a_reconfigure() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure";
    let rig = Rig::new(1, ipv6, "").started();
    rig.wait("in sync at start", Rig::in_sync);
    assert_eq!(rig.runs().len(), 1);
    assert_eq!(rig.state.lock().families.len(), 2);
    assert!(fs::read_to_string(rig.path("prefixes6")).unwrap().contains("2001:db8::1/128"));
    rig.stop();
    let rig = Rig::new(1, &ipv6.replace("birdc configure", "birdc6 configure"), "").started();
    rig.wait("the failure of IPv6", |rig| {
        rig.state.lock().families.get(1).is_some_and(|found| found.problem.is_some())
    });
    assert!(rig.state.lock().families[0].in_sync);
}

#[test]
fn a_foreign_change_is_repaired_and_bird_is_notified() {
    let rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    put(&rig.path("prefixes"), "", 0o644);
    rig.events.send(Event::Touched(Family::V6)).unwrap();
    rig.events.send(Event::Touched(Family::V4)).unwrap();
    rig.wait("the repair", |rig| rig.file().contains("10.0.0.1/32") && rig.runs().len() == 2 && rig.in_sync());
}

#[test]
fn custom_commands_run_for_the_changes_of_their_services() {
    let rig = Rig::new(2, "", &format!("{CUSTOM}\ncustom_bird_reconfigure_cmd_timeout = 1")).started();
    rig.wait("ready", Rig::in_sync);
    // The first command hangs, and delays the second one only up to its own time limit.
    rig.set_bird("case $2 in down) [ -e DIR/hang ] || { touch DIR/hang; sleep 1101; }; esac");
    rig.set_and_hint("s0", State::Down);
    rig.wait("the first run", |rig| rig.runs().len() == 2);
    rig.set_and_hint("s1", State::Down);
    rig.wait("the file, which does not wait for the command", |rig| !rig.file().contains("10.0.0.1/32"));
    rig.wait("the second run", |rig| rig.runs().len() >= 3);
    rig.wait("the second attempt of the first command", Rig::in_sync);
    rig.set_and_hint("s1", State::Up);
    rig.wait("up again", |rig| rig.file().contains("10.0.0.1/32") && rig.in_sync());
    let runs = rig.stop().runs();
    assert_eq!(runs[0], "1 configure", "the family's command runs at the start");
    assert!(runs[1..].iter().all(|run| run == "2 custom down" || run == "2 custom up"), "{runs:?}");
    assert_eq!(runs.last().unwrap(), "2 custom up");
}

/// Custom commands make BIRD read the files, as the families' commands do.
#[test]
fn custom_commands_wait_like_reconfigures() {
    // They wait for the other services' verdicts if the list is lost.
    let mut rig = Rig::new(2, "", CUSTOM);
    put(&rig.path("prefixes"), "", 0o644);
    let (mut writer, _events) = rig.writer();
    rig.set("s0", State::Up);
    writer.step();
    assert!(rig.file().contains("10.0.0.0/32") && rig.runs().is_empty() && !writer.custom_commands.is_running());
    let now = Instant::now();
    assert!(writer.next_wakeup(now).is_some_and(|at| at > now), "the hold ends");
    let hold = rig.state.lock().families[0].hold.clone().unwrap();
    assert_eq!(hold.waiting_for, ["s1".into()]);
    assert!(!rig.in_sync() && rig.problem().is_none(), "a hold is not a problem");
    rig.set("s1", State::Up);
    writer.reconfigurers.lists_mut().for_each(PrefixList::skip_backoff);
    writer.step();
    assert!(writer.custom_commands.is_running() && rig.state.lock().families[0].hold.is_none());
    assert_eq!(rig.runs()[0], "1 configure");

    // They wait for a BIRD that may be busy.
    let mut rig = Rig::new(1, "", CUSTOM);
    let (mut writer, _events) = rig.writer();
    writer.step();
    writer.busy.extend(Some(now + MINUTE));
    rig.set("s0", State::Down);
    writer.reconfigurers.lists_mut().for_each(PrefixList::skip_backoff);
    writer.step();
    assert!(!rig.file().contains("10.0.0.0/32") && !writer.custom_commands.is_running());
    assert_eq!(writer.next_wakeup(now), Some(now + MINUTE));
}

/// A second configure kills a BIRD 3 that is busy with the first, whichever program sent it.
#[test]
fn a_busy_bird_seen_by_a_custom_command_delays_all_reconfigures() {
    for (version, busy) in [("echo BIRD 3.3.2 ready.;", true), ("", true), ("echo BIRD 2.0.12 ready.;", false)] {
        let mut rig = Rig::new(2, "", "");
        rig.configure(BIRDC, &[("s0", "10.0.0.0/32", CUSTOM), ("s1", "10.0.0.1/32", "")]);
        let (mut writer, events) = rig.writer();
        writer.step();
        let waits = "case $1 in custom) until [ -e DIR/go ]; do sleep 0.01; done; esac";
        rig.set_bird(&format!("{waits}; {version} echo Reconfiguration in progress"));
        rig.set("s0", State::Down);
        writer.reconfigurers.lists_mut().for_each(PrefixList::skip_backoff);
        writer.step();
        assert!(writer.custom_commands.is_running());
        rig.wait("its start", |rig| rig.runs().len() == 2);
        // No reconfigure is sent while the command is running.
        rig.set("s1", State::Down);
        writer.skip_backoff();
        writer.step();
        assert!(!rig.file().contains("10.0.0.1/32") && rig.runs() == ["1 configure", "2 custom down"]);
        put(&rig.path("go"), "", 0o644);
        let ended = events.recv_timeout(MINUTE).unwrap();
        writer.apply(ended);
        writer.skip_backoff();
        writer.step();
        assert_eq!(rig.runs().len(), if busy { 2 } else { 3 }, "{version}");
        let now = Instant::now();
        assert_eq!(writer.next_wakeup(now).is_some_and(|at| at > now + BUSY_PAUSE / 2), busy, "{version}");
    }
}

/// Starts a BIRD 3 on the rig's control socket, which holds every list. It ends with the test
/// program.
fn start_bird_on_socket(rig: &Rig) -> Arc<AtomicBool> {
    let busy = Arc::new(AtomicBool::new(false));
    let (listener, is_busy) = (UnixListener::bind(rig.path("sock")).unwrap(), busy.clone());
    let talk = move |stream: UnixStream, busy: Arc<AtomicBool>| {
        let mut write = stream.try_clone().unwrap();
        let _ = write.write_all(b"0001 BIRD 3.3.2 ready.\n");
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let answer = match line.as_str() {
                "configure" => "0003 Reconfigured\n",
                "configure status" if busy.load(Ordering::SeqCst) => "0004-Reconfiguration in progress\n0000 \n",
                "configure status" => "0003-Daemon is up and running\n0000 \n",
                _ => "0023 TRUE\n",
            };
            let _ = write.write_all(answer.as_bytes());
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            let busy = is_busy.clone();
            std::thread::spawn(move || talk(stream, busy));
        }
    });
    busy
}

/// Over a socket BIRD reports every reconfiguration, including those of an operator.
#[test]
fn a_custom_command_waits_for_a_bird_that_reports_that_it_is_busy() {
    let mut rig = Rig::new(1, "bird_control_socket = DIR/sock", CUSTOM);
    let busy = start_bird_on_socket(&rig);
    let (mut writer, _events) = rig.writer();
    writer.step();
    assert!(rig.in_sync(), "{:?}", rig.problem());
    busy.store(true, Ordering::SeqCst);
    rig.set("s0", State::Down);
    writer.skip_backoff();
    for _ in 0..3 {
        writer.busy = BusyState::default();
        writer.step();
        assert!(!writer.custom_commands.is_running() && !rig.in_sync());
        let now = Instant::now();
        assert!(writer.next_wakeup(now).is_some_and(|at| at <= now + BUSY_RETRY), "BIRD is queried again");
    }
    // BIRD's answer that it is idle overrides what a command has reported.
    busy.store(false, Ordering::SeqCst);
    writer.busy = BusyState::default();
    writer.busy.extend(Some(Instant::now() + MINUTE));
    writer.step();
    assert!(writer.custom_commands.is_running());
}

/// A custom command may be for the BIRD that cannot be queried.
#[test]
fn the_answer_of_one_bird_does_not_count_for_another_that_may_be_busy() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure";
    for answers in [true, false] {
        let mut rig = Rig::new(1, &format!("bird_control_socket = DIR/sock\n{ipv6}"), CUSTOM);
        let _busy = answers.then(|| start_bird_on_socket(&rig));
        let (mut writer, _events) = rig.writer();
        writer.step();
        let until = Instant::now() + MINUTE;
        writer.busy.extend(Some(until));
        rig.set("s0", State::Down);
        writer.skip_backoff();
        writer.step();
        assert!(!rig.file().contains("10.0.0.0/32") && !writer.custom_commands.is_running(), "{answers}");
        assert_eq!(writer.busy.until(), Some(until), "{answers}");
        assert_eq!(writer.custom_wakeup(Instant::now()), Some(until), "{answers}");
    }
    // The same for a socket without a BIRD.
    let mut rig = Rig::new(1, "bird_control_socket = DIR/sock", CUSTOM);
    let (mut writer, _events) = rig.writer();
    writer.step();
    let until = Instant::now() + MINUTE;
    writer.busy.extend(Some(until));
    rig.set("s0", State::Down);
    writer.skip_backoff();
    writer.step();
    assert!(!writer.custom_commands.is_running());
    assert_eq!(writer.custom_wakeup(Instant::now()), Some(until));
}

/// Both commands may be for the same BIRD, which would read the held list together with the other
/// one.
#[test]
fn no_command_runs_while_a_list_is_held() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc six";
    let mut rig = Rig::new(1, ipv6, "");
    put(&rig.path("prefixes"), "define", 0o644);
    let (mut writer, _events) = rig.writer();
    writer.step();
    assert!(rig.path("prefixes6").exists(), "the other list is written nevertheless");
    assert!(rig.runs().is_empty(), "{:?}", rig.runs());
    rig.set("s0", State::Up);
    writer.skip_backoff();
    writer.step();
    assert_eq!(rig.runs(), ["1 configure", "1 six"]);
}

#[test]
fn a_custom_command_confirms_only_the_families_of_its_service() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc6 configure";
    let mut rig = Rig::new(1, ipv6, CUSTOM);
    let (mut writer, events) = rig.writer();
    writer.step();
    rig.set("s0", State::Down);
    writer.reconfigurers.lists_mut().for_each(PrefixList::skip_backoff);
    writer.step();
    assert!(writer.custom_commands.is_running() && !writer.is_in_sync(list_of(&writer, Family::V4)));
    let ended = events.recv_timeout(MINUTE).unwrap();
    assert!(matches!(&ended, Event::CustomEnded(run) if run.result.is_ok()), "{ended:?}");
    writer.apply(ended);
    assert!(writer.is_in_sync(list_of(&writer, Family::V4)));
    assert!(list_of(&writer, Family::V6).is_owed(), "the other BIRD is down");
}

/// At a start it is not known what a BIRD holds that only custom commands notify.
#[test]
fn a_family_with_only_custom_commands_runs_each_at_the_start() {
    let mut rig = Rig::new(2, "", CUSTOM);
    let main =
        "[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\n".replace("DIR", rig.dir.path().to_str().unwrap());
    put(&rig.path("main.conf"), main, 0o644);
    rig.settings = read_settings(rig.dir.path());
    let mut rig = rig.started();
    rig.wait("both", |rig| rig.runs().len() == 2 && rig.in_sync());
    // Each runs again after a foreign change.
    put(&rig.path("prefixes"), "", 0o644);
    rig.events.send(Event::Touched(Family::V4)).unwrap();
    rig.wait("both again", |rig| rig.runs().len() == 4 && rig.in_sync());
    // Each runs again after a reload that removes the family's own command.
    let services = [("s0", "10.0.0.0/32", CUSTOM), ("s1", "10.0.0.1/32", CUSTOM)];
    rig.reload(BIRDC, &services);
    rig.wait("in sync", Rig::in_sync);
    rig.reload("", &services);
    rig.wait("both once more", |rig| {
        rig.runs().iter().filter(|run| *run == "2 custom up").count() >= 6 && rig.in_sync()
    });
}

#[test]
fn the_familys_command_replaces_a_custom_command_that_cannot_be_started() {
    let rig = Rig::new(2, "", "custom_bird_reconfigure_cmd = DIR/missing").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_and_hint("s0", State::Down);
    rig.wait("the family's command", |rig| rig.runs() == ["1 configure", "1 configure"] && rig.in_sync());
}

#[test]
fn one_reconfigure_is_in_progress_at_a_time() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure6";
    let mut rig = Rig::new(1, ipv6, "");
    let run = "mkdir DIR/lock || touch DIR/overlap; sleep 0.02; rmdir DIR/lock";
    rig.set_bird(&format!("{run}; {ACCEPT}"));
    rig.configure(
        &format!("{BIRDC}\n{ipv6}"),
        &[
            ("s0", "10.0.0.0/32,fd00::1", CUSTOM),
            ("s1", "10.0.0.1/32", CUSTOM),
            ("s2", "10.0.0.2/32", ""),
            ("s3", "fd00::3", ""),
            ("s4", "fd00::4", CUSTOM),
        ],
    );
    let rig = rig.started();
    for round in 0..12 {
        for n in 0..5 {
            rig.set_and_hint(&format!("s{n}"), if (round + n) % 2 == 0 { State::Up } else { State::Down });
        }
        let runs = rig.runs().len();
        rig.wait("some runs", |rig| rig.runs().len() > runs + 1);
    }
    rig.wait("the last change", Rig::in_sync);
    let rig = rig.stop();
    assert!(!rig.path("overlap").exists(), "{:?}", rig.runs());
    for expected in ["1 configure", "1 configure6", "2 custom up", "2 custom down"] {
        assert!(rig.runs().iter().any(|run| run == expected), "{expected}: {:?}", rig.runs());
    }
}

#[test]
fn a_lost_list_is_held_until_the_first_verdict_of_the_slowest_service() {
    let check = |options: &str, min: u64, max: Duration| {
        let mut rig = Rig::new(1, "", options);
        put(&rig.path("prefixes"), "", 0o644);
        let start = Instant::now();
        let (mut writer, _events) = rig.writer();
        writer.step();
        let until = rig.state.lock().families[0].hold.clone().unwrap().until - start;
        // Reading the files takes time too.
        assert!(until >= Duration::from_secs(min) && until < max + MINUTE / 2, "{until:?}");
    };
    check("check_disabled = false\ncheck_interval = 100\ncheck_rise = 3\ncheck_timeout = 7", 60, MAX_HOLD);
    check("check_disabled = true", 3, START_ALLOWANCE);
}

#[test]
fn queued_verdicts_are_applied_at_a_stop() {
    let rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_and_hint("s0", State::Down);
    rig.set_and_hint("s1", State::Down);
    let rig = rig.stop();
    assert!(!rig.file().contains("10.0.0.") && rig.in_sync());
    assert!(rig.state.lock().due.is_none());
}

#[test]
fn the_give_up_token_cuts_a_stop_short() {
    let rig =
        Rig::new(1, "", "custom_bird_reconfigure_cmd = DIR/birdc custom\ncustom_bird_reconfigure_cmd_timeout = 1000")
            .started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_bird("exec sleep 1102");
    rig.set_and_hint("s0", State::Down);
    rig.wait("the run", |rig| rig.runs().len() == 2);
    rig.events.send(Event::Stop { leaving: false }).unwrap();
    rig.give_up.trigger();
    let mut rig = rig;
    assert!(matches!(rig.end(), WriterEnd::Stopped));
}

#[test]
fn the_panic_of_a_check_thread_ends_the_writer_after_queued_verdicts() {
    let mut rig = Rig::new(2, "", "").started();
    rig.set_and_hint("s0", State::Down);
    rig.events.send(Event::Died { service: "s1".into(), why: "a bug".into() }).unwrap();
    assert!(matches!(rig.end(), WriterEnd::Died { service, why } if &*service == "s1" && why == "a bug"));
    assert!(!rig.file().contains("10.0.0.0/32"));
}

/// A custom command that hangs delays the end only briefly, and not up to its own time limit. A
/// stop in the meantime does not hide the panic.
#[test]
fn a_panic_stays_the_reason_for_the_end_and_custom_commands_do_not_delay_it() {
    let mut rig =
        Rig::new(2, "", "custom_bird_reconfigure_cmd = DIR/birdc custom\ncustom_bird_reconfigure_cmd_timeout = 1000")
            .started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_bird("exec sleep 1106");
    rig.set_and_hint("s0", State::Down);
    rig.wait("the run", |rig| rig.runs().len() == 2);
    rig.events.send(Event::Died { service: "s1".into(), why: "a bug".into() }).unwrap();
    rig.events.send(Event::Stop { leaving: false }).unwrap();
    let start = Instant::now();
    assert!(matches!(rig.end(), WriterEnd::Died { service, .. } if &*service == "s1"));
    assert!(start.elapsed() < Duration::from_secs(500), "the command's own time limit");
}

#[test]
fn the_failure_of_a_custom_command_is_reported() {
    let rig = Rig::new(2, "", "custom_bird_reconfigure_cmd = DIR/birdc custom").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_bird("echo no >&2; exit 3");
    rig.set_and_hint("s1", State::Down);
    let why = "reconfiguring BIRD failed with return code: 3 and stderr: b'no\\n' (custom command of s1)";
    rig.wait("the reason", |rig| rig.problem().as_deref() == Some(why));
    assert!(!rig.in_sync());
    rig.set_bird("");
    rig.wait("in sync again", |rig| rig.in_sync() && rig.problem().is_none());
    rig.stop();
}

impl Rig {
    fn leave(&self) {
        self.checks.iter().filter(|check| check.service.withdraw_on_exit).for_each(|check| check.leave());
        // A verdict that arrives after that changes nothing.
        self.set_and_hint("s0", State::Up);
        self.events.send(Event::Stop { leaving: true }).unwrap();
    }
}

#[test]
fn services_that_leave_are_withdrawn_by_one_reconfigure_before_the_end() {
    let mut rig = Rig::new(3, "", "on_exit = withdraw").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.leave();
    assert!(matches!(rig.end(), WriterEnd::Stopped));
    assert!(!rig.file().contains("10.0.0.") && rig.in_sync());
    assert_eq!(rig.runs().len(), 2);
}

#[test]
fn a_leave_is_retried_until_bird_accepts_it() {
    let mut rig = Rig::new(2, "", "on_exit = withdraw").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_bird("exit 1");
    rig.leave();
    rig.wait("two attempts", |rig| rig.runs().len() > 3);
    rig.set_bird(ACCEPT);
    assert!(matches!(rig.end(), WriterEnd::Stopped));
    assert!(!rig.file().contains("10.0.0.") && rig.in_sync());
}

#[test]
fn the_give_up_token_cuts_a_leave_short() {
    let mut rig = Rig::new(1, "", "on_exit = withdraw").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_bird("exec sleep 1103");
    rig.leave();
    rig.wait("the attempt", |rig| rig.runs().len() > 1);
    rig.give_up.trigger();
    assert!(matches!(rig.end(), WriterEnd::Stopped));
    assert!(!rig.file().contains("10.0.0.") && !rig.in_sync());
}

/// As at a host's shutdown. After the first attempt BIRD may still be restarting.
#[test]
fn a_leave_does_not_wait_for_a_bird_that_is_gone() {
    for why in ["No such file or directory", "Connection refused"] {
        let mut rig = Rig::new(2, "", "on_exit = withdraw").started();
        rig.wait("in sync at start", Rig::in_sync);
        rig.set_bird(&format!("echo 'Unable to connect to server control socket (/a): {why}' >&2; exit 1"));
        rig.leave();
        assert!(matches!(rig.end(), WriterEnd::Stopped));
        assert!(!rig.file().contains("10.0.0.") && !rig.in_sync());
        assert_eq!(rig.runs().len(), 3);
    }
}

/// BIRD may be running with its socket elsewhere.
#[test]
fn a_leave_waits_for_a_bird_that_has_never_answered() {
    for stale in [false, true] {
        let rig = Rig::new(2, "bird_control_socket = DIR/sock", "on_exit = withdraw");
        let _stale = stale.then(|| std::os::unix::net::UnixListener::bind(rig.path("sock")).map(drop));
        let mut rig = rig.started();
        rig.wait("the start", |rig| rig.state.lock().ready);
        rig.leave();
        let before = rig.counts().1;
        rig.wait("more attempts than a BIRD needs to count as gone", |rig| rig.counts().1 > before + 3);
        rig.give_up.trigger();
        assert!(matches!(rig.end(), WriterEnd::Stopped));
        assert!(!rig.file().contains("10.0.0.") && !rig.in_sync());
    }
}

#[test]
fn a_stop_without_leave_keeps_the_list() {
    let rig = Rig::new(1, "", "on_exit = withdraw").started();
    rig.wait("in sync at start", Rig::in_sync);
    assert!(rig.stop().file().contains("10.0.0.0/32"));
}

#[test]
fn a_leave_runs_custom_commands() {
    let mut rig = Rig::new(1, "", &format!("on_exit = withdraw\n{CUSTOM}")).started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.leave();
    assert!(matches!(rig.end(), WriterEnd::Stopped));
    assert_eq!(rig.runs(), ["1 configure", "2 custom down"]);
    assert!(rig.in_sync());
}

#[test]
fn a_reload_causes_one_reconfigure_or_none_if_nothing_changes() {
    let mut rig = Rig::new(3, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_and_hint("s0", State::Down);
    rig.wait("the withdrawal", |rig| rig.runs().len() == 2 && rig.in_sync());
    // `s0` keeps its verdict, `s1` and `s2` have none.
    let (s0, s1, s2) = (("s0", "10.0.0.0/32", ""), ("s1", "10.0.0.1/32", ""), ("s2", "10.0.0.2/32", ""));
    for _ in 0..20 {
        rig.reload(BIRDC, &[s2, s1, s0]);
    }
    // A state that changed before the reload needs no hint.
    for (runs, state) in [(3, State::Down), (4, State::Up)] {
        rig.set("s2", state);
        rig.reload(BIRDC, &[s2, s1, s0]);
        rig.wait("its effect", |rig| rig.runs().len() == runs && rig.in_sync());
        assert_eq!(rig.file().contains("10.0.0.2/32"), state == State::Up);
    }
    // `s3` takes over the prefix of `s1`, `s2` is removed with its prefix, `s4` is new.
    let before = rig.reload(BIRDC, &[s0, ("s3", "10.0.0.1/32", ""), ("s4", "10.0.0.4/32", "")]);
    // The file changes before the report says that BIRD has not accepted it.
    let is_confirmed = |rig: &Rig| rig.runs().len() > 4 && rig.in_sync();
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.2/32") && is_confirmed(rig));
    assert_eq!(rig.runs().len(), 5);
    assert_eq!(rig.file().lines().filter(|line| line.contains("10.0.0.")).collect::<Vec<_>>(), ["        10.0.0.1/32"]);
    // Late verdicts of former checks are ignored.
    for check in before.iter().filter(|check| check.name() != "s0") {
        set(check, if check.name() == "s2" { State::Up } else { State::Down });
        rig.hint(check);
    }
    rig.set_and_hint("s4", State::Up);
    rig.wait("the new service", |rig| rig.runs().len() == 6 && rig.in_sync());
    let rig = rig.stop();
    assert!(rig.file().contains("10.0.0.4/32") && rig.file().contains("10.0.0.1/32"));
    assert!(!rig.file().contains("10.0.0.2/32"));
    assert_eq!((rig.runs().len(), rig.counts()), (6, (6, 0)), "counts are kept");
}

/// The former check has the same name as a current one.
#[test]
fn a_hint_of_a_former_check_changes_nothing() {
    let rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    let former = Arc::new(Check::new(rig.check("s0").service.clone()));
    set(&former, State::Down);
    rig.hint(&former);
    let rig = rig.stop();
    assert!(rig.file().contains("10.0.0.0/32") && rig.in_sync());
    assert_eq!(rig.runs().len(), 1);
}

#[test]
fn the_states_are_read_once_a_second_without_a_hint() {
    let mut rig = Rig::new(2, "", "");
    let (writer, received) = rig.writer();
    assert_eq!(writer.poll_interval, Duration::from_secs(1));
    rig.thread = Some(std::thread::spawn(move || writer.run(&received, || ())));
    rig.wait("in sync at start", Rig::in_sync);
    rig.set("s0", State::Down);
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.0/32") && rig.runs().len() == 2 && rig.in_sync());
    rig.stop();
}

/// Pseudo-random numbers, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// The prefixes that all their services want to advertise.
fn wanted(checks: &[Arc<Check>]) -> HashSet<Prefix> {
    use crate::check::state::Intent;
    let verdicts: Vec<_> = checks.iter().map(|check| (check.service.clone(), check.state().verdict())).collect();
    let all: HashSet<Prefix> = verdicts.iter().flat_map(|(service, _)| service.prefixes.clone()).collect();
    let is_wanted = |prefix: &Prefix| {
        let mut naming = verdicts.iter().filter(|(service, _)| service.prefixes.contains(prefix));
        naming.all(|(_, verdict)| verdict.intent(prefix) == Intent::Advertise)
    };
    all.into_iter().filter(is_wanted).collect()
}

/// A hint only wakes the writer, so it does not matter whether or how often it arrives.
#[test]
fn lost_and_repeated_hints_do_not_change_the_result() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure";
    let daemon = format!("{BIRDC}\n{ipv6}\nshared_ip_prefixes = true");
    let checked = "check_disabled = false";
    let custom = format!("{checked}\n{CUSTOM}");
    let services = [
        ("s0", "10.0.0.0/32", checked),
        ("s1", "10.0.0.1/32,10.0.0.9/32,fd00::1", checked),
        ("s2", "10.0.0.9/32,10.0.0.2/32", checked),
        ("s3", "10.0.0.3/32,10.0.0.8/32,fd00::3", &custom),
        ("s4", "10.0.0.8/32,fd00::4", &custom),
    ];
    for seed in 1..=12 {
        let mut rig = Rig::new(1, ipv6, "");
        rig.configure(&daemon, &services);
        let (mut writer, received) = rig.writer();
        writer.poll_interval = Duration::from_millis(20);
        rig.thread = Some(std::thread::spawn(move || writer.run(&received, || ())));
        rig.checks.iter().for_each(|check| set(check, State::Down));
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
        for round in 0..4 {
            for _ in 0..=random.below(25) {
                let check = &rig.checks[random.below(5) as usize];
                let mut state = check.state_mut();
                let _ = match random.below(6) {
                    0 | 1 => state.decide(OnDisabled::Advertise),
                    2 => state.decide(OnDisabled::Withdraw),
                    3 => state.addresses_gone(&check.service, [check.service.prefixes[0]].into()).0,
                    4 => state.drain(PathBuf::from("/x"), DrainEnd::Never),
                    _ => state.end_drain(&check.service),
                };
                drop(state);
                // With the first seed all hints are lost.
                let times = if seed == 1 { 0 } else { random.below(3) };
                (0..times).for_each(|_| rig.hint(check));
                if random.below(4) == 0 {
                    std::thread::yield_now();
                }
            }
            let wanted = wanted(&rig.checks);
            let dummies: [Prefix; 2] = [DUMMY, "2001:db8::1/128"].map(|text| text.parse().unwrap());
            let expected: Vec<Prefix> = wanted.iter().copied().collect();
            let in_bird = |rig: &Rig| {
                let families = rig.state.lock().families.clone();
                let all: HashSet<Prefix> = families.iter().flat_map(|family| family.in_bird.to_vec()).collect();
                all.into_iter().filter(|prefix| !dummies.contains(prefix)).collect::<HashSet<_>>()
            };
            let is_done = |rig: &Rig| list(rig, &expected) && rig.in_sync() && in_bird(rig) == wanted;
            rig.wait(&format!("{expected:?} in round {round} of seed {seed}"), is_done);
        }
        rig.stop();
    }
}

#[test]
fn a_new_reconfigure_command_runs_at_once() {
    let mut rig = Rig::new(1, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.set_bird(&format!("case $1 in configure) exit 1; esac; {ACCEPT}"));
    rig.set_and_hint("s0", State::Down);
    rig.wait("many failures, so that the next retry is far away", |rig| rig.counts().1 > 4);
    let failed = rig.counts().1;
    rig.reload("bird_reconfigure_cmd = DIR/birdc other", &[("s0", "10.0.0.0/32", "")]);
    rig.wait("the reconfigure", Rig::in_sync);
    let rig = rig.stop();
    assert!(rig.counts().1 >= failed && rig.counts().0 == 2 && rig.problem().is_none(), "{:?}", rig.counts());
}

#[test]
fn a_reload_adds_changes_and_removes_a_custom_command() {
    let mut rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    let with = |custom| [("s0", "10.0.0.0/32", custom), ("s1", "10.0.0.1/32", "")];
    rig.reload(BIRDC, &with("custom_bird_reconfigure_cmd = DIR/birdc one"));
    rig.set_and_hint("s0", State::Down);
    rig.wait("the first command", |rig| rig.runs().len() == 2 && rig.in_sync());
    // A command that fails is replaced by one that succeeds.
    rig.set_bird("case $1 in one) exit 1; esac");
    rig.set_and_hint("s0", State::Up);
    rig.wait("a failure", |rig| rig.runs().len() == 3);
    rig.reload(BIRDC, &with("custom_bird_reconfigure_cmd = DIR/birdc two"));
    rig.wait("the second command", Rig::in_sync);
    rig.set_bird(&format!("case $1 in two) exit 1; esac; {ACCEPT}"));
    rig.set_and_hint("s0", State::Down);
    rig.wait("a failure", |rig| rig.runs().iter().any(|run| run == "2 two down"));
    // After its removal the family's command runs instead.
    rig.reload(BIRDC, &with(""));
    rig.wait("the family's command", Rig::in_sync);
    let runs = rig.stop().runs();
    assert_eq!(runs[..2], ["1 configure", "2 one down"]);
    assert_eq!(runs.last().unwrap(), "1 configure", "{runs:?}");
}

#[test]
fn the_removal_of_a_service_runs_its_custom_command_and_the_familys_command() {
    let mut rig = Rig::new(2, "", CUSTOM).started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.reload(BIRDC, &[("s1", "10.0.0.1/32", CUSTOM)]);
    let is_confirmed = |rig: &Rig| rig.runs().len() == 3 && rig.in_sync();
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.0/32") && is_confirmed(rig));
    let mut runs = rig.stop().runs();
    runs[1..].sort();
    assert_eq!(
        runs,
        ["1 configure", "1 configure", "2 custom down"],
        "the family's command, in case the custom one fails"
    );
}

/// Whether the families' files list exactly these prefixes and their dummies.
fn list(rig: &Rig, prefixes: &[Prefix]) -> bool {
    let lists = |family, name| {
        let listed = prefix_file::parse(&fs::read(rig.path(name)).unwrap_or_default(), family).prefixes;
        let wanted: HashSet<Prefix> = prefixes.iter().copied().filter(|prefix| prefix.family() == family).collect();
        listed.into_iter().skip(1).collect::<HashSet<_>>() == wanted
    };
    lists(Family::V4, "prefixes") && lists(Family::V6, "prefixes6")
}

/// Each verdict comes with the number of prefixes whose addresses are missing, and the expected run
/// of the command.
fn check_several(prefixes: &[&str], verdicts: &[(State, usize, &str)]) {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure";
    let mut rig = Rig::new(1, ipv6, "").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.reload(
        &format!("{BIRDC}\n{ipv6}"),
        &[("s0", &prefixes.join(","), &format!("check_disabled = false\n{CUSTOM}"))],
    );
    let all: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    for (state, missing, expected) in verdicts {
        let before = rig.runs().len();
        let (missing, assigned) = all.split_at(*missing);
        let check = rig.check("s0");
        set(check, *state);
        let _ = check.state_mut().addresses_gone(&check.service, missing.iter().copied().collect());
        rig.hint(check);
        let listed = if *state == State::Up { assigned } else { &[] };
        let has_run = |rig: &Rig| rig.runs().last().is_some_and(|run| run == expected);
        rig.wait(expected, |rig| rig.runs().len() > before && list(rig, listed) && rig.in_sync() && has_run(rig));
    }
    // Each family coalesces its own changes, so one of them may be written a moment later.
    let families: HashSet<Family> = all.iter().map(Prefix::family).collect();
    let runs = rig.stop().runs();
    assert!(runs.len() <= 1 + families.len() * verdicts.len(), "{runs:?}");
    let mut custom_runs = runs[1..].to_vec();
    let mut expected: Vec<_> = verdicts.iter().map(|(.., run)| run.to_string()).collect();
    custom_runs.dedup();
    expected.dedup();
    assert_eq!(custom_runs, expected);
}

#[test]
fn several_prefixes_of_a_service_cause_one_run_of_its_command() {
    let verdicts = [
        (State::Up, 0, "2 custom up"),
        // One address is missing, and the service is still up.
        (State::Up, 1, "2 custom up"),
        (State::Up, 2, "2 custom up"),
        (State::Up, 3, "2 custom down"),
        (State::Up, 0, "2 custom up"),
        (State::Down, 0, "2 custom down"),
    ];
    check_several(&["10.0.0.0/32", "10.0.0.5/32", "10.0.0.6/32"], &verdicts);
    check_several(&["10.0.0.0/32", "fd00::1", "10.0.0.6/32"], &verdicts);
}

#[test]
fn a_shared_prefix_is_listed_while_all_its_services_are_up_and_runs_one_command() {
    let mut rig = Rig::new(1, "", CUSTOM).started();
    rig.wait("in sync at start", Rig::in_sync);
    let shared = format!("{BIRDC}\nshared_ip_prefixes = true");
    rig.reload(&shared, &[("s0", "10.0.0.0/32", CUSTOM), ("s1", "10.0.0.0/32", CUSTOM)]);
    for (service, state, listed) in [
        ("s0", State::Down, false),
        ("s1", State::Down, false),
        ("s0", State::Up, false),
        ("s1", State::Up, true),
        ("s1", State::Down, false),
        ("s1", State::Up, true),
    ] {
        let before = (rig.runs().len(), rig.file().contains("10.0.0.0/32"));
        rig.set_and_hint(service, state);
        let changes = usize::from(before.1 != listed);
        rig.wait("the change", |rig| {
            rig.file().contains("10.0.0.0/32") == listed && rig.runs().len() == before.0 + changes && rig.in_sync()
        });
    }
    let runs = rig.stop().runs();
    assert_eq!(runs, ["1 configure", "2 custom down", "2 custom up", "2 custom down", "2 custom up"]);
}

/// It includes the start of the threads, the splay, the start offset among the services of both
/// families, and the runs of the family's slowest service.
#[test]
fn the_time_of_the_first_verdict_is_that_of_the_slowest_service() {
    let check = |daemon: &str, services: usize, service: &str, v4: Duration, v6: Duration| {
        let rig = Rig::new(services, daemon, service);
        let text = fs::read_to_string(rig.path("services.conf")).unwrap();
        let six = "[six]\ncheck_cmd = true\nip_prefix = fd00::1/128\ncheck_interval = 1\ncheck_timeout = 10\n";
        put(&rig.path("services.conf"), format!("{text}{six}check_disabled = false\n"), 0o644);
        let settings = read_settings(rig.dir.path());
        let start = START_ALLOWANCE + schedule::start_offset(services + 1, processors());
        for (family, runs) in [(Family::V4, v4), (Family::V6, v6)] {
            let expected = (start + runs).min(MAX_HOLD);
            assert_eq!(first_verdict(&settings, family), expected, "{daemon}, {services} services with {service}");
        }
    };
    let seconds = Duration::from_secs_f64;
    let six = seconds(12.0 + 11.2);
    check("ipv6 = true", 1, "check_disabled = false", seconds(13.2), six);
    check("ipv6 = true\nsplay_startup = 7", 2, "check_disabled = false", seconds(20.2), seconds(7.0) + six);
    check("ipv6 = true", 200, "check_disabled = false\ncheck_rise = 4", seconds(33.2), six);
    check("ipv6 = true", 3, "check_disabled = true", Duration::ZERO, six);
    // At most one minute.
    check("ipv6 = true\nsplay_startup = 70", 1, "check_disabled = false", MAX_HOLD, MAX_HOLD);
}
