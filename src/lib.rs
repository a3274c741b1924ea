//! Map.
pub mod cli;
pub mod command;
pub mod daemon;
pub mod drain;
pub mod draining;
pub mod event;
pub mod prefix;
pub mod withdraw_all;
pub mod bird {
    //! BIRD.
    pub mod birdc;
    pub mod boot;
    pub mod channel;
    pub mod client;
    pub mod custom;
    pub mod framing;
    pub mod history;
    pub mod pace;
    pub mod prefix_file;
    pub mod reply;
    pub mod routes;
    pub mod table;
    pub mod writer;
}
pub mod check {
    //! Checks.
    pub mod assignment;
    pub mod drains;
    pub mod health;
    pub mod schedule;
    pub mod threads;
    pub mod worker;
}
pub mod config {
    //! Configuration.
    pub mod files;
    pub mod ini;
    pub mod options;
    pub mod preflight;
    pub mod problem;
    pub mod reading;
    pub mod settings;
    pub mod spelling;
    pub mod unknown;
    pub mod variable;
}
pub mod log {
    //! Logging.
    pub mod format;
    pub mod layer;
    pub mod queue;
    pub mod rotating_file;
    pub mod sink;
    pub mod stream;
    pub mod syslog;
}
pub mod report {
    //! Reports.
    pub mod client;
    pub mod document;
    pub mod exporter;
    pub mod metrics;
    pub mod nagios;
    #[cfg(test)]
    pub(crate) mod sample;
    pub mod server;
    pub mod snapshot;
    pub mod status;
    pub mod table;
}
pub mod sys {
    //! System.
    pub mod addresses;
    #[cfg(test)]
    pub(crate) mod alone;
    pub mod atomic_file;
    pub mod file_watch;
    pub mod inherited;
    pub mod instance;
    pub mod notify;
    pub(crate) mod poll;
    pub mod process;
    pub mod signals;
    pub mod stop_line;
}
