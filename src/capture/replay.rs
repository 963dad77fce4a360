//! What another version answers to captured requests: the evidence for a roll-out before it begins.

use super::line::{Line, Lines, Missing, ReadError};
use crate::inference::{
    Context, Extra, ExtraValues, InferError, InferRequest, InferResponse, Layout, NamedTensor,
    Timings, Work,
};
use crate::pipeline;
use crate::repository::ModelHandle;
use crate::rollout::{Comparison, compare};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Requests that are under way at once, where the queue has room for as many.
const IN_FLIGHT: usize = 64;
/// Changes from one label to another that are told apart; the others count together.
const MAX_CHANGES: usize = 1000;
/// Versions, and reasons not to ask, that are told apart.
const MAX_TOLD_APART: usize = 100;
/// Differences of which quantiles are taken; of more, every second one is kept, and so on.
const MAX_DIFFERENCES: usize = 1 << 20;
/// Requests that are named, of those whose answers are other ones.
const MAX_NAMED: usize = 10;
/// Standard deviations to both sides that hold 95 % of a normal distribution.
const DEVIATIONS: f64 = 1.959_964;

/// One version, asked again.
#[derive(Debug)]
pub struct Replay<'h> {
    handle: &'h ModelHandle,
    /// Answers whose numbers are within this, relative to the largest of their output, are the same.
    tolerance: f64,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replayed {
    /// Lines that were read.
    pub lines: u64,
    /// Lines of other models.
    pub of_others: u64,
    /// Requests that were not asked again, by why.
    pub left_out: BTreeMap<String, u64>,
    /// Requests by the version that had answered them.
    pub versions: BTreeMap<String, u64>,
    /// Requests that were of the same model file.
    pub same_file: u64,
    /// Requests that were answered again and compared.
    pub compared: u64,
    /// Of those, the ones whose numbers are further apart than the tolerance.
    pub beyond: u64,
    /// Of those, the ones whose answers are not of the same kind.
    pub mismatched: u64,
    /// Requests that the version did not answer, by the code of the error.
    pub failed: BTreeMap<&'static str, u64>,
    /// Rows that have a class.
    pub rows: u64,
    /// Those of another class now.
    pub flips: u64,
    /// From which label to which, how many rows.
    pub changes: BTreeMap<(String, String), u64>,
    /// Some of the requests whose answers are other ones: where their lines stand, and how they differ.
    pub named: Vec<Named>,
    differences: Differences,
}

/// A request whose answer is another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// The id of the request.
    pub request_id: String,
    /// What is different.
    pub what: String,
}

/// The largest differences of requests, thinned out where there are many.
#[derive(Debug, Clone, PartialEq)]
struct Differences {
    values: Vec<f64>,
    largest: f64,
    every: u64,
    n: u64,
}

impl Default for Differences {
    fn default() -> Self {
        Self { values: Vec::new(), largest: 0.0, every: 1, n: 0 }
    }
}

/// A request to be asked again, with what was answered.
struct Asked {
    file: PathBuf,
    line: u64,
    request_id: String,
    inputs: Vec<NamedTensor>,
    before: InferResponse,
}

impl<'h> Replay<'h> {
    /// Of this version.
    #[must_use]
    pub fn new(handle: &'h ModelHandle, tolerance: f64) -> Self {
        Self { handle, tolerance }
    }

    /// Asks for every captured request of its model again. `progress` is told how many lines are done.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or has a line that is no captured request.
    pub async fn run(
        &self,
        lines: &mut Lines,
        mut progress: impl FnMut(u64),
    ) -> Result<Replayed, ReadError> {
        let room = self.handle.facts().queue_capacity;
        let n_in_flight = room.clamp(1, IN_FLIGHT);
        let mut found = Replayed::default();
        let mut is_end = false;
        while !is_end {
            let mut batch = Vec::with_capacity(n_in_flight);
            while batch.len() < n_in_flight {
                match self.next(lines, &mut found)? {
                    Some(asked) => batch.extend(asked),
                    None => {
                        is_end = true;
                        break;
                    }
                }
            }
            let tasks = batch.into_iter().map(|mut asked| {
                let (handle, inputs) = (self.handle.clone(), std::mem::take(&mut asked.inputs));
                (asked, tokio::spawn(async move { ask(&handle, inputs).await }))
            });
            for (asked, task) in tasks.collect::<Vec<_>>() {
                match task.await {
                    Ok(Ok(now)) => found.add(asked, &now, self.tolerance),
                    Ok(Err(error)) => found.fail(asked, &error),
                    Err(_) => *found.failed.entry("internal").or_default() += 1,
                }
            }
            progress(found.lines);
        }
        Ok(found)
    }

    /// The next line: a request to ask, or one that is not asked; `None` behind the last.
    fn next(
        &self,
        lines: &mut Lines,
        found: &mut Replayed,
    ) -> Result<Option<Option<Asked>>, ReadError> {
        let Some(text) = lines.next_line()? else { return Ok(None) };
        let read = Line::read(text).map(|line| self.of_line(&line, found));
        let asked = match read {
            Ok(Ok(asked)) => asked,
            Ok(Err(problem)) | Err(problem) => return Err(lines.fault(problem)),
        };
        let (file, line) = lines.place();
        Ok(Some(asked.map(|asked| Asked { file: file.to_owned(), line, ..asked })))
    }

    fn of_line(&self, line: &Line<'_>, found: &mut Replayed) -> Result<Option<Asked>, String> {
        found.lines += 1;
        if line.model != self.handle.name().as_str() {
            found.of_others += 1;
            return Ok(None);
        }
        if line.outcome != "ok" {
            let why = format!("it was answered with the error {}", line.outcome);
            count(&mut found.left_out, why);
            return Ok(None);
        }
        let (inputs, outputs) = match (line.inputs(), line.outputs()) {
            (Ok(inputs), Ok(outputs)) => (inputs, outputs),
            (Err(Missing::LeftOut(why)), _) | (_, Err(Missing::LeftOut(why))) => {
                count(&mut found.left_out, why);
                return Ok(None);
            }
            (Err(Missing::Faulty(problem)), _) | (_, Err(Missing::Faulty(problem))) => {
                return Err(problem);
            }
        };
        count(&mut found.versions, line.version.to_string());
        found.same_file += u64::from(line.digest == self.handle.facts().digest);
        let before = self.before(line, outputs);
        let request_id = line.request_id.to_string();
        let file = PathBuf::new();
        Ok(Some(Asked { file, line: 0, request_id, inputs, before }))
    }

    /// What was answered, as far as it is compared.
    fn before(&self, line: &Line<'_>, outputs: Vec<NamedTensor>) -> InferResponse {
        let label = |label: &Option<Cow<'_, str>>| label.as_deref().map(Arc::from);
        let labels: Vec<Option<Arc<str>>> = line.labels.iter().map(label).collect();
        let labels = (!labels.is_empty()).then_some(Extra {
            name: "label",
            plural: "labels",
            values: ExtraValues::Texts(labels),
        });
        InferResponse {
            model: self.handle.name().clone(),
            version: self.handle.version(),
            request_id: (&*line.request_id).into(),
            n_rows: outputs.first().map_or(0, |output| output.tensor.n_rows()),
            outputs,
            extras: labels.into_iter().collect(),
            timings: Timings::default(),
            work: Work::default(),
            layout: Layout::default(),
        }
    }
}

/// Counts one of what is told apart; of very many, those that come late count together.
fn count(counts: &mut BTreeMap<String, u64>, what: String) {
    let is_known = counts.len() < MAX_TOLD_APART || counts.contains_key(&what);
    let what = if is_known { what } else { "others".to_owned() };
    *counts.entry(what).or_default() += 1;
}

async fn ask(handle: &ModelHandle, inputs: Vec<NamedTensor>) -> Result<InferResponse, InferError> {
    let context = Context::new("replay", Instant::now() + handle.limits().timeout);
    let request = pipeline::check(handle, InferRequest { context, inputs })?;
    pipeline::run(handle, request).await
}

impl Replayed {
    /// The part of rows that get another class now, and an interval that holds it in 95 % of such samples (Wilson's score
    /// interval). Rows of one request are counted as if each came alone.
    #[must_use]
    pub fn flip_rate(&self) -> Option<(f64, (f64, f64))> {
        if self.rows == 0 {
            return None;
        }
        let (hits, n) = (self.flips as f64, self.rows as f64);
        let (rate, squared) = (hits / n, DEVIATIONS * DEVIATIONS);
        let middle = (rate + squared / (2.0 * n)) / (1.0 + squared / n);
        let spread = (rate * (1.0 - rate) / n + squared / (4.0 * n * n)).sqrt();
        let half = DEVIATIONS * spread / (1.0 + squared / n);
        Some((rate, ((middle - half).max(0.0), (middle + half).min(1.0))))
    }

    /// The difference that this part of requests stays within, and the largest one of all with 1. Relative to the largest
    /// number of each output.
    #[must_use]
    pub fn difference(&self, part: f64) -> Option<f64> {
        if part >= 1.0 {
            return (self.differences.n > 0).then_some(self.differences.largest);
        }
        let mut values = self.differences.values.clone();
        values.sort_by(f64::total_cmp);
        let place = (part * values.len() as f64).ceil() as usize;
        values.get(place.saturating_sub(1)).copied()
    }

    /// The part of answers that are other ones: of the rows where there are classes, otherwise of the requests. What is of
    /// another kind or not answered is another answer.
    #[must_use]
    pub fn changed(&self) -> f64 {
        let lost = self.mismatched + self.failed.values().sum::<u64>();
        let (hits, of) = match self.rows {
            0 => (self.beyond, self.compared - self.mismatched),
            rows => (self.flips, rows),
        };
        (hits + lost) as f64 / (of + lost).max(1) as f64
    }

    fn add(&mut self, asked: Asked, now: &InferResponse, tolerance: f64) {
        let compared = compare(&asked.before, now);
        self.compared += 1;
        let Comparison { difference, rows, flips, ref mismatch } = compared;
        if let Some(what) = mismatch {
            self.mismatched += 1;
            self.name(asked, what.clone());
            return;
        }
        self.differences.add(difference);
        (self.rows, self.flips) = (self.rows + rows, self.flips + flips);
        let is_within = compared.is_within(tolerance);
        self.beyond += u64::from(!is_within);
        let changed = if flips > 0 { self.add_changes(&asked, now) } else { None };
        if flips > 0 || !is_within {
            let numbers = || format!("numbers differ by {difference:.1e}");
            let what = changed.map(|(from, to)| format!("{from:?} is {to:?} now"));
            self.name(asked, what.unwrap_or_else(numbers));
        }
    }

    /// Counts from which label to which; the first of them.
    fn add_changes(&mut self, asked: &Asked, now: &InferResponse) -> Option<(String, String)> {
        let texts = |response: &InferResponse| {
            response.extras.iter().find_map(|extra| match &extra.values {
                ExtraValues::Texts(texts) => Some(texts.clone()),
                ExtraValues::Numbers(_) | ExtraValues::Rankings(_) => None,
            })
        };
        let (before, now) = (texts(&asked.before)?, texts(now)?);
        let mut first = None;
        for (from, to) in before.iter().zip(&now).filter(|(from, to)| from != to) {
            let name = |it: &Option<Arc<str>>| it.as_deref().unwrap_or("no label").to_owned();
            let change = (name(from), name(to));
            first = first.or_else(|| Some(change.clone()));
            if self.changes.len() < MAX_CHANGES || self.changes.contains_key(&change) {
                *self.changes.entry(change).or_default() += 1;
            }
        }
        first
    }

    fn fail(&mut self, asked: Asked, error: &InferError) {
        *self.failed.entry(error.code.as_str()).or_default() += 1;
        self.name(asked, format!("it is not answered: {error}"));
    }

    fn name(&mut self, asked: Asked, what: String) {
        if self.named.len() < MAX_NAMED {
            let Asked { file, line, request_id, .. } = asked;
            self.named.push(Named { file, line, request_id, what });
        }
    }
}

impl Differences {
    fn add(&mut self, value: f64) {
        self.largest = self.largest.max(value);
        if self.n.is_multiple_of(self.every) {
            self.values.push(value);
        }
        self.n += 1;
        if self.values.len() >= MAX_DIFFERENCES {
            let mut place = 0u64;
            self.values.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
    }
}
