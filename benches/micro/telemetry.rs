//! What it costs to count one request, and one run.

use crate::clock::ProcessorTime;
use criterion::Criterion;
use sconce::telemetry::{Metrics, MetricsOptions, Phase, RequestGuard, RunRecord};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn record(criterion: &mut Criterion<ProcessorTime>) {
    let metrics = Metrics::new(MetricsOptions::default()).model("bench", "1");
    criterion.bench_function("record", |bencher| {
        bencher.iter(|| {
            let mut guard = RequestGuard::new(Arc::clone(&metrics), Instant::now(), "abandoned");
            let phase = black_box(Some(Duration::from_micros(12)));
            for each in Phase::ALL {
                guard.record.phases[each] = phase;
            }
            guard.succeed();
        });
    });
    criterion.bench_function("record_run", |bencher| {
        let ended_at = Instant::now();
        bencher.iter(|| {
            let phase = black_box(Duration::from_micros(12));
            metrics.record_run(&RunRecord {
                n_rows: black_box(3),
                input: phase,
                compute: phase,
                output: phase,
                ended_at,
            });
        });
    });
}
