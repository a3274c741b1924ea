//! Lints of well-known programs: checks that cannot fail or never end, and birdc without effect.
//!
//! Promises and leaves out: as `config::lint`. Of a shell's script only a single plain command is
//! judged.

use crate::command::{self, Word};

use super::words::{base, is_redirection, script, SHELLS};
use super::{Files, Findings, ConfiguredOption};

pub(super) fn curl_without_fail(files: &Files<'_>, findings: &mut Findings) {
    let is_wrong = |arguments: &[Word]| {
        let fails = |word: &Word| word.text.starts_with("--fail") && word.text != "--fail-early";
        let short = |word: &Word, letter: char| is_short(&word.text) && word.text.contains(letter);
        // A curl configuration file may hold --fail, and other protocols report their own errors.
        let configured = |word: &Word| word.text == "--config" || short(word, 'K');
        let other = |word: &Word| word.text.contains("://") && !word.text.to_lowercase().starts_with("http");
        !arguments.iter().any(|word| fails(word) || short(word, 'f') || configured(word) || other(word))
    };
    each_check(files, findings, &["curl"], is_wrong);
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
    each_check(files, findings, &["dig"], is_wrong);
}

pub(super) fn ping_without_count(files: &Files<'_>, findings: &mut Findings) {
    let is_wrong = |arguments: &[Word]| {
        !arguments.iter().any(|word| is_short(&word.text) && word.text.contains(['c', 'w']) || word.text == "--count")
    };
    each_check(files, findings, &["ping", "ping4", "ping6"], is_wrong);
}

/// Matches short options, also combined ones: `-f`, `-sf`.
fn is_short(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--")
}

fn each_check(files: &Files<'_>, findings: &mut Findings, names: &[&str], is_wrong: impl Fn(&[Word]) -> bool) {
    for own in files.configured_commands().filter(|own| own.option.name == "check_cmd") {
        let Some(words) = own.words() else { continue };
        let command = plain_command(words);
        if let Some((program, arguments)) = command.split_first() {
            if names.contains(&base(program)) && is_wrong(arguments) {
                findings.say(own.place(), &[]);
            }
        }
    }
}

/// Unwraps `sudo`, `timeout` and the like, and a shell's script that is one plain command. Returns
/// nothing for a longer script.
fn plain_command(mut words: Vec<Word>) -> Vec<Word> {
    // Each round removes words, so the loop ends.
    loop {
        let behind = wrapper(&words);
        if behind > 0 {
            words.drain(..behind.min(words.len()));
            continue;
        }
        let Some(at) = script(&words).filter(|_| words.first().is_some_and(|word| SHELLS.contains(&base(word)))) else {
            return words;
        };
        let Some(inner) = words.get(at).and_then(|word| command::words(&word.text).ok()) else { return Vec::new() };
        let more = |word: &Word| {
            let bare = &*word.bare;
            !is_redirection(bare) && (bare.contains(['|', ';', '`']) || bare.starts_with('&') || bare.contains("$("))
        };
        let keyword = |word: &Word| ["if", "while", "until", "for", "test", "[", "!"].contains(&&*word.bare);
        if inner.iter().any(more) || inner.first().is_some_and(keyword) {
            return Vec::new();
        }
        words = inner.into_iter().filter(|word| !is_redirection(&word.bare)).collect();
    }
}

/// The number of words in front of the wrapped command; 0 if the first word is no wrapper.
fn wrapper(words: &[Word]) -> usize {
    let Some(first) = words.first() else { return 0 };
    let options = |from: usize, valued: &[&str]| {
        let mut at = from;
        while let Some(word) = words.get(at).filter(|word| word.text.starts_with('-')) {
            at += 1 + usize::from(valued.contains(&&*word.text));
        }
        at
    };
    match base(first) {
        "sudo" => options(1, &["-u", "-g", "-U", "-C", "-h", "-p", "--user", "--group"]),
        "timeout" => options(1, &["-s", "-k", "--signal", "--kill-after"]) + 1,
        "nice" => options(1, &["-n"]),
        "ionice" => options(1, &["-c", "-n"]),
        "chronic" | "setsid" | "nohup" | "exec" => options(1, &[]),
        "env" => {
            let at = options(1, &["-u"]);
            at + words[at.min(words.len())..].iter().take_while(|word| word.text.contains('=')).count()
        }
        "ip" => match words.get(1).map(|word| &*word.text) {
            Some("netns" | "vrf") if words.get(2).is_some_and(|word| word.text == "exec") => 4,
            _ => 0,
        },
        _ => 0,
    }
}

pub(super) fn bird_keeps_nothing(files: &Files<'_>, findings: &mut Findings) {
    for own in files.configured_commands().filter(|own| tells_bird(files, own)) {
        let Some(words) = own.words() else { continue };
        if let Some((birdc, why)) = not_kept(&flat(&words)) {
            findings.say(own.place(), &[why, &birdc]);
        }
    }
}

/// Whether the command reconfigures BIRD, and is used at all.
fn tells_bird(files: &Files<'_>, own: &ConfiguredOption<'_>) -> bool {
    let used = |family: &str, socket: &str| files.is_on(family) && files.daemon(socket).is_none();
    match own.option.name {
        "bird_reconfigure_cmd" => used("ipv4", "bird_control_socket"),
        "bird6_reconfigure_cmd" => used("ipv6", "bird6_control_socket"),
        name => name == "custom_bird_reconfigure_cmd",
    }
}

/// The words, with a shell's script split into its own words.
fn flat(words: &[Word]) -> Vec<&str> {
    let script = script(words);
    let split = |(at, word)| -> Vec<&str> {
        let word: &Word = word;
        if Some(at) == script {
            word.text.split([' ', '\t', '\n', ';', '|', '&', '(', ')']).filter(|word| !word.is_empty()).collect()
        } else {
            vec![&*word.text]
        }
    };
    words.iter().enumerate().flat_map(split).collect()
}

/// Returns birdc and why BIRD does not keep the list; none for a good or an unknown command.
fn not_kept(words: &[&str]) -> Option<(String, &'static str)> {
    let is_client =
        |word: &str| ["birdc", "birdc6", "birdcl", "birdcl6"].contains(&word.rsplit('/').next().unwrap_or(""));
    let at = words.iter().position(|word| is_client(word))?;
    let client = words[at].to_string();
    let mut rest = words[at + 1..].iter();
    let mut told = Vec::new();
    while let Some(word) = rest.next() {
        match *word {
            "-s" => _ = rest.next(),
            word if word.starts_with('-') => {}
            word => told.push(word),
        }
    }
    // BIRD takes abbreviations.
    let means = |word: &str, least: &str, whole: &str| word.starts_with(least) && whole.starts_with(word);
    let Some(configure) = told.iter().position(|word| means(word, "c", "configure")) else {
        return Some((client, "without configure it does not read its files again"));
    };
    let why = told[configure + 1..].iter().find_map(|word| {
        [
            ("s", "soft", "after configure soft it exports no route anew, so nothing is advertised or withdrawn"),
            ("t", "timeout", "it undoes the change when the time is up, as nobody confirms it"),
            ("ch", "check", "configure check only parses the files"),
            ("u", "undo", "configure undo goes back to the previous list"),
            ("sta", "status", "configure status changes nothing"),
        ]
        .into_iter()
        .find(|(least, whole, _)| means(word, least, whole))
        .map(|(_, _, why)| why)
    });
    why.map(|why| (client, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_bird_does_not_follow() {
        fn check(text: &str, expected: Option<&str>) {
            let words = command::words(text).unwrap();
            let found = not_kept(&flat(&words)).map(|(_, why)| why);
            assert_eq!(found.is_some(), expected.is_some(), "{text}: {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{text}: {found:?}");
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
    fn what_is_run_in_the_end() {
        fn check(text: &str, expected: &str) {
            let words = plain_command(command::words(text).unwrap());
            let found: Vec<_> = words.into_iter().map(|word| word.text).collect();
            assert_eq!(found.join(" "), expected, "{text}");
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
