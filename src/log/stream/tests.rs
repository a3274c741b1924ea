//! Tests with real pipes.

use std::io::{Read, Write};

use rustix::pipe::{pipe_with, PipeFlags};

use super::*;

#[test]
fn a_nonblocking_pipe_is_waited_for() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let lines = b"a line\n".repeat(100_000);
    let reading = std::thread::spawn(|| {
        let mut text = Vec::new();
        std::fs::File::from(reader).read_to_end(&mut text).unwrap();
        text
    });
    let mut stream = Stream::new(writer);
    Stream::write_lines(&mut stream, &lines).unwrap();
    drop(stream);
    assert_eq!(reading.join().unwrap(), lines);
}

#[test]
fn all_lines_to_a_closed_pipe_are_lost() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    drop(reader);
    let error = Sink::write_lines(&mut Stream::new(writer), b"one\ntwo\n").unwrap_err();
    assert_eq!(error.lines, 2);
    let expected = "cannot write to stdout: Broken pipe (os error 32); log lines are lost until it takes them again";
    assert_eq!(error.why.to_string(), expected);
}

#[test]
fn after_a_partial_line_the_next_starts_on_a_new_line() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let mut filler = std::fs::File::from(writer.try_clone().unwrap());
    let mut stream = Stream::new(writer);
    // Three of 16 pages are free, whose size is not a multiple of the line length.
    const FILLED: usize = 13 << 12;
    filler.write_all(&[b'\n'; FILLED]).unwrap();
    let Unwritten { written, whole, source } =
        Stream::write_lines(&mut stream, &b"sixsix\n".repeat(10_000)).unwrap_err();
    assert_eq!((source.kind(), whole), (io::ErrorKind::WouldBlock, written / 7 * 7));
    assert!(whole < written, "{written} bytes are whole lines");
    let mut text = vec![0; FILLED + written];
    let mut reader = std::fs::File::from(reader);
    reader.read_exact(&mut text).unwrap();
    Stream::write_lines(&mut stream, b"next\n").unwrap();
    let mut next = [0; 6];
    reader.read_exact(&mut next).unwrap();
    assert_eq!(&next, b"\nnext\n");
}
