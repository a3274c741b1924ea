//! Reloads: what is unchanged in the files is unchanged at the router.

use std::fs;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const WEB6: &str = "2001:db8:52::1/128";
const DNS: &str = "10.52.12.2/32";
const DEAD: &str = "10.52.12.3/32";

/// Reloads the configuration and waits for the result, which may be a refusal.
fn reload(lab: &Lab) {
    let done = |lab: &Lab| {
        let log = lab.log("daemon.log");
        log.matches("the configuration is reloaded").count() + log.matches("the reload is refused").count()
    };
    let before = done(lab);
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload", |lab| done(lab) > before);
}

/// Writes the section of a further service. Its check tests for `alive/NAME`, and each check
/// decides.
fn configure(lab: &Lab, name: &str, prefixes: &str, more: &str) {
    let alive = lab.file(&format!("alive/{name}"));
    let mut text = format!(
        "[{name}]\n{more}\ncheck_cmd = /usr/bin/test -e {}\nip_prefix = {prefixes}\ncheck_interval = 0.2\n\
         check_timeout = 30\ncheck_disabled = false\n",
        alive.display()
    );
    for option in ["check_rise", "check_fail"].iter().filter(|option| !more.contains(**option)) {
        text += &format!("{option} = 1\n");
    }
    fs::write(lab.file(&format!("services.d/{name}.conf")), text).unwrap();
}

/// Fifty reloads in quick succession, while services die, return, come and go, and a hundred checks
/// run each second.
#[test]
fn no_route_of_an_unchanged_service_moves_in_fifty_reloads() {
    let mut lab = Lab::new([
        Service::new("web", WEB),
        Service::new("web6", WEB6),
        Service::new("dead", DEAD),
        Service::new("flaps", "10.52.12.4/32"),
    ]);
    lab.kill("dead");
    for n in 0..20 {
        configure(&lab, &format!("load{n:02}"), &format!("10.52.20.{n}/32"), "ip_check_disabled = true");
    }
    lab.add_address("10.52.12.5/32", "lo");
    lab.add_address("10.52.12.6/32", "lo");
    lab.touch("alive/changes");
    configure(&lab, "changes", "10.52.12.5/32", "");
    lab.start_daemon();
    let still = [WEB, WEB6, "10.52.12.5/32"];
    still.iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.wait_runs("dead", 2);
    let mark = lab.routes.mark();
    for n in 0..50 {
        match n % 3 {
            0 => lab.kill("flaps"),
            1 => lab.revive("flaps"),
            _ => {}
        }
        // The check is restarted for a changed option, and its route must not move.
        configure(&lab, "changes", "10.52.12.5/32", ["", "ip_check_disabled = true"][n % 2]);
        let comes = format!("comes{}", n % 4);
        match n % 2 {
            0 => {
                lab.touch(&format!("alive/{comes}"));
                configure(&lab, &comes, &format!("10.52.21.{}/32", n % 4), "ip_check_disabled = true");
            }
            _ => {
                let before = format!("comes{}", (n - 1) % 4);
                lab.remove(&format!("services.d/{before}.conf"));
            }
        }
        reload(&lab);
    }
    assert_eq!(lab.log("daemon.log").matches("the configuration is reloaded").count(), 50);
    lab.revive("flaps");
    lab.wait_listed(&[WEB, WEB6, "10.52.12.4/32", "10.52.12.5/32"]);
    still.iter().for_each(|prefix| lab.routes.expect_unmoved(prefix, mark));
    lab.routes.expect_unmoved(DEAD, mark);
    // The services are still checked.
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.kill("web6");
    lab.wait_withdrawn(WEB6);
    lab.revive("dead");
    lab.wait_advertised(DEAD);
    let status = lab.status_document();
    let web = status["services"].as_array().unwrap().iter().find(|service| service["name"] == "web").unwrap();
    assert_eq!(web["transitions"], 2, "{web}");
}

#[test]
fn services_and_prefixes_can_come_go_and_move() {
    let mut lab = Lab::new([Service::new("web", WEB), Service::new("dns", DNS)]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
    let mark = lab.routes.mark();
    // `web` leaves, and `other` takes its prefix over without a verdict; `dns` leaves with its
    // prefix; `new` comes.
    lab.remove("services.d/web.conf");
    lab.remove("services.d/dns.conf");
    lab.touch("alive/new");
    lab.add_address("10.52.12.7/32", "lo");
    configure(&lab, "new", "10.52.12.7/32", "");
    configure(&lab, "other", WEB, "check_fail = 1000000");
    reload(&lab);
    lab.wait_withdrawn(DNS);
    lab.wait_advertised("10.52.12.7/32");
    lab.wait_listed(&[WEB, "10.52.12.7/32"]);
    lab.routes.expect_unmoved(WEB, mark);
    configure(&lab, "other", WEB, "");
    reload(&lab);
    lab.wait_withdrawn(WEB);
    lab.wait_listed(&["10.52.12.7/32"]);
}

#[test]
fn an_invalid_configuration_changes_nothing_and_is_reported() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    let mark = lab.routes.mark();
    lab.remove("services.d/web.conf");
    configure(&lab, "bad", DNS, "check_rise = none\ncheck_fail = 0");
    reload(&lab);
    let log = lab.log("daemon.log");
    for line in ["bad.conf, line 2: [bad] check_rise = none", "bad.conf, line 3: [bad] check_fail = 0"] {
        assert!(log.contains(line), "{line}");
    }
    let error = lab.status_document()["reload_error"].as_str().unwrap().to_string();
    assert!(error.contains("bad.conf, line ") && error.ends_with("(and 1 more, see the log)"), "{error}");
    lab.wait_runs("web", 3);
    lab.routes.expect_none_moved(mark);
    configure(&lab, "bad", DNS, "");
    lab.add_address("10.52.12.2/32", "lo");
    lab.touch("alive/bad");
    configure(&lab, "web", WEB, "");
    reload(&lab);
    assert!(lab.status_document()["reload_error"].is_null());
    lab.wait_advertised(DNS);
    lab.routes.expect_unmoved(WEB, mark);
}

/// Like in the original, a section of the same name in another file is merged. Here it is also
/// reported.
#[test]
fn merged_sections_are_reported() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    fs::write(lab.file("services.d/zweb.conf"), "[web]\ncheck_rise = 2\n").unwrap();
    reload(&lab);
    let log = lab.log("daemon.log");
    let told = log.lines().find(|line| line.contains("zweb.conf, line "));
    assert!(told.is_some_and(|line| line.contains(" WARNING ") && line.contains("sections of one name are merged")));
}

#[test]
fn daemon_options_change_or_are_reported_as_fixed() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    let mark = lab.routes.mark();
    let before = reconfigures(&lab);
    fs::create_dir(lab.file("metrics")).unwrap();
    let metrics = lab.file("metrics").display().to_string();
    for (option, value) in [
        ("loglevel", "info"),
        ("log_file", &*lab.file("other.log").display().to_string()),
        ("prometheus_exporter", "true"),
        ("prometheus_collector_textfile_dir", &metrics),
        ("bird_keep_changes", "true"),
        ("dummy_ip_prefix", "10.189.200.254"),
        ("pidfile", &*lab.file("run/other.pid").display().to_string()),
    ] {
        lab.option(option, value);
    }
    lab.write_options();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload", |lab| lab.log("other.log").contains("the configuration is reloaded"));
    lab.wait_until("the metrics", |lab| {
        lab.log("metrics/anycast_healthchecker.prom").contains("anycast_healthchecker_config_reload_success 1.0")
    });
    lab.wait_until("the other dummy", |lab| lab.log("anycast-prefixes.conf").contains("10.189.200.254/32,"));
    lab.wait_until("a copy of the old list", |lab| {
        fs::read_dir(lab.file("history")).is_ok_and(|mut history| history.next().is_some())
    });
    lab.wait_until("one reconfigure", |lab| reconfigures(lab) == before + 1);
    let log = lab.log("other.log");
    assert!(log.contains("[daemon] pidfile cannot change while the daemon runs"), "{log}");
    assert!(!log.contains(" DEBUG "), "{log}");
    lab.routes.expect_unmoved(WEB, mark);
    lab.option("prometheus_exporter", "false");
    lab.write_options();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the metrics to go", |lab| !lab.file("metrics/anycast_healthchecker.prom").exists());
    assert_eq!(reconfigures(&lab), before + 1);
    lab.stop_daemon();
    assert!(!lab.file("run/daemon.pid").exists(), "the daemon did not keep its pidfile");
}

#[test]
fn a_check_that_hangs_is_killed_when_its_service_is_removed() {
    let hangs = "exec sleep 1004";
    let mut lab = Lab::advertising([Service::new("web", WEB).check(hangs).with("check_timeout", "900")]);
    lab.start_daemon();
    lab.wait_until("the check to hang", |lab| lab.processes("sleep 1004").len() == 1);
    lab.remove("services.d/web.conf");
    reload(&lab);
    lab.wait_withdrawn(WEB);
    lab.wait_until("the check to be gone", |lab| lab.processes("sleep 1004").is_empty());
    lab.stop_daemon();
}

/// Starts the daemon and returns the socket on which it notifies systemd.
fn start_under_systemd(lab: &mut Lab) -> UnixDatagram {
    let socket = lab.file("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    lab.start_daemon_after(&format!("export NOTIFY_SOCKET={}", socket.display()));
    systemd
}

fn receive(systemd: &UnixDatagram) -> String {
    let mut buffer = [0; 5000];
    let length = systemd.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn systemd_shows_a_refused_reload_until_one_succeeds() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    let systemd = start_under_systemd(&mut lab);
    let wait_status =
        |expected: &dyn Fn(&str) -> bool| while !receive(&systemd).strip_prefix("STATUS=").is_some_and(expected) {};
    let well = "1 of 1 services up, BIRD in sync";
    wait_status(&|text| text == well);
    let file = lab.file("services.d/bad.conf").display().to_string();
    let faulty = format!("{well}; reload refused: {file}, line 2: [bad] check_rise = none: must be a whole number");
    for _ in 0..2 {
        configure(&lab, "bad", DNS, "check_rise = none");
        reload(&lab);
        wait_status(&|text| text.starts_with(&faulty));
        lab.remove("services.d/bad.conf");
        reload(&lab);
        wait_status(&|text| text == well);
    }
}

#[test]
fn systemd_is_notified_of_the_beginning_and_the_end_of_a_reload() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    let systemd = start_under_systemd(&mut lab);
    let expect = |expected: &str| loop {
        let text = receive(&systemd);
        if !text.starts_with("STATUS=") {
            assert!(text.starts_with(expected), "{text} instead of {expected}");
            return text;
        }
    };
    expect("READY=1");
    lab.wait_advertised(WEB);
    let mut last = 0;
    for bad in ["", "check_rise = none", ""] {
        configure(&lab, "bad", DNS, bad);
        reload(&lab);
        let text = expect("RELOADING=1\nMONOTONIC_USEC=");
        let usec: u64 = text.rsplit('=').next().unwrap().parse().unwrap();
        assert!(usec > last);
        last = usec;
        expect("READY=1");
    }
    lab.stop_daemon();
    expect("STOPPING=1");
}

/// One of several addresses vanishes, then all, then they return.
#[test]
fn one_check_can_have_several_prefixes() {
    let all = [DNS, "10.52.12.8/32", "2001:db8:52::8/128"];
    let mut lab = Lab::new([Service::new("web", WEB)]);
    all.iter().for_each(|prefix| lab.add_address(prefix, "lo"));
    lab.touch("alive/dns");
    configure(&lab, "dns", &all.join(" , "), "");
    lab.start_daemon();
    all.iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.wait_advertised(WEB);
    let mark = lab.routes.mark();
    lab.remove_address(DNS, "lo");
    lab.wait_withdrawn(DNS);
    all[1..].iter().for_each(|prefix| lab.routes.expect_unmoved(prefix, mark));
    lab.wait_listed(&[WEB, all[1], all[2]]);
    lab.wait_until("the status to have each by itself", |lab| {
        let status = lab.status_document();
        let dns = status["services"].as_array().unwrap().iter().find(|service| service["name"] == "dns").unwrap();
        let prefixes = dns["prefixes"].as_array().unwrap();
        let listed = prefixes.iter().map(|one| (one["prefix"].as_str(), one["in_file"].as_bool()));
        listed.eq(all.iter().map(|prefix| (Some(*prefix), Some(*prefix != DNS))))
    });
    all[1..].iter().for_each(|prefix| lab.remove_address(prefix, "lo"));
    all[1..].iter().for_each(|prefix| lab.wait_withdrawn(prefix));
    lab.wait_until("no check without an address", |lab| {
        lab.log("daemon.log")
            .contains("status DOWN because 10.52.12.2/32,10.52.12.8/32,2001:db8:52::8/128 isn't assigned")
    });
    all.iter().for_each(|prefix| lab.add_address(prefix, "lo"));
    all.iter().for_each(|prefix| lab.wait_advertised(prefix));
    // All of them die together: one log line, and one reconfigure for both families.
    let before = reconfigures(&lab);
    lab.remove("alive/dns");
    all.iter().for_each(|prefix| lab.wait_withdrawn(prefix));
    lab.routes.expect_unmoved(WEB, mark);
    lab.wait_listed(&[WEB]);
    assert_eq!(reconfigures(&lab), before + 1);
    lab.stop_daemon();
    assert_eq!(lab.log("daemon.log").matches("changed to DOWN").count(), 1);
}

/// How often BIRD has taken the lists, once it is in sync. Waking BIRD does not count.
fn reconfigures(lab: &Lab) -> u64 {
    lab.wait_until("BIRD to be in sync", |lab| lab.status_document()["summary"]["in_sync"] == true);
    lab.status_document()["families"][0]["taken"].as_u64().unwrap()
}

#[test]
fn several_checks_can_share_a_prefix() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    lab.add_address(DNS, "lo");
    lab.option("shared_ip_prefixes", "true");
    let custom = format!("custom_bird_reconfigure_cmd = /bin/sh {}", lab.file("custom").display());
    for name in ["a", "b", "c"] {
        configure(&lab, name, DNS, &custom);
    }
    lab.script("custom", "echo $1 >> ran; $BIRDC");
    lab.touch("alive/a");
    lab.touch("alive/b");
    lab.start_daemon();
    lab.wait_advertised(WEB);
    let mark = lab.routes.mark();
    lab.wait_until("its verdict", |lab| lab.log("daemon.log").contains("changed to DOWN"));
    lab.touch("alive/c");
    lab.wait_advertised(DNS);
    lab.remove("alive/a");
    lab.wait_withdrawn(DNS);
    lab.remove("alive/b");
    lab.wait_until("its verdict", |lab| lab.log("daemon.log").matches("changed to DOWN").count() == 3);
    lab.touch("alive/a");
    lab.touch("alive/b");
    lab.wait_advertised(DNS);
    // When the service that failed is removed, the others decide.
    lab.remove("alive/b");
    lab.wait_withdrawn(DNS);
    lab.remove("services.d/b.conf");
    reload(&lab);
    lab.wait_advertised(DNS);
    lab.routes.expect_unmoved(WEB, mark);
    lab.stop_daemon();
    assert_eq!(lab.log("ran"), "up\ndown\nup\ndown\nup\n");
}
