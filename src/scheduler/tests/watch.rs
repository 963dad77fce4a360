//! The watch over shared runs, with scripted engines and requests that queue up behind a closed gate.

use super::*;
use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model that adds up all its rows where one of them is over a hundred.
fn coupled_by_large_values() -> impl Fn(&[f32]) -> Vec<f32> {
    |x| {
        let large = x.iter().any(|x| *x > 100.0);
        let sum: f32 = x.iter().sum();
        x.iter().map(|x| if large { sum } else { *x }).collect()
    }
}

/// Lets runs through while it stands open.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, is_open: bool) {
        *self.is_open.lock().unwrap() = is_open;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = self.is_open.lock().unwrap();
        drop(self.changed.wait_timeout_while(closed, MINUTE, |is_open| !*is_open).unwrap());
    }
}

struct Watching {
    scheduler: Scheduler,
    seen: Arc<Seen>,
    gate: Arc<Gate>,
    n_reports: Arc<AtomicUsize>,
    registry: Metrics,
}

/// A scheduler that looks at every batch, and whose model waits at a gate before each run.
fn watching(every: u64, model: impl Fn(&[f32]) -> Vec<f32> + Send + Sync + 'static) -> Watching {
    let gate = Arc::<Gate>::default();
    let at = Arc::clone(&gate);
    let model = FakeModel::new(move |batch| {
        at.pass();
        let x = batch.inputs[0].as_ref().unwrap();
        let y = model(x.as_slice::<f32>().unwrap());
        Ok(vec![Tensor::from_vec(Shape::from([y.len()]), y).unwrap()])
    });
    let n_reports = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n_reports);
    let report = move |_: &str| {
        count.fetch_add(1, Ordering::SeqCst);
    };
    let watch = Watch { every, tolerance: 1e-4, on_difference: Some(Arc::new(report)) };
    let seen = model.seen();
    let registry = Metrics::new(MetricsOptions {
        batching: vec!["proved", "refuted"],
        ..MetricsOptions::default()
    });
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
        permits: Some(Permits::new(1).source()),
        metrics: registry.model("m", "1"),
        padding: None,
        warmup: Warmup::default(),
    };
    let scheduler = Scheduler::start(SchedulerOptions { watch, ..options() }, job).unwrap();
    Watching { scheduler, seen, gate, n_reports, registry }
}

impl Watching {
    /// Sends these rows so that the first runs alone and the others share the next run.
    async fn share(&self, rows: [f32; 3]) -> Vec<f32> {
        self.gate.set(false);
        let submit = |x: f32| self.scheduler.submit(request(&[x], None));
        let first = submit(rows[0]);
        let rest = async {
            crate::testing::until_in_task("the first runs", || {
                self.scheduler.status().running == 1
            })
            .await;
            let both = async { tokio::join!(submit(rows[1]), submit(rows[2])) };
            let opened = async {
                crate::testing::until_in_task("two wait", || self.scheduler.status().queued == 2)
                    .await;
                self.gate.set(true);
            };
            let (both, ()) = tokio::join!(both, opened);
            both
        };
        let (first, (second, third)) = tokio::join!(first, rest);
        [first, second, third].map(|it| values(it)[0]).to_vec()
    }

    fn counted(&self, outcome: &str) -> bool {
        let line = format!(
            "sconce_batching_verifications_total{{model=\"m\",version=\"1\",outcome=\"{outcome}\"}} 0\n"
        );
        !self.registry.render().contains(&line)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_gets_another_answer_in_a_batch_ends_sharing() {
    let watching = watching(1, coupled_by_large_values());
    assert_eq!(watching.share([1.0, 2.0, 200.0]).await, [1.0, 202.0, 202.0], "the fault itself");
    let refuted = || watching.scheduler.status().refuted.is_some();
    crate::testing::until_in_task("the difference is found", refuted).await;
    // Reported last.
    let n_reports = || watching.n_reports.load(Ordering::SeqCst);
    crate::testing::until_in_task("the difference is reported", || n_reports() == 1).await;
    assert!(watching.counted("different"));
    // From here on each gets its own answer.
    let before = watching.seen.rows().len();
    assert_eq!(watching.share([1.0, 2.0, 200.0]).await, [1.0, 2.0, 200.0]);
    assert_eq!(watching.seen.rows()[before..before + 3], [1, 1, 1]);
    assert_eq!(n_reports(), 1, "once is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_same_alone_goes_on_sharing() {
    let watching = watching(1, |x| x.iter().map(|x| x * 2.0).collect());
    assert_eq!(watching.share([1.0, 2.0, 200.0]).await, [2.0, 4.0, 400.0]);
    crate::testing::until_in_task("a batch is looked at", || watching.counted("same")).await;
    assert_eq!(watching.scheduler.status().refuted, None);
    assert!(watching.seen.rows().contains(&2), "the two shared a run");
}

/// Its turn would come after a million batches, and a number as large as this has not been looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_with_a_number_beyond_all_others_is_looked_at_out_of_turn() {
    let watching = watching(1_000_000, coupled_by_large_values());
    assert_eq!(watching.share([1.0, 2.0, 3.0]).await, [1.0, 2.0, 3.0]);
    crate::testing::until_in_task("the first is looked at", || watching.counted("same")).await;
    assert_eq!(watching.share([1.0, 2.0, 200.0]).await, [1.0, 202.0, 202.0]);
    let refuted = || watching.scheduler.status().refuted.is_some();
    crate::testing::until_in_task("the difference is found", refuted).await;
}
