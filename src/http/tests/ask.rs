//! Requests, written short.

use super::site::State;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Which listener is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Public,
    Management,
}

/// A request, and how the server is when it comes.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) state: State,
    pub(super) on: On,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Sent,
}

/// What comes after the head.
#[derive(Debug, Clone)]
enum Sent {
    Text(String),
    /// Nothing, and no end.
    Stalled,
    /// A connection that is lost.
    CutOff,
    /// A fault of the server: reading it panics.
    Breaking,
}

/// A request without a body.
pub(super) fn ask(method: &'static str, path: impl Into<String>) -> Ask {
    Ask {
        state: State::Serving,
        on: On::Public,
        method,
        path: path.into(),
        headers: Vec::new(),
        body: Sent::Text(String::new()),
    }
}

pub(super) fn get(path: impl Into<String>) -> Ask {
    ask("GET", path)
}

/// A request with JSON.
pub(super) fn post(path: impl Into<String>, body: impl Into<String>) -> Ask {
    ask("POST", path).with(CONTENT_TYPE.as_str(), "application/json").body(body)
}

impl Ask {
    /// The same to another path.
    pub(super) fn at(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    pub(super) fn body(self, body: impl Into<String>) -> Self {
        Self { body: Sent::Text(body.into()), ..self }
    }

    /// Its body does not come.
    pub(super) fn stalled(self) -> Self {
        Self { body: Sent::Stalled, ..self }
    }

    /// Its body ends before its end.
    pub(super) fn cut_off(self) -> Self {
        Self { body: Sent::CutOff, ..self }
    }

    /// Whoever reads its body panics.
    pub(super) fn breaking(self) -> Self {
        Self { body: Sent::Breaking, ..self }
    }

    pub(super) fn is_stalled(&self) -> bool {
        matches!(self.body, Sent::Stalled)
    }

    /// To the management listener.
    pub(super) fn management(self) -> Self {
        Self { on: On::Management, ..self }
    }

    /// With a header, in place of what it had under that name.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(before, _)| *before != name);
        self.headers.push((name, value.into()));
        self
    }

    /// To a server in another state.
    pub(super) fn to(self, state: State) -> Self {
        Self { state, ..self }
    }

    pub(super) fn request(&self) -> Request {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = match &self.body {
            Sent::Text(text) => Body::from(text.clone()),
            unusual => Body::new(Unusual(Some(unusual.clone()))),
        };
        request.body(body).unwrap()
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = match self.on {
            On::Public => "",
            On::Management => ", management listener",
        };
        writeln!(f, "{} {}{on}{}", self.method, self.path, self.state)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        match &self.body {
            Sent::Text(text) if text.is_empty() => Ok(()),
            Sent::Text(text) => writeln!(f, "\n{text}"),
            Sent::Stalled => writeln!(f, "\n(a body that does not come)"),
            Sent::CutOff => writeln!(f, "\n(a body that is cut off)"),
            Sent::Breaking => writeln!(f, "\n(a body whose reading panics)"),
        }
    }
}

/// A body that is no text. What happens when it is read happens once.
struct Unusual(Option<Sent>);

impl http_body::Body for Unusual {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        match self.0 {
            Some(Sent::Text(_) | Sent::Stalled) => return Poll::Pending,
            None => return Poll::Ready(None),
            Some(Sent::CutOff | Sent::Breaking) => {}
        }
        match self.0.take() {
            Some(Sent::Breaking) => panic!("a fault of the server"),
            _ => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
