//! A valid configuration: the settings, and the sections they were read from.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::Ini;
use crate::config::parse;
use crate::config::settings::Settings;

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The settings.
    pub settings: Settings,
    /// Problems that do not keep the daemon from starting.
    pub warnings: Vec<Diagnostic>,
    pub(super) ini: Ini,
}

impl Configuration {
    /// Returns the settings and the warnings, and frees the sections, which are a third of the
    /// whole.
    pub fn into_parts(self) -> (Settings, Vec<Diagnostic>) {
        (self.settings, self.warnings)
    }

    /// Returns what `--print-conf` prints: every effective option of each section, with its
    /// references replaced. Fails if an option has no value, even an unknown one.
    pub fn print(&self) -> Result<String, Vec<Diagnostic>> {
        let (mut text, mut problems) = (String::new(), Vec::new());
        for section in self.ini.all_sections() {
            let _ = writeln!(text, "[{}]", section.name);
            for entry in self.ini.entries(section) {
                match self.ini.value(section, entry) {
                    Ok(value) => _ = writeln!(text, "{} = {value}", entry.name),
                    Err(error) => {
                        let problem = Diagnostic::error(error.to_string());
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

    /// Adds the location and the value of this option to a problem.
    pub fn locate(&self, section: &str, option: &str, problem: Diagnostic) -> Diagnostic {
        match self.ini.section(section) {
            Some(section) => parse::locate(&self.ini, section, option, problem),
            None => problem,
        }
    }

    /// The effective value of an option. None if it is not set, or if its references are invalid.
    pub fn value(&self, section: &str, option: &str) -> Option<Cow<'_, str>> {
        self.ini.effective_value(self.ini.section(section)?, option)
    }
}
