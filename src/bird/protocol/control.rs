//! What is done over BIRD's control socket: reconfigure, and ask whether BIRD holds the lists.
//!
//! ```text
//!   connect -> greeting -> status? --idle--> configure -> in force (0003), or a protocol still restarts (0004)
//!                             ^ |                |
//!                             +-+ busy           +-> queued (0005) -> status? until idle
//! ```
//!
//! Promises: `configure` is sent only when BIRD has just said that it is idle, for one that comes while it is busy can
//! kill BIRD 3; nothing takes longer than its limit; BIRD's buffer for requests is never overfilled, see `Turns`.
//! Leaves out: when to do which (`bird::reconfigurer`), and what lists there are (`bird::prefix_list`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bird::protocol::connection::{Connection, ConnectionError};
use crate::bird::protocol::framing::{Activity, Response};
use crate::bird::protocol::outcome::{one_line, Outcome, ReconfigureResult, Version};
use crate::bird::protocol::query::{Difference, Query, QueryResult};
use crate::sys::stop_token::StopToken;

/// How soon BIRD is looked at again while it is busy.
const POLL: Duration = Duration::from_millis(5);
/// The first BIRD that knows `configure status`.
const KNOWS_STATUS: Version = Version { major: 2, minor: 0, patch: 5 };

/// BIRD's control socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
}

/// What BIRD said of each list, and its version.
pub type QueryAnswers = (Vec<QueryResult>, Option<Version>);

impl Control {
    /// By `bird_control_socket`.
    pub fn new(path: &Path) -> Control {
        Control { path: path.to_path_buf() }
    }

    /// Has BIRD read its configuration.
    pub fn configure(&self, limit: Duration, stop: &StopToken) -> ReconfigureResult {
        let (mut version, mut sent) = (None, false);
        let mut attempt = || {
            let mut connection = Connection::open(&self.path, limit, stop)?;
            version = connection.version;
            // The answer to `configure` needs its part of the time, too.
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

    /// Asks whether BIRD is busy with a reconfiguration; nothing where there is no answer.
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
        let mut turns = Turns([open()?, open()?]);
        let holdings = queries.iter().map(|query| ask(&mut turns, query)).collect::<Result<_, _>>()?;
        Ok((holdings, turns.0[0].version))
    }
}

/// What BIRD is asked to learn whether it is busy.
fn status_request(version: Option<Version>) -> &'static str {
    match version.is_some_and(|version| version >= KNOWS_STATUS) {
        true => "configure status\n",
        false => "show status\n",
    }
}

/// Waits until BIRD is idle; otherwise what keeps it from being that.
fn until_idle(connection: &mut Connection<'_>, limit: Duration) -> Result<Option<Outcome>, ConnectionError> {
    let request = status_request(connection.version);
    loop {
        let status = connection.ask(request)?;
        match status.activity() {
            Activity::Idle => return Ok(None),
            Activity::Busy | Activity::Queued if connection.elapsed() >= limit => return Ok(Some(Outcome::Queued)),
            Activity::Busy | Activity::Queued => connection.pause(POLL)?,
            Activity::ShuttingDown => return Ok(Some(Outcome::Refused { why: "BIRD is shutting down".to_string() })),
            Activity::Unknown => {
                let why = format!("BIRD does not say whether it is busy, but {:?}", status.result().text);
                return Ok(Some(Outcome::Refused { why: one_line(&why) }));
            }
        }
    }
}

/// Two conversations that take turns.
///
/// BIRD empties the buffer of a connection, whose overflow ends it, only when it looks for a further request there and
/// finds none; who answers fast enough keeps it from that for ever. An answer on the other connection proves that it
/// has looked here since the last answer.
struct Turns<'a>([Connection<'a>; 2]);

impl Turns<'_> {
    /// Requests of [`MAX_REQUEST_LEN`](crate::bird::protocol::query::MAX_REQUEST_LEN) bytes together, and their answers.
    fn ask(&mut self, requests: &str) -> Result<Vec<Response>, ConnectionError> {
        self.0.swap(0, 1);
        self.0[0].send(requests)?;
        requests.lines().map(|_| self.0[0].recv()).collect()
    }

    /// One request and BIRD's yes or no.
    fn truth(&mut self, query: &Query, request: &str) -> Result<Result<bool, Difference>, ConnectionError> {
        Ok(self.ask(request)?.iter().map(|answer| query.parse_answer(answer)).next().unwrap_or(Ok(false)))
    }
}

/// What BIRD holds of one list: one request for all where they fit, then part by part, then one by one.
fn ask(turns: &mut Turns<'_>, query: &Query) -> Result<QueryResult, ConnectionError> {
    let same = query.full_request().map(|request| turns.truth(query, &request)).transpose()?;
    let mut holding = QueryResult::default();
    match same {
        Some(Ok(true)) => return Ok(query.expected_result()),
        Some(Err(difference)) => return Ok(QueryResult { difference: Some(difference), ..holding }),
        Some(Ok(false)) | None => {}
    }
    for part in query.chunks() {
        // Where all is known not to be well, one more query for all of a part says little.
        if same.is_none() && turns.truth(query, &query.chunk_request(part))? == Ok(true) {
            part.iter().for_each(|&(prefix, wanted)| holding.record((prefix, wanted), wanted));
            continue;
        }
        let answers = turns.ask(&part.iter().map(|(prefix, _)| query.single_request(prefix)).collect::<String>())?;
        for (asked, answer) in part.iter().zip(answers) {
            match query.parse_answer(&answer) {
                Ok(found) => holding.record(*asked, found),
                Err(difference) => return Ok(QueryResult { difference: Some(difference), ..holding }),
            }
        }
    }
    if same.is_some() && holding.difference.is_none() {
        holding.difference = Some(Difference::Unmanaged);
    }
    Ok(holding)
}

#[cfg(test)]
mod tests;
