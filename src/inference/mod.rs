//! What travels through the service: references, specifications, requests, answers and errors.
//!
//! Plain types and their checks. No wire format, no thread, no library of tensors: every room may
//! name this one, and it names only `tensor`.

mod budget;
mod content;
mod contract;
mod error;
mod name;
mod pace;
mod padding;
mod parameters;
mod reply;
mod request;
mod response;
mod sizes;
mod spec;
mod trace;

pub use budget::{ByteBudget, ByteLease, Recipient};
pub use content::{Content, Work};
pub use contract::{AnswerForm, BatchingScope, Contract, Layout, with_one_row};
pub use error::{ErrorCode, ErrorDetails, InferError, Reached};
pub use name::{
    ModelName, ModelRef, NameError, RoutingKey, Version, VersionLabel, VersionSelector,
};
pub use pace::{Pace, Savings};
pub use padding::{InputPadding, PaddedSize, Padding};
pub use parameters::{MAX_TOP, Parameters};
pub use reply::{Pending, Reply, reply};
pub use request::{Context, InferRequest, NamedTensor, ValidRequest};
pub use response::{
    Extra, ExtraKind, ExtraSpec, ExtraValues, InferResponse, Ranking, Rankings, RunId, Timings,
};
pub use sizes::SizeRule;
pub use spec::{Batching, ModelSpec, RefusalReason, TensorSpec};
pub use trace::TraceParent;
