//! Real files, no thread, no BIRD: each step is called by hand at a time that the test makes up.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};

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
const STRANGER: &str = "10.9.9.9/32";
/// What is legible is [`A`].
const TORN: &str = "define ACAST_PS_ADVERTISE =\n    [\n        10.0.0.1/32,\n";
const MINUTE: Duration = Duration::from_secs(60);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A directory with a prefix file, two services `a` and `b` with the prefixes [`A`] and [`B`], and a clock.
struct Desk {
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

fn by_custom(service: &mut Service) {
    let command = Command::parse("/bin/true").unwrap();
    service.custom_reconfigure = Some(TimedCommand { command, timeout: MINUTE });
}

impl Desk {
    fn new() -> Desk {
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
        Desk { dir, bird, services, verdicts, now: Instant::now() }
    }

    fn listing(prefixes: &[&str]) -> Desk {
        let desk = Desk::new();
        desk.put(&desk.text(prefixes));
        desk
    }

    fn text(&self, prefixes: &[&str]) -> String {
        let prefixes: Vec<Prefix> = prefixes.iter().copied().map(prefix).collect();
        prefix_file::render(&self.bird.variable, self.bird.dummy.as_ref(), &prefixes, "2026-01-01 00:00:00.000000", 1)
    }

    /// Writes without the room that is tested.
    #[expect(clippy::disallowed_methods, reason = "this is somebody else")]
    fn put(&self, text: &str) {
        fs::write(&self.bird.conf, text).unwrap();
        fs::set_permissions(&self.bird.conf, PermissionsExt::from_mode(0o644)).unwrap();
    }

    /// Puts down a history whose newest copy lists these.
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

    fn place(&self, name: &str) -> usize {
        self.services.iter().position(|service| service.name == name).unwrap()
    }

    fn verdict(&mut self, name: &str, state: State) {
        let place = self.place(name);
        self.verdicts[place] = Verdict::of(state);
    }

    /// Takes a step at the time when the list asks for it.
    fn step(&mut self, list: &mut PrefixList) -> Step {
        list.update(&self.verdicts, self.now);
        self.now = list.next_wakeup(self.now).expect("nothing to do").max(self.now);
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

    /// These are the services from now on, each with its prefixes. Verdicts stay with the names.
    fn reload(&mut self, list: &mut PrefixList, services: &[(&str, &[&str])]) {
        let new: Vec<Arc<Service>> = services.iter().map(|(name, of)| Arc::new(service(name, of))).collect();
        list.reload(&self.bird, &new, &self.verdicts);
        let old = std::mem::replace(&mut self.services, new);
        let verdicts = std::mem::take(&mut self.verdicts);
        let verdict_of = |service: &Arc<Service>| {
            let place = old.iter().position(|old| old.name == service.name);
            place.map_or_else(|| Verdict::of(State::Unknown), |place| verdicts[place].clone())
        };
        self.verdicts = self.services.iter().map(verdict_of).collect();
    }

    fn file(&self) -> PrefixFile {
        prefix_file::parse(&fs::read(&self.bird.conf).unwrap(), Family::V4)
    }

    /// The file is sound, readable by BIRD, and lists this.
    fn expect_listed(&self, list: &PrefixList, prefixes: &[&str]) {
        let PrefixFile { variable, prefixes: found, flaw, .. } = self.file();
        assert_eq!((flaw, variable.as_deref()), (None, Some("ACAST_PS_ADVERTISE")));
        assert_eq!(found, prefixes.iter().copied().map(prefix).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&self.bird.conf).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(*list.in_file(), *found);
        assert_eq!(**list.list(), *found);
    }

    /// And BIRD is to be told.
    fn expect(&self, list: &PrefixList, prefixes: &[&str]) {
        self.expect_listed(list, prefixes);
        assert!(list.is_owed() && !list.is_in_sync());
    }

    fn told(&self, list: &mut PrefixList) {
        list.confirm(&list.revision());
        assert!(!list.is_owed() && list.is_in_sync());
        assert_eq!(list.in_bird(), *list.list());
    }
}

#[test]
fn a_restart_keeps_what_was_listed_and_tells_bird_once() {
    let mut desk = Desk::listing(&[DUMMY, B, A]);
    let mut list = desk.open();
    let before = fs::read(&desk.bird.conf).unwrap();
    desk.step(&mut list);
    assert_eq!(fs::read(&desk.bird.conf).unwrap(), before, "the file is as we would write it");
    desk.expect(&list, &[DUMMY, B, A]);
    assert!(!list.is_held());
    desk.told(&mut list);
    assert_eq!(desk.next_wakeup(&mut list), None);
}

#[test]
fn verdicts_go_into_the_file() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    for (service, state, listed) in
        [("b", State::Up, &[DUMMY, A, B][..]), ("a", State::Down, &[DUMMY, B]), ("a", State::Up, &[DUMMY, B, A])]
    {
        desk.verdict(service, state);
        desk.step(&mut list);
        desk.expect(&list, listed);
        desk.told(&mut list);
    }
    desk.verdict("a", State::Up);
    assert_eq!(desk.next_wakeup(&mut list), None, "a verdict that changes nothing");
}

#[test]
fn an_address_that_is_not_assigned_is_out_whatever_the_state() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.verdicts[0] = Verdict::of(State::Up).with(BTreeSet::from([prefix(A)]), BTreeSet::new());
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY]);
}

#[test]
fn strangers_stay_until_the_first_verdict_or_go_at_once_with_purge() {
    let mut desk = Desk::listing(&[DUMMY, STRANGER, A]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, STRANGER, A]);
    desk.verdict("a", State::Up);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A]);

    let mut desk = Desk::listing(&[DUMMY, STRANGER, A]);
    let mut list = PrefixList::open(Family::V4, &desk.bird, &desk.services, true, MINUTE);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A]);
}

#[test]
fn what_others_do_to_the_file_is_undone_once_a_second() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    let whole = desk.text(&[DUMMY, A, B]);
    let tampering: [&dyn Fn(&Desk); 8] = [
        &|desk| desk.put(""),
        &|desk| desk.put(&whole[..whole.len() - 20]),
        &|desk| desk.put("garbage \u{0} \u{e9}"),
        &|desk| desk.put(&desk.text(&[DUMMY])),
        &|desk| desk.put(&desk.text(&[DUMMY, A, B, STRANGER])),
        &|desk| desk.put(&whole.replace("ACAST_PS_ADVERTISE", "OTHER")),
        &|desk| fs::remove_file(&desk.bird.conf).unwrap(),
        &|desk| fs::set_permissions(&desk.bird.conf, PermissionsExt::from_mode(0o600)).unwrap(),
    ];
    // UnmanagedPrefixes may go: the family had its first verdict.
    desk.verdict("a", State::Up);
    desk.step(&mut list);
    let mut repaired = None;
    for tamper in tampering {
        tamper(&desk);
        list.recheck();
        desk.step(&mut list);
        desk.expect(&list, &[DUMMY, A, B]);
        assert!(repaired.is_none_or(|at| desk.now >= at + REPAIR_INTERVAL));
        repaired = Some(desk.now);
        desk.told(&mut list);
    }
}

#[test]
fn a_foreign_change_that_ends_up_equal_is_told_too() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    fs::remove_file(&desk.bird.conf).unwrap();
    desk.put(&desk.text(&[DUMMY, A]));
    list.recheck();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A]);
}

#[test]
fn our_own_write_is_no_foreign_change() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.verdict("b", State::Up);
    desk.step(&mut list);
    desk.told(&mut list);
    list.recheck();
    desk.step(&mut list);
    assert!(!list.is_owed());
}

/// The directory is moved away: writing fails as on a full or read-only disk, also for root.
#[test]
fn a_change_waits_until_the_file_can_be_written() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    let parent = desk.dir.path().to_path_buf();
    let hidden = parent.with_extension("hidden");
    #[expect(clippy::disallowed_methods, reason = "a directory, not a file")]
    let mv = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    mv(&parent, &hidden);
    desk.verdict("a", State::Down);
    let start = desk.now;
    for _ in 0..4 {
        desk.step(&mut list);
        assert!(!list.is_owed(), "BIRD is not told of a file that is not there");
        let problem = list.problem().unwrap().to_string();
        assert!(problem.starts_with("failed to write Bird configuration: cannot create"), "{problem}");
    }
    assert!(desk.now - start >= Duration::from_millis(700), "tried ever more slowly");
    mv(&hidden, &parent);
    desk.step(&mut list);
    assert_eq!(list.problem(), None);
    desk.expect(&list, &[DUMMY, B]);
}

#[test]
fn bird_is_not_told_of_a_tampered_file_that_cannot_be_put_right() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    // A directory in the place of the file can neither be read nor replaced.
    fs::remove_file(&desk.bird.conf).unwrap();
    fs::create_dir(&desk.bird.conf).unwrap();
    list.recheck();
    desk.step(&mut list);
    assert!(!list.is_owed() && !list.is_in_sync());
    fs::remove_dir(&desk.bird.conf).unwrap();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A, B]);
}

#[test]
fn a_lost_list_is_held_until_every_service_had_its_verdict_or_its_time() {
    for (text, base) in [(None, &[DUMMY][..]), (Some(""), &[DUMMY]), (Some(TORN), &[DUMMY, A])] {
        let mut desk = Desk::new();
        match text {
            Some(text) => desk.put(text),
            None => desk.put_history(&[DUMMY]),
        }
        let mut list = desk.open();
        assert!(list.lost().is_some() && list.is_held());
        desk.step(&mut list);
        desk.expect(&list, base);
        assert!(list.is_held() && desk.file().provisional);
        let names = |list: &PrefixList| -> Vec<String> {
            list.hold().unwrap().waiting_for.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&list), ["a", "b"]);
        desk.verdict("a", State::Up);
        desk.step(&mut list);
        assert!(list.is_held());
        assert_eq!(names(&list), ["b"]);
        desk.verdict("b", State::Up);
        list.update(&desk.verdicts, desk.now);
        assert!(list.is_held(), "the last verdict is not in the file yet");
        desk.step(&mut list);
        assert!(!list.is_held() && list.hold().is_none() && !desk.file().provisional);
        desk.expect(&list, &[DUMMY, A, B]);

        let sound = desk.open();
        assert!(!sound.is_held() && sound.lost().is_none());
        fs::remove_file(&desk.bird.conf).unwrap();
        desk.verdicts.fill(Verdict::of(State::Unknown));
        let mut late = desk.open();
        assert!(late.is_held(), "the mark beside the file says that there was one");
        desk.step(&mut late);
        assert!(late.is_held());
        desk.now = late.hold().unwrap().until;
        desk.step(&mut late);
        assert!(!late.is_held() && !desk.file().provisional, "the time is over");
    }
}

#[test]
fn where_no_list_was_ever_written_nothing_is_held() {
    let mut desk = Desk::new();
    let mut list = desk.open();
    assert!(!list.is_held() && list.lost().is_none());
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY]);
    assert!(!list.is_held() && !desk.file().provisional);
    desk.told(&mut list);
    assert_eq!(desk.next_wakeup(&mut list), None);
}

#[test]
fn what_bird_says_it_holds_takes_the_place_of_a_lost_list() {
    let mut desk = Desk::new();
    desk.put("");
    let mut list = desk.open();
    list.recover(Some(vec![prefix(B)]));
    assert!(list.lost().is_none());
    desk.step(&mut list);
    desk.expect_listed(&list, &[DUMMY, B]);
    assert!(!list.is_held() && !desk.file().provisional);

    desk.put("");
    let mut list = desk.open();
    list.recover(None);
    assert!(list.lost().is_none() && list.is_held(), "it cannot be asked");
}

/// Whatever ends the daemon while the list is held, the next start does not take that list for what was advertised.
#[test]
fn a_held_list_is_held_again_by_the_next_start_until_it_is_told() {
    let mut desk = Desk::new();
    desk.put("garbled");
    for verdicts in [vec![], vec![], vec!["a"], vec![]] {
        let mut list = desk.open();
        desk.verdicts.fill(Verdict::of(State::Unknown));
        desk.step(&mut list);
        for service in verdicts {
            desk.verdict(service, State::Up);
            desk.step(&mut list);
        }
        assert!(list.is_held() && desk.file().provisional);
    }
    assert_eq!(desk.file().prefixes, [DUMMY, A].map(prefix));
    // Broken once more, on the way to the next start.
    let whole = fs::read_to_string(&desk.bird.conf).unwrap();
    desk.put(&whole[..whole.len() - 4]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A]);
    assert!(list.is_held());
    // The time is over: the mark goes first.
    desk.now += MINUTE * 2;
    list.update(&desk.verdicts, desk.now);
    assert!(list.is_held());
    desk.step(&mut list);
    assert!(!list.is_held() && !desk.file().provisional);
    desk.expect(&list, &[DUMMY, A]);
    desk.told(&mut list);
    assert_eq!(desk.next_wakeup(&mut list), None);
    assert!(!desk.open().is_held());
}

#[test]
fn with_the_last_verdict_the_mark_goes_in_the_same_write() {
    let mut desk = Desk::new();
    desk.put("");
    let mut list = desk.open();
    for (service, held) in [("a", true), ("b", false)] {
        desk.verdict(service, State::Up);
        desk.step(&mut list);
        assert_eq!(desk.file().provisional, held);
    }
    assert!(!list.is_held());
    assert_eq!(desk.next_wakeup(&mut list), None, "there is nothing more to write");
}

#[test]
fn a_mark_that_cannot_be_taken_off_does_not_keep_bird_from_the_list() {
    let mut desk = Desk::new();
    desk.put("");
    let mut list = desk.open();
    desk.step(&mut list);
    list.file.set_problem("the disk is full");
    list.update(&desk.verdicts, desk.now + MINUTE * 2);
    assert!(!list.is_held() && list.is_owed() && desk.file().provisional);
}

#[test]
fn what_an_operator_withdraws_leaves_a_held_list_at_once() {
    let mut desk = Desk::new();
    desk.put(TORN);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A]);
    desk.verdicts[0] = Verdict::of(State::Down);
    (desk.verdicts[0].withheld, desk.verdicts[0].ends_hold) = (true, true);
    desk.step(&mut list);
    assert!(!list.is_held());
    desk.expect(&list, &[DUMMY]);
}

/// As where descriptors are short for a phase: an older list must not take the place of a sound one.
#[test]
fn a_file_that_can_be_read_at_the_second_look_counts() {
    let check = |present: &dyn Fn(&Desk), held: bool, listed: &[&str]| {
        let mut desk = Desk::new();
        desk.put_history(&[DUMMY, A]);
        // A directory in its place cannot be read.
        fs::create_dir(&desk.bird.conf).unwrap();
        let mut list = desk.open();
        assert!(list.is_held());
        fs::remove_dir(&desk.bird.conf).unwrap();
        present(&desk);
        desk.step(&mut list);
        desk.expect(&list, listed);
        assert_eq!(list.is_held(), held);
    };
    check(&|desk| desk.put(&desk.text(&[DUMMY, A, B])), false, &[DUMMY, A, B]);
    check(&|desk| desk.put(&desk.text(&[DUMMY, B])), false, &[DUMMY, B]);
    check(&|desk| desk.put("broken still"), true, &[DUMMY, A]);
    let marked = |desk: &Desk| {
        let mut text = desk.text(&[DUMMY]);
        prefix_file::mark_provisional(&mut text);
        desk.put(&text);
    };
    check(&marked, true, &[DUMMY]);
}

#[test]
fn what_is_legible_in_a_broken_file_counts_as_listed() {
    let mut desk = Desk::new();
    let whole = desk.text(&[DUMMY, A, STRANGER, B]);
    desk.put(&whole[..whole.len() - 12]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A]);
    assert!(list.is_held(), "there may have been more");
}

#[test]
fn the_file_behind_a_link_is_replaced() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let link = desk.dir.path().join("link.conf");
    symlink("prefixes.conf", &link).unwrap();
    let bird = Bird { conf: link.clone(), ..desk.bird.clone() };
    let mut list = PrefixList::open(Family::V4, &bird, &desk.services, false, MINUTE);
    desk.verdict("a", State::Down);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    desk.told(&mut list);
    // It points elsewhere: that file is put right, and BIRD is told.
    desk.bird.conf = desk.dir.path().join("other.conf");
    desk.put(&desk.text(&[DUMMY, STRANGER]));
    fs::remove_file(&link).unwrap();
    symlink("other.conf", &link).unwrap();
    list.recheck();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY]);
    assert_eq!(list.path(), desk.bird.conf);
}

#[test]
fn services_with_commands_of_their_own_need_no_other() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    desk.change_services(by_custom);
    let mut list = desk.open();
    assert!(list.is_custom_only());
    desk.step(&mut list);
    assert!(!list.is_owed());
    desk.verdict("a", State::Down);
    assert!(!desk.step(&mut list).foreign);
    assert!(!list.is_owed(), "its own command has to tell BIRD");
    assert!(list.in_bird().is_empty());
    desk.put("");
    list.recheck();
    assert!(desk.step(&mut list).foreign, "each command has to tell BIRD of it");
    assert!(!list.is_owed());
    list.confirm_by_custom(&list.revision());
    assert_eq!(list.in_bird(), *list.list());

    // With a command of the family's own there is a reconfigure at start, and one for what no service's command tells.
    desk.bird.reconfigure_cmd_is_set = true;
    let mut list = desk.open();
    assert!(!list.is_custom_only());
    desk.step(&mut list);
    assert!(list.is_owed());
    desk.told(&mut list);
    desk.verdict("a", State::Up);
    desk.step(&mut list);
    desk.expect_listed(&list, &[DUMMY, B, A]);
    assert!(!list.is_owed());
    desk.put("");
    list.recheck();
    assert!(!desk.step(&mut list).foreign);
    assert!(list.is_owed());
}

/// BIRD may have read the file before it could be put right: that is not forgotten with the step that failed.
#[test]
fn a_foreign_change_that_cannot_be_put_right_at_once_is_told_too() {
    for family_command in [false, true] {
        let mut desk = Desk::listing(&[DUMMY, A, B]);
        desk.change_services(by_custom);
        desk.bird.reconfigure_cmd_is_set = family_command;
        let mut list = desk.open();
        desk.step(&mut list);
        list.confirm(&list.revision());
        fs::remove_file(&desk.bird.conf).unwrap();
        fs::create_dir(&desk.bird.conf).unwrap();
        list.recheck();
        assert!(!desk.step(&mut list).foreign);
        fs::remove_dir(&desk.bird.conf).unwrap();
        // Else the family's command would be run for a change without a service.
        desk.verdict("a", State::Down);
        let foreign = desk.step(&mut list).foreign;
        desk.expect_listed(&list, &[DUMMY, B]);
        assert_eq!((foreign, list.is_owed()), (!family_command, family_command));
    }
}

/// What the first start leaves of a list with [`A`] and [`B`], of which `a` has `on_boot = withdraw`.
fn first_list(desk: &Desk) -> Vec<Prefix> {
    let mut services = desk.services.clone();
    Arc::make_mut(&mut services[0]).withdraw_on_boot = true;
    let mut list = PrefixList::open(Family::V4, &desk.bird, &services, false, MINUTE);
    list.converge(&desk.verdicts, desk.now);
    assert!(list.is_owed(), "the change is told");
    desk.file().prefixes
}

#[test]
fn a_list_from_before_the_boot_is_not_trusted_and_one_from_after_it_is() {
    let kept = [DUMMY, A, B].map(prefix);
    let without = [DUMMY, B].map(prefix);
    let desk = Desk::listing(&[DUMMY, A, B]);
    assert_eq!(first_list(&desk), without);
    // The service is up by now, and the daemon is restarted.
    desk.put(&desk.text(&[DUMMY, A, B]));
    assert_eq!(first_list(&desk), kept);
    // The machine, too.
    let boot = desk.dir.path().join(".prefixes.conf.boot");
    let id = fs::read(&boot).unwrap();
    atomic_file::replace(&boot, b"another\n", Durability::Unsynced).unwrap();
    assert_eq!(first_list(&desk), without);
    assert_eq!(fs::read(&boot).unwrap(), id);
}

#[test]
fn a_boot_is_remembered_after_the_list_and_only_where_a_service_wants_it() {
    for wanted in [true, false] {
        let mut desk = Desk::listing(&[DUMMY, A, B]);
        let service = |service: &Arc<Service>| Service { withdraw_on_boot: wanted, ..(**service).clone() };
        desk.services = desk.services.iter().map(|found| Arc::new(service(found))).collect();
        let boot = desk.dir.path().join(".prefixes.conf.boot");
        let mut list = desk.open();
        assert!(!boot.exists(), "the list still holds what may not be trusted");
        list.converge(&desk.verdicts, desk.now);
        assert_eq!(boot.exists(), wanted);
    }
}

#[test]
fn a_reload_without_a_change_does_nothing() {
    let mut desk = Desk::listing(&[DUMMY, B, A]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    let before = fs::metadata(&desk.bird.conf).unwrap().modified().unwrap();
    desk.reload(&mut list, &[("b", &[B]), ("a", &[A])]);
    desk.step(&mut list);
    assert!(!list.is_owed() && list.is_in_sync());
    assert_eq!(fs::metadata(&desk.bird.conf).unwrap().modified().unwrap(), before);
    assert_eq!(desk.next_wakeup(&mut list), None);
}

/// Whether the family had a verdict, which lets unmanaged go, makes no difference to what was a service's prefix.
#[test]
fn a_prefix_goes_with_its_service_and_no_other_does() {
    let mut desk = Desk::listing(&[DUMMY, STRANGER, A, B]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    desk.reload(&mut list, &[("b", &[B]), ("c", &[C])]);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, STRANGER, B]);
    desk.told(&mut list);
    desk.verdict("c", State::Up);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, B, C]);
    desk.reload(&mut list, &[]);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY]);
}

#[test]
fn a_prefix_that_changes_its_service_stays_as_it_is_until_that_ones_verdict() {
    for state in [State::Up, State::Down] {
        let mut desk = Desk::listing(&[DUMMY, A, B]);
        let mut list = desk.open();
        desk.verdict("a", State::Down);
        desk.verdict("b", State::Up);
        desk.step(&mut list);
        desk.told(&mut list);
        // `c` takes over both, one that is out and one that is in.
        desk.reload(&mut list, &[("c", &[A, B])]);
        desk.step(&mut list);
        assert!(!list.is_owed());
        desk.expect_listed(&list, &[DUMMY, B]);
        desk.verdict("c", state);
        desk.step(&mut list);
        desk.expect(&list, if state == State::Up { &[DUMMY, B, A] } else { &[DUMMY] });
    }
}

/// A verdict that came in the same phase as the reload, before it, has its effect.
#[test]
fn what_a_prefix_keeps_is_what_its_last_service_said() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    desk.verdict("a", State::Down);
    desk.reload(&mut list, &[("c", &[A]), ("b", &[B])]);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, B]);
}

#[test]
fn a_prefix_on_which_a_check_has_not_decided_stays_as_it_is() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut list = desk.open();
    desk.verdict("a", State::Up);
    desk.step(&mut list);
    desk.told(&mut list);
    // `a` is up and gains one that is in and one that is new.
    desk.reload(&mut list, &[("a", &[A, B, C])]);
    let unconfirmed = BTreeSet::from([prefix(B), prefix(C)]);
    desk.verdicts[0] = Verdict::of(State::Up).with(BTreeSet::new(), unconfirmed.clone());
    desk.step(&mut list);
    desk.expect_listed(&list, &[DUMMY, A, B]);
    desk.verdicts[0] = Verdict::of(State::Up);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A, B, C]);
    // One that is down is down with all of them.
    desk.verdicts[0] = Verdict::of(State::Down).with(BTreeSet::new(), unconfirmed);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY]);
}

#[test]
fn a_prefix_that_cannot_be_withdrawn_at_a_reload_may_come_back_by_the_next() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    // A directory in the place of the file can neither be read nor replaced.
    let whole = fs::read(&desk.bird.conf).unwrap();
    fs::remove_file(&desk.bird.conf).unwrap();
    fs::create_dir(&desk.bird.conf).unwrap();
    desk.reload(&mut list, &[("b", &[B])]);
    desk.step(&mut list);
    desk.reload(&mut list, &[("b", &[B]), ("a", &[A])]);
    desk.verdict("a", State::Up);
    fs::remove_dir(&desk.bird.conf).unwrap();
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, A, B]);
    assert_ne!(fs::read(&desk.bird.conf).unwrap(), whole, "written anew");
}

#[test]
fn another_variable_and_another_dummy_are_one_write() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut list = desk.open();
    desk.step(&mut list);
    desk.told(&mut list);
    let other = "10.189.200.254/32";
    desk.bird = Bird { variable: "OTHER".to_string(), dummy: Some(prefix(other)), ..desk.bird.clone() };
    desk.verdict("a", State::Up);
    desk.reload(&mut list, &[("a", &[A])]);
    desk.step(&mut list);
    let PrefixFile { variable, prefixes, flaw, .. } = desk.file();
    assert_eq!((variable.as_deref(), flaw), (Some("OTHER"), None));
    assert_eq!(prefixes, [other, A].map(prefix));
    assert!(list.is_owed());
    desk.told(&mut list);
    assert_eq!(desk.next_wakeup(&mut list), None);
}

/// Its own command went with it.
#[test]
fn of_a_service_that_goes_the_familys_command_tells() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    desk.change_services(by_custom);
    let mut list = desk.open();
    desk.step(&mut list);
    assert!(!list.is_owed());
    desk.services.remove(0);
    list.reload(&desk.bird, &desk.services, &desk.verdicts);
    desk.verdicts.remove(0);
    desk.step(&mut list);
    desk.expect(&list, &[DUMMY, B]);
    desk.told(&mut list);
}

#[test]
fn a_prefix_of_several_services_is_listed_while_none_is_down() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut list = desk.open();
    desk.reload(&mut list, &[("a", &[A]), ("b", &[A, B])]);
    for (service, state, listed) in [
        ("a", State::Up, &[DUMMY, A][..]),
        ("b", State::Up, &[DUMMY, A, B]),
        ("b", State::Down, &[DUMMY]),
        ("a", State::Down, &[DUMMY]),
        ("b", State::Up, &[DUMMY, B]),
        ("a", State::Up, &[DUMMY, B, A]),
    ] {
        desk.verdict(service, state);
        desk.step(&mut list);
        desk.expect_listed(&list, listed);
    }
}

/// Thousands of prefixes of one service that are not assigned, or wait for the verdict of a check.
#[test]
fn a_service_may_have_very_many_prefixes() {
    let n = MANY;
    let mut desk = Desk::new();
    let all = prefixes(n);
    desk.services = vec![Arc::new(Service { prefixes: all.clone(), ..service("a", &[]) })];
    desk.verdicts.truncate(1);
    let mut list = desk.open();
    let (missing, unconfirmed): (BTreeSet<_>, BTreeSet<_>) =
        all.iter().partition(|prefix| matches!(prefix.address(), std::net::IpAddr::V4(ip) if ip.octets()[3] % 2 == 0));
    for state in [State::Up, State::Down, State::Up] {
        desk.verdicts[0] = Verdict::of(state).with(missing.clone(), unconfirmed.clone());
        list.recheck();
        desk.step(&mut list);
        desk.verdict("a", state);
        list.recheck();
        desk.step(&mut list);
        assert!(!list.query().chunks().is_empty());
        desk.told(&mut list);
    }
    list.reload(&desk.bird, &desk.services, &desk.verdicts);
    desk.step(&mut list);
    assert_eq!(list.in_file().len(), n + 1);
}
