//! Runs that fail.

use super::*;

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

/// A request of three numbers a row for a model that is known to work with one.
fn unlike(n_rows: usize) -> ValidRequest {
    let open = undeclared();
    let tensor = Tensor::from_vec(Shape::from([n_rows, 3]), vec![1f32; n_rows * 3]).unwrap();
    let deadline = Instant::now() + MINUTE;
    let context = crate::inference::Context::new("r", deadline);
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
        // What it does not take, and a datatype that no operator has.
        let fault = if x.n_rows() == 1 { Fault::Raised } else { Fault::Unsupported };
        Err(EngineError::new(fault, "mat1 and mat2 cannot be multiplied"))
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
