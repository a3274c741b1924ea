//! Where lines go: stdout, a file; each behind a bounded queue with a thread of its own.
//!
//! Promises: no target can block, slow or end the daemon: what a target refuses is lost and the next line tried again.
//! Leaves out: the lines themselves (`log::layer`, `log::format`).

use std::fs::File;
use std::io::{self, Write};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::config::settings::Log;
use crate::log::format::Style;
use crate::log::layer::{Frame, Lines, Target};

/// How many lines may wait for one target, some 2 MB at most in the usual case.
const QUEUE: usize = 16 * 1024;

/// The log's threads; dropping it writes out what waits, for a second at most.
pub struct Guards(#[expect(dead_code, reason = "held for its drop")] Vec<WorkerGuard>);

/// Starts the targets that are configured: stdout where there is neither a file nor a server, as the original has it.
pub fn start(log: &Log) -> (Lines, Guards) {
    let text = Style::Text { width: log.width };
    let json = |on: bool, otherwise: Style| if on { Style::Json { prefix: log.json_prefix } } else { otherwise };
    let mut targets = Vec::new();
    let mut guards = Vec::new();
    let mut add = |style: Style, (queue, guard): (NonBlocking, WorkerGuard)| {
        targets.push(Target { style, queue, frame: Frame::Line });
        guards.push(guard);
    };
    if let Some(path) = &log.file {
        let open = File::options().append(true).create(true).open(path);
        match open {
            Ok(file) => add(json(log.json_file, text.clone()), queue(file)),
            Err(_) => add(json(log.json_file, text.clone()), queue(io::stdout())),
        }
    }
    if log.file.is_none() && log.server.is_none() {
        let plain = if log.journalctl { Style::Journal } else { text };
        add(json(log.json_stdout, plain), queue(io::stdout()));
    }
    (Lines::new(log.level, targets), Guards(guards))
}

fn queue(target: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE).thread_name("log").finish(target)
}
