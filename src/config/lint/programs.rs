//! Lints of well-known programs: checks that cannot fail or never end, and birdc without effect.
//!
//! The script of a shell is checked only if it is a single plain command.

use crate::command::{self, Word};

use super::words::{base, is_redirection, script, SHELLS};
use super::{ConfiguredOption, Files, Findings};

pub(super) fn curl_without_fail(files: &Files<'_>, findings: &mut Findings) {
    let is_wrong = |arguments: &[Word]| {
        let fails = |word: &Word| word.text.starts_with("--fail") && word.text != "--fail-early";
        let short = |word: &Word, letter: char| is_short(&word.text) && word.text.contains(letter);
        // A curl configuration file may contain --fail, and other protocols report their own
        // errors.
        let configured = |word: &Word| word.text == "--config" || short(word, 'K');
        let other = |word: &Word| word.text.contains("://") && !word.text.to_lowercase().starts_with("http");
        !arguments.iter().any(|word| fails(word) || short(word, 'f') || configured(word) || other(word))
    };
    check_programs(files, findings, &["curl"], is_wrong);
}

pub(super) fn dig_without_limits(files: &Files<'_>, findings: &mut Findings) {
    let is_wrong = |arguments: &[Word]| {
        let has = |names: [&str; 2]| {
            arguments.iter().any(|word| {
                let name = word.text.strip_prefix('+').and_then(|option| option.split('=').next());
                name.is_some_and(|name| names.contains(&name))
            })
        };
        !has(["time", "timeout"]) || !has(["tries", "retry"])
    };
    check_programs(files, findings, &["dig"], is_wrong);
}

pub(super) fn ping_without_count(files: &Files<'_>, findings: &mut Findings) {
    let is_wrong = |arguments: &[Word]| {
        !arguments.iter().any(|word| is_short(&word.text) && word.text.contains(['c', 'w']) || word.text == "--count")
    };
    check_programs(files, findings, &["ping", "ping4", "ping6"], is_wrong);
}

/// Matches short options, including combined ones: `-f`, `-sf`.
fn is_short(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--")
}

/// Warns of each `check_cmd` that runs one of these programs with wrong arguments.
fn check_programs(files: &Files<'_>, findings: &mut Findings, names: &[&str], is_wrong: impl Fn(&[Word]) -> bool) {
    for option in files.configured_commands().filter(|option| option.spec.name == "check_cmd") {
        let Some(words) = option.words() else { continue };
        let command = plain_command(words);
        if let Some((program, arguments)) = command.split_first() {
            if names.contains(&base(program)) && is_wrong(arguments) {
                findings.warn(option.warning(), &[]);
            }
        }
    }
}

/// Unwraps `sudo`, `timeout` and the like, and the script of a shell if it is one plain command.
/// Empty for a longer script.
fn plain_command(mut words: Vec<Word>) -> Vec<Word> {
    // Terminates, because each iteration removes words.
    loop {
        let wrapper_len = wrapper_len(&words);
        if wrapper_len > 0 {
            words.drain(..wrapper_len.min(words.len()));
            continue;
        }
        let Some(index) = script(&words).filter(|_| words.first().is_some_and(|word| SHELLS.contains(&base(word))))
        else {
            return words;
        };
        let Some(inner) = words.get(index).and_then(|word| command::words(&word.text).ok()) else { return Vec::new() };
        let joins_commands = |word: &Word| {
            let bare = &*word.bare;
            !is_redirection(bare) && (bare.contains(['|', ';', '`']) || bare.starts_with('&') || bare.contains("$("))
        };
        let is_keyword = |word: &Word| ["if", "while", "until", "for", "test", "[", "!"].contains(&&*word.bare);
        if inner.iter().any(joins_commands) || inner.first().is_some_and(is_keyword) {
            return Vec::new();
        }
        words = inner.into_iter().filter(|word| !is_redirection(&word.bare)).collect();
    }
}

/// The number of words before the wrapped command; 0 if the first word is not a wrapper.
fn wrapper_len(words: &[Word]) -> usize {
    let Some(first) = words.first() else { return 0 };
    let skip_options = |from: usize, with_value: &[&str]| {
        let mut index = from;
        while let Some(word) = words.get(index).filter(|word| word.text.starts_with('-')) {
            index += 1 + usize::from(with_value.contains(&&*word.text));
        }
        index
    };
    match base(first) {
        "sudo" => skip_options(1, &["-u", "-g", "-U", "-C", "-h", "-p", "--user", "--group"]),
        "timeout" => skip_options(1, &["-s", "-k", "--signal", "--kill-after"]) + 1,
        "nice" => skip_options(1, &["-n"]),
        "ionice" => skip_options(1, &["-c", "-n"]),
        "chronic" | "setsid" | "nohup" | "exec" => skip_options(1, &[]),
        "env" => {
            let index = skip_options(1, &["-u"]);
            index + words[index.min(words.len())..].iter().take_while(|word| word.text.contains('=')).count()
        }
        "ip" => match words.get(1).map(|word| &*word.text) {
            Some("netns" | "vrf") if words.get(2).is_some_and(|word| word.text == "exec") => 4,
            _ => 0,
        },
        _ => 0,
    }
}

pub(super) fn birdc_without_effect(files: &Files<'_>, findings: &mut Findings) {
    for option in files.configured_commands().filter(|option| reconfigures_bird(files, option)) {
        let Some(words) = option.words() else { continue };
        if let Some((birdc, why)) = no_effect(&split_script(&words)) {
            findings.warn(option.warning(), &[why, &birdc]);
        }
    }
}

/// Whether the option holds a command that reconfigures BIRD, and is used.
fn reconfigures_bird(files: &Files<'_>, option: &ConfiguredOption<'_>) -> bool {
    let is_used = |family: &str, socket: &str| files.is_on(family) && files.daemon(socket).is_none();
    match option.spec.name {
        "bird_reconfigure_cmd" => is_used("ipv4", "bird_control_socket"),
        "bird6_reconfigure_cmd" => is_used("ipv6", "bird6_control_socket"),
        name => name == "custom_bird_reconfigure_cmd",
    }
}

/// Returns the words, with the script of a shell split into words.
fn split_script(words: &[Word]) -> Vec<&str> {
    let script = script(words);
    let split = |(index, word)| -> Vec<&str> {
        let word: &Word = word;
        if Some(index) == script {
            word.text.split([' ', '\t', '\n', ';', '|', '&', '(', ')']).filter(|word| !word.is_empty()).collect()
        } else {
            vec![&*word.text]
        }
    };
    words.iter().enumerate().flat_map(split).collect()
}

/// Returns the client of BIRD and why the command does not apply the list. None for a good or an
/// unknown command.
fn no_effect(words: &[&str]) -> Option<(String, &'static str)> {
    let is_client =
        |word: &str| ["birdc", "birdc6", "birdcl", "birdcl6"].contains(&word.rsplit('/').next().unwrap_or(""));
    let index = words.iter().position(|word| is_client(word))?;
    let client = words[index].to_string();
    let mut rest = words[index + 1..].iter();
    let mut bird_words = Vec::new();
    while let Some(word) = rest.next() {
        match *word {
            "-s" => _ = rest.next(),
            word if word.starts_with('-') => {}
            word => bird_words.push(word),
        }
    }
    // BIRD accepts abbreviations.
    let means = |word: &str, shortest: &str, full: &str| word.starts_with(shortest) && full.starts_with(word);
    let Some(configure) = bird_words.iter().position(|word| means(word, "c", "configure")) else {
        return Some((client, "without configure, BIRD does not read its files again"));
    };
    let why = bird_words[configure + 1..].iter().find_map(|word| {
        [
            (
                "s",
                "soft",
                "after configure soft, BIRD does not export routes again, so nothing is advertised or withdrawn",
            ),
            ("t", "timeout", "BIRD undoes the change after the time, because nothing confirms it"),
            ("ch", "check", "configure check only parses the files"),
            ("u", "undo", "configure undo restores the previous list"),
            ("sta", "status", "configure status changes nothing"),
        ]
        .into_iter()
        .find(|(shortest, full, _)| means(word, shortest, full))
        .map(|(_, _, why)| why)
    });
    why.map(|why| (client, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birdc_commands_without_effect_are_found() {
        fn check(text: &str, expected: Option<&str>) {
            let words = command::words(text).unwrap();
            let result = no_effect(&split_script(&words)).map(|(_, why)| why);
            assert_eq!(result.is_some(), expected.is_some(), "{text}: {result:?}");
            assert!(result.unwrap_or_default().contains(expected.unwrap_or_default()), "{text}: {result:?}");
        }
        check("sudo /usr/sbin/birdc configure", None);
        check("/usr/sbin/birdc6 -s /run/bird6.ctl -v conf", None);
        check("birdc configure \"/etc/bird/bird.conf\"", None);
        check("/usr/local/bin/tell-bird soft", None);
        check("systemctl reload bird", None);
        check("sh -c 'birdc configure | grep -q Reconfigured'", None);
        check("sudo /usr/sbin/birdc configure soft", Some("soft"));
        check("birdc configure timeout 10", Some("undoes the change"));
        check("birdc configure timeout", Some("undoes the change"));
        check("birdc configure check", Some("check"));
        check("birdc configure undo", Some("undo"));
        check("birdc", Some("without configure"));
        check("birdc show status", Some("without configure"));
        check("birdc -s /run/configure", Some("without configure"));
        check("sh -c 'birdc configure soft'", Some("soft"));
    }

    #[test]
    fn wrappers_and_scripts_are_unwrapped() {
        fn check(text: &str, expected: &str) {
            let words = plain_command(command::words(text).unwrap());
            let command: Vec<_> = words.into_iter().map(|word| word.text).collect();
            assert_eq!(command.join(" "), expected, "{text}");
        }
        check("/usr/bin/curl x", "/usr/bin/curl x");
        check("sudo -n -u www curl x", "curl x");
        check("timeout -k 1 5 nice -n 5 env A=b curl x", "curl x");
        check("ip netns exec blue curl x", "curl x");
        check("ip vrf exec blue ping x", "ping x");
        check("ip address show", "ip address show");
        check("/bin/sh -c 'curl -s http://x >/dev/null 2>&1'", "curl -s http://x");
        check("sudo /bin/sh -c 'exec timeout 1 curl x'", "curl x");
        check("/bin/sh -c 'curl x | grep -q ok'", "");
        check("/bin/sh -c 'a && curl x'", "");
        check("/bin/sh -c 'if curl x; then true; fi'", "");
        check("/bin/sh -c '[ -e /run/x ]'", "");
        check("sudo", "");
        check("/bin/sh -c", "");
    }
}
