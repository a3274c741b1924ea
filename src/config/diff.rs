//! What a reload changes: the settings that run and those that were read in, what is to be done out.
//!
//! Promises: pure; a service is the same, changed, new or gone by its name and by nothing else; what comes out are valid
//! settings again, those to run with: options that cannot change while the daemon runs keep their value, and are named.
//! Leaves out: doing it (`daemon`). `splay_startup` and `purge_ip_prefixes` are of the start only, so that a new value
//! of theirs needs no word.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::settings::{Bird, Service, Settings};
use crate::prefix::{Family, Prefix};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct ReloadPlan {
    /// What to run with from now on. A service that is the same is the one that runs.
    pub settings: Settings,
    /// What becomes of each of these services, in their order.
    pub service_changes: Vec<ServiceChange>,
    /// Services that are configured no longer.
    pub gone: Vec<Arc<Service>>,
    /// The options of `[daemon]` that differ in the files and keep their value until the next start.
    pub kept: Vec<&'static str>,
}

/// What becomes of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// Nothing at all.
    Unchanged,
    /// Its check starts anew, from the state that it had.
    Changed {
        /// Prefixes that it did not have.
        gained: Vec<Prefix>,
    },
    /// Its check starts, and nothing is known of it.
    New,
}

/// Why a configuration without a fault cannot take the place of the running one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// Nobody writes the family's list.
    #[error("[{service}] {prefix} cannot be advertised, as no reload can switch {family} on; restart the daemon")]
    FamilyIsOff {
        /// The family, which runs switched off.
        family: Family,
        /// The first service that has a prefix of it.
        service: String,
        /// That prefix.
        prefix: Prefix,
    },
}

/// Compares the settings that run with those that were read.
pub fn diff(running: &Settings, read: Settings) -> Result<ReloadPlan, DiffError> {
    let (daemon, mut kept) = (&running.daemon, Vec::new());
    let mut settings = read;
    for (option, value, old) in [
        ("pidfile", &mut settings.daemon.pidfile, &daemon.pidfile),
        ("status_socket", &mut settings.daemon.status_socket, &daemon.status_socket),
    ] {
        if value != old {
            kept.push(option);
            value.clone_from(old);
        }
    }
    family(daemon.ipv4.as_ref(), &mut settings.daemon.ipv4, ["ipv4", "bird_conf"], &mut kept);
    family(daemon.ipv6.as_ref(), &mut settings.daemon.ipv6, ["ipv6", "bird6_conf"], &mut kept);

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

/// A family is on or off for as long as the daemon runs, and so is its file: another would have to be read and watched,
/// and who goes on with it while BIRD still includes the first one?
fn family(running: Option<&Bird>, read: &mut Option<Bird>, options: [&'static str; 2], kept: &mut Vec<&'static str>) {
    match (running, &mut *read) {
        (Some(old), Some(new)) if old.conf != new.conf => {
            kept.push(options[1]);
            new.conf.clone_from(&old.conf);
        }
        (Some(_), Some(_)) | (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            kept.push(options[0]);
            *read = running.cloned();
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

    /// Each service's fate: `=` unchanged, `*` changed with the prefixes it gained, `+` new, `-` gone.
    fn check(before: &[String], after: &[String], expected: &str) {
        let running = settings("", &before.concat());
        let change = diff(&running, settings("", &after.concat())).unwrap();
        let mut found: Vec<String> = std::iter::zip(&change.settings.services, &change.service_changes)
            .map(|(service, fate)| match fate {
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
        found.extend(change.gone.iter().map(|service| format!("-{}", service.name)));
        assert_eq!(found.join(" "), expected, "{before:?} {after:?}");
        assert_eq!(change.kept, [""; 0]);
    }

    #[test]
    fn fates_of_services() {
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

    /// What a change of `[daemon]` keeps of the old, and nothing else.
    fn check_daemon(before: &str, after: &str, kept: &[&str]) {
        let (running, read) = (settings(before, ""), settings(after, ""));
        let change = diff(&running, read.clone()).unwrap();
        assert_eq!(change.kept, kept, "{before} -> {after}");
        assert_eq!(change.settings == read, kept.is_empty(), "{before} -> {after}");
        // What is kept is said again as long as it stands in the files, and comes to the same settings.
        let again = diff(&change.settings, read).unwrap();
        assert_eq!((again.kept, again.settings), (change.kept, change.settings));
    }

    #[test]
    fn options_that_change_and_options_that_cannot() {
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
    fn a_file_that_cannot_change_takes_the_rest_of_its_family_along() {
        let change = diff(&settings("", ""), settings("bird_conf = /x\nbird_variable = OTHER", "")).unwrap();
        let bird = change.settings.daemon.ipv4.unwrap();
        assert_eq!(bird.variable, "OTHER");
        assert_eq!(bird.conf, Path::new("/var/lib/anycast-healthchecker/anycast-prefixes.conf"));
    }

    #[test]
    fn a_family_that_is_off_can_serve_nobody() {
        let read = settings("ipv6 = true", &(service("a", "10.0.0.1", "") + &service("b", "10.0.0.2, fd00::1", "")));
        let refused = diff(&settings("", ""), read).unwrap_err().to_string();
        assert_eq!(
            refused,
            "[b] fd00::1/128 cannot be advertised, as no reload can switch IPv6 on; restart the daemon"
        );
    }

    #[test]
    fn another_drain_file_for_the_host_changes_no_service() {
        let a = service("a", "10.0.0.1", "");
        let change = diff(&settings("", &a), settings("drain_file = /run/drain", &a)).unwrap();
        assert_eq!(change.service_changes, [ServiceChange::Unchanged]);
        assert_eq!(change.settings.daemon.drain_file, Some("/run/drain".into()));
    }
}
