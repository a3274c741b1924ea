//! Runs commands in the background: `state_change_cmd` and `custom_bird_reconfigure_cmd`.
//!
//! ```text
//!   run(task) --> queued until its key and a thread are free --> runs --> end(result)
//!                      |                                          |
//!                      +-- replaced by a later task of its key    +-- killed at its time limit
//!                      +-- ended as stopped, after a stop         +-- killed at a stop
//! ```
//!
//! Guarantees: callers never wait for a task. At most `limit` tasks run at a time, and one per key.
//! Tasks of a key run in the order in which they were queued, and the last one always runs. After a
//! stop, queued tasks end as stopped instead, so that each task is either replaced or ended. A
//! command that reaches its time limit gets TERM, and KILL a second later. Its output is bounded. A
//! process that cannot be killed is kept in [`Orphans`] under its owner's name.
//!
//! Blocking: only the task's own thread, on its command.
//!
//! Shutdown: the stop token kills the running commands; [`Background::wait`] waits for their
//! threads.
//!
//! Out of scope: what a task means, and retries.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::sys::mutex::Mutex;
use crate::sys::orphans::{Orphans, TooManyOrphans};
use crate::sys::process::{CapturedOutput, Exit, Limits, Program, RunOutput};
use crate::sys::stop_token::{Stop, StopToken};

/// Time between TERM and KILL for a command that has reached its time limit.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// Maximum number of bytes kept of each of a command's outputs.
const MAX_OUTPUT: usize = 4096;
/// Stack size of a task's thread: enough for formatting.
const STACK_SIZE: usize = 256 * 1024;

/// One command to run.
pub struct Task {
    /// Tasks with the same key run one after the other.
    pub key: Arc<str>,
    /// Owner of the process if it becomes an orphan. An owner with too many orphans gets no more
    /// commands.
    pub owner: Arc<str>,
    /// The command to run.
    pub program: Program,
    /// Maximum duration of the command.
    pub timeout: Duration,
    /// Called on the task's thread before the command starts.
    pub begin: Box<dyn FnOnce() + Send>,
    /// Called on the task's thread after the command has ended.
    pub end: Box<dyn FnOnce(Result<Finished, NotRun>) + Send>,
}

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// The end of its standard output.
    pub stdout: CapturedOutput,
    /// The end of its standard error.
    pub stderr: CapturedOutput,
}

/// Why a task was not run.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// Too many earlier runs could not be killed.
    #[error(transparent)]
    Orphans(#[from] TooManyOrphans),
    /// No thread could be spawned.
    #[error("cannot spawn a thread for it: {0}")]
    Thread(String),
}

/// Runs tasks, a limited number at a time.
pub struct Background {
    /// Name of its threads.
    name: &'static str,
    /// Maximum number of threads.
    limit: usize,
    slots: Mutex<Slots>,
    orphans: Arc<Orphans>,
    stop: StopToken,
    /// Disconnected when the last thread has ended; see `Slots::alive`.
    all_ended: Mutex<Receiver<()>>,
}

struct Slots {
    queue: Queue<Task>,
    /// Number of running threads.
    threads: usize,
    /// Each thread holds a clone until it ends. Nothing is ever sent.
    alive: Option<Sender<()>>,
}

impl Background {
    /// Creates a runner of at most `limit` tasks at a time, on threads named `name`.
    pub fn new(name: &'static str, limit: usize, orphans: Arc<Orphans>, stop: StopToken) -> Arc<Background> {
        let (alive, all_ended) = channel();
        let slots = Slots { queue: Queue::default(), threads: 0, alive: Some(alive) };
        Arc::new(Background { name, limit, slots: Mutex::new(slots), orphans, stop, all_ended: Mutex::new(all_ended) })
    }

    /// Queues the task, starts a thread if one is needed, and returns at once.
    ///
    /// Returns the queued task of the same key that this one replaces.
    pub fn run(self: &Arc<Self>, task: Task) -> Option<Task> {
        let replaced = self.queue(task);
        self.start();
        replaced
    }

    /// Queues the task without starting a thread. Call [`Background::start`] afterwards.
    ///
    /// It is meant for a caller that holds a lock which [`Task::end`] takes. Returns the task that
    /// this one replaces.
    pub fn queue(&self, task: Task) -> Option<Task> {
        self.slots.lock().queue.put(task.key.clone(), task)
    }

    /// Starts a thread for the queued tasks, unless all threads are running; then one of those runs
    /// them next.
    pub fn start(self: &Arc<Self>) {
        let mut slots = self.slots.lock();
        if slots.threads == self.limit || !slots.queue.has_next() {
            return;
        }
        let (background, alive) = (self.clone(), slots.alive.clone());
        let work = move || {
            let _alive = alive;
            background.work();
        };
        match std::thread::Builder::new().name(self.name.into()).stack_size(STACK_SIZE).spawn(work) {
            Ok(_) => slots.threads += 1,
            // A running thread would take over the queued tasks. Without one they would never run.
            Err(why) if slots.threads == 0 => {
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

    /// Waits at most `timeout` until all threads have ended. Call it once, after the stop token is
    /// triggered.
    pub fn wait(&self, timeout: Duration) {
        self.slots.lock().alive = None;
        // The receiver is disconnected when the last thread drops its sender.
        let _ = self.all_ended.lock().recv_timeout(timeout);
    }

    /// Runs one task after the other until no task can run.
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
            slots.threads -= 1;
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
        let limits = Limits { deadline: Instant::now() + timeout, grace: Some(KILL_GRACE), max_output: MAX_OUTPUT };
        let RunOutput { exit, stdout, stderr, orphan, .. } = program.run(&limits, &self.stop);
        if let Some(orphan) = orphan {
            warn!("{orphan}. It was started for {owner}, and is reaped when it ends");
            self.orphans.keep(&owner, orphan);
        }
        Ok(Finished { exit, stdout, stderr })
    }
}

/// A first-in, first-out queue of at most one value per key, with the set of keys whose values are
/// running.
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
    /// Queues `value` for `key`. Returns the value of that key that it replaces.
    fn put(&mut self, key: Arc<str>, value: T) -> Option<T> {
        let replaced = self.waiting.insert(key.clone(), value);
        if replaced.is_none() {
            self.order.push_back(key);
        }
        replaced
    }

    /// Returns whether [`Queue::take`] would return a value.
    fn has_next(&self) -> bool {
        self.next().is_some()
    }

    /// Takes the first value whose key is not running, and marks its key as running.
    fn take(&mut self) -> Option<(Arc<str>, T)> {
        let key = self.order.remove(self.next()?)?;
        let value = self.waiting.remove(&key)?;
        self.running.insert(key.clone());
        Some((key, value))
    }

    /// Marks `key` as not running.
    fn done(&mut self, key: &str) {
        self.running.remove(key);
    }

    /// Returns the position of the first key that is not running. At most as many keys precede it
    /// as are running.
    fn next(&self) -> Option<usize> {
        self.order.iter().position(|key| !self.running.contains(key))
    }
}

#[cfg(test)]
mod tests;
