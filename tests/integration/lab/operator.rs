//! What an operator does to the lab's daemon: another configuration, a reload, scripts, a look at the status.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::Signal;

use super::namespaces::Running;
use super::service::Service;
use super::{daemon_program, logged, Lab};

impl Lab {
    /// Leaves an option of the `[daemon]` section to its default, from the next start or reload on.
    pub(crate) fn clear_option(&mut self, name: &str) {
        self.options.retain(|(option, _)| option != name);
    }

    /// Serves IPv4 only and configures no reconfigure command: custom commands alone tell BIRD.
    pub(crate) fn leave_bird_to_custom_commands(&mut self) {
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

    /// Writes the section of a service, which is alive from then on. The next start or reload reads it.
    pub(crate) fn define(&self, service: &Service) {
        service.write(self.path());
    }

    /// Takes a service out of the configuration.
    pub(crate) fn undefine(&self, service: &str) {
        self.remove(&format!("services.d/{service}.conf"));
    }

    /// Has the daemon read its configuration again, and waits until it uses the new one.
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

    /// Writes a script that can be run by its path, which is returned. As with [`Lab::script`], it runs in the lab's
    /// directory and `$BIRDC` is the usual reconfigure command.
    pub(crate) fn executable(&self, path: &str, script: &str) -> String {
        let text = format!("{path}.text");
        self.script(&text, script);
        let head = "#!/bin/bash\n".to_string() + &self.log(&text);
        fs::write(self.file(&text), head).unwrap();
        // A copy: a program that was written here may still be open in what another test has just started.
        let [text, program] = [&*text, path].map(|name| self.file(name).display().to_string());
        self.on_host("sh", &["-c", &format!("cp {text} {program} && chmod 755 {program}")]);
        program
    }

    /// Starts the daemon from a shell that runs `first` before it.
    pub(crate) fn start_daemon_after(&mut self, first: &str) {
        self.start_daemon_by(&format!("{first}\nexec {} \"$@\"", daemon_program()));
    }

    /// Starts the daemon by a script, which gets the daemon's arguments.
    pub(crate) fn start_daemon_by(&mut self, script: &str) {
        let wrapper = self.executable("start-daemon", script);
        self.start_this_daemon(&wrapper);
    }

    /// The process id of the daemon, as seen from the tests.
    pub(crate) fn daemon_pid(&self) -> i32 {
        self.daemon.as_ref().unwrap().pid()
    }

    /// Starts one more of the program, which writes to the file `log`.
    pub(crate) fn start_operating(&self, arguments: &[&str], log: &str) -> Running {
        self.write_options();
        let mut command = self.command(&daemon_program());
        self.namespaces.start(logged(command.args(arguments), &self.file(log)))
    }

    /// Starts the program on a terminal of this size; what it sends there is written to the file `log`.
    pub(crate) fn start_on_terminal(&self, (columns, rows): (u16, u16), arguments: &str, log: &str) -> Running {
        let [main, services, log] =
            ["daemon.conf", "services.d", log].map(|name| self.file(name).display().to_string());
        let program = format!("{} -f {main} -d {services} {arguments}", daemon_program());
        let mut command = self.namespaces.host("script");
        let script = format!("unset COLUMNS; stty cols {columns} rows {rows}; exec {program}");
        command.args(["-qefc", &script, &log]).stdin(Stdio::null()).stdout(Stdio::null());
        self.namespaces.start(&mut command)
    }

    /// What `--status` prints.
    pub(crate) fn status(&self) -> String {
        self.operate(&["--status"]).1
    }

    /// The status as a document.
    pub(crate) fn status_document(&self) -> serde_json::Value {
        let (_, said) = self.operate(&["--status", "--json"]);
        serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why}: {said}"))
    }

    /// What the status says of one service.
    pub(crate) fn status_of(&self, service: &str) -> serde_json::Value {
        let document = self.status_document();
        let services = document["services"].as_array().unwrap();
        services.iter().find(|one| one["name"] == service).unwrap().clone()
    }

    /// Waits until the status says that BIRD holds the lists.
    pub(crate) fn wait_in_sync(&self) {
        self.wait_until("the status to say that BIRD is in sync", |lab| lab.status().contains("BIRD in sync"));
    }

    /// Expects the route to leave before the check of another service was started `runs` times more: for what must not
    /// be left to the verification of each minute.
    pub(crate) fn expect_withdrawn_before(&self, prefix: &str, service: &str, runs: usize) {
        let last = self.runs(service) + runs;
        let what = format!("{prefix} to be withdrawn, or {runs} checks of {service}");
        self.wait_until(&what, |lab| !lab.routes.has(prefix) || lab.runs(service) >= last);
        assert!(!self.routes.has(prefix), "{prefix} is still advertised after {runs} checks of {service}");
    }

    /// Puts the list of a family behind a symbolic link to `target`.
    pub(crate) fn link_list(&self, family: usize, target: &str) {
        let (link, target) = (self.list_path(family), self.file(target));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(&link, &target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
    }
}
