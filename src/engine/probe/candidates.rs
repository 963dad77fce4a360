//! Which inputs to try: a sample's, the declared ones, or what the parameters suggest.

use super::arguments::share_rows;
use super::generator::InputGenerator;
use super::{Hints, ShapeSource};
use crate::engine::{EngineError, Fault, Parameter, Signature};
use crate::inference::{SizeRule, TensorSpec};
use crate::tensor::{DataType, Dim, Shape, ShapePattern, Tensor};

/// Most guesses that are tried.
const MAX_GUESSES: usize = 8;
/// Inputs of a sample that are tried as INT64 apart from each other.
const MAX_WHOLE: usize = 3;
/// Sizes that are tried for declared variable dimensions: words, small images, large images.
const SIZES: [usize; 3] = [8, 32, 224];

/// Inputs that a model may accept.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) generator: InputGenerator,
    pub(super) source: ShapeSource,
    /// How many rows to begin with; the second when the first are refused.
    pub(super) n_rows: [usize; 2],
    /// Whether its values were given by someone who knows the model.
    pub(super) is_sample: bool,
}

/// What to try, the most trusted first; empty when there is nothing to go by.
pub(super) fn candidates(
    signature: &Signature,
    specs: Vec<TensorSpec>,
    hints: &Hints,
) -> Result<Vec<Candidate>, EngineError> {
    let is_declared = hints.inputs.is_some() || signature.interface.is_some();
    let source = if is_declared { ShapeSource::Declared } else { ShapeSource::Sample };
    let share_rows = share_rows(&specs, hints.sample.as_deref());
    let candidates = if let Some(sample) = &hints.sample {
        from_sample(specs, sample, source)?
    } else if is_declared || specs.iter().all(TensorSpec::is_scalar) {
        declared(&specs, smallest(signature))
    } else {
        guesses(signature, &specs)
    };
    let whole = |it: Candidate| Candidate { generator: it.generator.into_whole(), ..it };
    Ok(match share_rows {
        true => candidates,
        false => candidates.into_iter().map(whole).collect(),
    })
}

fn from_sample(
    specs: Vec<TensorSpec>,
    sample: &[Option<Tensor>],
    source: ShapeSource,
) -> Result<Vec<Candidate>, EngineError> {
    let refuse = |text: String| Err(EngineError::new(Fault::InvalidFile, text));
    if sample.len() != specs.len() {
        let (given, taken) = (sample.len(), specs.len());
        return refuse(format!("the sample has {given} inputs, but the model takes {taken}"));
    }
    let mut n_rows = 1;
    for (spec, tensor) in specs.iter().zip(sample) {
        let name = &spec.name;
        let Some(tensor) = tensor else {
            if spec.optional {
                continue;
            }
            return refuse(format!("the sample does not give input {name:?}"));
        };
        let is_open = source == ShapeSource::Sample && !spec.is_scalar();
        let fits = spec.datatype == tensor.datatype() && spec.shape.accepts(tensor.shape());
        if !(is_open || fits) || tensor.shape().dims().contains(&0) {
            let (datatype, shape) = (tensor.datatype(), tensor.shape());
            let expected = format!("{} {}", spec.datatype, spec.shape);
            return refuse(format!(
                "the sample gives input {name:?} as {datatype} {shape}, expected {expected}"
            ));
        }
        if tensor.shape().rank() > 0 {
            n_rows = tensor.n_rows();
        }
    }
    let candidate = |sample: &[Option<Tensor>]| {
        let specs = specs.iter().zip(sample).map(|(spec, tensor)| match tensor {
            Some(tensor) if source == ShapeSource::Sample => of_sample(spec, tensor),
            _ => spec.clone(),
        });
        let generator = InputGenerator::sample(specs.collect(), sample);
        Candidate { generator, source, n_rows: [n_rows, 1], is_sample: true }
    };
    let mut candidates = vec![candidate(sample)];
    // JSON does not tell whole numbers from others: a model that looks words up wants INT64, be it for some of its inputs.
    let wholes: Vec<_> = sample.iter().map(|it| it.as_ref().and_then(whole)).collect();
    let may_be: Vec<usize> = (0..wholes.len()).filter(|&place| wholes[place].is_some()).collect();
    if source == ShapeSource::Sample {
        let n_ways = 1usize << may_be.len().min(MAX_WHOLE);
        // All of them first, then fewer.
        for way in (1..n_ways).rev() {
            let is_whole = |place: usize| {
                let nth = may_be.iter().position(|it| *it == place);
                nth.is_some_and(|nth| nth >= MAX_WHOLE || way >> nth & 1 == 1)
            };
            let tensor = |(place, given): (usize, &Option<Tensor>)| match is_whole(place) {
                true => wholes[place].clone(),
                false => given.clone(),
            };
            let tensors: Vec<_> = sample.iter().enumerate().map(tensor).collect();
            candidates.push(candidate(&tensors));
        }
    }
    Ok(candidates)
}

/// The specification that an undeclared sample stands for: any number of rows like these.
fn of_sample(spec: &TensorSpec, tensor: &Tensor) -> TensorSpec {
    let mut dims: Vec<_> = tensor.shape().dims().iter().map(|&size| Dim::Fixed(size)).collect();
    if let Some(first) = dims.first_mut() {
        *first = Dim::Variable;
    }
    TensorSpec { datatype: tensor.datatype(), shape: ShapePattern::Dims(dims), ..spec.clone() }
}

/// The same tensor in INT64, when it is FP32 and all its numbers are whole.
fn whole(tensor: &Tensor) -> Option<Tensor> {
    let values = tensor.as_slice::<f32>()?;
    let convert = |&value: &f32| (value.fract() == 0.0).then_some(value as i64);
    let values = values.iter().map(convert).collect::<Option<Vec<_>>>()?;
    Tensor::from_vec(tensor.shape().clone(), values).ok()
}

/// A size that all dimensions behind the rows have that the file sets bounds for, if any size will do.
fn smallest(signature: &Signature) -> Option<usize> {
    let rules = &signature.interface.as_deref()?.sizes;
    let is_of_rows = |rule: &&SizeRule| rule.places.iter().all(|(_, axis)| *axis == 0);
    rules.iter().filter(|rule| !is_of_rows(rule)).map(|rule| rule.min).max()
}

fn declared(specs: &[TensorSpec], smallest: Option<usize>) -> Vec<Candidate> {
    let has_variable = specs
        .iter()
        .filter_map(|spec| spec.shape.dims())
        .any(|dims| dims.iter().skip(1).any(|dim| *dim == Dim::Variable));
    let sizes = if has_variable { &SIZES[..] } else { &SIZES[..1] };
    let others = smallest.filter(|size| has_variable && !sizes.contains(size));
    let candidate = |size: usize| {
        let generator = InputGenerator::random(specs.to_vec(), size)?;
        let n_rows = generator.fixed_rows().map_or([1, 2], |n_rows| [n_rows, n_rows]);
        Some(Candidate { generator, source: ShapeSource::Declared, n_rows, is_sample: false })
    };
    sizes.iter().copied().chain(others).filter_map(candidate).collect()
}

/// What the weights suggest, for a model that requires one tensor.
fn guesses(signature: &Signature, specs: &[TensorSpec]) -> Vec<Candidate> {
    let is_tensor = |spec: &&TensorSpec| {
        !spec.optional && !spec.is_scalar() && spec.datatype != DataType::Bytes
    };
    if specs.iter().filter(is_tensor).count() != 1 {
        return Vec::new();
    }
    let looks_up = signature.reach.operators().iter().any(|it| it.starts_with("aten::embedding"));
    let shapes = signature.parameters.iter().flat_map(|parameter| suggested(parameter, looks_up));
    let mut seen = Vec::new();
    let mut candidates = Vec::new();
    for (datatype, dims, size) in shapes {
        if candidates.len() == MAX_GUESSES {
            break;
        }
        if seen.contains(&(datatype, dims.clone(), size)) {
            continue;
        }
        seen.push((datatype, dims.clone(), size));
        let shape = ShapePattern::Dims(dims);
        let guess = |spec: &TensorSpec| match is_tensor(&spec) {
            true => TensorSpec { datatype, shape: shape.clone(), ..spec.clone() },
            false => spec.clone(),
        };
        if let Some(generator) = InputGenerator::random(specs.iter().map(guess).collect(), size) {
            let source = ShapeSource::Guessed;
            candidates.push(Candidate { generator, source, n_rows: [2, 1], is_sample: false });
        }
    }
    candidates
}

/// The inputs that a layer with this weight would take: datatype, shape, size of what is variable.
fn suggested(parameter: &Parameter, looks_up: bool) -> Vec<(DataType, Vec<Dim>, usize)> {
    use Dim::{Fixed, Variable};
    let Some(datatype) = parameter.datatype.filter(|datatype| datatype.is_float()) else {
        return Vec::new();
    };
    // Of a hostile file, too: the tensors that come of it must stay small.
    let is_small =
        |shape: &[usize]| Shape::new(shape.to_vec()).elements().is_some_and(|it| it < 1 << 24);
    match *parameter.shape {
        [_, width] if is_small(&[2, width]) => {
            let dense = (datatype, vec![Variable, Fixed(width)], 0);
            let words = looks_up.then(|| (DataType::Int64, vec![Variable, Variable], 8));
            [Some(dense), words].into_iter().flatten().collect()
        }
        [_, channels, _] if is_small(&[2, channels, 256]) => {
            vec![(datatype, vec![Variable, Fixed(channels), Variable], 256)]
        }
        [_, channels, _, _] if is_small(&[2, channels, 224, 224]) => {
            let image =
                |size| (datatype, vec![Variable, Fixed(channels), Variable, Variable], size);
            [224, 32, 28].map(image).to_vec()
        }
        _ => Vec::new(),
    }
}
