//! Many changes, custom commands, and the answers of BIRD.

use std::fs;

use super::{other, web, OTHER, WEB};
use crate::lab::service::Service;
use crate::lab::Lab;

#[test]
fn failure_14_a_mass_failure_needs_few_reconfigures() {
    const NAMES: [&str; 20] = [
        "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16",
        "s17", "s18", "s19",
    ];
    let prefix = |n: usize| -> &'static str { format!("10.52.13.{n}/32").leak() };
    let mut lab = Lab::new(NAMES.iter().enumerate().map(|(n, name)| Service::new(name, prefix(n))));
    lab.reconfigure_script("test -e slow && { printf . >> slow; sleep 1; }; $BIRDC");
    lab.start_daemon();
    (0..NAMES.len()).for_each(|n| lab.wait_advertised(prefix(n)));
    lab.touch("slow");
    NAMES.iter().for_each(|name| lab.kill(name));
    lab.wait_until("all to be withdrawn", |lab| lab.routes.is_empty());
    let runs = lab.log("slow").len();
    assert!(runs < NAMES.len() / 2, "{runs} reconfigures for {} services", NAMES.len());
}

/// A service whose custom command is the script `custom`, with this timeout.
fn with_custom_command(seconds: &str) -> Service {
    web()
        .with("custom_bird_reconfigure_cmd", "/bin/sh {lab}/custom")
        .with("custom_bird_reconfigure_cmd_timeout", seconds)
}

/// The command hangs at every run.
#[test]
fn failure_15_a_custom_command_that_hangs_delays_others_by_its_timeout_at_most() {
    let mut lab = Lab::advertising([with_custom_command("1"), other()]);
    lab.script("custom", "printf . >> hangs; while ! test -e works; do sleep 0.1; done; $BIRDC");
    lab.start_daemon();
    lab.wait_runs("web", 3);
    lab.kill("web");
    for _ in 0..3 {
        let hangs = lab.log("hangs").len();
        lab.wait_until("the custom command to hang", |lab| lab.log("hangs").len() > hangs);
        lab.kill("other");
        lab.wait_withdrawn(OTHER);
        lab.revive("other");
        lab.wait_advertised(OTHER);
    }
    lab.touch("works");
    lab.wait_withdrawn(WEB);
}

#[test]
fn failure_15_a_custom_command_that_ignores_term_is_killed() {
    let mut lab = Lab::advertising([with_custom_command("1"), other()]);
    lab.script("custom", "trap '' TERM; test -e works || { printf . >> tried; while :; do sleep 1001; done; }; $BIRDC");
    lab.start_daemon();
    lab.wait_runs("web", 3);
    let mark = lab.routes.mark();
    lab.kill("web");
    lab.wait_until("a third try", |lab| lab.log("tried").len() > 2);
    lab.wait_until("those before it to be killed", |lab| lab.processes("sleep 1001").len() <= 1);
    lab.touch("works");
    lab.wait_withdrawn(WEB);
    lab.wait_until("all of them to be gone", |lab| lab.processes("/custom").is_empty());
    lab.wait_until("their children to be gone", |lab| lab.processes("sleep 1001").is_empty());
    lab.routes.expect_unmoved(OTHER, mark);
}

#[test]
fn failure_18_a_list_on_one_line_moves_no_route() {
    let slow = |service: Service| service.with("check_rise", "3").with("check_fail", "3");
    let mut lab = Lab::advertising([slow(web()), slow(other())]);
    let list = format!("define ACAST_PS_ADVERTISE = [10.189.200.255/32,{WEB},{OTHER}];");
    fs::write(lab.list_path(0), list).unwrap();
    let mark = lab.routes.mark();
    lab.start_daemon();
    lab.wait_runs("web", 5);
    lab.wait_runs("other", 5);
    lab.routes.expect_none_moved(mark);
    assert!(lab.log("anycast-prefixes.conf").starts_with("# Generated "), "the list is not rewritten");
}

/// BIRD 3 replies like this: it will make the change, and must not be reconfigured meanwhile.
#[test]
fn failure_24_a_reconfigure_in_progress_is_not_an_error() {
    let mut lab = Lab::new([web(), other()]);
    let progress = "BIRD 3.3.2 ready.\\nReading configuration from x\\nReconfiguration in progress\\n";
    lab.reconfigure_script(&format!("printf . >> runs/birdc; $BIRDC >/dev/null; printf '{progress}'"));
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(OTHER);
    let mark = lab.routes.mark();
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.wait_until("the end of reconfigures", |lab| lab.run_cli(&["--status"]).1.contains("BIRD in sync"));
    lab.routes.expect_unmoved(OTHER, mark);
    let log = lab.log("daemon.log");
    assert!(!log.contains(" ERROR ") && !log.contains(" CRITICAL "), "{log}");
    assert!(lab.runs("birdc") <= 5, "too many reconfigures");
}
