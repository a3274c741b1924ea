//! The status document as a table that a person reads at a glance.
//!
//! Promises: pure; columns are as wide as what stands in them, up to 200 characters; no control character of the document
//! reaches the terminal; colours only add, nothing is told by them alone.
//! Leaves out: the terminal's width, and characters that are two columns wide.

use std::fmt::Write as _;

use crate::report::document::{shortened, Condition, Document, FamilyStatus, Moment, PrefixStatus, ServiceStatus};

/// How many of the last lines of a failed check's output are shown, and how much of each.
const OUTPUT_LINES: usize = 5;
const OUTPUT_WIDTH: usize = 200;
/// How far a column widens with what stands in it: one giant name must not fill every row with blanks.
const WIDEST: usize = 200;

/// The table, ended by a newline.
pub fn render(document: &Document, colours: bool) -> String {
    let paint = Paint(colours);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "anycast-healthchecker {} (pid {}) up since {} ({}): {}",
        printable(&document.version),
        document.pid,
        clock(&document.started),
        age(document.uptime_s),
        paint.with(if document.well { Colour::Green } else { Colour::Red }, &document.summary.to_string())
    );
    warnings(document, paint, &mut text);
    for family in &document.families {
        text += &family_line(family, document, paint);
    }
    text.push('\n');
    services(document, paint, &mut text);
    text
}

/// `text` without anything that drives a terminal or breaks a line; such characters are shown as escapes.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // The second kind are invisible, and some turn the direction of what follows.
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
        let _ = writeln!(text, "{}", paint.with(Colour::Red, &sentence));
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

fn family_line(family: &FamilyStatus, document: &Document, paint: Paint) -> String {
    // A hold is wanted, as long as nothing else is wrong.
    let alarm = if family.hold.is_some() && family.problem.is_none() { Colour::Yellow } else { Colour::Red };
    let sync = match family.out_of_sync_s {
        _ if family.in_sync => paint.with(Colour::Green, "in sync"),
        Some(seconds) => paint.with(alarm, &format!("NOT IN SYNC for {}", age(seconds))),
        None => paint.with(alarm, "NOT IN SYNC"),
    };
    let last = match &family.last_success {
        Some(last) => format!("last {} ago", age(document.time.unix - last.unix)),
        None => "none so far".to_string(),
    };
    let mut line = format!(
        "{} {sync}: {} wanted, {} in {}, {} in BIRD; reconfigures: {} taken ({last}), {} failed\n",
        printable(&family.family),
        family.wanted,
        family.in_file,
        printable(&family.file),
        family.in_bird,
        family.taken,
        family.failed
    );
    if let Some(problem) = &family.problem {
        let _ = writeln!(line, "    {}", printable(problem));
    }
    if !family.unmanaged.is_empty() {
        let unmanaged = format!("The file lists {}, which no service has.", printable(&shortened(&family.unmanaged)));
        let _ = writeln!(line, "    {}", paint.with(Colour::Red, &unmanaged));
    }
    if let Some(hold) = &family.hold {
        let _ = writeln!(line, "    {}", printable(&hold.to_string()));
    }
    line
}

/// One cell: its text and its colour.
type Cell = (String, Option<Colour>);

const HEADINGS: [&str; 9] =
    ["SERVICE", "STATE", "SINCE", "LAST CHECK", "PROGRESS", "PREFIX", "WANTED", "IN FILE", "IN BIRD"];

fn services(document: &Document, paint: Paint, text: &mut String) {
    let tables: Vec<Vec<[Cell; HEADINGS.len()]>> =
        document.services.iter().map(|service| rows(service, document)).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in tables.iter().flatten() {
        for (width, (cell, _)) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(WIDEST));
        }
    }
    line(&HEADINGS.map(|heading| (heading.to_string(), None)), &widths, paint, text);
    for (service, rows) in document.services.iter().zip(&tables) {
        for row in rows {
            line(row, &widths, paint, text);
        }
        reason(service, text);
    }
}

/// One row a prefix; what is about the service stands in the first.
fn rows(service: &ServiceStatus, document: &Document) -> Vec<[Cell; HEADINGS.len()]> {
    let plain = |text: String| (text, None);
    let mut about = [
        plain(printable(&service.name)),
        state(service),
        plain(clock(&service.since)),
        plain(last_check(service, document)),
        plain(progress(service)),
    ];
    let mut rows = Vec::with_capacity(service.prefixes.len());
    for prefix in &service.prefixes {
        let [name, state, since, last, progress] = std::mem::take(&mut about);
        let missing = if prefix.missing { " (not assigned)" } else { "" };
        let shown = plain(format!("{}{missing}", printable(&prefix.prefix)));
        let [wanted, in_file, in_bird] = levels(prefix);
        rows.push([name, state, since, last, progress, shown, wanted, in_file, in_bird]);
    }
    rows
}

fn state(service: &ServiceStatus) -> Cell {
    match (&service.disabled, service.overdue_s, service.state) {
        // A drain wins over on_disabled.
        (Some(_), _, _) if service.drained.is_some() => ("drained".to_string(), Some(Colour::Yellow)),
        (Some(_), _, _) => ("disabled".to_string(), Some(Colour::Yellow)),
        (None, Some(_), _) => ("STUCK".to_string(), Some(Colour::Red)),
        (None, None, _) if service.drained.is_some() => ("drained".to_string(), Some(Colour::Yellow)),
        (None, None, Condition::Up) => ("up".to_string(), Some(Colour::Green)),
        (None, None, Condition::Down) => ("DOWN".to_string(), Some(Colour::Red)),
        (None, None, Condition::Unknown) => ("unknown".to_string(), Some(Colour::Yellow)),
    }
}

fn last_check(service: &ServiceStatus, document: &Document) -> String {
    let Some(last) = &service.last else { return "-".to_string() };
    let ago = age(document.time.unix - last.began.unix);
    match last.took_ms {
        Some(took) => format!("{ago} ago, {took:.1} ms"),
        None => format!("{ago} ago, not run"),
    }
}

fn progress(service: &ServiceStatus) -> String {
    match (&service.disabled, &service.progress) {
        (Some(decision), _) => printable(decision),
        (None, Some(steps)) => {
            let towards = if steps.towards == Condition::Up { "up" } else { "down" };
            format!("{}/{} {towards}", steps.n, steps.of)
        }
        (None, None) => "-".to_string(),
    }
}

/// A level that is not as wanted is red.
fn levels(prefix: &PrefixStatus) -> [Cell; 3] {
    [prefix.wanted, prefix.in_file, prefix.in_bird].map(|level| {
        let word = match level {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        (word.to_string(), (level != prefix.wanted).then_some(Colour::Red))
    })
}

/// Why the service is not well, and the end of what its check printed.
fn reason(service: &ServiceStatus, text: &mut String) {
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

fn line(row: &[Cell; HEADINGS.len()], widths: &[usize; HEADINGS.len()], paint: Paint, text: &mut String) {
    let mut blanks = 0;
    for ((cell, colour), width) in row.iter().zip(widths) {
        if !cell.is_empty() {
            let _ = write!(text, "{:blanks$}", "");
            text.push_str(&colour.map_or_else(|| cell.clone(), |colour| paint.with(colour, cell)));
            blanks = 0;
        }
        // Blanks are due only when something follows.
        blanks += width.saturating_sub(cell.chars().count()) + 2;
    }
    text.push('\n');
}

/// Date and time of day, as the daemon's host has them: `2026-11-22 08:41:54`.
fn clock(moment: &Moment) -> String {
    let text: String = printable(&moment.text).chars().take(19).collect();
    text.replacen('T', " ", 1)
}

/// A time span in its two largest units. A clock that was set back makes it zero.
fn age(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[derive(Clone, Copy)]
enum Colour {
    Red,
    Green,
    Yellow,
}

/// Whether colours are wanted.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
        };
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}

#[cfg(test)]
mod tests;
