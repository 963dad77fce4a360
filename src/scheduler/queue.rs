//! The bounded queue between the tasks that submit and the threads that run.
//!
//! A std mutex, since nothing is awaited while it is held; a condition variable, since the takers
//! are plain threads. What is late or no longer wanted is dropped here, before it costs a run; what would have to
//! wait for too long is not taken in (see `pace`).

use super::Answer;
use super::batch::{self, Part};
use super::caution::Caution;
use super::pace::{Arrival, Forecast, Load, OVERLOADED_FOR, Pace, Turn, whole_seconds};
use super::policy::{self, BatchLimits, Decision, Waiting};
use crate::inference::{ErrorCode, InferError, PaddedSize, Padding, Reply, ValidRequest};
use crate::telemetry::ModelMetrics;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::Span;

/// Batches between two of strangers, as long as others wait: a run that fails at its end takes as long as one that does
/// not, and those who send such requests send the next ones at once.
const OTHERS_FIRST: usize = 8;

/// A request that waits for an instance.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) request: ValidRequest,
    pub(super) reply: Reply<Answer>,
    pub(super) enqueued_at: Instant,
    /// Entered again by the thread that runs it, so that its log lines belong to the request.
    pub(super) span: Span,
    /// How far its inputs are padded when it is run; `None` when they are run as they are.
    pub(super) padded_size: Option<PaddedSize>,
    /// Whether it is unlike all that were answered since a request made a run fail.
    pub(super) is_stranger: bool,
}

impl Queued {
    pub(super) fn part(&self) -> Part<'_> {
        Part { request: &self.request, padded_size: self.padded_size }
    }
}

/// How much a queue takes in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Requests that may wait.
    pub(super) capacity: usize,
    /// How long one may have to wait for its run; `None` for what its model bears.
    pub(super) max_wait: Option<Duration>,
    /// Threads that take.
    pub(super) instances: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Queued>,
    /// What `waiting` comes to, without the strangers.
    load: Load,
    /// What the strangers in it come to.
    strangers: Load,
    /// Set once: why nothing is taken in any more.
    closed: Option<InferError>,
    /// How many batches of others come before the next one of strangers.
    others_first: usize,
    /// Until when more counts as coming than can be served.
    overloaded_until: Option<Instant>,
    /// Threads that sleep on `changed`.
    sleepers: usize,
    /// Somebody has said that they will wake a sleeper.
    is_alarm_set: bool,
}

impl State {
    fn load_of(&mut self, strangers: bool) -> &mut Load {
        if strangers { &mut self.strangers } else { &mut self.load }
    }
}

/// Wakes a sleeping thread when it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Alarm<'a>(&'a Queue);

impl Alarm<'_> {
    /// Wakes nobody, for now: who calls this has [`Queue::wake_one`] to call.
    pub(super) fn put_off(self) {
        self.0.lock().is_alarm_set = false;
        std::mem::forget(self);
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.lock().is_alarm_set = false;
        self.0.wake_one();
    }
}

/// What a thread that waited is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Take a batch and run it; what waits was found at this time.
    Run(Instant),
    /// Nobody waits: time for what can wait.
    Spare,
    /// End.
    Leave,
}

/// First in, first out, as far as requests that share a run allow.
#[derive(Debug)]
pub(super) struct Queue {
    metrics: Arc<ModelMetrics>,
    state: Mutex<State>,
    changed: Condvar,
    bounds: Bounds,
    pace: Pace,
    caution: Caution,
    limits: BatchLimits,
    /// Set once: whatever the limits say, requests share no runs any more.
    are_apart: AtomicBool,
    padding: Option<Arc<Padding>>,
}

impl Queue {
    pub(super) fn new(
        bounds: Bounds,
        limits: BatchLimits,
        padding: Option<Arc<Padding>>,
        metrics: Arc<ModelMetrics>,
    ) -> Self {
        metrics.set_queue_capacity(bounds.capacity);
        let (state, changed, pace) = (Mutex::default(), Condvar::new(), Pace::default());
        let are_apart = AtomicBool::new(false);
        let caution = Caution::default();
        Self { metrics, state, changed, bounds, pace, caution, limits, are_apart, padding }
    }

    /// How fast it is served.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// A turn with this batch, whose first request was found waiting at `since`.
    pub(super) fn begin(&self, batch: &[Queued], since: Instant) -> Turn<'_> {
        let n_rows = batch.iter().map(|queued| queued.request.n_rows()).sum();
        self.pace.begin(n_rows, since)
    }

    /// Lets requests share no runs from here on.
    pub(super) fn keep_apart(&self) {
        self.are_apart.store(true, Ordering::Relaxed);
    }

    /// Whether a request is to share runs only with such as are unlike all that were answered.
    pub(super) fn is_stranger(&self, request: &ValidRequest) -> bool {
        self.caution.is_stranger(request)
    }

    /// A run has answered these.
    pub(super) fn answered(&self, batch: &[Queued]) {
        if self.caution.is_on() {
            for queued in batch.iter().filter(|queued| queued.request.may_share_runs()) {
                self.caution.answered(&queued.request, queued.is_stranger);
            }
        }
    }

    /// A request made its run fail, also alone.
    pub(super) fn failed(&self, queued: &Queued) {
        if self.limits().max_batch_size > 1 && queued.request.may_share_runs() {
            self.caution.failed(queued.is_stranger);
        }
    }

    fn limits(&self) -> BatchLimits {
        match self.are_apart.load(Ordering::Relaxed) {
            true => BatchLimits { max_batch_size: 1, max_queue_delay: Duration::ZERO },
            false => self.limits,
        }
    }

    /// Takes a request in, or says why not.
    ///
    /// The alarm, if there is one, wakes a sleeping thread when it is dropped. Who gets it may let
    /// others push first: until then a thread that sleeps goes on sleeping.
    pub(super) fn push(&self, queued: Queued) -> Result<Option<Alarm<'_>>, InferError> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        if let Some(mut refusal) = self.refusal(&mut state, &queued) {
            let now = queued.enqueued_at;
            // Only now, since it looks at all that waits: those whom nobody waits for make room.
            if state.waiting.iter().any(|it| is_unwanted(it, now)) {
                self.drop_unwanted(&mut state, now);
                match self.refusal(&mut state, &queued) {
                    Some(still) => refusal = still,
                    None => return Ok(self.take_in(state, queued)),
                }
            }
            return Err(refusal);
        }
        Ok(self.take_in(state, queued))
    }

    fn take_in(&self, mut state: MutexGuard<'_, State>, queued: Queued) -> Option<Alarm<'_>> {
        let load = state.load_of(queued.is_stranger);
        load.add(queued.request.n_rows(), self.limits.max_batch_size);
        state.waiting.push_back(queued);
        self.metrics.queue_changed(1);
        let is_first = state.sleepers > 0 && !state.is_alarm_set;
        state.is_alarm_set |= is_first;
        // Made only where it is wanted: its drop takes the lock.
        is_first.then(|| Alarm(self))
    }

    /// Why a request cannot be taken in, if so: there are too many, or it would have to wait for too long.
    fn refusal(&self, state: &mut State, queued: &Queued) -> Option<InferError> {
        let is_full = state.waiting.len() >= self.bounds.capacity;
        // Idle instances take a first request at once.
        if state.waiting.is_empty() && state.sleepers > 0 && !is_full {
            return None;
        }
        let forecast = self.forecast(state, queued);
        let now = queued.enqueued_at;
        let is_too_much = is_full || forecast.is_some_and(|it| it.wait > it.patient);
        if is_too_much {
            state.overloaded_until = Some(now + OVERLOADED_FOR);
        }
        let (text, retry_after) = if is_full {
            let text = format!("the model's queue is full ({} requests)", self.bounds.capacity);
            (text, forecast.unwrap_or_default().next)
        } else {
            let forecast = forecast?;
            let is_overloaded = state.overloaded_until.is_some_and(|until| now < until);
            let borne = if is_overloaded { forecast.bearable } else { forecast.patient };
            let left = queued.request.context().deadline.saturating_duration_since(now);
            let (why, retry_after) =
                forecast.refusal(self.bounds.max_wait.unwrap_or(borne), left)?;
            (format!("the model's queue is full: {why}"), retry_after)
        };
        let error = InferError::new(ErrorCode::QueueFull, text);
        Some(error.with_retry_after(whole_seconds(retry_after)))
    }

    fn forecast(&self, state: &State, queued: &Queued) -> Option<Forecast> {
        let arrival = Arrival {
            n_rows: queued.request.n_rows(),
            max_batch_size: self.limits.max_batch_size,
            instances: self.bounds.instances,
            asleep: state.sleepers,
        };
        match queued.is_stranger {
            // Others do not wait for strangers but for a turn in a few: whoever sends what fails must not fill the queue.
            false => self.pace.forecast(&state.load, arrival),
            true => {
                let has_others = state.load != Load::default();
                let turns = if has_others { OTHERS_FIRST + 1 } else { 1 };
                let most_requests = self.caution.most_requests(true);
                let longer = turns * self.limits.max_batch_size.div_ceil(most_requests);
                self.pace.forecast(&state.load.plus(&state.strangers, longer), arrival)
            }
        }
    }

    /// Answers those whose time is over and lets those go that nobody waits for.
    fn drop_unwanted(&self, state: &mut State, now: Instant) {
        let all = std::mem::take(&mut state.waiting);
        let (late, wanted) =
            all.into_iter().partition::<VecDeque<_>, _>(|queued| is_unwanted(queued, now));
        state.waiting = wanted;
        for queued in &late {
            let load = state.load_of(queued.is_stranger);
            load.remove(queued.request.n_rows(), self.limits.max_batch_size);
        }
        self.refuse_late(late);
    }

    /// Takes away what stands at this place.
    fn remove(&self, state: &mut State, position: usize) -> Option<Queued> {
        let queued = state.waiting.remove(position)?;
        let load = state.load_of(queued.is_stranger);
        load.remove(queued.request.n_rows(), self.limits.max_batch_size);
        Some(queued)
    }

    /// Blocks until there is something to run, or nothing and `spare` says that there is something else to do.
    /// [`Work::Leave`] once the queue is closed and empty, or `retired` says that the calling thread is no longer
    /// wanted.
    pub(super) fn wait(&self, retired: impl Fn() -> bool, spare: impl Fn() -> bool) -> Work {
        let mut state = self.lock();
        loop {
            if retired() {
                return Work::Leave;
            }
            let now = Instant::now();
            while state.waiting.front().is_some_and(|queued| is_unwanted(queued, now)) {
                self.refuse_late(self.remove(&mut state, 0));
            }
            match policy::decide(self.waiting(&state), self.limits(), now) {
                Decision::Dispatch(_) => return Work::Run(now),
                Decision::Idle if state.closed.is_some() => return Work::Leave,
                Decision::Idle if spare() => return Work::Spare,
                Decision::Idle => state = self.sleep(state, None),
                Decision::WaitUntil(then) => state = self.sleep(state, Some(then - now)),
            }
        }
    }

    /// The oldest request and those that may run with it. Empty when others were faster.
    ///
    /// Of requests that are padded, those of the oldest's own bucket: smaller ones that would fit
    /// too have company of their own soon, and padding them further costs more than the larger
    /// batch saves.
    pub(super) fn take(&self, now: Instant) -> Vec<Queued> {
        let state = self.lock();
        let first = self.first(&state);
        self.take_from(state, first, now)
    }

    /// Where the next batch begins: at the oldest request, but that while one has lately made a run fail strangers have
    /// one turn in a few.
    fn first(&self, state: &State) -> usize {
        let has_strangers_first = || state.waiting.front().is_some_and(|it| it.is_stranger);
        if !self.caution.is_on() || state.others_first == 0 || !has_strangers_first() {
            return 0;
        }
        state.waiting.iter().position(|queued| !queued.is_stranger).unwrap_or(0)
    }

    /// The same, unless the oldest request alone is larger than a batch, or unlike what the model was seen
    /// to work with, so that nobody knows how long it takes: then nothing.
    pub(super) fn take_batch(&self, now: Instant) -> Vec<Queued> {
        let state = self.lock();
        let is_unknown = |first: &Queued| {
            first.request.n_rows() > self.limits().max_batch_size || !first.request.fits_evidence()
        };
        let first = self.first(&state);
        if state.waiting.get(first).is_some_and(is_unknown) {
            return Vec::new();
        }
        self.take_from(state, first, now)
    }

    fn take_from(
        &self,
        mut state: MutexGuard<'_, State>,
        first: usize,
        now: Instant,
    ) -> Vec<Queued> {
        let mut batch: Vec<Queued> = Vec::new();
        let is_cautious = self.caution.is_on();
        let mut rows = 0;
        let mut position = first;
        let mut most_requests = usize::MAX;
        let mut has_left_its_like = !is_cautious;
        while let Some(candidate) = state.waiting.get(position) {
            if is_unwanted(candidate, now) {
                self.refuse_late(self.remove(&mut state, position));
                continue;
            }
            let n_rows = candidate.request.n_rows();
            match batch.first() {
                Some(first) => {
                    let is_of_its_kind = !is_cautious || first.is_stranger == candidate.is_stranger;
                    let is_too_much = rows + n_rows > self.limits().max_batch_size;
                    if is_too_much || batch.len() >= most_requests {
                        has_left_its_like |= is_of_its_kind;
                        break;
                    }
                    if !is_of_its_kind || !self.fits(first, candidate) {
                        position += 1;
                        continue;
                    }
                }
                None if is_cautious => {
                    most_requests = self.caution.most_requests(candidate.is_stranger);
                }
                None => {}
            }
            rows += n_rows;
            batch.extend(self.remove(&mut state, position));
        }
        self.left(batch.len());
        let are_strangers = is_cautious && batch.first().is_some_and(|first| first.is_stranger);
        state.others_first = match are_strangers {
            true => OTHERS_FIRST,
            false => state.others_first.saturating_sub(1),
        };
        if has_left_its_like && !state.waiting.is_empty() && rows > 0 && !are_strangers {
            self.pace.was_full(rows);
        }
        // What does not fit this run may be run by a thread that sleeps.
        if !state.waiting.is_empty() && state.sleepers > 0 {
            self.changed.notify_one();
        }
        batch
    }

    /// Takes nothing in any more; what waits is still run.
    pub(super) fn close(&self, reason: InferError) {
        self.lock().closed.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// Takes nothing in any more and answers what waits with `reason`.
    pub(super) fn fail(&self, reason: InferError) {
        let waiting = {
            let mut state = self.lock();
            state.closed = Some(reason.clone());
            (state.load, state.strangers) = Default::default();
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_all();
        self.left(waiting.len());
        for queued in waiting {
            queued.reply.send(Err(reason.clone()));
        }
    }

    /// Wakes a sleeper, if there is something for it to do.
    pub(super) fn wake_one(&self) {
        let state = self.lock();
        let is_needed = state.sleepers > 0 && !state.waiting.is_empty();
        drop(state);
        if is_needed {
            self.changed.notify_one();
        }
    }

    /// Wakes a sleeper, if there is one, for what can wait.
    pub(super) fn wake_for_spare(&self) {
        if self.lock().sleepers > 0 {
            self.changed.notify_one();
        }
    }

    /// Wakes every sleeper, so that retired threads notice.
    pub(super) fn wake_all(&self) {
        // Taken and released, so that no thread is between its last look and its sleep.
        drop(self.lock());
        self.changed.notify_all();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Answers those whose time is over; for those that nobody waits for, nobody hears it.
    fn refuse_late(&self, late: impl IntoIterator<Item = Queued>) {
        for queued in late {
            self.left(1);
            queued.reply.send(Err(super::deadline_exceeded("in the queue")));
        }
    }

    fn fits(&self, first: &Queued, other: &Queued) -> bool {
        batch::compatible(first.part(), other.part(), self.padding.as_deref())
    }

    fn left(&self, n_requests: usize) {
        self.metrics.queue_changed(-i64::try_from(n_requests).unwrap_or(i64::MAX));
    }

    fn waiting(&self, state: &State) -> Option<Waiting> {
        let first = state.waiting.front()?;
        // Counting companions is only worth it when the answer can delay a run.
        let rows = if self.limits().max_queue_delay.is_zero() {
            first.request.n_rows()
        } else {
            let fits = |queued: &&Queued| self.fits(first, queued);
            state.waiting.iter().filter(fits).map(|queued| queued.request.n_rows()).sum()
        };
        Some(Waiting { rows, oldest: first.enqueued_at, closing: state.closed.is_some() })
    }

    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.sleepers += 1;
        let mut state = match at_most {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(duration) => {
                self.changed.wait_timeout(state, duration).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.sleepers -= 1;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock but allocation, so the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody waits for it any more, or its deadline has passed.
fn is_unwanted(queued: &Queued, now: Instant) -> bool {
    queued.reply.is_abandoned() || queued.request.context().deadline <= now
}

#[cfg(test)]
mod tests;
