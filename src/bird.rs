//! BIRD: the prefix lists, their files, and the transports that notify BIRD of them.

pub mod backoff;
pub mod boot;
pub mod custom;
pub mod dummy;
pub mod exports;
pub mod file_watch;
pub mod history;
pub mod list_file;
pub mod marker;
pub mod prefix_file;
pub mod prefix_list;
pub mod protocol;
pub mod reconfigurer;
pub mod revision;
pub mod routes;
pub mod startup;
pub mod state;
pub mod transport;
pub mod writer;
