//! The name of the list in a prefix file: what BIRD reads as the name of a constant.
//!
//! Promises: an accepted name is taken by BIRD 1.6, 2 and 3 alike.
//! Leaves out: names that bird.conf itself uses, for a table or a protocol.

/// Words that BIRD keeps for itself: keywords, enumerations, tables that are always there. Found by asking BIRD 1.6.8
/// (both daemons) and 2.0.12 to define each word that stands in them.
const BIRDS_OWN: &str = include_str!("bird_words.txt");

/// The longest name, in bytes.
const LONGEST: usize = 64;

/// From this length on, BIRD takes a name of hexadecimal digits only for a string of bytes.
const BYTES: usize = 20;

/// Why BIRD cannot read a text as a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymbolError {
    /// Other characters than a name may have.
    #[error("must be a name that BIRD can read: letters, digits and _, with no digit first (or, in single quotes, also - . and :)")]
    Characters,
    /// Too long.
    #[error("must be {LONGEST} bytes long at most, or BIRD cannot read it")]
    Length,
    /// A word of BIRD's language.
    #[error("must not be a word that BIRD keeps for itself")]
    Word,
    /// A string of bytes.
    #[error("must not be {BYTES} or more hexadecimal digits: BIRD takes that for a string of bytes")]
    Bytes,
}

/// Checks that BIRD can read `text` as the name of a constant.
pub fn check(text: &str) -> Result<(), SymbolError> {
    let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let name = quoted.unwrap_or(text);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || quoted.is_some() && "-.:".contains(c);
    let digit_first = quoted.is_none() && name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || digit_first || !name.chars().all(fits) {
        return Err(SymbolError::Characters);
    }
    if name.len() > LONGEST {
        return Err(SymbolError::Length);
    }
    if quoted.is_none() && BIRDS_OWN.split_whitespace().any(|word| word == name) {
        return Err(SymbolError::Word);
    }
    if quoted.is_none() && name.len() >= BYTES && name.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(SymbolError::Bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::SymbolError::{Bytes, Characters, Length, Word};
    use super::*;

    #[test]
    fn names_that_bird_reads() {
        fn check(text: &str, expected: Result<(), SymbolError>) {
            assert_eq!(super::check(text), expected, "{text:?}");
        }
        for text in
            ["ACAST_PS_ADVERTISE", "_a", "A1", "ROUTER", "BGP", "'A-B.C:D'", "'1'", &"A".repeat(19), &"X".repeat(64)]
        {
            check(text, Ok(()));
        }
        for text in ["", "1A", "A-B", "A.B", "A$", "Ä", "A B", "''", "'A", "'A B'", "A\n", "[]"] {
            check(text, Err(Characters));
        }
        check(&"X".repeat(65), Err(Length));
        for text in ["export", "net", "bgp", "table", "if", "hello", "RTS_BGP", "master4"] {
            check(text, Err(Word));
        }
        check(&"A".repeat(20), Err(Bytes));
    }
}
