//! What the scheduler promises, proved with scripted engines.

use super::testing::{metrics, padded, request, request_until, spec};
use super::*;
use crate::engine::fake::{FakeModel, Seen};
use crate::engine::{Batch, Fault, Model as _};
use crate::inference::{ModelSpec, NamedTensor};
use crate::telemetry::{Metrics, MetricsOptions};
use crate::tensor::{Shape, Tensor};
use crate::testing::{PATIENCE, until_in_task};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

mod direct;
mod failing;
mod isolated;
mod padding;
mod sharing;
mod start;
mod stuck;
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
        warm_up_timeout: MINUTE,
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
