//! Real sockets; another `/etc/hosts`, and no network at all, in a namespace.

use super::*;
use crate::sys::alone::{alone, this_program};

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
        syslog.put(b"<14>one\0<12>two\0").unwrap();
        syslog.put(b"<11>three\0").unwrap();
        let got = [next(&socket), next(&socket), next(&socket)];
        assert_eq!(got, ["<14>one\0", "<12>two\0", "<11>three\0"], "{address}");
    }
}

#[test]
fn what_no_datagram_holds_is_cut() {
    let check = |line: &str, expected: usize| {
        let line = format!("{line}\0");
        let cut = cut(line.as_bytes());
        assert_eq!(cut.len(), expected);
        let text = std::str::from_utf8(&cut).unwrap().strip_suffix('\0').unwrap();
        assert!(line.starts_with(text));
    };
    check("", 1);
    check(&"x".repeat(LONGEST - 1), LONGEST);
    check(&"x".repeat(LONGEST), LONGEST);
    check(&"x".repeat(1_000_000), LONGEST);
    check(&"é".repeat(40_000), LONGEST - 1);
    check(&format!("x{}", "é".repeat(40_000)), LONGEST);
    check(&"😀".repeat(40_000), LONGEST - 3);

    let socket = receiver("127.0.0.1");
    Syslog::new("127.0.0.1".into(), port(&socket)).put(&[&[b'x'; 70_000][..], b"\0"].concat()).unwrap();
    assert_eq!(next(&socket).len(), LONGEST);
}

#[test]
fn nobody_listening_is_no_failure() {
    let free = port(&receiver("127.0.0.1"));
    let mut syslog = Syslog::new("127.0.0.1".into(), free);
    for _ in 0..10 {
        syslog.put(b"<14>unheard\0").unwrap();
    }
    let socket = UdpSocket::bind(("127.0.0.1", free)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    syslog.put(b"<14>heard\0").unwrap();
    assert_eq!(next(&socket), "<14>heard\0");
}

#[test]
fn a_network_that_is_down_is_waited_for() {
    let name = "log::syslog::tests::a_network_that_is_down_is_waited_for";
    if !alone(name, &["unshare", "-rn"], &this_program()) {
        return;
    }
    let mut syslog = Syslog::new("127.0.0.1".into(), 514);
    for _ in 0..3 {
        let loss = syslog.put(b"<14>one\0<14>two\0").unwrap_err();
        let why = "cannot send to log_server 127.0.0.1:514: Network is unreachable (os error 101); \
                   lines for it are lost until that is mended";
        assert_eq!((loss.lines, loss.why.to_string()), (2, why.into()));
    }
    run("ip link set lo up");
    let socket = UdpSocket::bind(("127.0.0.1", 514)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    syslog.put(b"<14>three\0").unwrap();
    assert_eq!(next(&socket), "<14>three\0");
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
    let loss = syslog.put(b"<14>lost\0<14>lost\0").unwrap_err();
    assert!(loss.why.to_string().starts_with("cannot resolve log_server logs.example: "), "{}", loss.why);
    assert_eq!(loss.lines, 2);
    run("echo 127.0.0.1 logs.example >/etc/hosts");
    // The last failure is no five seconds old: nothing is asked.
    assert_eq!(syslog.put(b"<14>lost\0").unwrap_err().lines, 1);

    let later = |syslog: &mut Syslog| syslog.resolved = None;
    later(&mut syslog);
    syslog.put(b"<14>one\0").unwrap();
    assert_eq!(next(&one), "<14>one\0");
    run("echo 127.0.0.2 logs.example >/etc/hosts");
    later(&mut syslog);
    syslog.put(b"<14>two\0").unwrap();
    assert_eq!(next(&two), "<14>two\0");
    run("echo ::1 logs.example >/etc/hosts");
    later(&mut syslog);
    syslog.put(b"<14>six\0").unwrap();
    assert_eq!(next(&six), "<14>six\0");
    // A name that is unknown all at once stands for what it stood for.
    run(": >/etc/hosts");
    later(&mut syslog);
    syslog.put(b"<14>still six\0").unwrap();
    assert_eq!(next(&six), "<14>still six\0");
}

#[test]
fn the_address_that_works_is_kept() {
    let socket = receiver("127.0.0.1");
    let mut syslog = Syslog::new("unused".into(), 0);
    // Nothing can be sent to port 0.
    syslog.know(vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap(), socket.local_addr().unwrap()]);
    syslog.resolved = Some(Instant::now());
    for _ in 0..2 {
        syslog.put(b"<14>one\0").unwrap();
        assert_eq!(next(&socket), "<14>one\0");
        assert_eq!(syslog.addresses[0], socket.local_addr().unwrap());
    }
}

/// Runs a shell command that must succeed.
fn run(command: &str) {
    use crate::sys::process::{How, Limits, Program};
    let words = ["sh", "-c", command].map(String::from);
    let limits = Limits { deadline: Instant::now() + Duration::from_secs(60), grace: None, keep: 1000 };
    let stop = crate::sys::stop_line::StopLine::new().unwrap();
    let how = Program::new(&words).run(&limits, &stop).how;
    assert!(matches!(how, How::Exited(0)), "{command}: {how:?}");
}
