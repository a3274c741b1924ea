//! A problem of the configuration: where it is, and what is wrong.
//!
//! Guarantees: a problem is one line of text of limited length, whatever the value holds.
//!
//! Out of scope: finding problems (`config::ini`, `config::parse`, `config::lint`,
//! `config::preflight`).

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How severe a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The daemon starts anyway; `--check --strict` refuses the configuration.
    Warning,
    /// The configuration is refused.
    Error,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The file, by the path on the command line or in the directory of services.
    pub file: Arc<Path>,
    /// The line number, from 1.
    pub line: usize,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// How severe it is.
    pub severity: Severity,
    /// The file it is about, if any.
    pub file: Option<Arc<Path>>,
    /// The line in the file, if any.
    pub line: Option<usize>,
    /// The section, without its brackets.
    pub section: Option<String>,
    /// The name of the option.
    pub option: Option<String>,
    /// The option's value after interpolation, or the line as written.
    pub value: Option<String>,
    /// What is wrong: the end of a sentence that begins with the location.
    pub message: String,
}

/// Upper bound on the characters of a section, an option or a value that are shown.
const MAX_VALUE_LEN: usize = 200;

/// Upper bound on the characters of a message or a path that are shown.
const MAX_TEXT_LEN: usize = 1000;

impl Diagnostic {
    /// Creates an error without a location.
    pub fn error(message: impl Into<String>) -> Diagnostic {
        let message = message.into();
        Diagnostic {
            severity: Severity::Error,
            file: None,
            line: None,
            section: None,
            option: None,
            value: None,
            message,
        }
    }

    /// Creates a warning without a location.
    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message) }
    }

    /// Sets the file.
    pub fn in_file(self, file: &Path) -> Diagnostic {
        Diagnostic { file: Some(file.into()), ..self }
    }

    /// Sets the file and the line, if they are known.
    pub fn at(self, location: Option<&Location>) -> Diagnostic {
        let file = location.map(|location| Arc::clone(&location.file));
        Diagnostic { file, line: location.map(|location| location.line), ..self }
    }

    /// Sets the section.
    pub fn in_section(self, section: &str) -> Diagnostic {
        Diagnostic { section: Some(section.to_string()), ..self }
    }

    /// Sets the option and its value. A long value is cut, still long enough to tell values apart.
    pub fn for_option(self, option: &str, value: Option<&str>) -> Diagnostic {
        let value = value.map(|value| value.chars().take(MAX_TEXT_LEN).collect());
        Diagnostic { option: Some(option.to_string()), value, ..self }
    }

    /// Whether the configuration is refused.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Removes duplicates. In the `inherited` section, `[DEFAULT]`, problems of one line are duplicates
/// even if the value differs: references in it are replaced for each service.
pub fn deduplicate(problems: &mut Vec<Diagnostic>, inherited: &str) {
    let mut seen = HashSet::new();
    problems.retain(|problem| {
        let mut key = problem.clone();
        if key.section.as_deref() == Some(inherited) && key.line.is_some() {
            key.value = None;
        }
        seen.insert(key)
    });
}

/// `/etc/a.conf, line 12: [web] check_rise = 0: must be a whole number from 1 to 4294967295`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}, line {line}: ", OneLine(&file.to_string_lossy(), MAX_TEXT_LEN))?,
            (Some(file), None) => write!(f, "{}: ", OneLine(&file.to_string_lossy(), MAX_TEXT_LEN))?,
            (None, _) => {}
        }
        if let Some(section) = &self.section {
            write!(f, "[{}] ", OneLine(section, MAX_VALUE_LEN))?;
        }
        match (&self.option, &self.value) {
            (Some(option), Some(value)) => {
                write!(f, "{} = {}: ", OneLine(option, MAX_VALUE_LEN), OneLine(value, MAX_VALUE_LEN))?
            }
            (Some(option), None) => write!(f, "{}: ", OneLine(option, MAX_VALUE_LEN))?,
            (None, Some(value)) => write!(f, "'{}': ", OneLine(value, MAX_VALUE_LEN))?,
            (None, None) => {}
        }
        write!(f, "{}", OneLine(&self.message, MAX_TEXT_LEN))
    }
}

/// Displays a text on one line: control characters escaped, cut at this number of characters.
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
    fn a_problem_is_one_line_with_all_that_is_known() {
        let bare = Diagnostic::error("is wrong");
        assert_eq!(bare.to_string(), "is wrong");
        let location = Location { file: Path::new("/etc/a.conf").into(), line: 12 };
        let full =
            bare.clone().at(Some(&location)).in_section("web").for_option("check_cmd", Some("/bin/a\n\t\u{1b}[2Jb"));
        assert_eq!(full.to_string(), r"/etc/a.conf, line 12: [web] check_cmd = /bin/a\n\t\u{1b}[2Jb: is wrong");
        let long = bare.for_option("x", Some(&"ä".repeat(1_000_000)));
        assert_eq!(long.to_string(), format!("x = {} …: is wrong", "ä".repeat(MAX_VALUE_LEN)));
        let file = Diagnostic::error("cannot be read").in_file(Path::new("a\nb"));
        assert_eq!(file.to_string(), r"a\nb: cannot be read");
    }

    #[test]
    fn an_inherited_line_is_reported_once() {
        let location = Location { file: Path::new("/etc/a.conf").into(), line: 12 };
        let warning = |section: &str, value: &str, message: &str| {
            Diagnostic::warning(message).at(Some(&location)).in_section(section).for_option("check_cmd", Some(value))
        };
        let mut problems =
            vec![warning("DEFAULT", "a", "x"), warning("DEFAULT", "b", "x"), warning("DEFAULT", "a", "y")];
        problems.extend([warning("web", "a", "x"), warning("web", "b", "x"), warning("web", "a", "x")]);
        deduplicate(&mut problems, "DEFAULT");
        let kept = [
            warning("DEFAULT", "a", "x"),
            warning("DEFAULT", "a", "y"),
            warning("web", "a", "x"),
            warning("web", "b", "x"),
        ];
        assert_eq!(problems, kept);
    }
}
