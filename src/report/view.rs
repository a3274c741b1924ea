//! What an operator asked to see of a status document.
//!
//! Promises: pure; `services` alone is filtered: the summary, the families and whether all is well stay those of the whole
//! daemon. A document of which nothing is left out is shown as it came.
//! Leaves out: how the table looks (`report::table`), where it is shown (`cli`).

use std::collections::HashSet;

use crate::config::nearest_name::nearest_name;
use crate::report::document::Document;
use crate::report::table;
use crate::report::urgency::Urgency;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The JSON document rather than the table.
    pub json: bool,
    /// Only what is not well.
    pub down: bool,
    /// Only these services; all where there are none.
    pub services: Vec<String>,
}

/// How the table is to look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether colors are wanted.
    pub colors: bool,
    /// How wide a row may be.
    pub width: usize,
}

/// The daemon has no service of this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the running daemon has no service {service}{}", .nearest.as_ref().map_or(String::new(), |name| format!("; did you mean {name}?")))]
pub struct NoService {
    /// The service that was meant.
    service: String,
    /// The nearest name.
    nearest: Option<String>,
}

impl View {
    /// The text to show of a document that came as `answer`.
    pub fn show(&self, mut document: Document, answer: Vec<u8>, style: Style) -> Result<Vec<u8>, NoService> {
        if self.json && !self.down && self.services.is_empty() {
            return Ok(answer);
        }
        self.filter(&mut document)?;
        if self.json {
            // The document consists of texts and finite numbers, which serde_json always writes.
            let mut text = serde_json::to_vec(&document).unwrap_or_default();
            text.push(b'\n');
            return Ok(text);
        }
        Ok(table::render(&document, style.colors, style.width).into_bytes())
    }

    /// Takes the services out that are not asked for.
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
