//! Requests: a real client for good ones, plain sockets for those that no client would send.

use super::PATIENCE;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {:?}", self.status, self.text()))
    }

    /// The answer's JSON, of a request that must have succeeded.
    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Checks status and code of a failure.
    #[track_caller]
    pub(crate) fn failed(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status, &body["code"]), (status, &Value::from(code)), "{body}");
        body
    }
}

fn agent() -> &'static ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Servers come and go on ports that may be the same.
            .max_idle_connections(0)
            .timeout_global(Some(PATIENCE));
        config.build().into()
    })
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let Ok(mut response) = response else {
        return Answer { status: 0, headers: Vec::new(), body: Vec::new() };
    };
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value)));
    let headers = headers.collect();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap_or_default();
    Answer { status: response.status().as_u16(), headers, body }
}

/// A GET; status 0 when there was no answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    answer(agent().get(format!("http://{address}{path}")).call())
}

/// A POST of JSON.
pub(crate) fn post(address: SocketAddr, path: &str, body: impl Into<String>) -> Answer {
    post_with(address, path, &[("content-type", "application/json")], body.into())
}

/// A POST with these headers.
pub(crate) fn post_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Answer {
    let request = agent().post(format!("http://{address}{path}"));
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    answer(request.send(&body.into()[..]))
}

/// The bytes of a request with a Content-Length.
pub(crate) fn request(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(format!("{header}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A connection on which anything can be sent.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// `None` when nobody listens.
    pub(crate) fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Some(Self(stream))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends as much as is taken within a moment; for what is refused before it was sent whole,
    /// and for connections that nobody reads.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> usize {
        self.offer_within(bytes, Duration::from_millis(200))
    }

    /// The same, given up when nothing is taken for as long as this.
    pub(crate) fn offer_within(&mut self, bytes: &[u8], patience: Duration) -> usize {
        self.0.set_write_timeout(Some(patience)).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.0.write(&bytes[sent..]) {
                Ok(n_bytes) if n_bytes > 0 => sent += n_bytes,
                _ => break,
            }
        }
        sent
    }

    /// Reads one answer; `None` when the connection was closed before one began.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if self.read(&mut bytes) == 0 {
                assert!(
                    bytes.is_empty(),
                    "a head must be whole: {:?}",
                    String::from_utf8_lossy(&bytes)
                );
                return None;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut answer =
            Answer { status, headers: lines.filter_map(header).collect(), body: Vec::new() };
        let n_bytes = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = bytes.split_off(end);
        while body.len() < n_bytes && self.read(&mut body) > 0 {}
        assert_eq!(body.len(), n_bytes, "a body must be whole");
        answer.body = body;
        Some(answer)
    }

    /// Sends byte after byte, one each `pause`, until all are sent or an answer comes. Returns how
    /// many were sent.
    pub(crate) fn trickle(&mut self, bytes: &[u8], pause: Duration) -> usize {
        self.0.set_read_timeout(Some(pause)).unwrap();
        let mut sent = 0;
        // Nothing to be read for as long as the pause is what paces it.
        while self.0.peek(&mut [0]).is_err() && sent < bytes.len() {
            if self.0.write_all(&bytes[sent..=sent]).is_err() {
                break;
            }
            sent += 1;
        }
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Whether the server has closed the connection; waits for it, and reads nothing else.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read(&mut Vec::new()) == 0
    }

    fn read(&mut self, into: &mut Vec<u8>) -> usize {
        let mut chunk = [0; 64 * 1024];
        // A connection that was reset is closed as well.
        let n_bytes = self.0.read(&mut chunk).unwrap_or(0);
        into.extend_from_slice(&chunk[..n_bytes]);
        n_bytes
    }
}
