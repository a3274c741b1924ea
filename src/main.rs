//! The door: arguments in, exit code out.

use std::process::ExitCode;

use anycast_healthchecker::cli::{self, Exit};

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Exit::Well => ExitCode::SUCCESS,
        Exit::Failed => ExitCode::FAILURE,
        Exit::NotRunning => ExitCode::from(3),
    }
}
