//! Tests with real `sh` scripts, and a property test of the queue.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::sys::orphans::MAX_PER_OWNER;
use crate::testing::isolated::{alone, beside_sudo, this_program, wait_until, BECOMES_ROOT};

const LIMIT: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);

struct Setup {
    dir: tempfile::TempDir,
    background: Arc<Background>,
    orphans: Arc<Orphans>,
    stop: StopToken,
    results: Receiver<(String, Result<Finished, NotRun>)>,
    ended: Sender<(String, Result<Finished, NotRun>)>,
    /// Number of running tasks, and the maximum so far.
    running: Arc<[AtomicUsize; 2]>,
}

impl Setup {
    fn new() -> Setup {
        let (stop, orphans) = (StopToken::new().unwrap(), Arc::<Orphans>::default());
        let background = Background::new("test", LIMIT, orphans.clone(), stop.clone());
        let (ended, results) = channel();
        let dir = tempfile::tempdir().unwrap();
        Setup { dir, background, orphans, stop, results, ended, running: Arc::default() }
    }

    fn task(&self, key: &str, name: &str, program: Program, timeout: Duration) -> Task {
        let (began, running, ended, name) =
            (self.running.clone(), self.running.clone(), self.ended.clone(), name.to_string());
        let begin = move || {
            let now = began[0].fetch_add(1, Ordering::SeqCst) + 1;
            began[1].fetch_max(now, Ordering::SeqCst);
        };
        let end = move |result: Result<Finished, NotRun>| {
            if result.is_ok() {
                running[0].fetch_sub(1, Ordering::SeqCst);
            }
            ended.send((name, result)).unwrap();
        };
        Task { key: key.into(), owner: "owner".into(), program, timeout, begin: Box::new(begin), end: Box::new(end) }
    }

    fn program(&self, script: &str) -> Program {
        Program::new(&["sh", "-c", &format!("cd {}; {script}", self.dir.path().display())].map(String::from))
    }

    /// Runs a script in the test's directory. Returns whether it replaces a queued task.
    fn run(&self, key: &str, name: &str, script: &str) -> bool {
        self.background.run(self.task(key, name, self.program(script), MINUTE)).is_some()
    }

    /// Waits for the next task to end. Returns its name and result.
    fn result(&self) -> (String, Result<Finished, NotRun>) {
        self.results.recv_timeout(MINUTE).unwrap()
    }

    fn names(&self, n: usize) -> Vec<String> {
        (0..n).map(|_| self.result().0).collect()
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("ran")).unwrap_or_default();
        text.lines().map(String::from).collect()
    }

    fn go(&self) {
        File::create(self.dir.path().join("go")).unwrap();
    }
}

/// Returns a script that records its start, and exits once the file `go` exists.
fn waits(name: &str) -> String {
    format!("echo {name} >>ran; while [ -d . -a ! -e go ]; do sleep 0.01; done")
}

#[test]
fn no_more_than_the_limit_run_at_once_and_all_run_in_the_end() {
    let setup = Setup::new();
    for n in 0..20 {
        assert!(!setup.run(&n.to_string(), &n.to_string(), &waits(&n.to_string())));
    }
    wait_until("as many runs as the limit allows", || setup.lines().len() == LIMIT);
    {
        let slots = setup.background.slots.lock();
        let queue = &slots.queue;
        assert_eq!((slots.threads, queue.running.len(), queue.waiting.len()), (LIMIT, LIMIT, 20 - LIMIT));
    }
    setup.go();
    let mut names: Vec<usize> = setup.names(20).iter().map(|name| name.parse().unwrap()).collect();
    names.sort_unstable();
    assert!(names.into_iter().eq(0..20));
    assert_eq!(setup.running[1].load(Ordering::SeqCst), LIMIT);
    // No thread stays.
    wait_until("the threads' end", || setup.background.slots.lock().threads == 0);
    setup.background.wait(Duration::MAX);
}

#[test]
fn of_the_tasks_queued_while_their_key_runs_only_the_last_runs() {
    let setup = Setup::new();
    assert!(!setup.run("a", "first", &waits("first")));
    wait_until("a run", || setup.lines() == ["first"]);
    assert!(!setup.run("a", "0", &waits("0")), "a running task is not replaced");
    for n in 1..5 {
        assert!(setup.run("a", &n.to_string(), &waits(&n.to_string())));
    }
    // A task of another key waits for none of them.
    assert!(!setup.run("b", "other", &waits("other")));
    wait_until("both runs", || setup.lines() == ["first", "other"]);
    setup.go();
    let (others, of_key): (Vec<String>, Vec<String>) = setup.names(3).into_iter().partition(|name| name == "other");
    assert_eq!((of_key, others.len()), (vec!["first".to_string(), "4".to_string()], 1));
    setup.background.wait(Duration::MAX);
    assert!(setup.results.try_recv().is_err(), "replaced tasks do not run");
}

#[test]
fn the_result_holds_the_exit_and_the_output() {
    let setup = Setup::new();
    setup.run("a", "a", "echo out; echo err >&2; exit 3");
    let finished = setup.result().1.unwrap();
    assert!(matches!(finished.exit, Exit::Exited(3)), "{finished:?}");
    assert_eq!((&*finished.stdout.bytes, &*finished.stderr.bytes), (&b"out\n"[..], &b"err\n"[..]));
    let program = Program::new(&["/nonexistent/program".to_string()]);
    setup.background.run(setup.task("a", "a", program, MINUTE));
    assert!(matches!(setup.result().1.unwrap().exit, Exit::NotStarted(_)));
    // Captured output is bounded.
    setup.run("a", "a", "head -c 1000000 /dev/zero");
    assert_eq!(setup.result().1.unwrap().stdout.bytes.len(), MAX_OUTPUT);
}

#[test]
fn a_command_at_its_time_limit_gets_term_and_then_kill() {
    let setup = Setup::new();
    let slow = setup.program(r#"trap "echo terminated >>ran; exit" TERM; sleep 1000 & wait"#);
    setup.background.run(setup.task("a", "a", slow, Duration::from_secs(2)));
    assert!(matches!(setup.result().1.unwrap().exit, Exit::TimedOut));
    assert_eq!(setup.lines(), ["terminated"]);
    let unkillable = setup.program(r#"trap "" TERM; while [ -d . ]; do sleep 0.1; done"#);
    setup.background.run(setup.task("a", "a", unkillable, Duration::from_millis(200)));
    assert!(matches!(setup.result().1.unwrap().exit, Exit::TimedOut));
}

#[test]
fn a_stop_kills_running_commands_and_ends_queued_tasks() {
    let setup = Setup::new();
    setup.run("a", "first", "echo $$ >>ran; sleep 1000 & wait");
    wait_until("a run", || setup.lines().len() == 1);
    setup.run("a", "second", "echo $$ >>ran");
    setup.stop.trigger();
    setup.background.wait(Duration::MAX);
    setup.run("a", "third", "echo $$ >>ran");
    setup.run("b", "fourth", "echo $$ >>ran");
    wait_until("the threads' end", || setup.background.slots.lock().threads == 0);
    // Queued tasks end too, so that a caller that waits for their end is woken.
    for expected in ["first", "second"] {
        let (name, result) = setup.result();
        assert!(name == expected && matches!(result.unwrap().exit, Exit::Stopped), "{name}");
    }
    let ran = setup.lines();
    assert_eq!(ran.len(), 1);
    assert!(!Path::new("/proc").join(&ran[0]).exists());
}

#[test]
fn the_wait_for_the_threads_is_bounded() {
    let setup = Setup::new();
    setup.run("a", "a", &waits("a"));
    setup.background.wait(Duration::from_millis(1));
    assert!(setup.results.try_recv().is_err(), "nothing was stopped");
    setup.go();
    assert!(matches!(setup.result().1.unwrap().exit, Exit::Exited(0)));
}

/// The machine has no thread left: queued tasks end with an error, and later tasks run.
#[test]
fn without_a_thread_every_queued_task_ends() {
    let name = "sys::background::tests::without_a_thread_every_queued_task_ends";
    // A limit of memory rather than of processes, as it applies to root too.
    if !alone(name, &["env"], &this_program()) {
        return;
    }
    let setup = Setup::new();
    let limit = |current| {
        let maximum = rustix::process::getrlimit(rustix::process::Resource::As).maximum;
        rustix::process::setrlimit(rustix::process::Resource::As, rustix::process::Rlimit { current, maximum })
            .unwrap();
    };
    let tasks = ["a", "b"].map(|name| setup.task(name, name, setup.program("true"), MINUTE));
    limit(Some(1));
    let replaced = tasks.map(|task| setup.background.run(task).is_some());
    limit(None);
    assert_eq!(replaced, [false; 2]);
    for name in ["a", "b"] {
        let (ended, result) = setup.result();
        assert!(ended == name && matches!(result, Err(NotRun::Thread(_))), "{ended}");
    }
    setup.run("a", "later", "true");
    assert!(matches!(setup.result().1.unwrap().exit, Exit::Exited(0)));
}

/// A process under sudo may not be killed. It is kept under its owner's name, up to the maximum per
/// owner.
#[test]
fn processes_that_cannot_be_killed_are_kept_up_to_a_maximum() {
    let name = "sys::background::tests::processes_that_cannot_be_killed_are_kept_up_to_a_maximum";
    let Some(sudo) = beside_sudo(name) else { return };
    let (setup, dir) = (Setup::new(), sudo.parent().unwrap().to_path_buf());
    let script = format!("cd {}; while [ -d . -a ! -e go ]; do sleep 0.01; done", dir.display());
    let words = [&sudo.display().to_string(), "--reuid=0", "--clear-groups", "sh", "-c", &script].map(String::from);
    let run = |key: &str| setup.background.run(setup.task(key, key, Program::new(&words), BECOMES_ROOT));
    for n in 1..=MAX_PER_OWNER {
        // Orphans count by owner, whatever their key.
        run(&n.to_string());
        assert!(matches!(setup.result().1.unwrap().exit, Exit::TimedOut));
        assert_eq!(setup.orphans.reap(), n);
    }
    run("one more");
    assert!(matches!(setup.result().1, Err(NotRun::Orphans(TooManyOrphans))));
    assert!(setup.orphans.admit("another owner").is_ok());
    File::create(dir.join("go")).unwrap();
    wait_until("their end", || setup.orphans.reap() == 0);
    run("one more");
    assert!(matches!(setup.result().1.unwrap().exit, Exit::Exited(0)));
}

proptest::proptest! {
    /// The last value of each key is taken, in the order in which the keys were queued, while the
    /// key is not running.
    #[test]
    fn the_queue_matches_a_simple_model(steps in proptest::collection::vec((0u8..3, 0u8..4), 0..100)) {
        let (mut queue, mut waiting, mut running) = (Queue::default(), Vec::<(u8, usize)>::new(), Vec::new());
        for (n, (step, name)) in steps.into_iter().enumerate() {
            match step {
                0 => {
                    let queued = waiting.iter_mut().find(|(waits, _)| *waits == name);
                    let replaced = queued.map(|(_, value)| std::mem::replace(value, n));
                    proptest::prop_assert_eq!(queue.put(name.to_string().into(), n), replaced);
                    if replaced.is_none() {
                        waiting.push((name, n));
                    }
                }
                1 => {
                    let expected = waiting.iter().position(|(waits, _)| !running.contains(waits));
                    let expected = expected.map(|at| waiting.remove(at));
                    proptest::prop_assert_eq!(queue.has_next(), expected.is_some());
                    let taken = queue.take().map(|(name, n)| (name.parse().unwrap(), n));
                    proptest::prop_assert_eq!(taken, expected);
                    running.extend(expected.map(|(name, _)| name));
                }
                _ => {
                    running.retain(|runs| *runs != name);
                    queue.done(&name.to_string());
                }
            }
        }
    }
}
