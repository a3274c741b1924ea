//! Log lines as syslog datagrams to `log_server`.
//!
//! Promises: sockets are never connected, so that an ICMP error (nobody listens) costs no line; a name is resolved again
//! after a failure and every [`RESOLVE_AGAIN`], by the target's own thread, which alone waits for DNS; where it cannot be
//! resolved any more, the last addresses are used on; IPv4 or IPv6, whichever takes the datagram; a line that
//! no datagram can hold is cut.
//! Leaves out: the line in a datagram (`log::format`). Whether anyone received a datagram cannot be known.
//!
//! The crate `syslog` provides the facility, the severities, the trait of formatters and the UDP backend. Three of its parts
//! cannot keep what the original or this module promises, so they are replaced (the tests show each):
//! - [`Formatter3164`](::syslog::Formatter3164) writes a UTC time stamp of its own before each line and no NUL after it:
//!   [`Datagram`] writes the original's bytes.
//! - [`udp`](::syslog::udp) resolves the server's name once, keeps its first address only, and sends through a socket that
//!   can block without limit: [`Syslog`] makes the backend, anew for each address.
//! - [`Logger`](::syslog::Logger) formats and sends in one call: here a line is formatted by the thread that logs it and sent
//!   by another.

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

/// How long an address is trusted.
pub const RESOLVE_AGAIN: Duration = Duration::from_secs(60);

/// How long after a resolution, good or bad, a failure may cause the next.
const RESOLVE_PAUSE: Duration = Duration::from_secs(5);

/// How long a line waits for room in the socket's buffer while the network is slow.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest datagram; UDP over IPv4 ends at 65,507 bytes.
const MAX_DATAGRAM_LEN: usize = 65_000;

/// Why lines are lost.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// The name is unknown, or there is no DNS.
    #[error("cannot resolve log_server {host}: {source}; lines for it are lost until that is mended")]
    Resolve {
        /// `log_server`.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// There is no route, or no socket.
    #[error("cannot send to log_server {address}: {source}; lines for it are lost until that is mended")]
    Send {
        /// Its address and port.
        address: SocketAddr,
        /// What the kernel says.
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

/// The datagram of a line, of the original's facility.
pub fn datagram(level: LogLevel, line: &str) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(line.len() + "<14>\0".len());
    // Writing to a Vec cannot fail.
    let _ = Datagram(Facility::LOG_USER).format(&mut datagram, severity(level), line);
    datagram
}

/// A syslog server. It is resolved with the first line.
pub struct Syslog {
    host: String,
    port: u16,
    /// What the name stands for, the one that took the last datagram in front.
    addresses: Vec<SocketAddr>,
    resolved: Option<Instant>,
    failed: bool,
    /// Of the first address.
    backend: Option<LoggerBackend>,
}

impl Syslog {
    /// The server at `host`, which is an address or a name.
    pub fn new(host: String, port: u16) -> Syslog {
        Syslog { host, port, addresses: Vec::new(), resolved: None, failed: false, backend: None }
    }

    /// Resolves the name where that is due. Fails where no address is known.
    fn resolve(&mut self) -> Result<(), SyslogError> {
        let age = if self.failed || self.addresses.is_empty() { RESOLVE_PAUSE } else { RESOLVE_AGAIN };
        let mut error = io::ErrorKind::NotFound.into();
        if self.resolved.is_none_or(|resolved| resolved.elapsed() >= age) {
            match (&*self.host, self.port).to_socket_addrs() {
                Ok(found) => self.know(found.collect()),
                Err(source) => error = source,
            }
            self.resolved = Some(Instant::now());
        }
        if self.addresses.is_empty() {
            return Err(SyslogError::Resolve { host: self.host.clone(), source: error });
        }
        Ok(())
    }

    fn know(&mut self, found: Vec<SocketAddr>) {
        let known = found.len() == self.addresses.len() && found.iter().all(|one| self.addresses.contains(one));
        if !known && !found.is_empty() {
            (self.addresses, self.backend) = (found, None);
        }
    }

    /// Tries the addresses in turn.
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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && wait_for_room(backend) => {
                backend.write(datagram).map(drop)
            }
            result => result.map(drop),
        }
    }
}

impl Sink for Syslog {
    /// Sends each line, which ends in NUL, as a datagram of its own.
    fn put(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        let datagrams = || lines.split_inclusive(|byte| *byte == b'\0');
        self.resolve().map_err(|why| WriteError { lines: datagrams().count() as u64, why: Box::new(why) })?;
        let mut loss: Option<WriteError> = None;
        for datagram in datagrams() {
            if let Err(why) = self.send(&cut(datagram)) {
                loss.get_or_insert(WriteError { lines: 0, why: Box::new(why) }).lines += 1;
            }
        }
        self.failed = loss.is_some();
        loss.map_or(Ok(()), Err)
    }
}

fn bind_for(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Waits until the socket's buffer has room again; false where that takes too long.
fn wait_for_room(backend: &LoggerBackend) -> bool {
    let until = Instant::now() + SEND_TIMEOUT;
    matches!(backend, LoggerBackend::Udp(socket, _)
        if poll_until(&mut [PollFd::new(socket, PollFlags::OUT)], Some(until)))
}

/// What a datagram can hold of a line: it ends with a whole character, and NUL.
fn cut(line: &[u8]) -> Cow<'_, [u8]> {
    if line.len() <= MAX_DATAGRAM_LEN {
        return line.into();
    }
    let starts_character = |at: &usize| line[*at] & 0xc0 != 0x80;
    let end = (0..MAX_DATAGRAM_LEN).rev().find(starts_character).unwrap_or(0);
    [&line[..end], b"\0"].concat().into()
}

#[cfg(test)]
mod tests;
