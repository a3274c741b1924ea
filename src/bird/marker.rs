//! A mark on a directory that shows that a list was written there, even if its file is gone.
//!
//! The mark is an extended attribute of the directory, `user.anycast-healthchecker.NAME` (`getfattr
//! -d DIRECTORY` shows it), so that no further file lies beside the list, which BIRD or an operator
//! could mistake for one. If the file system has no extended attributes, the file `.NAME.boot` of
//! [`Boot`] replaces the mark.
//!
//! Guarantees: if neither can be read, the list counts as written.
//!
//! Blocking: the caller, on the disk.

use std::path::Path;

use rustix::fs::{getxattr, setxattr, XattrFlags};
use rustix::io::Errno;
use tracing::debug;

use crate::bird::boot::Boot;
use crate::sys::atomic_file::directory_of;

/// Whether a list was written at `list`. True if that is unknown.
pub fn is_set(list: &Path, boot: &Boot) -> bool {
    match getxattr(directory_of(list), attribute(list), &mut [0; 8][..]) {
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT) => boot.is_marked(),
        Ok(_) | Err(_) => true,
    }
}

/// Records that a list was written at `list`. If the directory takes no attribute, saves the boot
/// id beside the list.
pub fn set(list: &Path, boot: &mut Boot) {
    if let Err(why) = setxattr(directory_of(list), attribute(list), b"1", XattrFlags::empty()) {
        debug!("the directory of {} takes no extended attribute: {why}", list.display());
        boot.save();
    }
}

fn attribute(list: &Path) -> String {
    format!("user.anycast-healthchecker.{}", list.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_list_that_was_written_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let (list, other) = (dir.path().join("a.conf"), dir.path().join("b.conf"));
        let mut boot = Boot::load(&list);
        assert!(!is_set(&list, &boot));
        set(&list, &mut boot);
        assert!(is_set(&list, &Boot::load(&list)) && !is_set(&other, &Boot::load(&other)));
    }

    /// The tmpfs of an older kernel takes no attributes; on a newer one this repeats the test
    /// above.
    #[test]
    fn the_boot_id_replaces_the_mark_in_a_directory_without_attributes() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let list = dir.path().join("a.conf");
        let mut boot = Boot::load(&list);
        assert!(!is_set(&list, &boot));
        set(&list, &mut boot);
        assert!(is_set(&list, &Boot::load(&list)));
    }

    #[test]
    fn the_boot_id_decides_if_there_is_no_mark() {
        let (dir, gone) = (tempfile::tempdir().unwrap(), Path::new("gone/a.conf"));
        let list = dir.path().join("a.conf");
        let mut boot = Boot::load(&list);
        assert!(!is_set(&list, &boot) && !is_set(gone, &boot));
        boot.save();
        let boot = Boot::load(&list);
        assert!(is_set(&list, &boot) && is_set(gone, &boot));
    }
}
