//! Reads the addresses of this machine's interfaces from the kernel through netlink, without
//! starting a program.
//!
//! Guarantees: an address belongs to its interface, whatever its label. An interface has every name
//! that `ip address show dev NAME`, and thus the original, accepts: its name, its alternative
//! names, a label (`lo:1`, whether or not an address has that label), its index (`if3`). Every
//! address that the kernel lists counts, even if it is tentative or failed duplicate address
//! detection, as for `ip address show`: the check command decides whether traffic arrives. A list
//! that changed while it was read is requested again, so that the result is complete or an error.
//! It takes about a second at most.
//!
//! Blocking: the caller, for the kernel's answer.
//!
//! Out of scope: the reaction to a change (`check::addresses`). [`Netlink`] only reports that
//! something changed. The caller finds out what by requesting the list again, so notifications that
//! the kernel drops do no harm.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    bind, recvfrom, sendto, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType,
};

use crate::prefix::Prefix;
use crate::sys::poll::poll_until;
use message::{messages, request, Message, GET_ADDR, GET_LINK};

mod message;

/// Multicast groups of changes: `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const CHANGE_GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Maximum time for all requests of one list.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of requests for a list that keeps changing.
const MAX_ATTEMPTS: usize = 10;
/// Size of the receive buffer. The kernel sizes datagrams to the reader's buffer.
const BUFFER_SIZE: usize = 32 * 1024;
/// Maximum length of an interface's name. Alternative names may be longer.
const MAX_NAME_LEN: usize = 15;
/// Maximum number of notifications discarded at once: more than the socket's queue holds.
const MAX_CHANGES: usize = 100_000;

/// The interfaces of this machine and their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Addresses and prefix lengths by each name and alternative name. Interfaces without an
    /// address are missing.
    assigned: HashMap<Arc<str>, HashSet<(IpAddr, u8)>>,
    /// Interface index by each name and alternative name.
    indices: Arc<HashMap<Arc<str>, u32>>,
}

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// One of the interface's names.
    pub interface: Arc<str>,
    /// The address.
    pub ip: IpAddr,
    /// The prefix length in bits.
    pub length: u8,
}

impl Addresses {
    /// Returns whether the interface has exactly this address and prefix length. False if it does
    /// not exist.
    pub fn has(&self, interface: &str, prefix: &Prefix) -> bool {
        let address = (prefix.address(), prefix.length());
        self.name(interface)
            .and_then(|name| self.assigned.get(name))
            .is_some_and(|addresses| addresses.contains(&address))
    }

    /// Returns whether an interface has this name.
    pub fn has_interface(&self, interface: &str) -> bool {
        self.name(interface).is_some()
    }

    /// Copies the set of interfaces, but not their addresses.
    pub fn adopt_interfaces(&mut self, other: &Addresses) {
        self.indices = other.indices.clone();
    }

    /// Resolves `interface` to a known name, in the order of `ip`: a name, then a label, then an
    /// index.
    fn name<'a>(&'a self, interface: &'a str) -> Option<&'a str> {
        let is_known = |name: &&str| self.indices.contains_key(*name) || self.assigned.contains_key(*name);
        let label_of = || interface.split_once(':').filter(|_| interface.len() <= MAX_NAME_LEN).map(|(name, _)| name);
        Some(interface).filter(is_known).or_else(|| label_of().filter(is_known)).or_else(|| {
            let index = index(interface)?;
            self.indices.iter().find(|(_, known)| **known == index).map(|(name, _)| &**name)
        })
    }

    /// Returns the addresses that only one of the two has.
    pub fn differences(&self, other: &Addresses) -> Vec<InterfaceAddress> {
        self.missing_in(other).chain(other.missing_in(self)).collect()
    }

    /// Removes the address if it is there, and adds it otherwise.
    pub fn toggle(&mut self, address: &InterfaceAddress) {
        let InterfaceAddress { interface, ip, length } = address;
        let assigned = self.assigned.entry(interface.clone()).or_default();
        if !assigned.remove(&(*ip, *length)) {
            assigned.insert((*ip, *length));
        }
        if assigned.is_empty() {
            self.assigned.remove(interface);
        }
    }

    /// Returns the addresses that `other` lacks.
    fn missing_in<'a>(&'a self, other: &'a Addresses) -> impl Iterator<Item = InterfaceAddress> + 'a {
        self.assigned.iter().flat_map(move |(interface, addresses)| {
            let others = other.assigned.get(interface);
            addresses
                .iter()
                .filter(move |address| others.is_none_or(|others| !others.contains(address)))
                .map(|(ip, length)| InterfaceAddress { interface: interface.clone(), ip: *ip, length: *length })
        })
    }
}

/// Parses a name such as `if3` as an index, as `ip` does with `sscanf("if%u")`.
fn index(name: &str) -> Option<u32> {
    let number = name.strip_prefix("if")?.trim_ascii_start();
    let number = number.strip_prefix('+').unwrap_or(number);
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// Two netlink sockets: one for requests, and one ([`AsFd`]) that is readable once an address or
/// interface changed.
#[derive(Debug)]
pub struct Netlink {
    requests: OwnedFd,
    changes: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens both sockets. All later changes are reported.
    ///
    /// # Errors
    /// No descriptor is left, or this process may not use netlink.
    pub fn open() -> io::Result<Netlink> {
        let buffer = Vec::with_capacity(BUFFER_SIZE);
        Ok(Netlink { changes: open_socket(CHANGE_GROUPS)?, requests: open_socket(0)?, sequence: 0, buffer })
    }

    /// Requests all current addresses of all interfaces.
    ///
    /// # Errors
    /// A system call failed, the kernel did not answer in time, its answer cannot be parsed, or the
    /// list keeps changing.
    pub fn addresses(&mut self) -> io::Result<Addresses> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        for _ in 0..MAX_ATTEMPTS {
            let mut names: HashMap<u32, Vec<Arc<str>>> = HashMap::new();
            let mut addresses = Addresses::default();
            let is_complete = self.dump(GET_LINK, deadline, |message| {
                if let Message::Link { index, names: of_link } = message {
                    names.insert(index, of_link.into_iter().map(Arc::from).collect());
                }
            })? && self.dump(GET_ADDR, deadline, |message| {
                if let Message::Address { index, ip, length } = message {
                    // A new interface is in the next list, as its creation is reported as a change.
                    for name in names.get(&index).into_iter().flatten() {
                        addresses.assigned.entry(name.clone()).or_default().insert((ip, length));
                    }
                }
            })?;
            if is_complete {
                let names =
                    names.into_iter().flat_map(|(index, names)| names.into_iter().map(move |name| (name, index)));
                addresses.indices = Arc::new(names.collect());
                return Ok(addresses);
            }
        }
        Err(io::Error::other("the addresses change faster than they can be read"))
    }

    /// Discards pending notifications, so that the descriptor becomes readable at the next change.
    ///
    /// # Errors
    /// The socket is broken and must be opened again.
    pub fn take_changes(&mut self) -> io::Result<()> {
        for _ in 0..MAX_CHANGES {
            match receive(&self.changes, &mut self.buffer) {
                // The kernel dropped notifications, or one is too long for the buffer: a change
                // like any other.
                Ok(_) | Err(Errno::NOBUFS | Errno::MSGSIZE | Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Requests one list and calls `each` for each of its messages. Returns false if the list
    /// changed meanwhile.
    fn dump(&mut self, kind: u16, deadline: Instant, mut each: impl FnMut(Message)) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.requests, &request(kind, self.sequence), SendFlags::empty(), &kernel)?;
        let mut is_complete = true;
        loop {
            let sender = match receive(&self.requests, &mut self.buffer) {
                Ok(sender) => sender,
                Err(Errno::AGAIN | Errno::INTR) => {
                    if !poll_until(&mut [PollFd::new(&self.requests, PollFlags::IN)], Some(deadline)) {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer in time"));
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if sender != Some(kernel) {
                continue;
            }
            for received in messages(&self.buffer) {
                match received.message {
                    Message::Broken => return Err(io::Error::other("the kernel's answer cannot be understood")),
                    // An answer to an earlier request that was given up.
                    _ if received.sequence != self.sequence => continue,
                    Message::Failed(number) => return Err(io::Error::from_raw_os_error(number)),
                    Message::Done => return Ok(is_complete && !received.interrupted),
                    message => each(message),
                }
                is_complete &= !received.interrupted;
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

/// Opens a nonblocking netlink socket that is a member of `groups`.
fn open_socket(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // The default protocol is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Reads one datagram into `buffer` and returns its sender. A truncated datagram is the error
/// `MSGSIZE`.
fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<Option<SocketAddrNetlink>, Errno> {
    buffer.clear();
    let (_, length, sender) = recvfrom(socket, rustix::buffer::spare_capacity(buffer), RecvFlags::TRUNC)?;
    if length > buffer.len() {
        return Err(Errno::MSGSIZE);
    }
    Ok(sender.and_then(|sender: SocketAddrAny| SocketAddrNetlink::try_from(sender).ok()))
}

#[cfg(test)]
mod tests;
