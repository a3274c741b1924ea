//! The configuration's text as sections of options, read exactly as Python 3.11's `configparser`
//! reads it with its default settings.
//!
//! Guarantees: pure. Any bytes give sections and errors, never a panic. Time and memory grow
//! linearly with the input. Each option knows its file and line. Later files override earlier ones,
//! and sections of one name are merged; within one file, a section or an option may appear only
//! once.
//!
//! Out of scope: opening files (`config::files`), and what the options mean (`config::parse`).

use std::borrow::Cow;
use std::collections::hash_map::Entry as Slot;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::diagnostic::{Diagnostic, Location};

mod parser;
#[cfg(test)]
mod tests;

/// The section whose options all others inherit.
pub const DEFAULT: &str = "DEFAULT";

/// Upper bound on the nesting of references, as in Python.
const MAX_REFERENCE_DEPTH: u32 = 10;

/// Upper bound on the bytes that references add to a value. Python has none, so a few lines can
/// exhaust the memory.
const MAX_EXPANSION_LEN: usize = 64 * 1024;

/// Upper bound on the indented lines that are remembered.
const MAX_MISINDENTED_LINES: usize = 1000;

/// What is wrong with a line or a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IniErrorKind {
    /// The line is not UTF-8.
    #[error("the file must be UTF-8 text, but this line is not")]
    NotUtf8,
    /// A line precedes the first section.
    #[error("is before the first [section]; a line like [daemon] must come first{0}")]
    NoSection(&'static str),
    /// The line is neither a section nor an option nor a continuation.
    #[error("is neither a [section], nor an option with = or : after its name, nor indented to continue a value")]
    NoDelimiter,
    /// The line has nothing before the delimiter.
    #[error("has no name before the = or :")]
    NoName,
    /// The section is already in the file, at this line.
    #[error("this section is already in this file, at line {0}; merge the two")]
    DuplicateSection(usize),
    /// The option is already in the section of this file, at this line.
    #[error("this option is already in this section, at line {0}; remove one of the two")]
    DuplicateOption(usize),
    /// `[name` without its bracket.
    #[error("begins like a section, but has no closing bracket; write {0}]")]
    MissingBracket(String),
    /// The file has too many errors.
    #[error("there are more errors in this file, which are not listed")]
    TooManyErrors,
    /// A percent sign is neither doubled nor the start of a reference.
    #[error("a % must be written %%, or begin a reference such as %(interface)s; here it is followed by '{0}'")]
    LonePercent(String),
    /// `%(name` without its end.
    #[error("'{0}' must be a reference such as %(interface)s, with )s at its end; write %% for a plain %")]
    MalformedReference(String),
    /// A reference names an option that is not set.
    #[error("%({0})s refers to an option that is neither in this section nor in [DEFAULT]")]
    UnknownReference(String),
    /// References are nested too deeply, or in a circle.
    #[error("its references are nested more than {MAX_REFERENCE_DEPTH} deep, or in a circle")]
    TooDeep,
    /// References make the value too long.
    #[error("its references add more than {MAX_EXPANSION_LEN} bytes to it")]
    TooLong,
}

/// A syntax error and its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IniError {
    /// The line.
    pub location: Location,
    /// The section, if the line is in one.
    pub section: Option<Arc<str>>,
    /// The text of the line; empty if it does not help.
    pub text: String,
    /// What is wrong.
    pub kind: IniErrorKind,
}

impl From<IniError> for Diagnostic {
    fn from(error: IniError) -> Diagnostic {
        let value = Some(error.text).filter(|text| !text.is_empty());
        let section = error.section.map(|section| section.to_string());
        Diagnostic { section, value, ..Diagnostic::error(error.kind.to_string()).at(Some(&error.location)) }
    }
}

/// One option of a section.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name in lower case.
    pub name: Arc<str>,
    /// The value as written, with its references.
    pub raw: String,
    /// The line that sets it. None for a default value of the program.
    pub location: Option<Location>,
    /// The number of the file that sets it.
    file: usize,
}

/// One section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The name, with all its blanks.
    pub name: Arc<str>,
    /// Its header in the last file that has it. None for a section of the program's default values.
    pub location: Option<Location>,
    /// Its header in each file that has it, in order.
    pub headers: Vec<Location>,
    entries: Vec<Entry>,
    index: HashMap<Arc<str>, usize>,
    file: usize,
}

impl Section {
    /// The section's own options, in order of appearance.
    pub fn own_entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The section's own option of this name in lower case.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.index.get(name).map(|index| &self.entries[*index])
    }
}

/// A value that a later file overrides.
#[derive(Clone, Debug, PartialEq)]
pub struct OverriddenValue {
    /// The section.
    pub section: Arc<str>,
    /// The option.
    pub option: Arc<str>,
    /// The old value, as written.
    pub raw: String,
    /// The line of the old value.
    pub old: Location,
    /// The line of the new value.
    pub new: Location,
}

/// An indented line that continues a value but looks like an option or a section of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct MisindentedLine {
    /// The section.
    pub section: Arc<str>,
    /// The option whose value it continues.
    pub option: Arc<str>,
    /// The line.
    pub location: Location,
    /// The text of the line, without blanks at its ends.
    pub text: String,
}

impl MisindentedLine {
    /// The option that the line would set without its indentation, in lower case.
    pub fn name(&self) -> Option<String> {
        let delimiter = self.text.find(['=', ':']).filter(|_| !self.text.starts_with('['))?;
        Some(trim(&self.text[..delimiter]).to_lowercase())
    }
}

/// The sections of all files read so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Ini {
    /// `[DEFAULT]`, then the others in order of appearance.
    sections: Vec<Section>,
    index: HashMap<Arc<str>, usize>,
    /// The number of files read so far.
    files: usize,
    overridden_values: Vec<OverriddenValue>,
    misindented_lines: Vec<MisindentedLine>,
}

impl Default for Ini {
    fn default() -> Ini {
        let mut ini = Ini {
            sections: Vec::new(),
            index: HashMap::new(),
            files: 0,
            overridden_values: Vec::new(),
            misindented_lines: Vec::new(),
        };
        ini.section_index(DEFAULT);
        ini
    }
}

impl Ini {
    /// Sets the program's default value of an option, which any file overrides.
    pub fn preset(&mut self, section: &str, name: &str, value: &str) {
        let section = self.section_index(section);
        let entry = self.entry_index(section, name);
        self.sections[section].entries[entry].raw.push_str(value);
    }

    /// Removes an option from a section. Returns whether the section had it.
    pub fn remove(&mut self, section: &str, name: &str) -> bool {
        let Some(&section) = self.index.get(section) else { return false };
        let Section { entries, index, .. } = &mut self.sections[section];
        let Some(removed) = index.remove(name) else { return false };
        entries.remove(removed);
        index.values_mut().filter(|index| **index > removed).for_each(|index| *index -= 1);
        true
    }

    /// Reads one more file. If there are errors, the options of the file may be incomplete.
    pub fn read(&mut self, file: &Path, bytes: &[u8]) -> Vec<IniError> {
        parser::parse(self, file, bytes)
    }

    /// `[DEFAULT]`.
    pub fn default_section(&self) -> &Section {
        &self.sections[0]
    }

    /// All sections but `[DEFAULT]`, in order of appearance.
    pub fn sections(&self) -> &[Section] {
        &self.sections[1..]
    }

    /// All sections, `[DEFAULT]` first.
    pub fn all_sections(&self) -> &[Section] {
        &self.sections
    }

    /// The values that later files override, in order of appearance.
    pub fn overridden_values(&self) -> &[OverriddenValue] {
        &self.overridden_values
    }

    /// The first indented lines that look like lines of their own, in order of appearance.
    pub fn misindented_lines(&self) -> &[MisindentedLine] {
        &self.misindented_lines
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.index.get(name).map(|index| &self.sections[*index])
    }

    /// The effective option of a section: its own, or that of `[DEFAULT]`.
    pub fn entry<'a>(&'a self, section: &'a Section, name: &str) -> Option<&'a Entry> {
        section.get(name).or_else(|| self.default_section().get(name))
    }

    /// All effective options of a section: its own, then those it inherits from `[DEFAULT]`.
    pub fn entries<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a Entry> {
        let inherited = self.default_section().own_entries().iter().filter(|entry| section.get(&entry.name).is_none());
        section.own_entries().iter().chain(inherited)
    }

    /// The value of an effective option. None if it is not set, or if its references are invalid.
    pub fn effective_value<'a>(&'a self, section: &'a Section, name: &str) -> Option<Cow<'a, str>> {
        self.value(section, self.entry(section, name)?).ok()
    }

    /// The value of an option in this section: references such as `%(name)s` are replaced, and `%%`
    /// by `%`.
    pub fn value<'a>(&self, section: &Section, entry: &'a Entry) -> Result<Cow<'a, str>, IniErrorKind> {
        if !entry.raw.contains('%') {
            return Ok(Cow::Borrowed(&entry.raw));
        }
        let mut value = String::new();
        self.interpolate(section, &entry.raw, 1, &mut value, &mut MAX_EXPANSION_LEN.clone())?;
        Ok(Cow::Owned(value))
    }

    /// Appends `raw` to `output` with its references replaced. Subtracts what they add from
    /// `budget`.
    fn interpolate(
        &self,
        section: &Section,
        raw: &str,
        depth: u32,
        output: &mut String,
        budget: &mut usize,
    ) -> Result<(), IniErrorKind> {
        if depth > MAX_REFERENCE_DEPTH {
            return Err(IniErrorKind::TooDeep);
        }
        let mut rest = raw;
        while let Some(percent) = rest.find('%') {
            output.push_str(&rest[..percent]);
            rest = &rest[percent + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                output.push('%');
                rest = after;
                continue;
            }
            let Some(reference) = rest.strip_prefix('(') else {
                return Err(IniErrorKind::LonePercent(rest.chars().take(20).collect()));
            };
            let split = reference.split_once(')').filter(|(name, _)| !name.is_empty());
            let Some((name, after)) = split.and_then(|(name, after)| Some((name, after.strip_prefix('s')?))) else {
                let shown: String = rest.chars().take(40).collect();
                return Err(IniErrorKind::MalformedReference(format!("%{shown}")));
            };
            rest = after;
            let name = name.to_lowercase();
            let Some(entry) = self.entry(section, &name) else { return Err(IniErrorKind::UnknownReference(name)) };
            *budget = budget.checked_sub(entry.raw.len() + 1).ok_or(IniErrorKind::TooLong)?;
            // As in Python, a value without references may be one level deeper than one with.
            if entry.raw.contains('%') {
                self.interpolate(section, &entry.raw, depth + 1, output, budget)?;
            } else {
                output.push_str(&entry.raw);
            }
        }
        output.push_str(rest);
        Ok(())
    }

    /// Returns the index of a section, which is created if needed.
    fn section_index(&mut self, name: &str) -> usize {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        let name: Arc<str> = name.into();
        let new = self.sections.len();
        self.index.insert(Arc::clone(&name), new);
        self.sections.push(Section {
            name,
            location: None,
            headers: Vec::new(),
            entries: Vec::new(),
            index: HashMap::new(),
            file: 0,
        });
        new
    }

    /// Returns the index of a section's own option, which is created if needed.
    fn entry_index(&mut self, section: usize, name: &str) -> usize {
        let Section { entries, index, .. } = &mut self.sections[section];
        match index.entry(name.into()) {
            Slot::Occupied(index) => *index.get(),
            Slot::Vacant(slot) => {
                let name = Arc::clone(slot.key());
                slot.insert(entries.len());
                entries.push(Entry { name, raw: String::new(), location: None, file: 0 });
                entries.len() - 1
            }
        }
    }
}

/// Parses the header `[name]` and ignores what follows the last bracket. The line must have no
/// blanks at its ends.
pub fn header_name(line: &str) -> Option<&str> {
    let inside = line.strip_prefix('[')?;
    let name = &inside[..inside.rfind(']')?];
    Some(name).filter(|name| !name.is_empty())
}

/// Whether a character is white space to Python: that of Unicode and four separators.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Removes white space at both ends, as Python's `strip` does.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}
