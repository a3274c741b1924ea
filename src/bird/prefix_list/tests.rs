//! Real files, no thread, no BIRD: the test calls each step at a time of its own clock.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};

use super::pending::REPAIR_INTERVAL;
use super::*;
use crate::bird::prefix_file::PrefixFile;
use crate::check::health::State;
use crate::command::Command;
use crate::config::settings::TimedCommand;
use crate::sys::atomic_file::{self, Durability, MODE};
use crate::testing::sample;
use crate::testing::sample::{prefixes, MANY};

const DUMMY: &str = "10.189.200.255/32";
const A: &str = "10.0.0.1/32";
const B: &str = "10.0.0.2/32";
const C: &str = "10.0.0.3/32";
const UNMANAGED: &str = "10.9.9.9/32";
/// A file of which only [`A`] is legible.
const TRUNCATED: &str = "define ACAST_PS_ADVERTISE =\n    [\n        10.0.0.1/32,\n";
const MINUTE: Duration = Duration::from_secs(60);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A directory with a prefix file, two services `a` and `b` with the prefixes [`A`] and [`B`], and
/// a clock.
struct Fixture {
    dir: tempfile::TempDir,
    bird: Bird,
    services: Vec<Arc<Service>>,
    verdicts: Vec<Verdict>,
    now: Instant,
}

fn service(name: &str, prefixes: &[&str]) -> Service {
    let prefixes = prefixes.iter().copied().map(prefix).collect();
    Service { prefixes, ..sample::service(name, A) }
}

fn set_custom_command(service: &mut Service) {
    let command = Command::parse("/bin/true").unwrap();
    service.custom_reconfigure = Some(TimedCommand { command, timeout: MINUTE });
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let bird = Bird {
            conf: dir.path().join("prefixes.conf"),
            variable: "ACAST_PS_ADVERTISE".to_string(),
            reconfigure_cmd: Command::parse("/bin/true").unwrap(),
            reconfigure_cmd_is_set: false,
            control_socket: None,
            dummy: Some(prefix(DUMMY)),
            history: None,
        };
        let services = vec![Arc::new(service("a", &[A])), Arc::new(service("b", &[B]))];
        let verdicts = vec![Verdict::of(State::Unknown); 2];
        Fixture { dir, bird, services, verdicts, now: Instant::now() }
    }

    fn listing(prefixes: &[&str]) -> Fixture {
        let fixture = Fixture::new();
        fixture.put(&fixture.text(prefixes));
        fixture
    }

    fn text(&self, prefixes: &[&str]) -> String {
        let prefixes: Vec<Prefix> = prefixes.iter().copied().map(prefix).collect();
        prefix_file::render(&self.bird.variable, self.bird.dummy.as_ref(), &prefixes, "2026-01-01 00:00:00.000000", 1)
    }

    /// Writes the file as another program does.
    #[expect(clippy::disallowed_methods, reason = "written by another program")]
    fn put(&self, text: &str) {
        fs::write(&self.bird.conf, text).unwrap();
        fs::set_permissions(&self.bird.conf, PermissionsExt::from_mode(0o644)).unwrap();
    }

    /// Creates a history whose newest copy lists these prefixes.
    fn put_history(&self, prefixes: &[&str]) {
        fs::create_dir(self.dir.path().join("history")).unwrap();
        self.put(&self.text(prefixes));
        fs::hard_link(&self.bird.conf, self.dir.path().join("history/1763803000.123456784")).unwrap();
        fs::remove_file(&self.bird.conf).unwrap();
    }

    fn open(&self) -> PrefixList {
        PrefixList::open(Family::V4, &self.bird, &self.services, false, MINUTE)
    }

    fn change_services(&mut self, change: impl Fn(&mut Service)) {
        self.services.iter_mut().for_each(|service| change(Arc::make_mut(service)));
    }

    fn index(&self, name: &str) -> usize {
        self.services.iter().position(|service| service.name == name).unwrap()
    }

    fn verdict(&mut self, name: &str, state: State) {
        let index = self.index(name);
        self.verdicts[index] = Verdict::of(state);
    }

    /// Makes a step when it is due.
    fn step(&mut self, list: &mut PrefixList) -> Step {
        list.update(&self.verdicts, self.now);
        self.now = list.next_wakeup(self.now).expect("no step is pending").max(self.now);
        list.update(&self.verdicts, self.now);
        match list.is_due(self.now) {
            true => list.converge(&self.verdicts, self.now),
            false => Step::default(),
        }
    }

    fn next_wakeup(&self, list: &mut PrefixList) -> Option<Instant> {
        list.update(&self.verdicts, self.now);
        list.next_wakeup(self.now)
    }

    /// Reloads with these services, each with its prefixes. Services of the same name keep their
    /// verdict.
    fn reload(&mut self, list: &mut PrefixList, services: &[(&str, &[&str])]) {
        let new: Vec<Arc<Service>> = services.iter().map(|(name, of)| Arc::new(service(name, of))).collect();
        list.reload(&self.bird, &new, &self.verdicts);
        let old = std::mem::replace(&mut self.services, new);
        let verdicts = std::mem::take(&mut self.verdicts);
        let verdict_of = |service: &Arc<Service>| {
            let index = old.iter().position(|old| old.name == service.name);
            index.map_or_else(|| Verdict::of(State::Unknown), |index| verdicts[index].clone())
        };
        self.verdicts = self.services.iter().map(verdict_of).collect();
    }

    fn file(&self) -> PrefixFile {
        prefix_file::parse(&fs::read(&self.bird.conf).unwrap(), Family::V4)
    }

    /// Asserts that the file is sound, readable by BIRD, and lists these prefixes.
    fn expect_listed(&self, list: &PrefixList, prefixes: &[&str]) {
        let PrefixFile { variable, prefixes: listed, flaw, .. } = self.file();
        assert_eq!((flaw, variable.as_deref()), (None, Some("ACAST_PS_ADVERTISE")));
        assert_eq!(listed, prefixes.iter().copied().map(prefix).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&self.bird.conf).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(*list.levels().in_file, *listed);
        assert_eq!(**list.list(), *listed);
    }

    /// Asserts the same, and that the family owes BIRD a revision.
    fn expect(&self, list: &PrefixList, prefixes: &[&str]) {
        self.expect_listed(list, prefixes);
        assert!(list.is_owed() && !list.is_in_sync());
    }

    fn confirm(&self, list: &mut PrefixList) {
        list.confirm(&list.revision());
        assert!(!list.is_owed() && list.is_in_sync());
        assert_eq!(list.in_bird(), list.list());
    }
}

#[test]
fn a_restart_keeps_the_list_and_notifies_bird_once() {
    let mut fixture = Fixture::listing(&[DUMMY, B, A]);
    let mut list = fixture.open();
    let before = fs::read(&fixture.bird.conf).unwrap();
    fixture.step(&mut list);
    assert_eq!(fs::read(&fixture.bird.conf).unwrap(), before, "the file is as we would write it");
    fixture.expect(&list, &[DUMMY, B, A]);
    assert!(!list.is_held());
    fixture.confirm(&mut list);
    assert_eq!(fixture.next_wakeup(&mut list), None);
}

#[test]
fn verdicts_change_the_file() {
    let mut fixture = Fixture::listing(&[DUMMY, A]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    for (service, state, listed) in
        [("b", State::Up, &[DUMMY, A, B][..]), ("a", State::Down, &[DUMMY, B]), ("a", State::Up, &[DUMMY, B, A])]
    {
        fixture.verdict(service, state);
        fixture.step(&mut list);
        fixture.expect(&list, listed);
        fixture.confirm(&mut list);
    }
    fixture.verdict("a", State::Up);
    assert_eq!(fixture.next_wakeup(&mut list), None, "an equal verdict causes no step");
}

#[test]
fn a_prefix_whose_address_is_not_assigned_is_not_listed() {
    let mut fixture = Fixture::listing(&[DUMMY, A]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.verdicts[0] = Verdict::of(State::Up).with(BTreeSet::from([prefix(A)]), BTreeSet::new());
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY]);
}

#[test]
fn unmanaged_prefixes_stay_until_the_first_verdict_unless_they_are_purged() {
    let mut fixture = Fixture::listing(&[DUMMY, UNMANAGED, A]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, UNMANAGED, A]);
    fixture.verdict("a", State::Up);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A]);

    let mut fixture = Fixture::listing(&[DUMMY, UNMANAGED, A]);
    let mut list = PrefixList::open(Family::V4, &fixture.bird, &fixture.services, true, MINUTE);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A]);
}

#[test]
fn foreign_changes_are_repaired_at_most_once_a_second() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    let intact = fixture.text(&[DUMMY, A, B]);
    let tampering: [&dyn Fn(&Fixture); 8] = [
        &|fixture| fixture.put(""),
        &|fixture| fixture.put(&intact[..intact.len() - 20]),
        &|fixture| fixture.put("garbage \u{0} \u{e9}"),
        &|fixture| fixture.put(&fixture.text(&[DUMMY])),
        &|fixture| fixture.put(&fixture.text(&[DUMMY, A, B, UNMANAGED])),
        &|fixture| fixture.put(&intact.replace("ACAST_PS_ADVERTISE", "OTHER")),
        &|fixture| fs::remove_file(&fixture.bird.conf).unwrap(),
        &|fixture| fs::set_permissions(&fixture.bird.conf, PermissionsExt::from_mode(0o600)).unwrap(),
    ];
    // Unmanaged prefixes are removed after the first verdict.
    fixture.verdict("a", State::Up);
    fixture.step(&mut list);
    let mut repaired = None;
    for tamper in tampering {
        tamper(&fixture);
        list.recheck();
        fixture.step(&mut list);
        fixture.expect(&list, &[DUMMY, A, B]);
        assert!(repaired.is_none_or(|at| fixture.now >= at + REPAIR_INTERVAL));
        repaired = Some(fixture.now);
        fixture.confirm(&mut list);
    }
}

#[test]
fn bird_is_notified_of_a_foreign_change_even_if_the_list_is_equal() {
    let mut fixture = Fixture::listing(&[DUMMY, A]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    fs::remove_file(&fixture.bird.conf).unwrap();
    fixture.put(&fixture.text(&[DUMMY, A]));
    list.recheck();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A]);
}

#[test]
fn our_own_write_is_no_foreign_change() {
    let mut fixture = Fixture::listing(&[DUMMY, A]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.verdict("b", State::Up);
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    list.recheck();
    fixture.step(&mut list);
    assert!(!list.is_owed());
}

/// The directory is moved away, so that writing fails even for root.
#[test]
fn a_change_is_retried_until_the_file_can_be_written() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    let parent = fixture.dir.path().to_path_buf();
    let hidden = parent.with_extension("hidden");
    #[expect(clippy::disallowed_methods, reason = "a directory, not a file")]
    let mv = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    mv(&parent, &hidden);
    fixture.verdict("a", State::Down);
    let start = fixture.now;
    for _ in 0..4 {
        fixture.step(&mut list);
        assert!(!list.is_owed(), "BIRD is not notified of a missing file");
        let problem = list.problem().unwrap().to_string();
        assert!(problem.starts_with("failed to write Bird configuration: cannot create"), "{problem}");
    }
    assert!(fixture.now - start >= Duration::from_millis(700), "the delay grows");
    mv(&hidden, &parent);
    fixture.step(&mut list);
    assert_eq!(list.problem(), None);
    fixture.expect(&list, &[DUMMY, B]);
}

#[test]
fn bird_is_not_notified_of_a_foreign_change_that_cannot_be_repaired() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    // A directory in the place of the file can neither be read nor replaced.
    fs::remove_file(&fixture.bird.conf).unwrap();
    fs::create_dir(&fixture.bird.conf).unwrap();
    list.recheck();
    fixture.step(&mut list);
    assert!(!list.is_owed() && !list.is_in_sync());
    fs::remove_dir(&fixture.bird.conf).unwrap();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A, B]);
}

#[test]
fn a_lost_list_is_held_until_every_service_has_a_verdict_or_the_time_is_over() {
    for (text, base) in [(None, &[DUMMY][..]), (Some(""), &[DUMMY]), (Some(TRUNCATED), &[DUMMY, A])] {
        let mut fixture = Fixture::new();
        match text {
            Some(text) => fixture.put(text),
            None => fixture.put_history(&[DUMMY]),
        }
        let mut list = fixture.open();
        assert!(list.lost_query().is_some() && list.is_held());
        fixture.step(&mut list);
        fixture.expect(&list, base);
        assert!(list.is_held() && fixture.file().provisional);
        let names = |list: &PrefixList| -> Vec<String> {
            list.hold().unwrap().waiting_for.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&list), ["a", "b"]);
        fixture.verdict("a", State::Up);
        fixture.step(&mut list);
        assert!(list.is_held());
        assert_eq!(names(&list), ["b"]);
        fixture.verdict("b", State::Up);
        list.update(&fixture.verdicts, fixture.now);
        assert!(list.is_held(), "the last verdict is not in the file yet");
        fixture.step(&mut list);
        assert!(!list.is_held() && list.hold().is_none() && !fixture.file().provisional);
        fixture.expect(&list, &[DUMMY, A, B]);

        let sound = fixture.open();
        assert!(!sound.is_held() && sound.lost_query().is_none());
        fs::remove_file(&fixture.bird.conf).unwrap();
        fixture.verdicts.fill(Verdict::of(State::Unknown));
        let mut expired = fixture.open();
        assert!(expired.is_held(), "the marker beside the file shows that there was a list");
        fixture.step(&mut expired);
        assert!(expired.is_held());
        fixture.now = expired.hold().unwrap().until;
        fixture.step(&mut expired);
        assert!(!expired.is_held() && !fixture.file().provisional, "the time is over");
    }
}

#[test]
fn a_first_list_is_not_held() {
    let mut fixture = Fixture::new();
    let mut list = fixture.open();
    assert!(!list.is_held() && list.lost_query().is_none());
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY]);
    assert!(!list.is_held() && !fixture.file().provisional);
    fixture.confirm(&mut list);
    assert_eq!(fixture.next_wakeup(&mut list), None);
}

#[test]
fn the_list_that_bird_holds_replaces_a_lost_list() {
    let mut fixture = Fixture::new();
    fixture.put("");
    let mut list = fixture.open();
    list.recover(Some(vec![prefix(B)]));
    assert!(list.lost_query().is_none());
    fixture.step(&mut list);
    fixture.expect_listed(&list, &[DUMMY, B]);
    assert!(!list.is_held() && !fixture.file().provisional);

    fixture.put("");
    let mut list = fixture.open();
    list.recover(None);
    assert!(list.lost_query().is_none() && list.is_held(), "BIRD cannot be queried");
}

/// However the daemon ends while the list is held, the next start does not mistake that list for
/// what was advertised.
#[test]
fn a_held_list_is_held_again_after_a_restart() {
    let mut fixture = Fixture::new();
    fixture.put("garbled");
    for verdicts in [vec![], vec![], vec!["a"], vec![]] {
        let mut list = fixture.open();
        fixture.verdicts.fill(Verdict::of(State::Unknown));
        fixture.step(&mut list);
        for service in verdicts {
            fixture.verdict(service, State::Up);
            fixture.step(&mut list);
        }
        assert!(list.is_held() && fixture.file().provisional);
    }
    assert_eq!(fixture.file().prefixes, [DUMMY, A].map(prefix));
    // The file is damaged once more before the next start.
    let intact = fs::read_to_string(&fixture.bird.conf).unwrap();
    fixture.put(&intact[..intact.len() - 4]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A]);
    assert!(list.is_held());
    // The time is over: the mark is removed first.
    fixture.now += MINUTE * 2;
    list.update(&fixture.verdicts, fixture.now);
    assert!(list.is_held());
    fixture.step(&mut list);
    assert!(!list.is_held() && !fixture.file().provisional);
    fixture.expect(&list, &[DUMMY, A]);
    fixture.confirm(&mut list);
    assert_eq!(fixture.next_wakeup(&mut list), None);
    assert!(!fixture.open().is_held());
}

#[test]
fn the_write_after_the_last_verdict_removes_the_mark() {
    let mut fixture = Fixture::new();
    fixture.put("");
    let mut list = fixture.open();
    for (service, held) in [("a", true), ("b", false)] {
        fixture.verdict(service, State::Up);
        fixture.step(&mut list);
        assert_eq!(fixture.file().provisional, held);
    }
    assert!(!list.is_held());
    assert_eq!(fixture.next_wakeup(&mut list), None, "no further write is pending");
}

#[test]
fn a_mark_that_cannot_be_removed_does_not_block_bird() {
    let mut fixture = Fixture::new();
    fixture.put("");
    let mut list = fixture.open();
    fixture.step(&mut list);
    list.file.set_problem("the disk is full");
    list.update(&fixture.verdicts, fixture.now + MINUTE * 2);
    assert!(!list.is_held() && list.is_owed() && fixture.file().provisional);
}

#[test]
fn a_prefix_that_an_operator_withdraws_leaves_a_held_list_at_once() {
    let mut fixture = Fixture::new();
    fixture.put(TRUNCATED);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A]);
    fixture.verdicts[0] = Verdict::of(State::Down);
    (fixture.verdicts[0].withheld, fixture.verdicts[0].ends_hold) = (true, true);
    fixture.step(&mut list);
    assert!(!list.is_held());
    fixture.expect(&list, &[DUMMY]);
}

/// As during a shortage of file descriptors: an older list must not replace a sound one.
#[test]
fn a_file_that_becomes_readable_before_the_first_step_is_used() {
    let check = |prepare: &dyn Fn(&Fixture), held: bool, listed: &[&str]| {
        let mut fixture = Fixture::new();
        fixture.put_history(&[DUMMY, A]);
        // A directory in its place cannot be read.
        fs::create_dir(&fixture.bird.conf).unwrap();
        let mut list = fixture.open();
        assert!(list.is_held());
        fs::remove_dir(&fixture.bird.conf).unwrap();
        prepare(&fixture);
        fixture.step(&mut list);
        fixture.expect(&list, listed);
        assert_eq!(list.is_held(), held);
    };
    check(&|fixture| fixture.put(&fixture.text(&[DUMMY, A, B])), false, &[DUMMY, A, B]);
    check(&|fixture| fixture.put(&fixture.text(&[DUMMY, B])), false, &[DUMMY, B]);
    check(&|fixture| fixture.put("broken still"), true, &[DUMMY, A]);
    let marked = |fixture: &Fixture| {
        let mut text = fixture.text(&[DUMMY]);
        prefix_file::mark_provisional(&mut text);
        fixture.put(&text);
    };
    check(&marked, true, &[DUMMY]);
}

#[test]
fn the_legible_part_of_a_broken_file_is_kept() {
    let mut fixture = Fixture::new();
    let intact = fixture.text(&[DUMMY, A, UNMANAGED, B]);
    fixture.put(&intact[..intact.len() - 12]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A]);
    assert!(list.is_held(), "there may have been more");
}

#[test]
fn the_file_behind_a_link_is_replaced() {
    let mut fixture = Fixture::listing(&[DUMMY, A]);
    let link = fixture.dir.path().join("link.conf");
    symlink("prefixes.conf", &link).unwrap();
    let bird = Bird { conf: link.clone(), ..fixture.bird.clone() };
    let mut list = PrefixList::open(Family::V4, &bird, &fixture.services, false, MINUTE);
    fixture.verdict("a", State::Down);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    fixture.confirm(&mut list);
    // The link points to another file, which is repaired too.
    fixture.bird.conf = fixture.dir.path().join("other.conf");
    fixture.put(&fixture.text(&[DUMMY, UNMANAGED]));
    fs::remove_file(&link).unwrap();
    symlink("other.conf", &link).unwrap();
    list.recheck();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY]);
    assert_eq!(list.path(), fixture.bird.conf);
}

#[test]
fn custom_commands_need_no_command_of_the_family() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    fixture.change_services(set_custom_command);
    let mut list = fixture.open();
    assert!(list.is_custom_only());
    fixture.step(&mut list);
    assert!(!list.is_owed());
    fixture.verdict("a", State::Down);
    assert!(!fixture.step(&mut list).rerun_commands);
    assert!(!list.is_owed(), "the custom command notifies BIRD");
    assert!(list.in_bird().is_empty());
    fixture.put("");
    list.recheck();
    assert!(fixture.step(&mut list).rerun_commands, "each custom command must run");
    assert!(!list.is_owed());
    list.confirm_by_custom(&list.revision());
    assert_eq!(list.in_bird(), list.list());

    // A command of the family runs at the start, and for changes that belong to no service.
    fixture.bird.reconfigure_cmd_is_set = true;
    let mut list = fixture.open();
    assert!(!list.is_custom_only());
    fixture.step(&mut list);
    assert!(list.is_owed());
    fixture.confirm(&mut list);
    fixture.verdict("a", State::Up);
    fixture.step(&mut list);
    fixture.expect_listed(&list, &[DUMMY, B, A]);
    assert!(!list.is_owed());
    fixture.put("");
    list.recheck();
    assert!(!fixture.step(&mut list).rerun_commands);
    assert!(list.is_owed());
}

/// BIRD may have read the file before the repair, so a failed step must not forget the change.
#[test]
fn bird_is_notified_of_a_foreign_change_that_is_repaired_late() {
    for family_command in [false, true] {
        let mut fixture = Fixture::listing(&[DUMMY, A, B]);
        fixture.change_services(set_custom_command);
        fixture.bird.reconfigure_cmd_is_set = family_command;
        let mut list = fixture.open();
        fixture.step(&mut list);
        list.confirm(&list.revision());
        fs::remove_file(&fixture.bird.conf).unwrap();
        fs::create_dir(&fixture.bird.conf).unwrap();
        list.recheck();
        assert!(!fixture.step(&mut list).rerun_commands);
        fs::remove_dir(&fixture.bird.conf).unwrap();
        // Without a change of a service, the family's command would run anyway.
        fixture.verdict("a", State::Down);
        let rerun_commands = fixture.step(&mut list).rerun_commands;
        fixture.expect_listed(&list, &[DUMMY, B]);
        assert_eq!((rerun_commands, list.is_owed()), (!family_command, family_command));
    }
}

/// The list after a start with the services `a`, which has `on_boot = withdraw`, and `b`.
fn first_list(fixture: &Fixture) -> Vec<Prefix> {
    let mut services = fixture.services.clone();
    Arc::make_mut(&mut services[0]).withdraw_on_boot = true;
    let mut list = PrefixList::open(Family::V4, &fixture.bird, &services, false, MINUTE);
    list.converge(&fixture.verdicts, fixture.now);
    assert!(list.is_owed(), "BIRD is notified of the change");
    fixture.file().prefixes
}

#[test]
fn on_boot_withdraw_removes_a_prefix_only_at_the_first_start_after_a_boot() {
    let kept = [DUMMY, A, B].map(prefix);
    let without = [DUMMY, B].map(prefix);
    let fixture = Fixture::listing(&[DUMMY, A, B]);
    assert_eq!(first_list(&fixture), without);
    // The service is up again, and the daemon is restarted.
    fixture.put(&fixture.text(&[DUMMY, A, B]));
    assert_eq!(first_list(&fixture), kept);
    // The machine is rebooted.
    let boot = fixture.dir.path().join(".prefixes.conf.boot");
    let id = fs::read(&boot).unwrap();
    atomic_file::replace(&boot, b"another\n", Durability::Unsynced).unwrap();
    assert_eq!(first_list(&fixture), without);
    assert_eq!(fs::read(&boot).unwrap(), id);
}

#[test]
fn the_boot_is_recorded_after_the_list_and_only_for_on_boot_withdraw() {
    for wanted in [true, false] {
        let mut fixture = Fixture::listing(&[DUMMY, A, B]);
        let service = |service: &Arc<Service>| Service { withdraw_on_boot: wanted, ..(**service).clone() };
        fixture.services = fixture.services.iter().map(|old| Arc::new(service(old))).collect();
        let boot = fixture.dir.path().join(".prefixes.conf.boot");
        let mut list = fixture.open();
        assert!(!boot.exists(), "the list still contains prefixes from before the boot");
        list.converge(&fixture.verdicts, fixture.now);
        assert_eq!(boot.exists(), wanted);
    }
}

#[test]
fn a_reload_without_a_change_writes_nothing() {
    let mut fixture = Fixture::listing(&[DUMMY, B, A]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    let before = fs::metadata(&fixture.bird.conf).unwrap().modified().unwrap();
    fixture.reload(&mut list, &[("b", &[B]), ("a", &[A])]);
    fixture.step(&mut list);
    assert!(!list.is_owed() && list.is_in_sync());
    assert_eq!(fs::metadata(&fixture.bird.conf).unwrap().modified().unwrap(), before);
    assert_eq!(fixture.next_wakeup(&mut list), None);
}

/// Unmanaged prefixes stay until the first verdict, but a removed service's prefix does not.
#[test]
fn only_the_prefixes_of_a_removed_service_are_withdrawn() {
    let mut fixture = Fixture::listing(&[DUMMY, UNMANAGED, A, B]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    fixture.reload(&mut list, &[("b", &[B]), ("c", &[C])]);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, UNMANAGED, B]);
    fixture.confirm(&mut list);
    fixture.verdict("c", State::Up);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, B, C]);
    fixture.reload(&mut list, &[]);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY]);
}

#[test]
fn a_prefix_that_changes_its_service_stays_as_it_is_until_the_new_services_verdict() {
    for state in [State::Up, State::Down] {
        let mut fixture = Fixture::listing(&[DUMMY, A, B]);
        let mut list = fixture.open();
        fixture.verdict("a", State::Down);
        fixture.verdict("b", State::Up);
        fixture.step(&mut list);
        fixture.confirm(&mut list);
        // `c` takes over both prefixes, of which only [`B`] is listed.
        fixture.reload(&mut list, &[("c", &[A, B])]);
        fixture.step(&mut list);
        assert!(!list.is_owed());
        fixture.expect_listed(&list, &[DUMMY, B]);
        fixture.verdict("c", state);
        fixture.step(&mut list);
        fixture.expect(&list, if state == State::Up { &[DUMMY, B, A] } else { &[DUMMY] });
    }
}

/// The verdict arrived just before the reload, without a step in between.
#[test]
fn a_prefix_keeps_the_last_verdict_of_its_former_service() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    fixture.verdict("a", State::Down);
    fixture.reload(&mut list, &[("c", &[A]), ("b", &[B])]);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, B]);
}

#[test]
fn a_prefix_without_a_decision_stays_as_it_is() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    let mut list = fixture.open();
    fixture.verdict("a", State::Up);
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    // `a` is up and gains two prefixes, of which only [`B`] is listed.
    fixture.reload(&mut list, &[("a", &[A, B, C])]);
    let unconfirmed = BTreeSet::from([prefix(B), prefix(C)]);
    fixture.verdicts[0] = Verdict::of(State::Up).with(BTreeSet::new(), unconfirmed.clone());
    fixture.step(&mut list);
    fixture.expect_listed(&list, &[DUMMY, A, B]);
    fixture.verdicts[0] = Verdict::of(State::Up);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A, B, C]);
    // A service that is down is withdrawn with all its prefixes.
    fixture.verdicts[0] = Verdict::of(State::Down).with(BTreeSet::new(), unconfirmed);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY]);
}

#[test]
fn a_prefix_that_could_not_be_withdrawn_at_a_reload_can_return_at_the_next_one() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    // A directory in the place of the file can neither be read nor replaced.
    let before = fs::read(&fixture.bird.conf).unwrap();
    fs::remove_file(&fixture.bird.conf).unwrap();
    fs::create_dir(&fixture.bird.conf).unwrap();
    fixture.reload(&mut list, &[("b", &[B])]);
    fixture.step(&mut list);
    fixture.reload(&mut list, &[("b", &[B]), ("a", &[A])]);
    fixture.verdict("a", State::Up);
    fs::remove_dir(&fixture.bird.conf).unwrap();
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, A, B]);
    assert_ne!(fs::read(&fixture.bird.conf).unwrap(), before, "the file is rewritten");
}

#[test]
fn a_new_variable_and_a_new_dummy_are_one_write() {
    let mut fixture = Fixture::listing(&[DUMMY, A]);
    let mut list = fixture.open();
    fixture.step(&mut list);
    fixture.confirm(&mut list);
    let other = "10.189.200.254/32";
    fixture.bird = Bird { variable: "OTHER".to_string(), dummy: Some(prefix(other)), ..fixture.bird.clone() };
    fixture.verdict("a", State::Up);
    fixture.reload(&mut list, &[("a", &[A])]);
    fixture.step(&mut list);
    let PrefixFile { variable, prefixes, flaw, .. } = fixture.file();
    assert_eq!((variable.as_deref(), flaw), (Some("OTHER"), None));
    assert_eq!(prefixes, [other, A].map(prefix));
    assert!(list.is_owed());
    fixture.confirm(&mut list);
    assert_eq!(fixture.next_wakeup(&mut list), None);
}

/// Its custom command is removed with it.
#[test]
fn the_familys_command_notifies_bird_of_a_removed_service() {
    let mut fixture = Fixture::listing(&[DUMMY, A, B]);
    fixture.change_services(set_custom_command);
    let mut list = fixture.open();
    fixture.step(&mut list);
    assert!(!list.is_owed());
    fixture.services.remove(0);
    list.reload(&fixture.bird, &fixture.services, &fixture.verdicts);
    fixture.verdicts.remove(0);
    fixture.step(&mut list);
    fixture.expect(&list, &[DUMMY, B]);
    fixture.confirm(&mut list);
}

#[test]
fn a_prefix_of_several_services_is_listed_while_none_is_down() {
    let mut fixture = Fixture::listing(&[DUMMY, A]);
    let mut list = fixture.open();
    fixture.reload(&mut list, &[("a", &[A]), ("b", &[A, B])]);
    for (service, state, listed) in [
        ("a", State::Up, &[DUMMY, A][..]),
        ("b", State::Up, &[DUMMY, A, B]),
        ("b", State::Down, &[DUMMY]),
        ("a", State::Down, &[DUMMY]),
        ("b", State::Up, &[DUMMY, B]),
        ("a", State::Up, &[DUMMY, B, A]),
    ] {
        fixture.verdict(service, state);
        fixture.step(&mut list);
        fixture.expect_listed(&list, listed);
    }
}

/// Thousands of prefixes of one service are not assigned, or wait for a verdict.
#[test]
fn a_service_may_have_very_many_prefixes() {
    let n = MANY;
    let mut fixture = Fixture::new();
    let all = prefixes(n);
    fixture.services = vec![Arc::new(Service { prefixes: all.clone(), ..service("a", &[]) })];
    fixture.verdicts.truncate(1);
    let mut list = fixture.open();
    let (missing, unconfirmed): (BTreeSet<_>, BTreeSet<_>) =
        all.iter().partition(|prefix| matches!(prefix.address(), std::net::IpAddr::V4(ip) if ip.octets()[3] % 2 == 0));
    for state in [State::Up, State::Down, State::Up] {
        fixture.verdicts[0] = Verdict::of(state).with(missing.clone(), unconfirmed.clone());
        list.recheck();
        fixture.step(&mut list);
        fixture.verdict("a", state);
        list.recheck();
        fixture.step(&mut list);
        assert!(!list.query().chunks().is_empty());
        fixture.confirm(&mut list);
    }
    list.reload(&fixture.bird, &fixture.services, &fixture.verdicts);
    fixture.step(&mut list);
    assert_eq!(list.levels().in_file.len(), n + 1);
}
