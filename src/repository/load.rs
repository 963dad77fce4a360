//! From a version's folder to a version that serves: what its trial found, then a plan, a start, and the version.
//!
//! Blocks for as long as that takes; never called on the async runtime. The models beside this one do not
//! notice a failure.

use super::candidate::Candidate;
use super::contest::{Contestant, Contests, choose};
use super::failure::{FailureCode, ModelFailure};
use super::isolation::Isolation;
use super::layout::{ModelFolder, VersionFolder};
use super::native;
use super::parts::RepositoryParts;
use super::plan::{PlanInputs, ServingPlan, instances};
use super::sample::Sample;
use super::served::{Facts, Loaded, ModelLimits, Served, Unloading};
use super::source::Source;
use super::start::{Resources, start};
use super::threads::{DetachedLimit, Hanging, within};
use super::trial::{Subject, Trial, TriedModel};
use super::verdict::{Verdict, agrees};
use super::verdicts::{VerdictFile, VerdictKey, Verdicts};
use crate::engine::probe::{Findings, Threat, concerns};
use crate::engine::{Artifact, Device, LoadOptions, Model};
use crate::inference::Batching;
use crate::scheduler::{OnDifference, Scheduler};
use crate::telemetry::TrialOutcome;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Loads versions; what that takes is the same for all.
pub(super) struct VersionLoader {
    pub(super) parts: RepositoryParts,
    verdicts: Verdicts,
    pub(super) loaded: Loaded,
    /// How many are being loaded here.
    loading: DetachedLimit,
    /// Those that hang.
    hanging: Hanging,
    /// How those ended whose two files are still to be told apart.
    contests: Contests,
    /// Held during a trial: there is one child process, and memory for one more model at a time.
    trying: Mutex<()>,
}

/// Hears how far a load has come.
pub(super) trait LoadWatcher {
    /// The digest of the file is known, and nothing was tried yet.
    ///
    /// # Errors
    ///
    /// Why it shall not be.
    fn file_is_known(&self, digest: &str) -> Result<(), ModelFailure>;

    /// The model is loaded; its instances start.
    fn warms_up(&self);
}

impl VersionLoader {
    pub(super) fn new(parts: RepositoryParts) -> Self {
        Self {
            verdicts: Verdicts::new(parts.options.state_dir.as_deref()),
            parts,
            loaded: Loaded::default(),
            loading: DetachedLimit::default(),
            hanging: Hanging::default(),
            contests: Contests::default(),
            trying: Mutex::new(()),
        }
    }

    /// Loads one version and warms it up. `watcher` hears of the steps on the way.
    pub(super) fn load(
        &self,
        folder: &ModelFolder,
        source: &Source,
        file: &VersionFolder,
        watcher: &dyn LoadWatcher,
    ) -> Result<Served, ModelFailure> {
        let started_at = Instant::now();
        let devices = self.parts.loader.devices();
        let read = |file| Candidate::read(folder, source, file, &self.parts.options, &devices);
        let package = file.with_package();
        let served = read(file).and_then(|candidate| {
            watcher.file_is_known(&candidate.fingerprint.digest)?;
            let tried = self.try_and_load(&candidate)?;
            let Some(package) = &package else {
                watcher.warms_up();
                return self.serve(&candidate, tried, started_at);
            };
            let fingerprint = candidate.fingerprint.clone();
            let package = read(package).and_then(|candidate| {
                let tried = self.try_and_load(&candidate)?;
                Ok(Contestant { candidate, tried })
            });
            let (chosen, why) =
                choose(Contestant { candidate, tried }, package, &self.parts, &self.contests);
            watcher.warms_up();
            let mut served = self.serve(&chosen.candidate, chosen.tried, started_at)?;
            served.facts.notes.push(folder.without_path(&why));
            // Whichever serves, the version is known by the one file, and a package counts as what lies beside it.
            served.facts.digest.clone_from(&fingerprint.digest);
            Ok(Served { fingerprint, ..served })
        });
        served.map_err(|failure| failure.reworded(|details| folder.without_path(details)))
    }

    /// Loads the model as an earlier trial, or a new one, says.
    fn try_and_load(&self, candidate: &Candidate<'_>) -> Result<TriedModel, ModelFailure> {
        // Before anything of it is loaded, in whatever process.
        native::admit(candidate)?;
        // Before any trial, and not kept as a verdict: looking is cheaper than remembering.
        if let Some(kind) =
            self.parts.loader.other_kind(&candidate.artifact()).map_err(unreadable)?
        {
            return Err(ModelFailure::new(FailureCode::NotAModel, kind));
        }
        let key = self.verdict_key(candidate);
        let verdict = self.verdicts.file(&key);
        let findings = match self.verdicts.get(&key) {
            Some(known) => {
                self.parts.metrics.record_trial(TrialOutcome::Known);
                known.into_findings()?
            }
            None => self.try_out(candidate, &verdict)?,
        };
        let model = self.load_here(candidate, &findings)?;
        // A verdict is a file: what it says of the model is held against the model.
        let Err(difference) = agrees(&findings, &*model) else {
            return Ok(TriedModel { findings, model, verdict });
        };
        tracing::warn!(
            model.name = %candidate.name,
            "the verdict on it is not of this model and is ignored: {difference}"
        );
        drop(model);
        let findings = self.try_out(candidate, &verdict)?;
        let model = self.load_here(candidate, &findings)?;
        Ok(TriedModel { findings, model, verdict })
    }

    fn verdict_key<'a>(&'a self, candidate: &'a Candidate<'_>) -> VerdictKey<'a> {
        VerdictKey {
            model_digest: &candidate.fingerprint.digest,
            source_digest: &candidate.source.digest,
            libtorch: &self.parts.options.libtorch,
            libraries: &self.parts.options.libraries,
            device: candidate.settings.device,
            max_batch_size: candidate.settings.max_batch_size,
            trusted: candidate.is_trusted,
            may_be_isolated: candidate.isolation != Isolation::None,
            optimize: candidate.settings.optimize,
        }
    }

    /// What a trial finds, kept as a verdict.
    fn try_out(
        &self,
        candidate: &Candidate<'_>,
        verdict: &VerdictFile,
    ) -> Result<Findings, ModelFailure> {
        if let Some(damage) =
            self.parts.trial_loader.damage(&candidate.artifact()).map_err(unreadable)?
        {
            return Err(ModelFailure::new(FailureCode::Damaged, damage));
        }
        let trying = self.trying.lock().unwrap_or_else(PoisonError::into_inner);
        let Candidate { name, source, settings, steps, .. } = candidate;
        let sample = source.sample.as_deref();
        let subject = Subject {
            name,
            artifact: Artifact { is_trusted: candidate.is_trusted, ..candidate.artifact() },
            options: candidate.plain(),
            digest: &candidate.fingerprint.digest,
            trusted: candidate.is_trusted,
            may_be_isolated: candidate.isolation != Isolation::None,
            manifest: &source.manifest,
            sample: sample.map(|text| Sample { text, decode: &self.parts.decode_sample, steps }),
            max_batch_size: settings.max_batch_size,
            batch_size_is_chosen: settings.batch_size_is_chosen,
            form: settings.form_options(source, self.parts.options.trial_timeout),
            timeout: self.parts.options.trial_timeout,
        };
        let trial = Trial::run(&*self.parts.trial_loader, &subject);
        drop(trying);
        self.parts.metrics.record_trial(trial.outcome);
        // What was tried may be another file than the one whose digest was taken.
        candidate.check_unchanged("tried")?;
        if trial.is_fact {
            verdict.put(&trial.verdict);
        }
        trial.verdict.into_findings()
    }

    /// Loads the model in the form that its trial found best.
    fn load_here(
        &self,
        candidate: &Candidate<'_>,
        findings: &Findings,
    ) -> Result<Box<dyn Model>, ModelFailure> {
        let options = LoadOptions {
            form: findings.form.chosen,
            outputs: findings.outputs.iter().map(|spec| spec.datatype).collect(),
            runs: instances(
                &candidate.settings.overridden(&self.parts.options.overrides),
                &candidate.defaults,
                findings.batching,
            ),
            ..candidate.plain()
        };
        self.has_room_for(candidate)?;
        // No file is loaded here that no trial has seen.
        candidate.check_unchanged("tried")?;
        let why_apart = candidate.isolated_since(findings);
        let model = self.load_in_time(candidate, options, why_apart.is_some())?;
        // Once more, and not by what a verdict says: it is a file, and somebody may have written it.
        let mut concerns = concerns(model.signature());
        concerns.retain(|it| !(why_apart.is_some() && it.threat == Threat::Process));
        if let [concern, ..] = concerns[..]
            && !candidate.is_trusted
        {
            let name = concern.name;
            let reason = format!("the file uses {name}, and the verdict on it did not say so");
            return Err(ModelFailure::new(FailureCode::Refused, reason));
        }
        candidate.check_unchanged("loaded")?;
        Ok(model)
    }

    /// Whether the memory suffices for one more version beside those that are loaded. Its weights take about what its file
    /// does.
    fn has_room_for(&self, candidate: &Candidate<'_>) -> Result<(), ModelFailure> {
        if candidate.settings.device != Device::Cpu {
            return Ok(());
        }
        let needed = candidate.fingerprint.size;
        let free = self.parts.options.free_memory.bytes();
        if free.is_none_or(|free| needed <= free) {
            return Ok(());
        }
        let text = format!(
            "it takes about {needed} bytes beside what the server and the processes of its models take, and {} are free (limits.memory_bytes)",
            free.unwrap_or_default()
        );
        Err(ModelFailure::new(FailureCode::OutOfMemory, text))
    }

    /// Loads the model, which took no longer than a trial may in its trial. One that does here is left to itself: its code
    /// may never end, and others wait.
    fn load_in_time(
        &self,
        candidate: &Candidate<'_>,
        options: LoadOptions,
        apart: bool,
    ) -> Result<Box<dyn Model>, ModelFailure> {
        let hanging = || {
            let text = "too many models are being loaded, or hang while they are";
            ModelFailure::new(FailureCode::TimedOut, text)
        };
        let permit = self.loading.take().ok_or_else(hanging)?;
        let (attempt, itself) = self.hanging.begin(&candidate.fingerprint.digest).ok_or_else(|| {
            let text = "loading this file hung before and still does; another file is tried, and this one after a restart";
            ModelFailure::new(FailureCode::TimedOut, text)
        })?;
        let loader =
            Arc::clone(if apart { &self.parts.isolated_loader } else { &self.parts.loader });
        let artifact = Artifact { is_trusted: candidate.is_trusted, ..candidate.artifact() };
        let load = move || {
            let _permit = permit;
            let loaded = loader.load(&artifact, &options);
            itself.end();
            loaded
        };
        let time = self.parts.options.trial_timeout;
        let loaded = within(time, load).map_err(|error| {
            ModelFailure::new(FailureCode::Other, format!("cannot start a thread: {error}"))
        })?;
        loaded
            .ok_or_else(|| {
                attempt.give_up();
                let seconds = time.as_secs_f64();
                let text =
                    format!("loading it took longer than {seconds} s, which its trial did not");
                ModelFailure::new(FailureCode::TimedOut, text)
            })?
            .map_err(ModelFailure::from)
    }

    /// Starts what was tried, and makes a version of it.
    fn serve(
        &self,
        candidate: &Candidate<'_>,
        TriedModel { findings, model, verdict }: TriedModel,
        started_at: Instant,
    ) -> Result<Served, ModelFailure> {
        let settings = candidate.settings.overridden(&self.parts.options.overrides);
        let plan = ServingPlan::new(&PlanInputs {
            candidate,
            settings: &settings,
            defaults: &candidate.defaults,
            findings: &findings,
            trial_timeout: self.parts.options.trial_timeout,
            signature: model.signature(),
            is_isolated: model.is_isolated(),
            decode_sample: &self.parts.decode_sample,
            on_difference: remember(findings.clone(), verdict),
        })?;
        let memory = model.memory();
        let of_file: Vec<_> = native::notes(model.signature()).collect();
        let version = candidate.file.version;
        let metrics = self.parts.metrics.model(candidate.name.as_str(), &version.to_string());
        metrics.set_memory(memory);
        metrics.set_batching(plan.spec.batching.as_str());
        let resources = Resources {
            model: Arc::from(model),
            permits: (settings.device == Device::Cpu).then(|| self.parts.permits.source()),
            metrics,
        };
        let scheduler = start(&plan, &resources)?;
        let load_duration = started_at.elapsed();
        let isolated_since = candidate.isolated_since(&findings);
        resources.metrics.set_load_duration(load_duration);
        Ok(Served {
            name: candidate.name.clone(),
            version,
            engine_spec: plan.spec,
            transform: plan.transform,
            metrics: resources.metrics,
            limits: ModelLimits {
                max_body_bytes: settings.max_body_bytes,
                timeout: settings.timeout,
            },
            sample: candidate.source.sample.clone(),
            fingerprint: candidate.fingerprint.clone(),
            source_digest: candidate.source.digest.clone(),
            beside: candidate.beside.clone(),
            defaults: candidate.defaults.clone(),
            facts: Facts {
                description: candidate.source.manifest.description.clone(),
                device: settings.device,
                memory,
                format: candidate.format,
                digest: candidate.fingerprint.digest.clone(),
                file_bytes: candidate.fingerprint.size,
                labels: candidate.source.labels.clone().unwrap_or_default(),
                evaluation: candidate.source.manifest.evaluation.clone(),
                batch_size: plan.batch_size,
                max_queue_delay: settings.max_queue_delay,
                queue_capacity: settings.queue_capacity,
                max_queue_wait: settings.max_queue_wait,
                padding: plan.padding,
                padding_wanted: !candidate.source.manifest.pads.is_empty(),
                shape_source: findings.shape_source,
                times: findings.times,
                curve: findings.curve,
                precision: settings.precision,
                form: findings.form,
                grounds: findings.grounds,
                is_isolated: isolated_since.is_some(),
                notes: findings
                    .notes
                    .into_iter()
                    .chain(
                        isolated_since.map(|why| format!("it runs in a process of its own: {why}")),
                    )
                    .chain(of_file)
                    .chain(cold_shapes(&scheduler))
                    .collect(),
                load_duration,
            },
            permits: self.parts.permits.source(),
            scheduler: Unloading::new(scheduler, &self.loaded),
        })
    }
}

fn unreadable(error: io::Error) -> ModelFailure {
    format!("the model file cannot be read: {error}").into()
}

/// Has the next start know what answers have shown: that requests may not share runs.
fn remember(found: Findings, verdict: VerdictFile) -> Arc<OnDifference> {
    Arc::new(move |text: &str| {
        let (batching, grounds) = (Batching::Refuted, Some(text.to_owned()));
        verdict.put(&Verdict::Passed(Box::new(Findings { batching, grounds, ..found.clone() })));
    })
}

fn cold_shapes(scheduler: &Scheduler) -> Option<String> {
    let (n_shapes, warmed) = scheduler.cold_shapes()?;
    Some(format!("{warmed} of {n_shapes} further shapes were warmed up in the time for that"))
}

impl std::fmt::Debug for VersionLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionLoader")
            .field("options", &self.parts.options)
            .finish_non_exhaustive()
    }
}
