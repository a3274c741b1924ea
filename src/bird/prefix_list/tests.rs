//! Real files, no thread, no BIRD: each step is called by hand at a time that the test makes up.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};

use super::*;
use crate::command::Command;
use crate::prefix::comparisons::{expect_no_square, prefixes};

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
    known: Vec<Named>,
    verdicts: Verdicts,
    now: Instant,
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
        let named =
            |service: &str, of| Named { prefix: prefix(of), service: service.into(), custom: false, on_boot: false };
        let known = vec![named("a", A), named("b", B)];
        Desk { dir, bird, known, verdicts: Verdicts::new(), now: Instant::now() }
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

    fn open(&self) -> Table {
        Table::open(Family::V4, &self.bird, self.known.clone(), false, MINUTE)
    }

    fn verdict(&mut self, table: &mut Table, service: &str, state: State) {
        self.verdicts.insert(
            service.into(),
            Verdict { service: service.into(), state, missing: BTreeSet::new(), undecided: BTreeSet::new() },
        );
        table.news();
    }

    /// Steps at the time when the table asks for it; returns the changes, as `+a` and `-a`.
    fn step(&mut self, table: &mut Table) -> Vec<String> {
        self.now = table.earliest(self.now).expect("nothing to do").max(self.now);
        let changed = table.converge(&self.verdicts, self.now);
        changed.into_iter().map(|(service, listed)| format!("{}{service}", if listed { '+' } else { '-' })).collect()
    }

    /// Each service and its prefix, `a 10.0.0.1/32`, from now on.
    fn reload(&mut self, table: &mut Table, known: &[(&str, &str)]) {
        let named = |(service, of): &(&str, &str)| Named {
            prefix: prefix(of),
            service: (*service).into(),
            custom: false,
            on_boot: false,
        };
        self.known = known.iter().map(named).collect();
        table.reload(&self.bird, self.known.clone(), &self.verdicts);
        self.verdicts.retain(|service, _| known.iter().any(|(name, _)| *name == &**service));
    }

    fn file(&self) -> PrefixFile {
        prefix_file::parse(&fs::read(&self.bird.conf).unwrap(), Family::V4)
    }

    /// The file is sound, readable by BIRD, lists this, and BIRD is to be told.
    fn expect(&self, table: &Table, prefixes: &[&str]) {
        let PrefixFile { variable, prefixes: found, flaw, .. } = self.file();
        assert_eq!((flaw, variable.as_deref()), (None, Some("ACAST_PS_ADVERTISE")));
        assert_eq!(found, prefixes.iter().copied().map(prefix).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&self.bird.conf).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(*table.levels().in_file, *found);
        assert!(table.is_due() && !table.levels().in_sync);
    }

    fn told(&self, table: &mut Table) {
        table.took(&table.tell());
        assert!(!table.is_due());
        assert!(table.levels().in_sync);
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
    assert_eq!(table.held_until(&desk.verdicts, desk.now), None);
    desk.told(&mut table);
    assert_eq!(table.earliest(desk.now), None);
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
    assert_eq!(desk.step(&mut table), [""; 0]);
    assert!(!table.is_due(), "a verdict that changes nothing");
}

#[test]
fn an_address_that_is_not_assigned_is_out_whatever_the_state() {
    let mut desk = Desk::listing(&[DUMMY, A]);
    let mut table = desk.open();
    desk.step(&mut table);
    let verdict = Verdict {
        service: "a".into(),
        state: State::Up,
        missing: BTreeSet::from([prefix(A)]),
        undecided: BTreeSet::new(),
    };
    desk.verdicts.insert("a".into(), verdict);
    table.news();
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
    let mut table = Table::open(Family::V4, &desk.bird, desk.known.clone(), true, MINUTE);
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
        table.touched();
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
    table.touched();
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
    table.touched();
    desk.step(&mut table);
    assert!(!table.is_due());
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
        assert!(!table.is_due(), "BIRD is not told of a file that is not there");
        let problem = table.levels().problem.unwrap().to_string();
        assert!(problem.starts_with("failed to write Bird configuration: cannot create"), "{problem}");
    }
    assert!(desk.now - start >= Duration::from_millis(700), "tried ever more slowly");
    mv(&hidden, &parent);
    assert_eq!(desk.step(&mut table), ["-a"]);
    assert_eq!(table.levels().problem, None);
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
    table.touched();
    desk.step(&mut table);
    assert!(!table.is_due() && !table.levels().in_sync);
    fs::remove_dir(&desk.bird.conf).unwrap();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A, B]);
}

#[test]
fn a_list_from_nothing_is_held_until_every_service_had_its_verdict_or_its_time() {
    for tampered in [None, Some(""), Some("define ACAST_PS_ADVERTISE =\n")] {
        let mut desk = Desk::new();
        if let Some(text) = tampered {
            desk.put(text);
        }
        let mut table = desk.open();
        desk.step(&mut table);
        desk.expect(&table, &[DUMMY]);
        let until = table.held_until(&desk.verdicts, desk.now).unwrap();
        desk.verdict(&mut table, "a", State::Up);
        desk.step(&mut table);
        assert_eq!(table.held_until(&desk.verdicts, desk.now), Some(until));
        desk.verdict(&mut table, "b", State::Up);
        assert!(
            table.held_until(&desk.verdicts, desk.now).is_some_and(|at| at > desk.now),
            "the last verdict is not in the file yet"
        );
        desk.step(&mut table);
        assert_eq!(table.held_until(&desk.verdicts, desk.now), None);
        desk.expect(&table, &[DUMMY, A, B]);

        let mut late = desk.open();
        assert_eq!(late.held_until(&Verdicts::new(), desk.now), None, "{A} is legible now");
        fs::remove_file(&desk.bird.conf).unwrap();
        late = desk.open();
        desk.step(&mut late);
        let until = late.held_until(&Verdicts::new(), desk.now).unwrap();
        assert_eq!(late.held_until(&Verdicts::new(), until), None);
    }
}

/// Whatever ends the daemon while the list is held, the next start does not take that list for what was advertised.
#[test]
fn a_held_list_is_held_again_by_the_next_start_until_it_is_told() {
    let mut desk = Desk::new();
    desk.put("garbled");
    for verdicts in [vec![], vec![], vec!["a"], vec![]] {
        let mut table = desk.open();
        desk.verdicts.clear();
        desk.step(&mut table);
        for service in verdicts {
            desk.verdict(&mut table, service, State::Up);
            desk.step(&mut table);
        }
        assert!(table.held_until(&desk.verdicts, desk.now).is_some() && desk.file().held);
    }
    assert_eq!(desk.file().prefixes, [DUMMY, A].map(prefix));
    // Broken once more, on the way to the next start.
    let whole = fs::read_to_string(&desk.bird.conf).unwrap();
    desk.put(&whole[..whole.len() - 4]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);
    assert!(table.held_until(&desk.verdicts, desk.now).is_some());
    // The time is over: the mark goes first.
    let until = desk.now + MINUTE * 2;
    assert!(table.held_until(&desk.verdicts, until).is_some_and(|at| at > until));
    desk.now = until;
    desk.step(&mut table);
    assert!(table.held_until(&desk.verdicts, desk.now).is_none() && !desk.file().held);
    desk.expect(&table, &[DUMMY, A]);
    desk.told(&mut table);
    assert_eq!(table.earliest(desk.now), None);
    let mut next = desk.open();
    assert_eq!(next.held_until(&desk.verdicts, desk.now), None);
}

#[test]
fn with_the_last_verdict_the_mark_goes_in_the_same_write() {
    let mut desk = Desk::new();
    let mut table = desk.open();
    for (service, held) in [("a", true), ("b", false)] {
        desk.verdict(&mut table, service, State::Up);
        desk.step(&mut table);
        assert_eq!(desk.file().held, held);
    }
    assert_eq!(table.held_until(&desk.verdicts, desk.now), None);
    assert_eq!(table.earliest(desk.now), None, "there is nothing more to write");
}

#[test]
fn a_mark_that_cannot_be_taken_off_does_not_keep_bird_from_the_list() {
    let mut desk = Desk::new();
    let mut table = desk.open();
    desk.step(&mut table);
    table.problem = Some("the disk is full".to_string());
    assert_eq!(table.held_until(&desk.verdicts, desk.now + MINUTE * 2), None);
    assert!(table.is_due() && desk.file().held);
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
        assert_eq!(table.held_until(&desk.verdicts, desk.now).is_some(), held);
    };
    check(&|desk| desk.put(&desk.text(&[DUMMY, A, B])), false, &[DUMMY, A, B]);
    check(&|desk| desk.put(&desk.text(&[DUMMY, B])), false, &[DUMMY, B]);
    check(&|desk| desk.put("broken still"), false, &[DUMMY, A]);
    let marked = |desk: &Desk| {
        let mut text = desk.text(&[DUMMY]);
        prefix_file::mark_held(&mut text);
        desk.put(&text);
    };
    check(&marked, true, &[DUMMY]);
}

#[test]
fn what_is_legible_in_a_broken_file_counts_as_listed() {
    let mut desk = Desk::new();
    let whole = desk.text(&[DUMMY, A, STRANGER, B]);
    desk.put(&whole[..whole.len() - 12]);
    let mut table = desk.open();
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY, A]);
    assert_eq!(table.held_until(&desk.verdicts, desk.now), None);
}

#[test]
fn the_file_behind_a_link_is_replaced() {
    let desk = Desk::listing(&[DUMMY, A]);
    let link = desk.dir.path().join("link.conf");
    symlink("prefixes.conf", &link).unwrap();
    let bird = Bird { conf: link.clone(), ..desk.bird.clone() };
    let mut table = Table::open(Family::V4, &bird, desk.known.clone(), false, MINUTE);
    let mut desk = desk;
    desk.verdict(&mut table, "a", State::Down);
    desk.step(&mut table);
    desk.expect(&table, &[DUMMY]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn services_with_commands_of_their_own_need_no_other() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    desk.known.iter_mut().for_each(|named| named.custom = true);
    let mut table = desk.open();
    desk.step(&mut table);
    assert!(!table.is_due() && table.levels().in_sync);
    desk.verdict(&mut table, "a", State::Down);
    assert_eq!(desk.step(&mut table), ["-a"]);
    assert!(!table.is_due() && !table.levels().in_sync, "its own command has to tell BIRD");
    // And nothing else does.
    desk.verdict(&mut table, "b", State::Up);
    assert_eq!(desk.step(&mut table), [""; 0]);
    assert!(!table.levels().in_sync);
    let told = table.tell();
    let tamper = |desk: &mut Desk, table: &mut Table| {
        desk.put("");
        table.touched();
        assert_eq!(desk.step(table), [""; 0]);
    };
    tamper(&mut desk, &mut table);
    assert!(!table.levels().in_sync);
    table.took(&told);
    assert!(table.levels().in_sync);
    tamper(&mut desk, &mut table);
    assert!(table.levels().in_sync, "the file is again what BIRD was told, and nobody can tell it once more");

    // With a command of the family's own there is a reconfigure at start, and one for what no service's command tells.
    desk.bird.reconfigure_cmd_is_set = true;
    let mut table = desk.open();
    desk.step(&mut table);
    assert!(table.is_due());
    desk.told(&mut table);
    desk.verdict(&mut table, "a", State::Up);
    assert_eq!(desk.step(&mut table), ["+a"]);
    assert!(!table.is_due());
    desk.put("");
    table.touched();
    desk.step(&mut table);
    assert!(table.is_due());
}

/// What the first start leaves of a list with [`A`] and [`B`], of which `a` has `on_boot = withdraw`.
fn first_list(desk: &Desk) -> Vec<Prefix> {
    let mut known = desk.known.clone();
    known[0].on_boot = true;
    let mut table = Table::open(Family::V4, &desk.bird, known, false, MINUTE);
    let changed = table.converge(&desk.verdicts, desk.now);
    let list = desk.file().prefixes;
    assert_eq!(changed.len(), 3 - list.len(), "the change is told");
    list
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
fn a_boot_is_remembered_only_where_someone_wants_it_and_after_the_list() {
    let desk = Desk::listing(&[DUMMY, A, B]);
    let boot = desk.dir.path().join(".prefixes.conf.boot");
    desk.open().converge(&desk.verdicts, desk.now);
    assert!(!boot.exists());
    let mut known = desk.known.clone();
    known[0].on_boot = true;
    Table::open(Family::V4, &desk.bird, known, false, MINUTE);
    assert!(!boot.exists(), "the list still holds what is not trusted");
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
    assert!(!table.is_due() && table.levels().in_sync);
    assert_eq!(fs::metadata(&desk.bird.conf).unwrap().modified().unwrap(), before);
    assert_eq!(table.earliest(desk.now), None);
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
        assert!(!table.is_due());
        assert_eq!(*table.levels().in_file, [DUMMY, B].map(prefix));
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
    assert_eq!(desk.step(&mut table), ["-c"]);
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
    let undecided = BTreeSet::from([prefix(B), prefix(c)]);
    let verdict = |state, undecided| Verdict { service: "a".into(), state, missing: BTreeSet::new(), undecided };
    for state in [State::Up, State::Down, State::Up] {
        desk.verdicts.insert("a".into(), verdict(state, undecided.clone()));
        table.news();
        desk.step(&mut table);
        let list: &[&str] = if state == State::Up { &[A, B] } else { &[B] };
        let found: HashSet<Prefix> = table.levels().in_file.iter().copied().collect();
        assert_eq!(found, list.iter().chain(&[DUMMY]).copied().map(prefix).collect(), "{state:?}");
    }
    desk.verdicts.insert("a".into(), verdict(State::Up, BTreeSet::new()));
    table.news();
    desk.step(&mut table);
    assert!(table.levels().in_file.contains(&prefix(c)));
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
    assert!(table.is_due());
    desk.told(&mut table);
    assert_eq!(table.earliest(desk.now), None);
}

/// The command of the service that went is the only one that can tell BIRD.
#[test]
fn a_service_that_goes_tells_so_by_its_own_command() {
    let mut desk = Desk::listing(&[DUMMY, A, B]);
    desk.known.iter_mut().for_each(|named| named.custom = true);
    let mut table = desk.open();
    desk.step(&mut table);
    let b = desk.known[1..].to_vec();
    table.reload(&desk.bird, b, &desk.verdicts);
    assert_eq!(desk.step(&mut table), ["-a"]);
    assert!(!table.is_due() && !table.levels().in_sync);
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
        let named = |prefix: &Prefix| Named { prefix: *prefix, service: "a".into(), custom: false, on_boot: false };
        desk.known = all.iter().map(named).collect();
        let mut table = desk.open();
        let (missing, undecided): (BTreeSet<_>, BTreeSet<_>) = all
            .iter()
            .partition(|prefix| matches!(prefix.address(), std::net::IpAddr::V4(ip) if ip.octets()[3] % 2 == 0));
        for state in [State::Up, State::Down, State::Up] {
            let (missing, undecided) = (missing.clone(), undecided.clone());
            desk.verdicts.insert("a".into(), Verdict { service: "a".into(), state, missing, undecided });
            table.news();
            desk.step(&mut table);
            desk.verdict(&mut table, "a", state);
            desk.step(&mut table);
            assert!(!table.question().parts().is_empty());
            desk.told(&mut table);
        }
        table.reload(&desk.bird, desk.known.clone(), &desk.verdicts);
        desk.step(&mut table);
        assert_eq!(table.levels().in_file.len(), n + 1);
    });
}
