//! What can happen in the game: the table of acts, each drawn with a service and a number that it may use.
//!
//! Promises: what is drawn depends on the seed alone, never on how things stand; what an act makes of it may.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::RngExt;

use super::{Game, POOR, WATCHED};
use crate::lab::{daemon_program, Lab};

type Play = fn(&mut Game, usize, usize);

/// How often each comes compared with the others, and what it is called.
const ACTS: &[(u32, &str, Play)] = &[
    (10, "dies or revives", |game, who, number| put(&game.of("alive/", who), !is_bad(number))),
    (2, "hangs or not", |game, who, number| put(&game.of("hang-", who), is_bad(number))),
    (2, "floods or not", |game, who, number| put(&game.of("flood-", who), is_bad(number))),
    (2, "leaves children or not", |game, who, number| put(&game.of("fork-", who), is_bad(number))),
    (4, "address goes or comes", address_goes_or_comes),
    (2, "watched process ends or another begins", watched_ends_or_begins),
    (2, "drained or not, by file", |game, who, number| put(&game.of("drain-", who), is_bad(number))),
    (2, "drained or not, by command", drained_by_command),
    (2, "reload: service leaves or returns", service_leaves_or_returns),
    (2, "reload: service changes", service_changes),
    (1, "reload: the history begins or ends", history_begins_or_ends),
    (2, "reload: a broken configuration", configuration_breaks),
    (2, "reloads in a row", |game, _, number| (0..number).for_each(|_| game.reload())),
    (2, "birdc fails", |game, _, _| birdc(game, "fails")),
    (2, "birdc hangs", |game, _, _| birdc(game, "hangs")),
    (1, "birdc lies", |game, _, _| birdc(game, "lies")),
    (1, "birdc babbles", |game, _, _| birdc(game, "babbles")),
    (1, "birdc is well", |game, _, _| birdc(game, "")),
    (1, "BIRD stops or starts", bird_stops_or_starts),
    (3, "BIRD freezes", |game, _, _| signal_bird(game, Signal::SIGSTOP)),
    (1, "BIRD goes on", |game, _, _| signal_bird(game, Signal::SIGCONT)),
    (2, "bird.conf breaks", bird_conf_breaks),
    (2, "list tampered with", list_tampered_with),
    (2, "disk full", |game, _, _| game.in_disk("dd if=/dev/zero of=fill bs=4k 2>/dev/null; true")),
    (2, "disk read-only", |game, _, _| game.remount("ro")),
    (2, "checks now", |game, _, number| (0..number).for_each(|_| game.lab.signal(Signal::SIGURG))),
    (1, "daemon killed", daemon_killed),
    (1, "daemon restarted", daemon_restarted),
    (2, "pause", |_, _, number| std::thread::sleep(Duration::from_millis(4 * number as u64))),
];

/// One that was drawn.
pub(super) struct Act {
    name: &'static str,
    play: Play,
    who: usize,
    number: usize,
}

impl Act {
    pub(super) fn draw(random: &mut StdRng) -> Act {
        let all: u32 = ACTS.iter().map(|(weight, ..)| weight).sum();
        let mut left = random.random_range(0..all);
        let (_, name, play) = ACTS
            .iter()
            .find(|(weight, ..)| match left.checked_sub(*weight) {
                Some(less) => {
                    left = less;
                    false
                }
                None => true,
            })
            .unwrap();
        Act { name, play: *play, who: random.random_range(0..POOR.len()), number: random.random_range(1..100) }
    }

    pub(super) fn play(&self, game: &mut Game) {
        (self.play)(game, self.who, self.number);
    }
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", self.name, POOR[self.who].0, self.number)
    }
}

/// Lists that somebody puts in place. None of them is a good one without the steady service, as BIRD may read it.
const TAMPERED: [&str; 4] = [
    "",
    "define ACAST_PS_",
    "\0\u{1}]; [[",
    "define ACAST_PS_ADVERTISE = [ 10.189.200.255/32, 10.52.12.1/32, 10.52.12.3/32, 10.66.6.6/32 ];\n",
];

/// Whether it is the bad of two things: less often, as else hardly a service would ever be wanted.
fn is_bad(number: usize) -> bool {
    number.is_multiple_of(3)
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

fn address_goes_or_comes(game: &mut Game, who: usize, number: usize) {
    let wanted = !is_bad(number);
    if std::mem::replace(&mut game.has_address[who], wanted) != wanted {
        let change = if wanted { Lab::add_address } else { Lab::remove_address };
        change(&game.lab, POOR[who].1, "lo");
    }
}

fn watched_ends_or_begins(game: &mut Game, _: usize, _: usize) {
    let watched = game.lab.processes(WATCHED);
    if watched.is_empty() {
        game.start_watched();
    }
    watched.into_iter().for_each(end);
}

fn drained_by_command(game: &mut Game, who: usize, number: usize) {
    let option = if is_bad(number) { "--drain" } else { "--undrain" };
    let [main, services] = ["daemon.conf", "services.d"].map(|name| game.lab.file(name).display().to_string());
    // What it does it does first; then it waits for BIRD, which may not be there. It refuses where there is no such
    // service just now, and where the configuration cannot be read.
    let command = format!("timeout 1 {} {option} {} -f {main} -d {services} || true", daemon_program(), POOR[who].0);
    game.lab.on_host("sh", &["-c", &command]);
}

fn service_leaves_or_returns(game: &mut Game, who: usize, number: usize) {
    let file = game.section_of(who);
    if is_bad(number) {
        // It may have left already.
        let _ = fs::remove_file(file);
    } else {
        fs::write(file, &game.sections[who]).unwrap();
    }
    game.reload();
}

/// Another interval, and every other time another name: then another service takes its prefix over.
fn service_changes(game: &mut Game, who: usize, number: usize) {
    let name = POOR[who].0;
    let mut section =
        game.sections[who].replace("check_interval = 0.2", &format!("check_interval = 0.{}", 1 + number % 3));
    if number.is_multiple_of(2) {
        section = section.replace(&format!("[{name}]"), &format!("[{name}-renamed]"));
    }
    fs::write(game.section_of(who), section).unwrap();
    game.reload();
}

fn history_begins_or_ends(game: &mut Game, _: usize, number: usize) {
    game.lab.option("bird_keep_changes", if number.is_multiple_of(2) { "true" } else { "false" });
    game.lab.write_options();
    game.reload();
}

fn configuration_breaks(game: &mut Game, _: usize, _: usize) {
    fs::write(game.lab.file("services.d/broken.conf"), "[broken]\nip_prefix = nonsense\ncheck_rise = 0\n").unwrap();
    game.reload();
}

fn birdc(game: &mut Game, mode: &str) {
    fs::write(game.lab.file("birdc-mode"), mode).unwrap();
}

fn bird_stops_or_starts(game: &mut Game, _: usize, _: usize) {
    if game.bird_runs {
        game.stop_bird();
    } else {
        game.start_bird();
    }
}

fn signal_bird(game: &mut Game, signal: Signal) {
    if game.bird_runs {
        game.lab.signal_bird(signal);
    }
}

fn bird_conf_breaks(game: &mut Game, _: usize, _: usize) {
    fs::write(game.lab.file("host.conf"), format!("{}\nprotocol x {{\n", game.bird_conf)).unwrap();
}

fn list_tampered_with(game: &mut Game, _: usize, number: usize) {
    let list = game.lab.list_path(0);
    match TAMPERED.get(number % (TAMPERED.len() + 1)) {
        Some(text) => fs::write(list, text).unwrap(),
        // It may be gone already.
        None => _ = fs::remove_file(list),
    }
}

fn daemon_killed(game: &mut Game, _: usize, _: usize) {
    game.wait_for_list();
    game.lab.signal(Signal::SIGKILL);
    assert_eq!(game.lab.wait_exit(), None, "it was killed");
    // As a supervisor does: what it started is ended, too.
    ["checks/", "configure", "sleep 100"].iter().flat_map(|text| game.lab.processes(text)).for_each(end);
    game.start_daemon();
}

fn daemon_restarted(game: &mut Game, _: usize, _: usize) {
    game.wait_for_list();
    game.lab.stop_daemon();
    game.start_daemon();
}

fn end(pid: i32) {
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}
