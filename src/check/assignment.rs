//! To be written.
use crate::prefix::Prefix;
use crate::sys::stop_line::StopLine;
use std::sync::Arc;

/// Which addresses are assigned.
#[derive(Debug, Default)]
pub struct Assignment;

impl Assignment {
    /// x
    pub fn start(_stop: StopLine) -> std::io::Result<Arc<Assignment>> {
        Ok(Arc::new(Assignment))
    }
    /// Whether exactly this prefix is assigned to the interface.
    pub fn assigned(&self, _interface: &str, _prefix: &Prefix) -> bool {
        true
    }
}
