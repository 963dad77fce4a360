//! How often a request asks the allocator for memory: each place is known, and none is added unseen.
//!
//! A target of its own, since a program has one allocator. The counter counts the whole process, so
//! what is asked for on any thread counts. Each test takes its turn before it prepares anything, since
//! loading a model asks for memory without a pause. The median of some repetitions counts: the test
//! harness may add to one. A request that comes before the last one has left its instance waits in the
//! queue, another path, as often as the machine's threads will have it: those are left out.

use axum::body::Bytes;
use axum::http::Request;
use http_body_util::Full;
use sconce::app;
use sconce::engine::fake::{FakeLoader, FakeModel};
use sconce::engine::{Model as _, Reach, Signature};
use sconce::http::{self, App, BodyTimeouts, Observed};
use sconce::inference::{
    Batching, ByteBudget, Contract, InferResponse, Layout, ModelSpec, NamedTensor, TensorSpec,
    Timings, Version, Work,
};
use sconce::pipeline::Door;
use sconce::protocol::predict::{Form, decode, encode};
use sconce::quality::Quality;
use sconce::quality::feedback::{Feedback, FeedbackOptions};
use sconce::repository::{self, Repository};
use sconce::rollout::Rollouts;
use sconce::scheduler::Permits;
use sconce::shutdown::Shutdown;
use sconce::telemetry::events::Events;
use sconce::telemetry::logging::{RequestLog, RequestLogMode, RequestLogOptions};
use sconce::telemetry::request_id::RequestIds;
use sconce::tensor::{DataType, Shape, ShapePattern, Tensor};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Waits until no other test runs; none does while the guard is held.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often `work` asks for memory, or for more of it.
fn allocations<T>(work: impl Fn() -> T) -> usize {
    allocations_where(work, |_| true)
}

/// The same of those repetitions that took the path that is meant.
fn allocations_where<T>(work: impl Fn() -> T, is_meant: impl Fn(&T) -> bool) -> usize {
    const REPETITIONS: usize = 21;
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut counts = Vec::with_capacity(REPETITIONS);
    while counts.len() < REPETITIONS {
        assert!(Instant::now() < deadline, "only {} took the path", counts.len());
        let region = Region::new(ALLOCATOR);
        let result = black_box(work());
        let change = region.change();
        if is_meant(&result) {
            counts.push(change.allocations + change.reallocations);
        }
        // Whoever is on its way to sleep gets there.
        std::thread::yield_now();
    }
    counts.sort_unstable();
    counts[REPETITIONS / 2]
}

fn spec(shape: &[i64]) -> ModelSpec {
    let shape = ShapePattern::from_wire(shape).expect("these are sizes");
    let input = TensorSpec {
        name: "x".into(),
        datatype: DataType::Fp32,
        shape,
        optional: false,
        declared: true,
    };
    ModelSpec {
        inputs: vec![input],
        outputs: vec![],
        batching: Batching::Proved,
        max_rows: 1024,
        contract: Contract::default(),
    }
}

fn answer(dims: &[usize]) -> InferResponse {
    let values = (0..dims.iter().product()).map(|n| -1.0 / (n as f32 + 3.0)).collect();
    let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values).expect("as many as the shape");
    InferResponse {
        model: "tabular".parse().expect("a name"),
        version: Version(3),
        request_id: "0190f5a1c2d34e5f8a9b0c1d2e3f4a5b".into(),
        outputs: vec![NamedTensor { name: "y".into(), tensor }],
        n_rows: dims[0],
        extras: Vec::new(),
        timings: Timings::default(),
        work: Work::default(),
        layout: Layout { is_sole: true, ..Layout::default() },
    }
}

#[test]
fn a_body_of_one_tensor_is_decoded_with_six_allocations() {
    // The list of inputs; the reader of the one datatype among all; the sizes as they are found; the
    // elements, all at once, since their number is declared; the count of their owners; the shape.
    const EXPECTED: usize = 6;
    let _turn = turn();
    let row = (0..20).map(|n| format!("{:?}", f64::from(n as f32 / 7.0 - 1.0)));
    let row = format!("[{}]", row.collect::<Vec<_>>().join(", "));
    let tabular = spec(&[-1, 20]);
    for body in [
        format!("{{\"features\": {row}}}"),
        format!("{{\"instances\": [{row}]}}"),
        format!("{{\"inputs\": {{\"x\": [{row}]}}}}"),
    ] {
        let n = allocations(|| decode(body.as_bytes(), &tabular).unwrap());
        assert_eq!(n, EXPECTED, "{body}");
    }
    let plane = format!("[{}]", vec![row.as_str(); 50].join(","));
    let body = format!("{{\"features\": [{plane},{plane},{plane}]}}");
    let image = spec(&[-1, 3, 50, 20]);
    let n = allocations(|| decode(body.as_bytes(), &image).unwrap());
    assert_eq!(n, EXPECTED, "more numbers must not ask for memory more often");
}

/// The service of a listener over one small model that answers with what it is asked.
struct Served {
    service: Observed,
    runtime: Runtime,
    /// The thread that ran the model last.
    ran_on: Arc<Mutex<Option<ThreadId>>>,
    _models: TempDir,
}

fn served() -> Served {
    let models = tempfile::tempdir().expect("a folder");
    let version = models.path().join("tabular/1");
    std::fs::create_dir_all(&version).expect("a folder");
    std::fs::write(version.join("model.pt"), "a fake").expect("a file");
    let manifest = "[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1, 20]";
    std::fs::write(models.path().join("tabular/model.toml"), manifest).expect("a file");
    // What a thread of the runtime may run itself: straight code of known operators.
    let ran_on = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&ran_on);
    let model = FakeModel::new(move |batch| {
        *noted.lock().expect("nobody panics with it") = Some(std::thread::current().id());
        Ok(vec![batch.inputs.into_iter().flatten().next().expect("one input")])
    });
    let reach = Reach::Operators(vec!["aten::linear".to_owned()]);
    let signature = Signature { reach, ..model.signature().clone() };
    let loader = Arc::new(FakeLoader(model.with_signature(signature)));
    let metrics = app::metrics("none");
    let repository = Repository::open(repository::RepositoryParts {
        options: repository::RepositoryOptions::new(models.path().to_owned()),
        trial_loader: loader.clone(),
        isolated_loader: loader.clone(),
        loader,
        decode_sample: Arc::new(|_, _| Ok(Vec::new())),
        permits: Permits::new(1),
        metrics: metrics.clone(),
        verifier: None,
        events: Events::new(),
    })
    .expect("the folder can be read");
    let loaded = repository.check();
    assert!(loaded[0].serving.is_some(), "{loaded:?}");
    let seconds = Duration::from_secs(10);
    let log = RequestLogOptions { mode: RequestLogMode::Errors, ..RequestLogOptions::default() };
    let budget = ByteBudget::new(1 << 20);
    let app = App::new(http::AppParts {
        options: http::HttpOptions {
            body_timeouts: BodyTimeouts { idle: seconds, total: seconds },
            public_metrics: true,
            cors_origins: http::CorsOrigins::default(),
            management_hosts: http::HostNames::default(),
            routing: http::RoutingHeaders::default(),
        },
        door: Door::new(repository.clone(), metrics.clone(), budget.clone()),
        rollouts: Rollouts::new(repository.clone()),
        quality: Quality::new(),
        feedback: Feedback::new(FeedbackOptions { keys_file: None, max_age: seconds })
            .expect("the system has random numbers"),
        repository,
        events: Events::new(),
        metrics,
        tracer: None,
        request_log: RequestLog::new(log, Instant::now()),
        request_ids: RequestIds::new(),
        budget,
        phase: Shutdown::new().phases(),
        sandbox_missing: Vec::new(),
        started_at: Instant::now(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Served {
        service: http::public_service(&app),
        runtime: runtime.expect("a runtime"),
        ran_on,
        _models: models,
    }
}

#[test]
fn a_request_takes_a_known_number_of_allocations_from_its_head_to_its_answer() {
    // Without the connection, whose buffers are hyper's. The test's own request 4; the service, its
    // context and the loan of the body 8; axum's routing and the handler's future 9; the body and
    // its decoding 9; the check, the queue, the batch and what it is cut into 15; the answer's text
    // and its headers 9.
    const EXPECTED: usize = 54;
    let _turn = turn();
    let served = served();
    let row = vec!["0.25"; 20].join(",");
    let body = Bytes::from(format!("{{\"features\":[{row}]}}"));
    let work = || {
        let request = Request::post("/predict/tabular")
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .expect("a request");
        let answer = served.runtime.block_on(served.service.clone().oneshot(request));
        let answer = answer.unwrap_or_else(|never| match never {});
        assert_eq!(answer.status(), 200);
        answer
    };
    let here = Some(std::thread::current().id());
    let n = allocations_where(work, |_| *served.ran_on.lock().unwrap() == here);
    assert_eq!(n, EXPECTED);
}

#[test]
fn an_answer_is_encoded_to_one_place() {
    let _turn = turn();
    for (dims, form) in [
        (&[1, 1][..], Form::One),
        (&[1, 1000], Form::One),
        (&[64, 10], Form::Many),
        (&[64, 10], Form::Named),
    ] {
        let answer = answer(dims);
        assert_eq!(allocations(|| encode(&answer, form)), 1, "{dims:?} as {form:?}");
    }
}
