//! `--doctor`: examines everything that keeps a healthy service from being announced, or a dead one
//! from being withdrawn.
//!
//! Guarantees: changes nothing; every row is examined as far as it can be, with and without a
//! running daemon, and with faults in the configuration. BIRD gets `show` commands and `eval` only.
//! Check commands run only if asked for. Blocking: the caller, on BIRD's control sockets, the
//! status socket and the resolver; each has a time limit. Out of scope: the decisions (the modules
//! of this folder).

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::bird::prefix_file::{parse, PrefixFile, MAX_LEN};
use crate::bird::protocol::connection::ConnectionError;
use crate::cli::doctor::answers::Answers;
use crate::cli::doctor::bird::{ListQuestion, Questions};
use crate::cli::doctor::constant::ConstantFacts;
use crate::cli::doctor::daemon::DaemonFacts;
use crate::cli::doctor::limits::LimitFacts;
use crate::cli::doctor::permissions::{Identity, Right};
use crate::cli::doctor::prefix_file::{FileError, FileFacts};
use crate::cli::doctor::prefixes::PrefixFacts;
use crate::cli::doctor::report::Finding;
use crate::cli::doctor::socket::SocketFacts;
use crate::cli::{fail, print, ExitStatus};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::files::{self, ServiceFiles, Sources};
use crate::config::lint;
use crate::config::lint::machine::Machine;
use crate::config::nearest_name::nearest_name;
use crate::config::preflight;
use crate::config::settings::{Bird, Service, Settings};
use crate::prefix::{Family, Prefix};
use crate::report::client::{self, AskError};
use crate::report::document::{Document, ServiceStatus};
use crate::sys::netlink::{Addresses, Netlink};
use crate::sys::single_instance::find_running;
use crate::sys::stop_token::StopToken;
use crate::sys::{atomic_file, links};

mod answers;
mod bird;
mod checks;
mod configuration;
mod constant;
mod daemon;
mod limits;
mod permissions;
mod prefix_file;
mod prefixes;
mod report;
mod sessions;
mod socket;

/// The time for the daemon's answer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How much is read of each file beside a list.
const MAX_STRAY_LEN: usize = 64 * 1024;

/// What the operator asks for.
#[derive(Debug)]
pub(super) struct Doctor<'a> {
    /// The services to examine; all if there is none.
    pub(super) services: &'a [String],
    /// Whether to print JSON.
    pub(super) json: bool,
    /// Whether to run each check command once.
    pub(super) run_checks: bool,
}

impl Doctor<'_> {
    /// Examines all rows and prints the findings.
    pub(super) fn run(&self, sources: &Sources) -> ExitStatus {
        let findings = match self.examine(sources) {
            Ok(findings) => findings,
            Err(why) => return fail(why),
        };
        let printed = match report::json(&findings).map(|text| if self.json { text } else { report::text(&findings) }) {
            Ok(text) => print(text),
            Err(why) => fail(why),
        };
        match report::has_problem(&findings) {
            true => ExitStatus::Failed,
            false => printed,
        }
    }

    fn examine(&self, sources: &Sources) -> Result<Vec<Finding>, String> {
        let (problems, settings) = judged(sources);
        let count = settings.as_ref().map_or(0, |settings| settings.services.len());
        let mut findings = configuration::findings(&problems, &summary(sources, count));
        // Without a readable main file, nothing says where the lists are.
        let Some(settings) = settings else { return Ok(findings) };
        let services = self.selected(&settings)?;
        let stop = StopToken::new().map_err(|why| format!("no descriptor is left: {why}"))?;
        let facts = Facts::gather(settings, &stop);
        findings.extend(facts.sockets());
        findings.extend(facts.constants());
        findings.extend(facts.prefix_files());
        findings.extend(facts.prefixes(&services));
        findings.extend(facts.of_bird());
        findings.extend(facts.daemon());
        if self.run_checks {
            let enabled = services.iter().filter(|service| service.disabled.is_none());
            findings.extend(enabled.map(|service| checks::run(service, &stop)));
        } else {
            findings.push(checks::not_run(services.len()));
        }
        findings.extend(limits::findings(&LimitFacts::read(count, facts.pid)));
        findings.sort_by_key(|finding| finding.row);
        Ok(findings)
    }

    /// The services that were named, in the order of the configuration.
    fn selected(&self, settings: &Settings) -> Result<Vec<Arc<Service>>, String> {
        let names = || settings.services.iter().map(|service| service.name.as_str());
        if let Some(name) = self.services.iter().find(|name| !names().any(|known| known == name.as_str())) {
            let nearest =
                nearest_name(names(), name).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(format!("there is no service {name} in the configuration{nearest}"));
        }
        let is_named = |service: &Service| self.services.is_empty() || self.services.contains(&service.name);
        Ok(settings.services.iter().filter(|service| is_named(service)).cloned().collect())
    }
}

/// Everything that `--check` reports, less what other rows examine; and the settings, with the
/// program's defaults in the place of faults.
fn judged(sources: &Sources) -> (Vec<Diagnostic>, Option<Settings>) {
    let mut settings = None;
    let problems = files::check(sources).check_machine(|configuration| {
        settings = Some(configuration.settings.clone());
        let of_machine = preflight::check(configuration, Severity::Error);
        let mut found = [of_machine, lint::check_machine(&Machine::new(configuration))].concat();
        found.retain(|problem| !configuration::is_examined_elsewhere(problem));
        found
    });
    (problems, settings)
}

fn summary(sources: &Sources, services: usize) -> String {
    let (ServiceFiles::File(path) | ServiceFiles::Directory(path)) = &sources.services;
    format!("{} and {} with {services} services", sources.main.display(), path.display())
}

/// One family that is on.
struct ListFacts {
    family: Family,
    bird: Bird,
    /// The prefix file, behind all links.
    path: PathBuf,
    contents: Result<PrefixFile, FileError>,
}

impl ListFacts {
    fn read(family: Family, bird: &Bird) -> ListFacts {
        let path = links::target(&bird.conf).unwrap_or_else(|| bird.conf.clone());
        let contents = match atomic_file::read(&path, MAX_LEN) {
            Ok(Some((bytes, _))) => Ok(parse(&bytes, family)),
            Ok(None) => Err(FileError::Missing),
            Err(why) => Err(FileError::Unreadable(why.to_string())),
        };
        ListFacts { family, bird: bird.clone(), path, contents }
    }

    /// What the file lists; none if it cannot be read as a list.
    fn listed(&self) -> Option<&[Prefix]> {
        let file = self.contents.as_ref().ok().filter(|file| file.flaw.is_none())?;
        Some(&file.prefixes)
    }

    /// Other files beside it that a BIRD which includes the whole directory reads, and that define
    /// the same constant.
    fn strays(&self, all: &[ListFacts]) -> Vec<PathBuf> {
        let entries = self.path.parent().and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten();
        let files = entries.flatten().map(|entry| entry.path()).filter(|path| {
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            !hidden && path.extension().is_some_and(|end| end == "conf") && all.iter().all(|list| list.path != *path)
        });
        let mut strays: Vec<PathBuf> = files
            .filter(|path| {
                let start = atomic_file::read_start(path, MAX_STRAY_LEN).ok().flatten().unwrap_or_default();
                parse(&start, self.family).variable.as_ref() == Some(&self.bird.variable)
            })
            .collect();
        strays.sort();
        strays
    }
}

/// Everything that was gathered before it is judged.
struct Facts {
    settings: Settings,
    document: Result<Document, AskError>,
    /// The daemon's process, if it runs.
    pid: Option<u32>,
    /// The daemon's user; the caller if none runs.
    user: Identity,
    lists: Vec<ListFacts>,
    /// Each control socket, and what BIRD answers there.
    birds: Vec<(PathBuf, Result<Answers, ConnectionError>)>,
    addresses: Option<Addresses>,
}

impl Facts {
    fn gather(settings: Settings, stop: &StopToken) -> Facts {
        let daemon = &settings.daemon;
        let asked = client::ask(&daemon.status_socket, STATUS_TIMEOUT);
        let document = asked.map_err(|why| why.confirmed(Some(&daemon.pidfile)));
        let pid = find_running(Some(&daemon.pidfile)).and_then(|found| found.pid);
        let user = pid.and_then(|pid| Identity::of_process(&pid.to_string()));
        let user = user.or_else(|| Identity::of_process("self")).unwrap_or_else(|| Identity::new(0, Vec::new()));
        let families = Family::BOTH.into_iter();
        let lists: Vec<ListFacts> =
            families.filter_map(|family| Some(ListFacts::read(family, daemon.bird(family)?))).collect();
        let questions = questions(&settings, &lists);
        let birds = questions.into_iter().map(|one| (one.socket.clone(), bird::ask(&one, stop))).collect();
        let addresses = Netlink::open().and_then(|mut kernel| kernel.addresses()).ok();
        Facts { document, pid, user, lists, birds, addresses, settings }
    }

    /// What BIRD answers about this family; none if it cannot be asked.
    fn answers(&self, list: &ListFacts) -> Option<&Answers> {
        let socket = list.bird.control_socket.as_ref()?;
        self.birds.iter().find(|(path, _)| path == socket)?.1.as_ref().ok()
    }

    fn sockets(&self) -> Vec<Finding> {
        let unset = self.lists.iter().filter(|list| list.bird.control_socket.is_none());
        let mut findings: Vec<Finding> = unset.map(|list| socket::unset(list.family)).collect();
        let families = self.document.iter().flat_map(|document| &document.families);
        for (path, answers) in &self.birds {
            let uses = |name: &str| {
                let mut lists = self.lists.iter().filter(|list| list.bird.control_socket.as_ref() == Some(path));
                lists.any(|list| list.family.to_string() == name)
            };
            let of_socket = families.clone().filter(|family| uses(&family.family));
            findings.push(socket::finding(&SocketFacts {
                answer: answers.as_ref().map(|answers| answers.version),
                daemon: &self.user,
                steps: permissions::steps(path, Right::Connect),
                daemon_problems: of_socket.filter_map(|family| family.problem.as_deref()).collect(),
                path: path.clone(),
            }));
        }
        findings
    }

    fn constants(&self) -> Vec<Finding> {
        let of_list = |list: &ListFacts| {
            constant::findings(&ConstantFacts {
                family: list.family,
                variable: &list.bird.variable,
                file: &list.path,
                in_file: list.listed(),
                strays: &list.strays(&self.lists),
                answers: self.answers(list),
            })
        };
        self.lists.iter().flat_map(of_list).collect()
    }

    fn prefix_files(&self) -> Vec<Finding> {
        let of_list = |list: &ListFacts| {
            let owner = list.bird.control_socket.as_deref().and_then(Identity::of_owner);
            let bird = owner.or_else(|| Identity::by_name("bird"));
            prefix_file::finding(&FileFacts {
                path: &list.path,
                variable: &list.bird.variable,
                contents: list.contents.as_ref().map_err(Clone::clone),
                bird: bird.as_ref(),
                steps: &permissions::steps(&list.path, Right::Read),
            })
        };
        self.lists.iter().map(of_list).collect()
    }

    fn prefixes(&self, services: &[Arc<Service>]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for list in &self.lists {
            let listed: Option<BTreeSet<&Prefix>> = list.listed().map(|prefixes| prefixes.iter().collect());
            let answers = self.answers(list);
            for service in services {
                let status = self.status_of(&service.name);
                for prefix in service.prefixes.iter().filter(|prefix| prefix.family() == list.family) {
                    let interface = service.assigned_to.as_deref();
                    let assigned = interface.zip(self.addresses.as_ref()).map(|(on, all)| all.has(on, prefix));
                    findings.push(prefixes::finding(&PrefixFacts {
                        service,
                        prefix: *prefix,
                        assigned,
                        listed: listed.as_ref().map(|listed| listed.contains(prefix)),
                        status,
                        bird: answers.and_then(|answers| answers.prefixes.get(prefix)),
                        sessions: answers.map(|answers| answers.sessions.as_slice()).unwrap_or_default(),
                        variable: &list.bird.variable,
                    }));
                }
            }
        }
        findings
    }

    fn status_of(&self, service: &str) -> Option<&ServiceStatus> {
        self.document.as_ref().ok()?.services.iter().find(|status| status.name == service)
    }

    /// What concerns a BIRD as a whole: its router id and its sessions.
    fn of_bird(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (path, answers) in &self.birds {
            let Ok(answers) = answers else { continue };
            let socket = path.display().to_string();
            let services = self.settings.services.iter().map(|service| &**service);
            findings.extend(answers.router_id.as_deref().map(|id| prefixes::router_id(&socket, id, services)));
            findings.extend(sessions::findings(&socket, &answers.sessions, &answers.bfd));
        }
        findings
    }

    fn daemon(&self) -> Vec<Finding> {
        let environment = self.pid.and_then(|pid| fs::read(format!("/proc/{pid}/environ")).ok());
        let environment = environment.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        daemon::findings(&DaemonFacts {
            socket: &self.settings.daemon.status_socket,
            document: self.document.as_ref(),
            environment: environment.as_deref(),
        })
    }
}

/// What each BIRD is asked; one socket may serve both families.
fn questions(settings: &Settings, lists: &[ListFacts]) -> Vec<Questions> {
    let mut all: Vec<Questions> = Vec::new();
    for list in lists {
        let Some(socket) = &list.bird.control_socket else { continue };
        let prefixes = settings.services.iter().flat_map(|service| service.prefixes.iter().copied());
        let question = ListQuestion {
            family: list.family,
            variable: list.bird.variable.clone(),
            in_file: list.listed().map(<[Prefix]>::to_vec),
            prefixes: prefixes.filter(|prefix| prefix.family() == list.family).collect(),
        };
        match all.iter_mut().find(|one| one.socket == *socket) {
            Some(one) => one.lists.push(question),
            None => all.push(Questions { socket: socket.clone(), lists: vec![question] }),
        }
    }
    all
}
