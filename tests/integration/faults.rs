//! Every system call fails once, in every way it can, and at every one of them the daemon is killed.
//!
//! BIRD is told by command, and once more over its control socket. By default a sample is played. `FAULTS=all` plays all
//! of them and renews the tables of docs/fault-injection.md. `FAULTS="create ENOSPC 2"` or `FAULTS="rename KILL 1"` plays
//! one and tells how it went.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use nix::errno::Errno;

use run::{Outcome, Place, Way};
use table::{Row, BY_SOCKET, DEADLY, DEADLY_BY_SOCKET, TABLE};
use tracer::{Deed, Fault, Seen};

use crate::lab::service::Service;
use crate::lab::Lab;

mod fake_bird;
mod run;
mod table;
pub(crate) mod tracer;

/// How many faults the sample of one table has at most.
const SAMPLE: usize = 70;
/// How many runs go on at a time.
const AT_A_TIME: usize = 3;
/// Up to so many calls of a kind each is a place for a fault, and then the last.
const PLACES: usize = 25;
/// Begins the heading of each table in docs/fault-injection.md, and of nothing else there.
const TABLE_HEADING: &str = "### ";

#[test]
fn whatever_call_fails_routes_come_right_and_the_daemon_goes_on() {
    play_all("Calls that fail", Way::Command, failing(TABLE));
}

#[test]
fn the_list_is_synced_before_it_takes_the_old_ones_place() {
    let (outcome, Seen { story, .. }) = Place::new(Way::Command).run(None);
    assert_eq!(outcome, Outcome::WentOn);
    let of_list: Vec<&str> = story
        .iter()
        .filter(|line| line.contains("/.anycast-prefixes.conf."))
        .filter_map(|line| line.split(' ').next())
        .filter(|call| ["fsync", "rename"].contains(call))
        .collect();
    assert_eq!(of_list, ["fsync", "rename", "fsync", "rename"], "{story:#?}");
}

/// Where others can write, they can neither be there first nor have a file of theirs written to.
#[test]
fn temporary_files_are_new_and_have_names_that_nobody_foresees() {
    let place = Place::new(Way::Command);
    let mut names = BTreeSet::new();
    let created: Vec<String> = (0..2).flat_map(|_| place.run(None).1.story).collect();
    let temporary = created.iter().filter(|line| line.starts_with("create ") && line.contains(".new"));
    for line in temporary {
        let path = line.strip_prefix("create ").and_then(|line| line.strip_suffix(" exclusively")).unwrap();
        let random = path.strip_suffix(".new").unwrap().rsplit('.').next().unwrap();
        assert!(random.len() == 16 && u64::from_str_radix(random, 16).is_ok(), "{path}");
        assert!(names.insert(random.to_string()), "{path} comes twice");
    }
    assert!(names.len() >= 6, "{created:#?}");
}

/// The same with a real BIRD and its peer: the lists of the other tests are the script's, not BIRD's.
#[test]
fn with_a_real_bird_routes_come_right_whatever_call_fails() {
    const WEB: &str = "10.52.12.1/32";
    const OTHER: &str = "10.52.12.2/32";
    let mut lab = Lab::advertising([Service::new("web", WEB).with("check_fail", "2"), Service::new("other", OTHER)]);
    let gate = lab.file("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let traced = lab.file("traced");
    let daemon = env!("CARGO_BIN_EXE_anycast-healthchecker");
    std::fs::write(&traced, format!("#!/bin/sh\nread -r go < {}\nexec {daemon} \"$@\"\n", gate.display())).unwrap();
    std::fs::set_permissions(&traced, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mark = lab.routes.mark();
    let by_command = [
        ("create", 2, Errno::ENOSPC),
        ("fsync", 1, Errno::EIO),
        ("rename", 1, Errno::EACCES),
        ("execve", 2, Errno::EAGAIN),
        ("clone process", 3, Errno::ENOMEM),
        ("pipe", 4, Errno::EMFILE),
        ("pidfd_open", 2, Errno::ENFILE),
        ("poll", 5, Errno::EINTR),
        ("read pipe", 1, Errno::EINTR),
        ("kill", 2, Errno::EPERM),
    ];
    let by_socket = [
        ("connect", 1, Errno::EAGAIN),
        ("connect", 1, Errno::ECONNREFUSED),
        ("connect", 1, Errno::EINTR),
        ("send", 4, Errno::ENOBUFS),
        ("send", 5, Errno::EINTR),
        ("receive", 7, Errno::ENOMEM),
        ("receive", 9, Errno::EINTR),
        ("socket", 5, Errno::EMFILE),
    ];
    let socket = lab.file("host.ctl").display().to_string();
    for (at, (call, nth, errno)) in by_command.into_iter().chain(by_socket).enumerate() {
        println!("{call} {errno:?} {nth}");
        if at == by_command.len() {
            lab.option("bird_control_socket", &socket);
            lab.option("bird6_control_socket", &socket);
        }
        lab.start_this_daemon(traced.to_str().unwrap());
        let pid = lab.processes("traced")[0];
        let fault = Fault { call: call.into(), nth, deed: Deed::Fail(errno) };
        let tracer = tracer::trace(pid, Some(fault));
        std::fs::write(&gate, "go\n").unwrap();
        lab.wait_runs("other", 2);
        lab.kill("other");
        lab.wait_withdrawn(OTHER);
        lab.revive("other");
        lab.wait_advertised(OTHER);
        lab.wait_listed(&[WEB, OTHER]);
        lab.stop_daemon();
        assert!(tracer.join().unwrap().hit.is_some(), "the call was not made");
    }
    lab.routes.expect_still(WEB, mark);
}

#[test]
fn wherever_it_is_killed_no_file_is_torn_and_the_next_start_puts_all_right() {
    play_all("The daemon killed before a call", Way::Command, deadly(DEADLY));
}

#[test]
fn over_the_control_socket_it_is_the_same() {
    play_all("With BIRD's control socket", Way::Socket, [failing(BY_SOCKET), deadly(DEADLY_BY_SOCKET)].concat());
}

fn failing(table: &[Row]) -> Vec<(&'static str, Deed)> {
    table.iter().flat_map(|(call, errors)| errors.iter().map(|errno| (*call, Deed::Fail(*errno)))).collect()
}

fn deadly(calls: &[&'static str]) -> Vec<(&'static str, Deed)> {
    calls.iter().map(|call| (*call, Deed::Kill)).collect()
}

fn play_all(title: &str, way: Way, wanted: Vec<(&'static str, Deed)>) {
    let all = std::env::var("FAULTS").unwrap_or_default();
    let place = Place::new(way);
    let (outcome, Seen { counts, .. }) = place.run(None);
    assert_eq!(outcome, Outcome::WentOn, "the run without a fault");
    println!("calls of a run without a fault: {counts:?}");
    let places = |call: &str| -> BTreeSet<usize> {
        let count = counts.get(call).copied().unwrap_or(0);
        if !all.is_empty() {
            (1..=count.min(PLACES)).chain((count > 0).then_some(count)).collect()
        } else {
            [1, 2, count].into_iter().filter(|nth| (1..=count).contains(nth)).collect()
        }
    };
    let mut faults: Vec<Fault> = wanted
        .iter()
        .flat_map(|(call, deed)| places(call).into_iter().map(|nth| Fault { call: call.to_string(), nth, deed: *deed }))
        .collect();
    match all.as_str() {
        "all" => {}
        "" => {
            // Spread evenly, so that each kind of call has its share.
            let every = faults.len().div_ceil(SAMPLE);
            faults = faults.into_iter().step_by(every).collect();
        }
        // It may be one of the other test's.
        one => faults.retain(|fault| spelled(fault) == one),
    }
    let played = play(faults, place, way);
    let broken: Vec<String> = played
        .iter()
        .filter_map(|(fault, outcome)| match outcome {
            Outcome::Broken(why) => Some(format!("=== {}: {why}", spelled(fault))),
            _ => None,
        })
        .collect();
    let table = in_words(title, &wanted, &played);
    println!("{table}");
    if all == "all" {
        keep(title, &table);
    }
    assert!(broken.is_empty(), "{} of {} broken:\n{}", broken.len(), played.len(), broken.join("\n"));
}

/// Plays them, some at a time.
fn play(faults: Vec<Fault>, place: Place, way: Way) -> Vec<(Fault, Outcome)> {
    let alone = faults.len() == 1;
    let (waiting, played) = (Mutex::new(faults.into_iter().rev().collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let work = |place: Place| loop {
        let Some(fault) = waiting.lock().unwrap().pop() else { return };
        let (outcome, seen) = place.run(Some(&fault));
        if alone {
            println!("{}: {outcome:?}: {:?}", spelled(&fault), seen.hit);
        }
        played.lock().unwrap().push((fault, outcome));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(place));
        for _ in 1..AT_A_TIME {
            scope.spawn(|| work(Place::new(way)));
        }
    });
    played.into_inner().unwrap()
}

fn spelled(fault: &Fault) -> String {
    let deed = match fault.deed {
        Deed::Kill => "KILL".to_string(),
        Deed::Fail(errno) => format!("{errno:?}"),
    };
    format!("{} {deed} {}", fault.call, fault.nth)
}

/// The table: a line for each call and deed.
fn in_words(title: &str, wanted: &[(&'static str, Deed)], played: &[(Fault, Outcome)]) -> String {
    let mut text = format!(
        "{TABLE_HEADING}{title}\n\n| call | fault | runs | continued | refused to start | broken |\n|---|---|---|---|---|---|\n"
    );
    let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (call, deed) in wanted {
        let of_row: Vec<_> = played.iter().filter(|(fault, _)| fault.call == *call && fault.deed == *deed).collect();
        let count = |is: &dyn Fn(&Outcome) -> bool| of_row.iter().filter(|(_, outcome)| is(outcome)).count();
        let reached = of_row.len() - count(&|outcome| *outcome == Outcome::NotReached);
        if reached == 0 {
            continue;
        }
        let what = match deed {
            Deed::Kill => "SIGKILL before it".to_string(),
            Deed::Fail(errno) => format!("{errno:?}"),
        };
        let went_on = count(&|outcome| matches!(outcome, Outcome::WentOn | Outcome::Killed));
        let refused = count(&|outcome| matches!(outcome, Outcome::Refused(_)));
        let broken = count(&|outcome| matches!(outcome, Outcome::Broken(_)));
        writeln!(text, "| {call} | {what} | {reached} | {went_on} | {refused} | {broken} |").unwrap();
        for (_, outcome) in of_row {
            if let Outcome::Refused(why) = outcome {
                reasons.entry(why.clone()).or_default().insert(call.to_string());
            }
        }
    }
    if !reasons.is_empty() {
        text += "\nMessages when it refused to start:\n\n";
        for (why, calls) in reasons {
            writeln!(text, "- {}: `{why}`", calls.into_iter().collect::<Vec<_>>().join(", ")).unwrap();
        }
    }
    text
}

/// Replaces one table of docs/fault-injection.md.
fn keep(title: &str, table: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fault-injection.md");
    let page = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, renewed(&page, title, table)).unwrap();
}

/// The page with one table replaced. The prose above the tables stays as it is.
fn renewed(page: &str, title: &str, table: &str) -> String {
    let heading = format!("\n{TABLE_HEADING}");
    let mut parts = page.split(&heading);
    let prose = parts.next().unwrap();
    let mut tables: BTreeMap<&str, &str> =
        parts.filter_map(|part| Some((part.lines().next()?, part.trim_end()))).collect();
    tables.insert(title, table.strip_prefix(TABLE_HEADING).unwrap().trim_end());
    let tables: Vec<String> = tables.values().map(|table| format!("\n{TABLE_HEADING}{table}\n")).collect();
    format!("{prose}{}", tables.concat())
}

#[test]
fn renewing_a_table_keeps_the_rest_of_the_page() {
    let page = include_str!("../../docs/fault-injection.md");
    let title = "The daemon killed before a call";
    let (_, from) = page.split_once(&format!("{TABLE_HEADING}{title}")).unwrap();
    let (rows, _) = from.split_once(&format!("\n{TABLE_HEADING}")).unwrap();
    let table = format!("{TABLE_HEADING}{title}{rows}");
    assert_eq!(renewed(page, title, &table), page);
    assert_eq!(
        renewed(page, title, &format!("{table}| new |\n")),
        page.replacen(&table, &format!("{table}| new |\n"), 1)
    );
}
