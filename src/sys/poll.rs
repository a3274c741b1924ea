//! What a signal interrupts goes on: waiting for descriptors until an instant, and calls that the standard library does
//! not make again itself.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

/// How long to rest after an error that is no interruption (the kernel is out of memory), so as not to spin on it.
const REST: Duration = Duration::from_millis(10);

/// Makes a call, again where a signal interrupted it: opening a directory on a network file system or in FUSE, say.
pub(crate) fn retry_on_intr<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_is_made_again_and_no_other() {
        let check = |errors: &[Errno], expected: Result<usize, io::ErrorKind>| {
            let mut calls = 0;
            let found = retry_on_intr(|| {
                calls += 1;
                errors.get(calls - 1).map_or(Ok(calls), |errno| Err((*errno).into()))
            });
            assert_eq!(found.map_err(|error| error.kind()), expected, "{errors:?}");
        };
        check(&[], Ok(1));
        check(&[Errno::INTR, Errno::INTR], Ok(3));
        check(&[Errno::INTR, Errno::ACCESS], Err(io::ErrorKind::PermissionDenied));
    }
}
