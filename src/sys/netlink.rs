//! The addresses of this machine's interfaces, asked of the kernel by netlink, without starting a program.
//!
//! Promises: addresses belong to the interface, whatever label they carry; an interface is known by every name that
//! `ip address show dev NAME` takes, and so the original: its name, its alternative names, a label (`lo:1`, whether an
//! address has that label or not), its index (`if3`). Every address that the kernel lists counts, also one that is tentative or failed its duplicate check, as for
//! `ip address show` and so for the original: whether traffic arrives is for the check to say. A list that changed while
//! it was read out is asked for again; what comes back is complete, or an error, and comes within a second or so.
//! Leaves out: what is to be done about a change (`check::addresses`). [`Netlink`] only tells that there was one: what
//! changed is seen by asking again, so that a message which got lost (the kernel drops them when they pile up) is no matter.

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

/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const CHANGES: u32 = 0x1 | 0x10 | 0x100;
/// How long the kernel may take to answer, and how often a list is asked for that changes all the time.
const LIMIT: Duration = Duration::from_secs(1);
const TRIES: usize = 10;
/// The kernel makes no longer datagrams for who reads with a buffer of this size.
const BUFFER: usize = 32 * 1024;
/// The longest name of an interface; only an alternative name can be longer.
const MAX_NAME_LEN: usize = 15;
/// How many changes are taken off the queue at once; it holds fewer.
const MOST_CHANGES: usize = 100_000;

/// Which interfaces there are and which addresses each has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// By each name and alternative name. An interface without an address is not among them.
    assigned: HashMap<Arc<str>, HashSet<(IpAddr, u8)>>,
    /// The index of each name and alternative name.
    indices: Arc<HashMap<Arc<str>, u32>>,
}

/// One address, with its length, at one interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The interface, by one of its names.
    pub interface: Arc<str>,
    /// The address.
    pub ip: IpAddr,
    /// Its length in bits.
    pub length: u8,
}

impl Addresses {
    /// Whether the interface has exactly this address with exactly this length. One that does not exist has none.
    pub fn has(&self, interface: &str, prefix: &Prefix) -> bool {
        let address = (prefix.address(), prefix.length());
        self.name(interface).and_then(|name| self.assigned.get(name)).is_some_and(|found| found.contains(&address))
    }

    /// Whether there is an interface of this name.
    pub fn has_interface(&self, interface: &str) -> bool {
        self.name(interface).is_some()
    }

    /// Takes over which interfaces there are.
    pub fn adopt_interfaces(&mut self, other: &Addresses) {
        self.indices = other.indices.clone();
    }

    /// The name that `interface` stands for: as `ip` does it, first the name itself, then what the kernel takes for a
    /// label, then an index.
    fn name<'a>(&'a self, interface: &'a str) -> Option<&'a str> {
        let is_known = |name: &&str| self.indices.contains_key(*name) || self.assigned.contains_key(*name);
        let label_of = || interface.split_once(':').filter(|_| interface.len() <= MAX_NAME_LEN).map(|(name, _)| name);
        Some(interface).filter(is_known).or_else(|| label_of().filter(is_known)).or_else(|| {
            let index = index(interface)?;
            self.indices.iter().find(|(_, found)| **found == index).map(|(name, _)| &**name)
        })
    }

    /// What one of the two has and the other lacks.
    pub fn differences(&self, other: &Addresses) -> Vec<InterfaceAddress> {
        self.places_not_in(other).chain(other.places_not_in(self)).collect()
    }

    /// Takes a place out that is there, and puts one in that is not.
    pub fn toggle(&mut self, place: &InterfaceAddress) {
        let found = self.assigned.entry(place.interface.clone()).or_default();
        let address = (place.ip, place.length);
        if !found.remove(&address) {
            found.insert(address);
        }
        if found.is_empty() {
            self.assigned.remove(&place.interface);
        }
    }

    fn places_not_in<'a>(&'a self, other: &'a Addresses) -> impl Iterator<Item = InterfaceAddress> + 'a {
        self.assigned.iter().flat_map(move |(interface, addresses)| {
            let others = other.assigned.get(interface);
            addresses
                .iter()
                .filter(move |address| others.is_none_or(|others| !others.contains(address)))
                .map(|(ip, length)| InterfaceAddress { interface: interface.clone(), ip: *ip, length: *length })
        })
    }
}

/// The number of a name such as `if3`, read as by `ip`'s `sscanf("if%u")`.
fn index(name: &str) -> Option<u32> {
    let number = name.strip_prefix("if")?.trim_ascii_start();
    let number = number.strip_prefix('+').unwrap_or(number);
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// The kernel's side: asked for addresses, and readable ([`AsFd`]) once something about them changed.
#[derive(Debug)]
pub struct Netlink {
    questions: OwnedFd,
    changes: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens both sockets. Every change from now on is told.
    ///
    /// # Errors
    /// No descriptor is left, or netlink is forbidden to this process.
    pub fn open() -> io::Result<Netlink> {
        let buffer = Vec::with_capacity(BUFFER);
        Ok(Netlink { changes: netlink(CHANGES)?, questions: netlink(0)?, sequence: 0, buffer })
    }

    /// All addresses of all interfaces, as they are now.
    ///
    /// # Errors
    /// What the kernel says; or it did not answer in time, or not to be understood, or changed faster than it can be read.
    pub fn addresses(&mut self) -> io::Result<Addresses> {
        let until = Instant::now() + LIMIT;
        for _ in 0..TRIES {
            let mut names: HashMap<u32, Vec<Arc<str>>> = HashMap::new();
            let mut found = Addresses::default();
            let whole = self.dump(GET_LINK, until, |message| {
                if let Message::Link { index, names: all } = message {
                    names.insert(index, all.into_iter().map(Arc::from).collect());
                }
            })? && self.dump(GET_ADDR, until, |message| {
                if let Message::Address { index, ip, length } = message {
                    // An interface that came in between is there the next time: its coming is told.
                    for name in names.get(&index).into_iter().flatten() {
                        found.assigned.entry(name.clone()).or_default().insert((ip, length));
                    }
                }
            })?;
            if whole {
                let names =
                    names.into_iter().flat_map(|(index, names)| names.into_iter().map(move |name| (name, index)));
                found.indices = Arc::new(names.collect());
                return Ok(found);
            }
        }
        Err(io::Error::other("the addresses change faster than they can be read"))
    }

    /// Takes the news of changes, so that the next is told again.
    ///
    /// # Errors
    /// The socket is broken; it is to be opened anew.
    pub fn take_changes(&mut self) -> io::Result<()> {
        for _ in 0..MOST_CHANGES {
            match receive(&self.changes, &mut self.buffer) {
                // Too many piled up and some were dropped, or one is too long to be read: a change like any other.
                Ok(_) | Err(Errno::NOBUFS | Errno::MSGSIZE | Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Asks for one list and hands out each message of it; false where it changed meanwhile.
    fn dump(&mut self, kind: u16, until: Instant, mut each: impl FnMut(Message)) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.questions, &request(kind, self.sequence), SendFlags::empty(), &kernel)?;
        let mut whole = true;
        loop {
            let from = match receive(&self.questions, &mut self.buffer) {
                Ok(from) => from,
                Err(Errno::AGAIN | Errno::INTR) => {
                    if !poll_until(&mut [PollFd::new(&self.questions, PollFlags::IN)], Some(until)) {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer in time"));
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if from != Some(kernel) {
                continue;
            }
            for received in messages(&self.buffer) {
                match received.message {
                    Message::Broken => return Err(io::Error::other("the kernel's answer cannot be understood")),
                    // Of an earlier question that was given up.
                    _ if received.sequence != self.sequence => continue,
                    Message::Failed(number) => return Err(io::Error::from_raw_os_error(number)),
                    Message::Done => return Ok(whole && !received.interrupted),
                    message => each(message),
                }
                whole &= !received.interrupted;
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

/// A socket that does not block, member of `groups`.
fn netlink(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol means NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Reads one datagram into `buffer` and says who sent it. One that was cut is an error, `MSGSIZE`.
fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<Option<SocketAddrNetlink>, Errno> {
    buffer.clear();
    let (_, length, from) = recvfrom(socket, rustix::buffer::spare_capacity(buffer), RecvFlags::TRUNC)?;
    if length > buffer.len() {
        return Err(Errno::MSGSIZE);
    }
    Ok(from.and_then(|from: SocketAddrAny| SocketAddrNetlink::try_from(from).ok()))
}

#[cfg(test)]
mod tests;
