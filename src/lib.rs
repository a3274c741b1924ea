//! Map.
pub mod command;
pub mod prefix;
pub mod check {
    //! Checks.
    pub mod health;
}
pub mod config {
    //! Configuration.
    pub mod settings;
}
