//! Map.
pub mod command;
pub mod event;
pub mod prefix;
pub mod bird {
    //! BIRD.
    pub mod custom;
    pub mod pace;
    pub mod prefix_file;
    pub mod routes;
}
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
    pub mod sink;
}
pub mod report {
    //! Reports.
    pub mod snapshot;
}
pub mod sys {
    //! System.
    #[cfg(test)]
    mod alone;
    pub mod atomic_file;
    pub mod inherited;
    mod poll;
    pub mod process;
    pub mod stop_line;
}
