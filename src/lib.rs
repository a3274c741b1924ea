//! Map.
pub mod command;
pub mod prefix;
pub mod bird {
    //! BIRD.
    pub mod prefix_file;
    pub mod routes;
}
pub mod check {
    //! Checks.
    pub mod health;
}
pub mod config {
    //! Configuration.
    pub mod settings;
}
