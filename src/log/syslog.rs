//! Sends log lines as syslog datagrams to `log_server`.
//!
//! Guarantees: sockets are never connected, so that an ICMP error (no process listens) costs no
//! line. A name is resolved again after a failure and every [`RESOLVE_INTERVAL`]. If it can no
//! longer be resolved, the last addresses are still used. A datagram is sent to the first address,
//! IPv4 or IPv6, that accepts it. A line that is too long for a datagram is truncated.
//!
//! Blocking: the target's thread, on DNS and on the socket.
//!
//! Out of scope: the line in a datagram (`log::format`). Whether a datagram was received is
//! unknown.
//!
//! The crate `syslog` provides the facility, the severities, the formatter trait and the UDP
//! backend. Three of its parts do not meet the guarantees of the original or of this module, so
//! they are replaced (the tests show each):
//! - [`Formatter3164`](::syslog::Formatter3164) writes a UTC time stamp of its own before each line
//!   and no NUL after it: [`Datagram`] writes the original's bytes.
//! - [`udp`](::syslog::udp) resolves the server's name once, keeps its first address only, and
//!   sends through a socket that can block without limit: [`Syslog`] creates a backend for each
//!   address.
//! - [`Logger`](::syslog::Logger) formats and sends in one call: here the thread that logs a line
//!   formats it, and another thread sends it.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use syslog::{Facility, LogFormat, LoggerBackend, Severity};

use crate::config::settings::LogLevel;
use crate::log::format::severity;
use crate::log::queue::{Sink, WriteError};
use crate::sys::poll::poll_until;

/// Time after which a name is resolved again.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(60);

/// Minimum time between two resolutions, even after failures.
const MIN_RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum time to wait for space in the socket's buffer.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum length of a datagram. UDP over IPv4 allows 65,507 bytes.
const MAX_DATAGRAM_LEN: usize = 65_000;

/// Why lines are lost.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// The name is unknown, or DNS is unavailable.
    #[error("cannot resolve log_server {host}: {source}; lines for it are lost until that is mended")]
    Resolve {
        /// The configured `log_server`.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// There is no route, or no socket could be created.
    #[error("cannot send to log_server {address}: {source}; lines for it are lost until that is mended")]
    Send {
        /// The server's address and port.
        address: SocketAddr,
        /// The error of the system call.
        source: io::Error,
    },
}

/// Formats a line as Python's SysLogHandler does: `<PRI>`, the line, NUL.
pub struct Datagram(pub Facility);

impl<T: Display> LogFormat<T> for Datagram {
    fn format<W: Write>(&self, writer: &mut W, severity: Severity, line: T) -> syslog::Result<()> {
        write!(writer, "<{}>{line}\0", self.0 as u8 | severity as u8).map_err(syslog::Error::Write)
    }
}

/// Returns the datagram of a line, with the original's facility.
pub fn datagram(level: LogLevel, line: &str) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(line.len() + "<14>\0".len());
    // Writing to a Vec cannot fail.
    let _ = Datagram(Facility::LOG_USER).format(&mut datagram, severity(level), line);
    datagram
}

/// A syslog server. Its name is resolved when the first line is sent.
pub struct Syslog {
    host: String,
    port: u16,
    /// The resolved addresses, starting with the one that accepted the last datagram.
    addresses: Vec<SocketAddr>,
    /// Time of the last resolution, successful or not.
    resolved_at: Option<Instant>,
    /// Whether the last batch was not sent completely.
    has_failed: bool,
    /// The socket for the first address.
    backend: Option<LoggerBackend>,
}

impl Syslog {
    /// Creates a client of the server at `host`, an address or a name. It resolves and sends
    /// nothing yet.
    pub fn new(host: String, port: u16) -> Syslog {
        Syslog { host, port, addresses: Vec::new(), resolved_at: None, has_failed: false, backend: None }
    }

    /// Resolves the name if that is due.
    ///
    /// # Errors
    /// No address is known.
    fn resolve(&mut self) -> Result<(), SyslogError> {
        let interval =
            if self.has_failed || self.addresses.is_empty() { MIN_RESOLVE_INTERVAL } else { RESOLVE_INTERVAL };
        let mut error = io::ErrorKind::NotFound.into();
        if self.resolved_at.is_none_or(|at| at.elapsed() >= interval) {
            match (&*self.host, self.port).to_socket_addrs() {
                Ok(addresses) => self.set_addresses(addresses.collect()),
                Err(source) => error = source,
            }
            self.resolved_at = Some(Instant::now());
        }
        if self.addresses.is_empty() {
            return Err(SyslogError::Resolve { host: self.host.clone(), source: error });
        }
        Ok(())
    }

    /// Replaces the addresses, unless they are the same in another order, or none.
    fn set_addresses(&mut self, new: Vec<SocketAddr>) {
        let is_same = new.len() == self.addresses.len() && new.iter().all(|one| self.addresses.contains(one));
        if !is_same && !new.is_empty() {
            self.addresses = new;
            self.backend = None;
        }
    }

    /// Sends a datagram to the first address that accepts it.
    fn send(&mut self, datagram: &[u8]) -> Result<(), SyslogError> {
        let mut result = Ok(());
        for _ in 0..self.addresses.len() {
            let address = self.addresses[0];
            match self.send_to(address, datagram) {
                Ok(()) => return Ok(()),
                Err(source) => result = result.and(Err(SyslogError::Send { address, source })),
            }
            self.backend = None;
            self.addresses.rotate_left(1);
        }
        result
    }

    fn send_to(&mut self, address: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let backend = match self.backend.take() {
            Some(backend) => backend,
            None => LoggerBackend::Udp(bind_for(address)?, address),
        };
        let backend = self.backend.insert(backend);
        match backend.write(datagram) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && wait_until_writable(backend) => {
                backend.write(datagram).map(drop)
            }
            result => result.map(drop),
        }
    }
}

impl Sink for Syslog {
    /// Sends each line, which ends in NUL, as a datagram of its own.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        let datagrams = || lines.split_inclusive(|byte| *byte == b'\0');
        self.resolve().map_err(|why| WriteError { lines: datagrams().count() as u64, why: Box::new(why) })?;
        let mut error: Option<WriteError> = None;
        for datagram in datagrams() {
            if let Err(why) = self.send(&truncate(datagram)) {
                error.get_or_insert(WriteError { lines: 0, why: Box::new(why) }).lines += 1;
            }
        }
        self.has_failed = error.is_some();
        error.map_or(Ok(()), Err)
    }
}

/// Creates a nonblocking socket of the address's family.
fn bind_for(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Waits until the socket's buffer has space. Returns false if that takes too long.
fn wait_until_writable(backend: &LoggerBackend) -> bool {
    let deadline = Instant::now() + SEND_TIMEOUT;
    matches!(backend, LoggerBackend::Udp(socket, _)
        if poll_until(&mut [PollFd::new(socket, PollFlags::OUT)], Some(deadline)))
}

/// Truncates a line to the length of a datagram, at the end of a character and with NUL at the end.
fn truncate(line: &[u8]) -> Cow<'_, [u8]> {
    if line.len() <= MAX_DATAGRAM_LEN {
        return line.into();
    }
    let starts_character = |at: &usize| line[*at] & 0xc0 != 0x80;
    let end = (0..MAX_DATAGRAM_LEN).rev().find(starts_character).unwrap_or(0);
    [&line[..end], b"\0"].concat().into()
}

#[cfg(test)]
mod tests;
