//! The errors that Linux can return from each system call. They are the faults to inject.
//!
//! Out of scope: errors caused by bugs of the caller (EBADF, EINVAL, EFAULT), and a lack of memory
//! in the process (`mmap`), at which Rust's allocator aborts. Writes to an eventfd and reads from a
//! signalfd fail only with EAGAIN, which cannot happen where the daemon uses them.
//! docs/fault-injection.md lists the pairs that cannot occur.

use nix::errno::Errno::{self, *};

/// A call and its possible errors.
pub(crate) type Row = (&'static str, &'static [Errno]);

/// All faults to inject.
pub(crate) const TABLE: &[Row] = &[
    ("open", &[EMFILE, ENFILE, ENOMEM, EACCES, EIO, EAGAIN, EINTR]),
    ("create", &[ENOSPC, EMFILE, ENFILE, ENOMEM, EACCES, EIO, EINTR]),
    ("read file", &[EIO, EINTR]),
    ("read pipe", &[EINTR]),
    ("write file", &[ENOSPC, EIO, ENOMEM, EINTR]),
    ("fsync", &[EIO, ENOSPC, ENOMEM, EINTR]),
    ("fchmod", &[EIO, EPERM]),
    ("chmod", &[EIO, EPERM]),
    ("ftruncate", &[EIO, EINTR]),
    ("flock", &[ENOLCK, EINTR]),
    ("getdents", &[EIO, ENOMEM]),
    ("stat", &[EACCES, EIO, ENOMEM]),
    ("fstat", &[EIO]),
    ("rename", &[ENOSPC, EIO, EACCES, ENOMEM]),
    ("unlink", &[ENOSPC, EIO, EACCES, ENOMEM]),
    ("link", &[ENOSPC, EIO, EACCES, EMLINK]),
    ("mkdir", &[ENOSPC, EACCES, EIO]),
    ("execve", &[ENOMEM, EAGAIN, EACCES, EIO, EMFILE, ENFILE]),
    ("clone process", &[EAGAIN, ENOMEM]),
    ("clone thread", &[EAGAIN, ENOMEM]),
    ("pipe", &[EMFILE, ENFILE, ENOMEM]),
    ("poll", &[EINTR, ENOMEM]),
    ("pidfd_open", &[EMFILE, ENFILE, ENOMEM]),
    ("eventfd", &[EMFILE, ENFILE, ENOMEM]),
    ("signalfd", &[EMFILE, ENFILE, ENOMEM]),
    ("inotify_init", &[EMFILE, ENFILE, ENOMEM]),
    ("inotify_add_watch", &[ENOSPC, ENOMEM, EACCES]),
    ("socket", &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EACCES]),
    ("bind", &[EADDRINUSE, EACCES, ENOMEM, ENOSPC]),
    ("listen", &[EADDRINUSE]),
    ("accept", &[EMFILE, ENFILE, ENOMEM, EINTR]),
    ("send", &[EAGAIN, ENOMEM, ENOBUFS, EACCES, EINTR]),
    ("wake", &[ENOMEM, ENOBUFS]),
    ("receive", &[ENOBUFS, ENOMEM, EINTR]),
    ("wait", &[EINTR]),
    ("kill", &[EPERM]),
];

/// Calls that the daemon makes only or more often if it uses BIRD's control socket.
pub(crate) const BY_SOCKET: &[Row] = &[
    ("socket", &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EACCES]),
    ("connect", &[EAGAIN, ENFILE, ENOMEM, EACCES, ECONNREFUSED, EINTR]),
    ("send", &[EAGAIN, ENOMEM, ENOBUFS, EACCES, EINTR]),
    ("receive", &[ENOBUFS, ENOMEM, EINTR]),
    ("poll", &[EINTR, ENOMEM]),
];

/// Calls before which the daemon is killed.
pub(crate) const DEADLY: &[&str] = &[
    "open",
    "create",
    "write file",
    "fsync",
    "fchmod",
    "ftruncate",
    "rename",
    "unlink",
    "link",
    "mkdir",
    "execve",
    "clone process",
    "clone thread",
    "pipe",
    "poll",
    "socket",
    "bind",
    "send",
    "wake",
    "wait",
];

/// The same for calls that matter with BIRD's control socket.
pub(crate) const DEADLY_BY_SOCKET: &[&str] = &["socket", "connect", "send", "receive", "poll"];
