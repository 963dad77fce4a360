//! The versions whose answers can have labels, and what has come back for them.

use super::answers::{about, answers, told};
use super::keys::{self, Keys};
use super::known::{Alive, Known, lock};
use super::label::{AnswerRef, Label, LabelOutcome, Receipt};
use super::report::QualityReport;
use super::seen::Seen;
use super::tally::Tally;
use super::token::{Token, subject};
use crate::inference::{ErrorCode, InferError, InferResponse, ModelName, Version};
use crate::repository::{ModelHandle, Verifier, read_plain};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is wrong with items is told of so many.
const MAX_PROBLEMS: usize = 10;
/// How far another replica's clock may be ahead.
const CLOCK_SKEW: u64 = 300;
/// Versions of a model whose labels still count after they are gone.
const MAX_GONE: usize = 2;
/// Models of which no version is loaded any more whose labels still count.
const MAX_GONE_MODELS: usize = 32;

/// How labels are taken.
#[derive(Debug, Clone)]
pub struct FeedbackOptions {
    /// Where the keys are that sign tokens; a random one of this process without it.
    pub keys_file: Option<PathBuf>,
    /// How long after its answer a label is taken.
    pub max_age: Duration,
}

/// Everything about labels that come back. Clones share it.
#[derive(Debug, Clone)]
pub struct Feedback(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: FeedbackOptions,
    keys: ArcSwap<Keys>,
    models: Mutex<BTreeMap<ModelName, Model>>,
    seen: Mutex<Seen>,
    /// For the numbers of tokens: a random start, and how many there were.
    process: u64,
    next: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) outcomes: BTreeMap<LabelOutcome, u64>,
    /// Those that came last are last.
    pub(super) versions: Vec<Arc<Known>>,
}

impl Feedback {
    /// Reads the keys, if there is a file of them.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has no keys.
    pub fn new(options: FeedbackOptions) -> io::Result<Self> {
        let keys = match read_keys(&options)? {
            Some(keys) => keys,
            None => Keys::random()?,
        };
        Ok(Self(Arc::new(Inner {
            options,
            keys: ArcSwap::from_pointee(keys),
            models: Mutex::default(),
            seen: Mutex::default(),
            process: RandomState::new().hash_one(std::process::id()),
            next: AtomicU64::new(0),
        })))
    }

    /// Reads the keys again, and forgets versions that have been gone for so long that no label of theirs is taken.
    pub(in crate::quality) fn look(&self, now: Instant) {
        self.read_keys_again();
        let max_age = self.0.options.max_age;
        let mut models = lock(&self.0.models);
        for model in models.values_mut() {
            model.versions.retain(|it| it.gone_for(now).is_none_or(|gone| gone <= max_age));
        }
        models.retain(|_, model| !model.versions.is_empty());
    }

    /// Those of before stay where that fails, which the log says.
    fn read_keys_again(&self) {
        match read_keys(&self.0.options) {
            Ok(Some(keys)) => self.0.keys.store(Arc::new(keys)),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "the keys of feedback cannot be read, those of before hold");
            }
        }
    }

    /// Has the labels of a version's answers counted, if it gives answers that can have any.
    fn know(&self, model: &ModelHandle) {
        let Some(about) = about(model) else { return };
        let version = model.version();
        let facts = model.facts();
        let subject = subject(model.name().as_str(), version.0, &facts.digest, &facts.labels);
        let alive = model.metrics().series::<Alive>();
        let mut models = lock(&self.0.models);
        let of_model = models.entry(model.name().clone()).or_default();
        let before = of_model.versions.iter().position(|it| it.version == version);
        let before = before.map(|place| of_model.versions.remove(place));
        let known = before.filter(|it| it.about == about);
        let known = known.unwrap_or_else(|| Arc::new(Known::new(version, about)));
        *lock(&known.alive) = Arc::downgrade(&alive);
        known.serve(subject);
        of_model.versions.push(known);
        let mut n_gone = of_model.versions.iter().filter(|it| !it.is_loaded()).count();
        of_model.versions.retain(|it| {
            let goes = n_gone > MAX_GONE && !it.is_loaded();
            n_gone -= usize::from(goes);
            !goes
        });
        forget_models(&mut models);
    }

    /// What a caller may send back with the truth about this answer; `None` where there is nothing to compare with one.
    #[must_use]
    pub fn token(&self, response: &InferResponse) -> Option<String> {
        let known = self.known(&response.model, |it| it.version == response.version)?;
        let answers = answers(&known.about, response)?;
        let subject = lock(&known.subjects).last()?.0;
        let n_rows = answers.n_rows() as u64;
        // Unique among the tokens of this process, and hardly ever that of another's.
        let number = self.0.process.wrapping_add(self.0.next.fetch_add(1, Ordering::Relaxed));
        let [_, _, nonce @ ..] = number.to_be_bytes();
        let time = u32::try_from(seconds()).unwrap_or(u32::MAX);
        let token = Token { time, subject, nonce, answers }.sign(&self.0.keys.load())?;
        known.tokens.fetch_add(n_rows, Ordering::Relaxed);
        Some(token)
    }

    /// Counts labels.
    ///
    /// # Errors
    ///
    /// The model is not known here, or its answers cannot have labels.
    pub fn count(&self, model: &ModelName, labels: &[Label]) -> Result<Receipt, InferError> {
        if !lock(&self.0.models).contains_key(model) {
            let message = format!(
                "answers of model {model:?} have neither labels nor one number a row, so there is nothing to compare a label with"
            );
            return Err(InferError::new(ErrorCode::Unsupported, message).with_model(model));
        }
        let mut receipt = Receipt::default();
        for (place, label) in labels.iter().enumerate() {
            let n_rows = label.actual.iter().flatten().count() as u64;
            let outcome = match self.count_one(model, label) {
                Ok(()) => LabelOutcome::Counted,
                Err((outcome, why)) => {
                    if receipt.problems.len() < MAX_PROBLEMS {
                        receipt.problems.push((place, outcome, why));
                    }
                    outcome
                }
            };
            *receipt.outcomes.entry(outcome).or_default() += n_rows;
        }
        if let Some(model) = lock(&self.0.models).get_mut(model) {
            for (outcome, rows) in &receipt.outcomes {
                *model.outcomes.entry(*outcome).or_default() += rows;
            }
        }
        Ok(receipt)
    }

    fn count_one(&self, model: &ModelName, label: &Label) -> Result<(), (LabelOutcome, String)> {
        let bad_label = |why| (LabelOutcome::BadLabel, why);
        match &label.answer {
            AnswerRef::Token(text) => {
                let (token, code) = Token::read(text, &self.0.keys.load())
                    .map_err(|why| (LabelOutcome::BadToken, why.to_owned()))?;
                let age = self.age(&token)?;
                let is_it =
                    |it: &Known| lock(&it.subjects).iter().any(|(it, _)| *it == token.subject);
                let known = self.known(model, is_it).ok_or_else(|| {
                    let why = "the version that gave this answer is not known here any more, or is another model's";
                    (LabelOutcome::VersionGone, why.to_owned())
                })?;
                let rows = known.about.rows(&token.answers, &label.actual).map_err(bad_label)?;
                if rows.is_empty() && label.actual.iter().any(Option::is_some) {
                    let why = "the answer was no number there, so there is nothing to compare with the truth";
                    return Err(bad_label(why.to_owned()));
                }
                if rows.is_empty() {
                    // Nothing is known yet: it may come later.
                    return Ok(());
                }
                known.refuses(&rows).map_or(Ok(()), |why| Err(bad_label(why)))?;
                // What can be counted is marked as counted; what cannot may come again, mended.
                if !lock(&self.0.seen).is_new(&code) {
                    let why = "the answer has its label already, which cannot be taken back";
                    return Err((LabelOutcome::Duplicate, why.to_owned()));
                }
                known.count(&rows, Some((token.subject, age)));
            }
            AnswerRef::Told { version, predicted, score } => {
                let known = self.known(model, |it| it.version == *version).ok_or_else(|| {
                    (LabelOutcome::VersionGone, format!("version {version} is not known here"))
                })?;
                let answers = told(&known.about, predicted, *score).map_err(bad_label)?;
                let rows = known.about.rows(&answers, &label.actual).map_err(bad_label)?;
                known.refuses(&rows).map_or(Ok(()), |why| Err(bad_label(why)))?;
                known.count(&rows, None);
            }
        }
        Ok(())
    }

    /// Seconds since the answer.
    fn age(&self, token: &Token) -> Result<u64, (LabelOutcome, String)> {
        let now = seconds();
        let answered_at = u64::from(token.time);
        if answered_at > now + CLOCK_SKEW {
            let ahead = answered_at - now;
            let why = format!("the answer was given {ahead} s from now: do the clocks differ?");
            return Err((LabelOutcome::BadToken, why));
        }
        let age = now.saturating_sub(answered_at);
        let max_age = self.0.options.max_age.as_secs();
        if age > max_age {
            let why = format!("the answer is {age} s old, labels are taken for {max_age} s");
            return Err((LabelOutcome::Expired, why));
        }
        Ok(age)
    }

    fn known(&self, model: &ModelName, is_it: impl Fn(&Known) -> bool) -> Option<Arc<Known>> {
        let models = lock(&self.0.models);
        // What came last is most often meant.
        models.get(model)?.versions.iter().rev().find(|it| is_it(it)).cloned()
    }

    /// How many labels have come back for a version's answers, and how many of these were wrong; `None` where answers are numbers.
    #[must_use]
    pub fn labels(&self, model: &ModelName, version: Version) -> Option<[u64; 2]> {
        let known = self.known(model, |it| it.version == version)?;
        match &lock(&known.counted).tally {
            Tally::Classes(tally) => Some([tally.rows(), tally.rows() - tally.correct()]),
            Tally::Numbers(_) => None,
        }
    }

    /// Does something with every model, in the order of the names.
    pub(super) fn each(&self, mut each: impl FnMut(&ModelName, &Model)) {
        lock(&self.0.models).iter().for_each(|(name, model)| each(name, model));
    }

    /// What labels say of the versions of a model, lowest first.
    #[must_use]
    pub fn report(&self, model: &ModelName) -> Vec<QualityReport> {
        let models = lock(&self.0.models);
        let versions = models.get(model).into_iter().flat_map(|it| &it.versions);
        let mut reports: Vec<_> = versions.map(|it| it.report()).collect();
        reports.sort_by_key(|it| it.version);
        reports
    }
}

impl Verifier for Feedback {
    /// Has nothing against any version, and knows it from now on.
    fn verify(&self, candidate: &ModelHandle, _folder: &Path) -> Result<(), String> {
        self.know(candidate);
        Ok(())
    }
}

fn read_keys(options: &FeedbackOptions) -> io::Result<Option<Keys>> {
    let Some(path) = &options.keys_file else { return Ok(None) };
    let explain = |what: &dyn std::fmt::Display| {
        io::Error::other(format!("feedback.keys_file {}: {what}", path.display()))
    };
    let text = read_plain(path, keys::MAX_BYTES).map_err(|error| explain(&error))?;
    let text = text.ok_or_else(|| explain(&"there is no such file"))?;
    Keys::parse(&text).map(Some).map_err(|why| explain(&why))
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
/// Forgets models that are gone, the longest first, where there are too many: one that comes under a new name each time must not
/// make ever more series.
fn forget_models(models: &mut BTreeMap<ModelName, Model>) {
    let now = Instant::now();
    let is_gone = |model: &&Model| !model.versions.iter().any(|it| it.is_loaded());
    let gone_for = |model: &Model| model.versions.iter().filter_map(|it| it.gone_for(now)).min();
    while models.values().filter(is_gone).count() > MAX_GONE_MODELS {
        let gone = models.iter().filter(|(_, model)| is_gone(model));
        let Some(oldest) = gone.max_by_key(|(_, model)| gone_for(model)).map(|it| it.0.clone())
        else {
            return;
        };
        models.remove(&oldest);
    }
}
