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

/// What asking someone comes to who accepts one connection and does `behave` with it.
fn check(behave: impl FnOnce(UnixStream) + Send + 'static, limit: Duration, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || behave(listener.accept().unwrap().0));
    let said = ask(&path, limit).map(|document| document.version).unwrap_or_else(|why| why.to_string());
    assert_eq!(said.replace(dir.path().to_str().unwrap(), "DIR"), expected);
    thread.join().unwrap();
}

fn says(text: &'static str) -> impl FnOnce(UnixStream) + Send {
    move |mut stream| stream.write_all(text.as_bytes()).unwrap()
}

#[test]
fn whatever_answers() {
    let no_document = |why: &str| format!("the answer of DIR/s is no status document: {why}");
    check(says(""), LONG, &no_document("EOF while parsing a value at line 1 column 0"));
    check(says("hello"), LONG, &no_document("expected value at line 1 column 1"));
    check(says("{\"schema\": 2, \"all\": \"else\"}"), LONG, &no_document("its schema is 2, known is 1"));
    check(says("{\"schema\": 1"), LONG, &no_document("EOF while parsing an object at line 1 column 12"));
    check(says("{\"schema\": 1}"), LONG, &no_document("missing field `version` at line 1 column 13"));
    let deep: &'static str = "[".repeat(1_000_000).leak();
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(parse(dir.path(), deep.as_bytes()), Err(AskError::Garbage { .. })));
}

#[test]
fn who_does_not_answer_in_time() {
    let late = "DIR/s gave no whole answer in 50ms: anycast-healthchecker is stopped or the machine overloaded";
    let short = Duration::from_millis(50);
    let until_we_leave = |mut stream: UnixStream| drop(stream.read(&mut [0; 1]));
    check(until_we_leave, short, late);
    // Drop by drop.
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
fn who_never_ends() {
    let flood = |mut stream: UnixStream| while stream.write_all(&[b' '; 1 << 16]).is_ok() {};
    check(flood, LONG, "the answer of DIR/s is no status document: it is longer than 67108864 bytes");
}

#[test]
fn nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, expected: &str| {
        let said = ask(&dir.path().join(name), LONG).unwrap_err().to_string();
        assert_eq!(said.replace(dir.path().to_str().unwrap(), "DIR"), expected);
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

/// In a network of its own, as the daemon's abstract name is one a network.
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
    let said = why.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    assert_eq!(
        said,
        "anycast-healthchecker runs, but nobody answers on DIR/none: No such file or directory (os error 2); a status \
         socket that was deleted is put back within 5s"
    );
    assert_eq!(crate::report::nagios::judge_failure(&why).status, crate::report::nagios::Status::Unknown);
    let denied = AskError::Denied { path: socket.clone(), group: "x".into() }.confirmed(Some(&pidfile));
    assert!(matches!(denied, AskError::Denied { .. }), "nothing else is changed");
}

/// Root may open everything, so this runs as another user.
#[test]
fn who_may_not_is_told_whom_to_ask() {
    let name = "report::client::tests::who_may_not_is_told_whom_to_ask";
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
    let said = ask(&path, LONG).unwrap_err().to_string();
    let expected = format!(
        "may not open {}: it is for members of group {group} and root; join the group, or use sudo",
        path.display()
    );
    assert_eq!(said, expected);
    // Where not even the socket can be seen, its directory tells.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let said = ask(&path, LONG).unwrap_err().to_string();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(said, expected);
}

/// What `--status` comes to, and what it writes.
fn status(path: &Path, json: bool) -> (Result<bool, AskError>, String) {
    let (document, answer) = match ask_whole(path, LONG) {
        Ok(asked) => asked,
        Err(why) => return (Err(why), String::new()),
    };
    let well = document.well;
    let shown = View { json, ..View::default() }.show(document, answer, Style { colors: false, width: 80 });
    (Ok(well), String::from_utf8(shown.unwrap()).unwrap())
}

#[test]
fn what_status_shows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (well, out) = status(&path, false);
    assert!(matches!(well, Err(AskError::NotRunning { .. })) && out.is_empty(), "{well:?}");

    let daemon = Arc::new(sample::daemon_state(vec![sample::service("a", "10.0.0.1/32")]));
    let stop = StopToken::new().unwrap();
    let thread = server::start(daemon.clone(), &path, stop.clone()).unwrap();
    let (well, out) = status(&path, false);
    assert!(matches!(well, Ok(false)), "nothing is known yet: {well:?}");
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
    /// Whatever a document is garbled to, it is refused or shown.
    #[test]
    fn a_garbled_document_is_survived(at in 0usize..100_000, byte: u8) {
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
