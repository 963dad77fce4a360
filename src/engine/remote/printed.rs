//! What a child prints: lines of the log, and its last words.

use crate::engine::messages::{LINE_BYTES, ModelMessages};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// How much of what the child printed is kept.
const TAIL_BYTES: usize = 4 << 10;

/// Our end of the stream that a child prints to.
#[derive(Debug)]
pub(super) struct Printed {
    stream: UnixStream,
    tail: Mutex<Tail>,
}

/// The end of what a child has printed.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    /// Nothing more comes.
    is_closed: bool,
    /// Into whose log the lines go, and the one that has not come to its end.
    log: Option<(ModelMessages, Vec<u8>)>,
}

impl Tail {
    fn add(&mut self, printed: &[u8]) {
        self.bytes.extend(printed);
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..excess);
        let Some((log, line)) = &mut self.log else { return };
        for part in printed.split_inclusive(|byte| *byte == b'\n') {
            line.extend(part);
            if line.len() > LINE_BYTES || part.ends_with(b"\n") {
                log.printed(&String::from_utf8_lossy(line));
                line.clear();
            }
        }
    }
}

impl Printed {
    /// Of a stream that does not block.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, tail: Mutex::default() }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether more may come.
    pub(super) fn is_open(&self) -> bool {
        !self.tail().is_closed
    }

    /// Has what comes from now on be lines of the log, by the name of a model.
    pub(super) fn log_as(&self, label: &str) {
        self.tail().log = Some((ModelMessages::new(label.to_owned()), Vec::new()));
    }

    /// The last lines, bounded.
    pub(super) fn last_words(&self) -> String {
        self.drain();
        String::from_utf8_lossy(self.tail().bytes.make_contiguous()).trim().to_owned()
    }

    /// Takes what has been printed so far. One at a time does so, and others need not wait for that.
    pub(super) fn drain(&self) {
        let mut tail = match self.tail.try_lock() {
            Ok(tail) => tail,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut chunk = [0; TAIL_BYTES];
        // Bounded, so that a child that prints without end cannot hold the caller here.
        for _ in 0..16 {
            match (&self.stream).read(&mut chunk) {
                Ok(0) => tail.is_closed = true,
                Ok(length) => {
                    tail.add(&chunk[..length]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => tail.is_closed = true,
            }
            return;
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
