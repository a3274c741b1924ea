//! Facts about a Unix socket's file for error messages.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group};

/// Returns the group whose members may connect: that of the socket, or of the nearest existing
/// directory above it.
///
/// A group without a name is given by its number. `None` if no group can be read.
pub fn group_of(path: &Path) -> Option<String> {
    let gid = path.ancestors().find_map(|path| Some(std::fs::metadata(path).ok()?.gid()))?;
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    Some(group.map_or_else(|| gid.to_string(), |group| group.name))
}
