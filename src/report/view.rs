//! The part of a status document that an operator asked to see.
//!
//! Guarantees: pure. Only `services` is filtered; the summary, the families and `well` stay those
//! of the whole daemon. An unfiltered JSON document is shown byte by byte as the daemon sent it.
//!
//! Out of scope: how the table looks (`report::table`), and where it is shown (`cli`).

use std::collections::HashSet;

use crate::config::nearest_name::nearest_name;
use crate::report::document::Document;
use crate::report::table;
use crate::report::urgency::Urgency;

/// What to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Show the JSON document instead of the table.
    pub json: bool,
    /// Show only services that are not well.
    pub down: bool,
    /// Show only these services; all if the list is empty.
    pub services: Vec<String>,
}

/// The look of the table.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether colors are wanted.
    pub colors: bool,
    /// The maximum width of a row.
    pub width: usize,
}

/// The error for a name that no service of the daemon has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the running daemon has no service {service}{}", .nearest.as_ref().map_or(String::new(), |name| format!("; did you mean {name}?")))]
pub struct NoService {
    /// The name.
    service: String,
    /// The name of a service nearest to it.
    nearest: Option<String>,
}

impl View {
    /// Returns the text to show of a document, which was parsed from `answer`.
    pub fn show(&self, mut document: Document, answer: Vec<u8>, style: Style) -> Result<Vec<u8>, NoService> {
        if self.json && !self.down && self.services.is_empty() {
            return Ok(answer);
        }
        self.filter(&mut document)?;
        if self.json {
            // Serializing cannot fail: the document consists of texts and finite numbers.
            let mut text = serde_json::to_vec(&document).unwrap_or_default();
            text.push(b'\n');
            return Ok(text);
        }
        Ok(table::render(&document, style.colors, style.width).into_bytes())
    }

    /// Removes the services that are not shown.
    fn filter(&self, document: &mut Document) -> Result<(), NoService> {
        let known: HashSet<&str> = document.services.iter().map(|service| &*service.name).collect();
        if let Some(unknown) = self.services.iter().find(|name| !known.contains(name.as_str())) {
            let names = document.services.iter().map(|service| &*service.name);
            let nearest = nearest_name(names, unknown).map(String::from);
            return Err(NoService { service: unknown.clone(), nearest });
        }
        let named: HashSet<&str> = self.services.iter().map(String::as_str).collect();
        document.services.retain(|service| {
            let is_named = named.is_empty() || named.contains(&*service.name);
            is_named && !(self.down && Urgency::of(service).is_well())
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
