//! Which errors Linux can return from which call: what the faults are made of.
//!
//! Left out: errors that tell of a bug of the caller (EBADF, EINVAL, EFAULT), and want of memory inside the process
//! (`mmap`), where Rust's allocator ends every program. Writing to an eventfd and reading from a signalfd fail only with
//! EAGAIN, and cannot at the places where the daemon does so. docs/fault-injection.md lists the pairs that cannot occur.

use nix::errno::Errno::{self, *};

/// A call and the errors it may give.
pub(crate) type Row = (&'static str, &'static [Errno]);

/// All that are injected.
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

/// Those that the daemon makes, or makes more often, where it speaks to BIRD over its control socket.
pub(crate) const BY_SOCKET: &[Row] = &[
    ("socket", &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EACCES]),
    ("connect", &[EAGAIN, ENFILE, ENOMEM, EACCES, ECONNREFUSED, EINTR]),
    ("send", &[EAGAIN, ENOMEM, ENOBUFS, EACCES, EINTR]),
    ("receive", &[ENOBUFS, ENOMEM, EINTR]),
    ("poll", &[EINTR, ENOMEM]),
];

/// Calls at which the daemon is killed: before each, as what it has done until then is what is left.
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

/// Those of them, and more, that matter with the control socket.
pub(crate) const DEADLY_BY_SOCKET: &[&str] = &["socket", "connect", "send", "receive", "poll"];
