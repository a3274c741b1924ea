//! Commands that run in the background: `state_change_cmd` and `custom_bird_reconfigure_cmd`.
//!
//! ```text
//!   run(task) --> waits for its key and for a place --> a thread runs it --> ended(result), on that thread
//!        |             |                                   |
//!        |             +-- a later task of the same key takes its place: that one is returned
//!        +------------------ the stop line kills what runs and ends what waits
//! ```
//!
//! Promises: nothing waits for a task but a later task of the same key; at most so many run at a time, and one of a key;
//! tasks of a key run in the order in which they came, and the last one is always run, but for a stop: after that what
//! waits ends as stopped, so that whoever waits for its end learns of it. A command that
//! has reached its time limit gets TERM, and KILL a second later; its output is bounded; what cannot be killed is kept
//! in [`Orphans`] under its owner's name.
//! Who may block: only a task's own thread, on its command. What stops it: the time limit, the stop line.
//! Leaves out: what a task means, and trying it again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::sys::mutex::Mutex;
use crate::sys::orphans::{Orphans, TooManyOrphans};
use crate::sys::process::{CapturedOutput, Exit, Limits, Program, RunOutput};
use crate::sys::stop_token::{Stop, StopToken};

/// How long a command that was told to end (TERM) has before it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// How much of each of its outputs is kept, in bytes.
const KEEP: usize = 4096;
/// Enough for formatting.
const STACK: usize = 256 * 1024;

/// One command to be run.
pub struct Task {
    /// Tasks of one key run one after the other.
    pub key: Arc<str>,
    /// Whose orphans count against it.
    pub owner: Arc<str>,
    /// The command.
    pub program: Program,
    /// How long it may run.
    pub timeout: Duration,
    /// Called on the task's thread before the command is started.
    pub begin: Box<dyn FnOnce() + Send>,
    /// Called on the task's thread when the command has ended.
    pub end: Box<dyn FnOnce(Result<Finished, NotRun>) + Send>,
}

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub exit: Exit,
    /// The last of its standard output.
    pub stdout: CapturedOutput,
    /// The last of its standard error.
    pub stderr: CapturedOutput,
}

/// Why a task was not run.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// Too many earlier ones are left.
    #[error(transparent)]
    Orphans(#[from] TooManyOrphans),
    /// The machine is out of threads.
    #[error("no thread for it: {0}")]
    Thread(String),
}

/// Runs tasks, a few at a time.
pub struct Background {
    /// Names its threads.
    name: &'static str,
    limit: usize,
    slots: Mutex<Slots>,
    orphans: Arc<Orphans>,
    stop: StopToken,
    /// Dropped by each thread when it ends, which [`Background::wait`] sees.
    ended: Mutex<Receiver<()>>,
}

struct Slots {
    queue: Queue<Task>,
    working: usize,
    /// Each thread holds a clone of it.
    alive: Option<Sender<()>>,
}

impl Background {
    /// Nothing runs yet. At most `limit` tasks run at a time, on threads with this name.
    pub fn new(name: &'static str, limit: usize, orphans: Arc<Orphans>, stop: StopToken) -> Arc<Background> {
        let (alive, ended) = channel();
        let slots = Slots { queue: Queue::default(), working: 0, alive: Some(alive) };
        Arc::new(Background { name, limit, slots: Mutex::new(slots), orphans, stop, ended: Mutex::new(ended) })
    }

    /// Has the task run when it is its turn, and returns at once; gives back the task of the same key that waited until
    /// now, in whose place it stands.
    pub fn run(self: &Arc<Self>, task: Task) -> Option<Task> {
        let replaced = self.queue(task);
        self.start();
        replaced
    }

    /// Has the task wait for its turn, which may come with the next [`Background::start`]: for a caller that holds a lock
    /// which a task's end takes.
    pub fn queue(&self, task: Task) -> Option<Task> {
        self.slots.lock().queue.put(task.key.clone(), task)
    }

    /// Has a thread take up what waits, where one more may run; else one of those that run takes it up next.
    pub fn start(self: &Arc<Self>) {
        let mut slots = self.slots.lock();
        if slots.working == self.limit || !slots.queue.has_next() {
            return;
        }
        let (background, alive) = (self.clone(), slots.alive.clone());
        let work = move || {
            let _alive = alive;
            background.work();
        };
        match std::thread::Builder::new().name(self.name.into()).stack_size(STACK).spawn(work) {
            Ok(_) => slots.working += 1,
            // With a thread at work it is only later; without one nobody would ever take it up.
            Err(why) if slots.working == 0 => {
                let refused: Vec<(Arc<str>, Task)> = std::iter::from_fn(|| slots.queue.take()).collect();
                refused.iter().for_each(|(key, _)| slots.queue.done(key));
                drop(slots);
                for (_, task) in refused {
                    (task.end)(Err(NotRun::Thread(why.to_string())));
                }
            }
            Err(_) => {}
        }
    }

    /// Waits until nothing runs any more, at most so long. For the end, after the stop line is pulled.
    pub fn wait(&self, timeout: Duration) {
        self.slots.lock().alive = None;
        // The end of the wait is the end of the last sender: nothing is ever sent.
        let _ = self.ended.lock().recv_timeout(timeout);
    }

    /// Runs one task after the other until none is left.
    fn work(&self) {
        while let Some((key, task)) = self.next() {
            let result = match self.stop.stop_requested() {
                true => Ok(Finished {
                    exit: Exit::Stopped,
                    stdout: CapturedOutput::default(),
                    stderr: CapturedOutput::default(),
                }),
                false => self.run_now(task.owner, task.program, task.timeout, task.begin),
            };
            self.slots.lock().queue.done(&key);
            (task.end)(result);
        }
    }

    fn next(&self) -> Option<(Arc<str>, Task)> {
        let mut slots = self.slots.lock();
        let next = slots.queue.take();
        if next.is_none() {
            slots.working -= 1;
        }
        next
    }

    fn run_now(
        &self,
        owner: Arc<str>,
        mut program: Program,
        timeout: Duration,
        begin: Box<dyn FnOnce() + Send>,
    ) -> Result<Finished, NotRun> {
        self.orphans.admit(&owner)?;
        begin();
        let limits = Limits { deadline: Instant::now() + timeout, grace: Some(GRACE), max_output: KEEP };
        let RunOutput { exit, stdout, stderr, orphan, .. } = program.run(&limits, &self.stop);
        if let Some(orphan) = orphan {
            warn!("{orphan}. It was started for {owner}, and is reaped when it ends");
            self.orphans.keep(&owner, orphan);
        }
        Ok(Finished { exit, stdout, stderr })
    }
}

/// What waits to be run, and the keys for which something runs: first come, first served, one at a time for each.
struct Queue<T> {
    order: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, T>,
    running: HashSet<Arc<str>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { order: VecDeque::new(), waiting: HashMap::new(), running: HashSet::new() }
    }
}

impl<T> Queue<T> {
    /// Has `key` wait with this; returns what it waited with before, whose place it takes.
    fn put(&mut self, key: Arc<str>, what: T) -> Option<T> {
        let before = self.waiting.insert(key.clone(), what);
        if before.is_none() {
            self.order.push_back(key);
        }
        before
    }

    /// Whether [`Queue::take`] would give something.
    fn has_next(&self) -> bool {
        self.next().is_some()
    }

    /// The first for whom nothing runs, who counts as running from now on.
    fn take(&mut self) -> Option<(Arc<str>, T)> {
        let key = self.order.remove(self.next()?)?;
        let what = self.waiting.remove(&key)?;
        self.running.insert(key.clone());
        Some((key, what))
    }

    /// Nothing runs for `key` any more.
    fn done(&mut self, key: &str) {
        self.running.remove(key);
    }

    /// Found soon: no more can stand before it than run.
    fn next(&self) -> Option<usize> {
        self.order.iter().position(|key| !self.running.contains(key))
    }
}

#[cfg(test)]
mod tests;
