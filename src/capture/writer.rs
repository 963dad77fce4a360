//! The thread between requests and files.

use super::counts::{Counts, Outcome};
use super::files::Files;
use super::record::Record;
use crate::telemetry::events::{EventKind, Events, Subject};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};

/// Bytes of lines that are written at once.
const MAX_CHUNK: usize = 1 << 20;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A request that is over.
    Record(Box<Record>),
    /// Somebody waits until everything before is written.
    Flush(SyncSender<()>),
}

/// Writes until nobody is left who could send.
pub(super) fn write_all(
    mut files: Files,
    messages: &Receiver<Message>,
    counts: &Counts,
    events: &Events,
) {
    let (mut chunk, mut waiting) = (Vec::new(), Vec::new());
    let mut is_broken = false;
    counts.bytes.store(files.bytes(), Ordering::Relaxed);
    while let Ok(first) = messages.recv() {
        let mut n_lines = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Record(record) => {
                    record.write(&mut chunk);
                    n_lines += 1;
                }
                Message::Flush(done) => waiting.push(done),
            }
            next = if chunk.len() < MAX_CHUNK { messages.try_recv().ok() } else { None };
        }
        match files.append(&chunk) {
            Ok(()) => {
                counts.add(Outcome::Written, n_lines);
                if std::mem::take(&mut is_broken) && n_lines > 0 {
                    tracing::info!("requests are captured again");
                }
            }
            Err(error) => {
                counts.add(Outcome::Failed, n_lines);
                if !std::mem::replace(&mut is_broken, true) {
                    let text = format!("requests are not captured: {error}");
                    tracing::warn!("{text}");
                    events.add(EventKind::CaptureProblem, Subject::default(), text);
                }
            }
        }
        counts.bytes.store(files.bytes(), Ordering::Relaxed);
        chunk.clear();
        chunk.shrink_to(MAX_CHUNK);
        // Who waits may have left.
        for done in waiting.drain(..) {
            let _ = done.try_send(());
        }
    }
}
