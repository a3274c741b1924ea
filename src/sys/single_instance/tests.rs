//! In a network of the test's own, as the abstract name is one a network.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::testing::isolated::{in_own_network, wait_until};

/// A pidfile with this text in a directory of its own.
fn pidfile(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ah.pid");
    File::create(&path).unwrap().write_all_at(text.as_bytes(), 0).unwrap();
    (dir, path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn ours() -> String {
    std::process::id().to_string()
}

/// `sleep` under another name: a process that looks like what the words say. It ends with the test.
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
fn taken_and_released() {
    if !in_own_network("sys::single_instance::tests::taken_and_released") {
        return;
    }
    let (_dir, path) = pidfile("");
    fs::remove_file(&path).unwrap();
    let (instance, findings) = Instance::take(&path).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(read(&path), ours());
    let name = SocketAddr::from_abstract_name(NAME).unwrap();
    assert_eq!(UnixDatagram::bind_addr(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    instance.release().unwrap();
    assert!(!path.exists());
    UnixDatagram::bind_addr(&name).unwrap();
}

#[test]
fn a_second_one_is_refused_by_the_lock() {
    if !in_own_network("sys::single_instance::tests::a_second_one_is_refused_by_the_lock") {
        return;
    }
    let (_dir, path) = pidfile("");
    let (_instance, _) = Instance::take(&path).unwrap();
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::Locked { .. }));
    assert_eq!(read(&path), ours());
}

/// What a daemon leaves that is killed as it starts a program: a child with copies of its descriptors.
#[test]
fn what_is_left_of_one_that_was_killed_is_waited_for() {
    if !in_own_network("sys::single_instance::tests::what_is_left_of_one_that_was_killed_is_waited_for") {
        return;
    }
    let (_dir, path) = pidfile("");
    for _ in 0..5 {
        let (left, _) = Instance::take(&path).unwrap();
        std::thread::scope(|scope| {
            let (sender, tid) = std::sync::mpsc::channel();
            let path = &path;
            let next = scope.spawn(move || {
                sender.send(rustix::thread::gettid()).unwrap();
                Instance::take(path).map(|(_, findings)| findings.len())
            });
            let stat = format!("/proc/self/task/{}/stat", tid.recv().unwrap().as_raw_nonzero());
            let sleeps = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "));
            wait_until("the refusal of the next", || next.is_finished() || sleeps());
            drop(left);
            assert!(matches!(next.join().unwrap(), Ok(0)));
        });
    }
}

#[test]
fn stale_pidfiles_are_no_obstacle() {
    if !in_own_network("sys::single_instance::tests::stale_pidfiles_are_no_obstacle") {
        return;
    }
    let foreign = Pretender::new("bird");
    let foreign = foreign.0.id().to_string();
    let ourselves = format!("{}\n", ours());
    for text in ["1", &foreign, &ourselves, "99999999", "99999999999999999999", "", "x", "-1", "\0\0\0\0"] {
        let (_dir, path) = pidfile(text);
        let (instance, findings) = Instance::take(&path).unwrap();
        assert!(findings.is_empty(), "{text:?}: {findings:?}");
        assert_eq!(read(&path), ours(), "{text:?}");
        instance.release().unwrap();
    }
}

#[test]
fn a_live_one_is_an_obstacle() {
    if !in_own_network("sys::single_instance::tests::a_live_one_is_an_obstacle") {
        return;
    }
    let other = Pretender::new("/usr/bin/anycast-healthchecker");
    let (_dir, path) = pidfile(&other.0.id().to_string());
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::Named { pid, .. } if pid == other.0.id()));
    assert_eq!(read(&path), other.0.id().to_string(), "its pidfile is its own");
    // With another pidfile and a name that is taken it is an obstacle too; with a free name it is none.
    let (_dir, path) = pidfile("");
    let taken = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(NAME).unwrap()).unwrap();
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::NameTaken { pid } if pid == other.0.id()));
    drop(taken);
    Instance::take(&path).unwrap().0.release().unwrap();
}

#[test]
fn a_pidfile_that_is_gone_is_put_back_with_its_lock() {
    if !in_own_network("sys::single_instance::tests::a_pidfile_that_is_gone_is_put_back_with_its_lock") {
        return;
    }
    let (dir, path) = pidfile("");
    let (mut instance, _) = Instance::take(&path).unwrap();
    assert!(!instance.restore().unwrap(), "it is there");
    let entries = || fs::read_dir(dir.path()).unwrap().count();
    let mut check = |gone: &dyn Fn()| {
        gone();
        assert!(instance.restore().unwrap());
        assert_eq!((read(&path), entries()), (ours(), 1));
        assert!(open_locked(&path).unwrap().is_none(), "it is not locked");
        assert!(!instance.restore().unwrap(), "it is there again");
    };
    check(&|| fs::remove_file(&path).unwrap());
    // A daemon that was killed in the middle of this leaves the new one.
    check(&|| {
        fs::remove_file(&path).unwrap();
        File::create(dir.path().join(".ah.pid.new")).unwrap().write_all_at(b"1234567890", 0).unwrap();
    });
    check(&|| {
        fs::remove_file(&path).unwrap();
        File::create(&path).unwrap().write_all_at(b"17", 0).unwrap();
    });
    // Somebody else's is left alone.
    fs::remove_file(&path).unwrap();
    let other = open_locked(&path).unwrap();
    assert!(instance.restore().is_err() && read(&path).is_empty());
    drop(other);
    assert!(instance.restore().unwrap());
    instance.release().unwrap();
    assert_eq!(entries(), 0);
}

#[test]
fn one_that_runs_is_found_by_its_lock_or_its_name() {
    if !in_own_network("sys::single_instance::tests::one_that_runs_is_found_by_its_lock_or_its_name") {
        return;
    }
    let other = Pretender::new("/usr/bin/anycast-healthchecker");
    let (_dir, path) = pidfile(&other.0.id().to_string());
    let pid = |pidfile| find_running(pidfile).map(|found| found.pid);
    assert_eq!(pid(Some(&path)), None, "neither name nor lock");
    let lock = open_locked(&path).unwrap();
    assert_eq!(pid(Some(&path)), Some(Some(other.0.id())));
    assert_eq!(pid(None), None);
    assert_eq!(read(&path), other.0.id().to_string());
    drop(lock);
    assert!(open_locked(&path).unwrap().is_some(), "looking takes no lock");
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
fn a_squatted_name_is_a_finding() {
    if !in_own_network("sys::single_instance::tests::a_squatted_name_is_a_finding") {
        return;
    }
    let _squatter = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(NAME).unwrap()).unwrap();
    let (_dir, path) = pidfile("1");
    let (_instance, findings) = Instance::take(&path).unwrap();
    assert!(matches!(findings[..], [InstanceProblem::Name(_)]), "{findings:?}");
    assert!(matches!(Instance::take(&path).unwrap_err(), AlreadyRunning::Locked { .. }));
}

#[test]
fn a_pidfile_that_cannot_be_written_is_a_finding_and_tried_again() {
    if !in_own_network("sys::single_instance::tests::a_pidfile_that_cannot_be_written_is_a_finding_and_tried_again") {
        return;
    }
    let (dir, path) = pidfile("");
    let missing = dir.path().join("missing");
    let (mut instance, findings) = Instance::take(&missing.join("ah.pid")).unwrap();
    assert!(matches!(findings[..], [InstanceProblem::Pidfile { .. }]), "{findings:?}");
    assert!(instance.write_pid().is_err());
    fs::create_dir(&missing).unwrap();
    instance.write_pid().unwrap();
    assert_eq!(read(&missing.join("ah.pid")), ours());
    instance.release().unwrap();
    // A link is not followed, as what it leads to would be overwritten.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let (instance, findings) = Instance::take(&link).unwrap();
    assert!(matches!(findings[..], [InstanceProblem::Pidfile { .. }]), "{findings:?}");
    assert_eq!(read(&path), "");
    instance.release().unwrap();
}

#[test]
fn a_foreign_pidfile_is_not_removed() {
    if !in_own_network("sys::single_instance::tests::a_foreign_pidfile_is_not_removed") {
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
fn a_longer_number_is_replaced_whole() {
    for (old, text) in [("1234567", "12"), ("", "12"), ("1", "1234"), ("12\n", "34")] {
        let (_dir, path) = pidfile(old);
        write_in_place(&OpenOptions::new().write(true).open(&path).unwrap(), text).unwrap();
        assert_eq!(read(&path), text, "{old:?}");
    }
}

#[test]
fn which_command_lines_are_a_health_checkers() {
    let check = |line: &str, expected| assert_eq!(is_command_line(line.as_bytes()), expected, "{line:?}");
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
