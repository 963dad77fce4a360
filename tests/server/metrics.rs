//! The live metrics: everything that the documents promise, on both listeners.

use crate::harness::{Models, Server, Settings, get, series};
use std::collections::BTreeSet;

/// Names of families in the text of `/metrics`, by their TYPE lines.
fn families(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_documented_metric_is_live_and_every_live_one_documented() {
    let server = Server::shared();
    get(server.http, "/health/live");
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    // Some are there only while there is what they count.
    let is_at_times = |name: &&str| {
        let rooms = ["rollout_", "shadow_", "store_", "capture_", "spans_", "feature_rank"];
        rooms.iter().any(|it| name.starts_with(&format!("sconce_{it}")))
    };
    let documented: BTreeSet<_> =
        rows.filter(|name| !is_at_times(name)).map(str::to_owned).collect();
    let live = families(&server.metrics());
    assert_eq!(live, documented);
    assert_eq!(families(&get(server.http, "/metrics").text()), documented, "on both listeners");
}

#[test]
fn readings_of_other_rooms_are_there() {
    let server = Server::shared();
    let text = server.metrics();
    let all = series(&text);
    let mut expected: Vec<String> = [
        "sconce_ready",
        "sconce_draining",
        "sconce_inflight_bytes",
        "sconce_inflight_bytes_limit",
        "sconce_log_lines_dropped_total",
    ]
    .map(str::to_owned)
    .to_vec();
    for listener in ["http", "management"] {
        for name in [
            "connections",
            "connections_accepted_total",
            "capacity_waits_total",
            "accept_errors_total",
        ] {
            expected.push(format!("sconce_http_{name}{{listener=\"{listener}\"}}"));
        }
        for reason in [
            "framing",
            "header_timeout",
            "keep_alive_timeout",
            "write_timeout",
            "capacity",
            "flood",
            "drain_deadline",
            "panic",
        ] {
            expected.push(format!(
                "sconce_http_connections_closed_total{{listener=\"{listener}\",reason=\"{reason}\"}}"
            ));
        }
    }
    let missing: Vec<_> = expected.iter().filter(|name| !all.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert_eq!(crate::harness::metric(&text, "sconce_ready"), 1.0);
    assert!(crate::harness::metric(&text, "sconce_inflight_bytes_limit") > 0.0);
    for line in text.lines().filter(|line| line.starts_with("sconce_http_requests_total")) {
        let route = line.split("route=\"").nth(1).unwrap().split('"').next().unwrap();
        let known = sconce::http::route_paths().contains(&route) || route == "<unmatched>";
        assert!(known, "a route is a label as the router writes it: {line}");
    }
}

#[test]
fn concurrent_requests_are_batched_and_counted() {
    let server =
        Settings::new(Models::new().fixture("raises").head("raises", "instances = 1")).ready();
    let of = |name: &str| server.metric(&format!("{name}{{model=\"raises\",version=\"1\"}}"));
    let (runs, rows) = (of("sconce_batch_rows_count"), of("sconce_batch_rows_sum"));
    let n_requests = 64 * 20;
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut raw = crate::harness::Raw::connect(server.http);
                for _ in 0..20 {
                    let body = b"{\"features\": [1, 2, 3, 4]}";
                    raw.send(&crate::harness::request("POST /predict/raises", &[], body)).unwrap();
                    raw.answer().unwrap().good();
                }
            });
        }
    });
    let (runs, rows) = (of("sconce_batch_rows_count") - runs, of("sconce_batch_rows_sum") - rows);
    assert_eq!(rows, f64::from(n_requests), "every row is run once");
    assert!(runs < rows, "64 clients at once must share runs: {runs} runs of {rows} rows");
    eprintln!("{n_requests} requests of 64 clients in {runs} runs");
    let ok = server.metric("sconce_requests_total{code=\"ok\",model=\"raises\",version=\"1\"}");
    assert_eq!(ok, f64::from(n_requests));
    for phase in ["decode", "queue", "input", "compute", "output", "encode", "request"] {
        assert_eq!(
            of(&format!("sconce_{phase}_duration_seconds_count")),
            f64::from(n_requests),
            "{phase}"
        );
    }
    assert_eq!(of("sconce_inflight_requests"), 0.0);
    assert_eq!(of("sconce_queue_length"), 0.0);
}

#[test]
fn the_main_port_can_be_without_metrics() {
    let server = Settings::new(Models::new().fixture("raises")).set("http.metrics=false").ready();
    get(server.http, "/metrics").failed(404, "route_not_found");
    assert_eq!(get(server.management, "/metrics").status, 200);
}
