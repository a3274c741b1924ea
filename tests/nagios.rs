//! The monitoring plugin against the real status socket of a daemon whose state the test sets.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anycast_healthchecker::internals::bird::state::{Counts, FamilyState, Hold};
use anycast_healthchecker::internals::check::state::CheckState;
use anycast_healthchecker::internals::check::Check;
use anycast_healthchecker::internals::config::settings::OnDisabled;
use anycast_healthchecker::internals::daemon_state::DaemonState;
use anycast_healthchecker::internals::prefix::Family;
use anycast_healthchecker::internals::report::server;
use anycast_healthchecker::internals::sys::clock::Now;
use anycast_healthchecker::internals::sys::mutex::Mutex;
use anycast_healthchecker::internals::sys::stop_token::StopToken;

#[path = "common/service.rs"]
mod service;

/// A check with this decision, whose thread has to report by `deadline`.
fn check_of(name: &str, decision: OnDisabled, deadline: Option<Instant>) -> Arc<Check> {
    let service = Arc::new(service::service(name, "10.0.0.1/32"));
    let mut state = CheckState::new(&service);
    let _ = state.decide(decision);
    state.expect_progress_by(deadline);
    Arc::new(Check::with_state(service, state))
}

/// A daemon with two services that are up, and IPv4 in sync.
fn daemon() -> DaemonState {
    let up = |name| check_of(name, OnDisabled::Advertise, None);
    let daemon = DaemonState {
        started: Now::read(),
        checks: Mutex::new(Arc::new([up("one"), up("two")])),
        bird: Arc::default(),
        exports: Arc::default(),
        files: vec![(Family::V4, "/var/lib/prefixes.conf".into())],
        lines_dropped: Box::new(|| 0),
        configured: Mutex::new(std::time::UNIX_EPOCH),
        reload_error: Mutex::default(),
    };
    daemon.bird.lock().families = vec![FamilyState {
        family: Family::V4,
        wanted: Arc::new([]),
        in_file: Arc::new([]),
        in_bird: Arc::new([]),
        in_sync: true,
        out_of_sync_since: None,
        problem: None,
        hold: None,
        asks_bird: false,
        unmanaged: Arc::new([]),
        counts: Counts { taken: 1, ..Counts::default() },
    }];
    daemon
}

/// Returns the exit code and standard output. Standard error must be empty.
#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn plugin(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_check_anycast_healthchecker")).args(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Expects this exit code and the beginning of the output.
fn check(arguments: &[&str], code: i32, expected: &str) -> String {
    let (found, out) = plugin(arguments);
    assert!(found == code && out.starts_with(expected), "{arguments:?} ended with {found}:\n{out}");
    out
}

fn with_status_socket(test: impl FnOnce(&DaemonState, &str)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.sock");
    let (daemon, stop) = (Arc::new(daemon()), StopToken::new().unwrap());
    let thread = server::start(daemon.clone(), &path, stop.clone()).unwrap();
    test(&daemon, path.to_str().unwrap());
    stop.trigger();
    thread.join().unwrap();
}

#[test]
fn the_plugin_gives_all_four_results() {
    with_status_socket(|daemon, socket| {
        let set = |place: usize, decision, deadline| {
            let mut checks = daemon.checks.lock();
            let mut next = checks.to_vec();
            next[place] = check_of(next[place].name(), decision, deadline);
            *checks = next.into();
        };
        let out = check(&["--socket", socket], 0, "OK - 2 of 2 services up, BIRD in sync (pid ");
        assert!(out.lines().count() == 1 && out.contains(" | services=2;;;0 up=2;;;0;2 down=0;0;;0;2 "), "{out}");
        let out = check(&["--socket", socket, "-v"], 0, "OK - ");
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 4, "{out}");
        assert!(lines[1].starts_with("IPv4 in sync, ") && lines[3].starts_with("two up since "), "{out}");

        set(1, OnDisabled::Withdraw, None);
        check(&["--socket", socket], 1, "WARNING - down: two; 1 of 2 services up");
        check(&["--socket", socket, "-c", "0"], 2, "CRITICAL - down: two; ");
        check(&["--socket", socket, "-w", "1"], 0, "OK - 1 of 2 services up");
        check(&["--socket", socket, "-w", "0:"], 0, "OK - ");

        set(0, OnDisabled::Advertise, Some(Instant::now()));
        let stuck = "CRITICAL - one: the check is stuck, it should have reported ";
        check(&["--socket", socket], 2, stuck);
        set(0, OnDisabled::Advertise, None);

        let mut bird = daemon.bird.lock();
        (bird.families[0].in_sync, bird.families[0].out_of_sync_since) = (false, Some(daemon.started.monotonic));
        let until = Instant::now() + Duration::from_secs(60);
        bird.families[0].hold = Some(Hold { until, waiting_for: vec!["one".into()] });
        drop(bird);
        let behind = ["--socket", socket, "-w", "0:", "--behind", "0.001"];
        let out = check(&behind, 1, "WARNING - IPv4 not in sync for ");
        assert!(out.contains(" s: held until 20") && out.contains(", waiting for the first verdict of one; "), "{out}");

        let mut bird = daemon.bird.lock();
        bird.families[0].problem = Some("birdc: Unable to connect".to_string());
        drop(bird);
        let out = check(&behind, 2, "CRITICAL - IPv4 not in sync for ");
        assert!(out.contains(" s: birdc: Unable to connect; "), "{out}");
        check(&["--socket", socket, "-w", "0:", "--behind", "1000000"], 0, "OK - 1 of 2 services up, BIRD not in sync");
    });
}

#[test]
fn an_unanswered_socket_is_critical_and_an_invalid_one_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    check(&["--socket", &at("none")], 2, "CRITICAL - anycast-healthchecker is not running: ");
    let _silent = std::os::unix::net::UnixListener::bind(at("silent")).unwrap();
    check(&["--socket", &at("silent"), "-t", "0.05"], 2, &format!("CRITICAL - {} gave no whole answer", at("silent")));
    check(&["--socket", &at(&"n".repeat(200))], 3, "UNKNOWN - cannot ask ");
}

/// `-f`, `-d` and `-F` name the daemon's configuration, which names the socket.
#[test]
fn the_configuration_names_the_socket() {
    with_status_socket(|_, socket| {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        let put = |name: &str, text: &str| {
            std::io::Write::write_all(&mut std::fs::File::create(at(name)).unwrap(), text.as_bytes()).unwrap()
        };
        std::fs::create_dir(at("d")).unwrap();
        put("main.conf", &format!("[daemon]\nstatus_socket = {socket}\n"));
        put("d/a.conf", "[a]\ncheck_cmd = true\nip_prefix = 10.0.0.1/32\n");
        check(&["-f", &at("main.conf"), "-d", &at("d")], 0, "OK - ");
        check(&["-f", &at("main.conf"), "-F", &at("d/a.conf")], 0, "OK - ");
        let unknown = "UNKNOWN - the configuration does not tell where the status socket is: ";
        let out = check(&["-f", &at("none"), "-d", &at("d")], 3, unknown);
        assert!(out.contains(&at("none")) && out.ends_with("; mend it, or give --socket\n"), "{out}");
        check(&["-f", &at("none"), "--socket", socket], 0, "OK - ");
    });
}

/// The two options that locate the daemon are in `[daemon]`, in any of the files. Other sections do
/// not matter.
#[test]
fn faulty_files_of_services_do_not_hide_the_daemon() {
    with_status_socket(|daemon, socket| {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        let put = |name: &str, text: &str| {
            std::io::Write::write_all(&mut std::fs::File::create(at(name)).unwrap(), text.as_bytes()).unwrap()
        };
        std::fs::create_dir(at("d")).unwrap();
        put("main.conf", &format!("[daemon]\nstatus_socket = {socket}\nloglevel = loud\n"));
        let here = ["-f", &at("main.conf"), "-d", &at("d")];
        for faulty in
            ["[a]\ncheck_interval = x\n", "ip_prefix\n[a\n", "[a]\n[a]\n", "\0\u{1f600}", "[a]\nx = %(nosuch)s\n"]
        {
            put("d/a.conf", faulty);
            check(&here, 0, "OK - ");
        }
        // Not even root can read these.
        std::fs::remove_file(at("d/a.conf")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("d/a.conf")).unwrap();
        std::fs::create_dir(at("d/b.conf")).unwrap();
        check(&here, 0, "OK - ");
        check(&["-f", &at("main.conf"), "-d", &at("no directory")], 0, "OK - ");
        check(&["-f", &at("main.conf"), "-F", &at("no file")], 0, "OK - ");

        // The last reload of the daemon read these files.
        *daemon.reload_error.lock() =
            Some(format!("{}, line 2: [a] check_interval = x: must be a number", at("d/a.conf")));
        let refused = format!("WARNING - the last reload was refused: {}, line 2: [a] check", at("d/a.conf"));
        check(&here, 1, &refused);
        *daemon.reload_error.lock() = None;

        // A later file wins, as in the daemon.
        put("d/z.conf", &format!("[daemon]\nstatus_socket = {socket}\n"));
        put("main.conf", "[daemon]\nstatus_socket = /nowhere/status.sock\n");
        check(&here, 0, "OK - ");
    });
}

/// A missing socket does not prove that the daemon is down. The lock on the pidfile decides.
#[test]
fn the_lock_on_the_pidfile_decides_if_the_socket_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let text = format!("[daemon]\nstatus_socket = {}\npidfile = {}\n", at("status.sock"), at("pidfile"));
    std::io::Write::write_all(&mut std::fs::File::create(at("main.conf")).unwrap(), text.as_bytes()).unwrap();
    let here = ["-f", &at("main.conf"), "-d", &at("no directory")];
    check(&here, 2, "CRITICAL - anycast-healthchecker is not running: ");
    let pidfile = std::fs::File::create(at("pidfile")).unwrap();
    pidfile.lock().unwrap();
    check(&here, 3, "UNKNOWN - anycast-healthchecker runs, but nobody answers on ");
}

#[test]
fn wrong_command_lines_are_unknown() {
    check(&["--nonsense"], 3, "UNKNOWN - unexpected argument '--nonsense' found; see --help\n");
    check(&["-w", "5:1"], 3, "UNKNOWN - invalid value '5:1' for '--warning <RANGE>': '5:1' is no threshold range: ");
    check(&["-t", "0"], 3, "UNKNOWN - invalid value '0' for '--timeout <SECONDS>': a number of seconds above 0");
    check(&["--help"], 3, "Checks that anycast-healthchecker runs");
    check(&["--version"], 3, "check_anycast_healthchecker ");
}
