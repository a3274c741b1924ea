//! Lints of text that is not what it looks like: comments, quotes, blanks, indentation.
//!
//! Promises and leaves out: as `config::lint`.

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{header_name, Continuation};
use crate::config::options::{find, Kind, Scope};

use super::{Files, Findings, ConfiguredOption};

pub(super) fn trailing_comments(files: &Files<'_>, findings: &mut Findings) {
    for own in files.configured_options() {
        if let Some(comment) = comment(&own) {
            findings.say(own.place(), &[&comment]);
        }
    }
}

/// The first two words of a comment behind the value.
fn comment(own: &ConfiguredOption<'_>) -> Option<String> {
    let words: Vec<(String, String)> = match own.words().filter(|_| own.option.kind == Kind::Command) {
        Some(words) => words.into_iter().map(|word| (word.bare, word.text)).collect(),
        None => own.value.split_whitespace().map(|word| (word.to_string(), word.to_string())).collect(),
    };
    let at = words.iter().skip(1).position(|(bare, _)| bare.starts_with(['#', ';']))? + 1;
    let mark = &words[at].0;
    // `words::shell_words` tells of a `;` between two commands or at the end.
    let next = words.get(at + 1).map_or("", |(bare, _)| bare);
    if own.option.kind == Kind::Command && mark.starts_with(';') {
        let command = |text: &str| text.is_empty() || super::words::begins_command(text);
        if command(mark.trim_start_matches(';')) && (mark.len() > 1 || command(next)) {
            return None;
        }
    }
    let shown: Vec<&str> = words[at..].iter().take(2).map(|(_, text)| &**text).collect();
    Some(shown.join(" "))
}

/// Quotes are removed around the words of a command only.
pub(super) fn quoted_values(files: &Files<'_>, findings: &mut Findings) {
    for own in files.configured_options().filter(|own| is_quoted(&own.value)) {
        match own.option.kind {
            Kind::Text | Kind::AnyText | Kind::Path => findings.say(own.place(), &["are part of the value"]),
            Kind::Command if own.words().is_some_and(|words| words.len() == 1 && words[0].text.contains(' ')) => {
                findings.say(own.place(), &["make one word of the command, which is then the name of the program"]);
            }
            _ => {}
        }
    }
}

fn is_quoted(value: &str) -> bool {
    ['"', '\''].iter().any(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote))
}

/// Characters that word processors and web pages put in place of plain ones, and the remedy.
const LOOKALIKES: [(char, &str, &str); 22] = [
    ('\u{201c}', "U+201C, a typographic quote", "write a plain \" instead"),
    ('\u{201d}', "U+201D, a typographic quote", "write a plain \" instead"),
    ('\u{201e}', "U+201E, a typographic quote", "write a plain \" instead"),
    ('\u{201f}', "U+201F, a typographic quote", "write a plain \" instead"),
    ('\u{ab}', "U+00AB, a typographic quote", "write a plain \" instead"),
    ('\u{bb}', "U+00BB, a typographic quote", "write a plain \" instead"),
    ('\u{2018}', "U+2018, a typographic quote", "write a plain ' instead"),
    ('\u{2019}', "U+2019, a typographic quote", "write a plain ' instead"),
    ('\u{201a}', "U+201A, a typographic quote", "write a plain ' instead"),
    ('\u{2010}', "U+2010, a typographic hyphen", "write - instead"),
    ('\u{2011}', "U+2011, a typographic hyphen", "write - instead"),
    ('\u{2013}', "U+2013, a typographic dash", "write - or -- instead"),
    ('\u{2014}', "U+2014, a typographic dash", "write - or -- instead"),
    ('\u{2212}', "U+2212, a minus sign", "write - instead"),
    ('\u{a0}', "U+00A0, a blank that separates no words", "write a plain blank instead"),
    ('\u{2007}', "U+2007, a blank that separates no words", "write a plain blank instead"),
    ('\u{202f}', "U+202F, a blank that separates no words", "write a plain blank instead"),
    ('\u{ad}', "U+00AD, an invisible hyphen", "remove it"),
    ('\u{200b}', "U+200B, an invisible character", "remove it"),
    ('\u{200c}', "U+200C, an invisible character", "remove it"),
    ('\u{200d}', "U+200D, an invisible character", "remove it"),
    ('\u{feff}', "U+FEFF, an invisible character", "remove it"),
];

pub(super) fn lookalikes(files: &Files<'_>, findings: &mut Findings) {
    for own in files.configured_options() {
        // Visible characters within plain quotes are meant.
        let bare = own.words().filter(|_| own.option.kind == Kind::Command).map(|words| {
            let hidden = |c: char| is_invisible(c);
            let of_word = |word: crate::command::Word| word.bare + &word.text.replace(|c| !hidden(c), "");
            words.into_iter().map(of_word).collect::<Vec<_>>().concat()
        });
        if let Some((what, plain)) = lookalike(bare.as_deref().unwrap_or(&own.value)) {
            findings.say(own.place(), &[what, plain]);
        }
    }
    // In a name they make an unknown option or another section.
    for section in std::iter::once(files.ini.default_section()).chain(files.ini.sections()) {
        if let Some((what, plain)) = lookalike(&section.name) {
            let place = Diagnostic::warning("").at(section.place.as_ref()).in_section(&section.name);
            findings.say(place, &[what, plain]);
        }
        for entry in section.own_entries().iter().filter(|entry| entry.place.is_some()) {
            if let Some((what, plain)) = lookalike(&entry.name) {
                findings.say(super::place(section, entry, &entry.raw), &[what, plain]);
            }
        }
    }
}

fn lookalike(text: &str) -> Option<(&'static str, &'static str)> {
    if text.is_ascii() {
        return None;
    }
    let found = |c| LOOKALIKES.iter().find(|(lookalike, ..)| *lookalike == c);
    text.chars().find_map(found).map(|(_, what, plain)| (*what, *plain))
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{feff}')
}

pub(super) fn swallowed_lines(files: &Files<'_>, findings: &mut Findings) {
    for line in files.ini.continuations().iter().filter(|line| is_swallowed(line)) {
        let place = Diagnostic::warning("").at(Some(&line.place)).in_section(&line.section);
        findings.say(Diagnostic { value: Some(line.text.clone()), ..place }, &[&line.option]);
    }
}

/// Whether the line sets a known option or begins a section, were it not indented.
fn is_swallowed(line: &Continuation) -> bool {
    let known = |name: &str| [Scope::Service, Scope::Daemon].iter().any(|scope| find(*scope, name).is_some());
    line.name().is_some_and(|name| known(&name)) || header_name(&line.text).is_some()
}

pub(super) fn relative_paths(files: &Files<'_>, findings: &mut Findings) {
    for own in files.configured_options() {
        let is_relative = match own.option.kind {
            Kind::Path => !own.value.is_empty() && !own.value.starts_with('/') && !is_quoted(&own.value),
            Kind::Command => own.words().is_some_and(|words| {
                words.first().is_some_and(|program| program.text.contains('/') && !program.text.starts_with(['/', '~']))
            }),
            _ => false,
        };
        if is_relative {
            findings.say(own.place(), &[]);
        }
    }
}
