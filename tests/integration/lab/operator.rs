//! Operations on the lab's daemon: configuration changes, reloads, scripts, and status queries.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::Signal;

use super::namespaces::Running;
use super::service::Service;
use super::{daemon_program, logged, Lab};

impl Lab {
    /// Configures IPv4 only and no reconfigure command, so that only custom commands reconfigure
    /// BIRD.
    pub(crate) fn use_custom_commands_only(&mut self) {
        for option in ["bird_reconfigure_cmd", "bird6_reconfigure_cmd", "bird6_conf"] {
            self.clear_option(option);
        }
        self.option("ipv6", "false");
    }

    /// Configures the control socket of the host's BIRD for both families.
    pub(crate) fn use_control_socket(&mut self) {
        let socket = self.file("host.ctl").display().to_string();
        self.option("bird_control_socket", &socket);
        self.option("bird6_control_socket", &socket);
    }

    /// Writes the section of a service and makes its check pass. The next start or reload reads it.
    pub(crate) fn add_service(&self, service: &Service) {
        service.write(self.path());
    }

    /// Removes a service from the configuration.
    pub(crate) fn remove_service(&self, service: &str) {
        self.remove(&format!("services.d/{service}.conf"));
    }

    /// Reloads the configuration and waits until the daemon uses it.
    pub(crate) fn reload(&self) {
        self.write_options();
        let reloads = |lab: &Lab| lab.log("daemon.log").matches("the configuration is reloaded").count();
        let before = reloads(self);
        self.signal(Signal::SIGHUP);
        self.wait_until("the reload", |lab| {
            assert!(!lab.log("daemon.log").contains("the reload is refused"), "the reload is refused");
            reloads(lab) > before
        });
    }

    /// Writes an executable script and returns its path. Like [`Lab::script`], it runs in the lab's
    /// directory, with the usual reconfigure command as `$BIRDC`.
    pub(crate) fn executable(&self, path: &str, script: &str) -> String {
        let text = format!("{path}.text");
        self.script(&text, script);
        let head = "#!/bin/bash\n".to_string() + &self.log(&text);
        fs::write(self.file(&text), head).unwrap();
        // Copied by another process: the file written here may still be open in a child of another
        // test, and such a file cannot be executed.
        let [text, program] = [&*text, path].map(|name| self.file(name).display().to_string());
        self.on_host("sh", &["-c", &format!("cp {text} {program} && chmod 755 {program}")]);
        program
    }

    /// Starts the daemon from a shell that runs `first` before it.
    pub(crate) fn start_daemon_after(&mut self, first: &str) {
        self.start_daemon_by(&format!("{first}\nexec {} \"$@\"", daemon_program()));
    }

    /// Starts the daemon with a script, which gets the daemon's arguments.
    pub(crate) fn start_daemon_by(&mut self, script: &str) {
        let wrapper = self.executable("start-daemon", script);
        self.start_this_daemon(&wrapper);
    }

    /// The process id of the daemon, as seen from the tests.
    pub(crate) fn daemon_pid(&self) -> i32 {
        self.daemon.as_ref().unwrap().pid()
    }

    /// Starts the program with these arguments, and writes its output to the file `log`.
    pub(crate) fn start_cli(&self, arguments: &[&str], log: &str) -> Running {
        self.write_options();
        let mut command = self.command(&daemon_program());
        self.namespaces.start(logged(command.args(arguments), &self.file(log)))
    }

    /// Starts the program on a terminal of this size, and writes the terminal's output to the file
    /// `log`.
    pub(crate) fn start_on_terminal(&self, (columns, rows): (u16, u16), arguments: &str, log: &str) -> Running {
        let [main, services, log] =
            ["daemon.conf", "services.d", log].map(|name| self.file(name).display().to_string());
        let program = format!("{} -f {main} -d {services} {arguments}", daemon_program());
        let mut command = self.namespaces.host("script");
        let script = format!("unset COLUMNS; stty cols {columns} rows {rows}; exec {program}");
        command.args(["-qefc", &script, &log]).stdin(Stdio::null()).stdout(Stdio::null());
        self.namespaces.start(&mut command)
    }

    /// The output of `--status`.
    pub(crate) fn status(&self) -> String {
        self.run_cli(&["--status"]).1
    }

    /// The status document.
    pub(crate) fn status_document(&self) -> serde_json::Value {
        let (_, output) = self.run_cli(&["--status", "--json"]);
        serde_json::from_str(&output).unwrap_or_else(|why| panic!("{why}: {output}"))
    }

    /// The part of the status document about one service.
    pub(crate) fn status_of(&self, service: &str) -> serde_json::Value {
        let document = self.status_document();
        let services = document["services"].as_array().unwrap();
        services.iter().find(|one| one["name"] == service).unwrap().clone()
    }

    /// Waits until the status reports that BIRD is in sync.
    pub(crate) fn wait_in_sync(&self) {
        self.wait_until("the status to say that BIRD is in sync", |lab| lab.status().contains("BIRD in sync"));
    }

    /// Expects the route to leave before the check of another service has run `runs` more times,
    /// and so before the periodic verification.
    pub(crate) fn expect_withdrawn_before(&self, prefix: &str, service: &str, runs: usize) {
        let last = self.runs(service) + runs;
        let what = format!("{prefix} to be withdrawn, or {runs} checks of {service}");
        self.wait_until(&what, |lab| !lab.routes.has(prefix) || lab.runs(service) >= last);
        assert!(!self.routes.has(prefix), "{prefix} is still advertised after {runs} checks of {service}");
    }

    /// Replaces the list of a family by a symbolic link to `target`.
    pub(crate) fn link_list(&self, family: usize, target: &str) {
        let (link, target) = (self.list_path(family), self.file(target));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(&link, &target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
    }
}
