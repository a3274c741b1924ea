//! Tests of the parser: Python's results for the corpus, properties against a small model, and
//! large inputs.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/ini")
}

fn expected(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The name of Python's exception.
fn exception(kind: &IniErrorKind) -> &'static str {
    match kind {
        IniErrorKind::NotUtf8 => "UnicodeDecodeError",
        IniErrorKind::NoSection(_) => "MissingSectionHeaderError",
        IniErrorKind::NoDelimiter | IniErrorKind::NoName | IniErrorKind::MissingBracket(_) => "ParsingError",
        IniErrorKind::DuplicateSection(_) => "DuplicateSectionError",
        IniErrorKind::DuplicateOption(_) => "DuplicateOptionError",
        IniErrorKind::LonePercent(_) | IniErrorKind::MalformedReference(_) => "InterpolationSyntaxError",
        IniErrorKind::UnknownReference(_) => "InterpolationMissingOptionError",
        IniErrorKind::TooDeep => "InterpolationDepthError",
        IniErrorKind::TooManyErrors | IniErrorKind::TooLong => "none in Python",
    }
}

/// Finds the line numbers in a message of Python: `[line  3]`, or `line: 3`.
fn python_lines(message: &str) -> Vec<usize> {
    let parts = message.split("line").skip(1);
    let numbers = parts.map(|part| part.trim_start_matches([':', ' ']).split(|c: char| !c.is_ascii_digit()).next());
    numbers.filter_map(|number| number.unwrap().parse().ok()).collect()
}

/// Compares all values, or the first error, with those of Python.
fn check(name: &str, files: &[PathBuf], expected: &Value) {
    let mut ini = Ini::default();
    for path in files {
        let errors = ini.read(Path::new(path.file_name().unwrap()), &std::fs::read(path).unwrap());
        if errors.is_empty() {
            continue;
        }
        let error = expected["error"].as_str().unwrap_or_else(|| panic!("{name}: accepted by Python, but {errors:?}"));
        let (wanted, message) = error.split_once(": ").unwrap();
        // In Python, a section without its bracket is a line like any other.
        let before_any = |kind: &IniErrorKind| {
            matches!(kind, IniErrorKind::MissingBracket(_)) && wanted == "MissingSectionHeaderError"
        };
        let same = errors.iter().filter(|error| exception(&error.kind) == wanted || before_any(&error.kind));
        let lines: Vec<usize> = same.map(|error| error.location.line).collect();
        assert!(!lines.is_empty(), "{name}: {error}, but {errors:?}");
        if wanted != "UnicodeDecodeError" {
            // Python stops at the first duplicate, but reports all lines without a delimiter.
            let reported = if wanted.starts_with("Duplicate") { 1 } else { lines.len() };
            assert_eq!(lines[..reported], python_lines(message), "{name}: {error}, but {errors:?}");
            assert!(message.contains(&*path.file_name().unwrap().to_string_lossy()), "{name}");
        }
        return;
    }
    let mut all = Map::new();
    for section in std::iter::once(ini.default_section()).chain(ini.sections()) {
        let mut values = Map::new();
        for entry in ini.entries(section) {
            match ini.value(section, entry) {
                Ok(value) => values.insert(entry.name.to_string(), value.into()),
                Err(kind) => {
                    let error = expected["error"].as_str().unwrap_or_else(|| panic!("{name}: {kind}"));
                    assert_eq!(exception(&kind), error.split_once(':').unwrap().0, "{name}: {error}, but {kind}");
                    return;
                }
            };
        }
        all.insert(section.name.to_string(), values.into());
    }
    // Comparing texts also compares the order.
    assert_eq!(Value::Object(all).to_string(), expected["ok"].to_string(), "{name}: {}", expected["error"]);
}

#[test]
fn the_corpus_is_parsed_as_in_python() {
    let mut count = 0;
    for file in std::fs::read_dir(corpus()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ini") {
            check(&path.display().to_string(), std::slice::from_ref(&path), &expected(&path.with_extension("json")));
            count += 1;
        }
    }
    assert_eq!(count, 225);
}

#[test]
fn several_files_are_merged_as_in_python() {
    let mut count = 0;
    for file in std::fs::read_dir(corpus().join("multi")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let numbered = (1..).map(|n| path.with_extension(format!("{n}.ini")));
            let files: Vec<PathBuf> = numbered.take_while(|path| path.exists()).collect();
            assert!(files.len() > 1, "{}", path.display());
            check(&path.display().to_string(), &files, &expected(&path));
            count += 1;
        }
    }
    assert_eq!(count, 14);
}

/// The files in `detail/` have each option's raw value, and Python's result of `get`.
#[test]
fn each_option_of_the_corpus_has_the_value_of_python() {
    let mut count = 0;
    for file in std::fs::read_dir(corpus().join("detail")).unwrap() {
        let path = file.unwrap().path();
        let expected = expected(&path);
        if expected.get("raw").is_none() {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut ini = Ini::default();
        assert_eq!(ini.read(Path::new(&name), &std::fs::read(corpus().join(format!("{name}.ini"))).unwrap()), []);
        for section in std::iter::once(ini.default_section()).chain(ini.sections()) {
            for entry in ini.entries(section) {
                assert_eq!(entry.raw, expected["raw"][&*section.name][&*entry.name], "{name} {}", entry.name);
                let got = &expected["get"][&*section.name][&*entry.name];
                match ini.value(section, entry) {
                    Ok(value) => assert_eq!(value, got["ok"].as_str().unwrap_or("an error"), "{name} {}", entry.name),
                    Err(kind) => assert!(got["error"].as_str().unwrap().starts_with(exception(&kind)), "{name} {got}"),
                }
                count += 1;
            }
        }
    }
    assert!(count > 250, "{count}");
}

fn read(text: &str) -> (Ini, Vec<IniError>) {
    let mut ini = Ini::default();
    let errors = ini.read(Path::new("a.conf"), text.as_bytes());
    (ini, errors)
}

#[test]
fn errors_name_their_line_and_parsing_continues() {
    let (_, errors) = read("[a]\nx = 1\nbad\nx = 2\n[b]\n= 3\n[a]\n");
    let messages: Vec<String> = errors.into_iter().map(|error| Diagnostic::from(error).to_string()).collect();
    assert_eq!(
        messages,
        [
            "a.conf, line 3: [a] 'bad': is neither a [section], nor an option with = or : after its name, nor indented to continue a value",
            "a.conf, line 4: [a] 'x = 2': this option is already in this section, at line 2; remove one of the two",
            "a.conf, line 6: [b] '= 3': has no name before the = or :",
            "a.conf, line 7: [a] this section is already in this file, at line 1; merge the two",
        ]
    );
}

#[test]
fn the_number_of_errors_is_bounded() {
    let (_, errors) = read(&format!("[a]\n{}", "bad\n".repeat(100_000)));
    assert_eq!((errors.len(), &errors[100].kind), (101, &IniErrorKind::TooManyErrors));
}

#[test]
fn options_have_their_locations() {
    let mut ini = Ini::default();
    ini.preset("a", "x", "0");
    ini.preset("a", "y", "0");
    assert_eq!(ini.read(Path::new("1"), b"# c\n[a]\n\nX = 1\n"), []);
    assert_eq!(ini.read(Path::new("2"), b"[a]\rz = 1\r"), []);
    let section = ini.section("a").unwrap();
    let locations: Vec<_> = section.own_entries().iter().map(|entry| (&*entry.name, entry.location.clone())).collect();
    let location = |file: &str, line| Some(Location { file: Path::new(file).into(), line });
    assert_eq!(locations, [("x", location("1", 4)), ("y", None), ("z", location("2", 2))]);
    assert_eq!(section.location, location("2", 1));
}

#[test]
fn references_cannot_exhaust_the_memory() {
    let mut text = String::from("[a]\nx0 = 0123456789\n");
    for n in 1..9 {
        text += &format!("x{n} = {}\n", format!("%(x{})s", n - 1).repeat(100));
    }
    text += &format!("e = \nmany = {}\n", "%(e)s".repeat(MAX_EXPANSION_LEN));
    text += &format!("most = {}\n", "%(e)s%%".repeat(MAX_EXPANSION_LEN / 2));
    let (ini, errors) = read(&text);
    assert_eq!(errors, []);
    let section = ini.section("a").unwrap();
    let value = |name| ini.value(section, section.get(name).unwrap()).map(Cow::into_owned);
    assert_eq!(value("x1"), Ok("0123456789".repeat(100)));
    assert_eq!(value("x8"), Err(IniErrorKind::TooLong));
    assert_eq!(value("many"), Ok(String::new()));
    assert_eq!(value("most"), Ok("%".repeat(MAX_EXPANSION_LEN / 2)));
}

/// If one of these were quadratic, the test would take hours.
#[test]
fn large_files_are_parsed_in_linear_time() {
    let long = "x".repeat(10_000_000);
    let (ini, errors) = read(&format!("[a]\nlong = {long}\nopen = {}\n", "%(".repeat(1_000_000)));
    assert_eq!(errors, []);
    let section = ini.section("a").unwrap();
    assert_eq!(ini.value(section, section.get("long").unwrap()).unwrap().len(), long.len());
    assert!(ini.value(section, section.get("open").unwrap()).is_err());
    let sections: String = (0..100_000).map(|n| format!("[s{n}]\na = 1\nb = %(a)s\n\n")).collect();
    assert_eq!(read(&sections).0.sections().len(), 100_000);
    let options: String = (0..200_000).map(|n| format!("o{n} = 1\n  2\n\n\n")).collect();
    assert_eq!(read(&format!("[a]\n{options}")).0.sections()[0].own_entries().len(), 200_000);
    let (ini, _) = read(&format!("[a]\nx = 1\n{}y = 2\n", "\n".repeat(1_000_000)));
    assert_eq!(ini.sections()[0].own_entries()[0].raw, "1");
    for line in ["[".repeat(1_000_000), "]".repeat(1_000_000), " ".repeat(1_000_000), "\r".repeat(1_000_000)] {
        read(&format!("[a]\n{line}"));
        read(&line);
    }
}

/// One option of the model: its name, the lines of its value, the delimiter and the line ending.
fn option() -> impl Strategy<Value = (String, Vec<String>, &'static str, &'static str)> {
    let line = "[a-z0-9#;=:\\[\\]][a-z0-9#;=:\\[\\] ]{0,8}[a-z0-9]".prop_map(|line| line.trim().to_string());
    let more = "[a-z0-9=:\\[\\]][a-z0-9#;=:\\[\\] ]{0,8}[a-z0-9]".prop_map(|line| line.trim().to_string());
    (
        "[a-z_][a-z0-9_ .-]{0,6}[a-z0-9_]",
        (line, proptest::collection::vec(more, 0..3)).prop_map(|(line, more)| [vec![line], more].concat()),
        prop_oneof![Just("="), Just(":"), Just(" = "), Just("\t: ")],
        prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
    )
}

proptest! {
    #[test]
    fn options_written_by_the_rules_are_parsed(
        options in proptest::collection::hash_map("[a-z]{1,3}", option(), 0..6),
        noise in prop_oneof![Just(""), Just("# c\n"), Just("   ; c = d\n")],
    ) {
        let mut text = String::from("[s]\n");
        let mut wanted = Vec::new();
        for (key, (tail, lines, delimiter, end)) in &options {
            let name = format!("{key}{tail}");
            if wanted.iter().any(|(other, _)| *other == name) {
                continue;
            }
            text += &format!("{noise}{name}{delimiter}{}{end}", lines.join(&format!("{end}   ")));
            wanted.push((name, lines.join("\n")));
        }
        let (ini, errors) = read(&text);
        prop_assert_eq!(errors, []);
        let parsed: Vec<_> = ini.sections()[0].own_entries().iter().map(|e| (e.name.to_string(), e.raw.clone())).collect();
        prop_assert_eq!(parsed, wanted, "{:?}", text);
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes: Vec<u8>, text in "[\\[\\]a=:%()s# \t\r\n\u{85}\u{feff}\u{1c}]{0,60}") {
        for input in [&bytes, text.as_bytes()] {
            let mut ini = Ini::default();
            ini.read(Path::new("1"), b"[a]\na = 1\n");
            ini.read(Path::new("2"), input);
            for section in ini.sections() {
                for entry in ini.entries(section) {
                    let _ = ini.value(section, entry);
                }
            }
        }
    }
}

#[test]
fn a_removed_option_leaves_no_trace() {
    let (mut ini, errors) = read("[DEFAULT]\ny = 0\n[a]\nx = 1\ny = 2\nz = 3\n");
    assert_eq!(errors, []);
    assert!(ini.remove("a", "y"));
    assert!(!ini.remove("a", "y") && !ini.remove("b", "y"));
    let section = ini.section("a").unwrap();
    let values = ["x", "y", "z"].map(|name| ini.entry(section, name).map(|entry| &*entry.raw));
    assert_eq!(values, [Some("1"), Some("0"), Some("3")]);
    assert_eq!(section.own_entries().len(), 2);
}
