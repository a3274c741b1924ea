//! Parses one file of the configuration, line by line.
//!
//! ```text
//!   line without blanks   inside an option             in a section, no option  before any section
//!   --------------------  ---------------------------  -----------------------  ------------------
//!   # or ;                skipped                      skipped                  skipped
//!   empty                 an empty line of the value   skipped                  skipped
//!   indented deeper       a line of the value          as below                 as below
//!   [name without ]       error, a section begins      error, a section begins  error, as before
//!   [name]                a section begins             a section begins         a section begins
//!   name = value (or :)   another option begins        an option begins         error
//!   anything else         error                        error                    error
//! ```

use std::path::Path;
use std::sync::Arc;

use crate::config::diagnostic::Location;

use super::{
    header_name, is_space, trim, Ini, IniError, IniErrorKind, MisindentedLine, OverriddenValue, MAX_MISINDENTED_LINES,
};

/// Upper bound on the errors of one file; the parser stops there.
const MAX_ERRORS: usize = 100;

/// Upper bound on the characters of a line that are kept, as a line may have any length.
const MAX_KEPT_LEN: usize = 1000;

/// Adds the file's options to the sections, and returns its errors.
pub(super) fn parse(ini: &mut Ini, file: &Path, bytes: &[u8]) -> Vec<IniError> {
    ini.files += 1;
    let mut parser = Parser { ini, file: file.into(), line: 0, section: None, option: None, errors: Vec::new() };
    match std::str::from_utf8(bytes) {
        Ok(text) => parser.parse(text),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            parser.line = lines(&valid).count() + usize::from(valid.is_empty() || valid.ends_with(['\n', '\r']));
            parser.error(IniErrorKind::NotUtf8, "");
        }
    }
    parser.errors
}

/// The state within one file.
struct Parser<'a> {
    ini: &'a mut Ini,
    file: Arc<Path>,
    line: usize,
    /// The section that the next option belongs to.
    section: Option<usize>,
    /// The option that the next line may continue.
    option: Option<usize>,
    errors: Vec<IniError>,
}

impl Parser<'_> {
    fn parse(&mut self, text: &str) {
        let mut indent = 0;
        for line in lines(text) {
            self.line += 1;
            let content = trim(line);
            if content.starts_with(['#', ';']) {
                continue;
            }
            if content.is_empty() {
                self.continue_value("");
                continue;
            }
            let own_indent = line.chars().take_while(|c| is_space(*c)).count();
            if self.option.is_some() && own_indent > indent {
                self.continue_value(content);
                continue;
            }
            indent = own_indent;
            if let Some(name) = header_name(content) {
                self.begin_section(name);
            } else if let Some(name) = unclosed_header(content) {
                self.begin_unclosed_section(name, content);
            } else if self.section.is_none() {
                let mark = if content.starts_with('\u{feff}') { " (and not after a byte order mark)" } else { "" };
                self.error(IniErrorKind::NoSection(mark), content);
                break;
            } else if let Some(delimiter) = content.find(['=', ':']) {
                self.begin_option(trim(&content[..delimiter]), trim(&content[delimiter + 1..]), content);
            } else {
                self.error(IniErrorKind::NoDelimiter, content);
            }
            if self.errors.len() >= MAX_ERRORS {
                self.error(IniErrorKind::TooManyErrors, "");
                break;
            }
        }
        self.end_option();
    }

    fn begin_section(&mut self, name: &str) {
        self.end_option();
        let index = self.ini.section_index(name);
        let location = self.location();
        let section = &mut self.ini.sections[index];
        let is_repeated = section.file == self.ini.files;
        let first = section.location.as_ref().filter(|_| is_repeated && index != 0).map(|location| location.line);
        if !is_repeated {
            section.headers.push(location.clone());
        }
        section.location = Some(location);
        section.file = self.ini.files;
        self.section = Some(index);
        if let Some(line) = first {
            self.error(IniErrorKind::DuplicateSection(line), "");
        }
    }

    /// Continues as if the bracket were there, so that the options below do not count for the
    /// section above.
    fn begin_unclosed_section(&mut self, name: &str, line: &str) {
        self.end_option();
        self.section = None;
        self.error(IniErrorKind::MissingBracket(line.chars().take(100).collect()), line);
        self.begin_section(name);
    }

    fn begin_option(&mut self, name: &str, value: &str, line: &str) {
        self.end_option();
        let Some(section) = self.section else { return };
        if name.is_empty() {
            self.error(IniErrorKind::NoName, line);
        }
        let index = self.ini.entry_index(section, &name.to_lowercase());
        let location = self.location();
        let entry = &mut self.ini.sections[section].entries[index];
        let is_repeated = entry.file == self.ini.files;
        let first = entry.location.as_ref().filter(|_| is_repeated).map(|location| location.line);
        let old = entry.location.replace(location.clone()).filter(|_| !is_repeated);
        entry.file = self.ini.files;
        let raw = std::mem::replace(&mut entry.raw, value.to_string());
        // Python has no value to continue if the name is empty.
        self.option = Some(index).filter(|_| !name.is_empty());
        if let Some(old) = old {
            let option = Arc::clone(&entry.name);
            let section = Arc::clone(&self.ini.sections[section].name);
            self.ini.overridden_values.push(OverriddenValue { section, option, raw, old, new: location });
        }
        if let Some(first) = first {
            self.error(IniErrorKind::DuplicateOption(first), line);
        }
    }

    fn continue_value(&mut self, line: &str) {
        let (Some(section), Some(option)) = (self.section, self.option) else { return };
        self.remember_misindented(section, option, line);
        let raw = &mut self.ini.sections[section].entries[option].raw;
        raw.push('\n');
        raw.push_str(line);
    }

    /// Remembers a continuation that was probably meant as a line of its own.
    fn remember_misindented(&mut self, section: usize, option: usize, line: &str) {
        if self.ini.misindented_lines.len() < MAX_MISINDENTED_LINES && looks_like_option_or_header(line) {
            let section = &self.ini.sections[section];
            let (section, option) = (Arc::clone(&section.name), Arc::clone(&section.entries[option].name));
            let text = line.chars().take(MAX_KEPT_LEN).collect();
            self.ini.misindented_lines.push(MisindentedLine { section, option, location: self.location(), text });
        }
    }

    /// Ends the value of the option, without the empty lines at its end.
    fn end_option(&mut self) {
        if let (Some(section), Some(option)) = (self.section, self.option.take()) {
            let raw = &mut self.ini.sections[section].entries[option].raw;
            raw.truncate(raw.trim_end_matches(is_space).len());
        }
    }

    fn location(&self) -> Location {
        Location { file: Arc::clone(&self.file), line: self.line }
    }

    fn error(&mut self, kind: IniErrorKind, text: &str) {
        let section = self.section.map(|index| Arc::clone(&self.ini.sections[index].name));
        let text = text.chars().take(MAX_KEPT_LEN).collect();
        self.errors.push(IniError { location: self.location(), section, text, kind });
    }
}

/// Parses `[name` without its bracket, unless a delimiter makes the line an option.
fn unclosed_header(line: &str) -> Option<&str> {
    line.strip_prefix('[').map(trim).filter(|name| !name.is_empty() && !name.contains([']', '=', ':']))
}

/// Matches `name = value`, `name: value` and `[name]`.
fn looks_like_option_or_header(line: &str) -> bool {
    let name = line.find(['=', ':']).map_or("", |delimiter| trim(&line[..delimiter]));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name || header_name(line).is_some()
}

/// Splits a text at LF, CR LF and CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = &rest[..end];
        let after = &rest[end..];
        rest = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\n', '\r'])).unwrap_or(after);
        Some(line)
    })
}
