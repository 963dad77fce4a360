//! A version whose answers can have labels, and what has come back for them: of the file that serves, of files before it, and
//! of all of them together.

use super::report::{ClassificationFigures, NumberFigures, QualityFigures, QualityReport};
use super::tally::{About, Row, Tally};
use super::token::Subject;
use crate::inference::Version;
use crate::telemetry::{Histogram, VersionSamples, VersionSeries};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Files of one version whose labels count.
const MAX_FILES: usize = 4;

/// Lives as long as a version is loaded. Its labels are exported with those of versions that are gone.
#[derive(Debug, Default)]
pub(super) struct Alive;

impl VersionSeries for Alive {
    fn collect(&self, _samples: &mut VersionSamples<'_>) {}
}

/// A version whose answers can have labels.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) version: Version,
    pub(super) about: About,
    /// Of its files, the one that serves last; with what came back for those before it.
    pub(super) subjects: Mutex<Vec<(Subject, Option<Counted>)>>,
    /// Held by what is loaded.
    pub(super) alive: Mutex<Weak<Alive>>,
    gone_since: Mutex<Option<Instant>>,
    pub(super) tokens: AtomicU64,
    pub(super) delays: Histogram,
    /// What came back for answers of the file that serves.
    pub(super) counted: Mutex<Counted>,
    /// What came back for answers of whichever file served then: it only rises, also where a file comes back.
    pub(super) exported: Mutex<Tally>,
}

#[derive(Debug)]
pub(super) struct Counted {
    pub(super) tally: Tally,
    delay_sum: f64,
    delays: u64,
}

impl Counted {
    fn new(about: &About) -> Self {
        Self { tally: about.tally(), delay_sum: 0.0, delays: 0 }
    }
}

impl Known {
    pub(super) fn new(version: Version, about: About) -> Self {
        Self {
            version,
            counted: Mutex::new(Counted::new(&about)),
            exported: Mutex::new(about.tally()),
            about,
            subjects: Mutex::default(),
            alive: Mutex::default(),
            gone_since: Mutex::default(),
            tokens: AtomicU64::new(0),
            delays: Histogram::of_delays(),
        }
    }

    pub(super) fn is_loaded(&self) -> bool {
        lock(&self.alive).strong_count() > 0
    }

    /// How long it has been gone, as far as was looked.
    pub(super) fn gone_for(&self, now: Instant) -> Option<Duration> {
        let mut gone_since = lock(&self.gone_since);
        if self.is_loaded() {
            *gone_since = None;
            return None;
        }
        Some(now.saturating_duration_since(*gone_since.get_or_insert(now)))
    }

    /// Has figures begin anew with another file; those of files before are kept, should they serve again.
    pub(super) fn serve(&self, subject: Subject) {
        let mut subjects = lock(&self.subjects);
        if subjects.last().is_some_and(|(last, _)| *last == subject) {
            return;
        }
        let known = subjects.iter().position(|(it, _)| *it == subject);
        let known = known.and_then(|place| subjects.remove(place).1);
        let mut counted = lock(&self.counted);
        let before = match subjects.last_mut() {
            Some((_, before)) => before,
            // What came before the first one is told without a token, and of it.
            None => return subjects.push((subject, None)),
        };
        *before = Some(std::mem::replace(
            &mut *counted,
            known.unwrap_or_else(|| Counted::new(&self.about)),
        ));
        subjects.push((subject, None));
        let n_old = subjects.len().saturating_sub(MAX_FILES);
        subjects.drain(..n_old);
    }

    /// Counts rows, of the answer of a file that many seconds ago where there is a token, otherwise of the one that serves.
    pub(super) fn count(&self, rows: &[Row], answer: Option<(Subject, u64)>) {
        let mut subjects = lock(&self.subjects);
        let before = answer.and_then(|(subject, _)| {
            subjects.iter_mut().find(|(it, _)| *it == subject)?.1.as_mut()
        });
        let mut serving = lock(&self.counted);
        let mut exported = before.is_none().then(|| lock(&self.exported));
        let counted = before.unwrap_or(&mut serving);
        for row in rows {
            counted.tally.add(*row);
            if let Some(exported) = &mut exported {
                exported.add(*row);
            }
            if let Some((_, age)) = answer {
                counted.delays += 1;
                counted.delay_sum += age as f64;
                self.delays.observe(age);
            }
        }
    }

    /// Why one of these rows cannot be counted, if so.
    pub(super) fn refuses(&self, rows: &[Row]) -> Option<String> {
        let exported = lock(&self.exported);
        rows.iter().find_map(|row| exported.refuses(row))
    }

    pub(super) fn report(&self) -> QualityReport {
        let Counted { tally, delay_sum, delays } = &*lock(&self.counted);
        let figures = match tally {
            Tally::Classes(tally) => QualityFigures::Classes(ClassificationFigures::of(tally)),
            Tally::Numbers(tally) => QualityFigures::Numbers(NumberFigures::of(tally)),
        };
        QualityReport {
            version: self.version,
            is_loaded: self.is_loaded(),
            tokens: self.tokens.load(Ordering::Relaxed),
            labels: tally.rows(),
            mean_delay: (*delays > 0).then(|| delay_sum / *delays as f64),
            figures,
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
