//! From a version's folder to a version that serves: digest, verdict, load, warm-up.
//!
//! Blocks for as long as that takes; never called on the async runtime. Every failure is a reason
//! for operators; the models beside this one do not notice.

use super::batch_size::BatchSize;
use super::error::{Failure, FailureCode};
use super::layout::{ModelFolder, SAMPLE_FILE, VersionFolder};
use super::options::{Options, Settings};
use super::pins::Pins;
use super::served::{Facts, Loaded, ModelLimits, Served, Unloading};
use super::source::{Fingerprint, Source};
use super::store::{Key, Slot, Store, Verdict};
use super::trial::{Subject, Trial};
use super::warmup::{self, Plan};
use crate::engine::probe::{Findings, RunTimes, TimedRun, arguments, concerns, is_straight_line};
use crate::engine::{
    Artifact, Device, Fault, Format, LoadOptions, Loader, Model, Precision, Rewrite,
};
use crate::inference::{
    AnswerForm, Batching, Context, Contract, InferError, InferRequest, InputPadding, ModelName,
    ModelSpec, NamedTensor, TensorSpec, ValidRequest,
};
use crate::scheduler::{
    BatchLimits, Inputs, Job, Permits, Scheduler, SchedulerOptions, Warmup, Watch,
};
use crate::telemetry::{Metrics, TrialOutcome};
use crate::tensor::Dim;
use crate::transform::Postprocess;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far a row's answer in a batch may be from its answer alone, in service: ten times what the trial allows, since
/// there are many more of them.
const WATCH_TOLERANCE: f64 = 1e-4;

/// Longest that a batch may take for threads of the runtime to run it themselves: about what
/// decoding the largest body takes that they decode themselves.
const LONGEST_DIRECT_RUN: Duration = Duration::from_micros(500);

/// Reads the tensors of a sample.json. A function, because this room knows no wire format.
pub type SampleDecoder =
    Arc<dyn Fn(&[u8], &ModelSpec) -> Result<Vec<NamedTensor>, InferError> + Send + Sync>;

/// What loading a version takes, the same for all.
pub(super) struct Workshop {
    pub(super) options: Options,
    pub(super) trial_loader: Arc<dyn Loader>,
    pub(super) loader: Arc<dyn Loader>,
    pub(super) decode_sample: SampleDecoder,
    pub(super) permits: Permits,
    pub(super) metrics: Metrics,
    pub(super) store: Store,
    pub(super) pins: Pins,
    pub(super) loaded: Loaded,
    /// Held during a trial: there is one child process, and memory for one more model at a time.
    pub(super) trying: Mutex<()>,
}

/// One version on its way.
struct Candidate<'a> {
    name: &'a ModelName,
    file: &'a VersionFolder,
    source: &'a Source,
    settings: Settings,
    fingerprint: Fingerprint,
}

impl Workshop {
    /// Loads one version.
    pub(super) fn load(
        &self,
        folder: &ModelFolder,
        source: &Source,
        file: &VersionFolder,
    ) -> Result<Served, Failure> {
        let started_at = Instant::now();
        let outcome = self.try_load(folder, source, file, started_at);
        outcome
            .map_err(|Failure { code, reason }| Failure::new(code, without_path(&reason, folder)))
    }

    fn try_load(
        &self,
        folder: &ModelFolder,
        source: &Source,
        file: &VersionFolder,
        started_at: Instant,
    ) -> Result<Served, Failure> {
        let defaults = &self.options.defaults;
        let settings = Settings::resolve(defaults, &source.manifest, &self.loader.devices())
            .map_err(|reason| Failure::new(FailureCode::Settings, reason))?;
        let unreadable = |error| format!("the model file cannot be read: {error}");
        let fingerprint = Fingerprint::take_up_to(&file.file, self.options.max_file_bytes);
        let fingerprint = fingerprint.map_err(unreadable)?;
        let mut candidate = Candidate { name: &folder.name, file, source, settings, fingerprint };
        // Before any trial, and not kept as a verdict: looking is cheaper than remembering.
        if let Some(kind) = self.loader.other_kind(&candidate.artifact()).map_err(unreadable)? {
            return Err(Failure::new(FailureCode::NotAModel, kind));
        }
        let (mut findings, slot) = self.findings(&candidate)?;
        let mut model = self.load_here(&candidate, &findings)?;
        // A verdict is a file: what it says of the model is held against the model.
        if let Err(difference) = agrees(&findings, &*model) {
            tracing::warn!(
                model.name = %folder.name,
                "the verdict on it is not of this model and is ignored: {difference}"
            );
            drop(model);
            findings = self.try_out(&candidate, &slot)?;
            model = self.load_here(&candidate, &findings)?;
        }
        candidate.settings.apply(&self.options.overrides);
        let served = self.serve(&candidate, (findings, slot), model)?;
        let load_duration = started_at.elapsed();
        served.metrics.set_load_duration(load_duration);
        served.metrics.set_ready(true);
        Ok(Served { facts: Facts { load_duration, ..served.facts.clone() }, ..served })
    }

    /// What an earlier trial found, or a new one.
    fn findings(&self, candidate: &Candidate<'_>) -> Result<(Findings, Slot), Failure> {
        let key = Key {
            model_digest: &candidate.fingerprint.digest,
            source_digest: &candidate.source.digest,
            libtorch: &self.options.libtorch,
            libraries: &self.options.libraries,
            device: &candidate.settings.device.to_string(),
            max_batch_size: candidate.settings.max_batch_size,
            trusted: self.trusts(candidate),
            optimize: candidate.settings.optimize,
        };
        let slot = self.store.slot(&key);
        if let Some(verdict) = self.store.get(&key) {
            self.metrics.record_trial(TrialOutcome::Known);
            return verdict.into_findings().map(|findings| (findings, slot));
        }
        self.try_out(candidate, &slot).map(|findings| (findings, slot))
    }

    /// What a trial finds, kept in a slot.
    fn try_out(&self, candidate: &Candidate<'_>, slot: &Slot) -> Result<Findings, Failure> {
        let digest = &candidate.fingerprint.digest;
        let trusted = self.trusts(candidate);
        match self.trial_loader.damage(&candidate.artifact()) {
            Ok(None) => {}
            Ok(Some(damage)) => {
                let reason = format!("the model file is no whole archive: {damage}");
                return Err(Failure::new(FailureCode::Damaged, reason));
            }
            Err(error) => return Err(format!("the model file cannot be read: {error}").into()),
        }
        let trying = self.trying.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = Subject {
            name: candidate.name,
            artifact: Artifact { is_trusted: trusted, ..candidate.artifact() },
            options: candidate.plain(),
            digest,
            trusted,
            manifest: &candidate.source.manifest,
            sample: candidate.source.sample.as_deref(),
            max_batch_size: candidate.settings.max_batch_size,
            batch_size_is_chosen: candidate.settings.batch_size_is_chosen,
            form: candidate.settings.form_options(candidate.source, self.options.trial_timeout),
            timeout: self.options.trial_timeout,
        };
        let trial = Trial::run(&*self.trial_loader, &self.decode_sample, &subject);
        drop(trying);
        self.metrics.record_trial(trial.outcome);
        if trial.is_fact {
            slot.put(&trial.verdict);
        }
        trial.verdict.into_findings()
    }

    /// Whether the server's configuration vouches for the file.
    fn trusts(&self, candidate: &Candidate<'_>) -> bool {
        let digest = &candidate.fingerprint.digest;
        self.options.trusted.iter().any(|it| it.name == *candidate.name && it.digest == *digest)
    }

    /// Loads the model in the form that its trial found best.
    fn load_here(
        &self,
        candidate: &Candidate<'_>,
        findings: &Findings,
    ) -> Result<Box<dyn Model>, Failure> {
        let options = LoadOptions {
            form: findings.form.chosen,
            outputs: findings.outputs.iter().map(|spec| spec.datatype).collect(),
            ..candidate.plain()
        };
        let model = self.loader.load(&candidate.artifact(), &options)?;
        // Once more, and not by what a verdict says: it is a file, and somebody may have written it.
        if let [concern, ..] = concerns(model.signature())[..]
            && !self.trusts(candidate)
        {
            let name = concern.name;
            let reason = format!("the file uses {name}, and the verdict on it did not say so");
            return Err(Failure::new(FailureCode::Refused, reason));
        }
        if candidate.fingerprint.still_holds(&candidate.file.file) {
            Ok(model)
        } else {
            Err("the model file changed while it was loaded".into())
        }
    }

    fn serve(
        &self,
        candidate: &Candidate<'_>,
        (findings, slot): (Findings, Slot),
        model: Box<dyn Model>,
    ) -> Result<Served, Failure> {
        let watch = self.watch(candidate, &findings, slot);
        let Candidate { name, file, source, settings, fingerprint } = candidate;
        let places = source.manifest.pads.iter().filter_map(|pad| {
            let place = findings.inputs.iter().position(|input| input.name == pad.input)?;
            Some((place, pad.padding.axis))
        });
        let batch_size = BatchSize::of(&findings, settings);
        let contract = Contract { one_size: places.collect(), ..findings.contract };
        let spec = Arc::new(ModelSpec {
            inputs: findings.inputs,
            outputs: findings.outputs,
            batching: findings.batching,
            max_rows: settings.max_rows,
            contract,
        });
        let postprocess = postprocess(candidate, &spec)?;
        let metrics = self.metrics.model(name.as_str(), &file.version.to_string());
        metrics.set_memory(model.memory());
        metrics.set_batching(spec.batching.as_str());
        metrics.set_queue_capacity(settings.queue_capacity);
        // What was refuted may have been the padding.
        let is_refuted = spec.batching == Batching::Refuted;
        let padding = findings.padding.filter(|_| !is_refuted).map(Arc::new);
        let plan = Plan {
            batching: spec.batching,
            padding: padding.clone(),
            max_batch_size: batch_size.rows,
            times: findings.times,
        };
        let mut facts = Facts {
            description: source.manifest.description.clone(),
            device: settings.device,
            memory: model.memory(),
            digest: fingerprint.digest.clone(),
            file_bytes: fingerprint.size,
            labels: source.labels.clone().unwrap_or_default(),
            batch_size,
            max_queue_delay: settings.max_queue_delay,
            queue_capacity: settings.queue_capacity,
            max_queue_wait: settings.max_queue_wait,
            padding: padding.clone(),
            padding_wanted: !source.manifest.pads.is_empty(),
            shape_source: findings.shape_source,
            times: findings.times,
            curve: findings.curve,
            precision: settings.precision,
            form: findings.form,
            grounds: findings.grounds,
            notes: findings.notes,
            load_duration: std::time::Duration::ZERO,
        };
        let job = Job {
            model: Arc::from(model),
            spec: Arc::clone(&spec),
            permits: (settings.device == Device::Cpu).then(|| self.permits.source()),
            metrics: Arc::clone(&metrics),
            padding,
            warmup: Warmup::default(),
        };
        let scheduler = self.schedule(candidate, job, (&plan, watch))?;
        facts.notes.extend(scheduler.cold_shapes().map(|(n_shapes, warmed)| {
            format!("{warmed} of {n_shapes} further shapes were warmed up in the time for that")
        }));
        Ok(Served {
            name: (*name).clone(),
            version: file.version,
            spec,
            postprocess,
            metrics,
            limits: ModelLimits {
                max_body_bytes: settings.max_body_bytes,
                timeout: settings.timeout,
            },
            sample: source.sample.clone(),
            facts,
            scheduler: Unloading::new(scheduler, &self.loaded),
        })
    }

    /// Starts the instances and warms them up, by the sample or by made-up values. A model that
    /// refuses made-up values is none the worse for it and starts cold.
    fn schedule(
        &self,
        candidate: &Candidate<'_>,
        job: Job,
        (plan, watch): (&Plan, Watch),
    ) -> Result<Scheduler, String> {
        let failed = |error| format!("the model could not be started: {error}");
        let spec = Arc::clone(&job.spec);
        let direct = may_run_directly(&job, plan, &candidate.settings);
        let options = SchedulerOptions {
            direct,
            watch,
            ..self.scheduler_options(candidate, &spec, plan.max_batch_size)
        };
        // A run would change the state that the first request is to find.
        if spec.batching == Batching::Stateful {
            return Scheduler::start(options, job).map_err(failed);
        }
        if let Some(text) = &candidate.source.sample {
            let sample = self.sample(candidate, text, &spec)?;
            let warmup = plan.warmup(&sample);
            return Scheduler::start(options, Job { warmup, ..job }).map_err(failed);
        }
        let warmup = match warmup::made_up(&spec) {
            Some(inputs) => plan.warmup(&inputs),
            None => Warmup::default(),
        };
        match Scheduler::start(options.clone(), Job { warmup, ..job.clone() }) {
            Err(error) if matches!(error.fault, Fault::Raised | Fault::Environment) => {
                Scheduler::start(options, job).map_err(failed)
            }
            started => started.map_err(failed),
        }
    }

    /// How runs that requests share are watched: answers may be as far apart as the form in which the model runs lets them,
    /// and what differs more is remembered beyond the next start.
    fn watch(&self, candidate: &Candidate<'_>, findings: &Findings, slot: Slot) -> Watch {
        if !findings.batching.is_allowed() {
            return Watch::default();
        }
        let form = findings.form.chosen;
        let of_form = match (form.precision, form.rewrite) {
            (Precision::Fp32, Rewrite::Plain | Rewrite::Frozen) => WATCH_TOLERANCE,
            (Precision::Fp32, Rewrite::Optimized) => 10.0 * WATCH_TOLERANCE,
            (Precision::Bf16 | Precision::Fp16, _) => candidate.settings.max_difference,
        };
        let accepted = candidate.source.manifest.batching.max_difference.unwrap_or_default();
        let found = findings.clone();
        let remember = move |text: &str| {
            let (batching, grounds) = (Batching::Refuted, Some(text.to_owned()));
            slot.put(&Verdict::Passed(Box::new(Findings { batching, grounds, ..found.clone() })));
        };
        Watch {
            every: self.options.defaults.verify_every,
            tolerance: of_form.max(accepted),
            on_difference: Some(Arc::new(remember)),
        }
    }

    fn scheduler_options(
        &self,
        candidate: &Candidate<'_>,
        spec: &ModelSpec,
        max_batch_size: usize,
    ) -> SchedulerOptions {
        let defaults = &self.options.defaults;
        let settings = &candidate.settings;
        // Each instance of a stateful model has a state of its own: more than one, unless asked
        // for, would make its answers depend on which of them is idle.
        let is_stateful = spec.batching == Batching::Stateful;
        let by_default = if is_stateful { 1 } else { defaults.instances };
        SchedulerOptions {
            label: candidate.label(),
            queue_capacity: settings.queue_capacity,
            max_queue_wait: settings.max_queue_wait,
            batch: BatchLimits { max_batch_size, max_queue_delay: settings.max_queue_delay },
            instances: settings.instances.unwrap_or(by_default),
            direct: false,
            watch: Watch::default(),
            run_timeout: settings.timeout,
            stuck_grace: defaults.stuck_grace,
            max_stuck: defaults.max_stuck,
        }
    }

    /// The sample, checked as a request is.
    fn sample(
        &self,
        candidate: &Candidate<'_>,
        text: &str,
        spec: &ModelSpec,
    ) -> Result<Inputs, String> {
        let refused = |error: InferError| format!("{}/{SAMPLE_FILE}: {error}", candidate.name);
        let inputs = (self.decode_sample)(text.as_bytes(), spec).map_err(refused)?;
        let context = Context {
            request_id: "sample".into(),
            deadline: Instant::now() + candidate.settings.timeout,
            trace: None,
        };
        let request = ValidRequest::new(spec, InferRequest { context, inputs }).map_err(refused)?;
        Ok(request.inputs().to_vec())
    }
}

/// Whether what was found of a model is of this one: an input for each of its arguments, of a kind that fits, and everything
/// that is said of inputs and outputs one by one said of as many as there are.
fn agrees(findings: &Findings, model: &dyn Model) -> Result<(), String> {
    let Findings { inputs, outputs, contract, padding, .. } = findings;
    let n_arguments = model.signature().arguments.len();
    if inputs.len() != n_arguments {
        return Err(format!("it has {} inputs, and the model takes {n_arguments}", inputs.len()));
    }
    arguments(model.signature(), Some(inputs)).map_err(|error| error.to_string())?;
    let fits = |n: usize, of: usize| n == 0 || n == of;
    let padded = padding.iter().all(|it| {
        let axes = it.pads.iter().zip(inputs);
        let has_axis = |(pad, input): (&Option<InputPadding>, &TensorSpec)| {
            let rank = input.shape.dims().map_or(usize::MAX, <[Dim]>::len);
            pad.as_ref().is_none_or(|pad| pad.axis < rank)
        };
        it.pads.len() == n_arguments
            && fits(it.given.len(), n_arguments)
            && axes.into_iter().all(has_axis)
    });
    let is_whole = padded
        && fits(contract.batching_scope.given.len(), n_arguments)
        && (outputs.is_empty() || fits(contract.squeezed.len(), outputs.len()));
    if is_whole {
        Ok(())
    } else {
        Err("what it says of inputs and outputs does not fit them".into())
    }
}

/// Libraries like to name the file; paths of this machine are not for clients to see.
fn without_path(reason: &str, folder: &ModelFolder) -> String {
    let path = folder.path.display().to_string();
    let reason = reason.replace(&format!("{path}/"), &format!("{}/", folder.name));
    // What is left is the path of a model that is a file. A relative one could be any word.
    if folder.path.is_absolute() { reason.replace(&path, folder.name.as_str()) } else { reason }
}

/// Whether the thread that asks may run the model itself: batches of it end soon, whatever is in
/// them.
fn may_run_directly(job: &Job, plan: &Plan, settings: &Settings) -> bool {
    let Some(RunTimes { max_rows: TimedRun { n_rows, duration: time }, .. }) = plan.times else {
        return false;
    };
    let whole_batch = time.as_secs_f64() / n_rows.max(1) as f64 * plan.max_batch_size as f64;
    let mut shapes = job.spec.inputs.iter().map(|input| input.shape.dims());
    let is_variable = |dims: &[Dim]| dims.iter().skip(1).any(|dim| *dim == Dim::Variable);
    job.permits.is_some()
        && plan.batching.is_allowed()
        && settings.intra_op_threads == 1
        && settings.max_queue_delay.is_zero()
        && time.as_secs_f64().max(whole_batch) <= LONGEST_DIRECT_RUN.as_secs_f64()
        && shapes.all(|dims| dims.is_some_and(|dims| !is_variable(dims)))
        && is_straight_line(job.model.signature())
}

/// The step that labels answers, when model.toml gives labels. Outputs that no probe saw are checked
/// with each answer instead.
fn postprocess(
    candidate: &Candidate<'_>,
    spec: &ModelSpec,
) -> Result<Option<Arc<Postprocess>>, String> {
    let Some(labels) = candidate.source.labels.clone() else {
        return Ok(None);
    };
    let activation = candidate.source.manifest.activation;
    let step = Postprocess::new(labels, activation, candidate.settings.top);
    let step = step.map_err(|error| error.to_string())?;
    if spec.contract.form == AnswerForm::List {
        return Err("labels need one output with rows, but the model returns a list".into());
    }
    if !spec.outputs.is_empty() {
        step.check(&spec.outputs).map_err(|error| error.to_string())?;
    }
    Ok(Some(Arc::new(step)))
}

impl std::fmt::Debug for Workshop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Candidate<'_> {
    fn artifact(&self) -> Artifact {
        Artifact::new(Format::TorchScript, self.file.file.clone(), self.label())
    }

    /// What the log calls it.
    fn label(&self) -> String {
        format!("{}/{}", self.name, self.file.version)
    }

    fn plain(&self) -> LoadOptions {
        LoadOptions::plain(self.settings.device, self.settings.intra_op_threads)
    }
}
