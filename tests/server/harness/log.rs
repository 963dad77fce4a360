//! What a server writes to its standard error, read as it comes.

use super::PATIENCE;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

/// The lines so far. Clones share them.
#[derive(Clone)]
pub(crate) struct Log(Arc<(Mutex<Lines>, Condvar)>);

impl Log {
    pub(super) fn read(stream: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let shared = Arc::clone(&log.0);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().lines.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        log
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    /// All of it, once the process has ended.
    pub(super) fn whole(&self) -> String {
        let log = self.0.0.lock().unwrap();
        let (log, waited) = self.0.1.wait_timeout_while(log, PATIENCE, |log| !log.ended).unwrap();
        assert!(!waited.timed_out(), "the output must end; it has:\n{}", log.lines.join("\n"));
        log.lines.join("\n")
    }

    /// Every line so far that is JSON.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first line, of those there and those to come, that is wanted.
    #[track_caller]
    pub(crate) fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut log = self.0.0.lock().unwrap();
        loop {
            while seen < log.lines.len() {
                if let Ok(line) = serde_json::from_str(&log.lines[seen])
                    && wanted(&line)
                {
                    return line;
                }
                seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let over = log.ended || left.is_zero();
            assert!(!over, "the log must have the line; it has:\n{}", log.lines.join("\n"));
            log = self.0.1.wait_timeout(log, left).unwrap().0;
        }
    }
}
