//! Writes the daemon's configuration and reloads it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use super::super::action::{Reload, UNINSTALL};
use super::super::configuration::{Configuration, Custom, Name, Service, Transport};
use super::super::world::Mode;
use super::{set_exists, Host};
use crate::lab::{daemon_program, Lab};

/// The custom commands. The name of each ends with its kind.
const CUSTOM: &str = "case $(cat custom-mode) in\n\
    Fails) echo no >&2; exit 1 ;;\n\
    Hangs) sleep 1003 ;;\n\
    esac\n\
    case $0 in\n\
    *-slow) sleep 0.6 ;;\n\
    *-flaky) if mkdir $0.failed; then echo not yet >&2; exit 1; else rmdir $0.failed; fi ;;\n\
    esac\n\
    output=$($BIRDC); echo \"$output\"\n\
    case $output in *Reconfig*) ;; *) exit 1 ;; esac";
/// The log message of a successful reload.
pub(super) const RELOADED: &str = "the configuration is reloaded";

impl Host {
    /// Writes all files of a configuration, including custom commands.
    pub(super) fn write(&mut self, configuration: &Configuration) {
        for entry in fs::read_dir(self.lab.file("services.d")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, service) in &configuration.services {
            let section = section(name, service, self.lab.path());
            fs::write(self.lab.file(&format!("services.d/{name}.conf")), section).unwrap();
        }
        let lab = &mut self.lab;
        let socket = lab.file("host.ctl").display().to_string();
        let command = format!("/bin/sh {}", lab.file("tools/reconfigure").display());
        for (family, [control_socket, reconfigure_cmd]) in
            [["bird_control_socket", "bird_reconfigure_cmd"], ["bird6_control_socket", "bird6_reconfigure_cmd"]]
                .into_iter()
                .enumerate()
        {
            lab.clear_option(control_socket);
            lab.clear_option(reconfigure_cmd);
            match configuration.transports[family] {
                Transport::Socket => lab.option(control_socket, &socket),
                Transport::Command => lab.option(reconfigure_cmd, &command),
                Transport::Default => {}
                Transport::Wrong => lab.option(reconfigure_cmd, "/bin/true"),
            }
        }
        lab.option("shared_ip_prefixes", "true");
        for option in ["bird_keep_changes", "bird6_keep_changes"] {
            lab.option(option, &configuration.keeps_changes.to_string());
        }
        lab.clear_option("splay_startup");
        if configuration.splay {
            lab.option("splay_startup", "3600");
        }
        lab.write_options();
        self.write_custom_commands(configuration);
    }

    /// Writes the custom commands of services, unless they are to be missing.
    pub(super) fn write_custom_commands(&self, configuration: &Configuration) {
        let is_missing = fs::read_to_string(self.lab.file("custom-mode")).unwrap() == "Missing";
        for custom in Custom::ALL {
            let name = script_of(custom);
            if is_missing {
                set_exists(&self.lab.file(&name), false);
            } else if configuration.has_custom(custom) && !self.lab.file(&name).exists() {
                self.program(&name, CUSTOM);
            }
        }
    }

    pub(super) fn set_custom_mode(&self, mode: Mode, configuration: &Configuration) {
        fs::write(self.lab.file("custom-mode"), format!("{mode:?}")).unwrap();
        self.write_custom_commands(configuration);
    }

    pub(super) fn reload(&mut self, reload: &Reload) {
        if let Some((name, is_alive)) = reload.newcomer {
            set_exists(&self.service_file("alive/", name), is_alive);
        }
        self.write(&reload.configuration);
        if reload.word == UNINSTALL {
            let unused = Custom::ALL.into_iter().filter(|custom| !reload.configuration.has_custom(*custom));
            unused.for_each(|custom| set_exists(&self.lab.file(&script_of(custom)), false));
        }
        self.wait_reload(RELOADED, 1);
    }

    pub(super) fn reload_refused(&self) {
        let broken = self.lab.file("services.d/broken.conf");
        fs::write(&broken, "[broken]\nip_prefix = nonsense\ncheck_rise = 0\n").unwrap();
        self.wait_reload("the reload is refused", 1);
        fs::remove_file(broken).unwrap();
    }

    /// Sends the daemon several reload signals, and waits for a message in its log.
    pub(super) fn wait_reload(&self, words: &str, times: usize) {
        let count = |lab: &Lab| lab.log("daemon.log").matches(words).count();
        let before = count(&self.lab);
        (0..times).for_each(|_| self.lab.signal(Signal::SIGHUP));
        self.lab.wait_until(words, |lab| count(lab) > before);
    }

    pub(super) fn run_cli(&self, option: &str, name: Name) {
        let [main, services] = ["daemon.conf", "services.d"].map(|name| self.lab.file(name).display().to_string());
        // The command drains first, and then waits for BIRD, which may not run.
        let command = format!("timeout 2 {} {option} {name} -f {main} -d {services} || true", daemon_program());
        self.lab.on_host("sh", &["-c", &command]);
    }
}

fn script_of(custom: Custom) -> String {
    format!("tools/custom-{}", custom.word())
}

/// The section of a service.
fn section(name: Name, service: &Service, lab: &Path) -> String {
    let lab = lab.display();
    let Service { prefixes, rise, fail, interval, times_out, disabled, ip_check_disabled, .. } = service;
    let prefixes = prefixes.iter().copied().collect::<Vec<_>>().join(", ");
    let timeout = if *times_out { 4 } else { 900 };
    let mut text = format!(
        "[{name}]\n\
         check_cmd = /bin/sh {lab}/tools/check {name}\n\
         ip_prefix = {prefixes}\n\
         check_interval = 0.{interval}\n\
         check_timeout = {timeout}\n\
         check_rise = {rise}\n\
         check_fail = {fail}\n\
         check_disabled = {}\n\
         ip_check_disabled = {ip_check_disabled}\n",
        disabled.is_some()
    );
    if *disabled == Some(true) {
        text += "on_disabled = advertise\n";
    }
    if service.has_drain_file {
        writeln!(text, "drain_file = {lab}/drain-{name}").unwrap();
    }
    if let Some(custom) = service.custom {
        writeln!(text, "custom_bird_reconfigure_cmd = {lab}/{}", script_of(custom)).unwrap();
        text += "custom_bird_reconfigure_cmd_timeout = 3\n";
    }
    if service.has_watch_pidfile {
        writeln!(text, "watch_pidfile = {lab}/watched.pid").unwrap();
    }
    text
}
