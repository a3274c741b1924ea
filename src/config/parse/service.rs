//! Parses the section of a service.

use std::num::NonZeroU32;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{MisindentedLine, DEFAULT};
use crate::config::options::{Kind, OptionSpec, Scope, OPTIONS};
use crate::config::python;
use crate::config::settings::{OnDisabled, Service};

use super::OptionParser;

/// The options of the original, in the order in which it logs them at start.
const LOGGED_OPTIONS: [&str; 12] = [
    "check_cmd",
    "check_interval",
    "check_timeout",
    "check_rise",
    "check_fail",
    "check_disabled",
    "on_disabled",
    "ip_prefix",
    "interface",
    "ip_check_disabled",
    "custom_bird_reconfigure_cmd_timeout",
    "custom_bird_reconfigure_cmd",
];

pub(super) fn parse(parser: &mut OptionParser<'_>) -> Option<Service> {
    let name = parser.section.name.to_string();
    if name.contains('\0') {
        let problem = Diagnostic::error("the name of a section must not contain a NUL byte");
        parser.problems.push(problem.at(parser.section.location.as_ref()).in_section(&name));
    }
    for option in ["check_cmd", "ip_prefix"] {
        if parser.entry(option).is_none() {
            let message = format!("must be set for each service{}", misindented_hint(parser, option));
            parser.error(option, message);
        }
    }
    let check_cmd = parser.command("check_cmd");
    let prefixes = parser.prefixes("ip_prefix");
    let check_interval = parser.seconds("check_interval");
    let check_timeout = parser.seconds("check_timeout");
    let check_fast_interval = parser.seconds("check_fast_interval");
    let rise = count(parser, "check_rise");
    let fail = count(parser, "check_fail");
    let check_disabled = parser.boolean("check_disabled");
    let on_disabled = parser.choice("on_disabled").map(|word| match word {
        "advertise" => OnDisabled::Advertise,
        _ => OnDisabled::Withdraw,
    });
    let interface = parser.text("interface").map(String::from);
    let ip_check_disabled = parser.boolean("ip_check_disabled");
    let withdraw_on_exit = on_exit(parser);
    Some(Service {
        custom_reconfigure: parser.timed_command("custom_bird_reconfigure_cmd", "custom_bird_reconfigure_cmd_timeout"),
        watch_pidfile: parser.path("watch_pidfile"),
        drain_file: parser.path("drain_file"),
        withdraw_on_exit,
        withdraw_on_boot: parser.choice("on_boot") == Some("withdraw"),
        state_change: parser.timed_command("state_change_cmd", "state_change_cmd_timeout"),
        listing: listing(parser),
        prefix_text: parser.text("ip_prefix").map(String::from).unwrap_or_default(),
        name,
        prefixes,
        disabled: on_disabled.filter(|_| check_disabled),
        assigned_to: interface.clone().filter(|_| !ip_check_disabled),
        interface: interface?,
        check_fast_interval,
        check_cmd: check_cmd?,
        check_interval: check_interval?,
        check_timeout: check_timeout?,
        check_rise: rise?,
        check_fail: fail?,
    })
}

/// Points to an indented line that was probably meant to set the option.
fn misindented_hint(parser: &OptionParser<'_>, option: &str) -> String {
    let is_effective = |line: &&MisindentedLine| line.section == parser.section.name || &*line.section == DEFAULT;
    let mut lines = parser.ini.misindented_lines().iter().filter(is_effective);
    match lines.find(|line| line.name().as_deref() == Some(option)) {
        None => String::new(),
        Some(line) => format!(
            "; {}, line {}, would set it, but is indented and continues the value of {}: remove the blanks before it",
            line.location.file.display(),
            line.location.line,
            line.option
        ),
    }
}

fn count(parser: &mut OptionParser<'_>, option: &str) -> Option<NonZeroU32> {
    u32::try_from(parser.integer(option)).ok().and_then(NonZeroU32::new)
}

/// Parses `on_exit`. Forks of the original give it other values; the daemon must start with these
/// too.
fn on_exit(parser: &mut OptionParser<'_>) -> bool {
    match parser.text("on_exit").as_deref() {
        Some("withdraw") => true,
        Some("none") | None => false,
        Some(_) => {
            parser.warn("on_exit", "should be none or withdraw; any other value means none");
            false
        }
    }
}

/// Returns each option as the original logs it: name, value, and its type in Python.
fn listing(parser: &mut OptionParser<'_>) -> Vec<Box<str>> {
    let new = OPTIONS.iter().filter(|option| option.scope == Scope::Service && !option.original);
    let listed = LOGGED_OPTIONS.iter().filter_map(|name| parser.spec(name)).chain(new);
    let set: Vec<&OptionSpec> = listed.filter(|option| parser.entry(option.name).is_some()).collect();
    let value = |option: &OptionSpec| -> Option<Box<str>> {
        let entry = parser.entry(option.name)?;
        let text = parser.ini.value(parser.section, entry).ok()?;
        let (value, class) = match option.kind {
            Kind::Seconds | Kind::SecondsOrZero => (python::float_text(python::float(&text)?), "float"),
            Kind::Integer(..) => (python::integer(&text)?.to_string(), "int"),
            Kind::Boolean => (if python::boolean(&text)? { "True" } else { "False" }.to_string(), "bool"),
            _ => (text.into_owned(), "str"),
        };
        Some(format!("{}={value}:<class '{class}'>", option.name).into_boxed_str())
    };
    let mut lines: Vec<_> = set.into_iter().filter_map(value).collect();
    // The lines live as long as the service.
    lines.shrink_to_fit();
    lines
}
