//! A bounded buffer of lines and the thread that writes it: whoever logs never waits for the disk,
//! the terminal or the pipe.
//!
//! Lines are collected in one buffer, which the thread takes as a whole: under load many lines cost
//! one system call. What does not fit is dropped and counted.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What is written at once: as much as a pipe holds, so that a reader that is slow is seen to read.
const PIECE_BYTES: usize = 64 * 1024;

/// How long the end waits for a sink that takes nothing.
const STUCK_AFTER: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct State {
    /// Whole lines that wait.
    waiting: Vec<u8>,
    /// Whether the thread is writing what it took.
    writing: bool,
    dropped_lines: u64,
    /// Pieces that the sink has taken or refused.
    n_pieces: u64,
    /// Handles that can still write; the thread ends when they are gone.
    n_handles: usize,
}

#[derive(Debug)]
struct Buffer {
    capacity: usize,
    // A std mutex: it is held to copy a line or to swap two buffers, never while writing.
    state: Mutex<State>,
    /// The thread waits here for lines.
    filled: Condvar,
    /// A flush waits here for the thread.
    written: Condvar,
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle to the buffer.
#[derive(Debug)]
pub(super) struct LineWriter(Arc<Buffer>);

impl LineWriter {
    /// Starts the thread. It ends when the last handle is gone.
    pub(super) fn spawn(sink: impl Write + Send + 'static, capacity: usize) -> io::Result<Self> {
        let buffer = Arc::new(Buffer {
            capacity,
            state: Mutex::new(State { n_handles: 1, ..State::default() }),
            filled: Condvar::new(),
            written: Condvar::new(),
        });
        let of_thread = Arc::clone(&buffer);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(&of_thread, sink))?;
        Ok(Self(buffer))
    }

    pub(super) fn dropped_lines(&self) -> u64 {
        self.0.lock().dropped_lines
    }

    /// Waits until everything has been written, the time is up, or the sink has taken nothing for a while: what is
    /// slow may take its time, what is stuck may not.
    pub(super) fn flush_within(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = self.0.lock();
        while state.writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let so_far = state.n_pieces;
            let stands = |state: &mut State| state.n_pieces == so_far;
            let waited = self.0.written.wait_timeout_while(state, left.min(STUCK_AFTER), stands);
            let (after, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            // Whether it was done in time changes nothing: the program ends either way.
            if timed_out.timed_out() {
                return;
            }
        }
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > self.0.capacity {
            state.dropped_lines += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.0.filled.notify_one();
    }
}

impl Clone for LineWriter {
    fn clone(&self) -> Self {
        self.0.lock().n_handles += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.0.lock().n_handles -= 1;
        self.0.filled.notify_one();
    }
}

impl Write for LineWriter {
    /// Takes one event: the subscriber writes each with a single call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.push(&one_line(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(buffer: &Buffer, mut sink: impl Write) {
    let mut taken = Vec::new();
    loop {
        let mut state = buffer.lock();
        state.writing = false;
        state.n_pieces += 1;
        buffer.written.notify_all();
        let idle = |state: &mut State| state.waiting.is_empty() && state.n_handles > 0;
        state = buffer.filled.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            return;
        }
        std::mem::swap(&mut taken, &mut state.waiting);
        state.writing = true;
        drop(state);
        for piece in taken.chunks(PIECE_BYTES) {
            let outcome = sink.write_all(piece).and_then(|()| sink.flush());
            let mut state = buffer.lock();
            // The other end of a pipe may be gone. There is no other place to say so than the metric.
            if outcome.is_err() {
                let lines = piece.iter().filter(|byte| **byte == b'\n').count();
                state.dropped_lines += lines as u64;
            }
            state.n_pieces += 1;
            buffer.written.notify_all();
        }
        taken.clear();
    }
}

/// The event as one line that a terminal shows as it is: control characters become escapes, so that
/// no text of a client or a model can forge a line or drive a terminal.
fn one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let body = event.strip_suffix(b"\n").unwrap_or(event);
    // What controls a terminal is below the blank, DEL, or U+0080 to U+009F, written C2 80 to C2 9F.
    let is_clean = body.len() < event.len()
        && !body.iter().any(|byte| *byte < b' ' || *byte == 0x7f)
        && !body.windows(2).any(|pair| pair[0] == 0xc2 && pair[1] < 0xa0);
    if is_clean {
        return Cow::Borrowed(event);
    }
    let mut line = String::with_capacity(event.len() + 16);
    for character in String::from_utf8_lossy(body).chars() {
        if character.is_control() {
            write!(line, "{}", character.escape_default()).expect("a string takes all text");
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    Cow::Owned(line.into_bytes())
}

/// A sink that tests read.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(super) struct TestSink(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl TestSink {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for TestSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PATIENCE, receive};
    use std::sync::mpsc;

    const LONG: Duration = PATIENCE;

    /// A sink that says when a write began and ends it when told to.
    struct Gate {
        began: mpsc::Sender<()>,
        go_on: mpsc::Receiver<io::Result<()>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.began.send(()).unwrap();
            receive("the word to go on", &self.go_on).map(|()| bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated(capacity: usize) -> (LineWriter, mpsc::Receiver<()>, mpsc::Sender<io::Result<()>>) {
        let (began, has_begun) = mpsc::channel();
        let (let_go, go_on) = mpsc::channel();
        (LineWriter::spawn(Gate { began, go_on }, capacity).unwrap(), has_begun, let_go)
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_never_time() {
        let (mut writer, has_begun, let_go) = gated(10);
        writer.write_all(b"first\n").unwrap();
        receive("the first write", &has_begun);
        for _ in 0..1000 {
            writer.write_all(b"12345\n").unwrap();
        }
        assert_eq!(writer.dropped_lines(), 999, "one line of six bytes fits in ten");
        let started = Instant::now();
        writer.flush_within(Duration::from_millis(20));
        assert!(started.elapsed() < LONG, "a flush must give up");
        let_go.send(Ok(())).unwrap();
        let_go.send(Ok(())).unwrap();
        writer.flush_within(LONG);
        assert_eq!(has_begun.try_iter().count(), 1, "what waited was written by one call");
        assert_eq!(writer.dropped_lines(), 999);
    }

    /// The sink of the end: it takes a piece now and then, and then nothing any more.
    #[test]
    fn a_flush_waits_for_a_slow_sink_and_not_for_a_stuck_one() {
        let (mut writer, has_begun, let_go) = gated(1 << 20);
        let pieces = 4;
        writer
            .write_all(&[b"first\n".repeat(PIECE_BYTES / 6), b"xxx\n".to_vec()].concat())
            .unwrap();
        receive("the first write", &has_begun);
        writer.write_all(&b"12345678\n".repeat(pieces * PIECE_BYTES / 9)).unwrap();
        let flushed = thread::spawn(move || {
            let started = Instant::now();
            writer.flush_within(LONG);
            started.elapsed()
        });
        let_go.send(Ok(())).unwrap();
        for _ in 1..pieces {
            receive("the next piece", &has_begun);
            let_go.send(Ok(())).unwrap();
        }
        receive("the last piece, which is never taken", &has_begun);
        assert!(flushed.join().unwrap() < LONG, "a flush must give up");
        let_go.send(Ok(())).unwrap();
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (mut writer, has_begun, let_go) = gated(100);
        writer.write_all(b"a\n").unwrap();
        receive("the first write", &has_begun);
        writer.write_all(b"b\n").unwrap();
        writer.write_all(b"c\n").unwrap();
        for _ in 0..2 {
            let_go.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        }
        writer.flush_within(LONG);
        assert_eq!(writer.dropped_lines(), 3);
    }

    #[test]
    fn the_thread_ends_with_the_last_handle_and_writes_all() {
        let (mut writer, has_begun, let_go) = gated(100);
        let other = writer.clone();
        drop(other);
        writer.write_all(b"last\n").unwrap();
        drop(writer);
        let_go.send(Ok(())).unwrap();
        assert_eq!(has_begun.iter().count(), 1, "the sink is dropped after the last line");
    }

    #[track_caller]
    fn check(event: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&one_line(event.as_bytes())), expected);
    }

    #[test]
    fn control_characters_are_escaped() {
        check("plain ü €\n", "plain ü €\n");
        check("no end", "no end\n");
        check("a\nb\tc\r\n", "a\\nb\\tc\\r\n");
        check("\u{1b}[2J\u{9b}2J\u{7f}\n", "\\u{1b}[2J\\u{9b}2J\\u{7f}\n");
        check("\u{a0}\n", "\u{a0}\n");
    }
}
