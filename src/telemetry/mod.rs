//! What operators see: metrics on one registry, logs, request ids.
//!
//! Nothing of the service is known here. Labels and codes come in as text from closed lists, so no
//! text that a client wrote can become a series; whoever measures calls in, nothing here calls out.
//! Rooms that count something of their own export it themselves, by a row of [`families`] and a collector
//! ([`Collect`], and [`VersionSeries`] for what belongs to a model version).

pub mod background;
pub mod events;
pub mod families;
pub mod logging;
pub mod request_id;

mod address;
mod allowance;
mod codes;
mod collect;
mod exposition;
mod histogram;
mod http;
mod metrics;
mod model;
mod moment;
mod number;
mod openmetrics;
mod phase;
mod process;
mod readings;
mod record;
mod request;
mod statistics;
mod trials;
mod versions;

pub use address::without_secrets;
pub use allowance::Allowance;
pub use collect::{Collect, VersionSamples, VersionSeries};
pub use exposition::{Family, Samples};
pub use histogram::Histogram;
pub use http::{HttpMetrics, METHODS, RouteIndex};
pub use metrics::{BuildInfo, CONTENT_TYPE, Metrics, MetricsOptions, OPEN_CONTENT_TYPE};
pub use model::ModelMetrics;
pub use moment::written_moment;
pub use number::{Counter, Gauge, GaugePart};
pub use phase::{ByPhase, Phase, PhaseTimes};
pub use process::{children_bytes, resident_bytes};
pub use record::RequestRecord;
pub use request::RequestGuard;
pub use statistics::{BatchStatistics, DurationStatistics, ModelStatistics, RunRecord};
pub use trials::TrialOutcome;

#[cfg(test)]
mod tests;
