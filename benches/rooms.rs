//! What the rooms cost that stand between a check and a route: time, and allocations, which divan counts along.
//!
//! `cargo bench` runs all, `cargo bench -- routes` those with that in their name. Whole runs of the daemon are measured
//! by `contrib/bench/run`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set up gives up")]
#![allow(missing_docs, reason = "divan's main has none")]

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anycast_healthchecker::bird::prefix_file;
use anycast_healthchecker::bird::routes::{self, Decision, Known, Strangers};
use anycast_healthchecker::bird::table::{Named, Table, Verdicts};
use anycast_healthchecker::check::health::{Health, Outcome, State};
use anycast_healthchecker::check::schedule::Schedule;
use anycast_healthchecker::command::Command;
use anycast_healthchecker::config::ini::Ini;
use anycast_healthchecker::config::settings::{Bird, LogLevel};
use anycast_healthchecker::event::Verdict;
use anycast_healthchecker::log::format::{self, About, Record, Style};
use anycast_healthchecker::prefix::{Family, Prefix};
use anycast_healthchecker::sys::process::{Limits, Program};
use anycast_healthchecker::sys::stop_line::StopLine;
use divan::{black_box, AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Services, or prefixes: the costs have to grow no faster than these.
const SIZES: [u32; 3] = [100, 1_000, 10_000];
const VARIABLE: &str = "ACAST_PS_ADVERTISE";

fn main() {
    divan::main();
}

fn prefix(n: u32) -> Prefix {
    format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255).parse().unwrap()
}

fn prefixes(count: u32) -> Vec<Prefix> {
    (0..count).map(prefix).collect()
}

fn dummy() -> Prefix {
    "10.189.200.255".parse().unwrap()
}

fn prefix_file(count: u32) -> String {
    prefix_file::render(VARIABLE, Some(&dummy()), &prefixes(count), "2026-01-01 00:00:00.000000", 1)
}

#[divan::bench(args = SIZES)]
fn ini_read(bencher: Bencher<'_, '_>, services: u32) {
    let section = |n| {
        format!(
            "[service{n}]\ncheck_cmd = /usr/bin/curl --fail --silent http://{0}/\nip_prefix = {0}\ncheck_interval = 10\n\
             check_timeout = 2\ncheck_rise = 2\ncheck_fail = 3\non_disabled = withdraw\ncheck_disabled = false\n\n",
            prefix(n)
        )
    };
    let text: String = (0..services).map(section).collect();
    bencher.bench(|| {
        let mut ini = Ini::default();
        let faults = ini.read(Path::new("services.conf"), black_box(text.as_bytes()));
        (ini, faults)
    });
}

#[divan::bench(args = SIZES)]
fn prefix_file_parse(bencher: Bencher<'_, '_>, count: u32) {
    let text = prefix_file(count);
    bencher.bench(|| prefix_file::parse(black_box(text.as_bytes()), Family::V4));
}

#[divan::bench(args = SIZES)]
fn prefix_file_render(bencher: Bencher<'_, '_>, count: u32) {
    let (prefixes, dummy) = (prefixes(count), dummy());
    bencher.bench(|| prefix_file::render(VARIABLE, Some(&dummy), black_box(&prefixes), "2026-01-01", 1));
}

/// One prefix of the list goes.
#[divan::bench(args = SIZES)]
fn routes_next(bencher: Bencher<'_, '_>, count: u32) {
    let listed = prefixes(count);
    let known = |prefix: &Prefix| Known { prefix: *prefix, service: "service", decision: Decision::Advertise };
    let mut known: Vec<Known<'_>> = listed.iter().map(known).collect();
    known[count as usize / 2].decision = Decision::Withdraw;
    bencher.bench(|| routes::next(black_box(&listed), &known, None, Strangers::Remove));
}

/// The writer's whole way for one change: read the file, decide, replace it (in memory, so that no disk counts).
#[divan::bench(args = SIZES)]
fn table_one_change(bencher: Bencher<'_, '_>, count: u32) {
    let mut desk = Desk::new(count);
    desk.decide(0..count, State::Up);
    let mut state = State::Up;
    bencher.bench_local(|| {
        state = if state == State::Up { State::Down } else { State::Up };
        desk.decide(0..1, state)
    });
}

/// All prefixes go, or come, at once.
#[divan::bench(args = SIZES)]
fn table_all_change(bencher: Bencher<'_, '_>, count: u32) {
    let mut desk = Desk::new(count);
    let mut state = State::Down;
    bencher.bench_local(|| {
        state = if state == State::Up { State::Down } else { State::Up };
        desk.decide(0..count, state)
    });
}

/// All prefixes have to go and the file cannot be written: another attempt.
#[divan::bench(args = SIZES)]
fn table_retry(bencher: Bencher<'_, '_>, count: u32) {
    let mut desk = Desk::new(count);
    desk.decide(0..count, State::Up);
    drop(desk.directory);
    desk.directory = tempfile::tempdir_in("/dev/shm").unwrap();
    bencher.bench_local(|| desk.decide(0..count, State::Down));
}

/// One family's list and its services, one a prefix.
struct Desk {
    table: Table,
    names: Vec<Arc<str>>,
    verdicts: Verdicts,
    now: Instant,
    directory: tempfile::TempDir,
}

impl Desk {
    fn new(count: u32) -> Desk {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let bird = Bird {
            conf: directory.path().join("anycast-prefixes.conf"),
            variable: VARIABLE.into(),
            reconfigure_cmd: Command::parse("/bin/true").unwrap(),
            reconfigure_cmd_is_set: false,
            control_socket: None,
            dummy: Some(dummy()),
            history: None,
        };
        let names: Vec<Arc<str>> = (0..count).map(|n| format!("service{n}").into()).collect();
        let named = |(n, name): (usize, &Arc<str>)| Named {
            prefix: prefix(n as u32),
            service: name.clone(),
            custom: false,
            on_boot: false,
        };
        let known = names.iter().enumerate().map(named).collect();
        let table = Table::open(Family::V4, &bird, known, false, Duration::ZERO);
        Desk { table, names, verdicts: Verdicts::new(), now: Instant::now(), directory }
    }

    /// These services have this state from now on, and the table takes it in.
    fn decide(&mut self, services: std::ops::Range<u32>, state: State) -> usize {
        for n in services {
            let service = &self.names[n as usize];
            let verdict =
                Verdict { service: service.clone(), state, missing: BTreeSet::new(), undecided: BTreeSet::new() };
            self.verdicts.insert(service.clone(), verdict);
        }
        self.table.news();
        self.now += Duration::from_secs(60);
        self.table.converge(&self.verdicts, self.now).len()
    }
}

#[divan::bench]
fn health_and_schedule(bencher: Bencher<'_, '_>) {
    let mut health = Health::new(NonZeroU32::new(2).unwrap(), NonZeroU32::new(3).unwrap());
    let start = Instant::now();
    let schedule = Schedule::new(start, Duration::from_secs(10));
    let now = start + Duration::from_secs(100_000);
    bencher.bench_local(|| (health.observe(black_box(Outcome::Passed)), schedule.next(black_box(now), now, None)));
}

fn log_format(bencher: Bencher<'_, '_>, style: &Style) {
    let about = About { ip_address: "10.0.0.1", prefix_length: 32, ip_check_disabled: false, status: "up" };
    let record = Record {
        time: "2017-07-23 09:43:28,995",
        level: LogLevel::Debug,
        pid: 4242,
        thread: "foo.bar.com",
        message: "running /usr/bin/curl --fail --silent http://10.0.0.1/",
        about: Some(about),
    };
    let mut line = String::with_capacity(1024);
    bencher.bench_local(|| {
        line.clear();
        format::write(style, black_box(&record), &mut line);
        line.len()
    });
}

#[divan::bench]
fn log_format_text(bencher: Bencher<'_, '_>) {
    log_format(bencher, &Style::Text { width: 24 });
}

#[divan::bench]
fn log_format_json(bencher: Bencher<'_, '_>) {
    log_format(bencher, &Style::Json { prefix: "anycast-healthchecker: " });
}

/// A run of a check, from before its start until after its end; what is allocated, this process allocates.
#[divan::bench]
fn process_run(bencher: Bencher<'_, '_>) {
    let (mut program, stop) = (Program::new(&["/bin/true".to_string()]), StopLine::new().unwrap());
    bencher.bench_local(|| {
        let deadline = Instant::now() + Duration::from_secs(60);
        program.run(&Limits { deadline, grace: None, keep: 4096 }, &stop)
    });
}
