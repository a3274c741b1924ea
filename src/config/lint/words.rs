//! Lints of command lines: shell syntax without a shell, and commands too long for the kernel.

use crate::command::Word;

use super::{Files, Findings};

/// The kernel's limit on one argument with its NUL: 32 pages of 4 KiB.
const MAX_ARGUMENT_LEN: usize = 128 * 1024;

/// The kernel's limit on all arguments and the environment: a quarter of the usual 8 MiB of stack.
const MAX_COMMAND_LEN: usize = 2 * 1024 * 1024;

/// Words that join two commands in a shell.
const OPERATORS: [&str; 6] = ["&&", "||", "|", "|&", ";", "&"];

pub(super) const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash", "fish"];

/// Programs with a language of their own, in which `$` and `*` have a meaning.
const INTERPRETERS: [&str; 14] =
    ["awk", "gawk", "mawk", "expect", "jq", "lua", "node", "perl", "php", "python", "python3", "ruby", "sed", "tclsh"];

/// Programs that pass their arguments on to a shell.
const REMOTE: [&str; 3] = ["ssh", "watch", "parallel"];

pub(super) fn shell_words(files: &Files<'_>, findings: &mut Findings) {
    for option in files.configured_commands() {
        let Some(words) = option.words() else { continue };
        if let Some((index, word)) = first_shell_word(&words) {
            let what = match index {
                0 => "is taken literally as the name of the program".to_string(),
                _ => format!("is passed literally to {}", words[0].text),
            };
            findings.warn(option.warning(), &[&word.text, &what]);
        }
    }
}

/// Finds the first word that only a shell interprets, and its index.
fn first_shell_word(words: &[Word]) -> Option<(usize, &Word)> {
    if words.iter().any(|word| REMOTE.contains(&base(word))) {
        return None;
    }
    let script = script(words);
    let interpreted = words.iter().any(|word| INTERPRETERS.contains(&base(word)));
    words.iter().enumerate().find(|(index, word)| {
        let is_negation = *index == 0 && word.bare == "!";
        let is_syntax = is_negation || is_operator(word, words.get(index + 1));
        Some(*index) != script && (is_syntax || !interpreted && is_expanded(&word.bare))
    })
}

/// The index of the script after a shell's `-c`.
pub(super) fn script(words: &[Word]) -> Option<usize> {
    let shell = words.iter().position(|word| SHELLS.contains(&base(word)))?;
    let options = words[shell + 1..].iter().take_while(|word| word.bare.starts_with(['-', '+']));
    let count = options.clone().count();
    options.clone().any(|word| !word.bare.starts_with("--") && word.bare.contains('c')).then_some(shell + 1 + count)
}

/// The last part of a path.
pub(super) fn base(word: &Word) -> &str {
    word.text.rsplit('/').next().unwrap_or_default()
}

/// Matches `&&`, `2>&1`, `>/dev/null`, and `;` unless a comment follows it.
fn is_operator(word: &Word, next: Option<&Word>) -> bool {
    let bare = &*word.bare;
    if bare == ";" || bare.len() > 1 && bare.ends_with(';') && !bare.contains("://") {
        return bare != ";" || next.is_none_or(|word| begins_command(&word.bare));
    }
    OPERATORS.contains(&bare) || is_redirection(bare)
}

/// Whether the word after a `;` looks like a command rather than a comment.
pub(super) fn begins_command(bare: &str) -> bool {
    bare.starts_with(['/', '.', '~', '$']) || ["exit", "true", "false", "test", "["].contains(&bare)
}

/// Matches `>`, `2>&1`, `>>/var/log/x`, `</dev/null`, but not `<title>`, `>5`, `>=5`.
pub(super) fn is_redirection(bare: &str) -> bool {
    let after_digits = bare.trim_start_matches(|c: char| c.is_ascii_digit());
    let operator = if after_digits.len() == bare.len() { bare.strip_prefix('&').unwrap_or(bare) } else { after_digits };
    let target = operator.trim_start_matches(['>', '<']);
    let is_tag = operator.starts_with('<') && target.ends_with('>');
    let is_target = target.is_empty() || target.starts_with(|c: char| c.is_alphabetic() || "/.~$&|".contains(c));
    target.len() < operator.len() && is_target && !is_tag
}

/// Matches `$HOME`, `${HOME}`, `$(date)`, backticks, `~/check`, `/run/*.pid`.
fn is_expanded(bare: &str) -> bool {
    let variable = bare.match_indices('$').any(|(index, _)| {
        bare[index + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '('))
    });
    let home = bare == "~" || bare.starts_with("~/");
    let glob = bare == "*" || ["/", "./", "../"].iter().any(|start| bare.starts_with(start)) && bare.contains('*');
    variable || home || glob || bare.contains('`')
}

pub(super) fn too_long(files: &Files<'_>, findings: &mut Findings) {
    for option in files.configured_commands().filter(|option| option.value.len() >= MAX_ARGUMENT_LEN) {
        let Some(words) = option.words() else { continue };
        // The kernel counts a NUL and a pointer for each argument.
        let longest = words.iter().map(|word| word.text.len() + 1).max().unwrap_or_default();
        let total: usize = words.iter().map(|word| word.text.len() + 1 + size_of::<usize>()).sum();
        for (length, what, max) in
            [(longest, "one argument", MAX_ARGUMENT_LEN), (total, "all arguments", MAX_COMMAND_LEN)]
        {
            if length > max {
                findings.warn(option.warning(), &[&length.to_string(), what, &max.to_string()]);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;

    fn check(text: &str, expected: Option<&str>) {
        let words = command::words(text).unwrap();
        assert_eq!(first_shell_word(&words).map(|(_, word)| &*word.text), expected, "{text}");
    }

    #[test]
    fn shell_syntax_is_found() {
        check("/bin/a && /bin/b", Some("&&"));
        check("/bin/a || true", Some("||"));
        check("/bin/a | grep ok", Some("|"));
        check("/bin/a; /bin/b", Some("/bin/a;"));
        check("/bin/a ; /bin/b", Some(";"));
        check("/bin/a x ;", Some(";"));
        check("/bin/a &", Some("&"));
        check("! /bin/a", Some("!"));
        check("/bin/a >/dev/null 2>&1", Some(">/dev/null"));
        check("/bin/a > /dev/null", Some(">"));
        check("/bin/a 2>&1", Some("2>&1"));
        check("/bin/a &>/dev/null", Some("&>/dev/null"));
        check("/bin/a </dev/null", Some("</dev/null"));
        check("/bin/a >>log", Some(">>log"));
        check("/bin/a '>x' >'x y'", Some(">x y"));
        check("/bin/a ./x*", Some("./x*"));
        check("/bin/a http://$HOST/", Some("http://$HOST/"));
        check("/bin/a \"http://${HOST}/\"", Some("http://${HOST}/"));
        check("/bin/a $(hostname)", Some("$(hostname)"));
        check("/bin/a `hostname`", Some("`hostname`"));
        check("~/check", Some("~/check"));
        check("/bin/a --file ~/x", Some("~/x"));
        check("/bin/cat /run/*.pid", Some("/run/*.pid"));
        check("/bin/sh -c '/bin/a' && /bin/b", Some("&&"));
        check("/bin/sh -c /bin/a > /dev/null", Some(">"));
    }

    #[test]
    fn words_that_are_meant_literally_are_not_reported() {
        for text in [
            "/bin/a --flag http://10.0.0.1/?a=1&b=2;c=3",
            "/bin/a 'x && y' \"a | b\" \\; \\> '$HOME' '`x`' '~' '*'",
            "/bin/sh -c 'ss -4lun | fgrep -q :10514'",
            "/bin/sh -c \"curl $URL | grep ok\"",
            "/usr/bin/sudo -u nobody bash -ec \"a | b && $x\"",
            "/usr/bin/timeout 3 sh -e -c \"a && $x\"",
            "ssh host uptime && true",
            "awk \"{ print $NF }\" /proc/loadavg",
            "jq .a[]|.b /run/x.json",
            "/bin/a user~name a*b *.example.com 5*3 ^OK$ price=$5",
            "find /run -name x.pid -exec true {} \\;",
            "/bin/a ; a comment",
            "/bin/a # a comment",
            "/bin/a -w 5% -c 1-2 -r .*ok.* -s <title> </title> -x >5 >=5",
            "find /run ! -name x.pid",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_script_of_a_shell_is_found() {
        for (text, expected) in [
            ("sh -c 'x' y", Some("x")),
            ("sudo -n /bin/bash -e -uc x", Some("x")),
            ("sh script", None),
            ("sh -e script", None),
            ("sh -c", None),
        ] {
            let words = command::words(text).unwrap();
            let result = script(&words).and_then(|index| words.get(index)).map(|word| &*word.text);
            assert_eq!(result, expected, "{text}");
        }
    }
}
