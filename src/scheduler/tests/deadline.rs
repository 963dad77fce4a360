//! What an engine learns of the time that is left.

use super::*;

#[tokio::test]
async fn a_batch_has_the_latest_deadline_of_its_requests() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let deadlines = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&deadlines);
    let model = FakeModel::new(move |batch| {
        noted.lock().unwrap().push(batch.deadline);
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        Ok(vec![double(&batch)])
    });
    let (scheduler, seen) = start(options(), model);
    let soon = Instant::now() + 2 * PATIENCE;
    let later = |minutes| soon + minutes * MINUTE;
    let ask = |deadline| Box::pin(scheduler.submit(request_until(&[1.0], deadline)));
    let mut pending = vec![ask(soon)];
    queue_in_order(&mut pending).await;
    until("the first one runs", || seen.rows().len() == 1).await;
    pending.extend([later(1), later(3), later(2)].map(ask));
    queue_in_order(&mut pending[1..]).await;
    drop(open);
    for answer in pending {
        assert_eq!(values(answer.await), [2.0]);
    }
    assert_eq!(*deadlines.lock().unwrap(), [Some(soon), Some(later(3))]);
}
