//! The whole configuration as it was read: what it says, and the text behind that.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::Ini;
use crate::config::parse;
use crate::config::settings::Settings;

/// A configuration that was read and found good.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What it says.
    pub settings: Settings,
    /// What can be lived with, but should be told.
    pub warnings: Vec<Diagnostic>,
    pub(super) ini: Ini,
}

impl Configuration {
    /// What a daemon goes on with; the files' text, a third of the whole, is let go.
    pub fn into_parts(self) -> (Settings, Vec<Diagnostic>) {
        (self.settings, self.warnings)
    }

    /// What `--print-conf` prints: every option that counts in each section, its value as it is used. Also options that
    /// nobody knows must have a value for that.
    pub fn print(&self) -> Result<String, Vec<Diagnostic>> {
        let (mut text, mut problems) = (String::new(), Vec::new());
        for section in std::iter::once(self.ini.default_section()).chain(self.ini.sections()) {
            let _ = writeln!(text, "[{}]", section.name);
            for entry in self.ini.entries(section) {
                match self.ini.value(section, entry) {
                    Ok(value) => _ = writeln!(text, "{} = {value}", entry.name),
                    Err(fault) => {
                        let problem = Diagnostic::error(fault.to_string());
                        problems.push(parse::locate(&self.ini, section, &entry.name, problem));
                    }
                }
            }
            text.push('\n');
        }
        if problems.is_empty() {
            Ok(text)
        } else {
            Err(problems)
        }
    }

    /// A problem that the machine gives this option, with the option's place and value.
    pub fn locate(&self, section: &str, option: &str, problem: Diagnostic) -> Diagnostic {
        match self.ini.section(section) {
            Some(section) => parse::locate(&self.ini, section, option, problem),
            None => problem,
        }
    }

    /// The option's value as it is used, where it has one.
    pub fn value(&self, section: &str, option: &str) -> Option<Cow<'_, str>> {
        let section = self.ini.section(section)?;
        self.ini.value(section, self.ini.entry(section, option)?).ok()
    }
}
