//! Convergence: a service's state, the lists and BIRD agree in the end, whatever happened before.
//! No lost, late or outdated event decides anything.
//!
//! | situation | failure of an event-driven program | shown by |
//! |---|---|---|
//! | a drained service got another prefix by a reload | the prefix stayed advertised | `levels::reload` |
//! | a reload came while the drain watcher read the files | the service stayed withdrawn, or advertised | `levels::reload` |
//! | a reload corrected the reconfigure command | confirmations of the wrong command still counted | `levels::reload` |
//! | a custom command failed before a restart, or was deleted | the route of a dead service stayed | `levels::custom` |
//! | two commands configured BIRD at the same time | BIRD 3 crashed | `levels::configure` |
//! | the list was a replaced symbolic link, or was lost and had a history | routes stayed, left or came back | `levels::lists` |
//! | the first verdict of a service did not come | the host's list was held forever without a message | `levels::lists` |
//! | the status socket or the pidfile was deleted | the running daemon was reported as not running | `levels::process` |
//! | the machine stalled, was a container, or limited file sizes | routes left, zombies stayed, the daemon ended | `levels::machine` |

mod configure;
mod custom;
#[cfg(target_arch = "x86_64")]
mod held_open;
mod lists;
mod machine;
mod process;
mod reload;
