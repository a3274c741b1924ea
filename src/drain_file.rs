//! What a drain file says: until when its services are to be out.
//!
//! ```text
//!   2026-11-22T09:41:54+01:00    drained until then, and not at all from then on
//!   anything else, or nothing    drained while the file exists
//! ```
//!
//! Promises: pure; any bytes mean a drain, so that a slip of the pen leaves a service out rather than in; what [`text`]
//! writes is read back as it was.
//! Leaves out: reading the file (`check::drain_watcher`) and writing it (`draining`).

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;

/// How much of a drain file counts, in bytes.
pub const LONGEST: usize = 64;

/// When a drain ends. In the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// At this time of the wall clock.
    At(SystemTime),
    /// When the file is removed.
    Never,
}

impl End {
    /// Whether the drain still holds.
    pub fn is_after(self, now: SystemTime) -> bool {
        self > End::At(now)
    }
}

/// For a sentence.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::At(time) => write!(f, "until {}", stamp(*time)),
            End::Never => f.write_str("until it is ended"),
        }
    }
}

/// What the file's first [`LONGEST`] bytes say. A time is one of RFC 3339: with its offset, or nobody could tell when it is.
pub fn read(bytes: &[u8]) -> End {
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    let time = text.and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or(End::Never, |time| End::At(time.into()))
}

/// The text of a drain file that ends then, to the second.
pub fn text(end: End) -> String {
    match end {
        End::At(time) => stamp(time) + "\n",
        End::Never => "without end\n".to_string(),
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
        let expected = expected.map_or(End::Never, |seconds| End::At(UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!(read(text.as_bytes()), expected, "{text:?}");
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
        assert_eq!(read(b"\xff\xfe"), End::Never);
    }

    #[test]
    fn it_holds_until_its_end() {
        let end = UNIX_EPOCH + Duration::from_secs(10);
        assert!(End::At(end).is_after(end - Duration::from_nanos(1)));
        assert!(!End::At(end).is_after(end));
        assert!(End::Never.is_after(end) && End::Never > End::At(end));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for end in [End::Never, End::At(UNIX_EPOCH), End::At(UNIX_EPOCH + Duration::from_secs(1_795_336_914))] {
            assert!(text(end).len() <= LONGEST);
            assert_eq!(read(text(end).as_bytes()), end);
        }
        assert_eq!(text(End::At(UNIX_EPOCH)), "1970-01-01T00:00:00Z\n");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_drain(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..LONGEST)) {
            read(&bytes);
        }

        #[test]
        fn any_time_is_read_back(seconds in 0u64..250_000_000_000) {
            let end = End::At(UNIX_EPOCH + Duration::from_secs(seconds));
            proptest::prop_assert_eq!(read(text(end).as_bytes()), end);
        }
    }
}
