//! The id of the boot in which a prefix file was written, for services with `on_boot = withdraw`.
//!
//! The kernel has a new id after each boot. It is saved beside the prefix file as `.NAME.boot`, a
//! name that BIRD's `include "*.conf"` does not match. It is written after the list, so that a
//! daemon that ended in between discards the old list once more. An id of any boot also shows that
//! a list was written before.
//!
//! Guarantees: a restart of the daemon alone never counts as a boot. An error in reading or writing
//! the id never changes a route. In a container the id is the host's: the container's restart is
//! not a boot.
//!
//! Blocking: the caller, on the disk.
//!
//! Out of scope: what is done with a list of an earlier boot (`bird::startup`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tracing::{debug, error, info, warn};

use crate::sys::atomic_file::{self, Durability};
use crate::sys::log_once::LogOnce;

/// The kernel's id of this boot.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";
/// Maximum length of a saved id: it has 36 bytes and a newline.
const MAX_ID_LEN: usize = 64;

/// The boot id of one prefix file.
#[derive(Debug)]
pub struct Boot {
    path: PathBuf,
    /// The id of this boot. None if the kernel has none.
    id: Option<Vec<u8>>,
    /// The saved id is that of this boot.
    is_current: bool,
    /// An id is saved, of this boot or an earlier one.
    is_marked: bool,
    is_first_start: bool,
    problem: LogOnce,
}

impl Boot {
    /// Reads the id that is saved beside the prefix file `list`.
    pub fn load(list: &Path) -> Boot {
        Boot::load_with(list, Path::new(BOOT_ID_PATH))
    }

    /// Whether this is the id beside the prefix file `list`.
    pub fn is_beside(&self, list: &Path) -> bool {
        self.path == path_beside(list)
    }

    fn load_with(list: &Path, id_path: &Path) -> Boot {
        let path = path_beside(list);
        if let Err(why) = atomic_file::remove_leftovers(&path) {
            debug!("cannot look for left-over temporary files of {}: {why}", path.display());
        }
        // A file in /proc has size 0, so it is read to its end.
        let id = match std::fs::read(id_path) {
            Ok(id) if !id.is_empty() => Some(id),
            Ok(_) => None,
            Err(why) => {
                warn!("cannot tell one boot from another, so on_boot has no effect: {}: {why}", id_path.display());
                None
            }
        };
        let saved = atomic_file::read(&path, MAX_ID_LEN);
        if let Err(why) = &saved {
            warn!("{} cannot be read, so on_boot has no effect this time: {why}", path.display());
        }
        let is_same = saved.as_ref().is_ok_and(|saved| saved.as_ref().map(|(bytes, _)| bytes) == id.as_ref());
        Boot {
            path,
            is_current: is_same && id.is_some(),
            is_marked: !matches!(saved, Ok(None)),
            is_first_start: id.is_some() && saved.is_ok() && !is_same,
            id,
            problem: LogOnce::new(),
        }
    }

    /// Whether an id is saved, of any boot: a list was written here before.
    pub fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// Whether this is the first start since the host booted. True if no id is saved, false if the
    /// id of the kernel or the saved one cannot be read.
    pub fn is_first_start(&self) -> bool {
        self.is_first_start
    }

    /// Saves the id of this boot if it is not saved yet. Call it again later, because it may fail.
    pub fn save(&mut self) {
        let Some(id) = self.id.as_ref().filter(|_| !self.is_current) else { return };
        match atomic_file::replace(&self.path, id, Durability::Synced) {
            Ok(_) => {
                self.is_current = true;
                if self.problem.clear() {
                    info!("{} can be written again", self.path.display());
                }
            }
            Err(why) => {
                let problem = why.to_string();
                if self.problem.set(&problem) {
                    error!("{problem}; until it can be written, a restart of the daemon counts as one of the machine");
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

    #[expect(clippy::disallowed_methods, reason = "the test plays the kernel")]
    fn put(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_the_first_start_after_each_boot_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let (list, id) = (dir.path().join("a.conf"), dir.path().join("id"));
        for boot in ["one\n", "two\n"] {
            put(&id, boot);
            let mut first = Boot::load_with(&list, &id);
            assert!(first.is_first_start());
            assert!(Boot::load_with(&list, &id).is_first_start(), "no id is saved yet");
            first.save();
            first.save();
            assert!(!Boot::load_with(&list, &id).is_first_start());
            assert_eq!(fs::read_to_string(dir.path().join(".a.conf.boot")).unwrap(), boot);
        }
    }

    #[test]
    fn temporary_files_of_a_killed_daemon_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("..a.conf.boot.0123456789abcdef.new"), "");
        Boot::load(&dir.path().join("a.conf"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_unreadable_id_does_not_count_as_a_boot() {
        let dir = tempfile::tempdir().unwrap();
        let (list, id) = (dir.path().join("a.conf"), dir.path().join("id"));
        let check = || {
            let mut boot = Boot::load_with(&list, &id);
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
    fn a_saved_id_of_any_boot_shows_that_a_list_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (list, id) = (dir.path().join("a.conf"), dir.path().join("id"));
        let marker = dir.path().join(".a.conf.boot");
        put(&id, "one\n");
        let mut boot = Boot::load_with(&list, &id);
        assert!(!boot.is_marked());
        boot.save();
        for text in ["one\n", "two\n", "", "a text that is longer than any boot id, so it cannot be one of the kernel"]
        {
            put(&marker, text);
            assert!(Boot::load_with(&list, &id).is_marked(), "{text:?}");
        }
        fs::remove_file(&marker).unwrap();
        assert!(!Boot::load_with(&list, &id).is_marked());
        // An unreadable one exists.
        fs::create_dir(&marker).unwrap();
        assert!(Boot::load_with(&list, &id).is_marked());
    }

    #[test]
    fn this_kernel_has_a_boot_id() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("a.conf");
        let mut boot = Boot::load(&list);
        assert!(boot.is_first_start());
        boot.save();
        assert!(!Boot::load(&list).is_first_start());
        assert_eq!(fs::read(dir.path().join(".a.conf.boot")).unwrap(), fs::read(BOOT_ID_PATH).unwrap());
    }
}
