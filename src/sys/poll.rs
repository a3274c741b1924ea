//! System calls that a signal may interrupt: waiting for descriptors until a deadline, and
//! repeating calls that the standard library does not repeat itself.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

/// Pause after an error other than an interruption (such as a kernel out of memory), so as not to
/// spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Makes a call, and repeats it as long as a signal interrupts it.
///
/// Opening a directory on a network file system or in FUSE, for example, can be interrupted.
pub(crate) fn retry_on_intr<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Waits until one of `fds` has an event or the deadline is reached, and returns whether one has an
/// event.
///
/// `None` waits without limit. A deadline in the past checks once and does not wait.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> bool {
    loop {
        let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A duration that does not fit into a timespec means no limit.
        let timeout = remaining.and_then(|remaining| Timespec::try_from(remaining).ok());
        match rustix::event::poll(fds, timeout.as_ref()) {
            Ok(ready) => return ready > 0,
            Err(_) if remaining == Some(Duration::ZERO) => return false,
            Err(Errno::INTR) => {}
            Err(_) => std::thread::sleep(ERROR_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interrupted_call_is_repeated() {
        let check = |errors: &[Errno], expected: Result<usize, io::ErrorKind>| {
            let mut calls = 0;
            let result = retry_on_intr(|| {
                calls += 1;
                errors.get(calls - 1).map_or(Ok(calls), |errno| Err((*errno).into()))
            });
            assert_eq!(result.map_err(|error| error.kind()), expected, "{errors:?}");
        };
        check(&[], Ok(1));
        check(&[Errno::INTR, Errno::INTR], Ok(3));
        check(&[Errno::INTR, Errno::ACCESS], Err(io::ErrorKind::PermissionDenied));
    }
}
