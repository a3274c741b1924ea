//! Whether a prefix file is from before the machine's last boot, for services with `on_boot = withdraw`; and whether
//! one was ever written.
//!
//! The kernel draws a new id at each boot. It is kept beside the prefix file, as `.NAME.boot`, a name that no `include` of
//! BIRD's for `*.conf` matches, and it is written after the list, so that a daemon that ended in between distrusts the
//! old list once more.
//!
//! Promises: a restart of the daemon alone is never taken for a boot; nothing that cannot be read or written moves a route.
//! In a container the id is that of the machine around it: its own restart is no boot.
//! Leaves out: what is done with a list from before (`bird::startup`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tracing::{debug, error, info, warn};

use crate::sys::atomic_file::{self, Durability};

/// Where the kernel tells the id.
const ID: &str = "/proc/sys/kernel/random/boot_id";
/// How much of an id is read, in bytes: it has 36 and a line end.
const LONGEST: usize = 64;

/// A prefix file's id of boot.
#[derive(Debug)]
pub struct Boot {
    path: PathBuf,
    /// This boot's, where it can be told.
    id: Option<Vec<u8>>,
    /// The kept one is this boot's.
    kept: bool,
    /// One is kept, this boot's or an earlier one's.
    marked: bool,
    first: bool,
    problem: Option<String>,
}

impl Boot {
    /// Looks at what is kept beside the prefix file `list`.
    pub fn load(list: &Path) -> Boot {
        Boot::compare(list, Path::new(ID))
    }

    /// Whether it is what is kept beside this prefix file.
    pub fn is_beside(&self, list: &Path) -> bool {
        self.path == path_beside(list)
    }

    fn compare(list: &Path, id: &Path) -> Boot {
        let path = path_beside(list);
        if let Err(why) = atomic_file::remove_leftovers(&path) {
            debug!("cannot look for left-over temporary files of {}: {why}", path.display());
        }
        // Files in /proc have no size to be read up to, so that it is what comes that counts.
        let id = match std::fs::read(id) {
            Ok(id) if !id.is_empty() => Some(id),
            Ok(_) => None,
            Err(why) => {
                warn!("cannot tell one boot from another, so on_boot has no effect: {}: {why}", id.display());
                None
            }
        };
        let found = atomic_file::read(&path, LONGEST);
        if let Err(why) = &found {
            warn!("{} cannot be read, so on_boot has no effect this time: {why}", path.display());
        }
        let kept = found.as_ref().is_ok_and(|found| found.as_ref().map(|(bytes, _)| bytes) == id.as_ref());
        let first = id.is_some() && found.is_ok() && !kept;
        let marked = !matches!(found, Ok(None));
        Boot { path, kept: kept && id.is_some(), marked, id, first, problem: None }
    }

    /// Whether a list was ever written here: an id is kept, of whatever boot.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// Whether this is the first start since the machine booted, as far as can be told. Where nothing is kept it is.
    pub fn is_first_start(&self) -> bool {
        self.first
    }

    /// The list is this boot's from now on. To be called again at the next occasion, as it may fail.
    pub fn save(&mut self) {
        let Some(id) = self.id.as_ref().filter(|_| !self.kept) else { return };
        match atomic_file::replace(&self.path, id, Durability::Synced) {
            Ok(_) => {
                self.kept = true;
                if self.problem.take().is_some() {
                    info!("{} can be written again", self.path.display());
                }
            }
            Err(why) => {
                let problem = why.to_string();
                if self.problem.as_ref() != Some(&problem) {
                    error!("{problem}; until it can be written, a restart of the daemon counts as one of the machine");
                    self.problem = Some(problem);
                }
            }
        }
    }
}

fn path_beside(list: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(list.file_name().unwrap_or_default());
    name.push(".boot");
    list.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a kernel of the test's own")]
    fn put(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_first_start_after_each_boot_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (list, id) = (dir.path().join("a.conf"), dir.path().join("id"));
        for boot in ["one\n", "two\n"] {
            put(&id, boot);
            let mut first = Boot::compare(&list, &id);
            assert!(first.is_first_start());
            assert!(Boot::compare(&list, &id).is_first_start(), "nothing is kept yet");
            first.save();
            first.save();
            assert!(!Boot::compare(&list, &id).is_first_start());
            assert_eq!(fs::read_to_string(dir.path().join(".a.conf.boot")).unwrap(), boot);
        }
    }

    #[test]
    fn what_a_killed_daemon_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("..a.conf.boot.0123456789abcdef.new"), "");
        Boot::load(&dir.path().join("a.conf"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_told_is_no_boot() {
        let dir = tempfile::tempdir().unwrap();
        let (list, id) = (dir.path().join("a.conf"), dir.path().join("id"));
        let check = || {
            let mut boot = Boot::compare(&list, &id);
            assert!(!boot.is_first_start());
            boot.save();
        };
        check();
        put(&id, "");
        check();
        assert!(!dir.path().join(".a.conf.boot").exists());
        put(&id, "one\n");
        fs::create_dir(dir.path().join(".a.conf.boot")).unwrap();
        check();
    }

    #[test]
    fn a_marker_of_any_boot_says_that_a_list_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (list, id) = (dir.path().join("a.conf"), dir.path().join("id"));
        let marker = dir.path().join(".a.conf.boot");
        put(&id, "one\n");
        let mut boot = Boot::compare(&list, &id);
        assert!(!boot.is_marked());
        boot.save();
        for text in ["one\n", "two\n", "", "longer than any id, and so it is none, but somebody has put it down there"]
        {
            put(&marker, text);
            assert!(Boot::compare(&list, &id).is_marked(), "{text:?}");
        }
        fs::remove_file(&marker).unwrap();
        assert!(!Boot::compare(&list, &id).is_marked());
        // One that cannot be read is there.
        fs::create_dir(&marker).unwrap();
        assert!(Boot::compare(&list, &id).is_marked());
    }

    #[test]
    fn this_kernel_has_an_id() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("a.conf");
        let mut boot = Boot::load(&list);
        assert!(boot.is_first_start());
        boot.save();
        assert!(!Boot::load(&list).is_first_start());
        assert_eq!(fs::read(dir.path().join(".a.conf.boot")).unwrap(), fs::read(ID).unwrap());
    }
}
