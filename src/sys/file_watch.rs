//! To be replaced.
use crate::{event::Event, prefix::Family, sys::stop_line::StopLine};
use std::{io, path::PathBuf, sync::mpsc::Sender, thread::JoinHandle, time::Duration};
/// x
pub fn start(files: Vec<(Family, PathBuf)>, events: Sender<Event>, stop: StopLine) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().spawn(move || {
        while !stop.wait(Duration::from_millis(200)) {
            for (family, _) in &files {
                let _ = events.send(Event::Touched(*family));
            }
        }
    })
}
