//! `cargo bench --bench micro -- ratios`: one table that sets decode and encode beside what else
//! could have been used, all in turn in one run, by processor time.
//!
//! - `serde_json` reads into and prints from typed structures: no document tree either.
//! - `fast_float2` walks over the text and parses numbers, and does nothing else: no JSON is checked,
//!   no shape, no place is known. It is what number parsing alone costs.

use crate::bodies::{self, Body};
use crate::clock::processor_time;
use sconce::inference::InferResponse;
use sconce::protocol::predict::{Form, decode, encode};
use sconce::tensor::DataType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::Duration;

/// Rounds in which every contender has its turn.
const N_ROUNDS: usize = 60;
/// What a turn takes, about: long enough for the clock, short enough that all see the same machine.
const TURN: Duration = Duration::from_millis(2);

type Work<'a> = Box<dyn Fn() + 'a>;

/// Prints the table.
#[expect(clippy::print_stdout, reason = "it is what was asked for")]
pub(crate) fn print() {
    println!("{:<18}{:>10}  {:<36}{:<24}", "decode", "bytes", "sconce", "of the time of");
    for body in bodies::all() {
        let line = compare(decoders(&body));
        print_line(body.name, body.text.len(), &line, ["serde_json", "fast_float2"]);
    }
    println!("{:<18}", "encode");
    for &(name, dims, form) in bodies::ANSWERS {
        let answer = bodies::answer(dims);
        let line = compare(encoders(&answer, form));
        print_line(name, encode(&answer, form).len(), &line, ["serde_json", ""]);
    }
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn print_line(name: &str, n_bytes: usize, times: &[f64], others: [&str; 2]) {
    let ours = times[0];
    print!(
        "{name:<18}{n_bytes:>10}  {ours:>12.0} ns {:>8.0} MB/s      ",
        n_bytes as f64 * 1e3 / ours
    );
    for (other, time) in others.iter().zip(&times[1..]) {
        print!("  {other} {:.2} ({time:.0} ns)", ours / time);
    }
    println!();
}

/// The median nanoseconds of each, taken in turn.
fn compare(contenders: Vec<Work<'_>>) -> Vec<f64> {
    let time = |work: &Work<'_>, n: u32| {
        let started = processor_time();
        (0..n).for_each(|_| work());
        processor_time() - started
    };
    let turns: Vec<u32> = contenders
        .iter()
        .map(|work| {
            time(work, 3);
            let once = time(work, 3).as_nanos().max(1) / 3;
            u32::try_from(TURN.as_nanos() / once.max(1)).unwrap_or(1).max(1)
        })
        .collect();
    let mut times = vec![Vec::with_capacity(N_ROUNDS); contenders.len()];
    for _ in 0..N_ROUNDS {
        for ((work, &n), times) in contenders.iter().zip(&turns).zip(&mut times) {
            times.push(time(work, n).as_nanos() as f64 / f64::from(n));
        }
    }
    times
        .into_iter()
        .map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[N_ROUNDS / 2]
        })
        .collect()
}

fn decoders(body: &Body) -> Vec<Work<'_>> {
    let text = body.text.as_bytes();
    let ours = move || {
        black_box(decode(black_box(text), &body.spec).expect("the body suits the model"));
    };
    let input = &body.spec.inputs[0];
    let rank = input.shape.dims().map_or(0, <[_]>::len);
    let is_one_row = body.text.starts_with("{\"features\"");
    let serde: Work<'_> = match (input.datatype, is_one_row, rank) {
        (DataType::Fp32, true, _) => typed::<One<f32>>(text),
        (DataType::Fp32, false, 4) => typed::<Many<Vec<Vec<Vec<f32>>>>>(text),
        (DataType::Fp32, false, _) => typed::<Many<Vec<f32>>>(text),
        (_, true, _) => typed::<One<i64>>(text),
        (_, false, _) => typed::<Many<Vec<i64>>>(text),
    };
    let mut all: Vec<Work<'_>> = vec![Box::new(ours), serde];
    if input.datatype == DataType::Fp32 {
        let n_values = scan(text, 0).len();
        all.push(Box::new(move || drop(black_box(scan(black_box(text), n_values)))));
    }
    all
}

#[derive(Deserialize)]
struct One<T> {
    features: Vec<T>,
}

#[derive(Deserialize)]
struct Many<T> {
    instances: Vec<T>,
}

trait Held {
    fn hold(self);
}

impl<T> Held for One<T> {
    fn hold(self) {
        black_box(self.features);
    }
}

impl<T> Held for Many<T> {
    fn hold(self) {
        black_box(self.instances);
    }
}

fn typed<T: DeserializeOwned + Held>(text: &[u8]) -> Work<'_> {
    Box::new(move || {
        serde_json::from_slice::<T>(black_box(text)).expect("the body is JSON").hold();
    })
}

/// Every number of the text behind its first colon, whatever lies between them.
fn scan(text: &[u8], n_values: usize) -> Vec<f32> {
    let colon = text.iter().position(|&byte| byte == b':').expect("the body has a member");
    let mut rest = &text[colon..];
    let mut values = Vec::with_capacity(n_values);
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'-' || byte.is_ascii_digit() {
            let (value, len) = fast_float2::parse_partial::<f32, _>(rest).expect("a number");
            values.push(value);
            rest = &rest[len..];
        } else {
            rest = behind;
        }
    }
    values
}

#[derive(Serialize)]
struct Answer<'a, T> {
    prediction: T,
    model: &'a str,
    version: &'a str,
    request_id: &'a str,
}

fn encoders(response: &InferResponse, form: Form) -> Vec<Work<'_>> {
    let ours = move || drop(black_box(encode(black_box(response), form)));
    let tensor = &response.outputs[0].tensor;
    let values = tensor.as_slice::<f32>().expect("the answer is of FP32");
    let version = response.version.to_string();
    let rows: Vec<&[f32]> = values.chunks(tensor.shape().row()[0]).collect();
    let serde = move || {
        let answer = Answer {
            prediction: &rows[..],
            model: response.model.as_str(),
            version: &version,
            request_id: &response.request_id,
        };
        black_box(serde_json::to_vec(black_box(&answer)).expect("it can be printed"));
    };
    vec![Box::new(ours), Box::new(serde)]
}
