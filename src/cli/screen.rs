//! Standard output as a terminal: its size, and frames that are drawn one over the other.
//!
//! Guarantees: a frame never scrolls its own beginning away.
//!
//! Out of scope: what is shown (`report::view`).

use std::io;

use rustix::termios::tcgetwinsize;

/// The width if neither `COLUMNS` nor the terminal gives one.
const DEFAULT_WIDTH: usize = 80;
/// Moves the cursor to the upper left corner.
const HOME: &str = "\u{1b}[H";
/// Clears from the cursor to the end of the line.
const CLEAR_LINE: &str = "\u{1b}[K";
/// Clears everything below the cursor.
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Returns how many characters a line has: `COLUMNS` if that is a number above zero, else the
/// terminal's width, else 80.
pub(super) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok();
    choose_width(columns.as_deref(), size().map(|(width, _)| width))
}

fn choose_width(columns: Option<&str>, terminal: Option<usize>) -> usize {
    let columns = columns.and_then(|text| text.trim().parse().ok()).filter(|width| *width > 0);
    columns.or(terminal).unwrap_or(DEFAULT_WIDTH)
}

/// Returns the width and height of the terminal at standard output. None if it is no terminal, or
/// has no size.
pub(super) fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Returns what draws `text` over the frame before it. Lines that do not fit the screen are left
/// out and counted.
pub(super) fn frame(text: &str, size: Option<(usize, usize)>) -> String {
    let mut frame = HOME.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let shown = size.map_or(lines.len(), |(width, height)| fitting(&lines, width, height));
    for line in &lines[..shown] {
        frame += &format!("{line}{CLEAR_LINE}\n");
    }
    if shown < lines.len() {
        frame += &format!("({} more lines){CLEAR_LINE}\n", lines.len() - shown);
    }
    frame + CLEAR_BELOW
}

/// Returns how many of the lines fit. The last line of the screen is for the cursor, the one before
/// it for the number of lines that are left out.
fn fitting(lines: &[&str], width: usize, height: usize) -> usize {
    let mut used = 0;
    let ends = lines.iter().map(|line| {
        used += visible(line).div_ceil(width).max(1);
        used
    });
    let ends: Vec<usize> = ends.collect();
    match ends.last() {
        Some(all) if *all >= height => ends.iter().take_while(|end| **end + 2 <= height).count(),
        _ => lines.len(),
    }
}

/// Returns how many characters of a line are visible: color codes are not.
fn visible(line: &str) -> usize {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().map_or(0, |part| part.chars().count());
    first + parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest).chars().count()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_takes_precedence_over_the_terminals_width() {
        let check = |columns: Option<&str>, terminal: Option<usize>, expected: usize| {
            assert_eq!(choose_width(columns, terminal), expected, "{columns:?} {terminal:?}");
        };
        check(None, None, 80);
        check(None, Some(132), 132);
        check(None, Some(60), 60);
        check(Some("100"), Some(132), 100);
        check(Some("100"), None, 100);
        for none in ["", "0", "-1", "wide"] {
            check(Some(none), Some(132), 132);
        }
    }

    #[test]
    fn a_frame_fits_the_screen() {
        let check = |text: &str, size: Option<(usize, usize)>, expected: &str| {
            let shown = frame(text, size);
            let body = shown.strip_prefix(HOME).unwrap().strip_suffix(CLEAR_BELOW).unwrap();
            assert_eq!(body.replace(CLEAR_LINE, ""), expected, "{text:?} {size:?}");
        };
        check("a\nb\nc\n", None, "a\nb\nc\n");
        check("a\nb\nc\n", Some((10, 4)), "a\nb\nc\n");
        check("a\nb\nc\n", Some((10, 3)), "a\n(2 more lines)\n");
        // The terminal wraps a long line.
        check("123456\nb\nc\n", Some((5, 5)), "123456\nb\nc\n");
        check("123456\nb\nc\n", Some((5, 4)), "123456\n(2 more lines)\n");
        check("\u{1b}[31m12345\u{1b}[0m\nb\n", Some((5, 3)), "\u{1b}[31m12345\u{1b}[0m\nb\n");
        check("\n\n\n", Some((5, 3)), "\n(2 more lines)\n");
        check("a\n", Some((5, 1)), "(1 more lines)\n");
        check("", Some((5, 3)), "");
    }
}
