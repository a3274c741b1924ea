//! Whether a user may reach a file: owner, group and mode of the file and of each directory above
//! it.
//!
//! Guarantees: [`obstacle`] is pure; links are followed one by one, as the kernel follows them.
//! Out of scope: access control lists, and security modules such as SELinux.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

use crate::sys::links;

/// A user with the groups of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, or its number if it has no name.
    pub name: String,
    /// The user's number; 0 may do everything.
    pub uid: u32,
    /// The numbers of all groups.
    pub gids: Vec<u32>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.name)
    }
}

impl Identity {
    /// The user with this number, in these groups.
    pub fn new(uid: u32, gids: Vec<u32>) -> Identity {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Identity { name: user.map_or_else(|| uid.to_string(), |user| user.name), uid, gids }
    }

    /// The user and the groups of a process, as `/proc` shows them; none if there is no such
    /// process.
    pub fn of_process(process: &str) -> Option<Identity> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        Identity::parse(&status).map(|(uid, gids)| Identity::new(uid, gids))
    }

    /// The effective user and all groups in the text of `/proc/PID/status`.
    fn parse(status: &str) -> Option<(u32, Vec<u32>)> {
        let numbers = |name: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect())
        };
        // Real, effective, saved, of the file system.
        let (uids, mut gids) = (numbers("Uid:")?, numbers("Gid:")?);
        gids = [gids.get(1..2).unwrap_or_default(), &numbers("Groups:").unwrap_or_default()].concat();
        gids.dedup();
        Some((*uids.get(1)?, gids))
    }

    /// The user that owns this file, with the file's group alone: BIRD gives its control socket to
    /// its own user and group, and has no other groups.
    pub fn of_owner(path: &Path) -> Option<Identity> {
        let found = fs::metadata(path).ok()?;
        Some(Identity::new(found.uid(), vec![found.gid()]))
    }

    /// The user of this name with its own group alone; none if there is no such user.
    pub fn by_name(name: &str) -> Option<Identity> {
        let user = User::from_name(name).ok().flatten()?;
        Some(Identity { name: user.name, uid: user.uid.as_raw(), gids: vec![user.gid.as_raw()] })
    }

    fn may(&self, step: &Step) -> bool {
        let wanted = step.needs.bits();
        let granted = if self.uid == step.uid {
            step.mode >> 6
        } else if self.gids.contains(&step.gid) {
            step.mode >> 3
        } else {
            step.mode
        };
        self.uid == 0 || granted & wanted == wanted
    }
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read it.
    Read,
    /// To connect to it, a socket.
    Connect,
    /// To open files below it, a directory.
    Search,
}

impl Right {
    fn bits(self) -> u32 {
        match self {
            Right::Read => 4,
            Right::Connect => 2,
            Right::Search => 1,
        }
    }
}

/// One directory on the way to a file, or the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Without links.
    pub path: PathBuf,
    /// The right that is needed.
    pub needs: Right,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

impl Step {
    /// The name of the group, or its number if it has no name.
    pub fn group(&self) -> String {
        let group = Group::from_gid(Gid::from_raw(self.gid)).ok().flatten();
        group.map_or_else(|| self.gid.to_string(), |group| group.name)
    }

    /// Whether members of the group may do it.
    pub fn is_open_for_group(&self) -> bool {
        (self.mode >> 3) & self.needs.bits() == self.needs.bits()
    }

    fn read(path: &Path, needs: Right) -> io::Result<Step> {
        let found = fs::metadata(path)?;
        let path = path.to_path_buf();
        Ok(Step { path, needs, uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 })
    }
}

/// The steps to a file, the directories of links on the way included; as many as can be read.
pub fn steps(path: &Path, needs: Right) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for entry in links::entries(path) {
        let directories: Vec<&Path> = entry.directory.ancestors().collect();
        for directory in directories.into_iter().rev().filter(|directory| !directory.as_os_str().is_empty()) {
            if !steps.iter().any(|step| step.path == directory) {
                steps.extend(Step::read(directory, Right::Search));
            }
        }
        if !entry.is_link {
            steps.extend(Step::read(&entry.directory.join(&entry.name), needs));
        }
    }
    steps
}

/// The first step that keeps this user from the file; none if the user may.
pub fn obstacle<'a>(identity: &Identity, steps: &'a [Step]) -> Option<&'a Step> {
    steps.iter().find(|step| !identity.may(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_without_the_right_is_the_obstacle() {
        let check = |uid: u32, gids: &[u32], modes: [(u32, u32, u32); 2], expected: Option<usize>| {
            let steps: Vec<Step> = modes
                .into_iter()
                .zip([Right::Search, Right::Read])
                .map(|((uid, gid, mode), needs)| Step { path: PathBuf::new(), needs, uid, gid, mode })
                .collect();
            let identity = Identity { name: String::new(), uid, gids: gids.to_vec() };
            let found = obstacle(&identity, &steps).map(|found| steps.iter().position(|step| step == found).unwrap());
            assert_eq!(found, expected, "{uid} {gids:?} {modes:?}");
        };
        check(0, &[], [(1, 1, 0), (1, 1, 0)], None);
        check(7, &[7], [(0, 0, 0o755), (0, 0, 0o644)], None);
        check(7, &[7], [(0, 0, 0o755), (0, 0, 0o640)], Some(1));
        check(7, &[7], [(0, 0, 0o700), (0, 0, 0o644)], Some(0));
        check(7, &[7], [(7, 0, 0o700), (7, 0, 0o400)], None);
        check(7, &[7], [(0, 7, 0o710), (0, 7, 0o640)], None);
        // The owner's bits count for the owner, even where others may more.
        check(7, &[7], [(7, 7, 0o077), (0, 0, 0o644)], Some(0));
        check(7, &[8, 7], [(0, 7, 0o707), (0, 0, 0o644)], Some(0));
    }

    #[test]
    fn a_process_has_an_effective_user_and_groups() {
        let status = "Name:\ta\nUid:\t0\t7\t8\t9\nGid:\t0\t17\t18\t19\nGroups:\t20 21 \n";
        assert_eq!(Identity::parse(status), Some((7, vec![17, 20, 21])));
        assert_eq!(Identity::parse("Uid:\t1\t1\nGid:\t2\t2\nGroups:\t\n"), Some((1, vec![2])));
        assert_eq!(Identity::parse("Name:\ta\n"), None);
        assert_eq!(Identity::of_process("self").unwrap().uid, nix::unistd::geteuid().as_raw());
    }

    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap();
        fs::create_dir(at.join("real")).unwrap();
        fs::File::create(at.join("real/list")).unwrap();
        std::os::unix::fs::symlink("real/list", at.join("list")).unwrap();
        let found: Vec<PathBuf> = steps(&at.join("list"), Right::Read).into_iter().map(|step| step.path).collect();
        assert_eq!(found[found.len() - 3..], [at.clone(), at.join("real"), at.join("real/list")]);
        assert_eq!(found[0], Path::new("/"));
    }
}
