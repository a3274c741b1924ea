//! The layers of the program: a module uses only modules of lower layers, and the modules of a
//! folder do not use each other in a circle.
//!
//! Guarantees: the order is read from the paths in the source, `crate::…` and `super::…`, wherever
//! they stand; a module or folder without a layer fails the test.
//! Out of scope: tests, which may use anything; the file of a folder (`check.rs` of `check/`),
//! because it names its modules and they use it in turn.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// All modules of the crate's root, from the top layer to the bottom layer. Modules of one layer do
/// not use each other.
const LAYERS: &[&[&str]] = &[
    &["main"],
    // Only tests use it.
    &["testing"],
    &["internals"],
    &["cli"],
    &["daemon"],
    &["report"],
    &["daemon_state"],
    &["bird"],
    &["check"],
    &["log"],
    &["config"],
    &["sys"],
    &["prefix", "command", "drain_file"],
];

/// The path of a module from the crate's root: `["check", "state"]`.
type Module = Vec<String>;

#[test]
fn every_module_and_folder_has_a_layer() {
    let mut roots = BTreeSet::new();
    for entry in fs::read_dir(source_folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        // Other programs count as `main`.
        if name != "lib" && name != "bin" {
            roots.insert(name.to_string());
        }
    }
    let layered: Vec<String> = LAYERS.concat().into_iter().map(String::from).collect();
    let missing: Vec<_> = roots.iter().filter(|name| !layered.contains(name)).collect();
    assert!(missing.is_empty(), "no layer for {missing:?}: add each to LAYERS in tests/layers.rs and to src/lib.rs");
    let stale: Vec<_> = layered.iter().filter(|name| !roots.contains(*name)).collect();
    assert!(stale.is_empty(), "src/ has no {stale:?}: remove each from LAYERS in tests/layers.rs");
    let sources = sources();
    let read: BTreeSet<&String> = sources.keys().map(|module| &module[0]).collect();
    let unread: Vec<_> = layered.iter().filter(|name| *name != "testing" && !read.contains(name)).collect();
    assert!(unread.is_empty(), "the sources of {unread:?} are not read: correct sources() in tests/layers.rs");
}

#[test]
fn a_module_uses_only_lower_layers() {
    let layer = |module: &str| {
        let position = LAYERS.iter().position(|layer| layer.contains(&module));
        position.unwrap_or_else(|| panic!("no layer for {module}: add it to LAYERS in tests/layers.rs"))
    };
    let mut violations = Vec::new();
    for (user, used) in uses().iter().filter(|(user, used)| user[0] != used[0]) {
        if layer(&user[0]) >= layer(&used[0]) {
            violations.push(format!("{} uses {}", user.join("::"), used.join("::")));
        }
    }
    assert!(
        violations.is_empty(),
        "modules use a higher layer, or one beside their own. Pass what they need as an argument, or move the item \
         that they share to a layer below both:\n{}",
        violations.join("\n")
    );
}

/// Looks at each folder, the crate's root included. A module counts with its folder.
#[test]
fn modules_of_a_folder_do_not_use_each_other_in_a_circle() {
    let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (user, used) in uses() {
        let common = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
        if let (Some(a), Some(b)) = (user.get(common), used.get(common)) {
            let folder = folders.entry(user[..common].to_vec()).or_default();
            folder.entry(a.clone()).or_default().insert(b.clone());
        }
    }
    let cycles: Vec<String> = folders
        .iter()
        .filter_map(|(folder, edges)| Some((folder, cycle(edges)?)))
        .map(|(folder, cycle)| format!("in src/{}: {}", folder.join("/"), cycle.join(" -> ")))
        .collect();
    assert!(
        cycles.is_empty(),
        "modules use each other in a circle. Move the item that two of them share to a module of its own:\n{}",
        cycles.join("\n")
    );
}

/// One cycle, if there is one. Removes modules that use nothing until only modules on the way to a
/// cycle remain.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut remaining = edges.clone();
    loop {
        let users: BTreeSet<String> = remaining.keys().cloned().collect();
        let before = remaining.values().map(BTreeSet::len).sum::<usize>();
        remaining.values_mut().for_each(|used| used.retain(|module| users.contains(module)));
        remaining.retain(|_, used| !used.is_empty());
        if remaining.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    // Each that is left uses another that is remaining.
    let mut path = vec![remaining.keys().next()?.clone()];
    loop {
        let next = remaining[path.last()?].first()?.clone();
        let start = path.iter().position(|module| *module == next);
        path.push(next);
        if let Some(start) = start {
            return Some(path.split_off(start));
        }
    }
}

/// All pairs of a module and a module that it uses.
fn uses() -> BTreeSet<(Module, Module)> {
    let sources = sources();
    let mut uses = BTreeSet::new();
    for (user, text) in &sources {
        for path in paths(text, user) {
            // The longest part that names a module; the rest names an item in it.
            let is_module = |path: &[String]| sources.keys().any(|module| module.starts_with(path));
            let length = (1..=path.len()).take_while(|length| is_module(&path[..*length])).count();
            if length > 0 {
                uses.insert((user.clone(), path[..length].to_vec()));
            }
        }
    }
    assert!(uses.len() > 200, "too few uses found, so the sources are not read correctly: {uses:?}");
    uses
}

fn source_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of all modules, without tests and comments. Programs in `src/bin/` count as `main`.
fn sources() -> BTreeMap<Module, String> {
    let mut sources = BTreeMap::new();
    read_folder(&source_folder(), &Vec::new(), &mut sources);
    let tests: Vec<Module> = sources.iter().flat_map(|(module, text)| test_modules(module, text)).collect();
    sources.retain(|module, _| module.last().unwrap() != "tests" && !tests.contains(module));
    sources.values_mut().for_each(|text| *text = without_tests(text));
    sources
}

/// Adds the source files of a folder and of the folders in it.
fn read_folder(folder: &Path, parent: &Module, sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = match path.file_stem().unwrap().to_str().unwrap() {
            "bin" if parent.is_empty() => "main",
            name => name,
        };
        let module = [parent.clone(), vec![name.to_string()]].concat();
        if path.is_dir() {
            read_folder(&path, &module, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") && module != ["lib"] {
            sources.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The modules in files of their own that are declared under `#[cfg(test)]`.
fn test_modules(parent: &[String], text: &str) -> Vec<Module> {
    let after = text.split("#[cfg(test)]").skip(1).map(str::trim_start);
    let declared = after.filter_map(|after| after.split_once(';')?.0.rsplit_once("mod "));
    let names = declared.filter(|(before, name)| !before.contains('\n') && !name.contains(char::is_whitespace));
    names.map(|(_, name)| [parent, &[name.to_string()]].concat()).collect()
}

/// The code without comments and without items under `#[cfg(test)]`. It relies on the layout of
/// rustfmt.
fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            code += line;
            code.push('\n');
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let mut is_block = false;
        for line in lines.by_ref() {
            is_block |= line.ends_with('{');
            if line == end || !is_block && line.ends_with([';', ',']) {
                break;
            }
        }
    }
    code
}

/// The full paths of the crate that the code of `user` names.
fn paths(code: &str, user: &Module) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for root in ["crate", "super", "anycast_healthchecker"] {
        for (at, _) in code.match_indices(&format!("{root}::")) {
            let before = code[..at].chars().next_back();
            // A second `super` is read with the first.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut parent: &[String] = if root == "super" { &user[..user.len() - 1] } else { &[] };
            let mut rest = &code[at + root.len() + 2..];
            while let Some(after) = rest.strip_prefix("super::") {
                (rest, parent) = (after, &parent[..parent.len() - 1]);
            }
            all.extend(expand(rest).0.into_iter().map(|path| [parent.to_vec(), path].concat()));
        }
    }
    all
}

/// Expands `a::{b, c::d}` to the paths `a::b` and `a::c::d`. Also returns the code behind it.
fn expand(code: &str) -> (Vec<Vec<String>>, &str) {
    if let Some(mut rest) = code.strip_prefix('{') {
        let mut all = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            if let Some(rest) = rest.strip_prefix('}') {
                return (all, rest);
            }
            let (paths, after) = expand(rest);
            all.extend(paths);
            // Skips `as name`.
            rest = &after[after.find([',', '}']).unwrap_or(after.len())..];
            if rest.is_empty() {
                return (all, rest);
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let name = name.to_string();
    match rest.strip_prefix("::") {
        Some(rest) => {
            let (paths, rest) = expand(rest);
            (paths.into_iter().map(|path| [vec![name.clone()], path].concat()).collect(), rest)
        }
        None => (vec![vec![name]], rest),
    }
}

#[test]
fn paths_are_read_as_rust_reads_them() {
    let check = |code: &str, expected: &[&str]| {
        let user = ["check", "worker", "inner"].map(String::from).to_vec();
        let paths: Vec<String> = paths(&without_tests(code), &user).iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, expected, "{code}");
    };
    check("use crate::a::b::C;\nuse std::crate_like::x;", &["a::b::C"]);
    check("use crate::a::{self, b::{C, D as E}, f};", &["a::self", "a::b::C", "a::b::D", "a::f"]);
    check("use crate::{\n    a,\n    b::C,\n};\nfn x(c: &crate::d::E) {}", &["a", "b::C", "d::E"]);
    check("use super::{a, b};\nuse super::super::c;", &["check::worker::a", "check::worker::b", "check::c"]);
    check("// use crate::a;\n#[cfg(test)]\nuse crate::b;\nuse crate::c;", &["c"]);
    check("#[cfg(test)]\nmod tests {\n    use crate::a;\n    fn b() {\n    }\n}\nuse crate::c;", &["c"]);
    let modules = |text: &str| test_modules(&["a".to_string()], text);
    assert_eq!(modules("#[cfg(test)]\npub(crate) mod b;\nmod c;"), [["a", "b"]]);
    assert!(modules("#[cfg(test)]\nmod b {\n    use c;\n}").is_empty());
}
