//! Tests with programs that run as root, which a daemon that is not root may not kill.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::sys::process::{Limits, Program};
use crate::sys::stop_token::StopToken;
use crate::testing::isolated::{beside_sudo, wait_until, BECOMES_ROOT};

/// Starts a program that cannot be killed and exits once the file `go` exists.
fn orphan(sudo: &Path, go: &Path) -> Orphan {
    let script =
        format!("while [ -d {} -a ! -e {} ]; do sleep 0.01; done", go.parent().unwrap().display(), go.display());
    let words = [&sudo.display().to_string(), "--reuid=0", "--clear-groups", "sh", "-c", &script].map(String::from);
    let limits = Limits { deadline: Instant::now() + BECOMES_ROOT, grace: None, max_output: 0 };
    Program::new(&words).run(&limits, &StopToken::new().unwrap()).orphan.unwrap()
}

#[test]
fn orphans_count_by_owner_up_to_a_maximum() {
    let name = "sys::orphans::tests::orphans_count_by_owner_up_to_a_maximum";
    let Some(sudo) = beside_sudo(name) else { return };
    let [go_a, go_b] = ["go-a", "go-b"].map(|name| sudo.with_file_name(name));
    let orphans = Orphans::default();
    assert_eq!((orphans.reap(), orphans.admit("a")), (0, Ok(())));
    for n in 1..=MAX_PER_OWNER {
        assert_eq!(orphans.admit("a"), Ok(()));
        assert_eq!(orphans.keep("a", orphan(&sudo, &go_a)), n);
    }
    assert_eq!(orphans.admit("a"), Err(TooManyOrphans));
    assert_eq!(TooManyOrphans.to_string(), "4 earlier runs could not be killed and still run");
    assert_eq!(orphans.admit("b"), Ok(()));
    assert_eq!(orphans.keep("b", orphan(&sudo, &go_b)), 1);
    assert_eq!(orphans.reap(), MAX_PER_OWNER + 1);
    // `admit` reaps the orphans of one owner, `reap` those of all owners.
    File::create(&go_a).unwrap();
    wait_until("the first owner's orphans to exit", || orphans.admit("a").is_ok());
    wait_until("the first owner's orphans to be reaped", || orphans.reap() == 1);
    File::create(&go_b).unwrap();
    wait_until("all orphans to exit", || orphans.reap() == 0);
    assert!(orphans.0.lock().is_empty(), "an owner without orphans has no entry");
    assert_eq!(children(), "", "no zombie stays");
}

/// Returns the ids of the children that this process has not reaped.
fn children() -> String {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect()
}
