//! Lints of command lines: shell syntax without a shell, and commands too long for the kernel.
//!
//! Promises and leaves out: as `config::lint`.

use crate::command::Word;

use super::{Files, Findings};

/// The kernel's limit on one argument with its NUL: 32 pages of 4 KiB.
const MAX_ARGUMENT_LEN: usize = 128 * 1024;

/// The kernel's limit on all arguments and the environment: a quarter of the usual 8 MiB of stack.
const MAX_COMMAND_LEN: usize = 2 * 1024 * 1024;

/// Words that join two commands of a shell.
const OPERATORS: [&str; 6] = ["&&", "||", "|", "|&", ";", "&"];

pub(super) const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash", "fish"];

/// Programs with a language of their own, in which `$` and `*` have a meaning.
const INTERPRETERS: [&str; 14] =
    ["awk", "gawk", "mawk", "expect", "jq", "lua", "node", "perl", "php", "python", "python3", "ruby", "sed", "tclsh"];

/// Programs that pass their arguments on to a shell.
const REMOTE: [&str; 3] = ["ssh", "watch", "parallel"];

pub(super) fn shell_words(files: &Files<'_>, findings: &mut Findings) {
    for own in files.configured_commands() {
        let Some(words) = own.words() else { continue };
        if let Some((at, word)) = first_of_a_shell(&words) {
            let what = match at {
                0 => "is the name of the program, just as it stands".to_string(),
                _ => format!("is an argument of {}, just as it stands", words[0].text),
            };
            findings.say(own.place(), &[&word.text, &what]);
        }
    }
}

/// Finds the first word of shell syntax and its index.
fn first_of_a_shell(words: &[Word]) -> Option<(usize, &Word)> {
    if words.iter().any(|word| REMOTE.contains(&base(word))) {
        return None;
    }
    let script = script(words);
    let interpreted = words.iter().any(|word| INTERPRETERS.contains(&base(word)));
    words.iter().enumerate().find(|(at, word)| {
        let negation = *at == 0 && word.bare == "!";
        let operator = negation || is_operator(word, words.get(at + 1));
        Some(*at) != script && (operator || !interpreted && is_expanded(&word.bare))
    })
}

/// The index of the script that a shell is given with `-c`.
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
    let behind = bare.trim_start_matches(|c: char| c.is_ascii_digit());
    let behind = if behind.len() == bare.len() { behind.strip_prefix('&').unwrap_or(behind) } else { behind };
    let target = behind.trim_start_matches(['>', '<']);
    let is_tag = behind.starts_with('<') && target.ends_with('>');
    let is_target = target.is_empty() || target.starts_with(|c: char| c.is_alphabetic() || "/.~$&|".contains(c));
    target.len() < behind.len() && is_target && !is_tag
}

/// Matches `$HOME`, `${HOME}`, `$(date)`, backticks, `~/check`, `/run/*.pid`.
fn is_expanded(bare: &str) -> bool {
    let variable = bare
        .match_indices('$')
        .any(|(at, _)| bare[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '(')));
    let home = bare == "~" || bare.starts_with("~/");
    let glob = bare == "*" || ["/", "./", "../"].iter().any(|start| bare.starts_with(start)) && bare.contains('*');
    variable || home || glob || bare.contains('`')
}

pub(super) fn too_long(files: &Files<'_>, findings: &mut Findings) {
    for own in files.configured_commands().filter(|own| own.value.len() >= MAX_ARGUMENT_LEN) {
        let Some(words) = own.words() else { continue };
        // The kernel counts a NUL and a pointer for each argument.
        let longest = words.iter().map(|word| word.text.len() + 1).max().unwrap_or_default();
        let all: usize = words.iter().map(|word| word.text.len() + 1 + size_of::<usize>()).sum();
        for (length, what, most) in
            [(longest, "one argument", MAX_ARGUMENT_LEN), (all, "all arguments", MAX_COMMAND_LEN)]
        {
            if length > most {
                findings.say(own.place(), &[&length.to_string(), what, &most.to_string()]);
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
        assert_eq!(first_of_a_shell(&words).map(|(_, word)| &*word.text), expected, "{text}");
    }

    #[test]
    fn what_only_a_shell_understands() {
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
    fn what_is_meant_as_it_stands() {
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
    fn scripts_of_shells() {
        for (text, expected) in [
            ("sh -c 'x' y", Some("x")),
            ("sudo -n /bin/bash -e -uc x", Some("x")),
            ("sh script", None),
            ("sh -e script", None),
            ("sh -c", None),
        ] {
            let words = command::words(text).unwrap();
            let found = script(&words).and_then(|at| words.get(at)).map(|word| &*word.text);
            assert_eq!(found, expected, "{text}");
        }
    }
}
