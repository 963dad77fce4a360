//! The table of routes, and what follows from it: the routers of both listeners, what one of them refuses,
//! the names by which requests are counted, and what the document of the API describes.
//!
//! A file a protocol, a row for each method of each path. The page `docs/http.md` is held to it by a test.

mod codes;
mod embeddings;
mod instances;
mod native;
mod open_inference;
#[cfg(test)]
mod tests;
mod torchserve;

use super::context::RequestContext;
use super::error::{Failed, by_other_method};
use super::observe::{Observed, RouteTable};
use super::route::{Methods, Operation, PUBLIC, Rights, Route, Side};
use super::state::App;
use crate::inference::{ErrorCode, InferError};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Every row of the table.
fn table() -> impl Iterator<Item = &'static Route> {
    let tables = [
        native::ROUTES,
        open_inference::ROUTES,
        embeddings::ROUTES,
        instances::ROUTES,
        torchserve::ROUTES,
    ];
    tables.into_iter().flatten()
}

/// The paths of both listeners, as the rows write them: the closed list of a metric's label.
#[must_use]
pub fn route_paths() -> Vec<&'static str> {
    table().map(|route| route.path).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The listener for predictions: everything that reads or predicts.
pub fn public_service(app: &App) -> Observed {
    service(app, Side::Public)
}

/// The listener that changes state; it also does all that the public one does for predictions, so
/// that a client which knows one address works whole. `/models` on it is TorchServe's management
/// protocol.
pub fn management_service(app: &App) -> Observed {
    service(app, Side::Management)
}

fn service(app: &App, side: Side) -> Observed {
    let is_hidden = |route: &Route| {
        let is_metrics = route.operation.rights == Rights::Metrics;
        is_metrics && side == Side::Public && !app.options.public_metrics
    };
    let described: Arc<[Route]> =
        described(side).into_iter().filter(|route| !is_hidden(route)).collect();
    let routes: Vec<_> = described.iter().copied().chain(refusals(side).whole_paths).collect();
    let mut router = Router::new();
    let mut taken = BTreeSet::new();
    for route in &routes {
        // Verbs share their segment, and its handler.
        if taken.insert((route.segments(), route.operation.methods)) {
            router = router.route(route.segments(), route.router(&described));
        }
    }
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app.clone());
    Observed::new(app, RouteTable { side, router, routes, paths: route_paths() })
}

/// What the document of a listener describes: what it answers, and what it refuses beside that.
pub(super) fn described(side: Side) -> Vec<Route> {
    let answered = table().filter(|route| route.is_on(side)).copied();
    answered.chain(refusals(side).beside_others).collect()
}

/// Where those who ask for what is the other listener's are sent there.
struct Refusals {
    /// At paths that this listener has as well, with other methods. The document describes them.
    beside_others: Vec<Route>,
    /// At paths that are the other's alone, whatever the method.
    whole_paths: Vec<Route>,
}

/// What a listener refuses: the management listener nothing.
fn refusals(side: Side) -> Refusals {
    let mut refusals = Refusals { beside_others: Vec::new(), whole_paths: Vec::new() };
    if side == Side::Management {
        return refusals;
    }
    for route in table().filter(|route| !route.is_on(side)) {
        let mut own = table().filter(|own| own.path == route.path && own.is_on(side)).peekable();
        let is_listed = refusals.whole_paths.iter().any(|refused| refused.path == route.path);
        if own.peek().is_none() {
            if !is_listed {
                refusals.whole_paths.push(refused(route, Methods::Any));
            }
        } else if !own.any(|own| own.operation.methods == route.operation.methods) {
            refusals.beside_others.push(refused(route, route.operation.methods));
        }
    }
    refusals
}

/// A row of the management listener, as the public one has it.
fn refused(route: &Route, methods: Methods) -> Route {
    let operation = Operation {
        methods,
        sides: PUBLIC,
        query: &[],
        takes: &[],
        gives: &[],
        fails: &[&[ErrorCode::ManagementOnly]],
        ..route.operation
    };
    operation.at(route.path, "On the management listener only.", |place| place.to(management_only))
}

async fn not_found() -> Failed {
    let message = "there is no such route; GET / says which there are";
    InferError::new(ErrorCode::RouteNotFound, message).into()
}

async fn method_not_allowed(Extension(context): Extension<RequestContext>) -> Response {
    let message = "the route does not take this method; the header Allow names those that it takes";
    // The router knows no verbs behind a colon, and would name what the path takes without one.
    if context.has_verb() {
        return by_other_method(message, "POST");
    }
    Failed::from(InferError::new(ErrorCode::MethodNotAllowed, message)).into_response()
}

async fn management_only() -> Failed {
    let message = "this route answers on the management listener only";
    InferError::new(ErrorCode::ManagementOnly, message).into()
}
