//! A command such as `check_cmd`, split into words as Python's `shlex.split` splits it, without a
//! shell.
//!
//! Guarantees: pure. A [`Command`] has a program name, and no word contains a NUL byte, so that it
//! can be executed.
//!
//! Out of scope: running it (`sys::process`), and finding the program on this machine
//! (`config::preflight`).

use std::fmt;

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    words: Vec<String>,
}

/// Why a text is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A quote is not closed. The message is Python's.
    #[error("No closing quotation")]
    Quotation,
    /// A backslash is the last character. The message is Python's.
    #[error("No escaped character")]
    Escape,
    /// The program name is missing or empty.
    #[error("it has no program name")]
    Empty,
    /// An argument cannot contain a NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
}

impl Command {
    /// Splits `text` into words and checks that they can be executed.
    pub fn parse(text: &str) -> Result<Command, CommandError> {
        let words: Vec<String> = split(text)?;
        if words.first().is_none_or(String::is_empty) {
            return Err(CommandError::Empty);
        }
        if text.contains('\0') {
            return Err(CommandError::Nul);
        }
        Ok(Command { words })
    }

    /// The name or path of the program, never empty.
    pub fn program(&self) -> &str {
        &self.words[0]
    }

    /// The program and its arguments.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

/// Displays the words joined by blanks, as the original logs a command.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// One word of a command, with and without its quoted characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The argument of the program.
    pub text: String,
    /// The same, with `x` in place of each character that a shell would not interpret, because it
    /// is quoted or escaped.
    pub bare: String,
}

/// Splits `text` as [`Command::parse`] does, and keeps which characters are quoted.
pub fn words(text: &str) -> Result<Vec<Word>, CommandError> {
    split(text)
}

/// Builds a word from its characters.
trait WordBuilder: Default {
    /// Adds a character. `quote` is the quote around it, or the backslash before it.
    fn add(&mut self, c: char, quote: Option<char>);
}

impl WordBuilder for String {
    fn add(&mut self, c: char, _: Option<char>) {
        self.push(c);
    }
}

impl WordBuilder for Word {
    fn add(&mut self, c: char, quote: Option<char>) {
        self.text.push(c);
        let is_interpreted = quote.is_none() || quote == Some('"') && matches!(c, '$' | '`');
        self.bare.push(if is_interpreted { c } else { 'x' });
    }
}

/// Splits as Python's `shlex.split(text)`: POSIX quoting, no comments; blank, tab, CR and LF
/// separate words.
fn split<W: WordBuilder>(text: &str) -> Result<Vec<W>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<W> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => {
                let escaped = chars.next().ok_or(CommandError::Escape)?;
                word.get_or_insert_default().add(escaped, Some('\\'));
            }
            '\'' | '"' => add_quoted(c, &mut chars, word.get_or_insert_default())?,
            _ => word.get_or_insert_default().add(c, None),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Adds the characters up to the closing `quote`. In double quotes a backslash escapes only itself
/// and the quote.
fn add_quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut impl WordBuilder) -> Result<(), CommandError> {
    while let Some(c) = chars.next() {
        match c {
            _ if c == quote => return Ok(()),
            '\\' if quote == '"' => {
                let next = chars.next().ok_or(CommandError::Escape)?;
                if !matches!(next, '"' | '\\') {
                    word.add('\\', Some('\\'));
                }
                word.add(next, Some('\\'));
            }
            _ => word.add(c, Some(quote)),
        }
    }
    Err(CommandError::Quotation)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases in `tests/data/shlex.json` have Python's results.
    #[test]
    fn commands_are_split_as_in_python() {
        #[derive(serde::Deserialize)]
        struct Case {
            r#in: String,
            ok: Option<Vec<String>>,
            error: Option<String>,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/data/shlex.json")).unwrap();
        assert!(cases.len() > 100);
        for case in cases {
            let result = split::<String>(&case.r#in).map_err(|error| format!("ValueError: {error}"));
            assert_eq!(result, case.ok.ok_or(case.error.unwrap_or_default()), "{:?}", case.r#in);
        }
    }

    #[test]
    fn words_keep_which_characters_are_quoted() {
        let words = words("a>b '$c|' \"$d|`\" e\\;f '' \"g\\$h\"").unwrap();
        let bare: Vec<&str> = words.iter().map(|word| &*word.bare).collect();
        assert_eq!(bare, ["a>b", "xxx", "$xx`", "exf", "", "xxxx"]);
        let text: Vec<&str> = words.iter().map(|word| &*word.text).collect();
        assert_eq!(text, ["a>b", "$c|", "$d|`", "e;f", "", "g\\$h"]);
    }

    #[test]
    fn commands_that_cannot_be_executed_are_refused() {
        assert_eq!(Command::parse(" \n"), Err(CommandError::Empty));
        assert_eq!(Command::parse("'' x"), Err(CommandError::Empty));
        assert_eq!(Command::parse("/bin/true a\0b"), Err(CommandError::Nul));
    }
}
