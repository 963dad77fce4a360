//! What a queue takes in, and in which order it gives it out.

use super::load::Load;
use super::*;
use crate::inference::ErrorCode;
use crate::inference::{Pending, reply};
use crate::scheduler::options::Answer;
use crate::scheduler::testing::{request, request_until, scheduler_metrics as metrics};
use tracing::Span;

const LIMITS: BatchLimits = BatchLimits { max_batch_size: 4, max_queue_delay: Duration::ZERO };

fn bounds(capacity: usize) -> Bounds {
    Bounds { capacity, max_wait: None, instances: 1 }
}

fn queued(request: ValidRequest) -> (Queued, Pending<Answer>) {
    let (reply, pending) = reply();
    let (enqueued_at, span) = (Instant::now(), Span::none());
    (Queued { request, reply, enqueued_at, span, padded: None, is_outlier: false }, pending)
}

fn rows(batch: &[Queued]) -> Vec<usize> {
    batch.iter().map(|queued| queued.request.n_rows()).collect()
}

#[test]
fn a_batch_is_what_fits_and_the_rest_keeps_its_place() {
    let queue = Queue::new(bounds(16), LIMITS, None, metrics());
    let mut pending = Vec::new();
    for (rows, k) in [(2, None), (1, Some(7)), (1, None), (2, None), (1, None)] {
        let (queued, wait) = queued(request(&vec![0.0; rows], k));
        pending.push(wait);
        drop(queue.push(queued).unwrap());
    }
    let now = Instant::now();
    assert_eq!(
        rows(&queue.take(now)),
        [2, 1],
        "one of another kind is passed over, one too large ends it"
    );
    assert_eq!(rows(&queue.take(now)), [1], "the one of another kind is now the oldest");
    assert_eq!(rows(&queue.take(now)), [2, 1]);
    assert!(queue.take(now).is_empty());
}

#[test]
fn late_and_unwanted_requests_make_room() {
    let queue = Queue::new(bounds(2), LIMITS, None, metrics());
    let (late, late_pending) = queued(request_until(&[1.0], Instant::now()));
    let (unwanted, gone) = queued(request(&[2.0], None));
    drop(gone);
    drop(queue.push(late).unwrap());
    drop(queue.push(unwanted).unwrap());
    let (wanted, _pending) = queued(request(&[3.0], None));
    let pushed = queue.push(wanted);
    drop(pushed.expect("a queue of requests that nobody wants must not be full"));
    assert_eq!(queue.len(), 1);
    let answer = futures_now(late_pending);
    assert_eq!(answer.unwrap_err().code, ErrorCode::DeadlineExceeded);
}

#[test]
fn a_full_queue_says_so() {
    let queue = Queue::new(bounds(1), LIMITS, None, metrics());
    let (first, _first) = queued(request(&[1.0], None));
    let (second, _second) = queued(request(&[1.0], None));
    drop(queue.push(first).unwrap());
    let error = queue.push(second).unwrap_err();
    assert_eq!(
        (error.code, error.retry_after),
        (ErrorCode::QueueFull, Some(Duration::from_secs(1)))
    );
}

#[test]
fn a_closed_queue_is_emptied_before_its_threads_leave() {
    let queue = Queue::new(bounds(4), LIMITS, None, metrics());
    let (first, _pending) = queued(request(&[1.0], None));
    drop(queue.push(first).unwrap());
    queue.close(InferError::new(ErrorCode::Draining, "draining"));
    let wait = || queue.wait(|| true);
    assert!(matches!(wait(), Work::Run(_)), "what waits must still be run");
    assert_eq!(queue.take(Instant::now()).len(), 1);
    assert_eq!(wait(), Work::Leave);
    let (second, _pending) = queued(request(&[1.0], None));
    assert_eq!(queue.push(second).unwrap_err().code, ErrorCode::Draining);
}

/// Puts requests of one row into a queue whose only instance takes 10 s for four rows and is busy; says how many it
/// takes in, and why no more.
#[track_caller]
fn fill(max_wait: Option<Duration>, deadline: Duration) -> (usize, InferError) {
    let bounds = Bounds { max_wait, ..bounds(100) };
    let queue = Queue::new(bounds, LIMITS, None, metrics());
    queue.pace().warmed_up(4, Duration::from_secs(10));
    let now = Instant::now();
    let _turn = queue.pace().begin(4, now, now + Duration::from_secs(60));
    let mut pending = Vec::new();
    loop {
        let until = Instant::now() + deadline;
        let (queued, wait) = queued(request_until(&[1.0], until));
        match queue.push(queued) {
            Ok(alarm) => drop(alarm),
            Err(error) => return (pending.len(), error),
        }
        pending.push(wait);
    }
}

#[test]
fn what_would_wait_too_long_or_be_late_is_refused_at_once() {
    const DAY: Duration = Duration::from_secs(86400);
    let check = |max_wait: Option<u64>, deadline: Duration, expected: (usize, u64)| {
        let (taken_in, error) = fill(max_wait.map(Duration::from_secs), deadline);
        assert_eq!(error.code, ErrorCode::QueueFull);
        let seconds = error.retry_after.map(|it| it.as_secs());
        assert_eq!((taken_in, seconds), (expected.0, Some(expected.1)), "{error}");
    };
    check(Some(20), DAY, (7, 10));
    check(Some(0), DAY, (0, 10));
    check(None, DAY, (19, 10));
    // 5 s for what runs, 10 s for the run of its own.
    check(None, Duration::from_secs(21), (3, 10));
    check(None, Duration::from_millis(2500), (0, 13));
}

#[test]
fn outliers_run_with_outliers_after_others() {
    let queue = Queue::new(bounds(64), LIMITS, None, metrics());
    let mut pending = Vec::new();
    // Those that are outliers have two rows, the others one.
    let mut push = |is_outlier: bool| {
        let rows = if is_outlier { 2 } else { 1 };
        let (queued, wait) = queued(request(&vec![0.0; rows], None));
        drop(queue.push(Queued { is_outlier, ..queued }).unwrap());
        pending.push(wait);
    };
    let now = Instant::now();
    [true, false].into_iter().for_each(&mut push);
    assert_eq!(rows(&queue.take(now)), [2, 1], "nothing has failed, so nobody is an outlier");
    queue.caution.failed(false);
    let others = std::iter::repeat_n(false, 4 * (OTHERS_FIRST + 1));
    std::iter::repeat_n(true, 3).chain(others).for_each(&mut push);
    let taken = std::iter::repeat_with(|| rows(&queue.take(now)));
    let taken: Vec<_> = taken.take_while(|rows| !rows.is_empty()).collect();
    let others = vec![vec![1; 4]; OTHERS_FIRST];
    let expected = [vec![vec![2, 2]], others, vec![vec![2], vec![1; 4]]].concat();
    assert_eq!(taken, expected, "outliers have one turn in a few");
}

#[test]
fn outliers_do_not_fill_the_queue_for_others() {
    let bounds = Bounds { max_wait: Some(Duration::from_secs(20)), ..bounds(100) };
    let queue = Queue::new(bounds, LIMITS, None, metrics());
    queue.pace().warmed_up(4, Duration::from_secs(10));
    let now = Instant::now();
    let _turn = queue.pace().begin(4, now, now + Duration::from_secs(60));
    for _ in 0..200 {
        queue.caution.failed(true);
    }
    let day = Duration::from_secs(86400);
    let mut pending = Vec::new();
    let mut n_taken_in = |is_outlier: bool| {
        let mut push = || {
            let (queued, wait) = queued(request_until(&[1.0], Instant::now() + day));
            pending.push(wait);
            let pushed = queue.push(Queued { is_outlier, ..queued });
            pushed.map(drop).is_ok()
        };
        (0..100).take_while(|_| push()).count()
    };
    // One outlier makes a run, and there are no others before it yet.
    assert_eq!(n_taken_in(true), 2);
    assert_eq!(n_taken_in(false), 7, "as many as without outliers");
    assert_eq!(n_taken_in(true), 0);
    while !queue.take(Instant::now()).is_empty() {}
    let state = queue.lock();
    let loads = (state.waiting.load(), state.waiting.outliers());
    assert_eq!(loads, (&Load::default(), &Load::default()));
}

#[test]
fn the_load_is_what_waits() {
    let queue = Queue::new(bounds(16), LIMITS, None, metrics());
    let mut pending = Vec::new();
    for rows in [1, 3, 4, 9, 2] {
        let (queued, wait) = queued(request(&vec![0.0; rows], None));
        pending.push(wait);
        drop(queue.push(queued).unwrap());
    }
    pending.remove(2);
    while !queue.take(Instant::now()).is_empty() {}
    assert_eq!(queue.lock().waiting.load(), &Load::default());
}

fn futures_now<T>(pending: Pending<T>) -> Result<T, InferError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(pending)
}
