//! Where the configuration is read from, as the command line says.

use std::path::PathBuf;

/// Where the configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The main file.
    pub main: PathBuf,
    /// Where the services are.
    pub services: ServiceFiles,
}

/// Where the services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceFiles {
    /// Every `*.conf` in this directory whose name does not begin with a dot.
    Directory(PathBuf),
    /// This file.
    File(PathBuf),
}
