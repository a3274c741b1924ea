//! The thread itself, on real files, with a program in birdc's place that does what the test says and counts its runs.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use std::path::PathBuf;

use super::*;
use crate::check::reload;
use crate::check::state::Intent;
use crate::config::change;
use crate::config::files::{load, ServiceFiles, Sources};
use crate::config::settings::OnDisabled;

use crate::sys::atomic_file::{replace, Durability};

const DUMMY: &str = "10.189.200.255/32";
const MINUTE: Duration = Duration::from_secs(60);

/// A writer that runs, its files, and its BIRD.
struct Rig {
    dir: tempfile::TempDir,
    events: Sender<Event>,
    report: Arc<Mutex<BirdState>>,
    checks: RefCell<Arc<[Arc<Check>]>>,
    give_up: StopLine,
    thread: Option<JoinHandle<End>>,
}

impl Rig {
    /// The services `s0` to `sN` with the prefixes 10.0.0.0/32 to 10.0.0.N/32, all listed in the file at first.
    /// `DIR` in `daemon` and `service` is the rig's directory.
    fn new(services: usize, daemon: &str, service: &str) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let at = |text: &str| text.replace("DIR", dir.path().to_str().unwrap());
        put(
            &dir.path().join("birdc"),
            "#!/bin/sh\necho $# $* >> DIR/runs\n. DIR/does\n".replace("DIR", &at("DIR")),
            0o755,
        );
        put(&dir.path().join("main.conf"), at(&format!(
            "[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\nbird_reconfigure_cmd = DIR/birdc configure\n{daemon}\n"
        )), 0o644);
        let sections =
            (0..services).map(|n| format!("[s{n}]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.{n}/32\n{service}\n"));
        put(&dir.path().join("services.conf"), at(&sections.collect::<String>()), 0o644);
        let rig = Rig {
            dir,
            events: channel().0,
            report: Arc::default(),
            checks: RefCell::new(Arc::new([])),
            give_up: StopLine::new().unwrap(),
            thread: None,
        };
        rig.bird_does("echo Reconfigured");
        let listed: Vec<_> = (0..services).map(|n| format!("10.0.0.{n}/32").parse().unwrap()).collect();
        let dummy = DUMMY.parse().unwrap();
        let list = [vec![dummy], listed].concat();
        let text = crate::bird::prefix_file::render("ACAST_PS_ADVERTISE", Some(&dummy), &list, "2026", 1);
        put(&rig.path("prefixes"), text, 0o644);
        rig
    }

    fn settings(&self) -> Settings {
        let sources =
            Sources { main: self.path("main.conf"), services: ServiceFiles::File(self.path("services.conf")) };
        let loaded = load(&sources);
        loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap().settings
    }

    /// Goes on with other options of `[daemon]` and with these services, each its name, prefixes and more lines.
    fn reload(&self, daemon: &str, services: &[(&str, &str, &str)]) {
        let at = |text: &str| text.replace("DIR", self.dir.path().to_str().unwrap());
        put(
            &self.path("main.conf"),
            at(&format!("[daemon]\npidfile = DIR/pid\nbird_conf = DIR/prefixes\n{daemon}\n")),
            0o644,
        );
        let section = |(name, prefixes, more): &(&str, &str, &str)| {
            format!("[{name}]\ncheck_cmd = /bin/true\nip_prefix = {prefixes}\n{more}\n")
        };
        put(&self.path("services.conf"), at(&services.iter().map(section).collect::<String>()), 0o644);
        let mut running = self.settings();
        running.services = self.checks.borrow().iter().map(|check| check.service.clone()).collect();
        let change = change::between(&running, self.settings()).unwrap();
        let checks = reload::replace(&self.checks.borrow(), &change).checks;
        *self.checks.borrow_mut() = checks.clone();
        let reload = Reload { settings: change.settings, checks };
        self.events.send(Event::Reload(Box::new(reload))).unwrap();
    }

    fn started(mut self) -> Rig {
        let (writer, received) = self.writer();
        self.thread = Some(std::thread::spawn(move || writer.run(&received, || ())));
        self
    }

    /// One that does what the test calls.
    fn writer(&mut self) -> (Writer, Receiver<Event>) {
        let settings = self.settings();
        let (events, received) = channel();
        let checks: Arc<[Arc<Check>]> =
            settings.services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
        *self.checks.borrow_mut() = checks.clone();
        let (state, stop) = (self.report.clone(), self.give_up.clone());
        let writer = Writer::new(&settings, checks, Arc::default(), events.clone(), state, stop);
        self.events = events;
        (writer, received)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One that need not be woken, where it says no other version.
    fn bird_does(&self, script: &str) {
        let script = script.replace("DIR", self.dir.path().to_str().unwrap());
        let greeting = "echo BIRD 2.19.2 ready.; echo Reconfigured";
        let script = if script.contains("ready.") { script } else { script.replace("echo Reconfigured", greeting) };
        put(&self.path("does"), script, 0o644);
    }

    fn check(&self, service: &str) -> Arc<Check> {
        self.checks.borrow().iter().find(|check| check.name() == service).unwrap().clone()
    }

    /// The service's check says so, and sends a hint.
    fn say(&self, service: &str, state: State) {
        let check = self.check(service);
        become_so(&check, state);
        self.events.send(Event::Changed(check)).unwrap();
    }

    fn runs(&self) -> Vec<String> {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().map(String::from).collect()
    }

    fn file(&self) -> String {
        fs::read_to_string(self.path("prefixes")).unwrap()
    }

    fn in_sync(&self) -> bool {
        self.report.lock().families.iter().all(|family| family.in_sync) && self.report.lock().ready
    }

    fn problem(&self) -> Option<String> {
        self.report.lock().families.first().and_then(|family| family.problem.clone())
    }

    fn wait(&self, what: &str, condition: impl Fn(&Rig) -> bool) {
        let until = Instant::now() + MINUTE;
        while !condition(self) {
            assert!(Instant::now() < until, "{what} does not happen: {:?}, runs {:?}", self.report.lock(), self.runs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(&mut self) -> End {
        self.thread.take().unwrap().join().unwrap()
    }

    fn stop(mut self) -> Rig {
        self.events.send(Event::Stop { leaving: false }).unwrap();
        assert!(matches!(self.end(), End::Stopped));
        self
    }
}

/// Changes the state without a hint.
fn become_so(check: &Check, state: State) {
    let decision = if state == State::Up { OnDisabled::Advertise } else { OnDisabled::Withdraw };
    let _ = check.state_mut().decide(decision);
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
    rig.say("s1", State::Down);
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.1/32") && rig.in_sync());
    rig.say("s1", State::Down);
    rig.say("s0", State::Up);
    let rig = rig.stop();
    assert_eq!(rig.runs().len(), 2, "verdicts that change nothing are told to nobody");
    let report = rig.report.lock().families[0].clone();
    assert_eq!((report.counts.taken, report.counts.failed, report.problem), (2, 0, None));
}

#[test]
fn a_burst_is_one_reconfigure_and_what_follows_is_gathered() {
    let rig = Rig::new(200, "", "");
    // While BIRD is asked at start, all others die.
    rig.bird_does("touch DIR/asked; while [ ! -e DIR/go ]; do sleep 0.01; done; echo Reconfigured");
    let rig = rig.started();
    rig.wait("the first run", |rig| rig.path("asked").exists());
    (0..200).for_each(|n| rig.say(&format!("s{n}"), State::Down));
    put(&rig.path("go"), "", 0o644);
    rig.wait("all withdrawn", |rig| rig.runs().len() > 1 && !rig.file().contains("10.0.0.") && rig.in_sync());
    assert_eq!(rig.stop().runs().len(), 2);
}

#[test]
fn what_bird_did_not_take_is_told_again() {
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
        rig.bird_does(answer);
        rig.say("s0", State::Down);
        rig.wait(answer, |rig| rig.problem().is_some_and(|found| found.starts_with(problem)));
        assert!(!rig.in_sync() && !rig.file().contains("10.0.0.0/32"), "the file does not wait for BIRD");
        rig.bird_does("echo Reconfigured");
        rig.wait("in sync again", |rig| rig.in_sync() && rig.problem().is_none());
        rig.stop();
    }
}

#[test]
fn nobody_disturbs_a_bird_that_may_be_busy() {
    let rig = Rig::new(2, "", "");
    rig.bird_does("echo 'BIRD 3.3.2 ready.'; echo 'Reconfiguration in progress'");
    let rig = rig.started();
    rig.wait("taken at start", Rig::in_sync);
    rig.say("s0", State::Down);
    rig.wait("the file", |rig| !rig.file().contains("10.0.0.0/32"));
    rig.say("s1", State::Down);
    rig.wait("the file", |rig| !rig.file().contains("10.0.0.1/32"));
    // A stop does not make BIRD less busy.
    let rig = rig.stop();
    assert_eq!(rig.runs().len(), 1);
    assert!(!rig.in_sync());
}

#[test]
fn both_families_share_a_command_and_a_reconfigure() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure";
    let rig = Rig::new(1, ipv6, "").started();
    rig.wait("in sync at start", Rig::in_sync);
    assert_eq!(rig.runs().len(), 1);
    assert_eq!(rig.report.lock().families.len(), 2);
    assert!(fs::read_to_string(rig.path("prefixes6")).unwrap().contains("2001:db8::1/128"));
    rig.stop();
    let rig = Rig::new(1, &ipv6.replace("birdc configure", "birdc6 configure"), "").started();
    rig.wait("the other one's failure", |rig| {
        rig.report.lock().families.get(1).is_some_and(|found| found.problem.is_some())
    });
    assert!(rig.report.lock().families[0].in_sync);
}

#[test]
fn a_touched_file_is_put_right_and_told() {
    let rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    put(&rig.path("prefixes"), "", 0o644);
    rig.events.send(Event::Touched(Family::V6)).unwrap();
    rig.events.send(Event::Touched(Family::V4)).unwrap();
    rig.wait("the repair", |rig| rig.file().contains("10.0.0.1/32") && rig.runs().len() == 2 && rig.in_sync());
}

#[test]
fn custom_commands_tell_their_services_changes() {
    let custom = "custom_bird_reconfigure_cmd = DIR/birdc custom";
    let rig = Rig::new(2, "", custom).started();
    rig.wait("ready", Rig::in_sync);
    // The other service's command hangs, and holds up nobody.
    rig.bird_does("case $2 in down) [ -e DIR/hang ] || { touch DIR/hang; sleep 1101; }; esac");
    rig.say("s0", State::Down);
    rig.wait("the first run", |rig| rig.runs().len() == 2);
    rig.say("s1", State::Down);
    rig.wait("the second run", |rig| rig.runs().len() >= 3 && !rig.file().contains("10.0.0.1/32"));
    rig.wait("the first one's second try", Rig::in_sync);
    rig.say("s1", State::Up);
    rig.wait("up again", |rig| rig.file().contains("10.0.0.1/32") && rig.in_sync());
    let runs = rig.stop().runs();
    assert_eq!(runs[0], "1 configure", "the family has a command, and uses it at start");
    assert!(runs[1..].iter().all(|run| run == "2 custom down" || run == "2 custom up"), "{runs:?}");
    assert_eq!(runs.last().unwrap(), "2 custom up");
}

/// They make BIRD read the files, as the families' commands do.
#[test]
fn custom_commands_wait_as_reconfigures_do() {
    let custom = "custom_bird_reconfigure_cmd = DIR/birdc custom";
    let say = |rig: &Rig, writer: &mut Writer, service: &str, state| {
        become_so(&rig.check(service), state);
        writer.write(Instant::now());
        writer.skip_backoff();
        writer.step();
    };

    // For the verdicts of the others, where nothing tells what was listed.
    let mut rig = Rig::new(2, "", custom);
    put(&rig.path("prefixes"), "garbled", 0o644);
    let (mut writer, _events) = rig.writer();
    say(&rig, &mut writer, "s0", State::Up);
    assert!(rig.file().contains("10.0.0.0/32") && !writer.customs.is_running() && rig.runs().is_empty());
    let now = Instant::now();
    assert!(writer.next_wakeup(now).is_some_and(|at| at > now), "it does not wait for ever");
    say(&rig, &mut writer, "s1", State::Up);
    assert!(writer.customs.is_running() || rig.runs().len() == 1);

    // For a BIRD that may be busy.
    let mut rig = Rig::new(1, "", custom);
    let (mut writer, _events) = rig.writer();
    writer.step();
    writer.busy_until = Some(now + MINUTE);
    say(&rig, &mut writer, "s0", State::Down);
    assert!(!rig.file().contains("10.0.0.0/32") && !writer.customs.is_running());
    assert_eq!(writer.next_wakeup(now), Some(now + MINUTE));
}

/// The other family's BIRD is down, and stays untold whatever the command of a service that is none of its own does.
#[test]
fn a_custom_command_tells_only_the_families_of_its_service() {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc6 configure";
    let mut rig = Rig::new(1, ipv6, "custom_bird_reconfigure_cmd = DIR/birdc custom");
    let (mut writer, events) = rig.writer();
    writer.step();
    become_so(&rig.check("s0"), State::Down);
    writer.write(Instant::now());
    writer.skip_backoff();
    writer.step();
    assert!(writer.customs.is_running());
    let ended = events.recv_timeout(MINUTE).unwrap();
    assert!(matches!(&ended, Event::CustomEnded(CustomRun { result: Ok(()), .. })), "{ended:?}");
    writer.apply(ended);
    let in_sync: Vec<bool> = writer.lists().map(|list| writer.is_in_sync(list)).collect();
    assert_eq!(in_sync, [true, false], "nobody told the other BIRD");
}

#[test]
fn queued_verdicts_are_applied_at_a_stop() {
    let rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.say("s0", State::Down);
    rig.say("s1", State::Down);
    let rig = rig.stop();
    assert!(!rig.file().contains("10.0.0.") && rig.in_sync());
    assert!(rig.report.lock().due.is_none());
}

#[test]
fn a_stop_is_cut_short() {
    let rig =
        Rig::new(1, "", "custom_bird_reconfigure_cmd = DIR/birdc custom\ncustom_bird_reconfigure_cmd_timeout = 1000")
            .started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.bird_does("exec sleep 1102");
    rig.say("s0", State::Down);
    rig.wait("the run", |rig| rig.runs().len() == 2);
    rig.events.send(Event::Stop { leaving: false }).unwrap();
    rig.give_up.pull();
    let mut rig = rig;
    assert!(matches!(rig.end(), End::Stopped));
}

#[test]
fn a_dead_check_thread_ends_it_after_what_waits() {
    let mut rig = Rig::new(2, "", "").started();
    rig.say("s0", State::Down);
    rig.events.send(Event::Died { service: "s1".into(), why: "a bug".into() }).unwrap();
    assert!(matches!(rig.end(), End::Died { service, why } if &*service == "s1" && why == "a bug"));
    assert!(!rig.file().contains("10.0.0.0/32"));
}

/// A custom command that hangs puts the end off for a moment, and not for its own time-out; a stop that comes meanwhile
/// makes no clean end of it.
#[test]
fn a_dead_check_thread_stays_the_reason_of_the_end_and_custom_commands_do_not_put_it_off() {
    let mut rig =
        Rig::new(2, "", "custom_bird_reconfigure_cmd = DIR/birdc custom\ncustom_bird_reconfigure_cmd_timeout = 1000")
            .started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.bird_does("exec sleep 1106");
    rig.say("s0", State::Down);
    rig.wait("the run", |rig| rig.runs().len() == 2);
    rig.events.send(Event::Died { service: "s1".into(), why: "a bug".into() }).unwrap();
    rig.events.send(Event::Stop { leaving: false }).unwrap();
    let start = Instant::now();
    assert!(matches!(rig.end(), End::Died { service, .. } if &*service == "s1"));
    assert!(start.elapsed() < Duration::from_secs(500), "the command's own time-out");
}

#[test]
fn the_reason_of_a_custom_commands_failure_is_known() {
    let rig = Rig::new(2, "", "custom_bird_reconfigure_cmd = DIR/birdc custom").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.bird_does("echo no >&2; exit 3");
    rig.say("s1", State::Down);
    let why = "reconfiguring BIRD failed with return code: 3 and stderr: b'no\\n' (custom command of s1)";
    rig.wait("the reason", |rig| rig.problem().as_deref() == Some(why));
    assert!(!rig.in_sync());
    rig.bird_does("");
    rig.wait("in sync again", |rig| rig.in_sync() && rig.problem().is_none());
    rig.stop();
}

impl Rig {
    fn leave(&self) {
        self.checks.borrow().iter().for_each(|check| check.leave());
        // What a check says that was under way changes nothing.
        self.say("s0", State::Up);
        self.events.send(Event::Stop { leaving: true }).unwrap();
    }
}

#[test]
fn services_that_leave_are_withdrawn_by_one_reconfigure_before_the_end() {
    let mut rig = Rig::new(3, "", "on_exit = withdraw").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.leave();
    assert!(matches!(rig.end(), End::Stopped));
    assert!(!rig.file().contains("10.0.0.") && rig.in_sync());
    assert_eq!(rig.runs().len(), 2);
}

#[test]
fn a_leave_is_tried_until_bird_takes_it() {
    let mut rig = Rig::new(2, "", "on_exit = withdraw").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.bird_does("exit 1");
    rig.leave();
    rig.wait("two tries", |rig| rig.runs().len() > 3);
    rig.bird_does("echo Reconfigured");
    assert!(matches!(rig.end(), End::Stopped));
    assert!(!rig.file().contains("10.0.0.") && rig.in_sync());
}

#[test]
fn a_leave_that_bird_does_not_take_is_cut_short() {
    let mut rig = Rig::new(1, "", "on_exit = withdraw").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.bird_does("exec sleep 1103");
    rig.leave();
    rig.wait("the try", |rig| rig.runs().len() > 1);
    rig.give_up.pull();
    assert!(matches!(rig.end(), End::Stopped));
    assert!(!rig.file().contains("10.0.0.") && !rig.in_sync());
}

/// As at a host's shutdown. It may be back at the second try; any other answer is none of that.
#[test]
fn a_leave_waits_for_no_bird_that_is_gone() {
    for why in ["No such file or directory", "Connection refused"] {
        let mut rig = Rig::new(2, "", "on_exit = withdraw").started();
        rig.wait("in sync at start", Rig::in_sync);
        rig.bird_does(&format!("echo 'Unable to connect to server control socket (/a): {why}' >&2; exit 1"));
        rig.leave();
        assert!(matches!(rig.end(), End::Stopped));
        assert!(!rig.file().contains("10.0.0.") && !rig.in_sync());
        assert_eq!(rig.runs().len(), 3);
    }
}

/// It may run, with its socket elsewhere.
#[test]
fn a_leave_waits_for_a_bird_that_was_never_there() {
    for stale in [false, true] {
        let rig = Rig::new(2, "bird_control_socket = DIR/sock", "on_exit = withdraw");
        let _stale = stale.then(|| std::os::unix::net::UnixListener::bind(rig.path("sock")).map(drop));
        let mut rig = rig.started();
        rig.wait("the start", |rig| rig.report.lock().ready);
        rig.leave();
        let failed = |rig: &Rig| rig.report.lock().families.first().map_or(0, |family| family.counts.failed);
        let before = failed(&rig);
        rig.wait("more tries than it takes to be gone", |rig| failed(rig) > before + 3);
        rig.give_up.pull();
        assert!(matches!(rig.end(), End::Stopped));
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
    let custom = "on_exit = withdraw\ncustom_bird_reconfigure_cmd = DIR/birdc custom";
    let mut rig = Rig::new(1, "", custom).started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.leave();
    assert!(matches!(rig.end(), End::Stopped));
    assert_eq!(rig.runs(), ["1 configure", "2 custom down"]);
    assert!(rig.in_sync());
}

/// The line of `[daemon]` that a rig has at first.
const BIRDC: &str = "bird_reconfigure_cmd = DIR/birdc configure";

#[test]
fn a_reload_is_one_reconfigure_and_none_where_nothing_changes() {
    let rig = Rig::new(3, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.say("s0", State::Down);
    rig.wait("the withdrawal", |rig| rig.runs().len() == 2 && rig.in_sync());
    let before = rig.file();
    // `s0` keeps its state, and the others go on without one.
    let (s0, s1, s2) = (("s0", "10.0.0.0/32", ""), ("s1", "10.0.0.1/32", ""), ("s2", "10.0.0.2/32", ""));
    (0..20).for_each(|_| rig.reload(BIRDC, &[s2, s1, s0]));
    // `s1` goes, `s3` takes its prefix over, `s2` goes with its prefix, `s4` is new.
    let gone = rig.check("s2");
    rig.reload(BIRDC, &[s0, ("s3", "10.0.0.1/32", ""), ("s4", "10.0.0.4/32", "")]);
    // The file is there before the report says that BIRD has not taken it.
    let told = |rig: &Rig| rig.runs().len() > 2 && rig.in_sync();
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.2/32") && told(rig));
    assert_eq!(rig.runs().len(), 3);
    assert_eq!(rig.file().lines().filter(|line| line.contains("10.0.0.")).collect::<Vec<_>>(), ["        10.0.0.1/32"]);
    // What a check that is configured no longer says is nobody's.
    become_so(&gone, State::Up);
    rig.events.send(Event::Changed(gone)).unwrap();
    rig.say("s4", State::Up);
    rig.wait("the new one", |rig| rig.runs().len() == 4 && rig.in_sync());
    let rig = rig.stop();
    assert!(
        rig.file().contains("10.0.0.4/32") && !rig.file().contains("10.0.0.2/32") && before.contains("10.0.0.2/32")
    );
    assert_eq!(rig.runs().len(), 4);
    assert_eq!(rig.report.lock().families[0].counts.taken, 4, "what was counted stays");
}

/// Hints say nothing: each is dropped, sent or doubled at random, and the list is what the states say.
#[test]
fn hints_that_are_lost_or_doubled_change_nothing() {
    for seed in 1..=10_u64 {
        let mut rig = Rig::new(4, "", "");
        let (mut writer, _events) = rig.writer();
        writer.step();
        let mut random = seed;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for act in 0..60 {
            let check = rig.checks.borrow()[usize::try_from(below(4)).unwrap()].clone();
            let service = check.service.clone();
            let mut state = check.state_mut();
            let _ = match below(6) {
                0 => state.decide(OnDisabled::Advertise),
                1 => state.decide(OnDisabled::Withdraw),
                2 => state.declare_stuck(),
                3 => state.drain("file".into(), crate::drain::End::Never),
                4 => state.end_drain(&service),
                _ => state.addresses_gone(&service, service.prefixes.iter().copied().collect()).0,
            };
            drop(state);
            for _ in 0..below(3) {
                assert!(writer.apply(Event::Changed(check.clone())).is_none());
            }
            if below(3) > 0 {
                continue;
            }
            // As the look of every second, with no hint at all, and after all that is gathered.
            writer.write(Instant::now());
            writer.skip_backoff();
            writer.step();
            for check in rig.checks.borrow().iter() {
                let prefix = check.service.prefixes[0];
                let expected = match check.state().verdict().intent(&prefix) {
                    Intent::Advertise | Intent::Keep => true,
                    Intent::Withdraw => false,
                };
                let listed = rig.file().contains(&prefix.to_string());
                assert_eq!(listed, expected, "seed {seed}, act {act}: {prefix} is {:?}", check.state().verdict());
            }
        }
    }
}

#[test]
fn a_change_without_a_hint_is_found_by_a_look() {
    let rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    become_so(&rig.check("s1"), State::Down);
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.1/32") && rig.in_sync());
    rig.stop();
}

#[test]
fn another_reconfigure_command_is_tried_at_once() {
    let rig = Rig::new(1, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.bird_does("case $1 in configure) exit 1; esac; echo Reconfigured");
    rig.say("s0", State::Down);
    rig.wait("many failures, so that the next try is far away", |rig| rig.report.lock().families[0].counts.failed > 4);
    let failed = rig.report.lock().families[0].counts.failed;
    rig.reload("bird_reconfigure_cmd = DIR/birdc other", &[("s0", "10.0.0.0/32", "")]);
    rig.wait("taken", Rig::in_sync);
    let rig = rig.stop();
    let report = rig.report.lock().families[0].clone();
    assert!(report.counts.failed >= failed && report.counts.taken == 2 && report.problem.is_none(), "{report:?}");
}

#[test]
fn a_custom_command_comes_changes_and_goes_with_a_reload() {
    let rig = Rig::new(2, "", "").started();
    rig.wait("in sync at start", Rig::in_sync);
    let with = |custom| [("s0", "10.0.0.0/32", custom), ("s1", "10.0.0.1/32", "")];
    rig.reload(BIRDC, &with("custom_bird_reconfigure_cmd = DIR/birdc one"));
    rig.say("s0", State::Down);
    rig.wait("the first", |rig| rig.runs().len() == 2 && rig.in_sync());
    // One that fails is replaced by one that does not.
    rig.bird_does("case $1 in one) exit 1; esac");
    rig.say("s0", State::Up);
    rig.wait("a failure", |rig| rig.runs().len() == 3);
    rig.reload(BIRDC, &with("custom_bird_reconfigure_cmd = DIR/birdc two"));
    rig.wait("the second", Rig::in_sync);
    rig.bird_does("case $1 in two) exit 1; esac; echo Reconfigured");
    rig.say("s0", State::Down);
    rig.wait("a failure", |rig| rig.runs().iter().filter(|run| *run == "2 two down").count() == 1);
    // Without one, the family's command tells what is left to tell.
    rig.reload(BIRDC, &with(""));
    rig.wait("the family's", Rig::in_sync);
    let runs = rig.stop().runs();
    assert_eq!(runs[..2], ["1 configure", "2 one down"]);
    assert_eq!(runs.last().unwrap(), "1 configure", "{runs:?}");
}

#[test]
fn a_service_that_goes_is_told_by_its_custom_command() {
    let custom = "custom_bird_reconfigure_cmd = DIR/birdc custom";
    let rig = Rig::new(2, "", custom).started();
    rig.wait("in sync at start", Rig::in_sync);
    rig.reload(BIRDC, &[("s1", "10.0.0.1/32", custom)]);
    rig.wait("the withdrawal", |rig| !rig.file().contains("10.0.0.0/32") && rig.in_sync());
    // The family tells it as well, whichever comes first.
    let runs = rig.stop().runs();
    assert_eq!(runs.iter().filter(|run| *run == "2 custom down").count(), 1, "{runs:?}");
}

/// Whether the families' files list exactly these besides their dummies.
fn list(rig: &Rig, prefixes: &[Prefix]) -> bool {
    let lists = |family, name| {
        let found = crate::bird::prefix_file::parse(&fs::read(rig.path(name)).unwrap(), family).prefixes;
        let wanted: HashSet<Prefix> = prefixes.iter().copied().filter(|prefix| prefix.family() == family).collect();
        found.into_iter().skip(1).collect::<HashSet<_>>() == wanted
    };
    lists(Family::V4, "prefixes") && lists(Family::V6, "prefixes6")
}

/// For each verdict the prefixes that are missing, out of all, and the run that comes of it.
fn check_several(prefixes: &[&str], verdicts: &[(State, usize, &str)]) {
    let ipv6 = "ipv6 = true\nbird6_conf = DIR/prefixes6\nbird6_reconfigure_cmd = DIR/birdc configure";
    let rig = Rig::new(1, ipv6, "").started();
    rig.wait("in sync at start", Rig::in_sync);
    let custom = "custom_bird_reconfigure_cmd = DIR/birdc custom\ncheck_disabled = false";
    rig.reload(&format!("{BIRDC}\n{ipv6}"), &[("s0", &prefixes.join(","), custom)]);
    let all: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    for (state, missing, expected) in verdicts {
        let before = rig.runs().len();
        let (missing, assigned) = all.split_at(*missing);
        let check = rig.check("s0");
        become_so(&check, *state);
        let _ = check.state_mut().addresses_gone(&check.service, missing.iter().copied().collect());
        rig.events.send(Event::Changed(check)).unwrap();
        let listed = if *state == State::Up { assigned } else { &[] };
        let told = |rig: &Rig| rig.runs().last().is_some_and(|run| run == expected);
        rig.wait(expected, |rig| rig.runs().len() > before && list(rig, listed) && rig.in_sync() && told(rig));
    }
    // Each family gathers what follows its last write, so that one of them may be told a moment later.
    let families: HashSet<Family> = all.iter().map(Prefix::family).collect();
    let runs = rig.stop().runs();
    assert!(runs.len() <= 1 + families.len() * verdicts.len(), "{runs:?}");
    let (mut told, mut expected): (Vec<_>, Vec<_>) =
        (runs[1..].to_vec(), verdicts.iter().map(|(.., run)| run.to_string()).collect());
    told.dedup();
    expected.dedup();
    assert_eq!(told, expected);
}

#[test]
fn several_prefixes_of_a_service_are_one_run_of_its_command() {
    let verdicts = [
        (State::Up, 0, "2 custom up"),
        // One address is lost, and the service is still there.
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
fn a_prefix_of_several_services_is_in_while_all_are_up_and_told_once() {
    let custom = "custom_bird_reconfigure_cmd = DIR/birdc custom";
    let rig = Rig::new(1, "", custom).started();
    rig.wait("in sync at start", Rig::in_sync);
    let shared = format!("{BIRDC}\nshared_ip_prefixes = true");
    rig.reload(&shared, &[("s0", "10.0.0.0/32", custom), ("s1", "10.0.0.0/32", custom)]);
    for (service, state, listed) in [
        ("s0", State::Down, false),
        ("s1", State::Down, false),
        ("s0", State::Up, false),
        ("s1", State::Up, true),
        ("s1", State::Down, false),
        ("s1", State::Up, true),
    ] {
        let before = (rig.runs().len(), rig.file().contains("10.0.0.0/32"));
        rig.say(service, state);
        let moves = usize::from(before.1 != listed);
        rig.wait("the change", |rig| {
            rig.file().contains("10.0.0.0/32") == listed && rig.runs().len() == before.0 + moves && rig.in_sync()
        });
    }
    let runs = rig.stop().runs();
    assert_eq!(runs, ["1 configure", "2 custom down", "2 custom up", "2 custom down", "2 custom up"]);
}

/// All that can make a first verdict late: the start of the threads, the splay, the turn among all services, of whichever
/// family, and the runs of the slowest one of the family itself.
#[test]
fn a_list_made_from_nothing_waits_as_long_as_the_slowest_first_verdict_may_take() {
    let check = |daemon: &str, services: usize, service: &str, v4: Duration, v6: Duration| {
        let rig = Rig::new(services, daemon, service);
        let text = fs::read_to_string(rig.path("services.conf")).unwrap();
        let six = "[six]\ncheck_cmd = true\nip_prefix = fd00::1/128\ncheck_interval = 1\ncheck_timeout = 40\n";
        put(&rig.path("services.conf"), format!("{text}{six}check_disabled = false\n"), 0o644);
        let settings = rig.settings();
        let turn = schedule::turn(services + 1, processors());
        assert_eq!(
            first_verdict(&settings, Family::V4),
            (START_ALLOWANCE + turn + v4).min(MAX_HOLD),
            "{daemon}, {services} times {service}"
        );
        assert_eq!(
            first_verdict(&settings, Family::V6),
            (START_ALLOWANCE + turn + v6).min(MAX_HOLD),
            "{daemon}, {services} times {service}"
        );
    };
    let seconds = Duration::from_secs_f64;
    let six = seconds(42.0 + 41.2);
    check("ipv6 = true", 1, "check_disabled = false", seconds(13.2), six);
    check("ipv6 = true\nsplay_startup = 7", 2, "check_disabled = false", seconds(20.2), seconds(7.0) + six);
    check("ipv6 = true", 200, "check_disabled = false\ncheck_rise = 4", seconds(33.2), six);
    check("ipv6 = true", 3, "check_disabled = true", Duration::ZERO, six);
}
