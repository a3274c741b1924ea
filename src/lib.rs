//! Checks the services of an anycast host and keeps BIRD's list of advertised prefixes equal to the healthy ones.
//!
//! # The one idea
//!
//! Three levels, and one thread that keeps pulling them together, whatever made them differ:
//!
//! ```text
//!   wanted    what the services' states say
//!      | differs: replace the prefix file                              bird::routes, bird::prefix_list
//!   in file   what the prefix file lists; read back, never assumed
//!      | differs: tell BIRD to reconfigure, and read its answer        bird::reconfigurer, bird::custom, bird::protocol::outcome
//!   in BIRD   what BIRD took, by its own word
//! ```
//!
//! The states are a level too: the writer reads them at each step. Whoever changes one sends a hint, so that the writer
//! looks at once; a hint that is lost, doubled or late changes nothing.
//!
//! A full disk, a stopped BIRD, a broken bird.conf and a file that somebody emptied are one case: not equal yet, so try
//! again, and say so once. A service without a verdict keeps what it had, so that a restart moves no route.
//!
//! # The way of the data
//!
//! ```text
//!   *.conf --> config::files --> config::ini --> config::parse --> Settings --> daemon
//!                                                                                   | starts, sleeps on signals, ends
//!     +-----------------------------------------------------------------------------+
//!     v
//!   check::worker, a thread a service: schedule -> assignment -> check_cmd -> health
//!     |                        check::drain_watcher, check::addresses, check::supervisor
//!     v                          v
//!   check::Check, one a service: its settings, check::state, check::trigger
//!     |  read at each step; check::event::Event::Changed is the hint that a step is worth while
//!     v
//!   bird::writer, one thread: routes -> history -> prefix file -> reconfigure -> reply
//!     |
//!     v
//!   bird::state
//!
//!   daemon_state, which knows all checks and bird::state
//!     |  read only
//!     v
//!   report --> metrics file, status socket (--status, monitoring plugin), systemd's status line
//! ```
//!
//! State lives with its owner. A reload makes new checks of the old ones ([`check::reload`]): what still runs for an old
//! one can only change a state that nobody reads.
//!
//! Log records go from every thread through [`log::layer`] into bounded queues, and from there to [`log::targets`]'s targets.
//!
//! # Where to look
//!
//! | to change | see |
//! |---|---|
//! | an option: its name, default, help | [`config::options`], then [`config::parse`] and [`config::settings`] |
//! | what is judged of the machine | [`config::preflight`] |
//! | what `--check` warns of | [`config::lint`]; `config::lint::machine` for the machine |
//! | when a check runs, and how many start at a time | [`check::schedule`]; [`check::start_limiter`] |
//! | when a service is up or down | [`check::health`] |
//! | how a check runs, and what of it is logged | [`check::worker`], [`sys::process`] |
//! | what is known of a service, and what changes it | [`check::state`] |
//! | how a check thread is reached; when it counts as stuck | [`check::trigger`]; [`check::supervisor`] |
//! | what a reload keeps of a check | [`check::reload`] |
//! | what the bird-writer is told | [`check::event`] |
//! | what is run when a state changes | [`check::hook`], [`sys::background`] |
//! | how the end of a process wakes its check | [`check::watch_pidfile`], [`sys::pidfd`] |
//! | which prefixes are listed; the file's text | [`bird::routes`], [`bird::prefix_list`]; [`bird::prefix_file`] |
//! | where the file is, and how it is replaced | [`bird::list_file`] |
//! | what the list found at the start counts for; the hold | [`bird::startup`] |
//! | which revision BIRD has confirmed, and to whom | [`bird::revision`] |
//! | how and when BIRD is told | [`bird::transport`], [`bird::reconfigurer`]; the order of all of them: [`bird::writer`] |
//! | a service's own reconfigure command | [`bird::custom`] |
//! | what BIRD's answers mean | [`bird::protocol::outcome`], [`bird::protocol::birdc`] |
//! | when something is tried again | [`bird::backoff`] |
//! | what reports read | [`daemon_state`], [`check::state`], [`bird::state`] |
//! | a metric; a field of the status | [`report::metrics`]; [`report::document`] |
//! | the bytes of a log line; a target of the log | [`log::format`]; [`log::targets`] |
//! | threads, signals, the stop; what a reload changes | [`daemon`]; [`config::diff`] |
//!
//! Decisions are pure: outcomes and times come in, what to do goes out, and tables and properties test them. The modules
//! that act are thin, and each thing of the operating system has one module in [`sys`]: programs are started in
//! [`sys::process`] alone, files replaced in [`sys::atomic_file`] alone.
//!
//! A module uses only what stands below it, which `tests/layers.rs` reads from the source:
//!
//! ```text
//!   main > cli > draining, withdraw_all > daemon > report > daemon_state > bird > check > log > config > sys
//!        > prefix, command, drain
//! ```

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation is for those who work on the program: it shows all items"
)]

pub(crate) mod bird;
pub(crate) mod check;
pub mod cli;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod daemon_state;
pub(crate) mod drain_file;
#[doc(hidden)]
pub mod internals;
pub(crate) mod log;
pub(crate) mod prefix;
pub(crate) mod report;
pub(crate) mod sys;
#[cfg(test)]
pub(crate) mod testing;
