//! What the rooms cost that stand between a check and a route: time, and allocations, which divan counts along.
//!
//! `cargo bench` runs all, `cargo bench -- routes` those with that in their name. Response runs of the daemon are measured
//! by `contrib/bench/run`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set up gives up")]
#![allow(missing_docs, reason = "divan's main has none")]

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anycast_healthchecker::internals::bird::prefix_file;
use anycast_healthchecker::internals::bird::prefix_list::PrefixList;
use anycast_healthchecker::internals::bird::routes::{self, Decision, DesiredPrefix, UnmanagedPrefixes};
use anycast_healthchecker::internals::check::health::{CheckOutcome, Health};
use anycast_healthchecker::internals::check::schedule::Schedule;
use anycast_healthchecker::internals::check::state::{CheckState, Verdict};
use anycast_healthchecker::internals::command::Command;
use anycast_healthchecker::internals::config::ini::Ini;
use anycast_healthchecker::internals::config::settings::{Bird, LogLevel, OnDisabled, Service};
use anycast_healthchecker::internals::log::format::{self, About, Record, Style};
use anycast_healthchecker::internals::prefix::{Family, Prefix};
use anycast_healthchecker::internals::sys::process::{Limits, Program};
use anycast_healthchecker::internals::sys::stop_token::StopToken;
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
    let known = |prefix: &Prefix| DesiredPrefix { prefix: *prefix, service: "service", decision: Decision::Advertise };
    let mut known: Vec<DesiredPrefix<'_>> = listed.iter().map(known).collect();
    known[count as usize / 2].decision = Decision::Withdraw;
    bencher.bench(|| routes::next(black_box(&listed), &known, None, UnmanagedPrefixes::Remove));
}

/// The writer's whole way for one change: read the file, decide, replace it (in memory, so that no disk counts).
#[divan::bench(args = SIZES)]
fn list_one_change(bencher: Bencher<'_, '_>, count: u32) {
    let mut desk = Desk::new(count);
    desk.decide(0..count, OnDisabled::Advertise);
    let mut decision = OnDisabled::Advertise;
    bencher.bench_local(|| {
        decision = other(decision);
        desk.decide(0..1, decision);
    });
}

/// All prefixes go, or come, at once.
#[divan::bench(args = SIZES)]
fn list_all_change(bencher: Bencher<'_, '_>, count: u32) {
    let mut desk = Desk::new(count);
    let mut decision = OnDisabled::Withdraw;
    bencher.bench_local(|| {
        decision = other(decision);
        desk.decide(0..count, decision);
    });
}

/// All prefixes have to go and the file cannot be written: another attempt.
#[divan::bench(args = SIZES)]
fn list_retry(bencher: Bencher<'_, '_>, count: u32) {
    let mut desk = Desk::new(count);
    desk.decide(0..count, OnDisabled::Advertise);
    drop(desk.directory);
    desk.directory = tempfile::tempdir_in("/dev/shm").unwrap();
    bencher.bench_local(|| desk.decide(0..count, OnDisabled::Withdraw));
}

fn other(decision: OnDisabled) -> OnDisabled {
    match decision {
        OnDisabled::Withdraw => OnDisabled::Advertise,
        OnDisabled::Advertise => OnDisabled::Withdraw,
    }
}

/// One family's list and its services, one a prefix.
struct Desk {
    list: PrefixList,
    services: Vec<Arc<Service>>,
    verdicts: Vec<Verdict>,
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
        let services: Vec<Arc<Service>> = (0..count).map(|n| Arc::new(service(n))).collect();
        let verdicts = services.iter().map(|service| CheckState::new(service).verdict()).collect();
        let list = PrefixList::open(Family::V4, &bird, &services, false, Duration::ZERO);
        Desk { list, services, verdicts, now: Instant::now(), directory }
    }

    /// This is known of these services from now on, and the list takes it in.
    fn decide(&mut self, services: std::ops::Range<u32>, decision: OnDisabled) {
        for n in services {
            let mut state = CheckState::new(&self.services[n as usize]);
            let _ = state.decide(decision);
            self.verdicts[n as usize] = state.verdict();
        }
        self.now += Duration::from_secs(60);
        self.list.update(&self.verdicts, self.now);
        self.list.converge(&self.verdicts, self.now);
    }
}

fn service(n: u32) -> Service {
    Service {
        name: format!("service{n}"),
        check_cmd: Command::parse("/bin/true").unwrap(),
        check_interval: Duration::from_secs(10),
        check_fast_interval: None,
        check_timeout: Duration::from_secs(2),
        check_rise: NonZeroU32::MIN,
        check_fail: NonZeroU32::MIN,
        disabled: None,
        prefixes: vec![prefix(n)],
        prefix_text: prefix(n).to_string(),
        assigned_to: None,
        interface: "lo".into(),
        custom_reconfigure: None,
        watch_pidfile: None,
        drain_file: None,
        withdraw_on_exit: false,
        withdraw_on_boot: false,
        state_change: None,
        listing: Vec::new(),
    }
}

#[divan::bench]
fn health_and_schedule(bencher: Bencher<'_, '_>) {
    let mut health = Health::new(NonZeroU32::new(2).unwrap(), NonZeroU32::new(3).unwrap());
    let start = Instant::now();
    let schedule = Schedule::new(start, Duration::from_secs(10));
    let now = start + Duration::from_secs(100_000);
    bencher.bench_local(|| (health.observe(black_box(CheckOutcome::Passed)), schedule.next(black_box(now), now, None)));
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
    let (mut program, stop) = (Program::new(&["/bin/true".to_string()]), StopToken::new().unwrap());
    bencher.bench_local(|| {
        let deadline = Instant::now() + Duration::from_secs(60);
        program.run(&Limits { deadline, grace: None, max_output: 4096 }, &stop)
    });
}
