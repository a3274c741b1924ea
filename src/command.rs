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
        let words = split(text)?;
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

/// Python's `shlex.split(text)`: POSIX quoting, no comments; only blank, tab, CR and LF separate words.
fn split(text: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next().ok_or(CommandError::Escape)?),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing `quote`. In double quotes a backslash escapes only itself and the quote.
fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), CommandError> {
    while let Some(c) = chars.next() {
        match c {
            _ if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or(CommandError::Escape)? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            _ => word.push(c),
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
            let found = split(&case.r#in).map_err(|error| format!("ValueError: {error}"));
            assert_eq!(found, case.ok.ok_or(case.error.unwrap_or_default()), "{:?}", case.r#in);
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert_eq!(Command::parse(" \n"), Err(CommandError::Empty));
        assert_eq!(Command::parse("'' x"), Err(CommandError::Empty));
        assert_eq!(Command::parse("/bin/true a\0b"), Err(CommandError::Nul));
    }
}
