//! The text of the prefix file, which BIRD includes: one constant with the list of one family.
//!
//! ```text
//! # Generated 2026-11-22 08:41:54.123456 by anycast-healthchecker (pid=123)
//! # 10.189.200.255/32 is a dummy IP Prefix. It should NOT be used and REMOVED from the constant.
//! define ACAST_PS_ADVERTISE =
//!     [
//!         10.189.200.255/32,
//!         10.52.12.1/32
//!     ];
//! ```
//!
//! Guarantees: [`render`] writes the original's bytes, and [`parse`] reads them back unchanged.
//! BIRD accepts a file without a flaw and exports exactly its list. [`parse`] reads any bytes, in
//! linear time, and finds every prefix that is still legible in a broken file.
//!
//! Out of scope: spellings that BIRD accepts and Python does not (leading zeros in an address,
//! lengths in hex), which count as flaws; names that BIRD reserves: the configuration refuses them,
//! and the writer compares the variable with the configured one. An empty list has no flaw,
//! although BIRD accepts one only since 2.0.11.

use std::fmt::{self, Write as _};

use crate::prefix::{Family, Prefix, PrefixError};

/// Maximum length of a prefix file in bytes.
pub const MAX_LEN: usize = 4 * 1024 * 1024;

/// The comment line that marks a provisional list. Older versions recognize it by these bytes, so
/// they must not change.
const PROVISIONAL_MARK: &str =
    "# Made from nothing: BIRD is not told of it before each service had time for its first verdict.\n";

/// Renders the text of a prefix file.
///
/// `generated` is the time as `2026-11-22 08:41:54.123456`, and `pid` is the daemon's.
pub fn render(variable: &str, dummy: Option<&Prefix>, prefixes: &[Prefix], generated: &str, pid: u32) -> String {
    let mut text = format!("# Generated {generated} by anycast-healthchecker (pid={pid})\n");
    render_body(&mut text, variable, dummy, prefixes);
    text
}

/// Marks the text as a provisional list, by a comment after the first line. The mark stays until
/// the list goes to BIRD: a start that finds it must not treat the list as advertised.
pub fn mark_provisional(text: &mut String) {
    let end = text.find('\n').map_or(text.len(), |end| end + 1);
    text.insert_str(end, PROVISIONAL_MARK);
}

/// Whether `bytes` are what [`render`] writes for these arguments, for any time and process in the
/// first line, and have the mark exactly if the list is `provisional`.
pub fn is_canonical(
    bytes: &[u8],
    provisional: bool,
    variable: &str,
    dummy: Option<&Prefix>,
    prefixes: &[Prefix],
) -> bool {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return false };
    let (first, rest) = bytes.split_at(end + 1);
    let mut body = String::new();
    render_body(&mut body, variable, dummy, prefixes);
    let after_mark = rest.strip_prefix(PROVISIONAL_MARK.as_bytes());
    first.starts_with(b"# Generated ")
        && provisional == after_mark.is_some()
        && after_mark.unwrap_or(rest) == body.as_bytes()
}

/// The parsed content of a prefix file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixFile {
    /// The constant's name with its quotes, if it has any. None if the file defines no constant.
    pub variable: Option<String>,
    /// The family's prefixes in order, with duplicates: the list if there is no flaw, else all that
    /// are legible.
    pub prefixes: Vec<Prefix>,
    /// The first problem that keeps BIRD from reading the file as this list.
    pub flaw: Option<Flaw>,
    /// The list is marked as provisional, see [`mark_provisional`].
    pub provisional: bool,
}

/// Why BIRD would refuse the file, or export another list than this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The file has only blanks and comments.
    #[error("it is empty")]
    Empty,
    /// The file ends before the constant is complete.
    #[error("it ends where {expected} should follow")]
    CutOff {
        /// What is missing.
        expected: &'static str,
    },
    /// A token is out of place.
    #[error("line {line}: {found} stands where {expected} should")]
    Unexpected {
        /// Counted from 1.
        line: usize,
        /// The token, escaped and short.
        found: String,
        /// What should be in its place.
        expected: &'static str,
    },
    /// An entry is not a prefix.
    #[error("line {line}: {source}")]
    Prefix {
        /// Counted from 1.
        line: usize,
        /// The entry's error.
        source: PrefixError,
    },
    /// An entry belongs to the other family.
    #[error("line {line}: {prefix} does not belong into a list of {family} prefixes")]
    Family {
        /// Counted from 1.
        line: usize,
        /// The entry.
        prefix: Prefix,
        /// The family of the list.
        family: Family,
    },
}

/// Parses the prefix file of `family`.
pub fn parse(bytes: &[u8], family: Family) -> PrefixFile {
    let tokens = Tokens { bytes, position: 0, line: 1 };
    let variable = tokens.zip(tokens.skip(1)).find_map(|pair| match (pair.0.kind, pair.1.kind) {
        (Kind::Word("define"), Kind::Word(name)) => Some(name.to_string()),
        _ => None,
    });
    let (prefixes, flaw) = match parse_strict(tokens, family) {
        Ok(prefixes) => (prefixes, None),
        Err(flaw) => (salvage(tokens, family), Some(flaw)),
    };
    let provisional = bytes.split_inclusive(|byte| *byte == b'\n').any(|line| line == PROVISIONAL_MARK.as_bytes());
    PrefixFile { variable, prefixes, flaw, provisional }
}

/// Appends everything after the first line.
fn render_body(text: &mut String, variable: &str, dummy: Option<&Prefix>, prefixes: &[Prefix]) {
    // Writing to a String cannot fail.
    let _ = match dummy {
        Some(dummy) => {
            writeln!(text, "# {dummy} is a dummy IP Prefix. It should NOT be used and REMOVED from the constant.")
        }
        None => writeln!(text, "# No dummy IP Prefix is configured. The constant is empty while no service is up."),
    };
    let _ = write!(text, "define {variable} =\n    [");
    for (n, prefix) in prefixes.iter().enumerate() {
        let _ = write!(text, "{}\n        {prefix}", if n == 0 { "" } else { "," });
    }
    text.push_str(if prefixes.is_empty() { " ];\n" } else { "\n    ];\n" });
}

/// A word or a punctuation mark of the file.
#[derive(Clone, Copy)]
struct Token<'a> {
    line: usize,
    kind: Kind<'a>,
    /// It ends at the end of the file, so it may be cut off.
    at_end: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind<'a> {
    /// A name, address or number: printable ASCII without punctuation.
    Word(&'a str),
    /// One of [`PUNCTUATION`].
    Punctuation(u8),
    /// A byte that BIRD does not accept outside comments, an unclosed or nested comment, or a word
    /// of more than [`MAX_WORD_LEN`] bytes.
    Invalid,
}

/// Bytes that are tokens of their own.
const PUNCTUATION: &[u8] = b"=[],;/";

/// Maximum length of a word. A name has at most 64 bytes and two quotes, an address 45; anything
/// longer is invalid and must not fill the log.
const MAX_WORD_LEN: usize = 66;

/// Iterates over the tokens from a position in the file. A list of all tokens would take forty
/// times the memory of the file.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    bytes: &'a [u8],
    position: usize,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn peek(mut self) -> Option<Token<'a>> {
        self.next()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.bytes[self.position..];
            let line = self.line;
            let (length, kind) = match *rest.first()? {
                b' ' | b'\t' | b'\n' => (1, None),
                b'#' => (rest.iter().take_while(|byte| **byte != b'\n').count(), None),
                b'/' if rest.get(1) == Some(&b'*') => scan_comment(rest),
                byte if PUNCTUATION.contains(&byte) => (1, Some(Kind::Punctuation(byte))),
                byte if is_word(byte) => {
                    let length = rest.iter().take_while(|byte| is_word(**byte)).count();
                    let word = std::str::from_utf8(&rest[..length]).ok().filter(|_| length <= MAX_WORD_LEN);
                    (length, Some(word.map_or(Kind::Invalid, Kind::Word)))
                }
                _ => (1, Some(Kind::Invalid)),
            };
            self.line += rest[..length].iter().filter(|byte| **byte == b'\n').count();
            self.position += length;
            if let Some(kind) = kind {
                return Some(Token { line, kind, at_end: self.position == self.bytes.len() });
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_graphic() && !PUNCTUATION.contains(&byte) && byte != b'#' && byte != b'"'
}

/// The length of a `/* comment */`, and its kind if it is invalid: BIRD does not nest comments.
fn scan_comment(bytes: &[u8]) -> (usize, Option<Kind<'static>>) {
    match bytes[2..].windows(2).position(|pair| pair == b"*/") {
        None => (bytes.len(), Some(Kind::Invalid)),
        Some(end) => {
            let nested = bytes[2..2 + end + 1].windows(2).any(|pair| pair == b"/*");
            (end + 4, nested.then_some(Kind::Invalid))
        }
    }
}

/// Finds every prefix of the family anywhere in the file, in any spelling of Python. A bare address
/// has the full length. An entry at the end of the file counts only with its length, because it may
/// be cut off.
fn salvage(mut tokens: Tokens<'_>, family: Family) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = Vec::new();
    while let Some(first) = tokens.next() {
        let Kind::Word(address) = first.kind else { continue };
        let mut ahead = tokens;
        let slash = ahead.next().is_some_and(|token| token.kind == Kind::Punctuation(b'/'));
        let prefix = match ahead.next().map(|token| token.kind) {
            Some(Kind::Word(length)) if slash => format!("{address}/{length}").parse().ok(),
            _ if slash || first.at_end => None,
            _ => address.parse().ok(),
        };
        if slash && prefix.is_some() {
            tokens = ahead;
        }
        prefixes.extend(prefix.filter(|prefix: &Prefix| prefix.family() == family));
    }
    prefixes
}

/// Parses a file that consists of `define NAME = [ PREFIX, ... ];`.
fn parse_strict(tokens: Tokens<'_>, family: Family) -> Result<Vec<Prefix>, Flaw> {
    let mut prefixes = Vec::new();
    if tokens.peek().is_none() {
        return Err(Flaw::Empty);
    }
    let mut parser = Parser(tokens);
    parser.word("'define'", |word| word == "define")?;
    parser.word("the constant's name", is_name)?;
    parser.punctuation("'='", b"=")?;
    parser.punctuation("'['", b"[")?;
    let mut separator = parser.punctuation("']'", b"]").unwrap_or(b',');
    while separator == b',' {
        let line = parser.0.peek().map_or(0, |token| token.line);
        let address = parser.word("a prefix", |_| true)?;
        // BIRD accepts a bare address, but the list is then a set of addresses and matches no
        // route.
        parser.punctuation("'/' and a prefix length", b"/")?;
        // Only Python accepts a netmask here.
        let length = parser.word("a prefix length in digits", |word| word.bytes().all(|byte| byte.is_ascii_digit()))?;
        let prefix: Prefix = format!("{address}/{length}").parse().map_err(|source| Flaw::Prefix { line, source })?;
        if prefix.family() != family {
            return Err(Flaw::Family { line, prefix, family });
        }
        prefixes.push(prefix);
        separator = parser.punctuation("',' or ']'", b",]")?;
    }
    parser.punctuation("';'", b";")?;
    while parser.0.peek().is_some() {
        parser.punctuation("the end of the file", b";")?;
    }
    Ok(prefixes)
}

/// Whether the word is a name: `A_1`, or in quotes `'A-B.C:D'`.
fn is_name(word: &str) -> bool {
    let quoted = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\''));
    let name = quoted.unwrap_or(word);
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || quoted.is_some() && b"-.:".contains(&byte);
    let starts_with_digit = quoted.is_none() && name.starts_with(|first: char| first.is_ascii_digit());
    (1..=64).contains(&name.len()) && name.bytes().all(is_allowed) && !starts_with_digit
}

/// Consumes the expected tokens one by one.
struct Parser<'a>(Tokens<'a>);

impl<'a> Parser<'a> {
    /// Consumes a word that fits.
    fn word(&mut self, expected: &'static str, fits: impl Fn(&str) -> bool) -> Result<&'a str, Flaw> {
        self.take(
            expected,
            |kind| if let Kind::Word(word) = kind { Some(word).filter(|word| fits(word)) } else { None },
        )
    }

    /// Consumes one of several punctuation marks.
    fn punctuation(&mut self, expected: &'static str, allowed: &[u8]) -> Result<u8, Flaw> {
        self.take(expected, |kind| {
            if let Kind::Punctuation(mark) = kind {
                Some(mark).filter(|mark| allowed.contains(mark))
            } else {
                None
            }
        })
    }

    /// Consumes the next token if `pick` accepts it, else returns the flaw.
    fn take<T>(&mut self, expected: &'static str, pick: impl Fn(Kind<'a>) -> Option<T>) -> Result<T, Flaw> {
        let mut tail = self.0;
        let first = tail.next().ok_or(Flaw::CutOff { expected })?;
        let unexpected = || Flaw::Unexpected { line: first.line, found: first.kind.to_string(), expected };
        let picked = pick(first.kind).ok_or_else(unexpected)?;
        self.0 = tail;
        Ok(picked)
    }
}

/// Formats the token for a sentence.
impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Word(word) => write!(f, "'{word}'"),
            Kind::Punctuation(mark) => write!(f, "'{}'", char::from(*mark)),
            Kind::Invalid => f.write_str("something BIRD cannot read"),
        }
    }
}

#[cfg(test)]
mod tests;
