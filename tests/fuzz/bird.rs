//! Readers of what BIRD and birdc answer.

use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anycast_healthchecker::internals::bird::protocol::birdc::{self, CommandEnd};
use anycast_healthchecker::internals::bird::protocol::control::Control;
use anycast_healthchecker::internals::bird::protocol::framing::{
    Activity, Framing, FramingError, Response, MAX_RESPONSE_LEN,
};
use anycast_healthchecker::internals::bird::protocol::outcome::{Outcome, ReconfigureResult, MAX_REASON_LEN};
use anycast_healthchecker::internals::bird::protocol::query::Query;
use anycast_healthchecker::internals::prefix::Prefix;
use anycast_healthchecker::internals::sys::stop_token::StopToken;
use rustix::net::{send, SendFlags};

use super::is_one_line;

/// The output of a reconfigure command: standard output, a NUL byte, standard error. An error at
/// the end always counts.
pub fn birdc(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (out, error) = (&bytes[..at], &bytes[(at + 1).min(bytes.len())..]);
    let ends =
        [CommandEnd::Code(0), CommandEnd::Code(1), CommandEnd::Signal(15), CommandEnd::Limit(Duration::from_secs(2))];
    for end in ends {
        let reply = birdc::parse(out, error, end);
        is_well_formed(&reply);
        assert!(!reply.outcome.is_accepted() || !matches!(end, CommandEnd::Limit(_)));
        let text = [out, b"\n", error].concat();
        let contains = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
        let has_begun = text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"Reading configuration from "));
        if reply.outcome.is_accepted() && has_begun {
            assert!(contains(b"Reconfigur") || contains(b"0003 ") || contains(b"0004 "));
        }
        let refused = birdc::parse(&[out, b"\n/etc/bird/bird.conf:1:1 syntax error\n"].concat(), error, end);
        assert!(!refused.outcome.is_accepted(), "{refused:?}");
    }
}

fn is_well_formed(reply: &ReconfigureResult) {
    let why = reply.outcome.why().unwrap_or_default();
    assert!(why.len() <= MAX_REASON_LEN);
    is_one_line(why);
    is_one_line(&reply.outcome.to_string());
}

/// The bytes of BIRD's control socket: the responses do not depend on how the bytes are split.
pub fn framing(bytes: &[u8]) {
    let (replies, error) = responses(bytes, bytes.len());
    for size in [1, 7] {
        assert_eq!(responses(bytes, size), (replies.clone(), error.clone()));
    }
    let query = query();
    for reply in &replies {
        // Each invalid byte is replaced by three bytes.
        assert!(reply.lines().map(|line| line.text.len()).sum::<usize>() <= 3 * MAX_RESPONSE_LEN);
        assert!(reply.lines().all(|line| line.code <= 9999));
        let version = reply.greeting().flatten();
        is_well_formed(&reply.configured(version));
        reply.activity();
        let _ = query.parse_answer(reply);
    }
}

/// The responses, and the error after them.
fn responses(bytes: &[u8], size: usize) -> (Vec<Response>, Option<FramingError>) {
    let (mut framing, mut replies) = (Framing::default(), Vec::new());
    let errors = bytes.chunks(size.max(1)).map(|part| framing.feed(part, &mut replies).err());
    let error = errors.last().flatten();
    (replies, error)
}

fn query() -> Query {
    let [a, b, c]: [Prefix; 3] = ["10.52.12.1/32", "10.52.12.2/32", "10.52.12.9/32"].map(|text| text.parse().unwrap());
    Query::new("ACAST_PS_ADVERTISE", [a, b].into(), [c].into_iter())
}

/// Connections to a peer that sends these bytes whatever the request is. `configure` is sent at
/// most once, and only after a response that says BIRD is idle. A reconfigure counts as taken only
/// if a response says so, and a query reports only what a response says.
pub fn control(bytes: &[u8]) {
    const LIMIT: Duration = Duration::from_millis(40);
    // A socket buffer takes no more at once.
    let bytes = &bytes[..bytes.len().min(32 * 1024)];
    let (replies, _) = responses(bytes, bytes.len());
    let stop = StopToken::new().unwrap();

    let (reply, received) = connect(bytes, |control| control.configure(LIMIT, &stop));
    is_well_formed(&reply);
    // Empty if the peer was too slow.
    let requests: Vec<&str> = received.first().map_or("", String::as_str).lines().collect();
    assert!(requests.iter().all(|request| ["configure status", "show status", "configure"].contains(request)));
    // The greeting is the first response.
    let answer = |request: usize| replies.get(request + 1);
    let configure = requests.iter().position(|request| *request == "configure");
    if let Some(at) = configure {
        assert_eq!(at.checked_sub(1).and_then(answer).map(Response::activity), Some(Activity::Idle));
        assert!(requests[at + 1..].iter().all(|request| *request != "configure"));
    }
    if reply.outcome.is_accepted() {
        let at = configure.unwrap();
        let meaning = answer(at).unwrap().configured(None).outcome;
        let idle = || answer(requests.len() - 1).map(Response::activity) == Some(Activity::Idle);
        assert!(meaning == reply.outcome || meaning == Outcome::Queued && idle(), "{meaning:?}");
    }

    let (answer, _) = connect(bytes, |control| control.ask(&[query()], LIMIT, &stop));
    if let Ok((results, _)) = answer {
        let [result] = &results[..] else { panic!("one query, {} results", results.len()) };
        let all_well = result.difference.is_none();
        assert!(!all_well || *result == query().expected_result());
        assert!(!all_well || replies.iter().any(|reply| reply.result().text == "TRUE"));
        assert!(result.list.len() <= 3);
    }
}

/// The result of `act`, and what it sent over each connection.
fn connect<T>(bytes: &[u8], act: impl FnOnce(&Control) -> T) -> (T, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bird.ctl");
    let (listener, over) = (UnixListener::bind(&path).unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let connections = scope.spawn(|| {
            let mut connections = Vec::new();
            loop {
                let (stream, _) = listener.accept().unwrap();
                if over.load(Ordering::SeqCst) {
                    return connections;
                }
                // The client may have closed the connection after its timeout.
                let _ = send(&stream, bytes, SendFlags::NOSIGNAL);
                let _ = stream.shutdown(Shutdown::Write);
                connections.push(stream);
            }
        });
        let result = act(&Control::new(&path));
        over.store(true, Ordering::SeqCst);
        UnixStream::connect(&path).unwrap();
        let received = connections.join().unwrap().into_iter().map(|mut stream| {
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            text
        });
        (result, received.collect())
    })
}
