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
pub mod sys {
    //! The operating system, one thing of it a room.
    #[cfg(test)]
    mod alone;
    pub mod atomic_file;
    pub mod inherited;
    mod poll;
    pub mod process;
    pub mod stop_line;
}
