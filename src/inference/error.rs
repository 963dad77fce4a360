//! The one report of a failed request, and the closed set of codes that name failures.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

macro_rules! error_codes {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal;)*) => {
        /// Why a request was not answered with a prediction. Clients see [`ErrorCode::as_str`];
        /// `protocol::codes` says which status belongs to it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])+ $variant,)* }

        impl ErrorCode {
            /// Every code, in the order of the page that documents them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code's name on the wire and in metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

error_codes! {
    /// The HTTP request itself is malformed: framing, headers, a query that cannot be read.
    InvalidRequest = "invalid_request";
    /// The body is not one well-formed JSON document.
    InvalidJson = "invalid_json";
    /// The document is well-formed but not what the route takes: wrong type, unknown or double member.
    InvalidBody = "invalid_body";
    /// A tensor is missing, unknown, or differs from what the model takes in shape, type or range.
    InvalidInput = "invalid_input";
    /// Several models are served and the request names none.
    ModelRequired = "model_required";
    /// State is changed on the management listener only.
    ManagementOnly = "management_only";
    /// The request comes from a page, or by a name, that the management listener does not answer.
    Forbidden = "forbidden";
    /// No such route.
    RouteNotFound = "route_not_found";
    /// No such model.
    ModelNotFound = "model_not_found";
    /// The model has no such version.
    VersionNotFound = "version_not_found";
    /// The route exists under another method.
    MethodNotAllowed = "method_not_allowed";
    /// The body did not arrive in time.
    BodyTimeout = "body_timeout";
    /// Another transition of the same model is under way, or its state does not allow this one.
    Conflict = "conflict";
    /// The body, or what it unpacks to, is larger than allowed.
    BodyTooLarge = "body_too_large";
    /// The body's type or encoding is not one that the route takes.
    UnsupportedMediaType = "unsupported_media_type";
    /// The request head is larger than allowed.
    HeadTooLarge = "head_too_large";
    /// The model's queue is full.
    QueueFull = "queue_full";
    /// The client hung up before the answer; seen in logs and metrics only.
    ClientClosed = "client_closed";
    /// The model raised an error on this input.
    InferenceFailed = "inference_failed";
    /// The process that ran the model ended by this input.
    ModelCrashed = "model_crashed";
    /// Our own fault.
    Internal = "internal";
    /// The request asks for something that this server does not do.
    Unsupported = "unsupported";
    /// The model is still being loaded, could not be, or was unloaded.
    ModelNotReady = "model_not_ready";
    /// The server is shutting down.
    Draining = "draining";
    /// The bytes in flight are at their limit.
    Overloaded = "overloaded";
    /// The device or the host ran out of memory while the model ran.
    OutOfMemory = "out_of_memory";
    /// The request's deadline passed before its answer was there.
    DeadlineExceeded = "deadline_exceeded";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as every protocol reports it, each in its own shape.
///
/// The message names the thing at fault and carries no internal text: no paths, no backtraces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// One line: lowercase, no full stop.
    pub message: Cow<'static, str>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// What else is known; boxed, because every fallible function carries room for an error.
    pub details: Box<ErrorDetails>,
}

/// The parts of a report that only some failures have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorDetails {
    /// The model that was asked, when it is known to exist.
    pub model: Option<String>,
    /// The input tensor at fault.
    pub input: Option<String>,
    /// What would have been right.
    pub expected: Option<String>,
    /// What came.
    pub got: Option<String>,
    /// What lies behind the failure, for the log. No protocol writes it: it may quote the model.
    pub cause: Option<String>,
    /// How far the request got, where it got as far as the queue.
    pub reached: Option<Reached>,
}

/// Where the time of a request went that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// In the queue.
    pub queue: Duration,
    /// In runs that failed.
    pub compute: Option<Duration>,
}

impl InferError {
    /// A report with nothing but its code and message.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None, details: Box::default() }
    }

    /// The same, of a request that got so far.
    #[must_use]
    pub fn with_reached(mut self, reached: Reached) -> Self {
        self.details.reached = Some(reached);
        self
    }

    /// A tensor that is not what the model takes.
    pub fn invalid_input(input: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(ErrorCode::InvalidInput, message);
        error.details.input = Some(input.into());
        error
    }

    /// Adds what would have been right and what came.
    #[must_use]
    pub fn with_mismatch(mut self, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        self.details.expected = Some(expected.to_string());
        self.details.got = Some(got.to_string());
        self
    }

    /// Adds the model that was asked.
    #[must_use]
    pub fn with_model(mut self, model: impl fmt::Display) -> Self {
        self.details.model = Some(model.to_string());
        self
    }

    /// Adds what lies behind it, for the log alone.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.details.cause = Some(cause.into());
        self
    }

    /// The same where the model has run already: what had no room before its run is to be sent to another server, and what has
    /// run is not, since a model may keep state.
    #[must_use]
    pub fn after_run(self) -> Self {
        match self.code {
            ErrorCode::Overloaded => {
                Self { code: ErrorCode::OutOfMemory, retry_after: None, ..self }
            }
            _ => self,
        }
    }

    /// Adds after how long trying again may help.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InferError {}
