//! What is shown of a hold: at each family that waits for it, which may be that of another family.

use std::path::Path;
use std::sync::mpsc::channel;

use super::*;
use crate::config::files::{load, ServiceFiles, Sources};
use crate::sys::atomic_file::{replace, Durability};

const SERVICES: &str = "[four]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1/32\nCUSTOM\n\
                        [six]\ncheck_cmd = /bin/true\nip_prefix = fd00::1/128\n";

/// The names that each family waits for at the first step, where the list of IPv6 was lost; `-` where it is not held.
fn check(daemon: &str, custom: &str, expected: [&str; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let text = text.replace("DIR", dir.path().to_str().unwrap());
        replace(&dir.path().join(name), text.as_bytes(), Durability::Unsynced).unwrap();
        dir.path().join(name)
    };
    let main = "[daemon]\npidfile = DIR/pid\nbird_conf = DIR/4.conf\nipv6 = true\nbird6_conf = DIR/6.conf\n";
    put("4.conf", "define ACAST_PS_ADVERTISE =\n    [\n        10.189.200.255/32\n    ];\n");
    put("6.conf", "define ACAST6_PS_ADVER");
    let main = put("main.conf", &format!("{main}{daemon}\n"));
    let services = ServiceFiles::File(put("services.conf", &SERVICES.replace("CUSTOM", custom)));
    let settings = load(&Sources { main, services }).unwrap().settings;
    let (events, _received) = channel();
    let checks = settings.services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
    let (state, give_up) = (Arc::<Mutex<BirdState>>::default(), StopLine::new().unwrap());
    let mut writer = Writer::new(&settings, checks, Arc::default(), events, state.clone(), give_up);
    writer.step();
    let found = state.lock().clone();
    let waits = |family: &FamilyState| {
        assert_eq!(family.problem, None, "{found:?}");
        assert!(family.hold.is_none() || !family.in_sync, "{found:?}");
        family.hold.as_ref().map_or("-".to_string(), |hold| hold.waiting_for.join(","))
    };
    assert_eq!(found.families.iter().map(waits).collect::<Vec<_>>(), expected, "{daemon} {custom} {found:?}");
    assert!(Path::new(&dir.path().join("6.conf")).exists());
}

#[test]
fn a_hold_is_shown_at_each_family_that_waits_for_it() {
    let each = "bird_reconfigure_cmd = /bin/true\nbird6_reconfigure_cmd = /bin/echo";
    check(each, "", ["-", "six"]);
    let shared = "bird_reconfigure_cmd = /bin/true\nbird6_reconfigure_cmd = /bin/true";
    check(shared, "", ["six", "six"]);
    let custom = "custom_bird_reconfigure_cmd = /bin/true";
    check("bird6_reconfigure_cmd = /bin/true", custom, ["six", "six"]);
}
