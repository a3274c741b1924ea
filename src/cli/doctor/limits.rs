//! Row `limits`: whether the daemon may open as many files and start as many processes as its
//! services need.
//!
//! Guarantees: deciding and parsing are pure.
//! Blocking: reading the facts, on `/proc` and `/sys`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::doctor::report::{Finding, Row};
use crate::sys::startup::needed_descriptors;

/// Threads and processes besides the services.
const TASKS: u64 = 32;
/// The thread of a service, its check command, and one child of that.
const TASKS_PER_SERVICE: u64 = 3;

/// What is known of the limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitFacts {
    /// The number of services.
    pub services: u64,
    /// How many files the daemon may open, by the hard limit; none if it does not run or has no
    /// limit.
    pub files: Option<u64>,
    /// The smallest `pids.max` of its control groups, with the file; none if there is none.
    pub tasks: Option<(PathBuf, u64)>,
    /// `/proc/sys/kernel/pid_max`.
    pub pid_max: Option<u64>,
    /// Whether the daemon runs, so that its limits could be read.
    pub runs: bool,
}

impl LimitFacts {
    /// Reads the limits of this process, the daemon's, and of the machine.
    pub fn read(services: usize, pid: Option<u32>) -> LimitFacts {
        let read = |path: String| fs::read_to_string(path).ok();
        let files = pid.and_then(|pid| hard_limit(&read(format!("/proc/{pid}/limits"))?));
        let groups = pid.and_then(|pid| read(format!("/proc/{pid}/cgroup"))).unwrap_or_default();
        let limits = task_files(&groups).into_iter().filter_map(|path| {
            let limit = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
            Some((path, limit))
        });
        LimitFacts {
            services: services as u64,
            files,
            tasks: limits.min_by_key(|(_, limit)| *limit),
            pid_max: read("/proc/sys/kernel/pid_max".into()).and_then(|text| text.trim().parse().ok()),
            runs: pid.is_some(),
        }
    }
}

/// The hard limit of open files in the text of `/proc/PID/limits`.
fn hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Where the limits of tasks are, of each control group in the text of `/proc/PID/cgroup` and of
/// those above it.
fn task_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            _ if controllers.split(',').any(|name| name == "pids") => Path::new("/sys/fs/cgroup/pids"),
            _ => continue,
        };
        let groups = Path::new(group.trim_start_matches('/')).ancestors();
        files.extend(groups.map(|group| root.join(group).join("pids.max")));
    }
    files
}

/// All findings about limits.
pub fn findings(facts: &LimitFacts) -> Vec<Finding> {
    let services = facts.services;
    let files = needed_descriptors(services);
    let tasks = TASKS.saturating_add(TASKS_PER_SERVICE.saturating_mul(services));
    let mut findings = Vec::new();
    let mut check = |subject: &str, what: &str, limit: Option<u64>, needed: u64, fix: String| {
        if let Some(limit) = limit.filter(|limit| *limit < needed) {
            let message = format!("{limit} {what} are too few for {services} services, which need {needed}");
            findings.push(Finding::problem(Row::Limits, subject, message).fix(fix));
        }
    };
    let restart = "then systemctl daemon-reload and restart";
    check("LimitNOFILE", "open files", facts.files, files, format!("LimitNOFILE={files} in the unit, {restart}"));
    let (path, limit) = facts.tasks.clone().unzip();
    let subject = path.map_or_else(|| "TasksMax".to_string(), |path| path.display().to_string());
    check(&subject, "tasks", limit, tasks, format!("TasksMax={tasks} in the unit, {restart}"));
    let fix = format!("sysctl -w kernel.pid_max={}", tasks.saturating_mul(2).max(32768));
    check("kernel.pid_max", "process ids", facts.pid_max, tasks, fix);
    if findings.is_empty() {
        let message = match facts.runs {
            true => "suffice",
            false => "of the machine suffice; the daemon's own are not known while it does not run",
        };
        findings.push(Finding::ok(Row::Limits, format!("{services} services"), message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::startup::raise_descriptor_limit;
    use crate::testing::isolated::{alone, this_program};

    #[test]
    fn each_limit_has_its_line() {
        let check = |services: u64, files: u64, tasks: u64, pid_max: u64, expected: &[&str]| {
            let facts = LimitFacts {
                services,
                files: Some(files),
                tasks: Some(("/g/pids.max".into(), tasks)),
                pid_max: Some(pid_max),
                runs: true,
            };
            let shown: Vec<String> = findings(&facts).iter().map(Finding::to_string).collect();
            assert_eq!(shown, expected);
        };
        check(100, 960, 332, 332, &["ok       limits: 100 services: suffice"]);
        let restart = "in the unit, then systemctl daemon-reload and restart";
        check(100, 959, 332, 332, &[&*format!("problem  limits: LimitNOFILE: 959 open files are too few for 100 services, which need 960; fix: LimitNOFILE=960 {restart}")]);
        check(100, 960, 331, 332, &[&*format!("problem  limits: /g/pids.max: 331 tasks are too few for 100 services, which need 332; fix: TasksMax=332 {restart}")]);
        check(100, 960, 332, 331, &["problem  limits: kernel.pid_max: 331 process ids are too few for 100 services, which need 332; fix: sysctl -w kernel.pid_max=32768"]);
        let unknown = LimitFacts { services: 1, ..LimitFacts::default() };
        assert_eq!(
            findings(&unknown)[0].to_string(),
            "ok       limits: 1 services: of the machine suffice; the daemon's own are not known while it does not run"
        );
    }

    #[test]
    fn the_kernels_files_are_read() {
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(hard_limit(limits), Some(4096));
        assert_eq!(hard_limit("Max open files  unlimited unlimited files\n"), None);
        let check = |groups: &str, expected: &[&str]| {
            assert_eq!(task_files(groups), expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        };
        check("0::/a/b\n", &["/sys/fs/cgroup/a/b/pids.max", "/sys/fs/cgroup/a/pids.max", "/sys/fs/cgroup/pids.max"]);
        check("7:cpu:/x\n8:pids:/a\n", &["/sys/fs/cgroup/pids/a/pids.max", "/sys/fs/cgroup/pids/pids.max"]);
    }

    #[test]
    fn descriptors_are_counted_as_at_start() {
        let name = "cli::doctor::limits::tests::descriptors_are_counted_as_at_start";
        if alone(name, &["prlimit", "--nofile=1024:4096"], &this_program()) {
            let needed = needed_descriptors(1000);
            assert!(raise_descriptor_limit(1000).unwrap_err().to_string().contains(&format!("LimitNOFILE={needed})")));
        }
    }
}
