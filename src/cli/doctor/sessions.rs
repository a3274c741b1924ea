//! Row `sessions`: the protocols that speak to neighbors, and how soon a neighbor notices that this
//! host is gone.
//!
//! Guarantees: pure.

use std::collections::BTreeMap;

use crate::cli::doctor::answers::Session;
use crate::cli::doctor::report::{Finding, Row};

/// A longer hold time needs BFD: for so long a neighbor sends traffic to a host that is gone.
const MAX_HOLD_TIME: u32 = 30;

/// All findings about the sessions of one BIRD. `bfd` has the state of the BFD session with each
/// neighbor.
pub fn findings(socket: &str, sessions: &[Session], bfd: &BTreeMap<String, String>) -> Vec<Finding> {
    if sessions.is_empty() {
        let message = "BIRD has no protocol that speaks to neighbors, so it announces nothing";
        let fix = "a protocol bgp or ospf in bird.conf, then birdc configure";
        return vec![Finding::problem(Row::Sessions, socket, message).fix(fix)];
    }
    sessions.iter().flat_map(|session| of_session(session, bfd)).collect()
}

fn of_session(session: &Session, bfd: &BTreeMap<String, String>) -> Vec<Finding> {
    let (protocol, details) = (&session.protocol, &session.details);
    let name = &protocol.name;
    if !protocol.is_up() {
        let since = if protocol.since.is_empty() { String::new() } else { format!(" since {}", protocol.since) };
        let message = format!("{} is not up{since}: {}", protocol.kind, protocol.situation());
        let fix = match protocol.state.as_str() {
            "down" => format!("birdc enable {name}"),
            _ => format!("birdc show protocols all {name}"),
        };
        return vec![Finding::problem(Row::Sessions, name, message).fix(fix)];
    }
    let mut findings = Vec::new();
    let bfd_state = details.neighbor.as_ref().and_then(|neighbor| bfd.get(neighbor)).map(String::as_str);
    let has_bfd = bfd_state == Some("Up");
    if let Some(hold_time) = details.hold_time.filter(|time| *time > MAX_HOLD_TIME && !has_bfd) {
        let state = bfd_state.map_or_else(|| "without BFD".to_string(), |state| format!("and BFD is {state}"));
        let message =
            format!("the hold time is {hold_time} s {state}: so long a neighbor sends traffic to a host that is gone");
        let fix = format!("bfd on; in protocol {name} and on the router, with a protocol bfd; or hold time 9;");
        findings.push(Finding::warning(Row::Sessions, name, message).fix(fix));
    }
    if details.graceful_restart {
        let message = "this BIRD announces graceful restart: neighbors keep the routes of a BIRD that is gone";
        let fix = format!("graceful restart aware; in protocol {name}, then birdc configure");
        findings.push(Finding::warning(Row::Sessions, name, message).fix(fix));
    }
    if findings.is_empty() {
        let hold_time = details.hold_time.map_or_else(String::new, |time| format!(", hold time {time} s"));
        let bfd = if has_bfd { ", BFD up" } else { "" };
        findings.push(Finding::ok(Row::Sessions, name, format!("{} is up{hold_time}{bfd}", protocol.kind)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::protocol::exports::Protocol;
    use crate::cli::doctor::answers::Details;

    fn check(state: &str, info: &str, hold: Option<u32>, graceful_restart: bool, bfd: &str, expected: &[&str]) {
        let protocol = Protocol {
            name: "r4".into(),
            kind: "BGP".into(),
            state: state.into(),
            since: "08:00".into(),
            info: info.into(),
        };
        let neighbor = Some("192.0.2.2".to_string());
        let details = Details { neighbor, hold_time: hold, graceful_restart, channels: Vec::new() };
        let bfd: BTreeMap<_, _> =
            Some(("192.0.2.2".to_string(), bfd.to_string())).into_iter().filter(|_| !bfd.is_empty()).collect();
        let shown: Vec<String> =
            findings("/bird.ctl", &[Session { protocol, details }], &bfd).iter().map(Finding::to_string).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_fault_has_its_line() {
        let up = "Established";
        let hold = "so long a neighbor sends traffic to a host that is gone; fix: bfd on; in protocol r4 and on the router, with a protocol bfd; or hold time 9;";
        let graceful = "warning  sessions: r4: this BIRD announces graceful restart: neighbors keep the routes of a BIRD that is gone; fix: graceful restart aware; in protocol r4, then birdc configure";
        check("up", up, Some(30), false, "", &["ok       sessions: r4: BGP is up, hold time 30 s"]);
        check("up", up, Some(240), false, "Up", &["ok       sessions: r4: BGP is up, hold time 240 s, BFD up"]);
        check("up", up, None, false, "", &["ok       sessions: r4: BGP is up"]);
        check(
            "start",
            "Active",
            None,
            false,
            "",
            &["problem  sessions: r4: BGP is not up since 08:00: Active; fix: birdc show protocols all r4"],
        );
        check(
            "down",
            "",
            None,
            false,
            "",
            &["problem  sessions: r4: BGP is not up since 08:00: down; fix: birdc enable r4"],
        );
        check(
            "up",
            up,
            Some(31),
            false,
            "",
            &[&*format!("warning  sessions: r4: the hold time is 31 s without BFD: {hold}")],
        );
        check(
            "up",
            up,
            Some(240),
            true,
            "Down",
            &[&*format!("warning  sessions: r4: the hold time is 240 s and BFD is Down: {hold}"), graceful],
        );
        check("up", up, Some(9), true, "", &[graceful]);
        let none = findings("/bird.ctl", &[], &BTreeMap::new());
        assert_eq!(none[0].to_string(), "problem  sessions: /bird.ctl: BIRD has no protocol that speaks to neighbors, so it announces nothing; fix: a protocol bgp or ospf in bird.conf, then birdc configure");
    }
}
