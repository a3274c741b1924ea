//! The configuration: from the text of the files to settings that exist only valid.
//!
//! ```text
//!   text       the bytes of the files                  sources: which files; files: reads them
//!     | ini, ini::parser
//!     v
//!   sections   sections of options, each with its      ini: merged as Python's configparser does,
//!     |        file and line                           and references such as %(name)s replaced
//!     | parse
//!     v
//!   settings   the daemon and the services             settings: the types; options: the table of
//!     |                                                all options; python, symbol: values
//!     | diff
//!     v
//!   the changes that a reload makes
//! ```
//!
//! [`files`] runs all stages. Each problem on the way is a [`diagnostic::Diagnostic`], which names
//! file, line, section, option and value. Errors come from `ini` and `parse`. Warnings come from
//! `unknown` (unknown options, with the help of `nearest_name`) and `lint` (probable mistakes).
//! `preflight` and `lint::machine` compare settings with this machine.
//! [`configuration::Configuration`] keeps the settings together with the sections they came from,
//! so that a problem of the machine names its line too.

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
