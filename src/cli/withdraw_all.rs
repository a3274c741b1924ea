//! `--withdraw-all`: no prefix of any service is left in the lists, and BIRD knows it.
//!
//! Promises: refuses while a daemon runs, and keeps one from starting meanwhile; works where a service's section is
//! broken, or even `[daemon]` in part (the program's defaults stand in for what is wrong there, and the exit code tells);
//! ends within ten seconds and a little. The dummies stay; where there is none the list is empty.
//! It is the bird-writer with every service down, so all that this promises holds: the history, links, a BIRD that is busy,
//! both families told at once, custom commands run with `down`.
//! Leaves out: the exit code (`cli`).

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

/// How long BIRD has to take the lists.
const LIMIT: Duration = Duration::from_secs(10);
/// How long what was cut short then has to end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why nothing was withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// The daemon would put them in again.
    #[error("{0}; a daemon that runs withdraws by --drain-host")]
    AlreadyRunning(#[from] AlreadyRunning),
    /// The main file cannot be read.
    #[error("nothing is withdrawn: without its main file nothing says where the lists are")]
    Unreadable,
    /// The machine is out of descriptors or threads.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// One sentence for each family that is on.
    pub sentences: Vec<String>,
    /// What is wrong with the configuration, and was passed over.
    pub problems: Vec<Diagnostic>,
    /// Other findings on the way.
    pub findings: Vec<String>,
    /// Whether all lists are empty, BIRD took them, and they are certain to be the right ones.
    pub well: bool,
}

/// Withdraws.
pub fn run(sources: &Sources) -> Result<Done, (WithdrawError, Vec<Diagnostic>)> {
    let (mut settings, sound, problems) = match files::load(sources) {
        Ok(configuration) => (configuration.settings, true, Vec::new()),
        Err(problems) => {
            let recovered = files::recover(sources, problems);
            let Some(settings) = recovered.settings else {
                return Err((WithdrawError::Unreadable, recovered.problems));
            };
            (settings, recovered.sound, recovered.problems)
        }
    };
    // What no service names goes too.
    settings.daemon.purge_ip_prefixes = true;
    let (instance, findings) = match Instance::take(&settings.daemon.pidfile) {
        Ok(taken) => taken,
        Err(running) => return Err((running.into(), problems)),
    };
    let done = withdraw(&settings);
    let mut findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    findings.extend(instance.release().err().map(|why| format!("the pidfile cannot be removed: {why}")));
    match done {
        Ok((sentences, well)) => Ok(Done { sentences, problems, findings, well: well && sound }),
        Err(why) => Err((why.into(), problems)),
    }
}

/// Runs the writer to its end; a sentence a family, and whether all went well.
fn withdraw(settings: &Settings) -> io::Result<(Vec<String>, bool)> {
    let (give_up, ended) = (StopToken::new()?, StopToken::new()?);
    let report: Arc<Mutex<BirdState>> = Arc::default();
    let before = listed(settings);
    let (events, received) = channel();
    let checks: Arc<[Arc<Check>]> =
        settings.services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
    checks.iter().for_each(|check| check.leave());
    let (orphans, state) = (Arc::default(), report.clone());
    let writer = Writer::new(settings, checks, orphans, events.clone(), state, give_up.clone());
    // The receiver is here.
    let _ = events.send(Event::Stop { leaving: true });
    let at_end = ended.clone();
    std::thread::Builder::new().name("bird-writer".into()).spawn(move || {
        writer.run(&received, || ());
        at_end.trigger();
    })?;
    let in_time = ended.wait(LIMIT);
    // Before the end is forced, as what that does to a try that is under way would be taken for the reason.
    let report = report.lock().clone();
    if !in_time {
        give_up.trigger();
        ended.wait(LAST_WAIT);
    }
    let sentences = before.iter().map(|(family, file, count)| {
        let found = report.families.iter().find(|found| found.family == *family);
        sentence(*family, file, *count, found)
    });
    Ok((
        sentences.collect(),
        report.families.len() == before.len() && report.families.iter().all(|found| found.in_sync),
    ))
}

/// Each family that is on, its file, and how many prefixes besides the dummy that lists.
fn listed(settings: &Settings) -> Vec<(Family, PathBuf, usize)> {
    let families = Family::BOTH.into_iter().filter_map(|family| Some((family, settings.daemon.bird(family)?)));
    let count = |(family, bird): (Family, &crate::config::settings::Bird)| {
        let text = atomic_file::read(&bird.conf, prefix_file::MAX_LEN).ok().flatten();
        let listed = text.map_or(Vec::new(), |(bytes, _)| prefix_file::parse(&bytes, family).prefixes);
        let count = listed.iter().filter(|prefix: &&Prefix| Some(*prefix) != bird.dummy.as_ref()).count();
        (family, bird.conf.clone(), count)
    };
    families.map(count).collect()
}

fn sentence(family: Family, file: &std::path::Path, count: usize, found: Option<&FamilyState>) -> String {
    let file = file.display();
    let gone = match count {
        0 => format!("{file} lists no prefix of a service"),
        1 => format!("1 prefix is gone from {file}"),
        n => format!("{n} prefixes are gone from {file}"),
    };
    match found {
        Some(found) if found.in_sync => format!("{family}: {gone}, and BIRD took it"),
        Some(found) if *found.wanted == *found.in_file => {
            let why = found.problem.as_deref().unwrap_or("it has not answered yet");
            format!("{family}: {gone}, BUT BIRD HAS NOT TAKEN IT: {why}")
        }
        _ => {
            let why = found.and_then(|found| found.problem.as_deref()).unwrap_or("it took too long");
            format!("{family}: NOTHING IS WITHDRAWN, {file} is as it was: {why}")
        }
    }
}

#[cfg(test)]
mod tests;
