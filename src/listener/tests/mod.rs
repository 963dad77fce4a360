//! The listener over real sockets on port 0, with short deadlines.

mod drain;
mod guard;
mod http1;
mod http2;
mod limits;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::inference::{ByteBudget, Recipient};
use crate::testing::PATIENCE;

const SHORT: Duration = Duration::from_secs(1);
const BIG_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// A served listener and the strings to pull.
struct Rig {
    addr: SocketAddr,
    phases: watch::Sender<DrainPhase>,
    stats: Arc<ConnectionStats>,
    /// `/hold` answers once for every permit.
    gate: Arc<Semaphore>,
    /// Requests that have reached `/hold`.
    held: watch::Receiver<usize>,
    report: JoinHandle<DrainReport>,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self::new(refusal)
    }
}

/// The texts of a refusal are ours and need no escaping.
fn refusal(refusal: Refusal) -> Response<Bytes> {
    let body =
        format!("{{\"error\":\"{refusal}\",\"code\":\"invalid_request\",\"request_id\":null}}");
    let mut response = Response::new(Bytes::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if refusal.is_about_size() {
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    } else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    response
}

/// Deadlines that pass within a test, and in which a busy machine still does what must come before them.
fn short() -> ListenerOptions {
    ListenerOptions {
        header_timeout: SHORT,
        keep_alive_timeout: SHORT,
        write_timeout: SHORT,
        linger_timeout: SHORT,
        ..ListenerOptions::default()
    }
}

impl Rig {
    fn start(options: ListenerOptions) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, options).expect("port 0 is always free");
        let (addr, stats) = (listener.local_addr(), listener.stats());
        let gate = Arc::new(Semaphore::new(0));
        let (held_tx, held) = watch::channel(0);
        let (phases, signal) = watch::channel(DrainPhase::Serving);
        let (service_gate, held_tx) = (Arc::clone(&gate), Arc::new(held_tx));
        let service = tower::service_fn(move |request| {
            answer(request, Arc::clone(&service_gate), Arc::clone(&held_tx))
        });
        let report = tokio::spawn(listener.serve(service, Threads::of_the_caller(), signal));
        Self { addr, phases, stats, gate, held, report }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.addr).await.expect("the listener is bound"))
    }

    fn enter(&self, phase: DrainPhase) {
        self.phases.send_replace(phase);
    }

    async fn until_held(&mut self, n_requests: usize) {
        let reached = self.held.wait_for(|held| *held >= n_requests);
        timeout(PATIENCE, reached).await.expect("request must reach the service").expect("alive");
    }

    async fn until(&self, counter: impl Fn(&ConnectionStats) -> &AtomicU64, wanted: u64) {
        let reached = async {
            while counter(&self.stats).load(Ordering::Relaxed) != wanted {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("counter must reach its value");
    }

    /// Waits until nobody can connect any more: he is refused, or turned away until then. By then every connection knows
    /// the phase.
    async fn until_closed(&self) {
        let soon = Duration::from_millis(50);
        let closed = async {
            while matches!(timeout(soon, TcpStream::connect(self.addr)).await, Ok(Ok(_))) {}
        };
        timeout(PATIENCE, closed).await.expect("the listener must close");
    }

    async fn report(self) -> DrainReport {
        timeout(PATIENCE, self.report).await.expect("the drain must end").expect("no panic")
    }
}

async fn answer(
    request: Request<Incoming>,
    gate: Arc<Semaphore>,
    held: Arc<watch::Sender<usize>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    *response.body_mut() = match request.uri().path() {
        "/hold" => {
            held.send_modify(|held| *held += 1);
            gate.acquire().await.expect("never closed").forget();
            Full::from("held")
        }
        "/echo" => match request.into_body().collect().await {
            Ok(body) => Full::from(body.to_bytes()),
            Err(_) => {
                *response.status_mut() = StatusCode::BAD_REQUEST;
                Full::from("broken body")
            }
        },
        "/early" => {
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            Full::from("too large")
        }
        "/big" => Full::from(vec![b'x'; BIG_ANSWER_BYTES]),
        "/empty" => Full::default(),
        "/panic" => panic!("the handler panics"),
        "/peer" => {
            let peer = request.extensions().get::<PeerAddr>().copied();
            Full::from(peer.map_or(String::new(), |peer| peer.0.to_string()))
        }
        "/recipient" => {
            let recipient = request.extensions().get::<Recipient>();
            Full::from(recipient.map_or("none".to_owned(), |it| it.identity().to_string()))
        }
        _ => Full::from("hello"),
    };
    Ok(response)
}

/// A client that writes and reads bytes.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await;
        sent.expect("the server must take it").expect("the connection is open");
    }

    async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads one answer with a Content-Length.
    async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        let read = async {
            loop {
                let text_so_far = String::from_utf8_lossy(&text);
                if let Some((head, body)) = text_so_far.split_once("\r\n\r\n") {
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let length: usize = length.map_or(0, |n| n.parse().expect("a number"));
                    if body.len() == length {
                        return text_so_far.into_owned();
                    }
                }
                let byte = self.0.read_u8().await;
                text.push(byte.unwrap_or_else(|error| panic!("{error} after {text:?}")));
            }
        };
        timeout(PATIENCE, read).await.expect("an answer must come")
    }

    /// Everything until the server closes. A reset counts as an error, not as the end.
    async fn rest(&mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await;
        read.expect("the server must close the connection")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asserts that the server closes without another byte.
    #[track_caller]
    fn closes(&mut self) -> impl Future<Output = ()> {
        let read = self.rest();
        async move { assert_eq!(read.await.expect("a clean close"), "") }
    }
}

fn says_close(answer: &str) -> bool {
    answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}
