//! The lints of `config::lint` that compare the configuration with this machine.
//!
//! Guarantees: nothing is changed.
//!
//! Blocking: [`unknown_log_server`], on the resolver. Therefore only `--check` runs these, not the
//! daemon.
//!
//! Out of scope: problems that the daemon reports at start too, such as missing programs
//! (`config::preflight`).

use std::fs;
use std::net::{Ipv6Addr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::config::configuration::Configuration;
use crate::config::diagnostic::Diagnostic;
use crate::config::lint::Findings;
use crate::config::parse::DAEMON;
use crate::config::preflight::{interface_addresses, is_missing};
use crate::sys::atomic_file::directory_of;
use crate::sys::netlink::Addresses;

/// The input of the detectors.
#[derive(Debug)]
pub struct Machine<'a> {
    configuration: &'a Configuration,
    /// None if the kernel does not answer.
    addresses: Option<Addresses>,
}

impl<'a> Machine<'a> {
    /// Asks the kernel for the addresses of all interfaces.
    pub fn new(configuration: &'a Configuration) -> Machine<'a> {
        Machine { configuration, addresses: interface_addresses() }
    }

    fn warning_at(&self, section: &str, option: &str) -> Diagnostic {
        self.configuration.locate(section, option, Diagnostic::warning(""))
    }
}

/// Finds missing directories of files that other programs create. `config::preflight` covers the
/// files of the daemon.
pub fn no_directory(machine: &Machine<'_>, findings: &mut Findings) {
    let settings = &machine.configuration.settings;
    let drain = "it cannot drain anything";
    let mut files = Vec::new();
    files.extend(settings.daemon.drain_file.as_deref().map(|path| (DAEMON, "drain_file", path, drain)));
    let status = "neither --status nor the plugin gets an answer";
    // The default is beside the pidfile, whose directory is already checked.
    if machine.configuration.value(DAEMON, "status_socket").is_some() {
        files.push((DAEMON, "status_socket", &settings.daemon.status_socket, status));
    }
    for service in &settings.services {
        files.extend(service.drain_file.as_deref().map(|path| (&*service.name, "drain_file", path, drain)));
        let watch = "the end of the process goes unnoticed";
        files.extend(service.watch_pidfile.as_deref().map(|path| (&*service.name, "watch_pidfile", path, watch)));
    }
    for (section, option, path, harm) in files {
        let directory = directory_of(path);
        let (fault, what_to_do) = if path.is_dir() {
            (format!("{} is itself a directory", path.display()), "name a file in it")
        } else if is_no_directory(directory) {
            (format!("{} is not one", directory.display()), "create it, or correct the path")
        } else {
            continue;
        };
        findings.warn(machine.warning_at(section, option), &[&fault, harm, what_to_do]);
    }
}

/// False if permissions hide it: the daemon may run as another user.
fn is_no_directory(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => !metadata.is_dir(),
        Err(error) => is_missing(&error),
    }
}

/// Finds links, pipes and devices in place of regular files.
pub fn irregular_log_files(machine: &Machine<'_>, findings: &mut Findings) {
    let log = &machine.configuration.settings.daemon.log;
    for (option, path) in log.files().filter(|(_, path)| !is_stream(path)) {
        // A link to a regular file is none of it: rotation follows the link.
        let Ok(kind) = fs::metadata(path).map(|metadata| metadata.file_type()) else { continue };
        let what = if kind.is_fifo() {
            "a pipe, which loses lines while nothing reads it"
        } else if kind.is_char_device() || kind.is_block_device() {
            "a device, which keeps no lines"
        } else if kind.is_socket() {
            "a socket, which cannot be opened, so every line is lost"
        } else {
            continue;
        };
        findings.warn(machine.warning_at(DAEMON, option), &[what, "name a regular file"]);
    }
}

/// Whether the lint `log-to-stream` covers the path, which needs its name only.
fn is_stream(path: &Path) -> bool {
    ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"].iter().any(|stream| path.starts_with(stream))
}

/// Finds prefixes that are not assigned to their interface, the most common mistake in new
/// installations.
pub fn unassigned_prefixes(machine: &Machine<'_>, findings: &mut Findings) {
    let Some(addresses) = &machine.addresses else { return };
    for service in machine.configuration.settings.services.iter().filter(|service| service.disabled.is_none()) {
        // `config::preflight` reports an interface that does not exist.
        let Some(interface) = service.assigned_to.as_deref().filter(|interface| addresses.has_interface(interface))
        else {
            continue;
        };
        for prefix in service.prefixes.iter().filter(|prefix| !addresses.has(interface, prefix)) {
            let prefix = prefix.to_string();
            findings.warn(machine.warning_at(&service.name, "ip_prefix"), &[&prefix, interface, &prefix, interface]);
        }
    }
}

/// Finds the name of a log server that cannot be resolved.
pub fn unknown_log_server(machine: &Machine<'_>, findings: &mut Findings) {
    let Some((host, port)) = &machine.configuration.settings.daemon.log.server else { return };
    // The lint `invalid-log-server` covers texts that are not names.
    let is_name = !host.contains(['/', '[']) && (!host.contains(':') || host.parse::<Ipv6Addr>().is_ok());
    if let Err(error) = (&**host, *port).to_socket_addrs().map(drop) {
        if is_name {
            findings.warn(machine.warning_at(DAEMON, "log_server"), &[&error.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::files::{load, ServiceFiles, Sources};
    use crate::config::lint::check_machine;

    /// Compares the warnings about these lines. `prepare` creates files in the directory `@`.
    fn check(daemon: &str, service: &str, prepare: impl FnOnce(&Path), expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().to_str().unwrap();
        let put = |name: &str, text: &str| {
            let path = directory.path().join(name);
            #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
            fs::write(&path, text.replace('@', at)).unwrap();
            path
        };
        let main = put("main.conf", &format!("[daemon]\npidfile = @/pid\nbird_conf = @/list\n{daemon}"));
        let prefix = if service.contains("ip_prefix") { "" } else { "ip_prefix = 127.0.0.0/8\n" };
        let checked = if service.starts_with("check_disabled") || service.contains("\ncheck_disabled") {
            ""
        } else {
            "check_disabled = false\n"
        };
        let services = put("s.conf", &format!("[s]\ncheck_cmd = /bin/true\n{checked}{prefix}{service}"));
        prepare(directory.path());
        let services = ServiceFiles::File(services);
        let configuration = load(&Sources { main, services }).unwrap_or_else(|problems| panic!("{problems:?}"));
        let messages: Vec<String> = check_machine(&Machine::new(&configuration))
            .into_iter()
            .map(|problem| format!("{}: {}", problem.option.unwrap_or_default(), problem.message).replace(at, "@"))
            .collect();
        assert_eq!(messages.len(), expected.len(), "{messages:?}");
        for (message, expected) in messages.iter().zip(expected) {
            assert!(message.contains(expected), "{message}");
        }
    }

    const NO_IP_CHECK: &str = "ip_check_disabled = true\n";

    #[test]
    fn missing_directories_are_found() {
        check(
            "drain_file = @/host\nstatus_socket = @/s.sock\n",
            "drain_file = @/s\nwatch_pidfile = @/p\nip_check_disabled = on\n",
            |_| (),
            &[],
        );
        check("drain_file = @/no/host\n", NO_IP_CHECK, |_| (), &["drain_file: should be a file in an existing directory, but @/no is not one, so it cannot drain anything; create it"]);
        check(
            "status_socket = @/no/s\n",
            NO_IP_CHECK,
            |_| (),
            &["status_socket: should be a file in an existing directory, but @/no is not one"],
        );
        let directory = |root: &Path| fs::create_dir(root.join("dir")).unwrap();
        check(
            "",
            "drain_file = @/dir\nip_check_disabled = on\n",
            directory,
            &["drain_file: should be a file in an existing directory, but @/dir is itself a directory"],
        );
        check(
            "",
            "watch_pidfile = @/no/pid\nip_check_disabled = on\n",
            |_| (),
            &["watch_pidfile: should be a file in an existing directory, but @/no is not one"],
        );
    }

    #[test]
    fn log_files_that_are_not_regular_are_found() {
        let link = |root: &Path| symlink("target", root.join("log")).unwrap();
        check("log_file = @/log\n", NO_IP_CHECK, |_| (), &[]);
        check("log_file = @/log\n", NO_IP_CHECK, link, &[]);
        let fifo = |root: &Path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, root.join("log"), rustix::fs::Mode::RWXU).unwrap();
        };
        check("stderr_file = @/log\n", NO_IP_CHECK, fifo, &["stderr_file: is not a regular file but a pipe"]);
        check("log_file = /dev/null\n", NO_IP_CHECK, |_| (), &["log_file: is not a regular file but a device"]);
        check("log_file = /dev/stdout\n", NO_IP_CHECK, |_| (), &[]);
    }

    #[test]
    fn unassigned_prefixes_and_unknown_log_servers_are_found() {
        check("", "ip_prefix = 203.0.113.77\n", |_| (), &["ip_prefix: 203.0.113.77/32 is not assigned to lo now"]);
        check("", "ip_prefix = 203.0.113.77\nip_check_disabled = on\n", |_| (), &[]);
        check("", "ip_prefix = 203.0.113.77\ninterface = nosuch\n", |_| (), &[]);
        check("", "ip_prefix = 203.0.113.77\ncheck_disabled = on\n", |_| (), &[]);
        check("log_server = 127.0.0.1\n", NO_IP_CHECK, |_| (), &[]);
        check("log_server = ::1\n", NO_IP_CHECK, |_| (), &[]);
        check("log_server = nosuch..example\n", NO_IP_CHECK, |_| (), &["log_server: cannot be resolved now ("]);
        check("log_server = udp://127.0.0.1\n", NO_IP_CHECK, |_| (), &[]);
    }
}
