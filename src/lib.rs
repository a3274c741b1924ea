//! Checks the services of an anycast host and keeps BIRD's list of advertised prefixes equal to the healthy ones.
//!
//! # The one idea
//!
//! Three levels, and one thread that keeps pulling them together, whatever made them differ:
//!
//! ```text
//!   wanted    what the services' states say
//!      | differs: replace the prefix file                              bird::routes, bird::table
//!   in file   what the prefix file lists; read back, never assumed
//!      | differs: tell BIRD to reconfigure, and read its answer        bird::channel, bird::reply
//!   in BIRD   what BIRD took, by its own word
//! ```
//!
//! A full disk, a stopped BIRD, a broken bird.conf and a file that somebody emptied are one case: not equal yet, so try
//! again, and say so once. A service without a verdict keeps what it had, so that a restart moves no route.
//!
//! # The way of the data
//!
//! ```text
//!   *.conf --> config::files --> config::ini --> config::reading --> Settings --> daemon
//!                                                                                   | starts, sleeps on signals, ends
//!     +-----------------------------------------------------------------------------+
//!     v
//!   check::worker, a thread a service: schedule -> assignment -> check_cmd -> health
//!     |  Event::Verdict, over one channel
//!     v
//!   bird::writer, one thread: routes -> history -> prefix file -> reconfigure -> reply
//!     |
//!     v  publish
//!   report::snapshot --> metrics file, status socket (--status, monitoring plugin), systemd's status line
//! ```
//!
//! Log records go from every thread through [`log::layer`] into bounded queues, and from there to [`log::sink`]'s targets.
//!
//! # Where to look
//!
//! | to change | see |
//! |---|---|
//! | an option: its name, default, help | [`config::options`], then [`config::reading`] and [`config::settings`] |
//! | what is judged of the machine | [`config::preflight`] |
//! | what `--check` warns of | [`config::lint`], and `config::preflight::lints` for the machine |
//! | when a check runs, and how many start at a time | [`check::schedule`]; [`check::gate`] |
//! | when a service is up or down | [`check::health`] |
//! | how a check runs, and what of it is logged; what of it is published and told | [`check::worker`], [`sys::process`]; `check::standing` |
//! | what is run when a state changes | [`check::hook`] |
//! | how the end of a process wakes its check | [`check::pidfile`], [`sys::process_end`] |
//! | which prefixes are listed; the file's text | [`bird::routes`]; [`bird::prefix_file`] |
//! | what the list found at the start counts for | `bird::table::first` |
//! | what BIRD's answers mean | [`bird::reply`], [`bird::birdc`] |
//! | when something is tried again | [`bird::pace`] |
//! | a metric; a field of the status | [`report::metrics`]; [`report::document`] |
//! | the bytes of a log line; a target of the log | [`log::format`]; [`log::sink`] |
//! | threads, signals, the stop; what a reload changes | [`daemon`]; [`config::change`] |
//!
//! Decisions are pure: outcomes and times come in, what to do goes out, and tables and properties test them. The rooms
//! that act are thin, and each thing of the operating system has one room in [`sys`]: programs are started in
//! [`sys::process`] alone, files replaced in [`sys::atomic_file`] alone.

pub mod bird;
pub mod check;
pub mod cli;
pub mod command;
pub mod daemon;
pub mod daemon_state;
pub mod drain;
pub mod draining;
pub mod prefix;
pub mod withdraw_all;
pub mod config {
    //! From files to settings that exist only valid.
    pub mod change;
    pub mod files;
    pub mod ini;
    pub mod lint;
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
    //! From events to lines, and where lines go.
    pub mod format;
    pub mod layer;
    pub mod queue;
    pub mod rotating_file;
    pub mod sink;
    pub mod stream;
    pub mod syslog;
}
pub mod report;
pub mod sys {
    //! The operating system, one thing a room.
    pub mod addresses;
    #[cfg(test)]
    pub(crate) mod alone;
    pub mod atomic_file;
    pub mod background;
    pub mod clock;
    pub mod inherited;
    pub mod instance;
    pub(crate) mod links;
    pub mod mutex;
    pub mod notify;
    pub mod orphans;
    pub(crate) mod poll;
    pub mod process;
    pub mod process_end;
    pub mod reaper;
    pub mod signals;
    pub mod stop_line;
}
