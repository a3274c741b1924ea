//! To be written.
use crate::prefix::Prefix;

/// Which addresses are assigned.
#[derive(Debug, Default)]
pub struct Assignment;

impl Assignment {
    /// Whether exactly this prefix is assigned to the interface.
    pub fn assigned(&self, _interface: &str, _prefix: &Prefix) -> bool {
        true
    }
}
