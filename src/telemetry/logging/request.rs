//! Which requests get a line in the log, and what is in it.
//!
//! Whether a line is written is decided without a clock: the caller passes the time. Failures are
//! bounded too, because a flood of refused requests is when the log must not become the load.

use super::super::allowance::Allowance;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Level;

/// Which requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestLogMode {
    /// Failures and slow ones.
    Errors,
    /// Every one.
    All,
    /// Failures, slow ones, and of the rest so many a second as the options allow.
    #[default]
    Sampled,
}

/// How requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLogOptions {
    /// Which requests.
    pub mode: RequestLogMode,
    /// From this duration on a request is slow.
    pub slow: Duration,
    /// Lines a second for failures and slow requests.
    pub notable_per_second: u32,
    /// Lines a second for the rest, where that is sampled.
    pub sampled_per_second: u32,
}

impl Default for RequestLogOptions {
    fn default() -> Self {
        Self {
            mode: RequestLogMode::default(),
            slow: Duration::from_secs(1),
            notable_per_second: 1000,
            sampled_per_second: 100,
        }
    }
}

/// A request that is over, as the log tells it. No field holds a body or a credential.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// The caller's id for the request, or ours.
    pub request_id: &'a str,
    /// The method, from the list of known ones.
    pub method: &'a str,
    /// The matched route, as the router writes it.
    pub route: &'a str,
    /// The status that was answered; 499 when nobody was there to be answered.
    pub status: u16,
    /// How much it matters; the edge has the table that says so.
    pub level: Level,
    /// The error's code.
    pub code: Option<&'a str>,
    /// The error's message, as the client got it.
    pub error: Option<&'a str>,
    /// What lies behind the error; for operators, never sent.
    pub cause: Option<&'a str>,
    /// The model that was asked, if it exists.
    pub model: Option<&'a str>,
    /// Its version.
    pub version: Option<&'a str>,
    /// Rows of the request.
    pub n_rows: Option<usize>,
    /// From arrival to the end of the answer.
    pub duration: Duration,
    /// The caller's trace.
    pub trace_id: Option<&'a str>,
}

impl RequestLine<'_> {
    /// Writes it, wanted or not: see [`RequestLog::wants`].
    pub fn write(&self) {
        // The level is part of an event's static description, so there is one event a level.
        macro_rules! event {
            ($level:expr) => {
                tracing::event!(
                    target: "sconce::request",
                    $level,
                    request_id = self.request_id,
                    method = self.method,
                    route = self.route,
                    status = self.status,
                    code = self.code,
                    error = self.error,
                    cause = self.cause,
                    model.name = self.model,
                    model.version = self.version,
                    rows = self.n_rows,
                    duration_ms = self.duration.as_micros() as f64 / 1e3,
                    trace_id = self.trace_id,
                    "request {}",
                    if self.code.is_some() { "failed" } else { "answered" },
                )
            };
        }
        match self.level {
            Level::ERROR => event!(Level::ERROR),
            Level::WARN => event!(Level::WARN),
            _ => event!(Level::INFO),
        }
    }
}

/// Which of the two allowances a request draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Always,
    Notable,
    Sampled,
    Never,
}

fn classify(options: &RequestLogOptions, failed: bool, duration: Duration) -> Class {
    match options.mode {
        RequestLogMode::All => Class::Always,
        _ if failed || duration >= options.slow => Class::Notable,
        RequestLogMode::Sampled => Class::Sampled,
        RequestLogMode::Errors => Class::Never,
    }
}

/// Writes the lines of requests.
#[derive(Debug)]
pub struct RequestLog {
    options: ArcSwap<RequestLogOptions>,
    started_at: Instant,
    notable: Allowance,
    sampled: Allowance,
}

impl RequestLog {
    /// A log whose seconds are counted from `now`.
    #[must_use]
    pub fn new(options: RequestLogOptions, now: Instant) -> Self {
        let (notable, sampled) = (Allowance::default(), Allowance::default());
        let options = ArcSwap::from_pointee(options);
        Self { options, started_at: now, notable, sampled }
    }

    /// Has other options hold from now on.
    pub fn set(&self, options: RequestLogOptions) {
        self.options.store(Arc::new(options));
    }

    /// Whether an answered request that took so long was slow.
    #[must_use]
    pub fn is_slow(&self, duration: Duration) -> bool {
        duration >= self.options.load().slow
    }

    /// Whether a request that ended now is to be written. Asked before the line is put together:
    /// under load the answer is nearly always no. Each yes uses up a line.
    #[must_use]
    pub fn wants(&self, failed: bool, duration: Duration, now: Instant) -> bool {
        let options = self.options.load();
        let (allowance, limit) = match classify(&options, failed, duration) {
            Class::Always => return true,
            Class::Never => return false,
            Class::Notable => (&self.notable, options.notable_per_second),
            Class::Sampled => (&self.sampled, options.sampled_per_second),
        };
        let second = now.saturating_duration_since(self.started_at).as_secs();
        allowance.take(second, limit)
    }

    /// Writes a line, if it is wanted.
    pub fn log(&self, line: &RequestLine<'_>, now: Instant) {
        if self.wants(line.code.is_some(), line.duration, now) {
            line.write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogFormat, capture};
    use super::*;

    const FAST: Duration = Duration::from_millis(1);

    fn log(mode: RequestLogMode) -> (RequestLog, Instant) {
        let now = Instant::now();
        let options = RequestLogOptions { mode, ..RequestLogOptions::default() };
        (RequestLog::new(options, now), now)
    }

    #[track_caller]
    fn check(mode: RequestLogMode, failed: bool, duration: Duration, expected: usize) {
        let (log, now) = log(mode);
        let wanted = (0..5000).filter(|_| log.wants(failed, duration, now)).count();
        assert_eq!(wanted, expected, "lines in one second");
    }

    #[test]
    fn each_mode_writes_its_requests() {
        let slow = Duration::from_secs(1);
        check(RequestLogMode::All, false, FAST, 5000);
        check(RequestLogMode::All, true, FAST, 5000);
        check(RequestLogMode::Sampled, false, FAST, 100);
        check(RequestLogMode::Sampled, false, slow, 1000);
        check(RequestLogMode::Sampled, true, FAST, 1000);
        check(RequestLogMode::Errors, false, FAST, 0);
        check(RequestLogMode::Errors, false, slow, 1000);
        check(RequestLogMode::Errors, true, FAST, 1000);
    }

    #[test]
    fn every_second_has_its_own_lines_and_failures_theirs() {
        let (log, now) = log(RequestLogMode::Sampled);
        let wanted = |at| (0..200).filter(|_| log.wants(false, FAST, at)).count();
        assert_eq!(wanted(now), 100);
        assert!(log.wants(true, FAST, now), "the rest must not use up the lines of failures");
        assert_eq!(wanted(now + Duration::from_secs(1)), 100);
        assert_eq!(wanted(now), 0, "a second that is over gives no new lines");
        assert_eq!(wanted(now + Duration::from_secs(1 << 33)), 100);
    }

    fn line() -> RequestLine<'static> {
        RequestLine {
            request_id: "r-1",
            method: "POST",
            route: "/predict/{model}",
            status: 200,
            level: Level::INFO,
            code: None,
            error: None,
            cause: None,
            model: Some("digits"),
            version: Some("1"),
            n_rows: Some(2),
            duration: Duration::from_micros(1500),
            trace_id: None,
        }
    }

    #[test]
    fn a_line_has_the_fields_that_apply() {
        let (log, now) = log(RequestLogMode::All);
        let text = capture(LogFormat::Json, "info", |_| log.log(&line(), now));
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = [
            ("level", "INFO"),
            ("message", "request answered"),
            ("target", "sconce::request"),
            ("request_id", "r-1"),
            ("method", "POST"),
            ("route", "/predict/{model}"),
            ("model.name", "digits"),
            ("model.version", "1"),
        ];
        for (key, value) in expected {
            assert_eq!(written[key], value, "{key} in {text}");
        }
        assert_eq!(written["status"], 200);
        assert_eq!(written["rows"], 2);
        assert_eq!(written["duration_ms"], 1.5);
        for absent in ["code", "error", "trace_id"] {
            assert!(written.get(absent).is_none(), "{absent} must not be in {text}");
        }
    }

    #[track_caller]
    fn check_level(level: Level, expected: &str) {
        let (log, now) = log(RequestLogMode::Errors);
        let failed = RequestLine { level, code: Some("some_code"), ..line() };
        let text = capture(LogFormat::Human, "info", |_| log.log(&failed, now));
        assert!(text.contains(expected) && text.contains("code=\"some_code\""), "{text}");
    }

    #[test]
    fn a_line_has_the_level_that_it_is_given() {
        check_level(Level::INFO, " INFO ");
        check_level(Level::WARN, " WARN ");
        check_level(Level::ERROR, "ERROR ");
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let (log, now) = log(RequestLogMode::All);
        let hostile = RequestLine { request_id: "a\n2026 ERROR b\u{1b}[2J", ..line() };
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = capture(format, "info", |_| log.log(&hostile, now));
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }
}
