//! At the door: which requests are kept, and what is copied of them.

#[cfg(not(feature = "sending"))]
use super::absent::Sink;
use super::counts::{Counts, RecordOutcome};
use super::files::FileOptions;
use super::held::Held;
use super::record::{Record, Redaction};
#[cfg(feature = "sending")]
use super::sink::Sink;
use super::writer::{Message, Places, write_all};
use crate::inference::{InferResponse, RoutingKey, ValidRequest};
use crate::pipeline::{Caller, Observer, Tap};
use crate::repository::ModelHandle;
use crate::telemetry::background::{self, Delivery};
use crate::telemetry::events::Events;
use crate::telemetry::{Collect, RequestRecord, Samples, families};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Records that wait to be written.
const MAX_WAITING: usize = 4096;

/// What is kept, and where.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The part of requests that is kept, from 0 to 1: those whose ids fall into it, on every replica the same.
    pub sample_rate: f64,
    /// The tensors whose values are not kept.
    pub redaction: Redaction,
    /// The files, if there are to be some.
    pub files: Option<FileOptions>,
    /// To whom they are sent as they come.
    pub sink: Option<String>,
}

/// Keeps requests. Clones share everything; the thread that writes ends with the last one.
#[derive(Debug, Clone)]
pub struct Capture(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sample_rate: f64,
    redaction: Redaction,
    held: Held,
    counts: Arc<Counts>,
    writer: SyncSender<Message>,
    sink: Option<Sink>,
    has_files: bool,
}

impl CaptureOptions {
    /// Makes the folder, if there is to be one.
    ///
    /// # Errors
    ///
    /// It cannot be made or written.
    pub fn try_folder(self) -> io::Result<()> {
        self.files.map_or(Ok(()), |files| files.open().map(drop))
    }
}

impl Capture {
    /// Makes the folder and starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written, or the system gives no thread.
    pub fn start(options: CaptureOptions, events: Events) -> io::Result<Self> {
        let CaptureOptions { sample_rate, redaction, files, sink } = options;
        let (writer, records) = sync_channel(MAX_WAITING);
        let counts = Arc::<Counts>::default();
        let files = files.map(FileOptions::open).transpose()?;
        let sink =
            sink.map(|address| Sink::start(&address, &counts, events.clone())).transpose()?;
        let has_files = files.is_some();
        let places = Places { files, sink: sink.clone() };
        let counted = Arc::clone(&counts);
        let write = move || write_all(places, &records, &counted, &events);
        background::spawn("capture", write)?;
        let held = Held::default();
        let inner = Inner { sample_rate, redaction, held, counts, writer, sink, has_files };
        Ok(Self(Arc::new(inner)))
    }

    /// Who looks on at the door.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    /// How many records came to this end.
    #[must_use]
    pub fn count(&self, outcome: RecordOutcome) -> u64 {
        self.0.counts.get(outcome)
    }

    /// Has everything written that waits, and waits for it at most so long; whether it is. Blocks.
    #[must_use]
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        background::flush(&self.0.writer, Message::Flush, deadline)
            && self.0.sink.as_ref().is_none_or(|sink| sink.flush(deadline))
    }

    /// Counts a request that found no room, for each place that it would have gone to.
    fn drop_one(&self, has_inputs: bool) {
        let Inner { counts, sink, has_files, .. } = &*self.0;
        if *has_files {
            counts.add(RecordOutcome::Dropped, 1);
        }
        if sink.is_some() && has_inputs {
            counts.sent.add(Delivery::Dropped, 1);
        }
    }

    fn takes(&self, request_id: &str) -> bool {
        // Below 1 no place is, and at 0 none.
        RoutingKey::of(request_id.as_bytes()).place("capture") < self.0.sample_rate
    }
}

impl Observer for Capture {
    fn begin(&self, model: &ModelHandle, caller: &Caller, _: bool) -> Option<Box<dyn Tap>> {
        if !self.takes(&caller.request_id) {
            return None;
        }
        let trace_id = caller.trace.as_ref().map(|trace| trace.trace_id.clone());
        let subject = (model.name().clone(), model.version(), model.facts().digest.clone());
        let (id, share) = (Arc::clone(&caller.request_id), self.0.held.share());
        Some(Box::new(Taking {
            capture: self.clone(),
            model: model.clone(),
            record: Box::new(Record::new(id, trace_id, subject, share)),
        }))
    }
}

/// One request that is kept.
struct Taking {
    capture: Capture,
    model: ModelHandle,
    record: Box<Record>,
}

impl Tap for Taking {
    fn checked(&mut self, request: &ValidRequest) {
        let specs = self.model.engine_spec().inputs.iter();
        let given = specs.zip(request.inputs());
        let given = given.filter_map(|(spec, tensor)| Some((&spec.name, tensor.as_ref()?)));
        self.record.set_inputs(given, request.n_rows(), &self.capture.0.redaction);
    }

    fn inferred(&mut self, response: &InferResponse) {
        self.record.set_answer(response, &self.capture.0.redaction);
    }

    fn recorded(self: Box<Self>, end: &RequestRecord) {
        let Self { capture, mut record, .. } = *self;
        let has_inputs = record.has_inputs();
        let is_left = record.end(end) && capture.0.writer.try_send(Message::Record(record)).is_ok();
        if !is_left {
            capture.drop_one(has_inputs);
        }
    }
}

impl Collect for Capture {
    fn collect(&self, samples: &mut Samples) {
        for outcome in RecordOutcome::ALL {
            let n = self.count(outcome) as f64;
            samples.number(&families::CAPTURE_RECORDS, &[outcome.as_str()], n);
        }
        for outcome in Delivery::ALL {
            let n = self.0.counts.sent.get(outcome) as f64;
            samples.number(&families::CAPTURE_SENT, &[outcome.as_str()], n);
        }
        let bytes = self.0.counts.bytes.load(Ordering::Relaxed) as f64;
        samples.number(&families::CAPTURE_BYTES, &[], bytes);
    }
}
