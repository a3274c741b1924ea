//! A socket with a test peer, which does what a real BIRD does not do on demand.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::testing::isolated::{alone, this_program};

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);
const GREETING: &[u8] = b"0001 BIRD 2.0.12 ready.\n";

/// Opens a connection to `peer`, sends one request, and compares the result.
fn check(limit: Duration, peer: impl FnOnce(UnixStream) + Send, expected: Result<&str, &str>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bird.ctl");
    let listener = UnixListener::bind(&path).unwrap();
    let stop = StopToken::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || peer(listener.accept().unwrap().0));
        let request = || Connection::open(&path, limit, &stop)?.ask("show status\n");
        let actual = request().map(|reply| reply.result().text.clone()).map_err(|error| error.to_string());
        assert_eq!(actual.as_deref().map_err(String::as_str), expected);
    });
}

fn read_to_end(mut stream: UnixStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_reply_is_received_whole_and_in_parts() {
    let whole = |mut stream: UnixStream| {
        stream.write_all(&[GREETING, b"0013 well\n"].concat()).unwrap();
        read_to_end(stream);
    };
    check(MINUTE, whole, Ok("well"));
    // One byte at a time.
    let in_parts = |mut stream: UnixStream| {
        for byte in [GREETING, b"1000-BIRD\n no\n+by the way\n0013 well\n"].concat() {
            stream.write_all(&[byte]).unwrap();
        }
        read_to_end(stream);
    };
    check(MINUTE, in_parts, Ok("well"));
}

#[test]
fn a_silent_or_endless_peer_times_out() {
    check(SHORT, read_to_end, Err("no answer within 0.1 s"));
    let after_the_greeting = |mut stream: UnixStream| {
        stream.write_all(&[GREETING, b"0013 no ne"].concat()).unwrap();
        read_to_end(stream);
    };
    check(SHORT, after_the_greeting, Err("no answer within 0.1 s"));
    // Messages without end are not an answer.
    let endless = |mut stream: UnixStream| {
        stream.write_all(GREETING).unwrap();
        while stream.write_all(b"+still here\n").is_ok() {}
    };
    check(SHORT, endless, Err("no answer within 0.1 s"));
}

#[test]
fn a_connection_that_the_peer_closes_is_an_error() {
    let closed = Err("the connection was closed: BIRD has ended");
    check(MINUTE, drop, closed);
    check(MINUTE, |mut stream| stream.write_all(GREETING).unwrap(), closed);
    check(MINUTE, |mut stream| stream.write_all(&[GREETING, b"0013-well"].concat()).unwrap(), closed);
}

#[test]
fn a_peer_that_is_not_bird_is_quoted() {
    let sends = |text: &'static [u8]| {
        move |mut stream: UnixStream| {
            stream.write_all(text).unwrap();
            read_to_end(stream);
        }
    };
    let foreign = "the other side of the control socket does not speak as BIRD does: \"SSH-2.0\"";
    check(MINUTE, sends(b"SSH-2.0\n"), Err(foreign));
    let no_greeting = "the other side of the control socket does not greet as BIRD does: \"hello\"";
    check(MINUTE, sends(b"0220 hello\n"), Err(no_greeting));
    let endless: &[u8] = &[b'x'; 5000];
    check(MINUTE, sends(endless), Err("BIRD's control socket sent a line or a reply without end"));
}

/// The error of opening `path`, without the name of the directory.
fn open_error(path: &Path) -> String {
    let stop = StopToken::new().unwrap();
    let error = Connection::open(path, SHORT, &stop).err().expect("it opens");
    error.to_string().replace(&path.parent().unwrap().display().to_string(), "DIR")
}

#[test]
fn errors_of_the_kernel_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bird.ctl");
    assert_eq!(open_error(&path), "DIR/bird.ctl is not there: BIRD is down, or has its control socket elsewhere");
    let listener = UnixListener::bind(&path).unwrap();
    drop(listener);
    assert_eq!(open_error(&path), "nobody listens on DIR/bird.ctl: BIRD is down");
    let long = dir.path().join("x".repeat(120));
    assert!(open_error(&long).ends_with("File name too long (os error 36)"), "{}", open_error(&long));
}

#[test]
fn a_full_queue_is_an_error_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bird.ctl");
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    assert_eq!(open_error(&path), "BIRD takes no connections on DIR/bird.ctl: it is stopped or stuck");
}

/// Root may connect to every socket, so this needs another user.
#[test]
fn a_denied_socket_names_its_group() {
    if !rustix::process::geteuid().is_root() {
        crate::testing::isolated::skipped("a_denied_socket_names_its_group: only root can become another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let test = dir.path().join("test");
    std::fs::copy(this_program(), &test).unwrap();
    let _listener = UnixListener::bind(dir.path().join("bird.ctl")).unwrap();
    for (path, mode) in [(dir.path(), 0o755), (&test, 0o755), (&dir.path().join("bird.ctl"), 0o660)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let name = "bird::protocol::connection::tests::a_denied_socket_names_its_group_as_nobody";
    alone(name, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], &test);
}

#[test]
fn a_denied_socket_names_its_group_as_nobody() {
    let Some(path) = this_program().parent().map(|dir| dir.join("bird.ctl")).filter(|path| path.exists()) else {
        return; // This is the second half of the test above, which runs as another user.
    };
    let group = "no right to use DIR/bird.ctl: put the daemon's user into the group root (systemd: \
                 SupplementaryGroups=root)";
    assert_eq!(open_error(&path), group);
}

#[test]
fn a_stop_ends_the_wait() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bird.ctl");
    let _listener = UnixListener::bind(&path).unwrap();
    let stop = StopToken::new().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| Connection::open(&path, MINUTE, &stop).err().map(|error| error.outcome()));
        stop.trigger();
        assert_eq!(thread.join().unwrap(), Some(Outcome::NotSent { why: "the daemon stops".to_string() }));
    });
}
