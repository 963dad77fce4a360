//! What a row of the table of routes says: one method of one path, and all that follows from it.
//!
//! Who is asked (`side`), who answers (`handler`), in whose words (`protocol`), what a caller needs
//! (`rights`), and what the document of the API says. The rows themselves are `routes`'.

use super::state::App;
use crate::inference::ErrorCode;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, any, on};
use std::sync::Arc;

/// Which listener is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The one for predictions.
    Public,
    /// The one that changes state.
    Management,
}

/// The listeners that answer a route.
pub(super) const BOTH: &[Side] = &[Side::Public, Side::Management];
pub(super) const PUBLIC: &[Side] = &[Side::Public];
pub(super) const MANAGEMENT: &[Side] = &[Side::Management];

/// Whose words the bodies are in, those of failures among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Native,
    OpenInference,
    Instances,
    OpenAi,
    PlainEmbeddings,
    TorchServe,
}

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// To learn what is served, and whether it is ready.
    Read,
    /// To have a model run.
    Predict,
    /// To say how good its answers were.
    Feedback,
    /// To change what is served, and to read what is for operators.
    Manage,
    /// To read the metrics.
    Metrics,
}

/// The method of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Methods {
    /// `HEAD` stands beside it.
    Get,
    Put,
    Post,
    Delete,
    /// All that there are.
    Any,
}

impl Methods {
    /// Whether a request with this method is meant.
    pub(super) fn take(self, method: &Method) -> bool {
        match self {
            Self::Get => matches!(*method, Method::GET | Method::HEAD),
            Self::Put => *method == Method::PUT,
            Self::Post => *method == Method::POST,
            Self::Delete => *method == Method::DELETE,
            Self::Any => true,
        }
    }
}

/// A body of some media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) media_type: &'static str,
    /// One of the document's schemas.
    pub(super) schema: &'static str,
}

impl Content {
    /// Bytes as they lie in memory.
    pub(super) const BYTES: Self = Self { media_type: "application/octet-stream", schema: "Bytes" };

    pub(super) const fn json(schema: &'static str) -> Self {
        Self { media_type: "application/json", schema }
    }

    /// Text of another format.
    pub(super) const fn text(media_type: &'static str) -> Self {
        Self { media_type, schema: "Text" }
    }
}

/// Statuses that are no failures of the table of codes, with their bodies.
pub(super) type Gives = &'static [(u16, &'static [Content])];

/// What a route does, wherever it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) methods: Methods,
    /// The listeners that answer. The public one refuses what is the other's alone.
    pub(super) sides: &'static [Side],
    pub(super) protocol: Protocol,
    pub(super) rights: Rights,
    /// The document's heading for it.
    pub(super) tag: &'static str,
    /// What the query may hold, with the type that the document gives it.
    pub(super) query: &'static [(&'static str, &'static str)],
    /// What may be sent; nothing where no body is read.
    pub(super) takes: &'static [Content],
    /// What it answers; nothing where it only refuses.
    pub(super) gives: Gives,
    /// Why it may fail, beside what every request may fail of.
    pub(super) fails: &'static [&'static [ErrorCode]],
}

impl Operation {
    /// One that both listeners answer, that reads no body and fails of nothing in particular.
    pub(super) const fn new(methods: Methods, protocol: Protocol, tag: &'static str) -> Self {
        Self {
            methods,
            sides: BOTH,
            protocol,
            rights: Rights::Read,
            tag,
            query: &[],
            takes: &[],
            gives: &[],
            fails: &[],
        }
    }

    /// The row that does this at a path.
    pub(super) const fn at(
        self,
        path: &'static str,
        summary: &'static str,
        handler: Mount,
    ) -> Route {
        Route { path, summary, handler, operation: self }
    }

    /// Whether it has a model run.
    pub(super) fn predicts(&self) -> bool {
        self.rights == Rights::Predict
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    /// As the router writes it, with what handlers take off its last segment behind a colon.
    pub(super) path: &'static str,
    /// A sentence for the document.
    pub(super) summary: &'static str,
    pub(super) handler: Mount,
    pub(super) operation: Operation,
}

impl Route {
    pub(super) fn is_on(&self, side: Side) -> bool {
        self.operation.sides.contains(&side)
    }

    /// The path as the router knows it: a verb behind a colon is no segment of its own.
    pub(super) fn segments(&self) -> &'static str {
        self.path.split_once(':').map_or(self.path, |(path, _)| path)
    }

    /// What the router is to do there.
    pub(super) fn router(&self, described: &Arc<[Self]>) -> MethodRouter<App> {
        (self.handler)(&Place { methods: self.operation.methods, described })
    }
}

/// Puts the handler of a row in its place.
pub(super) type Mount = fn(&Place<'_>) -> MethodRouter<App>;

/// Where a handler is put.
pub(super) struct Place<'a> {
    methods: Methods,
    /// The rows that the document of this listener describes.
    pub(super) described: &'a Arc<[Route]>,
}

impl Place<'_> {
    /// Puts this handler there.
    pub(super) fn to<H: Handler<T, App>, T: 'static>(&self, handler: H) -> MethodRouter<App> {
        match self.methods {
            Methods::Get => on(MethodFilter::GET, handler),
            Methods::Put => on(MethodFilter::PUT, handler),
            Methods::Post => on(MethodFilter::POST, handler),
            Methods::Delete => on(MethodFilter::DELETE, handler),
            Methods::Any => any(handler),
        }
    }
}
