//! A control socket that answers in the place of BIRD, with the help of the run's reconfigure
//! script.
//!
//! Guarantees: it answers the daemon's requests like BIRD 2.0: the status, `configure`, and queries
//! of the list.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::lab::prefixes_in;

/// The name of the socket in the directory of a run.
pub(crate) const SOCKET: &str = "bird.ctl";

/// Answers until it is dropped.
pub(crate) struct FakeBird {
    directory: PathBuf,
    ends: Arc<AtomicBool>,
}

impl FakeBird {
    /// Starts to answer for the run in this directory.
    pub(crate) fn start(directory: &Path) -> FakeBird {
        let listener = UnixListener::bind(directory.join(SOCKET)).unwrap();
        let bird = FakeBird { directory: directory.to_path_buf(), ends: Arc::default() };
        let (directory, ended) = (bird.directory.clone(), bird.ends.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok).take_while(|_| !ended.load(Ordering::SeqCst)) {
                let directory = directory.clone();
                std::thread::spawn(move || serve(&directory, stream));
            }
        });
        bird
    }
}

impl Drop for FakeBird {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the listener, which may already have ended.
        let _ = UnixStream::connect(self.directory.join(SOCKET));
    }
}

/// Serves one connection until the client closes it.
fn serve(directory: &Path, stream: UnixStream) {
    let mut answers = stream.try_clone().unwrap();
    let greeting = "0001 BIRD 2.0.12 ready.\n".to_string();
    let requests = BufReader::new(stream).lines().map_while(Result::ok);
    for answer in std::iter::once(greeting).chain(requests.map(|request| answer(directory, &request))) {
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(directory: &Path, request: &str) -> String {
    match request.split_once(' ') {
        None if request == "configure" => {
            let mut script = Command::new("/bin/sh");
            script.arg(directory.join("birdc")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            // The output matters only if the daemon runs the script as its command.
            let is_taken = script.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            let result =
                if is_taken.is_ok_and(|status| status.success()) { "0003 Reconfigured" } else { "8002 refused" };
            format!("0002-Reading configuration from bird.conf\n{result}\n")
        }
        Some(("configure", "status")) => "0003-Daemon is up and running\n0000 \n".to_string(),
        Some(("eval", question)) => {
            let Ok(taken) = fs::read_to_string(directory.join("taken")) else {
                return "9001 syntax error, unexpected CF_SYM_UNDEFINED\n".to_string();
            };
            let mut log = fs::OpenOptions::new().append(true).open(directory.join("reconfigures")).unwrap();
            log.write_all(b".").unwrap();
            let taken = prefixes_in(&taken);
            let is_true = match question.split_once("=[") {
                Some((_, list)) => prefixes_in(list) == taken,
                None => question.split("&&").all(|term| match term.split_once("!~") {
                    Some((prefix, _)) => !taken.contains(prefix),
                    None => term.split_once('~').is_some_and(|(prefix, _)| taken.contains(prefix)),
                }),
            };
            format!("0023 {}\n", if is_true { "TRUE" } else { "FALSE" })
        }
        _ => "9001 syntax error\n".to_string(),
    }
}
