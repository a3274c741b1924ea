//! The Markdown pages: every relative link leads to a file, every anchor to a heading, and the
//! README stays short.
//!
//! Out of scope: links to other sites, which a test cannot rely on, and generated parts
//! (`tests/generated.rs`).
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of `docs/`.
fn docs() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    pages
}

/// All pages.
fn pages() -> Vec<PathBuf> {
    let beside = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    [beside.to_vec(), docs()].concat()
}

/// The lines of a page outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    })
}

/// The targets of the links in a text, including pictures.
fn links(text: &str) -> Vec<String> {
    // A link may span several lines. Text between backticks contains no links.
    let joined = prose(text).collect::<Vec<_>>().join("\n");
    let outside_code: String = joined.split('`').step_by(2).collect();
    let targets = outside_code.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    targets.collect()
}

/// The anchors that forges generate from the headings of a page.
fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for line in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let same = (0..).map(|n| if n == 0 { anchor.clone() } else { format!("{anchor}-{n}") });
        let new = same.into_iter().find(|anchor| !anchors.contains(anchor)).unwrap();
        anchors.insert(new);
    }
    anchors
}

/// The problem of a link of `page`, or `None` if it leads somewhere.
fn problem(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
    let wrong = |what: &str| Some(format!("{}: ({target}): {what}", page.display()));
    if !file.exists() {
        return wrong("no such file");
    }
    if anchor.is_empty() || anchors(&fs::read_to_string(&file).unwrap()).contains(anchor) {
        return None;
    }
    wrong("no such heading")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut count = 0;
    let mut problems = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = links(&text);
        count += links.len();
        problems.extend(links.iter().filter_map(|target| problem(&page, target)));
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(count > 50, "only {count} links were found");
}

#[test]
fn broken_links_are_found() {
    let page = root().join("README.md");
    let text =
        "[a](docs/bird.md) [b](docs/\nnone.md)\n```\n[c](none)\n```\n`[d](none)` [e](docs/bird.md#none) [f](#install)";
    assert_eq!(links(text), ["docs/bird.md", "docs/\nnone.md", "docs/bird.md#none", "#install"]);
    let broken: Vec<bool> = links(text).iter().map(|target| problem(&page, target).is_some()).collect();
    assert_eq!(broken, [false, true, true, false]);
    let headings = "# Stop, crash and boot\n## `--drain` & co\n## A\n### A\n#no heading\n```\n# code\n```\n";
    let expected = ["stop-crash-and-boot", "--drain--co", "a", "a-1"].map(str::to_owned);
    assert_eq!(anchors(headings), HashSet::from(expected));
}

#[test]
fn the_readme_is_short_and_links_to_every_page() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = text.lines().count();
    assert!(lines <= 200, "README.md has {lines} lines: move details to docs/");
    let linked: HashSet<String> =
        links(&text).into_iter().map(|target| target.split('#').next().unwrap().into()).collect();
    for page in pages().into_iter().skip(1) {
        let path = page.strip_prefix(root()).unwrap().to_str().unwrap();
        assert!(linked.contains(path), "README.md does not link to {path}");
    }
}

#[test]
fn each_page_begins_with_its_audience() {
    for page in docs() {
        let text = fs::read_to_string(&page).unwrap();
        let opening = text.lines().nth(2).unwrap();
        assert!(
            text.starts_with("# ") && opening.starts_with("For "),
            "{}: begin the page with \"For …\", not: {opening}",
            page.display()
        );
    }
}

#[test]
fn the_security_policy_is_short() {
    let lines = fs::read_to_string(root().join("SECURITY.md")).unwrap().lines().count();
    assert!(lines <= 30, "SECURITY.md has {lines} lines: move details to docs/threat-model.md");
}
