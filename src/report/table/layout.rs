//! Lays out rows of cells within a width.
//!
//! Guarantees: pure. A row is never wider than requested, down to [`MIN_WIDTH`]. A cell that is
//! longer than its column continues in the next line of that column; no text is cut off.
//!
//! Out of scope: characters that are two columns wide.

use std::fmt::Write as _;

use crate::report::table::paint::{Color, Paint};

/// A cell: its text and its color.
pub type Cell = (String, Option<Color>);

/// The smallest width that a table is laid out for.
pub const MIN_WIDTH: usize = 40;
/// The number of blanks between two columns.
const GAP: usize = 2;
/// The largest width of a column: one giant name must not fill every row with blanks.
const MAX_COLUMN: usize = 200;
/// The longest word that stays whole at the cost of other columns: a usual IPv6 prefix.
const MAX_WHOLE_WORD: usize = 26;
/// The smallest width of a column whose words are broken.
const MIN_COLUMN: usize = 4;

/// Returns the width of each column. A column is as wide as its longest cell. If a row is too wide
/// then, columns are narrowed to their longest word, in the given order. If it is still too wide,
/// the widest columns break words.
pub fn widths<'a, const N: usize>(
    rows: impl IntoIterator<Item = &'a [Cell; N]>,
    order: [usize; N],
    width: usize,
) -> [usize; N] {
    let (mut widths, mut words) = ([0; N], [0; N]);
    for row in rows {
        for ((cell, _), (column, word)) in row.iter().zip(widths.iter_mut().zip(&mut words)) {
            *column = (*column).max(length(cell).min(MAX_COLUMN));
            *word = cell.split(' ').map(length).fold(*word, usize::max);
        }
    }
    let available = width.max(MIN_WIDTH).saturating_sub(GAP * N.saturating_sub(1));
    for column in order {
        let excess = widths.iter().sum::<usize>().saturating_sub(available);
        let minimum = words[column].min(MAX_WHOLE_WORD).min(widths[column]);
        widths[column] = widths[column].saturating_sub(excess).max(minimum);
    }
    while widths.iter().sum::<usize>() > available {
        match widths.iter_mut().max().filter(|widest| **widest > MIN_COLUMN) {
            Some(widest) => *widest -= 1,
            None => break,
        }
    }
    widths
}

/// Writes one row, which takes as many lines as its tallest cell.
pub fn write_row<const N: usize>(row: &[Cell; N], widths: &[usize; N], paint: Paint, text: &mut String) {
    let cells: Vec<(Vec<&str>, Option<Color>)> =
        row.iter().zip(widths).map(|((cell, color), width)| (wrap(cell, *width), *color)).collect();
    let height = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
    for n in 0..height {
        let mut blanks = 0;
        for ((lines, color), width) in cells.iter().zip(widths) {
            let part = lines.get(n).copied().unwrap_or("");
            if !part.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{:blanks$}", "");
                text.push_str(&color.map_or_else(|| part.to_string(), |color| paint.with(color, part)));
                blanks = 0;
            }
            // Blanks are written only before another cell, so no line ends with blanks.
            blanks += width.saturating_sub(length(part)) + GAP;
        }
        text.push('\n');
    }
}

/// Splits a text into lines of at most `width` characters, between words where that is possible.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((limit, _)) = rest.char_indices().nth(width.max(1)) {
        // A line may be full exactly where the blank is.
        let head = &rest[..limit];
        let end = if rest[limit..].starts_with(' ') { Some(limit) } else { head.rfind(' ') };
        let end = end.filter(|end| *end > 0).unwrap_or(limit);
        lines.push(rest[..end].trim_end_matches(' '));
        rest = rest[end..].trim_start_matches(' ');
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest);
    }
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
