//! What clients send and get: bodies and answers of the sizes and spellings that are common.

use sconce::inference::{
    Batching, Contract, InferResponse, Layout, ModelSpec, NamedTensor, TensorSpec, Timings,
    Version, Work,
};
use sconce::protocol::predict::Form;
use sconce::tensor::{DataType, Shape, ShapePattern, Tensor};
use std::fmt::Write;

/// A body and the model that it is for.
pub(crate) struct Body {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) spec: ModelSpec,
}

/// The bodies that are measured.
pub(crate) fn all() -> Vec<Body> {
    vec![tabular(), digits(), image_of_f64(), image_of_f32(), instances(), integers(), tokens()]
}

/// Numbers that look random and are the same every time (splitmix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 24) as f32
    }

    /// Roughly normal, as standardized columns are.
    fn normal(&mut self) -> f32 {
        (0..6).map(|_| self.unit()).sum::<f32>() - 3.0
    }
}

fn list<T>(n: usize, item: impl FnMut(usize) -> T) -> String
where
    T: std::fmt::Display,
{
    let items: Vec<String> = (0..n).map(item).map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

/// A model with one input and no known output.
fn spec(datatype: DataType, dims: &[i64]) -> ModelSpec {
    let shape = ShapePattern::from_wire(dims).expect("the dimensions are sizes");
    let input = TensorSpec { name: "x".into(), datatype, shape, optional: false, declared: true };
    let outputs = Vec::new();
    ModelSpec {
        inputs: vec![input],
        outputs,
        batching: Batching::Proved,
        max_rows: 1024,
        contract: Contract::default(),
    }
}

/// One row of 20 columns, as Python prints what was computed in FP32.
pub(crate) fn tabular() -> Body {
    let mut noise = Noise(1);
    let text = format!("{{\"features\": {}}}", list(20, |_| f64::from(noise.normal())));
    Body { name: "tabular_20", text, spec: spec(DataType::Fp32, &[-1, 20]) }
}

/// One drawing of 28 by 28: blank at the border, strokes of few digits inside.
fn digits() -> Body {
    let mut noise = Noise(2);
    let mut stroke = false;
    let mut pixel = |position: usize| {
        let is_border = !(4..24).contains(&(position / 28)) || !(6..22).contains(&(position % 28));
        // Strokes and gaps are about four pixels wide.
        stroke = if is_border { false } else { stroke ^ (noise.below(4) == 0) };
        if stroke { f64::from(noise.below(255) as u32 + 1) / 1000.0 } else { 0.0 }
    };
    let pixel = |position| format!("{:?}", pixel(position));
    let text = format!("{{\"features\": {}}}", list(784, pixel));
    Body { name: "digits_784", text, spec: spec(DataType::Fp32, &[-1, 784]) }
}

fn image(name: &'static str, mut write: impl FnMut(&mut String, f32)) -> Body {
    let mut noise = Noise(3);
    let mut text = "{\"instances\": [[".to_owned();
    for channel in 0..3 {
        text.push_str(if channel == 0 { "[" } else { ", [" });
        for row in 0..224 {
            text.push_str(if row == 0 { "[" } else { ", [" });
            for column in 0..224 {
                if column > 0 {
                    text.push_str(", ");
                }
                let byte = noise.below(256) as f32;
                write(&mut text, (byte / 255.0 - 0.449 + channel as f32 * 0.01) / 0.226);
            }
            text.push(']');
        }
        text.push(']');
    }
    text.push_str("]]}");
    Body { name, text, spec: spec(DataType::Fp32, &[-1, 3, 224, 224]) }
}

/// A normalized image as Python prints it: FP32 values with the digits of an FP64.
fn image_of_f64() -> Body {
    image("image_f64_text", |text, value| {
        write!(text, "{}", f64::from(value)).expect("writing to memory does not fail");
    })
}

/// The same image with the digits that an FP32 needs.
fn image_of_f32() -> Body {
    image("image_f32_text", |text, value| {
        write!(text, "{value}").expect("writing to memory does not fail");
    })
}

/// 64 rows of 20 columns.
fn instances() -> Body {
    let mut noise = Noise(4);
    let rows = list(64, |_| list(20, |_| f64::from(noise.normal())));
    let text = format!("{{\"instances\": {rows}}}");
    Body { name: "instances_64x20", text, spec: spec(DataType::Fp32, &[-1, 20]) }
}

/// Integers of all lengths and signs.
fn integers() -> Body {
    let mut noise = Noise(5);
    let integer = |_| {
        let digits = noise.below(18) as u32;
        let magnitude = noise.below(10u64.pow(digits + 1)) as i64;
        if noise.below(2) == 0 { magnitude } else { -magnitude }
    };
    let text = format!("{{\"features\": {}}}", list(256, integer));
    Body { name: "integers_256", text, spec: spec(DataType::Int64, &[-1, 256]) }
}

/// The ids of a batch of sentences.
fn tokens() -> Body {
    let mut noise = Noise(6);
    let rows = list(8, |_| list(128, |_| noise.below(30_522)));
    let text = format!("{{\"instances\": {rows}}}");
    Body { name: "tokens_8x128", text, spec: spec(DataType::Int64, &[-1, -1]) }
}

/// Answers that are measured: a name, the dimensions of the output, the form.
pub(crate) const ANSWERS: &[(&str, &[usize], Form)] = &[
    ("floats_1", &[1, 1], Form::One),
    ("floats_10", &[1, 10], Form::One),
    ("floats_64x10", &[64, 10], Form::Many),
    ("floats_1000", &[1, 1000], Form::One),
];

/// An answer with one output of these dimensions.
pub(crate) fn answer(dims: &[usize]) -> InferResponse {
    let mut noise = Noise(7);
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| noise.normal()).collect();
    let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values).expect("as many as the shape");
    InferResponse {
        model: "tabular".parse().expect("a name"),
        version: Version(3),
        request_id: "0190f5a1c2d34e5f8a9b0c1d2e3f4a5b".into(),
        outputs: vec![NamedTensor { name: "y".into(), tensor }],
        n_rows: dims[0],
        extras: Vec::new(),
        timings: Timings::default(),
        work: Work::default(),
        layout: Layout { is_sole: true, ..Layout::default() },
    }
}
