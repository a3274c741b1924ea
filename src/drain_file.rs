//! The format of a drain file, which says until when its services are drained.
//!
//! ```text
//!   2026-11-22T09:41:54+01:00    drained until then
//!   anything else, or empty      drained while the file exists
//! ```
//!
//! Guarantees: pure. Any content means a drain, so that a typing error keeps a service out rather
//! than in. What [`format()`] writes, [`parse`] reads back unchanged.
//!
//! Out of scope: reading the file (`check::drain_watcher`) and writing it (`cli::drain`).

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;

/// The number of bytes of a drain file that are read.
pub const MAX_LEN: usize = 64;

/// When a drain ends. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainEnd {
    /// The drain ends at this time of the wall clock.
    At(SystemTime),
    /// The drain ends when the file is removed.
    Never,
}

impl DrainEnd {
    /// Whether the drain is still active at `now`.
    pub fn is_after(self, now: SystemTime) -> bool {
        self > DrainEnd::At(now)
    }
}

impl fmt::Display for DrainEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrainEnd::At(time) => write!(f, "until {}", stamp(*time)),
            DrainEnd::Never => f.write_str("until it is ended"),
        }
    }
}

/// Parses the first [`MAX_LEN`] bytes of a drain file. A time must be in RFC 3339 format with an
/// offset, without which it would be ambiguous.
pub fn parse(bytes: &[u8]) -> DrainEnd {
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    let time = text.and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or(DrainEnd::Never, |time| DrainEnd::At(time.into()))
}

/// Formats a drain file, with its end to the second.
pub fn format(end: DrainEnd) -> String {
    match end {
        DrainEnd::At(time) => stamp(time) + "\n",
        DrainEnd::Never => "without end\n".to_string(),
    }
}

/// Formats a time as RFC 3339 in UTC. A time that jiff cannot represent becomes the latest that it
/// can.
fn stamp(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Compares the end in Unix seconds. None is a drain without end.
    fn check(text: &str, expected: Option<u64>) {
        let expected =
            expected.map_or(DrainEnd::Never, |seconds| DrainEnd::At(UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn only_a_time_with_an_offset_ends_a_drain() {
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
    fn a_drain_is_active_until_its_end() {
        let end = UNIX_EPOCH + Duration::from_secs(10);
        assert!(DrainEnd::At(end).is_after(end - Duration::from_nanos(1)));
        assert!(!DrainEnd::At(end).is_after(end));
        assert!(DrainEnd::Never.is_after(end) && DrainEnd::Never > DrainEnd::At(end));
    }

    #[test]
    fn a_formatted_end_is_read_back() {
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
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..MAX_LEN)) {
            parse(&bytes);
        }

        #[test]
        fn any_time_is_read_back(seconds in 0u64..250_000_000_000) {
            let end = DrainEnd::At(UNIX_EPOCH + Duration::from_secs(seconds));
            proptest::prop_assert_eq!(parse(format(end).as_bytes()), end);
        }
    }
}
