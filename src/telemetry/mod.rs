//! What operators see: metrics on one registry, logs, request ids.
//!
//! Nothing of the service is known here. Labels and codes come in as text from closed lists, so no
//! text that a client wrote can become a series; whoever measures calls in, nothing here calls out.

pub mod logging;
pub mod request_id;

mod exposition;
mod families;
mod histogram;
mod http;
mod metrics;
mod model;
mod process;
mod request;
mod statistics;

pub use exposition::Family;
pub use families::ALL as FAMILIES;
pub use http::{HttpMetrics, METHODS, RouteIndex};
pub use metrics::{BuildFacts, CONTENT_TYPE, Metrics, MetricsOptions, Reading, TrialOutcome};
pub use model::{ModelMetrics, Verification};
pub use request::{RequestGuard, RequestRecord};
pub use statistics::{BatchStatistics, ModelStatistics, RunRecord, Tally};

#[cfg(test)]
mod tests;
