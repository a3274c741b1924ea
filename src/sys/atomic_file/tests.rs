//! Tests with real files, on a small tmpfs if the disk has to be full.

use std::os::unix::fs::symlink;

use super::*;
use crate::testing::isolated::{alone, this_program};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes a file without the module under test.
fn write_text(path: &Path, text: &str) {
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_is_created_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefixes.conf");
    for (text, durability) in [("one\n", Durability::Synced), ("two\n", Durability::Unsynced), ("", Durability::Synced)]
    {
        let written = replace(&path, text.as_bytes(), durability).unwrap();
        assert_eq!(identity(&path).unwrap(), Some(written));
        assert_eq!(read(&path, 100).unwrap(), Some((text.into(), written)));
        assert_eq!(names(dir.path()), ["prefixes.conf"]);
    }
    sync_directory_of(&path).unwrap();
}

#[test]
fn a_replaced_file_is_readable_by_all() {
    let name = "sys::atomic_file::tests::a_replaced_file_is_readable_by_all";
    if !alone(name, &["sh", "-c", "umask 077; exec \"$@\"", "sh"], &this_program()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    write_text(&path, "old");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let written = replace(&path, b"new", Durability::Synced).unwrap();
    assert_eq!(written.mode & 0o7777, MODE);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, MODE);
}

#[test]
fn a_full_disk_keeps_the_old_file_and_leaves_no_temporary_file() {
    let name = "sys::atomic_file::tests::a_full_disk_keeps_the_old_file_and_leaves_no_temporary_file";
    let mount = "mount -t tmpfs -o size=64k none /mnt && exec \"$@\"";
    if !alone(name, &["unshare", "-rm", "sh", "-c", mount, "sh"], &this_program()) {
        return;
    }
    let (path, ballast) = (Path::new("/mnt/list"), Path::new("/mnt/ballast"));
    let old = replace(path, b"old", Durability::Synced).unwrap();
    let error = replace(path, &vec![b'x'; 70_000], Durability::Synced).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the new /mnt/list: No space left on device (os error 28)");
    write_text(ballast, "");
    assert!(OpenOptions::new().append(true).open(ballast).unwrap().write_all(&[b'x'; 70_000]).is_err());
    replace(path, b"new", Durability::Synced).unwrap_err();
    assert_eq!(read(path, 100).unwrap(), Some((b"old".to_vec(), old)));
    assert_eq!(names(Path::new("/mnt")), ["ballast", "list"]);
    fs::remove_file(ballast).unwrap();
    replace(path, b"new", Durability::Synced).unwrap();
}

#[test]
fn errors_name_the_failed_step() {
    let dir = tempfile::tempdir().unwrap();
    let check = |path: &Path, expected: &str| {
        let error = replace(path, b"text", Durability::Synced).unwrap_err().to_string();
        assert_eq!(error.replace(dir.path().to_str().unwrap(), "DIR"), expected);
    };
    check(&dir.path().join("a/b"), "cannot create a temporary file in DIR/a: No such file or directory (os error 2)");
    fs::create_dir(dir.path().join("c")).unwrap();
    check(&dir.path().join("c"), "cannot put the new DIR/c in its place: Is a directory (os error 21)");
    check(Path::new("a\0b"), "cannot create a temporary file in .: file name contained an unexpected NUL byte");
    assert_eq!(names(dir.path()), ["c"]);
}

#[test]
fn a_file_with_the_longest_name_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n".repeat(255));
    replace(&path, b"text", Durability::Synced).unwrap();
    write_text(&temporary_path(&path), "left");
    assert_eq!(remove_leftovers(&path).unwrap(), 1);
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn a_link_is_replaced_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (link, target) = (dir.path().join("link"), dir.path().join("target"));
    write_text(&target, "target");
    symlink(&target, &link).unwrap();
    replace(&link, b"text", Durability::Synced).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "target");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
}

#[test]
fn only_leftovers_of_the_target_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conf");
    let others = [
        "..new",
        ".a.conf.0123456789abcdef",
        ".a.conf.0123456789abcdeg.new",
        ".a.conf.123.new",
        ".b.conf.0123456789abcdef.new",
        "a.conf",
        "a.conf.0123456789abcdef.new",
    ];
    for name in others {
        write_text(&dir.path().join(name), "");
    }
    write_text(&temporary_path(&path), "left");
    write_text(&temporary_path(&path), "left");
    fs::create_dir(temporary_path(&path)).unwrap();
    symlink("/etc/passwd", temporary_path(&path)).unwrap();
    assert_eq!(remove_leftovers(&path).unwrap(), 2);
    assert_eq!(remove_leftovers(&path).unwrap(), 0);
    assert_eq!(names(dir.path()).len(), others.len() + 2);
    assert!(remove_leftovers(&dir.path().join("missing/a.conf")).is_err());
}

#[test]
fn only_regular_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write_text(&at("file"), "0123456789");
    symlink(at("file"), at("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let whole = |name: &str, limit| match read(&at(name), limit) {
        Ok(read) => format!("{:?}", read.map(|(bytes, _)| String::from_utf8(bytes).unwrap())),
        Err(error) => error.to_string(),
    };
    assert_eq!(whole("file", 10), "Some(\"0123456789\")");
    assert_eq!(whole("link", usize::MAX), "Some(\"0123456789\")");
    assert_eq!(whole("file", 9), "it is larger than 9 bytes");
    assert_eq!(whole("none", 9), "None");
    assert_eq!(whole("fifo", 9), "it is not a regular file");
    assert_eq!(whole(".", 9), "it is not a regular file");
    assert_eq!(whole("file/x", 9), "Not a directory (os error 20)");
    assert_eq!(read(Path::new("/dev/zero"), 9).unwrap_err().to_string(), "it is not a regular file");
    assert_eq!(read_start(&at("file"), 4).unwrap(), Some(b"0123".to_vec()));
    assert_eq!(read_start(&at("none"), 4).unwrap(), None);
    assert!(read_start(&at("link"), 4).is_err() && read_start(&at("fifo"), 4).is_err());
}

/// A reader in a loop never sees a partial, empty or missing file.
#[test]
fn no_reader_sees_a_partial_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    replace(&path, &[b'a'; 20_000], Durability::Unsynced).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..500 {
                replace(&path, &vec![b'a' + n as u8 % 26; 20_000 + n], Durability::Unsynced).unwrap();
            }
        });
        while !writer.is_finished() {
            let (bytes, identity) = read(&path, 1 << 20).unwrap().unwrap();
            assert_eq!(bytes.len() as u64, identity.size);
            assert!(bytes.len() >= 20_000 && bytes.iter().all(|b| *b == bytes[0]));
        }
    });
}
