//! Numbers that other rooms keep anyway, read at each scrape.

use super::collect::Collect;
use super::exposition::{Family, Samples};
use std::sync::{Mutex, PoisonError};

type ReadFn = Box<dyn Fn() -> u64 + Send + Sync>;

/// A number of another room, and what it is exported as.
struct Reading {
    family: &'static Family,
    labels: Vec<&'static str>,
    read: ReadFn,
}

/// See the file's head.
#[derive(Default)]
pub(super) struct Readings(Mutex<Vec<Reading>>);

impl Readings {
    /// Adds one, in place of one that is exported as the same.
    pub(super) fn set(&self, family: &'static Family, labels: &[&'static str], read: ReadFn) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|known| known.family.name() != family.name() || known.labels != labels);
        readings.push(Reading { family, labels: labels.to_vec(), read });
    }
}

impl Collect for Readings {
    fn collect(&self, samples: &mut Samples) {
        for reading in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            samples.number(reading.family, &reading.labels, (reading.read)() as f64);
        }
    }
}
