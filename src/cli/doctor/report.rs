//! What the doctor found: findings, and how they are printed.
//!
//! Guarantees: pure; one finding is one line of text, whatever its parts hold.
//! Out of scope: finding something (the other modules of this folder).

use std::fmt;

use serde::Serialize;

use crate::bird::protocol::outcome::one_line;

/// What a finding is about: a row of the table in `docs/operations.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// The configuration files and this machine, as `--check` judges them.
    Configuration,
    /// BIRD's control socket, and the right to use it.
    Socket,
    /// The constant in BIRD.
    Constant,
    /// The file that BIRD includes.
    PrefixFile,
    /// The prefixes of each service.
    Prefixes,
    /// BIRD's router id.
    RouterId,
    /// The protocols that speak to neighbors.
    Sessions,
    /// The running daemon.
    Daemon,
    /// The check commands.
    Checks,
    /// Limits of the daemon's process and of the machine.
    Limits,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Row::Configuration => "configuration",
            Row::Socket => "socket",
            Row::Constant => "constant",
            Row::PrefixFile => "prefix_file",
            Row::Prefixes => "prefixes",
            Row::RouterId => "router_id",
            Row::Sessions => "sessions",
            Row::Daemon => "daemon",
            Row::Checks => "checks",
            Row::Limits => "limits",
        })
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be, or nothing that could be wrong.
    Ok,
    /// It works, but a failure would last longer than it needs to; or it could not be examined.
    Warning,
    /// A service is not announced, or would not be withdrawn.
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        })
    }
}

/// One result of an examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was examined.
    pub row: Row,
    /// How bad it is.
    pub level: Level,
    /// The file, service, protocol or the like that it is about.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// The command or the line of a configuration that mends it; none if nothing is to be mended.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding of level ok.
    pub fn ok(row: Row, subject: impl fmt::Display, message: impl fmt::Display) -> Finding {
        Finding { row, level: Level::Ok, subject: subject.to_string(), message: message.to_string(), remedy: None }
    }

    /// A warning.
    pub fn warning(row: Row, subject: impl fmt::Display, message: impl fmt::Display) -> Finding {
        Finding { level: Level::Warning, ..Finding::ok(row, subject, message) }
    }

    /// A problem.
    pub fn problem(row: Row, subject: impl fmt::Display, message: impl fmt::Display) -> Finding {
        Finding { level: Level::Problem, ..Finding::ok(row, subject, message) }
    }

    /// The same with what mends it.
    pub fn fix(self, remedy: impl fmt::Display) -> Finding {
        Finding { remedy: Some(remedy.to_string()), ..self }
    }
}

/// `problem  sessions: router4: is not up: Idle; fix: birdc show protocols all router4`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { row, level, subject, message, remedy } = self;
        write!(f, "{level:<8} {row}: {}: {}", one_line(subject), one_line(message))?;
        match remedy {
            Some(remedy) => write!(f, "; fix: {}", one_line(remedy)),
            None => Ok(()),
        }
    }
}

/// Whether there is a problem.
pub fn has_problem(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Problem)
}

/// The findings, one a line, and a line with their numbers.
pub fn text(findings: &[Finding]) -> String {
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let counted = |number: usize, name: &str| format!("{number} {name}{}", if number == 1 { "" } else { "s" });
    let (problems, warnings) = (counted(count(Level::Problem), "problem"), counted(count(Level::Warning), "warning"));
    text += &format!("{problems}, {warnings}, {} ok\n", count(Level::Ok));
    text
}

/// The findings as a JSON array.
///
/// # Errors
/// None in practice: the findings hold nothing but text.
pub fn json(findings: &[Finding]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(findings).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        let bad = Finding::problem(Row::PrefixFile, "/a\nb", "gone\n\u{1b}[2J").fix("touch /a");
        assert_eq!(bad.to_string(), "problem  prefix_file: /a; b: gone;  [2J; fix: touch /a");
        let good = Finding::ok(Row::Sessions, "r4", "up");
        assert_eq!(good.to_string(), "ok       sessions: r4: up");
        let shown = text(&[bad.clone(), good.clone(), Finding::warning(Row::Limits, "a", "b")]);
        assert!(shown.ends_with("\nwarning  limits: a: b\n1 problem, 1 warning, 1 ok\n"), "{shown}");
        assert!(text(std::slice::from_ref(&good)).ends_with("0 problems, 0 warnings, 1 ok\n"));
        assert!(has_problem(&[good.clone(), bad]) && !has_problem(&[good]));
    }

    #[test]
    fn the_document_is_an_array_of_objects() {
        let text = json(&[Finding::problem(Row::RouterId, "a", "b").fix("c"), Finding::ok(Row::Checks, "d", "e")]);
        let value: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        let expected = serde_json::json!([
            { "row": "router_id", "level": "problem", "subject": "a", "message": "b", "remedy": "c" },
            { "row": "checks", "level": "ok", "subject": "d", "message": "e", "remedy": null },
        ]);
        assert_eq!(value, expected);
    }
}
