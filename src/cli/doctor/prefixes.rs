//! Rows `prefixes` and `router_id`: the way of each prefix from the interface to the neighbors.
//!
//! Guarantees: pure; the first step that is missing is the one that is reported. Each prefix is
//! looked up exactly, so that a shorter route that covers it makes no difference.

use crate::bird::protocol::exports::PrefixExports;
use crate::cli::doctor::answers::{PrefixInBird, Session};
use crate::cli::doctor::report::{Finding, Row};
use crate::config::settings::{OnDisabled, Service};
use crate::prefix::{Family, Prefix};
use crate::report::document::{ServiceStatus, State};

/// What is known of one prefix of one service.
#[derive(Debug)]
pub struct PrefixFacts<'a> {
    /// The service.
    pub service: &'a Service,
    /// One of its prefixes.
    pub prefix: Prefix,
    /// Whether its interface has it; none if that is not examined or not known.
    pub assigned: Option<bool>,
    /// Whether the prefix file lists it; none if that cannot be read.
    pub listed: Option<bool>,
    /// What the running daemon says; none if none answers.
    pub status: Option<&'a ServiceStatus>,
    /// What BIRD says; none if it cannot be asked.
    pub bird: Option<&'a PrefixInBird>,
    /// The protocols of that BIRD that speak to neighbors.
    pub sessions: &'a [Session],
    /// The constant of the family.
    pub variable: &'a str,
}

/// What is to be said of one prefix.
pub fn finding(facts: &PrefixFacts<'_>) -> Finding {
    let subject = format!("{} {}", facts.service.name, facts.prefix);
    let ok = |message: &str| Finding::ok(Row::Prefixes, &subject, message);
    if facts.service.disabled == Some(OnDisabled::Withdraw) && facts.listed != Some(true) {
        return ok("not in the list: the service is disabled");
    }
    if let Some(finding) = not_on_host(facts, &subject) {
        return finding;
    }
    if facts.listed == Some(false) {
        return not_listed(facts, &subject);
    }
    let Some(exports) = facts.bird.and_then(|bird| bird.exports.as_ref()) else {
        return ok("assigned and listed; BIRD was not asked whom it announces it to");
    };
    let Some(why) = reason(facts, exports) else {
        return ok(&format!("announced by {}", exports.announced_by.join(", ")));
    };
    if why.starts_with("asking failed") {
        return Finding::warning(Row::Prefixes, &subject, format!("not known to be announced: {why}"))
            .fix("birdc show protocols");
    }
    let fix = if why.starts_with("refused") {
        format!("export where net ~ {}; in that protocol, then birdc configure", facts.variable)
    } else {
        "birdc show protocols".to_string()
    };
    Finding::problem(Row::Prefixes, &subject, format!("announced to nobody: {why}")).fix(fix)
}

/// What BIRD answers about a protocol that has no channel of the prefix's family: version 2,
/// version 3.
const NO_CHANNEL: [&str; 2] = ["No valid tables", "aren't accepting exports"];

/// Why it is announced to nobody, by the protocols that could announce a prefix of its family; none
/// if it is announced.
fn reason(facts: &PrefixFacts<'_>, exports: &PrefixExports) -> Option<String> {
    let why = exports.why.as_ref()?;
    let has_channel =
        |session: &&Session| session.details.channels.iter().any(|channel| channel.is_of(facts.prefix.family()));
    let sessions: Vec<&Session> = facts.sessions.iter().filter(has_channel).collect();
    let up: Vec<&str> = sessions
        .iter()
        .filter(|session| session.protocol.is_up())
        .map(|session| session.protocol.name.as_str())
        .collect();
    if !sessions.is_empty() && up.is_empty() {
        let states = sessions.iter().map(|session| &session.protocol);
        let states: Vec<String> = states.map(|one| format!("{}: {}", one.name, one.situation())).collect();
        return Some(format!("no session is up ({})", states.join(", ")));
    }
    if !up.is_empty() && NO_CHANNEL.iter().any(|text| why.contains(text)) {
        return Some(format!("refused by the export filter of {}", up.join(", ")));
    }
    Some(why.clone())
}

/// What keeps it from BIRD's table.
fn not_on_host(facts: &PrefixFacts<'_>, subject: &str) -> Option<Finding> {
    let interface = &facts.service.interface;
    if facts.assigned == Some(false) {
        let message = format!("not assigned to {interface}, so the service counts as down");
        let fix = format!("ip address add {} dev {interface}", facts.prefix);
        return Some(Finding::problem(Row::Prefixes, subject, message).fix(fix));
    }
    if facts.bird.and_then(|bird| bird.in_table) != Some(false) {
        return None;
    }
    let channel = match facts.prefix.family() {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let message = "not in BIRD's table: no protocol of BIRD imports it from the interface";
    let fix = format!("protocol direct {{ {channel}; interface \"{interface}\"; }} in bird.conf, then birdc configure");
    Some(Finding::problem(Row::Prefixes, subject, message).fix(fix))
}

fn not_listed(facts: &PrefixFacts<'_>, subject: &str) -> Finding {
    let warning = |message: &str| Finding::warning(Row::Prefixes, subject, message);
    let Some(status) = facts.status else {
        return warning("not in the list, and no daemon answers that could say why")
            .fix("systemctl status anycast-healthchecker");
    };
    if status.drained.is_some() {
        return Finding::ok(Row::Prefixes, subject, "not in the list: the service is drained");
    }
    match status.state {
        State::Up => Finding::problem(Row::Prefixes, subject, "the service is up, but the list does not hold it")
            .fix("anycast-healthchecker --status"),
        State::Down => {
            let why = status.why.as_deref().unwrap_or("its check fails");
            warning(&format!("not in the list: the service is down: {why}")).fix(&facts.service.check_cmd)
        }
        State::Unknown => warning("not in the list: the service has no verdict yet"),
    }
}

/// What is to be said of BIRD's router id.
pub fn router_id<'a>(socket: &str, id: &str, services: impl Iterator<Item = &'a Service>) -> Finding {
    let mut services = services;
    let is_host = |prefix: &&Prefix| prefix.length() == 32 && prefix.address_text() == id;
    match services.find(|service| service.prefixes.iter().any(|prefix| is_host(&prefix))) {
        None => Finding::ok(Row::RouterId, socket, format!("{id} is no prefix of a service")),
        Some(service) => {
            let message =
                format!("{id} is the prefix of {}: hosts of one router id refuse each other's routes", service.name);
            let fix = "router id ADDRESS; in bird.conf with an address of this host alone, then systemctl restart bird";
            Finding::problem(Row::RouterId, socket, message).fix(fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::protocol::exports::Protocol;
    use crate::cli::doctor::answers::{Channel, Details};
    use crate::testing::sample;

    const PREFIX: &str = "10.0.0.1/32";

    /// A prefix that is assigned and listed.
    fn facts(service: &Service) -> PrefixFacts<'_> {
        PrefixFacts {
            service,
            prefix: PREFIX.parse().unwrap(),
            assigned: Some(true),
            listed: Some(true),
            status: None,
            bird: None,
            sessions: &[],
            variable: "ACAST",
        }
    }

    fn web() -> Service {
        sample::service("web", PREFIX)
    }

    fn in_bird(in_table: bool, announced_by: &[&str], why: Option<&str>) -> PrefixInBird {
        let announced_by = announced_by.iter().map(|name| name.to_string()).collect();
        let exports = PrefixExports { announced_by, up: 1, why: why.map(str::to_string) };
        PrefixInBird { in_table: Some(in_table), exports: Some(exports) }
    }

    #[test]
    fn the_first_missing_step_is_reported() {
        let check = |assigned: bool, bird: PrefixInBird, expected: &str| {
            let line =
                finding(&PrefixFacts { assigned: Some(assigned), bird: Some(&bird), ..facts(&web()) }).to_string();
            assert_eq!(line, expected);
        };
        check(true, in_bird(true, &["r4", "r5"], None), "ok       prefixes: web 10.0.0.1/32: announced by r4, r5");
        check(false, in_bird(false, &[], Some("x")), "problem  prefixes: web 10.0.0.1/32: not assigned to lo, so the service counts as down; fix: ip address add 10.0.0.1/32 dev lo");
        check(true, in_bird(false, &[], Some("x")), "problem  prefixes: web 10.0.0.1/32: not in BIRD's table: no protocol of BIRD imports it from the interface; fix: protocol direct { ipv4; interface \"lo\"; } in bird.conf, then birdc configure");
        check(true, in_bird(true, &[], Some("refused by the export filter of r4")), "problem  prefixes: web 10.0.0.1/32: announced to nobody: refused by the export filter of r4; fix: export where net ~ ACAST; in that protocol, then birdc configure");
        check(true, in_bird(true, &[], Some("no session is up (r4: Idle)")), "problem  prefixes: web 10.0.0.1/32: announced to nobody: no session is up (r4: Idle); fix: birdc show protocols");
        check(true, in_bird(true, &[], Some("asking failed: no")), "warning  prefixes: web 10.0.0.1/32: not known to be announced: asking failed: no; fix: birdc show protocols");
        assert_eq!(
            finding(&facts(&web())).to_string(),
            "ok       prefixes: web 10.0.0.1/32: assigned and listed; BIRD was not asked whom it announces it to"
        );
    }

    #[test]
    fn protocols_of_the_other_family_are_no_reason() {
        let check = |state: &str, channel: &str, why: &str, expected: &str| {
            let protocol = Protocol {
                name: "r4".into(),
                kind: "OSPF".into(),
                state: state.into(),
                since: String::new(),
                info: if state == "up" { "Running".into() } else { String::new() },
            };
            let channels = vec![Channel { name: channel.into(), output_filter: "f".into() }];
            let sessions = [Session { protocol, details: Details { channels, ..Details::default() } }];
            let bird = in_bird(true, &[], Some(why));
            let line = finding(&PrefixFacts { bird: Some(&bird), sessions: &sessions, ..facts(&web()) }).to_string();
            assert!(line.contains(expected), "{line}");
        };
        check(
            "up",
            "ipv4",
            "asking failed: No valid tables",
            "to nobody: refused by the export filter of r4; fix: export where",
        );
        check("start", "ipv4", "asking failed: No valid tables", "to nobody: no session is up (r4: start); fix: ");
        check(
            "up",
            "ipv6",
            "asking failed: No valid tables",
            "warning  prefixes: web 10.0.0.1/32: not known to be announced: ",
        );
        check(
            "up",
            "ipv4",
            "asking failed: syntax error",
            "warning  prefixes: web 10.0.0.1/32: not known to be announced: ",
        );
        check("up", "", "refused by the export filter of r4", "to nobody: refused by the export filter of r4; fix: ");
    }

    #[test]
    fn a_prefix_that_is_not_listed_has_its_reason() {
        let daemon = sample::daemon_state(vec![sample::service("web", PREFIX)]);
        let now = crate::sys::clock::Now::read();
        let document = crate::report::status::document(&daemon, now, &jiff::tz::TimeZone::UTC);
        let check = |state: State, expected: &str| {
            let status = ServiceStatus { state, why: Some("exit code 1".into()), ..document.services[0].clone() };
            let line =
                finding(&PrefixFacts { listed: Some(false), status: Some(&status), ..facts(&web()) }).to_string();
            assert!(line.starts_with(expected), "{line}");
        };
        check(State::Up, "problem  prefixes: web 10.0.0.1/32: the service is up, but the list does not hold it");
        check(
            State::Down,
            "warning  prefixes: web 10.0.0.1/32: not in the list: the service is down: exit code 1; fix: ",
        );
        check(State::Unknown, "warning  prefixes: web 10.0.0.1/32: not in the list: the service has no verdict yet");
        let line = finding(&PrefixFacts { listed: Some(false), ..facts(&web()) }).to_string();
        assert_eq!(line, "warning  prefixes: web 10.0.0.1/32: not in the list, and no daemon answers that could say why; fix: systemctl status anycast-healthchecker");
    }

    #[test]
    fn a_router_id_must_be_no_prefix() {
        let service = sample::service("web", PREFIX);
        let line = |id: &str| router_id("/bird.ctl", id, [&service].into_iter()).to_string();
        assert_eq!(line("10.0.0.2"), "ok       router_id: /bird.ctl: 10.0.0.2 is no prefix of a service");
        assert!(line("10.0.0.1").starts_with("problem  router_id: /bird.ctl: 10.0.0.1 is the prefix of web: "));
    }
}
