//! Routes when the daemon stops (`on_exit`), after a boot (`on_boot`), and when an operator
//! withdraws everything (`--withdraw-all`).

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const DNS: &str = "fd12:aba6:57db:ffff::1/128";
const STAYS: &str = "10.52.12.3/32";

/// `web` and `dns` with this option, and `stays` without it. All are advertised, and the daemon
/// runs.
fn running_with(option: &str, prepare: impl FnOnce(&mut Lab)) -> Lab {
    let with = |name, prefix| Service::new(name, prefix).with(option, "withdraw");
    let mut lab = Lab::advertising([with("web", WEB), with("dns", DNS), Service::new("stays", STAYS)]);
    prepare(&mut lab);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_runs("stays", 3);
    lab
}

#[test]
fn a_stop_withdraws_services_with_on_exit_and_a_start_advertises_them_again() {
    let mut lab = running_with("on_exit", |_| ());
    let mark = lab.routes.mark();
    lab.stop_daemon();
    let runs = lab.log("daemon.log").matches("reconfiguring BIRD by running").count();
    assert_eq!(runs, 2, "one reconfigure for both families at the start, and one at the stop");
    lab.wait_withdrawn(WEB);
    lab.wait_withdrawn(DNS);
    lab.wait_listed(&[STAYS]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
    lab.routes.expect_unmoved(STAYS, mark);
}

#[test]
fn a_stop_waits_for_bird_to_take_the_list() {
    let mut lab =
        running_with("on_exit", |lab| lab.reconfigure_script("test -e broken && : > tried && exit 1; $BIRDC"));
    lab.touch("broken");
    lab.signal(Signal::SIGTERM);
    lab.wait_until("the first try", |lab| lab.file("tried").exists());
    lab.remove("broken");
    assert_eq!(lab.wait_exit(), Some(0));
    lab.wait_withdrawn(WEB);
}

#[test]
fn a_stop_ends_even_if_bird_never_takes_the_list() {
    let mut lab = running_with("on_exit", |lab| lab.reconfigure_script("test -e broken && exit 1; $BIRDC"));
    lab.touch("broken");
    lab.stop_daemon();
    lab.wait_listed(&[STAYS]);
    assert!(lab.log("daemon.log").contains("BIRD has not confirmed"), "the log does not say so");
    assert!(lab.routes.has(WEB));
}

#[test]
fn sigabrt_and_sigquit_withdraw_nothing() {
    let mut lab = running_with("on_exit", |_| ());
    let mark = lab.routes.mark();
    for signal in [Signal::SIGABRT, Signal::SIGQUIT] {
        lab.signal(signal);
        assert_eq!(lab.wait_exit(), Some(0), "{signal}");
        lab.wait_listed(&[WEB, DNS, STAYS]);
        lab.start_daemon();
        lab.wait_runs("stays", 3);
    }
    lab.routes.expect_none_moved(mark);
}

#[test]
fn the_list_is_discarded_after_a_boot_and_kept_after_a_restart() {
    let mut lab = running_with("on_boot", |_| ());
    let boots = [".anycast-prefixes.conf.boot", "6/.anycast-prefixes.conf.boot"];
    lab.wait_until("the boot markers", |lab| boots.iter().all(|boot| lab.file(boot).exists()));
    lab.wait_listed(&[WEB, DNS, STAYS]);
    lab.wait_advertised(DNS);
    lab.stop_daemon();
    // The checks give no verdict while the file `hold` exists.
    let (hold, mark) = (lab.file("hold"), lab.routes.mark());
    for name in ["web", "dns", "stays"] {
        let check = lab.file(&format!("checks/{name}"));
        let script = fs::read_to_string(&check).unwrap();
        fs::write(&check, format!("while test -e {}; do sleep 0.02; done\n{script}", hold.display())).unwrap();
    }
    lab.touch("hold");
    let before = lab.reconfigured();
    lab.start_daemon();
    lab.wait_until("the first reconfigure", |lab| lab.reconfigured() > before);
    lab.stop_daemon();
    lab.wait_listed(&[WEB, DNS, STAYS]);
    lab.routes.expect_none_moved(mark);
    for boot in boots {
        fs::write(lab.file(boot), "00000000-0000-0000-0000-000000000000\n").unwrap();
    }
    lab.start_daemon();
    lab.wait_withdrawn(WEB);
    lab.wait_withdrawn(DNS);
    lab.wait_listed(&[STAYS]);
    lab.remove("hold");
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
    lab.routes.expect_unmoved(STAYS, mark);
}

#[test]
fn withdraw_all_refuses_while_a_daemon_runs_and_otherwise_keeps_only_the_dummies() {
    let mut lab = running_with("on_exit", |_| ());
    let mark = lab.routes.mark();
    let (code, output) = lab.run_cli(&["--withdraw-all"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("is a running anycast-healthchecker") && output.contains("--drain-host"), "{output}");
    lab.wait_runs("stays", 2);
    lab.routes.expect_none_moved(mark);
    lab.signal(Signal::SIGKILL);
    assert_eq!(lab.wait_exit(), None, "the daemon was killed");
    // The operator was editing the configuration.
    fs::write(lab.file("services.d/web.conf"), "[web]\nip_prefix = nonsense\n").unwrap();
    let (code, output) = lab.run_cli(&["--withdraw-all"]);
    assert_eq!(code, Some(0), "{output}");
    let list = lab.file("anycast-prefixes.conf").display().to_string();
    assert!(output.contains(&format!("IPv4: 2 prefixes are gone from {list}, and BIRD took it")), "{output}");
    assert!(output.contains("IPv6: 1 prefix is gone from") && output.contains("nonsense"), "{output}");
    lab.wait_listed(&[]);
    lab.wait_until("all routes to leave", |lab| lab.routes.is_empty());
}

#[test]
fn withdraw_all_reports_that_bird_cannot_be_reached() {
    let mut lab = Lab::advertising([Service::new("web", WEB)]);
    lab.stop_bird();
    let (code, output) = lab.run_cli(&["--withdraw-all"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("IPv4: 1 prefix is gone from") && output.contains("BUT BIRD HAS NOT TAKEN IT"), "{output}");
    lab.wait_listed(&[]);
    lab.start_bird();
    assert!(!lab.routes.has(WEB));
}
