//! The daemon between its services and a real BIRD with a BGP peer, seen from outside: which routes the router has.
//!
//! Each test has a [`lab::Lab`] of its own, so that all can run at once. `DAEMON=/path/to/another` runs the same
//! scenarios on another daemon with the same command line, `BIRD_DIR=/path` with another BIRD 2 or 3.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a laboratory starts programs, damages files, and gives up loudly"
)]

#[cfg(target_arch = "x86_64")]
mod faults;
mod lab;

mod bird;
mod checks;
mod drains;
mod known_failures;
mod leaving;
mod levels;
mod lists;
mod model;
mod orphans;
mod process;
mod reload;
mod routes;
mod security;
mod socket;
mod status;
mod swap;
mod watch;
