//! A whole server but for its sockets and its engine: models in a folder, both services.

use super::ask::{Ask, On};
use super::snapshot::render;
use crate::app;
use crate::engine::fake::FakeModel;
use crate::engine::{
    Artifact, Batch, Death, Device, EngineError, Fault, LoadOptions, Loader, Model,
};
use crate::http::{
    App, AppParts, BodyTimeouts, CorsOrigins, HostNames, HttpOptions, Observed, RoutingHeaders,
    management_service, public_service,
};
use crate::inference::{ByteBudget, ByteLease};
use crate::listener::DrainPhase;
use crate::pipeline::Door;
use crate::quality::Quality;
use crate::quality::feedback::{Feedback, FeedbackOptions};
use crate::repository::manifest::Optimize;
use crate::repository::{
    Defaults, Live, LiveOptions, Repository, RepositoryOptions, RepositoryParts,
};
use crate::rollout::Rollouts;
use crate::scheduler::Permits;
use crate::telemetry::events::Events;
use crate::telemetry::logging::{RequestLog, RequestLogOptions};
use crate::telemetry::request_id::RequestIds;
use crate::tensor::Tensor;
use crate::testing::{PATIENCE, until_in_task};
use axum::response::Response;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// What a model does with an input of this value. Every other comes back as it is.
pub(super) const RAISES: f32 = 4001.0;
pub(super) const NO_MEMORY: f32 = 4002.0;
pub(super) const UNSUPPORTED: f32 = 4003.0;
pub(super) const BREAKS: f32 = 4004.0;
pub(super) const CRASHES: f32 = 4006.0;
/// It waits until the site is dropped.
pub(super) const WAITS: f32 = 4005.0;

/// How a server is when a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Every model is loaded that can be.
    Serving,
    /// No model is.
    Loading,
    /// One request of the model `one` runs and another waits, which is as many as may.
    Busy,
    /// Other requests hold all bytes that there are.
    Crowded,
    /// It ends, and every model is gone.
    Draining,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "",
            Self::Loading => ", while models are loaded",
            Self::Busy => ", while the queue is full",
            Self::Crowded => ", while others hold all bytes",
            Self::Draining => ", while the server ends",
        })
    }
}

const MANIFEST: &str = "
[[inputs]]
name = \"x\"
datatype = \"FP32\"
shape = [-1, 1]
[[outputs]]
name = \"y\"
datatype = \"FP32\"
shape = [-1, 1]
[batching]
max_batch_size = 4
";

/// Files of the models folder.
const FILES: &[(&str, &str)] = &[
    // Two versions, of which the higher one is the default.
    ("m/1/model.pt", "echo"),
    ("m/7/model.pt", "echo"),
    ("m/model.toml", "description = \"Gives back what it gets.\"\nversions = \"all\"\n"),
    ("m/sample.json", "{\"features\": [1.5]}"),
    // A model that cannot be loaded.
    ("failed/1/model.pt", "invalid"),
    ("failed/model.toml", "required = false\n"),
    // One request at a time, on a thread of its own, and one that waits.
    ("one/1/model.pt", "echo"),
    ("one/model.toml", "instances = 1\n"),
    // A model whose two outputs are scores of classes.
    ("labeled/1/model.pt", "echo"),
    ("labeled/model.toml", "labels = [\"cat\", \"dog\"]\n"),
];

/// Settings of `one` that stand behind its tensors.
const ONE: &str = "enabled = false\nqueue_capacity = 1\nmax_queue_wait = \"1h\"\n";

/// Both services and what they stand on.
pub(super) struct Site {
    public: Observed,
    management: Observed,
    repository: Repository,
    /// Tells that a run waits.
    reached: Receiver<()>,
    _opens: Sender<()>,
    _phase: watch::Sender<DrainPhase>,
    _held: ByteLease,
    _under_way: Vec<JoinHandle<String>>,
    /// Last, so that it is there for as long as anything else.
    _root: tempfile::TempDir,
}

impl Site {
    /// A server in this state. Blocks while it loads.
    pub(super) async fn new(state: State) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in FILES {
            write(&root, file, text);
        }
        let (reaches, reached) = mpsc::channel();
        let (opens, opened) = mpsc::channel();
        let loader = Arc::new(Scripted { gate: Arc::new(Gate { reaches, opened: opened.into() }) });
        let metrics = app::metrics("none");
        let feedback =
            Feedback::new(FeedbackOptions { keys_file: None, max_age: PATIENCE }).unwrap();
        metrics.register(Arc::new(feedback.clone()));
        let repository = Repository::open(RepositoryParts {
            options: repository_options(&root),
            trial_loader: loader.clone(),
            isolated_loader: loader.clone(),
            loader,
            decode_sample: app::sample_decoder(),
            permits: Permits::new(2),
            metrics: metrics.clone(),
            verifier: Some(Arc::new(feedback.clone())),
            events: Events::new(),
        });
        let repository = repository.unwrap();
        if state != State::Loading {
            let _ = repository.check();
        }
        let budget = ByteBudget::new(64 << 20);
        let mut held = budget.lease();
        let (phase, phases) = watch::channel(DrainPhase::Serving);
        let app = App::new(AppParts {
            options: options(),
            door: Door::new(repository.clone(), metrics.clone(), budget.clone()),
            repository: repository.clone(),
            rollouts: Rollouts::new(repository.clone()),
            quality: Quality::new(),
            feedback,
            events: Events::new(),
            metrics,
            tracer: None,
            request_log: RequestLog::new(RequestLogOptions::default(), Instant::now()),
            request_ids: RequestIds::new(),
            budget: budget.clone(),
            phase: phases,
            sandbox_missing: Vec::new(),
            started_at: Instant::now(),
        });
        if state == State::Crowded {
            held.grow(budget.limit()).unwrap();
        }
        if state == State::Draining {
            phase.send_replace(DrainPhase::LameDuck);
            assert_eq!(repository.shutdown(PATIENCE), 0, "every version must be unloaded");
        }
        let mut site = Self {
            public: public_service(&app),
            management: management_service(&app),
            repository,
            reached,
            _opens: opens,
            _phase: phase,
            _held: held,
            _under_way: Vec::new(),
            _root: root,
        };
        if state == State::Busy {
            site.fill_queue().await;
        }
        site
    }

    /// Has one request run until the site is dropped, and another wait behind it.
    async fn fill_queue(&mut self) {
        let ask = super::errors::native("one", WAITS);
        self._under_way.push(self.spawn(&ask));
        self.reached("the run").await;
        self._under_way.push(self.spawn(&ask));
        let one = "one".parse().unwrap();
        until_in_task("a request that waits", || {
            let status = self.repository.describe(&one).unwrap();
            status.versions[0].loaded.as_ref().is_some_and(|it| it.scheduler.queued == 1)
        })
        .await;
    }

    /// Waits until a run waits.
    pub(super) async fn reached(&self, what: &str) {
        until_in_task(what, || self.reached.try_recv().is_ok()).await;
    }

    /// Sends a request and lets it be.
    pub(super) fn spawn(&self, ask: &Ask) -> JoinHandle<String> {
        let answer = self.service(ask).clone().oneshot(ask.request());
        tokio::spawn(async { render(answer.await.unwrap()).await })
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn answer(&self, ask: &Ask) -> Response {
        let answer = self.service(ask).clone().oneshot(ask.request());
        if !ask.is_stalled() {
            let answer = tokio::time::timeout(PATIENCE, answer).await;
            return answer.unwrap_or_else(|_| panic!("no answer to {ask}")).unwrap();
        }
        // Nothing but the clock can end it, so nobody has to wait for that.
        tokio::time::pause();
        let answer = answer.await.unwrap();
        tokio::time::resume();
        answer
    }

    fn service(&self, ask: &Ask) -> &Observed {
        match ask.on {
            On::Public => &self.public,
            On::Management => &self.management,
        }
    }
}

/// A server for each state in which one is asked, made when it first is.
#[derive(Default)]
pub(super) struct Sites(BTreeMap<State, Site>);

impl Sites {
    /// Sends a request and waits for its answer.
    pub(super) async fn answer(&mut self, ask: &Ask) -> Response {
        let site = match self.0.entry(ask.state) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(place) => place.insert(Site::new(ask.state).await),
        };
        site.answer(ask).await
    }
}

fn write(root: &tempfile::TempDir, file: &str, text: &str) {
    let path = root.path().join("models").join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = match file.split_once('/') {
        Some(("one", "model.toml")) => format!("{text}{MANIFEST}{ONE}"),
        Some(("labeled", "model.toml")) => format!("{text}{MANIFEST}").replace("-1, 1", "-1, 2"),
        Some((_, "model.toml")) => format!("{text}{MANIFEST}"),
        _ => text.to_owned(),
    };
    fs::write(path, text).unwrap();
}

fn repository_options(root: &tempfile::TempDir) -> RepositoryOptions {
    // What is found by measuring would differ from run to run.
    let defaults = Defaults { optimize: Optimize::Off, ..Defaults::default() };
    RepositoryOptions {
        trial_timeout: PATIENCE,
        live: Live::new(LiveOptions { defaults, ..LiveOptions::default() }),
        ..RepositoryOptions::new(root.path().join("models"))
    }
}

fn options() -> HttpOptions {
    let (idle, total) = (Duration::from_secs(1), Duration::from_secs(2));
    HttpOptions {
        body_timeouts: BodyTimeouts { idle, total },
        public_metrics: true,
        cors_origins: CorsOrigins::parse(&["https://app.example.com"]).unwrap(),
        management_hosts: HostNames::default(),
        routing: RoutingHeaders::default(),
    }
}

/// Loads what a file says.
struct Scripted {
    gate: Arc<Gate>,
}

/// Where runs wait.
struct Gate {
    reaches: Sender<()>,
    opened: Mutex<Receiver<()>>,
}

impl Loader for Scripted {
    fn load(&self, artifact: &Artifact, _: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        let script = fs::read_to_string(&artifact.path).unwrap();
        if script == "invalid" {
            return Err(EngineError::new(Fault::InvalidFile, "the file is no model"));
        }
        let gate = Arc::clone(&self.gate);
        let model = FakeModel::new(move |batch| run(batch, &gate));
        Ok(Box::new(model.with_cost(Duration::from_micros(10))))
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device::Cpu]
    }
}

fn run(batch: Batch, gate: &Gate) -> Result<Vec<Tensor>, EngineError> {
    let inputs: Vec<_> = batch.inputs.into_iter().flatten().collect();
    let first = inputs[0].as_slice::<f32>().and_then(|values| values.first().copied());
    let fault = match first {
        Some(RAISES) => Fault::Raised,
        Some(NO_MEMORY) => Fault::OutOfMemory,
        Some(UNSUPPORTED) => Fault::Unsupported,
        Some(BREAKS) => Fault::Internal,
        Some(CRASHES) => Fault::Died(Death::Crashed),
        Some(WAITS) => {
            // Nobody waits for it where the test has ended already.
            let _ = gate.reaches.send(());
            let opened = gate.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = opened.recv_timeout(PATIENCE);
            return Ok(inputs);
        }
        _ => return Ok(inputs),
    };
    Err(EngineError::new(fault, "words of the model, which no client may see"))
}
