//! Rows of cells within a width.
//!
//! Promises: pure; a row is never wider than asked for, down to [`LEAST_WIDTH`]; a cell that is longer than its column goes
//! on in the next line under its own column; nothing is cut off.
//! Leaves out: characters that are two columns wide.

use std::fmt::Write as _;

use crate::report::table::paint::{Color, Paint};

/// One cell: its text and its color.
pub type Cell = (String, Option<Color>);

/// The least width that a table is laid out for.
pub const LEAST_WIDTH: usize = 40;
/// The blanks between two columns.
const GAP: usize = 2;
/// How far a column widens with what stands in it: one giant name must not fill every row with blanks.
const WIDEST: usize = 200;
/// The longest word that is kept whole at the cost of other columns: the usual IPv6 prefix.
const WHOLE_WORD: usize = 26;
/// How far a column is narrowed where words are broken.
const NARROWEST: usize = 4;

/// Returns the width of each column. A column is as wide as what stands in it. Where that is too much for a row, columns
/// are narrowed to their longest word, those in `order` first; where that is not enough, the widest columns break words.
pub fn widths<'a, const N: usize>(
    rows: impl IntoIterator<Item = &'a [Cell; N]>,
    order: [usize; N],
    width: usize,
) -> [usize; N] {
    let (mut widths, mut words) = ([0; N], [0; N]);
    for row in rows {
        for ((cell, _), (column, word)) in row.iter().zip(widths.iter_mut().zip(&mut words)) {
            *column = (*column).max(length(cell).min(WIDEST));
            *word = cell.split(' ').map(length).fold(*word, usize::max);
        }
    }
    let room = width.max(LEAST_WIDTH).saturating_sub(GAP * N.saturating_sub(1));
    for column in order {
        let excess = widths.iter().sum::<usize>().saturating_sub(room);
        let least = words[column].min(WHOLE_WORD).min(widths[column]);
        widths[column] = widths[column].saturating_sub(excess).max(least);
    }
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max().filter(|widest| **widest > NARROWEST) {
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
            // Blanks are due only when something follows.
            blanks += width.saturating_sub(length(part)) + GAP;
        }
        text.push('\n');
    }
}

/// Splits a text into lines of at most `width` characters, between words where that is possible.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((most, _)) = rest.char_indices().nth(width.max(1)) {
        // The blank that ends a line may stand just behind it.
        let head = &rest[..most];
        let end = if rest[most..].starts_with(' ') { Some(most) } else { head.rfind(' ') };
        let end = end.filter(|end| *end > 0).unwrap_or(most);
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
