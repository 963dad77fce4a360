//! What is declared about a model's inputs, laid over what its file says.

use crate::engine::{Argument, ArgumentKind, EngineError, Fault, Signature, TensorType};
use crate::inference::TensorSpec;
use crate::tensor::{DataType, Dim, ShapePattern, Tensor};

/// One specification for each argument, in the model's order.
///
/// Declared names are the names on the wire. They are matched by name when each is an argument's name,
/// else by position when there are as many as arguments (or as many as required ones). What
/// is not declared is what the file says of it; else a tensor of FP32 of which nothing is known, or the plain value that the
/// argument takes.
///
/// # Errors
///
/// Both sides are named when they do not match.
pub fn arguments(
    signature: &Signature,
    declared: Option<&[TensorSpec]>,
) -> Result<Vec<TensorSpec>, EngineError> {
    let arguments = &signature.arguments;
    let by_file = signature.interface.as_deref().map_or(&[][..], |it| &it.inputs);
    let of_file = |(place, argument)| undeclared(argument, by_file.get(place));
    let mut specs: Vec<TensorSpec> = arguments.iter().enumerate().map(of_file).collect();
    let Some(declared) = declared else { return Ok(specs) };
    let places = places(arguments, declared).ok_or_else(|| mismatch(arguments, declared))?;

    for (spec, place) in declared.iter().zip(places) {
        let argument = &arguments[place];
        check_kind(argument, spec)?;
        if let Some(taken) = by_file.get(place) {
            check_type(taken, spec)?;
        }
        specs[place] = TensorSpec { optional: argument.optional, ..spec.clone() };
    }
    Ok(specs)
}

/// The argument that each declared input stands for; `None` when they do not match.
fn places(arguments: &[Argument], declared: &[TensorSpec]) -> Option<Vec<usize>> {
    let find = |spec: &TensorSpec| arguments.iter().position(|it| it.name == spec.name);
    let named: Vec<_> = declared.iter().map(find).collect();
    let required = || (0..arguments.len()).filter(|&place| !arguments[place].optional);

    let places: Vec<usize> = match named.iter().copied().collect() {
        Some(by_name) => by_name,
        None if declared.len() == arguments.len() => (0..arguments.len()).collect(),
        None if declared.len() == required().count() => required().collect(),
        None => return None,
    };
    // By position, no declared name may be another argument's: that would be a silent mix-up.
    let agrees = named.iter().zip(&places).all(|(name, place)| name.is_none_or(|it| it == *place));
    let names_differ = declared
        .iter()
        .enumerate()
        .all(|(index, spec)| declared[..index].iter().all(|earlier| earlier.name != spec.name));
    let complete = required().all(|place| places.contains(&place));
    (agrees && names_differ && complete).then_some(places)
}

fn mismatch(arguments: &[Argument], declared: &[TensorSpec]) -> EngineError {
    let names: Vec<_> = declared.iter().map(|spec| &*spec.name).collect();
    let takes: Vec<_> = arguments
        .iter()
        .map(|it| format!("{}{}", it.name, if it.optional { " (optional)" } else { "" }))
        .collect();
    let message =
        format!("declared are the inputs {}, but the model takes {}", list(&names), list(&takes));
    EngineError::new(Fault::InvalidFile, message)
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn check_kind(argument: &Argument, spec: &TensorSpec) -> Result<(), EngineError> {
    let (name, declared, shape) = (&spec.name, spec.datatype, &spec.shape);
    let takes = match argument.kind {
        ArgumentKind::Tensor if declared == DataType::Bytes => {
            "a tensor there, which holds no texts".to_owned()
        }
        ArgumentKind::Scalar(datatype) if declared != datatype || !spec.is_scalar() => {
            format!("a plain value there: {datatype} []")
        }
        ArgumentKind::Texts
            if declared != DataType::Bytes || shape.dims().map(<[Dim]>::len) != Some(1) =>
        {
            "a list of texts there: BYTES [-1]".to_owned()
        }
        ArgumentKind::Tensor | ArgumentKind::Texts | ArgumentKind::Scalar(_) => return Ok(()),
    };
    let message =
        format!("input {name:?} is declared as {declared} {shape}, but the model takes {takes}");
    Err(EngineError::new(Fault::InvalidFile, message))
}

/// Whether a file that says what it takes takes all that is declared.
fn check_type(taken: &TensorType, spec: &TensorSpec) -> Result<(), EngineError> {
    let fits = |(declared, taken): (&Dim, &Dim)| *taken == Dim::Variable || declared == taken;
    let all_fit = match (spec.shape.dims(), taken.shape.dims()) {
        (Some(declared), Some(taken)) => {
            declared.len() == taken.len() && declared.iter().zip(taken).all(fits)
        }
        (_, taken) => taken.is_none(),
    };
    if all_fit && spec.datatype == taken.datatype {
        return Ok(());
    }
    let TensorSpec { name, datatype, shape, .. } = spec;
    let message = format!(
        "input {name:?} is declared as {datatype} {shape}, but the model takes {} {} there",
        taken.datatype, taken.shape
    );
    Err(EngineError::new(Fault::InvalidFile, message))
}

/// Whether the inputs share one number of rows. They do not where what is declared for their first
/// dimensions cannot be one number, as of a graph's nodes `[-1, 16]` and its edges `[2, -1]`, or where a sample has
/// different ones.
pub(super) fn share_rows(specs: &[TensorSpec], sample: Option<&[Option<Tensor>]>) -> bool {
    let declared = specs.iter().filter(|spec| spec.declared);
    let mut declared = declared.filter_map(|spec| spec.shape.dims()?.first());
    let given = sample.unwrap_or_default().iter().flatten();
    let mut given = given.filter_map(|tensor| tensor.shape().dims().first());
    let first = (declared.next(), given.next());
    declared.all(|dim| Some(dim) == first.0) && given.all(|size| Some(size) == first.1)
}

fn undeclared(argument: &Argument, by_file: Option<&TensorType>) -> TensorSpec {
    let (name, optional) = (argument.name.clone(), argument.optional);
    if let Some(TensorType { datatype, shape }) = by_file.cloned() {
        return TensorSpec { name, datatype, shape, optional, declared: true };
    }
    // A plain value's datatype, or that of a text, stands in the file; what a tensor holds does not.
    let declared = argument.kind != ArgumentKind::Tensor;
    let (datatype, shape) = match argument.kind {
        ArgumentKind::Tensor => (DataType::Fp32, ShapePattern::Unknown),
        ArgumentKind::Texts => (DataType::Bytes, ShapePattern::Dims(vec![Dim::Variable])),
        ArgumentKind::Scalar(datatype) => (datatype, ShapePattern::Dims(Vec::new())),
    };
    TensorSpec { name, datatype, shape, optional, declared }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let argument = |name: &str, kind, optional| Argument { name: name.into(), kind, optional };
        let rate = ArgumentKind::Scalar(DataType::Int64);
        let arguments = vec![
            argument("x", ArgumentKind::Tensor, false),
            argument("mask", ArgumentKind::Tensor, false),
            argument("rate", rate, true),
        ];
        Signature { arguments, ..Signature::default() }
    }

    fn tensor(name: &str) -> TensorSpec {
        let shape = ShapePattern::from_wire(&[-1, 2]).unwrap();
        TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape,
            optional: false,
            declared: true,
        }
    }

    #[track_caller]
    fn check(declared: &[&str], expected: Result<&[&str], &str>) {
        let declared: Vec<_> = declared.iter().map(|name| tensor(name)).collect();
        let outcome = arguments(&signature(), Some(&declared));
        match (outcome, expected) {
            (Ok(specs), Ok(names)) => {
                let found: Vec<_> = specs.iter().map(|spec| &*spec.name).collect();
                assert_eq!(found, names);
            }
            (Err(error), Err(text)) => assert!(error.message.contains(text), "{error}"),
            (outcome, expected) => panic!("got {outcome:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn inputs_share_rows_unless_their_first_dimensions_cannot_be_one_number() {
        let check = |shapes: &[&[i64]], sizes: &[usize], expected: bool| {
            let spec = |shape: &&[i64]| {
                let shape = ShapePattern::from_wire(shape).unwrap();
                TensorSpec { shape, ..tensor("x") }
            };
            let sample = |&n_rows: &usize| {
                let shape = crate::tensor::Shape::from([n_rows, 2]);
                Tensor::from_vec(shape, vec![0f32; n_rows * 2]).ok()
            };
            let specs: Vec<_> = shapes.iter().map(spec).collect();
            let sample: Vec<_> = sizes.iter().map(sample).collect();
            let sample = (!sample.is_empty()).then_some(&sample[..]);
            assert_eq!(share_rows(&specs, sample), expected, "{shapes:?} {sizes:?}");
        };
        check(&[&[-1, 16], &[-1, 2], &[]], &[], true);
        check(&[&[4, 16], &[4, 2]], &[], true);
        check(&[&[-1, 16], &[2, -1]], &[], false);
        check(&[&[4, 16], &[2, -1]], &[], false);
        check(&[&[-1, 16], &[-1, 2]], &[3, 3], true);
        check(&[&[-1, 16], &[-1, 2]], &[3, 2], false);
        check(&[&[-1, 16]], &[7], true);
    }

    #[test]
    fn declared_inputs_are_matched_by_name_or_else_by_position() {
        check(&["x", "mask"], Ok(&["x", "mask", "rate"]));
        check(&["mask", "x"], Ok(&["x", "mask", "rate"]));
        check(&["features", "valid"], Ok(&["features", "valid", "rate"]));
        check(&["x", "valid"], Ok(&["x", "valid", "rate"]));
        check(
            &["valid", "x"],
            Err("inputs valid, x, but the model takes x, mask, rate (optional)"),
        );
        check(&["x"], Err("declared are the inputs x, but the model takes"));
        check(&["a", "b", "c", "d"], Err("inputs a, b, c, d"));
        check(&["a", "a"], Err("inputs a, a"));
        check(&["x", "mask", "rate"], Err("\"rate\" is declared as FP32 [-1, 2], but"));
    }
}
