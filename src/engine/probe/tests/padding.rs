//! Which models may have their inputs padded.

use super::*;
use crate::inference::{InputPadding, Padding};

type Outputs = Result<Vec<Tensor>, EngineError>;

/// A model that gives `script(rows of x, rows of mask)`; without a mask all counts.
fn model(
    mask_is_optional: bool,
    script: impl Fn(&[&[f32]], &[&[i64]]) -> Outputs + Send + Sync + 'static,
) -> FakeModel {
    let argument =
        |name: &str, optional| Argument { name: name.into(), kind: ArgumentKind::Tensor, optional };
    let arguments = vec![argument("x", false), argument("mask", mask_is_optional)];
    FakeModel::new(move |batch| {
        let x = first(&batch);
        let size = x.shape().row()[0];
        let ones = vec![1; x.n_rows() * size];
        let mask = batch.inputs[1].as_ref();
        let mask = mask.map_or(&ones[..], |mask| mask.as_slice::<i64>().unwrap());
        script(&rows(x), &mask.chunks(size).collect::<Vec<_>>())
    })
    .with_signature(Signature { arguments, ..Signature::default() })
}

/// Both inputs are [-1, -1] and padded with zeros.
fn hints(mask_is_optional: bool, buckets: &[usize]) -> Hints {
    let pad =
        |name: &str, bytes| (name.into(), InputPadding { axis: 1, element: vec![0; bytes].into() });
    let mask = spec("mask", DataType::Int64, &[-1, -1]);
    let inputs = vec![
        spec("x", DataType::Fp32, &[-1, -1]),
        TensorSpec { optional: mask_is_optional, ..mask },
    ];
    let padding =
        PaddingOptions { pads: vec![pad("x", 4), pad("mask", 8)], buckets: buckets.to_vec() };
    Hints { inputs: Some(inputs), padding: Some(padding), ..Hints::default() }
}

#[track_caller]
fn found(model: &FakeModel, hints: &Hints) -> (Option<Padding>, Vec<String>) {
    let findings = judged(model, hints, Batching::Probed);
    (findings.padding, findings.notes)
}

#[track_caller]
fn is_off(model: &FakeModel, hints: &Hints, reason: &str) {
    let (padding, notes) = found(model, hints);
    assert_eq!((padding, &notes[..]), (None, &[format!("padding is off: {reason}")][..]));
}

fn mean(row: &[f32], mask: &[i64]) -> f32 {
    let weighted: f32 = row.iter().zip(mask).map(|(x, mask)| x * *mask as f32).sum();
    weighted / mask.iter().sum::<i64>() as f32
}

fn means(x: &[&[f32]], mask: &[&[i64]]) -> Tensor {
    let means = x.iter().zip(mask).map(|(row, mask)| mean(row, mask));
    tensor(&[x.len(), 1], means.collect())
}

/// Every pair of positions of a row: what an attention map looks like.
fn pairs(x: &[&[f32]]) -> Tensor {
    let size = x[0].len();
    let pairs = |row: &&[f32]| -> Vec<f32> {
        row.iter().flat_map(|a| row.iter().map(move |b| a * b)).collect()
    };
    tensor(&[x.len(), size, size], x.iter().flat_map(pairs).collect())
}

#[test]
fn a_model_that_minds_its_mask_is_padded_and_outputs_that_follow_are_found() {
    let masked = model(false, |x, mask| {
        let hidden = x.iter().flat_map(|row| row.iter().map(|x| x + 1.0)).collect();
        let hidden = tensor(&[x.len(), x[0].len()], hidden);
        // As wide as one of the sizes that are tried, and not following it.
        let fixed = tensor(&[x.len(), 8], vec![0.5; x.len() * 8]);
        Ok(vec![means(x, mask), hidden, pairs(x), fixed])
    });
    let (padding, notes) = found(&masked, &hints(false, &[4, 8, 12, 16, 24]));
    let padding = padding.expect("the answers are the same");
    assert_eq!(padding.follows, [vec![], vec![1], vec![1, 2], vec![]]);
    assert_eq!(padding.buckets, [4, 8, 12, 16, 24]);
    assert_eq!((padding.given, notes.len()), (vec![true, true], 0));
}

#[test]
fn a_model_that_sees_its_padding_is_not_padded() {
    let unmasked = model(false, |x, _| {
        let mean = |row: &&[f32]| row.iter().sum::<f32>() / row.len() as f32;
        Ok(vec![tensor(&[x.len(), 1], x.iter().map(mean).collect())])
    });
    let differs = "an input of size 3 gets another answer when it is padded to 4";
    is_off(&unmasked, &hints(false, &[4, 8]), differs);
    // A little is enough: what leaks in is a ten-thousandth.
    let leaking = model(false, |x, mask| {
        let leak = x[0].len() as f32 * 1e-4;
        let means = x.iter().zip(mask).map(|(row, mask)| mean(row, mask) + leak);
        Ok(vec![tensor(&[x.len(), 1], means.collect())])
    });
    is_off(&leaking, &hints(false, &[4, 8]), differs);
    // Two places for each position: such an output has no size that it could be cut to.
    let doubled = model(false, |x, _| {
        let twice = x.iter().flat_map(|row| [*row, *row].concat()).collect();
        Ok(vec![tensor(&[x.len(), 2 * x[0].len()], twice)])
    });
    is_off(&doubled, &hints(false, &[4, 8]), differs);
}

/// A masked mean that is off by one where `is_wrong(positions padded in each row, size)`.
fn wrong_where(is_wrong: impl Fn(&[usize], usize) -> bool + Send + Sync + 'static) -> FakeModel {
    model(false, move |x, mask| {
        // Random numbers are never exactly zero, but for a row of nothing else.
        let padded = |row: &&[f32]| match row.iter().rev().take_while(|x| **x == 0.0).count() {
            all if all == row.len() => 0,
            some => some,
        };
        let padded: Vec<_> = x.iter().map(padded).collect();
        let off = if is_wrong(&padded, x[0].len()) { 1.0 } else { 0.0 };
        let means = x.iter().zip(mask).map(|(row, mask)| mean(row, mask) + off);
        Ok(vec![tensor(&[x.len(), 1], means.collect())])
    })
}

#[test]
fn padding_that_goes_wrong_only_in_large_buckets_or_in_company_is_found() {
    let large = wrong_where(|padded, size| size == 64 && padded[0] > 0);
    let differs = "an input of size 33 gets another answer when it is padded to 64";
    is_off(&large, &hints(false, &[8, 16, 32, 64]), differs);
    let company = wrong_where(|padded, _| padded.iter().any(|it| *it != padded[0]));
    let differs = "an input of size 3 gets another answer when it is padded to 4 among others";
    is_off(&company, &hints(false, &[4, 8]), differs);
    assert!(found(&wrong_where(|_, _| false), &hints(false, &[4, 8])).0.is_some());
}

#[test]
fn buckets_end_where_the_model_does() {
    let positions = |most: usize| {
        model(false, move |x, mask| match x[0].len() {
            size if size > most => Err(raised("index out of range in self")),
            _ => Ok(vec![means(x, mask)]),
        })
    };
    let all = [8, 16, 24, 32, 48, 64];
    let (padding, notes) = found(&positions(40), &hints(false, &all));
    assert_eq!(padding.unwrap().buckets, [8, 16, 24, 32]);
    let note = "padding goes up to 32: at size 48 the model raised: index out of range in self";
    assert_eq!(notes, [note]);
    assert_eq!(found(&positions(64), &hints(false, &all)).0.unwrap().buckets, all);
    // Where the smallest is too large already, there is nothing to pad to.
    let (padding, notes) = found(&positions(40), &hints(false, &[48, 64]));
    assert_eq!(padding, None);
    assert!(notes[0].starts_with("padding is off: at size 48"), "{notes:?}");
}

#[test]
fn an_optional_mask_is_part_of_what_was_tried() {
    let optional = model(true, |x, mask| Ok(vec![means(x, mask)]));
    // Nobody knows a mask to try with: without one, padding shows.
    let (padding, notes) = found(&optional, &hints(true, &[4, 8]));
    assert_eq!((padding, notes.len()), (None, 1));
    let mask = Tensor::from_vec(Shape::from([1, 4]), vec![1i64; 4]).unwrap();
    let x = tensor(&[1, 4], vec![1.0, 2.0, 3.0, 4.0]);
    let hints = Hints { sample: Some(vec![Some(x), Some(mask)]), ..hints(true, &[4, 8]) };
    let (padding, _) = found(&optional, &hints);
    assert_eq!(padding.unwrap().given, [true, true], "only requests with a mask may be padded");
}

#[test]
fn what_cannot_share_runs_is_not_padded() {
    let coupled = model(false, |x, mask| {
        let means = means(x, mask);
        let sum: f32 = means.as_slice::<f32>().unwrap().iter().sum();
        Ok(vec![tensor(&[x.len(), 1], vec![sum; x.len()])])
    });
    let findings = judged(&coupled, &hints(false, &[4, 8]), Batching::Coupled);
    assert_eq!(findings.padding, None);
    assert!(findings.notes[0].starts_with("padding is off: a row's answer changes"));
}

#[test]
fn an_input_that_varies_with_the_padded_ones_needs_a_pad_value_too() {
    let strict = model(false, |x, mask| match x[0].len() == mask[0].len() {
        true => Ok(vec![means(x, mask)]),
        false => Err(raised("the size of tensor a must match the size of tensor b")),
    });
    let mut hints = hints(false, &[4, 8]);
    hints.padding.as_mut().unwrap().pads.truncate(1);
    let (padding, notes) = found(&strict, &hints);
    assert_eq!(padding, None);
    assert!(notes[0].starts_with("padding is off: padded to 4 the model raised"), "{notes:?}");
}
