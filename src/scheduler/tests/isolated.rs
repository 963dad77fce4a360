//! Runs that end the process of their model.

use super::*;
use crate::engine::{Death, EngineError};
use crate::inference::Batching;
use std::sync::atomic::{AtomicBool, Ordering};

const CRASHED: Fault = Fault::Died(Death::Crashed);

/// Doubles as soon as `gate` opens; what is negative ends its process, in this way.
fn mortal(fault: Fault) -> (FakeModel, mpsc::Sender<()>, Arc<Seen>) {
    let (gate_model, open) = gated();
    let seen_gate = gate_model.seen();
    let script = move |batch: Batch| {
        let x = batch.inputs[0].as_ref().unwrap().as_slice::<f32>().unwrap();
        if x.iter().any(|&x| x < 0.0) {
            return Err(EngineError::new(fault, "SIGSEGV"));
        }
        gate_model.instance()?.run(batch).map(|outcome| vec![outcome.outputs[0].tensor.clone()])
    };
    (FakeModel::new(script).isolated(), open, seen_gate)
}

/// The codes of four requests, of which the first runs alone and the others together.
async fn codes(
    scheduler: &Scheduler,
    (open, gate): (mpsc::Sender<()>, Arc<Seen>),
    rows: [f32; 4],
) -> Vec<Result<Vec<f32>, ErrorCode>> {
    let mut pending: Vec<_> =
        rows.map(|value| Box::pin(scheduler.submit(request(&[value], None)))).into_iter().collect();
    queue_in_order(&mut pending[..1]).await;
    until("the first run begins", || gate.rows() == [1]).await;
    queue_in_order(&mut pending[1..]).await;
    drop(open);
    let mut codes = Vec::new();
    for pending in pending {
        codes.push(match pending.await {
            Ok(answer) => Ok(values(Ok(answer))),
            Err(error) => Err(error.code),
        });
    }
    codes
}

#[tokio::test]
async fn those_that_ran_with_a_killer_are_run_again_and_it_is_remembered() {
    let (model, open, gate) = mortal(CRASHED);
    let (scheduler, seen) = start(options(), model);
    let answers = codes(&scheduler, (open, gate), [1.0, 2.0, -1.0, 3.0]).await;
    let crashed = Err(ErrorCode::ModelCrashed);
    assert_eq!(answers, [Ok(vec![2.0]), Ok(vec![4.0]), crashed, Ok(vec![6.0])]);
    assert_eq!(seen.rows(), [1, 3, 1, 1, 1], "each of them once more, and alone");
    let again = scheduler.submit(request(&[-1.0], None)).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::ModelCrashed);
    assert!(again.message.contains("shortly before"), "{again:?}");
    let other = scheduler.submit(request(&[-2.0], None)).await.unwrap_err();
    assert_eq!(other.code, ErrorCode::ModelCrashed);
    assert_eq!(
        seen.rows(),
        [1, 3, 1, 1, 1, 1],
        "known inputs are not run; alone and unknown, once"
    );
    assert_eq!(values(scheduler.submit(request(&[5.0], None)).await), [10.0]);
    assert_eq!(seen.live(), 1, "an engine for each process, and only the last lives");
}

#[tokio::test]
async fn who_was_alone_need_not_be_the_cause() {
    let is_first = AtomicBool::new(true);
    let script = move |batch: Batch| match is_first.swap(false, Ordering::SeqCst) {
        true => Err(EngineError::new(Fault::Died(Death::OutOfMemory), "SIGKILL")),
        false => Ok(vec![double(&batch)]),
    };
    let (scheduler, seen) = start(options(), FakeModel::new(script).isolated());
    let answer = scheduler.submit(request(&[1.0], None)).await;
    assert_eq!(values(answer), [2.0], "killed from outside, and run again");
    assert_eq!(seen.rows(), [1, 1]);
}

#[tokio::test]
async fn who_was_alone_in_the_process_is_its_end_whatever_the_number_of_instances() {
    let (model, open, _) = mortal(CRASHED);
    drop(open);
    let (scheduler, seen) = start(SchedulerOptions { instances: 2, ..options() }, model);
    let failed = scheduler.submit(request(&[-1.0], None)).await.unwrap_err();
    assert_eq!((failed.code, seen.rows().len()), (ErrorCode::ModelCrashed, 1));
}

#[tokio::test]
async fn with_another_batch_beside_it_a_batch_is_only_a_suspect() {
    let (model, open, gate) = mortal(CRASHED);
    let (scheduler, seen) = start(SchedulerOptions { instances: 2, ..options() }, model);
    let mut good = Box::pin(scheduler.submit(request(&[1.0], None)));
    queue_in_order(std::slice::from_mut(&mut good)).await;
    until("the first run begins", || gate.rows() == [1]).await;
    let mut bad = Box::pin(scheduler.submit(request(&[-1.0], None)));
    queue_in_order(std::slice::from_mut(&mut bad)).await;
    until("the second is over", || seen.instances() == 3).await;
    drop(open);
    assert_eq!(values(good.await), [2.0]);
    assert_eq!(bad.await.unwrap_err().code, ErrorCode::ModelCrashed);
    assert_eq!(seen.rows(), [1, 1, 1], "once more, and alone");
}

#[tokio::test]
async fn who_was_beside_the_last_death_is_told_that_the_model_has_failed() {
    let (model, open, gate) = mortal(CRASHED);
    let options = SchedulerOptions { instances: 2, ..options() };
    let (scheduler, _) = start(options, model.with_instances(2));
    let mut good = Box::pin(scheduler.submit(request(&[1.0], None)));
    queue_in_order(std::slice::from_mut(&mut good)).await;
    until("the first run begins", || gate.rows() == [1]).await;
    let failed = scheduler.submit(request(&[-1.0], None)).await.unwrap_err();
    assert_eq!(failed.code, ErrorCode::ModelNotReady, "{failed:?}");
    assert!(scheduler.has_failed());
    drop(open);
    assert_eq!(values(good.await), [2.0], "what goes on is answered");
}

#[tokio::test]
async fn what_had_not_begun_when_its_process_died_is_run_as_if_nothing_had_been() {
    let is_first = AtomicBool::new(true);
    let script = move |batch: Batch| match is_first.swap(false, Ordering::SeqCst) {
        true => Err(EngineError::new(Fault::Died(Death::Before), "another run's end")),
        false => Ok(vec![double(&batch)]),
    };
    let (scheduler, seen) = start(options(), FakeModel::new(script).isolated());
    assert_eq!(values(scheduler.submit(request(&[1.0, 2.0], None)).await), [2.0, 4.0]);
    assert_eq!((seen.rows(), seen.instances()), (vec![2, 2], 2));
}

#[tokio::test]
async fn a_model_with_state_runs_nothing_twice() {
    let (model, open, gate) = mortal(CRASHED);
    let spec = ModelSpec { batching: Batching::Stateful, ..spec() };
    let (scheduler, seen) = start_as(options(), model, spec);
    let answers = codes(&scheduler, (open, gate), [1.0, -1.0, 2.0, 3.0]).await;
    let crashed = || Err(ErrorCode::ModelCrashed);
    assert_eq!(answers, [Ok(vec![2.0]), crashed(), crashed(), crashed()]);
    assert_eq!(seen.rows(), [1, 3]);
}

#[tokio::test]
async fn a_run_that_was_ended_for_its_time_is_not_repeated() {
    let (model, open, _) = mortal(Fault::TimedOut);
    drop(open);
    let (scheduler, seen) = start(options(), model);
    for _ in 0..2 {
        let failed = scheduler.submit(request(&[-1.0], None)).await.unwrap_err();
        assert!(
            [ErrorCode::DeadlineExceeded, ErrorCode::ModelCrashed].contains(&failed.code),
            "{failed:?}"
        );
    }
    assert_eq!(seen.rows(), [1], "the second time it is known");
}
