//! Requests of different sizes that are padded to one.

use super::*;

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
