//! The one door: a request, by whatever protocol and transport it comes, goes through [`Door::answer`].
//!
//! What carries a request is a [`Call`], what it is written in a `Wire` of `protocol`. Neither HTTP nor
//! any other transport is known here: statuses, headers and content codings are the edge's.

mod answer;
mod call;
mod caller;
mod door;
mod observer;
mod offload;
mod passage;
mod prepare;
mod run;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use answer::{Booked, EncodedAnswer, SMALL_BYTES};
pub use call::{BodyLimits, Call, Packing, Received, Target};
pub use caller::Caller;
pub use door::{Answered, Door};
pub use observer::{Observer, Tap};
pub use offload::{LARGE_BYTES, late, off_runtime};
pub use run::{check, run};
