//! A mutex that a panic does not poison: the value stays as the thread that panicked left it.
//!
//! A panic is a bug that ends the daemon anyway. Until then the other threads need a value rather
//! than one more panic.

use std::sync::{MutexGuard, PoisonError};

/// A value that several threads share.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Creates a mutex that holds `value`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Locks the value until the guard is dropped. Keep that short.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
