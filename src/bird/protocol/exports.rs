//! Which neighbors BIRD announces a prefix to: the requests that its control socket takes, and what
//! the answers mean.
//!
//! ```text
//!   show protocols                        which protocols speak to neighbors, and which of them are up
//!   show route PREFIX exported NAME       whether the protocol NAME has announced PREFIX
//! ```
//!
//! Guarantees: pure; the requests change nothing, and a restricted socket takes them; each names
//! one exact prefix, which BIRD looks up at once however large its table is.
//! Out of scope: sending them, and when to ask (`bird::exports`).

use crate::bird::protocol::framing::Response;
use crate::bird::protocol::outcome::{one_line, Version};
use crate::prefix::Prefix;

/// Asks for the protocols.
pub const PROTOCOLS: &str = "show protocols\n";

/// Kinds of protocols that speak to no neighbor. A kind that is not known may speak to some.
const LOCAL_KINDS: [&str; 13] = [
    "Device",
    "Direct",
    "Kernel",
    "Static",
    "Pipe",
    "BFD",
    "RAdv",
    "RPKI",
    "MRT",
    "L3VPN",
    "Aggregator",
    "BMP",
    "Perf",
];

/// The answer about a protocol that is up and has no channel for the prefix's family.
const NO_CHANNEL: &str = "No valid tables";

/// BIRD 1.6 knows no `exported`, but `export`: what the filter would let through now.
const KNOWS_EXPORTED: Version = Version { major: 2, minor: 0, patch: 0 };

/// One protocol instance, as `show protocols` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The name in `bird.conf`.
    pub name: String,
    /// `BGP`, `OSPF` and so on.
    pub kind: String,
    /// `up`, `start`, `down` and so on.
    pub state: String,
    /// Since when it has that state, in BIRD's own notation.
    pub since: String,
    /// What the protocol itself says of its state, such as `Established`; may be empty.
    pub info: String,
}

impl Protocol {
    /// The protocols that speak to neighbors, from the answer to [`PROTOCOLS`].
    pub fn with_neighbors(answer: &Response) -> Vec<Protocol> {
        let rows = answer.lines().filter(|line| line.code == 1002);
        rows.filter_map(|line| Protocol::parse(&line.text)).filter(|found| !found.is_local()).collect()
    }

    /// A row: name, kind, table, state, since, info. `since` has a date and a time where BIRD is
    /// configured so.
    fn parse(row: &str) -> Option<Protocol> {
        let mut words = row.split_ascii_whitespace();
        let (name, kind, _table, state) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let rest: Vec<&str> = words.collect();
        let is_time = |word: &&&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(['-', ':', '.']);
        let times = rest.iter().take_while(is_time).count();
        let (since, info) = rest.split_at(times);
        Some(Protocol {
            name: name.to_string(),
            kind: kind.to_string(),
            state: state.to_string(),
            since: since.join(" "),
            info: info.join(" "),
        })
    }

    fn is_local(&self) -> bool {
        LOCAL_KINDS.contains(&self.kind.as_str())
    }

    /// Whether it has a neighbor to announce routes to.
    pub fn is_up(&self) -> bool {
        self.state == "up"
            && match self.kind.as_str() {
                "BGP" => self.info == "Established",
                // `Alone` has no neighbor.
                "OSPF" => self.info == "Running",
                _ => true,
            }
    }

    /// Its state in a sentence: `Idle`, or `down` if the protocol says nothing itself.
    pub fn situation(&self) -> &str {
        if self.info.is_empty() {
            &self.state
        } else {
            &self.info
        }
    }

    /// The request whether it has announced `prefix`.
    pub fn request(&self, prefix: &Prefix, version: Option<Version>) -> String {
        let word = if version.is_some_and(|version| version < KNOWS_EXPORTED) { "export" } else { "exported" };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let quote = if self.name.chars().all(is_plain) { "" } else { "'" };
        format!("show route {prefix} {word} {quote}{name}{quote}\n", name = self.name)
    }
}

/// Whether one protocol has announced one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// It has.
    Announced,
    /// The prefix is in BIRD's table, and the protocol's export filter refuses it.
    Refused,
    /// BIRD's table has no such prefix.
    NotInTable,
    /// The protocol has no channel for the prefix's family.
    OtherFamily,
    /// BIRD does not answer this, for this reason.
    Unknown(String),
}

impl Export {
    /// From the answer to [`Protocol::request`] for a protocol that is up.
    pub fn of(answer: &Response) -> Export {
        let result = answer.result();
        match result.code {
            _ if answer.lines().any(|line| line.code == 1007) => Export::Announced,
            0 => Export::Refused,
            8001 => Export::NotInTable,
            9001 if result.text == NO_CHANNEL => Export::OtherFamily,
            _ => Export::Unknown(one_line(&result.text)),
        }
    }
}

/// Whom BIRD announces one prefix to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixExports {
    /// The protocols that announce it.
    pub announced_by: Vec<String>,
    /// How many protocols could: those that are up.
    pub up: usize,
    /// Why none announces it; none if one does.
    pub why: Option<String>,
}

impl PrefixExports {
    /// From what each protocol that is up was found to do. `all` are the protocols with neighbors.
    pub fn new(all: &[Protocol], found: &[(&Protocol, Export)]) -> PrefixExports {
        let found: Vec<&(&Protocol, Export)> =
            found.iter().filter(|(_, export)| *export != Export::OtherFamily).collect();
        let announcing = found.iter().filter(|(_, export)| *export == Export::Announced);
        let announced_by: Vec<String> = announcing.map(|(by, _)| by.name.clone()).collect();
        let why = announced_by.is_empty().then(|| reason(all, &found));
        PrefixExports { announced_by, up: found.len(), why }
    }
}

fn reason(all: &[Protocol], found: &[&(&Protocol, Export)]) -> String {
    if found.iter().any(|(_, export)| *export == Export::NotInTable) {
        return "not in BIRD's table: does protocol direct see the interface?".to_string();
    }
    if let Some(why) = found.iter().find_map(|(_, export)| match export {
        Export::Unknown(why) => Some(why),
        Export::Announced | Export::Refused | Export::NotInTable | Export::OtherFamily => None,
    }) {
        return format!("asking failed: {why}");
    }
    if !found.is_empty() {
        let names: Vec<&str> = found.iter().map(|(by, _)| by.name.as_str()).collect();
        return format!("refused by the export filter of {}", names.join(", "));
    }
    let down: Vec<String> =
        all.iter().filter(|one| !one.is_up()).map(|one| format!("{}: {}", one.name, one.situation())).collect();
    if down.is_empty() {
        return "BIRD has no protocol that speaks to neighbors of this family".to_string();
    }
    format!("no session is up ({})", down.join(", "))
}

#[cfg(test)]
mod tests;
