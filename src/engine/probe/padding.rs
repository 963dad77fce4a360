//! Whether inputs may be padded: answers to padded inputs, cut back, must be those to the inputs as
//! they are, alone and among rows of other sizes.

use super::PaddingOptions;
use super::generator::InputGenerator;
use super::run::{Probe, row};
use crate::engine::compare::{agree, scales};
use crate::engine::{EngineError, Output};
use crate::inference::{Batching, Padding, TensorSpec};
use crate::tensor::{BufferMut, Tensor};

/// Buckets that are tried, evenly spread, the smallest and the largest among them.
const TRIED_BUCKETS: usize = 4;
/// Rows that are looked through for one that is more than padding.
const TRIES: u64 = 64;

type Inputs = Vec<Option<Tensor>>;

/// The answer to inputs of a size as they are.
struct Expected<'a> {
    size: usize,
    outputs: &'a [Output],
    /// What differences are measured by.
    scales: &'a [f64],
}

/// What the model refuses or does otherwise is the inner error, a reason for people; what ends the
/// trial is the outer one.
type Attempt<T> = Result<Result<T, String>, EngineError>;

impl Probe<'_> {
    /// How inputs may be padded, if that is wanted and safe.
    pub(super) fn padding(
        &mut self,
        generator: &InputGenerator,
        batching: Batching,
    ) -> Result<Option<Padding>, EngineError> {
        let Some(options) = &self.hints.padding else { return Ok(None) };
        let tried = if batching.is_allowed() {
            self.try_padding(generator, options)?
        } else {
            Err(batching.reason().to_owned())
        };
        Ok(tried.map_err(|reason| self.notes.push(format!("padding is off: {reason}"))).ok())
    }

    fn try_padding(
        &mut self,
        generator: &InputGenerator,
        options: &PaddingOptions,
    ) -> Attempt<Padding> {
        let given: Vec<_> =
            generator.batch(&[0], None).inputs.iter().map(Option::is_some).collect();
        let pad = |(spec, given): (&TensorSpec, &bool)| {
            let named = options.pads.iter().find(|(name, _)| *name == spec.name);
            named.filter(|_| *given).map(|(_, pad)| pad.clone())
        };
        let pads: Vec<_> = generator.specs.iter().zip(&given).map(pad).collect();
        if pads.iter().all(Option::is_none) {
            return Ok(Err("the inputs with a pad value are optional and left out".to_owned()));
        }
        let buckets = options.buckets.clone();
        let mut padding = Padding { pads, given, follows: Vec::new(), buckets };
        if let Err(reason) = self.limit_buckets(generator, &mut padding)? {
            return Ok(Err(reason));
        }
        match self.follows(generator, &padding)? {
            Ok(follows) => padding.follows = follows,
            Err(reason) => return Ok(Err(reason)),
        }
        for idx in tried_buckets(padding.buckets.len()) {
            if self.started_at.elapsed() > self.hints.budget && idx > 0 {
                padding.buckets.truncate(idx);
                let note = format!("padding was tried up to {} only", padding.buckets[idx - 1]);
                self.notes.push(note);
                break;
            }
            if let Err(reason) = self.try_bucket(generator, &padding, idx)? {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(padding))
    }

    /// Leaves out the buckets at the top that the model does not take, such as those beyond its table
    /// of positions.
    fn limit_buckets(&mut self, generator: &InputGenerator, padding: &mut Padding) -> Attempt<()> {
        let (mut taken, mut refused) = (0, padding.buckets.len());
        let mut idx = refused - 1;
        let mut reason = String::new();
        while taken < refused {
            match self.answer(&inputs(generator, padding, 0, padding.buckets[idx]))? {
                Ok(_) => taken = idx + 1,
                Err(why) => (refused, reason) = (idx, why),
            }
            idx = taken + (refused - taken) / 2;
            idx = idx.min(refused.saturating_sub(1));
        }
        let Some(&next) = padding.buckets.get(taken) else { return Ok(Ok(())) };
        if taken == 0 {
            return Ok(Err(format!("at size {next} {reason}")));
        }
        padding.buckets.truncate(taken);
        let largest = padding.buckets[taken - 1];
        self.notes.push(format!("padding goes up to {largest}: at size {next} {reason}"));
        Ok(Ok(()))
    }

    /// The dimensions of each output that have the size of the inputs at two different sizes.
    fn follows(
        &mut self,
        generator: &InputGenerator,
        padding: &Padding,
    ) -> Attempt<Vec<Vec<usize>>> {
        let large = padding.buckets.last().copied().unwrap_or(1);
        let small = padding.buckets.first().map_or(1, |&first| first.min(large - large / 2));
        if small == large {
            return Ok(Err(format!("a size of {large} leaves nothing to pad")));
        }
        let mut runs = Vec::new();
        for size in [small, large] {
            match self.answer(&inputs(generator, padding, 0, size))? {
                Ok(outputs) => runs.push((size, outputs)),
                Err(reason) => return Ok(Err(format!("at size {size} {reason}"))),
            }
        }
        let follows = |place: usize| {
            let rank = runs[0].1[place].tensor.shape().rank();
            let has_size = |axis: usize| {
                runs.iter().all(|(size, outputs)| {
                    let dims = outputs.get(place).map(|it| it.tensor.shape().dims());
                    dims.and_then(|dims| dims.get(axis)) == Some(size)
                })
            };
            (1..rank).filter(|&axis| has_size(axis)).collect()
        };
        Ok(Ok((0..runs[0].1.len()).map(follows).collect()))
    }

    /// Rows of several sizes of one bucket, padded, alone and together, against the same as they
    /// are.
    fn try_bucket(
        &mut self,
        generator: &InputGenerator,
        padding: &Padding,
        idx: usize,
    ) -> Attempt<()> {
        let bucket = padding.buckets[idx];
        let below = idx.checked_sub(1).map_or(bucket / 2, |idx| padding.buckets[idx]);
        let mut sizes = vec![(below + 1).min(bucket), below + (bucket - below) / 2, bucket];
        sizes.retain(|size| *size > 0);
        sizes.dedup();
        let mut rows = Vec::new();
        for (nth, &size) in sizes.iter().enumerate() {
            let own = inputs(generator, padding, nth as u64, size);
            match self.answer(&own)? {
                Ok(outputs) => rows.push((size, own, outputs)),
                Err(reason) => return Ok(Err(format!("at size {size} {reason}"))),
            }
        }
        let scales = scales(rows.iter().map(|(_, _, outputs)| outputs.as_slice()));
        let answer_of = |size, outputs| Expected { size, outputs, scales: &scales };
        let differs = |size: usize, how: &str| {
            format!(
                "an input of size {size} gets another answer when it is padded to {bucket}{how}"
            )
        };
        let mut padded = Vec::new();
        for (size, own, expected) in &rows {
            let Some(inputs) = padding.resized(own, bucket) else {
                return Ok(Err("an input cannot be padded".to_owned()));
            };
            match self.answer(&inputs)? {
                Ok(got) if self.is_cut(&got, &answer_of(*size, expected), padding) => {}
                Ok(_) => return Ok(Err(differs(*size, ""))),
                Err(reason) => return Ok(Err(format!("padded to {bucket} {reason}"))),
            }
            padded.push(inputs);
        }
        let Some(together) = stack(&padded) else {
            let text = "an input without a pad value varies with those that have one";
            return Ok(Err(text.to_owned()));
        };
        let outputs = match self.answer(&together)? {
            Ok(outputs) => outputs,
            Err(reason) => return Ok(Err(format!("padded to {bucket} {reason}"))),
        };
        for (place, (size, _, expected)) in rows.iter().enumerate() {
            let got = row(&outputs, place).unwrap_or_default();
            if !self.is_cut(&got, &answer_of(*size, expected), padding) {
                return Ok(Err(differs(*size, " among others")));
            }
        }
        for (nth, number) in self.unlike.clone().into_iter().enumerate() {
            let size = sizes[nth % sizes.len()];
            let own = generator.batch(&[number], Some(size)).inputs;
            let inputs = padding
                .resized(&own, bucket)
                .filter(|_| !is_nothing_but_padding(&own, padding, size));
            // What the model refuses by itself tells nothing of padding.
            let (Some(inputs), Ok(expected)) = (inputs, self.answer(&own)?) else { continue };
            let scales = self::scales([expected.as_slice()]);
            let expected = Expected { size, outputs: &expected, scales: &scales };
            match self.answer(&inputs)? {
                Ok(got) if self.is_cut(&got, &expected, padding) => {}
                Ok(_) => return Ok(Err(differs(size, ""))),
                Err(reason) => return Ok(Err(format!("padded to {bucket} {reason}"))),
            }
        }
        Ok(Ok(()))
    }

    /// Whether an answer, cut back to its size, is the expected one.
    fn is_cut(&self, got: &[Output], expected: &Expected<'_>, padding: &Padding) -> bool {
        let Expected { size, outputs, scales } = *expected;
        let cut = |(output, axes): (&Output, &Vec<usize>)| {
            let tensor = output.tensor.cut(axes, size)?;
            Some(Output { name: output.name.clone(), tensor })
        };
        let cut: Option<Vec<_>> = got.iter().zip(&padding.follows).map(cut).collect();
        cut.is_some_and(|cut| agree(outputs, &cut, scales, self.hints.tolerance))
    }

    fn answer(&mut self, inputs: &Inputs) -> Attempt<Vec<Output>> {
        let attempt = self.attempt(inputs)?;
        Ok(match attempt {
            Ok((outputs, _)) => Ok(outputs),
            Err(error) => Err(format!("the model raised: {}", error.message)),
        })
    }
}

/// One row of this size. Of random rows one in which no input is nothing but its pad value: what a
/// mask that hides everything leaves is padding itself, and no answer to compare.
fn inputs(generator: &InputGenerator, padding: &Padding, nth: u64, size: usize) -> Inputs {
    let row = |number| generator.batch(&[generator.as_given(number)], Some(size)).inputs;
    let mut rows = (nth * TRIES..(nth + 1) * TRIES).map(row);
    let first = rows.next().unwrap_or_default();
    if !is_nothing_but_padding(&first, padding, size) {
        return first;
    }
    rows.find(|row| !is_nothing_but_padding(row, padding, size)).unwrap_or(first)
}

/// Whether one of the inputs has nothing in it but what it would be padded with.
fn is_nothing_but_padding(inputs: &Inputs, padding: &Padding, size: usize) -> bool {
    let is_padding = |(place, input): (usize, &Option<Tensor>)| {
        let Some((tensor, pad_to)) = input.as_ref().zip(padding.pad_to(place, size)) else {
            return false;
        };
        let mut elements = tensor.buffer().as_bytes().chunks_exact(pad_to.element.len());
        elements.all(|element| element == pad_to.element)
    };
    inputs.iter().enumerate().any(is_padding)
}

/// Rows of the same shapes as one batch.
fn stack(rows: &[Inputs]) -> Option<Inputs> {
    let first = rows.first()?;
    let input = |place: usize| {
        let Some(tensor) = &first[place] else { return Some(None) };
        if tensor.shape().rank() == 0 {
            return Some(Some(tensor.clone()));
        }
        let parts: Vec<_> = rows.iter().map(|row| row[place].as_ref()).collect::<Option<_>>()?;
        let same = parts.iter().all(|part| part.shape() == tensor.shape());
        let bytes: Vec<_> = parts.iter().map(|part| part.buffer().as_bytes()).collect();
        let bytes = bytes.concat();
        let mut buffer = BufferMut::zeroed(bytes.len());
        buffer.as_mut().copy_from_slice(&bytes);
        let shape = tensor.shape().with_rows(rows.len());
        let stacked = Tensor::new(tensor.datatype(), shape, buffer.freeze()).ok();
        stacked.filter(|_| same).map(Some)
    };
    (0..first.len()).map(input).collect()
}

/// Positions of the buckets that are tried, rising.
fn tried_buckets(n_buckets: usize) -> Vec<usize> {
    let last = n_buckets.saturating_sub(1);
    let mut tried: Vec<_> =
        (0..TRIED_BUCKETS).map(|step| last * step / (TRIED_BUCKETS - 1)).collect();
    tried.dedup();
    tried
}
