//! The configuration's text as sections of options, read exactly as Python 3.11's `configparser` reads it with its
//! default settings.
//!
//! Promises: any bytes give sections or faults, never a panic; time and memory grow with the length of the input, not
//! with its square; each option knows its file and line. Later files override earlier ones and sections of one name
//! merge; within one file a section or option may stand once only.
//! Leaves out: opening files (`config::files`) and what the options mean (`config::parse`).

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

/// How deep references may nest, as in Python.
const DEEPEST: u32 = 10;

/// How many bytes references may add to a value. Python knows no bound, so that a few lines can fill the memory.
const MOST_ADDED: usize = 64 * 1024;

/// What breaks the rules of the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A byte that is no UTF-8.
    #[error("the file must be UTF-8 text, but this line is not")]
    NotUtf8,
    /// Something before the first section.
    #[error("stands before the first [section]; a line like [daemon] must come first{0}")]
    NoSection(&'static str),
    /// Neither a section nor an option nor a continuation.
    #[error("is neither a [section] nor an option with = or : behind its name, nor indented as part of a value")]
    NoDelimiter,
    /// Nothing before the delimiter.
    #[error("has no name before the = or :")]
    NoName,
    /// A section twice in one file.
    #[error("this section already stands in the same file, at line {0}; put its options together")]
    SectionTwice(usize),
    /// An option twice in one section of one file.
    #[error("this option already stands in the same section, at line {0}; remove one of the two")]
    OptionTwice(usize),
    /// `[name` without its end.
    #[error("begins like a section, but has no closing bracket; write {0}]")]
    NoBracket(String),
    /// Too many faults.
    #[error("more faults follow, which are not listed")]
    More,
    /// A lone percent sign.
    #[error("a % must be written %%, or begin a reference such as %(interface)s; here it is followed by '{0}'")]
    Percent(String),
    /// `%(name` without the end.
    #[error("'{0}' must be a reference such as %(interface)s, with )s at its end; write %% for a plain %")]
    Reference(String),
    /// A reference to an option that is not there.
    #[error("%({0})s refers to an option that is neither in this section nor in [DEFAULT]")]
    Missing(String),
    /// References in a circle, or nearly.
    #[error("its references are nested more than {DEEPEST} deep, or in a circle")]
    TooDeep,
    /// References that fill the memory.
    #[error("its references add more than {MOST_ADDED} bytes to it")]
    TooLong,
}

/// A fault and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IniError {
    /// The line.
    pub place: Location,
    /// The section it is in, where it is in one.
    pub section: Option<Arc<str>>,
    /// The line as it stands, or the name of the option that stands twice.
    pub text: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl From<IniError> for Diagnostic {
    fn from(error: IniError) -> Diagnostic {
        let value = Some(error.text).filter(|text| !text.is_empty());
        let section = error.section.map(|section| section.to_string());
        Diagnostic { section, value, ..Diagnostic::error(error.fault.to_string()).at(Some(&error.place)) }
    }
}

/// One option of a section.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name in lower case.
    pub name: Arc<str>,
    /// The value as written, references not yet replaced.
    pub raw: String,
    /// Where it stands; nowhere for a default of the program's.
    pub place: Option<Location>,
    /// The number of the file that set it.
    file: usize,
}

/// One section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The name, blanks and all.
    pub name: Arc<str>,
    /// Where it stands, in the last file that has it; nowhere for one of the program's.
    pub place: Option<Location>,
    /// Its header in each file that has it, in order.
    pub places: Vec<Location>,
    entries: Vec<Entry>,
    index: HashMap<Arc<str>, usize>,
    file: usize,
}

impl Section {
    /// Its own options in order of appearance.
    pub fn own_entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its own option of this name, in lower case.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.index.get(name).map(|at| &self.entries[*at])
    }
}

/// A value that a later file replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Replaced {
    /// The section.
    pub section: Arc<str>,
    /// The option.
    pub option: Arc<str>,
    /// The old value, as written.
    pub raw: String,
    /// Where the old value is.
    pub old: Location,
    /// Where the new value is.
    pub new: Location,
}

/// A line that continues a value but looks like an option or a section.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// The section.
    pub section: Arc<str>,
    /// The option that it continues.
    pub option: Arc<str>,
    /// Where it is.
    pub place: Location,
    /// The line without blanks at its ends.
    pub text: String,
}

impl Continuation {
    /// The option that the line would set without its indentation, in lower case.
    pub fn name(&self) -> Option<String> {
        let at = self.text.find(['=', ':']).filter(|_| !self.text.starts_with('['))?;
        Some(trim(&self.text[..at]).to_lowercase())
    }
}

/// Upper bound on the [`Continuation`]s that are kept.
const MAX_CONTINUATIONS: usize = 1000;

/// The sections of all files read so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Ini {
    /// `[DEFAULT]`, then the others in order of appearance.
    sections: Vec<Section>,
    index: HashMap<Arc<str>, usize>,
    files: usize,
    replaced: Vec<Replaced>,
    continuations: Vec<Continuation>,
}

impl Default for Ini {
    fn default() -> Ini {
        let mut ini = Ini {
            sections: Vec::new(),
            index: HashMap::new(),
            files: 0,
            replaced: Vec::new(),
            continuations: Vec::new(),
        };
        ini.section_at(DEFAULT);
        ini
    }
}

impl Ini {
    /// Sets an option to a default of the program's, which any file overrides.
    pub fn preset(&mut self, section: &str, name: &str, value: &str) {
        let section = self.section_at(section);
        let entry = self.entry_at(section, name);
        self.sections[section].entries[entry].raw.push_str(value);
    }

    /// Takes an option out of a section; true where it was there.
    pub fn forget(&mut self, section: &str, name: &str) -> bool {
        let Some(&section) = self.index.get(section) else { return false };
        let Section { entries, index, .. } = &mut self.sections[section];
        let Some(gone) = index.remove(name) else { return false };
        entries.remove(gone);
        index.values_mut().filter(|at| **at > gone).for_each(|at| *at -= 1);
        true
    }

    /// Takes one more file in. After a fault the file's options may be there in part: the whole is then of no use.
    pub fn read(&mut self, file: &Path, bytes: &[u8]) -> Vec<IniError> {
        parser::read(self, file, bytes)
    }

    /// `[DEFAULT]`.
    pub fn default_section(&self) -> &Section {
        &self.sections[0]
    }

    /// All sections but `[DEFAULT]`, in order of appearance.
    pub fn sections(&self) -> &[Section] {
        &self.sections[1..]
    }

    /// The values that later files replaced, in order of appearance.
    pub fn replaced(&self) -> &[Replaced] {
        &self.replaced
    }

    /// The first lines that continue a value but look like more, in order of appearance.
    pub fn continuations(&self) -> &[Continuation] {
        &self.continuations
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.index.get(name).map(|at| &self.sections[*at])
    }

    /// The option as it counts in the section: its own or that of `[DEFAULT]`.
    pub fn entry<'a>(&'a self, section: &'a Section, name: &str) -> Option<&'a Entry> {
        section.get(name).or_else(|| self.default_section().get(name))
    }

    /// All options that count in the section: its own, then those of `[DEFAULT]` that it lacks.
    pub fn entries<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a Entry> {
        let inherited = self.default_section().own_entries().iter().filter(|entry| section.get(&entry.name).is_none());
        section.own_entries().iter().chain(inherited)
    }

    /// The value of an option of the section, with references such as `%(name)s` replaced and `%%` as `%`.
    pub fn value<'a>(&self, section: &Section, entry: &'a Entry) -> Result<Cow<'a, str>, Fault> {
        if !entry.raw.contains('%') {
            return Ok(Cow::Borrowed(&entry.raw));
        }
        let mut value = String::new();
        self.interpolate(section, &entry.raw, 1, &mut value, &mut MOST_ADDED.clone())?;
        Ok(Cow::Owned(value))
    }

    fn interpolate(&self, of: &Section, raw: &str, depth: u32, to: &mut String, left: &mut usize) -> Result<(), Fault> {
        if depth > DEEPEST {
            return Err(Fault::TooDeep);
        }
        let mut rest = raw;
        while let Some(at) = rest.find('%') {
            to.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('%') {
                to.push('%');
                rest = behind;
                continue;
            }
            let Some(reference) = rest.strip_prefix('(') else {
                return Err(Fault::Percent(rest.chars().take(20).collect()));
            };
            let split = reference.split_once(')').filter(|(name, _)| !name.is_empty());
            let Some((name, behind)) = split.and_then(|(name, behind)| Some((name, behind.strip_prefix('s')?))) else {
                return Err(Fault::Reference(format!("%{}", rest.chars().take(40).collect::<String>())));
            };
            rest = behind;
            let name = name.to_lowercase();
            let Some(entry) = self.entry(of, &name) else { return Err(Fault::Missing(name)) };
            *left = left.checked_sub(entry.raw.len() + 1).ok_or(Fault::TooLong)?;
            // As in Python, a value without references may stand one level deeper than one with.
            if entry.raw.contains('%') {
                self.interpolate(of, &entry.raw, depth + 1, to, left)?;
            } else {
                to.push_str(&entry.raw);
            }
        }
        to.push_str(rest);
        Ok(())
    }

    fn section_at(&mut self, name: &str) -> usize {
        if let Some(at) = self.index.get(name) {
            return *at;
        }
        let name: Arc<str> = name.into();
        self.index.insert(Arc::clone(&name), self.sections.len());
        let (places, entries) = (Vec::new(), Vec::new());
        self.sections.push(Section { name, place: None, places, entries, index: HashMap::new(), file: 0 });
        self.sections.len() - 1
    }

    fn entry_at(&mut self, section: usize, name: &str) -> usize {
        let Section { entries, index, .. } = &mut self.sections[section];
        match index.entry(name.into()) {
            Slot::Occupied(at) => *at.get(),
            Slot::Vacant(slot) => {
                let name = Arc::clone(slot.key());
                slot.insert(entries.len());
                entries.push(Entry { name, raw: String::new(), place: None, file: 0 });
                entries.len() - 1
            }
        }
    }
}

/// Reads `[name]`, ignoring what follows the last bracket. The line has no blanks at its ends.
pub fn header_name(line: &str) -> Option<&str> {
    let inside = line.strip_prefix('[')?;
    let name = &inside[..inside.rfind(']')?];
    Some(name).filter(|name| !name.is_empty())
}

/// White space as Python sees it: Unicode's, and four separators that Unicode does not count.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Without white space at both ends, as Python's `strip`.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}
