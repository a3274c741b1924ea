//! `--status` with a running daemon and without one.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const DNS: &str = "10.52.12.2/32";
const NTP: &str = "10.52.12.3/32";

/// Three advertised services, and a running daemon.
fn running(prepare: impl FnOnce(&mut Lab)) -> Lab {
    let services = [("web", WEB), ("dns", DNS), ("ntp", NTP)];
    let mut lab = Lab::advertising(services.map(|(name, prefix)| Service::new(name, prefix)));
    prepare(&mut lab);
    lab.start_daemon();
    lab.wait_until("exit code 0 of the status", |lab| lab.run_cli(&["-s"]).0 == Some(0));
    lab
}

/// The names of the services in the table.
fn names(table: &str) -> Vec<&str> {
    let rows = table.lines().skip_while(|line| !line.starts_with("SERVICE")).skip(1);
    rows.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn services_that_are_down_come_first_and_can_be_selected() {
    let lab = running(|_| ());
    let (code, output) = lab.run_cli(&["-s", "web", "ntp"]);
    assert_eq!((code, names(&output)), (Some(0), vec!["ntp", "web"]), "{output}");
    let (code, output) = lab.run_cli(&["-s", "--down"]);
    assert!(code == Some(0) && names(&output).is_empty() && output.contains("3 of 3 services up"), "{output}");
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    let check = |arguments: &[&str], expected: &[&str]| {
        let (code, output) = lab.run_cli(&[&["-s"], arguments].concat());
        // The exit code is about all services, not only those shown.
        assert_eq!((code, names(&output)), (Some(1), expected.to_vec()), "{output}");
        assert!(output.contains("2 of 3 services up"), "{output}");
        assert!(output.lines().all(|line| line.starts_with("    ") || line.chars().count() <= 80), "{output}");
        let (code, output) = lab.run_cli(&[&["-s", "--json"], arguments].concat());
        let document: serde_json::Value = serde_json::from_str(&output).unwrap();
        let mut shown: Vec<&str> =
            document["services"].as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap()).collect();
        let mut expected = expected.to_vec();
        shown.sort_unstable();
        expected.sort_unstable();
        assert_eq!((code, shown), (Some(1), expected), "{output}");
        assert_eq!((&document["summary"]["services"], &document["well"]), (&3.into(), &false.into()));
    };
    check(&[], &["web", "dns", "ntp"]);
    check(&["--down"], &["web"]);
    check(&["dns"], &["dns"]);
    check(&["dns", "--down"], &[]);
    let (code, output) = lab.run_cli(&["-s", "dsn"]);
    assert_eq!((code, &*output), (Some(1), "the running daemon has no service dsn; did you mean dns?\n"));
}

#[test]
fn a_query_of_bird_does_not_count_as_a_reconfigure() {
    let lab = running(Lab::use_control_socket);
    let output = lab.status();
    let line = output.lines().find(|line| line.starts_with("    reconfigures: ")).unwrap();
    assert!(line.starts_with("    reconfigures: 0 taken, 0 failed; BIRD confirmed the list "), "{output}");
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.wait_until("a reconfigure that is counted", |lab| lab.status().contains("reconfigures: 1 taken (last "));
}

#[test]
fn a_watch_continues_without_a_daemon_until_it_is_interrupted() {
    let mut lab = running(|_| ());
    let mut watch = lab.start_cli(&["-s", "--watch"], "watch.log");
    let mut documents = lab.start_cli(&["-s", "--watch", "--json"], "documents.log");
    let begins = "anycast-healthchecker 1.0.0 (pid ";
    let times = |lab: &Lab, log: &str, text: &str| lab.log(log).matches(text).count();
    let both = |lab: &Lab, table: &str, json: &str, more: [usize; 2]| {
        times(lab, "watch.log", table) > more[0] && times(lab, "documents.log", json) > more[1]
    };
    lab.wait_until("several documents", |lab| both(lab, begins, "{\"schema\":1,", [2, 2]));
    lab.stop_daemon();
    lab.wait_until("the end of the daemon", |lab| both(lab, "is not running", "is not running", [1, 1]));
    let before = [times(&lab, "watch.log", begins), times(&lab, "documents.log", "{\"schema\":1,")];
    lab.start_daemon();
    lab.wait_until("the daemon again", |lab| both(lab, begins, "{\"schema\":1,", before));
    let text = lab.log("watch.log");
    assert!(text.contains(&format!("yes, ?\n\n{begins}")) && !text.contains('\u{1b}'), "{text}");
    for watch in [&mut watch, &mut documents] {
        watch.signal(Signal::SIGTERM);
        lab.wait_until("the end of the watch", |_| watch.exited().is_some());
        assert_eq!(watch.exited().unwrap().signal(), Some(Signal::SIGTERM as i32));
    }
    let text = lab.log("documents.log");
    for document in text.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(document).unwrap();
    }
    assert!(text.contains("}\n\n{"), "{text}");
}

#[test]
fn on_a_terminal_the_screen_is_redrawn_and_fits() {
    let lab = running(|_| ());
    let _watch = lab.start_on_terminal((60, 9), "-s --watch", "terminal.log");
    let home = "\u{1b}[H";
    lab.wait_until("several pictures", |lab| lab.log("terminal.log").matches(home).count() > 3);
    let text = lab.log("terminal.log");
    let picture = text.split(home).nth(2).unwrap();
    assert!(picture.lines().count() <= 9 && picture.contains(" more lines)"), "{picture:?}");
    assert!(picture.contains("\u{1b}[32m3 of 3 services up, BIRD in sync\u{1b}[0m\u{1b}[K"), "{picture:?}");
    let _wide = lab.start_on_terminal((200, 50), "-s", "wide.log");
    let row = "SERVICE  STATE  SINCE     LAST CHECK";
    lab.wait_until("the table", |lab| lab.log("wide.log").contains(row));
}
