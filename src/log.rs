//! From events to lines, and where lines go.

pub mod format;
pub mod layer;
pub mod queue;
pub mod rotating_file;
pub mod stream;
pub mod syslog;
pub mod targets;
