//! sconce serves TorchScript models over HTTP.
//!
//! # The map
//!
//! The modules below are rooms, in reading order. [`cli`] is asked, [`app`] puts everything together,
//! [`config`] and [`shutdown`] are the way up and the way down, [`settings`] reads what people write.
//! [`tensor`] and [`inference`] are the words that all others speak; what counts something reports to [`telemetry`],
//! which knows none of them. Then the work itself, from the inside out: [`engine`] runs models, [`scheduler`]
//! decides when, [`transform`] adds labels, [`repository`] knows which models there are, [`store`] keeps their
//! folder as an object store is, [`protocol`]
//! reads and writes bodies, [`pipeline`] is the one door that every request goes through, [`rollout`] judges
//! new versions beside old ones, [`quality`] watches what models get and give, [`capture`] keeps a sample of it, [`traces`] tells
//! where its time went,
//! [`evaluation`] holds answers against labels, [`listener`] keeps the connections,
//! [`http`] is the edge.
//!
//! # The flow
//!
//! A request comes through [`listener`] and [`http`] to [`pipeline::Door::answer`]: it is resolved to a version by
//! [`repository`] (the handle holds it loaded), read within its limits, decoded by its
//! [`protocol::Wire`] straight into typed buffers, checked ([`inference::ValidRequest`] has one
//! constructor), and handed to the version's [`scheduler::Scheduler`], where an instance's thread runs it
//! with others (or, for small models, the thread that asked). Labels are added, the wire writes the answer, and [`http`] sends it.
//!
//! A model file comes through [`repository`], is tried in a child process ([`engine::remote`],
//! [`engine::probe`]), and only then loaded here.
//!
//! # The invariants
//!
//! - A room names only the rooms that its row in `ARCHITECTURE.md` allows; `tests/layering` reads the
//!   source and holds it to that.
//! - Only `engine::torch` names libtorch's bindings; only [`http`] writes a status code; policies are
//!   pure functions of state and time.
//! - Nothing is global but the log and the allocator. Torch runs on threads of its own, but for models whose runs
//!   are known to end soon.
//! - What a client sends never reaches a model unchecked, never makes a metric series, and never changes
//!   readiness, except by runs that hang until no more are replaced.
//! - Every queue, body, cache and wait has a bound. No answer to a prediction holds a path or a
//!   backtrace.
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod config;
pub mod shutdown;
pub mod settings;
pub mod tensor;
pub mod inference;
pub mod telemetry;
pub mod engine;
pub mod scheduler;
pub mod transform;
pub mod repository;
pub mod store;
pub mod protocol;
pub mod pipeline;
pub mod rollout;
pub mod quality;
pub mod capture;
pub mod traces;
pub mod evaluation;
pub mod listener;
pub mod http;

#[cfg(test)]
mod testing;
