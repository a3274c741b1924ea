//! Waiting for descriptors until an instant, however often a signal interrupts.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

/// How long to rest after an error that is no interruption (the kernel is out of memory), so as not to spin on it.
const REST: Duration = Duration::from_millis(10);

/// Waits until one of `fds` has an event or `until` has come, and says whether one has. `None` waits as long as it takes.
///
/// An instant that is past looks once and does not wait.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], until: Option<Instant>) -> bool {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // What no timespec can hold is for ever.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(fds, timeout.as_ref()) {
            Ok(ready) => return ready > 0,
            Err(_) if left == Some(Duration::ZERO) => return false,
            Err(Errno::INTR) => {}
            Err(_) => std::thread::sleep(REST),
        }
    }
}
