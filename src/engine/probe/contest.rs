//! Two files of one model against each other: the same inputs to both, their answers compared, and their times taken in turn as
//! whoever asks sees them, so that what a process of its own costs counts.

use super::candidates::candidates;
use super::comparison::{compare_times, elapsed, is_refusal, warm_up};
use super::run::{Probe, other_size};
use super::{Hints, arguments};
use crate::engine::compare::{difference, scales};
use crate::engine::{Batch, Engine, EngineError, Model};
use crate::tensor::Tensor;
use std::time::Duration;

/// How far answers may be apart, relative to the largest: one of them was compiled for this processor.
const MAX_DIFFERENCE: f64 = 1e-4;
/// Numbers of rows in which answers are compared; the first and the last of them are timed.
const SIZES: [usize; 4] = [1, 2, 3, 8];
/// How long one size may be warmed up, and timed.
const SIZE_TIME: Duration = Duration::from_millis(400);

type Inputs = Vec<Option<Tensor>>;

/// What both are asked.
#[derive(Debug)]
pub struct Rounds {
    compared: Vec<Inputs>,
    timed: Vec<Inputs>,
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contest {
    /// The largest difference between their answers, relative to the largest of the first one's.
    pub difference: f64,
    /// The first one's time over the second one's: the geometric mean over the sizes that were timed.
    pub gain: f64,
}

/// Inputs that the second of them takes, which may be fewer than the first does; `None` where none is known.
///
/// # Errors
///
/// It cannot be run.
pub fn rounds(second: &dyn Model, hints: &Hints) -> Result<Option<Rounds>, EngineError> {
    let signature = second.signature();
    let specs = arguments(signature, hints.inputs.as_deref())?;
    let candidates = candidates(signature, specs, hints)?;
    let Some(generator) = Probe::new(second, hints)?.first_generator(&candidates)? else {
        return Ok(None);
    };
    let batch = |n_rows: usize, from: u64, size| {
        let numbers: Vec<u64> = (from..).take(n_rows).collect();
        generator.batch(&numbers, size).inputs
    };
    let sizes: Vec<usize> = match generator.fixed_rows() {
        Some(n_rows) => vec![n_rows],
        None if generator.is_whole() => vec![1],
        None => SIZES.into_iter().filter(|it| *it <= hints.max_batch_size).collect(),
    };
    let mut compared: Vec<_> =
        sizes.iter().zip(0..).map(|(&n_rows, place)| batch(n_rows, place * 100, None)).collect();
    if let (Some(size), Some(&n_rows)) = (generator.variable_size(), sizes.first()) {
        compared.push(batch(n_rows, 0, Some(other_size(size))));
    }
    let mut timed = vec![sizes.first(), sizes.last()];
    timed.dedup();
    let timed = timed.into_iter().flatten().map(|&n_rows| batch(n_rows, 0, None)).collect();
    Ok(Some(Rounds { compared, timed }))
}

/// Asks both.
///
/// # Errors
///
/// In what they are not the same model, or what kept one from answering.
pub fn contest(
    first: &mut dyn Engine,
    second: &mut dyn Engine,
    rounds: &Rounds,
) -> Result<Contest, String> {
    let mut answers = Vec::new();
    for inputs in &rounds.compared {
        match first.run(Batch::without_deadline(inputs.clone())) {
            Ok(outcome) => answers.push((inputs, outcome.outputs)),
            // Nor has the other one to take it.
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error.message),
        }
    }
    let scales = scales(answers.iter().map(|(_, outputs)| &outputs[..]));
    let mut worst = 0.0f64;
    for (inputs, expected) in &answers {
        let outcome = second.run(Batch::without_deadline((*inputs).clone()));
        let mut outputs = outcome.map_err(|error| error.message)?.outputs;
        // What they call their outputs is held against each other where requests see it.
        for (output, expected) in outputs.iter_mut().zip(expected) {
            output.name.clone_from(&expected.name);
        }
        worst = worst.max(difference(expected, &outputs, &scales)?);
    }
    if answers.is_empty() {
        return Err("there is no input that both of them take".to_owned());
    }
    if worst > MAX_DIFFERENCE {
        return Err(format!(
            "an answer differs by {worst:.1e} of the largest, at most {MAX_DIFFERENCE:.0e} is allowed"
        ));
    }
    let mut logarithms = Vec::new();
    for inputs in &rounds.timed {
        let (ratio, _) = warm_up(first, inputs, SIZE_TIME)
            .and_then(|()| warm_up(second, inputs, SIZE_TIME))
            .and_then(|()| compare_times(first, second, inputs, SIZE_TIME, elapsed))
            .map_err(|error| error.message)?;
        logarithms.push(ratio.ln());
    }
    let gain = (logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64).exp();
    Ok(Contest { difference: worst, gain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeModel;
    use crate::tensor::Shape;

    fn times(factor: f32) -> FakeModel {
        FakeModel::new(move |batch| {
            let x = batch.inputs.into_iter().flatten().next();
            let x = x.ok_or_else(|| EngineError::new(crate::engine::Fault::Raised, "no input"))?;
            let values = x.as_slice::<f32>().expect("numbers");
            let values = values.iter().map(|x| x * factor).collect();
            Ok(vec![Tensor::from_vec(x.shape().clone(), values).expect("as many as before")])
        })
    }

    fn outcome(first: &FakeModel, second: &FakeModel) -> Result<Contest, String> {
        let sample = Tensor::from_vec(Shape::from([2, 3]), vec![1f32, 2., 3., 4., 5., 6.]);
        let hints = Hints { sample: Some(vec![sample.ok()]), ..Hints::default() };
        let rounds = rounds(second, &hints).map_err(|it| it.message)?.expect("the sample is taken");
        let [mut first, mut second] = [first, second].map(|it| it.instance().unwrap());
        contest(&mut *first, &mut *second, &rounds)
    }

    #[test]
    fn answers_are_held_against_each_other() {
        let same = outcome(&times(2.0), &times(2.00001)).unwrap();
        assert!(same.difference < 1e-5 && same.gain > 0.0, "{same:?}");
        let other = outcome(&times(2.0), &times(2.01)).unwrap_err();
        assert!(other.contains("an answer differs by 5.0e-3"), "{other}");
    }

    #[test]
    fn what_only_one_of_them_takes_is_no_answer() {
        let fails = FakeModel::new(|_| Err(EngineError::new(crate::engine::Fault::Raised, "no")));
        let first = outcome(&fails, &times(2.0)).unwrap_err();
        assert_eq!(first, "there is no input that both of them take");
    }
}
