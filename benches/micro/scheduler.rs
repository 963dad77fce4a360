//! Batches put together and cut apart, the decision, and the hop to an instance and back.

use crate::bodies;
use crate::clock::ProcessorTime;
use criterion::{BatchSize, BenchmarkId, Criterion};
use sconce::engine::Output;
use sconce::engine::fake::FakeModel;
use sconce::inference::{Context, InferRequest, ModelSpec, ValidRequest};
use sconce::protocol::predict::decode;
use sconce::scheduler::batch::{Part, concat, split};
use sconce::scheduler::policy::{BatchLimits, Waiting, decide};
use sconce::scheduler::{Job, Scheduler, SchedulerOptions, Warmup, Watch};
use sconce::telemetry::{Metrics, MetricsOptions};
use sconce::tensor::BufferMut;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One row of 20 numbers, checked.
fn request(spec: &ModelSpec, body: &str) -> ValidRequest {
    let inputs = decode(body.as_bytes(), spec).expect("the body suits the model").inputs;
    let deadline = Instant::now() + Duration::from_secs(3600);
    let context = Context::new("bench", deadline);
    ValidRequest::new(spec, InferRequest { context, inputs }).expect("the body suits the model")
}

pub(crate) fn batches(criterion: &mut Criterion<ProcessorTime>) {
    let body = bodies::tabular();
    let mut group = criterion.benchmark_group("batch");
    for n_requests in [1, 8, 64] {
        let requests: Vec<_> = (0..n_requests).map(|_| request(&body.spec, &body.text)).collect();
        let parts: Vec<_> = requests.iter().map(|request| Part { request, padded: None }).collect();
        group.bench_function(BenchmarkId::new("concat", n_requests), |bencher| {
            bencher.iter(|| concat(black_box(&parts), None, BufferMut::zeroed));
        });
        let batch = concat(&parts, None, BufferMut::zeroed).expect("they are small");
        let outputs: Vec<_> =
            batch.into_iter().flatten().map(|tensor| Output { name: None, tensor }).collect();
        group.bench_function(BenchmarkId::new("split", n_requests), |bencher| {
            bencher.iter(|| split(black_box(&outputs), &parts, None));
        });
    }
}

pub(crate) fn policy(criterion: &mut Criterion<ProcessorTime>) {
    let limits = BatchLimits { max_batch_size: 32, max_queue_delay: Duration::from_millis(1) };
    let now = Instant::now();
    let waiting = Waiting { rows: 3, oldest: now, closing: false };
    criterion.bench_function("policy", |bencher| {
        bencher.iter(|| decide(black_box(Some(waiting)), black_box(limits), black_box(now)));
    });
}

/// From one thread to an idle instance and back, by the wall's clock: two threads take part. What
/// the model does is nothing, so this is the queue, two wake-ups and the answer.
pub(crate) fn hop(criterion: &mut Criterion) {
    let body = bodies::tabular();
    let spec = Arc::new(body.spec);
    let options = SchedulerOptions {
        watch: Watch::default(),
        label: "bench/1".to_owned(),
        queue_capacity: 512,
        max_queue_wait: None,
        batch: BatchLimits { max_batch_size: 32, max_queue_delay: Duration::ZERO },
        instances: 1,
        direct: false,
        warm_up_timeout: Duration::from_secs(60),
        run_timeout: Duration::ZERO,
        stuck_grace: Duration::from_secs(60),
        max_stuck: 1,
    };
    let job = Job {
        model: Arc::new(FakeModel::echo()),
        spec: Arc::clone(&spec),
        permits: None,
        metrics: Metrics::new(MetricsOptions::default()).model("bench", "1"),
        padding: None,
        warmup: Warmup::default(),
    };
    let scheduler = Scheduler::start(options, job).expect("a fake model starts");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime of this thread starts");
    criterion.bench_function("hop", |bencher| {
        bencher.iter_batched(
            || request(&spec, &body.text),
            |request| runtime.block_on(scheduler.submit(request)),
            BatchSize::SmallInput,
        );
    });
}
