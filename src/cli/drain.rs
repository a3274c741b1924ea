//! `--drain`, `--undrain`, `--drain-host` and `--undrain-host`: write and remove drain files.
//!
//! Guarantees: only one file changes. A drain file that several services share is refused, because
//! draining one service would drain the others. The command ends when the running daemon has acted
//! and BIRD has followed, or reports after [`FOLLOW_TIMEOUT`] what has not happened. If no daemon
//! runs, the file applies to the next start, which is success.
//!
//! Blocking: on the disk and on the daemon's answers.
//!
//! Out of scope: how the daemon applies the file (`check::drain_watcher`), and the exit code
//! (`cli`).

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
pub const FOLLOW_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the daemon is asked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What to drain, or to end the drain of.
#[derive(Clone, Copy, Debug)]
pub enum DrainTarget<'a> {
    /// One service.
    Service(&'a str),
    /// All services.
    Host,
}

/// Why a drain did not begin or end, or why that is not certain.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The configuration has no such section.
    #[error("there is no service {service} in the configuration{}", .nearest.as_ref().map_or(String::new(), |name| format!("; did you mean {name}?")))]
    NoService {
        /// The service that was meant.
        service: String,
        /// The configured name nearest to it.
        nearest: Option<String>,
    },
    /// The section has no `drain_file`.
    #[error("[{0}] has no drain_file: give it one, such as drain_file = /var/lib/anycast-healthchecker/drain-{0}, and have the daemon reload")]
    NoFile(String),
    /// The service's drain file is that of `[daemon]`.
    #[error("drain_file {file} of {service} is that of [daemon] and drains every service: use --drain-host and --undrain-host, or give [{service}] a file of its own", file = .file.display())]
    OfHost {
        /// The service that was meant.
        service: String,
        /// The file.
        file: PathBuf,
    },
    /// Several services have this drain file.
    #[error("drain_file {file} of {service} is also that of {others}: give [{service}] a file of its own", file = .file.display())]
    Shared {
        /// The service that was meant.
        service: String,
        /// The file.
        file: PathBuf,
        /// The names of the other services.
        others: String,
    },
    /// The file cannot be written.
    #[error("nothing is drained: {0}")]
    Write(#[from] ReplaceError),
    /// The file cannot be removed.
    #[error("nothing is changed: cannot remove {file}: {source}", file = .file.display())]
    Remove {
        /// The file.
        file: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The daemon does not answer.
    #[error("{done}, but what the daemon made of it cannot be told: {source}")]
    Ask {
        /// What the command has done.
        done: String,
        /// Why it does not.
        source: AskError,
    },
    /// The daemon or BIRD did not follow in time.
    #[error("{done}, but after {FOLLOW_TIMEOUT:?} {what}")]
    NotYet {
        /// What the command has done.
        done: String,
        /// What has not happened.
        what: String,
    },
}

/// Begins a drain, for `time` or without an end, and waits until the prefixes are withdrawn.
/// Returns what happened.
pub fn begin(settings: &Settings, target: DrainTarget<'_>, time: Option<Duration>) -> Result<String, DrainError> {
    let (file, services) = resolve(settings, target)?;
    let end = time.and_then(|time| SystemTime::now().checked_add(time)).map_or(DrainEnd::Never, DrainEnd::At);
    atomic_file::replace(file, drain_file::format(end).as_bytes(), Durability::Synced)?;
    // If this fails, a power cut in the next seconds may undo the drain; nothing worse can happen.
    let _ = atomic_file::sync_directory_of(file);
    let done = format!("{} is written, {end}", file.display());
    let is_over = || !end.is_after(SystemTime::now());
    wait(settings, done, "it drains from the daemon's next start on", |document| {
        if is_over() {
            return Ok(vec!["it is over by now".to_string()]);
        }
        services.iter().map(|service| check_drained(document, service, file)).collect()
    })
}

/// Ends a drain and waits until the daemon has noticed. Returns what happened, or that there was
/// nothing to do.
pub fn end(settings: &Settings, target: DrainTarget<'_>) -> Result<String, DrainError> {
    let (file, services) = resolve(settings, target)?;
    match fs::remove_file(file) {
        Ok(()) => {
            let done = format!("{} is removed", file.display());
            wait(settings, done, "nothing is drained by it at the daemon's next start", |document| {
                services.iter().map(|service| check_undrained(document, service, file)).collect()
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let done = format!("{} was not there", file.display());
            wait(settings, done, "nothing to do", |document| check_not_drained(document, target, &services, file))
        }
        Err(source) => Err(DrainError::Remove { file: file.into(), source }),
    }
}

/// Returns the file to write or remove, and the services that it drains.
fn resolve<'a>(settings: &'a Settings, target: DrainTarget<'_>) -> Result<(&'a Path, Vec<&'a Service>), DrainError> {
    let host = settings.daemon.drain_file.as_deref();
    let all = || settings.services.iter().map(|service| &**service);
    let name = match target {
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

/// Returns the configured service whose name is nearest to `name`.
fn nearest(settings: &Settings, name: &str) -> Option<String> {
    nearest_name(settings.services.iter().map(|service| &*service.name), name).map(String::from)
}

/// Asks the daemon until `reached` returns Ok with sentences for the operator; an Err says what has
/// not happened yet.
fn wait(
    settings: &Settings,
    done: String,
    later: &str,
    reached: impl Fn(&Document) -> Result<Vec<String>, String>,
) -> Result<String, DrainError> {
    let deadline = Instant::now() + FOLLOW_TIMEOUT;
    loop {
        let timeout = deadline.saturating_duration_since(Instant::now()).max(POLL_INTERVAL);
        let what = match client::ask(&settings.daemon.status_socket, timeout) {
            Ok(document) => match reached(&document) {
                Ok(sentences) => return Ok([vec![done], sentences].concat().join("\n")),
                Err(what) => what,
            },
            Err(source) => match source.confirmed(Some(&settings.daemon.pidfile)) {
                AskError::NotRunning { .. } => return Ok(format!("{done}; no daemon runs: {later}")),
                // The daemon puts its socket back after a while.
                why @ AskError::Unreachable { .. } if Instant::now() < deadline => why.to_string(),
                source => return Err(DrainError::Ask { done, source }),
            },
        };
        if Instant::now() >= deadline {
            return Err(DrainError::NotYet { done, what });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Checks that the service is drained and its prefixes are neither in the file nor in BIRD.
fn check_drained(document: &Document, service: &Service, file: &Path) -> Result<String, String> {
    let name = &service.name;
    let service_status = status(document, name)?;
    if service_status.drained.is_none() {
        return Err(format!(
            "the daemon has not drained {name}: does it know of {}, or need a reload?",
            file.display()
        ));
    }
    let prefixes: Vec<&str> = service_status.prefixes.iter().map(|prefix| &*prefix.prefix).collect();
    let prefixes = prefixes.join(", ");
    let of_families: Vec<String> = service.prefixes.iter().map(|prefix| prefix.family().to_string()).collect();
    let mut families = document.families.iter().filter(|family| of_families.contains(&family.family));
    let behind = families.clone().any(|family| !family.in_sync);
    let hold = families.clone().find_map(|family| family.hold.as_ref());
    let problem = families.find_map(|family| family.problem.as_deref());
    let because = problem.map_or(String::new(), |problem| format!(": {problem}"));
    if service_status.prefixes.iter().any(|prefix| prefix.in_file != Some(false)) {
        return Err(format!("{name} is drained and {prefixes} is still in the prefix file{because}"));
    }
    if service_status.prefixes.iter().any(|prefix| prefix.in_bird != Some(false)) || behind {
        if let (Some(hold), None) = (hold, problem) {
            return Err(format!("{name} is drained and BIRD is not told yet, as the list was lost: {hold}"));
        }
        return Err(format!("{name} is drained and BIRD has not taken the prefix file without {prefixes}{because}"));
    }
    let announced = service_status.prefixes.iter().find_map(|prefix| {
        let exported = prefix.exported.as_ref().filter(|exported| !exported.by.is_empty())?;
        Some(format!("{name} is drained and BIRD still announces {} by {}", prefix.prefix, exported.by.join(", ")))
    });
    if let Some(what) = announced {
        return Err(what);
    }
    // Where BIRD can be asked, a prefix without an entry is one that it was found to announce to
    // nobody.
    let is_known =
        document.families.iter().any(|family| of_families.contains(&family.family) && !family.protocols.is_empty());
    let told = if is_known { "; no peer is told of it any more" } else { "" };
    Ok(format!("{name} is drained: {prefixes} withdrawn, and BIRD took it{told}"))
}

/// Checks that this file no longer drains the service.
fn check_undrained(document: &Document, service: &Service, file: &Path) -> Result<String, String> {
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

/// Checks that no service is drained by a file that does not exist: it may have been removed a
/// moment ago.
fn check_not_drained(
    document: &Document,
    target: DrainTarget<'_>,
    services: &[&Service],
    file: &Path,
) -> Result<Vec<String>, String> {
    let mut drained = Vec::new();
    for service in services {
        let sentence = check_undrained(document, service, file)?;
        if status(document, &service.name)?.drained.is_some() {
            drained.push(sentence);
        }
    }
    let sentence = |name: &str| format!("{name} is not drained; nothing to do");
    Ok(match target {
        DrainTarget::Service(name) if drained.is_empty() => vec![sentence(name)],
        DrainTarget::Service(_) => drained,
        DrainTarget::Host => [vec![sentence("the host")], drained].concat(),
    })
}

fn status<'a>(document: &'a Document, name: &str) -> Result<&'a ServiceStatus, String> {
    let status = document.services.iter().find(|service| service.name == name);
    status.ok_or_else(|| format!("the running daemon has no service {name}: it needs a reload"))
}

#[cfg(test)]
mod tests;
