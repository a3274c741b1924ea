//! The bodies of the fuzz targets: each function gives any bytes to one reader of external input.
//!
//! `tests/corpora.rs` runs the same functions on the committed corpora.
//!
//! Guarantees: a function panics only if a reader breaks a guarantee of its module; it leaves no
//! file behind.
//! Out of scope: how time and memory grow with the input (`tests/untrusted_input.rs`), because a
//! fuzzer's inputs are small.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anycast_healthchecker::internals::bird::history::{self, History};
use anycast_healthchecker::internals::bird::prefix_file::{self, PrefixFile};
use anycast_healthchecker::internals::bird::routes::{self, UnmanagedPrefixes};
use anycast_healthchecker::internals::check::watch_pidfile::Pidfile;
use anycast_healthchecker::internals::check::Check;
use anycast_healthchecker::internals::command::Command;
use anycast_healthchecker::internals::config::diagnostic::Diagnostic;
use anycast_healthchecker::internals::config::files::{self, ServiceFiles, Sources};
use anycast_healthchecker::internals::config::ini::{is_space, trim, Ini, Section};
use anycast_healthchecker::internals::drain_file;
use anycast_healthchecker::internals::prefix::{Family, Prefix};
use anycast_healthchecker::internals::report::document::Document;
use anycast_healthchecker::internals::report::nagios::{self, Thresholds};
use anycast_healthchecker::internals::report::{client, table};
use anycast_healthchecker::internals::sys::pidfd::Watcher;
use anycast_healthchecker::internals::sys::stop_token::StopToken;

use bird::{birdc, control, framing};
use message::{messages, Message};

#[expect(dead_code, reason = "only the reading half of the module is needed here")]
#[path = "../../src/sys/netlink/message.rs"]
mod message;
#[path = "../common/service.rs"]
mod service;

pub mod bird;

/// One of the functions below.
pub type Reader = fn(&[u8]);

/// All readers, by the names of their corpora.
pub const READERS: &[(&str, Reader)] = &[
    ("birdc", birdc),
    ("command", command),
    ("control", control),
    ("drain", drain),
    ("framing", framing),
    ("history", history),
    ("ini", ini),
    ("netlink", netlink),
    ("pidfile", pidfile),
    ("prefix_file", prefix_file),
    ("settings", settings),
    ("status", status),
];

/// The bytes that references may add to a value.
const MAX_ADDED_BY_REFERENCES: usize = 64 * 1024;

/// A configuration file as sections. Reading is repeatable: the same file, or the same sections
/// written to a new file, give the same result.
pub fn ini(bytes: &[u8]) {
    let mut ini = Ini::default();
    let faults = ini.read(Path::new("a.conf"), bytes);
    for fault in &faults {
        is_one_line(&Diagnostic::from(fault.clone()).to_string());
    }
    let mut text = String::new();
    for section in sections(&ini) {
        text += &format!("[{}]\n", section.name);
        for entry in section.own_entries() {
            text += &format!("{} = {}\n", entry.name, entry.raw.replace('\n', "\n\t"));
            assert!(!entry.raw.ends_with(is_space) && trim(&entry.name) == &*entry.name);
            if let Ok(value) = ini.value(section, entry) {
                assert!(value.len() <= entry.raw.len() + MAX_ADDED_BY_REFERENCES);
            }
        }
    }
    let kept = sections(&ini).flat_map(Section::own_entries);
    // Lower-casing can turn one byte into three.
    assert!(kept.map(|entry| entry.name.len() + entry.raw.len()).sum::<usize>() <= 3 * bytes.len());
    if faults.is_empty() {
        let mut written = Ini::default();
        assert_eq!(written.read(Path::new("b.conf"), text.as_bytes()), [], "{text:?}");
        assert_eq!(values(&written), values(&ini), "{text:?}");
        assert_eq!(ini.read(Path::new("c.conf"), bytes), []);
        assert_eq!(values(&written), values(&ini));
    }
}

fn sections(ini: &Ini) -> impl Iterator<Item = &Section> {
    [ini.default_section()].into_iter().chain(ini.sections())
}

/// Name and value of each option, section by section.
fn values(ini: &Ini) -> Vec<(&str, Vec<(&str, &str)>)> {
    sections(ini)
        .map(|section| {
            (&*section.name, section.own_entries().iter().map(|entry| (&*entry.name, &*entry.raw)).collect())
        })
        .collect()
}

/// A configuration file as settings: the result is either settings or an error. The output of
/// `--print-conf` is a valid configuration.
pub fn settings(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let (main, services) = (directory.path().join("a.conf"), directory.path().join("d"));
    fs::create_dir(&services).unwrap();
    let sources = Sources { main, services: ServiceFiles::Directory(services) };
    put(&sources.main, bytes);
    let _ = files::status_socket(&sources);
    match files::load(&sources) {
        Ok(configuration) => {
            for warning in &configuration.warnings {
                is_one_line(&warning.to_string());
                assert!(!warning.is_error());
            }
            let printed = configuration.print();
            let Ok(text) = printed.as_ref().map_err(|problems| assert!(problems.iter().all(Diagnostic::is_error)))
            else {
                return;
            };
            // Like the original, `--print-conf` prints a value with several lines or a `%` as it is
            // used.
            let mut ini = Ini::default();
            ini.read(&sources.main, bytes);
            let mut written = sections(&ini).flat_map(Section::own_entries);
            if text.contains('%') || written.any(|entry| entry.raw.contains('\n')) {
                return;
            }
            put(&sources.main, text.as_bytes());
            let printed = files::load(&sources).unwrap_or_else(|problems| panic!("{text}{problems:?}"));
            assert_eq!(printed.settings.services, configuration.settings.services);
            assert_eq!(printed.settings.daemon.log, configuration.settings.daemon.log);
        }
        Err(problems) => {
            assert!(problems.iter().any(Diagnostic::is_error));
            problems.iter().for_each(|problem| is_one_line(&problem.to_string()));
            let recovered = files::recover(&sources, problems);
            assert!(recovered.settings.is_none_or(|settings| settings.services.is_empty()));
        }
    }
}

/// A command: quoting its words gives the same words again.
pub fn command(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(command) = Command::parse(&text) else { return };
    assert!(!command.program().is_empty());
    assert!(command.words().iter().map(String::len).sum::<usize>() <= text.len());
    let quoted: Vec<String> =
        command.words().iter().map(|word| format!("'{}'", word.replace('\'', r#"'"'"'"#))).collect();
    assert_eq!(Command::parse(&quoted.join(" ")).as_ref(), Ok(&command));
}

/// A prefix file: a flawless file survives rendering and parsing, and a truncated one is never a
/// flawless file with another list.
pub fn prefix_file(bytes: &[u8]) {
    for family in Family::BOTH {
        let found = prefix_file::parse(bytes, family);
        assert!(found.prefixes.len() <= bytes.len());
        assert!(found.prefixes.iter().all(|prefix| prefix.family() == family));
        if let Some(flaw) = &found.flaw {
            is_one_line(&flaw.to_string());
            assert!(flaw.to_string().len() < 300);
        }
        let dummy = match family {
            Family::V4 => "10.189.200.255/32",
            Family::V6 => "2001:db8::1/128",
        };
        let dummy: Prefix = dummy.parse().unwrap();
        let next = routes::next(&found.prefixes, &[], Some(&dummy), UnmanagedPrefixes::Keep).list;
        assert_eq!(routes::next(&next, &[], Some(&dummy), UnmanagedPrefixes::Keep).list, next);
        let variable = match (&found.variable, &found.flaw) {
            (Some(variable), None) => variable,
            (_, flaw) => {
                assert!(flaw.is_some());
                continue;
            }
        };
        for dummy in [None, Some(&dummy)] {
            let mut text = prefix_file::render(variable, dummy, &next, "2026-11-22 08:41:54.123456", 1);
            assert!(prefix_file::is_canonical(text.as_bytes(), false, variable, dummy, &next));
            let written = |held| PrefixFile {
                variable: Some(variable.clone()),
                prefixes: next.clone(),
                flaw: None,
                provisional: held,
            };
            assert_eq!(prefix_file::parse(text.as_bytes(), family), written(false));
            prefix_file::mark_provisional(&mut text);
            assert_eq!(prefix_file::parse(text.as_bytes(), family), written(true));
        }
        let at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % bytes.len();
        let cut = prefix_file::parse(&bytes[..at], family);
        assert!(cut.flaw.is_some() || cut.prefixes == found.prefixes, "{cut:?}");
    }
}

/// The response of the status socket: the rendered text contains no control characters and breaks
/// no line.
pub fn status(bytes: &[u8]) {
    let document = match client::parse(Path::new("status.sock"), bytes) {
        Ok(document) => document,
        Err(error) => {
            nagios::judge_failure(&error);
            return;
        }
    };
    table::render(&document, true, 80);
    let shown = table::render(&document, false, 80);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    let range = |text: &str| text.parse().ok();
    let verdict = nagios::judge(
        &document,
        &Thresholds { warning: range("0"), critical: range("@2:5"), behind_s: 30.0, to_nobody_s: 60.0 },
    );
    verdict.details.iter().chain([&verdict.text, &verdict.perfdata]).for_each(|line| {
        is_one_line(line);
        assert!(!line.contains('|'));
    });
    let written = client::parse(Path::new("status.sock"), &serde_json::to_vec(&document).unwrap()).unwrap();
    let names = |document: &Document| document.services.iter().map(|service| service.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&written), names(&document));
}

/// Netlink messages of the kernel: the parser returns no more than the input holds, and it
/// understands a further message behind the input.
pub fn netlink(bytes: &[u8]) {
    let found: Vec<_> = messages(bytes).collect();
    assert!(found.len() <= 1 + bytes.len() / 16);
    let names = found.iter().flat_map(|received| match &received.message {
        Message::Link { names, .. } => names.as_slice(),
        _ => &[],
    });
    assert!(names.map(|name| name.len() + 4).sum::<usize>() <= bytes.len());
    let broken = found.iter().position(|received| received.message == Message::Broken);
    assert!(broken.is_none_or(|at| at + 1 == found.len()));
    if broken.is_none() {
        let mut done = [0u8; 16];
        done[..4].copy_from_slice(&16u32.to_ne_bytes());
        done[4..6].copy_from_slice(&3u16.to_ne_bytes());
        let padding = vec![0; bytes.len().next_multiple_of(4) - bytes.len()];
        let more = [bytes, &padding, &done].concat();
        let mut more: Vec<_> = messages(&more).collect();
        assert_eq!(more.pop().map(|received| received.message), Some(Message::Done));
        assert_eq!(more, found);
    }
}

/// A file in the history directory, with its name in the first line and its text in the rest. Only
/// a file whose name is a time is ever removed, and none of the other family.
pub fn history(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (name, text) = (&bytes[..at], &bytes[(at + 1).min(bytes.len())..]);
    if name.is_empty()
        || name.len() > 255
        || [&b"."[..], b".."].contains(&name)
        || name.contains(&0)
        || name.contains(&b'/')
    {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (conf, old) = (directory.path().join("a.conf"), directory.path().join("history"));
    fs::create_dir(&old).unwrap();
    let planted = old.join(OsStr::from_bytes(name));
    put(&planted, text);
    put(&conf, text);
    if let Some(list) = history::newest_good(&conf, Family::V4) {
        let found = prefix_file::parse(text, Family::V4);
        assert_eq!((found.flaw, found.provisional, found.prefixes), (None, false, list));
    }
    History::new(&conf, Family::V4, 1).archive();
    let is_time = name.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let of_v6 = name.len() >= 11 && name[name.len() - 10] == b'.' && name.ends_with(b"6");
    assert!(planted.exists() || is_time && !of_v6);
    assert_eq!(fs::read(&conf).unwrap(), text);
    let copies = fs::read_dir(&old).unwrap().count();
    assert_eq!(copies, 1 + usize::from(planted.exists()));
}

/// A drain file: a rendered drain parses to the same time, to the second.
pub fn drain(bytes: &[u8]) {
    let end = drain_file::parse(&bytes[..bytes.len().min(drain_file::MAX_LEN)]);
    let text = drain_file::format(end);
    assert!(text.len() <= drain_file::MAX_LEN);
    match (end, drain_file::parse(text.as_bytes())) {
        (drain_file::DrainEnd::At(time), drain_file::DrainEnd::At(written)) if time >= UNIX_EPOCH => {
            assert!(time.duration_since(written).unwrap() < Duration::from_secs(1));
        }
        (drain_file::DrainEnd::At(time), _) => assert!(time < UNIX_EPOCH, "{text:?}"),
        (drain_file::DrainEnd::Never, written) => assert_eq!(written, end),
    }
    is_one_line(&end.to_string());
}

/// A pidfile: the result is the process id in its first line, or none.
pub fn pidfile(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pid");
    let stop = StopToken::new().unwrap();
    let watcher = Watcher::new(stop.clone());
    let check = Arc::new(Check::new(Arc::new(service::service("a", "10.0.0.1/32"))));
    let look = |bytes: &[u8]| {
        put(&path, bytes);
        Pidfile::new(path.clone(), watcher.clone(), check.clone()).refresh()
    };
    let first = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_string();
    if let Some(pid) = look(bytes) {
        assert_eq!(first(bytes).trim_start_matches('0'), pid.to_string());
    }
    // The rest of the file does not matter.
    let own = std::process::id();
    assert_eq!(look(&[format!("{own}\n").as_bytes(), bytes].concat()), Some(own as i32));
    stop.trigger();
}

fn is_one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
