//! Tests in a network namespace, as each one has its own abstract socket names.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::testing::isolated::{in_own_network, wait_until};

/// Creates a pidfile with this content in a temporary directory.
fn pidfile(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ah.pid");
    File::create(&path).unwrap().write_all_at(text.as_bytes(), 0).unwrap();
    (dir, path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn own_pid() -> String {
    std::process::id().to_string()
}

/// A `sleep` process with another command line. It is killed when this is dropped.
struct Pretender(Child);

impl Pretender {
    #[expect(clippy::disallowed_methods, reason = "the test needs a process beside it")]
    fn new(name: &str) -> Pretender {
        let script = format!("exec -a '{name}' sleep 1108");
        let child = Command::new("bash").args(["-c", &script]).stdout(Stdio::null()).spawn().unwrap();
        let line = format!("/proc/{}/cmdline", child.id());
        wait_until("the other process", || fs::read(&line).is_ok_and(|line| line.starts_with(name.as_bytes())));
        Pretender(child)
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn an_instance_is_taken_and_released() {
    if !in_own_network("sys::single_instance::tests::an_instance_is_taken_and_released") {
        return;
    }
    let (_dir, path) = pidfile("");
    fs::remove_file(&path).unwrap();
    let (instance, problems) = Instance::take(&path).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(read(&path), own_pid());
    let name = SocketAddr::from_abstract_name(NAME).unwrap();
    assert_eq!(UnixDatagram::bind_addr(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    instance.release().unwrap();
    assert!(!path.exists());
    UnixDatagram::bind_addr(&name).unwrap();
}

#[test]
fn a_second_instance_is_refused_by_the_lock() {
    if !in_own_network("sys::single_instance::tests::a_second_instance_is_refused_by_the_lock") {
        return;
    }
    let (_dir, path) = pidfile("");
    let (_instance, _) = Instance::take(&path).unwrap();
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::Locked { .. }));
    assert_eq!(read(&path), own_pid());
}

/// A daemon that is killed while it starts a program leaves a child with copies of its descriptors.
#[test]
fn the_remains_of_a_killed_daemon_are_waited_for() {
    if !in_own_network("sys::single_instance::tests::the_remains_of_a_killed_daemon_are_waited_for") {
        return;
    }
    let (_dir, path) = pidfile("");
    for _ in 0..5 {
        let (killed, _) = Instance::take(&path).unwrap();
        std::thread::scope(|scope| {
            let (sender, tid) = std::sync::mpsc::channel();
            let path = &path;
            let next = scope.spawn(move || {
                sender.send(rustix::thread::gettid()).unwrap();
                Instance::take(path).map(|(_, problems)| problems.len())
            });
            let stat = format!("/proc/self/task/{}/stat", tid.recv().unwrap().as_raw_nonzero());
            let sleeps = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "));
            wait_until("the next instance to be refused", || next.is_finished() || sleeps());
            drop(killed);
            assert!(matches!(next.join().unwrap(), Ok(0)));
        });
    }
}

#[test]
fn a_stale_pidfile_does_not_prevent_a_start() {
    if !in_own_network("sys::single_instance::tests::a_stale_pidfile_does_not_prevent_a_start") {
        return;
    }
    let other = Pretender::new("bird");
    let other = other.0.id().to_string();
    let own = format!("{}\n", own_pid());
    for text in ["1", &other, &own, "99999999", "99999999999999999999", "", "x", "-1", "\0\0\0\0"] {
        let (_dir, path) = pidfile(text);
        let (instance, problems) = Instance::take(&path).unwrap();
        assert!(problems.is_empty(), "{text:?}: {problems:?}");
        assert_eq!(read(&path), own_pid(), "{text:?}");
        instance.release().unwrap();
    }
}

#[test]
fn a_running_daemon_prevents_a_start() {
    if !in_own_network("sys::single_instance::tests::a_running_daemon_prevents_a_start") {
        return;
    }
    let other = Pretender::new("/usr/bin/anycast-healthchecker");
    let (_dir, path) = pidfile(&other.0.id().to_string());
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::Named { pid, .. } if pid == other.0.id()));
    assert_eq!(read(&path), other.0.id().to_string(), "the pidfile is not changed");
    // With another pidfile, it prevents a start only if the abstract socket is in use.
    let (_dir, path) = pidfile("");
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(NAME).unwrap()).unwrap();
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::NameTaken { pid } if pid == other.0.id()));
    drop(socket);
    Instance::take(&path).unwrap().0.release().unwrap();
}

#[test]
fn a_deleted_pidfile_is_restored_with_its_lock() {
    if !in_own_network("sys::single_instance::tests::a_deleted_pidfile_is_restored_with_its_lock") {
        return;
    }
    let (dir, path) = pidfile("");
    let (mut instance, _) = Instance::take(&path).unwrap();
    assert!(!instance.restore().unwrap(), "the pidfile exists");
    let entries = || fs::read_dir(dir.path()).unwrap().count();
    let mut check = |remove: &dyn Fn()| {
        remove();
        assert!(instance.restore().unwrap());
        assert_eq!((read(&path), entries()), (own_pid(), 1));
        assert!(open_locked(&path).unwrap().is_none(), "the pidfile is not locked");
        assert!(!instance.restore().unwrap(), "the pidfile exists again");
    };
    check(&|| fs::remove_file(&path).unwrap());
    // A daemon that was killed during this leaves the temporary file.
    check(&|| {
        fs::remove_file(&path).unwrap();
        File::create(dir.path().join(".ah.pid.new")).unwrap().write_all_at(b"1234567890", 0).unwrap();
    });
    check(&|| {
        fs::remove_file(&path).unwrap();
        File::create(&path).unwrap().write_all_at(b"17", 0).unwrap();
    });
    // A pidfile that another process has locked is not changed.
    fs::remove_file(&path).unwrap();
    let other = open_locked(&path).unwrap();
    assert!(instance.restore().is_err() && read(&path).is_empty());
    drop(other);
    assert!(instance.restore().unwrap());
    instance.release().unwrap();
    assert_eq!(entries(), 0);
}

#[test]
fn a_running_daemon_is_found_by_its_lock_or_its_socket() {
    if !in_own_network("sys::single_instance::tests::a_running_daemon_is_found_by_its_lock_or_its_socket") {
        return;
    }
    let other = Pretender::new("/usr/bin/anycast-healthchecker");
    let (_dir, path) = pidfile(&other.0.id().to_string());
    let pid = |pidfile| find_running(pidfile).map(|found| found.pid);
    assert_eq!(pid(Some(&path)), None, "neither socket nor lock");
    let lock = open_locked(&path).unwrap();
    assert_eq!(pid(Some(&path)), Some(Some(other.0.id())));
    assert_eq!(pid(None), None);
    assert_eq!(read(&path), other.0.id().to_string());
    drop(lock);
    assert!(open_locked(&path).unwrap().is_some(), "find_running keeps no lock");
    let name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(NAME).unwrap()).unwrap();
    assert_eq!(pid(None), Some(Some(other.0.id())));
    fs::remove_file(&path).unwrap();
    assert_eq!(pid(Some(&path)), Some(Some(other.0.id())));
    drop(other);
    assert_eq!(pid(Some(&path)), Some(None));
    drop(name);
    assert_eq!(pid(Some(&path)), None);
}

#[test]
fn a_squatted_socket_name_is_a_problem() {
    if !in_own_network("sys::single_instance::tests::a_squatted_socket_name_is_a_problem") {
        return;
    }
    let _squatter = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(NAME).unwrap()).unwrap();
    let (_dir, path) = pidfile("1");
    let (_instance, problems) = Instance::take(&path).unwrap();
    assert!(matches!(problems[..], [InstanceProblem::Name(_)]), "{problems:?}");
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::Locked { .. }));
}

#[test]
fn a_pidfile_that_cannot_be_written_is_a_problem_and_retried() {
    if !in_own_network("sys::single_instance::tests::a_pidfile_that_cannot_be_written_is_a_problem_and_retried") {
        return;
    }
    let (dir, path) = pidfile("");
    let missing = dir.path().join("missing");
    let (mut instance, problems) = Instance::take(&missing.join("ah.pid")).unwrap();
    assert!(matches!(problems[..], [InstanceProblem::Pidfile { .. }]), "{problems:?}");
    assert!(instance.write_pid().is_err());
    fs::create_dir(&missing).unwrap();
    instance.write_pid().unwrap();
    assert_eq!(read(&missing.join("ah.pid")), own_pid());
    instance.release().unwrap();
    // A link is not followed, as its target would be overwritten.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let (instance, problems) = Instance::take(&link).unwrap();
    assert!(matches!(problems[..], [InstanceProblem::Pidfile { .. }]), "{problems:?}");
    assert_eq!(read(&path), "");
    instance.release().unwrap();
}

#[test]
fn a_pidfile_of_another_process_is_not_removed() {
    if !in_own_network("sys::single_instance::tests::a_pidfile_of_another_process_is_not_removed") {
        return;
    }
    let (_dir, path) = pidfile("");
    let (instance, _) = Instance::take(&path).unwrap();
    fs::remove_file(&path).unwrap();
    File::create(&path).unwrap();
    instance.release().unwrap();
    assert!(path.exists());
    let (instance, _) = Instance::take(&path).unwrap();
    fs::remove_file(&path).unwrap();
    instance.release().unwrap();
}

#[test]
fn a_longer_process_id_is_overwritten_completely() {
    for (old, text) in [("1234567", "12"), ("", "12"), ("1", "1234"), ("12\n", "34")] {
        let (_dir, path) = pidfile(old);
        write_in_place(&OpenOptions::new().write(true).open(&path).unwrap(), text).unwrap();
        assert_eq!(read(&path), text, "{old:?}");
    }
}

#[test]
fn command_lines_of_health_checkers_are_recognized() {
    let check =
        |line: &str, expected| assert_eq!(is_health_checker_command_line(line.as_bytes()), expected, "{line:?}");
    check("anycast-healthchecker\0-f\0x\0", true);
    check("/usr/sbin/anycast-healthchecker\0", true);
    check("/usr/bin/python3\0/usr/bin/anycast-healthchecker\0-f\0x\0", true);
    check("/opt/bin/python3.11\0-u\0/usr/bin/anycast-healthchecker\0", true);
    check("vim\0/usr/bin/anycast-healthchecker\0", false);
    check("python3\0other\0anycast-healthchecker\0", false);
    check("check_anycast-healthchecker\0", false);
    check("sudo\0anycast-healthchecker\0", false);
    check("", false);
}
