//! Spans, as every protocol for them has them.

use super::ids::SpanIds;
use crate::inference::RunId;
use std::borrow::Cow;
use std::time::SystemTime;

/// A span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) ids: SpanIds,
    pub(super) parent: Option<Parent>,
    pub(super) name: Cow<'static, str>,
    /// Whether it is the server's side of a call; otherwise a part of one.
    pub(super) is_server: bool,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) links: Vec<SpanIds>,
    /// What tracers have written beside the trace.
    pub(super) state: Option<String>,
    pub(super) is_error: bool,
}

/// The span that a span is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) span: u64,
    /// Whether it is the caller's.
    pub(super) is_remote: bool,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(Cow<'static, str>),
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A request that shared a run.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) run: RunId,
    /// Those of the run's own span.
    pub(super) of_run: SpanIds,
    /// Those of the request's part.
    pub(super) span: SpanIds,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    /// What the run's span says of its model.
    pub(super) attributes: Vec<(&'static str, Value)>,
}

/// All of a request.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) spans: Vec<Span>,
    /// The run that it shared with others, if it did.
    pub(super) member: Option<Member>,
}
