//! Checks the services of an anycast host and keeps BIRD's list of advertised prefixes equal to the
//! healthy ones.
//!
//! # The idea
//!
//! There are three levels, and a fourth that is observed. One thread compares the three and makes
//! them equal, whatever made them differ:
//!
//! ```text
//!   wanted    the prefixes that the services' states ask for
//!      | differs: replace the prefix file                  bird::routes, bird::prefix_list
//!   in file   the prefixes that the file lists; read back, never assumed
//!      | differs: reconfigure BIRD and read its answer     bird::reconfigurer, bird::protocol
//!   in BIRD   the list that BIRD confirmed
//!      | observed and reported, never acted upon         bird::exports
//!   exported  the neighbors that BIRD announces each prefix to
//! ```
//!
//! The writer reads the services' states at each step. A thread that changes a state sends a hint,
//! so that the writer starts a step at once; a hint that is lost, doubled or late changes nothing.
//!
//! A full disk, a stopped BIRD, a broken bird.conf and an emptied prefix file are the same case:
//! the levels differ, so the writer tries again, and logs the problem once. A service without a
//! verdict keeps its prefixes as they were, so a restart moves no route.
//!
//! # From the check to BIRD
//!
//! ```text
//!   *.conf --> config::files --> config::ini --> config::parse --> Settings --> daemon
//!                                                                                 | starts threads
//!     +---------------------------------------------------------------------------+
//!     v
//!   check::worker, one thread per service: schedule -> addresses -> check_cmd -> health
//!     |                        check::drain_watcher, check::addresses, check::supervisor
//!     v                          v
//!   check::Check, one per service: settings, check::state, check::trigger
//!     |  read at each step; check::event::Event::Changed is the hint that starts one
//!     v
//!   bird::writer, one thread: routes -> history -> prefix file -> reconfigure -> answer
//!     |  publishes
//!     v
//!   bird::state
//!     |  read only, through daemon_state, which refers to all checks and to bird::state
//!     v
//!   report --> status socket (--status, monitoring plugin), metrics file, systemd's status line
//! ```
//!
//! Each piece of state lives with its owner, and reports only read it. A reload replaces the checks
//! ([`check::reload`]): a thread that still runs for an old check changes a state that is not read.
//!
//! Log records go from every thread through [`log::layer`] into bounded queues, and from there to
//! the targets ([`log::targets`]).
//!
//! # Where to look
//!
//! | to change | see |
//! |---|---|
//! | the command line: its options; what each does | `cli::arguments`; [`cli`] |
//! | the exit codes | `main.rs` |
//! | `--status`, `--drain`, `--withdraw-all` | `cli::status`, `cli::drain`, `cli::withdraw_all` |
//! | an option of the configuration: name, default, help | [`config::options`] |
//! | what an option's value may be; where it is stored | [`config::parse`]; [`config::settings`] |
//! | which files are read; the INI syntax | [`config::files`]; [`config::ini`] |
//! | checks of this machine before the start | [`config::preflight`] |
//! | warnings of `--check` | [`config::lint`] |
//! | when a check runs; how many start at a time | [`check::schedule`]; [`check::start_limiter`] |
//! | how a check runs, and its log lines | [`check::worker`], [`sys::process`] |
//! | when a service is up or down (`check_rise`, `check_fail`) | [`check::health`] |
//! | a service's state and its transitions | [`check::state`] |
//! | how a check thread is woken; when it counts as stuck | [`check::trigger`]; [`check::supervisor`] |
//! | whether a prefix is assigned to its interface | [`check::addresses`], [`sys::netlink`] |
//! | drain files: their text; how they are watched | [`drain_file`]; [`check::drain_watcher`] |
//! | `watch_pidfile` | [`check::watch_pidfile`], [`sys::pidfd`] |
//! | `state_change_cmd` | [`check::hook`], [`sys::background`] |
//! | messages to the bird-writer | [`check::event`] |
//! | which prefixes are listed | [`bird::routes`], [`bird::prefix_list`] |
//! | the prefix file: its text; how it is replaced | [`bird::prefix_file`]; [`bird::list_file`] |
//! | how changes to the prefix file are noticed | [`bird::file_watch`] |
//! | archived prefix files (`bird_keep_changes`) | [`bird::history`] |
//! | the list found at the start; the hold | [`bird::startup`], [`bird::boot`] |
//! | the dummy prefix | [`bird::dummy`] |
//! | when and how BIRD is reconfigured | [`bird::reconfigurer`], [`bird::transport`] |
//! | the order of the writer's steps | [`bird::writer`] |
//! | `custom_bird_reconfigure_cmd` | [`bird::custom`] |
//! | the meaning of BIRD's answers | [`bird::protocol::outcome`], [`bird::protocol::birdc`] |
//! | which revision of the list BIRD has confirmed | [`bird::revision`] |
//! | whom BIRD announces the prefixes to | [`bird::exports`], [`bird::protocol::exports`] |
//! | how soon a failed step is tried again | [`bird::backoff`] |
//! | a metric; the file for node_exporter | [`report::metrics`]; [`report::exporter`] |
//! | a field of the status; its value | [`report::document`]; [`report::status`] |
//! | the table of `--status` | [`report::table`], [`report::urgency`], [`report::view`] |
//! | the status socket: server; client | [`report::server`]; [`report::client`] |
//! | the monitoring plugin | [`report::nagios`]; its options: `src/bin/check_anycast_healthchecker.rs` |
//! | a log line's format; a target of the log | [`log::format`]; [`log::targets`] |
//! | systemd: readiness, watchdog, status line | [`sys::sd_notify`], [`daemon`] |
//! | the order in which threads start and stop | `daemon::start`, `daemon::shutdown` |
//! | the pidfile and the lock | `daemon::pidfile`, [`sys::single_instance`] |
//! | signals | [`sys::signals`], [`daemon`] |
//! | a reload: what it changes; what a check keeps | `daemon::reload`, [`config::diff`]; [`check::reload`] |
//!
//! Decisions are pure functions: results and times are arguments, actions are return values, and
//! tables and properties test them. Modules that act are thin. Each facility of the operating
//! system has one module in [`sys`]: only [`sys::process`] starts programs, and only
//! [`sys::atomic_file`] replaces files.
//!
//! # Layers
//!
//! A module uses only modules of lower layers. `tests/layers.rs` reads that from the source:
//!
//! ```text
//!   main > cli > daemon > report > daemon_state > bird > check > log > config > sys
//!        > prefix, command, drain_file
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
