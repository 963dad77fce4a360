//! Requests as spans of distributed traces, sent by OTLP (the OpenTelemetry protocol).
//!
//! | file | is about |
//! |---|---|
//! | `variables` | what the environment says, in the standard's names |
//! | `destination` | where spans go, by that and the configuration |
//! | `sampler` | which requests are traced: by their callers, by a share, and afterwards those that failed or were slow |
//! | `ids` | ids of traces and spans |
//! | `open` | a request under way, and what the door says of it |
//! | `span` | spans, as every protocol for them has them |
//! | `request` | those of a request: one for it, one a phase |
//! | `runs` | one span for a run that several requests shared, with a link to each |
//! | `tracer` | joins these: begins and ends requests |
//! | `sending` | the thread that sends, bounded and counted |
//! | `otlp` | the wire |
//!
//! Nothing is built before a request is over, and then only of those that are sent: of all others a moment and two ids are kept.
//! The names of attributes are those of OpenTelemetry's semantic conventions (1.44, HTTP), and `sconce.*` for what they do not name.

mod destination;
mod ids;
mod open;
mod request;
mod runs;
mod sampler;
mod sending;
mod span;
mod tracer;
mod variables;

#[cfg(feature = "sending")]
mod otlp;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::to_nowhere;

pub use destination::TracesOptions;
pub use open::OpenSpan;
pub use request::Served;
pub use tracer::{StartError, Tracer};
