//! The status document as a table for people.
//!
//! Guarantees: pure. Services that need attention come first. Rows fit the requested width. No
//! control character of the document reaches the terminal. Colors only add: the text without them
//! has the same information.
//!
//! Out of scope: the width of the terminal (`cli`), and characters that are two columns wide.

use std::fmt::Write as _;

use crate::report::document::{
    shortened, Document, FamilyStatus, Moment, PrefixStatus, ProtocolStatus, ServiceStatus, State, Steps,
};
use crate::report::table::layout::Cell;
use crate::report::table::paint::{Color, Paint};
use crate::report::urgency::Urgency;

mod layout;
mod paint;

/// How many of the last lines of a failed check's output are shown, and how much of each.
const OUTPUT_LINES: usize = 5;
const OUTPUT_WIDTH: usize = 200;

/// Renders the table, with a newline at the end. Rows are at most `width` characters wide, see
/// [`layout`]; a sentence is one line, whatever its length.
pub fn render(document: &Document, colors: bool, width: usize) -> String {
    let paint = Paint(colors);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "anycast-healthchecker {} (pid {}) up since {} ({})\n{}",
        printable(&document.version),
        document.pid,
        clock(&document.started),
        age(document.uptime_s),
        paint.with(if document.well { Color::Green } else { Color::Red }, &document.summary.to_string())
    );
    warnings(document, paint, &mut text);
    let mut shown: &[ProtocolStatus] = &[];
    for family in &document.families {
        text += &family_lines(family, document, paint);
        // Both families are usually one BIRD's.
        if family.protocols != shown {
            text += &protocol_lines(&family.protocols, paint);
            shown = &family.protocols;
        }
    }
    services(document, paint, width, &mut text);
    text
}

/// Returns `text` with escapes in place of characters that control a terminal or break a line.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // The second group is invisible, and some of it changes the direction of the text after it.
        match c {
            c if c.is_control() => shown.extend(c.escape_default()),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                shown.extend(c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

fn warnings(document: &Document, paint: Paint, text: &mut String) {
    let mut warn = |sentence: String| {
        let _ = writeln!(text, "{}", paint.with(Color::Red, &sentence));
    };
    if let Some(overdue) = document.writer_overdue_s {
        warn(format!("The thread that writes the prefix files has been stuck for {}.", age(overdue)));
    }
    if let Some(why) = &document.reload_error {
        warn(format!("The last reload was refused, an older configuration runs: {}", printable(why)));
    }
    if document.log_lines_dropped > 0 {
        warn(format!("{} log lines were lost.", document.log_lines_dropped));
    }
}

fn family_lines(family: &FamilyStatus, document: &Document, paint: Paint) -> String {
    // A hold without a problem is intended, so it is yellow.
    let color = if family.hold.is_some() && family.problem.is_none() { Color::Yellow } else { Color::Red };
    let sync = match family.out_of_sync_s {
        _ if family.in_sync => paint.with(Color::Green, "in sync"),
        Some(seconds) => paint.with(color, &format!("NOT IN SYNC for {}", age(seconds))),
        None => paint.with(color, "NOT IN SYNC"),
    };
    let mut lines = format!(
        "{} {sync}: {} wanted, {} in file, {} in BIRD\n    file: {}\n    {}\n",
        printable(&family.family),
        family.wanted,
        family.in_file,
        family.in_bird,
        printable(&family.file),
        reconfigures(family, document)
    );
    if let Some(problem) = &family.problem {
        let _ = writeln!(lines, "    {}", printable(problem));
    }
    if !family.unmanaged.is_empty() {
        let unmanaged = format!("The file lists {}, which no service has.", printable(&shortened(&family.unmanaged)));
        let _ = writeln!(lines, "    {}", paint.with(Color::Red, &unmanaged));
    }
    if let Some(problem) = &family.export_problem {
        let _ = writeln!(lines, "    BIRD cannot be asked whom it announces the prefixes to: {}", printable(problem));
    }
    if family.exports_not_reached > 0 {
        let _ = writeln!(lines, "    {} prefixes were not asked about yet", family.exports_not_reached);
    }
    if let Some(hold) = &family.hold {
        let _ = writeln!(lines, "    {}", printable(&hold.to_string()));
    }
    lines
}

/// Lists the protocols that speak to neighbors, a line each.
fn protocol_lines(protocols: &[ProtocolStatus], paint: Paint) -> String {
    let width =
        |of: fn(&ProtocolStatus) -> &str| protocols.iter().map(|one| of(one).chars().count()).max().unwrap_or(0);
    let (name, kind) = (width(|one| &one.name), width(|one| &one.kind));
    let line = |one: &ProtocolStatus| {
        let state = paint.with(if one.up { Color::Green } else { Color::Red }, &printable(&one.state));
        let (one_name, one_kind) = (printable(&one.name), printable(&one.kind));
        format!("    protocol {one_name:name$}  {one_kind:kind$}  {state} since {}\n", printable(&one.since))
    };
    protocols.iter().map(line).collect()
}

/// Describes the reconfigures, and BIRD's later confirmation of the list if there is one.
fn reconfigures(family: &FamilyStatus, document: &Document) -> String {
    let ago = |moment: &Moment| format!("{} ago", age(document.time.unix - moment.unix));
    let last = family.last_taken.as_ref().map_or(String::new(), |last| format!(" (last {})", ago(last)));
    let last_taken = family.last_taken.as_ref().map_or(f64::NEG_INFINITY, |last| last.unix);
    // An older daemon does not say when BIRD took a reconfigure.
    let is_known = family.taken == 0 || family.last_taken.is_some();
    let confirmed = family.last_success.as_ref().filter(|confirmed| is_known && confirmed.unix > last_taken);
    let since = match confirmed {
        Some(last) => format!("; BIRD confirmed the list {}", ago(last)),
        None if !family.asks_bird && !last.is_empty() => "; BIRD was not asked since".to_string(),
        None => String::new(),
    };
    format!("reconfigures: {} taken{last}, {} failed{since}", family.taken, family.failed)
}

const HEADINGS: [&str; 6] = ["SERVICE", "STATE", "SINCE", "LAST CHECK", "PREFIX", "IN BIRD, EXPORTED"];
/// The order in which columns are narrowed. The first ones are too wide only for their heading or
/// for unusual rows.
const NARROW_ORDER: [usize; 6] = [5, 4, 0, 1, 3, 2];

type Row = [Cell; HEADINGS.len()];

fn services(document: &Document, paint: Paint, width: usize, text: &mut String) {
    let mut services: Vec<&ServiceStatus> = document.services.iter().collect();
    if services.is_empty() {
        return;
    }
    text.push('\n');
    services.sort_by_key(|service| Urgency::of(service));
    let headings = HEADINGS.map(|heading| (heading.to_string(), None));
    let tables: Vec<Vec<Row>> = services.iter().map(|service| rows(service, document)).collect();
    let widths = layout::widths(std::iter::once(&headings).chain(tables.iter().flatten()), NARROW_ORDER, width);
    layout::write_row(&headings, &widths, paint, text);
    for (service, rows) in services.into_iter().zip(&tables) {
        rows.iter().for_each(|row| layout::write_row(row, &widths, paint, text));
        details(service, paint, text);
    }
}

/// Returns one row per prefix. The first one also has the columns about the service.
fn rows(service: &ServiceStatus, document: &Document) -> Vec<Row> {
    let plain = |text: String| (text, None);
    let mut service_cells = [
        plain(printable(&service.name)),
        state(service),
        plain(since(&service.since, &document.time)),
        plain(last_check(service, document)),
    ];
    let mut rows = Vec::with_capacity(service.prefixes.len());
    for prefix in &service.prefixes {
        let [name, state, since, last] = std::mem::take(&mut service_cells);
        let missing = if prefix.missing { " (not assigned)" } else { "" };
        let shown = plain(format!("{}{missing}", printable(&prefix.prefix)));
        rows.push([name, state, since, last, shown, in_bird(prefix)]);
    }
    rows
}

/// Whether the prefix is in BIRD, and by how many of the protocols that could BIRD announces it;
/// `?` if that is not known.
fn in_bird(prefix: &PrefixStatus) -> Cell {
    let in_bird = word(prefix.in_bird);
    let (text, is_as_wanted) = match &prefix.exported {
        Some(exported) => {
            (format!("{in_bird}, {}", exported.ratio()), exported.by.is_empty() != (prefix.wanted == Some(true)))
        }
        None if prefix.wanted == Some(true) => (format!("{in_bird}, ?"), true),
        None => (in_bird.to_string(), true),
    };
    (text, (prefix.is_out_of_sync() || !is_as_wanted).then_some(Color::Red))
}

/// Returns the state, and the progress to the next one.
fn state(service: &ServiceStatus) -> Cell {
    let (word, color) = match (&service.disabled, service.overdue_s, service.state) {
        // A drain wins over on_disabled.
        (Some(_), _, _) if service.drained.is_some() => ("drained, disabled", Color::Yellow),
        (Some(_), _, _) => ("disabled", Color::Yellow),
        (None, Some(_), _) => ("STUCK", Color::Red),
        (None, None, _) if service.drained.is_some() => ("drained", Color::Yellow),
        (None, None, State::Up) => ("up", Color::Green),
        (None, None, State::Down) => ("DOWN", Color::Red),
        (None, None, State::Unknown) => ("unknown", Color::Yellow),
    };
    let progress = match (&service.disabled, &service.progress) {
        (Some(decision), _) => format!(", {}", printable(decision)),
        (None, Some(Steps { towards, n, of })) => {
            let towards = if *towards == State::Up { "up" } else { "down" };
            format!(", {n}/{of} {towards}")
        }
        (None, None) => String::new(),
    };
    (format!("{word}{progress}"), Some(color))
}

fn last_check(service: &ServiceStatus, document: &Document) -> String {
    let Some(last) = &service.last else { return "-".to_string() };
    let ago = short_age(document.time.unix - last.began.unix);
    match last.took_ms {
        Some(duration) if duration < 10.0 => format!("{ago} ago {duration:.1}ms"),
        Some(duration) => format!("{ago} ago {duration:.0}ms"),
        None => format!("{ago} ago, not run"),
    }
}

/// Returns a level as a word.
fn word(level: Option<bool>) -> &'static str {
    match level {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    }
}

/// Describes the levels of a prefix that is out of sync. A level that differs from the wanted one
/// is red.
fn levels(prefix: &PrefixStatus, paint: Paint) -> String {
    let [in_file, in_bird] = [prefix.in_file, prefix.in_bird].map(|level| match level == prefix.wanted {
        true => word(level).to_string(),
        false => paint.with(Color::Red, word(level)),
    });
    let (prefix, wanted) = (printable(&prefix.prefix), word(prefix.wanted));
    format!("{prefix}: wanted {wanted}, in file {in_file}, in BIRD {in_bird}")
}

/// Appends why the service is not well, and the end of its check's output.
fn details(service: &ServiceStatus, paint: Paint, text: &mut String) {
    for prefix in service.prefixes.iter().filter(|prefix| prefix.is_out_of_sync()) {
        let _ = writeln!(text, "    {}", levels(prefix, paint));
    }
    for prefix in service.prefixes.iter().filter(|prefix| prefix.wanted == Some(true)) {
        if let Some(why) = prefix.exported.as_ref().and_then(|exported| exported.why.as_ref()) {
            let _ = writeln!(text, "    {} is announced to nobody: {}", printable(&prefix.prefix), printable(why));
        }
    }
    if let Some(why) = &service.why {
        let _ = writeln!(text, "    {}", printable(why));
    }
    if let Some(why) = service.state_change_cmd.as_ref().and_then(|runs| runs.problem.as_ref()) {
        let _ = writeln!(text, "    state_change_cmd failed: {}", printable(why));
    }
    let output = service.last.as_ref().map_or("", |last| last.output.trim_end());
    let lines: Vec<&str> = output.lines().rev().take(OUTPUT_LINES).collect();
    for line in lines.into_iter().rev() {
        let shown: String = printable(line).chars().take(OUTPUT_WIDTH).collect();
        let _ = writeln!(text, "    | {shown}");
    }
}

/// Returns date and time in the zone of the daemon's host: `2026-11-22 08:41:54`.
fn clock(moment: &Moment) -> String {
    let text: String = printable(&moment.text).chars().take(19).collect();
    text.replacen('T', " ", 1)
}

/// Returns date and time without the parts that equal those of `now`: without the date for today,
/// without the year for this year.
fn since(moment: &Moment, now: &Moment) -> String {
    const YEAR: usize = "2026-".len();
    const DATE: usize = "2026-11-22 ".len();
    let (text, now) = (clock(moment), clock(now));
    let equal = [DATE, YEAR].into_iter().find(|end| text.get(..*end).is_some_and(|start| now.starts_with(start)));
    equal.and_then(|end| text.get(end..)).unwrap_or(&text).to_string()
}

/// Formats a time span as one word, in its two largest units.
fn short_age(seconds: f64) -> String {
    age(seconds).replace(" min", "m").replace(' ', "")
}

/// Formats a time span in its two largest units. It is zero if the clock was set back.
fn age(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests;
