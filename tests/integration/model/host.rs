//! Performs the model's actions on a real host: files, processes and addresses.
//!
//! Guarantees: an action has been performed when its method returns, including reloads and starts.
//! Its effect on routes is not waited for.

mod configure;
mod observe;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use configure::RELOADED;

use super::action::{Action, Damage};
use super::configuration::{all_prefixes, family, Configuration, Name, Prefix, PREFIXES, STEADY, UNMANAGED};
use super::world::{Disk, World};
use crate::lab::router::Mark;
use crate::lab::Lab;

/// The check of the service `$1`.
const CHECK: &str = "printf . >> runs/$1\n\
    test -e flood-$1 && yes | head -c 3000000\n\
    test -e fork-$1 && { sleep 1002 & }\n\
    while test -e hang-$1; do sleep 0.05; done\n\
    test -e alive/$1";
/// The families' reconfigure command, which behaves as the file `command-mode` says.
const COMMAND: &str = "case $(cat command-mode) in\n\
    Fails) echo no >&2; exit 1 ;;\n\
    Hangs) sleep 1003 ;;\n\
    Lies) printf 'BIRD 2.0.12 ready.\\nReading configuration from x\\nwhatever\\n'; exit 0 ;;\n\
    Babbles) head -c 100000 /dev/urandom; exit 1 ;;\n\
    esac\n\
    exec $BIRDC";
/// The process in `watch_pidfile`.
const WATCHED: &str = "sleep 7004";
/// Processes that a killed daemon leaves behind.
const CHILDREN: [&str; 4] = ["/tools/", "birdc", "sleep 1002", "sleep 1003"];

pub(super) struct Host {
    pub(super) lab: Lab,
    bird_conf: String,
    /// Since when the steady services have kept their routes.
    steady_since: Option<Mark>,
    /// When everything was last settled.
    settled: Mark,
    /// When a list was last damaged while no daemon ran.
    list_lost: Option<Instant>,
}

impl Host {
    /// Prepares the host and starts the daemon.
    pub(super) fn new(configuration: &Configuration) -> Host {
        let lab = Lab::new([]);
        let bird_conf = lab.log("host.conf");
        let settled = lab.routes.mark();
        let mut host = Host { lab, bird_conf, steady_since: None, settled, list_lost: None };
        let lab = &host.lab;
        ["tools", "bin"].iter().for_each(|name| fs::create_dir(lab.file(name)).unwrap());
        lab.script("tools/check", CHECK);
        lab.script("tools/reconfigure", COMMAND);
        host.program("bin/sudo", &format!("exec /bin/sh {}", lab.file("tools/reconfigure").display()));
        fs::write(lab.file("command-mode"), "Works").unwrap();
        fs::write(lab.file("custom-mode"), "Works").unwrap();
        all_prefixes().for_each(|prefix| lab.add_address(prefix, "lo"));
        host.mount_disk();
        configuration.services.keys().for_each(|name| lab.touch(&format!("alive/{name}")));
        host.start_watched();
        host.write(configuration);
        host.start_daemon();
        host
    }

    /// Performs an action. `world` is the model before it.
    pub(super) fn play(&mut self, action: &Action, world: &World) {
        let lab = &self.lab;
        match action {
            Action::Dies(name) => set_exists(&self.service_file("alive/", name), false),
            Action::Revives(name) => set_exists(&self.service_file("alive/", name), true),
            Action::Hangs(name) => set_exists(&self.service_file("hang-", name), true),
            Action::HangEnds(name) => set_exists(&self.service_file("hang-", name), false),
            Action::Floods(name, floods) => set_exists(&self.service_file("flood-", name), *floods),
            Action::LeavesChildren(name, leaves) => set_exists(&self.service_file("fork-", name), *leaves),
            Action::AddressGoes(prefix) => lab.remove_address(prefix, "lo"),
            Action::AddressComes(prefix) => lab.add_address(prefix, "lo"),
            Action::Drains(name) => set_exists(&self.service_file("drain-", name), true),
            Action::Undrains(name) => set_exists(&self.service_file("drain-", name), false),
            Action::DrainsByCommand(name) => self.run_cli("--drain", name),
            Action::UndrainsByCommand(name) => self.run_cli("--undrain", name),
            Action::WatchedProcess(runs) => self.set_watched_process(*runs),
            Action::Reload(reload) => self.reload(reload),
            Action::ReloadRefused => self.reload_refused(),
            Action::Reloads(times) => self.wait_reload(RELOADED, *times),
            Action::ChecksNow(times) => (0..*times).for_each(|_| lab.signal(Signal::SIGURG)),
            Action::Restart { killed, damage } => self.restart(*killed, *damage, &world.configuration),
            Action::ListDamaged(family, damage) => {
                // A running custom command may have BIRD read the list before the daemon has
                // repaired it.
                lab.wait_until("custom commands to end", |lab| lab.processes("tools/custom").is_empty());
                self.damage(*family, *damage);
            }
            Action::LinkReplaced(true) => self.link_list(),
            Action::LinkReplaced(false) => self.unlink_list(),
            Action::BirdStops => self.stop_bird(),
            Action::BirdStarts => {
                fs::write(lab.file("host.conf"), &self.bird_conf).unwrap();
                self.lab.start_bird();
            }
            Action::BirdFreezes => lab.signal_bird(Signal::SIGSTOP),
            Action::BirdContinues => lab.signal_bird(Signal::SIGCONT),
            Action::BirdConfBreaks => {
                fs::write(lab.file("host.conf"), format!("{}\nprotocol x {{\n", self.bird_conf)).unwrap();
            }
            Action::BirdConfRepaired => fs::write(lab.file("host.conf"), &self.bird_conf).unwrap(),
            Action::Command(mode) => fs::write(lab.file("command-mode"), format!("{mode:?}")).unwrap(),
            Action::Custom(mode) => self.set_custom_mode(*mode, &world.configuration),
            Action::Disk(disk) => self.set_disk(*disk),
            Action::Pause(milliseconds) => std::thread::sleep(Duration::from_millis(*milliseconds)),
        }
    }

    // --- the daemon ---

    fn start_daemon(&mut self) {
        let starts = |lab: &Lab| lab.log("daemon.log").matches("initialize healthchecker").count();
        let before = starts(&self.lab);
        self.lab.start_daemon();
        // An earlier signal might reach a program without signal handlers.
        self.lab.wait_until("the daemon to start", |lab| starts(lab) > before);
    }

    fn restart(&mut self, killed: bool, damage: Option<(usize, Damage)>, configuration: &Configuration) {
        if killed {
            self.lab.signal(Signal::SIGKILL);
            assert_eq!(self.lab.wait_exit(), None, "it was killed");
            // Like a supervisor, also kills the daemon's children.
            CHILDREN.iter().flat_map(|text| self.lab.processes(text)).for_each(kill_process);
        } else {
            self.lab.stop_daemon();
        }
        if let Some((family, damage)) = damage {
            self.damage(family, damage);
            self.list_lost = Some(Instant::now());
        }
        self.write(&Configuration { splay: false, ..configuration.clone() });
        self.start_daemon();
    }

    // --- the lists ---

    fn damage(&self, of_family: usize, damage: Damage) {
        let list = self.lab.list_on_host(of_family);
        let text = fs::read(&list).unwrap();
        match damage {
            Damage::Emptied => fs::write(list, "").unwrap(),
            Damage::Truncated => fs::write(list, &text[..text.len() / 2]).unwrap(),
            Damage::Garbled => fs::write(list, "\0\u{1}]; [[").unwrap(),
            Damage::Removed => fs::remove_file(list).unwrap(),
            Damage::Replaced => {
                let some = PREFIXES.iter().step_by(2).copied();
                let prefixes: Vec<Prefix> = STEADY.iter().map(|(_, prefix)| *prefix).chain(some).collect();
                let ours = prefixes.into_iter().chain([UNMANAGED]).filter(|prefix| family(prefix) == of_family);
                let (variable, dummy) =
                    [("ACAST_PS_ADVERTISE", "10.189.200.255/32"), ("ACAST6_PS_ADVERTISE", "2001:db8::1/128")]
                        [of_family];
                let others: String = ours.map(|prefix| format!(", {prefix}")).collect();
                fs::write(list, format!("define {variable} = [ {dummy}{others} ];\n")).unwrap();
            }
        }
    }

    /// Replaces `bird_conf` by a symbolic link to a copy.
    fn link_list(&self) {
        let list = self.lab.list_path(0).display().to_string();
        self.lab.on_host(
            "sh",
            &["-c", &format!("cp {list} {list}.behind && ln -s {list}.behind {list}.new && mv -T {list}.new {list}")],
        );
    }

    /// Replaces `bird_conf` by a regular file.
    fn unlink_list(&self) {
        let list = self.lab.list_path(0).display().to_string();
        self.lab.on_host("sh", &["-c", &format!("cp {list} {list}.new && mv -T {list}.new {list}")]);
    }

    /// Mounts a file system under the IPv6 list. It is visible only on the host.
    fn mount_disk(&self) {
        let (list, kept) = (self.lab.list_path(1).display().to_string(), self.lab.file("kept").display().to_string());
        self.lab.on_host("cp", &[&list, &kept]);
        let directory = self.lab.file("6").display().to_string();
        self.lab.on_host("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", &directory]);
        self.lab.on_host("cp", &[&kept, &list]);
    }

    fn set_disk(&self, disk: Disk) {
        self.remount(if disk == Disk::ReadOnly { "ro" } else { "rw" });
        match disk {
            Disk::Works => self.in_disk("rm -f fill"),
            Disk::Full => self.in_disk("dd if=/dev/zero of=fill bs=4k 2>/dev/null; true"),
            Disk::ReadOnly => {}
        }
    }

    fn in_disk(&self, script: &str) {
        self.lab.on_host("sh", &["-c", &format!("cd {} && {script}", self.lab.file("6").display())]);
    }

    /// Remounts the file system. The kernel refuses while the daemon writes, so this tries again.
    fn remount(&self, how: &str) {
        let disk = self.lab.file("6").display().to_string();
        let again = format!("until mount -o remount,bind,{how} {disk} 2>/dev/null; do sleep 0.01; done");
        self.lab.on_host("sh", &["-c", &again]);
    }

    // --- processes ---

    fn stop_bird(&mut self) {
        self.expect_steady();
        self.steady_since = None;
        self.lab.signal_bird(Signal::SIGCONT);
        self.lab.stop_bird();
    }

    fn set_watched_process(&self, runs: bool) {
        let watched = self.lab.processes(WATCHED);
        if runs && watched.is_empty() {
            self.start_watched();
        } else if !runs {
            watched.into_iter().for_each(kill_process);
        }
    }

    fn start_watched(&self) {
        let lab = self.lab.path().display();
        let script = format!("{WATCHED} </dev/null >/dev/null 2>&1 & echo $! >{lab}/watched.pid");
        self.lab.on_host("/bin/sh", &["-c", &script]);
    }

    /// Writes an executable script. A process of the host writes it, because a file that is still
    /// open for writing in a child of another test cannot be executed.
    fn program(&self, name: &str, script: &str) {
        let text = format!("#!/bin/sh\n{}", self.lab.script_text(script));
        let file = self.lab.file(name).display().to_string();
        self.lab.on_host("sh", &["-c", "printf %s \"$1\" >\"$2\" && chmod +x \"$2\"", "sh", &text, &file]);
    }

    /// The path of a file for one service.
    fn service_file(&self, kind: &str, name: Name) -> PathBuf {
        self.lab.file(&format!("{kind}{name}"))
    }
}

/// Creates or removes a file.
fn set_exists(file: &Path, is_there: bool) {
    if is_there {
        fs::write(file, "").unwrap();
    } else {
        // The file may not exist.
        let _ = fs::remove_file(file);
    }
}

fn kill_process(pid: i32) {
    // The process may have ended.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}
