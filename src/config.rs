//! From files to settings that exist only valid.

pub mod configuration;
pub mod diagnostic;
pub mod diff;
pub mod files;
pub mod ini;
pub mod lint;
pub mod nearest_name;
pub mod options;
pub mod parse;
pub mod preflight;
pub mod python;
pub mod settings;
pub mod sources;
pub mod symbol;
pub mod unknown;
