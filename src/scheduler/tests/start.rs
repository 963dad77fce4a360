//! Starts that fail.

use super::*;

#[test]
fn a_warm_up_that_raises_is_an_error_of_the_start_and_leaves_nothing_behind() {
    let model = FakeModel::new(|_| Err(EngineError::new(Fault::Raised, "all zeros")));
    let seen = model.seen();
    let registry = Metrics::new(MetricsOptions::default());
    let metrics = registry.model("m", "1");
    let x = Tensor::from_vec(Shape::from([1]), vec![0.0f32]).unwrap();
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
        permits: Some(Permits::new(1).source()),
        metrics: Arc::clone(&metrics),
        padding: None,
        warmup: Warmup { settle: vec![vec![Some(x), None]], shapes: None },
    };
    let options = SchedulerOptions { instances: 4, ..options() };
    let error = Scheduler::start(options, job).unwrap_err();
    assert_eq!(error.message, "all zeros");
    assert_eq!(seen.live(), 0, "every instance is gone");
    let line = "sconce_instances{model=\"m\",version=\"1\"} 0\n";
    assert!(registry.render().contains(line), "instances that never served must not count");
    let ready = "sconce_model_ready{model=\"m\",version=\"1\"} 0\n";
    assert!(registry.render().contains(ready));
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

#[test]
fn a_warm_up_that_hangs_is_an_error_of_the_start_and_keeps_no_permit() {
    let (model, open) = gated();
    let permits = Permits::new(1);
    let job = Job {
        model: Arc::new(model),
        spec: Arc::new(spec()),
        permits: Some(permits.source()),
        metrics: metrics(),
        padding: None,
        warmup: Warmup { settle: vec![request(&[1.0], None).inputs().to_vec()], shapes: None },
    };
    let short = Duration::from_millis(1);
    let options = SchedulerOptions { instances: 2, warm_up_timeout: short, ..options() };
    assert_eq!(Scheduler::start(options, job).unwrap_err().fault, Fault::TimedOut);
    assert!(permits.source().try_acquire().is_some(), "others compute meanwhile");
    drop(open);
}
