//! Who asks.

use crate::inference::{Recipient, TraceParent};
use std::sync::Arc;
use std::time::Instant;

/// Who asks, and since when.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The caller's id for the request, or ours.
    pub request_id: Arc<str>,
    /// The caller's trace, if it sent one.
    pub trace: Option<TraceParent>,
    /// When the request came.
    pub started_at: Instant,
    /// Who takes the answer, where others go the same way.
    pub recipient: Option<Recipient>,
}

#[cfg(test)]
impl Caller {
    /// One with this id, from now on.
    pub fn named(request_id: &str) -> Self {
        Self {
            request_id: request_id.into(),
            trace: None,
            started_at: Instant::now(),
            recipient: None,
        }
    }
}
