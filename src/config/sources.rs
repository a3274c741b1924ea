//! The files to read, as given on the command line.

use std::path::PathBuf;

/// The files of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The main file.
    pub main: PathBuf,
    /// The files of the services.
    pub services: ServiceFiles,
}

/// The files of the services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceFiles {
    /// Every `*.conf` in this directory whose name does not begin with a dot.
    Directory(PathBuf),
    /// This file.
    File(PathBuf),
}
