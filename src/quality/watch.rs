//! The versions that have a reference: counted at the door, and looked at once a minute.

use super::counts::{Counters, Shard, of_this_processor};
use super::feedback::Feedback;
use super::reference::{FEW_ROWS, FILE, Feature, MAX_BYTES, MAX_FEATURES, Of, Reference, first_of};
use super::series::Series;
use super::watched::{DriftReport, Watched};
use crate::inference::{InferResponse, ModelName, TensorSpec, ValidRequest, Version};
use crate::pipeline::{Caller, Observer, Tap};
use crate::repository::{ModelHandle, Verifier, read_plain};
use crate::telemetry::events::{EventKind, Events, Subject};
use crate::tensor::Dim;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Changes of one look that are told one by one.
const MAX_TOLD: usize = 5;
/// How often windows are looked at.
const TICK: Duration = Duration::from_secs(60);

/// A version, for as long as it is there.
#[derive(Debug, Clone)]
struct Known {
    version: Version,
    watched: Weak<Watched>,
    shards: Arc<[Weak<Shard>]>,
}

type Models = BTreeMap<ModelName, Vec<Known>>;

/// Everything that is watched. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Quality(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// What requests are counted in, without a lock.
    models: ArcSwap<Models>,
    /// Held by who changes it.
    changing: Mutex<()>,
}

impl Quality {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the thread that looks at windows and at what labels need; it ends with the last clone.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(&self, events: Events, feedback: Feedback) -> io::Result<()> {
        let inner = Arc::downgrade(&self.0);
        let look = move || {
            while let Some(inner) = inner.upgrade() {
                inner.look(&events, Instant::now());
                feedback.look(Instant::now());
                drop(inner);
                std::thread::sleep(TICK);
            }
        };
        std::thread::Builder::new().name("quality".into()).spawn(look).map(drop)
    }

    /// Who counts requests at the door.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    /// How a version stands; `None` for one without a reference.
    #[must_use]
    pub fn report(&self, model: &ModelHandle) -> Option<DriftReport> {
        let watched = self.0.watched(model.name(), model.version())?;
        Some(watched.report(model.version(), Instant::now()))
    }

    /// Has a version counted beside this reference.
    ///
    /// # Errors
    ///
    /// It is not about this version.
    fn watch(&self, model: &ModelHandle, reference: Reference) -> Result<(), String> {
        let inputs = &model.engine_spec().inputs;
        for feature in &reference.features {
            let input = inputs.iter().find(|input| *input.name == *feature.input);
            let width = input.and_then(width);
            if let (Of::Element(element), Some(width)) = (feature.of, width)
                && element >= width
            {
                let Feature { name, input, .. } = feature;
                return Err(format!(
                    "feature {name:?}: it is number {element} of a row of input {input:?}, which has {width}"
                ));
            }
        }
        let place = |name: &str| inputs.iter().position(|input| &*input.name == name);
        let series = model.metrics().series::<Series>();
        let known = series.0.load_full().filter(|known| known.reference == reference);
        let watched = match known {
            // The same file loaded anew goes on counting.
            Some(known) => known,
            None => {
                let counters = Counters::new(&reference, place)?;
                Arc::new(Watched::new(reference, counters))
            }
        };
        self.0.put(model, &watched);
        series.0.store(Some(watched));
        Ok(())
    }
}

impl Inner {
    fn watched(&self, name: &ModelName, version: Version) -> Option<Arc<Watched>> {
        let models = self.models.load();
        let known = models.get(name)?.iter().find(|it| it.version == version)?;
        known.watched.upgrade()
    }

    /// Where a request is counted. Nothing here is shared with other processors, and written to, on each request.
    fn shard(&self, name: &ModelName, version: Version) -> Option<Arc<Shard>> {
        let models = self.models.load();
        if models.is_empty() {
            return None;
        }
        let known = models.get(name)?.iter().find(|it| it.version == version)?;
        of_this_processor(&known.shards)?.upgrade()
    }

    fn put(&self, model: &ModelHandle, watched: &Arc<Watched>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let version = model.version();
        let mut models = Models::clone(&self.models.load());
        models.entry(model.name().clone()).or_default().retain(|it| it.version != version);
        models.entry(model.name().clone()).or_default().push(Known {
            version,
            watched: Arc::downgrade(watched),
            shards: watched.counters.shards().into(),
        });
        models.values_mut().for_each(|it| it.retain(|it| it.watched.strong_count() > 0));
        models.retain(|_, versions| !versions.is_empty());
        self.models.store(Arc::new(models));
    }

    /// Keeps snapshots, and says what has begun and what is over.
    fn look(&self, events: &Events, now: Instant) {
        let models = self.models.load_full();
        let versions = models.iter().flat_map(|(name, it)| it.iter().map(move |it| (name, it)));
        for (name, Known { version, watched, .. }) in versions {
            let Some(watched) = watched.upgrade() else { continue };
            let changes = watched.look(now);
            for has_begun in [true, false] {
                let texts: Vec<_> = changes
                    .iter()
                    .filter(|it| it.2 == has_begun)
                    .map(|(feature, trouble, _, text)| {
                        format!("feature {feature:?}, {}: {text}", trouble.as_str())
                    })
                    .collect();
                for text in told(&texts) {
                    let kind = if has_begun {
                        tracing::warn!(model.name = %name, model.version = version.0, "drift: {text}");
                        EventKind::DriftFound
                    } else {
                        tracing::info!(model.name = %name, model.version = version.0, "drift ended: {text}");
                        EventKind::DriftEnded
                    };
                    let subject = Subject { model: Some(name.as_str()), version: Some(version.0) };
                    events.add(kind, subject, text);
                }
            }
        }
    }
}

/// What is told of a look: each change, or of many the first, the last and how many others there were. Events are few, and those of
/// other things must stay.
fn told(texts: &[String]) -> Vec<String> {
    match texts {
        [first, .., last] if texts.len() > MAX_TOLD => {
            let more = texts.len() - 2;
            vec![format!("{first}; {more} others, and {last}")]
        }
        few => few.to_vec(),
    }
}

impl Observer for Quality {
    fn begin(&self, model: &ModelHandle, _: &Caller, _: bool) -> Option<Box<dyn Tap>> {
        let shard = self.0.shard(model.name(), model.version())?;
        Some(Box::new(Counting(shard)))
    }
}

struct Counting(Arc<Shard>);

impl Tap for Counting {
    fn checked(&mut self, request: &ValidRequest) {
        self.0.count(request.inputs(), request.n_rows());
    }

    fn inferred(&mut self, response: &InferResponse) {
        for best in response.rankings().into_iter().flat_map(|it| &it.rows) {
            if let Some((label, score)) = best.first() {
                // The first label of scores that are none says nothing.
                let label = if score.is_nan() { "" } else { &**label };
                self.0.count_label(label, *score);
            }
        }
    }
}

impl Verifier for Quality {
    /// Reads the reference of the version, or of its model, if there is one.
    fn verify(&self, candidate: &ModelHandle, folder: &Path) -> Result<(), String> {
        let shown = |fault: String| format!("{FILE}: {fault}");
        let found = find(folder, candidate.version()).map_err(|error| shown(error.to_string()))?;
        let Some((text, is_of_version)) = found else {
            let labels = &candidate.facts().labels;
            if labels.is_empty() {
                candidate.metrics().series::<Series>().0.store(None);
                return Ok(());
            }
            let answers = Reference::of_labels(labels.iter().map(AsRef::as_ref));
            return self.watch(candidate, answers);
        };
        let mut reference = Reference::parse(&text).map_err(shown)?;
        if reference.rows < FEW_ROWS {
            tracing::info!(
                model.name = %candidate.name(),
                model.version = candidate.version().0,
                "{FILE} has {} rows: with fewer than {FEW_ROWS} small changes are not seen",
                reference.rows
            );
        }
        if reference.features.len() > MAX_FEATURES {
            let n = reference.features.len();
            return Err(shown(format!("{n} features, expected at most {MAX_FEATURES}")));
        }
        let labels = &candidate.facts().labels;
        let is_known = |label: &str| labels.is_empty() || labels.iter().any(|it| **it == *label);
        if let Some(stranger) = reference.labels.keys().find(|label| !is_known(label)) {
            let known = first_of(labels);
            return Err(shown(format!(
                "labels: the model has no label {stranger:?}, expected {known}"
            )));
        }
        if reference.labels.is_empty() {
            // Labels are counted without any to compare them with.
            reference.labels = Reference::of_labels(labels.iter().map(AsRef::as_ref)).labels;
        }
        let digest = &candidate.facts().digest;
        if is_of_version && reference.model_sha256 != *digest {
            let other = &reference.model_sha256;
            let text =
                format!("it is of a model file with the SHA-256 {other}, this one has {digest}");
            return Err(shown(text));
        }
        self.watch(candidate, reference).map_err(shown)
    }
}

/// How many numbers a row of an input has, where that is declared.
fn width(input: &TensorSpec) -> Option<usize> {
    let dims = input.shape.dims().filter(|_| input.declared)?.get(1..)?;
    dims.iter().try_fold(1_usize, |width, dim| match dim {
        Dim::Fixed(size) => width.checked_mul(*size),
        _ => None,
    })
}

/// The text of the reference beside the version, or of that beside its model, and whether it is the former.
fn find(folder: &Path, version: Version) -> io::Result<Option<(String, bool)>> {
    if let Some(text) = read_plain(&folder.join(FILE), MAX_BYTES)? {
        return Ok(Some((text, true)));
    }
    // A model without version folders has only the one place.
    let is_version = folder.file_name().is_some_and(|name| *name == *version.to_string());
    let of_model = folder.parent().filter(|_| is_version).map(|model| model.join(FILE));
    let Some(of_model) = of_model else { return Ok(None) };
    Ok(read_plain(&of_model, MAX_BYTES)?.map(|text| (text, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_changes_the_first_and_the_last_are_told_and_the_others_counted() {
        let texts: Vec<_> = (0..30).map(|n| format!("feature {n}")).collect();
        assert_eq!(told(&texts[..MAX_TOLD]), texts[..MAX_TOLD]);
        assert_eq!(told(&texts), ["feature 0; 28 others, and feature 29"]);
        assert!(told(&[]).is_empty());
    }
}
