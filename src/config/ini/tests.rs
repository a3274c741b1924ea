//! Tests of the reader: Python's answers over the corpus, properties against a small model, and size.

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

/// The fault as Python names it.
fn class(fault: &Fault) -> &'static str {
    match fault {
        Fault::NotUtf8 => "UnicodeDecodeError",
        Fault::NoSection(_) => "MissingSectionHeaderError",
        Fault::NoDelimiter | Fault::NoName | Fault::NoBracket(_) => "ParsingError",
        Fault::SectionTwice(_) => "DuplicateSectionError",
        Fault::OptionTwice(_) => "DuplicateOptionError",
        Fault::Percent(_) | Fault::Reference(_) => "InterpolationSyntaxError",
        Fault::Missing(_) => "InterpolationMissingOptionError",
        Fault::TooDeep => "InterpolationDepthError",
        Fault::More | Fault::TooLong => "not one of Python's",
    }
}

/// The line numbers in a message of Python's: `[line  3]`, or `line: 3`.
fn python_lines(message: &str) -> Vec<usize> {
    let parts = message.split("line").skip(1);
    let numbers = parts.map(|part| part.trim_start_matches([':', ' ']).split(|c: char| !c.is_ascii_digit()).next());
    numbers.filter_map(|number| number.unwrap().parse().ok()).collect()
}

/// What Python makes of the files: all values, or the first error.
fn check(name: &str, files: &[PathBuf], expected: &Value) {
    let mut ini = Ini::default();
    for path in files {
        let faults = ini.read(Path::new(path.file_name().unwrap()), &std::fs::read(path).unwrap());
        if faults.is_empty() {
            continue;
        }
        let error = expected["error"].as_str().unwrap_or_else(|| panic!("{name}: accepted by Python, but {faults:?}"));
        let (wanted, message) = error.split_once(": ").unwrap();
        // To Python a section without its bracket is a line like any other.
        let before_any = |fault: &Fault| matches!(fault, Fault::NoBracket(_)) && wanted == "MissingSectionHeaderError";
        let same = faults.iter().filter(|found| class(&found.fault) == wanted || before_any(&found.fault));
        let found: Vec<usize> = same.map(|found| found.place.line).collect();
        assert!(!found.is_empty(), "{name}: {error}, but {faults:?}");
        if wanted != "UnicodeDecodeError" {
            // Python stops at the first duplicate, but tells all lines without a delimiter.
            let told = if wanted.starts_with("Duplicate") { 1 } else { found.len() };
            assert_eq!(found[..told], python_lines(message), "{name}: {error}, but {faults:?}");
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
                Err(fault) => {
                    let error = expected["error"].as_str().unwrap_or_else(|| panic!("{name}: {fault}"));
                    assert_eq!(class(&fault), error.split_once(':').unwrap().0, "{name}: {error}, but {fault}");
                    return;
                }
            };
        }
        all.insert(section.name.to_string(), values.into());
    }
    // Texts are compared, so that the order counts.
    assert_eq!(Value::Object(all).to_string(), expected["ok"].to_string(), "{name}: {}", expected["error"]);
}

#[test]
fn corpus_read_as_python_reads_it() {
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
fn several_files_merged_as_python_merges_them() {
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

/// `detail/`: each option's raw value, and what getting it gives.
#[test]
fn each_option_of_the_corpus_as_python_gets_it() {
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
                    Err(fault) => assert!(got["error"].as_str().unwrap().starts_with(class(&fault)), "{name} {got}"),
                }
                count += 1;
            }
        }
    }
    assert!(count > 250, "{count}");
}

fn read(text: &str) -> (Ini, Vec<IniError>) {
    let mut ini = Ini::default();
    let faults = ini.read(Path::new("a.conf"), text.as_bytes());
    (ini, faults)
}

#[test]
fn faults_name_their_line_and_go_on() {
    let (_, faults) = read("[a]\nx = 1\nbad\nx = 2\n[b]\n= 3\n[a]\n");
    let said: Vec<String> = faults.into_iter().map(|fault| Diagnostic::from(fault).to_string()).collect();
    assert_eq!(
        said,
        [
            "a.conf, line 3: [a] 'bad': is neither a [section] nor an option with = or : behind its name, nor indented as part of a value",
            "a.conf, line 4: [a] 'x = 2': this option already stands in the same section, at line 2; remove one of the two",
            "a.conf, line 6: [b] '= 3': has no name before the = or :",
            "a.conf, line 7: [a] this section already stands in the same file, at line 1; put its options together",
        ]
    );
}

#[test]
fn faults_are_not_listed_without_end() {
    let (_, faults) = read(&format!("[a]\n{}", "bad\n".repeat(100_000)));
    assert_eq!((faults.len(), &faults[100].fault), (101, &Fault::More));
}

#[test]
fn options_know_where_they_stand() {
    let mut ini = Ini::default();
    ini.preset("a", "x", "0");
    ini.preset("a", "y", "0");
    assert_eq!(ini.read(Path::new("1"), b"# c\n[a]\n\nX = 1\n"), []);
    assert_eq!(ini.read(Path::new("2"), b"[a]\rz = 1\r"), []);
    let section = ini.section("a").unwrap();
    let places: Vec<_> = section.own_entries().iter().map(|entry| (&*entry.name, entry.place.clone())).collect();
    let place = |file: &str, line| Some(Location { file: Path::new(file).into(), line });
    assert_eq!(places, [("x", place("1", 4)), ("y", None), ("z", place("2", 2))]);
    assert_eq!(section.place, place("2", 1));
}

#[test]
fn references_cannot_fill_the_memory() {
    let mut text = String::from("[a]\nx0 = 0123456789\n");
    for n in 1..9 {
        text += &format!("x{n} = {}\n", format!("%(x{})s", n - 1).repeat(100));
    }
    text += &format!("e = \nmany = {}\n", "%(e)s".repeat(MOST_ADDED));
    text += &format!("most = {}\n", "%(e)s%%".repeat(MOST_ADDED / 2));
    let (ini, faults) = read(&text);
    assert_eq!(faults, []);
    let section = ini.section("a").unwrap();
    let value = |name| ini.value(section, section.get(name).unwrap()).map(Cow::into_owned);
    assert_eq!(value("x1"), Ok("0123456789".repeat(100)));
    assert_eq!(value("x8"), Err(Fault::TooLong));
    assert_eq!(value("many"), Ok(String::new()));
    assert_eq!(value("most"), Ok("%".repeat(MOST_ADDED / 2)));
}

/// Were one of these quadratic, the test would take hours.
#[test]
fn large_files_are_read_in_linear_time() {
    let long = "x".repeat(10_000_000);
    let (ini, faults) = read(&format!("[a]\nlong = {long}\nopen = {}\n", "%(".repeat(1_000_000)));
    assert_eq!(faults, []);
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

/// One option of the model: name, the value's lines, and how it is written.
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
    fn what_is_written_by_the_rules_is_read(
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
        let (ini, faults) = read(&text);
        prop_assert_eq!(faults, []);
        let found: Vec<_> = ini.sections()[0].own_entries().iter().map(|e| (e.name.to_string(), e.raw.clone())).collect();
        prop_assert_eq!(found, wanted, "{:?}", text);
    }

    #[test]
    fn any_bytes_give_an_answer(bytes: Vec<u8>, text in "[\\[\\]a=:%()s# \t\r\n\u{85}\u{feff}\u{1c}]{0,60}") {
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
fn what_is_forgotten_is_as_if_it_had_never_stood_there() {
    let (mut ini, faults) = read("[DEFAULT]\ny = 0\n[a]\nx = 1\ny = 2\nz = 3\n");
    assert_eq!(faults, []);
    assert!(ini.forget("a", "y"));
    assert!(!ini.forget("a", "y") && !ini.forget("b", "y"));
    let section = ini.section("a").unwrap();
    let values = ["x", "y", "z"].map(|name| ini.entry(section, name).map(|entry| &*entry.raw));
    assert_eq!(values, [Some("1"), Some("0"), Some("3")]);
    assert_eq!(section.own_entries().len(), 2);
}
