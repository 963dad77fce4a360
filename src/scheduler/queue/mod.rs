//! The bounded queue between the tasks that submit and the threads that run.
//!
//! A std mutex, since nothing is awaited while it is held; a condition variable, since the takers
//! are plain threads. What is late or no longer wanted is dropped here, before it costs a run; what would have to
//! wait for too long is not taken in (see `pace`).

mod admission;
mod caution;
mod forecast;
mod load;
mod pace;
mod recent;
mod waiting;
mod work;

pub(super) use admission::Bounds;
pub(super) use pace::{Pace, Turn};
pub(super) use waiting::Queued;
pub(super) use work::{Work, deadline_exceeded};

use super::batch;
use super::metrics::SchedulerMetrics;
use super::packing::Packing;
use super::policy::{self, BatchLimits, Decision, Waiting};
use crate::inference::{InferError, Padding, Reached, ValidRequest};
use admission::{Admission, Ahead, OTHERS_FIRST};
use caution::Caution;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waiting::{Packed, WaitingLine};

#[derive(Debug)]
struct State {
    waiting: WaitingLine,
    admission: Admission,
    /// Set once: why nothing is taken in any more.
    closed: Option<InferError>,
    /// Why nothing is taken in for now.
    held: Option<InferError>,
    /// How many batches of others come before the next one of outliers.
    others_first: usize,
    /// Threads that sleep on `changed`.
    sleepers: usize,
    /// Somebody has said that they will wake a sleeper.
    is_alarm_set: bool,
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

/// See the file's head.
#[derive(Debug)]
pub(super) struct Queue {
    metrics: Arc<SchedulerMetrics>,
    state: Mutex<State>,
    changed: Condvar,
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
        metrics: Arc<SchedulerMetrics>,
    ) -> Self {
        metrics.set_queue_capacity(bounds.capacity);
        let state = State {
            waiting: WaitingLine::new(limits.max_batch_size),
            admission: Admission::new(bounds),
            closed: None,
            held: None,
            others_first: 0,
            sleepers: 0,
            is_alarm_set: false,
        };
        Self {
            metrics,
            state: Mutex::new(state),
            changed: Condvar::new(),
            pace: Pace::default(),
            caution: Caution::default(),
            limits,
            are_apart: AtomicBool::new(false),
            padding,
        }
    }

    /// How fast it is served.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// A turn with this batch, whose first request was found waiting at `since`, and whose run may go on until then.
    pub(super) fn begin(&self, batch: &[Queued], since: Instant, until: Instant) -> Turn<'_> {
        let n_rows = batch.iter().map(|queued| queued.request.n_rows()).sum();
        self.pace.begin(n_rows, since, until)
    }

    /// Lets requests share no runs from here on.
    pub(super) fn keep_apart(&self) {
        self.are_apart.store(true, Ordering::Relaxed);
    }

    /// Whether a request is to share runs only with such as are unlike all that were answered.
    pub(super) fn is_outlier(&self, request: &ValidRequest) -> bool {
        self.caution.is_outlier(request)
    }

    /// A run has answered these.
    pub(super) fn answered(&self, batch: &[Queued]) {
        if self.caution.is_on() {
            for queued in batch.iter().filter(|queued| queued.request.may_share_runs()) {
                self.caution.answered(&queued.request, queued.is_outlier);
            }
        }
    }

    /// A request made its run fail, also alone.
    pub(super) fn failed(&self, queued: &Queued) {
        if self.limits().max_batch_size > 1 && queued.request.may_share_runs() {
            self.caution.failed(queued.is_outlier);
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
        if let Some(reason) = state.closed.as_ref().or(state.held.as_ref()) {
            return Err(reason.clone());
        }
        let now = queued.enqueued_at;
        let mut refusal = self.refusal(&mut state, &queued);
        // Only now, since it looks at all that waits: those whom nobody waits for make room.
        if refusal.is_some() && state.waiting.iter().any(|it| it.is_unwanted(now)) {
            let unwanted = state.waiting.remove_unwanted(now);
            self.refuse_late(unwanted);
            refusal = self.refusal(&mut state, &queued);
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(self.take_in(state, queued)),
        }
    }

    fn take_in(&self, mut state: MutexGuard<'_, State>, queued: Queued) -> Option<Alarm<'_>> {
        state.waiting.push(queued);
        self.metrics.queue_changed(1);
        let is_first = state.sleepers > 0 && !state.is_alarm_set;
        state.is_alarm_set |= is_first;
        // Made only where it is wanted: its drop takes the lock.
        is_first.then(|| Alarm(self))
    }

    fn refusal(&self, state: &mut State, queued: &Queued) -> Option<InferError> {
        let State { waiting, admission, sleepers, .. } = state;
        let ahead = Ahead {
            waiting,
            sleepers: *sleepers,
            max_batch_size: self.limits.max_batch_size,
            pace: &self.pace,
            caution: &self.caution,
        };
        admission.refusal(queued, ahead)
    }

    /// Lets go of what nobody waits for any more: its caller's share of the server's memory is given back, and its place.
    pub(super) fn let_go_of_unwanted(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        // A run may have it.
        if state.waiting.iter().any(|queued| queued.is_unwanted(now)) {
            let unwanted = state.waiting.remove_unwanted(now);
            drop(state);
            self.refuse_late(unwanted);
        }
    }

    /// Blocks until there is something to run, or nothing and `spare` says that there is something else to do.
    /// [`Work::Leave`] once the queue is closed and empty.
    pub(super) fn wait(&self, spare: impl Fn() -> bool) -> Work {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            while state.waiting.front().is_some_and(|queued| queued.is_unwanted(now)) {
                self.refuse_late(state.waiting.remove(0));
            }
            match policy::decide(self.waiting(&state), self.limits(), now) {
                Decision::Dispatch => return Work::Run(now),
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

    /// Where the next batch begins: at the oldest request, but that while one has lately made a run fail outliers have
    /// one turn in a few.
    fn first(&self, state: &State) -> usize {
        let is_outlier_first = || state.waiting.front().is_some_and(|it| it.is_outlier);
        if !self.caution.is_on() || state.others_first == 0 || !is_outlier_first() {
            return 0;
        }
        state.waiting.iter().position(|queued| !queued.is_outlier).unwrap_or(0)
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
        let mut packing = Packing::new(self.limits(), self.caution.limits());
        let fits = |first: &Queued, other: &Queued| self.fits(first, other);
        let Packed { batch, late } = state.waiting.pack(first, &mut packing, fits, now);
        self.refuse_late(late);
        self.left(batch.len());
        state.others_first = match packing.has_outliers() {
            true => OTHERS_FIRST,
            false => state.others_first.saturating_sub(1),
        };
        if packing.is_full() && !state.waiting.is_empty() && packing.n_rows() > 0 {
            self.pace.was_full(packing.n_rows());
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
        self.turn_away(&reason, |state| state.closed = Some(reason.clone()));
        self.changed.notify_all();
    }

    /// Takes nothing in until [`Self::go_on`] and answers what waits with `reason`; says whether it is not closed already.
    pub(super) fn hold(&self, reason: InferError) -> bool {
        let is_open = self.lock().closed.is_none();
        if is_open {
            self.turn_away(&reason, |state| state.held = Some(reason.clone()));
        }
        is_open
    }

    /// Takes requests in again.
    pub(super) fn go_on(&self) {
        self.lock().held = None;
    }

    fn turn_away(&self, reason: &InferError, shut: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.lock();
            shut(&mut state);
            state.waiting.clear()
        };
        self.left(waiting.len());
        waiting.into_iter().for_each(|queued| queued.reply.send(Err(reason.clone())));
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

    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Answers those whose time is over; for those that nobody waits for, nobody hears it.
    fn refuse_late(&self, late: impl IntoIterator<Item = Queued>) {
        for queued in late {
            self.left(1);
            let reached = Reached { queue: queued.enqueued_at.elapsed(), compute: None };
            queued.reply.send(Err(deadline_exceeded("in the queue").with_reached(reached)));
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

#[cfg(test)]
mod tests;
