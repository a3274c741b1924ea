//! To be replaced.
use std::time::Duration;
/// To be replaced.
#[derive(Clone, Debug)]
pub struct Notify;
impl Notify {
    /// x
    pub fn from_environment() -> Notify {
        Notify
    }
    /// x
    pub fn ready(&self) {}
    /// x
    pub fn status(&self, _text: &str) {}
    /// x
    pub fn stopping(&self) {}
    /// x
    pub fn watchdog(&self) {}
    /// x
    pub fn watchdog_interval(&self) -> Option<Duration> {
        None
    }
}
