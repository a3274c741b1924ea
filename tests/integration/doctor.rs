//! What `--doctor` finds: each test breaks one thing after the other and expects its line and no
//! other.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::signal::Signal;

use crate::lab::machine::ControlGroup;
use crate::lab::service::Service;
use crate::lab::Lab;

const WEB: &str = "10.52.12.1/32";
const DNS: &str = "10.52.12.2/32";
const WEB6: &str = "2001:db8:52::1/128";

/// What is always said where no daemon runs.
const NO_DAEMON: &str = "problem  daemon: @/run/status.sock: anycast-healthchecker is not running; fix: systemctl start anycast-healthchecker";

/// Three services that are announced, over sessions with a short hold time. Nothing is to be found.
fn lab() -> Lab {
    let services = [("web", WEB), ("dns", DNS), ("web6", WEB6)];
    // A time-out that fits the interval, and is long for a busy machine.
    let service = |(name, prefix)| Service::new(name, prefix).with("check_interval", "8").with("check_timeout", "7.9");
    let mut lab = Lab::advertising(services.map(service));
    lab.use_control_socket();
    edit(&lab, "local as 64815;", "local as 64815; hold time 9;");
    lab
}

/// The same with the daemon running.
fn with_daemon() -> Lab {
    let mut lab = lab();
    start_after(&mut lab, "");
    // The change of the hold time has restarted the sessions.
    let is_announced = |lab: &Lab, service| !lab.status_of(service)["prefixes"][0]["exported"]["by"][0].is_null();
    lab.wait_until("all to be announced", |lab| {
        ["web", "dns", "web6"].iter().all(|service| is_announced(lab, service))
    });
    expect(&lab, &[]);
    lab
}

/// Starts the daemon after these lines of shell. The doctor writes its configuration again, so it
/// must have been read.
fn start_after(lab: &mut Lab, first: &str) {
    let runs = lab.runs("web");
    lab.start_daemon_after(first);
    lab.wait_until("the first check", |lab| lab.runs("web") > runs);
}

/// Changes the host's `bird.conf` and has BIRD read it.
fn edit(lab: &Lab, from: &str, to: &str) {
    let text = lab.log("host.conf");
    assert!(text.contains(from), "{text}");
    fs::write(lab.file("host.conf"), text.replace(from, to)).unwrap();
    lab.birdc(&["configure"]);
}

/// The doctor's lines with `@` for the lab's directory and N for the daemon's process.
fn examined(lab: &Lab, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let (code, text) = lab.run_cli(&[&["--doctor"], arguments].concat());
    let text = text.replace(&lab.path().display().to_string(), "@");
    let line =
        |line: &str| match line.split_once("process ").and_then(|(head, rest)| Some((head, rest.split_once(':')?))) {
            Some((head, (_, rest))) if line.contains(" daemon: process ") => format!("{head}process N:{rest}"),
            _ => line.to_string(),
        };
    (code, text.lines().map(line).collect())
}

/// Waits until the lines that are not ok begin with these, one by one.
#[track_caller]
fn expect(lab: &Lab, expected: &[&str]) {
    expect_with(lab, &[], expected);
}

#[track_caller]
fn expect_with(lab: &Lab, arguments: &[&str], expected: &[&str]) {
    let mut last = Vec::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(45);
    loop {
        let (code, lines) = examined(lab, arguments);
        let complaints = lines.iter().filter(|line| line.starts_with("problem ") || line.starts_with("warning "));
        let complaints: Vec<String> = complaints.cloned().collect();
        let fits = complaints.len() == expected.len()
            && complaints.iter().zip(expected).all(|(line, expected)| line.starts_with(expected));
        if fits {
            let is_bad = expected.iter().any(|line| line.starts_with("problem "));
            assert_eq!(code, Some(i32::from(is_bad)), "{lines:#?}");
            return;
        }
        assert!(std::time::Instant::now() < end, "expected {expected:#?}, found {lines:#?}, before {last:#?}");
        last = complaints;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_sound_host_has_no_findings_and_is_left_alone() {
    let lab = with_daemon();
    let before = (lab.log("anycast-prefixes.conf"), lab.reconfigured());
    let (code, lines) = examined(&lab, &["--run-checks"]);
    let without_times: Vec<String> =
        lines.iter().map(|line| line.split(" passed in ").next().unwrap().to_string()).collect();
    let version = lab.birdc(&["show", "status"]).lines().next().unwrap().replace(" ready.", "");
    let expected = [
        "ok       configuration: @/daemon.conf and @/services.d with 3 services: has no fault",
        &format!("ok       socket: @/host.ctl: {version} answers, and user root may use it; BIRD cannot be asked whether the socket is restricted"),
        "ok       constant: ACAST_PS_ADVERTISE: BIRD has the list of the file; BIRD cannot be asked which filters name the constant",
        "ok       constant: ACAST6_PS_ADVERTISE: BIRD has the list of the file; BIRD cannot be asked which filters name the constant",
        "ok       prefix_file: @/anycast-prefixes.conf: lists 3 prefixes, and user root may read it",
        "ok       prefix_file: @/6/anycast-prefixes.conf: lists 2 prefixes, and user root may read it",
        "ok       prefixes: dns 10.52.12.2/32: announced by router4",
        "ok       prefixes: web 10.52.12.1/32: announced by router4",
        "ok       prefixes: web6 2001:db8:52::1/128: announced by router6",
        "ok       router_id: @/host.ctl: 192.0.2.1 is no prefix of a service",
        "ok       sessions: router4: BGP is up, hold time 9 s",
        "ok       sessions: router6: BGP is up, hold time 9 s",
        "ok       daemon: process N: version 1.0.0 runs: 3 of 3 services up, BIRD in sync",
        "ok       checks: dns:",
        "ok       checks: web:",
        "ok       checks: web6:",
        "ok       limits: 3 services: suffice",
        "0 problems, 0 warnings, 17 ok",
    ];
    assert_eq!(without_times, expected);
    assert_eq!(code, Some(0));
    assert_eq!((lab.log("anycast-prefixes.conf"), lab.reconfigured()), before, "the doctor changes nothing");

    let (_, text) = lab.run_cli(&["--doctor", "--json", "dns"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let of_prefixes = |one: &&serde_json::Value| one["row"] == "prefixes";
    let found: Vec<_> = document.as_array().unwrap().iter().filter(of_prefixes).collect();
    let expected = serde_json::json!({
        "row": "prefixes", "level": "ok", "subject": "dns 10.52.12.2/32", "message": "announced by router4", "remedy": null
    });
    assert_eq!(found, [&expected]);
    let (code, text) = lab.run_cli(&["--doctor", "web66"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(1), "there is no service web66 in the configuration; did you mean web6?\n")
    );
}

#[test]
fn faults_of_the_constant_are_found() {
    let lab = lab();
    let good = lab.log("host.conf");
    let mend = |lab: &Lab| {
        fs::write(lab.file("host.conf"), &good).unwrap();
        lab.birdc(&["configure"]);
        expect(lab, &[NO_DAEMON]);
    };
    mend(&lab);
    // No file defines it.
    edit(&lab, "include \"anycast-prefixes.conf\";", "");
    edit(&lab, "net ~ ACAST_PS_ADVERTISE", "net ~ [ 10.52.12.1/32, 10.52.12.2/32 ]");
    let unknown = "problem  constant: ACAST_PS_ADVERTISE: BIRD does not know it: it includes no file that defines it; fix: include \"@/anycast-prefixes.conf\"; in bird.conf, then birdc configure";
    expect(&lab, &[unknown, NO_DAEMON]);
    // Another file defines it.
    fs::create_dir(lab.file("other")).unwrap();
    fs::write(lab.file("other/list.conf"), "define ACAST_PS_ADVERTISE = [ 10.52.12.1/32 ];\n").unwrap();
    fs::write(lab.file("host.conf"), good.replace("include \"anycast-", "include \"other/list.conf\";\n#")).unwrap();
    lab.birdc(&["configure"]);
    expect(
        &lab,
        &[
            "problem  constant: ACAST_PS_ADVERTISE: BIRD's value differs from @/anycast-prefixes.conf: BIRD does not list 10.189.200.255/32; fix: birdc configure; if that does not help, include \"@/anycast-prefixes.conf\"; in bird.conf instead of another file",
            "problem  prefixes: dns 10.52.12.2/32: announced to nobody: refused by the export filter of router4",
            NO_DAEMON,
        ],
    );
    mend(&lab);
    fs::write(lab.file("b.conf"), "define ACAST_PS_ADVERTISE = [ ];\n").unwrap();
    expect(&lab, &["problem  constant: ACAST_PS_ADVERTISE: @/b.conf defines it too: BIRD refuses its configuration if it includes all of that directory; fix: mv @/b.conf @/b.conf.off", NO_DAEMON]);
    lab.remove("b.conf");
    // Filters without it.
    let fix = "fix: export where net ~ ACAST_PS_ADVERTISE; in protocol router4, then birdc configure";
    edit(&lab, "export where net ~ ACAST_PS_ADVERTISE", "export all");
    expect(&lab, &[&format!("problem  constant: ACAST_PS_ADVERTISE: router4 exports every route, whatever the list holds: nothing can be withdrawn from it; {fix}"), NO_DAEMON]);
    mend(&lab);
    edit(&lab, "export where net ~ ACAST_PS_ADVERTISE", "export none");
    let refused = |service: &str| {
        format!("problem  prefixes: {service}: announced to nobody: refused by the export filter of router4; fix: export where net ~ ACAST_PS_ADVERTISE; in that protocol, then birdc configure")
    };
    expect(
        &lab,
        &[
            &format!("problem  constant: ACAST_PS_ADVERTISE: router4 exports no route, whatever the list holds; {fix}"),
            &refused("dns 10.52.12.2/32"),
            &refused("web 10.52.12.1/32"),
            NO_DAEMON,
        ],
    );
    mend(&lab);
    edit(&lab, "export where net ~ ACAST_PS_ADVERTISE", "export where net ~ [ 10.52.12.0/24+ ]");
    lab.write_list(&[WEB, WEB6]);
    lab.birdc(&["configure"]);
    expect(&lab, &[&format!("problem  constant: ACAST_PS_ADVERTISE: router4 announces 10.52.12.2/32, which is not in the list; {fix}"), "warning  prefixes: dns 10.52.12.2/32: not in the list, and no daemon answers that could say why; fix: systemctl status anycast-healthchecker", NO_DAEMON]);
}

#[test]
fn faults_of_sessions_routes_and_the_router_id_are_found() {
    let lab = lab();
    let good = lab.log("host.conf");
    let mend = |lab: &Lab| {
        fs::write(lab.file("host.conf"), &good).unwrap();
        lab.birdc(&["configure"]);
        expect(lab, &[NO_DAEMON]);
    };
    mend(&lab);
    lab.remove_address(WEB, "lo");
    expect(&lab, &["problem  prefixes: web 10.52.12.1/32: not assigned to lo, so the service counts as down; fix: ip address add 10.52.12.1/32 dev lo", NO_DAEMON]);
    lab.add_address(WEB, "lo");
    // A shorter route over it is fine.
    lab.add_address("10.52.12.0/24", "lo");
    expect(&lab, &[NO_DAEMON]);
    edit(&lab, "protocol direct { ipv4; ipv6;", "protocol direct { ipv6;");
    let not_in_table = |service: &str| {
        format!("problem  prefixes: {service}: not in BIRD's table: no protocol of BIRD imports it from the interface; fix: protocol direct {{ ipv4; interface \"lo\"; }} in bird.conf, then birdc configure")
    };
    expect(&lab, &[&not_in_table("dns 10.52.12.2/32"), &not_in_table("web 10.52.12.1/32"), NO_DAEMON]);
    mend(&lab);
    edit(&lab, "router id 192.0.2.1", "router id 10.52.12.1");
    expect(&lab, &["problem  router_id: @/host.ctl: 10.52.12.1 is the prefix of web: hosts of one router id refuse each other's routes; fix: router id ADDRESS; in bird.conf with an address of this host alone, then systemctl restart bird", NO_DAEMON]);
    mend(&lab);
    lab.birdc(&["disable", "router6"]);
    expect(
        &lab,
        &[
            "problem  prefixes: web6 2001:db8:52::1/128: announced to nobody: no session is up (router6: down); fix: birdc show protocols",
            "problem  sessions: router6: BGP is not up since ",
            NO_DAEMON,
        ],
    );
    let (_, lines) = examined(&lab, &[]);
    assert!(lines.iter().any(|line| line.ends_with("; fix: birdc enable router6")), "{lines:#?}");
    mend(&lab);
    edit(&lab, "hold time 9;", "hold time 31;");
    let long = |name: &str| {
        format!("warning  sessions: {name}: the hold time is 31 s without BFD: so long a neighbor sends traffic to a host that is gone; fix: bfd on; in protocol {name} and on the router, with a protocol bfd; or hold time 9;")
    };
    expect(&lab, &[&long("router4"), &long("router6"), NO_DAEMON]);
    mend(&lab);
    edit(&lab, "hold time 9;", "hold time 9; graceful restart on;");
    let graceful = |name: &str| {
        format!("warning  sessions: {name}: this BIRD announces graceful restart: neighbors keep the routes of a BIRD that is gone; fix: graceful restart aware; in protocol {name}, then birdc configure")
    };
    expect(&lab, &[&graceful("router4"), &graceful("router6"), NO_DAEMON]);
    mend(&lab);
}

#[test]
fn faults_of_the_socket_and_the_files_are_found() {
    let mut lab = lab();
    expect(&lab, &[NO_DAEMON]);
    let own_root = nix::unistd::geteuid().is_root();
    if own_root {
        // BIRD's user is the owner of its socket.
        let path = |name: &str| lab.file(name).display().to_string();
        lab.on_host("chown", &["65534:65534", &path("host.ctl")]);
        lab.on_host("chmod", &["700", &path("")]);
        expect(&lab, &["problem  prefix_file: @/anycast-prefixes.conf: BIRD's user nobody may not search @; fix: chmod o+x @", "problem  prefix_file: @/6/anycast-prefixes.conf: BIRD's user nobody may not search @; fix: chmod o+x @", NO_DAEMON]);
        lab.on_host("chmod", &["755", &path("")]);
        lab.on_host("chmod", &["600", &path("anycast-prefixes.conf")]);
        expect(&lab, &["problem  prefix_file: @/anycast-prefixes.conf: BIRD's user nobody may not read it; fix: chmod 644 @/anycast-prefixes.conf", NO_DAEMON]);
        lab.on_host("chmod", &["644", &path("anycast-prefixes.conf")]);
        lab.on_host("chown", &["0:0", &path("host.ctl")]);
    }
    expect(&lab, &[NO_DAEMON]);
    let list = lab.log("anycast-prefixes.conf");
    lab.remove("anycast-prefixes.conf");
    let rewrite = "fix: systemctl restart anycast-healthchecker, which writes it anew";
    expect(&lab, &[&format!("problem  prefix_file: @/anycast-prefixes.conf: it is not there, and a BIRD that includes it does not start; {rewrite}"), NO_DAEMON]);
    lab.touch("anycast-prefixes.conf");
    expect(
        &lab,
        &[
            &format!(
                "problem  prefix_file: @/anycast-prefixes.conf: BIRD cannot read it as a list: it is empty; {rewrite}"
            ),
            NO_DAEMON,
        ],
    );
    fs::write(lab.file("anycast-prefixes.conf"), list).unwrap();
    expect(&lab, &[NO_DAEMON]);
    // The way to BIRD.
    lab.signal_bird(Signal::SIGSTOP);
    expect(
        &lab,
        &[
            "problem  socket: @/host.ctl: BIRD is stopped or stuck: no answer within 3 s; fix: systemctl restart bird",
            NO_DAEMON,
        ],
    );
    lab.signal_bird(Signal::SIGCONT);
    expect(&lab, &[NO_DAEMON]);
    lab.stop_bird();
    expect(&lab, &["problem  socket: @/host.ctl: no such socket: BIRD is down, or has its socket elsewhere; fix: systemctl start bird, or name the socket in bird_control_socket", NO_DAEMON]);
    lab.clear_option("bird_control_socket");
    lab.clear_option("bird6_control_socket");
    let unset = |family: &str, option: &str| {
        format!("warning  socket: {family}: {option} is not set, so BIRD cannot be asked: neither the constant, the prefixes, the router id nor the sessions are examined; fix: {option} = /run/bird/bird.ctl in [daemon], then systemctl reload anycast-healthchecker")
    };
    expect(&lab, &[&unset("IPv4", "bird_control_socket"), &unset("IPv6", "bird6_control_socket"), NO_DAEMON]);
}

/// Passes everything on to BIRD's control socket, restricted.
fn restricted_socket(lab: &Lab) {
    let (path, bird) = (lab.file("restricted.ctl"), lab.file("host.ctl"));
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(mut bird) = UnixStream::connect(&bird) else { continue };
            bird.write_all(b"restrict\n").unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"Access restricted\n") {
                let mut byte = [0];
                bird.read_exact(&mut byte).unwrap();
                seen.extend(byte);
            }
            let greeting = seen.split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec();
            for (mut from, mut to, first) in
                [(bird.try_clone().unwrap(), client.try_clone().unwrap(), greeting), (client, bird, Vec::new())]
            {
                std::thread::spawn(move || {
                    let _ = to.write_all(&first).and_then(|()| std::io::copy(&mut from, &mut to));
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}

#[test]
fn a_restricted_socket_suffices_for_the_doctor_and_not_for_the_daemon() {
    let mut lab = lab();
    restricted_socket(&lab);
    let socket = lab.file("restricted.ctl").display().to_string();
    lab.option("bird_control_socket", &socket);
    lab.option("bird6_control_socket", &socket);
    expect(&lab, &[NO_DAEMON]);
    lab.start_daemon();
    lab.wait_runs("web", 1);
    lab.kill("web");
    lab.wait_listed(&[DNS, WEB6]);
    expect(
        &lab,
        &[
            "problem  socket: @/restricted.ctl: it is restricted: BIRD answers questions there, and refuses to reconfigure; fix: @/restricted.ctl without restrict in bird.conf, or another socket",
            "problem  constant: ACAST_PS_ADVERTISE: BIRD's value differs from @/anycast-prefixes.conf: BIRD still lists 10.52.12.1/32; fix: birdc configure; if",
            "warning  prefixes: web 10.52.12.1/32: not in the list: the service is down: ",
            "problem  daemon: process N: BIRD is not in sync with the IPv4 list: ",
        ],
    );
}

#[test]
fn a_daemon_without_the_right_to_use_the_socket_is_found() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can start a daemon as another user");
        return;
    }
    let mut lab = lab();
    let root = lab.path().display().to_string();
    lab.on_host("chmod", &["755", &root]);
    for name in ["", "6", "run", "anycast-prefixes.conf", "6/anycast-prefixes.conf", "runs", "alive"] {
        lab.on_host("chown", &["-h", "65534:65534", &lab.file(name).display().to_string()]);
    }
    let program = crate::lab::daemon_program();
    lab.start_daemon_by(&format!("exec setpriv --reuid=65534 --regid=65534 --clear-groups {program} \"$@\""));
    lab.wait_runs("web", 1);
    let fix = "fix: usermod -a -G root nobody, then systemctl restart anycast-healthchecker";
    let not_in_sync = "problem  daemon: process N: BIRD is not in sync with the IPv";
    expect(
        &lab,
        &[
            &format!("problem  socket: @/host.ctl: user nobody may not use @/host.ctl: it is for group root; {fix}"),
            not_in_sync,
            not_in_sync,
        ],
    );
}

#[test]
fn faults_of_the_daemon_are_found() {
    let mut lab = with_daemon();
    // A reload that is refused.
    let good = lab.log("services.d/web.conf");
    fs::write(lab.file("services.d/web.conf"), good.replace("check_rise = 1", "check_rise = x")).unwrap();
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the refusal", |lab| lab.log("daemon.log").contains("the reload is refused"));
    expect(
        &lab,
        &[
            "problem  daemon: process N: the last reload was refused, and an older configuration is in use: ",
            "problem  checks: @/services.d/web.conf, line 3: [web] check_rise = x: must be a whole number",
        ],
    );
    fs::write(lab.file("services.d/web.conf"), good).unwrap();
    expect(&lab, &["problem  daemon: process N: the last reload was refused, and an older configuration is in use: "]);
    lab.signal(Signal::SIGHUP);
    lab.wait_until("the reload", |lab| lab.log("daemon.log").contains("the configuration is reloaded"));
    expect(&lab, &[]);
    // A configuration with a fault that the daemon has not read.
    lab.option("log_maxbites", "1");
    expect(&lab, &["warning  configuration: @/daemon.conf, line "]);
    lab.clear_option("log_maxbites");
    // A service that is down, and its check.
    lab.kill("web");
    expect(&lab, &["warning  prefixes: web 10.52.12.1/32: not in the list: the service is down: "]);
    expect_with(
        &lab,
        &["--run-checks"],
        &[
            "warning  prefixes: web 10.52.12.1/32: not in the list: the service is down: ",
            "problem  checks: web: failed with exit code 1 in ",
        ],
    );
    lab.revive("web");
    expect_with(&lab, &["--run-checks"], &[]);
    // A BIRD that refuses.
    let good = lab.log("host.conf");
    fs::write(lab.file("host.conf"), format!("{good}\nnonsense\n")).unwrap();
    lab.kill("web");
    expect(
        &lab,
        &[
            "problem  constant: ACAST_PS_ADVERTISE: BIRD's value differs from @/anycast-prefixes.conf: BIRD still lists 10.52.12.1/32; fix: birdc configure; if",
            "warning  prefixes: web 10.52.12.1/32: not in the list: the service is down: ",
            "problem  daemon: process N: BIRD is not in sync with the IPv4 list: ",
        ],
    );
    fs::write(lab.file("host.conf"), good).unwrap();
    lab.revive("web");
    expect(&lab, &[]);
    lab.signal(Signal::SIGSTOP);
    let (code, lines) = examined(&lab, &[]);
    let stuck = "problem  daemon: @/run/status.sock: anycast-healthchecker is stuck: ";
    assert!(code == Some(1) && lines.iter().any(|line| line.starts_with(stuck)), "{lines:#?}");
    lab.signal(Signal::SIGCONT);
    lab.stop_daemon();
    // Limits of its process.
    start_after(&mut lab, "ulimit -n 100");
    expect(&lab, &["problem  limits: LimitNOFILE: 100 open files are too few for 3 services, which need 184; fix: LimitNOFILE=184 in the unit, then systemctl daemon-reload and restart"]);
    lab.stop_daemon();
    // A service manager without a watchdog.
    start_after(&mut lab, "export NOTIFY_SOCKET=@doctor");
    expect(&lab, &["warning  daemon: process N: systemd does not watch it: a daemon that hangs is not restarted; fix: WatchdogSec=30 in its unit, then systemctl daemon-reload and restart"]);
    lab.stop_daemon();
    start_after(&mut lab, "");
    expect(&lab, &[]);
    if let Some(group) = ControlGroup::new("pids", &lab) {
        group.set("pids.max", "40");
        group.enter(lab.daemon_pid());
        let file = format!("/sys/fs/cgroup/pids/{}/pids.max", lab.path().file_name().unwrap().display());
        expect(&lab, &[&format!("problem  limits: {file}: 40 tasks are too few for 3 services, which need 41; fix: TasksMax=41 in the unit, then systemctl daemon-reload and restart")]);
        group.leave(lab.daemon_pid());
    }
}
