//! The entry point: passes the arguments to [`cli::run`] and turns its result into the exit code.

use std::process::ExitCode;

use anycast_healthchecker::cli::{self, ExitStatus};

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        ExitStatus::Success => ExitCode::SUCCESS,
        ExitStatus::Failed => ExitCode::FAILURE,
        ExitStatus::NotRunning => ExitCode::from(3),
    }
}
