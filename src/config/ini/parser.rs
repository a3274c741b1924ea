//! One file of the configuration, line by line.
//!
//! ```text
//!   line, blanks cut        inside an option                      else, inside a section          before any section
//!   ----------------------  ------------------------------------  ------------------------------  ------------------
//!   # or ;                  skipped                               skipped                         skipped
//!   empty                   an empty line of the value            skipped                         skipped
//!   deeper than the option  a line of the value                   as below                        as below
//!   [name without ]         fault, a section begins               fault, a section begins         fault, as before
//!   [name]                  the option ends, a section begins     a section begins                a section begins
//!   name = value, : value   the option ends, another begins       an option begins                fault
//!   anything else           fault                                 fault                           fault
//! ```
//!
//! Promises and leaves out: as `config::ini`, whose part it is.

use std::path::Path;
use std::sync::Arc;

use crate::config::diagnostic::Location;

use super::{header_name, is_space, trim, Continuation, Fault, Ini, IniError, Replaced, MAX_CONTINUATIONS};

/// How many faults of one file are reported before the rest of it is left alone.
const MOST_FAULTS: usize = 100;

/// Reads the file into the sections, and gives its faults.
pub(super) fn read(ini: &mut Ini, file: &Path, bytes: &[u8]) -> Vec<IniError> {
    ini.files += 1;
    let mut reader = Parser { ini, file: file.into(), line: 0, section: None, option: None, faults: Vec::new() };
    match std::str::from_utf8(bytes) {
        Ok(text) => reader.read(text),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            reader.line = lines(&valid).count() + usize::from(valid.is_empty() || valid.ends_with(['\n', '\r']));
            reader.fault(Fault::NotUtf8, "");
        }
    }
    reader.faults
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
    faults: Vec<IniError>,
}

impl Parser<'_> {
    fn read(&mut self, text: &str) {
        let mut indent = 0;
        for line in lines(text) {
            self.line += 1;
            let value = trim(line);
            if value.starts_with(['#', ';']) {
                continue;
            }
            if value.is_empty() {
                self.continue_value("");
                continue;
            }
            let own_indent = line.chars().take_while(|c| is_space(*c)).count();
            if self.option.is_some() && own_indent > indent {
                self.continue_value(value);
                continue;
            }
            indent = own_indent;
            if let Some(name) = header_name(value) {
                self.begin_section(name);
            } else if let Some(name) = unfinished_header(value) {
                self.begin_unfinished_section(name, value);
            } else if self.section.is_none() {
                let mark = if value.starts_with('\u{feff}') { " (and not behind a byte order mark)" } else { "" };
                self.fault(Fault::NoSection(mark), value);
                break;
            } else if let Some(at) = value.find(['=', ':']) {
                self.begin_option(trim(&value[..at]), trim(&value[at + 1..]), value);
            } else {
                self.fault(Fault::NoDelimiter, value);
            }
            if self.faults.len() >= MOST_FAULTS {
                self.fault(Fault::More, "");
                break;
            }
        }
        self.end_option();
    }

    fn begin_section(&mut self, name: &str) {
        self.end_option();
        let at = self.ini.section_at(name);
        let here = self.place();
        let section = &mut self.ini.sections[at];
        let again = section.file == self.ini.files;
        let twice = section.place.as_ref().filter(|_| again && at != 0).map(|place| place.line);
        if !again {
            section.places.push(here.clone());
        }
        section.place = Some(here);
        section.file = self.ini.files;
        self.section = Some(at);
        if let Some(line) = twice {
            self.fault(Fault::SectionTwice(line), "");
        }
    }

    /// Continues as if the bracket were there, so that the options below do not count for the section
    /// above.
    fn begin_unfinished_section(&mut self, name: &str, line: &str) {
        self.end_option();
        self.section = None;
        self.fault(Fault::NoBracket(line.chars().take(100).collect()), line);
        self.begin_section(name);
    }

    fn begin_option(&mut self, name: &str, value: &str, line: &str) {
        self.end_option();
        let Some(section) = self.section else { return };
        if name.is_empty() {
            self.fault(Fault::NoName, line);
        }
        let at = self.ini.entry_at(section, &name.to_lowercase());
        let here = self.place();
        let entry = &mut self.ini.sections[section].entries[at];
        let again = entry.file == self.ini.files;
        let twice = entry.place.as_ref().filter(|_| again).map(|place| place.line);
        let old = entry.place.replace(here.clone()).filter(|_| !again);
        entry.file = self.ini.files;
        let raw = std::mem::replace(&mut entry.raw, value.to_string());
        // Python has no value to continue where the name is empty.
        self.option = Some(at).filter(|_| !name.is_empty());
        if let Some(old) = old {
            let option = Arc::clone(&entry.name);
            let section = Arc::clone(&self.ini.sections[section].name);
            self.ini.replaced.push(Replaced { section, option, raw, old, new: here });
        }
        if let Some(first) = twice {
            self.fault(Fault::OptionTwice(first), line);
        }
    }

    fn continue_value(&mut self, line: &str) {
        self.remember(line);
        if let (Some(section), Some(option)) = (self.section, self.option) {
            let raw = &mut self.ini.sections[section].entries[option].raw;
            raw.push('\n');
            raw.push_str(line);
        }
    }

    /// Remembers a continuation that was probably meant as a line of its own.
    fn remember(&mut self, line: &str) {
        let (Some(section), Some(option)) = (self.section, self.option) else { return };
        if self.ini.continuations.len() < MAX_CONTINUATIONS && reads_like_more(line) {
            let section = &self.ini.sections[section];
            let (section, option) = (Arc::clone(&section.name), Arc::clone(&section.entries[option].name));
            let text = line.chars().take(1000).collect();
            self.ini.continuations.push(Continuation { section, option, place: self.place(), text });
        }
    }

    /// Empty lines at a value's end are no part of it.
    fn end_option(&mut self) {
        if let (Some(section), Some(option)) = (self.section, self.option.take()) {
            let raw = &mut self.ini.sections[section].entries[option].raw;
            raw.truncate(raw.trim_end_matches(is_space).len());
        }
    }

    fn place(&self) -> Location {
        Location { file: Arc::clone(&self.file), line: self.line }
    }

    fn fault(&mut self, fault: Fault, text: &str) {
        let section = self.section.map(|at| Arc::clone(&self.ini.sections[at].name));
        // No more than is ever shown: a line may have any length.
        let text = text.chars().take(1000).collect();
        self.faults.push(IniError { place: self.place(), section, text, fault });
    }
}

/// Reads `[name` without its bracket, unless a delimiter makes the line an option.
fn unfinished_header(line: &str) -> Option<&str> {
    line.strip_prefix('[').map(trim).filter(|name| !name.is_empty() && !name.contains([']', '=', ':']))
}

/// Matches `name = value`, `name: value` and `[name]`.
fn reads_like_more(line: &str) -> bool {
    let name = line.find(['=', ':']).map_or("", |at| trim(&line[..at]));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name || header_name(line).is_some()
}

/// Lines that end in LF, CR LF or CR, without their ends.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = &rest[..end];
        let behind = &rest[end..];
        rest = behind.strip_prefix("\r\n").or_else(|| behind.strip_prefix(['\n', '\r'])).unwrap_or(behind);
        Some(line)
    })
}
