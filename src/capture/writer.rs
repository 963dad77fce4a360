//! The thread between requests and files.

#[cfg(not(feature = "sending"))]
use super::absent::Sink;
use super::counts::{Counts, RecordOutcome};
use super::files::Files;
use super::record::Record;
#[cfg(feature = "sending")]
use super::sink::Sink;
use crate::telemetry::background::Outage;
use crate::telemetry::events::{EventKind, Events, Subject};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

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

/// Where records go.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) files: Option<Files>,
    pub(super) sink: Option<Sink>,
}

/// Writes until nobody is left who could send.
pub(super) fn write_all(
    mut places: Places,
    messages: &Receiver<Message>,
    counts: &Counts,
    events: &Events,
) {
    let (mut chunk, mut waiting) = (Vec::new(), Vec::new());
    let outage = Outage::default();
    let bytes = |places: &Places| places.files.as_ref().map_or(0, Files::bytes);
    counts.bytes.store(bytes(&places), Ordering::Relaxed);
    while let Ok(first) = messages.recv() {
        let mut n_lines = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Record(record) => {
                    let begin = chunk.len();
                    record.write(&mut chunk);
                    n_lines += 1;
                    // One that did not get so far says nothing to who looks at what models are asked.
                    if let Some(sink) = places.sink.as_ref().filter(|_| record.has_inputs()) {
                        sink.leave(&chunk[begin..]);
                    }
                }
                Message::Flush(done) => waiting.push(done),
            }
            next = if chunk.len() < MAX_CHUNK { messages.try_recv().ok() } else { None };
        }
        match places.files.as_mut().map(|files| files.append(&chunk)) {
            None => {}
            Some(Ok(())) => {
                counts.add(RecordOutcome::Written, n_lines);
                if n_lines > 0 && outage.worked() {
                    tracing::info!("requests are captured again");
                }
            }
            Some(Err(error)) => {
                counts.add(RecordOutcome::Failed, n_lines);
                if outage.failed(Instant::now()) {
                    let text = format!("requests are not captured: {error}");
                    tracing::warn!("{text}");
                    events.add(EventKind::CaptureProblem, Subject::default(), text);
                }
            }
        }
        counts.bytes.store(bytes(&places), Ordering::Relaxed);
        chunk.clear();
        chunk.shrink_to(MAX_CHUNK);
        // Who waits may have left.
        for done in waiting.drain(..) {
            let _ = done.try_send(());
        }
    }
}
