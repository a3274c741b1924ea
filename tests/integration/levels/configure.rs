//! Reconfigures of BIRD by custom commands and by the family's command: one at a time, and once
//! more to wake BIRD 2.0.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::lab::service::Service;
use crate::lab::Lab;

const A: &str = "10.52.12.1/32";
const B: &str = "10.52.12.2/32";
const C: &str = "10.52.12.3/32";
const A6: &str = "2001:db8:52::1/128";

fn with_custom_command(name: &'static str, prefix: &'static str) -> Service {
    Service::new(name, prefix).with("custom_bird_reconfigure_cmd", &format!("{{lab}}/custom {name}"))
}

/// Two services with a custom command and two without, one of them IPv6.
fn services() -> [Service; 4] {
    [with_custom_command("a", A), with_custom_command("c", C), Service::new("b", B), Service::new("a6", A6)]
}

/// Kills or revives all services at the same time.
fn all_change_at_once(lab: &Lab, round: usize) {
    let names = ["a", "c", "b", "a6"];
    match round % 2 {
        0 => names.iter().for_each(|name| lab.kill(name)),
        _ => names.iter().for_each(|name| lab.revive(name)),
    }
    // Sent twice, so that a check that is running runs again.
    lab.signal(Signal::SIGURG);
    lab.signal(Signal::SIGURG);
    for prefix in [A, B, C, A6] {
        lab.wait_until("the routes to follow", |lab| lab.routes.has(prefix) == (round % 2 == 1));
    }
}

#[test]
fn two_reconfigures_never_run_at_the_same_time() {
    let mut lab = Lab::new(services());
    let script = "echo begin $1 >> order; $BIRDC; status=$?; sleep 0.05; echo end $1 >> order; exit $status";
    lab.executable("custom", script);
    lab.reconfigure_script(&format!("set family; {script}"));
    lab.start_daemon();
    [A, B, C, A6].iter().for_each(|prefix| lab.wait_advertised(prefix));
    for round in 0..6 {
        all_change_at_once(&lab, round);
    }
    let mut order = String::new();
    lab.wait_until("the last one to end", |lab| {
        let in_sync = lab.status().contains("BIRD in sync");
        order = lab.log("order");
        in_sync && order.matches("begin").count() == order.matches("end").count()
    });
    let lines: Vec<&str> = order.lines().collect();
    for pair in lines.chunks(2) {
        let names = [pair[0].strip_prefix("begin "), pair[1].strip_prefix("end ")];
        assert!(names[0].is_some() && names[0] == names[1], "two at the same time: {order}");
    }
    for name in ["a", "c", "family"] {
        assert!(order.contains(&format!("begin {name}")), "{name} was never run: {order}");
    }
}

/// A command that behaves like BIRD 3: it is busy for three seconds after each configure. Another
/// configure in this time crashes it, which is recorded in the file `crashed`.
const LIKE_BIRD_3: &str = "
    echo $1 >> sent
    mkdir under-way || echo $1 >> crashed
    test -n \"$(find . -name busy -newermt '3 seconds ago')\" && echo $1 >> crashed
    touch busy
    $BIRDC > /dev/null || exit 1
    rmdir under-way
    printf 'BIRD 3.3.2 ready.\\nReading configuration from /etc/bird/bird.conf\\nReconfiguration in progress\\n'";

#[test]
fn a_bird_3_that_a_custom_command_left_busy_is_not_configured() {
    let mut lab = Lab::new(services());
    lab.executable("custom", LIKE_BIRD_3);
    lab.reconfigure_script(&format!("set family; {LIKE_BIRD_3}"));
    lab.start_daemon();
    [A, B, C, A6].iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.wait_in_sync();
    all_change_at_once(&lab, 0);
    lab.wait_in_sync();
    assert!(!lab.file("crashed").exists(), "sent: {}crashed by: {}", lab.log("sent"), lab.log("crashed"));
}

#[test]
fn a_bird_3_that_another_custom_command_left_busy_is_not_configured() {
    let mut lab = Lab::new([with_custom_command("a", A), with_custom_command("c", C)]);
    lab.use_custom_commands_only();
    lab.executable("custom", LIKE_BIRD_3);
    lab.start_daemon();
    [A, C].iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.wait_in_sync();
    ["a", "c"].iter().for_each(|service| lab.kill(service));
    lab.signal(Signal::SIGURG);
    [A, C].iter().for_each(|prefix| lab.wait_withdrawn(prefix));
    lab.wait_in_sync();
    assert!(!lab.file("crashed").exists(), "sent: {}crashed by: {}", lab.log("sent"), lab.log("crashed"));
}

/// A control socket in front of the host's BIRD, until the lab is dropped. It claims to be BIRD
/// 3.3.2, busy while the file `busy` exists, and records each configure in the file `sent`.
fn start_busy_bird(lab: &Lab) -> PathBuf {
    let socket = lab.file("busy.ctl");
    let listener = UnixListener::bind(&socket).unwrap();
    let directory = lab.path().to_path_buf();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok).take_while(|_| directory.exists()) {
            let directory = directory.clone();
            // The thread ends with its client.
            std::thread::spawn(move || serve(&directory, client));
        }
    });
    socket
}

fn serve(directory: &Path, client: UnixStream) -> Option<()> {
    let bird = UnixStream::connect(directory.join("host.ctl")).ok()?;
    let mut answers = client.try_clone().ok()?;
    let mut requests = bird.try_clone().ok()?;
    let mut bird = BufReader::new(bird);
    read_answer(&mut bird)?;
    answers.write_all(b"0001 BIRD 3.3.2 ready.\n").ok()?;
    for request in BufReader::new(client).lines().map_while(Result::ok) {
        let is_busy = directory.join("busy").exists();
        if request.starts_with("configure") && request != "configure status" {
            let mut sent = fs::OpenOptions::new().create(true).append(true).open(directory.join("sent")).ok()?;
            writeln!(sent, "{}", if is_busy { "socket, busy" } else { "socket" }).ok()?;
        }
        requests.write_all(format!("{request}\n").as_bytes()).ok()?;
        let answer = read_answer(&mut bird)?;
        let answer = match request.as_str() {
            "configure status" if is_busy => "0004-Reconfiguration in progress\n0000 \n".into(),
            "show status" if is_busy => "1000-BIRD 3.3.2\n0013 Reconfiguration in progress\n".into(),
            "show status" => answer.replace("BIRD 2.0", "BIRD 3.3"),
            _ => answer,
        };
        answers.write_all(answer.as_bytes()).ok()?;
    }
    Some(())
}

/// Reads all lines of one answer. The last one has a blank after its code.
fn read_answer(bird: &mut BufReader<UnixStream>) -> Option<String> {
    let mut answer = String::new();
    loop {
        let mut line = String::new();
        if bird.read_line(&mut line).ok()? == 0 {
            return None;
        }
        answer += &line;
        let numbered = line.len() > 4 && line.as_bytes()[..4].iter().all(u8::is_ascii_digit);
        if numbered && line.as_bytes()[4] == b' ' {
            return Some(answer);
        }
    }
}

/// A custom command leaves BIRD busy. Nothing is sent until BIRD reports over its socket that it is
/// idle.
fn nothing_is_sent_until_bird_is_idle(says_busy: &str) {
    let mut lab = Lab::new(services());
    let socket = start_busy_bird(&lab).display().to_string();
    lab.option("bird_control_socket", &socket);
    lab.option("bird6_control_socket", &socket);
    let script = format!(
        "if test -e busy; then echo $1, busy >> sent; else echo $1 >> sent; fi
         test -e gets-busy && touch busy
         $BIRDC > /dev/null || exit 1
         printf '{says_busy}'"
    );
    lab.executable("custom", &script);
    lab.start_daemon();
    [A, B, C, A6].iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.wait_in_sync();
    let before = lab.log("sent");
    lab.touch("gets-busy");
    lab.kill("a");
    lab.wait_until("BIRD to be busy", |lab| lab.file("busy").exists());
    // First a custom command, then the commands of both families.
    for services in [&["c"][..], &["b", "a6"]] {
        services.iter().for_each(|service| lab.kill(service));
        services.iter().for_each(|service| lab.wait_runs(service, 15));
        let sent = lab.log("sent");
        assert_eq!(&sent[before.len()..], "a\n", "something was sent to a busy BIRD");
    }
    lab.remove("gets-busy");
    lab.remove("busy");
    [A, B, C, A6].iter().for_each(|prefix| lab.wait_withdrawn(prefix));
    lab.wait_in_sync();
    assert!(!lab.log("sent").contains("busy"), "{}", lab.log("sent"));
}

#[test]
fn bird_is_queried_until_it_is_idle_after_a_custom_command_that_runs_birdc() {
    nothing_is_sent_until_bird_is_idle(
        "BIRD 3.3.2 ready.\\nReading configuration from /etc/bird/bird.conf\\nReconfiguration in progress\\n",
    );
}

#[test]
fn bird_is_queried_until_it_is_idle_after_a_custom_command_that_uses_the_socket() {
    nothing_is_sent_until_bird_is_idle("0001 BIRD 3.3.2 ready.\\n0002-Reading\\n0004 Reconfiguration in progress\\n");
}

#[test]
fn a_custom_command_that_hangs_delays_others_by_its_timeout_at_most() {
    let slow = with_custom_command("a", A).with("custom_bird_reconfigure_cmd_timeout", "1");
    let mut lab = Lab::new([slow, with_custom_command("c", C), Service::new("b", B)]);
    lab.executable("custom", "test -e hangs && test $1 = a && exec sleep 1008; exec $BIRDC");
    lab.start_daemon();
    [A, B, C].iter().for_each(|prefix| lab.wait_advertised(prefix));
    lab.touch("hangs");
    lab.kill("a");
    lab.wait_until("the command to hang", |lab| !lab.processes("sleep 1008").is_empty());
    for (service, prefix) in [("b", B), ("c", C)] {
        lab.kill(service);
        lab.wait_withdrawn(prefix);
    }
    lab.remove("hangs");
    lab.wait_withdrawn(A);
    lab.wait_in_sync();
}

const NAMES: [&str; 12] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"];

/// Twelve services beside 500 other routes, all up. If `answer` is given, the reconfigure command
/// prints it instead of BIRD's output.
fn lab_with_long_table(answer: Option<&str>) -> Lab {
    let service = |(n, name): (usize, &&'static str)| Service::new(name, format!("10.52.13.{n}/32").leak());
    let mut lab = Lab::new(NAMES.iter().enumerate().map(service));
    let routes: String = (0..500).map(|n| format!("route 10.99.{}.{}/32 blackhole;\n", n / 250, n % 250)).collect();
    let conf = lab.log("host.conf");
    fs::write(lab.file("host.conf"), format!("{conf}\nprotocol static {{\nipv4;\n{routes}}}\n")).unwrap();
    lab.birdc(&["configure"]);
    let has_them = |lab: &Lab| lab.birdc(&["show", "route", "10.99.1.249/32"]).contains("blackhole");
    lab.wait_until("BIRD to have the routes", has_them);
    let instead = answer.map(|answer| format!("> /dev/null || exit 1; printf '{answer}'"));
    lab.reconfigure_script(&format!("printf . >> runs/birdc; $BIRDC {}", instead.unwrap_or_default()));
    lab.start_daemon();
    lab.wait_listed(&NAMES.iter().enumerate().map(|(n, _)| &*format!("10.52.13.{n}/32").leak()).collect::<Vec<_>>());
    lab.wait_in_sync();
    lab
}

/// Changes a service several times, at intervals above 3 s, after which BIRD 2.0 wakes by itself.
/// Expects each change to run the reconfigure command `times` times.
fn each_change_configures(lab: &Lab, times: usize) {
    for round in 0..4 {
        lab.wait_runs("s11", 17);
        let before = lab.runs("birdc");
        match round % 2 {
            0 => lab.kill("s3"),
            _ => lab.revive("s3"),
        }
        lab.wait_until("the route to follow", |lab| lab.routes.has("10.52.13.3/32") == (round % 2 == 1));
        // Leaves time for further reconfigures.
        lab.wait_runs("s11", 5);
        assert_eq!(lab.runs("birdc") - before, times, "reconfigures of one change");
    }
}

#[test]
fn an_installed_bird_2_0_is_woken_after_each_change() {
    let lab = lab_with_long_table(None);
    let is_2_0 = lab.birdc(&["show", "status"]).contains("BIRD 2.0.");
    each_change_configures(&lab, if is_2_0 { 2 } else { 1 });
}

#[test]
fn a_bird_of_unknown_version_is_woken_after_each_change() {
    each_change_configures(&lab_with_long_table(Some("Reading configuration from x\\nReconfigured\\n")), 2);
}

#[test]
fn bird_2_19_and_3_are_never_woken() {
    for version in ["2.19.2", "3.3.2"] {
        eprintln!("{version}");
        let answer = format!("BIRD {version} ready.\\nReading configuration from x\\nReconfigured\\n");
        each_change_configures(&lab_with_long_table(Some(&answer)), 1);
    }
}
