//! Real files; on a small tmpfs where the disk must be full.

use proptest::prelude::*;

use super::*;
use crate::testing::isolated::{alone, this_program};

fn log(path: &Path, max_bytes: u64, backups: usize) -> RotatingFile {
    RotatingFile::new(format!("log_file {}", path.display()), path.into(), Rotation { max_bytes, backups })
}

fn backup(path: &Path, n: usize) -> PathBuf {
    PathBuf::from(format!("{}.{n}", path.display()))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// FILE.N … FILE.1, FILE, one after another.
fn all(path: &Path) -> String {
    let mut paths: Vec<_> = (1..).map(|n| backup(path, n)).take_while(|path| path.exists()).collect();
    paths.reverse();
    paths.push(path.into());
    paths.iter().map(|path| text(path)).collect()
}

fn rename(from: &Path, to: &Path) {
    rustix::fs::rename(from, to).unwrap();
}

/// Writes lines of these lengths one by one, then all at once, and compares the sizes of FILE, FILE.1, FILE.2 …
fn check(lengths: &[usize], max_bytes: u64, backups: usize, expected: &[u64]) {
    let lines: Vec<Vec<u8>> = lengths.iter().map(|length| [&vec![b'x'; length - 1], &b"\n"[..]].concat()).collect();
    for batches in [lines.clone(), vec![lines.concat()]] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = log(&path, max_bytes, backups);
        for batch in batches {
            log.put(&batch).unwrap();
        }
        let mut sizes = vec![fs::metadata(&path).unwrap().len()];
        sizes.extend((1..).map_while(|n| Some(fs::metadata(backup(&path, n)).ok()?.len())));
        assert_eq!(sizes, expected, "{lengths:?} {max_bytes} {backups}");
    }
}

#[test]
fn sizes_are_those_of_python() {
    check(&[100; 50], 1000, 3, &[500, 900, 900, 900]);
    check(&[100; 50], 1001, 3, &[1000, 1000, 1000, 1000]);
    check(&[100; 50], 999, 1, &[500, 900]);
    check(&[100; 50], 0, 3, &[5000]);
    check(&[100; 50], 1000, 0, &[5000]);
    check(&[999], 1000, 3, &[999]);
    check(&[999, 1], 1000, 3, &[1, 999]);
    check(&[500, 499, 1], 1000, 3, &[1, 999]);
}

#[test]
fn a_line_longer_than_the_limit_has_a_file_of_its_own() {
    check(&[5000], 1000, 3, &[5000]);
    check(&[10, 5000, 10], 1000, 3, &[10, 5000, 10]);
    check(&[5; 4], 1, 9, &[5, 5, 5, 5]);
}

proptest! {
    #[test]
    fn no_line_is_cut_or_lost_or_moved(
        batches in prop::collection::vec(prop::collection::vec("[a-z]{0,40}", 0..9), 0..9),
        max_bytes in 0..100u64,
        restart: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = log(&path, max_bytes, 1000);
        let mut written = String::new();
        for batch in batches {
            let lines: String = batch.iter().map(|line| format!("{line}\n")).collect();
            file.put(lines.as_bytes()).unwrap();
            written += &lines;
            if restart {
                file = log(&path, max_bytes, 1000);
            }
        }
        prop_assert_eq!(if path.exists() { all(&path) } else { String::new() }, written);
        for n in 1.. {
            let Ok(text) = fs::read_to_string(backup(&path, n)) else { break };
            prop_assert!(text.ends_with('\n'));
            prop_assert!((text.len() as u64) < max_bytes || text.lines().count() == 1);
        }
    }
}

#[test]
fn what_others_do_to_the_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("log-20260101"));
    let mut log = log(&path, 0, 0);
    log.put(b"one\n").unwrap();
    rename(&path, &moved);
    log.put(b"two\n").unwrap();
    assert_eq!((text(&moved), text(&path)), ("one\n".into(), "two\n".into()));
    fs::remove_file(&path).unwrap();
    log.put(b"three\n").unwrap();
    assert_eq!(text(&path), "three\n");
    rename(&moved, &path);
    log.put(b"four\n").unwrap();
    assert_eq!(text(&path), "one\nfour\n");
    File::create(&path).unwrap();
    log.put(b"five\n").unwrap();
    assert_eq!(text(&path), "five\n");
}

#[test]
fn a_file_that_shrank_is_measured_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = log(&path, 100, 3);
    log.put(&[b'x'; 90]).unwrap();
    File::create(&path).unwrap();
    log.put(&[&[b'y'; 49][..], b"\n"].concat()).unwrap();
    assert_eq!((fs::metadata(&path).unwrap().len(), backup(&path, 1).exists()), (50, false));
}

#[test]
fn a_directory_that_vanishes_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (logs, path) = (dir.path().join("logs"), dir.path().join("logs/log"));
    let mut log = log(&path, 0, 0);
    let check = |log: &mut RotatingFile| {
        let loss = log.put(b"lost\nlost\n").unwrap_err();
        let why = loss.why.to_string().replace(dir.path().to_str().unwrap(), "DIR");
        let what = "No such file or directory (os error 2)";
        assert_eq!(why, format!("cannot open log_file DIR/logs/log: {what}; its lines are lost until that is mended"));
        assert_eq!(loss.lines, 2);
    };
    check(&mut log);
    fs::create_dir(&logs).unwrap();
    log.put(b"one\n").unwrap();
    fs::remove_dir_all(&logs).unwrap();
    check(&mut log);
    fs::create_dir(&logs).unwrap();
    log.put(b"two\n").unwrap();
    assert_eq!(text(&path), "two\n");
    // Moved with its directory, the file still has a name: no line is lost.
    rename(&logs, &dir.path().join("moved"));
    log.put(b"three\n").unwrap();
    assert_eq!(text(&dir.path().join("moved/log")), "two\nthree\n");
    fs::create_dir(&logs).unwrap();
    log.put(b"four\n").unwrap();
    assert_eq!(text(&path), "four\n");
}

#[test]
fn where_it_cannot_be_rotated_the_file_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::create_dir(backup(&path, 1)).unwrap();
    let mut log = log(&path, 10, 1);
    log.put(b"one\n").unwrap();
    let loss = log.put(b"two\nthree\nfour\n").unwrap_err();
    let why = loss.why.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    let what = "Is a directory (os error 21)";
    assert_eq!(why, format!("cannot rotate log_file DIR/log: {what}; it grows beyond log_maxbytes meanwhile"));
    assert_eq!((loss.lines, text(&path)), (0, "one\ntwo\nthree\nfour\n".into()));
    fs::remove_dir(backup(&path, 1)).unwrap();
    log.put(b"five\n").unwrap();
    assert_eq!(all(&path), "one\ntwo\nthree\nfour\nfive\n");
    assert_eq!(text(&path), "five\n");
}

#[test]
fn behind_a_link_the_target_is_rotated_and_the_link_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("real/log"), dir.path().join("link"));
    fs::create_dir(dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real/log", &link).unwrap();
    let mut log = log(&link, 10, 2);
    log.put(b"one\ntwo\nthree\nfour\n").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(!backup(&link, 1).exists());
    let rotated = [backup(&target, 2), backup(&target, 1), target.clone()].map(|path| text(&path));
    assert_eq!(rotated, ["one\ntwo\n", "three\n", "four\n"]);
    // Where it is pointed elsewhere that is where lines go.
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("real/other", &link).unwrap();
    log.put(b"five\nsix\nseven\n").unwrap();
    let other = dir.path().join("real/other");
    assert_eq!([backup(&other, 1), other].map(|path| text(&path)), ["five\nsix\n", "seven\n"]);
}

/// `/dev/stdout`, also where that is a file: another program opened it, under a name that may be
/// anybody's by now.
#[test]
fn what_is_open_already_is_not_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let open = File::create(&path).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)), &link).unwrap();
    let mut log = log(&link, 10, 2);
    log.put(b"one\ntwo\nthree\nfour\n").unwrap();
    log.put(b"five\n").unwrap();
    assert_eq!(text(&path), "one\ntwo\nthree\nfour\nfive\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn what_is_no_file_is_not_rotated() {
    let mut log = log(Path::new("/dev/null"), 10, 1);
    log.put(b"a line longer than the limit\nand another one\n").unwrap();
    let loss =
        RotatingFile::new("stderr_file /dev/full".into(), "/dev/full".into(), Rotation { max_bytes: 10, backups: 1 })
            .put(b"one\ntwo\n")
            .unwrap_err();
    let what = "No space left on device (os error 28)";
    let why = format!("cannot write to stderr_file /dev/full: {what}; its lines are lost until that is mended");
    assert_eq!((loss.lines, loss.why.to_string()), (2, why));
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let name = "log::rotating_file::tests::a_full_disk_costs_lines_and_nothing_else";
    let mount = "mount -t tmpfs -o size=64k none /mnt && exec \"$@\"";
    if !alone(name, &["unshare", "-rm", "sh", "-c", mount, "sh"], &this_program()) {
        return;
    }
    let (path, line) = (Path::new("/mnt/log"), [&[b'x'; 99][..], b"\n"].concat());
    let mut log = log(path, 0, 0);
    log.put(b"first\n").unwrap();
    let loss = log.put(&line.repeat(1000)).unwrap_err();
    assert!(loss.why.to_string().starts_with("cannot write to log_file /mnt/log: No space left on device"));
    let whole = fs::metadata(path).unwrap().len() as usize / 100;
    assert_eq!(loss.lines as usize, 1000 - whole, "what is not written whole is lost");
    assert_eq!(log.put(b"again\n").unwrap_err().lines, 1);
    // Others make room: here by rotating the file away and removing that.
    let moved = Path::new("/mnt/moved");
    rustix::fs::rename(path, moved).unwrap();
    log.put(b"new\n").unwrap_err();
    let torn = text(moved);
    assert!(!torn.ends_with('\n'));
    fs::remove_file(moved).unwrap();
    log.put(b"new\n").unwrap();
    assert_eq!(text(path), "new\n");
    // The same with room made beside it: the next line begins afresh behind the torn one.
    log.put(&line.repeat(1000)).unwrap_err();
    let torn = text(path);
    assert!(!torn.ends_with('\n'));
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(4104).unwrap();
    log.put(b"new\n").unwrap();
    assert_eq!(text(path), format!("{}\nnew\n", &torn[..4104]));
}

#[test]
fn a_gap_in_the_backups_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for n in [1, 3, 4] {
        use std::io::Write;
        File::create(backup(&path, n)).unwrap().write_all(n.to_string().as_bytes()).unwrap();
    }
    let mut log = log(&path, 4, 4);
    log.put(b"new\nnew\n").unwrap();
    let texts: Vec<_> = (1..5).map(|n| text(&backup(&path, n))).collect();
    assert_eq!(texts, ["new\n", "1", "3", "4"]);
}
