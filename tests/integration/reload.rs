//! The reload: another configuration without a restart. What stays the same in the files stays the same at the router.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::{daemon_program, Lab};

const WEB: &str = "10.52.12.1/32";
const WEB6: &str = "2001:db8:52::1/128";
const DNS: &str = "10.52.12.2/32";
const DEAD: &str = "10.52.12.3/32";

/// Has the daemon read its configuration again, and waits until it has.
fn reload(lab: &Lab) {
    let done = |lab: &Lab| {
        let log = lab.log("daemon.log");
        log.matches("the configuration is reloaded").count() + log.matches("the reload is refused").count()
    };
    let before = done(lab);
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload", |lab| done(lab) > before);
}

/// Writes the section of a service that is none of the lab's own: its check looks for `alive/NAME`, one decides.
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

fn status(lab: &Lab) -> serde_json::Value {
    let [main, services] = ["daemon.conf", "services.d"].map(|name| lab.file(name).display().to_string());
    // It fails where something is not well, and prints what there is all the same.
    let script = format!("{} --status --json -f {main} -d {services} || true", daemon_program());
    serde_json::from_str(&lab.on_host("sh", &["-c", &script])).unwrap()
}

/// Fifty reloads, as fast as they are done, while services die and return, others come and go, and a hundred checks a
/// second run besides.
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
        // The same check in other words: it starts anew, and its route knows nothing of that.
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
    still.iter().for_each(|prefix| lab.routes.expect_still(prefix, mark));
    lab.routes.expect_still(DEAD, mark);
    // They are checked as ever.
    lab.kill("web");
    lab.wait_withdrawn(WEB);
    lab.kill("web6");
    lab.wait_withdrawn(WEB6);
    lab.revive("dead");
    lab.wait_advertised(DEAD);
    let status = status(&lab);
    let web = status["services"].as_array().unwrap().iter().find(|service| service["name"] == "web").unwrap();
    assert_eq!(web["transitions"], 2, "{web}");
}

#[test]
fn services_come_and_go_and_prefixes_change_their_service() {
    let mut lab = Lab::new([Service::new("web", WEB), Service::new("dns", DNS)]);
    lab.start_daemon();
    lab.wait_advertised(WEB);
    lab.wait_advertised(DNS);
    let mark = lab.routes.mark();
    // `web` goes, `other` takes its prefix over and cannot tell yet; `dns` goes with its prefix; `new` comes.
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
    lab.routes.expect_still(WEB, mark);
    configure(&lab, "other", WEB, "");
    reload(&lab);
    lab.wait_withdrawn(WEB);
    lab.wait_listed(&["10.52.12.7/32"]);
}

#[test]
fn a_faulty_configuration_changes_nothing_and_is_told() {
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
    let error = status(&lab)["reload_error"].as_str().unwrap().to_string();
    assert!(error.contains("bad.conf, line ") && error.ends_with("(and 1 more, see the log)"), "{error}");
    lab.wait_runs("web", 3);
    lab.routes.expect_none_moved(mark);
    configure(&lab, "bad", DNS, "");
    lab.add_address("10.52.12.2/32", "lo");
    lab.touch("alive/bad");
    configure(&lab, "web", WEB, "");
    reload(&lab);
    assert!(status(&lab)["reload_error"].is_null());
    lab.wait_advertised(DNS);
    lab.routes.expect_still(WEB, mark);
}

/// A second file with a section of the same name is taken, as the original takes it, and told.
#[test]
fn merged_sections_are_told() {
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
fn daemon_options_change_or_are_named() {
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
    lab.routes.expect_still(WEB, mark);
    lab.option("prometheus_exporter", "false");
    lab.write_options();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the metrics to go", |lab| !lab.file("metrics/anycast_healthchecker.prom").exists());
    assert_eq!(reconfigures(&lab), before + 1);
    lab.stop_daemon();
    assert!(!lab.file("run/daemon.pid").exists(), "the pidfile is the old one");
}

#[test]
fn a_check_that_hangs_is_killed_when_its_service_goes() {
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

/// Starts the daemon, and returns the socket on which it speaks to systemd.
fn start_under_systemd(lab: &mut Lab) -> UnixDatagram {
    let socket = lab.file("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let wrapper = lab.file("daemon");
    fs::write(&wrapper, format!("#!/bin/sh\nNOTIFY_SOCKET={} exec {} \"$@\"", socket.display(), daemon_program()))
        .unwrap();
    fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    lab.start_this_daemon(&wrapper.display().to_string());
    systemd
}

fn hear(systemd: &UnixDatagram) -> String {
    let mut buffer = [0; 5000];
    let length = systemd.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn systemd_shows_a_refused_reload_until_one_is_not() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    let systemd = start_under_systemd(&mut lab);
    let wait_status =
        |expected: &dyn Fn(&str) -> bool| while !hear(&systemd).strip_prefix("STATUS=").is_some_and(expected) {};
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
fn systemd_hears_when_a_reload_begins_and_when_it_is_over() {
    let mut lab = Lab::new([Service::new("web", WEB)]);
    let systemd = start_under_systemd(&mut lab);
    let hears = |expected: &str| loop {
        let text = hear(&systemd);
        if !text.starts_with("STATUS=") {
            assert!(text.starts_with(expected), "{text} where {expected} was to come");
            return text;
        }
    };
    hears("READY=1");
    lab.wait_advertised(WEB);
    let mut last = 0;
    for bad in ["", "check_rise = none", ""] {
        configure(&lab, "bad", DNS, bad);
        reload(&lab);
        let text = hears("RELOADING=1\nMONOTONIC_USEC=");
        let usec: u64 = text.rsplit('=').next().unwrap().parse().unwrap();
        assert!(usec > last);
        last = usec;
        hears("READY=1");
    }
    lab.stop_daemon();
    hears("STOPPING=1");
}

/// One of several addresses is lost, then all, then they return.
#[test]
fn several_prefixes_on_one_check() {
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
    all[1..].iter().for_each(|prefix| lab.routes.expect_still(prefix, mark));
    lab.wait_listed(&[WEB, all[1], all[2]]);
    lab.wait_until("the status to have each by itself", |lab| {
        let status = status(lab);
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
    // All of them die together: one line, and one reconfigure of BIRD for both families.
    let before = reconfigures(&lab);
    lab.remove("alive/dns");
    all.iter().for_each(|prefix| lab.wait_withdrawn(prefix));
    lab.routes.expect_still(WEB, mark);
    lab.wait_listed(&[WEB]);
    assert_eq!(reconfigures(&lab), before + 1);
    lab.stop_daemon();
    assert_eq!(lab.log("daemon.log").matches("changed to DOWN").count(), 1);
}

/// How often BIRD has taken the lists, once it has the last one. To be woken is none of them.
fn reconfigures(lab: &Lab) -> u64 {
    lab.wait_until("BIRD to be in sync", |lab| status(lab)["summary"]["in_sync"] == true);
    status(lab)["families"][0]["taken"].as_u64().unwrap()
}

#[test]
fn several_checks_on_one_prefix() {
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
    // The one that holds it back may go, and then it is the others' affair.
    lab.remove("alive/b");
    lab.wait_withdrawn(DNS);
    lab.remove("services.d/b.conf");
    reload(&lab);
    lab.wait_advertised(DNS);
    lab.routes.expect_still(WEB, mark);
    lab.stop_daemon();
    assert_eq!(lab.log("ran"), "up\ndown\nup\ndown\nup\n");
}
