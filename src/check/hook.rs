//! `state_change_cmd`: a command of a service's own, run in the background after each change of its state.
//!
//! ```text
//!   a change of state --> waits --> runs, at most MOST at once and one a service --> counted, and logged where it failed
//!                           |
//!                           +-- the next change of the same service takes its place: skipped, and counted
//! ```
//!
//! A change of state is what the log calls one: from unknown to up or down with the first verdict, and between up and
//! down from then on; also where a check is stuck, or disabled and decided once. An address that comes or goes while
//! others of the service stay is none.
//!
//! The command is started without a shell, with the daemon's environment and in it
//!
//! ```text
//!   SERVICE=foo.bar.com  OLD_STATE=unknown|up|down  NEW_STATE=up|down  PREFIXES="10.52.12.1/32 fd12:aba6:57db:ffff::1/128"
//! ```
//!
//! Promises: nothing waits for it, no route and no check; the runs of a service come in the order of its changes, and its
//! last change is always run, but for a stop of the daemon, which kills what runs and drops what waits.
//! Who may block: only a run's own thread, on the command. What stops it: `state_change_cmd_timeout` (TERM, and KILL a
//! second later), the stop line.
//! Leaves out: which changes there are (`check::worker`); telling them again where a run failed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::check::health::State;
use crate::check::Check;
use crate::config::settings::TimedCommand;
use crate::log::format::python_bytes;
use crate::log::layer::{name_this_thread, Subject};
use crate::sys::background::{Background, Finished, NotRun, Task};
use crate::sys::orphans::Orphans;
use crate::sys::process::{Exit, Program};
use crate::sys::stop_token::StopToken;

/// How many run at the same time, of all services together.
pub const LIMIT: usize = 8;
/// Whose orphans the programs are that cannot be killed: those of all services count together.
const OWNER: &str = "state_change_cmd";

/// The hooks of all services; clones are the same hooks.
#[derive(Clone)]
pub struct Hooks(Arc<Background>);

impl Hooks {
    /// None waits. `stop` kills what runs.
    pub fn new(orphans: Arc<Orphans>, stop: StopToken) -> Hooks {
        Hooks(Background::new("hook", LIMIT, orphans, stop))
    }

    /// Has the service's command run, if it has one, as its state changed from the first to the second, by the transition
    /// of this number. To be called when the hint has been sent; returns at once.
    // Not inlined: the check threads of services without a command have no room on their stacks for it.
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
        let (begins, ends, timeout) = (service.clone(), check.clone(), *timeout);
        let begin = move || {
            name_this_thread(Subject::from(&*begins));
            if let Some(TimedCommand { command, .. }) = &begins.state_change {
                info!("running {command}: {old} to {new}");
            }
        };
        let end = move |result| {
            if let Some(result) = judge(result, timeout) {
                count(&ends, result);
            }
        };
        let (begin, end) = (Box::new(begin), Box::new(end));
        let task = Task { key: service.name.as_str().into(), owner: OWNER.into(), program, timeout, begin, end };
        let mut state = check.state_mut();
        // Another thread may have made a later transition, and be quicker: the last one is always run. Under the lock, as
        // that is where the order of transitions is made.
        if state.transitions != transition || self.0.queue(task).is_some() {
            state.hook.skipped += 1;
        }
        drop(state);
        self.0.start();
    }

    /// Waits for the end of those that run, once the stop line is pulled.
    pub fn wait(&self, timeout: Duration) {
        self.0.wait(timeout);
    }
}

/// Whether a run did its work, or why not; nothing where the daemon's stop ended it.
fn judge(result: Result<Finished, NotRun>, timeout: Duration) -> Option<Result<(), String>> {
    let Finished { exit, stderr, .. } = match result {
        Ok(finished) => finished,
        Err(why) => return Some(Err(why.to_string())),
    };
    let stderr = python_bytes(&stderr.kept);
    match exit {
        Exit::Exited(0) => Some(Ok(())),
        Exit::Exited(code) => Some(Err(format!("exit code {code}, stderr {stderr}"))),
        Exit::Signaled(signal) => Some(Err(format!("ended by signal {signal}, stderr {stderr}"))),
        Exit::TimedOut => Some(Err(format!("ended after {} s, stderr {stderr}", timeout.as_secs_f64()))),
        Exit::NotStarted(why) => Some(Err(why.to_string())),
        Exit::Stopped => None,
    }
}

/// Counts a run that ended. The same failure again is logged at debug level.
fn count(check: &Check, result: Result<(), String>) {
    let before = {
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
        Err(why) if before.as_ref() == Some(&why) => debug!("state_change_cmd failed: {why}"),
        Err(why) => warn!("state_change_cmd failed: {why}"),
    }
}

#[cfg(test)]
mod tests;
