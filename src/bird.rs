//! Everything about BIRD: the lists, their files, and telling BIRD of them.

pub mod backoff;
pub mod birdc;
pub mod boot;
pub mod control;
pub mod conversation;
pub mod custom;
pub mod dummy;
pub mod file_watch;
pub mod framing;
pub mod history;
pub mod list_file;
pub mod marker;
pub mod prefix_file;
pub mod prefix_list;
pub mod question;
#[cfg(test)]
mod real_bird;
pub mod reconfigurer;
pub mod reply;
pub mod revision;
pub mod routes;
pub mod startup;
pub mod state;
pub mod transport;
pub mod writer;
