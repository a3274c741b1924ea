//! Runs `state_change_cmd`, the command of a service that is started in the background after each
//! change of its state.
//!
//! ```text
//!   change of state --> queued --> running, at most MAX_RUNNING and one a service --> counted
//!                         |
//!                         +-- replaced by the next change of the same service --> skipped
//! ```
//!
//! A change of state is what the log reports as one: from unknown to up or down with the first
//! verdict, then between up and down; also if a check is stuck, or is disabled and `on_disabled`
//! decides. An address that comes or goes while others of the service stay is not a change of
//! state.
//!
//! The command is started without a shell, with the daemon's environment and these variables:
//!
//! ```text
//!   SERVICE=foo.bar.com
//!   OLD_STATE=unknown|up|down
//!   NEW_STATE=up|down
//!   PREFIXES="10.52.12.1/32 fd12:aba6:57db:ffff::1/128"
//! ```
//!
//! Guarantees: no route and no check waits for the command. The runs of a service are in the order
//! of its changes, and its last change is always run, unless the daemon stops.
//!
//! Blocking: only the thread of a run blocks, on its command.
//!
//! Shutdown: the stop token kills what runs and drops what is queued. `state_change_cmd_timeout`
//! ends a single run, by TERM and a second later KILL.
//!
//! Out of scope: which changes there are (`check::state`), and repeating a run that failed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::check::health::State;
use crate::check::Check;
use crate::config::settings::TimedCommand;
use crate::log::format::python_bytes;
use crate::log::layer::{set_subject, Subject};
use crate::sys::background::{Background, Finished, NotRun, Task};
use crate::sys::orphans::Orphans;
use crate::sys::process::{Exit, Program};
use crate::sys::stop_token::StopToken;

/// How many commands run at the same time, over all services.
pub const MAX_RUNNING: usize = 8;
/// The owner of commands that cannot be killed: those of all services count together.
const ORPHAN_OWNER: &str = "state_change_cmd";

/// The hooks of all services. Clones share one queue.
#[derive(Clone)]
pub struct Hooks(Arc<Background>);

impl Hooks {
    /// Creates an empty queue. `stop` ends all runs.
    pub fn new(orphans: Arc<Orphans>, stop: StopToken) -> Hooks {
        Hooks(Background::new("hook", MAX_RUNNING, orphans, stop))
    }

    /// Runs the service's command, if it has one, because the transition of this number changed the
    /// state from `old` to `new`. Call it after the hint has been sent. Returns at once.
    // Never inlined: see the stack budget in `check::worker`.
    #[inline(never)]
    pub fn run(&self, check: &Arc<Check>, [old, new]: [State; 2], transition: u64) {
        let service = &check.service;
        let Some(TimedCommand { command, timeout }) = &service.state_change else { return };
        let prefixes: Vec<String> = service.prefixes.iter().map(ToString::to_string).collect();
        let program = Program::new(command.words())
            .env("SERVICE", &service.name)
            .env("OLD_STATE", old.to_string())
            .env("NEW_STATE", new.to_string())
            .env("PREFIXES", prefixes.join(" "));
        let timeout = *timeout;
        let begin = {
            let service = service.clone();
            Box::new(move || {
                set_subject(Subject::from(&*service));
                if let Some(TimedCommand { command, .. }) = &service.state_change {
                    info!("running {command}: {old} to {new}");
                }
            })
        };
        let end = {
            let check = check.clone();
            Box::new(move |result| {
                if let Some(result) = classify(result, timeout) {
                    record(&check, result);
                }
            })
        };
        let task = Task { key: service.name.as_str().into(), owner: ORPHAN_OWNER.into(), program, timeout, begin, end };
        let mut state = check.state_mut();
        // Another thread may have announced a later transition first; the last transition must be
        // the one that is run. The lock orders this against transitions.
        if state.transitions != transition || self.0.queue(task).is_some() {
            state.hook.skipped += 1;
        }
        drop(state);
        self.0.start();
    }

    /// Waits until the running commands have ended, after the stop token was triggered.
    pub fn wait(&self, timeout: Duration) {
        self.0.wait(timeout);
    }
}

/// Turns the end of a run into its result. None if the daemon's stop ended it.
fn classify(result: Result<Finished, NotRun>, timeout: Duration) -> Option<Result<(), String>> {
    let Finished { exit, stderr, .. } = match result {
        Ok(finished) => finished,
        Err(why) => return Some(Err(why.to_string())),
    };
    let stderr = python_bytes(&stderr.bytes);
    match exit {
        Exit::Exited(0) => Some(Ok(())),
        Exit::Exited(code) => Some(Err(format!("exit code {code}, stderr {stderr}"))),
        Exit::Signaled(signal) => Some(Err(format!("ended by signal {signal}, stderr {stderr}"))),
        Exit::TimedOut => Some(Err(format!("ended after {} s, stderr {stderr}", timeout.as_secs_f64()))),
        Exit::NotStarted(why) => Some(Err(why.to_string())),
        Exit::Stopped => None,
    }
}

/// Counts the result of a run and logs it. A repeated failure is logged at debug level.
fn record(check: &Check, result: Result<(), String>) {
    let previous_problem = {
        let hook = &mut check.state_mut().hook;
        match &result {
            Ok(()) => {
                hook.succeeded += 1;
                hook.problem.take()
            }
            Err(why) => {
                hook.failed += 1;
                hook.problem.replace(why.clone())
            }
        }
    };
    match result {
        Ok(()) => debug!("state_change_cmd succeeded"),
        Err(why) if previous_problem.as_ref() == Some(&why) => debug!("state_change_cmd failed: {why}"),
        Err(why) => warn!("state_change_cmd failed: {why}"),
    }
}

#[cfg(test)]
mod tests;
