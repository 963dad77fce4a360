//! How a version is to be served, decided before anything of it starts. Pure.

use super::batch_size::BatchSize;
use super::candidate::Candidate;
use super::live::Defaults;
use super::options::Settings;
use super::sample::{Sample, SampleDecoder};
use super::warmup::{self, WarmupPlan};
use crate::engine::probe::{Findings, RunTimes, TimedRun, is_straight_line};
use crate::engine::{Device, Precision, Rewrite, Signature};
use crate::inference::{Batching, Contract, ModelSpec, Padding};
use crate::scheduler::{BatchLimits, OnDifference, SchedulerOptions, Warmup, Watch};
use crate::tensor::Dim;
use crate::transform::Transform;
use std::sync::Arc;
use std::time::Duration;

/// How far a row's answer in a batch may be from its answer alone, in service: ten times what the trial allows, since
/// there are many more of them.
const WATCH_TOLERANCE: f64 = 1e-4;

/// Longest that a batch may take for threads of the runtime to run it themselves: about what
/// decoding the largest body takes that they decode themselves.
const LONGEST_DIRECT_RUN: Duration = Duration::from_micros(500);

/// What a plan is made from.
pub(super) struct PlanInputs<'a> {
    pub(super) candidate: &'a Candidate<'a>,
    /// The candidate's settings after what holds whatever model.toml says.
    pub(super) settings: &'a Settings,
    pub(super) defaults: &'a Defaults,
    pub(super) findings: &'a Findings,
    /// How long a trial may take, and so a run that warms up.
    pub(super) trial_timeout: Duration,
    pub(super) signature: &'a Signature,
    /// Whether it runs in a process of its own, which nobody waits for on a thread of the runtime.
    pub(super) is_isolated: bool,
    pub(super) decode_sample: &'a SampleDecoder,
    /// Called once when an answer turns out to hang on what shares its run.
    pub(super) on_difference: Arc<OnDifference>,
}

/// How a version is to be served.
#[derive(Debug)]
pub(super) struct ServingPlan {
    /// What the engine takes and gives.
    pub(super) spec: Arc<ModelSpec>,
    /// The steps around it.
    pub(super) transform: Transform,
    pub(super) padding: Option<Arc<Padding>>,
    pub(super) batch_size: BatchSize,
    pub(super) first_runs: FirstRuns,
    pub(super) scheduler: SchedulerOptions,
}

/// What instances run before the version counts as ready.
#[derive(Debug)]
pub(super) enum FirstRuns {
    /// Nothing: a run would change the state that the first request is to find.
    None,
    /// The model's own sample, which it has to take.
    Sample(Warmup),
    /// Made-up values. A model that refuses them is none the worse for it and starts cold.
    MadeUp(Warmup),
}

impl ServingPlan {
    /// # Errors
    ///
    /// What model.toml or sample.json say does not suit the model.
    pub(super) fn new(from: &PlanInputs<'_>) -> Result<Self, String> {
        let PlanInputs { settings, findings, .. } = *from;
        let spec = Arc::new(spec(from));
        let transform = from.candidate.steps.clone().around(&spec);
        let transform = transform.map_err(|error| error.to_string())?;
        let batch_size = BatchSize::of(findings, settings).at_most(max_rows(from.signature));
        // What was refuted may have been the padding.
        let is_refuted = spec.batching == Batching::Refuted;
        let padding = findings.padding.clone().filter(|_| !is_refuted).map(Arc::new);
        let warmup = WarmupPlan {
            batching: spec.batching,
            padding: padding.clone(),
            max_batch_size: batch_size.rows,
            times: findings.times,
        };
        let first_runs = first_runs(from, &spec, &warmup)?;
        let scheduler = scheduler_options(from, &spec, batch_size.rows);
        Ok(Self { spec, transform, padding, batch_size, first_runs, scheduler })
    }
}

/// The most rows that a model takes by its file.
fn max_rows(signature: &Signature) -> usize {
    signature.interface.as_ref().and_then(|it| it.max_rows()).unwrap_or(usize::MAX)
}

/// How many threads run a model. Each instance of a stateful one has a state of its own: more than one, unless asked for,
/// would make its answers depend on which of them is idle.
pub(super) fn instances(settings: &Settings, defaults: &Defaults, batching: Batching) -> usize {
    let is_stateful = batching == Batching::Stateful;
    settings.instances.unwrap_or(if is_stateful { 1 } else { defaults.instances })
}

fn spec(from: &PlanInputs<'_>) -> ModelSpec {
    let PlanInputs { candidate, settings, findings, signature, .. } = *from;
    let padded = candidate.source.manifest.pads.iter().filter_map(|pad| {
        let place = findings.inputs.iter().position(|input| input.name == pad.input)?;
        Some((place, pad.padding.axis))
    });
    ModelSpec {
        inputs: findings.inputs.clone(),
        outputs: findings.outputs.clone(),
        batching: findings.batching,
        max_rows: settings.max_rows.min(max_rows(signature)),
        contract: Contract {
            one_size: padded.collect(),
            sizes: signature.interface.as_ref().map_or_else(Vec::new, |it| it.sizes.clone()),
            ..findings.contract.clone()
        },
    }
}

fn first_runs(
    from: &PlanInputs<'_>,
    spec: &ModelSpec,
    warmup: &WarmupPlan,
) -> Result<FirstRuns, String> {
    let PlanInputs { candidate, settings, decode_sample, .. } = *from;
    if spec.batching == Batching::Stateful {
        return Ok(FirstRuns::None);
    }
    if let Some(text) = &candidate.source.sample {
        let steps = &candidate.steps;
        let sample = Sample { text, decode: decode_sample, steps };
        let tensors = sample.of_spec(spec, settings.timeout)?;
        return Ok(FirstRuns::Sample(warmup.warmup(&tensors)));
    }
    let made_up = warmup::made_up(spec);
    Ok(made_up.map_or(FirstRuns::None, |tensors| FirstRuns::MadeUp(warmup.warmup(&tensors))))
}

fn scheduler_options(
    from: &PlanInputs<'_>,
    spec: &ModelSpec,
    max_batch_size: usize,
) -> SchedulerOptions {
    let PlanInputs { candidate, settings, defaults, findings, signature, trial_timeout, .. } =
        *from;
    SchedulerOptions {
        label: candidate.label(),
        queue_capacity: settings.queue_capacity,
        max_queue_wait: settings.max_queue_wait,
        batch: BatchLimits { max_batch_size, max_queue_delay: settings.max_queue_delay },
        instances: instances(settings, defaults, spec.batching),
        direct: !from.is_isolated
            && is_straight_line(signature)
            && may_run_directly(settings, spec, findings.times, max_batch_size),
        watch: watch(from),
        warm_up_timeout: trial_timeout,
        run_timeout: settings.timeout,
        stuck_grace: defaults.stuck_grace,
        max_stuck: defaults.max_stuck,
    }
}

/// Whether the thread that asks may run a model without branches itself: batches of it end soon, whatever is in
/// them.
fn may_run_directly(
    settings: &Settings,
    spec: &ModelSpec,
    times: Option<RunTimes>,
    max_batch_size: usize,
) -> bool {
    let Some(RunTimes { max_rows: TimedRun { n_rows, duration: time }, .. }) = times else {
        return false;
    };
    let whole_batch = time.as_secs_f64() / n_rows.max(1) as f64 * max_batch_size as f64;
    let mut shapes = spec.inputs.iter().map(|input| input.shape.dims());
    let is_variable = |dims: &[Dim]| dims.iter().skip(1).any(|dim| *dim == Dim::Variable);
    settings.device == Device::Cpu
        && spec.batching.is_allowed()
        && settings.intra_op_threads == 1
        && settings.max_queue_delay.is_zero()
        && time.as_secs_f64().max(whole_batch) <= LONGEST_DIRECT_RUN.as_secs_f64()
        && shapes.all(|dims| dims.is_some_and(|dims| !is_variable(dims)))
}

/// How runs that requests share are watched: answers may be as far apart as the form in which the model runs lets them.
fn watch(from: &PlanInputs<'_>) -> Watch {
    let PlanInputs { candidate, settings, defaults, findings, .. } = *from;
    if !findings.batching.is_allowed() {
        return Watch::default();
    }
    let form = findings.form.chosen;
    let of_form = match (form.precision, form.rewrite) {
        (Precision::Fp32, Rewrite::Plain | Rewrite::Frozen) => WATCH_TOLERANCE,
        (Precision::Fp32, Rewrite::Optimized) => 10.0 * WATCH_TOLERANCE,
        (Precision::Bf16 | Precision::Fp16, _) => settings.max_difference,
    };
    let accepted = candidate.source.manifest.batching.max_difference.unwrap_or_default();
    Watch {
        every: defaults.verify_every,
        tolerance: of_form.max(accepted),
        on_difference: Some(Arc::clone(&from.on_difference)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::TensorSpec;
    use crate::repository::manifest::Manifest;
    use crate::tensor::{DataType, ShapePattern};

    /// Of a model with one input of this shape that takes so many microseconds for 8 rows, in batches of 16.
    #[track_caller]
    fn check(manifest: &str, batching: Batching, shape: &[i64], micros: u64, expected: bool) {
        let manifest = Manifest::parse("m/model.toml", manifest).unwrap();
        let settings = Settings::resolve(&Defaults::default(), &manifest, &[Device::Cpu]).unwrap();
        let input = TensorSpec {
            name: "x".into(),
            datatype: DataType::Fp32,
            shape: ShapePattern::from_wire(shape).unwrap(),
            optional: false,
            declared: true,
        };
        let spec = ModelSpec {
            inputs: vec![input],
            outputs: vec![],
            batching,
            max_rows: 1,
            contract: Contract::default(),
        };
        let time = Duration::from_micros(micros);
        let run = |n_rows| TimedRun { n_rows, duration: time };
        let times = Some(RunTimes { min_rows: run(1), max_rows: run(8) });
        assert_eq!(may_run_directly(&settings, &spec, times, 16), expected);
    }

    #[test]
    fn only_short_runs_of_fixed_shapes_are_direct() {
        check("", Batching::Proved, &[-1, 4], 250, true);
        check("", Batching::Proved, &[-1, 4], 251, false);
        check("", Batching::Proved, &[-1, -1], 10, false);
        check("", Batching::Coupled, &[-1, 4], 10, false);
        check("intra_op_threads = 2", Batching::Proved, &[-1, 4], 10, false);
        check("[batching]\nmax_queue_delay = \"1ms\"", Batching::Proved, &[-1, 4], 10, false);
    }
}
