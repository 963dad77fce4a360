//! Which model versions have series now, and what is exported of each: its requests, and what rooms add.
//!
//! While a version is reloaded, its old and its new load live side by side: they share the series (counters go on), each
//! adds its own part to the gauges and takes it away when it is dropped.

use super::codes::CodeCounters;
use super::collect::{Collect, VersionSamples, VersionSeries};
use super::exposition::Samples;
use super::families;
use super::histogram::Histogram;
use super::number::{Counter, Gauge};
use super::phase::{ByPhase, FAMILIES};
use super::statistics::Runs;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

type Key = (String, String);

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Versions {
    live: Mutex<BTreeMap<Key, Weak<Series>>>,
}

impl Versions {
    // A std mutex: held for a look-up only, and never while a series is dropped, which locks it too.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Weak<Series>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The series of a version: those that are there, or new ones.
    pub(super) fn series(self: &Arc<Self>, key: Key, lists: &Lists) -> Arc<Series> {
        let mut live = self.lock();
        if let Some(series) = live.get(&key).and_then(Weak::upgrade) {
            return series;
        }
        let series = Arc::new(Series::new(Arc::clone(self), key.clone(), lists.clone()));
        live.insert(key, Arc::downgrade(&series));
        series
    }
}

impl Collect for Versions {
    fn collect(&self, samples: &mut Samples) {
        // Upgraded first and dropped after the lock is gone: the last owner may go meanwhile, and
        // its drop, which would then be ours, takes the lock.
        let live: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for series in &live {
            series.collect(samples);
        }
    }
}

/// The closed lists of label values.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    pub(super) codes: Arc<[&'static str]>,
    pub(super) batching: Arc<[&'static str]>,
}

/// What one version of one model exports.
pub(super) struct Series {
    versions: Arc<Versions>,
    key: Key,
    pub(super) batching_names: Arc<[&'static str]>,
    pub(super) requests: CodeCounters,
    pub(super) total: Histogram,
    /// Nanoseconds of the requests that were answered, and of those that were not: `total` holds both.
    pub(super) success_nanos: Counter,
    pub(super) fail_nanos: Counter,
    pub(super) tokens: Counter,
    pub(super) pixels: Counter,
    pub(super) runs: Runs,
    pub(super) phases: ByPhase<Histogram>,
    pub(super) inflight: Gauge,
    pub(super) memory: Gauge,
    /// How many loads of the version answer; exported as 0 or 1.
    pub(super) ready: Gauge,
    /// Position in `batching_names`; beyond it until the value is known.
    pub(super) batching: AtomicUsize,
    pub(super) load_nanos: AtomicU64,
    /// What rooms export of it.
    rooms: Mutex<Vec<Arc<dyn VersionSeries>>>,
}

impl Series {
    fn new(versions: Arc<Versions>, key: Key, lists: Lists) -> Self {
        Self {
            versions,
            key,
            batching_names: lists.batching,
            requests: CodeCounters::new(lists.codes),
            total: Histogram::of_durations(),
            success_nanos: Counter::default(),
            fail_nanos: Counter::default(),
            tokens: Counter::default(),
            pixels: Counter::default(),
            runs: Runs::new(),
            phases: ByPhase::from_fn(|_| Histogram::of_durations()),
            inflight: Gauge::default(),
            memory: Gauge::default(),
            ready: Gauge::default(),
            batching: AtomicUsize::new(usize::MAX),
            load_nanos: AtomicU64::new(0),
            rooms: Mutex::default(),
        }
    }

    /// A room's own series: those that are there, or new ones.
    pub(super) fn of_room<T: VersionSeries + Default>(&self) -> Arc<T> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rooms.iter().find_map(|series| {
            let series: Arc<dyn Any + Send + Sync> = Arc::<dyn VersionSeries>::clone(series);
            series.downcast::<T>().ok()
        });
        known.unwrap_or_else(|| {
            let series = Arc::<T>::default();
            rooms.push(Arc::<T>::clone(&series));
            series
        })
    }

    fn collect(&self, samples: &mut Samples) {
        let (model, version) = (self.key.0.as_str(), self.key.1.as_str());
        self.requests.collect(samples, model, version);
        let mut out = VersionSamples { samples, model, version };
        out.histogram(&families::REQUEST_DURATION, &self.total);
        for ((_, histogram), family) in self.phases.iter().zip(FAMILIES) {
            out.histogram(family, histogram);
        }
        out.number(&families::TEXT_TOKENS, self.tokens.get() as f64);
        out.number(&families::IMAGE_PIXELS, self.pixels.get() as f64);
        out.number(&families::INFLIGHT_REQUESTS, self.inflight.get() as f64);
        out.number(&families::MODEL_MEMORY, self.memory.get() as f64);
        out.number(&families::MODEL_READY, self.ready.get().min(1) as f64);
        let load_nanos = self.load_nanos.load(Ordering::Relaxed);
        out.number(&families::MODEL_LOAD_DURATION, load_nanos as f64 / 1e9);
        let holds = self.batching.load(Ordering::Relaxed);
        for (idx, name) in self.batching_names.iter().enumerate() {
            let value = if idx == holds { 1.0 } else { 0.0 };
            out.labeled(&families::MODEL_BATCHING, name, value);
        }
        for series in self.rooms.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            series.collect(&mut out);
        }
    }
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Series").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let mut live = self.versions.lock();
        // A new load may have found our entry dead and put its own there before we got the lock.
        if live.get(&self.key).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), self)) {
            live.remove(&self.key);
        }
    }
}
