//! `--status`: once, or again and again.
//!
//! Promises: the exit code is about the whole daemon, whatever is shown of it; colors are for terminals, and not where
//! `NO_COLOR` is set. `--watch` goes on when the daemon goes away, and ends with its reader or a signal.
//! Leaves out: the document (`report::document`), what is shown of it (`report::view`).

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::cli::{fail, screen, tell, written, ExitStatus};
use crate::config::files::{self, Sources};
use crate::report::client::{self, AskError};
use crate::report::view::{NoService, Style, View};

/// How long the daemon has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two pictures.
const EVERY: Duration = Duration::from_secs(1);

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    NoService(#[from] NoService),
}

/// DrainTarget to ask, and what for.
struct Status<'a> {
    socket: PathBuf,
    pidfile: Option<PathBuf>,
    view: &'a View,
    is_terminal: bool,
}

/// Shows the status, every second where `watch` is set.
pub(super) fn run(sources: &Sources, view: &View, watch: bool) -> ExitStatus {
    let socket = match files::status_socket(sources) {
        Ok(socket) => socket,
        Err(problems) => {
            tell(&problems);
            return ExitStatus::Failed;
        }
    };
    let is_terminal = io::stdout().is_terminal();
    let status = Status { socket, pidfile: files::pidfile(sources), view, is_terminal };
    if watch {
        status.watch()
    } else {
        status.show()
    }
}

impl Status<'_> {
    fn show(&self) -> ExitStatus {
        match self.ask() {
            Ok((text, well)) => {
                // A reader that went away changes nothing.
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

    /// Shows it until standard output takes no more, or a signal ends the process.
    fn watch(&self) -> ExitStatus {
        let is_drawn = self.is_terminal && !self.view.json;
        let mut between = "";
        loop {
            let text = match self.ask() {
                Ok((text, _)) => Some(text),
                // Who reads documents reads nothing else.
                Err(why) if self.view.json => {
                    fail(&why);
                    None
                }
                Err(why) => Some(format!("{why}\n").into_bytes()),
            };
            if let Some(text) = text {
                let text = String::from_utf8_lossy(&text);
                let text = match is_drawn {
                    true => screen::picture(&text, screen::size()),
                    false => format!("{between}{text}"),
                };
                let mut out = io::stdout().lock();
                let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                if done.is_err() {
                    return written(done);
                }
                between = "\n";
            }
            thread::sleep(EVERY);
        }
    }

    /// What to show, and whether all is well.
    fn ask(&self) -> Result<(Vec<u8>, bool), StatusError> {
        let asked = client::ask_whole(&self.socket, ANSWER_TIMEOUT);
        let (document, answer) = asked.map_err(|why| why.confirmed(self.pidfile.as_deref()))?;
        let well = document.well;
        let colors = self.is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok((self.view.show(document, answer, Style { colors, width: screen::width() })?, well))
    }
}
