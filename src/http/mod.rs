//! HTTP: routers, handlers and the layers around them. The connections below are `listener`'s.
//!
//! Handlers are decode, call, encode; what they call lies in other rooms. With `grpc` this is the
//! only room that knows status codes: `error` has the one table.

mod body;
mod booking;
mod context;
mod cors;
mod describe;
#[cfg(test)]
mod documents;
mod error;
mod exchange;
mod health;
mod index;
mod instances;
mod manage;
mod models;
mod observe;
mod open_inference;
mod openapi;
mod packing;
mod path;
mod predict;
mod routes;
mod shape;
mod torchserve;
mod unpack;
mod unread;
mod visitors;

pub use body::BodyTimeouts;
pub use cors::CorsOrigins;
pub use error::status;
pub use observe::Observed;
pub use routes::{ROUTES, management_service, public_service};
pub use visitors::HostNames;

use crate::inference::ByteBudget;
use crate::inference::InferError;
use crate::listener::{DrainSignal, Phase, Refusal};
use crate::pipeline::Door;
use crate::protocol;
use crate::repository::Repository;
use crate::telemetry::Metrics;
use crate::telemetry::logging::RequestLog;
use crate::telemetry::request_id::RequestIds;
use axum::body::Bytes;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// How requests are answered.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long bodies may take.
    pub body_timeouts: BodyTimeouts,
    /// Whether the public listener answers `/metrics`.
    pub public_metrics: bool,
    /// Whose pages may read the public listener's answers.
    pub cors_origins: CorsOrigins,
    /// The names by which the management listener answers.
    pub management_hosts: HostNames,
}

/// What every handler has. Clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    parts: Arc<Parts>,
    /// Held while the document of the API is being made.
    describing: Arc<Semaphore>,
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// How requests are answered.
    pub options: Options,
    /// Where requests for predictions go in.
    pub door: Door,
    /// The models.
    pub repository: Repository,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// Which requests are logged.
    pub request_log: RequestLog,
    /// Makes ids for requests that bring none.
    pub request_ids: RequestIds,
    /// The bytes that requests may hold.
    pub budget: ByteBudget,
    /// Whether the server is on its way down.
    pub phase: DrainSignal,
    /// When the process began to serve.
    pub started_at: Instant,
}

impl App {
    /// The state of the routers.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), describing: Arc::new(Semaphore::new(1)) }
    }

    /// Whether readiness is off because the server is on its way down.
    fn is_draining(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }

    /// Whether traffic should come here: every required model serves and nothing is ending.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.repository.readiness().ready
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// The answer to a head that breaks the framing rules, in the shape of every other error.
#[must_use]
pub fn refusal_body(refusal: Refusal) -> Bytes {
    let code = error::code_of_refusal(refusal);
    let error = InferError::new(code, refusal.to_string());
    protocol::predict::encode_error(&error, "").into()
}
