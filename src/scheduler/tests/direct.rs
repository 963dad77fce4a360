//! Batches that the thread that asks runs itself.

use super::*;

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
            scheduler.pool.look_at_direct_runs(Instant::now() + 3 * PATIENCE);
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

#[test]
fn a_run_on_the_thread_that_asked_shows_and_its_engine_is_rebuilt_after_a_panic_and_counted() {
    let here = std::thread::current().id();
    let scheduler = Arc::new(Mutex::new(None::<Arc<Scheduler>>));
    let n_running = Arc::new(Mutex::new(None));
    let (asked, log) = (Arc::clone(&scheduler), Arc::clone(&n_running));
    let model = FakeModel::new(move |batch| {
        let mut n_running = log.lock().unwrap();
        if n_running.is_none() && std::thread::current().id() == here {
            let scheduler = asked.lock().unwrap().clone().unwrap();
            *n_running = Some(scheduler.status().running);
            drop(n_running);
            // Without the hook: where it prints a backtrace, that takes as long as a run that is too slow for this.
            std::panic::resume_unwind(Box::new("scripted panic"));
        }
        Ok(vec![double(&batch)])
    });
    let seen = model.seen();
    let registry = Metrics::new(MetricsOptions::default());
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
        permits: Some(Permits::new(1).source()),
        metrics: registry.model("m", "1"),
        padding: None,
        warmup: Warmup::default(),
    };
    let started = Scheduler::start(SchedulerOptions { direct: true, ..options() }, job).unwrap();
    let started = scheduler.lock().unwrap().insert(Arc::new(started)).clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let submit = || runtime.block_on(started.submit(request(&[1.0], None)));
    // An instance that has not gone to sleep yet may be faster, but not every time.
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "no run was here");
        if let Err(error) = submit() {
            break error;
        }
    };
    assert_eq!(error.code, ErrorCode::Internal);
    assert_eq!(*n_running.lock().unwrap(), Some(1), "a run here is a run");
    assert_eq!(started.status().running, 0);
    assert_eq!((seen.instances(), seen.live()), (3, 2), "an engine takes the place of one of two");
    let line = "sconce_instance_restarts_total{model=\"m\",version=\"1\"} 1\n";
    assert!(registry.render().contains(line));
    assert!(started.status().direct, "runs go on here");
    assert_eq!(values(submit()), [2.0]);
    scheduler.lock().unwrap().take();
}
