//! What prevents BIRD from being notified: a hold, possibly of the other family, and a foreign
//! change of the file.

use std::path::Path;
use std::sync::mpsc::channel;

use super::*;
use crate::bird::state::FamilyState;
use crate::config::files::{load, ServiceFiles, Sources};
use crate::sys::atomic_file::{replace, Durability};

const SERVICES: &str = "[four]\ncheck_cmd = /bin/true\nip_prefix = 10.0.0.1/32\nCUSTOM\n\
                        [six]\ncheck_cmd = /bin/true\nip_prefix = fd00::1/128\n";

/// A writer before its first step. `daemon` are options of `[daemon]`, `custom` those of the
/// service `four`, and `files` the texts of both families' files.
fn writer(dir: &Path, daemon: &str, custom: &str, files: [&str; 2]) -> Writer {
    let put = |name: &str, text: &str| {
        let text = text.replace("DIR", dir.to_str().unwrap());
        replace(&dir.join(name), text.as_bytes(), Durability::Unsynced).unwrap();
        dir.join(name)
    };
    let main = "[daemon]\npidfile = DIR/pid\nbird_conf = DIR/4.conf\nipv6 = true\nbird6_conf = DIR/6.conf\n";
    put("4.conf", files[0]);
    put("6.conf", files[1]);
    put("birdc", "grep -c define DIR/4.conf >> DIR/runs\n");
    let main = put("main.conf", &format!("{main}{daemon}\n"));
    let services = ServiceFiles::File(put("services.conf", &SERVICES.replace("CUSTOM", custom)));
    let settings = load(&Sources { main, services }).unwrap().settings;
    let (events, _received) = channel();
    let checks = settings.services.iter().map(|service| Arc::new(Check::new(service.clone()))).collect();
    Writer::new(&settings, checks, Arc::default(), events, Arc::default(), StopToken::new().unwrap())
}

const SOUND: [&str; 2] = [
    "define ACAST_PS_ADVERTISE =\n    [\n        10.189.200.255/32\n    ];\n",
    "define ACAST6_PS_ADVERTISE =\n    [\n        2001:db8::1/128\n    ];\n",
];

/// The services that each family waits for after the first step if the list of IPv6 is lost; `-` if
/// it is not held.
fn check(daemon: &str, custom: &str, expected: [&str; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), daemon, custom, [SOUND[0], "define ACAST6_PS_ADVER"]);
    writer.step();
    let state = writer.state.lock().clone();
    let waiting_for = |family: &FamilyState| {
        assert_eq!(family.problem, None, "{state:?}");
        assert!(family.hold.is_none() || !family.in_sync, "{state:?}");
        family.hold.as_ref().map_or("-".to_string(), |hold| hold.waiting_for.join(","))
    };
    assert_eq!(state.families.iter().map(waiting_for).collect::<Vec<_>>(), expected, "{daemon} {custom} {state:?}");
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

/// The file is damaged between a reconfigure and the one that wakes BIRD 2.0, without an event.
#[test]
fn a_foreign_change_is_repaired_before_bird_is_notified() {
    let dir = tempfile::tempdir().unwrap();
    let birdc = format!("/bin/sh {}/birdc", dir.path().display());
    let mut writer =
        writer(dir.path(), &format!("bird_reconfigure_cmd = {birdc}\nbird6_reconfigure_cmd = {birdc}"), "", SOUND);
    let runs = || std::fs::read_to_string(dir.path().join("runs")).unwrap_or_default();
    writer.step();
    assert_eq!(runs(), "1\n");
    let until = Instant::now() + Duration::from_secs(60);
    replace(&dir.path().join("4.conf"), b"", Durability::Unsynced).unwrap();
    while runs().lines().count() < 3 {
        assert!(Instant::now() < until, "{}", runs());
        let now = Instant::now();
        let next = writer.next_wakeup(now).expect("a step is pending");
        std::thread::sleep(next.saturating_duration_since(now));
        writer.step();
    }
    assert_eq!(runs(), "1\n1\n1\n", "BIRD never reads the foreign file");
}
