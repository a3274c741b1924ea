//! Notifies systemd of the daemon's state, by the protocol of sd_notify(3).
//!
//! Guarantees: without NOTIFY_SOCKET all methods do nothing. The variables are removed from the
//! environment, so that no check command can notify systemd in the daemon's name. The socket may
//! have a path or an abstract name.
//!
//! Blocking: none.
//!
//! Out of scope: when to notify (`daemon`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// The variables that systemd sets for the daemon only.
const VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The connection to systemd, if systemd started the daemon.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Removes the variables from the environment and reads them. Call it before any thread starts.
    ///
    /// # Errors
    /// NOTIFY_SOCKET is not the name of a socket, or no descriptor is left. The variables are
    /// removed in any case.
    pub fn from_environment() -> io::Result<ServiceManager> {
        let [socket, usec, pid, ..] = VARIABLES.map(|name| {
            let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
            std::env::remove_var(name);
            value
        });
        let Some(name) = socket.filter(|name| !name.is_empty()) else { return Ok(ServiceManager::default()) };
        // The watchdog may be meant for another process: the one that started this one.
        let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let usec = usec.filter(|_| is_ours).and_then(|usec| usec.parse().ok()).filter(|usec| *usec > 0);
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

    /// Returns the watchdog's timeout, if it is on. [`ServiceManager::alive`] is to be called twice
    /// in that time.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Reports that the daemon has started or reloaded.
    ///
    /// # Errors
    /// Here and below: systemd does not listen, or its queue is full. Send it again later.
    pub fn ready(&self) -> io::Result<()> {
        self.send("READY=1")
    }

    /// Sets the status line of `systemctl status`.
    pub fn status(&self, text: &str) -> io::Result<()> {
        // A line break would start another assignment.
        self.send(&format!("STATUS={}", text.replace(['\n', '\0'], " ")))
    }

    /// Reports that the daemon is stopping.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    /// Reports that the daemon is reloading its configuration. [`ServiceManager::ready`] ends the
    /// reload.
    pub fn reloading(&self) -> io::Result<()> {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"))
    }

    /// Resets the watchdog.
    pub fn alive(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    fn send(&self, text: &str) -> io::Result<()> {
        match &self.socket {
            // Not connected, as systemd may have another socket after it has re-executed itself.
            Some((socket, address)) => socket.send_to_addr(text.as_bytes(), address).map(|_| ()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated::{alone, this_program};

    /// The environment belongs to the process, so each test runs in a process of its own.
    fn in_environment(name: &str, variables: &[&str]) -> bool {
        alone(&format!("sys::sd_notify::tests::{name}"), &[&["env"], variables].concat(), &this_program())
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn check_all_notifications(socket: &UnixDatagram) {
        let systemd = ServiceManager::from_environment().unwrap();
        for name in VARIABLES {
            assert_eq!(std::env::var_os(name), None, "{name}");
        }
        systemd.ready().unwrap();
        assert_eq!(receive(socket), "READY=1");
        systemd.status("17 of 18\nSTOPPING=1").unwrap();
        assert_eq!(receive(socket), "STATUS=17 of 18 STOPPING=1");
        systemd.alive().unwrap();
        assert_eq!(receive(socket), "WATCHDOG=1");
        systemd.reloading().unwrap();
        let usec = receive(socket).strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!(usec > 0);
        systemd.stopping().unwrap();
        assert_eq!(receive(socket), "STOPPING=1");
        assert_eq!(systemd.watchdog(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn systemd_is_notified_through_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::env::var_os("NOTIFY_SOCKET").map_or(dir.path().join("socket"), Into::into);
        let variable = format!("NOTIFY_SOCKET={}", path.display());
        if in_environment(
            "systemd_is_notified_through_a_path",
            &[&variable, "WATCHDOG_USEC=3000000", "LISTEN_FDS=1", "LISTEN_PID=1"],
        ) {
            check_all_notifications(&UnixDatagram::bind(path).unwrap());
        }
    }

    #[test]
    fn systemd_is_notified_through_an_abstract_name() {
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or(format!("@notify-test-{:016x}", rand::random::<u64>()));
        let variable = format!("NOTIFY_SOCKET={name}");
        if in_environment("systemd_is_notified_through_an_abstract_name", &[&variable, "WATCHDOG_USEC=3000000"]) {
            check_all_notifications(
                &UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap(),
            );
        }
    }

    #[test]
    fn without_the_variable_nothing_is_sent() {
        if in_environment("without_the_variable_nothing_is_sent", &["-u", "NOTIFY_SOCKET", "WATCHDOG_USEC=3000000"]) {
            let systemd = ServiceManager::from_environment().unwrap();
            systemd.ready().unwrap();
            assert_eq!(systemd.watchdog(), None);
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_ignored() {
        let variables = ["NOTIFY_SOCKET=@no-listener", "WATCHDOG_USEC=3000000", "WATCHDOG_PID=1"];
        if in_environment("a_watchdog_of_another_process_is_ignored", &variables) {
            let systemd = ServiceManager::from_environment().unwrap();
            assert_eq!(systemd.watchdog(), None);
            assert!(systemd.ready().is_err(), "nothing listens on that socket");
        }
    }

    #[test]
    fn an_invalid_socket_name_is_an_error() {
        if in_environment("an_invalid_socket_name_is_an_error", &["NOTIFY_SOCKET=vsock:2:1"]) {
            assert!(ServiceManager::from_environment().is_err());
            assert_eq!(std::env::var_os("NOTIFY_SOCKET"), None);
        }
    }

    /// A full queue is an error at once.
    #[test]
    fn a_full_queue_is_an_error_and_does_not_block() {
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or(format!("@notify-test-{:016x}", rand::random::<u64>()));
        if in_environment("a_full_queue_is_an_error_and_does_not_block", &[&format!("NOTIFY_SOCKET={name}")]) {
            let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
            let _listener = UnixDatagram::bind_addr(&address).unwrap();
            let systemd = ServiceManager::from_environment().unwrap();
            let error = (0..1_000_000).find_map(|_| systemd.alive().err()).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
