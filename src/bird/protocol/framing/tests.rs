use proptest::prelude::*;

use super::*;

/// Feeds the bytes in parts of `size`. Returns the replies as text, and the error.
fn feed(bytes: &[u8], size: usize) -> (Vec<String>, Option<String>) {
    let (mut framing, mut replies) = (Framing::default(), Vec::new());
    let mut error = None;
    for part in bytes.chunks(size.max(1)) {
        error = framing.feed(part, &mut replies).err().map(|error| error.to_string());
    }
    let show = |line: &Line| format!("{:04}:{}", line.code, line.text);
    (replies.iter().map(|reply| reply.lines().map(show).collect::<Vec<_>>().join("|")).collect(), error)
}

fn check(bytes: &[u8], replies: &[&str], error: Option<&str>) {
    for size in [1, 2, 7, bytes.len()] {
        let (actual, failed) = feed(bytes, size);
        assert_eq!(actual, replies, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(failed.as_deref(), error, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn bytes_are_cut_into_replies() {
    check(b"", &[], None);
    check(b"0001 BIRD 2.0.12 ready.\n", &["0001:BIRD 2.0.12 ready."], None);
    check(b"0001 BIRD 2.0.12 ready.", &[], None);
    check(b"0002-Reading\n0003 Reconfigured\n", &["0002:Reading|0003:Reconfigured"], None);
    check(b"0000 \n0000 \n", &["0000:", "0000:"], None);
    check(b"1011-a\n b\n  c\n0013 d\n", &["1011:a|1011:b|1011: c|0013:d"], None);
    check(b"+Config timeout expired, starting undo\n0003 x\n+y\n", &["0003:x"], None);
    check(b"0002-a\n+late\n0003 x\n", &["0002:a|0003:x"], None);
    check(b"0003 \xff\n", &["0003:\u{fffd}"], None);
}

#[test]
fn input_that_is_not_birds_is_an_error() {
    let foreign = |line: &str| format!("the other side of the control socket does not speak as BIRD does: {line:?}");
    for line in ["", "HTTP/1.1 400 Bad Request", "003 x", "0003", "0003_x", "-003 x", " no code before"] {
        check(format!("0000 \n{line}\n0003 x\n").as_bytes(), &["0000:"], Some(&foreign(line)));
    }
    let endless = Some("BIRD's control socket sent a line or a reply without end");
    let line = |length: usize| format!("0002-{}\n", "x".repeat(length - 5));
    check((line(MAX_LINE_LEN) + "0003 x\n").replace('x', "").as_bytes(), &["0002:|0003:"], None);
    check(line(MAX_LINE_LEN + 1).as_bytes(), &[], endless);
    let reply = line(1024).repeat(MAX_RESPONSE_LEN / 1024);
    check(format!("{reply}0003 x\n").as_bytes(), &[], endless);
    // The limit is for one reply: many replies and many messages do not count together.
    let many = "0003 x\n".repeat(20_000) + &"+y\n".repeat(40_000);
    assert_eq!(feed(many.as_bytes(), 1000).0.len(), 20_000);
}

#[test]
fn greetings_and_status_answers_are_read() {
    let parse_one = |bytes: &str| {
        let mut replies = Vec::new();
        Framing::default().feed(bytes.as_bytes(), &mut replies).unwrap();
        replies.remove(0)
    };
    assert_eq!(
        parse_one("0001 BIRD 2.0.12 ready.\n").greeting(),
        Some(Some(Version { major: 2, minor: 0, patch: 12 }))
    );
    assert_eq!(parse_one("0001 hello\n").greeting(), Some(None));
    assert_eq!(parse_one("0003 Reconfigured\n").greeting(), None);
    let check = |bytes: &str, expected: Activity| assert_eq!(parse_one(bytes).activity(), expected, "{bytes}");
    check("0003-Daemon is up and running\n0022-Configuration unconfirmed, undo in 4.999 s\n0000 \n", Activity::Idle);
    check("0004-Reconfiguration in progress\n0000 \n", Activity::Busy);
    check("0005-Reconfiguration in progress, next one enqueued\n0000 \n", Activity::Queued);
    check("0006-Shutdown in progress\n0000 \n", Activity::ShuttingDown);
    check("1000-BIRD 1.6.8\n1011-Router ID\n Hostname\n0013 Reconfiguration in progress\n", Activity::Busy);
    check("9001 syntax error\n", Activity::Unknown);
    check("0013 Something new\n", Activity::Unknown);
}

proptest! {
    #[test]
    fn the_replies_do_not_depend_on_how_the_bytes_are_split(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["0001", "0003", " ", "-", "\n", "\n", "+", "text", "\u{e9}", "9"]), 0..60,
        ),
        size in 1usize..20,
    ) {
        let bytes = pieces.concat();
        prop_assert_eq!(feed(bytes.as_bytes(), size), feed(bytes.as_bytes(), usize::MAX));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, size in 1usize..20) {
        prop_assert_eq!(feed(&bytes, size), feed(&bytes, usize::MAX));
    }
}
