//! What every handler is given: the models, and what all requests share.

use super::body::BodyTimeouts;
use super::cors::CorsOrigins;
use super::overview::Overviews;
use super::versions::RoutingHeaders;
use super::visitors::HostNames;
use crate::inference::{ByteBudget, ErrorCode, InferError, ModelName};
use crate::listener::{DrainPhase, DrainSignal};
use crate::pipeline::Door;
use crate::quality::Quality;
use crate::quality::feedback::Feedback;
use crate::repository::{ModelStatus, Repository};
use crate::rollout::Rollouts;
use crate::telemetry::Metrics;
use crate::telemetry::events::Events;
use crate::telemetry::logging::RequestLog;
use crate::telemetry::request_id::RequestIds;
use crate::traces::Tracer;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// How requests are answered.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long bodies may take.
    pub body_timeouts: BodyTimeouts,
    /// Whether the public listener answers `/metrics`.
    pub public_metrics: bool,
    /// Whose pages may read the public listener's answers.
    pub cors_origins: CorsOrigins,
    /// The names by which the management listener answers.
    pub management_hosts: HostNames,
    /// What of a request's head chooses among versions.
    pub routing: RoutingHeaders,
}

/// What every handler has. Clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    parts: Arc<AppParts>,
    /// Held while the document of the API is being made.
    pub(super) describing: Arc<Semaphore>,
    /// Who follows the events: each takes a connection that others would have.
    pub(super) following: Arc<Semaphore>,
    /// What is told of all models at once.
    pub(super) overviews: Arc<Overviews>,
}

/// Callers that may follow the events at once.
pub(super) const MAX_FOLLOWERS: usize = 64;

/// What an [`App`] is made of.
#[derive(Debug)]
pub struct AppParts {
    /// How requests are answered.
    pub options: HttpOptions,
    /// Where requests for predictions go in.
    pub door: Door,
    /// The models.
    pub repository: Repository,
    /// New versions of them beside those that serve.
    pub rollouts: Rollouts,
    /// What their data look like beside their references.
    pub quality: Quality,
    /// What labels that come back say of their answers.
    pub feedback: Feedback,
    /// What happened to them.
    pub events: Events,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// Which requests are traced, if any are.
    pub tracer: Option<Tracer>,
    /// Which requests are logged.
    pub request_log: RequestLog,
    /// Makes ids for requests that bring none.
    pub request_ids: RequestIds,
    /// The bytes that requests may hold.
    pub budget: ByteBudget,
    /// Whether the server is on its way down.
    pub phase: DrainSignal,
    /// Layers of the sandbox that this kernel does not have.
    pub sandbox_missing: Vec<&'static str>,
    /// When the process began to serve.
    pub started_at: Instant,
}

impl App {
    /// The state of the routers.
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        Self {
            parts: Arc::new(parts),
            describing: Arc::new(Semaphore::new(1)),
            following: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            overviews: Arc::default(),
        }
    }

    /// A model as it is.
    ///
    /// # Errors
    ///
    /// `model_not_found`.
    pub(super) fn model(&self, name: &ModelName) -> Result<ModelStatus, InferError> {
        self.repository.describe(name).ok_or_else(|| {
            InferError::new(ErrorCode::ModelNotFound, format!("there is no model {name:?}"))
        })
    }

    /// Whether readiness is off because the server is on its way down.
    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() > DrainPhase::Serving
    }

    /// Whether the server drops what is under way.
    pub(super) fn gives_up(&self) -> bool {
        *self.phase.borrow() >= DrainPhase::Aborting
    }

    /// Whether traffic should come here: every required model serves and nothing is ending.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.repository.readiness().ready
    }
}

impl std::ops::Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.parts
    }
}
