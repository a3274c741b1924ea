//! A prefix: an IPv4 or IPv6 network with its length, as in BIRD's list.
//!
//! Guarantees: pure. A [`Prefix`] has no host bits, and two spellings of one prefix are equal. Its
//! text is what Python's `ipaddress` prints, so that the original can read our files. It always has
//! the length, because BIRD reads a list of bare addresses as another type and then exports
//! nothing. All spellings that `ipaddress.ip_network` accepts are accepted, except scope IDs, which
//! BIRD cannot hold.
//!
//! Out of scope: BIRD's patterns (`10.0.0.0/8+`), which the lists never contain.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// An address family. Each has its own prefix file, BIRD constant and dummy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, with `bird_conf` and the like.
    V4,
    /// IPv6, with `bird6_conf` and the like.
    V6,
}

impl Family {
    /// Both families, in the order in which they are processed.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A network without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(IpNet);

impl Prefix {
    /// The address family.
    pub fn family(&self) -> Family {
        match self.0 {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }

    /// The address of the network.
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// The prefix length in bits, from 0 to 32 or 128.
    pub fn length(&self) -> u8 {
        self.0.prefix_len()
    }

    /// The address as Python prints it: as Rust does, but `::ffff:102:304` for `::ffff:1.2.3.4`.
    pub fn address_text(&self) -> String {
        let mut text = self.to_string();
        text.truncate(text.rfind('/').unwrap_or(text.len()));
        text
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                let [.., high, low] = address.segments();
                write!(f, "::ffff:{high:x}:{low:x}")?;
            }
            address => write!(f, "{address}")?,
        }
        write!(f, "/{}", self.length())
    }
}

/// Why a text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The text before the slash is not an address.
    #[error("'{0}' is not an IPv4 or IPv6 address or prefix")]
    Address(String),
    /// The text after the slash is neither a length nor a netmask of the family.
    #[error("'{0}' has no valid prefix length after the slash")]
    Length(String),
    /// Bits are set beyond the prefix length.
    #[error("'{text}' has host bits set, did you mean {meant}?")]
    HostBits {
        /// The text.
        text: String,
        /// The network that contains it.
        meant: Prefix,
    },
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let bad_length = || PrefixError::Length(text.to_string());
        let net = if let Ok(v4) = Ipv4Addr::from_str(address) {
            let length = length.map_or(Some(32), v4_length).ok_or_else(bad_length)?;
            IpNet::new(v4.into(), length).map_err(|_| bad_length())?
        } else if let Ok(v6) = Ipv6Addr::from_str(address) {
            let length = length.map_or(Some(128), number).ok_or_else(bad_length)?;
            IpNet::new(v6.into(), length).map_err(|_| bad_length())?
        } else {
            return Err(PrefixError::Address(text.to_string()));
        };
        match net.trunc() {
            trunc if trunc == net => Ok(Prefix(net)),
            trunc => Err(PrefixError::HostBits { text: text.to_string(), meant: Prefix(trunc) }),
        }
    }
}

/// Parses a length as Python does: ASCII digits, leading zeros allowed, no sign.
fn number(text: &str) -> Option<u8> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = text.trim_start_matches('0');
    if significant.is_empty() {
        Some(0)
    } else {
        significant.parse().ok()
    }
}

/// Parses a number, a netmask (`255.255.0.0`) or a host mask (`0.0.255.255`), in this order, as
/// Python does.
fn v4_length(text: &str) -> Option<u8> {
    if let Some(length) = number(text) {
        return Some(length);
    }
    let mask = Ipv4Addr::from_str(text).ok()?;
    [mask, Ipv4Addr::from(!u32::from(mask))]
        .into_iter()
        .find_map(|mask| Ipv4Net::with_netmask(Ipv4Addr::UNSPECIFIED, mask).ok())
        .map(|net| net.prefix_len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let result = text.parse::<Prefix>().map_or_else(|error| error.to_string(), |prefix| prefix.to_string());
        assert_eq!(result, expected, "{text:?}");
    }

    #[test]
    fn spellings_are_accepted_as_in_python() {
        check("10.0.0.1", "10.0.0.1/32");
        check("10.0.0.1/32", "10.0.0.1/32");
        check("10.0.0.1/032", "10.0.0.1/32");
        check("10.0.0.0/255.255.0.0", "10.0.0.0/16");
        check("10.0.0.0/0.0.255.255", "10.0.0.0/16");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("::1", "::1/128");
        check("2001:DB8::5/128", "2001:db8::5/128");
        check("2001:db8:0:0::9", "2001:db8::9/128");
        check("::ffff:1.2.3.4/128", "::ffff:102:304/128");
        check("::ffff:0.0.0.0", "::ffff:0:0/128");
    }

    #[test]
    fn invalid_prefixes_are_refused_with_a_reason() {
        check("10.1.2.3/24", "'10.1.2.3/24' has host bits set, did you mean 10.1.2.0/24?");
        check("fd00::1/64", "'fd00::1/64' has host bits set, did you mean fd00::/64?");
        for text in ["", "x", "10.1.2/32", "010.1.1.1/32", "300.1.1.1", ":::/1", "fe80::1%lo", " 10.0.0.1", "1"] {
            check(text, &format!("'{text}' is not an IPv4 or IPv6 address or prefix"));
        }
        for text in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/-1",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.255.0",
            "::/ffff::",
        ] {
            check(text, &format!("'{text}' has no valid prefix length after the slash"));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_printed_prefix_can_be_parsed(bits: u128, length in 0u8..=128, v4: bool) {
            let address: IpAddr = if v4 { Ipv4Addr::from(bits as u32).into() } else { Ipv6Addr::from(bits).into() };
            let length = if v4 { length % 33 } else { length };
            let prefix = Prefix(IpNet::new(address, length).map_err(|e| proptest::test_runner::TestCaseError::fail(e.to_string()))?.trunc());
            proptest::prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }
    }
}
