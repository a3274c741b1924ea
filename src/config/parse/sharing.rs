//! What services share: no prefix may be another's, a dummy, or of a family that is off.
//!
//! Promises and leaves out: as `config::parse`, whose part it is.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{Ini, Section};
use crate::config::settings::{Daemon, Service};
use crate::prefix::Prefix;

use super::locate;

pub(super) fn check(ini: &Ini, daemon: &Daemon, services: &[(&Section, Arc<Service>)], problems: &mut Vec<Diagnostic>) {
    let mut users: HashMap<Prefix, Vec<usize>> = HashMap::new();
    for (at, (section, service)) in services.iter().enumerate() {
        for prefix in &service.prefixes {
            let of_prefix = users.entry(*prefix).or_default();
            let twice = of_prefix.last() == Some(&at);
            if !twice {
                of_prefix.push(at);
            }
            if let Some(rule) = broken(daemon, *prefix, twice) {
                problems.push(locate(ini, section, "ip_prefix", Diagnostic::error(rule)));
            }
        }
    }
    let mut shared: Vec<(&Prefix, &Vec<usize>)> = users.iter().filter(|(_, users)| users.len() > 1).collect();
    shared.sort_by_key(|(_, users)| users[0]);
    for (prefix, users) in shared {
        let (first_section, first) = &services[users[0]];
        if !daemon.shared_ip_prefixes {
            let (section, _) = &services[users[1]];
            let names: Vec<&str> = users.iter().take(5).map(|at| &*services[*at].1.name).collect();
            let more = if users.len() > names.len() { ", …" } else { "" };
            let rule = format!(
                "{prefix} is used by {} service checks ({}{more}); only with shared_ip_prefixes = true in [daemon] may they share it",
                users.len(),
                names.join(", "),
            );
            problems.push(locate(ini, section, "ip_prefix", Diagnostic::error(rule)));
        } else if let Some(at) = users.iter().find(|at| services[**at].1.custom_reconfigure != first.custom_reconfigure)
        {
            let rule = format!(
                "must be the same, with the same time-out, as in [{}], which shares {prefix} with this service",
                first_section.name
            );
            problems.push(locate(ini, services[*at].0, "custom_bird_reconfigure_cmd", Diagnostic::error(rule)));
        }
    }
}

/// The rule that this prefix breaks by itself.
fn broken(daemon: &Daemon, prefix: Prefix, twice: bool) -> Option<String> {
    let family = prefix.family();
    let option = family.to_string().to_lowercase();
    if twice {
        return Some(format!("{prefix} must not stand twice"));
    }
    match daemon.bird(family) {
        None => Some(format!("{prefix} is an {family} prefix, but [daemon] has {option} = false")),
        Some(bird) if bird.dummy == Some(prefix) => {
            Some(format!("{prefix} must not be the dummy prefix of [daemon]: that one is advertised whatever fails"))
        }
        Some(_) => None,
    }
}
