//! Row `checks`: the check commands, each run once where the operator asks for it.
//!
//! Guarantees: deciding is pure; a command runs as the daemon runs it, with the same time limit,
//! but as the user who runs the doctor.
//! Blocking: the caller, up to `check_timeout` of each service that is run.

use std::time::{Duration, Instant};

use crate::bird::protocol::outcome::one_line;
use crate::cli::doctor::report::{Finding, Row};
use crate::config::settings::Service;
use crate::sys::process::{Exit, Limits, Program, RunOutput};
use crate::sys::stop_token::StopToken;

/// How much of an output is kept.
const MAX_OUTPUT_LEN: usize = 200;

/// Where nothing is run.
pub fn not_run(services: usize) -> Finding {
    let message = "not run; --run-checks runs each check command once";
    Finding::ok(Row::Checks, format!("{services} services"), message)
}

/// Runs the check of a service once.
pub fn run(service: &Service, stop: &StopToken) -> Finding {
    let limits = Limits { deadline: Instant::now() + service.check_timeout, grace: None, max_output: MAX_OUTPUT_LEN };
    let RunOutput { exit, stdout, stderr, duration: took, .. } =
        Program::new(service.check_cmd.words()).run(&limits, stop);
    let output = if stderr.bytes.is_empty() { stdout.bytes } else { stderr.bytes };
    finding(service, &exit, took, &String::from_utf8_lossy(&output))
}

fn finding(service: &Service, exit: &Exit, duration: Duration, output: &str) -> Finding {
    let (duration, timeout) = (duration.as_secs_f64(), service.check_timeout.as_secs_f64());
    let times = format!("{duration:.3} s of check_timeout = {timeout}");
    let problem = |message: String| {
        let said = one_line(output);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Finding::problem(Row::Checks, &service.name, message + &said).fix(&service.check_cmd)
    };
    match exit {
        Exit::Exited(0) if duration > timeout / 2.0 => {
            let message = format!("passed in {times}, more than half of it");
            Finding::warning(Row::Checks, &service.name, message).fix("a longer check_timeout")
        }
        Exit::Exited(0) => Finding::ok(Row::Checks, &service.name, format!("passed in {times}")),
        Exit::Exited(code) => problem(format!("failed with exit code {code} in {times}")),
        Exit::Signaled(number) => problem(format!("was ended by signal {number} in {times}")),
        Exit::TimedOut | Exit::Stopped => problem(format!("did not end within check_timeout = {timeout}")),
        Exit::NotStarted(why) => problem(format!("cannot be started: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    #[test]
    fn each_result_has_its_line() {
        let service = Service { check_timeout: Duration::from_secs(2), ..sample::service("web", "10.0.0.1/32") };
        let check = |exit: Exit, millis: u64, output: &str, expected: &str| {
            let line = finding(&service, &exit, Duration::from_millis(millis), output).to_string();
            assert!(line.starts_with(expected), "{line}");
        };
        check(Exit::Exited(0), 250, "x", "ok       checks: web: passed in 0.250 s of check_timeout = 2");
        check(Exit::Exited(0), 1250, "", "warning  checks: web: passed in 1.250 s of check_timeout = 2, more than half of it; fix: a longer check_timeout");
        check(
            Exit::Exited(3),
            250,
            "no\nway\n",
            "problem  checks: web: failed with exit code 3 in 0.250 s of check_timeout = 2: no; way; fix: ",
        );
        check(
            Exit::Signaled(9),
            250,
            "",
            "problem  checks: web: was ended by signal 9 in 0.250 s of check_timeout = 2; fix: ",
        );
        check(Exit::TimedOut, 2001, "", "problem  checks: web: did not end within check_timeout = 2; fix: ");
        check(
            Exit::NotStarted(std::io::ErrorKind::NotFound.into()),
            0,
            "",
            "problem  checks: web: cannot be started: ",
        );
        assert_eq!(
            not_run(3).to_string(),
            "ok       checks: 3 services: not run; --run-checks runs each check command once"
        );
    }
}
