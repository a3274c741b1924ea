//! Time and allocations of the modules between a check and a route.
//!
//! `cargo bench` runs all benchmarks, `cargo bench -- routes` those with `routes` in their name.
//! `contrib/bench/run` measures the whole daemon.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up fails")]
#![allow(missing_docs, reason = "divan's generated code has no documentation")]

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

#[path = "../tests/common/service.rs"]
mod service;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Numbers of services or prefixes. The costs must grow no faster than these.
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

/// Removes one prefix from the list.
#[divan::bench(args = SIZES)]
fn routes_next(bencher: Bencher<'_, '_>, count: u32) {
    let listed = prefixes(count);
    let known = |prefix: &Prefix| DesiredPrefix { prefix: *prefix, service: "service", decision: Decision::Advertise };
    let mut known: Vec<DesiredPrefix<'_>> = listed.iter().map(known).collect();
    known[count as usize / 2].decision = Decision::Withdraw;
    bencher.bench(|| routes::next(black_box(&listed), &known, None, UnmanagedPrefixes::Remove));
}

/// Everything that the writer does for one change: reads the file, decides, and replaces it (in
/// memory, without a disk).
#[divan::bench(args = SIZES)]
fn list_one_change(bencher: Bencher<'_, '_>, count: u32) {
    let mut bench = ListBench::new(count);
    bench.decide(0..count, OnDisabled::Advertise);
    let mut decision = OnDisabled::Advertise;
    bencher.bench_local(|| {
        decision = opposite(decision);
        bench.decide(0..1, decision);
    });
}

/// Removes or adds all prefixes at once.
#[divan::bench(args = SIZES)]
fn list_all_change(bencher: Bencher<'_, '_>, count: u32) {
    let mut bench = ListBench::new(count);
    let mut decision = OnDisabled::Withdraw;
    bencher.bench_local(|| {
        decision = opposite(decision);
        bench.decide(0..count, decision);
    });
}

/// Tries once more to remove all prefixes from a file that cannot be written.
#[divan::bench(args = SIZES)]
fn list_retry(bencher: Bencher<'_, '_>, count: u32) {
    let mut bench = ListBench::new(count);
    bench.decide(0..count, OnDisabled::Advertise);
    drop(bench.directory);
    bench.directory = tempfile::tempdir_in("/dev/shm").unwrap();
    bencher.bench_local(|| bench.decide(0..count, OnDisabled::Withdraw));
}

fn opposite(decision: OnDisabled) -> OnDisabled {
    match decision {
        OnDisabled::Withdraw => OnDisabled::Advertise,
        OnDisabled::Advertise => OnDisabled::Withdraw,
    }
}

/// The list of one family, and one service for each prefix.
struct ListBench {
    list: PrefixList,
    services: Vec<Arc<Service>>,
    verdicts: Vec<Verdict>,
    now: Instant,
    directory: tempfile::TempDir,
}

impl ListBench {
    fn new(count: u32) -> ListBench {
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
        let services: Vec<Arc<Service>> =
            (0..count).map(|n| Arc::new(service::service(&format!("service{n}"), &prefix(n).to_string()))).collect();
        let verdicts = services.iter().map(|service| CheckState::new(service).verdict()).collect();
        let list = PrefixList::open(Family::V4, &bird, &services, false, Duration::ZERO);
        ListBench { list, services, verdicts, now: Instant::now(), directory }
    }

    /// Sets the decision for these services and updates the list.
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

/// Runs one check. The allocations are those of this process.
#[divan::bench]
fn process_run(bencher: Bencher<'_, '_>) {
    let (mut program, stop) = (Program::new(&["/bin/true".to_string()]), StopToken::new().unwrap());
    bencher.bench_local(|| {
        let deadline = Instant::now() + Duration::from_secs(60);
        program.run(&Limits { deadline, grace: None, max_output: 4096 }, &stop)
    });
}
