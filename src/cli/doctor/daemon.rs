//! Row `daemon`: the running daemon, as its status document and its process show it.
//!
//! Guarantees: pure.

use std::path::Path;

use crate::cli::doctor::report::{Finding, Row};
use crate::report::client::AskError;
use crate::report::document::{Document, FamilyStatus};

/// What is known of the daemon.
#[derive(Debug)]
pub struct DaemonFacts<'a> {
    /// `status_socket`.
    pub socket: &'a Path,
    /// Its status document; or why there is none.
    pub document: Result<&'a Document, &'a AskError>,
    /// The environment with which its process was started; none if that cannot be read.
    pub environment: Option<&'a str>,
}

/// All findings about the daemon.
pub fn findings(facts: &DaemonFacts<'_>) -> Vec<Finding> {
    let document = match facts.document {
        Ok(document) => document,
        Err(why) => return vec![no_answer(facts.socket, why)],
    };
    let subject = format!("process {}", document.pid);
    let problem = |message: String| Finding::problem(Row::Daemon, &subject, message);
    let mut findings = Vec::new();
    if let Some(why) = &document.reload_error {
        let message = format!("the last reload was refused, and an older configuration is in use: {why}");
        findings.push(problem(message).fix("anycast-healthchecker -c, then systemctl reload anycast-healthchecker"));
    }
    let restart = "systemctl restart anycast-healthchecker";
    if let Some(overdue) = document.writer_overdue_s {
        let message = format!("the thread that tells BIRD is stuck: it is overdue by {overdue:.0} s");
        findings.push(problem(message).fix(restart));
    }
    for service in &document.services {
        if let Some(overdue) = service.overdue_s {
            let message = format!("the check of {} is stuck: it is overdue by {overdue:.0} s", service.name);
            findings.push(problem(message).fix(restart));
        }
    }
    findings.extend(document.families.iter().filter_map(|family| of_family(family, &subject)));
    if document.log_lines_dropped > 0 {
        let message = format!("{} log lines were lost, as no target accepted them", document.log_lines_dropped);
        findings.push(Finding::warning(Row::Daemon, &subject, message).fix("anycast-healthchecker -c"));
    }
    if facts.environment.is_some_and(lacks_watchdog) {
        let message = "systemd does not watch it: a daemon that hangs is not restarted";
        let fix = "WatchdogSec=30 in its unit, then systemctl daemon-reload and restart";
        findings.push(Finding::warning(Row::Daemon, &subject, message).fix(fix));
    }
    if findings.is_empty() {
        let message = format!("version {} runs: {}", document.version, document.summary);
        findings.push(Finding::ok(Row::Daemon, &subject, message));
    }
    findings
}

fn of_family(family: &FamilyStatus, subject: &str) -> Option<Finding> {
    if family.in_sync {
        return None;
    }
    if let Some(hold) = &family.hold {
        return Some(Finding::warning(Row::Daemon, subject, format!("the {} list is {hold}", family.family)));
    }
    let why = match (&family.problem, family.out_of_sync_s) {
        (Some(problem), _) => format!(": {problem}"),
        (None, Some(seconds)) => format!(" for {seconds:.0} s"),
        (None, None) => String::new(),
    };
    let message = format!("BIRD is not in sync with the {} list{why}", family.family);
    Some(Finding::problem(Row::Daemon, subject, message).fix("anycast-healthchecker --status"))
}

fn no_answer(socket: &Path, why: &AskError) -> Finding {
    let subject = socket.display();
    let problem = |message: String| Finding::problem(Row::Daemon, &subject, message);
    match why {
        AskError::NotRunning { .. } => {
            problem("anycast-healthchecker is not running".into()).fix("systemctl start anycast-healthchecker")
        }
        AskError::TimedOut { .. } => {
            problem(format!("anycast-healthchecker is stuck: {why}")).fix("systemctl restart anycast-healthchecker")
        }
        AskError::Denied { .. } => Finding::warning(Row::Daemon, subject, why).fix("run the doctor with sudo"),
        _ => problem(why.to_string()).fix("systemctl status anycast-healthchecker"),
    }
}

/// Whether systemd started a daemon with this environment without a watchdog.
fn lacks_watchdog(environment: &str) -> bool {
    let has = |name: &str| environment.split('\0').any(|variable| variable.starts_with(name));
    has("NOTIFY_SOCKET=") && !has("WATCHDOG_USEC=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    fn document() -> Document {
        let daemon = sample::daemon_state(vec![sample::service("web", "10.0.0.1/32")]);
        let mut document =
            crate::report::status::document(&daemon, crate::sys::clock::Now::read(), &jiff::tz::TimeZone::UTC);
        document.pid = 7;
        document.families.iter_mut().for_each(|family| (family.in_sync, family.problem) = (true, None));
        document
    }

    fn check(change: impl FnOnce(&mut Document), environment: &str, expected: &[&str]) {
        let mut document = document();
        change(&mut document);
        let facts = DaemonFacts {
            socket: Path::new("/run/status.sock"),
            document: Ok(&document),
            environment: Some(environment),
        };
        let shown: Vec<String> = findings(&facts).iter().map(Finding::to_string).collect();
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for (line, expected) in shown.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn each_fault_has_its_line() {
        check(|_| (), "", &["ok       daemon: process 7: version "]);
        check(|_| (), "NOTIFY_SOCKET=/run/x\0WATCHDOG_USEC=3\0", &["ok       daemon: process 7: version "]);
        check(|_| (), "NOTIFY_SOCKET=/run/x\0", &["warning  daemon: process 7: systemd does not watch it: "]);
        check(|found| found.reload_error = Some("no".into()), "", &["problem  daemon: process 7: the last reload was refused, and an older configuration is in use: no; fix: anycast-healthchecker -c, then systemctl reload anycast-healthchecker"]);
        check(|found| found.writer_overdue_s = Some(9.2), "", &["problem  daemon: process 7: the thread that tells BIRD is stuck: it is overdue by 9 s; fix: systemctl restart anycast-healthchecker"]);
        check(|found| found.services[0].overdue_s = Some(9.2), "", &["problem  daemon: process 7: the check of web is stuck: it is overdue by 9 s; fix: systemctl restart anycast-healthchecker"]);
        check(|found| found.log_lines_dropped = 3, "", &["warning  daemon: process 7: 3 log lines were lost, "]);
        let out = |problem: Option<&str>, seconds: Option<f64>| {
            let problem = problem.map(str::to_string);
            move |found: &mut Document| {
                found.families.truncate(1);
                let family = &mut found.families[0];
                (family.in_sync, family.out_of_sync_s, family.problem) = (false, seconds, problem);
            }
        };
        check(out(Some("BIRD is down"), Some(3.0)), "", &["problem  daemon: process 7: BIRD is not in sync with the IPv4 list: BIRD is down; fix: anycast-healthchecker --status"]);
        check(
            out(None, Some(3.0)),
            "",
            &["problem  daemon: process 7: BIRD is not in sync with the IPv4 list for 3 s; fix: "],
        );
    }

    #[test]
    fn a_daemon_that_does_not_answer_has_its_line() {
        let path = || std::path::PathBuf::from("/run/status.sock");
        let check = |why: AskError, expected: &str| {
            let facts = DaemonFacts { socket: &path(), document: Err(&why), environment: None };
            let line = findings(&facts)[0].to_string();
            assert!(line.starts_with(expected), "{line}");
        };
        let source = || std::io::Error::from(std::io::ErrorKind::NotFound);
        check(AskError::NotRunning { path: path(), source: source() }, "problem  daemon: /run/status.sock: anycast-healthchecker is not running; fix: systemctl start anycast-healthchecker");
        check(
            AskError::TimedOut { path: path(), limit: std::time::Duration::from_secs(5) },
            "problem  daemon: /run/status.sock: anycast-healthchecker is stuck: ",
        );
        check(
            AskError::Denied { path: path(), group: "ops".into() },
            "warning  daemon: /run/status.sock: may not open ",
        );
        check(AskError::Io { path: path(), source: source() }, "problem  daemon: /run/status.sock: cannot ask ");
    }
}
