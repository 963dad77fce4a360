//! The thread between requests and the wire.

use super::runs::Runs;
use super::span::{Span, Told};
use crate::telemetry::background::{self, Deliveries, Delivery};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Requests that wait to be sent.
const MAX_WAITING: usize = 2048;
/// Spans that are sent at once.
const MAX_SENT: usize = 512;
/// How long the first of them waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// How soon it is looked again what is due.
const TICK: Duration = Duration::from_millis(100);

/// Sends spans. Blocks until it is known what came of it, within a bound.
pub(super) trait Wire: Send {
    fn send(&mut self, spans: Vec<Span>) -> Result<(), String>;
}

/// What the thread is told.
enum Message {
    Told(Told),
    /// Somebody waits until everything before is sent.
    Flush(SyncSender<()>),
}

/// Where requests leave what is to be sent. The thread ends with the last of it.
#[derive(Debug)]
pub(super) struct Sender {
    messages: SyncSender<Message>,
    counts: Arc<Deliveries>,
}

impl Sender {
    /// Starts the thread.
    pub(super) fn start(wire: Box<dyn Wire>) -> std::io::Result<Self> {
        let (messages, received) = sync_channel(MAX_WAITING);
        let counts = Arc::<Deliveries>::default();
        let counted = Arc::clone(&counts);
        let send = move || Sending::new(wire, counted).run(&received);
        background::spawn("traces", send)?;
        Ok(Self { messages, counts })
    }

    /// Leaves a request, or drops and counts it where too many wait.
    pub(super) fn leave(&self, told: Told) {
        let n_spans = told.spans.len();
        if self.messages.try_send(Message::Told(told)).is_err() {
            self.counts.add(Delivery::Dropped, n_spans);
        }
    }

    pub(super) fn count(&self, outcome: Delivery) -> u64 {
        self.counts.get(outcome)
    }

    /// Has everything sent that waits, and waits for it at most so long; whether it is. Blocks.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        background::flush(&self.messages, Message::Flush, deadline)
    }
}

/// What the thread holds.
struct Sending {
    wire: Box<dyn Wire>,
    counts: Arc<Deliveries>,
    spans: Vec<Span>,
    /// When the first of them came.
    since: Option<Instant>,
    runs: Runs,
    /// Who waits.
    waiting: Vec<SyncSender<()>>,
    is_failing: bool,
}

impl Sending {
    fn new(wire: Box<dyn Wire>, counts: Arc<Deliveries>) -> Self {
        Self {
            wire,
            counts,
            spans: Vec::new(),
            since: None,
            runs: Runs::default(),
            waiting: Vec::new(),
            is_failing: false,
        }
    }

    /// Sends until nobody is left who could leave something.
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let message = match self.has_work() {
                true => messages.recv_timeout(TICK),
                false => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let is_last = matches!(message, Err(RecvTimeoutError::Disconnected));
            match message {
                Ok(Message::Told(told)) => self.take(told),
                Ok(Message::Flush(done)) => self.waiting.push(done),
                Err(_) => {}
            }
            let is_flushed = is_last || !self.waiting.is_empty();
            let runs = match is_flushed {
                true => self.runs.take_all(),
                false => self.runs.take(Instant::now()),
            };
            self.add(runs);
            let is_due = self.since.is_some_and(|since| since.elapsed() >= DELAY);
            if is_flushed || is_due || self.spans.len() >= MAX_SENT {
                self.send();
            }
            if is_last {
                return;
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.spans.is_empty() || !self.runs.is_empty()
    }

    fn take(&mut self, told: Told) {
        self.add(told.spans);
        if let Some(member) = told.member {
            self.runs.add(member, Instant::now());
        }
    }

    fn add(&mut self, spans: Vec<Span>) {
        if !spans.is_empty() {
            self.since.get_or_insert_with(Instant::now);
            self.spans.extend(spans);
        }
    }

    fn send(&mut self) {
        self.since = None;
        let mut rest = std::mem::take(&mut self.spans);
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(MAX_SENT));
            let n_spans = rest.len();
            match self.wire.send(std::mem::replace(&mut rest, later)) {
                Ok(()) => {
                    self.counts.add(Delivery::Sent, n_spans);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("spans are sent again");
                    }
                }
                Err(problem) => {
                    self.counts.add(Delivery::Failed, n_spans);
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(
                            problem,
                            "spans cannot be sent, the server serves on without"
                        );
                    }
                }
            }
        }
        // Who waits may have left.
        for done in self.waiting.drain(..) {
            let _ = done.try_send(());
        }
    }
}
