//! Standard output as a terminal: its size, and pictures that are drawn one over the other.
//!
//! Promises: a picture never scrolls its own beginning away.
//! Leaves out: what is shown (`report::view`).

use std::io;

use rustix::termios::tcgetwinsize;

/// The width where nobody says another.
const WIDTH: usize = 80;
/// Puts the cursor into the upper left corner.
const HOME: &str = "\u{1b}[H";
/// Clears what is left of a line.
const CLEAR_LINE: &str = "\u{1b}[K";
/// Clears what is below the cursor.
const CLEAR_BELOW: &str = "\u{1b}[J";

/// How many characters a line has: `COLUMNS` where that is a number above zero, else the terminal's width, else 80.
pub(super) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok();
    choose_width(columns.as_deref(), size().map(|(width, _)| width))
}

fn choose_width(columns: Option<&str>, terminal: Option<usize>) -> usize {
    let columns = columns.and_then(|text| text.trim().parse().ok()).filter(|width| *width > 0);
    columns.or(terminal).unwrap_or(WIDTH)
}

/// The width and height of the terminal behind standard output; none where there is none, or it does not say.
pub(super) fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// What draws `text` over the picture before it. What finds no place on a screen of this size is left out, and said.
pub(super) fn picture(text: &str, size: Option<(usize, usize)>) -> String {
    let mut picture = HOME.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let shown = size.map_or(lines.len(), |(width, height)| fitting(&lines, width, height));
    for line in &lines[..shown] {
        picture += &format!("{line}{CLEAR_LINE}\n");
    }
    if shown < lines.len() {
        picture += &format!("({} more lines){CLEAR_LINE}\n", lines.len() - shown);
    }
    picture + CLEAR_BELOW
}

/// How many of the lines fit. The last line of the screen is for the cursor, the one before it for the number of those that
/// are left out.
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

/// How many characters of a line are seen: colors are not.
fn visible(line: &str) -> usize {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().map_or(0, |part| part.chars().count());
    first + parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest).chars().count()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_what_was_asked_for_or_the_terminals() {
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
    fn a_picture_fits_the_screen() {
        let check = |text: &str, size: Option<(usize, usize)>, expected: &str| {
            let shown = picture(text, size);
            let body = shown.strip_prefix(HOME).unwrap().strip_suffix(CLEAR_BELOW).unwrap();
            assert_eq!(body.replace(CLEAR_LINE, ""), expected, "{text:?} {size:?}");
        };
        check("a\nb\nc\n", None, "a\nb\nc\n");
        check("a\nb\nc\n", Some((10, 4)), "a\nb\nc\n");
        check("a\nb\nc\n", Some((10, 3)), "a\n(2 more lines)\n");
        // A line that the terminal folds takes several.
        check("123456\nb\nc\n", Some((5, 5)), "123456\nb\nc\n");
        check("123456\nb\nc\n", Some((5, 4)), "123456\n(2 more lines)\n");
        check("\u{1b}[31m12345\u{1b}[0m\nb\n", Some((5, 3)), "\u{1b}[31m12345\u{1b}[0m\nb\n");
        check("\n\n\n", Some((5, 3)), "\n(2 more lines)\n");
        check("a\n", Some((5, 1)), "(1 more lines)\n");
        check("", Some((5, 3)), "");
    }
}
