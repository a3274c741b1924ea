//! `--withdraw-all`: removes the prefixes of all services from the lists, and has BIRD read them.
//!
//! It runs the bird-writer with every service down. So everything that the writer guarantees holds
//! here too: the history, links, a busy BIRD, one reconfigure for both families, and custom
//! commands that run with `down`.
//!
//! Guarantees: refuses while a daemon runs, and keeps one from starting meanwhile. Works if a
//! service's section is broken, or even part of `[daemon]`: the defaults replace what is wrong
//! there, and the exit code says so. The dummies stay; a list without one becomes empty.
//!
//! Blocking: for [`CONFIRM_TIMEOUT`] and [`LAST_WAIT`] at most.
//!
//! Out of scope: the exit code (`cli`).

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::time::Duration;

use crate::bird::prefix_file;
use crate::bird::state::{BirdState, FamilyState};
use crate::bird::writer::Writer;
use crate::check::event::Event;
use crate::check::Check;
use crate::config::diagnostic::Diagnostic;
use crate::config::files::{self, Sources};
use crate::config::settings::Settings;
use crate::prefix::{Family, Prefix};
use crate::sys::atomic_file;
use crate::sys::mutex::Mutex;
use crate::sys::single_instance::{AlreadyRunning, Instance};
use crate::sys::stop_token::{Stop, StopToken};

/// How long BIRD has to confirm the lists.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the writer has to end after it was aborted.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why nothing was withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// A daemon is running, and would list the prefixes again.
    #[error("{0}; a daemon that runs withdraws by --drain-host")]
    AlreadyRunning(#[from] AlreadyRunning),
    /// The main file cannot be read.
    #[error("nothing is withdrawn: without its main file nothing says where the lists are")]
    Unreadable,
    /// The machine has no descriptor or thread left.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// The result of `--withdraw-all`.
#[derive(Debug)]
pub struct Withdrawal {
    /// One sentence for each enabled family.
    pub sentences: Vec<String>,
    /// Problems of the configuration that were ignored.
    pub problems: Vec<Diagnostic>,
    /// Problems of the pidfile and the lock.
    pub warnings: Vec<String>,
    /// Whether all lists are empty, BIRD took them, and they are certainly the configured ones.
    pub is_complete: bool,
}

/// Withdraws all prefixes.
pub fn run(sources: &Sources) -> Result<Withdrawal, (WithdrawError, Vec<Diagnostic>)> {
    let (mut settings, is_sound, problems) = match files::load(sources) {
        Ok(configuration) => (configuration.settings, true, Vec::new()),
        Err(problems) => {
            let recovered = files::recover(sources, problems);
            let Some(settings) = recovered.settings else {
                return Err((WithdrawError::Unreadable, recovered.problems));
            };
            (settings, recovered.sound, recovered.problems)
        }
    };
    // Prefixes that no service has are removed, too.
    settings.daemon.purge_ip_prefixes = true;
    let (instance, instance_problems) = match Instance::take(&settings.daemon.pidfile) {
        Ok(taken) => taken,
        Err(running) => return Err((running.into(), problems)),
    };
    let withdrawn = withdraw(&settings);
    let mut warnings: Vec<String> = instance_problems.iter().map(ToString::to_string).collect();
    warnings.extend(instance.release().err().map(|why| format!("the pidfile cannot be removed: {why}")));
    match withdrawn {
        Ok((sentences, in_sync)) => Ok(Withdrawal { sentences, problems, warnings, is_complete: in_sync && is_sound }),
        Err(why) => Err((why.into(), problems)),
    }
}

/// Runs the writer to its end. Returns one sentence per family, and whether all families are in
/// sync.
fn withdraw(settings: &Settings) -> io::Result<(Vec<String>, bool)> {
    let abort = StopToken::new()?;
    let ended = StopToken::new()?;
    let state: Arc<Mutex<BirdState>> = Arc::default();
    let before = count_listed(settings);
    let (events, received) = channel();
    let checks: Arc<[Arc<Check>]> =
        settings.services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
    checks.iter().for_each(|check| check.leave());
    let writer = Writer::new(settings, checks, Arc::default(), events.clone(), state.clone(), abort.clone());
    // The receiver exists, so sending cannot fail.
    let _ = events.send(Event::Stop { leaving: true });
    let at_end = ended.clone();
    std::thread::Builder::new().name("bird-writer".into()).spawn(move || {
        writer.run(&received, || ());
        at_end.trigger();
    })?;
    let in_time = ended.wait(CONFIRM_TIMEOUT);
    // Read before the abort, which would replace the actual problem by its own.
    let state = state.lock().clone();
    if !in_time {
        abort.trigger();
        ended.wait(LAST_WAIT);
    }
    let sentences = before.iter().map(|(family, file, count)| {
        sentence(*family, file, *count, state.families.iter().find(|state| state.family == *family))
    });
    let in_sync = state.families.len() == before.len() && state.families.iter().all(|state| state.in_sync);
    Ok((sentences.collect(), in_sync))
}

/// Returns each enabled family, its file, and how many prefixes besides the dummy the file lists.
fn count_listed(settings: &Settings) -> Vec<(Family, PathBuf, usize)> {
    let families = Family::BOTH.into_iter().filter_map(|family| Some((family, settings.daemon.bird(family)?)));
    let count = |(family, bird): (Family, &crate::config::settings::Bird)| {
        let text = atomic_file::read(&bird.conf, prefix_file::MAX_LEN).ok().flatten();
        let listed = text.map_or(Vec::new(), |(bytes, _)| prefix_file::parse(&bytes, family).prefixes);
        let count = listed.iter().filter(|prefix: &&Prefix| Some(*prefix) != bird.dummy.as_ref()).count();
        (family, bird.conf.clone(), count)
    };
    families.map(count).collect()
}

/// Says what happened to the list of a family that listed `count` prefixes before.
fn sentence(family: Family, file: &std::path::Path, count: usize, state: Option<&FamilyState>) -> String {
    let file = file.display();
    let gone = match count {
        0 => format!("{file} lists no prefix of a service"),
        1 => format!("1 prefix is gone from {file}"),
        n => format!("{n} prefixes are gone from {file}"),
    };
    match state {
        Some(state) if state.in_sync => format!("{family}: {gone}, and BIRD took it"),
        Some(state) if *state.wanted == *state.in_file => {
            let why = state.problem.as_deref().unwrap_or("it has not answered yet");
            format!("{family}: {gone}, BUT BIRD HAS NOT TAKEN IT: {why}")
        }
        _ => {
            let why = state.and_then(|state| state.problem.as_deref()).unwrap_or("it took too long");
            format!("{family}: NOTHING IS WITHDRAWN, {file} is as it was: {why}")
        }
    }
}

#[cfg(test)]
mod tests;
