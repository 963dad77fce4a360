//! Who asks.

use crate::inference::TraceParent;
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
}
