//! The numbers that other rooms keep, read when Prometheus asks.

use crate::engine::remote::SANDBOX_LAYERS;
use crate::http::App;
use crate::listener::{ConnectionStats, DrainPhase};
use crate::shutdown::Shutdown;
use crate::telemetry::logging::LogGuard;
use crate::telemetry::{Family, Metrics, families};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of the server as a whole.
pub(super) fn export(app: &App, shutdown: &Shutdown, log: &LogGuard) {
    let metrics = &app.metrics;
    let phases = shutdown.phases();
    metrics.read_at_scrape(&families::DRAINING, &[], move || {
        u64::from(*phases.borrow() > DrainPhase::Serving)
    });
    let repository = app.repository.clone();
    let phases = shutdown.phases();
    metrics.read_at_scrape(&families::READY, &[], move || {
        let serving = *phases.borrow() == DrainPhase::Serving;
        u64::from(serving && repository.readiness().ready)
    });
    let budget = app.budget.clone();
    metrics.read_at_scrape(&families::INFLIGHT_BYTES, &[], move || budget.used() as u64);
    let budget = app.budget.clone();
    metrics.read_at_scrape(&families::INFLIGHT_BYTES_LIMIT, &[], move || budget.limit() as u64);
    metrics.read_at_scrape(&families::LOG_LINES_DROPPED, &[], log.dropped_lines());
    for layer in SANDBOX_LAYERS {
        let holds = u64::from(!app.sandbox_missing.contains(layer));
        metrics.read_at_scrape(&families::SANDBOX_LAYER, &[layer], move || holds);
    }
}

/// Of one listener.
pub(super) fn export_connections(
    metrics: &Metrics,
    listener: &'static str,
    stats: &Arc<ConnectionStats>,
) {
    type Counter = fn(&ConnectionStats) -> &AtomicU64;
    let read = |family: &'static Family, labels: &[&'static str], counter: Counter| {
        let stats = Arc::clone(stats);
        metrics.read_at_scrape(family, labels, move || counter(&stats).load(Ordering::Relaxed));
    };
    read(&families::HTTP_CONNECTIONS, &[listener], |stats| &stats.open);
    read(&families::HTTP_ACCEPTED, &[listener], |stats| &stats.accepted);
    read(&families::HTTP_CAPACITY_WAITS, &[listener], |stats| &stats.capacity_waits);
    read(&families::HTTP_ACCEPT_ERRORS, &[listener], |stats| &stats.accept_errors);
    read(&families::HTTP_STREAMS_RESET, &[listener], |stats| &stats.reset_streams);
    let closed = |reason, counter| read(&families::HTTP_CLOSED, &[listener, reason], counter);
    closed("framing", |stats| &stats.closed_framing);
    closed("header_timeout", |stats| &stats.closed_header_timeout);
    closed("keep_alive_timeout", |stats| &stats.closed_keep_alive_timeout);
    closed("write_timeout", |stats| &stats.closed_write_timeout);
    closed("capacity", |stats| &stats.closed_capacity);
    closed("flood", |stats| &stats.closed_flood);
    closed("drain_deadline", |stats| &stats.closed_drain_deadline);
    closed("panic", |stats| &stats.panicked);
}
