//! The prefix file of one list on the disk: its path, its contents, and its replacement.
//!
//! Guarantees: `bird_conf` is resolved at each step, so that a changed link, or a file in its
//! place, takes effect at once. A replacement is atomic, archived and synced. A failure is logged
//! once.
//!
//! Blocking: the caller, on the disk.
//!
//! Out of scope: what the file should list (`bird::prefix_list`), and its text
//! (`bird::prefix_file`).

use std::path::{Path, PathBuf};

use tracing::{debug, error, info};

use crate::bird::history::History;
use crate::bird::prefix_file::{self, PrefixFile};
use crate::prefix::Family;
use crate::sys::atomic_file::{self, Durability, Identity, MODE};
use crate::sys::log_once::LogOnce;

/// The prefix file of one list.
pub struct ListFile {
    family: Family,
    /// The configured path (`bird_conf`).
    conf: PathBuf,
    /// The path with links resolved, as of the last read.
    path: PathBuf,
    keep_changes: Option<usize>,
    history: Option<History>,
    /// The identity of the file as of the last read or replacement.
    identity: Option<Identity>,
    /// The identity of the file when it last listed what it should. BIRD is reconfigured only with
    /// this file, because another process may have emptied a newer one.
    verified: Option<Identity>,
    /// The directory was not synced since the last replacement.
    unsynced: bool,
    problem: LogOnce,
}

/// The contents of the file. Both fields are None if it is missing or cannot be read.
pub struct Contents {
    /// The parsed content.
    pub file: Option<PrefixFile>,
    /// The text.
    pub bytes: Option<Vec<u8>>,
    /// Why the file cannot be read.
    pub read_error: Option<String>,
}

impl Contents {
    /// What is wrong with the file, for a sentence.
    pub fn flaw(&self) -> Option<String> {
        match (&self.read_error, &self.file) {
            (Some(error), _) => Some(error.clone()),
            (None, None) => Some("it is not there".to_string()),
            (None, Some(file)) => file.flaw.as_ref().map(ToString::to_string),
        }
    }
}

impl ListFile {
    /// The file at `bird_conf`, with at most `keep_changes` old files.
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
            history: keep_changes.map(|limit| History::new(&path, family, limit)),
            path,
            keep_changes,
            identity: None,
            verified: None,
            unsynced: false,
            problem: LogOnce::new(),
        }
    }

    /// The path with links resolved, as of the last read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why the last replacement failed.
    pub fn problem(&self) -> Option<&str> {
        self.problem.problem()
    }

    /// Sets how many old files are kept.
    pub fn keep_changes(&mut self, limit: Option<usize>) {
        if limit != self.keep_changes {
            self.keep_changes = limit;
            self.history = limit.map(|limit| History::new(&self.path, self.family, limit));
        }
    }

    /// Whether the file, as of the last read, is the one that was verified.
    pub fn is_verified(&self) -> bool {
        self.verified.is_some() && self.verified == self.identity
    }

    /// Records that the file lists what it should.
    pub fn mark_verified(&mut self) {
        self.verified = self.identity;
    }

    /// Whether the file is the same as at the last read, by its path and identity alone.
    pub fn is_unchanged(&self) -> bool {
        self.identity.is_some()
            && resolve(&self.conf) == self.path
            && atomic_file::identity(&self.path).is_ok_and(|found| found == self.identity)
    }

    /// Reads the file. Returns its contents, and whether it is another file than at the last read.
    pub fn read(&mut self) -> (Contents, bool) {
        self.follow_link();
        let (content, read_error) = match atomic_file::read(&self.path, prefix_file::MAX_LEN) {
            Ok(content) => (content, None),
            Err(why) => (None, Some(format!("it cannot be read: {why}"))),
        };
        let before = std::mem::replace(&mut self.identity, content.as_ref().map(|(_, identity)| *identity));
        let bytes = content.map(|(bytes, _)| bytes);
        let file = bytes.as_ref().map(|bytes| prefix_file::parse(bytes, self.family));
        (Contents { file, bytes, read_error }, before != self.identity)
    }

    fn follow_link(&mut self) {
        let path = resolve(&self.conf);
        if path != self.path {
            info!("the file behind {} is another one now: {}", self.conf.display(), path.display());
            self.path = path;
            self.history = self.keep_changes.map(|limit| History::new(&self.path, self.family, limit));
        }
    }

    /// Whether every user may read the file: BIRD runs as another one.
    pub fn is_world_readable(&self) -> bool {
        self.identity.is_some_and(|identity| identity.mode & MODE == MODE)
    }

    /// Archives the file and replaces it with this text. Returns false on failure, which is logged
    /// once.
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

    /// Sets the state after a failed replacement, for tests.
    #[cfg(test)]
    pub(crate) fn set_problem(&mut self, problem: &str) {
        self.problem.set(problem);
    }

    /// Makes the last replacement survive a power failure. It runs after the reconfigure, so that
    /// no route waits for it.
    pub fn sync_directory(&mut self) {
        if std::mem::take(&mut self.unsynced) {
            if let Err(why) = atomic_file::sync_directory_of(&self.path) {
                debug!("cannot sync the directory of {}: {why}", self.path.display());
            }
        }
    }
}

/// The path of the file that is replaced: the target of a symbolic link, even if it does not exist.
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

    #[expect(clippy::disallowed_methods, reason = "a file that another process wrote")]
    fn put(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    fn text(file: &mut ListFile) -> Option<Vec<u8>> {
        file.read().0.bytes
    }

    #[test]
    fn a_link_is_resolved_at_each_read() {
        let (dir, link) = linked();
        let at = |name: &str| dir.path().join(name);
        put(&at("a.conf"), "a");
        put(&at("b.conf"), "b");
        let mut file = ListFile::new(Family::V4, &link, Some(3));
        assert_eq!(text(&mut file).as_deref(), Some(&b"a"[..]));
        assert!(file.is_unchanged());
        file.mark_verified();

        // The link points elsewhere.
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

        // A file replaces the link.
        fs::remove_file(&link).unwrap();
        put(&link, "c");
        assert!(!file.is_unchanged());
        assert_eq!(text(&mut file).as_deref(), Some(&b"c"[..]));
        assert!(file.replace("new c"));
        assert_eq!(fs::read_to_string(&link).unwrap(), "new c");
        assert_eq!(fs::read_to_string(at("b.conf")).unwrap(), "new b");
    }

    #[test]
    fn the_missing_target_of_a_link_is_created() {
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
        assert!(!file.read().1, "our own replacement is known");
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
    fn a_file_that_cannot_be_read_or_replaced_reports_why() {
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
