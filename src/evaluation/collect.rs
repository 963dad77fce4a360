//! All rows of a data set, asked of one version or of two.
//!
//! So many rows are under way at once as the queue takes, and no more are read ahead. What is kept of a row is its
//! line, its label and a score for each class, within a bound.

use super::answers::{Answer, ask};
use super::data::{DataSet, Example};
use super::error::EvaluationError;
use crate::inference::{ErrorCode, InferError};
use crate::repository::ModelHandle;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Rows that are under way at once, where the queue has room for as many.
const ROWS_IN_FLIGHT: usize = 64;
/// Rows of a data set.
const MAX_ROWS: usize = 1_000_000;
/// Scores that are kept for each version: 512 MiB.
const MAX_SCORES: usize = 1 << 26;

/// What rows should have been answered with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Truth {
    /// Classes, by their index.
    Classes { names: Vec<Arc<str>>, rows: Vec<usize> },
    /// Numbers.
    Numbers(Vec<f64>),
}

/// What a version answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Told {
    /// The class of each row, the number of classes for one that got none; empty for numbers.
    pub(super) classes: Vec<usize>,
    /// A score for each class, row after row; or a number for each row.
    pub(super) values: Vec<f64>,
}

/// All rows with their labels and answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// The line of each row, from 1.
    pub(super) lines: Vec<u64>,
    pub(super) truth: Truth,
    /// For each version that was asked.
    pub(super) told: Vec<Told>,
}

impl Collected {
    /// How many rows a version, by its place among those that were asked, answered with each class. Empty for numbers.
    #[must_use]
    pub fn answered_classes(&self, version: usize) -> BTreeMap<String, u64> {
        let Truth::Classes { names, .. } = &self.truth else { return BTreeMap::new() };
        let mut rows: BTreeMap<_, _> = names.iter().map(|name| (name.to_string(), 0)).collect();
        for class in self.told.get(version).into_iter().flat_map(|told| &told.classes) {
            if let Some(name) = names.get(*class) {
                *rows.entry(name.to_string()).or_default() += 1;
            }
        }
        rows
    }
}

/// Asks each version for every row. `progress` is told how many rows are done.
///
/// # Errors
///
/// A row that cannot be read, or that a version does not answer: figures over the rest would be those of other data.
pub async fn collect(
    versions: &[&ModelHandle],
    data: &mut DataSet,
    mut progress: impl FnMut(usize),
) -> Result<Collected, EvaluationError> {
    let room = versions.iter().map(|handle| handle.facts().queue_capacity).min();
    let n_in_flight = room.unwrap_or(1).clamp(1, ROWS_IN_FLIGHT);
    let mut rows = Rows::default();
    loop {
        let mut examples = Vec::with_capacity(n_in_flight);
        while examples.len() < n_in_flight
            && let Some(example) = data.next_row()?
        {
            examples.push(Arc::new(example));
        }
        if examples.is_empty() {
            break;
        }
        let mut answers: Vec<Vec<Answer>> = Vec::with_capacity(versions.len());
        for &handle in versions {
            answers.push(ask_all(handle, &examples, data).await?);
        }
        for (at, example) in examples.iter().enumerate() {
            let answers = answers.iter().map(|of_version| &of_version[at]);
            let added = rows.add(example, &answers.collect::<Vec<_>>());
            added.map_err(|message| data.row_error(example.line, message))?;
        }
        progress(rows.lines.len());
    }
    let Rows { lines, kind: Some(kind), truth, numbers, told } = rows else {
        let message = "the file has no rows, expected labelled rows".to_owned();
        return Err(EvaluationError::Data { file: data.file().to_owned(), message });
    };
    let truth = match kind {
        Kind::Classes { names, .. } => Truth::Classes { names, rows: truth },
        Kind::Numbers => Truth::Numbers(numbers),
    };
    Ok(Collected { lines, truth, told })
}

/// Asks for rows side by side, as callers do.
async fn ask_all(
    handle: &ModelHandle,
    examples: &[Arc<Example>],
    data: &DataSet,
) -> Result<Vec<Answer>, EvaluationError> {
    let asked = examples.iter().map(|example| {
        let (handle, example) = (handle.clone(), Arc::clone(example));
        tokio::spawn(async move { ask(&handle, &example.body).await })
    });
    let asked: Vec<_> = asked.collect();
    let mut answers = Vec::with_capacity(examples.len());
    for (task, example) in asked.into_iter().zip(examples) {
        let ended = task.await;
        let panicked = |_| Err(InferError::new(ErrorCode::Internal, "asking for the row panicked"));
        let answer = ended.unwrap_or_else(panicked).map_err(|error| {
            let message = format!("version {}: {error}", handle.version());
            data.row_error(example.line, message)
        });
        answers.push(answer?);
    }
    Ok(answers)
}

/// What the answers of a model are.
#[derive(Debug)]
enum Kind {
    Classes { names: Vec<Arc<str>>, places: HashMap<Arc<str>, usize> },
    Numbers,
}

impl Kind {
    fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Number(_) => Self::Numbers,
            Answer::Class { names, scores, .. } => {
                let by_index = || (0..scores.len()).map(|index| index.to_string().into()).collect();
                let names = names.as_ref().map_or_else(by_index, |names| names.to_vec());
                let places = names.iter().cloned().enumerate().map(|(at, name)| (name, at));
                Self::Classes { places: places.collect(), names }
            }
        }
    }
}

/// What has been collected so far.
#[derive(Debug, Default)]
struct Rows {
    lines: Vec<u64>,
    /// Known from the first row on.
    kind: Option<Kind>,
    /// Labels that are classes.
    truth: Vec<usize>,
    /// Labels that are numbers.
    numbers: Vec<f64>,
    told: Vec<Told>,
}

impl Rows {
    fn add(&mut self, example: &Example, answers: &[&Answer]) -> Result<(), String> {
        let kind = match (&mut self.kind, answers) {
            (Some(kind), _) => kind,
            (none, [first, ..]) => none.insert(Kind::of(first)),
            (None, []) => return Ok(()),
        };
        if self.lines.len() == MAX_ROWS {
            return Err(format!("expected at most {MAX_ROWS} rows, got more"));
        }
        match kind {
            Kind::Classes { names, places } => {
                self.truth.push(class(&example.label, names, places)?);
            }
            Kind::Numbers => self.numbers.push(number(&example.label)?),
        }
        self.lines.push(example.line);
        self.told.resize(answers.len(), Told::default());
        for (told, answer) in self.told.iter_mut().zip(answers) {
            match (&*kind, answer) {
                (Kind::Numbers, Answer::Number(value)) => told.values.push(*value),
                (Kind::Classes { names, .. }, Answer::Class { told: class, scores, .. })
                    if scores.len() == names.len() =>
                {
                    told.classes.push(*class);
                    told.values.extend_from_slice(scores);
                }
                (kind, answer) => return Err(mismatch(kind, answer)),
            }
            if told.values.len() > MAX_SCORES {
                return Err(format!("expected at most {MAX_SCORES} scores in all rows, got more"));
            }
        }
        Ok(())
    }
}

fn mismatch(kind: &Kind, answer: &Answer) -> String {
    let expected = match kind {
        Kind::Classes { names, .. } => names.len(),
        Kind::Numbers => 1,
    };
    let got = if let Answer::Class { scores, .. } = answer { scores.len() } else { 1 };
    format!("the answer has {got} values, expected {expected} as in the first row")
}

/// The class that a label means: by its name, or else by its index. Names that are numbers are compared as such, and are no
/// indexes: else the same column would mean the one in some rows and the other in others.
fn class(
    label: &str,
    names: &[Arc<str>],
    places: &HashMap<Arc<str>, usize>,
) -> Result<usize, String> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let are_numbers = names.iter().any(|name| number(name).is_some());
    // Many writers make 3.0 of 3.
    let by_number = || {
        let wanted = number(label)?;
        if are_numbers {
            return names.iter().position(|name| number(name) == Some(wanted));
        }
        let is_index = wanted.fract() == 0.0 && wanted >= 0.0 && wanted < names.len() as f64;
        is_index.then_some(wanted as usize)
    };
    places.get(label).copied().or_else(by_number).ok_or_else(|| {
        let some: Vec<_> = names.iter().take(10).map(|name| format!("{name:?}")).collect();
        let more = if names.len() > some.len() { ", …" } else { "" };
        let index = match are_numbers {
            true => String::new(),
            false => format!(" or an index from 0 to {}", names.len() - 1),
        };
        format!("expected a label out of {}{more}{index}, got {label:?}", some.join(", "))
    })
}

fn number(label: &str) -> Result<f64, String> {
    let number = label.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| {
        format!("expected a number as label, since the model answers with one, got {label:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(line: u64, label: &str) -> Example {
        Example { line, body: vec![], label: label.to_owned() }
    }

    fn scores(values: &[f64]) -> Answer {
        Answer::Class { names: None, told: 0, scores: values.to_vec() }
    }

    #[test]
    fn a_label_is_a_name_or_an_index() {
        let class = |names: [&str; 3], label: &str| {
            let names: Vec<Arc<str>> = names.map(Arc::from).to_vec();
            let answer = Answer::Class { names: Some(names.into()), told: 0, scores: vec![0.0; 3] };
            let Kind::Classes { names, places } = Kind::of(&answer) else { panic!("labels") };
            class(label, &names, &places)
        };
        const WORDS: [&str; 3] = ["bird", "dog", "cat"];
        const NUMBERS: [&str; 3] = ["1", "0", "2"];
        assert_eq!(class(WORDS, "cat"), Ok(2));
        assert_eq!((class(WORDS, "0"), class(WORDS, "2.0")), (Ok(0), Ok(2)));
        assert_eq!((class(NUMBERS, "1"), class(NUMBERS, "1.0")), (Ok(0), Ok(0)), "no index");
        assert_eq!((class(NUMBERS, "0"), class(NUMBERS, "2.0")), (Ok(1), Ok(2)));
        let expected = "expected a label out of \"bird\", \"dog\", \"cat\" or an index from 0 to 2, got \"fish\"";
        assert_eq!(class(WORDS, "fish"), Err(expected.to_owned()));
        let expected = "expected a label out of \"1\", \"0\", \"2\", got \"3\"";
        assert_eq!(class(NUMBERS, "3"), Err(expected.to_owned()));
        for bad in ["3", "-1", "0.5", "", "nan"] {
            assert!(class(WORDS, bad).is_err() && class(NUMBERS, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rows_are_kept_with_what_each_version_said() {
        let mut rows = Rows::default();
        let (first, second) = (scores(&[0.9, 0.1]), scores(&[0.8, 0.2]));
        rows.add(&example(3, "1"), &[&first, &second]).unwrap();
        rows.add(&example(5, "0"), &[&first, &second]).unwrap();
        assert_eq!((&rows.lines[..], &rows.truth[..]), (&[3, 5][..], &[1, 0][..]));
        assert_eq!(rows.told[1].values, [0.8, 0.2, 0.8, 0.2]);
        let three = scores(&[0.1, 0.2, 0.7]);
        let error = rows.add(&example(6, "0"), &[&first, &three]).unwrap_err();
        assert_eq!(error, "the answer has 3 values, expected 2 as in the first row");

        let mut rows = Rows::default();
        rows.add(&example(1, "-2.5"), &[&Answer::Number(1.0)]).unwrap();
        assert_eq!((rows.numbers, rows.truth), (vec![-2.5], vec![]));
        let error = Rows::default().add(&example(1, "many"), &[&Answer::Number(1.0)]).unwrap_err();
        let expected = "expected a number as label, since the model answers with one, got \"many\"";
        assert_eq!(error, expected);
    }
}
