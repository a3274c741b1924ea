//! What a service's state, the lists and BIRD must agree on whatever happened before: the daemon reads the levels, and
//! no event that was lost, late or meant for an older configuration decides anything.
//!
//! | situation | what happened | shown by |
//! |---|---|---|
//! | a drained service gained a prefix by a reload | the prefix stayed for good | `levels::reload` |
//! | a reload met the drain watcher in the middle of a look | the service stayed withdrawn, or advertised | `levels::reload` |
//! | the way to BIRD was corrected by a reload | what the wrong way had confirmed counted | `levels::reload` |
//! | a custom command failed before a restart, or was gone | the route of a dead service stayed | `levels::custom` |
//! | two commands configured BIRD at one moment | BIRD 3 ended | `levels::configure` |
//! | the list was a link that was replaced, or was lost with a history | routes stayed, left or came back | `levels::lists` |
//! | a service's first verdict was not in sight | its host was held for ever, and nothing said so | `levels::lists` |
//! | the status socket or the pidfile was deleted | the daemon that ran was said not to run | `levels::process` |
//! | the machine stalled, was a container, limited file sizes | routes left, zombies stayed, the daemon ended | `levels::machine` |

mod configure;
mod custom;
#[cfg(target_arch = "x86_64")]
mod held_open;
mod lists;
mod machine;
mod process;
mod reload;
