//! Runs the fuzz targets (`tests/fuzz`) on their committed corpora, so that a fixed bug stays
//! fixed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and writes its own files; clippy sees that only within the tests themselves"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[path = "fuzz/readers.rs"]
pub mod readers;

use readers::READERS;

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz"))
}

/// The names of the files in a directory.
fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(directory)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_reader_has_a_target_and_a_corpus() {
    let wanted: BTreeSet<String> = READERS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names("corpus"), wanted);
    assert_eq!(names("targets"), wanted.iter().map(|name| format!("{name}.rs")).collect());
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &wanted {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\npath = \"targets/{name}.rs\"\n")), "{name}");
    }
}

#[test]
fn every_corpus_passes() {
    for (name, read) in READERS {
        let corpus = format!("corpus/{name}");
        let inputs = names(&corpus);
        assert!(inputs.len() > 3, "{name} has hardly a corpus");
        for input in inputs {
            let path = fuzz().join(&corpus).join(input);
            let bytes = fs::read(&path).unwrap();
            assert!(catch_unwind(|| read(&bytes)).is_ok(), "{} is read as it should not be, see above", path.display());
        }
    }
}
