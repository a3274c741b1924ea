//! Compares with the original's logs in `tests/data/log/`, and tests cases that they lack.

use super::*;

fn record(message: &str) -> Record<'_> {
    Record {
        time: "2026-11-22 10:05:34,116",
        level: LogLevel::Warning,
        pid: 18195,
        thread: "MainThread",
        message,
        about: None,
    }
}

fn check(style: Style, record: Record<'_>, expected: &str) {
    let mut line = String::new();
    write(&style, &record, &mut line);
    assert_eq!(line, expected);
}

#[test]
fn text_lines_are_those_of_the_original() {
    let text = Style::Text { width: 17 };
    check(
        text.clone(),
        record("no updates"),
        "2026-11-22 10:05:34,116 anycast-healthchecker[18195] WARNING  MainThread        no updates",
    );
    check(
        text,
        record("two\nlines \u{1b}[31m\tand a tab"),
        "2026-11-22 10:05:34,116 anycast-healthchecker[18195] WARNING  MainThread        two\\nlines \\u{1b}[31m\tand a tab",
    );
    // A section's name may have any length.
    let padded = format!("{:65535}", "MainThread");
    check(
        Style::Text { width: 100_000 },
        record("no updates"),
        &format!("2026-11-22 10:05:34,116 anycast-healthchecker[18195] WARNING  {padded} no updates"),
    );
    check(Style::Journal, record("no updates"), "<4>MainThread - no updates");
    check(Style::Bare, record("panicked"), "2026-11-22 10:05:34,116 anycast-healthchecker[18195] MainThread panicked");
}

#[test]
fn json_lines_are_those_of_the_original() {
    let version = env!("CARGO_PKG_VERSION");
    let about = About { ip_address: "10.52.12.1", prefix_length: 32, ip_check_disabled: false, status: "unknown" };
    check(
        Style::Json { prefix: "anycast-healthchecker: " },
        Record { about: Some(about), thread: "foo", ..record("q\"\\\n\u{e9}\u{1f600}") },
        &format!(
            "anycast-healthchecker: {{\"asctime\": \"2026-11-22 10:05:34,116\", \"levelname\": \"WARNING\", \"process\": 18195, \
             \"message\": \"q\\\"\\\\\\n\\u00e9\\ud83d\\ude00\", \"ip_address\": \"10.52.12.1\", \"prefix_length\": 32, \
             \"ip_check_disabled\": false, \"status\": \"unknown\", \"version\": \"{version}\", \
             \"program\": \"anycast-healthchecker\", \"service_name\": \"foo\"}}"
        ),
    );
}

#[test]
fn bytes_are_formatted_as_python_prints_them() {
    assert_eq!(python_bytes(b"err\n"), r"b'err\n'");
    assert_eq!(python_bytes(b"it's"), r#"b"it's""#);
    assert_eq!(python_bytes(b"'\"\\\x00\xff\t"), r#"b'\'"\\\x00\xff\t'"#);
}

proptest::proptest! {
    #[test]
    fn a_record_is_one_line_and_its_json_can_be_parsed(message: String) {
        for style in [Style::Text { width: 11 }, Style::Bare, Style::Journal, Style::Json { prefix: "" }] {
            let mut line = String::new();
            write(&style, &record(&message), &mut line);
            proptest::prop_assert!(!line.contains(|c: char| c.is_control() && c != '\t' && c != '\u{7f}'), "{:?}", line);
            if style == (Style::Json { prefix: "" }) {
                let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                proptest::prop_assert_eq!(read["message"].as_str(), Some(message.as_str()));
            }
        }
    }
}

/// Parses each line of an original log, and expects the same bytes when it is formatted again.
fn check_log(log: &str, end: char, style: &Style, width: usize) {
    let mut lines = 0;
    for line in log.split_terminator(end) {
        let (priority, body) = match end {
            '\0' => line.split_at(4),
            _ => ("", line),
        };
        let pid_end = body.find(']').unwrap();
        let (level_start, thread_start) = (pid_end + 2, pid_end + 11);
        let level = level(body[level_start..thread_start].trim_end());
        let (thread, _) = body[thread_start..].split_once(' ').unwrap();
        // A thread's name that is longer than any section's makes the column wider.
        let message = thread_start + width.max(thread.len()) + 1;
        let record = Record {
            time: &body[..23],
            level,
            pid: body[46..pid_end].parse().unwrap(),
            thread,
            message: &body[message..],
            about: None,
        };
        let mut again = String::new();
        write(style, &record, &mut again);
        assert_eq!(again, body);
        assert!(priority.is_empty() || priority == format!("<{}>", 8 | severity(level) as u8));
        lines += 1;
    }
    assert!(lines >= 30, "{lines}");
}

fn level(name: &str) -> LogLevel {
    use LogLevel::*;
    [Debug, Info, Warning, Error, Critical].into_iter().find(|level| level_name(*level) == name).unwrap()
}

#[test]
fn whole_text_logs_of_the_original_are_reproduced() {
    let width = "foo1IPv6.bar.com".len() + 1;
    let style = Style::Text { width };
    check_log(include_str!("../../../tests/data/log/text.log"), '\n', &style, width);
    check_log(include_str!("../../../tests/data/log/syslog-text.log"), '\0', &style, width);
}

fn check_json_log(log: &str, end: char) {
    let mut lines = 0;
    for line in log.split_terminator(end) {
        let body = &line[line.find("anycast").unwrap()..];
        let (prefix, object) = body.split_at("anycast-healthchecker: ".len());
        let read: serde_json::Value = serde_json::from_str(object).unwrap();
        let text = |key: &str| read[key].as_str().unwrap_or_default();
        let about = read.get("status").map(|_| About {
            ip_address: text("ip_address"),
            prefix_length: read["prefix_length"].as_u64().unwrap() as u8,
            ip_check_disabled: read["ip_check_disabled"].as_bool().unwrap(),
            status: text("status"),
        });
        let record = Record {
            time: text("asctime"),
            level: level(text("levelname")),
            pid: read["process"].as_u64().unwrap() as u32,
            thread: text("service_name"),
            message: text("message"),
            about,
        };
        let mut again = String::new();
        write(&Style::Json { prefix: "anycast-healthchecker: " }, &record, &mut again);
        assert_eq!(prefix, "anycast-healthchecker: ");
        assert_eq!(again.replace(VERSION, "0.9.10"), body);
        lines += 1;
    }
    assert!(lines >= 30, "{lines}");
}

#[test]
fn whole_json_logs_of_the_original_are_reproduced() {
    check_json_log(include_str!("../../../tests/data/log/json.log"), '\n');
    check_json_log(include_str!("../../../tests/data/log/syslog-json.log"), '\0');
}

#[test]
fn a_whole_journal_of_the_original_is_reproduced() {
    let log = include_str!("../../../tests/data/log/journal.log");
    for line in log.lines() {
        let (thread, message) = line[3..].split_once(" - ").unwrap();
        let level = ["<7>", "<6>", "<4>", "<3>", "<2>"].iter().position(|start| line.starts_with(start)).unwrap();
        let level = [LogLevel::Debug, LogLevel::Info, LogLevel::Warning, LogLevel::Error, LogLevel::Critical][level];
        check(Style::Journal, Record { level, thread, ..record(message) }, line);
    }
    assert_eq!(log.lines().count(), 60);
}
