//! The table agrees with itself and with its page.

use super::*;
use crate::http::documents;
use crate::http::route::Protocol;
use crate::http::shape::protocol_of;
use axum::http::Method;

const PAGE: &str = include_str!("../../../docs/http.md");

/// The rows that a listener answers or refuses, in the order of the router's.
fn rows(side: Side) -> Vec<Route> {
    described(side).into_iter().chain(refusals(side).whole_paths).collect()
}

#[test]
fn each_protocol_has_its_shape() {
    use Protocol::{Instances, Native, OpenAi, OpenInference, TorchServe};
    use Side::{Management, Public};
    for (side, method, path, expected) in [
        (Public, Method::GET, "/models", Native),
        (Public, Method::HEAD, "/models/m", Native),
        (Public, Method::GET, "/models/", Native),
        (Public, Method::POST, "/models/", TorchServe),
        (Public, Method::POST, "/models", TorchServe),
        (Public, Method::PATCH, "/models", TorchServe),
        (Public, Method::OPTIONS, "/models/m", TorchServe),
        (Public, Method::DELETE, "/models/m", TorchServe),
        (Public, Method::GET, "/models/m/1", TorchServe),
        (Public, Method::GET, "/models/m/", TorchServe),
        (Public, Method::GET, "/models/m/1/set-default", TorchServe),
        (Public, Method::GET, "/models/m/1/x/y", TorchServe),
        (Management, Method::GET, "/models", TorchServe),
        (Management, Method::GET, "/models/m", TorchServe),
        (Management, Method::GET, "/models/m/1/x", TorchServe),
        (Management, Method::PATCH, "/models", TorchServe),
        (Management, Method::GET, "/manage/models/m", Native),
        (Public, Method::GET, "/manage/models/m", Native),
        (Public, Method::GET, "/ping", TorchServe),
        (Public, Method::GET, "/ping/x", TorchServe),
        (Public, Method::GET, "/pingpong", Native),
        (Public, Method::PATCH, "/api-description", TorchServe),
        (Public, Method::POST, "/explanations", TorchServe),
        (Public, Method::POST, "/predictions/m", TorchServe),
        (Public, Method::POST, "/predictions", TorchServe),
        (Management, Method::POST, "/predictions/m/1/x", TorchServe),
        (Public, Method::POST, "/predict/m", Native),
        (Public, Method::GET, "/predict/m", Native),
        (Public, Method::POST, "/v1/models/m:predict", Instances),
        (Public, Method::POST, "/v1/x", OpenAi),
        (Public, Method::POST, "/v2/models/m/infer", OpenInference),
        (Public, Method::GET, "/v2/health", OpenInference),
        (Public, Method::GET, "/", Native),
        (Public, Method::GET, "//models", Native),
        (Public, Method::OPTIONS, "*", Native),
        (Public, Method::GET, "/nothing/here", Native),
    ] {
        let protocol = protocol_of(&rows(side), &method, path);
        assert_eq!(protocol, expected, "{side:?} {method} {path}");
    }
}

#[test]
fn no_listener_has_two_rows_for_one_request() {
    for side in [Side::Public, Side::Management] {
        let mut seen = BTreeSet::new();
        for Route { path, operation, .. } in rows(side) {
            let methods = [Methods::Any, operation.methods];
            let is_new = !methods.iter().any(|methods| seen.contains(&(path, *methods)));
            assert!(is_new, "{path} is there twice");
            seen.insert((path, operation.methods));
        }
    }
}

#[test]
fn the_management_listener_has_every_path() {
    for path in route_paths() {
        let mut rows = table().filter(|route| route.path == path);
        assert!(rows.any(|route| route.is_on(Side::Management)), "{path}");
    }
}

#[test]
fn what_manages_answers_on_the_management_listener_only() {
    for route in table() {
        let is_order = !route.operation.predicts()
            && matches!(route.operation.methods, Methods::Put | Methods::Delete);
        let manages = route.operation.rights == Rights::Manage;
        assert!(manages || !is_order, "{} changes state, which needs the right to", route.path);
        assert!(!manages || !route.is_on(Side::Public), "{} is for operators", route.path);
    }
}

#[test]
fn verbs_share_the_handler_of_their_segment() {
    for route in table().filter(|route| route.path != route.segments()) {
        assert_eq!(route.operation.methods, Methods::Post, "{}", route.path);
        let clash = table().any(|other| {
            other.path == route.segments() && other.operation.methods == route.operation.methods
        });
        assert!(!clash, "{} is mounted where another row is", route.path);
    }
}

#[test]
fn pages_of_others_may_use_the_methods_of_the_public_listener() {
    let answered = table().filter(|route| route.is_on(Side::Public));
    let used = answered.map(|route| route.operation.methods).filter(|it| *it != Methods::Any);
    let used: BTreeSet<_> = used.collect();
    assert_eq!(used, BTreeSet::from([Methods::Get, Methods::Post, Methods::Put]), "see `cors`");
}

#[test]
fn the_page_has_every_route_and_no_other() {
    let listed = documents::rows(PAGE, "| route | method | listener |");
    let listed: Vec<_> = listed.iter().map(|cells| &*cells[0]).collect();
    assert_eq!(listed, route_paths(), "docs/http.md must list the routes, in order");
}

#[test]
fn the_page_says_how_and_where_a_route_is_asked() {
    for cells in documents::rows(PAGE, "| route | method | listener |") {
        let (path, method, listener) = (&*cells[0], &*cells[1], &*cells[2]);
        let rows: Vec<_> = table().filter(|route| route.path == path).collect();
        let expected = match rows[0].operation.methods {
            Methods::Get => "GET",
            Methods::Put => "PUT",
            Methods::Post => "POST",
            Methods::Delete => "DELETE",
            Methods::Any => "any",
        };
        assert_eq!(method, expected, "{path}");
        let is_public = rows.iter().any(|route| route.is_on(Side::Public));
        assert_eq!(listener, if is_public { "both" } else { "management" }, "{path}");
    }
}
