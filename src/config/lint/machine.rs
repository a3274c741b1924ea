//! The lints of `config::lint` that compare the configuration with this machine.
//!
//! Promises: changes nothing, as `config::preflight`.
//! Who may block: `unknown_log_server`, on the resolver. So `--check` runs these, and the daemon does
//! not.
//! Leaves out: what `config::preflight` tells at start too, such as missing programs.

use std::fs;
use std::net::{Ipv6Addr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::config::configuration::Configuration;
use crate::config::diagnostic::Diagnostic;
use crate::config::lint::Findings;
use crate::config::parse::DAEMON;
use crate::sys::atomic_file::directory_of;
use crate::sys::netlink::{Addresses, Kernel};

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
        let addresses = Kernel::open().and_then(|mut kernel| kernel.addresses()).ok();
        Machine { configuration, addresses }
    }

    fn locate(&self, section: &str, option: &str) -> Diagnostic {
        self.configuration.locate(section, option, Diagnostic::warning(""))
    }
}

/// Covers files that others create; [`crate::config::preflight::check`] covers those that the daemon writes.
pub fn no_directory(machine: &Machine<'_>, findings: &mut Findings) {
    let settings = &machine.configuration.settings;
    let drain = "nothing can be drained by it";
    let mut files = vec![];
    files.extend(settings.daemon.drain_file.as_deref().map(|path| (DAEMON, "drain_file", path, drain)));
    let status = "neither --status nor the plugin gets an answer";
    // The default is beside the pidfile, which is judged elsewhere.
    if machine.configuration.value(DAEMON, "status_socket").is_some() {
        files.push((DAEMON, "status_socket", &settings.daemon.status_socket, status));
    }
    for service in &settings.services {
        files.extend(service.drain_file.as_deref().map(|path| (&*service.name, "drain_file", path, drain)));
        let watch = "the end of the process that it should name goes unnoticed";
        files.extend(service.watch_pidfile.as_deref().map(|path| (&*service.name, "watch_pidfile", path, watch)));
    }
    for (section, option, path, harm) in files {
        let directory = directory_of(path);
        let (fault, what_to_do) = if path.is_dir() {
            (format!("{} is itself a directory", path.display()), "name a file in it")
        } else if is_missing(directory) {
            (format!("{} is none", directory.display()), "create it, or correct the path")
        } else {
            continue;
        };
        findings.say(machine.locate(section, option), &[&fault, harm, what_to_do]);
    }
}

/// False if permissions forbid to look: the daemon may be another user.
fn is_missing(directory: &Path) -> bool {
    match fs::metadata(directory) {
        Ok(found) => !found.is_dir(),
        Err(error) => matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory),
    }
}

/// Finds links, pipes and devices in place of a regular file.
pub fn log_file_is_none(machine: &Machine<'_>, findings: &mut Findings) {
    let log = &machine.configuration.settings.daemon.log;
    let rotates = log.max_bytes > 0 && log.backups > 0;
    for (option, path) in [("log_file", &log.file), ("stderr_file", &log.stderr_file)] {
        let Some(path) = path.as_deref().filter(|path| !is_stream(path)) else { continue };
        let (Ok(itself), found) = (fs::symlink_metadata(path), fs::metadata(path)) else { continue };
        let kind = found.as_ref().unwrap_or(&itself).file_type();
        let regular = "name a regular file";
        let (what, what_to_do) = if kind.is_fifo() {
            ("a pipe, which loses lines while nobody reads it", regular)
        } else if kind.is_char_device() || kind.is_block_device() {
            ("a device, which keeps no line", regular)
        } else if kind.is_socket() {
            ("a socket, which cannot be opened, so every line is lost", regular)
        } else if itself.is_symlink() && rotates {
            (
                "a symbolic link, and rotation renames the link, not the file behind it",
                "name that file, or set log_backups = 0 and leave rotation to another program",
            )
        } else {
            continue;
        };
        findings.say(machine.locate(DAEMON, option), &[what, what_to_do]);
    }
}

/// Whether the name alone shows it, so that the lint `log-to-stream` covers it.
fn is_stream(path: &Path) -> bool {
    ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"].iter().any(|stream| path.starts_with(stream))
}

/// Finds prefixes that their interface does not have, the commonest mistake of a new installation.
pub fn unassigned_prefixes(machine: &Machine<'_>, findings: &mut Findings) {
    let Some(addresses) = &machine.addresses else { return };
    for service in machine.configuration.settings.services.iter().filter(|service| service.disabled.is_none()) {
        // `preflight::check` tells of an interface that does not exist.
        let Some(interface) = service.assigned_to.as_deref().filter(|interface| addresses.has_interface(interface))
        else {
            continue;
        };
        for prefix in service.prefixes.iter().filter(|prefix| !addresses.has(interface, prefix)) {
            let prefix = prefix.to_string();
            findings.say(machine.locate(&service.name, "ip_prefix"), &[&prefix, interface, &prefix, interface]);
        }
    }
}

/// Finds a host name that the resolver does not know.
pub fn unknown_log_server(machine: &Machine<'_>, findings: &mut Findings) {
    let Some((host, port)) = &machine.configuration.settings.daemon.log.server else { return };
    // The lint `log-server-is-no-host` covers what cannot be a name.
    let is_name = !host.contains(['/', '[']) && (!host.contains(':') || host.parse::<Ipv6Addr>().is_ok());
    if let Err(why) = (&**host, *port).to_socket_addrs().map(drop) {
        if is_name {
            findings.say(machine.locate(DAEMON, "log_server"), &[&why.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::files::{load, ServiceFiles, Sources};
    use crate::config::lint::check_machine;

    /// Compares what is told of these lines. `prepare` puts things into the directory `@`.
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
        let found = check_machine(&Machine::new(&configuration));
        let said: Vec<String> = found
            .into_iter()
            .map(|problem| format!("{}: {}", problem.option.unwrap_or_default(), problem.rule).replace(at, "@"))
            .collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.contains(expected), "{said}");
        }
    }

    const ASSIGNED: &str = "ip_check_disabled = true\n";

    #[test]
    fn directories() {
        check(
            "drain_file = @/host\nstatus_socket = @/s.sock\n",
            "drain_file = @/s\nwatch_pidfile = @/p\nip_check_disabled = on\n",
            |_| (),
            &[],
        );
        check("drain_file = @/no/host\n", ASSIGNED, |_| (), &["drain_file: should be a file in a directory that exists, but @/no is none, so nothing can be drained by it; create it"]);
        check(
            "status_socket = @/no/s\n",
            ASSIGNED,
            |_| (),
            &["status_socket: should be a file in a directory that exists, but @/no is none"],
        );
        let directory = |root: &Path| fs::create_dir(root.join("dir")).unwrap();
        check(
            "",
            "drain_file = @/dir\nip_check_disabled = on\n",
            directory,
            &["drain_file: should be a file in a directory that exists, but @/dir is itself a directory"],
        );
        check(
            "",
            "watch_pidfile = @/no/pid\nip_check_disabled = on\n",
            |_| (),
            &["watch_pidfile: should be a file in a directory that exists, but @/no is none"],
        );
    }

    #[test]
    fn log_files() {
        let link = |root: &Path| symlink("target", root.join("log")).unwrap();
        check("log_file = @/log\n", ASSIGNED, |_| (), &[]);
        check("log_file = @/log\n", ASSIGNED, link, &["log_file: is no regular file but a symbolic link"]);
        check("log_file = @/log\nlog_backups = 0\n", ASSIGNED, link, &[]);
        check("log_file = @/log\nlog_maxbytes = 0\n", ASSIGNED, link, &[]);
        let fifo = |root: &Path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, root.join("log"), rustix::fs::Mode::RWXU).unwrap();
        };
        check("stderr_file = @/log\n", ASSIGNED, fifo, &["stderr_file: is no regular file but a pipe"]);
        check("log_file = /dev/null\n", ASSIGNED, |_| (), &["log_file: is no regular file but a device"]);
        check("log_file = /dev/stdout\n", ASSIGNED, |_| (), &[]);
    }

    #[test]
    fn prefixes_and_names() {
        check("", "ip_prefix = 203.0.113.77\n", |_| (), &["ip_prefix: 203.0.113.77/32 is not assigned to lo now"]);
        check("", "ip_prefix = 203.0.113.77\nip_check_disabled = on\n", |_| (), &[]);
        check("", "ip_prefix = 203.0.113.77\ninterface = nosuch\n", |_| (), &[]);
        check("", "ip_prefix = 203.0.113.77\ncheck_disabled = on\n", |_| (), &[]);
        check("log_server = 127.0.0.1\n", ASSIGNED, |_| (), &[]);
        check("log_server = ::1\n", ASSIGNED, |_| (), &[]);
        check("log_server = nosuch..example\n", ASSIGNED, |_| (), &["log_server: cannot be resolved now ("]);
        check("log_server = udp://127.0.0.1\n", ASSIGNED, |_| (), &[]);
    }
}
