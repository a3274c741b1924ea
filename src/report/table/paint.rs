//! Colors on a terminal.
//!
//! Guarantees: pure. Without colors the text stays as it is.
//!
//! Out of scope: whether colors are wanted (`cli`).

/// A color, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// A problem.
    Red,
    /// All is well.
    Green,
    /// Intended by the operator, or not known yet.
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
