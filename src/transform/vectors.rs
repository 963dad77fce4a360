//! The steps behind a model of texts that make one vector of a row: pooling over its tokens, and length 1.

use super::error::TransformError;
use super::steps::{OutputStep, Outputs};
use crate::inference::{AnswerForm, ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::tensor::{DataType, Shape, ShapePattern, Tensor};

const POOL: &str = "postprocess.pool";
const NORMALIZE: &str = "postprocess.normalize";
/// What tells a row's tokens from its padding.
const MASK: &str = "attention_mask";
/// Shorter vectors are left as they are, as PyTorch's `normalize` does.
const SHORTEST: f64 = 1e-12;

/// How the vectors of a row's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The mean of those that the mask tells from padding.
    Mean,
    /// The first of them, which many models have for that.
    First,
}

impl Pool {
    /// The shape behind it of an output with a vector for each token of each row.
    fn pooled(output: &TensorSpec) -> Result<ShapePattern, TransformError> {
        let fault = |got: String| TransformError::Step {
            step: POOL,
            reason: format!(
                "output {:?} is {got}, expected FP32 [-1, -1, n], a vector for each token",
                output.name
            ),
        };
        if output.datatype != DataType::Fp32 {
            return Err(fault(format!("of {}", output.datatype)));
        }
        match output.shape.dims() {
            None => Ok(ShapePattern::Unknown),
            Some([rows, _, size]) => Ok(ShapePattern::Dims(vec![*rows, *size])),
            Some(_) => Err(fault(format!("of shape {}", output.shape))),
        }
    }

    /// One row: the vectors of its tokens, each of so many numbers, and its mask.
    fn row(self, tokens: &[f32], size: usize, mask: Option<&[i64]>) -> Vec<f32> {
        let is_kept = |at: usize| mask.is_none_or(|mask| mask.get(at).is_some_and(|it| *it != 0));
        let kept = tokens.chunks(size).enumerate().filter(|(at, _)| is_kept(*at));
        let mut kept = kept.map(|(_, vector)| vector);
        match self {
            Self::First => kept.next().unwrap_or(&tokens[..size]).to_vec(),
            Self::Mean => {
                let (mut sum, mut n) = (vec![0f64; size], 0.0f64);
                for vector in kept {
                    sum.iter_mut().zip(vector).for_each(|(sum, it)| *sum += f64::from(*it));
                    n += 1.0;
                }
                sum.into_iter().map(|sum| (sum / n.max(1.0)) as f32).collect()
            }
        }
    }
}

impl OutputStep for Pool {
    fn specs(&self, inner: &ModelSpec) -> Result<Vec<TensorSpec>, TransformError> {
        has_rows(inner, POOL)?;
        let mut outputs = inner.outputs.clone();
        if let Some(first) = outputs.first_mut() {
            first.shape = Self::pooled(first)?;
        }
        Ok(outputs)
    }

    fn needs(&self) -> &'static [&'static str] {
        &[MASK]
    }

    fn apply(&self, _inner: &[TensorSpec], outputs: &mut Outputs) -> Result<(), InferError> {
        let n_rows = outputs.n_rows;
        let mask = outputs.given.iter().find(|it| &*it.name == MASK).map(whole_numbers);
        let Some(output) = outputs.tensors.first_mut() else { return Ok(()) };
        let &[rows, n_tokens, size] = output.tensor.shape().dims() else {
            return Err(unfit(POOL, output));
        };
        let values = output.tensor.as_slice::<f32>().filter(|_| rows == n_rows && size > 0);
        let values = values.ok_or_else(|| unfit(POOL, output))?;
        let mask = mask.flatten().filter(|mask| mask.len() == rows * n_tokens);
        let mut pooled = Vec::with_capacity(rows * size);
        for (row, tokens) in values.chunks((n_tokens * size).max(1)).enumerate() {
            let mask = mask.as_ref().map(|mask| &mask[row * n_tokens..][..n_tokens]);
            pooled.extend(self.row(tokens, size, mask));
        }
        replace(output, [rows, size], pooled, POOL)
    }
}

/// Divides each row's vector by its length.
#[derive(Debug, Clone, Copy)]
pub struct Normalize;

impl OutputStep for Normalize {
    fn specs(&self, inner: &ModelSpec) -> Result<Vec<TensorSpec>, TransformError> {
        has_rows(inner, NORMALIZE)?;
        let unfit = |it: &&TensorSpec| {
            let is_row = it.shape.dims().is_none_or(|dims| matches!(dims, [_, _]));
            it.datatype != DataType::Fp32 || !is_row
        };
        match inner.outputs.first().filter(unfit) {
            None => Ok(inner.outputs.clone()),
            Some(it) => Err(TransformError::Step {
                step: NORMALIZE,
                reason: format!(
                    "output {:?} is {} {}, expected FP32 [-1, n], a vector for each row",
                    it.name, it.datatype, it.shape
                ),
            }),
        }
    }

    fn apply(&self, _inner: &[TensorSpec], outputs: &mut Outputs) -> Result<(), InferError> {
        let n_rows = outputs.n_rows;
        let Some(output) = outputs.tensors.first_mut() else { return Ok(()) };
        let &[rows, size] = output.tensor.shape().dims() else {
            return Err(unfit(NORMALIZE, output));
        };
        let values = output.tensor.as_slice::<f32>().filter(|_| rows == n_rows && size > 0);
        let values = values.ok_or_else(|| unfit(NORMALIZE, output))?;
        let normalized = values.chunks(size).flat_map(|vector| {
            let square: f64 = vector.iter().map(|it| f64::from(*it).powi(2)).sum();
            let length = square.sqrt().max(SHORTEST);
            vector.iter().map(move |it| (f64::from(*it) / length) as f32)
        });
        let normalized = normalized.collect();
        replace(output, [rows, size], normalized, NORMALIZE)
    }
}

fn has_rows(inner: &ModelSpec, step: &'static str) -> Result<(), TransformError> {
    if inner.contract.form == AnswerForm::Rows {
        return Ok(());
    }
    let reason = "the model's answers have no rows, expected a vector for each".to_owned();
    Err(TransformError::Step { step, reason })
}

/// The elements of a mask.
fn whole_numbers(mask: &NamedTensor) -> Option<Vec<i64>> {
    let tensor = &mask.tensor;
    match tensor.datatype() {
        DataType::Int64 => Some(tensor.as_slice::<i64>()?.to_vec()),
        DataType::Int32 => Some(tensor.as_slice::<i32>()?.iter().map(|it| (*it).into()).collect()),
        DataType::Bool => Some(tensor.buffer().as_bytes().iter().map(|it| (*it).into()).collect()),
        _ => None,
    }
}

fn replace(
    output: &mut NamedTensor,
    dims: [usize; 2],
    values: Vec<f32>,
    step: &'static str,
) -> Result<(), InferError> {
    output.tensor = Tensor::from_vec(Shape::from(dims), values).map_err(|_| unfit(step, output))?;
    Ok(())
}

fn unfit(step: &'static str, output: &NamedTensor) -> InferError {
    let (name, shape) = (&output.name, output.tensor.shape());
    let datatype = output.tensor.datatype();
    let message = format!("{step}: output {name:?} is {datatype} {shape}, which it cannot take");
    InferError::new(ErrorCode::InferenceFailed, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{Batching, Contract};

    fn spec(shape: &[i64]) -> ModelSpec {
        let shape = ShapePattern::from_wire(shape).unwrap();
        let (name, datatype) = ("hidden".into(), DataType::Fp32);
        ModelSpec {
            inputs: vec![],
            outputs: vec![TensorSpec { name, datatype, shape, optional: false, declared: true }],
            batching: Batching::Proved,
            max_rows: 4,
            contract: Contract::default(),
        }
    }

    fn outputs(dims: &[usize], values: &[f32], mask: Option<&[i64]>) -> Outputs {
        let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap();
        let given = mask.map(|mask| NamedTensor {
            name: MASK.into(),
            tensor: Tensor::from_vec(Shape::from([dims[0], dims[1]]), mask.to_vec()).unwrap(),
        });
        Outputs {
            tensors: vec![NamedTensor { name: "hidden".into(), tensor }],
            n_rows: dims[0],
            given: given.into_iter().collect(),
            extras: Vec::new(),
            parameters: Default::default(),
        }
    }

    #[track_caller]
    fn check(step: &dyn OutputStep, mut given: Outputs, expected: &[f32]) {
        step.apply(&[], &mut given).unwrap();
        let tensor = &given.tensors[0].tensor;
        assert_eq!(tensor.as_slice::<f32>(), Some(expected));
        assert_eq!(tensor.shape().dims(), [given.n_rows, expected.len() / given.n_rows]);
    }

    #[test]
    fn padding_is_no_token() {
        let tokens = [1.0, 2.0, 3.0, 4.0, 100.0, 100.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
        let mask = [1, 1, 0, 0, 1, 1];
        let given = || outputs(&[2, 3, 2], &tokens, Some(&mask));
        check(&Pool::Mean, given(), &[2.0, 3.0, 8.0, 9.0]);
        check(&Pool::First, given(), &[1.0, 2.0, 7.0, 8.0]);
        check(&Pool::Mean, outputs(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0], None), &[2.0, 3.0]);
        check(&Pool::Mean, outputs(&[1, 1, 2], &[1.0, 2.0], Some(&[0])), &[0.0, 0.0]);
    }

    #[test]
    fn vectors_get_length_one_and_nothing_stays_nothing() {
        let given = outputs(&[2, 2], &[3.0, 4.0, 0.0, 0.0], None);
        check(&Normalize, given, &[0.6, 0.8, 0.0, 0.0]);
        let huge = [3.0, 4.0].map(|side| side * 2f32.powi(100));
        check(&Normalize, outputs(&[1, 2], &huge, None), &[0.6, 0.8]);
    }

    #[test]
    fn the_interface_has_a_vector_for_each_row() {
        let pooled = Pool::Mean.specs(&spec(&[-1, -1, 384])).unwrap();
        assert_eq!(pooled[0].shape.to_wire(), Some(vec![-1, 384]));
        let error = Pool::Mean.specs(&spec(&[-1, 384])).unwrap_err().to_string();
        assert!(error.starts_with("postprocess.pool: output \"hidden\" is of shape"), "{error}");
        assert!(Normalize.specs(&spec(&[-1, 384])).is_ok());
        let error = Normalize.specs(&spec(&[-1, -1, 384])).unwrap_err().to_string();
        assert!(error.contains("expected FP32 [-1, n]"), "{error}");
    }
}
