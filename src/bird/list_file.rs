//! The prefix file of one list on the disk: where it is, what it holds, and its replacement.
//!
//! Promises: `bird_conf` is resolved at each step, so that a link which points elsewhere now, or a file in its place, is
//! what is read and written; a replacement is archived, atomic and synced; a failure is logged once.
//! Leaves out: what the file should list (`bird::prefix_list`), its text (`bird::prefix_file`).

use std::path::{Path, PathBuf};

use tracing::{debug, error, info};

use crate::bird::history::History;
use crate::bird::prefix_file::{self, PrefixFile};
use crate::prefix::Family;
use crate::sys::atomic_file::{self, Durability, Identity, MODE};
use crate::sys::log_once::LogOnce;

/// The file of one list.
pub struct ListFile {
    family: Family,
    /// As configured.
    conf: PathBuf,
    /// Links resolved, as of the last look.
    path: PathBuf,
    keep_changes: Option<usize>,
    history: Option<History>,
    /// The file at the last look.
    identity: Option<Identity>,
    /// The file when it last listed what it should. BIRD is told of no other: somebody may have emptied it.
    right: Option<Identity>,
    /// A replacement was not synced with its directory yet.
    unsynced: bool,
    problem: LogOnce,
}

/// One look at the file: what it holds and its text; nothing where it is missing or cannot be read.
pub struct Contents {
    /// What it holds.
    pub file: Option<PrefixFile>,
    /// Its text.
    pub bytes: Option<Vec<u8>>,
    /// Why it cannot be read.
    pub refused: Option<String>,
}

impl Contents {
    /// What is wrong with it, for a sentence.
    pub fn flaw(&self) -> Option<String> {
        match (&self.refused, &self.file) {
            (Some(refused), _) => Some(refused.clone()),
            (None, None) => Some("it is not there".to_string()),
            (None, Some(file)) => file.flaw.as_ref().map(ToString::to_string),
        }
    }
}

impl ListFile {
    /// The file at `bird_conf`; `keep_changes` is how many old files are kept.
    pub fn new(family: Family, conf: &Path, keep_changes: Option<usize>) -> ListFile {
        let path = resolve(conf);
        if path != conf {
            info!("{} is a symbolic link, the file behind it is used: {}", conf.display(), path.display());
        }
        if let Err(why) = atomic_file::remove_leftovers(&path) {
            debug!("cannot look for left-over temporary files of {}: {why}", path.display());
        }
        ListFile {
            family,
            conf: conf.into(),
            history: keep_changes.map(|most| History::new(&path, family, most)),
            path,
            keep_changes,
            identity: None,
            right: None,
            unsynced: false,
            problem: LogOnce::new(),
        }
    }

    /// The file, links resolved as of the last look.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it could not be replaced the last time.
    pub fn problem(&self) -> Option<&str> {
        self.problem.problem()
    }

    /// How many old files are kept from now on.
    pub fn keep_changes(&mut self, most: Option<usize>) {
        if most != self.keep_changes {
            self.keep_changes = most;
            self.history = most.map(|most| History::new(&self.path, self.family, most));
        }
    }

    /// Whether it is the file that was last found right, as of the last look.
    pub fn is_verified(&self) -> bool {
        self.right.is_some() && self.right == self.identity
    }

    /// It was found to be what it should be.
    pub fn mark_verified(&mut self) {
        self.right = self.identity;
    }

    /// Whether it is the same file as at the last look, by what can be told without reading it.
    pub fn is_unchanged(&self) -> bool {
        self.identity.is_some()
            && resolve(&self.conf) == self.path
            && atomic_file::identity(&self.path).is_ok_and(|found| found == self.identity)
    }

    /// Reads it. Returns its contents, and whether it is another file than at the last look.
    pub fn read(&mut self) -> (Contents, bool) {
        self.follow_link();
        let (found, refused) = match atomic_file::read(&self.path, prefix_file::MAX_LEN) {
            Ok(found) => (found, None),
            Err(why) => (None, Some(format!("it cannot be read: {why}"))),
        };
        let before = std::mem::replace(&mut self.identity, found.as_ref().map(|(_, identity)| *identity));
        let bytes = found.map(|(bytes, _)| bytes);
        let file = bytes.as_ref().map(|bytes| prefix_file::parse(bytes, self.family));
        (Contents { file, bytes, refused }, before != self.identity)
    }

    fn follow_link(&mut self) {
        let path = resolve(&self.conf);
        if path != self.path {
            info!("the file behind {} is another one now: {}", self.conf.display(), path.display());
            self.path = path;
            self.history = self.keep_changes.map(|most| History::new(&self.path, self.family, most));
        }
    }

    /// Whether BIRD, another user, may read it.
    pub fn is_world_readable(&self) -> bool {
        self.identity.is_some_and(|identity| identity.mode & MODE == MODE)
    }

    /// Archives the file and puts this text in its place; false where that fails, which is said once.
    pub fn replace(&mut self, text: &str) -> bool {
        if let Some(history) = &mut self.history {
            history.archive();
        }
        debug!("going to write to {}", self.path.display());
        match atomic_file::replace(&self.path, text.as_bytes(), Durability::Synced) {
            Ok(identity) => {
                self.identity = Some(identity);
                self.unsynced = true;
                if self.problem.clear() {
                    info!("{} can be written again", self.path.display());
                }
                true
            }
            Err(why) => {
                let problem = format!("failed to write Bird configuration: {why}");
                if self.problem.set(&problem) {
                    error!("{problem}; the change waits and is tried again");
                }
                false
            }
        }
    }

    /// For tests: as after a replacement that failed.
    #[cfg(test)]
    pub(crate) fn set_problem(&mut self, problem: &str) {
        self.problem.set(problem);
    }

    /// Makes the last replacement survive a power cut. Comes after the reconfigure, so that no route waits for it.
    pub fn sync_directory(&mut self) {
        if std::mem::take(&mut self.unsynced) {
            if let Err(why) = atomic_file::sync_directory_of(&self.path) {
                debug!("cannot sync the directory of {}: {why}", self.path.display());
            }
        }
    }
}

/// The file that is replaced: what a symbolic link points to, also where nothing stands there yet.
fn resolve(path: &Path) -> PathBuf {
    let Ok(target) = std::fs::read_link(path) else { return path.to_path_buf() };
    let joined = path.parent().unwrap_or(Path::new("")).join(target);
    std::fs::canonicalize(path).unwrap_or(joined)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{symlink, PermissionsExt};

    use super::*;

    /// A directory with a link `link.conf`, that points to `a.conf`.
    fn linked() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link.conf");
        symlink("a.conf", &link).unwrap();
        (dir, link)
    }

    #[expect(clippy::disallowed_methods, reason = "somebody else's file")]
    fn put(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    fn text(file: &mut ListFile) -> Option<Vec<u8>> {
        file.read().0.bytes
    }

    #[test]
    fn a_link_is_resolved_at_each_look() {
        let (dir, link) = linked();
        let at = |name: &str| dir.path().join(name);
        put(&at("a.conf"), "a");
        put(&at("b.conf"), "b");
        let mut file = ListFile::new(Family::V4, &link, Some(3));
        assert_eq!(text(&mut file).as_deref(), Some(&b"a"[..]));
        assert!(file.is_unchanged());
        file.mark_verified();

        // It points elsewhere.
        fs::remove_file(&link).unwrap();
        symlink("b.conf", &link).unwrap();
        assert!(!file.is_unchanged());
        let (contents, differs) = file.read();
        assert_eq!((contents.bytes.as_deref(), differs), (Some(&b"b"[..]), true));
        assert!(!file.is_verified());
        assert_eq!(file.path(), at("b.conf"));
        assert!(file.replace("new b"));
        assert_eq!(fs::read_to_string(at("a.conf")).unwrap(), "a");
        assert_eq!(fs::read_to_string(at("b.conf")).unwrap(), "new b");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        // A file stands in its place.
        fs::remove_file(&link).unwrap();
        put(&link, "c");
        assert!(!file.is_unchanged());
        assert_eq!(text(&mut file).as_deref(), Some(&b"c"[..]));
        assert!(file.replace("new c"));
        assert_eq!(fs::read_to_string(&link).unwrap(), "new c");
        assert_eq!(fs::read_to_string(at("b.conf")).unwrap(), "new b");
    }

    #[test]
    fn a_link_to_nothing_is_filled() {
        let (dir, link) = linked();
        let mut file = ListFile::new(Family::V4, &link, None);
        let (contents, differs) = file.read();
        assert_eq!(contents.flaw().as_deref(), Some("it is not there"));
        assert!(!differs && !file.is_unchanged() && !file.is_verified());
        assert!(file.replace("new"));
        file.mark_verified();
        assert!(file.is_verified() && file.is_unchanged() && file.is_world_readable());
        assert_eq!(fs::read_to_string(dir.path().join("a.conf")).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn another_file_with_the_same_text_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conf");
        let mut file = ListFile::new(Family::V4, &path, None);
        assert!(file.replace("text"));
        file.mark_verified();
        assert!(!file.read().1, "our own is the one that we know");
        let changes: [&dyn Fn(); 4] = [
            &|| {
                atomic_file::replace(&path, b"text", Durability::Unsynced).unwrap();
            },
            &|| fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap(),
            &|| fs::remove_file(&path).unwrap(),
            &|| put(&path, "text"),
        ];
        for change in changes {
            change();
            assert!(!file.is_unchanged());
            assert!(file.read().1);
            assert!(!file.is_verified());
            file.mark_verified();
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_or_replaced_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conf");
        fs::create_dir(&path).unwrap();
        let mut file = ListFile::new(Family::V4, &path, None);
        assert!(file.read().0.flaw().unwrap().starts_with("it cannot be read: "));
        assert!(!file.replace("text"));
        assert!(file.problem().unwrap().starts_with("failed to write Bird configuration: "));
        fs::remove_dir(&path).unwrap();
        assert!(file.replace("text"));
        assert_eq!(file.problem(), None);
    }
}
