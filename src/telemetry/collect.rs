//! How rooms export what they count: a collector of their own on the one registry, asked at each scrape.
//!
//! A new metric is a row of `families` and a line in the collector of its room; nothing else of this room changes.

use super::exposition::{Family, Samples};
use super::histogram::Histogram;
use std::any::Any;

/// What a room exports. Registered once, with `Metrics::register`.
pub trait Collect: Send + Sync {
    /// Adds a sample for each of its series; must not block.
    fn collect(&self, samples: &mut Samples);
}

/// What a room exports of each model version. Made when a load of the version first asks for it (`ModelMetrics::series`),
/// shared by all loads of the version, and gone with the last of them.
pub trait VersionSeries: Any + Send + Sync {
    /// Adds a sample for each of its series; must not block.
    fn collect(&self, samples: &mut VersionSamples<'_>);
}

/// Samples of one model version: their first two labels are known.
#[derive(Debug)]
pub struct VersionSamples<'a> {
    pub(super) samples: &'a mut Samples,
    pub(super) model: &'a str,
    pub(super) version: &'a str,
}

impl VersionSamples<'_> {
    /// Adds the value of one counter or gauge.
    pub fn number(&mut self, family: &Family, value: f64) {
        self.samples.number(family, &[self.model, self.version], value);
    }

    /// Adds the value of one that has a label beside model and version.
    pub fn labeled(&mut self, family: &Family, label: &str, value: f64) {
        self.samples.number(family, &[self.model, self.version, label], value);
    }

    /// Adds the value of one that has several labels beside model and version.
    pub fn with(&mut self, family: &Family, labels: &[&str], value: f64) {
        let all: Vec<&str> =
            [self.model, self.version].into_iter().chain(labels.iter().copied()).collect();
        self.samples.number(family, &all, value);
    }

    /// Adds one histogram.
    pub fn histogram(&mut self, family: &Family, histogram: &Histogram) {
        self.samples.histogram(family, &[self.model, self.version], histogram);
    }
}
