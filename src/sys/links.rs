//! Follows symbolic links, one name after the other, as the kernel does.
//!
//! Promises: looks only; a path whose last parts do not exist yet is followed as far as that goes.
//! Who may block: the caller, on the disk.
//! Leaves out: what is done at the end of the way.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// How many links are followed, as the kernel does.
const MAX_LINKS: usize = 40;

/// A name on which it depends which file a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Without links; the current one where it is blank.
    pub(crate) directory: PathBuf,
    /// In there.
    pub(crate) name: OsString,
    /// A link, and not the file in the end.
    pub(crate) link: bool,
}

/// The path of the file that `path` leads to, which need not exist, without links.
///
/// `None` where there is no end to the links, and for the likes of `/dev/stdout`: what it leads to
/// is a file that a process has open, and whatever name that has was not given to this program.
pub(crate) fn target(path: &Path) -> Option<PathBuf> {
    let names = names(path);
    let end = names.last().filter(|name| !name.link)?;
    let open_file = names.iter().any(|name| name.directory.starts_with("/proc"));
    (!open_file).then(|| end.directory.join(&end.name))
}

/// Every link on the way along `path`, directories included, and the file in the end. In a circle
/// there is no end.
pub(crate) fn names(path: &Path) -> Vec<Name> {
    let components = |path: &Path| -> Vec<OsString> {
        path.components().map(|component| component.as_os_str().to_os_string()).collect()
    };
    let (mut names, mut links) = (Vec::new(), 0);
    let mut at = PathBuf::new();
    let mut rest = VecDeque::from(components(path));
    while let Some(word) = rest.pop_front() {
        match Path::new(&word).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                // At the start of a relative path, or behind another such word.
                if at.file_name().is_none() && at != Path::new("/") {
                    at.push("..");
                } else {
                    at.pop();
                }
            }
            Some(Component::Normal(_)) => {
                let target = fs::read_link(at.join(&word)).ok();
                if target.is_some() || rest.is_empty() {
                    let link = target.is_some();
                    let name = Name { directory: at.clone(), name: word.clone(), link };
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                match target {
                    Some(_) if links == MAX_LINKS => break,
                    Some(target) => {
                        links += 1;
                        components(&target).into_iter().rev().for_each(|word| rest.push_front(word));
                    }
                    None => at.push(word),
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated::sh;

    /// `a/list` leads over `links/list` and the directory `to`, which is a link too, to
    /// `real/list`.
    const LINKS: &str = "mkdir a links real; ln -s ../links/list a/list; ln -s ../to/list links/list; ln -s real to; \
                         touch real/list; ln -s loop loop";

    #[test]
    fn names_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        // The directory itself may lie behind links.
        let at = dir.path().canonicalize().unwrap();
        let here = at.display();
        sh(&format!("cd {here}; {LINKS}; ln -s {here}/a absolute"));
        let check = |path: &str, expected: &[&str]| {
            let found = names(&at.join(path)).into_iter().map(|name| {
                let path = name.directory.strip_prefix(&at).unwrap().join(&name.name).display().to_string();
                if name.link {
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
        assert_eq!(names(Path::new("../x/../y/list"))[0].directory, Path::new("../y"));
        let target = |path: &str| target(&at.join(path));
        assert_eq!(target("a/list"), Some(at.join("real/list")));
        assert_eq!(target("to/none"), Some(at.join("real/none")));
        assert_eq!(
            [target("loop"), target("/dev/stdout"), target("/dev/fd/1"), target("/proc/self/fd/1")],
            [const { None }; 4]
        );
    }
}
