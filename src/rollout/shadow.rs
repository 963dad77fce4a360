//! Copies of requests, run on a version that answers nobody, and compared with what was answered.
//!
//! A copy never goes before a live request: one thread runs one at a time, and only while nothing waits for the
//! version that serves, none of its runs is under way and the processor has room for one more beside it. What
//! finds no room in time is dropped and counted. Tensors are ref-counted, so a copy copies none.

use super::compare::{Agreement, compare};
use super::figures::Figures;
use super::meter::Meter;
use crate::inference::{
    Context, ErrorCode, InferRequest, InferResponse, NamedTensor, ValidRequest,
};
use crate::pipeline::{self, Caller, Observer, Tap};
use crate::repository::ModelHandle;
use crate::telemetry::RequestRecord;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Copies that wait, and the bytes of their tensors together.
const MAX_COPIES: usize = 64;
const MAX_BYTES: usize = 64 << 20;
/// A copy that found no room for so long is dropped: what it would be compared with is held as long.
const PATIENCE: Duration = Duration::from_secs(1);
/// After which time a waiting copy looks for room again, at first and at most: longer from look to look, since each takes a little
/// from a server that is busy. Nothing wakes it, so that live requests pay nothing for it.
const LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(64);

/// What is copied of a version's requests, and to where.
#[derive(Debug, Clone)]
pub struct ShadowTarget {
    /// What answers the copies.
    pub candidate: ModelHandle,
    /// The part of requests that are copied.
    pub share: f64,
    /// Where is counted what comes of them.
    pub tally: Arc<Tally>,
}

/// What came of the copies of one step. A new step begins with a new one.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that could have been copied.
    seen: AtomicU64,
    dropped: AtomicU64,
    /// What the version that serves did with the requests of the copies that ran.
    live: Meter,
    candidate: Meter,
    agreement: Mutex<Agreement>,
}

impl Tally {
    /// Copies for which there was no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Of the version that serves, with the requests whose copies ran, by what its runs took.
    #[must_use]
    pub fn live(&self) -> Figures {
        self.live.figures()
    }

    /// Of the copies, by what their runs took.
    #[must_use]
    pub fn candidate(&self) -> Figures {
        self.candidate.figures()
    }

    /// Of the answers of both.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        *self.agreement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next request is one of those to copy: evenly spread, and so that the share comes out exactly.
    fn is_turn(&self, share: f64) -> bool {
        let nth = self.seen.fetch_add(1, Ordering::Relaxed) as f64;
        ((nth + 1.0) * share).floor() > (nth * share).floor()
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says what is copied of a version's requests, if anything. Asked for each request.
pub type ShadowOf = dyn Fn(&ModelHandle) -> Option<ShadowTarget> + Send + Sync;

/// Copies requests of versions that have a shadow.
pub struct Shadow {
    of: Box<ShadowOf>,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Shadow {
    /// Starts the thread that runs copies.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn spawn(
        of: impl Fn(&ModelHandle) -> Option<ShadowTarget> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let queue = Arc::<Queue>::default();
        let shared = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("shadow".into())
            .spawn(move || work(&runtime, &shared))?;
        Ok(Self { of: Box::new(of), queue, thread: Some(thread) })
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadow").finish_non_exhaustive()
    }
}

impl Drop for Shadow {
    /// Drops what waits, and waits for the copy that runs.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // It has caught what panics.
            let _ = thread.join();
        }
    }
}

impl Observer for Shadow {
    fn begin(&self, model: &ModelHandle, _: &Caller, is_chosen: bool) -> Option<Box<dyn Tap>> {
        if !is_chosen {
            return None;
        }
        let target = (self.of)(model)?;
        let is_copied = target.tally.is_turn(target.share);
        is_copied.then(|| {
            let (live, queue) = (model.clone(), Arc::clone(&self.queue));
            Box::new(Copying { live, target, queue, inputs: Vec::new(), answer: None }) as _
        })
    }
}

/// One request that is to be copied.
struct Copying {
    live: ModelHandle,
    target: ShadowTarget,
    queue: Arc<Queue>,
    inputs: Vec<NamedTensor>,
    answer: Option<InferResponse>,
}

impl Tap for Copying {
    fn checked(&mut self, request: &ValidRequest) {
        let specs = &self.live.engine_spec().inputs;
        let given = specs.iter().zip(request.inputs());
        let named = given.filter_map(|(spec, tensor)| {
            Some(NamedTensor { name: Arc::clone(&spec.name), tensor: tensor.clone()? })
        });
        self.inputs = named.collect();
    }

    fn inferred(&mut self, response: &InferResponse) {
        self.answer = Some(response.clone());
    }

    /// Only now, when the live answer is on its way.
    fn recorded(self: Box<Self>, record: &RequestRecord) {
        let Self { live, target, queue, inputs, answer } = *self;
        // What the version that serves failed cannot be compared.
        if let (None, Some(answer)) = (record.failure, answer) {
            let bytes = |tensors: &[NamedTensor]| -> usize {
                tensors.iter().map(|it| it.tensor.buffer().len()).sum()
            };
            let bytes = bytes(&inputs) + bytes(&answer.outputs);
            queue.push(Replay { live, target, inputs, answer, bytes, since: Instant::now() });
        }
    }
}

/// A request and its answer, to be run again.
struct Replay {
    live: ModelHandle,
    target: ShadowTarget,
    inputs: Vec<NamedTensor>,
    answer: InferResponse,
    bytes: usize,
    since: Instant,
}

impl Replay {
    /// Whether a run of it is in nobody's way.
    fn has_room(&self) -> bool {
        self.live.scheduler().is_idle() && self.target.candidate.scheduler().is_idle()
    }

    fn run(self, runtime: &Runtime) {
        let Self { target: ShadowTarget { candidate, tally, .. }, inputs, answer, .. } = self;
        let context = Context::new(
            Arc::clone(&answer.request_id),
            Instant::now() + candidate.limits().timeout,
        );
        // The steps of both versions are those of one model.toml, so what the engine of one gets the other's does too.
        let request = ValidRequest::new(candidate.engine_spec(), InferRequest { context, inputs });
        let outcome =
            request.and_then(|request| runtime.block_on(pipeline::run(&candidate, request)));
        tally.live.answered(answer.timings.compute);
        match outcome {
            Ok(other) => {
                tally.candidate.answered(other.timings.compute);
                let comparison = compare(&answer, &other);
                tally.agreement.lock().unwrap_or_else(PoisonError::into_inner).add(&comparison);
            }
            Err(error) => {
                tally.candidate.failed(error.code.as_str());
            }
        }
    }
}

/// Copies that wait for room.
#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    copies: VecDeque<Replay>,
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, copy: Replay) {
        let mut state = self.lock();
        let is_full = state.copies.len() >= MAX_COPIES || state.bytes + copy.bytes > MAX_BYTES;
        if is_full || state.is_closed {
            drop(state);
            copy.target.tally.drop_one();
            return;
        }
        state.bytes += copy.bytes;
        state.copies.push_back(copy);
        let is_first = state.copies.len() == 1;
        drop(state);
        // The thread sleeps only where nothing waits, else it looks by itself.
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Blocks until there is a copy; `None` once the queue is closed.
    fn take(&self) -> Option<Replay> {
        let mut state = self.lock();
        while state.copies.is_empty() && !state.is_closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let copy = state.copies.pop_front()?;
        state.bytes -= copy.bytes;
        Some(copy)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let left = std::mem::take(&mut state.copies);
        state.bytes = 0;
        drop(state);
        left.iter().for_each(|copy| copy.target.tally.drop_one());
        self.changed.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.lock().is_closed
    }
}

fn work(runtime: &Runtime, queue: &Queue) {
    while let Some(copy) = queue.take() {
        let mut wait = LOOK;
        let has_room = loop {
            if copy.has_room() {
                break true;
            }
            if queue.is_closed() || copy.since.elapsed() >= PATIENCE {
                break false;
            }
            std::thread::sleep(wait);
            wait = LAST_LOOK.min(wait * 2);
        };
        if !has_room {
            copy.target.tally.drop_one();
            continue;
        }
        let tally = Arc::clone(&copy.target.tally);
        // One copy that panics must not end all others.
        if catch_unwind(AssertUnwindSafe(|| copy.run(runtime))).is_err() {
            tally.candidate.failed(ErrorCode::Internal.as_str());
        }
    }
}

#[cfg(test)]
mod tests;
