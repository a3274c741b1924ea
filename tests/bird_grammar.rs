//! The real BIRD accepts every prefix file in which our parser finds no flaw.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::cell::Cell;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use anycast_healthchecker::internals::bird::prefix_file;
use anycast_healthchecker::internals::prefix::{Family, Prefix};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const BIRD: &str = "/usr/sbin/bird";

/// BIRD's error message for `text` as an included file, or `None` if BIRD accepts it.
#[expect(clippy::disallowed_methods, reason = "runs the real BIRD in a temporary directory")]
fn refusal(directory: &Path, text: &[u8]) -> Option<String> {
    let (conf, list) = (directory.join("bird.conf"), directory.join("list.conf"));
    std::fs::write(&list, text).unwrap();
    std::fs::write(&conf, format!("router id 10.0.0.1;\ninclude \"{}\";\nprotocol device {{}}\n", list.display()))
        .unwrap();
    let output = Command::new(BIRD).arg("-p").arg("-c").arg(&conf).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A rendered prefix file with up to three random edits.
fn any_file() -> impl Strategy<Value = (Family, Vec<u8>)> {
    let pieces = prop::sample::select(vec![
        " ",
        "\n",
        "\t",
        "# c\n",
        "/* c */",
        "/*",
        "*/",
        "/",
        ",",
        ";",
        "]",
        "[",
        "=",
        "\r",
        "\0",
        "0",
        "8",
        "\"",
        "'",
        "+",
        "define",
        "A",
        "10.0.0.0/8",
        "::/0",
        "255.0.0.0",
        ".",
        ":",
        "\u{e9}",
    ]);
    let change = (any::<prop::sample::Index>(), 0usize..3, pieces);
    let v6 = any::<bool>();
    (v6, prop::collection::vec((any::<u128>(), 0u8..=128), 1..4), prop::collection::vec(change, 0..4)).prop_map(
        |(v6, prefixes, changes)| {
            let prefix = |(bits, length): (u128, u8)| {
                let net: ipnet::IpNet = match v6 {
                    true => ipnet::Ipv6Net::new(bits.into(), length).unwrap().trunc().into(),
                    false => ipnet::Ipv4Net::new((bits as u32).into(), length % 33).unwrap().trunc().into(),
                };
                net.to_string().parse::<Prefix>().unwrap()
            };
            let list: Vec<Prefix> = prefixes.into_iter().map(prefix).collect();
            let mut text = prefix_file::render("ACAST", list.first(), &list, "2026-11-22 10:05:35.130014", 1);
            if list.len() == 2 {
                prefix_file::mark_provisional(&mut text);
            }
            let mut bytes = text.into_bytes();
            for (index, removed, inserted) in changes {
                let at = index.index(bytes.len() + 1);
                let end = bytes.len().min(at + removed);
                bytes.splice(at..end, inserted.bytes());
            }
            (if v6 { Family::V6 } else { Family::V4 }, bytes)
        },
    )
}

#[test]
fn bird_accepts_every_file_without_a_flaw() {
    if !Path::new(BIRD).exists() {
        let _ =
            writeln!(io::stderr(), "SKIPPED what_has_no_flaw_is_read_by_bird: {BIRD} is not installed (package bird2)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    assert!(refusal(directory.path(), b"define A = [ 10.0.0.1/24 ];").unwrap().contains("list.conf:1:"));
    let mut runner = TestRunner::new(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() });
    let (sound, broken) = (Cell::new(0), Cell::new(0));
    runner
        .run(&any_file(), |(family, bytes)| {
            let found = prefix_file::parse(&bytes, family);
            if found.flaw.is_some() {
                broken.set(broken.get() + 1);
                return Ok(());
            }
            sound.set(sound.get() + 1);
            let refused = refusal(directory.path(), &bytes);
            prop_assert!(refused.is_none(), "{:?}\n{}", refused, String::from_utf8_lossy(&bytes));
            Ok(())
        })
        .unwrap();
    let (sound, broken) = (sound.get(), broken.get());
    println!("{sound} files were read by BIRD, {broken} had a flaw");
    assert!(sound > 100 && broken > 100, "{sound} {broken}");
}
