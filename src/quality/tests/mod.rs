//! Figures and counts, held to those of numpy and scipy: `figures.json` has counts in bins with what these libraries make of them, and
//! columns with their deciles. By their definitions, the index of stability with half a row added to each bin.

use super::Builder;
use super::bins::Edges;
use super::counts::{Counters, Shard};
use super::drift::{FeatureDrift, Trouble, drift};
use super::figures::Compared;
use super::reference::{Feature, Of, Reference};
use super::values::Descriptor;
use crate::inference::TensorSpec;
use crate::tensor::{Buffer, DataType, Shape, ShapePattern, Tensor};
use serde_json::Value;
use std::sync::Arc;

fn expected() -> Value {
    serde_json::from_str(include_str!("figures.json")).unwrap()
}

fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect()
}

#[track_caller]
fn check(name: &str, got: Option<f64>, pair: &Value) {
    let Some(expected) = pair[name].as_f64() else { return };
    let got = got.unwrap_or_else(|| panic!("{name} must be known of {pair}"));
    let tolerance = 1e-6 * expected.abs().max(1e-3);
    assert!((got - expected).abs() <= tolerance, "{name}: {got}, expected {expected}, of {pair}");
}

#[test]
fn figures_are_those_of_scipy() {
    let expected = expected();
    let pairs = expected["pairs"].as_array().unwrap();
    assert!(pairs.len() > 20);
    for pair in pairs {
        let (reference, window) = (counts(&pair["reference"]), counts(&pair["window"]));
        let compared = Compared::new(&reference, &window);
        check("psi_half", compared.psi(), pair);
        check("ks_binned", compared.ks(), pair);
        check("js_e", compared.jensen_shannon(), pair);
        check("l_infinity", compared.l_infinity(), pair);
        check("chi2", compared.chi_squared().map(|(value, _)| value), pair);
        check("chi2_df", compared.chi_squared().map(|(_, degrees)| degrees as f64), pair);
        check("rank_mean", compared.rank().map(|(mean, _)| mean), pair);
        let (n, of_ranks) = (window.iter().sum::<u64>() as f64, compared.rank_sum());
        check("rank_mean", (n > 0.0).then_some(of_ranks / n), pair);
        check("rank_z", compared.rank().map(|(_, z)| z.unwrap_or_default()), pair);
    }
}

#[test]
fn deciles_are_those_of_numpy() {
    for column in expected()["columns"].as_array().unwrap() {
        let values: Vec<f32> = column["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_f64().unwrap() as f32)
            .collect();
        let feature = Feature::of("x", "x", Of::Element(0), &values).unwrap();
        let edges: Vec<f32> = column["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_f64().unwrap() as f32)
            .collect();
        assert_eq!((feature.edges, feature.counts), (edges, counts(&column["counts"])));
    }
}

#[test]
fn nothing_is_known_of_an_empty_window() {
    let compared = Compared::new(&[5, 5], &[0, 0]);
    assert_eq!((compared.psi(), compared.ks(), compared.chi_squared()), (None, None, None));
    assert_eq!((compared.rank(), compared.psi_limit()), (None, None));
    let same = Compared::new(&[500, 500], &[50, 50]);
    assert!(same.psi().unwrap().abs() < 1e-12 && same.jensen_shannon().unwrap() < 1e-9);
    assert!((same.psi_limit().unwrap() - 0.44).abs() < 1e-12, "40 (1/100 + 1/1000)");
}

/// A reference of two numbers of one input: 0 to 999, and all 7.
fn reference() -> Reference {
    let rising: Vec<f32> = (0..1000u16).map(f32::from).collect();
    let features = vec![
        Feature::of("rising", "x", Of::Element(0), &rising).unwrap(),
        Feature::of("constant", "x", Of::Element(1), &[7.0; 1000]).unwrap(),
        Feature::of("largest", "x", Of::Descriptor(Descriptor::Max), &rising).unwrap(),
    ];
    Reference {
        model_sha256: "0".repeat(64),
        rows: 1000,
        features,
        labels: [("a".to_owned(), 600), ("b".to_owned(), 400)].into(),
        evaluation: [("accuracy".to_owned(), 0.9)].into(),
    }
}

fn counters(reference: &Reference) -> Counters {
    Counters::new(reference, |name| (name == "x").then_some(0)).unwrap()
}

/// One of the threads' sets of counters.
fn shard(counters: &Counters, idx: usize) -> Arc<Shard> {
    let shards = counters.shards();
    shards[idx % shards.len()].upgrade().unwrap()
}

/// What a window of these rows says.
fn window(rows: &[[f32; 2]], requests: usize) -> Vec<FeatureDrift> {
    let reference = reference();
    let counters = counters(&reference);
    for (idx, rows) in rows.chunks(rows.len().div_ceil(requests)).enumerate() {
        let values = rows.iter().flatten().copied().collect();
        let tensor = Tensor::from_vec(Shape::from([rows.len(), 2]), values).unwrap();
        shard(&counters, idx).count(&[Some(tensor)], rows.len());
    }
    drift(&reference, &counters.counted())
}

fn troubles(feature: &FeatureDrift) -> Vec<Trouble> {
    Trouble::ALL.into_iter().filter(|trouble| feature.has(*trouble, false)).collect()
}

#[test]
fn a_window_like_the_reference_is_quiet_and_one_that_moved_is_not() {
    let quiet: Vec<[f32; 2]> = (0..500u16).map(|n| [f32::from(n * 2), 7.0]).collect();
    let features = window(&quiet, 500);
    assert!(features.iter().all(|feature| troubles(feature).is_empty()), "{features:?}");
    assert_eq!(features[0].values, 500);
    let moved: Vec<[f32; 2]> = quiet.iter().map(|[x, y]| [x / 2.0 + 400.0, *y]).collect();
    assert_eq!(troubles(&window(&moved, 500)[0]), [Trouble::Distribution]);
    let unit: Vec<[f32; 2]> = quiet
        .iter()
        .enumerate()
        .map(|(n, [x, y])| [*x, if n % 10 == 0 { y * 1000.0 } else { *y }])
        .collect();
    assert_eq!(
        troubles(&window(&unit, 500)[1]),
        [Trouble::OutOfRange],
        "one bin sees nothing else"
    );
    let gaps: Vec<[f32; 2]> = quiet
        .iter()
        .enumerate()
        .map(|(n, [x, y])| [if n % 5 == 0 { f32::NAN } else { *x }, *y])
        .collect();
    let gaps = window(&gaps, 500);
    assert_eq!(troubles(&gaps[0]), [Trouble::Missing]);
    assert_eq!((gaps[0].rows, gaps[0].values), (500, 400));
    let infinite = window(&vec![[f32::INFINITY, 7.0]; 100], 100);
    assert_eq!((infinite[0].values, infinite[0].rows), (0, 100), "it lies in no bin");
}

#[test]
fn few_values_are_no_alarm_and_an_alarm_ends_well_below_its_limit() {
    let features = window(&vec![[9999.0, 7.0]; 49], 49);
    assert!(troubles(&features[0]).is_empty());
    let mut feature = window(&vec![[9999.0, 7.0]; 100], 100).swap_remove(0);
    assert_eq!(troubles(&feature), [Trouble::Distribution, Trouble::OutOfRange]);
    let limit = feature.psi_limit.unwrap();
    feature.psi = Some(limit * 0.9);
    assert!(!feature.has(Trouble::Distribution, false) && feature.has(Trouble::Distribution, true));
    feature.psi = Some(limit * 0.7);
    assert!(!feature.has(Trouble::Distribution, true));
}

#[test]
fn of_a_large_request_some_rows_count_from_everywhere_in_it() {
    let rows: Vec<[f32; 2]> = (0..1000u16).map(|n| [f32::from(n), 7.0]).collect();
    let feature = window(&rows, 1).swap_remove(0);
    assert_eq!(feature.values, 64);
    assert!(feature.bins.iter().all(|count| (5..=8).contains(count)), "{:?}", feature.bins);
}

#[test]
fn rows_in_an_order_that_repeats_are_counted_as_any_others() {
    // Lists of sixteen, each sorted; of each, all but the first are in another unit the second time.
    let lists = |unit: f32| -> Vec<[f32; 2]> {
        let row = |n: u16| {
            let value = f32::from(n % 16) * 66.0;
            [if n.is_multiple_of(16) { value } else { value * unit }, 7.0]
        };
        (0..20_480).map(row).collect()
    };
    let quiet = window(&lists(1.0), 20).swap_remove(0);
    assert_eq!(quiet.values, 20 * 64);
    let first = quiet.bins[0] as f64 / quiet.values as f64;
    assert!((0.08..0.18).contains(&first), "two of sixteen lie in the first bin: {first}");
    let unit = window(&lists(1000.0), 20).swap_remove(0);
    assert!((0.88..0.99).contains(&unit.out_of_range), "{}", unit.out_of_range);
}

#[test]
fn what_is_infinite_is_out_of_range_whatever_lies_in_bins() {
    let infinite = window(&vec![[f32::INFINITY, 7.0]; 100], 100).swap_remove(0);
    assert_eq!((infinite.values, infinite.out_of_range), (0, 1.0));
    assert_eq!(troubles(&infinite), [Trouble::OutOfRange]);
    let mut rows = vec![[f32::INFINITY, 7.0]; 100];
    rows.extend(vec![[500.0, 7.0]; 100]);
    rows.extend(vec![[f32::NAN, 7.0]; 100]);
    let mixed = window(&rows, 300).swap_remove(0);
    assert_eq!((mixed.rows, mixed.out_of_range), (300, 0.5));
    assert!((mixed.missing - 1.0 / 3.0).abs() < 1e-9, "{}", mixed.missing);
}

#[test]
fn labels_are_counted_and_others_have_a_place_of_their_own() {
    let counters = counters(&reference());
    for (idx, label) in ["b", "a", "b", "c"].into_iter().enumerate() {
        // What is no probability has no bin.
        let score = [0.0, 0.05, 0.15, 7.0][idx];
        shard(&counters, idx).count_label(label, score);
    }
    let counted = counters.counted();
    assert_eq!(counted.labels, [1, 2, 1]);
    assert_eq!(counted.scores, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(counted.score_sum, 200_000);
}

#[test]
fn a_reference_is_read_as_it_was_written_and_faults_have_their_place() {
    let reference = reference();
    let text = reference.to_json();
    assert_eq!(Reference::parse(&text).unwrap(), reference);
    let edited = |path: &str, value: Value| {
        let mut document: Value = serde_json::from_str(&text).unwrap();
        *document.pointer_mut(path).unwrap() = value;
        Reference::parse(&document.to_string()).unwrap_err()
    };
    let fault = edited("/features/0/edges/3", 0.0.into());
    assert_eq!(fault, "feature \"rising\": 299.7 stands before 0, expected edges that rise");
    assert!(edited("/features/0/edges/3", Value::Null).contains("invalid type: null"));
    assert!(edited("/features/0/counts", vec![1, 2].into()).contains("2 counts for 9 edges"));
    assert!(edited("/features/1/name", "rising".into()).contains("another one has the same name"));
    assert!(edited("/features/1/name", "<labels>".into()).contains("stands for the labels"));
    assert!(edited("/features/0/max", 500.0.into()).contains("beyond the range from 0 to 500"));
    assert!(edited("/rows", 10.into()).starts_with("rows: 10, expected at least 200"));
    assert!(edited("/features/0/counts/0", u64::MAX.into()).contains("rows in bins"));
    let unknown = text.replacen("\"rows\"", "\"lines\"", 1);
    assert!(Reference::parse(&unknown).unwrap_err().contains("unknown field `lines`"));
    let edges = Edges::new(vec![1.0, f32::NAN]).unwrap_err();
    assert_eq!(edges, "an edge is NaN, expected a finite number");
    let missing = Counters::new(&reference, |_| None).unwrap_err();
    assert_eq!(missing, "feature \"rising\": the model has no input \"x\"");
}

/// What a builder watches of rows of these tensors.
fn watched(specs: &[TensorSpec], inputs: &[Option<Tensor>]) -> Vec<Feature> {
    let mut builder = Builder::new(None);
    (0..200).for_each(|_| builder.add(specs, inputs));
    builder.finish().unwrap()
}

fn spec(name: &str, datatype: DataType, shape: &str) -> TensorSpec {
    let shape = ShapePattern::from_wire(&serde_json::from_str::<Vec<i64>>(shape).unwrap()).unwrap();
    TensorSpec { name: name.into(), datatype, shape, optional: false, declared: true }
}

#[test]
fn what_is_watched_depends_on_how_many_numbers_there_are() {
    let names = |width: usize| -> Vec<String> {
        let spec = spec("x", DataType::Fp32, &format!("[-1, {width}]"));
        let row = Tensor::from_vec(Shape::from([1, width]), vec![0.5f32; width]).unwrap();
        watched(&[spec], &[Some(row)]).into_iter().map(|feature| feature.name).collect()
    };
    assert_eq!(names(2), ["x[0]", "x[1]"]);
    assert_eq!(names(500).len(), 500);
    assert_eq!(names(501), ["x.mean", "x.deviation", "x.min", "x.max", "x.zeros"]);
}

#[test]
fn texts_are_described() {
    let spec = spec("t", DataType::Bytes, "[-1, 2]");
    let texts = |n_rows: usize, texts: &[&[u8]]| {
        let texts = texts.iter();
        let bytes: Vec<u8> =
            texts.flat_map(|it| [&(it.len() as u32).to_le_bytes(), *it].concat()).collect();
        let (shape, bytes) = (Shape::from([n_rows, 2]), Buffer::copy_aligned(&bytes));
        Tensor::new(DataType::Bytes, shape, bytes).unwrap()
    };
    let first: [&[u8]; 2] = [b" two words", b""];
    let features = watched(&[spec], &[Some(texts(1, &first))]);
    let names: Vec<_> = features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["t.bytes", "t.words", "t.non_ascii"]);
    let reference = Reference { features, labels: [].into(), rows: 200, ..reference() };
    let counters = Counters::new(&reference, |_| Some(0)).unwrap();
    let all = texts(2, &[first[0], first[1], "f\u{fc}r 1".as_bytes(), b"x"]);
    shard(&counters, 0).count(&[Some(all)], 2);
    let windows = drift(&reference, &counters.counted());
    let out: Vec<_> = windows.iter().map(|it| (it.values, it.out_of_range)).collect();
    // The second row has 7 bytes instead of 10, three words instead of two, and two bytes that are not ASCII.
    assert_eq!(out, [(2, 0.5), (2, 0.5), (2, 0.5)]);
}
