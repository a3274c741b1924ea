//! Whether BIRD holds the list: the queries that its control socket takes, and what the answers come to.
//!
//! ```text
//!   eval NAME=[10.52.12.1/32,10.52.12.2/32]            is it this list, no more and no less?     where the list is short
//!   eval 10.52.12.1/32~NAME&&10.52.12.9/32!~NAME       are these in it, and those not?           a dozen at a time
//!   eval 10.52.12.1/32~NAME                            is this one in it?                        where the answer was no
//! ```
//!
//! Promises: pure; a request has at most [`MAX_REQUEST_LEN`] bytes; queries change nothing in BIRD, and BIRD 1.6, 2
//! and 3 answer them also on a restricted socket.
//! Leaves out: prefixes that nobody here knows of, where the list is too long for the first query; sending
//! (`bird::protocol::control`).

use std::sync::Arc;

use crate::bird::protocol::framing::Response;
use crate::bird::protocol::outcome::one_line;
use crate::prefix::Prefix;

/// BIRD reads into a buffer of 1024 bytes, and hangs up when that is full.
pub const MAX_REQUEST_LEN: usize = 1000;

/// What BIRD is asked about one list.
#[derive(Clone, Debug)]
pub struct Query {
    variable: String,
    list: Arc<[Prefix]>,
    /// Each prefix that is known, and whether BIRD should hold it.
    asked: Vec<(Prefix, bool)>,
}

/// What BIRD was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryResult {
    /// Of the prefixes that were asked for.
    pub list: Vec<Prefix>,
    /// The first thing in which it differs from what it should be.
    pub difference: Option<Difference>,
}

/// In what BIRD's list differs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// It should be there.
    #[error("BIRD does not list {0}")]
    Missing(Prefix),
    /// It should not be there.
    #[error("BIRD still lists {0}")]
    StillListed(Prefix),
    /// Others than those known are there.
    #[error("BIRD lists prefixes that the file does not list")]
    Unmanaged,
    /// BIRD does not know the constant.
    #[error("BIRD cannot say what {variable} lists: {why}")]
    Unknown {
        /// The constant.
        variable: String,
        /// BIRD's own words.
        why: String,
    },
}

impl Query {
    /// Does BIRD's constant `variable` hold `list`, and none of `others`?
    pub fn new(variable: &str, list: Arc<[Prefix]>, others: impl Iterator<Item = Prefix>) -> Query {
        let asked = list.iter().map(|prefix| (*prefix, true)).chain(others.map(|prefix| (prefix, false))).collect();
        Query { variable: variable.to_string(), list, asked }
    }

    /// The one request that says it all, where it is short enough. An empty list is none that every BIRD could read.
    pub fn full_request(&self) -> Option<String> {
        if self.list.is_empty() || self.list.len() > MAX_REQUEST_LEN {
            return None;
        }
        let list: Vec<String> = self.list.iter().map(Prefix::to_string).collect();
        let request = format!("eval {}=[{}]\n", self.variable, list.join(","));
        (request.len() <= MAX_REQUEST_LEN).then_some(request)
    }

    /// All that is asked, in parts of which each fits into one request, also where its prefixes are asked for one by one.
    pub fn chunks(&self) -> Vec<&[(Prefix, bool)]> {
        let mut parts = Vec::new();
        let (mut start, mut size) = (0, 0);
        for (at, (prefix, _)) in self.asked.iter().enumerate() {
            let length = self.single_request(prefix).len();
            if size + length > MAX_REQUEST_LEN && at > start {
                parts.push(&self.asked[start..at]);
                (start, size) = (at, 0);
            }
            size += length;
        }
        if start < self.asked.len() {
            parts.push(&self.asked[start..]);
        }
        parts
    }

    /// The request whether all of a part is as it should be.
    pub fn chunk_request(&self, part: &[(Prefix, bool)]) -> String {
        let terms = part.iter().map(|(prefix, listed)| {
            let holds = if *listed { "~" } else { "!~" };
            format!("{prefix}{holds}{}", self.variable)
        });
        format!("eval {}\n", terms.collect::<Vec<_>>().join("&&"))
    }

    /// The request whether one prefix is listed.
    pub fn single_request(&self, prefix: &Prefix) -> String {
        format!("eval {prefix}~{}\n", self.variable)
    }

    /// BIRD's yes or no.
    pub fn parse_answer(&self, answer: &Response) -> Result<bool, Difference> {
        let result = answer.result();
        match (result.code, result.text.as_str()) {
            (23, "TRUE") => Ok(true),
            (23, "FALSE") => Ok(false),
            (_, text) => Err(Difference::Unknown { variable: self.variable.clone(), why: one_line(text) }),
        }
    }

    /// What BIRD holds where it is as it should be.
    pub fn expected_result(&self) -> QueryResult {
        QueryResult { list: self.list.to_vec(), difference: None }
    }
}

impl QueryResult {
    /// BIRD said of `prefix`, which it should hold or not, whether it holds it.
    pub fn record(&mut self, (prefix, wanted): (Prefix, bool), found: bool) {
        self.list.extend(found.then_some(prefix));
        if wanted != found && self.difference.is_none() {
            self.difference = Some(if wanted { Difference::Missing(prefix) } else { Difference::StillListed(prefix) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::protocol::framing::Framing;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn query(list: &[&str], others: &[&str]) -> Query {
        Query::new("ACAST", prefixes(list).into(), prefixes(others).into_iter())
    }

    #[test]
    fn requests() {
        let asked = query(&["10.0.0.1", "10.0.0.2"], &["10.0.0.9"]);
        assert_eq!(asked.full_request().unwrap(), "eval ACAST=[10.0.0.1/32,10.0.0.2/32]\n");
        let parts = asked.chunks();
        assert_eq!(parts.len(), 1);
        assert_eq!(asked.chunk_request(parts[0]), "eval 10.0.0.1/32~ACAST&&10.0.0.2/32~ACAST&&10.0.0.9/32!~ACAST\n");
        assert_eq!(asked.single_request(&parts[0][0].0), "eval 10.0.0.1/32~ACAST\n");
        assert_eq!(query(&[], &["10.0.0.9"]).full_request(), None);
        assert!(query(&[], &[]).chunks().is_empty());
    }

    #[test]
    fn no_request_is_too_long_and_none_is_forgotten() {
        let list: Vec<Prefix> =
            (0..10_000).map(|n| format!("2001:db8:1111:2222:3333:4444:5555:{n:x}").parse().unwrap()).collect();
        for variable in ["A", &"V".repeat(64)] {
            let asked = Query::new(variable, list.clone().into(), prefixes(&["10.0.0.9"]).into_iter());
            assert_eq!(asked.full_request(), None);
            let parts = asked.chunks();
            for part in &parts {
                let singles: usize = part.iter().map(|(prefix, _)| asked.single_request(prefix).len()).sum();
                assert!(asked.chunk_request(part).len() <= MAX_REQUEST_LEN && singles <= MAX_REQUEST_LEN);
            }
            assert_eq!(parts.concat(), asked.asked);
            for length in 1..=20 {
                let short = Query::new(variable, list[..length].into(), std::iter::empty());
                assert!(short.full_request().is_none_or(|request| request.len() <= MAX_REQUEST_LEN));
            }
        }
    }

    #[test]
    fn answers() {
        let check = |line: &str, expected: Result<bool, &str>| {
            let mut replies = Vec::new();
            Framing::default().feed(line.as_bytes(), &mut replies).unwrap();
            let found = query(&[], &[]).parse_answer(&replies[0]);
            assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_string), "{line}");
        };
        check("0023 TRUE\n", Ok(true));
        check("0023 FALSE\n", Ok(false));
        check(
            "9001 syntax error, unexpected CF_SYM_UNDEFINED\n",
            Err("BIRD cannot say what ACAST lists: syntax error, unexpected CF_SYM_UNDEFINED"),
        );
        check("9001 TRUE\n", Err("BIRD cannot say what ACAST lists: TRUE"));
        check("0023 [10.0.0.1/32]\n", Err("BIRD cannot say what ACAST lists: [10.0.0.1/32]"));
    }

    #[test]
    fn differences() {
        let [a, b]: [Prefix; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let check = |notes: &[((Prefix, bool), bool)], list: &[Prefix], difference: Option<&str>| {
            let mut holding = QueryResult::default();
            notes.iter().for_each(|(asked, found)| holding.record(*asked, *found));
            assert_eq!(holding.list, list);
            assert_eq!(holding.difference.map(|found| found.to_string()).as_deref(), difference);
        };
        check(&[((a, true), true), ((b, false), false)], &[a], None);
        check(&[((a, true), false), ((b, false), true)], &[b], Some("BIRD does not list 10.0.0.1/32"));
        check(&[((a, true), true), ((b, false), true)], &[a, b], Some("BIRD still lists 10.0.0.2/32"));
    }
}
