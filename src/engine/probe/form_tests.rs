use super::*;
use crate::engine::fake::FakeModel;
use crate::engine::{Death, Fault, ModelForm, Parameter, Precision, Signature};
use crate::tensor::{DataType, Shape, ShapePattern};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn forms(names: &[&str]) -> Vec<ModelForm> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A model that answers each row's values times `factor(rows)`, at a cost of so many microseconds a row.
fn times(factor: impl Fn(usize) -> f32 + Send + Sync + 'static, micros: u64) -> FakeModel {
    let model = FakeModel::new(move |batch| {
        let input = batch.inputs.into_iter().flatten().next().unwrap();
        let factor = factor(input.n_rows());
        let values = input.as_slice::<f32>().unwrap().iter().map(|it| it * factor).collect();
        Ok(vec![Tensor::from_vec(input.shape().clone(), values).unwrap()])
    });
    model.with_cost(Duration::from_micros(micros))
}

fn failing(fault: Fault, text: &'static str) -> FakeModel {
    FakeModel::new(move |_| Err(EngineError::new(fault, text)))
}

fn hints(form: FormOptions) -> Hints {
    let shape = ShapePattern::from_wire(&[-1, 3]).unwrap();
    let x = TensorSpec {
        name: "x".into(),
        datatype: DataType::Fp32,
        shape,
        optional: false,
        declared: true,
    };
    Hints { inputs: Some(vec![x]), batch_size_is_chosen: true, form, ..Hints::default() }
}

fn in_bf16() -> FormOptions {
    FormOptions { precision: Precision::Bf16, ..FormOptions::default() }
}

type Cast<'a> = &'a [(&'a str, FakeModel)];

/// A trial in which the forms are those of `cast`, and any other does not load. Also what was loaded.
fn trial(
    plain: &FakeModel,
    hints: &Hints,
    cast: Cast<'_>,
) -> (Result<Findings, EngineError>, Vec<ModelForm>) {
    let loaded = RefCell::new(Vec::new());
    let mut load = |form: ModelForm, outputs: &[DataType], within: Duration| {
        assert!(!within.is_zero() && within <= hints.form.budget * 3 / 2);
        assert_eq!(outputs, [DataType::Fp32]);
        loaded.borrow_mut().push(form);
        let name = form.to_string();
        let found = cast.iter().find(|(it, _)| *it == name);
        match found {
            Some((_, model)) => Ok(Box::new(model.clone()) as Box<dyn Model>),
            None if form == ModelForm::PLAIN => Ok(Box::new(plain.clone()) as Box<dyn Model>),
            None => Err(EngineError::new(Fault::Unsupported, "there is no such form")),
        }
    };
    let findings = probe_forms(Box::new(plain.clone()), hints, &mut load);
    assert_eq!(plain.seen().live(), 0, "a trial must leave no engine behind");
    (findings, loaded.into_inner())
}

#[track_caller]
fn chosen(cast: Cast<'_>, expected: &str) -> Findings {
    let (findings, _) = trial(&times(|_| 1.0, 100), &hints(FormOptions::default()), cast);
    let findings = findings.unwrap();
    assert_eq!(findings.form.chosen.to_string(), expected, "{:?}", findings.form);
    findings
}

#[track_caller]
fn reason(findings: &Findings, form: &str) -> String {
    let form = form.parse().unwrap();
    let tried = findings.form.tried.iter().find(|tried| tried.form == form).unwrap();
    tried.outcome.clone().unwrap_err()
}

#[test]
fn the_fastest_form_is_kept_if_it_is_worth_it() {
    let findings =
        chosen(&[("frozen", times(|_| 1.0, 80)), ("optimized", times(|_| 1.0, 50))], "optimized");
    assert!((findings.form.gain() - 2.0).abs() < 1e-9);
    let times_of_chosen = findings.times.unwrap();
    let run = |n_rows, micros| TimedRun { n_rows, duration: Duration::from_micros(micros) };
    assert_eq!(times_of_chosen.min_rows, run(1, 50));
    assert_eq!(times_of_chosen.max_rows, run(32, 32 * 50));
    chosen(&[("frozen", times(|_| 1.0, 80)), ("optimized", times(|_| 1.0, 79))], "frozen");
    let findings =
        chosen(&[("frozen", times(|_| 1.0, 99)), ("optimized", times(|_| 1.0, 150))], "plain");
    assert_eq!((findings.form.gain(), findings.form.tried.len()), (1.0, 2));
    assert!(findings.notes.is_empty(), "{:?}", findings.notes);
}

#[test]
fn a_form_that_answers_otherwise_anywhere_is_out() {
    // The optimized form may differ more than the frozen one, and neither by much.
    let findings = chosen(
        &[("frozen", times(|_| 1.0001, 10)), ("optimized", times(|_| 1.0001, 50))],
        "optimized",
    );
    assert_eq!(
        reason(&findings, "frozen"),
        "an answer differs by 1.0e-4 of the largest, at most 1e-5 is allowed"
    );
    for wrong in [1, 2, 3, 32] {
        let form = times(move |n_rows| if n_rows == wrong { 1.1 } else { 1.0 }, 10);
        let findings = chosen(&[("optimized", form)], "plain");
        assert!(reason(&findings, "optimized").contains("an answer differs"), "{wrong} rows");
    }
    let shape = FakeModel::new(|batch| {
        let input = batch.inputs.into_iter().flatten().next().unwrap();
        let values = input.as_slice::<f32>().unwrap().to_vec();
        Ok(vec![Tensor::from_vec(Shape::from([values.len()]), values).unwrap()])
    });
    let findings = chosen(&[("frozen", shape), ("optimized", times(|_| f32::NAN, 1))], "plain");
    assert_eq!(reason(&findings, "frozen"), "output 0 is FP32 [3], not FP32 [1, 3]");
    assert!(reason(&findings, "optimized").contains("differs by inf"));
}

#[test]
fn a_form_that_fails_is_out_and_the_model_none_the_worse() {
    let raising = failing(Fault::Raised, "unsupported layout");
    let findings = chosen(&[("optimized", raising)], "plain");
    assert_eq!(reason(&findings, "frozen"), "there is no such form");
    assert_eq!(reason(&findings, "optimized"), "unsupported layout");
    assert!(findings.notes.is_empty());

    let dead = failing(Fault::Died(Death::Crashed), "ended by SIGSEGV");
    let cast = [("frozen", dead), ("optimized", times(|_| 1.0, 50))];
    let (findings, loaded) = trial(&times(|_| 1.0, 100), &hints(FormOptions::default()), &cast);
    let findings = findings.unwrap();
    assert_eq!(loaded, forms(&["frozen", "plain", "optimized"]), "the plain form died with it");
    assert_eq!(findings.form.chosen, forms(&["optimized"])[0]);
    assert_eq!(findings.notes, ["the form frozen ended its process: ended by SIGSEGV"]);
}

#[test]
fn a_plain_form_that_is_lost_on_the_way_has_passed_all_the_same() {
    let calls = Arc::new(AtomicU32::new(0));
    let mortal = |last: u32| {
        calls.store(0, Ordering::SeqCst);
        let calls = Arc::clone(&calls);
        FakeModel::new(move |batch| {
            if calls.fetch_add(1, Ordering::SeqCst) >= last {
                return Err(EngineError::new(Fault::TimedOut, "did not answer within 60 s"));
            }
            Ok(batch.inputs.into_iter().flatten().collect())
        })
    };
    probe(&mortal(u32::MAX), &hints(FormOptions::default())).unwrap();
    let needed = calls.load(Ordering::SeqCst);
    let (findings, _) = trial(&mortal(needed + 1), &hints(FormOptions::default()), &[]);
    let findings = findings.unwrap();
    assert_eq!(findings.form, FormFindings::default());
    assert_eq!(findings.notes, ["no other form was tried: did not answer within 60 s"]);
    let (findings, _) = trial(&mortal(needed + 1), &hints(in_bf16()), &[]);
    assert_eq!(findings.unwrap_err().fault, Fault::TimedOut, "nothing was compared");
}

#[test]
fn forms_are_tried_only_where_they_are_wanted_and_can_be_compared() {
    let cast = [("frozen", times(|_| 1.0, 1))];
    let plain = |model: &FakeModel, hints: &Hints| {
        let (findings, loaded) = trial(model, hints, &cast);
        assert_eq!((findings.unwrap().form.chosen, loaded), (ModelForm::PLAIN, vec![]));
    };
    let model = times(|_| 1.0, 100);
    plain(&model, &hints(FormOptions { optimize: false, ..FormOptions::default() }));
    plain(&model, &hints(FormOptions { budget: Duration::ZERO, ..FormOptions::default() }));
    let calls = AtomicU32::new(0);
    let counting = times(move |_| calls.fetch_add(1, Ordering::SeqCst) as f32, 9);
    plain(&counting, &hints(FormOptions::default()));
    plain(&failing(Fault::Raised, "only Tuesdays"), &hints(FormOptions::default()));
    let signature = Signature { mutates_state: true, ..FakeModel::echo().signature().clone() };
    plain(&times(|_| 1.0, 9).with_signature(signature), &hints(FormOptions::default()));
}

#[test]
fn a_reduced_precision_is_the_fastest_way_that_agrees() {
    let cast = [
        ("bf16-frozen", times(|_| 1.02, 10)),
        ("bf16-optimized", times(|_| 1.005, 60)),
        ("bf16-autocast-frozen", times(|_| 1.003, 50)),
    ];
    let (findings, loaded) = trial(&times(|_| 1.0, 100), &hints(in_bf16()), &cast);
    let findings = findings.unwrap();
    assert_eq!(findings.form.chosen.to_string(), "bf16-autocast-frozen");
    let facts = findings.form.facts().unwrap();
    assert!((facts.difference - 0.003).abs() < 1e-5 && facts.changed.is_none(), "{facts:?}");
    let tried =
        ["bf16-frozen", "bf16-optimized", "bf16-autocast-frozen", "bf16-autocast-optimized"];
    assert_eq!(loaded, forms(&tried), "what is not rewritten is only for want of better");

    // Slower than FP32, and asked for all the same.
    let off = FormOptions { optimize: false, ..in_bf16() };
    let cast = [("bf16", times(|_| 1.005, 150))];
    let (findings, loaded) = trial(&times(|_| 1.0, 100), &hints(off), &cast);
    assert_eq!(findings.unwrap().form.chosen.to_string(), "bf16");
    assert_eq!(loaded, forms(&["bf16", "bf16-autocast"]));

    let shape = vec![8, 3, 3, 3];
    let weight = Parameter { name: "w".into(), shape, datatype: Some(DataType::Fp32) };
    let signature = Signature { parameters: vec![weight], ..FakeModel::echo().signature().clone() };
    let images = times(|_| 1.0, 100).with_signature(signature);
    let (_, loaded) = trial(&images, &hints(in_bf16()), &[]);
    assert!(loaded.iter().all(|form| form.channels_last), "{loaded:?}");
    let (_, loaded) = trial(&images, &hints(FormOptions::default()), &[]);
    assert_eq!(loaded, forms(&["frozen", "optimized", "channels-last-frozen"]));
}

#[track_caller]
fn refused(model: &FakeModel, hints: &Hints, cast: Cast<'_>, fault: Fault, text: &str) {
    let error = trial(model, hints, cast).0.unwrap_err();
    assert_eq!(error.fault, fault, "{error}");
    assert!(error.message.contains(text), "{error}");
}

#[test]
fn a_reduced_precision_that_cannot_be_had_fails_the_model() {
    let model = times(|_| 1.0, 100);
    let far = [("bf16-frozen", times(|_| 1.02, 10))];
    let text = "max_difference = 0.01: bf16-frozen: an answer differs by 2.0e-2 of the largest";
    refused(&model, &hints(in_bf16()), &far, Fault::Unsupported, text);
    let wider = hints(FormOptions { max_difference: 0.05, ..in_bf16() });
    assert!(trial(&model, &wider, &far).0.is_ok());
    // It may have been the machine's fault, so nobody should remember it.
    let dead = [("bf16-frozen", failing(Fault::TimedOut, "did not answer within 20 s"))];
    refused(&model, &hints(in_bf16()), &dead, Fault::TimedOut, "did not answer");

    let raising = failing(Fault::Raised, "only Tuesdays");
    refused(&raising, &hints(in_bf16()), &[], Fault::Unsupported, "no input is known");
    let signature = Signature { mutates_state: true, ..FakeModel::echo().signature().clone() };
    let stateful = times(|_| 1.0, 9).with_signature(signature);
    refused(&stateful, &hints(in_bf16()), &[], Fault::Unsupported, "keeps state");
}

#[test]
fn the_best_class_must_stay_where_there_are_classes() {
    let classes = |second: f32| {
        FakeModel::new(move |batch| {
            let n_rows = batch.inputs[0].as_ref().unwrap().n_rows();
            let values = (0..n_rows).flat_map(|_| [0.5, second]).collect();
            Ok(vec![Tensor::from_vec(Shape::from([n_rows, 2]), values).unwrap()])
        })
    };
    let cast = [("bf16-frozen", classes(0.501))];
    let with = FormOptions { classes: Some(0.5), ..in_bf16() };
    refused(&classes(0.499), &hints(with), &cast, Fault::Unsupported, "rows changed their class");
    let (findings, _) = trial(&classes(0.499), &hints(in_bf16()), &cast);
    assert!(findings.is_ok(), "without labels they are only numbers");
    let (findings, _) = trial(&classes(0.4), &hints(with), &[("bf16-frozen", classes(0.401))]);
    let (rows, all) = findings.unwrap().form.facts().unwrap().changed.unwrap();
    assert!(rows == 0 && all > 32, "{rows} of {all}");
}

#[test]
fn costs_are_measured_in_the_chosen_form_where_nobody_chose_a_batch_size() {
    let fast = times(|_| 1.0, 50);
    let asked = Hints { batch_size_is_chosen: false, ..hints(FormOptions::default()) };
    let cast = [("optimized", fast)];
    let (findings, loaded) = trial(&times(|_| 1.0, 100), &asked, &cast);
    let expected = [1, 2, 4, 8, 16, 32]
        .map(|n_rows| TimedRun { n_rows, duration: Duration::from_micros(50 * n_rows as u64) });
    assert_eq!(findings.unwrap().curve, expected);
    assert_eq!(loaded.last().map(ModelForm::to_string).as_deref(), Some("optimized"));
    let (findings, _) = trial(&times(|_| 1.0, 100), &hints(FormOptions::default()), &cast);
    assert_eq!(findings.unwrap().curve, []);
    // As many sizes as there is time for.
    let slow = [("optimized", times(|_| 1.0, 50_000))];
    let (findings, _) = trial(&times(|_| 1.0, 100_000), &asked, &slow);
    let rows: Vec<_> = findings.unwrap().curve.iter().map(|run| run.n_rows).collect();
    assert_eq!(rows, [1, 2, 4, 8]);
}
