//! What is sent of a request: a span for it, and one for each of its phases.

use super::ids::{Ids, SpanIds};
use super::open::{OpenSpan, Passed};
use super::span::{Member, Parent, Span, Told, Value};
use crate::inference::{ModelName, Version};
use crate::telemetry::{Phase, RequestRecord};
use std::time::{Duration, Instant, SystemTime};

/// Bytes of a path that are kept; routes are shorter.
const MAX_PATH: usize = 512;

/// What the edge says of a request that it has answered.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// The method: `POST` or `PUT`.
    pub method: &'static str,
    /// The route, as the table has it, if it has one.
    pub route: Option<&'static str>,
    /// The path that was asked for.
    pub path: &'a str,
    /// The version of HTTP: `1.1` or `2`.
    pub protocol: &'static str,
    /// The status of the answer. That of one that nobody waited for is in no span.
    pub status: u16,
    /// The error's code.
    pub code: Option<&'static str>,
    /// Whether the caller left before the answer.
    pub is_abandoned: bool,
    /// The request's id.
    pub request_id: &'a str,
    /// From its arrival to the end of the answer, and whether that was slow.
    pub took: Duration,
    /// See there.
    pub is_slow: bool,
}

/// The spans of a request that is over: itself, and a part for each phase that it reached.
pub(super) fn tell(
    ids: &Ids,
    open: &OpenSpan,
    passed: Option<&Passed>,
    served: &Served<'_>,
) -> Told {
    let mut attributes: Vec<(&'static str, Value)> = vec![
        ("http.request.method", served.method.into()),
        ("url.path", served.path[..served.path.floor_char_boundary(MAX_PATH)].to_owned().into()),
        ("url.scheme", "http".into()),
        ("network.protocol.version", served.protocol.into()),
        ("sconce.request_id", served.request_id.to_owned().into()),
    ];
    attributes.extend(served.route.map(|route| ("http.route", route.into())));
    if !served.is_abandoned {
        attributes.push(("http.response.status_code", usize::from(served.status).into()));
    }
    attributes.extend(served.code.map(|code| ("error.type", code.into())));
    let mut told = Told { spans: Vec::new(), member: None };
    if let Some(passed) = passed {
        attributes.extend(about(&passed.model, passed.version));
        attributes.extend(passed.n_rows.map(|rows| ("sconce.rows", rows.into())));
        told = parts(ids, open, passed);
    }
    told.spans.push(Span {
        ids: open.ids,
        parent: open.parent.map(|span| Parent { span, is_remote: true }),
        name: match served.route {
            Some(route) => format!("{} {route}", served.method).into(),
            None => served.method.into(),
        },
        is_server: true,
        start: open.began,
        end: open.began + served.took,
        attributes,
        links: Vec::new(),
        state: open.state.clone(),
        is_error: served.status >= 500,
    });
    told
}

/// What every span of a model's work says.
fn about(model: &ModelName, version: Version) -> [(&'static str, Value); 2] {
    [
        ("sconce.model", model.as_str().to_owned().into()),
        ("sconce.version", version.to_string().into()),
    ]
}

/// The phases: each follows on the one before, from the moment that is known of it.
fn parts(ids: &Ids, open: &OpenSpan, passed: &Passed) -> Told {
    let RequestRecord { phases, .. } = &passed.record;
    let at = |moment: Instant| open.began + moment.saturating_duration_since(open.began_at);
    let mut told = Told { spans: Vec::new(), member: None };
    let mut add = |name: &'static str, start: SystemTime, took: Duration| {
        let ids = SpanIds { trace: open.ids.trace, span: ids.span() };
        told.spans.push(Span {
            ids,
            parent: Some(Parent { span: open.ids.span, is_remote: false }),
            name: name.into(),
            is_server: false,
            start,
            end: start + took,
            attributes: Vec::new(),
            links: Vec::new(),
            state: open.state.clone(),
            is_error: false,
        });
        ids
    };
    if let (Some(took), Some(checked_at)) = (phases[Phase::Decode], passed.checked_at) {
        // The check lies between, and takes next to nothing.
        let prepared = phases[Phase::Preprocess].unwrap_or_default();
        add(Phase::Decode.name(), at(checked_at) - prepared - took, took);
        if !prepared.is_zero() {
            add(Phase::Preprocess.name(), at(checked_at) - prepared, prepared);
        }
    }
    let mut computed = None;
    if let (Some(queue), Some(checked_at)) = (phases[Phase::Queue], passed.checked_at) {
        let start = at(checked_at);
        add(Phase::Queue.name(), start, queue);
        let run = [Phase::Input, Phase::Compute, Phase::Output].map(|it| phases[it]);
        let run: Option<Duration> = run.into_iter().flatten().reduce(|one, other| one + other);
        computed =
            run.map(|run| (add(Phase::Compute.name(), start + queue, run), start + queue, run));
    }
    if let (Some(took), Some(answered_at)) = (phases[Phase::Encode], passed.answered_at) {
        add(Phase::Encode.name(), at(answered_at), took);
    }
    if let (Some((span, start, took)), Some(run)) = (computed, passed.run)
        && Some(run.n_rows) != passed.n_rows
    {
        let of_run = ids.of_run(run.number);
        for span in told.spans.iter_mut().filter(|it| it.ids == span) {
            span.links.push(of_run);
            span.attributes.push(("sconce.batch.rows", run.n_rows.into()));
        }
        let attributes = about(&passed.model, passed.version).into();
        let end = start + took;
        told.member = Some(Member { run, of_run, span, start, end, attributes });
    }
    told
}
