//! Everything that reads what others wrote, each reader as a function of any bytes: the bodies of the fuzz targets, and of
//! the test that replays their corpora.
//!
//! Promises: a body panics where a reader breaks a promise of its room, and only there; it leaves nothing behind.
//! Leaves out: how time and memory grow with the size of the input (`tests/untrusted_input.rs`): what a fuzzer makes is small.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anycast_healthchecker::internals::bird::history::{self, History};
use anycast_healthchecker::internals::bird::prefix_file::{self, PrefixFile};
use anycast_healthchecker::internals::bird::protocol::birdc::{self, CommandEnd};
use anycast_healthchecker::internals::bird::protocol::control::Control;
use anycast_healthchecker::internals::bird::protocol::framing::{
    Activity, Framing, FramingError, Response, MAX_RESPONSE_LEN,
};
use anycast_healthchecker::internals::bird::protocol::outcome::{Outcome, ReconfigureResult, MAX_REASON_LEN};
use anycast_healthchecker::internals::bird::protocol::query::Query;
use anycast_healthchecker::internals::bird::routes::{self, UnmanagedPrefixes};
use anycast_healthchecker::internals::check::watch_pidfile::Pidfile;
use anycast_healthchecker::internals::check::Check;
use anycast_healthchecker::internals::command::Command;
use anycast_healthchecker::internals::config::diagnostic::Diagnostic;
use anycast_healthchecker::internals::config::files::{self, ServiceFiles, Sources};
use anycast_healthchecker::internals::config::ini::{is_space, trim, Ini, Section};
use anycast_healthchecker::internals::config::settings::Service;
use anycast_healthchecker::internals::drain_file;
use anycast_healthchecker::internals::prefix::{Family, Prefix};
use anycast_healthchecker::internals::report::document::Document;
use anycast_healthchecker::internals::report::nagios::{self, Thresholds};
use anycast_healthchecker::internals::report::{client, table};
use anycast_healthchecker::internals::sys::pidfd::Watcher;
use anycast_healthchecker::internals::sys::stop_token::StopToken;
use rustix::net::{send, SendFlags};

use message::{messages, Message};

#[expect(dead_code, reason = "what is read is of interest here, not the requests")]
#[path = "../../src/sys/netlink/message.rs"]
mod message;

/// One of the functions below.
pub type Reader = fn(&[u8]);

/// All of them, by the names of their corpora.
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

/// How much references may add to a value.
const MOST_ADDED: usize = 64 * 1024;

/// A configuration file as sections: what is read is read the same way again, from the same file and from one written anew.
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
                assert!(value.len() <= entry.raw.len() + MOST_ADDED);
            }
        }
    }
    let kept = sections(&ini).flat_map(Section::own_entries);
    // A byte may become three as a small letter.
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

/// A configuration file as settings: there are some or there is an error, and what `--print-conf` prints is a
/// configuration too.
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
            // What has several lines, or a % in it, is printed as it is used, as the original prints it.
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

/// A command: words in quotation marks are the same words again.
pub fn command(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(command) = Command::parse(&text) else { return };
    assert!(!command.program().is_empty());
    assert!(command.words().iter().map(String::len).sum::<usize>() <= text.len());
    let quoted: Vec<String> =
        command.words().iter().map(|word| format!("'{}'", word.replace('\'', r#"'"'"'"#))).collect();
    assert_eq!(Command::parse(&quoted.join(" ")).as_ref(), Ok(&command));
}

/// A prefix file: a sound one is read the same way when it is written anew, and cut off it is no sound one of another list.
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
            let written = |provisional| PrefixFile {
                variable: Some(variable.clone()),
                prefixes: next.clone(),
                flaw: None,
                provisional,
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

/// What a reconfigure command wrote, and behind a NUL to standard error: a bad answer behind it is never outweighed.
pub fn birdc(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (out, error) = (&bytes[..at], &bytes[(at + 1).min(bytes.len())..]);
    let ends =
        [CommandEnd::Code(0), CommandEnd::Code(1), CommandEnd::Signal(15), CommandEnd::Limit(Duration::from_secs(2))];
    for end in ends {
        let reply = birdc::parse(out, error, end);
        is_sound(&reply);
        assert!(!reply.outcome.is_accepted() || !matches!(end, CommandEnd::Limit(_)));
        let text = [out, b"\n", error].concat();
        let said = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
        let spoke = text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"Reading configuration from "));
        if reply.outcome.is_accepted() && spoke {
            assert!(said(b"Reconfigur") || said(b"0003 ") || said(b"0004 "));
        }
        let refused = birdc::parse(&[out, b"\n/etc/bird/bird.conf:1:1 syntax error\n"].concat(), error, end);
        assert!(!refused.outcome.is_accepted(), "{refused:?}");
    }
}

fn is_sound(reply: &ReconfigureResult) {
    let why = reply.outcome.why().unwrap_or_default();
    assert!(why.len() <= MAX_REASON_LEN);
    is_one_line(why);
    is_one_line(&reply.outcome.to_string());
}

/// The bytes of BIRD's control socket: however they are cut, they are the same replies.
pub fn framing(bytes: &[u8]) {
    let (replies, error) = fed(bytes, bytes.len());
    for size in [1, 7] {
        assert_eq!(fed(bytes, size), (replies.clone(), error.clone()));
    }
    let question = question();
    for reply in &replies {
        // What is no UTF-8 is replaced by three bytes.
        assert!(reply.lines().map(|line| line.text.len()).sum::<usize>() <= 3 * MAX_RESPONSE_LEN);
        assert!(reply.lines().all(|line| line.code <= 9999));
        let version = reply.greeting().flatten();
        is_sound(&reply.configured(version));
        reply.activity();
        let _ = question.parse_answer(reply);
    }
}

/// The replies, and what comes then.
fn fed(bytes: &[u8], size: usize) -> (Vec<Response>, Option<FramingError>) {
    let (mut framing, mut replies) = (Framing::default(), Vec::new());
    let errors = bytes.chunks(size.max(1)).map(|part| framing.feed(part, &mut replies).err());
    let error = errors.last().flatten();
    (replies, error)
}

fn question() -> Query {
    let [a, b, c]: [Prefix; 3] = ["10.52.12.1/32", "10.52.12.2/32", "10.52.12.9/32"].map(|text| text.parse().unwrap());
    Query::new("ACAST_PS_ADVERTISE", [a, b].into(), [c].into_iter())
}

/// Conversations with somebody who says this, whatever is asked: BIRD is told to reconfigure only when it has just said
/// that it is idle, and once; nothing counts as taken without its word; what it holds is what it said.
pub fn control(bytes: &[u8]) {
    const LIMIT: Duration = Duration::from_millis(40);
    // More does not go into a socket at once.
    let bytes = &bytes[..bytes.len().min(32 * 1024)];
    let (replies, _) = fed(bytes, bytes.len());
    let stop = StopToken::new().unwrap();

    let (reply, heard) = speak(bytes, |control| control.configure(LIMIT, &stop));
    is_sound(&reply);
    // None where the other side was too slow.
    let requests: Vec<&str> = heard.first().map_or("", String::as_str).lines().collect();
    assert!(requests.iter().all(|request| ["configure status", "show status", "configure"].contains(request)));
    // The greeting is the first reply.
    let answer = |request: usize| replies.get(request + 1);
    let configure = requests.iter().position(|request| *request == "configure");
    if let Some(at) = configure {
        assert_eq!(at.checked_sub(1).and_then(answer).map(Response::activity), Some(Activity::Idle));
        assert!(requests[at + 1..].iter().all(|request| *request != "configure"));
    }
    if reply.outcome.is_accepted() {
        let at = configure.unwrap();
        let meaning = answer(at).unwrap().configured(None).outcome;
        let idle = || answer(requests.len() - 1).map(Response::activity) == Some(Activity::Idle);
        assert!(meaning == reply.outcome || meaning == Outcome::Queued && idle(), "{meaning:?}");
    }

    let (asked, _) = speak(bytes, |control| control.ask(&[question()], LIMIT, &stop));
    if let Ok((holdings, _)) = asked {
        let [holding] = &holdings[..] else { panic!("one question, {} answers", holdings.len()) };
        let as_expected = holding.difference.is_none();
        assert!(!as_expected || *holding == question().expected_result());
        assert!(!as_expected || replies.iter().any(|reply| reply.result().text == "TRUE"));
        assert!(holding.list.len() <= 3);
    }
}

/// What comes of it, and what each connection sent.
fn speak<T>(bytes: &[u8], act: impl FnOnce(&Control) -> T) -> (T, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bird.ctl");
    let (listener, over) = (UnixListener::bind(&path).unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let connections = scope.spawn(|| {
            let mut connections = Vec::new();
            loop {
                let (stream, _) = listener.accept().unwrap();
                if over.load(Ordering::SeqCst) {
                    return connections;
                }
                // Who has lost patience is gone.
                let _ = send(&stream, bytes, SendFlags::NOSIGNAL);
                let _ = stream.shutdown(Shutdown::Write);
                connections.push(stream);
            }
        });
        let result = act(&Control::new(&path));
        over.store(true, Ordering::SeqCst);
        UnixStream::connect(&path).unwrap();
        let heard = connections.join().unwrap().into_iter().map(|mut stream| {
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            text
        });
        (result, heard.collect())
    })
}

/// The answer of the status socket: what is shown of it drives no terminal and breaks no line.
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
    let verdict =
        nagios::judge(&document, &Thresholds { warning: range("0"), critical: range("@2:5"), behind_s: 30.0 });
    verdict.details.iter().chain([&verdict.text, &verdict.perfdata]).for_each(|line| {
        is_one_line(line);
        assert!(!line.contains('|'));
    });
    let written = client::parse(Path::new("status.sock"), &serde_json::to_vec(&document).unwrap()).unwrap();
    let names = |document: &Document| document.services.iter().map(|service| service.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&written), names(&document));
}

/// What the kernel sends: no more comes out than goes in, and one more message behind it is understood.
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

/// A file with the name in the first line, in the directory of old prefix files, and the rest in it: only one with a name
/// that is a time is ever removed, and none of the other family.
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

/// A drain file: what is written of it is read back, to the second.
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

/// A pidfile: it names the process that stands in its first line, or none.
pub fn pidfile(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pid");
    let stop = StopToken::new().unwrap();
    let watcher = Watcher::new(stop.clone());
    let check = check();
    let look = |bytes: &[u8]| {
        put(&path, bytes);
        Pidfile::new(path.clone(), watcher.clone(), check.clone()).refresh()
    };
    let first = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_string();
    if let Some(pid) = look(bytes) {
        assert_eq!(first(bytes).trim_start_matches('0'), pid.to_string());
    }
    // Whatever else is in it.
    let own = std::process::id();
    assert_eq!(look(&[format!("{own}\n").as_bytes(), bytes].concat()), Some(own as i32));
    stop.trigger();
}

/// A service that nothing is known of.
fn check() -> Arc<Check> {
    let service = Service {
        name: "a".to_string(),
        check_cmd: Command::parse("true").unwrap(),
        check_interval: Duration::from_secs(10),
        check_fast_interval: None,
        check_timeout: Duration::from_secs(2),
        check_rise: NonZeroU32::MIN,
        check_fail: NonZeroU32::MIN,
        disabled: None,
        prefixes: vec!["10.0.0.1/32".parse().unwrap()],
        prefix_text: "10.0.0.1/32".to_string(),
        assigned_to: None,
        interface: "lo".to_string(),
        custom_reconfigure: None,
        watch_pidfile: None,
        drain_file: None,
        withdraw_on_exit: false,
        withdraw_on_boot: false,
        state_change: None,
        listing: Vec::new(),
    };
    Arc::new(Check::new(Arc::new(service)))
}

fn is_one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
