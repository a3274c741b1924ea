//! Row `constant`: whether BIRD reads the list, and whether export filters use it.
//!
//! Guarantees: pure. What BIRD cannot be asked is said as such.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cli::doctor::answers::{Answers, ListInBird, PrefixInBird, Session};
use crate::cli::doctor::report::{Finding, Row};
use crate::prefix::{Family, Prefix};

/// What is known of one family's constant.
#[derive(Debug)]
pub struct ConstantFacts<'a> {
    /// The family.
    pub family: Family,
    /// The name.
    pub variable: &'a str,
    /// The file that defines it, behind all links.
    pub file: &'a Path,
    /// What the file lists; none if it cannot be read as a list, which another row reports.
    pub in_file: Option<&'a [Prefix]>,
    /// Other files of its directory that end in `.conf` and define the same name.
    pub strays: &'a [PathBuf],
    /// What BIRD says; none if it cannot be asked.
    pub answers: Option<&'a Answers>,
}

/// All findings about one constant.
pub fn findings(facts: &ConstantFacts<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.strays.iter().map(|stray| stray_file(facts, stray)).collect();
    let Some(answers) = facts.answers else { return findings };
    let value = answers.lists.get(&facts.family).and_then(|list| value(facts, list));
    // With another list in BIRD its filters cannot be judged by what they announce.
    let listed = facts.in_file.filter(|_| value.is_none()).map(|in_file| in_file.iter().collect());
    findings.extend(value);
    findings.extend(filters(facts, answers, listed.as_ref()));
    if findings.is_empty() {
        let known = if listed.is_some() { "BIRD has the list of the file" } else { "BIRD knows it" };
        let message = format!("{known}; BIRD cannot be asked which filters name the constant");
        findings.push(Finding::ok(Row::Constant, facts.variable, message));
    }
    findings
}

fn stray_file(facts: &ConstantFacts<'_>, stray: &Path) -> Finding {
    let (stray, variable) = (stray.display(), facts.variable);
    let message =
        format!("{stray} defines it too: BIRD refuses its configuration if it includes all of that directory");
    Finding::problem(Row::Constant, variable, message).fix(format!("mv {stray} {stray}.off"))
}

fn value(facts: &ConstantFacts<'_>, list: &ListInBird) -> Option<Finding> {
    let (variable, file) = (facts.variable, facts.file.display());
    let problem = |message: String| Finding::problem(Row::Constant, variable, message);
    // BIRD's word for it where it is used.
    let is_undefined = list.difference.as_ref().is_some_and(|why| why.contains("CF_SYM_UNDEFINED"));
    match list.symbol.as_deref() {
        found if found == Some("undefined") || is_undefined => {
            let message = "BIRD does not know it: it includes no file that defines it".to_string();
            return Some(problem(message).fix(format!("include \"{file}\"; in bird.conf, then birdc configure")));
        }
        Some(kind) if !kind.starts_with("constant") => {
            return Some(problem(format!("in BIRD this is the name of a {kind}")).fix("choose another bird_variable"));
        }
        _ => {}
    }
    let difference = list.difference.as_deref()?;
    let message = format!("BIRD's value differs from {file}: {difference}");
    let fix =
        format!("birdc configure; if that does not help, include \"{file}\"; in bird.conf instead of another file");
    Some(problem(message).fix(fix))
}

/// What the sessions show of their export filters. `listed` is what is in the list, if BIRD has the
/// same one.
fn filters(facts: &ConstantFacts<'_>, answers: &Answers, listed: Option<&BTreeSet<&Prefix>>) -> Vec<Finding> {
    let variable = facts.variable;
    let fix = |session: &Session| {
        format!("export where net ~ {variable}; in protocol {}, then birdc configure", session.protocol.name)
    };
    let of_session = |session: &Session| {
        let channel = session.details.channels.iter().find(|channel| channel.is_of(facts.family))?;
        let name = &session.protocol.name;
        let message = match channel.output_filter.as_str() {
            "ACCEPT" => {
                format!("{name} exports every route, whatever the list holds: nothing can be withdrawn from it")
            }
            "REJECT" => format!("{name} exports no route, whatever the list holds"),
            _ => format!(
                "{name} announces {}, which is not in the list",
                unlisted(facts.family, answers, listed?, name)?
            ),
        };
        Some(Finding::problem(Row::Constant, variable, message).fix(fix(session)))
    };
    answers.sessions.iter().filter_map(of_session).collect()
}

/// A prefix that a protocol announces and the list does not hold.
fn unlisted(family: Family, answers: &Answers, listed: &BTreeSet<&Prefix>, protocol: &str) -> Option<Prefix> {
    let ours = answers.prefixes.iter().filter(|(prefix, _)| prefix.family() == family);
    let is_announced = |(prefix, found): &(&Prefix, &PrefixInBird)| {
        let by = found.exports.as_ref().map(|exports| exports.announced_by.as_slice()).unwrap_or_default();
        !listed.contains(prefix) && by.iter().any(|name| name == protocol)
    };
    ours.filter(is_announced).map(|(prefix, _)| *prefix).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::protocol::exports::{PrefixExports, Protocol};
    use crate::cli::doctor::answers::{Channel, Details};

    const FILE: &str = "/lib/prefixes.conf";

    fn session(filter: &str) -> Session {
        let protocol = Protocol {
            name: "r4".into(),
            kind: "BGP".into(),
            state: "up".into(),
            since: String::new(),
            info: "Established".into(),
        };
        let channels = vec![Channel { name: "ipv4".into(), output_filter: filter.into() }];
        Session { protocol, details: Details { channels, ..Details::default() } }
    }

    fn check(
        symbol: &str,
        difference: Option<&str>,
        filter: &str,
        announced: &str,
        strays: &[&str],
        expected: &[&str],
    ) {
        let list = ListInBird { symbol: Some(symbol.into()), difference: difference.map(str::to_string) };
        let exports = PrefixExports { announced_by: vec!["r4".into()], up: 1, why: None };
        let found = PrefixInBird { in_table: Some(true), exports: Some(exports) };
        let answers = Answers {
            sessions: vec![session(filter)],
            lists: [(Family::V4, list)].into(),
            prefixes: [(announced.parse().unwrap(), found)].into(),
            ..Answers::default()
        };
        let strays: Vec<PathBuf> = strays.iter().map(PathBuf::from).collect();
        let facts = ConstantFacts {
            family: Family::V4,
            variable: "ACAST",
            file: Path::new(FILE),
            in_file: Some(&["10.0.0.1/32".parse().unwrap()]),
            strays: &strays,
            answers: Some(&answers),
        };
        let shown: Vec<String> = findings(&facts).iter().map(Finding::to_string).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_fault_has_its_line() {
        let listed = "10.0.0.1/32";
        let fix = "export where net ~ ACAST; in protocol r4, then birdc configure";
        check("constant", None, "(unnamed)", listed, &[], &["ok       constant: ACAST: BIRD has the list of the file; BIRD cannot be asked which filters name the constant"]);
        check("undefined", None, "(unnamed)", listed, &[], &["problem  constant: ACAST: BIRD does not know it: it includes no file that defines it; fix: include \"/lib/prefixes.conf\"; in bird.conf, then birdc configure"]);
        check(
            "filter",
            None,
            "(unnamed)",
            listed,
            &[],
            &["problem  constant: ACAST: in BIRD this is the name of a filter; fix: choose another bird_variable"],
        );
        check("constant", Some("BIRD does not list 10.0.0.1/32"), "f", listed, &[], &["problem  constant: ACAST: BIRD's value differs from /lib/prefixes.conf: BIRD does not list 10.0.0.1/32; fix: birdc configure; if that does not help, include \"/lib/prefixes.conf\"; in bird.conf instead of another file"]);
        check("constant", None, "(unnamed)", listed, &["/lib/b.conf"], &["problem  constant: ACAST: /lib/b.conf defines it too: BIRD refuses its configuration if it includes all of that directory; fix: mv /lib/b.conf /lib/b.conf.off"]);
        check("constant", None, "ACCEPT", listed, &[], &[&*format!("problem  constant: ACAST: r4 exports every route, whatever the list holds: nothing can be withdrawn from it; fix: {fix}")]);
        check(
            "constant",
            None,
            "REJECT",
            listed,
            &[],
            &[&*format!("problem  constant: ACAST: r4 exports no route, whatever the list holds; fix: {fix}")],
        );
        check(
            "constant",
            None,
            "f",
            "10.0.0.2/32",
            &[],
            &[&*format!("problem  constant: ACAST: r4 announces 10.0.0.2/32, which is not in the list; fix: {fix}")],
        );
    }
}
