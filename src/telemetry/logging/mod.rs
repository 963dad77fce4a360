//! The log: one line an event, on standard error, in words for people or as JSON.
//!
//! Standard error and not standard output, because models may print on the latter; containers
//! collect both. Lines go through a bounded buffer to a thread of their own, so that a log nobody
//! reads delays no request. There are no colors: what is on a terminal is what is in a file.

mod plain;
mod request;
mod writer;

pub use plain::log_plainly;
pub use request::{RequestLine, RequestLog, RequestLogMode, RequestLogOptions};

use std::io;
use std::panic::PanicHookInfo;
use std::time::Duration;
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};
use writer::LineWriter;

/// Bytes of lines that may wait to be written; as many again may be in the hands of the thread.
const BUFFER_BYTES: usize = 4 << 20;

/// How long the end of the program waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// How a line looks.
    pub format: LogFormat,
    /// Levels, in the syntax of `tracing-subscriber`: `info`, or `info,sconce::scheduler=debug`.
    pub filter: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned() }
    }
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is not in the syntax.
    #[error(
        "log filter {filter:?} cannot be read: {reason}; expected a level (error, warn, info, debug, trace) or a list such as \"info,sconce::scheduler=debug\""
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: ParseError,
    },
    /// The thread that writes could not be started.
    #[error("the thread that writes the log cannot be started")]
    Thread(#[from] io::Error),
    /// There is no log any more.
    #[error("the log is gone")]
    Gone,
    /// A process has one log.
    #[error("the log has been set up already")]
    Installed,
}

/// Keeps the log; dropped at the very end of `main`, it waits for the last lines, but not for ever.
#[derive(Debug)]
#[must_use = "lines may be lost at exit when the guard is gone"]
pub struct LogGuard {
    writer: LineWriter,
    filter: FilterHandle,
}

/// Where another filter can be put.
type FilterHandle = reload::Handle<EnvFilter, Registry>;

impl LogGuard {
    /// Where the number of lines dropped so far can be read.
    pub fn dropped_lines(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let writer = self.writer.clone();
        move || writer.dropped_lines()
    }

    /// What has other levels hold from now on.
    pub fn level_setter(&self) -> impl Fn(&str) -> Result<(), LogError> + Send + Sync + use<> {
        let handle = self.filter.clone();
        move |text| handle.reload(filter(text)?).map_err(|_| LogError::Gone)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.writer.flush_within(FLUSH_TIMEOUT);
    }
}

/// Sets up the log of this process.
///
/// # Errors
///
/// The filter cannot be read, or the log has been set up already.
pub fn install(options: &LogOptions) -> Result<LogGuard, LogError> {
    let filter = filter(&options.filter)?;
    let writer = LineWriter::spawn(io::stderr(), BUFFER_BYTES)?;
    let (subscriber, filter) = subscriber(options.format, filter, writer.clone());
    subscriber.try_init().map_err(|_| LogError::Installed)?;
    // The standard library's own hook writes to standard error itself, and waits there for whoever reads it.
    std::panic::set_hook(Box::new(log_panic));
    Ok(LogGuard { writer, filter })
}

/// A panic as a line like any other.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("<unnamed>");
    let text = panic.payload_as_str().unwrap_or("no text");
    match panic.location() {
        Some(place) => tracing::error!(thread, %place, "a thread panicked: {text}"),
        None => tracing::error!(thread, "a thread panicked: {text}"),
    }
}

/// Checks a filter without setting anything up.
///
/// # Errors
///
/// It cannot be read.
pub fn check_filter(text: &str) -> Result<(), LogError> {
    filter(text).map(drop)
}

fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let failed = |reason| LogError::Filter { filter: text.to_owned(), reason };
    let filter = EnvFilter::builder().parse(text).map_err(failed)?;
    // It warns of what clients do, as often as they do it, and names nobody; what ends their connections is counted.
    let says_nothing = !text.contains("h2=");
    Ok(if says_nothing { filter.add_directive("h2=off".parse().map_err(failed)?) } else { filter })
}

fn subscriber(
    format: LogFormat,
    filter: EnvFilter,
    writer: LineWriter,
) -> (impl Subscriber + Send + Sync, FilterHandle) {
    let (filter, handle) = reload::Layer::new(filter);
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let layer = match format {
        LogFormat::Human => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    (tracing_subscriber::registry().with(layer.with_filter(filter)), handle)
}

/// Runs `body` with a log of its own and returns what it wrote.
#[cfg(test)]
fn capture(format: LogFormat, filter_text: &str, body: impl FnOnce(&FilterHandle)) -> String {
    let written = writer::TestSink::default();
    let writer = LineWriter::spawn(written.clone(), BUFFER_BYTES).unwrap();
    let filter = filter(filter_text).unwrap();
    let (subscriber, handle) = subscriber(format, filter, writer.clone());
    tracing::subscriber::with_default(subscriber, || body(&handle));
    writer.flush_within(FLUSH_TIMEOUT);
    written.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line_whatever_it_says() {
        let hostile = "a\nb\r\u{1b}[31mc\u{9b}d\u{7f}\0";
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = capture(format, "info", |_| {
                tracing::info!(field = hostile, shown = %hostile, "message {hostile}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let line = text.strip_suffix('\n').expect("the line ends");
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn json_lines_are_objects_with_flat_fields() {
        let text = capture(LogFormat::Json, "info", |_| {
            tracing::warn!(model.name = "m", n_rows = 3, "a model was loaded");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "a model was loaded");
        assert_eq!(line["model.name"], "m");
        assert_eq!(line["n_rows"], 3);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn filters_are_obeyed_and_checked() {
        let text = capture(LogFormat::Human, "warn,sconce::telemetry=debug", |_| {
            tracing::debug!("kept");
            tracing::info!(target: "other", "left out");
        });
        assert!(text.contains("kept") && !text.contains("left out"), "{text}");
        let text = capture(LogFormat::Human, "warn", |handle| {
            tracing::info!("left out");
            handle.reload(filter("info").unwrap()).unwrap();
            tracing::info!("kept");
        });
        assert!(text.contains("kept") && !text.contains("left out"), "another level holds: {text}");
        assert!(check_filter("info").is_ok());
        let error = check_filter("sconce=loud").unwrap_err().to_string();
        assert!(error.starts_with("log filter \"sconce=loud\" cannot be read"), "{error}");
    }
}
