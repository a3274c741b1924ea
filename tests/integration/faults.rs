//! Fault injection: each system call fails once with each possible error, and the daemon is killed
//! at each call.
//!
//! BIRD is reconfigured by a command, and in another test over its control socket. By default a
//! sample of the faults is injected. `FAULTS=all` injects all of them and updates the tables in
//! docs/fault-injection.md. `FAULTS="create ENOSPC 2"` or `FAULTS="rename KILL 1"` injects one and
//! prints its result.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use nix::errno::Errno;

use run::{Outcome, Sandbox, Transport};
use table::{Row, BY_SOCKET, DEADLY, DEADLY_BY_SOCKET, TABLE};
use tracer::{Fault, FaultAction, Trace};

use crate::lab::service::Service;
use crate::lab::Lab;

mod fake_bird;
mod run;
mod table;
pub(crate) mod tracer;

/// The number of faults in the sample of one table.
const MAX_SAMPLED_FAULTS: usize = 70;
/// The number of runs at the same time.
const PARALLEL_RUNS: usize = 3;
/// Faults are injected at so many calls of each kind, and at the last one.
const MAX_CALLS_OF_A_KIND: usize = 25;
/// The beginning of each table's heading in docs/fault-injection.md. Nothing else there begins like
/// this.
const TABLE_HEADING: &str = "### ";

#[test]
fn the_routes_are_right_and_the_daemon_continues_whatever_call_fails() {
    inject_all("Calls that fail", Transport::Command, failing(TABLE));
}

#[test]
fn the_new_list_is_synced_before_it_replaces_the_old_one() {
    let (outcome, Trace { calls, .. }) = Sandbox::new(Transport::Command).run(None);
    assert_eq!(outcome, Outcome::Continued);
    let of_list: Vec<&str> = calls
        .iter()
        .filter(|line| line.contains("/.anycast-prefixes.conf."))
        .filter_map(|line| line.split(' ').next())
        .filter(|call| ["fsync", "rename"].contains(call))
        .collect();
    assert_eq!(of_list, ["fsync", "rename", "fsync", "rename"], "{calls:#?}");
}

/// An attacker who can write to the directory cannot predict the name of a temporary file, or have
/// the daemon open his own.
#[test]
fn temporary_files_are_created_exclusively_with_unpredictable_names() {
    let sandbox = Sandbox::new(Transport::Command);
    let mut names = BTreeSet::new();
    let created: Vec<String> = (0..2).flat_map(|_| sandbox.run(None).1.calls).collect();
    let temporary = created.iter().filter(|line| line.starts_with("create ") && line.contains(".new"));
    for line in temporary {
        let path = line.strip_prefix("create ").and_then(|line| line.strip_suffix(" exclusively")).unwrap();
        let random = path.strip_suffix(".new").unwrap().rsplit('.').next().unwrap();
        assert!(random.len() == 16 && u64::from_str_radix(random, 16).is_ok(), "{path}");
        assert!(names.insert(random.to_string()), "{path} is used twice");
    }
    assert!(names.len() >= 6, "{created:#?}");
}

/// The same with a real BIRD and its peer. The other tests use a script in the place of BIRD.
#[test]
fn the_routes_of_a_real_bird_are_right_whatever_call_fails() {
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
        let fault = Fault { call: call.into(), nth, action: FaultAction::Fail(errno) };
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
    lab.routes.expect_unmoved(WEB, mark);
}

#[test]
fn no_file_is_torn_and_the_next_start_is_right_wherever_the_daemon_is_killed() {
    inject_all("The daemon killed before a call", Transport::Command, deadly(DEADLY));
}

#[test]
fn the_control_socket_survives_the_same_faults() {
    inject_all(
        "With BIRD's control socket",
        Transport::Socket,
        [failing(BY_SOCKET), deadly(DEADLY_BY_SOCKET)].concat(),
    );
}

fn failing(table: &[Row]) -> Vec<(&'static str, FaultAction)> {
    table.iter().flat_map(|(call, errors)| errors.iter().map(|errno| (*call, FaultAction::Fail(*errno)))).collect()
}

fn deadly(calls: &[&'static str]) -> Vec<(&'static str, FaultAction)> {
    calls.iter().map(|call| (*call, FaultAction::Kill)).collect()
}

fn inject_all(title: &str, transport: Transport, wanted: Vec<(&'static str, FaultAction)>) {
    let all = std::env::var("FAULTS").unwrap_or_default();
    let sandbox = Sandbox::new(transport);
    let (outcome, Trace { counts, .. }) = sandbox.run(None);
    assert_eq!(outcome, Outcome::Continued, "the run without a fault");
    println!("calls of a run without a fault: {counts:?}");
    let positions = |call: &str| -> BTreeSet<usize> {
        let count = counts.get(call).copied().unwrap_or(0);
        if !all.is_empty() {
            (1..=count.min(MAX_CALLS_OF_A_KIND)).chain((count > 0).then_some(count)).collect()
        } else {
            [1, 2, count].into_iter().filter(|nth| (1..=count).contains(nth)).collect()
        }
    };
    let mut faults: Vec<Fault> = wanted
        .iter()
        .flat_map(|(call, action)| {
            positions(call).into_iter().map(|nth| Fault { call: call.to_string(), nth, action: *action })
        })
        .collect();
    match all.as_str() {
        "all" => {}
        "" => {
            // Evenly spread, so that each kind of call is included.
            let step = faults.len().div_ceil(MAX_SAMPLED_FAULTS);
            faults = faults.into_iter().step_by(step).collect();
        }
        // It may belong to another test.
        one => faults.retain(|fault| describe(fault) == one),
    }
    let results = inject(faults, sandbox, transport);
    let broken: Vec<String> = results
        .iter()
        .filter_map(|(fault, outcome)| match outcome {
            Outcome::Broken(why) => Some(format!("=== {}: {why}", describe(fault))),
            _ => None,
        })
        .collect();
    let table = result_table(title, &wanted, &results);
    println!("{table}");
    if all == "all" {
        write_table(title, &table);
    }
    assert!(broken.is_empty(), "{} of {} broken:\n{}", broken.len(), results.len(), broken.join("\n"));
}

/// Injects the faults, some at a time.
fn inject(faults: Vec<Fault>, sandbox: Sandbox, transport: Transport) -> Vec<(Fault, Outcome)> {
    let is_single = faults.len() == 1;
    let (waiting, results) = (Mutex::new(faults.into_iter().rev().collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let work = |sandbox: Sandbox| loop {
        let Some(fault) = waiting.lock().unwrap().pop() else { return };
        let (outcome, trace) = sandbox.run(Some(&fault));
        if is_single {
            println!("{}: {outcome:?}: {:?}", describe(&fault), trace.hit);
        }
        results.lock().unwrap().push((fault, outcome));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(sandbox));
        for _ in 1..PARALLEL_RUNS {
            scope.spawn(|| work(Sandbox::new(transport)));
        }
    });
    results.into_inner().unwrap()
}

fn describe(fault: &Fault) -> String {
    let action = match fault.action {
        FaultAction::Kill => "KILL".to_string(),
        FaultAction::Fail(errno) => format!("{errno:?}"),
    };
    format!("{} {action} {}", fault.call, fault.nth)
}

/// The result table: a line for each call and fault.
fn result_table(title: &str, wanted: &[(&'static str, FaultAction)], results: &[(Fault, Outcome)]) -> String {
    let mut text = format!(
        "{TABLE_HEADING}{title}\n\n| call | fault | runs | continued | refused to start | broken |\n|---|---|---|---|---|---|\n"
    );
    let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (call, action) in wanted {
        let of_row: Vec<_> =
            results.iter().filter(|(fault, _)| fault.call == *call && fault.action == *action).collect();
        let count = |is: &dyn Fn(&Outcome) -> bool| of_row.iter().filter(|(_, outcome)| is(outcome)).count();
        let reached = of_row.len() - count(&|outcome| *outcome == Outcome::NotReached);
        if reached == 0 {
            continue;
        }
        let what = match action {
            FaultAction::Kill => "SIGKILL before it".to_string(),
            FaultAction::Fail(errno) => format!("{errno:?}"),
        };
        let continued = count(&|outcome| matches!(outcome, Outcome::Continued | Outcome::Killed));
        let refused = count(&|outcome| matches!(outcome, Outcome::Refused(_)));
        let broken = count(&|outcome| matches!(outcome, Outcome::Broken(_)));
        writeln!(text, "| {call} | {what} | {reached} | {continued} | {refused} | {broken} |").unwrap();
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

/// Replaces one table in docs/fault-injection.md.
fn write_table(title: &str, table: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fault-injection.md");
    let page = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, with_table(&page, title, table)).unwrap();
}

/// The page with one table replaced. The text above the tables is kept.
fn with_table(page: &str, title: &str, table: &str) -> String {
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
fn updating_a_table_keeps_the_rest_of_the_page() {
    let page = include_str!("../../docs/fault-injection.md");
    let title = "The daemon killed before a call";
    let (_, from) = page.split_once(&format!("{TABLE_HEADING}{title}")).unwrap();
    let (rows, _) = from.split_once(&format!("\n{TABLE_HEADING}")).unwrap();
    let table = format!("{TABLE_HEADING}{title}{rows}");
    assert_eq!(with_table(page, title, &table), page);
    assert_eq!(
        with_table(page, title, &format!("{table}| new |\n")),
        page.replacen(&table, &format!("{table}| new |\n"), 1)
    );
}
