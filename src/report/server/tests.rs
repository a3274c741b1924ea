use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::report::client::ask;
use crate::testing::isolated::{alone, this_program, wait_until};
use crate::testing::sample;

/// A timeout that no machine reaches.
const LONG: Duration = Duration::from_secs(60);

fn daemon_state(services: usize) -> Arc<DaemonState> {
    let service = |n: usize| sample::service(&format!("service-{n}"), &format!("10.0.{}.{}/32", n / 256, n % 256));
    Arc::new(sample::daemon_state((0..services).map(service).collect()))
}

struct Started {
    dir: tempfile::TempDir,
    path: PathBuf,
    stop: StopToken,
    thread: JoinHandle<()>,
}

fn started(services: usize) -> Started {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.sock");
    let stop = StopToken::new().unwrap();
    let thread = start(daemon_state(services), &path, stop.clone()).unwrap();
    Started { dir, path, stop, thread }
}

impl Started {
    fn end(self) -> tempfile::TempDir {
        self.stop.trigger();
        self.thread.join().unwrap();
        self.dir
    }
}

#[test]
fn every_peer_gets_the_document() {
    // The document fits into the socket's buffer, so that no peer is too slow on a busy machine.
    let started = started(200);
    for _ in 0..3 {
        let document = ask(&started.path, LONG).unwrap();
        assert_eq!((document.services.len(), document.pid), (200, std::process::id()));
    }
    let mut raw = String::new();
    UnixStream::connect(&started.path).unwrap().read_to_string(&mut raw).unwrap();
    assert!(raw.ends_with("}\n") && raw.lines().count() == 1 && raw.len() < 200_000);
    std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..50).map(|_| scope.spawn(|| ask(&started.path, LONG).unwrap().services.len())).collect();
        assert!(asking.into_iter().all(|thread| thread.join().unwrap() == 200));
    });
    assert_eq!(fs::read_dir(started.end().path()).unwrap().count(), 0, "the socket is removed at the stop");
}

/// A peer that does not read delays neither other peers nor the stop, and is dropped.
#[test]
fn a_peer_that_does_not_read_is_dropped() {
    let started = started(3000);
    let mut idle: Vec<_> = (0..MAX_PEERS).map(|_| UnixStream::connect(&started.path).unwrap()).collect();
    assert_eq!(ask(&started.path, LONG).unwrap().services.len(), 3000);
    // Another peer was served, so at least the first one was dropped.
    let mut received = Vec::new();
    idle[0].read_to_end(&mut received).unwrap();
    assert!(!received.is_empty() && received.last() != Some(&b'\n'), "{} bytes", received.len());
    drop(idle);
    // Peers that disconnect at once do no harm.
    for _ in 0..20 {
        drop(UnixStream::connect(&started.path).unwrap());
    }
    ask(&started.path, LONG).unwrap();
    let connected = UnixStream::connect(&started.path).unwrap();
    started.end();
    drop(connected);
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    let name = "report::server::tests::the_mode_does_not_depend_on_the_umask";
    if !alone(name, &["sh", "-c", "umask 000; exec \"$@\"", "sh"], &this_program()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.sock");
    let mode = || fs::symlink_metadata(&path).map(|found| found.permissions().mode() & 0o7777);
    std::thread::scope(|scope| {
        let creator = scope.spawn(|| {
            for _ in 0..300 {
                drop(listen_at(&path).unwrap());
                assert_eq!(mode().unwrap(), MODE);
                fs::remove_file(&path).unwrap();
            }
        });
        while !creator.is_finished() {
            assert_eq!(mode().unwrap_or(MODE) & !MODE, 0, "no other user may connect at any moment");
        }
        creator.join().unwrap();
    });
}

#[test]
fn a_narrow_umask_does_not_narrow_the_mode() {
    let name = "report::server::tests::a_narrow_umask_does_not_narrow_the_mode";
    if alone(name, &["sh", "-c", "umask 077; exec \"$@\"", "sh"], &this_program()) {
        let started = started(1);
        assert_eq!(fs::metadata(&started.path).unwrap().permissions().mode() & 0o7777, MODE);
        started.end();
    }
}

#[test]
fn only_a_stale_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(UnixListener::bind(at("stale")).unwrap());
    fs::File::create(at("file")).unwrap();
    fs::create_dir(at("dir")).unwrap();
    std::os::unix::fs::symlink(at("stale"), at("link")).unwrap();
    let check = |name: &str, expected: &str| {
        let stop = StopToken::new().unwrap();
        let outcome = match start(daemon_state(1), &at(name), stop.clone()) {
            Ok(thread) => {
                ask(&at(name), LONG).unwrap();
                stop.trigger();
                thread.join().unwrap();
                "served".to_string()
            }
            Err(why) => why.to_string().replace(dir.path().to_str().unwrap(), "DIR"),
        };
        assert_eq!(outcome, expected);
    };
    check("stale", "served");
    for name in ["file", "dir", "link"] {
        let refused = format!("no status socket: DIR/{name} exists and is no socket; remove it, or set status_socket");
        check(name, &refused);
        assert!(fs::symlink_metadata(at(name)).is_ok());
    }
    check("none/x", "no status socket: cannot create DIR/none/x: No such file or directory (os error 2)");
    let long = "n".repeat(200);
    check(&long, &format!("no status socket: cannot create DIR/{long}: File name too long (os error 36)"));
}

#[test]
fn a_socket_of_another_process_is_not_removed() {
    let started = started(1);
    fs::remove_file(&started.path).unwrap();
    let _other = UnixListener::bind(&started.path).unwrap();
    let path = started.path.clone();
    let _dir = started.end();
    assert!(fs::symlink_metadata(path).is_ok());
}

#[test]
fn a_deleted_socket_is_put_back() {
    let started = started(1);
    let file = || fs::symlink_metadata(&started.path);
    fs::remove_file(&started.path).unwrap();
    wait_until("the socket", || file().is_ok());
    wait_until("an answer", || ask(&started.path, LONG).is_ok());
    assert_eq!(file().unwrap().permissions().mode() & 0o7777, MODE);
    // Now its directory disappears, too, and comes back later.
    let away = started.dir.path().with_extension("away");
    rustix::fs::rename(started.dir.path(), &away).unwrap();
    assert!(file().is_err());
    fs::create_dir(started.dir.path()).unwrap();
    wait_until("the socket", || file().is_ok());
    fs::remove_dir_all(away).unwrap();
    assert_eq!(fs::read_dir(started.end().path()).unwrap().count(), 0, "the socket is removed at the stop");
}

/// While no descriptor is left, no peer is served and the thread does not spin. Later, peers are
/// served again.
#[test]
fn it_serves_again_after_descriptors_ran_out() {
    let name = "report::server::tests::it_serves_again_after_descriptors_ran_out";
    if !alone(name, &["sh", "-c", "ulimit -n 32; exec \"$@\"", "sh"], &this_program()) {
        return;
    }
    let started = started(1);
    let mut taken = Vec::new();
    let mut waiting = UnixStream::connect(&started.path).unwrap();
    let mut first = String::new();
    waiting.read_to_string(&mut first).unwrap();
    let mut waiting =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map(UnixStream::from).unwrap();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
    }
    rustix::net::connect(&waiting, &SocketAddrUnix::new(&*started.path).unwrap()).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(waiting.read(&mut [0; 1]).is_err(), "it cannot be accepted");
    drop(taken);
    waiting.set_read_timeout(Some(LONG)).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("}\n"));
    started.end();
}
