//! Tests with real files, sockets and pipes.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;

use tracing::{debug, error, info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use super::*;
use crate::log::layer::{set_subject, Subject};
use crate::testing::isolated::{alone, this_program};

fn settings() -> Log {
    Log {
        level: LogLevel::Debug,
        width: 17,
        file: None,
        max_bytes: 0,
        backups: 0,
        server: None,
        json_stdout: false,
        json_file: false,
        json_server: false,
        json_prefix: "anycast-healthchecker: ",
        journalctl: false,
        stderr_file: None,
        stderr_server: false,
    }
}

/// Runs `events` with the targets of `log`, and writes all queued lines.
fn with_log(log: &Log, events: impl FnOnce(&mut LogHandle)) {
    let (layer, mut handle) = start(log);
    tracing::subscriber::with_default(registry().with(layer), || events(&mut handle));
    let (queues, mut running) = (handle.running.len(), std::mem::take(&mut handle.running));
    for RunningSink { guard, .. } in running.drain(..) {
        drop(guard);
    }
    assert!(queues > 0);
}

fn server() -> (UdpSocket, Option<(String, u16)>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, Some(("127.0.0.1".into(), port)))
}

fn next(socket: &UdpSocket) -> String {
    let mut bytes = vec![0; 70_000];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

/// Replaces what differs between runs: times by `TIME`, the process id by `PID`.
fn normalized(text: &str) -> String {
    let pid = std::process::id().to_string();
    let text = text.replace(&format!("[{pid}]"), "[PID]").replace(&format!(": {pid},"), ": PID,");
    let mut remaining = &text[..];
    let mut normalized = String::new();
    while let Some(at) = find_time(remaining) {
        normalized.push_str(&remaining[..at]);
        normalized.push_str("TIME");
        remaining = &remaining[at + "2026-11-22 10:05:34,116".len()..];
    }
    normalized + remaining
}

fn find_time(text: &str) -> Option<usize> {
    let is_time = |bytes: &[u8]| {
        bytes.iter().zip(b"0000-00-00 00:00:00,000").all(|(byte, sample)| match sample {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
    };
    text.as_bytes().windows(23).position(is_time)
}

fn read(path: &Path) -> String {
    normalized(&fs::read_to_string(path).unwrap())
}

#[test]
fn a_file_gets_text_and_a_server_gets_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (socket, server) = server();
    let log = Log { file: Some(path.clone()), server, json_server: true, ..settings() };
    with_log(&log, |_| {
        warn!("one");
        error!(critical = true, "two");
    });
    let text = "TIME anycast-healthchecker[PID] WARNING  MainThread        one\n\
                TIME anycast-healthchecker[PID] CRITICAL MainThread        two\n";
    assert_eq!(read(&path), text);
    let expected = "<12>anycast-healthchecker: {\"asctime\": \"TIME\", \"levelname\": \"WARNING\", \"process\": PID, \
                    \"message\": \"one\", \"version\": \"VERSION\", \"program\": \"anycast-healthchecker\", \
                    \"service_name\": \"MainThread\"}\0";
    let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(normalized(&next(&socket)), expected);
    assert!(next(&socket).starts_with("<10>"));
}

#[test]
fn a_service_is_named_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (socket, server) = server();
    let log = Log { file: Some(path.clone()), json_file: true, server, json_prefix: "", ..settings() };
    with_log(&log, |_| {
        let subject = Subject::new("foo.bar.com", "10.52.12.1", 32, true);
        // Set in this thread, as another thread would log to another subscriber.
        set_subject(subject);
        info!(status = "up", "changed to UP");
    });
    let json = read(&path);
    assert!(json.starts_with("{\"asctime\": \"TIME\""), "{json}");
    let about = "\"message\": \"changed to UP\", \"ip_address\": \"10.52.12.1\", \"prefix_length\": 32, \
                 \"ip_check_disabled\": true, \"status\": \"up\", \"version\"";
    assert!(json.contains(about) && json.ends_with("\"service_name\": \"foo.bar.com\"}\n"), "{json}");
    let datagram = "<14>TIME anycast-healthchecker[PID] INFO     foo.bar.com       changed to UP\0";
    assert_eq!(normalized(&next(&socket)), datagram);
}

#[test]
fn level_and_targets_can_change_while_events_are_logged() {
    // In its own process, as `tracing` would ask other tests' layers too whether an event is
    // enabled.
    let name = "log::targets::tests::level_and_targets_can_change_while_events_are_logged";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut log = Log { file: Some(one.clone()), level: LogLevel::Info, ..settings() };
    let log_all = |number: u32| {
        debug!("debug {number}");
        info!("info {number}");
        error!("error {number}");
        error!(critical = true, "critical {number}");
    };
    with_log(&log.clone(), |handle| {
        log_all(1);
        log.level = LogLevel::Critical;
        handle.reconfigure(&log);
        log_all(2);
        (log.level, log.file, log.json_prefix) = (LogLevel::Debug, Some(two.clone()), "");
        log.json_file = true;
        handle.reconfigure(&log);
        log_all(3);
        log.json_file = false;
        handle.reconfigure(&log);
        log_all(4);
    });
    let messages = |path: &Path| {
        let word = |line: &str| {
            let at = line.find("[PID] ").map(|at| at + 33).or(line.find("\"message\": \"").map(|at| at + 12)).unwrap();
            line[at..].trim().split('"').next().unwrap().to_string()
        };
        read(path).lines().map(word).collect::<Vec<_>>()
    };
    assert_eq!(messages(&one), ["info 1", "error 1", "critical 1", "critical 2"]);
    let four = |n: u32| [format!("debug {n}"), format!("info {n}"), format!("error {n}"), format!("critical {n}")];
    assert_eq!(messages(&two), [four(3), four(4)].concat());
}

#[test]
fn stdout_is_used_without_another_target() {
    let name = "log::targets::tests::stdout_is_used_without_another_target";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    // stdout is redirected to a file.
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let file = fs::File::create(&out).unwrap();
    let original = io::stdout().as_fd().try_clone_to_owned().unwrap();
    rustix::stdio::dup2_stdout(&file).unwrap();
    with_log(&settings(), |_| info!("text"));
    with_log(&Log { journalctl: true, ..settings() }, |_| info!("journal"));
    with_log(&Log { journalctl: true, json_stdout: true, json_prefix: "", ..settings() }, |_| info!("json"));
    let elsewhere = Log { file: Some(out.with_extension("log")), ..settings() };
    with_log(&elsewhere, |_| info!("file"));
    rustix::stdio::dup2_stdout(&original).unwrap();
    let text = read(&out);
    let start =
        "TIME anycast-healthchecker[PID] INFO     MainThread        text\n<6>MainThread - journal\n{\"asctime\"";
    assert!(text.starts_with(start) && text.lines().count() == 3, "{text}");
    assert!(read(&out.with_extension("log")).ends_with(" file\n"));
}

#[test]
fn a_stuck_stdout_delays_neither_events_nor_the_stop() {
    let name = "log::targets::tests::a_stuck_stdout_delays_neither_events_nor_the_stop";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let original = io::stdout().as_fd().try_clone_to_owned().unwrap();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    rustix::stdio::dup2_stdout(&writer).unwrap();
    let (layer, handle) = start(&settings());
    let dropped = handle.dropped();
    tracing::subscriber::with_default(registry().with(layer), || {
        while dropped.get() < 1000 {
            info!("a line that nobody reads");
        }
        drop(handle);
        info!("a line without a target");
    });
    rustix::stdio::dup2_stdout(&original).unwrap();
    // The target's thread is still blocked in writing to the pipe.
    drop(reader);
}

#[test]
fn a_failing_file_is_reported_to_the_server_and_its_recovery_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (logs, path) = (dir.path().join("logs"), dir.path().join("logs/log"));
    let (socket, server) = server();
    with_log(&Log { file: Some(path.clone()), server, ..settings() }, |handle| {
        info!("lost");
        // Two threads write to the server's queue.
        let mut received = [next(&socket), next(&socket)];
        received.sort();
        assert!(received[0].starts_with("<11>") && received[0].contains("cannot open log_file "), "{received:?}");
        assert!(received[1].ends_with(" lost\0"), "{received:?}");
        assert_eq!(handle.dropped().get(), 1);
        fs::create_dir(&logs).unwrap();
        // The problem is over once a line is written a second after the last failure.
        let limit = Instant::now() + Duration::from_secs(60);
        let has_recovered = |text: &str| text.contains("works again; lines lost meanwhile: 1");
        while !fs::read_to_string(&path).is_ok_and(|text| has_recovered(&text)) {
            assert!(Instant::now() < limit, "the recovery was not logged in the file");
            info!("a line");
            std::thread::sleep(Duration::from_millis(10));
        }
        while !has_recovered(&next(&socket)) {}
        assert_eq!(handle.dropped().get(), 1);
    });
    assert!(read(&path).starts_with("TIME anycast-healthchecker[PID] INFO     MainThread        a line\n"));
}

#[test]
fn panics_go_to_the_targets_of_standard_error() {
    let name = "log::targets::tests::panics_go_to_the_targets_of_standard_error";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stderr");
    let (socket, server) = server();
    let panics = || std::thread::spawn(|| panic!("two\nlines")).join().unwrap_err();
    let mut log = Log { stderr_file: Some(path.clone()), server, stderr_server: true, ..settings() };
    with_log(&log.clone(), |handle| {
        handle.redirect_panics();
        panics();
        log.stderr_file = None;
        handle.reconfigure(&log);
        panics();
        log.stderr_server = false;
        handle.reconfigure(&log);
        panics();
        info!("the last");
    });
    let text = read(&path);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("TIME anycast-healthchecker[PID] MainThread panicked at src/log/targets/tests.rs:"));
    assert_eq!(lines[1..], ["two", "lines"].map(|line| format!("TIME anycast-healthchecker[PID] MainThread {line}")));
    assert!(next(&socket).starts_with("<10>"));
    assert!(next(&socket).ends_with("MainThread two\0") && next(&socket).ends_with(" lines\0"));
    assert!(next(&socket).ends_with("the last\0"));
}

#[test]
fn one_file_may_be_the_target_of_two_options() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log { file: Some(path.clone()), stderr_file: Some(path.clone()), ..settings() };
    with_log(&log, |handle| {
        assert_eq!(handle.running.len(), 1);
        handle.layer.recorder().log_stderr("one\n\ntwo\n");
        info!("three");
    });
    assert_eq!(read(&path).lines().count(), 3);
}

#[test]
fn without_threads_the_daemon_runs_without_a_log() {
    let name = "log::targets::tests::without_threads_the_daemon_runs_without_a_log";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    // The limit does not apply to root.
    if rustix::process::getuid().is_root() {
        nix::unistd::setuid(64_999.into()).unwrap();
    }
    let limit = rustix::process::Rlimit { current: Some(1), maximum: Some(1) };
    rustix::process::setrlimit(rustix::process::Resource::Nproc, limit).unwrap();
    thread::Builder::new().spawn(|| ()).expect_err("the limit applies");
    let (layer, mut handle) = start(&settings());
    tracing::subscriber::with_default(registry().with(layer), || info!("a line without a target"));
    assert!(handle.running.is_empty());
    // A reload tries again.
    handle.reconfigure(&settings());
}
