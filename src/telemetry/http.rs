//! Responses by route, method and status: a fixed table of counters, so that recording looks up no
//! label and no client can make a series.

use super::collect::Collect;
use super::exposition::Samples;
use super::families;
use std::sync::atomic::{AtomicU64, Ordering};

/// The methods that have a label value of their own.
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// The statuses that have a label value of their own.
const STATUSES: &[u16] = &[
    200, 202, 204, 206, 301, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 417,
    422, 429, 431, 499, 500, 501, 502, 503, 504, 507,
];

/// The label value of methods and statuses outside the lists.
const OTHER: &str = "other";

/// The route label of requests that matched none.
const UNMATCHED: &str = "<unmatched>";

/// Columns: the lists and one more for what is in none.
const N_METHODS: usize = METHODS.len() + 1;
const N_STATUSES: usize = STATUSES.len() + 1;

/// A route's place in the list: resolved once, when the router is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteIndex(usize);

/// Counts responses.
#[derive(Debug)]
pub struct HttpMetrics {
    routes: Box<[&'static str]>,
    counts: Box<[AtomicU64]>,
}

impl HttpMetrics {
    pub(super) fn new(routes: &[&'static str]) -> Self {
        let cells = (routes.len() + 1) * N_METHODS * N_STATUSES;
        let counts = (0..cells).map(|_| AtomicU64::new(0)).collect();
        Self { routes: routes.into(), counts }
    }

    /// The place of a matched route; routes outside the list count as unmatched.
    #[must_use]
    pub fn route(&self, path: &str) -> RouteIndex {
        let place = self.routes.iter().position(|route| *route == path);
        RouteIndex(place.unwrap_or(self.routes.len()))
    }

    /// The place of requests that match no route.
    #[must_use]
    pub fn unmatched(&self) -> RouteIndex {
        RouteIndex(self.routes.len())
    }

    /// Counts a response.
    pub fn record(&self, route: RouteIndex, method: &str, status: u16) {
        let method = METHODS.iter().position(|known| *known == method);
        let status = STATUSES.binary_search(&status);
        let row = route.0 * N_METHODS + method.unwrap_or(METHODS.len());
        let cell = row * N_STATUSES + status.unwrap_or(STATUSES.len());
        self.counts[cell].fetch_add(1, Ordering::Relaxed);
    }
}

impl Collect for HttpMetrics {
    fn collect(&self, out: &mut Samples) {
        for (cell, count) in self.counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            // Thousands of combinations never happen; a series begins with its first response.
            if count == 0 {
                continue;
            }
            let (row, status) = (cell / N_STATUSES, cell % N_STATUSES);
            let route = self.routes.get(row / N_METHODS).copied().unwrap_or(UNMATCHED);
            let method = METHODS.get(row % N_METHODS).copied().unwrap_or(OTHER);
            let status = STATUSES.get(status).map_or_else(|| OTHER.to_owned(), u16::to_string);
            out.number(&families::HTTP_REQUESTS, &[route, method, &status], count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_choose_falls_into_closed_lists() {
        assert!(STATUSES.is_sorted(), "statuses are searched by halving");
        let metrics = HttpMetrics::new(&["/a", "/b/{model}"]);
        metrics.record(metrics.route("/b/{model}"), "POST", 200);
        metrics.record(metrics.route("/b/{model}"), "POST", 200);
        metrics.record(metrics.unmatched(), "GET", 404);
        for idx in 0..1000 {
            let (path, method) = (format!("/c{idx}"), format!("M{idx}"));
            metrics.record(metrics.route(&path), &method, 1000 + idx);
        }
        let mut out = Samples::default();
        metrics.collect(&mut out);
        let families = out.into_families();
        let series = families[0].get_metric().iter().map(|metric| {
            let labels: Vec<_> = metric.get_label().iter().map(|label| label.value()).collect();
            (labels.join(" "), metric.get_counter().get_value())
        });
        let expected = [
            ("/b/{model} POST 200", 2.0),
            ("<unmatched> GET 404", 1.0),
            ("<unmatched> other other", 1000.0),
        ];
        let expected = expected.map(|(labels, count)| (labels.to_owned(), count));
        assert_eq!(series.collect::<Vec<_>>(), expected);
    }
}
