//! Resolves symbolic links one by one, as the kernel does.
//!
//! Guarantees: only reads; a path whose last components do not exist yet is resolved as far as it
//! exists.
//!
//! Blocking: the caller, on the disk.
//!
//! Out of scope: what the caller does with the result.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Maximum number of links that are followed, the same as the kernel's.
const MAX_LINKS: usize = 40;

/// A directory entry that decides which file a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The directory's path without links; empty for the current directory.
    pub(crate) directory: PathBuf,
    /// The entry's name in that directory.
    pub(crate) name: OsString,
    /// Whether the entry is a symbolic link, and not the final file.
    pub(crate) is_link: bool,
}

/// Returns the path without links of the file that `path` leads to. The file need not exist.
///
/// `None` if the links form a loop, and for a path such as `/dev/stdout`: that leads to a file that
/// a process has open, and the operator did not give this program that file's name.
pub(crate) fn target(path: &Path) -> Option<PathBuf> {
    let entries = entries(path);
    let last = entries.last().filter(|entry| !entry.is_link)?;
    let is_open_file = entries.iter().any(|entry| entry.directory.starts_with("/proc"));
    (!is_open_file).then(|| last.directory.join(&last.name))
}

/// Returns every symbolic link that resolving `path` passes through, and the final file.
///
/// Links to directories are included. If the links form a loop, no final file follows.
pub(crate) fn entries(path: &Path) -> Vec<Entry> {
    let components = |path: &Path| -> Vec<OsString> {
        path.components().map(|component| component.as_os_str().to_os_string()).collect()
    };
    let mut entries = Vec::new();
    let mut links = 0;
    let mut directory = PathBuf::new();
    let mut remaining = VecDeque::from(components(path));
    while let Some(component) = remaining.pop_front() {
        match Path::new(&component).components().next() {
            Some(Component::RootDir) => directory = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                // A relative path may begin with one or several "..".
                if directory.file_name().is_none() && directory != Path::new("/") {
                    directory.push("..");
                } else {
                    directory.pop();
                }
            }
            Some(Component::Normal(_)) => {
                let target = fs::read_link(directory.join(&component)).ok();
                let is_link = target.is_some();
                if is_link || remaining.is_empty() {
                    let entry = Entry { directory: directory.clone(), name: component.clone(), is_link };
                    if !entries.contains(&entry) {
                        entries.push(entry);
                    }
                }
                match target {
                    Some(_) if links == MAX_LINKS => break,
                    Some(target) => {
                        links += 1;
                        components(&target).into_iter().rev().for_each(|component| remaining.push_front(component));
                    }
                    None => directory.push(component),
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated::sh;

    /// `a/list` leads to `real/list` through `links/list` and the directory `to`, which is a link
    /// too.
    const LINKS: &str = "mkdir a links real; ln -s ../links/list a/list; ln -s ../to/list links/list; ln -s real to; \
                         touch real/list; ln -s loop loop";

    #[test]
    fn every_link_along_a_path_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        // The path of the temporary directory may contain links.
        let base = dir.path().canonicalize().unwrap();
        let shown = base.display();
        sh(&format!("cd {shown}; {LINKS}; ln -s {shown}/a absolute"));
        let check = |path: &str, expected: &[&str]| {
            let found = entries(&base.join(path)).into_iter().map(|entry| {
                let path = entry.directory.strip_prefix(&base).unwrap().join(&entry.name).display().to_string();
                if entry.is_link {
                    path + "@"
                } else {
                    path
                }
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{path}");
        };
        check("a/none", &["a/none"]);
        check("none/none", &["none/none"]);
        check("to/list", &["to@", "real/list"]);
        check("real/../to/./list", &["to@", "real/list"]);
        check("to/../real/list", &["to@", "real/list"]);
        check("a/list", &["a/list@", "links/list@", "to@", "real/list"]);
        check("absolute/list", &["absolute@", "a/list@", "links/list@", "to@", "real/list"]);
        check("loop", &["loop@"]);
        check("loop/list", &["loop@"]);
        assert_eq!(entries(Path::new("../x/../y/list"))[0].directory, Path::new("../y"));
        let target = |path: &str| target(&base.join(path));
        assert_eq!(target("a/list"), Some(base.join("real/list")));
        assert_eq!(target("to/none"), Some(base.join("real/none")));
        assert_eq!(
            [target("loop"), target("/dev/stdout"), target("/dev/fd/1"), target("/proc/self/fd/1")],
            [const { None }; 4]
        );
    }
}
