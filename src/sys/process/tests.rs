//! Tests with real programs, most of them `sh` scripts.

use std::fs;
use std::path::Path;

use super::*;
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{alone, beside_sudo, this_program, BECOMES_ROOT};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns a program that runs `script`.
///
/// The number of seconds of each `sleep` gets this process's id as a prefix, so that other tests'
/// sleeps differ.
fn sh(script: &str) -> Program {
    let script = script.replace("sleep ", &format!("sleep {}", std::process::id()));
    Program::new(&["sh", "-c", &script].map(String::from))
}

/// Returns limits with a deadline `time` from now.
fn within(time: Duration) -> Limits {
    Limits { deadline: Instant::now() + time, grace: None, max_output: 1000 }
}

fn run(script: &str, limits: Limits) -> RunOutput {
    sh(script).run(&limits, &StopToken::new().unwrap())
}

/// Runs a script that exits by itself, and compares the exit and both outputs.
fn check(script: &str, expected: &str) {
    let output = run(script, within(MINUTE));
    let text = |captured: &CapturedOutput| String::from_utf8_lossy(&captured.bytes).into_owned();
    let result = format!("{:?} {:?} {:?}", output.exit, text(&output.stdout), text(&output.stderr));
    assert_eq!(result, expected, "{script}");
    assert!(output.orphan.is_none());
}

/// Waits, at most ten seconds, until `condition` holds.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen in ten seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns whether such a `sleep` of [`sh`] is running (and not a zombie).
fn sleeps(seconds: &str) -> bool {
    let line = format!("sleep\0{}{seconds}\0", std::process::id());
    processes().any(|dir| fs::read(dir.join("cmdline")).is_ok_and(|found| found == line.as_bytes()))
}

fn processes() -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(|path| path.join("status").exists())
}

#[test]
fn a_program_that_exits_by_itself() {
    check("exit 0", r#"Exited(0) "" """#);
    check("exit 7", r#"Exited(7) "" """#);
    check("echo out; echo err >&2; exit 1", r#"Exited(1) "out\n" "err\n""#);
    check("kill -KILL $$", r#"Signaled(9) "" """#);
    check("kill -SEGV $$", r#"Signaled(11) "" """#);
    check("exec 1>&- 2>&-; exit 3", r#"Exited(3) "" """#);
    check("cat; echo end of input", r#"Exited(0) "end of input\n" """#);
}

#[test]
fn a_program_runs_repeatedly_with_arguments_and_environment() {
    let mut program = sh("echo \"$1 $2 $SERVICE\"").arg("name").arg("up").arg("a b").env("SERVICE", "foo");
    for _ in 0..3 {
        let output = program.run(&within(MINUTE), &StopToken::new().unwrap());
        assert_eq!(output.stdout.bytes, b"up a b foo\n");
        assert!(output.duration > Duration::ZERO);
    }
}

#[test]
fn a_failed_start_names_its_cause() {
    for (words, kind) in [
        (vec!["/nonexistent/program".to_string()], io::ErrorKind::NotFound),
        (vec!["/etc/passwd".to_string()], io::ErrorKind::PermissionDenied),
        (vec!["a\0b".to_string()], io::ErrorKind::InvalidInput),
        (vec![], io::ErrorKind::NotFound),
    ] {
        match Program::new(&words).run(&within(MINUTE), &StopToken::new().unwrap()).exit {
            Exit::NotStarted(error) => assert_eq!(error.kind(), kind, "{words:?}"),
            exit => panic!("{words:?}: {exit:?}"),
        }
    }
}

#[test]
fn the_last_bytes_of_the_output_are_kept() {
    let output = run("seq 1 100000; echo end", Limits { max_output: 20, ..within(MINUTE) });
    assert_eq!(output.stdout.bytes, b"99998\n99999\n100000\nend\n"[3..]);
    let none = run("echo text", Limits { max_output: 0, ..within(MINUTE) });
    assert_eq!(none.stdout, CapturedOutput { bytes: vec![] });
}

#[test]
fn output_larger_than_a_pipe_is_complete() {
    let output = run("seq 1 100000; seq 1 50000 >&2", Limits { max_output: 1 << 20, ..within(MINUTE) });
    assert_eq!(output.stdout.bytes.len(), 588_895);
    assert!(output.stderr.bytes.ends_with(b"\n49999\n50000\n"));
}

#[test]
fn a_flood_of_output_neither_fills_memory_nor_delays_the_deadline() {
    let output = run("yes & yes >&2 & wait", within(Duration::from_millis(300)));
    assert!(matches!(output.exit, Exit::TimedOut), "{:?}", output.exit);
    assert_eq!(output.stdout.bytes.len(), 1000);
    assert!(output.stdout.bytes.capacity() < 1 << 20);
}

#[test]
fn a_child_outside_the_group_that_keeps_writing_does_not_delay_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!(
        "setsid sh -c 'echo $$ >{0}.new; mv {0}.new {0}; exec yes' & until [ -e {0} ]; do :; done",
        pid.display()
    );
    let output = run(&script, within(MINUTE));
    assert!(matches!(output.exit, Exit::Exited(0)), "{:?}", output.exit);
    // The pipe is closed by now, which ends the child too, so it may no longer exist.
    let _ = rustix::process::kill_process(pid_in(&pid), Signal::KILL);
}

fn pid_in(path: &Path) -> Pid {
    Pid::from_raw(fs::read_to_string(path).unwrap().trim().parse().unwrap()).unwrap()
}

#[test]
fn children_in_the_background_are_killed_and_delay_nothing() {
    let output = run("sleep 1001 & sleep 1001 >/dev/null 2>&1 & echo started", within(MINUTE));
    assert!(matches!(output.exit, Exit::Exited(0)));
    assert_eq!(output.stdout.bytes, b"started\n");
    wait_until("no sleep 1001", || !sleeps("1001"));
}

#[test]
fn at_the_deadline_the_whole_group_is_killed() {
    let output =
        run("trap '' TERM; (sleep 1002 | sleep 1002) & sleep 1002; echo never", within(Duration::from_millis(200)));
    assert!(matches!(output.exit, Exit::TimedOut), "{:?}", output.exit);
    assert!(output.stdout.bytes.is_empty() && output.orphan.is_none());
    assert!(output.duration >= Duration::from_millis(200));
    wait_until("no sleep 1002", || !sleeps("1002"));
}

#[test]
fn the_grace_period_lets_a_program_clean_up() {
    let limits = Limits { grace: Some(MINUTE), ..within(Duration::from_millis(200)) };
    let output = run("trap 'echo cleaned; exit 5' TERM; sleep 1003 & wait", limits);
    assert!(matches!(output.exit, Exit::TimedOut), "{:?}", output.exit);
    assert_eq!(output.stdout.bytes, b"cleaned\n");
    wait_until("no sleep 1003", || !sleeps("1003"));
}

#[test]
fn after_the_grace_period_the_group_is_killed() {
    // Long enough for the shell to set its trap, even on a busy machine.
    let limits = Limits { grace: Some(Duration::from_millis(100)), ..within(Duration::from_secs(2)) };
    let output = run("trap '' TERM; while :; do sleep 1004; done", limits);
    assert!(matches!(output.exit, Exit::TimedOut), "{:?}", output.exit);
    assert!(output.duration >= Duration::from_millis(2100));
    wait_until("no sleep 1004", || !sleeps("1004"));
}

#[test]
fn a_stop_kills_at_once() {
    let stop = StopToken::new().unwrap();
    std::thread::scope(|scope| {
        let running = scope
            .spawn(|| sh("trap '' TERM; sleep 1005").run(&Limits { grace: Some(MINUTE), ..within(MINUTE) }, &stop));
        wait_until("a sleep 1005", || sleeps("1005"));
        stop.trigger();
        assert!(matches!(running.join().unwrap().exit, Exit::Stopped));
    });
    wait_until("no sleep 1005", || !sleeps("1005"));
}

#[test]
fn a_deadline_in_the_past_is_a_timeout() {
    let output =
        sh("sleep 1006").run(&Limits { deadline: Instant::now(), ..within(MINUTE) }, &StopToken::new().unwrap());
    assert!(matches!(output.exit, Exit::TimedOut), "{:?}", output.exit);
}

#[test]
fn a_program_gets_only_stdio_and_its_own_process_group() {
    let name = "sys::process::tests::a_program_gets_only_stdio_and_its_own_process_group";
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    crate::sys::startup::close_descriptors().unwrap();
    let _other = (fs::File::open("/proc/self/status").unwrap(), StopToken::new().unwrap());
    check("ls /proc/self/fd", r#"Exited(0) "0\n1\n2\n3\n" """#); // 3 is the directory itself
    check("readlink /proc/self/fd/0", r#"Exited(0) "/dev/null\n" """#);
    check("ps -o pid=,pgid= -p $$ | awk '{ print $1 == $2 }'", r#"Exited(0) "1\n" """#);
}

/// A check under sudo is such a process for a daemon that is not root.
#[test]
fn a_process_that_may_not_be_killed_is_returned_as_an_orphan() {
    let Some(sudo) = beside_sudo("sys::process::tests::a_process_that_may_not_be_killed_is_returned_as_an_orphan")
    else {
        return;
    };
    let words = [sudo.to_str().unwrap(), "--reuid=0", "--clear-groups", "sleep", "3"].map(String::from);
    for grace in [None, Some(MINUTE)] {
        let limits = Limits { grace, ..within(BECOMES_ROOT) };
        let output = Program::new(&words).run(&limits, &StopToken::new().unwrap());
        assert!(matches!(output.exit, Exit::TimedOut), "{:?}", output.exit);
        let mut orphan = output.orphan.unwrap();
        let expected = format!("process {} may not be killed: Operation not permitted (os error 1)", orphan.pid());
        assert_eq!(orphan.to_string(), expected);
        assert!(!orphan.try_reap());
        while !orphan.try_reap() {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_no_child();
    }
}

/// Descriptors, children and zombies are counted, so no other test may run in the same process.
#[test]
fn two_hundred_concurrent_runs_leave_no_process_or_descriptor() {
    if !alone(
        "sys::process::tests::two_hundred_concurrent_runs_leave_no_process_or_descriptor",
        &["env"],
        &this_program(),
    ) {
        return;
    }
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    std::thread::scope(|scope| {
        for n in 0..200 {
            scope.spawn(move || {
                let script = ["exit 0", "sleep 1007", "yes", "sleep 1007 & exit 1"][n % 4];
                // On a busy machine a killed process may exit late.
                if let Some(mut orphan) = run(script, within(Duration::from_millis(1000))).orphan {
                    wait_until(script, || orphan.try_reap());
                }
            });
        }
    });
    assert_eq!(descriptors(), before);
    assert_no_child();
    wait_until("no sleep 1007", || !sleeps("1007"));
}

/// The run waits for a free descriptor, for its deadline, or for a stop.
#[test]
fn a_run_waits_while_no_descriptor_is_left() {
    let name = "sys::process::tests::a_run_waits_while_no_descriptor_is_left";
    if !alone(name, &["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"], &this_program()) {
        return;
    }
    let exhaust = || {
        let mut held = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            held.push(file);
        }
        held
    };
    let stop = StopToken::new().unwrap();
    // Four are for the pipes; the fifth is for /dev/null and then for the pidfd.
    for spare in 0..8 {
        let mut held = exhaust();
        held.truncate(held.len() - spare);
        let output = sh("exit 0").run(&within(Duration::from_millis(250)), &stop);
        match output.exit {
            Exit::NotStarted(error) => assert!(spare < 5, "{spare} descriptors: {error}"),
            Exit::Exited(0) => assert!(spare >= 5, "{spare} descriptors were enough"),
            exit => panic!("{exit:?} with {spare} descriptors"),
        }
        assert!(output.orphan.is_none());
    }
    std::thread::scope(|scope| {
        let mut held = exhaust();
        let running = scope.spawn(|| sh("exit 0").run(&within(MINUTE), &stop));
        // Descriptors are freed one by one, so that the start fails at every possible step.
        while held.pop().is_some() {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(matches!(running.join().unwrap().exit, Exit::Exited(0)));
    });
    std::thread::scope(|scope| {
        let held = exhaust();
        let running = scope.spawn(|| sh("exit 0").run(&within(MINUTE), &stop));
        stop.trigger();
        assert!(matches!(running.join().unwrap().exit, Exit::Stopped));
        drop(held);
    });
    assert_no_child();
}

fn assert_no_child() {
    let child = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert!(matches!(child, Err(Errno::CHILD)), "a child still exists: {child:?}");
}
