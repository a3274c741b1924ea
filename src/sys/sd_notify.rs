//! Telling systemd how the daemon is, by the protocol of sd_notify(3).
//!
//! Promises: without NOTIFY_SOCKET nothing happens; nothing ever blocks; the variables are taken out of the
//! environment, so that no check command speaks for the daemon. The socket may have a path or an abstract name.
//! Leaves out: when something is to be told (`daemon`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// All that systemd gives to the daemon alone.
const TAKEN: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The way to systemd, where there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Takes the variables. For the first lines of the daemon, before any thread starts.
    ///
    /// # Errors
    /// NOTIFY_SOCKET names no socket, or no descriptor is left. The variables are taken all the same.
    pub fn from_environment() -> io::Result<ServiceManager> {
        let [socket, usec, pid, ..] = TAKEN.map(|name| {
            let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
            std::env::remove_var(name);
            value
        });
        let Some(name) = socket.filter(|name| !name.is_empty()) else { return Ok(ServiceManager::default()) };
        // A watchdog for another process (the one that started this) is none of ours.
        let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let usec = usec.filter(|_| ours).and_then(|usec| usec.parse().ok()).filter(|usec| *usec > 0);
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if name.starts_with('/') => SocketAddr::from_pathname(&name)?,
            None => {
                return Err(io::Error::other(format!("NOTIFY_SOCKET={name} is neither a path nor an abstract name")))
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(ServiceManager { socket: Some((socket, address)), watchdog: usec.map(Duration::from_micros) })
    }

    /// Within which time systemd wants to hear [`ServiceManager::alive`], if it does: twice in it is the custom.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The daemon has started, or has reloaded.
    ///
    /// # Errors
    /// As for all of these: systemd does not listen, or its queue is full. To be told again later.
    pub fn ready(&self) -> io::Result<()> {
        self.send("READY=1")
    }

    /// A line for `systemctl status`.
    pub fn status(&self, text: &str) -> io::Result<()> {
        // Behind a line break stands the next message.
        self.send(&format!("STATUS={}", text.replace(['\n', '\0'], " ")))
    }

    /// The daemon is about to stop.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    /// The daemon reads its configuration again; [`ServiceManager::ready`] ends that.
    pub fn reloading(&self) -> io::Result<()> {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"))
    }

    /// For the watchdog.
    pub fn alive(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    fn send(&self, text: &str) -> io::Result<()> {
        match &self.socket {
            // Sent anew each time rather than connected, as systemd's socket may be another after it is executed anew.
            Some((socket, address)) => socket.send_to_addr(text.as_bytes(), address).map(|_| ()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated::{alone, this_program};

    /// The environment belongs to the process, so each case has one of its own; the socket is the test's.
    fn in_environment(name: &str, variables: &[&str]) -> bool {
        alone(&format!("sys::sd_notify::tests::{name}"), &[&["env"], variables].concat(), &this_program())
    }

    fn hears(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn all_is_told(socket: &UnixDatagram) {
        let notify = ServiceManager::from_environment().unwrap();
        for name in TAKEN {
            assert_eq!(std::env::var_os(name), None, "{name}");
        }
        notify.ready().unwrap();
        assert_eq!(hears(socket), "READY=1");
        notify.status("17 of 18\nSTOPPING=1").unwrap();
        assert_eq!(hears(socket), "STATUS=17 of 18 STOPPING=1");
        notify.alive().unwrap();
        assert_eq!(hears(socket), "WATCHDOG=1");
        notify.reloading().unwrap();
        let usec = hears(socket).strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!(usec > 0);
        notify.stopping().unwrap();
        assert_eq!(hears(socket), "STOPPING=1");
        assert_eq!(notify.watchdog(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn by_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::env::var_os("NOTIFY_SOCKET").map_or(dir.path().join("socket"), Into::into);
        let variable = format!("NOTIFY_SOCKET={}", path.display());
        if in_environment("by_a_path", &[&variable, "WATCHDOG_USEC=3000000", "LISTEN_FDS=1", "LISTEN_PID=1"]) {
            all_is_told(&UnixDatagram::bind(path).unwrap());
        }
    }

    #[test]
    fn by_an_abstract_name() {
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or(format!("@notify-test-{:016x}", rand::random::<u64>()));
        let variable = format!("NOTIFY_SOCKET={name}");
        if in_environment("by_an_abstract_name", &[&variable, "WATCHDOG_USEC=3000000"]) {
            all_is_told(&UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap());
        }
    }

    #[test]
    fn nothing_without_the_variable() {
        if in_environment("nothing_without_the_variable", &["-u", "NOTIFY_SOCKET", "WATCHDOG_USEC=3000000"]) {
            let notify = ServiceManager::from_environment().unwrap();
            notify.ready().unwrap();
            assert_eq!(notify.watchdog(), None);
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        let variables = ["NOTIFY_SOCKET=@nobody-listens", "WATCHDOG_USEC=3000000", "WATCHDOG_PID=1"];
        if in_environment("a_watchdog_of_another_process_is_none", &variables) {
            let notify = ServiceManager::from_environment().unwrap();
            assert_eq!(notify.watchdog(), None);
            assert!(notify.ready().is_err(), "nobody listens, which is to be known");
        }
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        if in_environment("a_name_that_is_none_is_an_error", &["NOTIFY_SOCKET=vsock:2:1"]) {
            assert!(ServiceManager::from_environment().is_err());
            assert_eq!(std::env::var_os("NOTIFY_SOCKET"), None);
        }
    }

    /// A full queue is an error at once and no wait.
    #[test]
    fn nothing_blocks() {
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or(format!("@notify-test-{:016x}", rand::random::<u64>()));
        if in_environment("nothing_blocks", &[&format!("NOTIFY_SOCKET={name}")]) {
            let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
            let _listener = UnixDatagram::bind_addr(&address).unwrap();
            let notify = ServiceManager::from_environment().unwrap();
            let error = (0..1_000_000).find_map(|_| notify.alive().err()).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
