//! The layers of the program: a module uses only what stands below it, and no two modules of a folder use each other.
//!
//! Promises: the order is read from the paths in the source, `crate::…` and `super::…`, wherever they stand.
//! Leaves out: tests, which may use anything; the file that a folder belongs to (`check.rs` of `check/`), as it names what
//! stands in the folder and is used there in turn.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From top to bottom. Modules of one layer do not use each other.
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

/// Names of the modules from the crate's root: `["check", "state"]`.
type Module = Vec<String>;

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let layer = |module: &str| {
        let found = LAYERS.iter().position(|layer| layer.contains(&module));
        found.unwrap_or_else(|| panic!("{module} has no layer: give it one in LAYERS"))
    };
    let mut wrong = Vec::new();
    for (user, used) in uses().iter().filter(|(user, used)| user[0] != used[0]) {
        if layer(&user[0]) >= layer(&used[0]) {
            wrong.push(format!("{} uses {}", user.join("::"), used.join("::")));
        }
    }
    assert!(wrong.is_empty(), "what stands higher is used:\n{}", wrong.join("\n"));
}

/// In each folder, that of the crate's root included; a module counts with the folder that belongs to it.
#[test]
fn no_cycles() {
    let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (user, used) in uses() {
        let common = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
        if let (Some(a), Some(b)) = (user.get(common), used.get(common)) {
            let folder = folders.entry(user[..common].to_vec()).or_default();
            folder.entry(a.clone()).or_default().insert(b.clone());
        }
    }
    let found = folders.iter().filter_map(|(folder, edges)| Some((folder, cycle(edges)?)));
    let found: Vec<String> =
        found.map(|(folder, cycle)| format!("in {}: {}", folder.join("::"), cycle.join(" -> "))).collect();
    assert!(found.is_empty(), "modules use each other:\n{}", found.join("\n"));
}

/// One cycle, if there is one. What is used by nothing in a cycle, and uses nothing in one, is taken away until the rest
/// is nothing else.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut left = edges.clone();
    loop {
        let users: BTreeSet<String> = left.keys().cloned().collect();
        let before = left.values().map(BTreeSet::len).sum::<usize>();
        left.values_mut().for_each(|used| used.retain(|module| users.contains(module)));
        left.retain(|_, used| !used.is_empty());
        if left.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    // Each that is left uses another that is left.
    let mut path = vec![left.keys().next()?.clone()];
    loop {
        let next = left[path.last()?].first()?.clone();
        let begin = path.iter().position(|module| *module == next);
        path.push(next);
        if let Some(begin) = begin {
            return Some(path.split_off(begin));
        }
    }
}

/// Who uses whom. What is used is a module of the crate's root or one in a folder of it.
fn uses() -> BTreeSet<(Module, Module)> {
    let mut sources = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &Vec::new(), &mut sources);
    let mut uses = BTreeSet::new();
    for (user, text) in &sources {
        for path in paths(text, user) {
            // Down to the last that is a module: what follows is an item of it.
            let is_module = |path: &[String]| sources.keys().any(|module| module.starts_with(path));
            let length = (1..=path.len()).take_while(|length| is_module(&path[..*length])).count();
            if length > 0 {
                uses.insert((user.clone(), path[..length].to_vec()));
            }
        }
    }
    assert!(uses.len() > 200, "the sources are read wrongly: {uses:?}");
    uses
}

/// The sources of a folder's modules, less tests.
fn read(folder: &Path, parent: &Module, sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let module = [parent.clone(), vec![name]].concat();
        if path.is_dir() {
            read(&path, &module, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") && module != ["lib"] {
            sources.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
    if parent.is_empty() {
        let mut tests: Vec<Module> = sources.iter().flat_map(|(module, text)| test_modules(module, text)).collect();
        // Those of the folders that lib.rs describes.
        let lib = fs::read_to_string(folder.join("lib.rs")).unwrap();
        for (folder, rest) in lib.split("pub mod ").filter_map(|part| part.split_once(" {")) {
            tests.extend(test_modules(&[folder.to_string()], rest));
        }
        sources.retain(|module, _| module.last().unwrap() != "tests" && !tests.contains(module));
        sources.values_mut().for_each(|text| *text = without_tests(text));
    }
}

/// The modules with files of their own that only tests have.
fn test_modules(parent: &[String], text: &str) -> Vec<Module> {
    let after = text.split("#[cfg(test)]").skip(1).map(str::trim_start);
    let declared = after.filter_map(|after| after.split_once(';')?.0.rsplit_once("mod "));
    let names = declared.filter(|(before, name)| !before.contains('\n') && !name.contains(char::is_whitespace));
    names.map(|(_, name)| [parent, &[name.to_string()]].concat()).collect()
}

/// The code without comments, and without what stands behind `#[cfg(test)]`, which is laid out by rustfmt.
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

/// The paths of the crate in the code of `user`, each of them whole.
fn paths(code: &str, user: &Module) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate", "super", "anycast_healthchecker"] {
        for (at, _) in code.match_indices(&format!("{root}::")) {
            let before = code[..at].chars().next_back();
            // `super::super` is counted with the first.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut parent: &[String] = if root == "super" { &user[..user.len() - 1] } else { &[] };
            let mut rest = &code[at + root.len() + 2..];
            while let Some(after) = rest.strip_prefix("super::") {
                (rest, parent) = (after, &parent[..parent.len() - 1]);
            }
            found.extend(expand(rest).0.into_iter().map(|path| [parent.to_vec(), path].concat()));
        }
    }
    found
}

/// `a::{b, c::d}…` as the paths `a::b` and `a::c::d`, and what follows.
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
            // Whatever else stands there: `as name`.
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
        let found: Vec<String> = paths(&without_tests(code), &user).iter().map(|path| path.join("::")).collect();
        assert_eq!(found, expected, "{code}");
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
