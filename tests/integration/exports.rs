//! Whom BIRD announces the prefixes to, as the daemon learns it over the control socket.

use serde_json::Value;

use crate::lab::service::Service;
use crate::lab::Lab;

const WEB4: &str = "10.52.12.1/32";
const WEB6: &str = "2001:db8:52::1/128";

fn running() -> Lab {
    let mut lab = Lab::new([Service::new("web4", WEB4), Service::new("web6", WEB6)]);
    lab.use_control_socket();
    lab.option("bird_export_interval", "1");
    lab.start_daemon();
    lab.wait_advertised(WEB4);
    lab.wait_advertised(WEB6);
    lab
}

fn exported(lab: &Lab, service: &str) -> Value {
    lab.status_of(service)["prefixes"][0]["exported"].clone()
}

fn wait_exported(lab: &Lab, service: &str, by: &[&str], of: usize, why: Option<&str>) {
    lab.wait_until(&format!("{service} to be announced by {by:?}, or {why:?}"), |lab| {
        let exported = exported(lab, service);
        let names: Vec<&str> = exported["by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        names == by && exported["of"] == of && exported["why"].as_str() == why
    });
}

#[test]
fn the_status_says_whom_bird_announces_each_prefix_to() {
    let lab = running();
    wait_exported(&lab, "web4", &["router4"], 1, None);
    wait_exported(&lab, "web6", &["router6"], 1, None);
    let status = lab.status();
    assert!(status.contains("yes, 1/1") && status.contains("protocol router4  BGP  Established since "), "{status}");
    lab.birdc(&["disable", "router4"]);
    wait_exported(&lab, "web4", &[], 0, Some("no session is up (router4: down)"));
    wait_exported(&lab, "web6", &["router6"], 1, None);
    lab.wait_until("the status to name the prefix", |lab| {
        lab.status().contains("10.52.12.1/32 is announced to nobody: no session is up (router4: down)")
    });
    assert!(lab.status().contains("1 announced to nobody"), "{}", lab.status());
    lab.birdc(&["enable", "router4"]);
    wait_exported(&lab, "web4", &["router4"], 1, None);
    let log = lab.log("daemon.log");
    let times = |text: &str| log.matches(text).count();
    assert_eq!(times("BIRD announces 10.52.12.1/32 to nobody: no session is up (router4: down)"), 1, "{log}");
    lab.kill("web4");
    lab.wait_withdrawn(WEB4);
    lab.wait_until("BIRD to announce it to nobody", |lab| {
        lab.log("daemon.log").contains("BIRD announces 10.52.12.1/32 to nobody any more")
    });
    assert_eq!(exported(&lab, "web4"), Value::Null);
}
