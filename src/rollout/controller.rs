//! Leads roll-outs: counts what both versions do, asks the policy once a second, and has the repository move them.

use super::figures::Figures;
use super::meter::{Meter, Metering};
use super::policy::{Move, Progress, RolloutDecision, Stage, decide};
use super::power::{Sample, Smallest, smallest};
use super::rules::{Evidence, LabelCounts};
use super::shadow::{Shadow, ShadowTarget, Tally};
use crate::inference::{ModelName, Version};
use crate::pipeline::Observer;
use crate::repository::manifest::{RolloutPlan, Strategy};
use crate::repository::{ModelHandle, Repository, RepositoryError, Rollout};
use crate::telemetry::events::EventKind;
use crate::telemetry::{Collect, Samples, families};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often roll-outs are looked at.
const TICK: Duration = Duration::from_secs(1);

/// What is counted of one roll-out on one step.
#[derive(Debug)]
struct Counted {
    stable: Version,
    candidate: ModelHandle,
    step: usize,
    weight: f64,
    of_stable: Arc<Meter>,
    of_candidate: Arc<Meter>,
    shadow: Option<(f64, Arc<Tally>)>,
    /// Labels that had come back before, of both.
    labels_before: [LabelCounts; 2],
}

impl Counted {
    fn new(rollout: &Rollout, labels_before: [LabelCounts; 2]) -> Self {
        let is_shadow = rollout.plan.strategy == Strategy::Shadow;
        Self {
            stable: rollout.stable.version(),
            candidate: rollout.candidate.clone(),
            step: rollout.step,
            weight: rollout.weight,
            of_stable: Arc::default(),
            of_candidate: Arc::default(),
            shadow: is_shadow.then(|| (rollout.share(), Arc::default())),
            labels_before,
        }
    }

    /// Whether it is about the step that the roll-out is on, and about the loads of its versions.
    fn is_of(&self, rollout: &Rollout) -> bool {
        self.stable == rollout.stable.version()
            && self.step == rollout.step
            && self.weight.total_cmp(&rollout.weight).is_eq()
            && self.candidate.is_same_load(&rollout.candidate)
    }

    fn evidence(&self, labels: [LabelCounts; 2]) -> Evidence {
        let [stable, candidate] = labels;
        let [stable_before, candidate_before] = self.labels_before;
        let labels = [stable.since(stable_before), candidate.since(candidate_before)];
        match &self.shadow {
            Some((_, tally)) => Evidence {
                stable: tally.live(),
                candidate: tally.candidate(),
                comparison: Some(tally.agreement()),
                labels,
            },
            None => Evidence {
                stable: self.of_stable.figures(),
                candidate: self.of_candidate.figures(),
                comparison: None,
                labels,
            },
        }
    }
}

/// What is known of a roll-out.
#[derive(Debug, Clone)]
pub struct Report {
    /// The roll-out as it is now.
    pub rollout: Rollout,
    /// What was counted on this step.
    pub evidence: Evidence,
    /// Copies that found no room.
    pub dropped: u64,
    /// How long the step has lasted.
    pub on_step: Duration,
    /// What was decided last, in words.
    pub decision: String,
    /// What so many requests show.
    pub power: Smallest,
}

/// Where one roll-out stands.
#[derive(Debug)]
struct Standing {
    counted: Arc<Counted>,
    progress: Progress,
    decision: String,
    advised: Option<Move>,
}

/// What a roll-out is to do, and why.
struct Due {
    rollout: Rollout,
    next: Move,
    evidence: Evidence,
}

type Standings = BTreeMap<ModelName, Standing>;

/// See the file's head. Clones share everything.
#[derive(Clone)]
pub struct Rollouts(Arc<Inner>);

struct Inner {
    repository: Repository,
    /// What requests count in, without a lock.
    counted: ArcSwap<BTreeMap<ModelName, Arc<Counted>>>,
    standings: Mutex<Standings>,
    /// Says how many labels have come back for a version's answers.
    labels: Box<LabelSource>,
}

type LabelSource = dyn Fn(&ModelName, Version) -> LabelCounts + Send + Sync;

impl fmt::Debug for Rollouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollouts").finish_non_exhaustive()
    }
}

impl Rollouts {
    /// Leads those of this repository, once started, where no labels come back.
    #[must_use]
    pub fn new(repository: Repository) -> Self {
        Self::with_labels(repository, |_, _| LabelCounts::default())
    }

    /// The same by labels, too: how many have come back for a version's answers since it was first loaded. Asked once a second.
    #[must_use]
    pub fn with_labels(
        repository: Repository,
        labels: impl Fn(&ModelName, Version) -> LabelCounts + Send + Sync + 'static,
    ) -> Self {
        let (counted, standings) = (ArcSwap::default(), Mutex::default());
        Self(Arc::new(Inner { repository, counted, standings, labels: Box::new(labels) }))
    }

    /// What has to look at requests for it. Starts the thread that runs copies.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn observers(&self) -> io::Result<Vec<Arc<dyn Observer>>> {
        let inner = Arc::clone(&self.0);
        let metering = Metering::new(move |model| inner.meter(model));
        let inner = Arc::clone(&self.0);
        let shadow = Shadow::spawn(move |model| inner.shadow(model))?;
        Ok(vec![Arc::new(metering), Arc::new(shadow)])
    }

    /// Starts the thread that decides; it ends with the last clone.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(&self) -> io::Result<()> {
        let inner = Arc::downgrade(&self.0);
        let lead = move || {
            while let Some(inner) = Weak::upgrade(&inner) {
                for due in inner.tick(Instant::now()) {
                    Inner::carry_out_elsewhere(&inner, due);
                }
                drop(inner);
                std::thread::sleep(TICK);
            }
        };
        std::thread::Builder::new().name("rollouts".into()).spawn(lead).map(drop)
    }

    /// Looks at every roll-out now, and does what is due. Blocks.
    pub fn look(&self) {
        for due in self.0.tick(Instant::now()) {
            self.0.carry_out(&due);
        }
    }

    /// What is known of the roll-out of a model, if one is under way.
    #[must_use]
    pub fn report(&self, name: &ModelName) -> Option<Report> {
        let rollout = self.0.repository.rollout(name)?;
        let standings = self.0.lock();
        let standing = standings.get(name).filter(|it| it.counted.is_of(&rollout));
        let labels = self.0.labels(&rollout);
        let evidence = standing.map(|it| it.counted.evidence(labels)).unwrap_or_default();
        let dropped = standing
            .and_then(|it| it.counted.shadow.as_ref())
            .map_or(0, |(_, tally)| tally.dropped());
        Some(Report {
            power: power(&rollout, &evidence),
            on_step: standing.map(|it| it.progress.since.elapsed()).unwrap_or_default(),
            decision: standing.map_or_else(|| "begins".into(), |it| it.decision.clone()),
            rollout,
            evidence,
            dropped,
        })
    }
}

/// What the step is going to have shown when it is over, by what came so far.
fn power(rollout: &Rollout, evidence: &Evidence) -> Smallest {
    let sample = Sample {
        candidate: evidence.candidate.requests,
        stable: evidence.stable.requests,
        compared: evidence.comparison.as_ref().map_or(0, |it| it.rows),
    };
    smallest(&rollout.plan, &evidence.stable, sample)
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Standings> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the old version, and of the new one.
    fn labels(&self, rollout: &Rollout) -> [LabelCounts; 2] {
        let of = |handle: &ModelHandle| (self.labels)(rollout.model(), handle.version());
        [of(&rollout.stable), of(&rollout.candidate)]
    }

    /// Where a request of this version is counted. Asked for each: without a roll-out it costs a look.
    fn meter(&self, model: &ModelHandle) -> Option<Arc<Meter>> {
        let counted = self.counted.load();
        if counted.is_empty() {
            return None;
        }
        let counted = counted.get(model.name())?;
        if model.version() == counted.stable {
            Some(Arc::clone(&counted.of_stable))
        } else {
            let is_candidate = model.version() == counted.candidate.version();
            is_candidate.then(|| Arc::clone(&counted.of_candidate))
        }
    }

    fn shadow(&self, model: &ModelHandle) -> Option<ShadowTarget> {
        let counted = self.counted.load();
        if counted.is_empty() {
            return None;
        }
        let counted = counted.get(model.name()).filter(|it| it.stable == model.version())?;
        let (share, tally) = counted.shadow.as_ref()?;
        let (candidate, tally) = (counted.candidate.clone(), Arc::clone(tally));
        Some(ShadowTarget { candidate, share: *share, tally })
    }

    /// Looks at every roll-out; what is to be done.
    fn tick(&self, now: Instant) -> Vec<Due> {
        self.repository.end_broken_rollouts();
        self.repository.replace_given_up();
        let rollouts = self.repository.rollouts();
        let mut due = Vec::new();
        let mut standings = self.lock();
        let is_under_way = |name: &ModelName| rollouts.iter().any(|it| it.model() == name);
        standings.retain(|name, _| is_under_way(name));
        for rollout in rollouts {
            let name = rollout.model().clone();
            let known = standings.remove(&name).filter(|it| it.counted.is_of(&rollout));
            let labels = self.labels(&rollout);
            let mut standing = known.unwrap_or_else(|| Standing {
                counted: Arc::new(Counted::new(&rollout, labels)),
                progress: Progress::at(Stage::Step(rollout.step), now),
                decision: String::new(),
                advised: None,
            });
            let evidence = standing.counted.evidence(labels);
            let judged = decide(&rollout.plan, &standing.progress, &evidence, now);
            match judged.decision {
                RolloutDecision::Wait(waiting) => {
                    standing.progress = judged.progress;
                    standing.decision = waiting.to_string();
                }
                RolloutDecision::Advise(next) => {
                    standing.progress = judged.progress;
                    standing.decision = format!("advises to {next}");
                    // Told once, and again when it is another advice.
                    if !is_same(standing.advised.replace(next), next) {
                        let text = format!("the rules advise to {next}");
                        tracing::warn!(model.name = %name, "{text}");
                        let version = rollout.candidate.version();
                        self.repository.tell(EventKind::RolloutAdvice, &name, version, &text);
                    }
                }
                RolloutDecision::Act(next) => {
                    standing.decision = next.to_string();
                    due.push(Due { rollout: rollout.clone(), next, evidence });
                }
            }
            standings.insert(name, standing);
        }
        let counted = standings.iter().map(|(name, it)| (name.clone(), Arc::clone(&it.counted)));
        let counted: BTreeMap<_, _> = counted.collect();
        drop(standings);
        self.counted.store(Arc::new(counted));
        due
    }

    /// On a thread of its own: what it loads may take minutes, and other roll-outs must not wait for it.
    fn carry_out_elsewhere(inner: &Arc<Self>, due: Due) {
        let shared = Arc::clone(inner);
        let name = due.rollout.model().clone();
        // Whoever is crowded out is due again at the next look.
        if let Err(error) = inner.repository.detached(move |_| shared.carry_out(&due)) {
            tracing::warn!(model.name = %name, %error, "the roll-out cannot be moved now");
        }
    }

    /// What was decided is decided again at the next look, where it could not be done.
    fn carry_out(&self, due: &Due) {
        let Due { rollout, next, evidence } = due;
        let (name, candidate) = (rollout.model(), rollout.candidate.version());
        let requests = evidence.candidate.requests;
        let done = match *next {
            Move::NextStep { step, .. } => self.repository.advance_rollout(name, candidate, step),
            Move::Promote => {
                let shown = power(rollout, evidence);
                let reason = format!("nothing spoke against it on the last step: {shown}");
                self.repository.promote(name, Some(candidate), &reason)
            }
            Move::RollBack(reason) => {
                let reason = format!("{reason}, after {requests} requests");
                self.repository.roll_back(name, Some(candidate), &reason)
            }
        };
        match done {
            // Somebody else is changing the model.
            // Or has ended it.
            Ok(())
            | Err(
                RepositoryError::Busy(_)
                | RepositoryError::Draining
                | RepositoryError::NoRollout(_),
            ) => {}
            Err(error) => {
                tracing::error!(model.name = %name, %error, "the roll-out could not be moved: {next}");
            }
        }
    }
}

/// Whether two advices are the same but for their figures.
fn is_same(before: Option<Move>, next: Move) -> bool {
    before.is_some_and(|before| std::mem::discriminant(&before) == std::mem::discriminant(&next))
}

impl Collect for Rollouts {
    fn collect(&self, samples: &mut Samples) {
        for (name, standing) in self.0.lock().iter() {
            let Counted { candidate, weight, shadow, .. } = &*standing.counted;
            let version = candidate.version().to_string();
            let labels = [name.as_str(), &*version];
            samples.number(&families::ROLLOUT_WEIGHT, &labels, *weight);
            let Some((_, tally)) = shadow else { continue };
            let agreement = tally.agreement();
            samples.number(&families::SHADOW_COMPARED, &labels, agreement.compared as f64);
            samples.number(&families::SHADOW_FLIPS, &labels, agreement.flips);
            samples.number(&families::SHADOW_DROPPED, &labels, tally.dropped() as f64);
        }
    }
}

/// The plan of a roll-out, in a sentence for people.
#[must_use]
pub fn describe(plan: &RolloutPlan) -> String {
    let steps = plan.steps.iter().map(|step| {
        let percent = (step.weight * 1e4).round() / 1e2;
        format!("{percent} % for {} s", step.lasts.as_secs())
    });
    steps.collect::<Vec<_>>().join(", ")
}

/// Requests and their failures of a version on a step.
#[must_use]
pub fn error_rate(figures: &Figures) -> f64 {
    if figures.requests == 0 { 0.0 } else { figures.errors as f64 / figures.requests as f64 }
}
