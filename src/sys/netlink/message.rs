//! Parses rtnetlink messages.
//!
//! Guarantees: pure; any input terminates, and the output is bounded by the input. A truncated or
//! inconsistent message is [`Message::Broken`] and ends the datagram. It is never taken for the end
//! of a list.
//!
//! Out of scope: sending requests (`sys::netlink`).

use std::net::IpAddr;

/// `RTM_NEWLINK`, `RTM_GETLINK`, `RTM_NEWADDR`, `RTM_GETADDR`, from linux/rtnetlink.h.
const NEW_LINK: u16 = 16;
pub(super) const GET_LINK: u16 = 18;
const NEW_ADDR: u16 = 20;
pub(super) const GET_ADDR: u16 = 22;
/// `NLMSG_ERROR`, `NLMSG_DONE`, from linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x301;
/// `NLM_F_DUMP_INTR`: the list changed while it was dumped.
const INTERRUPTED: u16 = 0x10;
/// `IFLA_IFNAME`, `IFLA_PROP_LIST`, `IFLA_ALT_IFNAME`, from linux/if_link.h.
const NAME: u16 = 3;
const PROPERTIES: u16 = 52;
const ALTERNATIVE_NAME: u16 = 53;
/// `IFA_ADDRESS`, `IFA_LOCAL`, from linux/if_addr.h.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;

/// Size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Size of `struct rtattr`.
const ATTRIBUTE: usize = 4;
/// `NLA_TYPE_MASK`: the bits of an attribute's type without its flags.
const TYPE_MASK: u16 = 0x3fff;

/// The content of one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// An interface and all its names.
    Link { index: u32, names: Vec<String> },
    /// An address of an interface. If the address has a peer, this is the local address.
    Address { index: u32, ip: IpAddr, length: u8 },
    /// The end of a list. The list is incomplete if one of its messages was interrupted.
    Done,
    /// The request failed with this error number.
    Failed(i32),
    /// Another kind of message.
    Other,
    /// A message that cannot be parsed. It is the last one of its datagram.
    Broken,
}

/// A message with the relevant fields of its header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Sequence number of the request.
    pub(super) sequence: u32,
    /// The list changed while the kernel dumped it, and has to be requested again.
    pub(super) interrupted: bool,
    pub(super) message: Message,
}

/// Returns the request for all links or all addresses, of both families.
pub(super) fn request(kind: u16, sequence: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0..4].copy_from_slice(&32u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    // The rest is `struct ifinfomsg`, or `ifaddrmsg` and padding, all zero: any family, any
    // interface.
    bytes
}

/// Parses the messages of one datagram.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received> + '_ {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let length = u32_at(bytes, 0).map_or(0, |length| length as usize);
        let broken = Received { sequence: 0, interrupted: false, message: Message::Broken };
        let (Some(kind), Some(flags), Some(sequence), Some(body)) =
            (u16_at(bytes, 4), u16_at(bytes, 6), u32_at(bytes, 8), bytes.get(HEADER..length))
        else {
            bytes = &[];
            return Some(broken);
        };
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        let message = parse(kind, body).unwrap_or(Message::Broken);
        if message == Message::Broken {
            bytes = &[];
        }
        Some(Received { sequence, interrupted: flags & INTERRUPTED != 0, message })
    })
}

fn parse(kind: u16, body: &[u8]) -> Option<Message> {
    match kind {
        ERROR => u32_at(body, 0).map(|number| Message::Failed((number as i32).wrapping_neg())),
        // A list that failed half-way ends with an error number.
        DONE => Some(match u32_at(body, 0) {
            None | Some(0) => Message::Done,
            Some(number) => Message::Failed((number as i32).wrapping_neg()),
        }),
        NEW_LINK => {
            let mut names = Vec::new();
            collect_names(body.get(16..)?, &mut names)?;
            Some(Message::Link { index: u32_at(body, 4)?, names })
        }
        NEW_ADDR => parse_address(body),
        _ => Some(Message::Other),
    }
}

/// Collects the name of a link and its alternative names, which are nested one level deeper.
fn collect_names(bytes: &[u8], names: &mut Vec<String>) -> Option<()> {
    for attribute in attributes(bytes) {
        match attribute? {
            (NAME, value) => names.extend(text(value)),
            (PROPERTIES, value) => {
                for property in attributes(value) {
                    if let (ALTERNATIVE_NAME, value) = property? {
                        names.extend(text(value));
                    }
                }
            }
            _ => {}
        }
    }
    Some(())
}

fn parse_address(body: &[u8]) -> Option<Message> {
    let (length, index) = (*body.get(1)?, u32_at(body, 4)?);
    let (mut address, mut local) = (None, None);
    for attribute in attributes(body.get(8..)?) {
        match attribute? {
            (ADDRESS, value) => address = ip(value),
            (LOCAL, value) => local = ip(value),
            _ => {}
        }
    }
    // If there is a peer, IFA_ADDRESS is the peer's address.
    Some(local.or(address).map_or(Message::Other, |ip| Message::Address { index, ip, length }))
}

/// Iterates over type and value of each attribute. A truncated attribute is `None` and the last
/// one.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let length = u16_at(bytes, 0).map_or(0, usize::from);
        let attribute =
            bytes.get(ATTRIBUTE..length).zip(u16_at(bytes, 2)).map(|(value, kind)| (kind & TYPE_MASK, value));
        bytes = attribute.and_then(|_| bytes.get(aligned(length)..)).unwrap_or_default();
        Some(attribute)
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

/// Returns a name. `None` if it is not UTF-8; such a name cannot be configured either.
fn text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.strip_suffix(&[0]).unwrap_or(value).to_vec()).ok()
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [&(value.len() as u16 + 4).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = (HEADER + body.len()) as u32;
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[7, 0, 0, 0, 0, 0, 0, 0], body].concat()
    }

    fn address(attributes: &[Vec<u8>]) -> Vec<u8> {
        message(NEW_ADDR, 0, &[&[2, 32, 0, 0, 1, 0, 0, 0], &*attributes.concat()].concat())
    }

    fn check(bytes: &[u8], expected: &[Message]) {
        let parsed: Vec<_> = messages(bytes).map(|received| received.message).collect();
        assert_eq!(parsed, expected, "{bytes:?}");
    }

    fn ten(last: u8) -> Message {
        Message::Address { index: 1, ip: [10, 0, 0, last].into(), length: 32 }
    }

    #[test]
    fn the_local_address_is_preferred_to_the_peer() {
        let (peer, local) = (attribute(ADDRESS, &[10, 0, 0, 1]), attribute(LOCAL, &[10, 0, 0, 2]));
        check(&address(&[peer.clone(), local.clone()]), &[ten(2)]);
        check(&address(&[local, peer.clone()]), &[ten(2)]);
        check(&address(&[peer]), &[ten(1)]);
        check(&address(&[attribute(3, b"lo:any\0")]), &[Message::Other]);
    }

    #[test]
    fn a_link_has_several_names() {
        let others = [attribute(ALTERNATIVE_NAME, b"outside\0"), attribute(ALTERNATIVE_NAME, b"wan\0")].concat();
        let body = [vec![0; 4], vec![9, 0, 0, 0], vec![0; 8], attribute(NAME, b"eth0\0")].concat();
        let body = [body, attribute(PROPERTIES | 0x8000, &others)].concat();
        let names = ["eth0", "outside", "wan"].map(String::from).to_vec();
        check(&message(NEW_LINK, 2, &body), &[Message::Link { index: 9, names }]);
    }

    #[test]
    fn the_end_of_a_list_and_errors_are_recognized() {
        check(&message(DONE, 0, &[0; 4]), &[Message::Done]);
        check(&message(DONE, 0, &[]), &[Message::Done]);
        check(&message(DONE, 0, &(-12i32).to_ne_bytes()), &[Message::Failed(12)]);
        check(&message(ERROR, 0, &(-1i32).to_ne_bytes()), &[Message::Failed(1)]);
        check(&[message(99, 0, &[0; 8]), message(DONE, 0, &[])].concat(), &[Message::Other, Message::Done]);
        assert!(messages(&message(DONE, INTERRUPTED, &[])).all(|received| received.interrupted));
    }

    #[test]
    fn a_truncated_message_is_broken_and_the_last_one() {
        let whole = address(&[attribute(LOCAL, &[10, 0, 0, 2])]);
        for length in 1..whole.len() {
            check(&whole[..length], &[Message::Broken]);
        }
        // An attribute that claims to be longer than its message, and one shorter than its own
        // header.
        check(&[address(&[vec![200, 0, 2, 0]]), whole.clone()].concat(), &[Message::Broken]);
        check(&[address(&[vec![3, 0, 2, 0]]), whole.clone()].concat(), &[Message::Broken]);
        check(&[whole, vec![0; 40]].concat(), &[ten(2), Message::Broken]);
    }

    proptest::proptest! {
        #[test]
        fn parsing_any_bytes_terminates(bytes: Vec<u8>, kind in 0u16..24, body: Vec<u8>) {
            proptest::prop_assert!(messages(&bytes).count() <= 1 + bytes.len() / HEADER);
            // Random bytes hardly ever have a valid header.
            let bytes = message(kind, 0, &body);
            proptest::prop_assert!(messages(&bytes).count() <= 1 + bytes.len() / HEADER);
        }
    }
}
