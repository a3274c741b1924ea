//! Untrusted input: files far larger and stranger than usual, and hostile strings.
//!
//! Reading takes linear time: the test compares the processor time for a text and for one twice as
//! long, because wall-clock time depends on the load. A limit on the address space bounds the
//! memory.
//!
//! `HOSTILE=all` uses the full sizes (100 MB, 100,000 sections); the default is a tenth of them.
//! `PROPTEST_CASES=1000000` runs more cases of the property tests, here and in `cargo test --lib`
//! (configuration text, prefix file, BIRD's answers, status document, kernel messages).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failing step fails the test, and each test prints its times"
)]

use std::fmt::Write as _;
use std::fs;
use std::process::{Command as Process, Stdio};

use anycast_healthchecker::internals::command::Command;
use anycast_healthchecker::internals::config::ini::Ini;
use anycast_healthchecker::internals::config::options::{self, Scope, OPTIONS};
use anycast_healthchecker::internals::config::parse;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// The allowed ratio of the times for a text of twice the size: 2 if linear, 4 if quadratic.
const MAX_TIME_RATIO: f64 = 3.2;
/// Processor time of a start with an empty file, in seconds. Smaller differences are noise.
const STARTUP_CPU_SECONDS: f64 = 0.3;

/// The size to test, a tenth of the full size by default.
fn size(full: usize) -> usize {
    if std::env::var("HOSTILE").is_ok_and(|which| which == "all") {
        full
    } else {
        full / 10
    }
}

struct RunResult {
    code: i32,
    out: String,
    error: String,
    /// Processor time in seconds.
    cpu_seconds: f64,
}

/// Runs `--check --files-only` on a main file and one service file, with a limited address space.
#[expect(clippy::disallowed_methods, reason = "starts the program under test and writes its files")]
fn check(main: &[u8], services: &[u8], megabytes: usize) -> RunResult {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("main.conf"), main).unwrap();
    fs::write(root.path().join("d/a.conf"), services).unwrap();
    let script = "ulimit -v $(($1 * 1024)); TIMEFORMAT='%U %S'; time \"$2\" -f main.conf -d d -c --files-only";
    let output = Process::new("bash")
        .args(["-c", script, "bash", &megabytes.to_string(), env!("CARGO_BIN_EXE_anycast-healthchecker")])
        .current_dir(root.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, error) = (text(output.stdout), text(output.stderr));
    let (error, times) = error.trim_end().rsplit_once('\n').unwrap_or(("", error.trim_end()));
    let cpu_seconds = times.split(' ').map(|seconds| seconds.parse::<f64>().unwrap()).sum();
    RunResult { code: output.status.code().unwrap(), out, error: error.to_string(), cpu_seconds }
}

/// Checks texts of two sizes, the larger twice the smaller. Both give the expected result, in
/// linear time.
fn linear(
    what: &str,
    text: impl Fn(usize) -> String,
    n: usize,
    megabytes: usize,
    expected: impl Fn(&RunResult) -> bool,
) {
    let [one, two] = [n, 2 * n].map(|n| {
        let text = text(n);
        let result = check(b"[daemon]\n", text.as_bytes(), megabytes);
        let start: String = result.error.chars().take(1000).collect();
        assert!(expected(&result), "{what}, {n}: code {}, {}{start}", result.code, result.out);
        assert!(
            result.error.lines().all(|line| line.chars().count() < 3000),
            "{what}: a line too long for any terminal"
        );
        println!("{what}: {} bytes took {:.2} s", text.len(), result.cpu_seconds);
        result.cpu_seconds
    });
    assert!(two < STARTUP_CPU_SECONDS + MAX_TIME_RATIO * one, "{what}: {one:.2} s, and {two:.2} s for twice as much");
}

fn is_good(result: &RunResult) -> bool {
    result.code == 0 && result.out == "OK\n"
}

/// The configuration is refused, with a message that names the file.
fn is_refused(result: &RunResult) -> bool {
    result.code == 1
        && result.out.is_empty()
        && result.error.contains("Invalid configuration: ")
        && result.error.contains("d/a.conf")
}

/// Distinct addresses.
fn addresses(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|i| {
        let [_, a, b, c] = (i as u32).to_be_bytes();
        format!("10.{a}.{b}.{c}/32")
    })
}

fn services(n: usize) -> String {
    addresses(n).enumerate().fold(String::new(), |mut text, (i, address)| {
        writeln!(text, "[service{i}]\nip_prefix = {address}\ncheck_cmd = /usr/bin/check {i}").unwrap();
        text
    })
}

#[test]
fn a_hundred_thousand_services_are_read_in_linear_time() {
    linear("services", services, size(50_000), 2000, is_good);
}

#[test]
fn a_hundred_megabytes_of_comments_are_read_in_linear_time() {
    let text =
        |n: usize| format!("{}{}", services(1), "# nothing that matters, written out at some length\n".repeat(n));
    linear("comments", text, size(1_000_000), 2000, is_good);
}

#[test]
fn a_hundred_megabytes_of_unknown_options_are_read_in_linear_time() {
    let text = |n: usize| {
        (0..n).fold(services(1), |mut text, i| {
            writeln!(text, "unknown_option_number_{i} = a value of no use to anybody").unwrap();
            text
        })
    };
    linear("unknown options", text, size(800_000), 2000, is_good);
}

#[test]
fn a_line_of_ten_megabytes_is_read_in_linear_time() {
    let long = |n: usize| "x".repeat(n);
    let n = size(5_000_000);
    linear("a value", |n| format!("[a]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/true {}\n", long(n)), n, 1000, is_good);
    linear(
        "a name",
        |n| format!("[a]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/true\n{} = 1\n", long(n)),
        n,
        1000,
        is_good,
    );
    linear("no option", |n| format!("[a]\n{}\n", long(n)), n, 1000, is_refused);
    linear(
        "words",
        |n| format!("[a]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/true{}\n", " x".repeat(n / 2)),
        n,
        2000,
        is_good,
    );
    linear("a prefix", |n| format!("[a]\nip_prefix = {}\ncheck_cmd = /bin/true\n", long(n)), n, 1000, is_refused);
    linear("a number", |n| format!("{}check_interval = {}\n", services(1), "1".repeat(n)), n, 1000, is_refused);
    linear(
        "quotation marks",
        |n| format!("[a]\nip_prefix = 10.0.0.1\ncheck_cmd = '{}\n", long(n)),
        n,
        1000,
        is_refused,
    );
    linear(
        "prefixes",
        |n| format!("[a]\nip_prefix = {}\ncheck_cmd = /bin/true\n", "10.0.0.1/33,".repeat(n / 12)),
        n,
        2000,
        is_refused,
    );
}

#[test]
fn a_million_lines_are_read_in_linear_time() {
    let n = size(1_000_000);
    linear(
        "continued lines",
        |n| format!("[a]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/true\n{}", " x\n".repeat(n)),
        n,
        2000,
        is_good,
    );
    linear("faulty lines", |n| format!("[a]\n{}", "nothing\n".repeat(n)), n, 1000, is_refused);
    linear("sections twice", |n| format!("{}{}", services(1), "[service0]\n".repeat(n)), n, 1000, is_refused);
    linear("options twice", |n| format!("{}{}", services(1), "a = 1\n".repeat(n)), n, 1000, is_refused);
    let references =
        |n: usize| format!("[a]\nip_prefix = 10.0.0.1\nx = y\ncheck_cmd = /bin/true {}\n", "%(x)s".repeat(n));
    linear("references", references, size(100_000), 1000, |result| is_good(result) || is_refused(result));
}

#[test]
fn invalid_bytes_are_refused_with_their_line() {
    for (bytes, line) in [
        (&b"[a]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/\xff\xfe\n"[..], 3),
        (b"[a]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/tr\0ue\n", 3),
        (b"[a]\nip_prefix = 10.0.0.1\0\ncheck_cmd = /bin/true\n", 2),
        (b"[a\0b]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/true\n", 1),
    ] {
        let result = check(b"[daemon]\n", bytes, 1000);
        assert!(is_refused(&result), "{bytes:?}: {}{}", result.out, result.error);
        assert!(result.error.contains(&format!("line {line}")), "{}", result.error);
    }
}

#[test]
fn names_of_four_thousand_characters_are_accepted_or_reported() {
    let name = "n".repeat(4096);
    let result =
        check(b"[daemon]\n", format!("[{name}]\nip_prefix = 10.0.0.1\ncheck_cmd = /bin/{name}\n").as_bytes(), 1000);
    assert!(is_good(&result), "{}", result.error);
    for option in ["bird_conf", "pidfile", "log_file", "status_socket", "bird_variable"] {
        let main = format!("[daemon]\n{option} = /{name}\n");
        let result = check(main.as_bytes(), services(1).as_bytes(), 1000);
        assert!(result.code == 0 || result.error.contains(option), "{option}: {}", result.error);
    }
}

/// Difficult strings: extreme numbers, quotation marks, control characters, other scripts, invalid
/// addresses.
fn difficult_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "\\PC{0,20}",
        any::<String>(),
        "[-+]?[0-9]{1,30}(\\.[0-9]{0,20})?(e[-+]?[0-9]{1,4})?",
        "[0-9a-f:.]{0,20}(/[0-9.]{0,16})?",
        "[\\\\'\" a]{0,20}",
        prop::sample::select(vec![
            "",
            " ",
            "0",
            "-0",
            "1e400",
            "nan",
            "inf",
            "٣",
            "1_0",
            "0x10",
            "true",
            "oN",
            "withdraw",
            "10.0.0.1",
            "::/0",
            "10.0.0.0/0",
            "10.0.0.1/255.255.255.255",
            "10.0.0.1, ,",
            "/",
            "..",
            "/dev/null",
            "%%",
            "@",
            "\u{1b}[2J",
        ])
        .prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions")))]

    /// Any values give either settings or a problem with a one-line message.
    #[test]
    fn any_values_are_settings_or_problems(
        values in prop::collection::vec((prop::sample::select(OPTIONS), difficult_text()), 1..6),
    ) {
        let mut ini = Ini::default();
        for (section, scope) in [("DEFAULT", Scope::Service), ("daemon", Scope::Daemon)] {
            options::defaults(scope).for_each(|(name, value)| ini.preset(section, name, value));
        }
        for (section, name, value) in [("s", "ip_prefix", "10.0.0.1/32"), ("s", "check_cmd", "/bin/true")] {
            ini.preset(section, name, value);
        }
        for (option, value) in &values {
            ini.preset(if option.scope == Scope::Daemon { "daemon" } else { "s" }, option.name, value);
        }
        let (settings, problems) = parse::settings(&ini);
        prop_assert_eq!(settings.is_some(), !problems.iter().any(|problem| problem.is_error()), "{:?}", problems);
        for problem in problems {
            let text = problem.to_string();
            prop_assert!(!text.is_empty() && !text.contains(char::is_control), "{:?}", text);
        }
    }

    #[test]
    fn any_text_is_a_command_or_none(text in difficult_text()) {
        if let Ok(command) = Command::parse(&text) {
            prop_assert!(!command.program().is_empty());
            prop_assert!(!command.words().iter().any(|word| word.contains('\0')));
            // Text without quotation marks and backslashes is split at blanks only.
            if !text.contains(['\'', '"', '\\']) {
                let blanks = [' ', '\t', '\r', '\n'];
                let words: Vec<&str> = text.split(blanks).filter(|word| !word.is_empty()).collect();
                prop_assert_eq!(command.words(), words);
            }
        }
    }
}

/// The whole program on random bytes: it always ends with exit code 0 or 1.
#[test]
fn random_files_end_with_an_answer() {
    let mut bytes = Vec::new();
    for seed in 0..20u32 {
        bytes.clear();
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        while bytes.len() < 2000 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let pieces: [&[u8]; 12] =
                [b"\n", b"[", b"]", b"=", b"daemon", b" ", b"%(", b")s", b"\0", b"\xff", b"ip_prefix", b"\r"];
            bytes.extend_from_slice(pieces[state as usize % pieces.len()]);
        }
        let result = check(&bytes, &bytes, 1000);
        assert!(
            (result.code == 1 && !result.error.is_empty()) || is_good(&result),
            "{seed}: {} {}",
            result.code,
            result.error
        );
    }
}

/// One service with all prefixes.
#[test]
fn a_hundred_thousand_prefixes_of_one_service_are_read_in_linear_time() {
    let text =
        |n: usize| format!("[a]\ncheck_cmd = /bin/true\nip_prefix = {}\n", addresses(n).collect::<Vec<_>>().join(", "));
    linear("prefixes of one service", text, size(50_000), 2000, is_good);
}
