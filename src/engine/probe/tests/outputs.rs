//! What is found out about outputs: their rows, their number, and what is declared.

use super::*;

#[test]
fn outputs_without_a_row_for_each_row_are_not_batched() {
    let mean =
        FakeModel::new(|batch| Ok(vec![tensor(&[], vec![sums(first(&batch)).iter().sum()])]));
    judged(&mean, &declared(&[-1, 3]), Batching::NoRowAxis);
    let two = FakeModel::new(|batch| {
        let sums = sums(first(&batch));
        Ok(vec![tensor(&[sums.len()], sums), tensor(&[2, 1], vec![1.0, 2.0])])
    });
    let findings = judged(&two, &declared(&[-1, 3]), Batching::NoRowAxis);
    assert_eq!(findings.outputs[1].shape.to_string(), "[2, 1]");
}

/// The sums of the rows, and what `squeeze()` makes of them.
fn squeezing() -> FakeModel {
    FakeModel::new(|batch| {
        let sums = sums(first(&batch));
        let dims = if sums.len() == 1 { vec![] } else { vec![sums.len()] };
        let pairs = sums.iter().flat_map(|sum| [*sum, 1.0]).collect();
        let pair_dims = if sums.len() == 1 { vec![2] } else { vec![sums.len(), 2] };
        let whole = tensor(&[sums.len(), 1], sums.clone());
        Ok(vec![tensor(&dims, sums), tensor(&pair_dims, pairs), whole])
    })
}

#[test]
fn an_axis_of_rows_that_is_dropped_for_one_row_is_put_back() {
    let findings = judged(&squeezing(), &declared(&[-1, 3]), Batching::Probed);
    let shapes: Vec<_> = findings.outputs.iter().map(|it| it.shape.to_string()).collect();
    assert_eq!(shapes, ["[-1]", "[-1, 2]", "[-1, 1]"]);
    let batching_scope = BatchingScope { given: vec![true], any_sizes: false };
    let squeezed = vec![true, true, false];
    let contract = Contract { squeezed, batching_scope, ..Contract::default() };
    assert_eq!((findings.contract, findings.notes.len()), (contract, 1));

    // One row in the sample: what comes first is the run of one row.
    let sample = Some(vec![Some(tensor(&[1, 3], vec![1.0, 2.0, 5.0]))]);
    let sampled = Hints { sample, ..Hints::default() };
    let findings = judged(&squeezing(), &sampled, Batching::Probed);
    assert_eq!(findings.outputs[0].shape.to_string(), "[-1]");
    let outputs = ["a", "b", "c"].map(|name| match name {
        "a" => spec(name, DataType::Fp32, &[-1]),
        "b" => spec(name, DataType::Fp32, &[-1, 2]),
        _ => spec(name, DataType::Fp32, &[-1, 1]),
    });
    let hints = Hints { outputs: Some(outputs.to_vec()), ..declared(&[-1, 3]) };
    assert_eq!(judged(&squeezing(), &hints, Batching::Probed).outputs, outputs);
}

#[test]
fn the_form_of_answers_is_settled_by_all_runs() {
    let form = |model: &FakeModel| probe(model, &declared(&[-1, 3])).unwrap().contract.form;
    assert_eq!(form(&summing(|sums| sums)), AnswerForm::Rows);
    let sum = FakeModel::new(|batch| Ok(vec![tensor(&[], vec![sums(first(&batch)).iter().sum()])]));
    assert_eq!(form(&sum), AnswerForm::Whole);
    // As boxes are kept by their scores: all of two rows, fewer of more.
    let kept = FakeModel::new(|batch| {
        let sums = sums(first(&batch));
        let kept: Vec<f32> = sums.into_iter().take(2).collect();
        Ok(vec![tensor(&[kept.len()], kept.clone()), tensor(&[kept.len(), 1], kept)])
    });
    assert_eq!(form(&kept), AnswerForm::Whole);
    let refusing = || FakeModel::new(|_| Err(raised("only Tuesdays")));
    assert_eq!(form(&refusing()), AnswerForm::Whole, "nothing is known");
    let declare = |shape: &[i64]| {
        let outputs = Some(vec![spec("y", DataType::Fp32, shape)]);
        probe(&refusing(), &Hints { outputs, ..declared(&[-1, 3]) }).unwrap().contract.form
    };
    assert_eq!(declare(&[-1, 2]), AnswerForm::Rows, "a first dimension of -1 claims rows");
    assert_eq!(declare(&[7, 2]), AnswerForm::Whole);
    assert_eq!(declare(&[]), AnswerForm::Whole);
}

#[test]
fn a_list_whose_length_follows_the_data_is_told_and_may_be_named() {
    let list = || {
        let signature = Signature { returns: "List[Tensor]".into(), ..silent_signature() };
        FakeModel::new(|batch| {
            let rows = rows(first(&batch));
            Ok(rows.iter().map(|row| tensor(&[2, 3], [*row, *row].concat())).collect())
        })
        .with_signature(signature)
    };
    let findings = judged(&list(), &declared(&[-1, 3]), Batching::NoRowAxis);
    assert_eq!(findings.contract.form, AnswerForm::List);
    assert_eq!(findings.outputs.len(), 1);
    assert_eq!(
        (&*findings.outputs[0].name, &*findings.outputs[0].shape.to_string()),
        ("output", "[-1, 3]")
    );
    let boxes = vec![spec("boxes", DataType::Fp32, &[-1, 3])];
    let hints = Hints { outputs: Some(boxes.clone()), ..declared(&[-1, 3]) };
    assert_eq!(judged(&list(), &hints, Batching::NoRowAxis).outputs, boxes);
    let two = vec![boxes[0].clone(), spec("b", DataType::Fp32, &[-1, 3])];
    let error = probe(&list(), &Hints { outputs: Some(two), ..declared(&[-1, 3]) }).unwrap_err();
    assert!(error.message.contains("declare one"), "{error}");
    // As many in every run, as the levels of a pyramid: those are outputs like any others.
    let levels = FakeModel::new(|batch| Ok(vec![first(&batch).clone(); 3]));
    let findings = judged(&levels, &declared(&[-1, 3]), Batching::Probed);
    assert_eq!((findings.contract.form, findings.outputs.len()), (AnswerForm::Rows, 3));
}

#[test]
fn nan_is_the_same_as_nan_and_is_noted() {
    let model = summing(|sums| sums.into_iter().map(|_| f32::NAN).collect());
    let findings = judged(&model, &declared(&[-1, 3]), Batching::Probed);
    assert!(findings.notes[0].contains("NaN"), "{:?}", findings.notes);
}

#[test]
fn variable_dimensions_of_inputs_show_in_the_outputs() {
    let model = FakeModel::new(|batch| {
        let input = first(&batch);
        if input.shape().row()[0] < 10 {
            return Err(raised("kernel larger than the image"));
        }
        let pooled = tensor(&[input.n_rows(), 1], sums(input));
        Ok(vec![input.clone(), pooled])
    });
    let findings = judged(&model, &declared(&[-1, -1, 2]), Batching::Probed);
    let names: Vec<_> =
        findings.outputs.iter().map(|it| format!("{} {}", it.name, it.shape)).collect();
    assert_eq!(names, ["output_0 [-1, -1, 2]", "output_1 [-1, 1]"]);
}

#[test]
fn declared_outputs_are_checked() {
    let outputs = |specs: &[TensorSpec]| {
        let hints = Hints { outputs: Some(specs.to_vec()), ..declared(&[-1, 3]) };
        probe(&summing(|sums| sums), &hints).map(|it| it.outputs).map_err(|it| it.message)
    };
    let score = spec("score", DataType::Fp32, &[-1, 1]);
    assert_eq!(outputs(std::slice::from_ref(&score)), Ok(vec![score.clone()]));
    let error = outputs(&[score.clone(), score]).unwrap_err();
    assert_eq!(error, "declared are 2 outputs (score, score), but the model returns 1 (output)");
    let error = outputs(&[spec("score", DataType::Fp32, &[-1, 2])]).unwrap_err();
    assert!(
        error.contains("declared as FP32 [-1, 2], but the model returned FP32 [1, 1]"),
        "{error}"
    );
    assert!(outputs(&[spec("score", DataType::Int64, &[-1, 1])]).is_err());
}
