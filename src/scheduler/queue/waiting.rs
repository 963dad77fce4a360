//! What waits in a queue, in its order, and what it comes to.

use super::load::Load;
use crate::inference::{PaddedSize, Reply, ValidRequest};
use crate::scheduler::batch::Part;
use crate::scheduler::options::Answer;
use crate::scheduler::packing::{Candidate, Packing, Placement};
use std::collections::VecDeque;
use std::time::Instant;
use tracing::Span;

/// A request that waits for an instance.
#[derive(Debug)]
pub(in crate::scheduler) struct Queued {
    pub(in crate::scheduler) request: ValidRequest,
    pub(in crate::scheduler) reply: Reply<Answer>,
    pub(in crate::scheduler) enqueued_at: Instant,
    /// Entered again by the thread that runs it, so that its log lines belong to the request.
    pub(in crate::scheduler) span: Span,
    /// The size that its inputs are padded to when it is run; `None` when they are run as they are.
    pub(in crate::scheduler) padded: Option<PaddedSize>,
    /// Whether it is unlike all that were answered since a request made a run fail.
    pub(in crate::scheduler) is_outlier: bool,
}

impl Queued {
    pub(in crate::scheduler) fn part(&self) -> Part<'_> {
        Part { request: &self.request, padded: self.padded }
    }

    pub(super) fn candidate(&self) -> Candidate {
        Candidate { n_rows: self.request.n_rows(), is_outlier: self.is_outlier }
    }

    /// Nobody waits for it any more, or its deadline has passed.
    pub(super) fn is_unwanted(&self, now: Instant) -> bool {
        self.reply.is_abandoned() || self.request.context().deadline <= now
    }
}

/// What was taken away for a batch.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) batch: Vec<Queued>,
    /// What was met on the way and is not wanted any more.
    pub(super) late: Vec<Queued>,
}

/// First in, first out, as far as requests that share a run allow.
#[derive(Debug)]
pub(super) struct WaitingLine {
    requests: VecDeque<Queued>,
    /// By how many rows runs of their own are told from shared ones.
    max_batch_size: usize,
    /// What the requests come to, without the outliers.
    load: Load,
    /// What the outliers come to.
    outliers: Load,
}

impl WaitingLine {
    pub(super) fn new(max_batch_size: usize) -> Self {
        let (load, outliers) = Default::default();
        Self { requests: VecDeque::new(), max_batch_size, load, outliers }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Queued> {
        self.requests.front()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Queued> {
        self.requests.get(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.requests.iter()
    }

    /// What the requests come to, without the outliers.
    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    /// What the outliers come to.
    pub(super) fn outliers(&self) -> &Load {
        &self.outliers
    }

    pub(super) fn push(&mut self, queued: Queued) {
        let n_rows = queued.request.n_rows();
        let max_batch_size = self.max_batch_size;
        self.load_of(&queued).add(n_rows, max_batch_size);
        self.requests.push_back(queued);
    }

    /// Takes away what stands at this place.
    pub(super) fn remove(&mut self, place: usize) -> Option<Queued> {
        let queued = self.requests.remove(place)?;
        self.leave(&queued);
        Some(queued)
    }

    /// Takes away what makes a batch from this place on, and what nobody waits for among that.
    pub(super) fn pack(
        &mut self,
        first: usize,
        packing: &mut Packing,
        fits: impl Fn(&Queued, &Queued) -> bool,
        now: Instant,
    ) -> Packed {
        let (mut batch, mut late): (Vec<Queued>, Vec<Queued>) = Default::default();
        let mut place = first;
        while let Some(next) = self.get(place) {
            if next.is_unwanted(now) {
                late.extend(self.remove(place));
                continue;
            }
            let fits = || batch.first().is_none_or(|first| fits(first, next));
            match packing.offer(next.candidate(), fits) {
                Placement::Taken => batch.extend(self.remove(place)),
                Placement::Passed => place += 1,
                Placement::Full => break,
            }
        }
        Packed { batch, late }
    }

    /// Takes away all that nobody waits for, or whose time is over.
    pub(super) fn remove_unwanted(&mut self, now: Instant) -> VecDeque<Queued> {
        let all = std::mem::take(&mut self.requests);
        let (unwanted, wanted) =
            all.into_iter().partition::<VecDeque<_>, _>(|queued| queued.is_unwanted(now));
        self.requests = wanted;
        unwanted.iter().for_each(|queued| self.leave(queued));
        unwanted
    }

    /// Takes away everything.
    pub(super) fn clear(&mut self) -> VecDeque<Queued> {
        (self.load, self.outliers) = Default::default();
        std::mem::take(&mut self.requests)
    }

    fn leave(&mut self, queued: &Queued) {
        let n_rows = queued.request.n_rows();
        let max_batch_size = self.max_batch_size;
        self.load_of(queued).remove(n_rows, max_batch_size);
    }

    fn load_of(&mut self, queued: &Queued) -> &mut Load {
        if queued.is_outlier { &mut self.outliers } else { &mut self.load }
    }
}
