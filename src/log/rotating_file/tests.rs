//! Tests with real files, on a small tmpfs if the disk has to be full.

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

/// Returns the concatenated content of FILE.N … FILE.1 and FILE.
fn all(path: &Path) -> String {
    let mut paths: Vec<_> = (1..).map(|n| backup(path, n)).take_while(|path| path.exists()).collect();
    paths.reverse();
    paths.push(path.into());
    paths.iter().map(|path| text(path)).collect()
}

fn rename(from: &Path, to: &Path) {
    rustix::fs::rename(from, to).unwrap();
}

/// Writes lines of these lengths one by one, then all at once, and compares the sizes of FILE,
/// FILE.1, FILE.2 …
fn check(lengths: &[usize], max_bytes: u64, backups: usize, expected: &[u64]) {
    let lines: Vec<Vec<u8>> = lengths.iter().map(|length| [&vec![b'x'; length - 1], &b"\n"[..]].concat()).collect();
    for batches in [lines.clone(), vec![lines.concat()]] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = log(&path, max_bytes, backups);
        for batch in batches {
            log.write_lines(&batch).unwrap();
        }
        let mut sizes = vec![fs::metadata(&path).unwrap().len()];
        sizes.extend((1..).map_while(|n| Some(fs::metadata(backup(&path, n)).ok()?.len())));
        assert_eq!(sizes, expected, "{lengths:?} {max_bytes} {backups}");
    }
}

#[test]
fn rotated_files_have_the_same_sizes_as_with_python() {
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
fn a_line_longer_than_the_limit_gets_a_file_of_its_own() {
    check(&[5000], 1000, 3, &[5000]);
    check(&[10, 5000, 10], 1000, 3, &[10, 5000, 10]);
    check(&[5; 4], 1, 9, &[5, 5, 5, 5]);
}

proptest! {
    #[test]
    fn no_line_is_split_lost_or_reordered(
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
            file.write_lines(lines.as_bytes()).unwrap();
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
fn a_moved_deleted_or_replaced_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("log-20260101"));
    let mut log = log(&path, 0, 0);
    log.write_lines(b"one\n").unwrap();
    rename(&path, &moved);
    log.write_lines(b"two\n").unwrap();
    assert_eq!((text(&moved), text(&path)), ("one\n".into(), "two\n".into()));
    fs::remove_file(&path).unwrap();
    log.write_lines(b"three\n").unwrap();
    assert_eq!(text(&path), "three\n");
    rename(&moved, &path);
    log.write_lines(b"four\n").unwrap();
    assert_eq!(text(&path), "one\nfour\n");
    File::create(&path).unwrap();
    log.write_lines(b"five\n").unwrap();
    assert_eq!(text(&path), "five\n");
}

#[test]
fn a_truncated_file_is_rotated_by_its_new_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = log(&path, 100, 3);
    log.write_lines(&[b'x'; 90]).unwrap();
    File::create(&path).unwrap();
    log.write_lines(&[&[b'y'; 49][..], b"\n"].concat()).unwrap();
    assert_eq!((fs::metadata(&path).unwrap().len(), backup(&path, 1).exists()), (50, false));
}

#[test]
fn a_missing_directory_costs_lines_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (logs, path) = (dir.path().join("logs"), dir.path().join("logs/log"));
    let mut log = log(&path, 0, 0);
    let check = |log: &mut RotatingFile| {
        let error = log.write_lines(b"lost\nlost\n").unwrap_err();
        let why = error.why.to_string().replace(dir.path().to_str().unwrap(), "DIR");
        let what = "No such file or directory (os error 2)";
        assert_eq!(why, format!("cannot open log_file DIR/logs/log: {what}; its lines are lost until that is mended"));
        assert_eq!(error.lines, 2);
    };
    check(&mut log);
    fs::create_dir(&logs).unwrap();
    log.write_lines(b"one\n").unwrap();
    fs::remove_dir_all(&logs).unwrap();
    check(&mut log);
    fs::create_dir(&logs).unwrap();
    log.write_lines(b"two\n").unwrap();
    assert_eq!(text(&path), "two\n");
    // If the file was moved with its directory, it is still used and no line is lost.
    rename(&logs, &dir.path().join("moved"));
    log.write_lines(b"three\n").unwrap();
    assert_eq!(text(&dir.path().join("moved/log")), "two\nthree\n");
    fs::create_dir(&logs).unwrap();
    log.write_lines(b"four\n").unwrap();
    assert_eq!(text(&path), "four\n");
}

#[test]
fn a_file_that_cannot_be_rotated_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::create_dir(backup(&path, 1)).unwrap();
    let mut log = log(&path, 10, 1);
    log.write_lines(b"one\n").unwrap();
    let error = log.write_lines(b"two\nthree\nfour\n").unwrap_err();
    let why = error.why.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    let what = "Is a directory (os error 21)";
    assert_eq!(why, format!("cannot rotate log_file DIR/log: {what}; it grows beyond log_maxbytes meanwhile"));
    assert_eq!((error.lines, text(&path)), (0, "one\ntwo\nthree\nfour\n".into()));
    fs::remove_dir(backup(&path, 1)).unwrap();
    log.write_lines(b"five\n").unwrap();
    assert_eq!(all(&path), "one\ntwo\nthree\nfour\nfive\n");
    assert_eq!(text(&path), "five\n");
}

#[test]
fn the_target_of_a_link_is_rotated_and_the_link_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("real/log"), dir.path().join("link"));
    fs::create_dir(dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real/log", &link).unwrap();
    let mut log = log(&link, 10, 2);
    log.write_lines(b"one\ntwo\nthree\nfour\n").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(!backup(&link, 1).exists());
    let rotated = [backup(&target, 2), backup(&target, 1), target.clone()].map(|path| text(&path));
    assert_eq!(rotated, ["one\ntwo\n", "three\n", "four\n"]);
    // If the link's target changes, lines go to the new target.
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("real/other", &link).unwrap();
    log.write_lines(b"five\nsix\nseven\n").unwrap();
    let other = dir.path().join("real/other");
    assert_eq!([backup(&other, 1), other].map(|path| text(&path)), ["five\nsix\n", "seven\n"]);
}

/// `/dev/stdout` may be a file that another program opened, and another file may have its name by
/// now.
#[test]
fn a_file_that_another_program_opened_is_not_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let open = File::create(&path).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)), &link).unwrap();
    let mut log = log(&link, 10, 2);
    log.write_lines(b"one\ntwo\nthree\nfour\n").unwrap();
    log.write_lines(b"five\n").unwrap();
    assert_eq!(text(&path), "one\ntwo\nthree\nfour\nfive\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_device_is_not_rotated() {
    let mut log = log(Path::new("/dev/null"), 10, 1);
    log.write_lines(b"a line longer than the limit\nand another one\n").unwrap();
    let error =
        RotatingFile::new("stderr_file /dev/full".into(), "/dev/full".into(), Rotation { max_bytes: 10, backups: 1 })
            .write_lines(b"one\ntwo\n")
            .unwrap_err();
    let what = "No space left on device (os error 28)";
    let why = format!("cannot write to stderr_file /dev/full: {what}; its lines are lost until that is mended");
    assert_eq!((error.lines, error.why.to_string()), (2, why));
}

#[test]
fn a_full_disk_costs_only_lines() {
    let name = "log::rotating_file::tests::a_full_disk_costs_only_lines";
    let mount = "mount -t tmpfs -o size=64k none /mnt && exec \"$@\"";
    if !alone(name, &["unshare", "-rm", "sh", "-c", mount, "sh"], &this_program()) {
        return;
    }
    let (path, line) = (Path::new("/mnt/log"), [&[b'x'; 99][..], b"\n"].concat());
    let mut log = log(path, 0, 0);
    log.write_lines(b"first\n").unwrap();
    let error = log.write_lines(&line.repeat(1000)).unwrap_err();
    assert!(error.why.to_string().starts_with("cannot write to log_file /mnt/log: No space left on device"));
    let whole_lines = fs::metadata(path).unwrap().len() as usize / 100;
    assert_eq!(error.lines as usize, 1000 - whole_lines, "partly written lines are lost");
    assert_eq!(log.write_lines(b"again\n").unwrap_err().lines, 1);
    // Another program frees space by moving the file away and removing it.
    let moved = Path::new("/mnt/moved");
    rustix::fs::rename(path, moved).unwrap();
    log.write_lines(b"new\n").unwrap_err();
    let partial = text(moved);
    assert!(!partial.ends_with('\n'));
    fs::remove_file(moved).unwrap();
    log.write_lines(b"new\n").unwrap();
    assert_eq!(text(path), "new\n");
    // Space is freed without moving the file: the next line starts on a new line after the partial
    // one.
    log.write_lines(&line.repeat(1000)).unwrap_err();
    let partial = text(path);
    assert!(!partial.ends_with('\n'));
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(4104).unwrap();
    log.write_lines(b"new\n").unwrap();
    assert_eq!(text(path), format!("{}\nnew\n", &partial[..4104]));
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
    log.write_lines(b"new\nnew\n").unwrap();
    let texts: Vec<_> = (1..5).map(|n| text(&backup(&path, n))).collect();
    assert_eq!(texts, ["new\n", "1", "3", "4"]);
}
