//! Bodies to tensors and answers to bodies.

use crate::bodies;
use crate::clock::ProcessorTime;
use criterion::{BenchmarkId, Criterion, Throughput};
use sconce::protocol::predict::{decode, encode};
use std::hint::black_box;

pub(crate) fn decoding(criterion: &mut Criterion<ProcessorTime>) {
    let mut group = criterion.benchmark_group("decode");
    for body in bodies::all() {
        group.throughput(Throughput::Bytes(body.text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(body.name), &body, |bencher, body| {
            bencher.iter(|| decode(black_box(body.text.as_bytes()), &body.spec));
        });
    }
}

pub(crate) fn encoding(criterion: &mut Criterion<ProcessorTime>) {
    let mut group = criterion.benchmark_group("encode");
    for (name, dims, form) in bodies::ANSWERS {
        let answer = bodies::answer(dims);
        group.throughput(Throughput::Bytes(encode(&answer, *form).len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| encode(black_box(&answer), *form));
        });
    }
}
