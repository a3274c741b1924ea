//! Map.
pub mod command;
pub mod event;
pub mod prefix;
pub mod check {
    //! Checks.
    pub mod health;
    pub mod schedule;
}
pub mod config {
    //! Configuration.
    pub mod settings;
}
pub mod log {
    //! Logging.
    pub mod format;
    pub mod layer;
}
pub mod report {
    //! Reports.
    pub mod snapshot;
}
