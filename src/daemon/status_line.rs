//! The status line that `systemctl status` shows.

use std::sync::Arc;

use crate::daemon_state::DaemonState;
use crate::report::status;
use crate::sys::mutex::Mutex;
use crate::sys::sd_notify::ServiceManager;

/// The status line. The bird-writer updates it after each step, the main thread after each reload.
pub(super) struct StatusLine {
    state: Arc<DaemonState>,
    notify: Arc<ServiceManager>,
    /// The line that systemd accepted last. Locked while sending, so that the newest line is sent
    /// last.
    last: Mutex<String>,
}

impl StatusLine {
    pub(super) fn new(state: Arc<DaemonState>, notify: Arc<ServiceManager>) -> StatusLine {
        StatusLine { state, notify, last: Mutex::default() }
    }

    /// Sends the line to systemd if it changed. A line that systemd does not accept is sent again
    /// with the next update.
    pub(super) fn update(&self) {
        let mut last = self.last.lock();
        let line = status::line(&self.state);
        if line != *last && self.notify.status(&line).is_ok() {
            *last = line;
        }
    }
}
