//! Runs that do not come back.

use super::*;

/// Begins a run that waits at the gate, and has the scheduler look at it long after its deadline.
async fn stick(scheduler: &Scheduler, seen: &Seen) {
    let so_far = seen.rows().len();
    let ample = Instant::now() + 2 * PATIENCE;
    let mut asked = vec![Box::pin(scheduler.submit(request_until(&[1.0], ample)))];
    queue_in_order(&mut asked).await;
    until("the run begins", || seen.rows().len() > so_far).await;
    scheduler.pool.replace_stuck(ample + MINUTE);
}

#[tokio::test]
async fn a_stuck_run_is_replaced_and_one_too_many_fails_the_version() {
    let (model, open) = gated();
    let (scheduler, seen) = start(options(), model);
    stick(&scheduler, &seen).await;
    // The only permit is held by the stuck run: the next can only start once it has come back.
    let next = scheduler.submit(request_until(&[2.0], Instant::now() + 2 * PATIENCE));
    let mut next = vec![Box::pin(next)];
    queue_in_order(&mut next).await;
    until("another instance runs the next", || seen.rows().len() == 2).await;
    assert_eq!(scheduler.status().failed, None);
    assert_eq!(scheduler.status().instances, 1);
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert_eq!(values(next.remove(0).await), [4.0]);
    let shared = &scheduler.pool.shared;
    until("the first one has come back", || shared.stuck_runs() == 0).await;
    stick(&scheduler, &seen).await;
    assert_eq!(scheduler.status().failed, None, "one stuck run is replaced");
    stick(&scheduler, &seen).await;
    assert!(scheduler.status().failed.is_some(), "one run too many is stuck");
    let refused = scheduler.submit(request(&[4.0], None)).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::ModelNotReady);
    drop(open);
}

#[tokio::test]
async fn the_watchdog_finds_a_stuck_run_by_itself() {
    let (model, open) = gated();
    let (scheduler, seen) = start(SchedulerOptions { max_stuck: 0, ..options() }, model);
    let mut allowed = Duration::from_millis(10);
    // On a slow machine the deadline may pass before the run has begun: then with a longer one.
    while seen.rows().is_empty() && scheduler.status().failed.is_none() {
        assert!(allowed < PATIENCE, "a run must begin within {PATIENCE:?}");
        let late = scheduler.submit(request_until(&[1.0], Instant::now() + allowed)).await;
        assert!(late.is_err(), "nothing opens the gate");
        allowed *= 2;
    }
    until("the version fails", || scheduler.status().failed.is_some()).await;
    drop(open);
}

/// What a hung run holds of the processor is for others, also when its version is let go meanwhile.
#[tokio::test]
async fn a_version_that_is_let_go_waits_for_a_stuck_run_no_longer_than_others() {
    let (model, open) = gated();
    let grace = Duration::from_millis(10);
    let options = SchedulerOptions { stuck_grace: grace, max_stuck: usize::MAX, ..options() };
    let (scheduler, seen) = start(options, model);
    let mut allowed = Duration::from_millis(10);
    while seen.rows().is_empty() {
        assert!(allowed < PATIENCE, "a run must begin within {PATIENCE:?}");
        let late = scheduler.submit(request_until(&[1.0], Instant::now() + allowed)).await;
        assert!(late.is_err(), "nothing opens the gate");
        allowed *= 2;
    }
    let (ended, has_ended) = std::sync::mpsc::channel();
    let drops = move || {
        drop(scheduler);
        ended.send(()).unwrap();
    };
    let dropping = std::thread::spawn(drops);
    crate::testing::receive("the end of the scheduler", &has_ended);
    dropping.join().unwrap();
    drop(open);
}
