//! Rows `configuration` and `checks`: what `--check` reports.
//!
//! Guarantees: pure; every problem and warning of `--check` is one finding, except those that
//! another row examines.

use crate::cli::doctor::report::{Finding, Row};
use crate::config::diagnostic::Diagnostic;

/// The findings of `--check`, sorted into the two rows. `summary` says what was read.
pub fn findings(problems: &[Diagnostic], summary: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = problems.iter().map(finding).collect();
    if !findings.iter().any(|finding| finding.row == Row::Configuration) {
        findings.insert(0, Finding::ok(Row::Configuration, summary, "has no fault"));
    }
    findings
}

fn finding(problem: &Diagnostic) -> Finding {
    let row = match problem.option.as_deref() {
        Some(option) if option.starts_with("check_") => Row::Checks,
        _ => Row::Configuration,
    };
    let text = problem.to_string();
    // The text begins with the place, whose parts end in a colon and a space.
    let (subject, message) = match (&problem.file, &problem.section) {
        (Some(_), _) => text.split_once(": ").unwrap_or(("", &text)),
        (None, Some(section)) => (section.as_str(), text.as_str()),
        (None, None) => ("files", text.as_str()),
    };
    if problem.is_error() {
        Finding::problem(row, subject, message)
    } else {
        Finding::warning(row, subject, message)
    }
}

/// Whether a warning about this machine says what another row says with more detail.
pub fn is_examined_elsewhere(problem: &Diagnostic) -> bool {
    let options = ["bird_control_socket", "bird6_control_socket", "ip_prefix"];
    !problem.is_error() && problem.option.as_deref().is_some_and(|option| options.contains(&option))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_problem_is_a_finding() {
        let shown = |problems: &[Diagnostic]| -> Vec<String> {
            findings(problems, "/etc/a.conf and 2 services").iter().map(Finding::to_string).collect()
        };
        assert_eq!(shown(&[]), ["ok       configuration: /etc/a.conf and 2 services: has no fault"]);
        let of = |problem: Diagnostic, option: &str| {
            let file = Path::new("/etc/a.conf");
            Diagnostic { line: Some(3), ..problem.in_file(file).in_section("web").for_option(option, Some("1")) }
        };
        let problems = [
            of(Diagnostic::error("must be 2"), "interface"),
            of(Diagnostic::warning("should be 2"), "check_cmd"),
            Diagnostic::error("no way"),
            Diagnostic::warning("no").in_section("web"),
        ];
        let expected = [
            "problem  configuration: /etc/a.conf, line 3: [web] interface = 1: must be 2",
            "warning  checks: /etc/a.conf, line 3: [web] check_cmd = 1: should be 2",
            "problem  configuration: files: no way",
            "warning  configuration: web: [web] no",
        ];
        assert_eq!(shown(&problems), expected);
        assert_eq!(shown(&problems[1..2])[0], "ok       configuration: /etc/a.conf and 2 services: has no fault");
    }

    #[test]
    fn only_warnings_are_left_to_other_rows() {
        let of = |problem: Diagnostic, option: &str| is_examined_elsewhere(&problem.for_option(option, None));
        assert!(of(Diagnostic::warning(""), "ip_prefix"));
        assert!(!of(Diagnostic::error(""), "ip_prefix"));
        assert!(!of(Diagnostic::warning(""), "interface"));
    }
}
