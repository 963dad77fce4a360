//! What the scheduler promises, proved with scripted engines.

use super::testing::{metrics, padded, request, request_until, spec};
use super::*;
use crate::engine::Batch;
use crate::engine::fake::{FakeModel, Seen};
use crate::telemetry::{Metrics, MetricsOptions};
use crate::tensor::{Shape, Tensor};
use crate::testing::{PATIENCE, until_in_task};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, mpsc};

mod deadline;
mod start;
mod watch;

const MINUTE: Duration = Duration::from_secs(60);

fn options() -> SchedulerOptions {
    SchedulerOptions {
        label: "test/1".to_owned(),
        queue_capacity: 8,
        max_queue_wait: None,
        batch: BatchLimits { max_batch_size: 4, max_queue_delay: Duration::ZERO },
        instances: 1,
        direct: false,
        watch: Watch::default(),
        run_timeout: Duration::ZERO,
        stuck_grace: Duration::from_millis(20),
        max_stuck: 1,
    }
}

fn start(options: SchedulerOptions, model: FakeModel) -> (Scheduler, Arc<Seen>) {
    start_as(options, model, spec())
}

fn start_as(
    options: SchedulerOptions,
    model: FakeModel,
    spec: ModelSpec,
) -> (Scheduler, Arc<Seen>) {
    let seen = model.seen();
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec),
        permits: Some(Permits::new(1).source()),
        metrics: metrics(),
        padding: None,
        warmup: Warmup::default(),
    };
    (Scheduler::start(options, job).unwrap(), seen)
}

/// A model that doubles, but waits for a word through the channel before each run.
fn gated() -> (FakeModel, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let model = FakeModel::new(move |batch| {
        // A gate whose keeper has gone stands open, and one that is forgotten opens in the end.
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        Ok(vec![double(&batch)])
    });
    (model, open)
}

fn double(batch: &Batch) -> Tensor {
    let x = batch.inputs[0].as_ref().unwrap();
    let values: Vec<f32> = x.as_slice::<f32>().unwrap().iter().map(|x| x * 2.0).collect();
    Tensor::from_vec(Shape::from([values.len()]), values).unwrap()
}

#[track_caller]
fn values(answer: Result<Answer, InferError>) -> Vec<f32> {
    answer.unwrap().outputs[0].tensor.as_slice::<f32>().unwrap().to_vec()
}

/// Polls each future once, in order, so that their requests are queued in that order.
async fn queue_in_order<F: Future + Unpin>(futures: &mut [F]) {
    for future in futures {
        // Once to be queued, and once more to wake a thread if that has fallen to it.
        for _ in 0..2 {
            let poll = std::future::poll_fn(|context| {
                std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
            });
            assert!(poll.await);
        }
    }
}

/// Waits for what the scheduler's threads do.
#[track_caller]
fn until(what: &str, holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    until_in_task(what, holds)
}

/// Begins a run that waits at the gate, and has the scheduler look at it long after its deadline.
async fn stick(scheduler: &Scheduler, seen: &Seen) {
    let so_far = seen.rows().len();
    let ample = Instant::now() + 2 * PATIENCE;
    let mut asked = vec![Box::pin(scheduler.submit(request_until(&[1.0], ample)))];
    queue_in_order(&mut asked).await;
    until("the run begins", || seen.rows().len() > so_far).await;
    scheduler.shared.replace_stuck(ample + MINUTE);
}

#[tokio::test]
async fn what_queues_behind_a_run_shares_the_next_one() {
    let (model, open) = gated();
    let (scheduler, seen) = start(options(), model);
    let mut pending: Vec<_> = [[1.0].as_slice(), &[2.0], &[3.0, 4.0], &[5.0], &[6.0]]
        .map(|rows| Box::pin(scheduler.submit(request(rows, None))))
        .into_iter()
        .collect();
    queue_in_order(&mut pending[..1]).await;
    until("the first run begins", || seen.rows() == [1]).await;
    queue_in_order(&mut pending[1..]).await;
    drop(open);
    let mut answers = Vec::new();
    for pending in pending {
        answers.push(values(pending.await));
    }
    let expected = [vec![2.0], vec![4.0], vec![6.0, 8.0], vec![10.0], vec![12.0]];
    assert_eq!(answers, expected, "each must get its own rows back");
    assert_eq!(seen.rows(), [1, 4, 1], "a run takes what is queued, up to four rows");
}

#[tokio::test]
async fn late_and_withdrawn_requests_never_run() {
    let (model, open) = gated();
    let (scheduler, seen) = start(options(), model);
    let mut blocker = vec![Box::pin(scheduler.submit(request(&[1.0], None)))];
    queue_in_order(&mut blocker).await;
    until("the first run begins", || seen.rows().len() == 1).await;
    let soon = Instant::now() + Duration::from_millis(10);
    let late = scheduler.submit(request_until(&[2.0, 2.0], soon)).await;
    assert_eq!(late.unwrap_err().code, ErrorCode::DeadlineExceeded);
    let mut withdrawn = vec![Box::pin(scheduler.submit(request(&[3.0, 3.0, 3.0], None)))];
    queue_in_order(&mut withdrawn).await;
    drop(withdrawn);
    let mut wanted = vec![Box::pin(scheduler.submit(request(&[4.0], None)))];
    queue_in_order(&mut wanted).await;
    drop(open);
    assert_eq!(values(wanted.remove(0).await), [8.0]);
    assert_eq!(seen.rows(), [1, 1], "neither the late nor the withdrawn request may run");
}

#[tokio::test]
async fn one_request_that_raises_does_not_harm_its_neighbors() {
    one_fails_alone(Fault::Raised, ErrorCode::InferenceFailed).await;
    one_fails_alone(Fault::Environment, ErrorCode::Unsupported).await;
}

async fn one_fails_alone(fault: Fault, code: ErrorCode) {
    let (gate_model, open) = gated();
    let seen_gate = gate_model.seen();
    let script = move |batch: Batch| {
        let x = batch.inputs[0].as_ref().unwrap().as_slice::<f32>().unwrap();
        if x.iter().any(|&x| x < 0.0) {
            return Err(EngineError::new(fault, "negative"));
        }
        gate_model.instance()?.run(batch).map(|outcome| vec![outcome.outputs[0].tensor.clone()])
    };
    let (scheduler, seen) = start(options(), FakeModel::new(script));
    let mut pending: Vec<_> = [1.0, -1.0, 2.0, 3.0]
        .into_iter()
        .map(|value| Box::pin(scheduler.submit(request(&[value], None))))
        .collect();
    queue_in_order(&mut pending[..1]).await;
    until("the first run begins", || seen_gate.rows() == [1]).await;
    queue_in_order(&mut pending[1..]).await;
    drop(open);
    let mut codes = Vec::new();
    for pending in pending {
        codes.push(pending.await.map(|_| ()).map_err(|error| error.code));
    }
    assert_eq!(codes, [Ok(()), Err(code), Ok(()), Ok(())]);
    assert_eq!(seen.rows(), [1, 3, 1, 2], "the batch is run again in halves");
    assert_eq!(seen.instances(), 1, "an input that raises is no reason to rebuild an engine");
}

#[tokio::test]
async fn halving_asks_no_half_whose_other_half_was_not_to_blame() {
    let (gate_model, open) = gated();
    let seen_gate = gate_model.seen();
    let script = move |batch: Batch| {
        let x = batch.inputs[0].as_ref().unwrap().as_slice::<f32>().unwrap();
        if x.contains(&-1.0) {
            return Err(EngineError::new(Fault::Raised, "negative"));
        }
        gate_model.instance()?.run(batch).map(|outcome| vec![outcome.outputs[0].tensor.clone()])
    };
    let batch = BatchLimits { max_batch_size: 8, max_queue_delay: Duration::ZERO };
    let options = SchedulerOptions { batch, queue_capacity: 16, ..options() };
    let (scheduler, seen) = start(options, FakeModel::new(script));
    let values_of_all = [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -1.0, 7.0];
    let mut pending: Vec<_> = values_of_all
        .map(|x| Box::pin(scheduler.submit(request(&[x], None))))
        .into_iter()
        .collect();
    queue_in_order(&mut pending[..1]).await;
    until("the first run begins", || seen_gate.rows() == [1]).await;
    queue_in_order(&mut pending[1..]).await;
    drop(open);
    for (pending, x) in pending.into_iter().zip(values_of_all) {
        match pending.await {
            Err(error) => assert_eq!((error.code, x), (ErrorCode::InferenceFailed, -1.0)),
            answer => assert_eq!(values(answer), [x * 2.0]),
        }
    }
    assert_eq!(seen.rows(), [1, 8, 4, 2, 1, 1], "four pass, so the others fail, and so on");
}

#[tokio::test]
async fn runs_that_answer_are_counted_by_their_rows() {
    let script = |batch: Batch| {
        let x = batch.inputs[0].as_ref().unwrap().as_slice::<f32>().unwrap();
        let refused = || EngineError::new(Fault::Raised, "negative");
        if x.iter().any(|&x| x < 0.0) { Err(refused()) } else { Ok(vec![double(&batch)]) }
    };
    let metrics = metrics();
    let job = Job {
        model: Arc::new(FakeModel::new(script)),
        spec: Arc::new(spec()),
        permits: None,
        metrics: Arc::clone(&metrics),
        padding: None,
        warmup: Warmup { settle: vec![request(&[1.0], None).inputs().to_vec()], shapes: None },
    };
    let scheduler = Scheduler::start(options(), job).unwrap();
    assert_eq!(metrics.statistics().execution_count, 0, "nobody was answered by a warm-up");
    for rows in [[1.0].as_slice(), &[1.0, 2.0], &[-1.0], &[3.0]] {
        let _ = scheduler.submit(request(rows, None)).await;
    }
    let statistics = metrics.statistics();
    assert_eq!((statistics.execution_count, statistics.inference_count), (3, 4));
    let sizes = statistics.batches.iter().map(|it| (it.batch_size, it.compute_infer.count));
    assert_eq!(sizes.collect::<Vec<_>>(), [(1, 2), (2, 1)]);
}

#[tokio::test]
async fn an_engine_that_panics_is_rebuilt() {
    let script = |batch: Batch| {
        let x = batch.inputs[0].as_ref().unwrap().as_slice::<f32>().unwrap();
        assert!(x[0] >= 0.0, "scripted panic");
        Ok(vec![double(&batch)])
    };
    let (scheduler, seen) = start(options(), FakeModel::new(script));
    let failed = scheduler.submit(request(&[-1.0], None)).await;
    assert_eq!(failed.unwrap_err().code, ErrorCode::Internal);
    assert_eq!(values(scheduler.submit(request(&[1.0], None)).await), [2.0]);
    assert_eq!((seen.instances(), seen.live()), (2, 1));
}

#[tokio::test]
async fn a_stuck_run_is_replaced_and_one_too_many_fails_the_version() {
    let (model, open) = gated();
    let (scheduler, seen) = start(options(), model);
    stick(&scheduler, &seen).await;
    // The only permit is held by the stuck run: the next can only start once it has come back.
    let next = scheduler.submit(request_until(&[2.0], Instant::now() + 2 * PATIENCE));
    let mut next = vec![Box::pin(next)];
    queue_in_order(&mut next).await;
    until("another instance runs the next", || seen.rows().len() == 2).await;
    assert_eq!(scheduler.status().failed, None);
    assert_eq!(scheduler.status().instances, 1);
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert_eq!(values(next.remove(0).await), [4.0]);
    let stuck = &scheduler.shared.stuck;
    until("the first one has come back", || stuck.load(Ordering::SeqCst) == 0).await;
    stick(&scheduler, &seen).await;
    assert_eq!(scheduler.status().failed, None, "one stuck run is replaced");
    stick(&scheduler, &seen).await;
    assert!(scheduler.status().failed.is_some(), "one run too many is stuck");
    let refused = scheduler.submit(request(&[4.0], None)).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::ModelNotReady);
    drop(open);
}

#[tokio::test]
async fn the_watchdog_finds_a_stuck_run_by_itself() {
    let (model, open) = gated();
    let (scheduler, seen) = start(SchedulerOptions { max_stuck: 0, ..options() }, model);
    let mut allowed = Duration::from_millis(10);
    // On a slow machine the deadline may pass before the run has begun: then with a longer one.
    while seen.rows().is_empty() && scheduler.status().failed.is_none() {
        assert!(allowed < PATIENCE, "a run must begin within {PATIENCE:?}");
        let late = scheduler.submit(request_until(&[1.0], Instant::now() + allowed)).await;
        assert!(late.is_err(), "nothing opens the gate");
        allowed *= 2;
    }
    until("the version fails", || scheduler.status().failed.is_some()).await;
    drop(open);
}

#[tokio::test]
async fn closing_answers_what_was_taken_in_and_dropping_joins_the_threads() {
    let (model, open) = gated();
    let (scheduler, seen) = start(SchedulerOptions { instances: 2, ..options() }, model);
    let mut pending: Vec<_> =
        (0..2).map(|_| Box::pin(scheduler.submit(request(&[1.0], None)))).collect();
    queue_in_order(&mut pending).await;
    scheduler.close(InferError::new(ErrorCode::Draining, "draining"));
    assert_eq!(
        scheduler.submit(request(&[1.0], None)).await.unwrap_err().code,
        ErrorCode::Draining
    );
    drop(open);
    for pending in pending {
        assert_eq!(values(pending.await), [2.0], "what was taken in must be answered");
    }
    drop(scheduler);
    assert_eq!(seen.live(), 0);
}

#[test]
fn a_model_that_raises_on_its_warmup_does_not_start() {
    let model = FakeModel::new(|_| Err(EngineError::new(Fault::Raised, "never")));
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
        permits: None,
        metrics: metrics(),
        padding: None,
        warmup: Warmup { settle: vec![request(&[1.0], None).inputs().to_vec()], shapes: None },
    };
    assert_eq!(Scheduler::start(options(), job).unwrap_err().fault, Fault::Raised);
}

/// A scheduler of a model with padded inputs, and how many positions wide each run was.
fn padded(
    script: impl Fn(Batch) -> Result<Vec<Tensor>, EngineError> + Send + Sync + 'static,
) -> Padded {
    let metrics = Metrics::new(MetricsOptions::default());
    let model = FakeModel::new(script);
    let seen = model.seen();
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(padded::spec()),
        permits: None,
        metrics: metrics.model("test", "1"),
        padding: Some(Arc::new(padded::padding(&[4, 8]))),
        warmup: Warmup::default(),
    };
    let scheduler = Scheduler::start(options(), job).unwrap();
    Padded { scheduler, seen, metrics }
}

struct Padded {
    scheduler: Scheduler,
    seen: Arc<Seen>,
    metrics: Metrics,
}

fn width(batch: &Batch) -> usize {
    batch.inputs[0].as_ref().unwrap().shape().dims()[1]
}

#[tokio::test]
async fn requests_of_one_bucket_share_a_run_and_each_gets_its_own_size_back() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let widths = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&widths);
    let Padded { scheduler, seen, metrics } = padded(move |batch| {
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        log.lock().unwrap().push(width(&batch));
        Ok(batch.inputs.into_iter().flatten().collect())
    });
    let requests = [(1, 2), (1, 3), (1, 7), (2, 1), (1, 5), (1, 9), (1, 4)];
    let request = |(n_rows, size)| padded::request(n_rows, size, 2);
    let mut pending: Vec<_> =
        requests.map(|it| Box::pin(scheduler.submit(request(it)))).into_iter().collect();
    queue_in_order(&mut pending[..1]).await;
    until("the first run begins", || seen.rows().len() == 1).await;
    queue_in_order(&mut pending[1..]).await;
    drop(open);
    for (pending, it) in pending.into_iter().zip(requests) {
        let tensors = pending.await.unwrap().outputs.into_iter().map(|output| output.tensor);
        let expected: Vec<_> = request(it).inputs().iter().flatten().cloned().collect();
        assert_eq!(tensors.collect::<Vec<_>>(), expected, "of {it:?}");
    }
    assert_eq!(*widths.lock().unwrap(), [4, 4, 8, 9], "the oldest's bucket goes first");
    assert_eq!(seen.rows(), [1, 4, 2, 1]);
    let text = metrics.render();
    let count = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        line.unwrap().rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(count("sconce_run_positions_total"), 4 + 16 + 16 + 9);
    assert_eq!(count("sconce_padding_positions_total"), 2 + (1 + 2 * 3) + (1 + 3));
}

#[tokio::test]
async fn what_the_model_refuses_when_it_is_padded_is_run_as_it_is() {
    let refusing = |batch: Batch| match width(&batch) {
        4 => Err(EngineError::new(Fault::Raised, "four positions")),
        _ => Ok(batch.inputs.into_iter().flatten().collect()),
    };
    let Padded { scheduler, seen, .. } = padded(refusing);
    let answer = scheduler.submit(padded::request(1, 3, 2)).await.unwrap();
    assert_eq!(answer.outputs[0].tensor.shape(), &Shape::from([1, 3]));
    assert_eq!(seen.rows(), [1, 1]);
    let refused = scheduler.submit(padded::request(1, 4, 2)).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::InferenceFailed);
    assert_eq!(seen.rows(), [1, 1, 1], "there is nothing to try again without padding");
    // An output that no longer has the size that it is to be cut back from.
    let shrinking = |batch: Batch| {
        let mut outputs: Vec<Tensor> = batch.inputs.into_iter().flatten().collect();
        let size = outputs[0].shape().dims()[1];
        if size == 8 {
            outputs[0] = outputs[0].cut(&[1], 7).unwrap();
        }
        Ok(outputs)
    };
    let Padded { scheduler, .. } = padded(shrinking);
    let answer = scheduler.submit(padded::request(1, 6, 2)).await.unwrap();
    assert_eq!(answer.outputs[0].tensor.shape(), &Shape::from([1, 6]));
}

#[test]
fn each_shape_is_warmed_up_once_by_all_instances_together() {
    let model = FakeModel::echo();
    let seen = model.seen();
    let make = |place: usize| Some(request(&vec![0.0; place + 2], None).inputs().to_vec());
    let shapes = Arc::new(Shapes::new(5, MINUTE, make));
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
        permits: Some(Permits::new(1).source()),
        metrics: metrics(),
        padding: None,
        warmup: Warmup { settle: vec![], shapes: Some(Arc::clone(&shapes)) },
    };
    let scheduler = Scheduler::start(SchedulerOptions { instances: 2, ..options() }, job).unwrap();
    let mut rows = seen.rows();
    rows.sort_unstable();
    assert_eq!((rows, scheduler.cold_shapes()), (vec![2, 3, 4, 5, 6], None));
    let none = Shapes::new(3, Duration::ZERO, |_| None);
    assert_eq!(none.progress(), (3, 0));
}

#[tokio::test]
async fn a_small_batch_may_be_run_by_the_thread_that_asks() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let threads = Arc::clone(&seen);
    let model = FakeModel::new(move |batch| {
        threads.lock().unwrap().push(std::thread::current().id());
        Ok(vec![double(&batch)])
    });
    let (scheduler, _) = start(SchedulerOptions { direct: true, ..options() }, model);
    let here = std::thread::current().id();
    // An instance that has not gone to sleep yet may be faster, but not every time.
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        seen.lock().unwrap().clear();
        let together = tokio::join!(
            scheduler.submit(request(&[1.0], None)),
            scheduler.submit(request(&[2.0], None)),
            scheduler.submit(request(&[3.0, 4.0], None)),
        );
        assert_eq!(values(together.0), [2.0]);
        assert_eq!(values(together.1), [4.0]);
        assert_eq!(values(together.2), [6.0, 8.0]);
        if *seen.lock().unwrap() == [here] {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(
        *seen.lock().unwrap(),
        [here],
        "what was ready together must be one batch, run here"
    );
    let large = scheduler.submit(request(&[1.0; 5], None)).await;
    assert_eq!(values(large), [2.0; 5]);
    assert_ne!(seen.lock().unwrap().last(), Some(&here), "more than a batch is hopped");
}

#[tokio::test]
async fn what_finds_no_permit_is_left_to_the_threads() {
    let model = FakeModel::new(|batch| Ok(vec![double(&batch)]));
    let permits = Permits::new(1);
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
        permits: Some(permits.source()),
        metrics: metrics(),
        padding: None,
        warmup: Warmup::default(),
    };
    let scheduler = Scheduler::start(SchedulerOptions { direct: true, ..options() }, job).unwrap();
    let held = permits.source().acquire();
    let asked = scheduler.submit(request(&[1.0], None));
    let released = async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        drop(held);
    };
    assert_eq!(values(tokio::join!(asked, released).0), [2.0]);
}

#[test]
fn a_run_that_hangs_on_the_thread_that_asked_is_the_last_there_and_counts_as_stuck() {
    let (model, open) = gated();
    let here = std::thread::current().id();
    let threads = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&threads);
    let model = FakeModel::new(move |batch| {
        log.lock().unwrap().push(std::thread::current().id());
        let mut engine = model.instance()?;
        match std::thread::current().id() == here {
            true => engine.run(batch).map(|outcome| vec![outcome.outputs[0].tensor.clone()]),
            false => Ok(vec![double(&batch)]),
        }
    });
    let (scheduler, _) = start(SchedulerOptions { direct: true, ..options() }, model);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let is_here = || threads.lock().unwrap().contains(&here);
    // Another thread sees the run, and in the end lets it go on. An instance that does not sleep yet may take it.
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            crate::testing::until("a run is here", &is_here);
            scheduler.shared.look_at_direct_runs(Instant::now() + 3 * PATIENCE);
            drop(open);
        });
        let deadline = Instant::now() + PATIENCE;
        while !is_here() && Instant::now() < deadline {
            let ample = Instant::now() + 2 * PATIENCE;
            let asked = scheduler.submit(request_until(&[1.0], ample));
            assert_eq!(values(runtime.block_on(asked)), [2.0]);
        }
        watcher.join().unwrap();
    });
    assert!(is_here());
    let status = scheduler.status();
    assert!(status.direct_ended.is_some() && !status.direct && status.failed.is_none());
    let so_far = threads.lock().unwrap().len();
    assert_eq!(values(runtime.block_on(scheduler.submit(request(&[1.0], None)))), [2.0]);
    assert_ne!(threads.lock().unwrap()[so_far], here, "the next ones hop");
}

/// A request of three numbers a row for a model that is known to work with one.
fn unlike(n_rows: usize) -> ValidRequest {
    let open = undeclared();
    let tensor = Tensor::from_vec(Shape::from([n_rows, 3]), vec![1f32; n_rows * 3]).unwrap();
    let deadline = Instant::now() + MINUTE;
    let context = crate::inference::Context { request_id: "r".into(), deadline, trace: None };
    let inputs = vec![NamedTensor { name: "x".into(), tensor }];
    ValidRequest::new(&open, crate::inference::InferRequest { context, inputs }).unwrap()
}

fn undeclared() -> ModelSpec {
    let mut open = spec();
    open.inputs[0].declared = false;
    open
}

#[tokio::test]
async fn what_is_unlike_the_evidence_is_the_clients_fault_and_runs_alone_on_an_instance() {
    let raising = FakeModel::new(|batch| {
        let x = batch.inputs[0].as_ref().unwrap();
        match std::thread::current().name() {
            Some("test/1") => {}
            other => panic!("nobody knows how long it takes, so not on {other:?}"),
        }
        match x.shape().rank() {
            1 => Err(EngineError::new(Fault::Raised, "even this")),
            _ => Err(EngineError::new(Fault::Raised, "mat1 and mat2 cannot be multiplied")),
        }
    });
    let options = SchedulerOptions { direct: true, ..options() };
    let (scheduler, seen) = start_as(options, raising, undeclared());
    let (a, b) = tokio::join!(scheduler.submit(unlike(1)), scheduler.submit(unlike(2)));
    for error in [a.unwrap_err(), b.unwrap_err()] {
        assert_eq!(error.code, ErrorCode::InvalidInput);
        assert!(error.message.contains("declare inputs in model.toml"), "{error}");
        assert!(!error.message.contains("mat1"), "what the model says is for the log");
    }
    let mut rows = seen.rows();
    rows.sort_unstable();
    assert_eq!(rows, [1, 2], "never together");
}

#[tokio::test]
async fn an_answer_that_breaks_the_contract_is_an_error_and_no_other_form() {
    let kept = FakeModel::new(|batch| {
        let x = batch.inputs[0].as_ref().unwrap().as_slice::<f32>().unwrap();
        let kept: Vec<f32> = x.iter().copied().filter(|x| *x > 0.5).collect();
        Ok(vec![Tensor::from_vec(Shape::from([kept.len()]), kept).unwrap()])
    });
    let (scheduler, _) = start(options(), kept);
    assert_eq!(values(scheduler.submit(request(&[1.0, 2.0], None)).await), [1.0, 2.0]);
    let error = scheduler.submit(request(&[1.0, 0.0], None)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InferenceFailed);
    assert_eq!(
        error.message,
        "the model broke its contract: output \"y\" has shape [1], expected a row for each of the 2 of the input"
    );
}
