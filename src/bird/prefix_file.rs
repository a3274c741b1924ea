//! The prefix file: the text that BIRD includes, one constant holding one family's list.
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
//! Promises: [`render`] writes the original's bytes; [`parse`] reads them back as they were given; what [`parse`] finds
//! no flaw in, BIRD accepts and exports as listed; it reads any bytes, in linear time, and finds every prefix that is
//! still legible in a broken file.
//! Leaves out: spellings that BIRD takes and Python does not (leading zeros in an address, lengths in hex), which count
//! as flaws, and names that BIRD keeps for itself: the writer compares the variable with the configured one, and the
//! configuration refuses those. An empty list has no flaw, though BIRD takes one only since 2.0.11.

use std::fmt::{self, Write as _};

use crate::prefix::{Family, Prefix, PrefixError};

/// The longest prefix file that is read, in bytes.
pub const MAX_LEN: usize = 4 * 1024 * 1024;

/// The mark of a list that was made from nothing.
const HELD: &str = "# Made from nothing: BIRD is not told of it before each service had time for its first verdict.\n";

/// The text of a prefix file.
///
/// `generated` is the time as `2026-11-22 08:41:54.123456`, `pid` the daemon's.
pub fn render(variable: &str, dummy: Option<&Prefix>, prefixes: &[Prefix], generated: &str, pid: u32) -> String {
    let mut text = format!("# Generated {generated} by anycast-healthchecker (pid={pid})\n");
    render_body(&mut text, variable, dummy, prefixes);
    text
}

/// Marks the text of a list that was made from nothing, as long as BIRD is not told of it: a start that finds the mark
/// must not take the list for what was advertised. It is a comment behind the first line.
pub fn mark_provisional(text: &mut String) {
    let end = text.find('\n').map_or(text.len(), |end| end + 1);
    text.insert_str(end, HELD);
}

/// Whether `bytes` are what [`render`] writes for these arguments, whatever time and process the first line names, and
/// marked where the list is `held`.
pub fn is_canonical(bytes: &[u8], held: bool, variable: &str, dummy: Option<&Prefix>, prefixes: &[Prefix]) -> bool {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return false };
    let (first, rest) = bytes.split_at(end + 1);
    let mut body = String::new();
    render_body(&mut body, variable, dummy, prefixes);
    let marked = rest.strip_prefix(HELD.as_bytes());
    first.starts_with(b"# Generated ") && held == marked.is_some() && marked.unwrap_or(rest) == body.as_bytes()
}

/// What a prefix file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixFile {
    /// The constant's name, quotes included where it has some; none where the file defines nothing.
    pub variable: Option<String>,
    /// The family's prefixes in order, duplicates included: the list where there is no flaw, else all that are legible.
    pub prefixes: Vec<Prefix>,
    /// The first thing that keeps BIRD from reading the file as this list.
    pub flaw: Option<Flaw>,
    /// It is marked as made from nothing, see [`mark_provisional`].
    pub provisional: bool,
}

/// Why BIRD would refuse the file, or read it and export something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing but blanks and comments.
    #[error("it is empty")]
    Empty,
    /// It stops before the constant is complete.
    #[error("it ends where {expected} should follow")]
    CutOff {
        /// What is missing.
        expected: &'static str,
    },
    /// Anything else that does not belong where it stands.
    #[error("line {line}: {found} stands where {expected} should")]
    Unexpected {
        /// Counted from 1.
        line: usize,
        /// What stands there, escaped and short.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// An entry that is no prefix.
    #[error("line {line}: {source}")]
    Prefix {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: PrefixError,
    },
    /// An entry of the other family.
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

/// Reads the prefix file of `family`.
pub fn parse(bytes: &[u8], family: Family) -> PrefixFile {
    let tokens = Tokens { bytes, at: 0, line: 1 };
    let variable = tokens.zip(tokens.skip(1)).find_map(|pair| match (pair.0.kind, pair.1.kind) {
        (Kind::Word("define"), Kind::Word(name)) => Some(name.to_string()),
        _ => None,
    });
    let (prefixes, flaw) = match sound(tokens, family) {
        Ok(prefixes) => (prefixes, None),
        Err(flaw) => (legible(tokens, family), Some(flaw)),
    };
    let provisional = bytes.split_inclusive(|byte| *byte == b'\n').any(|line| line == HELD.as_bytes());
    PrefixFile { variable, prefixes, flaw, provisional }
}

/// Everything behind the first line.
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

/// A piece of the file between blanks and comments.
#[derive(Clone, Copy)]
struct Token<'a> {
    line: usize,
    kind: Kind<'a>,
    /// Nothing follows it, not even a blank: it may have been longer.
    at_end: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind<'a> {
    /// Names, addresses, numbers: printable ASCII without the marks.
    Word(&'a str),
    /// One of `MARKS`.
    Mark(u8),
    /// A byte that BIRD has no use for outside comments, a comment that is not closed or holds another, a giant word.
    Alien,
}

/// What separates words and means something itself.
const MARKS: &[u8] = b"=[],;/";

/// A name has 64 bytes and two quotes at most, an address 45; anything longer is none, and need not fill a log.
const LONGEST_WORD: usize = 66;

/// The tokens from a place in the file on, read one by one: a list of them would take forty times the file's memory.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
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
            let rest = &self.bytes[self.at..];
            let line = self.line;
            let (length, kind) = match *rest.first()? {
                b' ' | b'\t' | b'\n' => (1, None),
                b'#' => (rest.iter().take_while(|byte| **byte != b'\n').count(), None),
                b'/' if rest.get(1) == Some(&b'*') => comment(rest),
                byte if MARKS.contains(&byte) => (1, Some(Kind::Mark(byte))),
                byte if is_word(byte) => {
                    let length = rest.iter().take_while(|byte| is_word(**byte)).count();
                    let word = std::str::from_utf8(&rest[..length]).ok().filter(|_| length <= LONGEST_WORD);
                    (length, Some(word.map_or(Kind::Alien, Kind::Word)))
                }
                _ => (1, Some(Kind::Alien)),
            };
            self.line += rest[..length].iter().filter(|byte| **byte == b'\n').count();
            self.at += length;
            if let Some(kind) = kind {
                return Some(Token { line, kind, at_end: self.at == self.bytes.len() });
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_graphic() && !MARKS.contains(&byte) && byte != b'#' && byte != b'"'
}

/// The length of a `/* comment */`; BIRD refuses one inside another.
fn comment(bytes: &[u8]) -> (usize, Option<Kind<'static>>) {
    match bytes[2..].windows(2).position(|pair| pair == b"*/") {
        None => (bytes.len(), Some(Kind::Alien)),
        Some(end) => {
            let nested = bytes[2..2 + end + 1].windows(2).any(|pair| pair == b"/*");
            (end + 4, nested.then_some(Kind::Alien))
        }
    }
}

/// Every prefix of the family, wherever it stands and however Python spells it; a bare address is one of full length.
/// Where the end of the file cuts an entry off, it counts only with its length.
fn legible(mut tokens: Tokens<'_>, family: Family) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = Vec::new();
    while let Some(first) = tokens.next() {
        let Kind::Word(address) = first.kind else { continue };
        let mut ahead = tokens;
        let slash = ahead.next().is_some_and(|token| token.kind == Kind::Mark(b'/'));
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

/// The prefixes of a file that is `define NAME = [ PREFIX, ... ];` as a whole.
fn sound(tokens: Tokens<'_>, family: Family) -> Result<Vec<Prefix>, Flaw> {
    let mut prefixes = Vec::new();
    if tokens.peek().is_none() {
        return Err(Flaw::Empty);
    }
    let mut rest = Rest(tokens);
    rest.word("'define'", |word| word == "define")?;
    rest.word("the constant's name", is_name)?;
    rest.mark("'='", b"=")?;
    rest.mark("'['", b"[")?;
    let mut separator = rest.mark("']'", b"]").unwrap_or(b',');
    while separator == b',' {
        let line = rest.0.peek().map_or(0, |token| token.line);
        let address = rest.word("a prefix", |_| true)?;
        // A bare address makes a set of addresses, which matches no route: accepted and useless.
        rest.mark("'/' and a prefix length", b"/")?;
        // A netmask is none: only Python takes it for a length.
        let length = rest.word("a prefix length in digits", |word| word.bytes().all(|byte| byte.is_ascii_digit()))?;
        let prefix: Prefix = format!("{address}/{length}").parse().map_err(|source| Flaw::Prefix { line, source })?;
        if prefix.family() != family {
            return Err(Flaw::Family { line, prefix, family });
        }
        prefixes.push(prefix);
        separator = rest.mark("',' or ']'", b",]")?;
    }
    rest.mark("';'", b";")?;
    while rest.0.peek().is_some() {
        rest.mark("the end of the file", b";")?;
    }
    Ok(prefixes)
}

/// `A_1`, or `'A-B.C:D'` in quotes.
fn is_name(word: &str) -> bool {
    let quoted = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\''));
    let name = quoted.unwrap_or(word);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || quoted.is_some() && b"-.:".contains(&byte);
    let number = quoted.is_none() && name.starts_with(|first: char| first.is_ascii_digit());
    (1..=64).contains(&name.len()) && name.bytes().all(fits) && !number
}

/// What is still to be read.
struct Rest<'a>(Tokens<'a>);

impl<'a> Rest<'a> {
    fn word(&mut self, expected: &'static str, fits: impl Fn(&str) -> bool) -> Result<&'a str, Flaw> {
        self.take(
            expected,
            |kind| if let Kind::Word(word) = kind { Some(word).filter(|word| fits(word)) } else { None },
        )
    }

    /// One of several marks.
    fn mark(&mut self, expected: &'static str, marks: &[u8]) -> Result<u8, Flaw> {
        self.take(expected, |kind| {
            if let Kind::Mark(mark) = kind {
                Some(mark).filter(|mark| marks.contains(mark))
            } else {
                None
            }
        })
    }

    /// The next token where it fits, else the flaw.
    fn take<T>(&mut self, expected: &'static str, pick: impl Fn(Kind<'a>) -> Option<T>) -> Result<T, Flaw> {
        let mut tail = self.0;
        let first = tail.next().ok_or(Flaw::CutOff { expected })?;
        let found = || Flaw::Unexpected { line: first.line, found: first.kind.to_string(), expected };
        let picked = pick(first.kind).ok_or_else(found)?;
        self.0 = tail;
        Ok(picked)
    }
}

/// For a sentence.
impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Word(word) => write!(f, "'{word}'"),
            Kind::Mark(mark) => write!(f, "'{}'", char::from(*mark)),
            Kind::Alien => f.write_str("something BIRD cannot read"),
        }
    }
}

#[cfg(test)]
mod tests;
