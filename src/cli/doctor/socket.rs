//! Row `socket`: BIRD's control socket, and whether the daemon's user may use it.
//!
//! Guarantees: pure.

use std::path::PathBuf;

use crate::bird::protocol::connection::ConnectionError;
use crate::bird::protocol::outcome::Version;
use crate::cli::doctor::permissions::{obstacle, Identity, Step};
use crate::cli::doctor::report::{Finding, Row};
use crate::config::options::of_family;
use crate::prefix::Family;

/// What is known of one control socket.
#[derive(Debug)]
pub struct SocketFacts<'a> {
    /// `bird_control_socket`, `bird6_control_socket`.
    pub path: PathBuf,
    /// BIRD's version; or why it does not answer.
    pub answer: Result<Option<Version>, &'a ConnectionError>,
    /// The user of the running daemon; the caller if none runs.
    pub daemon: &'a Identity,
    /// The directories above the socket, and the socket.
    pub steps: Vec<Step>,
    /// What hinders the running daemon, as it says itself.
    pub daemon_problems: Vec<&'a str>,
}

/// Where a family has no control socket.
pub fn unset(family: Family) -> Finding {
    let option = of_family(family).control_socket;
    let message = format!(
        "{option} is not set, so BIRD cannot be asked: neither the constant, the prefixes, the router id nor the sessions \
         are examined"
    );
    let fix = format!("{option} = /run/bird/bird.ctl in [daemon], then systemctl reload anycast-healthchecker");
    Finding::warning(Row::Socket, family, message).fix(fix)
}

/// What is to be said of one control socket.
pub fn finding(facts: &SocketFacts<'_>) -> Finding {
    let path = facts.path.display();
    let problem = |message: String| Finding::problem(Row::Socket, &path, message);
    let not_allowed = obstacle(facts.daemon, &facts.steps);
    match facts.answer {
        Ok(_) if not_allowed.is_some() => denied(facts, not_allowed),
        Ok(_) if facts.daemon_problems.iter().any(|problem| problem.contains("Access denied")) => {
            problem("it is restricted: BIRD answers questions there, and refuses to reconfigure".into())
                .fix(format!("{} without restrict in bird.conf, or another socket", facts.path.display()))
        }
        Ok(version) => {
            let version = version.map_or_else(String::new, |version| format!(" {version}"));
            let message = format!(
                "BIRD{version} answers, and {} may use it; BIRD cannot be asked whether the socket is restricted",
                facts.daemon
            );
            Finding::ok(Row::Socket, path, message)
        }
        Err(ConnectionError::PermissionDenied { .. }) => match not_allowed {
            None if !facts.steps.is_empty() => Finding::warning(
                Row::Socket,
                path,
                format!("{} may use it, but the user who runs the doctor may not: BIRD cannot be asked", facts.daemon),
            )
            .fix("run the doctor with sudo"),
            _ => denied(facts, not_allowed),
        },
        Err(ConnectionError::NotFound(_)) => {
            problem("no such socket: BIRD is down, or has its socket elsewhere".into())
                .fix("systemctl start bird, or name the socket in bird_control_socket")
        }
        Err(ConnectionError::Refused(_)) => {
            problem("nobody listens there: BIRD is down".into()).fix("systemctl start bird")
        }
        Err(why @ (ConnectionError::QueueFull(_) | ConnectionError::TimedOut(_))) => {
            problem(format!("BIRD is stopped or stuck: {why}")).fix("systemctl restart bird")
        }
        Err(why) => problem(why.to_string()).fix("systemctl status bird"),
    }
}

fn denied(facts: &SocketFacts<'_>, step: Option<&Step>) -> Finding {
    let user = &facts.daemon.name;
    let problem = |message: String| Finding::problem(Row::Socket, facts.path.display(), message);
    match step {
        Some(step) if step.is_open_for_group() => {
            let group = step.group();
            let message = format!("{} may not use {}: it is for group {group}", facts.daemon, step.path.display());
            let restart = "systemctl restart anycast-healthchecker";
            problem(message).fix(format!("usermod -a -G {group} {user}, then {restart}"))
        }
        Some(step) => {
            let message = format!("{} may not use {}, nor may its group", facts.daemon, step.path.display());
            let bit = if step.path == facts.path { "w" } else { "x" };
            problem(message).fix(format!("chmod g+{bit} {}", step.path.display()))
        }
        None => problem(format!("{} may not use it", facts.daemon)).fix("run the doctor with sudo"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::permissions::Right;

    fn check(answer: Result<Option<Version>, ConnectionError>, modes: [u32; 2], problems: &[&str], expected: &str) {
        let path = PathBuf::from("/run/bird/bird.ctl");
        let step = |path: &str, needs, mode| Step { path: path.into(), needs, uid: 1, gid: 4_000_000, mode };
        let daemon = Identity { name: "healthchecker".into(), uid: 7, gids: vec![7] };
        let facts = SocketFacts {
            answer: answer.as_ref().map(|version| *version),
            daemon: &daemon,
            steps: vec![
                step("/run/bird", Right::Search, modes[0]),
                step("/run/bird/bird.ctl", Right::Connect, modes[1]),
            ],
            daemon_problems: problems.to_vec(),
            path: path.clone(),
        };
        assert_eq!(finding(&facts).to_string(), expected);
    }

    #[test]
    fn each_state_of_a_socket_has_its_line() {
        let path = || PathBuf::from("/run/bird/bird.ctl");
        let version = || Ok(Some(Version { major: 2, minor: 0, patch: 12 }));
        let open = [0o755, 0o666];
        check(version(), open, &[], "ok       socket: /run/bird/bird.ctl: BIRD 2.0.12 answers, and user healthchecker may use it; BIRD cannot be asked whether the socket is restricted");
        check(version(), open, &["refused: Access denied"], "problem  socket: /run/bird/bird.ctl: it is restricted: BIRD answers questions there, and refuses to reconfigure; fix: /run/bird/bird.ctl without restrict in bird.conf, or another socket");
        let usermod = "usermod -a -G 4000000 healthchecker, then systemctl restart anycast-healthchecker";
        check(version(), [0o755, 0o660], &[], &format!("problem  socket: /run/bird/bird.ctl: user healthchecker may not use /run/bird/bird.ctl: it is for group 4000000; fix: {usermod}"));
        check(Ok(None), [0o750, 0o660], &[], &format!("problem  socket: /run/bird/bird.ctl: user healthchecker may not use /run/bird: it is for group 4000000; fix: {usermod}"));
        check(Ok(None), [0o755, 0o600], &[], "problem  socket: /run/bird/bird.ctl: user healthchecker may not use /run/bird/bird.ctl, nor may its group; fix: chmod g+w /run/bird/bird.ctl");
        check(Ok(None), [0o700, 0o600], &[], "problem  socket: /run/bird/bird.ctl: user healthchecker may not use /run/bird, nor may its group; fix: chmod g+x /run/bird");
        let denied = || Err(ConnectionError::PermissionDenied { path: path(), group: "bird".into() });
        check(denied(), open, &[], "warning  socket: /run/bird/bird.ctl: user healthchecker may use it, but the user who runs the doctor may not: BIRD cannot be asked; fix: run the doctor with sudo");
        check(denied(), [0o755, 0o660], &[], &format!("problem  socket: /run/bird/bird.ctl: user healthchecker may not use /run/bird/bird.ctl: it is for group 4000000; fix: {usermod}"));
        check(Err(ConnectionError::NotFound(path())), open, &[], "problem  socket: /run/bird/bird.ctl: no such socket: BIRD is down, or has its socket elsewhere; fix: systemctl start bird, or name the socket in bird_control_socket");
        check(
            Err(ConnectionError::Refused(path())),
            open,
            &[],
            "problem  socket: /run/bird/bird.ctl: nobody listens there: BIRD is down; fix: systemctl start bird",
        );
        check(Err(ConnectionError::TimedOut(std::time::Duration::from_secs(3))), open, &[], "problem  socket: /run/bird/bird.ctl: BIRD is stopped or stuck: no answer within 3 s; fix: systemctl restart bird");
        check(
            Err(ConnectionError::Closed),
            open,
            &[],
            &format!("problem  socket: /run/bird/bird.ctl: {}; fix: systemctl status bird", ConnectionError::Closed),
        );
        assert!(unset(Family::V6).to_string().starts_with("warning  socket: IPv6: bird6_control_socket is not set"));
    }
}
