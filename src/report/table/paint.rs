//! Colors on a terminal.
//!
//! Promises: pure; without colors the text stays as it is.
//! Leaves out: whether colors are wanted (`cli`).

/// A color by its meaning to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Something is wrong.
    Red,
    /// All is well.
    Green,
    /// Somebody wants it so, or it is not known yet.
    Yellow,
}

/// Whether colors are wanted.
#[derive(Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    /// Returns the text in this color.
    pub fn with(self, color: Color, text: &str) -> String {
        let code = match color {
            Color::Red => 31,
            Color::Green => 32,
            Color::Yellow => 33,
        };
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}
