//! What each error code is called where it is no text: one row a code, for every wire and for the log.
//!
//! It stands here and not in `http`, because HTTP and gRPC must agree on who is at fault, and neither may
//! name the other.

use crate::inference::ErrorCode;
use tracing::Level;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// The same request would fail anywhere and at any time.
    Client,
    /// Another request, another replica or another moment would have been answered.
    Server,
}

/// The codes of gRPC that are used here, by their numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcCode {
    /// The caller gave up.
    Cancelled = 1,
    /// The request is wrong, whatever the state of the server.
    InvalidArgument = 3,
    /// The time was up before the answer was there.
    DeadlineExceeded = 4,
    /// There is no such thing.
    NotFound = 5,
    /// The caller may not.
    PermissionDenied = 7,
    /// Too much is asked of the server.
    ResourceExhausted = 8,
    /// Something else was under way; trying again may help.
    Aborted = 10,
    /// This is not done here.
    Unimplemented = 12,
    /// Something is broken.
    Internal = 13,
    /// Not now; trying again helps.
    Unavailable = 14,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The status of an answer over HTTP.
    pub http: u16,
    /// The status of an answer over gRPC.
    pub grpc: GrpcCode,
    /// At which level a request that fails so is logged. An error is what someone should act on: a fault of
    /// the model or of ours. A busy server, a missed deadline and what is not supported are told apart from
    /// it, since clients can cause them at will.
    pub level: Level,
    /// Whose fault it is.
    pub fault: Party,
}

/// The row of a code. Closed: a new code does not compile without one.
#[must_use]
pub fn meaning(code: ErrorCode) -> Meaning {
    use GrpcCode::{
        Aborted, Cancelled, DeadlineExceeded, Internal, InvalidArgument, NotFound,
        PermissionDenied, ResourceExhausted, Unavailable, Unimplemented,
    };
    use Party::{Client, Server};
    let row = |http, grpc, level, fault| Meaning { http, grpc, level, fault };
    match code {
        ErrorCode::InvalidRequest => row(400, InvalidArgument, Level::INFO, Client),
        ErrorCode::InvalidJson => row(400, InvalidArgument, Level::INFO, Client),
        ErrorCode::InvalidBody => row(400, InvalidArgument, Level::INFO, Client),
        ErrorCode::InvalidInput => row(400, InvalidArgument, Level::INFO, Client),
        ErrorCode::ModelRequired => row(400, InvalidArgument, Level::INFO, Client),
        ErrorCode::ManagementOnly => row(403, PermissionDenied, Level::INFO, Client),
        ErrorCode::Forbidden => row(403, PermissionDenied, Level::INFO, Client),
        ErrorCode::RouteNotFound => row(404, Unimplemented, Level::INFO, Client),
        ErrorCode::ModelNotFound => row(404, NotFound, Level::INFO, Client),
        ErrorCode::VersionNotFound => row(404, NotFound, Level::INFO, Client),
        ErrorCode::MethodNotAllowed => row(405, Unimplemented, Level::INFO, Client),
        ErrorCode::BodyTimeout => row(408, DeadlineExceeded, Level::INFO, Client),
        ErrorCode::Conflict => row(409, Aborted, Level::INFO, Client),
        ErrorCode::BodyTooLarge => row(413, ResourceExhausted, Level::INFO, Client),
        ErrorCode::UnsupportedMediaType => row(415, InvalidArgument, Level::INFO, Client),
        ErrorCode::HeadTooLarge => row(431, ResourceExhausted, Level::INFO, Client),
        ErrorCode::QueueFull => row(429, ResourceExhausted, Level::INFO, Server),
        // The standard registry of statuses lacks it. Nobody receives it; logs and metrics show it.
        ErrorCode::ClientClosed => row(499, Cancelled, Level::INFO, Client),
        ErrorCode::InferenceFailed | ErrorCode::ModelCrashed => {
            row(500, Internal, Level::ERROR, Server)
        }
        ErrorCode::Internal => row(500, Internal, Level::ERROR, Server),
        ErrorCode::Unsupported => row(501, Unimplemented, Level::WARN, Client),
        ErrorCode::ModelNotReady => row(503, Unavailable, Level::WARN, Server),
        ErrorCode::Draining => row(503, Unavailable, Level::WARN, Server),
        ErrorCode::Overloaded => row(503, Unavailable, Level::WARN, Server),
        // Not 503, which load balancers try elsewhere: the model has run, or its run alone has no room.
        ErrorCode::OutOfMemory => row(507, ResourceExhausted, Level::WARN, Server),
        ErrorCode::DeadlineExceeded => row(504, DeadlineExceeded, Level::WARN, Server),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_faults_are_errors() {
        for &code in ErrorCode::ALL {
            let Meaning { http, level, fault, .. } = meaning(code);
            assert!((400..600).contains(&http), "{code} is {http}");
            let expected = match http {
                501 | 503 | 504 | 507 => Level::WARN,
                500.. => Level::ERROR,
                _ => Level::INFO,
            };
            assert_eq!(level, expected, "{code}: docs/errors.md says how statuses are logged");
            assert!(level != Level::ERROR || fault == Party::Server, "{code}: nobody here can act");
        }
    }

    #[test]
    fn both_wires_agree_on_who_may_try_again() {
        for &code in ErrorCode::ALL {
            let Meaning { http, grpc, .. } = meaning(code);
            assert_eq!(grpc == GrpcCode::InvalidArgument, matches!(http, 400 | 415), "{code}");
            assert_eq!(grpc == GrpcCode::PermissionDenied, http == 403, "{code}");
            assert!(grpc != GrpcCode::Unavailable || http == 503, "{code}");
        }
    }
}
