//! Families of metrics and the gathering of their samples in the registry's own words.

use super::collect::VersionSamples;
use super::histogram::{Exemplar, Histogram};
use prometheus::core::Desc;
use prometheus::proto;
use std::collections::HashMap;

/// What kind of metric a family holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric, with all that its series have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
}

impl Family {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its help text: one sentence.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help.trim_ascii()
    }

    /// The names of its labels.
    #[must_use]
    pub fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// Its type, in the words of the text format.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }

    /// What the registry compares to find two collectors that claim one name.
    pub(super) fn describe(&self) -> Result<Desc, prometheus::Error> {
        let labels = self.labels.iter().map(|&label| label.to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help().to_owned(), labels, HashMap::new())
    }
}

/// Samples being gathered for one scrape.
#[derive(Debug, Default)]
pub struct Samples {
    families: Vec<Sampled>,
}

/// A family, with a series each for its labels.
#[derive(Debug)]
pub(super) struct Sampled {
    pub(super) family: Family,
    /// Each with the exemplars of its buckets, by their places.
    pub(super) series: Vec<(proto::Metric, Vec<(usize, Exemplar)>)>,
}

impl Samples {
    /// Adds the value of one counter or gauge.
    pub fn number(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut metric = labeled(family, labels);
        if family.kind == Kind::Counter {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(family, metric, Vec::new());
    }

    /// Adds one histogram.
    pub fn histogram(&mut self, family: &Family, labels: &[&str], histogram: &Histogram) {
        let mut metric = labeled(family, labels);
        metric.set_histogram(histogram.snapshot());
        self.push(family, metric, histogram.exemplars());
    }

    /// Those of one version of a model.
    pub fn of_version<'a>(&'a mut self, model: &'a str, version: &'a str) -> VersionSamples<'a> {
        VersionSamples { samples: self, model, version }
    }

    fn push(&mut self, family: &Family, metric: proto::Metric, exemplars: Vec<(usize, Exemplar)>) {
        let series = (metric, exemplars);
        // The families of one model come in the same order as those of the one before: a search of
        // forty names is nothing beside writing their text.
        match self.families.iter_mut().find(|known| known.family.name == family.name) {
            Some(known) => known.series.push(series),
            None => self.families.push(Sampled { family: *family, series: vec![series] }),
        }
    }

    /// Everything gathered, in the order of names and labels.
    pub(super) fn into_sampled(self) -> Vec<Sampled> {
        let mut families = self.families;
        families.sort_by_key(|it| it.family.name);
        let labels = |metric: &proto::Metric| -> Vec<String> {
            metric.get_label().iter().map(|label| label.value().to_owned()).collect()
        };
        for family in &mut families {
            family.series.sort_by_cached_key(|(metric, _)| labels(metric));
        }
        families
    }

    /// Everything gathered, as the registry takes it.
    pub(super) fn into_families(self) -> Vec<proto::MetricFamily> {
        let family = |Sampled { family, series }: Sampled| {
            let mut out = proto::MetricFamily::default();
            out.set_name(family.name.to_owned());
            out.set_help(family.help().to_owned());
            out.set_field_type(match family.kind {
                Kind::Counter => proto::MetricType::COUNTER,
                Kind::Gauge => proto::MetricType::GAUGE,
                Kind::Histogram => proto::MetricType::HISTOGRAM,
            });
            out.set_metric(series.into_iter().map(|(metric, _)| metric).collect());
            out
        };
        self.families.into_iter().map(family).collect()
    }
}

fn labeled(family: &Family, values: &[&str]) -> proto::Metric {
    debug_assert_eq!(family.labels.len(), values.len(), "labels of {}", family.name);
    let pair = |(&name, &value): (&&str, &&str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    proto::Metric::from_label(family.labels.iter().zip(values).map(pair).collect())
}
