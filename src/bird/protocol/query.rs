//! Whether BIRD holds the list: the queries on its control socket, and how the answers are read.
//!
//! ```text
//!   eval NAME=[10.52.12.1/32,10.52.12.2/32]        is it exactly this list?         if it is short
//!   eval 10.52.12.1/32~NAME&&10.52.12.9/32!~NAME   are these in it, and those not?  a dozen at once
//!   eval 10.52.12.1/32~NAME                        is this one in it?               after a "no"
//! ```
//!
//! Guarantees: pure; a request has at most [`MAX_REQUEST_LEN`] bytes; queries change nothing in
//! BIRD, and BIRD 1.6, 2 and 3 answer them on a restricted socket too.
//!
//! Out of scope: prefixes that no service names, if the list is too long for the first query;
//! sending (`bird::protocol::control`).

use std::sync::Arc;

use crate::bird::protocol::framing::Response;
use crate::bird::protocol::outcome::one_line;
use crate::prefix::Prefix;

/// Maximum length of a request. BIRD reads into a buffer of 1024 bytes, and closes the connection
/// when it is full.
pub const MAX_REQUEST_LEN: usize = 1000;

/// What BIRD is asked about one list.
#[derive(Clone, Debug)]
pub struct Query {
    variable: String,
    list: Arc<[Prefix]>,
    /// Each known prefix, and whether BIRD should list it.
    expected: Vec<(Prefix, bool)>,
}

/// What BIRD holds, by its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryResult {
    /// The prefixes of the query that BIRD lists.
    pub list: Vec<Prefix>,
    /// The first difference from the expected list.
    pub difference: Option<Difference>,
}

/// How BIRD's list differs from the expected one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A prefix is missing.
    #[error("BIRD does not list {0}")]
    Missing(Prefix),
    /// A prefix should not be listed.
    #[error("BIRD still lists {0}")]
    StillListed(Prefix),
    /// Prefixes are listed that the query does not name.
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
    /// Asks whether BIRD's constant `variable` holds `list`, and none of `others`.
    pub fn new(variable: &str, list: Arc<[Prefix]>, others: impl Iterator<Item = Prefix>) -> Query {
        let expected = list.iter().map(|prefix| (*prefix, true)).chain(others.map(|prefix| (prefix, false))).collect();
        Query { variable: variable.to_string(), list, expected }
    }

    /// The request for the whole list. None if it would be too long, or if the list is empty, which
    /// not every BIRD can parse.
    pub fn full_request(&self) -> Option<String> {
        if self.list.is_empty() || self.list.len() > MAX_REQUEST_LEN {
            return None;
        }
        let list: Vec<String> = self.list.iter().map(Prefix::to_string).collect();
        let request = format!("eval {}=[{}]\n", self.variable, list.join(","));
        (request.len() <= MAX_REQUEST_LEN).then_some(request)
    }

    /// Splits the prefixes into chunks, so that both the request for a chunk and the requests for
    /// its single prefixes together fit into BIRD's buffer.
    pub fn chunks(&self) -> Vec<&[(Prefix, bool)]> {
        let mut chunks = Vec::new();
        let (mut start, mut size) = (0, 0);
        for (at, (prefix, _)) in self.expected.iter().enumerate() {
            let length = self.single_request(prefix).len();
            if size + length > MAX_REQUEST_LEN && at > start {
                chunks.push(&self.expected[start..at]);
                (start, size) = (at, 0);
            }
            size += length;
        }
        if start < self.expected.len() {
            chunks.push(&self.expected[start..]);
        }
        chunks
    }

    /// The request whether BIRD lists a whole chunk as expected.
    pub fn chunk_request(&self, chunk: &[(Prefix, bool)]) -> String {
        let terms = chunk.iter().map(|(prefix, listed)| {
            let operator = if *listed { "~" } else { "!~" };
            format!("{prefix}{operator}{}", self.variable)
        });
        format!("eval {}\n", terms.collect::<Vec<_>>().join("&&"))
    }

    /// The request whether BIRD lists one prefix.
    pub fn single_request(&self, prefix: &Prefix) -> String {
        format!("eval {prefix}~{}\n", self.variable)
    }

    /// Reads BIRD's yes or no.
    pub fn parse_answer(&self, answer: &Response) -> Result<bool, Difference> {
        let result = answer.result();
        match (result.code, result.text.as_str()) {
            (23, "TRUE") => Ok(true),
            (23, "FALSE") => Ok(false),
            (_, text) => Err(Difference::Unknown { variable: self.variable.clone(), why: one_line(text) }),
        }
    }

    /// The result if BIRD holds the list as expected.
    pub fn expected_result(&self) -> QueryResult {
        QueryResult { list: self.list.to_vec(), difference: None }
    }
}

impl QueryResult {
    /// Records whether BIRD lists `prefix`, and whether it should.
    pub fn record(&mut self, (prefix, expected): (Prefix, bool), listed: bool) {
        self.list.extend(listed.then_some(prefix));
        if expected != listed && self.difference.is_none() {
            self.difference =
                Some(if expected { Difference::Missing(prefix) } else { Difference::StillListed(prefix) });
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
    fn requests_have_birds_syntax() {
        let sample = query(&["10.0.0.1", "10.0.0.2"], &["10.0.0.9"]);
        assert_eq!(sample.full_request().unwrap(), "eval ACAST=[10.0.0.1/32,10.0.0.2/32]\n");
        let chunks = sample.chunks();
        assert_eq!(chunks.len(), 1);
        assert_eq!(sample.chunk_request(chunks[0]), "eval 10.0.0.1/32~ACAST&&10.0.0.2/32~ACAST&&10.0.0.9/32!~ACAST\n");
        assert_eq!(sample.single_request(&chunks[0][0].0), "eval 10.0.0.1/32~ACAST\n");
        assert_eq!(query(&[], &["10.0.0.9"]).full_request(), None);
        assert!(query(&[], &[]).chunks().is_empty());
    }

    #[test]
    fn no_request_is_too_long_and_no_prefix_is_forgotten() {
        let list: Vec<Prefix> =
            (0..10_000).map(|n| format!("2001:db8:1111:2222:3333:4444:5555:{n:x}").parse().unwrap()).collect();
        for variable in ["A", &"V".repeat(64)] {
            let query = Query::new(variable, list.clone().into(), prefixes(&["10.0.0.9"]).into_iter());
            assert_eq!(query.full_request(), None);
            let chunks = query.chunks();
            for chunk in &chunks {
                let singles: usize = chunk.iter().map(|(prefix, _)| query.single_request(prefix).len()).sum();
                assert!(query.chunk_request(chunk).len() <= MAX_REQUEST_LEN && singles <= MAX_REQUEST_LEN);
            }
            assert_eq!(chunks.concat(), query.expected);
            for length in 1..=20 {
                let short = Query::new(variable, list[..length].into(), std::iter::empty());
                assert!(short.full_request().is_none_or(|request| request.len() <= MAX_REQUEST_LEN));
            }
        }
    }

    #[test]
    fn answers_are_read() {
        let check = |line: &str, expected: Result<bool, &str>| {
            let mut replies = Vec::new();
            Framing::default().feed(line.as_bytes(), &mut replies).unwrap();
            let actual = query(&[], &[]).parse_answer(&replies[0]);
            assert_eq!(actual.map_err(|error| error.to_string()), expected.map_err(str::to_string), "{line}");
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
    fn the_first_difference_is_kept() {
        let [a, b]: [Prefix; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let check = |answers: &[((Prefix, bool), bool)], list: &[Prefix], difference: Option<&str>| {
            let mut result = QueryResult::default();
            answers.iter().for_each(|(expected, listed)| result.record(*expected, *listed));
            assert_eq!(result.list, list);
            assert_eq!(result.difference.map(|difference| difference.to_string()).as_deref(), difference);
        };
        check(&[((a, true), true), ((b, false), false)], &[a], None);
        check(&[((a, true), false), ((b, false), true)], &[b], Some("BIRD does not list 10.0.0.1/32"));
        check(&[((a, true), true), ((b, false), true)], &[a, b], Some("BIRD still lists 10.0.0.2/32"));
    }
}
