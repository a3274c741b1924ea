//! What a drain file says: until when its services are to be out.
//!
//! ```text
//!   2026-11-22T09:41:54+01:00    drained until then, and not at all from then on
//!   anything else, or nothing    drained while the file exists
//! ```
//!
//! Promises: pure; any bytes mean a drain, so that a slip of the pen leaves a service out rather than in; what [`format`]
//! writes is read back as it was.
//! Leaves out: reading the file (`check::drain_watcher`) and writing it (`draining`).

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;

/// How much of a drain file counts, in bytes.
pub const MAX_LEN: usize = 64;

/// When a drain ends. In the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainEnd {
    /// At this time of the wall clock.
    At(SystemTime),
    /// When the file is removed.
    Never,
}

impl DrainEnd {
    /// Whether the drain still holds.
    pub fn is_after(self, now: SystemTime) -> bool {
        self > DrainEnd::At(now)
    }
}

/// For a sentence.
impl fmt::Display for DrainEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrainEnd::At(time) => write!(f, "until {}", stamp(*time)),
            DrainEnd::Never => f.write_str("until it is ended"),
        }
    }
}

/// What the file's first [`MAX_LEN`] bytes say. A time is one of RFC 3339: with its offset, or nobody could tell when it is.
pub fn parse(bytes: &[u8]) -> DrainEnd {
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    let time = text.and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or(DrainEnd::Never, |time| DrainEnd::At(time.into()))
}

/// The text of a drain file that ends then, to the second.
pub fn format(end: DrainEnd) -> String {
    match end {
        DrainEnd::At(time) => stamp(time) + "\n",
        DrainEnd::Never => "without end\n".to_string(),
    }
}

/// RFC 3339 in UTC. What lies outside of jiff's years is as far as they go.
fn stamp(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// None for a drain without end.
    fn check(text: &str, expected: Option<u64>) {
        let expected =
            expected.map_or(DrainEnd::Never, |seconds| DrainEnd::At(UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn times_end_a_drain_and_nothing_else_does() {
        let at = Some(1_795_336_914);
        check("2026-11-22T08:41:54Z", at);
        check("  2026-11-22T09:41:54+01:00\n", at);
        check("2026-11-22 08:41:54z\r\n", at);
        check("2026-11-22T03:41:54.000-05:00", at);
        check("", None);
        check("\n", None);
        check("for maintenance", None);
        check("2026-11-22", None);
        check("2026-11-22T08:41:54", None);
        check("2026-11-22T08:41:54Z and later", None);
        check("2026-13-22T08:41:54Z", None);
        check("1795336914", None);
        assert_eq!(parse(b"\xff\xfe"), DrainEnd::Never);
    }

    #[test]
    fn it_holds_until_its_end() {
        let end = UNIX_EPOCH + Duration::from_secs(10);
        assert!(DrainEnd::At(end).is_after(end - Duration::from_nanos(1)));
        assert!(!DrainEnd::At(end).is_after(end));
        assert!(DrainEnd::Never.is_after(end) && DrainEnd::Never > DrainEnd::At(end));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for end in
            [DrainEnd::Never, DrainEnd::At(UNIX_EPOCH), DrainEnd::At(UNIX_EPOCH + Duration::from_secs(1_795_336_914))]
        {
            assert!(format(end).len() <= MAX_LEN);
            assert_eq!(parse(format(end).as_bytes()), end);
        }
        assert_eq!(format(DrainEnd::At(UNIX_EPOCH)), "1970-01-01T00:00:00Z\n");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_drain(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..MAX_LEN)) {
            parse(&bytes);
        }

        #[test]
        fn any_time_is_read_back(seconds in 0u64..250_000_000_000) {
            let end = DrainEnd::At(UNIX_EPOCH + Duration::from_secs(seconds));
            proptest::prop_assert_eq!(parse(format(end).as_bytes()), end);
        }
    }
}
