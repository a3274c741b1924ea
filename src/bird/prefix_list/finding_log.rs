//! Logs the findings of each step once, even if the step is retried.

use std::collections::HashSet;
use std::path::Path;

use tracing::{info, warn};

use crate::bird::routes::{Finding, Phase};
use crate::config::settings::LogLevel;

/// The findings that were logged by a step that is retried.
#[derive(Debug, Default)]
pub struct FindingLog {
    logged: HashSet<String>,
}

impl FindingLog {
    /// Logs the findings that the previous attempt of this step did not log. `conf` is the prefix
    /// file.
    pub fn log(&mut self, findings: &[Finding<'_>], phase: Phase, conf: &Path) {
        let messages: Vec<String> = findings.iter().map(|finding| finding.sentence(phase, conf)).collect();
        for (finding, message) in findings.iter().zip(&messages).filter(|(_, text)| !self.logged.contains(*text)) {
            match finding.level() {
                LogLevel::Warning => warn!("{message}"),
                _ => info!("{message}"),
            }
        }
        self.logged = messages.into_iter().collect();
    }

    /// Forgets the findings, because the step is done.
    pub fn clear(&mut self) {
        self.logged.clear();
    }
}
