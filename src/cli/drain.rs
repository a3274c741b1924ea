//! `--drain`, `--undrain` and the same for the whole host: an operator's way to write and remove drain files.
//!
//! Promises: nothing but the one file is touched; a file that other services share is left alone, as what is meant for one
//! must not take another out; it ends when the running daemon has acted and BIRD has followed, or says within
//! [`PATIENCE`] what did not happen. Where no daemon runs the file stands for the next start, which is success.
//! Leaves out: what the daemon makes of the file (`check::drain_watcher`), and the exit code (`cli`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::config::nearest_name::nearest_name;
use crate::config::settings::{Service, Settings};
use crate::drain_file::{self, DrainEnd};
use crate::report::client::{self, AskError};
use crate::report::document::{Document, ServiceStatus};
use crate::sys::atomic_file::{self, Durability, ReplaceError};

/// How long the daemon and BIRD have to follow.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often the daemon is asked.
const AGAIN: Duration = Duration::from_millis(100);

/// Who is to be out, or in again.
#[derive(Clone, Copy, Debug)]
pub enum DrainTarget<'a> {
    /// This service.
    Service(&'a str),
    /// All services.
    Host,
}

/// Why it was not done, or not as far as can be told.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// No such section.
    #[error("there is no service {service} in the configuration{}", .nearest.as_ref().map_or(String::new(), |name| format!("; did you mean {name}?")))]
    NoService {
        /// The service that was meant.
        service: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// The section lacks the option.
    #[error("[{0}] has no drain_file: give it one, such as drain_file = /var/lib/anycast-healthchecker/drain-{0}, and have the daemon reload")]
    NoFile(String),
    /// The file of `[daemon]`.
    #[error("drain_file {file} of {service} is that of [daemon] and drains every service: use --drain-host and --undrain-host, or give [{service}] a file of its own", file = .file.display())]
    OfHost {
        /// The service that was meant.
        service: String,
        /// The file.
        file: PathBuf,
    },
    /// A file of several services.
    #[error("drain_file {file} of {service} is also that of {others}: give [{service}] a file of its own", file = .file.display())]
    Shared {
        /// The service that was meant.
        service: String,
        /// The file.
        file: PathBuf,
        /// Those that would go with it.
        others: String,
    },
    /// The disk, or rights.
    #[error("nothing is drained: {0}")]
    Write(#[from] ReplaceError),
    /// The disk, or rights.
    #[error("nothing is changed: cannot remove {file}: {source}", file = .file.display())]
    Remove {
        /// The file.
        file: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The daemon cannot be asked.
    #[error("{done}, but what the daemon made of it cannot be told: {source}")]
    Ask {
        /// What was done by then.
        done: String,
        /// Why not.
        source: AskError,
    },
    /// The daemon or BIRD did not follow.
    #[error("{done}, but after {PATIENCE:?} {what}")]
    NotYet {
        /// What was done by then.
        done: String,
        /// What has not happened.
        what: String,
    },
}

/// Begins a drain, without end or for this time, and waits until the prefixes are withdrawn. Returns what happened.
pub fn begin(settings: &Settings, whom: DrainTarget<'_>, time: Option<Duration>) -> Result<String, DrainError> {
    let (file, services) = choose(settings, whom)?;
    let end = time.and_then(|time| SystemTime::now().checked_add(time)).map_or(DrainEnd::Never, DrainEnd::At);
    atomic_file::replace(file, drain_file::format(end).as_bytes(), Durability::Synced)?;
    // A power cut in the next seconds may undo it where this fails, and nothing worse.
    let _ = atomic_file::sync_directory_of(file);
    let done = format!("{} is written, {end}", file.display());
    let over = || !end.is_after(SystemTime::now());
    wait(settings, done, "it drains from the daemon's next start on", |document| {
        if over() {
            return Ok(vec!["it is over by now".to_string()]);
        }
        services.iter().map(|service| out(document, service, file)).collect()
    })
}

/// Ends a drain, and waits until the daemon has noticed. Returns what happened, or that nothing was to do.
pub fn end(settings: &Settings, whom: DrainTarget<'_>) -> Result<String, DrainError> {
    let (file, services) = choose(settings, whom)?;
    match fs::remove_file(file) {
        Ok(()) => {
            let done = format!("{} is removed", file.display());
            wait(settings, done, "nothing is drained by it at the daemon's next start", |document| {
                services.iter().map(|service| back(document, service, file)).collect()
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let done = format!("{} was not there", file.display());
            wait(settings, done, "nothing to do", |document| idle(document, whom, &services, file))
        }
        Err(source) => Err(DrainError::Remove { file: file.into(), source }),
    }
}

/// The file to write or remove, and the services that it concerns.
fn choose<'a>(settings: &'a Settings, whom: DrainTarget<'_>) -> Result<(&'a Path, Vec<&'a Service>), DrainError> {
    let host = settings.daemon.drain_file.as_deref();
    let all = || settings.services.iter().map(|service| &**service);
    let name = match whom {
        DrainTarget::Host => {
            let file = host.ok_or_else(|| DrainError::NoFile("daemon".to_string()))?;
            return Ok((file, all().collect()));
        }
        DrainTarget::Service(name) => name,
    };
    let missing = || DrainError::NoService { service: name.to_string(), nearest: nearest(settings, name) };
    let service = all().find(|service| service.name == name).ok_or_else(missing)?;
    let file = service.drain_file.as_deref().ok_or_else(|| DrainError::NoFile(name.to_string()))?;
    if host == Some(file) {
        return Err(DrainError::OfHost { service: name.to_string(), file: file.into() });
    }
    let sharing = all().filter(|other| other.name != name && other.drain_file.as_deref() == Some(file));
    let others: Vec<&str> = sharing.map(|other| &*other.name).collect();
    if !others.is_empty() {
        let (service, others) = (name.to_string(), others.join(", "));
        return Err(DrainError::Shared { service, file: file.into(), others });
    }
    Ok((file, vec![service]))
}

/// The service that was probably meant.
fn nearest(settings: &Settings, name: &str) -> Option<String> {
    nearest_name(settings.services.iter().map(|service| &*service.name), name).map(String::from)
}

/// Asks the daemon until `reached` gives its sentences rather than what has not happened yet.
fn wait(
    settings: &Settings,
    done: String,
    later: &str,
    reached: impl Fn(&Document) -> Result<Vec<String>, String>,
) -> Result<String, DrainError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(AGAIN);
        let what = match client::ask(&settings.daemon.status_socket, left) {
            Ok(document) => match reached(&document) {
                Ok(sentences) => return Ok([vec![done], sentences].concat().join("\n")),
                Err(what) => what,
            },
            Err(source) => match source.confirmed(Some(&settings.daemon.pidfile)) {
                AskError::NotRunning { .. } => return Ok(format!("{done}; no daemon runs: {later}")),
                // The socket is put back meanwhile.
                why @ AskError::Unreachable { .. } if Instant::now() < until => why.to_string(),
                source => return Err(DrainError::Ask { done, source }),
            },
        };
        if Instant::now() >= until {
            return Err(DrainError::NotYet { done, what });
        }
        std::thread::sleep(AGAIN);
    }
}

/// The service is drained, out of the file and out of BIRD.
fn out(document: &Document, service: &Service, file: &Path) -> Result<String, String> {
    let name = &service.name;
    let found = status(document, name)?;
    if found.drained.is_none() {
        return Err(format!(
            "the daemon has not drained {name}: does it know of {}, or need a reload?",
            file.display()
        ));
    }
    let prefixes: Vec<&str> = found.prefixes.iter().map(|prefix| &*prefix.prefix).collect();
    let prefixes = prefixes.join(", ");
    let of_families: Vec<String> = service.prefixes.iter().map(|prefix| prefix.family().to_string()).collect();
    let mut families = document.families.iter().filter(|family| of_families.contains(&family.family));
    let behind = families.clone().any(|family| !family.in_sync);
    let hold = families.clone().find_map(|family| family.hold.as_ref());
    let problem = families.find_map(|family| family.problem.as_deref());
    let because = problem.map_or(String::new(), |problem| format!(": {problem}"));
    if found.prefixes.iter().any(|prefix| prefix.in_file != Some(false)) {
        return Err(format!("{name} is drained and {prefixes} is still in the prefix file{because}"));
    }
    if found.prefixes.iter().any(|prefix| prefix.in_bird != Some(false)) || behind {
        if let (Some(hold), None) = (hold, problem) {
            return Err(format!("{name} is drained and BIRD is not told yet, as the list was lost: {hold}"));
        }
        return Err(format!("{name} is drained and BIRD has not taken the prefix file without {prefixes}{because}"));
    }
    Ok(format!("{name} is drained: {prefixes} withdrawn, and BIRD took it"))
}

/// The service is not drained by this file any more.
fn back(document: &Document, service: &Service, file: &Path) -> Result<String, String> {
    let name = &service.name;
    match &status(document, name)?.drained {
        Some(drained) if Path::new(&drained.file) == file => {
            Err(format!("the daemon has not noticed that {name} is not drained any more"))
        }
        Some(drained) => Ok(format!("{name} is still drained, by {}", drained.file)),
        None if service.disabled.is_some() => Ok(format!("{name} is not drained, and on_disabled decides")),
        None => Ok(format!("{name} is not drained: it is advertised once {} checks have passed", service.check_rise)),
    }
}

/// There was no file, so nobody is drained by it, and nothing was to do. The file may have been removed just before.
fn idle(document: &Document, whom: DrainTarget<'_>, services: &[&Service], file: &Path) -> Result<Vec<String>, String> {
    let mut drained = Vec::new();
    for service in services {
        let sentence = back(document, service, file)?;
        if status(document, &service.name)?.drained.is_some() {
            drained.push(sentence);
        }
    }
    let sentence = |name: &str| format!("{name} is not drained; nothing to do");
    Ok(match whom {
        DrainTarget::Service(name) if drained.is_empty() => vec![sentence(name)],
        DrainTarget::Service(_) => drained,
        DrainTarget::Host => [vec![sentence("the host")], drained].concat(),
    })
}

fn status<'a>(document: &'a Document, name: &str) -> Result<&'a ServiceStatus, String> {
    let found = document.services.iter().find(|service| service.name == name);
    found.ok_or_else(|| format!("the running daemon has no service {name}: it needs a reload"))
}

#[cfg(test)]
mod tests;
