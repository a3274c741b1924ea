//! Checks the rules between services: a prefix must not be that of another service, a dummy, or of
//! a family that is off.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{Ini, Section};
use crate::config::options;
use crate::config::settings::{Daemon, Service};
use crate::prefix::Prefix;

use super::locate;

/// Adds an error for each rule that is broken.
pub(super) fn check(ini: &Ini, daemon: &Daemon, services: &[(&Section, Arc<Service>)], problems: &mut Vec<Diagnostic>) {
    let mut users: HashMap<Prefix, Vec<usize>> = HashMap::new();
    for (index, (section, service)) in services.iter().enumerate() {
        for prefix in &service.prefixes {
            let users = users.entry(*prefix).or_default();
            let is_repeated = users.last() == Some(&index);
            if !is_repeated {
                users.push(index);
            }
            if let Some(message) = prefix_error(daemon, *prefix, is_repeated) {
                problems.push(locate(ini, section, "ip_prefix", Diagnostic::error(message)));
            }
        }
    }
    let mut shared: Vec<(&Prefix, &Vec<usize>)> = users.iter().filter(|(_, users)| users.len() > 1).collect();
    shared.sort_by_key(|(_, users)| users[0]);
    for (prefix, users) in shared {
        let (first_section, first) = &services[users[0]];
        if !daemon.shared_ip_prefixes {
            let (section, _) = &services[users[1]];
            let names: Vec<&str> = users.iter().take(5).map(|index| &*services[*index].1.name).collect();
            let more = if users.len() > names.len() { ", …" } else { "" };
            let message = format!(
                "{prefix} is used by {} service checks ({}{more}); set shared_ip_prefixes = true in [daemon] to allow it",
                users.len(),
                names.join(", "),
            );
            problems.push(locate(ini, section, "ip_prefix", Diagnostic::error(message)));
        } else if let Some(index) =
            users.iter().find(|index| services[**index].1.custom_reconfigure != first.custom_reconfigure)
        {
            let message = format!(
                "must be the same, with the same time-out, as in [{}], which shares {prefix} with this service",
                first_section.name
            );
            problems.push(locate(ini, services[*index].0, "custom_bird_reconfigure_cmd", Diagnostic::error(message)));
        }
    }
}

/// The rule that a single prefix breaks.
fn prefix_error(daemon: &Daemon, prefix: Prefix, is_repeated: bool) -> Option<String> {
    let family = prefix.family();
    if is_repeated {
        return Some(format!("{prefix} is listed twice"));
    }
    match daemon.bird(family) {
        None => {
            let option = options::of_family(family).enabled;
            Some(format!("{prefix} is an {family} prefix, but [daemon] has {option} = false"))
        }
        Some(bird) if bird.dummy == Some(prefix) => {
            Some(format!("{prefix} must not be the dummy prefix of [daemon], which is always advertised"))
        }
        Some(_) => None,
    }
}
