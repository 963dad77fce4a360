//! Captured requests on their way to somebody who consumes them as they come: CloudEvents over HTTP, in binary mode, as KServe's
//! logger sends them.
//!
//! One event a call: neither the brokers of Knative nor what consumes KServe's events takes several at once. What makes up for
//! it is that several calls are under way.

use super::counts::Counts;
use super::event::Event;
use super::held::{Held, Share};
use super::line::Line;
use crate::telemetry::background::{self, Delivery, Outage};
use crate::telemetry::events::{EventKind, Events, Subject};
use crate::telemetry::without_secrets;
use bytes::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Requests that wait to be sent, beside the bound on their bytes.
const MAX_WAITING: usize = 1024;
/// Those that are being sent.
const MAX_CALLS: usize = 8;
/// For one call.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often one is tried, and how long it is waited after the first; after each other twice as long as before.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How soon somebody who waits looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Where lines are left to be sent. Clones share everything; the thread ends with the last.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    waiting: Sender<Left>,
    held: Held,
    counts: Arc<Counts>,
    /// Requests that are left and not settled.
    open: Arc<AtomicUsize>,
}

/// A request that waits.
#[derive(Debug)]
struct Left {
    line: String,
    _share: Share,
}

impl Sink {
    /// Starts the thread. Asks nothing of the receiver yet.
    pub(super) fn start(address: &str, counts: &Arc<Counts>, events: Events) -> io::Result<Self> {
        // The client finds its cryptography there; somebody else may have chosen before, and that does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url: Url = address
            .parse()
            .map_err(|error| io::Error::other(format!("capture.sink {address}: {error}")))?;
        // Where requests are sent is for the configuration to say, and not for whoever answers there.
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
        let client = client.map_err(|error| {
            io::Error::other(format!("capture.sink {address}: {}", root_of(&error)))
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (waiting, left) = channel(MAX_WAITING);
        let open = Arc::<AtomicUsize>::default();
        let calls = Calls {
            client,
            url,
            counts: Arc::clone(counts),
            open: Arc::clone(&open),
            outage: Outage::default(),
            shown: without_secrets(address),
            events,
        };
        let run = move || {
            runtime.block_on(send_all(left, calls));
            // A look-up of a name may hang for long.
            runtime.shutdown_background();
        };
        background::spawn("sink", run)?;
        Ok(Self { waiting, held: Held::default(), counts: Arc::clone(counts), open })
    }

    /// Leaves a captured request, or drops and counts it where too much waits.
    pub(super) fn leave(&self, line: &[u8]) {
        let mut share = self.held.share();
        let is_left = share.grow(line.len()) && {
            let line = String::from_utf8_lossy(line).into_owned();
            self.open.fetch_add(1, Ordering::Relaxed);
            let is_left = self.waiting.try_send(Left { line, _share: share }).is_ok();
            if !is_left {
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
            is_left
        };
        if !is_left {
            self.counts.sent.add(Delivery::Dropped, 1);
        }
    }

    /// Waits until all that was left is settled, at most until then; whether it is. Blocks.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        while self.open.load(Ordering::Relaxed) > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        true
    }
}

/// What each call needs.
struct Calls {
    client: Client,
    url: Url,
    counts: Arc<Counts>,
    open: Arc<AtomicUsize>,
    outage: Outage,
    /// Where they go, without what may be secret in it.
    shown: String,
    events: Events,
}

async fn send_all(mut left: Receiver<Left>, calls: Calls) {
    let calls = Arc::new(calls);
    let room = Arc::new(Semaphore::new(MAX_CALLS));
    while let Some(one) = left.recv().await {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let calls = Arc::clone(&calls);
        tokio::spawn(async move {
            let outcome = calls.send(&one.line).await;
            calls.settle(outcome);
            drop(permit);
        });
    }
    // Those that are under way.
    let _ = room.acquire_many(MAX_CALLS as u32).await;
}

impl Calls {
    fn settle(&self, outcome: Result<(), String>) {
        let is_sent = outcome.is_ok();
        self.counts.sent.add(if is_sent { Delivery::Sent } else { Delivery::Failed }, 1);
        self.open.fetch_sub(1, Ordering::Relaxed);
        match outcome {
            Ok(()) if self.outage.worked() => tracing::info!("events of requests are sent again"),
            Err(problem) if self.outage.failed(Instant::now()) => {
                let text = format!("events of requests are not sent to {}: {problem}", self.shown);
                tracing::warn!("{text}");
                self.events.add(EventKind::CaptureProblem, Subject::default(), text);
            }
            Ok(()) | Err(_) => {}
        }
    }

    async fn send(&self, line: &str) -> Result<(), String> {
        for event in Event::of(&Line::read(line)?)? {
            self.send_event(event).await?;
        }
        Ok(())
    }

    async fn send_event(&self, event: Event) -> Result<(), String> {
        let (mut pause, mut tries_left) = (FIRST_PAUSE, TRIES);
        let Event { attributes, data } = event;
        let data = Bytes::from(data);
        loop {
            tries_left -= 1;
            let problem = match self.request(&attributes, data.clone()).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    let problem = format!("the receiver answered {status}");
                    let is_for_a_while =
                        status.is_server_error() || matches!(status.as_u16(), 408 | 429);
                    if !is_for_a_while {
                        return Err(problem);
                    }
                    problem
                }
                // What lies behind says what is wrong; the address may be written in what stands before.
                Err(error) => root_of(&error.without_url()),
            };
            if tries_left == 0 {
                return Err(problem);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// In binary mode: attributes as headers, the data as the body (CloudEvents, HTTP protocol binding 1.0, section 3.1).
    fn request(&self, attributes: &[(&str, String)], data: Bytes) -> RequestBuilder {
        let request = self.client.post(self.url.clone()).body(data);
        attributes.iter().fold(request, |request, (name, value)| match *name {
            "datacontenttype" => request.header("content-type", value),
            other => request.header(format!("ce-{other}"), encoded(value)),
        })
    }
}

/// A value as a header has it (the same, section 3.1.3.2): what is not visible ASCII, quotation marks and percent signs are written
/// as the numbers of their bytes.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn root_of(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_are_visible_ascii() {
        assert_eq!(encoded("r-1"), "r-1");
        assert_eq!(encoded("50%\"a b\" \u{fc}"), "50%25%22a%20b%22%20%C3%BC");
    }
}
