//! One service: a section other than `[daemon]`.
//!
//! Promises and leaves out: as `config::parse`, whose part it is.

use std::num::NonZeroU32;

use crate::config::diagnostic::Diagnostic;
use crate::config::ini::{Continuation, DEFAULT};
use crate::config::options::{Kind, OptionSpec, Scope, OPTIONS};
use crate::config::python;
use crate::config::settings::{OnDisabled, Service};

use super::OptionParser;

/// The original's options in the order in which it logs them at start.
const LISTED: [&str; 12] = [
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

pub(super) fn read(reader: &mut OptionParser<'_>) -> Option<Service> {
    let name = reader.section.name.to_string();
    if name.contains('\0') {
        let problem = Diagnostic::error("the name of a section must not hold a NUL byte");
        reader.problems.push(problem.at(reader.section.place.as_ref()).in_section(&name));
    }
    for option in ["check_cmd", "ip_prefix"] {
        if reader.entry(option).is_none() {
            let rule = format!("must be given for each service{}", swallowed(reader, option));
            reader.error(option, rule);
        }
    }
    let check_cmd = reader.command("check_cmd");
    let prefixes = reader.prefixes("ip_prefix");
    let check_interval = reader.seconds("check_interval");
    let check_timeout = reader.seconds("check_timeout");
    let check_fast_interval = reader.seconds("check_fast_interval");
    let rise = count(reader, "check_rise");
    let fail = count(reader, "check_fail");
    let check_disabled = reader.boolean("check_disabled");
    let on_disabled = reader.word("on_disabled").map(|word| match word {
        "advertise" => OnDisabled::Advertise,
        _ => OnDisabled::Withdraw,
    });
    let interface = reader.text("interface").map(String::from);
    let ip_check_disabled = reader.boolean("ip_check_disabled");
    let withdraw_on_exit = on_exit(reader);
    Some(Service {
        custom_reconfigure: reader.timed_command("custom_bird_reconfigure_cmd", "custom_bird_reconfigure_cmd_timeout"),
        watch_pidfile: reader.path("watch_pidfile"),
        drain_file: reader.path("drain_file"),
        withdraw_on_exit,
        withdraw_on_boot: reader.word("on_boot") == Some("withdraw"),
        state_change: reader.timed_command("state_change_cmd", "state_change_cmd_timeout"),
        listing: listing(reader),
        prefix_text: reader.text("ip_prefix").map(String::from).unwrap_or_default(),
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

/// Names the indented line that was probably meant to set the option.
fn swallowed(reader: &OptionParser<'_>, option: &str) -> String {
    let of_section = |line: &&Continuation| line.section == reader.section.name || &*line.section == DEFAULT;
    let mut lines = reader.ini.continuations().iter().filter(of_section);
    match lines.find(|line| line.name().as_deref() == Some(option)) {
        None => String::new(),
        Some(line) => format!(
            "; {}, line {}, looks as if it set it, but is indented and so continues the value of {}: remove the blanks before it",
            line.place.file.display(),
            line.place.line,
            line.option
        ),
    }
}

fn count(reader: &mut OptionParser<'_>, option: &str) -> Option<NonZeroU32> {
    u32::try_from(reader.whole(option)).ok().and_then(NonZeroU32::new)
}

/// Forks of the original give this option values of their own, with which a configuration must still start.
fn on_exit(reader: &mut OptionParser<'_>) -> bool {
    match reader.text("on_exit").as_deref() {
        Some("withdraw") => true,
        Some("none") | None => false,
        Some(_) => {
            reader.warn("on_exit", "should be none or withdraw; anything else is taken as none");
            false
        }
    }
}

/// Each option as the original logs it: name, value, and Python's type of it.
fn listing(reader: &mut OptionParser<'_>) -> Vec<Box<str>> {
    let new = OPTIONS.iter().filter(|option| option.scope == Scope::Service && !option.original);
    let listed = LISTED.iter().filter_map(|name| reader.option(name)).chain(new);
    let set: Vec<&OptionSpec> = listed.filter(|option| reader.entry(option.name).is_some()).collect();
    let value = |option: &OptionSpec| -> Option<Box<str>> {
        let entry = reader.entry(option.name)?;
        let text = reader.ini.value(reader.section, entry).ok()?;
        let (value, class) = match option.kind {
            Kind::Seconds | Kind::SecondsOrZero => (python::float_text(python::float(&text)?), "float"),
            Kind::Integer(..) => (python::whole(&text)?.to_string(), "int"),
            Kind::Boolean => (if python::boolean(&text)? { "True" } else { "False" }.to_string(), "bool"),
            _ => (text.into_owned(), "str"),
        };
        Some(format!("{}={value}:<class '{class}'>", option.name).into_boxed_str())
    };
    let mut lines: Vec<_> = set.into_iter().filter_map(value).collect();
    // They stay for as long as the service does.
    lines.shrink_to_fit();
    lines
}
