//! From a request to what is sent of it, with a wire that keeps it.

use super::ids::SpanIds;
use super::open::Passed;
use super::sampler::Sampler;
use super::sending::Wire;
use super::span::{Parent, Span, Value};
use super::*;
use crate::inference::{RunId, TraceParent, Version};
use crate::telemetry::background::Delivery;
use crate::telemetry::{Metrics, MetricsOptions, Phase};
use crate::testing::PATIENCE;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PARENT: u64 = 0x00f0_67aa_0ba9_02b7;

/// Keeps what it is sent, and fails where it is told to.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>, Arc<Mutex<Option<String>>>);

impl Wire for Kept {
    fn send(&mut self, spans: Vec<Span>) -> Result<(), String> {
        match &*self.1.lock().unwrap() {
            Some(problem) => Err(problem.clone()),
            None => {
                self.0.lock().unwrap().extend(spans);
                Ok(())
            }
        }
    }
}

/// What traces nothing, and counts that.
pub(crate) fn to_nowhere() -> Tracer {
    tracer(&Kept::default(), 0.0)
}

fn tracer(kept: &Kept, ratio: f64) -> Tracer {
    let sampler = Sampler { is_ours: true, follows_parent: true, ratio };
    Tracer::with(Box::new(kept.clone()), sampler).unwrap()
}

fn parent(sampled: bool) -> TraceParent {
    let (trace_id, parent_id) = (format!("{TRACE:032x}"), format!("{PARENT:016x}"));
    TraceParent { trace_id, parent_id, sampled }
}

fn served(status: u16, ms: u64) -> Served<'static> {
    Served {
        method: "POST",
        route: Some("/predict/{model}"),
        path: "/predict/digits",
        protocol: "1.1",
        status,
        code: (status >= 400).then_some("overloaded"),
        is_abandoned: false,
        request_id: "r-1",
        took: Duration::from_millis(ms),
        is_slow: ms >= 1000,
    }
}

/// What the door says of a request of two rows that ran together with `others`.
fn passed(others: usize, began_at: Instant) -> Passed {
    let metrics = Metrics::new(MetricsOptions::default()).model("digits", "3");
    let mut passed = Passed::new("digits".parse().unwrap(), Version(3), metrics);
    let ms = Duration::from_millis;
    passed.n_rows = Some(2);
    passed.checked_at = Some(began_at + ms(2));
    passed.answered_at = Some(began_at + ms(12));
    passed.run = Some(RunId { number: 7, n_rows: 2 + others });
    let phases = &mut passed.record.phases;
    for (phase, took) in [
        (Phase::Decode, 1),
        (Phase::Queue, 3),
        (Phase::Input, 1),
        (Phase::Compute, 5),
        (Phase::Output, 1),
        (Phase::Encode, 2),
    ] {
        phases[phase] = Some(ms(took));
    }
    passed
}

fn sent(tracer: &Tracer, kept: &Kept) -> Vec<Span> {
    assert!(tracer.flush(PATIENCE));
    std::mem::take(&mut *kept.0.lock().unwrap())
}

#[test]
fn a_request_is_a_span_with_one_for_each_phase() {
    let kept = Kept::default();
    let tracer = tracer(&kept, 0.0);
    let began_at = Instant::now();
    let open = tracer.begin(Some(&parent(true)), Some("a=b".to_owned()), began_at);
    assert_eq!(open.chosen_trace(), Some(format!("{TRACE:032x}")));
    open.set_passed(passed(0, began_at));
    tracer.end(&open, &served(200, 20));
    let spans = sent(&tracer, &kept);
    let root = spans.iter().find(|it| it.is_server).unwrap();
    assert_eq!(root.name, "POST /predict/{model}");
    assert_eq!(root.ids.trace, TRACE);
    assert!(spans.iter().all(|it| it.state.as_deref() == Some("a=b")));
    assert_eq!(root.parent, Some(Parent { span: PARENT, is_remote: true }));
    let says = |name| root.attributes.iter().find(|(it, _)| *it == name).map(|(_, value)| value);
    assert_eq!(says("http.response.status_code"), Some(&Value::Number(200)));
    assert_eq!(says("url.path"), Some(&Value::Text("/predict/digits".into())));
    assert_eq!(says("sconce.model"), Some(&Value::Text("digits".into())));
    assert_eq!(says("sconce.rows"), Some(&Value::Number(2)));
    assert_eq!(says("error.type"), None);
    assert!(!root.is_error);
    let parts: Vec<_> = spans
        .iter()
        .filter(|it| !it.is_server)
        .map(|it| {
            assert_eq!(it.parent, Some(Parent { span: root.ids.span, is_remote: false }));
            assert_eq!((it.ids.trace, it.links.len()), (TRACE, 0));
            let since = |moment: std::time::SystemTime| {
                moment.duration_since(root.start).unwrap().as_millis()
            };
            (&*it.name, since(it.start), since(it.end))
        })
        .collect();
    let expected = [("decode", 1, 2), ("queue", 2, 5), ("compute", 5, 12), ("encode", 12, 14)];
    assert_eq!(parts, expected, "the run follows on the queue, without a span of its own");
    let ids: std::collections::HashSet<_> = spans.iter().map(|it| it.ids.span).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn requests_that_shared_a_run_are_linked_with_it() {
    let kept = Kept::default();
    let tracer = tracer(&kept, 1.0);
    let began_at = Instant::now();
    for _ in 0..2 {
        let open = tracer.begin(None, None, began_at);
        open.set_passed(passed(2, began_at));
        tracer.end(&open, &served(200, 20));
    }
    let spans = sent(&tracer, &kept);
    let batch: Vec<_> = spans.iter().filter(|it| it.name == "batch").collect();
    assert_eq!((batch.len(), batch[0].parent), (1, None));
    let computed: Vec<_> = spans.iter().filter(|it| it.name == "compute").collect();
    let ids = |spans: &[&Span]| spans.iter().map(|it| it.ids).collect::<Vec<SpanIds>>();
    assert_eq!(batch[0].links, ids(&computed));
    for part in &computed {
        assert_eq!(part.links, [batch[0].ids]);
        assert!(part.attributes.contains(&("sconce.batch.rows", Value::Number(4))));
        assert_ne!(part.ids.trace, batch[0].ids.trace, "a run is of no caller's trace");
    }
    assert!(batch[0].attributes.contains(&("sconce.model", Value::Text("digits".into()))));
}

#[test]
fn failures_and_slow_requests_are_sent_after_the_fact() {
    let kept = Kept::default();
    let tracer = tracer(&kept, 0.0);
    let end = |served: &Served<'_>| {
        let open = tracer.begin(Some(&parent(false)), None, Instant::now());
        assert_eq!(open.chosen_trace(), None);
        tracer.end(&open, served);
    };
    for (status, ms) in [(200, 999), (400, 5), (404, 5), (200, 1000), (503, 1), (429, 1)] {
        end(&served(status, ms));
    }
    let spans = sent(&tracer, &kept);
    let errors: Vec<_> = spans.iter().map(|it| (it.is_error, it.links.len())).collect();
    assert_eq!(errors, [(false, 0), (true, 0), (false, 0)], "a 4xx is no error of the server");
    assert!(spans.iter().all(|it| it.ids.trace == TRACE), "they are of their callers' traces");
    // A path that the table does not know is no name.
    end(&Served { route: None, ..served(503, 1) });
    let unmatched = sent(&tracer, &kept).swap_remove(0);
    assert_eq!(unmatched.name, "POST");
    assert!(unmatched.attributes.iter().all(|(name, _)| *name != "http.route"));
    // Who left got no status.
    end(&Served { is_abandoned: true, ..served(503, 1) });
    let spans = sent(&tracer, &kept);
    assert!(spans[0].attributes.iter().all(|(name, _)| *name != "http.response.status_code"));
    // Of a flood a few a second are.
    let before = Instant::now();
    (0..1000).for_each(|_| end(&served(503, 1)));
    let seconds = before.elapsed().as_secs() as usize + 2;
    let n_sent = sent(&tracer, &kept).len();
    assert!(n_sent <= 10 * seconds, "{n_sent} in {seconds} s");
}

#[test]
fn a_sampler_of_the_standard_decides_alone() {
    let kept = Kept::default();
    let sampler = Sampler { is_ours: false, follows_parent: false, ratio: 0.0 };
    let tracer = Tracer::with(Box::new(kept.clone()), sampler).unwrap();
    let open = tracer.begin(Some(&parent(true)), None, Instant::now());
    tracer.end(&open, &served(500, 5000));
    assert_eq!(sent(&tracer, &kept), []);
}

#[test]
fn what_cannot_be_sent_is_counted_and_what_comes_later_is_sent() {
    let kept = Kept::default();
    let tracer = tracer(&kept, 1.0);
    let one = || tracer.end(&tracer.begin(None, None, Instant::now()), &served(200, 1));
    *kept.1.lock().unwrap() = Some("the receiver is away".to_owned());
    one();
    assert_eq!(sent(&tracer, &kept), []);
    *kept.1.lock().unwrap() = None;
    one();
    assert_eq!(sent(&tracer, &kept).len(), 1);
    let counts = Delivery::ALL.map(|outcome| tracer.count(outcome));
    assert_eq!(counts, [1, 0, 1]);
}

/// Takes nothing until it is let.
struct Held(Receiver<()>, SyncSender<()>);

impl Wire for Held {
    fn send(&mut self, _: Vec<Span>) -> Result<(), String> {
        let _ = self.1.try_send(());
        self.0.recv_timeout(PATIENCE).map_err(|error| error.to_string())
    }
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody() {
    let (let_go, held) = channel();
    let (hangs, is_hanging) = sync_channel(1);
    let sampler = Sampler { is_ours: true, follows_parent: true, ratio: 1.0 };
    let tracer = Tracer::with(Box::new(Held(held, hangs)), sampler).unwrap();
    let one = || tracer.end(&tracer.begin(None, None, Instant::now()), &served(200, 1));
    one();
    is_hanging.recv_timeout(PATIENCE).unwrap();
    (0..5000).for_each(|_| one());
    assert!(!tracer.flush(Duration::from_millis(1)), "it must not be waited for without bound");
    let dropped = tracer.count(Delivery::Dropped);
    assert!((2900..5000).contains(&dropped), "{dropped} dropped");
    for _ in 0..100 {
        let _ = let_go.send(());
    }
    assert!(tracer.flush(PATIENCE));
    assert_eq!(tracer.count(Delivery::Sent) + tracer.count(Delivery::Dropped), 5001);
}
