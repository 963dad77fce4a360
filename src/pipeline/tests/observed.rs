//! Who looks on.

use super::served;
use crate::engine::fake::FakeModel;
use crate::engine::{EngineError, Fault};
use crate::inference::{ErrorCode, InferResponse, ValidRequest};
use crate::pipeline::testing::Whole;
use crate::pipeline::{Caller, Door, Observer, SMALL_BYTES, Tap, Target};
use crate::protocol::predict::Native;
use crate::repository::ModelHandle;
use crate::telemetry::{Phase, RequestRecord};
use crate::tensor::Tensor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Notes what it sees of every second request.
#[derive(Debug, Default)]
struct EverySecond {
    n_begun: AtomicUsize,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Debug, Default)]
struct Seen {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    failure: Option<&'static str>,
    phases: [bool; 3],
}

struct Noting {
    seen: Seen,
    all: Arc<Mutex<Vec<Seen>>>,
}

impl Observer for EverySecond {
    fn begin(&self, model: &ModelHandle, _: &Caller, _: bool) -> Option<Box<dyn Tap>> {
        assert_eq!(model.name().as_str(), "echo");
        let is_second = self.n_begun.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        is_second.then(|| Box::new(Noting { seen: Seen::default(), all: self.seen.clone() }) as _)
    }
}

impl Tap for Noting {
    fn checked(&mut self, request: &ValidRequest) {
        self.seen.inputs = request.inputs().iter().flatten().cloned().collect();
    }

    fn inferred(&mut self, response: &InferResponse) {
        self.seen.outputs = response.outputs.iter().map(|it| it.tensor.clone()).collect();
    }

    fn recorded(mut self: Box<Self>, record: &RequestRecord) {
        self.seen.failure = record.failure;
        self.seen.phases =
            [Phase::Decode, Phase::Compute, Phase::Encode].map(|it| record.phases[it].is_some());
        assert!(record.total > Duration::ZERO);
        self.all.lock().unwrap().push(self.seen);
    }
}

async fn ask(door: &Door, body: Option<&'static str>) -> Result<Vec<u8>, ErrorCode> {
    let caller = Caller::named("r-1");
    let answer =
        door.answer::<Native, _>(Target::default(), caller, Whole(body.map(str::to_owned))).await;
    answer.map(|it| it.answer.body.bytes).map_err(|error| error.code)
}

const ROW: &str = "{\"features\":[1,2]}";

#[tokio::test]
async fn an_observer_sees_the_requests_that_it_chose_to_their_end() {
    let served = served(FakeModel::new(|batch| {
        let x = batch.inputs.into_iter().flatten().next().unwrap();
        match x.as_slice::<f32>().unwrap() {
            [13.0, ..] => Err(EngineError::new(Fault::Raised, "thirteen")),
            _ => Ok(vec![x]),
        }
    }));
    let observer = Arc::new(EverySecond::default());
    let door = served.door.clone().with_observers(vec![observer.clone()]);
    let both = |body| {
        let door = &door;
        async move { [ask(door, body).await, ask(door, body).await] }
    };
    let answers = both(Some(ROW)).await;
    assert_eq!(answers[0], answers[1], "who looks on changes nothing");
    assert_eq!(both(Some("{\"features\":[13,2]}")).await[1], Err(ErrorCode::InferenceFailed));
    assert_eq!(both(Some("{\"features\":[1,2,3]}")).await[1], Err(ErrorCode::InvalidInput));
    let seen = observer.seen.lock().unwrap();
    let ends: Vec<_> = seen.iter().map(|it| (it.failure, it.phases)).collect();
    let expected = [
        (None, [true, true, true]),
        (Some("inference_failed"), [true, true, false]),
        (Some("invalid_input"), [false, false, false]),
    ];
    assert_eq!(ends, expected);
    assert_eq!(seen[0].inputs, seen[0].outputs, "the model gives back what it is given");
    assert_eq!((seen[1].inputs.len(), seen[1].outputs.len()), (1, 0));
    assert!(seen[2].inputs.is_empty(), "what is not checked is not shown");
}

/// How a request is recorded that is dropped while its body is waited for.
async fn recorded_when_dropped(door: impl FnOnce(Door) -> Door) -> Option<&'static str> {
    let served = served(FakeModel::echo());
    let observer = Arc::new(EverySecond { n_begun: AtomicUsize::new(1), ..EverySecond::default() });
    let door = door(served.door.clone().with_observers(vec![observer.clone()]));
    tokio::select! {
        biased;
        _ = ask(&door, None) => panic!("its body never comes"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(served.budget.used(), 0);
    let seen = observer.seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    seen[0].failure
}

#[tokio::test]
async fn an_abandoned_request_is_recorded_as_one() {
    assert_eq!(recorded_when_dropped(|door| door).await, Some("client_closed"));
    let serves = recorded_when_dropped(|door| door.with_ending(|| false)).await;
    assert_eq!(serves, Some("client_closed"));
    let ends = recorded_when_dropped(|door| door.with_ending(|| true)).await;
    assert_eq!(ends, Some("draining"), "its caller did not leave");
}

#[tokio::test]
async fn a_large_answer_stays_booked_until_its_transport_lets_go() {
    let served = served(FakeModel::echo());
    let rows = vec!["[0.1,0.2]"; 500].join(",");
    let body = format!("{{\"instances\":[{rows}]}}").leak();
    let caller = Caller::named("r-1");
    let call = Whole(Some(body.to_owned()));
    let answered = served.door.answer::<Native, _>(Target::default(), caller, call).await.unwrap();
    let booked = answered.answer.body;
    assert!(booked.bytes.len() > SMALL_BYTES);
    assert_eq!(served.budget.used(), booked.bytes.capacity());
    drop(booked);
    assert_eq!(served.budget.used(), 0);
}
