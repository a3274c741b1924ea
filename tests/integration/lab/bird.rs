//! The BIRDs of the lab, of which tests control that of the host.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::namespaces::{Namespaces, Running};
use super::{logged, Lab, WAIT_TIMEOUT};

impl Lab {
    /// Starts the host's BIRD and waits for both sessions.
    pub(crate) fn start_bird(&mut self) {
        self.host_bird = Some(start_bird(&self.namespaces, self.path(), "host"));
        // A query also wakes BIRD 2.0, which may otherwise delay its first routes for three
        // seconds.
        self.wait_until("both BGP sessions to be established", |lab| {
            let established = |side| ask_bird(&lab.namespaces, lab.path(), side, &["show", "protocols"]);
            ["host", "router"].iter().all(|side| established(side).matches("Established").count() == 2)
        });
    }

    /// Stops the host's BIRD and waits until all its routes have left the router.
    pub(crate) fn stop_bird(&mut self) {
        let mut bird = self.host_bird.take().unwrap();
        bird.signal(Signal::SIGTERM);
        self.wait_until("BIRD to end", |_| bird.exited().is_some());
        self.wait_until("its routes to leave the router", |lab| lab.routes.is_empty());
    }

    /// Sends a signal to the host's BIRD, for example to freeze it.
    pub(crate) fn signal_bird(&self, signal: Signal) {
        self.host_bird.as_ref().unwrap().signal(signal);
    }

    /// Runs a command of birdc on the host. Returns its output.
    pub(crate) fn birdc(&self, command: &[&str]) -> String {
        let before = self.reconfigured();
        let output = ask_bird(&self.namespaces, self.path(), "host", command);
        if output.contains("Reconfigured") {
            self.wait_until("the reconfigure in BIRD's log", |lab| lab.reconfigured() > before);
            self.own_reconfigures.set(self.own_reconfigures.get() + 1);
        }
        output
    }

    /// How often the host's BIRD has reconfigured.
    pub(crate) fn reconfigured(&self) -> usize {
        self.log("host-bird.log").matches("Reconfigured").count()
    }

    /// Waits until the daemon has finished its reconfigures, including the one that wakes BIRD 2.0
    /// after a change. From then on BIRD does not read a damaged list before the daemon has
    /// repaired it.
    pub(crate) fn wait_bird_idle(&self) {
        self.wait_until("the last reconfigure", |lab| {
            let log = lab.log("daemon.log");
            let last = |text: &str| log.rfind(text);
            let runs = ["reconfiguring BIRD by", "waking BIRD"].map(|text| log.matches(text).count());
            let is_woken = !log.contains("BIRD 2.0.") || last("waking BIRD") > last("reconfiguring BIRD by");
            is_woken && lab.reconfigured() >= lab.own_reconfigures.get() + runs.iter().sum::<usize>()
        });
    }
}

pub(crate) fn bird_program(name: &str) -> String {
    std::env::var("BIRD_DIR").map_or_else(|_| format!("/usr/sbin/{name}"), |folder| format!("{folder}/{name}"))
}

/// Starts the BIRD of the host or the router and waits until it answers.
pub(super) fn start_bird(namespaces: &Namespaces, path: &Path, side: &str) -> Running {
    let mut command = match side {
        "host" => namespaces.host(&bird_program("bird")),
        _ => namespaces.router(&bird_program("bird")),
    };
    command.arg("-f").arg("-c").arg(path.join(format!("{side}.conf")));
    command.arg("-s").arg(path.join(format!("{side}.ctl")));
    let mut bird = namespaces.start(logged(&mut command, &path.join(format!("{side}-bird.log"))));
    let end = Instant::now() + WAIT_TIMEOUT;
    while !ask_bird(namespaces, path, side, &["show", "status"]).contains("Daemon is up") {
        let log = fs::read_to_string(path.join(format!("{side}-bird.log"))).unwrap_or_default();
        assert!(bird.exited().is_none() && Instant::now() < end, "the {side}'s BIRD does not start: {log}");
        std::thread::sleep(Duration::from_millis(10));
    }
    bird
}

fn ask_bird(namespaces: &Namespaces, path: &Path, side: &str, command: &[&str]) -> String {
    let mut birdc = namespaces.host(&bird_program("birdc"));
    let output = birdc.arg("-s").arg(path.join(format!("{side}.ctl"))).args(command).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
