//! The operating system, one thing a module.

pub mod atomic_file;
pub mod background;
pub mod clock;
pub(crate) mod links;
pub(crate) mod log_once;
pub mod mutex;
pub mod netlink;
pub mod orphans;
pub mod pidfd;
pub(crate) mod poll;
pub mod process;
pub mod reaper;
pub mod sd_notify;
pub mod signals;
pub mod single_instance;
pub mod startup;
pub mod stop_token;
pub(crate) mod unix_socket;
