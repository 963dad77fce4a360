//! What the scheduler promises, proved with scripted engines.

use super::testing::{metrics, request, request_until, spec};
use super::*;
use crate::engine::Batch;
use crate::engine::fake::{FakeModel, Seen};
use crate::tensor::{Shape, Tensor};
use std::sync::{Mutex, mpsc};

const MINUTE: Duration = Duration::from_secs(60);

fn options() -> SchedulerOptions {
    SchedulerOptions {
        label: "test/1".to_owned(),
        queue_capacity: 8,
        batch: BatchLimits { max_batch_size: 4, max_queue_delay: Duration::ZERO },
        instances: 1,
        stuck_grace: Duration::from_millis(20),
        max_stuck: 1,
    }
}

fn start(options: SchedulerOptions, model: FakeModel) -> (Scheduler, Arc<Seen>) {
    let seen = model.seen();
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
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
        // A gate whose keeper has gone stands open.
        let _ = gate.lock().unwrap().recv();
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
        assert!(
            std::future::poll_fn(|context| {
                std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
            })
            .await
        );
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
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
    until(|| seen.rows() == [1]).await;
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
    until(|| seen.rows().len() == 1).await;
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
    let (gate_model, open) = gated();
    let seen_gate = gate_model.seen();
    let script = move |batch: Batch| {
        let x = batch.inputs[0].as_ref().unwrap().as_slice::<f32>().unwrap();
        if x.iter().any(|&x| x < 0.0) {
            return Err(EngineError::new(Fault::Raised, "negative"));
        }
        gate_model.instance()?.run(batch).map(|outcome| vec![outcome.outputs[0].tensor.clone()])
    };
    let (scheduler, seen) = start(options(), FakeModel::new(script));
    let mut pending: Vec<_> = [1.0, -1.0, 2.0, 3.0]
        .into_iter()
        .map(|value| Box::pin(scheduler.submit(request(&[value], None))))
        .collect();
    queue_in_order(&mut pending[..1]).await;
    until(|| seen_gate.rows() == [1]).await;
    queue_in_order(&mut pending[1..]).await;
    drop(open);
    let mut codes = Vec::new();
    for pending in pending {
        codes.push(pending.await.map(|_| ()).map_err(|error| error.code));
    }
    assert_eq!(codes, [Ok(()), Err(ErrorCode::InferenceFailed), Ok(()), Ok(())]);
    assert_eq!(seen.rows(), [1, 3, 1, 1, 1], "the batch is run again one by one");
    assert_eq!(seen.instances(), 1, "an input that raises is no reason to rebuild an engine");
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
    let soon = || Instant::now() + Duration::from_millis(10);
    let stuck = scheduler.submit(request_until(&[1.0], soon())).await;
    assert_eq!(stuck.unwrap_err().code, ErrorCode::DeadlineExceeded);
    // The only permit is held by the stuck run: the next can only start once it has come back.
    let next = scheduler.submit(request_until(&[2.0], Instant::now() + MINUTE));
    let mut next = vec![Box::pin(next)];
    queue_in_order(&mut next).await;
    until(|| seen.rows().len() == 2).await;
    assert_eq!(scheduler.status().failed, None);
    assert_eq!(scheduler.status().instances, 1);
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert_eq!(values(next.remove(0).await), [4.0]);
    let stuck = scheduler.submit(request_until(&[3.0], soon())).await;
    assert_eq!(stuck.unwrap_err().code, ErrorCode::DeadlineExceeded);
    until(|| scheduler.status().failed.is_some()).await;
    let refused = scheduler.submit(request(&[4.0], None)).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::ModelNotReady);
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
