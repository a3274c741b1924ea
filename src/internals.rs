//! Items for benchmarks, fuzz targets, the plugin and integration tests. This is no stable
//! interface. Everything else is private to the crate, so that the compiler finds unused code.

pub use crate::cli::Arguments;

/// See [`crate::command`].
pub mod command {
    pub use crate::command::{Command, CommandError};
}

/// See [`crate::drain_file`].
pub mod drain_file {
    pub use crate::drain_file::{format, parse, DrainEnd, MAX_LEN};
}

/// See [`crate::prefix`].
pub mod prefix {
    pub use crate::prefix::{Family, Prefix, PrefixError};
}

/// See [`crate::bird`].
pub mod bird {
    pub use crate::bird::{prefix_file, prefix_list, protocol, routes};
    /// See [`crate::bird::history`].
    pub mod history {
        pub use crate::bird::history::{newest_good, History};
    }
    /// See [`crate::bird::state`].
    pub mod state {
        pub use crate::bird::state::{BirdState, Counts, FamilyState, Hold};
    }
}

/// See [`crate::check`].
pub mod check {
    pub use crate::check::{health, schedule, Check};
    /// See [`crate::check::watch_pidfile`].
    pub mod watch_pidfile {
        pub use crate::check::watch_pidfile::Pidfile;
    }
    /// See [`crate::check::state`].
    pub mod state {
        pub use crate::check::state::{CheckState, Verdict};
    }
}

/// See [`crate::config`].
pub mod config {
    pub use crate::config::{diagnostic, ini, options, settings};
    /// See [`crate::config::files`].
    pub mod files {
        pub use crate::config::files::{load, pidfile, recover, status_socket, Configuration, ServiceFiles, Sources};
    }
    /// See [`crate::config::lint`].
    pub mod lint {
        pub use crate::config::lint::LINTS;
    }
    /// See [`crate::config::parse`].
    pub mod parse {
        pub use crate::config::parse::settings;
    }
}

/// See [`crate::daemon_state`].
pub mod daemon_state {
    pub use crate::daemon_state::DaemonState;
}

/// See [`crate::log`].
pub mod log {
    pub use crate::log::format;
}

/// See [`crate::report`].
pub mod report {
    pub use crate::report::{document, nagios};
    /// See [`crate::report::client`].
    pub mod client {
        pub use crate::report::client::{ask, parse, AskError};
    }
    /// See [`crate::report::metrics`].
    pub mod metrics {
        pub use crate::report::metrics::{render, Process};
    }
    /// See [`crate::report::server`].
    pub mod server {
        pub use crate::report::server::start;
    }
    /// See [`crate::report::table`].
    pub mod table {
        pub use crate::report::table::render;
    }
}

/// See [`crate::sys`].
pub mod sys {
    pub use crate::sys::{clock, mutex, process, stop_token};
    /// See [`crate::sys::pidfd`].
    pub mod pidfd {
        pub use crate::sys::pidfd::Watcher;
    }
}
