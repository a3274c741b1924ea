//! Tests with real sockets; with another `/etc/hosts`, or without a network, in a namespace.

use super::*;
use crate::testing::isolated::{alone, in_own_network, sh, skipped, this_program};

fn receiver(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

fn next(socket: &UdpSocket) -> String {
    let mut bytes = vec![0; 70_000];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn each_line_is_a_datagram() {
    for address in ["127.0.0.1", "::1"] {
        let socket = receiver(address);
        let mut syslog = Syslog::new(address.into(), port(&socket));
        syslog.write_lines(b"<14>one\0<12>two\0").unwrap();
        syslog.write_lines(b"<11>three\0").unwrap();
        let got = [next(&socket), next(&socket), next(&socket)];
        assert_eq!(got, ["<14>one\0", "<12>two\0", "<11>three\0"], "{address}");
    }
}

#[test]
fn a_line_too_long_for_a_datagram_is_truncated() {
    let check = |line: &str, expected: usize| {
        let line = format!("{line}\0");
        let datagram = truncate(line.as_bytes());
        assert_eq!(datagram.len(), expected);
        let text = std::str::from_utf8(&datagram).unwrap().strip_suffix('\0').unwrap();
        assert!(line.starts_with(text));
    };
    check("", 1);
    check(&"x".repeat(MAX_DATAGRAM_LEN - 1), MAX_DATAGRAM_LEN);
    check(&"x".repeat(MAX_DATAGRAM_LEN), MAX_DATAGRAM_LEN);
    check(&"x".repeat(1_000_000), MAX_DATAGRAM_LEN);
    check(&"é".repeat(40_000), MAX_DATAGRAM_LEN - 1);
    check(&format!("x{}", "é".repeat(40_000)), MAX_DATAGRAM_LEN);
    check(&"😀".repeat(40_000), MAX_DATAGRAM_LEN - 3);

    let socket = receiver("127.0.0.1");
    Syslog::new("127.0.0.1".into(), port(&socket)).write_lines(&[&[b'x'; 70_000][..], b"\0"].concat()).unwrap();
    assert_eq!(next(&socket).len(), MAX_DATAGRAM_LEN);
}

#[test]
fn a_server_that_does_not_listen_is_not_a_failure() {
    let free = port(&receiver("127.0.0.1"));
    let mut syslog = Syslog::new("127.0.0.1".into(), free);
    for _ in 0..10 {
        syslog.write_lines(b"<14>unreceived\0").unwrap();
    }
    let socket = UdpSocket::bind(("127.0.0.1", free)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    syslog.write_lines(b"<14>received\0").unwrap();
    assert_eq!(next(&socket), "<14>received\0");
}

#[test]
fn sending_works_again_after_the_network_was_down() {
    let name = "log::syslog::tests::sending_works_again_after_the_network_was_down";
    if !alone(name, &["unshare", "-rn"], &this_program()) {
        return;
    }
    let mut syslog = Syslog::new("127.0.0.1".into(), 514);
    for _ in 0..3 {
        let error = syslog.write_lines(b"<14>one\0<14>two\0").unwrap_err();
        let why = "cannot send to log_server 127.0.0.1:514: Network is unreachable (os error 101); \
                   lines for it are lost until that is mended";
        assert_eq!((error.lines, error.why.to_string()), (2, why.into()));
    }
    run("ip link set lo up");
    let socket = UdpSocket::bind(("127.0.0.1", 514)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    syslog.write_lines(b"<14>three\0").unwrap();
    assert_eq!(next(&socket), "<14>three\0");
}

/// More lines at once than the socket's buffer holds, faster than the network sends them.
#[test]
fn a_full_socket_buffer_is_waited_for() {
    if !in_own_network("log::syslog::tests::a_full_socket_buffer_is_waited_for") {
        return;
    }
    sh("ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up
        ip address add 10.9.0.1/24 dev d0; ip neighbor add 10.9.0.2 lladdr 02:00:00:00:00:01 dev d0");
    let slow = "tc qdisc add dev d0 root tbf rate 8mbit burst 4kb limit 4mb";
    if std::panic::catch_unwind(|| sh(slow)).is_err() {
        skipped("a slow network: this kernel or machine has no tc with tbf");
        return;
    }
    let datagram = [&[b'x'; 8000][..], b"\0"].concat();
    let mut syslog = Syslog::new("10.9.0.2".into(), 514);
    // The buffer of a nonblocking socket is full before the last datagram.
    let nonblocking = UdpSocket::bind(("10.9.0.1", 0)).unwrap();
    nonblocking.set_nonblocking(true).unwrap();
    let full = (0..100).find_map(|_| nonblocking.send_to(&datagram, "10.9.0.2:514").err()).unwrap();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    syslog.write_lines(&datagram.repeat(100)).unwrap();
}

#[test]
fn a_name_is_resolved_again() {
    let name = "log::syslog::tests::a_name_is_resolved_again";
    let mount = "mount -t tmpfs none /mnt && : >/mnt/hosts && mount --bind /mnt/hosts /etc/hosts && \
                 ip link set lo up && exec \"$@\"";
    if !alone(name, &["unshare", "-rmn", "sh", "-c", mount, "sh"], &this_program()) {
        return;
    }
    let one = receiver("127.0.0.1");
    let two = UdpSocket::bind(("127.0.0.2", port(&one))).unwrap();
    let six = UdpSocket::bind(("::1", port(&one))).unwrap();
    for socket in [&two, &six] {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    }
    let mut syslog = Syslog::new("logs.example".into(), port(&one));
    let error = syslog.write_lines(b"<14>lost\0<14>lost\0").unwrap_err();
    assert!(error.why.to_string().starts_with("cannot resolve log_server logs.example: "), "{}", error.why);
    assert_eq!(error.lines, 2);
    run("echo 127.0.0.1 logs.example >/etc/hosts");
    // The name is not resolved again within five seconds of a failure.
    assert_eq!(syslog.write_lines(b"<14>lost\0").unwrap_err().lines, 1);

    let expire = |syslog: &mut Syslog| syslog.resolved_at = None;
    expire(&mut syslog);
    syslog.write_lines(b"<14>one\0").unwrap();
    assert_eq!(next(&one), "<14>one\0");
    run("echo 127.0.0.2 logs.example >/etc/hosts");
    expire(&mut syslog);
    syslog.write_lines(b"<14>two\0").unwrap();
    assert_eq!(next(&two), "<14>two\0");
    run("echo ::1 logs.example >/etc/hosts");
    expire(&mut syslog);
    syslog.write_lines(b"<14>six\0").unwrap();
    assert_eq!(next(&six), "<14>six\0");
    // If the name is no longer known, the last address is still used.
    run(": >/etc/hosts");
    expire(&mut syslog);
    syslog.write_lines(b"<14>still six\0").unwrap();
    assert_eq!(next(&six), "<14>still six\0");
}

#[test]
fn the_address_that_works_is_tried_first() {
    let socket = receiver("127.0.0.1");
    let mut syslog = Syslog::new("unused".into(), 0);
    // Nothing can be sent to port 0.
    syslog.set_addresses(vec![
        "127.0.0.1:0".parse().unwrap(),
        "[::1]:0".parse().unwrap(),
        socket.local_addr().unwrap(),
    ]);
    syslog.resolved_at = Some(Instant::now());
    for _ in 0..2 {
        syslog.write_lines(b"<14>one\0").unwrap();
        assert_eq!(next(&socket), "<14>one\0");
        assert_eq!(syslog.addresses[0], socket.local_addr().unwrap());
    }
}

/// Runs a shell command that must succeed.
fn run(command: &str) {
    use crate::sys::process::{Exit, Limits, Program};
    let words = ["sh", "-c", command].map(String::from);
    let limits = Limits { deadline: Instant::now() + Duration::from_secs(60), grace: None, max_output: 1000 };
    let stop = crate::sys::stop_token::StopToken::new().unwrap();
    let exit = Program::new(&words).run(&limits, &stop).exit;
    assert!(matches!(exit, Exit::Exited(0)), "{command}: {exit:?}");
}

#[test]
fn a_datagram_is_that_of_the_original() {
    use LogLevel::*;
    for (level, expected) in [
        (Debug, "<15>a line\0"),
        (Info, "<14>a line\0"),
        (Warning, "<12>a line\0"),
        (Error, "<11>a line\0"),
        (Critical, "<10>a line\0"),
    ] {
        assert_eq!(datagram(level, "a line"), expected.as_bytes());
    }
    assert_eq!(datagram(Info, ""), b"<14>\0");
    // Of the crate's facilities, the greatest makes the greatest PRI.
    let mut bytes = Vec::new();
    Datagram(Facility::LOG_LOCAL7).format(&mut bytes, Severity::LOG_DEBUG, "é").unwrap();
    assert_eq!(bytes, "<191>é\0".as_bytes());
}

/// [`Datagram`] exists because the crate's format has a time stamp of its own, in UTC, and no NUL.
#[test]
fn the_format_of_the_crate_differs_from_the_original() {
    let (facility, line) = (Facility::LOG_USER, "2017-07-23 09:43:28,995 anycast-healthchecker[1] INFO");
    let formatter = syslog::Formatter3164 { facility, hostname: None, process: "anycast-healthchecker".into(), pid: 1 };
    let mut bytes = Vec::new();
    formatter.format(&mut bytes, Severity::LOG_INFO, line).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let stamp = text.strip_prefix("<14>").and_then(|text| text.strip_suffix(line));
    assert!(stamp.is_some_and(|stamp| stamp.ends_with(" anycast-healthchecker[1]: ")), "{text}");
}

/// [`Syslog`] creates the backend because the crate's constructor keeps only the first address, and
/// its socket blocks.
#[test]
fn the_socket_of_the_crate_blocks_and_has_one_address() {
    let blocks = |backend: &LoggerBackend| match backend {
        LoggerBackend::Udp(socket, _) => {
            !rustix::fs::fcntl_getfl(socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK)
        }
        _ => panic!("not UDP"),
    };
    let socket = receiver("127.0.0.1");
    // Nothing can be sent to port 0.
    let addresses = ["127.0.0.1:0".parse().unwrap(), socket.local_addr().unwrap()];
    let datagram = datagram(LogLevel::Info, "one");

    let mut crates = syslog::udp(Datagram(Facility::LOG_USER), "127.0.0.1:0", &addresses[..]).unwrap();
    assert_eq!(crates.backend.write(&datagram).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert!(blocks(&crates.backend));

    let mut ours = Syslog::new("unused".into(), 0);
    ours.set_addresses(addresses.into());
    ours.send(&datagram).unwrap();
    assert_eq!(next(&socket), "<14>one\0");
    assert!(!blocks(ours.backend.as_ref().unwrap()));
}
