//! Row `prefix_file`: the file that BIRD includes, and whether BIRD's user may read it.
//!
//! Guarantees: pure.

use std::path::Path;

use crate::bird::prefix_file::PrefixFile;
use crate::cli::doctor::permissions::{obstacle, Identity, Right, Step};
use crate::cli::doctor::report::{Finding, Row};

/// What is known of one prefix file.
#[derive(Debug)]
pub struct FileFacts<'a> {
    /// `bird_conf`.
    pub path: &'a Path,
    /// `bird_variable`.
    pub variable: &'a str,
    /// What it holds; or why that cannot be read.
    pub contents: Result<&'a PrefixFile, FileError>,
    /// The user that BIRD runs as; none if nobody knows.
    pub bird: Option<&'a Identity>,
    /// The directories above the file, and the file.
    pub steps: &'a [Step],
}

/// Why the doctor cannot read a prefix file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is none.
    Missing,
    /// Anything else, such as a missing right.
    Unreadable(String),
}

/// What is to be said of one prefix file.
pub fn finding(facts: &FileFacts<'_>) -> Finding {
    let path = facts.path.display();
    let problem = |message: String| Finding::problem(Row::PrefixFile, &path, message);
    // A daemon that runs puts it right by itself.
    let rewrite = "systemctl restart anycast-healthchecker, which writes it anew";
    let file = match &facts.contents {
        Err(FileError::Missing) => {
            return problem("it is not there, and a BIRD that includes it does not start".into()).fix(rewrite)
        }
        Err(FileError::Unreadable(why)) => {
            return Finding::warning(Row::PrefixFile, path, format!("the doctor cannot read it: {why}"))
                .fix("run the doctor with sudo")
        }
        Ok(file) => file,
    };
    if let Some(flaw) = &file.flaw {
        return problem(format!("BIRD cannot read it as a list: {flaw}")).fix(rewrite);
    }
    if let Some(other) = file.variable.as_deref().filter(|found| *found != facts.variable) {
        return problem(format!("it defines {other}, and not {}", facts.variable)).fix(rewrite);
    }
    let Some(bird) = facts.bird else {
        let message =
            format!("lists {}; BIRD's user is not known, so its right to read it is not examined", count(file));
        return Finding::ok(Row::PrefixFile, path, message);
    };
    match obstacle(bird, facts.steps) {
        None => Finding::ok(Row::PrefixFile, path, format!("lists {}, and {bird} may read it", count(file))),
        Some(step) if step.needs == Right::Search => {
            problem(format!("BIRD's {bird} may not search {}", step.path.display()))
                .fix(format!("chmod o+x {}", step.path.display()))
        }
        Some(step) => {
            problem(format!("BIRD's {bird} may not read it")).fix(format!("chmod 644 {}", step.path.display()))
        }
    }
}

fn count(file: &PrefixFile) -> String {
    match file.prefixes.len() {
        1 => "1 prefix".to_string(),
        many => format!("{many} prefixes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::prefix_file::parse;
    use crate::prefix::Family;

    fn check(contents: Result<&str, FileError>, bird: Option<u32>, modes: [u32; 2], expected: &str) {
        let file = contents.map(|text| parse(text.as_bytes(), Family::V4));
        let step = |path: &str, needs, mode| Step { path: path.into(), needs, uid: 0, gid: 0, mode };
        let bird = bird.map(|uid| Identity { name: "bird".into(), uid, gids: vec![uid] });
        let facts = FileFacts {
            path: Path::new("/lib/list"),
            variable: "ACAST",
            contents: file.as_ref().map_err(Clone::clone),
            bird: bird.as_ref(),
            steps: &[step("/lib", Right::Search, modes[0]), step("/lib/list", Right::Read, modes[1])],
        };
        assert_eq!(finding(&facts).to_string(), expected);
    }

    #[test]
    fn each_fault_has_its_line() {
        let (good, open) = ("define ACAST = [ 10.0.0.1/32 ];\n", [0o755, 0o644]);
        let rewrite = "systemctl restart anycast-healthchecker, which writes it anew";
        check(Ok(good), Some(7), open, "ok       prefix_file: /lib/list: lists 1 prefix, and user bird may read it");
        check(Ok(good), None, [0, 0], "ok       prefix_file: /lib/list: lists 1 prefix; BIRD's user is not known, so its right to read it is not examined");
        check(
            Ok(good),
            Some(7),
            [0o750, 0o644],
            "problem  prefix_file: /lib/list: BIRD's user bird may not search /lib; fix: chmod o+x /lib",
        );
        check(
            Ok(good),
            Some(7),
            [0o755, 0o600],
            "problem  prefix_file: /lib/list: BIRD's user bird may not read it; fix: chmod 644 /lib/list",
        );
        check(
            Ok(""),
            Some(7),
            open,
            &format!("problem  prefix_file: /lib/list: BIRD cannot read it as a list: it is empty; fix: {rewrite}"),
        );
        check(
            Ok("define B = [ 10.0.0.1/32 ];"),
            Some(7),
            open,
            &format!("problem  prefix_file: /lib/list: it defines B, and not ACAST; fix: {rewrite}"),
        );
        check(Err(FileError::Missing), Some(7), open, &format!("problem  prefix_file: /lib/list: it is not there, and a BIRD that includes it does not start; fix: {rewrite}"));
        check(
            Err(FileError::Unreadable("no right".into())),
            Some(7),
            open,
            "warning  prefix_file: /lib/list: the doctor cannot read it: no right; fix: run the doctor with sudo",
        );
    }
}
