//! `--status`: shows the status once, or every second.
//!
//! Guarantees: the exit code is about the whole daemon, whatever part of the status is shown.
//! Colors are for terminals, and only if `NO_COLOR` is not set. `--watch` keeps running if the
//! daemon stops; it ends with its reader or by a signal.
//!
//! Blocking: on the daemon, for [`ANSWER_TIMEOUT`] at most.
//!
//! Out of scope: the document (`report::document`), what is shown of it (`report::view`).

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::cli::{fail, output_status, print_problems, screen, ExitStatus};
use crate::config::files::{self, Sources};
use crate::report::client::{self, AskError};
use crate::report::view::{NoService, Style, View};

/// How long the daemon has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often `--watch` refreshes.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Why there is no status to show.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    NoService(#[from] NoService),
}

/// A request for the status.
struct StatusRequest<'a> {
    socket: PathBuf,
    pidfile: Option<PathBuf>,
    view: &'a View,
    is_terminal: bool,
}

/// Shows the status; every second if `watch` is set.
pub(super) fn run(sources: &Sources, view: &View, watch: bool) -> ExitStatus {
    let socket = match files::status_socket(sources) {
        Ok(socket) => socket,
        Err(problems) => {
            print_problems(&problems);
            return ExitStatus::Failed;
        }
    };
    let is_terminal = io::stdout().is_terminal();
    let request = StatusRequest { socket, pidfile: files::pidfile(sources), view, is_terminal };
    if watch {
        request.watch()
    } else {
        request.show()
    }
}

impl StatusRequest<'_> {
    fn show(&self) -> ExitStatus {
        match self.ask() {
            Ok((text, well)) => {
                // The exit code is the same if the reader is gone.
                let mut out = io::stdout().lock();
                let _ = out.write_all(&text).and_then(|()| out.flush());
                match well {
                    true => ExitStatus::Success,
                    false => ExitStatus::Failed,
                }
            }
            Err(why) => {
                fail(&why);
                match why {
                    StatusError::Ask(AskError::NotRunning { .. }) => ExitStatus::NotRunning,
                    _ => ExitStatus::Failed,
                }
            }
        }
    }

    /// Shows the status until writing to standard output fails, or a signal ends the process.
    fn watch(&self) -> ExitStatus {
        let is_drawn = self.is_terminal && !self.view.json;
        let mut separator = "";
        loop {
            let text = match self.ask() {
                Ok((text, _)) => Some(text),
                // A program that reads JSON expects nothing else on standard output.
                Err(why) if self.view.json => {
                    fail(&why);
                    None
                }
                Err(why) => Some(format!("{why}\n").into_bytes()),
            };
            if let Some(text) = text {
                let text = String::from_utf8_lossy(&text);
                let text = match is_drawn {
                    true => screen::frame(&text, screen::size()),
                    false => format!("{separator}{text}"),
                };
                let mut out = io::stdout().lock();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                if written.is_err() {
                    return output_status(written);
                }
                separator = "\n";
            }
            thread::sleep(REFRESH_INTERVAL);
        }
    }

    /// Returns the text to show, and whether all is well.
    fn ask(&self) -> Result<(Vec<u8>, bool), StatusError> {
        let asked = client::ask_raw(&self.socket, ANSWER_TIMEOUT);
        let (document, answer) = asked.map_err(|why| why.confirmed(self.pidfile.as_deref()))?;
        let well = document.well;
        let colors = self.is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok((self.view.show(document, answer, Style { colors, width: screen::width() })?, well))
    }
}
