//! Lints of text that is not what it looks like: comments, quotes, blanks, indentation.

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{header_name, MisindentedLine};
use crate::config::options::{find, Kind, Scope};

use super::{ConfiguredOption, Files, Findings};

pub(super) fn trailing_comments(files: &Files<'_>, findings: &mut Findings) {
    for option in files.configured_options() {
        if let Some(comment) = comment(&option) {
            findings.warn(option.warning(), &[&comment]);
        }
    }
}

/// The first two words of a comment after the value.
fn comment(option: &ConfiguredOption<'_>) -> Option<String> {
    let words: Vec<(String, String)> = match option.words().filter(|_| option.spec.kind == Kind::Command) {
        Some(words) => words.into_iter().map(|word| (word.bare, word.text)).collect(),
        None => option.value.split_whitespace().map(|word| (word.to_string(), word.to_string())).collect(),
    };
    let index = words.iter().skip(1).position(|(bare, _)| bare.starts_with(['#', ';']))? + 1;
    let mark = &words[index].0;
    // `words::shell_words` reports a `;` between two commands or at the end.
    let next = words.get(index + 1).map_or("", |(bare, _)| bare);
    if option.spec.kind == Kind::Command && mark.starts_with(';') {
        let may_be_command = |text: &str| text.is_empty() || super::words::begins_command(text);
        if may_be_command(mark.trim_start_matches(';')) && (mark.len() > 1 || may_be_command(next)) {
            return None;
        }
    }
    let shown: Vec<&str> = words[index..].iter().take(2).map(|(_, text)| &**text).collect();
    Some(shown.join(" "))
}

/// Finds quotes that are not removed: only a command is split into words.
pub(super) fn quoted_values(files: &Files<'_>, findings: &mut Findings) {
    for option in files.configured_options().filter(|option| is_quoted(&option.value)) {
        match option.spec.kind {
            Kind::Text | Kind::AnyText | Kind::Path => findings.warn(option.warning(), &["are part of the value"]),
            Kind::Command if option.words().is_some_and(|words| words.len() == 1 && words[0].text.contains(' ')) => {
                findings.warn(
                    option.warning(),
                    &["make the whole command one word, which is then the name of the program"],
                );
            }
            _ => {}
        }
    }
}

fn is_quoted(value: &str) -> bool {
    ['"', '\''].iter().any(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote))
}

/// Characters that word processors and web pages use in place of plain ones, each with its name and
/// the remedy.
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
    for option in files.configured_options() {
        // Visible characters within plain quotes are intended.
        let bare = option.words().filter(|_| option.spec.kind == Kind::Command).map(|words| {
            let keep_invisible = |word: crate::command::Word| word.bare + &word.text.replace(|c| !is_invisible(c), "");
            words.into_iter().map(keep_invisible).collect::<Vec<_>>().concat()
        });
        if let Some((what, plain)) = lookalike(bare.as_deref().unwrap_or(&option.value)) {
            findings.warn(option.warning(), &[what, plain]);
        }
    }
    // In a name, such a character makes an unknown option or another section.
    for section in files.ini.all_sections() {
        if let Some((what, plain)) = lookalike(&section.name) {
            let warning = Diagnostic::warning("").at(section.location.as_ref()).in_section(&section.name);
            findings.warn(warning, &[what, plain]);
        }
        for entry in section.own_entries().iter().filter(|entry| entry.location.is_some()) {
            if let Some((what, plain)) = lookalike(&entry.name) {
                findings.warn(super::warning_at(section, entry, &entry.raw), &[what, plain]);
            }
        }
    }
}

fn lookalike(text: &str) -> Option<(&'static str, &'static str)> {
    if text.is_ascii() {
        return None;
    }
    let entry = |c| LOOKALIKES.iter().find(|(lookalike, ..)| *lookalike == c);
    text.chars().find_map(entry).map(|(_, what, plain)| (*what, *plain))
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{feff}')
}

pub(super) fn misindented_lines(files: &Files<'_>, findings: &mut Findings) {
    for line in files.ini.misindented_lines().iter().filter(|line| is_misindented(line)) {
        let warning = Diagnostic::warning("").at(Some(&line.location)).in_section(&line.section);
        findings.warn(Diagnostic { value: Some(line.text.clone()), ..warning }, &[&line.option]);
    }
}

/// Whether the line would set a known option or begin a section without its indentation.
fn is_misindented(line: &MisindentedLine) -> bool {
    let is_known = |name: &str| [Scope::Service, Scope::Daemon].iter().any(|scope| find(*scope, name).is_some());
    line.name().is_some_and(|name| is_known(&name)) || header_name(&line.text).is_some()
}

pub(super) fn relative_paths(files: &Files<'_>, findings: &mut Findings) {
    for option in files.configured_options() {
        let is_relative = match option.spec.kind {
            Kind::Path => !option.value.is_empty() && !option.value.starts_with('/') && !is_quoted(&option.value),
            Kind::Command => option.words().is_some_and(|words| {
                words.first().is_some_and(|program| program.text.contains('/') && !program.text.starts_with(['/', '~']))
            }),
            _ => false,
        };
        if is_relative {
            findings.warn(option.warning(), &[]);
        }
    }
}
