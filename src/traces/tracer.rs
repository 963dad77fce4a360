//! Begins and ends requests.

use super::destination::{Destination, TracesOptions};
use super::ids::{Ids, SpanIds};
use super::open::OpenSpan;
use super::request::{Served, tell};
use super::sampler::{Sampler, is_notable};
use super::sending::{Sender, Wire};

use super::variables::Variables;
use crate::inference::TraceParent;
use crate::telemetry::background::Delivery;
use crate::telemetry::{Allowance, Collect, Samples, families};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Requests that are sent after the fact, a second: a server in trouble must not spend itself on telling so.
const AFTERWARDS: u32 = 10;

/// Why nothing can be traced.
#[derive(Debug, Error)]
pub enum StartError {
    /// The place that spans are to be sent to is none.
    #[error("spans cannot be sent to {endpoint:?}: {reason}")]
    Endpoint {
        /// What was said.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no thread.
    #[error("no thread for spans: {0}")]
    Thread(#[from] io::Error),
}

/// Traces requests. Clones share everything.
#[derive(Debug, Clone)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ids: Ids,
    sampler: Sampler,
    started_at: Instant,
    allowance: Allowance,
    sender: Sender,
}

impl Tracer {
    /// Starts to trace; `None` where nobody wants spans. `get` reads a variable of the environment.
    ///
    /// # Errors
    ///
    /// The place that they are to be sent to is none, or the system gives no thread.
    pub fn start(
        options: &TracesOptions,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, StartError> {
        let variables = Variables::read(get);
        for fault in &variables.faults {
            tracing::warn!("{fault}");
        }
        let Some(destination) = Destination::of(options, &variables) else { return Ok(None) };
        let wire = wire(&destination)?;
        let endpoint = destination.shown();
        let sampler = sampler(options, &variables);
        tracing::info!(endpoint, share = sampler.ratio, "requests are traced");
        Ok(Some(Self::with(wire, sampler)?))
    }

    pub(super) fn with(wire: Box<dyn Wire>, sampler: Sampler) -> Result<Self, StartError> {
        Ok(Self(Arc::new(Inner {
            ids: Ids::default(),
            sampler,
            started_at: Instant::now(),
            allowance: Allowance::default(),
            sender: Sender::start(wire)?,
        })))
    }

    /// A request has come; `parent` is what its caller says, `state` what tracers have written beside that.
    #[must_use]
    pub fn begin(
        &self,
        parent: Option<&TraceParent>,
        state: Option<String>,
        began_at: Instant,
    ) -> Arc<OpenSpan> {
        let Inner { ids, sampler, .. } = &*self.0;
        let number = |text: &str| u128::from_str_radix(text, 16).ok();
        let parent = parent.and_then(|it| {
            Some((number(&it.trace_id)?, number(&it.parent_id)? as u64, it.sampled))
        });
        let trace = parent.map_or_else(|| ids.trace(), |(trace, ..)| trace);
        let is_chosen = sampler.chooses(parent.map(|(.., is_sampled)| is_sampled), trace);
        let span = SpanIds { trace, span: ids.span() };
        let parent = parent.map(|(_, span, _)| span);
        Arc::new(OpenSpan::new(span, parent, state, is_chosen, began_at))
    }

    /// It is over: its spans are made and sent, if it was chosen or is worth it.
    pub fn end(&self, open: &OpenSpan, served: &Served<'_>) {
        let Inner { ids, sender, .. } = &*self.0;
        let passed = open.take_passed();
        if !open.is_chosen && !self.is_chosen_afterwards(served) {
            return;
        }
        if let Some(passed) = &passed {
            let SpanIds { trace, span } = open.ids;
            passed.metrics.set_exemplar(&passed.record, trace, span);
        }
        sender.leave(tell(ids, open, passed.as_ref(), served));
    }

    fn is_chosen_afterwards(&self, served: &Served<'_>) -> bool {
        let Inner { started_at, allowance, .. } = &*self.0;
        self.0.sampler.is_ours
            && is_notable(served.status, served.is_slow)
            && allowance.take(started_at.elapsed().as_secs(), AFTERWARDS)
    }

    /// How many spans came to this end.
    #[must_use]
    pub fn count(&self, outcome: Delivery) -> u64 {
        self.0.sender.count(outcome)
    }

    /// Has everything sent that waits, and waits for it at most so long; whether it is. Blocks.
    #[must_use]
    pub fn flush(&self, patience: Duration) -> bool {
        self.0.sender.flush(patience)
    }
}

impl Collect for Tracer {
    fn collect(&self, samples: &mut Samples) {
        for outcome in Delivery::ALL {
            let n = self.count(outcome) as f64;
            samples.number(&families::SPANS, &[outcome.as_str()], n);
        }
    }
}

fn sampler(options: &TracesOptions, variables: &Variables) -> Sampler {
    Sampler {
        is_ours: variables.follows_parent.is_none(),
        follows_parent: variables.follows_parent.unwrap_or(true),
        ratio: variables.ratio.unwrap_or(options.sample_rate),
    }
}

#[cfg(feature = "sending")]
fn wire(destination: &Destination) -> Result<Box<dyn Wire>, StartError> {
    super::otlp::Otlp::connect(destination)
        .map(|wire| Box::new(wire) as _)
        .map_err(|reason| StartError::Endpoint { endpoint: destination.endpoint.clone(), reason })
}

#[cfg(not(feature = "sending"))]
fn wire(destination: &Destination) -> Result<Box<dyn Wire>, StartError> {
    let reason = "this program was built without the feature `sending`".to_owned();
    Err(StartError::Endpoint { endpoint: destination.endpoint.clone(), reason })
}
