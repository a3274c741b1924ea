//! Real files, no thread, no BIRD: each step is called by hand at a time that the test makes up.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};

use super::*;
use crate::bird::prefix_file::PrefixFile;
use crate::check::health::State;
use crate::check::state::CheckState;
use crate::command::Command;
use crate::config::settings::{OnDisabled, TimedCommand};
use crate::prefix::comparisons::{expect_no_square, prefixes};
use crate::report::sample;
use crate::sys::atomic_file::{self, Durability, MODE};

const DUMMY: &str = "10.189.200.255/32";
const A: &str = "10.0.0.1/32";
const B: &str = "10.0.0.2/32";
const STRANGER: &str = "10.9.9.9/32";
const MINUTE: Duration = Duration::from_secs(60);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A directory with a prefix file, two services `a` and `b` with the prefixes [`A`] and [`B`], and a clock.
struct Desk {
    dir: tempfile::TempDir,
    bird: Bird,
    services: Vec<Arc<Service>>,
    /// By the service's name; unknown where there is none.
    verdicts: HashMap<String, Verdict>,
    now: Instant,
}

/// The prefix of the services `a`, `b` and `c` by their letter.
fn letter(sign: char, prefix: &Prefix) -> Option<String> {
    let text = prefix.to_string();
    let (_, name) = [(A, "a"), (B, "b"), ("10.0.0.3/32", "c")].into_iter().find(|(found, _)| *found == text)?;
    Some(format!("{sign}{name}"))
}

/// A service with these prefixes, which may have a command of its own.
fn named(name: &str, prefixes: &[Prefix], custom: bool) -> Arc<Service> {
    let command = || TimedCommand { command: Command::parse("true").unwrap(), timeout: MINUTE };
    let custom_reconfigure = custom.then(command);
    Arc::new(Service { prefixes: prefixes.to_vec(), custom_reconfigure, ..sample::service(name, A) })
}

/// What a check comes to that says so.
fn state_of(state: State) -> CheckState {
    let service = sample::service("any", A);
    let mut found = CheckState::new(&service);
    let decision = match state {
        State::Up => OnDisabled::Advertise,
        State::Down => OnDisabled::Withdraw,
        State::Unknown => return found,
    };
    let _ = found.decide(decision);
    found
}

/// The same for a check of a service with these prefixes: some are not assigned, some were gained by a reload.
fn partial(state: State, prefixes: &[Prefix], missing: &[Prefix], gained: &[Prefix]) -> Verdict {
    let service = Service { prefixes: prefixes.to_vec(), ..sample::service("any", A) };
    let mut found = state_of(state).carried_over(&service, gained);
    // Assigned nowhere would be down.
    let other = Service { prefixes: [prefixes, &[prefix(STRANGER)]].concat(), ..service };
    let _ = found.addresses_gone(&other, missing.iter().copied().collect());
    found.verdict()
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
        let services = vec![named("a", &[prefix(A)], false), named("b", &[prefix(B)], false)];
        Desk { dir, bird, services, verdicts: HashMap::new(), now: Instant::now() }
    }

    /// Nobody knows what was listed: the file is garbled.
    fn lost() -> Desk {
        let desk = Desk::new();
        desk.put("garbled");
        desk
    }

    fn listing(prefixes: &[&str]) -> Desk {
        let desk = Desk::new();
        desk.put(&desk.text(prefixes));
        desk
    }

    fn with_custom_commands(mut self) -> Desk {
        self.services = vec![named("a", &[prefix(A)], true), named("b", &[prefix(B)], true)];
        self
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

    fn open(&self) -> PrefixList {
        PrefixList::open(Family::V4, &self.bird, &self.services, false, MINUTE)
    }

    fn known(&self) -> Vec<Verdict> {
        let unknown = || state_of(State::Unknown).verdict();
        self.services.iter().map(|service| self.verdicts.get(&service.name).cloned().unwrap_or_else(unknown)).collect()
    }

    fn verdict(&mut self, list: &mut PrefixList, service: &str, state: State) {
        self.say(list, service, state_of(state).verdict());
    }

    fn say(&mut self, list: &mut PrefixList, service: &str, verdict: Verdict) {
        self.verdicts.insert(service.into(), verdict);
        list.update(&self.known(), self.now);
    }

    /// Time passes.
    fn wait_until(&mut self, list: &mut PrefixList, at: Instant) {
        self.now = at;
        list.update(&self.known(), at);
    }

    /// Steps at the time when the list asks for it, a hold aside; returns the prefixes of services that went in or
    /// out, as `+a`.
    fn step(&mut self, list: &mut PrefixList) -> Vec<String> {
        list.update(&self.known(), self.now);
        let before = list.list().clone();
        assert!(list.pending.dirty || list.pending.recheck, "nothing to do");
        let paced = list.pending.backoff.earliest().unwrap_or(self.now).max(self.now);
        let repaired = list.pending.repaired.filter(|_| !list.pending.dirty).map(|at| at + REPAIR);
        self.now = repaired.map_or(paced, |at| paced.max(at));
        assert!(list.is_due(self.now));
        list.converge(&self.known(), self.now);
        let after = list.list();
        let moved = |sign, from: &[Prefix], other: &[Prefix]| -> Vec<String> {
            let other: HashSet<&Prefix> = other.iter().collect();
            from.iter().filter(|prefix| !other.contains(prefix)).filter_map(|prefix| letter(sign, prefix)).collect()
        };
        [moved('-', &before, after), moved('+', after, &before)].concat()
    }

    /// Each service and its prefix, `a 10.0.0.1/32`, from now on.
    fn reload(&mut self, list: &mut PrefixList, known: &[(&str, &str)]) {
        let before = self.known();
        let mut services: Vec<(&str, Vec<Prefix>)> = Vec::new();
        for (name, of) in known {
            match services.iter_mut().find(|(found, _)| found == name) {
                Some((_, prefixes)) => prefixes.push(prefix(of)),
                None => services.push((name, vec![prefix(of)])),
            }
        }
        self.services = services.iter().map(|(name, prefixes)| named(name, prefixes, false)).collect();
        list.reload(&self.bird, &self.services, &before);
        self.verdicts.retain(|service, _| known.iter().any(|(name, _)| name == service));
    }

    fn file(&self) -> PrefixFile {
        prefix_file::parse(&fs::read(&self.bird.conf).unwrap(), Family::V4)
    }

    /// The file is sound, readable by BIRD, lists this, and BIRD is to be told.
    fn expect(&self, list: &PrefixList, prefixes: &[&str]) {
        let PrefixFile { variable, prefixes: found, flaw, .. } = self.file();
        assert_eq!((flaw, variable.as_deref()), (None, Some("ACAST_PS_ADVERTISE")));
        assert_eq!(found, prefixes.iter().copied().map(prefix).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&self.bird.conf).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(*list.in_file(), *found);
        assert!(list.is_owed() && !list.is_in_sync());
    }

    fn told(&self, list: &mut PrefixList) {
        list.confirm(&list.revision());
        assert!(!list.is_owed() && list.is_in_sync());
        assert_eq!(list.in_bird(), list.in_file());
    }
}

#[test]
fn a_restart_keeps_what_was_listed_and_tells_bird_once() {
    let mut desk = Desk::listing(&[DUMMY, B, A]);
    let mut table = desk.open();
    let before = fs::read(&desk.bird.conf).unwrap();
    assert_eq!(desk.step(&mut table), [""; 0]);
    assert_eq!(fs::read(&desk.bird.conf).unwrap(), before, "the file is as we would write it");
    desk.expect(&table, &[DUMMY, B, A]);
    assert_eq!(table.startup.held_until(), None);
    desk.told(&mut table);
    assert_eq!(table.next_wakeup(desk.now), None);
}

#[test]
fn verdicts_go_into_the_file() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    for (service, state, changes, list) in [
        ("b", State::Up, vec!["+b"], vec![DUMMY, A, B]),
        ("a", State::Down, vec!["-a"], vec![DUMMY, B]),
        ("a", State::Up, vec!["+a"], vec![DUMMY, B, A]),
    ] {
        desk.verdict(&mut table, service, state);
        assert_eq!(desk.step(&mut table), changes);
        desk.expect(&table, &list);
        desk.told(&mut table);
    }
    desk.verdict(&mut table, "a", State::Up);
    assert!(table.next_wakeup(desk.now).is_none() && !table.is_owed(), "a verdict that changes nothing");
}

#[test]
fn an_address_that_is_not_assigned_is_out_whatever_the_state() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    let a = [prefix(A)];
    desk.say(&mut table, "a", partial(State::Up, &a, &a, &[]));
    assert_eq!(desk.step(&mut table), ["-a"]);
    desk.expect(&table, &[DUMMY]);
}

#[test]
fn strangers_stay_until_the_first_verdict_or_go_at_once_with_purge() {
    let mut desk = Desk::listing(&[DUMMY, STRANGER, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, STRANGER, A]);
    desk.verdict(&mut table, "a", State::Up);
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);

    let mut desk = Desk::listing(&[DUMMY, STRANGER, A]);
    let mut table = PrefixList::open(Family::V4, &desk.bird, &desk.services, true, MINUTE);
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);
}

#[test]
fn what_others_do_to_the_file_is_undone_once_a_second() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
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
    // Strangers may go: the family had its first verdict.
    desk.verdict(&mut table, "a", State::Up);
    desk.step(&mut table);
    let mut repaired = None;
    for tamper in tampering {
        tamper(&desk);
        table.recheck();
        assert_eq!(desk.step(&mut table), [""; 0], "a repair is no change of a service");
        desk.expect(&table, &[DUMMY, A, B]);
        assert!(repaired.is_none_or(|at| desk.now >= at + REPAIR));
        repaired = Some(desk.now);
        desk.told(&mut table);
    }
}

#[test]
fn a_foreign_change_that_ends_up_equal_is_told_too() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    fs::remove_file(&desk.bird.conf).unwrap();
    desk.put(&desk.text(&[DUMMY, A]));
    table.recheck();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);
}

#[test]
fn our_own_write_is_no_foreign_change() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.verdict(&mut table, "b", State::Up);
    desk.step(&mut table);
    desk.told(&mut table);
    table.recheck();
    desk.step(&mut table);
    assert!(!table.is_owed());
}

/// The directory is moved away: writing fails as on a full or read-only disk, also for root.
#[test]
fn a_change_waits_until_the_file_can_be_written() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    let parent = desk.dir.path().to_path_buf();
    let hidden = parent.with_extension("hidden");
    #[expect(clippy::disallowed_methods, reason = "a directory, not a file")]
    let mv = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    mv(&parent, &hidden);
    desk.verdict(&mut table, "a", State::Down);
    let start = desk.now;
    for _ in 0..4 {
        assert_eq!(desk.step(&mut table), [""; 0]);
        assert!(!table.is_owed(), "BIRD is not told of a file that is not there");
        let problem = table.problem().unwrap().to_string();
        assert!(problem.starts_with("failed to write Bird configuration: cannot create"), "{problem}");
    }
    assert!(desk.now - start >= Duration::from_millis(700), "tried ever more slowly");
    mv(&hidden, &parent);
    assert_eq!(desk.step(&mut table), ["-a"]);
    assert_eq!(table.problem(), None);
    desk.expect(&table, &[DUMMY, B]);
}

#[test]
fn bird_is_not_told_of_a_tampered_file_that_cannot_be_put_right() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    // A directory in the place of the file can neither be read nor replaced.
    fs::remove_file(&desk.bird.conf).unwrap();
    fs::create_dir(&desk.bird.conf).unwrap();
    table.recheck();
    desk.step(&mut table);
    assert!(!table.is_owed() && !table.is_in_sync());
    fs::remove_dir(&desk.bird.conf).unwrap();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A, B]);
}

#[test]
fn a_lost_list_is_held_until_every_service_had_its_verdict_or_its_time() {
    for tampered in ["", "define ACAST_PS_ADVERTISE =\n"] {
        let mut desk = Desk::new();
        desk.put(tampered);
        let mut table = desk.open();
        desk.step(&mut table);
        desk.expect(&table, &[DUMMY]);
        let until = table.hold().unwrap().until;
        assert!(table.is_held());
        desk.verdict(&mut table, "a", State::Up);
        desk.step(&mut table);
        assert_eq!(table.hold().unwrap().waiting_for, ["b".into()]);
        assert_eq!(table.hold().unwrap().until, until);
        desk.verdict(&mut table, "b", State::Up);
        assert!(table.hold().is_none() && table.is_held(), "the last verdict is not in the file yet");
        desk.step(&mut table);
        assert!(!table.is_held());
        desk.expect(&table, &[DUMMY, A, B]);

        // The time is over, and nobody said anything.
        desk.put(tampered);
        desk.verdicts.clear();
        let mut table = desk.open();
        desk.step(&mut table);
        let until = table.hold().unwrap().until;
        assert_eq!(table.next_wakeup(desk.now), Some(until));
        desk.wait_until(&mut table, until);
        assert!(table.hold().is_none());
        desk.step(&mut table);
        assert!(!table.is_held() && table.is_owed());
    }
}

#[test]
fn what_an_operator_withdraws_ends_the_hold() {
    let drain = |found: &mut CheckState| {
        let _ = found.drain("file".into(), crate::drain::End::Never);
    };
    let leave = |found: &mut CheckState| found.leave();
    let check = |before: State, withdraw: &dyn Fn(&mut CheckState), ends: bool| {
        let mut desk = Desk::lost();
        let mut table = desk.open();
        desk.step(&mut table);
        assert!(table.is_held());
        let mut found = state_of(before);
        withdraw(&mut found);
        desk.say(&mut table, "a", found.verdict());
        desk.step(&mut table);
        assert_eq!(!table.is_held() && table.hold().is_none() && !desk.file().held, ends, "{before}");
    };
    check(State::Up, &drain, true);
    check(State::Unknown, &leave, true);
    // Found at the start: BIRD may not advertise it at all.
    check(State::Unknown, &drain, false);
}

/// No file, no mark of ours beside it, no history: what BIRD has cannot come from us.
#[test]
fn where_nothing_was_ever_written_nothing_is_held() {
    let check = |beside: &dyn Fn(&Desk), held: bool| {
        let mut desk = Desk::new();
        beside(&desk);
        let mut table = desk.open();
        assert_eq!(table.lost().is_some(), held);
        desk.step(&mut table);
        desk.expect(&table, &[DUMMY]);
        assert_eq!((table.is_held(), desk.file().held), (held, held));
        // What was written now is known to the next start, also where the file is gone by then.
        fs::remove_file(&desk.bird.conf).unwrap();
        assert!(desk.open().is_held());
    };
    check(&|_| (), false);
    let with_history = |desk: &Desk| {
        let history = desk.dir.path().join("history");
        fs::create_dir(&history).unwrap();
        desk.put(&desk.text(&[DUMMY]));
        #[expect(clippy::disallowed_methods, reason = "this is somebody else")]
        fs::rename(&desk.bird.conf, history.join("1763803000.123456784")).unwrap();
    };
    check(&with_history, true);
}

/// It is the list before the last change, and no better witness than nothing.
#[test]
fn a_list_from_the_history_is_held() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    fs::create_dir(desk.dir.path().join("history")).unwrap();
    fs::hard_link(&desk.bird.conf, desk.dir.path().join("history/1763803000.123456784")).unwrap();
    fs::remove_file(&desk.bird.conf).unwrap();
    let mut table = desk.open();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);
    assert!(table.is_held() && desk.file().held);
}

#[test]
fn what_bird_holds_of_a_lost_list_counts_and_nothing_is_held() {
    let mut desk = Desk::lost();
    let mut table = desk.open();
    assert!(table.lost().is_some());
    table.recover(Some(vec![prefix(B)]));
    assert!(table.lost().is_none() && table.hold().is_none());
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, B]);
    assert!(!table.is_held() && !desk.file().held);
    // Where it cannot be asked, the hold stays, and it is asked no more.
    desk.put("garbled");
    let mut table = desk.open();
    table.recover(None);
    desk.step(&mut table);
    assert!(table.is_held() && table.lost().is_none());
}

/// Whatever ends the daemon while the list is held, the next start does not take that list for what was advertised.
#[test]
fn a_held_list_is_held_again_by_the_next_start_until_it_is_told() {
    let mut desk = Desk::lost();
    for verdicts in [vec![], vec![], vec!["a"], vec![]] {
        let mut table = desk.open();
        desk.verdicts.clear();
        desk.step(&mut table);
        for service in verdicts {
            desk.verdict(&mut table, service, State::Up);
            desk.step(&mut table);
        }
        assert!(table.is_held() && desk.file().held);
    }
    assert_eq!(desk.file().prefixes, [DUMMY, A].map(prefix));
    // Broken once more, on the way to the next start.
    let whole = fs::read_to_string(&desk.bird.conf).unwrap();
    desk.put(&whole[..whole.len() - 4]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);
    // The time is over: the mark goes first.
    let until = table.hold().unwrap().until;
    desk.wait_until(&mut table, until);
    assert!(table.is_held() && desk.file().held);
    desk.step(&mut table);
    assert!(!table.is_held() && !desk.file().held);
    desk.expect(&table, &[DUMMY, A]);
    desk.told(&mut table);
    assert_eq!(table.next_wakeup(desk.now), None);
    assert!(!desk.open().is_held());
}

#[test]
fn with_the_last_verdict_the_mark_goes_in_the_same_write() {
    let mut desk = Desk::lost();
    let mut table = desk.open();
    for (service, held) in [("a", true), ("b", false)] {
        desk.verdict(&mut table, service, State::Up);
        desk.step(&mut table);
        assert_eq!(desk.file().held, held);
    }
    assert!(!table.is_held());
    assert_eq!(table.next_wakeup(desk.now), None, "there is nothing more to write");
}

#[test]
fn a_mark_that_cannot_be_taken_off_does_not_keep_bird_from_the_list() {
    let mut desk = Desk::lost();
    let mut table = desk.open();
    desk.step(&mut table);
    let until = table.hold().unwrap().until;
    desk.wait_until(&mut table, until);
    assert!(table.is_held());
    let parent = desk.dir.path().to_path_buf();
    let hidden = parent.with_extension("hidden");
    #[expect(clippy::disallowed_methods, reason = "a directory, not a file")]
    let mv = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    mv(&parent, &hidden);
    assert!(!table.file.replace("any"), "there is no directory for it");
    mv(&hidden, &parent);
    assert!(!table.is_held() && table.is_owed() && desk.file().held);
}

/// As where descriptors are short for a moment: an older list must not take the place of a sound one.
#[test]
fn a_file_that_can_be_read_at_the_second_look_counts() {
    let check = |present: &dyn Fn(&Desk), held: bool, list: &[&str]| {
        let mut desk = Desk::new();
        fs::create_dir(desk.dir.path().join("history")).unwrap();
        desk.put(&desk.text(&[DUMMY, A]));
        fs::hard_link(&desk.bird.conf, desk.dir.path().join("history/1763803000.123456784")).unwrap();
        fs::remove_file(&desk.bird.conf).unwrap();
        // A directory in its place cannot be read.
        fs::create_dir(&desk.bird.conf).unwrap();
        let mut table = desk.open();
        fs::remove_dir(&desk.bird.conf).unwrap();
        present(&desk);
        desk.step(&mut table);
        desk.expect(&table, list);
        assert_eq!(table.startup.held_until().is_some(), held);
    };
    check(&|desk| desk.put(&desk.text(&[DUMMY, A, B])), false, &[DUMMY, A, B]);
    check(&|desk| desk.put(&desk.text(&[DUMMY, B])), false, &[DUMMY, B]);
    check(&|desk| desk.put("broken still"), true, &[DUMMY, A]);
    let marked = |desk: &Desk| {
        let mut text = desk.text(&[DUMMY]);
        prefix_file::mark_held(&mut text);
        desk.put(&text);
    };
    check(&marked, true, &[DUMMY]);
}

#[test]
fn what_is_legible_in_a_broken_file_counts_as_listed_and_is_held() {
    let mut desk = Desk::new();
    let whole = desk.text(&[DUMMY, A, STRANGER, B]);
    desk.put(&whole[..whole.len() - 12]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);
    assert!(table.is_held(), "nobody knows what else was listed");
}

#[test]
fn the_file_behind_a_link_is_replaced() {
    let desk = Desk::listing(&[DUMMY, A]);
    let link = desk.dir.path().join("link.conf");
    symlink("prefixes.conf", &link).unwrap();
    let bird = Bird { conf: link.clone(), ..desk.bird.clone() };
    let mut table = PrefixList::open(Family::V4, &bird, &desk.services, false, MINUTE);
    let mut desk = desk;
    desk.verdict(&mut table, "a", State::Down);
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn services_with_commands_of_their_own_need_no_other() {
    let mut desk = Desk::listing(&[DUMMY, A, B]).with_custom_commands();
    let mut table = desk.open();
    assert!(table.is_custom_only());
    desk.step(&mut table);
    assert!(!table.is_owed());
    desk.verdict(&mut table, "a", State::Down);
    assert_eq!(desk.step(&mut table), ["-a"]);
    assert!(!table.is_owed(), "its own command has to tell BIRD");
    let told = table.revision();
    table.confirm_by_custom(&told);
    assert_eq!(*table.in_bird(), *told.list);
    // What somebody else did to the file each command has to tell anew.
    desk.put("");
    table.recheck();
    table.update(&desk.known(), desk.now);
    assert!(table.converge(&desk.known(), desk.now + MINUTE).foreign);
    assert!(!table.is_owed());

    // With a command of the family's own there is a reconfigure at start, and one for what no service's command tells.
    desk.bird.reconfigure_cmd_is_set = true;
    let mut table = desk.open();
    desk.step(&mut table);
    assert!(table.is_owed() && !table.is_custom_only());
    desk.told(&mut table);
    desk.verdict(&mut table, "a", State::Up);
    assert_eq!(desk.step(&mut table), ["+a"]);
    assert!(!table.is_owed());
    desk.put("");
    table.recheck();
    desk.step(&mut table);
    assert!(table.is_owed());
}

/// The services, the first of which has `on_boot = withdraw`.
fn on_boot(desk: &Desk) -> Vec<Arc<Service>> {
    let first = Service { withdraw_on_boot: true, ..(*desk.services[0]).clone() };
    vec![Arc::new(first), desk.services[1].clone()]
}

/// What the first start leaves of a list with [`A`] and [`B`], of which `a` has `on_boot = withdraw`.
fn first_list(desk: &Desk) -> Vec<Prefix> {
    let mut table = PrefixList::open(Family::V4, &desk.bird, &on_boot(desk), false, MINUTE);
    table.converge(&desk.known(), desk.now);
    assert!(table.is_owed(), "the change is told");
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
fn a_boot_is_remembered_after_the_list() {
    let desk = Desk::listing(&[DUMMY, A, B]);
    let boot = desk.dir.path().join(".prefixes.conf.boot");
    let mut table = PrefixList::open(Family::V4, &desk.bird, &on_boot(&desk), false, MINUTE);
    assert!(!boot.exists(), "the list still holds what is not trusted");
    table.converge(&desk.known(), desk.now);
    assert!(boot.exists());
}

#[test]
fn a_reload_without_a_change_does_nothing() {
    let mut desk = Desk::listing(&[DUMMY, B, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    let before = fs::metadata(&desk.bird.conf).unwrap().modified().unwrap();
    desk.reload(&mut table, &[("b", B), ("a", A)]);
    assert_eq!(desk.step(&mut table), [""; 0]);
    assert!(!table.is_owed() && table.is_in_sync());
    assert_eq!(fs::metadata(&desk.bird.conf).unwrap().modified().unwrap(), before);
    assert_eq!(table.next_wakeup(desk.now), None);
}

/// Whether the family had a verdict, which lets strangers go, makes no difference to what was a service's prefix.
#[test]
fn a_prefix_goes_with_its_service_and_no_other_does() {
    let mut desk = Desk::listing(&[DUMMY, STRANGER, A, B]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    desk.reload(&mut table, &[("b", B), ("c", "10.0.0.3/32")]);
    assert_eq!(desk.step(&mut table), ["-a"]);
    desk.expect(&table, &[DUMMY, STRANGER, B]);
    desk.told(&mut table);
    desk.verdict(&mut table, "c", State::Up);
    assert_eq!(desk.step(&mut table), ["+c"]);
    desk.expect(&table, &[DUMMY, B, "10.0.0.3/32"]);
    desk.reload(&mut table, &[]);
    let mut changes = desk.step(&mut table);
    changes.sort();
    assert_eq!(changes, ["-b", "-c"]);
    desk.expect(&table, &[DUMMY]);
}

#[test]
fn a_prefix_that_changes_its_service_stays_as_it_is_until_that_ones_verdict() {
    for state in [State::Up, State::Down] {
        let mut desk = Desk::listing(&[DUMMY, A, B]);
        let mut table = desk.open();
        desk.verdict(&mut table, "a", State::Down);
        desk.verdict(&mut table, "b", State::Up);
        desk.step(&mut table);
        desk.told(&mut table);
        // `c` takes over both, one that is out and one that is in.
        desk.reload(&mut table, &[("c", A), ("c", B)]);
        assert_eq!(desk.step(&mut table), [""; 0]);
        assert!(!table.is_owed());
        assert_eq!(*table.in_file(), [DUMMY, B].map(prefix));
        desk.verdict(&mut table, "c", state);
        desk.step(&mut table);
        desk.expect(&table, if state == State::Up { &[DUMMY, B, A] } else { &[DUMMY] });
    }
}

/// A verdict that reached the writer in the same moment as the reload, before it, has its effect.
#[test]
fn what_a_prefix_keeps_is_what_its_last_service_said() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    desk.verdict(&mut table, "a", State::Down);
    desk.reload(&mut table, &[("c", A), ("b", B)]);
    assert_eq!(desk.step(&mut table), ["-a"]);
    desk.expect(&table, &[DUMMY, B]);
}

#[test]
fn a_prefix_on_which_a_check_has_not_decided_stays_as_it_is() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut table = desk.open();
    desk.verdict(&mut table, "a", State::Up);
    desk.step(&mut table);
    desk.told(&mut table);
    // `a` is up and gains one that is in and one that is new.
    let c = "10.0.0.3/32";
    desk.reload(&mut table, &[("a", A), ("a", B), ("a", c)]);
    let all = [A, B, c].map(prefix);
    for state in [State::Up, State::Down, State::Up] {
        desk.say(&mut table, "a", partial(state, &all, &[], &all[1..]));
        desk.step(&mut table);
        let list: &[&str] = if state == State::Up { &[A, B] } else { &[] };
        let found: HashSet<Prefix> = table.in_file().iter().copied().collect();
        assert_eq!(found, list.iter().chain(&[DUMMY]).copied().map(prefix).collect(), "{state:?}");
    }
    desk.verdict(&mut table, "a", State::Up);
    desk.step(&mut table);
    assert!(table.in_file().contains(&prefix(c)));
}

#[test]
fn a_prefix_that_cannot_be_withdrawn_at_a_reload_may_come_back_by_the_next() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    // A directory in the place of the file can neither be read nor replaced.
    let whole = fs::read(&desk.bird.conf).unwrap();
    fs::remove_file(&desk.bird.conf).unwrap();
    fs::create_dir(&desk.bird.conf).unwrap();
    desk.reload(&mut table, &[("b", B)]);
    assert_eq!(desk.step(&mut table), [""; 0]);
    desk.reload(&mut table, &[("b", B), ("a", A)]);
    desk.verdict(&mut table, "a", State::Up);
    fs::remove_dir(&desk.bird.conf).unwrap();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A, B]);
    assert_ne!(fs::read(&desk.bird.conf).unwrap(), whole, "written anew");
}

#[test]
fn another_variable_and_another_dummy_are_one_write() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.told(&mut table);
    let other = "10.189.200.254/32";
    desk.bird = Bird { variable: "OTHER".to_string(), dummy: Some(prefix(other)), ..desk.bird.clone() };
    desk.verdict(&mut table, "a", State::Up);
    desk.reload(&mut table, &[("a", A)]);
    assert_eq!(desk.step(&mut table), [""; 0]);
    let PrefixFile { variable, prefixes, flaw, .. } = desk.file();
    assert_eq!((variable.as_deref(), flaw), (Some("OTHER"), None));
    assert_eq!(prefixes, [other, A].map(prefix));
    assert!(table.is_owed());
    desk.told(&mut table);
    assert_eq!(table.next_wakeup(desk.now), None);
}

#[test]
fn the_prefix_of_a_service_that_went_is_the_familys_to_tell() {
    let mut desk = Desk::listing(&[DUMMY, A, B]).with_custom_commands();
    let mut table = desk.open();
    desk.step(&mut table);
    let verdicts = desk.known();
    desk.services.remove(0);
    table.reload(&desk.bird, &desk.services, &verdicts);
    assert_eq!(desk.step(&mut table), ["-a"]);
    assert!(table.is_owed() && !table.is_in_sync());
    desk.told(&mut table);
}

#[test]
fn a_prefix_of_several_services_is_told_once() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut table = desk.open();
    desk.reload(&mut table, &[("a", A), ("b", A), ("b", B)]);
    for (service, state, changes) in [
        ("a", State::Up, vec![]),
        ("b", State::Up, vec!["+b"]),
        ("b", State::Down, vec!["-a", "-b"]),
        ("a", State::Down, vec![]),
        ("b", State::Up, vec!["+b"]),
        ("a", State::Up, vec!["+a"]),
    ] {
        desk.verdict(&mut table, service, state);
        assert_eq!(desk.step(&mut table), changes, "{service} {state}");
    }
}

/// Thousands of prefixes of one service that are not assigned, or wait for the verdict of a check.
#[test]
fn a_service_with_many_prefixes_takes_no_square_of_comparisons() {
    expect_no_square("steps and questions", |n| {
        let mut desk = Desk::new();
        let all = prefixes(n);
        desk.services = vec![named("a", &all, false)];
        let mut table = desk.open();
        let (missing, gained): (Vec<_>, Vec<_>) = all
            .iter()
            .partition(|prefix| matches!(prefix.address(), std::net::IpAddr::V4(ip) if ip.octets()[3] % 2 == 0));
        for state in [State::Up, State::Down, State::Up] {
            desk.say(&mut table, "a", partial(state, &all, &missing, &gained));
            desk.step(&mut table);
            desk.verdict(&mut table, "a", state);
            if table.pending.dirty {
                desk.step(&mut table);
            }
            assert!(!table.question().parts().is_empty());
            table.confirm(&table.revision());
        }
        table.reload(&desk.bird, &desk.services, &desk.known());
        desk.step(&mut table);
        assert_eq!(table.in_file().len(), n + 1);
    });
}
