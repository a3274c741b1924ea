//! Tests with real directories, and with a small tmpfs for a full disk.

use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::time::Duration;

use super::*;
use crate::sys::atomic_file::{self, Durability};
use crate::testing::isolated::{alone, this_program};

/// A prefix file and its history in a temporary directory.
struct Sandbox {
    directory: tempfile::TempDir,
    history: History,
}

/// The text of prefix file number `n`, and its list.
fn list(n: usize, family: Family) -> (String, Vec<Prefix>) {
    let prefix: Prefix = match family {
        Family::V4 => format!("10.0.{}.{}/32", n / 256, n % 256),
        Family::V6 => format!("2001:db8::{n:x}/128"),
    }
    .parse()
    .unwrap();
    (prefix_file::render("A", None, &[prefix], "2026-11-22 10:05:35.130014", 1), vec![prefix])
}

impl Sandbox {
    fn new(limit: usize) -> Sandbox {
        let directory = tempfile::tempdir().unwrap();
        let history = History::new(&directory.path().join("p.conf"), Family::V4, limit);
        Sandbox { directory, history }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Archives the file, then writes list number `n`, as `PrefixList` does.
    fn write(&mut self, n: usize) {
        write(&mut self.history, n);
    }

    fn names(&self) -> Vec<String> {
        names(&self.at("history"))
    }

    /// The problem of the last step.
    fn problem(&self) -> String {
        let problem = self.history.problem.problem().unwrap_or_default();
        problem.replace(&self.directory.path().display().to_string(), "DIR")
    }

    fn newest(&self) -> Option<Vec<Prefix>> {
        newest_good(&self.history.conf, self.history.family)
    }

    /// Adds a copy to the history that this program did not make.
    fn plant(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at("history")).unwrap();
        put(&self.at("history").join(name), text);
    }
}

fn write(history: &mut History, n: usize) {
    history.archive();
    let text = list(n, history.family).0;
    atomic_file::replace(&history.conf, text.as_bytes(), Durability::Unsynced).unwrap();
}

fn put(path: &Path, text: &str) {
    use std::io::Write;
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_old_file_is_kept_as_a_hard_link() {
    let mut sandbox = Sandbox::new(10);
    sandbox.write(1);
    assert_eq!(sandbox.names(), [""; 0], "there was no old file");
    let old = fs::metadata(sandbox.at("p.conf")).unwrap();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    sandbox.write(2);
    let [name] = &sandbox.names()[..] else { panic!("{:?}", sandbox.names()) };
    let copy = fs::metadata(sandbox.at("history").join(name)).unwrap();
    assert_eq!((copy.ino(), copy.mtime_nsec()), (old.ino(), old.mtime_nsec()));
    assert!((name.parse::<f64>().unwrap() - before).abs() < 60.0, "{name}");
    assert!(name.ends_with('4') && name.len() == 20, "{name}");
    assert_eq!(sandbox.newest(), Some(list(1, Family::V4).1));
    sandbox.write(3);
    assert_eq!(sandbox.newest(), Some(list(2, Family::V4).1));
    assert_eq!((sandbox.names().len(), sandbox.problem().as_str()), (2, ""));
}

#[test]
fn names_are_parsed() {
    let check = |name: &str, expected: Option<(u64, Option<Family>)>| {
        assert_eq!(Copy::parse(name).map(|copy| (copy.steps, copy.family)), expected, "{name}");
    };
    check("1763803000.1234567", Some((176380300012345670, None)));
    check("1763803000.5", Some((176380300050000000, None)));
    check("1763803000.000000014", Some((176380300000000001, Some(Family::V4))));
    check("1763803000.123456786", Some((176380300012345678, Some(Family::V6))));
    for name in [
        "",
        ".",
        "1.",
        ".1",
        "1",
        "1763803000.123456785",
        "1763803000.12345678",
        "1763803000.1234567894",
        "a.4",
        "1.4x",
        "+1.4",
        "12345678901.4",
        "1.4.4",
        "٣.4",
        "1.4 ",
    ] {
        check(name, None);
    }
    for family in Family::BOTH {
        for steps in [0, 1, STEPS_PER_SECOND - 1, STEPS_PER_SECOND, MAX_STEPS] {
            let copy = Copy::new(steps, family);
            assert_eq!(Copy::parse(&copy.name), Some(copy.clone()), "{copy:?}");
        }
    }
}

#[test]
fn the_number_of_copies_is_limited() {
    for limit in [0, 1, 3, 128] {
        let mut sandbox = Sandbox::new(limit);
        for n in 0..150 {
            sandbox.write(n);
            assert_eq!(sandbox.names().len(), n.min(limit));
        }
        assert_eq!(sandbox.newest(), (limit > 0).then(|| list(148, Family::V4).1));
        assert_eq!(sandbox.problem(), "");
    }
}

/// Two copies at the same instant, and a clock that is set back or was once far ahead.
#[test]
fn names_never_collide_and_sort_in_the_order_of_creation() {
    let mut sandbox = Sandbox::new(2);
    let ahead = "4000000000.5";
    sandbox.plant(ahead, &list(7, Family::V4).0);
    for n in 0..5 {
        sandbox.write(n);
    }
    assert_eq!(sandbox.names(), ["4000000000.500000034", "4000000000.500000044"]);
    assert_eq!(sandbox.newest(), Some(list(3, Family::V4).1));
    // A copy with the last possible name.
    let mut sandbox = Sandbox::new(2);
    sandbox.plant("9999999999.999999994", "");
    for n in 0..5 {
        sandbox.write(n);
    }
    assert_eq!(sandbox.names().len(), 2);
}

#[test]
fn a_file_is_archived_once_although_its_replacement_fails() {
    let mut sandbox = Sandbox::new(3);
    sandbox.write(0);
    sandbox.write(1);
    for _ in 0..10 {
        // Each time the write fails, and is tried again.
        sandbox.history.archive();
    }
    assert_eq!(sandbox.names().len(), 2);
    // Another process changed the file in place.
    put(&sandbox.at("p.conf"), "rubbish");
    sandbox.history.archive();
    assert_eq!(sandbox.names().len(), 3);
    assert_eq!(sandbox.newest(), Some(list(0, Family::V4).1));
}

#[test]
fn the_families_share_a_directory() {
    let mut v4 = Sandbox::new(3);
    let mut v6 = History::new(&v4.at("p6.conf"), Family::V6, 5);
    for n in 0..20 {
        v4.write(n);
        write(&mut v6, n);
    }
    let count = |digit: char| v4.names().iter().filter(|name| name.ends_with(digit)).count();
    assert_eq!((count('4'), count('6')), (3, 5));
    assert_eq!(v4.newest(), Some(list(18, Family::V4).1));
    assert_eq!(newest_good(&v6.conf, Family::V6), Some(list(18, Family::V6).1));
}

/// The family of such a copy follows from its prefixes, and each copy is read once.
#[test]
fn copies_of_the_original_count() {
    let mut sandbox = Sandbox::new(4);
    for n in 0..4 {
        sandbox.plant(&format!("1763803000.12345{n}"), &list(100 + n, Family::V4).0);
        sandbox.plant(&format!("1763803001.1{n}"), &list(n, Family::V6).0);
    }
    sandbox.plant("1763803000.0", "nothing to lose");
    assert_eq!(sandbox.newest(), Some(list(103, Family::V4).1));
    let v6 = |names: Vec<String>| names.iter().filter(|name| name.starts_with("1763803001.")).count();
    for n in 0..6 {
        sandbox.write(n);
        let (all, v6) = (sandbox.names().len(), v6(sandbox.names()));
        assert_eq!((v6, all), (4, 4 + 4), "{:?}", sandbox.names());
    }
    // The family of a known copy is not read again.
    assert_eq!(sandbox.history.original_copies.len(), 4);
    put(&sandbox.at("history/1763803001.10"), &list(1, Family::V4).0);
    sandbox.write(6);
    assert_eq!(v6(sandbox.names()), 4);
    // A new process reads it again.
    History::new(&sandbox.at("p.conf"), Family::V4, 4).archive();
    assert_eq!(v6(sandbox.names()), 3);
}

#[test]
fn only_regular_files_with_names_of_copies_are_removed() {
    let mut sandbox = Sandbox::new(1);
    let outside = sandbox.at("outside");
    put(&outside, "outside");
    for name in ["notes", "1763803000.12345678", ".1763803000.1", "1763803000.123456784.bak"] {
        sandbox.plant(name, "");
    }
    fs::create_dir(sandbox.at("history/1763803000.000000014")).unwrap();
    symlink(&outside, sandbox.at("history/1763803000.000000024")).unwrap();
    symlink(&outside, sandbox.at("history/1763803000.3")).unwrap();
    let kept = sandbox.names();
    for n in 0..5 {
        sandbox.write(n);
    }
    assert!(kept.iter().all(|name| sandbox.names().contains(name)), "{:?}", sandbox.names());
    assert_eq!((sandbox.names().len(), sandbox.problem().as_str()), (kept.len() + 1, ""));
    assert_eq!(sandbox.newest(), Some(list(3, Family::V4).1));
    assert_eq!(fs::read_to_string(outside).unwrap(), "outside");
}

#[test]
fn a_link_as_the_directory_is_not_followed() {
    let mut sandbox = Sandbox::new(1);
    let elsewhere = tempfile::tempdir().unwrap();
    for n in 0..3 {
        put(&elsewhere.path().join(format!("1763803000.{n}")), &list(n, Family::V4).0);
    }
    symlink(elsewhere.path(), sandbox.at("history")).unwrap();
    sandbox.write(0);
    sandbox.write(1);
    assert_eq!(names(elsewhere.path()).len(), 3);
    assert_eq!(sandbox.newest(), None);
    assert_eq!(
        sandbox.problem(),
        "cannot keep old prefix files in DIR/history: it is not a directory, or a link to one, which is not followed"
    );
    fs::remove_file(sandbox.at("history")).unwrap();
    sandbox.write(2);
    assert_eq!((sandbox.names().len(), sandbox.problem().as_str()), (1, ""));
}

#[test]
fn a_failure_is_a_warning_and_the_next_archive_works() {
    let mut sandbox = Sandbox::new(3);
    sandbox.write(0);
    // The directory is deleted and created again.
    sandbox.write(1);
    fs::remove_dir_all(sandbox.at("history")).unwrap();
    sandbox.write(2);
    assert_eq!((sandbox.names().len(), sandbox.problem().as_str()), (1, ""));
    // A file is in its place.
    fs::remove_dir_all(sandbox.at("history")).unwrap();
    put(&sandbox.at("history"), "");
    sandbox.write(3);
    assert!(sandbox.problem().starts_with("cannot keep old prefix files in DIR/history: it is not a directory"));
    assert_eq!(sandbox.newest(), None);
    fs::remove_file(sandbox.at("history")).unwrap();
    // A link is in the place of the prefix file, or the directory is missing.
    fs::hard_link(sandbox.at("p.conf"), sandbox.at("real")).unwrap();
    fs::remove_file(sandbox.at("p.conf")).unwrap();
    symlink(sandbox.at("real"), sandbox.at("p.conf")).unwrap();
    sandbox.history.archive();
    assert_eq!(sandbox.problem(), "failed to copy DIR/p.conf to DIR/history: it is not a regular file");
    assert_eq!(sandbox.names(), [""; 0]);
    let mut missing = History::new(&sandbox.at("missing/p.conf"), Family::V4, 3);
    missing.archive();
    assert!(missing.problem.problem().unwrap().ends_with("/missing/history: No such file or directory (os error 2)"));
}

#[test]
fn the_umask_decides_the_mode_of_the_directory() {
    let name = "bird::history::tests::the_umask_decides_the_mode_of_the_directory";
    if !alone(name, &["sh", "-c", "umask 027; exec \"$@\"", "sh"], &this_program()) {
        return;
    }
    let mut sandbox = Sandbox::new(3);
    sandbox.write(0);
    assert_eq!(fs::metadata(sandbox.at("history")).unwrap().mode() & 0o7777, 0o750);
}

/// The kernel refuses a hard link to another device.
#[test]
fn a_file_is_copied_if_a_hard_link_is_refused() {
    let name = "bird::history::tests::a_file_is_copied_if_a_hard_link_is_refused";
    let mount = "mount -t tmpfs -o size=1m none /mnt && mkdir /mnt/history && \
                 mount -t tmpfs -o size=64k none /mnt/history && exec \"$@\"";
    if !alone(name, &["unshare", "-rm", "sh", "-c", mount, "sh"], &this_program()) {
        return;
    }
    let conf = Path::new("/mnt/p.conf");
    let mut history = History::new(conf, Family::V4, 3);
    write(&mut history, 0);
    fs::set_permissions(conf, fs::Permissions::from_mode(0o640)).unwrap();
    let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(conf).unwrap().set_modified(long_ago).unwrap();
    let old = fs::metadata(conf).unwrap();
    write(&mut history, 1);
    let at = |name: &str| Path::new("/mnt/history").join(name);
    let [copy] = &names(&at(""))[..] else { panic!("{:?}", names(&at(""))) };
    let found = fs::metadata(at(copy)).unwrap();
    assert_eq!((found.mode(), found.modified().unwrap()), (old.mode(), long_ago));
    assert_ne!(found.dev(), old.dev());
    assert_eq!(newest_good(conf, Family::V4), Some(list(0, Family::V4).1));
    // The disk is full: no partial copy is left, and copies are made again once there is space.
    put(&at("ballast"), "");
    let full =
        io::Write::write_all(&mut fs::File::options().append(true).open(at("ballast")).unwrap(), &[b'x'; 70_000]);
    assert!(full.is_err());
    write(&mut history, 2);
    let problem = history.problem.problem();
    assert_eq!(problem, Some("failed to copy /mnt/p.conf to /mnt/history: No space left on device (os error 28)"));
    assert_eq!(names(&at("")).len(), 2);
    fs::remove_file(at("ballast")).unwrap();
    write(&mut history, 3);
    assert_eq!((names(&at("")).len(), history.problem.problem()), (2, None));
}

#[test]
fn a_read_only_directory_is_reported() {
    let name = "bird::history::tests::a_read_only_directory_is_reported";
    let mount = "mount -t tmpfs -o size=1m none /mnt && mkdir /mnt/history && touch /mnt/history/1763803000.5 && \
                 mount -t tmpfs -o ro none /mnt/history && exec \"$@\"";
    if !alone(name, &["unshare", "-rm", "sh", "-c", mount, "sh"], &this_program()) {
        return;
    }
    let mut history = History::new(Path::new("/mnt/p.conf"), Family::V4, 3);
    write(&mut history, 0);
    write(&mut history, 1);
    let problem = history.problem.problem();
    assert_eq!(problem, Some("failed to copy /mnt/p.conf to /mnt/history: Read-only file system (os error 30)"));
}

#[test]
fn the_newest_good_copy_is_found_among_flawed_ones() {
    let sandbox = Sandbox::new(3);
    assert_eq!(sandbox.newest(), None);
    sandbox.plant("1763803000.1", &list(1, Family::V4).0);
    sandbox.plant("1763803000.200000014", &list(2, Family::V4).0);
    sandbox.plant("1763803000.3", &list(3, Family::V6).0);
    sandbox.plant("1763803000.400000016", &list(4, Family::V6).0);
    sandbox.plant("1763803000.5", "");
    sandbox.plant("1763803000.600000014", &list(6, Family::V4).0[..150]);
    sandbox.plant("1763803000.7x", &list(7, Family::V4).0);
    rustix::fs::mknodat(CWD, sandbox.at("history/1763803000.8"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(sandbox.newest(), Some(list(2, Family::V4).1));
    assert_eq!(newest_good(&sandbox.history.conf, Family::V6), Some(list(4, Family::V6).1));
    // A provisional list was never advertised.
    let mut provisional = list(5, Family::V4).0;
    prefix_file::mark_provisional(&mut provisional);
    sandbox.plant("9999999999.000000004", &provisional);
    assert_eq!(sandbox.newest(), Some(list(2, Family::V4).1));
}

#[test]
fn a_history_exists_if_a_copy_may_belong_to_the_family() {
    let exists_for = |sandbox: &Sandbox| [Family::V4, Family::V6].map(|family| exists(&sandbox.at("p.conf"), family));
    let sandbox = Sandbox::new(3);
    assert_eq!(exists_for(&sandbox), [false, false], "there is no directory");
    sandbox.plant("notes", "");
    fs::create_dir(sandbox.at("history/1763803000.123456784")).unwrap();
    assert_eq!(exists_for(&sandbox), [false, false], "it has no copy");
    sandbox.plant("1763803000.123456786", "broken");
    assert_eq!(exists_for(&sandbox), [false, true]);
    sandbox.plant("1763803000.123456794", "broken");
    assert_eq!(exists_for(&sandbox), [true, true]);
    // A copy of the original does not name its family.
    let sandbox = Sandbox::new(3);
    sandbox.plant("1763803000.1234567", "broken");
    assert_eq!(exists_for(&sandbox), [true, true]);
    assert!(!exists(&sandbox.at("elsewhere/p.conf"), Family::V4));
}
