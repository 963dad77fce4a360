//! HTTP: routers, handlers and the one service around them. The connections below are `listener`'s.
//!
//! Handlers are decode, call, encode; what they call lies in other rooms. They return `Result<_, Failed>`:
//! `observe` writes every failure, in the shape of its protocol, and logs it.

mod accept;
mod body;
mod booking;
mod context;
mod cors;
mod describe;
#[cfg(test)]
mod documents;
mod error;
mod events;
mod exchange;
mod feedback;
mod health;
mod html;
mod index;
mod instances;
mod json_body;
mod manage;
mod metrics;
mod models;
mod observe;
mod open_inference;
mod openapi;
mod overview;
mod packing;
mod path;
mod plots;
mod predict;
mod rollouts;
mod drift;
mod embeddings;
mod route;
mod routes;
mod shape;
mod state;
#[cfg(test)]
mod tests;
mod torchserve;
mod unpack;
mod unread;
mod versions;
mod visitors;

pub use body::BodyTimeouts;
pub use cors::CorsOrigins;
pub use error::{refusal, status};
pub use observe::Observed;
pub use routes::{management_service, public_service, route_paths};
pub use state::{App, AppParts, HttpOptions};
pub use versions::{KeyHeader, RoutingHeaders};
pub use visitors::HostNames;
