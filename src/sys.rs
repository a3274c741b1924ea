//! The operating system: one module for each of its interfaces that the program uses.
//!
//! | module | is for |
//! |---|---|
//! | [`atomic_file`] | replacing a file as a whole, reading regular files |
//! | [`background`] | running commands in the background, a few at a time, one per key |
//! | [`clock`] | one moment by the wall clock and by the monotonic clock |
//! | [`links`] | resolving symbolic links one by one |
//! | [`log_once`] | logging a lasting problem once when it begins and once when it ends |
//! | [`mutex`] | a mutex that a panic does not poison |
//! | [`netlink`] | the addresses of the machine's interfaces, and notifications of changes |
//! | [`orphans`] | processes that could not be killed, kept until they have ended |
//! | [`pidfd`] | exit notification for processes that are not children |
//! | [`poll`] | waiting for descriptors until a deadline |
//! | [`process`] | running one program with limits; the only module that starts programs |
//! | [`reaper`] | reaping orphaned children where this process is process 1 or a subreaper |
//! | [`sd_notify`] | notifying systemd: ready, reloading, status line, watchdog |
//! | [`signals`] | waiting for signals in the main thread |
//! | [`single_instance`] | the abstract socket and the pidfile that keep a second daemon from starting |
//! | [`startup`] | inherited descriptors, an ignored SIGCHLD, the limit of open files |
//! | [`stop_token`] | stopping all threads with one descriptor |
//! | [`unix_socket`] | the group that may connect to a Unix socket |
//!
//! Guarantees: no module here knows services, BIRD or the configuration.

pub mod atomic_file;
pub mod background;
pub mod clock;
pub(crate) mod links;
pub(crate) mod log_once;
pub mod mutex;
pub mod netlink;
pub mod orphans;
pub mod pidfd;
pub(crate) mod poll;
pub mod process;
pub mod reaper;
pub mod sd_notify;
pub mod signals;
pub mod single_instance;
pub mod startup;
pub mod stop_token;
pub(crate) mod unix_socket;
