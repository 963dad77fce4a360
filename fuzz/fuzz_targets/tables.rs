//! Rows of a table, as JSON and as CSV, and what is made of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::inference::Content;
use sconce::protocol::torchserve::Media;
use sconce::protocol::{predict, torchserve};
use sconce::tensor::{Buffer, DataType};
use sconce::transform::{Categories, Column, ColumnKind, Desk, InputStep, Tabulate};
use sconce_fuzz::{input, split};

fuzz_target!(|data: &[u8]| {
    let Some((mut spec, body)) = split(data) else { return };
    let own = input("x", DataType::Fp32, &[-1, 3]);
    let places = [("a".into(), 0), ("b".into(), 1)].into();
    let categories = Categories { places, is_one_hot: true, takes_others: true, missing: None };
    let number = ColumnKind::Number { missing: Some(0.5), mean: 1.0, std: 2.0 };
    let column = |name: &str, kind| Column { name: name.into(), input: None, kind };
    let columns = vec![column("n", number), column("w", ColumnKind::Category(categories))];
    let step = Tabulate::new(columns);
    spec.inputs = step.specs(std::slice::from_ref(&own)).expect("the columns fit");
    spec.contract.content = Some(Content::Row);
    let json = predict::decode(body, &spec).map(|decoded| decoded.inputs);
    let csv = torchserve::decode(Buffer::from(body.to_vec()), &Media::Csv, &spec);
    for inputs in json.into_iter().chain(csv.map(|decoded| decoded.inputs)) {
        let made = step.apply(std::slice::from_ref(&own), inputs, &mut Desk::default());
        assert!(made.is_err() || made.is_ok_and(|made| made.iter().all(|it| &*it.name == "x")));
    }
});
