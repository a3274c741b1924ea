//! Asks one BIRD everything that the doctor wants to know.
//!
//! Guarantees: sends `show` commands and `eval` only, which a restricted socket takes too and which
//! change nothing. Blocking: the caller, up to [`TIMEOUT`] for each request, and
//! [`EXPORTS_TIMEOUT`] for those about exports; the first that fails ends it.
//! Out of scope: the meaning of the answers (`answers`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::bird::protocol::connection::{Connection, ConnectionError};
use crate::bird::protocol::control::Control;
use crate::bird::protocol::exports::{Protocol, PROTOCOLS};
use crate::bird::protocol::framing::Response;
use crate::bird::protocol::outcome::Version;
use crate::bird::protocol::query::Query;
use crate::cli::doctor::answers::{self, Answers, Details, ListInBird, PrefixInBird, Session};
use crate::prefix::{Family, Prefix};
use crate::sys::stop_token::StopToken;

/// The time for one request.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The time for all requests about exports.
const EXPORTS_TIMEOUT: Duration = Duration::from_secs(20);
/// How many protocols are described.
const MAX_SESSIONS: usize = 64;
/// How many prefixes are looked up in BIRD's table.
const MAX_ROUTES: usize = 10_000;

/// What one BIRD is asked.
#[derive(Clone, Debug)]
pub struct Questions {
    /// Its control socket.
    pub socket: PathBuf,
    /// The families that use this socket: the constant, the list in the file, the prefixes of
    /// services.
    pub lists: Vec<ListQuestion>,
}

/// What BIRD is asked about one family.
#[derive(Clone, Debug)]
pub struct ListQuestion {
    /// The family.
    pub family: Family,
    /// The name of the constant.
    pub variable: String,
    /// What the file lists; none if it cannot be read.
    pub in_file: Option<Vec<Prefix>>,
    /// The prefixes of services.
    pub prefixes: Vec<Prefix>,
}

/// Asks all of it.
pub fn ask(questions: &Questions, stop: &StopToken) -> Result<Answers, ConnectionError> {
    let asker = Asker { socket: &questions.socket, stop };
    let mut answers = Answers { version: asker.version()?, ..Answers::default() };
    answers.router_id = answers::router_id(&asker.ask("show status\n")?);
    answers.sessions = asker.sessions()?;
    answers.bfd = answers::bfd_sessions(&asker.ask("show bfd sessions\n")?);
    let control = Control::new(&questions.socket);
    let mut all: Vec<Prefix> = Vec::new();
    for list in &questions.lists {
        answers.lists.insert(list.family, asker.list(&control, list)?);
        all.extend(&list.prefixes);
    }
    all.sort_unstable();
    all.dedup();
    for prefix in all.iter().take(MAX_ROUTES) {
        let in_table = answers::is_in_table(&asker.ask(&format!("show route {prefix}\n"))?);
        answers.prefixes.insert(*prefix, PrefixInBird { in_table, exports: None });
    }
    let exports = control.exports(&all, EXPORTS_TIMEOUT, stop, || false)?;
    for (prefix, exports) in exports.prefixes {
        answers.prefixes.entry(prefix).or_default().exports = Some(exports);
    }
    Ok(answers)
}

/// Opens a connection for each request: BIRD ends one over which many requests come without a
/// pause.
struct Asker<'a> {
    socket: &'a Path,
    stop: &'a StopToken,
}

impl Asker<'_> {
    fn version(&self) -> Result<Option<Version>, ConnectionError> {
        Ok(Connection::open(self.socket, TIMEOUT, self.stop)?.version)
    }

    fn ask(&self, request: &str) -> Result<Response, ConnectionError> {
        Connection::open(self.socket, TIMEOUT, self.stop)?.ask(request)
    }

    fn sessions(&self) -> Result<Vec<Session>, ConnectionError> {
        let protocols = Protocol::with_neighbors(&self.ask(PROTOCOLS)?);
        let described = protocols.into_iter().take(MAX_SESSIONS).map(|protocol| {
            let details = Details::parse(&self.ask(&format!("show protocols all {}\n", quoted(&protocol.name)))?);
            Ok(Session { protocol, details })
        });
        described.collect()
    }

    fn list(&self, control: &Control, list: &ListQuestion) -> Result<ListInBird, ConnectionError> {
        let symbol = answers::symbol(&self.ask(&format!("show symbols {}\n", list.variable))?, &list.variable);
        let is_known = symbol.as_deref().is_none_or(|kind| kind.starts_with("constant"));
        let difference = match &list.in_file {
            Some(in_file) if is_known => {
                let listed: BTreeSet<&Prefix> = in_file.iter().collect();
                let others: Vec<Prefix> =
                    list.prefixes.iter().filter(|prefix| !listed.contains(prefix)).copied().collect();
                let in_file: Arc<[Prefix]> = in_file.as_slice().into();
                let query = Query::new(&list.variable, in_file, others.into_iter());
                let (results, _) = control.ask(&[query], TIMEOUT, self.stop)?;
                results.into_iter().next().and_then(|result| result.difference).map(|found| found.to_string())
            }
            _ => None,
        };
        Ok(ListInBird { symbol, difference })
    }
}

/// A protocol's name as BIRD reads it.
pub fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain {
        name.to_string()
    } else {
        format!("'{name}'")
    }
}
