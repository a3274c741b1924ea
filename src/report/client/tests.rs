use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use nix::unistd::{Gid, Group};

use super::*;
use crate::report::server;
use crate::report::table;
use crate::report::view::{Style, View};
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{alone, in_own_network, this_program};
use crate::testing::sample;

const LONG: Duration = Duration::from_secs(60);

/// Checks the version or the error that `ask` returns if `behave` serves the only connection.
fn check(behave: impl FnOnce(UnixStream) + Send + 'static, limit: Duration, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || behave(listener.accept().unwrap().0));
    let message = ask(&path, limit).map(|document| document.version).unwrap_or_else(|why| why.to_string());
    assert_eq!(message.replace(dir.path().to_str().unwrap(), "DIR"), expected);
    thread.join().unwrap();
}

fn send_text(text: &'static str) -> impl FnOnce(UnixStream) + Send {
    move |mut stream| stream.write_all(text.as_bytes()).unwrap()
}

#[test]
fn an_answer_that_is_no_document_is_an_error() {
    let no_document = |why: &str| format!("the answer of DIR/s is no status document: {why}");
    check(send_text(""), LONG, &no_document("EOF while parsing a value at line 1 column 0"));
    check(send_text("hello"), LONG, &no_document("expected value at line 1 column 1"));
    check(send_text("{\"schema\": 2, \"all\": \"else\"}"), LONG, &no_document("its schema is 2, known is 1"));
    check(send_text("{\"schema\": 1"), LONG, &no_document("EOF while parsing an object at line 1 column 12"));
    check(send_text("{\"schema\": 1}"), LONG, &no_document("missing field `version` at line 1 column 13"));
    let deep: &'static str = "[".repeat(1_000_000).leak();
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(parse(dir.path(), deep.as_bytes()), Err(AskError::Garbage { .. })));
}

#[test]
fn a_slow_answer_is_a_timeout() {
    let late = "DIR/s gave no whole answer in 50ms: anycast-healthchecker is stopped or the machine overloaded";
    let short = Duration::from_millis(50);
    let silent_until_disconnect = |mut stream: UnixStream| drop(stream.read(&mut [0; 1]));
    check(silent_until_disconnect, short, late);
    // One byte at a time.
    check(
        |mut stream| {
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        },
        short,
        late,
    );
}

#[test]
fn an_endless_answer_is_refused() {
    let flood = |mut stream: UnixStream| while stream.write_all(&[b' '; 1 << 16]).is_ok() {};
    check(flood, LONG, "the answer of DIR/s is no status document: it is longer than 67108864 bytes");
}

#[test]
fn an_error_says_that_no_daemon_listens() {
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, expected: &str| {
        let message = ask(&dir.path().join(name), LONG).unwrap_err().to_string();
        assert_eq!(message.replace(dir.path().to_str().unwrap(), "DIR"), expected);
    };
    check(
        "none",
        "anycast-healthchecker is not running: nobody answers on DIR/none: No such file or directory (os error 2)",
    );
    drop(UnixListener::bind(dir.path().join("stale")).unwrap());
    check(
        "stale",
        "anycast-healthchecker is not running: nobody answers on DIR/stale: Connection refused (os error 111)",
    );
    check("stale/x", "cannot ask DIR/stale/x: Not a directory (os error 20)");
    let long = "n".repeat(200);
    check(&long, &format!("cannot ask DIR/{long}: File name too long (os error 36)"));
}

/// Runs in a network of its own, because the daemon's abstract name is unique per network.
#[test]
fn a_daemon_that_runs_without_its_socket() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    if !in_own_network("report::client::tests::a_daemon_that_runs_without_its_socket") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (socket, pidfile) = (dir.path().join("none"), dir.path().join("pid"));
    let ask = || ask(&socket, LONG).unwrap_err().confirmed(Some(&pidfile));
    assert!(matches!(ask(), AskError::NotRunning { .. }));
    let _name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name("anycast-healthchecker").unwrap()).unwrap();
    let why = ask();
    let message = why.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    assert_eq!(
        message,
        "anycast-healthchecker runs, but nobody answers on DIR/none: No such file or directory (os error 2); a status \
         socket that was deleted is put back within 5s"
    );
    assert_eq!(crate::report::nagios::judge_failure(&why).status, crate::report::nagios::Status::Unknown);
    let denied = AskError::Denied { path: socket.clone(), group: "x".into() }.confirmed(Some(&pidfile));
    assert!(matches!(denied, AskError::Denied { .. }), "other errors stay as they are");
}

/// Runs as another user, because root may open everything.
#[test]
fn a_denied_user_is_told_the_group_of_the_socket() {
    let name = "report::client::tests::a_denied_user_is_told_the_group_of_the_socket";
    let dir = tempfile::tempdir().unwrap();
    let test = dir.path().join("test");
    if rustix::process::geteuid().is_root() {
        fs::copy(this_program(), &test).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        alone(name, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], &test);
        return;
    }
    let path = dir.path().join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    let gid = fs::metadata(&path).unwrap().gid();
    let group = Group::from_gid(Gid::from_raw(gid)).unwrap().map_or(gid.to_string(), |group| group.name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let message = ask(&path, LONG).unwrap_err().to_string();
    let expected = format!(
        "may not open {}: it is for members of group {group} and root; join the group, or use sudo",
        path.display()
    );
    assert_eq!(message, expected);
    // If the socket is not visible either, its directory gives the group.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let message = ask(&path, LONG).unwrap_err().to_string();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(message, expected);
}

/// Returns whether all is well, and the text that `--status` writes.
fn status(path: &Path, json: bool) -> (Result<bool, AskError>, String) {
    let (document, answer) = match ask_raw(path, LONG) {
        Ok(answer) => answer,
        Err(why) => return (Err(why), String::new()),
    };
    let well = document.well;
    let shown = View { json, ..View::default() }.show(document, answer, Style { colors: false, width: 80 });
    (Ok(well), String::from_utf8(shown.unwrap()).unwrap())
}

#[test]
fn status_shows_the_running_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (well, out) = status(&path, false);
    assert!(matches!(well, Err(AskError::NotRunning { .. })) && out.is_empty(), "{well:?}");

    let daemon = Arc::new(sample::daemon_state(vec![sample::service("a", "10.0.0.1/32")]));
    let stop = StopToken::new().unwrap();
    let thread = server::start(daemon.clone(), &path, stop.clone()).unwrap();
    let (well, out) = status(&path, false);
    assert!(matches!(well, Ok(false)), "the service is unknown: {well:?}");
    assert!(out.contains("0 of 1 services up, BIRD not in sync") && out.contains("unknown"), "{out}");

    let check = sample::check(&daemon, 0);
    sample::decide(&check, crate::check::health::State::Up);
    let family = sample::family(crate::prefix::Family::V4, check.service.prefixes.clone().into());
    daemon.bird.lock().families = vec![family];
    assert!(matches!(status(&path, false).0, Ok(true)));
    let (well, out) = status(&path, true);
    assert!(matches!(well, Ok(true)));
    assert_eq!(serde_json::from_str::<Document>(&out).unwrap().summary.up, 1);
    stop.trigger();
    thread.join().unwrap();

    fs::File::create(&path).unwrap();
    assert!(matches!(status(&path, true).0, Err(AskError::NotRunning { .. })), "a file is no daemon");
}

proptest::proptest! {
    /// A document with a changed byte is refused or shown, without a panic.
    #[test]
    fn a_garbled_document_is_refused_or_shown(at in 0usize..100_000, byte: u8) {
        let daemon = sample::daemon_state(vec![sample::service("a", "10.0.0.1/32")]);
        let document = crate::report::status::document(&daemon, daemon.started, &jiff::tz::TimeZone::UTC);
        let mut json = serde_json::to_vec(&document).unwrap();
        let at = at % json.len();
        json[at] = byte;
        if let Ok(document) = parse(Path::new("s"), &json) {
            let text = table::render(&document, false, 80);
            proptest::prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
        }
    }
}
