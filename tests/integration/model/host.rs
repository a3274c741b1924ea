//! The model's acts on a real host: files, processes and addresses; and what is to be seen of the
//! lists and the router.
//!
//! Promises: what was done by an act has been done when it returns; what the daemon makes of it is
//! not waited for, but that a reload and a start have been carried out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::act::{Act, Damage, Reload, UNINSTALL};
use super::configuration::{
    all_prefixes, family, Configuration, Custom, Name, Prefix, Service, Transport, PREFIXES, STEADY, UNMANAGED,
};
use super::world::{Disk, Expected, Mode, Verdict, World};
use crate::lab::router::Mark;
use crate::lab::{daemon_program, Lab};

/// How long an act may take to have its effect.
const LIMIT: Duration = Duration::from_secs(30);
/// How long BIRD may not be told after a list was lost.
const HOLD: Duration = Duration::from_secs(60);
/// The check of the service `$1`.
const CHECK: &str = "printf . >> runs/$1\n\
    test -e flood-$1 && yes | head -c 3000000\n\
    test -e fork-$1 && { sleep 1002 & }\n\
    while test -e hang-$1; do sleep 0.05; done\n\
    test -e alive/$1";
/// The families' command, which does what a file says.
const COMMAND: &str = "case $(cat command-mode) in\n\
    Fails) echo no >&2; exit 1 ;;\n\
    Hangs) sleep 1003 ;;\n\
    Lies) printf 'BIRD 2.0.12 ready.\\nReading configuration from x\\nwhatever\\n'; exit 0 ;;\n\
    Babbles) head -c 100000 /dev/urandom; exit 1 ;;\n\
    esac\n\
    exec $BIRDC";
/// The custom commands, each named by its kind.
const CUSTOM: &str = "case $(cat custom-mode) in\n\
    Fails) echo no >&2; exit 1 ;;\n\
    Hangs) sleep 1003 ;;\n\
    esac\n\
    case $0 in\n\
    *-slow) sleep 0.6 ;;\n\
    *-flaky) if mkdir $0.failed; then echo not yet >&2; exit 1; else rmdir $0.failed; fi ;;\n\
    esac\n\
    said=$($BIRDC); echo \"$said\"\n\
    case $said in *Reconfig*) ;; *) exit 1 ;; esac";
/// What `watch_pidfile` names.
const WATCHED: &str = "sleep 7004";
/// What a daemon that was killed leaves behind.
const CHILDREN: [&str; 4] = ["/tools/", "birdc", "sleep 1002", "sleep 1003"];
/// What the daemon says when it has taken a configuration.
const RELOADED: &str = "the configuration is reloaded";
/// How much more memory the daemon may have in the end, in kB.
const MORE_MEMORY: u64 = 16 * 1024;

/// What the daemon needs while nothing happens, and how many processes there are then.
pub(super) struct Needs {
    threads: usize,
    descriptors: usize,
    kilobytes: u64,
    processes: usize,
}

pub(super) struct Host {
    pub(super) lab: Lab,
    bird_conf: String,
    /// Since when the steady services have had their routes without a break.
    steady_since: Option<Mark>,
    /// When everything was settled the last time.
    settled: Mark,
    /// When a list was damaged while no daemon ran the last time.
    list_lost: Option<Instant>,
}

impl Host {
    /// Everything is there, and the daemon runs.
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

    /// Has it happen, in a world that does not know of it yet.
    pub(super) fn play(&mut self, act: &Act, world: &World) {
        let lab = &self.lab;
        match act {
            Act::Dies(name) => put(&self.of("alive/", name), false),
            Act::Revives(name) => put(&self.of("alive/", name), true),
            Act::Hangs(name) => put(&self.of("hang-", name), true),
            Act::HangEnds(name) => put(&self.of("hang-", name), false),
            Act::Floods(name, floods) => put(&self.of("flood-", name), *floods),
            Act::LeavesChildren(name, leaves) => put(&self.of("fork-", name), *leaves),
            Act::AddressGoes(prefix) => lab.remove_address(prefix, "lo"),
            Act::AddressComes(prefix) => lab.add_address(prefix, "lo"),
            Act::Drains(name) => put(&self.of("drain-", name), true),
            Act::Undrains(name) => put(&self.of("drain-", name), false),
            Act::DrainsByCommand(name) => self.operate("--drain", name),
            Act::UndrainsByCommand(name) => self.operate("--undrain", name),
            Act::WatchedProcess(runs) => self.watched_process(*runs),
            Act::Reload(reload) => self.reload(reload),
            Act::RefusedReload => self.refused_reload(),
            Act::Reloads(times) => self.wait_reload(RELOADED, *times),
            Act::ChecksNow(times) => (0..*times).for_each(|_| lab.signal(Signal::SIGURG)),
            Act::Restart { killed, damage } => self.restart(*killed, *damage, &world.configuration),
            Act::ListDamaged(family, damage) => {
                // One that runs now may have BIRD read the list before the daemon has put it right.
                lab.wait_until("custom commands to end", |lab| lab.processes("tools/custom").is_empty());
                self.damage(*family, *damage);
            }
            Act::Relinked(true) => self.link_list(),
            Act::Relinked(false) => self.unlink_list(),
            Act::BirdStops => self.stop_bird(),
            Act::BirdStarts => {
                fs::write(lab.file("host.conf"), &self.bird_conf).unwrap();
                self.lab.start_bird();
            }
            Act::BirdFreezes => lab.signal_bird(Signal::SIGSTOP),
            Act::BirdGoesOn => lab.signal_bird(Signal::SIGCONT),
            Act::BirdConfBreaks => {
                fs::write(lab.file("host.conf"), format!("{}\nprotocol x {{\n", self.bird_conf)).unwrap();
            }
            Act::BirdConfMended => fs::write(lab.file("host.conf"), &self.bird_conf).unwrap(),
            Act::Command(mode) => fs::write(lab.file("command-mode"), format!("{mode:?}")).unwrap(),
            Act::Custom(mode) => self.custom_mode(*mode, &world.configuration),
            Act::Disk(disk) => self.disk(*disk),
            Act::Pause(milliseconds) => std::thread::sleep(Duration::from_millis(*milliseconds)),
        }
    }

    // --- what is to be seen ---

    /// Waits until lists and routes are what the model expects, and for some checks more.
    #[track_caller]
    pub(super) fn wait_settled(&mut self, world: &World) {
        self.wait_for_expected(world);
        // Whatever is still on its way changes nothing.
        self.lab.wait_runs(STEADY[0].0, 2);
        self.wait_for_expected(world);
        self.expect_steady();
        if self.steady_since.is_none() && STEADY.iter().all(|(_, prefix)| self.lab.routes.has(prefix)) {
            self.steady_since = Some(self.lab.routes.mark());
        }
    }

    #[track_caller]
    fn wait_for_expected(&self, world: &World) {
        let now = Instant::now();
        let end = self.list_lost.map_or(now, |lost| now.max(lost + HOLD)) + LIMIT;
        loop {
            let unexpected = self.unexpected(world);
            if unexpected.is_empty() {
                return;
            }
            assert!(self.lab.daemon_runs(), "the daemon ended: {unexpected}");
            assert!(Instant::now() < end, "not as the model expects: {unexpected}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What is not as the model expects, a line for each prefix or service; empty where all is well.
    fn unexpected(&self, world: &World) -> String {
        match self.lab.listed() {
            None => "\n  a list is broken or missing".to_string(),
            Some(_) => match self.comparison(world, false) {
                text if text.is_empty() => self.unexpected_states(world),
                text => text,
            },
        }
    }

    /// The services of which the daemon thinks otherwise than the model, a line each. The routes do not tell that where
    /// another service, or a drain, keeps a prefix away: a service that is still on its way down would be advertised for
    /// a moment once that is over, and rightly so.
    fn unexpected_states(&self, world: &World) -> String {
        let (_, said) = self.lab.operate(&["--status", "--json"]);
        let Ok(document) = serde_json::from_str::<serde_json::Value>(&said) else {
            return format!("\n  there is no status: {said}");
        };
        let states = document["services"].as_array().unwrap().iter();
        let states: BTreeMap<&str, &str> =
            states.map(|service| (service["name"].as_str().unwrap(), service["state"].as_str().unwrap())).collect();
        let mut text = String::new();
        for (name, service) in &world.configuration.services {
            let expected = match world.verdict(name) {
                Verdict::Up => "up",
                Verdict::Down => "down",
                Verdict::Unknown | Verdict::Unsure => continue,
            };
            let is_for_another_reason = world.is_drained(name)
                || service.disabled.is_some()
                || service.prefixes.iter().any(|prefix| world.unassigned.contains(prefix));
            let found = states.get(name);
            if !is_for_another_reason && found != Some(&expected) {
                write!(text, "\n  {name} is {found:?}, expected is {expected}").unwrap();
            }
        }
        text
    }

    /// What the model expects and what there is, a line for each prefix: of all, or of those that
    /// are not as expected.
    pub(super) fn comparison(&self, world: &World, of_all: bool) -> String {
        let listed = self.lab.listed().unwrap_or_default();
        let mut text = String::new();
        for prefix in all_prefixes() {
            let levels = [
                ("list", world.listed(prefix), listed.contains(prefix)),
                ("router", world.routed(prefix), self.lab.routes.has(prefix)),
            ];
            if !of_all && levels.iter().all(|(_, expected, is_present)| expected.allows(*is_present)) {
                continue;
            }
            write!(text, "\n  {prefix}").unwrap();
            for (level, expected, is_present) in levels {
                let has = if is_present { "has it" } else { "lacks it" };
                write!(text, "; the {level} {has}, expected is {expected:?}").unwrap();
            }
            for (name, service) in world.configuration.services_of(prefix) {
                let drained = if world.is_drained(name) { ", drained" } else { "" };
                let custom = if service.custom.is_some() { ", custom" } else { "" };
                write!(text, "; {name} is {:?}{drained}{custom}", world.verdict(name)).unwrap();
            }
        }
        text
    }

    /// The steady services have never lost their routes, but while BIRD itself was stopped.
    #[track_caller]
    pub(super) fn expect_steady(&self) {
        let Some(mark) = self.steady_since else { return };
        STEADY.iter().for_each(|(_, prefix)| self.lab.routes.expect_still(prefix, mark));
    }

    /// No route moved since everything was settled that the model expects to be the same as then.
    #[track_caller]
    pub(super) fn expect_calm(&self, before: &World, after: &World) {
        for prefix in all_prefixes() {
            if before.routed(prefix) == after.routed(prefix) && after.routed(prefix) != Expected::Either {
                self.lab.routes.expect_still(prefix, self.settled);
            }
        }
    }

    /// Everything is settled.
    pub(super) fn mark(&mut self) {
        self.settled = self.lab.routes.mark();
    }

    /// What the daemon needs at the best of many moments, as at one of them no check runs.
    pub(super) fn needs(&self) -> Needs {
        let daemon = self.daemon();
        let moments: Vec<[usize; 3]> = (0..100)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(2));
                [count(daemon, "task"), count(daemon, "fd"), self.lab.processes("").len()]
            })
            .collect();
        let [threads, descriptors, processes] =
            [0, 1, 2].map(|what| moments.iter().map(|moment| moment[what]).min().unwrap());
        Needs { threads, descriptors, kilobytes: kilobytes(daemon), processes }
    }

    /// The daemon comes back to what it needed; nothing that it started is left.
    pub(super) fn expect_no_more(&self, needs: &Needs) {
        let (lab, daemon) = (&self.lab, self.daemon());
        lab.wait_until("the daemon's threads to be as many as before", |_| count(daemon, "task") <= needs.threads);
        lab.wait_until("the daemon's descriptors to be as many as before", |_| {
            count(daemon, "fd") <= needs.descriptors
        });
        let kilobytes = kilobytes(daemon);
        assert!(kilobytes < needs.kilobytes + MORE_MEMORY, "{kilobytes} kB, at first {}", needs.kilobytes);
        lab.wait_until("its children to be gone", |lab| lab.processes("sleep 1003").is_empty());
        lab.wait_until("children of children to be gone", |lab| lab.processes("sleep 1002").is_empty());
        lab.wait_until("processes to be as many as before", |lab| lab.processes("").len() <= needs.processes);
    }

    fn daemon(&self) -> i32 {
        self.lab.processes("daemon.conf").into_iter().min().unwrap()
    }

    // --- the configuration ---

    /// Writes all files of a configuration, custom commands included.
    fn write(&mut self, configuration: &Configuration) {
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
            lab.no_option(control_socket);
            lab.no_option(reconfigure_cmd);
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
        lab.no_option("splay_startup");
        if configuration.splay {
            lab.option("splay_startup", "3600");
        }
        lab.write_options();
        self.write_customs(configuration);
    }

    /// Writes the custom commands that services have, unless they are to be missing.
    fn write_customs(&self, configuration: &Configuration) {
        let is_missing = fs::read_to_string(self.lab.file("custom-mode")).unwrap() == "Missing";
        for custom in Custom::ALL {
            let name = script_of(custom);
            if is_missing {
                put(&self.lab.file(&name), false);
            } else if configuration.has_custom(custom) && !self.lab.file(&name).exists() {
                self.program(&name, CUSTOM);
            }
        }
    }

    fn custom_mode(&self, mode: Mode, configuration: &Configuration) {
        fs::write(self.lab.file("custom-mode"), format!("{mode:?}")).unwrap();
        self.write_customs(configuration);
    }

    fn reload(&mut self, reload: &Reload) {
        if let Some((name, is_alive)) = reload.newcomer {
            put(&self.of("alive/", name), is_alive);
        }
        self.write(&reload.configuration);
        if reload.word == UNINSTALL {
            let unused = Custom::ALL.into_iter().filter(|custom| !reload.configuration.has_custom(*custom));
            unused.for_each(|custom| put(&self.lab.file(&script_of(custom)), false));
        }
        self.wait_reload(RELOADED, 1);
    }

    fn refused_reload(&self) {
        let broken = self.lab.file("services.d/broken.conf");
        fs::write(&broken, "[broken]\nip_prefix = nonsense\ncheck_rise = 0\n").unwrap();
        self.wait_reload("the reload is refused", 1);
        fs::remove_file(broken).unwrap();
    }

    /// Tells the daemon so many times to read its configuration, and waits until it says that it
    /// did.
    fn wait_reload(&self, words: &str, times: usize) {
        let count = |lab: &Lab| lab.log("daemon.log").matches(words).count();
        let before = count(&self.lab);
        (0..times).for_each(|_| self.lab.signal(Signal::SIGHUP));
        self.lab.wait_until(words, |lab| count(lab) > before);
    }

    fn operate(&self, option: &str, name: Name) {
        let [main, services] = ["daemon.conf", "services.d"].map(|name| self.lab.file(name).display().to_string());
        // What it does it does first; then it waits for BIRD, which may not be there.
        let command = format!("timeout 2 {} {option} {name} -f {main} -d {services} || true", daemon_program());
        self.lab.on_host("sh", &["-c", &command]);
    }

    // --- the daemon ---

    fn start_daemon(&mut self) {
        let starts = |lab: &Lab| lab.log("daemon.log").matches("initialize healthchecker").count();
        let before = starts(&self.lab);
        self.lab.start_daemon();
        // A signal before this is over would find a program that does not know it yet.
        self.lab.wait_until("the daemon to start", |lab| starts(lab) > before);
    }

    fn restart(&mut self, killed: bool, damage: Option<(usize, Damage)>, configuration: &Configuration) {
        if killed {
            self.lab.signal(Signal::SIGKILL);
            assert_eq!(self.lab.wait_exit(), None, "it was killed");
            // As a supervisor does: what it started is ended, too.
            CHILDREN.iter().flat_map(|text| self.lab.processes(text)).for_each(end);
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

    /// `bird_conf` becomes a symbolic link to another file with the same text.
    fn link_list(&self) {
        let list = self.lab.list_path(0).display().to_string();
        self.lab.on_host(
            "sh",
            &["-c", &format!("cp {list} {list}.behind && ln -s {list}.behind {list}.new && mv -T {list}.new {list}")],
        );
    }

    /// `bird_conf` becomes a regular file with the same text.
    fn unlink_list(&self) {
        let list = self.lab.list_path(0).display().to_string();
        self.lab.on_host("sh", &["-c", &format!("cp {list} {list}.new && mv -T {list}.new {list}")]);
    }

    /// A disk for the list of IPv6, to be filled. It is seen on the host only.
    fn mount_disk(&self) {
        let (list, kept) = (self.lab.list_path(1).display().to_string(), self.lab.file("kept").display().to_string());
        self.lab.on_host("cp", &[&list, &kept]);
        let directory = self.lab.file("6").display().to_string();
        self.lab.on_host("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", &directory]);
        self.lab.on_host("cp", &[&kept, &list]);
    }

    fn disk(&self, disk: Disk) {
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

    /// The kernel refuses while the daemon is writing there.
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

    fn watched_process(&self, runs: bool) {
        let watched = self.lab.processes(WATCHED);
        if runs && watched.is_empty() {
            self.start_watched();
        } else if !runs {
            watched.into_iter().for_each(end);
        }
    }

    fn start_watched(&self) {
        let lab = self.lab.path().display();
        let script = format!("{WATCHED} </dev/null >/dev/null 2>&1 & echo $! >{lab}/watched.pid");
        self.lab.on_host("/bin/sh", &["-c", &script]);
    }

    /// Writes a shell script that can be run as it is: by a process of the host, as a file that is
    /// open for writing in a child of another test cannot be run.
    fn program(&self, name: &str, script: &str) {
        let text = format!("#!/bin/sh\n{}", self.lab.script_text(script));
        let file = self.lab.file(name).display().to_string();
        self.lab.on_host("sh", &["-c", "printf %s \"$1\" >\"$2\" && chmod +x \"$2\"", "sh", &text, &file]);
    }

    /// A file of a service: what it is for, and whose it is.
    fn of(&self, what: &str, name: Name) -> PathBuf {
        self.lab.file(&format!("{what}{name}"))
    }
}

fn script_of(custom: Custom) -> String {
    format!("tools/custom-{}", custom.word())
}

/// How many threads (`task`) or descriptors (`fd`) a process has.
fn count(pid: i32, what: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count)
}

fn kilobytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
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

/// Makes a file, or sees that there is none.
fn put(file: &Path, is_there: bool) {
    if is_there {
        fs::write(file, "").unwrap();
    } else {
        // There may be none.
        let _ = fs::remove_file(file);
    }
}

fn end(pid: i32) {
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}
