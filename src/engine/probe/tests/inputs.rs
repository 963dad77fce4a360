//! Which inputs are tried: declared ones, a sample's, and what the weights suggest.

use super::*;

fn weights(parameters: &[(&[usize], DataType)]) -> Signature {
    let parameter = |(shape, datatype): &(&[usize], DataType)| Parameter {
        name: "weight".into(),
        shape: shape.to_vec(),
        datatype: Some(*datatype),
    };
    let reach = Reach::Operators(vec!["aten::embedding".to_owned()]);
    let parameters = parameters.iter().map(parameter).collect();
    Signature { parameters, reach, ..silent_signature() }
}

/// A model that takes only what `accepts` says and gives the first number of each row.
fn picky(accepts: impl Fn(DataType, &[usize]) -> bool + Send + Sync + 'static) -> FakeModel {
    FakeModel::new(move |batch| {
        let input = first(&batch);
        if !accepts(input.datatype(), input.shape().row()) {
            return Err(raised("mat1 and mat2 cannot be multiplied"));
        }
        let bytes = input.buffer().as_bytes();
        let row = bytes.len() / input.n_rows();
        let values = bytes.chunks(row).map(|row| f32::from(row[2])).collect();
        Ok(vec![tensor(&[input.n_rows(), 1], values)])
    })
}

#[track_caller]
fn guessed(model: FakeModel, signature: Signature, expected: &str) {
    let findings = probe(&model.with_signature(signature), &Hints::default()).unwrap();
    let input = &findings.inputs[0];
    assert_eq!(format!("{} {}", input.datatype, input.shape), expected, "{findings:?}");
    let source =
        if expected.ends_with("unknown") { ShapeSource::None } else { ShapeSource::Guessed };
    assert_eq!(findings.shape_source, source);
}

#[test]
fn weights_suggest_inputs() {
    use DataType::{Fp32, Fp64, Int64};
    let dense = |width| picky(move |_, row| *row == [width]);
    guessed(dense(30), weights(&[(&[30], Fp32), (&[64, 30], Fp32)]), "FP32 [-1, 30]");
    guessed(dense(30), weights(&[(&[5, 7], Fp64), (&[64, 30], Fp64)]), "FP64 [-1, 30]");
    let words = picky(|datatype, _| datatype == Int64);
    guessed(words, weights(&[(&[100, 16], Fp32)]), "INT64 [-1, -1]");
    let eight_words = picky(|datatype, row| datatype == Int64 && *row == [8]);
    guessed(eight_words, weights(&[(&[100, 16], Fp32)]), "INT64 [-1, 8]");
    let conv: &[(&[usize], DataType)] = &[(&[6, 1, 5, 5], Fp32), (&[10, 320], Fp32)];
    guessed(picky(|_, row| *row == [1, 28, 28]), weights(conv), "FP32 [-1, 1, 28, 28]");
    guessed(picky(|_, row| row.len() == 3 && row[0] == 1), weights(conv), "FP32 [-1, 1, -1, -1]");
    guessed(picky(|_, _| false), weights(conv), "FP32 unknown");
    guessed(dense(3), weights(&[(&[usize::MAX, usize::MAX], Fp32)]), "FP32 unknown");
}

#[test]
fn what_cannot_be_run_is_unprobed_but_a_refused_sample_is_an_error() {
    let refusing = || FakeModel::new(|_| Err(raised("only Tuesdays")));
    let findings = judged(&refusing(), &declared(&[-1, 3]), Batching::Unprobed);
    assert!(findings.notes[0].contains("only Tuesdays"));
    assert_eq!(findings.inputs[0].shape.to_string(), "[-1, 3]");
    judged(&refusing(), &Hints::default(), Batching::Unprobed);

    let sample = Some(vec![Some(tensor(&[1, 3], vec![0.5; 3]))]);
    let error = probe(&refusing(), &Hints { sample, ..Hints::default() }).unwrap_err();
    assert_eq!(error.message, "the model refuses its sample: only Tuesdays");
    let sample = Some(vec![Some(tensor(&[1, 4], vec![0.5; 4]))]);
    let error = probe(&refusing(), &Hints { sample, ..declared(&[-1, 3]) }).unwrap_err();
    assert!(error.message.contains("gives input \"x\" as FP32 [1, 4], expected FP32 [-1, 3]"));
    const DIED: Fault = Fault::Died(Death::Crashed);
    let dead = FakeModel::new(|_| Err(EngineError::new(DIED, "gone")));
    assert_eq!(probe(&dead, &declared(&[-1, 3])).unwrap_err().fault, DIED);
}

#[test]
fn a_sample_gives_shapes_types_and_values() {
    let sample = Some(vec![Some(tensor(&[1, 3], vec![1.0, 2.0, 5.0]))]);
    let hints = Hints { sample, ..Hints::default() };
    let findings = judged(&summing(|sums| sums), &hints, Batching::Probed);
    assert_eq!(findings.inputs[0].shape.to_string(), "[-1, 3]");
    assert_eq!(findings.shape_source, ShapeSource::Sample);

    let words = FakeModel::new(|batch| {
        let ids = first(&batch).as_slice::<i64>().ok_or_else(|| raised("expected Long"))?;
        if ids.iter().any(|id| !(0..=5).contains(id)) {
            return Err(raised("index out of range"));
        }
        let sums = ids.chunks(3).map(|row| row.iter().sum::<i64>() as f32).collect::<Vec<_>>();
        Ok(vec![tensor(&[sums.len(), 1], sums)])
    });
    let findings = judged(&words, &hints, Batching::Probed);
    assert_eq!(findings.inputs[0].datatype, DataType::Int64, "whole numbers may be meant as such");

    let strict = FakeModel::new(|batch| {
        let is_known = rows(first(&batch)).iter().all(|row| *row == [1.0, 2.0, 5.0]);
        if is_known { Ok(vec![first(&batch).clone()]) } else { Err(raised("unknown row")) }
    });
    let findings = judged(&strict, &hints, Batching::Unprobed);
    assert_eq!(findings.notes.len(), 2, "{:?}", findings.notes);
}

#[test]
fn optional_and_plain_arguments_are_left_out_or_set() {
    let argument = |name: &str, kind, optional| Argument { name: name.into(), kind, optional };
    let rate = ArgumentKind::Scalar(DataType::Int64);
    let arguments = vec![
        argument("x", ArgumentKind::Tensor, false),
        argument("rate", rate, false),
        argument("mask", ArgumentKind::Tensor, true),
    ];
    let model = FakeModel::new(|batch| {
        assert!(batch.inputs[2].is_none(), "an optional input must not be made up");
        let rate = batch.inputs[1].as_ref().unwrap();
        assert_eq!((rate.shape().rank(), rate.as_slice::<i64>().unwrap()), (0, &[1][..]));
        Ok(vec![first(&batch).clone()])
    })
    .with_signature(Signature { arguments, ..Signature::default() });
    let inputs = vec![spec("x", DataType::Fp32, &[-1, 3]), spec("rate", DataType::Int64, &[])];
    let hints = Hints { inputs: Some(inputs), ..Hints::default() };
    let findings = judged(&model, &hints, Batching::Probed);
    assert!(findings.inputs[1].is_scalar() && findings.inputs[2].optional);
}

#[test]
fn inputs_that_share_no_rows_make_a_request_of_one_piece() {
    let argument =
        |name: &str| Argument { name: name.into(), kind: ArgumentKind::Tensor, optional: false };
    let signature = Signature {
        arguments: vec![argument("x"), argument("edge_index")],
        returns: "Tensor".into(),
        ..Signature::default()
    };
    let graph = || {
        FakeModel::new(|batch| {
            let [x, edges] = [0, 1].map(|place| batch.inputs[place].clone().unwrap());
            let ids = edges.as_slice::<i64>().ok_or_else(|| raised("expected Long"))?;
            if edges.shape().n_rows() != 2 || ids.iter().any(|id| *id >= x.n_rows() as i64) {
                return Err(raised("index out of range"));
            }
            Ok(vec![tensor(&[x.n_rows()], sums(&x))])
        })
        .with_signature(signature.clone())
    };
    let inputs =
        vec![spec("x", DataType::Fp32, &[-1, 3]), spec("edge_index", DataType::Int64, &[2, -1])];
    let hints = Hints { inputs: Some(inputs.clone()), ..Hints::default() };
    let findings = judged(&graph(), &hints, Batching::NoRowAxis);
    let contract = Contract { inputs_have_rows: false, ..Contract::of_form(AnswerForm::Whole) };
    assert_eq!(
        (&findings.contract, findings.outputs[0].shape.to_string()),
        (&contract, "[-1]".into())
    );
    assert_eq!(findings.inputs, inputs);

    let edges =
        Tensor::from_vec(Shape::from([2, 5]), vec![0i64, 1, 2, 2, 1, 1, 2, 0, 1, 0]).unwrap();
    let sample = Some(vec![Some(tensor(&[3, 3], vec![0.5; 9])), Some(edges)]);
    let findings =
        judged(&graph(), &Hints { sample: sample.clone(), ..hints }, Batching::NoRowAxis);
    assert_eq!(findings.contract, contract);
    // Without a declaration the sample alone shows it.
    let findings = judged(&graph(), &Hints { sample, ..Hints::default() }, Batching::NoRowAxis);
    assert_eq!((findings.contract, findings.shape_source), (contract, ShapeSource::Sample));
}
