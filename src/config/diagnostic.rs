//! A problem of the configuration: what is wrong, where it stands, and the rule it breaks.
//!
//! Promises: one problem is one line of text, whatever the value holds, and no longer than a log can bear.
//! Leaves out: finding problems (`config::ini`, `config::parse`, `config::preflight`).

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It can be lived with; `--strict` refuses it all the same.
    Warning,
    /// The configuration is refused.
    Error,
}

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The file, as it was named or found.
    pub file: Arc<Path>,
    /// The line, from 1 on.
    pub line: usize,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file that holds it, where there is one.
    pub file: Option<Arc<Path>>,
    /// The line in the file.
    pub line: Option<usize>,
    /// The section, without brackets.
    pub section: Option<String>,
    /// The option.
    pub option: Option<String>,
    /// The option's value after interpolation, or the line as it stands.
    pub value: Option<String>,
    /// The rule that is broken, as the end of a sentence that began with the place.
    pub rule: String,
}

/// The most characters of a value that are shown.
const SHOWN: usize = 200;

/// The most characters of a rule: some name a file or a few services.
const RULE: usize = 1000;

impl Diagnostic {
    /// An error that is tied to no place yet.
    pub fn error(rule: impl Into<String>) -> Diagnostic {
        let rule = rule.into();
        Diagnostic { severity: Severity::Error, file: None, line: None, section: None, option: None, value: None, rule }
    }

    /// A warning that is tied to no place yet.
    pub fn warning(rule: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(rule) }
    }

    /// The same in this file.
    pub fn in_file(self, file: &Path) -> Diagnostic {
        Diagnostic { file: Some(file.into()), ..self }
    }

    /// The same at this place, where it is known.
    pub fn at(self, place: Option<&Location>) -> Diagnostic {
        Diagnostic { file: place.map(|place| Arc::clone(&place.file)), line: place.map(|place| place.line), ..self }
    }

    /// The same in this section.
    pub fn in_section(self, section: &str) -> Diagnostic {
        Diagnostic { section: Some(section.to_string()), ..self }
    }

    /// The same with this option and its value, of which no more is kept than tells values apart.
    pub fn of(self, option: &str, value: Option<&str>) -> Diagnostic {
        let value = value.map(|value| value.chars().take(RULE).collect());
        Diagnostic { option: Some(option.to_string()), value, ..self }
    }

    /// Whether the configuration is refused for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Removes duplicates. A value of the `shared` section, `[DEFAULT]`, with references differs between services, but is one
/// value.
pub fn once(problems: &mut Vec<Diagnostic>, shared: &str) {
    let mut seen = HashSet::new();
    problems.retain(|problem| {
        let mut key = problem.clone();
        if key.section.as_deref() == Some(shared) && key.line.is_some() {
            key.value = None;
        }
        seen.insert(key)
    });
}

/// `/etc/a.conf, line 12: [web] check_rise = 0: must be a whole number from 1 to 4294967295`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}, line {line}: ", OneLine(&file.to_string_lossy(), RULE))?,
            (Some(file), None) => write!(f, "{}: ", OneLine(&file.to_string_lossy(), RULE))?,
            (None, _) => {}
        }
        if let Some(section) = &self.section {
            write!(f, "[{}] ", OneLine(section, SHOWN))?;
        }
        match (&self.option, &self.value) {
            (Some(option), Some(value)) => write!(f, "{} = {}: ", OneLine(option, SHOWN), OneLine(value, SHOWN))?,
            (Some(option), None) => write!(f, "{}: ", OneLine(option, SHOWN))?,
            (None, Some(value)) => write!(f, "'{}': ", OneLine(value, SHOWN))?,
            (None, None) => {}
        }
        write!(f, "{}", OneLine(&self.rule, RULE))
    }
}

/// A text with its control characters escaped, and cut where it is too long.
struct OneLine<'a>(&'a str, usize);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(self.1).map_or(self.0.len(), |(end, _)| end);
        for c in self.0[..end].chars() {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        f.write_str(if end < self.0.len() { " …" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_one_line_with_what_is_known() {
        let bare = Diagnostic::error("must be said");
        assert_eq!(bare.to_string(), "must be said");
        let place = Location { file: Path::new("/etc/a.conf").into(), line: 12 };
        let full = bare.clone().at(Some(&place)).in_section("web").of("check_cmd", Some("/bin/a\n\t\u{1b}[2Jb"));
        assert_eq!(full.to_string(), r"/etc/a.conf, line 12: [web] check_cmd = /bin/a\n\t\u{1b}[2Jb: must be said");
        let long = bare.of("x", Some(&"ä".repeat(1_000_000)));
        assert_eq!(long.to_string(), format!("x = {} …: must be said", "ä".repeat(SHOWN)));
        let file = Diagnostic::error("cannot be read").in_file(Path::new("a\nb"));
        assert_eq!(file.to_string(), r"a\nb: cannot be read");
    }

    #[test]
    fn one_line_is_told_of_once() {
        let place = Location { file: Path::new("/etc/a.conf").into(), line: 12 };
        let of = |section: &str, value: &str, rule: &str| {
            Diagnostic::warning(rule).at(Some(&place)).in_section(section).of("check_cmd", Some(value))
        };
        let mut problems = vec![of("DEFAULT", "a", "x"), of("DEFAULT", "b", "x"), of("DEFAULT", "a", "y")];
        problems.extend([of("web", "a", "x"), of("web", "b", "x"), of("web", "a", "x")]);
        once(&mut problems, "DEFAULT");
        let kept = [of("DEFAULT", "a", "x"), of("DEFAULT", "a", "y"), of("web", "a", "x"), of("web", "b", "x")];
        assert_eq!(problems, kept);
    }
}
