//! The alert rules and the dashboard in `contrib/prometheus`, tested with our metrics and the real
//! promtool.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anycast_healthchecker::internals::daemon_state::DaemonState;
use anycast_healthchecker::internals::report::metrics::{render, Process};
use anycast_healthchecker::internals::sys::clock::Now;
use anycast_healthchecker::internals::sys::mutex::Mutex;
use serde_json::Value;

const NAMESPACE: &str = "anycast_healthchecker_";

fn shipped(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// The names of all metrics. Each has a header, with or without series.
fn names() -> HashSet<String> {
    let daemon = DaemonState {
        started: Now::read(),
        checks: Mutex::new(std::sync::Arc::new([])),
        bird: Default::default(),
        exports: Default::default(),
        files: Vec::new(),
        lines_dropped: Box::new(|| 0),
        configured: Mutex::new(std::time::UNIX_EPOCH),
        reload_error: Mutex::default(),
    };
    let text = render(&daemon, Process::Up, daemon.started);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.map(str::to_string).collect()
}

/// The words in `text` that look like our metrics.
fn mentioned(text: &str) -> HashSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(NAMESPACE)).map(str::to_string).collect()
}

/// The queries of the dashboard, with values for Grafana's variables.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json").1).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let query = |target: &Value| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
    targets.map(|target| query(target).replace("$instance", ".*")).collect()
}

#[test]
fn rules_and_dashboard_use_only_existing_metrics() {
    let names = names();
    assert!(names.contains("anycast_healthchecker_state"), "{names:?}");
    let rules = shipped("rules.yml").1;
    let expressions: Vec<&str> = rules.lines().filter(|line| !line.trim_start().starts_with(['#', '-'])).collect();
    for (what, used) in [("rules", mentioned(&expressions.concat())), ("dashboard", mentioned(&queries().concat()))] {
        assert!(used.len() >= 8, "{what}: {used:?}");
        let unknown: Vec<_> = used.iter().filter(|name| !names.contains(*name)).collect();
        assert!(unknown.is_empty(), "{what} use what is not written: {unknown:?}");
    }
}

#[test]
fn panels_have_unique_ids_and_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json").1).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: HashSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = HashSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel} is within the grid");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{panel} lies on another");
            }
        }
    }
}

/// Runs promtool, which has to succeed. Returns false if it is not installed.
#[expect(clippy::disallowed_methods, reason = "runs promtool")]
fn promtool(arguments: &[&str], file: &Path) -> bool {
    let Ok(output) = Command::new("promtool").args(arguments).arg(file).output() else {
        let file = file.display();
        let _ = writeln!(io::stderr(), "SKIPPED {file}: promtool is not installed (Debian has it in prometheus)");
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{text}", file.display());
    true
}

#[expect(clippy::disallowed_methods, reason = "writes a file of the test")]
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_rules_are_valid_and_fire_as_expected() {
    let (rules, _) = shipped("rules.yml");
    promtool(&["check", "rules"], &rules);
    let dir = tempfile::tempdir().unwrap();
    let cases = include_str!("data/prometheus/rules_test.yml").replace("RULES", rules.to_str().unwrap());
    let path = dir.path().join("cases.yml");
    put(&path, &cases);
    promtool(&["test", "rules"], &path);
    // Each alert needs a case.
    for name in shipped("rules.yml").1.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
    }
}

/// promtool reads no dashboards, so the queries are written as rules.
#[test]
fn the_queries_of_the_dashboard_are_valid() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queries.yml");
    let rules = queries().into_iter().enumerate().map(|(n, query)| {
        let quoted = Value::from(query.as_str());
        format!("      - record: panel_{n}\n        expr: {quoted}\n")
    });
    put(&path, &format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.collect::<String>()));
    promtool(&["check", "rules"], &path);
}

/// The expressions of the alerts, each on one line.
fn expressions() -> Vec<String> {
    let rules = shipped("rules.yml").1;
    let (mut expressions, mut lines) = (Vec::new(), rules.lines().map(str::trim).peekable());
    while let Some(line) = lines.next() {
        match line.strip_prefix("expr: ") {
            Some("|") => {
                let begins_a_key = |line: &&str| ["for:", "labels:"].iter().any(|key| line.starts_with(key));
                let block: Vec<&str> = std::iter::from_fn(|| lines.next_if(|line| !begins_a_key(line))).collect();
                expressions.push(block.join(" "));
            }
            Some(expression) => expressions.push(expression.to_string()),
            None => {}
        }
    }
    expressions
}

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Each code span with a metric and a comparison is one of the rules.
#[test]
fn the_alerts_in_the_documents_are_the_shipped_ones() {
    let (names, expressions) = (names(), expressions());
    assert_eq!(expressions.len(), shipped("rules.yml").1.matches("- alert: ").count(), "{expressions:#?}");
    let full = |word: &str| format!("{NAMESPACE}{}", word.trim_start_matches(NAMESPACE));
    let is_metric = |word: &&str| word.contains('_') && names.contains(&full(word));
    let mut found = HashSet::new();
    for name in ["README.md", "docs/migration.md", "docs/monitoring.md", "docs/operations.md", "docs/status.md"] {
        let text = document(name);
        for piece in text.split('`') {
            let words: Vec<&str> = piece.split_whitespace().collect();
            let compares = words.iter().any(|word| ["==", "!=", "<", ">", "<=", ">="].contains(word));
            if compares && words.iter().any(is_metric) {
                let quoted: Vec<String> =
                    words.iter().map(|word| if is_metric(word) { full(word) } else { word.to_string() }).collect();
                let quoted = quoted.join(" ");
                assert!(expressions.contains(&quoted), "{name} has another alert than rules.yml: {quoted}");
                found.insert(quoted);
            }
        }
    }
    let down = expressions.iter().find(|text| text.contains("service_up == 0 unless")).unwrap();
    assert!(found.contains(down), "docs/monitoring.md does not quote the first rule: {found:?}");
}

#[test]
fn the_monitoring_page_names_every_metric() {
    let page = document("docs/monitoring.md");
    let missing: Vec<_> =
        names().into_iter().filter(|name| !page.contains(&format!("| `{}`", &name[NAMESPACE.len()..]))).collect();
    assert!(missing.is_empty(), "not in the table of docs/monitoring.md: {missing:?}");
}
