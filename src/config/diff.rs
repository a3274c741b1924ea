//! What a reload changes: compares the running settings with new ones.
//!
//! Guarantees: pure. Services are identified by name alone. The resulting settings are valid;
//! options that cannot change while the daemon runs keep their value and are listed.
//!
//! Out of scope: making the changes (`daemon`). New values of `splay_startup` and
//! `purge_ip_prefixes`, which matter at start only, are taken over without a message.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::settings::{Bird, Service, Settings};
use crate::prefix::{Family, Prefix};

/// The changes that a reload makes.
#[derive(Clone, Debug, PartialEq)]
pub struct ReloadPlan {
    /// The settings to run with. An unchanged service is the `Arc` of the running settings.
    pub settings: Settings,
    /// The change of each service in `settings`, in the same order.
    pub service_changes: Vec<ServiceChange>,
    /// Services that are no longer configured.
    pub gone: Vec<Arc<Service>>,
    /// Options of `[daemon]` whose new value takes effect at the next start.
    pub kept: Vec<&'static str>,
}

/// How a reload changes a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// All settings are equal.
    Unchanged,
    /// The check restarts and keeps its state.
    Changed {
        /// Prefixes that the service did not have before.
        gained: Vec<Prefix>,
    },
    /// The check starts in state unknown.
    New,
}

/// Why a valid configuration cannot replace the running one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// A service has a prefix of a family that is off, so there is no list for it.
    #[error("[{service}] {prefix} cannot be advertised: {family} is off, and a reload cannot turn it on; restart the daemon")]
    FamilyIsOff {
        /// The family, which is off in the running daemon.
        family: Family,
        /// The first service with a prefix of the family.
        service: String,
        /// That prefix.
        prefix: Prefix,
    },
}

/// Compares the running settings with new ones.
pub fn diff(running: &Settings, new: Settings) -> Result<ReloadPlan, DiffError> {
    let daemon = &running.daemon;
    let mut settings = new;
    let mut kept = Vec::new();
    for (option, value, old) in [
        ("pidfile", &mut settings.daemon.pidfile, &daemon.pidfile),
        ("status_socket", &mut settings.daemon.status_socket, &daemon.status_socket),
    ] {
        if value != old {
            kept.push(option);
            value.clone_from(old);
        }
    }
    keep_family(daemon.ipv4.as_ref(), &mut settings.daemon.ipv4, ["ipv4", "bird_conf"], &mut kept);
    keep_family(daemon.ipv6.as_ref(), &mut settings.daemon.ipv6, ["ipv6", "bird6_conf"], &mut kept);

    let mut before: HashMap<&str, &Arc<Service>> =
        running.services.iter().map(|service| (service.name.as_str(), service)).collect();
    let mut service_changes = Vec::with_capacity(settings.services.len());
    for service in &mut settings.services {
        if let Some(prefix) = service.prefixes.iter().find(|prefix| settings.daemon.bird(prefix.family()).is_none()) {
            let (family, service) = (prefix.family(), service.name.clone());
            return Err(DiffError::FamilyIsOff { family, service, prefix: *prefix });
        }
        service_changes.push(match before.remove(service.name.as_str()) {
            None => ServiceChange::New,
            Some(old) if old == service => {
                *service = old.clone();
                ServiceChange::Unchanged
            }
            Some(old) => ServiceChange::Changed { gained: gained(old, service) },
        });
    }
    let gone = running.services.iter().filter(|service| before.contains_key(service.name.as_str())).cloned().collect();
    Ok(ReloadPlan { settings, service_changes, gone, kept })
}

/// Keeps whether a family is on, and its prefix file: BIRD includes the old file until its own
/// configuration changes.
fn keep_family(
    running: Option<&Bird>,
    new: &mut Option<Bird>,
    [on_option, conf_option]: [&'static str; 2],
    kept: &mut Vec<&'static str>,
) {
    match (running, &mut *new) {
        (Some(running), Some(new)) if running.conf != new.conf => {
            kept.push(conf_option);
            new.conf.clone_from(&running.conf);
        }
        (Some(_), Some(_)) | (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            kept.push(on_option);
            *new = running.cloned();
        }
    }
}

fn gained(old: &Service, new: &Service) -> Vec<Prefix> {
    let had: HashSet<&Prefix> = old.prefixes.iter().collect();
    new.prefixes.iter().filter(|prefix| !had.contains(prefix)).copied().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ini::Ini;
    use crate::config::options::{self, Scope};
    use crate::config::parse;

    pub(crate) fn settings(daemon: &str, services: &str) -> Settings {
        let mut ini = Ini::default();
        for (section, scope) in [("DEFAULT", Scope::Service), ("daemon", Scope::Daemon)] {
            options::defaults(scope).for_each(|(name, value)| ini.preset(section, name, value));
        }
        let text = format!("[daemon]\n{daemon}\n{services}");
        assert_eq!(ini.read(Path::new("a.conf"), text.as_bytes()), []);
        let (settings, problems) = parse::settings(&ini);
        settings.unwrap_or_else(|| panic!("{problems:?}"))
    }

    fn service(name: &str, prefixes: &str, more: &str) -> String {
        format!("[{name}]\ncheck_cmd = true\nip_prefix = {prefixes}\n{more}\n")
    }

    /// Compares the changes: `=` unchanged, `*` changed with the prefixes it gained, `+` new, `-`
    /// gone.
    fn check(before: &[String], after: &[String], expected: &str) {
        let running = settings("", &before.concat());
        let plan = diff(&running, settings("", &after.concat())).unwrap();
        let mut changes: Vec<String> = std::iter::zip(&plan.settings.services, &plan.service_changes)
            .map(|(service, change)| match change {
                ServiceChange::Unchanged => {
                    assert!(running.services.iter().any(|old| Arc::ptr_eq(old, service)));
                    format!("={}", service.name)
                }
                ServiceChange::Changed { gained } => {
                    let gained: String = gained.iter().map(|prefix| format!("({prefix})")).collect();
                    format!("*{}{gained}", service.name)
                }
                ServiceChange::New => format!("+{}", service.name),
            })
            .collect();
        changes.extend(plan.gone.iter().map(|service| format!("-{}", service.name)));
        assert_eq!(changes.join(" "), expected, "{before:?} {after:?}");
        assert_eq!(plan.kept, [""; 0]);
    }

    #[test]
    fn services_are_compared_by_name() {
        let a = || service("a", "10.0.0.1", "");
        let b = || service("b", "10.0.0.2", "");
        check(&[a(), b()], &[a(), b()], "=a =b");
        check(&[a(), b()], &[b(), a()], "=b =a");
        check(&[a()], &[a(), b()], "=a +b");
        check(&[a(), b()], &[b()], "=b -a");
        check(&[a()], &[service("a", "10.0.0.1", "check_rise = 5")], "*a");
        check(&[a()], &[service("a", "10.0.0.3, 10.0.0.1", "")], "*a(10.0.0.3/32)");
        check(&[a(), b()], &[service("b", "10.0.0.1", "")], "*b(10.0.0.1/32) -a");
        check(&[a()], &[service("c", "10.0.0.1", "")], "+c -a");
        check(&[], &[], "");
    }

    /// Compares the options that keep their value when `[daemon]` changes.
    fn check_daemon(before: &str, after: &str, kept: &[&str]) {
        let (running, new) = (settings(before, ""), settings(after, ""));
        let plan = diff(&running, new.clone()).unwrap();
        assert_eq!(plan.kept, kept, "{before} -> {after}");
        assert_eq!(plan.settings == new, kept.is_empty(), "{before} -> {after}");
        // Another reload of the same files reports the same options and gives the same settings.
        let again = diff(&plan.settings, new).unwrap();
        assert_eq!((again.kept, again.settings), (plan.kept, plan.settings));
    }

    #[test]
    fn some_options_of_daemon_keep_their_value() {
        check_daemon("", "loglevel = info\nlog_file = /var/log/a\njson_log_file = true", &[]);
        check_daemon("", "bird_reconfigure_cmd = x\nbird_control_socket = /run/y\nbird_keep_changes = true", &[]);
        check_daemon("", "bird_variable = OTHER\ndummy_ip_prefix = 10.1.1.1", &[]);
        check_daemon("", "prometheus_exporter = true\nprometheus_exporter_interval = 3", &[]);
        check_daemon("", "splay_startup = 3\npurge_ip_prefixes = true\nshared_ip_prefixes = true", &[]);
        check_daemon("", "pidfile = /tmp/x.pid\nstatus_socket = /tmp/y", &["pidfile", "status_socket"]);
        check_daemon("", "ipv6 = true", &["ipv6"]);
        check_daemon("ipv6 = true", "", &["ipv6"]);
        check_daemon("ipv6 = true", "ipv6 = true\nbird6_conf = /x\nbird_conf = /y", &["bird_conf", "bird6_conf"]);
    }

    #[test]
    fn other_options_change_although_the_prefix_file_cannot() {
        let plan = diff(&settings("", ""), settings("bird_conf = /x\nbird_variable = OTHER", "")).unwrap();
        let bird = plan.settings.daemon.ipv4.unwrap();
        assert_eq!(bird.variable, "OTHER");
        assert_eq!(bird.conf, Path::new("/var/lib/anycast-healthchecker/anycast-prefixes.conf"));
    }

    #[test]
    fn a_prefix_of_a_family_that_is_off_is_refused() {
        let new = settings("ipv6 = true", &(service("a", "10.0.0.1", "") + &service("b", "10.0.0.2, fd00::1", "")));
        let refused = diff(&settings("", ""), new).unwrap_err().to_string();
        assert_eq!(
            refused,
            "[b] fd00::1/128 cannot be advertised: IPv6 is off, and a reload cannot turn it on; restart the daemon"
        );
    }

    #[test]
    fn a_new_drain_file_of_the_host_changes_no_service() {
        let a = service("a", "10.0.0.1", "");
        let plan = diff(&settings("", &a), settings("drain_file = /run/drain", &a)).unwrap();
        assert_eq!(plan.service_changes, [ServiceChange::Unchanged]);
        assert_eq!(plan.settings.daemon.drain_file, Some("/run/drain".into()));
    }
}
