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
