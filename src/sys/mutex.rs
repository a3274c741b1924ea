//! A mutex that a panic does not poison: the thread that panicked leaves its last value.
//!
//! A panic is a bug that ends the daemon anyway, and what others need until then is a value rather than one more panic.

use std::sync::{MutexGuard, PoisonError};

/// A value that several threads share.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Takes the first value.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    /// The value, for as long as the guard lives: keep it short.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
