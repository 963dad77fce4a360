//! An answer, before a protocol writes it.

use super::content::Work;
use super::contract::Layout;
use super::name::{ModelName, Version};
use super::request::NamedTensor;
use std::sync::Arc;
use std::time::Duration;

/// Where a request's time went between the edge that decoded it and the edge that encodes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From entering the queue to being taken out of it.
    pub queue: Duration,
    /// Putting the batch together and handing it to the device.
    pub input: Duration,
    /// The model's own run.
    pub compute: Duration,
    /// Getting the outputs back and cutting them apart.
    pub output: Duration,
    /// Which run it was.
    pub run: RunId,
}

/// The run that answered a request, alone or together with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunId {
    /// The same for all requests of one run, and another for each run.
    pub number: u64,
    /// Rows of all its requests.
    pub n_rows: usize,
}

/// What a step adds to every answer, as the document of the API has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtraSpec {
    /// Its name beside an answer of one row.
    pub name: &'static str,
    /// Its name beside a list of rows.
    pub plural: &'static str,
    /// What each row has.
    pub kind: ExtraKind,
}

/// What an [`Extra`] has for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraKind {
    /// A text.
    Text,
    /// A number.
    Number,
    /// The best classes with their scores.
    Ranking,
}

impl ExtraSpec {
    /// The values of one answer.
    #[must_use]
    pub const fn with(self, values: ExtraValues) -> Extra {
        Extra { name: self.name, plural: self.plural, values }
    }
}

/// What a step adds to an answer beside its outputs: a value for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Extra {
    /// Its name beside an answer of one row.
    pub name: &'static str,
    /// Its name beside a list of rows.
    pub plural: &'static str,
    /// A value for each row.
    pub values: ExtraValues,
}

/// The values of an [`Extra`].
#[derive(Debug, Clone, PartialEq)]
pub enum ExtraValues {
    /// A text for each row; `None` where there is none, as for scores that are not numbers.
    Texts(Vec<Option<Arc<str>>>),
    /// A number for each row; NaN where the model gave NaN.
    Numbers(Vec<f32>),
    /// The best classes of each row.
    Rankings(Rankings),
}

/// The best classes of each row with their scores, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Rankings {
    /// The names of all classes of the model's first output, by their index.
    pub classes: Arc<[Arc<str>]>,
    /// The best of them, for each row; at least one.
    pub rows: Vec<Ranking>,
    /// The least score of those that clients are told.
    pub threshold: f64,
}

impl Rankings {
    /// What clients are told of a row.
    #[must_use]
    pub fn told(&self, row: usize) -> &[(Arc<str>, f32)] {
        let row = &self.rows[row][..];
        // A score that is none is below nothing: it is told, as it is in the outputs.
        let end = row.iter().position(|(_, score)| f64::from(*score) < self.threshold);
        &row[..end.unwrap_or(row.len())]
    }
}

/// The best classes of one row with their scores.
pub type Ranking = Vec<(Arc<str>, f32)>;

impl ExtraValues {
    /// Rows that have a value.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
            Self::Rankings(rankings) => rankings.rows.len(),
        }
    }
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct InferResponse {
    /// The model that answered.
    pub model: ModelName,
    /// The version that answered.
    pub version: Version,
    /// The caller's id for the request, or ours.
    pub request_id: Arc<str>,
    /// Outputs in the order of the specification.
    pub outputs: Vec<NamedTensor>,
    /// Rows of the request.
    pub n_rows: usize,
    /// What stands beside the outputs, in the order in which it is written.
    pub extras: Vec<Extra>,
    /// Where the time went.
    pub timings: Timings,
    /// What the steps before the run had to do.
    pub work: Work,
    /// How it is written.
    pub layout: Layout,
}

impl InferResponse {
    /// The best classes of each row, where the model has labels.
    #[must_use]
    pub fn rankings(&self) -> Option<&Rankings> {
        self.extras.iter().find_map(|extra| match &extra.values {
            ExtraValues::Rankings(rankings) => Some(rankings),
            ExtraValues::Texts(_) | ExtraValues::Numbers(_) => None,
        })
    }
}
