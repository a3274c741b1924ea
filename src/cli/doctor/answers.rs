//! The meaning of BIRD's answers that only the doctor asks for: `show status`, `show symbols`,
//! `show protocols all`, `show bfd sessions` and `show route`.
//!
//! Guarantees: pure; what BIRD does not say is none or empty, whatever its version.
//! Out of scope: sending the requests (`bird` of this folder).

use std::collections::BTreeMap;

use crate::bird::protocol::exports::{PrefixExports, Protocol};
use crate::bird::protocol::framing::Response;
use crate::bird::protocol::outcome::Version;
use crate::prefix::{Family, Prefix};

/// Everything that one BIRD was asked.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Its version, as it greets.
    pub version: Option<Version>,
    /// Its router id.
    pub router_id: Option<String>,
    /// The protocols that speak to neighbors.
    pub sessions: Vec<Session>,
    /// The state of the BFD session with each neighbor's address.
    pub bfd: BTreeMap<String, String>,
    /// The constant of each family that this BIRD reads.
    pub lists: BTreeMap<Family, ListInBird>,
    /// Each prefix of a service.
    pub prefixes: BTreeMap<Prefix, PrefixInBird>,
}

/// One constant in BIRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInBird {
    /// What its name stands for, such as `constant` or `undefined`; none if BIRD does not say.
    pub symbol: Option<String>,
    /// In what its value differs from the file; none if it does not.
    pub difference: Option<String>,
}

/// One prefix in BIRD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixInBird {
    /// Whether BIRD's table has it; none if BIRD does not say.
    pub in_table: Option<bool>,
    /// Whom BIRD announces it to; none if the time did not suffice to ask.
    pub exports: Option<PrefixExports>,
}

/// One protocol that speaks to neighbors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// As `show protocols` lists it.
    pub protocol: Protocol,
    /// As `show protocols all` describes it.
    pub details: Details,
}

/// What `show protocols all NAME` adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The neighbor's address, without its interface.
    pub neighbor: Option<String>,
    /// The negotiated hold time in seconds; none if there is no session.
    pub hold_time: Option<u32>,
    /// Whether this BIRD has told the neighbor to keep routes while it restarts.
    pub graceful_restart: bool,
    /// Its channels.
    pub channels: Vec<Channel>,
}

/// One channel of a protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// `ipv4`, `ipv6` and so on; empty in BIRD 1.6, which has one for each protocol.
    pub name: String,
    /// The export filter: `ACCEPT`, `REJECT`, a name, or `(unnamed)`.
    pub output_filter: String,
}

impl Channel {
    /// Whether it carries routes of this family.
    pub fn is_of(&self, family: Family) -> bool {
        let name = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        self.name.is_empty() || self.name == name
    }
}

impl Details {
    /// From the answer to `show protocols all NAME`.
    pub fn parse(answer: &Response) -> Details {
        let mut details = Details::default();
        let (mut is_local, mut is_graceful) = (false, false);
        for line in answer.lines().map(|line| line.text.trim()) {
            match line {
                "Local capabilities" => is_local = true,
                "Neighbor capabilities" => is_local = false,
                "Graceful restart" => is_graceful = is_local,
                "Long-lived graceful restart" => is_graceful = false,
                _ => {}
            }
            if let Some(name) = line.strip_prefix("Channel ") {
                details.channels.push(Channel { name: name.to_string(), ..Channel::default() });
            }
            let Some((name, value)) = line.split_once(':').map(|(name, value)| (name, value.trim())) else { continue };
            match name {
                "Neighbor address" => details.neighbor = value.split('%').next().map(str::to_string),
                // The time that is left, and the whole.
                "Hold timer" => details.hold_time = value.rsplit('/').next().and_then(|whole| whole.parse().ok()),
                "AF supported" if is_graceful => details.graceful_restart |= !value.is_empty(),
                "Output filter" => {
                    if details.channels.is_empty() {
                        details.channels.push(Channel::default());
                    }
                    if let Some(channel) = details.channels.last_mut() {
                        channel.output_filter = value.to_string();
                    }
                }
                _ => {}
            }
        }
        details
    }
}

/// The router id in the answer to `show status`.
pub fn router_id(answer: &Response) -> Option<String> {
    answer.lines().find_map(|line| Some(line.text.trim().strip_prefix("Router ID is ")?.trim().to_string()))
}

/// What a name stands for, from the answer to `show symbols NAME`.
pub fn symbol(answer: &Response, name: &str) -> Option<String> {
    let bare = name.trim_matches('\'');
    answer.lines().filter(|line| line.code == 1010).find_map(|line| {
        let (found, kind) = line.text.trim().split_once(char::is_whitespace)?;
        (found == bare || found == name).then(|| kind.trim().to_string())
    })
}

/// The state of each neighbor's session, from the answer to `show bfd sessions`.
pub fn bfd_sessions(answer: &Response) -> BTreeMap<String, String> {
    let rows = answer.lines().filter(|line| line.code == 1020).filter_map(|line| {
        let mut words = line.text.split_ascii_whitespace();
        let (address, _interface, state) = (words.next()?, words.next()?, words.next()?);
        let address = address.split('%').next()?;
        address.parse::<std::net::IpAddr>().ok()?;
        Some((address.to_string(), state.to_string()))
    });
    rows.collect()
}

/// Whether the table has a prefix, from the answer to `show route PREFIX`.
pub fn is_in_table(answer: &Response) -> Option<bool> {
    match answer.result().code {
        _ if answer.lines().any(|line| line.code == 1007) => Some(true),
        8001 => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::protocol::framing::Framing;

    fn response(text: &str) -> Response {
        let mut responses = Vec::new();
        Framing::default().feed(text.as_bytes(), &mut responses).unwrap();
        responses.remove(0)
    }

    /// BIRD 2.0.12's answer for a session with these lines about its restart.
    fn protocol(local: &str, neighbor: &str) -> Response {
        response(&format!(
            "2002-Name       Proto      Table      State  Since         Info\n\
             1002-r4         BGP        ---        up     19:21:08.733  Established   \n\
             1006-  BGP state:          Established\n \
                 Neighbor address: fe80::1%uplink\n \
                 Local capabilities\n \
                   Multiprotocol\n \
                     AF announced: ipv4 ipv6\n \
                   Graceful restart\n{local} \
                   Long-lived graceful restart\n \
                     AF supported: ipv4\n \
                 Neighbor capabilities\n \
                   Graceful restart\n{neighbor} \
                 Session:          external AS4\n \
                 Hold timer:       184.025/240\n \
               Channel ipv4\n \
                 Input filter:   REJECT\n \
                 Output filter:  (unnamed)\n \
               Channel ipv6\n \
                 Output filter:  ACCEPT\n\
             0000 \n"
        ))
    }

    #[test]
    fn a_session_is_described() {
        let gr = "         Restart time: 120\n         AF supported: ipv4 ipv6\n         AF preserved:\n";
        let details = Details::parse(&protocol("", gr));
        let channel = |name: &str, filter: &str| Channel { name: name.to_string(), output_filter: filter.to_string() };
        let expected = Details {
            neighbor: Some("fe80::1".into()),
            hold_time: Some(240),
            graceful_restart: false,
            channels: vec![channel("ipv4", "(unnamed)"), channel("ipv6", "ACCEPT")],
        };
        assert_eq!(details, expected);
        assert!(expected.channels[0].is_of(Family::V4) && !expected.channels[0].is_of(Family::V6));
        assert!(Details::parse(&protocol(gr, "")).graceful_restart);
        assert!(!Details::parse(&protocol("         AF supported:\n", gr)).graceful_restart);
        // BIRD 1.6 has no channels.
        let old =
            "1002-b BGP master up 08:58 Established\n1006-  Output filter:  ACCEPT\n     Hold timer:  7/9\n0000 \n";
        let details = Details::parse(&response(old));
        assert_eq!((details.hold_time, details.channels), (Some(9), vec![channel("", "ACCEPT")]));
        assert_eq!(Details::parse(&response("9001 syntax error\n")), Details::default());
    }

    #[test]
    fn other_answers() {
        let status = "1000-BIRD 2.0.12\n1011-Router ID is 192.0.2.1\n Hostname is vm\n0013 Daemon is up and running\n";
        assert_eq!(router_id(&response(status)).as_deref(), Some("192.0.2.1"));
        assert_eq!(router_id(&response("0000 \n")), None);
        let of = |text: &str, name: &str| symbol(&response(text), name);
        assert_eq!(of("1010 ACAST   \tconstant\n", "ACAST").as_deref(), Some("constant"));
        assert_eq!(of("1010 NOSUCH  \tundefined\n", "NOSUCH").as_deref(), Some("undefined"));
        assert_eq!(of("1010-A.B\tfilter\n0000 \n", "'A.B'").as_deref(), Some("filter"));
        assert_eq!(of("9001 syntax error\n", "ACAST"), None);
        let bfd = "1020-bfd1:\n IP address                Interface  State      Since         Interval  Timeout\n \
                   192.0.2.2                 uplink     Up         19:21:08.534    0.300    1.500\n0000 \n";
        let expected = BTreeMap::from([("192.0.2.2".to_string(), "Up".to_string())]);
        assert_eq!(bfd_sessions(&response(bfd)), expected);
        assert!(bfd_sessions(&response("9001 There is no BFD protocol running\n")).is_empty());
        let route = "1007-Table master4:\n 10.52.12.1/32        unicast [direct1 19:21] * (240)\n \tdev lo\n0000 \n";
        assert_eq!(is_in_table(&response(route)), Some(true));
        assert_eq!(is_in_table(&response("8001 Network not found\n")), Some(false));
        assert_eq!(is_in_table(&response("9001 syntax error\n")), None);
    }
}
