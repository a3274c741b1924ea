//! Checks names of BIRD constants, which hold the list in a prefix file.
//!
//! Guarantees: pure. BIRD 1.6, 2 and 3 accept every name that is accepted here.
//!
//! Out of scope: names that bird.conf uses for other things, such as tables and protocols.

/// BIRD's reserved words: keywords, enumerations, predefined tables. Found by letting BIRD 1.6.8
/// (both daemons) and 2.0.12 define each word that their binaries contain.
const RESERVED_WORDS: &str = include_str!("bird_reserved_words.txt");

/// Upper bound on a name, in bytes.
const MAX_LEN: usize = 64;

/// BIRD reads hexadecimal digits of this length or more as a byte string.
const MIN_BYTE_STRING_LEN: usize = 20;

/// Why a text is not the name of a BIRD constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymbolError {
    /// It has other characters than a name may have.
    #[error("must be the name of a BIRD constant: letters, digits and _, with no digit first (in single quotes also - . and :)")]
    Characters,
    /// It is too long.
    #[error("must be at most {MAX_LEN} bytes long, or BIRD cannot read it")]
    TooLong,
    /// It is a word of BIRD's language.
    #[error("must not be a reserved word of BIRD")]
    Reserved,
    /// It is a byte string.
    #[error("must not be {MIN_BYTE_STRING_LEN} or more hexadecimal digits, which BIRD reads as a byte string")]
    ByteString,
}

/// Checks that `text` is the name of a BIRD constant.
pub fn check(text: &str) -> Result<(), SymbolError> {
    let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let name = quoted.unwrap_or(text);
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || quoted.is_some() && "-.:".contains(c);
    let starts_with_digit = quoted.is_none() && name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || starts_with_digit || !name.chars().all(is_allowed) {
        return Err(SymbolError::Characters);
    }
    if name.len() > MAX_LEN {
        return Err(SymbolError::TooLong);
    }
    if quoted.is_none() && RESERVED_WORDS.split_whitespace().any(|word| word == name) {
        return Err(SymbolError::Reserved);
    }
    if quoted.is_none() && name.len() >= MIN_BYTE_STRING_LEN && name.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(SymbolError::ByteString);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::SymbolError::{ByteString, Characters, Reserved, TooLong};
    use super::*;

    #[test]
    fn names_of_constants_are_accepted_as_by_bird() {
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
        check(&"X".repeat(65), Err(TooLong));
        for text in ["export", "net", "bgp", "table", "if", "hello", "RTS_BGP", "master4"] {
            check(text, Err(Reserved));
        }
        check(&"A".repeat(20), Err(ByteString));
    }
}
