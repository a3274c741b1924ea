//! Reconfigures BIRD over its control socket, and asks it whether it holds the lists.
//!
//! ```text
//!   connect -> greeting -> status? --idle--> configure -> in force (0003), or restarting (0004)
//!                             ^ |                |
//!                             +-+ busy           +-> queued (0005) -> status? until idle
//! ```
//!
//! Guarantees: `configure` is sent only right after BIRD reported that it is idle, because one that
//! arrives while it is busy can kill BIRD 3. No call exceeds its limit. The requests never overflow
//! BIRD's buffer, see `AlternatingConnections`.
//!
//! Blocking: the caller, until its limit.
//!
//! Out of scope: when to do which (`bird::reconfigurer`), and the lists (`bird::prefix_list`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bird::protocol::connection::{Connection, ConnectionError};
use crate::bird::protocol::exports::{self, Export, PrefixExports, Protocol};
use crate::bird::protocol::framing::{Activity, Response};
use crate::bird::protocol::outcome::{one_line, Outcome, ReconfigureResult, Version};
use crate::bird::protocol::query::{Difference, Query, QueryResult};
use crate::prefix::Prefix;
use crate::sys::stop_token::StopToken;

/// Interval of status queries while BIRD is busy.
const STATUS_INTERVAL: Duration = Duration::from_millis(5);
/// The first version of BIRD with `configure status`.
const FIRST_WITH_CONFIGURE_STATUS: Version = Version { major: 2, minor: 0, patch: 5 };

/// How many protocols are asked about each prefix.
const MAX_PROTOCOLS: usize = 64;

/// BIRD's control socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
}

/// BIRD's answer for each list, and its version.
pub type QueryAnswers = (Vec<QueryResult>, Option<Version>);

impl Control {
    /// The control socket at this path (`bird_control_socket`).
    pub fn new(path: &Path) -> Control {
        Control { path: path.to_path_buf() }
    }

    /// Makes BIRD reread its configuration.
    pub fn configure(&self, limit: Duration, stop: &StopToken) -> ReconfigureResult {
        let (mut version, mut sent) = (None, false);
        let mut attempt = || {
            let mut connection = Connection::open(&self.path, limit, stop)?;
            version = connection.version;
            // The answer to `configure` needs a share of the time too.
            if let Some(outcome) = until_idle(&mut connection, limit * 3 / 4)? {
                return Ok(ReconfigureResult { busy: outcome == Outcome::Queued, outcome, version });
            }
            sent = true;
            let mut reply = connection.ask("configure\n")?.configured(version);
            if reply.outcome == Outcome::Queued && until_idle(&mut connection, limit * 3 / 4)?.is_none() {
                (reply.outcome, reply.busy) = (Outcome::Reconfigured, false);
            }
            Ok(reply)
        };
        attempt().unwrap_or_else(|error: ConnectionError| ReconfigureResult {
            outcome: error.outcome(),
            version,
            busy: sent,
        })
    }

    /// Asks whether BIRD is busy with a reconfiguration. None without a clear answer.
    pub fn is_busy(&self, limit: Duration, stop: &StopToken) -> Option<bool> {
        let mut connection = Connection::open(&self.path, limit, stop).ok()?;
        let request = status_request(connection.version);
        match connection.ask(request).ok()?.activity() {
            Activity::Idle => Some(false),
            Activity::Busy | Activity::Queued => Some(true),
            Activity::ShuttingDown | Activity::Unknown => None,
        }
    }

    /// Asks whether BIRD holds these lists.
    pub fn ask(&self, queries: &[Query], limit: Duration, stop: &StopToken) -> Result<QueryAnswers, ConnectionError> {
        let open = || Connection::open(&self.path, limit, stop);
        let mut connections = AlternatingConnections([open()?, open()?]);
        let results = queries.iter().map(|query| ask(&mut connections, query)).collect::<Result<_, _>>()?;
        Ok((results, connections.0[0].version))
    }
}

/// What BIRD announces to its neighbors, as far as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// The protocols that speak to neighbors.
    pub protocols: Vec<Protocol>,
    /// Each prefix that was asked about.
    pub prefixes: Vec<(Prefix, PrefixExports)>,
    /// How many prefixes were not reached, as the time was over or the asking was interrupted.
    pub not_reached: usize,
}

impl Control {
    /// Asks whom BIRD announces these prefixes to. Stops between two prefixes if `is_interrupted`
    /// says so, or after `limit`. Changes nothing in BIRD.
    pub fn exports(
        &self,
        prefixes: &[Prefix],
        limit: Duration,
        stop: &StopToken,
        mut is_interrupted: impl FnMut() -> bool,
    ) -> Result<Exports, ConnectionError> {
        let open = || Connection::open(&self.path, limit, stop);
        let mut turns = AlternatingConnections([open()?, open()?]);
        let version = turns.0[0].version;
        let answer = turns.ask(exports::PROTOCOLS)?;
        let protocols = answer.first().map(Protocol::with_neighbors).unwrap_or_default();
        let up: Vec<&Protocol> = protocols.iter().filter(|one| one.is_up()).take(MAX_PROTOCOLS).collect();
        let mut found = Vec::with_capacity(prefixes.len());
        // A part of the time is left for the answer that is waited for when it is over.
        while let Some(prefix) = prefixes.get(found.len()) {
            if is_interrupted() || turns.0[0].elapsed() >= limit * 3 / 4 {
                break;
            }
            let mut exports = Vec::with_capacity(up.len());
            for protocol in &up {
                let answer = turns.ask(&protocol.request(prefix, version))?;
                exports.extend(answer.first().map(|answer| (*protocol, Export::of(answer))));
            }
            found.push((*prefix, PrefixExports::new(&protocols, &exports)));
        }
        let not_reached = prefixes.len() - found.len();
        Ok(Exports { protocols, prefixes: found, not_reached })
    }
}

/// The request whether a BIRD of this version is busy.
fn status_request(version: Option<Version>) -> &'static str {
    match version.is_some_and(|version| version >= FIRST_WITH_CONFIGURE_STATUS) {
        true => "configure status\n",
        false => "show status\n",
    }
}

/// Waits until BIRD is idle. Returns an outcome if it does not become idle.
fn until_idle(connection: &mut Connection<'_>, limit: Duration) -> Result<Option<Outcome>, ConnectionError> {
    let request = status_request(connection.version);
    loop {
        let status = connection.ask(request)?;
        match status.activity() {
            Activity::Idle => return Ok(None),
            Activity::Busy | Activity::Queued if connection.elapsed() >= limit => return Ok(Some(Outcome::Queued)),
            Activity::Busy | Activity::Queued => connection.pause(STATUS_INTERVAL)?,
            Activity::ShuttingDown => return Ok(Some(Outcome::Refused { why: "BIRD is shutting down".to_string() })),
            Activity::Unknown => {
                let why = format!("BIRD does not say whether it is busy, but {:?}", status.result().text);
                return Ok(Some(Outcome::Refused { why: one_line(&why) }));
            }
        }
    }
}

/// Two connections that are used in turn.
///
/// BIRD closes a connection whose buffer overflows, and it empties the buffer only when it looks
/// for a further request and finds none. A client that is fast enough never lets it find none. An
/// answer on the other connection proves that BIRD has looked here since the last answer.
struct AlternatingConnections<'a>([Connection<'a>; 2]);

impl AlternatingConnections<'_> {
    /// Sends requests of together at most
    /// [`MAX_REQUEST_LEN`](crate::bird::protocol::query::MAX_REQUEST_LEN) bytes, and receives their
    /// answers.
    fn ask(&mut self, requests: &str) -> Result<Vec<Response>, ConnectionError> {
        self.0.swap(0, 1);
        self.0[0].send(requests)?;
        requests.lines().map(|_| self.0[0].recv()).collect()
    }

    /// Sends one request and reads BIRD's yes or no.
    fn ask_one(&mut self, query: &Query, request: &str) -> Result<Result<bool, Difference>, ConnectionError> {
        Ok(self.ask(request)?.iter().map(|answer| query.parse_answer(answer)).next().unwrap_or(Ok(false)))
    }
}

/// Asks what BIRD holds of one list: the whole list if it fits into one request, then chunk by
/// chunk, then one by one.
fn ask(connections: &mut AlternatingConnections<'_>, query: &Query) -> Result<QueryResult, ConnectionError> {
    let is_same = query.full_request().map(|request| connections.ask_one(query, &request)).transpose()?;
    let mut result = QueryResult::default();
    match is_same {
        Some(Ok(true)) => return Ok(query.expected_result()),
        Some(Err(difference)) => return Ok(QueryResult { difference: Some(difference), ..result }),
        Some(Ok(false)) | None => {}
    }
    for chunk in query.chunks() {
        // If the list is known to differ, a query for a whole chunk says little.
        if is_same.is_none() && connections.ask_one(query, &query.chunk_request(chunk))? == Ok(true) {
            chunk.iter().for_each(|&(prefix, expected)| result.record((prefix, expected), expected));
            continue;
        }
        let answers =
            connections.ask(&chunk.iter().map(|(prefix, _)| query.single_request(prefix)).collect::<String>())?;
        for (expected, answer) in chunk.iter().zip(answers) {
            match query.parse_answer(&answer) {
                Ok(listed) => result.record(*expected, listed),
                Err(difference) => return Ok(QueryResult { difference: Some(difference), ..result }),
            }
        }
    }
    if is_same.is_some() && result.difference.is_none() {
        result.difference = Some(Difference::Unmanaged);
    }
    Ok(result)
}

#[cfg(test)]
mod tests;
