//! The log: from `tracing` events to lines in files, on stdout and on a syslog server.
//!
//! | module | is for |
//! |---|---|
//! | [`mod@format`] | the bytes of a line: text, JSON, journald |
//! | [`layer`] | turning `tracing` events into lines, and offering them to the queues |
//! | [`queue`] | a bounded queue in front of each target, its thread, and the count of lost lines |
//! | [`targets`] | starting, replacing and stopping the targets that are configured |
//! | [`rotating_file`] | a log file that is rotated by size |
//! | [`stream`] | writing whole lines to a descriptor |
//! | [`syslog`] | sending lines to `log_server` over UDP |

pub mod format;
pub mod layer;
pub mod queue;
pub mod rotating_file;
pub mod stream;
pub mod syslog;
pub mod targets;
