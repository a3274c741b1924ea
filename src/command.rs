//! A command line: what `check_cmd` and its kin hold, split into words as Python's `shlex.split` splits it. No shell.
//!
//! Promises: a [`Command`] has a program name, and no word holds a NUL byte, so that it can be handed to the kernel.
//! Leaves out: running it (`sys::process`), and finding the program on this machine (`config::preflight`).

use std::fmt;

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    words: Vec<String>,
}

/// Why a text is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A quote is opened and never closed. The texts of these two are Python's.
    #[error("No closing quotation")]
    Quotation,
    /// A backslash stands at the very end.
    #[error("No escaped character")]
    Escape,
    /// Nothing, or an empty word where the program's name should be.
    #[error("it names no program")]
    Empty,
    /// A NUL byte, which no argument can hold.
    #[error("it holds a NUL byte")]
    Nul,
}

impl Command {
    /// Splits `text` into words and checks that they can be run.
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

    /// The program's name or path, never empty.
    pub fn program(&self) -> &str {
        &self.words[0]
    }

    /// The program and its arguments.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

/// The words joined by blanks, as the original logs a command.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// One word of a command line, with and without its quoted characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The argument that the program gets.
    pub text: String,
    /// The same with `x` in place of each character that is quoted or escaped for a shell.
    pub bare: String,
}

/// Splits `text` as [`Command::parse`] does, and keeps what is outside quotes.
pub fn words(text: &str) -> Result<Vec<Word>, CommandError> {
    split(text)
}

/// Collects the characters of a word.
trait Characters: Default {
    /// Adds a character. `quote` is the quote around it, or the backslash before it.
    fn add(&mut self, c: char, quote: Option<char>);
}

impl Characters for String {
    fn add(&mut self, c: char, _: Option<char>) {
        self.push(c);
    }
}

impl Characters for Word {
    fn add(&mut self, c: char, quote: Option<char>) {
        self.text.push(c);
        let counts = quote.is_none() || quote == Some('"') && matches!(c, '$' | '`');
        self.bare.push(if counts { c } else { 'x' });
    }
}

/// Python's `shlex.split(text)`: POSIX quoting, no comments; only blank, tab, CR and LF separate words.
fn split<W: Characters>(text: &str) -> Result<Vec<W>, CommandError> {
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
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            _ => word.get_or_insert_default().add(c, None),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing `quote`. In double quotes a backslash escapes only itself and the quote.
fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut impl Characters) -> Result<(), CommandError> {
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

    /// `tests/data/shlex.json`: what Python makes of hand-made strings.
    #[test]
    fn splits_as_python_does() {
        #[derive(serde::Deserialize)]
        struct Case {
            r#in: String,
            ok: Option<Vec<String>>,
            error: Option<String>,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/data/shlex.json")).unwrap();
        assert!(cases.len() > 100);
        for case in cases {
            let found = split::<String>(&case.r#in).map_err(|error| format!("ValueError: {error}"));
            assert_eq!(found, case.ok.ok_or(case.error.unwrap_or_default()), "{:?}", case.r#in);
        }
    }

    #[test]
    fn what_stands_outside_quotes_is_kept() {
        let found = words("a>b '$c|' \"$d|`\" e\\;f '' \"g\\$h\"").unwrap();
        let bare: Vec<&str> = found.iter().map(|word| &*word.bare).collect();
        assert_eq!(bare, ["a>b", "xxx", "$xx`", "exf", "", "xxxx"]);
        let text: Vec<&str> = found.iter().map(|word| &*word.text).collect();
        assert_eq!(text, ["a>b", "$c|", "$d|`", "e;f", "", "g\\$h"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert_eq!(Command::parse(" \n"), Err(CommandError::Empty));
        assert_eq!(Command::parse("'' x"), Err(CommandError::Empty));
        assert_eq!(Command::parse("/bin/true a\0b"), Err(CommandError::Nul));
    }
}
