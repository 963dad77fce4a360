use super::super::testing::{Served, mapping, served};
use super::*;
use crate::engine::fake::FakeModel;
use crate::inference::{Layout, Timings, Work};
use crate::pipeline::testing::Whole;
use crate::pipeline::{Caller, Door, Target};
use crate::protocol::predict::Native;
use crate::testing::{receive, until};
use std::sync::mpsc;

/// A server whose requests are copied, and what came of that.
struct Shadowed {
    live: Served,
    door: Door,
    tally: Arc<Tally>,
    runtime: Runtime,
    candidate: Served,
}

fn shadowed(live: Served, candidate: Served, share: f64) -> Shadowed {
    let tally = Arc::<Tally>::default();
    let target =
        ShadowTarget { candidate: candidate.handle.clone(), share, tally: Arc::clone(&tally) };
    let shadow = Shadow::spawn(move |_| Some(target.clone())).unwrap();
    let door = live.door.clone().with_observers(vec![Arc::new(shadow)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Shadowed { live, door, tally, runtime, candidate }
}

impl Shadowed {
    fn ask(&self, first: f32) -> bool {
        let caller = Caller::named("r-1");
        let body = Whole(Some(format!("{{\"features\": [{first}, 2]}}")));
        let answer = self.door.answer::<Native, _>(Target::default(), caller, body);
        self.runtime.block_on(answer).is_ok()
    }

    fn ended(&self) -> u64 {
        self.tally.candidate().requests + self.tally.dropped()
    }
}

fn echo() -> Served {
    served(mapping(<[f32]>::to_vec), "")
}

#[test]
fn copies_are_run_and_compared_one_by_one() {
    // Gives another class to rows that begin with less than 2, and another number to others.
    let other = mapping(|row| row.iter().map(|it| if *it < 2.0 { 3.0 } else { *it }).collect());
    let shadowed = shadowed(echo(), served(other, ""), 1.0);
    for (nth, first) in [1.0, 5.0, 6.0, 13.0].into_iter().enumerate() {
        assert_eq!(shadowed.ask(first), first != 13.0);
        until("its copy is over", || shadowed.ended() == (nth as u64 + 1).min(3));
    }
    let tally = &shadowed.tally;
    let Agreement { compared, rows, flips, mismatched, .. } = tally.agreement();
    assert_eq!((compared, rows, flips, mismatched), (3, 3, 1.0, 0), "what failed is not copied");
    assert_eq!((tally.live().requests, tally.candidate().requests), (3, 3));
    assert_eq!((tally.candidate().errors, tally.dropped()), (0, 0));
}

#[test]
fn a_share_of_requests_is_copied_and_errors_of_the_copy_are_counted() {
    let raises = mapping(<[f32]>::to_vec);
    let shadowed = shadowed(served(FakeModel::echo(), ""), served(raises, ""), 0.25);
    for nth in 1..=8u64 {
        assert!(shadowed.ask(13.0), "nobody notices what a copy does");
        until("its copy is over", || shadowed.ended() == nth / 4);
    }
    let candidate = shadowed.tally.candidate();
    assert_eq!((candidate.requests, candidate.errors), (2, 2));
    assert_eq!(shadowed.tally.agreement().compared, 0);
}

#[test]
fn no_copy_runs_while_a_live_request_does_and_what_waits_too_long_is_dropped() {
    let (reached, arrived) = mpsc::channel();
    let (release, proceed) = mpsc::channel::<()>();
    let (reached, proceed) = (Mutex::new(reached), Mutex::new(proceed));
    let waits = mapping(move |row| {
        if row[0] == 777.25 {
            reached.lock().unwrap().send(()).unwrap();
            receive("the word to go on", &proceed.lock().unwrap());
        }
        row.to_vec()
    });
    let shadowed = shadowed(served(waits, ""), echo(), 1.0);
    std::thread::scope(|scope| {
        let live = shadowed.live.door.clone();
        // A request of another caller, which nobody copies, is under way meanwhile.
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let caller = Caller::named("r-2");
            let body = Whole(Some("{\"features\": [777.25, 2]}".to_owned()));
            let answer = live.answer::<Native, _>(Target::default(), caller, body);
            assert!(runtime.unwrap().block_on(answer).is_ok());
        });
        receive("the live run", &arrived);
        let copy = copy(&shadowed);
        assert!(!copy.has_room(), "a live run is under way");
        let queue = Queue::default();
        (0..=MAX_COPIES).for_each(|_| queue.push(self::copy(&shadowed)));
        assert_eq!(
            shadowed.tally.dropped(),
            1,
            "what the queue has no place for is dropped at once"
        );
        let late = Replay { since: Instant::now() - 2 * PATIENCE, ..copy };
        let queue = Arc::new(Queue::default());
        queue.push(late);
        let working = Arc::clone(&queue);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let worker = scope.spawn(move || work(&runtime, &working));
        until("it is dropped", || shadowed.tally.dropped() == 2);
        queue.close();
        worker.join().unwrap();
        release.send(()).unwrap();
    });
    assert_eq!(shadowed.tally.candidate().requests, 0);
    until("nothing is under way", || copy(&shadowed).has_room());
}

/// A copy of a request that was answered.
fn copy(shadowed: &Shadowed) -> Replay {
    let live = shadowed.live.handle.clone();
    let candidate = shadowed.candidate.handle.clone();
    let target = ShadowTarget { candidate, share: 1.0, tally: Arc::clone(&shadowed.tally) };
    let answer = InferResponse {
        model: live.name().clone(),
        version: live.version(),
        request_id: "r".into(),
        outputs: Vec::new(),
        n_rows: 1,
        extras: Vec::new(),
        timings: Timings::default(),
        work: Work::default(),
        layout: Layout::default(),
    };
    Replay { live, target, inputs: Vec::new(), answer, bytes: 1, since: Instant::now() }
}
