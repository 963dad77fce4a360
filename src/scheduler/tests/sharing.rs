//! Requests that share runs, and those that do not run at all.

use super::*;

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
    assert_eq!(scheduler.status().queued, 0, "what nobody waits for holds no memory, and no place");
    let mut wanted = vec![Box::pin(scheduler.submit(request(&[4.0], None)))];
    queue_in_order(&mut wanted).await;
    drop(open);
    assert_eq!(values(wanted.remove(0).await), [8.0]);
    assert_eq!(seen.rows(), [1, 1], "neither the late nor the withdrawn request may run");
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
