//! Generated parts of the manual pages, of `docs/` and of the completions. They come from the table
//! of options, the definition of the command line, and the types of the status document.
//!
//! Guarantees: the committed files match their sources. `GENERATE=1 cargo test --test generated`
//! updates them. In a page, a generated part is enclosed in two markers (`options: begin`,
//! `options: end`); completions are generated as a whole.
//! Out of scope: whether the result is valid roff or shell (`tests/shipped_files`).
#![expect(clippy::disallowed_methods, reason = "runs the plugin and writes the generated files")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing step fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use anycast_healthchecker::internals::config::options::{Kind, OptionSpec, Scope, OPTIONS};
use anycast_healthchecker::internals::Arguments;
use clap::CommandFactory;
use clap_complete::Shell;

const PROGRAM: &str = "anycast-healthchecker";

#[test]
fn the_manual_page_of_the_daemon_is_current() {
    let mut section = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render_options_section(&mut section).unwrap();
    let section = String::from_utf8(section).unwrap();
    let (_, options) = section.split_once(".SH OPTIONS\n").expect("a section of options");
    // Names the apostrophe, because the preamble that redefines it comes before this section.
    check_part("contrib/man/anycast-healthchecker.8", "options", &options.replace("\\*(Aq", "\\(aq"));
}

#[test]
fn the_manual_page_of_the_configuration_is_current() {
    let page = "contrib/man/anycast-healthchecker.conf.5";
    check_part(page, "service", &described(Scope::Service));
    check_part(page, "daemon", &described(Scope::Daemon));
}

/// Uses the plugin's own help, because its command line is defined in the program.
#[test]
fn the_manual_page_of_the_plugin_is_current() {
    let plugin = Command::new(env!("CARGO_BIN_EXE_check_anycast_healthchecker")).arg("--help").output().unwrap();
    let help = String::from_utf8(plugin.stdout).unwrap();
    let (_, options) = help.split_once("Options:\n").expect("options");
    let lines: String = options.lines().map(|line| roff(line.trim_end()) + "\n").collect();
    check_part("contrib/man/check_anycast_healthchecker.8", "options", &format!(".EX\n{lines}.EE\n"));
}

#[test]
fn the_tables_of_the_configuration_page_are_current() {
    check_part("docs/configuration.md", "service options", &tabled(Scope::Service));
    check_part("docs/configuration.md", "daemon options", &tabled(Scope::Daemon));
}

#[test]
fn the_usage_on_the_operations_page_is_current() {
    let usage = Arguments::command().render_help().to_string();
    check_part("docs/operations.md", "usage", &format!("```text\n{}\n```\n", usage.trim_end()));
}

#[test]
fn the_fields_of_the_status_document_are_current() {
    let document = fields(&read("src/report/document.rs"), |_| true);
    // These types of the checks are part of the document.
    let shared = fields(&read_folder("src/check"), |name| ["Counts", "HookRuns", "State"].contains(&name));
    check_part("docs/status.md", "fields", &[document, shared].join("\n"));
}

/// The page shows files of `contrib/container`.
#[test]
fn the_listings_of_the_operations_page_are_current() {
    for (name, language) in [("Containerfile", "dockerfile"), ("compose.yaml", "yaml")] {
        let text = read(&format!("contrib/container/{name}"));
        check_part("docs/operations.md", name, &format!("```{language}\n{text}```\n"));
    }
}

#[test]
fn the_completions_are_current() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), PROGRAM, &mut script);
        let name = match shell {
            Shell::Zsh => format!("_{PROGRAM}"),
            _ => format!("{PROGRAM}.{shell}"),
        };
        let script = with_values(shell, String::from_utf8(script).unwrap());
        check(&format!("contrib/completions/{name}"), script);
    }
}

/// Durations that the completions offer for `--for`.
const DRAIN_DURATIONS: &str = "10m 30m 1h 2h 8h 24h";

/// Completes services from the configuration, and durations. clap's own script offers files for
/// both.
fn with_values(shell: Shell, script: String) -> String {
    let replaced = |script: String, from: &str, to: &str| {
        assert!(script.contains(from), "clap_complete writes its script for {shell} otherwise: no {from}");
        script.replace(from, to)
    };
    match shell {
        Shell::Bash => {
            let files = "COMPREPLY=($(compgen -f \"${cur}\"))";
            let option = |option: &str, value: &str| format!("{option})\n                    {value}");
            let times = format!("COMPREPLY=($(compgen -W \"{DRAIN_DURATIONS}\" -- \"${{cur}}\"))");
            let mut script = script;
            for name in ["--drain", "--undrain"] {
                script = replaced(script, &option(name, files), &option(name, "_anycast__healthchecker_services"));
            }
            let script = replaced(script, &option("--for", files), &option("--for", &times));
            // A word that is neither an option nor its value.
            let rest = "COMPREPLY=()\n                    ;;\n            esac\n";
            let has = |word: &str| format!("\" ${{COMP_WORDS[*]}} \" == *\" {word} \"*");
            let words = format!("[[ {} ]]", ["-s", "--status", "--doctor"].map(has).join(" || "));
            let services = format!(
                "            if {words}; then\n                _anycast__healthchecker_services\n                return 0\n            fi\n"
            );
            let script = replaced(script, rest, &format!("{rest}{services}"));
            format!("{BASH_SERVICES}\n{script}")
        }
        Shell::Zsh => {
            let script = replaced(script, ":service:_default'", ":service:_anycast-healthchecker_services'");
            let script = replaced(script, ":time:_default'", &format!(":time:({DRAIN_DURATIONS})'"));
            let words = [":_default' \\", ":_anycast-healthchecker_services' \\"];
            let script = replaced(script, words[0], words[1]);
            let commands = "(( $+functions[_anycast-healthchecker_commands] ))";
            replaced(script, commands, &format!("{ZSH_SERVICES}\n{commands}"))
        }
        Shell::Fish => {
            let mut script = script;
            for (name, values) in [
                ("drain", "(__anycast_healthchecker_services)"),
                ("undrain", "(__anycast_healthchecker_services)"),
                ("for", DRAIN_DURATIONS),
            ] {
                let line =
                    script.lines().find(|line| line.contains(&format!(" -l {name} "))).unwrap_or_default().to_owned();
                assert!(line.ends_with(" -r"), "clap_complete writes its script for {shell} otherwise: {line}");
                script = script.replace(&line, &format!("{line} -f -a '{values}'"));
            }
            let words = "-n '__fish_contains_opt -s s status doctor' -f -a '(__anycast_healthchecker_services)'";
            format!("{FISH_SERVICES}\n{script}complete -c {PROGRAM} {words}\n")
        }
        _ => script,
    }
}

/// Lists the services from the files on the command line, whatever other errors they contain. Names
/// are not expanded.
const BASH_SERVICES: &str = r#"_anycast__healthchecker_services() {
    local main=/etc/anycast-healthchecker.conf services=/etc/anycast-healthchecker.d n value name
    for ((n = 1; n < COMP_CWORD - 1; n++)); do
        value=${COMP_WORDS[n + 1]}
        [[ ${value} == = ]] && value=${COMP_WORDS[n + 2]}
        case ${COMP_WORDS[n]} in
            -f | --file) main=${value} ;;
            -d | --dir | -F | --service-file) services=${value} ;;
        esac
    done
    [[ -d ${services} ]] && services=${services}/*.conf
    COMPREPLY=()
    while IFS= read -r name; do
        if [[ ${name} == "${cur}"* ]]; then
            COMPREPLY+=("$(printf %q "${name}")")
        fi
    done < <(IFS=; sed -n 's/^\[\(.*\)\].*/\1/p' "${main}" ${services} 2> /dev/null | grep -vxE 'DEFAULT|daemon' | sort -u)
}
"#;

/// The same for zsh.
const ZSH_SERVICES: &str = r#"(( $+functions[_anycast-healthchecker_services] )) ||
_anycast-healthchecker_services() {
    local main=${(Q)opt_args[-f]:-${(Q)opt_args[--file]:-/etc/anycast-healthchecker.conf}}
    local services=${(Q)opt_args[-F]:-${(Q)opt_args[--service-file]}}
    local directory=${(Q)opt_args[-d]:-${(Q)opt_args[--dir]:-/etc/anycast-healthchecker.d}}
    local -a files names
    files=($main $services)
    [[ -n $services ]] || files+=($directory/*.conf(N))
    names=(${(f)"$(sed -n 's/^\[\(.*\)\].*/\1/p' $files 2> /dev/null | grep -vxE 'DEFAULT|daemon' | sort -u)"})
    _wanted services expl service compadd -a names
}
"#;

/// The same for fish.
const FISH_SERVICES: &str = r#"function __anycast_healthchecker_services
    set -l main /etc/anycast-healthchecker.conf
    set -l services /etc/anycast-healthchecker.d
    set -l option
    for word in (commandline -opc | string replace -r '^(--[a-z-]+)=' '$1\n' | string split \n)
        switch $option
            case -f --file
                set main $word
            case -d --dir -F --service-file
                set services $word
        end
        set option $word
    end
    test -d $services; and set services $services/*.conf
    sed -n 's/^\[\(.*\)\].*/\1/p' $main $services 2> /dev/null | string match -v -r '^(DEFAULT|daemon)$' | sort -u
end
"#;

/// Each option as a paragraph of a manual page.
fn described(scope: Scope) -> String {
    let paragraph = |option: &OptionSpec| {
        let default = option.default.map(|default| format!(" = \\fI{}\\fR", roff(default))).unwrap_or_default();
        let (name, kind, help) = (roff(option.name), roff(&kind(option.kind)), roff(option.help));
        format!(".TP\n\\fB{name}\\fR{default}\n{help}\n({kind})\n")
    };
    options(scope).map(paragraph).collect()
}

/// Each option as a row of a table.
fn tabled(scope: Scope) -> String {
    let row = |option: &OptionSpec| {
        let default = option.default.map(|default| format!("`{default}`")).unwrap_or_default();
        let new = if option.original { "" } else { " *" };
        let (name, kind, help) = (option.name, kind(option.kind), option.help.replace('|', "\\|"));
        format!("| `{name}`{new} | {default} | {kind} | {help} |\n")
    };
    let rows: String = options(scope).map(row).collect();
    format!("| option | default | value | meaning |\n|---|---|---|---|\n{rows}")
}

fn options(scope: Scope) -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(move |option| option.scope == scope)
}

/// What an option holds, in an operator's words.
fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::AnyText => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Command => "command".to_owned(),
        Kind::Prefix => "prefix, or empty".to_owned(),
        Kind::Prefixes => "prefixes".to_owned(),
        Kind::Variable => "name of a BIRD constant".to_owned(),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Seconds => "seconds, above 0".to_owned(),
        Kind::SecondsOrZero => "seconds".to_owned(),
        Kind::Integer(least, most) if most >= 1 << 31 => format!("number, {least} or more"),
        Kind::Integer(least, most) => format!("number, {least} to {most}"),
        Kind::Choice(words) => words.join(", "),
    }
}

/// Tables of the fields of the chosen types of a module. The doc comment of a field is its
/// description.
fn fields(module: &str, chosen: impl Fn(&str) -> bool) -> String {
    let mut tables = String::new();
    let (mut sentences, mut public, mut skipped) = (Vec::new(), false, false);
    for line in module.lines() {
        let line = line.trim();
        if let Some(sentence) = line.strip_prefix("///") {
            sentences.push(sentence.trim());
            continue;
        }
        if line.starts_with("#[") {
            skipped |= line == "#[serde(skip)]";
            continue;
        }
        // Turns a rustdoc link into plain code.
        let description = std::mem::take(&mut sentences).join(" ").replace("[`", "`").replace("`]", "`");
        let item = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum "));
        if let Some(name) = item {
            let name = name.trim_end_matches(" {");
            public = chosen(name);
            if !public {
                continue;
            }
            tables += &format!("\n### {name}\n\n{description}\n\n| | | |\n|---|---|---|\n");
        } else if line == "}" {
            public = false;
        } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|line| line.split_once(": ")) {
            if public && !std::mem::take(&mut skipped) {
                tables += &format!("| `{name}` | {} | {description} |\n", json(kind.trim_end_matches(',')));
            }
        } else if public {
            tables += &format!("| `\"{}\"` | | {description} |\n", line.trim_end_matches(',').to_lowercase());
        }
    }
    tables.trim_start().to_owned()
}

/// The JSON type of one of our types.
fn json(kind: &str) -> String {
    let within = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
    if let Some(kind) = within("Option<") {
        return format!("{} or null", json(kind));
    }
    if let Some(kind) = within("Vec<") {
        return format!("list of {}", json(kind));
    }
    match kind {
        "String" => "text".to_owned(),
        "bool" => "true or false".to_owned(),
        "f64" => "number".to_owned(),
        "u32" | "u64" | "usize" | "i32" => "whole number".to_owned(),
        _ => format!("[{kind}](#{})", kind.to_lowercase()),
    }
}

/// Escapes text for roff: hyphens stay hyphens, and no line looks like a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

/// Expects the part between the two markers of a file to be `generated`.
fn check_part(path: &str, mark: &str, generated: &str) {
    let text = read(path);
    let (begin, end) = match path.ends_with(".md") {
        true => (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->\n")),
        false => (format!(".\\\" {mark}: begin\n"), format!(".\\\" {mark}: end\n")),
    };
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{path} has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{path} has no {end}"));
    check(path, format!("{before}{begin}{generated}{end}{after}"));
}

/// Expects a file to be `generated`. With `GENERATE=1`, writes it first.
fn check(path: &str, generated: String) {
    if std::env::var_os("GENERATE").is_some() {
        fs::write(full(path), &generated).unwrap();
    }
    assert!(read(path) == generated, "{path} is out of date: run GENERATE=1 cargo test --test generated");
}

fn read(path: &str) -> String {
    fs::read_to_string(full(path)).unwrap_or_default()
}

/// The text of all Rust files in a folder and its folders, in the order of their names.
fn read_folder(path: &str) -> String {
    let entries = fs::read_dir(full(path)).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    let texts = names.iter().map(|name| format!("{path}/{name}")).map(|path| match path.ends_with(".rs") {
        true => read(&path),
        false => read_folder(&path),
    });
    texts.collect()
}

fn full(path: &str) -> impl AsRef<Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
