//! Integration tests: the daemon with its services, a real BIRD and a BGP peer. They check which
//! routes the peer has.
//!
//! Each test has its own [`lab::Lab`], so that all can run in parallel. `DAEMON=/path/to/another`
//! tests another daemon with the same command line, `BIRD_DIR=/path` uses another BIRD 2 or 3.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests start programs and damage files, and a failing step fails the test"
)]

#[cfg(target_arch = "x86_64")]
mod faults;
mod lab;

mod bird;
mod checks;
mod doctor;
mod drains;
mod exports;
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
