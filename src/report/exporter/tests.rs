use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Sender};

use super::*;
use crate::testing::isolated::{alone, this_program};
use crate::testing::sample;

fn daemon_state() -> Arc<DaemonState> {
    Arc::new(sample::daemon_state(vec![
        sample::service("we\"ird\\na\nme|é", "10.0.0.1/32"),
        sample::service("b", "fd00::1"),
    ]))
}

fn started(dir: &Path, interval: Duration) -> (Sender<Option<Prometheus>>, JoinHandle<()>) {
    let (updates, receiver) = channel();
    let prometheus = Prometheus { dir: dir.into(), interval };
    let thread = start(daemon_state(), &prometheus, receiver).unwrap();
    (updates, thread)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = sample::test_deadline();
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_first_file_is_written_at_once_and_the_last_one_has_state_0() {
    let dir = tempfile::tempdir().unwrap();
    let leftover = dir.path().join(".anycast_healthchecker.prom.0123456789abcdef.new");
    fs::File::create(&leftover).unwrap();
    let path = dir.path().join(FILE);
    let (updates, thread) = started(dir.path(), Duration::from_secs(3600));
    wait_until("the file is there", || path.exists());
    assert!(fs::read_to_string(&path).unwrap().contains("anycast_healthchecker_state 1.0\n"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    assert!(!leftover.exists(), "the temporary file of a killed run is removed");
    drop(updates);
    thread.join().unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("anycast_healthchecker_state 0.0\n"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_file_is_written_every_interval_and_when_its_directory_appears() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, path) = (dir.path().join("textfile"), dir.path().join("textfile").join(FILE));
    let (updates, thread) = started(&inner, Duration::from_millis(5));
    fs::create_dir(&inner).unwrap();
    wait_until("it is written", || path.exists());
    fs::remove_file(&path).unwrap();
    wait_until("it is written again", || path.exists());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    wait_until("all may read it", || {
        fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o644)
    });
    drop(updates);
    thread.join().unwrap();
}

#[test]
fn a_reload_moves_the_file_changes_its_interval_and_removes_it() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    [&a, &b].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let hour = Duration::from_secs(3600);
    let (updates, thread) = started(&a, hour);
    wait_until("the file is there", || a.join(FILE).exists());
    updates.send(Some(Prometheus { dir: b.clone(), interval: hour })).unwrap();
    wait_until("the file is elsewhere", || b.join(FILE).exists());
    assert!(!a.join(FILE).exists(), "the abandoned file is removed");
    updates.send(Some(Prometheus { dir: b.clone(), interval: Duration::from_millis(5) })).unwrap();
    for _ in 0..3 {
        fs::remove_file(b.join(FILE)).unwrap();
        wait_until("it is written again", || b.join(FILE).exists());
    }
    updates.send(None).unwrap();
    thread.join().unwrap();
    assert!(!b.join(FILE).exists());
}

/// On a full disk the old file stays, without a temporary file beside it; writing succeeds once
/// there is space.
#[test]
fn a_full_disk_keeps_the_old_file() {
    const MOUNT: &str = "mount -t tmpfs -o size=64k none /mnt && exec \"$@\"";
    let wrapper = ["unshare", "-rm", "sh", "-c", MOUNT, "sh"];
    if !alone("report::exporter::tests::a_full_disk_keeps_the_old_file", &wrapper, &this_program()) {
        return;
    }
    let (disk, path) = (Path::new("/mnt"), Path::new("/mnt").join(FILE));
    let full = disk.join("full");
    let mut filler = fs::File::create(&full).unwrap();
    let mut exporter = Exporter { state: daemon_state(), path: path.clone(), failure: LogOnce::new() };
    exporter.write(Process::Up);
    let before = fs::read(&path).unwrap();
    while filler.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    exporter.write(Process::Down);
    assert!(exporter.failure.problem().is_some_and(|why| why.contains("No space left")), "{:?}", exporter.failure);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(disk).unwrap().count(), 2);
    drop(filler);
    fs::remove_file(&full).unwrap();
    exporter.write(Process::Down);
    assert_eq!(exporter.failure.problem(), None);
    assert_ne!(fs::read(&path).unwrap(), before);
}

/// A node_exporter that is killed at the end of the test.
struct NodeExporter(Child);

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real node_exporter accepts the file and exposes its metrics.
#[test]
#[expect(clippy::disallowed_methods, reason = "starts the program that reads the file")]
fn node_exporter_accepts_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (updates, thread) = started(dir.path(), Duration::from_secs(3600));
    wait_until("the file is there", || dir.path().join(FILE).exists());
    let child = Command::new("prometheus-node-exporter")
        .arg(format!("--collector.textfile.directory={}", dir.path().display()))
        .args(["--collector.disable-defaults", "--collector.textfile", "--web.listen-address=127.0.0.1:0"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    if let Ok(child) = child {
        let scraped = scrape(&mut NodeExporter(child));
        assert!(scraped.contains("\nnode_textfile_scrape_error 0\n"), "{scraped}");
        assert!(scraped.contains("\nanycast_healthchecker_state 1\n"), "{scraped}");
        assert!(
            scraped.contains(
                r#"service_check_total{ip_prefix="10.0.0.1/32",result="passed",service_name="we\"ird\\na\nme|é"} 0"#
            ),
            "{scraped}"
        );
    } else {
        crate::testing::isolated::skipped(
            "prometheus-node-exporter is not installed, the file was shown to no real node_exporter",
        );
    }
    drop(updates);
    thread.join().unwrap();
}

/// Returns the answer to a scrape. The port is in node_exporter's log.
fn scrape(NodeExporter(child): &mut NodeExporter) -> String {
    let mut log = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let port: u16 = loop {
        assert!(lines.read_line(&mut log).unwrap() > 0, "it ended:\n{log}");
        let line = log.lines().last().unwrap();
        if let Some(rest) = line.split("127.0.0.1:").nth(1).filter(|_| line.to_lowercase().contains("listening on")) {
            break rest.trim_end_matches('"').parse().unwrap();
        }
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
