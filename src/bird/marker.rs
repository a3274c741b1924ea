//! Whether a list was ever written in a directory, also where its file is gone: a mark on the directory itself.
//!
//! The mark is an extended attribute of the directory, `user.anycast-healthchecker.NAME` (`getfattr -d DIRECTORY` shows
//! it), so that nothing lies beside the list that BIRD or a person could take for one. Where the file system has no such
//! attributes, the file `.NAME.boot` of [`Boot`] stands in for it.

use std::path::Path;

use rustix::fs::{getxattr, setxattr, XattrFlags};
use rustix::io::Errno;
use tracing::debug;

use crate::bird::boot::Boot;
use crate::sys::atomic_file::directory_of;

/// Whether a list was written at `list`, as far as that can be told; else it counts as written.
pub fn is_set(list: &Path, boot: &Boot) -> bool {
    match getxattr(directory_of(list), attribute(list), &mut [0; 8][..]) {
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT) => boot.is_marked(),
        Ok(_) | Err(_) => true,
    }
}

/// A list was written at `list`. Where the directory takes no mark, the id of the boot is kept beside the list.
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
    fn a_list_that_was_written_is_known_although_its_file_is_gone_and_no_other_is() {
        let dir = tempfile::tempdir().unwrap();
        let (list, other) = (dir.path().join("a.conf"), dir.path().join("b.conf"));
        let mut boot = Boot::load(&list);
        assert!(!is_set(&list, &boot));
        set(&list, &mut boot);
        assert!(is_set(&list, &Boot::load(&list)) && !is_set(&other, &Boot::load(&other)));
    }

    /// An older kernel's tmpfs takes no attributes; on a newer one this is the test above once more.
    #[test]
    fn a_directory_that_takes_no_mark_has_the_file_of_the_boot() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let list = dir.path().join("a.conf");
        let mut boot = Boot::load(&list);
        assert!(!is_set(&list, &boot));
        set(&list, &mut boot);
        assert!(is_set(&list, &Boot::load(&list)));
    }

    #[test]
    fn where_nothing_can_be_told_the_file_of_the_boot_counts() {
        let (dir, gone) = (tempfile::tempdir().unwrap(), Path::new("gone/a.conf"));
        let list = dir.path().join("a.conf");
        let mut boot = Boot::load(&list);
        assert!(!is_set(&list, &boot) && !is_set(gone, &boot));
        boot.save();
        let boot = Boot::load(&list);
        assert!(is_set(&list, &boot) && is_set(gone, &boot));
    }
}
