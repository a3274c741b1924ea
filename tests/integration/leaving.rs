//! What becomes of the routes when the daemon leaves (`on_exit`), when the machine has booted (`on_boot`), and when an
//! operator takes everything out (`--withdraw-all`).

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const DNS: &str = "fd12:aba6:57db:ffff::1/128";
const STAYS: &str = "10.52.12.3/32";

/// `web` and `dns` with this option, and `stays` without it; all advertised, the daemon running.
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
fn a_clean_stop_withdraws_whom_on_exit_says_and_a_start_brings_them_back() {
    let mut lab = running_with("on_exit", |_| ());
    let mark = lab.routes.mark();
    lab.stop_daemon();
    let told = lab.log("daemon.log").matches("reconfiguring BIRD by running").count();
    assert_eq!(told, 2, "one reconfigure for both families at the start, and one at the stop");
    lab.wait_withdrawn(WEB);
    lab.wait_withdrawn(DNS);
    lab.wait_listed(&[STAYS]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
    lab.routes.expect_still(STAYS, mark);
}

#[test]
fn a_stop_waits_until_bird_took_it() {
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
fn a_stop_ends_though_bird_never_takes_it() {
    let mut lab = running_with("on_exit", |lab| lab.reconfigure_script("test -e broken && exit 1; $BIRDC"));
    lab.touch("broken");
    lab.stop_daemon();
    lab.wait_listed(&[STAYS]);
    assert!(lab.log("daemon.log").contains("BIRD has not confirmed"), "it is said");
    assert!(lab.routes.has(WEB));
}

#[test]
fn the_watchdogs_signal_and_quit_withdraw_nothing() {
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
fn after_a_boot_the_old_list_is_not_trusted_and_after_a_restart_it_is() {
    let mut lab = running_with("on_boot", |_| ());
    let boots = [".anycast-prefixes.conf.boot", "6/.anycast-prefixes.conf.boot"];
    lab.wait_until("the boot to be remembered", |lab| boots.iter().all(|boot| lab.file(boot).exists()));
    lab.wait_listed(&[WEB, DNS, STAYS]);
    lab.wait_advertised(DNS);
    lab.stop_daemon();
    // Nothing is decided by the checks for as long as this test looks.
    let (hold, mark) = (lab.file("hold"), lab.routes.mark());
    for name in ["web", "dns", "stays"] {
        let check = lab.file(&format!("checks/{name}"));
        let script = fs::read_to_string(&check).unwrap();
        fs::write(&check, format!("while test -e {}; do sleep 0.02; done\n{script}", hold.display())).unwrap();
    }
    lab.touch("hold");
    let told = lab.reconfigured();
    lab.start_daemon();
    lab.wait_until("the first reconfigure", |lab| lab.reconfigured() > told);
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
    lab.routes.expect_still(STAYS, mark);
}

#[test]
fn withdraw_all_refuses_beside_a_daemon_and_leaves_the_dummies_after_it() {
    let mut lab = running_with("on_exit", |_| ());
    let mark = lab.routes.mark();
    let (code, said) = lab.operate(&["--withdraw-all"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is a running anycast-healthchecker") && said.contains("--drain-host"), "{said}");
    lab.wait_runs("stays", 2);
    lab.routes.expect_none_moved(mark);
    lab.signal(Signal::SIGKILL);
    assert_eq!(lab.wait_exit(), None, "it was killed");
    // As when the configuration was being changed.
    fs::write(lab.file("services.d/web.conf"), "[web]\nip_prefix = nonsense\n").unwrap();
    let (code, said) = lab.operate(&["--withdraw-all"]);
    assert_eq!(code, Some(0), "{said}");
    let list = lab.file("anycast-prefixes.conf").display().to_string();
    assert!(said.contains(&format!("IPv4: 2 prefixes are gone from {list}, and BIRD took it")), "{said}");
    assert!(said.contains("IPv6: 1 prefix is gone from") && said.contains("nonsense"), "{said}");
    lab.wait_listed(&[]);
    lab.wait_until("all routes to leave", |lab| lab.routes.is_empty());
}

#[test]
fn withdraw_all_says_where_bird_cannot_be_told() {
    let mut lab = Lab::advertising([Service::new("web", WEB)]);
    lab.stop_bird();
    let (code, said) = lab.operate(&["--withdraw-all"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("IPv4: 1 prefix is gone from") && said.contains("BUT BIRD HAS NOT TAKEN IT"), "{said}");
    lab.wait_listed(&[]);
    lab.start_bird();
    assert!(!lab.routes.has(WEB));
}
