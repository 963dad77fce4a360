//! `reference.json`: what a version's inputs and answers looked like when it was made, to hold those of today against.
//!
//! Made by `sconce reference`, never by a server from its own traffic: replicas would have other edges, and their counts would no
//! longer add up.

use super::bins::{BINS, Edges};
use super::values::Descriptor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// What the file is called, beside a version or its model.
pub const FILE: &str = "reference.json";
/// Longest file that is read.
pub(super) const MAX_BYTES: u64 = 4 << 20;
/// Fewer rows than this say too little.
pub const MIN_ROWS: u64 = 200;
/// More rows than this no figure needs.
const MAX_ROWS: u64 = 1 << 40;
/// With fewer than this the reference's own noise is worth a warning.
pub const FEW_ROWS: u64 = 1000;
/// Features whose bins are exported; of more, what their ranks add up to.
pub(super) const MAX_BINNED: usize = 80;
/// Features that are watched; the first of them where a file has more.
pub(super) const MAX_FEATURES: usize = 500;
/// Classes whose shares are kept.
pub const MAX_LABELS: usize = 100;
/// What stands for all labels beyond those that are counted by name.
pub const OTHER: &str = "<other>";
/// So many labels are told to whoever named another.
const N_TOLD: usize = 5;
/// What the labels of the answers are called among the features.
pub(super) const LABELS: &str = "<labels>";
/// Longest name of a feature or label.
pub(super) const MAX_NAME: usize = 128;

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// SHA-256 of the model file that gave the answers.
    pub model_sha256: String,
    /// How many rows there were.
    pub rows: u64,
    /// The features, in the order of the inputs and of the elements in each.
    pub features: Vec<Feature>,
    /// How many rows got each label; empty for a model without labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, u64>,
    /// Figures of the answers, where the rows had labels: `accuracy`, `calibration_error` and others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evaluation: BTreeMap<String, f64>,
}

/// Which number of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Of {
    /// The one at this place, from 0.
    Element(usize),
    /// A figure of all of them.
    Descriptor(Descriptor),
}

/// One number of each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// What people call it; the value of a label of metrics.
    pub name: String,
    /// The input that holds it.
    pub input: String,
    /// Which number of a row of that input: its place, or what describes all of them.
    pub of: Of,
    /// Rising edges, at most nine. A value that is an edge lies in the bin below it.
    pub edges: Vec<f32>,
    /// How many rows lay in each bin, one more than edges.
    pub counts: Vec<u64>,
    /// Rows without a value: not a number.
    pub missing: u64,
    /// The smallest finite value.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

impl Feature {
    /// From the values of all rows. Those that are not finite lie in no bin.
    ///
    /// # Errors
    ///
    /// None is finite.
    pub(super) fn of(name: &str, input: &str, of: Of, values: &[f32]) -> Result<Self, String> {
        let mut sorted: Vec<f64> = values
            .iter()
            .filter(|value| value.is_finite())
            .map(|value| f64::from(*value))
            .collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Err(format!("feature {name:?} has no finite value"));
        };
        let edges = Edges::quantiles(&sorted, BINS);
        let mut counts = vec![0; edges.n_bins()];
        for value in &sorted {
            counts[edges.bin(*value as f32)] += 1;
        }
        let missing = values.iter().filter(|value| value.is_nan()).count() as u64;
        let edges = edges.as_slice().to_vec();
        let (name, input) = (name.to_owned(), input.to_owned());
        Ok(Self { name, input, of, edges, counts, missing, min: min as f32, max: max as f32 })
    }

    /// What is wrong with it, if anything is.
    fn fault(&self) -> Option<String> {
        if let Err(fault) = Edges::new(self.edges.clone()) {
            return Some(fault);
        }
        if self.edges.len() >= BINS {
            return Some(format!("{} edges, expected at most {}", self.edges.len(), BINS - 1));
        }
        if self.counts.len() != self.edges.len() + 1 {
            let (counts, edges) = (self.counts.len(), self.edges.len());
            return Some(format!(
                "{counts} counts for {edges} edges, expected one more than edges"
            ));
        }
        if !(self.min.is_finite() && self.max.is_finite() && self.min <= self.max) {
            return Some(format!("a range from {} to {}", self.min, self.max));
        }
        let is_beyond = |edge: &&f32| !(self.min..=self.max).contains(edge);
        if let Some(edge) = self.edges.iter().find(is_beyond) {
            return Some(format!(
                "an edge of {edge}, which is beyond the range from {} to {}",
                self.min, self.max
            ));
        }
        None
    }
}

impl Reference {
    /// Of a version that has none: what is counted of its answers needs no other.
    pub(super) fn of_labels<'l>(labels: impl Iterator<Item = &'l str>) -> Self {
        Self {
            model_sha256: String::new(),
            rows: 0,
            features: Vec::new(),
            labels: labels
                .filter(|it| *it != OTHER)
                .take(MAX_LABELS)
                .map(|label| (label.to_owned(), 0))
                .collect(),
            evaluation: BTreeMap::new(),
        }
    }

    /// Whether it says how many rows got each label.
    pub(super) fn knows_labels(&self) -> bool {
        self.labels.values().any(|rows| *rows > 0)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // It has a place of its own.
        found.labels.remove(OTHER);
        found.check()?;
        Ok(found)
    }

    /// As a file, a line for each feature.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain structures, and maps of texts: there is nothing that could not be written.
        let features = self.features.iter().map(|it| serde_json::to_string(it).unwrap_or_default());
        let features = features.collect::<Vec<_>>().join(",\n");
        let others = serde_json::to_string(&Self { features: Vec::new(), ..self.clone() });
        // What stands before it are a digest and a number.
        let text = others.unwrap_or_default();
        text.replacen("\"features\":[]", &format!("\"features\":[\n{features}\n]"), 1) + "\n"
    }

    /// Whether a server would take it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn check(&self) -> Result<(), String> {
        let n_rows = self.rows;
        if n_rows < MIN_ROWS {
            return Err(format!(
                "rows: {n_rows}, expected at least {MIN_ROWS}: fewer say too little"
            ));
        }
        let (mut names, mut places) = (BTreeSet::new(), HashSet::new());
        for feature in &self.features {
            let name = &feature.name;
            let at = |fault: String| Err(format!("feature {name:?}: {fault}"));
            if name.is_empty() || name.len() > MAX_NAME {
                return at(format!("expected a name of 1 to {MAX_NAME} bytes"));
            }
            if name == LABELS {
                return at("the name stands for the labels of answers".to_owned());
            }
            if !names.insert(name) {
                return at("another one has the same name".to_owned());
            }
            if !places.insert((&feature.input, feature.of)) {
                return at("another one is of the same numbers".to_owned());
            }
            if let Some(fault) = feature.fault() {
                return at(fault);
            }
            let counted: u64 = feature.counts.iter().fold(0, |sum, it| sum.saturating_add(*it));
            if counted == 0 || counted.saturating_add(feature.missing) > n_rows {
                return at(format!(
                    "{counted} rows in bins and {} without a value, of {n_rows}",
                    feature.missing
                ));
            }
        }
        if n_rows > MAX_ROWS {
            return Err(format!("rows: {n_rows}, expected at most {MAX_ROWS}"));
        }
        if self.labels.len() > MAX_LABELS {
            let n = self.labels.len();
            return Err(format!("{n} labels, expected at most {MAX_LABELS}"));
        }
        let labeled = self.labels.values().fold(0_u64, |sum, it| sum.saturating_add(*it));
        if labeled > n_rows {
            return Err(format!("labels: {labeled} rows, of {n_rows}"));
        }
        if let Some(accuracy) =
            self.evaluation.get("accuracy").filter(|it| !(0.0..=1.0).contains(*it))
        {
            return Err(format!("evaluation: accuracy is {accuracy}, expected 0 to 1"));
        }
        if let Some((name, value)) = self.evaluation.iter().find(|(_, value)| !value.is_finite()) {
            return Err(format!("evaluation: {name} is {value}, expected a finite number"));
        }
        if let Some(name) = self.labels.keys().find(|name| name.is_empty() || name.len() > MAX_NAME)
        {
            return Err(format!("labels: {name:?}, expected a name of 1 to {MAX_NAME} bytes"));
        }
        Ok(())
    }
}
/// The first labels of a model, for whoever named one that it has not.
pub(super) fn first_of(labels: &[Arc<str>]) -> String {
    let first: Vec<_> = labels.iter().take(N_TOLD).map(|label| format!("{label:?}")).collect();
    let more = if labels.len() > N_TOLD { ", …" } else { "" };
    first.join(", ") + more
}
