//! To be replaced.
use std::path::{Path, PathBuf};
/// x
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// x
    #[error("{0}")]
    Io(String),
}
/// x
pub struct Instance(PathBuf, std::os::unix::net::UnixDatagram);
impl Instance {
    /// x
    pub fn acquire(pidfile: &Path) -> Result<Instance, InstanceError> {
        use std::os::linux::net::SocketAddrExt as _;
        let io = |why: std::io::Error| InstanceError::Io(why.to_string());
        let address = std::os::unix::net::SocketAddr::from_abstract_name("anycast-healthchecker").map_err(io)?;
        let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).map_err(io)?;
        crate::sys::atomic_file::replace(
            pidfile,
            format!("{}\n", std::process::id()).as_bytes(),
            crate::sys::atomic_file::Durability::Unsynced,
        )
        .map_err(|why| InstanceError::Io(why.to_string()))?;
        Ok(Instance(pidfile.into(), socket))
    }
}
impl Drop for Instance {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
