//! Real directories, on a small tmpfs of its own where the disk must be full.

use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::time::Duration;

use super::*;
use crate::sys::atomic_file::{self, Durability};
use crate::testing::isolated::{alone, this_program};

/// A prefix file, its history and its text by number.
struct Sandbox {
    directory: tempfile::TempDir,
    history: History,
}

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
    fn new(most: usize) -> Sandbox {
        let directory = tempfile::tempdir().unwrap();
        let history = History::new(&directory.path().join("p.conf"), Family::V4, most);
        Sandbox { directory, history }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes list number `n`, as the table does: the old file is archived before.
    fn write(&mut self, n: usize) {
        write(&mut self.history, n);
    }

    fn names(&self) -> Vec<String> {
        names(&self.at("history"))
    }

    /// What the last step warned of.
    fn problem(&self) -> String {
        let problem = self.history.problem.clone().unwrap_or_default();
        problem.replace(&self.directory.path().display().to_string(), "DIR")
    }

    fn newest(&self) -> Option<Vec<Prefix>> {
        newest_good(&self.history.conf, self.history.family)
    }

    /// A copy in the history that this program did not make.
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
fn the_old_file_is_kept_by_a_link() {
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
fn names_are_read() {
    let check = |name: &str, expected: Option<(u64, Option<Family>)>| {
        assert_eq!(Copy::read(name).map(|copy| (copy.steps, copy.family)), expected, "{name}");
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
        for steps in [0, 1, STEPS - 1, STEPS, 9_999_999_999 * STEPS + STEPS - 1] {
            let copy = Copy::new(steps, family);
            assert_eq!(Copy::read(&copy.name), Some(copy.clone()), "{copy:?}");
        }
    }
}

#[test]
fn at_most_so_many_are_kept() {
    for most in [0, 1, 3, 128] {
        let mut sandbox = Sandbox::new(most);
        for n in 0..150 {
            sandbox.write(n);
            assert_eq!(sandbox.names().len(), n.min(most));
        }
        assert_eq!(sandbox.newest(), (most > 0).then(|| list(148, Family::V4).1));
        assert_eq!(sandbox.problem(), "");
    }
}

/// Two archives in one instant, and a clock that is set back or was once far ahead: the order is that of making.
#[test]
fn names_never_collide_and_keep_their_order() {
    let mut sandbox = Sandbox::new(2);
    let ahead = "4000000000.5";
    sandbox.plant(ahead, &list(7, Family::V4).0);
    for n in 0..5 {
        sandbox.write(n);
    }
    assert_eq!(sandbox.names(), ["4000000000.500000034", "4000000000.500000044"]);
    assert_eq!(sandbox.newest(), Some(list(3, Family::V4).1));
    // The last name there can be is no trap.
    let mut sandbox = Sandbox::new(2);
    sandbox.plant("9999999999.999999994", "");
    for n in 0..5 {
        sandbox.write(n);
    }
    assert_eq!(sandbox.names().len(), 2);
}

#[test]
fn a_file_that_is_not_replaced_is_kept_once() {
    let mut sandbox = Sandbox::new(3);
    sandbox.write(0);
    sandbox.write(1);
    for _ in 0..10 {
        // Each time the write fails, and is tried again.
        sandbox.history.archive();
    }
    assert_eq!(sandbox.names().len(), 2);
    // Someone changed it in place: that is another text.
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

/// The original names no family: what a copy lists tells it, and each is read once.
#[test]
fn the_originals_copies_are_taken_over() {
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
    // What is known of a copy is not read again.
    assert_eq!(sandbox.history.originals.len(), 4);
    put(&sandbox.at("history/1763803001.10"), &list(1, Family::V4).0);
    sandbox.write(6);
    assert_eq!(v6(sandbox.names()), 4);
    // And what is not, is.
    History::new(&sandbox.at("p.conf"), Family::V4, 4).archive();
    assert_eq!(v6(sandbox.names()), 3);
}

#[test]
fn only_regular_files_of_such_names_are_removed() {
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
fn a_link_as_the_directory_leads_nowhere() {
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
fn what_fails_is_a_warning_and_goes_on() {
    let mut sandbox = Sandbox::new(3);
    sandbox.write(0);
    // It is deleted, and made again.
    sandbox.write(1);
    fs::remove_dir_all(sandbox.at("history")).unwrap();
    sandbox.write(2);
    assert_eq!((sandbox.names().len(), sandbox.problem().as_str()), (1, ""));
    // A file stands there.
    fs::remove_dir_all(sandbox.at("history")).unwrap();
    put(&sandbox.at("history"), "");
    sandbox.write(3);
    assert!(sandbox.problem().starts_with("cannot keep old prefix files in DIR/history: it is not a directory"));
    assert_eq!(sandbox.newest(), None);
    fs::remove_file(sandbox.at("history")).unwrap();
    // A link, or no file at all, stands where the prefix file should.
    fs::hard_link(sandbox.at("p.conf"), sandbox.at("real")).unwrap();
    fs::remove_file(sandbox.at("p.conf")).unwrap();
    symlink(sandbox.at("real"), sandbox.at("p.conf")).unwrap();
    sandbox.history.archive();
    assert_eq!(sandbox.problem(), "failed to copy DIR/p.conf to DIR/history: it is not a regular file");
    assert_eq!(sandbox.names(), [""; 0]);
    let mut lost = History::new(&sandbox.at("missing/p.conf"), Family::V4, 3);
    lost.archive();
    assert!(lost.problem.unwrap().ends_with("/missing/history: No such file or directory (os error 2)"));
}

#[test]
fn the_directorys_mode_follows_the_umask() {
    let name = "bird::history::tests::the_directorys_mode_follows_the_umask";
    if !alone(name, &["sh", "-c", "umask 027; exec \"$@\"", "sh"], &this_program()) {
        return;
    }
    let mut sandbox = Sandbox::new(3);
    sandbox.write(0);
    assert_eq!(fs::metadata(sandbox.at("history")).unwrap().mode() & 0o7777, 0o750);
}

/// A link to another device is refused by the kernel.
#[test]
fn where_links_are_refused_it_is_a_copy() {
    let name = "bird::history::tests::where_links_are_refused_it_is_a_copy";
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
    // No room for a copy: nothing half is left, and it goes on as soon as there is room.
    put(&at("ballast"), "");
    let full =
        io::Write::write_all(&mut fs::File::options().append(true).open(at("ballast")).unwrap(), &[b'x'; 70_000]);
    assert!(full.is_err());
    write(&mut history, 2);
    let problem = history.problem.clone().unwrap();
    assert_eq!(problem, "failed to copy /mnt/p.conf to /mnt/history: No space left on device (os error 28)");
    assert_eq!(names(&at("")).len(), 2);
    fs::remove_file(at("ballast")).unwrap();
    write(&mut history, 3);
    assert_eq!((names(&at("")).len(), history.problem.clone()), (2, None));
}

#[test]
fn an_unwritable_directory() {
    let name = "bird::history::tests::an_unwritable_directory";
    let mount = "mount -t tmpfs -o size=1m none /mnt && mkdir /mnt/history && touch /mnt/history/1763803000.5 && \
                 mount -t tmpfs -o ro none /mnt/history && exec \"$@\"";
    if !alone(name, &["unshare", "-rm", "sh", "-c", mount, "sh"], &this_program()) {
        return;
    }
    let mut history = History::new(Path::new("/mnt/p.conf"), Family::V4, 3);
    write(&mut history, 0);
    write(&mut history, 1);
    let problem = history.problem.unwrap();
    assert_eq!(problem, "failed to copy /mnt/p.conf to /mnt/history: Read-only file system (os error 30)");
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
    // A list from nothing is no copy of what was advertised.
    let mut held = list(5, Family::V4).0;
    prefix_file::mark_provisional(&mut held);
    sandbox.plant("9999999999.000000004", &held);
    assert_eq!(sandbox.newest(), Some(list(2, Family::V4).1));
}

#[test]
fn a_history_exists_where_it_has_a_copy_that_may_be_the_familys() {
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
    // Of the original's, which do not name their family.
    let sandbox = Sandbox::new(3);
    sandbox.plant("1763803000.1234567", "broken");
    assert_eq!(exists_for(&sandbox), [true, true]);
    assert!(!exists(&sandbox.at("elsewhere/p.conf"), Family::V4));
}
